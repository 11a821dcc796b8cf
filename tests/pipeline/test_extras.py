"""What something has to be installed for waits, costs nothing meanwhile, and goes on by itself."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from rembg_watch.api.params import Format, RemovalParams
from rembg_watch.daemon import leftovers
from rembg_watch.jobs import Job, State
from rembg_watch.ledger import Which
from rembg_watch.pictures import extras
from rembg_watch.pictures.deliverable import Deliverable, FileFormat
from rembg_watch.pictures.naming import Naming
from rembg_watch.pictures.reduction import Proxy
from rembg_watch.pictures.rendering import NotRenderedError, Rendered
from rembg_watch.pipeline import Pipeline
from rembg_watch.report import events
from tests.life import Studio

SHOP = Deliverable(name="shop", format=FileFormat.JPEG, path="{stem}.{ext}")


class Renders:
    """Writes a file, unless its library is missing."""

    is_missing = False

    def __call__(self, _source: Any, file: Any, _scratch: Any, _wish: Any, *, waiting: Any) -> Rendered:
        if self.is_missing:
            raise NotRenderedError("missing_library", "It needs libvips: pip install 'rembg-watch[pictures]'")
        file.write(b"a file")
        return Rendered(width=40, height=30, size_bytes=6)


@pytest.fixture
def studio(tmp_path: Path) -> Studio:
    how = {"params": RemovalParams(format=Format.PNG), "naming": Naming(folder="f"), "send_px": 4000}
    studio = Studio.make(tmp_path, deliverables=(SHOP,), failed=tmp_path / "failed", **how)
    studio.render = Renders()
    return studio


def proxied(_source: Any, copy: Any, _reduction: Any, *, px: int, waiting: Any) -> Proxy:
    Image.new("RGB", (40, 30), (1, 2, 3)).save(copy, "JPEG")
    return Proxy(width=40, height=30)


def a_start(studio: Studio, **ports: Any) -> Job:
    """One life of the program; return what became of the picture."""
    with studio.live() as life:
        life.recover()
        leftovers.release_held(life.parts)
        life.find()
        life.pipeline = Pipeline(replace(life.ports, proxy=proxied, **ports))
        life.work()
        (job,) = life.ledger.jobs(Which(folders=frozenset({"f"})))
        return job


def test_nothing_is_bought_that_no_file_can_be_made_of(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extras, "has_extra", lambda _extra: False)
    studio.drop("a.jpg")
    for _ in range(2):
        job = a_start(studio, why_not_made=extras.why_not_made)
        assert (job.state, job.code, studio.sandbox.billed) == (State.HELD, "needs_extra", 0)
        assert "pip install 'rembg-watch[pictures]', then start rembg-watch anew" in (job.reason or "")
    assert len(studio.reported(events.Held)) == 2
    monkeypatch.undo()
    assert a_start(studio).state is State.DONE
    assert (studio.sandbox.billed, list(studio.outputs())) == (1, ["a.jpg"])


def test_a_picture_that_cannot_be_read_without_waits_and_is_not_set_aside(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extras, "has_extra", lambda _extra: False)
    path = studio.drop("a.tif")
    job = a_start(studio)
    assert (job.state, job.code, path.exists()) == (State.HELD, "needs_extra", True)
    assert "It is a TIFF" in (job.reason or "")
    monkeypatch.setattr(extras, "has_extra", lambda _extra: True)
    assert a_start(studio).state is State.DONE
    assert studio.sandbox.billed == 1


def test_what_is_bought_waits_where_a_library_went_meanwhile(studio: Studio) -> None:
    studio.drop("a.jpg")
    Renders.is_missing = True
    try:
        job = a_start(studio)
    finally:
        Renders.is_missing = False
    assert (job.state, job.code) == (State.RECEIVED, "not_now")
    assert "pip install" in (job.reason or "")
    studio.time.pass_s(120)
    assert a_start(studio).state is State.DONE
    assert studio.sandbox.billed == 1
