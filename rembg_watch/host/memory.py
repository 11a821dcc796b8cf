"""
How much memory there is, and how a process with many threads keeps it when it runs for months.

By default, glibc gives threads heaps of their own, up to eight per core, each of which keeps some
memory. It returns the memory of a decoded picture to the kernel at once, only to fetch and clear it
again for the next one: half of the cost of verifying a small picture. Two heaps that keep a few
megabytes are faster and smaller.
"""

import contextlib
import ctypes
import functools
import os
from pathlib import Path

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


@functools.cache
def memory_bytes(proc: Path = Path("/proc"), groups: Path = Path("/sys/fs/cgroup")) -> int:
    """Return how much memory this process and its children may have: the machine's, or less by their control groups."""
    limits = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    with contextlib.suppress(OSError, ValueError):
        for line in (proc / "self/cgroup").read_text(encoding="utf-8").splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers in ("", "memory"):
                limits += _group_limits(groups / ("memory" if controllers else "."), path.strip("/"))
    return min(limits)


def _group_limits(root: Path, path: str) -> list[int]:
    """Read the limits of a control group and of all above it, in either version of the kernel's files."""
    found = []
    for group in [root / path, *(root / parent for parent in Path(path).parents)]:
        for name in ("memory.max", "memory.high", "memory.limit_in_bytes"):
            with contextlib.suppress(OSError, ValueError):  # none there, or "max"
                found.append(int((group / name).read_text(encoding="ascii")))
    return found
