"""The client against a server of bare sockets: what really goes over the wire, and every way it can break."""

import gc
import json
import os
import random
import ssl
import subprocess
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rembg_watch import Client
from rembg_watch.api.errors import (
    BadAnswerError,
    Charge,
    InDoubtError,
    NoAnswerError,
    PictureRefusedError,
    RefusedError,
    RembgError,
    ServerError,
    Throttle,
    ThrottledError,
    UnknownRefusalError,
    UnreachableError,
)
from rembg_watch.api.params import RemovalParams
from rembg_watch.api.upload import LAST_BYTES, Progress
from tests.api.patience import TRIES, again_if, did_not_leave, is_too_slow

KEY = "k-0123456789abcdef"
PNG = b"\x89PNG\r\n\x1a\n" + bytes(5000)
BIG = b"\x89PNG\r\n\x1a\n" + bytes(8_000_000)
CUT = b"RIFF\x10\x0a\x20\x00WEBPVP8 " + bytes(100_000)
MB = 1 << 20
TRUST = ssl.create_default_context()


def good(visitor: Any) -> None:
    while visitor.next_request():
        visitor.read_body()
        visitor.answer("200 OK", CUT, is_last=False)


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Whatever the server does, the caller must be back before the server gives up by itself."""
    started = time.monotonic()
    yield
    assert time.monotonic() - started < seconds


def outcome(server: Any, image: bytes = PNG, timeout_s: float = 5.0, **settings: object) -> RembgError:
    with Client(KEY, url=server.url, timeout_s=timeout_s) as client, within(18), pytest.raises(RembgError) as caught:
        client.remove_background(image, **settings)  # type: ignore[arg-type]
    assert KEY not in str(caught.value)
    return caught.value


def outcome_but(is_chance: Callable[[RembgError], bool], *how: Any, **settings: Any) -> RembgError:
    """Return the outcome of a call whose time-out is short, but not one that a machine may bring that stands still."""
    for _ in range(TRIES):
        error = outcome(*how, **settings)
        if not is_chance(error):
            break
    return error


def test_a_whole_exchange(serve: Callable[..., Any]) -> None:
    server = serve(good)
    with Client(KEY, url=server.url) as client:
        cutout = client.remove_background(PNG, RemovalParams(w=7))
        (visitor,) = server.visitors
        head, body, length = visitor.head.lower(), visitor.body, visitor.length()
        again = client.remove_background(PNG)
    assert cutout.content == again.content == CUT
    assert server.visitors == [visitor]
    assert head.startswith(b"post /rmbg http/1.1\r\n")
    assert head.count(b"x-api-key: " + KEY.encode()) == 1
    assert b"connection: keep-alive" in head
    assert b"accept-encoding: identity" in head
    assert len(body) == length
    assert PNG in body


def test_progress_follows_the_wire(serve: Callable[..., Any]) -> None:
    """With a server that stops reading, what is told stays near what was read; a guess would run to the end."""
    told: list[Progress] = []
    halted = threading.Event()

    def halting(visitor: Any) -> None:
        visitor.read_head()
        visitor.read_body(500_000)
        halted.set()
        visitor.stall()

    server = serve(halting)
    for _ in range(TRIES):  # on a machine that stands still, the time may be up before the server has read so much
        with Client(KEY, url=server.url, timeout_s=1) as client, pytest.raises(UnreachableError):
            client.remove_background(b"\x89PNG\r\n\x1a\n" + bytes(40 * MB), on_upload=told.append)
        if halted.is_set():
            break
    assert halted.is_set()
    assert 500_000 - 2 * 65536 <= told[-1].loaded_bytes < 12 * MB  # what both kernels hold is on its way


@pytest.mark.parametrize(
    ("image", "behave"),
    [
        pytest.param(BIG, lambda v: (v.read_head(), v.read_body(100_000), v.reset()), id="reset in mid-body"),
        pytest.param(BIG, lambda v: (v.read_head(), v.read_body(100_000)), id="closed in mid-body"),
        pytest.param(BIG, lambda v: v.reset(), id="reset at once"),
    ],
)
def test_a_connection_lost_in_mid_body_cost_nothing(
    serve: Callable[..., Any], image: bytes, behave: Callable[[Any], object]
) -> None:
    error = outcome(serve(behave), image)
    assert isinstance(error, UnreachableError)
    assert error.charge is Charge.NO


@pytest.mark.parametrize(
    "behave",
    [
        pytest.param(lambda v: (v.read_all(), v.reset()), id="reset"),
        pytest.param(lambda v: v.read_all(), id="closed"),
        pytest.param(lambda v: (v.read_all(), v.send(b"HTTP/1.1 200 OK\r\nContent-Le")), id="closed in mid-head"),
        pytest.param(lambda v: (v.read_all(), v.answer("200 OK", CUT, stated=len(CUT) + 1)), id="one byte short"),
        pytest.param(lambda v: (v.read_all(), v.answer("200 OK", CUT[:3], stated=len(CUT))), id="nearly nothing"),
        pytest.param(
            lambda v: (v.read_all(), v.answer("200 OK", CUT, stated=2 * len(CUT)), v.reset()), id="reset in mid-answer"
        ),
        pytest.param(
            lambda v: (v.read_all(), v.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10\r\nRIFF")),
            id="a chunk that broke off",
        ),
        pytest.param(lambda v: (v.read_all(), v.send(b"SSH-2.0-OpenSSH_9.2\r\n")), id="another protocol"),
        pytest.param(lambda v: (v.read_all(), v.answer("200 OK", CUT, "Content-Encoding: gzip")), id="no gzip"),
    ],
)
def test_a_connection_lost_after_the_body_is_a_doubt(
    serve: Callable[..., Any], behave: Callable[[Any], object], tmp_path: Path
) -> None:
    error = outcome(serve(behave), destination=tmp_path / "cut.webp")
    assert isinstance(error, NoAnswerError)
    assert (error.charge, error.retryable) == (Charge.MAYBE, True)
    assert list(tmp_path.iterdir()) == []


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
BARE = b"HTTP/1.1 200 OK\r\n\r\n"


@pytest.mark.parametrize(
    "behave",
    [
        pytest.param(lambda v: (v.read_all(), v.stall()), id="silence"),
        pytest.param(lambda v: (v.read_all(), v.drip(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100)), id="a head that drips"),
        pytest.param(
            lambda v: (v.read_all(), v.send(b"HTTP/1.1 100 Continue\r\n\r\n"), v.drip(b"HTTP/1.1 102 P\r\n" * 9)),
            id="interim answers that drip",
        ),
        pytest.param(
            lambda v: (v.read_all(), v.answer("200 OK", CUT[:20], stated=9999), v.drip(CUT[:100])),
            id="a body that drips",
        ),
        pytest.param(
            lambda v: (v.read_all(), v.send(BARE + CUT[:20]), v.drip(CUT[:100])),
            id="a body without a length that drips",
        ),
        pytest.param(
            lambda v: (
                v.read_all(),
                v.send(CHUNKED),
                [(v.send(b"1\r\nR\r\n"), v.released.wait(0.05)) for _ in range(100)],
            ),
            id="chunks that drip",
        ),
    ],
)
def test_a_server_that_dawdles_holds_nobody_for_ever(
    serve: Callable[..., Any], behave: Callable[[Any], object], tmp_path: Path
) -> None:
    error = outcome_but(did_not_leave, serve(behave), timeout_s=0.4, destination=tmp_path / "cut.webp")
    assert isinstance(error, NoAnswerError)
    assert error.code in {"answer_timeout", "deadline_passed"}, "it would have another if the server had to end it"
    assert error.charge is Charge.MAYBE
    assert list(tmp_path.iterdir()) == []


def test_a_server_that_does_not_read_holds_nobody_for_ever(serve: Callable[..., Any]) -> None:
    server = serve(lambda v: v.stall())
    error = outcome_but(lambda error: error.code == "connect_timeout", server, BIG * 2, timeout_s=0.5)
    assert isinstance(error, UnreachableError)
    assert error.code in {"upload_timeout", "deadline_passed"}
    assert error.charge is Charge.NO


def test_a_slow_but_steady_transfer_may_take_longer_than_the_time_out(serve: Callable[..., Any]) -> None:
    def steady(visitor: Any) -> None:
        visitor.read_all()
        visitor.send(f"HTTP/1.1 200 OK\r\nContent-Length: {len(CUT)}\r\n\r\n".encode())
        for n in range(0, len(CUT), 10_000):
            visitor.released.wait(0.1)
            visitor.send(CUT[n : n + 10_000])

    with Client(KEY, url=serve(steady).url, timeout_s=0.5) as client:
        cutout = again_if(is_too_slow, lambda: client.remove_background(PNG))
    assert cutout.content == CUT
    assert cutout.elapsed_s > 1.0


def test_a_refusal_that_breaks_off_is_still_read(serve: Callable[..., Any]) -> None:
    body = b'{"error": "You\'ve reached your monthly limit. Consid'

    def behave(visitor: Any) -> None:
        visitor.read_all()
        visitor.answer("429 Too Many Requests", body, "Retry-After: 3", stated=500)
        visitor.reset()

    error = outcome(serve(behave))
    assert isinstance(error, ThrottledError)
    assert (error.throttle, error.retry_after_s) == (Throttle.MONTHLY, 3.0)


TOO_LARGE = b"<html><head><title>413 Request Entity Too Large</title></head></html>"
TOO_FAST = b'{"error": "You\'re making requests too quickly, Please Upgrade or slow down.", "status": 429}'


def refusing_early(status: str, body: bytes, *, resets: bool) -> Callable[[Any], None]:
    def behave(visitor: Any) -> None:
        visitor.read_head()
        visitor.read_body(50_000)
        visitor.answer(status, body, "Connection: close")
        if resets:
            visitor.reset()

    return behave


@pytest.mark.parametrize("resets", [False, True], ids=["closes", "resets"])
def test_a_refusal_that_comes_while_the_body_is_still_leaving_is_read(serve: Callable[..., Any], resets: bool) -> None:
    """
    A server that has said no stops reading.

    A reset may throw away the refusal on the way to us; then it is at least known that nothing was charged.
    """
    large = outcome(serve(refusing_early("413 Payload Too Large", TOO_LARGE, resets=resets)), BIG)
    fast = outcome(serve(refusing_early("429 Too Many Requests", TOO_FAST, resets=resets)), BIG)
    assert {large.charge, fast.charge} == {Charge.NO}
    if not resets:
        assert isinstance(large, PictureRefusedError)
        assert "413 Request Entity Too Large" in str(large)
        assert isinstance(fast, ThrottledError)
        assert fast.throttle is Throttle.SHORT_TERM


def test_a_refusal_before_the_body_is_read_once_the_server_goes_on_reading(serve: Callable[..., Any]) -> None:
    def behave(visitor: Any) -> None:
        visitor.read_head()
        visitor.answer("429 Too Many Requests", TOO_FAST, "Connection: close")
        visitor.swallow()

    error = outcome(serve(behave), BIG)
    assert isinstance(error, ThrottledError)


def test_a_page_in_place_of_a_picture_is_no_picture(serve: Callable[..., Any]) -> None:
    page = b"<!doctype html><html><title>Back soon</title></html>"
    error = outcome(serve(lambda v: (v.read_all(), v.answer("200 OK", page, "Content-Type: text/html"))))
    assert isinstance(error, BadAnswerError)
    assert "Back soon" in str(error)


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"])
def test_no_redirect_carries_anything_to_another_place(serve: Callable[..., Any], status: str) -> None:
    elsewhere = serve(good)
    location = f"Location: {elsewhere.url}?k={KEY}"
    server = serve(lambda v: (v.read_all(), v.answer(status, b"", location)))
    error = outcome(server)
    assert isinstance(error, UnknownRefusalError)
    assert f"127.0.0.1:{elsewhere.port}/rmbg" in str(error)
    with Client(KEY, usage_url=server.url) as client, pytest.raises(UnknownRefusalError):
        client.account()
    assert elsewhere.visitors == []


def test_a_hook_that_raises_leaves_the_server_without_the_last_block(serve: Callable[..., Any]) -> None:
    class ChangedError(Exception):
        pass

    seen: list[tuple[int, int]] = []
    done = threading.Event()

    def behave(visitor: Any) -> None:
        length_seen = visitor.swallow()
        seen.append((length_seen, visitor.length()))
        done.set()

    def hook() -> None:
        raise ChangedError

    for image in (PNG, BIG):
        done.clear()
        with Client(KEY, url=serve(behave).url) as client, pytest.raises(ChangedError):
            client.remove_background(image, on_last_byte=hook)
        assert done.wait(5)
    assert len(seen) == 2
    assert all(received < whole for received, whole in seen)


def test_the_hook_runs_when_all_but_the_last_block_was_handed_over(serve: Callable[..., Any]) -> None:
    told: list[Progress] = []
    at_hook: list[Progress] = []
    with Client(KEY, url=serve(good).url) as client:
        client.remove_background(BIG, on_upload=told.append, on_last_byte=lambda: at_hook.append(told[-1]))
    (moment,) = at_hook
    assert told[-1].loaded_bytes - moment.loaded_bytes <= LAST_BYTES + 1024  # the fields and the boundary


def test_nobody_at_the_address(serve: Callable[..., Any]) -> None:
    server = serve(good)
    server.close()
    error = outcome(server)
    assert isinstance(error, UnreachableError)
    assert (error.code, error.charge, error.retryable) == ("connect_failed", Charge.NO, True)
    assert "Connection refused" in str(error)


def test_a_name_that_does_not_exist() -> None:
    with Client(KEY, url="http://nowhere.invalid/rmbg") as client, pytest.raises(UnreachableError) as caught:
        client.remove_background(PNG)
    assert caught.value.code == "connect_failed"


def test_many_threads_share_one_client(serve: Callable[..., Any]) -> None:
    server = serve(good)
    results: list[bytes | None] = []
    with Client(KEY, url=server.url, max_connections=4) as client:
        threads = [
            threading.Thread(target=lambda: results.append(client.remove_background(PNG).content)) for _ in range(16)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
    assert results == [CUT] * 16


def test_no_connection_outlives_the_client_and_one_thread_watches_all_calls(serve: Callable[..., Any]) -> None:
    left = threading.Event()
    server = serve(lambda visitor: (good(visitor), left.set()))
    before = set(threading.enumerate())  # other tests' threads end when they have rested
    with Client(KEY, url=server.url) as client:
        client.remove_background(PNG)
        new = set(threading.enumerate()) - before
        assert len([thread for thread in new if thread.name == "rembg-deadlines"]) <= 1
        assert not left.is_set()
    assert left.wait(5)


def peak_growth(act: Callable[[], object]) -> int:
    """Return by how many bytes Python's memory grew at most during *act*."""
    gc.collect()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        act()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return peak - before


def test_a_45_mb_upload_and_download_cost_no_45_mb(serve: Callable[..., Any], tmp_path: Path) -> None:
    source = tmp_path / "big.png"
    with source.open("wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n")
        file.truncate(45 * MB)
    block = bytes(MB)

    def behave(visitor: Any) -> None:
        visitor.swallow()
        visitor.send(f"HTTP/1.1 200 OK\r\nContent-Length: {45 * MB}\r\n\r\n".encode())
        visitor.send(b"\x89PNG\r\n\x1a\n" + block[8:])
        for _ in range(44):
            visitor.send(block)

    with Client(KEY, url=serve(behave).url) as client:
        growth = peak_growth(lambda: client.remove_background(source, destination=tmp_path / "cut.png"))
    assert (tmp_path / "cut.png").stat().st_size == 45 * MB
    assert growth < 8 * MB  # the server's own buffers are in it


ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: image/webp\r\nContent-Length: 40\r\n\r\n" + CUT[:40]
NASTY = [
    b"",
    b"\r\n",
    b"HTTP/1.1 999 What\r\n\r\n",
    b"HTTP/1.1 42 Low\r\n\r\n",
    b"HTTP/9.9 200 OK\r\n\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef",
    b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999999\r\n\r\n" + CUT[:40],
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000 + b"\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nX: \xff\xfe\x80\r\nContent-Type: \xe9\r\n\r\n" + CUT[:40],
    b"HTTP/1.1 400 \xc3\xa9\r\nContent-Length: 2\r\n\r\n\xff\xff",
    b"HTTP/1.1 302 Found\r\nLocation: \xff\xfe\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 204 No Content\r\n\r\nbut some",
    b"HTTP/1.1 200 OK\r\nContent-Encoding: br, gzip, deflate, nonsense\r\n\r\n" + CUT[:40],
    b"HTTP/1.1 200 OK\nContent-Length: 3\n\nabc",
]


def spoilt(count: int) -> list[bytes]:
    """Return *count* good answers with some bytes changed, left out or doubled."""
    chance = random.Random(20261122)
    answers = []
    for _ in range(count):
        answer = bytearray(ANSWER)
        for _ in range(chance.randint(1, 6)):
            place = chance.randrange(len(answer))
            answer[place : place + chance.randint(0, 3)] = chance.randbytes(chance.randint(0, 4))
        answers.append(bytes(answer))
    return answers


def test_whatever_bytes_come_back_the_client_raises_its_own_errors_only(serve: Callable[..., Any]) -> None:
    answers = [*NASTY, *spoilt(150)]
    server = serve(*[lambda v, answer=answer: (v.read_all(), v.send(answer)) for answer in answers])
    for answer in answers:
        with Client(KEY, url=server.url, timeout_s=5, verify=TRUST) as client:
            try:
                client.remove_background(PNG)
            except RembgError as error:
                assert KEY not in str(error), answer  # noqa: PT017  # either end is right
    assert len(server.visitors) == len(answers)


NAMES = [
    b"Content-Type",
    b"Retry-After",
    b"Location",
    b"X-Request-Id",
    b"Content-Encoding",
    b"Set-Cookie",
    b"Connection",
]
NAMES += [b"X-RateLimit-Remaining", b"Transfer-Encoding", b"Content-Length", b"Upgrade"]
VALUES = [b"0", b"-1", b"1e400", b"9" * 400, b"text/html; charset=nonsense", b"application/json", b"gzip", b"br, zstd"]
VALUES += [b"close", b"keep-alive", b"Sun, 31 Dec 9999 23:59:59 -2359", b"//x", b"http://[", b"", KEY.encode()]
WORDS = ["too quickly", "invalid api key", "'w' must be an integer, got: '\ud800'", KEY, "\0", "x" * 999, ""]
no_end = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(WORDS) | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ["error", "errors", "details", "detail", "field", "message", "billingCycle", "billingCycles"]
            )
            | st.sampled_from(["credits", "membership", "periodStartUnix", "periodEndUnix", "apiUsage", "loc"]),
            inner,
            max_size=5,
        )
    ),
    max_leaves=12,
)
bodies = (
    st.binary(max_size=200)
    | st.sampled_from([CUT[:40], b"<html><title>502</title>", b"\xef\xbb\xbf{}", b"[" * 2000, b"\x1f\x8b\x08garbage"])
    | no_end.map(lambda data: json.dumps(data).encode())
)


def framed(body: bytes, how: str) -> bytes:
    """Say where *body* ends, in one way or another, and not always truly."""
    lengths = {"true": len(body), "too long": len(body) + 7, "too short": max(0, len(body) - 3)}
    if how in lengths:
        return b"Content-Length: %d\r\n\r\n" % lengths[how] + body
    chunk = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
    chunked = b"Transfer-Encoding: chunked\r\n\r\n" + chunk
    return {"chunked": chunked + b"0\r\n\r\n", "unended": chunked}.get(how, b"\r\n" + body)


@pytest.fixture
def answered(serve: Callable[..., Any]) -> Iterator[Callable[[bytes], Client]]:
    """Give a client of a server that hears everything and says what it is told to."""
    says = [b""]
    server = serve(lambda visitor: (visitor.read_all(), visitor.send(says[0])))
    with Client(KEY, url=server.url, usage_url=server.url, timeout_s=5) as client:

        def by(answer: bytes) -> Client:
            says[0] = answer
            return client

        yield by


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    start=st.sampled_from([b"HTTP/1.1", b"HTTP/1.1", b"HTTP/1.0", b"ICY"]),
    status=st.sampled_from([200, 200, 204, 302, 400, 401, 403, 404, 413, 422, 429, 500, 502, 503])
    | st.integers(100, 999),
    headers=st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from(VALUES) | st.binary(max_size=20)), max_size=4),
    body=bodies,
    how=st.sampled_from(["true", "true", "too long", "too short", "chunked", "unended", "to the end"]),
    part=st.floats(0, 3),
)
def test_no_headers_and_no_body_make_the_client_raise_anything_foreign(
    answered: Callable[[bytes], Client],
    start: bytes,
    status: int,
    headers: list[tuple[bytes, bytes]],
    body: bytes,
    how: str,
    part: float,
) -> None:
    """Whatever is said after the picture has left whole, a credit counts as safe only after a refusal."""
    lines = b"".join(name + b": " + value + b"\r\n" for name, value in headers)
    answer = start + b" %d Words\r\n" % status + lines + framed(body, how)
    client = answered(answer[: int(len(answer) * part)])
    errors = [outcome_of(lambda: client.remove_background(PNG)), outcome_of(client.account)]
    errors.append(outcome_of(client.billing_cycles))
    assert isinstance(errors[0], RefusedError | ServerError | InDoubtError | None)
    assert all(error is None or error.charge is Charge.NO for error in errors[1:])
    assert KEY not in "".join(f"{error}{vars(error)}" for error in errors if error)


def outcome_of(ask: Callable[[], object]) -> RembgError | None:
    try:
        ask()
    except RembgError as error:
        return error
    return None


# --- proxies and certificates


def test_an_http_proxy_of_the_environment_is_used(serve: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    proxy = serve(good)
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{proxy.port}")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    with Client(KEY, url="http://api.invalid/rmbg") as client:
        assert client.remove_background(PNG).content == CUT
    assert proxy.visitors[0].head.startswith(b"POST http://api.invalid/rmbg HTTP/1.1")


def test_a_proxy_that_is_given_is_used_and_its_password_is_not_told(serve: Callable[..., Any]) -> None:
    proxy = serve(lambda v: (v.read_head(), v.answer("407 Proxy Authentication Required", b"")))
    with (
        Client(KEY, url="https://api.invalid/rmbg", proxy=f"http://user:geheim@127.0.0.1:{proxy.port}") as client,
        pytest.raises(UnreachableError) as caught,
    ):
        client.remove_background(PNG)
    assert proxy.visitors[0].head.startswith(b"CONNECT api.invalid:443")
    assert KEY.encode() not in proxy.visitors[0].head
    assert caught.value.code == "proxy_failed"
    assert "geheim" not in str(caught.value)


def test_a_certificate_that_nobody_vouches_for_is_not_trusted(serve_tls: Callable[..., Any]) -> None:
    server = serve_tls(good)
    error = outcome(server)
    assert isinstance(error, UnreachableError)
    assert error.code == "connect_failed"
    assert "certificate" in str(error).lower()
    assert server.visitors[0].head == b""


def test_an_own_ca_may_come_by_setting_or_by_environment(
    serve_tls: Callable[..., Any], certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve_tls(good)
    for verify in (certificate[0], str(certificate[0]), ssl.create_default_context(cafile=certificate[0]), False):
        with Client(KEY, url=server.url, verify=verify) as client:
            assert client.remove_background(PNG).content == CUT
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    with Client(KEY, url=server.url) as client:
        assert client.remove_background(PNG).content == CUT


def test_own_cas_may_be_a_folder_as_openssl_arranges_it(
    serve_tls: Callable[..., Any], certificate: tuple[Path, Path], tmp_path: Path
) -> None:
    asked = ["openssl", "x509", "-hash", "-noout", "-in", str(certificate[0])]
    name = subprocess.run(asked, check=True, capture_output=True, text=True, timeout=30).stdout.strip()
    (tmp_path / f"{name}.0").write_bytes(certificate[0].read_bytes())
    with Client(KEY, url=serve_tls(good).url, verify=tmp_path) as client:
        assert client.remove_background(PNG).content == CUT


def test_a_proxy_between_sees_no_key_and_no_picture(
    serve: Callable[..., Any], certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    seen = []

    def tunnel(visitor: Any) -> None:
        seen.append(visitor.read_head() + visitor.body)
        visitor.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
        visitor.connection, visitor.head = context.wrap_socket(visitor.connection, server_side=True), b""
        good(visitor)

    proxy = serve(tunnel)
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    with Client(KEY, url="https://localhost:444/rmbg") as client:
        assert client.remove_background(PNG).content == CUT
        assert client.remove_background(PNG).content == CUT
    assert len(proxy.visitors) == 1, "a tunnel is kept like any connection"
    assert seen[0].startswith(b"CONNECT localhost:444 HTTP/1.1")
    assert KEY.encode() not in seen[0]
    assert KEY.encode() in proxy.visitors[0].head


@pytest.mark.parametrize(
    ("behave", "image", "kind"),
    [
        pytest.param(lambda v: (v.read_head(), v.read_body(100_000)), BIG, UnreachableError, id="lost in mid-body"),
        pytest.param(lambda v: v.read_all(), PNG, NoAnswerError, id="lost after the body"),
        pytest.param(lambda v: (v.read_all(), v.stall()), PNG, NoAnswerError, id="silence"),
        pytest.param(
            lambda v: (v.read_all(), v.answer("200 OK", CUT[:20], stated=9999), v.drip(CUT[:1000])),
            PNG,
            NoAnswerError,
            id="a body that drips",
        ),
    ],
)
def test_tls_breaks_in_the_same_ways(
    serve_tls: Callable[..., Any],
    certificate: tuple[Path, Path],
    behave: Callable[[Any], object],
    image: bytes,
    kind: type[RembgError],
) -> None:
    server = serve_tls(behave)
    with (
        Client(KEY, url=server.url, verify=certificate[0], timeout_s=0.5) as client,
        within(18),
        pytest.raises(kind) as caught,
    ):
        again_if(did_not_leave, lambda: client.remove_background(image))
    assert caught.value.charge is (Charge.MAYBE if kind is NoAnswerError else Charge.NO)


def test_file_descriptors_do_not_leak(serve: Callable[..., Any]) -> None:
    server = serve(lambda v: (v.read_head(), v.read_body(1000), v.reset()))
    with Client(KEY, url=server.url) as client:
        before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208  # Path.iterdir would hold one more
        for _ in range(20):
            with pytest.raises(RembgError):
                client.remove_background(BIG)
        gc.collect()
        after = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    assert after <= before + 1  # the server's last thread may still be closing


@pytest.mark.parametrize("serve_fixture", ["serve", "serve_tls"])
@pytest.mark.parametrize("image", [BIG, BIG[:100]], ids=["picture", "tiny"])
def test_all_but_the_last_block_is_with_the_server_when_it_is_let_go(
    request: pytest.FixtureRequest, serve_fixture: str, image: bytes
) -> None:
    """Also the head of a request that has no block before its last."""
    seen: list[int] = []

    def look(visitor: Any) -> None:
        visitor.read_head()
        seen.append(len(visitor.head))
        visitor.read_body()
        visitor.answer("200 OK", CUT)

    server = request.getfixturevalue(serve_fixture)(look)

    def last_byte() -> None:
        ends_at_s = time.monotonic() + 5
        while not seen and time.monotonic() < ends_at_s:
            time.sleep(0.01)
        assert seen, "the head has not come"

    with Client(KEY, url=server.url, verify=False, timeout_s=20) as client:
        assert client.remove_background(image, filename="a.png", on_last_byte=last_byte).content == CUT
