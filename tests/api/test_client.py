import contextlib
import io
import json
import logging
import pickle
import traceback
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rembg_watch import Client
from rembg_watch.api.cutout import Cutout
from rembg_watch.api.errors import (
    BadAnswerError,
    Charge,
    InvalidRequestError,
    KeyRefusedError,
    NoAnswerError,
    NotSentError,
    ParameterRefusedError,
    RembgError,
    Scope,
    ServerError,
    Throttle,
    ThrottledError,
    UnknownRefusalError,
    UnreachableError,
)
from rembg_watch.api.key import Key
from rembg_watch.api.params import Format, RemovalParams
from rembg_watch.api.upload import Progress

KEY = "k-0123456789abcdef"
WEBP = b"RIFF\x10\x0a\x20\x00WEBPVP8 " + bytes(300_000)
PNG = b"\x89PNG\r\n\x1a\n" + bytes(200_000)
Handler = Callable[[httpx.Request], httpx.Response]


def client_of(handler: Handler, **settings: object) -> Client:
    return Client(KEY, transport=httpx.MockTransport(handler), **settings)  # type: ignore[arg-type]


def answering(status: int = 200, body: bytes = WEBP, headers: dict[str, str] | None = None) -> Handler:
    return lambda _: httpx.Response(status, content=body, headers=headers)


def outcome(handler: Handler, **settings: object) -> RembgError:
    with client_of(handler, **settings) as client, pytest.raises(RembgError) as caught:
        client.remove_background(PNG)
    return caught.value


def test_a_picture_goes_out_and_its_cutout_comes_back() -> None:
    seen: list[httpx.Request] = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        headers = {"x-request-id": "r-1", "x-ratelimit-remaining": "9"}
        return httpx.Response(200, content=WEBP, headers=headers)

    with client_of(handler) as client:
        cutout = client.remove_background(PNG, RemovalParams(w=10, format=Format.WEBP), filename="IMG_1.png")
    (request,) = seen
    assert (request.method, str(request.url)) == ("POST", "https://api.rembg.com/rmbg")
    assert request.headers["x-api-key"] == KEY
    assert request.headers["content-length"] == str(len(request.content))
    assert "transfer-encoding" not in request.headers
    assert b'name="image"; filename="IMG_1.png"' in request.content
    assert request.content.index(b'name="image"') < request.content.index(b'name="w"')
    assert cutout.content == WEBP
    assert (cutout.content_type, cutout.size_bytes, cutout.request_id) == ("image/webp", len(WEBP), "r-1")
    assert cutout.rate_limit is not None
    assert cutout.rate_limit.remaining == 9
    assert cutout.elapsed_s >= 0


def test_a_cutout_goes_where_it_is_wanted(tmp_path: Path) -> None:
    with client_of(answering()) as client:
        source = tmp_path / "a.png"
        source.write_bytes(PNG)
        assert client.remove_background(source).content == WEBP
        named = client.remove_background(source, destination=tmp_path / "a.webp")
        assert (named.path, named.content) == (tmp_path / "a.webp", None)
        assert (tmp_path / "a.webp").read_bytes() == WEBP
        file = io.BytesIO()
        client.remove_background(source, destination=file)
        assert file.getvalue() == WEBP


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("a.png", "png"),
        ("a.PNG", "png"),
        ("a.jpg", "jpeg"),
        ("a.jpe", "jpeg"),
        ("a.JFIF", "jpeg"),
        ("a.pjpeg", "jpeg"),
        ("a.dib", "bmp"),
        ("a", "webp"),
        ("a.part", "webp"),
    ],
)
def test_the_ending_of_the_destination_says_the_format(tmp_path: Path, name: str, asked: str) -> None:
    seen: list[bytes] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request.read())
        return httpx.Response(200, content=WEBP, headers={"content-type": "image/webp"})

    with client_of(answer) as client:
        client.remove_background(PNG, destination=tmp_path / name)
    assert f'name="format"\r\n\r\n{asked}\r\n'.encode() in seen[0]


@pytest.mark.parametrize("name", ["a.tif", "a.TIFF", "a.gif", "a.heic", "a.psd", "a.avif"])
def test_no_webp_is_written_into_a_file_of_another_kind(tmp_path: Path, name: str) -> None:
    with client_of(answering()) as client:
        with pytest.raises(InvalidRequestError, match="does not produce"):
            client.remove_background(PNG, destination=tmp_path / name)
        assert not (tmp_path / name).exists()
        client.remove_background(PNG, RemovalParams(format=Format.WEBP), destination=tmp_path / name)
        assert (tmp_path / name).exists()


def test_a_temporary_cutout_has_its_formats_ending_and_goes_away() -> None:
    with client_of(answering(body=PNG)) as client:
        kept = client.remove_to_tempfile(PNG, RemovalParams(format=Format.PNG))
        assert kept.path.suffix == ".png"
        assert kept.cutout.read() == PNG
        kept.cleanup()
        with client.remove_to_tempfile(PNG) as path:
            assert path.read_bytes() == PNG
    assert not path.exists()
    assert not kept.path.exists()


def test_a_temporary_cutout_that_failed_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with client_of(answering(500)) as client, pytest.raises(ServerError):
        client.remove_to_tempfile(PNG)
    assert list(tmp_path.iterdir()) == []


def test_progress_is_told_both_ways() -> None:
    up: list[Progress] = []
    down: list[Progress] = []
    with client_of(answering()) as client:
        client.remove_background(PNG, on_upload=up.append, on_download=down.append)
    assert up[0].loaded_bytes == 0
    assert up[-1].loaded_bytes == up[-1].total_bytes
    assert down[-1] == Progress(len(WEBP), len(WEBP))
    for told in (up, down):
        loaded = [one.loaded_bytes for one in told]
        assert loaded == sorted(loaded)


class StopHereError(Exception):
    pass


def stop(*_: object) -> None:
    raise StopHereError


@pytest.mark.parametrize("hook", ["on_upload", "on_download", "on_last_byte"])
def test_what_a_callback_raises_comes_back_as_itself(hook: str) -> None:
    with client_of(answering()) as client, pytest.raises(StopHereError) as caught:
        client.remove_background(PNG, **{hook: stop})  # type: ignore[arg-type]
    assert caught.value.__context__ is None


def test_a_hook_that_raises_leaves_the_request_incomplete() -> None:
    received: list[bytes] = []

    class Wire(httpx.BaseTransport):
        def handle_request(self, request: httpx.Request) -> httpx.Response:
            assert isinstance(request.stream, httpx.SyncByteStream)
            received.extend(request.stream)
            return httpx.Response(200, content=WEBP)

    with Client(KEY, transport=Wire()) as client, pytest.raises(StopHereError):
        client.remove_background(PNG, on_last_byte=stop)
    assert received
    assert b"--\r\n" not in b"".join(received)[-4:]


@pytest.mark.parametrize(
    ("handler", "kind", "code"),
    [
        pytest.param(answering(body=b""), BadAnswerError, "answer_empty", id="empty"),
        pytest.param(answering(body=b"<html><title>Hi</title>"), BadAnswerError, "answer_html", id="html"),
        pytest.param(answering(body=b'{"error": "sorry"}'), BadAnswerError, "answer_json", id="json"),
        pytest.param(answering(body=b"OK"), BadAnswerError, "answer_text", id="text"),
        pytest.param(answering(body=bytes(500)), BadAnswerError, "answer_garbage", id="garbage"),
        pytest.param(answering(body=b"GIF89a" + bytes(500)), BadAnswerError, "answer_garbage", id="another format"),
        pytest.param(answering(204, b""), BadAnswerError, "answer_empty", id="no content"),
        pytest.param(answering(206, WEBP), BadAnswerError, "answer_garbage", id="a part"),
    ],
)
def test_a_success_without_a_picture_is_no_success(handler: Handler, kind: type[RembgError], code: str) -> None:
    error = outcome(handler)
    assert type(error) is kind
    assert (error.code, error.charge) == (code, Charge.MAYBE)


def test_words_of_a_json_success_are_repeated() -> None:
    assert "“sorry”" in str(outcome(answering(body=b'{"error": "sorry"}')))


def test_an_answer_shorter_than_it_says_is_no_answer(tmp_path: Path) -> None:
    handler = answering(headers={"content-length": str(len(WEBP) + 1)})
    target = tmp_path / "a.webp"
    with client_of(handler) as client, pytest.raises(NoAnswerError) as caught:
        client.remove_background(PNG, destination=target)
    assert caught.value.charge is Charge.MAYBE
    assert list(tmp_path.iterdir()) == []


def test_a_picture_type_is_told_by_its_bytes_not_by_the_header() -> None:
    with client_of(answering(body=PNG, headers={"content-type": "text/html"})) as client:
        assert client.remove_background(PNG).content_type == "image/png"


@pytest.mark.parametrize(
    ("failure", "reads_body", "kind", "code", "charge"),
    [
        (httpx.ConnectError("[Errno 111] Connection refused"), False, UnreachableError, "connect_failed", Charge.NO),
        (httpx.ConnectTimeout("timed out"), False, UnreachableError, "connect_timeout", Charge.NO),
        (httpx.PoolTimeout(""), False, UnreachableError, "no_free_connection", Charge.NO),
        (httpx.ProxyError("407"), False, UnreachableError, "proxy_failed", Charge.NO),
        (httpx.WriteTimeout("timed out"), False, UnreachableError, "upload_timeout", Charge.NO),
        (httpx.ReadError("reset"), False, UnreachableError, "connection_lost", Charge.NO),
        (httpx.ReadError("reset"), True, NoAnswerError, "connection_lost", Charge.MAYBE),
        (httpx.ReadTimeout("timed out"), True, NoAnswerError, "answer_timeout", Charge.MAYBE),
        (httpx.RemoteProtocolError("gone."), True, NoAnswerError, "answer_broken_off", Charge.MAYBE),
        (httpx.CloseError("x"), True, NoAnswerError, "connection_lost", Charge.MAYBE),
        (httpx.TooManyRedirects("x"), True, NoAnswerError, "connection_lost", Charge.MAYBE),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else str(value),
)
def test_a_broken_way_is_a_doubt_only_when_the_body_had_left(
    failure: httpx.RequestError, reads_body: bool, kind: type[RembgError], code: str, charge: Charge
) -> None:
    class Wire(httpx.BaseTransport):
        def handle_request(self, request: httpx.Request) -> httpx.Response:
            if reads_body:
                request.read()
            raise failure

    with Client(KEY, transport=Wire()) as client, pytest.raises(kind) as caught:
        client.remove_background(PNG)
    error = caught.value
    assert (error.code, error.charge, error.retryable) == (code, charge, True)
    assert error.__cause__ is None
    assert error.__context__ is None
    assert "api.rembg.com" in str(error)


@pytest.mark.parametrize(("reads_body", "charge"), [(True, Charge.MAYBE), (False, Charge.NO)])
def test_a_gateway_that_gave_up_is_a_doubt_only_when_the_body_had_left(reads_body: bool, charge: Charge) -> None:
    class Wire(httpx.BaseTransport):
        def handle_request(self, request: httpx.Request) -> httpx.Response:
            if reads_body:
                request.read()
            return httpx.Response(504, content=b"<html><title>Gateway Timeout</title>")

    with Client(KEY, transport=Wire()) as client, pytest.raises(ServerError) as caught:
        client.remove_background(PNG)
    assert caught.value.charge is charge


def test_an_answer_whose_compression_is_broken_is_no_answer() -> None:
    error = outcome(answering(headers={"content-encoding": "gzip"}))
    assert isinstance(error, NoAnswerError | BadAnswerError)


def test_cookies_are_not_kept() -> None:
    seen: list[str | None] = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(request.headers.get("cookie"))
        return httpx.Response(200, content=WEBP, headers={"set-cookie": "token=abc; Path=/"})

    with client_of(handler) as client:
        client.remove_background(PNG)
        client.remove_background(PNG)
    assert seen == [None, None]


def test_no_redirect_is_followed() -> None:
    seen: list[str] = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(str(request.url))
        return httpx.Response(307, headers={"location": f"https://evil.example/take?key={KEY}"})

    error = outcome(handler)
    assert seen == ["https://api.rembg.com/rmbg"]
    assert isinstance(error, UnknownRefusalError)
    assert "https://evil.example/take" in str(error)


@pytest.mark.parametrize(
    "location", ["https://[::1", "//x:99999/", "http://", "\x7f", "", "javascript:0", "https://a b/"]
)
def test_a_redirect_to_nonsense_is_still_a_redirect(location: str) -> None:
    error = outcome(answering(308, b"", {"location": location}))
    assert isinstance(error, UnknownRefusalError)
    assert (error.code, error.charge) == ("unknown_308", Charge.NO)


# --- the account


ACCOUNT = {"membership": "P", "credits": 10, "prepaidCredits": 1, "app_usage": 0, "api_usage": 4}


@pytest.mark.parametrize(
    ("ask", "query"),
    [
        pytest.param(lambda c: c.account(), "expand=billing_cycle", id="the account"),
        pytest.param(lambda c: c.account(year=2026, month=2), "year=2026&month=2&expand=billing_cycle", id="a month"),
        pytest.param(lambda c: c.account(period_start=5), "periodStartUnix=5&expand=billing_cycle", id="a window"),
        pytest.param(lambda c: c.membership_usage(), "", id="plainly"),
        pytest.param(
            lambda c: c.membership_usage(include_billing_cycle=True), "includeBillingCycle=1", id="the older spelling"
        ),
        pytest.param(lambda c: c.membership_usage(expand=["a", "b"]), "expand=a%2Cb", id="flags"),
    ],
)
def test_the_account_is_asked_for_as_told(ask: Callable[[Client], object], query: str) -> None:
    seen: list[httpx.Request] = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json=ACCOUNT)

    with client_of(handler) as client:
        account = ask(client)
    assert account.spendable == Decimal(7)  # type: ignore[attr-defined]
    (request,) = seen
    assert request.method == "GET"
    assert request.url.copy_with(query=None) == "https://www.rembg.com/api/membership-usage"
    assert request.url.query.decode() == query
    assert request.headers["x-api-key"] == KEY


def test_a_query_in_the_address_is_kept() -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        assert dict(request.url.params) == {"tenant": "7", "expand": "billing_cycle"}
        return httpx.Response(200, json=ACCOUNT)

    with client_of(handler, usage_url="https://www.rembg.com/usage?tenant=7") as client:
        client.account()


def test_the_billing_cycles_are_listed() -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        assert request.url.query == b"listBillingCycles=1"
        rows = [{"periodStartUnix": 1774268612, "periodEndUnix": 1776947012, "appUsage": 120, "apiUsage": 880}]
        return httpx.Response(200, json={"billingCycles": rows})

    with client_of(handler) as client:
        (period,) = client.billing_cycles()
    assert period.used == 1000


def test_a_contradiction_is_refused_without_asking() -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        raise AssertionError("nothing should have been sent")

    with client_of(handler) as client, pytest.raises(InvalidRequestError, match="cannot be used together"):
        client.account(year=2026, period_start=5)


@pytest.mark.parametrize(
    ("handler", "kind", "code"),
    [
        pytest.param(answering(401, b'{"error": "invalid api key"}'), KeyRefusedError, "invalid_api_key", id="key"),
        pytest.param(
            answering(400, b'{"error": "periodStartUnix cannot be combined with year or month"}'),
            ParameterRefusedError,
            "period_with_month",
            id="a contradiction that the server found",
        ),
        pytest.param(answering(504, b""), ServerError, "http_504", id="a gateway"),
        pytest.param(answering(200, b""), BadAnswerError, "answer_empty", id="empty"),
        pytest.param(answering(200, b"<html>"), BadAnswerError, "answer_html", id="a page"),
        pytest.param(answering(200, b"[" * 90_000), BadAnswerError, "answer_text", id="too deep"),
        pytest.param(answering(200, b"[]"), BadAnswerError, "answer_not_an_account", id="a list"),
        pytest.param(answering(200, b" " * 5_000_000), BadAnswerError, "answer_too_large", id="endless"),
        pytest.param(answering(302, b""), UnknownRefusalError, "unknown_302", id="a redirect"),
    ],
)
def test_whatever_the_account_answers_costs_nothing(handler: Handler, kind: type[RembgError], code: str) -> None:
    with client_of(handler) as client, pytest.raises(kind) as caught:
        client.account()
    assert (caught.value.code, caught.value.charge) == (code, Charge.NO)
    assert caught.value.scope is not Scope.PICTURE, "no picture is concerned"


def test_an_account_that_cannot_be_reached_costs_nothing() -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        raise httpx.ReadTimeout("timed out")

    with client_of(handler) as client, pytest.raises(UnreachableError) as caught:
        client.billing_cycles()
    assert caught.value.charge is Charge.NO


# --- settings


@pytest.mark.parametrize("key", ["", "  \n", "two words", "schlüssel", "a\nb", "a\x00b", None], ids=repr)
def test_a_key_that_no_header_can_carry_is_refused_without_being_shown(key: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        Client(key)
    assert caught.value.code == "bad_key"
    assert not key or not key.strip() or key not in str(caught.value)


def test_white_space_around_a_key_is_dropped() -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        assert request.headers["x-api-key"] == KEY
        return httpx.Response(200, json=ACCOUNT)

    with Client(f" {KEY}\n", transport=httpx.MockTransport(handler)) as client:
        client.account()


@pytest.mark.parametrize(
    "url",
    [
        "",
        "api.rembg.com/rmbg",
        "ftp://api.rembg.com",
        "https://",
        "https://user:pw@api.rembg.com/rmbg",
        "https://" + "a" * 70 + ".com",
        "https://[::1",
        "https://x:99999/",
        None,
    ],
    ids=repr,
)
def test_an_address_that_cannot_be_is_refused(url: str) -> None:
    with pytest.raises(InvalidRequestError, match=r"http:// or https://"):
        Client(KEY, url=url)
    with pytest.raises(InvalidRequestError, match=r"http:// or https://"):
        Client(KEY, usage_url=url)


@pytest.mark.parametrize(
    "settings",
    [
        {"proxy": "nonsense://user:geheim@x"},
        {"proxy": "http://user:ge:heim@[::1"},
        {"proxy": "http://x:geheim"},
        {"verify": "/nonexistent/ca.pem"},
        {"verify": __file__},
    ],
    ids=repr,
)
def test_settings_that_cannot_be_used_are_said_so(settings: dict[str, str]) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        Client(KEY, **settings)  # type: ignore[arg-type]
    assert caught.value.code == "client_settings"
    assert "heim" not in str(caught.value)


def test_the_key_goes_to_the_two_addresses_alone() -> None:
    """Each address is known by scheme, host and port; another port of the same host is another address."""
    seen: dict[str, bool] = {}

    def handler(request: httpx.Request) -> httpx.Response:
        seen[str(request.url)] = "x-api-key" in request.headers
        return httpx.Response(200)

    with client_of(handler, url="http://127.0.0.1:5001/rmbg", usage_url="https://www.rembg.com/u") as client:
        for url in (
            "http://127.0.0.1:5001/other",
            "http://127.0.0.1:5002/rmbg",
            "https://evil.example/",
            "http://www.rembg.com/u",
        ):
            client._http.get(url)
    assert seen == {
        "http://127.0.0.1:5001/other": True,
        "http://127.0.0.1:5002/rmbg": False,
        "https://evil.example/": False,
        "http://www.rembg.com/u": False,
    }


# --- secrecy


def shown(error: BaseException) -> str:
    """Everything that a log, a traceback with its frames' variables, or a crash report could show of *error*."""
    told = traceback.TracebackException.from_exception(error, capture_locals=True)
    return "\n".join([str(error), repr(error), repr(error.__dict__), *told.format()])


def echoing(request: httpx.Request) -> httpx.Response:
    key = request.headers["x-api-key"]
    body = {"error": f"invalid api key: {key}", "details": [{"field": key, "message": f"what is {key}?"}]}
    return httpx.Response(401, json=body, headers={"x-request-id": key, "location": f"https://x/{key}"})


def escaping(request: httpx.Request) -> httpx.Response:
    key = "".join(f"\\u{ord(letter):04x}" for letter in request.headers["x-api-key"])
    return httpx.Response(
        400, content=f'{{"error": "{key}", "errors": ["{key}", {{"field": "{key}", "message": "{key}"}}]}}'
    )


def cutting(request: httpx.Request) -> httpx.Response:
    return httpx.Response(500, content=b"x" * 390 + request.headers["x-api-key"].encode() + b"y" * 500)


def escaping_and_cutting(request: httpx.Request) -> httpx.Response:
    """Spell the key in escapes, which no search for it finds, just where the words are cut off."""
    key = "".join(f"\\u{ord(letter):04x}" for letter in request.headers["x-api-key"])
    return httpx.Response(400, content=f'{{"error": "{"x" * 390}{key}{"y" * 500}"}}')


def pointing(request: httpx.Request) -> httpx.Response:
    return httpx.Response(302, headers={"location": f"https://x.example/{request.headers['x-api-key']}/y"})


def breaking(request: httpx.Request) -> httpx.Response:
    raise httpx.ReadError(f"oops {request.headers['x-api-key']} {request.headers!r}", request=request)


def misanswering(request: httpx.Request) -> httpx.Response:
    return httpx.Response(200, text=f"your key is {request.headers['x-api-key']}")


def mistaking(request: httpx.Request) -> httpx.Response:
    return httpx.Response(200, json={"error": f"no such key: {request.headers['x-api-key']}"})


ECHOES = [echoing, escaping, cutting, escaping_and_cutting, pointing, breaking, misanswering, mistaking]


@pytest.mark.parametrize("handler", ECHOES)
@pytest.mark.parametrize("ask", [lambda c: c.remove_background(PNG), lambda c: c.account()], ids=["remove", "account"])
def test_the_key_shows_nowhere_whatever_the_server_echoes(
    handler: Handler, ask: Callable[[Client], object], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with client_of(handler) as client:
        with pytest.raises(RembgError) as caught:
            ask(client)
        report = shown(caught.value)
        assert KEY[2:8] not in report, "not even where the server's words are cut off"
        assert KEY not in repr(client)
        assert KEY not in str(vars(client))
    assert KEY not in caplog.text


def test_the_key_shows_nowhere_when_a_callback_fails() -> None:
    with client_of(answering()) as client, pytest.raises(StopHereError) as caught:
        client.remove_background(PNG, on_last_byte=stop)
    assert KEY not in shown(caught.value)


def test_a_client_that_cannot_be_built_shows_no_key() -> None:
    def build() -> None:
        Client("k-" + "0123456789" + "abcdef", proxy="nonsense://x")

    with pytest.raises(InvalidRequestError) as caught:
        build()
    assert KEY not in shown(caught.value)


def test_a_key_does_not_let_itself_be_copied_out() -> None:
    key = Key(KEY)
    with pytest.raises(TypeError, match="not for copying"):
        pickle.dumps(key)
    assert KEY not in f"{key} {key!r}"
    assert Key("abc").hide("abc") == "abc", "too short to be told from other words"


@pytest.mark.parametrize("key", ["k", "too", "quickly", "error", "status", "429", "You're", '"', "\\", "/"])
def test_an_answer_means_the_same_whatever_letters_the_key_has(key: str) -> None:
    """A key may be a word or a letter of the answer; hiding it must not turn one refusal into another."""
    words = "You're making requests too quickly, Please Upgrade or slow down."
    answer = answering(429, json.dumps({"error": words, "status": 429}).encode())
    with Client(key, transport=httpx.MockTransport(answer)) as client, pytest.raises(ThrottledError) as caught:
        client.remove_background(PNG)
    assert caught.value.throttle is Throttle.SHORT_TERM
    assert str(caught.value) == words or len(key) >= 4
    assert len(key) < 4 or key not in str(caught.value)


@pytest.mark.parametrize("key", ['quo"te-key-0815', "back\\slash-0815", "sl/ash-0815"])
def test_a_key_that_json_writes_otherwise_is_hidden_too(key: str) -> None:
    answer = answering(401, json.dumps({"error": f"{'x' * 390}{key}", "details": [key]}).encode())
    with Client(key, transport=httpx.MockTransport(answer)) as client, pytest.raises(KeyRefusedError) as caught:
        client.remove_background(PNG)
    assert key[:4] not in repr(caught.value.__dict__)


# --- any answer at all


def test_an_endless_answer_is_given_up() -> None:
    class Endless(httpx.SyncByteStream):
        def __iter__(self) -> Iterator[bytes]:
            yield WEBP
            while True:
                yield bytes(8 << 20)

    class Nothing:
        def write(self, block: bytes, /) -> None:
            pass

    with client_of(lambda _: httpx.Response(200, stream=Endless())) as client, pytest.raises(BadAnswerError) as caught:
        client.remove_background(PNG, destination=Nothing())
    assert caught.value.code == "answer_too_large"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200, deadline=None)
@given(
    status=st.integers(200, 599),
    headers=st.dictionaries(
        st.sampled_from(
            ["content-type", "retry-after", "location", "x-request-id", "content-length", "content-encoding"]
        ),
        st.text(alphabet=st.characters(min_codepoint=32, max_codepoint=126), max_size=20)
        | st.sampled_from(["gzip", "br", "0", "99999999999999999999", "text/html; charset=nonsense", "-1"]),
    ),
    body=st.binary(max_size=300) | st.binary(max_size=50).map(lambda rest: b"\xff\xd8\xff" + rest),
)
def test_no_answer_makes_the_client_raise_anything_foreign(status: int, headers: dict[str, str], body: bytes) -> None:
    class Stream(httpx.SyncByteStream):
        def __iter__(self) -> Iterator[bytes]:
            yield body

    def handler(request: httpx.Request) -> httpx.Response:
        return httpx.Response(status, headers=headers, stream=Stream())

    with client_of(handler) as client:
        with contextlib.suppress(RembgError):
            assert isinstance(client.remove_background(PNG), Cutout)
        with contextlib.suppress(RembgError):
            client.account()
        with contextlib.suppress(RembgError):
            client.billing_cycles()


def test_a_picture_that_cannot_be_sent_is_refused_without_a_connection() -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        raise AssertionError("nothing should have been sent")

    with client_of(handler) as client:
        for image in (b"", b"text", Path("/nonexistent/a.png")):
            with pytest.raises(NotSentError) as caught:
                client.remove_background(image)
            assert caught.value.charge is Charge.NO


def test_a_client_can_leave_the_checks_to_the_api() -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        assert b"not a picture" in request.content
        body = {"error": "File does not appear to be a valid image (invalid file signature)", "status": 400}
        return httpx.Response(400, content=json.dumps(body))

    with client_of(handler, checks_pictures=False) as client, pytest.raises(RembgError) as caught:
        client.remove_background(b"not a picture", filename="a.png")
    assert caught.value.code == "picture_corrupt"
