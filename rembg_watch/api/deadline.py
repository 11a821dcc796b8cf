"""
An end for each call, wherever it hangs, and the one thread that watches the clock for all.

Looking up a host's name is the one step that cannot be cut off from here. What a call
that was cut means is not known here.
"""

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from math import inf
from time import monotonic
from typing import Protocol, Self

from rembg_watch.api.errors import UnreachableError

_NO_THREADS = "This machine lets no more threads start, so nothing was sent: raise the limit of processes and threads."

SLOWEST_BYTES_PER_S = 32 * 1024
"""Who moves less than this gains no time beyond the time-out."""

_LOOK_S = 1.0  # an end may be moved, to and fro, without a word to the watch
_REST_S = 10.0  # the thread waits so long for something new to watch, and then ends


class Watched(Protocol):
    """What has an end; ``come_to_end`` is called once, soon after it, by the thread of the watch."""

    ends_at_s: float

    def come_to_end(self) -> None:
        """Do what is to be done then; quickly, since all others wait."""


class Watch:
    """
    Tell each thing that is watched when its time is over, from one thread for all.

    The thread starts when there is something to watch, and ends after a rest. It sleeps
    until the earliest end, and looks anew at least every second.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Watch nothing, with no thread: the state of a new process."""
        self._changed = threading.Condition(threading.Lock())  # guards all that follows; nobody is called under it
        self._watched: set[Watched] = set()
        self._looks_at_s = inf
        self._thread: threading.Thread | None = None

    def add(self, one: Watched) -> None:
        """
        Watch *one* until its end.

        Raises:
            UnreachableError: This machine lets no more threads start.
        """
        with self._changed:
            if self._thread is None or not self._thread.is_alive():
                thread = threading.Thread(target=self._run, name="rembg-deadlines", daemon=True)
                try:
                    thread.start()  # it can do nothing before this lock is free
                except RuntimeError:
                    raise UnreachableError(message=_NO_THREADS, code="no_threads") from None
                self._thread = thread
            self._watched.add(one)
            if _end_of(one) < self._looks_at_s:
                self._changed.notify()

    def remove(self, one: Watched) -> None:
        """Watch *one* no longer; it may just be coming to its end."""
        with self._changed:
            self._watched.discard(one)

    def _run(self) -> None:
        while (ended := self._wait()) is not None:
            for one in ended:
                with suppress(Exception):  # whatever is wrong with one, the others need their end
                    one.come_to_end()

    def _wait(self) -> list[Watched] | None:
        """Sleep until there is something to look at; return what has ended, or None after a long rest."""
        with self._changed:
            now_s = monotonic()
            if self._watched:
                left_s = min(map(_end_of, self._watched)) - now_s
                self._sleep(now_s, min(_LOOK_S, left_s))
            elif not self._sleep(now_s, _REST_S) and not self._watched:
                self._thread = None
                return None
            now_s = monotonic()
            ended = [one for one in self._watched if _end_of(one) <= now_s]
            self._watched.difference_update(ended)
            return ended

    def _sleep(self, now_s: float, seconds: float) -> bool:
        """Sleep for *seconds*, or until something with an earlier end comes; return whether it came."""
        if seconds <= 0:
            return True
        self._looks_at_s = now_s + seconds
        try:
            return self._changed.wait(seconds)
        finally:
            self._looks_at_s = -inf  # awake: it will look by itself


def _end_of(one: Watched) -> float:
    try:
        return float(one.ends_at_s)
    except Exception:  # noqa: BLE001  # one without an end is at its end, and the watch goes on
        return -inf


WATCH = Watch()
os.register_at_fork(after_in_child=WATCH.reset)


class Deadline:
    """
    Cut the connection of a call that takes longer than it may, wherever it hangs.

    Time-outs of single reads and writes cannot see a server that sends a byte a
    minute. The watch shuts the socket down, upon which the waiting call fails. Each byte
    that moves earns time at ``SLOWEST_BYTES_PER_S``.
    """

    def __init__(self, timeout_s: float) -> None:
        self._started_at_s = monotonic()
        self._timeout_s = timeout_s
        self.ends_at_s = self._started_at_s + timeout_s
        self.is_passed = False
        self._is_over = False
        self._lock = threading.Lock()  # guards what is cut, and whether; a socket is shut down under it, without a wait
        self._socket: socket.socket | None = None

    def __enter__(self) -> Self:
        WATCH.add(self)
        return self

    def __exit__(self, *_: object) -> None:
        self.is_met()
        WATCH.remove(self)

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
        """Stop the clock while the caller does something else."""
        left_s = self.ends_at_s - monotonic()
        self.ends_at_s = inf
        try:
            yield
        finally:
            self.ends_at_s = monotonic() + left_s

    def is_met(self) -> bool:
        """End the call's time and say whether it sufficed; from now on nothing is cut any more."""
        with self._lock:
            self._is_over = True
            return not self.is_passed

    def cuts(self, connection: socket.socket | None) -> None:
        """Name the socket that the call is on; None when it may serve another call from now on."""
        with self._lock:
            self._socket = connection
            self._cut_if_passed()

    def come_to_end(self) -> None:
        """Cut the call, unless it is over."""
        with self._lock:
            self.is_passed = not self._is_over
            self._cut_if_passed()

    def _cut_if_passed(self) -> None:
        if self.is_passed and not self._is_over and self._socket is not None:
            with suppress(OSError):  # of the plain socket: one of TLS would wait for the other side
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)
