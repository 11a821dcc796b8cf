"""
Write the cutout whole or not at all.

A cutout is staged beside its final name, made durable, and moved to the name in one
step that never replaces what is not ours. Which name is wanted is not decided here
(``paths``), nor is anything recorded (``ledger``): the caller records *done* when
``publish`` has returned. What becomes of the source is in ``originals``.

What a crash leaves, and who mends it:

============================================  ===============================================================
a crash after                                 leaves, and what happens next
============================================  ===============================================================
a directory is made                           an empty directory; the next attempt uses it
staging began, or ended                       a staging file; the next attempt makes another, and
                                              ``sweep_staging`` removes this one
the name was claimed, before *done*           the cutout under its name; ``publish`` of the same bytes adopts it
the link, before the unlink (NFS)             two names of one file; adopted, and the sweep takes the other name
the placeholder (file systems that know       an empty file under the name; it is not known to be ours, so the
neither links nor a rename without replace)   next attempt takes the next name
our older output was replaced, before *done*  the new cutout; adopted as above
============================================  ===============================================================
"""

import contextlib
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from rembg_watch.host import disk
from rembg_watch.host.disk import WAYS, Content, Step, Way, no_step
from rembg_watch.paths import is_staging_name

_TRIAL = b"rembg-watch tries this folder out: may be removed\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Staged:
    """A whole, durable cutout beside its final name, not yet visible."""

    root: Path
    target: bytes  # relative to root
    name: bytes  # of the staging file, in the directory of the target
    content: Content
    answer: Content  # what it was made of: the same, unless metadata came in

    def under(self, target: bytes) -> "Staged":
        """
        Aim at another name in the same directory.

        Raises:
            ValueError: *target* is in another directory; stage it there.
        """
        if disk.split(target)[0] != disk.split(self.target)[0]:
            raise ValueError(f"{target!r} is not beside {self.target!r}")
        return replace(self, target=target)


class Claim(StrEnum):
    """How a cutout came to stand under its name."""

    NEW = "new"
    REPLACED = "replaced"  # our own older output was there
    ADOPTED = "adopted"  # the very bytes were there already: a crash came before *done*


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """A cutout that stands, as it was found right after it was put there."""

    target: bytes  # relative to the output root
    content: Content
    mtime_ns: int
    inode: int
    claim: Claim


def stage(
    answer: Path,
    root: Path,
    target: bytes,
    *,
    cuts: Sequence[tuple[int, int, bytes]] = (),
    step: Step = no_step,
) -> Staged:
    """
    Copy an answer beside its final name and make it durable, with the directories it needs.

    The final name is *target*, below the output *root*. The root itself is never
    created: a missing one is a share that is offline. *cuts* say what is left out of
    the answer or put into it.

    Raises:
        OutputUnavailableError: Try again later; nothing is left behind.
        TargetRefusedError: This target can never be written there.
        OSError: The answer itself cannot be opened.
    """
    parent, _ = disk.split(target)
    staging = disk.new_staging_name()
    with (
        disk.closing(os.open(answer, os.O_RDONLY | os.O_CLOEXEC)) as source_fd,
        disk.root_directory(root) as root_fd,
        _explaining(root, target),
        disk.directory(root_fd, parent, make=True) as dir_fd,
    ):
        step("directory made")
        read = disk.Reading()
        blocks = disk.blocks_with(source_fd, cuts, read.take) if cuts else disk.blocks(source_fd)
        content = disk.write(dir_fd, staging, blocks)
        step("staged")
    return Staged(root=root, target=target, name=staging, content=content, answer=read.content if cuts else content)


def publish(
    staged: Staged, *, replace: Content | None = None, ways: tuple[Way, ...] = WAYS, step: Step = no_step
) -> Published:
    """
    Put a staged cutout under its name in one step, never over a file that is not ours.

    A file of the very same bytes under the name counts as published: that is what a
    crash before *done* leaves. So a caller skips names that the ledger gives to
    another source, whose cutout may well be the same bytes.

    *replace* is what the ledger says our older output under this name holds. That is
    replaced only if it still holds it: an edited one is a person's.

    Raises:
        TargetTakenError: Try ``publish(staged.under(next_name))``, or ``discard`` it.
        OutputUnavailableError: Stage again later; nothing is left behind.
        TargetRefusedError: This target can never be written there.
    """
    parent, name = disk.split(staged.target)
    try:
        with (
            disk.root_directory(staged.root) as root_fd,
            _explaining(staged.root, staged.target),
            disk.directory(root_fd, parent) as dir_fd,
        ):
            claim = _put(dir_fd, staged, replace, ways)
            step(claim)
            disk.sync_directory(dir_fd)
            step("directory synced")
            found = os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
    except (disk.OutputUnavailableError, disk.TargetRefusedError):
        discard(staged)
        raise
    return Published(
        target=staged.target, content=staged.content, mtime_ns=found.st_mtime_ns, inode=found.st_ino, claim=claim
    )


def _put(dir_fd: int, staged: Staged, older: Content | None, ways: tuple[Way, ...]) -> Claim:
    _, name = disk.split(staged.target)
    if older is not None and _holds(dir_fd, name, older):
        os.replace(staged.name, name, src_dir_fd=dir_fd, dst_dir_fd=dir_fd)
        return Claim.REPLACED
    try:
        disk.claim(dir_fd, staged.name, dir_fd, name, ways=ways)
    except FileExistsError as error:
        if not (_holds(dir_fd, name, staged.content) and _is_spelled_so(dir_fd, name)):
            full = disk.full_path(staged.root, staged.target)
            sentence = f"{disk.shown(full)} is there already and is not ours: it stays as it is"
            raise disk.TargetTakenError(sentence, code="taken", path=full) from error
        disk.remove(dir_fd, staged.name)
        return Claim.ADOPTED
    return Claim.NEW


def _holds(dir_fd: int, name: bytes, expected: Content) -> bool:
    """Read *name* and say if it is *expected* and was not touched while we read."""
    before = disk.look(dir_fd, name)
    if before is None or before.st_size != expected.size_bytes:
        return False
    if disk.content_at(dir_fd, name) != expected:
        return False
    after = disk.look(dir_fd, name)
    return after is not None and disk.version_of(after) == disk.version_of(before)


def _is_spelled_so(dir_fd: int, name: bytes) -> bool:
    """Tell our name from one that a file system without case takes for it: that is another source's."""
    return os.fsdecode(name) in os.listdir(dir_fd)


def discard(staged: Staged) -> None:
    """Remove a staged cutout that will not be published, as far as the disk allows; the sweep gets the rest."""
    parent, _ = disk.split(staged.target)
    with (
        contextlib.suppress(OSError, disk.OutputUnavailableError),
        disk.root_directory(staged.root) as root_fd,
        disk.directory(root_fd, parent) as dir_fd,
    ):
        disk.remove(dir_fd, staged.name)


def try_out(root: Path) -> None:
    """
    Write, claim, make durable and remove a small file in *root*, as publishing does.

    Raises:
        DeliveryError: Nothing can be delivered there.
    """
    first, second = disk.new_staging_name(), disk.new_staging_name()
    with disk.root_directory(root) as root_fd, disk.explaining(f"nothing can be written to {disk.shown(root)}", root):
        try:
            disk.write(root_fd, first, iter([_TRIAL]))
            disk.claim(root_fd, first, root_fd, second)
            disk.sync_directory(root_fd)
            os.unlink(second, dir_fd=root_fd)
        finally:
            disk.remove(root_fd, first)
            disk.remove(root_fd, second)


def is_ours(root: Path, target: bytes, recorded: Content) -> bool:
    """
    Say if the bytes that the ledger recorded stand under *target*.

    An output that a person edited or replaced is not ours any more; one that was
    touched or restored from a backup still is.

    Raises:
        OutputUnavailableError: It cannot be known now; "no" might pay for it again.
    """
    parent, name = disk.split(target)
    with disk.root_directory(root) as root_fd, _explaining(root, target):
        try:
            with disk.directory(root_fd, parent) as dir_fd:
                return _holds(dir_fd, name, recorded)
        except (FileNotFoundError, NotADirectoryError):
            return False


LEAST_ROOM_BYTES = 16 * 1024 * 1024
"""Nothing is sent where not even so much could be kept."""

_ROOM_FACTOR = 4  # an answer can be larger than its picture: lossless and with alpha


def answer_room_bytes(picture_bytes: int) -> int:
    """Return how much room the answer to a picture of that size may need."""
    return max(LEAST_ROOM_BYTES, _ROOM_FACTOR * picture_bytes)


def enough_room(path: Path, needed_bytes: int, reserve_bytes: int) -> bool:
    """
    Say if *needed_bytes* fit on the disk of *path* and leave the reserve free.

    A file system that states no size (some FUSE and cloud mounts) is taken to have room.

    Raises:
        OutputUnavailableError: The folder is not there or does not answer.
    """
    try:
        found = os.statvfs(path)
    except OSError as error:
        raise disk.unavailable(error, f"no free space can be seen on {disk.shown(path)}", path) from error
    return found.f_blocks == 0 or found.f_bavail * found.f_frsize >= needed_bytes + reserve_bytes


def sweep_staging(root: Path, *, older_than_s: float = 3600, now: Callable[[], float] = time.time) -> int:
    """
    Remove staging files that a crash left below *root*; nothing else, and no young ones.

    Another program of ours may be delivering into the same folders: hence the age.

    Returns:
        How many went. What cannot be read or removed is passed over.
    """
    limit = now() - older_than_s
    with contextlib.suppress(OSError, disk.OutputUnavailableError), disk.root_directory(root) as root_fd:
        return sum(_sweep_directory(dir_fd, names, limit) for _, _, names, dir_fd in os.fwalk(b".", dir_fd=root_fd))
    return 0


def _sweep_directory(dir_fd: int, names: list[bytes], limit: float) -> int:
    removed = 0
    for name in filter(is_staging_name, names):
        found = disk.look(dir_fd, name)
        if found is not None and found.st_mtime < limit:
            disk.remove(dir_fd, name)
            removed += disk.look(dir_fd, name) is None
    return removed


def _explaining(root: Path, target: bytes) -> contextlib.AbstractContextManager[None]:
    full = disk.full_path(root, target)
    return disk.explaining(f"{disk.shown(full)} cannot be delivered", full)
