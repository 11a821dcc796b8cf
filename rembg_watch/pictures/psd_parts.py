"""
A Photoshop document taken apart: what it says of its picture, and which of its bytes make that picture.

The picture is the composite: its header, its colour table, its profile and its rows. Layers do not count, since
nobody can change what they show without a new composite; nor do captions, which are resources.
"""

from rembg_watch.pictures.exif import sensible_dpi, without_prefix
from rembg_watch.pictures.metadata import MOST_BYTES, Metadata, Parts, resolution
from rembg_watch.pictures.psd import COLOURS, Header, composite_end, header, resources
from rembg_watch.pictures.reader import Reader

_RESOLUTION, _IPTC, _PROFILE, _EXIF, _XMP = 1005, 1028, 1039, 1058, 1060
_UNIT = 65536.0  # of fixed-point numbers


def read(reader: Reader) -> Parts:
    """Take a document apart; one that breaks off is all picture."""
    found = header(reader)
    end = composite_end(reader, found) if found is not None else None
    if found is None or end is None or end > reader.size_bytes:
        return Parts(metadata=Metadata(), picture=((0, reader.size_bytes),))
    places = {number: (at, size) for number, at, size in resources(reader, found)}
    profile = places.get(_PROFILE)
    picture = [(0, found.resources_at - 4), (found.composite_at, end)]
    if profile is not None:
        picture.insert(1, (profile[0], sum(profile)))
    return Parts(
        metadata=_metadata(reader, places),
        picture=tuple(picture),
        colours=COLOURS.get(found.mode, ""),
        states_colours=profile is not None,
        told=b" transparent" * is_transparent(reader, found),
    )


def is_transparent(reader: Reader, found: Header) -> bool:
    """Say whether the first channel behind the colours is what the composite lets through, and not a selection."""
    layout = ">QQh" if found.is_big else ">IIh"
    lengths = reader.unpack(layout, found.resources_end) if found.resources_end else None
    return lengths is not None and lengths[0] > 0 and lengths[1] > 0 and lengths[2] < 0


def _metadata(reader: Reader, places: dict[int, tuple[int, int]]) -> Metadata:
    def block(number: int) -> bytes:
        at, size = places.get(number, (0, 0))
        return reader.read(at, size) if 0 < size <= MOST_BYTES else b""

    exif = without_prefix(block(_EXIF))
    return Metadata(
        profile=block(_PROFILE),
        exif=exif,
        xmp=block(_XMP),
        iptc=block(_IPTC),
        dpi=resolution(_dpi(reader, places), exif),
    )


def _dpi(reader: Reader, places: dict[int, tuple[int, int]]) -> tuple[float, float] | None:
    """Read the resolution: it is per inch, whatever the unit is in which it was shown."""
    at, size = places.get(_RESOLUTION, (0, 0))
    found = reader.unpack(">I4xI", at) if size >= 12 else None
    return sensible_dpi(found[0] / _UNIT, found[1] / _UNIT) if found else None
