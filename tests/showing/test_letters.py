"""Words in a picture: each letter is drawn, or said to be lacking."""

import unicodedata

import pytest
from PIL import Image, ImageDraw

from rembg_watch.showing.letters import ELLIPSIS, Letters, own_font

WIDE_PX = 10_000


def test_plain_letters_are_in_the_font_that_comes_with_pillow() -> None:
    text, font = Letters(20).fit("IMG_0042 (final).jpg", WIDE_PX)
    assert text == "IMG_0042 (final).jpg"
    assert font is own_font(20)


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("\u4e2d\u6587.jpg", "\\u4e2d\\u6587.jpg"),
        ("\U0001f352.jpg", "\\U0001f352.jpg"),
        ("\u05d0.jpg", "\\u05d0.jpg"),
        ("", ""),
        (" ", " "),
    ],
)
def test_a_letter_that_no_font_has_is_an_escape(name: str, written: str) -> None:
    assert Letters(20, fonts=()).fit(name, WIDE_PX)[0] == written


def test_two_names_of_lacking_letters_differ() -> None:
    letters = Letters(20, fonts=("there-is-no-such-font.ttf",))
    assert letters.fit("\u4e2d", WIDE_PX)[0] != letters.fit("\u6587", WIDE_PX)[0]


def test_a_letter_and_its_accent_from_a_mac_are_one_letter() -> None:
    name = unicodedata.normalize("NFD", "caf\u00e9")
    assert unicodedata.normalize("NFC", Letters(20).fit(name, WIDE_PX)[0].replace("\\xe9", "\u00e9")) == "caf\u00e9"


@pytest.mark.parametrize("width_px", [400, 200, 90, 20])
def test_a_long_name_keeps_its_ends_and_its_place(width_px: int) -> None:
    text, font = Letters(20).fit("a" * 100 + "_0042.jpg", width_px)
    assert font.getlength(text) <= width_px or text == ELLIPSIS
    assert ELLIPSIS in text
    assert width_px < 200 or text.endswith("_0042.jpg")


@pytest.mark.parametrize(
    "text", ["\u202eabc", "a\nb", "\ud800".encode("utf-8", "backslashreplace").decode(), "\0", "x" * 5_000]
)
def test_whatever_comes_can_be_drawn(text: str) -> None:
    written, font = Letters(20).fit(text, 300)
    ImageDraw.Draw(Image.new("RGB", (320, 40))).text((0, 0), written, font=font)
    assert font.getlength(written) <= 300
