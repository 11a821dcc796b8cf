"""
Small pictures that were made before, in a directory of their own, of which no more is kept than is allowed.

Nothing depends on it: what is gone is made again. What was not used for longest goes first.
"""

import contextlib
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

_USED_S = 3_600.0
"""A file that was read is marked as used this often at most, so that reading does not mean writing."""

_LEFT = 0.9
"""What is left of the limit once room was made, so that not every new picture has to make some."""

_PART, _PART_S = ".part", 600.0


class Cache:
    """A directory of views; safe to share between threads, and between processes where one of them makes room."""

    def __init__(self, directory: Path, *, limit_bytes: int) -> None:
        self._directory = directory
        self._limit_bytes = limit_bytes
        self._lock = threading.Lock()  # guards the sum of what is there, which is counted once
        self._sum_bytes: int | None = None

    def find(self, key: str) -> bytes | None:
        """Return the view under a key; None if there is none."""
        path = self._path(key)
        try:
            content = path.read_bytes()
            if time.time() - path.stat().st_mtime > _USED_S:
                os.utime(path)
        except OSError:
            return None
        return content or None

    def keep(self, key: str, content: bytes) -> None:
        """Keep a view, unless the disk refuses: then it is made again."""
        path = self._path(key)
        part = path.with_name(f"{path.name}.{os.getpid()}-{threading.get_ident()}{_PART}")
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            part.write_bytes(content)
            part.replace(path)
        except OSError:
            with contextlib.suppress(OSError):
                part.unlink()
            return
        self._grown(len(content))

    def _path(self, key: str) -> Path:
        return self._directory / key[:2] / key

    def _grown(self, size_bytes: int) -> None:
        with self._lock:
            is_counted, self._sum_bytes = self._sum_bytes is not None, (self._sum_bytes or 0) + size_bytes
            is_full = not is_counted or self._sum_bytes > self._limit_bytes
        if is_full:
            left = self._make_room()
            with self._lock:
                self._sum_bytes = left

    def _make_room(self) -> int:
        """Count what is there, and let the oldest go if that is too much; return how much is left."""
        found = sorted(self._found())
        total = sum(size for _, size, _ in found)
        least = int(_LEFT * self._limit_bytes) if total > self._limit_bytes else total
        for used_at, size, path in found:
            is_left_over = path.name.endswith(_PART) and used_at < time.time() - _PART_S
            if total <= least and not is_left_over:
                continue
            with contextlib.suppress(OSError):
                path.unlink()
            total -= size
        return total

    def _found(self) -> Iterator[tuple[float, int, Path]]:
        for directory in self._directory.glob("??"):
            with contextlib.suppress(OSError):
                for entry in os.scandir(directory):
                    with contextlib.suppress(OSError):
                        found = entry.stat(follow_symlinks=False)
                        yield found.st_mtime, found.st_size, Path(entry.path)
