"""
The watch against a real kernel: overflows, limits, mounts, dead observers, and all the ways files come.

Each scene of ``inside.py`` runs in a process of its own; those that mount, in a mount namespace of
their own, so that nothing on this machine is mounted, unmounted or limited.
"""

import functools
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

INSIDE = Path(__file__).with_name("inside.py")
PROJECT = INSIDE.parents[2]

MOUNTS = ("unshare", "--mount", "--propagation", "private")
LIMITS = ("unshare", "--user", "--map-root-user")


def play(scene: str, directory: Path, *way: str) -> subprocess.CompletedProcess[str]:
    command = [*way, sys.executable, "-W", "error", "-W", "ignore:Callback with id", str(INSIDE), scene, str(directory)]
    path = os.pathsep.join(filter(None, (str(PROJECT), os.environ.get("PYTHONPATH"))))
    return subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=240, env=os.environ | {"PYTHONPATH": path}
    )


@functools.cache
def is_permitted(*way: str) -> bool:
    if shutil.which("unshare") is None:
        return False
    return subprocess.run([*way, "true"], check=False, capture_output=True).returncode == 0


def needs(way: tuple[str, ...], what: str) -> None:
    if not is_permitted(*way):
        pytest.skip(f"{what} is not permitted here")


@pytest.mark.parametrize(
    "scene",
    [
        "overflow",
        "flood",
        "dead_reader",
        "raising_handler",
        "moved_out",
        "root_replaced",
        "new_trees",
        "shuffled_trees",
        "slow_writers",
        "latency",
        "idle",
    ],
)
def test_nothing_is_lost_and_nothing_comes_twice(scene: str, tmp_path: Path) -> None:
    done = play(scene, tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "scene", ["remount", "remount_anew", "mounted_late", "disk_below", "overlay", "full_of_errors"]
)
def test_mounts_come_and_go_and_nothing_is_lost(scene: str, tmp_path: Path) -> None:
    plays_with_mounts(scene, tmp_path)


def test_an_output_is_made_on_the_share_that_fstab_names_or_not_at_all(tmp_path: Path) -> None:
    plays_with_mounts("fstab", tmp_path)


def test_a_folder_on_a_share_is_there_only_while_that_very_share_is_mounted(tmp_path: Path) -> None:
    plays_with_mounts("roots", tmp_path)


@pytest.mark.skipif(not Path("/dev/fuse").exists(), reason="without /dev/fuse no share can be made to hang")
def test_a_share_that_hangs_before_the_start_stops_its_own_folders_alone(tmp_path: Path) -> None:
    plays_with_mounts("silent_share", tmp_path)


def plays_with_mounts(scene: str, directory: Path) -> None:
    needs(MOUNTS, "mounting")
    point = directory / "probe"
    point.mkdir()
    if play("may_mount", point, *MOUNTS).returncode:
        pytest.skip("mounting is not permitted here")
    done = play(scene, directory, *MOUNTS)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("scene", ["watch_limit", "no_observer_left"])
def test_what_the_kernel_cannot_watch_is_walked(scene: str, tmp_path: Path) -> None:
    needs(LIMITS, "a user namespace")
    done = play(scene, tmp_path, *LIMITS)
    assert done.returncode == 0, done.stderr
