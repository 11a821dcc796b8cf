"""
Client and sandbox were built apart from the same reference: where they disagree, one of them is wrong.

The error table is walked in ``test_error_table``; here is everything else.
"""

import io
import json
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import httpx
import pytest
from PIL import Image

from rembg_watch import Client
from rembg_watch.api.errors import (
    BadAnswerError,
    Charge,
    EmailNotVerifiedError,
    InvalidRequestError,
    KeyRefusedError,
    NoAnswerError,
    ParameterRefusedError,
    PictureRefusedError,
    RembgError,
    ServerError,
    Throttle,
    ThrottledError,
    UnknownRefusalError,
    UnreachableError,
)
from rembg_watch.api.params import Format, RemovalParams, parameter_problems
from rembg_watch.api.refusals import classify
from rembg_watch.api.upload import LARGEST_PICTURE_BYTES, Progress
from rembg_watch.sandbox import Sandbox

KEY = "sandbox-key"


def sandbox_of(**settings: Any) -> Sandbox:
    return Sandbox(**{"engine": "flat", **settings})


def wide(width: int, height: int) -> bytes:
    file = io.BytesIO()
    Image.new("1", (width, height)).save(file, "PNG")
    return file.getvalue()


SMALL = wide(8, 8)
FILE = ("a.png", SMALL)
HUGE = SMALL + bytes(LARGEST_PICTURE_BYTES)


@pytest.mark.parametrize(
    ("image", "name", "code"),
    [
        pytest.param(b"hello, this is text", "a.png", "picture_corrupt", id="corrupt"),
        pytest.param(b"", "a.png", "picture_empty", id="empty"),
        pytest.param(SMALL, "a.exe", "picture_type_unsupported", id="type"),
        pytest.param(HUGE, "a.png", "picture_too_large", id="large"),
        pytest.param(wide(10_001, 1), "a.png", "picture_too_wide", id="wide"),
        pytest.param(wide(1, 10_001), "a.png", "picture_too_tall", id="tall"),
    ],
)
def test_refusals_of_the_picture_come_through_the_client_and_are_foreseen(
    connect: Callable[..., Any], image: bytes, name: str, code: str
) -> None:
    sandbox = sandbox_of()
    with connect(sandbox, checks_pictures=False) as client, pytest.raises(PictureRefusedError) as caught:
        client.remove_background(image, filename=name)
    assert caught.value.code == code
    assert sandbox.billed == 0
    if code in {"picture_too_wide", "picture_too_tall"}:
        return
    with Client(KEY, transport=sandbox.transport()) as careful, pytest.raises(InvalidRequestError) as foreseen:
        careful.remove_background(image, filename=name)
    assert foreseen.value.code == code
    assert str(foreseen.value) == str(caught.value)


@pytest.mark.parametrize(
    ("name", "value", "sent"),
    [
        ("w", 0, "-0"),
        ("w", -5, "-5"),
        ("h", 15000, "15000"),
        ("w", "abc", "abc"),
        ("angle", "ninety", "ninety"),
        ("angle", 500.0, "500.0"),
        ("angle", -360.5, "-360.5"),
        ("format", "gif", "gif"),
        ("bg_color", "#12345", "#12345"),
        ("bg_color", "", " "),
    ],
)
def test_what_the_client_foresees_is_what_the_sandbox_says(name: str, value: object, sent: str) -> None:
    with httpx.Client(transport=sandbox_of().transport()) as http:
        files: list[Any] = [("image", FILE), (name, (None, sent))]
        reply = http.post("https://api.rembg.com/rmbg", headers={"x-api-key": KEY}, files=files)
    if reply.status_code == 200:  # the sandbox takes 0 and nothing for "not set", as the vendor's own client needs it
        assert value in {0, ""}
        return
    (problem,) = parameter_problems({name: value})
    assert reply.json()["error"] == problem.message


def test_several_refusals_at_once_are_told_apart() -> None:
    with httpx.Client(transport=sandbox_of().transport()) as http:
        files: list[Any] = [("image", ("a.png", b"")), ("w", (None, "abc")), ("angle", (None, "500"))]
        reply = http.post("https://api.rembg.com/rmbg", headers={"x-api-key": KEY}, files=files)
    error = classify(reply.status_code, reply.headers, reply.content, now=datetime.now(UTC))
    assert isinstance(error, ParameterRefusedError)
    assert error.code == "multiple_errors"
    assert [one.field for one in error.details] == ["image", "w", "angle"]


@pytest.mark.parametrize(
    ("params", "kind", "size"),
    [
        pytest.param(RemovalParams(), "WEBP", (64, 48), id="defaults"),
        pytest.param(RemovalParams(format=Format.PNG, w=32), "PNG", (32, 24), id="width"),
        pytest.param(RemovalParams(format=Format.PNG, h=24), "PNG", (32, 24), id="height"),
        pytest.param(RemovalParams(w=10, h=10, exact_resize=True), "WEBP", (10, 10), id="exact"),
        pytest.param(RemovalParams(format=Format.JPEG, bg_color="#ff0000"), "JPEG", (64, 48), id="colour"),
        pytest.param(RemovalParams(format=Format.BMP, bg_color="red"), "BMP", (64, 48), id="named colour"),
        pytest.param(RemovalParams(format=Format.PNG, angle=90, expand=True), "PNG", (48, 64), id="turned"),
        pytest.param(
            RemovalParams(format=Format.PNG, angle=90, expand=False), "PNG", (64, 48), id="turned and cropped"
        ),
        pytest.param(RemovalParams(format=Format.PNG, mask=True), "PNG", (64, 48), id="mask"),
    ],
)
def test_every_parameter_has_its_effect(
    connect: Callable[..., Any], picture: Callable[..., bytes], params: RemovalParams, kind: str, size: tuple[int, int]
) -> None:
    sandbox = sandbox_of()
    up: list[Progress] = []
    with connect(sandbox) as client:
        cutout = client.remove_background(picture(size=(64, 48)), params, on_upload=up.append)
    with Image.open(io.BytesIO(cutout.read())) as result:
        assert (result.format, result.size) == (kind, size)
    assert cutout.content_type == params.format.content_type
    assert up[-1].fraction == 1.0
    assert sandbox.billed == 1


@pytest.mark.parametrize(
    ("fault", "kind", "code", "charge"),
    [
        ("status", ServerError, "http_503", Charge.NO),
        ("html", ServerError, "http_502", Charge.MAYBE),
        ("too_quick", ThrottledError, "too_quickly", Charge.NO),
        ("daily", ThrottledError, "daily_limit", Charge.NO),
        ("monthly", ThrottledError, "monthly_limit", Charge.NO),
        ("unknown_429", ThrottledError, "unknown_429", Charge.NO),
        ("bad_key", KeyRefusedError, "invalid_api_key", Charge.NO),
        ("unverified", EmailNotVerifiedError, "email_not_verified", Charge.NO),
        ("redirect", UnknownRefusalError, "unknown_307", Charge.NO),
        ("reset_before", UnreachableError, None, Charge.NO),
        ("empty", BadAnswerError, "answer_empty", Charge.MAYBE),
        ("garbage", BadAnswerError, "answer_garbage", Charge.MAYBE),
        ("json", BadAnswerError, "answer_json", Charge.MAYBE),
        ("truncated", NoAnswerError, None, Charge.MAYBE),
        ("reset_after", NoAnswerError, None, Charge.MAYBE),
        ("stall", NoAnswerError, None, Charge.MAYBE),
    ],
)
def test_what_goes_wrong_to_order_is_understood_and_never_denied_if_it_was_billed(
    connect: Callable[..., Any], fault: str, kind: type[RembgError], code: str | None, charge: Charge
) -> None:
    sandbox = sandbox_of(faults=[fault])
    large = SMALL + bytes(12_000_000)  # so that the kernel does not take in half of it at once
    with connect(sandbox, timeout_s=1) as client, pytest.raises(kind) as caught:
        client.remove_background(large)
    error = caught.value
    assert code is None or error.code == code
    assert error.charge is charge
    if sandbox.billed:
        assert error.charge is not Charge.NO


def test_unknown_words_of_a_429_are_kept(connect: Callable[..., Any]) -> None:
    with connect(sandbox_of(faults=["unknown_429"])) as client, pytest.raises(ThrottledError) as caught:
        client.remove_background(SMALL)
    assert caught.value.throttle is Throttle.UNKNOWN
    assert str(caught.value) == "Service is busy, try again later."


def test_the_account_is_read_in_all_its_forms(connect: Callable[..., Any]) -> None:
    sandbox = sandbox_of(credits=100, prepaid=7)
    sandbox.add_past_period(months_ago=1, app=3, api=4)
    with connect(sandbox) as client:
        client.remove_background(SMALL)
        account = client.account()
        assert account.billing_cycle is not None
        assert account.spendable == Decimal(sandbox.spendable) == 106
        assert client.membership_usage().billing_cycle is None
        assert client.membership_usage(include_billing_cycle=True).billing_cycle == account.billing_cycle
        newest, before = client.billing_cycles()
        assert newest.period_start_at == account.billing_cycle.period_start_at
        assert (before.app_usage, before.api_usage, before.used) == (3, 4, 7)
        past = client.account(period_start=before.period_start_at)
        assert (past.app_usage, past.api_usage) == (3, 4)
        assert client.account(year=2001, month=1).api_usage == 0


def test_a_window_together_with_a_month_is_prevented_and_understood() -> None:
    sandbox = sandbox_of()
    with Client(KEY, transport=sandbox.transport()) as client, pytest.raises(InvalidRequestError):
        client.account(year=2026, period_start=1)
    with httpx.Client(transport=sandbox.transport()) as http:
        url = "https://www.rembg.com/api/membership-usage?year=2026&periodStartUnix=1"
        reply = http.get(url, headers={"x-api-key": KEY})
    error = classify(reply.status_code, reply.headers, reply.content, now=datetime.now(UTC))
    assert isinstance(error, ParameterRefusedError)
    assert (error.status, error.field) == (400, "periodStartUnix")


def test_a_wrong_key_is_refused_for_the_account_too(connect: Callable[..., Any]) -> None:
    with connect(sandbox_of(), "wrong") as client, pytest.raises(KeyRefusedError):
        client.account()


def test_the_answer_to_a_bad_request_is_json_as_documented() -> None:
    with httpx.Client(transport=sandbox_of().transport()) as http:
        reply = http.post("https://api.rembg.com/rmbg", headers={"x-api-key": KEY})
    assert set(json.loads(reply.content)) >= {"error", "status"}
