"""
Where the object of a picture stands in a deliverable, exact to a pixel: arithmetic alone.

The object is known by its box: all that is more visible than ``VISIBLE``. The box becomes a rectangle of whole
pixels at a whole place on the canvas; how much of the picture around it is seen as well follows from that.
"""

from dataclasses import dataclass

from rembg_watch.pictures.deliverable import Align, Canvas, Deliverable

VISIBLE = 10 / 255
"""
How opaque a pixel is that belongs to the object. Networks leave a haze of a few levels where they are not
sure, which would make the box as large as the picture; on white, 4 % of a dark object is what the eye begins to see.
"""

TOUCHING = 0.003
"""So near to the border of its picture, as a part of its side, an object counts as cut off there (at least a pixel)."""

LARGEST_SIDE_PX = 65_000
_TRIES = 64
_RING_PX = 24
"""So much more is taken than the canvas shows, where there is as much: to know what the background is."""

TOO_SMALL, CUT_SIDES = "too_small", "cut_sides"


class FramingError(ValueError):
    """There is no place on the canvas for any object."""


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle of whole pixels."""

    left: int
    top: int
    width: int
    height: int

    @property
    def right(self) -> int:
        """The first column behind it."""
        return self.left + self.width

    @property
    def bottom(self) -> int:
        """The first row below it."""
        return self.top + self.height


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """
    How a picture comes onto a canvas.

    Attributes:
        canvas: Width and height.
        crop: What is taken of the picture. It may end a little beyond it, on the next multiple of the grid.
        scaled: How large the crop becomes.
        at: Where its upper left corner then stands; below 0: beyond the canvas.
        remarks: What is odd, as codes.
    """

    canvas: tuple[int, int]
    crop: Box
    scaled: tuple[int, int]
    at: tuple[int, int]
    remarks: tuple[str, ...] = ()

    @property
    def is_resized(self) -> bool:
        """Whether pixels are no longer those of the picture."""
        return self.scaled != (self.crop.width, self.crop.height)

    @property
    def scale(self) -> float:
        """How many pixels of the canvas one of the picture becomes, each way."""
        return max(self.scaled[0] / self.crop.width, self.scaled[1] / self.crop.height)

    def share_of(self, x: float, y: float) -> tuple[float, float]:
        """Say where a place in the picture comes to stand, in shares of the canvas."""
        return (
            (self.at[0] + (x - self.crop.left) * self.scaled[0] / self.crop.width) / self.canvas[0],
            (self.at[1] + (y - self.crop.top) * self.scaled[1] / self.crop.height) / self.canvas[1],
        )


@dataclass(frozen=True, slots=True)
class _Axis:
    """One of the two directions."""

    canvas: int
    begin: int  # of the object in the picture
    size: int
    picture: int
    margin: float  # on the canvas, on each side that is not touched
    room: float  # that the object may take
    align: Align = Align.CENTRE

    @property
    def touches_begin(self) -> bool:
        return self.begin <= _touching(self.picture)

    @property
    def touches_end(self) -> bool:
        return self.picture - self.begin - self.size <= _touching(self.picture)

    def place(self, size: int) -> int:
        """Say where the object begins that has this size on the canvas."""
        if self.touches_begin != self.touches_end:
            return 0 if self.touches_begin else self.canvas - size
        spare = self.canvas - size
        match self.align:
            case Align.TOP:
                return min(round(self.margin), spare)
            case Align.BOTTOM:
                return max(0, spare - round(self.margin))
        return spare // 2


def _touching(side: int) -> float:
    return max(1.0, side * TOUCHING)


def frame(wanted: Deliverable, picture: tuple[int, int], box: Box, grid: int = 1) -> Frame:
    """
    Say how a picture comes onto the canvas of a deliverable.

    Sides of the object that are cut off by the border of its picture stay at the border of the canvas.

    Args:
        wanted: The deliverable.
        picture: Width and height of the picture.
        box: Of its object.
        grid: The crop begins and ends on multiples of this: the picture is at hand smaller by this factor.

    Raises:
        FramingError: Its margins leave no place.
    """
    if wanted.canvas is Canvas.SOURCE:
        return Frame(canvas=picture, crop=Box(0, 0, *picture), scaled=picture, at=(0, 0))
    if isinstance(wanted.canvas, tuple):
        across, down = _axes(wanted, wanted.canvas, picture, box)
        scale = min(across.room / box.width, down.room / box.height)
    else:
        across, down = _axes_around(wanted, picture, box)
        scale = 1.0
    remarks: tuple[str, ...] = ()
    if scale > 1 and not wanted.enlarge:
        scale, remarks = 1.0, (TOO_SMALL,)
    size = max(1, round(box.width * scale)), max(1, round(box.height * scale))
    if _is_cut_within(across, size[0]) or _is_cut_within(down, size[1]):
        remarks = (*remarks, CUT_SIDES)
    begin_x, width, at_x, scaled_x = _window(across, size[0], grid)
    begin_y, height, at_y, scaled_y = _window(down, size[1], grid)
    return Frame(
        canvas=(across.canvas, down.canvas),
        crop=Box(begin_x, begin_y, width, height),
        scaled=(scaled_x, scaled_y),
        at=(at_x, at_y),
        remarks=remarks,
    )


def _is_cut_within(axis: _Axis, size: int) -> bool:
    """Say if both ends are cut off and cannot both stand at a border."""
    return axis.touches_begin and axis.touches_end and size < axis.canvas


def _axes(wanted: Deliverable, canvas: tuple[int, int], picture: tuple[int, int], box: Box) -> tuple[_Axis, _Axis]:
    margins = (0.0, 0.0)
    if wanted.fill is not None:
        margins = canvas[0] * (1 - wanted.fill) / 2, canvas[1] * (1 - wanted.fill) / 2
    else:
        margins = (margin_px(wanted.margin, min(canvas)),) * 2
    sides = zip(canvas, (box.left, box.top), (box.width, box.height), picture, margins, strict=True)
    across, down = (_with_room(_Axis(*side, room=0), is_filled=wanted.fill is not None) for side in sides)
    return across, _Axis(*_values(down), align=wanted.align)


def _values(axis: _Axis) -> tuple[int, int, int, int, float, float]:
    return axis.canvas, axis.begin, axis.size, axis.picture, axis.margin, axis.room


def _with_room(axis: _Axis, *, is_filled: bool) -> _Axis:
    """Say how much an object may take: what is between its margins, and up to the border where it is cut off."""
    free = 2 - axis.touches_begin - axis.touches_end
    kept = axis.margin * (2 if is_filled and free else free)
    if axis.canvas - kept < 1:
        raise FramingError(f"margins of {axis.margin:.0f} px leave no place on a canvas of {axis.canvas} px")
    return _Axis(axis.canvas, axis.begin, axis.size, axis.picture, axis.margin, axis.canvas - kept)


def _axes_around(wanted: Deliverable, picture: tuple[int, int], box: Box) -> tuple[_Axis, _Axis]:
    """Make a canvas around the object as it is."""
    made = []
    for begin, size, side in zip((box.left, box.top), (box.width, box.height), picture, strict=True):
        margin = margin_px(wanted.margin, min(box.width, box.height))
        if wanted.fill is not None:
            margin = size * (1 / wanted.fill - 1) / 2
        axis = _Axis(0, begin, size, side, round(margin), size)
        free = 2 - axis.touches_begin - axis.touches_end
        canvas = size + round(margin) * free
        if canvas > LARGEST_SIDE_PX:
            raise FramingError(f"it would be {canvas} px long")
        made.append(_Axis(canvas, begin, size, side, round(margin), size))
    return made[0], made[1]


def margin_px(margin: str, side: int) -> float:
    """
    Read what stays free on each side: ``5%`` of a side, or ``40px``.

    Raises:
        FramingError: It is neither.
    """
    text = margin.strip().lower()
    try:
        value = float(text.removesuffix("%").removesuffix("px"))
    except ValueError as error:
        raise FramingError(f"{margin!r} is no margin: write '5%' or '40px'") from error
    if not 0 <= value <= LARGEST_SIDE_PX:
        raise FramingError(f"{margin!r} is no margin: write '5%' or '40px'")
    return side * value / 100 if text.endswith("%") else value


def _window(axis: _Axis, size: int, grid: int) -> tuple[int, int, int, int]:
    """
    Choose how much of the picture is taken on both sides of the object, so that the object lands on whole pixels.

    Returns:
        Where the crop begins in the picture, how long it is, where it begins on the canvas, how long it is there.
    """
    at, scale = axis.place(size), size / axis.size
    end = -(-axis.picture // grid) * grid
    before, before_px = _pad(axis.begin % grid, axis.begin, at, scale, grid)
    behind_least = -(axis.begin + axis.size) % grid
    behind, behind_px = _pad(behind_least, end - axis.begin - axis.size, axis.canvas - at - size, scale, grid)
    return axis.begin - before, before + axis.size + behind, at - before_px, before_px + size + behind_px


def _pad(least: int, most: int, room_px: int, scale: float, grid: int) -> tuple[int, int]:
    """Return a number of pixels beside the object that is nearly a whole number on the canvas, too; as many as fit."""
    most = min(most, int((room_px + _RING_PX) / scale) + grid)
    if most <= least:
        return least, round(least * scale)
    widest = least + (most - least) // grid * grid
    tries = range(widest, max(least - 1, widest - _TRIES * grid), -grid)
    best = min(tries, key=lambda pad: (round(abs(pad * scale - round(pad * scale)), 2), -pad))
    return best, round(best * scale)
