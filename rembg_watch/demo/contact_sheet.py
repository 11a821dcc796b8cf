"""
A contact sheet: each source beside what came of it on a checkerboard, in one PNG.

For people who want to see at a glance what came out. It reads finished files and
draws; it knows nothing of jobs or the API.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from PIL import Image, ImageDraw, ImageFont, ImageOps

_TILE_PX = 240
_GAP_PX = 16
_CAPTION_PX = 26
_HEADER_PX = 72
_CHECKER_PX = 12
_PAPER = (250, 250, 248)
_INK = (38, 38, 42)
_FAINT = (120, 120, 126)
_LIGHT_SQUARE = (255, 255, 255)
_DARK_SQUARE = (222, 222, 226)


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
        sheet.paste(_tile(picture.source, checkered=False), (left, top))
        for number, path in enumerate(picture.files, 1):
            sheet.paste(_tile(path, checkered=True), (left + number * (_TILE_PX + _GAP_PX), top))
        pen.text((left, top + _TILE_PX + 5), picture.caption, fill=_FAINT, font=ImageFont.load_default(13))
    return sheet


def _tile(path: Path, *, checkered: bool) -> Image.Image:
    """Fit the picture at *path* into a square tile; what is transparent shows the checkerboard."""
    with Image.open(path) as opened:
        picture = ImageOps.exif_transpose(opened).convert("RGBA")
    picture.thumbnail((_TILE_PX, _TILE_PX), Image.Resampling.LANCZOS)
    tile = _checkerboard() if checkered else Image.new("RGB", (_TILE_PX, _TILE_PX), (238, 238, 236))
    corner = ((_TILE_PX - picture.width) // 2, (_TILE_PX - picture.height) // 2)
    tile.paste(picture, corner, picture)
    return tile


def _checkerboard() -> Image.Image:
    board = Image.new("RGB", (_TILE_PX, _TILE_PX), _LIGHT_SQUARE)
    pen = ImageDraw.Draw(board)
    for y in range(0, _TILE_PX, _CHECKER_PX):
        for x in range((y // _CHECKER_PX % 2) * _CHECKER_PX, _TILE_PX, 2 * _CHECKER_PX):
            pen.rectangle((x, y, x + _CHECKER_PX - 1, y + _CHECKER_PX - 1), fill=_DARK_SQUARE)
    return board
