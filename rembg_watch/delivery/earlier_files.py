"""
Files of sources that stand in an output already, where several are made of each: by all that can be seen.

That is names and times; nothing is opened. A file that may be of several sources is nobody's. What has the whole
name of its source (``a.jpg.tif``) is given away first, and a short name (``a.tif``) to the only one who lacks it.
"""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from rembg_watch.delivery.earlier import is_newer, listed, unified
from rembg_watch.jobs import Version
from rembg_watch.paths import mirror

_WHOLE, _SHORT = 1, 0  # the places of two names in what ``mirror`` yields

Asking = tuple[bytes, str]
"""A source, and the name of one of its files."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """One of the files that are made of each source."""

    name: str
    extension: str
    place: Callable[[bytes, Version], bytes | None]  # as if it were a source there; None: it cannot be said


@dataclass(frozen=True, slots=True)
class EarlierFiles:
    """What stands of each source, by the names of its files, relative to the output; and what may be of several."""

    found: Mapping[bytes, Mapping[str, bytes]]
    doubtful: frozenset[Asking]


def earlier_files(output: Path, wanted: Sequence[Wanted], sources: Iterable[tuple[bytes, Version]]) -> EarlierFiles:
    """Find what seems to be made of *sources* below *output*: of the names that it would have, and newer than they."""
    standing = _Standing(os.fsencode(output))
    offers: tuple[dict[bytes, list[Asking]], ...] = ({}, {})
    for source, version in sources:
        for one in wanted:
            place = one.place(source, version)
            for which, name in enumerate(islice(mirror(place, one.extension), 2) if place is not None else ()):
                if (stands := standing.find(name, version)) is not None:
                    offers[which].setdefault(stands, []).append((source, one.name))
    return _given(offers)


def _given(offers: Sequence[Mapping[bytes, Sequence[Asking]]]) -> EarlierFiles:
    found: dict[bytes, dict[str, bytes]] = {}
    served: set[Asking] = set()
    taken: set[bytes] = set()
    doubtful: set[Asking] = set()
    for which in (_WHOLE, _SHORT):
        for name, all_of_them in offers[which].items():
            asking = [one for one in all_of_them if one not in served]
            if name in taken or not asking:
                continue
            if len(asking) > 1:
                doubtful.update(asking)
                continue
            [(source, file)] = asking
            found.setdefault(source, {})[file] = name
            served.add((source, file))
            taken.add(name)
    return EarlierFiles(found, frozenset(doubtful - served))


class _Standing:
    """The files of an output; each of its directories is listed once."""

    def __init__(self, output: bytes) -> None:
        self._output = output
        self._listed: dict[bytes, dict[bytes, os.DirEntry[bytes]]] = {}

    def find(self, target: bytes, version: Version) -> bytes | None:
        """Return a name as it is spelled there, if a file stands under it that is newer than a source."""
        parent, slash, name = target.rpartition(b"/")
        if parent not in self._listed:
            self._listed[parent] = listed(self._output, parent)
        entry = self._listed[parent].get(unified(name))
        return parent + slash + entry.name if entry is not None and is_newer(entry, version) else None
