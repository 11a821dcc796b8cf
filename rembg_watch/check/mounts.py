"""
Which file system a path lies on, from the kernel's own table.
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
    point = re.sub(rb"\\([0-7]{3})", lambda found: bytes([int(found[1], 8) & 0xFF]), fields[4])
    options = fields[5].split(b",")
    return Mount(point=Path(os.fsdecode(point)), kind=kind.decode("ascii", "replace"), is_read_only=b"ro" in options)


def mount_of(path: Path, table: list[Mount]) -> Mount | None:
    """Find the mount that *path* lies on, whether it exists or not; of several, the last hides the rest."""
    real = Path(os.path.realpath(path))
    found = None
    for mount in table:
        is_above = real == mount.point or mount.point in real.parents
        if is_above and (found is None or len(mount.point.parts) >= len(found.point.parts)):
            found = mount
    return found
