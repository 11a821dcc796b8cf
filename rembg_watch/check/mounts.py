"""
Which file system a path lies on, from the kernel's own table, and which ones come and go.
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path

_NETWORK = frozenset(
    {"9p", "afs", "ceph", "cifs", "gfs2", "glusterfs", "lustre", "nfs", "nfs4", "ocfs2", "smb3", "smbfs"}
)
_SHARED = frozenset({"vboxsf", "vmhgfs", "virtiofs", "prl_fs"})
_VOLATILE = frozenset({"ramfs", "tmpfs"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """One line of the kernel's table of mounts."""

    point: Path
    kind: str  # the file system's type, as the kernel names it
    is_read_only: bool

    @property
    def is_network(self) -> bool:
        """Say whether it is another machine's disk, or the host's, or a program's."""
        return self.kind in _NETWORK | _SHARED or self.kind.startswith("fuse")

    @property
    def is_volatile(self) -> bool:
        """Say whether all of it is gone after a restart."""
        return self.kind in _VOLATILE

    @property
    def hides_changes(self) -> bool:
        """Say whether changes can happen that this kernel is not told of."""
        return self.is_network or self.kind == "overlay"


def mounts(proc: Path) -> list[Mount]:
    """List the mounts that this process sees; none where the kernel does not tell."""
    try:
        table = (proc / "self" / "mountinfo").read_bytes()
    except OSError:
        return []
    return [mount for line in table.splitlines() if (mount := _parsed(line))]


def _parsed(line: bytes) -> Mount | None:
    before, separator, after = line.partition(b" - ")
    fields, kind = before.split(b" "), after.split(b" ")[0]
    if not separator or len(fields) < 6 or not kind:
        return None
    options = fields[5].split(b",")
    return Mount(point=_unescaped(fields[4]), kind=kind.decode("ascii", "replace"), is_read_only=b"ro" in options)


_COMES_AND_GOES = frozenset({"noauto", "nofail", "_netdev", "x-systemd.automount", "users", "user"})


def shares(proc: Path = Path("/proc"), fstab: Path = Path("/etc/fstab")) -> list[Path]:
    """List the mount points of network file systems and of whatever else comes and goes, mounted now or not."""
    mounted = [mount.point for mount in mounts(proc) if mount.is_network]
    try:
        lines = fstab.read_bytes().splitlines()
    except OSError:
        lines = []
    configured = [point for line in lines if (point := _share(line.split()))]
    return list(dict.fromkeys([*mounted, *configured]))


def _share(fields: list[bytes]) -> Path | None:
    """Read one line of ``fstab``; None if it is no mount that comes and goes."""
    if len(fields) < 3 or fields[0].startswith(b"#") or not fields[1].startswith(b"/"):
        return None
    point, kind = _unescaped(fields[1]), os.fsdecode(fields[2])
    options = {os.fsdecode(option).partition("=")[0] for option in b",".join(fields[3:4]).split(b",")}
    mount = Mount(point=point, kind=kind, is_read_only=False)
    return point if mount.is_network or options & _COMES_AND_GOES else None


def _unescaped(field: bytes) -> Path:
    """Both tables write spaces and the like as ``\\040``."""
    return Path(os.fsdecode(re.sub(rb"\\([0-7]{3})", lambda found: bytes([int(found[1], 8) & 0xFF]), field)))


def mount_of(path: Path, table: list[Mount]) -> Mount | None:
    """Find the mount that *path* lies on, whether it exists or not; of several, the last hides the rest."""
    real = Path(os.path.realpath(path))
    found = None
    for mount in table:
        is_above = real == mount.point or mount.point in real.parents
        if is_above and (found is None or len(mount.point.parts) >= len(found.point.parts)):
            found = mount
    return found
