"""``redo``: cut-outs are made anew, each at the price of a call, after that was said and agreed to."""

import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated

import typer

from rembg_watch import state_dirs
from rembg_watch.cli import cutouts
from rembg_watch.cli.configured import ConfigFile, check_folders
from rembg_watch.cli.console import say
from rembg_watch.config import FOR_LOOKING, find
from rembg_watch.daemon.lacking import kept_ids
from rembg_watch.delivery import review_copies
from rembg_watch.errors import ExitCode, UsageError
from rembg_watch.jobs import Job, State
from rembg_watch.ledger import Access, Ledger, Which, open_ledger
from rembg_watch.report.words import count_text, credits_text


def redo(
    patterns: Annotated[
        list[str] | None,
        typer.Argument(metavar="[PATTERN]...", help="Make paths anew that match these globs: 'shoot-7/*'."),
    ] = None,
    config: ConfigFile = None,
    folder: Annotated[list[str] | None, typer.Option("--folder", "-f", help="Only in these folders.")] = None,
    missing: Annotated[
        bool, typer.Option("--missing", help="Only those of whose files one is not there any more.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask: agree to the price.")] = False,
) -> None:
    """
    Make cut-outs anew, with the options as they are now; each costs a call.

    The old cut-out stands until the new one takes its place. Pictures that were moved or
    deleted after they were delivered have to be put back into their folder instead.
    """
    if not patterns and not folder and not missing:
        raise UsageError("say what to make anew: give a pattern ('shoot-7/*', or '*' for all), --folder or --missing")
    settings = state_dirs.load(find(config), tolerate=FOR_LOOKING)
    check_folders(folder or (), settings)
    names = {one.name for one in settings.folders}
    with open_ledger(settings.state_dir, Access.JOIN) as ledger:
        found = {job.id: job for job in _chosen(ledger, patterns, folder) if job.folder in names}
        looked = cutouts.missing(found.values(), settings, ledger)
        kept = kept_ids(settings, found.values()) if missing else frozenset()
        gone = looked.ids - kept
        meant = [job for job in found.values() if job.id in gone or not missing]
        for name in sorted(looked.away & {job.folder for job in found.values()}) if missing else ():
            say(f"{name}: {cutouts.AWAY}")
        if free := len(looked.ids & kept):
            lacking = f"{count_text(free, 'picture')} with a file missing"
            say(f'{lacking}: "rembg-watch deliver --missing" makes it, for nothing')
        if not meant:
            say("there is nothing to make anew: no cut-out that was delivered, and whose picture stands, is meant")
            if count := _in_line(ledger, patterns, folder):
                say(f"in line already: {count_text(count, 'picture')}")
            return
        price = settings.credits.per_image * len(meant)
        lost = f" (missing from the output: {len(gone):,})" if gone else ""
        say(f"{count_text(len(meant), 'cut-out')} to be made anew, for up to {credits_text(Decimal(price))}{lost}")
        _agree(yes)
        count = ledger.redo(meant, datetime.now(UTC))
        shown = {one.name: one.review_dir for one in settings.folders}
        for job in meant:
            review_copies.take(shown.get(job.folder), job)
    say(
        f"{count:,} put in the queue; the old cut-outs stay until the new ones replace them, "
        "and those of another format beside them"
    )


def _chosen(ledger: Ledger, patterns: list[str] | None, folders: list[str] | None) -> Iterator[Job]:
    for pattern in patterns or [None]:  # type: ignore[list-item]  # no pattern is one choice, too
        yield from ledger.redoable(Which(folders=frozenset(folders or ()), pattern=pattern))


def _in_line(ledger: Ledger, patterns: list[str] | None, folders: list[str] | None) -> int:
    """Count what is meant and will be made anyway."""
    ahead = frozenset({State.QUEUED, State.SENDING, State.RECEIVED})
    meant = [Which(folders=frozenset(folders or ()), pattern=one, states=ahead) for one in patterns or [None]]  # type: ignore[list-item]
    return len({job.id for which in meant for job in ledger.jobs(which)})


def _agree(yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise UsageError("nothing was put in the queue: --yes agrees to the price where nobody can be asked")
    if not typer.confirm("Go on?"):
        say("nothing was put in the queue")
        raise typer.Exit(ExitCode.OK)
