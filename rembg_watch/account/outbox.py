"""What is decided under a lock, and written down and reported after it: in order, and before the decider goes on."""

import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial

from rembg_watch.report.events import Event, Reporter

Keep = Callable[[str, Mapping[str, object]], None]
"""Writes a note into the ledger; a ledger that takes nothing is its own matter."""


class Outbox:
    """
    Notes and events that wait until the lock of whoever decides is free again.

    A slow disk or a slow reporter holds up only those who have something to send. Whoever
    put something in goes on when it is out, whichever thread has sent it: a canary never leaves
    before the ledger knows of it. What was put in first goes out first.

    A reporter may call back; it must not wait for another thread that has something to send.
    """

    def __init__(self, *, keep: Keep, report: Reporter) -> None:
        self._keep = keep
        self._report = report
        self._letters: deque[Callable[[], object]] = deque()
        self._putters: set[int] = set()  # threads whose letters may not be out yet; the decider's lock guards it
        self._sending = threading.Lock()  # guards the order: one thread at a time takes letters out and sends them
        self._sender: int | None = None  # that thread

    def keep(self, name: str, note: Mapping[str, object]) -> None:
        """Have a note written down; the caller holds its lock."""
        self._put(partial(self._keep, name, note))

    def report(self, event: Event | None) -> None:
        """Have an event reported, if there is one; the caller holds its lock."""
        if event is not None:
            self._put(partial(self._report, event))

    def _put(self, letter: Callable[[], object]) -> None:
        self._letters.append(letter)
        self._putters.add(threading.get_ident())

    def is_waited_for(self) -> bool:
        """Say whether this thread has put something in since it has the lock."""
        return threading.get_ident() in self._putters

    @contextmanager
    def after(self, lock: threading.Condition) -> Iterator[None]:
        """Hold *lock*; once it is free again, send what was put in meanwhile."""
        with lock:
            yield
            is_mine = self.is_waited_for()
            self._putters.discard(threading.get_ident())
        if is_mine:
            self._send()

    def _send(self) -> None:
        """Send all that waits; what another thread is sending is out when this returns."""
        if self._sender == threading.get_ident():
            return  # a reporter has called back: the loop below it goes on with what that put in
        with self._sending:
            self._sender = threading.get_ident()
            try:
                while self._letters:
                    self._letters.popleft()()
            finally:
                self._sender = None
