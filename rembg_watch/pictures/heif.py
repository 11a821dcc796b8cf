"""
A HEIC, HEIF or AVIF from box to box: its sides, how it is turned, and whether all that it lists is there.

The pictures are items, whose places a list states; what they look like is said by properties. Sequences count by
their first picture. HEIF: ISO/IEC 23008-12; boxes: ISO/IEC 14496-12.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from rembg_watch.pictures.reader import Reader
from rembg_watch.pictures.structure import BLANK_END, CUT_SHORT, MOST_PARTS, NO_PICTURE, Structure, has_blank_end

_HEIC = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"})
_AVIF = frozenset({b"avif", b"avis"})
_HEIF = frozenset({b"mif1", b"msf1", b"mif2", b"miaf", b"1pic"})
_MOST_BRANDS = 64
_MOST_ITEMS = 20_000
_MOST_META_BYTES, _MOST_LIST_BYTES = 4 << 20, 1 << 20

_TURNS = {0: 1, 1: 8, 2: 3, 3: 6}
"""How ``irot`` turns, anticlockwise by quarters, as EXIF counts it."""

_MIRRORED = {1: (4, 2), 8: (5, 7), 3: (2, 4), 6: (7, 5)}
"""The same when ``imir`` mirrors it after that, by its axis: 0 top to bottom, 1 left to right."""


@dataclass(frozen=True, slots=True)
class Box:
    """What a length and a name announce."""

    name: bytes
    at: int  # where its content begins
    end: int


def brand(head: bytes) -> str:
    """Return ``heic``, ``avif`` or ``heif`` by what an ISO media file calls itself; empty if it is none of these."""
    if head[4:8] != b"ftyp":
        return ""
    end = min(int.from_bytes(head[:4], "big"), 16 + 4 * _MOST_BRANDS)
    brands = [head[8:12], *(head[at : at + 4] for at in range(16, end, 4))]
    if brands[0] == b"crx ":
        return ""
    for name, known in (("avif", _AVIF), ("heic", _HEIC)):
        if not known.isdisjoint(brands):
            return name
    return "" if _HEIF.isdisjoint(brands[:1]) else "heif"


def boxes(reader: Reader, at: int, end: int) -> Iterator[Box]:
    """Yield the boxes of a stretch; one that goes beyond it comes last."""
    for _ in range(MOST_PARTS):
        found = reader.unpack(">I4s", at) if at + 8 <= end else None
        if found is None:
            return
        size, begin = int(found[0]), at + 8
        if size == 1:
            (size,) = reader.unpack(">Q", begin) or (0,)
            begin += 8
        elif size == 0:
            size = end - at
        if size < begin - at or not found[1].isalnum():
            return
        yield Box(bytes(found[1]), begin, at + size)
        at += size
        if at > end:
            return


@dataclass(frozen=True, slots=True)
class Extent:
    """A stretch of an item."""

    at: int
    size: int
    is_in_meta: bool = False


@dataclass(slots=True)
class Items:
    """What the ``meta`` box lists."""

    primary: int = 0
    places: dict[int, list[Extent]] = field(default_factory=dict)
    kinds: dict[int, bytes] = field(default_factory=dict)
    properties: list[Box] = field(default_factory=list)
    owned: dict[int, list[int]] = field(default_factory=dict)  # which properties an item has, counted from 1
    references: list[Box] = field(default_factory=list)  # from item to item, by what they are for
    data_at: int = 0  # of ``idat``

    def of_primary(self, name: bytes) -> list[Box]:
        """Return the properties of one name that the picture has, in their order."""
        return [one for one in self._properties() if one.name == name]

    def _properties(self) -> list[Box]:
        numbers = self.owned.get(self.primary, [])
        return [self.properties[number - 1] for number in numbers if 1 <= number <= len(self.properties)]


def top(reader: Reader) -> Mapping[bytes, Box]:
    """Return the boxes of the file by their names, the first of each."""
    found: dict[bytes, Box] = {}
    for box in boxes(reader, 0, reader.size_bytes):
        found.setdefault(box.name, box)
    return found


def inspect(reader: Reader) -> Structure:
    """Say what a HEIC, HEIF or AVIF is."""
    parts = list(boxes(reader, 0, reader.size_bytes))
    end = max((box.end for box in parts), default=0)
    rest = reader.size_bytes - end
    meta = next((box for box in parts if box.name == b"meta"), None)
    if end > reader.size_bytes or 0 < rest < 8 or meta is None:
        return Structure(why=CUT_SHORT, is_hopeless=True)
    items = items_of(reader, meta)
    width, height = _sides(reader, items)
    why = _why(reader, items, end)
    return Structure(
        width_px=width,
        height_px=height,
        orientation=_orientation(reader, items),
        why=why,
        is_hopeless=bool(why),
        bits=_bits(reader, items),
        colours="RGB",
    )


def _why(reader: Reader, items: Items, end: int) -> str:
    extents = items.places.get(items.primary, [])
    if not extents and items.kinds.get(items.primary) is None:
        return NO_PICTURE
    listed = [one for places in items.places.values() for one in places if not one.is_in_meta]
    if any(one.at + one.size > reader.size_bytes for one in listed):
        return CUT_SHORT
    return BLANK_END if has_blank_end(reader, end, end) else ""


# --- what the meta box lists ----------------------------------------------------------------------


def items_of(reader: Reader, meta: Box) -> Items:
    """Read the lists of the ``meta`` box, as far as they go."""
    items = Items()
    if meta.end - meta.at > _MOST_META_BYTES:
        return items
    for box in boxes(reader, meta.at + 4, meta.end):
        match box.name:
            case b"pitm":
                (version,) = reader.unpack("B", box.at) or (0,)
                (items.primary,) = reader.unpack(">I" if version else ">H", box.at + 4) or (0,)
            case b"iloc":
                _take_places(_Numbers(reader, box), items)
            case b"iinf":
                _take_kinds(reader, box, items)
            case b"iprp":
                _take_properties(reader, box, items)
            case b"iref":
                items.references = list(boxes(reader, box.at + 4, box.end))
            case b"idat":
                items.data_at = box.at
    return items


class _Numbers:
    """Numbers of whatever length, one after the other; zeros where a box ends."""

    def __init__(self, reader: Reader, box: Box) -> None:
        self._data = reader.read(box.at, min(box.end - box.at, _MOST_LIST_BYTES))
        self._at = 0

    @property
    def is_over(self) -> bool:
        return self._at >= len(self._data)

    def next(self, size: int) -> int:
        self._at += size
        return int.from_bytes(self._data[self._at - size : self._at], "big")


def _take_places(numbers: _Numbers, items: Items) -> None:
    version = numbers.next(4) >> 24
    sizes = numbers.next(2)
    offset, length, base, index = sizes >> 12, sizes >> 8 & 15, sizes >> 4 & 15, sizes & 15 if version else 0
    left = _MOST_ITEMS
    for _ in range(min(numbers.next(4 if version == 2 else 2), _MOST_ITEMS)):
        item = numbers.next(4 if version == 2 else 2)
        way = numbers.next(2) & 15 if version else 0
        numbers.next(2)  # in another file: none is
        base_at = numbers.next(base)
        for _ in range(min(numbers.next(2), _MOST_ITEMS)):
            left -= 1
            if numbers.is_over or left < 0:
                return
            numbers.next(index)
            at = base_at + numbers.next(offset)
            extent = Extent(at, numbers.next(length), is_in_meta=way == 1)
            if way < 2:  # else it is made of other items
                items.places.setdefault(item, []).append(extent)


def _take_kinds(reader: Reader, box: Box, items: Items) -> None:
    (version,) = reader.unpack("B", box.at) or (0,)
    for number, entry in enumerate(boxes(reader, box.at + (8 if version else 6), box.end)):
        (kind,) = reader.unpack("B", entry.at) or (0,)
        if number > _MOST_ITEMS or kind < 2:
            continue
        item, _, name = reader.unpack(">HH4s" if kind == 2 else ">IH4s", entry.at + 4) or (0, 0, b"")
        items.kinds[int(item)] = bytes(name)


def _take_properties(reader: Reader, box: Box, items: Items) -> None:
    for part in boxes(reader, box.at, box.end):
        if part.name == b"ipco":
            items.properties = list(boxes(reader, part.at, part.end))
        elif part.name == b"ipma":
            _take_owners(_Numbers(reader, part), items)


def _take_owners(numbers: _Numbers, items: Items) -> None:
    head = numbers.next(4)
    version, is_wide = head >> 24, head & 1
    for _ in range(min(numbers.next(4), _MOST_ITEMS)):
        if numbers.is_over:
            return
        item = numbers.next(2 if version < 1 else 4)
        count = numbers.next(1)
        mask = 0x7FFF if is_wide else 0x7F
        items.owned.setdefault(item, []).extend(numbers.next(2 if is_wide else 1) & mask for _ in range(count))


def _sides(reader: Reader, items: Items) -> tuple[int, int]:
    """Read the sides, before it is turned: those of the clean aperture, where there is one."""
    width = height = 0
    for box in items.of_primary(b"ispe"):
        width, height = reader.unpack(">II", box.at + 4) or (0, 0)
    for box in items.of_primary(b"clap"):
        wide, wide_by, tall, tall_by = reader.unpack(">IIII", box.at) or (0, 0, 0, 0)
        if wide_by and tall_by:
            width, height = min(width, wide // wide_by), min(height, tall // tall_by)
    return width, height


def _orientation(reader: Reader, items: Items) -> int:
    """Say as EXIF does how it is turned and mirrored; EXIF itself does not count in these formats."""
    found = 1
    for box in items.of_primary(b"irot"):
        found = _TURNS[(reader.read(box.at, 1) or b"\0")[0] & 3]
    for box in items.of_primary(b"imir"):
        found = _MIRRORED[found][(reader.read(box.at, 1) or b"\0")[0] & 1]
    return found


def _bits(reader: Reader, items: Items) -> int:
    for box in items.of_primary(b"pixi"):
        (planes,) = reader.unpack("B", box.at + 4) or (0,)
        return max(reader.read(box.at + 5, min(planes, 8)) or b"\x08")
    return 8
