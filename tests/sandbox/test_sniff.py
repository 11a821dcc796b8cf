"""Signatures and sizes, of real pictures in every shape and of nonsense."""

import io
import struct
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from rembg_watch.sandbox.sniff import picture_format, picture_size


def saved(mode: str, size: tuple[int, int], kind: str, *, comment: bytes = b"", **options: Any) -> bytes:
    target = io.BytesIO()
    Image.new(mode, size).save(target, kind, **options)
    body = target.getvalue()
    if not comment:
        return body
    # Pillow before 13 cannot write a long comment beside a long profile.
    return body[:2] + b"\xff\xfe" + struct.pack(">H", len(comment) + 2) + comment + body[2:]


@pytest.mark.parametrize(
    ("mode", "kind", "options"),
    [
        ("RGB", "JPEG", {}),
        ("L", "JPEG", {}),
        ("CMYK", "JPEG", {}),
        ("RGB", "JPEG", {"progressive": True}),
        ("RGB", "JPEG", {"icc_profile": b"x" * 60_000, "comment": b"y" * 60_000}),
        ("RGB", "MPO", {}),
        ("RGB", "PNG", {}),
        ("P", "PNG", {}),
        ("I;16", "PNG", {}),
        ("RGB", "WEBP", {}),
        ("RGB", "WEBP", {"lossless": True}),
        ("RGBA", "WEBP", {"quality": 50}),
        ("RGB", "WEBP", {"icc_profile": b"x" * 200}),
        ("RGB", "BMP", {}),
        ("1", "BMP", {}),
    ],
)
def test_the_size_of_every_accepted_kind_is_read(mode: str, kind: str, options: dict[str, Any]) -> None:
    body = saved(mode, (123, 45), kind, **options)
    assert picture_size(io.BytesIO(body)) == (123, 45)
    assert picture_format(body) == {"MPO": "JPEG"}.get(kind, kind)


def test_a_bitmap_stored_from_the_top_has_a_height() -> None:
    body = bytearray(saved("RGB", (10, 20), "BMP"))
    struct.pack_into("<i", body, 22, -20)
    assert picture_size(io.BytesIO(bytes(body))) == (10, 20)


def test_an_old_bitmap_has_a_size() -> None:
    body = b"BM" + bytes(12) + struct.pack("<IHH", 12, 7, 9)
    assert picture_size(io.BytesIO(body)) == (7, 9)


@pytest.mark.parametrize(
    "head", [b"", b"GIF89a", b"II*\x00", b"RIFF\x00\x00\x00\x00WAVE", b"\xff\xd8", b"<svg", b"\x00\x00\x00 ftypavif"]
)
def test_other_signatures_are_not_taken(head: bytes) -> None:
    assert picture_format(head) is None
    assert picture_size(io.BytesIO(head)) is None


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP"])
def test_a_header_that_ends_too_soon_has_no_size(kind: str, make_picture: Callable[..., bytes]) -> None:
    assert picture_size(io.BytesIO(make_picture(kind=kind)[:13])) is None


@given(
    st.sampled_from([b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"BM", b"RIFF    WEBPVP8X", b"RIFF    WEBP"]),
    st.binary(max_size=200),
)
def test_no_bytes_make_it_stumble(head: bytes, rest: bytes) -> None:
    file = io.BytesIO(head + rest)
    size = picture_size(file)
    assert size is None or (size[0] >= 0 and size[1] >= 0)
    assert file.tell() == 0
