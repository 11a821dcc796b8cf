"""
One daemon per state directory and per input folder, and a name for whoever holds it.

Locks are ``flock`` on open files: the kernel drops them when the process ends,
however it ends, so that a kill leaves nothing to clean up. The input folder itself
is locked, which leaves no lock file among a studio's pictures.
"""

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterable
from pathlib import Path

from rembg_watch.errors import LockedError

LOCK_NAME = "lock"


class Locks:
    """Hold every lock that one running daemon needs; release them together."""

    def __init__(self) -> None:
        self._open: list[int] = []

    def take(self, state_dir: Path, inputs: Iterable[Path]) -> None:
        """
        Lock *state_dir* and each of *inputs*.

        An input that cannot be opened (a share that is offline) or locked (a network
        file system without locks) is passed over: the state directory's own lock stands.

        Raises:
            LockedError: Another process holds one of them; the sentence says who.
        """
        try:
            self._take_state(state_dir)
            for path in inputs:
                self.take_input(path)
        except LockedError:
            self.release()
            raise

    def _take_state(self, state_dir: Path) -> None:
        path = state_dir / LOCK_NAME
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._open.append(fd)
        if not _lock(fd):
            holder = os.pread(fd, 32, 0).decode("ascii", "replace").strip() or _holder(fd)
            raise LockedError(
                f"state directory {state_dir} is in use by process {holder}: stop it, "
                f"or give this one a state_dir of its own"
            )
        with contextlib.suppress(OSError):  # a full disk; the kernel's table names the holder, too
            os.ftruncate(fd, 0)
            os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)

    def take_input(self, path: Path) -> bool:
        """Lock one input folder; False if it cannot be locked at all."""
        try:
            fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            locked = _lock(fd)
        except OSError:
            os.close(fd)
            return False
        if not locked:
            holder = _holder(fd)
            os.close(fd)
            raise LockedError(
                f"input folder {path} is already watched by process {holder}: stop it, or remove the folder from one "
                f"of the two configurations"
            )
        self._open.append(fd)
        return True

    def release(self) -> None:
        """Let go of everything; safe to call twice."""
        while self._open:
            os.close(self._open.pop())


def _lock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in {errno.EWOULDBLOCK, errno.EACCES}:
            return False
        raise
    return True


def _holder(fd: int) -> str:
    """Find who holds the lock on *fd* in the kernel's table; "unknown" where it cannot be read."""
    stat = os.fstat(fd)
    wanted = f"{os.major(stat.st_dev):02x}:{os.minor(stat.st_dev):02x}:{stat.st_ino}"
    try:
        rows = Path("/proc/locks").read_text().splitlines()
    except OSError:
        return "unknown"
    pids = (row.split()[4] for row in rows if "FLOCK" in row and wanted in row.split())
    return next(pids, "unknown")
