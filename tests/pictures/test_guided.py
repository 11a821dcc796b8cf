"""An alpha that is made larger follows the edges of its picture, and is never worse for it."""

import random
from typing import Any

import pytest

pyvips = pytest.importorskip("pyvips", reason="the extra `pictures` is not installed")

from rembg_watch.pictures.alphas import resized  # noqa: E402
from rembg_watch.pictures.guided import follows  # noqa: E402

SIZE = (600, 480)


@pytest.fixture(scope="module")
def truth() -> Any:
    """A disc and thin lines: what a small alpha cannot show."""
    chance = random.Random(7)
    drawn = pyvips.Image.black(*SIZE).draw_circle(255, 300, 240, 150, fill=True)
    for _ in range(40):
        ends = [chance.randrange(30, side - 30) for side in SIZE * 2]
        drawn = drawn.draw_line(255, *ends)
    return drawn.cast("uchar").gaussblur(0.8).copy_memory()


def scene(truth: Any, low: float, high: float) -> Any:
    """Put a thing of these tones on a light sweep, in 16 bits."""
    share = truth * (1 / 255)
    thing = pyvips.Image.perlin(*SIZE, cell_size=50) * ((high - low) / 2) + (high + low) / 2
    sweep = pyvips.Image.xyz(*SIZE)[1] * (-0.15 / SIZE[1]) + 0.95
    mixed = thing * share + sweep * (1 - share)
    bands = [mixed, mixed * 0.98, mixed * 0.95]
    return (bands[0].bandjoin(bands[1:]) * 65535).cast("ushort").copy(interpretation="rgb16").copy_memory()


def error(made: Any, truth: Any) -> float:
    return float((made.cast("float") * (1 / 65535) - truth * (1 / 255)).abs().avg())


@pytest.mark.parametrize(("low", "high", "least"), [(0.05, 0.5, 0.4), (0.8, 1.0, 1.05)])
@pytest.mark.parametrize("share", [0.25, 0.5])
def test_it_is_better_where_colours_tell_and_no_worse_elsewhere(
    truth: Any, low: float, high: float, least: float, share: float
) -> None:
    image = scene(truth, low, high)
    alpha, small = (one.resize(share, kernel="linear").copy_memory() for one in (truth, image))
    plain, guided = resized(alpha, SIZE, "ushort"), follows(alpha, small, image)
    assert (guided.width, guided.height, guided.format) == (*SIZE, "ushort")
    assert error(guided, truth) < least * error(plain, truth)


def test_what_is_full_stays_full_and_what_is_empty_empty(truth: Any) -> None:
    image = scene(truth, 0.05, 0.5)
    alpha, small = (one.resize(0.5, kernel="linear").copy_memory() for one in (truth, image))
    made = follows(alpha, small, image)
    assert made.crop(260, 200, 80, 80).min() > 65534 or truth.crop(260, 200, 80, 80).min() < 255
    assert made.crop(0, 0, 20, 20).max() == 0


@pytest.mark.parametrize("bands", [1, 4])
def test_gray_and_ink_guide_too(truth: Any, bands: int) -> None:
    image = scene(truth, 0.05, 0.5)
    image = image.extract_band(0) if bands == 1 else image.bandjoin(image.extract_band(0))
    alpha, small = (one.resize(0.5, kernel="linear").copy_memory() for one in (truth, image))
    assert error(follows(alpha, small, image), truth) < 0.7 * error(resized(alpha, SIZE, "ushort"), truth)
