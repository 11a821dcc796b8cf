"""Nothing is bought that cannot be delivered: folders in the way of files, files in the way of folders."""

import os
import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from rembg_watch.host.disk import OutputUnavailableError
from rembg_watch.jobs import State
from rembg_watch.pipeline.values import Blocked, Over
from tests.life import Studio, Time


@pytest.fixture
def studio(tmp_path: Path) -> Studio:
    return Studio.make(tmp_path)


def test_a_folder_named_like_a_cutout_gets_another_name_and_each_picture_costs_one_credit(studio: Studio) -> None:
    studio.drop("look1.jpg")
    with studio.live() as life:
        life.find()
        life.work()
    for number in range(10):
        studio.drop(f"look1.webp/{number}.jpg", (20 * number, 7, 7))
    with studio.live() as life:
        life.find()
        life.work()
        assert set(life.states().values()) == {State.DONE}
    assert studio.sandbox.billed == 11
    assert set(studio.outputs()) == {"look1.webp", *(f"look1.webp.2/{number}.webp" for number in range(10))}


def test_a_cutout_named_like_a_folder_gets_another_name(studio: Studio) -> None:
    studio.drop("look1.webp/x.jpg")
    with studio.live() as life:
        life.find()
        life.work()
    studio.drop("look1.jpg", (1, 2, 3))
    with studio.live() as life:
        life.find()
        life.work()
    assert set(studio.outputs()) == {"look1.webp/x.webp", "look1.jpg.webp"}
    assert studio.sandbox.billed == 2


def test_a_file_that_came_into_the_way_after_the_call_costs_nothing_more(studio: Studio) -> None:
    studio.drop("a/x.jpg")

    def obstruct(step: str) -> bool:
        if step == "received":
            (studio.root / "out/a").rmdir()
            (studio.root / "out/a").touch()
        return False

    studio.die_at = obstruct
    with studio.live() as life:
        life.find()
        life.work()
        assert life.states() == {"a/x.jpg": State.DONE}
    assert set(studio.outputs()) == {"a", "a.2/x.webp"}
    assert studio.sandbox.billed == 1


def refuse(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.open

    def choosy(path: object, flags: int, *more: int, **where: int) -> int:
        if isinstance(path, bytes) and b"?" in path and flags & os.O_CREAT:
            raise OSError(22, "Invalid argument")
        return real(path, flags, *more, **where)  # type: ignore[call-overload]

    monkeypatch.setattr(os, "open", choosy)


def test_a_name_that_the_disk_refuses_waits_at_no_cost_with_a_reason(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    studio.drop("what?.jpg")
    studio.drop("good.jpg", (1, 2, 3))
    refuse(studio, monkeypatch)
    with studio.live() as life:
        life.find()
        ended = life.work()
        assert all(isinstance(one, Over) for one in ended)
        waiting = life.ledger.find("f", b"what?.jpg")
        assert waiting is not None
        assert (waiting.state, waiting.code) == (State.QUEUED, "name_refused")
        assert "rename the source" in str(waiting.reason)
        assert life.states()["good.jpg"] is State.DONE
    assert studio.sandbox.billed == 1
    monkeypatch.undo()  # a person has seen to it, and starts again
    with studio.live() as later:
        later.recover()
        later.work()
        assert later.states()["what?.jpg"] is State.DONE
    assert studio.sandbox.billed == 2


def test_a_picture_that_was_sent_waits_for_its_turn_after_a_restart_too(studio: Studio) -> None:
    studio.time = Time()
    studio.drop("a.jpg")
    with studio.live() as life:
        life.find()
        studio.sandbox.add_fault("garbage", count=1)
        life.work()
        assert life.states() == {"a.jpg": State.QUEUED}
    with studio.live() as later:
        later.recover()
        later.work()
        assert later.states() == {"a.jpg": State.QUEUED}


def test_an_output_that_went_away_blocks_its_folder_before_the_call(studio: Studio) -> None:
    studio.drop("a/x.jpg")
    with studio.live() as life:
        life.find()
        (studio.root / "out").rename(studio.root / "gone")
        [job] = life.claim()
        found = life.process(job)
        assert isinstance(found, Blocked)
        assert (found.path, found.code) == (studio.root / "out", "missing")
    assert studio.sandbox.billed == 0


def test_a_sub_folder_that_takes_nothing_waits_alone(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    studio.drop("sealed/x.jpg")
    studio.drop("good.jpg", (1, 2, 3))
    (studio.root / "out/sealed").mkdir()
    with studio.live() as life:
        life.find()
        source_in = life.ports.places.source_in

        def sealed(output: Path, source: bytes, extension: str) -> bytes:
            if source.startswith(b"sealed/"):
                raise OutputUnavailableError("read-only", code="read_only", path=output / "sealed")
            return source_in(output, source, extension)

        monkeypatch.setattr(life.ports.places, "source_in", sealed)
        life.work()
        assert life.states() == {"sealed/x.jpg": State.QUEUED, "good.jpg": State.DONE}
        assert not life.ports.outputs.is_blocked("f")
    assert studio.sandbox.billed == 1


NAMES = st.sampled_from(["a", "a.webp", "a.jpg", "a.webp.2", "b"])
TREES = st.lists(st.lists(NAMES, min_size=0, max_size=2).map(tuple), min_size=1, max_size=5)


@settings(max_examples=20)
@given(TREES, st.permutations(range(5)))
def test_whatever_the_folders_are_called_each_picture_is_paid_once_and_delivered(
    tmp_path_factory: pytest.TempPathFactory, folders: list[tuple[str, ...]], order: list[int]
) -> None:
    root = tmp_path_factory.mktemp("studio")
    studio = Studio.make(root)
    dropped = 0
    for number in order:
        if number < len(folders):
            path = root.joinpath("in", *folders[number])
            dropped += drops(path, number)
            with studio.live() as life:
                life.find()
                life.work()
                assert set(life.states().values()) <= {State.DONE}
    assert studio.sandbox.billed == dropped == len(studio.outputs())
    shutil.rmtree(root)


def drops(folder: Path, number: int) -> int:
    """Put pictures into a folder under names that are those of folders, too; return how many there was room for."""
    made = 0
    for at, name in enumerate(("a.jpg", "b.png", "a.webp")):
        place = folder / name
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if place.exists():
                continue
            Image.new("RGB", (40, 30), (10 * number, 50 * at, 99)).save(place)
        except OSError:
            continue
        made += 1
    return made
