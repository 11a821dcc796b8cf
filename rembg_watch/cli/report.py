"""``report``: what was spent in a time, by folder, shoot, day or picture, as a table, JSON or CSV."""

import re
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from rembg_watch import state_dirs
from rembg_watch.account.credits import next_month_at
from rembg_watch.cli.configured import AsJson, ConfigFile, check_folders
from rembg_watch.cli.console import OUT, say, say_json
from rembg_watch.config import FOR_LOOKING, Settings, find
from rembg_watch.errors import UsageError
from rembg_watch.ledger import Access, open_ledger
from rembg_watch.report import bill
from rembg_watch.report.bill import Division, Row
from rembg_watch.report.words import count_text, credits_number, credits_text

_ONE_DAY = timedelta(days=1)
_HEADINGS = {"delivered": "pictures", "charged": "credits"}
_ALWAYS = ("delivered", "calls", "charged")
_IF_ANY = ("doubtful", "refused", "doubles", "repeats")


def report(
    config: ConfigFile = None,
    month: Annotated[
        str | None,
        typer.Option(
            "--month", metavar="YYYY-MM", help="This UTC month; by default the present one.", show_default=False
        ),
    ] = None,
    first: Annotated[
        str | None,
        typer.Option(
            "--from", metavar="YYYY-MM-DD", help="From this UTC day on, in place of a month.", show_default=False
        ),
    ] = None,
    last: Annotated[
        str | None, typer.Option("--to", metavar="YYYY-MM-DD", help="To the end of this UTC day.", show_default=False)
    ] = None,
    by: Annotated[Division, typer.Option("--by", help="What a row stands for.")] = Division.FOLDER,
    folder: Annotated[list[str] | None, typer.Option("--folder", "-f", help="Only these folders.")] = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV, for a spreadsheet.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show what was delivered and what it cost, by folder, shoot, day or picture."""
    if as_csv and as_json:
        raise UsageError("--csv and --json are two forms of one answer: choose one")
    begin, end = _span(month, first, last, datetime.now(UTC))
    settings = state_dirs.load(find(config), tolerate=FOR_LOOKING)
    with open_ledger(settings.state_dir, Access.READ) as ledger:
        check_folders(folder or (), settings, ledger)
        parts = ledger.billed(by.by, begin, end, folders=folder or ())
    rows = bill.rows(parts, by, _depths(settings))
    known_since = bill.known_since(parts) if by in (Division.SHOOT, Division.PICTURE) else None
    if as_csv:
        sys.stdout.flush()
        sys.stdout.buffer.write(bill.csv_text(rows, by).encode())
        sys.stdout.buffer.flush()
    elif as_json:
        say_json(
            {
                "from": begin.date().isoformat() if begin else None,
                "to": (end - _ONE_DAY).date().isoformat() if end else None,
                "days": "UTC",
                "by": by.value,
                "rows": bill.plain_values(rows, by),
                "total": bill.figures_values(bill.total(rows)),
                "known_since": known_since.isoformat() if known_since else None,
            }
        )
    else:
        _show(rows, by, _days_text(begin, end))
        if known_since:
            say(_forgotten_text(rows, by, known_since))


def _depths(settings: Settings) -> Callable[[str], int]:
    """Say which level of sub-folder is a shoot; of a folder that is not watched any more, the first."""
    depths = {one.name: one.shoot_depth for one in settings.folders}
    return lambda name: depths.get(name, 1)


# --- which time ----------------------------------------------------------------------------------


def _span(
    month: str | None, first: str | None, last: str | None, now: datetime
) -> tuple[datetime | None, datetime | None]:
    """Return the beginning of a time and what comes after its end; None: it has none."""
    if first is None and last is None:
        begin = _month(month) if month is not None else now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        return begin, next_month_at(begin)
    if month is not None:
        raise UsageError("--month and --from or --to name two different times: choose one")
    begin_at = None if first is None else _day(first, "--from")
    last_at = None if last is None else _day(last, "--to")
    if begin_at and last_at and last_at < begin_at:
        raise UsageError(f"--to {last} is before --from {first}")
    return begin_at, None if last_at is None else last_at + _ONE_DAY


def _month(text: str) -> datetime:
    found = re.fullmatch(r"([0-9]{4})-([0-9]{1,2})", text)
    try:
        return _start(date(int(found[1]), int(found[2]), 1)) if found else _no_month(text)
    except ValueError:
        return _no_month(text)


def _no_month(text: str) -> datetime:
    raise UsageError(f"--month takes a year and a month such as 2026-10, not {text!r}")


def _day(text: str, option: str) -> datetime:
    try:
        return _start(date.fromisoformat(text))
    except ValueError as error:
        raise UsageError(f"{option} takes a day such as 2026-10-31, not {text!r}") from error


def _start(day: date) -> datetime:
    """Return when a UTC day begins; the ledger holds no moment before 1970, and the last year has no next one."""
    if not 1970 <= day.year < date.max.year:
        raise ValueError(f"no year in which anything was sent: {day.year}")
    return datetime.combine(day, time(), UTC)


# --- on a screen ---------------------------------------------------------------------------------


def _days_text(begin: datetime | None, end: datetime | None) -> str:
    if begin and end:
        return f"{begin:%Y-%m-%d} to {end - _ONE_DAY:%Y-%m-%d}, UTC days"
    if begin:
        return f"since {begin:%Y-%m-%d}, UTC days"
    return f"until {end - _ONE_DAY:%Y-%m-%d}, UTC days" if end else "all there ever was"


def _show(rows: Sequence[Row], by: Division, days: str) -> None:
    say(days)
    if not rows:
        say("nothing was sent or delivered")
        return
    sums = bill.total(rows)
    shown = [*_ALWAYS, *(name for name in _IF_ANY if sums.figures()[name])]
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in by.names:
        table.add_column(name, overflow="fold")
    for name in shown:
        table.add_column(_HEADINGS.get(name, name), justify="right", no_wrap=True)
    for row in rows:
        table.add_row(*(Text(word or "(pruned)") for word in row.names(by)), *_figures(row, shown))
    table.add_row("together", *[""] * (len(by.names) - 1), *_figures(sums, shown), style="bold")
    OUT.print(table)
    if sums.spending.under_way:
        say(f"{count_text(sums.spending.under_way, 'call')} under way, counted as doubtful until they end")


def _figures(row: Row, shown: Sequence[str]) -> list[str]:
    found = row.figures()
    return [_number(found[name]) for name in shown]


def _number(value: int | Decimal) -> str:
    return f"{credits_number(value) if isinstance(value, Decimal) else value:,}"


def _forgotten_text(rows: Sequence[Row], by: Division, known_since: date) -> str:
    sums = bill.total(row for row in rows if row.is_forgotten)
    cost = f"{count_text(sums.spending.calls, 'call')}, {credits_text(sums.spending.charged)}"
    return f"{by.value}s are known since {known_since}: of older ones that were pruned ({cost}) folder and day are kept"
