"""
``remove``: one picture or a few, straight through the client.

Here the options become an order, with all that is wrong with it told at once, and what
became of each picture becomes a line and an exit code. How one picture is carried out
is in ``single``.
"""

import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from rembg_watch.account.retry import rule_name
from rembg_watch.api.errors import Charge, KeyRefusedError, RembgError, Scope
from rembg_watch.api.params import Format, RemovalParams, parameter_problems
from rembg_watch.cli.configured import ConfigFile, KeyFile, account_settings, key_refusal
from rembg_watch.cli.console import note, say
from rembg_watch.cli.single import (
    Carrier,
    Delivered,
    Errand,
    KeptError,
    Manner,
    NotSentHereError,
    scratch_folder,
)
from rembg_watch.cli.transfer import display
from rembg_watch.daemon import build_client
from rembg_watch.errors import ExitCode, UsageError, exit_code
from rembg_watch.paths import collision_key
from rembg_watch.report.words import count_text, size_text, span_text

PIPE = "-"


def remove(
    images: Annotated[
        list[str], typer.Argument(metavar="IMAGE", help="The pictures; - reads one from standard input.")
    ],
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE|DIR|-",
            help="Where to: a file, a folder (with / at its end it is made), or - for standard output. "
            "Else beside each picture; what comes by a pipe leaves by a pipe.",
            show_default=False,
        ),
    ] = None,
    format_: Annotated[
        str | None,
        typer.Option(
            "--format",
            "-f",
            metavar="FORMAT",
            help="webp, png, jpeg or bmp; else by the ending of -o FILE, else webp.",
            show_default=False,
        ),
    ] = None,
    w: Annotated[
        str | None,
        typer.Option("--w", metavar="PX", help="Width, 1 to 10000; the aspect ratio is kept.", show_default=False),
    ] = None,
    h: Annotated[
        str | None,
        typer.Option("--h", metavar="PX", help="Height, 1 to 10000; the aspect ratio is kept.", show_default=False),
    ] = None,
    exact_resize: Annotated[
        bool, typer.Option("--exact-resize", help="Force exactly --w by --h, which may distort.")
    ] = False,
    mask: Annotated[bool, typer.Option("--mask", help="The mask alone; not together with --bg-color.")] = False,
    bg_color: Annotated[
        str | None,
        typer.Option(
            "--bg-color",
            metavar="COLOR",
            help="A solid background: #RGB, #RGBA, #RRGGBB, #RRGGBBAA, or a name such as red.",
            show_default=False,
        ),
    ] = None,
    angle: Annotated[
        str, typer.Option("--angle", metavar="DEGREES", help="Rotate the cut-out, -360 to 360 degrees.")
    ] = "0",
    expand: Annotated[
        bool, typer.Option("--expand/--no-expand", help="Grow the picture, so that rotating crops nothing.")
    ] = True,
    upright: Annotated[
        bool, typer.Option("--upright/--no-upright", help="Send pictures that a camera marked as rotated upright.")
    ] = True,
    base64: Annotated[bool, typer.Option("--base64", help="Write the cut-out as base64 text.")] = False,
    from_base64: Annotated[
        bool, typer.Option("--from-base64", help="The pictures are given as base64 text, or as data: URLs.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Overwrite files that are there already.")] = False,
    config: ConfigFile = None,
    key_file: KeyFile = None,
) -> None:
    """Cut out one picture or a few, straight through the API. Each costs what the API charges for a picture."""
    wish = Wish(
        format=format_, w=w, h=h, exact_resize=exact_resize, mask=mask, bg_color=bg_color, angle=angle, expand=expand
    )
    order = read_order(images, output, wish, writes_base64=base64)
    _check_pipes(order, writes_base64=base64)
    settings, key_source = account_settings(config, key_file)
    if order.folder is not None:
        _make_folder(order.folder)
    manner = Manner(is_forced=force, is_upright=upright, reads_base64=from_base64, writes_base64=base64)
    with build_client(settings) as client, scratch_folder() as scratch:
        carrier = Carrier(client, order.params, manner, scratch=scratch, display=display())
        round_ = Round(carrier, key_source, answers_on_stdout=order.uses_stdout)
        raise typer.Exit(round_.run(order.errands))


# --- what is ordered -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """The API's parameters as they were typed."""

    format: str | None = None
    w: str | None = None
    h: str | None = None
    exact_resize: bool = False
    mask: bool = False
    bg_color: str | None = None
    angle: str = "0"
    expand: bool = True

    def values(self, otherwise: str) -> dict[str, object]:
        """Return what is asked of the API, with *otherwise* as the format that goes without saying."""
        return {
            "format": self.format if self.format is not None else otherwise,
            "w": _whole(self.w),
            "h": _whole(self.h),
            "exact_resize": self.exact_resize,
            "mask": self.mask,
            "bg_color": self.bg_color,
            "angle": _real(self.angle),
            "expand": self.expand,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What the command was called for, with nothing wrong in it that can be seen without looking at a disk."""

    params: RemovalParams
    errands: tuple[Errand, ...]
    folder: Path | None = None  # to be made

    @property
    def uses_stdin(self) -> bool:
        """Whether the picture comes by standard input."""
        return any(errand.source is None for errand in self.errands)

    @property
    def uses_stdout(self) -> bool:
        """Whether the cut-out leaves by standard output, which then holds nothing else."""
        return any(errand.target is None for errand in self.errands)


def read_order(images: Sequence[str], output: str | None, wish: Wish, *, writes_base64: bool = False) -> Order:
    """
    Make an order of what was typed.

    Raises:
        UsageError: With every problem, a line for each.
    """
    images = _each_once(images)
    file = None if output in {None, PIPE} or _is_folder(str(output)) else Path(str(output))
    otherwise, problems = _format_by_ending(file, wish.format, is_told=not writes_base64)
    values = wish.values(otherwise)
    problems += [one.message for one in parameter_problems(values)]
    problems += _place_problems(images, output, file)
    if problems:
        raise UsageError("\n".join(problems))
    params = RemovalParams(**values)  # type: ignore[arg-type]  # parameter_problems has looked at each
    ending = params.format.extension + (".b64" if writes_base64 else "")
    folder = Path(str(output)) if output not in {None, PIPE} and file is None else None
    if images == [PIPE] or output == PIPE or file is not None:
        source = None if images == [PIPE] else Path(images[0])
        target = file or (folder / f"stdin{ending}" if folder else None)
        errands: Iterable[Errand] = [Errand(source=source, target=target)]
    else:
        errands = _errands([Path(image) for image in images], folder, ending)
    return Order(params=params, errands=tuple(errands), folder=folder)


def _whole(text: str | None) -> object:
    """Return a whole number, or the text as it is, to be refused in the API's own words."""
    return int(text) if text is not None and re.fullmatch(r"[+-]?[0-9]{1,18}", text) else text


def _real(text: str) -> object:
    try:
        return float(text)
    except ValueError:
        return text


def _each_once(images: Iterable[str]) -> list[str]:
    """Leave out what was named before: it would be paid for twice."""
    found: dict[str, str] = {}
    for image in images:
        found.setdefault(image if image == PIPE else os.path.realpath(image), image)
    return list(found.values())


def _is_folder(output: str) -> bool:
    return output.endswith("/") or Path(output).is_dir()


def _format_by_ending(file: Path | None, chosen: str | None, *, is_told: bool) -> tuple[str, list[str]]:
    """Return the format that the name of *file* speaks of, and what is wrong with that name."""
    if file is None or not is_told or not file.suffix:
        return str(Format.WEBP), []
    named = Format.named(file.suffix[1:])
    if named is None:
        known = "name it .webp, .png, .jpg or .bmp, or say --format" if chosen is None else ""
        return str(Format.WEBP), [f"-o {file}: the API makes no {file.suffix} pictures: {known}"] if known else []
    if chosen is not None and Format.named(chosen) not in {None, named}:
        return str(named), [f"-o {file}: the ending says {named}, but --format says {chosen}"]
    return str(named), []


def _place_problems(images: Sequence[str], output: str | None, file: Path | None) -> Iterator[str]:
    if PIPE in images and len(images) > 1:
        yield "- (standard input) holds one picture: give it no others beside"
    elif output == PIPE and len(images) > 1:
        yield "-o - (standard output) holds one picture: name a folder for several"
    elif file is not None and len(images) > 1:
        yield f"-o {file} is one file for {len(images)} pictures: name a folder (with / at its end it is made)"
    if output == "":
        yield "-o names nothing: name a file, a folder, or - for standard output"


def _errands(sources: Sequence[Path], folder: Path | None, ending: str) -> Iterator[Errand]:
    """Give each picture a place of its own, which is none of the pictures."""
    taken = {_key(source) for source in sources}
    for source in sources:
        parent = source.parent if folder is None else folder
        target = next(parent / name for name in _names(source, ending) if _key(parent / name) not in taken)
        taken.add(_key(target))
        yield Errand(source=source, target=target)


def _names(source: Path, ending: str) -> Iterator[str]:
    """Name a cut-out, the best name first: IMG_1.webp, IMG_1-cutout.webp for a WebP, IMG_1.png.webp, and so on."""
    is_like_the_source = source.suffix.lower() == ending
    yield f"{source.stem}{ending}"
    if not is_like_the_source:
        yield f"{source.name}{ending}"
    yield f"{source.stem}-cutout{ending}"
    number = 2
    while True:
        yield f"{source.stem}-cutout-{number}{ending}"
        number += 1


def _key(path: Path) -> bytes:
    return collision_key(os.fsencode(path.parent.resolve() / path.name))


def _check_pipes(order: Order, *, writes_base64: bool) -> None:
    """Refuse what would wait at a keyboard or spoil a terminal."""
    problems = []
    if order.uses_stdin and (sys.stdin is None or sys.stdin.isatty()):
        problems.append("- reads a picture from standard input: pipe one in, as in  rembg-watch remove - < IMG_1.jpg")
    if order.uses_stdout and sys.stdout is None:
        problems.append("standard output is closed: name a file with -o")
    elif order.uses_stdout and sys.stdout.isatty() and not writes_base64:
        problems.append("the cut-out would go to the terminal: name a file with -o, or pipe it on")
    if problems:
        raise UsageError("\n".join(problems))


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"-o {folder}: the folder cannot be made: {error.strerror}") from error


# --- what became of it ---------------------------------------------------------------------------

_BY_URGENCY = (ExitCode.KEY_REFUSED, ExitCode.USAGE, ExitCode.WAITING, ExitCode.SOME_FAILED)

_CHARGED = {
    Charge.NO: "nothing was charged",
    Charge.MAYBE: "it may have been charged: look at `rembg-watch credits` before you send it again",
    Charge.YES: "it was paid for",
}
_WARNINGS = {
    "no_alpha": "it has no transparency",
    "all_opaque": "nothing in it is transparent",
    "all_transparent": "all of it is transparent",
}
_ADVICE = {
    "429 daily limit": "that limit is for callers without an account: look at the key with `rembg-watch credits`",
    "429 monthly limit": "`rembg-watch credits` says when credits come back",
    "e-mail not verified": "open the link in the vendor's e-mail",
}


class Round:
    """
    One round through all errands, with a line for each.

    Args:
        carrier: Who carries them out.
        key_source: Where the key is from, for a sentence.
        answers_on_stdout: Standard output belongs to the cut-out, so that lines go to standard error.
    """

    def __init__(self, carrier: Carrier, key_source: str, *, answers_on_stdout: bool) -> None:
        self._carrier = carrier
        self._key_source = key_source
        self._tell = note if answers_on_stdout else say
        self._codes: list[ExitCode] = []
        self._server_failures = 0  # in a row
        self._delivered = 0

    def run(self, errands: Sequence[Errand]) -> ExitCode:
        """Go on after a bad picture; stop where every other would meet the same. Say how it went."""
        unsent: Sequence[Errand] = ()
        for number, errand in enumerate(errands):
            if not self._carry(errand):
                unsent = errands[number + 1 :]
                break
        for errand in unsent:
            self._tell(f"{errand.name}: not sent, for the same reason")
        if len(errands) > 1:
            self._tell(self._summary(len(errands), len(unsent)))
        return next((code for code in _BY_URGENCY if code in self._codes), ExitCode.OK)

    def _carry(self, errand: Errand) -> bool:
        """Carry out one; say whether the next is worth sending."""
        try:
            line = delivered_line(self._carrier.carry(errand))
        except NotSentHereError as error:
            return self._failed(f"{errand.name}: not sent: {error}", error)
        except KeptError as error:
            return self._failed(f"{errand.name}: failed: {error}", error) and not error.ends_all
        except RembgError as error:
            return self._failed(f"{errand.name}: failed: {self._reason(error)}", error) and not self._ends_all(error)
        self._tell(line)
        self._delivered += 1
        self._server_failures = 0
        return True

    def _failed(self, line: str, error: Exception) -> bool:
        """Take down a failure; by itself it is no reason to stop."""
        self._tell(line)
        self._codes.append(exit_code(error))
        return True

    def _reason(self, error: RembgError) -> str:
        if isinstance(error, KeyRefusedError):
            return key_refusal(error, self._key_source)
        parts = [error.message.rstrip("."), _ADVICE.get(rule_name(error)), _CHARGED[error.charge]]
        return "; ".join(part for part in parts if part)

    def _ends_all(self, error: RembgError) -> bool:
        """Say whether the next picture would meet the same; a server that failed once gets a second chance."""
        if error.scope is not Scope.SERVICE:
            self._server_failures = 0
            return error.scope is not Scope.PICTURE
        self._server_failures += 1
        return self._server_failures > 1 or not rule_name(error).startswith("server failed")

    def _summary(self, total: int, unsent: int) -> str:
        failed = total - unsent - self._delivered
        parts = [f"{self._delivered:,} of {count_text(total, 'picture')} cut out"]
        parts += [f"{failed:,} failed"] if failed else []
        parts += [f"{unsent:,} not sent"] if unsent else []
        return ", ".join(parts)


def delivered_line(delivered: Delivered) -> str:
    """Say what a cut-out is and where it stands."""
    found, errand = delivered.verified, delivered.errand
    facts = f"{found.width} x {found.height} px, {size_text(found.size_bytes)}, {span_text(delivered.elapsed_s)}"
    odd = f"; look at it: {_WARNINGS[found.warning]}" if found.warning else ""
    return f"{errand.name} -> {errand.place} ({facts}){odd}"
