"""Small, read-only, foreign and vanishing disks, as the kernel really makes them."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from rembg_watch.delivery.originals import Disposal, dispose, set_aside
from rembg_watch.delivery.places import Places
from rembg_watch.delivery.publish import Claim, enough_room, publish, stage, sweep_staging, try_out
from rembg_watch.host import disk
from rembg_watch.host.disk import Content, OutputUnavailableError, TargetRefusedError, TargetTakenError

Mount = Callable[..., Path]
BYTES = bytes(range(256)) * 200  # 50 KiB


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Mount]:
    """Mount something below tmp_path; skip, with the kernel's words, where that is not permitted."""
    mounted: list[Path] = []

    def act(name: str, *arguments: str) -> Path:
        place = tmp_path / name
        place.mkdir(exist_ok=True)
        done = subprocess.run(["mount", *arguments, str(place)], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            pytest.skip(f"cannot mount here: {done.stderr.strip()}")
        mounted.append(place)
        return place

    yield act
    for place in reversed(mounted):
        subprocess.run(["umount", "-l", str(place)], check=False, capture_output=True)


@pytest.fixture
def answer(tmp_path: Path) -> Path:
    path = tmp_path / "answer"
    path.write_bytes(BYTES)
    return path


def image(tmp_path: Path, make: list[str], size_bytes: int = 16 << 20) -> Path:
    """Make a file system in a file; skip where its program is missing."""
    if shutil.which(make[0]) is None:
        pytest.skip(f"{make[0]} is not installed")
    path = tmp_path / "disk.img"
    with path.open("wb") as file:
        file.truncate(size_bytes)
    done = subprocess.run([*make, str(path)], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"{make[0]}: {done.stderr.strip()}")
    return path


def remount(place: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", str(place)], check=True)


def files(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def put(path: Path, data: bytes = BYTES) -> disk.Version:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return disk.version_of(path.stat())


def test_a_full_disk_keeps_nothing_half_made_and_takes_the_cutout_once_it_has_grown(mount: Mount, answer: Path) -> None:
    root = mount("small", "-t", "tmpfs", "-o", "size=64k", "tmpfs")
    publish(stage(answer, root, b"1.webp"))
    for _ in range(20):
        with pytest.raises(OutputUnavailableError) as caught:
            stage(answer, root, b"a/2.webp")
        assert caught.value.code == "no_space"
    assert files(root) == {"1.webp": BYTES}
    assert not enough_room(root, len(BYTES), 0)
    remount(root, "size=1m")
    try_out(root)
    assert enough_room(root, len(BYTES), 0)
    publish(stage(answer, root, b"a/2.webp"))
    assert files(root) == {"1.webp": BYTES, "a/2.webp": BYTES}


def test_a_disk_without_inodes_for_a_directory_is_full_too(mount: Mount, answer: Path) -> None:
    root = mount("few", "-t", "tmpfs", "-o", "nr_inodes=2", "tmpfs")
    with pytest.raises(OutputUnavailableError) as caught:
        stage(answer, root, b"a/b/c/x.webp")
    assert caught.value.code == "no_space"
    assert files(root) == {}


def test_a_disk_that_became_read_only_is_waited_for(mount: Mount, answer: Path) -> None:
    root = mount("shared", "-t", "tmpfs", "tmpfs")
    version = put(root / "x.jpg")
    staged = stage(answer, root, b"y.webp")
    remount(root, "ro")
    for act in (
        lambda: stage(answer, root, b"x.webp"),
        lambda: publish(staged),
        lambda: try_out(root),
        lambda: dispose(root, b"x.jpg", version, "delete"),
    ):
        with pytest.raises(OutputUnavailableError) as caught:
            act()
        assert caught.value.code == "read_only"
    assert sweep_staging(root, older_than_s=-1) == 0
    remount(root, "rw")
    assert sweep_staging(root, older_than_s=-1) == 1
    publish(stage(answer, root, b"x.webp"))
    assert files(root) == {"x.jpg": BYTES, "x.webp": BYTES}


def test_originals_cross_to_another_disk_by_a_proved_copy(mount: Mount, tmp_path: Path) -> None:
    done = mount("done", "-t", "tmpfs", "tmpfs")
    version = put(tmp_path / "exports/a/x.jpg")
    put(done / "a/x.jpg", b"another")
    disposed = dispose(tmp_path / "exports", b"a/x.jpg", version, "move", done_root=done)
    assert (disposed.disposal, disposed.place) == (Disposal.MOVED, b"a/x (2).jpg")
    assert files(tmp_path / "exports") == {}
    assert files(done) == {"a/x.jpg": b"another", "a/x (2).jpg": BYTES}
    assert (done / "a/x (2).jpg").stat().st_mtime_ns == version.mtime_ns


def test_a_full_failed_folder_leaves_the_picture_where_it_is_and_no_reason(mount: Mount, tmp_path: Path) -> None:
    failed = mount("failed", "-t", "tmpfs", "-o", "size=32k", "tmpfs")
    version = put(tmp_path / "exports/x.jpg")
    with pytest.raises(OutputUnavailableError) as caught:
        set_aside(tmp_path / "exports", b"x.jpg", version, failed, "It is too large.")
    assert caught.value.code == "no_space"
    assert files(failed) == {}
    assert files(tmp_path / "exports") == {"x.jpg": BYTES}
    remount(failed, "size=1m")
    set_aside(tmp_path / "exports", b"x.jpg", version, failed, "It is too large.")
    assert set(files(failed)) == {"x.jpg", "x.jpg.reason.txt"}


def test_a_mount_inside_the_output_is_delivered_into(mount: Mount, answer: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    mount("out/inner", "-t", "tmpfs", "tmpfs")
    publish(stage(answer, tmp_path / "out", b"inner/x.webp"))
    assert files(tmp_path / "out") == {"inner/x.webp": BYTES}


def test_overlays_are_delivered_into(mount: Mount, answer: Path, tmp_path: Path) -> None:
    for name in ("lower", "upper", "work"):
        (tmp_path / name).mkdir()
    below = mount("ram", "-t", "tmpfs", "tmpfs")
    for name in ("lower", "upper", "work"):
        (below / name).mkdir()
    put(below / "lower/a/x.webp", b"older")
    layers = f"lowerdir={below}/lower,upperdir={below}/upper,workdir={below}/work"
    root = mount("overlay", "-t", "overlay", "-o", layers, "overlay")
    staged = stage(answer, root, b"a/x.webp")
    with pytest.raises(TargetTakenError):
        publish(staged)
    older = Content(digest=sha256(b"older").hexdigest(), size_bytes=5)
    assert publish(staged, replace=older).claim is Claim.REPLACED
    assert files(root) == {"a/x.webp": BYTES}


def test_a_disk_without_case_keeps_two_sources_of_the_same_bytes_apart(
    mount: Mount, answer: Path, tmp_path: Path
) -> None:
    place = mount("caseless", "-o", "loop", str(image(tmp_path, ["mkfs.ext4", "-q", "-O", "casefold"])))
    root = place / "cutouts"
    root.mkdir()
    if subprocess.run(["chattr", "+F", str(root)], capture_output=True, check=False).returncode != 0:
        pytest.skip("this kernel cannot fold case on ext4")
    publish(stage(answer, root, b"IMG_1.webp"))
    staged = stage(answer, root, b"img_1.webp")
    with pytest.raises(TargetTakenError):
        publish(staged)
    publish(staged.under(b"img_1.png.webp"))
    assert set(files(root)) == {"IMG_1.webp", "img_1.png.webp"}


@pytest.mark.parametrize("make", [["mkfs.vfat"], ["mkfs.exfat"]], ids=["vfat", "exfat"])
def test_a_disk_without_links_takes_cutouts_and_refuses_single_names_only(
    mount: Mount, answer: Path, tmp_path: Path, make: list[str]
) -> None:
    root = mount("stick", "-o", "loop", str(image(tmp_path, make)))
    publish(stage(answer, root, b"a/x.webp"))
    staged = stage(answer, root, b"a/X.webp")
    with pytest.raises(TargetTakenError):
        publish(staged)
    with pytest.raises(TargetRefusedError):
        publish(stage(answer, root, b'a/what?"*.webp'))
    publish(stage(answer, root, b"a/y.webp"), ways=(disk.by_link, disk.by_placeholder))
    sweep_staging(root, older_than_s=-1)
    assert files(root) == {"a/x.webp": BYTES, "a/y.webp": BYTES}


def test_what_a_disk_does_not_take_is_known_before_a_call_and_leaves_nothing(mount: Mount, tmp_path: Path) -> None:
    root = mount("stick", "-o", "loop", str(image(tmp_path, ["mkfs.vfat"])))
    places = Places()
    assert places.source_in(root, b"a/IMG [1].jpg", ".webp") == b"a/IMG [1].jpg"
    with pytest.raises(TargetRefusedError) as caught:
        places.source_in(root, b'a/what?"*.jpg', ".webp")
    assert caught.value.code == "name_refused"
    assert files(root) == {}


def test_a_read_only_sub_folder_is_known_before_a_call(mount: Mount, tmp_path: Path) -> None:
    root = tmp_path / "out"
    root.mkdir()
    sealed = mount("out/sealed", "-t", "tmpfs", "tmpfs")
    remount(sealed, "ro")
    with pytest.raises(OutputUnavailableError) as caught:
        Places().source_in(root, b"sealed/x.jpg", ".webp")
    assert caught.value.code == "read_only"
    assert Places().source_in(root, b"other/x.jpg", ".webp") == b"other/x.jpg"


def test_a_folder_that_a_disk_without_case_takes_for_a_cutout_gets_a_number(mount: Mount, tmp_path: Path) -> None:
    root = mount("stick", "-o", "loop", str(image(tmp_path, ["mkfs.vfat"])))
    put(root / "look1.webp")
    assert Places().source_in(root, b"LOOK1.WEBP/x.jpg", ".webp") == b"LOOK1.WEBP.2/x.jpg"


def test_a_share_that_goes_away_between_staging_and_publishing_is_waited_for(mount: Mount, answer: Path) -> None:
    root = mount("share", "-t", "tmpfs", "tmpfs")
    staged = stage(answer, root, b"a/x.webp")
    subprocess.run(["umount", str(root)], check=True)
    with pytest.raises(OutputUnavailableError) as caught:
        publish(staged)
    assert caught.value.code == "missing"
    assert list(root.iterdir()) == []


WITHOUT_RIGHTS = """
import os
from pathlib import Path
from rembg_watch.host import disk
from rembg_watch.host.disk import OutputUnavailableError

# All is loaded before the rights go; the folder above is closed to others.
os.setegid(65534)
os.seteuid(65534)
try:
    with disk.root_directory(Path()) as fd, disk.explaining("it cannot be delivered", Path("x.webp")):
        disk.write(fd, b"x.webp", iter([b"x"]))
except OutputUnavailableError as error:
    print(error.code)
"""
WHERE_WE_ARE = os.environ | {"PYTHONPATH": str(Path(disk.__file__).parents[2])}


def test_a_user_without_the_right_to_write_waits_for_it(mount: Mount, answer: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    root = mount("private", "-t", "tmpfs", "-o", "mode=755", "tmpfs")
    answer.chmod(0o644)
    said = subprocess.run(
        [sys.executable, "-c", WITHOUT_RIGHTS], cwd=root, env=WHERE_WE_ARE, capture_output=True, text=True, timeout=60
    )
    assert (said.returncode, said.stdout) == (0, "permission\n"), said.stderr
    assert files(root) == {}


def test_an_immutable_folder_is_waited_for(mount: Mount, answer: Path, tmp_path: Path) -> None:
    root = mount("frozen", "-o", "loop", str(image(tmp_path, ["mkfs.ext4", "-q"])))
    if subprocess.run(["chattr", "+i", str(root)], capture_output=True, check=False).returncode != 0:
        pytest.skip("chattr is not permitted here")
    try:
        with pytest.raises(OutputUnavailableError) as caught:
            stage(answer, root, b"x.webp")
    finally:
        subprocess.run(["chattr", "-i", str(root)], check=True)
    assert caught.value.code == "permission"


def test_200_random_names_are_delivered(mount: Mount, answer: Path, tmp_path: Path) -> None:
    root = mount("any", "-o", "loop", str(image(tmp_path, ["mkfs.ext4", "-q"], 64 << 20)))
    names = {os.urandom(1 + os.urandom(1)[0] % 255).translate(bytes.maketrans(b"\0/", b"__")) for _ in range(200)} - {
        b".",
        b"..",
    }
    for name in names:
        publish(stage(answer, root, b"\xfe/" + name))
    found = {os.fsencode(path.name) for path in disk.full_path(root, b"\xfe").iterdir()}
    assert found == names
