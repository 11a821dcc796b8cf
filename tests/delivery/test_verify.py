import io
import json
import math
import os
import struct
import threading
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from rembg_watch.api.params import Format, RemovalParams
from rembg_watch.delivery.verify import AnswerRejectedError, Expected, Verified, fits, verify

SOURCE = (1200, 800)


def cutout(size: tuple[int, int] = SOURCE, mode: str = "RGBA") -> Image.Image:
    """A disc on nothing, with enough texture that no format shrinks it to a few bytes."""
    picture = Image.effect_noise((100, 100), 60).convert("RGB").resize(size)
    disc = Image.radial_gradient("L").resize(size).point(lambda value: 255 if value < 120 else 0)
    picture.putalpha(disc)
    return picture.convert(mode)


def encoded(picture: Image.Image, kind: Format, **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format=kind.upper(), **options)
    return buffer.getvalue()


def answer_of(path: Path, data: bytes) -> Path:
    file = path / "answer"
    file.write_bytes(data)
    return file


def expected(size: tuple[int, int] = SOURCE, *, may_be_turned: bool = False, **params: Any) -> Expected:
    return Expected(params=RemovalParams(**params), width=size[0], height=size[1], may_be_turned=may_be_turned)


def rejection(path: Path, data: bytes, wanted: Expected) -> AnswerRejectedError:
    with pytest.raises(AnswerRejectedError) as caught:
        verify(answer_of(path, data), wanted)
    assert caught.value.reason == str(caught.value)
    assert caught.value.reason.startswith("The answer is ")
    return caught.value


@pytest.mark.parametrize("kind", Format)
def test_a_whole_picture_of_each_format_is_accepted(tmp_path: Path, kind: Format) -> None:
    has_alpha = kind in {Format.WEBP, Format.PNG}
    data = encoded(cutout(mode="RGBA" if has_alpha else "RGB"), kind)
    verified = verify(answer_of(tmp_path, data), expected(format=kind))
    assert replace(verified, figures=None) == Verified(width=1200, height=800, kind=kind, size_bytes=len(data))
    assert (verified.figures is not None) is (kind in (Format.PNG, Format.WEBP))


def test_a_bmp_on_black_is_whole_though_it_ends_in_nothing_but_zeros(tmp_path: Path) -> None:
    picture = cutout(mode="RGB")
    picture.paste("black", (0, 0, 1200, 200))  # the rows of the top are the last ones of the file
    verified = verify(answer_of(tmp_path, encoded(picture, Format.BMP)), expected(format="bmp", bg_color="#000000"))
    assert (verified.width, verified.height) == SOURCE


@pytest.mark.parametrize("mode", ["L", "LA", "1", "P"])
def test_a_mask_of_any_grey_is_accepted_without_a_warning(tmp_path: Path, mode: str) -> None:
    data = encoded(cutout().getchannel("A").convert(mode), Format.PNG)
    assert verify(answer_of(tmp_path, data), expected(format=Format.PNG, mask=True)).warning is None


@pytest.mark.parametrize(
    ("data", "code"),
    [
        pytest.param(b"", "empty", id="nothing"),
        pytest.param(b'{"error": "no", "status": 500}', "not_a_picture", id="JSON"),
        pytest.param(b'["https://x"]', "not_a_picture", id="a JSON list"),
        pytest.param(b"  <!DOCTYPE html><html>login</html>", "not_a_picture", id="HTML"),
        pytest.param(b"<?xml version='1.0'?><Error/>", "not_a_picture", id="XML"),
        pytest.param(b"Internal Server Error", "not_a_picture", id="text"),
        pytest.param(b"data:image/webp;base64,UklGRg", "not_a_picture", id="base64"),
        pytest.param(b"\0" * 5000, "not_a_picture", id="zeros"),
        pytest.param(b"\x1f\x8b\x08" + os.urandom(99), "not_a_picture", id="gzip"),
        pytest.param(b"GIF89a" + b"\1" * 99, "not_a_picture", id="another kind of picture"),
        pytest.param(b"RIFF\xff\0\0\0WEBPVP8 ", "truncated", id="a head alone"),
        pytest.param(b"\x89PNG", "not_a_picture", id="four bytes"),
    ],
)
def test_what_is_no_picture_is_told_by_what_it_is(tmp_path: Path, data: bytes, code: str) -> None:
    assert rejection(tmp_path, data, expected()).code == code


@pytest.mark.parametrize("kind", Format)
@pytest.mark.parametrize("kept", [0.1, 0.5, 0.9, 0.999, -1], ids=lambda kept: f"{kept}")
def test_a_truncated_picture_is_rejected_wherever_it_was_cut(tmp_path: Path, kind: Format, kept: float) -> None:
    data = encoded(cutout(mode="RGB"), kind, quality=90)
    cut = data[:-1] if kept == -1 else data[: int(len(data) * kept)]
    assert rejection(tmp_path, cut, expected(format=kind)).code in {"truncated", "broken"}


@pytest.mark.parametrize("kind", [Format.PNG, Format.WEBP])
def test_a_picture_that_is_broken_within_is_rejected(tmp_path: Path, kind: Format) -> None:
    data = bytearray(encoded(cutout(), kind, **({"lossless": True} if kind is Format.WEBP else {})))
    middle = len(data) // 2
    data[middle : middle + 2000] = b"\xff" * 2000
    assert rejection(tmp_path, bytes(data), expected(format=kind)).code == "broken"


def test_a_jpeg_whose_tables_are_broken_is_rejected(tmp_path: Path) -> None:
    data = encoded(cutout(mode="RGB"), Format.JPEG)
    at = data.index(b"\xff\xc4")
    assert rejection(tmp_path, data[: at + 4] + b"\xff" * 60 + data[at + 64 :], expected(format=Format.JPEG)).code == (
        "broken"
    )


@pytest.mark.parametrize("asked", Format)
@pytest.mark.parametrize("given", Format)
def test_another_format_than_the_one_asked_for_is_rejected(tmp_path: Path, asked: Format, given: Format) -> None:
    data = encoded(cutout(mode="RGB"), given)
    if asked is given:
        assert verify(answer_of(tmp_path, data), expected(format=asked)).kind is given
    else:
        assert rejection(tmp_path, data, expected(format=asked)).code == "wrong_format"


@pytest.mark.parametrize("size", [(460, 460), (460, 306), (300, 200)])
def test_a_preview_instead_of_the_picture_is_called_by_its_name(tmp_path: Path, size: tuple[int, int]) -> None:
    found = verify(answer_of(tmp_path, encoded(cutout(size), Format.WEBP)), expected())
    assert found.surprise is not None
    assert found.finding == found.surprise.code == "downgraded"
    assert f"the answer is {size[0]} x {size[1]}, expected 1200 x 800; such previews come" in found.surprise.reason


@pytest.mark.parametrize("size", [(1200, 700), (1100, 800), (2400, 1600), (1, 1200), (800, 1200)])
@pytest.mark.parametrize("kind", [Format.WEBP, Format.PNG, Format.JPEG, Format.BMP])
def test_a_whole_answer_of_another_size_is_a_surprise_and_no_rejection(
    tmp_path: Path, size: tuple[int, int], kind: Format
) -> None:
    mode = "RGB" if kind in (Format.JPEG, Format.BMP) else "RGBA"
    found = verify(answer_of(tmp_path, encoded(cutout(size, mode), kind)), expected(format=kind))
    assert (found.width, found.height) == size
    assert found.surprise is not None
    assert found.surprise.reason.startswith(f"the answer is {size[0]} x {size[1]}, expected 1200 x 800")


def test_an_answer_of_another_size_that_does_not_decode_is_rejected(tmp_path: Path) -> None:
    data = bytearray(encoded(cutout((1100, 700)), Format.PNG))
    data[len(data) // 2 : len(data) // 2 + 64] = bytes(64)
    assert rejection(tmp_path, bytes(data), expected(format=Format.PNG)).code == "broken"


def test_a_preview_is_no_preview_where_it_was_asked_for(tmp_path: Path) -> None:
    data = encoded(cutout((460, 460)), Format.WEBP)
    assert verify(answer_of(tmp_path, data), expected(w=460, h=460, exact_resize=True)).width == 460


def bomb(width: int, height: int) -> bytes:
    """A PNG that says it is huge and is a few bytes."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 9)) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("side", [11_000, 14_143, 20_001, 100_000])
def test_a_decompression_bomb_is_rejected_before_it_is_decoded(tmp_path: Path, side: int) -> None:
    assert rejection(tmp_path, bomb(side, side), expected(format=Format.PNG)).code in {"too_large", "broken"}


@pytest.mark.parametrize("side", [14_200, 19_000, 100_000])
def test_a_bomb_is_rejected_even_where_the_source_is_not_known_any_more(tmp_path: Path, side: int) -> None:
    wanted = Expected.of_unknown_source(RemovalParams(format=Format.PNG))
    assert rejection(tmp_path, bomb(side, side), wanted).code in {"too_large", "broken"}


def test_any_size_fits_a_source_that_is_not_known_any_more(tmp_path: Path) -> None:
    wanted = Expected.of_unknown_source(RemovalParams())
    assert verify(answer_of(tmp_path, encoded(cutout((123, 77)), Format.WEBP)), wanted).width == 123
    assert rejection(tmp_path, b"", wanted).code == "empty"


def test_a_picture_without_its_pixels_is_rejected(tmp_path: Path) -> None:
    assert rejection(tmp_path, bomb(*SOURCE), expected(format=Format.PNG)).code == "broken"


def test_the_largest_answer_there_can_be_is_no_bomb() -> None:
    side = math.ceil(math.sqrt(2) * 10_000)
    assert Image.MAX_IMAGE_PIXELS is not None
    assert side * side <= Image.MAX_IMAGE_PIXELS * 1.001
    assert fits(side, side, expected((10_000, 10_000), angle=45))


# params, answers that fit, answers that do not; the source is 1200 x 800
SIZES: dict[str, tuple[dict[str, Any], list[tuple[int, int]], list[tuple[int, int]]]] = {
    "as it is": ({}, [(1200, 800), (1199, 801)], [(800, 1200), (1250, 800), (1200, 850), (600, 400), (460, 460)]),
    "narrower": ({"w": 600}, [(600, 400), (600, 401)], [(1200, 800), (600, 600), (460, 460), (600, 800)]),
    "wider, enlarged or not": ({"w": 2400}, [(2400, 1600), (1200, 800)], [(2400, 800), (1800, 1200), (460, 460)]),
    "lower": ({"h": 400}, [(600, 400)], [(400, 400), (1200, 400), (460, 460)]),
    "taller, enlarged or not": ({"h": 1600}, [(2400, 1600), (1200, 800)], [(1200, 1600)]),
    "within a box": ({"w": 600, "h": 600}, [(600, 400), (900, 600)], [(600, 600), (1200, 800), (460, 460)]),
    "within a large box": (
        {"w": 2000, "h": 2000},
        [(2000, 1333), (1200, 800), (3000, 2000)],
        [(2000, 2000), (460, 460), (460, 307)],
    ),
    "exactly": (
        {"w": 500, "h": 500, "exact_resize": True},
        [(500, 500)],
        [(500, 333), (750, 500), (1200, 800), (460, 460)],
    ),
    "exactly, of one side": (
        {"w": 600, "exact_resize": True},
        [(600, 800), (600, 400)],
        [(600, 600), (1200, 800), (460, 460)],
    ),
    "one pixel wide": ({"w": 1}, [(1, 1)], [(1200, 800), (460, 460)]),
    "turned by a right angle": ({"angle": 90}, [(800, 1200)], [(1200, 800), (460, 460)]),
    "turned the other way": ({"angle": -90}, [(800, 1200)], [(1200, 800)]),
    "turned upside down": ({"angle": 180}, [(1200, 800)], [(800, 1200)]),
    "turned once round": ({"angle": 360}, [(1200, 800)], [(800, 1200), (1600, 1200)]),
    "turned by 45 degrees": ({"angle": 45}, [(1414, 1414), (1416, 1415)], [(1200, 800), (1200, 1200), (460, 460)]),
    "turned by 30 degrees": ({"angle": 30}, [(1439, 1293)], [(1293, 1439), (1200, 800)]),
    "turned and cropped": ({"angle": 30, "expand": False}, [(1200, 800)], [(1439, 1293), (460, 460)]),
    "turned and resized, in either order": (
        {"angle": 90, "w": 600},
        [(400, 600), (600, 900)],
        [(600, 400), (1200, 800), (460, 460)],
    ),
    "turned and exactly resized, in either order": (
        {"angle": 90, "w": 600, "h": 500, "exact_resize": True},
        [(500, 600), (600, 500)],
        [(800, 1200), (1200, 800), (460, 460)],
    ),
}


@pytest.mark.parametrize(
    ("params", "size"),
    [pytest.param(row[0], size, id=f"{name} {size}") for name, row in SIZES.items() for size in row[1]],
)
def test_a_size_that_is_a_fair_reading_of_the_request_fits(params: dict[str, Any], size: tuple[int, int]) -> None:
    assert fits(*size, expected(**params))


@pytest.mark.parametrize(
    ("params", "size"),
    [pytest.param(row[0], size, id=f"{name} {size}") for name, row in SIZES.items() for size in row[2]],
)
def test_a_size_that_nothing_explains_does_not_fit(params: dict[str, Any], size: tuple[int, int]) -> None:
    assert not fits(*size, expected(**params))


def test_a_source_that_was_sent_lying_may_come_back_lying_or_upright() -> None:
    wanted = expected(may_be_turned=True, w=600)
    assert fits(600, 400, wanted)
    assert fits(600, 900, wanted)
    assert not fits(460, 460, wanted)
    assert not fits(600, 900, expected(w=600))


@pytest.mark.parametrize("side", [1, 2, 10_000])
def test_extreme_sources_fit_themselves(side: int) -> None:
    assert fits(side, 10_000, expected((side, 10_000)))
    assert fits(10_000, side, expected((10_000, side)))
    assert fits(1, 1, expected((side, 10_000), w=1, h=1))


@pytest.mark.parametrize("kind", [Format.WEBP, Format.PNG])
@pytest.mark.parametrize(
    ("alpha", "params", "warning"),
    [
        pytest.param(None, {}, "no_alpha", id="none at all"),
        pytest.param(0, {}, "all_transparent", id="nothing was found"),
        pytest.param(254, {}, None, id="nearly opaque"),
        pytest.param(None, {"bg_color": "#fff"}, None, id="none, on a background"),
        pytest.param(None, {"mask": True}, None, id="a mask in three equal bands"),
    ],
)
def test_odd_transparency_is_a_warning_and_no_rejection(
    tmp_path: Path, kind: Format, alpha: int | None, params: dict[str, Any], warning: str | None
) -> None:
    picture = cutout(mode="RGB")
    if alpha is not None:
        picture.putalpha(alpha)
    data = encoded(picture, kind, **({"exact": True} if kind is Format.WEBP else {}))
    assert verify(answer_of(tmp_path, data), expected(format=kind, **params)).warning == warning


def test_an_opaque_alpha_is_a_warning(tmp_path: Path) -> None:
    picture = cutout(mode="RGB")
    picture.putalpha(255)
    assert verify(answer_of(tmp_path, encoded(picture, Format.PNG)), expected(format=Format.PNG)).warning == (
        "all_opaque"
    )


@pytest.mark.parametrize("mode", ["P", "LA", "RGB"])
def test_transparency_in_every_way_that_png_knows_is_seen(tmp_path: Path, mode: str) -> None:
    picture = cutout().quantize(32) if mode == "P" else cutout(mode=mode)
    options = {"transparency": picture.getpixel((0, 0))} if mode == "RGB" else {}
    data = encoded(picture, Format.PNG, **options)
    assert verify(answer_of(tmp_path, data), expected(format=Format.PNG)).warning is None


@pytest.mark.parametrize("kind", [Format.JPEG, Format.BMP])
def test_formats_without_transparency_need_none(tmp_path: Path, kind: Format) -> None:
    data = encoded(cutout(mode="RGB"), kind)
    assert verify(answer_of(tmp_path, data), expected(format=kind)).warning is None


def test_a_disk_that_cannot_be_read_is_not_the_answers_fault(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        verify(tmp_path / "none", expected())


def test_answers_are_verified_side_by_side(tmp_path: Path) -> None:
    answer = answer_of(tmp_path, encoded(cutout(), Format.WEBP))
    found: list[Verified] = []
    threads = [threading.Thread(target=lambda: found.append(verify(answer, expected()))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8


def test_a_reason_can_be_sent_as_json(tmp_path: Path) -> None:
    assert json.loads(json.dumps(rejection(tmp_path, b"x", expected()).reason)).endswith(".")
