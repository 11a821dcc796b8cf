"""``credits``: what the account holds, how its billing period goes, and what came before. Reading it is free."""

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from rembg_watch.api.errors import InvalidRequestError, KeyRefusedError
from rembg_watch.api.params import usage_query
from rembg_watch.api.responses import BillingPeriod
from rembg_watch.cli.configured import AsJson, ConfigFile
from rembg_watch.cli.console import OUT, note, say, say_json
from rembg_watch.cli.credits_view import (
    HISTORY_WIDTH,
    Asked,
    Marks,
    View,
    as_plain_values,
    history_lines,
    history_table,
    plain_lines,
    rows,
)
from rembg_watch.config import FOR_ACCOUNT, Settings, find, read
from rembg_watch.daemon import build_client
from rembg_watch.errors import ConfigError, ExitCode, UsageError

KeyFile = Annotated[
    Path | None,
    typer.Option(
        "--key-file",
        metavar="FILE",
        help="A file that holds the API key and nothing else, in place of the configured key.",
        show_default=False,
    ),
]

LONGEST_ANSWER_S = 30.0
"""Somebody sits and waits."""


def credits_(
    config: ConfigFile = None,
    key_file: KeyFile = None,
    history: Annotated[bool, typer.Option("--history", help="Also list the past billing periods.")] = False,
    month: Annotated[
        str | None,
        typer.Option("--month", metavar="YYYY-MM", help="What was used in this UTC month.", show_default=False),
    ] = None,
    period: Annotated[
        int | None,
        typer.Option(
            "--period",
            metavar="UNIX",
            help="The billing period that began at this Unix second; --history lists them.",
            show_default=False,
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show what the account holds, its billing period and a forecast."""
    asked = _asked(month, period)
    settings, key_source = account_settings(config, key_file)
    with key_refusal_told(key_source), build_client(_impatient(settings)) as client:
        account = client.account(year=asked.year, month=asked.month, period_start=asked.period_start_unix)
        periods = client.billing_cycles() if history else None
    view = View(account=account, asked=asked, now=datetime.now(UTC), periods=periods)
    if as_json:
        say_json(as_plain_values(view))
    elif OUT.is_terminal:
        _show_on_terminal(view)
    else:
        for line in plain_lines(view):
            say(line)


# --- whose account -------------------------------------------------------------------------------


def account_settings(config: Path | None, key_file: Path | None) -> tuple[Settings, str]:
    """
    Read what is known of the account, and say where its key is from.

    A configuration without folders will do, and so will the environment alone.

    Raises:
        ConfigError: The configuration cannot be used, or there is no key.
    """
    try:
        path: Path | None = find(config)
    except ConfigError:
        if config is not None:
            raise
        path = None
    reading = read(path, environ=_environment(key_file))
    errors = reading.errors(tolerate=FOR_ACCOUNT)
    if errors or reading.settings is None:
        raise ConfigError([str(found) for found in errors])
    return reading.settings, reading.key_source or "the configuration"


def _environment(key_file: Path | None) -> dict[str, str]:
    """Return the environment; a key file that was named in the command wins over every other key."""
    if key_file is None:
        return dict(os.environ)
    stronger = {"REMBG_WATCH_API__KEY", "REMBG_WATCH_API__KEY_FILE", "CREDENTIALS_DIRECTORY"}
    others = {name: value for name, value in os.environ.items() if name.upper() not in stronger}
    return others | {"REMBG_WATCH_API__KEY_FILE": str(key_file.absolute())}


def _impatient(settings: Settings) -> Settings:
    api = settings.api
    return settings.model_copy(
        update={"api": api.model_copy(update={"timeout_s": min(api.timeout_s, LONGEST_ANSWER_S)})}
    )


@contextmanager
def key_refusal_told(key_source: str) -> Iterator[None]:
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
        "put the key there that your account page shows"
    )


# --- what was asked ------------------------------------------------------------------------------


def _asked(month: str | None, period: int | None) -> Asked:
    if month is not None and period is not None:
        raise UsageError("--month and --period name two different times: choose one")
    found = re.fullmatch(r"([0-9]{4})-([0-9]{1,2})", month) if month is not None else None
    if month is not None and found is None:
        raise UsageError(f"--month wants a year and a month such as 2026-10, not {month!r}")
    asked = Asked(
        year=int(found[1]) if found else None, month=int(found[2]) if found else None, period_start_unix=period
    )
    try:
        usage_query(year=asked.year, month=asked.month, period_start=asked.period_start_unix)
    except InvalidRequestError as error:
        names = {"year": "--month", "month": "--month", "periodStartUnix": "--period"}
        raise UsageError(
            "\n".join(f"{names.get(str(one.field), one.field)}: {one.message}" for one in error.details)
        ) from error
    return asked


# --- on a screen ---------------------------------------------------------------------------------


LABEL_WIDTH, LONGEST_BAR = 14, 50


def _show_on_terminal(view: View) -> None:
    marks = Marks.of(OUT.encoding)
    grid = Table.grid(padding=(0, 2), pad_edge=False)
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for label, text in rows(view, bar_width=min(LONGEST_BAR, OUT.width - LABEL_WIDTH), marks=marks):
        grid.add_row(label, text)
    OUT.print(grid)
    if view.periods is not None:
        say()
        _show_history(view.periods, view.now, marks)


def _show_history(periods: Sequence[BillingPeriod], now: datetime, marks: Marks) -> None:
    if periods and OUT.width >= HISTORY_WIDTH:
        OUT.print(history_table(periods, now=now, width=OUT.width, marks=marks))
        return
    for line in history_lines(periods):
        say(line)
