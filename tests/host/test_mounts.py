import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rembg_watch.host.mounts import Mount, identify, is_bare, is_within, mount_here, mount_of, read_mounts

MOUNTS = rb"""22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
40 27 0:40 / /srv/studio rw,relatime - nfs4 nas:/studio rw,vers=4.2
41 40 0:41 / /srv/studio/my\040exports\134x rw - cifs //nas/x rw
42 27 0:42 / /srv/twice rw - ext4 /dev/sdb rw
43 42 0:43 / /srv/twice rw - fuse.sshfs sshfs rw
broken line
44 27 0:44 / /no/separator rw ext4
"""


@pytest.mark.parametrize(
    ("path", "point", "kind", "hides_changes"),
    [
        (b"/home/a", b"/", "ext4", False),
        (b"/srv/studio/day1", b"/srv/studio", "nfs4", True),
        (b"/srv/studio", b"/srv/studio", "nfs4", True),
        (b"/srv/studios", b"/", "ext4", False),
        (b"/srv/studio/my exports\\x/a", b"/srv/studio/my exports\\x", "cifs", True),
        (b"/srv/twice/a", b"/srv/twice", "fuse.sshfs", True),
        (b"/no/separator/a", b"/", "ext4", False),
    ],
)
def test_the_nearest_mount_counts_and_of_two_the_later(
    path: bytes, point: bytes, kind: str, hides_changes: bool
) -> None:
    mount = mount_of(path, MOUNTS)
    assert mount == Mount(point=point, kind=kind)
    assert mount is not None
    assert mount.hides_changes is hides_changes


@pytest.mark.parametrize(
    "kind", ["nfs", "nfs4", "cifs", "smb3", "fuse", "fuse.rclone", "fuseblk", "9p", "virtiofs", "overlay", "vboxsf"]
)
def test_changes_elsewhere_are_hidden_by(kind: str) -> None:
    assert Mount(point=b"/", kind=kind).hides_changes


@pytest.mark.parametrize(
    "kind", ["ext4", "xfs", "btrfs", "zfs", "tmpfs", "vfat", "exfat", "ntfs3", "f2fs", "nfsd", "fusectl"]
)
def test_changes_are_told_by(kind: str) -> None:
    assert not Mount(point=b"/", kind=kind).hides_changes


def test_without_the_kernels_list_nothing_is_known() -> None:
    assert mount_of(b"/srv", b"") is None


@given(st.binary(max_size=200))
def test_no_list_is_too_strange(mounts: bytes) -> None:
    mount_of(b"/srv/studio", mounts)


def test_this_machine_has_mounts(tmp_path: Path) -> None:
    mount = mount_here(os.fsencode(tmp_path))
    assert read_mounts()
    assert mount is not None
    assert is_within(os.fsencode(tmp_path.resolve()), mount.point)


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [
        (b"/srv/studio", b"/", True),
        (b"/srv/studio", b"/srv", True),
        (b"/srv/studio", b"/srv/studio", False),
        (b"/", b"/srv/studio", False),
        (None, b"/", False),
        (b"/", None, False),
    ],
)
def test_a_mount_point_is_bare_when_only_what_is_below_it_is_left(
    before: bytes | None, now: bytes | None, expected: bool
) -> None:
    one, other = (Mount(point=point, kind="ext4") if point else None for point in (before, now))
    assert is_bare(one, other) is expected


def test_a_directory_is_the_same_through_every_path_and_another_when_it_is_replaced(tmp_path: Path) -> None:
    one = tmp_path / "one"
    one.mkdir()
    (tmp_path / "link").symlink_to(one)
    first = identify(os.fsencode(one))
    assert identify(os.fsencode(tmp_path / "link")) == first
    one.rename(tmp_path / "moved")
    one.mkdir()
    assert identify(os.fsencode(one)) != first
    assert identify(os.fsencode(tmp_path / "moved")) == first


def test_what_is_no_directory_has_no_identity(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for name in ("missing", "file"):
        with pytest.raises(OSError, match=r"No such file|Not a directory"):
            identify(os.fsencode(tmp_path / name))
