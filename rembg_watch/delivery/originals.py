"""
What becomes of a source: kept, moved or deleted once its cutout stands; set aside if it was refused.

Only the very version that was worked on is touched, and nothing is ever put over
something else. To be sure of that, a source is caught first: it is renamed to a hidden name
in its own directory and looked at there, where nobody puts anything over it. What turns out to
be another version is put back. When this is done is not decided here: ``pipeline`` calls it after
*done* or *failed* is on disk, and may call it again after a crash.

What a crash leaves, and who mends it:

==========================================  =================================================================
a crash after                               leaves, and what the next attempt does
==========================================  =================================================================
a mirrored directory is made                an empty directory; it is used
the source was caught                       it under its hidden name; if it is the version, it goes on from there, else
                                            it is put back, with a number where its own name is taken by now
the source was moved or deleted             no source: ``Disposal.GONE``
the link, before the unlink                 the source under two names; the first goes
a copy to another disk began                a staging file; ``publish.sweep_staging`` removes it
the copy stands, before the source went     both; the copy is adopted, the source goes
the reason file, before the picture moved   a reason alone; the same text is used again
==========================================  =================================================================
"""

import contextlib
import errno
import hashlib
import itertools
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from rembg_watch.host import disk
from rembg_watch.host.disk import WAYS, Step, Way, no_step
from rembg_watch.jobs import Version
from rembg_watch.paths import NAME_BYTES, After, caught_name

_REASON = b".reason.txt"


class Disposal(StrEnum):
    """What became of a source."""

    KEPT = "kept"
    MOVED = "moved"
    DELETED = "deleted"
    CHANGED = "changed"  # another version lies there now; it is left alone
    GONE = "gone"  # somebody, or an attempt before a crash, took it away


@dataclass(frozen=True, slots=True, kw_only=True)
class Disposed:
    """What became of a source, and where it is now, relative to the done or failed root."""

    disposal: Disposal
    place: bytes | None = None


def dispose(
    root: Path,
    source: bytes,
    version: Version,
    after: After,
    *,
    done_root: Path | None = None,
    ways: tuple[Way, ...] = WAYS,
    step: Step = no_step,
) -> Disposed:
    """
    Keep, move or delete a source whose cutout stands.

    It is looked at again at the last moment, so that a re-export is left alone. A move is to
    the mirrored place below *done_root*, which must exist; a name that is taken there gets a number.

    Raises:
        OutputUnavailableError: One of the two folders refuses; the source is where it was.
        TargetRefusedError: The done folder cannot hold this name.
    """
    if after != "move":
        return _in_place(root, source, version, after, ways, step)
    if done_root is None:
        raise ValueError("to move a source there must be a done folder")
    with _between(root, source, done_root) as fds:
        if fds is None:
            return Disposed(disposal=Disposal.GONE)
        return _Move(source, version, *fds, ways, step).to_first_free(numbered)


def set_aside(
    root: Path,
    source: bytes,
    version: Version,
    failed_root: Path,
    reason: str,
    *,
    ways: tuple[Way, ...] = WAYS,
    step: Step = no_step,
) -> Disposed:
    """
    Move a refused picture to its mirrored place in the failed folder, with a reason file beside it.

    The reason is there before the picture is; both get the same number if either name
    is taken. *reason* is what the person reads: what happened and what to do. It must
    be the same text at every attempt, or a crash leaves a second reason file.

    Raises:
        OutputUnavailableError: One of the two folders refuses; the source is where it was.
        TargetRefusedError: The failed folder cannot hold this name.
    """
    name = disk.split(source)[1]
    text = _reason_text(name, reason)
    with _between(root, source, failed_root) as fds:
        if fds is None:
            return Disposed(disposal=Disposal.GONE)
        move = _Move(source, version, *fds, ways, step)
        tries = (_set_aside_as(move, candidate, text) for candidate in numbered(name))
        return next(found for found in tries if found is not None)


def numbered(name: bytes) -> Iterator[bytes]:
    """Offer *name*, then ``stem (2).ext``, ``stem (3).ext`` and so on, none longer than a disk takes."""
    yield name
    stem, dot, extension = name.rpartition(b".")
    if not stem or len(extension) > 16:
        stem, dot, extension = name, b"", b""
    for number in itertools.count(2):
        ending = b" (%d)%s%s" % (number, dot, extension)
        yield _cut(stem, NAME_BYTES - len(ending)) + ending


def _cut(name: bytes, most_bytes: int) -> bytes:
    """Shorten *name* without cutting a UTF-8 character in two."""
    if len(name) <= most_bytes:
        return name
    while most_bytes > 0 and name[most_bytes] & 0xC0 == 0x80:
        most_bytes -= 1
    return name[:most_bytes]


def reason_name(name: bytes) -> bytes:
    """Name the reason file beside *name*; a name too long for the ending keeps its start and gets a hash."""
    if len(name) + len(_REASON) <= NAME_BYTES:
        return name + _REASON
    ending = b"~" + hashlib.sha256(name).hexdigest()[:8].encode() + _REASON
    return _cut(name, NAME_BYTES - len(ending)) + ending


def _reason_text(name: bytes, reason: str) -> bytes:
    return b"%s\n\n%s\n" % (name.decode("utf-8", "backslashreplace").encode(), reason.strip().encode(errors="replace"))


def _in_place(root: Path, source: bytes, version: Version, after: After, ways: tuple[Way, ...], step: Step) -> Disposed:
    """Delete a source, or keep it: then what a crash left under the hidden name gets its own name back."""
    parent, name = disk.split(source)
    full = disk.full_path(root, source)
    with disk.root_directory(root) as root_fd, disk.explaining(f"{disk.shown(full)} cannot be deleted", full):
        try:
            with disk.directory(root_fd, parent) as dir_fd:
                held = _Held(dir_fd, name, version, ways, step)
                return Disposed(disposal=_delete(held) if after == "delete" else held.keep())
        except (FileNotFoundError, NotADirectoryError):
            return Disposed(disposal=Disposal.GONE if after == "delete" else Disposal.KEPT)


def _delete(held: "_Held") -> Disposal:
    obstacle = held.catch()
    if obstacle is not None:
        return obstacle
    try:
        os.unlink(held.hidden, dir_fd=held.dir_fd)
    except OSError:
        held.put_back()
        raise
    held.step("deleted")
    disk.sync_directory(held.dir_fd)
    return Disposal.DELETED


@dataclass(frozen=True, slots=True)
class _Held:
    """A source in its directory: under its own name, or caught under the hidden one."""

    dir_fd: int
    name: bytes
    version: Version
    ways: tuple[Way, ...]
    step: Step

    @property
    def hidden(self) -> bytes:
        return caught_name(self.name)

    def obstacle(self) -> Disposal | None:
        """
        Say why the source must not be touched; None if it is the version that was worked on, or that is caught.

        What a crash left under the hidden name and is another version gets its name back.
        """
        if self._has_caught():
            return None
        found = disk.look(self.dir_fd, self.name)
        if found is None:
            return Disposal.GONE
        return None if disk.is_version(found, self.version) else Disposal.CHANGED

    def catch(self) -> Disposal | None:
        """
        Take the source out of everybody's way; None if it is caught, else why it is left alone.

        A rename in one directory is one step on every file system, so whatever lay under the name at that
        moment is caught whole: a new version, too, which gets its name back.
        """
        obstacle = self.obstacle()
        if obstacle is not None or self._has_caught():  # by an attempt before a crash
            return obstacle
        os.rename(self.name, self.hidden, src_dir_fd=self.dir_fd, dst_dir_fd=self.dir_fd)
        self.step("caught")
        return None if self._has_caught() else Disposal.CHANGED

    def _has_caught(self) -> bool:
        caught = disk.look(self.dir_fd, self.hidden)
        if caught is None:
            return False
        if disk.is_version(caught, self.version):
            return True
        self.put_back()
        return False

    def put_back(self) -> None:
        """Give what was caught its name back; where that is taken by a still newer one, it gets a number."""
        for name in numbered(self.name):
            with contextlib.suppress(FileExistsError):
                with contextlib.suppress(FileNotFoundError):  # somebody took it away, hidden as it is
                    disk.claim(self.dir_fd, self.hidden, self.dir_fd, name, ways=self.ways)
                return

    def keep(self) -> Disposal:
        if disk.look(self.dir_fd, self.hidden) is not None:
            self.put_back()
        return Disposal.KEPT


@contextlib.contextmanager
def _between(root: Path, source: bytes, other_root: Path) -> Iterator[tuple[int, int] | None]:
    """Open the directory of *source* and its mirror below *other_root*; None if the first is gone."""
    parent, _ = disk.split(source)
    full, there = disk.full_path(root, source), disk.full_path(other_root, source)
    sentence = f"{disk.shown(full)} cannot be moved to {disk.shown(there)}"
    with contextlib.ExitStack() as stack:
        root_fd = stack.enter_context(disk.root_directory(root))
        other_fd = stack.enter_context(disk.root_directory(other_root))
        stack.enter_context(disk.explaining(sentence, there))
        try:
            from_fd = stack.enter_context(disk.directory(root_fd, parent))
        except (FileNotFoundError, NotADirectoryError):
            yield None
            return
        yield from_fd, stack.enter_context(disk.directory(other_fd, parent, make=True))


@dataclass(frozen=True, slots=True)
class _Move:
    source: bytes
    version: Version
    from_fd: int
    to_fd: int
    ways: tuple[Way, ...]
    step: Step

    @property
    def name(self) -> bytes:
        return disk.split(self.source)[1]

    @property
    def held(self) -> _Held:
        return _Held(self.from_fd, self.name, self.version, self.ways, self.step)

    def to_first_free(self, names: Callable[[bytes], Iterable[bytes]]) -> Disposed:
        """
        Move to the first that is free of the *names* made from the source's own.

        Raises:
            FileExistsError: None is.
        """
        held = self.held
        obstacle = held.catch()
        if obstacle is not None:
            return Disposed(disposal=obstacle)
        try:
            return self._caught_to(held.hidden, names)
        except OSError:
            held.put_back()
            raise

    def _caught_to(self, hidden: bytes, names: Callable[[bytes], Iterable[bytes]]) -> Disposed:
        try:
            place = self._first_free(hidden, names(self.name))
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            return self._across(hidden, names(self.name))
        self.step("moved")
        disk.sync_directory(self.to_fd)
        disk.sync_directory(self.from_fd)
        return self._moved(place)

    def _first_free(self, hidden: bytes, names: Iterable[bytes]) -> bytes:
        for name in names:
            with contextlib.suppress(FileExistsError):
                disk.claim(self.from_fd, hidden, self.to_fd, name, ways=self.ways)
                return name
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), self.name)

    def _across(self, hidden: bytes, names: Iterable[bytes]) -> Disposed:
        """Copy to another disk, prove the copy, then remove the source."""
        with disk.closing(disk.open_file(self.from_fd, hidden)) as fd:
            staging = disk.new_staging_name()
            content = disk.write(self.to_fd, staging, disk.blocks(fd), like=os.fstat(fd))
        self.step("copied")
        try:
            place = self._place_copy(staging, content, names)
        except OSError:
            disk.remove(self.to_fd, staging)
            raise
        disk.sync_directory(self.to_fd)
        self.step("copy placed")
        os.unlink(hidden, dir_fd=self.from_fd)
        self.step("source removed")
        disk.sync_directory(self.from_fd)
        return self._moved(place)

    def _place_copy(self, staging: bytes, content: disk.Content, names: Iterable[bytes]) -> bytes:
        if disk.content_at(self.to_fd, staging) != content:
            raise OSError(errno.EIO, "the copy does not read back as it was written")
        for name in names:
            try:
                disk.claim(self.to_fd, staging, self.to_fd, name, ways=self.ways)
            except FileExistsError:
                if disk.content_at(self.to_fd, name) == content:  # the copy from before a crash
                    disk.remove(self.to_fd, staging)
                    return name
            else:
                return name
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), self.name)

    def _moved(self, place: bytes) -> Disposed:
        parent, _ = disk.split(self.source)
        return Disposed(disposal=Disposal.MOVED, place=parent + b"/" + place if parent else place)


def _set_aside_as(move: _Move, name: bytes, text: bytes) -> Disposed | None:
    """Set a picture aside under *name*; None if that, or the name of its reason file, is taken."""
    obstacle = move.held.obstacle()
    if obstacle is not None:
        return Disposed(disposal=obstacle)
    note = reason_name(name)
    is_new = _write_reason(move, note, text)
    if is_new is None:
        return None
    move.step("reason written")
    try:
        moved = move.to_first_free(lambda _own: [name])
    except OSError as error:
        if is_new and (isinstance(error, FileExistsError) or disk.look(move.to_fd, name) is None):
            disk.remove(move.to_fd, note)
        if isinstance(error, FileExistsError):
            return None
        raise
    if is_new and moved.disposal is not Disposal.MOVED:
        disk.remove(move.to_fd, note)
    return moved


def _write_reason(move: _Move, note: bytes, text: bytes) -> bool | None:
    """Put the reason under its name: True, it is new; False, the same stood there; None, other words did."""
    staging = disk.new_staging_name()
    content = disk.write(move.to_fd, staging, iter([text]))
    try:
        disk.claim(move.to_fd, staging, move.to_fd, note, ways=move.ways)
    except FileExistsError:
        disk.remove(move.to_fd, staging)
        return False if disk.content_at(move.to_fd, note) == content else None
    except OSError:
        disk.remove(move.to_fd, staging)
        raise
    disk.sync_directory(move.to_fd)
    return True
