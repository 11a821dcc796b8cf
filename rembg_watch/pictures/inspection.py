"""
What kind of picture an open file holds, and whether it is whole: reads as little of it as that takes.

What the bytes mean is decided in ``formats``; nothing is decoded here.
"""

import os
from collections.abc import Iterator

from rembg_watch.pictures import formats

_BLOCK_BYTES = 1 << 20


def inspect(fd: int) -> formats.Look:
    """Say what kind of file an open one is, from its two ends."""
    size_bytes = os.fstat(fd).st_size
    tail = os.pread(fd, formats.TAIL_BYTES, max(0, size_bytes - formats.TAIL_BYTES))
    found = formats.inspect(os.pread(fd, formats.HEAD_BYTES, 0), tail, size_bytes)
    if found.kind is None or found.width_px:
        return found
    return formats.inspect(os.pread(fd, formats.LONG_HEAD_BYTES, 0), tail, size_bytes)


def inspect_to_the_end(fd: int) -> formats.Look:
    """
    Say what kind of file an open one is, and search all of a JPEG whose tail shows no end.

    Some cameras append a film to a picture, or a second one: it is whole all the same.
    """
    look = inspect(fd)
    if look.is_whole or not look.data_at or not formats.has_jpeg_end(_data(fd, look.data_at)):
        return look
    return formats.finished(look)


def _data(fd: int, offset: int) -> Iterator[bytes]:
    while block := os.pread(fd, _BLOCK_BYTES, offset):
        yield block
        offset += len(block)
