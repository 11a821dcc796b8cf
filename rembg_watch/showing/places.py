"""
Where the files of a picture stand, and that they do: below the roots of their folder, and nowhere else.

Addresses name a picture by its number and a file by a word. Whatever a path in the ledger, or a link on the disk,
says: what is opened lies below its root, or it is not there.
"""

import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import BinaryIO

from rembg_watch.config import FolderSettings
from rembg_watch.config.delivering import DeliverableSettings
from rembg_watch.decide import is_waiting
from rembg_watch.delivery.masters import MASTERS_NAME
from rembg_watch.delivery.spool import SPOOL_NAME
from rembg_watch.delivery.thumbnails import THUMBNAILS_NAME
from rembg_watch.jobs import Job, State
from rembg_watch.ledger import Made, MadeState
from rembg_watch.pictures.deliverable import Canvas, FileFormat

BEFORE, AFTER = "before", "after"

_SHOWN_BEST = (".webp", ".png", ".avif", ".jpg", ".jpeg")


class NotThereError(Exception):
    """There is no such file, or none that may be shown."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a file may stand."""

    root: Path
    relative: bytes
    size_bytes: int | None = None  # it is another one if it has another size
    mtime_ns: int | None = None  # likewise


def places(
    job: Job,
    folder: FolderSettings,
    made: Mapping[str, Made],
    side: str,
    *,
    state_dir: Path,
    recipes: Mapping[str, DeliverableSettings] = MappingProxyType({}),
) -> Iterator[Place]:
    """
    Name where one side of a picture may stand, the likeliest place first; a side is also a deliverable's name.

    Of several files that came of it, one is shown that can lie over the picture, if *recipes* say that there is one.
    A cut-out that waits for a person stands in no output yet, but where the daemon keeps what was paid for.
    """
    if side == BEFORE:
        size = job.version.size_bytes
        yield Place(folder.input, job.source, size, job.version.mtime_ns)
        if folder.done is not None:
            yield Place(folder.done, job.source, size)
        if folder.failed is not None and job.state is State.FAILED:
            yield Place(folder.failed, job.source, size)
        if job.content_key is not None:
            key = os.fsencode(job.content_key)
            yield Place(state_dir / THUMBNAILS_NAME, key[:2] + b"/" + key)
    elif side == AFTER:
        standing = [(one.target, name) for name, one in made.items() if one.state is MadeState.STANDING and one.target]
        for target, _ in sorted(standing, key=lambda one: _how_hard_to_compare(one[0], recipes.get(one[1]))):
            yield Place(folder.output, target)
        if job.target is not None and job.state is State.DONE:
            yield Place(folder.output, job.target)
        if is_waiting(job) and job.content_key is not None:
            key = os.fsencode(job.content_key)
            yield Place(state_dir / SPOOL_NAME, key, job.answer_bytes)
            yield Place(state_dir / MASTERS_NAME, key[:2] + b"/" + key, job.answer_bytes)
    elif side in made and made[side].target is not None:
        yield Place(folder.output, made[side].target or b"")


def _how_hard_to_compare(target: bytes, recipe: DeliverableSettings | None) -> tuple[bool, bool, int]:
    """Say how much the background, the framing and the format of a file keep from whoever holds it to the original."""
    how_hard = _how_hard_to_show(target)
    if recipe is None:  # it is none of the configuration's any more
        return True, True, how_hard
    is_filled = recipe.background is not None or recipe.format is FileFormat.JPEG
    return is_filled, recipe.canvas is not Canvas.SOURCE, how_hard


def _how_hard_to_show(target: bytes) -> int:
    ending = os.path.splitext(os.fsdecode(target))[1].lower()  # noqa: PTH122 - of a path that need not be UTF-8
    return _SHOWN_BEST.index(ending) if ending in _SHOWN_BEST else len(_SHOWN_BEST)


def open_at(place: Place) -> BinaryIO:
    """
    Open the file at a place for reading.

    Raises:
        NotThereError: There is none, or another one, or it lies elsewhere.
    """
    path = os.path.join(os.fsencode(place.root), place.relative)  # noqa: PTH118 - bytes
    try:
        # a pipe must not be waited for, and a terminal not become ours
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except (OSError, ValueError) as error:
        raise NotThereError(str(error)) from error
    try:
        _refuse_others(fd, place)
    except (NotThereError, OSError) as error:
        os.close(fd)
        raise NotThereError(str(error)) from error
    return os.fdopen(fd, "rb")


def _refuse_others(fd: int, place: Place) -> None:
    found = os.fstat(fd)
    if not stat.S_ISREG(found.st_mode):
        raise NotThereError("it is no file")
    if place.size_bytes not in (None, found.st_size) or place.mtime_ns not in (None, found.st_mtime_ns):
        raise NotThereError("another one stands there by now")
    real = os.fsencode(Path(f"/proc/self/fd/{fd}").readlink())  # of what was opened, whatever its name means by now
    root = os.path.realpath(os.fsencode(place.root))
    if not real.startswith(root.rstrip(b"/") + b"/"):
        raise NotThereError("it lies elsewhere")
