"""
Which processor the pool's threads run on when there are many of them.

Whenever a thread makes a system call, CPython's lock (the GIL) passes to the next thread that waits
for it. The kernel wakes that thread on whichever processor is idle, and by the time it runs, another
thread has often taken the lock. With 64 workers on two processors this was 40 % of the daemon's work,
and during that time no thread held the lock. On one processor the next thread simply continues. Code
that needs no lock for long, and every child process, may still run anywhere.
"""

import contextlib
import ctypes
import os
import sys
from collections.abc import Iterator

MANY_WORKERS = 40
"""At least this many. With 32, it makes no difference; with 48, 94 to 98 % of what the workers allow became 99 %."""


def shared_processor(workers: int) -> int | None:
    """
    Choose the processor for the threads of a pool: the one that the caller is running on.

    Returns:
        Its number; None if the threads may run anywhere: there are few of them, only one
        processor is available, or this Python has no GIL.
    """
    if workers < MANY_WORKERS or not getattr(sys, "_is_gil_enabled", lambda: True)():
        return None
    ours = _may_use(0)
    with contextlib.suppress(OSError, AttributeError):  # not Linux
        here: int = ctypes.CDLL(None).sched_getcpu()
        return here if len(ours) > 1 and here in ours else None
    return None


def stay_on(processor: int | None) -> None:
    """Keep the calling thread on *processor* from now on, if the machine allows it."""
    if processor is not None:
        _move(0, {processor})


@contextlib.contextmanager
def anywhere() -> Iterator[None]:
    """Let the calling thread run on any processor for a while: it computes without the lock."""
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
    """Return a thread's processors; the process id is also the id of the first thread, which is never moved."""
    with contextlib.suppress(OSError, AttributeError):
        return os.sched_getaffinity(thread)
    return set()


def _move(thread: int, processors: set[int]) -> None:
    with contextlib.suppress(OSError, AttributeError):  # a service that may not choose works too, only slower
        os.sched_setaffinity(thread, processors)
