"""Kept connections against a server of bare sockets: when one is used again, and every way in which it can die."""

import os
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from rembg_watch import Client
from rembg_watch.api import client as client_module
from rembg_watch.api import connections as connections_module
from rembg_watch.api.connections import KEPT_S, Connection, Connections, has_more
from rembg_watch.api.deadline import Deadline
from rembg_watch.api.errors import (
    Charge,
    NoAnswerError,
    PictureRefusedError,
    RembgError,
    ThrottledError,
    UnreachableError,
)
from tests.api.patience import again_if, end_of, is_too_slow

KEY = "k-0123456789abcdef"
PNG = b"\x89PNG\r\n\x1a\n" + bytes(5000)
BIG = b"\x89PNG\r\n\x1a\n" + bytes(8_000_000)
CUT = b"RIFF\x10\x0a\x20\x00WEBPVP8 " + bytes(10_000)
OTHER = b"RIFF\x10\x0a\x20\x00WEBPVP8 " + b"\x01" * 10_000
TOO_LARGE = b"<html><head><title>413 Request Entity Too Large</title></head></html>"
TOO_FAST = b'{"error": "You\'re making requests too quickly, Please Upgrade or slow down.", "status": 429}'
Behaviour = Callable[[Any], object]


def answer_one(visitor: Any, body: bytes = CUT) -> None:
    """Answer one request, and leave open whether there will be another."""
    assert visitor.next_request()
    visitor.read_body()
    visitor.answer("200 OK", body, is_last=False)


def good(visitor: Any) -> None:
    while visitor.next_request():
        visitor.read_body()
        visitor.answer("200 OK", CUT, is_last=False)


def once_and_then(behave: Behaviour) -> Behaviour:
    """Serve the first request well, and treat the second over the same connection as told."""

    def both(visitor: Any) -> None:
        answer_one(visitor)
        if visitor.next_request():
            behave(visitor)

    return both


class Caller:
    """One client and how often it let a last byte go."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.let_go = 0

    def __call__(self, image: Any = PNG) -> bytes | None:
        return self.client.remove_background(image, on_last_byte=self._lets_go).content

    def _lets_go(self) -> None:
        self.let_go += 1


def keep(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Let connections be kept for so long without a call."""
    for module in (client_module, connections_module):
        monkeypatch.setattr(module, "KEPT_S", seconds)


@pytest.fixture(autouse=True)
def none_grows_old(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a machine that stands still, more than ``KEPT_S`` may pass between two lines of a test."""
    keep(monkeypatch, 600.0)


@pytest.fixture
def call_of(serve: Callable[..., Any]) -> Any:
    """Give a caller of a server with the given behaviours, one for each connection."""
    clients: list[Client] = []

    def start(*behaviours: Behaviour, timeout_s: float = 5.0, **settings: Any) -> tuple[Caller, Any]:
        server = serve(*behaviours)
        clients.append(Client(KEY, url=server.url, usage_url=server.url, timeout_s=timeout_s, **settings))
        return Caller(clients[-1]), server

    yield start
    for client in clients:
        client.close()


# --- used again


def test_one_worker_has_one_connection(call_of: Any) -> None:
    call, server = call_of(good)
    assert [call() for _ in range(20)] == [CUT] * 20
    assert len(server.visitors) == 1


def test_workers_have_a_connection_each_at_most(call_of: Any) -> None:
    call, server = call_of(good)
    answers: list[bytes | None] = []
    workers = [threading.Thread(target=lambda: answers.extend([call() for _ in range(10)])) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(20)
    assert answers == [CUT] * 40
    assert 1 <= len(server.visitors) <= 4


def test_hands_are_shaken_once_for_many_pictures(serve_tls: Callable[..., Any], certificate: tuple[Path, Path]) -> None:
    server = serve_tls(good)
    with Client(KEY, url=server.url, verify=certificate[0]) as client:
        assert [client.remove_background(PNG).content for _ in range(5)] == [CUT] * 5
    assert len(server.visitors) == 1


def test_a_server_that_says_that_it_closes_is_believed(call_of: Any) -> None:
    def polite(visitor: Any) -> None:
        visitor.read_all()
        visitor.answer("200 OK", CUT)

    call, server = call_of(polite, good)
    assert [call() for _ in range(4)] == [CUT] * 4
    assert len(server.visitors) == 2, "no reason to be wary"
    assert call.let_go == 4


def test_an_answer_that_nobody_read_to_its_end_ends_the_connection(call_of: Any) -> None:
    class EnoughError(Exception):
        pass

    def enough(_: object) -> None:
        raise EnoughError

    long = CUT + bytes(2_000_000)
    call, server = call_of(lambda v: (answer_one(v, long), v.next_request()), good)
    with pytest.raises(EnoughError):
        call.client.remove_background(PNG, on_download=enough)
    assert call() == CUT
    assert len(server.visitors) == 2


def test_a_refusal_that_was_read_keeps_the_connection(call_of: Any) -> None:
    def refusing(visitor: Any) -> None:
        visitor.read_all()
        visitor.answer("429 Too Many Requests", TOO_FAST, is_last=False)
        good(visitor)

    call, server = call_of(refusing)
    with pytest.raises(ThrottledError):
        call()
    assert call() == CUT
    assert len(server.visitors) == 1


def test_a_picture_that_cannot_be_sent_twice_goes_over_a_new_connection(call_of: Any, tmp_path: Path) -> None:
    class OneWay:
        """A regular file whose place cannot be changed."""

        def __init__(self, file: Any) -> None:
            self.read = file.read
            self.fileno = file.fileno
            self.name = "a.png"

    call, server = call_of(good)
    path = tmp_path / "a.png"
    path.write_bytes(PNG)
    assert call() == CUT
    with path.open("rb") as file:
        assert call(OneWay(file)) == CUT
    assert len(server.visitors) == 2


def test_the_account_is_read_over_a_connection_of_its_own(call_of: Any) -> None:
    def account(visitor: Any) -> None:
        visitor.read_all()
        visitor.answer(
            "200 OK", b'{"credits": 5, "membership": "P", "prepaidCredits": 0, "app_usage": 0, "api_usage": 0}'
        )

    call, server = call_of(good, account, account)
    call()
    call.client.account()
    call.client.account()
    call()
    assert [b"connection: close" in visitor.head.lower() for visitor in server.visitors] == [False, True, True]


# --- dead before the next picture


def test_a_server_that_hangs_up_after_each_answer_is_found_out_before_it_costs_anything(call_of: Any) -> None:
    hung_up = threading.Semaphore(0)

    def sneaky(visitor: Any) -> None:
        answer_one(visitor)
        visitor.connection.close()
        hung_up.release()

    call, server = call_of(sneaky)
    for _ in range(5):
        assert call() == CUT
        assert hung_up.acquire(timeout=5)
    assert call.let_go == 5
    assert len(server.visitors) == 5


def test_a_server_that_hung_up_without_a_word_gets_new_connections_for_a_while(call_of: Any) -> None:
    hung_up = threading.Event()
    call, server = call_of(lambda v: (answer_one(v), v.connection.close(), hung_up.set()), good)
    call()
    assert hung_up.wait(5)
    assert [call() for _ in range(3)] == [CUT] * 3
    assert len(server.visitors) == 4


def test_a_server_that_hangs_up_without_a_word_puts_at_most_one_picture_in_doubt(call_of: Any) -> None:
    """Who is faster than the news cannot know; but then no connection is kept for a while."""
    call, server = call_of(answer_one)
    doubts = unsent = 0
    for _ in range(30):
        try:
            assert call() == CUT
        except NoAnswerError:
            doubts += 1
        except UnreachableError as just_in_time:  # the news came between the two looks at the last byte
            unsent += just_in_time.charge is Charge.NO
    assert doubts + unsent <= 1
    assert len(server.visitors) == 30 - doubts - unsent


@pytest.mark.parametrize(
    "leave",
    [
        pytest.param(lambda v: v.reset(), id="reset at the head"),
        pytest.param(lambda v: v.connection.close(), id="closed at the head"),
        pytest.param(lambda v: (v.read_body(100_000), v.reset()), id="reset in mid-body"),
        pytest.param(lambda v: (v.half_close(), v.swallow()), id="half closed"),
        pytest.param(lambda v: (v.answer("408 Request Timeout", b""), v.swallow()), id="tired of waiting"),
        pytest.param(lambda v: (v.answer("200 OK", OTHER), v.swallow()), id="an answer to nothing"),
        pytest.param(lambda v: (v.send(b"what?"), v.swallow()), id="noise"),
    ],
)
@pytest.mark.parametrize("is_path", [True, False], ids=["a file", "bytes"])
def test_a_kept_connection_that_is_left_in_mid_body_is_no_news(
    call_of: Any, leave: Behaviour, is_path: bool, tmp_path: Path
) -> None:
    path = tmp_path / "big.png"
    path.write_bytes(BIG)
    call, server = call_of(once_and_then(leave), good)
    assert call() == CUT
    assert call(path if is_path else BIG) == CUT
    assert call.let_go == 2, "once for each picture"
    first, second = server.visitors
    assert len(first.body) < first.length()
    assert len(second.body) == second.length()
    assert BIG in second.body


def test_what_is_lost_twice_is_lost(call_of: Any) -> None:
    call, server = call_of(once_and_then(lambda v: v.reset()), lambda v: (v.read_head(), v.reset()))
    call()
    with pytest.raises(UnreachableError) as caught:
        call(BIG)
    assert caught.value.charge is Charge.NO
    assert call.let_go == 1
    assert len(server.visitors) == 2


def test_nobody_at_the_address_any_more_is_said_as_always(call_of: Any) -> None:
    hung_up = threading.Event()
    call, server = call_of(lambda v: (answer_one(v), v.connection.close(), hung_up.set()))
    call()
    assert hung_up.wait(5)
    server.close()
    with pytest.raises(UnreachableError) as caught:
        call()
    assert (caught.value.code, caught.value.charge) == ("connect_failed", Charge.NO)


def test_a_callback_that_raises_is_not_mistaken_for_a_loss(call_of: Any) -> None:
    call, server = call_of(good)
    call()

    def refuse(_: object) -> None:
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        call.client.remove_background(PNG, on_upload=refuse)
    assert len(server.visitors) == 1


# --- left while the last byte is in hand


@pytest.mark.parametrize("calls_before", [0, 1], ids=["a new connection", "a kept connection"])
@pytest.mark.parametrize("how", ["half_close", "reset"])
def test_who_hangs_up_before_the_last_byte_gets_none_and_nothing_was_charged(
    call_of: Any, calls_before: int, how: str
) -> None:
    left, in_hand, seen = threading.Event(), threading.Event(), []

    def leaving(visitor: Any) -> None:
        for _ in range(calls_before):
            answer_one(visitor)
        visitor.next_request()
        assert in_hand.wait(5)
        getattr(visitor, how)()
        left.set()
        seen.append((visitor.swallow(), visitor.length()))

    def last_byte() -> None:
        in_hand.set()
        assert left.wait(5)

    call, server = call_of(leaving, good)
    for _ in range(calls_before):
        call()
    with pytest.raises(UnreachableError) as caught:
        call.client.remove_background(PNG, on_last_byte=last_byte)
    assert (caught.value.charge, caught.value.retryable) == (Charge.NO, True)
    assert len(server.visitors) == 1, "never silently again once the last byte was let go"
    if how == "half_close":
        call.client.close()
        server.close()
        ((received, whole),) = seen
        assert received < whole


def test_a_loss_after_the_last_byte_is_a_doubt_and_never_sent_again(call_of: Any) -> None:
    call, server = call_of(once_and_then(lambda v: v.read_body()), good)
    call()
    with pytest.raises(NoAnswerError) as caught:
        call()
    assert caught.value.charge is Charge.MAYBE
    assert call.let_go == 2
    assert len(server.visitors) == 1
    assert len(server.visitors[0].body) == server.visitors[0].length()


# --- answers that come early, or twice


@pytest.mark.parametrize("is_last", [True, False], ids=["closes", "goes on reading"])
@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [("413 Payload Too Large", TOO_LARGE, PictureRefusedError), ("429 Too Many Requests", TOO_FAST, ThrottledError)],
)
def test_a_refusal_that_comes_early_over_a_kept_connection_is_told(
    call_of: Any, is_last: bool, status: str, body: bytes, kind: type[RembgError]
) -> None:
    def refuse(visitor: Any) -> None:
        visitor.read_body(50_000)
        visitor.answer(status, body, is_last=is_last)
        if is_last:
            visitor.half_close()
        visitor.swallow()

    call, server = call_of(once_and_then(refuse), good)
    call()
    with pytest.raises(kind) as caught:
        call(BIG)
    assert caught.value.charge is Charge.NO
    assert call.let_go == 1, "no intent to pay for what is refused already"
    assert [call(), call()] == [CUT] * 2
    assert len(server.visitors) == 2, "no reason to be wary"


@pytest.mark.parametrize(
    "more",
    [
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(OTHER) + OTHER, id="another answer"),
        pytest.param(b"\r\n", id="an empty line"),
        pytest.param(b"x", id="noise"),
    ],
)
def test_what_comes_after_the_end_of_an_answer_is_nobodys_answer(call_of: Any, more: bytes) -> None:
    def babbling(visitor: Any) -> None:
        visitor.read_all()
        visitor.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(CUT) + CUT + more)
        if visitor.next_request():
            visitor.read_body()
            visitor.stall()

    call, server = call_of(babbling, good)
    assert call() == CUT
    assert call() == CUT
    assert call.let_go == 2
    assert len(server.visitors) == 2


def test_an_answer_in_which_the_parser_cannot_be_found_counts_as_one_with_more() -> None:
    assert has_more(httpx.Response(200, content=b"x"))


# --- time


@pytest.mark.parametrize(
    "dawdle",
    [
        pytest.param(lambda v: (v.read_body(), v.stall()), id="silence"),
        pytest.param(lambda v: (v.read_body(), v.drip(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100)), id="drips"),
    ],
)
def test_a_server_that_dawdles_over_a_kept_connection_is_cut_too(call_of: Any, dawdle: Behaviour) -> None:
    def ask() -> NoAnswerError:
        call, _ = call_of(once_and_then(dawdle), timeout_s=0.4)
        call()
        with pytest.raises(NoAnswerError) as caught:
            call()
        return caught.value

    code = again_if(is_too_slow, ask).code
    assert code in {"answer_timeout", "deadline_passed"}, "it would be another if the server had to end it"


def test_a_kept_connection_that_does_not_read_is_cut_and_not_tried_again(call_of: Any) -> None:
    def ask() -> tuple[UnreachableError, Any]:
        call, server = call_of(once_and_then(lambda v: v.stall()), good, timeout_s=0.4)
        call()
        with pytest.raises(UnreachableError) as caught:
            call(BIG * 2)
        return caught.value, server

    error, server = again_if(is_too_slow, ask)
    assert error.code in {"upload_timeout", "deadline_passed"}
    assert error.charge is Charge.NO
    assert len(server.visitors) == 1


def test_the_end_of_one_call_does_not_cut_the_next_over_its_connection(call_of: Any) -> None:
    def slow(visitor: Any) -> None:
        while visitor.next_request():
            visitor.read_body()
            visitor.released.wait(0.12)
            visitor.answer("200 OK", CUT, is_last=False)

    def ask() -> Any:
        call, server = call_of(slow, timeout_s=0.3)
        assert [call() for _ in range(6)] == [CUT] * 6
        return server

    assert len(again_if(is_too_slow, ask).visitors) == 1


def test_a_connection_that_nobody_needs_is_closed_in_time(call_of: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other side learns of it without any further call, and the next call has a new one."""
    keep(monkeypatch, KEPT_S)
    ended_at_s: list[float] = []
    ended = threading.Event()
    call, server = call_of(lambda v: (good(v), ended_at_s.append(time.monotonic()), ended.set()), good)
    call()
    connections = call.client._connections
    idle_since_s = connections._idle[-1].idle_since_s
    assert connections.ends_at_s == idle_since_s + KEPT_S
    assert ended.wait(20)
    assert ended_at_s[0] >= idle_since_s + KEPT_S
    keep(monkeypatch, 600.0)
    assert [call(), call()] == [CUT] * 2
    assert len(server.visitors) == 2, "no reason to be wary"


# --- the stack


class Opened:
    """Stands for a client with its one connection."""

    def __init__(self) -> None:
        self.is_closed = False

    def close(self) -> None:
        self.is_closed = True


@pytest.fixture
def opened() -> list[Opened]:
    return []


def stack(opened: list[Opened], most: int) -> Connections:
    def more() -> Connection:
        opened.append(Opened())
        return Connection(opened[-1])  # type: ignore[arg-type]

    return Connections(more, most)


def taken(connections: Connections) -> Connection:
    connection = connections.take(0)
    assert connection is not None
    return connection


def test_no_more_are_on_their_way_than_may_be(opened: list[Opened]) -> None:
    connections = stack(opened, 2)
    first, _ = taken(connections), taken(connections)
    assert connections.take(0.01) is None
    connections.put_back(first)
    assert taken(connections) is first
    assert len(opened) == 2


def test_what_could_not_be_opened_takes_no_place() -> None:
    def fail() -> Any:
        raise OSError("no more files")

    connections = Connections(fail, 1)
    for _ in range(3):
        with pytest.raises(OSError, match="no more files"):
            connections.take(0.01)


def test_what_is_put_back_after_the_end_is_closed_too(opened: list[Opened]) -> None:
    connections = stack(opened, 2)
    away, back = taken(connections), taken(connections)
    connections.put_back(back)
    connections.close()
    assert [one.is_closed for one in opened] == [False, True]
    connections.put_back(away)
    assert [one.is_closed for one in opened] == [True, True]
    for _ in range(3):
        with pytest.raises(RuntimeError, match="closed"):
            connections.take(0.01)


def test_a_wait_for_a_free_connection_ends(serve: Callable[..., Any]) -> None:
    """While another call has its last byte in hand, which may take as long as it likes."""
    waits: list[RembgError] = []

    def last_byte() -> None:
        with pytest.raises(UnreachableError) as caught:
            client.remove_background(PNG)
        waits.append(caught.value)

    def ask() -> bytes | None:
        return client.remove_background(PNG, on_last_byte=last_byte).content

    with Client(KEY, url=serve(good).url, timeout_s=0.5, max_connections=1) as client:
        assert again_if(is_too_slow, ask) == CUT
    assert {(error.code, error.charge) for error in waits} == {("no_free_connection", Charge.NO)}
    assert "127.0.0.1" in str(waits[0])


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_child_process_has_connections_of_its_own(call_of: Any) -> None:
    call, server = call_of(good)
    call()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            status = 0 if call() == CUT else 2
        finally:
            os._exit(status)
    assert end_of(child) == 0
    assert call() == CUT
    assert len(server.visitors) == 2


# --- what httpx tells of sockets


class Stream:
    """What httpx tells of a new connection."""

    def __init__(self, connection: object) -> None:
        self._connection = connection

    def get_extra_info(self, name: str) -> object:
        return self._connection if name == "socket" else None


def test_what_has_no_socket_is_left_alone() -> None:
    connection = Connection(Opened())  # type: ignore[arg-type]
    with Deadline(60) as deadline:
        connection.begin(deadline)
        connection.trace("connection.connect_tcp.started", {})
        connection.trace("connection.start_tls.complete", {"return_value": Stream(None)})
        assert not connection.stands
        assert not connection.stops_if_left()
        connection.end()
        assert deadline.is_met()


def test_a_connection_is_not_cut_for_a_call_that_it_has_served() -> None:
    ours, theirs = socket.socketpair()
    connection = Connection(Opened())  # type: ignore[arg-type]
    with ours, theirs, Deadline(60) as deadline:
        connection.begin(deadline)
        connection.trace("connection.connect_tcp.complete", {"return_value": Stream(ours)})
        connection.end()
        deadline.ends_at_s = time.monotonic()
        until_s = time.monotonic() + 20
        while not deadline.is_passed and time.monotonic() < until_s:
            threading.Event().wait(0.001)
        assert deadline.is_passed
        theirs.send(b"x")
        ours.settimeout(5)
        assert ours.recv(1) == b"x"


def test_the_send_buffer_is_made_small() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        before = ours.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
        connection = Connection(Opened())  # type: ignore[arg-type]
        connection.trace("connection.connect_tcp.complete", {"return_value": Stream(ours)})
        assert ours.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) < before


# --- TLS


@pytest.mark.parametrize(
    ("leave", "is_sent_again"),
    [
        pytest.param(lambda v: v.connection.close(), True, id="closed"),
        pytest.param(lambda v: v.reset(), True, id="reset"),
        pytest.param(lambda v: (v.half_close(), v.swallow()), True, id="half closed"),
        pytest.param(
            lambda v: (v.answer("413 Too Large", TOO_LARGE), v.half_close(), v.swallow()), False, id="a refusal, early"
        ),
    ],
)
def test_a_kept_connection_of_tls_is_left_in_the_same_ways(
    serve_tls: Callable[..., Any], certificate: tuple[Path, Path], leave: Behaviour, is_sent_again: bool
) -> None:
    visits: list[object] = []

    def behave(visitor: Any) -> None:
        visits.append(visitor)
        (once_and_then(leave) if len(visits) == 1 else good)(visitor)

    server = serve_tls(behave)
    with Client(KEY, url=server.url, verify=certificate[0], timeout_s=5) as client:
        call = Caller(client)
        assert call() == CUT
        if is_sent_again:
            assert call(BIG) == CUT
        else:
            with pytest.raises(PictureRefusedError) as caught:
                call(BIG)
            assert caught.value.charge is Charge.NO
        assert call.let_go == 1 + is_sent_again
        assert len(visits) == 1 + is_sent_again
