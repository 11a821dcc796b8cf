"""Sums over much of the ledger, which a page shows and need not make each time."""

import threading
from collections.abc import Callable, Hashable
from contextlib import suppress
from datetime import datetime
from typing import Any, TypeVar

from rembg_watch.errors import LedgerError

T = TypeVar("T")


class Kept:
    """
    Sums that are made anew once they are old, or of something else.

    One that has just grown old is still given, while the next one is made by a thread of its own: nobody waits who asks
    again and again. Two threads that ask at once where there is none both make it.
    """

    def __init__(self) -> None:
        self._known: dict[str, tuple[datetime, Hashable, Any]] = {}
        self._lock = threading.Lock()  # guards the dict below
        self._making: dict[str, threading.Thread] = {}

    def take(self, key: str, make: Callable[[], T], *, now: datetime, for_s: float, version: Hashable = None) -> T:
        """Return what is known under *key* of this *version*, or make it; what is older than *for_s* is made anew."""
        known = self._known.get(key)
        age_s = (now - known[0]).total_seconds() if known is not None else -1.0
        if known is None or known[1] != version or not 0 <= age_s < 2 * for_s:
            return self._make(key, make, now, version)
        if age_s >= for_s:
            self._make_behind(key, make, now, version)
        found: T = known[2]
        return found

    def _make(self, key: str, make: Callable[[], T], now: datetime, version: Hashable) -> T:
        made = make()
        self._known = {one: value for one, value in self._known.items() if (now - value[0]).days < 1}
        self._known[key] = (now, version, made)
        return made

    def _make_behind(self, key: str, make: Callable[[], T], now: datetime, version: Hashable) -> None:
        def work() -> None:
            try:
                with suppress(LedgerError):  # whoever asks next is told
                    self._make(key, make, now, version)
            finally:
                with self._lock:
                    del self._making[key]

        with self._lock:
            if key in self._making:
                return
            thread = self._making[key] = threading.Thread(target=work, name=f"sum {key}", daemon=True)
        thread.start()

    def wait(self, timeout_s: float) -> None:
        """Wait for what is being made by threads of its own."""
        with self._lock:
            under_way = list(self._making.values())
        for thread in under_way:
            thread.join(timeout_s)
