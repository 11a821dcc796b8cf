"""
What kind of picture an open file holds, and whether it is whole: reads as little of it as that takes.

What the bytes mean is decided in ``formats``; the one look for which a picture is decoded is in ``decoding``.
"""

import os

from rembg_watch.pictures import formats
from rembg_watch.pictures.decoding import decodes
from rembg_watch.pictures.reader import Reader


def inspect(fd: int, *, reads_more: bool = False) -> formats.Look:
    """Say what kind of file an open one is, and whether it is whole; nobody is told how it is to be turned."""
    return formats.inspect(reader_of(fd), reads_more=reads_more)


def inspect_to_the_end(fd: int, *, reader: Reader | None = None, reads_more: bool = False) -> formats.Look:
    """
    Say all that there is to say of an open file, its orientation too.

    If its parts do not say that it is whole, a decoder has the last word.

    Args:
        fd: The file.
        reader: Of this file, if whoever asks has one.
        reads_more: What the service does not take is looked into, too.

    Raises:
        UndecidedError: The decoder cannot be asked now.
    """
    reader = reader or reader_of(fd)
    look = formats.inspect(reader, wants_orientation=True, reads_more=reads_more)
    if formats.may_be_decoded(look, reader.size_bytes, reads_more=reads_more) and _is_decoded(fd, look):
        return formats.finished(look)
    return look


def _is_decoded(fd: int, look: formats.Look) -> bool:
    if look.kind is not None:
        return decodes(fd, look.kind.upper(), formats.MAX_SIDE_PX)
    return look.read_kind is not None and decodes(fd, look.read_kind.upper(), formats.MOST_READ_SIDE_PX)


def reader_of(fd: int) -> Reader:
    """Read an open file where it is asked for."""
    return Reader(lambda count, at: os.pread(fd, count, at), os.fstat(fd).st_size)
