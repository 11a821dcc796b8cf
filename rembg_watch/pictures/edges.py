"""
Soft edges without what the background has mixed into them.

Where a pixel is half object, half background, its colour is a mixture, which shows as a rim on any other background.
The colours of the object alone are estimated by blur-fusion, twice: the mean colours of object and background
around a pixel, each weighed by the alpha, are made to agree with the pixel. The means are smooth, so they are taken
of a smaller picture, and only pixels that are neither full nor empty are touched at all.

Blur-fusion: M. Forte, "Approximate fast foreground colour estimation", ICIP 2021.
"""

from rembg_watch.pictures.alphas import most_of, resized
from rembg_watch.pictures.vips import Picture, vips

MEANS_PX = 1_700_000
"""
The means are taken of so many pixels, at most. Against edges that are known exactly, a picture of 3 megapixels
loses 93 % of its rim by means of its own size, 92 % by those of half of it, and 88 % by those of a third.
"""

_FAR_PX, _NEAR_PX = 90, 6
"""How far around a pixel colours are looked for, the first and the second time."""

_COARSE = 8  # the first time the picture is smaller by this once more
_LITTLE = 1e-4  # of full: where there is less of one side than this nothing is known of it
_TILE_PX = 128


def shrink_for_means(width: int, height: int) -> int:
    """Say by how much a picture is made smaller for its means."""
    factor = 1
    while (width // factor) * (height // factor) > MEANS_PX:
        factor += 1
    return factor


def means(small: Picture, alpha: Picture, factor: int) -> Picture:
    """
    Return the mean colours of object and background around each pixel, in memory.

    Args:
        small: The picture, made smaller by *factor*.
        alpha: How opaque each pixel is, at whatever size.
        factor: By how much it is smaller.

    Returns:
        Floats: the bands of the object, and behind them those of the background.
    """
    image, size = small.cast("float"), (small.width, small.height)
    a = (resized(alpha, size, "ushort") * (1 / 65535)).copy_memory()
    coarse_size = -(-size[0] // _COARSE) * _COARSE, -(-size[1] // _COARSE) * _COARSE
    padded = image.embed(0, 0, *coarse_size, extend="copy"), a.embed(0, 0, *coarse_size, extend="copy")
    coarse = [one.shrink(_COARSE, _COARSE).copy_memory() for one in (padded[0] * padded[1], *padded)]
    radius = max(1, round(_FAR_PX / factor / _COARSE))
    ink, whole, share = coarse
    first = _fused(ink, whole - ink, share, radius)
    first = first.resize(_COARSE, kernel="linear").crop(0, 0, *size)
    bands = image.bands
    objects, background = first.extract_band(0, n=bands), first.extract_band(bands, n=bands)
    objects = _agreeing(image, a, objects, background, most_of(small)).copy_memory()
    radius = max(1, round(_NEAR_PX / factor))
    return _fused(objects * a, background * (1 - a), a, radius).copy_memory()


def _fused(objects: Picture, background: Picture, a: Picture, radius: int) -> Picture:
    """Return the means of colours that are weighed already."""
    share = _blurred(a, radius)
    return (
        (_blurred(objects, radius) / (share + _LITTLE))
        .bandjoin(_blurred(background, radius) / ((1 - share) + _LITTLE))
        .copy_memory()
    )


def _blurred(image: Picture, radius: int) -> Picture:
    width = 2 * radius + 1
    mask = vips().Image.new_from_array([[1] * width], scale=width)
    return image.convsep(mask, precision="float")


def _agreeing(image: Picture, a: Picture, objects: Picture, background: Picture, most: int) -> Picture:
    """Return the object's colour such that it and the background, mixed by the alpha, are nearly the pixel."""
    found = objects + a * (image - a * objects - (1 - a) * background)
    return (found < 0).ifthenelse(0, (found > most).ifthenelse(most, found))


def cleaned(image: Picture, alpha: Picture, found: Picture, factor: int) -> Picture:
    """
    Return a picture whose soft pixels have the colours of the object alone, and whose empty ones have none.

    Full pixels keep their values. Tiles without soft pixels cost nothing.

    Args:
        image: The picture.
        alpha: Of its size.
        found: What ``means`` returned for it, made smaller by *factor*.
        factor: By how much.
    """
    most, bands = most_of(alpha), image.bands
    if factor > 1:
        found = found.resize(factor, kernel="linear")
    found = found.crop(0, 0, image.width, image.height)
    objects, background = found.extract_band(0, n=bands), found.extract_band(bands, n=bands)
    soft = _agreeing(image, alpha * (1 / most), objects, background, most_of(image))
    soft = (soft + 0.5).cast(image.format)
    image = (alpha < most).ifthenelse(soft, image)
    image = (alpha > 0).ifthenelse(image, 0)
    return image.tilecache(
        tile_width=_TILE_PX,
        tile_height=_TILE_PX,
        max_tiles=4 * (image.width // _TILE_PX + 2),
        access="sequential",
        threaded=True,
    )
