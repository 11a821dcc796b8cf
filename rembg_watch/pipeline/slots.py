"""How many pictures are with the API at once."""

import threading
from collections.abc import Callable

BEAT_S = 1.0


class Slots:
    """
    So many pictures with the API at once, and no more.

    A call has its slot from before its intent is written until its answer comes. The next
    pictures are uploaded but for their last byte meanwhile, and what came of the last ones
    is fetched and written down, so that no slot is empty for long.
    """

    def __init__(self, count: int, *, beat_s: float = BEAT_S) -> None:
        self._beat_s = beat_s
        self._free = threading.BoundedSemaphore(count)  # held over the ledger and the network, until the answer comes

    def take(self, beat: Callable[[], None]) -> None:
        """Wait for a slot, calling *beat* now and then."""
        while not self._free.acquire(timeout=self._beat_s):
            beat()

    def give_back(self) -> None:
        """Let the next one have the slot."""
        self._free.release()
