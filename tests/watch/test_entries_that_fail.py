"""
One entry that cannot be looked at hides none of its neighbours, wherever it lies and in whatever order they come.

Real links are tried as root, and as a child process that is nobody; what only a share can do to us (stale handles,
listings that break off) comes from entries that fail as the kernel's would.
"""

import errno
import os
import pickle
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rembg_watch.report import events
from tests.watch.conftest import Studio, jpeg
from tests.watch.test_scan import World

NOBODY = 65534

PLACES = ["", "sub/"]


def to_itself(path: Path) -> None:
    path.symlink_to(path.name)


def in_a_circle(path: Path) -> None:
    other = path.with_name(f"{path.name}.other")
    other.symlink_to(path.name)
    path.symlink_to(other.name)


def into_a_closed_directory(path: Path) -> None:
    closed = path.parents[2] / "closed"
    if not closed.exists():
        (closed / "inner").mkdir(parents=True)
        closed.chmod(0o700)
    path.symlink_to(closed / "inner")


def to_a_name_too_long(path: Path) -> None:
    path.symlink_to("/".join(["x" * 300] * 3))


def through_a_file(path: Path) -> None:
    path.with_name("a file").write_bytes(b"")
    path.symlink_to("a file/below")


def nowhere(path: Path) -> None:
    path.symlink_to("nowhere")


def closed_directory(path: Path) -> None:
    path.mkdir()
    path.chmod(0o000)


def pipe(path: Path) -> None:
    os.mkfifo(path)


def without_end(path: Path) -> None:
    """Directories in each other, until their path is longer than the kernel takes."""
    before = Path.cwd()
    path.mkdir()
    os.chdir(path)
    try:
        for _ in range(20):
            Path("d" * 250).mkdir()
            os.chdir("d" * 250)
    finally:
        os.chdir(before)


TROUBLES: list[Callable[[Path], None]] = [
    to_itself, in_a_circle, into_a_closed_directory, to_a_name_too_long, through_a_file, nowhere, closed_directory,
    pipe, without_end,
]  # fmt: skip
NAMES = ["0", "m.jpg", "zz"]
"""Before, between and behind the pictures, as far as the disk keeps them in order."""


def pictures(root: Path) -> list[bytes]:
    names = [f"{place}{name}.jpg" for place in ("", "sub/", "sub/deep/", "a/", "z/") for name in ("b", "k", "y")]
    for number, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(jpeg(number))
    for one in (root, *root.rglob("*")):
        one.chmod(0o755)
    return sorted(os.fsencode(name) for name in names)


def delivered_by(root: Path, uid: int) -> tuple[list[bytes], int]:
    """Watch *root* as another user; return what went in line, and how much is told as unsettled or away."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setresgid(uid, uid, uid)
            os.setresuid(uid, uid, uid)
            studio = Studio(root)
            watch = studio.begin(settle_s=0.5)
            studio.passes(10)
            os.write(writing, pickle.dumps((sorted(studio.ledger.names), watch.unsettled + watch.is_away)))
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as file:
        told = file.read()
    os.waitpid(child, 0)
    found: tuple[list[bytes], int] = pickle.loads(told)
    return found


@pytest.fixture
def open_root() -> Iterator[Path]:
    """Return a root that every user may enter."""
    with tempfile.TemporaryDirectory() as made:
        path = Path(made)
        path.chmod(0o755)
        (path / "in").mkdir()
        yield path / "in"
        shutil.rmtree(path / "in", ignore_errors=True)


@pytest.mark.parametrize("trouble", TROUBLES, ids=lambda one: one.__name__)
@pytest.mark.parametrize("place", PLACES, ids=["root", "below"])
@pytest.mark.parametrize("name", NAMES)
def test_no_entry_hides_its_neighbours(studio: Any, place: str, name: str, trouble: Callable[[Path], None]) -> None:
    expected = pictures(studio.root)
    trouble(studio.root / place / name)
    studio.begin(settle_s=0.5)
    studio.passes(10)
    assert sorted(studio.ledger.names) == expected


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become nobody")
@pytest.mark.parametrize("trouble", TROUBLES, ids=lambda one: one.__name__)
@pytest.mark.parametrize("place", PLACES, ids=["root", "below"])
def test_no_entry_hides_its_neighbours_from_an_ordinary_user(
    open_root: Path, place: str, trouble: Callable[[Path], None]
) -> None:
    expected = pictures(open_root)
    for name in NAMES:
        trouble(open_root / place / name)
        if trouble is through_a_file:
            break
    found, unsettled = delivered_by(open_root, NOBODY)
    assert found == expected
    assert (unsettled > 0) >= (trouble in (closed_directory, without_end)), "what could not be looked at is told"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become nobody")
@pytest.mark.parametrize("mode", [0o700, 0o711, 0o744], ids=oct)
def test_a_root_or_directory_that_may_not_be_looked_through_is_told(open_root: Path, mode: int) -> None:
    pictures(open_root)
    (open_root / "sub").chmod(mode)
    found, unsettled = delivered_by(open_root, NOBODY)
    assert [name for name in found if not name.startswith(b"sub/")] == found
    assert len(found) == 9
    assert unsettled >= 1
    open_root.chmod(mode)
    found, unsettled = delivered_by(open_root, NOBODY)
    assert found == []
    assert unsettled >= 1, "it counts as away"


# --- what only a share does -----------------------------------------------------------------------


class Failing:
    """An entry that is there, and fails like the kernel's when it is looked at."""

    def __init__(self, entry: "os.DirEntry[bytes]", code: int) -> None:
        self._entry, self._code, self.name = entry, code, entry.name

    def inode(self) -> int:
        return self._entry.inode()

    def _fail(self, **_: object) -> bool:
        raise OSError(self._code, os.strerror(self._code))

    is_dir = is_symlink = is_file = stat = _fail


@contextmanager
def share(failing: dict[bytes, int], order: list[int], ends_after: int | None) -> Iterator[None]:
    """Have directories listed in another order, with entries that fail, or break off."""
    real = os.scandir

    @contextmanager
    def scandir(path: bytes) -> Iterator[Iterator[Any]]:
        with real(path) as entries:
            found = sorted(entries, key=lambda one: one.name)
        found.sort(key=lambda one: order[hash(one.name) % len(order)])

        def listed() -> Iterator[Any]:
            for number, entry in enumerate(found):
                if ends_after is not None and number >= ends_after and path.endswith(b"/."):
                    raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
                code = failing.get(entry.name)
                yield entry if code is None else Failing(entry, code)

        yield listed()

    os.scandir = scandir  # type: ignore[assignment]
    try:
        yield
    finally:
        os.scandir = real


CODES = [errno.ESTALE, errno.EACCES, errno.ELOOP, errno.EIO, errno.ENAMETOOLONG, errno.ETIMEDOUT, errno.EOVERFLOW]
ENTRIES = ["a.jpg", "b.jpg", "c.txt", "sub/d.jpg", "sub/e.jpg", "sub/deep/f.jpg", "tree/g.jpg"]
SINGLE = [b"a.jpg", b"b.jpg", b"c.txt", b"d.jpg", b"f.jpg", b"sub", b"deep", b"tree"]


@settings(max_examples=60)
@given(
    failing=st.dictionaries(st.sampled_from(SINGLE), st.sampled_from(CODES), max_size=3),
    order=st.lists(st.integers(0, 9), min_size=8, max_size=8),
    is_known=st.booleans(),
)
def test_entries_that_fail_are_told_and_hide_nothing(
    failing: dict[bytes, int], order: list[int], is_known: bool
) -> None:
    with tempfile.TemporaryDirectory() as root:
        world = World(Path(root))
        for name in ENTRIES:
            world.drop(name, is_known=is_known and not name.endswith("txt"))
        if is_known:  # everything was seen well before
            world.walk()
        world.scan.schedule.ask_deep("a test", world.now)
        with share(failing, order, None):
            while not world.walk().is_deep:
                pass
        hidden = {name for name in ENTRIES if set(os.fsencode(name).split(b"/")) & set(failing)}
        assert world.lost == [], "what fails is not gone"
        if not is_known:
            assert {os.fsencode(n) for n in ENTRIES if n not in hidden and not n.endswith("txt")} <= set(world.finds)
        assert bool(world.reasons) == bool(failing), "it is told, and only then"
        world.now += 100_000
        world.scan.schedule.ask_deep("a test", world.now)
        while not world.walk().is_deep:
            pass
        assert world.reasons == {}, "it passes when they can be looked at again"
        assert is_known or set(world.finds) >= {os.fsencode(n) for n in ENTRIES if not n.endswith("txt")}


@pytest.mark.parametrize("ends_after", range(5))
@pytest.mark.parametrize("is_known", [True, False])
def test_a_listing_that_breaks_off_is_told_and_loses_nothing(tmp_path: Path, ends_after: int, is_known: bool) -> None:
    world = World(tmp_path)
    for name in ENTRIES:
        world.drop(name, is_known=is_known and not name.endswith("txt"))
    if is_known:
        world.walk()
        world.scan.schedule.ask_deep("a test", world.now + 1)
        world.now += 10
    with share({}, [0], ends_after):
        while not world.walk().is_deep:
            pass
    assert world.lost == []
    assert world.reasons == {b"": "this directory cannot be read: Stale file handle"}
    if is_known:
        assert len(world.scan) == 4, "what was known below is walked on"


def test_a_walk_that_could_not_see_everything_is_told_in_log_and_list(studio: Any) -> None:
    studio.drop("a.jpg")
    studio.drop("sub/b.jpg")
    with share({b"sub": errno.ESTALE}, [0], None):
        studio.begin(settle_s=0.5)
        studio.passes(5)
    assert studio.ledger.names == [b"a.jpg"]
    assert studio.watch.unsettled == 1
    assert [(one.source, one.reason) for one in studio.listed] == [
        (b"", "in this directory sub cannot be looked at: Stale file handle")
    ]
    (told,) = studio.reported(events.Unsettled)
    assert told.why == "in this directory sub cannot be looked at: Stale file handle"
    studio.passes(60)
    assert sorted(studio.ledger.names) == [b"a.jpg", b"sub/b.jpg"]
    assert studio.watch.unsettled == 0
