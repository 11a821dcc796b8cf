"""
The documented error table, row by row, through client and sandbox together.

Each row is provoked for real and comes back as the class, the facts and the words that the documentation gives it:
through ``Client`` where the client lets such a request leave. Where it does not, the same mistake is shown to be
refused here before anything is sent, and is then sent by a form written by hand, so that the answer is understood
all the same. Client and sandbox were built apart from the same reference: where they disagree, one of them is wrong.
"""

import contextlib
import io
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from PIL import Image

from rembg_watch import Client
from rembg_watch.api.errors import (
    Charge,
    EmailNotVerifiedError,
    InvalidRequestError,
    KeyRefusedError,
    ParameterRefusedError,
    PictureRefusedError,
    RefusedError,
    Scope,
    Throttle,
    ThrottledError,
)
from rembg_watch.api.params import RemovalParams
from rembg_watch.api.refusals import ERROR_TABLE, classify
from rembg_watch.sandbox import Sandbox

KEY = "sandbox-key"
URL, USAGE_URL = "https://api.rembg.com/rmbg", "https://www.rembg.com/api/membership-usage"


def blank(width: int = 8, height: int = 8) -> bytes:
    file = io.BytesIO()
    Image.new("1", (width, height)).save(file, "PNG")
    return file.getvalue()


SMALL = blank()


@dataclass(frozen=True, kw_only=True)
class Through:
    """The client sends it: such a picture, with such a key, to such an account."""

    image: bytes = SMALL
    filename: str = "a.png"
    key: str = KEY
    account: dict[str, Any] = field(default_factory=dict)
    before: int = 0  # pictures that pass before


@dataclass(frozen=True, kw_only=True)
class ByHand:
    """The client sends no such request; *why* says what stops it, *mistake* makes it."""

    why: str
    mistake: Callable[[Client], object] | None = None  # None: no argument of the client can mean it
    part: bytes = b'; filename="a.png"\r\n\r\n' + SMALL
    fields: dict[str, str] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    query: str | None = None  # of a question about the account, in place of a picture


@dataclass(frozen=True, kw_only=True)
class Row:
    """One row of the documentation: its words to the letter, how it is provoked and what it must come to."""

    scenario: str
    status: int = 400
    words: str | None  # None: the documentation has none for it
    sent: Through | ByHand
    kind: type[RefusedError]
    scope: Scope
    is_retryable: bool = False
    field: str | None = None
    throttle: Throttle | None = None


def picture(scenario: str, words: str, sent: Through | ByHand) -> Row:
    return Row(scenario=scenario, words=words, sent=sent, kind=PictureRefusedError, scope=Scope.PICTURE, field="image")


def parameter(scenario: str, words: str, /, **wrong: str) -> Row:
    values: dict[str, Any] = {name: _typed(name, value) for name, value in wrong.items()}
    sent = ByHand(
        why="RemovalParams refuses it",
        mistake=lambda client: client.remove_background(SMALL, RemovalParams(**values)),
        fields=wrong,
    )
    first = next(iter(wrong))
    return Row(scenario=scenario, words=words, sent=sent, kind=ParameterRefusedError, scope=Scope.FOLDER, field=first)


def _typed(name: str, value: str) -> object:
    with contextlib.suppress(ValueError):
        return float(value) if name == "angle" else int(value)
    return True if value == "true" else value


def account(status: int, scenario: str, words: str, sent: Through | ByHand, kind: type[RefusedError]) -> Row:
    return Row(scenario=scenario, status=status, words=words, sent=sent, kind=kind, scope=Scope.ACCOUNT)


def throttled(scenario: str, words: str, throttle: Throttle, sent: Through) -> Row:
    return Row(
        scenario=scenario,
        status=429,
        words=words,
        sent=sent,
        kind=ThrottledError,
        scope=Scope.ACCOUNT,
        is_retryable=True,
        throttle=throttle,
    )


ROWS = [
    picture(
        "no image",
        "No image file provided. Please include an 'image' field in your form data.",
        ByHand(why="the picture is the one thing that remove_background cannot be called without", part=b""),
    ),
    picture(
        "no file selected",
        "No file selected. Please choose an image file to upload.",
        ByHand(why="a picture without a name is sent under one", part=b'; filename=""\r\n\r\n'),
    ),
    picture(
        "unsupported type",
        "File type '.exe' is not supported. Allowed formats: webp, bmp, png, jpg, jpeg",
        Through(filename="a.exe"),
    ),
    picture(
        "corrupt image",
        "File does not appear to be a valid image (invalid file signature)",
        Through(image=b"hello, this is text"),
    ),
    picture("empty file", "Uploaded file is empty (0 bytes).", Through(image=b"")),
    picture(
        "file too large",
        "File size (55.2 MB) exceeds the maximum allowed size of 50 MB.",
        Through(image=SMALL + bytes(int(55.2 * 1024**2) - len(SMALL))),
    ),
    picture(
        "too wide",
        "Image width (12000px) exceeds the maximum allowed width of 10000px.",
        Through(image=blank(12_000, 1)),
    ),
    picture(
        "too tall",
        "Image height (15000px) exceeds the maximum allowed height of 10000px.",
        Through(image=blank(1, 15_000)),
    ),
    parameter("bad w/h", "'w' must be an integer, got: 'abc'", w="abc"),
    parameter("w/h too small", "'w' must be at least 1, got: -5", w="-5"),
    parameter("w/h too big", "'w' must be at most 10000, got: 15000", w="15000"),
    parameter("bad angle", "'angle' must be a number, got: 'ninety'", angle="ninety"),
    parameter("angle out of range", "'angle' must be between -360 and 360 degrees, got: 500.0", angle="500"),
    parameter("bad format", "Invalid format 'gif'. Allowed formats: PNG, JPEG, WEBP, BMP", format="gif"),
    parameter(
        "bad bg_color",
        "Invalid color format '#12345'. Use hex format: #RGB, #RGBA, #RRGGBB, or #RRGGBBAA",
        bg_color="#12345",
    ),
    parameter(
        "mask with bg_color",
        "Cannot use 'mask=true' together with 'bg_color'. Choose one or the other.",
        mask="true",
        bg_color="#fff",
    ),
    account(
        400,
        "key and user token both sent",
        "This is a mistake: Cannot use both API key and user token",
        ByHand(why="the client knows no user token and keeps no cookie", headers={"authorization": "Bearer x"}),
        KeyRefusedError,
    ),
    account(401, "invalid key", "invalid api key", Through(key="another-key"), KeyRefusedError),
    account(
        403,
        "e-mail not verified",
        "Email address not verified – please check your inbox",
        Through(account={"is_verified": False}),
        EmailNotVerifiedError,
    ),
    throttled(
        "too fast (short-term)",
        "You're making requests too quickly, Please Upgrade or slow down.",
        Throttle.SHORT_TERM,
        Through(account={"rate": "0.001"}, before=1),
    ),
    throttled(
        "daily limit (anonymous)",
        "You've reached your daily limit. Please sign up for more access.",
        Throttle.DAILY,
        Through(key="not-taken-for-one", account={"unknown_key": "anonymous", "daily_limit": 2}, before=2),
    ),
    throttled(
        "monthly limit (authenticated)",
        "You've reached your monthly limit. Consider purchasing more credits.",
        Throttle.MONTHLY,
        Through(account={"credits": 2}, before=2),
    ),
    Row(
        scenario="billing window with year or month",
        words=None,
        sent=ByHand(
            why="membership_usage refuses the contradiction",
            mistake=lambda client: client.membership_usage(year=2026, period_start=1),
            query="year=2026&periodStartUnix=1",
        ),
        kind=ParameterRefusedError,
        scope=Scope.FOLDER,
        field="periodStartUnix",
    ),
]
THROUGH = [row for row in ROWS if isinstance(row.sent, Through)]
BY_HAND = [row for row in ROWS if isinstance(row.sent, ByHand)]


def named(row: object) -> str:
    return row.scenario if isinstance(row, Row) else ""


def assert_understood(error: RefusedError, row: Row) -> None:
    known = next(one for one in ERROR_TABLE if one.scenario == row.scenario)
    assert (type(error), error.code, error.status) == (row.kind, known.code, row.status)
    assert row.words in {None, str(error)}
    assert error.charge is Charge.NO
    assert (error.scope, error.retryable, error.field) == (row.scope, row.is_retryable, row.field)
    assert getattr(error, "throttle", None) is row.throttle


def test_the_rows_are_those_of_the_table() -> None:
    assert [row.scenario for row in ROWS] == [row.scenario for row in ERROR_TABLE]


@pytest.mark.parametrize("row", THROUGH, ids=named)
def test_a_row_comes_through_the_client(connect: Callable[..., Any], row: Row) -> None:
    sent = row.sent
    assert isinstance(sent, Through)
    sandbox = Sandbox(engine="flat", **sent.account)
    with connect(sandbox, sent.key, checks_pictures=False) as client:
        for _ in range(sent.before):
            client.remove_background(SMALL)
        with pytest.raises(RefusedError) as caught:
            client.remove_background(sent.image, filename=sent.filename)
    assert_understood(caught.value, row)
    assert sandbox.billed == sent.before, "a refusal costs nothing"


@pytest.mark.parametrize("row", BY_HAND, ids=named)
def test_a_row_that_no_client_sends_is_understood_all_the_same(row: Row) -> None:
    sent = row.sent
    assert isinstance(sent, ByHand)
    sandbox = Sandbox(engine="flat")
    with httpx.Client(transport=sandbox.transport(), headers={"x-api-key": KEY} | sent.headers) as http:
        if sent.query is None:
            kind = {"content-type": "multipart/form-data; boundary=b"}
            reply = http.post(URL, headers=kind, content=form(sent))
        else:
            reply = http.get(f"{USAGE_URL}?{sent.query}")
    error = classify(reply.status_code, reply.headers, reply.content, now=datetime.now(UTC))
    assert isinstance(error, RefusedError)
    assert_understood(error, row)
    assert set(reply.json()) == {"error", "status"}
    assert sandbox.billed == 0


def form(sent: ByHand) -> bytes:
    """Write a form by hand: no library sends a file without a name."""
    parts = [f'form-data; name="{name}"\r\n\r\n{value}'.encode() for name, value in sent.fields.items()]
    parts += [b'form-data; name="image"' + sent.part] if sent.part else []
    return b"".join(b"--b\r\nContent-Disposition: " + part + b"\r\n" for part in parts) + b"--b--\r\n"


@pytest.mark.parametrize("row", [row for row in BY_HAND if row.sent.mistake], ids=named)  # type: ignore[union-attr]
def test_what_no_client_sends_is_refused_here_in_the_same_words(row: Row) -> None:
    sent = row.sent
    assert isinstance(sent, ByHand)
    assert sent.mistake is not None
    sandbox = Sandbox(engine="flat")
    with Client(KEY, transport=sandbox.transport()) as client, pytest.raises(InvalidRequestError) as foreseen:
        sent.mistake(client)
    assert row.words is None or str(foreseen.value).rstrip(".") == row.words.rstrip(".")
    assert (foreseen.value.field, foreseen.value.charge) == (row.field, Charge.NO)
    assert list(sandbox.requests) == []
