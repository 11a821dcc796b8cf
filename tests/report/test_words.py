"""How paths, spans, sizes and moments are written."""

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rembg_watch.report.words import (
    WallClock,
    count_text,
    credits_number,
    credits_text,
    local_text,
    rate_text,
    show,
    size_text,
    span_text,
    utc_text,
)

NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
HELSINKI = timezone(timedelta(hours=2))


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (b"shoes/IMG_1.jpg", "shoes/IMG_1.jpg"),
        ("Überweite.jpg".encode(), "Überweite.jpg"),
        (b"caf\xe9.jpg", "caf\\xe9.jpg"),
        (b"a\nb.jpg", "a\\nb.jpg"),
        (b"\x1b[2J.jpg", "\\x1b[2J.jpg"),
        ("\u202egpj.exe".encode(), "\\u202egpj.exe"),
        (b"", ""),
    ],
    ids=["plain", "utf-8", "latin-1", "a line feed", "a terminal code", "text turned around", "nothing"],
)
def test_a_path_fits_on_one_line_and_harms_no_terminal(path: bytes, text: str) -> None:
    assert show(path) == text


@given(st.binary(max_size=60))
def test_any_bytes_can_be_shown(path: bytes) -> None:
    assert show(path).isprintable()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "0.0 s"),
        (0, "0.0 s"),
        (0.44, "0.4 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (59.4, "59 s"),
        (59.6, "1 min"),
        (75, "1 min 15 s"),
        (3599.6, "1 h"),
        (7500, "2 h 5 min"),
        (86_399, "24 h"),
        (86_400, "1 d"),
        (100_000, "1 d 4 h"),
        (400 * 86_400, "400 d"),
        (float("inf"), "an unknown time"),
        (float("nan"), "an unknown time"),
    ],
)
def test_a_span_is_told_in_its_two_largest_units(seconds: float, text: str) -> None:
    assert span_text(seconds) == text


@pytest.mark.parametrize(
    ("amount", "text"),
    [("0", "0 credits"), ("1", "1 credit"), ("1.00", "1 credit"), ("0.5", "0.5 credits"), ("1240", "1,240 credits")],
)
def test_credits_are_told_without_needless_zeros(amount: str, text: str) -> None:
    assert credits_text(Decimal(amount)) == text


def test_whole_credits_are_whole_in_json() -> None:
    assert [type(credits_number(Decimal(amount))) for amount in ("2.00", "2.5")] == [int, float]


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 bytes"), (1, "1 byte"), (999, "999 bytes"), (1000, "1.0 kB"), (55_200_000, "55.2 MB"), (3e12, "3.0 TB")],
)
def test_a_size_is_told_as_file_managers_do(size: float, text: str) -> None:
    assert size_text(size) == text


def test_one_picture_and_many_pictures() -> None:
    assert [count_text(n, "picture") for n in (0, 1, 1204)] == ["0 pictures", "1 picture", "1,204 pictures"]


@pytest.mark.parametrize(
    ("per_s", "text"),
    [(3.42, "3.4 a second"), (0.5, "30.0 a minute"), (0.002, "7.2 an hour"), (0, "0.0 an hour")],
)
def test_a_rate_is_a_number_one_can_picture(per_s: float, text: str) -> None:
    assert rate_text(per_s) == text


def test_moments_name_their_clock() -> None:
    assert utc_text(NOON.astimezone(HELSINKI)) == "2026-11-22 12:00 UTC"
    assert local_text(NOON, zone=HELSINKI) == "2026-11-22 14:00"


@pytest.mark.parametrize(
    ("hours", "text"),
    [
        (2, "16:00 (in 2 h)"),
        (0, "14:00 (now)"),
        (-1, "13:00 (now)"),
        (12, "Mon 23 Nov 02:00 (in 12 h)"),
        (24 * 8, "2026-11-30 14:00 (in 8 d)"),
    ],
    ids=["today", "now", "overdue", "tomorrow on this clock", "next week"],
)
def test_a_moment_to_come_says_how_long_that_is(hours: int, text: str) -> None:
    assert WallClock(NOON, HELSINKI).until(NOON + timedelta(hours=hours)) == text


def test_a_moment_gone_by_says_how_long_ago() -> None:
    assert WallClock(NOON, HELSINKI).since(NOON - timedelta(minutes=125)) == "11:55 (2 h 5 min ago)"
