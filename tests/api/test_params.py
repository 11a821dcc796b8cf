import math
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rembg_watch.api.errors import FieldError, InvalidRequestError, Scope
from rembg_watch.api.params import Format, RemovalParams, parameter_problems, usage_query

SIZE = "Use hex format: #RGB, #RGBA, #RRGGBB, or #RRGGBBAA"


def messages(**values: object) -> list[str]:
    return [problem.message for problem in parameter_problems(values)]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        pytest.param({}, [], id="nothing given"),
        pytest.param({"w": 1, "h": 10000}, [], id="both ends of a size"),
        pytest.param({"w": None, "h": None, "bg_color": None}, [], id="left open"),
        pytest.param({"w": 0}, ["'w' must be at least 1, got: 0"], id="zero"),
        pytest.param({"h": -5}, ["'h' must be at least 1, got: -5"], id="negative"),
        pytest.param({"w": 10001}, ["'w' must be at most 10000, got: 10001"], id="one too many"),
        pytest.param({"w": "abc"}, ["'w' must be an integer, got: 'abc'"], id="text"),
        pytest.param({"w": 2.0}, ["'w' must be an integer, got: 2.0"], id="a float"),
        pytest.param({"w": True}, ["'w' must be an integer, got: True"], id="a flag as a size"),
        pytest.param({"w": 10**5000}, ["'w' must be at most 10000, got: a number of many digits"], id="endless digits"),
        pytest.param({"angle": -360}, [], id="a whole turn back"),
        pytest.param({"angle": 0.5}, [], id="half a degree"),
        pytest.param(
            {"angle": 500.0}, ["'angle' must be between -360 and 360 degrees, got: 500.0"], id="more than a turn"
        ),
        pytest.param(
            {"angle": math.inf}, ["'angle' must be between -360 and 360 degrees, got: inf"], id="endless turning"
        ),
        pytest.param({"angle": math.nan}, ["'angle' must be a number, got: nan"], id="not a number"),
        pytest.param({"angle": "ninety"}, ["'angle' must be a number, got: 'ninety'"], id="an angle in words"),
        pytest.param({"angle": False}, ["'angle' must be a number, got: False"], id="a flag as an angle"),
        pytest.param({"format": "WEBP"}, [], id="a format in capitals"),
        pytest.param({"format": "jpg"}, [], id="the short name of JPEG"),
        pytest.param(
            {"format": "gif"}, ["Invalid format 'gif'. Allowed formats: PNG, JPEG, WEBP, BMP"], id="another format"
        ),
        pytest.param({"format": None}, ["Invalid format None. Allowed formats: PNG, JPEG, WEBP, BMP"], id="no format"),
        pytest.param({"bg_color": "#fff"}, [], id="#RGB"),
        pytest.param({"bg_color": "#FFF8"}, [], id="#RGBA"),
        pytest.param({"bg_color": "#ffFFff"}, [], id="#RRGGBB"),
        pytest.param({"bg_color": "#ffffff80"}, [], id="#RRGGBBAA"),
        pytest.param({"bg_color": "Red"}, [], id="a name"),
        pytest.param({"bg_color": "#12345"}, [f"Invalid color format '#12345'. {SIZE}"], id="five digits"),
        pytest.param({"bg_color": "#ggg"}, [f"Invalid color format '#ggg'. {SIZE}"], id="no hex digits"),
        pytest.param({"bg_color": "fff\n"}, [f"Invalid color format 'fff\\n'. {SIZE}"], id="a line break"),
        pytest.param({"bg_color": "light blue"}, [f"Invalid color format 'light blue'. {SIZE}"], id="two words"),
        pytest.param({"bg_color": ""}, [f"Invalid color format ''. {SIZE}"], id="an empty colour"),
        pytest.param({"bg_color": 7}, [f"Invalid color format 7. {SIZE}"], id="a number as a colour"),
        pytest.param({"bg_color": "whitish"}, [f"Invalid color format 'whitish'. {SIZE}"], id="a name of no colour"),
        pytest.param({"bg_color": "AntiqueWhite"}, [], id="a colour by its name"),
        pytest.param({"mask": "yes"}, ["'mask' must be true or false, got: 'yes'"], id="a word as a flag"),
        pytest.param({"expand": 1}, ["'expand' must be true or false, got: 1"], id="a number as a flag"),
        pytest.param(
            {"mask": True, "bg_color": "#fff"},
            ["Cannot use 'mask=true' together with 'bg_color'. Choose one or the other."],
            id="mask with a colour",
        ),
        pytest.param({"mask": False, "bg_color": "#fff"}, [], id="no mask with a colour"),
        pytest.param(
            {"width": 5},
            ["'width' is not a parameter. Known: format, w, h, exact_resize, mask, bg_color, angle, expand"],
            id="an unknown name",
        ),
    ],
)
def test_problems_are_told_in_the_words_of_the_api(values: dict[str, object], expected: list[str]) -> None:
    assert messages(**values) == expected


def test_all_problems_are_found_at_once() -> None:
    with pytest.raises(InvalidRequestError) as caught:
        RemovalParams(w=0, h=20000, angle=500, mask=True, bg_color="#12345", format="gif")  # type: ignore[arg-type]
    error = caught.value
    assert [one.field for one in error.details] == ["format", "w", "h", "bg_color", "angle", "mask"]
    assert error.scope is Scope.FOLDER
    assert not error.retryable
    assert error.field == "format"
    assert error.details[1] == FieldError("w", "'w' must be at least 1, got: 0")
    assert "'h' must be at most 10000, got: 20000." in str(error)


def test_a_wrong_request_is_also_a_value_error() -> None:
    with pytest.raises(ValueError, match="'w' must be at least 1"):
        RemovalParams(w=-1)


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        pytest.param(RemovalParams(), {"format": "webp"}, id="all at their defaults"),
        pytest.param(RemovalParams(format=Format.PNG, angle=0.0), {"format": "png"}, id="no angle"),
        pytest.param(RemovalParams(angle=-0.0), {"format": "webp"}, id="an angle of minus nothing"),
        pytest.param(RemovalParams(angle=90.0), {"angle": "90", "format": "webp"}, id="a whole angle"),
        pytest.param(RemovalParams(angle=-12.75), {"angle": "-12.75", "format": "webp"}, id="a crooked angle"),
        pytest.param(
            RemovalParams(
                format=Format.JPEG, w=20, h=30, exact_resize=True, angle=1, expand=False, bg_color="#ABC", mask=False
            ),
            {
                "exact_resize": "true",
                "w": "20",
                "h": "30",
                "angle": "1",
                "expand": "false",
                "bg_color": "#ABC",
                "format": "jpeg",
            },
            id="everything but the mask",
        ),
        pytest.param(RemovalParams(mask=True), {"mask": "true", "format": "webp"}, id="the mask"),
    ],
)
def test_the_form_has_what_differs_in_the_order_of_the_vendors_client(
    params: RemovalParams, expected: dict[str, str]
) -> None:
    assert list(params.form_fields().items()) == list(expected.items())


def test_a_format_in_other_letters_is_the_same_format() -> None:
    assert RemovalParams(format="JPG").format is Format.JPEG  # type: ignore[arg-type]
    assert RemovalParams(format="Webp") == RemovalParams()  # type: ignore[arg-type]


def test_the_canonical_string_does_not_change() -> None:
    """It is part of keys that stand on disk: another string would pay for every picture again."""
    assert RemovalParams().canonical() == "format=webp"
    full = RemovalParams(format=Format.PNG, w=2000, h=1000, exact_resize=True, bg_color="#FFF", angle=-90, expand=False)
    assert full.canonical() == "angle=-90&bg_color=#fff&exact_resize=true&expand=false&format=png&h=1000&w=2000"


VALID = st.builds(
    RemovalParams,
    format=st.sampled_from(Format),
    w=st.none() | st.integers(1, 10_000),
    h=st.none() | st.integers(1, 10_000),
    exact_resize=st.booleans(),
    angle=st.floats(-360, 360),
    expand=st.booleans(),
    bg_color=st.none() | st.sampled_from(["#fff", "#ffff", "red", "#abcdef"]),
)


@given(VALID, VALID)
def test_two_requests_share_their_string_only_if_they_ask_for_the_same(one: RemovalParams, two: RemovalParams) -> None:
    assert (one.canonical() == two.canonical()) == (one.form_fields() == two.form_fields())
    assert float(one.form_fields().get("angle", "0")) == one.angle


@given(
    st.dictionaries(
        st.sampled_from(["format", "w", "h", "exact_resize", "mask", "bg_color", "angle", "expand", "other"]),
        st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.lists(st.integers()),
    )
)
def test_any_values_are_judged_without_falling_over(values: dict[str, object]) -> None:
    problems = parameter_problems(values)
    if problems or "other" in values:
        return
    RemovalParams(**values)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"\xff\xd8\xff\xe0\x00\x10JFIF", Format.JPEG),
        (b"\x89PNG\r\n\x1a\n\0\0\0\r", Format.PNG),
        (b"RIFF\x10\x0a\x20\x00WEBPVP8 ", Format.WEBP),
        (b"BM\x36\x00\x00\x00", Format.BMP),
        (b"GIF89a", None),
        (b"RIFF\0\0\0\0WAVE", None),
        (b"", None),
        (b"<html>", None),
        (b"\x89PNG\n\x1a\n", None),
    ],
)
def test_a_picture_is_told_by_its_first_bytes(head: bytes, expected: Format | None) -> None:
    assert Format.of(head) is expected


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        pytest.param({}, {}, id="nothing"),
        pytest.param({"year": 2026, "month": 11}, {"year": "2026", "month": "11"}, id="a month"),
        pytest.param({"month": 2}, {"month": "2"}, id="a month of this year"),
        pytest.param({"period_start": 1740441600}, {"periodStartUnix": "1740441600"}, id="a window in seconds"),
        pytest.param(
            {"period_start": datetime(2025, 2, 25, tzinfo=UTC)},
            {"periodStartUnix": "1740441600"},
            id="a window by date",
        ),
        pytest.param({"period_start": 0}, {"periodStartUnix": "0"}, id="the first second"),
        pytest.param({"expand": ["a", "b"]}, {"expand": "a,b"}, id="two flags"),
        pytest.param({"expand": "billing_cycle"}, {"expand": "billing_cycle"}, id="one flag as text"),
        pytest.param({"include_billing_cycle": True}, {"includeBillingCycle": "1"}, id="the older spelling"),
    ],
)
def test_a_usage_query_has_only_what_was_asked(asked: dict[str, object], expected: dict[str, str]) -> None:
    assert usage_query(**asked) == expected  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("asked", "fields"),
    [
        pytest.param({"year": 0}, ["year"], id="the year nought"),
        pytest.param({"year": 10_000}, ["year"], id="a year of five digits"),
        pytest.param({"month": 13}, ["month"], id="a thirteenth month"),
        pytest.param({"month": True}, ["month"], id="a flag as a month"),
        pytest.param({"year": "2026"}, ["year"], id="a year as text"),
        pytest.param({"period_start": -1}, ["periodStartUnix"], id="before the epoch"),
        pytest.param({"period_start": datetime(2025, 2, 25)}, ["periodStartUnix"], id="a date without a zone"),  # noqa: DTZ001
        pytest.param({"period_start": 5, "year": 2026}, ["periodStartUnix"], id="a window and a year"),
        pytest.param({"period_start": 5, "month": 1}, ["periodStartUnix"], id="a window and a month"),
        pytest.param({"expand": ["a b"]}, ["expand"], id="a flag with a space"),
        pytest.param({"expand": ["a&b=c"]}, ["expand"], id="a flag that would be another parameter"),
        pytest.param({"year": 0, "month": 0}, ["year", "month"], id="two at once"),
    ],
)
def test_a_usage_query_that_the_api_would_refuse_is_refused_here(asked: dict[str, object], fields: list[str]) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        usage_query(**asked)  # type: ignore[arg-type]
    assert [one.field for one in caught.value.details] == fields
