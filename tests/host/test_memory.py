"""The C library is told how to keep memory."""

import platform
import subprocess
import sys

import pytest

PROBE = """
import ctypes, resource, threading
from rembg_watch.host.memory import LARGE_BYTES, limit_heaps
settles = {settles}
if settles:
    assert limit_heaps()
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.malloc.argtypes, libc.free.argtypes = [ctypes.c_size_t], [ctypes.c_void_p]
size = LARGE_BYTES // 4
def use():
    for _ in range(50):
        blocks = [libc.malloc(size) for _ in range(3)]
        for block in blocks:
            ctypes.memset(block, 1, size)
        for block in blocks:
            libc.free(block)
thread = threading.Thread(target=use)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
thread.start()
thread.join()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def page_faults(*, settles: bool) -> int:
    probe = PROBE.format(settles=settles)
    return int(subprocess.run([sys.executable, "-c", probe], check=True, capture_output=True, text=True).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library keeps memory in its own way")
def test_buffers_of_small_pictures_are_used_again_and_not_fetched_anew_from_the_kernel() -> None:
    assert page_faults(settles=True) * 10 < page_faults(settles=False)
