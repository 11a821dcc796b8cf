"""
Where a setting stands: the line of the file, or the environment variable, that gave it.

The lines are found by a light reading of the text beside the real TOML parser: a
setting in an inline table or under a quoted key may have no line of its own, and is
then told with its table's.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeVar

Found = TypeVar("Found")
Loc = tuple[str | int, ...]
"""The way to a setting from the top: ``("folders", 1, "options", "w")``."""

_HEADER = re.compile(r"^\s*(\[\[?)\s*([^\[\]]+?)\s*\]\]?\s*(?:#.*)?$")
_ENTRY = re.compile(r"""^\s*((?:[\w-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[\w-]+|"[^"]*"|'[^']*'))*)\s*=""")
_PART = re.compile(r"""[\w-]+|"[^"]*"|'[^']*'""")


def _parts(dotted: str) -> list[str]:
    return [part.strip("\"'") for part in _PART.findall(dotted)]


def lines(text: str) -> dict[Loc, int]:
    """Find the line, counted from 1, on which each table and key of *text* begins."""
    found: dict[Loc, int] = {}
    count: dict[Loc, int] = {}  # how many [[tables]] of a name were seen
    table: Loc = ()
    for number, line in enumerate(text.splitlines(), start=1):
        if header := _HEADER.match(line):
            table = _enter(_parts(header[2]), count, is_array=header[1] == "[[")
            found.setdefault(table, number)
        elif entry := _ENTRY.match(line):
            found.setdefault((*table, *_parts(entry[1])), number)
    return found


def _enter(names: Sequence[str], count: dict[Loc, int], *, is_array: bool) -> Loc:
    table: Loc = ()
    for position, name in enumerate(names):
        table = (*table, name)
        if is_array and position == len(names) - 1:
            count[table] = count.get(table, 0) + 1
        if table in count:
            table = (*table, count[table] - 1)
    return table


def dotted(loc: Loc) -> str:
    """Write *loc* as it stands in the file: ``[pool] workers``, ``[folders.options] w``."""
    names = [str(part) for part in loc if not isinstance(part, int)]
    if not names:
        return ""
    if loc[0] == "folders" and len(names) <= 2:
        return " ".join(["[[folders]]", *names[1:]])
    if len(names) == 1:
        return names[0]
    return f"[{'.'.join(names[:-1])}] {names[-1]}"


class Origins:
    """Tell where the settings of one configuration came from."""

    def __init__(
        self,
        path: Path | None = None,
        text: str = "",
        *,
        variables: Mapping[Loc, str] | None = None,
        names: Mapping[int, str] | None = None,
    ) -> None:
        self._path = path
        self._lines = lines(text)
        self._variables = variables or {}
        self._names = names or {}

    def where(self, loc: Loc) -> str:
        """Name the environment variable, or file, line and key, that gave *loc*."""
        if variable := _longest(self._variables, loc):
            return variable if loc in self._variables else f"{variable} {dotted(loc)}"
        line = _longest(self._lines, loc)
        file = "" if self._path is None else f"{self._path}:{line} " if line else f"{self._path} "
        return f"{file}{dotted(loc)}{self._owner(loc)}".strip()

    def _owner(self, loc: Loc) -> str:
        if len(loc) < 2 or not isinstance(loc[1], int):
            return ""
        name = self._names.get(loc[1])
        return f" ({name!r})" if name else f" (number {loc[1] + 1})"


def _longest(places: Mapping[Loc, Found], loc: Loc) -> Found | None:
    steps = (loc[:length] for length in range(len(loc), 0, -1))
    return next((places[step] for step in steps if step in places), None)
