"""
Small pictures of originals that are about to be deleted: afterwards a page has no other way to show what there was.

Nothing depends on them: one that cannot be made is not there, and the oldest go where there are too many.
"""

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from rembg_watch.errors import RembgWatchError
from rembg_watch.host.cache import Cache
from rembg_watch.host.disk import is_version
from rembg_watch.jobs import Job

THUMBNAILS_NAME = "thumbnails"
"""Their directory, below the state directory."""

PX = 360

View = Callable[..., object]
"""Makes a view of an open source in an open file, given a third file and *px*: ``Decoders.view``."""


class Thumbnails:
    """Keeps small pictures of originals; safe to share between threads."""

    def __init__(self, cache: Cache | None = None, view: View | None = None) -> None:
        self._cache = cache  # None: nobody would look at them
        self._view = view

    def keep(self, source: Path, job: Job) -> None:
        """Keep a small picture of a job's original, if it stands there in the job's version and can be shown."""
        if self._cache is None or self._view is None or job.content_key is None:
            return
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        with contextlib.suppress(RembgWatchError, OSError, MemoryError):
            fd = os.open(source, flags)
            with os.fdopen(fd, "rb") as file, _in_memory() as output, _in_memory() as scratch:
                if not is_version(os.fstat(file.fileno()), job.version):
                    return
                self._view(file, output, scratch, px=PX)
                output.seek(0)
                self._cache.keep(job.content_key, output.read())


def _in_memory() -> BinaryIO:
    return os.fdopen(os.memfd_create("thumbnail", os.MFD_CLOEXEC), "w+b")
