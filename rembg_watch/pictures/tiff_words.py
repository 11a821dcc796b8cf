"""
Put the words of EXIF and IPTC into a TIFF that libvips has written: who made the picture, and whose it is.

A TIFF is EXIF's own structure, so its directory takes the entries and gets sub-directories. What is there stays where
it is; the new directory comes to the end of the file. Numbers are turned into the file's byte order; makers' notes
are left out, since their offsets would be wrong at any other place. TIFF 6.0; EXIF: DC-008-2023.
"""

import errno
import os
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

_OUR_MAGIC = b"II*\0"
_ORDERS = {b"II*\0": "<", b"MM\0*": ">"}
_ITEMS = {1: 1, 2: 1, 3: 2, 4: 4, 5: 4, 6: 1, 7: 1, 8: 2, 9: 4, 10: 4, 11: 4, 12: 8}
_PAIRS = frozenset({5, 10})
_MOST_ENTRIES = 1000

_EXIF, _GPS, _INTEROP, _IPTC = 0x8769, 0x8825, 0xA005, 0x83BB
_UNDEFINED = 7
_POINTERS = frozenset({_EXIF, _GPS, _INTEROP})
_MAKER_NOTE, _PADDING, _PRINT_MATCHING = 0x927C, 0xEA1C, 0xC4A5
_LEFT_OUT = _POINTERS | {_MAKER_NOTE, _PADDING, _PRINT_MATCHING}

_WORDS = frozenset(
    {
        *(0x010E, 0x010F, 0x0110, 0x0131, 0x0132, 0x013B, 0x8298),  # what it shows, camera, program, when, who, whose
        *(0x4746, 0x4749),  # ratings
        *range(0x9C9B, 0x9CA0),  # title, comment, author, keywords and subject, as Windows writes them
        *(0xA430, 0xA431, 0xA434, 0xA435),
    }
)
"""Of the first directory: all else there says how its own picture is stored, or is not true of this one."""


@dataclass(frozen=True, slots=True)
class _Entry:
    tag: int
    kind: int
    count: int
    value: bytes  # in the file's order, as long as it is


def add_words(file: int, exif: bytes, iptc: bytes) -> None:
    """
    Put what EXIF and IPTC say into a TIFF, open for reading and writing, that has one directory.

    Args:
        file: As libvips writes it; another one is left as it is.
        exif: The block, as it is true of the TIFF's picture; what cannot be read of it is left out.
        iptc: The records; libvips writes a quarter of them.
    """
    head = os.pread(file, 8, 0)
    if head[:4] != _OUR_MAGIC:
        return
    end = os.fstat(file).st_size
    body = bytearray(b"\0" * (end % 2))
    words = _words_of(exif, end, body)
    if iptc:
        words.append(_Entry(_IPTC, _UNDEFINED, len(iptc), iptc))
    if words:
        _extend(file, head, words, end, body)


def _words_of(exif: bytes, end: int, body: bytearray) -> list[_Entry]:
    """Return the entries of the first directory; others go into *body*, which comes to stand at *end*."""
    order = _ORDERS.get(exif[:4])
    if order is None or len(exif) < 8:
        return []
    (at,) = struct.unpack_from(order + "I", exif, 4)
    first = _directory(exif, order, at)
    words = [one for one in first if one.tag in _WORDS]
    for tag in (_EXIF, _GPS):
        pointed = _directory(exif, order, _place(first, tag))
        inner = _directory(exif, order, _place(pointed, _INTEROP))
        pointed = [one for one in pointed if one.tag not in _LEFT_OUT]
        if inner:
            pointed.append(_long(_INTEROP, end + len(body)))
            body += _laid(inner, end + len(body))
        if pointed:
            words.append(_long(tag, end + len(body)))
            body += _laid(pointed, end + len(body))
    return words


def _extend(file: int, head: bytes, words: Iterable[_Entry], end: int, body: bytearray) -> None:
    (at,) = struct.unpack_from("<I", head, 4)
    (count,) = struct.unpack("<H", os.pread(file, 2, at))
    stored = os.pread(file, 12 * count, at + 2)
    lines = {struct.unpack_from("<H", stored, at)[0]: stored[at : at + 12] for at in range(0, len(stored), 12)}
    ours = [one for one in words if one.tag not in lines]
    new_at = end + len(body)
    body += _laid(ours, new_at, lines)
    if end + len(body) >= 1 << 32:
        return
    if os.pwrite(file, body, end) != len(body):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    os.pwrite(file, struct.pack("<I", new_at), 4)


def _long(tag: int, value: int) -> _Entry:
    return _Entry(tag, 4, 1, struct.pack("<I", value))


def _place(entries: Iterable[_Entry], tag: int) -> int:
    return next((struct.unpack("<I", one.value)[0] for one in entries if one.tag == tag and len(one.value) == 4), 0)


def _directory(exif: bytes, order: str, at: int) -> list[_Entry]:
    """Read a directory with its values, turned into the byte order of the file; broken entries are left out."""
    if not 8 <= at <= len(exif) - 2:
        return []
    (count,) = struct.unpack_from(order + "H", exif, at)
    found: dict[int, _Entry] = {}
    left = len(exif)
    for begin in range(at + 2, at + 2 + 12 * min(count, _MOST_ENTRIES), 12):
        if begin + 12 > len(exif):
            break
        tag, kind, values = struct.unpack_from(order + "HHI", exif, begin)
        size = values * _ITEMS.get(kind, 0) * (2 if kind in _PAIRS else 1)
        where = begin + 8
        if size > 4:
            (where,) = struct.unpack_from(order + "I", exif, where)
        left -= size  # values that overlap would make a small block a large file
        if tag not in found and size and where + size <= len(exif) and left >= 0:
            value = _ordered(exif[where : where + size], _ITEMS[kind], order)
            found[tag] = _Entry(tag, kind, values, value)
    return list(found.values())


def _ordered(value: bytes, item: int, order: str) -> bytes:
    if order == "<" or item == 1:
        return value
    return b"".join(value[at : at + item][::-1] for at in range(0, len(value), item))


def _laid(entries: Iterable[_Entry], at: int, lines: Mapping[int, bytes] | None = None) -> bytes:
    """Lay a directory out that stands at *at*, with its values behind it; *lines* are entries as they are stored."""
    made, values = dict(lines or {}), b""
    entries = list(entries)
    values_at = at + 2 + 12 * (len(made) + len(entries)) + 4
    for one in entries:
        value = one.value.ljust(4, b"\0")
        if len(one.value) > 4:
            value = struct.pack("<I", values_at + len(values))
            values += one.value + b"\0" * (len(one.value) % 2)
        made[one.tag] = struct.pack("<HHI", one.tag, one.kind, one.count) + value
    body = b"".join(line for _, line in sorted(made.items()))
    return struct.pack("<H", len(made)) + body + bytes(4) + values
