"""``reject``: cut-outs that wait for a person are never delivered, nor bought again by themselves."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from rembg_watch import state_dirs
from rembg_watch.cli.configured import ConfigFile, check_folders
from rembg_watch.cli.console import say
from rembg_watch.config import FOR_LOOKING, find
from rembg_watch.delivery import review_copies
from rembg_watch.errors import UsageError
from rembg_watch.ledger import Access, Which, open_ledger
from rembg_watch.report.words import count_text


def reject(
    patterns: Annotated[
        list[str] | None,
        typer.Argument(metavar="[PATTERN]...", help="Reject cut-outs of paths that match these globs: 'shoot-7/*'."),
    ] = None,
    config: ConfigFile = None,
    folder: Annotated[list[str] | None, typer.Option("--folder", "-f", help="Only in these folders.")] = None,
) -> None:
    """
    Never deliver cut-outs that wait for you: those that are odd, or of an unexpected size.

    What was paid for them stays paid. The same picture is not bought again by itself; redo pays for another cut-out.
    """
    if not patterns:
        raise UsageError("say which cut-outs: give a pattern ('shoot-7/*', or '*' for all)")
    settings = state_dirs.load(find(config), tolerate=FOR_LOOKING)
    check_folders(folder or (), settings)
    shown = {one.name: one.review_dir for one in settings.folders}
    with open_ledger(settings.state_dir, Access.JOIN) as ledger:
        rejected = {
            job.id: job
            for pattern in patterns
            for job in ledger.turn_down(Which(folders=frozenset(folder or ()), pattern=pattern), datetime.now(UTC))
        }
    for job in rejected.values():
        review_copies.take(shown.get(job.folder), job)
    say(f"{count_text(len(rejected), 'cut-out')} rejected" if rejected else "no cut-out waits to be decided about")
