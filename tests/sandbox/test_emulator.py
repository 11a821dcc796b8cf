"""The sandbox in process: the error table row by row, the bill, the limits, the log."""

import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta

import httpx
import pytest

from rembg_watch.sandbox import Sandbox
from rembg_watch.sandbox.account import SlidingWindow

Ask = Callable[..., httpx.Response]
Make = Callable[..., bytes]

NO_IMAGE = "No image file provided. Please include an 'image' field in your form data."
TOO_QUICK = "You're making requests too quickly, Please Upgrade or slow down."
DAILY = "You've reached your daily limit. Please sign up for more access."
MONTHLY = "You've reached your monthly limit. Consider purchasing more credits."


def flat(**settings: object) -> Sandbox:
    return Sandbox(engine="flat", **settings)  # type: ignore[arg-type]


def said(answer: httpx.Response) -> tuple[int, str]:
    body = answer.json()
    assert body["status"] == answer.status_code
    assert answer.headers["content-type"] == "application/json"
    return answer.status_code, body["error"]


def usage(sandbox: Sandbox, query: str = "", **headers: str) -> httpx.Response:
    sent = {"x-api-key": "sandbox-key", **headers}
    with httpx.Client(transport=sandbox.transport(), base_url="http://sandbox") as client:
        return client.get(f"/api/membership-usage{query}", headers=sent)


# -- refusals --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "image", "filename", "message"),
    [
        ({}, b"MZ", "a.exe", "File type '.exe' is not supported. Allowed formats: webp, bmp, png, jpg, jpeg"),
        ({}, b"text", "a.jpg", "File does not appear to be a valid image (invalid file signature)"),
        ({}, b"", "a.jpg", "Uploaded file is empty (0 bytes)."),
        ({"w": "abc"}, None, "a.jpg", "'w' must be an integer, got: 'abc'"),
        ({"w": "-5"}, None, "a.jpg", "'w' must be at least 1, got: -5"),
        ({"w": "15000"}, None, "a.jpg", "'w' must be at most 10000, got: 15000"),
        ({"angle": "ninety"}, None, "a.jpg", "'angle' must be a number, got: 'ninety'"),
        ({"angle": "500"}, None, "a.jpg", "'angle' must be between -360 and 360 degrees, got: 500.0"),
        ({"format": "gif"}, None, "a.jpg", "Invalid format 'gif'. Allowed formats: PNG, JPEG, WEBP, BMP"),
        (
            {"bg_color": "#12345"},
            None,
            "a.jpg",
            "Invalid color format '#12345'. Use hex format: #RGB, #RGBA, #RRGGBB, or #RRGGBBAA",
        ),
        (
            {"mask": "true", "bg_color": "red"},
            None,
            "a.jpg",
            "Cannot use 'mask=true' together with 'bg_color'. Choose one or the other.",
        ),
    ],
)
def test_each_row_of_the_error_table_is_answered_and_not_billed(
    ask: Ask, fields: dict[str, str], image: bytes | None, filename: str, message: str
) -> None:
    sandbox = flat(credits=1)
    assert said(ask(sandbox, fields, image=image, filename=filename)) == (400, message)
    assert (sandbox.billed, sandbox.spendable) == (0, 1)


@pytest.mark.parametrize(
    "sent",
    [
        {},
        {"json": {"image": "x"}},
        {"data": {"image": "x"}},
        {"files": {"picture": ("a.jpg", b"x")}},
        {"content": b"--b\r\nbroken", "headers": {"content-type": "multipart/form-data; boundary=b"}},
    ],
    ids=["no body", "JSON", "urlencoded", "another field", "broken form"],
)
def test_a_request_without_a_picture_is_told_so(sent: dict[str, object]) -> None:
    with httpx.Client(
        transport=flat().transport(), base_url="http://sandbox", headers={"x-api-key": "sandbox-key"}
    ) as client:
        assert said(client.post("/rmbg", **sent)) == (400, NO_IMAGE)  # type: ignore[arg-type]


def test_an_upload_that_is_too_large_is_told_its_size(ask: Ask) -> None:
    image = b"\xff\xd8\xff" + bytes(57_881_392)
    message = "File size (55.2 MB) exceeds the maximum allowed size of 50 MB."
    assert said(ask(flat(), image=image)) == (400, message)


def test_a_picture_that_cannot_be_decoded_is_refused_and_refunded(ask: Ask, make_picture: Make) -> None:
    sandbox = Sandbox(engine="fast", credits=1)
    status, message = said(ask(sandbox, image=make_picture(200, 200)[:900]))
    assert (status, message) == (400, "File does not appear to be a valid image (cannot be decoded)")
    assert (sandbox.billed, sandbox.spendable) == (0, 1)


def test_several_findings_come_together(ask: Ask) -> None:
    answer = ask(flat(), {"w": "abc", "angle": "500"})
    assert answer.status_code == 400
    assert answer.json() == {
        "error": "Multiple validation errors",
        "details": [
            {"field": "w", "message": "'w' must be an integer, got: 'abc'"},
            {"field": "angle", "message": "'angle' must be between -360 and 360 degrees, got: 500.0"},
        ],
        "status": 400,
    }


def test_a_wrong_key_is_refused(ask: Ask) -> None:
    assert said(ask(flat(), key="wrong")) == (401, "invalid api key")
    assert said(usage(flat(), **{"x-api-key": "wrong"})) == (401, "invalid api key")


def test_usage_without_a_key_is_refused() -> None:
    assert said(usage(flat(), **{"x-api-key": ""})) == (401, "invalid api key")


def test_an_unverified_address_is_refused(ask: Ask) -> None:
    message = "Email address not verified – please check your inbox"
    assert said(ask(flat(is_verified=False))) == (403, message)


def test_key_and_user_token_together_are_a_mistake(ask: Ask) -> None:
    message = "This is a mistake: Cannot use both API key and user token"
    assert said(ask(flat(), headers={"authorization": "Bearer token"})) == (400, message)
    assert said(usage(flat(), authorization="Bearer token")) == (400, message)


def test_other_paths_and_methods_are_told_apart() -> None:
    with httpx.Client(transport=flat().transport(), base_url="http://sandbox") as client:
        assert said(client.get("/nowhere")) == (404, "Not found")
        refused = client.get("/rmbg")
        assert said(refused) == (405, "Method not allowed")
        assert refused.headers["allow"] == "POST"


def test_the_order_of_the_checks_is_the_documented_one(ask: Ask, clock: Callable[[], object]) -> None:
    """Each step takes the first reason away; the next one shows."""
    sandbox = flat(credits=0, is_verified=False, rate="sliding:1:60", clock=clock)
    ask(sandbox, key=None)
    wrong = {"fields": {"w": "x"}, "filename": "a.exe"}
    assert said(ask(sandbox, **wrong, key="bad", headers={"authorization": "Bearer t"}))[0] == 400
    assert said(ask(sandbox, **wrong, key="bad"))[0] == 401
    assert said(ask(sandbox, **wrong))[0] == 403
    sandbox.account.is_verified = True
    assert said(ask(sandbox, **wrong)) == (429, TOO_QUICK)
    sandbox.rate = None
    assert said(ask(sandbox, **wrong)) == (429, MONTHLY)
    sandbox.account.included = 1
    answer = ask(sandbox, **wrong)
    assert [d["field"] for d in answer.json()["details"]] == ["image", "w"]


# -- the bill --------------------------------------------------------------------------------------


def test_credits_run_down_and_then_the_monthly_limit_comes(ask: Ask) -> None:
    sandbox = flat(credits=2, prepaid=1)
    assert [ask(sandbox).status_code for _ in range(3)] == [200, 200, 200]
    assert said(ask(sandbox)) == (429, MONTHLY)
    assert usage(sandbox, "?expand=billing_cycle").json()["billingCycle"]["remainingIncludedCredits"] == 0
    assert (sandbox.billed, sandbox.billed_credits) == (3, 3)


def test_a_new_period_brings_the_included_credits_back(ask: Ask) -> None:
    sandbox = flat(credits=1)
    ask(sandbox)
    assert ask(sandbox).status_code == 429
    sandbox.start_new_period()
    assert ask(sandbox).status_code == 200


def test_the_price_is_taken_as_it_is_set(ask: Ask) -> None:
    sandbox = flat(credits=10, price=4)
    assert [ask(sandbox).status_code for _ in range(3)] == [200, 200, 429]
    assert sandbox.billed_credits == 8


def test_past_periods_are_listed_with_their_usage(ask: Ask) -> None:
    sandbox = flat()
    sandbox.add_past_period(months_ago=2, app=120, api=880)
    ask(sandbox)
    now, past = usage(sandbox, "?listBillingCycles=1").json()["billingCycles"]
    assert (now["apiUsage"], past["appUsage"], past["apiUsage"]) == (1, 120, 880)
    assert now["periodStartUnix"] > past["periodEndUnix"]
    window = usage(sandbox, f"?periodStartUnix={past['periodStartUnix']}").json()
    assert (window["app_usage"], window["api_usage"]) == (120, 880)


def test_a_window_together_with_a_month_is_refused() -> None:
    assert said(usage(flat(), "?periodStartUnix=1774268612&month=3"))[0] == 400


def test_the_editor_spends_from_the_same_account() -> None:
    sandbox = flat(credits=10)
    sandbox.use_app(4)
    assert usage(sandbox, "?expand=billing_cycle").json()["billingCycle"]["appUsage"] == 4
    assert sandbox.spendable == 6


# -- the limits ------------------------------------------------------------------------------------


def test_the_short_term_limit_comes_from_a_real_counter(ask: Ask, clock: object) -> None:
    sandbox = flat(rate="bucket:1:2", clock=clock)
    assert [ask(sandbox).status_code for _ in range(3)] == [200, 200, 429]
    assert said(ask(sandbox)) == (429, TOO_QUICK)
    clock.pass_s(1)  # type: ignore[attr-defined]
    assert [ask(sandbox).status_code for _ in range(2)] == [200, 429]
    assert sandbox.billed == 3


def test_a_number_is_a_rate_and_a_limit_is_taken_as_it_is() -> None:
    assert flat(rate=2.5).rate is not None
    assert flat(rate=0).rate is None
    window = SlidingWindow(1, 1)
    assert flat(rate=window).rate is window


def test_advice_comes_with_a_refusal_only_to_order(ask: Ask, clock: object) -> None:
    for has_advice in (False, True):
        sandbox = flat(rate="sliding:1:60", clock=clock, has_retry_after=has_advice)
        ask(sandbox)
        assert ("retry-after" in ask(sandbox).headers) is has_advice


def test_callers_without_a_key_have_a_daily_limit(ask: Ask, clock: object) -> None:
    sandbox = flat(daily_limit=2, clock=clock)
    assert [ask(sandbox, key=None).status_code for _ in range(2)] == [200, 200]
    assert said(ask(sandbox, key=None)) == (429, DAILY)
    assert ask(sandbox).status_code == 200, "the account is another matter"
    clock.pass_s(timedelta(hours=12).total_seconds())  # type: ignore[attr-defined]
    assert ask(sandbox, key=None).status_code == 200


def test_an_unknown_key_can_count_as_none(ask: Ask) -> None:
    sandbox = flat(daily_limit=1, unknown_key="anonymous")
    assert [ask(sandbox, key="typo").status_code for _ in range(2)] == [200, 429]
    assert sandbox.spendable == 500


@pytest.mark.parametrize(("kind", "message"), [("too_quick", TOO_QUICK), ("daily", DAILY), ("monthly", MONTHLY)])
def test_each_429_comes_to_order(ask: Ask, kind: str, message: str) -> None:
    sandbox = flat(faults=[f"{kind}:count=1"])
    assert said(ask(sandbox)) == (429, message)
    assert ask(sandbox).status_code == 200
    assert sandbox.billed == 1


# -- faults in process -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "error", "billed"),
    [
        ("reset_before", httpx.WriteError, 0),
        ("reset_after", httpx.ReadError, 1),
        ("reset_after:part=0.5", httpx.ReadError, 1),
        ("reset_after:billed=no", httpx.ReadError, 0),
        ("truncated", httpx.RemoteProtocolError, 1),
        ("stall", httpx.ReadTimeout, 1),
        ("stall:part=0.5", httpx.ReadTimeout, 1),
        ("latency:seconds=100", httpx.ReadTimeout, 1),
    ],
)
def test_a_broken_connection_raises_what_a_real_one_would(
    ask: Ask, fault: str, error: type[Exception], billed: int
) -> None:
    sandbox = flat(faults=[fault])
    with pytest.raises(error):
        ask(sandbox)
    assert sandbox.billed == billed


def test_a_server_that_is_down_refuses_every_connection(ask: Ask) -> None:
    sandbox = flat()
    sandbox.is_down = True
    with pytest.raises(httpx.ConnectError):
        ask(sandbox)
    assert not sandbox.requests


def test_faults_strike_the_usage_route_too() -> None:
    sandbox = flat()
    sandbox.add_fault("html", route="/api/membership-usage", count=1)
    sandbox.add_fault("empty", route="/api/membership-usage", count=1)
    assert usage(sandbox).status_code == 502
    assert usage(sandbox).content == b""
    assert usage(sandbox).json()["membership"] == "Premium-20000"


def test_an_upload_that_is_cut_off_was_never_read_to_its_end(make_picture: Make) -> None:
    sandbox = flat(faults=["reset_before:part=0.3"])
    body = make_picture(400, 400, "BMP")
    sent = 0

    def pieces() -> object:
        nonlocal sent
        for start in range(0, len(body), 1000):
            sent += 1000
            yield body[start : start + 1000]

    head = b'--b\r\nContent-Disposition: form-data; name="image"; filename="a.bmp"\r\n\r\n'

    def stream() -> object:
        yield head
        yield from pieces()  # type: ignore[misc, attr-defined]
        yield b"\r\n--b--\r\n"

    headers = {"content-type": "multipart/form-data; boundary=b", "content-length": str(len(head) + len(body) + 9)}
    with httpx.Client(transport=sandbox.transport()) as client, pytest.raises(httpx.WriteError):
        client.post("http://sandbox/rmbg", content=stream(), headers={**headers, "x-api-key": "sandbox-key"})  # type: ignore[arg-type]
    assert 0.3 * len(body) - 2000 < sent < 0.3 * len(body) + 2000


def test_a_share_of_requests_is_the_same_for_the_same_seed(ask: Ask) -> None:
    outcomes = []
    for _ in range(2):
        sandbox = flat(seed=7, faults=["status:share=0.4"])
        outcomes.append([ask(sandbox).status_code for _ in range(25)])
    assert outcomes[0] == outcomes[1]
    assert 4 <= outcomes[0].count(503) <= 16


@pytest.mark.parametrize(
    ("fault", "kind", "size"), [("wrong_format", "image/png", None), ("wrong_size", "image/webp", 460)]
)
def test_wrong_pictures_are_whole_pictures(
    ask: Ask, make_picture: Make, fault: str, kind: str, size: int | None
) -> None:
    import io

    from PIL import Image

    answer = ask(flat(faults=[fault]), image=make_picture(900, 600))
    assert answer.headers["content-type"] == kind
    assert Image.open(io.BytesIO(answer.content)).width == (size or 900)


# -- what else -------------------------------------------------------------------------------------


def test_base64_is_left_to_the_vendors_client_unless_it_is_ordered(ask: Ask) -> None:
    import base64

    plain = ask(flat(), {"return_base64": "true"})
    assert plain.headers["content-type"] == "image/webp"
    text = ask(flat(answers_base64=True), {"return_base64": "true"})
    assert text.headers["content-type"] == "text/plain"
    assert base64.b64decode(text.content, validate=True) == plain.content


def test_the_log_tells_what_came_and_never_the_key(ask: Ask, make_picture: Make) -> None:
    import hashlib

    sandbox = flat()
    ask(sandbox, {"w": "50"}, filename="möbel.jpg")
    ask(sandbox, key="secret-wrong")
    first, second = sandbox.requests
    assert (first.filename, first.status, first.billed, first.key, dict(first.params)) == (
        "möbel.jpg",
        200,
        1,
        "known",
        {"w": "50"},
    )
    assert first.sha256 == hashlib.sha256(make_picture()).hexdigest()
    assert (second.status, second.key, second.billed) == (401, "unknown", 0)
    assert "secret" not in repr(sandbox.requests)
    assert sandbox.billed_pictures[first.sha256] == 1


def test_the_log_forgets_and_the_counters_do_not(ask: Ask) -> None:
    from collections import deque

    sandbox = flat()
    sandbox.requests = deque(maxlen=2)
    for _ in range(5):
        ask(sandbox, {"w": "x" * 30_000, "format": "png"})
        ask(sandbox)
    assert (len(sandbox.requests), sandbox.billed, sandbox.statuses["/rmbg", 400]) == (2, 5, 5)
    assert max(len(value) for record in sandbox.requests for _, value in record.params or [("", "")]) <= 500


@pytest.mark.parametrize("name", ["uvicorn", "python_multipart", "onnxruntime", "numpy"])
def test_a_missing_library_is_named_with_what_to_do(name: str) -> None:
    """In a process of its own, where the library cannot be found."""
    script = (
        f"import sys; sys.modules[{name!r}] = None\n"
        "from rembg_watch.sandbox import Sandbox\n"
        "try: Sandbox().serve()\n"
        "except ImportError as error: print(error)\n"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert run.stdout.startswith("The sandbox needs ")
    assert "pip install 'rembg-watch[sandbox]'" in run.stdout


def test_credits_can_be_added_while_it_runs(ask: Ask) -> None:
    sandbox = flat(credits=0)
    assert ask(sandbox).status_code == 429
    sandbox.account.included = 1
    sandbox.account.prepaid = 1
    assert [ask(sandbox).status_code for _ in range(3)] == [200, 200, 429]


def test_the_trace_tells_whether_the_body_left() -> None:
    seen: list[str] = []
    with httpx.Client(transport=flat(faults=["reset_before"]).transport(), base_url="http://sandbox") as client:
        files = {"image": ("a.jpg", b"\xff\xd8\xff" + bytes(100))}
        extensions = {"trace": lambda name, _info: seen.append(name)}
        with pytest.raises(httpx.WriteError):
            client.post("/rmbg", files=files, extensions=extensions, headers={"x-api-key": "sandbox-key"})
    assert seen == ["http11.send_request_body.started", "http11.send_request_body.failed"]
