import errno
import os
import queue
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rembg_watch.watch.observer import ECHO_S, MARKED, PING_S, RETRY_S, Guard, Marks, Observer, watch_limit

Notices = queue.Queue[tuple[bytes, bytes]]
WITHIN_S = 30


class Ear:
    """An observer, and what it has heard."""

    def __init__(self) -> None:
        self.notices: Notices = queue.Queue()
        self.lost: queue.Queue[bytes] = queue.Queue()
        self.overflows: queue.Queue[bool] = queue.Queue()
        self.observer = Observer(
            notice=lambda label, name: self.notices.put((label, name)),
            lost=self.lost.put,
            overflowed=lambda: self.overflows.put(True),
        )

    def hears(self, count: int) -> set[tuple[bytes, bytes]]:
        return {self.notices.get(timeout=WITHIN_S) for _ in range(count)}


@pytest.fixture
def ear() -> Iterator[Ear]:
    ear = Ear()
    yield ear
    ear.observer.stop()


def test_a_directory_is_known_by_its_label(ear: Ear, tmp_path: Path) -> None:
    ear.observer.watch(os.fsencode(tmp_path), b"label")
    (tmp_path / "a.jpg").write_bytes(b"x")
    assert ear.hears(2) == {(b"label", b"a.jpg")}  # created, closed


def test_all_that_brings_or_takes_a_file_is_noticed_and_reading_is_not(ear: Ear, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    inside = tmp_path / "inside"
    outside.mkdir()
    inside.mkdir()
    (inside / "read.jpg").write_bytes(b"x")
    for name in ("moved.jpg", "linked.jpg"):
        (outside / name).write_bytes(b"x")
    ear.observer.watch(os.fsencode(inside), b"")
    assert (inside / "read.jpg").read_bytes() == b"x"
    assert len(list(inside.iterdir())) == 1
    (outside / "moved.jpg").rename(inside / "moved.jpg")
    os.link(outside / "linked.jpg", inside / "linked.jpg")
    os.utime(inside / "moved.jpg", (1, 1))
    (inside / "directory").mkdir()
    (inside / "moved.jpg").rename(outside / "moved.jpg")
    (inside / "linked.jpg").unlink()
    heard = [ear.notices.get(timeout=WITHIN_S)[1] for _ in range(6)]
    assert heard == [b"moved.jpg", b"linked.jpg", b"moved.jpg", b"directory", b"moved.jpg", b"linked.jpg"]


def test_a_deleted_directory_is_told_as_lost(ear: Ear, tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    ear.observer.watch(os.fsencode(tmp_path / "sub"), b"sub")
    (tmp_path / "sub").rmdir()
    assert ear.lost.get(timeout=WITHIN_S) == b"sub"


def test_a_directory_under_a_new_label_answers_to_that_alone(ear: Ear, tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    first = ear.observer.watch(os.fsencode(tmp_path / "one"), b"one")
    (tmp_path / "one").rename(tmp_path / "two")
    assert ear.observer.watch(os.fsencode(tmp_path / "two"), b"two") == first
    ear.observer.unwatch(first, b"one")
    (tmp_path / "two" / "a").touch()
    assert (b"two", b"a") in ear.hears(3)  # it was moved; created, closed


def test_a_directory_that_is_no_longer_watched_is_not_told_of(ear: Ear, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    descriptor = ear.observer.watch(os.fsencode(tmp_path / "one"), b"one")
    ear.observer.watch(os.fsencode(tmp_path / "two"), b"two")
    ear.observer.unwatch(descriptor, b"one")
    (tmp_path / "one" / "a").touch()
    (tmp_path / "two" / "b").mkdir()
    assert ear.hears(1) == {(b"two", b"b")}
    assert ear.lost.empty()


def test_what_cannot_be_watched_raises(ear: Ear, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for name in ("missing", "file"):
        with pytest.raises(OSError, match=r"No such file|Not a directory"):
            ear.observer.watch(os.fsencode(tmp_path / name), b"")


def test_a_sign_of_life_can_be_had_and_leaves_nothing(ear: Ear, tmp_path: Path) -> None:
    before = tmp_path.stat()
    ear.observer.watch(os.fsencode(tmp_path), b"")
    ear.observer.ping(os.fsencode(tmp_path))
    (tmp_path / "a").mkdir()
    assert ear.hears(1) == {(b"", b"a")}  # notices come in order, so the answer is there
    assert ear.observer.echoes >= 1
    (tmp_path / "a").rmdir()
    echoes = ear.observer.echoes
    assert list(tmp_path.iterdir()) == []
    assert tmp_path.stat().st_ino == before.st_ino
    (tmp_path / "b").mkdir()
    while ear.notices.get(timeout=WITHIN_S)[1] != b"b":
        pass
    assert ear.observer.echoes == echoes, "listing the directory is not noticed any more"


def test_after_the_end_nothing_is_told(tmp_path: Path) -> None:
    ear = Ear()
    ear.observer.watch(os.fsencode(tmp_path), b"")
    assert ear.observer.is_alive
    ear.observer.stop()
    ear.observer.stop()
    (tmp_path / "a").touch()
    assert not ear.observer.is_alive
    assert ear.lost.empty()
    assert ear.notices.empty()


def test_the_limit_of_watches_is_a_number_or_hidden() -> None:
    limit = watch_limit()
    assert limit is None or limit > 0


# --- marks ---


def marks(now: float = 7.0) -> tuple[Marks, list[bool]]:
    woken: list[bool] = []
    return Marks(lambda: woken.append(True), lambda: now), woken


def test_marks_are_collected_by_directory_and_taken_once() -> None:
    some, woken = marks()
    for directory, name in [(b"d", b"a"), (b"d", b"b"), (b"", b"c"), (b"d", b"a")]:
        some.note(directory, name)
    some.lose(b"gone")
    some.overflow()
    taken = some.take()
    assert taken.names == {b"d": {b"a", b"b"}, b"": {b"c"}}
    assert (taken.lost, taken.has_overflowed, taken.since_s) == ({b"gone"}, True, 7.0)
    assert woken == [True]
    again = some.take()
    assert (again.names, again.lost, again.has_overflowed, again.since_s) == ({}, set(), False, None)


def test_a_mark_of_a_directory_itself_is_one_of_a_name_in_the_one_above() -> None:
    some, _ = marks()
    some.note(b"a/b", b"")
    some.note(b"c", b"")
    some.note(b"", b"")
    assert some.take().names == {b"a": {b"b"}, b"": {b"c", b""}}


def test_so_many_names_that_all_of_a_directory_is_meant() -> None:
    some, _ = marks()
    for number in range(MARKED + 500):
        some.note(b"d", b"%d" % number)
    assert some.take().names == {b"d": None}


def test_no_mark_is_lost_between_two_threads() -> None:
    woken = threading.Event()
    some = Marks(woken.set, lambda: 0.0)
    threads = [
        threading.Thread(target=lambda first=first: [some.note(b"", b"%d" % n) for n in range(first, first + 2000)])
        for first in (0, 2000)
    ]
    for thread in threads:
        thread.start()
    found: set[bytes] = set()
    while any(thread.is_alive() for thread in threads) or some.since_s is not None:
        woken.wait(0.1)
        woken.clear()
        found |= some.take().names.get(b"", set()) or set()
    assert len(found) == 4000


# --- guard ---


class FakeObserver:
    def __init__(self) -> None:
        self.is_alive = True
        self.echoes = 0
        self.answers = True
        self.error: OSError | None = None
        self.stopped = 0
        self.watched: list[bytes] = []

    def ping(self, path: bytes) -> None:
        if self.error:
            raise self.error
        self.echoes += self.answers

    def watch(self, path: bytes, label: bytes) -> int:
        if self.error:
            raise self.error
        self.watched.append(label)
        return len(self.watched)

    def unwatch(self, descriptor: int, label: bytes) -> None:
        self.watched.remove(label)

    def stop(self) -> None:
        self.stopped += 1


class Post:
    """A guard and what it tells."""

    def __init__(self, refusals: int = 0) -> None:
        self.observers: list[FakeObserver] = []
        self.restarts: list[str] = []
        self.polls: list[str] = []
        self.refusals = refusals
        self.guard = Guard(b"/root", make=self._make, restart=self.restarts.append, polls=self.polls.append)

    def _make(self) -> Observer:
        if self.refusals:
            self.refusals -= 1
            raise OSError(errno.EMFILE, "Too many open files")
        self.observers.append(FakeObserver())
        return self.observers[-1]  # type: ignore[return-value]

    def passes(self, begin: int, end: int) -> None:
        for now in range(begin, end):
            self.guard.check(float(now))


def test_an_observer_that_answers_is_kept() -> None:
    post = Post()
    post.guard.open(0.0)
    post.passes(0, 1000)
    assert post.restarts == []
    assert len(post.observers) == 1
    assert post.observers[0].echoes == 1000 // PING_S


def test_a_deaf_observer_is_replaced() -> None:
    post = Post()
    post.guard.open(0.0)
    post.observers[0].answers = False
    post.passes(0, int(PING_S + ECHO_S))
    assert post.restarts == []
    post.passes(int(PING_S + ECHO_S), 200)
    assert post.restarts == ["there was no sign of life"]
    assert (len(post.observers), post.observers[0].stopped) == (2, 1)


def test_a_dead_observer_is_replaced_at_once() -> None:
    post = Post()
    post.guard.open(0.0)
    post.observers[0].is_alive = False
    post.guard.check(1.0)
    assert post.restarts == ["their thread had ended"]
    post.passes(2, 100)
    assert len(post.restarts) == 1


def test_an_observer_that_lost_the_root_is_replaced() -> None:
    post = Post()
    post.guard.open(0.0)
    post.guard.lose_root()
    post.passes(0, 5)
    assert len(post.restarts) == 1
    assert "unmounted" in post.restarts[0]


def test_a_root_that_cannot_be_opened_is_no_sign_of_deafness() -> None:
    post = Post()
    post.guard.open(0.0)
    post.observers[0].error = OSError(errno.EIO, "Input/output error")
    post.passes(0, 500)
    assert post.restarts == []


def test_where_the_system_has_no_observer_left_it_is_asked_again_later() -> None:
    post = Post(refusals=3)
    post.guard.open(0.0)
    assert post.guard.watch(b"/root", b"") is None
    post.passes(0, int(RETRY_S * 2.5))
    assert post.polls == ["the system refuses notices (too many open files)"]
    assert post.restarts == []
    post.passes(int(RETRY_S * 2.5), int(RETRY_S * 4))
    assert post.restarts == ["the system had refused them"]
    assert post.guard.watch(b"/root", b"") == 1


def test_where_none_is_wanted_none_is_set_up() -> None:
    post = Post()
    post.guard.open(0.0, "the configuration says so")
    post.passes(0, 2000)
    assert (post.observers, post.polls) == ([], ["the configuration says so"])
    post.guard.unwatch(1, b"")
    post.guard.close()


def test_the_limit_of_watches_is_told_once_with_the_remedy_and_tried_again_later() -> None:
    post = Post()
    post.guard.open(0.0)
    post.guard.check(0.0)
    assert post.guard.watch(b"/root/a", b"a") == 1
    post.observers[0].error = OSError(errno.ENOSPC, "inotify watch limit reached")
    for label in (b"b", b"c"):
        assert post.guard.watch(b"/root/x", label) is None
    post.observers[0].error = None
    assert post.guard.watch(b"/root/x", b"c") is None
    assert len(post.polls) == 1
    assert "sysctl fs.inotify.max_user_watches=" in post.polls[0]
    post.guard.check(RETRY_S)
    assert post.guard.watch(b"/root/x", b"c") == 2
    post.guard.unwatch(2, b"c")
    assert post.observers[0].watched == [b"a"]


def test_a_directory_that_refuses_to_be_watched_is_walked_and_nothing_is_told() -> None:
    post = Post()
    post.guard.open(0.0)
    post.observers[0].error = PermissionError(errno.EACCES, "Permission denied")
    assert post.guard.watch(b"/root/x", b"x") is None
    assert post.polls == []


def test_every_directory_of_a_real_tree_can_be_watched(ear: Ear, tmp_path: Path, picture: Callable[..., bytes]) -> None:
    for number in range(50):
        (tmp_path / str(number)).mkdir()
        ear.observer.watch(os.fsencode(tmp_path / str(number)), b"%d" % number)
    for number in range(50):
        (tmp_path / str(number) / "new").mkdir()
    assert ear.hears(50) == {(b"%d" % number, b"new") for number in range(50)}
