"""
What is sent for a source: an open file, its digest and its size in pixels.

A picture that lies straight is sent byte for byte. One that its EXIF orientation turns
is, where so wished, sent as an upright copy, since removers tend to ignore the tag. What the
service does not take, or might take otherwise than it is meant, goes as a plain and smaller
copy where a folder makes deliverables. A copy lives in a file without a name, so that nothing
is left of it, whatever happens. The source is only read, and opened once: what is looked at,
hashed, decoded and sent is one open file.

Below a watched root it is reached part by part, without following links, as the watch reached
it: a folder that was swapped for a link since leads nowhere. So a version need not name its
device, which would be another one after each remount: what is reached in this way lies below the root.
"""

import errno
import hashlib
import os
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Protocol, Self, TypeVar, cast

from rembg_watch.delivery.waiting import NOBODY, Waiting
from rembg_watch.errors import RembgWatchError
from rembg_watch.host import disk
from rembg_watch.host.disk import Step, no_step
from rembg_watch.jobs import Version
from rembg_watch.pictures import carrying, inspection
from rembg_watch.pictures.extras import NEEDS_EXTRA, why_not_installed
from rembg_watch.pictures.formats import (
    MAX_UPLOAD_BYTES,
    SUFFIXES,
    Kind,
    Look,
    ReadKind,
    Refusal,
    why_not_readable,
    why_not_sendable,
)
from rembg_watch.pictures.metadata import Metadata, Parts
from rembg_watch.pictures.reader import Reader
from rembg_watch.pictures.reduction import WRONG_PROFILE, NoProxyError, Proxy, Reduction
from rembg_watch.pictures.sending import AS_IT_IS, PLAIN, UPRIGHT, Sends, assumed, is_copy, way_of
from rembg_watch.pictures.upright import SOURCE, CopyTooLargeError, Turn, UndecodableError, Upright, make_upright


class MakeUpright(Protocol):
    """Sets a source upright; see ``make_upright``."""

    def __call__(
        self, source: BinaryIO, copy: BinaryIO, scratch: BinaryIO, turn: Turn, *, px: int, waiting: Waiting = NOBODY
    ) -> Upright:
        """Write the copy; *px* says how many pixels there are."""


def upright_here(
    source: BinaryIO, copy: BinaryIO, scratch: BinaryIO, turn: Turn, *, px: int, waiting: Waiting = NOBODY
) -> Upright:
    """Set a source upright in this process: for one picture by hand."""
    del px, waiting
    return make_upright(source, copy, scratch, turn)


class MakeProxy(Protocol):
    """Makes a smaller copy of a source; see ``make_proxy``."""

    def __call__(
        self, source: BinaryIO, copy: BinaryIO, reduction: Reduction, *, px: int, waiting: Waiting = NOBODY
    ) -> Proxy:
        """Write the copy; *px* says how many pixels the source has."""


def proxy_here(source: BinaryIO, copy: BinaryIO, reduction: Reduction, *, px: int, waiting: Waiting = NOBODY) -> Proxy:
    """Make a copy in this process: for one picture by hand."""
    del px, waiting
    from rembg_watch.pictures.proxy import make_proxy

    return make_proxy(source, copy, reduction)


_Watched = Callable[[], AbstractContextManager[Waiting]]
"""Says that a disk is depended on from now, and how to tell that it answers."""


@contextmanager
def _not_touching() -> Iterator[Callable[[], None]]:
    yield lambda: None


class SourceError(RembgWatchError):
    """A source cannot be sent as its job has it; nothing was sent."""

    def __init__(self, reason: str, *, code: str, path: Path) -> None:
        super().__init__(reason)
        self.reason = reason  # one sentence: what is wrong and what to do
        self.code = code  # the same for machines
        self.path = path


class SourceGoneError(SourceError):
    """Nothing is there any more."""


class SourceChangedError(SourceError):
    """It is another version than the job's; the watch finds that one by itself."""


class SourceUnreadableError(SourceError):
    """It is there, but cannot be read now: the share, the disk or a permission."""


class SourceUnfitError(SourceError):
    """The picture itself can never be sent like this: broken, too large, of a foreign kind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedSource:
    """What is to be sent; use it as a context, which closes the file."""

    file: BinaryIO
    filename: str  # ASCII alone, with the ending that fits what is sent
    kind: Kind  # of what is sent
    source_kind: Kind | ReadKind
    digest: str  # SHA-256 of the bytes to be sent, hex
    size_bytes: int
    source_digest: str  # SHA-256 of the source; the same as ``digest`` unless it is a copy
    picture_digest: str  # SHA-256 of what makes the picture: whatever is written about it changes nothing
    content_digest: str  # the same, and comments that may tell two pictures apart
    metadata: Metadata  # of the source
    width: int  # as a decoder sees what is sent
    height: int
    way: str = AS_IT_IS  # in which it is sent: see ``pictures.sending``
    orientation: int = 1  # of the source
    pages: int = 1  # of the source; the first one is sent
    remarks: tuple[str, ...] = ()  # what was lost of the source in a copy, as codes
    assume: str = "srgb"  # what the colours of the source mean, if it has no profile

    @property
    def is_upright_copy(self) -> bool:
        """Whether a copy of the same kind and size is sent that stands upright."""
        return self.way == UPRIGHT

    @property
    def is_proxy(self) -> bool:
        """Whether a plain and smaller copy is sent."""
        return is_copy(self.way)

    @property
    def may_be_turned(self) -> bool:
        """Whether the answer may have its sides swapped: what is sent as it is may hold an orientation."""
        return self.way == AS_IT_IS

    @property
    def answer_metadata(self) -> Metadata:
        """What the source says that is true of the answer, too: a plain copy has other colours than the source."""
        return replace(self.metadata, profile=b"") if self.is_proxy else self.metadata

    @property
    def sent_digest(self) -> str:
        """Name the bytes that are sent: two sources may come to the same."""
        return self.digest

    def open(self) -> BinaryIO:
        """Hand out the file from its start, for each attempt anew; it stays this value's to close."""
        self.file.seek(0)
        return self.file

    def close(self) -> None:
        """Close the file; a copy is gone with it."""
        self.file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_picture(
    source: Path,
    version: Version,
    *,
    scratch: Path,
    root: Path | None = None,
    sends: Sends = PLAIN,
    largest_copy_bytes: int = MAX_UPLOAD_BYTES,
    make: MakeUpright = upright_here,
    proxy: MakeProxy = proxy_here,
    touching: Callable[[], AbstractContextManager[Callable[[], None]]] = _not_touching,
    beat: Callable[[], None] = lambda: None,
    step: Step = no_step,
) -> PreparedSource:
    """
    Open *source* and say what is sent for it.

    The digest is that of the version of the job: the file is looked at before and after
    it was read. The same source gives the same bytes. An upright copy is written into
    *scratch*, on a disk of our own, by *make*, and again at a lower quality where it comes out too large.
    No link is followed below *root*; without one, a person chose the path.

    Raises:
        SourceGoneError: It is not there.
        SourceChangedError: It is not the version of the job.
        SourceUnreadableError: It cannot be read now.
        SourceUnfitError: It can never be sent.
        OutputUnavailableError: The scratch directory cannot take the copy.
    """
    with touching() as moved:
        plain = measure(source, version, root=root, sends=sends, moved=moved, step=step)
    if plain.way == AS_IT_IS:
        return plain

    @contextmanager
    def waiting() -> Iterator[Waiting]:
        with touching() as moved:
            yield Waiting(beat=beat, moved=moved)

    with plain:
        if plain.is_proxy:
            return _proxy(plain, source, scratch, sends.px, largest_copy_bytes, proxy, waiting)
        return _upright_copy(plain, source, scratch, largest_copy_bytes, make, waiting)


def measure(
    source: Path,
    version: Version,
    *,
    sends: Sends,
    root: Path | None = None,
    moved: Callable[[], None] = lambda: None,
    step: Step = no_step,
) -> PreparedSource:
    """Open *source* as it is, for ``open_picture``; ``way`` says what will be sent in its place."""
    file = os.fdopen(_open(source, version, root), "rb")
    try:
        look, content, parts, digests = _read(source, file.fileno(), sends, moved)
        step("read")
        _check_version(file.fileno(), source, version)
        _check_fitness(look, source, content.size_bytes, sends)
        assert look.any_kind is not None
        way = way_of(look, parts, content.size_bytes, sends)
        sent = Kind.JPEG if look.kind is None or is_copy(way) else look.kind
        plain = PreparedSource(
            file=file,
            filename=filename_for(source.name, sent),
            kind=sent,
            source_kind=look.any_kind,
            digest=content.digest,
            size_bytes=content.size_bytes,
            source_digest=content.digest,
            picture_digest=digests[0],
            content_digest=digests[1],
            metadata=parts.metadata,
            width=look.width_px,
            height=look.height_px,
            way=way,
            orientation=look.orientation,
            pages=look.pages,
            assume=assumed(parts, sends),
        )
        if plain.is_proxy:
            _refuse(why_not_installed(look), source)
    except BaseException:
        file.close()
        raise
    return plain


def open_version(source: Path, version: Version, *, root: Path, is_same_file: bool = True) -> BinaryIO:
    """
    Open a source in a certain version, to make something of it.

    *is_same_file*: it is where it was found; else its number may be another one.

    Raises:
        SourceError: It is not there, or is another version.
    """
    if is_same_file:
        return os.fdopen(_open(source, version, root), "rb")
    try:
        fd = _open_below(root, source)
    except OSError as error:
        raise _unopened(error, source) from error
    found = os.fstat(fd)
    if (found.st_size, found.st_mtime_ns) != (version.size_bytes, version.mtime_ns):
        os.close(fd)
        raise SourceChangedError(f"{disk.shown(source)} is another version.", code="changed", path=source)
    return os.fdopen(fd, "rb")


def is_there(source: Path, version: Version, *, root: Path | None = None) -> bool:
    """Say whether *source* stands in this version, or might: one that cannot be read now is tried again later."""
    try:
        os.close(_open(source, version, root))
    except SourceError as error:
        return isinstance(error, SourceUnreadableError)
    return True


def filename_for(name: str, kind: Kind) -> str:
    """Give a file a name that no server trips over and that says what it really is."""
    stem = re.sub(r"[^A-Za-z0-9_-]+", "_", Path(name).stem).strip("_")[:80]
    return f"{stem or 'picture'}{SUFFIXES[kind]}"


def _open(source: Path, version: Version, root: Path | None) -> int:
    try:
        fd = _open_below(root or source.parent, source)
    except OSError as error:
        raise _unopened(error, source) from error
    try:
        _check_version(fd, source, version)
    except SourceError:
        os.close(fd)
        raise
    return fd


def _open_below(root: Path, source: Path) -> int:
    parent, name = disk.split(os.fsencode(source.relative_to(root)))
    with (
        disk.closing(os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)) as root_fd,
        disk.directory(root_fd, parent) as dir_fd,
    ):
        return disk.open_file(dir_fd, name)


def _unopened(error: OSError, source: Path) -> SourceError:
    shown = disk.shown(source)
    if error.errno in {errno.ENOENT, errno.ENOTDIR}:
        return SourceGoneError(f"{shown} is not there any more.", code="gone", path=source)
    if error.errno in {errno.ELOOP, errno.ENXIO, errno.EISDIR}:
        return SourceChangedError(f"{shown} is a link or a special file now.", code="changed", path=source)
    return _unreadable(error, source)


def _unreadable(error: OSError, source: Path) -> SourceUnreadableError:
    sentence = f"{disk.shown(source)} cannot be read ({error.strerror}): look at its permissions and its share."
    return SourceUnreadableError(sentence, code="unreadable", path=source)


def _check_version(fd: int, source: Path, version: Version) -> None:
    if not disk.is_version(os.fstat(fd), version):
        sentence = f"{disk.shown(source)} was changed after it was found; the new version gets its own turn."
        raise SourceChangedError(sentence, code="changed", path=source)


def _read(
    source: Path, fd: int, sends: Sends, moved: Callable[[], None]
) -> tuple[Look, disk.Content, Parts, tuple[str, str]]:
    try:
        reader, blocks = _at_once_or_by_blocks(fd, moved)
        look = inspection.inspect_to_the_end(fd, reader=reader, reads_more=sends.reads_more)
        parts = carrying.parts_of(reader, look.any_kind)
        if parts.picture == ((0, reader.size_bytes),):
            content = disk.content_of(blocks)
            return look, content, parts, (content.digest,) * 2
        content, pixels = disk.content_and_part(blocks, parts.picture)
    except OSError as error:
        raise _unreadable(error, source) from error
    told = carrying.told_besides(parts, look)
    picture = hashlib.sha256(pixels.encode() + told).hexdigest()
    commented = hashlib.sha256(picture.encode() + parts.comments).hexdigest() if parts.comments else picture
    return look, content, parts, (picture, commented)


def _at_once_or_by_blocks(fd: int, moved: Callable[[], None]) -> tuple[Reader, Iterable[bytes]]:
    """Read a small file once: each time that a thread asks the disk, it queues behind all others to go on."""
    if os.fstat(fd).st_size <= disk.BLOCK_BYTES:
        data = os.pread(fd, disk.BLOCK_BYTES, 0)
        moved()
        return Reader.of(data), [data]
    return inspection.reader_of(fd), _moving(disk.blocks(fd), moved)


def _moving(blocks: Iterable[bytes], moved: Callable[[], None]) -> Iterator[bytes]:
    for block in blocks:
        moved()
        yield block


def _check_fitness(look: Look, source: Path, size_bytes: int, sends: Sends) -> None:
    # that it is whole too: a person may ask for one again that is not
    _refuse(why_not_readable(look) if sends.reads_more else why_not_sendable(look, size_bytes), source)


def _refuse(refusal: Refusal | None, source: Path) -> None:
    if refusal is not None:
        raise SourceUnfitError(refusal.reason, code=refusal.code, path=source)


def _upright_copy(
    plain: PreparedSource, source: Path, scratch: Path, largest_bytes: int, make: MakeUpright, waiting: _Watched
) -> PreparedSource:
    def made(file: BinaryIO) -> Upright:
        with _unnamed_file(scratch) as aside, waiting() as watched:
            turn = Turn(kind=plain.kind, orientation=plain.orientation, largest_bytes=largest_bytes)
            return make(plain.open(), file, aside, turn, px=plain.width * plain.height, waiting=watched)

    copying = _Copying("Set upright", "set upright", "turn", largest_bytes)
    file, content, copy = _written(made, source, scratch, copying)
    return _sent_in_place(plain, file, content, copy)


def _proxy(
    plain: PreparedSource,
    source: Path,
    scratch: Path,
    px: int,
    largest_bytes: int,
    proxy: MakeProxy,
    waiting: _Watched,
) -> PreparedSource:
    def made(file: BinaryIO) -> Proxy:
        reduction = Reduction(kind=plain.source_kind, px=px, assume=plain.assume, largest_bytes=largest_bytes)
        with waiting() as watched:
            return proxy(plain.open(), file, reduction, px=plain.width * plain.height, waiting=watched)

    copying = _Copying("Even as a copy", "copied", "copy", largest_bytes)
    file, content, copy = _written(made, source, scratch, copying)
    return replace(_sent_in_place(plain, file, content, copy), remarks=copy.remarks)


def _sent_in_place(
    plain: PreparedSource, file: BinaryIO, content: disk.Content, copy: Upright | Proxy
) -> PreparedSource:
    return replace(
        plain, file=file, digest=content.digest, size_bytes=content.size_bytes, width=copy.width, height=copy.height
    )


Copy = TypeVar("Copy", Upright, Proxy)


@dataclass(frozen=True, slots=True)
class _Copying:
    """What a copy is for, in words."""

    as_what: str
    done: str
    code: str
    largest_bytes: int


def _written(
    make: Callable[[BinaryIO], Copy], source: Path, scratch: Path, copying: _Copying
) -> tuple[BinaryIO, disk.Content, Copy]:
    file = _unnamed_file(scratch)
    try:
        copy = make(file)
        return file, disk.content(file.fileno()), copy
    except BaseException as error:
        file.close()
        raise _not_copied(error, source, scratch, copying) from error


def _not_copied(error: BaseException, source: Path, scratch: Path, copying: _Copying) -> BaseException:
    """Say what it means for the source that no copy of it came out."""
    shown = disk.shown(source)
    match error:
        case NoProxyError() if error.code == WRONG_PROFILE:  # of the folder, and no fault of the picture's
            return SourceUnreadableError(str(error), code=error.code, path=source)
        case NoProxyError():
            code = NEEDS_EXTRA if error.code == "missing_library" else error.code
            return SourceUnfitError(str(error), code=code, path=source)
        case UndecodableError():
            sentence = f"The picture cannot be decoded ({error}): export it again."
            return SourceUnfitError(sentence, code="broken", path=source)
        case CopyTooLargeError():
            most = f"the {copying.largest_bytes >> 20} MB that the service takes"
            sentence = f"{copying.as_what}, {shown} is larger than {most}: export it upright or smaller."
            return SourceUnfitError(sentence, code="too_large", path=source)
        case MemoryError():
            sentence = f"There is not enough memory for {shown} to be {copying.done}: export it upright or smaller."
            return SourceUnfitError(sentence, code=f"too_large_to_{copying.code}", path=source)
        case OSError() if error.filename == SOURCE:
            return _unreadable(error, source)
        case OSError():
            return disk.unavailable(error, f"{disk.shown(scratch)} cannot take a copy to be sent", scratch)
    return error


def _unnamed_file(scratch: Path) -> BinaryIO:
    try:
        return cast(BinaryIO, tempfile.TemporaryFile(dir=scratch))
    except OSError as error:
        raise disk.unavailable(error, f"{disk.shown(scratch)} cannot take a copy to be sent", scratch) from error
