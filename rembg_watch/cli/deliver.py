"""``deliver``: files that delivered pictures lack are made; nothing is paid for unless that was agreed to."""

import sys
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated

import typer

from rembg_watch import state_dirs
from rembg_watch.cli import cutouts
from rembg_watch.cli.configured import ConfigFile, check_folders
from rembg_watch.cli.console import say
from rembg_watch.config import FOR_LOOKING, Settings, find
from rembg_watch.daemon.lacking import Lack, lacks
from rembg_watch.errors import ExitCode, UsageError
from rembg_watch.jobs import Job, State
from rembg_watch.ledger import Access, Lacking, Ledger, Which, open_ledger
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
    missing: Annotated[bool, typer.Option("--missing", help="Also those that are not there any more.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask: agree to the price.")] = False,
) -> None:
    """
    Make the deliverables that delivered pictures lack: those that were added, or are made otherwise now.

    It costs nothing where what was bought is kept. The daemon makes them, or the next `once`.
    A file that somebody took away stays away without --missing.
    """
    settings = state_dirs.load(find(config), tolerate=FOR_LOOKING)
    check_folders(folder or (), settings)
    which = [Which(pattern=one) for one in patterns or [None]]  # type: ignore[list-item]
    with open_ledger(settings.state_dir, Access.JOIN) as ledger:
        names = frozenset(folder or ())
        lost = _lost(settings, ledger, names, which) if missing else {}
        found = list(lacks(settings, ledger, folders=names, lost=lost))
        found = [one for lack in found if (one := _chosen(lack, which)).kept or one.gone or one.lost]
        if not found:
            say("nothing is lacking: every picture that is meant has all of its files")
            return
        price = settings.credits.per_image
        for one in found:
            say(one.text())
        kept = {one.job_id for lack in found for one in lack.kept}
        gone = {one.job_id for lack in found for one in lack.gone} - kept
        if pay_missing and gone:
            _agree(yes, len(gone), price)
        fallen = [(one.job_id, one.name) for some in lost.values() for one in some if one.job_id in kept]
        count = ledger.make_again(kept, datetime.now(UTC), missing=fallen)
        meant = ledger.jobs(Which(ids=frozenset(gone))) if pay_missing else ()
        bought = ledger.redo(meant, datetime.now(UTC)) if meant else 0
    say(f"{count_text(count, 'picture')} put in line to have {'its' if count == 1 else 'their'} files made, at no cost")
    if pay_missing:
        say(f"{count_text(bought, 'picture')} put in line to be bought anew")
    elif gone:
        say(f"--pay-missing buys {count_text(len(gone), 'picture')} anew, for up to {credits_text(price * len(gone))}")


def _lost(settings: Settings, ledger: Ledger, folders: frozenset[str], which: list[Which]) -> dict[str, list[Lacking]]:
    """Return, by folder, the deliverables that stood in the output and do not any more."""
    delivering = frozenset(one.name for one in settings.folders if one.deliver)
    delivering = delivering & folders if folders else delivering
    newest: dict[tuple[str, bytes], Job] = {}
    for job in ledger.jobs(Which(states=frozenset({State.DONE}), folders=delivering)) if delivering else ():
        is_meant = any(choice.accepts(job.source, job.folder) for choice in which)
        known = newest.get((job.folder, job.source))
        if is_meant and (job.gone_at is None or job.is_disposed) and (known is None or known.id < job.id):
            newest[job.folder, job.source] = job
    looked = cutouts.missing(newest.values(), settings, ledger)
    for name in sorted(looked.away & delivering):
        say(f"{name}: {cutouts.AWAY}")
    lost: dict[str, list[Lacking]] = {}
    for job in newest.values():
        lost.setdefault(job.folder, []).extend(
            Lacking(job.id, job.source, one.deliverable, job.content_key, job.answer_digest, stands=job.gone_at is None)
            for one in looked.gone.get(job.id, ())
            if one.deliverable is not None
        )
    return lost


def _chosen(lack: Lack, which: list[Which]) -> Lack:
    def meant(some: tuple[Lacking, ...]) -> tuple[Lacking, ...]:
        return tuple(one for one in some if any(choice.accepts(one.source, lack.folder) for choice in which))

    return Lack(lack.folder, lack.deliverable, meant(lack.kept), meant(lack.gone), meant(lack.lost), lack.price)


def _agree(yes: bool, count: int, price: Decimal) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise UsageError("nothing was put in line: --yes agrees to the price where nobody can be asked")
    if not typer.confirm(f"Buy {count_text(count, 'picture')} anew for up to {credits_text(price * count)}?"):
        say("nothing was put in line")
        raise typer.Exit(ExitCode.OK)
