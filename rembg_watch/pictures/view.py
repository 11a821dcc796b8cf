"""
A picture as a page shows it: upright, in sRGB, of the size that is asked for, and encoded anew.

What is served is never the file itself, which may come from anybody. This decodes, so a child process does it
(``delivery.decoders``). Values that are asked and answered come first; Pillow is loaded where it is needed.
"""

import io
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from rembg_watch.errors import RembgWatchError
from rembg_watch.pictures.reduction import NoProxyError, Reduction
from rembg_watch.pictures.upright import CopyTooLargeError

if TYPE_CHECKING:
    from PIL.Image import Image

MOST_PX = 150_000_000
"""A larger picture is refused by its header; one that is read in strips may be larger."""

WHOLE = 0
"""In place of a number of pixels: as large as it is."""

_LARGEST_SIDE_PX = 12_000
_WHOLE_MOST_PX = 60_000_000
_FORMATS = ("JPEG", "PNG", "WEBP", "BMP")
_PROXY_BYTES = 64 << 20
_LITTLE_PX = 1_000_000
_OPAQUE = 255


class NoViewError(RembgWatchError):
    """There is nothing of it that a page could show; the sentence says why."""


@dataclass(frozen=True, slots=True)
class Viewed:
    """A view that was written: its sides, those of the whole picture, and whether something shines through."""

    width: int
    height: int
    whole_width: int
    whole_height: int
    is_transparent: bool


def make_view(source: BinaryIO, output: BinaryIO, scratch: BinaryIO, *, px: int) -> Viewed:
    """
    Decode *source* and write a view of it to *output*: WebP where something shines through, else JPEG.

    Args:
        source: Open for reading.
        output: Where it goes; what stood there is gone.
        scratch: For what lies between; what it holds is nobody's.
        px: How long its longer side is at most; ``WHOLE``: as long as it is.

    Raises:
        NoViewError: It is broken, too large, or nothing here reads it.
        MemoryError: There is not enough for it.
        OSError: The disk refused.
    """
    from PIL import Image, UnidentifiedImageError

    Image.MAX_IMAGE_PIXELS = None  # its size is looked at here, before anything is decoded
    source.seek(0)
    try:
        opened = Image.open(source, formats=_FORMATS)
    except (UnidentifiedImageError, SyntaxError, ValueError):
        return _by_way_of_a_proxy(source, output, scratch, px)
    except OSError as error:
        raise _explained(error) from error
    return _view(opened, output, px)


def _by_way_of_a_proxy(source: BinaryIO, output: BinaryIO, scratch: BinaryIO, px: int) -> Viewed:
    """Decode what Pillow is not trusted with, by the way that such a source is sent."""
    from PIL import Image

    from rembg_watch.pictures.inspection import inspect
    from rembg_watch.pictures.proxy import make_proxy

    kind = inspect(source.fileno(), reads_more=True).read_kind
    if kind is None:
        raise NoViewError("It is no picture, or none of a kind that can be shown.")
    wanted = Reduction(kind=kind, px=px or _LARGEST_SIDE_PX, largest_bytes=_PROXY_BYTES, keeps_alpha=True)
    try:
        make_proxy(source, scratch, wanted)
    except (NoProxyError, CopyTooLargeError) as error:
        raise NoViewError(str(error)) from error
    scratch.seek(0)
    return _view(Image.open(scratch, formats=("JPEG", "PNG")), output, px)


def _view(opened: "Image", output: BinaryIO, px: int) -> Viewed:
    whole = opened.size
    if whole[0] * whole[1] > MOST_PX:
        raise NoViewError(f"It is too large to be shown ({whole[0]} x {whole[1]} pixels).")
    side = px or _whole_side(whole)
    if opened.format == "JPEG" and opened.mode in {"RGB", "L", "YCbCr"}:
        opened.draft(None, (side, side))
    try:
        opened.load()
        picture = _turned(_in_srgb(_of_eight_bits(opened), side))
    except MemoryError:
        raise
    except Exception as error:  # whatever else a decoder raises, the picture is at fault
        raise _explained(error) from error
    is_turned = (picture.width > picture.height) != (whole[0] > whole[1])
    whole = (whole[1], whole[0]) if is_turned else whole
    is_transparent = picture.mode == "RGBA" and picture.getchannel("A").getextrema() != (_OPAQUE, _OPAQUE)
    _write(picture, output, is_transparent=is_transparent)
    return Viewed(picture.width, picture.height, whole[0], whole[1], is_transparent)


def _whole_side(whole: tuple[int, int]) -> int:
    """Return how long the longer side may be of a picture that is asked for as large as it is."""
    too_much: float = max(1.0, whole[0] * whole[1] / _WHOLE_MOST_PX)
    return min(_LARGEST_SIDE_PX, int(max(whole) / too_much**0.5))


def _of_eight_bits(picture: "Image") -> "Image":
    """Return it as RGB, RGBA or CMYK."""
    if picture.mode.startswith("I"):
        picture = picture.point(lambda value: value / 256).convert("L")
    if picture.mode in {"LA", "PA", "RGBa", "La"} or "transparency" in picture.info:
        return picture.convert("RGBA")
    return picture if picture.mode in {"RGB", "RGBA", "CMYK"} else picture.convert("RGB")


def _in_srgb(picture: "Image", side: int) -> "Image":
    """Return it small, with the colours that its profile means; a profile that cannot be read counts as none."""
    from PIL import Image, ImageCms

    profile = picture.info.get("icc_profile")
    picture.thumbnail((side, side), Image.Resampling.LANCZOS, reducing_gap=2.0)
    if profile:
        alpha = picture.getchannel("A") if picture.mode == "RGBA" else None
        info = picture.info
        with suppress(ImageCms.PyCMSError, OSError, ValueError, TypeError):
            colours = picture if alpha is None else picture.convert("RGB")
            read = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            made = ImageCms.profileToProfile(colours, read, ImageCms.createProfile("sRGB"), outputMode="RGB")
            assert made is not None
            picture = made
            if alpha is not None:
                picture.putalpha(alpha)
            picture.info = info
    return picture.convert("RGB") if picture.mode == "CMYK" else picture


def _turned(picture: "Image") -> "Image":
    from PIL import ImageOps

    with suppress(Exception):  # what stands in its EXIF is anybody's
        return ImageOps.exif_transpose(picture)
    return picture


def _write(picture: "Image", output: BinaryIO, *, is_transparent: bool) -> None:
    output.seek(0)
    output.truncate()
    picture.info = {}
    if is_transparent:
        is_little = picture.width * picture.height < _LITTLE_PX
        picture.save(output, "WEBP", quality=86, method=3 if is_little else 0, exif=b"", icc_profile=b"")
    else:
        picture.convert("RGB").save(output, "JPEG", quality=88, optimize=False)
    output.flush()


def _explained(error: Exception) -> Exception:
    """Tell a disk that refuses from a picture that is broken."""
    if isinstance(error, OSError) and error.errno is not None:
        return error
    words = str(error).strip().rstrip(".") or type(error).__name__
    return NoViewError(f"It cannot be decoded ({words}).")
