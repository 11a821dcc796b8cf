"""
One picture straight through: looked at, sent, verified and put in its place, without a ledger.

Everything that can be known beforehand is asked before a byte leaves: the picture, the
place for its cut-out, the space. What was paid for is never thrown away: if it is not
what was asked for, or cannot be put in its place, it stays in a temporary file, and the
error says in which.
"""

import base64
import contextlib
import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from rembg_watch.account.retry import pause_without_gate_s
from rembg_watch.api.client import Client
from rembg_watch.api.params import RemovalParams
from rembg_watch.api.upload import LARGEST_PICTURE_BYTES, Base64, open_source
from rembg_watch.cli.transfer import Display
from rembg_watch.delivery.publish import answer_room_bytes, discard, enough_room, publish, stage
from rembg_watch.delivery.verify import AnswerRejectedError, Expected, Verified, verify
from rembg_watch.errors import RembgWatchError
from rembg_watch.host import disk
from rembg_watch.pipeline.prepare import Prepared, SourceError, prepare
from rembg_watch.pipeline.retrying import call_with_retries
from rembg_watch.report.words import show, size_text, span_text
from rembg_watch.watch.probe import Verdict, file_stat, probe

_BASE64_BLOCK_BYTES = 3 * 256 * 1024  # whole groups of three bytes, so that blocks can be joined
_LARGEST_TEXT_BYTES = 2 * LARGEST_PICTURE_BYTES


@dataclass(frozen=True, slots=True, kw_only=True)
class Errand:
    """One picture and where its cut-out belongs."""

    source: Path | None  # None: standard input
    target: Path | None  # None: standard output

    @property
    def name(self) -> str:
        """The picture, fit for a line."""
        return "standard input" if self.source is None else show(os.fsencode(self.source))

    @property
    def place(self) -> str:
        """Where the cut-out goes, fit for a line."""
        return "standard output" if self.target is None else show(os.fsencode(self.target))


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivered:
    """A cut-out that stands where it was wanted."""

    errand: Errand
    verified: Verified
    elapsed_s: float


class NotSentHereError(RembgWatchError):
    """The picture or the place for its cut-out will not do; nothing was sent and nothing charged."""


class KeptError(RembgWatchError):
    """
    The answer was paid for, and is not where it was wanted.

    Attributes:
        path: Where it is kept.
        ends_all: The next picture would be paid for and fare the same.
    """

    def __init__(self, why: str, path: Path, *, ends_all: bool = False) -> None:
        kept = show(os.fsencode(path))
        super().__init__(f"{why.rstrip('.')}; the answer was paid for and is kept in {kept}")
        self.path = path
        self.ends_all = ends_all


@dataclass(frozen=True, slots=True, kw_only=True)
class Manner:
    """How pictures are read and cut-outs written, whatever is asked of the API."""

    is_forced: bool = False  # files that are there may be overwritten
    is_upright: bool = True  # what a camera marked as rotated is sent upright
    reads_base64: bool = False
    writes_base64: bool = False


class Carrier:
    """
    Carries out errands, one after the other.

    Args:
        client: Who sends.
        params: What is asked for.
        manner: How pictures are read and cut-outs written.
        scratch: A private folder for what comes by a pipe and for copies.
        display: Shows how far it is.
        sleep: Waits between two tries.
        chance: Gives numbers in [0, 1), so that many callers do not come back at once.
    """

    def __init__(
        self,
        client: Client,
        params: RemovalParams,
        manner: Manner,
        *,
        scratch: Path,
        display: Display,
        sleep: Callable[[float], object] = time.sleep,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._client = client
        self._params = params
        self._manner = manner
        self._scratch = scratch
        self._display = display
        self._sleep = sleep
        self._chance = chance

    def carry(self, errand: Errand) -> Delivered:
        """
        Send one picture and put its cut-out in its place, whole or not at all.

        Raises:
            NotSentHereError: It will not do; nothing was sent.
            RembgError: The call failed, for good or after some tries; ``charge`` says what it cost.
            KeptError: The answer came, was paid for and could not be delivered.
        """
        if errand.target is not None:
            check_target(errand.target, errand.source, is_forced=self._manner.is_forced)
        source = self._readable(errand.source)
        with _prepared(source, self._scratch, is_upright=self._manner.is_upright) as picture:
            _check_room(picture.size_bytes, errand.target)
            beside = [errand.target.parent] if errand.target else []
            with Inbox([Path(tempfile.gettempdir()), *beside], self._params.format.extension) as inbox:
                elapsed_s = self._send(errand, picture, inbox)
                verified = self._deliver(errand, picture, inbox.finish())
                inbox.drop()
        return Delivered(errand=errand, verified=verified, elapsed_s=elapsed_s)

    # --- before it is sent ------------------------------------------------------------------------

    def _readable(self, source: Path | None) -> Path:
        """Return a file that holds the picture itself, wherever it came from."""
        if source is not None and not self._manner.reads_base64:
            return _resolved(source)
        copy = self._scratch / (source.stem if source else "stdin")
        try:
            with ExitStack() as opened, copy.open("wb") as file:
                given = opened.enter_context(_resolved(source).open("rb")) if source else sys.stdin.buffer
                file.writelines(_decoded(given) if self._manner.reads_base64 else _blocks(given))
        except OSError as error:
            raise NotSentHereError(f"it cannot be read: {_words(error)}") from error
        return copy

    # --- while it is under way --------------------------------------------------------------------

    def _send(self, errand: Errand, picture: Prepared, inbox: "Inbox") -> float:
        """Send it, again after a pause where surely nothing was charged; return how long the last call took."""

        def tell_pause(error: BaseException, pause_s: float) -> None:
            self._display.tell(f"{errand.name}: {str(error).rstrip('.')}; trying again in {span_text(pause_s)}")

        return call_with_retries(
            lambda: self._call(errand, picture, inbox),
            lambda error, tries: pause_without_gate_s(error, tries, jitter=self._chance()),
            sleep=self._sleep,
            on_pause=tell_pause,
        )

    def _call(self, errand: Errand, picture: Prepared, inbox: "Inbox") -> float:
        with self._display.showing(errand.name, picture.size_bytes) as transfer:
            try:
                cutout = self._client.remove_background(
                    picture.open(),
                    self._params,
                    filename=picture.filename,
                    destination=inbox,
                    on_upload=transfer.on_upload,
                    on_download=transfer.on_download,
                )
            except KeyboardInterrupt:
                if transfer.has_left:
                    self._display.tell(f"{errand.name}: interrupted after it was sent: it may have been charged")
                raise
        return cutout.elapsed_s

    # --- after it was paid for --------------------------------------------------------------------

    def _deliver(self, errand: Errand, picture: Prepared, answer: Path) -> Verified:
        expected = Expected(
            params=self._params, width=picture.width, height=picture.height, may_be_turned=picture.may_be_turned
        )
        try:
            verified = verify(answer, expected)
            self._put(self._as_written(answer), errand.target)
        except (AnswerRejectedError, disk.DeliveryError, OSError) as error:
            ends_all = isinstance(error, AnswerRejectedError) and error.code == "downgraded"
            raise KeptError(_why_undelivered(error, errand), answer, ends_all=ends_all) from error
        except KeyboardInterrupt:
            self._display.tell(f"{errand.name}: interrupted; the answer was paid for and is kept in {answer}")
            raise
        return verified

    def _as_written(self, answer: Path) -> Path:
        if not self._manner.writes_base64:
            return answer
        handle, text = tempfile.mkstemp(dir=self._scratch)
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
        if self._manner.is_forced:
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
    Find out, before anything is sent, that a cut-out can be written to *target*.

    Raises:
        NotSentHereError: It cannot, or must not.
    """
    place = show(os.fsencode(target))
    try:
        _check_free(target, source, place, is_forced=is_forced)
        with disk.root_directory(target.parent) as folder_fd:
            trial = disk.new_staging_name()
            disk.write(folder_fd, trial, iter([b"?"]))
            disk.remove(folder_fd, trial)
    except (OSError, disk.DeliveryError) as error:
        raise NotSentHereError(f"{place} cannot be written: {_words(error)}") from error


def _check_free(target: Path, source: Path | None, place: str, *, is_forced: bool) -> None:
    try:
        target.lstat()
    except FileNotFoundError:
        return
    if source is not None and target.exists() and source.exists() and target.samefile(source):
        raise NotSentHereError(f"{place} is the picture itself, which is never overwritten: name another file")
    if target.is_dir():
        raise NotSentHereError(f"{place} is a folder")
    if not target.is_file() or target.is_symlink():
        raise NotSentHereError(f"{place} is no ordinary file")
    if not is_forced:
        raise NotSentHereError(f"{place} is there already and stays as it is: --force overwrites it")


def _check_room(size_bytes: int, target: Path | None) -> None:
    needed_bytes = answer_room_bytes(size_bytes)
    for folder in [Path(tempfile.gettempdir()), *([target.parent] if target else [])]:
        try:
            has_room = enough_room(folder, needed_bytes, 0)
        except disk.DeliveryError as error:
            raise NotSentHereError(f"{show(os.fsencode(folder))} cannot be written: {_words(error)}") from error
        if not has_room:
            raise NotSentHereError(
                f"there is too little space in {show(os.fsencode(folder))}: {size_text(needed_bytes)} may be needed"
            )


def _resolved(source: Path) -> Path:
    try:
        found = source.resolve(strict=True)
    except FileNotFoundError as error:
        raise NotSentHereError("there is no such file") from error
    except (OSError, RuntimeError) as error:  # RuntimeError: links in a circle
        raise NotSentHereError(f"it cannot be read: {_words(error)}") from error
    if found.is_dir():
        raise NotSentHereError("it is a folder: name the pictures in it")
    return found


def _prepared(source: Path, scratch: Path, *, is_upright: bool) -> Prepared:
    """Look whether it is a whole picture that the API takes, and open it as it is sent."""
    try:
        seen = source.stat()
        found = probe(os.fsencode(source.parent), os.fsencode(source.name), file_stat(seen), is_last=True)
        if found.verdict is not Verdict.WHOLE:
            raise NotSentHereError(found.reason.rstrip(".") or "it changes while it is being read")
        return prepare(source, disk.version_of(seen), scratch=scratch, upright=is_upright)
    except (SourceError, disk.DeliveryError) as error:
        raise NotSentHereError(error.reason.rstrip(".")) from error
    except OSError as error:
        raise NotSentHereError(f"it cannot be read: {_words(error)}") from error


def _blocks(given: BinaryIO) -> Iterator[bytes]:
    """Read what comes, but not for ever: what is far too large is refused by its size."""
    size_bytes = 0
    while size_bytes <= LARGEST_PICTURE_BYTES and (block := given.read(disk.BLOCK_BYTES)):
        yield block
        size_bytes += len(block)


def _decoded(given: BinaryIO) -> Iterator[bytes]:
    text = given.read(_LARGEST_TEXT_BYTES).decode("ascii", "replace")
    with open_source(Base64(text), is_checked=False) as decoded:
        yield from decoded.blocks()


def _to_stdout(answer: Path) -> None:
    """Write past Python's buffers, where what could not be written would be left for the very end."""
    sys.stdout.flush()
    handle = sys.stdout.fileno()
    with answer.open("rb") as file:
        while block := file.read(disk.BLOCK_BYTES):
            view = memoryview(block)
            while view:
                view = view[os.write(handle, view) :]


def _why_undelivered(error: Exception, errand: Errand) -> str:
    if isinstance(error, AnswerRejectedError):
        return error.reason
    if isinstance(error, disk.TargetTakenError):
        return f"{errand.place} was made by somebody else meanwhile and stays as it is"
    return f"{errand.place} cannot be written: {_words(error)}"


def _words(error: Exception) -> str:
    """Say what the system says, without the advice that is meant for a service."""
    cause = error if isinstance(error, OSError) else error.__cause__
    return cause.strerror.lower() if isinstance(cause, OSError) and cause.strerror else str(error)


class Inbox:
    """
    A temporary file for an answer; on a full disk the answer goes on in the next folder.

    As a context it takes the file away again, unless ``finish`` was called: then
    what is in it is whole and paid for, and stays until ``drop``.

    Args:
        folders: Where it may be, the best place first.
        suffix: The ending of its name.

    Raises:
        NotSentHereError: None of them takes a file.
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
        raise NotSentHereError(f"there is no place for the answer: {_words(trouble or OSError())}")

    def _made(self, folder: Path) -> tuple[int, Path]:
        fd, name = tempfile.mkstemp(dir=folder, prefix="rembg-", suffix=self._suffix)
        return fd, Path(name)

    def write(self, block: bytes, /) -> None:
        """
        Take all of *block*, here or elsewhere.

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
        """Keep what came, which is whole, and say where."""
        self._is_finished = True
        with contextlib.suppress(OSError):
            os.fsync(self._fd)
        return self.path

    def drop(self) -> None:
        """Take the file away: what was in it stands elsewhere."""
        self.path.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._fd)
        if not self._is_finished:
            self.drop()


@contextlib.contextmanager
def scratch_folder() -> Iterator[Path]:
    """
    Make a folder that nobody else can look into, for as long as the block runs.

    Raises:
        NotSentHereError: There is no place for it.
    """
    try:
        folder = tempfile.TemporaryDirectory(prefix="rembg-watch-", ignore_cleanup_errors=True)
    except OSError as error:
        raise NotSentHereError(f"there is no place for temporary files: {_words(error)}") from error
    with folder as name:
        yield Path(name)
