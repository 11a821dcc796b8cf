"""
Is this answer the picture that was asked for?

An answer that was paid for is looked at before it is delivered: that it is a whole
picture, of the format and of a size that the request and the source explain. It does
not judge how well the background was removed, and it changes nothing on disk.

What is no picture, or not whole, is rejected: the call may be made again. A whole picture
of another size than expected is a surprise, not a rejection: the same bytes would bring
the same answer, so a person decides, and nothing is paid for again by itself.

How the API rounds, whether it enlarges, whether it turns by the EXIF orientation and
whether it turns or resizes first is not documented. Each is accepted: a wrong "no" costs a
credit, and what must be caught (a preview instead of the picture) is far off.
"""

import math
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self, cast

from PIL import Image, ImageChops

from rembg_watch.api.params import LONGEST_SIDE_PX, Format, RemovalParams
from rembg_watch.errors import RembgWatchError
from rembg_watch.pictures import inspection
from rembg_watch.pictures.figures import Figures, plain_warning
from rembg_watch.pictures.formats import Kind, Look
from rembg_watch.pictures.measuring import measured
from rembg_watch.pictures.upright import is_too_much

Size = tuple[float, float]

_TOLERANCE_PX = 3
_TOLERANCE = 0.01
_DOWNGRADED = (460, 460)  # what third parties saw when an account was out of credits

_LARGEST_PIXELS = 2 * LONGEST_SIDE_PX**2
"""A square of the longest side, turned by 45 degrees: the largest answer there can be."""

Image.MAX_IMAGE_PIXELS = _LARGEST_PIXELS

AT_ONCE = min(4, os.cpu_count() or 1)
"""Decoding is bound by the processor: more at once are not faster and need 100 to 800 MB each at the worst."""

_DECODING = threading.BoundedSemaphore(AT_ONCE)  # one for each answer that is decoded in this process


class AnswerRejectedError(RembgWatchError):
    """The API said 200, but this is not the picture that was asked for."""

    def __init__(self, reason: str, *, code: str) -> None:
        super().__init__(reason)
        self.reason = reason  # one sentence: what came instead of what
        # the same for machines: empty, not_a_picture, wrong_format, truncated, broken, downgraded, wrong_size
        self.code = code


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What an answer is measured by."""

    params: RemovalParams
    width: int  # of the source as it was sent
    height: int
    may_be_turned: bool = False  # it is not an upright copy of ours: the API may turn it by an orientation in it

    @classmethod
    def of_unknown_source(cls, params: RemovalParams) -> Self:
        """Expect any size: the source went away before its answer was looked at."""
        return cls(params=params, width=0, height=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Surprise:
    """A whole picture of another size than the request and the source explain."""

    reason: str  # "the answer is W x H, expected W x H"
    code: str  # wrong_size, or downgraded: so small that it looks like a preview


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """A whole picture of the format that was asked for."""

    width: int
    height: int
    kind: Format
    size_bytes: int
    warning: str | None = None  # no_alpha, all_opaque or all_transparent: is it a cutout? not_decoded: is it whole?
    surprise: Surprise | None = None  # None: it is of a fitting size
    figures: Figures | None = None  # of its alpha, or of a mask; None: it has neither, or was not decoded

    @property
    def finding(self) -> str | None:
        """What is odd about it, as a code; None: nothing."""
        return self.surprise.code if self.surprise else self.warning


def verify(answer: Path, expected: Expected) -> Verified:
    """
    Read an answer whole and say what it is.

    Raises:
        AnswerRejectedError: It is not what was asked for.
        OSError: The answer cannot be read from the disk.
    """
    size_bytes = answer.stat().st_size
    look = _look(answer, size_bytes)
    kind = _asked_kind(look, expected)
    if is_too_much(Kind(kind), look.width_px * look.height_px):
        return verify_undecoded(answer, expected)
    (width, height), figures, warning = _decode(answer, kind, expected)
    return replace(_verified(width, height, kind, size_bytes, warning, expected), figures=figures)


def verify_undecoded(answer: Path, expected: Expected) -> Verified:
    """
    Say of an answer what its structure and its header say, where there is not enough memory to decode it.

    It was paid for, and nothing speaks against it: it is delivered, and a person is told.

    Raises:
        AnswerRejectedError: It is not what was asked for.
        OSError: The answer cannot be read from the disk.
    """
    size_bytes = answer.stat().st_size
    look = _look(answer, size_bytes)
    kind = _asked_kind(look, expected)
    return _verified(look.width_px, look.height_px, kind, size_bytes, "not_decoded", expected)


def _verified(
    width: int, height: int, kind: Format, size_bytes: int, warning: str | None, expected: Expected
) -> Verified:
    surprise = None if fits(width, height, expected) else _surprise(width, height, expected)
    return Verified(width=width, height=height, kind=kind, size_bytes=size_bytes, warning=warning, surprise=surprise)


def _asked_kind(look: Look, expected: Expected) -> Format:
    kind = Format(str(look.kind))
    if kind is not expected.params.format:
        raise AnswerRejectedError(
            f"The answer is a {kind.upper()} picture, but {expected.params.format.upper()} was asked for.",
            code="wrong_format",
        )
    return kind


def _look(answer: Path, size_bytes: int) -> Look:
    if size_bytes == 0:
        raise AnswerRejectedError("The answer is empty (0 bytes).", code="empty")
    with answer.open("rb") as file:
        look = inspection.inspect(file.fileno())
    if look.kind is None:
        raise AnswerRejectedError(f"The answer is {look.name}, not a picture.", code="not_a_picture")
    if not look.is_all_there:
        raise AnswerRejectedError(
            f"The answer is {look.name} that breaks off after {size_bytes} bytes.", code="truncated"
        )
    _check_pixels(look.width_px, look.height_px)
    return look


def _decode(answer: Path, kind: Format, expected: Expected) -> tuple[tuple[int, int], Figures | None, str | None]:
    try:
        with _DECODING, Image.open(answer, formats=(kind.upper(),)) as picture:
            _check_pixels(*picture.size)  # before it is decoded: its header may lie
            picture.load()
            figures = _figures(picture, expected.params)
            if expected.params.mask:
                return picture.size, figures, _mask_warning(picture)
            return picture.size, figures, plain_warning(figures) if figures else None
    except AnswerRejectedError:
        raise
    except OSError as error:
        if error.errno is not None:  # the disk, not the picture
            raise
        raise broken(kind, error) from error
    except (ValueError, SyntaxError, EOFError, Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise broken(kind, error) from error


def _check_pixels(width: int, height: int) -> None:
    if width * height > _LARGEST_PIXELS:
        what = f"The answer is {width} x {height} px, more than there can be."
        raise AnswerRejectedError(what, code="too_large")


def broken(kind: Format, why: object) -> AnswerRejectedError:
    """Say that no picture comes out of an answer, and *why*."""
    return AnswerRejectedError(f"The answer is a {kind.upper()} picture that cannot be decoded: {why}.", code="broken")


def _surprise(width: int, height: int, expected: Expected) -> Surprise:
    wanted = next(_sizes(expected))
    reason = f"the answer is {width} x {height}, expected {wanted[0]:.0f} x {wanted[1]:.0f}"
    if (width, height) == _DOWNGRADED or width * height * 4 < wanted[0] * wanted[1]:
        reason += "; such previews come when an account is out of credits: look at the account"
        return Surprise(reason=reason, code="downgraded")
    return Surprise(reason=reason, code="wrong_size")


def fits(width: int, height: int, expected: Expected) -> bool:
    """Say if a picture of this size can be the answer to what was asked."""
    if expected.width == 0:
        return True
    return any(_near(width, w) and _near(height, h) for w, h in _sizes(expected))


def _near(found: int, wanted: float) -> bool:
    return abs(found - wanted) <= max(_TOLERANCE_PX, wanted * _TOLERANCE)


def _sizes(expected: Expected) -> Iterator[Size]:
    """Name every size that is a fair reading of the request, the likeliest first."""
    params = expected.params
    sources: list[Size] = [(expected.width, expected.height)]
    if expected.may_be_turned:
        sources.append((expected.height, expected.width))
    for source in sources:
        for size in _resized(source, params):
            yield _turned(size, params)
        yield from _resized(_turned(source, params), params)


def _turned(size: Size, params: RemovalParams) -> Size:
    """The box around a turned picture; without ``expand`` what sticks out is cropped."""
    if not params.expand or params.angle % 360 == 0:
        return size
    angle = math.radians(params.angle)
    cos, sin = abs(math.cos(angle)), abs(math.sin(angle))
    return size[0] * cos + size[1] * sin, size[0] * sin + size[1] * cos


def _resized(size: Size, params: RemovalParams) -> Iterator[Size]:
    width, height = size
    w, h = params.w or None, params.h or None
    if w is None and h is None:
        yield size
        return
    if params.exact_resize:
        yield w or width, h or height
        if w is not None and h is not None:
            return
    scales = sorted([*([w / width] if w else []), *([h / height] if h else [])])
    for scale in scales:  # the first fits inside w x h; the second, where there is one, matches one side
        yield max(1, width * scale), max(1, height * scale)
    if scales[0] > 1:  # it may not enlarge
        yield size


def _figures(picture: Image.Image, params: RemovalParams) -> Figures | None:
    """Measure the transparency, where there should be some, or the mask."""
    if not params.mask and (params.bg_color is not None or params.format not in {Format.WEBP, Format.PNG}):
        return None
    return measured(picture, is_mask=params.mask)


_LOOKED_AT_PX = 64  # the sides of the little picture that says which way round a mask is
_HALF = 128
_LOSSY, _SPECKS = 24, 0.01


def _mask_warning(picture: Image.Image) -> str | None:
    """Say what is odd about a mask: one band, white where the object is, black where the background was."""
    if picture.mode.startswith("I"):  # 16 bits
        picture = picture.convert("I").point(lambda value: value * (1 / 257)).convert("L")
    plain = picture.convert("RGBA")
    red, green, blue, alpha = plain.split()
    if any(_differs(red, other) for other in (green, blue)):
        return "odd_mask"
    mask = ImageChops.multiply(red, alpha)
    low, high = cast(tuple[int, int], mask.getextrema())
    if low == high:
        return "flat_mask"
    little = mask.resize((_LOOKED_AT_PX, _LOOKED_AT_PX), Image.Resampling.BOX)
    inner = little.crop((_LOOKED_AT_PX // 4,) * 2 + (3 * _LOOKED_AT_PX // 4,) * 2)
    inside, outside = _mean(inner), (_mean(little) * 4 - _mean(inner)) / 3
    return "inverted_mask" if outside > _HALF > inside else None


def _differs(one: Image.Image, other: Image.Image) -> bool:
    """Say whether two bands are not the same; what a lossy format makes of gray does not count."""
    counts = ImageChops.difference(one, other).histogram()
    return sum(counts[_LOSSY:]) > _SPECKS * sum(counts)


def _mean(picture: Image.Image) -> float:
    counts = picture.histogram()
    return sum(value * count for value, count in enumerate(counts)) / sum(counts)
