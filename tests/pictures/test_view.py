"""Pictures as a page shows them."""

import io
import struct
import time
import zlib
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from PIL import Image, ImageCms

from rembg_watch.delivery.decoders import Decoders
from rembg_watch.pictures.view import WHOLE, NoViewError, Viewed

DATA = Path(__file__).parent.parent / "data"


@pytest.fixture(scope="module")
def decoders() -> Iterator[Decoders]:
    with closing(Decoders(most=1)) as made:
        yield made


def _seen(decoders: Decoders, content: bytes, tmp_path: Path, px: int = 100) -> tuple[Viewed, Image.Image]:
    source, view = tmp_path / "source", tmp_path / "view"
    source.write_bytes(content)
    view.touch()
    with source.open("rb") as opened, view.open("r+b") as output, (tmp_path / "scratch").open("w+b") as scratch:
        made = decoders.view(opened, output, scratch, px=px)
    return made, Image.open(io.BytesIO(view.read_bytes()))


def _saved(picture: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def test_a_photo_comes_small_and_as_jpeg(decoders: Decoders, tmp_path: Path) -> None:
    made, view = _seen(decoders, (DATA / "packshots" / "mug.jpg").read_bytes(), tmp_path)
    assert (max(view.size), view.format, made.is_transparent) == (100, "JPEG", False)
    with Image.open(DATA / "packshots" / "mug.jpg") as whole:
        assert (made.whole_width, made.whole_height) == whole.size


def test_a_cutout_stays_transparent(decoders: Decoders, tmp_path: Path) -> None:
    picture = Image.new("RGBA", (400, 300), (255, 0, 0, 0))
    picture.paste((0, 200, 0, 255), (100, 100, 300, 200))
    made, view = _seen(decoders, _saved(picture, "PNG"), tmp_path)
    assert (view.size, view.format, made.is_transparent) == ((100, 75), "WEBP", True)
    seen = view.convert("RGBA")
    assert seen.getpixel((2, 2))[3] == 0  # type: ignore[index]
    assert seen.getpixel((50, 37))[3] == 255  # type: ignore[index]


def test_the_whole_picture_has_every_pixel(decoders: Decoders, tmp_path: Path) -> None:
    _, view = _seen(decoders, _saved(Image.new("RGB", (1234, 777)), "PNG"), tmp_path, px=WHOLE)
    assert view.size == (1234, 777)


def test_a_turned_photo_stands_upright(decoders: Decoders, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    made, view = _seen(decoders, _saved(Image.new("RGB", (400, 200)), "JPEG", exif=exif), tmp_path)
    assert view.size == (50, 100)
    assert (made.whole_width, made.whole_height) == (200, 400)


def test_colours_are_those_that_the_profile_means(decoders: Decoders, tmp_path: Path) -> None:
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()  # one that RGB cannot have: it is left out
    _, view = _seen(decoders, _saved(Image.new("RGB", (50, 50), (200, 30, 30)), "PNG", icc_profile=lab), tmp_path)
    assert view.convert("RGB").getpixel((20, 20)) == pytest.approx((200, 30, 30), abs=6)


@pytest.mark.parametrize("mode", ["L", "P", "LA", "I;16", "CMYK", "1"])
def test_every_mode_that_a_studio_meets_is_shown(decoders: Decoders, tmp_path: Path, mode: str) -> None:
    kind = "JPEG" if mode == "CMYK" else "PNG"
    _, view = _seen(decoders, _saved(Image.new(mode, (64, 64)), kind), tmp_path)
    assert view.size == (64, 64)


def test_a_tiff_is_shown_where_it_can_be_read(decoders: Decoders, tmp_path: Path) -> None:
    pytest.importorskip("pyvips")
    _, view = _seen(decoders, _saved(Image.new("RGB", (300, 200), (10, 200, 10)), "TIFF"), tmp_path)
    assert (view.size, view.format) == ((100, 67), "JPEG")
    assert view.convert("RGB").getpixel((50, 30)) == pytest.approx((10, 200, 10), abs=6)


@pytest.mark.parametrize("kind", ["TIFF", "AVIF"])
def test_what_shines_through_in_a_file_for_print_does_so_in_its_view(
    decoders: Decoders, tmp_path: Path, kind: str
) -> None:
    pytest.importorskip("pyvips")
    picture = Image.new("RGBA", (400, 300), (255, 0, 0, 0))
    picture.paste((0, 200, 0, 255), (100, 100, 300, 200))
    picture.paste((0, 200, 0, 128), (100, 200, 300, 300))
    made, view = _seen(decoders, _saved(picture, kind), tmp_path)
    assert (view.size, view.format, made.is_transparent) == ((100, 75), "WEBP", True)
    seen = view.convert("RGBA")
    assert seen.getpixel((2, 2))[3] == 0  # type: ignore[index]
    assert seen.getpixel((50, 37)) == pytest.approx((0, 200, 0, 255), abs=8)
    assert seen.getpixel((50, 65)) == pytest.approx((0, 200, 0, 128), abs=8)
    edge = [seen.getpixel((x, 37)) for x in range(22, 30)]
    assert all(colour[0] < 60 for colour in edge if colour[3] > 100), "no red of what nobody sees"  # type: ignore[index]


@pytest.mark.parametrize("colours", [1, 3])
def test_sixteen_bits_with_transparency_are_shown_with_eight(decoders: Decoders, tmp_path: Path, colours: int) -> None:
    pyvips = pytest.importorskip("pyvips")
    made_of = pyvips.Image.black(200, 100, bands=colours).cast("ushort") + 40_000
    picture = made_of.bandjoin(pyvips.Image.black(200, 100).cast("ushort") + 32_768).cast("ushort")
    picture = picture.copy(interpretation="grey16" if colours == 1 else "rgb16")
    made, view = _seen(decoders, picture.tiffsave_buffer(), tmp_path)
    assert (view.size, made.is_transparent) == ((100, 50), True)
    assert view.convert("RGBA").getpixel((50, 25)) == pytest.approx((156, 156, 156, 128), abs=4)


def _png(side: int, rows: int = 1) -> bytes:
    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    pixels = zlib.compress(b"\0" * (3 * side + 1) * rows)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


HOSTILE = {
    "30,000 pixels square in a hundred kilobytes": _png(30_000),
    "65,500 pixels square": _png(65_500),
    "cut short": (DATA / "packshots" / "mug.jpg").read_bytes()[:9000],
    "cut short in its header": _png(500)[:20],
    "PostScript by the name of a JPEG": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\nshowpage\n",
    "SVG": b"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'><script>alert(1)</script></svg>",
    "nothing": b"",
    "HTML": b"<html><script>alert(1)</script></html>",
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE)
def test_what_is_hostile_or_broken_is_refused_soon_and_the_next_one_is_fine(
    decoders: Decoders, tmp_path: Path, content: bytes
) -> None:
    _seen(decoders, _saved(Image.new("RGB", (9, 9)), "PNG"), tmp_path)
    before = time.monotonic()
    with pytest.raises(NoViewError):
        _seen(decoders, content, tmp_path)
    assert time.monotonic() - before < 1.0
    pids = decoders.pids
    _seen(decoders, _saved(Image.new("RGB", (9, 9)), "PNG"), tmp_path)
    assert decoders.pids == pids, "nobody died of it"


def test_of_an_animation_the_first_picture_is_shown(decoders: Decoders, tmp_path: Path) -> None:
    frames = [Image.new("RGB", (64, 64), colour) for colour in ((200, 0, 0), (0, 200, 0))]
    content = _saved(frames[0], "PNG", save_all=True, append_images=frames[1:], default_image=False)
    _, view = _seen(decoders, content, tmp_path)
    assert view.convert("RGB").getpixel((32, 32)) == pytest.approx((200, 0, 0), abs=6)
