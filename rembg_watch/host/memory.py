"""
How a process with many threads keeps memory when it decodes pictures and runs for months.

By default, glibc gives threads heaps of their own, up to eight per core, each of which keeps some
memory. It returns the memory of a decoded picture to the kernel at once, only to fetch and clear it
again for the next one: half of the cost of verifying a small picture. Two heaps that keep a few
megabytes are faster and smaller.
"""

import contextlib
import ctypes

_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_M_ARENA_MAX = -8

HEAPS = 2
KEPT_BYTES = 32 * 1024 * 1024
"""How much unused memory a heap keeps."""

LARGE_BYTES = 4 * 1024 * 1024
"""Anything larger gets a mapping of its own, which goes back to the kernel when it is freed."""


def limit_heaps() -> bool:
    """Set this in the C library, before there are threads; return whether it worked: only glibc supports it."""
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        wishes = ((_M_ARENA_MAX, HEAPS), (_M_TRIM_THRESHOLD, KEPT_BYTES), (_M_MMAP_THRESHOLD, LARGE_BYTES))
        accepted = {mallopt(name, value) for name, value in wishes}  # each is tried, even if one is refused
        return accepted == {1}
    return False
