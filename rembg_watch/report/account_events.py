"""What happens to the account: its credits, the pauses of the gate and the pace that is learned."""

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import ClassVar, NamedTuple

from rembg_watch.report.event import IN_SENTENCE, Condition, Event, Lasting, Level
from rembg_watch.report.words import When, count_text, credits_text, other_use_text, rate_text, span_text, utc_text

BRIEF_S, LONG_S = 10, 120
"""A pause that passes by itself is no news before the one, and worth a warning after the other: seconds."""


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

_SAME_S = 120  # an end so soon after the next look is not named beside it


def looks(by: str | None, look_at: datetime | None, until: datetime | None, *, when: When) -> tuple[str, ...]:
    """Say what looks next whether a pause may end, and when; and by when it ends at the latest, where that is known."""
    look = f"{LOOKS.get(by or '', 'it is looked at')} at {when(look_at)}" if look_at else ""
    is_told = until is None or (look_at is not None and abs((until - look_at).total_seconds()) < _SAME_S)
    end = "" if until is None or is_told else f"the period ends {when(until)}"
    return tuple(part for part in (look, end) if part)


@dataclass(frozen=True, slots=True, kw_only=True)
class CreditsRead(Event):
    """The account was read."""

    level: ClassVar[Level] = Level.DEBUG
    ends_with: ClassVar[tuple[str, str]] = ("; the billing period ends", "period_end_at")
    included: Decimal
    prepaid: Decimal
    spendable: Decimal
    period_end_at: datetime | None

    def _says(self) -> str:
        return f"{credits_text(self.spendable)} can be spent"


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountDiffers(Event):
    """The account was used by others, or counts other calls than the ledger does; all of it, summed up."""

    ends_with: ClassVar[tuple[str, str]] = (" since", "since")
    since: datetime
    by_app: Decimal = Decimal(0)  # by the web editor
    more: Decimal = Decimal(0)  # counted by the account alone
    fewer: Decimal = Decimal(0)  # counted by the ledger alone

    @property
    def level(self) -> Level:
        """Return how much it matters: what cannot be explained should be known."""
        return Level.WARNING if self.more or self.fewer else Level.INFO

    @property
    def condition(self) -> Condition:
        """Return the state that goes on until the sums change."""
        return Condition(("account",), detail=f"{self.by_app}/{self.more}/{self.fewer}")

    def _says(self) -> str:
        use = other_use_text(self.by_app, self.more, self.fewer, counts="this ledger")
        why = " (another program may use the key, or a call in doubt was charged)" if self.more or self.fewer else ""
        return f"other use of the account: {use}{why},"


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchFormed(Event):
    """The account was read and jobs were chosen."""

    size: int
    queued: int
    spendable: Decimal

    def _says(self) -> str:
        more = f" of {self.queued:,} in line" if self.queued > self.size else ""
        return f"batch of {self.size:,}{more}; {credits_text(self.spendable)} can be spent"


@dataclass(frozen=True, slots=True, kw_only=True)
class GateShut(Event):
    """No call goes until *until*, or until what *reason* names has changed."""

    reason: str
    why: str = ""  # the API's own words, or the error
    until: datetime | None = None
    shut_s: float | None = None  # how long it has been shut already, where it is reported late
    look_at: datetime | None = None  # when it is looked at whether it may end
    look_by: str | None = None  # and by what
    is_answered: bool = False  # the API answers, and fails
    pause: Pause | None = field(default=None, metadata=IN_SENTENCE)  # None: the reason is all that is known

    def sentence(self, when: When = utc_text) -> str:
        """Say it in one line: also when it is looked at next, which may be long before the end that is expected."""
        looked_at = "; ".join(looks(self.look_by, self.look_at, self.until, when=when))
        return f"{self._says()} {looked_at[:1].upper()}{looked_at[1:]}." if looked_at else self._says()

    @property
    def level(self) -> Level:
        """Return how much it matters: what passes by itself does so only once it lasts."""
        pause = _pause(self)
        if not pause.is_pacing:
            return pause.level
        shut_s = self.shut_s or 0
        return Level.WARNING if shut_s >= LONG_S else Level.INFO if shut_s >= BRIEF_S else Level.DEBUG

    @property
    def condition(self) -> Condition:
        """Return the state that is reported anew for another reason, or when its end becomes known."""
        is_known = "end known" if self.until and self.until != self.look_at else ""
        return Condition(("gate",), detail=f"{self.reason}/{self.level}/{is_known}")

    def _says(self) -> str:
        pause = _pause(self)
        words = f' ("{self.why}")' if self.why else ""
        return f"paused: {pause.what}{words}. {pause.advice}".rstrip()


@dataclass(frozen=True, slots=True, kw_only=True)
class GateOpened(Event):
    """Calls go again."""

    lasting: ClassVar[Lasting] = Lasting("gate", is_over=True)
    reason: str  # the one that has ended
    shut_s: float
    pause: Pause | None = field(default=None, metadata=IN_SENTENCE)

    @property
    def level(self) -> Level:
        """Return how much it matters: the end of a moment's pacing is no news."""
        return Level.DEBUG if _pause(self).is_pacing and self.shut_s < BRIEF_S else Level.INFO

    def _says(self) -> str:
        return f"work goes on after a pause of {span_text(self.shut_s)} ({_pause(self).what})"


def _pause(event: GateShut | GateOpened) -> Pause:
    return event.pause or Pause.unknown(event.reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class FailuresCost(Event):
    """Credits went while the server failed: from now on such a failure counts as perhaps charged."""

    level: ClassVar[Level] = Level.WARNING
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

    @property
    def level(self) -> Level:
        """Return how much it matters: news only where the change is worth a line."""
        old = self.previous_per_s
        return Level.INFO if not old or abs(self.rate_per_s / old - 1) > 0.2 else Level.DEBUG

    def _says(self) -> str:
        before = f" (before: {rate_text(self.previous_per_s)})" if self.previous_per_s else ""
        return f"the account bears {rate_text(self.rate_per_s)}{before}{f': {self.because}' if self.because else ''}"
