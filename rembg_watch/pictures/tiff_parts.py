"""
A TIFF taken apart: what it says of its picture, and which of its bytes make that picture.

Whoever writes a caption into a TIFF writes all of it anew, with the strips elsewhere: so the picture is its
strips in their order, and what the fields say beside words and places. Fields of unknown programs count, too.
"""

import hashlib
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rembg_watch.pictures import iptc
from rembg_watch.pictures.directories import SIZES, Directory, Field, Tiff
from rembg_watch.pictures.metadata import MOST_BYTES, Metadata, Parts, resolution
from rembg_watch.pictures.reader import Reader
from rembg_watch.pictures.structure import MOST_PARTS
from rembg_watch.pictures.tiff import (
    COMPRESSION,
    EXIF,
    GPS,
    OLD_JPEG,
    OLD_JPEGS,
    STRIP_BYTES,
    STRIPS,
    SUB,
    TILE_BYTES,
    TILES,
    Pieces,
    colours_of,
    pieces,
)

_XMP, _IPTC, _PHOTOSHOP, _PROFILE = 700, 33723, 34377, 34675
_RECORD = b"\x1c"
_RESOLUTION = frozenset({282, 283, 296})
_TEXTS = frozenset({270, 271, 272, 305, 306, 315, 33432, 0x9C9B, 0x9C9C, 0x9C9D, 0x9C9E, 0x9C9F})
"""Description, maker, model, program, time, artist, copyright; the last are Windows' title to subject."""

_NO_PICTURE = frozenset(
    {
        *(_XMP, _IPTC, _PHOTOSHOP, EXIF, GPS, SUB),
        *(STRIPS, TILES),  # they come in by their order
        *_RESOLUTION,
        *_TEXTS,
        *(269, 285, 316, 18246, 18249),  # names of document, page and computer, ratings
        37724,  # Photoshop's layers: what counts is the composite
    }
)
_MAKERS_NOTE, _INTEROP = 37500, 0xA005
"""Makers' notes hold offsets that nobody but the maker knows, so they cannot come along."""

_MOST_VALUE_BYTES = 64 << 10
_MOST_FIELDS = 500
_BLOCK_KINDS = frozenset(range(1, 14))


def read(reader: Reader) -> Parts:
    """Take a TIFF apart; one whose strips cannot be told for sure is all picture."""
    tiff = Tiff(reader)
    first = tiff.directory(tiff.first_at)
    places = pieces(tiff, first)
    metadata = _metadata(tiff, first)
    is_sure = _is_sure(tiff, first, places)
    return Parts(
        metadata=metadata,
        picture=tuple(sorted((at, at + size) for at, size in places.places)) if is_sure else ((0, reader.size_bytes),),
        colours=colours_of(tiff, first),
        states_colours=bool(metadata.profile),
        told=_told(tiff, first, places) if is_sure else b"",
    )


def _is_sure(tiff: Tiff, first: Directory, places: Pieces) -> bool:
    if not places.are_all or OLD_JPEG in first.fields or tiff.number(first, COMPRESSION, 1) == OLD_JPEGS:
        return False
    if not 0 < len(places.places) <= MOST_PARTS or sum(field.size for field in _of_picture(first)) > MOST_BYTES:
        return False
    stretches = sorted(places.places)
    ends = [at + size for at, size in stretches]
    return ends[-1] <= tiff.reader.size_bytes and all(
        end <= at for end, (at, _) in zip(ends, stretches[1:], strict=False)
    )


def _of_picture(first: Directory) -> list[Field]:
    return [field for tag, field in sorted(first.fields.items()) if tag not in _NO_PICTURE]


def _told(tiff: Tiff, first: Directory, places: Pieces) -> bytes:
    """Say what makes the picture beside the bytes of its strips, whatever types the numbers are written in."""
    told = hashlib.sha256(tiff.order.encode())
    for field in _of_picture(first):
        numbers = list(tiff.numbers(field)) if field.tag in (STRIP_BYTES, TILE_BYTES) or field.count < 64 else []
        told.update(b"\n%d %d " % (field.tag, field.count))
        told.update(b",".join(b"%d" % one for one in numbers) or tiff.bytes_of(field, MOST_BYTES))
    order = sorted(range(len(places.places)), key=lambda number: places.places[number])
    if order != sorted(order):
        told.update(b"\norder " + b",".join(b"%d" % one for one in order))
    return told.hexdigest().encode()


# --- what it says ---------------------------------------------------------------------------------


def _metadata(tiff: Tiff, first: Directory) -> Metadata:
    records = _bytes(tiff, first, _IPTC)
    exif = _exif(tiff, first)
    return Metadata(
        profile=_bytes(tiff, first, _PROFILE),
        exif=exif,
        xmp=_bytes(tiff, first, _XMP),
        iptc=records if records[:1] == _RECORD else iptc.of_photoshop(_bytes(tiff, first, _PHOTOSHOP)),
        dpi=resolution(None, exif),
    )


def _bytes(tiff: Tiff, directory: Directory, tag: int) -> bytes:
    field = directory.fields.get(tag)
    return tiff.bytes_of(field, MOST_BYTES) if field is not None else b""


@dataclass(frozen=True, slots=True)
class _Value:
    tag: int
    kind: int
    count: int
    raw: bytes


def _exif(tiff: Tiff, first: Directory) -> bytes:
    """Put what the file says together as the block of EXIF that other formats have."""
    main = list(_values(tiff, first, only=_TEXTS | _RESOLUTION))
    block = bytearray(8)
    for tag in (EXIF, GPS):
        at = tiff.number(first, tag)
        values = list(_values(tiff, tiff.directory(at))) if at else []
        if values:
            main.append(_Value(tag, 4, 1, struct.pack(tiff.order + "I", len(block))))
            block += _directory(tiff.order, values, len(block))
    if not main:
        return b""
    mark = b"II*\0" if tiff.order == "<" else b"MM\0*"
    block[:8] = mark + struct.pack(tiff.order + "I", len(block))
    block += _directory(tiff.order, main, len(block))
    return bytes(block) if len(block) <= MOST_BYTES else b""


def _values(tiff: Tiff, directory: Directory, only: frozenset[int] | None = None) -> Iterator[_Value]:
    for field, _ in zip(directory.fields.values(), range(_MOST_FIELDS), strict=False):
        is_wanted = field.tag in only if only is not None else field.tag not in (_MAKERS_NOTE, _INTEROP)
        raw = tiff.bytes_of(field, _MOST_VALUE_BYTES) if is_wanted and field.kind in _BLOCK_KINDS else b""
        if raw and len(raw) == field.count * SIZES[field.kind]:
            yield _Value(field.tag, field.kind, field.count, raw)


def _directory(order: str, values: Sequence[_Value], at: int) -> bytes:
    far_at = at + 2 + 12 * len(values) + 4
    lines, far = struct.pack(order + "H", len(values)), b""
    for one in sorted(values, key=lambda value: value.tag):
        place = one.raw.ljust(4, b"\0") if len(one.raw) <= 4 else struct.pack(order + "I", far_at + len(far))
        lines += struct.pack(order + "HHI", one.tag, one.kind, one.count) + place
        far += one.raw + bytes(len(one.raw) % 2) if len(one.raw) > 4 else b""
    return lines + bytes(4) + far
