"""A server of bare sockets, which can misbehave as no library lets one, and small true pictures."""

import contextlib
import io
import shutil
import socket
import ssl
import struct
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from rembg_watch import Client
from rembg_watch.sandbox import Sandbox


class Visitor:
    """One connection to the bare server, seen from its side."""

    def __init__(self, connection: socket.socket, released: threading.Event) -> None:
        self.connection = connection
        self.released = released
        self.head = b""
        self.body = b""

    def next_request(self) -> bool:
        """Wait for the next request over the same connection; False at its end, when the last is still known."""
        head, body = self._head_and_more()
        if not head:
            return False
        self.head, self.body = head, body
        return True

    def read_head(self) -> bytes:
        if not self.head:
            self.head, self.body = self._head_and_more()
        return self.head

    def _head_and_more(self) -> tuple[bytes, bytes]:
        data = b""
        while b"\r\n\r\n" not in data:
            part = self.connection.recv(4096)
            if not part:
                return data, b""
            data += part
        head, _, body = data.partition(b"\r\n\r\n")
        return head, body

    def length(self) -> int:
        lines = self.head.lower().split(b"\r\n")
        return next((int(line.split(b":")[1]) for line in lines if line.startswith(b"content-length:")), 0)

    def read_body(self, most: int | None = None) -> bytes:
        wanted = self.length() if most is None else most
        while len(self.body) < wanted:
            part = self.connection.recv(65536)
            if not part:
                break
            self.body += part
        return self.body

    def read_all(self) -> None:
        self.read_head()
        self.read_body()

    def swallow(self) -> int:
        """Read the body without keeping it; return how long it was."""
        self.read_head()
        seen, wanted = len(self.body), self.length()
        while seen < wanted and (part := self.connection.recv(1 << 20)):
            seen += len(part)
        return seen

    def send(self, data: bytes) -> None:
        self.connection.sendall(data)

    def answer(self, status: str, body: bytes, *headers: str, stated: int | None = None, is_last: bool = True) -> None:
        length = len(body) if stated is None else stated
        last = ["Connection: close"] if is_last else []
        lines = [f"HTTP/1.1 {status}", f"Content-Length: {length}", *headers, *last, "", ""]
        self.send("\r\n".join(lines).encode() + body)

    def stall(self) -> None:
        """Do nothing until the test is over."""
        self.released.wait(20)

    def drip(self, data: bytes) -> None:
        """Send a byte every now and then until all is sent or the other side is tired of it."""
        for n in range(len(data)):
            self.send(data[n : n + 1])
            self.released.wait(0.05)

    def half_close(self) -> None:
        """Say that nothing more will be sent, and go on listening."""
        socket.socket.shutdown(self.connection, socket.SHUT_WR)

    def reset(self) -> None:
        """Close so that the other side sees a reset, not an end."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()


class BareServer:
    """Answers each connection with the next behaviour, the last one again and again."""

    def __init__(self, *behaviours: Callable[[Visitor], None]) -> None:
        self.behaviours = list(behaviours)
        self.visitors: list[Visitor] = []
        self.released = threading.Event()  # set at the end: whoever stalls may go home
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/rmbg"
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            if self.released.is_set():
                connection.close()
                return
            visitor = Visitor(connection, self.released)
            self.visitors.append(visitor)
            behaviour = self.behaviours[min(len(self.visitors), len(self.behaviours)) - 1]
            thread = threading.Thread(target=self._serve, args=(behaviour, visitor), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, behaviour: Callable[[Visitor], None], visitor: Visitor) -> None:
        with contextlib.suppress(OSError):
            behaviour(visitor)
        visitor.connection.close()

    def close(self) -> None:
        self.released.set()
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()  # wake the accept
        self._listener.close()
        for thread in self._threads:
            thread.join(10)


@pytest.fixture
def serve() -> Iterator[Callable[..., BareServer]]:
    servers: list[BareServer] = []

    def start(*behaviours: Callable[[Visitor], None]) -> BareServer:
        servers.append(BareServer(*behaviours))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    openssl = shutil.which("openssl")
    if not openssl:
        pytest.skip("needs the openssl command to make a certificate")
    folder = tmp_path_factory.mktemp("tls")
    made = folder / "cert.pem", folder / "key.pem"
    command = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
    extension = ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    subprocess.run(
        [openssl, *command.split(), *extension, "-out", str(made[0]), "-keyout", str(made[1])],
        check=True,
        capture_output=True,
        timeout=30,
    )
    return made


@pytest.fixture
def serve_tls(serve: Callable[..., Any], certificate: tuple[Path, Path]) -> Callable[..., Any]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)

    def start(behave: Callable[[Any], object]) -> Any:
        def secured(visitor: Any) -> None:
            visitor.connection = context.wrap_socket(visitor.connection, server_side=True)
            behave(visitor)

        server = serve(secured)
        server.url = server.url.replace("http:", "https:")
        return server

    return start


@pytest.fixture(scope="session")
def picture() -> Callable[..., bytes]:
    """Make a small true picture of the named format."""

    def make(kind: str = "PNG", size: tuple[int, int] = (32, 24)) -> bytes:
        file = io.BytesIO()
        Image.new("RGB", size, (200, 30, 30)).save(file, kind)
        return file.getvalue()

    return make


@pytest.fixture(params=["in process", "loopback"])
def connect(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """Give a client of a sandbox, over either of its faces."""

    @contextmanager
    def over_loopback(sandbox: Sandbox, key: str = "sandbox-key", **settings: Any) -> Iterator[Client]:
        with sandbox.serve() as server, Client(key, url=server.url, usage_url=server.usage_url, **settings) as client:
            yield client

    @contextmanager
    def in_process(sandbox: Sandbox, key: str = "sandbox-key", **settings: Any) -> Iterator[Client]:
        with Client(key, transport=sandbox.transport(), **settings) as client:
            yield client

    return over_loopback if request.param == "loopback" else in_process
