"""
Where in an output the cut-outs of a sub-folder go: known, made and tried out before anything is bought for it.

The mirrored folder, ``a/b``. Where a file or a link stands in the way of one of its parts, which may be a
cut-out of ours, that part gets a number: ``look1.webp.2/x.webp``, then ``look1.webp.3`` and so on. A folder
that cannot be made or written, and a name that the disk does not take, are found out here, at no cost.
"""

import errno
import os
import re
from pathlib import Path

from rembg_watch.host import disk
from rembg_watch.paths import folder_names, mirror

_MOST_NUMBERS = 1000
_PLAIN = re.compile(rb"[A-Za-z0-9 ._()+,=@~#&'-]{1,140}")
_SHORT = 140  # some disks, such as encrypting ones, take no longer names
_TRIAL = b".rembg-trial-"
_IN_THE_WAY = frozenset({errno.ENOTDIR, errno.ELOOP})


class Places:
    """
    Say where cut-outs go; safe to share between threads.

    A folder is looked at once, until something is refused: in the usual case a picture costs a look into a dict.
    """

    def __init__(self) -> None:
        self._folders: dict[tuple[Path, bytes], bytes] = {}  # single acts are atomic
        self._odd: set[tuple[Path, frozenset[int]]] = set()

    def source_in(self, output: Path, source: bytes, extension: str) -> bytes:
        """
        Return *source* as it is to be mirrored below *output*: itself, or with numbered folders.

        Raises:
            OutputUnavailableError: A folder cannot be made or written now.
            TargetRefusedError: The disk does not take such a name.
        """
        parent, name = disk.split(source)
        folder = self._folders.get((output, parent))
        if folder is None:
            folder = self._folders[output, parent] = _made(output, parent) if parent else b""
        if not _PLAIN.fullmatch(name):
            self._try_name(output, folder, next(mirror(name, extension)))
        return folder + b"/" + name if folder else name

    def forget(self) -> None:
        """Look at every folder again: one of them has refused something."""
        self._folders.clear()
        self._odd.clear()

    def _try_name(self, output: Path, folder: bytes, name: bytes) -> None:
        """Find out whether the disk takes a name that is long or unusual; no file appears under it."""
        odd = output, frozenset(name)
        if odd in self._odd and len(name) <= _SHORT:
            return
        full = disk.full_path(output, folder + b"/" + name if folder else name)
        with (
            disk.root_directory(output) as root_fd,
            disk.explaining(f"{disk.shown(full)} could not be delivered", full),
            disk.directory(root_fd, folder) as dir_fd,
        ):
            disk.look(dir_fd, name)  # says if it is too long
            if odd not in self._odd:  # another name of the same letters was taken
                _try(dir_fd, _TRIAL + name)
                self._odd.add(odd)


def _made(output: Path, parent: bytes) -> bytes:
    """Make the mirrored folder, and write something there; return its path as it is."""
    full = disk.full_path(output, parent)
    made: list[bytes] = []
    with (
        disk.root_directory(output) as root_fd,
        disk.explaining(f"cut-outs cannot be delivered to {disk.shown(full)}", full),
    ):
        fd = os.dup(root_fd)
        try:
            for part in parent.split(b"/"):
                deeper, name = _entered(fd, part)
                os.close(fd)
                fd = deeper
                made.append(name)
            _try(fd, disk.new_staging_name())
        finally:
            os.close(fd)
    return b"/".join(made)


def _entered(fd: int, part: bytes) -> tuple[int, bytes]:
    """Enter the folder that *part* names, or the first numbered one where something else stands in the way."""
    for number, name in enumerate(folder_names(part)):
        try:
            return disk.enter(fd, name, make=True), name
        except OSError as error:
            if error.errno not in _IN_THE_WAY or number >= _MOST_NUMBERS:
                raise
    raise AssertionError("there is always one more name")


def _try(dir_fd: int, name: bytes) -> None:
    """Write and remove an empty file; a name that is too long for a trial says nothing."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        os.close(os.open(name, flags, 0o666, dir_fd=dir_fd))
    except FileExistsError:
        return
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            return
        raise
    disk.remove(dir_fd, name)
