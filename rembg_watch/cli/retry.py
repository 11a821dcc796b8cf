"""``retry``: pictures that need a person go back into the queue, and every pause ends."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from rembg_watch import state_dirs
from rembg_watch.account.notes import GATE, RESUME, gate_from_note
from rembg_watch.cli.configured import ConfigFile, check_folders
from rembg_watch.cli.console import say
from rembg_watch.config import FOR_LOOKING, find
from rembg_watch.daemon import TRUST
from rembg_watch.daemon.first_look import FIRST_LOOK_CAUSES, LET_GO, answer
from rembg_watch.jobs import State
from rembg_watch.ledger import Access, Ledger, Which, open_ledger
from rembg_watch.report.events import ACCEPT_OR_REDO
from rembg_watch.report.words import count_text


def retry(
    patterns: Annotated[
        list[str] | None,
        typer.Argument(metavar="[PATTERN]...", help="Retry paths that match these globs: 'shoot-7/*'."),
    ] = None,
    config: ConfigFile = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Retry everything that failed, is held or in doubt.")
    ] = False,
    state: Annotated[
        list[State] | None, typer.Option("--state", "-s", help="Retry only this state: failed, held or in_doubt.")
    ] = None,
    folder: Annotated[list[str] | None, typer.Option("--folder", "-f", help="Retry only these folders.")] = None,
) -> None:
    """
    Retry failed, held or in-doubt pictures and end every pause.

    Without a choice of pictures, only the pauses end, and folders that are away are taken as they are; with --folder
    alone, those of that folder. A new folder that waits for you is let go by its name alone: --folder.
    """
    is_choice = bool(patterns or everything or state or folder)
    now = datetime.now(UTC)
    settings = state_dirs.load(find(config), tolerate=FOR_LOOKING)
    with open_ledger(settings.state_dir, Access.JOIN) as ledger:
        check_folders(folder or (), settings, ledger)
        count = 0
        chosen = (patterns or [None]) if is_choice else []  # type: ignore[list-item]  # no pattern is one choice, too
        for pattern in chosen:
            which = Which(states=frozenset(state or ()), folders=frozenset(folder or ()), pattern=pattern)
            count += ledger.retry(which, now)
        if not (patterns or everything or state):  # it is not about pictures, so about whatever waits
            ledger.set_note(TRUST, {"folders": sorted(folder or ()), "at": now.isoformat()}, is_durable=False)
        ledger.set_note(RESUME, now.isoformat(), is_durable=False)
        let_go = [] if patterns or state else folder or []
        if let_go:
            answer(ledger, let_go, LET_GO)
        waited = waiting_folders(ledger.note(GATE))
        held, done = _left_alone(ledger, patterns or [], frozenset(folder or ()), is_all=everything)
    for name in let_go:
        if name in waited:
            say(f"{name} waited for you and is let go: its pictures are sent")
    if not is_choice:
        _say_what_still_waits(waited)
        say(
            "every pause is retried now; nothing was put back in the queue: "
            "to choose pictures, give a pattern, --state, --folder or --all"
        )
        return
    say(f"{count} put back in the queue" if count else "nothing to put back in the queue; every pause is retried now")
    if held:
        say(f"held until you decide: {count_text(held, 'cut-out')}; {ACCEPT_OR_REDO}")
    if done and not count:
        say(f'delivered already: {count_text(done, "picture")}; "rembg-watch redo" makes cut-outs anew, at a price')


def waiting_folders(gate: object) -> list[str]:
    """Name the new folders that wait for a person."""
    return [hold.folder for hold in gate_from_note(gate).folders if hold.cause in FIRST_LOOK_CAUSES]


def _say_what_still_waits(folders: list[str]) -> None:
    for name in folders:
        say(f'{name} is new and waits for you: "rembg-watch retry --folder {name}" lets it go')


def _left_alone(ledger: Ledger, patterns: list[str], folders: frozenset[str], *, is_all: bool) -> tuple[int, int]:
    """Count what was meant and is not for ``retry``: answers of an unexpected size, and what is delivered already."""
    surprises = [Which(folders=folders, pattern=pattern, has_surprise=True) for pattern in patterns or [None]]  # type: ignore[list-item]
    held = {job.id for which in surprises for job in ledger.jobs(which)} if patterns or folders or is_all else set()
    delivered = [Which(folders=folders, pattern=one, states=frozenset({State.DONE})) for one in patterns]
    return len(held), len({job.id for which in delivered for job in ledger.jobs(which)})
