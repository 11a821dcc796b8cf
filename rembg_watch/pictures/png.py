"""A PNG from chunk to chunk: its sides, its orientation, and whether its end chunk is there."""

import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from rembg_watch.pictures.orientation import MOST_METADATA_BYTES, orientation
from rembg_watch.pictures.reader import Reader
from rembg_watch.pictures.structure import BLANK_END, CUT_SHORT, MOST_PARTS, NO_PICTURE, Structure, stops_in_zeros

MAGIC = b"\x89PNG\r\n\x1a\n"

GRAYS = frozenset({0, 4})
"""The kinds of colours that are none."""

_END_CHUNK = b"\0\0\0\0IEND"
_CRC_BYTES = 4
_NAME = re.compile(rb"\w{4}")
_DATA = frozenset({b"IDAT", b"fdAT"})
_TEXTS = frozenset({b"tEXt", b"zTXt", b"iTXt"})

_EXIF_TEXT, _PROFILE, _XMP = b"exif", b"Raw profile type exif", b"XML:com.adobe.xmp"
_KEYS = (_EXIF_TEXT, _PROFILE, _XMP)
_MOST_INFLATED_BYTES = 1 << 20
_MOST_INFLATED = 64
"""A text that grows beyond the first, or more texts than the second, make Pillow refuse the picture."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """What a length and a name announce."""

    name: bytes
    at: int  # where its data begin
    size: int


def inspect(reader: Reader, *, wants_orientation: bool) -> Structure:
    """Say what a PNG is."""
    found = reader.unpack(">IIBB", 16) if reader.read(12, 4) == b"IHDR" else None
    width, height, bits, kind = found or (0, 0, 8, 2)
    colours = "GRAY" if kind in GRAYS else "RGB"
    if not wants_orientation and _ends_at_the_end(reader):
        return Structure(width_px=width, height_px=height, bits=bits, colours=colours)
    seen = _Seen()
    for chunk in chunks(reader):
        seen.take(reader, chunk, wants_orientation=wants_orientation)
    is_blank = not seen.has_end and stops_in_zeros(reader)
    return Structure(
        width_px=width,
        height_px=height,
        orientation=seen.orientation,
        why=BLANK_END if is_blank else seen.why,
        is_hopeless=is_blank,
        bits=bits,
        colours=colours,
    )


def _ends_at_the_end(reader: Reader) -> bool:
    """Say if the end chunk is the very last thing: so it is in nearly every file, and nothing else need be read."""
    tail, _ = reader.tail(len(_END_CHUNK) + _CRC_BYTES)
    return tail.startswith(_END_CHUNK) and b"IDAT" in reader.head


def chunks(reader: Reader) -> Iterator[Chunk]:
    """Yield each chunk up to the end chunk; nobody checks the checksums, just as no decoder checks that of the end."""
    at = len(MAGIC)
    for _ in range(MOST_PARTS):
        found = reader.unpack(">I4s", at)
        if found is None or _NAME.fullmatch(found[1]) is None:
            return
        yield Chunk(found[1], at + 8, found[0])
        if found[1] == b"IEND":
            return
        at += 8 + found[0] + _CRC_BYTES


@dataclass(slots=True)
class _Seen:
    """What the chunks so far have said."""

    has_data: bool = False
    has_end: bool = False
    frames: int | None = None  # of an animation
    has_frame: bool = False  # the first picture is one of them
    is_over: bool = False  # what follows belongs to the second picture
    exif: bytes | None = None
    texts: dict[bytes, bytes] = field(default_factory=dict)
    inflated: int = 0
    xmp: bytes = b""  # of the newer kind of text, whatever its encoding

    @property
    def why(self) -> str:
        if not self.has_end:
            return CUT_SHORT
        return "" if self.has_data else NO_PICTURE

    @property
    def orientation(self) -> int:
        exif = self.exif
        if exif is None and _PROFILE in self.texts:
            exif = _from_hex(self.texts[_PROFILE])
        return orientation(exif, self.texts.get(_XMP) or self.xmp)

    def take(self, reader: Reader, chunk: Chunk, *, wants_orientation: bool) -> None:
        if chunk.name == b"IEND":
            self.has_end = chunk.at + _CRC_BYTES <= reader.size_bytes
        elif chunk.name in _DATA:
            self.has_data = True
        elif wants_orientation and not self.is_over:
            self._take_words(reader, chunk)

    def _take_words(self, reader: Reader, chunk: Chunk) -> None:
        if chunk.name == b"acTL":
            frames = (reader.unpack(">I", chunk.at) or (0,))[0]
            self.frames = frames if self.frames is None and 0 < frames <= 1 << 31 else None
        elif chunk.name == b"fcTL":
            self.is_over = self.has_data and self._is_animated
            self.has_frame |= not self.has_data
        elif chunk.name == b"eXIf":
            self.exif = reader.read(chunk.at, min(chunk.size, MOST_METADATA_BYTES))
        elif chunk.name in _TEXTS:
            self._take_text(reader, chunk)

    @property
    def _is_animated(self) -> bool:
        return self.frames is not None and self.frames + (not self.has_frame) > 1

    def _take_text(self, reader: Reader, chunk: Chunk) -> None:
        begin = reader.read(chunk.at, min(chunk.size, max(map(len, _KEYS)) + 1)).partition(b"\0")[0]
        if begin not in _KEYS:
            return
        text = reader.read(chunk.at, min(chunk.size, MOST_METADATA_BYTES))[len(begin) + 1 :]
        if chunk.name == b"iTXt":
            self._take_international(begin, text)
        elif begin == _EXIF_TEXT:
            self.exif = text
        else:
            self.texts[begin] = self._inflated(text[1:]) or b"" if chunk.name == b"zTXt" else text

    def _take_international(self, key: bytes, text: bytes) -> None:
        """Take a text that says its language; one that is no UTF-8 is still XMP, of the second choice."""
        parts = text[2:].split(b"\0", 2)
        if len(parts) < 3 or (text[0] and text[1]):
            return
        value = self._inflated(parts[2]) if text[0] else parts[2]
        if value is None:
            return
        if key == _XMP:
            self.xmp = value
        if all(_is_utf8(part) for part in (*parts[:2], value)):
            self.texts[key] = value

    def _inflated(self, data: bytes) -> bytes | None:
        self.inflated += 1
        return _inflated(data) if self.inflated <= _MOST_INFLATED else None


def _inflated(data: bytes) -> bytes | None:
    try:
        return zlib.decompressobj().decompress(data, _MOST_INFLATED_BYTES)
    except zlib.error:
        return None


def _from_hex(profile: bytes) -> bytes:
    """Read a profile as ImageMagick writes it: a blank line, its name, its length, and hexadecimal digits."""
    try:
        return bytes.fromhex(b"".join(profile.split(b"\n")[3:]).decode("latin-1"))
    except ValueError:
        return b"?"  # it cannot be read, and nothing else is asked then


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True
