"""
A picture in, its foreground out, in the size, format and turn that was wished for.

The foreground comes from an engine of ``cutout``, or from ``flat``, which looks at the
header alone and answers with one colour, for rehearsals of load.

Choices of the sandbox where the documentation is silent: a picture in which nothing
is found comes back whole; orientation is applied and then gone; the colour profile
is kept, all other metadata is dropped; a positive angle turns counter-clockwise;
w and h together are a box to fit into; JPEG and BMP are laid on white.
"""

import hashlib
import io
import math
import struct
import threading
import zlib
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, BinaryIO

from PIL import Image, ImageChops, ImageFilter, ImageOps

from rembg_watch.sandbox.rules import MAX_SIDE_PX, Rgba, Wish
from rembg_watch.sandbox.sniff import picture_size

if TYPE_CHECKING:
    from rembg_watch.sandbox.cutout import Engine

# Larger ones are refused by their header before they come here. Whoever shares this process may allow more.
Image.MAX_IMAGE_PIXELS = max(MAX_SIDE_PX * MAX_SIDE_PX, Image.MAX_IMAGE_PIXELS or 0)

ENGINE_NAMES = ("u2net", "fast", "flat")
WHITE: Rgba = (255, 255, 255, 255)
LARGE_PICTURE_PX = 16_000_000
DOWNGRADED_PX = 460


DECODING_ERRORS = (
    OSError,
    ValueError,
    SyntaxError,
    EOFError,
    TypeError,
    LookupError,
    ArithmeticError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)
"""What Pillow's decoders raise for bytes that are not what they claim to be."""


class UndecodableError(Exception):
    """The bytes begin like a picture and are none."""


class Cutter:
    """Turns uploads into answers with one engine, which is made when the first picture comes."""

    def __init__(self, engine: str = "u2net", *, is_upright: bool = True) -> None:
        if engine not in ENGINE_NAMES:
            raise ValueError(f"there is no engine '{engine}'; there are u2net, fast and flat")
        self.engine = engine
        self.is_upright = is_upright
        self._made: Engine | None = None
        self._making = threading.Lock()
        self._large = threading.Lock()  # two of the largest pictures at once would need gigabytes

    def cut(self, file: BinaryIO, wish: Wish, *, sha256: str = "", is_downgraded: bool = False) -> bytes:
        """
        Answer *wish* for the picture in *file*, by a thumbnail if it *is_downgraded*.

        The flat engine takes its colour from the digest of the upload.

        Raises:
            UndecodableError: the file is no whole picture.
            MissingExtraError: the engine's libraries are not installed.
        """
        with self._large if _largest_px(picture_size(file), wish) > LARGE_PICTURE_PX else nullcontext():
            if self.engine != "flat":
                return self._cut(file, wish, is_downgraded=is_downgraded)
            picture = _flat(file, sha256 or file_digest(file))
            return self._finish(picture, None, wish, profile=None, is_downgraded=is_downgraded)

    def warm_up(self) -> None:
        """Load the engine now, so that the first picture is as quick as the next."""
        if self.engine != "flat":
            self._engine()

    def _cut(self, file: BinaryIO, wish: Wish, *, is_downgraded: bool) -> bytes:
        source = _open(file, is_upright=self.is_upright)
        profile = source.info.get("icc_profile")
        picture = source.convert("RGBA")
        alpha = self._engine().alpha(_on_white(picture))
        if picture.getchannel("A").getextrema() != (255, 255):  # what was see-through stays so
            alpha = ImageChops.multiply(alpha, picture.getchannel("A"))
        if picture.width * picture.height <= LARGE_PICTURE_PX:  # beyond that it costs a gigabyte and many seconds
            picture = _without_fringe(picture, alpha)
        return self._finish(picture, alpha, wish, profile=profile, is_downgraded=is_downgraded)

    def _finish(
        self, picture: Image.Image, alpha: Image.Image | None, wish: Wish, *, profile: bytes | None, is_downgraded: bool
    ) -> bytes:
        if alpha is not None:
            picture.putalpha(alpha)
        picture = _rotated(_resized(picture, wish), wish)
        if is_downgraded:
            picture.thumbnail((DOWNGRADED_PX, DOWNGRADED_PX))
        return encoded(_dressed(picture, wish), wish.format, profile)

    def _engine(self) -> "Engine":
        from rembg_watch.sandbox.cutout import ENGINES

        with self._making:
            if self._made is None:
                self._made = ENGINES[self.engine]()
            return self._made


def file_digest(file: BinaryIO) -> str:
    """Return the SHA-256 of *file* from its first byte and wind it back."""
    file.seek(0)
    digest = hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]  # a BinaryIO is enough
    file.seek(0)
    return digest


def flat_color(sha256: str) -> Rgba:
    """Return the colour that the flat engine gives to the picture with this digest: each source its own."""
    red, green, blue = bytes.fromhex(sha256[:6])
    return red, green, blue, 255


def _flat(file: BinaryIO, sha256: str) -> Image.Image:
    size = picture_size(file)
    if size is None or 0 in size:
        raise UndecodableError("the header tells no size")
    colour, (width, height) = flat_color(sha256), size
    picture = Image.new("RGBA", size, (*colour[:3], 0))
    picture.paste(colour, (width // 8, height // 8, width - width // 8, height - height // 8))  # a thing in the middle
    return picture


def _open(file: BinaryIO, *, is_upright: bool) -> Image.Image:
    file.seek(0)
    try:
        picture = Image.open(file, formats=("PNG", "JPEG", "WEBP", "BMP"))
        picture.load()
        upright = ImageOps.exif_transpose(picture) if is_upright else picture
    except DECODING_ERRORS as error:
        raise UndecodableError(str(error)) from error
    if upright.mode.startswith("I"):  # 16-bit grey would be clipped, not scaled, by convert
        upright = upright.point(lambda level: level / 257).convert("L")
    return upright


def _on_white(picture: Image.Image) -> Image.Image:
    ground = Image.new("RGBA", picture.size, WHITE)
    return Image.alpha_composite(ground, picture).convert("RGB")


def _without_fringe(picture: Image.Image, alpha: Image.Image) -> Image.Image:
    """
    Take the backdrop's colour out of half-covered edges.

    They get the mean colour of the solid object around them, the more the less they are covered;
    solid pixels keep their own.
    """
    solid = picture.copy()
    solid.putalpha(alpha.point(lambda level: max(0, level * 2 - 255)))
    radius = max(2, max(picture.size) // 250)
    spread = solid.convert("RGBa").filter(ImageFilter.BoxBlur(radius)).convert("RGBA")
    is_known = spread.getchannel("A").point(lambda level: 255 if level > 8 else 0)
    return Image.composite(picture, spread, ImageChops.lighter(alpha, ImageChops.invert(is_known)))


def target_size(size: tuple[int, int], wish: Wish) -> tuple[int, int]:
    """
    Say how large the cut-out becomes before it is turned.

    With ``exact_resize`` both sides are forced; a side left out follows the other. Without it, w and h
    are a box that the picture is fitted into, larger or smaller, its proportions kept. No side ever
    passes 10000 pixels.
    """
    width, height = size
    if wish.width is None and wish.height is None:
        return size
    if wish.exact_resize and wish.width and wish.height:
        return wish.width, wish.height
    scale = min((wish.width or MAX_SIDE_PX) / width, (wish.height or MAX_SIDE_PX) / height)
    return max(1, round(width * scale)), max(1, round(height * scale))


def _largest_px(size: tuple[int, int] | None, wish: Wish) -> int:
    """Say how many pixels have to be held: of the picture, or of what is made of it."""
    if size is None or 0 in size:
        return 0
    return max(math.prod(size), math.prod(target_size(size, wish)))


def _resized(picture: Image.Image, wish: Wish) -> Image.Image:
    size = target_size(picture.size, wish)
    if size == picture.size:
        return picture
    return picture.convert("RGBa").resize(size, Image.Resampling.LANCZOS).convert("RGBA")


def _rotated(picture: Image.Image, wish: Wish) -> Image.Image:
    if wish.angle % 360 == 0:
        return picture
    turned = picture.convert("RGBa").rotate(wish.angle, Image.Resampling.BICUBIC, expand=wish.expand)
    return turned.convert("RGBA")


def _dressed(picture: Image.Image, wish: Wish) -> Image.Image:
    if wish.mask:
        return picture.getchannel("A")
    if wish.bg_color is not None:
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, wish.bg_color), picture)
    if wish.format in ("JPEG", "BMP"):
        return _on_white(picture)
    return picture.convert("RGB") if wish.bg_color is not None and wish.bg_color[3] == 255 else picture


_SAVE_OPTIONS: dict[str, dict[str, Any]] = {
    "PNG": {"compress_level": 3},
    "JPEG": {"quality": 92, "subsampling": 0},
    "WEBP": {"quality": 90, "method": 1},
    "BMP": {},
}


def encoded(picture: Image.Image, output: str, profile: bytes | None = None) -> bytes:
    """Write *picture* in the format *output*, a WebP with loss as long as that can hold it."""
    options = dict(_SAVE_OPTIONS[output])
    if profile and output != "BMP" and picture.mode != "L":
        options["icc_profile"] = profile
    else:
        picture.info.pop("icc_profile", None)
    target = io.BytesIO()
    try:
        picture.save(target, output, **options)
    except ValueError:
        if output != "WEBP":
            raise
        # "encoding error 6": the modes of its blocks fill 512 kB, which happens from 16 million pixels on
        target = io.BytesIO()
        picture.save(target, output, **options | {"lossless": True, "quality": 0, "method": 0})
    return target.getvalue()
