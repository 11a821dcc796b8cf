"""Odd cut-outs wait for a person, where their folder has it so: nothing is delivered, lost or paid for twice."""

import os
import re
import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from rembg_watch.api.params import Format, RemovalParams
from rembg_watch.delivery.verify import Expected, Verified, verify
from rembg_watch.jobs import REJECTED, REVIEW, State
from rembg_watch.ledger import Which
from rembg_watch.pictures.deliverable import Deliverable, FileFormat
from rembg_watch.pictures.figures import Figures
from rembg_watch.pictures.naming import Naming
from rembg_watch.pipeline import Pipeline, review
from rembg_watch.report import events
from tests.life import Crash, Life, Studio
from tests.pipeline.test_making import FakeRender

ODD = Figures(least=0, most=255, coverage=0.3, borders=(0.0, 1.0, 0.0, 0.0))
EVEN = replace(ODD, borders=(0.0,) * 4)
FILES = (
    Deliverable(name="print", format=FileFormat.TIFF, path="print/{stem}.{ext}"),
    Deliverable(name="shop", format=FileFormat.JPEG, path="shop/{stem}.{ext}"),
)


@pytest.fixture(params=["plain", "files"])
def studio(request: pytest.FixtureRequest, tmp_path: Path) -> Studio:
    how: dict[str, Any] = {"params": RemovalParams(format=Format.PNG)}
    if request.param == "files":
        how |= {
            "deliverables": (FILES[0], replace(FILES[1], name="web")),
            "naming": Naming(folder="f"),
            "send_px": 4000,
        }
    made = Studio.make(tmp_path, review="hold", review_dir=tmp_path / "review", **how)
    made.render = FakeRender()
    (tmp_path / "review").mkdir()
    made.drop("day/a.png", (200, 10, 10))
    return made


def live(studio: Studio, figures: Figures = ODD, act: Callable[[Life], object] = lambda _life: None) -> Any:
    def measured(answer: Path, expected: Expected) -> Verified:
        return replace(verify(answer, expected), figures=figures, warning=None)

    with studio.live() as life:
        life.ports = replace(life.ports, verify=measured)
        life.pipeline = Pipeline(life.ports)
        life.recover()
        act(life)
        life.find()
        life.work()
        review.keep_up(life.ports)
        return {job.source.decode(): job for job in life.ledger.jobs()}


def shown(studio: Studio) -> set[str]:
    return {path.name for path in (studio.root / "review").rglob("*") if path.is_file()}


def accept(life: Life) -> int:
    return life.ledger.accept(Which(), life.ports.now())


def reject(life: Life) -> object:
    return life.ledger.turn_down(Which(), life.ports.now())


def redo(life: Life) -> object:
    return life.ledger.redo(life.ledger.redoable(Which()), life.ports.now())


def test_an_odd_cutout_waits_and_is_shown(studio: Studio) -> None:
    job = live(studio)["day/a.png"]
    assert (job.state, job.code, job.finding) == (State.HELD, REVIEW, "touches_border")
    assert not studio.outputs()
    assert shown(studio) == {f"a~{job.id}.png", f"a~{job.id}.png.txt"}
    (note,) = (studio.root / "review").rglob("*.txt")
    assert "rembg-watch accept f/day/a.png" in note.read_text(encoding="utf-8")
    (told,) = studio.reported(events.ReviewAwaited)
    assert "the object takes nearly a whole border" in told.sentence()


def test_what_is_even_is_delivered(studio: Studio) -> None:
    assert live(studio, EVEN)["day/a.png"].state is State.DONE
    assert not shown(studio)


def test_accept_delivers_it_for_nothing(studio: Studio) -> None:
    live(studio)
    job = live(studio, act=accept)["day/a.png"]
    assert (job.state, job.finding) == (State.DONE, "touches_border")
    assert len(studio.outputs()) == max(1, len(studio.recipe.deliverables))
    assert studio.sandbox.billed == 1
    assert not shown(studio)


def test_a_rejected_one_is_neither_delivered_nor_bought_again(studio: Studio) -> None:
    live(studio)
    job = live(studio, act=reject)["day/a.png"]
    assert (job.state, job.code) == (State.FAILED, REJECTED)
    assert not studio.outputs()
    assert not shown(studio)
    studio.drop("copy.png", (200, 10, 10))
    jobs = live(studio, act=lambda life: life.ledger.retry(Which(), life.ports.now()))
    assert {name: (one.state, one.code) for name, one in jobs.items()} == {
        "day/a.png": (State.FAILED, REJECTED),
        "copy.png": (State.FAILED, REJECTED),
    }
    assert studio.sandbox.billed == 1


@pytest.mark.parametrize("first", [lambda _life: None, reject])
def test_redo_pays_for_another_one(studio: Studio, first: Callable[[Life], object]) -> None:
    live(studio)
    live(studio, act=first)
    assert live(studio, EVEN, act=redo)["day/a.png"].state is State.DONE
    assert studio.sandbox.billed == 2
    assert not shown(studio)


def test_a_retry_or_a_restart_decides_nothing(studio: Studio) -> None:
    live(studio)
    job = live(studio, act=lambda life: life.ledger.retry(Which(), life.ports.now()))["day/a.png"]
    assert job.state is State.HELD
    assert studio.sandbox.billed == 1


def test_a_copy_of_it_waits_too(studio: Studio) -> None:
    live(studio)
    studio.drop("copy.png", (200, 10, 10))
    jobs = live(studio)
    assert {one.state for one in jobs.values()} == {State.HELD}
    assert studio.sandbox.billed == 1
    assert len(shown(studio)) == 4
    jobs = live(studio, act=accept)
    assert {one.state for one in jobs.values()} == {State.DONE}
    assert studio.sandbox.billed == 1


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("step", ["received", "verified", "held"])
def test_a_crash_on_the_way_costs_nothing(studio: Studio, step: str) -> None:
    studio.die_at = lambda name: name == step
    with pytest.raises(Crash):
        live(studio)
    studio.die_at = lambda _name: False
    job = live(studio)["day/a.png"]
    assert job.state is State.HELD
    assert shown(studio) == {f"a~{job.id}.png", f"a~{job.id}.png.txt"}
    live(studio, act=accept)
    assert studio.sandbox.billed == 1
    assert studio.outputs()


def test_a_review_folder_that_takes_nothing_holds_all_the_same(studio: Studio) -> None:
    (studio.root / "review").rmdir()
    (studio.root / "review").write_text("no folder")
    assert live(studio)["day/a.png"].state is State.HELD
    assert studio.reported(events.ReviewNotShown)


def test_one_that_is_away_is_not_made_on_another_disk(studio: Studio) -> None:
    (studio.root / "review").rmdir()
    assert live(studio)["day/a.png"].state is State.HELD
    assert not (studio.root / "review").exists()
    assert studio.reported(events.ReviewNotShown)
    (studio.root / "review").mkdir()
    live(studio)
    assert len(shown(studio)) == 2, "it is shown when the folder is there again"


def test_what_others_put_there_stays(studio: Studio) -> None:
    theirs = {"notes.txt": "mine", "b~77.png": "theirs", "b~77.png.txt": "a note of theirs", "c~78.png": "theirs"}
    (studio.root / "review/f/day").mkdir(parents=True)
    for name, text in theirs.items():
        (studio.root / "review/f/day" / name).write_text(text)
    live(studio)
    live(studio, act=reject)
    assert shown(studio) == set(theirs)


def test_nothing_is_written_over(studio: Studio) -> None:
    theirs = studio.root / "review/f/day/a~1.png"
    theirs.parent.mkdir(parents=True)
    theirs.write_text("theirs")
    assert live(studio)["day/a.png"].id == 1
    assert theirs.read_text() == "theirs"
    live(studio, act=reject)
    assert theirs.read_text() == "theirs"


def test_a_cutout_that_was_repaired_where_it_is_shown_stays(studio: Studio) -> None:
    live(studio)
    (copy,) = (studio.root / "review").rglob("*.png")
    copy.write_bytes(b"repaired")
    live(studio, act=reject)
    assert copy.read_bytes() == b"repaired"
    assert shown(studio) == {copy.name}


@pytest.mark.parametrize("name", ["it's.png", "a [1] $HOME.png", "-x.png", "über\n.png", "n" * 200 + ".png", "*.png"])
def test_the_commands_of_a_note_name_the_one_picture(tmp_path: Path, name: str) -> None:
    studio = Studio.make(
        tmp_path, review="hold", review_dir=tmp_path / "review", params=RemovalParams(format=Format.PNG)
    )
    studio.render = FakeRender()
    (tmp_path / "review").mkdir()
    studio.drop(name, (200, 10, 10))
    studio.drop("other.png", (20, 10, 10))
    live(studio)
    (note,) = (one for one in (tmp_path / "review").rglob("*.txt") if one.name[0] == name[0])
    found = re.search(
        r"^rembg-watch accept (.+?)   delivers", note.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )
    assert found is not None
    (pattern,) = shlex.split(found[1])
    with studio.live() as life:
        meant = list(life.ledger.jobs(Which(pattern=pattern)))
    assert [job.source.decode() for job in meant] == [name]


def touch(studio: Studio) -> None:
    os.utime(studio.root / "in/day/a.png", ns=(1, 1))


def rename(studio: Studio) -> None:
    (studio.root / "in/day/a.png").rename(studio.root / "in/day/b.png")


def caption(studio: Studio) -> None:
    path = studio.root / "in/day/a.png"
    with Image.open(path) as picture:
        words = PngInfo()
        words.add_text("Title", "a new caption")
        picture.save(path, pnginfo=words)


def take_away_and_put_back(studio: Studio) -> None:
    path = studio.root / "in/day/a.png"
    path.rename(studio.root / "a.png")
    live(studio)
    (studio.root / "a.png").rename(path)


@pytest.mark.parametrize("change", [touch, rename, caption, take_away_and_put_back])
def test_whatever_is_done_to_a_rejected_picture_costs_nothing(
    studio: Studio, change: Callable[[Studio], object]
) -> None:
    live(studio)
    live(studio, act=reject)
    change(studio)
    for _ in range(2):
        jobs = live(studio)
        assert {(job.state, job.code) for job in jobs.values()} == {(State.FAILED, REJECTED)}
    assert studio.sandbox.billed == 1
    assert not studio.outputs()


def test_other_pixels_under_a_rejected_name_are_bought(studio: Studio) -> None:
    live(studio)
    live(studio, act=reject)
    studio.drop("day/a.png", (7, 7, 7))
    live(studio, EVEN)
    assert studio.sandbox.billed == 2
    assert studio.outputs()


def test_redone_after_a_rejection_it_is_delivered_and_stays_so(studio: Studio) -> None:
    live(studio)
    live(studio, act=reject)
    assert live(studio, EVEN, act=redo)["day/a.png"].state is State.DONE
    touch(studio)
    live(studio, EVEN)
    assert studio.sandbox.billed == 2
    with studio.live() as life:
        assert {job.state for job in life.ledger.jobs() if job.gone_at is None} == {State.DONE}


@pytest.mark.parametrize("change", [touch, rename, caption])
def test_what_was_accepted_is_not_asked_for_again(studio: Studio, change: Callable[[Studio], object]) -> None:
    live(studio)
    live(studio, act=accept)
    change(studio)
    live(studio)
    with studio.live() as life:
        assert {job.state for job in life.ledger.jobs() if job.gone_at is None} == {State.DONE}
    assert studio.sandbox.billed == 1
    assert studio.outputs()


def test_what_waits_goes_on_waiting_when_its_original_is_taken_away(studio: Studio) -> None:
    live(studio)
    (studio.root / "in/day/a.png").unlink()
    job = live(studio)["day/a.png"]
    assert (job.state, job.code) == (State.HELD, REVIEW)
    assert len(shown(studio)) == 2
    assert live(studio, act=accept)["day/a.png"].state is State.DONE
    assert studio.outputs()
    assert studio.sandbox.billed == 1
    assert not shown(studio)


def test_other_pixels_take_the_place_of_what_waits(studio: Studio) -> None:
    live(studio)
    (studio.root / "in/day/a.png").unlink()
    live(studio)
    studio.drop("day/a.png", (7, 7, 7))
    live(studio, EVEN)
    assert studio.sandbox.billed == 2
    assert studio.outputs()
    assert not shown(studio)


@pytest.fixture
def of_files(tmp_path: Path) -> Studio:
    made = Studio.make(
        tmp_path,
        review="hold",
        deliverables=FILES,
        naming=Naming(folder="f"),
        send_px=4000,
        params=RemovalParams(format=Format.PNG),
    )
    made.render = FakeRender()  # the one named shop is too small for its canvas
    made.drop("a.png")
    return made


def test_an_odd_file_holds_all_files_of_its_picture(of_files: Studio) -> None:
    job = live(of_files, EVEN)["a.png"]
    assert (job.state, job.finding) == (State.HELD, "too_small")
    assert not of_files.outputs()
    job = live(of_files, EVEN, act=accept)["a.png"]
    assert job.state is State.DONE
    assert len(of_files.outputs()) == 2
    assert of_files.sandbox.billed == 1
