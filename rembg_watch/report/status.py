"""
How things stand: one JSON object for machines, and the small file between the daemon and whoever looks.

The daemon writes the file; ``status`` reads it and says whether anybody still stands behind it. It
looks into no ledger and asks no account: whoever calls brings the numbers.
"""

import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Any

from rembg_watch.jobs import State
from rembg_watch.ledger import Spending
from rembg_watch.passed_over import PassedCounts
from rembg_watch.report.events import Pause
from rembg_watch.report.metrics import Figures, Problem, time_to_go_s
from rembg_watch.report.words import credits_number

Snapshot = dict[str, Any]
"""How things stand, as JSON holds it; every key of ``snapshot`` is always there."""

STATUS_NAME = "status.json"
"""The file of a state directory into which the daemon writes how things stand."""

METRICS_NAME = "metrics.prom"
"""The file beside it for Prometheus, where `[metrics] textfile` names no other one."""

SILENT_AFTER_S = 60

ENDED = "ended"
"""The key that says that the process which wrote it has ended, and meant to."""

LAST_CALL = "last_call"
"""The key under which the number of the last call is written: it only grows, as long as the ledger is the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GateView:
    """Whether calls may go; if not, why, in whose words, since when, until when, and what looks at it next."""

    is_open: bool = True
    reason: str | None = None
    why: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    look_at: datetime | None = None
    look_by: str | None = None
    is_answered: bool = False
    pause: Pause | None = None  # what that means to a person; None: the reason is all that is known
    is_said_by_api: bool = True  # whose words *why* are


@dataclass(frozen=True, slots=True, kw_only=True)
class CreditsView:
    """What the account held when it was last read; None where it was not."""

    included: Decimal | None = None
    prepaid: Decimal | None = None
    spendable: Decimal | None = None
    period_end_at: datetime | None = None
    read_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherUseView:
    """What was spent from the account beside this program, since when."""

    since: datetime
    by_app: Decimal
    more: Decimal
    fewer: Decimal


FOLDER_STATES = ("watching", "offline", "hung", "held", "paused", "blocked", "spent")


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderView:
    """
    One folder, in one of ``FOLDER_STATES``.

    A blocked one's output cannot be written; a spent one has no daily budget left.
    """

    name: str
    input: str
    output: str
    state: str
    why: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    waiting: int = 0  # pictures in line or paid and not delivered
    originals: int = 0  # pictures that are dealt with and still to be moved or deleted


def snapshot(
    *,
    counts: Mapping[State, int],
    unsettled: int,
    passed_over: Mapping[str, PassedCounts] | None = None,
    gate: GateView,
    credits: CreditsView,  # noqa: A002 - the word of the account
    now: datetime,
    folders: Sequence[FolderView] = (),
    figures: Figures | None = None,
    spending: Spending | None = None,
    other_use: OtherUseView | None = None,
    limiting: str | None = None,
    will_end: bool = True,
    originals_left: int = 0,
    version: str = "",
    pid: int | None = None,
) -> Snapshot:
    """
    Put everything that is known into one JSON object; what nobody knows is null.

    Where the gate is shut, or not all that is in line can be done now (not *will_end*), nobody knows when it is done.
    """
    jobs = {str(state): counts.get(state, 0) for state in State}
    return {
        "jobs": jobs,
        "unsettled": unsettled,
        "passed_over": passed_over_view(passed_over or {}),
        "originals_left": originals_left,
        "gate": _gate(gate),
        "credits": {
            "included": _value(credits.included),
            "prepaid": _value(credits.prepaid),
            "spendable": _value(credits.spendable),
            "period_end": stamp(credits.period_end_at),
            "read_at": stamp(credits.read_at),
        },
        "spending": None if spending is None else _values(spending),
        "other_use": None if other_use is None else _values(other_use),
        "folders": [_values(folder) for folder in folders],
        "limiting": limiting,
        **_work(figures, jobs, will_end=will_end and gate.is_open),
        "version": version,
        "pid": pid,
        "pid_started": None if pid is None else process_started(pid),
        "written_at": stamp(now),
    }


def passed_over_view(found: Mapping[str, PassedCounts]) -> Snapshot:
    """Say what is knowingly not sent of each folder, by kind and reason, the most first."""
    kinds = [
        {"folder": folder, "reason": one.why.value, "kind": one.kind, "count": number}
        for folder, counts in found.items()
        for one, number in sorted(counts.items(), key=lambda counted: (-counted[1], counted[0]))
    ]
    return {"count": sum(sum(counts.values()) for counts in found.values()), "kinds": kinds}


def _gate(gate: GateView) -> Snapshot:
    pause = gate.pause or Pause.unknown(gate.reason or "unknown")
    return {
        "open": gate.is_open,
        "reason": gate.reason,
        "until": stamp(gate.until),
        "since": stamp(gate.since),
        "why": gate.why,
        "look_at": stamp(gate.look_at),
        "look_by": gate.look_by,
        "answered": gate.is_answered,
        "what": None if gate.is_open else pause.what,
        "advice": None if gate.is_open else pause.advice,
        "said_by_api": None if gate.is_open else gate.is_said_by_api,
    }


def _work(figures: Figures | None, jobs: Mapping[str, int], *, will_end: bool) -> Snapshot:
    if figures is None:
        rate = {"short_per_s": 0, "long_per_s": 0}
        return {"since": None, "rate": rate, "eta_s": None, "totals": {}, "last_errors": []}
    waiting_pictures = jobs[State.QUEUED] + jobs[State.SENDING] + jobs[State.RECEIVED]
    counted = ("enqueued", "delivered", "reused", "failed", "vanished", "retries", "doubts", "calls", "in_flight")
    return {
        "since": stamp(figures.since),
        "rate": {"short_per_s": round(figures.short_rate_per_s, 4), "long_per_s": round(figures.long_rate_per_s, 4)},
        "eta_s": time_to_go_s(waiting_pictures, figures) if will_end else None,
        "totals": {
            **{name: getattr(figures, name) for name in counted},
            "charged": credits_number(figures.charged),
            "sent_bytes": figures.sent_bytes,
            "answer_bytes": figures.answer_bytes,
            "call_mean_s": figures.call_mean_s,
        },
        "last_errors": [_values(one) for one in figures.last_problems],
    }


def _values(view: Spending | OtherUseView | FolderView | Problem) -> Snapshot:
    """Give all fields of *view* under their own names: they are part of what ``status --json`` promises."""
    return {one.name: _value(getattr(view, one.name)) for one in fields(view)}


def _value(value: object) -> object:
    match value:
        case datetime():
            return stamp(value)
        case Decimal():
            return credits_number(value)
    return value


def stamp(at: datetime | None) -> str | None:
    """Write a moment as JSON holds it."""
    return at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z") if at else None


def moment(stamp: object) -> datetime | None:
    """Read back what ``stamp`` wrote; None for anything else."""
    return datetime.fromisoformat(stamp) if isinstance(stamp, str) else None


# --- the file -----------------------------------------------------------------------------------


def write_snapshot(path: Path, snapshot: Snapshot, *, for_all: bool = False) -> None:
    """
    Replace the file at *path* whole; no reader sees half of one.

    No fsync: after a crash of the machine an old or empty file is no loss.

    Args:
        path: The file.
        snapshot: What is written.
        for_all: Let every user read it, whatever the umask says.
    """
    staging = path.with_name(f".{path.name}.{os.getpid()}")
    text = json.dumps(snapshot, ensure_ascii=False)
    staging.write_text(text, encoding="utf-8", errors="backslashreplace")
    if for_all:
        staging.chmod(0o644)
    staging.replace(path)


def copies_for_all(state_dir: Path, environ: Mapping[str, str]) -> list[Path]:
    """
    List where the copy of a snapshot may stand that every user may read, the likeliest place first.

    systemd names its place to the service (``RUNTIME_DIRECTORY``); others have to guess it from
    the unit's habit: /run/rembg-watch, and /run/rembg-watch-north beside /var/lib/rembg-watch-north.
    """
    given = [Path(one) for one in environ.get("RUNTIME_DIRECTORY", "").split(":")[:1] if one.startswith("/")]
    usual = [Path("/run") / name for name in (state_dir.name, "rembg-watch")]
    return [place / "status.json" for place in dict.fromkeys([*given, *usual])]


def read_copy(state_dir: Path, environ: Mapping[str, str]) -> Snapshot | None:
    """Read the snapshot of the daemon that keeps *state_dir* from its copy for all users; None if there is none."""
    for path in copies_for_all(state_dir, environ):
        with suppress(OSError):
            found = read_snapshot(path)
            if found is not None and found.get("state_dir") == os.fspath(state_dir):
                return found
    return None


def read_snapshot(path: Path) -> Snapshot | None:
    """Read what the daemon wrote last; None if there is nothing that can be read as such."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    is_one = isinstance(found, dict) and isinstance(found.get("jobs"), dict) and found.keys() >= _ALWAYS_THERE
    return found if is_one else None


_ALWAYS_THERE = frozenset({"jobs", "unsettled", "gate", "credits", "rate"})


class Liveness(StrEnum):
    """Whether somebody stands behind a snapshot."""

    LIVE = "live"
    SILENT = "silent"  # the process is there but has not written for a while
    GONE = "gone"


def liveness(snapshot: Snapshot, *, now: datetime) -> Liveness:
    """Say whether the process that wrote *snapshot* still lives and still writes."""
    if not is_same_process(snapshot.get("pid"), snapshot.get("pid_started")):
        return Liveness.GONE
    written = moment(snapshot.get("written_at"))
    is_fresh = written is not None and (now - written).total_seconds() < SILENT_AFTER_S
    return Liveness.LIVE if is_fresh else Liveness.SILENT


def is_same_process(pid: object, started: object) -> bool:
    """
    Say whether *pid* is the process that started at *started*, and not a later one with its number.

    Where the process may not be looked at, being there at all has to do.
    """
    if not isinstance(pid, int) or pid <= 0:
        return False
    found = process_started(pid)
    return found == started if found is not None and started is not None else _exists(pid)


def process_started(pid: int) -> int | None:
    """Read when *pid* started, in clock ticks since boot; None if it is gone or hidden."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    after_name = stat.rpartition(")")[2].split()  # the name may hold spaces and brackets itself
    return int(after_name[19])


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (ProcessLookupError, OverflowError):
        return False
    return True
