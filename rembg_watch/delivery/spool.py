"""
The spool: answers that were paid for and are not yet published.

One file per content key. A file under its final name is whole and durable; a ``.part``
is an answer still arriving, worthless after a crash. The spool decides nothing: the
ledger says which answers are still needed.
"""

import contextlib
import hashlib
import io
import os
from collections import deque
from collections.abc import Container, Iterator, Sequence
from itertools import count
from pathlib import Path

from rembg_watch.host import disk

_PART = ".part"
_SPARE = ".spare"
MOST_SPARES = 64
LARGEST_SPARE_BYTES = 512 * 1024
"""A larger file goes back to the disk at once, and so do all where the disk gets full (``give_back``)."""

_REJECTED = "rejected"

SPOOL_NAME = "spool"
"""Its directory, below the state directory."""


class Spool:
    """
    A directory of paid answers, named by content key.

    Files whose answers were published are written over with the next ones. To remove each and
    make another is dear: ext4 gives no number of a file again that was removed in the last
    minute, and passes over them one by one whenever a file is made. At 200 pictures a second
    that took a seventh of the daemon's time.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._spares: deque[Path] = deque()
        self._renamed: deque[Path] = deque()  # not spares yet: a power cut could bring their old names back
        self._numbers = count(1)

    def path(self, key: str) -> Path:
        """Say where the whole answer for *key* is, or would be."""
        return self.directory / key

    def part(self, key: str) -> Path:
        """Say where the answer for *key* is written while it arrives."""
        return self.directory / f"{key}{_PART}"

    @contextlib.contextmanager
    def arriving(self, key: str) -> Iterator[io.FileIO]:
        """
        Open the part file for the answer to *key*; what was written is on the disk when the block ends well.

        It has no buffer, since an answer comes in blocks, and may take less than it is given.

        Raises:
            OSError: The disk refused.
        """
        path = self.part(key)
        is_used = self._took_spare(path)
        try:
            with io.FileIO(path, "r+b" if is_used else "wb") as part:
                yield part
                if is_used:
                    part.truncate()
                os.fsync(part.fileno())
        except OSError:  # what the disk did not take once is not tried again
            with contextlib.suppress(OSError):
                path.unlink()
            raise
        except Exception:  # no answer came
            with contextlib.suppress(OSError):
                self._retire(path)
            raise

    def _took_spare(self, path: Path) -> bool:
        """Put a file that nobody needs any more at *path*, to be written over; say if there was one."""
        with contextlib.suppress(IndexError, OSError):
            self._spares.pop().rename(path)
            return True
        return False

    def _retire(self, path: Path) -> None:
        """Let the file at *path* hold a later answer, or give it back to the disk."""
        with contextlib.suppress(FileNotFoundError):
            if len(self._spares) + len(self._renamed) < MOST_SPARES and path.stat().st_size <= LARGEST_SPARE_BYTES:
                self._renamed.append(path.rename(self.directory / f"{next(self._numbers)}{_SPARE}"))
            else:
                path.unlink()

    def keep(self, key: str) -> Path:
        """
        Give the answer that has arrived (see ``arriving``) its final name, durably.

        Raises:
            OSError: The disk refused; the answer is still in its part file.
        """
        whole = self.part(key).rename(self.path(key))
        self._sync()
        return whole

    def copy_in(self, key: str, answer: Path, *, cuts: Sequence[tuple[int, int, bytes]] = ()) -> disk.Content:
        """
        Take a copy of an answer that stands elsewhere, whole or not at all.

        Returns:
            What was read there; *cuts* say what of it is left out.

        Raises:
            OSError: It cannot be read, or the disk refused.
        """
        read = disk.Reading()
        with answer.open("rb") as source, self.arriving(key) as part:
            whole = io.BufferedWriter(part)  # a disk that takes less than it is given says so only at the next write
            for block in disk.blocks_with(source.fileno(), cuts, read.take):
                whole.write(block)
            whole.flush()
        self.keep(key)
        return read.content

    def digest(self, key: str) -> str:
        """Return the SHA-256 of the whole answer for *key*, hex."""
        with self.path(key).open("rb") as answer:
            return hashlib.file_digest(answer, "sha256").hexdigest()

    def drop(self, key: str) -> None:
        """Forget the answer for *key*; nobody may still be reading it."""
        self._retire(self.path(key))

    def give_back(self) -> None:
        """Give the disk back what is kept for answers to come."""
        for spares in (self._spares, self._renamed):
            with contextlib.suppress(IndexError, OSError):
                while True:
                    _removed(spares.pop())

    def reject(self, key: str) -> Path:
        """Keep an answer that is no picture for a person to look at, out of the way of the next one."""
        aside = self.directory / _REJECTED
        aside.mkdir(mode=0o700, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            self.path(key).rename(aside / key)
        return aside / key

    def sweep(self, needed: Container[str]) -> int:
        """
        Remove what no job needs any more, unfinished parts and spare files too, and return how many files went.

        *needed* are the content keys whose answers are not yet published. Only for a start:
        while calls are under way, their parts are needed by nobody but them.
        """
        found = [Path(one.path) for one in os.scandir(self.directory) if one.is_file(follow_symlinks=False)]
        return sum(_removed(path) for path in found if path.name not in needed)

    def sweep_rejected(self, *, older_than: float) -> int:
        """Remove rejected answers from before *older_than*, in POSIX seconds; return how many went."""
        aside = self.directory / _REJECTED
        found = list(aside.iterdir()) if aside.is_dir() else []
        return sum(_removed(path) for path in found if path.stat().st_mtime < older_than)

    def _sync(self) -> None:
        renamed = len(self._renamed)
        with disk.closing(os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)) as fd:
            os.fsync(fd)
        with contextlib.suppress(IndexError):
            for _ in range(renamed):  # those from before the sync: their new names are durable
                self._spares.append(self._renamed.popleft())


def _removed(path: Path) -> bool:
    path.unlink(missing_ok=True)
    return True
