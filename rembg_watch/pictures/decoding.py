"""
Ask a decoder about a picture whose parts do not say that it is whole.

Some programs leave out an end mark and every viewer shows the picture all the same. So before such a
file is given up it is decoded once, at no credit, in a process of its own: what stands in a watched
folder may come from anybody, and a decoder that crashes, hangs or needs gigabytes must not be the
daemon. This is rare, so that the process is started for one picture and ends with it, and only one
decodes at a time, whatever the number of folders: a large one takes hundreds of megabytes. Memory that
it cannot have says nothing about the picture.
"""

import contextlib
import errno
import os
import resource
import signal
import subprocess
import sys
import threading
import warnings
from collections.abc import Sequence
from pathlib import Path

from rembg_watch.host.interpreter import environment

PROCESSOR_LIMIT_S = 20
LIMIT_S = 30.0
"""After so long a picture counts as one that cannot be decoded; the largest take a few seconds."""

MEMORY_BYTES = 3 << 30
"""What the process may ask for; the largest picture that the service takes needs less than half."""

_one_at_a_time = threading.Lock()  # guards this machine's memory: held while a process decodes

TURN_S = 5.0
"""So long one waits for another to be decoded; a folder's thread has other things to do."""

COMMAND = (sys.executable, "-P", "-S", "-W", "ignore", "-c", "from rembg_watch.pictures.decoding import main; main()")
_YES, _NO, _NO_MEMORY = 0, 3, 4
_BY_PILLOW = frozenset({"JPEG", "PNG", "WEBP", "BMP"})


class UndecidedError(OSError):
    """No process to decode a picture can be started now: nothing is known of the picture."""


def decodes(fd: int, kind: str, largest_side_px: int, command: Sequence[str] = COMMAND) -> bool:
    """
    Say if the picture in an open file can be decoded to its last pixel.

    Args:
        fd: The file; it is read from its start.
        kind: What it is, as Pillow calls it, or as it is called here where the service does not take it.
        largest_side_px: A picture with a longer side is none.
        command: Starts the process.

    Raises:
        UndecidedError: That cannot be found out now.
    """
    if not _one_at_a_time.acquire(timeout=TURN_S):
        raise UndecidedError(errno.EBUSY, "others are being decoded before it")
    try:
        code = _ended([*command, kind, str(largest_side_px)], fd)
    finally:
        _one_at_a_time.release()
    if code in {_NO_MEMORY, -signal.SIGKILL}:  # the kernel kills this process first where memory runs out
        raise UndecidedError(errno.ENOMEM, "there is not enough memory to decode it now")
    if code in {_YES, _NO} or code < 0:
        return code == _YES
    raise UndecidedError(None, f"the process that should decode it ended with exit code {code}")


def _ended(command: Sequence[str], fd: int) -> int:
    try:
        return subprocess.run(  # noqa: S603  # our own program
            command,
            stdin=fd,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            env=environment(),
            timeout=LIMIT_S,
            check=False,
            start_new_session=True,
        ).returncode
    except subprocess.TimeoutExpired:
        return _NO
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        raise UndecidedError(
            getattr(error, "errno", None), f"no process can be started to decode it: {error}"
        ) from error


def main() -> None:
    """Decode what comes by standard input, and say by the exit code how it went."""
    _be_harmless()
    kind, largest_side_px = sys.argv[1], int(sys.argv[2])
    try:
        is_decoded = _is_decoded(kind, largest_side_px)
    except MemoryError:
        os._exit(_NO_MEMORY)
    os._exit(_YES if is_decoded else _NO)


def _be_harmless() -> None:
    for limit, value in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_CPU, PROCESSOR_LIMIT_S),
        (resource.RLIMIT_AS, MEMORY_BYTES),
    ):
        with contextlib.suppress(OSError, ValueError):  # whoever started the daemon has set a lower one
            # a second more: at the last limit of processor time the kernel kills as it does for want of memory
            resource.setrlimit(limit, (value, value + 1))
    signal.alarm(int(LIMIT_S))  # if the daemon is gone meanwhile nobody else ends this process
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("500", encoding="ascii")


def _is_decoded(kind: str, largest_side_px: int) -> bool:
    warnings.simplefilter("ignore")
    if kind not in _BY_PILLOW:
        return _is_read_here(largest_side_px)
    from PIL import Image  # whoever only asks needs no decoder

    Image.MAX_IMAGE_PIXELS = 2 * largest_side_px**2
    try:
        with os.fdopen(os.dup(0), "rb") as file:
            file.seek(0)
            with Image.open(file, formats=(kind,)) as picture:
                if max(picture.size) > largest_side_px:
                    return False
                picture.load()
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001  # whatever else a decoder raises, this is its answer
        return False
    return True


def _is_read_here(largest_side_px: int) -> bool:
    """Decode what the service does not take, as it is decoded for the copy that is sent."""
    from rembg_watch.pictures.opening import open_picture

    try:
        opened = open_picture(0)
        if max(opened.width, opened.height) > largest_side_px:
            return False
        opened.image.avg()
    except Exception:  # noqa: BLE001  # whatever a decoder raises, this is its answer
        return False
    return True
