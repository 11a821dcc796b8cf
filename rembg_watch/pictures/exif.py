"""
EXIF as bytes: what of it is carried over, changed in place.

Nothing moves but the first directory, and that only where it grows: makers' notes hold offsets that nobody
but the maker knows. What cannot be read is not carried over. EXIF is a TIFF structure: DC-008-2023.
"""

import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

_ORDERS = {b"II*\0": "<", b"MM\0*": ">"}
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
_SHORT, _LONG, _RATIONAL, _ASCII = 3, 4, 5, 2
_MOST_ENTRIES = 1000

_WIDTH, _HEIGHT, _ORIENTATION = 0x0100, 0x0101, 0x0112
_X_RESOLUTION, _Y_RESOLUTION, _UNIT = 0x011A, 0x011B, 0x0128
_INCH, _CENTIMETRE, _CM = 2, 3, 2.54
ARTIST, COPYRIGHT, TAKEN_AT = 0x013B, 0x8298, 0x9003
_EXIF, _GPS, _INTEROP = 0x8769, 0x8825, 0xA005
_COLOUR_SPACE, _SEEN_WIDTH, _SEEN_HEIGHT = 0xA001, 0xA002, 0xA003
_PREVIEW_AT, _PREVIEW_BYTES = 0x0201, 0x0202
_INTEROP_INDEX = 0x0001
_ADOBE_RGB, _UNCALIBRATED, _ADOBE_RGB_INDEX = 2, 0xFFFF, b"R03"
_MOST_DPI = 65535


@dataclass(frozen=True, slots=True)
class _Entry:
    """A line of a directory."""

    tag: int
    kind: int
    count: int
    value: bytes  # four bytes: the value, or where it is

    @property
    def size(self) -> int:
        return self.count * _SIZES.get(self.kind, 0)


class _Tiff:
    """A TIFF structure that is read and changed."""

    def __init__(self, data: bytes) -> None:
        self.data = bytearray(data)
        self.order = _ORDERS[data[:4]]

    def number(self, layout: str, at: int) -> int:
        (found,) = struct.unpack_from(self.order + layout, self.data, at)
        return int(found)

    def packed(self, layout: str, *numbers: int) -> bytes:
        return struct.pack(self.order + layout, *numbers)

    def directory(self, at: int) -> list[_Entry]:
        """Read a directory; raise ``struct.error`` where it leaves the block."""
        count = min(self.number("H", at), _MOST_ENTRIES)
        lines = (struct.unpack_from(self.order + "HHI4s", self.data, at + 2 + 12 * n) for n in range(count))
        return [_Entry(*line) for line in lines]

    def next_of(self, at: int) -> int:
        end = at + 2 + 12 * self.number("H", at)
        return self.number("I", end) if end + 4 <= len(self.data) else 0

    def place(self, entry: _Entry) -> int:
        """Say where the value of an entry is, or would be, if it does not fit into the entry."""
        return self.number_of(entry.value)

    def number_of(self, value: bytes) -> int:
        (found,) = struct.unpack(self.order + "I", value)
        return int(found)

    def is_there(self, entry: _Entry) -> bool:
        """Say whether a value is of a known kind and within the block."""
        return entry.size > 0 and (entry.size <= 4 or self.place(entry) + entry.size <= len(self.data))

    def value(self, entry: _Entry) -> bytes:
        """Return the value of an entry; nothing where it leaves the block."""
        if entry.size <= 4:
            return entry.value[: entry.size]
        at = self.place(entry)
        return bytes(self.data[at : at + entry.size]) if at + entry.size <= len(self.data) else b""

    def short(self, entry: _Entry) -> int | None:
        """Return a number that fits into the entry."""
        if entry.count != 1 or entry.kind not in (_SHORT, _LONG):
            return None
        (found,) = struct.unpack(self.order + ("H" if entry.kind == _SHORT else "I"), self.value(entry))
        return int(found)

    def with_number(self, entry: _Entry, number: int) -> _Entry:
        """Return an entry with another number in it; as it is where it does not hold one."""
        match entry.kind, entry.count:
            case (3, 1) if number <= 0xFFFF:
                return replace(entry, value=self.packed("HH", number, 0))
            case (4, 1):
                return replace(entry, value=self.packed("I", number))
        return entry

    def blank(self, at: int, size: int) -> None:
        at = max(at, 8)
        size = max(0, min(size, len(self.data) - at))
        self.data[at : at + size] = bytes(size)

    def blank_directory(self, at: int) -> None:
        """Wipe a directory and all values that are its own."""
        entries = self.directory(at)
        for entry in entries:
            if entry.size > 4:
                self.blank(self.place(entry), entry.size)
        self.blank(at, 2 + 12 * len(entries) + 4)

    def append(self, data: bytes) -> int:
        """Put something behind the rest and say where it is."""
        if len(self.data) % 2:
            self.data.append(0)
        at = len(self.data)
        self.data += data
        return at

    def lines(self, entries: Iterable[_Entry]) -> bytes:
        some = sorted(entries, key=lambda one: one.tag)
        body = b"".join(struct.pack(self.order + "HHI4s", one.tag, one.kind, one.count, one.value) for one in some)
        return self.packed("H", len(some)) + body + self.packed("I", 0)


def without_prefix(block: bytes) -> bytes:
    """Return the TIFF structure in a block that may have one prefix, or two, or none."""
    while block.startswith(b"Exif\0\0"):
        block = block[6:]
    return block if block[:4] in _ORDERS else b""


def edited(
    exif: bytes, *, has_place: bool, sides: tuple[int, int], dpi: tuple[float, float] | None, orientation: int = 1
) -> bytes:
    """
    Return EXIF as it is true of a cut-out.

    Args:
        exif: The block, without prefix; empty: nothing comes of it.
        has_place: The place where it was taken stays.
        sides: Of the cut-out, in pixels.
        dpi: Its resolution, where that is known.
        orientation: How it is to be turned; the original's does not count.
    """
    if exif[:4] not in _ORDERS:
        return built({}, orientation=orientation)
    tiff = _Tiff(exif)
    try:
        _edit(tiff, has_place=has_place, sides=sides, dpi=dpi, orientation=orientation)
    except struct.error:
        return built({}, orientation=orientation)
    return bytes(tiff.data)


def _edit(
    tiff: _Tiff, *, has_place: bool, sides: tuple[int, int], dpi: tuple[float, float] | None, orientation: int
) -> None:
    at = tiff.number("I", 4)
    room = 2 + 12 * tiff.number("H", at) + 4
    entries = {one.tag: one for one in reversed(tiff.directory(at)) if tiff.is_there(one)}
    _drop_preview(tiff, tiff.next_of(at))
    if _ORIENTATION in entries or orientation != 1:
        entries[_ORIENTATION] = _Entry(_ORIENTATION, _SHORT, 1, tiff.packed("HH", orientation, 0))
    if not has_place and (place := entries.pop(_GPS, None)) is not None:
        tiff.blank_directory(tiff.place(place))
    for tag, side in zip((_WIDTH, _HEIGHT), sides, strict=True):
        if tag in entries:
            entries[tag] = tiff.with_number(entries[tag], side)
    if _EXIF in entries:
        _set_seen_sides(tiff, tiff.place(entries[_EXIF]), sides)
    if dpi is not None:
        entries |= _resolution_entries(tiff, dpi)
    lines = tiff.lines(entries.values())
    tiff.blank(at, min(room, len(tiff.data) - at))
    if len(lines) <= room and at + len(lines) <= len(tiff.data):
        tiff.data[at : at + len(lines)] = lines
    else:
        tiff.data[4:8] = tiff.packed("I", tiff.append(lines))


def _drop_preview(tiff: _Tiff, at: int) -> None:
    """Wipe the preview, which shows the picture with its background; one at the end, as nearly all are, is cut off."""
    if not 8 <= at < len(tiff.data):
        return
    entries = {one.tag: one for one in tiff.directory(at)}
    if _PREVIEW_AT in entries and _PREVIEW_BYTES in entries:
        begin, size = tiff.place(entries[_PREVIEW_AT]), tiff.place(entries[_PREVIEW_BYTES])
        tiff.blank(begin, size)
        is_last = at < begin and begin + size <= len(tiff.data) <= begin + size + 4
        if is_last and all(tiff.place(one) < begin for one in entries.values() if one.size > 4):
            del tiff.data[max(begin, 8) :]
    tiff.blank_directory(at)


def _set_seen_sides(tiff: _Tiff, at: int, sides: tuple[int, int]) -> None:
    for number, entry in enumerate(tiff.directory(at)):
        if entry.tag in (_SEEN_WIDTH, _SEEN_HEIGHT):
            changed = tiff.with_number(entry, sides[entry.tag - _SEEN_WIDTH])
            begin = at + 2 + 12 * number + 8
            tiff.data[begin : begin + 4] = changed.value


def _resolution_entries(tiff: _Tiff, dpi: tuple[float, float]) -> dict[int, _Entry]:
    made = {_UNIT: _Entry(_UNIT, _SHORT, 1, tiff.packed("HH", _INCH, 0))}
    for tag, dots in zip((_X_RESOLUTION, _Y_RESOLUTION), dpi, strict=True):
        at = tiff.append(tiff.packed("II", *_fraction(dots)))
        made[tag] = _Entry(tag, _RATIONAL, 1, tiff.packed("I", at))
    return made


def _fraction(dots: float) -> tuple[int, int]:
    return (round(dots), 1) if abs(dots - round(dots)) < 0.005 else (round(dots * 1000), 1000)


def built(texts: Mapping[int, bytes], *, dpi: tuple[float, float] | None = None, orientation: int = 1) -> bytes:
    """Make EXIF of a few texts by their tags, a resolution and an orientation; empty if none of it says anything."""
    if not texts and dpi is None and orientation == 1:
        return b""
    tiff = _Tiff(b"II*\0" + struct.pack("<I", 8))
    made = {}
    for tag, text in texts.items():
        value = text.ljust(4, b"\0") if len(text) <= 4 else tiff.packed("I", tiff.append(text))
        made[tag] = _Entry(tag, _ASCII, len(text), value)
    if dpi is not None:
        made |= _resolution_entries(tiff, dpi)
    if orientation != 1:
        made[_ORIENTATION] = _Entry(_ORIENTATION, _SHORT, 1, tiff.packed("HH", orientation, 0))
    tiff.data[4:8] = tiff.packed("I", tiff.append(tiff.lines(made.values())))
    return bytes(tiff.data)


def copyright_alone(exif: bytes, *, dpi: tuple[float, float] | None, orientation: int) -> bytes:
    """Return EXIF that says who made the picture and whose it is, how large it is printed and how it is turned."""
    words = {tag: text for tag, text in _texts(exif) if tag in (ARTIST, COPYRIGHT) and text.strip(b"\0 ")}
    return built(words, dpi=dpi if words else None, orientation=orientation)


def _texts(exif: bytes) -> Iterator[tuple[int, bytes]]:
    if exif[:4] not in _ORDERS:
        return
    tiff = _Tiff(exif)
    try:
        for entry in tiff.directory(tiff.number("I", 4)):
            if entry.kind == _ASCII:
                yield entry.tag, tiff.value(entry)
    except struct.error:
        return


def text(exif: bytes, tag: int) -> bytes:
    """Return a text by its tag, from the first directory or that of EXIF's own; empty if there is none."""
    if exif[:4] not in _ORDERS:
        return b""
    tiff = _Tiff(exif)
    try:
        first = tiff.directory(tiff.number("I", 4))
        own_at = next((tiff.place(one) for one in first if one.tag == _EXIF), 0)
        entries = [*first, *(tiff.directory(own_at) if own_at else ())]
        return next((tiff.value(one) for one in entries if one.tag == tag and one.kind == _ASCII), b"")
    except struct.error:
        return b""


def resolution(exif: bytes) -> tuple[float, float] | None:
    """Return the resolution in dots per inch; None if there is none, or none that makes sense."""
    if exif[:4] not in _ORDERS:
        return None
    tiff = _Tiff(exif)
    try:
        entries = {one.tag: one for one in tiff.directory(tiff.number("I", 4))}
        unit = tiff.short(entries[_UNIT]) if _UNIT in entries else _INCH
        dots = [_ratio(tiff, entries[tag]) for tag in (_X_RESOLUTION, _Y_RESOLUTION)]
    except (struct.error, KeyError, ZeroDivisionError):
        return None
    return sensible_dpi(*(one * (_CM if unit == _CENTIMETRE else 1) for one in dots)) if unit in (2, 3) else None


def _ratio(tiff: _Tiff, entry: _Entry) -> float:
    over, under = struct.unpack(tiff.order + "II", tiff.value(entry))
    return float(over / under)


def sensible_dpi(wide: float, tall: float) -> tuple[float, float] | None:
    """Return a resolution, or None: headers state zeros, and more dots than atoms."""
    return (wide, tall) if 1 <= wide <= _MOST_DPI and 1 <= tall <= _MOST_DPI else None


def is_adobe_rgb(exif: bytes) -> bool:
    """Say whether EXIF alone tells that the colours are Adobe RGB (DCF 2.0): programs add other values unasked."""
    if exif[:4] not in _ORDERS:
        return False
    tiff = _Tiff(exif)
    try:
        at = _pointed(tiff, tiff.number("I", 4), _EXIF)
        spaces = [tiff.short(one) for one in tiff.directory(at) if one.tag == _COLOUR_SPACE] if at else []
        interop = _pointed(tiff, at, _INTEROP) if at else 0
        kinds = [tiff.value(one) for one in tiff.directory(interop) if one.tag == _INTEROP_INDEX] if interop else []
    except struct.error:
        return False
    is_told = any(one.rstrip(b"\0 ") == _ADOBE_RGB_INDEX for one in kinds)
    return _ADOBE_RGB in spaces or (_UNCALIBRATED in spaces and is_told)


def _pointed(tiff: _Tiff, at: int, tag: int) -> int:
    return next((tiff.place(one) for one in tiff.directory(at) if one.tag == tag), 0)
