"""Pictures that are set upright: strip by strip as in one piece, and nothing but the turning changes."""

import io
from pathlib import Path
from typing import Any

import pytest
from PIL import ExifTags, Image, ImageChops, ImageOps

from rembg_watch.pictures import upright
from rembg_watch.pictures.formats import Kind
from rembg_watch.pictures.upright import CopyTooLargeError, Turn, UndecodableError, make_upright

MODES = {
    Kind.PNG: ("1", "L", "P", "LA", "RGB", "RGBA", "I;16"),
    Kind.JPEG: ("L", "RGB", "CMYK"),
    Kind.WEBP: ("RGB", "RGBA"),
}
EXACT: dict[Kind, dict[str, Any]] = {
    Kind.PNG: {},
    Kind.JPEG: {"quality": 100},
    Kind.WEBP: {"lossless": True, "exact": True},
}


def noise(mode: str, size: tuple[int, int]) -> Image.Image:
    plain = Image.effect_noise(size, 90)
    if mode == "I;16":
        return plain.convert("I").point(lambda value: value * 200).convert("I;16")
    bands = Image.merge("RGB", [plain, ImageOps.mirror(plain), ImageOps.flip(plain)])
    return bands.convert(mode) if mode != "LA" else Image.merge("LA", [plain, ImageOps.flip(plain)])


def source(root: Path, kind: Kind, mode: str, orientation: int, size: tuple[int, int]) -> Path:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    noise(mode, size).save(root / "source", kind.upper(), exif=exif, dpi=(300, 300), **EXACT[kind])
    return root / "source"


@pytest.fixture(params=[False, True], ids=["in one piece", "by strips"])
def by_strips(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    monkeypatch.setattr(upright, "BY_STRIPS_PX", 1 if request.param else 10**9)
    monkeypatch.setattr(upright, "_STRIP_PX", 370)
    return bool(request.param)


@pytest.mark.parametrize("orientation", range(2, 9))
@pytest.mark.parametrize(("kind", "mode"), [(kind, mode) for kind, modes in MODES.items() for mode in modes])
@pytest.mark.usefixtures("by_strips")
def test_a_copy_is_what_a_decoder_shows_of_the_source(tmp_path: Path, kind: Kind, mode: str, orientation: int) -> None:
    given = source(tmp_path, kind, mode, orientation, (53, 31))
    with Image.open(io.BytesIO(given.read_bytes())) as picture:
        wanted = ImageOps.exif_transpose(picture)
    turn = Turn(kind=kind, orientation=orientation, largest_bytes=10**6)
    with given.open("rb") as lying, (tmp_path / "copy").open("w+b") as copy, (tmp_path / "aside").open("w+b") as aside:
        made = make_upright(lying, copy, aside, turn)
        copy.seek(0)
        with Image.open(copy) as found:
            found.load()
    assert (made.width, made.height) == found.size == wanted.size
    assert found.getexif().get(ExifTags.Base.Orientation, 1) == 1
    assert round(found.info["dpi"][0]) == 300 if "dpi" in found.info else kind is Kind.WEBP
    difference = ImageChops.difference(found.convert("RGB"), wanted.convert("RGB")).getextrema()
    assert max(high for _, high in difference) <= (60 if kind is Kind.JPEG else 0)


def test_a_copy_that_is_too_large_however_it_is_saved_is_told(tmp_path: Path) -> None:
    given = source(tmp_path, Kind.PNG, "RGB", 6, (99, 80))
    with (
        given.open("rb") as lying,
        (tmp_path / "copy").open("w+b") as copy,
        (tmp_path / "aside").open("w+b") as aside,
        pytest.raises(CopyTooLargeError),
    ):
        make_upright(lying, copy, aside, Turn(kind=Kind.PNG, orientation=6, largest_bytes=100))


@pytest.mark.parametrize("kind", list(MODES))
def test_what_does_not_decode_is_told(tmp_path: Path, kind: Kind) -> None:
    given = source(tmp_path, kind, "RGB", 6, (400, 300))
    given.write_bytes(given.read_bytes()[: given.stat().st_size // 3])
    with (
        given.open("rb") as broken,
        (tmp_path / "copy").open("w+b") as copy,
        (tmp_path / "aside").open("w+b") as aside,
        pytest.raises(UndecodableError),
    ):
        make_upright(broken, copy, aside, Turn(kind=kind, orientation=6, largest_bytes=10**6))


def test_what_needs_more_memory_than_there_is_is_not_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upright, "memory_bytes", lambda: 90_000)
    given = source(tmp_path, Kind.PNG, "RGB", 6, (99, 110))
    with (
        given.open("rb") as lying,
        (tmp_path / "copy").open("w+b") as copy,
        (tmp_path / "aside").open("w+b") as aside,
        pytest.raises(MemoryError),
    ):
        make_upright(lying, copy, aside, Turn(kind=Kind.PNG, orientation=6, largest_bytes=10**6))
