"""The ledger is removed or replaced under the running daemon: nothing more is bought, and nothing is lost."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from rembg_watch.daemon import Daemon
from rembg_watch.errors import ExitCode, LedgerError
from rembg_watch.jobs import State
from rembg_watch.ledger import open_ledger
from rembg_watch.report import events
from rembg_watch.report.events import Event
from rembg_watch.sandbox import Sandbox
from tests.daemon.test_life import running, settings
from tests.life import KEY, Studio, eventually


@pytest.fixture
def studio(tmp_path: Path) -> Studio:
    return Studio.make(tmp_path, sandbox=Sandbox(KEY, engine="flat"))


def of(state: Path, *suffixes: str) -> list[Path]:
    return [state / f"ledger.db{suffix}" for suffix in suffixes]


def remove_all(state: Path) -> None:
    for path in of(state, "", "-wal", "-shm"):
        path.unlink()


def remove_file(state: Path) -> None:
    (state / "ledger.db").unlink()


def remove_log(state: Path) -> None:
    (state / "ledger.db-wal").unlink()


def replace(state: Path) -> None:
    """Put an older copy in its place, as a restored backup is."""
    shutil.copy(state / "ledger.db", state / "backup")
    remove_all(state)
    (state / "backup").rename(state / "ledger.db")


def move_folder(state: Path) -> None:
    state.rename(state.with_name("state-before"))
    state.mkdir()


WAYS = [remove_all, remove_file, remove_log, replace, move_folder]


def calls(studio: Studio) -> int:
    return sum(record.path == "/rmbg" for record in studio.sandbox.requests)


def is_lost(daemon: Daemon) -> bool:
    daemon.tick()
    return daemon.snapshot()["gate"]["reason"] == "ledger_lost"


@pytest.mark.parametrize("lose", WAYS)
def test_nothing_is_sent_without_the_ledger_that_would_remember_it(
    studio: Studio, lose: Callable[[Path], None]
) -> None:
    told: list[Event] = []
    studio.drop("a.jpg")
    with running(studio, settings(studio), told) as daemon:
        eventually(lambda: daemon.parts.ledger.counts()[State.DONE] == 1)
        lose(studio.root / "state")
        studio.drop("b.jpg", (1, 2, 3))  # at once: nobody has looked yet
        eventually(lambda: is_lost(daemon))
        eventually(lambda: daemon.parts.ledger.counts()[State.QUEUED] == 1)
        daemon.parts.try_everything()  # `retry` does not help
        eventually(lambda: is_lost(daemon))
        assert calls(studio) == 1
    assert len([one for one in told if isinstance(one, events.LedgerLost)]) == 1


def test_what_is_known_is_kept_in_a_copy_that_can_be_put_in_its_place(studio: Studio) -> None:
    state = studio.root / "state"
    for number in range(5):
        studio.drop(f"{number}.jpg", (number * 50, 9, 9))
    with running(studio, settings(studio)) as daemon:
        eventually(lambda: daemon.parts.ledger.counts()[State.DONE] == 5)
        remove_all(state)
        eventually(lambda: is_lost(daemon))
    (kept,) = state.glob("ledger.db.kept-*")
    kept.rename(state / "ledger.db")
    with open_ledger(state) as ledger:
        assert ledger.counts()[State.DONE] == 5
    with running(studio, settings(studio)) as daemon:
        assert daemon.run_once() is ExitCode.OK
    assert calls(studio) == 5


def test_no_new_ledger_is_begun_beside_the_copy(studio: Studio) -> None:
    studio.drop("a.jpg")
    with running(studio, settings(studio)) as daemon:
        eventually(lambda: daemon.parts.ledger.counts()[State.DONE] == 1)
        remove_all(studio.root / "state")
        eventually(lambda: is_lost(daemon))
    with (
        pytest.raises(LedgerError, match="holds all that it knew: give it that name"),
        running(studio, settings(studio)),
    ):
        pass
    assert calls(studio) == 1


def test_answers_under_way_are_delivered_and_written_into_the_copy(tmp_path: Path) -> None:
    studio = Studio.make(tmp_path, sandbox=Sandbox(KEY, engine="flat", latency_s=1.0))
    studio.drop("a.jpg")
    with running(studio, settings(studio)) as daemon:
        eventually(lambda: daemon.parts.ledger.counts()[State.SENDING] == 1)
        remove_all(studio.root / "state")
        eventually(lambda: is_lost(daemon))
        eventually(lambda: list(studio.outputs()) == ["a.webp"])
    (kept,) = (studio.root / "state").glob("ledger.db.kept-*")
    kept.rename(studio.root / "state/ledger.db")
    with open_ledger(studio.root / "state") as ledger:
        assert ledger.counts()[State.DONE] == 1


def test_a_ledger_that_is_put_back_is_gone_on_with(studio: Studio) -> None:
    told: list[Event] = []
    state = studio.root / "state"
    with running(studio, settings(studio), told) as daemon:
        (state / "ledger.db").rename(state / "elsewhere")
        eventually(lambda: is_lost(daemon))
        (state / "elsewhere").rename(state / "ledger.db")
        eventually(lambda: not is_lost(daemon))
        studio.drop("a.jpg")
        eventually(lambda: daemon.parts.ledger.counts()[State.DONE] == 1)
    assert [type(one) for one in told if isinstance(one, events.LedgerLost | events.LedgerBack)] == [
        events.LedgerLost,
        events.LedgerBack,
    ]


def test_once_ends_at_once_and_says_that_it_is_wrong(studio: Studio) -> None:
    studio.drop("a.jpg")
    with running(studio, settings(studio)) as daemon:
        remove_all(studio.root / "state")
        assert daemon.run_once() is ExitCode.CONFIG
    assert calls(studio) <= 1
