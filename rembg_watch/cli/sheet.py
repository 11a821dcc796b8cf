"""``sheet``: a contact sheet of a shoot as one file, for a studio without the page and for its clients."""

import os
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from rembg_watch import state_dirs
from rembg_watch.cli.configured import ConfigFile
from rembg_watch.cli.console import note, say
from rembg_watch.config import FOR_LOOKING, Settings, find
from rembg_watch.delivery.decoders import Decoders
from rembg_watch.errors import ExitCode, RembgWatchError, UsageError
from rembg_watch.host.silence import silent
from rembg_watch.ledger import Access, open_ledger
from rembg_watch.ledger.pages import Shoot
from rembg_watch.report.words import count_text
from rembg_watch.showing import choosing
from rembg_watch.showing.contents import PART, Contents, Style, contents_of
from rembg_watch.showing.pairs import THREADS, Pair, pair_of, pairs_ahead
from rembg_watch.showing.pictures import Views
from rembg_watch.showing.sheet_html import html

_HTML = frozenset({".html", ".htm"})
_PDF = ".pdf"


class _NothingYetError(RembgWatchError):
    """No picture of the shoot is cut out, but some will be."""

    exit_code = ExitCode.WAITING


def sheet(
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="A name with .html or .pdf.")],
    shoot: Annotated[
        str | None,
        typer.Argument(
            metavar="[SHOOT]",
            help="As folder/shoot, or the number or name of a picture in it; by default the one that changed last.",
            show_default=False,
        ),
    ] = None,
    config: ConfigFile = None,
    failed: Annotated[bool, typer.Option("--failed", help="List what could not be cut out, with the reasons.")] = False,
    prices: Annotated[bool, typer.Option("--prices", help="Show what each picture cost.")] = False,
    white: Annotated[bool, typer.Option("--white", help="Show cut-outs on white, not on a checkerboard.")] = False,
) -> None:
    """
    Make a contact sheet of a shoot: each picture before and after, in one file that can be sent to a client.

    It names no place on this machine. A file that stands under the name is replaced.
    """
    if output.suffix.lower() not in {*_HTML, _PDF}:
        raise UsageError(f"-o takes a name that ends with .html or .pdf, not {str(output)!r}")
    if not output.absolute().parent.is_dir() or output.is_dir():
        raise UsageError(f"-o {output} is no place for a file: its folder must be there, and it must be none itself")
    settings = state_dirs.load(find(config), tolerate=FOR_LOOKING)
    chosen, contents = _contents(settings, shoot, is_listing=failed)
    style = Style(made_on=f"{datetime.now().astimezone():%Y-%m-%d}", is_white=white, shows_prices=prices)
    troubles = _Troubles()
    with closing(Decoders(most=THREADS)) as decoders:
        roots = silent(contents.roots)
        make = partial(pair_of, views=Views(None, decoders), silent=roots)
        parts = contents.parts
        for number, part in enumerate(parts, 1):
            path = output if len(parts) == 1 else output.with_stem(f"{output.stem}-{number}")
            pairs = troubles.counted(pairs_ahead(part.entries, make))
            _write(path, part, pairs, style)
            say(f"{path}: {count_text(len(part.entries), 'picture')} of {choosing.full_name(chosen)}")
    if len(parts) > 1:
        note(f"rembg-watch: no file takes more than {PART} pictures, so there are {len(parts)}")
    _tell(contents, troubles, is_listed=failed)
    if troubles.cutouts:
        raise typer.Exit(ExitCode.SOME_FAILED)


def _contents(settings: Settings, name: str | None, *, is_listing: bool) -> tuple[Shoot, Contents]:
    folders = {one.name: one for one in settings.folders}
    depths = {one.name: one.shoot_depth for one in settings.folders}
    with open_ledger(settings.state_dir, Access.READ) as ledger:
        chosen = choosing.named(ledger, name, depths) if name is not None else choosing.latest(ledger, depths)
        if name is None:
            note(f"rembg-watch: {choosing.full_name(chosen)} is the shoot that changed last")
        found = contents_of(ledger, chosen, folders[chosen.folder], settings.state_dir)
    if not found.entries and not (is_listing and found.left_out):
        kind = _NothingYetError if found.in_line else RembgWatchError
        raise kind(f"no picture of {choosing.full_name(chosen)} is cut out{_others(found)}")
    return chosen, found if is_listing else found.without_reasons


def _others(contents: Contents) -> str:
    """Say what else there is of a shoot."""
    words = [f"{count_text(contents.in_line, 'picture')} still in line"] if contents.in_line else []
    words += [f"{contents.stuck:,} not cut out (--failed says why)"] if contents.stuck else []
    return f": {', '.join(words)}" if words else ""


class _Troubles:
    """Counts what a sheet cannot show."""

    def __init__(self) -> None:
        self.originals = 0
        self.cutouts = 0

    def counted(self, pairs: Iterable[Pair]) -> Iterator[Pair]:
        for pair in pairs:
            self.originals += not pair.before.content
            self.cutouts += not pair.after.content
            yield pair


def _tell(contents: Contents, troubles: _Troubles, *, is_listed: bool) -> None:
    if troubles.originals:
        note(
            f"rembg-watch: {count_text(troubles.originals, 'original')} not there or not to be shown, as the sheet says"
        )
    if troubles.cutouts:
        note(f"rembg-watch: {count_text(troubles.cutouts, 'cut-out')} not there or not to be shown, as the sheet says")
    if contents.in_line:
        note(f"rembg-watch: {count_text(contents.in_line, 'picture')} still in line, and not on it")
    if contents.stuck and not is_listed:
        note(f"rembg-watch: {count_text(contents.stuck, 'picture')} not cut out, and not on it: --failed lists them")


# --- the file --------------------------------------------------------------------------------------


def _write(path: Path, contents: Contents, pairs: Iterator[Pair], style: Style) -> None:
    with _whole(path) as part:
        if path.suffix.lower() == _PDF:
            from rembg_watch.showing.sheet_pdf import write_pdf  # it draws, which nothing else needs a library for

            write_pdf(part, contents, pairs, style)
            return
        with part.open("wb") as file:
            file.writelines(html(contents, pairs, style))


@contextmanager
def _whole(path: Path) -> Iterator[Path]:
    """Give a name to write to; what was written there gets its own name once it is whole."""
    there = path.resolve()
    part = there.with_name(f".sheet-{os.getpid()}.part")
    try:
        yield part
        part.replace(there)
    except BaseException:
        with suppress(OSError):
            part.unlink()
        raise
