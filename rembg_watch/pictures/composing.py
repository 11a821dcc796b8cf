"""Crop, resize, flatten and place pictures of libvips, as a ``Frame`` says: nothing is computed before it is read."""

import math
from collections.abc import Sequence

from rembg_watch.pictures.alphas import most_of
from rembg_watch.pictures.framing import Frame
from rembg_watch.pictures.vips import Picture

KERNEL = "lanczos3"


def cropped(image: Picture, frame: Frame, grid: int) -> Picture:
    """Take what is seen of a picture that is at hand smaller by *grid*."""
    left, top = frame.crop.left // grid, frame.crop.top // grid
    width, height = frame.crop.width // grid, frame.crop.height // grid
    if (left, top, width, height) == (0, 0, image.width, image.height):
        return image
    return image.crop(left, top, width, height)


def joined(bands: Sequence[Picture]) -> Picture:
    """Put pictures of one kind into one, so that they are computed together."""
    first, *others = bands
    return first.bandjoin(others) if others else first


def parted(image: Picture, bands: int) -> tuple[Picture, Picture]:
    """Part colours and the alpha that is the last band."""
    return image.extract_band(0, n=bands), image.extract_band(image.bands - 1)


def resized(image: Picture, size: tuple[int, int]) -> Picture:
    """Return a picture of another size, each band for itself."""
    if (image.width, image.height) == size:
        return image
    made = image.resize(size[0] / image.width, vscale=size[1] / image.height, kernel=KERNEL)
    return made if (made.width, made.height) == size else made.crop(0, 0, *size)


def resized_by_alpha(image: Picture, size: tuple[int, int]) -> Picture:
    """
    Return a picture of another size, with 16 bits, whose last band is its alpha.

    What is transparent has no say in the colours beside it.
    """
    if (image.width, image.height) == size:
        return image
    most = most_of(image)
    made = resized(image.premultiply(max_alpha=most), size).unpremultiply(max_alpha=most)
    return (made * (65535 / most) + 0.5).cast("ushort")


def at_depth(image: Picture, bits: int) -> Picture:
    """Return a picture of 8 or 16 bits."""
    if bits == 8 and image.format == "ushort":
        return (image * (1 / 257) + 0.5).cast("uchar")
    if bits == 16 and image.format == "uchar":
        return (image * 257).cast("ushort")
    return image


def flattened(image: Picture, alpha: Picture, filling: Sequence[float]) -> Picture:
    """Put a picture on a colour; what is full keeps its values, and what is empty has exactly that colour."""
    share = alpha * (1 / most_of(alpha))
    mixed = image * share + (1 - share) * list(filling) + 0.5
    return (alpha == most_of(alpha)).ifthenelse(image, mixed.cast(image.format))


def on_canvas(image: Picture, frame: Frame, filling: Sequence[float]) -> Picture:
    """Place a picture; what stands beyond the canvas is cut off."""
    (left, top), (width, height) = frame.at, frame.canvas
    cut_left, cut_top = max(0, -left), max(0, -top)
    right, bottom = min(image.width, width - left), min(image.height, height - top)
    if (cut_left, cut_top, right, bottom) != (0, 0, image.width, image.height):
        image = image.crop(cut_left, cut_top, right - cut_left, bottom - cut_top)
    if (image.width, image.height) == (width, height):
        return image
    rounded = [math.floor(value + 0.5) for value in filling]
    return image.embed(max(0, left), max(0, top), width, height, extend="background", background=rounded)
