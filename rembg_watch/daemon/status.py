"""How everything stands: the object that ``status`` shows, and the one line of ``systemctl status``."""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING

from rembg_watch import __version__
from rembg_watch.account.credits import next_day_at
from rembg_watch.account.gate import FolderHold
from rembg_watch.account.limits import Limit, limiting
from rembg_watch.account.views import credits_view, gate_view, other_use_view
from rembg_watch.delivery.outputs import Blockage
from rembg_watch.jobs import State
from rembg_watch.report.events import looks
from rembg_watch.report.metrics import Figures
from rembg_watch.report.screen import kept_folders
from rembg_watch.report.status import (
    FolderView,
    Snapshot,
    snapshot,
)
from rembg_watch.report.words import count_text, credits_text, utc_text

if TYPE_CHECKING:
    from rembg_watch.daemon.life import Daemon


def snapshot_of(daemon: "Daemon") -> Snapshot:
    """Say how everything stands, as one JSON object."""
    figures, by_folder = daemon.metrics.read(), daemon.ledger.counts_by_folder()
    counts = {state: sum(one[state] for one in by_folder.values()) for state in State}
    rooms = {one.name: daemon.balance.folder_room(one.name, one.daily_budget) for one in daemon.settings.folders}
    folders = _folder_views(daemon, by_folder, rooms)
    payable = daemon.balance.payable()
    limit = _limiting(daemon, by_folder, folders, figures, payable)
    return snapshot(
        counts=counts,
        unsettled=daemon.watcher.unsettled,
        gate=gate_view(daemon.governor.standstill),
        credits=credits_view(daemon.balance.reading, left=daemon.balance.left()),
        other_use=other_use_view(daemon.balance.other_use),
        now=daemon.clocks.now(),
        folders=folders,
        figures=figures,
        limiting=limit.value,
        will_end=limit is not Limit.RETRY
        and not any(folder.waiting and folder.state in _KEPT_BY for folder in folders)
        and is_enough({name: jobs[State.QUEUED] for name, jobs in by_folder.items()}, payable=payable, rooms=rooms),
        version=__version__,
        pid=os.getpid(),
    ) | {"learned_rate_per_s": round(daemon.governor.rate_per_s, 3), "is_settling": daemon.is_settling}


_KEPT_BY: dict[str, Limit] = {
    "offline": Limit.OFFLINE,
    "held": Limit.OPTIONS,
    "blocked": Limit.OUTPUT,
    "spent": Limit.FOLDER_BUDGET,
}


def _limiting(
    daemon: "Daemon",
    by_folder: Mapping[str, Mapping[State, int]],
    folders: Sequence[FolderView],
    figures: Figures,
    payable: int | None,
) -> Limit:
    stalled: Counter[Limit] = Counter()
    free: dict[str, int] = {}
    for folder in folders:
        jobs, limit = by_folder.get(folder.name, {}), _KEPT_BY.get(folder.state)
        if limit is None:
            free[folder.name] = jobs.get(State.QUEUED, 0)
        else:  # what is paid for goes on where only sending has to wait
            stalled[limit] += jobs.get(State.QUEUED, 0) + (jobs.get(State.RECEIVED, 0) if limit is Limit.OUTPUT else 0)
    queued = sum(free.values())
    due_at = daemon.ledger.next_due_at(free) if queued else None
    return limiting(
        daemon.governor.gate,
        queued=queued,
        busy=figures.in_flight,
        workers=daemon.settings.pool.workers,
        is_paced=daemon.governor.is_pacing(),
        affordable=payable,
        is_due=due_at is None or due_at <= daemon.clocks.now(),  # None: all of them are under way
        stalled=stalled,
    )


def is_enough(queued: Mapping[str, int], *, payable: int | None, rooms: Mapping[str, int | None]) -> bool:
    """
    Say if credits and budgets last for all that is in line.

    Args:
        queued: Pictures in line, by folder.
        payable: How many more the account pays for; None: not known.
        rooms: How many more each folder's own budget leaves; None: it has none.
    """
    if payable is not None and payable < sum(queued.values()):
        return False
    return all(room is None or queued.get(name, 0) <= room for name, room in rooms.items())


def _folder_views(
    daemon: "Daemon", by_folder: Mapping[str, Mapping[State, int]], rooms: Mapping[str, int | None]
) -> list[FolderView]:
    away, blocked, now = daemon.watcher.away, daemon.pool.blocked, daemon.clocks.now()
    refused = {hold.folder: hold for hold in daemon.governor.gate.folders}
    views = []
    for folder in daemon.settings.folders:
        room = rooms[folder.name]
        jobs = by_folder.get(folder.name, {})
        state, why, since, until = _state_of(
            is_away=folder.name in away,
            hold=refused.get(folder.name),
            obstacle=blocked.get(folder.name),
            budget=None if room is None or room > 0 else folder.daily_budget,
            now=now,
        )
        views.append(
            FolderView(
                name=folder.name,
                input=str(folder.input),
                output=str(folder.output),
                state=state,
                why=why,
                since=since,
                until=until,
                waiting=jobs.get(State.QUEUED, 0) + jobs.get(State.RECEIVED, 0),
            )
        )
    return views


def _state_of(
    *, is_away: bool, hold: FolderHold | None, obstacle: Blockage | None, budget: Decimal | None, now: datetime
) -> tuple[str, str | None, datetime | None, datetime | None]:
    """Say how a folder stands, why, since and until when; of several reasons the one that a person has to end."""
    if is_away:
        return "offline", None, None, None
    if hold is not None:
        return "held", hold.text, hold.since, None
    if obstacle is not None:
        return "blocked", f"its output cannot be written: {obstacle.why}", obstacle.since, None
    if budget is not None:
        return "spent", f"its daily budget of {credits_text(budget)} is spent", None, next_day_at(now)
    return "watching", None, None, None


def sentence(daemon: "Daemon", told: Snapshot) -> str:
    """Say in one line what is done or waited for; ``systemctl status`` shows it."""
    hold, jobs = daemon.governor.standstill, told["jobs"]
    left = jobs[State.QUEUED] + jobs[State.SENDING] + jobs[State.RECEIVED]
    line = f"{count_text(left, 'picture')} in line"
    away = ", ".join(sorted(daemon.watcher.away))
    missing = f"; not there now: {away}" if away else ""
    if hold is not None:
        next_ = looks(hold.probe.value, hold.probe_at, hold.ends_at, when=utc_text)
        return "; ".join([f"waiting since {utc_text(hold.since)}: {hold.reason}", *next_, line]) + missing
    if daemon.is_settling:
        return f"asking the account what became of the calls before the crash; {line}{missing}"
    if not left:
        return "watching; everything that has landed is dealt with" + missing
    kept = "".join(f"; {one}" for one in kept_folders(told, since=utc_text, until=utc_text))
    stands_still = told["limiting"] in _KEPT_BY.values() and not jobs[State.SENDING]
    return f"{'waiting' if stands_still else 'working'}: {line}{kept}{missing}"
