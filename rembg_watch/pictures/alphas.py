"""What was bought for a picture, as the one band that says how opaque each pixel is; and what it says of the object."""

from rembg_watch.errors import RembgWatchError
from rembg_watch.pictures.deliverable import Master
from rembg_watch.pictures.framing import VISIBLE, Box, Frame
from rembg_watch.pictures.opening import NotOpenedError, Opened, open_picture, why_not_computed
from rembg_watch.pictures.vips import Picture, vips

_TOLERANCE_PX = 3
_TOLERANCE = 0.01
"""So much the sides of a master may differ from those of its picture: services round, and some shave a row off."""

_MOST_16 = 65535


class WrongMasterError(RembgWatchError):
    """What was bought does not fit the picture; ``code`` says in which way."""

    def __init__(self, sentence: str, *, code: str) -> None:
        super().__init__(sentence)
        self.code = code


def read_alpha(fd: int, kind: Master) -> Picture:
    """
    Read how opaque each pixel of a master is, an open file: one band of 8 or 16 bits, in memory.

    Raises:
        WrongMasterError: It is none.
        OSError: The disk refused.
    """
    try:
        opened = open_picture(fd)
        image = opened.alpha if kind is Master.CUTOUT else _of_mask(opened)
        if image is None:
            raise WrongMasterError("What was bought has no transparency: it is no cut-out.", code="no_alpha")
        return image.copy_memory()
    except NotOpenedError as error:
        raise WrongMasterError(f"What was bought cannot be read: {error}", code="broken_master") from error
    except vips().Error as error:
        why = why_not_computed(error)
        raise WrongMasterError(f"What was bought cannot be read: {why}", code="broken_master") from error


def _of_mask(opened: Opened) -> Picture:
    """Take the one band of a mask; several that are equal count as one, and an alpha beside them takes away."""
    joined = opened.image if opened.alpha is None else opened.image.bandjoin(opened.alpha)
    joined, bands = joined.copy_memory(), opened.image.bands
    mask = joined.extract_band(0)
    for number in range(1, bands):
        if (mask != joined.extract_band(number)).max():
            raise WrongMasterError("What was bought has colours: it is no mask.", code="odd_mask")
    if opened.alpha is None:
        return mask
    most = most_of(mask)
    return (mask.cast("float") * joined.extract_band(bands) * (1 / most) + 0.5).cast(mask.format)


def most_of(image: Picture) -> int:
    """Return the number that stands for full."""
    return 255 if image.format == "uchar" else _MOST_16


def fits(master: tuple[int, int], picture: tuple[int, int]) -> bool:
    """Say whether a master has the shape of a picture, of whatever size."""
    scale = max(master[0] / picture[0], master[1] / picture[1])
    return all(
        abs(side - scale * other) <= max(_TOLERANCE_PX, scale * other * _TOLERANCE)
        for side, other in zip(master, picture, strict=True)
    )


def turned_to(alpha: Picture, picture: tuple[int, int], orientation: int) -> Picture:
    """
    Return an alpha that has the shape of its picture.

    A picture that was sent with an orientation may have been turned by it or not; where that exchanges the sides,
    the shape tells.

    Raises:
        WrongMasterError: It has another shape.
    """
    size = alpha.width, alpha.height
    if fits(size, picture):
        return alpha
    turns = {5: lambda one: one.rot90().fliphor(), 6: lambda one: one.rot90(), 7: lambda one: one.rot270().fliphor()}
    if orientation > 4 and fits(size, picture[::-1]):
        return turns.get(orientation, lambda one: one.rot270())(alpha).copy_memory()
    raise WrongMasterError(
        f"What was bought is {size[0]} x {size[1]} and the picture {picture[0]} x {picture[1]}: it is of another one.",
        code="wrong_size",
    )


def resized(alpha: Picture, size: tuple[int, int], kind: str) -> Picture:
    """Return an alpha of another size and as many bits as *kind*; what is full stays full, and nothing nothing."""
    if kind == "ushort" and alpha.format == "uchar":
        alpha = (alpha * 257).cast("ushort")
    if (alpha.width, alpha.height) != size:
        scale_x, scale_y = size[0] / alpha.width, size[1] / alpha.height
        alpha = alpha.resize(scale_x, vscale=scale_y, kernel="cubic")
        alpha = alpha.crop(0, 0, *size) if (alpha.width, alpha.height) != size else alpha
    if kind == "uchar" and alpha.format == "ushort":
        alpha = (alpha * (1 / 257) + 0.5).cast("uchar")
    return alpha


def framed(alpha: Picture, size: tuple[int, int], frame: Frame, kind: str) -> Picture:
    """
    Return what is seen of an alpha, as large as it is to be: in one step, from its own pixels.

    Args:
        alpha: One band, of any size.
        size: Width and height of its picture.
        frame: How the picture comes onto the canvas.
        kind: What numbers it gets, ``uchar`` or ``ushort``.
    """
    by_x, by_y = frame.scaled[0] / frame.crop.width, frame.scaled[1] / frame.crop.height
    across, down = by_x * size[0] / alpha.width, by_y * size[1] / alpha.height
    factor = max(1, int(1 / max(across, down)))
    if factor > 1:
        alpha = alpha.shrink(factor, factor, ceil=True).cast(alpha.format)
    if alpha.format == "uchar":
        alpha = (alpha * 257).cast("ushort")
    across, down = across * factor, down * factor
    made = alpha.affine(  # places are counted from the middle of the first pixel there
        [across, 0, 0, down],
        oarea=[0, 0, *frame.scaled],
        odx=across / 2 - frame.crop.left * by_x - 0.5,
        ody=down / 2 - frame.crop.top * by_y - 0.5,
        interpolate=vips().Interpolate.new("bicubic"),
        extend="copy",
    )
    return made if kind == "ushort" else (made * (1 / 257) + 0.5).cast("uchar")


SPECKS = "specks"
"""The remark that something tiny, apart from the object, does not count for its box."""

_SPECK_SHARE = 1 / 2000
_SMALL_PX = 512
_MOST_PARTS = 60_000


def object_box(alpha: Picture, size: tuple[int, int]) -> tuple[Box | None, tuple[str, ...]]:
    """
    Return the box of all that is visible, in a picture of *size*, and remarks; None: nothing is visible.

    What is apart from the object and less than a two-thousandth of it, as networks leave in corners, does not count.
    A master that is smaller than its picture knows the box as exactly as its own pixels are.
    """
    visible = alpha > VISIBLE * most_of(alpha)
    everything = _box_of(visible, size)
    if everything is None or (large := _without_specks(visible)) is None:
        return everything, ()
    box = _box_of(large, size)
    return box, () if box == everything else (SPECKS,)


def _without_specks(visible: Picture) -> Picture | None:
    """Return what is visible without the specks; None: there are none. Parts are told apart in a small copy."""
    factor = max(1, -(-max(visible.width, visible.height) // _SMALL_PX))
    small = visible.shrink(factor, factor, ceil=True).copy_memory()
    parts, found = (small > 0).labelregions(segments=True)
    if not 2 < found["segments"] < _MOST_PARTS:
        return None
    parts = parts.cast("ushort")
    areas = small.cast("double").hist_find_indexed(parts)
    least = small.avg() * small.width * small.height * _SPECK_SHARE
    if not ((areas > 0) & (areas < least)).max():
        return None
    kept = parts.maplut((areas >= least).cast("uchar"))
    return visible & kept.zoom(factor, factor).crop(0, 0, visible.width, visible.height)


def _box_of(visible: Picture, size: tuple[int, int]) -> Box | None:
    columns, rows = visible.project()
    across = _ends(columns.write_to_memory(), visible.width, size[0])
    down = _ends(rows.write_to_memory(), visible.height, size[1])
    if across is None or down is None:
        return None
    return Box(across[0], down[0], across[1] - across[0], down[1] - down[0])


def _ends(sums: bytes, length: int, side: int) -> tuple[int, int] | None:
    """Say where the first and behind the last number is that is not zero, in a picture whose side is as long."""
    item = len(sums) // length
    filled = [number for number in range(length) if any(sums[number * item : (number + 1) * item])]
    if not filled:
        return None
    return filled[0] * side // length, -(-(filled[-1] + 1) * side // length)


def joined_with_own(alpha: Picture, own: Picture | None, *, was_sent: bool) -> Picture:
    """
    Take away, too, what the picture itself had made transparent.

    A service that was sent the transparency, too, may have taken it away already: then the lesser of both counts.
    """
    if own is None:
        return alpha
    if was_sent:
        there = (own.cast("float") * (most_of(alpha) / most_of(own)) + 0.5).cast(alpha.format)
        return (there < alpha).ifthenelse(there, alpha)
    return (alpha.cast("float") * own * (1 / most_of(own)) + 0.5).cast(alpha.format)


def black(width: int, height: int, bands: int, kind: str) -> Picture:
    """Return a picture of zeros."""
    return vips().Image.black(width, height, bands=bands).cast(kind)
