"""
A colleague who opens every cut-out at the very moment at which it appears.

Notices of the kernel, read without a library: a name that appears is opened and shown at once, and a
name that people see must never be written to, however short the moment.
"""

import ctypes
import os
import select
import struct
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.torture.pictures import what_is_wrong

_MODIFY, _CLOSE_WRITE, _MOVED_TO, _CREATE = 0x2, 0x8, 0x80, 0x100
_Q_OVERFLOW, _IS_DIRECTORY = 0x4000, 0x40000000
_HEAD = struct.Struct("iIII")
_libc = ctypes.CDLL(None, use_errno=True)


class Eyes:
    """Look at everything that appears below *root*, until the context ends."""

    def __init__(self, root: os.PathLike[str]) -> None:
        self.root = os.fsencode(root)
        self.half_made: list[str] = []
        self.seen = 0
        self.missed = 0  # times that the kernel told of more than it could
        self._directories: dict[int, bytes] = {}
        self._fd = _libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._look, name="eyes")

    def __enter__(self) -> Self:
        self._enter(self.root)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_over.set()
        self._thread.join()
        os.close(self._fd)

    def _enter(self, directory: bytes) -> None:
        """Watch a directory, and look at what came into it before."""
        mask = _MODIFY | _CLOSE_WRITE | _MOVED_TO | _CREATE
        descriptor = _libc.inotify_add_watch(self._fd, directory, mask)
        if descriptor < 0:
            raise OSError(ctypes.get_errno(), "no watch", directory)
        self._directories[descriptor] = directory
        for entry in list(os.scandir(directory)):
            if entry.is_dir(follow_symlinks=False):
                self._enter(entry.path)
            else:
                self._appeared(directory, entry.name)

    def _look(self) -> None:
        poll = select.poll()
        poll.register(self._fd, select.POLLIN)
        while True:
            is_last = self._is_over.is_set()
            if poll.poll(100):
                self._read(os.read(self._fd, 1 << 18))
            elif is_last:
                return

    def _read(self, notices: bytes) -> None:
        at = 0
        while at < len(notices):
            descriptor, mask, _, length = _HEAD.unpack_from(notices, at)
            name = notices[at + _HEAD.size : at + _HEAD.size + length].rstrip(b"\0")
            at += _HEAD.size + length
            if mask & _Q_OVERFLOW:
                self.missed += 1
            elif mask & _IS_DIRECTORY:
                self._enter(self._directories[descriptor] + b"/" + name)
            else:
                self._heed(mask, self._directories[descriptor], name)

    def _heed(self, mask: int, directory: bytes, name: bytes) -> None:
        if mask & (_CREATE | _MOVED_TO):
            self._appeared(directory, name)
        elif mask & _MODIFY and not name.startswith(
            b"."
        ):  # closed late is not written: a child may hold it till it execs
            self.half_made.append(f"{directory + b'/' + name!r} was written to after it had appeared")

    def _appeared(self, directory: bytes, name: bytes) -> None:
        if name.startswith(b"."):
            return
        self.seen += 1
        wrong = what_is_wrong(Path(os.fsdecode(directory + b"/" + name)))
        if wrong is not None:
            self.half_made.append(wrong)
