"""Folders that are away: in the place of each root nothing, or an empty folder; while it runs, and after a restart."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from rembg_watch.account.notes import RESUME
from rembg_watch.config import Settings
from rembg_watch.daemon import TRUST, Daemon
from rembg_watch.daemon.leftovers import remember_roots
from rembg_watch.delivery.roots import ROOTS
from rembg_watch.errors import ExitCode
from rembg_watch.host.disk import OutputUnavailableError
from rembg_watch.jobs import State
from rembg_watch.ledger import open_ledger
from rembg_watch.report import events
from rembg_watch.report.event import Event
from rembg_watch.report.screen import headline
from rembg_watch.report.status import Liveness
from rembg_watch.report.words import WallClock
from tests.life import KEY, Studio, eventually


@pytest.fixture
def studio(tmp_path: Path) -> Studio:
    return Studio.make(tmp_path)


def settings(studio: Studio, **changes: Any) -> Settings:
    root = studio.root
    folder = {"name": "f", "input": root / "in", "output": root / "out", "after": "move", "done": root / "done"}
    return Settings(
        state_dir=root / "state",
        api={"key": KEY, "url": "http://127.0.0.1/rmbg", "usage_url": "http://127.0.0.1/api/membership-usage"},
        watch={"settle_s": 0.05, "scan_interval_s": 0.2, "grace_s": 0.2},
        output={"free_space_reserve_mb": 0},
        folders=[folder | {"failed": root / "failed"} | changes],
    )


@contextmanager
def running(studio: Studio, told: list[Event] | None = None, **changes: Any) -> Iterator[Daemon]:
    report: Callable[[Event], None] = told.append if told is not None else events.nobody
    made = settings(studio, **changes)
    with Daemon(made, report=report, transport=studio.sandbox.transport(), clocks=studio.time.clocks()) as daemon:
        yield daemon


def names(root: Path) -> set[str]:
    return {path.name for path in root.rglob("*") if path.is_file()} if root.exists() else set()


def goes(studio: Studio, name: str, how: str) -> None:
    (studio.root / name).rename(studio.root / f"{name} elsewhere")
    if how == "bare":
        (studio.root / name).mkdir()


def comes_back(studio: Studio, name: str, how: str) -> None:
    if how == "bare":
        (studio.root / name).rmdir()  # nothing was put there
    assert not (studio.root / name).exists()
    (studio.root / f"{name} elsewhere").rename(studio.root / name)


def begin(studio: Studio, daemon: Daemon) -> None:
    """Use every folder: one picture is delivered and moved, one is refused and set aside."""
    studio.drop("first.jpg")
    (studio.root / "in/broken.png").write_text("no picture")
    eventually(lambda: names(studio.root / "done") == {"first.jpg"})
    eventually(lambda: "broken.png" in names(studio.root / "failed"))
    eventually(lambda: not daemon.parts.ledger.originals_left())


def is_delivered(studio: Studio, name: str) -> bool:
    return f"{name}.webp" in names(studio.root / "out") and f"{name}.jpg" in names(studio.root / "done")


@pytest.mark.parametrize("how", ["missing", "bare"])
@pytest.mark.parametrize("root", ["out", "done"])
@pytest.mark.parametrize("when", ["running", "restarted"])
def test_nothing_is_put_in_the_place_of_a_folder_that_is_away(studio: Studio, root: str, how: str, when: str) -> None:
    told: list[Event] = []
    with running(studio, told) as daemon:
        begin(studio, daemon)
        if when == "running":
            goes(studio, root, how)
            away_and_back(studio, daemon, root, how, told)
    if when == "restarted":
        goes(studio, root, how)
        with running(studio, told) as daemon:
            away_and_back(studio, daemon, root, how, told)
    assert studio.sandbox.billed == 2


def away_and_back(studio: Studio, daemon: Daemon, root: str, how: str, told: list[Event]) -> None:
    studio.drop("second.jpg", (1, 2, 3))
    if root == "out":
        eventually(lambda: any(isinstance(event, events.OutputBlocked) for event in told))
    else:
        eventually(lambda: any(isinstance(event, events.NotDisposed) for event in told))
        eventually(lambda: daemon.snapshot()["originals_left"] == 1)
        snapshot = daemon.snapshot()
        assert [folder["originals"] for folder in snapshot["folders"]] == [1]
        head = headline(snapshot, alive=Liveness.LIVE, clock=WallClock(daemon.clocks.now()))
        assert (head.word, "1 original waits" in head.sentence) == ("WAITING", True)
    assert names(studio.root / root) == set()
    assert (studio.root / "in/second.jpg").exists()
    comes_back(studio, root, how)
    eventually(lambda: is_delivered(studio, "second"))  # within 15 s of its own time
    eventually(lambda: not daemon.parts.ledger.originals_left())
    if root == "done":
        eventually(lambda: any(isinstance(event, events.OriginalsGo) for event in told))


@pytest.mark.parametrize("how", ["missing", "bare"])
@pytest.mark.parametrize("when", ["running", "restarted"])
def test_nothing_counts_as_deleted_in_an_input_that_is_away(studio: Studio, how: str, when: str) -> None:
    keep = {"after": "keep", "done": None}
    with running(studio, **keep) as daemon:
        studio.drop("first.jpg")
        studio.drop("a/deep.jpg", (4, 5, 6))
        eventually(lambda: daemon.parts.ledger.counts()[State.DONE] == 2)
        if when == "running":
            goes(studio, "in", how)
            eventually(lambda: daemon.parts.watcher.away)
            daemon.parts.watcher.look_again("f", b"first.jpg")
    if when == "restarted":
        goes(studio, "in", how)
    with running(studio, **keep) as daemon:
        eventually(lambda: daemon.parts.watcher.away)
        assert {job.gone_at for job in daemon.parts.ledger.jobs()} == {None}
        comes_back(studio, "in", how)
        eventually(lambda: not daemon.parts.watcher.away)
        studio.drop("second.jpg", (1, 2, 3))
        eventually(lambda: daemon.parts.ledger.counts()[State.DONE] == 3)
        assert {job.gone_at for job in daemon.parts.ledger.jobs()} == {None}
    assert studio.sandbox.billed == 3


@pytest.mark.parametrize("how", ["missing", "bare"])
def test_a_refused_picture_waits_for_the_failed_folder(studio: Studio, how: str) -> None:
    with running(studio) as daemon:
        begin(studio, daemon)
    goes(studio, "failed", how)
    with running(studio) as daemon:
        (studio.root / "in/worse.png").write_text("no picture either")
        eventually(lambda: daemon.snapshot()["originals_left"] == 1)
        assert names(studio.root / "failed") == set()
        comes_back(studio, "failed", how)
        eventually(lambda: "worse.png" in names(studio.root / "failed"))


@pytest.mark.parametrize("how", ["missing", "bare"])
def test_a_person_says_that_it_is_right_as_it_is(studio: Studio, how: str) -> None:
    with running(studio) as daemon:
        begin(studio, daemon)
    goes(studio, "out", how)
    goes(studio, "done", how)
    told: list[Event] = []
    with running(studio, told) as daemon:
        studio.drop("second.jpg", (1, 2, 3))
        eventually(lambda: any(isinstance(event, events.OutputBlocked) for event in told))
        daemon.parts.ports.roots.why_away(studio.root / "done")
        now = daemon.clocks.now().isoformat()
        daemon.parts.ledger.set_note(RESUME, now)
        daemon.tick()
        assert daemon.parts.ports.roots.why_away(studio.root / "out")  # that was about pictures
        daemon.parts.ledger.set_note(TRUST, {"folders": ["f"], "at": now})
        daemon.parts.ledger.set_note(RESUME, now)
        studio.time.pass_s(2)
        daemon.tick()
        eventually(lambda: is_delivered(studio, "second"))
    with running(studio) as daemon:
        studio.drop("third.jpg", (7, 2, 3))
        eventually(lambda: is_delivered(studio, "third"))


def test_once_leaves_the_work_waiting_and_pays_nothing(studio: Studio) -> None:
    with running(studio) as daemon:
        begin(studio, daemon)
    goes(studio, "out", "bare")
    studio.drop("second.jpg", (1, 2, 3))
    with running(studio) as daemon:
        assert daemon.run_once() is ExitCode.WAITING
    assert (studio.sandbox.billed, names(studio.root / "out")) == (1, set())


def test_after_a_version_that_remembered_no_folders_one_that_was_delivered_into_is_not_made_anew(
    studio: Studio,
) -> None:
    with running(studio) as daemon:
        begin(studio, daemon)
    with open_ledger(studio.root / "state") as ledger:
        ledger.set_note(ROOTS, None)
    goes(studio, "out", "missing")
    with running(studio) as daemon:
        assert not (studio.root / "out").exists()
        remember_roots(daemon.parts)
        comes_back(studio, "out", "missing")
        studio.drop("second.jpg", (1, 2, 3))
        eventually(lambda: is_delivered(studio, "second"))


def test_a_new_output_of_a_known_folder_is_made(studio: Studio) -> None:
    with running(studio) as daemon:
        begin(studio, daemon)
    with running(studio, output=studio.root / "new/out") as daemon:
        studio.drop("second.jpg", (1, 2, 3))
        eventually((studio.root / "new/out/second.webp").exists)


def test_once_does_not_wait_for_a_sub_folder_that_takes_nothing(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    studio.drop("sealed/x.jpg")
    studio.drop("good.jpg", (1, 2, 3))
    told: list[Event] = []
    with running(studio, told) as daemon:
        places = daemon.parts.ports.places
        source_in = places.source_in

        def sealed(output: Path, source: bytes, extension: str) -> bytes:
            if source.startswith(b"sealed/"):
                raise OutputUnavailableError("no right to write there", code="no_rights", path=output / "sealed")
            return source_in(output, source, extension)

        monkeypatch.setattr(places, "source_in", sealed)
        assert daemon.run_once() is ExitCode.WAITING
    assert (set(studio.outputs()), studio.sandbox.billed) == ({"good.webp"}, 1)
    (waits,) = [one for one in told if isinstance(one, events.WillRetry)]
    assert "no right to write there; nothing was sent, and it is tried again after " in waits.sentence()
