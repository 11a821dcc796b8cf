"""The commands, and how every way out becomes a sentence and an exit code."""

import os
import sys
from collections.abc import Callable
from inspect import signature
from typing import Annotated

import typer

from rembg_watch import __version__
from rembg_watch.api.errors import RembgError
from rembg_watch.cli.accept import accept
from rembg_watch.cli.adopt import adopt
from rembg_watch.cli.check import check
from rembg_watch.cli.configured import ConfigFile
from rembg_watch.cli.console import accept_any_text, note
from rembg_watch.cli.credits import credits_
from rembg_watch.cli.deliver import deliver
from rembg_watch.cli.demo import demo
from rembg_watch.cli.init import init
from rembg_watch.cli.jobs import jobs
from rembg_watch.cli.notify import notify
from rembg_watch.cli.once import once
from rembg_watch.cli.pause import pause, resume
from rembg_watch.cli.preview import preview
from rembg_watch.cli.redo import redo
from rembg_watch.cli.reject import reject
from rembg_watch.cli.remove import remove
from rembg_watch.cli.report import report
from rembg_watch.cli.retry import retry
from rembg_watch.cli.run import run
from rembg_watch.cli.sandbox import sandbox
from rembg_watch.cli.sheet import sheet
from rembg_watch.cli.status import status
from rembg_watch.cli.web import web
from rembg_watch.errors import ExitCode, RembgWatchError, UsageError, exit_code
from rembg_watch.host.threads import ADVICE
from rembg_watch.report.words import show

app = typer.Typer(
    name="rembg-watch",
    help="Drop pictures into one folder, get cut-outs in another, unattended.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(value: bool) -> None:
    if value:
        print(f"rembg-watch {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    context: typer.Context,
    config: ConfigFile = None,
    _: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Read the options before the command; a configuration that is named there counts as named after it."""
    if config is None:
        return
    command = context.invoked_subcommand or ""
    if "config" not in signature(COMMANDS[command]).parameters:
        raise UsageError(f"`rembg-watch {command}` takes no configuration: leave out --config")
    takes_several = command == "web"
    context.default_map = {command: {"config": [str(config)] if takes_several else str(config)}}


COMMANDS: dict[str, Callable[..., None]] = {
    "demo": demo,
    "run": run,
    "once": once,
    "remove": remove,
    "status": status,
    "jobs": jobs,
    "retry": retry,
    "pause": pause,
    "resume": resume,
    "accept": accept,
    "reject": reject,
    "redo": redo,
    "adopt": adopt,
    "deliver": deliver,
    "preview": preview,
    "check": check,
    "credits": credits_,
    "report": report,
    "sheet": sheet,
    "web": web,
    "notify": notify,
    "sandbox": sandbox,
    "init": init,
}
for name, command in COMMANDS.items():
    app.command(name)(command)


def main() -> None:
    """Run one command; whatever stops it is reported in one sentence, with the exit code that it deserves."""
    accept_any_text()
    try:
        app()
    except (RembgWatchError, RembgError) as error:
        for line in str(error).splitlines() or [type(error).__name__]:
            note(f"rembg-watch: {line}")
        sys.exit(exit_code(error))
    except KeyboardInterrupt:
        note("rembg-watch: interrupted")
        sys.exit(130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nobody reads on, which is no failure of ours
        sys.exit(ExitCode.OK)
    except OSError as error:
        note(f"rembg-watch: {_of_the_system(error)}")
        sys.exit(ExitCode.SOME_FAILED)
    except RuntimeError as error:
        if str(error) != "can't start new thread":
            raise
        note(f"rembg-watch: no more threads can be started here: {ADVICE}")
        sys.exit(ExitCode.WAITING)


def _of_the_system(error: OSError) -> str:
    """Say what the system refused, of which nobody thought."""
    what = (error.strerror or type(error).__name__).lower()
    return what if error.filename is None else f"{show(os.fsencode(error.filename))}: {what}"
