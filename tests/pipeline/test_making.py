"""One paid answer, several files: each made, written down, named; and made again where something is lacking."""

import contextlib
import json
import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from rembg_watch.api.params import Format, RemovalParams
from rembg_watch.delivery.making import Making
from rembg_watch.jobs import State
from rembg_watch.ledger import MadeState
from rembg_watch.pictures.deliverable import Deliverable, FileFormat, Master
from rembg_watch.pictures.naming import Naming, Words
from rembg_watch.pictures.rendering import NotRenderedError, Rendered
from rembg_watch.pipeline.afterwards import put_away_left
from rembg_watch.report import events
from tests.life import Crash, Studio

TIFF = Deliverable(name="print", format=FileFormat.TIFF, path="print/{dir}/{stem}.{ext}")
SHOP = Deliverable(name="shop", format=FileFormat.JPEG, background="#ffffff", path="shop/{dir}/{stem}.{ext}")
THUMB = Deliverable(name="thumb", format=FileFormat.WEBP, path="{stem}-thumb.{ext}")
THREE = (TIFF, SHOP, THUMB)


@dataclass
class FakeRender:
    """Writes what it was asked for, never twice the same bytes, as encoders may."""

    asked: list[Making] = field(default_factory=list)
    refuses: set[str] = field(default_factory=set)
    had_source: list[bool] = field(default_factory=list)

    def __call__(
        self, source: BinaryIO | None, file: BinaryIO, scratch: BinaryIO, wish: Making, *, waiting: Any = None
    ) -> Rendered:
        name = wish.deliverable.name
        self.asked.append(wish)
        self.had_source.append(source is not None)
        if name in self.refuses:
            raise NotRenderedError("odd", "it is too odd")
        master = sha256(wish.master.read_bytes()).hexdigest()[:8]
        file.write(f"{name} of {master}, number {len(self.asked)}".encode())
        return Rendered(width=60, height=40, size_bytes=9, remarks=("too_small",) if name == "shop" else ())

    @property
    def counts(self) -> Counter[str]:
        return Counter(wish.deliverable.name for wish in self.asked)


def make_studio(root: Path, deliverables: tuple[Deliverable, ...] = THREE, **recipe: Any) -> tuple[Studio, FakeRender]:
    values = {"params": RemovalParams(format=Format.PNG), "naming": Naming(folder="f"), "send_px": 4000} | recipe
    studio = Studio.make(root, deliverables=deliverables, **values)
    studio.render = render = FakeRender()
    return studio, render


def live(studio: Studio, act: Callable[[Any], object] = lambda _life: None) -> Any:
    with studio.live() as life:
        life.recover()
        act(life)
        life.find()
        life.work()
        jobs = list(life.ledger.jobs())
        return {job.source.decode(): job for job in jobs if job.gone_at is None or job.is_disposed}


def texts(studio: Studio) -> dict[str, str]:
    return {name: data.decode().partition(" of ")[0] for name, data in studio.outputs().items()}


ALL = {"print/day/a.tif": "print", "shop/day/a.jpg": "shop", "a-thumb.webp": "thumb"}


def test_three_files_are_made_of_one_paid_answer(tmp_path: Path) -> None:
    studio, render = make_studio(tmp_path)
    studio.drop("day/a.jpg")
    jobs = live(studio)
    assert texts(studio) == ALL
    assert jobs["day/a.jpg"].state is State.DONE
    assert jobs["day/a.jpg"].target == b"print/day/a.tif"
    assert studio.sandbox.billed == 1
    assert render.had_source == [True] * 3
    assert len(studio.reported(events.FileMade)) == 3
    assert len(studio.reported(events.Delivered)) == 1
    live(studio)
    assert render.counts.total() == 3


def test_one_that_cannot_be_made_leaves_the_others_alone_and_the_original_where_it_is(tmp_path: Path) -> None:
    studio, render = make_studio(tmp_path, after="delete")
    render.refuses = {"shop"}
    studio.drop("day/a.jpg")
    job = live(studio)["day/a.jpg"]
    assert texts(studio) == {name: one for name, one in ALL.items() if one != "shop"}
    assert (job.state, job.finding, job.reason) == (State.DONE, "lacks_files", "shop: it is too odd")
    assert (studio.root / "in/day/a.jpg").exists()
    assert len(studio.reported(events.FileNotMade)) == 1


@pytest.mark.parametrize("after", ["move", "delete"])
def test_an_original_goes_once_all_files_stand(tmp_path: Path, after: str) -> None:
    studio, _ = make_studio(tmp_path, after=after, done=tmp_path / "done")
    studio.drop("day/a.jpg")
    live(studio)
    assert texts(studio) == ALL
    assert not (studio.root / "in/day/a.jpg").exists()


def test_an_original_that_waited_to_go_stays_where_its_folder_lacks_a_file_by_now(tmp_path: Path) -> None:
    studio, render = make_studio(tmp_path, after="move", done=tmp_path / "done")
    render.refuses = {"shop"}
    studio.drop("day/a.jpg")
    (tmp_path / "done").rmdir()
    (tmp_path / "done").write_bytes(b"in the way")
    job = live(studio)["day/a.jpg"]
    assert (job.state, job.is_disposal_due) == (State.DONE, True)
    studio.recipe = replace(studio.recipe, after="delete")
    studio.time.pass_s(60)
    with studio.live() as life:
        put_away_left(life.ports, "f")
    assert (studio.root / "in/day/a.jpg").exists(), "nothing could be made of it any more"
    render.refuses = set()
    live(studio, lambda life: life.ledger.make_again([1], life.ports.now()))
    assert texts(studio) == ALL
    assert not (studio.root / "in/day/a.jpg").exists()


STEPS = ["received", "verified", "kept", "made", "staged", "written down", "new", "published", "named", "recorded"]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize("nth", [1, 2, 3])
@pytest.mark.parametrize("step", STEPS)
def test_a_crash_after_any_step_leaves_each_file_once_and_costs_nothing(
    tmp_path: Path, step: str, nth: int, together: bool
) -> None:
    studio, _ = make_studio(tmp_path, is_together=together)
    studio.drop("day/a.jpg")
    left = [nth]

    def die(name: str) -> bool:
        left[0] -= name == step
        return name == step and left[0] == 0

    studio.die_at = die
    try:
        live(studio)
    except Crash:
        pass
    else:
        assert nth > 1 or step == "published"
    studio.die_at = lambda _name: False
    jobs = live(studio)
    assert texts(studio) == ALL
    assert jobs["day/a.jpg"].state is State.DONE
    assert studio.sandbox.billed == 1


def test_together_nothing_appears_before_all_are_made(tmp_path: Path) -> None:
    studio, render = make_studio(tmp_path, is_together=True)
    studio.drop("day/a.jpg")
    seen = []
    studio.die_at = lambda step: bool(seen.append((step, sorted(studio.outputs())))) and False
    live(studio)
    assert all(outputs == [] for step, outputs in seen if step in ("made", "staged"))
    assert texts(studio) == ALL
    assert render.counts.total() == 3


def test_a_re_export_replaces_its_files_and_one_that_was_edited_stays(tmp_path: Path) -> None:
    studio, _ = make_studio(tmp_path)
    studio.drop("day/a.jpg")
    live(studio)
    (studio.root / "out/shop/day/a.jpg").write_bytes(b"edited")
    before = studio.outputs()
    studio.drop("day/a.jpg", (1, 2, 3))
    live(studio)
    after = studio.outputs()
    assert studio.sandbox.billed == 2
    assert after["shop/day/a.jpg"] == b"edited"
    assert after["shop/day/a.jpg.jpg"].startswith(b"shop")
    assert after["print/day/a.tif"] != before["print/day/a.tif"]
    assert set(after) == {*ALL, "shop/day/a.jpg.jpg"}


def rename(studio: Studio, old: str, new: str) -> Callable[[Any], object]:
    """Rename a source; return what lets the ledger know of it as the watch does."""
    (studio.root / "in" / new).parent.mkdir(parents=True, exist_ok=True)
    (studio.root / "in" / old).rename(studio.root / "in" / new)
    return lambda life: life.ledger.gone("f", [old.encode()], life.ports.now())


@pytest.mark.parametrize("is_plain", [False, True])
def test_a_copy_that_gets_new_words_takes_nothing_from_a_picture_that_was_taken_away(
    tmp_path: Path, is_plain: bool
) -> None:
    studio = Studio.make(tmp_path) if is_plain else make_studio(tmp_path)[0]
    for name in ("main.png", "backup.png"):
        studio.drop(name, (200, 40, 40))
    live(studio)
    before = set(studio.outputs())
    (tmp_path / "in/main.png").unlink()
    os.utime(tmp_path / "in/backup.png", ns=(1, 1))
    live(studio)
    assert set(studio.outputs()) == before
    assert studio.reported(events.TakenAlong) == []
    assert studio.sandbox.billed == 1


def test_a_good_file_is_not_replaced_by_a_poorer_one_once_the_original_is_gone(tmp_path: Path) -> None:
    studio, _ = make_studio(tmp_path, after="delete")
    studio.drop("day/a.jpg")
    live(studio)
    before = studio.outputs()
    changed = tuple(replace(one, quality=50, dpi=300) for one in studio.recipe.deliverables)
    added = replace(changed[0], name="added", path="added/{stem}.{ext}")
    studio.recipe = replace(studio.recipe, deliverables=(*changed, added))
    with studio.live() as life:
        lacking = life.ledger.lacking("f", studio.recipe.wanted)
    assert [one.name for one in lacking if not one.has_file] == ["added"]
    live(studio, lambda life: life.ledger.make_again([one.job_id for one in lacking], life.ports.now()))
    after = studio.outputs()
    assert {name: after[name] for name in before} == before
    assert len(after) == len(before) + 1


@pytest.mark.parametrize(
    ("new", "files"),
    [
        ("day/b.jpg", {"print/day/b.tif", "shop/day/b.jpg", "b-thumb.webp"}),
        ("week/a.jpg", {"print/week/a.tif", "shop/week/a.jpg", "a-thumb.webp"}),
        ("day/A.jpg", {"print/day/A.tif", "shop/day/A.jpg", "A-thumb.webp"}),
    ],
    ids=["renamed", "moved", "another case"],
)
@pytest.mark.parametrize("together", [False, True])
def test_the_files_of_a_renamed_picture_follow_it(tmp_path: Path, new: str, files: set[str], together: bool) -> None:
    studio, _ = make_studio(tmp_path, is_together=together)
    studio.drop("day/a.jpg")
    live(studio)
    jobs = live(studio, rename(studio, "day/a.jpg", new))
    assert set(studio.outputs()) == files
    assert jobs[new].state is State.DONE
    assert studio.sandbox.billed == 1
    [told] = studio.reported(events.TakenAlong)
    assert told.former == b"day/a.jpg"  # type: ignore[attr-defined]
    with studio.live() as life:
        found = life.ledger.lacking("f", {"added": "later"})
        assert [one.source for one in found] == [new.encode()], "the old name is no picture any more"
    live(studio, rename(studio, new, "day/a.jpg"))
    assert texts(studio) == ALL, "and back again"
    assert studio.sandbox.billed == 1


def test_an_edited_file_of_the_old_name_stays_and_that_is_told(tmp_path: Path) -> None:
    studio, _ = make_studio(tmp_path)
    studio.drop("day/a.jpg")
    live(studio)
    (studio.root / "out/shop/day/a.jpg").write_bytes(b"edited")
    live(studio, rename(studio, "day/a.jpg", "day/b.jpg"))
    assert set(studio.outputs()) == {"print/day/b.tif", "shop/day/b.jpg", "b-thumb.webp", "shop/day/a.jpg"}
    assert studio.outputs()["shop/day/a.jpg"] == b"edited"
    [left] = studio.reported(events.LeftBehind)
    assert (left.former, left.target) == (b"day/a.jpg", b"shop/day/a.jpg")  # type: ignore[attr-defined]
    assert studio.sandbox.billed == 1


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("nth", [1, 2, 3])
@pytest.mark.parametrize("new", ["day/b.jpg", "day/A.jpg"])
@pytest.mark.parametrize("step", ["made", "withdrawn", "written down", "published", "named", "recorded"])
def test_a_crash_after_a_rename_leaves_each_file_once(tmp_path: Path, step: str, new: str, nth: int) -> None:
    studio, _ = make_studio(tmp_path)
    studio.drop("day/a.jpg")
    live(studio)
    tell, left = rename(studio, "day/a.jpg", new), [nth]

    def die(name: str) -> bool:
        left[0] -= name == step
        return name == step and left[0] == 0

    studio.die_at = die
    with contextlib.suppress(Crash):
        live(studio, tell)
    studio.die_at = lambda _name: False
    live(studio)
    stem = Path(new).stem
    assert set(studio.outputs()) == {f"print/day/{stem}.tif", f"shop/day/{stem}.jpg", f"{stem}-thumb.webp"}
    assert studio.sandbox.billed == 1


def test_a_foreign_file_is_never_overwritten(tmp_path: Path) -> None:
    studio, _ = make_studio(tmp_path)
    (studio.root / "out/shop/day").mkdir(parents=True)
    (studio.root / "out/shop/day/a.jpg").write_bytes(b"foreign")
    studio.drop("day/a.jpg")
    live(studio)
    assert studio.outputs()["shop/day/a.jpg"] == b"foreign"
    assert texts(studio)["shop/day/a.jpg.jpg"] == "shop"


def test_two_sources_of_one_name_have_files_of_their_own(tmp_path: Path) -> None:
    studio, _ = make_studio(tmp_path)
    studio.drop("a.jpg")
    studio.drop("a.png", (1, 2, 3))
    studio.drop("b/a.jpg", (4, 5, 6))
    live(studio)
    assert len(studio.outputs()) == 9
    assert {"a-thumb.webp", "a.png-thumb.webp"} <= set(studio.outputs()) or len(set(studio.outputs())) == 9


def test_a_second_folder_with_other_deliverables_of_the_same_pictures_costs_nothing(tmp_path: Path) -> None:
    studio, render = make_studio(tmp_path)
    studio.drop("day/a.jpg")
    live(studio)
    (tmp_path / "out2").mkdir()
    other = Deliverable(name="other", path="{stem}.{ext}")
    recipe = replace(studio.recipe, name="g", output=tmp_path / "out2", deliverables=(other,))
    with studio.live() as life:
        life.change(recipes={"f": studio.recipe, "g": recipe})
        from rembg_watch.host.disk import version_of
        from rembg_watch.ledger import Turn

        path = studio.root / "in/day/a.jpg"
        life.ledger.add("g", [(b"day/a.jpg", version_of(path.stat()))], life.ports.now())
        for job in life.ledger.claim(9, at=life.ports.now(), run_id="x", turns=[Turn("g")], state=State.QUEUED):
            life.process(job)
    assert [path.name for path in (tmp_path / "out2").iterdir()] == ["a.png"]
    assert studio.sandbox.billed == 1
    assert render.counts["other"] == 1


def test_what_is_lacking_is_made_again_at_no_cost_and_only_that(tmp_path: Path) -> None:
    studio, render = make_studio(tmp_path, deliverables=(TIFF,), after="move", done=tmp_path / "done")
    studio.drop("day/a.jpg")
    live(studio)
    studio.recipe = replace(studio.recipe, deliverables=(TIFF, SHOP))
    wanted = {one.name: studio.recipe.digest_of(one) for one in studio.recipe.deliverables}

    def deliver(life: Any) -> None:
        [lacking] = life.ledger.lacking("f", wanted)
        assert (lacking.name, lacking.source) == ("shop", b"day/a.jpg")
        assert life.ledger.make_again([lacking.job_id], life.ports.now()) == 1

    job = live(studio, deliver)["day/a.jpg"]
    assert texts(studio) == {"print/day/a.tif": "print", "shop/day/a.jpg": "shop"}
    assert (job.state, job.is_disposed, job.is_disposal_due) == (State.DONE, True, False)
    assert render.had_source == [True, True], "it was moved, and is found where it went"
    assert render.counts == {"print": 1, "shop": 1}
    assert studio.sandbox.billed == 1
    with studio.live() as life:
        assert life.ledger.lacking("f", wanted) == []
        changed = replace(SHOP, quality=50)
        studio.recipe = replace(studio.recipe, deliverables=(TIFF, changed))
        assert [one.name for one in life.ledger.lacking("f", {"shop": studio.recipe.digest_of(changed)})] == ["shop"]


def test_another_format_replaces_the_file_of_the_former_one(tmp_path: Path) -> None:
    studio, _ = make_studio(tmp_path, deliverables=(SHOP,))
    studio.drop("day/a.jpg")
    live(studio)
    studio.recipe = replace(studio.recipe, deliverables=(replace(SHOP, format=FileFormat.WEBP),))
    live(studio, lambda life: life.ledger.make_again([1], life.ports.now()))
    assert list(studio.outputs()) == ["shop/day/a.webp"]


def test_a_master_that_is_gone_is_told_and_nothing_is_paid(tmp_path: Path) -> None:
    studio, _ = make_studio(tmp_path, deliverables=(TIFF,))
    studio.drop("day/a.jpg")
    live(studio)
    for path in (studio.root / "masters").rglob("*"):
        if path.is_file():
            path.unlink()
    studio.recipe = replace(studio.recipe, deliverables=(TIFF, SHOP))
    job = live(studio, lambda life: life.ledger.make_again([1], life.ports.now()))["day/a.jpg"]
    assert (job.state, job.code) == (State.DONE, "no_master")
    assert studio.sandbox.billed == 1


def test_without_its_source_a_cutout_is_still_a_master(tmp_path: Path) -> None:
    studio, render = make_studio(tmp_path, deliverables=(TIFF,), after="delete")
    studio.drop("day/a.jpg")
    live(studio)
    studio.recipe = replace(studio.recipe, deliverables=(TIFF, SHOP))
    live(studio, lambda life: life.ledger.make_again([1], life.ports.now()))
    assert texts(studio) == {"print/day/a.tif": "print", "shop/day/a.jpg": "shop"}
    assert render.had_source == [True, False]


def test_redo_makes_every_file_of_the_new_answer(tmp_path: Path) -> None:
    studio, render = make_studio(tmp_path)
    studio.drop("day/a.jpg")
    live(studio)
    before = studio.outputs()

    def redo(life: Any) -> None:
        assert life.ledger.redo(list(life.ledger.jobs()), life.ports.now()) == 1

    live(studio, redo)
    assert studio.sandbox.billed == 2
    assert set(studio.outputs()) == set(before)
    assert render.counts == {"print": 2, "shop": 2, "thumb": 2}


def test_a_name_that_says_nothing_fails_before_anything_is_paid(tmp_path: Path) -> None:
    naming = Naming(folder="f", read_name=r"(?P<sku>[A-Z]{3})_(?P<n>\d)", words={"view": Words("n", {"1": "MAIN"})})
    amazon = replace(SHOP, path="{sku}.{view}.{ext}")
    studio, _ = make_studio(tmp_path, deliverables=(amazon,), naming=naming)
    studio.drop("ABC_1.jpg")
    studio.drop("odd.jpg", (1, 2, 3))
    studio.drop("ABC_7.jpg", (4, 5, 6))
    jobs = live(studio)
    assert list(studio.outputs()) == ["ABC.MAIN.jpg"]
    assert {name: job.state for name, job in jobs.items()} == {
        "ABC_1.jpg": State.DONE,
        "odd.jpg": State.FAILED,
        "ABC_7.jpg": State.FAILED,
    }
    assert "read_name does not find" in str(jobs["odd.jpg"].reason)
    assert "'7', which is not in its table" in str(jobs["ABC_7.jpg"].reason)
    assert studio.sandbox.billed == 1


def test_a_full_output_keeps_what_was_paid_and_what_stands(tmp_path: Path) -> None:
    studio, _ = make_studio(tmp_path)
    studio.drop("day/a.jpg")
    (studio.root / "out").rename(tmp_path / "away")
    with studio.live() as life:
        life.find()
        life.work()
        assert [job.state for job in life.ledger.jobs()] == [State.QUEUED], (
            "nothing is bought for an output that is away"
        )
    (tmp_path / "away").rename(studio.root / "out")
    studio.time.pass_s(400)
    live(studio)
    assert texts(studio) == ALL


def test_a_mask_is_bought_where_that_is_wished(tmp_path: Path) -> None:
    params = RemovalParams(format=Format.PNG, mask=True)
    studio, render = make_studio(tmp_path, master=Master.MASK, params=params)
    studio.drop("day/a.jpg")
    live(studio)
    assert {wish.kind for wish in render.asked} == {Master.MASK}
    assert texts(studio) == ALL


def test_the_ledger_says_of_each_file_how_it_stands(tmp_path: Path) -> None:
    studio, render = make_studio(tmp_path)
    render.refuses = {"thumb"}
    studio.drop("day/a.jpg")
    live(studio)
    with studio.live() as life:
        made = life.ledger.made(1)
    assert {name: one.state for name, one in made.items()} == {
        "print": MadeState.STANDING,
        "shop": MadeState.STANDING,
        "thumb": MadeState.FAILED,
    }
    assert made["shop"].code == "too_small"
    data = studio.outputs()["shop/day/a.jpg"]
    assert (made["shop"].digest, made["shop"].size_bytes) == (sha256(data).hexdigest(), len(data))


# --- the sidecar ------------------------------------------------------------------------------------

WITH_SIDECAR = {*ALL, "day/a.json"}


def sidecar(studio: Studio, name: str = "day/a.json") -> Any:
    return json.loads((studio.root / "out" / name).read_bytes())


def test_a_sidecar_says_last_what_was_made_of_what(tmp_path: Path) -> None:
    studio, render = make_studio(tmp_path, has_sidecar=True)
    render.refuses = {"thumb"}
    path = studio.drop("day/a.jpg")
    seen: list[set[str]] = []
    studio.die_at = lambda step: step == "named" and bool(seen.append(set(studio.outputs())))
    live(studio)
    assert seen[-1] == {"print/day/a.tif", "shop/day/a.jpg", "day/a.json"}
    assert "day/a.json" not in seen[-2]
    said, outputs = sidecar(studio), studio.outputs()
    assert said["source"]["sha256"] == sha256(path.read_bytes()).hexdigest()
    assert (said["source"]["path"], said["credits"]) == ("day/a.jpg", "1")
    assert [(one["deliverable"], one["remarks"]) for one in said["files"]] == [("print", []), ("shop", ["too_small"])]
    for one in said["files"]:
        data = outputs[one["path"]]
        assert (one["sha256"], one["size_bytes"]) == (sha256(data).hexdigest(), len(data))
    assert said["not_made"] == [{"deliverable": "thumb", "code": "odd", "reason": "it is too odd"}]
    assert str(tmp_path) not in json.dumps(said)
    documented = (Path(__file__).parents[2] / "docs/sidecar.md").read_text()
    for key in [*said, *said["source"], *said["files"][0], *said["not_made"][0], *said["answer"], *said["options"]]:
        assert f"`{key}`" in documented, key


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("nth", [2, 4])
@pytest.mark.parametrize("step", [one for one in STEPS if one != "published"])  # which is a plain cut-out's
def test_a_crash_after_any_step_leaves_one_true_sidecar(tmp_path: Path, step: str, nth: int) -> None:
    studio, _ = make_studio(tmp_path, has_sidecar=True)
    studio.drop("day/a.jpg")
    left = [nth if step in ("staged", "written down", "new", "named") else 1]

    def die(name: str) -> bool:
        left[0] -= name == step
        return name == step and left[0] == 0

    studio.die_at = die
    with pytest.raises(Crash):
        live(studio)
    studio.die_at = lambda _name: False
    live(studio)
    outputs = studio.outputs()
    assert set(outputs) == WITH_SIDECAR
    assert {one["path"]: one["sha256"] for one in sidecar(studio)["files"]} == {
        name: sha256(data).hexdigest() for name, data in outputs.items() if name != "day/a.json"
    }
    assert studio.sandbox.billed == 1


def test_a_sidecar_is_ours_as_the_files_are(tmp_path: Path) -> None:
    """It is replaced at a re-export, stays where it was edited, follows a rename, and overwrites nobody's file."""
    studio, _ = make_studio(tmp_path, has_sidecar=True)
    (studio.root / "out/day").mkdir()
    (studio.root / "out/day/c.json").write_bytes(b"foreign")
    studio.drop("day/a.jpg")
    studio.drop("day/c.jpg", (9, 9, 9))
    live(studio)
    before = sidecar(studio)
    assert studio.outputs()["day/c.json"] == b"foreign"
    assert sidecar(studio, "day/c.jpg.json")["source"]["path"] == "day/c.jpg"
    studio.drop("day/a.jpg", (1, 2, 3))
    live(studio)
    assert sidecar(studio)["source"]["sha256"] != before["source"]["sha256"]
    live(studio, rename(studio, "day/a.jpg", "day/b.jpg"))
    assert "day/a.json" not in studio.outputs()
    assert sidecar(studio, "day/b.json")["files"][0]["path"] == "print/day/b.tif"
    (studio.root / "out/day/b.json").write_bytes(b"edited")
    studio.drop("day/b.jpg", (4, 5, 6))
    live(studio)
    assert studio.outputs()["day/b.json"] == b"edited"
    assert "day/b.jpg.json" in studio.outputs()
    assert studio.sandbox.billed == 4


def test_a_sidecar_is_written_anew_when_a_file_is_added_and_knows_a_source_that_is_gone(tmp_path: Path) -> None:
    studio, _ = make_studio(tmp_path, deliverables=(TIFF,), after="delete", has_sidecar=True)
    studio.drop("day/a.jpg")
    live(studio)
    before = sidecar(studio)
    studio.recipe = replace(studio.recipe, deliverables=(TIFF, SHOP))
    live(studio, lambda life: life.ledger.make_again([1], life.ports.now()))
    after = sidecar(studio)
    assert [one["deliverable"] for one in after["files"]] == ["print", "shop"]
    assert after["source"] == before["source"]
    assert set(studio.outputs()) == {"print/day/a.tif", "shop/day/a.jpg", "day/a.json"}
    with studio.live() as life:
        assert life.ledger.lacking("f", studio.recipe.wanted) == []
