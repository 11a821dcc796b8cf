import errno
import os
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import pytest

from rembg_watch.delivery.originals import Disposal, Disposed, dispose, numbered, reason_name, set_aside
from rembg_watch.delivery.publish import sweep_staging
from rembg_watch.host import disk
from rembg_watch.host.disk import OutputUnavailableError, TargetRefusedError
from rembg_watch.jobs import Version
from rembg_watch.paths import caught_name, is_junk

PICTURE = b"the picture"
REASON = "The API refused it: File size (55.2 MB) exceeds the maximum.\n\nExport it smaller."


class Crash(BaseException):
    """The power went; nothing cleans up after it."""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    made = tmp_path / "exports"
    made.mkdir()
    return made


@pytest.fixture
def done(tmp_path: Path) -> Path:
    made = tmp_path / "done"
    made.mkdir()
    return made


def put(root: Path, name: bytes, data: bytes = PICTURE) -> Version:
    path = disk.full_path(root, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return disk.version_of(path.stat())


def files(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def other_disk(from_fd: int, from_name: bytes, to_fd: int, to_name: bytes) -> None:
    """Claims as between two file systems: only within one directory."""
    if os.fstat(from_fd).st_ino != os.fstat(to_fd).st_ino:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
    disk.by_rename(from_fd, from_name, to_fd, to_name)


WAYS = [
    pytest.param((disk.by_rename,), id="rename"),
    pytest.param((disk.by_link,), id="link"),
    pytest.param((disk.by_placeholder,), id="placeholder"),
    pytest.param((other_disk,), id="another disk"),
]
Ways = tuple[disk.Way, ...]


def test_a_kept_source_is_kept(root: Path) -> None:
    version = put(root, b"a/x.jpg")
    assert dispose(root, b"a/x.jpg", version, "keep") == Disposed(disposal=Disposal.KEPT)
    assert files(root) == {"a/x.jpg": PICTURE}


def test_a_source_is_deleted(root: Path) -> None:
    version = put(root, b"a/x.jpg")
    assert dispose(root, b"a/x.jpg", version, "delete").disposal is Disposal.DELETED
    assert files(root) == {}
    assert (root / "a").is_dir()


@pytest.mark.parametrize("ways", WAYS)
def test_a_source_is_moved_to_its_mirrored_place(root: Path, done: Path, ways: Ways) -> None:
    version = put(root, b"a/b/x.jpg")
    (root / "a/b/x.jpg").chmod(0o640)
    os.utime(root / "a/b/x.jpg", ns=(1, 1_000_000_007))
    version = disk.version_of((root / "a/b/x.jpg").stat())
    disposed = dispose(root, b"a/b/x.jpg", version, "move", done_root=done, ways=ways)
    assert disposed == Disposed(disposal=Disposal.MOVED, place=b"a/b/x.jpg")
    assert files(root) == {}
    assert files(done) == {"a/b/x.jpg": PICTURE}
    found = (done / "a/b/x.jpg").stat()
    assert (found.st_mode & 0o777, found.st_mtime_ns) == (0o640, 1_000_000_007)


@pytest.mark.parametrize("ways", WAYS)
def test_a_name_that_is_taken_in_the_done_folder_gets_a_number(root: Path, done: Path, ways: Ways) -> None:
    put(done, b"x.jpg", b"another")
    put(done, b"x (2).jpg", b"a third")
    disposed = dispose(root, b"x.jpg", put(root, b"x.jpg"), "move", done_root=done, ways=ways)
    assert disposed.place == b"x (3).jpg"
    assert files(done) == {"x.jpg": b"another", "x (2).jpg": b"a third", "x (3).jpg": PICTURE}


@pytest.mark.parametrize("name", [b"\xff\x80.jpg", b"n" * 255, b"d\xfe/" + b"n" * 251 + b".jpg", "süß.jpg".encode()])
@pytest.mark.parametrize("ways", WAYS)
def test_any_name_is_moved_and_numbered(root: Path, done: Path, ways: Ways, name: bytes) -> None:
    for _ in range(3):
        assert dispose(root, name, put(root, name, os.urandom(9)), "move", done_root=done, ways=ways).place
    assert len(files(done)) == 3


def changed(path: Path) -> None:
    path.write_bytes(b"a new export")


def rewritten_alike(path: Path) -> None:
    before = path.stat()
    path.with_name("new").write_bytes(PICTURE)
    path.with_name("new").replace(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def made_a_link(path: Path) -> None:
    path.rename(path.with_name("real"))
    path.symlink_to(path.with_name("real"))


@pytest.mark.parametrize("change", [changed, rewritten_alike, made_a_link])
@pytest.mark.parametrize("after", ["move", "delete"])
def test_another_version_is_left_alone(root: Path, done: Path, change: Callable[[Path], None], after: str) -> None:
    version = put(root, b"x.jpg")
    change(root / "x.jpg")
    before = files(root)
    assert dispose(root, b"x.jpg", version, after, done_root=done).disposal is Disposal.CHANGED
    assert files(root) == before
    assert files(done) == {}


@pytest.mark.parametrize("source", [b"x.jpg", b"a/b/x.jpg"])
@pytest.mark.parametrize("after", ["move", "delete"])
def test_a_source_that_is_gone_is_gone(root: Path, done: Path, source: bytes, after: str) -> None:
    version = Version(size_bytes=1, mtime_ns=1, inode=1)
    assert dispose(root, source, version, after, done_root=done).disposal is Disposal.GONE
    assert list(done.iterdir()) == []


@pytest.mark.parametrize("after", ["move", "delete"])
def test_nothing_is_touched_through_a_linked_directory(root: Path, done: Path, tmp_path: Path, after: str) -> None:
    version = put(tmp_path / "elsewhere", b"x.jpg")
    (root / "a").symlink_to(tmp_path / "elsewhere")
    assert dispose(root, b"a/x.jpg", version, after, done_root=done).disposal is Disposal.GONE
    assert (tmp_path / "elsewhere/x.jpg").exists()


def test_nothing_is_moved_into_a_linked_directory(root: Path, done: Path, tmp_path: Path) -> None:
    (done / "a").symlink_to(tmp_path)
    with pytest.raises(TargetRefusedError):
        dispose(root, b"a/x.jpg", put(root, b"a/x.jpg"), "move", done_root=done)
    assert files(root) == {"a/x.jpg": PICTURE}


def test_a_source_stays_while_the_done_folder_is_offline(root: Path, tmp_path: Path) -> None:
    with pytest.raises(OutputUnavailableError) as caught:
        dispose(root, b"x.jpg", put(root, b"x.jpg"), "move", done_root=tmp_path / "none")
    assert caught.value.code == "missing"
    assert files(root) == {"x.jpg": PICTURE}


@pytest.mark.parametrize("after", ["move", "delete"])
def test_a_share_that_is_offline_is_not_taken_for_a_source_that_is_gone(tmp_path: Path, done: Path, after: str) -> None:
    with pytest.raises(OutputUnavailableError):
        dispose(tmp_path / "none", b"x.jpg", Version(size_bytes=1, mtime_ns=1, inode=1), after, done_root=done)


def test_to_move_without_a_done_folder_is_a_mistake_of_the_program(root: Path) -> None:
    with pytest.raises(ValueError, match="done folder"):
        dispose(root, b"x.jpg", put(root, b"x.jpg"), "move")


NEWCOMER = b"a new export"


class Newcomer:
    """A re-export that is renamed over the source at one moment: as a program that saves safely does."""

    def __init__(self, root: Path, moment: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root, self.moment, self.has_come = root, moment, False
        real = os.rename

        def rename(*names: bytes, **where: int) -> None:
            if names[0] == b"x.jpg":
                self.step("before it is caught")
            real(*names, **where)  # type: ignore[arg-type]

        monkeypatch.setattr(os, "rename", rename)

    def step(self, name: str) -> None:
        if name == self.moment and not self.has_come:
            self.has_come = True
            (self.root / "a/new").write_bytes(NEWCOMER)
            (self.root / "a/new").replace(self.root / "a/x.jpg")


MOMENTS = ["before it is caught", "caught", "copied", "copy placed", "moved", "deleted", "source removed"]


@pytest.mark.parametrize("ways", WAYS)
@pytest.mark.parametrize("what", ["move", "delete", "set aside"])
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_new_version_is_never_taken_for_the_old_one_whenever_it_comes(
    root: Path, done: Path, what: str, ways: Ways, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = put(root, b"a/x.jpg")
    newcomer = Newcomer(root, moment, monkeypatch)
    disposed = MOVES[what](root, version, done, ways=ways, step=newcomer.step)
    came_first = newcomer.has_come and moment == "before it is caught"
    assert (disposed.disposal is Disposal.CHANGED) is came_first
    assert files(root) == ({"a/x.jpg": NEWCOMER} if newcomer.has_come else {})
    wanted = {} if what == "delete" or came_first else {"a/x.jpg": PICTURE}
    assert {name: data for name, data in files(done).items() if not name.endswith(".txt")} == wanted


@pytest.mark.parametrize("ways", WAYS)
@pytest.mark.parametrize("what", ["move", "delete", "set aside"])
def test_a_still_newer_version_and_the_new_one_are_both_kept(
    root: Path, done: Path, what: str, ways: Ways, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = put(root, b"a/x.jpg")
    newcomer = Newcomer(root, "before it is caught", monkeypatch)

    def step(name: str) -> None:
        if name == "caught":
            put(root, b"a/x.jpg", b"a still newer one")
        newcomer.step(name)

    assert MOVES[what](root, version, done, ways=ways, step=step).disposal is Disposal.CHANGED
    assert files(root) == {"a/x.jpg": b"a still newer one", "a/x (2).jpg": NEWCOMER}
    assert files(done) == {}


@pytest.mark.parametrize("what", ["keep", "move", "delete", "set aside"])
@pytest.mark.parametrize("caught", ["the version", "a newcomer"])
@pytest.mark.parametrize("name_is", ["free", "taken"])
def test_what_a_crash_left_under_the_hidden_name_is_ended_or_put_back(
    root: Path, done: Path, what: str, caught: str, name_is: str
) -> None:
    version = put(root, b"a/x.jpg")
    hidden = root / "a" / os.fsdecode(caught_name(b"x.jpg"))
    (root / "a/x.jpg").rename(hidden)
    if caught == "a newcomer":
        hidden.write_bytes(NEWCOMER)
    if name_is == "taken":
        put(root, b"a/x.jpg", b"a still newer one")
    keep: dict[str, Callable[..., Disposed]] = {"keep": lambda *_: dispose(root, b"a/x.jpg", version, "keep")}
    (MOVES | keep)[what](root, version, done)
    assert not hidden.exists()
    left = set(files(root).values())
    is_ended = caught == "the version" and what != "keep"
    assert left == {
        *([b"a still newer one"] if name_is == "taken" else []),
        *([] if is_ended else [PICTURE if caught == "the version" else NEWCOMER]),
    }
    pictures = {data for name, data in files(done).items() if not name.endswith(".txt")}
    assert pictures == ({PICTURE} if is_ended and what != "delete" else set())


def test_the_hidden_name_is_passed_over_by_the_watch_and_by_the_sweep(root: Path) -> None:
    put(root, b"a/" + caught_name(b"x.jpg"))
    assert is_junk(caught_name(b"x.jpg"))
    assert sweep_staging(root, older_than_s=-1) == 0


def test_a_copy_that_cannot_be_placed_leaves_the_source_and_nothing_else(root: Path, done: Path) -> None:
    def full(from_fd: int, from_name: bytes, to_fd: int, to_name: bytes) -> None:
        if from_fd == to_fd and not from_name.endswith(b".part"):
            return disk.by_rename(from_fd, from_name, to_fd, to_name)
        code = errno.EXDEV if from_name == caught_name(b"x.jpg") else errno.ENOSPC
        raise OSError(code, os.strerror(code))

    with pytest.raises(OutputUnavailableError) as caught:
        dispose(root, b"x.jpg", put(root, b"x.jpg"), "move", done_root=done, ways=(full,))
    assert caught.value.code == "no_space"
    assert files(root) == {"x.jpg": PICTURE}
    assert files(done) == {}


def test_a_refused_picture_is_set_aside_with_its_reason_beside_it(root: Path, tmp_path: Path) -> None:
    failed = tmp_path / "failed"
    failed.mkdir()
    disposed = set_aside(root, b"a/x.jpg", put(root, b"a/x.jpg"), failed, REASON)
    assert disposed == Disposed(disposal=Disposal.MOVED, place=b"a/x.jpg")
    assert files(root) == {}
    assert files(failed) == {"a/x.jpg": PICTURE, "a/x.jpg.reason.txt": f"x.jpg\n\n{REASON}\n".encode()}


@pytest.mark.parametrize("ways", WAYS)
@pytest.mark.parametrize("taken", [b"x.jpg", b"x.jpg.reason.txt"])
def test_picture_and_reason_get_the_same_number(root: Path, done: Path, taken: bytes, ways: Ways) -> None:
    put(done, taken, b"another")
    disposed = set_aside(root, b"x.jpg", put(root, b"x.jpg"), done, REASON, ways=ways)
    assert disposed.place == b"x (2).jpg"
    assert set(files(done)) == {os.fsdecode(taken), "x (2).jpg", "x (2).jpg.reason.txt"}
    assert files(done)[os.fsdecode(taken)] == b"another"


@pytest.mark.parametrize("ways", WAYS)
def test_the_same_picture_refused_twice_for_the_same_reason_is_there_twice(root: Path, done: Path, ways: Ways) -> None:
    set_aside(root, b"x.jpg", put(root, b"x.jpg", b"one"), done, REASON, ways=ways)
    set_aside(root, b"x.jpg", put(root, b"x.jpg", b"two"), done, REASON, ways=ways)
    assert set(files(done)) == {"x.jpg", "x.jpg.reason.txt", "x (2).jpg", "x (2).jpg.reason.txt"}


@pytest.mark.parametrize("name", [b"\xff\x80.jpg", b"n" * 255, b"n" * 251 + b".jpg", "ü".encode() * 127])
def test_any_name_is_set_aside(root: Path, done: Path, name: bytes) -> None:
    for _ in range(2):
        assert set_aside(root, name, put(root, name), done, REASON).disposal is Disposal.MOVED
    assert len(files(done)) == 4


@pytest.mark.parametrize("is_there", [True, False])
def test_no_reason_is_left_without_its_picture(root: Path, done: Path, is_there: bool) -> None:
    if is_there:
        put(root, b"x.jpg", b"a new export")
    version = Version(size_bytes=1, mtime_ns=1, inode=1)
    disposed = set_aside(root, b"x.jpg", version, done, REASON)
    assert disposed.disposal is (Disposal.CHANGED if is_there else Disposal.GONE)
    assert files(done) == {}


@pytest.mark.parametrize("code", [errno.EROFS, errno.EIO, errno.ENAMETOOLONG])
def test_no_reason_is_left_when_the_picture_cannot_be_moved(root: Path, done: Path, code: int) -> None:
    def stuck(from_fd: int, from_name: bytes, to_fd: int, to_name: bytes) -> None:
        if from_name == caught_name(b"x.jpg") and from_fd != to_fd:
            raise OSError(code, os.strerror(code))
        disk.by_rename(from_fd, from_name, to_fd, to_name)

    with pytest.raises((OutputUnavailableError, TargetRefusedError)):
        set_aside(root, b"x.jpg", put(root, b"x.jpg"), done, REASON, ways=(stuck,))
    assert files(root) == {"x.jpg": PICTURE}
    assert files(done) == {}


MOVES: dict[str, Callable[..., Disposed]] = {
    "move": lambda root, version, done, **how: dispose(root, b"a/x.jpg", version, "move", done_root=done, **how),
    "delete": lambda root, version, _done, **how: dispose(
        root, b"a/x.jpg", version, "delete", **{name: value for name, value in how.items() if name == "step"}
    ),
    "set aside": lambda root, version, done, **how: set_aside(root, b"a/x.jpg", version, done, REASON, **how),
}


def linked_then_crashed(from_fd: int, from_name: bytes, to_fd: int, to_name: bytes) -> None:
    os.link(from_name, to_name, src_dir_fd=from_fd, dst_dir_fd=to_fd)
    raise Crash


@pytest.mark.parametrize("ways", WAYS)
@pytest.mark.parametrize("what", MOVES)
@pytest.mark.parametrize("number", range(5))
def test_a_crash_at_any_step_loses_no_picture_and_the_next_attempt_ends_it(
    root: Path, done: Path, what: str, ways: Ways, number: int
) -> None:
    version = put(root, b"a/x.jpg")
    seen: list[str] = []

    def step(name: str) -> None:
        if len(seen) == number:
            raise Crash
        seen.append(name)

    try:
        MOVES[what](root, version, done, ways=ways, step=step)
    except Crash:
        if what != "delete":
            assert PICTURE in {*files(root).values(), *files(done).values()}
    MOVES[what](root, version, done, ways=ways)
    sweep_staging(done, older_than_s=-1)
    assert files(root) == {}
    assert (
        set(files(done))
        == {
            "move": {"a/x.jpg"},
            "delete": set(),
            "set aside": {"a/x.jpg", "a/x.jpg.reason.txt"},
        }[what]
    )


def test_a_crash_between_link_and_unlink_ends_with_one_name(root: Path, done: Path) -> None:
    version = put(root, b"a/x.jpg")
    with pytest.raises(Crash):
        MOVES["move"](root, version, done, ways=(linked_then_crashed,))
    assert MOVES["move"](root, version, done, ways=(disk.by_link,)).place == b"a/x.jpg"
    assert (files(root), files(done)) == ({}, {"a/x.jpg": PICTURE})


def test_numbers_begin_at_two_and_names_stay_within_what_a_disk_takes() -> None:
    assert list(islice(numbered(b"IMG_1.jpg"), 3)) == [b"IMG_1.jpg", b"IMG_1 (2).jpg", b"IMG_1 (3).jpg"]
    assert list(islice(numbered(b".hidden"), 2))[1] == b".hidden (2)"
    assert list(islice(numbered(b"no ending"), 2))[1] == b"no ending (2)"
    long = list(islice(numbered("ü".encode() * 125 + b"x.jpg"), 2))[1]
    assert len(long) <= 255
    assert long.decode().endswith("ü (2).jpg")


def test_two_long_names_get_two_reason_files() -> None:
    one, other = reason_name(b"n" * 254 + b"1"), reason_name(b"n" * 254 + b"2")
    assert one != other
    assert len(one) <= 255
    assert one.endswith(b".reason.txt")
