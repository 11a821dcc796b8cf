"""``notify``: a test of how people are told."""

from typing import Annotated

import typer

from rembg_watch import state_dirs
from rembg_watch.cli.configured import ConfigFile
from rembg_watch.cli.console import say
from rembg_watch.config import FOR_LOOKING, find
from rembg_watch.errors import ConfigError, ExitCode, UsageError
from rembg_watch.notify.urls import CREDENTIAL


def notify(
    config: ConfigFile = None,
    test: Annotated[bool, typer.Option("--test", help="Send a test notice, and ask for the URL of the ping.")] = False,
) -> None:
    """Send a test notice to everybody who would be told, and say of each way whether it arrived."""
    from rembg_watch.notify.trial import try_all  # here, so that a daemon that tells nobody does not load it

    if not test:
        raise UsageError("`rembg-watch notify --test` sends a test notice; the daemon sends all others by itself")
    found = try_all(state_dirs.load(find(config), tolerate=FOR_LOOKING))
    if not found:
        raise ConfigError(
            [f"nobody is told anything: set [notify] urls_file (the credential {CREDENTIAL} is for the service alone)"]
        )
    for shown, why in found:
        say(f"{shown}: {why or 'it arrived'}")
    raise typer.Exit(ExitCode.SOME_FAILED if any(why for _, why in found) else ExitCode.OK)
