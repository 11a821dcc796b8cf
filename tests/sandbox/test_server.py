"""The sandbox on loopback: real connections, broken for real, many at once and large."""

import io
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import httpx
import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from rembg_watch.sandbox import Sandbox
from rembg_watch.sandbox.server import LoopbackServer, PortError

Make = Callable[..., bytes]
KEY = {"x-api-key": "sandbox-key"}


@pytest.fixture
def sandbox() -> Sandbox:
    return Sandbox(engine="flat", credits=100_000)


@pytest.fixture
def server(sandbox: Sandbox) -> Iterator[LoopbackServer]:
    with sandbox.serve() as running:
        yield running


def send(server: LoopbackServer, image: bytes, *, timeout: httpx.Timeout | float = 20, **data: str) -> httpx.Response:
    return httpx.post(server.url, headers=KEY, files={"image": ("a.jpg", image)}, data=data, timeout=timeout)


def until(condition: Callable[[], bool], *, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.01)


class Raw:
    """A connection that shows what really came and how it ended."""

    def __init__(self, server: LoopbackServer, *, receive_bytes: int | None = None) -> None:
        self.socket = socket.socket()
        if receive_bytes:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        self.socket.settimeout(20)
        self.socket.connect(("127.0.0.1", server.port))

    def send_picture(self, image: bytes) -> None:
        head, body = form(image)
        self.socket.sendall(head + body)

    def read(self) -> tuple[bytes, str]:
        """Return what came, and the end: ``closed``, ``reset`` or ``silent``."""
        got = bytearray()
        while True:
            try:
                piece = self.socket.recv(65536)
            except ConnectionResetError:
                return bytes(got), "reset"
            except TimeoutError:
                return bytes(got), "silent"
            if not piece:
                return bytes(got), "closed"
            got += piece


def form(image: bytes) -> tuple[bytes, bytes]:
    body = b'--b\r\nContent-Disposition: form-data; name="image"; filename="a.jpg"\r\n\r\n' + image + b"\r\n--b--\r\n"
    head = (
        b"POST /rmbg HTTP/1.1\r\nHost: x\r\nx-api-key: sandbox-key\r\nContent-Type: multipart/form-data; boundary=b\r\n"
        b"Content-Length: %d\r\n\r\n" % len(body)
    )
    return head, body


def declared(answer: bytes) -> tuple[int, int]:
    """Return the length that the header promises and the length that came."""
    head, _, body = answer.partition(b"\r\n\r\n")
    promised = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
    return int(promised.split(b":")[1]), len(body)


# -- the plain way ---------------------------------------------------------------------------------


def test_a_picture_comes_back_over_a_real_connection(server: LoopbackServer, make_picture: Make) -> None:
    answer = send(server, make_picture(), w="60")
    assert answer.status_code == 200
    assert Image.open(io.BytesIO(answer.content)).size == (60, 40)
    assert httpx.get(server.usage_url, headers=KEY).json()["api_usage"] == 1


def test_chunked_uploads_and_kept_connections_work(server: LoopbackServer, make_picture: Make) -> None:
    _, body = form(make_picture())
    pieces = [body[i : i + 100] for i in range(0, len(body), 100)]
    with httpx.Client(headers={**KEY, "content-type": "multipart/form-data; boundary=b"}) as client:
        assert [client.post(server.url, content=iter(pieces)).status_code for _ in range(3)] == [200, 200, 200]


def test_a_port_in_use_gets_one_clear_sentence(server: LoopbackServer) -> None:
    with pytest.raises(PortError, match=rf"Cannot listen on 127\.0\.0\.1:{server.port}: Address already in use"):
        Sandbox(engine="flat").serve(port=server.port)


@pytest.mark.parametrize(("host", "port"), [("127.0.0.1", 70000), ("203.0.113.1", 0), ("no.such.host.invalid", 0)])
def test_an_address_that_cannot_be_gets_one_clear_sentence(host: str, port: int) -> None:
    with pytest.raises(PortError, match="Cannot listen on"):
        Sandbox(engine="flat").serve(host, port)


def test_a_stopped_server_is_gone_and_stopping_twice_is_harmless(sandbox: Sandbox) -> None:
    server = sandbox.serve()
    server.stop()
    server.stop()
    with pytest.raises(httpx.ConnectError):
        httpx.get(server.usage_url)
    again = sandbox.serve(port=server.port)
    again.stop()


def test_stopping_does_not_wait_for_a_stall(sandbox: Sandbox, make_picture: Make) -> None:
    sandbox.add_fault("stall")
    server = sandbox.serve()
    connection = Raw(server)
    connection.send_picture(make_picture())
    until(lambda: sandbox.billed == 1)
    began = time.monotonic()
    server.stop()
    assert time.monotonic() - began < 15
    connection.socket.close()


def test_nonsense_on_the_wire_gets_an_answer_and_does_no_harm(server: LoopbackServer, make_picture: Make) -> None:
    for noise in (
        b"\x00\xff nonsense\r\n\r\n",
        b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
        b"POST /rmbg HTTP/1.1\r\nContent-Length: x\r\n\r\n",
    ):
        connection = Raw(server)
        connection.socket.sendall(noise)
        assert connection.read()[0].startswith(b"HTTP/1.1 400")
        connection.socket.close()
    assert send(server, make_picture()).status_code == 200


def spoken(line: bytes, *headers: bytes, body: bytes = b"") -> bytes:
    return b"\r\n".join([line + b" HTTP/1.1", b"Host: x", b"Connection: close", *headers, b"", b""]) + body


HEAD, FORM = form(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x08\0\0\0\x08\x01\0\0\0\0")
FORM = FORM.replace(b"a.jpg", b"a.png").replace(
    b"--b--", b'--b\r\nContent-Disposition: form-data; name="w"\r\n\r\n5\r\n--b--'
)
SIGNED = (b"x-api-key: sandbox-key", b"Content-Type: multipart/form-data; boundary=b")
ORDER = b'{"credits": 9, "faults": [], "rate": null}'
GOOD = [
    spoken(b"POST /rmbg", *SIGNED, b"Content-Length: %d" % len(FORM), body=FORM),
    spoken(b"POST /rmbg", *SIGNED, b"Expect: 100-continue", b"Content-Length: %d" % len(FORM), body=FORM),
    spoken(b"POST /rmbg", *SIGNED, b"Transfer-Encoding: chunked", body=b"%x\r\n%b\r\n0\r\n\r\n" % (len(FORM), FORM)),
    spoken(b"GET /api/membership-usage?year=2026&month=3&expand=billing_cycle", SIGNED[0]),
    spoken(b"GET /api/membership-usage?periodStartUnix=17&includeBillingCycle=1&listBillingCycles=0", SIGNED[0]),
    spoken(b"GET /sandbox/requests?since=1&limit=2"),
    spoken(
        b"POST /sandbox/settings",
        b"Content-Type: application/json",
        b"Content-Length: %d" % len(ORDER),
        body=ORDER,
    ),
    spoken(b"GET /sandbox/samples/a.jpg"),
    spoken(b"OPTIONS *"),
    b"",
]
WORDS = [b"%00", b"%C2%B2", b"-1", b"9" * 5000, b"nan", b"1e999", b"\xb2", b"\r\n", b"\0", b"--b", b"--b--", b'"', b";"]
WORDS += [b"filename=", b"filename*=utf-8''a.png", b"name=", b"chunked", b"&&=", b"Content-Length: 5\r\n", b"HTTP/1.0"]
changes = st.lists(
    st.tuples(st.integers(0, 10**6), st.sampled_from([0, 0, 1, 5, 40]), st.sampled_from(WORDS) | st.binary(max_size=6)),
    max_size=6,
)


@pytest.mark.parametrize("request_", GOOD[:-1], ids=lambda request: request.partition(b" HTTP")[0].decode())
def test_what_is_about_to_be_spoilt_is_understood_before(server: LoopbackServer, request_: bytes) -> None:
    connection = Raw(server)
    connection.socket.sendall(request_)
    answer, end = connection.read()
    connection.socket.close()
    assert answer.startswith((b"HTTP/1.1 200", b"HTTP/1.1 100", b"HTTP/1.1 404")), answer
    assert end == "closed"


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(GOOD), changes)
def test_no_bytes_on_the_wire_make_it_fall(
    server: LoopbackServer, good: bytes, spoilt: list[tuple[int, int, bytes]]
) -> None:
    """Requests with pieces left out, changed and put in; never a 5xx, and the next caller is served."""
    said = bytearray(good)
    for place, length, word in spoilt:
        start = place % (len(said) + 1)
        said[start : start + length] = word
    connection = Raw(server)
    connection.socket.settimeout(0.05)  # what waits for the rest of a request says nothing
    with suppress(ConnectionError):
        connection.socket.sendall(bytes(said))
    answer, _ = connection.read()
    connection.socket.close()
    assert not answer.startswith(b"HTTP/1.1 5"), answer
    assert httpx.get(server.usage_url, headers=KEY).status_code == 200


def test_a_client_that_goes_away_in_mid_upload_is_not_billed(
    sandbox: Sandbox, server: LoopbackServer, make_picture: Make
) -> None:
    connection = Raw(server)
    head, body = form(make_picture(500, 500, "BMP"))
    connection.socket.sendall(head + body[: len(body) // 2])
    until(lambda: sandbox.in_flight == 1)
    connection.socket.close()
    until(lambda: sandbox.in_flight == 0)
    assert (sandbox.billed, list(sandbox.requests)) == (0, [])


# -- faults on the wire ----------------------------------------------------------------------------


def strike(sandbox: Sandbox, server: LoopbackServer, image: bytes, fault: str) -> tuple[bytes, str]:
    sandbox.add_fault(fault)
    connection = Raw(server)
    try:
        connection.send_picture(image)
        return connection.read()
    except (BrokenPipeError, ConnectionResetError):
        return b"", "reset"
    finally:
        connection.socket.close()


def test_reset_before_billing(sandbox: Sandbox, server: LoopbackServer, make_picture: Make) -> None:
    answer, end = strike(sandbox, server, make_picture(), "reset_before")
    assert (answer, end, sandbox.billed) == (b"", "reset", 0)
    assert sandbox.requests[-1].fault == "reset_before"


def test_reset_in_the_middle_of_an_upload(sandbox: Sandbox, server: LoopbackServer, make_picture: Make) -> None:
    """The reset comes although the rest of the body is never sent."""
    sandbox.add_fault("reset_before:part=0.4")
    connection = Raw(server)
    head, body = form(make_picture(600, 600, "BMP"))
    connection.socket.sendall(head + body[: len(body) // 2])
    assert connection.read() == (b"", "reset")
    assert sandbox.billed == 0
    connection.socket.close()


def test_reset_after_billing_without_a_byte(sandbox: Sandbox, server: LoopbackServer, make_picture: Make) -> None:
    answer, end = strike(sandbox, server, make_picture(), "reset_after")
    assert (answer, end, sandbox.billed) == (b"", "reset", 1)


def test_reset_after_half_the_answer(sandbox: Sandbox, server: LoopbackServer, make_picture: Make) -> None:
    answer, end = strike(sandbox, server, make_picture(2000, 2000), "reset_after:part=0.5")
    promised, came = declared(answer)
    assert (end, came, sandbox.billed) == ("reset", promised // 2, 1)


def test_truncated_against_its_own_length(sandbox: Sandbox, server: LoopbackServer, make_picture: Make) -> None:
    answer, end = strike(sandbox, server, make_picture(2000, 2000), "truncated:part=0.5")
    promised, came = declared(answer)
    assert (end, came, sandbox.billed) == ("closed", promised // 2, 1)


def test_a_stall_is_silence_and_then_an_end(sandbox: Sandbox, server: LoopbackServer, make_picture: Make) -> None:
    began = time.monotonic()
    answer, end = strike(sandbox, server, make_picture(), "stall:seconds=0.5")
    assert (answer, end, sandbox.billed) == (b"", "closed", 1)
    assert time.monotonic() - began >= 0.5


def test_a_stall_in_mid_answer_runs_into_the_read_timeout(
    sandbox: Sandbox, server: LoopbackServer, make_picture: Make
) -> None:
    sandbox.add_fault("stall:part=0.5")
    with pytest.raises(httpx.ReadTimeout):
        send(server, make_picture(2000, 2000), timeout=httpx.Timeout(20, read=2))
    until(lambda: sandbox.billed == 1)


def test_a_drip_takes_its_time_and_arrives_whole(sandbox: Sandbox, server: LoopbackServer, make_picture: Make) -> None:
    sandbox.add_fault("drip:seconds=1,count=1")
    began = time.monotonic()
    slow = send(server, make_picture(900, 900))
    assert time.monotonic() - began >= 0.9
    assert slow.content == send(server, make_picture(900, 900)).content


@pytest.mark.parametrize(
    ("fault", "status", "kind", "start"),
    [
        ("empty", 200, "image/webp", b""),
        ("garbage", 200, "image/webp", b"\x5b"),
        ("json", 200, "image/webp", b'{"error"'),
        ("html", 502, "text/html", b"<html>"),
        ("html:status=200", 200, "text/html", b"<html>"),
        ("status", 503, "application/json", b'{"error"'),
        ("status:status=500", 500, "application/json", b'{"error"'),
        ("redirect", 307, "", b""),
        ("unknown_429", 429, "application/json", b'{"error"'),
    ],
)
def test_wrong_answers_are_whole_on_the_wire(
    sandbox: Sandbox, server: LoopbackServer, make_picture: Make, fault: str, status: int, kind: str, start: bytes
) -> None:
    sandbox.add_fault(fault)
    answer = send(server, make_picture())
    assert (answer.status_code, answer.headers.get("content-type", "")) == (status, kind)
    assert answer.content.startswith(start)
    assert len(answer.content) == int(answer.headers["content-length"])
    assert sandbox.billed == (1 if fault in ("empty", "garbage", "json") else 0)


def test_a_proxy_may_answer_while_the_picture_is_still_arriving(
    sandbox: Sandbox, server: LoopbackServer, make_picture: Make
) -> None:
    sandbox.add_fault("status:status=413,early=yes,count=1")
    connection = Raw(server)
    head, body = form(make_picture(600, 600, "BMP"))
    connection.socket.sendall(head + body[: len(body) // 2])
    until(lambda: len(sandbox.requests) == 1)
    assert connection.socket.recv(65536).startswith(b"HTTP/1.1 413")
    connection.socket.sendall(body[len(body) // 2 :])
    connection.send_picture(make_picture())
    came = b""
    while b"HTTP/1.1 200" not in came:  # the end of the first answer may come before it
        block = connection.socket.recv(65536)
        assert block, "the connection is still good"
        came += block
    connection.socket.close()


def test_a_server_that_is_down_resets(sandbox: Sandbox, server: LoopbackServer, make_picture: Make) -> None:
    sandbox.is_down = True
    with pytest.raises((httpx.NetworkError, httpx.RemoteProtocolError)):
        send(server, make_picture())
    sandbox.is_down = False
    assert send(server, make_picture()).status_code == 200


def test_latency_keeps_nobody_else_waiting(sandbox: Sandbox, server: LoopbackServer, make_picture: Make) -> None:
    """On a machine that stands still, the first may be answered before the last is sent: then they are sent again."""
    sandbox.latency_s = 0.5
    image = make_picture()
    for _ in range(10):
        connections = [Raw(server) for _ in range(32)]
        for connection in connections:
            connection.send_picture(image)
        for connection in connections:
            assert connection.socket.recv(65536).startswith(b"HTTP/1.1 200")
            connection.socket.close()
        if sandbox.most_in_flight == 32:
            break
    assert sandbox.most_in_flight == 32


# -- load ------------------------------------------------------------------------------------------


def test_hundreds_of_small_requests_a_second_over_64_connections(
    sandbox: Sandbox, server: LoopbackServer, make_picture: Make
) -> None:
    """Bare sockets ask, so that the figure speaks of the server; the floor leaves room for a busy machine."""
    request = b"".join(form(make_picture(64, 64)))
    each, connections = 25, 64

    def ask(_: int) -> int:
        connection = Raw(server)
        good = 0
        for _ in range(each):
            connection.socket.sendall(request)
            answer = connection.socket.recv(65536)
            while declared(answer)[0] != declared(answer)[1]:
                answer += connection.socket.recv(65536)
            good += answer.startswith(b"HTTP/1.1 200")
        connection.socket.close()
        return good

    began = time.monotonic()
    with ThreadPoolExecutor(connections) as pool:
        good = sum(pool.map(ask, range(connections)))
    rate = each * connections / (time.monotonic() - began)
    print(f"{rate:.0f} requests/s")
    assert good == sandbox.billed == each * connections
    assert rate > 100


SERVE = """
import sys
from rembg_watch.sandbox import Sandbox
from rembg_watch.sandbox.server import run_server
run_server(
    Sandbox(engine="flat", credits=1000),
    on_listening=lambda server: print(f"listening on {server.base_url}", flush=True),
)
print("ended", flush=True)
"""


@pytest.fixture
def process() -> Iterator[tuple[subprocess.Popen[str], str]]:
    child = subprocess.Popen([sys.executable, "-c", SERVE], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    line = child.stdout.readline()
    try:
        yield child, line.removeprefix("listening on ").strip()
    finally:
        child.kill()
        child.wait()
        child.stdout.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_command_listens_when_it_says_so_and_ends_when_it_is_told(
    process: tuple[subprocess.Popen[str], str], number: signal.Signals
) -> None:
    child, url = process
    assert httpx.get(f"{url}/sandbox/state").status_code == 200
    child.send_signal(number)
    assert child.wait(60) == 0
    assert child.stdout is not None
    assert child.stdout.read() == "ended\n"


def test_large_uploads_are_not_held_in_memory(process: tuple[subprocess.Popen[str], str], tmp_path: Path) -> None:
    child, url = process
    large = tmp_path / "large.png"
    with large.open("wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + (10).to_bytes(4, "big") * 2)
        file.truncate(45 * 1024 * 1024)
    before, peak, stop = psutil.Process(child.pid).memory_info().rss, 0, threading.Event()

    def watch() -> None:
        nonlocal peak
        while not stop.wait(0.01):
            peak = max(peak, psutil.Process(child.pid).memory_info().rss)

    watching = threading.Thread(target=watch)
    watching.start()

    def upload(_: int) -> int:
        with large.open("rb") as file:
            return httpx.post(f"{url}/rmbg", headers=KEY, files={"image": file}, timeout=60).status_code

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(upload, range(4)))
    stop.set()
    watching.join()
    grown = (peak - before) / 1024**2
    print(f"{grown:.0f} MB for 4 x 45 MB")
    assert answers == [200] * 4
    assert grown < 60


def test_the_sandbox_leaves_no_thread_or_socket_behind(make_picture: Make) -> None:
    me = psutil.Process(os.getpid())
    Sandbox(engine="flat").serve().stop()
    before = (me.num_threads(), me.num_fds())
    for _ in range(5):
        with Sandbox(engine="flat").serve() as server:
            send(server, make_picture())
    # a thread that was joined leaves the kernel's list a little later, now as at the first look
    until(lambda: me.num_threads() <= before[0] and me.num_fds() <= before[1])


def test_the_books_can_be_read_from_outside(server: LoopbackServer, make_picture: Make) -> None:
    send(server, make_picture())
    state = json.loads(httpx.get(f"{server.base_url}/sandbox/state").text)
    assert state["billed"] == 1
