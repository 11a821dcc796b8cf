"""Pictures in squares, on the ground that lets one see what is cut out. It draws what is decoded, and reads no file."""

from enum import Enum
from functools import lru_cache

from PIL import Image, ImageDraw

Colour = tuple[int, int, int]

LIGHT_SQUARE: Colour = (255, 255, 255)
DARK_SQUARE: Colour = (222, 222, 226)
_SQUARES = 20  # to each side


class Ground(Enum):
    """What is seen around a picture and through it."""

    CHECKS = "checks"
    WHITE = "white"
    PAPER = "paper"


_COLOURS = {Ground.WHITE: (255, 255, 255), Ground.PAPER: (238, 238, 236)}


def tile(picture: Image.Image, side_px: int, ground: Ground) -> Image.Image:
    """Fit a picture into the middle of a square; a small one stays as small as it is."""
    shown = picture.convert("RGBA")
    shown.thumbnail((side_px, side_px), Image.Resampling.LANCZOS)
    square = empty(side_px, ground)
    corner = ((side_px - shown.width) // 2, (side_px - shown.height) // 2)
    square.paste(shown, corner, shown)
    return square


def empty(side_px: int, ground: Ground) -> Image.Image:
    """Return a square with nothing in it."""
    if ground is Ground.CHECKS:
        return _checks(side_px).copy()
    return Image.new("RGB", (side_px, side_px), _COLOURS[ground])


@lru_cache(maxsize=4)
def _checks(side_px: int) -> Image.Image:
    board = Image.new("RGB", (side_px, side_px), LIGHT_SQUARE)
    pen, step = ImageDraw.Draw(board), -(-side_px // _SQUARES)
    for y in range(0, side_px, step):
        for x in range((y // step % 2) * step, side_px, 2 * step):
            pen.rectangle((x, y, x + step - 1, y + step - 1), fill=DARK_SQUARE)
    return board
