"""
A HEIC, HEIF or AVIF taken apart: what it says of its picture, and which of its bytes make that picture.

Whoever writes a caption moves everything else: so the picture is what its items hold, but for words, and what the
lists say of them. Of a sequence all bytes count.
"""

import hashlib
from itertools import pairwise

from rembg_watch.pictures.exif import without_prefix
from rembg_watch.pictures.heif import Box, Extent, Items, items_of, top
from rembg_watch.pictures.metadata import MOST_BYTES, Metadata, Parts, resolution
from rembg_watch.pictures.reader import Reader

_PROFILES = (b"prof", b"rICC")
_EXIF, _XMP = b"Exif", b"mime"
_WORDS = frozenset({_EXIF, _XMP})
_DESCRIBES = b"cdsc"
_PACKET = (b"<?xpacket", b"<x:xmpmeta", b"<rdf:RDF")


def read(reader: Reader) -> Parts:
    """Take it apart, as far as its lists go."""
    parts = top(reader)
    meta = parts.get(b"meta")
    items = items_of(reader, meta) if meta is not None else Items()
    profile = _profile(reader, items)
    exif = _exif(reader, items)
    metadata = Metadata(profile=profile, exif=exif, xmp=_xmp(reader, items), dpi=resolution(None, exif))
    pieces = sorted(_pieces(items), key=lambda one: one[1].at)
    is_sure = b"moov" not in parts and _is_sure(reader, items, [one for _, one in pieces])
    return Parts(
        metadata=metadata,
        picture=tuple((one.at, one.at + one.size) for _, one in pieces) if is_sure else ((0, reader.size_bytes),),
        colours="RGB",
        states_colours=bool(profile),
        told=_told(reader, items, pieces) if is_sure else b"",
    )


def _pieces(items: Items) -> list[tuple[int, Extent]]:
    """List where each item of the picture is, and which item it is."""
    return [
        (number, Extent(one.at + items.data_at * one.is_in_meta, one.size))
        for number, places in items.places.items()
        for one in places
        if items.kinds.get(number) not in _WORDS
    ]


def _is_sure(reader: Reader, items: Items, pieces: list[Extent]) -> bool:
    if not items.places.get(items.primary) or items.kinds.get(items.primary) in _WORDS:
        return False
    if sum(box.end - box.at for box in (*items.properties, *items.references)) > MOST_BYTES:
        return False
    is_in_order = all(one.at + one.size <= other.at for one, other in pairwise(pieces))
    return is_in_order and all(one.size and one.at + one.size <= reader.size_bytes for one in pieces)


def _told(reader: Reader, items: Items, pieces: list[tuple[int, Extent]]) -> bytes:
    """Say what makes the picture beside what its items hold: what they are, what they look like, how they belong."""
    told = hashlib.sha256(b"%d" % items.primary)
    for number, one in pieces:
        told.update(b"\n%d %d %b %b" % (number, one.size, items.kinds.get(number, b""), _list(items.owned.get(number))))
    for number in sorted(set(items.kinds) - {number for number, _ in pieces}):  # made of others, as a grid is
        if items.kinds[number] not in _WORDS:
            told.update(b"\n%d %b %b" % (number, items.kinds[number], _list(items.owned.get(number))))
    for box in (*items.properties, *(one for one in items.references if one.name != _DESCRIBES)):
        told.update(b"\n%b %b" % (box.name, _content(reader, box)))
    return told.hexdigest().encode()


def _list(numbers: list[int] | None) -> bytes:
    return b",".join(b"%d" % one for one in numbers or ())


def _content(reader: Reader, box: Box) -> bytes:
    return reader.read(box.at, max(0, box.end - box.at))


def _profile(reader: Reader, items: Items) -> bytes:
    for box in items.of_primary(b"colr"):
        if reader.read(box.at, 4) in _PROFILES and box.end - box.at <= MOST_BYTES:
            return reader.read(box.at + 4, box.end - box.at - 4)
    return b""


def _exif(reader: Reader, items: Items) -> bytes:
    """Read the EXIF, which a number precedes that says how much else does."""
    for number, kind in items.kinds.items():
        data = _item(reader, items, number) if kind == _EXIF else b""
        skipped = int.from_bytes(data[:4], "big")
        if block := without_prefix(data[4 + skipped :]) or without_prefix(data[4:]):
            return block
    return b""


def _xmp(reader: Reader, items: Items) -> bytes:
    for number, kind in items.kinds.items():
        data = _item(reader, items, number) if kind == _XMP else b""
        if data.lstrip(b"\xef\xbb\xbf \r\n\t").startswith(_PACKET):
            return data
    return b""


def _item(reader: Reader, items: Items, number: int) -> bytes:
    extents = items.places.get(number, [])
    if sum(one.size for one in extents) > MOST_BYTES:
        return b""
    return b"".join(reader.read(one.at + items.data_at * one.is_in_meta, one.size) for one in extents)
