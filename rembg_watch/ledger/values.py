"""
What goes into the ledger and comes out of it besides jobs, and what it refuses.

Frozen values, errors and two pure functions; no SQL, no clock, no disk.
"""

import fnmatch
import os
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import TypeAlias, TypeVar

from rembg_watch.api.errors import Charge
from rembg_watch.errors import ExitCode, LedgerError
from rembg_watch.jobs import Job, State
from rembg_watch.passed_over import Passed, PassedOver, Why

Json: TypeAlias = "bool | int | float | str | Sequence[Json] | Mapping[str, Json] | None"
"""What a note can hold."""

T = TypeVar("T")

FILE_NAME = "ledger.db"
"""The ledger of a state directory."""

CLOCK_READ_SKEW = timedelta(seconds=2)
"""How far apart two threads may read the clock; what lies further ahead comes from a clock that was set back since."""


class Access(StrEnum):
    """What one may do to a ledger."""

    OWN = "own"  # the daemon: makes it, brings it up to date, writes
    JOIN = "join"  # beside the daemon: writes, but makes and changes no tables
    READ = "read"  # only looks


@dataclass(frozen=True, slots=True)
class Turn:
    """A folder that may have jobs claimed: how it stands in line and how many it may have."""

    folder: str
    priority: int = 0  # folders with a higher number go first; equal ones take turns
    at_most: int | None = None  # so many more may be sent, by its own budget; None: no limit of its own

    @property
    def may_send(self) -> bool:
        """Whether its own budget leaves anything to send; what is paid for may be delivered in any case."""
        return self.at_most is None or self.at_most > 0


@dataclass(frozen=True, slots=True)
class Which:
    """A choice of jobs; what is left out does not matter."""

    states: frozenset[State] = frozenset()
    folders: frozenset[str] = frozenset()
    ids: frozenset[int] | None = None  # these alone, and none where there are none
    pattern: str | None = None  # a glob over the path, or over folder and path; ``*`` crosses directories
    since: datetime | None = None  # changed at this moment or later
    is_odd: bool = False  # only those of which something is to be looked at
    has_surprise: bool | None = None  # whether an answer of an unexpected size waits for a person; None: either

    def accepts(self, source: bytes, folder: str) -> bool:
        """Say if *source* is a path that the pattern means, or the picture that it names as lists and logs do."""
        if self.pattern is None:
            return True
        path = os.fsdecode(source)
        name, glob = f"{folder}/{path}", _glob(self.pattern)
        return self.pattern == name or any(glob.match(one) is not None for one in (path, name))


def _glob(pattern: str) -> re.Pattern[str]:
    return re.compile(fnmatch.translate(pattern))  # re keeps the last 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovery:
    """What a start found."""

    in_doubt: tuple[Job, ...]  # sent, no answer known; those of this crash and older ones still undecided
    crashed: int  # how many of them the last run left
    received: int  # paid answers that wait to be published: claim them first
    claims: int  # jobs that were claimed and are simply back in line


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """An output name that a source owns, and what we last put there."""

    folder: str
    target: bytes
    source: bytes
    digest: str | None = None  # None: nothing was published there yet
    size_bytes: int | None = None
    mtime_ns: int | None = None
    inode: int | None = None


class Verdict(StrEnum):
    """What a person thinks of a cut-out."""

    APPROVED = "approved"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True)
class Review:
    """What a person decided about one answer."""

    verdict: Verdict
    at: datetime
    who: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Reviewed:
    """A picture with a verdict, and the number below which the next page begins."""

    number: int
    job: Job


class MadeState(StrEnum):
    """How far a deliverable is."""

    MADE = "made"  # its file is whole and has, perhaps, its name already
    STANDING = "standing"  # it has its name
    FAILED = "failed"  # it cannot be made of this picture


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """One deliverable of one picture."""

    job_id: int
    name: str
    recipe_digest: str  # how it was made
    state: MadeState
    made_at: datetime
    target: bytes | None = None
    digest: str | None = None  # SHA-256 of its file
    size_bytes: int | None = None
    reason: str | None = None  # why it cannot be made, or what is odd about it
    code: str | None = None


@dataclass(frozen=True, slots=True)
class Lacking:
    """A delivered picture that lacks a deliverable."""

    job_id: int
    source: bytes
    name: str
    content_key: str | None
    answer_digest: str | None
    stands: bool = True  # its original is where it was, so that it could be bought anew
    has_file: bool = False  # it has the file, made otherwise


@dataclass(frozen=True, slots=True, kw_only=True)
class Spending:
    """What the calls of a time came to."""

    calls: int = 0
    charged: Decimal = Decimal(0)  # credits surely taken
    doubtful: Decimal = Decimal(0)  # credits perhaps taken, calls under way included
    in_doubt: int = 0  # calls perhaps charged, those under way included
    under_way: int = 0  # of those, the calls whose end is not known yet
    under_way_credits: Decimal = Decimal(0)  # the part of ``doubtful`` that is theirs
    refused: int = 0  # calls surely not charged
    doubles: int = 0  # calls, maybe charged, for content that an earlier doubtful call was made for
    repeats: int = 0  # calls, maybe charged, for content that was surely paid before

    @property
    def booked(self) -> Decimal:
        """What a budget has to count: what was taken and what perhaps was."""
        return self.charged + self.doubtful

    def __add__(self, other: "Spending") -> "Spending":
        """Return what the calls of two times came to that do not overlap."""
        return Spending(**{one.name: getattr(self, one.name) + getattr(other, one.name) for one in fields(self)})


class By(StrEnum):
    """What the costs of a time are divided by."""

    FOLDER = "folder"
    DAY = "day"
    DIRECTORY = "directory"
    PICTURE = "picture"


@dataclass(frozen=True, slots=True, kw_only=True)
class Billed:
    """What a folder came to in a time, or a day, a directory or a picture of it."""

    folder: str
    day: datetime | None = None  # when it began, in UTC; of what is forgotten: of the newest of it
    place: bytes | None = None  # the directory or the source; None: it is not asked for, or forgotten
    is_forgotten: bool = False  # these are the sums of what was pruned: nobody knows its pictures any more
    delivered: int = 0  # pictures that were delivered, paid or not
    spending: Spending


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call as the books have it; what an older version did not write down is None."""

    id: int
    job_id: int
    started_at: datetime
    ended_at: datetime | None  # None: it is under way, or nobody saw its end
    charge: Charge
    credits: Decimal  # taken, or perhaps taken; what it would have cost, where it was not charged
    code: str | None
    recipe: str | None
    sent_bytes: int | None
    status: int | None
    answer_bytes: int | None
    request_id: str | None
    words: str | None
    follows: str = "no"  # the charge of earlier calls for this content


@dataclass(frozen=True, slots=True, kw_only=True)
class PastBalance:
    """What the account held at a moment."""

    at: datetime
    included: Decimal
    prepaid: Decimal
    period_end_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Backlog:
    """The queue at a moment."""

    jobs: int
    size_bytes: int
    waiting: int  # of the jobs, those whose turn has not come yet
    oldest_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruned:
    """What was let go."""

    jobs: int
    calls: int
    targets: int
    freed_bytes: int


class NoLedgerError(LedgerError):
    """There is no ledger yet."""


class LedgerClosedError(LedgerError):
    """There may be a ledger, but this user may not look; somebody else's daemon keeps it."""


class LedgerUnavailableError(LedgerError):
    """The ledger cannot be used just now: its disk is full, failing or read-only, or somebody keeps it locked."""

    exit_code = ExitCode.WAITING


class StaleJobError(Exception):
    """The ledger moved on while somebody worked on a job: what is known of it there is out of date."""

    def __init__(self, job: Job, found: State | None) -> None:
        now = "is not in the ledger any more" if found is None else f"is {found} by now"
        super().__init__(f"job {job.id} was to become {job.state}, but it {now}")
        self.job = job
        self.found = found


class SendingTwiceError(Exception):
    """Another job is sending the very same request now: two answers would be paid for."""

    def __init__(self, job: Job, other_id: int) -> None:
        super().__init__(f"job {job.id} would send what job {other_id} is sending now")
        self.job = job
        self.other_id = other_id


class TargetsTakenError(Exception):
    """Every name that was offered belongs to another source."""

    def __init__(self, folder: str, source: bytes) -> None:
        super().__init__(f"no free output name for {os.fsdecode(source)!r} in folder {folder!r}")
        self.folder = folder
        self.source = source


def name_key(target: bytes) -> bytes:
    """
    Return what two names share that a Mac or a Windows share takes for one.

    Case and Unicode form are taken away, in the order that Unicode asks for. Bytes
    that are no UTF-8 stay as they are.
    """
    text = target.decode("utf-8", "surrogateescape")
    folded = unicodedata.normalize("NFD", text).casefold()
    return unicodedata.normalize("NFC", folded).encode("utf-8", "surrogateescape")


def passed_over_note(found: PassedOver) -> Json:
    """Write what is passed over as JSON holds it; a name that is no UTF-8 keeps its bytes."""
    return {
        "counts": [[one.why.value, one.kind, number] for one, number in found.counts.items()],
        "examples": [[os.fsdecode(source), one.why.value, one.kind] for source, one in found.examples],
    }


def passed_over_from(note: Json) -> PassedOver:
    """Read back what ``passed_over_note`` wrote; what another version wrote otherwise counts as nothing."""
    if not isinstance(note, dict):
        return PassedOver({}, ())
    try:
        counts = {Passed(Why(why), kind): int(number) for why, kind, number in note["counts"]}
        examples = tuple((os.fsencode(source), Passed(Why(why), kind)) for source, why, kind in note["examples"])
    except (TypeError, KeyError, ValueError):
        return PassedOver({}, ())
    return PassedOver(counts, examples)


def take_turns(lines: Sequence[Sequence[T]], limit: int, *, first: int = 0) -> list[T]:
    """
    Take from each line in turn until there are *limit* or all lines are empty.

    Args:
        lines: Job ids or the like, each line in its own order.
        limit: How many to take.
        first: Which line begins; it wraps around, so that a counter will do.
    """
    taken: list[T] = []
    start = first % len(lines) if lines else 0
    turning = [*lines[start:], *lines[:start]]
    for place in range(max(map(len, turning), default=0)):
        taken += [line[place] for line in turning if place < len(line)]
        if len(taken) >= limit:
            break
    return taken[:limit]
