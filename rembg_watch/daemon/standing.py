"""How everything stands: the object that ``status`` shows, and the one line of ``systemctl status``."""

import os
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING

from rembg_watch import __version__
from rembg_watch.admit import limiting
from rembg_watch.gatehouse import Gatehouse
from rembg_watch.jobs import State
from rembg_watch.purse import Purse
from rembg_watch.report.metrics import Figures
from rembg_watch.report.status import (
    CreditsView,
    FolderView,
    GateView,
    Snapshot,
    snapshot,
)
from rembg_watch.report.words import count_text

if TYPE_CHECKING:
    from rembg_watch.daemon.life import Daemon


def snapshot_of(daemon: "Daemon") -> Snapshot:
    """Say how everything stands, as one JSON object."""
    figures, counts = daemon.metrics.read(), daemon.ledger.counts()
    return snapshot(
        counts=counts,
        unsettled=daemon.watcher.unsettled,
        gate=gate_view(daemon.gatehouse),
        credits=credits_view(daemon.purse),
        now=daemon.clocks.now(),
        folders=list(_folder_views(daemon)),
        figures=figures,
        limiting=_limiting(daemon, counts, figures),
        version=__version__,
        pid=os.getpid(),
    ) | {"learned_rate_per_s": round(daemon.gatehouse.rate_per_s, 3), "is_settling": daemon.is_settling}


def _limiting(daemon: "Daemon", counts: Mapping[State, int], figures: Figures) -> str:
    return limiting(
        daemon.gatehouse.gate,
        queued=counts[State.QUEUED],
        busy=figures.in_flight,
        workers=daemon.settings.pool.workers,
        is_paced=daemon.gatehouse.is_pacing(),
        affordable=daemon.purse.room,
    ).value


def _folder_views(daemon: "Daemon") -> Iterator[FolderView]:
    away = daemon.watcher.away
    refused = {hold.folder: hold for hold in daemon.gatehouse.gate.folders}
    for folder in daemon.settings.folders:
        hold = refused.get(folder.name)
        state = "offline" if folder.name in away else "held" if hold else "watching"
        yield FolderView(
            name=folder.name,
            input=str(folder.input),
            output=str(folder.output),
            state=state,
            why=hold.text if hold and state == "held" else None,
            since=hold.since if hold and state == "held" else None,
        )


def sentence(daemon: "Daemon", told: Snapshot) -> str:
    """Say in one line what is done or waited for; ``systemctl status`` shows it."""
    hold, jobs = daemon.gatehouse.hold, told["jobs"]
    left = jobs[State.QUEUED] + jobs[State.SENDING] + jobs[State.RECEIVED]
    line = f"{count_text(left, 'picture')} in line"
    away = ", ".join(sorted(daemon.watcher.away))
    missing = f"; not there now: {away}" if away else ""
    if hold is not None:
        until = f", next try {hold.ends_at:%Y-%m-%d %H:%M} UTC" if hold.ends_at else ""
        return f"waiting since {hold.since:%Y-%m-%d %H:%M} UTC: {hold.reason}{until}; {line}{missing}"
    if daemon.is_settling:
        return f"asking the account what became of the calls before the crash; {line}{missing}"
    return (f"working: {line}" if left else "watching; everything that has landed is dealt with") + missing


def gate_view(gatehouse: Gatehouse) -> GateView:
    """Say how the gate stands, for whoever looks."""
    hold = gatehouse.hold
    if hold is None:
        return GateView()
    return GateView(is_open=False, reason=hold.cause.value, why=hold.text, since=hold.since, until=hold.ends_at)


def credits_view(purse: Purse) -> CreditsView:
    """Say what the account held when it was last read, less what was spent since."""
    balance = purse.balance
    if balance is None:
        return CreditsView()
    left = purse.left()
    spent = balance.spendable - left if left is not None else Decimal(0)
    by_included = min(spent, balance.included_remaining)  # included credits go first
    return CreditsView(
        included=balance.included_remaining - by_included,
        prepaid=balance.prepaid - (spent - by_included),
        spendable=balance.spendable - spent,
        period_end_at=balance.period_end_at,
        read_at=balance.read_at,
    )
