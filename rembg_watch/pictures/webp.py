"""A WebP from chunk to chunk: its sides, its orientation, and whether all that it states is there."""

from collections.abc import Iterator
from dataclasses import dataclass

from rembg_watch.pictures.orientation import MOST_METADATA_BYTES, orientation
from rembg_watch.pictures.reader import Reader
from rembg_watch.pictures.structure import (
    BLANK_END,
    CUT_SHORT,
    LEAST_BLANK_BYTES,
    MOST_PARTS,
    NO_PICTURE,
    Structure,
    has_blank_end,
)

_HEADER_BYTES = 12
_PICTURES = frozenset({b"VP8 ", b"VP8L", b"ANMF"})
_EXIF_FLAG, _XMP_FLAG = 0x08, 0x04


@dataclass(frozen=True, slots=True)
class Chunk:
    """What a name and a length announce."""

    name: bytes
    at: int  # where its data begin
    size: int

    @property
    def end(self) -> int:
        """Where the next chunk begins."""
        return self.at + self.size + self.size % 2


def is_webp(head: bytes) -> bool:
    """Say if a file begins as a WebP does."""
    return head[:4] == b"RIFF" and head[8:12] == b"WEBP"


def inspect(reader: Reader, *, wants_orientation: bool) -> Structure:
    """Say what a WebP is."""
    (length,) = reader.unpack("<I", 4) or (0,)
    parts = list(chunks(reader, 8 + length))
    width, height = sides(reader)
    return Structure(
        width_px=width,
        height_px=height,
        orientation=_orientation(reader, parts) if wants_orientation else 1,
        why=_why(reader, parts, 8 + length, width * height),
    )


def _why(reader: Reader, chunks: list[Chunk], end: int, pixels: int) -> str:
    if end > reader.size_bytes or not chunks:
        return CUT_SHORT
    if _has_blank_end(reader, chunks, end, pixels):
        return BLANK_END
    if not any(chunk.name in _PICTURES for chunk in chunks):
        return NO_PICTURE
    return "" if all(chunk.at + chunk.size <= end for chunk in chunks) else CUT_SHORT


def _has_blank_end(reader: Reader, chunks: list[Chunk], end: int, pixels: int) -> bool:
    """
    Say if the end was reserved and not filled; where that is shows how many zeros tell it.

    A picture in one colour ends with a zero for each 10,000 pixels or so. Metadata may be padded. A
    chunk without a name has not been written yet.
    """
    most_bytes = LEAST_BLANK_BYTES + pixels // 4096 if chunks[-1].name in _PICTURES else None
    is_unnamed = chunks[-1].name == bytes(4) and reader.is_blank(chunks[-1].at - 8, end)
    return is_unnamed or has_blank_end(reader, end, end, most_bytes)


def chunks(reader: Reader, end: int) -> Iterator[Chunk]:
    """Yield each chunk up to *end*."""
    at = _HEADER_BYTES
    for _ in range(MOST_PARTS):
        found = reader.unpack("<4sI", at) if at + 8 <= end else None
        if found is None:
            return
        chunk = Chunk(found[0], at + 8, found[1])
        yield chunk
        at = chunk.end


def sides(reader: Reader) -> tuple[int, int]:
    """Read the sides in pixels; zeros where the header does not say."""
    """Read the sides in pixels; zeros where the header does not say."""
    chunk = reader.read(12, 4)
    if chunk == b"VP8X":
        wide, wide_high, tall, tall_high = reader.unpack("<HBHB", 24) or (-1, 0, -1, 0)
        return wide + (wide_high << 16) + 1, tall + (tall_high << 16) + 1
    if chunk == b"VP8L" and reader.read(20, 1) == b"\x2f":
        (bits,) = reader.unpack("<I", 21) or (0,)
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if chunk == b"VP8 " and reader.read(23, 3) == b"\x9d\x01\x2a":
        wide, tall = reader.unpack("<HH", 26) or (0, 0)
        return wide & 0x3FFF, tall & 0x3FFF
    return 0, 0


def _orientation(reader: Reader, chunks: list[Chunk]) -> int:
    """Only the extended format has metadata, and only those that its flags announce; the first of each counts."""
    if not chunks or chunks[0].name != b"VP8X":
        return 1
    (flags,) = reader.read(chunks[0].at, 1) or (0,)
    exif = _first(reader, chunks, b"EXIF") if flags & _EXIF_FLAG else b""
    xmp = _first(reader, chunks, b"XMP ") if flags & _XMP_FLAG else b""
    return orientation(exif or None, xmp)


def _first(reader: Reader, chunks: list[Chunk], name: bytes) -> bytes:
    found = next((chunk for chunk in chunks if chunk.name == name), None)
    return reader.read(found.at, min(found.size, MOST_METADATA_BYTES)) if found else b""
