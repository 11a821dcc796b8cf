"""The outline of an alpha, whatever its shape, and how few corners tell it."""

import random
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageChops, ImageDraw

from rembg_watch.pictures.contour import Point, Polygon, area, outlines, simplified


def drawn(polygons: list[Polygon], size: tuple[int, int], by: int = 4) -> Image.Image:
    """Fill polygons and holes, drawn larger by *by*."""
    picture = Image.new("1", (size[0] * by, size[1] * by), 0)
    for polygon in polygons:
        piece = Image.new("1", picture.size, 0)
        ImageDraw.Draw(piece).polygon([(x * by - 0.5, y * by - 0.5) for x, y in polygon], fill=1)
        picture = ImageChops.logical_xor(picture, piece)
    return picture


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**9))
def test_outlines_enclose_what_is_in_and_leave_out_the_rest(seed: int) -> None:
    chance, size = random.Random(seed), (chance_side(seed), chance_side(seed + 1))
    picture = Image.new("L", size, 0)
    for _ in range(chance.randrange(1, 6)):
        left, top = chance.randrange(-5, size[0]), chance.randrange(-5, size[1])
        box = (left, top, left + chance.randrange(12, 60), top + chance.randrange(12, 60))
        ImageDraw.Draw(picture).ellipse(box, fill=chance.choice((255, 255, 0, 200)))
    found = list(outlines(picture.tobytes(), *size))
    filled = drawn(found, size).resize(size, Image.Resampling.NEAREST)
    inside = picture.point(lambda value: 255 * (value > 127)).convert("1")
    wrong = sum(ImageChops.logical_xor(filled, inside).convert("L").point(bool).tobytes())
    length = sum(len(polygon) for polygon in found)
    assert wrong <= length / 4 + 60  # by rounding along the outline, and specks


def chance_side(seed: int) -> int:
    return 60 + seed % 61


def test_a_hole_goes_the_other_way_round() -> None:
    picture = Image.new("L", (60, 60), 0)
    picture.paste(255, (10, 10, 50, 50))
    picture.paste(0, (20, 20, 40, 40))
    areas = sorted(area(one) for one in outlines(picture.tobytes(), 60, 60))
    assert len(areas) == 2
    assert areas[0] * areas[1] < 0
    assert sorted(map(abs, areas)) == pytest.approx([400, 1600], abs=3)


def test_a_soft_edge_is_crossed_where_it_is_half_full() -> None:
    picture = Image.new("L", (40, 40), 0)
    picture.paste(255, (10, 10, 30, 30))
    picture.paste(64, (9, 10, 10, 30))
    (found,) = outlines(picture.tobytes(), 40, 40)
    left = min(x for x, _ in found)
    assert 9.5 < left < 10.0


def test_what_fills_the_picture_is_outlined_at_its_border() -> None:
    (found,) = outlines(b"\xff" * 900, 30, 30)
    assert (min(x for x, _ in found), max(x for x, _ in found)) == pytest.approx((0, 30), abs=0.01)


def test_dust_has_no_outline() -> None:
    picture = Image.new("L", (60, 60), 0)
    picture.paste(255, (10, 10, 14, 14))
    assert list(outlines(picture.tobytes(), 60, 60)) == []


@settings(max_examples=50, deadline=None)
@given(
    points=st.lists(st.tuples(st.floats(0, 100), st.floats(0, 100)), min_size=3, max_size=60),
    tolerance=st.floats(0.1, 5),
)
def test_a_simpler_outline_goes_by_all_of_its_points(points: list[Point], tolerance: float) -> None:
    simple = simplified(points, tolerance)
    assert set(simple) <= set(points)
    corners = [*simple, simple[0]]
    for point in points:
        assert min(off(point, one, other) for one, other in pairwise(corners)) <= tolerance + 1e-6


def off(point: Point, one: Point, other: Point) -> float:
    along = other[0] - one[0], other[1] - one[1]
    length = along[0] ** 2 + along[1] ** 2
    away = point[0] - one[0], point[1] - one[1]
    share = max(0.0, min(1.0, (away[0] * along[0] + away[1] * along[1]) / length)) if length else 0.0
    return float(((away[0] - share * along[0]) ** 2 + (away[1] - share * along[1]) ** 2) ** 0.5)
