"""A BMP by its header: its sides, and whether as many bytes are there as they need."""

from dataclasses import dataclass

from rembg_watch.pictures.reader import Reader
from rembg_watch.pictures.structure import BLANK_END, CUT_SHORT, Structure, has_blank_end

MAGIC = b"BM"

_PLAIN = frozenset({0, 3, 6})
"""Not compressed, whatever order the colours have: the length follows from the sides."""

_RUNS = frozenset({1, 2})
_END_OF_RUNS = b"\0\1"
_FEW_BYTES = 16
"""So many bytes too many does a header state by mistake."""

_PAGE_BYTES = 4096
_BLACK_ROWS = 2


@dataclass(frozen=True, slots=True)
class _Header:
    stated_bytes: int  # of the file
    data_at: int
    width_px: int
    height_px: int
    bits: int
    packing: int
    stated_data_bytes: int = 0

    @property
    def row_bytes(self) -> int:
        """One row that is not compressed."""
        return (self.width_px * self.bits + 31) // 32 * 4

    @property
    def needed_bytes(self) -> int:
        """Some programs state a wrong length, so where it can be worked out it is."""
        if self.packing in _PLAIN:
            return self.data_at + self.row_bytes * self.height_px
        return self.data_at + self.stated_data_bytes if self.stated_data_bytes else self.stated_bytes


def inspect(reader: Reader) -> Structure | None:
    """Say what a BMP is, or None if it only begins like one."""
    header = _header(reader)
    if header is None:
        return None
    return Structure(width_px=header.width_px, height_px=header.height_px, why=_why(reader, header))


def _header(reader: Reader) -> _Header | None:
    stated, data_at, size = reader.unpack("<I4xII", 2) or (0, 0, 0)
    if size == 12:
        width, height, bits = reader.unpack("<HH2xH", 18) or (0, 0, 0)
        return _Header(stated, data_at, width, height, bits, 0)
    if not 16 <= size <= 1024:
        return None
    width, height, bits, packing, data_bytes = reader.unpack("<ii2xHII", 18) or (0, 0, 0, 0, 0)
    if width < 0 or not bits:  # without bits it is a JPEG or PNG in a disguise that printers alone see through
        width = 0
    return _Header(stated, data_at, width, abs(height), bits, packing, data_bytes)


def _why(reader: Reader, header: _Header) -> str:
    missing_bytes = header.needed_bytes - reader.size_bytes
    if missing_bytes > 0:
        return "" if missing_bytes <= _FEW_BYTES and _ends_by_mark(reader, header) else CUT_SHORT
    # Black corners are no sign of a copy that stopped; black rows may be one.
    most_bytes = max(_PAGE_BYTES, _BLACK_ROWS * header.row_bytes) if header.packing in _PLAIN else None
    return BLANK_END if has_blank_end(reader, header.needed_bytes, header.needed_bytes, most_bytes) else ""


def _ends_by_mark(reader: Reader, header: _Header) -> bool:
    """Say if runs of colour end by their own mark; each of them takes an even number of bytes."""
    tail, tail_at = reader.tail(len(_END_OF_RUNS))
    return header.packing in _RUNS and tail == _END_OF_RUNS and (tail_at - header.data_at) % 2 == 0
