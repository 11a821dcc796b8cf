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
from rembg_watch.daemon.first_look import AGAIN, answer
from rembg_watch.errors import ExitCode, UsageError
from rembg_watch.host.silence import silent
from rembg_watch.ledger import Access, Ledger, NoLedgerError, open_ledger
from rembg_watch.report.words import count_text


def adopt(
    config: ConfigFile = None,
    folder: Annotated[list[str] | None, typer.Option("--folder", "-f", help="Only in these folders.")] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """
    Take over cut-outs that another ledger delivered, without paying.

    Meant are pictures in the queue whose output holds a newer file of the name that their cut-out would have, in any
    format. They count as delivered from then on; their originals stay where they are.
    """
    settings = state_dirs.load(find(config), tolerate=FOR_LOOKING)
    outputs = {one.name: one.output for one in settings.folders}
    check_folders(folder or (), settings)
    with _ledger(settings) as ledger:
        meant = [adoptable(ledger, name, outputs[name]) for name in _that_answer(folder or list(outputs), outputs)]
        meant = [one for one in meant if one.found]
        if not meant:
            say("no picture in the queue has what seems to be its cut-out: there is nothing to take over")
            return
        for one in meant:
            say(_numbers(one))
        _agree(yes)
        now = datetime.now(UTC)
        counts = {one.folder: take_over(ledger, one.found, one.output, now) for one in meant}
        answer(ledger, list(counts), AGAIN)
    for name, count in counts.items():
        say(f"{name}: {count_text(count, 'cut-out')} taken over; nothing was paid")


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
    return (
        f"{one.folder}: {len(one.found):,} of {count_text(one.pictures, 'picture')} in the queue seem to be delivered "
        f"already, in {one.output}; their originals stay where they are"
    )


def _agree(yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise UsageError("nothing was taken over: --yes agrees where nobody can be asked")
    if not typer.confirm("Take them over?"):
        say("nothing was taken over")
        raise typer.Exit(ExitCode.OK)
