"""
Which places do not answer: a share whose server is gone lets whoever looks at it wait, without an error.

So a place that may be one is looked at first in a thread that can be left behind.
"""

import os
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path

SILENT_S = 3.0
"""An answer takes milliseconds, or a second where a share is mounted on demand; after so long none is waited for."""


def silent(
    paths: Iterable[Path], *, within_s: float = SILENT_S, look: Callable[[Path], object] = os.stat
) -> frozenset[Path]:
    """
    Return those of *paths* that a look does not come back from in time.

    One that fails has answered. Where no thread can be started, nobody is asked and nobody is silent.
    """
    looking: dict[Path, threading.Thread] = {}
    for path in set(paths):
        thread = threading.Thread(target=_look, args=(look, path), name="looking", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # no more threads can be started here, which is told where they are needed
            break
        looking[path] = thread
    until_s = time.monotonic() + within_s
    for thread in looking.values():
        thread.join(max(0.0, until_s - time.monotonic()))
    return frozenset(path for path, thread in looking.items() if thread.is_alive())


def _look(look: Callable[[Path], object], path: Path) -> None:
    try:
        look(path)
    except (OSError, ValueError):
        return
