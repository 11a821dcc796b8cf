"""``status``, ``jobs``, ``retry`` and ``check``: how it goes, and what can be done about it. None of them pays."""

import os
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich.live import Live
from rich.table import Table
from rich.text import Text

from rembg_watch.account.notes import BASELINE, GATE, OTHER_USE, gate_from_note, reading_from_note, use_from_note
from rembg_watch.account.views import credits_view, gate_view, other_use_view
from rembg_watch.check import findings, over_network, verdict
from rembg_watch.cli.configured import AsJson, ConfigFile, ledger_of
from rembg_watch.cli.console import OUT, say, say_json
from rembg_watch.config import FOR_LOOKING, Settings, Severity, find, load, read
from rembg_watch.daemon import RESUME, STATUS_NAME
from rembg_watch.jobs import Job, State
from rembg_watch.ledger import Access, Ledger, NoLedgerError, Which, open_ledger
from rembg_watch.report.screen import render
from rembg_watch.report.status import (
    CreditsView,
    GateView,
    Liveness,
    Snapshot,
    liveness,
    read_snapshot,
    snapshot,
)
from rembg_watch.report.words import credits_number, show, size_text

WATCH_S = 1.0

_MARKS = {Severity.ERROR: ("✗", "bold red"), Severity.WARNING: ("!", "yellow"), Severity.NOTE: ("·", "dim")}


# --- status -------------------------------------------------------------------------------------


def status(
    config: ConfigFile = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Stay and show changes.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show queue, gate, credits, rate and the last errors."""
    settings = load(find(config), tolerate=FOR_LOOKING)
    if not watch:
        found, alive = _look(settings)
        if as_json:
            say_json(found | {"running": alive is not Liveness.GONE})
        else:
            OUT.print(render(found, now=_now(), alive=alive))
        return
    if as_json:
        _stream(settings)
    with Live(console=OUT, auto_refresh=False, screen=OUT.is_terminal) as screen:
        while True:
            found, alive = _look(settings)
            screen.update(render(found, now=_now(), alive=alive), refresh=True)
            time.sleep(WATCH_S)


def _stream(settings: Settings) -> None:
    while True:
        found, alive = _look(settings)
        say_json(found | {"running": alive is not Liveness.GONE})
        time.sleep(WATCH_S)


def _look(settings: Settings) -> tuple[Snapshot, Liveness]:
    """Read what the daemon wrote last; the counts are the ledger's own, and so is the rest if nobody runs."""
    told = read_snapshot(settings.state_dir / STATUS_NAME)
    alive = liveness(told, now=_now()) if told else Liveness.GONE
    try:
        with open_ledger(settings.state_dir, Access.READ) as ledger:
            left = _left(ledger)
    except NoLedgerError:
        left = snapshot(counts={}, unsettled=0, gate=GateView(), credits=CreditsView(), now=_now())
    if told is None:
        return left, alive
    if alive is Liveness.GONE:
        ledgers = ("jobs", "unsettled", "gate", "spending", "eta_s", "other_use")
        return {**told, **{name: left[name] for name in ledgers}}, alive
    return {**told, **{name: left[name] for name in ("jobs", "unsettled", "spending", "other_use")}}, alive


def _left(ledger: Ledger) -> Snapshot:
    """Say how things stand by the ledger alone."""
    return snapshot(
        counts=ledger.counts(),
        unsettled=ledger.unsettled_count(),
        gate=gate_view(gate_from_note(ledger.note(GATE)).hold),
        credits=credits_view(reading_from_note(ledger.note(BASELINE))),
        spending=ledger.spending(),
        other_use=other_use_view(use_from_note(ledger.note(OTHER_USE))[0]),
        now=_now(),
    )


# --- jobs ---------------------------------------------------------------------------------------


def jobs(
    patterns: Annotated[
        list[str] | None, typer.Argument(metavar="[PATTERN]...", help="Paths to show, as globs: 'shoot-7/*'.")
    ] = None,
    config: ConfigFile = None,
    state: Annotated[list[State] | None, typer.Option("--state", "-s", help="Only these states.")] = None,
    folder: Annotated[list[str] | None, typer.Option("--folder", "-f", help="Only these folders.")] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="The last so many.")] = 100,
    unsettled: Annotated[bool, typer.Option("--unsettled", help="What was seen and is not whole yet.")] = False,
    as_json: AsJson = False,
) -> None:
    """List pictures with their state, and the reason where there is one."""
    _, ledger = ledger_of(config, Access.READ)
    with ledger:
        if unsettled:
            _show_unsettled(ledger, folder, limit, as_json=as_json)
            return
        found = _chosen(ledger, patterns, state, folder, limit)
        if as_json:
            say_json([_job_json(job) for job in found])
        else:
            _show_jobs(found)


def _chosen(
    ledger: Ledger, patterns: list[str] | None, states: list[State] | None, folders: list[str] | None, limit: int
) -> list[Job]:
    found: dict[int, Job] = {}
    for pattern in patterns or [None]:  # type: ignore[list-item]  # no pattern is one choice, too
        which = Which(states=frozenset(states or ()), folders=frozenset(folders or ()), pattern=pattern)
        found |= {job.id: job for job in ledger.jobs(which, limit=limit)}
    return sorted(found.values(), key=lambda job: job.changed_at, reverse=True)[:limit]


def _show_jobs(found: Iterable[Job]) -> None:
    table = Table(box=None, pad_edge=False, show_header=True, header_style="dim")
    for heading in ("state", "picture", "size", "changed", "cut-out, or why not"):
        table.add_column(heading, overflow="fold", no_wrap=heading in ("state", "size", "changed"))
    for job in found:
        table.add_row(
            Text(job.state.value, style=_STYLES.get(job.state, "")),
            Text(f"{job.folder}/{show(job.source)}"),
            size_text(job.version.size_bytes),
            f"{job.changed_at.astimezone():%Y-%m-%d %H:%M}",
            Text(job.reason or (show(job.target) if job.target else "")),
        )
    if table.row_count:
        OUT.print(table)
    else:
        say("no jobs")


_STYLES = {
    State.DONE: "green",
    State.FAILED: "bold red",
    State.HELD: "yellow",
    State.IN_DOUBT: "yellow",
    State.VANISHED: "dim",
}


def _job_json(job: Job) -> dict[str, Any]:
    return {
        "id": job.id,
        "folder": job.folder,
        "source": os.fsdecode(job.source).encode("utf-8", "surrogateescape").decode("utf-8", "replace"),
        "source_hex": job.source.hex(),
        "size_bytes": job.version.size_bytes,
        "state": job.state.value,
        "target": show(job.target) if job.target else None,
        "reason": job.reason,
        "code": job.code,
        "field": job.field,
        "attempts": job.attempts,
        "doubts": job.doubts,
        "charged": credits_number(job.charged),
        "retry_at": job.retry_at.isoformat() if job.retry_at else None,
        "enqueued_at": job.enqueued_at.isoformat(),
        "changed_at": job.changed_at.isoformat(),
        "request_id": job.request_id,
    }


def _show_unsettled(ledger: Ledger, folders: list[str] | None, limit: int, *, as_json: bool) -> None:
    found = [(name, one) for name, one in ledger.unsettled(limit=limit) if not folders or name in folders]
    if as_json:
        say_json(
            [
                {
                    "folder": name,
                    "source": show(one.source),
                    "size_bytes": one.size_bytes,
                    "since": one.since_at.isoformat(),
                    "reason": one.reason,
                }
                for name, one in found
            ]
        )
        return
    for name, one in found:
        say(f"{name}/{show(one.source)}  {size_text(one.size_bytes)}  since {one.since_at:%H:%M}  {one.reason}")
    if not found:
        say("nothing is unsettled")


# --- retry --------------------------------------------------------------------------------------


def retry(
    patterns: Annotated[
        list[str] | None, typer.Argument(metavar="[PATTERN]...", help="Paths to try again, as globs: 'shoot-7/*'.")
    ] = None,
    config: ConfigFile = None,
    everything: Annotated[bool, typer.Option("--all", help="All that failed, are held or in doubt.")] = False,
    state: Annotated[list[State] | None, typer.Option("--state", "-s", help="Only failed, held or in_doubt.")] = None,
    folder: Annotated[list[str] | None, typer.Option("--folder", "-f", help="Only these folders.")] = None,
) -> None:
    """Put failed, held or in-doubt pictures back in line, and end every pause; alone, end the pauses."""
    is_told_which = bool(patterns or everything or state or folder)
    _, ledger = ledger_of(config, Access.JOIN)
    with ledger:
        count = 0
        chosen = (patterns or [None]) if is_told_which else []  # type: ignore[list-item]  # no pattern is one choice, too
        for pattern in chosen:
            which = Which(states=frozenset(state or ()), folders=frozenset(folder or ()), pattern=pattern)
            count += ledger.retry(which, _now())
        ledger.set_note(RESUME, _now().isoformat(), is_durable=False)
    if not is_told_which:
        say(
            "every pause is tried again now, and nothing was put back in line: "
            "name pictures by a pattern, --state, --folder, or --all for that"
        )
        return
    say(f"{count} put back in line" if count else "nothing to put back; any pause is tried again now")


# --- check --------------------------------------------------------------------------------------


def check(
    config: ConfigFile = None,
    offline: Annotated[bool, typer.Option("--offline", help="Do not ask the account; reading it is free.")] = False,
    as_json: AsJson = False,
) -> None:
    """Find everything that could go wrong; costs nothing."""
    found = findings(read(find(config)), ask=None if offline else over_network())
    if as_json:
        say_json(
            {
                "ok": not any(one.severity is Severity.ERROR for one in found),
                "findings": [
                    {
                        "severity": one.severity.value,
                        "kind": one.kind.value,
                        "what": one.what,
                        "where": one.where,
                        "todo": one.todo,
                    }
                    for one in found
                ],
            }
        )
        raise typer.Exit(verdict(found))
    for one in found:
        mark, style = _MARKS[one.severity]
        OUT.print(Text(f"{mark} ", style=style) + Text(str(one)))
    errors = sum(one.severity is Severity.ERROR for one in found)
    warnings = sum(one.severity is Severity.WARNING for one in found)
    say(f"{errors} to mend, {warnings} to look at" if errors or warnings else "all is well")
    raise typer.Exit(verdict(found))


def _now() -> datetime:
    return datetime.now(UTC)
