"""
Measure the alpha of a cut-out, or a mask, with Pillow alone: a bare installation has nothing else.

Sums are taken of a million pixels, or of all, and shapes of a small copy: parts and holes are the same there. This
runs in the child that has decoded the picture anyway (``delivery.verify``).
"""

import math
import re
from collections.abc import Iterator, Sequence
from typing import cast

from PIL import Image, ImageChops

from rembg_watch.pictures.figures import Figures

_SMALL_PX = 256
_VISIBLE = 13  # of 255: about what a person sees on white
_HALF = range(26, 230)  # 10 to 90 %
_SOLID = 64  # of 255, in the small copy: thin things are not whole pixels wide there
_TOUCHING = 128
_SPECK = 0.001
_MOST_COUNTED_PX = 1 << 20
_OFF, _ON = re.compile(b"\x00+"), re.compile(b"\x01+")
_SIXTEEN_BITS = ("I", "I;16", "I;16B", "I;16L")


def measured(picture: Image.Image, *, is_mask: bool) -> Figures:
    """Return the figures of a decoded picture: of its alpha, or of all of it where it is a mask."""
    has_alpha = picture.has_transparency_data
    if not is_mask and not has_alpha:
        return Figures(has_alpha=False)
    alpha = _of_mask(picture) if is_mask else _channel(picture, "A")
    least, most = cast(tuple[int, int], alpha.getextrema())
    histogram = _sampled(alpha).histogram()
    pixels = sum(histogram)
    visible = sum(histogram[_VISIBLE:])
    sums = {
        "is_mask": is_mask,
        "has_alpha": has_alpha,
        "least": least,
        "most": most,
        "coverage": _share(sum(level * count for level, count in enumerate(histogram)), 255 * pixels),
        "softness": _share(sum(histogram[level] for level in _HALF), visible),
    }
    small = _reduced(alpha)
    return Figures(**sums, **_shapes(small), borders=_borders(small))  # type: ignore[arg-type]


def _sampled(alpha: Image.Image) -> Image.Image:
    """Return one pixel of so many of a large picture: its shares are known well enough by a million."""
    step = math.isqrt(alpha.width * alpha.height // _MOST_COUNTED_PX) or 1
    return alpha if step == 1 else alpha.resize((alpha.width // step, alpha.height // step), Image.Resampling.NEAREST)


def _share(part: int, whole: int) -> float:
    return round(part / whole, 4) if whole else 0.0


def _channel(picture: Image.Image, name: str) -> Image.Image:
    if name not in picture.getbands():
        picture = picture.convert("RGBA")  # a palette or one colour that is transparent
    return picture.getchannel(name)


def _of_mask(picture: Image.Image) -> Image.Image:
    """Return the one band of a mask: of several the brightness, and an alpha beside them takes away."""
    if picture.mode in _SIXTEEN_BITS:
        return picture.point(lambda level: level * (1 / 257)).convert("L")
    if picture.mode in ("P", "PA", "CMYK") or (picture.has_transparency_data and "A" not in picture.getbands()):
        picture = picture.convert("RGBA" if picture.has_transparency_data else "RGB")
    if picture.mode == "1":
        picture = picture.convert("L")
    if "A" not in picture.getbands():
        return picture.convert("L")
    return ImageChops.multiply(picture.convert("L"), picture.getchannel("A"))


def _reduced(alpha: Image.Image) -> Image.Image:
    factor = -(-max(alpha.size) // _SMALL_PX)
    return alpha if factor == 1 else alpha.reduce(factor)


def _borders(small: Image.Image) -> tuple[float, float, float, float]:
    top, right, bottom, left = (_share(sum(one >= _TOUCHING for one in edge), len(edge)) for edge in _edges(small))
    return top, right, bottom, left


def _edges(small: Image.Image) -> tuple[bytes, bytes, bytes, bytes]:
    width, height = small.size
    boxes = ((0, 0, width, 1), (width - 1, 0, width, height), (0, height - 1, width, height), (0, 0, 1, height))
    top, right, bottom, left = (small.crop(box).tobytes() for box in boxes)
    return top, right, bottom, left


def _shapes(small: Image.Image) -> dict[str, float]:
    """Count parts and holes."""
    width, height = small.size
    padded = Image.new("L", (width + 2, height + 2))  # so that all that is outside is one part of the background
    padded.paste(small.point(lambda level: 1 if level >= _SOLID else 0), (1, 1))
    data = padded.tobytes()
    rows = [data[start : start + width + 2] for start in range(0, len(data), width + 2)]
    parts = sorted(_areas(rows, _ON, reach=1).values(), reverse=True)
    whole = sum(parts)
    background = _areas(rows, _OFF, reach=0)
    holes = [area for first, area in background.items() if first != 0]
    speck = max(1.0, whole * _SPECK)
    return {
        "fragments": sum(area > speck for area in parts),
        "loose": _share(sum(parts[1:]), whole),
        "holes": sum(area > speck for area in holes),
        "hollow": _share(sum(holes), whole + sum(holes)),
    }


def _areas(rows: Sequence[bytes], wanted: re.Pattern[bytes], *, reach: int) -> dict[int, int]:
    """
    Return how many pixels each connected part has, by the number of a run of it; the topmost, leftmost run is 0.

    Args:
        rows: The picture, a byte for each pixel.
        wanted: What matches the runs of the parts.
        reach: 1: corners connect; 0: sides alone do.
    """
    above: list[int] = []  # of each run, what it belongs to; the root of a part is its lowest number
    lengths: list[int] = []
    before: list[tuple[int, int, int]] = []
    for row in rows:
        now = []
        for run in wanted.finditer(row):
            number = len(above)
            above.append(number)
            lengths.append(run.end() - run.start())
            now.append((run.start(), run.end(), number))
        for one, other in _meeting(before, now, reach):
            first, second = sorted((_root(above, one), _root(above, other)))
            above[second] = first
        before = now
    areas: dict[int, int] = {}
    for number, length in enumerate(lengths):
        root = _root(above, number)
        areas[root] = areas.get(root, 0) + length
    return areas


def _meeting(
    before: Sequence[tuple[int, int, int]], now: Sequence[tuple[int, int, int]], reach: int
) -> Iterator[tuple[int, int]]:
    """Yield the numbers of the runs of two rows that touch."""
    at = 0
    for start, end, number in now:
        while at < len(before) and before[at][1] + reach <= start:
            at += 1
        further = at
        while further < len(before) and before[further][0] < end + reach:
            yield before[further][2], number
            further += 1


def _root(above: list[int], number: int) -> int:
    while above[number] != number:
        above[number] = number = above[above[number]]
    return number
