"""
How a picture is to be turned: the one reader of EXIF and XMP for that purpose.

It answers as Pillow's ``exif_transpose`` does, in every detail that a real file may have, since
that is how this program, and most of what people use, understand the tag. It is written here all
the same: Pillow copies every value of a directory to find one, which a hostile file makes as
expensive as it likes, and it would have to open (a WebP: even begin to decode) each picture.
``tests/pictures/test_orientation.py`` compares the two.
"""

import re
import struct
from collections.abc import Iterator

MOST_METADATA_BYTES = 16 << 20
"""As much of an EXIF or XMP block as is looked at."""

XMP_PATTERN = re.compile(rb'tiff:Orientation(?:="|>)([0-9])')

_TAG = 0x0112
_PREFIX = re.compile(rb"(?:Exif\0\0){1,2}")
_ORDERS = {
    b"II*\0": "<",
    b"MM\0*": ">",
    b"II\0*": "<",  # these two are wrong, and are read all the same
    b"MM*\0": ">",
}
_TYPES = {
    1: (1, ""),
    2: (1, ""),
    3: (2, "H"),
    4: (4, "I"),
    5: (8, "II"),
    6: (1, "b"),
    7: (1, ""),
    8: (2, "h"),
    9: (4, "i"),
    10: (8, "ii"),
    11: (4, "f"),
    12: (8, "d"),
    13: (4, "I"),
    16: (8, "Q"),
}
"""Type: how long one value is, and how it is unpacked. Bytes and text are no numbers, so they turn nothing."""


def orientation(exif: bytes | None, xmp: bytes) -> int:
    """
    Say how a picture is to be turned, as EXIF counts it: 1 to 8.

    XMP counts only where EXIF has no such tag, not even one that says nothing.

    Args:
        exif: The EXIF block, with or without its prefix; None if there is none.
        xmp: The XMP block; empty if there is none.
    """
    value = _of_exif(exif) if exif is not None else None
    if value is None:
        found = XMP_PATTERN.search(xmp)
        value = int(found[1]) if found else 1
    return int(value) if value in range(1, 9) else 1


def _of_exif(exif: bytes) -> float | None:
    """Return what the tag says; None if there is no such tag, 0 if it or the whole block cannot be read."""
    prefix = _PREFIX.match(exif)
    tiff = exif[prefix.end() :] if prefix else exif
    if not tiff:
        return None
    order = _ORDERS.get(tiff[:4])
    if order is None or len(tiff) < 8:
        return 0
    for tag, kind, data in _entries(tiff, order):
        if tag == _TAG:
            return _number(order + _TYPES[kind][1], data)
    return None


def _number(layout: str, data: bytes) -> float:
    """Return the first value of an entry."""
    if len(layout) == 1:
        return 0
    first, *rest = struct.unpack_from(layout, data)
    if not rest:
        return float(first)
    (divisor,) = rest
    return float(first / divisor) if divisor else 0


def _entries(tiff: bytes, order: str) -> Iterator[tuple[int, int, bytes]]:
    """Yield tag, type and data of the entries of the first directory, as far as they can be read."""
    (directory_at,) = struct.unpack_from(order + "I", tiff, 4)
    if directory_at + 2 > len(tiff):
        return
    (count,) = struct.unpack_from(order + "H", tiff, directory_at)
    seen: set[int] = set()
    far_bytes = 0
    for at in range(directory_at + 2, directory_at + 2 + 12 * count, 12):
        if at + 12 > len(tiff):
            return
        tag, kind, values = struct.unpack_from(order + "HHI", tiff, at)
        if tag in seen or kind not in _TYPES or not values:
            continue
        size, begin = values * _TYPES[kind][0], at + 8
        if size > 4:
            (begin,) = struct.unpack_from(order + "I", tiff, begin)
            far_bytes += size
            if far_bytes > len(tiff):  # values that overlap: no program writes them
                continue
            if begin + size > len(tiff):
                return
        seen.add(tag)
        yield tag, kind, tiff[begin : begin + min(size, 8)]
