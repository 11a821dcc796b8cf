"""The key appears in nothing that is written, however it got there."""

import base64
import json
import urllib.parse

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rembg_watch.report.redact import HIDDEN, Redactor

KEY = 'sk/live+"9f"\\ü=='


class Request:
    def __repr__(self) -> str:
        return f"<Request headers={{'x-api-key': {KEY!r}}}>"


@pytest.mark.parametrize(
    "text",
    [
        f"invalid key {KEY}",
        f"https://x/?key={urllib.parse.quote(KEY)}",
        f"https://x/?key={urllib.parse.quote(KEY, safe='')}",
        urllib.parse.urlencode({"key": KEY}),
        repr({"x-api-key": KEY}),
        json.dumps({"key": KEY}),
        json.dumps({"key": KEY}, ensure_ascii=False),
        ascii(KEY),
        f"Authorization: Basic {base64.b64encode(KEY.encode()).decode()}",
    ],
    ids=["plain", "url", "url, all quoted", "form", "repr", "json", "json, utf-8", "ascii", "base64"],
)
def test_the_key_is_hidden_however_it_is_spelled(text: str) -> None:
    clean = Redactor([KEY]).text(text)
    assert HIDDEN in clean
    assert KEY not in clean
    assert "live" not in clean


def test_the_key_is_hidden_however_deep_it_lies() -> None:
    found = {
        "headers": [("x-api-key", KEY)],
        KEY: {"bytes": KEY.encode(), "set": {KEY}},
        "request": Request(),
        "error": ValueError(KEY),
        "count": 3,
        "none": None,
    }
    clean = Redactor([KEY]).value(found)
    assert KEY not in str(clean)
    assert "live" not in str(clean)
    assert isinstance(clean, dict)
    assert (clean["count"], clean["none"]) == (3, None)


@pytest.mark.parametrize(
    "text",
    [
        "x-api-key: another-key",
        "{'x-api-key': 'another-key'}",
        "Headers([(b'X-API-Key', b'another-key')])",
        '{"x-api-key":"another-key"}',
        '"{\\"x-api-key\\": \\"another-key\\"}"',
    ],
)
def test_the_header_is_hidden_even_if_its_key_is_not_known(text: str) -> None:
    clean = Redactor().text(text)
    assert "another-key" not in clean
    assert "api-key" in clean.lower()


def test_a_header_in_a_mapping_is_hidden_even_if_its_key_is_not_known() -> None:
    assert Redactor().value({"X-API-Key": "another-key", "x-api-key": None}) == {
        "X-API-Key": HIDDEN,
        "x-api-key": None,
    }


def test_the_old_key_stays_hidden_after_a_new_one_comes() -> None:
    redactor = Redactor(["old-key-1"])
    redactor.add("new-key-2")
    assert redactor.text("old-key-1 new-key-2") == f"{HIDDEN} {HIDDEN}"


def test_a_key_that_contains_another_is_hidden_whole() -> None:
    assert Redactor(["abcd", "abcdefgh"]).text("abcdefgh") == HIDDEN


@pytest.mark.parametrize("secret", ["", "   ", "abc"])
def test_what_is_too_short_to_be_a_key_does_not_garble_the_log(secret: str) -> None:
    assert Redactor([secret]).text("abc is a word") == "abc is a word"


def test_a_line_feed_at_the_end_of_a_key_file_hides_nothing_less() -> None:
    assert Redactor(["sk-1234\n"]).text("sk-1234") == HIDDEN


def test_what_is_hidden_stays_hidden_when_it_passes_twice() -> None:
    redactor = Redactor([KEY])
    once = redactor.text(f"x-api-key: {KEY}")
    assert redactor.text(once) == once


@given(st.text(min_size=4, max_size=40).map(str.strip).filter(lambda key: len(key) >= 4 and set(key) - set("*")))
def test_no_key_survives(key: str) -> None:
    assert key not in Redactor([key]).text(f"before {key} after").replace(HIDDEN, "")
