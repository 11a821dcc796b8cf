"""What happens to the daemon itself: start, stop, reload, mistakes, its ledger."""

import traceback
from dataclasses import dataclass
from typing import ClassVar

from rembg_watch.errors import RembgWatchError
from rembg_watch.report.event import Condition, Event, Lasting, Level
from rembg_watch.report.words import count_text, show, size_text, span_text


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
class NoThreads(Event):
    """Not even one worker can have its threads, so nothing begins yet."""

    level: ClassVar[Level] = Level.ERROR
    advice: str

    def _says(self) -> str:
        return f"no more threads can be started here, so nothing is watched or sent yet: {self.advice}"


@dataclass(frozen=True, slots=True, kw_only=True)
class FewerWorkers(Event):
    """Not all workers can have their threads; it goes on with fewer."""

    level: ClassVar[Level] = Level.WARNING
    workers: int
    wanted: int
    advice: str

    def _says(self) -> str:
        have = f"{count_text(self.workers, 'worker')} of {self.wanted:,}"
        return f"no more threads can be started here than for {have}, so the others are missing: {self.advice}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovered(Event):
    """Work was left from before, by a crash, or by a command beside no daemon, and it was taken up."""

    requeued: int
    received: int
    in_doubt: int

    @property
    def level(self) -> Level:
        """Return how much it matters: a doubt may have cost a credit."""
        return Level.WARNING if self.in_doubt else Level.INFO

    def _says(self) -> str:
        parts = [f"{self.requeued:,} back in line"] if self.requeued else []
        parts += [f"{self.received:,} paid for and delivered without a call"] if self.received else []
        parts += [f"{self.in_doubt:,} in doubt"] if self.in_doubt else []
        begin = "the last run ended in mid-work" if self.requeued or self.in_doubt else "taken up from before"
        return f"{begin}: {', '.join(parts)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockSetBack(Event):
    """The wall clock was set back, and jobs that stood in line by the old one are due by the new one."""

    level: ClassVar[Level] = Level.WARNING
    jobs: int

    def _says(self) -> str:
        return (
            f"this machine's clock was set back: {count_text(self.jobs, 'picture')} that stood in line by the "
            "old time will not wait for it; a daily budget is for a UTC day of the clock"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerLost(Event):
    """The ledger was removed or replaced while it was in use: nothing more is sent, or it would be paid for again."""

    level: ClassVar[Level] = Level.ERROR
    lasting: ClassVar[Lasting] = Lasting("ledger lost", "path")
    path: bytes
    kept: bytes  # where a copy of it was written; empty: nowhere

    def _says(self) -> str:
        name = show(self.path)
        copy = f"put {show(self.kept)}, which holds all of it, in its place" if self.kept else "put it back"
        return (
            f"the ledger {name} was removed or replaced while it was in use: nothing more is sent, and what is paid "
            f"for is still delivered. Stop rembg-watch, move {name}-wal and {name}-shm away, {copy}, and start it again"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerSetBack(Event):
    """The ledger is an older one than the last run had, such as a backup."""

    level: ClassVar[Level] = Level.WARNING
    path: bytes
    calls: int  # so many it does not know of

    def _says(self) -> str:
        return (
            f"the ledger {show(self.path)} is older than what the last run wrote beside it: it knows nothing of "
            f"{count_text(self.calls, 'call')}. Each folder is looked at as if it were new, so that what seems to be "
            "delivered is not paid for again"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerBack(Event):
    """The very ledger that was removed is in its place again."""

    lasting: ClassVar[Lasting] = Lasting("ledger lost", "path", is_over=True)
    path: bytes

    def _says(self) -> str:
        return f"the ledger {show(self.path)} is in its place again; it goes on"


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
        known = {"none_billed": f"{was} not charged and can be made again for nothing", "all_billed": f"{was} charged"}
        unknown = "cannot be told apart by the account's counters"
        return f"{count_text(self.calls, 'call')} in doubt {known.get(self.billed, unknown)}"


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

    level: ClassVar[Level] = Level.ERROR
    problems: tuple[str, ...]

    def _says(self) -> str:
        return f"configuration not reloaded, the old one stays in force: {'; '.join(self.problems)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mistake(Event):
    """An error that was not expected there; the job, if any, is kept."""

    level: ClassVar[Level] = Level.ERROR
    where: str
    error: BaseException
    job: int | None = None

    @property
    def is_foreseen(self) -> bool:
        """Whether the error is a sentence for a person, as of a full disk, and its traceback says nothing more."""
        return isinstance(self.error, RembgWatchError)

    @property
    def condition(self) -> Condition | None:
        """Return the state that is reported once: an error that is a sentence for a person comes again and again."""
        return Condition(("mistake", str(self.error))) if self.is_foreseen else None

    def _says(self) -> str:
        if self.is_foreseen:
            return str(self.error)
        last = traceback.format_exception_only(self.error)[-1].strip()
        return f"unforeseen error in {self.where}{f', job {self.job}' if self.job else ''}: {last}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReporterFailed(Event):
    """One of the reporters raised; the others go on."""

    level: ClassVar[Level] = Level.ERROR
    reporter: str
    error: BaseException

    def _says(self) -> str:
        last = traceback.format_exception_only(self.error)[-1].strip()
        return f"the reporter {self.reporter} fails and is left out when it does: {last}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stuck(Event):
    """A part of the daemon makes no progress, so the service manager is no longer told that all is well."""

    level: ClassVar[Level] = Level.ERROR
    lasting: ClassVar[Lasting] = Lasting("stuck", "part")
    part: str
    silent_s: float

    def _says(self) -> str:
        return f"{self.part} has not moved for {span_text(self.silent_s)}; the service manager will start it anew"


@dataclass(frozen=True, slots=True, kw_only=True)
class Unstuck(Event):
    """A part that was stuck moves again."""

    lasting: ClassVar[Lasting] = Lasting("stuck", "part", is_over=True)
    part: str

    def _says(self) -> str:
        return f"{self.part} moves again"


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricsNotWritten(Event):
    """The figures for Prometheus cannot be written; everything else goes on."""

    level: ClassVar[Level] = Level.WARNING
    lasting: ClassVar[Lasting] = Lasting("metrics", detail="why")
    why: str

    def _says(self) -> str:
        return f"the metrics are not written: {self.why}"


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricsWritten(Event):
    """The figures for Prometheus are written again."""

    lasting: ClassVar[Lasting] = Lasting("metrics", is_over=True)

    def _says(self) -> str:
        return "the metrics are written again"


@dataclass(frozen=True, slots=True, kw_only=True)
class NoticeSent(Event):
    """A notice has arrived wherever notices go."""

    title: str

    def _says(self) -> str:
        return f"notice sent: {self.title}"


@dataclass(frozen=True, slots=True, kw_only=True)
class NoticesNotSent(Event):
    """A notice did not arrive, or not everywhere; it is kept, and tried again."""

    level: ClassVar[Level] = Level.WARNING
    lasting: ClassVar[Lasting] = Lasting("notices")
    why: str

    def _says(self) -> str:
        return f"notices do not arrive and are tried again: {self.why}"


@dataclass(frozen=True, slots=True, kw_only=True)
class NoticesSent(Event):
    """Notices arrive everywhere again."""

    lasting: ClassVar[Lasting] = Lasting("notices", is_over=True)

    def _says(self) -> str:
        return "notices arrive again"


@dataclass(frozen=True, slots=True, kw_only=True)
class NoticeGivenUp(Event):
    """A notice could not be sent for so long that it is not tried any more."""

    level: ClassVar[Level] = Level.WARNING
    title: str

    def _says(self) -> str:
        return f"a notice is not tried any more, since it did not arrive for too long: {self.title}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PingFailed(Event):
    """Whoever is to notice when this daemon is silent cannot be told that it lives."""

    level: ClassVar[Level] = Level.WARNING
    lasting: ClassVar[Lasting] = Lasting("ping")
    where: str
    why: str

    def _says(self) -> str:
        return f"the ping to {self.where} fails: {self.why}; it is tried again"


@dataclass(frozen=True, slots=True, kw_only=True)
class PingAnswered(Event):
    """A ping was answered."""

    level: ClassVar[Level] = Level.DEBUG
    lasting: ClassVar[Lasting] = Lasting("ping", is_over=True)
    where: str

    def _says(self) -> str:
        return f"the ping to {self.where} is answered"


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerPruned(Event):
    """Old rows and answers were let go."""

    jobs: int
    answers: int
    freed_bytes: int

    @property
    def level(self) -> Level:
        """Return how much it matters: nothing, if there was nothing to let go."""
        return Level.INFO if self.jobs or self.answers else Level.DEBUG

    def _says(self) -> str:
        return (
            f"ledger pruned: {count_text(self.jobs, 'old job')} and {count_text(self.answers, 'spooled answer')}, "
            f"{size_text(self.freed_bytes)} freed"
        )
