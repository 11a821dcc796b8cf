"""Cut-outs against true masks, and every parameter really applied."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from rembg_watch.sandbox import Sandbox
from rembg_watch.sandbox.render import Cutter, UndecodableError, encoded, flat_color, target_size
from rembg_watch.sandbox.rules import Wish

Ask = Callable[..., httpx.Response]
Make = Callable[..., bytes]
PACKSHOTS = ["chair", "headphones", "mug", "perfume", "vase"]


def opened(answer: httpx.Response) -> Image.Image:
    assert answer.status_code == 200, answer.text
    picture = Image.open(io.BytesIO(answer.content))
    picture.load()
    return picture


@pytest.fixture(scope="module")
def network() -> Sandbox:
    return Sandbox(engine="u2net", credits=1000)


@pytest.fixture
def fast() -> Sandbox:
    return Sandbox(engine="fast", credits=1000)


def overlap(found: Image.Image, truth: Image.Image) -> float:
    one, other = np.asarray(found.convert("L")) > 127, np.asarray(truth.convert("L")) > 127
    return float((one & other).sum() / (one | other).sum())


@pytest.mark.parametrize("name", PACKSHOTS)
def test_the_network_finds_the_product(network: Sandbox, ask: Ask, data: Path, name: str) -> None:
    body = (data / "packshots" / f"{name}.jpg").read_bytes()
    mask = opened(ask(network, {"mask": "true", "format": "png"}, image=body))
    assert overlap(mask, Image.open(data / "truth" / f"{name}.png")) >= 0.95


def test_the_backdrop_model_does_well_enough_for_rehearsals(fast: Sandbox, ask: Ask, data: Path) -> None:
    overlaps = []
    for name in PACKSHOTS:
        mask = opened(
            ask(fast, {"mask": "true", "format": "png"}, image=(data / "packshots" / f"{name}.jpg").read_bytes())
        )
        overlaps.append(overlap(mask, Image.open(data / "truth" / f"{name}.png")))
    assert np.mean(overlaps) >= 0.8


def test_the_object_keeps_its_pixels_and_the_ground_goes(fast: Sandbox, ask: Ask, make_picture: Make) -> None:
    cutout = opened(ask(fast, {"format": "png"}, image=make_picture(200, 200, "PNG"), filename="a.png"))
    assert cutout.mode == "RGBA"
    assert cutout.getpixel((100, 100)) == (190, 30, 40, 255)
    assert cutout.getpixel((3, 3))[3] == 0  # type: ignore[index]


def test_edges_lose_the_colour_of_the_backdrop(network: Sandbox, ask: Ask, data: Path) -> None:
    """The mug is dark; what is half covered was mixed with a light ground and is dark again."""
    cutout = opened(ask(network, {"format": "png"}, image=(data / "packshots" / "mug.jpg").read_bytes()))
    source = np.asarray(Image.open(data / "packshots" / "mug.jpg").convert("L"), float)
    alpha = np.asarray(cutout.getchannel("A"))
    edge = (alpha > 60) & (alpha < 200)
    assert edge.sum() > 500
    assert np.asarray(cutout.convert("RGB").convert("L"), float)[edge].mean() < source[edge].mean() - 10


@pytest.mark.parametrize("engine", ["u2net", "fast"])
def test_a_picture_in_which_nothing_is_found_comes_back_whole(engine: str, ask: Ask) -> None:
    blank = io.BytesIO()
    Image.new("RGB", (90, 60), (200, 200, 200)).save(blank, "PNG")
    cutout = opened(ask(Sandbox(engine=engine), {"format": "png"}, image=blank.getvalue(), filename="a.png"))
    assert cutout.getchannel("A").getextrema() == (255, 255)


@pytest.mark.parametrize(
    ("asked", "given", "media"),
    [
        ({}, "WEBP", "image/webp"),
        ({"format": "webp"}, "WEBP", "image/webp"),
        ({"format": "Png"}, "PNG", "image/png"),
        ({"format": "JPEG"}, "JPEG", "image/jpeg"),
        ({"format": "bmp"}, "BMP", "image/bmp"),
    ],
)
def test_the_format_is_the_one_asked_for(
    fast: Sandbox, ask: Ask, asked: dict[str, str], given: str, media: str
) -> None:
    answer = ask(fast, asked)
    assert opened(answer).format == given
    assert answer.headers["content-type"] == media


def test_a_picture_too_rich_for_a_webp_with_loss_is_written_without_loss() -> None:
    rich = Image.effect_noise((4000, 4000), 80).convert("RGB")
    written = Image.open(io.BytesIO(encoded(rich, "WEBP")))
    assert (written.format, written.size) == ("WEBP", (4000, 4000))
    assert written.convert("RGB").tobytes() == rich.tobytes()


@pytest.mark.parametrize("kind", ["JPEG", "BMP"])
def test_formats_without_transparency_are_laid_on_white(fast: Sandbox, ask: Ask, make_picture: Make, kind: str) -> None:
    cutout = opened(ask(fast, {"format": kind}, image=make_picture(200, 200)))
    assert cutout.mode == "RGB"
    assert min(cutout.getpixel((3, 3))) > 250  # type: ignore[arg-type, type-var]


SIZES = [
    ({}, (120, 80)),
    ({"w": "60"}, (60, 40)),
    ({"h": "40"}, (60, 40)),
    ({"w": "240"}, (240, 160)),
    ({"w": "60", "h": "60"}, (60, 40)),
    ({"w": "600", "h": "40"}, (60, 40)),
    ({"w": "0", "h": "0"}, (120, 80)),
    ({"w": "50", "h": "70", "exact_resize": "true"}, (50, 70)),
    ({"w": "60", "exact_resize": "true"}, (60, 40)),
    ({"w": "1", "h": "1"}, (1, 1)),
]


@pytest.mark.parametrize("engine", ["fast", "flat"])
@pytest.mark.parametrize(("fields", "size"), SIZES, ids=[str(s[0]) for s in SIZES])
def test_the_size_is_the_one_asked_for(engine: str, ask: Ask, fields: dict[str, str], size: tuple[int, int]) -> None:
    assert opened(ask(Sandbox(engine=engine), fields)).size == size


def test_no_side_grows_beyond_the_limit() -> None:
    assert target_size((1, 10_000), Wish(width=10_000)) == (1, 10_000)
    assert target_size((10_000, 1), Wish(height=10_000)) == (10_000, 1)


@pytest.mark.parametrize(
    ("fields", "size"),
    [
        ({"angle": "90"}, (80, 120)),
        ({"angle": "-90"}, (80, 120)),
        ({"angle": "180"}, (120, 80)),
        ({"angle": "360"}, (120, 80)),
        ({"angle": "0"}, (120, 80)),
        ({"angle": "90", "expand": "false"}, (120, 80)),
        ({"angle": "45", "expand": "false"}, (120, 80)),
        ({"angle": "90", "w": "60"}, (40, 60)),
    ],
)
def test_a_turn_pads_unless_it_is_told_not_to(
    fast: Sandbox, ask: Ask, fields: dict[str, str], size: tuple[int, int]
) -> None:
    assert opened(ask(fast, fields)).size == size


def test_a_slanted_turn_grows_to_hold_the_whole_picture(fast: Sandbox, ask: Ask) -> None:
    width, height = opened(ask(fast, {"angle": "45"})).size
    assert abs(width - 141.4) < 2
    assert abs(height - 141.4) < 2


def test_a_positive_angle_turns_counter_clockwise(fast: Sandbox, ask: Ask, make_picture: Make) -> None:
    """The disc stands on the left; a quarter turn against the clock brings it to the bottom."""
    cutout = opened(ask(fast, {"angle": "90", "format": "png"}, image=make_picture(300, 100)))
    assert cutout.getpixel((50, 250))[3] > 200  # type: ignore[index]
    assert cutout.getpixel((50, 50))[3] == 0  # type: ignore[index]


def test_the_mask_is_grey_white_within_and_black_without(fast: Sandbox, ask: Ask, make_picture: Make) -> None:
    mask = opened(ask(fast, {"mask": "true", "format": "png"}, image=make_picture(200, 200)))
    assert mask.mode == "L"
    assert (mask.getpixel((100, 100)), mask.getpixel((3, 3))) == (255, 0)


@pytest.mark.parametrize(("color", "ground"), [("#00ff00", (0, 255, 0)), ("#0f0", (0, 255, 0)), ("lime", (0, 255, 0))])
def test_a_solid_ground_is_laid_under(
    fast: Sandbox, ask: Ask, make_picture: Make, color: str, ground: tuple[int, ...]
) -> None:
    cutout = opened(ask(fast, {"bg_color": color, "format": "png"}, image=make_picture(200, 200, "PNG")))
    assert cutout.mode == "RGB"
    assert cutout.getpixel((3, 3)) == ground
    assert cutout.getpixel((100, 100)) == (190, 30, 40)


def test_a_half_clear_ground_stays_half_clear(fast: Sandbox, ask: Ask, make_picture: Make) -> None:
    cutout = opened(ask(fast, {"bg_color": "#ff000080", "format": "png"}, image=make_picture(200, 200)))
    assert cutout.getpixel((3, 3)) == (255, 0, 0, 128)
    assert cutout.getpixel((100, 100))[3] == 255  # type: ignore[index]


def test_the_corners_of_a_turned_picture_take_the_ground(fast: Sandbox, ask: Ask) -> None:
    cutout = opened(ask(fast, {"bg_color": "#00f", "angle": "45", "format": "png"}))
    assert cutout.getpixel((1, 1)) == (0, 0, 255)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_orientation_tag_is_applied_and_gone(fast: Sandbox, ask: Ask, make_picture: Make, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    cutout = opened(ask(fast, image=make_picture(120, 80, "JPEG", exif=exif.tobytes())))
    assert cutout.size == ((120, 80) if orientation <= 4 else (80, 120))
    assert cutout.getexif().get(0x0112, 1) == 1


def test_the_orientation_tag_can_be_left_alone_to_order(ask: Ask, make_picture: Make) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    image = make_picture(120, 80, "JPEG", exif=exif.tobytes())
    assert opened(ask(Sandbox(engine="fast", is_upright=False), image=image)).size == (120, 80)


@pytest.mark.parametrize("kind", ["webp", "png", "jpeg"])
def test_the_colour_profile_is_kept(fast: Sandbox, ask: Ask, make_picture: Make, kind: str) -> None:
    profile = b"\x00" * 128 + b"profile"
    cutout = opened(ask(fast, {"format": kind}, image=make_picture(icc_profile=profile)))
    assert cutout.info["icc_profile"] == profile


def odd(mode: str, kind: str, **options: Any) -> bytes:
    target = io.BytesIO()
    Image.new(mode, (64, 48), None if mode == "P" else 0).save(target, kind, **options)
    return target.getvalue()


@pytest.mark.parametrize(
    ("mode", "kind", "options"),
    [
        ("L", "PNG", {}),
        ("1", "PNG", {}),
        ("P", "PNG", {}),
        ("LA", "PNG", {}),
        ("RGBA", "PNG", {}),
        ("I;16", "PNG", {}),
        ("CMYK", "JPEG", {}),
        ("L", "JPEG", {}),
        ("RGB", "MPO", {}),
        ("RGB", "WEBP", {"lossless": True}),
        ("RGBA", "WEBP", {}),
        ("1", "BMP", {}),
    ],
)
def test_every_legal_kind_of_picture_is_worked_on(
    fast: Sandbox, ask: Ask, mode: str, kind: str, options: dict[str, Any]
) -> None:
    ending = {"MPO": "jpg"}.get(kind, kind.lower())
    assert opened(ask(fast, image=odd(mode, kind, **options), filename=f"a.{ending}")).size == (64, 48)


def test_what_was_see_through_stays_see_through(fast: Sandbox, ask: Ask) -> None:
    target = io.BytesIO()
    Image.new("RGBA", (64, 48), (255, 0, 0, 0)).save(target, "PNG")
    cutout = opened(ask(fast, {"format": "png"}, image=target.getvalue(), filename="a.png"))
    assert cutout.getchannel("A").getextrema() == (0, 0)


def test_sixteen_bit_grey_is_scaled_and_not_clipped(fast: Sandbox, ask: Ask) -> None:
    target = io.BytesIO()
    Image.new("I;16", (64, 48), 32768).save(target, "PNG")
    cutout = opened(ask(fast, {"format": "png"}, image=target.getvalue(), filename="a.png"))
    assert 125 <= cutout.getpixel((10, 10))[0] <= 130  # type: ignore[index]


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP"])
def test_half_a_picture_is_no_picture(kind: str, make_picture: Make) -> None:
    whole = make_picture(200, 200, kind)
    with pytest.raises(UndecodableError):
        Cutter("fast").cut(io.BytesIO(whole[: len(whole) // 2]), Wish())


@pytest.mark.filterwarnings("default")  # Pillow warns of what it repairs
@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(["JPEG", "PNG", "WEBP", "BMP"]),
    st.lists(st.tuples(st.integers(0, 10**9), st.integers(0, 255)), min_size=1, max_size=12),
    st.floats(0.02, 1),
)
def test_a_damaged_picture_is_a_picture_or_none_and_nothing_else(
    kind: str, damage: list[tuple[int, int]], part: float
) -> None:
    target = io.BytesIO()
    Image.effect_noise((24, 18), 60).convert("RGB").save(target, kind)
    body = bytearray(target.getvalue())
    for place, value in damage:
        body[place % len(body)] = value
    try:
        answer = Cutter("fast").cut(io.BytesIO(bytes(body[: int(len(body) * part)])), Wish(width=9, format="PNG"))
    except UndecodableError:
        return
    assert Image.open(io.BytesIO(answer)).width == 9


def test_the_flat_engine_gives_each_source_a_colour_of_its_own(ask: Ask, make_picture: Make) -> None:
    import hashlib

    image = make_picture()
    cutout = opened(ask(Sandbox(engine="flat"), {"format": "png"}, image=image))
    assert cutout.getpixel((cutout.width // 2, cutout.height // 2)) == flat_color(hashlib.sha256(image).hexdigest())
    assert cutout.getchannel("A").getextrema() == (0, 255), "something is cut out"


def test_an_unknown_engine_is_refused() -> None:
    with pytest.raises(ValueError, match="there are u2net, fast and flat"):
        Sandbox(engine="magic")
