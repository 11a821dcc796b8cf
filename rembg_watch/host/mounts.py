"""
Which file system a folder lies on, whether changes there can be noticed, and whether it is still the same folder.
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path

_SHARED = re.compile(
    r"nfs\d?|cifs|smb\d?|smbfs|fuse(\..+)?|fuseblk|9p|virtiofs|overlay|overlayfs|aufs|vboxsf|prl_fs|vmhgfs"
    r"|afs|ceph|glusterfs|lustre|gfs2|ocfs2|davfs|sshfs|ncpfs|beegfs|drvfs|autofs"
)
"""File systems that others write to behind this kernel's back, or that do not tell of all changes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """What a path lies on."""

    point: bytes
    kind: str

    @property
    def hides_changes(self) -> bool:
        """Whether changes can come about there that this kernel does not tell of."""
        return _SHARED.fullmatch(self.kind) is not None


def read_mounts() -> bytes:
    """Return what is mounted now, as the kernel writes it; empty where that is hidden from us."""
    try:
        return Path("/proc/self/mountinfo").read_bytes()
    except OSError:
        return b""


def mount_of(path: bytes, mounts: bytes) -> Mount | None:
    """Find what an absolute, resolved *path* lies on; of two mounts in one place the later one counts."""
    best: Mount | None = None
    for line in mounts.splitlines():
        before, _, after = line.partition(b" - ")
        fields, kind = before.split(b" "), after.split(b" ")[0]
        if len(fields) < 5 or not kind:
            continue
        point = re.sub(rb"\\([0-7]{3})", lambda octal: bytes([int(octal[1], 8) & 255]), fields[4])
        if is_within(path, point) and (best is None or len(point) >= len(best.point)):
            best = Mount(point=point, kind=kind.decode("ascii", "replace"))
    return best


def mount_here(path: bytes) -> Mount | None:
    """Find what *path* lies on now, wherever links lead."""
    return mount_of(os.fsencode(Path(os.fsdecode(path)).resolve()), read_mounts())


def is_within(path: bytes, directory: bytes) -> bool:
    """Say if *path* is *directory* or below it."""
    return path == directory or path.startswith(directory.rstrip(b"/") + b"/")


def is_bare(before: Mount | None, now: Mount | None) -> bool:
    """Say if what lies here now is only the place where a disk or share was mounted before."""
    if before is None or now is None or before.point == now.point:
        return False
    return is_within(before.point, now.point)


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Which directory a path leads to; another one under the same path is another folder."""

    device: int
    inode: int
    mount: int


def identify(path: bytes) -> Identity:
    """
    Say which directory *path* is now, and prove that it can be listed.

    It is not kept open: that would hold a share that somebody wants to unmount.

    Raises:
        OSError: It is not there, no directory, or may not be read.
    """
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        found = os.fstat(fd)
        return Identity(device=found.st_dev, inode=found.st_ino, mount=_mount_id(fd))
    finally:
        os.close(fd)


def _mount_id(fd: int) -> int:
    try:
        for line in Path(f"/proc/self/fdinfo/{fd}").read_bytes().splitlines():
            if line.startswith(b"mnt_id:"):
                return int(line.split()[1])
    except OSError:
        pass
    return 0
