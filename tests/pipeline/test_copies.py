"""Two sources whose copies, as sent, are the same bytes are paid for once."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from PIL import Image

from rembg_watch.api.params import Format, RemovalParams
from rembg_watch.jobs import REJECTED, State
from rembg_watch.ledger import Which
from rembg_watch.pictures.deliverable import Deliverable, FileFormat
from rembg_watch.pictures.figures import Limits
from rembg_watch.pictures.naming import Naming
from rembg_watch.pipeline.pool import Pool
from rembg_watch.report import events
from rembg_watch.sandbox import Sandbox
from tests.life import KEY, Life, Studio, eventually
from tests.pipeline.test_making import FakeRender

pytest.importorskip("pyvips", reason="the extra `pictures` is not installed")

SHOP = Deliverable(name="shop", format=FileFormat.JPEG, path="{dir}/{stem}.{ext}")
PACKINGS = {"lzw": "tiff_lzw", "zip": "tiff_deflate", "plain": "raw", "bits": "packbits"}


@pytest.fixture
def studio(tmp_path: Path) -> Studio:
    sandbox = Sandbox(KEY, engine="flat", latency_s=0.2)
    params, naming = RemovalParams(format=Format.PNG), Naming(folder="f")
    studio = Studio.make(
        tmp_path, sandbox=sandbox, deliverables=(SHOP,), params=params, naming=naming, send_px=4000, batch_size=30
    )
    studio.render = FakeRender()
    return studio


def drop_tiffs(studio: Studio, *names: str, shade: int = 0) -> None:
    picture = (
        Image.effect_noise((90, 70), 60).convert("RGB") if shade < 0 else Image.linear_gradient("L").convert("RGB")
    )
    picture = picture.point(lambda value: min(255, value + shade))
    for name in names:
        picture.save(studio.root / "in" / f"{name}.tif", "TIFF", compression=PACKINGS[name])


@contextmanager
def working(studio: Studio) -> Iterator[Life]:
    with studio.live(workers=4) as life:
        life.pool = Pool(life.pipeline, life.balance, life.parts.under_way, shut=set, run_id="test", workers=4)
        life.find()
        life.pool.start()
        try:
            yield life
        finally:
            life.pool.stop()


def test_one_picture_in_four_packings_at_once_costs_one_credit(studio: Studio) -> None:
    drop_tiffs(studio, *PACKINGS)
    with working(studio) as life:
        eventually(lambda: life.ledger.counts()[State.DONE] == 4)
        keys = {job.content_key for job in life.ledger.jobs()}
    assert len(keys) == 4, "they are four pictures"
    assert studio.sandbox.billed == 1
    assert set(studio.outputs()) == {f"{name}.jpg" for name in PACKINGS}


def test_another_packing_costs_nothing_after_a_restart(studio: Studio) -> None:
    drop_tiffs(studio, "lzw")
    with working(studio) as life:
        eventually(lambda: life.ledger.counts()[State.DONE] == 1)
    drop_tiffs(studio, "zip")
    with working(studio) as life:
        eventually(lambda: life.ledger.counts()[State.DONE] == 2)
    assert studio.sandbox.billed == 1


def test_a_rejected_picture_is_not_paid_for_in_another_packing(studio: Studio) -> None:
    limits = Limits(coverage_min=0.999)  # nothing is even
    studio.recipe = replace(studio.recipe, review="hold", review_limits=limits)
    drop_tiffs(studio, "lzw")
    with working(studio) as life:
        eventually(lambda: life.ledger.counts()[State.HELD] == 1)
        life.ledger.turn_down(Which(), life.ports.now())
    drop_tiffs(studio, "zip")
    with working(studio) as life:
        eventually(lambda: life.ledger.counts()[State.FAILED] == 2)
        assert {job.code for job in life.ledger.jobs()} == {REJECTED}
        assert not any(life.ports.contents.is_asked(str(job.content_key)) for job in life.ledger.jobs())
    assert studio.sandbox.billed == 1
    assert studio.outputs() == {}


def test_other_pixels_and_other_options_are_other_requests(studio: Studio) -> None:
    drop_tiffs(studio, "lzw")
    drop_tiffs(studio, "zip", shade=9)
    with working(studio) as life:
        eventually(lambda: life.ledger.counts()[State.DONE] == 2)
    assert studio.sandbox.billed == 2
    drop_tiffs(studio, "plain")
    studio.recipe = replace(studio.recipe, params=RemovalParams(format=Format.PNG, w=50))
    with working(studio) as life:
        eventually(lambda: life.ledger.counts()[State.DONE] == 3)
    assert studio.sandbox.billed == 3


def test_a_copy_whose_call_failed_leaves_the_next_one_to_ask(studio: Studio) -> None:
    studio.sandbox.add_fault("status", status=400, count=1)
    drop_tiffs(studio, "lzw", "zip")
    with working(studio) as life:
        eventually(lambda: life.ledger.counts()[State.DONE] + life.ledger.counts()[State.FAILED] == 2)
        assert life.ledger.counts()[State.DONE] == 1
    assert studio.sandbox.billed == 1


def test_what_is_not_kept_any_more_is_paid_for(studio: Studio) -> None:
    drop_tiffs(studio, "lzw")
    with working(studio) as life:
        eventually(lambda: life.ledger.counts()[State.DONE] == 1)
        for kept in life.ports.masters.directory.rglob("*"):
            if kept.is_file():
                kept.unlink()
    for name in studio.outputs():
        (studio.root / "out" / name).unlink()
    drop_tiffs(studio, "zip")
    with working(studio) as life:
        eventually(lambda: life.ledger.counts()[State.DONE] == 2)
    assert studio.sandbox.billed == 2


def test_of_several_pages_the_first_is_said_to_be_sent(studio: Studio) -> None:
    first, *others = (Image.new("RGB", (40, 30), (shade, 9, 9)) for shade in (200, 90, 40))
    first.save(studio.root / "in" / "three.tif", "TIFF", save_all=True, append_images=others)
    with working(studio) as life:
        eventually(lambda: life.ledger.counts()[State.DONE] == 1)
    (told,) = studio.reported(events.FirstOfPages)
    assert told.sentence() == "f/three.tif holds 3 pages: the first is cut out, the others are not"
    assert studio.sandbox.billed == 1


def test_two_upright_copies_of_a_plain_folder_are_one_request(tmp_path: Path) -> None:
    studio = Studio.make(tmp_path)
    exif = Image.Exif()
    exif[0x0112] = 6
    for level in (1, 9):
        picture = Image.linear_gradient("L").convert("RGB").resize((60, 40))
        picture.save(tmp_path / "in" / f"{level}.png", exif=exif, compress_level=level)
    with working(studio) as life:
        eventually(lambda: life.ledger.counts()[State.DONE] == 2)
        assert len({job.content_key for job in life.ledger.jobs()}) == 2
    assert studio.sandbox.billed == 1


def test_the_ledger_remembers_copies_and_forgets_old_ones(tmp_path: Path) -> None:
    studio = Studio.make(tmp_path)
    with studio.live() as life:
        now = life.ports.now()
        life.ledger.remember_sent("copy", "first", now - timedelta(days=500))
        life.ledger.remember_sent("copy", "second", now - timedelta(days=400))
        life.ledger.remember_sent("later", "third", now)
        assert [life.ledger.sent_for(one) for one in ("copy", "later", "never")] == ["second", "third", None]
        life.ledger.prune(now - timedelta(days=365))
        assert [life.ledger.sent_for(one) for one in ("copy", "later")] == [None, "third"]
