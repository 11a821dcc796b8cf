"""How the account is shown: holds and readings, as the events and views that ``report`` writes."""

from datetime import datetime
from decimal import Decimal

from rembg_watch.account.causes import CAUSES, Cause, CauseRow
from rembg_watch.account.credits import AccountReading, OtherUse
from rembg_watch.account.holds import Hold
from rembg_watch.report.events import GateOpened, GateShut
from rembg_watch.report.status import CreditsView, GateView, OtherUseView, Snapshot


def shut_by(hold: Hold, *, shut_s: float | None = None) -> GateShut:
    """Say that *hold* keeps calls from going; for so long already, where it is reported late."""
    return GateShut(
        reason=hold.cause.value,
        why=hold.text or "",
        until=hold.ends_at,
        shut_s=shut_s,
        look_at=hold.probe_at,
        look_by=hold.probe.value,
        is_answered=hold.is_answered,
        pause=hold.pause,
    )


def gate_changed(before: Hold | None, after: Hold | None, *, now: datetime) -> GateShut | GateOpened | None:
    """Say what is news where the gate was held by *before* and is held by *after*."""
    if after is not None:
        is_news = before is None or before.cause is not after.cause or before.until != after.until
        return shut_by(after) if is_news else None
    if before is None:
        return None
    shut_s = max(0.0, (now - before.since).total_seconds())
    return GateOpened(reason=before.cause.value, shut_s=shut_s, pause=CAUSES[before.cause].pause)


def gate_view(hold: Hold | None) -> GateView:
    """Show what *hold* says; None: the gate is open."""
    if hold is None:
        return GateView()
    return GateView(
        is_open=False,
        reason=hold.cause.value,
        why=hold.text,
        since=hold.since,
        until=hold.ends_at,
        look_at=hold.probe_at,
        look_by=hold.probe.value,
        is_answered=hold.is_answered,
        pause=hold.pause,
        is_said_by_api=CAUSES[hold.cause].is_said_by_api,
    )


UNDECIDED = ("held", "in_doubt")
"""States of pictures that wait for somebody's decision; those that failed are dealt with, and their reasons told."""

_STANDING = frozenset({"held", "blocked", "offline", "hung"})  # folders that somebody has to look after


def row_of(snapshot: Snapshot) -> CauseRow | None:
    """Return what is known of the cause for which a snapshot's gate is shut; None: it is open, or nothing is known."""
    gate = snapshot["gate"]
    return None if gate["open"] or gate["reason"] not in tuple(Cause) else CAUSES[Cause(gate["reason"])]


def needs_person(snapshot: Snapshot) -> bool:
    """Say whether something stands still until somebody acts: the account, a folder, or pictures."""
    row = row_of(snapshot)
    return (
        (row is not None and row.needs_person)
        or any(folder["state"] in _STANDING for folder in snapshot.get("folders", ()))
        or any(snapshot["jobs"][state] for state in UNDECIDED)
    )


def credits_view(reading: AccountReading | None, *, left: Decimal | None = None) -> CreditsView:
    """Show what the account held when it was read; where *left* is known, less what was spent since."""
    if reading is None:
        return CreditsView()
    spent = reading.spendable - left if left is not None else Decimal(0)
    by_included = min(spent, reading.included_remaining)  # included credits go first
    return CreditsView(
        included=reading.included_remaining - by_included,
        prepaid=reading.prepaid - (spent - by_included),
        spendable=reading.spendable - spent,
        period_end_at=reading.period_end_at,
        read_at=reading.read_at,
    )


def other_use_view(use: OtherUse | None) -> OtherUseView | None:
    """Show what others spent; None: nothing of the kind was seen."""
    return use if use is None else OtherUseView(since=use.since, by_app=use.by_app, more=use.more, fewer=use.fewer)
