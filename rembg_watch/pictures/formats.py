"""
Say what a file is from its first and last bytes: its kind, its size in pixels, and whether it is whole.

The four formats that the service takes are read by small parsers of their headers; for everything
else there is a name, so that a message can say "a TIFF picture". Nothing is opened here (``probe``
does) and no pixel is decoded: a picture may look whole from outside and still be broken within.
"""

import re
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum

HEAD_BYTES = 64 << 10
"""As much of the beginning as nearly every header needs."""

LONG_HEAD_BYTES = 4 << 20
"""As much as is read where the first look found no size: profiles and previews can come before it."""

TAIL_BYTES = 64 << 10
"""As much of the end as is searched for an end mark; programs append notes behind it."""

MAX_UPLOAD_BYTES = 50 * 1024 * 1024
"""The service's "50 MB", read generously: it refuses what is too large by itself and at no cost."""

MAX_SIDE_PX = 10_000
"""The widest and the tallest picture that the service takes."""


class Kind(StrEnum):
    """What the service takes; the words are the service's own names of the formats."""

    JPEG = "jpeg"
    PNG = "png"
    WEBP = "webp"
    BMP = "bmp"


NAMES: dict[Kind, str] = {
    Kind.JPEG: "a JPEG picture",
    Kind.PNG: "a PNG picture",
    Kind.WEBP: "a WebP picture",
    Kind.BMP: "a BMP picture",
}
SUFFIXES: dict[Kind, str] = {Kind.JPEG: ".jpg", Kind.PNG: ".png", Kind.WEBP: ".webp", Kind.BMP: ".bmp"}
"""The ending that says each kind, for a file that is named as another kind than it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What can be said of a file from outside."""

    kind: Kind | None  # what the service would take it for; None if it would refuse it
    name: str  # what it is, with its article, for a sentence
    width_px: int = 0  # as stored, before any orientation; 0 if the header does not say
    height_px: int = 0
    orientation: int = 1  # the EXIF tag, 1 to 8; 1 if there is none
    is_whole: bool = False  # nothing is missing at its end
    why: str = ""  # what is missing, for a sentence; empty if it is whole
    is_foreign: bool = False  # surely of a kind that the service refuses, not merely unfinished
    data_at: int = 0  # where the compressed picture begins, for ``has_jpeg_end``


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why a picture is not sent: a word for machines and a sentence for a photographer."""

    code: str
    reason: str


CUT_SHORT = "its end is missing, so it was not copied or saved completely"
BROKEN_HEADER = "its header is broken or missing"


def inspect(head: bytes, tail: bytes, size_bytes: int) -> Look:
    """
    Say what a file is; never raise, whatever the bytes are.

    Args:
        head: Its first bytes, HEAD_BYTES or more, or all of them.
        tail: Its last bytes, TAIL_BYTES or more, or all of them.
        size_bytes: Its length.
    """
    if size_bytes <= 0 or not head:
        return Look(kind=None, name="an empty file", why="it is empty")
    end = _End(tail, size_bytes)
    if head.startswith(b"\xff\xd8\xff"):
        return _inspect_jpeg(head, end)
    if head.startswith(_PNG):
        return _inspect_png(head, end)
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return _inspect_webp(head, end)
    if head.startswith(b"BM") and len(head) >= 26:
        return _inspect_bmp(head, end)
    return _inspect_foreign(head)


def why_not_sendable(look: Look, size_bytes: int) -> Refusal | None:
    """Say why the service would refuse a picture, or None: then it is worth sending."""
    if look.kind is None or not look.is_whole:
        return why_not_a_picture(look)
    if size_bytes > MAX_UPLOAD_BYTES:
        return Refusal(
            code="too_large",
            reason=f"The file has {size_bytes / 1024 / 1024:.1f} MB and the service takes at most "
            f"{MAX_UPLOAD_BYTES >> 20} MB: export it smaller or with a lower quality.",
        )
    return _why_sides_refused(look)


def _why_sides_refused(look: Look) -> Refusal | None:
    width, height = look.width_px, look.height_px
    if width < 1 or height < 1:
        return Refusal(code="broken", reason=f"The picture cannot be read: {BROKEN_HEADER}. Export it again.")
    if width <= MAX_SIDE_PX and height <= MAX_SIDE_PX:
        return None
    return Refusal(
        code="too_wide" if width > MAX_SIDE_PX else "too_tall",
        reason=f"The picture is {width} x {height} pixels and the service takes at most {MAX_SIDE_PX} each way: "
        "export it smaller.",
    )


def finished(look: Look) -> Look:
    """Return *look* as whole: its end was found by other means (``has_jpeg_end``)."""
    return replace(look, is_whole=True, why="")


def why_not_a_picture(look: Look) -> Refusal | None:
    """Say why a file is not taken for a whole picture, or None if it is one."""
    if look.kind is None and look.is_foreign:
        return Refusal(
            code="wrong_type",
            reason=f"It is {look.name}, whatever its name says, and the service takes JPEG, PNG, WebP and BMP only: "
            "export it as one of these.",
        )
    if look.kind is None:
        return Refusal(code="not_a_picture", reason=f"It is not a picture: {look.why}. Export or copy it again.")
    if not look.is_whole:
        return Refusal(
            code="not_whole", reason=f"It is {look.name}, but {look.why}. Copy or export it again under the same name."
        )
    return None


@dataclass(frozen=True, slots=True)
class _End:
    """The last bytes of a file and where they stand in it."""

    tail: bytes
    size_bytes: int

    def last(self, mark: bytes) -> int:
        """Say where *mark* begins for the last time, counted from the file's beginning; -1: nowhere."""
        at = self.tail.rfind(mark)
        return at if at < 0 else at + self.size_bytes - len(self.tail)

    @property
    def is_blank(self) -> bool:
        """A long end of zeros alone: the space was reserved and the bytes never came."""
        return len(self.tail) >= TAIL_BYTES and not self.tail.strip(b"\0")


def _read(layout: str, data: bytes, at: int) -> tuple[int, ...] | None:
    """Unpack numbers, or None where the data end too soon."""
    if at < 0 or at + struct.calcsize(layout) > len(data):
        return None
    return struct.unpack_from(layout, data, at)


# --- JPEG ---------------------------------------------------------------------------------------

_SIZES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""The markers of a frame header; the three left out are tables."""

_SCAN, _APP1, _APP2 = 0xDA, 0xE1, 0xE2
_BARE = frozenset({0x01, *range(0xD0, 0xD8)})
"""Markers that stand alone."""


def _segments(head: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield marker, begin and end of each segment up to the compressed data."""
    at = 2
    while (found := _read(">BB", head, at)) is not None and found[0] == 0xFF:
        marker = found[1]
        if marker == 0xFF:  # a fill byte
            at += 1
        elif marker in _BARE:
            at += 2
        else:
            length = _read(">H", head, at + 2)
            if length is None or length[0] < 2:
                return
            yield marker, at + 4, at + 2 + length[0]
            if marker == _SCAN:
                return
            at += 2 + length[0]


def _inspect_jpeg(head: bytes, end: _End) -> Look:
    width = height = data_at = needed = 0
    orientation = 1
    for marker, begin, stop in _segments(head):
        if marker in _SIZES:
            height, width = _read(">HH", head, begin + 1) or (0, 0)
        elif marker == _APP1 and head.startswith(b"Exif\0\0", begin):
            orientation = _orientation(head[begin + 6 : stop])
        elif marker == _APP2 and head.startswith(b"MPF\0", begin):
            needed = begin + 4 + _panorama_bytes(head[begin + 4 : stop])
        elif marker == _SCAN:
            data_at = stop
    # A preview in the header has an end mark of its own: only one behind the data counts.
    least = data_at or len(head)
    is_whole = end.last(b"\xff\xd9") >= least and needed <= end.size_bytes
    return _picture(Kind.JPEG, width, height, orientation=orientation, is_whole=is_whole, data_at=data_at)


def _picture(kind: Kind, width: int, height: int, *, is_whole: bool, orientation: int = 1, data_at: int = 0) -> Look:
    return Look(
        kind=kind,
        name=NAMES[kind],
        width_px=width,
        height_px=height,
        orientation=orientation,
        is_whole=is_whole,
        why="" if is_whole else CUT_SHORT,
        data_at=data_at,
    )


def has_jpeg_end(blocks: Iterable[bytes]) -> bool:
    """
    Search compressed JPEG data, from ``Look.data_at`` on, for its end mark.

    Some cameras append a film or a second picture behind it that is longer than any
    tail. Within the data the mark cannot occur: there, 0 follows every 0xFF.
    """
    before = b""
    for block in blocks:
        if b"\xff\xd9" in before + block:
            return True
        before = block[-1:]
    return False


# --- TIFF directories, as EXIF and MPO use them --------------------------------------------------

_ORIENTATION, _PANORAMA_LIST = 0x0112, 0xB002
_SHORT, _LONG = 3, 4


def _order(tiff: bytes) -> str | None:
    return {b"II*\0": "<", b"MM\0*": ">"}.get(tiff[:4])


def _entries(tiff: bytes, order: str) -> Iterator[tuple[int, int, int, int]]:
    """Yield tag, type, count and where the value stands, for the first directory."""
    (directory_at,) = _read(order + "I", tiff, 4) or (0,)
    (count,) = _read(order + "H", tiff, directory_at) or (0,)
    for at in range(directory_at + 2, directory_at + 2 + 12 * count, 12):
        entry = _read(order + "HHI", tiff, at)
        if entry is None:
            return
        yield entry[0], entry[1], entry[2], at + 8


def _orientation(tiff: bytes) -> int:
    order = _order(tiff)
    for tag, kind, _, at in _entries(tiff, order) if order else ():
        if tag == _ORIENTATION and kind in {_SHORT, _LONG}:
            (value,) = _read(order + ("H" if kind == _SHORT else "I"), tiff, at) or (1,)  # type: ignore[operator]  # entries imply an order
            return value if 1 <= value <= 8 else 1
    return 1


def _panorama_bytes(tiff: bytes) -> int:
    """Say how far the pictures that an MPO lists reach, counted from its list."""
    order = _order(tiff)
    reach = 0
    for tag, _, count, at in _entries(tiff, order) if order else ():
        if tag != _PANORAMA_LIST:
            continue
        (list_at,) = _read(f"{order}I", tiff, at) or (0,)
        for one in range(list_at, list_at + min(count, 16 * 64), 16):
            size, offset = _read(f"{order}II", tiff, one + 4) or (0, 0)
            reach = max(reach, offset + size if offset else 0)  # the first picture is where we are
    return reach


# --- PNG, WebP, BMP ------------------------------------------------------------------------------

_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_END = b"\0\0\0\0IEND\xaeB`\x82"


def _inspect_png(head: bytes, end: _End) -> Look:
    sides = _read(">II", head, 16) if head[12:16] == b"IHDR" else None
    width, height = sides or (0, 0)
    is_whole = end.last(_PNG_END) > 0
    orientation = 1
    for name, begin, stop in _png_chunks(head):
        if name == b"eXIf":
            orientation = _orientation(head[begin:stop])
    return _picture(Kind.PNG, width, height, orientation=orientation, is_whole=is_whole)


def _png_chunks(head: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield name, begin and end of each chunk before the compressed data."""
    at = len(_PNG)
    while (found := _read(">I4x", head, at)) is not None:
        name = head[at + 4 : at + 8]
        if name == b"IDAT":
            return
        yield name, at + 8, at + 8 + found[0]
        at += 12 + found[0]


def _inspect_webp(head: bytes, end: _End) -> Look:
    (length,) = _read("<I", head, 4) or (0,)
    is_whole = 12 <= length <= end.size_bytes - 8 and not end.is_blank
    width, height = _webp_sides(head)
    return _picture(Kind.WEBP, width, height, orientation=_webp_orientation(end), is_whole=is_whole)


def _webp_sides(head: bytes) -> tuple[int, int]:
    chunk = head[12:16]
    if chunk == b"VP8X":
        wide, wide_high, tall, tall_high = _read("<HBHB", head, 24) or (-1, 0, -1, 0)
        return wide + (wide_high << 16) + 1, tall + (tall_high << 16) + 1
    if chunk == b"VP8L" and head[20:21] == b"\x2f":
        (bits,) = _read("<I", head, 21) or (0,)
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if chunk == b"VP8 " and head[23:26] == b"\x9d\x01\x2a":
        wide, tall = _read("<HH", head, 26) or (0, 0)
        return wide & 0x3FFF, tall & 0x3FFF
    return 0, 0


def _webp_orientation(end: _End) -> int:
    """Read the EXIF chunk, which stands behind the picture; some writers keep the JPEG prefix in it."""
    at = end.tail.rfind(b"EXIF")
    if at < 0:
        return 1
    exif = end.tail[at + 8 :]
    return _orientation(exif.removeprefix(b"Exif\0\0"))


_PLAIN = 0
"""No compression: then the length follows from the sides."""


def _inspect_bmp(head: bytes, end: _End) -> Look:
    stated, data_at, header = _read("<I4xII", head, 2) or (0, 0, 0)
    if header == 12:
        width, height, bits = _read("<HH2xH", head, 18) or (0, 0, 0)
        packing = _PLAIN
    elif 16 <= header <= 1024:
        width, height, bits, packing = _read("<ii2xHI", head, 18) or (0, 0, 0, 0)
    else:
        return _inspect_foreign(head)
    width, height = abs(width), abs(height)
    # Some programs state a wrong length, so where it can be worked out it is.
    needed = data_at + (width * bits + 31) // 32 * 4 * height if packing == _PLAIN else stated
    is_whole = end.size_bytes >= needed
    return _picture(Kind.BMP, width, height, is_whole=is_whole)


# --- everything else -----------------------------------------------------------------------------

_BRANDS: dict[bytes, str] = {
    b"heic": "a HEIC picture",
    b"heix": "a HEIC picture",
    b"heim": "a HEIC picture",
    b"hevc": "a HEIC picture",
    b"mif1": "a HEIF picture",
    b"msf1": "a HEIF picture",
    b"avif": "an AVIF picture",
    b"avis": "an AVIF picture",
    b"crx ": "a Canon raw picture",
    b"jxl ": "a JPEG XL picture",
}
"""What the first brand of an ISO media file says; any other is a film."""

_SIGNATURES: tuple[tuple[bytes, str], ...] = (
    (rb"II\*\0.{4}CR", "a Canon raw picture"),
    (rb"FUJIFILMCCD-RAW", "a Fujifilm raw picture"),
    (rb"II\*\0|MM\0\*|II\+\0|MM\0\+", "a TIFF or camera raw picture"),
    (rb"IIRO|IIRS|MMOR", "an Olympus raw picture"),
    (rb"IIU\0", "a Panasonic raw picture"),
    (rb"GIF8[79]a", "a GIF picture"),
    (rb"%PDF-", "a PDF document"),
    (rb"%!PS", "a PostScript document"),
    (rb"8BPS", "a Photoshop document"),
    (rb"\0\0\0\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51", "a JPEG 2000 picture"),
    (rb"\xff\x0a|\0\0\0\x0cJXL \r\n\x87\n", "a JPEG XL picture"),
    (rb"\x00\x00\x01\x00[^\0]\x00", "an icon"),
    (rb"v/1\x01", "an OpenEXR picture"),
    (rb"#\?RADIANCE", "an HDR picture"),
    (rb"SIMPLE  =", "a FITS picture"),
    (rb"(?s:RIFF.{4}AVI |\x1aE\xdf\xa3)", "a film"),
    (rb"(?s:RIFF.{4}WAVE)|ID3|OggS|fLaC", "a sound"),
    (rb"PK\x03\x04", "a ZIP archive or an office document"),
    (rb"\x1f\x8b|BZh|\xfd7zXZ|7z\xbc\xaf\x27\x1c|Rar!", "an archive"),
    (rb"SQLite format 3\0|\xd0\xcf\x11\xe0", "a database or an office document"),
    (rb"\x7fELF|MZ", "a program"),
    (rb"(?i:\s*(<!doctype html|<html))", "a web page"),
    (rb"(?si:\s*(<\?xml.{0,2000})?(<!--.{0,2000})?<svg)", "an SVG drawing"),
    (rb"\s*<\?xml", "an XML document"),
    (rb'\s*[\[{]\s*["\[{\d]', "a JSON document"),
)
_KNOWN = tuple((re.compile(pattern), name) for pattern, name in _SIGNATURES)
_MARKS = (_PNG, b"\xff\xd8\xff", b"RIFF", b"BM")
_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]")


def _inspect_foreign(head: bytes) -> Look:
    if head[4:8] == b"ftyp":
        return _foreign(_BRANDS.get(head[8:12], "a film"))
    for pattern, name in _KNOWN:
        if pattern.match(head):
            return _foreign(name)
    if any(mark.startswith(head) for mark in _MARKS):
        return Look(kind=None, name="a beginning", why=CUT_SHORT)
    if not head.strip(b"\0"):
        return Look(kind=None, name="a blank file", why="it holds nothing but zeros yet")
    if not _CONTROL.search(head[:4096]):
        return Look(kind=None, name="a text", why="it is a text")
    return Look(kind=None, name="an unknown kind of file", why="its first bytes are those of no known picture")


def _foreign(name: str) -> Look:
    return Look(kind=None, name=name, why=f"it is {name}", is_foreign=True)
