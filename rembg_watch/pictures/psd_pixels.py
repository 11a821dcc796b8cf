"""
The composite that a Photoshop document holds beside its layers: with 8, 16 or 32 bits, PSD and PSB.

Pillow reads composites of 8 bits alone, so the planes are found here, and only unpacked by Pillow.
Adobe Photoshop File Formats Specification, 2019.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from PIL import Image

from rembg_watch.errors import RembgWatchError
from rembg_watch.pictures.reader import Reader
from rembg_watch.pictures.vips import Picture, from_rows, vips

MAGIC = b"8BPS"
_HEADER_BYTES = 26
_RAW, _RLE = 0, 1
_BEST_RLE = 64  # two bytes stand for 128 of the same, at most
_PROFILE, _VERSION = 1039, 1057
_MOST_RESOURCES = 10_000
_FORMATS = {8: "uchar", 16: "ushort", 32: "float"}

GRAY, RGB, CMYK, DUOTONE, LAB = 1, 3, 4, 8, 9
_PLANES = {GRAY: 1, RGB: 3, CMYK: 4, DUOTONE: 1, LAB: 3}


class PsdError(RembgWatchError):
    """No composite comes out of a document; the sentence says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Composite:
    """The planes of a composite as they are stored, side by side, and which colours they are."""

    image: Picture
    mode: int
    profile: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layout:
    mode: int
    width: int
    height: int
    bits: int
    is_big: bool
    planes: int  # that are stored; the first ones are the colours
    data_at: int
    resources: Mapping[int, bytes]


def composite(reader: Reader, path: str) -> Composite:
    """
    Find the composite.

    Args:
        reader: The document.
        path: Where it can be opened once more.

    Raises:
        PsdError: There is none, or it is broken.
    """
    layout = _layout(reader)
    if layout.mode not in _PLANES or layout.bits not in _FORMATS or layout.planes < _PLANES[layout.mode]:
        raise PsdError("It is a Photoshop document with indexed, 1-bit or multichannel colours: convert it to RGB.")
    if layout.resources.get(_VERSION, b"\0\0\0\1\1")[4:5] == b"\0":
        raise PsdError(
            "It is a Photoshop document without a composite: save it with 'Maximize Compatibility', or export a TIFF."
        )
    (packing,) = reader.unpack(">H", layout.data_at) or (-1,)
    if packing == _RAW:
        planes = _raw(reader, layout, path)
    elif packing == _RLE:
        planes = _unpacked(reader, layout)
    else:
        raise PsdError("It is a Photoshop document whose composite is packed in a way that is not read: export a TIFF.")
    image = planes[0].bandjoin(planes[1:]) if len(planes) > 1 else planes[0]
    return Composite(image=image, mode=layout.mode, profile=layout.resources.get(_PROFILE, b""))


def _layout(reader: Reader) -> _Layout:
    version, planes, height, width, bits, mode = reader.unpack(">H6xHIIHH", 4) or (0,) * 6
    if version not in (1, 2) or not (width and height):
        raise PsdError("It is a Photoshop document with a broken header: save it again.")
    at = _HEADER_BYTES
    at += 4 + _number(reader, ">I", at)
    resources_bytes = _number(reader, ">I", at)
    resources = {
        number: reader.read(begin, size)
        for number, begin, size in _resources(reader, at + 4, resources_bytes)
        if number in (_PROFILE, _VERSION) and size <= 16 << 20
    }
    at += 4 + resources_bytes
    is_big = version == 2
    at += (8 if is_big else 4) + _number(reader, ">Q" if is_big else ">I", at)
    return _Layout(
        mode=mode,
        width=width,
        height=height,
        bits=bits,
        is_big=is_big,
        planes=planes,
        data_at=at,
        resources=resources,
    )


def _number(reader: Reader, layout: str, at: int) -> int:
    found = reader.unpack(layout, at)
    if found is None:
        raise PsdError("It is a Photoshop document that breaks off: copy it again.")
    return int(found[0])


def _resources(reader: Reader, at: int, size: int) -> Iterator[tuple[int, int, int]]:
    """Yield number, place and length of each image resource."""
    end = min(at + size, reader.size_bytes)
    for _ in range(_MOST_RESOURCES):
        if at + 12 > end or reader.read(at, 4) != b"8BIM":
            return
        number, name_bytes = reader.unpack(">HB", at + 4) or (0, 0)
        begin = at + 6 + (name_bytes + 2) // 2 * 2
        length = _number(reader, ">I", begin)
        yield number, begin + 4, min(length, end - begin - 4)
        at = begin + 4 + length + length % 2


def _raw(reader: Reader, layout: _Layout, path: str) -> Sequence[Picture]:
    plane_bytes = layout.width * layout.height * (layout.bits // 8)
    count = _PLANES[layout.mode]
    if layout.data_at + 2 + count * plane_bytes > reader.size_bytes:
        raise PsdError("It is a Photoshop document that breaks off: copy it again.")
    return [
        _turned(
            vips().Image.rawload(
                path,
                layout.width,
                layout.height,
                1,
                offset=layout.data_at + 2 + number * plane_bytes,
                format=_FORMATS[layout.bits],
            ),
            layout,
        )
        for number in range(count)
    ]


def _unpacked(reader: Reader, layout: _Layout) -> Sequence[Picture]:
    row_bytes, count_bytes = layout.width * (layout.bits // 8), 4 if layout.is_big else 2
    if row_bytes * layout.height > _BEST_RLE * reader.size_bytes:
        raise PsdError("It is a Photoshop document that holds less than its header says: copy it again.")
    table_at = layout.data_at + 2
    at = table_at + count_bytes * layout.height * layout.planes
    planes = []
    for number in range(_PLANES[layout.mode]):
        table = reader.read(table_at + count_bytes * layout.height * number, count_bytes * layout.height)
        size = sum(int.from_bytes(table[i : i + count_bytes], "big") for i in range(0, len(table), count_bytes))
        if at + size > reader.size_bytes:
            raise PsdError("It is a Photoshop document that breaks off: copy it again.")
        planes.append(_turned(_plane(reader.read(at, size), row_bytes, layout), layout))
        at += size
    return planes


def _plane(packed: bytes, row_bytes: int, layout: _Layout) -> Picture:
    try:
        rows = Image.frombytes("L", (row_bytes, layout.height), packed, "packbits", "L").tobytes()
    except (ValueError, OSError) as error:
        raise PsdError(f"It is a Photoshop document whose composite is broken ({error}): save it again.") from error
    return from_rows(rows, layout.width, layout.height, 1, _FORMATS[layout.bits])


def _turned(plane: Picture, layout: _Layout) -> Picture:
    """Turn the order of bytes into this machine's, which is little-endian wherever there are wheels for libvips."""
    return plane if layout.bits == 8 else plane.byteswap()
