"""
The cutout on its way in: written where the caller wants it, whole or not at all, and what can be done with it.

Whether it is the picture that was asked for is not checked here beyond its first bytes.
"""

import base64
import hashlib
import io
import os
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from io import RawIOBase
from pathlib import Path
from typing import BinaryIO, Protocol, Self

from rembg_watch.api.errors import Charge, NoAnswerError, NotSentError, Scope
from rembg_watch.api.headers import RateLimit

_BLOCK_BYTES = 64 * 1024


class Writable(Protocol):
    """Anything that takes bytes."""

    def write(self, block: bytes, /) -> object:
        """Take *block*, or as much of it as the returned number says."""


Destination = str | os.PathLike[str] | Writable
"""A path, which is written whole or not at all, or an open binary file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cutout:
    """
    A picture that came back.

    It is in ``content``, or under ``path``, or went into the caller's own open file, in
    which case both are None.
    """

    content: bytes | None = field(default=None, repr=False)
    path: Path | None = None
    content_type: str  # by its first bytes, whatever the header said
    size_bytes: int
    sha256: str
    request_id: str | None = None
    rate_limit: RateLimit | None = None
    elapsed_s: float = 0.0

    def read(self) -> bytes:
        """
        Return the picture's bytes.

        Raises:
            ValueError: It went into an open file of the caller, who has it.
        """
        if self.content is not None:
            return self.content
        if self.path is None:
            raise ValueError("The cutout was written to your own file; it is not here.")
        return self.path.read_bytes()

    def base64(self) -> str:
        """Return the picture as base64 text."""
        return base64.b64encode(self.read()).decode("ascii")

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the picture to *path*, whole or not at all, over what may be there."""
        target = Path(path)
        with _staged(target) as staged, self._opened() as kept:
            while block := kept.read(_BLOCK_BYTES):
                _write_whole(staged.file, block)
            staged.keep()
        return target

    def _opened(self) -> BinaryIO:
        return io.BytesIO(self.read()) if self.path is None else self.path.open("rb")


@dataclass(frozen=True, slots=True)
class TempCutout:
    """A cutout in a temporary file; ``cleanup()`` or the end of a ``with`` deletes it."""

    cutout: Cutout
    path: Path

    def cleanup(self) -> None:
        """Delete the file; once more does no harm."""
        self.path.unlink(missing_ok=True)

    def __enter__(self) -> Path:
        return self.path

    def __exit__(self, *_: object) -> None:
        self.cleanup()


class Sink:
    """Where an answer is written to, and what it came to; see ``sink_for``."""

    def __init__(self, file: Writable, *, path: Path | None = None, parts: list[bytes] | None = None) -> None:
        self.size_bytes = 0
        self._file = file
        self._path = path
        self._parts = parts
        self._digest = hashlib.sha256()

    def write(self, block: bytes) -> None:
        """
        Take the next block of the answer.

        Raises:
            NoAnswerError: It cannot be written; the picture came and is paid for.
        """
        with _reported_as_paid():
            _write_whole(self._file, block)
        self._digest.update(block)
        self.size_bytes += len(block)

    def cutout(
        self, *, content_type: str, request_id: str | None, rate_limit: RateLimit | None, elapsed_s: float
    ) -> Cutout:
        """Return what was written as the value that the caller gets."""
        return Cutout(
            content=None if self._parts is None else b"".join(self._parts),
            path=self._path,
            content_type=content_type,
            size_bytes=self.size_bytes,
            sha256=self._digest.hexdigest(),
            request_id=request_id,
            rate_limit=rate_limit,
            elapsed_s=elapsed_s,
        )


class _Parts:
    """A file that keeps what is written to it as a list, so that a large answer is copied once."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []

    def write(self, block: bytes, /) -> None:
        self.parts.append(block)


@contextmanager
def sink_for(destination: Destination | None) -> Iterator[Sink]:
    """
    Open *destination* for an answer; a path stands complete after the block, or is untouched if it failed.

    Raises:
        NotSentError: The place cannot be written to, found before anything is sent.
        NoAnswerError: The answer came and could not be written to the end.
    """
    if destination is None:
        memory = _Parts()
        yield Sink(memory, parts=memory.parts)
    elif isinstance(destination, str | os.PathLike):
        try:
            staged = _staged(Path(destination))
        except OSError as why:
            raise _not_writable(why) from why
        with staged:
            yield Sink(staged.file, path=staged.target)
            with _reported_as_paid():
                staged.keep()
    else:
        yield Sink(destination)


def _staged(target: Path) -> "_Staged":
    staging = target.with_name(f".{secrets.token_hex(8)}.part")
    return _Staged(target, staging, staging.open("xb", buffering=0))


class _Staged:
    """A file that takes the name *target* when it is kept, and goes away when it is not."""

    def __init__(self, target: Path, staging: Path, file: RawIOBase) -> None:
        self.target = target
        self.file = file
        self._staging = staging
        self._is_kept = False

    def keep(self) -> None:
        self.file.close()
        self._staging.replace(self.target)
        self._is_kept = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if not self._is_kept:
            with suppress(OSError):  # what closing could not write is thrown away with the file
                self.file.close()
            self._staging.unlink(missing_ok=True)


def _not_writable(why: OSError) -> NotSentError:
    message = f"The place for the cutout cannot be written to: {why.strerror}."
    return NotSentError(message=message, code="destination_not_writable", scope=Scope.SERVICE)


@contextmanager
def _reported_as_paid() -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as why:  # ValueError: a closed file
        words = why.strerror if isinstance(why, OSError) and why.strerror else str(why)
        raise NoAnswerError(
            message=f"The cutout came and is paid for, but could not be written: {words}.",
            code="answer_not_stored",
            status=200,
            charge=Charge.YES,
            scope=Scope.SERVICE,
        ) from why


def _write_whole(file: Writable, block: bytes) -> None:
    while block:
        written = file.write(block)
        # an unbuffered file may take less at a time; whoever does not say has taken all
        block = block[written:] if isinstance(written, int) and written > 0 else b""


@contextmanager
def temporary_file(suffix: str) -> Iterator[tuple[Writable, Path]]:
    """
    Give an open file in the temporary folder, readable by nobody else, which stays if the block succeeds.

    Raises:
        NotSentError: There is no place for it.
        NoAnswerError: The answer came and could not be written to the end.
    """
    try:
        handle, name = tempfile.mkstemp(prefix="rembg-", suffix=suffix)
    except OSError as why:
        raise _not_writable(why) from why
    path = Path(name)
    with _Staged(path, path, os.fdopen(handle, "wb", buffering=0)) as staged:
        yield staged.file, path
        with _reported_as_paid():
            staged.keep()
