"""``pause`` and ``resume``: nothing more is bought, of everything or of single folders, until a person says so."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from rembg_watch import state_dirs
from rembg_watch.account.pauses import Pauses
from rembg_watch.cli.configured import ConfigFile, check_folders
from rembg_watch.cli.console import note, say
from rembg_watch.config import FOR_LOOKING, find
from rembg_watch.decide import change_pauses
from rembg_watch.ledger import Access, open_ledger
from rembg_watch.report.status import STATUS_NAME, Liveness, liveness, read_snapshot
from rembg_watch.report.words import local_text

Folders = Annotated[list[str] | None, typer.Option("--folder", "-f", help="Only these folders.")]

_OBEYED_WITHIN_S = 10.0


def pause(config: ConfigFile = None, folder: Folders = None) -> None:
    """
    Send nothing more until `resume`, of everything or of single folders.

    A running daemon has obeyed when this ends, and no later start sends anything either. Calls that are under way end;
    what is paid for is delivered.
    """
    names = tuple(folder or ())
    _, pauses = _change(config, names, lambda before, now: before.pausing(names, now))
    for name in names:
        say(f"{name} is paused since {local_text(pauses.folders[name])}; {_goes_on(name)}")
    if pauses.all_at is not None and not names:
        say(f"everything is paused since {local_text(pauses.all_at)}; {_goes_on()}")


def resume(config: ConfigFile = None, folder: Folders = None) -> None:
    """Go on with everything that was paused, paused folders included, or with single folders."""
    names = tuple(folder or ())
    before, after = _change(config, names, lambda pauses, _now: pauses.resuming(names))
    for name in names:
        say(f"{name} goes on" if name in before.folders else f"{name} is not paused by itself")
    if not names:
        say("everything goes on" if before != after else "nothing is paused")
    elif after.all_at is not None:
        say('everything is still paused, so nothing is sent: "rembg-watch resume" ends that')


def _goes_on(folder: str | None = None) -> str:
    which = f" --folder {folder}" if folder else ""
    return f'what is paid for is delivered, and "rembg-watch resume{which}" lets it go on'


def _change(
    config: Path | None, names: tuple[str, ...], change: Callable[[Pauses, datetime], Pauses]
) -> tuple[Pauses, Pauses]:
    """Have the ledger say what is paused from now on; return what was and what is."""
    settings = state_dirs.load(find(config), tolerate=FOR_LOOKING)
    with open_ledger(settings.state_dir, Access.JOIN) as ledger:
        check_folders(names, settings, ledger)
        before, after = change_pauses(ledger, change, datetime.now(UTC))
    if after != before and not _is_obeyed(settings.state_dir / STATUS_NAME, after):
        note("the running daemon has not obeyed yet: see its log, and `rembg-watch status`")
    return before, after


def _is_obeyed(status: Path, pauses: Pauses) -> bool:
    """Wait until a daemon that runs says that it works by *pauses*; say if it does, or if none runs."""
    end_s = time.monotonic() + _OBEYED_WITHIN_S
    while time.monotonic() < end_s:
        try:
            written = read_snapshot(status)
        except PermissionError:
            return True  # whoever may write the ledger and not read this is not told
        if written is None or liveness(written, now=datetime.now(UTC)) is Liveness.GONE:
            return True
        found, known = written.get("paused", {}), {one["name"] for one in written["folders"]}
        is_all, folders = pauses.all_at is not None, sorted(pauses.folders.keys() & known)
        if found.get("all") == is_all and sorted(known.intersection(found.get("folders", ()))) == folders:
            return True
        time.sleep(0.1)
    return False
