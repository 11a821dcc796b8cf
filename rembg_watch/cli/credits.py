"""``credits``: what the account holds, how its billing period goes, and what came before. Reading it is free."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer
from rich.table import Table

from rembg_watch.api.errors import InvalidRequestError
from rembg_watch.api.params import usage_query
from rembg_watch.api.responses import BillingPeriod
from rembg_watch.cli import credits_view
from rembg_watch.cli.configured import AsJson, ConfigFile, KeyFile, account_settings, reporting_key_refusal
from rembg_watch.cli.console import OUT, say, say_json
from rembg_watch.cli.credits_view import AccountView, BarCharacters, UsageQuery
from rembg_watch.config import Settings
from rembg_watch.daemon import build_client
from rembg_watch.errors import UsageError
from rembg_watch.ledger import Access, PastBalance, open_ledger

LONGEST_ANSWER_S = 30.0
"""A person is waiting for it."""

LISTED = timedelta(days=31)
"""So much of the balance's past is listed."""


def credits_(
    config: ConfigFile = None,
    key_file: KeyFile = None,
    history: Annotated[bool, typer.Option("--history", help="Also list past billing periods.")] = False,
    month: Annotated[
        str | None,
        typer.Option("--month", metavar="YYYY-MM", help="Show what was used in this UTC month.", show_default=False),
    ] = None,
    period: Annotated[
        int | None,
        typer.Option(
            "--period",
            metavar="UNIX",
            help="Show the billing period that began at this Unix time; --history lists them.",
            show_default=False,
        ),
    ] = None,
    balances: Annotated[
        bool,
        typer.Option("--balances", help="Also list what could be spent on the last 31 days, as it was read."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show the account's credits, its billing period and a forecast."""
    query = _query(month, period)
    settings, key_source = account_settings(config, key_file)
    with reporting_key_refusal(key_source), build_client(_impatient(settings)) as client:
        account = client.account(year=query.year, month=query.month, period_start=query.period_start_unix)
        periods = client.billing_cycles() if history else None
    now = datetime.now(UTC)
    kept = _balances(settings, now) if balances else None
    view = AccountView(account=account, query=query, now=now, periods=periods, balances=kept)
    if as_json:
        say_json(credits_view.as_plain_values(view))
    elif OUT.is_terminal:
        _show_on_terminal(view)
    else:
        for line in credits_view.plain_lines(view):
            say(line)


def _balances(settings: Settings, now: datetime) -> Sequence[PastBalance]:
    with open_ledger(settings.state_dir, Access.READ) as ledger:
        return ledger.balances(now - LISTED)


def _impatient(settings: Settings) -> Settings:
    api = settings.api
    timeout_s = min(api.timeout_s, LONGEST_ANSWER_S)
    return settings.model_copy(update={"api": api.model_copy(update={"timeout_s": timeout_s})})


# --- what was asked ------------------------------------------------------------------------------


def _query(month: str | None, period: int | None) -> UsageQuery:
    if month is not None and period is not None:
        raise UsageError("--month and --period name two different times: choose one")
    found = re.fullmatch(r"([0-9]{4})-([0-9]{1,2})", month) if month is not None else None
    if month is not None and found is None:
        raise UsageError(f"--month takes a year and a month such as 2026-10, not {month!r}")
    query = UsageQuery(
        year=int(found[1]) if found else None, month=int(found[2]) if found else None, period_start_unix=period
    )
    try:
        usage_query(year=query.year, month=query.month, period_start=query.period_start_unix)
    except InvalidRequestError as error:
        names = {"year": "--month", "month": "--month", "periodStartUnix": "--period"}
        problems = [f"{names.get(str(one.field), one.field)}: {one.message}" for one in error.details]
        raise UsageError("\n".join(problems)) from error
    return query


# --- on a screen ---------------------------------------------------------------------------------


LABEL_WIDTH, LONGEST_BAR = 14, 50


def _show_on_terminal(view: AccountView) -> None:
    characters, bar_width = BarCharacters.of(OUT.encoding), min(LONGEST_BAR, OUT.width - LABEL_WIDTH)
    grid = Table.grid(padding=(0, 2), pad_edge=False)
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for label, text in credits_view.rows(view, bar_width=bar_width, characters=characters):
        grid.add_row(label, text)
    OUT.print(grid)
    if view.periods is not None:
        say()
        _show_history(view.periods, view.now, characters)
    if view.balances is not None:
        say()
        for line in credits_view.balance_lines(view.balances):
            say(line)


def _show_history(periods: Sequence[BillingPeriod], now: datetime, characters: BarCharacters) -> None:
    if periods and OUT.width >= credits_view.HISTORY_WIDTH:
        OUT.print(credits_view.history_table(periods, now=now, width=OUT.width, characters=characters))
        return
    for line in credits_view.history_lines(periods):
        say(line)
