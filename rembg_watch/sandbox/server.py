"""
The sandbox on loopback: uvicorn in a thread of its own, or in front for the command.

It listens and stops; what is answered, ``app`` and ``Emulator`` know.
"""

import asyncio
import signal
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Self

from rembg_watch.sandbox.app import App
from rembg_watch.sandbox.emulator import Emulator
from rembg_watch.sandbox.exchange import MissingExtraError

try:
    import uvicorn
    from uvicorn.protocols.http.h11_impl import H11Protocol
except ImportError as error:
    raise MissingExtraError("uvicorn") from error

WORKER_THREADS = 8
START_S = 30.0
STOP_S = 5


class PortError(OSError):
    """The address cannot be listened on; the message says which and why."""


class _OpenProtocol(H11Protocol):
    """HTTP as uvicorn speaks it, with the connection in the scope's state."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in the parent
        super().connection_made(transport)
        self.app_state = {**self.app_state, "transport": transport}


class LoopbackServer:
    """A running server; ``start`` returns when it listens, ``stop`` when it has ended."""

    def __init__(self, sandbox: Emulator, host: str = "127.0.0.1", port: int = 0) -> None:
        self.sandbox = sandbox
        self._socket = _bound(host, port)
        self._host = host
        self.port: int = self._socket.getsockname()[1]
        self._executor = ThreadPoolExecutor(WORKER_THREADS, thread_name_prefix="sandbox")
        self._loop: asyncio.AbstractEventLoop | None = None
        self._app: App | None = None
        self._server: uvicorn.Server | None = None
        self._is_listening = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="sandbox-server", daemon=True)

    @property
    def base_url(self) -> str:
        """The address without a path, such as ``http://127.0.0.1:8080``."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self.port}"

    @property
    def url(self) -> str:
        """Where pictures are sent."""
        return f"{self.base_url}/rmbg"

    @property
    def usage_url(self) -> str:
        """Where the account is read."""
        return f"{self.base_url}/api/membership-usage"

    def start(self) -> Self:
        """Listen; connections are answered when this returns."""
        self._thread.start()
        if not self._is_listening.wait(START_S):
            raise PortError(f"The sandbox did not start listening on {self.base_url} within {START_S:.0f} s.")
        return self

    def stop(self) -> None:
        """Stop listening, let requests under way end soon, and end the thread; harmless when repeated."""
        if self._server is not None and self._loop is not None and self._thread.is_alive():
            self._server.should_exit = True
            assert self._app is not None
            self._loop.call_soon_threadsafe(self._app.stopping.set)
        if self._thread.is_alive():
            self._thread.join()
        self._executor.shutdown(wait=True)
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._app = App(self.sandbox, self._executor, self._host)
        config = uvicorn.Config(
            self._app,
            http=_OpenProtocol,
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="error",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=STOP_S,
            timeout_keep_alive=75,
        )
        self._server = _AnnouncingServer(config, self._is_listening.set)
        await self._server.serve(sockets=[self._socket])


class _AnnouncingServer(uvicorn.Server):
    """A server that says when it listens and leaves signals alone."""

    def __init__(self, config: uvicorn.Config, announce: Callable[[], None]) -> None:
        super().__init__(config)
        self._announce = announce

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        self._announce()


def run_server(
    sandbox: Emulator, *, host: str = "127.0.0.1", port: int = 0, on_listening: Callable[[LoopbackServer], None]
) -> None:
    """
    Serve until SIGINT or SIGTERM, then return; call from the main thread.

    *on_listening* is called with the server once it answers: the place to say ``listening on``.

    Raises:
        PortError: the address cannot be listened on.
    """
    is_over = threading.Event()
    ends = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, lambda *_: is_over.set()) for number in ends}
    try:
        sandbox.cutter.warm_up()
        with LoopbackServer(sandbox, host, port).start() as server:
            on_listening(server)
            is_over.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _bound(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)  # named, or asyncio leaves Nagle on
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(1024)  # here, so that a port in use is told to the caller and not to a thread
    except (OSError, OverflowError) as error:
        listener.close()
        reason = getattr(error, "strerror", None) or str(error)
        raise PortError(
            f"Cannot listen on {host}:{port}: {reason}. Choose another port, or 0 for a free one."
        ) from error
    return listener
