"""Threads that take items from one queue, each through one step, and show that they live."""

import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from rembg_watch.host import processors

T = TypeVar("T")
Beat = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Pulse:
    """How the pool shows that it lives: *beat* when something moves, *rest* when there is nothing to do."""

    beat: Beat = lambda _part: None
    rest: Beat = lambda _part: None
    register: Beat = lambda _part: None


class ThreadGroup(Generic[T]):
    """A few threads that take items from one queue, each through one step."""

    def __init__(
        self,
        name: str,
        threads: int,
        take: Callable[[T, Callable[[], None]], None],
        pulse: Pulse,
        processor: int | None,
    ) -> None:
        self._processor = processor
        self._queue: queue.SimpleQueue[T | None] = queue.SimpleQueue()
        self._take = take
        self._pulse = pulse
        names = [name] if threads == 1 else [f"{name} {number}" for number in range(1, threads + 1)]
        self._threads = [threading.Thread(target=self._run, args=(each,), name=each, daemon=True) for each in names]

    def start(self) -> None:
        """Begin to take items."""
        for thread in self._threads:
            self._pulse.register(thread.name)
            thread.start()

    def put(self, item: T) -> None:
        """Have one of the threads take *item*."""
        self._queue.put(item)

    def close(self) -> None:
        """Let every thread end when what is queued before is done."""
        for _ in self._threads:
            self._queue.put(None)

    def join(self, timeout_s: float) -> bool:
        """Wait for all threads to end, at most so long for the first that has not; say whether all have."""
        alive = [thread for thread in self._threads if thread.is_alive()]
        for thread in alive[:1]:
            thread.join(timeout_s)
        return not any(thread.is_alive() for thread in alive)

    def _run(self, name: str) -> None:
        def beat() -> None:
            self._pulse.beat(name)

        processors.stay_on(self._processor)
        while True:
            self._pulse.rest(name)
            item = self._queue.get()
            beat()
            if item is None:
                self._pulse.rest(name)
                return
            self._take(item, beat)
