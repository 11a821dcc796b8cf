"""Where the object stands: exact to a pixel, whatever its box and its canvas are."""

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from rembg_watch.pictures.deliverable import Align, Canvas, Deliverable
from rembg_watch.pictures.framing import Box, Frame, FramingError, frame, margin_px

PICTURE = (3000, 2000)


def on_canvas(made: Frame, box: Box) -> tuple[float, float, float, float]:
    """Say where the corners of the object come to stand: left, top, right, bottom."""
    across, down = made.scaled[0] / made.crop.width, made.scaled[1] / made.crop.height
    return (
        made.at[0] + (box.left - made.crop.left) * across,
        made.at[1] + (box.top - made.crop.top) * down,
        made.at[0] + (box.right - made.crop.left) * across,
        made.at[1] + (box.bottom - made.crop.top) * down,
    )


@st.composite
def boxes(draw: st.DrawFn) -> Box:
    left, top = draw(st.integers(20, 2000)), draw(st.integers(20, 1500))
    width, height = draw(st.integers(5, PICTURE[0] - 20 - left)), draw(st.integers(5, PICTURE[1] - 20 - top))
    return Box(left, top, width, height)


A_PIXEL = 1.01
"""The scale goes by whole pixels of what is seen, which may be much more than the object: it is as large to a pixel."""

canvases = st.tuples(st.integers(50, 3000), st.integers(50, 3000))


@settings(deadline=None)
@given(
    box=boxes(),
    canvas=canvases,
    fill=st.floats(0.3, 1),
    grid=st.sampled_from([1, 2, 3, 4, 8]),
    align=st.sampled_from(Align),
)
def test_the_object_fills_what_it_should_and_stands_on_whole_pixels(
    box: Box, canvas: tuple[int, int], fill: float, grid: int, align: Align
) -> None:
    wanted = Deliverable(name="x", canvas=canvas, fill=fill, enlarge=True, align=align)
    scale = min(canvas[0] * fill / box.width, canvas[1] * fill / box.height)
    size = max(1, round(box.width * scale)), max(1, round(box.height * scale))
    assume(scale * grid <= 1 or grid == 1)
    made = frame(wanted, PICTURE, box, grid)
    left, top, right, bottom = on_canvas(made, box)
    assert made.canvas == canvas
    assert abs(right - left - size[0]) <= A_PIXEL
    assert abs(bottom - top - size[1]) <= A_PIXEL
    assert abs(left - (canvas[0] - size[0]) // 2) < 0.75
    spare = canvas[1] - size[1]
    margin = round(canvas[1] * (1 - fill) / 2)
    expected = {Align.CENTRE: spare // 2, Align.TOP: min(margin, spare), Align.BOTTOM: max(0, spare - margin)}[align]
    assert abs(top - expected) < 0.75
    assert made.crop.left % grid == made.crop.top % grid == made.crop.right % grid == made.crop.bottom % grid == 0
    assert 0 <= made.crop.left <= box.left
    assert box.right <= made.crop.right < PICTURE[0] + grid


@given(box=boxes(), canvas=canvases)
def test_at_its_own_size_the_object_keeps_its_pixels(box: Box, canvas: tuple[int, int]) -> None:
    wanted = Deliverable(name="x", canvas=canvas, margin="0px")
    assume(box.width <= canvas[0] and box.height <= canvas[1])
    assume(canvas != (box.width, box.height))
    made = frame(wanted, PICTURE, box)
    assert not made.is_resized
    assert made.remarks == (() if box.width == canvas[0] or box.height == canvas[1] else ("too_small",))
    assert on_canvas(made, box)[:2] == ((canvas[0] - box.width) // 2, (canvas[1] - box.height) // 2)


def test_a_smaller_object_is_enlarged_only_if_that_is_wanted() -> None:
    box = Box(1000, 800, 100, 50)
    kept = frame(Deliverable(name="x", canvas=(1000, 1000), fill=0.8), PICTURE, box)
    grown = frame(Deliverable(name="x", canvas=(1000, 1000), fill=0.8, enlarge=True), PICTURE, box)
    assert kept.remarks == ("too_small",)
    assert on_canvas(kept, box) == (450, 475, 550, 525)
    assert grown.remarks == ()
    assert on_canvas(grown, box) == pytest.approx((100, 300, 900, 700), abs=0.05)


@pytest.mark.parametrize(
    ("box", "corner"),
    [
        (Box(0, 500, 1000, 1000), "left"),
        (Box(2000, 500, 1000, 1000), "right"),
        (Box(1000, 0, 1000, 1000), "top"),
        (Box(1000, 1000, 1000, 1000), "bottom"),
    ],
)
@pytest.mark.parametrize("align", Align)
def test_a_side_that_is_cut_off_stays_at_the_border(box: Box, corner: str, align: Align) -> None:
    made = frame(Deliverable(name="x", canvas=(600, 600), margin="10%", align=align), PICTURE, box)
    sides = dict(zip(("left", "top", "right", "bottom"), on_canvas(made, box), strict=True))
    assert sides[corner] == pytest.approx({"left": 0, "top": 0, "right": 600, "bottom": 600}[corner], abs=0.1)


def test_an_object_cut_off_on_both_sides_spans_the_canvas() -> None:
    box = Box(0, 500, 3000, 600)
    made = frame(Deliverable(name="x", canvas=(600, 600), fill=0.85), PICTURE, box)
    assert (on_canvas(made, box)[0], on_canvas(made, box)[2]) == pytest.approx((0, 600))
    assert made.remarks == ()
    high = Box(0, 100, 3000, 1800)
    assert frame(Deliverable(name="x", canvas=(900, 300), fill=0.85), PICTURE, high).remarks == ("cut_sides",)


def test_the_canvas_of_an_object_is_its_box_and_its_margins() -> None:
    box = Box(100, 200, 400, 300)
    made = frame(Deliverable(name="x", canvas=Canvas.OBJECT, margin="10%"), PICTURE, box)
    assert made.canvas == (460, 360)
    assert on_canvas(made, box) == (30, 30, 430, 330)
    assert not made.is_resized
    filled = frame(Deliverable(name="x", canvas=Canvas.OBJECT, fill=0.5), PICTURE, box)
    assert filled.canvas == (800, 600)
    cut = frame(Deliverable(name="x", canvas=Canvas.OBJECT, margin="40px"), PICTURE, Box(0, 200, 400, 300))
    assert cut.canvas == (440, 380)
    assert on_canvas(cut, Box(0, 200, 400, 300))[0] == 0


def test_the_canvas_of_the_source_leaves_everything_where_it_is() -> None:
    made = frame(Deliverable(name="x", fill=0.5), PICTURE, Box(100, 200, 400, 300))
    assert (made.canvas, made.at, made.is_resized) == (PICTURE, (0, 0), False)


@pytest.mark.parametrize("margin", ["", "5", "x%", "-1%", "nan%", "inf", "60%", "5 %"])
def test_margins_are_understood_or_refused(margin: str) -> None:
    if margin in ("5", "5 %"):
        assert margin_px(margin, 200) in (5, 10)
        return
    with pytest.raises(FramingError):
        frame(Deliverable(name="x", canvas=(100, 100), margin=margin), PICTURE, Box(500, 500, 400, 300))
