"""
Careful acts in folders that others write to as well: never through a link, never over a file.

Directories are opened one by one from a root, without following symbolic links, so
that no name can lead out of the root. A name is claimed in one step that fails if it
is taken. What is written is durable before anybody is told of it. A refusal of the
disk becomes a sentence (``explaining``). This module decides nothing about jobs.
"""

import contextlib
import ctypes
import errno
import hashlib
import os
import secrets
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rembg_watch.errors import ExitCode, RembgWatchError
from rembg_watch.jobs import Version
from rembg_watch.paths import staging_name

BLOCK_BYTES = 1 << 20

Way = Callable[[int, bytes, int, bytes], None]
"""Moves a name in one directory to a name in another: ``way(from_fd, from_name, to_fd, to_name)``."""

Step = Callable[[str], None]
"""Is told the name of each step when it is done; tests stop the world there."""


def no_step(_name: str) -> None:
    """Go on; nobody wants to know."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What bytes are, wherever they stand."""

    digest: str  # SHA-256, hex
    size_bytes: int


@contextlib.contextmanager
def closing(fd: int) -> Iterator[int]:
    """Close *fd* at the end, whatever happened."""
    try:
        yield fd
    finally:
        os.close(fd)


@contextlib.contextmanager
def directory(root_fd: int, relative: bytes, *, make: bool = False) -> Iterator[int]:
    """
    Open the directory *relative* to an open root, following no symbolic link; empty is the root itself.

    With *make* what is missing is created; each new directory is durable before it is used.

    Raises:
        NotADirectoryError: A link or a file stands in the way.
        ValueError: *relative* is absolute or climbs; no caller means that.
    """
    parts = relative.split(b"/") if relative else []
    if any(part in {b"", b".", b".."} for part in parts):
        raise ValueError(f"not a plain relative path: {relative!r}")
    fd = os.dup(root_fd)
    try:
        for part in parts:
            deeper = enter(fd, part, make=make)
            os.close(fd)
            fd = deeper
        yield fd
    finally:
        os.close(fd)


@contextlib.contextmanager
def root_directory(root: Path) -> Iterator[int]:
    """
    Open a configured folder; here alone links are followed, since a person chose the path.

    It is never created: a missing one is a share that is offline.

    Raises:
        OutputUnavailableError: It is not there or not to be read.
    """
    try:
        fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise unavailable(error, f"the folder {shown(root)} cannot be opened", root) from error
    with closing(fd):
        yield fd


def split(relative: bytes) -> tuple[bytes, bytes]:
    """Part a relative path into its directory (perhaps empty) and its last name."""
    parent, _, name = relative.rpartition(b"/")
    return parent, name


def enter(fd: int, name: bytes, *, make: bool) -> int:
    """
    Open a directory in an open one, following no link; with *make* a missing one is created and durable.

    Raises:
        OSError: ENOTDIR or ELOOP where a file or a link stands in the way.
    """
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        return os.open(name, flags, dir_fd=fd)
    except FileNotFoundError:
        if not make:
            raise
    with contextlib.suppress(FileExistsError):  # another worker was faster
        os.mkdir(name, dir_fd=fd)
    sync_directory(fd)
    return os.open(name, flags, dir_fd=fd)


def sync_directory(fd: int) -> None:
    """Make the names in a directory durable, where the file system can; some say they cannot."""
    try:
        os.fsync(fd)
    except OSError as error:
        if error.errno not in {errno.EINVAL, errno.ENOTSUP, errno.ENOSYS, errno.EBADF}:
            raise


def open_file(dir_fd: int, name: bytes) -> int:
    """
    Open a regular file for reading: no link, no pipe that would block for ever.

    Raises:
        IsADirectoryError: It is there, but no regular file.
    """
    fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=dir_fd)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), name)
    return fd


def version_of(found: os.stat_result) -> Version:
    """Reduce a stat to what tells two versions of a file apart."""
    return Version(size_bytes=found.st_size, mtime_ns=found.st_mtime_ns, inode=found.st_ino)


def is_version(found: os.stat_result, version: Version) -> bool:
    """Say if a stat shows *version*, as a regular file."""
    return stat.S_ISREG(found.st_mode) and version_of(found) == version


def look(dir_fd: int, name: bytes) -> os.stat_result | None:
    """See what stands under *name* without following it; None if nothing does."""
    try:
        return os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
    except FileNotFoundError:
        return None


def blocks(fd: int) -> Iterator[bytes]:
    """Read an open file from its start, a block at a time, wherever its offset is."""
    offset = 0
    while block := os.pread(fd, BLOCK_BYTES, offset):
        yield block
        offset += len(block)


def content(fd: int) -> Content:
    """Say what an open file holds."""
    return content_of(blocks(fd))


def content_of(found: Iterable[bytes]) -> Content:
    """Say what a file holds by its blocks."""
    reading = Reading()
    for block in found:
        reading.take(block)
    return reading.content


def content_and_part(found: Iterable[bytes], places: Sequence[tuple[int, int]]) -> tuple[Content, str]:
    """
    Say what a file holds, and what some *places* of it hold, read in one go.

    Args:
        found: Its blocks.
        places: Each from its first byte to behind its last, in order.
    """
    whole, part, size_bytes, left = hashlib.sha256(), hashlib.sha256(), 0, list(reversed(places))
    for block in found:
        whole.update(block)
        end = size_bytes + len(block)
        while left and left[-1][0] < end:
            begin, until = left.pop()
            part.update(memoryview(block)[max(0, begin - size_bytes) : until - size_bytes])
            if until > end:
                left.append((end, until))
                break
        size_bytes = end
    return Content(digest=whole.hexdigest(), size_bytes=size_bytes), part.hexdigest()


class Reading:
    """What was read so far, as a content."""

    def __init__(self) -> None:
        self._digest, self._size_bytes = hashlib.sha256(), 0

    def take(self, block: bytes) -> None:
        """Count a block."""
        self._digest.update(block)
        self._size_bytes += len(block)

    @property
    def content(self) -> Content:
        """All that was counted."""
        return Content(digest=self._digest.hexdigest(), size_bytes=self._size_bytes)


def blocks_with(
    fd: int, cuts: Sequence[tuple[int, int, bytes]], passed: Callable[[bytes], object] = lambda _block: None
) -> Iterator[bytes]:
    """
    Read an open file with some stretches of it left out or replaced.

    Args:
        fd: The file.
        cuts: Each from its first byte to behind its last, and what comes in its place; in order.
        passed: Is given all that the file holds, what is left out too.
    """
    offset, left = 0, list(reversed(cuts))
    for block in blocks(fd):
        passed(block)
        end, at = offset + len(block), 0
        while left and left[-1][0] < end:
            begin, until, instead = left.pop()
            yield block[at : max(at, begin - offset)]
            yield instead
            at = min(len(block), max(at, until - offset))
            if until > end:
                left.append((end, until, b""))
                break
        yield block[at:]
        offset = end
    for _begin, _until, instead in reversed(left):
        yield instead


def content_at(dir_fd: int, name: bytes) -> Content | None:
    """Say what the regular file *name* holds; None if it is missing or no regular file."""
    try:
        with closing(open_file(dir_fd, name)) as fd:
            return content(fd)
    except (FileNotFoundError, IsADirectoryError):
        return None
    except OSError as error:
        if error.errno in {errno.ELOOP, errno.ENXIO}:  # a link; a socket
            return None
        raise


def new_staging_name() -> bytes:
    """Name a staging file that no other worker has: two may want one name at once."""
    return staging_name(secrets.token_bytes(16))


def write(dir_fd: int, name: bytes, data: Iterator[bytes], *, like: os.stat_result | None = None) -> Content:
    """
    Write a new file and make its bytes durable; on an error nothing is left of it.

    The mode is what the umask says, or that of *like*, whose time is then kept too.

    Raises:
        FileExistsError: *name* is taken.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    fd = os.open(name, flags, 0o666, dir_fd=dir_fd)
    try:
        with closing(fd):
            written = _fill(fd, data)
            if like is not None:
                _resemble(fd, like)
            os.fsync(fd)
    except OSError:
        remove(dir_fd, name)
        raise
    return written


def _fill(fd: int, data: Iterator[bytes]) -> Content:
    digest, size_bytes = hashlib.sha256(), 0
    for block in data:
        view = memoryview(block)
        while view:
            view = view[os.write(fd, view) :]
        digest.update(block)
        size_bytes += len(block)
    return Content(digest=digest.hexdigest(), size_bytes=size_bytes)


def _resemble(fd: int, like: os.stat_result) -> None:
    with contextlib.suppress(OSError):  # vfat and some shares have neither modes nor fine times
        os.fchmod(fd, stat.S_IMODE(like.st_mode) & 0o777)
    with contextlib.suppress(OSError):
        os.utime(fd, ns=(like.st_atime_ns, like.st_mtime_ns))


def remove(dir_fd: int, name: bytes) -> None:
    """Remove a file of our own, as far as that is possible: the sweep comes by again."""
    with contextlib.suppress(OSError):
        os.unlink(name, dir_fd=dir_fd)


def by_rename(from_fd: int, from_name: bytes, to_fd: int, to_name: bytes) -> None:
    """Move by ``renameat2(RENAME_NOREPLACE)``: one step, on most local file systems."""
    if _RENAMEAT2 is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    if _RENAMEAT2(from_fd, from_name, to_fd, to_name, _RENAME_NOREPLACE) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), to_name)


def by_link(from_fd: int, from_name: bytes, to_fd: int, to_name: bytes) -> None:
    """Move by ``link`` and ``unlink``: for NFS; a crash in between leaves two names of one file."""
    try:
        os.link(from_name, to_name, src_dir_fd=from_fd, dst_dir_fd=to_fd, follow_symlinks=False)
    except FileExistsError:
        # NFS may have done it, lost the answer and asked again.
        ours, theirs = look(from_fd, from_name), look(to_fd, to_name)
        if ours is None or theirs is None or not os.path.samestat(ours, theirs):
            raise
    os.unlink(from_name, dir_fd=from_fd)


def by_placeholder(from_fd: int, from_name: bytes, to_fd: int, to_name: bytes) -> None:
    """Move by claiming the name with an empty file and renaming over it: for exFAT and SMB."""
    os.close(os.open(to_name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=to_fd))
    try:
        os.rename(from_name, to_name, src_dir_fd=from_fd, dst_dir_fd=to_fd)
    except OSError:
        found = look(to_fd, to_name)
        if found is not None and found.st_size == 0:
            remove(to_fd, to_name)
        raise


WAYS: tuple[Way, ...] = (by_rename, by_link, by_placeholder)
"""How a name is claimed: each next way is for file systems that do not know the one before."""

_UNKNOWN_WAY = frozenset(
    {errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EPERM, errno.EMLINK},
)
_RENAME_NOREPLACE = 1
_RENAMEAT2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
if _RENAMEAT2 is not None:
    _RENAMEAT2.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint)
    _RENAMEAT2.restype = ctypes.c_int


def claim(from_fd: int, from_name: bytes, to_fd: int, to_name: bytes, *, ways: tuple[Way, ...] = WAYS) -> None:
    """
    Move a file to a name that is free; never over anything.

    Raises:
        FileExistsError: The name is taken.
    """
    *first, last = ways
    for way in first:
        try:
            return way(from_fd, from_name, to_fd, to_name)
        except OSError as error:
            if error.errno not in _UNKNOWN_WAY:
                raise
    return last(from_fd, from_name, to_fd, to_name)


class DeliveryError(RembgWatchError):
    """A file could not be put where it belongs."""

    def __init__(self, reason: str, *, code: str, path: Path) -> None:
        super().__init__(reason)
        self.reason = reason  # one sentence: what is wrong, where, and what to do
        self.code = code  # the same for machines
        self.path = path


class OutputUnavailableError(DeliveryError):
    """A folder cannot be written to at the moment: every picture for it waits, and nothing is paid again."""

    exit_code = ExitCode.WAITING


class TargetRefusedError(DeliveryError):
    """The folder takes files, but not this one: its name or its place is impossible there."""


class TargetTakenError(DeliveryError):
    """Somebody else's file stands under the name; the staged cutout waits for another name."""


_REFUSALS: dict[int, tuple[str, str]] = {
    errno.ENAMETOOLONG: ("name_too_long", "give the source a shorter name"),
    errno.EINVAL: ("name_refused", "the disk does not take this name: rename the source"),
    errno.EILSEQ: ("name_refused", "the disk does not take this name: rename the source"),
    errno.ENOTDIR: ("blocked", "a file or a link stands where a folder must be: move it away"),
    errno.ELOOP: ("blocked", "a file or a link stands where a folder must be: move it away"),
    errno.EISDIR: ("blocked", "a folder or a special file stands there: move it away"),
    errno.EFBIG: ("too_large", "the disk does not take files of this size: use another one"),
}
"""What the disk says of one name; others fare better."""

NAME_CODES = frozenset(code for code, _ in _REFUSALS.values())
"""The codes of a ``TargetRefusedError``."""

_TROUBLES: dict[int, tuple[str, str]] = {
    errno.ENOSPC: ("no_space", "free some space on this disk"),
    errno.EDQUOT: ("quota", "the quota is used up: free some space or raise it"),
    errno.EROFS: (
        "read_only",
        "mount it writable (a service: write its drop-in anew with `rembg-watch init --systemd` and restart it)",
    ),
    errno.EIO: ("io", "the disk or the share has a fault: look at the system's log"),
    errno.ESTALE: ("stale", "the share was remounted or exported anew: mount it again"),
    errno.EACCES: ("permission", "give the user of this program the right to write there"),
    errno.EPERM: ("permission", "give the user of this program the right to write there"),
    errno.ENOENT: ("missing", "create it or mount the share"),
    errno.EXDEV: ("other_device", "something is mounted inside the folder: configure it as a folder of its own"),
    errno.EMFILE: ("files", "raise the limit of open files"),
    errno.ENFILE: ("files", "raise the limit of open files"),
}
"""What the disk says of everything in a folder."""

_OFFLINE = ("offline", "look whether the disk or the share is connected")


def unavailable(error: OSError, what: str, path: Path) -> OutputUnavailableError:
    """Say what keeps a folder from being used, and that the work goes on by itself afterwards."""
    code, advice = _TROUBLES.get(error.errno or 0, _OFFLINE)
    if error.errno == errno.ENOTDIR:
        code, advice = "not_a_folder", "make it a folder"
    return OutputUnavailableError(
        f"{what} ({error.strerror}): {advice}; it goes on by itself then", code=code, path=path
    )


@contextlib.contextmanager
def explaining(what: str, path: Path) -> Iterator[None]:
    """
    Turn an ``OSError`` of the block into a sentence that begins with *what*.

    Raises:
        TargetRefusedError: It concerns this one name.
        OutputUnavailableError: It concerns the folder, so everything for it.
    """
    try:
        yield
    except OSError as error:
        refusal = _REFUSALS.get(error.errno or 0)
        if refusal is None:
            raise unavailable(error, what, path) from error
        code, advice = refusal
        raise TargetRefusedError(f"{what} ({error.strerror}): {advice}", code=code, path=path) from error


def full_path(root: Path, relative: bytes) -> Path:
    """Join a root and a relative path whose bytes need not be UTF-8."""
    return root / os.fsdecode(relative)


def shown(path: Path) -> str:
    """Write a path so that any terminal, log or JSON takes it."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")
