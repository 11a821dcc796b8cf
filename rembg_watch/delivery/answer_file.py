"""
An answer that arrives outside the spool: a temporary file that is not lost once it was paid for.

For ``one_shot``, which has no ledger; the daemon has its ``spool``.
"""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from rembg_watch.host import disk


class AnswerFile:
    """
    A temporary file for one answer; when its disk is full, the answer moves on to the next folder.

    As a context it removes the file at the end, unless ``finish`` was called: then its
    content is whole and paid for, and stays until ``drop``. It is in the first of the
    *folders* that takes it.

    Raises:
        OSError: None of them takes a file.
    """

    def __init__(self, folders: Sequence[Path], suffix: str) -> None:
        self._folders = iter(folders)
        self._suffix = suffix
        self._is_finished = False
        trouble: OSError | None = None
        for folder in self._folders:
            try:
                self._fd, self.path = self._made(folder)
            except OSError as error:
                trouble = trouble or error
            else:
                return
        raise trouble or OSError("no folder was named")

    def _made(self, folder: Path) -> tuple[int, Path]:
        fd, name = tempfile.mkstemp(dir=folder, prefix="rembg-", suffix=self._suffix)
        return fd, Path(name)

    def write(self, block: bytes, /) -> None:
        """
        Write all of *block*, here or elsewhere.

        Raises:
            OSError: No folder is left that takes it.
        """
        view = memoryview(block)
        while view:
            try:
                written = os.write(self._fd, view)
            except OSError as full:
                self._move_on(full)
            else:
                view = view[written:]

    def _move_on(self, full: OSError) -> None:
        for folder in self._folders:
            with contextlib.suppress(OSError):
                self._copy_to(folder)
                return
        raise full

    def _copy_to(self, folder: Path) -> None:
        fd, path = self._made(folder)
        try:
            with self.path.open("rb") as old, os.fdopen(os.dup(fd), "wb", buffering=0) as new:
                shutil.copyfileobj(old, new, disk.BLOCK_BYTES)
        except OSError:
            os.close(fd)
            path.unlink()
            raise
        os.close(self._fd)
        self.path.unlink()
        self._fd, self.path = fd, path

    def finish(self) -> Path:
        """Keep the answer, which is whole, and return where it is."""
        self._is_finished = True
        with contextlib.suppress(OSError):
            os.fsync(self._fd)
        return self.path

    def drop(self) -> None:
        """Remove the file: the answer is elsewhere by now."""
        self.path.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._fd)
        if not self._is_finished:
            self.drop()
