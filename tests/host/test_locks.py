import os
import subprocess
import sys
from pathlib import Path

import pytest

from rembg_watch.errors import LockedError
from rembg_watch.host.locks import Locks

HOLD = """
import sys
from pathlib import Path
from rembg_watch.host.locks import Locks
locks = Locks()
locks.take(Path(sys.argv[1]), [Path(sys.argv[2])])
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    state, source = tmp_path / "state", tmp_path / "in"
    state.mkdir()
    source.mkdir()
    return state, source


def hold_elsewhere(state: Path, source: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(state), str(source)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


def test_the_second_on_a_state_directory_is_told_who_holds_it(folders: tuple[Path, Path]) -> None:
    state, source = folders
    other = hold_elsewhere(state, source)
    with pytest.raises(LockedError, match=f"state directory .* process {other.pid}"):
        Locks().take(state, [])
    end(other)


def test_the_second_on_an_input_folder_is_told_who_holds_it(folders: tuple[Path, Path], tmp_path: Path) -> None:
    state, source = folders
    other = hold_elsewhere(state, source)
    own_state = tmp_path / "own"
    own_state.mkdir()
    with pytest.raises(LockedError, match=f"input folder .* process {other.pid}"):
        Locks().take(own_state, [source])
    Locks().take(own_state, [])  # the failed attempt kept nothing
    end(other)


def test_a_kill_leaves_no_lock_behind(folders: tuple[Path, Path]) -> None:
    state, source = folders
    end(hold_elsewhere(state, source))
    locks = Locks()
    locks.take(state, [source])
    assert (state / "lock").read_text() == f"{os.getpid()}\n"
    locks.release()
    locks.release()


def test_an_input_that_is_offline_is_passed_over_and_leaves_no_file(folders: tuple[Path, Path], tmp_path: Path) -> None:
    state, source = folders
    locks = Locks()
    locks.take(state, [tmp_path / "offline", source])
    assert list(source.iterdir()) == []
    assert locks.take_input(tmp_path / "offline") is False
    locks.release()


def test_a_locked_input_is_not_kept_open_so_that_its_share_can_be_unmounted(folders: tuple[Path, Path]) -> None:
    state, source = folders
    locks = Locks()
    locks.take(state, [source])
    held = [os.path.realpath(one.path) for one in os.scandir("/proc/self/fd")]
    assert str(source) not in held
    with pytest.raises(LockedError, match=f"input folder .* process {os.getpid()}"):
        Locks().take_input(source)
    locks.release()
    assert locks.take_input(source)
    locks.release()


def test_one_folder_under_two_names_is_one_folder(folders: tuple[Path, Path], tmp_path: Path) -> None:
    state, source = folders
    link = tmp_path / "link"
    link.symlink_to(source)
    locks = Locks()
    locks.take(state, [source])
    with pytest.raises(LockedError, match="already watched"):
        Locks().take_input(link)
    locks.release()
