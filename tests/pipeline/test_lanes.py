"""What takes long on this machine, to copy a picture and to make files of it, keeps no other folder waiting."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from threading import Event
from threading import enumerate as all_threads
from typing import Any, BinaryIO

import pytest
from PIL import Image

from rembg_watch.api.params import Format, RemovalParams
from rembg_watch.delivery.making import Making
from rembg_watch.delivery.waiting import Waiting
from rembg_watch.host.disk import version_of
from rembg_watch.jobs import Job, State
from rembg_watch.pictures.deliverable import Deliverable, FileFormat
from rembg_watch.pictures.naming import Naming
from rembg_watch.pictures.rendering import Rendered
from rembg_watch.pipeline import Pipeline
from rembg_watch.pipeline.pool import Pool, low_mark
from tests.life import Life, Studio, eventually

MANY, TOO_MANY = 40, 80
"""More than may be under way at once; and more than that with all that is on its way when it becomes too much."""


class HeldRender:
    """Makes a file once it is let go, as a large picture may take minutes; a share may let it wait as well."""

    def __init__(self) -> None:
        self.go_on, self.works, self.begun = Event(), True, 0

    def __call__(
        self, source: BinaryIO | None, file: BinaryIO, scratch: BinaryIO, wish: Making, *, waiting: Waiting
    ) -> Rendered:
        self.begun += 1
        while not self.go_on.wait(0.01):
            waiting.beat()
            if self.works:
                waiting.moved()
        file.write(b"a file")
        return Rendered(width=40, height=30, size_bytes=6)


class HeldCopies(Pipeline):
    """Prepares pictures of the folder that delivers once they are let go."""

    go_on = Event()

    def prepare(self, job: Job, *, beat: Callable[[], None] = lambda: None) -> Any:
        if job.folder == "f":
            assert self.go_on.wait(60)
        return super().prepare(job, beat=beat)


@pytest.fixture
def render() -> Iterator[HeldRender]:
    made = HeldRender()
    yield made
    made.go_on.set()


@pytest.fixture
def studio(tmp_path: Path, render: HeldRender) -> Studio:
    """Folder ``f`` has a file made of each picture; folder ``plain`` delivers what comes back."""
    shop = Deliverable(name="shop", format=FileFormat.JPEG, path="{stem}.{ext}")
    how = {"params": RemovalParams(format=Format.PNG), "naming": Naming(folder="f"), "send_px": 4000}
    studio = Studio.make(tmp_path, deliverables=(shop,), **how)
    studio.render = render
    for name in ("plain in", "plain out"):
        (tmp_path / name).mkdir()
    return studio


def drop(life: Life, folder: str, count: int, first: int = 0) -> None:
    root = life.studio.root / ("in" if folder == "f" else "plain in")
    found = []
    for number in range(first, first + count):
        name = f"{number}.png"
        Image.new("RGB", (40, 30), (number % 256, 7 if folder == "f" else 8, 9)).save(root / name)
        found.append((name.encode(), version_of((root / name).stat())))
    life.ledger.add(folder, found, life.ports.now())


def done(life: Life, folder: str) -> int:
    return life.ledger.counts(folder)[State.DONE]


@contextmanager
def working(studio: Studio, pipeline: type[Pipeline] = Pipeline) -> Iterator[Life]:
    with studio.live(workers=2) as life:
        root, plan = studio.root, life.ports.in_force.plan
        plain = replace(
            studio.recipe, name="plain", deliverables=(), input=root / "plain in", output=root / "plain out"
        )
        life.change(recipes={**plan.recipes, "plain": plain}, batch_size=5)
        under_way, steps = life.parts.under_way, pipeline(life.ports)
        pool = Pool(steps, life.balance, under_way, shut=set, run_id="test", workers=2)
        life.pool = pool
        try:
            yield life
        finally:
            if studio.render is not None:
                studio.render.go_on.set()  # type: ignore[attr-defined]
            HeldCopies.go_on.set()
            life.pool.stop()


def test_while_files_are_made_a_plain_folder_is_delivered_however_many_wait(studio: Studio, render: HeldRender) -> None:
    with working(studio) as life:
        drop(life, "f", TOO_MANY)
        life.pool.start()
        eventually(lambda: render.begun >= 2)
        eventually(lambda: life.parts.under_way.has_long_work)
        drop(life, "plain", MANY)
        life.parts.under_way.poke()
        eventually(lambda: done(life, "plain") == MANY)
        assert done(life, "f") == 0
        assert life.ledger.counts("f")[State.QUEUED] > 0, "no more are bought than can be made for now"
        render.go_on.set()
        eventually(lambda: done(life, "f") == TOO_MANY)
    assert studio.sandbox.billed == TOO_MANY + MANY


def test_nobody_who_makes_no_files_has_threads_for_that(studio: Studio) -> None:
    with working(studio) as life:
        drop(life, "plain", 5)
        life.pool.start()
        eventually(lambda: done(life, "plain") == 5)
        life.pool.replace_lost()
        assert not [one.name for one in all_threads() if one.name.startswith(("copier", "renderer"))]


def test_while_large_pictures_are_copied_a_plain_folder_is_delivered(studio: Studio, render: HeldRender) -> None:
    render.go_on.set()
    HeldCopies.go_on = Event()
    with working(studio, HeldCopies) as life:
        drop(life, "f", MANY)
        life.pool.start()
        eventually(lambda: life.parts.under_way.has_long_work)
        drop(life, "plain", MANY)
        life.parts.under_way.poke()
        eventually(lambda: done(life, "plain") == MANY)
        assert done(life, "f") == 0
        assert len(life.parts.under_way) <= low_mark(2) + 5 + 1, "the others wait in the ledger"
        HeldCopies.go_on.set()
        eventually(lambda: done(life, "f") == MANY)


def test_the_end_waits_for_files_that_are_begun_and_the_next_start_makes_the_others(
    studio: Studio, render: HeldRender
) -> None:
    with working(studio) as life:
        drop(life, "f", 8)
        life.pool.start()
        eventually(lambda: life.ledger.counts("f")[State.RECEIVED] == 8)
        eventually(lambda: render.begun == 2)
        life.ports.stopping.set()
        render.go_on.set()
    assert render.begun == 2
    with working(studio) as life:
        life.recover()
        assert (done(life, "f"), life.ledger.counts("f")[State.RECEIVED]) == (2, 6)
        life.pool.start()
        eventually(lambda: done(life, "f") == 8)
    assert studio.sandbox.billed == 8
    assert render.begun == 8


def test_a_source_that_is_not_read_on_stops_its_own_folder_alone(studio: Studio, render: HeldRender) -> None:
    with working(studio) as life:
        drop(life, "f", 3)
        life.pool.start()
        eventually(lambda: render.begun == 2)
        studio.time.pass_s(60)
        eventually(lambda: not life.ports.shares.hung(), within_s=5)  # it takes long, and moves
        render.works = False
        eventually(lambda: life.ports.shares.is_hung("f"))
        life.pool.replace_lost()
        drop(life, "f", 3, first=3)
        drop(life, "plain", MANY)
        life.parts.under_way.poke()
        eventually(lambda: done(life, "plain") == MANY)
        assert render.begun == 2, "no further one is sent after them"
        assert done(life, "f") == 0
        render.go_on.set()
        eventually(lambda: not life.ports.shares.hung())
        eventually(lambda: done(life, "f") == 6)
    assert studio.sandbox.billed == 6 + MANY


def test_a_copy_that_is_kept_waiting_by_its_source_stops_its_own_folder_alone(studio: Studio) -> None:
    """The same for what is sent in place of a large picture."""
    studio.render = None
    go_on = Event()

    def proxy(source: BinaryIO, copy: BinaryIO, reduction: object, *, px: int, waiting: Waiting) -> Any:
        assert go_on.wait(60)
        raise OSError(5, "Input/output error", "source")

    with working(studio) as life:
        ports = replace(life.ports, proxy=proxy)
        life.pool = Pool(Pipeline(ports), life.balance, life.parts.under_way, shut=set, run_id="t", workers=2)
        Image.new("RGB", (40, 30)).save(studio.root / "in/a.tif")
        life.ledger.add("f", [(b"a.tif", version_of((studio.root / "in/a.tif").stat()))], ports.now())
        life.pool.start()
        eventually(lambda: life.ports.shares.is_hung("f"))
        go_on.set()
        eventually(lambda: not life.ports.shares.is_hung("f"))
        life.pool.stop()
