"""
Words in a picture: in Pillow's own font, or in one of this machine that has their letters.

A letter that no font has is written as the escape with which lists write what cannot be shown, so that two names
never look the same.
"""

import unicodedata
from collections.abc import Sequence
from functools import cache, lru_cache

from PIL import ImageFont
from PIL.ImageFont import FreeTypeFont

FONTS = (
    "DejaVuSans.ttf",
    "NotoSans-Regular.ttf",
    "LiberationSans-Regular.ttf",
    "NotoSansCJK-Regular.ttc",
    "NotoSansCJKsc-Regular.otf",
    "wqy-zenhei.ttc",
    "wqy-microhei.ttc",
    "DroidSansFallbackFull.ttf",
    "NotoSansHebrew-Regular.ttf",
    "NotoSansArabic-Regular.ttf",
    "NotoSansThai-Regular.ttf",
    "NotoSansDevanagari-Regular.ttf",
    "Arial Unicode.ttf",
)
"""Fonts of this machine that are tried after Pillow's own one, by the names of their files."""

ELLIPSIS = "…"
_NOBODYS = "\U0010fffe"  # no character, so whatever a font draws for it stands for what it lacks


class Letters:
    """Words of one height in pixels."""

    def __init__(self, height_px: int, fonts: Sequence[str] = FONTS) -> None:
        self._height_px = height_px
        self._fonts = tuple(fonts)

    def fit(self, text: str, width_px: float) -> tuple[str, FreeTypeFont]:
        """Return *text* as it can be written on a line so wide, and the font; its middle may be left out."""
        text = unicodedata.normalize("NFC", text)
        font = self._font_for(text)
        written = "".join(one if _has(font, one) else _escaped(one) for one in text)
        if font.getlength(written) <= width_px:
            return written, font
        least, most = 0, len(written)  # of its letters, how many are left
        while least < most:
            middle = (least + most + 1) // 2
            least, most = (
                (middle, most) if font.getlength(_shortened(written, middle)) <= width_px else (least, middle - 1)
            )
        return _shortened(written, least), font

    def _font_for(self, text: str) -> FreeTypeFont:
        """Choose the first font that has all letters, else the one that has the most."""
        best, most = own_font(self._height_px), -1
        for name in (None, *self._fonts):
            font = own_font(self._height_px) if name is None else _font(name, self._height_px)
            count = sum(_has(font, one) for one in text) if font is not None else -1
            if font is not None and count > most:
                best, most = font, count
            if most == len(text):
                break
        return best


@cache
def own_font(height_px: int) -> FreeTypeFont:
    """Return the font that Pillow brings."""
    font = ImageFont.load_default(height_px)
    assert isinstance(font, FreeTypeFont)  # as every wheel of it is built
    return font


@cache
def _font(name: str, height_px: int) -> FreeTypeFont | None:
    try:
        return ImageFont.truetype(name, height_px)
    except OSError:
        return None


@lru_cache(maxsize=4096)
def _has(font: FreeTypeFont, letter: str) -> bool:
    return letter.isspace() or _drawn(font, letter) != _drawn(font, _NOBODYS)


@lru_cache(maxsize=4096)
def _drawn(font: FreeTypeFont, letter: str) -> tuple[tuple[int, int], bytes]:
    mask = font.getmask(letter)
    return mask.size, bytes(mask)


def _escaped(letter: str) -> str:
    return letter.encode("unicode_escape").decode("ascii")


def _shortened(text: str, left: int) -> str:
    """Leave so many letters of a text: names of pictures differ in their ends most often."""
    end = left // 2 + left % 2
    return text[: left - end] + ELLIPSIS + text[len(text) - end :] if left else ELLIPSIS
