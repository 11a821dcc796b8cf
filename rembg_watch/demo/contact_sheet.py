"""
A contact sheet: each source beside what came of it on a checkerboard, in one PNG.

For people who want to see at a glance what came out. It reads finished files and
draws; it knows nothing of jobs or the API.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from PIL import Image, ImageDraw, ImageFont, ImageOps

from rembg_watch.showing.tiles import Ground, tile

_TILE_PX = 240
_GAP_PX = 16
_CAPTION_PX = 26
_HEADER_PX = 72
_PAPER = (250, 250, 248)
_INK = (38, 38, 42)
_FAINT = (120, 120, 126)


class Row(NamedTuple):
    """One picture of the sheet: what was dropped, what came of it, and what to write below."""

    source: Path
    files: Sequence[Path]
    caption: str


def draw(pictures: Sequence[Row], *, title: str, subtitle: str, columns: int = 2) -> Image.Image:
    """Draw all *pictures*, *columns* of them side by side."""
    columns = max(1, min(columns, len(pictures)))
    rows = -(-len(pictures) // columns)
    tiles = 1 + max((len(one.files) for one in pictures), default=1)
    cell_width = tiles * _TILE_PX + (tiles - 1) * _GAP_PX
    cell_height = _TILE_PX + _CAPTION_PX
    width = columns * cell_width + (columns + 1) * 2 * _GAP_PX
    height = _HEADER_PX + rows * (cell_height + _GAP_PX) + _GAP_PX
    sheet = Image.new("RGB", (width, height), _PAPER)
    pen = ImageDraw.Draw(sheet)
    pen.text((2 * _GAP_PX, 16), title, fill=_INK, font=ImageFont.load_default(22))
    pen.text((2 * _GAP_PX, 44), subtitle, fill=_FAINT, font=ImageFont.load_default(13))
    for index, picture in enumerate(pictures):
        row, column = divmod(index, columns)
        left = 2 * _GAP_PX + column * (cell_width + 2 * _GAP_PX)
        top = _HEADER_PX + row * (cell_height + _GAP_PX)
        sheet.paste(_tile(picture.source, Ground.PAPER), (left, top))
        for number, path in enumerate(picture.files, 1):
            sheet.paste(_tile(path, Ground.CHECKS), (left + number * (_TILE_PX + _GAP_PX), top))
        pen.text((left, top + _TILE_PX + 5), picture.caption, fill=_FAINT, font=ImageFont.load_default(13))
    return sheet


def _tile(path: Path, ground: Ground) -> Image.Image:
    """Fit the picture at *path* into a square tile, upright."""
    with Image.open(path) as opened:
        return tile(ImageOps.exif_transpose(opened), _TILE_PX, ground)
