"""Words and numbers of the pages."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from rembg_watch.api.errors import Charge
from rembg_watch.jobs import State
from rembg_watch.ledger import Call, Spending
from rembg_watch.ledger.pages import Day, FoundShoot, Mark, Reason, Shoot, Tally
from rembg_watch.report.words import WallClock
from rembg_watch.web import advice, front, marks, views

NOW = datetime(2026, 11, 27, 9, 0, tzinfo=UTC)
CLOCK = WallClock(NOW, UTC)


def _day(ago: int, credits_: int, folder: str = "a") -> Day:
    day = NOW.replace(hour=0) - timedelta(days=ago)
    return Day(day, folder, Spending(calls=credits_, charged=Decimal(credits_)))


@pytest.mark.parametrize(
    ("spendable", "days", "renews_in", "words"),
    [
        (100, [], None, "no pace"),
        (100, [_day(20, 50)], None, "no pace"),
        (100, [_day(0, 10)], None, "They last about 10 days at the pace of late."),
        (
            100,
            [_day(4, 50), _day(0, 0)],
            None,
            "about 9 days at the pace of late, and about 2 days if every day is busy",
        ),
        (5, [_day(0, 50)], None, "less than a day"),
        (1000, [_day(4, 10)], 7, "until the renewal, even if"),
        (100, [_day(9, 50)], 7, "until the renewal at the pace of late; if every day is busy, about 2 days"),
        (0, [_day(1, 50)], 7, "None is left"),
    ],
    ids=["never", "long ago", "today alone", "with quiet days", "nearly gone", "enough", "enough if quiet", "gone"],
)
def test_how_long_credits_last(spendable: int, days: list[Day], renews_in: int | None, words: str) -> None:
    renews_at = None if renews_in is None else NOW + timedelta(days=renews_in)
    assert words in front.forecast(Decimal(spendable), days, clock=CLOCK, renews_at=renews_at)


CALLED = Call(
    id=1,
    job_id=1,
    started_at=NOW,
    ended_at=NOW,
    charge=Charge.NO,
    credits=Decimal(0),
    code=None,
    recipe=None,
    sent_bytes=None,
    status=None,
    answer_bytes=None,
    request_id=None,
    words=None,
)


@pytest.mark.parametrize(
    ("call", "row"),
    [
        (
            replace(CALLED, ended_at=NOW + timedelta(seconds=4), charge=Charge.YES, credits=Decimal(1)),
            ("4.0 s", "1 credit", "an answer", False),
        ),
        (
            replace(CALLED, charge=Charge.YES, credits=Decimal(1), status=200, answer_bytes=2_100_000),
            ("0.0 s", "1 credit", "an answer, 2.1 MB", False),
        ),
        (
            replace(CALLED, code="too_quickly", follows="maybe", status=429, words="Too many requests"),
            ("0.0 s", "nothing", "too quickly (HTTP 429): Too many requests", False),
        ),
        (
            replace(CALLED, ended_at=None, charge=Charge.MAYBE, credits=Decimal("0.5"), follows="yes"),
            ("", "0.5 credits, perhaps", "under way, or cut off; this content was paid before", True),
        ),
    ],
)
def test_a_call_says_what_it_cost_and_came_to(call: Call, row: tuple[str, str, str, bool]) -> None:
    shown = views.call_row(call, CLOCK)
    assert (shown.took, shown.cost, shown.ended, shown.is_doubtful) == row


@pytest.mark.parametrize(
    ("counts", "word", "share"),
    [
        ({State.DONE: 3}, "done", 100),
        ({State.DONE: 199, State.FAILED: 1}, "needs a look", 99),
        ({State.DONE: 1, State.QUEUED: 3}, "in line", 25),
        ({State.VANISHED: 3}, "empty", 0),
        ({}, "empty", 0),
    ],
)
def test_how_far_a_shoot_is(counts: dict[State, int], word: str, share: int) -> None:
    row = views.shoot_row(FoundShoot(Shoot("a", b"acme"), 1), Tally(counts=counts), CLOCK)
    assert (row.word, row.share) == (word, share)


def test_of_a_shoot_that_is_too_large_to_be_counted_it_is_said_that_there_is_more() -> None:
    tally = Tally(counts={State.DONE: 5000}, is_whole=False)
    assert views.shoot_row(FoundShoot(Shoot("a", b"acme"), 1), tally, CLOCK).pictures == "more than 5,000 pictures"


@pytest.mark.parametrize("state", views.STUCK)
@pytest.mark.parametrize("code", ["too_wide", "never heard of", None])
def test_each_reason_has_its_advice_and_a_command(state: State, code: str | None) -> None:
    reason = Reason(folder="it's", state=state, code=code, text=None, count=2, changed_at=NOW, latest=1)
    row = views.reason_row(reason, CLOCK)
    assert row.advice
    assert row.command == f"rembg-watch retry --state {state.value} --folder 'it'\\''s'"
    assert row.text


def test_no_command_in_an_advice_is_one_that_is_not_there() -> None:
    from rembg_watch.cli.commands import COMMANDS

    every = " ".join([*advice.ADVICE.values(), *(advice.advice(state, None) for state in views.STUCK)])
    named = {word for word in every.replace(".", " ").split() if word in {"accept", "redo"}}
    assert named <= set(COMMANDS)


@pytest.mark.parametrize(
    "word", ["", "x", "-", "1-", "-1", "1-x", "99999999999999999999999-1", "1-99999999999999999999", "١-١", None]
)
def test_a_mark_that_is_none_is_the_first_page(word: str | None) -> None:
    assert marks.mark_of(word) is None


def test_marks_come_back_as_they_were() -> None:
    mark = Mark(NOW + timedelta(microseconds=7), 2**40)
    assert marks.mark_of(marks.mark_word(mark)) == mark
    for start in (b"", b"acme/1.jpg\0", bytes(range(256))):
        assert (marks.start_of(marks.start_word(start)) or b"") == start
    assert marks.start_of("!!!") is None
