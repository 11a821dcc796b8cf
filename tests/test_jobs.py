from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rembg_watch.api.errors import Charge
from rembg_watch.jobs import (
    TRANSITIONS,
    WORKING,
    CallEnd,
    IllegalTransitionError,
    Job,
    State,
    Version,
    book,
    move,
    with_content,
)

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
JOB = Job(
    id=7,
    folder="catalogue",
    source=b"a/IMG_1.jpg",
    version=Version(size_bytes=1, mtime_ns=2, inode=3),
    state=State.QUEUED,
    enqueued_at=NOW,
    changed_at=NOW,
)

LEGAL = {
    "queued": "queued sending received done failed held vanished",
    "sending": "queued received failed held in_doubt vanished",
    "received": "received done failed held queued in_doubt",
    "done": "done queued received",
    "failed": "failed queued vanished",
    "held": "queued received failed vanished",
    "in_doubt": "in_doubt received queued vanished",
    "vanished": "queued",
}


@pytest.mark.parametrize("before", State)
@pytest.mark.parametrize("after", State)
def test_a_job_moves_on_the_ways_of_the_table_and_on_no_other(before: State, after: State) -> None:
    job = replace(JOB, state=before)
    later = NOW + timedelta(seconds=1)
    if after.value in LEGAL[before.value].split():
        assert move(job, after, at=later) == replace(job, state=after, changed_at=later)
    else:
        with pytest.raises(IllegalTransitionError, match=f"job 7: {before} cannot become {after}"):
            move(job, after, at=later)


def test_every_state_can_be_left_and_leads_back_to_the_queue() -> None:
    def reaches(state: State, seen: frozenset[State]) -> bool:
        ways = TRANSITIONS[state] - seen
        return State.QUEUED in ways or any(reaches(one, seen | {one}) for one in ways)

    assert all(reaches(state, frozenset({state})) for state in State if state is not State.QUEUED)


def test_a_paid_answer_never_vanishes_and_comes_back_from_where_it_was_held() -> None:
    assert State.VANISHED not in TRANSITIONS[State.RECEIVED]
    assert State.RECEIVED in TRANSITIONS[State.HELD]


def test_nothing_is_sent_but_from_the_queue() -> None:
    assert [state for state in State if State.SENDING in TRANSITIONS[state]] == [State.QUEUED]


def test_a_worker_keeps_only_what_it_still_has_to_do_something_with() -> None:
    assert {State.SENDING, State.RECEIVED} == WORKING


def test_moving_changes_what_is_named_and_nothing_else() -> None:
    moved = move(JOB, State.FAILED, at=NOW, reason="no picture", code="invalid_image")
    assert moved == replace(JOB, state=State.FAILED, reason="no picture", code="invalid_image")
    assert JOB.state is State.QUEUED


def test_moving_refuses_a_field_that_a_job_does_not_have() -> None:
    with pytest.raises(TypeError):
        move(JOB, State.FAILED, at=NOW, reasn="no picture")


def test_an_answer_is_forgotten_when_something_else_would_be_sent() -> None:
    answered = replace(JOB, content_key="old", answer_digest="d", answer_bytes=5, target=b"IMG_1.webp")
    again = with_content(answered, "new")
    assert (again.content_key, again.answer_digest, again.answer_bytes) == ("new", None, 0)
    assert again.target == b"IMG_1.webp"


def test_an_answer_is_kept_when_the_same_would_be_sent_again() -> None:
    answered = replace(JOB, content_key="same", answer_digest="d", answer_bytes=5)
    assert with_content(answered, "same") is answered


@pytest.mark.parametrize(
    ("before", "end", "charged"),
    [
        pytest.param(None, CallEnd(Charge.YES, Decimal(1)), "3", id="a charged call"),
        pytest.param(None, CallEnd(Charge.MAYBE, Decimal("0.25")), "2.25", id="a doubtful call counts"),
        pytest.param(None, CallEnd(Charge.NO, Decimal(1)), "2", id="a refused call costs nothing whatever its price"),
        pytest.param(
            CallEnd(Charge.MAYBE, Decimal(1)), CallEnd(Charge.NO), "1", id="a doubt that was not billed after all"
        ),
        pytest.param(
            CallEnd(Charge.MAYBE, Decimal(1)), CallEnd(Charge.YES, Decimal(1)), "2", id="a doubt that was billed"
        ),
        pytest.param(
            CallEnd(Charge.YES, Decimal(1)), CallEnd(Charge.MAYBE, Decimal(1)), "2", id="an answer that is no picture"
        ),
        pytest.param(
            CallEnd(Charge.NO, Decimal(9)), CallEnd(Charge.YES, Decimal(1)), "3", id="what was not booked is not undone"
        ),
    ],
)
def test_the_credits_of_a_call_are_booked_once(before: CallEnd | None, end: CallEnd, charged: str) -> None:
    job = replace(JOB, charged=Decimal(2))
    assert book(job, end, instead_of=before).charged == Decimal(charged)


ends = st.builds(
    CallEnd,
    st.sampled_from(Charge),
    st.decimals(min_value=0, max_value=1000, places=6, allow_nan=False, allow_infinity=False),
)


@given(st.lists(ends, min_size=1, max_size=6))
def test_however_often_one_call_is_booked_anew_only_the_last_word_counts(words: list[CallEnd]) -> None:
    job, before = JOB, None
    for end in words:
        job, before = book(job, end, instead_of=before), end
    assert job.charged == words[-1].booked
