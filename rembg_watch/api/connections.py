"""
The connections to the API that stand: taken for one call, put back after it, and kept for the next for a moment.

What is sent over them, and whether a call is sent again, is not decided here; nothing here
loads an HTTP client.
"""

import os
import select
import socket
import threading
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from math import inf
from time import monotonic
from typing import TYPE_CHECKING, Any

from rembg_watch.api.deadline import WATCH, Deadline
from rembg_watch.api.errors import UnreachableError

if TYPE_CHECKING:
    import httpx

KEPT_S = 1.5
"""
How long a connection is kept without a call.

Servers hang up on an idle one after 2 s at the earliest (Gunicorn; Node, Apache and uvicorn 5 s, nginx 75 s), and
who hangs up first does not run into the other's hanging up.
"""

WARY_S = 60.0
"""
How long no connection is kept once the other side has left one without a word.

A server that hangs up after every answer and does not say so would put pictures in doubt, each
time that the next one is faster than the news.
"""

SEND_BUFFER_BYTES = 128 * 1024
"""Small enough that what is handed over is nearly sent, and that the last block means something."""

_GONE = select.POLLHUP | select.POLLERR | getattr(select, "POLLRDHUP", 0)  # the last one is Linux's
_TO_THE_PARSER = ("_stream", "_httpcore_stream", "_stream", "_connection", "_h11_state")


class Connection:
    """
    One connection at most, with the client that opens it when there is none; for one call at a time.

    Args:
        http: Sends, and keeps no second connection.
    """

    def __init__(self, http: "httpx.Client") -> None:
        self.http = http
        self.is_reused = False
        """Whether this call goes over a connection that has served another."""
        self.was_left = False
        """Whether the other side hung up on it after an answer, in place of serving this call."""
        self.idle_since_s = 0.0
        self._socket: socket.socket | None = None
        self._process = os.getpid()
        self._deadline: Deadline | None = None

    @property
    def stands(self) -> bool:
        """Whether there is a connection, as far as known here: the other side may have hung up."""
        return self._socket is not None and self._socket.fileno() >= 0

    def begin(self, deadline: Deadline, *, is_new: bool = False) -> None:
        """Serve a call, which *deadline* may cut; over a new connection if that is wanted."""
        is_old = monotonic() - self.idle_since_s > KEPT_S
        if is_new or is_old or self._process != os.getpid():  # after a fork, two would talk over the same
            self.hang_up()
            self._process = os.getpid()
        self.is_reused = self.stands
        self.was_left = False
        self._deadline = deadline
        deadline.cuts(self._socket)

    def end(self) -> None:
        """Note that the call is over; its deadline cuts nothing here any more."""
        if self._deadline is not None:
            self._deadline.cuts(None)
            self._deadline = None
        self.idle_since_s = monotonic()

    def trace(self, event: str, info: Mapping[str, Any]) -> None:
        """Learn from httpx which socket a new connection has, and make its send buffer small."""
        if event.endswith("connect_tcp.started"):
            self.was_left = self.is_reused  # it could be read from: an end, or something that nobody asked for
            self.is_reused = False
            self._socket = None
        elif event.endswith(("connect_tcp.complete", "start_tls.complete")):
            connection = self._socket = info["return_value"].get_extra_info("socket")
            if self._deadline is not None:
                self._deadline.cuts(connection)
            with suppress(OSError, AttributeError):
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)

    def stops_if_left(self) -> bool:
        """
        Say whether the other side has done with this call; if so, nothing more is sent over this connection.

        It has if it hung up, or, over a connection that has served another call, if
        anything came: a refusal, or what belongs to no call. That can still be read: the next
        write fails in the kernel, upon which httpx turns to reading.
        """
        if self._socket is None or not _tells(self._socket, _GONE | (select.POLLIN if self.is_reused else 0)):
            return False
        with suppress(OSError):  # of the plain socket: one of TLS would go on in the clear
            socket.socket.shutdown(self._socket, socket.SHUT_WR)
        return True

    def hang_up(self) -> None:
        """Close the connection; the next call opens a new one, since httpx takes a closed one for readable."""
        connection, self._socket = self._socket, None
        if connection is not None:
            with suppress(OSError):
                connection.close()


def _tells(connection: socket.socket, what: int) -> bool:
    poll = select.poll()
    try:
        poll.register(connection, what)
    except ValueError:  # closed
        return True
    return bool(poll.poll(0))


def has_more(response: "httpx.Response") -> bool:
    """
    Say whether bytes came after the end of the answer; the next call would take them for its own.

    Only the parser knows, and httpx shows no way to it. If the way there is lost in another
    version, every answer counts as one with more, and no connection is kept.
    """
    place: Any = response.stream
    for name in _TO_THE_PARSER:
        place = getattr(place, name, None)
    data, _ = getattr(place, "trailing_data", (b"unknown", False))
    return bool(data)


class Connections:
    """
    Connections for many threads: the one used last is taken first, so that the others can grow old and end.

    One that was not used for ``KEPT_S`` is closed then, not only when the next call comes: an
    idle daemon holds no sockets on which the other side has hung up. After one was left by the
    other side, none is kept for ``WARY_S``.

    Args:
        more: Makes one more connection, with a client of its own.
        most: How many calls may be on their way at once.
    """

    def __init__(self, more: Callable[[], Connection], most: int) -> None:
        self.ends_at_s = inf
        self._more = more
        self._places = threading.Semaphore(most)  # one for each call on its way, from its first byte to its last
        self._lock = threading.Lock()  # guards all that follows; a socket may be closed under it, nothing is sent
        self._idle: deque[Connection] = deque()  # those without a connection first, then by age
        self._is_watched = False
        self._is_closed = False
        self._wary_until_s = -inf

    def take(self, timeout_s: float) -> Connection | None:
        """
        Take a connection for a call, and put it back after; None if none becomes free in time.

        Raises:
            RuntimeError: They are closed.
        """
        if not self._places.acquire(timeout=timeout_s):
            return None
        try:
            return self._idle_one() or self._more()
        except BaseException:
            self._places.release()
            raise

    def _idle_one(self) -> Connection | None:
        with self._lock:
            if self._is_closed:
                raise RuntimeError("Cannot send a request, as the client has been closed.")
            return self._idle.pop() if self._idle else None

    def put_back(self, connection: Connection) -> None:
        """Give *connection* to the next call."""
        with self._lock:
            if connection.was_left:
                self._wary_until_s = connection.idle_since_s + WARY_S
                self._hang_up(inf)
            if connection.idle_since_s < self._wary_until_s:
                connection.hang_up()
            is_closed = self._is_closed
            if connection.stands:
                self._idle.append(connection)
                self._watch()
            else:
                self._idle.appendleft(connection)
        if is_closed:
            self.close()
        self._places.release()

    def close(self) -> None:
        """Close all, and those that are put back later."""
        with self._lock:
            self._is_closed = True
            idle, self._idle = self._idle, deque()
        for connection in idle:
            connection.http.close()

    def come_to_end(self) -> None:
        """Close what was idle for too long, and look again when the next may be."""
        with self._lock:
            self._is_watched = False
            self._hang_up(monotonic() - KEPT_S)
            self._watch()

    def _hang_up(self, last_use_s: float) -> None:
        for connection in self._idle:
            if connection.idle_since_s <= last_use_s:
                connection.hang_up()

    def _watch(self) -> None:
        standing = (one.idle_since_s for one in self._idle if one.stands)
        if not self._is_watched and (oldest_s := next(standing, None)) is not None:
            self.ends_at_s = oldest_s + KEPT_S
            with suppress(UnreachableError):  # no thread for it: an old one is closed when it is taken
                WATCH.add(self)
                self._is_watched = True
