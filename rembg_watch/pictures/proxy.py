"""
The copy that is sent for a picture which the service does not take, or might take otherwise than it is meant.

A JPEG of 8 bits in sRGB, upright, without metadata, and no larger than it has to be. This decodes: whoever must
not die of a picture has a child process do it (``delivery.decoders``).
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO

from rembg_watch.host.memory import memory_bytes
from rembg_watch.pictures.metadata import colours_of_profile
from rembg_watch.pictures.opening import NotOpenedError, Opened, open_picture, why_not_computed
from rembg_watch.pictures.profiles import ADOBE_RGB, SRGB, WrongProfileError, adobe_rgb, read_profile
from rembg_watch.pictures.reduction import HELD_BYTES_PER_PX, WRONG_PROFILE, NoProxyError, Proxy, Reduction
from rembg_watch.pictures.sending import REVIEW
from rembg_watch.pictures.upright import COPY, MEMORY_SHARE, SOURCE, CopyTooLargeError
from rembg_watch.pictures.vips import Picture, as_file, vips

QUALITIES = (95, 90, 85)
"""The next is tried where a copy comes out too large."""

_BLOCK_BYTES = 1 << 20
_WHITE = 255, 65535
_UNTAGGED_CMYK = "cmyk"
"""libvips' own profile, of common offset print."""


def make_proxy(source: BinaryIO, copy: BinaryIO, reduction: Reduction) -> Proxy:
    """
    Decode *source* and write a small copy of it to *copy*.

    Args:
        source: Open for reading.
        copy: Where it goes; what stood there is gone.
        reduction: What is to be done.

    Raises:
        NoProxyError: It is broken, or nothing reads it.
        CopyTooLargeError: Every copy comes out larger.
        MemoryError: There is not enough for it.
        OSError: The disk refused; ``filename`` is ``SOURCE`` or ``COPY``.
    """
    picture, opened = _decoded_somehow(source, reduction)
    if reduction.keeps_alpha and picture.hasalpha():
        data = picture.pngsave_buffer(compression=1, keep="none")
        if len(data) <= reduction.largest_bytes:
            _write(copy, data)
            return Proxy(width=picture.width, height=picture.height, remarks=opened.remarks)
        picture = picture.flatten(background=_WHITE[False])
    for quality in QUALITIES:
        data = picture.jpegsave_buffer(Q=quality, subsample_mode="off", keep="none")
        if len(data) <= reduction.largest_bytes:
            _write(copy, data)
            return Proxy(width=picture.width, height=picture.height, remarks=opened.remarks)
    raise CopyTooLargeError(f"larger than {reduction.largest_bytes} bytes")


def _decoded_somehow(source: BinaryIO, reduction: Reduction) -> tuple[Picture, Opened]:
    """Decode it as it should be, or else with Pillow, which shows what every viewer shows without an end mark."""
    try:
        return _decoded(source.fileno(), reduction)
    except NotOpenedError as error:
        if error.code == "missing_library":
            raise NoProxyError(str(error), code=error.code) from error
        raise _explained(error, source, str(error), error.code) from error
    except OSError as error:
        raise OSError(error.errno, error.strerror, SOURCE) from error
    except vips().Error as error:
        with suppress(vips().Error, NotOpenedError):
            return _decoded(source.fileno(), reduction, is_lenient=True)
        raise _explained(error, source, why_not_computed(error), "broken") from error


def _explained(error: Exception, source: BinaryIO, sentence: str, code: str) -> Exception:
    """Blame the picture, once the disk has read it whole: libvips does not tell the two apart."""
    if any(words in str(error).lower() for words in ("out of memory", "unable to allocate")):
        return MemoryError()
    try:
        at = 0
        while block := os.pread(source.fileno(), _BLOCK_BYTES, at):
            at += len(block)
    except OSError as refused:
        return OSError(refused.errno, refused.strerror, SOURCE)
    return NoProxyError(sentence, code=code)


def _write(copy: BinaryIO, data: bytes) -> None:
    try:
        copy.seek(0)
        copy.truncate()
        copy.write(data)
        copy.flush()
    except OSError as error:
        raise OSError(error.errno, error.strerror, COPY) from error


def _decoded(fd: int, reduction: Reduction, *, is_lenient: bool = False) -> tuple[Picture, Opened]:
    """Decode a picture, small; it is in memory then, so that it can be saved more than once."""
    opened = open_picture(fd, least_px=reduction.px, is_lenient=is_lenient)
    if opened.width * opened.height * HELD_BYTES_PER_PX[reduction.kind] > MEMORY_SHARE * memory_bytes():
        raise MemoryError
    if reduction.keeps_alpha and opened.alpha is not None and opened.colours != "CMYK":
        return _transparent(opened, reduction), opened
    image = _opaque(opened)
    scale = reduction.px / max(image.width, image.height)
    if scale < 1:
        image = image.resize(scale).cast(image.format)
    with _profile_for(opened, reduction.assume) as path:
        return _in_srgb(image, path).copy_memory(), opened


def _transparent(opened: Opened, reduction: Reduction) -> Picture:
    """Make it small with its transparency, of which colours that nobody sees must not seep into others."""
    most = _WHITE[opened.bits == 16]
    whole = opened.image.bandjoin(opened.alpha)
    scale = reduction.px / max(whole.width, whole.height)
    if scale < 1:
        whole = whole.premultiply(max_alpha=most).resize(scale).unpremultiply(max_alpha=most)
    whole = whole.cast(opened.image.format).copy_memory()
    bands = whole.bands - 1
    alpha = (whole.extract_band(bands) * (_WHITE[False] / most)).rint().cast("uchar")
    with _profile_for(opened, reduction.assume) as path:
        return _in_srgb(whole.extract_band(0, n=bands), path).bandjoin(alpha).copy_memory()


def _opaque(opened: Opened) -> Picture:
    """Put what is transparent on white, of which any remover knows what to do."""
    if opened.alpha is None:
        return opened.image
    white = 0 if opened.colours == "CMYK" else _WHITE[opened.bits == 16]
    background = [white] * opened.image.bands
    whole = opened.image.bandjoin(opened.alpha)
    return whole.flatten(background=background, max_alpha=_WHITE[opened.bits == 16])


@contextmanager
def _profile_for(opened: Opened, assume: str) -> Iterator[str]:
    """Lend the path of the profile that says what the colours mean; empty where they are sRGB, or its gray."""
    data = opened.profile if colours_of_profile(opened.profile) == opened.colours else b""
    if not data:
        data = _assumed(assume, opened.colours)
    if data:
        with as_file(data) as path:
            yield path
    else:
        yield _UNTAGGED_CMYK if opened.colours == "CMYK" else ""


def _assumed(assume: str, colours: str) -> bytes:
    if assume == ADOBE_RGB:
        return adobe_rgb() if colours == "RGB" else b""
    if assume in (SRGB, REVIEW):
        return b""
    try:
        profile = read_profile(assume)
    except (WrongProfileError, OSError) as error:
        sentence = f"The profile that pictures without one are assumed to have cannot be read ({error}): see assume."
        raise NoProxyError(sentence, code=WRONG_PROFILE) from error
    return profile if colours_of_profile(profile) == colours else b""


def _in_srgb(image: Picture, profile_path: str) -> Picture:
    """Bring colours to 8 bits of sRGB, by the eye and not by the paper: relative, with black as black."""
    if not profile_path:
        return _of_srgb(image)
    try:
        made = image.icc_transform(
            "srgb",
            input_profile=profile_path,
            embedded=False,
            intent="relative",
            black_point_compensation=True,
            depth=8,
        )
    except vips().Error:  # a profile that LittleCMS does not take says nothing
        if image.bands == 4:
            raise
        return _of_srgb(image)
    return made.extract_band(0, n=3) if made.bands > 3 else made


def _of_srgb(image: Picture) -> Picture:
    return image.colourspace("srgb")
