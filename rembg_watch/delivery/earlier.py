"""
Cut-outs of sources that stand in an output already, by all that can be seen: their names and their times.

Nothing is opened. A whole directory is listed at once, so that a hundred thousand sources take seconds.
"""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby, islice
from pathlib import Path

from rembg_watch.api.params import Format
from rembg_watch.jobs import Version
from rembg_watch.paths import collision_key, is_staging_name, mirror

FEW = 3
"""Fewer are a coincidence, whatever part of the pictures they are."""

MANY = 20
"""So many are none, however many pictures there are beside them."""

_NAMES = 2  # of each format: the best one, and the one that a second source of that name gets


@dataclass(frozen=True, slots=True, kw_only=True)
class Earlier:
    """A source, and what seems to be its cut-out."""

    source: bytes
    target: bytes


def is_telling(delivered: int, pictures: int) -> bool:
    """Say whether so many cut-outs beside so many pictures are no coincidence."""
    return delivered >= FEW and (delivered >= MANY or 2 * delivered >= pictures)


def earlier(output: Path, sources: Iterable[tuple[bytes, Version]]) -> Iterator[Earlier]:
    """Yield those of *sources* that have what seems to be their cut-out below *output*: mirrored, and newer."""
    by_directory = sorted(sources, key=lambda one: one[0].rpartition(b"/")[::2])
    for parent, some in groupby(by_directory, key=lambda one: one[0].rpartition(b"/")[0]):
        files = listed(os.fsencode(output), parent)
        for source, version in some if files else ():
            found = _cutout(source, version, files)
            if found is not None:
                yield Earlier(source=source, target=parent + b"/" + found if parent else found)


def _cutout(source: bytes, version: Version, files: dict[bytes, "os.DirEntry[bytes]"]) -> bytes | None:
    for name in _names(source):
        entry = files.get(unified(name.rpartition(b"/")[2]))
        if entry is not None and is_newer(entry, version):
            del files[unified(entry.name)]  # of two sources with one name, it is the cut-out of one
            return entry.name
    return None


def _names(source: bytes) -> Iterator[bytes]:
    candidates = [list(islice(mirror(source, one.extension), _NAMES)) for one in Format]
    for names in zip(*candidates, strict=True):
        yield from names


def is_newer(entry: "os.DirEntry[bytes]", version: Version) -> bool:
    """Say if it is a file with something in it that is as new as a source."""
    try:
        found = entry.stat(follow_symlinks=False)
        return entry.is_file(follow_symlinks=False) and found.st_size > 0 and found.st_mtime_ns >= version.mtime_ns
    except OSError:
        return False


def listed(output: bytes, parent: bytes) -> dict[bytes, "os.DirEntry[bytes]"]:
    """List the files of one directory, by names without case and Unicode form; nothing where that cannot be done."""
    try:
        with os.scandir(os.path.join(output, parent)) as entries:  # noqa: PTH118 - bytes
            return {unified(entry.name): entry for entry in entries if not is_staging_name(entry.name)}
    except OSError:
        return {}


def unified(name: bytes) -> bytes:
    """Return a name without case and Unicode form."""
    return name.lower() if name.isascii() else collision_key(name)
