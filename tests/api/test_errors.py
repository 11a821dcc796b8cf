import copy
import json
import pickle
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rembg_watch.api.errors import (
    BadAnswerError,
    Charge,
    EmailNotVerifiedError,
    FieldError,
    InDoubtError,
    InvalidRequestError,
    KeyRefusedError,
    NoAnswerError,
    NotSentError,
    ParameterRefusedError,
    PictureRefusedError,
    RefusedError,
    RembgError,
    Scope,
    ServerError,
    Throttle,
    ThrottledError,
    UnknownRefusalError,
    UnreachableError,
)
from rembg_watch.api.refusals import BODY_LIMIT_BYTES, ERROR_TABLE, classify

NOW = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)


def answered(status: int, body: object, headers: dict[str, str] | None = None) -> RembgError:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return classify(status, headers or {"content-type": "application/json"}, raw, now=NOW)


def refused(status: int, message: str) -> RembgError:
    return answered(status, {"error": message, "status": status})


# scenario, status, message word for word as documented, class, code, field
DOCUMENTED = [
    (
        "no image",
        400,
        "No image file provided. Please include an 'image' field in your form data.",
        PictureRefusedError,
        "no_image",
        "image",
    ),
    (
        "no file selected",
        400,
        "No file selected. Please choose an image file to upload.",
        PictureRefusedError,
        "no_file_selected",
        "image",
    ),
    (
        "unsupported type",
        400,
        "File type '.exe' is not supported. Allowed formats: webp, bmp, png, jpg, jpeg",
        PictureRefusedError,
        "picture_type_unsupported",
        "image",
    ),
    (
        "corrupt image",
        400,
        "File does not appear to be a valid image (invalid file signature)",
        PictureRefusedError,
        "picture_corrupt",
        "image",
    ),
    ("empty file", 400, "Uploaded file is empty (0 bytes).", PictureRefusedError, "picture_empty", "image"),
    (
        "file too large",
        400,
        "File size (55.2 MB) exceeds the maximum allowed size of 50 MB.",
        PictureRefusedError,
        "picture_too_large",
        "image",
    ),
    (
        "too wide",
        400,
        "Image width (12000px) exceeds the maximum allowed width of 10000px.",
        PictureRefusedError,
        "picture_too_wide",
        "image",
    ),
    (
        "too tall",
        400,
        "Image height (15000px) exceeds the maximum allowed height of 10000px.",
        PictureRefusedError,
        "picture_too_tall",
        "image",
    ),
    ("bad w/h", 400, "'w' must be an integer, got: 'abc'", ParameterRefusedError, "size_not_an_integer", "w"),
    ("w/h too small", 400, "'h' must be at least 1, got: -5", ParameterRefusedError, "size_too_small", "h"),
    ("w/h too big", 400, "'w' must be at most 10000, got: 15000", ParameterRefusedError, "size_too_big", "w"),
    ("bad angle", 400, "'angle' must be a number, got: 'ninety'", ParameterRefusedError, "angle_not_a_number", "angle"),
    (
        "angle out of range",
        400,
        "'angle' must be between -360 and 360 degrees, got: 500.0",
        ParameterRefusedError,
        "angle_out_of_range",
        "angle",
    ),
    (
        "bad format",
        400,
        "Invalid format 'gif'. Allowed formats: PNG, JPEG, WEBP, BMP",
        ParameterRefusedError,
        "format_unknown",
        "format",
    ),
    (
        "bad bg_color",
        400,
        "Invalid color format '#12345'. Use hex format: #RGB, #RGBA, #RRGGBB, or #RRGGBBAA",
        ParameterRefusedError,
        "bg_color_unknown",
        "bg_color",
    ),
    (
        "mask with bg_color",
        400,
        "Cannot use 'mask=true' together with 'bg_color'. Choose one or the other.",
        ParameterRefusedError,
        "mask_with_bg_color",
        "mask",
    ),
    (
        "key and user token both sent",
        400,
        "This is a mistake: Cannot use both API key and user token",
        KeyRefusedError,
        "key_and_token",
        None,
    ),
    ("invalid key", 401, "invalid api key", KeyRefusedError, "invalid_api_key", None),
    (
        "e-mail not verified",
        403,
        "Email address not verified – please check your inbox",
        EmailNotVerifiedError,
        "email_not_verified",
        None,
    ),
    (
        "too fast (short-term)",
        429,
        "You're making requests too quickly, Please Upgrade or slow down.",
        ThrottledError,
        "too_quickly",
        None,
    ),
    (
        "daily limit (anonymous)",
        429,
        "You've reached your daily limit. Please sign up for more access.",
        ThrottledError,
        "daily_limit",
        None,
    ),
    (
        "monthly limit (authenticated)",
        429,
        "You've reached your monthly limit. Consider purchasing more credits.",
        ThrottledError,
        "monthly_limit",
        None,
    ),
    (
        "billing window with year or month",
        400,
        "periodStartUnix cannot be combined with year or month",
        ParameterRefusedError,
        "period_with_month",
        "periodStartUnix",
    ),
]
SCOPES = {
    PictureRefusedError: Scope.PICTURE,
    ParameterRefusedError: Scope.FOLDER,
    KeyRefusedError: Scope.ACCOUNT,
    EmailNotVerifiedError: Scope.ACCOUNT,
    ThrottledError: Scope.ACCOUNT,
}


@pytest.mark.parametrize(
    ("scenario", "status", "message", "kind", "code", "field"), DOCUMENTED, ids=[row[0] for row in DOCUMENTED]
)
def test_each_documented_refusal_is_its_class(
    scenario: str, status: int, message: str, kind: type[RefusedError], code: str, field: str | None
) -> None:
    error = refused(status, message)
    assert type(error) is kind
    assert (error.code, error.status, error.field, error.scope) == (code, status, field, SCOPES[kind])
    assert error.charge is Charge.NO
    assert error.retryable is (kind is ThrottledError)
    assert str(error) == error.message == message


def test_the_table_has_one_row_for_each_documented_refusal_and_no_other() -> None:
    assert [row.scenario for row in ERROR_TABLE] == [row[0] for row in DOCUMENTED]
    assert len({row.code for row in ERROR_TABLE}) == len(ERROR_TABLE)


@pytest.mark.parametrize("row", ERROR_TABLE, ids=lambda row: row.code)
def test_no_pattern_of_the_table_takes_another_rows_message(row: object) -> None:
    for scenario, status, message, _, code, _ in DOCUMENTED:
        if code == row.code:  # type: ignore[attr-defined]
            continue
        assert refused(status, message).code != row.code, scenario  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("message", "throttle"),
    [
        pytest.param(
            "You're making requests too quickly, Please Upgrade or slow down.", Throttle.SHORT_TERM, id="short"
        ),
        pytest.param("You’re making requests TOO QUICKLY", Throttle.SHORT_TERM, id="short, typographic and shouting"),
        pytest.param("You've reached your daily limit. Please sign up.", Throttle.DAILY, id="daily"),
        pytest.param("You’ve reached your Daily Limit", Throttle.DAILY, id="daily, in other letters"),
        pytest.param("You've reached your\n  monthly limit.", Throttle.MONTHLY, id="monthly, over two lines"),
        pytest.param("Too many requests", Throttle.UNKNOWN, id="other words"),
        pytest.param("You've reached your hourly limit", Throttle.UNKNOWN, id="another limit"),
    ],
)
def test_the_three_429s_are_told_apart_by_their_words(message: str, throttle: Throttle) -> None:
    error = refused(429, message)
    assert isinstance(error, ThrottledError)
    assert error.throttle is throttle
    assert error.code == ("unknown_429" if throttle is Throttle.UNKNOWN else error.code)


@pytest.mark.parametrize(
    ("status", "message", "code"),
    [
        pytest.param(403, "EMAIL ADDRESS NOT VERIFIED - please check", "email_not_verified", id="a plain dash"),
        pytest.param(400, "‘w’ must be an integer, got: ‘x’", "size_not_an_integer", id="typographic quotes"),
        pytest.param(400, '"angle" must be a number', "angle_not_a_number", id="double quotes"),
        pytest.param(
            400, "File size (1,055.2 MiB) exceeds the maximum of 60 MB", "picture_too_large", id="other numbers"
        ),
        pytest.param(
            400, "File type '.\n' is not supported", "picture_type_unsupported", id="a line break in the name"
        ),
    ],
)
def test_what_varies_in_a_message_does_not_matter(status: int, message: str, code: str) -> None:
    assert refused(status, message).code == code


W = {"field": "w", "message": "'w' must be an integer, got: 'abc'"}
ANGLE = {"field": "angle", "message": "'angle' must be between -360 and 360 degrees, got: 500.0"}
EMPTY = {"field": "image", "message": "Uploaded file is empty (0 bytes)."}
TALL = {"field": "image", "message": "Image height (15000px) exceeds the maximum allowed height of 10000px."}


@pytest.mark.parametrize("name", ["details", "errors"])
@pytest.mark.parametrize(
    ("items", "kind", "code", "field"),
    [
        pytest.param([W, ANGLE], ParameterRefusedError, "multiple_errors", "w", id="two parameters"),
        pytest.param([EMPTY, TALL], PictureRefusedError, "multiple_errors", "image", id="the picture twice"),
        pytest.param([EMPTY, W], ParameterRefusedError, "multiple_errors", "w", id="picture and parameter"),
        pytest.param([W], ParameterRefusedError, "size_not_an_integer", "w", id="one alone"),
        pytest.param(["'w' must be at least 1"], ParameterRefusedError, "size_too_small", "w", id="bare text"),
        pytest.param(
            [{"field": "w", "message": "no"}], ParameterRefusedError, "parameter_refused", "w", id="new words"
        ),
        pytest.param(
            [{"field": "image", "message": "no"}],
            PictureRefusedError,
            "picture_refused",
            "image",
            id="new words, image",
        ),
        pytest.param(
            [{"field": "zoom", "message": "no"}], UnknownRefusalError, "unknown_400", "zoom", id="a new field"
        ),
        pytest.param(
            [{"loc": ["body", "w"], "msg": "no"}],
            ParameterRefusedError,
            "parameter_refused",
            "w",
            id="a framework's path",
        ),
        pytest.param([None, 3, [], {}, W], ParameterRefusedError, "size_not_an_integer", "w", id="rubbish between"),
    ],
)
def test_several_complaints_become_one_error(
    name: str, items: list[object], kind: type[RembgError], code: str, field: str
) -> None:
    error = answered(400, {"error": "Multiple validation errors", name: items, "status": 400})
    assert (type(error), error.code, error.field) == (kind, code, field)
    assert error.scope is (Scope.FOLDER if kind is ParameterRefusedError else Scope.PICTURE)


def test_every_complaint_is_kept_with_its_field() -> None:
    error = answered(400, {"error": "Multiple validation errors", "details": [W, ANGLE], "status": 400})
    assert error.details == (FieldError("w", W["message"]), FieldError("angle", ANGLE["message"]))
    assert str(error) == f"Multiple validation errors: {W['message']}; {ANGLE['message']}"


def test_complaints_may_come_as_a_mapping() -> None:
    error = answered(422, {"message": "Invalid", "errors": {"w": ["'w' must be an integer"], "h": "too small"}})
    assert [one.field for one in error.details] == ["w", "h"]
    assert isinstance(error, ParameterRefusedError)


@pytest.mark.parametrize(
    ("status", "kind", "charge", "retryable", "scope"),
    [
        (300, UnknownRefusalError, Charge.NO, False, Scope.SERVICE),
        (302, UnknownRefusalError, Charge.NO, False, Scope.SERVICE),
        (400, UnknownRefusalError, Charge.NO, False, Scope.PICTURE),
        (401, KeyRefusedError, Charge.NO, False, Scope.ACCOUNT),
        (402, UnknownRefusalError, Charge.NO, True, Scope.ACCOUNT),
        (403, UnknownRefusalError, Charge.NO, False, Scope.ACCOUNT),
        (404, UnknownRefusalError, Charge.NO, False, Scope.SERVICE),
        (405, UnknownRefusalError, Charge.NO, False, Scope.SERVICE),
        (408, UnknownRefusalError, Charge.NO, True, Scope.SERVICE),
        (413, PictureRefusedError, Charge.NO, False, Scope.PICTURE),
        (415, PictureRefusedError, Charge.NO, False, Scope.PICTURE),
        (418, UnknownRefusalError, Charge.NO, False, Scope.SERVICE),
        (422, UnknownRefusalError, Charge.NO, False, Scope.PICTURE),
        (429, ThrottledError, Charge.NO, True, Scope.ACCOUNT),
        (499, UnknownRefusalError, Charge.NO, False, Scope.SERVICE),
        (500, ServerError, Charge.NO, True, Scope.SERVICE),
        (501, ServerError, Charge.NO, True, Scope.SERVICE),
        (502, ServerError, Charge.MAYBE, True, Scope.SERVICE),
        (503, ServerError, Charge.NO, True, Scope.SERVICE),
        (504, ServerError, Charge.MAYBE, True, Scope.SERVICE),
        (519, ServerError, Charge.NO, True, Scope.SERVICE),
        (520, ServerError, Charge.MAYBE, True, Scope.SERVICE),
        (524, ServerError, Charge.MAYBE, True, Scope.SERVICE),
        (525, ServerError, Charge.NO, True, Scope.SERVICE),
        (599, ServerError, Charge.NO, True, Scope.SERVICE),
        (999, ServerError, Charge.NO, True, Scope.SERVICE),
        (200, BadAnswerError, Charge.MAYBE, True, Scope.PICTURE),
        (204, BadAnswerError, Charge.MAYBE, True, Scope.PICTURE),
    ],
)
def test_a_status_without_known_words_is_still_understood(
    status: int, kind: type[RembgError], charge: Charge, retryable: bool, scope: Scope
) -> None:
    error = answered(status, {"error": "words that nobody documented"})
    assert type(error) is kind
    assert (error.charge, error.retryable, error.scope, error.status) == (charge, retryable, scope, status)
    if isinstance(error, RefusedError):
        assert error.code == f"unknown_{status}"


PAGE = b"<!doctype html><html><head><title>502 Bad\n Gateway</title></head><body><h1>nginx</h1></body></html>"


@pytest.mark.parametrize(
    ("body", "headers", "sentence"),
    [
        pytest.param(b"", {}, "The API answered 503 without a word.", id="nothing"),
        pytest.param(b" \r\n\t ", {}, "The API answered 503 without a word.", id="white space"),
        pytest.param(
            PAGE, {}, "The API answered 503 with a web page instead of its own words: “502 Bad Gateway”.", id="a page"
        ),
        pytest.param(
            b"oops",
            {"Content-Type": "Text/HTML"},
            "The API answered 503 with a web page instead of its own words.",
            id="a page by its header",
        ),
        pytest.param(
            b"<html><title></title>",
            {},
            "The API answered 503 with a web page instead of its own words.",
            id="a page without a title",
        ),
        pytest.param(b'{"error": "almost whole', {}, "almost whole", id="JSON that broke off"),
        pytest.param(b"upstream  timed\nout", {}, "upstream timed out", id="plain text"),
        pytest.param(b"[]", {}, "The API answered 503 with JSON that says nothing known.", id="an empty list"),
        pytest.param(b"null", {}, "The API answered 503 with JSON that says nothing known.", id="null"),
        pytest.param(b"42", {}, "The API answered 503 with JSON that says nothing known.", id="a number"),
        pytest.param(b'"text"', {}, "text", id="a string"),
        pytest.param(b'{"error": {"message": "deep", "code": 7}}', {}, "deep", id="an object in error"),
        pytest.param(b'{"error": null, "message": "other name"}', {}, "other name", id="another name"),
        pytest.param(
            b'{"error": 5, "details": 6, "errors": "x"}',
            {},
            "The API answered 503 with JSON that says nothing known.",
            id="wrong types everywhere",
        ),
        pytest.param(b'\xef\xbb\xbf{"error": "with a mark"}', {}, "with a mark", id="a byte order mark"),
        pytest.param(b"[" * 100_000, {}, "[" * 399 + "…", id="JSON too deep to parse"),
        pytest.param(b'{"error": "\\u001b[31mred\\u0007\\u202e"}', {}, "[31mred", id="control characters"),
        pytest.param(b'{"n": ' + b"9" * 10_000 + b"}", {}, None, id="a number too long to parse"),
        pytest.param(b"\x00\xff\xfe" * 1000, {}, None, id="bytes"),
    ],
)
def test_any_body_becomes_one_plain_sentence(body: bytes, headers: dict[str, str], sentence: str | None) -> None:
    error = classify(503, headers, body, now=NOW)
    assert isinstance(error, ServerError)
    assert sentence is None or str(error) == sentence
    assert 0 < len(str(error)) <= 600
    assert str(error).isprintable()


@pytest.mark.parametrize(
    ("body", "headers", "code", "scope"),
    [
        pytest.param(b"", {}, "answer_empty", Scope.PICTURE, id="empty"),
        pytest.param(PAGE, {}, "answer_html", Scope.SERVICE, id="a page, which comes from something before the API"),
        pytest.param(b'{"error": "x"}', {}, "answer_json", Scope.PICTURE, id="JSON"),
        pytest.param(b"hello", {}, "answer_text", Scope.PICTURE, id="text"),
        pytest.param(bytes(range(256)), {}, "answer_garbage", Scope.PICTURE, id="bytes"),
    ],
)
def test_an_answer_that_should_have_been_a_picture_says_what_it_was(
    body: bytes, headers: dict[str, str], code: str, scope: Scope
) -> None:
    error = classify(200, headers, body, now=NOW)
    assert isinstance(error, BadAnswerError)
    assert (error.code, error.scope, error.charge) == (code, scope, Charge.MAYBE)


def test_a_giant_body_is_not_looked_at_beyond_its_limit() -> None:
    body = b'{"error": "early words", "filler": "' + b"x" * (4 * BODY_LIMIT_BYTES) + b'", "details": []}'
    assert str(classify(500, {}, body, now=NOW)) == "early words"


def test_a_million_complaints_are_cut() -> None:
    error = answered(400, {"error": "many", "details": [W] * 2_000})
    assert len(error.details) == 50
    assert len(str(error)) <= 400


def test_a_redirect_says_where_it_pointed_but_no_secrets() -> None:
    headers = {"Location": "https://user:pass@elsewhere.example/rmbg?token=abc#frag"}
    error = classify(307, headers, b"", now=NOW)
    assert "https://elsewhere.example/rmbg" in str(error)
    assert not [secret for secret in ("user", "pass@", "token", "frag") if secret in str(error)]


def test_headers_are_told_whatever_their_case() -> None:
    headers = {"RETRY-AFTER": "7", "X-Request-ID": "r-1", "X-RateLimit-Remaining": "0"}
    error = classify(429, headers, b'{"error": "too quickly"}', now=NOW)
    assert (error.retry_after_s, error.request_id) == (7.0, "r-1")
    assert error.rate_limit is not None
    assert error.rate_limit.remaining == 0


@pytest.mark.parametrize(
    ("kind", "parents"),
    [
        (InvalidRequestError, (NotSentError, ValueError)),
        (UnreachableError, (NotSentError,)),
        (NoAnswerError, (InDoubtError,)),
        (BadAnswerError, (InDoubtError,)),
        (PictureRefusedError, (RefusedError,)),
        (ParameterRefusedError, (RefusedError,)),
        (KeyRefusedError, (RefusedError,)),
        (EmailNotVerifiedError, (RefusedError,)),
        (ThrottledError, (RefusedError,)),
        (UnknownRefusalError, (RefusedError,)),
        (ServerError, (RembgError,)),
    ],
)
def test_the_tree_is_as_it_is_drawn(kind: type[RembgError], parents: tuple[type[Exception], ...]) -> None:
    error = kind(message="A sentence.")
    assert isinstance(error, (RembgError, *parents))
    assert all(isinstance(error, parent) for parent in parents)
    assert error.code
    assert error.charge is (Charge.MAYBE if isinstance(error, InDoubtError) else Charge.NO)


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda error: pickle.loads(pickle.dumps(error))])
def test_an_error_can_be_copied_and_sent_to_another_process(again: object) -> None:
    error = refused(429, "You've reached your daily limit.")
    twin = again(error)  # type: ignore[operator]
    assert type(twin) is ThrottledError
    assert twin.__dict__ == error.__dict__
    assert str(twin) == str(error)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=10), inner, max_size=5),
    max_leaves=20,
)
SHAPED = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(("error", "message", "detail", "details", "errors", "status"), JSON)
)
BODIES = st.binary(max_size=500) | SHAPED.map(lambda data: json.dumps(data).encode())
HEADERS = st.dictionaries(
    st.sampled_from(
        ["content-type", "retry-after", "location", "x-request-id", "x-ratelimit-reset", "RateLimit-Limit"]
    ),
    st.text(max_size=60),
)


@given(st.integers(-1, 1200), HEADERS, BODIES)
def test_classify_never_raises_and_always_says_something_printable(
    status: int, headers: dict[str, str], body: bytes
) -> None:
    error = classify(status, headers, body, now=NOW)
    assert isinstance(error, RembgError)
    assert str(error).strip()
    assert str(error).isprintable()
    assert all(one.message.isprintable() for one in error.details)
    assert isinstance(error.charge, Charge)
    assert isinstance(error.scope, Scope)
