"""``accept``: cut-outs that wait for a person, odd ones and those of an unexpected size, are delivered as they are."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from rembg_watch import state_dirs
from rembg_watch.account.notes import RESUME
from rembg_watch.cli.configured import ConfigFile, check_folders
from rembg_watch.cli.console import say
from rembg_watch.config import FOR_LOOKING, find
from rembg_watch.errors import UsageError
from rembg_watch.jobs import REVIEW, State
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
    Deliver cut-outs that wait for you as they are: odd ones, and those of an unexpected size.

    With a pattern, those pictures alone, in all folders or in those that are named; with
    --folder alone, all of the folder, and whatever size its answers have from now on.
    """
    if not patterns and not folder:
        raise UsageError("say which answers: give a pattern ('shoot-7/*', or '*' for all), or --folder")
    settings = state_dirs.load(find(config), tolerate=FOR_LOOKING)
    check_folders(folder or (), settings)
    now = datetime.now(UTC)
    with open_ledger(settings.state_dir, Access.JOIN) as ledger:
        takes_any = [name for name in folder or [] if not _waits_for_review(ledger, name)]
        count = 0
        for pattern in patterns or [None]:  # type: ignore[list-item]  # no pattern is one choice, too
            count += ledger.accept(Which(folders=frozenset(folder or ()), pattern=pattern), now)
        if not patterns:
            _take_from_now_on(ledger, takes_any)
            ledger.set_note(RESUME, now.isoformat(), is_durable=False)
    say(
        f"{count_text(count, 'answer')} accepted: delivered next, at no cost"
        if count
        else "no answer waits to be accepted"
    )
    for name in [] if patterns else takes_any:
        say(f"{name} takes answers of any size from now on")


def _waits_for_review(ledger: Ledger, folder: str) -> bool:
    """Say whether all that waits in a folder are odd cut-outs: to take them says nothing of sizes."""
    held = Which(folders=frozenset({folder}), states=frozenset({State.HELD}), has_surprise=True)
    codes = {job.code for job in ledger.jobs(held)}
    return codes == {REVIEW}


def _take_from_now_on(ledger: Ledger, names: list[str]) -> None:
    accepting = accepting_folders(ledger.note(FOLDERS_NOTE))
    ledger.set_note(FOLDERS_NOTE, sorted(accepting | set(names)))
