"""Threads that take items from one queue, each through one step, and show that they live."""

import queue
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Generic, TypeVar

from rembg_watch.host import processors

T = TypeVar("T")
Beat = Callable[[str], None]

MOST_FOR_ONE = 4
"""A group grows to so many times its size while others of it are lost."""


@dataclass(frozen=True, slots=True)
class Pulse:
    """How the pool shows that it lives: *beat* when something moves, *rest* when there is nothing to do."""

    beat: Beat = lambda _part: None
    rest: Beat = lambda _part: None
    register: Beat = lambda _part: None
    forget: Beat = lambda _part: None


class ThreadGroup(Generic[T]):
    """
    A few threads that take items from one queue, each through one step.

    A thread may be lost for a while, to a disk that does not answer. ``replace_lost`` has another
    do its work; when it comes back, one of them is too many and ends. The threads of a group that
    many never need start with its first item.
    """

    def __init__(
        self,
        name: str,
        threads: int,
        take: Callable[[T, Callable[[], None]], None],
        pulse: Pulse,
        processor: int | None,
        *,
        is_lost: Callable[[int | None], bool] = lambda _thread: False,
        starts_at_need: bool = False,
    ) -> None:
        self._name = name
        self._size = threads
        self._processor = processor
        self._queue: queue.SimpleQueue[T | None] = queue.SimpleQueue()
        self._take = take
        self._pulse = pulse
        self._is_lost = is_lost
        self._lock = threading.Lock()  # guards ``_threads``; threads are started under it
        self._threads: list[threading.Thread] = []
        self._started = 0
        self._waits_for_need = starts_at_need

    def start(self) -> None:
        """Begin to take items, once there is one."""
        if self._waits_for_need and self._queue.empty():
            return
        with self._lock:
            if self._threads:
                return
            for _ in range(self._size):
                self._start_one()

    def _start_one(self) -> None:
        self._started += 1
        name = self._name if self._size == 1 == self._started else f"{self._name} {self._started}"
        thread = threading.Thread(target=self._run, args=(name,), name=name, daemon=True)
        self._pulse.register(name)
        self._threads.append(thread)
        thread.start()

    def replace_lost(self) -> None:
        """Start a thread for each that is lost; those that are lost are not expected to show that they live."""
        with self._lock:
            if not self._threads:
                return
            self._threads = [thread for thread in self._threads if thread.is_alive()]
            lost = [thread for thread in self._threads if self._is_lost(thread.ident)]
            for _ in range(self._size - (len(self._threads) - len(lost))):
                if len(self._threads) < MOST_FOR_ONE * self._size:
                    with suppress(RuntimeError):  # no thread can be started now: at the next look
                        self._start_one()
        for thread in lost:
            self._pulse.rest(thread.name)

    def put(self, item: T) -> None:
        """Have one of the threads take *item*."""
        self._queue.put(item)
        if self._waits_for_need and not self._threads:
            self.start()

    def close(self) -> None:
        """Let every thread end when what is queued before is done."""
        for _ in self._threads:
            self._queue.put(None)

    def join(self, timeout_s: float) -> bool:
        """Wait for all threads to end that are not lost, at most so long for the first; say whether all have."""
        alive = [one for one in tuple(self._threads) if one.is_alive() and not self._is_lost(one.ident)]
        for thread in alive[:1]:
            thread.join(timeout_s)
        return not any(thread.is_alive() and not self._is_lost(thread.ident) for thread in alive)

    def _run(self, name: str) -> None:
        def beat() -> None:
            self._pulse.beat(name)

        processors.stay_on(self._processor)
        while not self._is_one_too_many():
            self._pulse.rest(name)
            item = self._queue.get()
            beat()
            if item is None:
                self._pulse.rest(name)
                return
            self._take(item, beat)
        self._pulse.forget(name)

    def _is_one_too_many(self) -> bool:
        """Say whether this thread is not needed: one that was lost is back. It is counted no more then."""
        if len(self._threads) <= self._size:
            return False
        with self._lock:
            working = [thread for thread in self._threads if not self._is_lost(thread.ident)]
            if len(working) <= self._size:
                return False
            self._threads.remove(threading.current_thread())
            return True
