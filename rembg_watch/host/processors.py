"""
On which processor the pool's threads run, where there are many of them.

Whenever a thread asks the kernel for something, CPython's lock goes to the next one that waits for
it. That one is woken on whichever processor is idle, and by the time it runs the lock is often
taken again. With 64 workers on two processors this was 40 % of the daemon's work, and for as long
the lock was nobody's. On one processor the next thread just goes on. What needs no
lock for long, and every child process, may run anywhere all the same.
"""

import contextlib
import ctypes
import os
import sys
from collections.abc import Iterator

MANY_WORKERS = 40
"""From so many on. With 32 all is as fast either way; with 48, 94 to 98 % of what the workers allow became 99 %."""


def shared_processor(workers: int) -> int | None:
    """
    Choose the processor for the threads of a pool: the one that the kernel has given to the caller just now.

    Returns:
        Its number; None if the threads are to run anywhere: there are few, the machine
        gives us one processor alone, or this Python has no lock that they would share.
    """
    if workers < MANY_WORKERS or not getattr(sys, "_is_gil_enabled", lambda: True)():
        return None
    ours = _may_use(0)
    with contextlib.suppress(OSError, AttributeError):  # not Linux
        here: int = ctypes.CDLL(None).sched_getcpu()
        return here if len(ours) > 1 and here in ours else None
    return None


def stay_on(processor: int | None) -> None:
    """Keep the calling thread on *processor* from now on, as far as the machine lets it."""
    if processor is not None:
        _move(0, {processor})


@contextlib.contextmanager
def anywhere() -> Iterator[None]:
    """Let the calling thread run on any processor for a while: it computes, and needs no lock."""
    here, ours = _may_use(0), _may_use(os.getpid())
    if here == ours:
        yield
        return
    _move(0, ours)
    try:
        yield
    finally:
        _move(0, here)


def let_go(pid: int) -> None:
    """Let a child process run on any processor, whichever thread started it."""
    if _may_use(0) != (ours := _may_use(os.getpid())):
        _move(pid, ours)


def _may_use(thread: int) -> set[int]:
    """Return the processors of a thread; the process's own number is that of its first thread, which is never moved."""
    with contextlib.suppress(OSError, AttributeError):
        return os.sched_getaffinity(thread)
    return set()


def _move(thread: int, processors: set[int]) -> None:
    with contextlib.suppress(OSError, AttributeError):  # a service that may not choose runs as well, if slower
        os.sched_setaffinity(thread, processors)
