"""
The directories of a TIFF structure, classic or BigTIFF, in either byte order: read where they stand, never all at once.

What a field states is believed only as far as the file reaches: nothing is allocated for a number that is
written in it. TIFF 6.0, Adobe 1992; BigTIFF as libtiff writes it.
"""

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from rembg_watch.pictures.reader import Reader

_MARKS = {b"II*\0": ("<", False), b"MM\0*": (">", False), b"II+\0": ("<", True), b"MM\0+": (">", True)}
MAGICS = tuple(_MARKS)

SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
"""How long one value of each type is."""

_NUMBERS = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 13: "I", 16: "Q", 17: "q", 18: "Q"}
_MOST_FIELDS, _MOST_FIELDS_IN_ALL = 10_000, 100_000
"""In one directory, and in all that are read of a file: no picture has them, and each takes its time."""

_AT_ONCE = 8192
"""So many values are read in one go."""


@dataclass(frozen=True, slots=True)
class Field:
    """A line of a directory."""

    tag: int
    kind: int
    count: int
    at: int  # where its values are

    @property
    def size(self) -> int:
        """How many bytes its values take."""
        return self.count * SIZES.get(self.kind, 0)

    @property
    def end(self) -> int:
        """Where its values end."""
        return self.at + self.size


@dataclass(frozen=True, slots=True)
class Directory:
    """What one picture, or a part of its description, says in fields by their tags; the first of each counts."""

    fields: Mapping[int, Field]
    next_at: int  # where the next one is; 0: there is none
    is_cut: bool  # the file ends before it does


class Tiff:
    """
    A TIFF structure in a file.

    Args:
        reader: The file.
        at: Where the structure begins; its offsets count from there.
    """

    def __init__(self, reader: Reader, at: int = 0) -> None:
        self.reader, self._at, self._fields_left = reader, at, _MOST_FIELDS_IN_ALL
        self.order, self.is_big = _MARKS[reader.read(at, 4)]
        found = reader.unpack(self.order + ("Q" if self.is_big else "I"), at + (8 if self.is_big else 4))
        self.first_at = int(found[0]) if found else 0

    def directory(self, at: int) -> Directory:
        """Read the directory at an offset; one that leaves the file is cut."""
        head, line, entry = ("Q", 20, "HHQ") if self.is_big else ("H", 12, "HHI")
        found = self.reader.unpack(self.order + head, self._at + at) if at and self._fields_left > 0 else None
        if found is None:
            return Directory({}, 0, is_cut=True)
        begin, count = at + struct.calcsize(head), min(int(found[0]), _MOST_FIELDS)
        self._fields_left -= count + 1
        table = self.reader.read(self._at + begin, count * line)
        fields: dict[int, Field] = {}
        for number in range(len(table) // line):
            tag, kind, values = struct.unpack_from(self.order + entry, table, number * line)
            field = self._field(tag, kind, values, begin + number * line)
            fields.setdefault(tag, field)
        next_at = self.reader.unpack(self.order + ("Q" if self.is_big else "I"), self._at + begin + count * line)
        return Directory(fields, int(next_at[0]) if next_at else 0, is_cut=next_at is None)

    def _field(self, tag: int, kind: int, count: int, line_at: int) -> Field:
        room, value_at = (8, line_at + 12) if self.is_big else (4, line_at + 8)
        if count * SIZES.get(kind, 0) <= room:
            return Field(tag, kind, count, value_at)
        found = self.reader.unpack(self.order + ("Q" if self.is_big else "I"), self._at + value_at)
        return Field(tag, kind, count, int(found[0]) if found else 0)

    def is_there(self, field: Field) -> bool:
        """Say whether all values of a field are within the file."""
        return self._at + field.end <= self.reader.size_bytes

    def bytes_of(self, field: Field, most: int) -> bytes:
        """Return the values as they stand; nothing where there are more than *most* bytes, or the file ends before."""
        return self.reader.read(self._at + field.at, field.size) if field.size <= most and self.is_there(field) else b""

    def numbers(self, field: Field | None) -> Iterator[int]:
        """Yield whole numbers, as many as the file holds; none of a field that has others, or that is not there."""
        layout = _NUMBERS.get(field.kind) if field is not None else None
        if field is None or layout is None:
            return
        size, done = SIZES[field.kind], 0
        while done < field.count:
            count = min(_AT_ONCE, field.count - done)
            data = self.reader.read(self._at + field.at + done * size, count * size)
            got = len(data) // size
            yield from struct.unpack(f"{self.order}{got}{layout}", data[: got * size])
            if got < count:
                return
            done += count

    def number(self, directory: Directory, tag: int, default: int = 0) -> int:
        """Return the first number of a field."""
        return next(self.numbers(directory.fields.get(tag)), default)
