import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rembg_watch.host.mounts import (
    PROC,
    Mount,
    configured,
    identify,
    is_bare,
    mount_here,
    mount_of,
    mounted,
    shares,
    unmounted,
)

MOUNTS = r"""22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
40 27 0:40 / /srv/studio rw,relatime - nfs4 nas:/studio rw,vers=4.2
41 40 0:41 / /srv/studio/my\040exports\134x rw - cifs //nas/x rw
42 27 0:42 / /srv/twice rw - ext4 /dev/sdb rw
43 42 0:43 / /srv/twice rw - fuse.sshfs sshfs rw
broken line
44 27 0:44 / /no/separator rw ext4
"""


def table(proc: Path, text: str | bytes) -> list[Mount]:
    (proc / "self").mkdir(exist_ok=True)
    (proc / "self" / "mountinfo").write_bytes(text if isinstance(text, bytes) else text.encode())
    return mounted(proc)


@pytest.mark.parametrize(
    ("path", "point", "kind", "hides_changes"),
    [
        ("/home/a", "/", "ext4", False),
        ("/srv/studio/day1", "/srv/studio", "nfs4", True),
        ("/srv/studio", "/srv/studio", "nfs4", True),
        ("/srv/studios", "/", "ext4", False),
        ("/srv/studio/my exports\\x/a", "/srv/studio/my exports\\x", "cifs", True),
        ("/srv/twice/a", "/srv/twice", "fuse.sshfs", True),
        ("/no/separator/a", "/", "ext4", False),
    ],
)
def test_the_nearest_mount_counts_and_of_two_the_later(
    tmp_path: Path, path: str, point: str, kind: str, hides_changes: bool
) -> None:
    mount = mount_of(Path(path), table(tmp_path, MOUNTS))
    assert mount is not None
    assert (mount.point, mount.kind) == (Path(point), kind)
    assert mount.hides_changes is hides_changes


def test_of_several_mounts_on_one_point_the_last_counts_and_names_are_read_as_they_are(tmp_path: Path) -> None:
    mounts = table(
        tmp_path,
        "22 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw\n"
        "30 22 0:40 / /srv rw - ext4 /dev/sdb rw\n"
        "31 30 0:41 / /srv/nas rw - nfs4 nas:/x rw\n"
        "32 31 0:42 / /srv/nas rw - cifs //nas/x rw\n"
        "33 30 0:43 / /srv/na\\040s\\134x ro shared:1 - fuse.sshfs me@nas rw\n",
    )
    kinds = {
        path: found.kind if (found := mount_of(Path(path), mounts)) else None
        for path in ("/srv/nas/a/b", "/srv/nasty", "/srv", "/etc", "/srv/na s\\x/y")
    }
    assert kinds == {
        "/srv/nas/a/b": "cifs",
        "/srv/nasty": "ext4",
        "/srv": "ext4",
        "/etc": "ext4",
        "/srv/na s\\x/y": "fuse.sshfs",
    }
    assert ["ro" in mount.options for mount in mounts] == [False, False, False, False, True]


@pytest.mark.parametrize("is_later_first", [False, True])
def test_a_mount_that_another_was_mounted_over_is_not_met(tmp_path: Path, is_later_first: bool) -> None:
    rows = ["31 22 0:41 / /srv/nas rw - nfs4 nas:/x rw", "32 22 8:2 / /srv rw - xfs /dev/sdb rw"]
    top = "22 1 8:1 / / rw - ext4 /dev/sda1 rw"
    mounts = table(tmp_path, "\n".join([*reversed(rows), top] if is_later_first else [top, *rows]))
    mount = mount_of(Path("/srv/nas/a"), mounts)
    assert mount is not None
    assert mount.kind == "xfs"


def test_a_path_lies_where_its_links_lead(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/srv/studio/day1")
    mount = mount_of(tmp_path / "link/x", table(tmp_path, MOUNTS))
    assert mount is not None
    assert mount.kind == "nfs4"


@pytest.mark.parametrize("name", [b"caf\xe9", b"carriage\rreturn", b"a - b"])
def test_every_name_is_read(tmp_path: Path, name: bytes) -> None:
    line = b"40 1 0:40 / /srv/" + name.replace(b" ", rb"\040") + b" rw - nfs nas:/x rw\n"
    (mount,) = table(tmp_path, line)
    assert os.fsencode(mount.point) == b"/srv/" + name


SHARES = (
    "nfs nfs4 cifs smb2 smb3 smbfs ncpfs afs beegfs ceph gfs2 glusterfs lustre ocfs2 fuse fuse.rclone fuse.sshfs "
    "fuseblk davfs sshfs 9p drvfs prl_fs vboxsf virtiofs vmhgfs autofs"
)


@pytest.mark.parametrize("kind", SHARES.split())
def test_a_share_hides_changes_and_comes_and_goes(kind: str) -> None:
    mount = Mount(point=Path("/"), kind=kind)
    assert mount.is_share
    assert mount.hides_changes
    assert mount.comes_and_goes
    assert not mount.is_volatile


@pytest.mark.parametrize("kind", ["overlay", "overlayfs", "aufs"])
def test_changes_elsewhere_are_hidden_by_what_is_no_share_too(kind: str) -> None:
    mount = Mount(point=Path("/"), kind=kind)
    assert mount.hides_changes
    assert not mount.is_share
    assert not mount.comes_and_goes


@pytest.mark.parametrize(
    "kind", ["ext4", "xfs", "btrfs", "zfs", "tmpfs", "vfat", "exfat", "ntfs3", "f2fs", "nfsd", "fusectl"]
)
def test_changes_are_told_by(kind: str) -> None:
    mount = Mount(point=Path("/"), kind=kind)
    assert not mount.hides_changes
    assert not mount.is_share
    assert mount.is_volatile is (kind == "tmpfs")


def test_a_table_that_is_missing_or_garbled_tells_nothing(tmp_path: Path) -> None:
    assert mounted(tmp_path) == []
    assert table(tmp_path, b"\n - \nx y - \n1 2 3 / /a rw -\n\xff\xfe\n") == []
    assert mount_of(Path("/srv"), []) is None


@given(st.binary(max_size=200) | st.lists(st.sampled_from([*b"12 /-\n\\0\t"]), max_size=60).map(bytes))
def test_no_list_is_too_strange(tmp_path_factory: pytest.TempPathFactory, text: bytes) -> None:
    place = tmp_path_factory.mktemp("strange")
    mount_of(Path("/srv/studio"), table(place, text))
    shares(place, place / "self/mountinfo")


@given(st.lists(st.tuples(*[st.sampled_from("12345")] * 2, st.sampled_from(["/", "/srv", "/srv/studio"])), max_size=9))
def test_a_table_that_goes_in_circles_ends(rows: list[tuple[str, str, str]]) -> None:
    mounts = [Mount(point=Path(point), kind="nfs", number=number, parent=parent) for number, parent, point in rows]
    assert mount_of(Path("/srv/studio/x"), mounts) in [None, *mounts]


def test_this_machine_has_mounts(tmp_path: Path) -> None:
    mount = mount_here(os.fsencode(tmp_path))
    assert mounted()
    assert mount is not None
    assert tmp_path.resolve().is_relative_to(mount.point)
    assert mount.device == f"{os.major(tmp_path.stat().st_dev)}:{os.minor(tmp_path.stat().st_dev)}"


def test_the_kernels_own_table_is_understood() -> None:
    assert mount_of(Path("/"), mounted(PROC)) is not None


FSTAB = r"""
# a comment of three fields
UUID=1 / ext4 errors=remount-ro 0 1
UUID=2 /srv ext4 defaults 0 2
nas:/pictures /mnt/my\040nas nfs4 defaults 0 0
//nas/x /mnt/smb cifs credentials=/etc/x 0 0
UUID=3 /mnt/stick vfat nofail,x-systemd.device-timeout=3 0 0
UUID=4 /mnt/later ext4 noauto
UUID=5 none swap sw 0 0
broken
"""
MOUNTINFO = r"""
22 1 8:1 / / rw - ext4 /dev/sda1 rw
23 22 0:40 / /mnt/phone rw - fuse.sshfs phone: rw
24 22 0:41 / /mnt/my\040nas rw - nfs4 nas:/pictures rw
25 22 0:42 / /tmp rw - tmpfs tmpfs rw
"""


def test_what_comes_and_goes_is_known_whether_it_is_mounted_or_not(tmp_path: Path) -> None:
    (tmp_path / "self").mkdir()
    (tmp_path / "self" / "mountinfo").write_text(MOUNTINFO)
    (tmp_path / "fstab").write_text(FSTAB)
    found = shares(tmp_path, tmp_path / "fstab")
    assert [str(path) for path in found] == ["/mnt/phone", "/mnt/my nas", "/mnt/smb", "/mnt/stick", "/mnt/later"]
    assert shares(tmp_path / "none", tmp_path / "none") == []


@pytest.mark.parametrize(
    ("line", "is_share"),
    [
        ("nas:/x /mnt/nas/ nfs", True),
        ("nas:/x /mnt//nas nfs defaults", True),
        ("  nas:/x  \t /mnt/nas\tnfs", True),
        ("nas /mnt/nas beegfs defaults", True),
        ("https://nas/x /mnt/nas davfs rw", True),
        ("me@nas: /mnt/nas sshfs defaults", True),
        ("me@nas: /mnt/nas fuse.sshfs defaults", True),
        ("sshfs#me@nas: /mnt/nas fuse defaults", True),
        ("C: /mnt/nas drvfs defaults", True),
        ("UUID=1 /mnt/nas ext4 x-systemd.automount", True),
        ("UUID=1 /mnt/nas ext4 rw,user", True),
        ("UUID=1 /mnt/nas ext4 rw,owner", True),
        ("/srv/studio/x /mnt/nas none bind", True),
        ("/srv/local /mnt/nas none bind", False),
        ("UUID=1 /mnt/nas ext4 rw,username=nofail", False),
        ("UUID=1 /mnt/nas ext4", False),
        ("overlay /mnt/nas overlay lowerdir=/a", False),
        ("UUID=1 /mnt/nas", False),
        ("# nas:/x /mnt/nas nfs", False),
        ("  #nas:/x /mnt/nas nfs", False),
        ("nas:/x mnt/nas nfs", False),
        ("UUID=1 none swap noauto", False),
        ("UUID=1 swap swap nofail", False),
    ],
)
def test_a_line_of_fstab_is_a_share_or_not(tmp_path: Path, line: str, is_share: bool) -> None:
    table(tmp_path, MOUNTS)
    (tmp_path / "fstab").write_text(line)
    assert (Path("/mnt/nas") in shares(tmp_path, tmp_path / "fstab")) is is_share


def test_a_mount_point_that_fstab_names_through_a_link_is_known_by_its_real_path(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "fstab").write_text(f"nas:/x {tmp_path}/link nfs\n")
    assert [mount.point for mount in configured(tmp_path / "fstab")] == [tmp_path.resolve() / "real"]
    assert unmounted(fstab=tmp_path / "fstab") == {tmp_path.resolve() / "real"}


def test_the_root_is_mounted_even_where_the_kernel_hides_its_table(tmp_path: Path) -> None:
    (tmp_path / "fstab").write_text(f"UUID=1 / ext4\nUUID=2 /proc proc\nUUID=3 {tmp_path} ext4\n")
    assert unmounted(tmp_path, tmp_path / "fstab") == {tmp_path.resolve()}


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [
        ("/srv/studio", "/", True),
        ("/srv/studio", "/srv", True),
        ("/srv/studio", "/srv/studio", False),
        ("/", "/srv/studio", False),
        (None, "/", False),
        ("/", None, False),
    ],
)
def test_a_mount_point_is_bare_when_only_what_is_below_it_is_left(
    before: str | None, now: str | None, expected: bool
) -> None:
    one, other = (Mount(point=Path(point), kind="ext4") if point else None for point in (before, now))
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


def test_no_mount_point_of_fstab_is_looked_at_while_something_is_mounted_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server of a share that is mounted may be gone: whoever looks at its mount point waits for ever."""
    (tmp_path / "nas").mkdir()
    (tmp_path / "link").symlink_to("down/../nas")
    (tmp_path / "down").mkdir()
    (tmp_path / "fstab").write_text(f"nas:/x {tmp_path}/link nfs\n")
    root = tmp_path.resolve()
    table(tmp_path, f"1 0 8:1 / / rw - ext4 /dev/sda1 rw\n2 1 0:30 / {root}/nas rw - nfs4 nas:/x rw\n")
    looked: list[str] = []

    def seen(ask: Callable[..., Any]) -> Callable[..., Any]:
        def look(path: Any, *more: Any, **options: Any) -> Any:
            looked.append(str(path))
            return ask(path, *more, **options)

        return look

    for name in ("stat", "lstat", "readlink", "scandir"):
        monkeypatch.setattr(os, name, seen(getattr(os, name)))
    assert unmounted(tmp_path, tmp_path / "fstab") == set()
    assert shares(tmp_path, tmp_path / "fstab") == [root / "nas"]
    assert [path for path in looked if "nas" in path] == []
    assert looked != []


def test_links_that_go_round_in_a_circle_end(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    (tmp_path / "fstab").write_text(f"nas:/x {tmp_path}/a/deep nfs\n")
    assert [mount.kind for mount in configured(tmp_path / "fstab")] == ["nfs"]
