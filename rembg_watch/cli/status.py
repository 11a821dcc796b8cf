"""``status``: what the daemon does or waits for now, from its status file and the ledger."""

import os
import time
from collections.abc import Sequence
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Self

import typer
from rich.live import Live

from rembg_watch import state_dirs
from rembg_watch.account.causes import Cause
from rembg_watch.account.notes import (
    BASELINE,
    GATE,
    OTHER_USE,
    PAUSES,
    gate_from_note,
    pauses_from_note,
    reading_from_note,
    use_from_note,
)
from rembg_watch.account.pauses import paused
from rembg_watch.account.views import credits_view, gate_view, other_use_view
from rembg_watch.cli.configured import AsJson, ConfigFile
from rembg_watch.cli.console import OUT, say, say_json
from rembg_watch.config import FOR_LOOKING, Settings, find
from rembg_watch.daemon import STATUS_NAME
from rembg_watch.daemon.lacking import Lack, lacks
from rembg_watch.daemon.verdict import verdict
from rembg_watch.errors import LedgerError
from rembg_watch.ledger import Access, Ledger, LedgerClosedError, NoLedgerError, open_ledger
from rembg_watch.report.screen import render
from rembg_watch.report.status import (
    CreditsView,
    GateView,
    Liveness,
    Snapshot,
    liveness,
    read_copy,
    read_snapshot,
    snapshot,
)
from rembg_watch.report.words import WallClock
from rembg_watch.watch import LISTED

WATCH_S = 1.0


def status(
    config: ConfigFile = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Keep running and show changes.")] = False,
    as_json: AsJson = False,
    check: Annotated[
        bool,
        typer.Option("--check", help="One line for a monitor, and 0, 1 or 2: all is well, something waits, act now."),
    ] = False,
) -> None:
    """Show the queue, the gate, credits, the rate and the last errors."""
    settings = state_dirs.load(find(config), tolerate=FOR_LOOKING)
    if check:
        with _LedgerOnce(settings.state_dir) as ledger:
            found, alive = _look(settings, ledger)
        judged = verdict(found, alive=alive, clock=WallClock(_now()))
        say(judged.line)
        raise typer.Exit(judged.health)
    is_live = watch and not as_json
    live = Live(console=OUT, auto_refresh=False, screen=OUT.is_terminal) if is_live else nullcontext()
    with live as screen, _LedgerOnce(settings.state_dir) as ledger:
        while True:
            found, alive = _look(settings, ledger)
            lacking = [] if watch else _lacking(settings, ledger)
            if as_json:
                views = [one.view() for one in lacking]
                say_json(found | {"running": alive is not Liveness.GONE, "lacking": views})
            elif screen is not None:
                screen.update(render(found, now=_now(), alive=alive), refresh=True)
            else:
                OUT.print(render(found, now=_now(), alive=alive))
                for one in lacking:
                    say(f'{one.text()}; "rembg-watch deliver" makes them')
            if not watch:
                return
            time.sleep(WATCH_S)


def _lacking(settings: Settings, ledger: "_LedgerOnce") -> list[Lack]:
    """Return what delivered pictures lack; nothing where this user may not look."""
    try:
        opened = ledger.open()
        return list(lacks(settings, opened)) if opened is not None else []
    except LedgerError:
        return []


class _LedgerOnce:
    """The ledger, opened when there is one, and kept open: to look is cheap, to check it each second is not."""

    def __init__(self, state_dir: Path) -> None:
        self._state_dir = state_dir
        self._ledger: Ledger | None = None

    def open(self) -> Ledger | None:
        """Return the ledger; None: there is none yet."""
        if self._ledger is None:
            try:
                self._ledger = open_ledger(self._state_dir, Access.READ)
            except NoLedgerError:
                return None
        return self._ledger

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._ledger is not None:
            self._ledger.close()


def _look(settings: Settings, ledger: _LedgerOnce) -> tuple[Snapshot, Liveness]:
    """Read what the daemon wrote last; the counts come from the ledger, and so does the rest if no daemon runs."""
    try:
        return _look_at_state(settings, ledger.open())
    except LedgerClosedError:
        copy = read_copy(settings.state_dir, os.environ) or _written(settings)
        if copy is None:
            raise
        return copy, liveness(copy, now=_now())


def _written(settings: Settings) -> Snapshot | None:
    """Read what the daemon wrote last into its state folder, if this user may."""
    try:
        return read_snapshot(settings.state_dir / STATUS_NAME)
    except PermissionError:
        return None


def _look_at_state(settings: Settings, ledger: Ledger | None) -> tuple[Snapshot, Liveness]:
    written = _written(settings)
    alive = liveness(written, now=_now()) if written else Liveness.GONE
    if written is not None and alive is not Liveness.GONE and written["gate"]["reason"] == Cause.LEDGER:
        return written, alive  # what stands in the ledger's place is not what the daemon works with
    if ledger is None:
        left = snapshot(counts={}, unsettled=0, gate=GateView(), credits=CreditsView(), now=_now())
    else:
        left = _left(ledger, [folder.name for folder in settings.folders])
    if written is None:
        return left, alive
    # the ledger lists some of many files, and the daemon counts them all
    left["unsettled"] = (
        max(left["unsettled"], written["unsettled"]) if left["unsettled"] >= LISTED else left["unsettled"]
    )
    of_ledger = ["jobs", "unsettled", "passed_over", "originals_left", "spending", "other_use"]
    of_ledger += ["gate", "eta_s"] if alive is Liveness.GONE else []
    return {**written, **{name: left[name] for name in of_ledger}}, alive


def _left(ledger: Ledger, folders: Sequence[str]) -> Snapshot:
    """Return the status that the ledger alone can give."""
    gate = paused(gate_from_note(ledger.note(GATE)), pauses_from_note(ledger.note(PAUSES)))
    return snapshot(
        counts=ledger.counts(),
        unsettled=ledger.unsettled_count(),
        passed_over={name: ledger.passed_over(name).counts for name in folders},
        originals_left=sum(ledger.originals_left().values()),
        gate=gate_view(gate.hold),
        credits=credits_view(reading_from_note(ledger.note(BASELINE))),
        spending=ledger.spending(),
        other_use=other_use_view(use_from_note(ledger.note(OTHER_USE))[0]),
        now=_now(),
    )


def _now() -> datetime:
    return datetime.now(UTC)
