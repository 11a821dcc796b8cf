"""How everything stands: the object that ``status`` shows, and the one line of ``systemctl status``."""

import contextlib
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from pathlib import Path

from rembg_watch import __version__
from rembg_watch.account.causes import CAUSES, Cause, words
from rembg_watch.account.credits import next_day_at
from rembg_watch.account.gate import Gate
from rembg_watch.account.holds import FolderHold
from rembg_watch.account.pauses import paused_folders
from rembg_watch.account.views import credits_view, gate_view, other_use_view
from rembg_watch.daemon.assembly import Parts
from rembg_watch.delivery.outputs import Blockage
from rembg_watch.jobs import State
from rembg_watch.pipeline import Recipe
from rembg_watch.report.events import looks
from rembg_watch.report.metrics import Figures
from rembg_watch.report.screen import dealt_with_text, kept_folders, originals_text
from rembg_watch.report.status import ENDED, LAST_CALL, FolderView, Snapshot, snapshot, write_snapshot
from rembg_watch.report.words import count_text, credits_text, show, utc_text

_CALM_S = 15.0


class Limit(StrEnum):
    """What keeps the pace from being higher now."""

    QUEUE = "queue"  # there is nothing more to do
    WORKERS = "workers"
    RATE = "gate"  # the short-term rate
    HOLD = "hold"
    CREDITS = "credits"
    PREPARING = "preparing"  # the next pictures are being read, and few calls are under way
    RETRY = "retry"  # what waits is to be tried again, later
    FOLDER_BUDGET = "folder_budget"  # of the folders that have anything to do, as are the next four
    OUTPUT = "output"
    OFFLINE = "offline"
    OPTIONS = "options"
    PAUSED = "paused"


_MOST = 0.75  # a look catches some workers between two calls


class StatusFile:
    """Write how everything stands for whoever looks; rarely while nothing happens, since counting is not free."""

    def __init__(self, parts: Parts, path: Path, *, copy: Path | None = None) -> None:
        self.last: Snapshot = {}  # what was written last
        self.sentence = ""  # what systemd was told last
        self._parts = parts
        self._path = path
        self._copy = copy
        self._pulse: object = None
        self._at_s = float("-inf")
        self._zero_s = 0.0  # of the wall clock, by the monotonic one

    def write(self, *, is_last: bool = False) -> None:
        """Write it if something happened, the last report looks old, or this one is the last."""
        parts = self._parts
        now_s, hold = parts.ports.clocks.monotonic(), parts.governor.standstill
        seen = (parts.watcher.unsettled, parts.watcher.passed_over, parts.watcher.has_looked)
        pulse = (parts.metrics.heard, parts.governor.gate.holds, parts.governor.gate.folders, hold and hold.cause, seen)
        zero_s = parts.ports.clocks.now().timestamp() - now_s
        is_clock_set = abs(zero_s - self._zero_s) > _CALM_S  # by the new time the last report looks old
        if not is_last and pulse == self._pulse and now_s - self._at_s < _CALM_S and not is_clock_set:
            return
        self._pulse, self._at_s, self._zero_s = pulse, now_s, zero_s
        self.last = snapshot_of(parts) | ({ENDED: True} if is_last else {})
        with contextlib.suppress(OSError):  # a full disk; the log tells of it
            write_snapshot(self._path, self.last)
        if self._copy is not None:
            with contextlib.suppress(OSError):
                owned = {"state_dir": os.fspath(self._path.parent)}  # tells a reader whose it is
                write_snapshot(self._copy, self.last | owned, for_all=True)
        words = sentence(parts, self.last)
        if words != self.sentence:
            self.sentence = words
            parts.around.notify.status(words)


def snapshot_of(parts: Parts) -> Snapshot:
    """Say how everything stands, as one JSON object."""
    recipes = list(parts.ports.in_force.plan.recipes.values())
    figures, by_folder = parts.metrics.read(), parts.ledger.counts_by_folder()
    counts = {state: sum(one[state] for one in by_folder.values()) for state in State}
    rooms = {one.name: parts.balance.folder_room(one.name, one.daily_budget) for one in recipes}
    left = parts.ledger.originals_left()
    folders = _folder_views(parts, recipes, by_folder, rooms, left)
    payable = parts.balance.payable()
    limit = _limiting(parts, by_folder, folders, figures, payable)
    return snapshot(
        counts=counts,
        unsettled=parts.watcher.unsettled,
        passed_over=parts.watcher.passed_over,
        originals_left=sum(folder.originals for folder in folders),
        gate=gate_view(parts.governor.standstill),
        credits=credits_view(parts.balance.reading, left=parts.balance.left()),
        other_use=other_use_view(parts.balance.other_use),
        now=parts.ports.clocks.now(),
        folders=folders,
        figures=figures,
        limiting=limit.value,
        will_end=limit is not Limit.RETRY
        and not any(folder.waiting and folder.state in _KEPT_BY for folder in folders)
        and is_enough({name: jobs[State.QUEUED] for name, jobs in by_folder.items()}, payable=payable, rooms=rooms),
        version=__version__,
        pid=os.getpid(),
    ) | {
        "learned_rate_per_s": round(parts.governor.rate_per_s, 3),
        "paused": _paused(parts.governor.gate),
        "is_settling": parts.settling.is_set(),
        "is_looking": not parts.watcher.has_looked,
        LAST_CALL: parts.ledger.last_call(),
    }


def _paused(gate: Gate) -> Snapshot:
    return {"all": gate.holding(Cause.PAUSED) is not None, "folders": sorted(paused_folders(gate))}


_KEPT_BY: dict[str, Limit] = {
    "offline": Limit.OFFLINE,
    "held": Limit.OPTIONS,
    "blocked": Limit.OUTPUT,
    "spent": Limit.FOLDER_BUDGET,
    "paused": Limit.PAUSED,
}


def _limiting(
    parts: Parts,
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
    due_at = parts.ledger.next_due_at(free) if queued else None
    return limiting(
        parts.governor.gate,
        queued=queued,
        busy=figures.in_flight,
        workers=parts.workers,
        is_paced=parts.governor.is_pacing(),
        affordable=payable,
        is_due=due_at is None or due_at <= parts.ports.clocks.now(),  # None: all of them are under way
        stalled=stalled,
    )


def limiting(
    gate: Gate,
    *,
    queued: int,
    busy: int,
    workers: int,
    is_paced: bool,  # the pacer made calls wait lately
    affordable: int | None,  # pictures that may still be paid; None: not known
    is_due: bool = True,  # the turn of some of the jobs that wait has come
    stalled: Mapping[Limit, int] | None = None,
) -> Limit:
    """
    Say what limits now: workers, gate, credits, or what keeps the folders that have anything to do.

    *queued* jobs wait in folders where nothing of their own keeps them, those in *stalled* in
    the others, by what keeps these. *busy* workers have a call under way.
    """
    if queued <= 0:
        kept = {limit: jobs for limit, jobs in (stalled or {}).items() if jobs > 0}
        return max(kept, key=lambda limit: kept[limit], default=Limit.QUEUE)
    if any(CAUSES[h.cause].is_about_credits for h in gate.holds):
        return Limit.CREDITS
    if gate.holds:
        return Limit.HOLD
    if affordable is not None and affordable <= 0:
        return Limit.CREDITS
    if not is_due:
        return Limit.RETRY
    if is_paced and busy < workers:
        return Limit.RATE
    return Limit.WORKERS if busy >= _MOST * workers else Limit.PREPARING


def is_enough(queued: Mapping[str, int], *, payable: int | None, rooms: Mapping[str, int | None]) -> bool:
    """
    Say if credits and budgets last for all that is in line.

    Where it is not known how many the account pays for, *payable* is None, and so is the
    room of a folder that has no budget of its own.
    """
    if payable is not None and payable < sum(queued.values()):
        return False
    return all(room is None or queued.get(name, 0) <= room for name, room in rooms.items())


def _folder_views(
    parts: Parts,
    recipes: Sequence[Recipe],
    by_folder: Mapping[str, Mapping[State, int]],
    rooms: Mapping[str, int | None],
    left: Mapping[str, int],
) -> list[FolderView]:
    away, blocked, now = parts.watcher.away, parts.ports.outputs.blocked, parts.ports.clocks.now()
    hung = parts.ports.shares.hung()
    holds = sorted(parts.governor.gate.folders, key=lambda hold: hold.cause is Cause.PAUSED)  # that is what is shown
    refused = {hold.folder: hold for hold in holds}
    views = []
    for folder in recipes:
        room = rooms[folder.name]
        jobs = by_folder.get(folder.name, {})
        state, why, since, until = _state_of(
            is_away=folder.name in away,
            missing=parts.ports.why_not_made() if folder.deliverables else "",
            hung_s=hung.get(folder.name),
            hold=refused.get(folder.name),
            obstacle=blocked.get(folder.name),
            budget=None if room is None or room > 0 else folder.daily_budget,
            now=now,
        )
        views.append(
            FolderView(
                name=folder.name,
                input=show(os.fsencode(folder.input)),
                output=show(os.fsencode(folder.output)),
                state=state,
                why=why,
                since=since,
                until=until,
                waiting=jobs.get(State.QUEUED, 0) + jobs.get(State.RECEIVED, 0),
                originals=left.get(folder.name, 0),
            )
        )
    return views


def _state_of(
    *,
    is_away: bool,
    missing: str,
    hung_s: float | None,
    hold: FolderHold | None,
    obstacle: Blockage | None,
    budget: Decimal | None,
    now: datetime,
) -> tuple[str, str | None, datetime | None, datetime | None]:
    """Say how a folder stands, why, since and until when; of several reasons the one that a person has to end."""
    if is_away:
        return "offline", None, None, None
    if hung_s is not None:
        return "hung", "a disk of it does not answer: look at its share", now - timedelta(seconds=hung_s), None
    if hold is not None and hold.cause is Cause.PAUSED:
        return "paused", f"{held_because(hold)}; what is paid for is delivered", hold.since, None
    if hold is not None:
        return "held", held_because(hold), hold.since, None
    if missing:
        return "held", missing.rstrip("."), None, None
    if obstacle is not None:
        return "blocked", f"its output cannot be written: {obstacle.why}", obstacle.since, None
    if budget is not None:
        return "spent", f"its daily budget of {credits_text(budget)} is spent", None, next_day_at(now)
    return "watching", None, None, None


def held_because(hold: FolderHold) -> str:
    """Say in a sentence why a folder is held, and what ends that."""
    row = CAUSES[hold.cause]
    return words(row.pause, hold.text) if row.is_said_by_api or not hold.text else hold.text


def sentence(parts: Parts, snapshot: Snapshot) -> str:
    """Say in one line what is done or waited for; ``systemctl status`` shows it."""
    hold, jobs = parts.governor.standstill, snapshot["jobs"]
    left = jobs[State.QUEUED] + jobs[State.SENDING] + jobs[State.RECEIVED]
    line = f"{count_text(left, 'picture')} in line"
    away = ", ".join(sorted(parts.watcher.away))
    missing = f"; not there now: {away}" if away else ""
    if hold is not None:
        next_ = looks(hold.probe.value, hold.probe_at, hold.ends_at, when=utc_text)
        return "; ".join([f"waiting since {utc_text(hold.since)}: {hold.reason}", *next_, line]) + missing
    if parts.settling.is_set():
        return f"asking the account what became of the calls before the crash; {line}{missing}"
    if not left and not parts.watcher.has_looked:
        return f"looking through the folders{missing}"
    if not left and snapshot["originals_left"]:
        return f"watching; {originals_text(snapshot['originals_left'])}{missing}"
    kept = "".join(f"; {one}" for one in kept_folders(snapshot, since=utc_text, until=utc_text))
    if not left:
        dealt_with = (
            "everything else that has landed is dealt with" if kept else dealt_with_text(snapshot["passed_over"])
        )
        return f"watching; {dealt_with}{kept}{missing}"
    stands_still = snapshot["limiting"] in _KEPT_BY.values() and not jobs[State.SENDING]
    return f"{'waiting' if stands_still else 'working'}: {line}{kept}{missing}"
