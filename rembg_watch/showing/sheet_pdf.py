"""
A sheet as a PDF of A4 pages, ten pictures to a page, drawn and written with Pillow alone.

Its words are part of the drawing, so they look the same everywhere and cannot be searched for. Pages are written
one at a time, so that a long sheet takes no more memory than a short one.
"""

import io
import textwrap
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

from PIL import Image, ImageDraw

from rembg_watch.showing.contents import Contents, Entry, Style, below, subtitle
from rembg_watch.showing.letters import Letters
from rembg_watch.showing.pairs import Pair, Side
from rembg_watch.showing.tiles import Colour, Ground, empty, tile

DPI = 200
PAGE_PX = (1654, 2339)
PER_PAGE = 10

_COLUMNS = 2
_EDGE, _COLUMN_GAP, _TILE_GAP = 84, 54, 16
_TILE = (PAGE_PX[0] - 2 * _EDGE - _COLUMN_GAP - 2 * _TILE_GAP) // 4
_TOP, _PITCH, _FOOT = 190, 415, 60
_LINES = 60  # of what was left out, on one page
_LINE_PX = 34
_WRAPPED = 105  # letters of a line
_KINDS = ("JPEG", "WEBP")
_QUALITY = 88

_INK: Colour = (27, 27, 31)
_FAINT: Colour = (98, 98, 106)
_TONES: dict[str, Colour] = {"approved": (20, 108, 67), "rejected": (179, 38, 30)}


def write_pdf(path: Path, contents: Contents, pairs: Iterable[Pair], style: Style) -> None:
    """
    Write a sheet to *path*, in place of what stands there.

    Args:
        path: Where it goes.
        contents: What it shows.
        pairs: The views of its pictures, in their order.
        style: How it looks.

    Raises:
        OSError: The disk refused.
    """
    for number, page in enumerate(_pages(contents, pairs, style)):
        page.save(  # one at a time: those that Pillow gets together keep each other in memory
            path,
            "PDF",
            append=number > 0,
            resolution=DPI,
            quality=_QUALITY,
            title=contents.title,
            producer="rembg-watch",
        )


def _pages(contents: Contents, pairs: Iterable[Pair], style: Style) -> Iterator[Image.Image]:
    lines = _lines(contents)
    of_pictures = -(-len(contents.entries) // PER_PAGE)
    total = of_pictures + -(-len(lines) // _LINES)
    both, number = zip(contents.entries, pairs, strict=True), 0
    while some := list(islice(both, PER_PAGE)):
        number += 1
        page = _Page(contents, style, number, total)
        for place, (entry, pair) in enumerate(some):
            page.add(place, entry, pair)
        yield page.image
    for start in range(0, len(lines), _LINES):
        number += 1
        page = _Page(contents, style, number, total)
        page.tell(lines[start : start + _LINES])
        yield page.image


def _lines(contents: Contents) -> list[tuple[str, Colour]]:
    if not contents.left_out:
        return []
    lines = [("Not cut out", _INK)]
    for one in contents.left_out:
        lines += [("", _FAINT), (one.caption, _INK)]
        lines += [(line, _FAINT) for line in textwrap.wrap(one.reason, _WRAPPED)]
    return lines


class _Page:
    """One page, as it is drawn."""

    def __init__(self, contents: Contents, style: Style, number: int, total: int) -> None:
        self.image = Image.new("RGB", PAGE_PX, "white")
        self._pen = ImageDraw.Draw(self.image)
        self._style = style
        width = PAGE_PX[0] - 2 * _EDGE
        self._write((_EDGE, 62), contents.title, 46, width, _INK)
        self._write((_EDGE, 124), subtitle(contents, style), 25, width, _FAINT)
        self._write((PAGE_PX[0] - _EDGE, PAGE_PX[1] - _FOOT), f"{number} of {total}", 22, 300, _FAINT, anchor="ra")

    def add(self, place: int, entry: Entry, pair: Pair) -> None:
        row, column = divmod(place, _COLUMNS)
        wide = 2 * _TILE + _TILE_GAP
        left, top = _EDGE + column * (wide + _COLUMN_GAP), _TOP + row * _PITCH
        self._paste(pair.before, (left, top), Ground.PAPER)
        ground = Ground.WHITE if self._style.is_white else Ground.CHECKS
        self._paste(pair.after, (left + _TILE + _TILE_GAP, top), ground)
        right = left + wide
        for word in reversed(below(entry, self._style)):
            right -= (
                self._write((right, top + _TILE + 8), word, 23, wide / 2, _TONES.get(word, _FAINT), anchor="ra") + 18
            )
        self._write((left, top + _TILE + 8), entry.caption, 23, right - left, _INK)

    def tell(self, lines: Iterable[tuple[str, Colour]]) -> None:
        for number, (text, colour) in enumerate(lines):
            self._write((_EDGE, _TOP + number * _LINE_PX), text, 24, PAGE_PX[0] - 2 * _EDGE, colour)

    def _paste(self, side: Side, corner: tuple[int, int], ground: Ground) -> None:
        left, top = corner
        if side.content:
            with Image.open(io.BytesIO(side.content), formats=_KINDS) as view:  # our own view, made in a child
                self.image.paste(tile(view, _TILE, ground), corner)
            if ground is Ground.WHITE:
                self._pen.rectangle((left, top, left + _TILE - 1, top + _TILE - 1), outline=(226, 226, 221))
            return
        self.image.paste(empty(_TILE, Ground.PAPER), corner)
        for number, line in enumerate(textwrap.wrap(side.why_not, 26)[:8]):
            self._write((left + 20, top + 30 + 32 * number), line, 22, _TILE - 40, _FAINT)

    def _write(
        self, at: tuple[int, int], text: str, height_px: int, width_px: float, colour: Colour, *, anchor: str = "la"
    ) -> int:
        """Write a line; return how wide it became."""
        written, font = Letters(height_px).fit(text, width_px)
        self._pen.text(at, written, fill=colour, font=font, anchor=anchor)
        return int(font.getlength(written))
