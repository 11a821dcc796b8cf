"""What is on the first page, and on that of the credits. Pure: a snapshot and sums in, words and numbers out."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from rembg_watch.ledger import Spending
from rembg_watch.ledger.pages import Day
from rembg_watch.report.screen import headline, passed_over_text
from rembg_watch.report.status import Liveness, Snapshot
from rembg_watch.report.status import moment as moment_of
from rembg_watch.report.words import WallClock, count_text, credits_text, other_use_text, rate_text, span_text
from rembg_watch.web.views import Moment, moment

PACE_DAYS = 14
"""So many days say how fast credits go."""

_TONES = {
    "READY": "good",
    "WORKING": "good",
    "WAITING": "calm",
    "PAUSED": "warn",
    "NOT RUNNING": "bad",
    "SILENT": "bad",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Now:
    """What the daemon does or waits for."""

    word: str
    tone: str  # good, calm, warn or bad
    sentence: str
    details: Sequence[str]


def now_of(snapshot: Snapshot, alive: Liveness, clock: WallClock) -> Now:
    """Say in a sentence what the daemon does or waits for, in the words of ``status``."""
    found = headline(snapshot, alive=alive, clock=clock)
    return Now(
        word=found.word.capitalize(),
        tone=_TONES.get(found.word, "calm"),
        sentence=found.sentence,
        details=found.details,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """One number of the first page."""

    label: str
    number: str
    below: str
    link: str  # which list shows them, below the daemon's own address
    tone: str = ""


def tiles(snapshot: Snapshot, today: Spending, clock: WallClock) -> list[Tile]:
    """Show the numbers that everybody asks for first."""
    jobs = snapshot["jobs"]
    left = jobs["queued"] + jobs["sending"] + jobs["received"]
    stuck = jobs["failed"] + jobs["held"] + jobs["in_doubt"]
    unsettled = snapshot["unsettled"]
    copied = f"{count_text(unsettled, 'file')} still being copied" if unsettled else ""
    spendable = snapshot["credits"]["spendable"]
    return [
        Tile(
            label="In line",
            number=f"{left:,}",
            below=_eta(snapshot, clock) or copied or ("" if left else "nothing waits"),
            link="pictures?state=open",
        ),
        Tile(label="Delivered", number=f"{jobs['done']:,}", below=_pace(snapshot), link="pictures?state=delivered"),
        Tile(
            label="Need a look",
            number=f"{stuck:,}",
            below="failed, held or in doubt" if stuck else "nothing stands still",
            link="failed",
            tone="bad" if stuck else "",
        ),
        Tile(
            label="Credits left",
            number="?" if spendable is None else f"{spendable:,}",
            below=f"{credits_text(today.booked)} today",
            link="credits",
        ),
    ]


def _eta(snapshot: Snapshot, clock: WallClock) -> str:
    eta_s = snapshot.get("eta_s")
    if not eta_s:
        return ""
    return f"done about {clock.short(clock.now + timedelta(seconds=eta_s))} (in {span_text(eta_s)})"


def _pace(snapshot: Snapshot) -> str:
    short = snapshot["rate"]["short_per_s"]
    return rate_text(short) if short else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderRow:
    """A watched folder."""

    name: str
    word: str
    tone: str
    why: str
    since: Moment | None
    until: Moment | None
    delivered: str
    waiting: int
    stuck: int
    today: str


_FOLDER_WORDS = {
    "watching": ("watching", "good"),
    "offline": ("not there", "bad"),
    "hung": ("does not answer", "bad"),
    "held": ("held", "warn"),
    "paused": ("paused", "warn"),
    "blocked": ("output blocked", "bad"),
    "spent": ("budget spent", "warn"),
}


def folder_rows(
    names: Iterable[str],
    snapshot: Snapshot,
    counts: Mapping[str, Mapping[Any, int]],
    today: Mapping[str, Spending],
    clock: WallClock,
    *,
    is_live: bool,
) -> list[FolderRow]:
    """Show each folder: those of the configuration first, then those that the ledger remembers."""
    views = {one["name"]: one for one in snapshot.get("folders", ())}
    every = dict.fromkeys([*names, *views, *sorted(counts)])
    return [_folder_row(name, views.get(name), counts.get(name, {}), today.get(name), clock, is_live) for name in every]


def _folder_row(
    name: str,
    view: Mapping[str, Any] | None,
    counts: Mapping[Any, int],
    today: Spending | None,
    clock: WallClock,
    is_live: bool,  # noqa: FBT001 - passed on
) -> FolderRow:
    state = (view or {}).get("state", "")
    word, tone = _FOLDER_WORDS.get(state, (state or "not watched", "calm"))
    if not is_live:
        word, tone = "not watched now", "calm"
    stuck = sum(counts.get(one, 0) for one in ("failed", "held", "in_doubt"))
    return FolderRow(
        name=name,
        word=word,
        tone=tone,
        why=((view or {}).get("why") or "") if is_live else "",
        since=moment(moment_of((view or {}).get("since")), clock) if is_live else None,
        until=moment(moment_of((view or {}).get("until")), clock) if is_live else None,
        delivered=f"{counts.get('done', 0):,}",
        waiting=sum(counts.get(one, 0) for one in ("queued", "sending", "received")),
        stuck=stuck,
        today="" if today is None else credits_text(today.booked),
    )


def notes(snapshot: Snapshot, clock: WallClock) -> list[str]:
    """Say what else a person may want to know: files passed over, originals left, what others spent."""
    said = []
    passed = snapshot.get("passed_over")
    if passed and passed["count"]:
        said.append(f"{passed_over_text(passed)}.")
    left = snapshot.get("originals_left")
    if left:
        said.append(f"{count_text(left, 'original')} {'waits' if left == 1 else 'wait'} to be moved or deleted.")
    use = snapshot.get("other_use")
    if use:
        spent = other_use_text(*(Decimal(str(use[name])) for name in ("by_app", "more", "fewer")), counts="this ledger")
        since = moment_of(use.get("since"))
        said.append(f"Others spent {spent}" + (f", since {clock.short(since)}." if since else "."))
    return said


@dataclass(frozen=True, slots=True, kw_only=True)
class Balance:
    """What the account holds, and how long that lasts."""

    spendable: str
    included: str
    prepaid: str
    renews: Moment | None
    read: Moment | None
    forecast: str


def balance(snapshot: Snapshot, days: Sequence[Day], clock: WallClock) -> Balance:
    """Show what the account held when it was last read."""
    credits_ = snapshot["credits"]
    renews = moment_of(credits_["period_end"])
    spendable = credits_["spendable"]
    return Balance(
        spendable="not known yet" if spendable is None else credits_text(Decimal(str(spendable))),
        included="" if credits_["included"] is None else credits_text(Decimal(str(credits_["included"]))),
        prepaid="" if credits_["prepaid"] is None else credits_text(Decimal(str(credits_["prepaid"]))),
        renews=moment(renews, clock),
        read=moment(moment_of(credits_["read_at"]), clock),
        forecast="" if spendable is None else forecast(Decimal(str(spendable)), days, clock=clock, renews_at=renews),
    )


def forecast(spendable: Decimal, days: Sequence[Day], *, clock: WallClock, renews_at: datetime | None) -> str:
    """Say how long credits last at the pace of the last days on which pictures were sent, quiet days included."""
    if spendable <= 0:
        return "None is left to spend."
    begin = clock.now - timedelta(days=PACE_DAYS)
    lately = [one for one in days if one.day >= begin and one.spending.booked > 0]
    if not lately:
        return "No pictures were sent lately, so there is no pace to go by."
    elapsed = max(1.0, (clock.now - min(one.day for one in lately)).total_seconds() / 86_400)
    each_day = float(sum((one.spending.booked for one in lately), Decimal(0))) / elapsed
    busiest = float(max(_per_day(lately).values()))
    left_days, least_days = float(spendable) / each_day, float(spendable) / busiest
    if renews_at is not None and clock.now + timedelta(days=least_days) > renews_at:
        return "They last until the renewal, even if every day is as busy as the busiest one lately."
    if renews_at is not None and clock.now + timedelta(days=left_days) > renews_at:
        return f"They last until the renewal at the pace of late; if every day is busy, {_days(least_days)}."
    if _days(left_days) == _days(least_days):
        return f"They last {_days(left_days)} at the pace of late."
    return f"They last {_days(left_days)} at the pace of late, and {_days(least_days)} if every day is busy."


def _per_day(days: Iterable[Day]) -> dict[datetime, Decimal]:
    found: dict[datetime, Decimal] = {}
    for one in days:
        found[one.day] = found.get(one.day, Decimal(0)) + one.spending.booked
    return found


def _days(number: float) -> str:
    if number < 1:
        return "less than a day"
    return f"about {count_text(round(min(number, 9999)), 'day')}"


@dataclass(frozen=True, slots=True, kw_only=True)
class DayRow:
    """What one folder's calls came to on one day."""

    day: str
    folder: str
    calls: int
    charged: str
    doubtful: str
    refused: int
    doubles: int
    share: int  # of 100, of the busiest row


def day_rows(days: Sequence[Day]) -> list[DayRow]:
    """Show what was spent by day and folder."""
    most = max((one.spending.booked for one in days), default=Decimal(0))
    return [
        DayRow(
            day=f"{one.day:%a %d %b}",
            folder=one.folder,
            calls=one.spending.calls,
            charged=credits_text(one.spending.charged),
            doubtful=credits_text(one.spending.doubtful) if one.spending.doubtful else "",
            refused=one.spending.refused,
            doubles=one.spending.doubles + one.spending.repeats,
            share=int(100 * one.spending.booked / most) if most else 0,
        )
        for one in days
    ]


def last_months(now: datetime) -> list[str]:
    """Name this UTC month and the one before, as addresses do: ``2026-11``."""
    first = now.astimezone(UTC).replace(day=1)
    return [f"{first:%Y-%m}", f"{first - timedelta(days=1):%Y-%m}"]
