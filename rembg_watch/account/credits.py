"""What pictures cost, what the account can still pay, and where its credits went: arithmetic on readings of it."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import StrEnum

from rembg_watch.account.causes import Outcome
from rembg_watch.ledger import PastBalance

RENEWAL_SLACK_S = 60.0
"""How long after the end of a billing period the renewed credits are looked for."""

UNLIMITED = 1_000_000_000
"""As many pictures as anybody will ever queue: what a price of nothing allows."""

_NOTHING = Decimal(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountReading:
    """One reading of the account; the four usage figures are those of its current billing period."""

    included_remaining: Decimal
    prepaid: Decimal
    read_at: datetime
    period_start_at: datetime | None = None
    period_end_at: datetime | None = None
    synced: bool = True  # False: the period is the UTC calendar month, not the one that is enforced
    app_used: Decimal = _NOTHING  # by the web editor, included credits only
    api_used: Decimal = _NOTHING  # by the API, included credits only

    @property
    def spendable(self) -> Decimal:
        """What can be spent now: included and prepaid credits; never negative."""
        return max(self.included_remaining, _NOTHING) + max(self.prepaid, _NOTHING)


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountRead:
    """What came of reading the account."""

    reading: AccountReading
    room: int  # how many more pictures may be sent
    affordable: int  # how many the gate may let through: the same, and what is under way already
    is_budget_spent: bool = False  # it is the daily budget that allows nothing, not the account
    in_flight: int = 0  # calls under way that were counted as spent; they may yet leave something
    more: Decimal | None = None  # credits that it counted, at rest, beyond those surely taken; None: not compared


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountUnread:
    """The account could not be read."""

    outcome: Outcome
    text: str | None = None  # why, for people
    is_answered: bool = False  # what failed was an answer, such as a 5xx, not the way to the API


KEPT_AGAIN = timedelta(hours=1)
"""The balance is written down no oftener than this."""


def is_to_be_kept(now: PastBalance, *, known: PastBalance | None) -> bool:
    """
    Say whether a balance is to be written down: it is another one than that *known*, and not from the same hour.

    What changes within the hour is written down after it. A clock that was set back must not silence it.
    """
    if known is None:
        return True
    is_other = replace(known, at=now.at) != now
    return is_other and not timedelta(0) <= now.at - known.at < KEPT_AGAIN


def renews_at(reading: AccountReading | None, *, now: datetime) -> datetime:
    """
    Say when the included credits come back, as far as *reading* says.

    Where the period is not the enforced one, or unknown, or over already, the
    first of the next UTC month is the only moment that can be named.
    """
    if reading is not None and reading.synced and reading.period_end_at is not None and reading.period_end_at > now:
        return reading.period_end_at + timedelta(seconds=RENEWAL_SLACK_S)
    return next_month_at(now) + timedelta(seconds=RENEWAL_SLACK_S)


def is_stale(reading: AccountReading, *, now: datetime) -> bool:
    """Say whether *reading* speaks of a billing period that has ended, so that it says nothing about this moment."""
    return reading.period_end_at is not None and now > reading.period_end_at + timedelta(seconds=RENEWAL_SLACK_S)


def next_month_at(now: datetime) -> datetime:
    """Return the first moment of the UTC month after *now*."""
    now = now.astimezone(UTC)
    year, month = (now.year + 1, 1) if now.month == 12 else (now.year, now.month + 1)
    return datetime(year, month, 1, tzinfo=UTC)


def next_day_at(now: datetime) -> datetime:
    """Return the first moment of the UTC day after *now*: when daily budgets and daily limits begin anew."""
    now = now.astimezone(UTC)
    return datetime(now.year, now.month, now.day, tzinfo=UTC) + timedelta(days=1)


def affordable(
    reading: AccountReading,
    each: Decimal,
    *,
    reserve: Decimal = _NOTHING,
    in_flight: int = 0,
    spent_since: Decimal = _NOTHING,
    daily_budget: Decimal = _NOTHING,
    spent_today: Decimal = _NOTHING,
) -> int:
    """
    Return how many more pictures, at *each* for one, may be sent without touching *reserve* or passing *daily_budget*.

    Of the calls *in_flight*, *reading* may know nothing yet, and nothing of *spent_since*,
    the credits of calls that ended after it. *spent_today* is the ledger's count of this UTC day.
    """
    room = _images(reading.spendable - max(reserve, _NOTHING) - max(spent_since, _NOTHING), each) - in_flight
    return max(0, min(room, budget_room(each, daily_budget, spent_today=spent_today, in_flight=in_flight)))


def budget_room(each: Decimal, daily_budget: Decimal, *, spent_today: Decimal = _NOTHING, in_flight: int = 0) -> int:
    """Return how many more pictures a daily budget allows, of the account or of one folder; 0: there is no budget."""
    if daily_budget <= 0:
        return UNLIMITED
    return max(0, _images(daily_budget - max(spent_today, _NOTHING), each) - in_flight)


def _images(credit: Decimal, each: Decimal) -> int:
    if each <= 0:
        return UNLIMITED
    return min(UNLIMITED, int(credit // each)) if credit > 0 else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """What the account says was spent between two readings, beside what the ledger counted."""

    by_api: Decimal  # included credits through the API, and all prepaid ones
    by_app: Decimal  # included credits through the web editor
    counted: Decimal  # what the ledger counted in the same time
    slack: Decimal  # calls under way at either reading: they may be on one side only

    @property
    def unexplained(self) -> Decimal:
        """Credits that went through the API beyond what was counted here; negative: fewer went than were counted."""
        over = self.by_api - self.counted
        return _NOTHING if abs(over) <= self.slack else over


def difference(
    before: AccountReading, after: AccountReading, counted: Decimal, *, slack: Decimal = _NOTHING
) -> Difference | None:
    """
    Compare two readings with what the ledger counted between them.

    Returns:
        None where the two cannot be compared: another billing period began, or
        prepaid credits were bought, or the counters ran backwards.
    """
    by_api, by_app = after.api_used - before.api_used, after.app_used - before.app_used
    by_prepaid = before.prepaid - after.prepaid
    if after.period_end_at != before.period_end_at or after.period_start_at != before.period_start_at:
        return None
    if by_api < 0 or by_app < 0 or by_prepaid < 0:
        return None
    return Difference(by_api=by_api + by_prepaid, by_app=by_app, counted=counted, slack=slack)


USE_REPORTED_S = 600.0
"""Other use that goes on is summed up for so long before it is reported again, unless it has doubled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherUse:
    """What was spent from the account beside this program, or was counted here alone; summed up over readings."""

    since: datetime  # the reading after which the first of it came
    by_app: Decimal = _NOTHING  # by the web editor
    more: Decimal = _NOTHING  # through the API, beyond what the ledger counts
    fewer: Decimal = _NOTHING  # counted in the ledger, and not by the account

    @property
    def total(self) -> Decimal:
        """Everything, whichever way."""
        return self.by_app + self.more + self.fewer

    @classmethod
    def after(cls, known: "OtherUse | None", found: Difference, *, since: datetime) -> "OtherUse | None":
        """Return what is known after *found*, which came after the reading made at *since*; None: nothing is."""
        if found.by_app <= 0 and not found.unexplained:
            return known
        old = known or cls(since=since)
        return cls(
            since=old.since,
            by_app=old.by_app + max(found.by_app, _NOTHING),
            more=old.more + max(found.unexplained, _NOTHING),
            fewer=old.fewer + max(-found.unexplained, _NOTHING),
        )

    def is_news(self, *, reported: Decimal, reported_s: float) -> bool:
        """Say whether it should be reported, where a sum of *reported* was reported *reported_s* ago."""
        return self.total > reported and (self.total >= 2 * reported or reported_s >= USE_REPORTED_S)


class Billed(StrEnum):
    """What the account's counters say about calls whose end is unknown."""

    NONE = "none_billed"  # all of them may be sent again for free
    ALL = "all_billed"  # each of them cost a credit
    UNKNOWN = "unknown"


def resolve_doubt(
    before: AccountReading,
    after: AccountReading,
    in_doubt: int,
    *,
    each: Decimal = Decimal(1),
    counted: Decimal = _NOTHING,
) -> Billed:
    """
    Tell from two readings at rest whether the calls in doubt were billed.

    Only a whole answer is used: no credit moved, or exactly as many as are in doubt.
    Anything between says nothing about any single picture. *counted* are the credits of
    calls between the readings whose end is known.
    """
    spent = difference(before, after, counted)
    if spent is None or (spent.by_app > 0 and before.prepaid != after.prepaid):
        return Billed.UNKNOWN
    moved = spent.by_api - counted
    if moved == 0 and each > 0:
        return Billed.NONE
    if moved == each * in_doubt and each > 0:
        return Billed.ALL
    return Billed.UNKNOWN


def settled_after_s(call_s: float | None, timeout_s: float) -> float:
    """
    Say how many seconds after calls were sent the account's counters have them, if they were charged at all.

    The API may be at work on them, and charge them at its end, although nobody waits for their answers any more.
    *call_s* is what a call took lately, None if that is not known; *timeout_s* what a caller waits for an answer.
    """
    return min(timeout_s, max(LEAST_SETTLED_S, SETTLED_CALLS * call_s)) if call_s is not None else timeout_s


LEAST_SETTLED_S, SETTLED_CALLS = 3.0, 5.0
"""Calls whose end nobody saw count as settled after so many times what a call takes, but no sooner than that."""
