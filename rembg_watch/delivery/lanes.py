"""
How many pictures are decoded at once: by the memory that they need, and by what they are decoded for.

To look at an answer is short, to make a file of a large picture takes minutes. Each has a lane of its own, so that
the short never waits behind the long; their widths together are within the memory there is.
"""

import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rembg_watch.delivery.waiting import BEAT_S, NOBODY, Waiting


class Lane:
    """So many places of so many bytes each; safe to share between threads."""

    def __init__(self, places: int, width_bytes: int) -> None:
        self._most = places
        self._each_bytes = max(1, width_bytes // places)
        self._places: queue.SimpleQueue[None] = queue.SimpleQueue()  # a semaphore that costs next to nothing
        for _ in range(places):
            self._places.put(None)
        self._gathering = threading.Lock()  # held while one takes several places, lest two wait for each other's

    @contextmanager
    def taken(self, needed_bytes: int, waiting: Waiting = NOBODY) -> Iterator[Callable[[], None]]:
        """
        Wait until a picture may be decoded that needs so much: a large one takes several places, at most all.

        Args:
            needed_bytes: How much memory it takes, about.
            waiting: Told every few seconds until it may that all is well.

        Yields:
            What gives the places back before the end: whoever holds them waits for a disk, and others need not.
        """
        count = min(self._most, 1 + needed_bytes // self._each_bytes)
        if count == 1:
            self._take(waiting)
        else:
            while not self._gathering.acquire(timeout=BEAT_S):
                _is_well(waiting)
            try:
                for _ in range(count):
                    self._take(waiting)
            finally:
                self._gathering.release()
        held = [None] * count

        def give_back() -> None:
            while held:
                self._places.put(held.pop())

        try:
            yield give_back
        finally:
            give_back()

    def _take(self, waiting: Waiting) -> None:
        while True:
            try:
                return self._places.get(timeout=BEAT_S)
            except queue.Empty:
                _is_well(waiting)


def _is_well(waiting: Waiting) -> None:
    waiting.beat()
    waiting.moved()
