"""What an alpha or a mask says in figures: exact on made pictures, and mild towards those of a studio."""

import json
import time
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from rembg_watch.pictures.figures import Figures, Limits, described, judged
from rembg_watch.pictures.measuring import measured

WHITE, SIZE = (255, 255, 255), (200, 100)


def cutout(*boxes: tuple[int, int, int, int], level: int = 255, size: tuple[int, int] = SIZE) -> Image.Image:
    """Return a picture that is opaque in the boxes (their last pixels included) alone."""
    alpha = Image.new("L", size)
    for box in boxes:
        ImageDraw.Draw(alpha).rectangle(box, fill=level)
    picture = Image.new("RGB", size, WHITE)
    picture.putalpha(alpha)
    return picture


def of(picture: Image.Image, *, is_mask: bool = False) -> Figures:
    return measured(picture, is_mask=is_mask)


def codes(picture: Image.Image, limits: Limits | None = None, *, is_mask: bool = False) -> tuple[str, ...]:
    return judged(of(picture, is_mask=is_mask), limits or Limits())


def test_a_plain_object_has_these_figures_and_nothing_odd() -> None:
    found = of(cutout((50, 25, 149, 74)))
    assert (found.coverage, found.softness, found.borders) == (0.25, 0.0, (0, 0, 0, 0))
    assert (found.fragments, found.loose, found.holes, found.hollow) == (1, 0.0, 0, 0.0)
    assert (found.least, found.most) == (0, 255)
    assert judged(found, Limits()) == ()


def test_each_border_is_known_by_its_share() -> None:
    assert of(cutout((0, 50, 99, 99))).borders == (0.0, 0.0, 0.5, 0.5)
    assert of(cutout((100, 0, 199, 49))).borders == (0.5, 0.5, 0.0, 0.0)
    assert codes(cutout((0, 50, 199, 99))) == ("touches_border",)
    assert codes(cutout((20, 50, 179, 99))) == ()
    text = described("touches_border", of(cutout((0, 50, 199, 99))))
    assert text == "the object touches the border (right 50%, bottom 100%, left 50%)"


def test_parts_are_counted_and_corners_connect_but_specks_do_not_count() -> None:
    found = of(cutout((10, 10, 49, 49), (60, 10, 79, 29), (100, 90, 100, 90)))
    assert found.fragments == 2
    assert found.loose == round(401 / 2001, 4)
    assert of(cutout((10, 10, 19, 19), (20, 20, 29, 29))).fragments == 1


def test_holes_are_what_the_background_outside_does_not_reach() -> None:
    picture = cutout((10, 10, 89, 89))
    for x in (20, 40):
        picture.paste((*WHITE, 0), (x, 20, x + 10, 30))
    picture.paste((*WHITE, 0), (85, 60, 90, 65))  # a notch in its side
    found = of(picture)
    assert found.holes == 2
    assert found.hollow == round(200 / 6370, 4)
    assert codes(picture, Limits(holes=1)) == ("holes",)


def test_a_hole_is_no_hole_where_it_opens_to_the_border() -> None:
    picture = cutout((0, 0, 199, 99))
    picture.paste((*WHITE, 0), (50, 0, 60, 50))
    assert of(picture).holes == 0


def test_what_is_half_transparent_counts_as_soft() -> None:
    picture = cutout((0, 25, 99, 74))
    picture.paste((*WHITE, 128), (50, 25, 100, 75))
    assert of(picture).softness == 0.5
    assert codes(picture, Limits(softness=0.4)) == ("soft",)


@pytest.mark.parametrize(
    ("picture", "code"),
    [
        pytest.param(Image.new("RGB", SIZE), "no_alpha", id="it cannot be transparent"),
        pytest.param(cutout((0, 0, 199, 99)), "all_opaque", id="nothing was removed"),
        pytest.param(cutout(), "all_transparent", id="nothing was found"),
        pytest.param(cutout((0, 0, 199, 99), level=90), "flat", id="all of it alike"),
        pytest.param(cutout((50, 50, 51, 51)), "small_object", id="a speck"),
        pytest.param(
            cutout(*((x, y, x + 3, y + 3) for x in range(2, 98, 12) for y in range(2, 98, 12))),
            "fragments",
            id="crumbs",
        ),
    ],
)
def test_what_is_odd_has_a_code(picture: Image.Image, code: str) -> None:
    assert codes(picture) == (code,)
    assert "_" not in described(code, of(picture))


def test_an_object_that_is_nearly_all_of_it_is_large_and_takes_the_borders() -> None:
    assert codes(cutout((0, 0, 198, 99))) == ("large_object", "touches_border")


@pytest.mark.parametrize("mode", ["L", "1", "P", "RGB", "RGBA", "LA", "I;16"])
def test_a_mask_of_any_mode_has_the_same_figures(mode: str) -> None:
    mask = cutout((50, 25, 149, 74)).getchannel("A")
    if mode == "I;16":
        wide = mask.convert("I").point(lambda level: level * 257)
        mask = wide.convert("I;16")
    else:
        mask = mask.convert(mode)
    found = of(mask, is_mask=True)
    assert (found.coverage, found.borders, found.fragments, found.holes) == (0.25, (0, 0, 0, 0), 1, 0)
    assert found.is_mask


@pytest.mark.parametrize("picture", [cutout((50, 25, 149, 74)), Image.new("RGB", SIZE)])
def test_figures_come_back_as_they_were_kept(picture: Image.Image) -> None:
    found = of(picture)
    assert Figures.from_json(json.loads(json.dumps(found.as_json()))) == found


def test_a_mask_that_is_the_same_everywhere_is_odd() -> None:
    assert codes(Image.new("L", SIZE, 255), is_mask=True) == ("flat_mask",)


def test_a_palette_with_one_transparent_colour_has_an_alpha() -> None:
    picture = Image.new("P", SIZE)
    picture.paste(1, (50, 25, 150, 75))
    picture.info["transparency"] = 0
    assert of(picture).coverage == 0.25


@pytest.mark.parametrize("path", sorted(Path("tests/data/packshots").glob("*.jpg")), ids=lambda path: str(path.stem))
def test_an_object_on_white_that_is_cut_out_well_is_not_marked(path: Path) -> None:
    with Image.open(path) as picture:
        alpha = picture.convert("L").point(lambda level: 0 if level > 225 else 255)
        picture.putalpha(alpha)
        assert set(codes(picture)) <= {"fragments", "holes"}  # this alpha is cruder than any service's


def test_shapes_of_a_busy_picture_are_counted_in_no_time() -> None:
    alpha = Image.effect_noise((256, 256), 120)
    picture = Image.new("RGB", alpha.size)
    picture.putalpha(alpha)
    taken_s = []
    for _ in range(5):
        began_s = time.perf_counter()
        measured(picture, is_mask=False)
        taken_s.append(time.perf_counter() - began_s)
    assert min(taken_s) < 0.25  # of the worst there is; about 20 ms, and 3 ms of an object
