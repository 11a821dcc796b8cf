"""
The one door to libvips: loaded when it is first needed, and told how much of the machine it may use.

It comes with the extra ``pictures``. Only processes that decode for the daemon load it, never the daemon itself:
it reads what came from a stranger's camera.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from rembg_watch.errors import RembgWatchError

Picture = Any
"""A picture of libvips, which has no types of its own: computed when somebody reads it."""

Library = Any

THREADS = "2"
"""
Bounds the pixels in flight: every further thread holds strips of its own. Two of them hide reading behind
computing; pictures beside each other use the other processors.
"""


class MissingLibraryError(RembgWatchError):
    """What reads or writes pictures of this kind is not installed."""


@cache
def vips() -> Library:
    """
    Return the module ``pyvips``.

    Raises:
        MissingLibraryError: It is not installed, or its library is not.
    """
    os.environ.setdefault("VIPS_CONCURRENCY", THREADS)
    try:
        import pyvips
    except (ImportError, OSError) as error:
        raise MissingLibraryError(
            f"It needs libvips: pip install 'rembg-watch[pictures]' ({type(error).__name__}: {error})"
        ) from error
    pyvips.cache_set_max(0)  # results of operations are never wanted twice, and would keep files open
    return pyvips


def heif() -> Library:
    """
    Return the module ``pillow_heif``.

    Raises:
        MissingLibraryError: It is not installed.
    """
    try:
        import pillow_heif
    except (ImportError, OSError) as error:
        raise MissingLibraryError(
            f"HEIC pictures need libheif: pip install 'rembg-watch[pictures,heif]' ({type(error).__name__}: {error})"
        ) from error
    return pillow_heif


def from_rows(data: bytes, width: int, height: int, bands: int, kind: str) -> Picture:
    """Make a picture of rows that lie in memory: ``uchar`` or ``ushort``, in this machine's byte order."""
    return vips().Image.new_from_memory(data, width, height, bands, kind)


@contextmanager
def as_file(data: bytes) -> Iterator[str]:
    """Lend bytes a name, for what takes files alone; no disk has to have room for them."""
    fd = os.memfd_create("rembg-watch", os.MFD_CLOEXEC)
    try:
        with os.fdopen(os.dup(fd), "wb") as file:
            file.write(data)
        yield f"/proc/self/fd/{fd}"
    finally:
        os.close(fd)
