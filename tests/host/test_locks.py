import contextlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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


@pytest.mark.parametrize("comes_first", ["outer", "inner"])
@pytest.mark.parametrize("depth", [1, 2, 5])
def test_a_folder_within_a_watched_one_is_watched_already(tmp_path: Path, comes_first: str, depth: int) -> None:
    outer = tmp_path / "in"
    inner = outer.joinpath(*map(str, range(depth)))
    beside = tmp_path / "in-2"
    for path in (inner, beside):
        path.mkdir(parents=True)
    one, two = (outer, inner) if comes_first == "outer" else (inner, outer)
    first, second = Locks(), Locks()
    assert first.take_input(one)
    with pytest.raises(LockedError, match=f"process {os.getpid()}.*; it watches a folder (above|inside) this one"):
        second.take_input(two)
    found = second.holder_of(two)
    assert found is not None
    assert ("above" if comes_first == "outer" else "inside") in str(found)
    assert second.take_input(beside)
    assert first.take_input(two)  # one daemon's own folders are the configuration's matter
    first.let_go(one)
    first.let_go(two)
    assert second.take_input(two)
    second.release()
    first.release()


def test_an_inner_folder_behind_a_link_is_watched_already(tmp_path: Path) -> None:
    (tmp_path / "in/sub").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "in/sub")
    first = Locks()
    assert first.take_input(tmp_path / "in")
    with pytest.raises(LockedError, match="above this one"):
        Locks().take_input(tmp_path / "link")
    first.release()


BIND = """
import os, socket, sys
os.setuid(int(sys.argv[1]))
held = []
for name in sys.argv[2:]:
    held.append(socket.socket(socket.AF_UNIX))
    held[-1].bind("\\0" + name)
    held[-1].listen(0)
print("bound", flush=True)
sys.stdin.read()
"""


def bind_as(uid: int, *names: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", BIND, str(uid), *names]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "bound\n"
    return process


def name_of(path: Path) -> str:
    found = path.stat()
    return f"rembg-watch input {found.st_dev:x}:{found.st_ino:x}"


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")


@needs_root
def test_a_name_that_a_stranger_has_keeps_nobody_from_working(folders: tuple[Path, Path]) -> None:
    _, source = folders
    stranger = bind_as(65534, name_of(source), name_of(source) + " 0123456789abcdef")
    locks, others = Locks(), Locks()
    assert locks.take_input(source)
    with pytest.raises(LockedError, match=f"process {os.getpid()}"):  # the lock beside the stranger's is found
        others.take_input(source)
    end(stranger)
    with pytest.raises(LockedError, match=f"process {os.getpid()}"):  # even when the plain name is free again
        others.take_input(source)
    assert others.holder_of(source) is not None
    locks.release()
    assert others.take_input(source)
    others.release()


@needs_root
def test_a_lock_of_ones_own_or_of_root_counts_for_a_user(folders: tuple[Path, Path], tmp_path: Path) -> None:
    _, source = folders
    for path in (tmp_path, *tmp_path.parents):
        if path.stat().st_uid == 0 and path != Path("/"):
            path.chmod(path.stat().st_mode | 0o055)
    ask = (
        "import os, sys\nfrom pathlib import Path\nfrom rembg_watch.host.locks import Locks\nos.setuid(65534)\n"
        "print(Locks().take_input(Path(sys.argv[1])))"
    )

    def asked() -> str:
        command = [sys.executable, "-c", ask, str(source)]
        return subprocess.run(command, capture_output=True, text=True, check=False).stderr

    for uid, counts in ((0, True), (65534, True), (65533, False)):
        other = bind_as(uid, name_of(source))
        assert (f"already watched by process {other.pid}" in asked()) is counts, uid
        end(other)


def test_a_holder_that_is_asked_for_ever_says_who_it_is(folders: tuple[Path, Path]) -> None:
    _, source = folders
    locks, others = Locks(), Locks()
    assert locks.take_input(source)
    for _ in range(400):  # the holder hangs meanwhile, and lets no asker go
        with pytest.raises(LockedError, match=f"process {os.getpid()}"):
            others.take_input(source)
    assert locks.take_input(source)
    locks.release()


def test_a_folder_that_is_another_one_by_now_is_locked_anew(folders: tuple[Path, Path], tmp_path: Path) -> None:
    _, source = folders
    locks = Locks()
    assert locks.take_input(source)
    before = tmp_path / "before"
    source.rename(before)
    source.mkdir()
    assert Locks().holder_of(source) is None
    assert locks.take_input(source)
    assert Locks().holder_of(source) is not None
    assert Locks().holder_of(before) is None
    locks.release()


def test_a_daemon_starts_if_one_of_its_inputs_is_free(folders: tuple[Path, Path], tmp_path: Path) -> None:
    state, source = folders
    free = tmp_path / "free"
    free.mkdir()
    other = hold_elsewhere(state, source)
    own_state = tmp_path / "own"
    own_state.mkdir()
    locks = Locks()
    locks.take(own_state, [source, free])
    assert Locks().holder_of(free) is not None
    locks.release()
    locks.take(own_state, [source, tmp_path / "offline"])
    locks.release()
    end(other)


@needs_root
@settings(max_examples=25, deadline=None)
@given(
    acts=st.lists(st.tuples(st.integers(0, 2), st.sampled_from(["take", "let go", "stranger"])), max_size=12),
    plain_first=st.booleans(),
)
def test_whatever_strangers_do_one_of_ours_has_the_folder_at_most(
    acts: list[tuple[int, str]], plain_first: bool
) -> None:
    """A stranger takes the plain name and gives it up at any moment; whoever of ours asks first has the folder."""
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        source, ours = Path(name), [stack.enter_context(contextlib.closing(Closing())) for _ in range(3)]
        stranger = [bind_as(65534, name_of(source))] if plain_first else []
        owner: int | None = None
        for who, act in acts:
            if act == "stranger":
                if stranger:
                    end(stranger.pop())
                elif Locks().holder_of(source) is None:
                    stranger.append(bind_as(65534, name_of(source)))
            elif act == "let go":
                ours[who].let_go(source)
                owner = None if owner == who else owner
            elif owner in {None, who}:
                assert ours[who].take_input(source)
                owner = who
            else:
                with pytest.raises(LockedError):
                    ours[who].take_input(source)
        for one in stranger:
            end(one)


class Closing(Locks):
    """Locks that a test closes."""

    def close(self) -> None:
        self.release()


def test_an_input_that_does_not_answer_is_left_alone(folders: tuple[Path, Path], tmp_path: Path) -> None:
    state, source = folders
    hung = tmp_path / "hung"
    hung.mkdir()
    locks = Locks()
    locks.take(state, [hung, source], but=[hung])
    other = tmp_path / "other"
    other.mkdir()
    theirs = Locks()
    theirs.take(other, [hung])  # nobody has it
    with pytest.raises(LockedError):
        theirs.take_input(source)
    theirs.release()
    locks.release()
