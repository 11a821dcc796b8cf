"""
An alpha made larger such that it follows the edges of its picture: the guided filter, where it fits.

In the neighbourhood of each soft pixel the alpha is taken as a linear function of the picture's colours, found where
both have the size of the alpha and applied to the large picture. Where that function explains the alpha badly (a pale
object on a pale ground, a busy pattern) what is merely enlarged counts for more.

Guided filter: He, Sun, Tang, "Guided image filtering", ECCV 2010.
"""

from functools import reduce
from operator import add

from rembg_watch.pictures.alphas import most_of, resized
from rembg_watch.pictures.vips import Picture, vips

_RADIUS_PX, _EPSILON = 2, 1e-4
_MISFIT = 4.0  # how much faster than the misfit the trust goes
_NOISE = 1e-4
_EMPTY, _FULL = 0.004, 0.996
_TILE_PX = 128


def follows(alpha: Picture, small: Picture, image: Picture) -> Picture:
    """
    Return an alpha as large as *image*, with as many bits.

    Args:
        alpha: One band, smaller than the picture.
        small: The picture, as large as the alpha.
        image: The picture.
    """
    p, guide = alpha * (1 / most_of(alpha)), _three_bands(small) * (1 / most_of(small))
    soft = _blurred(_blurred(((p > _EMPTY) & (p < _FULL)).cast("float"))) > 0
    trusted = soft.ifthenelse(_trusted(p, guide), [0.0] * 5)
    size = image.width, image.height
    trusted = _by_tiles(trusted).resize(size[0] / alpha.width, vscale=size[1] / alpha.height, kernel="linear")
    enlarged = resized(alpha, size, "ushort")
    colours = _three_bands(image) * (1 / most_of(image))
    explained = _sum(colours * trusted.extract_band(0, n=3)) + trusted.extract_band(3)
    explained = (explained < _EMPTY).ifthenelse(0, (explained > _FULL).ifthenelse(1, explained))
    trust = trusted.extract_band(4)
    mixed = (enlarged * (1 - trust) + explained * trust * 65535 + 0.5).cast("ushort")
    near = soft.resize(size[0] / alpha.width, vscale=size[1] / alpha.height, kernel="nearest")
    return resized(_by_tiles(near.ifthenelse(mixed, enlarged)), size, image.format)


def _trusted(p: Picture, guide: Picture) -> Picture:
    """Return five bands of the size of the alpha: three factors, what is added, and how far to trust them."""
    bands = [guide.extract_band(number) for number in range(3)]
    means, mean_p = [_blurred(one) for one in bands], _blurred(p)
    xx, xy, xz, yy, yz, zz = (
        _blurred(bands[one] * bands[other]) - means[one] * means[other] + (_EPSILON if one == other else 0)
        for one in range(3)
        for other in range(one, 3)
    )
    with_p = [_blurred(one * p) - mean * mean_p for one, mean in zip(bands, means, strict=True)]
    inverse = [
        [yy * zz - yz * yz, xz * yz - xy * zz, xy * yz - xz * yy],
        [xz * yz - xy * zz, xx * zz - xz * xz, xy * xz - xx * yz],
        [xy * yz - xz * yy, xy * xz - xx * yz, xx * yy - xy * xy],
    ]
    determinant = xx * inverse[0][0] + xy * inverse[0][1] + xz * inverse[0][2]
    factors = [_sum_of([a * b for a, b in zip(row, with_p, strict=True)]) / determinant for row in inverse]
    added = mean_p - _sum_of([factor * mean for factor, mean in zip(factors, means, strict=True)])
    line = _blurred(factors[0].bandjoin([*factors[1:], added]))
    explained = _sum(guide * line.extract_band(0, n=3)) + line.extract_band(3)
    misfit = _blurred((explained - p) * (explained - p)) / (_blurred(p * p) - mean_p * mean_p + _NOISE)
    trust = 1 - misfit * _MISFIT
    return line.bandjoin((trust < 0).ifthenelse(0, trust))


def _three_bands(image: Picture) -> Picture:
    """Return the colours that guide: of ink the first three, of gray three times the one."""
    return image.extract_band(0, n=3) if image.bands >= 3 else image.bandjoin([image, image])


def _blurred(image: Picture) -> Picture:
    width = 2 * _RADIUS_PX + 1
    return image.convsep(vips().Image.new_from_array([[1] * width], scale=width), precision="float")


def _sum(image: Picture) -> Picture:
    return _sum_of([image.extract_band(number) for number in range(3)])


def _sum_of(images: list[Picture]) -> Picture:
    return reduce(add, images)


def _by_tiles(image: Picture) -> Picture:
    """Compute in tiles: those without soft pixels then cost nothing."""
    return image.tilecache(
        tile_width=_TILE_PX,
        tile_height=_TILE_PX,
        max_tiles=4 * (image.width // _TILE_PX + 2),
        access="sequential",
        threaded=True,
    )
