"""
Commits that threads share.

A commit that must survive a power cut waits for the disk. Threads that want one at the
same time share it: the first leads, executes what all of them brought in one
transaction, and nobody returns before it is committed. Nothing is saved up: whoever is
alone commits alone. What a transaction is, and how it becomes durable, is for the store
to know.
"""

import threading
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from typing import Generic

from sqlalchemy import Connection

from rembg_watch.ledger.store import T, Work

_GROUP = 256  # pieces of work in one transaction


class _Entry(Generic[T]):
    """A piece of work on its way through a commit."""

    __slots__ = ("error", "is_done", "is_durable", "leads", "outcome", "woken", "work")

    def __init__(self, work: Work[T], *, is_durable: bool) -> None:
        self.work = work
        self.is_durable = is_durable
        self.woken = threading.Event()
        self.leads = False
        self.is_done = False
        self.outcome: T | None = None
        self.error: BaseException | None = None

    def execute(self, connection: Connection) -> None:
        try:
            self.outcome = self.work(connection)
        except Exception as error:
            self.error = error
            raise _SpoiledError from error


class _SpoiledError(Exception):
    """One piece of work failed; the transaction is undone and taken again without it."""


class SharedCommits:
    """
    Commits that threads share: one leads, the others wait, and nobody returns too early.

    A piece of work may be executed more than once, after another one in its
    transaction failed: it must do nothing but to the database.
    """

    def __init__(
        self, transaction: Callable[[bool], AbstractContextManager[Connection]], *, most: int = _GROUP
    ) -> None:
        self._transaction = transaction
        self._most = most
        self._lock = threading.Lock()  # guards who waits and who leads; the transaction itself runs without it
        self._waiting: deque[_Entry[object]] = deque()
        self._is_led = False

    def run(self, work: Work[T], *, is_durable: bool) -> T:
        """
        Execute *work* in a transaction and return when it is committed.

        Raises:
            Exception: What *work* raised, or the commit; then nothing of it is stored.
        """
        entry = _Entry(work, is_durable=is_durable)
        try:
            self._line_up(entry)
            if not entry.leads:
                entry.woken.wait()
            if not entry.is_done:
                self._lead()
        except BaseException:  # a signal: whoever waits for this thread to lead must not wait for ever
            self._leave(entry)
            raise
        if entry.error is not None:
            raise entry.error
        return entry.outcome  # type: ignore[return-value]  # it is done and has no error

    def _line_up(self, entry: _Entry[T]) -> None:
        with self._lock:
            self._waiting.append(entry)  # type: ignore[arg-type]  # whose outcome it is, only its owner asks
            entry.leads = not self._is_led
            self._is_led = True

    def _leave(self, entry: _Entry[T]) -> None:
        with self._lock:
            with suppress(ValueError):
                self._waiting.remove(entry)  # type: ignore[arg-type]
            if entry.leads and not entry.is_done:
                self._pass_on()

    def _lead(self) -> None:
        group: list[_Entry[object]] = []
        try:
            with self._lock:
                while self._waiting and len(group) < self._most:
                    group.append(self._waiting.popleft())
            self._commit(group)
        except BaseException as error:
            for entry in group:
                entry.error = entry.error or error
            raise
        finally:
            with self._lock:
                for entry in group:
                    entry.is_done = True
                self._pass_on()
            for entry in group:
                entry.woken.set()

    def _pass_on(self) -> None:
        """Let the next one lead, with the lock held."""
        self._is_led = bool(self._waiting)
        if self._is_led:
            self._waiting[0].leads = True
            self._waiting[0].woken.set()

    def _commit(self, group: list[_Entry[object]]) -> None:
        left = group
        while left:
            try:
                with self._transaction(any(entry.is_durable for entry in left)) as connection:
                    for entry in left:
                        entry.execute(connection)
            except _SpoiledError:
                left = [entry for entry in left if entry.error is None]
            except Exception as error:  # noqa: BLE001 - handed to each whose work it spoils
                for entry in left:
                    entry.error = entry.error or error
                return
            else:
                return
