"""
What can be told: one frozen value for each thing that happens to pictures, folders and the account.

An event knows its facts, its level and its sentence, so that the log, the page and a mail say the
same words. It does not know who listens, when it happened (reporters have clocks) or how it looks.
"""

import re
import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from decimal import Decimal
from enum import IntEnum
from typing import ClassVar, NamedTuple, TypedDict

from rembg_watch.errors import RembgWatchError
from rembg_watch.jobs import Job
from rembg_watch.report.words import (
    When,
    count_text,
    credits_number,
    credits_text,
    other_use_text,
    rate_text,
    show,
    size_text,
    span_text,
    utc_text,
)

IN_SENTENCE = {"is_fact": False}
"""The metadata of a field that is told in the sentence alone, and is no fact beside it."""

Fact = str | int | float | bool | None | list["Fact"]
"""A fact as JSON can hold it."""

BRIEF_S, LONG_S = 10, 120
"""A pause that passes by itself is no news before the one, and worth a warning after the other: seconds."""


class Level(IntEnum):
    """How much an event matters; the numbers are those of ``logging``."""

    DEBUG = 10  # for whoever looks for a fault
    INFO = 20  # a person may want to know
    WARNING = 30  # a person should know
    ERROR = 40  # a person has to do something, or a picture is not delivered


class Pause(NamedTuple):
    """What a shut gate means to a person: what is waited for, what to do about it, and how much it matters."""

    what: str
    advice: str = ""
    level: Level = Level.WARNING
    is_pacing: bool = False  # it passes by itself, mostly before anybody needs to know

    @classmethod
    def unknown(cls, reason: str) -> "Pause":
        """Let a reason of which nothing else is known speak for itself."""
        return cls(reason.replace("_", " "))


LOOKS: dict[str, str] = {
    "account": "the account is read again",
    "picture": "one picture tries it",
    "disk": "the disk is looked at again",
    "time": "it is over",
}
"""What looks next whether a pause may end; nothing does while a person is waited for."""

_SAME_S = 120  # an end so soon after the next look is told by that


def looks(by: str | None, look_at: datetime | None, until: datetime | None, *, when: When) -> tuple[str, ...]:
    """Say what looks next whether a pause may end, and when; and by when it ends at the latest, where that is known."""
    look = f"{LOOKS.get(by or '', 'it is looked at')} at {when(look_at)}" if look_at else ""
    is_told = until is None or (look_at is not None and abs((until - look_at).total_seconds()) < _SAME_S)
    end = "" if until is None or is_told else f"the period ends {when(until)}"
    return tuple(part for part in (look, end) if part)


class Condition(NamedTuple):
    """
    A state that lasts: told when it begins, when its detail changes and when it ends.

    Events with one key belong together; ``is_over`` marks the one that ends it.
    """

    key: tuple[str, ...]
    is_over: bool = False
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event(ABC):
    """One thing that can be told."""

    LEVEL: ClassVar[Level] = Level.INFO

    @property
    def level(self) -> Level:
        """How much it matters."""
        return self._level()

    @property
    def condition(self) -> Condition | None:
        """The lasting state that it begins or ends, if any."""
        return self._condition()

    def sentence(self, when: When = utc_text) -> str:
        """Say it in one line, moments written by *when*."""
        moment = self._moment()
        return f"{self._says()}{moment[0]} {when(moment[1])}" if moment else self._says()

    def _level(self) -> Level:
        return self.LEVEL

    def _condition(self) -> Condition | None:
        return None

    def _moment(self) -> tuple[str, datetime] | None:
        return None

    @abstractmethod
    def _says(self) -> str: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureEvent(Event):
    """Something that happened to one picture; *source* is relative to the folder's input root."""

    folder: str
    source: bytes
    job: int | None = None

    @property
    def picture(self) -> str:
        """The picture's name for a person: folder and path."""
        return f"{self.folder}/{show(self.source)}"


class OfJob(TypedDict):
    """What every event of a picture says of its job."""

    folder: str
    source: bytes
    job: int


def of(job: Job) -> OfJob:
    """Say which picture an event is about: ``Failed(**of(job), why=...)``."""
    return OfJob(folder=job.folder, source=job.source, job=job.id)


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderEvent(Event):
    """Something that happened to one folder."""

    folder: str


# --- the daemon ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Started(Event):
    """The daemon has its lock and its ledger and begins."""

    version: str
    folders: tuple[str, ...]
    workers: int
    state_dir: bytes

    def _says(self) -> str:
        names = ", ".join(self.folders)
        return (
            f"rembg-watch {self.version} watches {count_text(len(self.folders), 'folder')} ({names}) "
            f"with {count_text(self.workers, 'worker')}; its ledger is in {show(self.state_dir)}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovered(Event):
    """A crash left work behind and it was taken up."""

    requeued: int
    received: int
    in_doubt: int

    def _level(self) -> Level:
        return Level.WARNING if self.in_doubt else Level.INFO

    def _says(self) -> str:
        return (
            f"the last run ended in mid-work: {self.requeued:,} go back in line, {self.received:,} are already paid "
            f"and will be delivered without a call, {self.in_doubt:,} are in doubt"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockSetBack(Event):
    """The wall clock was set back, and jobs that stood in line by the old one are due by the new one."""

    LEVEL: ClassVar[Level] = Level.WARNING
    jobs: int

    def _says(self) -> str:
        return (
            f"this machine's clock was set back: {count_text(self.jobs, 'picture')} that stood in line by the "
            "old time will not wait for it; a daily budget is for a UTC day of the clock"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class DoubtsAsked(Event):
    """The account's counters get time to count what the API may still be at work on; nothing is sent meanwhile."""

    calls: int
    wait_s: float

    def _says(self) -> str:
        return (
            f"nothing is sent for {span_text(self.wait_s)}: then the account's counters tell whether "
            f"the {count_text(self.calls, 'call')} in doubt {'was' if self.calls == 1 else 'were'} charged"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class DoubtsSettled(Event):
    """The account's counters were asked what became of calls whose end a crash hid."""

    calls: int
    billed: str  # none_billed, all_billed or unknown

    def _says(self) -> str:
        was = "was" if self.calls == 1 else "were"
        told = {"none_billed": f"{was} not charged and can be made again for nothing", "all_billed": f"{was} charged"}
        unknown = "cannot be told apart by the account's counters"
        return f"{count_text(self.calls, 'call')} in doubt {told.get(self.billed, unknown)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopping(Event):
    """The daemon was asked to end."""

    in_flight: int
    queued: int
    hurried: bool = False

    def _says(self) -> str:
        if self.hurried:
            return f"stopping at once: {count_text(self.in_flight, 'call')} in flight will be in doubt"
        return f"stopping: waiting for {count_text(self.in_flight, 'call')} in flight; {self.queued:,} stay in line"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopped(Event):
    """The daemon has ended; nothing is in flight."""

    delivered: int
    failed: int
    queued: int
    uptime_s: float

    def _says(self) -> str:
        return (
            f"stopped after {span_text(self.uptime_s)}: {self.delivered:,} delivered, {self.failed:,} failed, "
            f"{self.queued:,} in line for the next start"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Reloaded(Event):
    """The new configuration is in force."""

    changes: tuple[str, ...]

    def _says(self) -> str:
        return f"configuration reloaded: {'; '.join(self.changes) or 'nothing has changed'}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReloadRefused(Event):
    """The new configuration is wrong and the old one stays in force."""

    LEVEL: ClassVar[Level] = Level.ERROR
    problems: tuple[str, ...]

    def _says(self) -> str:
        return f"configuration not reloaded, the old one stays in force: {'; '.join(self.problems)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mistake(Event):
    """An error that was not expected there; the job, if any, is kept."""

    LEVEL: ClassVar[Level] = Level.ERROR
    where: str
    error: BaseException
    job: int | None = None

    @property
    def is_foreseen(self) -> bool:
        """Whether the error is a sentence for a person, as of a full disk, and its traceback says nothing more."""
        return isinstance(self.error, RembgWatchError)

    def _condition(self) -> Condition | None:
        return Condition(("mistake", str(self.error))) if self.is_foreseen else None

    def _says(self) -> str:
        if self.is_foreseen:
            return str(self.error)
        last = traceback.format_exception_only(self.error)[-1].strip()
        return f"unforeseen error in {self.where}{f', job {self.job}' if self.job else ''}: {last}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReporterFailed(Event):
    """One of the reporters raised; the others go on."""

    LEVEL: ClassVar[Level] = Level.ERROR
    reporter: str
    error: BaseException

    def _says(self) -> str:
        last = traceback.format_exception_only(self.error)[-1].strip()
        return f"the reporter {self.reporter} fails and is left out when it does: {last}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stuck(Event):
    """A part of the daemon makes no progress, so the service manager is no longer told that all is well."""

    LEVEL: ClassVar[Level] = Level.ERROR
    part: str
    silent_s: float

    def _condition(self) -> Condition:
        return Condition(("stuck", self.part))

    def _says(self) -> str:
        return f"{self.part} has not moved for {span_text(self.silent_s)}; the service manager will start it anew"


@dataclass(frozen=True, slots=True, kw_only=True)
class Unstuck(Event):
    """A part that was stuck moves again."""

    part: str

    def _condition(self) -> Condition:
        return Condition(("stuck", self.part), is_over=True)

    def _says(self) -> str:
        return f"{self.part} moves again"


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerPruned(Event):
    """Old rows and answers were let go."""

    jobs: int
    answers: int
    freed_bytes: int

    def _level(self) -> Level:
        return Level.INFO if self.jobs or self.answers else Level.DEBUG

    def _says(self) -> str:
        return (
            f"ledger pruned: {count_text(self.jobs, 'old job')} and {count_text(self.answers, 'spooled answer')}, "
            f"{size_text(self.freed_bytes)} freed"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Retried(Event):
    """A person put jobs back in line."""

    jobs: int

    def _says(self) -> str:
        return f"{count_text(self.jobs, 'job')} put back in line by hand"


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskFull(Event):
    """No answer could be kept, so none is asked for."""

    LEVEL: ClassVar[Level] = Level.ERROR
    path: bytes
    free_bytes: int
    needed_bytes: int

    def _condition(self) -> Condition:
        return Condition(("disk", show(self.path)))

    def _says(self) -> str:
        return (
            f"the disk of {show(self.path)} is full ({size_text(self.free_bytes)} left, "
            f"{size_text(self.needed_bytes)} needed); nothing is sent until there is space"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskFree(Event):
    """There is space again."""

    path: bytes
    free_bytes: int

    def _condition(self) -> Condition:
        return Condition(("disk", show(self.path)), is_over=True)

    def _says(self) -> str:
        return f"the disk of {show(self.path)} has space again ({size_text(self.free_bytes)}); work goes on"


# --- watch and settle ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Found(FolderEvent):
    """Sources were seen for the first time; they have to settle."""

    LEVEL: ClassVar[Level] = Level.DEBUG
    count: int

    def _says(self) -> str:
        return f"{self.folder}: {count_text(self.count, 'new file')} seen"


@dataclass(frozen=True, slots=True, kw_only=True)
class Unsettled(PictureEvent):
    """A source does not become whole."""

    LEVEL: ClassVar[Level] = Level.WARNING
    why: str
    age_s: float

    def _condition(self) -> Condition:
        return Condition(("unsettled", self.folder, show(self.source)), detail=self.why)

    def _says(self) -> str:
        return f"{self.picture} is not whole after {span_text(self.age_s)}: {self.why}; it is looked at again"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled(PictureEvent):
    """A source that was long unsettled is whole, or gone."""

    def _condition(self) -> Condition:
        return Condition(("unsettled", self.folder, show(self.source)), is_over=True)

    def _says(self) -> str:
        return f"{self.picture} has settled"


@dataclass(frozen=True, slots=True, kw_only=True)
class PassedOver(PictureEvent):
    """A picture of a kind that the service does not take; told for the first of each kind alone."""

    LEVEL: ClassVar[Level] = Level.WARNING
    suffix: str

    def _says(self) -> str:
        return (
            f"{self.picture} and every other {self.suffix} file is left alone: the service takes JPEG, PNG, WebP and "
            "BMP only; export it as one of these, or exclude it knowingly"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Enqueued(FolderEvent):
    """Settled sources are jobs on disk and survive a restart."""

    count: int
    size_bytes: int

    def _says(self) -> str:
        return f"{self.folder}: {count_text(self.count, 'new picture')} in line ({size_text(self.size_bytes)})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rescanned(FolderEvent):
    """A full walk has ended."""

    LEVEL: ClassVar[Level] = Level.DEBUG
    files: int
    duration_s: float
    because: str = "interval"

    def _says(self) -> str:
        return f"{self.folder}: looked at {count_text(self.files, 'file')} in {span_text(self.duration_s)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderOffline(FolderEvent):
    """A root cannot be read or written: a share is away, a disk is not mounted, rights are missing."""

    LEVEL: ClassVar[Level] = Level.WARNING
    path: bytes
    why: str

    def _condition(self) -> Condition:
        return Condition(("offline", self.folder, show(self.path)), detail=self.why)

    def _says(self) -> str:
        return f"{self.folder}: {show(self.path)} is not there: {self.why}; waiting for it"


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderOnline(FolderEvent):
    """A root that was away is back."""

    path: bytes
    away_s: float

    def _condition(self) -> Condition:
        return Condition(("offline", self.folder, show(self.path)), is_over=True)

    def _says(self) -> str:
        return f"{self.folder}: {show(self.path)} is back after {span_text(self.away_s)}; scanning it"


@dataclass(frozen=True, slots=True, kw_only=True)
class Overflowed(FolderEvent):
    """The kernel dropped notices; the scan that follows finds what they would have told."""

    def _says(self) -> str:
        return f"{self.folder}: more changes than the kernel can tell; scanning everything instead"


@dataclass(frozen=True, slots=True, kw_only=True)
class ObserverRebuilt(FolderEvent):
    """The observer was dead or blind and was replaced."""

    LEVEL: ClassVar[Level] = Level.WARNING
    why: str

    def _says(self) -> str:
        return f"{self.folder}: change notices had stopped ({self.why}); set up anew, scanning everything"


@dataclass(frozen=True, slots=True, kw_only=True)
class Polling(FolderEvent):
    """The folder is looked at in turn because notices cannot be had or trusted there."""

    why: str
    interval_s: float

    def _condition(self) -> Condition:
        return Condition(("polling", self.folder), detail=self.why)

    def _says(self) -> str:
        return f"{self.folder}: looking every {span_text(self.interval_s)} instead of being notified: {self.why}"


# --- admit --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class CreditsRead(Event):
    """The account told what it holds."""

    LEVEL: ClassVar[Level] = Level.DEBUG
    included: Decimal
    prepaid: Decimal
    spendable: Decimal
    period_end_at: datetime | None

    def _says(self) -> str:
        return f"{credits_text(self.spendable)} can be spent"

    def _moment(self) -> tuple[str, datetime] | None:
        return ("; the billing period ends", self.period_end_at) if self.period_end_at else None


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountDiffers(Event):
    """The account was used by others, or counts other calls than the ledger does; all of it, summed up."""

    since: datetime
    by_app: Decimal = Decimal(0)  # by the web editor
    more: Decimal = Decimal(0)  # counted by the account alone
    fewer: Decimal = Decimal(0)  # counted by the ledger alone

    def _level(self) -> Level:
        return Level.WARNING if self.more or self.fewer else Level.INFO

    def _condition(self) -> Condition:
        return Condition(("account",), detail=f"{self.by_app}/{self.more}/{self.fewer}")

    def _says(self) -> str:
        told = other_use_text(self.by_app, self.more, self.fewer, counts="this ledger")
        why = " (another program may use the key, or a call in doubt was charged)" if self.more or self.fewer else ""
        return f"other use of the account: {told}{why},"

    def _moment(self) -> tuple[str, datetime] | None:
        return (" since", self.since)


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchFormed(Event):
    """The account was read and jobs were chosen."""

    size: int
    queued: int
    spendable: Decimal

    def _says(self) -> str:
        return f"batch of {self.size:,} out of {self.queued:,} in line; {credits_text(self.spendable)} can be spent"


@dataclass(frozen=True, slots=True, kw_only=True)
class GateShut(Event):
    """No call goes until *until*, or until what *reason* names has changed."""

    reason: str
    why: str = ""  # the API's own words, or the error
    until: datetime | None = None
    shut_s: float | None = None  # how long it has been shut already, where it is told late
    look_at: datetime | None = None  # when it is looked at whether it may end
    look_by: str | None = None  # and by what
    is_answered: bool = False  # the API answers, and fails
    pause: Pause | None = field(default=None, metadata=IN_SENTENCE)  # None: the reason is all that is known

    def sentence(self, when: When = utc_text) -> str:
        """Say it in one line: also when it is looked at next, which may be long before the end that is expected."""
        told = "; ".join(looks(self.look_by, self.look_at, self.until, when=when))
        return f"{self._says()} {told[:1].upper()}{told[1:]}." if told else self._says()

    def _level(self) -> Level:
        pause = self.pause or Pause.unknown(self.reason)
        if not pause.is_pacing:
            return pause.level
        shut_s = self.shut_s or 0
        return Level.WARNING if shut_s >= LONG_S else Level.INFO if shut_s >= BRIEF_S else Level.DEBUG

    def _condition(self) -> Condition:
        is_known = "end known" if self.until and self.until != self.look_at else ""
        return Condition(("gate",), detail=f"{self.reason}/{self.level}/{is_known}")

    def _says(self) -> str:
        pause = self.pause or Pause.unknown(self.reason)
        words = f' ("{self.why}")' if self.why else ""
        return f"paused: {pause.what}{words}. {pause.advice}".rstrip()


@dataclass(frozen=True, slots=True, kw_only=True)
class GateOpened(Event):
    """Calls go again."""

    reason: str  # the one that has ended
    shut_s: float
    pause: Pause | None = field(default=None, metadata=IN_SENTENCE)

    def _level(self) -> Level:
        is_pacing = self.pause is not None and self.pause.is_pacing
        return Level.DEBUG if is_pacing and self.shut_s < BRIEF_S else Level.INFO

    def _condition(self) -> Condition:
        return Condition(("gate",), is_over=True)

    def _says(self) -> str:
        pause = self.pause or Pause.unknown(self.reason)
        return f"work goes on after a pause of {span_text(self.shut_s)} ({pause.what})"


@dataclass(frozen=True, slots=True, kw_only=True)
class FailuresCost(Event):
    """Credits went while the server failed: from now on such a failure counts as perhaps charged."""

    LEVEL: ClassVar[Level] = Level.WARNING
    failures: int
    credits: Decimal

    def _says(self) -> str:
        failed = f"the server failed {count_text(self.failures, 'call')}"
        return (
            f"{credits_text(self.credits)} more {'was' if self.credits == 1 else 'were'} taken than is known, "
            f"and {failed}: from now on such a call counts as perhaps charged and is repeated once"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLearned(Event):
    """The pace that the account bears is known better than before."""

    rate_per_s: float
    previous_per_s: float | None = None
    because: str = ""

    def _level(self) -> Level:
        """News only where the change is worth a line."""
        old = self.previous_per_s
        return Level.INFO if not old or abs(self.rate_per_s / old - 1) > 0.2 else Level.DEBUG

    def _says(self) -> str:
        before = f" (before: {rate_text(self.previous_per_s)})" if self.previous_per_s else ""
        return f"the account bears {rate_text(self.rate_per_s)}{before}{f': {self.because}' if self.because else ''}"


# --- call, verify, publish ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class CallStarted(PictureEvent):
    """The request begins to leave."""

    LEVEL: ClassVar[Level] = Level.DEBUG
    attempt: int
    size_bytes: int

    def _says(self) -> str:
        return f"{self.picture}: sending {size_text(self.size_bytes)}, attempt {self.attempt}"


@dataclass(frozen=True, slots=True, kw_only=True)
class CallEnded(PictureEvent):
    """The API has answered, or has not; what follows from it is told by another event."""

    LEVEL: ClassVar[Level] = Level.DEBUG
    duration_s: float
    charged: Decimal
    sent_bytes: int
    answer_bytes: int
    status: int | None = None  # None: no answer
    request_id: str | None = None

    def _says(self) -> str:
        answer = f"answer {self.status} of {size_text(self.answer_bytes)}" if self.status else "no answer"
        return f"{self.picture}: {answer} in {span_text(self.duration_s)}, {credits_text(self.charged)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivered(PictureEvent):
    """The cutout stands, whole and verified, under its final name; *target* is relative to the output root."""

    target: bytes
    duration_s: float
    charged: Decimal
    credits_left: Decimal | None = None
    answer_bytes: int = 0

    def _says(self) -> str:
        left = f", {credits_text(self.credits_left)} left" if self.credits_left is not None else ""
        cost = credits_text(self.charged)
        return f"{self.picture} delivered as {show(self.target)} in {span_text(self.duration_s)} ({cost}{left})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reused(PictureEvent):
    """The same bytes with the same parameters were paid for before; the cutout stands without a call."""

    target: bytes
    answer_bytes: int = 0

    def _says(self) -> str:
        return f"{self.picture} delivered as {show(self.target)} without a call: the same picture was paid for before"


@dataclass(frozen=True, slots=True, kw_only=True)
class WillRetry(PictureEvent):
    """An attempt failed for a reason that may pass."""

    why: str
    attempt: int
    max_attempts: int
    retry_at: datetime | None = None

    def _says(self) -> str:
        return f"{self.picture}: {self.why}; attempt {self.attempt} of {self.max_attempts}, sent again"

    def _moment(self) -> tuple[str, datetime] | None:
        return (" after", self.retry_at) if self.retry_at else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed(PictureEvent):
    """This picture cannot be processed; it is never sent again by itself."""

    LEVEL: ClassVar[Level] = Level.ERROR
    why: str
    code: str | None = None
    field: str | None = None
    request_id: str | None = None
    charged: Decimal = Decimal(0)

    def _says(self) -> str:
        cost = f" ({credits_text(self.charged)} charged)" if self.charged else ""
        return f"{self.picture} failed: {self.why}{cost}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Held(PictureEvent):
    """This picture waits for a person or a setting."""

    LEVEL: ClassVar[Level] = Level.WARNING
    why: str
    code: str | None = None

    def _condition(self) -> Condition:
        """One line for a folder, not one for each of its pictures."""
        return Condition(("held", self.folder), detail=self.why)

    def _says(self) -> str:
        return f"{self.picture} is held: {self.why}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Released(FolderEvent):
    """What held a folder's pictures is gone; they are back in line."""

    count: int

    def _condition(self) -> Condition:
        return Condition(("held", self.folder), is_over=True)

    def _says(self) -> str:
        return f"{self.folder}: {count_text(self.count, 'held picture')} back in line"


@dataclass(frozen=True, slots=True, kw_only=True)
class InDoubt(PictureEvent):
    """The request left whole and no usable answer came: the credit may be gone."""

    LEVEL: ClassVar[Level] = Level.WARNING
    why: str
    will_retry: bool
    request_id: str | None = None

    def _says(self) -> str:
        then = "sent once more" if self.will_retry else 'held; "rembg-watch retry --state in_doubt" sends it again'
        return f"{self.picture} is in doubt: {self.why}; a credit may have been taken; {then}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Vanished(PictureEvent):
    """The source went away or was replaced before it was sent; nothing was paid."""

    why: str = "it is no longer there"

    def _says(self) -> str:
        return f"{self.picture} was not sent: {self.why}"


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputBlocked(FolderEvent):
    """Nothing can be published in a folder; what is paid waits in the spool."""

    LEVEL: ClassVar[Level] = Level.ERROR
    path: bytes
    why: str
    code: str = ""

    def _condition(self) -> Condition:
        """One line for a folder, not one for each of its pictures."""
        return Condition(("output", self.folder), detail=self.code)

    def _says(self) -> str:
        return f"{self.folder}: {self.why}; nothing is sent for it meanwhile, and what is paid for is kept"


@dataclass(frozen=True, slots=True, kw_only=True)
class NameRefused(PictureEvent):
    """A folder takes cutouts, but not this one: the paid answer waits in the spool."""

    LEVEL: ClassVar[Level] = Level.ERROR
    why: str
    code: str = ""

    def _condition(self) -> Condition:
        return Condition(("name", self.folder, show(self.source)), detail=self.code)

    def _says(self) -> str:
        return f"{self.picture}: {self.why}; the paid cutout is kept and delivered later"


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputFree(FolderEvent):
    """The output can be written again."""

    path: bytes

    def _condition(self) -> Condition:
        return Condition(("output", self.folder), is_over=True)

    def _says(self) -> str:
        return f"{self.folder}: {show(self.path)} can be written again; work goes on"


@dataclass(frozen=True, slots=True, kw_only=True)
class Disposed(PictureEvent):
    """The source was moved or deleted, as configured, after its cutout stood."""

    LEVEL: ClassVar[Level] = Level.DEBUG
    moved_to: bytes | None = None  # None: deleted

    def _says(self) -> str:
        return f"{self.picture} " + (f"moved to {show(self.moved_to)}" if self.moved_to is not None else "deleted")


@dataclass(frozen=True, slots=True, kw_only=True)
class NotDisposed(PictureEvent):
    """The cutout stands but its source could not be moved or deleted; it stays where it is."""

    LEVEL: ClassVar[Level] = Level.WARNING
    why: str
    code: str = ""

    def _condition(self) -> Condition:
        """One line for a folder, not one for each of its pictures."""
        return Condition(("dispose", self.folder), detail=self.code)

    def _says(self) -> str:
        return f"{self.picture} is delivered but stays where it is: {self.why}"


@dataclass(frozen=True, slots=True, kw_only=True)
class OriginalsStay(FolderEvent):
    """A folder that originals are moved to, or taken from, cannot be written at the start."""

    LEVEL: ClassVar[Level] = Level.WARNING
    place: str  # input, done or failed
    path: bytes
    why: str

    def _says(self) -> str:
        return (
            f"{self.folder}: the {self.place} folder {show(self.path)} cannot be written: {self.why}; "
            "pictures are cut out, and originals stay where they are until it can"
        )


# --- telling ------------------------------------------------------------------------------------

Reporter = Callable[[Event], None]
"""Whoever is told; it must be quick and may be called from any thread."""


def kind(event: Event) -> str:
    """Name what happened, for machines: ``gate_shut``."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", type(event).__name__).lower()


def facts(event: Event) -> dict[str, Fact]:
    """Give the fields of *event* as JSON can hold them; paths as they are shown, moments in UTC."""
    return {one.name: _fact(getattr(event, one.name)) for one in fields(event) if one.metadata.get("is_fact", True)}


def _fact(value: object) -> Fact:
    match value:
        case None | bool() | int() | float():
            return value
        case bytes():
            return show(value)
        case Decimal():
            return credits_number(value)
        case datetime():
            return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
        case tuple():
            return [_fact(part) for part in value]
        case BaseException():
            return traceback.format_exception_only(value)[-1].strip()
    return str(value)


def nobody(event: Event) -> None:
    """Tell nobody."""


def fan_out(*reporters: Reporter) -> Reporter:
    """
    Tell every one of *reporters*, whatever the others do.

    A page or a mail server that fails must not stop the pictures. The first failure of
    each reporter is told to the others; later ones are passed over in silence.
    """
    told: dict[int, object] = {}

    def tell(event: Event) -> None:
        for number, reporter in enumerate(reporters):
            try:
                reporter(event)
            except Exception as error:  # noqa: BLE001 - a reporter's error is not the pictures' concern
                mine = object()
                if told.setdefault(number, mine) is mine:  # atomic, so that two threads do not both tell it
                    tell(ReporterFailed(reporter=_name(reporter), error=error))

    return tell


def _name(reporter: Reporter) -> str:
    return getattr(reporter, "__qualname__", type(reporter).__name__)
