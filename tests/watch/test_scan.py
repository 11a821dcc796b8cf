import os
import shutil
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from rembg_watch.jobs import Version
from rembg_watch.passed_over import Passed, Why
from rembg_watch.paths import Folder
from rembg_watch.watch.scan import RACY_S, Scan
from rembg_watch.watch.schedule import DUTY, LONGEST_S, Walk
from rembg_watch.watch.settle import FileStat
from rembg_watch.watch.tally import Counted

INTERVAL_S = 30.0


def unwatched(scan: Scan) -> int:
    """How many directories nobody tells us of."""
    return sum(one.descriptor is None for one in scan._directories.values())


class World:
    """Everything that a scan asks and tells, a folder, and two clocks that are turned by hand."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.now = 1000.0
        self.spent = 0.0
        self.look_costs_s = 0.5  # so that deep walks are rarer than quick ones
        self.ledger: dict[bytes, Version] = {}
        self.asked: list[bytes] = []
        self.finds: list[bytes] = []
        self.lost: list[bytes] = []
        self.passed: list[bytes] = []
        self.reasons: dict[bytes, str] = {}
        self.counts: dict[bytes, dict[Passed, int]] = {}
        self.watched: dict[bytes, int] = {}
        self.is_watching = self.is_shared = False
        self.error: Exception | None = None
        self.wall_s = 0.0
        self.scan = Scan(
            Folder(name="c", input=PurePosixPath(root), output=PurePosixPath("/out"), exclude=("skip/**",)),
            os.fsencode(root),
            self,
            interval_s=INTERVAL_S,
            clock=lambda: self.now + self.spent,
            wall_s=lambda: self.wall_s,
        )

    def known(self, directory: bytes) -> Mapping[bytes, Version]:
        if self.error:
            raise self.error
        self.asked.append(directory)
        self.spent += self.look_costs_s
        parted = {source: version for source, version in self.ledger.items() if parent(source) == directory}
        return {source.rpartition(b"/")[2]: version for source, version in parted.items()}

    def parents(self) -> list[bytes]:
        return sorted({parent(source) for source in self.ledger})

    def seen(self, source: bytes, found: FileStat) -> None:
        self.finds.append(source)

    def passed_over(self, source: bytes, one: Passed) -> None:
        self.passed.append(source)

    def counted(self, directory: bytes, found: Counted) -> None:
        self.counts[directory] = dict(found.counts)
        self.passed += [source for source, _ in found.examples]

    def uncounted(self, directory: bytes) -> None:
        self.counts.pop(directory, None)

    def missing(self, sources: list[bytes]) -> None:
        self.lost += sources
        for source in sources:
            self.ledger.pop(source, None)

    def blocked(self, directory: bytes, reason: str) -> None:
        if reason:
            self.reasons[directory] = reason
        else:
            self.reasons.pop(directory, None)

    def watch(self, path: bytes, directory: bytes) -> int | None:
        if not self.is_watching:
            return None
        self.watched[directory] = len(self.watched) + 1
        return self.watched[directory]

    def unwatch(self, descriptor: int, directory: bytes) -> None:
        assert self.watched.pop(directory) == descriptor

    def hides_changes(self, path: bytes) -> bool:
        return self.is_shared

    def drop(self, name: str, *, is_known: bool = False) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * (len(name) + 1))
        if is_known:
            self.knows(name)
        self.age(path.parent)
        return path

    def knows(self, name: str) -> None:
        found = (self.root / name).stat()
        self.ledger[os.fsencode(name)] = Version(
            size_bytes=found.st_size, mtime_ns=found.st_mtime_ns, inode=found.st_ino
        )

    def age(self, path: Path) -> None:
        """Give a directory a time that it never had, so that nothing hangs on the ticks of this disk's clock."""
        World.moment += 10**9
        os.utime(path, ns=(World.moment, World.moment))

    moment = 10**18

    def walk(self) -> Walk:
        """Walk until a walk ends."""
        for _ in range(1000):
            self.now = max(self.now, self.scan.next_s())
            walk = self.scan.step(self.now, 0.1)
            if walk is not None:
                return walk
        raise AssertionError("the walk never ends")

    def settles(self) -> None:
        """Walk deep, and then once more so that every directory's time can be trusted."""
        self.walk()
        self.now += RACY_S
        self.walk()
        self.asked.clear()
        self.finds.clear()


def parent(source: bytes) -> bytes:
    return source.rpartition(b"/")[0]


@pytest.fixture
def world(tmp_path: Path) -> World:
    root = tmp_path / "in"
    root.mkdir()
    return World(root)


def test_the_first_walk_is_deep_and_finds_what_the_ledger_does_not_know(world: World) -> None:
    world.drop("a.jpg", is_known=True)
    world.drop("b.jpg")
    world.drop("sub/c.jpg")
    world.drop("skip/d.jpg")
    assert world.scan.next_s() < 0
    walk = world.walk()
    assert (walk.is_deep, walk.because, walk.files) == (True, "start", 3)
    assert sorted(world.finds) == [b"b.jpg", b"sub/c.jpg"]
    assert world.scan.is_complete
    assert world.scan.is_proved
    assert len(world.scan) == 2


def test_a_quick_walk_enters_only_directories_that_changed(world: World) -> None:
    for number in range(4):
        world.drop(f"{number}/a.jpg", is_known=True)
    world.settles()
    world.drop("2/b.jpg")
    assert world.walk().is_deep is False
    assert world.asked == [b"2"]
    assert world.finds == [b"2/b.jpg"]


def test_a_directory_that_changed_just_before_the_look_is_looked_at_again(world: World) -> None:
    """Two changes within one tick of the disk's clock leave the same time."""
    world.drop("a.jpg", is_known=True)
    world.walk()
    found = world.root.stat()
    (world.root / "b.jpg").write_bytes(b"x")
    os.utime(world.root, ns=(found.st_mtime_ns, found.st_mtime_ns))
    world.now += RACY_S
    world.walk()
    assert world.finds == [b"b.jpg"]
    world.asked.clear()
    world.walk()
    assert world.asked == []


def test_a_directory_whose_time_is_long_past_is_trusted_at_once(world: World) -> None:
    world.drop("a.jpg", is_known=True)
    world.wall_s = world.root.stat().st_mtime + RACY_S
    world.walk()
    world.asked.clear()
    assert world.walk().is_deep is False
    assert world.asked == []


def test_a_file_rewritten_in_place_waits_for_the_deep_walk(world: World) -> None:
    path = world.drop("a.jpg", is_known=True)
    world.settles()
    path.write_bytes(b"longer than it was")
    assert not world.walk().is_deep
    assert world.finds == []
    while not world.walk().is_deep:
        pass
    assert world.finds == [b"a.jpg"]


@pytest.mark.parametrize(
    ("cost_s", "pause_s"), [(0.0, INTERVAL_S), (0.01, INTERVAL_S), (1.0, 1 / DUTY), (100.0, LONGEST_S)]
)
def test_deep_walks_take_a_small_share_of_the_time_and_come_often_enough(
    world: World, cost_s: float, pause_s: float
) -> None:
    world.drop("a.jpg", is_known=True)
    world.look_costs_s = cost_s
    world.walk()
    begin = world.now
    while not world.walk().is_deep:
        pass
    assert world.now - begin == pytest.approx(pause_s, rel=0.1, abs=INTERVAL_S)


def test_looking_at_what_changed_does_not_delay_the_next_quick_walk(world: World) -> None:
    world.drop("a.jpg", is_known=True)
    world.settles()
    world.look_costs_s = 5.0
    world.drop("b.jpg")
    world.walk()
    assert world.asked == [b""]
    assert world.scan.next_s() == world.now + INTERVAL_S


def test_a_large_directory_in_use_is_not_looked_through_for_every_notice(world: World) -> None:
    world.is_watching = True
    world.drop("a.jpg", is_known=True)
    world.drop("b/b.jpg", is_known=True)
    world.settles()
    begin = world.now
    while not world.asked:
        world.drop("c.jpg")
        assert not world.walk().is_deep
    assert world.now - begin >= 0.5 / DUTY - INTERVAL_S


def test_a_shared_file_system_is_compared_by_names(world: World) -> None:
    world.is_shared = world.is_watching = True
    world.drop("a.jpg", is_known=True)
    world.drop("sub/b.jpg", is_known=True)
    world.settles()
    times = world.root.stat()
    world.drop("c.jpg")
    os.utime(world.root, ns=(times.st_atime_ns, times.st_mtime_ns))
    world.age(world.root / "sub")
    world.walk()
    assert world.asked == [b""]
    assert world.finds == [b"c.jpg"]
    assert world.watched == {}
    assert world.scan.is_shared(b"")
    assert world.scan.is_shared(b"unknown")


def test_a_picture_replaced_by_renaming_is_found_by_its_inode_on_a_shared_file_system(world: World) -> None:
    world.is_shared = True
    world.drop("a.jpg", is_known=True)
    world.settles()
    times = world.root.stat()
    (world.root / "other").write_bytes(b"new bytes")
    (world.root / "other").rename(world.root / "a.jpg")
    os.utime(world.root, ns=(times.st_atime_ns, times.st_mtime_ns))
    world.walk()
    assert world.finds == [b"a.jpg"]


def test_a_walk_goes_on_in_slices(world: World) -> None:
    for number in range(10):
        world.drop(f"{number}/a.jpg")
    world.look_costs_s = 0.06
    steps = 0
    while world.scan.step(world.now, 0.1) is None:
        steps += 1
        assert not world.scan.is_idle
    assert steps >= 4
    assert len(world.finds) == 10
    assert world.scan.is_idle


def test_a_ledger_that_is_away_makes_no_walk_skip_a_directory(world: World) -> None:
    for number in range(3):
        world.drop(f"{number}/a.jpg")
    world.scan.step(world.now, -1)
    for _ in range(5):
        world.error = RuntimeError("no ledger")
        with pytest.raises(RuntimeError):
            world.scan.step(world.now, 10)
        world.error = None
        world.scan.step(world.now, -1)
    world.walk()
    assert sorted(set(world.finds)) == [b"0/a.jpg", b"1/a.jpg", b"2/a.jpg"]


def test_what_is_missing_is_told_where_something_known_stands(world: World) -> None:
    world.drop("a.jpg", is_known=True)
    world.drop("b.jpg", is_known=True).unlink()
    world.walk()
    assert world.lost == [b"b.jpg"]


def test_nothing_is_missing_where_nothing_known_stands(world: World) -> None:
    world.drop("a.jpg", is_known=True).unlink()
    world.drop("stranger.jpg")
    world.walk()
    world.age(world.root)
    world.walk()
    assert world.lost == []


def test_an_empty_directory_that_never_held_anything_may_be_a_disk_that_is_not_mounted(world: World) -> None:
    world.drop("stays.jpg", is_known=True)
    for name in ("card/a.jpg", "card/deep/b.jpg"):
        world.drop(name, is_known=True)
    shutil.rmtree(world.root / "card")
    (world.root / "card").mkdir()
    world.settles()
    world.age(world.root / "card")
    world.walk()
    assert world.lost == []


def test_a_directory_that_was_emptied_is_told(world: World) -> None:
    world.drop("stays.jpg", is_known=True)
    path = world.drop("sub/a.jpg", is_known=True)
    world.settles()
    path.unlink()
    world.age(world.root / "sub")
    world.walk()
    assert world.lost == [b"sub/a.jpg"]


def test_a_known_file_that_became_a_directory_is_missing(world: World) -> None:
    world.drop("a.jpg", is_known=True)
    world.drop("b.jpg", is_known=True).unlink()
    (world.root / "b.jpg").mkdir()
    world.walk()
    assert world.lost == [b"b.jpg"]


def test_directories_that_went_away_before_the_start_are_asked_for(world: World) -> None:
    world.drop("stays/a.jpg", is_known=True)
    gone = world.drop("went/deep/b.jpg", is_known=True)
    world.drop("skip/c.jpg", is_known=True)
    shutil.rmtree(gone.parent.parent)
    world.walk()
    assert world.lost == [b"went/deep/b.jpg"]


def test_a_directory_with_all_below_it_is_forgotten_when_it_goes(world: World) -> None:
    world.is_watching = True
    world.drop("stays.jpg", is_known=True)
    for name in ("tree/a.jpg", "tree/deep/b.jpg"):
        world.drop(name, is_known=True)
    world.settles()
    shutil.rmtree(world.root / "tree")
    world.age(world.root)
    world.walk()
    assert sorted(world.lost) == [b"tree/a.jpg", b"tree/deep/b.jpg"]
    assert set(world.watched) == {b""}
    assert len(world.scan) == 1


def test_a_directory_in_the_place_of_another_on_the_same_disk_means_that_the_other_is_gone(world: World) -> None:
    world.drop("stays.jpg", is_known=True)
    world.drop("disk/deep/a.jpg", is_known=True)
    world.settles()
    (world.root / "disk").rename(world.root.parent / "away")
    (world.root / "disk").mkdir()
    world.walk()
    assert world.lost == [b"disk/deep/a.jpg"]


def test_pictures_that_cannot_be_sent_are_told_of_however_they_are_found(world: World) -> None:
    for name in ("a.tif", "b.heic", "._c.tif", "d.txt"):
        world.drop(name)
    world.walk()
    assert sorted(world.passed) == [b"._c.tif", b"a.tif", b"b.heic", b"d.txt"]
    world.scan.look_at(b"", {b"a.tif", b"d.txt"})
    assert sorted(world.passed[4:]) == [b"a.tif", b"d.txt"]
    assert world.finds == []


def test_notices_of_names_are_looked_at_one_by_one(world: World) -> None:
    for name in ("a.jpg", "b.jpg", "skip/c.jpg", "note.txt"):
        world.drop(name)
    world.settles()
    (world.root / "b.jpg").unlink()
    names = {b"a.jpg", b"b.jpg", b"skip", b"note.txt", b".a.jpg.x", b"never.jpg", b"never.txt"}
    world.scan.look_at(b"", names)
    assert world.finds == [b"a.jpg"]
    assert sorted(world.lost) == [b"b.jpg", b"never.jpg"]
    assert world.asked == []
    assert world.scan.is_idle


def test_a_notice_of_too_many_names_means_the_whole_directory(world: World) -> None:
    world.drop("sub/a.jpg", is_known=True)
    world.settles()
    world.drop("sub/b.jpg")
    world.scan.look_at(b"sub", None)
    world.scan.look_at(b"unknown", None)
    world.scan.step(world.now, 1)
    assert world.asked == [b"sub"]
    assert world.finds == [b"sub/b.jpg"]


def test_a_notice_of_a_directory_brings_all_that_is_below_it(world: World) -> None:
    world.is_watching = True
    world.settles()
    world.drop("new/deep/a.jpg")
    world.scan.look_at(b"", {b"new"})
    world.scan.step(world.now, 1)
    assert world.finds == [b"new/deep/a.jpg"]
    assert set(world.watched) == {b"", b"new", b"new/deep"}


def test_a_directory_is_watched_before_it_is_read(world: World) -> None:
    class Late(World):
        def watch(self, path: bytes, directory: bytes) -> int | None:
            self.drop("late.jpg")  # what comes before the watch is there cannot be noticed
            return 1

    late = Late(world.root)
    late.walk()
    assert late.finds == [b"late.jpg"]


def test_a_directory_that_is_no_longer_watched_is_looked_at_and_watched_again(world: World) -> None:
    world.is_watching = True
    world.drop("sub/a.jpg", is_known=True)
    world.settles()
    world.watched.pop(b"sub")
    world.scan.lose_watch(b"sub")
    world.scan.lose_watch(b"unknown")
    world.scan.step(world.now, 1)
    assert b"sub" in world.watched


def test_a_deep_walk_on_demand_waits_for_the_one_under_way_and_rests_after_it(world: World) -> None:
    world.drop("a.jpg", is_known=True)
    world.look_costs_s = 1.0
    world.walk()
    for _ in range(3):
        world.scan.schedule.ask_deep("overflow", world.now)
    assert world.scan.next_s() == pytest.approx(world.now + 4, abs=0.2)
    walk = world.walk()
    assert (walk.is_deep, walk.because) == (True, "overflow")
    assert world.scan.next_s() > world.now + 4


def test_an_overflow_during_a_deep_walk_brings_another_one(world: World) -> None:
    for number in range(3):
        world.drop(f"{number}/a.jpg", is_known=True)
    world.scan.step(world.now, -1)
    world.scan.schedule.ask_deep("overflow", world.now)
    assert world.walk().because == "start"
    assert world.walk().because == "overflow"


def test_a_restart_trusts_nothing_of_before(world: World) -> None:
    world.drop("a.jpg", is_known=True)
    world.settles()
    world.scan.restart("back")
    assert not world.scan.is_complete
    assert not world.scan.is_proved
    walk = world.walk()
    assert (walk.is_deep, walk.because, world.asked) == (True, "back", [b""])


def test_a_root_that_is_gone_or_no_directory_deletes_nothing(world: World) -> None:
    path = world.drop("a.jpg", is_known=True)
    world.settles()
    path.unlink()
    world.root.rmdir()
    world.walk()
    world.root.write_bytes(b"")
    world.scan.restart("back")
    world.walk()
    assert world.lost == []
    assert len(world.scan) == 0


def test_links_are_passed_over_wherever_they_lead(world: World) -> None:
    world.drop("real/a.jpg", is_known=True)
    for name, target in {
        "a.jpg": "real/a.jpg",
        "tree": "real",
        "dead.jpg": "nowhere",
        "x.txt": "y",
        ".t": "real",
    }.items():
        (world.root / name).symlink_to(target)
    world.walk()
    assert world.finds == []
    assert world.counts[b""] == {
        Passed(Why.LINK, ".jpg"): 2,
        Passed(Why.LINK, ""): 1,
        Passed(Why.LINK, ".txt"): 1,
        Passed(Why.NAME, "hidden"): 1,
    }
    world.passed.clear()
    world.scan.look_at(b"", {b"tree", b"x.txt", b".t"})
    assert sorted(world.passed) == [b"tree", b"x.txt"]


def test_how_many_directories_are_not_watched_is_known(world: World) -> None:
    world.drop("sub/a.jpg")
    world.walk()
    assert unwatched(world.scan) == 2


def test_only_so_much_is_remembered_as_there_are_directories(world: World) -> None:
    """A hundred thousand files need no memory once they were looked at."""
    for number in range(300):
        world.drop(f"{number % 3}/{number}.jpg", is_known=True)
    world.settles()
    remembered: list[Any] = [one for record in world.scan._directories.values() for one in record.children]
    assert sorted(remembered) == [b"0", b"1", b"2"]
