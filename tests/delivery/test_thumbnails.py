"""Small pictures of originals that are deleted: kept where somebody may look at them, and never in the way."""

from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from PIL import Image

from rembg_watch.delivery.thumbnails import PX, THUMBNAILS_NAME, Thumbnails
from rembg_watch.host.cache import Cache
from rembg_watch.host.disk import version_of
from rembg_watch.jobs import State
from rembg_watch.pictures.view import make_view
from tests.life import Studio


def made(source: BinaryIO, output: BinaryIO, scratch: BinaryIO, *, px: int) -> object:
    return make_view(source, output, scratch, px=px)


def kept(root: Path) -> list[Path]:
    return [path for path in root.rglob("*") if path.is_file()]


@pytest.fixture
def studio(tmp_path: Path) -> Studio:
    studio = Studio.make(tmp_path, after="delete")
    picture = Image.linear_gradient("L").convert("RGB").resize((800, 600))
    (tmp_path / "in/day").mkdir()
    picture.save(tmp_path / "in/day/a.png")
    return studio


def work(studio: Studio, thumbnails: Thumbnails) -> Any:
    from rembg_watch.pipeline import Pipeline

    with studio.live() as life:
        life.ports = replace(life.ports, thumbnails=thumbnails)
        life.pipeline = Pipeline(life.ports)
        life.recover()
        life.find()
        life.work()
        (job,) = life.ledger.jobs()
        return job


def test_before_an_original_is_deleted_a_small_picture_of_it_is_kept(studio: Studio) -> None:
    root = studio.root / THUMBNAILS_NAME
    job = work(studio, Thumbnails(Cache(root, limit_bytes=10_000_000), made))
    assert job.state is State.DONE
    assert not (studio.root / "in/day/a.png").exists()
    (path,) = kept(root)
    assert path == root / job.content_key[:2] / job.content_key
    with Image.open(path) as small:
        assert small.size == (PX, 270)


def test_nobody_who_would_look_nothing_kept(studio: Studio) -> None:
    assert work(studio, Thumbnails()).state is State.DONE
    assert not (studio.root / THUMBNAILS_NAME).exists()


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), MemoryError(), TimeoutError()])
def test_one_that_cannot_be_made_keeps_nobody_from_deleting(studio: Studio, error: Exception) -> None:
    def fails(*_: object, **__: object) -> None:
        raise error

    job = work(studio, Thumbnails(Cache(studio.root / THUMBNAILS_NAME, limit_bytes=10_000_000), fails))
    assert (job.state, job.is_disposed) == (State.DONE, True)
    assert kept(studio.root / THUMBNAILS_NAME) == []


def test_another_version_is_not_taken_for_it(studio: Studio) -> None:
    job = work(studio, Thumbnails())
    thumbnails = Thumbnails(Cache(studio.root / THUMBNAILS_NAME, limit_bytes=10_000_000), made)
    studio.drop("day/a.png", (9, 9, 9))
    thumbnails.keep(studio.root / "in/day/a.png", job)
    assert kept(studio.root / THUMBNAILS_NAME) == []
    thumbnails.keep(
        studio.root / "in/day/a.png", replace(job, version=version_of((studio.root / "in/day/a.png").stat()))
    )
    assert len(kept(studio.root / THUMBNAILS_NAME)) == 1
