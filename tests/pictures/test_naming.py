"""What a deliverable is called: a template, filled with what is known of its picture."""

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rembg_watch.paths import NAME_BYTES
from rembg_watch.pictures.naming import Naming, NoNameError, NoWordsError, Words, why_no_template
from rembg_watch.pictures.words import WORDS, worded
from tests.pictures.test_words import HOSTILE

NAMING = Naming(
    folder="shoes",
    read_name=r"(?P<sku>[A-Z]+)_\d",
    words={"who": Words("iptc.creator", {"Anna": "A"})},
)


def filled(template: str, said: Mapping[str, str] | None, source: bytes = b"day/ABC_1.jpg") -> str:
    made = NAMING.fill(template, source, deliverable="shop", mtime_ns=0, sides=(30, 20), said=said)
    return made.decode("utf-8", "surrogateescape")


SAID = {"iptc.title": "Vase", "iptc.headline": "Blue", "exif.date": "2026-01-31"}


@pytest.mark.parametrize(
    ("template", "name"),
    [
        ("{iptc.title}/{exif.date}/{stem}.{ext}", "Vase/2026-01-31/ABC_1"),
        ("{dir}/{iptc.headline} {iptc.title}.{ext}", "day/Blue Vase"),
        ("{iptc.credit}/{stem}.{ext}", "ABC_1"),
        ("{deliverable}/{iptc.credit}/{stem}.{ext}", "shop/ABC_1"),
        ("by-{iptc.credit}/{stem}.{ext}", "by/ABC_1"),
        ("{stem}_{iptc.credit}.{ext}", "ABC_1"),
        ("{iptc.credit}_{stem}.{ext}", "ABC_1"),
        ("{sku}_{iptc.credit}_{iptc.title}.{ext}", "ABC_Vase"),
        ("{iptc.title} - {iptc.credit} - {sku}.{ext}", "Vase - ABC"),
        ("{sku}_{iptc.credit}_{iptc.creator}.{ext}", "ABC"),
        ("{iptc.credit}_{iptc.creator}_{sku}.{ext}", "ABC"),
        ("{stem} ({iptc.credit}).{ext}", "ABC_1"),
        ("{stem} ({iptc.credit}, {iptc.creator}).{ext}", "ABC_1"),
        ("{stem} [{iptc.credit}]-x.{ext}", "ABC_1-x"),
        ("{iptc.credit}.{ext}", "ABC_1"),
        ("{dir}/final-{iptc.credit}.{ext}", "day/final-ABC_1"),
        ("{folder}-{iptc.credit}-{iptc.creator}.{ext}", "shoes-ABC_1"),
        ("{stem}.{ext}", "ABC_1"),
    ],
)
def test_a_word_that_is_missing_is_dropped_with_its_separator(template: str, name: str) -> None:
    assert filled(template, SAID) == name


def test_a_separator_of_the_name_itself_stays() -> None:
    assert filled("{stem}{iptc.credit}.{ext}", {}, b"IMG_.jpg") == "IMG_"
    assert filled("{iptc.credit}{stem}.{ext}", {}, b"-IMG.jpg") == "-IMG"


@pytest.mark.parametrize(("title", "place"), [("CON", "_CON/x"), ("nul", "_nul/x"), ("Cone", "Cone/x")])
def test_a_device_of_windows_is_no_folder(title: str, place: str) -> None:
    assert filled("{iptc.title}/{stem}.{ext}", {"iptc.title": title}, b"x.jpg") == place


def test_a_name_that_no_word_is_asked_for_stays_as_it_was() -> None:
    assert filled("{dir}/{stem}.{ext}", None, b"con/nul.jpg") == "con/nul"


def test_a_token_can_be_made_out_of_a_word() -> None:
    assert NAMING.asks("{who}/{stem}.{ext}") == {"iptc.creator"}
    assert filled("{who}/{stem}.{ext}", {"iptc.creator": "Anna"}) == "A/ABC_1"
    with pytest.raises(NoNameError, match=r"has no \{who\}: the picture says no \{iptc\.creator\}"):
        filled("{who}/{stem}.{ext}", {})


def test_nobody_guesses_what_a_picture_said_that_is_gone() -> None:
    with pytest.raises(NoWordsError, match=r"needs \{exif\.date\} and \{iptc\.title\}, and the picture .* is gone"):
        filled("{iptc.title}/{exif.date}/{stem}.{ext}", None)


def test_what_is_asked_of_a_picture_is_known_beforehand() -> None:
    assert NAMING.asks("{dir}/{stem}-{date}.{ext}") == frozenset()
    assert NAMING.asks("{iptc.title}/{exif.date}.{ext}") == {"iptc.title", "exif.date"}
    assert set(WORDS) < NAMING.known()


@pytest.mark.parametrize("token", ["iptc.title", "exif.date", "sku"])
def test_a_token_may_have_a_dot(token: str) -> None:
    assert why_no_template(f"{{{token}}}/{{stem}}.{{ext}}") is None


@pytest.mark.parametrize("token", ["iptc.", ".title", "iptc..title", "iptc title", ""])
def test_a_dot_stands_between_names(token: str) -> None:
    assert "which is no name" in str(why_no_template(f"{{{token}}}/{{stem}}.{{ext}}"))


TEMPLATES = st.lists(
    st.sampled_from([*(f"{{{one}}}" for one in WORDS), "{stem}", "{dir}", "{folder}", "/", "_", " (", ")", "-", "x"]),
    min_size=1,
).map("".join)


@given(TEMPLATES, st.dictionaries(st.sampled_from(sorted(WORDS)), HOSTILE))
def test_whatever_a_picture_says_stays_below_the_output_and_has_a_name(template: str, typed: dict[str, str]) -> None:
    if why_no_template(template + ".{ext}") is not None:
        return
    said = {token: word for token, value in typed.items() if (word := worded(value))}
    try:
        place = NAMING.fill(template + ".{ext}", b"a/b.jpg", deliverable="d", mtime_ns=0, sides=(1, 1), said=said)
    except NoNameError:
        assert not any(one in template for one in ("{stem}", "{iptc", "{exif"))
        return
    for part in place.decode().split("/"):
        assert part not in ("", ".", "..")
        assert len(part.encode()) <= NAME_BYTES
        assert "\0" not in part
