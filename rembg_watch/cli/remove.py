"""
``remove``: one picture or a few, straight through the API.

What was typed is read in ``remove_arguments``, and one picture is sent in ``one_shot``. Here the
outcome of each becomes a line and an exit code.
"""

import os
import stat
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from rembg_watch.account.retry import rule_name
from rembg_watch.api.errors import Charge, KeyRefusedError, RembgError, Scope
from rembg_watch.cli.configured import ConfigFile, KeyFile, account_settings, key_refusal
from rembg_watch.cli.console import note, say
from rembg_watch.cli.remove_arguments import Arguments, RawParameters, read_arguments
from rembg_watch.cli.transfer import display
from rembg_watch.config import Settings
from rembg_watch.daemon import build_client
from rembg_watch.errors import ExitCode, UsageError, exit_code
from rembg_watch.one_shot import (
    Delivered,
    NotSentHereError,
    OneShot,
    Options,
    Request,
    UndeliveredError,
    scratch_folder,
)
from rembg_watch.pipeline.surprises import IN_A_ROW
from rembg_watch.report.words import count_text, show, size_text, span_text
from rembg_watch.watched import known_pictures, refusals


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
            help="Where to write: a file, a folder (created if it ends with /), or - for standard output. "
            "By default beside each picture; for a picture from standard input, standard output.",
            show_default=False,
        ),
    ] = None,
    format_: Annotated[
        str | None,
        typer.Option(
            "--format",
            "-f",
            metavar="FORMAT",
            help="webp, png, jpeg or bmp; by default the format that the extension of -o FILE names, or webp.",
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
        bool, typer.Option("--exact-resize", help="Resize to exactly --w by --h, even if that distorts.")
    ] = False,
    mask: Annotated[bool, typer.Option("--mask", help="Return the mask alone; not together with --bg-color.")] = False,
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
        str, typer.Option("--angle", metavar="DEGREES", help="Rotate the cut-out by -360 to 360 degrees.")
    ] = "0",
    expand: Annotated[
        bool, typer.Option("--expand/--no-expand", help="Enlarge the picture so that rotating crops nothing.")
    ] = True,
    upright: Annotated[
        bool,
        typer.Option(
            "--upright/--no-upright",
            help="Turn pictures that the camera marked as rotated upright before they are sent.",
        ),
    ] = True,
    base64: Annotated[bool, typer.Option("--base64", help="Write the cut-out as base64 text.")] = False,
    from_base64: Annotated[
        bool, typer.Option("--from-base64", help="Read the pictures as base64 text or data: URLs.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Overwrite existing files.")] = False,
    config: ConfigFile = None,
    key_file: KeyFile = None,
) -> None:
    """Cut out one picture or a few by hand. Each costs what the API charges for a picture."""
    parameters = RawParameters(
        format=format_, w=w, h=h, exact_resize=exact_resize, mask=mask, bg_color=bg_color, angle=angle, expand=expand
    )
    arguments = read_arguments(images, output, parameters, writes_base64=base64)
    _check_pipes(arguments, writes_base64=base64)
    settings, key_source = account_settings(config, key_file)
    _tell_and_refuse(arguments, settings)
    if arguments.folder is not None:
        _make_folder(arguments.folder)
    options = Options(is_forced=force, is_upright=upright, reads_base64=from_base64, writes_base64=base64)
    with build_client(settings) as client, scratch_folder() as scratch:
        one_shot = OneShot(client=client, params=arguments.params, options=options, scratch=scratch, display=display())
        run = _Run(one_shot, key_source, answers_on_stdout=arguments.uses_stdout)
        raise typer.Exit(run.send_all(arguments.requests))


def _check_pipes(arguments: Arguments, *, writes_base64: bool) -> None:
    """Refuse to wait for a keyboard or to write a picture to a terminal."""
    problems = []
    if arguments.uses_stdin and (sys.stdin is None or sys.stdin.isatty()):
        problems.append("- reads a picture from standard input: pipe one in, as in  rembg-watch remove - < IMG_1.jpg")
    if arguments.uses_stdout and sys.stdout is None:
        problems.append("standard output is closed: name a file with -o")
    elif arguments.uses_stdout and sys.stdout.isatty() and not writes_base64:
        problems.append("the cut-out would go to the terminal: name a file with -o, or pipe it to a program")
    if problems:
        raise UsageError("\n".join(problems))


def _tell_and_refuse(arguments: Arguments, settings: Settings) -> None:
    """Say which pictures are known already; refuse to write where the daemon would find new pictures."""
    sources = [request.source for request in arguments.requests if request.source is not None]
    for source, known in known_pictures(sources, settings, arguments.params):
        note(f"{show(os.fsencode(source))}: {known}")
    targets = [_stdout_file() if request.target is None else request.target for request in arguments.requests]
    directories = [target.parent for target in targets if target is not None]
    if problems := refusals(directories, settings.folders, environ=os.environ):
        raise UsageError("\n".join(problems))


def _stdout_file() -> Path | None:
    """Name the file that standard output was redirected to, if it is one."""
    try:
        return Path("/proc/self/fd/1").readlink() if stat.S_ISREG(os.fstat(1).st_mode) else None
    except OSError:
        return None


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"-o {folder}: the folder cannot be created: {error.strerror}") from error


# --- the outcome ---------------------------------------------------------------------------------

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
    "odd_mask": "it has colours, and is no mask",
    "flat_mask": "it is the same everywhere",
    "inverted_mask": "it seems to keep the background, and to drop the object",
}
_ADVICE = {
    "429 daily limit": "this limit is for callers without an account: check the key with `rembg-watch credits`",
    "429 monthly limit": "`rembg-watch credits` says when credits come back",
    "e-mail not verified": "open the link in the vendor's e-mail",
}


class _Run:
    """One run through all pictures, with a line for each."""

    def __init__(self, one_shot: OneShot, key_source: str, *, answers_on_stdout: bool) -> None:
        self._one_shot = one_shot
        self._key_source = key_source
        self._print = note if answers_on_stdout else say  # standard output may belong to the cut-out
        self._codes: list[ExitCode] = []
        self._server_failures = 0  # in a row
        self._surprises: list[str] = []  # the kinds of the last answers of an unexpected size, in a row
        self._delivered = 0

    def send_all(self, requests: Sequence[Request]) -> ExitCode:
        """Continue after a bad picture; stop where every other one would meet the same. Print a summary."""
        unsent: Sequence[Request] = ()
        for number, request in enumerate(requests):
            if not self._send(request):
                unsent = requests[number + 1 :]
                break
        for request in unsent:
            self._print(f"{request.name}: not sent, for the same reason")
        if len(requests) > 1:
            self._print(self._summary(len(requests), len(unsent)))
        return next((code for code in _BY_URGENCY if code in self._codes), ExitCode.OK)

    def _send(self, request: Request) -> bool:
        """Send one picture; return whether the next is worth sending."""
        try:
            delivered = self._one_shot.send(request)
        except NotSentHereError as error:
            return self._failed(f"{request.name}: not sent: {error}", error)
        except UndeliveredError as error:
            return self._failed(f"{request.name}: failed: {error}", error)
        except RembgError as error:
            return self._failed(f"{request.name}: failed: {self._reason(error)}", error) and not self._ends_all(error)
        self._print(_delivered_line(delivered))
        self._delivered += 1
        self._server_failures = 0
        return not self._surprises_in_a_row(delivered)

    def _surprises_in_a_row(self, delivered: Delivered) -> bool:
        """Say whether the last answers all had an unexpected size: a person should look before more is paid."""
        surprise = delivered.verified.surprise
        self._surprises = [] if surprise is None else [*self._surprises, surprise.code][-IN_A_ROW:]
        if len(self._surprises) < IN_A_ROW or len(set(self._surprises)) > 1:
            return False
        self._print(f"{IN_A_ROW} answers in a row are not of the size that was expected: look at them first")
        self._codes.append(ExitCode.SOME_FAILED)
        return True

    def _failed(self, line: str, error: Exception) -> bool:
        """Print and count a failure; by itself it is no reason to stop."""
        self._print(line)
        self._codes.append(exit_code(error))
        return True

    def _reason(self, error: RembgError) -> str:
        if isinstance(error, KeyRefusedError):
            return key_refusal(error, self._key_source)
        parts = [error.message.rstrip("."), _ADVICE.get(rule_name(error)), _CHARGED[error.charge]]
        return "; ".join(part for part in parts if part)

    def _ends_all(self, error: RembgError) -> bool:
        """Return whether the next picture would meet the same; a server that failed once gets a second chance."""
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


def _delivered_line(delivered: Delivered) -> str:
    """Describe a cut-out and say where it is."""
    found, request = delivered.verified, delivered.request
    facts = f"{found.width} x {found.height} px, {size_text(found.size_bytes)}, {span_text(delivered.elapsed_s)}"
    what = found.surprise.reason if found.surprise else _WARNINGS[found.warning] if found.warning else ""
    odd = f"; check it: {what}" if what else ""
    return f"{request.name} -> {request.target_name} ({facts}){odd}"
