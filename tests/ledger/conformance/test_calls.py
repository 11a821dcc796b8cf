"""What the books keep of each call, whichever database has them."""

from decimal import Decimal

from rembg_watch.api.errors import Charge
from rembg_watch.jobs import CallEnd, CallStart, State, move, with_content
from rembg_watch.ledger import Call, Ledger, Spending
from tests.ledger.moves import DOUBT, NOW, ONE, PAID, at, claim, finish, one, queue, receive, send

START = CallStart(ONE, recipe="0123456789abcdef", sent_bytes=2_000)
ANSWER = CallEnd(Charge.YES, ONE, status=200, answer_bytes=900, request_id="req-1")
NO = CallEnd(Charge.NO, code="too_fast", status=429, request_id="req-0", words="You are sending too quickly")


def only(ledger: Ledger, job_id: int) -> Call:
    (call,) = ledger.calls_of([job_id])[job_id]
    return call


def test_a_call_has_its_story(ledger: Ledger) -> None:
    job = one(ledger)
    sent = ledger.record(move(with_content(job, "key"), State.SENDING, at=at(1)), call=START)
    under_way = only(ledger, job.id)
    assert (under_way.started_at, under_way.ended_at, under_way.charge) == (at(1), None, Charge.MAYBE)
    assert (under_way.recipe, under_way.sent_bytes) == ("0123456789abcdef", 2_000), "known even if the end never is"
    back = ledger.record(move(sent, State.QUEUED, at=at(2)), call=NO, keeps_claim=True)
    sent = ledger.record(move(back, State.SENDING, at=at(3)), call=START)
    ledger.record(move(sent, State.RECEIVED, at=at(5), answer_digest="d", answer_bytes=900), call=ANSWER)
    refused, answered = ledger.calls_of([job.id])[job.id]
    assert (refused.status, refused.code, refused.words, refused.request_id) == (429, "too_fast", NO.words, "req-0")
    assert (refused.answer_bytes, refused.charge, refused.ended_at) == (None, Charge.NO, at(2))
    assert answered == Call(
        id=refused.id + 1, job_id=job.id, started_at=at(3), ended_at=at(5), charge=Charge.YES, credits=ONE, code=None,
        recipe="0123456789abcdef", sent_bytes=2_000, status=200, answer_bytes=900, request_id="req-1", words=None,
    )  # fmt: skip


def test_a_call_that_is_booked_anew_keeps_what_was_known_of_its_answer(ledger: Ledger) -> None:
    sent = send(ledger, one(ledger))
    end = CallEnd(Charge.MAYBE, ONE, "no_answer", status=502, request_id="req-2", words="Bad gateway")
    doubted = ledger.record(move(sent, State.IN_DOUBT, at=at(3), doubts=1), call=end)
    ledger.record(move(doubted, State.IN_DOUBT, at=at(60)), call=CallEnd(Charge.NO))
    call = only(ledger, sent.id)
    assert (call.charge, call.credits, call.code, call.ended_at) == (Charge.NO, Decimal(0), None, at(3))
    assert (call.status, call.request_id, call.words) == (502, "req-2", "Bad gateway")
    assert ledger.spending() == Spending(calls=1, refused=1)


def test_an_answer_that_was_no_picture_keeps_how_it_came(ledger: Ledger) -> None:
    sent = ledger.record(move(with_content(one(ledger), "key"), State.SENDING, at=NOW), call=START)
    received = ledger.record(move(sent, State.RECEIVED, at=NOW, answer_digest="d", answer_bytes=900), call=ANSWER)
    end = CallEnd(Charge.MAYBE, ONE, "not_decodable", words="it cannot be decoded")
    ledger.record(move(received, State.IN_DOUBT, at=at(1)), call=end)
    call = only(ledger, sent.id)
    assert (call.status, call.answer_bytes, call.code, call.words) == (200, 900, "not_decodable", end.words)


def test_words_have_an_end_and_may_be_anything(ledger: Ledger) -> None:
    sent = send(ledger, one(ledger))
    ledger.record(move(sent, State.FAILED, at=NOW), call=CallEnd(Charge.NO, words="\udcff\0" + "x" * 10_000))
    words = only(ledger, sent.id).words
    assert words is not None
    assert words.startswith("\\udcff\\x00xxx")
    assert len(words) < 400


def test_calls_are_asked_for_by_job(ledger: Ledger) -> None:
    queue(ledger, b"a", b"b", b"c")
    a, b, c = claim(ledger)
    finish(ledger, a)
    finish(ledger, b)
    assert ledger.calls_of([]) == {}
    assert list(ledger.calls_of([b.id, c.id, 12_345])) == [b.id], "one without a call is left out, and so is nobody"
    assert {call.job_id for calls in ledger.calls_of(range(2_000)).values() for call in calls} == {a.id, b.id}


def test_an_older_programs_call_has_no_story(ledger: Ledger) -> None:
    receive(ledger, send(ledger, one(ledger)))
    call = only(ledger, 1)
    assert (call.recipe, call.sent_bytes, call.status, call.answer_bytes, call.request_id, call.words) == (None,) * 6
    assert PAID.status is DOUBT.status is None


def test_options_are_known_by_their_digest_for_ever(ledger: Ledger) -> None:
    assert ledger.recipes() == {}
    ledger.keep_recipes({})
    ledger.keep_recipes({"a": "format=webp", "b": ""})
    ledger.keep_recipes({"b": "", "c": "mask=true"})
    assert ledger.recipes() == {"a": "format=webp", "b": "", "c": "mask=true"}
