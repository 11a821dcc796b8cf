import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from rembg_watch.pictures.formats import (
    MAX_UPLOAD_BYTES,
    Kind,
    Look,
    inspect,
    why_not_a_picture,
    why_not_sendable,
)
from rembg_watch.pictures.reader import Reader
from rembg_watch.pictures.structure import CUT_SHORT
from tests.pictures.makers import noise, saved, segment


def picture(format_: str = "JPEG", size: tuple[int, int] = (64, 48), mode: str = "RGB", **options: Any) -> bytes:
    return saved(noise(size, mode), format_, **options)


def turned(format_: str, orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return picture(format_, exif=exif.tobytes())


def look(data: bytes) -> Look:
    return inspect(Reader.of(data), wants_orientation=True)


PICTURES = {
    "JPEG": (Kind.JPEG, picture("JPEG")),
    "progressive JPEG": (Kind.JPEG, picture("JPEG", progressive=True)),
    "grey JPEG": (Kind.JPEG, picture("JPEG", mode="L")),
    "CMYK JPEG": (Kind.JPEG, picture("JPEG", mode="CMYK")),
    "PNG": (Kind.PNG, picture("PNG")),
    "PNG with palette": (Kind.PNG, picture("PNG", mode="P")),
    "lossy WebP": (Kind.WEBP, picture("WEBP")),
    "lossless WebP": (Kind.WEBP, picture("WEBP", lossless=True)),
    "WebP with alpha": (Kind.WEBP, picture("WEBP", mode="RGBA")),
    "BMP": (Kind.BMP, picture("BMP")),
    "BMP with palette": (Kind.BMP, picture("BMP", mode="P")),
    "one-bit BMP": (Kind.BMP, picture("BMP", mode="1")),
}


@pytest.mark.parametrize(("kind", "data"), PICTURES.values(), ids=PICTURES.keys())
def test_a_whole_picture_is_known_with_its_sides(kind: Kind, data: bytes) -> None:
    found = look(data)
    assert (found.kind, found.width_px, found.height_px, found.is_whole, found.why) == (kind, 64, 48, True, "")
    assert why_not_sendable(found, len(data)) is None


@pytest.mark.parametrize(("kind", "data"), PICTURES.values(), ids=PICTURES.keys())
def test_a_picture_cut_anywhere_is_not_whole(kind: Kind, data: bytes) -> None:
    for length in [*range(1, len(data) - 1, max(1, len(data) // 97)), len(data) - 2, len(data) - 1]:
        assert not look(data[:length]).is_whole, f"cut at {length} of {len(data)}"


@pytest.mark.parametrize(("kind", "data"), PICTURES.values(), ids=PICTURES.keys())
def test_every_cut_has_a_reason_and_a_way_out(kind: Kind, data: bytes) -> None:
    refusal = why_not_sendable(look(data[: len(data) // 2]), len(data) // 2)
    assert refusal is not None
    assert refusal.code == "not_whole"
    assert "again" in refusal.reason


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_orientation_is_read_wherever_it_is_kept(format_: str, orientation: int) -> None:
    found = look(turned(format_, orientation))
    assert found.orientation == orientation
    assert (found.width_px, found.height_px) == (64, 48)


@pytest.mark.parametrize("value", [0, 9, 300])
def test_an_impossible_orientation_counts_as_none(value: int) -> None:
    assert look(turned("JPEG", value)).orientation == 1


def test_a_big_endian_exif_is_read() -> None:
    tiff = b"MM\0*" + struct.pack(">IHHHIHHI", 8, 1, 0x0112, 3, 1, 6, 0, 0)
    data = picture()
    assert look(data[:2] + segment(0xE1, b"Exif\0\0" + tiff) + data[2:]).orientation == 6


def test_an_old_bmp_header_is_read() -> None:
    rows = b"\x80" * (64 * 3 * 48)
    data = struct.pack("<2sIIIIHHHH", b"BM", 26 + len(rows), 0, 26, 12, 64, 48, 1, 24) + rows
    found = look(data)
    assert (found.kind, found.width_px, found.height_px, found.is_whole) == (Kind.BMP, 64, 48, True)


FOREIGN = {
    "a TIFF or camera raw picture": picture("TIFF"),
    "a GIF picture": picture("GIF", mode="P"),
    "an AVIF picture": picture("AVIF"),
    "a JPEG 2000 picture": picture("JPEG2000"),
    "an icon": picture("ICO", size=(32, 32)),
    "a HEIC picture": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic",
    "a Canon raw picture": b"II*\0\x10\0\0\0CR\x02\0",
    "a Fujifilm raw picture": b"FUJIFILMCCD-RAW 0201",
    "a film": b"\0\0\0\x18ftypmp42\0\0\0\0",
    "a PDF document": picture("PDF"),
    "a Photoshop document": b"8BPS\0\1" + bytes(20),
    "a ZIP archive or an office document": b"PK\x03\x04" + bytes(30),
    "a web page": b"\n<!DOCTYPE html><html><body>Sign in</body></html>",
    "an SVG drawing": b'<?xml version="1.0"?>\n<svg xmlns="x"/>',
    "a JSON document": b'{"error": "no"}',
    "a program": b"\x7fELF\2\1\1",
}


@pytest.mark.parametrize(("name", "data"), FOREIGN.items(), ids=FOREIGN.keys())
def test_what_the_service_refuses_is_named(name: str, data: bytes) -> None:
    found = look(data)
    assert (found.kind, found.name, found.is_foreign) == (None, name, True)
    refusal = why_not_sendable(found, len(data))
    assert refusal is not None
    assert refusal.code == "wrong_type"
    assert name in refusal.reason


UNFINISHED = {
    "empty": (b"", "it is empty"),
    "zeros": (bytes(5000), "it holds nothing but zeros yet"),
    "text": ("Grüße aus dem Studio\n".encode(), "it is a text"),
    "a lone letter": (b"B", CUT_SHORT),
    "noise": (b"\x01\x02\x03\xfe\xff" * 9, "its first bytes are those of no known picture"),
    "half a JPEG mark": (b"\xff\xd8", CUT_SHORT),
    "half a PNG mark": (b"\x89PNG\r\n", CUT_SHORT),
}


@pytest.mark.parametrize(("data", "why"), UNFINISHED.values(), ids=UNFINISHED.keys())
def test_what_may_still_become_a_picture_is_not_called_foreign(data: bytes, why: str) -> None:
    found = look(data)
    assert (found.kind, found.why, found.is_foreign, found.is_whole) == (None, why, False, False)
    refusal = why_not_a_picture(found)
    assert refusal is not None
    assert (refusal.code, why in refusal.reason) == ("not_a_picture", True)


def whole(**changes: Any) -> Look:
    facts = {"kind": Kind.JPEG, "name": "a JPEG picture", "width_px": 10, "height_px": 10, "is_whole": True}
    return Look(**(facts | changes))


@pytest.mark.parametrize(
    ("changes", "size_bytes", "code"),
    [
        ({}, MAX_UPLOAD_BYTES, None),
        ({}, MAX_UPLOAD_BYTES + 1, "too_large"),
        ({"width_px": 10_000, "height_px": 10_000}, 1, None),
        ({"width_px": 10_001}, 1, "too_wide"),
        ({"height_px": 10_001}, 1, "too_tall"),
        ({"width_px": 12_000, "height_px": 12_000}, 1, "too_wide"),
        ({"width_px": 0}, 1, "broken"),
        ({"height_px": 0}, 1, "broken"),
        ({"is_whole": False, "why": "its end is missing"}, 1, "not_whole"),
    ],
)
def test_the_limits_of_the_service_are_known_to_the_byte_and_pixel(
    changes: dict[str, Any], size_bytes: int, code: str | None
) -> None:
    refusal = why_not_sendable(whole(**changes), size_bytes)
    assert (refusal.code if refusal else None) == code
    assert refusal is None or refusal.reason.endswith(".")


MARKS = [b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", b"RIFF\x20\0\0\0WEBPVP8X", b"RIFF\x20\0\0\0WEBPVP8L", b"BM"]


@given(st.sampled_from([b"", *MARKS]), st.binary(max_size=300), st.binary(max_size=100), st.integers(-1, 2**40))
def test_garbage_is_never_more_than_garbage(mark: bytes, head: bytes, tail: bytes, size_bytes: int) -> None:
    found = inspect(Reader(lambda count, at: (mark + head + tail)[at : at + count], size_bytes))
    assert 1 <= found.orientation <= 8
    assert found.width_px >= 0
    assert found.height_px >= 0
    assert found.is_whole or found.why
    why_not_sendable(found, size_bytes)


@given(st.data())
def test_a_picture_with_flipped_bytes_is_still_read_without_an_error(data: st.DataObject) -> None:
    _, whole_bytes = data.draw(st.sampled_from(list(PICTURES.values())))
    broken = bytearray(whole_bytes)
    for at in data.draw(st.lists(st.integers(0, min(400, len(broken) - 1)), max_size=20)):
        broken[at] = data.draw(st.integers(0, 255))
    found = look(bytes(broken))
    assert 1 <= found.orientation <= 8


@given(st.binary(max_size=200))
def test_any_exif_gives_an_orientation(exif: bytes) -> None:
    data = picture()
    found = look(data[:2] + segment(0xE1, b"Exif\0\0" + exif) + segment(0xE2, b"MPF\0" + exif) + data[2:])
    assert 1 <= found.orientation <= 8
    assert (found.width_px, found.height_px) == (64, 48)
