"""
The reasons why the account stands still: since when, until when, what looks at each and how often.

Values and their schedule. What calls come to and which holds follow is ``gate``'s matter.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import TypeVar

from rembg_watch.account.causes import CAUSES, Cause, Probe, pause_of, words
from rembg_watch.account.credits import next_day_at
from rembg_watch.report.events import Pause

DAILY_CANARIES = 27
"""Requests refused by the daily limit in one day, after which only midnight is tried."""

CLOCK_SLACK = timedelta(seconds=60)
"""A clock that is set back by more than this has made a hold's moments meaningless."""

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
        return words(self.cause, self.text, is_answered=self.is_answered)

    @property
    def pause(self) -> Pause:
        """Return what a person is told of it."""
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
        if now < self.since - CLOCK_SLACK or self.probe_at - now > longest:
            return True
        return now >= self.probe_at


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderHold:
    """A folder whose options the API refused: it waits until they change."""

    folder: str
    options: str  # the options that were refused, in any stable spelling
    since: datetime
    text: str | None = None


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


def hold_note(hold: Hold, canary_at: datetime | None) -> dict[str, object]:
    """Write down a hold; a canary that is out counts as the look that was due, lest every restart send one."""
    if canary_at is not None and hold.probe is Probe.PICTURE and hold.is_due(canary_at):
        hold = rescheduled(hold, canary_at, 0.0)
    return {
        "cause": hold.cause.value,
        "since": hold.since.isoformat(),
        "probe": hold.probe.value,
        "probe_at": hold.probe_at.isoformat() if hold.probe_at else None,
        "until": hold.until.isoformat() if hold.until else None,
        "step": hold.step,
        "refused": hold.refused,
        "is_confirmed": hold.is_confirmed,
        "text": hold.text,
        "is_answered": hold.is_answered,
        "picture_at": hold.picture_at.isoformat() if hold.picture_at else None,
        "spendable": str(hold.spendable) if hold.spendable is not None else None,
    }


T = TypeVar("T")


def rows(found: object, read: Callable[[Mapping[str, object]], T]) -> list[T]:
    """Read a list of a note row by row; what cannot be understood is left out."""
    read_rows = []
    for row in found if isinstance(found, list) else []:
        try:
            read_rows.append(read(row))
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
            continue
    return read_rows


def read_hold(row: Mapping[str, object]) -> Hold:
    """Read back one row of ``hold_note``; raise where it makes no sense."""
    cause, probe, probe_at = Cause(str(row["cause"])), Probe(str(row["probe"])), row["probe_at"]
    if probe is Probe.PICTURE and not CAUSES[cause].sends_canaries:
        raise ValueError(f"no canary is ever sent for {cause}")
    if probe_at is None and probe is not Probe.PERSON:
        raise ValueError(f"{cause} would never end")
    return Hold(
        cause=cause,
        since=_moment(row["since"]),
        probe=probe,
        probe_at=_moment(probe_at) if probe_at is not None else None,
        until=_moment(row["until"]) if row["until"] is not None else None,
        step=_count(row["step"]),
        refused=_count(row["refused"]),
        is_confirmed=row.get("is_confirmed") is True,
        text=_words(row["text"]),
        is_answered=row.get("is_answered") is True,
        picture_at=_moment(row["picture_at"]) if row.get("picture_at") is not None else None,
        spendable=_amount(row.get("spendable")),
    )


def read_folder(row: Mapping[str, object]) -> FolderHold:
    """Read back one folder hold; raise where it makes no sense."""
    folder, options = row["folder"], row["options"]
    if not isinstance(folder, str) or not isinstance(options, str):
        raise TypeError("a folder hold without a folder")
    return FolderHold(folder=folder, options=options, since=_moment(row["since"]), text=_words(row["text"]))


def _moment(value: object) -> datetime:
    moment = datetime.fromisoformat(value) if isinstance(value, str) else None
    if moment is None or moment.tzinfo is None:
        raise ValueError(f"not an aware moment: {value!r}")
    return moment.astimezone(UTC)


def _count(value: object) -> int:
    if not isinstance(value, int) or value < 0:
        raise ValueError(f"not a count: {value!r}")
    return value


def _amount(value: object) -> Decimal | None:
    try:
        found = Decimal(value) if isinstance(value, str) else None
    except InvalidOperation:
        return None
    return found if found is not None and found.is_finite() else None


def _words(value: object) -> str | None:
    return value if isinstance(value, str) else None
