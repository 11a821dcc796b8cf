"""A new folder: what may have to wait for a person, what lets it go, and what is never held again."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rembg_watch.account.causes import Cause
from rembg_watch.daemon import Daemon, adoption
from rembg_watch.daemon.assembly import recipe_of
from rembg_watch.daemon.estimate import estimate
from rembg_watch.daemon.first_look import AGAIN, LET_GO, answer
from rembg_watch.errors import ExitCode
from rembg_watch.jobs import State
from rembg_watch.ledger import open_ledger
from rembg_watch.report import events
from rembg_watch.sandbox import Sandbox
from tests.daemon.test_life import running, settings
from tests.life import KEY, Studio, eventually


@pytest.fixture
def studio(tmp_path: Path) -> Studio:
    return Studio.make(tmp_path, sandbox=Sandbox(KEY, engine="flat"))


def asking(studio: Studio, above: int = 4, **changes: Any) -> Any:
    return settings(studio, credits={"ask_above": above}, **changes)


def drop(studio: Studio, count: int, *, first: int = 0, name: str = "{}.png") -> None:
    for number in range(first, first + count):
        studio.drop(name.format(number), (number, 9, 9), (40 + number, 30))


def calls(studio: Studio) -> int:
    return sum(record.path == "/rmbg" for record in studio.sandbox.requests)


def held(daemon: Daemon) -> Iterator[Cause]:
    return (hold.cause for hold in daemon.parts.governor.gate.folders)


def once(studio: Studio, made: Any, **options: Any) -> ExitCode:
    with running(studio, made, **options) as daemon:
        return daemon.run_once()


def test_a_new_folder_with_many_pictures_waits_and_is_let_go_by_its_name(studio: Studio) -> None:
    drop(studio, 5)
    for _ in range(2):  # and again at the next start
        with running(studio, asking(studio)) as daemon:
            assert daemon.run_once() is ExitCode.WAITING
            (folder,) = daemon.snapshot()["folders"]
            assert folder["state"] == "held"
            assert "5 pictures to be paid for, up to 5 credits, are more than credits.ask_above (4)" in folder["why"]
    assert calls(studio) == 0
    with open_ledger(studio.root / "state") as ledger:
        answer(ledger, ["f"], LET_GO)
    assert once(studio, asking(studio)) is ExitCode.OK
    assert calls(studio) == 5


@pytest.mark.parametrize(("count", "above"), [(4, 4), (5, 0), (0, 4)])
def test_few_pictures_or_no_limit_make_nobody_wait(studio: Studio, count: int, above: int) -> None:
    drop(studio, count)
    assert once(studio, asking(studio, above)) is ExitCode.OK
    assert calls(studio) == count


def test_who_agrees_beforehand_is_not_asked(studio: Studio) -> None:
    drop(studio, 5)
    assert once(studio, asking(studio), agrees=True) is ExitCode.OK
    assert calls(studio) == 5


def test_a_later_burst_is_not_held_nor_is_one_into_a_folder_that_was_empty(studio: Studio) -> None:
    with running(studio, asking(studio)) as daemon:
        eventually(lambda: "f" not in daemon.parts.watcher.shut)
        drop(studio, 6)
        eventually(lambda: daemon.parts.ledger.counts()[State.DONE] == 6)
    drop(studio, 7, first=10)
    assert once(studio, asking(studio)) is ExitCode.OK
    assert calls(studio) == 13


def test_a_running_daemon_obeys_and_other_folders_have_their_service(studio: Studio) -> None:
    (studio.root / "in2").mkdir()
    second = {"name": "g", "input": studio.root / "in2", "output": studio.root / "out2"}
    first = {"name": "f", "input": studio.root / "in", "output": studio.root / "out"}
    drop(studio, 5)
    shutil.copy(studio.root / "in/0.png", studio.root / "in2/other.png")
    with running(studio, asking(studio, folders=[first, second])) as daemon:
        eventually(lambda: daemon.parts.ledger.counts("g")[State.DONE] == 1)
        eventually(lambda: list(held(daemon)) == [Cause.BRAKE])
        daemon.parts.try_everything()  # a retry that does not name it, or a reload
        assert list(held(daemon)) == [Cause.BRAKE]
        assert calls(studio) == 1
        answer(daemon.parts.ledger, ["f"], LET_GO)
        eventually(lambda: (daemon.tick(), daemon.parts.ledger.counts("f")[State.DONE] == 5)[1])


def test_copies_that_cost_nothing_do_not_count(studio: Studio) -> None:
    drop(studio, 1)
    for number in range(9):
        shutil.copy(studio.root / "in/0.png", studio.root / f"in/copy-{number}.png")
    assert once(studio, asking(studio)) is ExitCode.OK
    assert calls(studio) == 1


def test_a_ledger_of_the_version_before_has_seen_its_folders(studio: Studio) -> None:
    drop(studio, 1)
    assert once(studio, asking(studio)) is ExitCode.OK
    with open_ledger(studio.root / "state") as ledger:
        ledger.set_note("first look at f", None)
    drop(studio, 9, first=1)
    assert once(studio, asking(studio)) is ExitCode.OK
    assert calls(studio) == 10


def test_an_end_in_the_middle_of_the_first_look_does_not_let_it_go(studio: Studio) -> None:
    drop(studio, 5)
    assert once(studio, asking(studio)) is ExitCode.WAITING  # all of them are in the ledger now
    drop(studio, 1, first=5)
    assert once(studio, asking(studio)) is ExitCode.WAITING
    assert calls(studio) == 0


def test_another_input_under_the_same_name_is_new(studio: Studio) -> None:
    drop(studio, 1)
    assert once(studio, asking(studio)) is ExitCode.OK
    (studio.root / "in").rename(studio.root / "elsewhere")
    moved = [{"name": "f", "input": studio.root / "elsewhere", "output": studio.root / "out"}]
    drop(studio, 6, first=1)
    for path in (studio.root / "in").iterdir():
        path.rename(studio.root / "elsewhere" / path.name)
    assert once(studio, asking(studio, folders=moved)) is ExitCode.WAITING
    assert calls(studio) == 1


def test_a_mount_point_that_was_empty_is_looked_at_again_when_the_mount_comes(studio: Studio) -> None:
    away = studio.root / "share"
    away.mkdir()
    with running(studio, asking(studio)) as daemon:
        eventually(lambda: "f" not in daemon.parts.watcher.shut)
        drop(studio, 5, name="../share/{}.png")
        (studio.root / "in").rename(studio.root / "point")
        away.rename(studio.root / "in")
        eventually(lambda: list(held(daemon)) == [Cause.BRAKE])
    assert calls(studio) == 0


def test_the_dry_run_says_what_would_wait_and_writes_nothing(studio: Studio) -> None:
    drop(studio, 5)
    found = estimate(asking(studio), transport=studio.sandbox.transport())
    assert (found.now, found.later) == (0, 5)
    assert "5 pictures to be paid for" in "".join(found.limits)
    assert not (studio.root / "state/ledger.db").exists()


# --- a new ledger beside cut-outs that stand ------------------------------------------------------


def deliver_by_another_ledger(studio: Studio, count: int, **changes: Any) -> int:
    drop(studio, count)
    assert once(studio, settings(studio, **changes)) is ExitCode.OK
    (studio.root / "state").rename(studio.root / "state-before")
    return calls(studio)


@pytest.mark.parametrize("form", ["webp", "png", "jpeg", "bmp"])
def test_a_new_ledger_pays_for_nothing_that_seems_to_be_delivered(studio: Studio, form: str) -> None:
    folder = {"name": "f", "input": studio.root / "in", "output": studio.root / "out", "options": {"format": form}}
    paid = deliver_by_another_ledger(studio, 6, folders=[folder])
    found = estimate(settings(studio), transport=studio.sandbox.transport())
    assert "6 of 6 pictures seem to be delivered already by another ledger" in "".join(found.limits)
    with running(studio, settings(studio)) as daemon:
        assert daemon.run_once() is ExitCode.WAITING
        assert list(held(daemon)) == [Cause.DELIVERED]
        assert "6 of 6 pictures seem to be delivered" in daemon.snapshot()["folders"][0]["why"]
    assert calls(studio) == paid


def restore_backup(studio: Studio, backup: Path) -> None:
    for path in (studio.root / "state").glob("ledger.db*"):
        path.unlink()
    shutil.copy(backup, studio.root / "state/ledger.db")


@pytest.mark.parametrize("is_let_go", [False, True])
def test_an_older_ledger_pays_for_nothing_that_was_delivered_after_it(
    studio: Studio, tmp_path: Path, is_let_go: bool
) -> None:
    drop(studio, 4)
    assert once(studio, asking(studio)) is ExitCode.OK
    if is_let_go:
        with open_ledger(studio.root / "state") as ledger:
            answer(ledger, ["f"], LET_GO)
    drop(studio, 2, first=10)
    assert once(studio, asking(studio)) is ExitCode.OK
    backup = tmp_path / "backup"
    shutil.copy(studio.root / "state/ledger.db", backup)
    drop(studio, 4, first=20)
    assert once(studio, asking(studio)) is ExitCode.OK
    paid = calls(studio)
    restore_backup(studio, backup)
    assert "4 of 4 pictures seem" in "".join(estimate(asking(studio), transport=studio.sandbox.transport()).limits)
    for _ in range(2):  # and again at the next start, which finds a status that fits the ledger
        told: list[events.Event] = []
        with running(studio, asking(studio), told=told) as daemon:
            assert daemon.run_once() is ExitCode.WAITING
            assert list(held(daemon)) == [Cause.DELIVERED]
    assert calls(studio) == paid
    with running(studio, asking(studio)) as daemon:
        ledger, ports = daemon.parts.ledger, daemon.parts.ports
        found = adoption.adoptable(ledger, recipe_of(asking(studio).folders[0], {}))
        assert adoption.adopt(ledger, found, ports.masters, ports.now()) == 4
    studio.drop("new.png", (1, 2, 3), (70, 30))
    assert once(studio, asking(studio)) is ExitCode.OK
    assert calls(studio) == paid + 1


def test_an_older_ledger_with_nothing_lacking_goes_on_and_that_is_told(studio: Studio, tmp_path: Path) -> None:
    drop(studio, 2)
    assert once(studio, asking(studio)) is ExitCode.OK
    shutil.copy(studio.root / "state/ledger.db", tmp_path / "backup")
    drop(studio, 1, first=5)
    assert once(studio, asking(studio)) is ExitCode.OK
    restore_backup(studio, tmp_path / "backup")
    (studio.root / "in/5.png").unlink()
    told: list[events.Event] = []
    drop(studio, 1, first=9)
    assert once(studio, asking(studio), told=told) is ExitCode.OK
    (back,) = [one for one in told if isinstance(one, events.LedgerSetBack)]
    assert "knows nothing of 1 call." in back.sentence()
    told.clear()
    assert once(studio, asking(studio), told=told) is ExitCode.OK
    assert not [one for one in told if isinstance(one, events.LedgerSetBack)]


def test_adopting_takes_them_over_and_the_rest_is_sent(studio: Studio) -> None:
    paid = deliver_by_another_ledger(studio, 6)
    drop(studio, 2, first=6)
    with running(studio, settings(studio)) as daemon:
        eventually(lambda: list(held(daemon)) == [Cause.DELIVERED])
        ledger, ports = daemon.parts.ledger, daemon.parts.ports
        found = adoption.adoptable(ledger, recipe_of(settings(studio).folders[0], {}))
        assert (found.pictures, len(found.found)) == (8, 6)
        assert adoption.adopt(ledger, found, ports.masters, ports.now()) == 6
        answer(ledger, ["f"], AGAIN)
        eventually(lambda: (daemon.tick(), ledger.counts("f")[State.DONE] == 8)[1])
    assert calls(studio) == paid + 2
    studio.drop("0.png", (77, 77, 77))  # a re-export replaces what was taken over
    assert once(studio, settings(studio)) is ExitCode.OK
    assert len(studio.outputs()) == 8
    assert calls(studio) == paid + 3


def test_retry_sends_them(studio: Studio) -> None:
    paid = deliver_by_another_ledger(studio, 3)
    assert once(studio, settings(studio)) is ExitCode.WAITING
    with open_ledger(studio.root / "state") as ledger:
        answer(ledger, ["f"], LET_GO)
    assert once(studio, settings(studio)) is ExitCode.OK
    assert calls(studio) == 2 * paid


@pytest.mark.parametrize(("alike", "others"), [(1, 0), (2, 0), (2, 10), (4, 9)])
def test_a_handful_of_coincidences_holds_nothing(studio: Studio, alike: int, others: int) -> None:
    drop(studio, alike + others)
    for number in range(alike):
        (studio.root / f"out/{number}.webp").write_bytes(b"somebody's own")
    assert once(studio, settings(studio)) is ExitCode.OK
    assert calls(studio) == alike + others


def test_older_files_and_other_names_are_no_cutouts(studio: Studio) -> None:
    drop(studio, 6)
    for number in range(6):
        (studio.root / f"out/{number}.webp").write_bytes(b"older")
        os.utime(studio.root / f"out/{number}.webp", (1_000, 1_000))
        (studio.root / f"out/x{number}.webp").write_bytes(b"another")
    assert once(studio, settings(studio)) is ExitCode.OK
    assert calls(studio) == 6
