"""What most commands share: the configuration, and its folders, the log and the account that belong to it."""

import logging
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from rembg_watch import state_dirs
from rembg_watch.api.errors import KeyRefusedError
from rembg_watch.cli.console import note
from rembg_watch.config import FOR_ACCOUNT, Settings, find
from rembg_watch.errors import ConfigError, ExitCode, UsageError
from rembg_watch.ledger import Ledger, Which
from rembg_watch.report.logs import Logs
from rembg_watch.report.sinks import choose_output

ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        help="The configuration file. By default ./rembg-watch.toml, the user's or /etc/rembg-watch/config.toml.",
        show_default=False,
    ),
]
KeyFile = Annotated[
    Path | None,
    typer.Option(
        "--key-file",
        metavar="FILE",
        help="A file that contains only the API key, used instead of the configured key.",
        show_default=False,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")]


def check_folders(names: Iterable[str], settings: Settings, ledger: Ledger | None = None) -> None:
    """
    Make sure that folders that were named on the command line exist: in the configuration, or in the ledger.

    Raises:
        UsageError: One does not; the sentence says which there are.
    """
    known = [one.name for one in settings.folders]
    for name in names:
        if name not in known and not (ledger and any(ledger.jobs(Which(folders=frozenset({name})), limit=1))):
            raise UsageError(f"there is no folder {name!r}; known are: {', '.join(known)}")


def logs_for(settings: Settings, *, level: str | None = None) -> Logs:
    """Make the log of a command, to standard error, with the key kept out of it."""
    output = choose_output(settings.log.format, stream=sys.stderr)
    logging.raiseExceptions = False
    return Logs(output, level=level or settings.log.level, secrets=secrets_of(settings))


def secrets_of(settings: Settings) -> list[str]:
    """List what must not be in any line of the log."""
    secrets = (settings.api.key, settings.notify.ping_url)
    return [one.get_secret_value() for one in secrets if one is not None]


# --- whose account --------------------------------------------------------------------------------


def account_settings(config: Path | None, key_file: Path | None) -> tuple[Settings, str]:
    """
    Read the settings of the account, and say where its key is from.

    A configuration without folders is enough, and so is the environment alone.

    Raises:
        ConfigError: The configuration cannot be used, or there is no key.
    """
    try:
        path: Path | None = find(config)
    except ConfigError:
        if config is not None:
            raise
        path = None
    reading = state_dirs.read(path, environ=_environment(key_file))
    errors = reading.errors(tolerate=FOR_ACCOUNT)
    if errors or reading.settings is None:
        raise ConfigError([str(found) for found in errors])
    return reading.settings, reading.key_source or "the configuration"


def _environment(key_file: Path | None) -> dict[str, str]:
    """Return the environment; a key file that was named on the command line replaces every other key."""
    if key_file is None:
        return dict(os.environ)
    stronger = {"REMBG_WATCH_API__KEY", "REMBG_WATCH_API__KEY_FILE", "CREDENTIALS_DIRECTORY"}
    others = {name: value for name, value in os.environ.items() if name.upper() not in stronger}
    return others | {"REMBG_WATCH_API__KEY_FILE": str(key_file.absolute())}


@contextmanager
def reporting_key_refusal(key_source: str) -> Iterator[None]:
    """
    End the command with a sentence that says which key it was, if the API refuses it.

    Raises:
        Exit: The key was refused.
    """
    try:
        yield
    except KeyRefusedError as error:
        note(f"rembg-watch: {key_refusal(error, key_source)}")
        raise typer.Exit(ExitCode.KEY_REFUSED) from error


def key_refusal(error: KeyRefusedError, key_source: str) -> str:
    """Say which key was refused and what to do."""
    return (
        f"the API does not accept the key from {key_source}: {error.message.rstrip('.')}; "
        "replace it with the key that your account page shows"
    )
