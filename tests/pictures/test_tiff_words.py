"""Words come into a TIFF whatever EXIF says, and its picture stays what it was."""

import io
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from rembg_watch.pictures.exif import without_prefix
from rembg_watch.pictures.tiff_words import add_words

PICTURE = Image.linear_gradient("L").convert("RGB")
IPTC = b"\x1c\x02\x00\x00\x02\x00\x04\x1c\x02\x78\x00\x03abc"


def exif(order: str) -> bytes:
    block = Image.Exif()
    block.endian = order
    block[0x010E], block[0x013B], block[0x8298] = "what it shows", "Ada", "(c) Studio"
    block[0x0112], block[0x0100] = 6, 77
    inner = block.get_ifd(0x8769)
    inner[0x829D], inner[0x8827], inner[0xA434] = 5.6, 200, "50mm"
    inner[0x927C] = b"a maker's own"
    return without_prefix(block.tobytes())


def plain(path: Path) -> Path:
    PICTURE.save(path, "TIFF")  # little-endian, as libvips writes it
    return path


def with_words(path: Path, block: bytes, iptc: bytes = b"") -> Image.Image:
    fd = os.open(path, os.O_RDWR)
    try:
        add_words(fd, block, iptc)
    finally:
        os.close(fd)
    with Image.open(path) as opened:
        opened.load()
        return opened


@pytest.mark.parametrize("order", ["<", ">"])
def test_who_and_whose_and_with_what_are_read_back(tmp_path: Path, order: str) -> None:
    made = with_words(plain(tmp_path / "a.tif"), exif(order), IPTC)
    found = made.getexif()
    assert (found[0x010E], found[0x013B], found[0x8298]) == ("what it shows", "Ada", "(c) Studio")
    inner = found.get_ifd(0x8769)
    assert (float(inner[0x829D]), inner[0x8827], inner[0xA434]) == (5.6, 200, "50mm")
    assert made.tobytes() == PICTURE.tobytes()
    assert made.tag_v2[0x83BB] == IPTC  # type: ignore[attr-defined]


def test_what_is_true_of_another_picture_stays_out(tmp_path: Path) -> None:
    made = with_words(plain(tmp_path / "a.tif"), exif("<"))
    found = made.getexif()
    assert found[0x0100] == PICTURE.width
    assert found.get(0x0112, 1) == 1
    assert 0x927C not in found.get_ifd(0x8769)


def test_nothing_to_say_changes_nothing(tmp_path: Path) -> None:
    path = plain(tmp_path / "a.tif")
    before = path.read_bytes()
    with_words(path, b"")
    assert path.read_bytes() == before


def test_what_is_no_tiff_of_ours_is_left_alone(tmp_path: Path) -> None:
    for data in (b"", b"II", b"MM\0*" + bytes(40), b"\x89PNG" + bytes(40)):
        (tmp_path / "a").write_bytes(data)
        fd = os.open(tmp_path / "a", os.O_RDWR)
        add_words(fd, exif("<"), IPTC)
        os.close(fd)
        assert (tmp_path / "a").read_bytes() == data


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    order=st.sampled_from("<>"),
    changes=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=12),
    cut=st.integers(0, 500),
)
def test_broken_words_never_break_the_picture(
    tmp_path: Path, order: str, changes: list[tuple[int, int]], cut: int
) -> None:
    block = bytearray(exif(order))
    for at, value in changes:
        block[at % len(block)] = value
    path = plain(tmp_path / "a.tif")
    size = path.stat().st_size
    made = with_words(path, bytes(block[: len(block) - cut % len(block)]))
    assert made.tobytes() == PICTURE.tobytes()
    assert path.stat().st_size <= size + 4 * len(block) + 400


def test_a_small_block_of_values_that_overlap_makes_no_large_file(tmp_path: Path) -> None:
    count = 300
    entry = b"".join(
        (0x010E + number).to_bytes(2, "little") + b"\2\0" + (3000).to_bytes(4, "little") + (8).to_bytes(4, "little")
        for number in range(count)
    )
    block = b"II*\0\x08\0\0\0" + count.to_bytes(2, "little") + entry + bytes(4)
    path = plain(tmp_path / "a.tif")
    size = path.stat().st_size
    with_words(path, block)
    assert path.stat().st_size <= size + 2 * len(block) + 400
    assert io.BytesIO(path.read_bytes()).read(4) == b"II*\0"
