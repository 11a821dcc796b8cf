"""
How memory is kept by a process of many threads that decodes pictures and runs for months.

As it comes, glibc gives each thread a heap of its own and returns what a decoded
picture took to the kernel at once, only to fetch and clear it anew for the next one:
half of the cost of verifying a small picture, and eight heaps per core that each keep
something. Two heaps that keep a few megabytes are faster and smaller.

Python looks through everything there is for rings of garbage, now and then. What was there
at the start, modules above all, stays for good and is not to be looked through again: 80 ms in which
no other thread does anything.
"""

import contextlib
import ctypes
import gc

_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_M_ARENA_MAX = -8

HEAPS = 2
KEPT_BYTES = 32 * 1024 * 1024
"""So much unused memory stays with a heap."""

LARGE_BYTES = 4 * 1024 * 1024
"""What is larger is mapped alone and goes back to the kernel when it is freed: a large picture leaves nothing."""


def settle_heaps() -> bool:
    """Tell the C library so, before there are threads; return whether it listens: only glibc does."""
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        wishes = ((_M_ARENA_MAX, HEAPS), (_M_TRIM_THRESHOLD, KEPT_BYTES), (_M_MMAP_THRESHOLD, LARGE_BYTES))
        return bool(min(mallopt(name, value) for name, value in wishes) == 1)  # each of them, though one be refused
    return False


def settle_objects() -> None:
    """Let Python's search for garbage leave alone what is there now: after the modules are loaded, and once."""
    gc.collect()
    gc.freeze()
