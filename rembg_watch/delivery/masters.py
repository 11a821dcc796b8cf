"""
What was bought, kept after it was delivered: further files can be made of it at no cost.

A master is the API's answer, byte for byte, under its content key. It is a copy, and durable before its answer
leaves the spool. Nothing depends on it for paying once: a master that is gone, or is not what came, is not there.
"""

import contextlib
import hashlib
import os
import time
from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass
from pathlib import Path

from rembg_watch.host import disk

MASTERS_NAME = "masters"
"""Their directory, below the state directory."""

_PART = ".part"
_DAY_S = 86_400.0
_GB = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Keeping:
    """How long and how much is kept."""

    days: float = 180.0
    gigabytes: float = 20.0


class Masters:
    """A directory of masters; safe to share between threads."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def path(self, key: str) -> Path:
        """Say where the master for a content is, or would be."""
        return self.directory / key[:2] / key

    def keep(self, key: str, answer: Path) -> Path:
        """
        Keep a copy of an answer, whole and durable or not at all.

        Raises:
            OSError: The disk refused.
        """
        path = self.path(key)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        part = path.with_name(f"{key}.{os.getpid()}-{time.monotonic_ns()}{_PART}")
        try:
            with answer.open("rb") as source, part.open("xb") as copy:
                for block in disk.blocks(source.fileno()):
                    copy.write(block)
                copy.flush()
                os.fsync(copy.fileno())
            part.rename(path)
        except OSError:
            with contextlib.suppress(OSError):
                part.unlink()
            raise
        for directory in (path.parent, self.directory):
            with disk.closing(os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)) as fd:
                os.fsync(fd)
        return path

    def has(self, key: str, digest: str | None) -> bool:
        """Say whether the master for a content is there, and is what came."""
        try:
            with self.path(key).open("rb") as master:
                return digest is not None and hashlib.file_digest(master, "sha256").hexdigest() == digest
        except OSError:
            return False

    def is_there(self, key: str) -> bool:
        """Say whether there is one, without reading it."""
        return self.path(key).exists()

    def used(self, key: str) -> None:
        """Note that one was used now: what was not used for longest goes first."""
        with contextlib.suppress(OSError):
            os.utime(self.path(key))

    def sweep(self, keeping: Keeping, needed: Container[str], *, now: Callable[[], float] = time.time) -> int:
        """
        Remove what is too old, and what is too much, and unfinished copies; return how many masters went.

        Never one that is *needed*: a picture waits to be delivered from it.
        """
        found = sorted(self._found(), key=lambda one: one[1], reverse=True)
        oldest, room, gone = now() - keeping.days * _DAY_S, keeping.gigabytes * _GB, 0
        for path, used_at, size_bytes in found:
            if path.name.endswith(_PART):
                if used_at < now() - _DAY_S:
                    path.unlink(missing_ok=True)
                continue
            room -= size_bytes
            if (used_at < oldest or room < 0) and path.name not in needed:
                path.unlink(missing_ok=True)
                gone += 1
        return gone

    def _found(self) -> Iterator[tuple[Path, float, int]]:
        for directory in self.directory.glob("??"):
            for entry in os.scandir(directory):
                with contextlib.suppress(OSError):
                    found = entry.stat(follow_symlinks=False)
                    yield Path(entry.path), found.st_mtime, found.st_size
