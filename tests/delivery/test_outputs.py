from datetime import UTC, datetime, timedelta

import pytest

from rembg_watch.delivery.outputs import AGAIN_S, Blockage, Outputs

NOW = datetime(2026, 11, 26, 12, 0, tzinfo=UTC)


@pytest.fixture
def outputs() -> Outputs:
    return Outputs()


def refuse(outputs: Outputs, *, now_s: float = 0.0, code: str = "no_space") -> None:
    outputs.refused("f", f"it is {code}", code, at=NOW + timedelta(seconds=now_s), now_s=now_s)


def test_a_folder_that_nobody_has_tried_is_neither_sound_nor_blocked(outputs: Outputs) -> None:
    assert (outputs.is_sound("f"), outputs.is_blocked("f"), outputs.blocked) == (False, False, {})
    assert outputs.begin_trial("f", 0.0)


def test_a_folder_is_blocked_from_its_first_refusal_until_it_takes_something(outputs: Outputs) -> None:
    assert not outputs.accepted("f")
    refuse(outputs, now_s=1)
    refuse(outputs, now_s=2, code="read_only")
    assert outputs.blocked == {"f": Blockage(why="it is read_only", code="read_only", since=NOW + timedelta(seconds=1))}
    assert (outputs.is_sound("f"), outputs.is_blocked("f"), outputs.is_blocked("g")) == (False, True, False)
    assert outputs.accepted("f")
    assert not outputs.accepted("f")
    assert (outputs.is_sound("f"), outputs.blocked) == (True, {})


def test_a_folder_is_on_one_trial_at_a_time_and_after_a_refusal_only_now_and_then(outputs: Outputs) -> None:
    assert outputs.begin_trial("f", 0.0)
    assert not outputs.begin_trial("f", 99.0)
    assert outputs.begin_trial("g", 0.0)
    refuse(outputs, now_s=100)
    outputs.end_trial("f")
    assert not outputs.begin_trial("f", 100 + AGAIN_S - 1)
    assert outputs.begin_trial("f", 100 + AGAIN_S)


def test_what_somebody_may_have_mended_is_tried_at_once_and_stays_blocked_until_then(outputs: Outputs) -> None:
    outputs.accepted("g")
    refuse(outputs)
    outputs.doubt()
    assert (outputs.is_sound("g"), outputs.is_blocked("f"), outputs.is_blocked("g")) == (False, True, False)
    assert outputs.begin_trial("f", 0.0)
