"""
A Photoshop document, PSD or PSB, from section to section: its sides, and whether its composite is there, and whole.

What is read of it is the composite alone, the picture with all layers as they were shown when it was saved.
Adobe Photoshop File Formats Specification, 2019.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from rembg_watch.pictures.reader import Reader
from rembg_watch.pictures.structure import BLANK_END, CUT_SHORT, MOST_PARTS, Structure, has_blank_end

MAGIC = b"8BPS"

RAW, RUNS = 0, 1
"""How the composite is kept; 2 and 3 are ZIP, which Photoshop does not use there."""

COLOURS = {1: "GRAY", 3: "RGB", 4: "CMYK", 8: "GRAY", 9: "Lab"}
"""The modes that are read; in duotone the composite is the gray that is printed with the inks."""

_MODES = {0: "bitmap", 2: "indexed", 7: "multichannel"}
_BITS = frozenset({1, 8, 16, 32})
_MOST_CHANNELS, _MOST_SIDE_PX = 56, 300_000
_HEADER_BYTES = 26
_VERSION_INFO = 1057
_MERGED_AT = 4
_RESOURCES = (b"8BIM", b"MeSa", b"AgHg", b"PHUT", b"DCSR")

NO_COMPOSITE = (
    'it holds layers alone and no composite: save it again with "Maximize Compatibility" (Photoshop\'s settings for '
    "files), or export a TIFF"
)
NOT_A_COLOUR = "it is in {mode} mode, which is not read here: convert it to RGB, or export a TIFF"


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What the beginning of a document says, and where its sections are."""

    is_big: bool  # a PSB
    width_px: int
    height_px: int
    channels: int
    bits: int
    mode: int
    resources_at: int
    resources_end: int
    composite_at: int  # where the two bytes are that say how it is kept; 0: the file ends before

    @property
    def row_bytes(self) -> int:
        """How long one row of one channel is."""
        return (self.width_px * self.bits + 7) // 8


def header(reader: Reader) -> Header | None:
    """Read the header and find the sections; None if it is no document that this is known of."""
    found = reader.unpack(">4sH6xHIIHH", 0)
    if found is None or found[0] != MAGIC or found[1] not in (1, 2):
        return None
    _, version, channels, height, width, bits, mode = found
    if bits not in _BITS or not 1 <= channels <= _MOST_CHANNELS or max(width, height) > _MOST_SIDE_PX:
        return None
    colours_end = _section_end(reader, _HEADER_BYTES, "I")
    resources_end = _section_end(reader, colours_end, "I")
    composite_at = _section_end(reader, resources_end, "Q" if version == 2 else "I")
    return Header(
        is_big=version == 2,
        width_px=width,
        height_px=height,
        channels=channels,
        bits=bits,
        mode=mode,
        resources_at=colours_end + 4,
        resources_end=resources_end,
        composite_at=composite_at,
    )


def _section_end(reader: Reader, at: int, length: str) -> int:
    """Say where a section ends that begins with its length; 0 if the file ends before."""
    found = reader.unpack(">" + length, at) if at else None
    end = at + (8 if length == "Q" else 4) + int(found[0]) if found else 0
    return end if end <= reader.size_bytes else 0


def inspect(reader: Reader) -> Structure | None:
    """Say what a Photoshop document is, or None if it only begins like one."""
    if reader.size_bytes < _HEADER_BYTES:
        return Structure(why=CUT_SHORT)
    found = header(reader)
    if found is None:
        return None
    end = composite_end(reader, found)
    is_there = end is not None and end <= reader.size_bytes
    is_blank = is_there and end is not None and has_blank_end(reader, end, end)
    return Structure(
        width_px=found.width_px,
        height_px=found.height_px,
        why="" if is_there and not is_blank else BLANK_END if is_blank else CUT_SHORT,
        is_hopeless=not is_blank,
        bits=found.bits,
        colours=COLOURS.get(found.mode, ""),
        unfit=_unfit(reader, found),
    )


def composite_end(reader: Reader, found: Header) -> int | None:
    """Say where the composite ends; None if the file ends before it begins."""
    way = reader.unpack(">H", found.composite_at) if found.composite_at else None
    if way is None:
        return None
    at, rows = found.composite_at + 2, found.height_px * found.channels
    if way[0] == RAW:
        return at + found.row_bytes * rows
    if way[0] != RUNS:
        return at + 1  # how long it is stands nowhere
    table_bytes = rows * (4 if found.is_big else 2)
    if at + table_bytes > reader.size_bytes:
        return None
    return at + table_bytes + sum(sum(lengths) for lengths in run_lengths(reader, found))


def run_lengths(reader: Reader, found: Header) -> Iterator[tuple[int, ...]]:
    """Yield how long each row of each channel is, packed; some thousand at a time."""
    at, rows = found.composite_at + 2, found.height_px * found.channels
    size, letter = (4, "I") if found.is_big else (2, "H")
    while rows > 0:
        count = min(rows, 16384)
        lengths = reader.unpack(f">{count}{letter}", at)
        if lengths is None:
            return
        yield lengths
        at, rows = at + count * size, rows - count


def resources(reader: Reader, found: Header) -> Iterator[tuple[int, int, int]]:
    """Yield number, place and length of each image resource."""
    at = found.resources_at
    for _ in range(MOST_PARTS):
        mark = reader.unpack(">4sHB", at) if at + 12 <= found.resources_end else None
        if mark is None or mark[0] not in _RESOURCES:
            return
        begin = at + 6 + (int(mark[2]) + 2) // 2 * 2
        (size,) = reader.unpack(">I", begin) or (0,)
        if begin + 4 + size > found.resources_end:
            return
        yield int(mark[1]), begin + 4, int(size)
        at = begin + 4 + size + size % 2


def _unfit(reader: Reader, found: Header) -> str:
    if found.mode not in COLOURS:
        return NOT_A_COLOUR.format(mode=_MODES.get(found.mode, "an unknown"))
    for number, at, size in resources(reader, found):
        if number == _VERSION_INFO and size > _MERGED_AT and reader.read(at + _MERGED_AT, 1) == b"\0":
            return NO_COMPOSITE
    return ""
