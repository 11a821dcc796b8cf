"""``deliver``: files that delivered pictures lack are made; nothing is paid for unless that was agreed to."""

import sys
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated

import typer

from rembg_watch import state_dirs
from rembg_watch.cli.configured import ConfigFile, check_folders
from rembg_watch.cli.console import say
from rembg_watch.config import FOR_LOOKING, find
from rembg_watch.daemon.lacking import Lack, lacks
from rembg_watch.errors import ExitCode, UsageError
from rembg_watch.ledger import Access, Lacking, Which, open_ledger
from rembg_watch.report.words import count_text, credits_text


def deliver(
    patterns: Annotated[
        list[str] | None,
        typer.Argument(metavar="[PATTERN]...", help="Only for paths that match these globs: 'shoot-7/*'."),
    ] = None,
    config: ConfigFile = None,
    folder: Annotated[list[str] | None, typer.Option("--folder", "-f", help="Only in these folders.")] = None,
    pay_missing: Annotated[
        bool, typer.Option("--pay-missing", help="Also where nothing is kept of what was bought: a credit each.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask: agree to the price.")] = False,
) -> None:
    """
    Make the deliverables that delivered pictures lack: those that were added, or are made otherwise now.

    It costs nothing where what was bought is kept. The daemon makes them, or the next `once`.
    """
    settings = state_dirs.load(find(config), tolerate=FOR_LOOKING)
    check_folders(folder or (), settings)
    which = [Which(pattern=one) for one in patterns or [None]]  # type: ignore[list-item]
    with open_ledger(settings.state_dir, Access.JOIN) as ledger:
        found = [_chosen(one, which) for one in lacks(settings, ledger, folders=frozenset(folder or ()))]
        found = [one for one in found if one.kept or one.gone]
        if not found:
            say("no delivered picture that is meant lacks a deliverable")
            return
        price = settings.credits.per_image
        for one in found:
            say(one.text())
        kept = {one.job_id for lack in found for one in lack.kept}
        gone = {one.job_id for lack in found for one in lack.gone} - kept
        if pay_missing and gone:
            _agree(yes, len(gone), price)
        count = ledger.make_again(kept, datetime.now(UTC))
        bought = ledger.redo(ledger.jobs(Which(ids=frozenset(gone))), datetime.now(UTC)) if pay_missing else 0
    say(f"{count_text(count, 'picture')} put in line to have {'its' if count == 1 else 'their'} files made, at no cost")
    if pay_missing:
        say(f"{count_text(bought, 'picture')} put in the queue to be bought anew")
    elif gone:
        say(f"--pay-missing buys {count_text(len(gone), 'picture')} anew, for up to {credits_text(price * len(gone))}")


def _chosen(lack: Lack, which: list[Which]) -> Lack:
    def meant(some: tuple[Lacking, ...]) -> tuple[Lacking, ...]:
        return tuple(one for one in some if any(choice.accepts(one.source, lack.folder) for choice in which))

    return Lack(lack.folder, lack.deliverable, meant(lack.kept), meant(lack.gone), lack.price)


def _agree(yes: bool, count: int, price: Decimal) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise UsageError("nothing was put in line: --yes agrees to the price where nobody can be asked")
    if not typer.confirm(f"Buy {count_text(count, 'picture')} anew for up to {credits_text(price * count)}?"):
        say("nothing was put in line")
        raise typer.Exit(ExitCode.OK)
