"""
Views of pictures: from the cache, or made now in a child process that holds nothing.

Several who ask for the same view wait for one that makes it. A share that does not answer holds up a few threads
and no more: whoever asks for its pictures then is told at once.
"""

import hashlib
import io
import os
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from rembg_watch.delivery.decoders import Decoders
from rembg_watch.host.cache import Cache
from rembg_watch.pictures.view import WHOLE
from rembg_watch.showing.places import NotThereError, Place, open_at

SIZES = {"small": 360, "large": 1600, "whole": WHOLE}
"""The longer side of each kind of view, in pixels."""

VERSION = 2
"""Counts how views are made: of an older way none is served."""

_SILENT_S = 5.0
_HUNG_MOST = 2


class AwayError(Exception):
    """The disk or share of a picture does not answer."""


class Views:
    """Makes views and keeps them; safe to share between threads."""

    def __init__(self, cache: Cache | None, decoders: Decoders) -> None:
        self._cache = cache  # None: there is no place to keep any
        self._decoders = decoders
        self._lock = threading.Lock()  # guards the two below
        self._making: dict[str, threading.Lock] = {}
        self._opening: dict[tuple[Path, int], float] = {}

    def view(self, places: Sequence[Place], size: str) -> bytes:
        """
        Return a view of the file at the first place where one stands.

        Raises:
            NotThereError: It stands nowhere.
            AwayError: Its disk does not answer.
            NoViewError: It cannot be shown.
            OSError, MemoryError: Not now.
        """
        for place in places:
            try:
                source = self._opened(place)
            except NotThereError:
                continue
            with source:
                return self._of(source, size)
        raise NotThereError("there is no such file")

    def _opened(self, place: Place) -> BinaryIO:
        me, now_s = (place.root, threading.get_ident()), time.monotonic()
        with self._lock:
            hung = [one for (root, _), one in self._opening.items() if root == place.root and now_s - one > _SILENT_S]
            if len(hung) >= _HUNG_MOST:
                raise AwayError(f"{place.root} does not answer")
            self._opening[me] = now_s
        try:
            return open_at(place)
        finally:
            with self._lock:
                del self._opening[me]

    def _of(self, source: BinaryIO, size: str) -> bytes:
        found = os.fstat(source.fileno())
        what = (VERSION, size, found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)
        key = hashlib.sha256(repr(what).encode()).hexdigest()
        with self._only_one(key):
            known = self._cache.find(key) if self._cache is not None else None
            return known if known is not None else self._made(source, key, SIZES[size])

    @contextmanager
    def _only_one(self, key: str) -> Iterator[None]:
        with self._lock:
            mine = self._making.setdefault(key, threading.Lock())  # guards one view, while it is made
        with mine:
            try:
                yield
            finally:
                with self._lock:
                    self._making.pop(key, None)

    def _made(self, source: BinaryIO, key: str, px: int) -> bytes:
        with _in_memory() as output, _in_memory() as scratch:
            self._decoders.view(source, output, scratch, px=px)
            output.seek(0)
            view = output.read()
        if self._cache is not None:
            self._cache.keep(key, view)
        return view


def _in_memory() -> io.BufferedRandom:
    return os.fdopen(os.memfd_create("view", os.MFD_CLOEXEC), "w+b")
