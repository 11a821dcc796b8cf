"""
Which contents are on their way to an answer: one job asks for each, and its copies wait for what comes of it.

A content is named by its key: the bytes that are sent and the parameters (``values.content_key``).
"""

import threading
from collections.abc import Iterable

_STRIPES = 64  # many more than there are threads that meet here


class Contents:
    """Remember who asks for what; safe to share between threads."""

    def __init__(self) -> None:
        # Each guards the contents whose key falls to it: who asks for them, and their answers in the spool.
        # Two contents may share a lock and then wait for each other. It is held while an answer that was paid for
        # is looked for and taken up: over the ledger, the spool and a read of the output, never over a call.
        self._locks = tuple(threading.Lock() for _ in range(_STRIPES))
        self._asking: dict[str, int] = {}  # content key -> job, from preparation to the end of the call or delivery

    def lock(self, key: str) -> threading.Lock:
        """Return the lock of one content."""
        return self._locks[hash(key) % _STRIPES]

    def is_asked_by_another(self, key: str, job_id: int) -> bool:
        """Say whether another job asks for this content; the caller holds its lock."""
        return self._asking.get(key, job_id) != job_id

    def begin(self, key: str, job_id: int) -> None:
        """Note that a job asks for this content from now on; the caller holds its lock."""
        self._asking[key] = job_id

    def end(self, key: str) -> None:
        """Let the copies of a picture find out how it went."""
        with self.lock(key):
            self._asking.pop(key, None)

    def begins(self, key: str, job_id: int) -> bool:
        """Note that a job asks for this from now on, unless another one does; say so."""
        with self.lock(key):
            if self.is_asked_by_another(key, job_id):
                return False
            self.begin(key, job_id)
            return True

    def end_all(self, keys: Iterable[str]) -> None:
        """Let those find out how it went who wait for any of these."""
        for key in keys:
            self.end(key)

    def is_asked(self, key: str) -> bool:
        """Say whether some job asks for this content now."""
        return key in self._asking
