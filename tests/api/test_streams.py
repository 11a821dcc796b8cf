"""The bytes of a call between httpcore and the socket: what leaves together, and when a wait ends."""

import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import httpcore
import httpx
import pytest

from rembg_watch import Client
from rembg_watch.api.streams import Stream, Trace, use_few_calls

KEY = "k-0123456789abcdef"
PNG = b"\x89PNG\r\n\x1a\n" + bytes(300_000)
TINY = PNG[:100]
CUT = b"RIFF\x10\x0a\x20\x00WEBPVP8 " + bytes(10_000)
HEAD = b"POST / HTTP/1.1\r\n\r\n"


def untold(event: str, info: Mapping[str, Any]) -> None:
    pass


class Plain(httpcore.NetworkStream):
    """A connected socket, as httpcore gives it out."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection

    def get_extra_info(self, info: str) -> Any:
        return {"socket": self.connection, "is_readable": "its own look"}.get(info)

    def close(self) -> None:
        self.connection.close()


@pytest.fixture
def pair() -> Iterator[tuple[Stream, socket.socket]]:
    ours, theirs = socket.socketpair()
    theirs.settimeout(5)
    with ours, theirs:
        yield Stream(Plain(ours), untold), theirs


def come(theirs: socket.socket) -> bytes:
    theirs.setblocking(False)
    try:
        return theirs.recv(1 << 20)
    except BlockingIOError:
        return b""


def test_the_head_of_a_request_leaves_with_its_first_block(pair: tuple[Stream, socket.socket]) -> None:
    stream, theirs = pair
    stream.write(HEAD, 5)
    assert come(theirs) == b""
    stream.write(b"block", 5)
    assert come(theirs) == HEAD + b"block"
    stream.write(b"next", 5)
    assert come(theirs) == b"next"


@pytest.mark.parametrize("end", [lambda stream: stream.write(b"", 5), lambda stream: stream.read(100, 5)])
def test_the_head_of_a_request_without_a_body_leaves_at_its_end(
    pair: tuple[Stream, socket.socket], end: Callable[[Stream], object]
) -> None:
    stream, theirs = pair
    theirs.send(b"answer")
    stream.write(HEAD, 5)
    end(stream)
    assert come(theirs) == HEAD


def test_after_an_answer_the_next_head_waits_again(pair: tuple[Stream, socket.socket]) -> None:
    stream, theirs = pair
    for _ in range(3):
        stream.write(HEAD, 5)
        assert come(theirs) == b""
        stream.write(b"block", 5)
        assert come(theirs) == HEAD + b"block"
        theirs.send(b"answer")
        assert stream.read(100, 5) == b"answer"


def test_what_does_not_go_at_once_goes_whole(pair: tuple[Stream, socket.socket]) -> None:
    stream, theirs = pair
    stream.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)  # type: ignore[attr-defined]
    much = bytes(range(256)) * 8000
    got = bytearray()

    def swallow() -> None:
        while len(got) < len(HEAD + much):
            got.extend(theirs.recv(5000))

    reader = threading.Thread(target=swallow)
    reader.start()
    stream.write(HEAD, 5)
    stream.write(much, 5)
    reader.join(10)
    assert bytes(got) == HEAD + much


@pytest.mark.parametrize("timeout_s", [0.2, 1e-9])
def test_silence_ends_a_wait_in_both_directions(pair: tuple[Stream, socket.socket], timeout_s: float) -> None:
    stream, theirs = pair
    began_s = time.monotonic()
    with pytest.raises(httpcore.ReadTimeout):
        stream.read(100, timeout_s)
    theirs.send(b"late")
    assert stream.read(100, timeout_s) == b"late", "a wait that was too long breaks nothing"
    stream.write(HEAD, timeout_s)
    with pytest.raises(httpcore.WriteTimeout):
        stream.write(bytes(20_000_000), timeout_s)
    assert timeout_s <= time.monotonic() - began_s < 15


def test_a_time_out_can_be_changed_and_taken_away(pair: tuple[Stream, socket.socket]) -> None:
    stream, theirs = pair
    with pytest.raises(httpcore.ReadTimeout):
        stream.read(100, 0.05)
    sender = threading.Timer(0.3, theirs.send, [b"late"])
    sender.start()
    assert stream.read(100, None) == b"late"
    with pytest.raises(httpcore.ReadTimeout):
        stream.read(100, 0.05)


def test_a_broken_connection_is_an_error_of_httpcore(pair: tuple[Stream, socket.socket]) -> None:
    stream, theirs = pair
    theirs.close()
    stream.write(HEAD, 5)
    with pytest.raises(httpcore.WriteError):
        stream.write(b"block", 5)
    assert stream.read(100, 5) == b""
    stream.close()
    with pytest.raises(httpcore.ReadError):
        stream.read(100, 5)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere Python minds the time-out")
def test_the_kernel_minds_the_time_out(pair: tuple[Stream, socket.socket]) -> None:
    """With a time-out of Python's, each block would cost a poll."""
    stream, theirs = pair
    ours: Any = stream.get_extra_info("socket")
    theirs.send(b"answer")
    stream.read(100, 5)
    assert ours.gettimeout() is None
    assert ours.getsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, 16)[:8] == (5).to_bytes(8, sys.byteorder)


@pytest.mark.parametrize("proxy", [None, "http://127.0.0.1:9", "http://user:word@127.0.0.1:9"])
def test_httpx_still_has_the_way_to_its_connections(proxy: str | None) -> None:
    """If this fails with a new version of httpx or httpcore, all works and costs more; find the new way."""
    with httpx.Client(proxy=proxy) as http:
        assert use_few_calls(http, untold)


def test_a_client_without_that_way_is_left_as_it_is() -> None:
    with httpx.Client(transport=httpx.MockTransport(lambda _: httpx.Response(200))) as http:
        assert not use_few_calls(http, untold)
        assert http.get("http://api.invalid").status_code == 200


def test_proxies_of_the_environment_take_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "localhost")
    with httpx.Client() as http:
        assert use_few_calls(http, untold)


@pytest.mark.parametrize("serve_fixture", ["serve", "serve_tls"])
def test_each_new_connection_is_told_of_with_its_socket(request: pytest.FixtureRequest, serve_fixture: str) -> None:
    """As httpcore's own trace would: on these words hangs which socket a deadline cuts."""
    ours: list[tuple[str, Any]] = []
    theirs: list[tuple[str, Any]] = []

    def trace_into(told: list[tuple[str, Any]]) -> Trace:
        def trace(event: str, info: Mapping[str, Any]) -> None:
            step = event.removeprefix("connection.")
            if step in {"connect_tcp.started", "connect_tcp.complete", "start_tls.complete"}:
                stream = info.get("return_value")
                told.append((step, type(stream and stream.get_extra_info("socket")).__name__))

        return trace

    server = request.getfixturevalue(serve_fixture)(lambda v: (v.read_all(), v.answer("200 OK", CUT)))
    with httpx.Client(verify=False) as http:
        http.get(server.url, extensions={"trace": trace_into(theirs)})
    with httpx.Client(verify=False) as http:
        assert use_few_calls(http, trace_into(ours))
        http.get(server.url)
    assert ours == theirs
    assert len(ours) == (3 if serve_fixture == "serve_tls" else 2)


@pytest.mark.parametrize("serve_fixture", ["serve", "serve_tls"])
@pytest.mark.parametrize("image", [PNG, TINY], ids=["picture", "tiny"])
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
