"""The reasons why the account stands still: since when, until when, what looks at each and how often."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal

from rembg_watch.account.causes import CAUSES, Cause, Probe, pause_of, words
from rembg_watch.account.credits import AccountReading, is_stale, next_day_at, renews_at
from rembg_watch.report.events import Pause

DAILY_CANARIES = 27
"""Requests refused by the daily limit in one day, after which only midnight is tried."""

CLOCK_SET_BACK = timedelta(seconds=60)
"""A clock that is set back by more than this has made a hold's moments meaningless."""

RECHECK_CAP_S = 86_400.0
"""The account is read at least once a day while nothing can be spent."""

DISK_LOOK_S = 10.0
"""How often a full disk is looked at."""

_LONGEST_WAIT = timedelta(days=2)  # no look is ever set further ahead: a moment beyond comes from a wrong clock
_LONGEST_STEP = timedelta(hours=2)  # the same for a canary that has its step; see ``CauseRow.steps_s``
_MAY_COST_CAP_S = 3600.0  # probes that may each cost a credit are rarer


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """One reason why nothing goes."""

    cause: Cause
    since: datetime
    probe: Probe
    probe_at: datetime | None  # when it is looked at next; None: only a person ends it
    until: datetime | None = None  # when it is expected to end, where that can be said
    step: int = 0  # canaries that were refused
    refused: int = 1  # requests that met it
    is_confirmed: bool = False  # a reading of the account said the same
    text: str | None = None  # the API's own words
    picture_at: datetime | None = None  # while the account is read: when a picture tries it, whatever is read
    is_extra: bool = False  # the look that is due is out of turn, as after a restart, and no step
    is_answered: bool = False  # what failed was an answer: the way to the API is good
    spendable: Decimal | None = None  # the most that the account held as it was refused

    @property
    def reason(self) -> str:
        """Return a sentence for a person."""
        return words(self.pause, self.text)

    @property
    def pause(self) -> Pause:
        """Return what a person reads of it."""
        return pause_of(self.cause, is_answered=self.is_answered)

    @property
    def ends_at(self) -> datetime | None:
        """Return the best answer to "until when": the expected end, else the next look, else None."""
        return self.until or self.probe_at

    def is_due(self, now: datetime) -> bool:
        """Say whether the next look is due; a clock that was set back makes it due at once."""
        if self.probe_at is None:
            return False
        has_step = self.probe is Probe.PICTURE and CAUSES[self.cause].steps_s is not None
        longest = _LONGEST_STEP if has_step else _LONGEST_WAIT
        if now < self.since - CLOCK_SET_BACK or self.probe_at - now > longest:
            return True
        return now >= self.probe_at


WHATEVER_OPTIONS = ""
"""What stands in place of the options of a folder that is held for another reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderHold:
    """A folder of which nothing is sent: the API refused its options, its answers surprise, or it is not ours."""

    folder: str
    options: str  # the options that it is held for, in any stable spelling, or ``WHATEVER_OPTIONS``
    since: datetime
    text: str | None = None
    cause: Cause = Cause.PARAMETERS


def probe_after_s(cause: Cause, step: int, *, may_cost: bool = False) -> float:
    """Return the wait before the canary number *step*, counted from 0."""
    steps_s = CAUSES[cause].steps_s
    assert steps_s is not None, f"no canary is ever sent for {cause}"
    first_s, cap_s = steps_s
    return float(min(first_s * 2 ** min(step, 30), _MAY_COST_CAP_S if may_cost else cap_s))


def next_daily_at(since: datetime, now: datetime, *, refused: int = 0) -> datetime:
    """
    Say when the daily limit is tried next.

    At 15 and 30 minutes, then each hour after *since*, and a minute after midnight
    UTC. When many calls were under way as it struck, the hours of the first day are
    cut, so that a day never sees more than thirty requests.
    """
    elapsed_s = (now - since).total_seconds()
    minutes = next((m for m in (15, 30) if elapsed_s < m * 60), 60 * (int(max(elapsed_s, 0) // 3600) + 1))
    next_at = since + timedelta(minutes=minutes)
    if refused >= DAILY_CANARIES and next_at < since + timedelta(days=1):
        next_at = since + timedelta(days=1)
    return min(next_at, next_day_at(now) + timedelta(minutes=1))


def after_s(now: datetime, seconds: float) -> datetime:
    """Return the moment *seconds* after *now*."""
    return now + timedelta(seconds=seconds)


def held(
    cause: Cause,
    now: datetime,
    probe: Probe,
    probe_at: datetime | None,
    *,
    old: Hold | None = None,
    step: int | None = None,
    until: datetime | None = None,
    text: str | None = None,
) -> Hold:
    """Make a hold, or go on with *old*: it keeps its beginning and its words."""
    return Hold(
        cause=cause,
        since=min(old.since, now) if old else now,
        probe=probe,
        probe_at=probe_at,
        until=until or (old.until if old and old.until and old.until > now else None),
        step=(old.step if old else 0) if step is None else step,
        refused=(old.refused if old else 0) + 1,
        text=text or (old.text if old else None),
        spendable=old.spendable if old else None,
    )


def rescheduled(hold: Hold, now: datetime, jitter: float) -> Hold:
    """Set the next look of a hold by its step."""
    if CAUSES[hold.cause].is_hourly:
        return replace(hold, probe_at=next_daily_at(hold.since, now, refused=hold.refused))
    return replace(hold, probe_at=after_s(now, probe_after_s(hold.cause, hold.step) * (1 + 0.1 * jitter)))


def noted(hold: Hold, canary_at: datetime | None) -> Hold:
    """Return a hold as it is written down: a canary that is out counts as its look, lest every restart send one."""
    if canary_at is not None and hold.probe is Probe.PICTURE and hold.is_due(canary_at):
        return rescheduled(hold, canary_at, 0.0)
    return hold


# --- after a look ---------------------------------------------------------------------------------


def by_picture(hold: Hold, now: datetime, *, is_news: bool = False) -> Hold:
    """The account says nothing against a picture: one goes at once if that is news, else when its step says."""
    after = replace(hold, probe=Probe.PICTURE, probe_at=now, picture_at=None, is_confirmed=False)
    return after if is_news or hold.is_confirmed else rescheduled(after, now, 0.0)


def read_meanwhile(hold: Hold, now: datetime) -> Hold:
    """Have the account read until a picture tries a monthly limit: credits that are bought need not wait for that."""
    if hold.cause is not Cause.MONTHLY or hold.probe is not Probe.PICTURE or hold.is_due(now):
        return hold
    return replace(hold, probe=Probe.ACCOUNT, probe_at=now, picture_at=hold.probe_at)


def read_again(cause: Cause, old: Hold | None, reading: AccountReading, now: datetime, recheck_s: float) -> Hold:
    """Nothing can be spent: the account is read again soon, and at the end of the period."""
    renewal_at = renews_at(reading, now=now)
    next_at = min(after_s(now, min(recheck_s, RECHECK_CAP_S)), renewal_at)
    hold = held(cause, now, Probe.ACCOUNT, next_at, old=old, step=0, until=renewal_at)
    return replace(hold, refused=old.refused if old else 0, is_confirmed=True)


def after_reading(hold: Hold, reading: AccountReading, now: datetime, recheck_s: float) -> Hold | None:
    """Return *hold* after the account was read, if that was to look at it; None: it is over."""
    if hold.probe is not Probe.ACCOUNT or hold.cause is Cause.CREDITS:
        return hold
    if hold.cause is Cause.CIRCUIT:
        return None
    if hold.cause is not Cause.MONTHLY:  # the account could be read: news for a key if it could not before
        return by_picture(hold, now)
    if reading.spendable <= 0 and not is_stale(reading, now=now):
        return read_again(Cause.MONTHLY, hold, reading, now, recheck_s)
    return _read_beside(hold, reading, now, recheck_s)


def _read_beside(hold: Hold, reading: AccountReading, now: datetime, recheck_s: float) -> Hold:
    """
    The account has a rest that the API does not take: a picture goes when its step says, or with what is news.

    The rest may be less than a picture costs. So the account is read on meanwhile, and
    more credits than were refused, or a new period, send a picture at once.
    """
    is_first = hold.picture_at is None  # since the last refusal
    is_over = hold.until is not None and now >= hold.until
    is_renewed = is_stale(reading, now=now) and hold.step == 0 if is_first else is_over
    is_more = hold.spendable is not None and reading.spendable > hold.spendable
    step_at = after_s(now, probe_after_s(hold.cause, hold.step))
    due_at = min(hold.picture_at or step_at, step_at)
    seen = replace(hold, spendable=max(reading.spendable, hold.spendable or reading.spendable))
    if is_renewed or is_more or hold.is_confirmed or due_at <= now:
        return by_picture(seen, now, is_news=True)
    until = renews_at(reading, now=now)
    next_at = min(after_s(now, recheck_s), due_at, until)
    since = min(hold.since, now)
    return replace(seen, probe=Probe.ACCOUNT, probe_at=next_at, picture_at=due_at, until=until, since=since)


def after_no_reading(hold: Hold, now: datetime, recheck_s: float) -> Hold:
    """Return *hold* after the account could not be read: it is read again later, or a picture asks in its place."""
    if hold.probe is not Probe.ACCOUNT or not hold.is_due(now):
        return hold
    if hold.cause in (Cause.MONTHLY, Cause.CREDITS) and hold.until is not None and now >= hold.until:
        return replace(hold, probe=Probe.PICTURE, probe_at=now, until=None, picture_at=None)
    if hold.picture_at is not None and now >= hold.picture_at:
        return by_picture(hold, now, is_news=True)
    if hold.cause in (Cause.DAILY, Cause.KEY):
        return by_picture(replace(hold, is_confirmed=False), now)
    next_at = after_s(now, min(recheck_s, RECHECK_CAP_S))
    next_at = min(next_at, hold.picture_at) if hold.picture_at else next_at
    return replace(hold, probe_at=next_at, since=min(hold.since, now))


def look_at_disk(now: datetime, text: str | None) -> Hold:
    """Make the hold for a full disk, which is looked at now and then."""
    return held(Cause.DISK, now, Probe.DISK, after_s(now, DISK_LOOK_S), text=text)
