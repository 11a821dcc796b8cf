import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rembg_watch.paths import Folder
from rembg_watch.report import events
from rembg_watch.report.events import Event
from rembg_watch.watch import Pace, Watcher

WITHIN_S = 60


class Days:
    """Two folders watched by threads; every wait is for something that happens, not for time."""

    def __init__(self, directory: Path, ledger: Any) -> None:
        self.directory, self.ledger = directory, ledger
        self.events: list[Event] = []
        self.news = threading.Condition()
        for name in ("one", "two"):
            (directory / name).mkdir()
        self.folders = [Folder(name=name, input=directory / name, output=directory / "out") for name in ("one", "two")]
        self.watcher = Watcher(
            self.folders, ledger, Pace(settle_s=0.05, scan_interval_s=0.2, grace_s=0.1), report=self.hear
        )

    def hear(self, event: Event) -> None:
        with self.news:
            self.events.append(event)
            self.news.notify_all()

    def waits(self, kind: type[Event], count: int = 1) -> list[Any]:
        with self.news:
            assert self.news.wait_for(lambda: len(self.reported(kind)) >= count, WITHIN_S), self.events
            return self.reported(kind)

    def reported(self, kind: type[Event]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]


@pytest.fixture
def days(tmp_path: Path, studio: Any) -> Iterator[Days]:
    days = Days(tmp_path, studio.ledger)
    yield days
    assert days.watcher.stop()


def test_every_folder_is_watched_until_the_end(days: Days, picture: Callable[..., bytes]) -> None:
    (days.directory / "one" / "a.jpg").write_bytes(picture())
    days.watcher.start()
    days.waits(events.Enqueued)
    (days.directory / "two" / "b.jpg").write_bytes(picture())
    told = days.waits(events.Enqueued, 2)
    assert [(event.folder, event.count) for event in told] == [("one", 1), ("two", 1)]
    assert days.watcher.stop()
    (days.directory / "two" / "c.jpg").write_bytes(picture())
    assert not any(thread.name.startswith("watch ") for thread in threading.enumerate())
    assert sorted(days.ledger.names) == [b"a.jpg", b"b.jpg"]


def test_a_folder_that_is_away_holds_up_no_other(days: Days, picture: Callable[..., bytes]) -> None:
    (days.directory / "one").rmdir()
    days.watcher.start()
    days.waits(events.FolderOffline)
    (days.directory / "two" / "b.jpg").write_bytes(picture())
    days.waits(events.Enqueued)
    assert days.watcher.away == {"one"}


def test_a_ledger_that_cannot_be_written_is_told_once_and_waited_for(days: Days, picture: Callable[..., bytes]) -> None:
    days.ledger.is_broken = True
    (days.directory / "one" / "a.jpg").write_bytes(picture())
    days.watcher.start()
    told = days.waits(events.Mistake, 2)
    assert sorted(event.where for event in told) == ['the watch of folder "one"', 'the watch of folder "two"']
    days.ledger.is_broken = False
    days.waits(events.Enqueued)
    assert len(days.reported(events.Mistake)) == 2


def test_a_mistake_of_ours_is_told_and_does_not_end_the_watch(days: Days, picture: Callable[..., bytes]) -> None:
    broken = days.ledger.known
    days.ledger.known = lambda *_: [][1]
    (days.directory / "one" / "a.jpg").write_bytes(picture())
    days.watcher.start()
    days.waits(events.Mistake, 2)
    days.ledger.known = broken
    days.waits(events.Enqueued)


def test_turns_by_hand_end_at_rest(studio: Any, days: Days, picture: Callable[..., bytes]) -> None:
    now = 500.0
    watcher = Watcher(days.folders, days.ledger, Pace(mode="poll"), report=days.hear, clock=lambda: now)
    (days.directory / "one" / "a.jpg").write_bytes(picture())
    while not watcher.is_at_rest:
        now = max(now, watcher.tick(now))
    assert 503 <= now <= 504
    assert days.ledger.names == [b"a.jpg"]
    assert watcher.unsettled == 0
    assert watcher.away == frozenset()
    assert set(watcher.progress()) == {"one", "two"}
    assert watcher.progress()["one"] == pytest.approx(503)
    watcher.look_again("one", b"a.jpg")
    assert not watcher.is_at_rest
    assert watcher.stop()


def test_no_folders_are_no_mistake() -> None:
    watcher = Watcher([], None)  # type: ignore[arg-type]
    assert watcher.tick(0.0) == float("inf")
    watcher.start()
    assert watcher.stop()
