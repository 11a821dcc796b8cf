"""Files are named by what their picture says of itself; and what becomes of them when it says something else."""

import contextlib
import io
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from rembg_watch.jobs import State
from rembg_watch.ledger import MadeState
from rembg_watch.pictures.deliverable import SIDECAR, Deliverable, FileFormat
from rembg_watch.pictures.xmp import write
from rembg_watch.pipeline.names import said_before
from rembg_watch.pipeline.source import SourceGoneError
from rembg_watch.report import events
from tests.life import Crash, Studio
from tests.pipeline.test_making import SHOP, FakeRender, live, make_studio, rename, texts

TITLED = replace(SHOP, path="shop/{iptc.title}.{ext}")
PRINT = Deliverable(name="print", format=FileFormat.TIFF, path="print/{iptc.headline}/{stem}.{ext}")


def drop(studio: Studio, name: str, colour: str = "red", **words: str) -> Path:
    packet = write({{"title": "dc:title", "headline": "photoshop:Headline"}[key]: [one] for key, one in words.items()})
    out = io.BytesIO()
    Image.new("RGB", (40, 30), colour).save(out, "JPEG", xmp=packet)
    path = studio.root / "in" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(out.getvalue())
    return path


def titled(root: Path, **recipe: Any) -> tuple[Studio, FakeRender]:
    return make_studio(root, **{"deliverables": (TITLED, PRINT)} | recipe)


def test_files_are_named_by_what_the_picture_says(tmp_path: Path) -> None:
    studio, _ = titled(tmp_path)
    drop(studio, "day/a.jpg", title="Vase, blue", headline="Summer 26")
    drop(studio, "b.jpg", "green")
    jobs = live(studio)
    assert texts(studio) == {
        "shop/Vase, blue.jpg": "shop",
        "print/Summer 26/a.tif": "print",
        "shop/b.jpg": "shop",
        "print/b.tif": "print",
    }
    assert {job.state for job in jobs.values()} == {State.DONE}


def test_two_pictures_of_one_title_have_files_of_their_own(tmp_path: Path) -> None:
    studio, _ = titled(tmp_path, deliverables=(TITLED,))
    for name, colour in (("a.jpg", "red"), ("b.jpg", "green"), ("c.jpg", "blue")):
        drop(studio, name, colour, title="Vase" if name != "c.jpg" else "VASE")
    live(studio)
    assert len(studio.outputs()) == 3
    assert len({name.lower() for name in studio.outputs()}) == 3
    assert "shop/Vase.jpg" in studio.outputs() or "shop/VASE.jpg" in studio.outputs()


@pytest.mark.parametrize("title", ["../../etc/x", "..", "a/b", "\u202egpj", "-rf", "x" * 400, "CON", " . "])
def test_no_title_leads_out_of_the_output(tmp_path: Path, title: str) -> None:
    studio, _ = titled(tmp_path, deliverables=(TITLED,))
    drop(studio, "a.jpg", title=title)
    live(studio)
    [name] = studio.outputs()
    assert Path(name).parts[0] == "shop"
    assert len(Path(name).parts) == 2
    assert {path.name for path in tmp_path.iterdir()} >= {"in", "out"}
    assert not (tmp_path.parent / "etc").exists()


def test_other_words_give_other_names_and_cost_nothing(tmp_path: Path) -> None:
    studio, _ = titled(tmp_path, has_sidecar=True)
    drop(studio, "a.jpg", title="Vase", headline="Summer")
    live(studio)
    drop(studio, "a.jpg", title="Jug", headline="Summer")
    jobs = live(studio)
    assert set(studio.outputs()) == {"shop/Jug.jpg", "print/Summer/a.tif", "a.json"}
    assert studio.sandbox.billed == 1
    assert len(studio.reported(events.TakenAlong)) == 1
    assert not studio.reported(events.LeftBehind)
    with studio.live() as life:
        assert life.ledger.target("f", b"shop/Vase.jpg") is None, "the name is free for others"
        assert set(life.ledger.made(jobs["a.jpg"].id)) == {"shop", "print", SIDECAR}


def test_a_re_export_with_another_title_leaves_no_file_of_the_old_one(tmp_path: Path) -> None:
    studio, _ = titled(tmp_path, deliverables=(TITLED,))
    drop(studio, "a.jpg", title="Vase")
    live(studio)
    drop(studio, "a.jpg", "green", title="Jug")
    live(studio)
    assert set(studio.outputs()) == {"shop/Jug.jpg"}
    assert studio.sandbox.billed == 2


def test_an_edited_file_of_the_old_words_stays_and_that_is_told(tmp_path: Path) -> None:
    studio, _ = titled(tmp_path, deliverables=(TITLED,))
    drop(studio, "a.jpg", title="Vase")
    live(studio)
    (studio.root / "out/shop/Vase.jpg").write_bytes(b"edited")
    drop(studio, "a.jpg", title="Jug")
    live(studio)
    assert set(studio.outputs()) == {"shop/Jug.jpg", "shop/Vase.jpg"}
    assert studio.outputs()["shop/Vase.jpg"] == b"edited"
    [left] = studio.reported(events.LeftBehind)
    assert "shop/Vase.jpg stays" in left.sentence()
    drop(studio, "b.jpg", "green", title="Vase")
    live(studio)
    assert studio.outputs()["shop/Vase.jpg"] == b"edited", "and nobody writes over it"


def test_what_stays_is_told_once(tmp_path: Path) -> None:
    studio, _ = titled(tmp_path, deliverables=(TITLED,))
    drop(studio, "a.jpg", title="Vase")
    live(studio)
    (studio.root / "out/shop/Vase.jpg").write_bytes(b"edited")
    for title in ("Jug", "Pot"):
        drop(studio, "a.jpg", title=title)
        live(studio)
    assert set(studio.outputs()) == {"shop/Pot.jpg", "shop/Vase.jpg"}
    assert len(studio.reported(events.LeftBehind)) == 1


def test_a_camera_that_counts_from_the_beginning_again_takes_no_file_away(tmp_path: Path) -> None:
    studio, _ = titled(tmp_path, deliverables=(TITLED,), after="move", done=tmp_path / "done")
    drop(studio, "IMG_1.jpg", title="Vase")
    live(studio)
    drop(studio, "IMG_1.jpg", "green", title="Jug")
    live(studio)
    assert set(studio.outputs()) == {"shop/Vase.jpg", "shop/Jug.jpg"}
    drop(studio, "IMG_1.jpg", "green", title="Pot")
    live(studio)
    assert set(studio.outputs()) == {"shop/Vase.jpg", "shop/Pot.jpg"}, "which says other words now"
    assert studio.sandbox.billed == 2


def test_a_re_export_of_another_day_leaves_no_file_of_the_old_one(tmp_path: Path) -> None:
    studio, _ = titled(tmp_path, deliverables=(replace(SHOP, path="{date}/{stem}.{ext}"),))
    for day, colour in ((1, "red"), (2, "green")):
        os.utime(drop(studio, "a.jpg", colour), (day * 86400, day * 86400))
        live(studio)
    assert set(studio.outputs()) == {"1970-01-03/a.jpg"}


def test_an_older_version_that_is_made_again_leaves_the_newer_ones_files_alone(tmp_path: Path) -> None:
    studio, _ = titled(tmp_path, deliverables=(replace(SHOP, path="{date}/{stem}.{ext}"),))
    for day, colour in ((1, "red"), (2, "green")):
        os.utime(drop(studio, "a.jpg", colour), (day * 86400, day * 86400))
        live(studio)
    live(studio, again)
    assert "1970-01-03/a.jpg" in studio.outputs()


def test_one_that_cannot_be_made_anew_keeps_the_file_of_the_old_words(tmp_path: Path) -> None:
    studio, render = titled(tmp_path, deliverables=(TITLED,))
    drop(studio, "a.jpg", title="Vase")
    live(studio)
    render.refuses = {"shop"}
    drop(studio, "a.jpg", title="Jug")
    live(studio)
    assert set(studio.outputs()) == {"shop/Vase.jpg"}


def test_words_that_are_taken_back_give_the_old_name_again(tmp_path: Path) -> None:
    studio, _ = titled(tmp_path, deliverables=(TITLED,))
    path = drop(studio, "a.jpg", title="Vase")
    live(studio)
    kept = path.rename(tmp_path / "a.jpg_original")
    drop(studio, "a.jpg", title="Jug")
    live(studio)
    assert set(studio.outputs()) == {"shop/Jug.jpg"}
    kept.rename(path)
    live(studio)
    assert set(studio.outputs()) == {"shop/Vase.jpg"}
    assert studio.sandbox.billed == 1


@pytest.mark.parametrize("path", ["shop/{iptc.title}.{ext}", "{dir}/{iptc.title}/{stem}.{ext}"])
def test_a_renamed_picture_of_the_same_title_has_each_file_once(tmp_path: Path, path: str) -> None:
    studio, _ = titled(tmp_path, deliverables=(replace(TITLED, path=path),))
    drop(studio, "a.jpg", title="Vase")
    live(studio)
    drop(studio, "a.jpg", title="Jug")
    live(studio)
    live(studio, rename(studio, "a.jpg", "b.jpg"))
    assert set(studio.outputs()) == {"shop/Jug.jpg" if path.startswith("shop") else "Jug/b.jpg"}
    assert studio.sandbox.billed == 1


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("nth", [1, 2])
@pytest.mark.parametrize("step", ["made", "written down", "published", "named", "withdrawn", "recorded"])
def test_a_crash_after_a_change_of_words_leaves_each_file_once(tmp_path: Path, step: str, nth: int) -> None:
    studio, _ = titled(tmp_path)
    drop(studio, "a.jpg", title="Vase", headline="Summer")
    live(studio)
    drop(studio, "a.jpg", title="Jug", headline="Autumn")
    left = [nth]

    def die(name: str) -> bool:
        left[0] -= name == step
        return name == step and left[0] == 0

    studio.die_at = die
    with contextlib.suppress(Crash):
        live(studio)
    studio.die_at = lambda _name: False
    live(studio)
    assert set(studio.outputs()) == {"shop/Jug.jpg", "print/Autumn/a.tif"}
    assert studio.sandbox.billed == 1


def again(life: Any) -> None:
    life.ledger.make_again([job.id for job in life.ledger.jobs()], life.ports.now(), missing=[(1, "shop")])


def test_without_its_picture_a_file_keeps_the_name_that_it_has(tmp_path: Path) -> None:
    studio, render = titled(tmp_path, deliverables=(TITLED,))
    drop(studio, "a.jpg", title="Vase").stat()
    live(studio)
    (studio.root / "in/a.jpg").unlink()
    (studio.root / "out/shop/Vase.jpg").unlink()
    live(studio, again)
    assert texts(studio) == {"shop/Vase.jpg": "shop"}
    assert render.had_source == [True, False]
    studio.recipe = replace(studio.recipe, deliverables=(replace(TITLED, format=FileFormat.WEBP, quality=70),))
    live(studio, again)
    assert texts(studio) == {"shop/Vase.webp": "shop"}, "and in another format"


def test_without_its_picture_a_new_file_has_no_name_and_nobody_guesses_one(tmp_path: Path) -> None:
    studio, render = titled(tmp_path, deliverables=(TITLED,))
    path = drop(studio, "a.jpg", title="Vase", headline="Summer")
    live(studio)
    aside = path.rename(tmp_path / "aside.jpg")
    studio.recipe = replace(
        studio.recipe, deliverables=(TITLED, PRINT, replace(SHOP, name="plain", path="{stem}.{ext}"))
    )
    job = live(studio, again)["a.jpg"]
    assert set(studio.outputs()) == {"shop/Vase.jpg", "a.jpg"}
    assert job.reason == "print: its name needs {iptc.headline}, and the picture that says so is gone: put it back"
    assert (job.state, str(job.finding).split(",")[0]) == (State.DONE, "lacks_files")
    assert render.counts["print"] == 0, "nor is it made in vain"
    aside.rename(path)
    with studio.live() as life:
        assert [one.name for one in (life.ledger.made(1).values()) if one.state is MadeState.FAILED] == ["print"]
        [lacking] = life.ledger.lacking("f", studio.recipe.wanted)
        assert lacking.name == "print", "so the command makes it once the picture is back"
    live(studio, again)
    assert set(studio.outputs()) == {"shop/Vase.jpg", "a.jpg", "print/Summer/a.tif"}
    assert studio.sandbox.billed == 1


def test_a_picture_that_was_put_away_says_its_words_still(tmp_path: Path) -> None:
    studio, _ = titled(tmp_path, deliverables=(TITLED,), after="move", done=tmp_path / "done")
    drop(studio, "a.jpg", title="Vase", headline="Summer")
    live(studio)
    assert not (studio.root / "in/a.jpg").exists()
    studio.recipe = replace(studio.recipe, deliverables=(TITLED, PRINT))
    live(studio, again)
    assert set(studio.outputs()) == {"shop/Vase.jpg", "print/Summer/a.tif"}


def test_a_picture_is_read_for_its_words_only_where_a_path_asks_for_them(tmp_path: Path) -> None:
    studio, _ = titled(tmp_path, deliverables=(SHOP,))
    drop(studio, "a.jpg", title="Vase")
    with studio.live() as life:
        life.find()
        [job] = life.ledger.jobs()
        (tmp_path / "in/a.jpg").unlink()
        assert said_before(life.ports, studio.recipe, job) is None
        with pytest.raises(SourceGoneError):
            said_before(life.ports, replace(studio.recipe, deliverables=(TITLED,)), job)


def test_a_picture_that_went_before_its_words_were_read_costs_nothing(tmp_path: Path) -> None:
    studio, _ = titled(tmp_path)
    drop(studio, "a.jpg", title="Vase")
    with studio.live() as life:
        life.find()
        (tmp_path / "in/a.jpg").unlink()
        life.work()
        assert life.states() == {"a.jpg": State.VANISHED}
    assert studio.sandbox.billed == 0
