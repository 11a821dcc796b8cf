"""
An end for each call, wherever it hangs.

Looking up a host's name is the one step that cannot be cut off from here.
"""

import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from math import inf
from time import monotonic
from types import TracebackType
from typing import Any, Self

SLOWEST_BYTES_PER_S = 32 * 1024
"""Who moves less than this gains no time beyond the time-out."""

_LOOK_S = 1.0

SEND_BUFFER_BYTES = 128 * 1024
"""Small enough that what is handed over is nearly sent, and that the last block means something."""


class Deadline:
    """
    Cut the connection of a call that takes longer than it may, wherever it hangs.

    Time-outs of single reads and writes cannot see a server that sends a byte a
    minute. A thread of its own watches the clock and shuts the socket down, upon which
    the waiting call fails. Each byte that moves earns time at ``SLOWEST_BYTES_PER_S``.
    """

    def __init__(self, timeout_s: float) -> None:
        self._started_at_s = monotonic()
        self._timeout_s = timeout_s
        self.ends_at_s = self._started_at_s + timeout_s
        self.is_passed = False
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._watcher = threading.Thread(target=self._watch, name="rembg-deadline", daemon=True)

    def __enter__(self) -> Self:
        self._watcher.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._over.set()
        self._watcher.join()

    @property
    def elapsed_s(self) -> float:
        """Seconds since the call began."""
        return monotonic() - self._started_at_s

    def handed_over(self, block_bytes: int, left_bytes: int) -> None:
        """Note that a block has left; with the last one the wait for the answer begins."""
        if left_bytes:
            self.moved(block_bytes)
        else:
            self.ends_at_s = monotonic() + self._timeout_s

    def moved(self, block_bytes: int) -> None:
        """Grant the time that *block_bytes* may take."""
        self.ends_at_s += block_bytes / SLOWEST_BYTES_PER_S

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Stop the clock while the caller does something of his own."""
        left_s = self.ends_at_s - monotonic()
        self.ends_at_s = inf
        try:
            yield
        finally:
            self.ends_at_s = monotonic() + left_s

    def is_met(self) -> bool:
        """End the watch and say whether the time sufficed; from now on nothing is cut any more."""
        with self._lock:
            self._over.set()
            return not self.is_passed

    def trace(self, event: str, info: Mapping[str, Any]) -> None:
        """Learn from httpx which socket the call is on, and make its send buffer small."""
        if not event.endswith(("connect_tcp.complete", "start_tls.complete")):
            return
        connection = info["return_value"].get_extra_info("socket")
        with self._lock:
            self._socket = connection
            if self.is_passed:
                self._cut()
        with suppress(OSError, AttributeError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)

    def _watch(self) -> None:
        while (left_s := self.ends_at_s - monotonic()) > 0:
            if self._over.wait(min(left_s, _LOOK_S)):  # a pause may have ended meanwhile
                return
        with self._lock:
            if not self._over.is_set():
                self.is_passed = True
                self._cut()

    def _cut(self) -> None:
        if self._socket is not None:
            with suppress(OSError):  # of the plain socket: one of TLS would wait for the other side
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)
