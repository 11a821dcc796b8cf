"""
One picture without the daemon: checked, sent, verified and delivered, with no ledger and no folders.

Everything that can be known beforehand is checked before a byte is sent: the picture, the
target, the space. An answer that was paid for is never thrown away: if it is not what was
asked for, or cannot be delivered, it stays in a temporary file, and the error says where.
"""

import base64
import contextlib
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from rembg_watch.account.retry import pause_without_gate_s
from rembg_watch.api.client import Client
from rembg_watch.api.params import RemovalParams
from rembg_watch.api.upload import LARGEST_PICTURE_BYTES, Base64, Progress, open_source
from rembg_watch.delivery.answer_file import AnswerFile
from rembg_watch.delivery.publish import answer_room_bytes, discard, enough_room, publish, stage
from rembg_watch.delivery.verify import AnswerRejectedError, Expected, Verified, verify
from rembg_watch.errors import RembgWatchError
from rembg_watch.host import disk
from rembg_watch.pictures.sending import Sends
from rembg_watch.pipeline.retrying import call_with_retries
from rembg_watch.pipeline.source import PreparedSource, SourceError, open_picture
from rembg_watch.report.words import show, size_text, span_text
from rembg_watch.watch.probe import Verdict, file_stat, probe

_BASE64_BLOCK_BYTES = 3 * 256 * 1024  # whole groups of three bytes, so that blocks can be joined
_LARGEST_TEXT_BYTES = 2 * LARGEST_PICTURE_BYTES


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One picture and where its cut-out belongs."""

    source: Path | None  # None: standard input
    target: Path | None  # None: standard output

    @property
    def name(self) -> str:
        """The picture, written so that it fits on a line."""
        return "standard input" if self.source is None else show(os.fsencode(self.source))

    @property
    def target_name(self) -> str:
        """Where the cut-out goes, written so that it fits on a line."""
        return "standard output" if self.target is None else show(os.fsencode(self.target))


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivered:
    """A cut-out that is where it was wanted."""

    request: Request
    verified: Verified
    elapsed_s: float


class NotSentHereError(RembgWatchError):
    """The picture or the target cannot be used; nothing was sent and nothing charged."""


class UndeliveredError(RembgWatchError):
    """The answer was paid for, and is not where it was wanted."""

    def __init__(self, why: str, path: Path) -> None:
        kept = show(os.fsencode(path))
        super().__init__(f"{why.rstrip('.')}; the answer was paid for and is kept in {kept}")
        self.path = path


class Transfer:
    """One picture on its way; notes whether all of it was sent, and shows nothing."""

    def __init__(self) -> None:
        self.has_left = False

    def on_upload(self, progress: Progress) -> None:
        """Note how much of the request has left."""
        self.has_left = progress.loaded_bytes == progress.total_bytes

    def on_download(self, progress: Progress) -> None:
        """Note how much of the answer has arrived."""


class Display(Protocol):
    """Shows transfers to a person."""

    def showing(self, name: str, size_bytes: int) -> AbstractContextManager[Transfer]:
        """Show one picture while the block runs."""

    def message(self, sentence: str) -> None:
        """Show a sentence in between."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How pictures are read and cut-outs written, whatever is asked of the API."""

    is_forced: bool = False  # existing files may be overwritten
    is_upright: bool = True  # a picture that the camera marked as rotated is sent upright
    reads_base64: bool = False
    writes_base64: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class OneShot:
    """Sends pictures, one after the other."""

    client: Client
    params: RemovalParams
    options: Options
    scratch: Path  # a private folder for what comes by a pipe and for copies
    display: Display
    sleep: Callable[[float], object] = time.sleep  # waits between two tries
    chance: Callable[[], float] = random.random  # in [0, 1), so that many callers do not return at the same moment

    def send(self, request: Request) -> Delivered:
        """
        Send one picture and deliver its cut-out, whole or not at all.

        Raises:
            NotSentHereError: It cannot be sent; nothing was.
            RembgError: The call failed, for good or after some tries; ``charge`` says what it cost.
            UndeliveredError: The answer arrived, was paid for and could not be delivered.
        """
        if request.target is not None:
            check_target(request.target, request.source, is_forced=self.options.is_forced)
        source = self._readable(request.source)
        with _prepared(source, self.scratch, is_upright=self.options.is_upright) as picture:
            _check_room(picture.size_bytes, request.target)
            with _answer_file(request.target, self.params.format.extension) as answer:
                elapsed_s = self._call_with_retries(request, picture, answer)
                verified = self._deliver(request, picture, answer.finish())
                answer.drop()
        return Delivered(request=request, verified=verified, elapsed_s=elapsed_s)

    # --- before it is sent ------------------------------------------------------------------------

    def _readable(self, source: Path | None) -> Path:
        """Return a file that contains the picture itself, wherever it came from."""
        if source is not None and not self.options.reads_base64:
            return _resolved(source)
        copy = self.scratch / (source.stem if source else "stdin")
        try:
            with ExitStack() as opened, copy.open("wb") as file:
                given = opened.enter_context(_resolved(source).open("rb")) if source else sys.stdin.buffer
                file.writelines(_decoded(given) if self.options.reads_base64 else _blocks(given))
        except OSError as error:
            raise NotSentHereError(f"it cannot be read: {_system_text(error)}") from error
        return copy

    # --- while it is under way --------------------------------------------------------------------

    def _call_with_retries(self, request: Request, picture: PreparedSource, answer: AnswerFile) -> float:
        """Call again after a pause where surely nothing was charged; return how long the last call took."""

        def show_pause(error: BaseException, pause_s: float) -> None:
            self.display.message(f"{request.name}: {str(error).rstrip('.')}; trying again in {span_text(pause_s)}")

        return call_with_retries(
            lambda: self._call(request, picture, answer),
            lambda error, tries: pause_without_gate_s(error, tries, jitter=self.chance()),
            sleep=self.sleep,
            on_pause=show_pause,
        )

    def _call(self, request: Request, picture: PreparedSource, answer: AnswerFile) -> float:
        with self.display.showing(request.name, picture.size_bytes) as transfer:
            try:
                cutout = self.client.remove_background(
                    picture.open(),
                    self.params,
                    filename=picture.filename,
                    destination=answer,
                    on_upload=transfer.on_upload,
                    on_download=transfer.on_download,
                )
            except KeyboardInterrupt:
                if transfer.has_left:
                    self.display.message(f"{request.name}: interrupted after it was sent: it may have been charged")
                raise
        return cutout.elapsed_s

    # --- after it was paid for --------------------------------------------------------------------

    def _deliver(self, request: Request, picture: PreparedSource, answer: Path) -> Verified:
        expected = Expected(
            params=self.params, width=picture.width, height=picture.height, may_be_turned=picture.may_be_turned
        )
        try:
            verified = verify(
                answer, expected
            )  # one of an unexpected size is paid for: it is delivered, with a warning
            self._put(self._as_written(answer), request.target)
        except (AnswerRejectedError, disk.DeliveryError, OSError) as error:
            raise UndeliveredError(_why_undelivered(error, request), answer) from error
        except KeyboardInterrupt:
            self.display.message(f"{request.name}: interrupted; the answer was paid for and is kept in {answer}")
            raise
        return verified

    def _as_written(self, answer: Path) -> Path:
        if not self.options.writes_base64:
            return answer
        handle, text = tempfile.mkstemp(dir=self.scratch)
        with answer.open("rb") as picture, os.fdopen(handle, "wb") as file:
            while block := picture.read(_BASE64_BLOCK_BYTES):
                file.write(base64.b64encode(block))
            file.write(b"\n")
        return Path(text)

    def _put(self, answer: Path, target: Path | None) -> None:
        if target is None:
            _to_stdout(answer)
            return
        folder, name = target.parent, os.fsencode(target.name)
        older = None
        if self.options.is_forced:
            with disk.root_directory(folder) as folder_fd:
                older = disk.content_at(folder_fd, name)
        staged = stage(answer, folder, name)
        try:
            publish(staged, replace=older)
        except disk.TargetTakenError:
            discard(staged)
            raise


def check_target(target: Path, source: Path | None, *, is_forced: bool) -> None:
    """
    Make sure, before anything is sent, that a cut-out can be written to *target*.

    Raises:
        NotSentHereError: It cannot, or must not.
    """
    shown = show(os.fsencode(target))
    try:
        _check_free(target, source, shown, is_forced=is_forced)
        with disk.root_directory(target.parent) as folder_fd:
            probe_name = disk.new_staging_name()
            disk.write(folder_fd, probe_name, iter([b"?"]))
            disk.remove(folder_fd, probe_name)
    except (OSError, disk.DeliveryError) as error:
        raise NotSentHereError(f"{shown} cannot be written: {_system_text(error)}") from error


def _check_free(target: Path, source: Path | None, shown: str, *, is_forced: bool) -> None:
    try:
        target.lstat()
    except FileNotFoundError:
        return
    if source is not None and target.exists() and source.exists() and target.samefile(source):
        raise NotSentHereError(f"{shown} is the picture itself, which is never overwritten: name another file")
    if target.is_dir():
        raise NotSentHereError(f"{shown} is a folder")
    if not target.is_file() or target.is_symlink():
        raise NotSentHereError(f"{shown} is not a regular file")
    if not is_forced:
        raise NotSentHereError(f"{shown} already exists and is left unchanged: --force overwrites it")


def _check_room(size_bytes: int, target: Path | None) -> None:
    needed_bytes = answer_room_bytes(size_bytes)
    for folder in [Path(tempfile.gettempdir()), *([target.parent] if target else [])]:
        try:
            has_room = enough_room(folder, needed_bytes, 0)
        except disk.DeliveryError as error:
            raise NotSentHereError(f"{show(os.fsencode(folder))} cannot be written: {_system_text(error)}") from error
        if not has_room:
            raise NotSentHereError(
                f"there is not enough space in {show(os.fsencode(folder))}: {size_text(needed_bytes)} may be needed"
            )


def _resolved(source: Path) -> Path:
    try:
        found = source.resolve(strict=True)
    except FileNotFoundError as error:
        raise NotSentHereError("there is no such file") from error
    except (OSError, RuntimeError) as error:  # RuntimeError: links in a circle
        raise NotSentHereError(f"it cannot be read: {_system_text(error)}") from error
    if found.is_dir():
        raise NotSentHereError("it is a folder: name the pictures in it")
    return found


def _prepared(source: Path, scratch: Path, *, is_upright: bool) -> PreparedSource:
    """Check that it is a whole picture that the API takes, and open it as it is sent."""
    try:
        seen = source.stat()
        found = probe(os.fsencode(source.parent), os.fsencode(source.name), file_stat(seen), is_last=True)
        if found.verdict is not Verdict.WHOLE:
            raise NotSentHereError(found.reason.rstrip(".") or "it changed while it was being read")
        return open_picture(source, disk.version_of(seen), scratch=scratch, sends=Sends(upright=is_upright))
    except (SourceError, disk.DeliveryError) as error:
        raise NotSentHereError(error.reason.rstrip(".")) from error
    except OSError as error:
        raise NotSentHereError(f"it cannot be read: {_system_text(error)}") from error


def _answer_file(target: Path | None, suffix: str) -> AnswerFile:
    """Make a file for the answer, if need be beside the target."""
    try:
        return AnswerFile([Path(tempfile.gettempdir()), *([target.parent] if target else [])], suffix)
    except OSError as error:
        raise NotSentHereError(f"no file for the answer can be created: {_system_text(error)}") from error


def _blocks(given: BinaryIO) -> Iterator[bytes]:
    """Read what comes, but not for ever: a picture that is far too large is refused for its size."""
    size_bytes = 0
    while size_bytes <= LARGEST_PICTURE_BYTES and (block := given.read(disk.BLOCK_BYTES)):
        yield block
        size_bytes += len(block)


def _decoded(given: BinaryIO) -> Iterator[bytes]:
    text = given.read(_LARGEST_TEXT_BYTES).decode("ascii", "replace")
    with open_source(Base64(text), is_checked=False) as decoded:
        yield from decoded.blocks()


def _to_stdout(answer: Path) -> None:
    """Write past Python's buffers, which would report a full disk or a closed pipe only at exit."""
    sys.stdout.flush()
    handle = sys.stdout.fileno()
    with answer.open("rb") as file:
        while block := file.read(disk.BLOCK_BYTES):
            view = memoryview(block)
            while view:
                view = view[os.write(handle, view) :]


def _why_undelivered(error: Exception, request: Request) -> str:
    if isinstance(error, AnswerRejectedError):
        return error.reason
    if isinstance(error, disk.TargetTakenError):
        return f"{request.target_name} was created by another program in the meantime and is left unchanged"
    return f"{request.target_name} cannot be written: {_system_text(error)}"


def _system_text(error: Exception) -> str:
    """Return the system's own words, without the advice that is meant for a service."""
    cause = error if isinstance(error, OSError) else error.__cause__
    return cause.strerror.lower() if isinstance(cause, OSError) and cause.strerror else str(error)


@contextlib.contextmanager
def scratch_folder() -> Iterator[Path]:
    """
    Make a folder that nobody else can read, for as long as the block runs.

    Raises:
        NotSentHereError: It cannot be created.
    """
    try:
        folder = tempfile.TemporaryDirectory(prefix="rembg-watch-", ignore_cleanup_errors=True)
    except OSError as error:
        raise NotSentHereError(f"no temporary folder can be created: {_system_text(error)}") from error
    with folder as name:
        yield Path(name)
