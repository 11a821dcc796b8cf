"""
Locks that allow one daemon per state directory and per input folder, and name the process that holds them.

The kernel releases them when the process ends, however it ends, so that a kill leaves
nothing to clean up. The lock on the state directory is a ``flock`` on a file in it. The
lock on an input folder is an abstract socket that is named after it: it puts no lock file
among a studio's pictures, and keeps no file open that would prevent a share or a card
from being unmounted. It only excludes other processes on the same machine.
"""

import contextlib
import errno
import fcntl
import os
import socket
import struct
from collections.abc import Iterable
from pathlib import Path

from rembg_watch.errors import LockedError

LOCK_NAME = "lock"
_CREDENTIALS = struct.Struct("3i")  # pid, uid, gid


class Locks:
    """Every lock that a running daemon holds; it releases them together."""

    def __init__(self) -> None:
        self._open: list[int] = []
        self._inputs: list[socket.socket] = []

    def take(self, state_dir: Path, inputs: Iterable[Path]) -> None:
        """
        Lock *state_dir* and each of *inputs*.

        An input that does not exist (a share that is offline) is skipped; the state
        directory is locked all the same.

        Raises:
            LockedError: Another process holds one of them; the message says which.
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
                f"rembg-watch runs here already: state directory {state_dir} is in use by process {holder}. "
                f"`rembg-watch status` shows what it does; stop it before you start another for the same folders"
            )
        with contextlib.suppress(OSError):  # a full disk; the kernel's table names the holder too
            os.ftruncate(fd, 0)
            os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)

    def take_input(self, path: Path) -> bool:
        """
        Lock one input folder; return False if it cannot be locked at all.

        Raises:
            LockedError: Another process holds it.
        """
        try:
            found = path.stat()
            lock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        except OSError:
            return False
        name = f"\0rembg-watch input {found.st_dev:x}:{found.st_ino:x}"
        try:
            lock.bind(name)
            lock.listen(1)
        except OSError as error:
            lock.close()
            if error.errno != errno.EADDRINUSE:
                return False
            raise LockedError(
                f"input folder {path} is already watched by process {_listener(name)}: stop it, or remove the folder "
                f"from one of the two configurations"
            ) from error
        self._inputs.append(lock)
        return True

    def release(self) -> None:
        """Release everything; safe to call twice."""
        while self._inputs:
            self._inputs.pop().close()
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
    """Find the process that holds the lock on *fd* in the kernel's table; "unknown" if that cannot be read."""
    stat = os.fstat(fd)
    wanted = f"{os.major(stat.st_dev):02x}:{os.minor(stat.st_dev):02x}:{stat.st_ino}"
    try:
        rows = Path("/proc/locks").read_text().splitlines()
    except OSError:
        return "unknown"
    pids = (row.split()[4] for row in rows if "FLOCK" in row and wanted in row.split())
    return next(pids, "unknown")


def _listener(name: str) -> str:
    """Ask the kernel which process listens on a socket; "unknown" if it does not say."""
    with (
        contextlib.suppress(OSError),
        socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as caller,
    ):
        caller.settimeout(1.0)
        caller.connect(name)
        credentials = caller.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        pid = _CREDENTIALS.unpack(credentials)[0]
        return str(pid) if pid else "unknown"
    return "unknown"
