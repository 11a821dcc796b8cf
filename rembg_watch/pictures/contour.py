"""
The outline of what an alpha shows, as polygons of few corners: marching squares at half of full, then simplified.

Corners lie between the pixels where the alpha passes its half, so that a small alpha gives a smooth outline, too.
"""

import re
from collections.abc import Iterator, Sequence

Point = tuple[float, float]
Polygon = Sequence[Point]

_HALF = 127.5
_LEAST_AREA_PX = 40.0
"""Smaller specks and holes are left out: they are dust, and each would be a path of its own."""

_IS_IN = bytes(int(value > _HALF) for value in range(256))
_NOT_BLANK = re.compile(rb"[^\0]+")

# For each cell by its corners that are inside (1: upper left, 2: upper right, 4: lower right, 8: lower left), from
# which of its sides to which the outline goes, with the inside at its right. 0: above, 1: right, 2: below, 3: left.
_WAYS: dict[int, tuple[tuple[int, int], ...]] = {
    1: ((0, 3),),
    2: ((1, 0),),
    3: ((1, 3),),
    4: ((2, 1),),
    5: ((0, 3), (2, 1)),
    6: ((2, 0),),
    7: ((2, 3),),
    8: ((3, 2),),
    9: ((0, 2),),
    10: ((1, 0), (3, 2)),
    11: ((1, 2),),
    12: ((3, 1),),
    13: ((0, 1),),
    14: ((3, 0),),
}

_Side = tuple[int, int, bool]  # column, row, and whether it goes down


def outlines(alpha: bytes, width: int, height: int) -> Iterator[Polygon]:
    """
    Yield the outlines of an alpha of 8 bits, closed, each corner in pixels from the upper left border on.

    Args:
        alpha: One byte a pixel, row by row.
        width: How many there are in a row.
        height: How many rows there are.
    """
    stride = width + 2
    blank = bytes(stride)
    rows = [blank, *(b"\0" + alpha[at : at + width] + b"\0" for at in range(0, width * height, width)), blank]
    ways = _ways(rows)
    while ways:
        start, side = ways.popitem()
        polygon = [_crossing(rows, start)]
        while side != start:
            polygon.append(_crossing(rows, side))
            side = ways.pop(side, start)
        if abs(area(polygon)) >= _LEAST_AREA_PX:
            yield polygon


def _ways(rows: Sequence[bytes]) -> dict[_Side, _Side]:
    """Return to which side of its cell the outline goes on from each side that it crosses."""
    ways: dict[_Side, _Side] = {}
    for row in range(len(rows) - 1):
        above, below = rows[row].translate(_IS_IN), rows[row + 1].translate(_IS_IN)
        for column in _mixed(above, below):
            code = above[column] | above[column + 1] << 1 | below[column + 1] << 2 | below[column] << 3
            for begin, end in _WAYS.get(code, ()):
                ways[_side(column, row, begin)] = _side(column, row, end)
    return ways


def _mixed(above: bytes, below: bytes) -> Iterator[int]:
    """Yield the columns of cells whose four corners are not all alike, and a few others."""
    upper, lower = int.from_bytes(above, "little"), int.from_bytes(below, "little")
    differs = (upper ^ (upper >> 8)) | (lower ^ (lower >> 8)) | (upper ^ lower)
    for found in _NOT_BLANK.finditer(differs.to_bytes(len(above), "little")):
        yield from range(found.start(), min(found.end(), len(above) - 1))


def _side(column: int, row: int, which: int) -> _Side:
    match which:
        case 0:
            return column, row, False
        case 1:
            return column + 1, row, True
        case 2:
            return column, row + 1, False
    return column, row, True


def _crossing(rows: Sequence[bytes], side: _Side) -> Point:
    """Say where the alpha passes its half on a side between two pixels; the frame of zeros is not counted."""
    column, row, goes_down = side
    one = rows[row][column]
    other = rows[row + 1][column] if goes_down else rows[row][column + 1]
    share = (_HALF - one) / (other - one)
    return (column - 0.5, row - 0.5 + share) if goes_down else (column - 0.5 + share, row - 0.5)


def area(polygon: Polygon) -> float:
    """Return the area of a polygon; holes go the other way round and have less than none."""
    turned = zip(polygon, [*polygon[1:], polygon[0]], strict=True)
    return sum(x * next_y - next_x * y for (x, y), (next_x, next_y) in turned) / 2


def simplified(polygon: Polygon, tolerance: float) -> Polygon:
    """Leave out corners that change an outline by less than *tolerance* (Douglas and Peucker)."""
    if len(polygon) < 4:
        return polygon
    far = max(range(len(polygon)), key=lambda at: _squared(polygon[0], polygon[at]))
    closed = [*polygon, polygon[0]]
    kept = {0, far}
    spans = [(0, far), (far, len(polygon))]
    while spans:
        begin, end = spans.pop()
        worst, at = _worst(closed, begin, end)
        if worst > tolerance**2:
            kept.add(at)
            spans += [(begin, at), (at, end)]
    return [polygon[at] for at in sorted(kept)]


def _squared(one: Point, other: Point) -> float:
    return (one[0] - other[0]) ** 2 + (one[1] - other[1]) ** 2


def _worst(points: Polygon, begin: int, end: int) -> tuple[float, int]:
    """Say how far the farthest point between two is from the line between them, squared, and which it is."""
    (x, y), (to_x, to_y) = points[begin], points[end]
    along_x, along_y = to_x - x, to_y - y
    length = along_x**2 + along_y**2
    worst, at = 0.0, begin
    for number in range(begin + 1, end):
        off_x, off_y = points[number][0] - x, points[number][1] - y
        share = max(0.0, min(1.0, (off_x * along_x + off_y * along_y) / length)) if length else 0.0
        distance = (off_x - share * along_x) ** 2 + (off_y - share * along_y) ** 2
        if distance > worst:
            worst, at = distance, number
    return worst, at
