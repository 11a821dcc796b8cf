"""
What a time came to, by folder, shoot, day or picture: rows that add up, for a table, JSON or CSV.

Pure: what the ledger knows of a time comes in, rows and text go out.
"""

import csv
import io
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from datetime import date, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any

from rembg_watch.ledger import Billed, By, Spending
from rembg_watch.paths import shoot_of
from rembg_watch.report.words import credits_number, show

HERE = "."
"""The shoot of pictures that lie in the folder itself."""


class Division(StrEnum):
    """What rows stand for."""

    FOLDER = "folder"
    SHOOT = "shoot"
    DAY = "day"
    PICTURE = "picture"

    @property
    def by(self) -> By:
        """What the ledger is asked for."""
        return {"shoot": By.DIRECTORY, "day": By.DAY, "picture": By.PICTURE}.get(self.value, By.FOLDER)

    @property
    def names(self) -> tuple[str, ...]:
        """The columns that say what a row stands for."""
        by_shoot = ("folder", "shoot")
        return {"shoot": by_shoot, "day": ("day",), "picture": (*by_shoot, "picture")}.get(self.value, ("folder",))


FIGURES = ("delivered", "calls", "charged", "doubtful", "in_doubt", "under_way", "refused", "doubles", "repeats")
"""The columns behind them: pictures, calls, credits, credits, and calls of which that is true."""


_NOTHING = Spending()


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What a folder, shoot, day or picture came to; what it does not stand for is None."""

    folder: str | None = None
    day: date | None = None
    shoot: bytes | None = None  # empty: it lies in the folder itself
    picture: bytes | None = None  # the source, relative to its folder
    is_forgotten: bool = False  # pictures that were pruned: neither shoot nor picture is known any more
    delivered: int = 0
    spending: Spending = _NOTHING

    def names(self, division: Division) -> list[str]:
        """Say what the row stands for, a word for each of the division's names; empty: it is not known any more."""
        shoot = None if self.shoot is None else show(self.shoot) or HERE
        words = {
            "folder": self.folder,
            "day": None if self.day is None else self.day.isoformat(),
            "shoot": shoot,
            "picture": None if self.picture is None else show(self.picture),
        }
        return [words[name] or "" for name in division.names]

    def figures(self) -> dict[str, int | Decimal]:
        """Return its figures, by the names of ``FIGURES``."""
        return {"delivered": self.delivered} | {name: getattr(self.spending, name) for name in FIGURES[1:]}


def rows(parts: Iterable[Billed], division: Division, depth_of: Callable[[str], int]) -> list[Row]:
    """
    Make a row of each folder, shoot, day or picture, in the order of their names.

    Args:
        parts: What the ledger answered to ``division.by``.
        division: What rows stand for.
        depth_of: Which level of sub-folder is a shoot, by folder.
    """
    found: dict[tuple[object, ...], Row] = {}
    for part in parts:
        one = _row(part, division, depth_of)
        key = (one.folder, one.day, one.shoot, one.picture, one.is_forgotten)
        found[key] = one if key not in found else _added(found[key], one)
    return sorted(found.values(), key=_place)


def _row(part: Billed, division: Division, depth_of: Callable[[str], int]) -> Row:
    figures: dict[str, Any] = {"delivered": part.delivered, "spending": part.spending}
    if division is Division.DAY:
        return Row(day=None if part.day is None else part.day.date(), **figures)
    if division is Division.FOLDER:
        return Row(folder=part.folder, **figures)
    if part.place is None:
        return Row(folder=part.folder, is_forgotten=True, **figures)
    source = part.place if division is Division.PICTURE else part.place + b"/"
    shoot = shoot_of(source.removeprefix(b"/"), depth_of(part.folder))
    picture = part.place if division is Division.PICTURE else None
    return Row(folder=part.folder, shoot=shoot, picture=picture, **figures)


def _place(row: Row) -> tuple[object, ...]:
    return row.day or date.min, row.folder or "", row.is_forgotten, row.shoot or b"", row.picture or b""


def _added(one: Row, other: Row) -> Row:
    sums = {name.name: getattr(one.spending, name.name) + getattr(other.spending, name.name) for name in _SPENT}
    return Row(
        folder=one.folder,
        day=one.day,
        shoot=one.shoot,
        picture=one.picture,
        is_forgotten=one.is_forgotten,
        delivered=one.delivered + other.delivered,
        spending=Spending(**sums),
    )


_SPENT = fields(Spending)


def total(some: Iterable[Row]) -> Row:
    """Add up rows."""
    found = Row()
    for row in some:
        found = _added(found, row)
    return found


def known_since(parts: Iterable[Billed]) -> date | None:
    """Return from which day on everything is known by shoot and picture; None: nothing of the time was pruned."""
    days = [part.day.date() for part in parts if part.is_forgotten and part.day is not None]
    return max(days) + timedelta(days=1) if days else None


# --- CSV -----------------------------------------------------------------------------------------

# some spreadsheets take the wide characters for the plain ones
_FORMULAS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def inert(text: str) -> str:
    """Return a cell that no spreadsheet takes for a formula (CWE-1236): names of files may be anything."""
    return f"'{text}" if text.startswith(_FORMULAS) else text


def csv_text(some: Iterable[Row], division: Division) -> str:
    """Write rows as RFC 4180 has it: a heading, CR LF, quotes where they are needed; sums are the reader's own."""
    file = io.StringIO(newline="")
    write = csv.writer(file).writerow
    write([*division.names, *FIGURES])
    for row in some:
        write([*map(inert, row.names(division)), *(_cell(value) for value in row.figures().values())])
    return file.getvalue()


def _cell(value: int | Decimal) -> str:
    return f"{value:f}" if isinstance(value, Decimal) else str(value)


# --- JSON ----------------------------------------------------------------------------------------


def plain_values(some: Sequence[Row], division: Division) -> list[dict[str, Any]]:
    """Return rows as JSON values; what is not known any more is null."""
    return [_names(row, division) | figures_values(row) for row in some]


def _names(row: Row, division: Division) -> dict[str, Any]:
    found: dict[str, Any] = {name: word or None for name, word in zip(division.names, row.names(division), strict=True)}
    if row.picture is not None:
        found["picture_hex"] = row.picture.hex()
    return found


def figures_values(row: Row) -> dict[str, Any]:
    """Return the figures of a row as JSON values."""
    return {
        name: credits_number(value) if isinstance(value, Decimal) else value for name, value in row.figures().items()
    }
