"""
A picture that its EXIF orientation turns, decoded and written anew, standing upright.

This decodes: whoever must not die of a picture has a child process do it (``delivery.decoders``).
The copy keeps colour profile and resolution and has no other metadata.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, BinaryIO

from PIL import Image

from rembg_watch.errors import RembgWatchError
from rembg_watch.host.memory import memory_bytes
from rembg_watch.pictures import inspection
from rembg_watch.pictures.formats import MAX_SIDE_PX, Kind

Image.MAX_IMAGE_PIXELS = 2 * MAX_SIDE_PX**2  # the sides are looked at before; this is for headers that lie

COPIES: dict[Kind, tuple[dict[str, Any], ...]] = {
    Kind.JPEG: (
        {"format": "JPEG", "quality": 95, "subsampling": 0},
        {"format": "JPEG", "quality": 90, "subsampling": 0},
        {"format": "JPEG", "quality": 85, "subsampling": 2},
    ),
    Kind.PNG: ({"format": "PNG", "compress_level": 1}, {"format": "PNG", "compress_level": 9}),
    Kind.WEBP: (
        {"format": "WEBP", "lossless": True, "quality": 20, "method": 1, "exact": True},
        {"format": "WEBP", "quality": 95, "method": 2},
    ),
    Kind.BMP: ({"format": "BMP"},),
}
"""How a copy is saved: as the first says, or as the next where the service would find that too large."""

BYTES_PER_PX = {Kind.JPEG: 5, Kind.PNG: 5, Kind.BMP: 5, Kind.WEBP: 24}
"""
What a picture takes at the most while Pillow decodes it and looks at it. In colour each pixel has four
bytes, whatever its mode; a WebP goes through libwebp's decoder of animations, which keeps two more
canvases, and is copied twice.
"""

MEMORY_SHARE = 0.55
"""How much of the memory there is one picture may take. What needs more is not tried: it would look broken."""

BY_STRIPS_PX = 16_000_000
"""From here on a picture is turned strip by strip through a file: only one of the two has to be in memory."""

SOURCE, COPY = "source", "copy"
"""Which file an ``OSError`` is about."""

_STRIP_PX = 4_000_000
_TOLD_OF_TURNS = ("exif", "Raw profile type exif", "xmp", "XML:com.adobe.xmp")
"""Where a picture in memory keeps its orientation: a copy that is upright must not have it."""

_T = Image.Transpose
_Place = Callable[[int, int, int], tuple[int, int]]  # the strip's first and last row, the height: where it goes
_TURNS: dict[int, tuple[Image.Transpose, _Place]] = {
    2: (_T.FLIP_LEFT_RIGHT, lambda top, _bottom, _height: (0, top)),
    3: (_T.ROTATE_180, lambda _top, bottom, height: (0, height - bottom)),
    4: (_T.FLIP_TOP_BOTTOM, lambda _top, bottom, height: (0, height - bottom)),
    5: (_T.TRANSPOSE, lambda top, _bottom, _height: (top, 0)),
    6: (_T.ROTATE_270, lambda _top, bottom, height: (height - bottom, 0)),
    7: (_T.TRANSVERSE, lambda _top, bottom, height: (height - bottom, 0)),
    8: (_T.ROTATE_90, lambda top, _bottom, _height: (top, 0)),
}
"""What each orientation asks for, and where a strip of the source then stands."""


class UndecodableError(RembgWatchError):
    """No picture comes out of a source."""


def is_too_much(kind: Kind, px: int) -> bool:
    """Say whether this machine has too little memory to decode so many pixels."""
    return px * BYTES_PER_PX[kind] > MEMORY_SHARE * memory_bytes()


@dataclass(frozen=True, slots=True, kw_only=True)
class Upright:
    """A copy that was written, with its sides as they are seen."""

    width: int
    height: int


class CopyTooLargeError(RembgWatchError):
    """However it is saved, the copy is larger than it may be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """What is to be done with a source."""

    kind: Kind
    orientation: int  # as EXIF counts it, 2 to 8
    largest_bytes: int  # where a copy comes out larger, it is saved again at a lower quality


def make_upright(source: BinaryIO, copy: BinaryIO, scratch: BinaryIO, turn: Turn) -> Upright:
    """
    Decode *source*, turn it as its orientation says and write it to *copy*.

    Args:
        source: Open for reading, from its start.
        copy: Where it goes; what stood there is gone.
        scratch: For what need not be in memory; its content is nobody's.
        turn: What is to be done.

    Raises:
        UndecodableError: It is broken.
        CopyTooLargeError: Every copy comes out larger.
        MemoryError: There is not enough for it.
        OSError: The disk refused; ``filename`` is ``SOURCE`` or ``COPY``.
    """
    picture, kept = _decoded(source, scratch, turn)
    for options in COPIES[turn.kind]:
        try:
            copy.seek(0)
            copy.truncate()
            picture.save(copy, **options, **kept)
            copy.flush()
        except ValueError:  # an encoder has limits of its own, of noise for example
            continue
        except OSError as error:
            if error.errno is None:
                raise UndecodableError(str(error)) from error
            raise OSError(error.errno, error.strerror, COPY) from error
        if os.fstat(copy.fileno()).st_size <= turn.largest_bytes:
            return Upright(width=picture.width, height=picture.height)
    raise CopyTooLargeError(f"larger than {turn.largest_bytes} bytes")


def _decoded(source: BinaryIO, scratch: BinaryIO, turn: Turn) -> tuple[Image.Image, dict[str, Any]]:
    try:
        if is_too_much(turn.kind, _px(source)):
            raise MemoryError
        with Image.open(source, formats=(turn.kind.upper(),)) as picture:
            if max(picture.size) > MAX_SIDE_PX:
                raise ValueError("its header contradicts itself")  # noqa: TRY301  # one place tells what is broken
            picture.load()
            kept = {"icc_profile": picture.info.get("icc_profile"), "dpi": _dpi(picture)}
            turned = _turned(picture, turn.orientation, scratch)
            for name in _TOLD_OF_TURNS:
                turned.info.pop(name, None)
            return turned, {name: value for name, value in kept.items() if value}
    except OSError as error:
        if error.errno is not None:
            raise OSError(error.errno, error.strerror, error.filename if error.filename == COPY else SOURCE) from error
        raise UndecodableError(str(error)) from error
    except (ValueError, SyntaxError, EOFError, Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise UndecodableError(str(error)) from error


def _px(source: BinaryIO) -> int:
    look = inspection.inspect(source.fileno())
    return look.width_px * look.height_px


def _turned(picture: Image.Image, orientation: int, scratch: BinaryIO) -> Image.Image:
    if orientation not in _TURNS:
        return picture.copy()
    turn, place = _TURNS[orientation]
    if picture.width * picture.height < BY_STRIPS_PX or picture.mode in {"1", "L", "P"}:
        return picture.transpose(turn)
    try:
        return _turned_by_strips(picture, turn, place, scratch)
    except OSError as error:
        raise OSError(error.errno, error.strerror, COPY) from error


def _turned_by_strips(picture: Image.Image, turn: Image.Transpose, place: _Place, scratch: BinaryIO) -> Image.Image:
    width, height, mode = picture.width, picture.height, picture.mode
    rows = max(1, _STRIP_PX // width)
    strips = []
    for top in range(0, height, rows):
        bottom = min(height, top + rows)
        strip = picture.crop((0, top, width, bottom)).transpose(turn)
        data = strip.tobytes()
        scratch.write(data)
        strips.append((strip.size, place(top, bottom, height), len(data)))
    picture.close()  # its memory goes before that of the turned one is needed
    scratch.flush()
    scratch.seek(0)
    is_on_its_side = turn in {_T.TRANSPOSE, _T.ROTATE_270, _T.TRANSVERSE, _T.ROTATE_90}
    upright = Image.new(mode, (height, width) if is_on_its_side else (width, height))
    for size, at, size_bytes in strips:
        upright.paste(Image.frombytes(mode, size, scratch.read(size_bytes)), at)
    return upright


def _dpi(picture: Image.Image) -> tuple[float, float] | None:
    """Read the resolution; headers state zeros, fractions of zero and more dots than atoms."""
    try:
        wide, tall = (float(one) for one in picture.info["dpi"])
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return None
    return (wide, tall) if 1 <= wide <= 65535 and 1 <= tall <= 65535 else None
