from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rembg_watch.api.headers import LONGEST_WAIT_S, RateLimit, rate_limit, request_id, retry_after

NOW = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param(None, None, id="no header"),
        pytest.param("", None, id="an empty header"),
        pytest.param("0", 0.0, id="at once"),
        pytest.param("120", 120.0, id="whole seconds"),
        pytest.param(" 7 ", 7.0, id="spaces around"),
        pytest.param("1.5", 1.5, id="a fraction, which no standard knows but some servers send"),
        pytest.param("-5", None, id="a negative number"),
        pytest.param("inf", None, id="infinity"),
        pytest.param("nan", None, id="not a number"),
        pytest.param("1e3", None, id="an exponent"),
        pytest.param("٣", None, id="digits that are not ASCII"),
        pytest.param("9" * 5000, None, id="more digits than int() takes"),
        pytest.param("2764801", None, id="longer than a month away"),
        pytest.param("2678400", 2678400.0, id="31 days: until the next month"),
        pytest.param("Sun, 22 Nov 2026 12:01:30 GMT", 90.0, id="an HTTP date"),
        pytest.param("Sun Nov 22 12:01:30 2026", 90.0, id="a date in asctime's form"),
        pytest.param("Sunday, 22-Nov-26 12:01:30 GMT", 90.0, id="a date in RFC 850's form"),
        pytest.param("Sun, 22 Nov 2026 13:01:30 +0100", 90.0, id="a date with an offset"),
        pytest.param("Sun, 22 Nov 2020 12:00:00 GMT", 0.0, id="a date that has passed"),
        pytest.param("Fri, 31 Dec 9999 23:59:59 GMT", None, id="the far date"),
        pytest.param("Sun, 99 Nov 2026 12:00:00 GMT", None, id="a day that is none"),
        pytest.param("Sun, 22 Nov 2026 12:01:30 +9999999999999", None, id="an offset that overflows"),
        pytest.param("soon", None, id="a word"),
        pytest.param("<html>", None, id="a page"),
    ],
)
def test_retry_after_is_read_and_nonsense_counts_as_absent(value: str | None, expected: float | None) -> None:
    assert retry_after(value, now=NOW) == expected


@given(st.text(max_size=200))
def test_retry_after_survives_any_text(value: str) -> None:
    wait_s = retry_after(value, now=NOW)
    assert wait_s is None or 0 <= wait_s <= LONGEST_WAIT_S


@given(
    st.dictionaries(st.sampled_from(["x-ratelimit-limit", "RateLimit-Reset", "retry-after", "x-request-id"]), st.text())
)
def test_no_header_breaks_the_reading(headers: dict[str, str]) -> None:
    rate_limit(headers, now=NOW)
    found = request_id(headers)
    assert found is None or found.isprintable()


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        pytest.param({}, None, id="nothing stated"),
        pytest.param({"X-Other": "1"}, None, id="other headers only"),
        pytest.param(
            {"X-RateLimit-Limit": "100", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "30"},
            RateLimit(limit=100, remaining=0, reset_s=30.0),
            id="the common spelling",
        ),
        pytest.param(
            {"ratelimit-limit": "100, 100;w=60", "ratelimit-remaining": "9"},
            RateLimit(limit=100, remaining=9),
            id="a policy behind the number",
        ),
        pytest.param({"x-ratelimit-reset": "1795348860"}, RateLimit(reset_s=60.0), id="a reset in Unix seconds"),
        pytest.param({"x-ratelimit-reset": "1795348860000"}, RateLimit(reset_s=60.0), id="a reset in milliseconds"),
        pytest.param({"x-ratelimit-reset": "946684800"}, None, id="a reset further away than a month"),
        pytest.param({"x-ratelimit-reset": "1000000000"}, RateLimit(reset_s=0.0), id="a reset long ago"),
        pytest.param({"x-ratelimit-limit": "many"}, None, id="a limit that is no number"),
        pytest.param({"Retry-After": "5"}, RateLimit(retry_after_s=5.0), id="retry-after alone"),
    ],
)
def test_rate_limit_headers_are_read_where_there_are_any(headers: dict[str, str], expected: RateLimit | None) -> None:
    assert rate_limit(headers, now=NOW) == expected


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        pytest.param({}, None, id="none"),
        pytest.param({"X-Request-Id": "abc"}, "abc", id="the usual name"),
        pytest.param({"CF-Ray": "9", "x-request-id": "abc"}, "abc", id="the server's own before a proxy's"),
        pytest.param({"x-request-id": "", "cf-ray": "9"}, "9", id="an empty one is passed over"),
        pytest.param({"x-request-id": "a\x1b[31m"}, None, id="control characters"),
        pytest.param({"x-request-id": "a" * 500}, "a" * 128, id="a very long one"),
    ],
)
def test_the_request_id_is_found_under_its_usual_names(headers: dict[str, str], expected: str | None) -> None:
    assert request_id(headers) == expected
