"""
What goes with an original that was moved: its side files, and the folders that it left empty.

Both are asked for by a folder's settings. Whether the original was moved is decided by the caller
(``pipeline.afterwards``); how a file is moved is in ``originals``.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from rembg_watch.delivery import originals
from rembg_watch.host import disk
from rembg_watch.host.disk import Step, no_step
from rembg_watch.jobs import Version
from rembg_watch.paths import collision_key, is_junk

SIDE_FILES = (b".xmp",)
"""What editors write beside a picture: ``a.xmp`` or ``a.jpg.xmp``."""


def take_side_files(root: Path, source: bytes, done_root: Path, *, step: Step = no_step) -> list[bytes]:
    """
    Move the side files of a *source* that was moved to *done_root* after it; return their names there.

    ``a.xmp`` stays as long as another picture of that name does: it may be the RAW's.

    Raises:
        DeliveryError: One of the folders refuses; what was not moved is where it was.
    """
    moved = []
    for side, version in _side_files(root, source):
        disposed = originals.dispose(root, side, version, "move", done_root=done_root, step=step)
        if disposed.place is not None:
            moved.append(disposed.place)
            step("side file moved")
    return moved


def _side_files(root: Path, source: bytes) -> list[tuple[bytes, Version]]:
    parent, name = disk.split(source)
    with disk.root_directory(root) as root_fd:
        try:
            with disk.directory(root_fd, parent) as dir_fd, os.scandir(dir_fd) as entries:
                names = [os.fsencode(entry.name) for entry in entries]
                looks = [(side, disk.look(dir_fd, side)) for side in _named_after(name, names)]
        except OSError:  # it is gone with the picture, or cannot be read now
            return []
    above = parent + b"/" if parent else b""
    return [(above + side, disk.version_of(found)) for side, found in looks if found is not None]


def _named_after(name: bytes, names: list[bytes]) -> Iterator[bytes]:
    stem = _stem(name)
    others = {collision_key(_stem(one)) for one in names if not one.lower().endswith(SIDE_FILES) and not is_junk(one)}
    for one in names:
        if not one.lower().endswith(SIDE_FILES):
            continue
        picture = collision_key(_stem(one))
        if picture == collision_key(name) or (picture == collision_key(stem) and picture not in others):
            yield one


def _stem(name: bytes) -> bytes:
    stem, dot, _ = name.rpartition(b".")
    return stem if dot and stem else name


def remove_emptied(root: Path, source: bytes) -> int:
    """Remove the directory that *source* was moved from if it is empty now, and those above it; never the root."""
    removed = 0
    parent = disk.split(source)[0]
    with contextlib.suppress(OSError, disk.DeliveryError), disk.root_directory(root) as root_fd:
        while parent:
            above, name = disk.split(parent)
            with disk.directory(root_fd, above) as dir_fd:
                os.rmdir(name, dir_fd=dir_fd)  # refuses what is not empty, and links
                disk.sync_directory(dir_fd)
            removed += 1
            parent = above
    return removed
