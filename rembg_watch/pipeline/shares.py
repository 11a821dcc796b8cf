"""
Which folders' disks let threads wait: a share whose server is gone neither answers nor fails.

Nothing can end a thread that waits for such a share. What can be done is to notice it, to send
no further one after it, and to have others do the work of those that are lost meanwhile.
"""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

HUNG_S = 15.0
"""After so long in one look, read or write a share counts as one that hangs; it is taken back as soon as it answers."""

TURN_HUNG_S = 60.0
"""The same for the turn of a thread that watches a folder, which is many looks."""


@dataclass(slots=True)
class Touch:
    """One thread's stay in a folder's disk."""

    folder: str
    since_s: float
    limit_s: float


class Shares:
    """Knows who is waiting for the disk of which folder; safe to share between threads, and without a lock."""

    def __init__(self, now_s: Callable[[], float]) -> None:
        self._now_s = now_s
        self._touches: dict[int, Touch] = {}  # by thread; each act on it is atomic

    @contextmanager
    def touching(self, folder: str) -> Iterator[Callable[[], None]]:
        """Say that this thread now depends on a folder's disk; what it is given is called when the disk has moved."""
        here, outer = threading.get_ident(), self._touches.get(threading.get_ident())
        touch = self._touches[here] = Touch(folder, self._now_s(), HUNG_S)

        def moved() -> None:
            touch.since_s = self._now_s()

        try:
            yield moved
        finally:
            if outer is None:
                del self._touches[here]
            else:
                self._touches[here] = Touch(outer.folder, self._now_s(), outer.limit_s)

    def begin_turn(self, folder: str) -> None:
        """Say that this thread depends on a folder's disk until ``end_turn``."""
        self._touches[threading.get_ident()] = Touch(folder, self._now_s(), TURN_HUNG_S)

    def end_turn(self) -> None:
        """Say that this thread depends on no disk now."""
        self._touches.pop(threading.get_ident(), None)

    def await_answer(self, folder: str, look: Callable[[], object]) -> None:
        """Count a folder's disk as one that does not answer until *look*, in a thread of its own, comes back."""

        def wait() -> None:
            here = threading.get_ident()
            self._touches[here] = Touch(folder, self._now_s(), 0.0)
            waits.set()
            try:
                look()
            except OSError:  # an answer, too
                pass
            finally:
                del self._touches[here]

        waits = threading.Event()
        threading.Thread(target=wait, name=f"waiting for {folder}", daemon=True).start()
        waits.wait()

    def hung(self) -> Mapping[str, float]:
        """Name the folders whose disk does not answer, each with the seconds since when."""
        now_s, found = self._now_s(), dict[str, float]()
        for touch in tuple(self._touches.values()):
            silent_s = now_s - touch.since_s
            if silent_s > touch.limit_s:
                found[touch.folder] = max(silent_s, found.get(touch.folder, 0.0))
        return found

    def is_hung(self, folder: str) -> bool:
        """Say whether a folder's disk does not answer now."""
        return bool(self._touches) and folder in self.hung()

    def is_lost(self, thread: int | None) -> bool:
        """Say whether a thread waits for a disk that does not answer."""
        touch = self._touches.get(thread or 0)
        return touch is not None and self._now_s() - touch.since_s > touch.limit_s
