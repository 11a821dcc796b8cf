"""
A JPEG from segment to segment: its sides, its orientation, and whether its end is there.

The picture ends at its end mark, wherever that stands: cameras append films, further pictures and
notes of their own, and programs pad files. Whether those are whole is of no concern, but for a
further picture that has begun and breaks off.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from rembg_watch.pictures.orientation import MOST_METADATA_BYTES, orientation
from rembg_watch.pictures.reader import BITE_BYTES, Reader
from rembg_watch.pictures.structure import (
    BLANK_END,
    CUT_SHORT,
    MOST_PARTS,
    Structure,
    has_blank_end,
    stops_in_zeros,
)

MAGIC = b"\xff\xd8\xff"
TAIL_BYTES = 64 << 10
"""As much of the end as is searched for an end mark before all of the picture is."""

_START, _END = b"\xff\xd8", b"\xff\xd9"
_SAMSUNG = b"SEFT"
"""How Samsung's trailer ends. Panoramas of its phones have it in place of the end mark."""

FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""The markers of a frame header; the three left out are tables."""

EOI, SCAN, APP1, APP2 = 0xD9, 0xDA, 0xE1, 0xE2
MARKER_BYTES = 4
"""A marker and the length that follows it."""

COLOURS = {1: "GRAY", 3: "RGB", 4: "CMYK"}
"""By the number of planes."""

UNREAD_BITS = (
    "it has {bits} bits for each colour, which nothing here reads: export it with 8 bits, or a TIFF of 16 bits"
)

_NO_FRAME = (8, 0, 0, 0)
_WITH_LENGTH = frozenset({*range(0xC0, 0xD0), *range(0xDA, 0xF0), 0xFE}) - {0xC8}
"""What is followed by its length; any other marker stands alone."""

EXIF, XMP, _PANORAMA = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0", b"MPF\0"
_MARKER = re.compile(rb"\xff([^\x00\xd0-\xd7\xff])")
"""A marker; within compressed data 0 follows every 0xFF, or it marks a place to start again."""


@dataclass(frozen=True, slots=True)
class Segment:
    """What a marker begins."""

    marker: int
    at: int  # where its payload begins
    size: int

    @property
    def end(self) -> int:
        """Where the next marker begins."""
        return self.at + self.size


@dataclass(slots=True)
class _Header:
    """What comes before the compressed picture."""

    width_px: int = 0
    height_px: int = 0
    bits: int = 8
    planes: int = 0
    data_at: int = 0  # 0: it breaks off before
    exif: list[Segment] = field(default_factory=list)
    xmp: Segment | None = None
    panorama: Segment | None = None


def inspect(reader: Reader, *, wants_orientation: bool) -> Structure:
    """Say what a JPEG is."""
    header = _header(reader)
    has_end = bool(header.data_at) and _has_end(reader, header.data_at)
    is_blank = not has_end and stops_in_zeros(reader)
    is_whole = has_end and not _awaits_more(reader, header.panorama)
    return Structure(
        width_px=header.width_px,
        height_px=header.height_px,
        orientation=_orientation(reader, header) if wants_orientation else 1,
        why="" if is_whole else BLANK_END if is_blank else CUT_SHORT,
        is_hopeless=is_blank,
        bits=header.bits,
        colours=COLOURS.get(header.planes, ""),
        unfit="" if header.bits == 8 else UNREAD_BITS.format(bits=header.bits),
    )


def _header(reader: Reader) -> _Header:
    header = _Header()
    for segment in segments(reader, 2):
        if segment.marker in FRAMES:
            header.bits, header.height_px, header.width_px, header.planes = (
                reader.unpack(">BHHB", segment.at) or _NO_FRAME
            )
        elif segment.marker == APP1:
            _take_metadata(reader, segment, header)
        elif segment.marker == APP2 and reader.read(segment.at, 4) == _PANORAMA:
            header.panorama = segment
        elif segment.marker == SCAN:
            header.data_at = segment.end if segment.end <= reader.size_bytes else 0
            break
    return header


def _take_metadata(reader: Reader, segment: Segment, header: _Header) -> None:
    begin = reader.read(segment.at, min(segment.size, len(XMP)))
    if begin.startswith(EXIF):
        header.exif.append(segment)
    elif begin == XMP:
        header.xmp = segment


def _orientation(reader: Reader, header: _Header) -> int:
    """EXIF that is too long for one segment goes on in the next, behind another prefix; of XMP the last one counts."""
    exif, left_bytes = bytearray(), MOST_METADATA_BYTES
    for number, segment in enumerate(header.exif):
        piece = reader.read(segment.at, min(segment.size, left_bytes))
        exif += piece[len(EXIF) :] if number else piece
        left_bytes -= len(piece)
    xmp = reader.read(header.xmp.at + len(XMP), header.xmp.size - len(XMP)) if header.xmp else b""
    return orientation(bytes(exif) if header.exif else None, xmp)


# --- from marker to marker ------------------------------------------------------------------------


def segments(reader: Reader, at: int) -> Iterator[Segment]:
    """Yield what each marker begins; what lies between two of them, compressed data above all, is passed over."""
    for _ in range(MOST_PARTS):
        begin = reader.read(at, MARKER_BYTES)
        if len(begin) == MARKER_BYTES and begin[0] == 0xFF and begin[1] in _WITH_LENGTH:  # as it is in a header
            at += MARKER_BYTES
            size = max(0, (begin[2] << 8 | begin[3]) - 2)
            yield Segment(begin[1], at, size)
            at += size
            continue
        found = _next_marker(reader, at)
        if found is None:
            return
        marker, at = found
        size = 0
        if marker in _WITH_LENGTH:
            length = reader.unpack(">H", at)
            if length is None:
                return
            at, size = at + 2, max(0, length[0] - 2)
        yield Segment(marker, at, size)
        at += size


def _next_marker(reader: Reader, at: int) -> tuple[int, int] | None:
    """Return the next marker from *at* on, and where it ends."""
    before = b""
    for block, block_at in reader.blocks(at):
        found = _MARKER.search(before + block)
        if found is not None:
            return found[1][0], block_at - len(before) + found.end()
        before = block[-1:]
    return None


# --- its end --------------------------------------------------------------------------------------


def _has_end(reader: Reader, data_at: int) -> bool:
    """Say if the picture's end is there: one look at the end of the file shows it for nearly every picture."""
    for count in (BITE_BYTES, TAIL_BYTES):
        tail, tail_at = reader.tail(count)
        # A preview in the header has an end mark of its own: only one behind the data counts.
        if tail.endswith(_SAMSUNG) or tail.rfind(_END, max(0, data_at - tail_at)) >= 0:
            return True
    return any(segment.marker == EOI for segment in segments(reader, data_at))


def _awaits_more(reader: Reader, panorama: Segment | None) -> bool:
    """
    Say if a further picture, which the first one lists, has begun and breaks off.

    A list that points to nothing is no reason to wait: programs that save a picture anew
    keep the list and drop the other pictures.
    """
    if panorama is None:
        return False
    return any(
        reader.read(at, 2) == _START and (at + size > reader.size_bytes or has_blank_end(reader, at + size, size))
        for at, size in _listed(reader, panorama)
    )


_PANORAMA_LIST = 0xB002
_MOST_LISTED = 64


def _listed(reader: Reader, panorama: Segment) -> Iterator[tuple[int, int]]:
    """Yield where the further pictures begin that an MPO lists, and how long they are."""
    tiff_at = panorama.at + len(_PANORAMA)
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(reader.read(tiff_at, 4))
    if order is None:
        return
    (directory_at,) = reader.unpack(order + "I", tiff_at + 4) or (0,)
    (entries,) = reader.unpack(order + "H", tiff_at + directory_at) or (0,)
    for number in range(min(entries, _MOST_LISTED)):
        tag, count, list_at = reader.unpack(order + "H2xII", tiff_at + directory_at + 2 + 12 * number) or (0, 0, 0)
        if tag == _PANORAMA_LIST:
            for one in range(0, min(count, 16 * _MOST_LISTED), 16):
                size, offset = reader.unpack(order + "II", tiff_at + list_at + one + 4) or (0, 0)
                if offset:  # the first picture is where we are
                    yield tiff_at + offset, size
            return
