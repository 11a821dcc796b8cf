"""TIFF, Photoshop and HEIF files made for tests, in the many shapes in which programs write them."""

import io
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from tests.pictures.makers import noise, saved, turned

pyvips = pytest.importorskip("pyvips", reason="needs rembg-watch[pictures]")

Value = tuple[int, int, Sequence[int] | bytes]
"""Tag, type and values."""

_LAYOUTS = {3: "H", 4: "I", 13: "I", 16: "Q"}
SHORT, LONG, ASCII, UNDEFINED = 3, 4, 2, 7


@dataclass(frozen=True, kw_only=True)
class TiffShape:
    """How a TIFF is written."""

    order: str = "<"
    is_big: bool = False
    is_directory_first: bool = False
    size: tuple[int, int] = (13, 9)
    bits: int = 8
    samples: int = 3
    rows: int = 4  # per strip
    orientation: int = 1
    more: tuple[Value, ...] = ()
    pages: int = 1

    @property
    def row_bytes(self) -> int:
        return self.size[0] * self.samples * self.bits // 8

    def pixels(self) -> bytes:
        count = self.row_bytes * self.size[1]
        return bytes(1 + 7 * n % 255 for n in range(count))


def tiff_of(shape: TiffShape, pixels: bytes | None = None) -> bytes:
    """Write a TIFF, unpacked, with its directories before or behind the pixels."""
    writer = _Tiff(shape, pixels if pixels is not None else shape.pixels())
    return writer.written()


class _Tiff:
    def __init__(self, shape: TiffShape, pixels: bytes) -> None:
        self.shape = shape
        step = shape.row_bytes * shape.rows
        self.strips = [pixels[at : at + step] for at in range(0, len(pixels), step)]
        self.offset, self.count = ("Q", "Q") if shape.is_big else ("I", "H")

    def pack(self, layout: str, *numbers: int) -> bytes:
        return struct.pack(self.shape.order + layout, *numbers)

    def written(self) -> bytes:
        head_bytes = 16 if self.shape.is_big else 8
        data = b"".join(self.strips)
        out = b""
        for number in range(self.shape.pages):
            begin = head_bytes + len(out)
            is_last = number == self.shape.pages - 1
            if self.shape.is_directory_first:
                length = len(self._directory(begin, 0, 0))
                length += length % 2
                directory = self._directory(begin, begin + length, 0 if is_last else begin + length + len(data))
                out += directory.ljust(length, b"\0") + data
                first_at = head_bytes
            else:
                pad = len(data) % 2
                at = begin + len(data) + pad
                length = len(self._directory(at, begin, 0))
                following = at + length + len(data) + (at + length + len(data)) % 2
                out += data + bytes(pad) + self._directory(at, begin, 0 if is_last else following)
                first_at = at if number == 0 else first_at
        mark = {"<": b"II", ">": b"MM"}[self.shape.order]
        if self.shape.is_big:
            return mark + self.pack("HHHQ", 43, 8, 0, first_at) + out
        return mark + self.pack("HI", 42, first_at) + out

    def _directory(self, at: int, data_at: int, next_at: int) -> bytes:
        shape, places = self.shape, []
        for strip in self.strips:
            places.append(data_at)
            data_at += len(strip)
        values: list[Value] = [
            (256, SHORT, [shape.size[0]]),
            (257, SHORT, [shape.size[1]]),
            (258, SHORT, [shape.bits] * shape.samples),
            (259, SHORT, [1]),
            (262, SHORT, [{1: 1, 3: 2, 4: 5}[shape.samples]]),
            (273, 16 if shape.is_big else LONG, places),
            (274, SHORT, [shape.orientation]),
            (277, SHORT, [shape.samples]),
            (278, SHORT, [shape.rows]),
            (279, LONG, [len(strip) for strip in self.strips]),
            *shape.more,
        ]
        room, line = (8, 20) if shape.is_big else (4, 12)
        far_at = at + struct.calcsize("<" + self.count) + line * len(values) + struct.calcsize("<" + self.offset)
        far, lines = b"", b""
        for tag, kind, listed in sorted(values, key=lambda one: one[0]):
            raw = listed if isinstance(listed, bytes) else self.pack(f"{len(listed)}{_LAYOUTS[kind]}", *listed)
            lines += self.pack("HH" + self.offset, tag, kind, len(listed))
            if len(raw) <= room:
                lines += raw.ljust(room, b"\0")
            else:
                lines += self.pack(self.offset, far_at + len(far))
                far += raw + bytes(len(raw) % 2)
        return self.pack(self.count, len(values)) + lines + self.pack(self.offset, next_at) + far


def vips_of(data: bytes) -> Any:
    return pyvips.Image.new_from_buffer(data, "")


def vips_tiff(mode: str = "RGB", size: tuple[int, int] = (40, 30), **options: Any) -> bytes:
    """A TIFF as libtiff writes it."""
    picture = noise(size, mode)
    bands = {"RGB": 3, "L": 1, "CMYK": 4, "RGBA": 4}[mode]
    made = pyvips.Image.new_from_memory(picture.tobytes(), *size, bands, "uchar")
    made = made.copy(interpretation={"RGB": "srgb", "L": "b-w", "CMYK": "cmyk", "RGBA": "srgb"}[mode])
    return bytes(made.tiffsave_buffer(**options))


TIFFS: dict[str, Callable[[], bytes]] = {
    "plain": vips_tiff,
    "LZW": lambda: vips_tiff(compression="lzw", predictor="horizontal"),
    "ZIP": lambda: vips_tiff(compression="deflate"),
    "JPEG": lambda: vips_tiff(compression="jpeg", Q=90),
    "run lengths": lambda: vips_tiff(compression="packbits"),
    "gray": lambda: vips_tiff("L"),
    "CMYK": lambda: vips_tiff("CMYK"),
    "transparent": lambda: vips_tiff("RGBA"),
    "in tiles": lambda: vips_tiff(size=(200, 150), tile=True, tile_width=64, tile_height=64),
    "in tiles, with smaller ones": lambda: vips_tiff(size=(200, 150), tile=True, tile_width=64, pyramid=True),
    "BigTIFF": lambda: vips_tiff(bigtiff=True),
    "by Pillow": lambda: saved(noise((40, 30)), "TIFF"),
    "by Pillow, several pages": lambda: saved(
        noise((40, 30)), "TIFF", save_all=True, append_images=[noise((20, 20)), noise((30, 10))]
    ),
    "Motorola's order": lambda: tiff_of(TiffShape(order=">", bits=16)),
    "directory first": lambda: tiff_of(TiffShape(is_directory_first=True)),
}

# --- Photoshop ------------------------------------------------------------------------------------


def resource(number: int, data: bytes) -> bytes:
    return b"8BIM" + struct.pack(">HHI", number, 0, len(data)) + data + bytes(len(data) % 2)


def runs(row: bytes) -> bytes:
    """Pack a row in the simplest way."""
    return b"".join(bytes([len(piece) - 1]) + piece for piece in (row[at : at + 128] for at in range(0, len(row), 128)))


def psd_of(
    planes: Sequence[bytes],
    size: tuple[int, int],
    *,
    bits: int = 8,
    mode: int = 3,
    is_big: bool = False,
    is_packed: bool = True,
    resources: bytes = b"",
    layers: bytes = b"",
) -> bytes:
    """Write a Photoshop document: each plane is one channel, in Motorola's order."""
    width, height = size
    row_bytes = width * bits // 8
    head = struct.pack(">4sH6xHIIHH", b"8BPS", 2 if is_big else 1, len(planes), height, width, bits, mode)
    sections = struct.pack(">I", 0) + struct.pack(">I", len(resources)) + resources
    sections += struct.pack(">Q" if is_big else ">I", len(layers)) + layers
    if not is_packed:
        return head + sections + struct.pack(">H", 0) + b"".join(planes)
    rows = [runs(plane[at : at + row_bytes]) for plane in planes for at in range(0, len(plane), row_bytes)]
    table = struct.pack(f">{len(rows)}{'I' if is_big else 'H'}", *map(len, rows))
    return head + sections + struct.pack(">H", 1) + table + b"".join(rows)


def planes_of(size: tuple[int, int], count: int = 3, bits: int = 8) -> list[bytes]:
    """Planes of noise; of 16 bit each value stands twice, so that it is the same picture."""
    picture = noise(size)
    bands = [bytes(band.tobytes()) for band in picture.split()]
    bands = [bands[number % 3] for number in range(count)]
    return [bytes(one for value in band for one in (value,) * (bits // 8)) for band in bands]


SIZE = (37, 21)
PSDS: dict[str, Callable[[], bytes]] = {
    "packed": lambda: psd_of(planes_of(SIZE), SIZE),
    "plain": lambda: psd_of(planes_of(SIZE), SIZE, is_packed=False),
    "PSB": lambda: psd_of(planes_of(SIZE), SIZE, is_big=True),
    "16 bit": lambda: psd_of(planes_of(SIZE, bits=16), SIZE, bits=16),
    "CMYK": lambda: psd_of(planes_of(SIZE, 4), SIZE, mode=4),
    "with layers and words": lambda: psd_of(
        planes_of(SIZE),
        SIZE,
        resources=resource(1005, bytes(16)) + resource(1057, b"\0\0\0\1\1" + bytes(10)),
        layers=bytes(500),
    ),
}

# --- HEIF -----------------------------------------------------------------------------------------


def avif_of(size: tuple[int, int] = (64, 48), **options: Any) -> bytes:
    out = io.BytesIO()
    noise(size).save(out, "AVIF", **options)
    return out.getvalue()


def heic_of(size: tuple[int, int] = (64, 48), **options: Any) -> bytes:
    heif = pytest.importorskip("pillow_heif", reason="needs rembg-watch[heif]")
    out = io.BytesIO()
    heif.from_pillow(noise(size)).save(out, **options)
    return out.getvalue()


HEIFS: dict[str, Callable[[], bytes]] = {
    "AVIF": avif_of,
    "AVIF with words": lambda: avif_of(exif=turned(1), xmp=b"<x/>"),
    "HEIC": heic_of,
}
