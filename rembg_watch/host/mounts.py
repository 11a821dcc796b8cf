"""
What is mounted, what fstab says should be, and what that means for a folder: the one reader of both tables.

The same rows answer everybody: the watch (must this folder be polled?), the daemon (may this output be made, or
is its share away?), what is remembered of folders (``filesystem_id``), ``check``, and the drop-in that
``init --systemd`` prints.
"""

import contextlib
import enum
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
FSTAB = Path("/etc/fstab")
DISKS = Path("/dev/disk/by-uuid")


class _Nature(enum.Enum):
    SHARE = "another machine's disk, the virtual machine's host's, or a program's: it comes and goes"
    STACKED = "a view of other folders, which can be changed behind its back"
    MEMORY = "gone after a restart"
    DISK = "a disk of this machine"


_NATURES = {
    **dict.fromkeys(("nfs", "nfs3", "nfs4", "cifs", "smb", "smb2", "smb3", "smbfs", "ncp", "ncpfs"), _Nature.SHARE),
    **dict.fromkeys(("afs", "beegfs", "ceph", "gfs", "gfs2", "glusterfs", "lustre", "ocfs2", "pvfs2"), _Nature.SHARE),
    **dict.fromkeys(("fuse", "fuseblk", "davfs", "sshfs"), _Nature.SHARE),
    **dict.fromkeys(("9p", "drvfs", "prl_fs", "vboxsf", "virtiofs", "vmhgfs"), _Nature.SHARE),
    "autofs": _Nature.SHARE,  # the place of a share that is mounted when somebody enters it
    **dict.fromkeys(("aufs", "overlay", "overlayfs"), _Nature.STACKED),
    **dict.fromkeys(("ramfs", "tmpfs"), _Nature.MEMORY),
}
"""Every kind of file system that is more than a disk; of ``fuse.sshfs`` and the like, ``fuse`` counts."""

_COMES_AND_GOES = frozenset({"noauto", "nofail", "_netdev", "x-systemd.automount", "user", "users", "owner", "group"})
"""Options in fstab of what may be missing after the start."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """One line of the kernel's table, or of fstab, which does not know the last four facts."""

    point: Path
    kind: str
    source: str = ""
    options: frozenset[str] = frozenset()  # their names, without values
    number: str = ""
    parent: str = ""  # the number of the mount that this one is mounted on
    device: str = ""
    root: str = "/"  # the folder of the device that is seen at the point

    @property
    def is_share(self) -> bool:
        """Whether it is not this machine's own disk: it can go away, and a ledger is not safe on it."""
        return self._nature is _Nature.SHARE

    @property
    def hides_changes(self) -> bool:
        """Whether files can change there without this kernel noticing."""
        return self._nature in (_Nature.SHARE, _Nature.STACKED)

    @property
    def is_volatile(self) -> bool:
        """Whether all of it is gone after a restart."""
        return self._nature is _Nature.MEMORY

    @property
    def comes_and_goes(self) -> bool:
        """Whether it is a share, or something that fstab does not insist on."""
        return self.is_share or not self.options.isdisjoint(_COMES_AND_GOES)

    @property
    def _nature(self) -> _Nature:
        return _NATURES.get(self.kind.partition(".")[0], _Nature.DISK)


def mounted(proc: Path = PROC) -> list[Mount]:
    """List what is mounted now, as this process sees it; nothing where the kernel hides that."""
    return list(filter(None, map(_mounted, _rows(proc / "self" / "mountinfo"))))


def configured(fstab: Path = FSTAB, proc: Path = PROC) -> list[Mount]:
    """List what fstab says should be mounted, by its real path; nothing if fstab is missing or cannot be read."""
    table = mounted(proc)
    return [mount for fields in _rows(fstab) if (mount := _configured(fields, table))]


def _rows(table: Path) -> Iterator[list[str]]:
    """Split a table into fields; both write ``\\040`` for a space, and a carriage return may be part of a name."""
    try:
        lines = table.read_bytes().split(b"\n")
    except OSError:
        return
    for line in lines:
        yield [os.fsdecode(_unescaped(field)) for field in re.split(rb"[ \t]+", line.strip(b" \t"))]


def _unescaped(field: bytes) -> bytes:
    return re.sub(rb"\\([0-7]{3})", lambda octal: bytes([int(octal[1], 8) & 0xFF]), field)


def _mounted(fields: list[str]) -> Mount | None:
    """Read a line of mountinfo: six fields, some optional ones, a dash, the kind and the source."""
    after = fields[fields.index("-", 6) + 1 :] if "-" in fields[6:] else []
    if not after or not after[0]:
        return None
    number, parent, device, root, point, options = fields[:6]
    return Mount(
        point=Path(point),
        kind=after[0],
        source="".join(after[1:2]),
        options=_names(options),
        number=number,
        parent=parent,
        device=device,
        root=root,
    )


def _configured(fields: list[str], table: Sequence[Mount]) -> Mount | None:
    """Read a line of fstab; None for a comment, for swap, and for whatever else has no mount point."""
    source, point, kind, options = [*fields, "", "", ""][:4]
    if source.startswith("#") or not point.startswith("/"):
        return None
    return Mount(point=_real(Path(point), table), kind=kind, source=source, options=_names(options))


def _real(path: Path, table: Sequence[Mount]) -> Path:
    """Resolve the links of *path* without a look at a mount point, which is no link: its share may hang."""
    points, real, left, follows = {mount.point for mount in table}, Path("/"), [*reversed(path.parts[1:])], 0
    while left:
        name = left.pop()
        step = real.parent if name == ".." else real / name
        target = None if step in points or name == ".." else _target(step)
        if target is None or follows == _MOST_LINKS:
            real = step
            continue
        follows += 1
        real = Path("/") if target.is_absolute() else real
        left += reversed(target.parts[1:] if target.is_absolute() else target.parts)
    return real


_MOST_LINKS = 40  # as many as the kernel follows


def _target(link: Path) -> Path | None:
    try:
        return link.readlink()
    except OSError:  # no link, or nothing at all
        return None


def _names(options: str) -> frozenset[str]:
    return frozenset(option.partition("=")[0] for option in options.split(","))


def mount_of(path: Path, table: Sequence[Mount]) -> Mount | None:
    """
    Find the mount that *path* lies on, wherever links lead and whether it exists or not.

    As the kernel does, this goes down from mount to mount: one that another was mounted over is not met.
    """
    real = _real(path.absolute(), table)
    around = [mount for mount in table if real.is_relative_to(mount.point)]
    numbers = {mount.number for mount in around}
    tops = [mount for mount in around if mount.parent == mount.number or mount.parent not in numbers]
    found = max(reversed(tops), key=_depth, default=None)
    while found is not None:
        around.remove(found)
        below = [mount for mount in around if mount.parent == found.number]
        if not below:
            break
        found = min(reversed(below), key=_depth)
    return found


def _depth(mount: Mount) -> int:
    return len(mount.point.parts)


def mount_here(path: bytes) -> Mount | None:
    """Find what *path* lies on now."""
    return mount_of(Path(os.fsdecode(path)), mounted())


def filesystem_id(mount: Mount) -> str:
    """
    Name what is mounted, in a way that lasts over restarts: the UUID of a disk, the address of a share.

    Empty where nothing lasts: names of devices may change with every start, and memory has none.
    """
    if mount.source.startswith("/dev/") or mount.source == mount.kind:
        return _uuid(mount)
    return "" if mount._nature in (_Nature.MEMORY, _Nature.STACKED) else mount.source


def _uuid(mount: Mount) -> str:
    numbers = {mount.device}
    with contextlib.suppress(OSError):  # of btrfs and the like, the table has a number that belongs to no device
        found = Path(mount.source).stat().st_rdev
        numbers.add(f"{os.major(found)}:{os.minor(found)}")
    for link in _entries(DISKS):
        with contextlib.suppress(OSError):
            found = link.stat().st_rdev
            if f"{os.major(found)}:{os.minor(found)}" in numbers:
                return link.name
    return ""


def _entries(directory: Path) -> list[Path]:
    try:
        return list(directory.iterdir())
    except OSError:
        return []


def unmounted(proc: Path = PROC, fstab: Path = FSTAB) -> set[Path]:
    """List the mount points of fstab that have nothing mounted on them now: what is written there would be hidden."""
    table = mounted(proc)
    return {mount.point for mount in configured(fstab, proc) if not _is_mounted(mount.point, table)}


def _is_mounted(point: Path, table: Sequence[Mount]) -> bool:
    """Say if *point* shows more than its bare folder, as it does below an automount or in a service's sandbox."""
    mount, around = mount_of(point, table), mount_of(point.parent, table)
    if mount and around and mount.point == point:
        bare = (around.device, Path(around.root) / point.relative_to(around.point))
        if mount.kind == "autofs" or (mount.device, Path(mount.root)) != bare:
            return mount.kind != "autofs"
    return os.path.ismount(point)  # the root, a subvolume that stands in its own place, or a table that is hidden


def shares(proc: Path = PROC, fstab: Path = FSTAB) -> list[Path]:
    """List the mount points of shares and of whatever else comes and goes, mounted now or not."""
    expected = configured(fstab, proc)
    points = [mount.point for mount in mounted(proc) if mount.is_share]
    points += [mount.point for mount in expected if mount.comes_and_goes]
    binds = {m.point: Path(os.path.realpath(m.source)) for m in expected if m.options & {"bind", "rbind"}}
    points += [point for point, source in binds.items() if not {source, *source.parents}.isdisjoint(points)]
    return list(dict.fromkeys(points))


def is_bare(before: Mount | None, now: Mount | None) -> bool:
    """Say if what lies here now is only the place where a disk or share was mounted before."""
    if before is None or now is None or before.point == now.point:
        return False
    return before.point.is_relative_to(now.point)


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
