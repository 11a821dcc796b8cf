"""
The first directory of a TIFF, classic or Big, as its entries say it.

Only what fits into an entry or lies within the file is read, and of that only a little.
TIFF 6.0; BigTIFF: Aware Systems.
"""

import struct
from collections.abc import Mapping

from rembg_watch.pictures.reader import Reader

_MAGICS = {b"II*\0": ("<", False), b"MM\0*": (">", False), b"II+\0": ("<", True), b"MM\0+": (">", True)}
_NUMBERS = {1: "B", 3: "H", 4: "I", 16: "Q"}
_MOST_ENTRIES, _MOST_VALUES = 4096, 64

EXTRA_SAMPLES = 338
ASSOCIATED, UNASSOCIATED = 1, 2


def is_tiff(head: bytes) -> bool:
    """Say whether a file begins as a TIFF does."""
    return head[:4] in _MAGICS


def numbers(reader: Reader) -> Mapping[int, tuple[int, ...]]:
    """Return the whole numbers of the first directory by their tags: the first few of each."""
    order, is_big = _MAGICS.get(reader.head[:4], ("", False))
    found: dict[int, tuple[int, ...]] = {}
    if not order:
        return found
    word, count_word, entry_bytes = ("Q", "Q", 20) if is_big else ("I", "H", 12)
    (at,) = reader.unpack(order + word, 8 if is_big else 4) or (0,)
    (count,) = reader.unpack(order + count_word, at) or (0,)
    at += struct.calcsize(count_word)
    for number in range(min(count, _MOST_ENTRIES)):
        begin = at + entry_bytes * number
        tag, kind, values = reader.unpack(f"{order}HH{word}", begin) or (0, 0, 0)
        if kind in _NUMBERS and values:
            where = begin + 4 + struct.calcsize(word)
            found.setdefault(
                tag, _values(reader, order, word, where, _NUMBERS[kind], min(values, _MOST_VALUES), values)
            )
    return found


def _values(reader: Reader, order: str, word: str, where: int, layout: str, count: int, stated: int) -> tuple[int, ...]:
    if stated * struct.calcsize(layout) > struct.calcsize(word):
        (where,) = reader.unpack(order + word, where) or (0,)
    return reader.unpack(f"{order}{count}{layout}", where) or ()
