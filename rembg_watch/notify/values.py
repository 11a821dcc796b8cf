"""
What notices are made of: what there is to tell, when it may be told, and what was told already.

Frozen values; what is done with them is in ``rules``.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, time, tzinfo
from decimal import Decimal
from enum import StrEnum

from rembg_watch.config.rules import is_within


class Urgency(StrEnum):
    """When something may be told."""

    PERSON = "person"  # somebody must act: at once, also at night
    PASSING = "passing"  # it may pass by itself: once it has lasted, and not at night
    NEWS = "news"  # nothing waits for anybody: not at night


class Kind(StrEnum):
    """How a notice looks, where a service has colours or signs; in the words of Apprise."""

    FAILURE = "failure"
    WARNING = "warning"
    SUCCESS = "success"
    INFO = "info"


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What the settings say."""

    group_s: float = 60.0
    per_hour: int = 6
    quiet: tuple[time, time] | None = None
    digest: time | None = None
    zone: tzinfo | None = None  # None: this machine's
    host: str = ""

    def is_quiet(self, now: datetime) -> bool:
        """Say whether people are not to be woken, by the clock on their wall."""
        return self.quiet is not None and is_within(now.astimezone(self.zone).time(), self.quiet)

    def title(self, words: str) -> str:
        """Put the name of the machine before what a notice is about."""
        return f"rembg-watch{f' on {self.host}' if self.host else ''}: {words}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """Something that goes on and keeps work from being done."""

    key: str
    what: str  # in a few words, as its end is told
    text: str  # and what to do about it
    urgency: Urgency
    since: datetime
    lasts_s: float = 0.0  # it is told once it has lasted so long


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """A trouble that goes on, or has just ended, and when it was told."""

    key: str
    what: str
    text: str
    urgency: Urgency
    since: datetime
    lasts_s: float = 0.0
    told_at: datetime | None = None  # last; None: not yet
    over_at: datetime | None = None  # it may come back within ``group_s``


@dataclass(frozen=True, slots=True, kw_only=True)
class Shoot:
    """What went wrong in one shoot, of which nothing was told yet."""

    name: str
    failed: int = 0
    in_doubt: int = 0
    held: int = 0
    odd: int = 0
    reasons: Mapping[str, int] = field(default_factory=dict)
    last_at: datetime
    is_live: bool = False  # some of its pictures are still in line


@dataclass(frozen=True, slots=True, kw_only=True)
class Day:
    """What a digest is made of."""

    since: datetime
    delivered: int = 0
    failed: int = 0
    odd: int = 0
    in_doubt: int = 0
    held: int = 0
    waiting: int = 0
    reasons: Mapping[str, int] = field(default_factory=dict)
    charged: Decimal = Decimal(0)
    doubtful: Decimal = Decimal(0)
    spendable: Decimal | None = None
    per_day: Decimal = Decimal(0)  # credits a day, lately
    other_use: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """One message."""

    number: int
    keys: tuple[str, ...]
    kind: Kind
    title: str
    lines: tuple[str, ...]
    urgency: Urgency
    made_at: datetime
    count: int = 1  # notices that it stands for
    arrived: tuple[str, ...] = ()  # where: the digests of URLs
    tries: int = 0
    next_at: datetime | None = None  # not before


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """Up to when the pictures of a shoot were told, and when that was."""

    until: datetime
    told_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """All that was told, and is still to be told."""

    known: tuple[Known, ...] = ()
    pending: tuple[Notice, ...] = ()
    sent_at: tuple[datetime, ...] = ()  # in the last hour
    grouped_at: datetime | None = None  # when a trouble was told last
    digest_at: datetime  # up to when the days were summed up
    pictures_until: datetime  # what went wrong up to then was told, whatever the shoot
    shoots: Mapping[str, Mark] = field(default_factory=dict)  # those of which more was told
    numbers: int = 0

    @classmethod
    def nothing(cls, now: datetime) -> "Told":
        """Begin: what was before now is nobody's news."""
        return cls(digest_at=now, pictures_until=now)
