"""A HEIC, HEIF or AVIF taken apart: what it says of its picture. All of its bytes count as the picture."""

from rembg_watch.pictures.exif import without_prefix
from rembg_watch.pictures.heif import Items, items_of, top
from rembg_watch.pictures.metadata import MOST_BYTES, Metadata, Parts, resolution
from rembg_watch.pictures.reader import Reader

_PROFILES = (b"prof", b"rICC")
_EXIF, _XMP = b"Exif", b"mime"
_PACKET = (b"<?xpacket", b"<x:xmpmeta", b"<rdf:RDF")


def read(reader: Reader) -> Parts:
    """Take it apart, as far as its lists go."""
    meta = top(reader).get(b"meta")
    items = items_of(reader, meta) if meta is not None else Items()
    profile = _profile(reader, items)
    exif = _exif(reader, items)
    metadata = Metadata(profile=profile, exif=exif, xmp=_xmp(reader, items), dpi=resolution(None, exif))
    return Parts(metadata=metadata, picture=((0, reader.size_bytes),), colours="RGB", states_colours=bool(profile))


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
