"""How many pictures are with the API at once."""

import threading
from collections.abc import Callable

BEAT_S = 1.0


class Slots:
    """
    So many pictures with the API at once, and no more.

    A call has its slot from its last byte until its answer comes. The next pictures are
    uploaded but for that byte meanwhile, and what came of the last ones is fetched and
    written down, so that no slot is empty for long. Where there are many, a few of the next write
    their intent to pay *ahead*, too: a slot is not kept empty by a disk. After a crash those
    are in doubt with the others, though they were not sent.
    """

    def __init__(self, count: int, *, ahead: int = 0, beat_s: float = BEAT_S) -> None:
        self._beat_s = beat_s
        # Both are held over the network: from before the intent is written, and from after it, until the answer comes.
        self._queue = threading.BoundedSemaphore(count + ahead)
        self._free = threading.BoundedSemaphore(count)

    def line_up(self, beat: Callable[[], None]) -> None:
        """Wait until an intent may be written, calling *beat* now and then."""
        self._wait_for(self._queue, beat)

    def take(self, beat: Callable[[], None]) -> None:
        """Wait for a slot."""
        self._wait_for(self._free, beat)

    def give_back(self, *, was_taken: bool) -> None:
        """Let the next one line up, and have the slot if it was taken."""
        if was_taken:
            self._free.release()
        self._queue.release()

    def _wait_for(self, one: threading.Semaphore, beat: Callable[[], None]) -> None:
        while not one.acquire(timeout=self._beat_s):
            beat()
