"""A share that neither answers nor fails stops its own folder, and nobody else."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from rembg_watch.host.disk import version_of
from rembg_watch.jobs import State
from rembg_watch.ledger import Turn
from rembg_watch.pipeline import shares as module
from rembg_watch.pipeline import source
from rembg_watch.pipeline.shares import HUNG_S, Shares
from rembg_watch.pipeline.threads import MOST_FOR_ONE, Pulse, ThreadGroup
from tests.life import Life, Studio, eventually


class Now:
    def __init__(self) -> None:
        self.s = 0.0

    def __call__(self) -> float:
        return self.s


# --- who waits for what -------------------------------------------------------------------------


def test_a_folder_hangs_while_one_touch_of_its_disk_takes_too_long() -> None:
    now = Now()
    shares = Shares(now)
    with shares.touching("a") as moved:
        assert shares.hung() == {}
        now.s += HUNG_S + 1
        assert shares.hung() == {"a": HUNG_S + 1}
        assert shares.is_hung("a")
        assert not shares.is_hung("b")
        moved()
        assert shares.hung() == {}
        now.s += HUNG_S + 1
    assert shares.hung() == {}


def test_a_touch_within_a_touch_belongs_to_its_own_folder() -> None:
    now = Now()
    shares = Shares(now)
    with shares.touching("a"):
        with shares.touching("b"):
            now.s += HUNG_S + 1
            assert set(shares.hung()) == {"b"}
        assert shares.hung() == {}, "the disk of a has moved: it was come back to"
        now.s += HUNG_S + 1
        assert set(shares.hung()) == {"a"}


# --- threads ------------------------------------------------------------------------------------


@contextmanager
def group(size: int, gate: threading.Event, done: list[int]) -> Iterator[tuple[ThreadGroup[int], set[int]]]:
    """A group in which odd items wait for *gate*; the threads that do are the lost ones."""
    lost: set[int] = set()

    def take(item: int, beat: Callable[[], None]) -> None:
        del beat
        if item % 2:
            lost.add(threading.get_ident())
            gate.wait(60)
            lost.discard(threading.get_ident())
        done.append(item)

    threads = ThreadGroup("one", size, take, Pulse(), None, is_lost=lambda thread: thread in lost)
    threads.start()
    yield threads, lost
    gate.set()
    threads.close()
    eventually(lambda: threads.join(0.1))


def test_others_do_the_work_of_lost_threads_and_are_gone_when_those_come_back() -> None:
    gate, done = threading.Event(), list[int]()
    with group(2, gate, done) as (threads, lost):
        for item in (1, 3, 2, 4):
            threads.put(item)
        eventually(lambda: len(lost) == 2)
        assert done == []
        threads.replace_lost()
        eventually(lambda: sorted(done) == [2, 4])
        gate.set()
        for item in range(6, 20, 2):
            threads.put(item)
        eventually(lambda: len(done) == 11 and sum(one.is_alive() for one in threads._threads) == 2)


def test_there_are_never_more_than_a_few_times_as_many() -> None:
    gate, done = threading.Event(), list[int]()
    with group(2, gate, done) as (threads, lost):
        for item in range(1, 99, 2):
            threads.put(item)
        for _ in range(20):
            eventually(lambda: len(lost) == sum(one.is_alive() for one in threads._threads))
            threads.replace_lost()
        assert len(threads._threads) == MOST_FOR_ONE * 2


def test_whoever_waits_for_the_end_does_not_wait_for_the_lost() -> None:
    gate, done = threading.Event(), list[int]()
    with group(2, gate, done) as (threads, lost):
        threads.put(1)
        eventually(lambda: len(lost) == 1)
        threads.close()
        eventually(lambda: threads.join(0.05))
        assert done == []


# --- folders ------------------------------------------------------------------------------------


class Disk:
    """Lets whoever touches a path below one directory wait, until it answers again."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, below: Path) -> None:
        self.answers = threading.Event()
        self.below = str(below)
        honest = source.measure

        def measure(path: Path, *rest: object, **options: object) -> object:
            self._wait(path)
            return honest(path, *rest, **options)  # type: ignore[arg-type]

        monkeypatch.setattr(source, "measure", measure)

    def _wait(self, path: Path) -> None:
        if str(path).startswith(self.below):
            assert self.answers.wait(60)


@pytest.fixture
def two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Studio, Life, Disk]]:
    """A folder that is well, and one below "sick" whose input does not answer."""
    monkeypatch.setattr(module, "HUNG_S", 0.5 * 20)  # on clocks that go 20 times as fast
    studio = Studio.make(tmp_path)
    for name in ("sick", "sick-out"):
        (tmp_path / name).mkdir()
    disk = Disk(monkeypatch, tmp_path / "sick/")
    disk.below = str(tmp_path / "sick") + "/"
    with studio.live() as life:
        sick = replace(studio.recipe, name="sick", input=tmp_path / "sick", output=tmp_path / "sick-out")
        life.change(recipes={"f": studio.recipe, "sick": sick})
        yield studio, life, disk
        disk.answers.set()


def drop(studio: Studio, life: Life, folder: str, names: list[str]) -> None:
    root = studio.root / ("in" if folder == "f" else "sick")
    for number, name in enumerate(names):
        Image.new("RGB", (40, 30), (number * 20, 90, len(folder) * 9)).save(root / name)
    life.ledger.add(folder, [(name.encode(), version_of((root / name).stat())) for name in names], life.ports.now())


def test_a_hung_input_stops_its_own_folder_alone(two: tuple[Studio, Life, Disk]) -> None:
    studio, life, disk = two
    drop(studio, life, "sick", [f"{number}.png" for number in range(12)])
    drop(studio, life, "f", [f"{number}.png" for number in range(12)])
    life.pool.start()

    def helped(until: Callable[[], object]) -> None:
        def is_so() -> object:
            life.pool.replace_lost()
            return until()

        eventually(is_so)

    helped(lambda: life.ledger.counts("f")[State.DONE] == 12)
    assert life.ledger.counts("sick")[State.DONE] == 0
    assert set(life.ports.shares.hung()) == {"sick"}
    assert studio.sandbox.billed == 12, "nothing is bought for it meanwhile"
    disk.answers.set()
    helped(lambda: life.ledger.counts("sick")[State.DONE] == 12)
    assert studio.sandbox.billed == 24
    life.pool.stop()


def test_the_end_of_the_program_does_not_wait_for_a_hung_share(two: tuple[Studio, Life, Disk]) -> None:
    studio, life, _ = two
    drop(studio, life, "sick", ["1.png", "2.png", "3.png"])
    life.pool.start()
    eventually(lambda: life.ports.shares.hung())
    life.pool.stop()
    assert life.ledger.counts("sick")[State.QUEUED] == 3
    assert [job.source for job in life.ledger.claim(9, at=life.ports.now(), run_id="t", turns=[Turn("sick")])]
