"""
What a person turns over in the ledger: pages of pictures, shoots, reasons, calls and days.

Frozen values and what follows from paths alone; nothing is read here. How a page is read, by key and never by a
count or an offset, is in ``looks``.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import cached_property

from rembg_watch import paths
from rembg_watch.jobs import Job, State
from rembg_watch.ledger.values import Spending

_LAST = b"\xff" * 4096  # no path is longer, so none comes after it


@dataclass(frozen=True, slots=True, order=True)
class Mark:
    """Where a page of pictures ended, the last changed first; one that changed later is greater."""

    changed_at: datetime
    id: int


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which pictures a page shows; what is left out does not matter."""

    states: frozenset[State] = frozenset()
    folders: frozenset[str] = frozenset()
    code: str | None = None  # the reason for machines; empty: those without one
    text: str = ""  # a part of the path, in any case; "ss" does not find a letter that folds to it
    is_odd: bool = False  # only those with a finding

    @property
    def is_simple(self) -> bool:
        """Whether an index alone finds them, so that no row has to be looked at in vain."""
        return self.code is None and not self.text and not self.is_odd

    @property
    def plain(self) -> str:
        """A part of the text that databases find in any case: its longest stretch of plain letters, in small ones."""
        return max(re.findall(r"[ -\[\]-~]+", self.text.lower()), key=len, default="")

    def takes(self, source: bytes, code: str | None, finding: str | None) -> bool:
        """Say whether a picture is meant, of those in the right state and folder."""
        if self.is_odd and finding is None:
            return False
        if self.code is not None and self.code != (code or ""):
            return False
        return not self.text or self.text.casefold() in source.decode("utf-8", "backslashreplace").casefold()


EVERY_PICTURE = Wanted()

LOOKED_AT = 10_000
"""Pictures that are looked at for one page that no index finds; the next page goes on from there."""


@dataclass(frozen=True, slots=True)
class Page:
    """Some pictures, and where the next page begins; None: there is none."""

    jobs: tuple[Job, ...]
    next: Mark | None = None


@dataclass(frozen=True, slots=True)
class Seen:
    """Where a picture lies."""

    id: int
    folder: str
    source: bytes


@dataclass(frozen=True)
class Shoot:
    """
    The sub-folder that a studio bills and shows as one.

    Attributes:
        folder: The watched folder's name.
        path: Relative to its input root; empty for what lies in the root itself.
        is_flat: It lies above the level of shoots: only files right in it are meant.
    """

    folder: str
    path: bytes
    is_flat: bool = False

    @cached_property
    def first(self) -> bytes:
        """The least path that can be in it."""
        return self.path + b"/" if self.path else b""

    @cached_property
    def beyond(self) -> bytes:
        """The least path that comes after all of it."""
        return self.path + b"0" if self.path else _LAST  # "0" comes after "/"

    def skips(self, source: bytes) -> bytes | None:
        """Return where to go on from a path below it that is not meant; None if it is meant."""
        if not self.is_flat:
            return None
        below, found, _ = source[len(self.first) :].partition(b"/")
        return self.first + below + b"0" if found else None


def shoot_of(folder: str, source: bytes, *, depth: int) -> Shoot:
    """Say which shoot a picture belongs to, where *depth* levels of sub-folders name one."""
    return Shoot(folder, paths.shoot_of(source, depth), is_flat=source.count(b"/") < depth)


@dataclass(frozen=True, slots=True)
class Members:
    """Some pictures of a shoot by name, and the path at which the next page begins; None: there is none."""

    jobs: tuple[Job, ...]
    next: bytes | None = None


@dataclass(frozen=True, slots=True)
class FoundShoot:
    """A shoot, and the id of one of its pictures, by which it can be asked for."""

    shoot: Shoot
    id: int


@dataclass(frozen=True, slots=True)
class Shoots:
    """Some shoots of a folder by name, and the path at which the next page begins; None: there is none."""

    found: tuple[FoundShoot, ...]
    next: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """How far a shoot is, and what it has cost; versions that were replaced count as cost alone."""

    counts: Mapping[State, int]
    charged: Decimal = Decimal(0)
    changed_at: datetime | None = None
    odd: int = 0  # pictures with a finding
    is_whole: bool = True  # False: there are more pictures than were counted

    @property
    def pictures(self) -> int:
        """How many pictures were counted, without those that went away unsent."""
        return sum(number for state, number in self.counts.items() if state is not State.VANISHED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """Why pictures of a folder stand still: those of one state that have one code."""

    folder: str
    state: State
    code: str | None
    text: str | None  # of the one that changed last
    count: int
    changed_at: datetime
    latest: int  # the id of the one that changed last
    is_whole: bool = True  # False: older ones were not counted


@dataclass(frozen=True, slots=True)
class Day:
    """What the calls of one folder came to on one UTC day."""

    day: datetime
    folder: str
    spending: Spending
