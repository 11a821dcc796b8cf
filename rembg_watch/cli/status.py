"""``status``: what the daemon does or waits for now, from its status file and the ledger."""

import time
from contextlib import nullcontext
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.live import Live

from rembg_watch import state_dirs
from rembg_watch.cli.configured import AsJson, ConfigFile
from rembg_watch.cli.console import OUT, say, say_json
from rembg_watch.config import FOR_LOOKING, Settings, find
from rembg_watch.daemon.lacking import Lack, lacks
from rembg_watch.daemon.verdict import verdict
from rembg_watch.errors import LedgerError
from rembg_watch.look import KeptLedger, look
from rembg_watch.report.screen import render
from rembg_watch.report.status import Liveness
from rembg_watch.report.words import WallClock

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
        with KeptLedger(settings.state_dir) as ledger:
            found, alive = look(settings, ledger, now=_now())
        judged = verdict(found, alive=alive, clock=WallClock(_now()))
        say(judged.line)
        raise typer.Exit(judged.health)
    is_live = watch and not as_json
    live = Live(console=OUT, auto_refresh=False, screen=OUT.is_terminal) if is_live else nullcontext()
    with live as screen, KeptLedger(settings.state_dir) as ledger:
        while True:
            found, alive = look(settings, ledger, now=_now())
            lacking = [] if watch else _lacking(settings, ledger)
            if as_json:
                views = [one.view() for one in lacking]
                say_json(found | {"running": alive is not Liveness.GONE, "lacking": views})
            elif screen is not None:
                screen.update(render(found, now=_now(), alive=alive), refresh=True)
            else:
                OUT.print(render(found, now=_now(), alive=alive))
                for one in lacking:
                    say(one.text() + one.advice())
            if not watch:
                return
            time.sleep(WATCH_S)


def _lacking(settings: Settings, ledger: KeptLedger) -> list[Lack]:
    """Return what delivered pictures lack; nothing where this user may not look."""
    try:
        opened = ledger.open()
        return list(lacks(settings, opened)) if opened is not None else []
    except LedgerError:
        return []


def _now() -> datetime:
    return datetime.now(UTC)
