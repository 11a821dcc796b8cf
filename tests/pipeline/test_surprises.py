"""Answers of an unexpected size: kept, held, never paid for again by themselves; accepted or made anew by a person."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rembg_watch.account.causes import Cause
from rembg_watch.api.params import Format, RemovalParams
from rembg_watch.delivery.verify import Expected, Surprise, Verified, fits
from rembg_watch.jobs import State
from rembg_watch.ledger import Which
from rembg_watch.pipeline.surprises import FOLDERS_NOTE, IN_A_ROW
from rembg_watch.report import events
from tests.life import Crash, Life, Studio

EVERYTHING = Which()


@pytest.fixture
def studio(tmp_path: Path) -> Studio:
    return Studio.make(tmp_path)


@pytest.fixture
def held(studio: Studio) -> Iterator[Life]:
    """A life in which the answer to a.jpg was of an unexpected size."""
    studio.drop("a.jpg", size=(600, 500))
    studio.sandbox.add_fault("wrong_size", count=1)
    with studio.live() as life:
        life.find()
        life.work()
        yield life


def redo(life: Life, which: Which = EVERYTHING) -> int:
    return life.ledger.redo(list(life.ledger.redoable(which)), life.ports.now())


def test_it_is_held_with_both_sizes_and_kept_and_nothing_else_waits_for_it(studio: Studio, held: Life) -> None:
    (job,) = held.ledger.jobs()
    assert (job.state, job.code, job.finding) == (State.HELD, "wrong_size", "wrong_size")
    assert job.reason == "the answer is 460 x 383, expected 600 x 500"
    assert held.ports.spool.path(str(job.content_key)).exists()
    assert held.governor.standstill is None
    assert held.governor.gate.failures == 0
    assert (studio.outputs(), studio.sandbox.billed) == ({}, 1)
    sentence = studio.reported(events.AnswerHeld)[0].sentence()
    assert '"rembg-watch accept" delivers it as it is, "rembg-watch redo" pays again' in sentence
    assert "network" not in " ".join(event.sentence() for event in studio.events)
    assert studio.reported(events.WillRetry) == []


def test_however_often_it_is_looked_at_it_is_paid_for_once(studio: Studio, held: Life) -> None:
    assert held.ledger.retry(EVERYTHING, held.ports.now()) == 0
    held.find()
    held.work()
    assert (held.states(), studio.sandbox.billed) == ({"a.jpg": State.HELD}, 1)


def test_an_accepted_answer_is_delivered_as_it_is(studio: Studio, held: Life) -> None:
    assert held.ledger.accept(EVERYTHING, held.ports.now()) == 1
    held.work()
    (job,) = held.ledger.jobs()
    assert (job.state, job.finding, job.is_accepted) == (State.DONE, "wrong_size", False)
    assert (list(studio.outputs()), studio.sandbox.billed) == (["a.webp"], 1)
    assert held.ledger.accept(EVERYTHING, held.ports.now()) == 0
    assert not held.ports.spool.path(str(job.content_key)).exists()


def test_accepting_survives_a_crash(studio: Studio, held: Life) -> None:
    held.ledger.accept(EVERYTHING, held.ports.now())
    studio.die_at = lambda step: step == "published"
    with pytest.raises(Crash):
        held.work()
    studio.die_at = lambda _step: False
    with studio.live() as later:
        later.recover()
        later.work()
        assert later.states() == {"a.jpg": State.DONE}
    assert (list(studio.outputs()), studio.sandbox.billed) == (["a.webp"], 1)


def test_a_redone_picture_is_paid_for_again(studio: Studio, held: Life) -> None:
    assert redo(held) == 1
    held.work()
    assert held.states() == {"a.jpg": State.DONE}
    assert (list(studio.outputs()), studio.sandbox.billed) == (["a.webp"], 2)


def test_a_copy_of_it_is_held_as_well_and_costs_nothing(studio: Studio, held: Life) -> None:
    (studio.root / "in/b.jpg").write_bytes((studio.root / "in/a.jpg").read_bytes())
    held.find()
    held.work()
    assert (set(held.states().values()), studio.sandbox.billed) == ({State.HELD}, 1)
    held.ledger.accept(Which(pattern="b*"), held.ports.now())
    held.work()
    assert held.states() == {"a.jpg": State.HELD, "b.jpg": State.DONE}
    held.ledger.accept(EVERYTHING, held.ports.now())
    held.work()
    assert (held.states()["a.jpg"], studio.sandbox.billed) == (State.DONE, 1)


def test_it_is_there_after_a_restart(studio: Studio, held: Life) -> None:
    with studio.live() as later:
        later.recover()
        later.ledger.accept(EVERYTHING, later.ports.now())
        later.work()
        assert later.states() == {"a.jpg": State.DONE}
    assert studio.sandbox.billed == 1


def test_a_new_version_of_the_source_takes_its_place(studio: Studio, held: Life) -> None:
    studio.drop("a.jpg", colour=(1, 200, 3), size=(610, 500))
    held.find()
    held.work()
    assert {job.state for job in held.ledger.jobs()} == {State.DONE, State.VANISHED}
    assert studio.sandbox.billed == 2


# --- several in a row ---------------------------------------------------------------------------


def drop_some(studio: Studio, count: int) -> None:
    for number in range(count):
        studio.drop(f"{number}.jpg", colour=(30 * number, 90, 9), size=(600, 500))


def test_three_in_a_row_hold_the_folder_and_nothing_else(studio: Studio) -> None:
    drop_some(studio, 8)
    studio.sandbox.add_fault("wrong_size")
    with studio.live() as life:
        life.find()
        life.work()
        assert studio.sandbox.billed == IN_A_ROW
        (hold,) = life.governor.gate.folders
        assert (hold.folder, hold.cause, life.governor.standstill) == ("f", Cause.SURPRISES, None)
        (event,) = studio.reported(events.FolderHeld)
        assert '"rembg-watch accept --folder f" takes such answers from now on' in event.sentence()
    with studio.live() as later:
        later.work()
        assert (studio.sandbox.billed, len(later.governor.gate.folders)) == (IN_A_ROW, 1)


def test_what_is_accepted_is_delivered_although_its_folder_is_held(studio: Studio) -> None:
    drop_some(studio, 8)
    studio.sandbox.add_fault("wrong_size")
    with studio.live() as life:
        life.find()
        life.work()
        assert life.ledger.accept(EVERYTHING, life.ports.now()) == IN_A_ROW
        turns = [*life.pool.feeder.turns()]
        assert [(turn.folder, turn.may_send) for turn in turns] == [("f", False)]
        for job in life.ledger.claim(9, at=life.ports.now(), run_id="t", turns=turns, state=State.RECEIVED):
            life.process(job)
        assert len(life.governor.gate.folders) == 1
    assert (len(studio.outputs()), studio.sandbox.billed) == (IN_A_ROW, IN_A_ROW)


def let_go(life: Life) -> None:
    life.ledger.recover(life.ports.now())  # what came back from the gate is still claimed
    life.governor.resume()


def test_what_is_delivered_in_between_ends_the_row(studio: Studio) -> None:
    drop_some(studio, 8)
    with studio.live() as life:
        life.find()
        for number, job in enumerate(life.claim()):
            if number % IN_A_ROW:
                studio.sandbox.add_fault("wrong_size", count=1)
            life.process(job)
        assert (studio.sandbox.billed, life.governor.gate.folders) == (8, ())


def test_a_folder_that_takes_any_size_delivers_what_comes(studio: Studio) -> None:
    drop_some(studio, 6)
    studio.sandbox.add_fault("wrong_size")
    with studio.live() as life:
        life.find()
        life.work()
        life.ledger.set_note(FOLDERS_NOTE, ["f"])
        life.ledger.accept(Which(folders=frozenset({"f"})), life.ports.now())
        let_go(life)
        life.work()
        assert set(life.states().values()) == {State.DONE}
        assert studio.sandbox.billed == 6
        assert {event.finding for event in studio.reported(events.Delivered)} == {"wrong_size"}  # type: ignore[attr-defined]


def test_one_that_was_let_go_and_still_surprises_is_held_after_one_more(studio: Studio) -> None:
    drop_some(studio, 8)
    studio.sandbox.add_fault("wrong_size")
    with studio.live() as life:
        life.find()
        life.work()
        let_go(life)
        life.work()
        assert studio.sandbox.billed == IN_A_ROW + 1


# --- making anew --------------------------------------------------------------------------------


def test_a_delivered_picture_is_made_anew_and_its_own_cutout_replaced(studio: Studio) -> None:
    studio.drop("a.jpg")
    with studio.live() as life:
        life.find()
        life.work()
        before = studio.outputs()
        life.change(recipes={"f": replace(studio.recipe, params=RemovalParams(w=20))})
        assert life.ledger.made_otherwise("f", life.ports.in_force.plan.recipes["f"].options_digest) == 1
        assert redo(life) == 1
        life.work()
        assert life.states() == {"a.jpg": State.DONE}
        assert life.ledger.made_otherwise("f", life.ports.in_force.plan.recipes["f"].options_digest) == 0
    assert (list(studio.outputs()), studio.sandbox.billed) == (["a.webp"], 2)
    assert studio.outputs() != before


@pytest.mark.parametrize("others", [0, 1, 3])
def test_the_same_request_is_made_anew_once_for_all_its_copies(studio: Studio, others: int) -> None:
    first = studio.drop("a.jpg")
    for number in range(others):
        (studio.root / f"in/b{number}.jpg").write_bytes(first.read_bytes())
    with studio.live() as life:
        life.find()
        life.work()
        assert studio.sandbox.billed == 1
        assert redo(life) == 1 + others
        life.work()
        assert set(life.states().values()) == {State.DONE}
        assert studio.sandbox.billed == 2


def test_a_deleted_cutout_is_made_anew_only_when_asked_for(studio: Studio) -> None:
    studio.drop("a.jpg")
    with studio.live() as life:
        life.find()
        life.work()
        (studio.root / "out/a.webp").unlink()
        life.find()
        life.work()
        assert (studio.outputs(), studio.sandbox.billed) == ({}, 1)
        redo(life)
        life.work()
    assert (list(studio.outputs()), studio.sandbox.billed) == (["a.webp"], 2)


@pytest.mark.parametrize("step", ["sending", "answered", "spooled", "received", "verified", "published"])
@pytest.mark.parametrize("surprised", [False, True])
def test_a_crash_while_it_is_made_anew_never_delivers_the_old_answer_as_the_new_one(
    studio: Studio, step: str, surprised: bool
) -> None:
    studio.drop("a.jpg", size=(600, 500))
    if surprised:
        studio.sandbox.add_fault("wrong_size", count=1)
    with studio.live() as life:
        life.find()
        life.work()
        life.ports.clocks.wait(life.ports.stopping, 0.1)
        redo(life)
        (job,) = life.ledger.jobs()
        old = life.ports.spool.path(str(job.content_key)).exists()
        assert old is surprised
        studio.die_at = lambda now: now == step
        with pytest.raises(Crash):
            life.work()
    studio.die_at = lambda _step: False
    with studio.live() as later:
        later.recover()
        later.work()
        (job,) = later.ledger.jobs()
        assert job.state is State.DONE
        assert job.finding not in ("downgraded", "wrong_size")
    assert 2 <= studio.sandbox.billed <= 3


def test_one_that_was_moved_away_cannot_be_made_anew(tmp_path: Path) -> None:
    studio = Studio.make(tmp_path, after="move", done=tmp_path / "done")
    studio.drop("a.jpg")
    with studio.live() as life:
        life.find()
        life.work()
        assert list(life.ledger.redoable(EVERYTHING)) == []


# --- sides --------------------------------------------------------------------------------------

SIDES = st.integers(1, 10_000)


@given(width=SIDES, height=SIDES, upright=st.booleans())
@settings(max_examples=200)
def test_swapped_sides_are_right_unless_our_own_upright_copy_was_sent(width: int, height: int, upright: bool) -> None:
    wanted = Expected(params=RemovalParams(), width=width, height=height, may_be_turned=not upright)
    assert fits(width, height, wanted)
    assert fits(height, width, wanted) is (not upright or fits(height, width, replace(wanted, may_be_turned=False)))


def test_what_is_odd_about_a_cutout_stays_with_its_job(studio: Studio) -> None:
    studio.drop("a.jpg")
    with studio.live() as life:
        odd = Verified(width=40, height=30, kind=Format.WEBP, size_bytes=9, warning="all_opaque")
        life.ports = replace(life.ports, verify=lambda _answer, _expected: odd)
        life.pipeline = type(life.pipeline)(life.ports)
        life.find()
        life.work()
        (job,) = life.ledger.jobs()
        assert (job.state, job.finding) == (State.DONE, "all_opaque")
    (event,) = studio.reported(events.Delivered)
    assert event.sentence().endswith("look at it: nothing in it is transparent")
    assert event.level is events.Level.WARNING


def test_a_surprise_counts_before_what_its_transparency_is_like() -> None:
    surprise = Surprise(reason="the answer is 1 x 1, expected 2 x 2", code="wrong_size")
    found = Verified(width=1, height=1, kind=Format.PNG, size_bytes=9, warning="all_opaque", surprise=surprise)
    assert found.finding == "wrong_size"


def test_a_call_in_doubt_of_a_redone_picture_asks_for_it_once_more(studio: Studio) -> None:
    studio.drop("a.jpg")
    with studio.live() as life:
        life.find()
        life.work()
        redo(life)
        studio.sandbox.add_fault("garbage", count=1)
        life.work()
        assert life.states() == {"a.jpg": State.QUEUED}
        later = life.ports.now() + timedelta(hours=1)
        (job,) = life.ledger.claim(1, at=later, run_id="t", turns=[*life.pool.feeder.turns()], state=State.QUEUED)
        life.process(job)
        assert life.states() == {"a.jpg": State.DONE}
    assert studio.sandbox.billed == 3
