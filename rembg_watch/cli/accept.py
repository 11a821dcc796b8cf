"""``accept``: answers of an unexpected size are delivered as they are."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from rembg_watch import state_dirs
from rembg_watch.cli.configured import ConfigFile, check_folders
from rembg_watch.cli.console import say
from rembg_watch.config import FOR_LOOKING, find
from rembg_watch.daemon import RESUME
from rembg_watch.errors import UsageError
from rembg_watch.ledger import Access, Ledger, Which, open_ledger
from rembg_watch.pipeline.surprises import FOLDERS_NOTE, accepting_folders
from rembg_watch.report.words import count_text


def accept(
    patterns: Annotated[
        list[str] | None,
        typer.Argument(metavar="[PATTERN]...", help="Accept answers for paths that match these globs: 'shoot-7/*'."),
    ] = None,
    config: ConfigFile = None,
    folder: Annotated[
        list[str] | None,
        typer.Option("--folder", "-f", help="Accept all answers of this folder, and take such answers from now on."),
    ] = None,
) -> None:
    """
    Deliver answers of an unexpected size as they are.

    With a pattern, those pictures alone, in all folders or in those that are named; with
    --folder alone, all of the folder, and whatever size its answers have from now on.
    """
    if not patterns and not folder:
        raise UsageError("say which answers: give a pattern ('shoot-7/*', or '*' for all), or --folder")
    settings = state_dirs.load(find(config), tolerate=FOR_LOOKING)
    check_folders(folder or (), settings)
    now = datetime.now(UTC)
    with open_ledger(settings.state_dir, Access.JOIN) as ledger:
        count = 0
        for pattern in patterns or [None]:  # type: ignore[list-item]  # no pattern is one choice, too
            count += ledger.accept(Which(folders=frozenset(folder or ()), pattern=pattern), now)
        if not patterns:
            _take_from_now_on(ledger, folder or [])
            ledger.set_note(RESUME, now.isoformat(), is_durable=False)
    say(f"{count_text(count, 'answer')} accepted and delivered next" if count else "no answer waits to be accepted")
    for name in [] if patterns else folder or []:
        say(f"{name} takes answers of any size from now on")


def _take_from_now_on(ledger: Ledger, names: list[str]) -> None:
    accepting = accepting_folders(ledger.note(FOLDERS_NOTE))
    ledger.set_note(FOLDERS_NOTE, sorted(accepting | set(names)))
