"""The first answer of a new kind goes alone: a wrong guess about the service costs a credit, and not one a worker."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageDraw

from rembg_watch.account.causes import Cause
from rembg_watch.account.measures import Learned
from rembg_watch.account.pacing import Pacer
from rembg_watch.api.params import Format, RemovalParams
from rembg_watch.delivery.verify import Expected, Surprise, Verified, verify
from rembg_watch.jobs import State
from rembg_watch.pictures.deliverable import Deliverable, FileFormat, Master
from rembg_watch.pictures.naming import Naming
from rembg_watch.pipeline import Pipeline
from rembg_watch.pipeline.pool import Pool
from rembg_watch.pipeline.trials import IN_A_ROW, NOTE, ODD, USELESS, Book
from rembg_watch.report import events
from rembg_watch.sandbox import Sandbox
from tests.life import KEY, Life, Studio, eventually
from tests.pipeline.test_making import FakeRender

SHOP = Deliverable(name="shop", format=FileFormat.JPEG, path="{stem}.{ext}")
PICTURES = 12


@pytest.fixture
def studio(tmp_path: Path) -> Studio:
    studio = Studio.make(
        tmp_path,
        deliverables=(SHOP,),
        params=RemovalParams(format=Format.PNG),
        naming=Naming(folder="f"),
        send_px=4000,
        batch_size=30,
    )
    studio.render = FakeRender()
    for number in range(PICTURES):
        studio.drop(f"{number}.png", (number, 7, 7))
    return studio


class Answers:
    """Says of each answer what a test wants, and counts them; one that is held is not looked at yet."""

    def __init__(self, *findings: str | None) -> None:
        self.findings, self.count = findings, 0
        self.go_on = threading.Event()
        self.go_on.set()
        self._lock = threading.Lock()

    def __call__(self, answer: Path, expected: Expected) -> Verified:
        self.go_on.wait(60)
        found = verify(answer, expected)
        with self._lock:
            finding = self.findings[min(self.count, len(self.findings) - 1)]
            self.count += 1
        return replace(found, warning=finding)


@contextmanager
def working(studio: Studio, answers: Callable[[Path, Expected], Verified]) -> Iterator[Life]:
    with studio.live(workers=4) as life:
        life.governor._throughput.pacer = Pacer(0.0, Learned(1000.0, 1000.0))
        life.ports = replace(life.ports, verify=answers)
        pool = Pool(Pipeline(life.ports), life.balance, life.parts.under_way, shut=set, run_id="test", workers=4)
        life.find()
        pool.start()
        try:
            yield life
        finally:
            if isinstance(answers, Answers):
                answers.go_on.set()
            pool.stop()


def settled(life: Life) -> bool:
    """Say whether nothing is under way, and nothing would be claimed."""
    held = life.governor.gate.refusing("f", life.studio.recipe.options)
    return len(life.parts.under_way) == 0 and (held is not None or life.ledger.counts()[State.QUEUED] == 0)


def test_until_the_first_answer_is_known_no_other_picture_is_sent(studio: Studio) -> None:
    answers = Answers(None)
    answers.go_on.clear()
    with working(studio, answers) as life:
        eventually(lambda: studio.sandbox.billed == 1)
        threading.Event().wait(0.3)
        assert studio.sandbox.billed == 1
        answers.go_on.set()
        eventually(lambda: life.ledger.counts()[State.DONE] == PICTURES)
    assert studio.sandbox.billed == PICTURES


def test_a_kind_that_was_proven_is_proven_after_a_restart_and_in_other_folders(studio: Studio) -> None:
    with working(studio, Answers(None)) as life:
        eventually(lambda: life.ledger.counts()[State.DONE] == PICTURES)
    for number in range(PICTURES):
        studio.drop(f"more/{number}.png", (number, 99, 7))
    studio.recipe = replace(studio.recipe, deliverables=(replace(SHOP, quality=70),))
    answers = Answers(None)
    answers.go_on.clear()
    with working(studio, answers):
        eventually(lambda: studio.sandbox.billed > PICTURES + 1)


def test_another_master_is_another_kind(studio: Studio) -> None:
    of_mask = replace(studio.recipe, master=Master.MASK)
    assert of_mask.kind != studio.recipe.kind
    assert replace(studio.recipe, deliverables=()).kind == ""


@pytest.mark.parametrize("finding", sorted(USELESS))
def test_an_answer_that_nothing_can_be_made_of_costs_one_credit(studio: Studio, finding: str) -> None:
    with working(studio, Answers(finding, None)) as life:
        eventually(lambda: settled(life) and life.ledger.counts()[State.QUEUED] == PICTURES - 1)
        hold = life.governor.gate.refusing("f", studio.recipe.options)
        assert hold is not None
        assert hold.cause is Cause.TRIAL
        assert studio.sandbox.billed == 1
        (told,) = studio.reported(events.TrialFailed)
        assert 'retry --folder f" tries one more' in told.sentence()
        life.governor.release_folder("f", Cause.TRIAL)
        life.parts.under_way.poke()
        eventually(lambda: life.ledger.counts()[State.DONE] == PICTURES)
    assert studio.sandbox.billed == PICTURES


def test_a_first_answer_of_another_size_costs_one_credit(studio: Studio) -> None:
    odd, even = Answers(None), Answers(None)

    def of_another_size(answer: Path, expected: Expected) -> Verified:
        surprise = Surprise(reason="the answer is 9 x 9, expected 60 x 40", code="wrong_size")
        return replace(odd(answer, expected), surprise=surprise)

    with working(studio, of_another_size) as life:
        eventually(lambda: settled(life) and life.ledger.counts()[State.QUEUED] == PICTURES - 1)
        hold = life.governor.gate.refusing("f", studio.recipe.options)
        assert hold is not None
        assert hold.cause is Cause.SURPRISES
        (told,) = studio.reported(events.FolderHeld)
        assert "the first answer of its kind is not of the size that was expected" in told.sentence()
        assert studio.sandbox.billed == 1
        life.governor.release_folder("f", Cause.SURPRISES)
    with working(studio, even) as life:
        eventually(lambda: life.ledger.counts()[State.DONE] == PICTURES - 1)
    assert studio.sandbox.billed == PICTURES


@pytest.mark.parametrize("finding", sorted(ODD))
def test_what_may_be_the_pictures_own_fault_costs_three(studio: Studio, finding: str) -> None:
    with working(studio, Answers(finding)) as life:
        eventually(lambda: settled(life) and life.ledger.counts()[State.QUEUED] == PICTURES - IN_A_ROW)
        assert studio.sandbox.billed == IN_A_ROW
        life.governor.release_folder("f", Cause.TRIAL)
        life.parts.under_way.poke()
        eventually(lambda: settled(life) and life.ledger.counts()[State.QUEUED] == PICTURES - IN_A_ROW - 1)
    assert studio.sandbox.billed == IN_A_ROW + 1, "one more is tried, and no more than one"


def test_one_odd_picture_holds_up_nobody(studio: Studio) -> None:
    with working(studio, Answers("all_opaque", None)) as life:
        eventually(lambda: life.ledger.counts()[State.DONE] == PICTURES)
    assert not studio.reported(events.TrialFailed)


@pytest.mark.parametrize("fault", ["status", "too_quick", "garbage"])
def test_a_first_call_that_fails_lets_another_one_try(studio: Studio, fault: str) -> None:
    studio.sandbox.add_fault(fault, count=2)
    with working(studio, Answers(None)) as life:
        eventually(lambda: life.ledger.counts()[State.DONE] == PICTURES)
    assert studio.sandbox.billed == PICTURES + (2 if fault == "garbage" else 0)


def test_who_waits_for_a_trial_counts_as_one_to_be_paid_for(studio: Studio) -> None:
    """Else more would be claimed than there are credits for."""
    studio.sandbox = Sandbox(KEY, engine="flat", credits=5)
    answers = Answers(None)
    answers.go_on.clear()
    with working(studio, answers) as life:
        eventually(lambda: studio.sandbox.billed == 1)
        threading.Event().wait(0.3)
        assert life.ledger.counts()[State.QUEUED] == PICTURES - 1
        assert life.parts.under_way.unpaid("f") <= 5
        answers.go_on.set()
        eventually(lambda: life.ledger.counts()[State.DONE] == 5)
    assert studio.sandbox.billed == 5


# --- the book ---------------------------------------------------------------------------------------


def test_the_book_survives_the_ledger() -> None:
    book = Book().after("a", None).after("b", "all_opaque").after("c", "no_alpha")
    assert Book.of_note(book.note()) == book
    assert [book.is_refuted(kind) for kind in "abcd"] == [False, False, True, False]
    assert book.after("b", None).proven == ("a", "b")
    assert book.after("b", "not_decoded") == book


@pytest.mark.parametrize("note", [None, [], "x", {"proven": 1, "odd": []}, {"proven": [1], "odd": {"k": "3"}}])
def test_a_note_that_is_not_understood_proves_nothing(note: Any) -> None:
    assert Book.of_note(note) == Book()
    assert NOTE


# --- masks ------------------------------------------------------------------------------------------


def drawn(mode: str, inside: Any, outside: Any) -> Image.Image:
    made = Image.new(mode, (200, 150), outside)
    ImageDraw.Draw(made).ellipse((50, 30, 150, 120), fill=inside)
    return made


@pytest.mark.parametrize(
    ("mask", "finding"),
    [
        (drawn("L", 255, 0), None),
        (drawn("RGB", (255,) * 3, (0,) * 3), None),
        (drawn("RGBA", (255,) * 4, (0, 0, 0, 255)), None),
        (drawn("RGBA", (255,) * 4, (255, 255, 255, 0)), None),
        (drawn("I;16", 65535, 0), None),
        (drawn("RGB", (255, 200, 30), (0, 0, 0)), "odd_mask"),
        (drawn("L", 255, 255), "flat_mask"),
        (drawn("L", 0, 0), "flat_mask"),
        (drawn("L", 0, 255), "inverted_mask"),
        (drawn("1", 1, 0), None),
        (drawn("1", 0, 1), "inverted_mask"),
    ],
)
def test_a_mask_is_looked_at(tmp_path: Path, mask: Image.Image, finding: str | None) -> None:
    mask.save(tmp_path / "mask.png")
    params = RemovalParams(format=Format.PNG, mask=True)
    found = verify(tmp_path / "mask.png", Expected(params=params, width=200, height=150))
    assert found.warning == finding
