"""``adopt``: cut-outs that another ledger delivered are taken over, and nothing is paid for them."""

import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from rembg_watch import state_dirs
from rembg_watch.cli.configured import ConfigFile, check_folders
from rembg_watch.cli.console import note, say
from rembg_watch.config import FOR_LOOKING, Settings, find
from rembg_watch.daemon.adoption import Adoptable, adoptable
from rembg_watch.daemon.adoption import adopt as take_over
from rembg_watch.daemon.assembly import recipe_of
from rembg_watch.daemon.first_look import AGAIN, answer
from rembg_watch.daemon.lacking import lacks
from rembg_watch.delivery.masters import MASTERS_NAME, Masters
from rembg_watch.errors import ExitCode, UsageError
from rembg_watch.host.silence import silent
from rembg_watch.ledger import Access, Ledger, NoLedgerError, open_ledger
from rembg_watch.report.words import count_text


def adopt(
    config: ConfigFile = None,
    folder: Annotated[list[str] | None, typer.Option("--folder", "-f", help="Only in these folders.")] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be taken over.")] = False,
) -> None:
    """
    Take over cut-outs that another ledger delivered, without paying.

    Meant are pictures in the queue whose output holds a newer file of the name that their cut-out would have, in any
    format. They count as delivered from then on; their originals stay where they are. Where a folder delivers several
    files, those that stand are taken over, and `deliver` makes the others.
    """
    settings = state_dirs.load(find(config), tolerate=FOR_LOOKING)
    outputs = {one.name: one.output for one in settings.folders}
    check_folders(folder or (), settings)
    with _ledger(settings) as ledger:
        recipes = {one.name: recipe_of(one, settings.deliverables) for one in settings.folders}
        meant = [adoptable(ledger, recipes[name]) for name in _that_answer(folder or list(outputs), outputs)]
        for one in meant:
            if one.doubtful:
                note(_doubts(one))
        meant = [one for one in meant if one.found]
        if not meant:
            say("no picture in the queue has what seems to be its cut-out: there is nothing to take over")
            return
        for one in meant:
            say(_numbers(one))
        if dry_run:
            return
        _agree(yes)
        now = datetime.now(UTC)
        masters = Masters(settings.state_dir / MASTERS_NAME)
        counts = {one.folder: take_over(ledger, one, masters, now) for one in meant}
        answer(ledger, list(counts), AGAIN)
        lacking = list(lacks(settings, ledger, folders=frozenset(counts)))
    for one in meant:
        what = "picture" if one.recipe.deliverables else "cut-out"
        say(f"{one.folder}: {count_text(counts[one.folder], what)} taken over; nothing was paid")
    for lack in lacking:
        say(lack.text())


def _that_answer(names: Sequence[str], outputs: Mapping[str, Path]) -> Sequence[str]:
    """Leave out the folders whose output hangs, and say so: to look at one would never end."""
    silences = silent(outputs[name] for name in names)
    for name in names:
        if outputs[name] in silences:
            note(f"{name}: its output {outputs[name]} does not answer, so that nothing of it is taken over now")
    return [name for name in names if outputs[name] not in silences]


def _ledger(settings: Settings) -> Ledger:
    try:
        return open_ledger(settings.state_dir, Access.JOIN)
    except NoLedgerError as none:
        raise NoLedgerError(f'{none}; let "rembg-watch once" look first: it pays for none of these pictures') from none


def _numbers(one: Adoptable) -> str:
    partly = (
        f", {one.partly:,} of them with some of {_whose(one.partly)} files only"
        if one.recipe.deliverables and one.partly
        else ""
    )
    return (
        f"{one.folder}: {len(one.found):,} of {count_text(one.pictures, 'picture')} in the queue seem to be delivered "
        f"already{partly}, in {one.recipe.output}; their originals stay where they are"
    )


def _whose(count: int) -> str:
    return "its" if count == 1 else "their"


def _doubts(one: Adoptable) -> str:
    return (
        f"{one.folder}: of {count_text(one.doubtful, 'picture')} a file may be another picture's as well, by its name: "
        "such files are not taken over"
    )


def _agree(yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise UsageError("nothing was taken over: --yes agrees where nobody can be asked")
    if not typer.confirm("Take them over?"):
        say("nothing was taken over")
        raise typer.Exit(ExitCode.OK)
