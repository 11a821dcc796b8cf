"""
How things stand: one JSON object for machines, one screen for people, one small file between them.

The daemon writes the file; ``status`` reads it and says whether anybody still stands behind it. It
looks into no ledger and asks no account: whoever calls brings the numbers.
"""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from rembg_watch.credits import OtherUse
from rembg_watch.holds import Cause, Hold
from rembg_watch.jobs import State
from rembg_watch.ledger import Spending
from rembg_watch.report.events import looks, waiting
from rembg_watch.report.metrics import Figures, time_to_go_s
from rembg_watch.report.words import (
    WallClock,
    When,
    count_text,
    credits_number,
    other_use_text,
    rate_text,
    span_text,
)

Snapshot = dict[str, Any]
"""How things stand, as JSON holds it; the keys of DESIGN are always there."""

SILENT_AFTER_S = 60
ERRORS_SHOWN = 5


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

    @classmethod
    def of(cls, hold: Hold | None) -> "GateView":
        """Show what *hold* says; None: the gate is open."""
        if hold is None:
            return cls()
        return cls(
            is_open=False,
            reason=hold.cause.value,
            why=hold.text,
            since=hold.since,
            until=hold.ends_at,
            look_at=hold.probe_at,
            look_by=hold.probe.value,
            is_answered=hold.is_answered,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CreditsView:
    """What the account held when it was last read; None where it was not."""

    included: Decimal | None = None
    prepaid: Decimal | None = None
    spendable: Decimal | None = None
    period_end_at: datetime | None = None
    read_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderView:
    """
    One folder: ``watching``, ``polling``, ``offline``, ``held``, ``blocked``, ``spent`` or what its watcher calls it.

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


def snapshot(
    *,
    counts: Mapping[State, int],
    unsettled: int,
    gate: GateView,
    credits: CreditsView,  # noqa: A002 - the word of the account
    now: datetime,
    folders: Sequence[FolderView] = (),
    figures: Figures | None = None,
    spending: Spending | None = None,
    other_use: OtherUse | None = None,
    limiting: str | None = None,
    will_end: bool = True,
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
        "gate": {
            "open": gate.is_open,
            "reason": gate.reason,
            "until": stamp(gate.until),
            "since": stamp(gate.since),
            "why": gate.why,
            "look_at": stamp(gate.look_at),
            "look_by": gate.look_by,
            "answered": gate.is_answered,
        },
        "credits": {
            "included": _number(credits.included),
            "prepaid": _number(credits.prepaid),
            "spendable": _number(credits.spendable),
            "period_end": stamp(credits.period_end_at),
            "read_at": stamp(credits.read_at),
        },
        "spending": None if spending is None else _spending(spending),
        "other_use": None if other_use is None else _other_use(other_use),
        "folders": [_folder(folder) for folder in folders],
        "limiting": limiting,
        **_work(figures, jobs, will_end=will_end and gate.is_open),
        "version": version,
        "pid": pid,
        "pid_started": None if pid is None else process_started(pid),
        "written_at": stamp(now),
    }


def _work(figures: Figures | None, jobs: Mapping[str, int], *, will_end: bool) -> Snapshot:
    if figures is None:
        return {
            "since": None,
            "rate": {"short_per_s": 0, "long_per_s": 0},
            "eta_s": None,
            "totals": {},
            "last_errors": [],
        }
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
        "last_errors": [
            {"at": stamp(one.at), "kind": one.kind, "folder": one.folder, "source": one.source, "why": one.why}
            for one in figures.last_problems
        ],
    }


def _spending(spending: Spending) -> Snapshot:
    return {
        "calls": spending.calls,
        "charged": credits_number(spending.charged),
        "doubtful": credits_number(spending.doubtful),
        "in_doubt": spending.in_doubt,
        "under_way": spending.under_way,
        "under_way_credits": credits_number(spending.under_way_credits),
        "refused": spending.refused,
        "doubles": spending.doubles,
        "repeats": spending.repeats,
    }


def _other_use(use: OtherUse) -> Snapshot:
    return {
        "since": stamp(use.since),
        "by_app": credits_number(use.by_app),
        "more": credits_number(use.more),
        "fewer": credits_number(use.fewer),
    }


def _folder(folder: FolderView) -> Snapshot:
    return {
        "name": folder.name,
        "input": folder.input,
        "output": folder.output,
        "state": folder.state,
        "why": folder.why,
        "since": stamp(folder.since),
        "until": stamp(folder.until),
        "waiting": folder.waiting,
    }


def stamp(at: datetime | None) -> str | None:
    """Write a moment as JSON holds it."""
    return at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z") if at else None


def _number(amount: Decimal | None) -> int | float | None:
    return None if amount is None else credits_number(amount)


# --- the file -----------------------------------------------------------------------------------


def write_snapshot(path: Path, snapshot: Snapshot) -> None:
    """
    Replace the file at *path* whole; no reader sees half of one.

    No fsync: after a crash of the machine an old or empty file is no loss.
    """
    staging = path.with_name(f".{path.name}.{os.getpid()}")
    staging.write_text(json.dumps(snapshot, ensure_ascii=False), encoding="utf-8")
    staging.replace(path)


def read_snapshot(path: Path) -> Snapshot | None:
    """Read what the daemon wrote last; None if there is nothing that can be read as such."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    return found if isinstance(found, dict) and "jobs" in found else None


class Liveness(StrEnum):
    """Whether somebody stands behind a snapshot."""

    LIVE = "live"
    SILENT = "silent"  # the process is there but has not written for a while
    GONE = "gone"


def liveness(snapshot: Snapshot, *, now: datetime) -> Liveness:
    """Say whether the process that wrote *snapshot* still lives and still writes."""
    if not is_same_process(snapshot.get("pid"), snapshot.get("pid_started")):
        return Liveness.GONE
    written = _moment(snapshot.get("written_at"))
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


# --- the screen ---------------------------------------------------------------------------------


class Headline(NamedTuple):
    """What a glance should tell: in a word, in a sentence, and what to do."""

    word: str
    style: str
    sentence: str
    details: tuple[str, ...] = ()


_NOT_BY_THE_API = frozenset({Cause.DISK, Cause.BACKOFF, Cause.CIRCUIT, Cause.CREDITS, Cause.BUDGET})
"""Reasons whose words are not an answer of the API, which may not have been asked at all."""

_LIMITING = {
    "workers": "all workers are busy; more pool.workers would be faster",
    "gate": "the API's rate sets the pace",
    "rate": "the API's rate sets the pace",
    "credits": "the credits set the limit",
    "preparing": "the next pictures are being read",
    "retry": "they are tried again by themselves",
    "options": "the API does not accept the options of their folder",
}
_STANDS_STILL = frozenset({"folder_budget", "output", "offline", "options"})
_KEPT = frozenset({"blocked", "spent"})


def headline(snapshot: Snapshot, *, alive: Liveness, clock: WallClock) -> Headline:
    """Say in plain words what the daemon does or waits for."""
    if alive is Liveness.GONE:
        hint = "Start it: systemctl start rembg-watch, or: rembg-watch run"
        return Headline("NOT RUNNING", "bold red", "The daemon is not running; below is what it left.", (hint,))
    if alive is Liveness.SILENT:
        written = _moment(snapshot.get("written_at"))
        ago = clock.since(written) if written else "never"
        return Headline("SILENT", "bold red", f"The daemon is there but last reported at {ago}.", ("See its log.",))
    if not snapshot["gate"]["open"]:
        return _paused(snapshot["gate"], clock=clock)
    return _at_work(snapshot, clock)


def kept_folders(snapshot: Snapshot, *, since: When, until: When) -> tuple[str, ...]:
    """Name the folders whose pictures wait although the gate is open, each with its reason, since and until when."""
    kept = (one for one in snapshot.get("folders", ()) if one["state"] in _KEPT and one.get("waiting"))
    return tuple(f"{one['name']}: {_reason(one, since=since, until=until)}" for one in kept)


def _reason(folder: Mapping[str, Any], *, since: When, until: When) -> str:
    began, ends = _moment(folder.get("since")), _moment(folder.get("until"))
    times = ([f"since {since(began)}"] if began else []) + ([f"until {until(ends)}"] if ends else [])
    return ", ".join([folder["why"], *times]) if folder.get("why") else ""


def _sentence(words: str) -> str:
    return f"{words[:1].upper()}{words[1:]}."


def _paused(gate: Mapping[str, Any], *, clock: WallClock) -> Headline:
    what, advice = waiting(gate["reason"] or "unknown", is_answered=gate.get("answered") is True)
    since, until = _moment(gate.get("since")), _moment(gate.get("until"))
    look_at = _moment(gate.get("look_at"))
    times = [f"since {clock.since(since)}"] if since else []
    times += looks(gate.get("look_by"), look_at, until, when=clock.until)
    who = "The last error" if gate["reason"] in _NOT_BY_THE_API else "The API says"
    words = [f'{who}: "{gate["why"]}"'] if gate.get("why") else []
    lines = tuple(line for line in ("; ".join(times[:2]), *times[2:], *words, advice) if line)
    return Headline("PAUSED", "bold yellow", _sentence(what), lines)


def _at_work(snapshot: Snapshot, clock: WallClock) -> Headline:
    jobs, unsettled = snapshot["jobs"], snapshot["unsettled"]
    away = [folder["name"] for folder in snapshot.get("folders", ()) if folder["state"] == "offline"]
    details = (f"Not there at the moment: {', '.join(away)}. Waiting for it.",) if away else ()
    details = (*kept_folders(snapshot, since=clock.since, until=clock.until), *details)
    if snapshot.get("is_settling"):
        doubts = count_text(jobs["in_doubt"], "call")
        sentence = f"The account is asked what became of {doubts} that a crash cut off."
        return Headline("WAITING", "bold cyan", sentence, ("Nothing is sent until that is known.", *details))
    left = jobs["queued"] + jobs["sending"] + jobs["received"]
    if left:
        limiting = snapshot.get("limiting") or ""
        pace = (_sentence(_LIMITING[limiting] + _learned(snapshot, limiting)),) if limiting in _LIMITING else ()
        stands_still = limiting in _STANDS_STILL and not jobs["sending"]
        word, style = ("WAITING", "bold yellow") if stands_still else ("WORKING", "bold green")
        return Headline(word, style, f"{count_text(left, 'picture')} to go.", (*pace, *details))
    if unsettled:
        are = "is" if unsettled == 1 else "are"
        sentence = f"{count_text(unsettled, 'file')} {are} still being copied or not whole yet."
        return Headline("WAITING", "bold cyan", sentence, details)
    return Headline("READY", "bold green", "Everything that has landed is dealt with.", details)


def _learned(snapshot: Snapshot, limiting: str) -> str:
    learned = snapshot.get("learned_rate_per_s")
    return f": at most {rate_text(learned)} now" if learned and limiting in ("gate", "rate") else ""


def render(
    snapshot: Snapshot, *, now: datetime, alive: Liveness = Liveness.LIVE, zone: tzinfo | None = None
) -> RenderableType:
    """Draw *snapshot* for a person; it fits into 80 columns."""
    clock = WallClock(now, zone)
    parts: list[RenderableType] = [_top(headline(snapshot, alive=alive, clock=clock)), Text()]
    if alive is not Liveness.GONE:
        parts += _progress(snapshot)
    parts += [_jobs(snapshot), Text(), _credits(snapshot["credits"], clock=clock)]
    if snapshot.get("spending"):
        parts += [Text(), _spent(snapshot["spending"])]
    if snapshot.get("other_use"):
        parts += [Text(), _others(snapshot["other_use"], clock=clock)]
    if snapshot.get("folders"):
        parts += [Text(), _folders(snapshot["folders"], clock=clock)]
    if snapshot.get("last_errors"):
        parts += [Text(), _errors(snapshot["last_errors"], clock=clock)]
    since = _moment(snapshot.get("since"))
    if since and alive is not Liveness.GONE:
        foot = f"rembg-watch {snapshot.get('version') or ''} since {clock.since(since)}, pid {snapshot.get('pid')}"
        parts += [Text(), Text(" ".join(foot.split()), style="dim")]
    return Group(*parts)


def _top(head: Headline) -> RenderableType:
    grid = Table.grid(padding=(0, 2))
    grid.add_row(Text(head.word, style=head.style), Text(head.sentence, style="bold"))
    for line in head.details:
        grid.add_row("", Text(line))
    return grid


def _progress(snapshot: Snapshot) -> Iterator[RenderableType]:
    totals, jobs = snapshot.get("totals") or {}, snapshot["jobs"]
    left = jobs["queued"] + jobs["sending"] + jobs["received"]
    if not left:
        return
    finished = totals.get("delivered", 0) + totals.get("reused", 0) + totals.get("failed", 0)
    rate, eta_s = snapshot["rate"]["short_per_s"] or snapshot["rate"]["long_per_s"], snapshot.get("eta_s")
    pace = f"{finished:,} of {finished + left:,} in this run" + (f", {rate_text(rate)}" if rate else "")
    grid = Table.grid(padding=(0, 2))
    grid.add_row(ProgressBar(total=finished + left, completed=finished, width=24), Text(pace))
    if eta_s and snapshot["gate"]["open"]:
        grid.add_row("", Text(f"about {span_text(max(60, round(eta_s, -1)))} to go"))
    yield grid
    yield Text()


_JOB_ROWS: tuple[tuple[str, str, str], ...] = (
    ("queued", "in line", ""),
    ("sending", "at the API", ""),
    ("received", "paid, being delivered", ""),
    ("done", "delivered", ""),
    ("failed", "failed", "rembg-watch jobs --state failed  says why"),
    ("held", "held", "rembg-watch jobs --state held  says what they wait for"),
    ("in_doubt", "in doubt", "rembg-watch retry --state in_doubt  sends them again"),
    ("vanished", "gone before they were sent", ""),
)
_ALWAYS = frozenset({"queued", "sending", "done", "failed"})


def _jobs(snapshot: Snapshot) -> RenderableType:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(justify="right", min_width=9)
    rows = [(snapshot["unsettled"], "not whole yet", "", "")] if snapshot["unsettled"] else []
    for state, name, hint in _JOB_ROWS:
        number = snapshot["jobs"][state]
        if number or state in _ALWAYS:
            rows.append((number, name, hint if number else "", "yellow" if hint and number else ""))
    for number, name, hint, style in rows:
        grid.add_row(Text(f"{number:,}", style=style or "bold"), Text(name, style=style), Text(hint, style="dim"))
    return grid


def _credits(held: Mapping[str, Any], *, clock: WallClock) -> RenderableType:
    if held["spendable"] is None:
        return Text("Credits   not read yet")
    text = f"Credits   {held['spendable']:,} can be spent"
    if held["included"] is not None and held["prepaid"] is not None:
        text += f" ({held['included']:,} included, {held['prepaid']:,} prepaid)"
    end, read = _moment(held["period_end"]), _moment(held.get("read_at"))
    lines = [f"          the period ends {clock.until(end)}"] if end else []
    lines += [f"          read at {clock.since(read)}"] if read else []
    return Text("\n".join([text, *lines]))


def _spent(spent: Mapping[str, Any]) -> RenderableType:
    """Say what the calls came to, and each that may have been paid for twice: nobody should have to search for it."""
    doubts, doubles, repeats = spent["in_doubt"] - spent["under_way"], spent["doubles"], spent["repeats"]
    lines = [f"Spent     {count_text(spent['charged'], 'credit')} for sure, {count_text(spent['calls'], 'call')}"]
    if doubts:
        calls = f"{count_text(doubts, 'call')} that {_were(doubts)} never answered"
        lines.append(f"          {spent['doubtful'] - spent['under_way_credits']:,} more perhaps, for {calls}")
    if doubles:
        lines.append(
            f"          {count_text(doubles, 'call')} {_were(doubles)} made again after one that was never answered"
        )
    if repeats:
        picture = "a picture that was" if repeats == 1 else "pictures that were"
        lines.append(f"          {count_text(repeats, 'call')} {_were(repeats)} made for {picture} paid before")
    return Text("\n".join(lines))


def _others(use: Mapping[str, Any], *, clock: WallClock) -> RenderableType:
    """Say what others spent, or what the account and the ledger count differently."""
    since = _moment(use["since"])
    amounts = [Decimal(str(use[name])) for name in ("by_app", "more", "fewer")]
    when = f" since {clock.since(since)}" if since else ""
    return Text(f"Other use of the account{when}:\n          {other_use_text(*amounts, counts='this program')}")


def _were(number: int) -> str:
    return "was" if number == 1 else "were"


def _folders(folders: Sequence[Mapping[str, Any]], *, clock: WallClock) -> RenderableType:
    grid = Table.grid(padding=(0, 2))
    for number, folder in enumerate(folders):
        calm = folder["state"] in ("watching", "polling")
        grid.add_row(
            "Folders" if not number else "",
            Text(folder["name"], style="bold"),
            Text(folder["state"], style="" if calm else "yellow"),
        )
        told = _reason(folder, since=clock.since, until=clock.until)
        for line in filter(None, (told, f"from {folder['input']}", f"to   {folder['output']}")):
            grid.add_row("", "", Text(line, style="dim", overflow="fold"))
    return grid


def _errors(errors: Sequence[Mapping[str, Any]], *, clock: WallClock) -> RenderableType:
    grid = Table.grid(padding=(0, 2))
    for number, error in enumerate(errors[:ERRORS_SHOWN]):
        at = _moment(error["at"])
        name = f"{error['folder']}/{error['source']}: " if error.get("source") else ""
        text = Text(f"{name}{error['why']}", overflow="fold")
        grid.add_row("Errors " if not number else "", Text(clock.short(at) if at else "", style="dim"), text)
    return grid


def _moment(stamp: object) -> datetime | None:
    return datetime.fromisoformat(stamp) if isinstance(stamp, str) else None
