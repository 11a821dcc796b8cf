"""
What is sent for a source: an open file, its digest and its size in pixels.

A picture that lies straight is sent byte for byte. One that its EXIF orientation turns
is, where so wished, sent as an upright copy, since removers tend to ignore the tag. The
copy keeps colour profile and resolution and has no other metadata; it lives in a file
without a name, so that nothing is left of it, whatever happens. The source is only read,
and opened once: what is looked at, hashed, decoded and sent is one open file.

Below a watched root it is reached part by part, without following links, as the watch reached
it: a folder that was swapped for a link since leads nowhere. So a version need not name its
device, which would be another one after each remount: what is reached in this way lies below the root.
"""

import errno
import os
import re
import tempfile
import threading
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self, cast

from PIL import Image, ImageOps

from rembg_watch.errors import RembgWatchError
from rembg_watch.host import disk
from rembg_watch.host.disk import Step, no_step
from rembg_watch.host.processors import anywhere
from rembg_watch.jobs import Version
from rembg_watch.pictures import inspection
from rembg_watch.pictures.formats import MAX_SIDE_PX, MAX_UPLOAD_BYTES, SUFFIXES, Kind, Look, why_not_sendable

# Both this module and ``verify`` look at the sides before anything is decoded; this is for headers that lie.
Image.MAX_IMAGE_PIXELS = 2 * MAX_SIDE_PX**2

# Decoding is bound by the processor: more at once are not faster and need up to 800 MB each.
_DECODING = threading.BoundedSemaphore(min(4, os.cpu_count() or 1))

_COPIES: dict[Kind, tuple[dict[str, Any], ...]] = {
    Kind.JPEG: (
        {"format": "JPEG", "quality": 95, "subsampling": 0},
        {"format": "JPEG", "quality": 90, "subsampling": 0},
        {"format": "JPEG", "quality": 85, "subsampling": 2},
    ),
    Kind.PNG: ({"format": "PNG", "compress_level": 1}, {"format": "PNG", "compress_level": 9}),
    Kind.WEBP: (
        {"format": "WEBP", "lossless": True, "quality": 20, "method": 1, "exact": True},
        {"format": "WEBP", "quality": 95, "method": 2},
    ),
    Kind.BMP: ({"format": "BMP"},),
}
"""How a copy is saved: as the first says, or as the next where the service would find that too large."""


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
    filename: str  # ASCII alone, with the ending that fits what it is
    kind: Kind
    digest: str  # SHA-256 of the bytes to be sent, hex
    size_bytes: int
    source_digest: str  # SHA-256 of the source; the same as ``digest`` unless it is a copy
    width: int  # as a decoder sees what is sent
    height: int
    is_upright_copy: bool = False

    @property
    def may_be_turned(self) -> bool:
        """Whether the answer may have its sides swapped: what is sent as it is may hold an orientation."""
        return not self.is_upright_copy

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
    upright: bool = True,
    largest_copy_bytes: int = MAX_UPLOAD_BYTES,
    step: Step = no_step,
) -> PreparedSource:
    """
    Open *source* and say what is sent for it.

    The digest is that of the version of the job: the file is looked at before and after
    it was read. The same source gives the same bytes. An upright copy is written into
    *scratch*, on a disk of our own, and again at a lower quality where it comes out too large.
    No link is followed below *root*; without one, a person chose the path.

    Raises:
        SourceGoneError: It is not there.
        SourceChangedError: It is not the version of the job.
        SourceUnreadableError: It cannot be read now.
        SourceUnfitError: It can never be sent.
        OutputUnavailableError: The scratch directory cannot take the copy.
    """
    plain = measure(source, version, root=root, upright=upright, step=step)
    if not plain.is_upright_copy:
        return plain
    with plain:
        return _upright_copy(plain, source, scratch, largest_copy_bytes)


def measure(
    source: Path, version: Version, *, root: Path | None = None, upright: bool, step: Step = no_step
) -> PreparedSource:
    """Open *source* as it is, for ``open_picture``; ``is_upright_copy`` says what will be sent in its place."""
    file = os.fdopen(_open(source, version, root), "rb")
    try:
        look, content = _read(source, file.fileno())
        step("read")
        _check_version(file.fileno(), source, version)
        _check_fitness(look, source, content.size_bytes)
        assert look.kind is not None
        plain = PreparedSource(
            file=file,
            filename=filename_for(source.name, look.kind),
            kind=look.kind,
            digest=content.digest,
            size_bytes=content.size_bytes,
            source_digest=content.digest,
            width=look.width_px,
            height=look.height_px,
            is_upright_copy=upright and look.orientation != 1,
        )
    except BaseException:
        file.close()
        raise
    return plain


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


def _read(source: Path, fd: int) -> tuple[Look, disk.Content]:
    try:
        return inspection.inspect_to_the_end(fd), disk.content(fd)
    except OSError as error:
        raise _unreadable(error, source) from error


def _check_fitness(look: Look, source: Path, size_bytes: int) -> None:
    refusal = why_not_sendable(look, size_bytes)  # that it is whole too: a person may ask for one again that is not
    if refusal is not None:
        raise SourceUnfitError(refusal.reason, code=refusal.code, path=source)


def _upright_copy(plain: PreparedSource, source: Path, scratch: Path, largest_bytes: int) -> PreparedSource:
    file = _unnamed_file(scratch)
    try:
        with _DECODING, anywhere():
            picture = _upright(plain, source)
            content = _save_small_enough(picture, file, _COPIES[plain.kind], scratch, largest_bytes)
    except BaseException:
        file.close()
        raise
    if content is None:
        file.close()
        raise SourceUnfitError(
            f"Set upright, {disk.shown(source)} is larger than the {largest_bytes >> 20} MB that the service takes: "
            "export it upright or smaller.",
            code="too_large",
            path=source,
        )
    return replace(
        plain,
        file=file,
        digest=content.digest,
        size_bytes=content.size_bytes,
        width=picture.width,
        height=picture.height,
    )


def _save_small_enough(
    picture: Image.Image, file: BinaryIO, ways: tuple[dict[str, Any], ...], scratch: Path, largest_bytes: int
) -> disk.Content | None:
    """Save in the first of *ways* that gives few enough bytes; None if none does."""
    for options in ways:
        try:
            _save(picture, file, options, scratch)
        except ValueError:  # an encoder has limits of its own, of noise for example
            continue
        content = disk.content(file.fileno())
        if content.size_bytes <= largest_bytes:
            return content
    return None


def _upright(plain: PreparedSource, source: Path) -> Image.Image:
    try:
        with Image.open(plain.open(), formats=(plain.kind.upper(),)) as picture:
            if max(picture.size) > MAX_SIDE_PX:
                raise ValueError("its header contradicts itself")  # noqa: TRY301  # one place tells what is broken
            picture.load()
            return ImageOps.exif_transpose(picture)
    except OSError as error:
        if error.errno is not None:
            raise _unreadable(error, source) from error
        raise _broken(error, source) from error
    except (ValueError, SyntaxError, EOFError, Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _broken(error, source) from error


def _broken(error: Exception, source: Path) -> SourceUnfitError:
    sentence = f"The picture cannot be decoded ({error}): export it again."
    return SourceUnfitError(sentence, code="broken", path=source)


def _unnamed_file(scratch: Path) -> BinaryIO:
    try:
        return cast(BinaryIO, tempfile.TemporaryFile(dir=scratch))
    except OSError as error:
        raise disk.unavailable(error, f"{disk.shown(scratch)} cannot take an upright copy", scratch) from error


def _save(picture: Image.Image, file: BinaryIO, options: dict[str, Any], scratch: Path) -> None:
    kept: dict[str, Any] = {"icc_profile": picture.info.get("icc_profile"), "dpi": _dpi(picture)}
    try:
        file.seek(0)
        file.truncate()
        picture.save(file, **options, **{name: value for name, value in kept.items() if value})
        file.flush()
    except OSError as error:
        raise disk.unavailable(error, f"{disk.shown(scratch)} cannot take an upright copy", scratch) from error


def _dpi(picture: Image.Image) -> tuple[float, float] | None:
    """Read the resolution; headers state zeros, fractions of zero and more dots than atoms."""
    try:
        wide, tall = (float(one) for one in picture.info["dpi"])
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return None
    return (wide, tall) if 1 <= wide <= 65535 and 1 <= tall <= 65535 else None
