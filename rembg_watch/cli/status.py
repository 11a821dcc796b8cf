"""``status``: what the daemon does or waits for now, from its status file and the ledger."""

import time
from contextlib import nullcontext
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.live import Live

from rembg_watch.account.notes import BASELINE, GATE, OTHER_USE, gate_from_note, reading_from_note, use_from_note
from rembg_watch.account.views import credits_view, gate_view, other_use_view
from rembg_watch.cli.configured import AsJson, ConfigFile
from rembg_watch.cli.console import OUT, say_json
from rembg_watch.config import FOR_LOOKING, Settings, find, load
from rembg_watch.daemon import STATUS_NAME
from rembg_watch.ledger import Access, Ledger, NoLedgerError, open_ledger
from rembg_watch.report.screen import render
from rembg_watch.report.status import CreditsView, GateView, Liveness, Snapshot, liveness, read_snapshot, snapshot

WATCH_S = 1.0


def status(
    config: ConfigFile = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Keep running and show changes.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show the queue, the gate, credits, the rate and the last errors."""
    settings = load(find(config), tolerate=FOR_LOOKING)
    is_live = watch and not as_json
    with Live(console=OUT, auto_refresh=False, screen=OUT.is_terminal) if is_live else nullcontext() as screen:
        while True:
            found, alive = _look(settings)
            if as_json:
                say_json(found | {"running": alive is not Liveness.GONE})
            elif screen is not None:
                screen.update(render(found, now=_now(), alive=alive), refresh=True)
            else:
                OUT.print(render(found, now=_now(), alive=alive))
            if not watch:
                return
            time.sleep(WATCH_S)


def _look(settings: Settings) -> tuple[Snapshot, Liveness]:
    """Read what the daemon wrote last; the counts come from the ledger, and so does the rest if no daemon runs."""
    written = read_snapshot(settings.state_dir / STATUS_NAME)
    alive = liveness(written, now=_now()) if written else Liveness.GONE
    try:
        with open_ledger(settings.state_dir, Access.READ) as ledger:
            left = _left(ledger)
    except NoLedgerError:
        left = snapshot(counts={}, unsettled=0, gate=GateView(), credits=CreditsView(), now=_now())
    if written is None:
        return left, alive
    if alive is Liveness.GONE:
        of_ledger = ("jobs", "unsettled", "originals_left", "gate", "spending", "eta_s", "other_use")
        return {**written, **{name: left[name] for name in of_ledger}}, alive
    return {
        **written,
        **{name: left[name] for name in ("jobs", "unsettled", "originals_left", "spending", "other_use")},
    }, alive


def _left(ledger: Ledger) -> Snapshot:
    """Return the status that the ledger alone can give."""
    return snapshot(
        counts=ledger.counts(),
        unsettled=ledger.unsettled_count(),
        originals_left=sum(ledger.originals_left().values()),
        gate=gate_view(gate_from_note(ledger.note(GATE)).hold),
        credits=credits_view(reading_from_note(ledger.note(BASELINE))),
        spending=ledger.spending(),
        other_use=other_use_view(use_from_note(ledger.note(OTHER_USE))[0]),
        now=_now(),
    )


def _now() -> datetime:
    return datetime.now(UTC)
