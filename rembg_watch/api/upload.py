"""
The picture on its way out: opened, checked, and turned into a multipart body block by block.

The body knows its exact length before the first byte and whether the last one was handed
over; that decides whether a call can have been charged. Nothing here knows of HTTP clients.
"""

import base64
import binascii
import io
import os
import secrets
import stat
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Protocol

from rembg_watch.api.errors import FieldError, InvalidRequestError, NotSentError
from rembg_watch.api.params import Format

BLOCK_BYTES = 128 * 1024
LAST_BYTES = 1024
"""How much of the picture waits for ``on_last_byte``, with all that comes after it: so little that it goes at once."""

LARGEST_PICTURE_BYTES = 50 * 1024 * 1024
ALLOWED_ENDINGS = ("webp", "bmp", "png", "jpg", "jpeg")


class Readable(Protocol):
    """Anything that gives bytes; with ``fileno`` or ``seek`` it is streamed, without it is spooled first."""

    def read(self, size: int, /) -> bytes:
        """Return at most *size* bytes; none at the end."""


@dataclass(frozen=True, slots=True)
class Base64:
    """A picture as base64 text, with or without a ``data:`` prefix."""

    text: str = field(repr=False)


Image = str | os.PathLike[str] | bytes | bytearray | memoryview | Base64 | Readable
"""A path, the bytes themselves, base64 text, or an open binary file, which is read on from where it stands."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a transfer is, in bytes that really went over the wire."""

    loaded_bytes: int
    total_bytes: int | None  # None where the other side does not say

    @property
    def fraction(self) -> float | None:
        """From 0 to 1, or None while the total is not known."""
        return self.loaded_bytes / self.total_bytes if self.total_bytes else None


OnProgress = Callable[[Progress], None]


@dataclass(slots=True)
class Source:
    """A picture that is open and has been looked at; it is read from front to back."""

    name: str
    size_bytes: int
    head: bytes  # the first block, already read
    file: Readable
    start: int | None = None  # where in the file it begins; None where there is no way back

    @property
    def content_type(self) -> str:
        """The media type by the first bytes; they are what the API goes by."""
        kind = Format.of(self.head)
        return kind.content_type if kind else "application/octet-stream"

    def rewind(self) -> None:
        """
        Go back to the beginning, to be read once more.

        Raises:
            NotSentError: It cannot be read again.
        """
        try:
            self.file.seek(self.start)  # type: ignore[attr-defined]  # what has a start can seek
        except (AttributeError, OSError, ValueError, TypeError) as why:
            raise _unreadable(self.name, why) from None
        self.head = _read(self.file, min(BLOCK_BYTES, self.size_bytes), self.name)

    def blocks(self) -> Iterator[bytes]:
        """
        Yield the picture, one block at a time.

        Raises:
            NotSentError: It cannot be read, or is no longer as long as it was.
        """
        left, block = self.size_bytes, self.head
        while block:
            left -= len(block)
            if left < 0:
                raise _changed(self.name)
            yield block
            block = _read(self.file, min(BLOCK_BYTES, left) or 1, self.name)  # at the end, there must be no more
        if left:
            raise _changed(self.name)


@contextmanager
def open_source(image: Image, *, filename: str | None = None, is_checked: bool = True) -> Iterator[Source]:
    """
    Open *image* for sending and close what was opened here.

    Args:
        image: See ``Image``. An open file stays open.
        filename: The name to send; without one, the file's own.
        is_checked: Refuse what the API would refuse by size, ending or signature.

    Raises:
        InvalidRequestError: The API would not take it.
        NotSentError: It cannot be read.
    """
    with ExitStack() as ours:
        own_name, file = _opened(image, ours)
        size_bytes, file = _measured(file, own_name, ours)
        start = _place(file)
        head = _read(file, min(BLOCK_BYTES, size_bytes), own_name)  # no more, or it would look for the end here
        source = Source(_sendable(filename or own_name, head), size_bytes, head, file, start)
        if is_checked:
            _check(source)
        yield source


def _opened(image: Image, ours: ExitStack) -> tuple[str, Readable]:
    if isinstance(image, str | os.PathLike):
        try:
            return PurePath(image).name, ours.enter_context(Path(image).open("rb"))
        except (OSError, ValueError) as why:
            raise _unreadable(PurePath(image).name, why) from None
    if isinstance(image, Base64):
        return "", io.BytesIO(_decoded(image.text))
    if isinstance(image, bytes | bytearray | memoryview):
        return "", io.BytesIO(image)
    if not callable(getattr(image, "read", None)):
        raise InvalidRequestError(
            message=f"A picture is a path, bytes, Base64 or a binary file, not {type(image).__name__}.",
            code="picture_not_readable",
            field="image",
        )
    name = getattr(image, "name", "")
    return (PurePath(name).name if isinstance(name, str) else ""), image


def _decoded(text: str) -> bytes:
    _, comma, after = text.partition(",") if text.lstrip().startswith("data:") else ("", "", "")
    try:
        return base64.b64decode("".join((after if comma else text).split()), validate=True)
    except (binascii.Error, ValueError):
        message = "The picture is not valid base64."
        raise InvalidRequestError(message=message, code="picture_not_base64", field="image") from None


def _measured(file: Readable, name: str, ours: ExitStack) -> tuple[int, Readable]:
    """Return how many bytes are left in *file*; a pipe, which cannot tell, is copied to a spool first."""
    left = _bytes_left(file)
    if left is not None:
        return left, file
    spool = ours.enter_context(tempfile.SpooledTemporaryFile(max_size=16 * BLOCK_BYTES))  # noqa: SIM115  # ours closes it
    size_bytes = 0
    while size_bytes <= LARGEST_PICTURE_BYTES and (block := _read(file, BLOCK_BYTES, name)):
        size_bytes += spool.write(block)
    spool.seek(0)
    return size_bytes, spool


def _bytes_left(file: Readable) -> int | None:
    try:
        seek, tell = file.seek, file.tell  # type: ignore[attr-defined]  # asking is how one finds out
        here: int = tell()
        end: int = seek(0, io.SEEK_END)
        seek(here)
    except (AttributeError, OSError, ValueError):
        return _stated_size(file)
    return max(0, end - here)


def _place(file: Readable) -> int | None:
    """Return where *file* stands, or None if it cannot come back to it."""
    try:
        here: int = file.tell()  # type: ignore[attr-defined]  # asking is how one finds out
        file.seek(here)  # type: ignore[attr-defined]
    except (AttributeError, OSError, ValueError):
        return None
    return here


def _stated_size(file: Readable) -> int | None:
    try:
        look = os.fstat(file.fileno())  # type: ignore[attr-defined]  # asking is how one finds out
    except (AttributeError, OSError, ValueError):
        return None
    return look.st_size if stat.S_ISREG(look.st_mode) else None


def _read(file: Readable, size: int, name: str) -> bytes:
    """Read a full block where *file* has one; a raw file may give less at a time."""
    parts: list[bytes] = []
    try:
        while size > 0 and (part := file.read(size)):
            parts.append(part)
            size -= len(part)
        return b"".join(parts)
    except (OSError, ValueError, TypeError) as why:
        raise _unreadable(name, why) from None


def _unreadable(name: str, why: Exception) -> NotSentError:
    words = why.strerror if isinstance(why, OSError) and why.strerror else str(why)
    message = f"The picture {name or 'given'} cannot be read: {words}."
    return NotSentError(message=message, code="picture_unreadable", field="image")


def _changed(name: str) -> NotSentError:
    message = f"The picture {name or 'given'} changed its size while it was being sent."
    return NotSentError(message=message, code="picture_changed", field="image", retryable=True)


def _check(source: Source) -> None:
    """Refuse what the API would refuse, in its words; width and height are left to the API."""
    ending = PurePath(source.name).suffix.lstrip(".").lower()
    size_mb = source.size_bytes / 1024**2
    found = []
    if source.size_bytes == 0:
        found.append(("picture_empty", "Uploaded file is empty (0 bytes)."))
    if source.size_bytes > LARGEST_PICTURE_BYTES:
        found.append(("picture_too_large", f"File size ({size_mb:.1f} MB) exceeds the maximum allowed size of 50 MB."))
    if ending not in ALLOWED_ENDINGS:
        allowed = ", ".join(ALLOWED_ENDINGS)
        found.append(
            ("picture_type_unsupported", f"File type '.{ending}' is not supported. Allowed formats: {allowed}")
        )
    if source.size_bytes > 0 and Format.of(source.head) is None:
        found.append(("picture_corrupt", "File does not appear to be a valid image (invalid file signature)"))
    if found:
        raise InvalidRequestError(
            message=" ".join(message for _, message in found),
            code=found[0][0],
            field="image",
            details=tuple(FieldError("image", message) for _, message in found),
        )


def _sendable(name: str, head: bytes) -> str:
    """Make a name that no multipart parser stumbles over; it has an ending even where the picture came without."""
    letters = [
        letter if letter.isascii() and letter.isprintable() and letter not in '"\\/%;' else "_" for letter in name
    ]
    path = PurePath("".join(letters).strip() or "image")
    kind = Format.of(head)
    suffix = path.suffix or (kind.extension if kind else ".bin")
    return f"{path.stem[:100]}{suffix[:16]}"


class BodyCutOffError(Exception):
    """The body ended itself before its last block; why is in ``MultipartBody.failure``."""


class MultipartBody:
    """
    The body of one upload as an iterator of blocks.

    The picture comes first and the fields after it, as in the vendor's own client. The
    last block holds the end of the picture, all fields and the closing boundary, so
    that a server without it has no complete request.

    What goes wrong inside is kept in ``failure`` and the body ends by
    ``BodyCutOffError``: whoever raised it gets its own exception back, and its
    traceback does not lead through the HTTP client, whose frames know the key.

    Args:
        source: The picture; its blocks are read once, and again after ``rewind``.
        form: The other fields, in order.
        on_last_byte: Called once, when all but the last block was handed over. If it
            raises, the last block is never sent.
        is_stopped: Asked just before ``on_last_byte`` and just after it. Where it says true, it has
            seen to it that nothing more can be sent, and ``on_last_byte`` is not called.
        on_handed_over: Called after each block with its bytes and those still to come.
        on_progress: Told after each block; the first time before any.
    """

    def __init__(
        self,
        source: Source,
        form: Mapping[str, str],
        *,
        on_last_byte: Callable[[], object] | None = None,
        is_stopped: Callable[[], bool] | None = None,
        on_handed_over: Callable[[int, int], object] | None = None,
        on_progress: OnProgress | None = None,
    ) -> None:
        boundary = secrets.token_hex(16)
        self.content_type = f"multipart/form-data; boundary={boundary}"
        self.is_handed_over = False
        self.is_let_go = False
        """Whether ``on_last_byte`` was called, or would have been."""
        self.failure: BaseException | None = None
        self._source = source
        self._lead = _part(boundary, "image", filename=source.name, content_type=source.content_type)
        fields = b"".join(b"\r\n" + _part(boundary, name) + value.encode() for name, value in form.items())
        self._tail = fields + f"\r\n--{boundary}--\r\n".encode()
        self.length_bytes = len(self._lead) + source.size_bytes + len(self._tail)
        self._reported_bytes = 0
        self._on_last_byte = on_last_byte
        self._is_stopped = is_stopped
        self._on_handed_over = on_handed_over
        self._on_progress = on_progress

    @property
    def can_be_sent_again(self) -> bool:
        """Whether it can be read from its beginning, and nobody was told yet that the last block leaves."""
        return self._source.start is not None and not self.is_let_go and self.failure is None

    def rewind(self) -> None:
        """Go back to the beginning, to be sent once more; see ``Source.rewind``."""
        self._source.rewind()

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self._reporting_blocks()
        except GeneratorExit:
            raise
        except BaseException as failure:  # noqa: BLE001  # kept, and raised again by the client
            self.failure = failure
        if self.failure:
            raise BodyCutOffError

    def _reporting_blocks(self) -> Iterator[bytes]:
        loaded_bytes = 0
        self._progressed(0, 0)
        for block in self._blocks():
            yield block
            # whoever asks for the next block has taken the whole of this one
            loaded_bytes += len(block)
            self.is_handed_over = loaded_bytes == self.length_bytes
            if block:
                self._progressed(len(block), loaded_bytes)

    def _blocks(self) -> Iterator[bytes]:
        held_back = self._lead
        is_first = is_whole = True
        for block in self._source.blocks():
            if is_first:  # a write of its own for the lead would be a packet of its own
                held_back, is_first = held_back + block, False
                continue
            yield held_back
            held_back, is_whole = block, False
        if len(held_back) > LAST_BYTES:
            yield held_back[:-LAST_BYTES]
            held_back = held_back[-LAST_BYTES:]
        elif is_whole:
            yield b""  # the head of the request, which waits for a first block, has to go before the last
        self._let_go()
        yield held_back + self._tail

    def _let_go(self) -> None:
        if self._is_stopped and self._is_stopped():
            return
        self.is_let_go = True
        if self._on_last_byte:
            self._on_last_byte()
        if self._is_stopped:
            self._is_stopped()

    def _progressed(self, block_bytes: int, loaded_bytes: int) -> None:
        if self._on_handed_over:
            self._on_handed_over(block_bytes, self.length_bytes - loaded_bytes)
        self._reported_bytes = max(self._reported_bytes, loaded_bytes)  # no step back when it is sent again
        if self._on_progress:
            self._on_progress(Progress(self._reported_bytes, self.length_bytes))


def _part(boundary: str, name: str, *, filename: str | None = None, content_type: str | None = None) -> bytes:
    disposition = f'Content-Disposition: form-data; name="{name}"'
    if filename is not None:
        disposition += f'; filename="{filename}"'
    lines = [f"--{boundary}", disposition, *([f"Content-Type: {content_type}"] if content_type else []), "", ""]
    return "\r\n".join(lines).encode()
