import threading
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise

import pytest

from rembg_watch.account.gate import Cause, Finding, Gate, Go, Halt, Need, Probe
from rembg_watch.account.governor import Governor, Ticket
from rembg_watch.account.holds import held
from rembg_watch.account.notes import gate_to_note
from rembg_watch.account.retry import RetryPolicy
from rembg_watch.account.terms import Terms
from rembg_watch.api.client import Client
from rembg_watch.api.errors import KeyRefusedError, NotSentError, ServerError, Throttle, ThrottledError
from rembg_watch.host.clocks import Clocks
from rembg_watch.jobs import Job, State, Version
from rembg_watch.report import events
from rembg_watch.report.events import Event
from tests.line import eventually

START = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


TERMS = Terms(policy=RetryPolicy(), client=Client("key"), price=Decimal(1))


class Hands:
    """Clocks that a test turns."""

    def __init__(self) -> None:
        self.s = 1000.0
        self.ahead_s = 0.0  # of the wall clock

    def clocks(self, *, turn_in_naps: bool = False) -> Clocks:
        return Clocks(
            now=lambda: START + timedelta(seconds=self.s - 1000 + self.ahead_s),
            monotonic=lambda: self.s,
            chance=lambda: 0.0,
            nap=self.nap if turn_in_naps else threading.Condition.wait,
        )

    def nap(self, _changed: threading.Condition, seconds: float) -> None:
        self.s += seconds


class House:
    """A governor with what it told and kept."""

    def __init__(self, notes: Mapping[str, object] | None = None, *, turn_in_naps: bool = False) -> None:
        self.hands = Hands()
        self.events: list[Event] = []
        self.notes: dict[str, object] = dict(notes or {})
        self.governor = Governor(
            terms=lambda: TERMS,
            report=self.events.append,
            keep=self.notes.__setitem__,
            notes=notes or {},
            clocks=self.hands.clocks(turn_in_naps=turn_in_naps),
        )

    def enter(self) -> Ticket:
        ticket = self.governor.enter(Need(job=1, folder="f"))
        assert isinstance(ticket, Ticket)
        return ticket

    def told(self, kind: type[Event]) -> list[Event]:
        return [event for event in self.events if isinstance(event, kind)]


def job(number: int = 1) -> Job:
    return Job(
        id=number,
        folder="f",
        source=b"a.jpg",
        version=Version(size_bytes=1, mtime_ns=1, inode=1),
        state=State.SENDING,
        enqueued_at=START,
        changed_at=START,
    )


def throttled(kind: Throttle, words: str, **facts: object) -> ThrottledError:
    return ThrottledError(message=words, status=429, throttle=kind, **facts)  # type: ignore[arg-type]


def test_an_open_gate_lets_the_first_call_through_at_once() -> None:
    assert House().enter().sent_at_s == 1000.0


def test_the_pace_makes_the_second_call_wait_for_its_turn() -> None:
    house = House()
    house.enter()
    found: list[object] = []
    waiter = threading.Thread(target=lambda: found.append(house.enter()))
    waiter.start()
    house.hands.s += 10.0
    eventually(lambda: found)
    waiter.join()
    assert isinstance(found[0], Ticket)


def test_a_monthly_limit_shuts_the_gate_for_all_is_told_once_and_kept() -> None:
    house = House()
    first = house.enter()
    house.hands.s += 5.0
    second = house.enter()
    error = throttled(Throttle.MONTHLY, "You've reached your monthly limit.")
    house.governor.on_errand(Probe.ACCOUNT, house.governor.close)
    assert house.governor.failed(error, job(), first).state is State.QUEUED
    house.governor.failed(error, job(2), second)
    assert len(house.told(events.GateShut)) == 1
    assert house.governor.gate.holding(Cause.MONTHLY) is not None
    again = House(notes=house.notes)
    assert again.governor.gate.holding(Cause.MONTHLY) is not None


@pytest.mark.parametrize("is_answered", [True, False])
def test_a_circuit_knows_whether_the_api_answers(is_answered: bool) -> None:
    house = House(turn_in_naps=True)
    error = ServerError(message="oops", status=500) if is_answered else NotSentError(message="no way there")
    for number, ticket in enumerate([house.enter() for _ in range(5)]):
        house.governor.failed(error, job(number), ticket)
    [told] = [event for event in house.told(events.GateShut) if event.reason == Cause.CIRCUIT]  # type: ignore[attr-defined]
    assert told.is_answered is is_answered  # type: ignore[attr-defined]
    again = House(notes=house.notes).governor.gate.holding(Cause.CIRCUIT)
    assert again is not None
    assert again.is_answered is is_answered


@pytest.mark.parametrize("is_answered", [True, False])
def test_an_account_that_cannot_be_read_says_whether_something_answered(is_answered: bool) -> None:
    house = House()
    house.governor.account_unread(Finding.TROUBLE, recheck_s=10.0, text="oops", is_answered=is_answered)
    hold = house.governor.hold
    assert hold is not None
    assert hold.is_answered is is_answered


def test_a_refused_key_turns_the_next_one_away_instead_of_asking_again() -> None:
    house = House()
    ticket = house.enter()
    reads: list[str] = []

    def read() -> None:
        reads.append("account")
        house.governor.account_unread(Finding.KEY, recheck_s=300, text="invalid api key")

    house.governor.on_errand(Probe.ACCOUNT, read)
    house.governor.failed(KeyRefusedError(message="invalid api key", status=401), job(), ticket)
    house.hands.s += 1.0
    assert isinstance(house.governor.enter(Need(job=2, folder="f")), Halt)
    assert reads == ["account"]


def test_a_short_term_refusal_keeps_the_job_and_slows_the_pace_down() -> None:
    house = House()
    before = house.governor.rate_per_s
    for _ in range(3):
        ticket = house.enter()
        house.hands.s += 0.3
        house.governor.answered(ticket)
    ticket = house.enter()
    house.hands.s += 0.2
    decision = house.governor.failed(throttled(Throttle.SHORT_TERM, "too quickly"), job(), ticket)
    assert decision.keeps_job
    assert decision.attempts == 0
    assert house.governor.gate.hold is None
    assert before > 0


TOO_QUICK = "You're making requests too quickly."
LEARNED = {"pacer": {"rate": 5.0, "good": 5.0, "is_starting": False}}


def refuse_for(house: House, seconds: float) -> None:
    """Let every call be refused as too quick for so long."""
    end_s = house.hands.s + seconds
    while house.hands.s < end_s:
        ticket = house.enter()
        house.hands.s += 0.2
        house.governor.failed(throttled(Throttle.SHORT_TERM, TOO_QUICK), job(), ticket)


def test_refusals_of_a_moment_are_pacing_and_no_news() -> None:
    house = House(LEARNED, turn_in_naps=True)
    refuse_for(house, 2)
    house.governor.answered(house.enter())
    house.enter()
    assert house.governor.hold is None
    assert house.events == []


def test_refusals_that_last_are_told_as_a_pause_with_its_beginning_its_words_and_its_next_try() -> None:
    house = House(LEARNED, turn_in_naps=True)
    refuse_for(house, 20)
    hold, now = house.governor.hold, house.hands.clocks().now()
    assert hold is not None
    assert (hold.cause, hold.text) == (Cause.RATE, TOO_QUICK)
    assert hold.since == pytest.approx(START, abs=timedelta(seconds=1))
    assert hold.probe_at is not None
    assert now < hold.probe_at <= now + timedelta(seconds=60)
    (told,) = house.told(events.GateShut)
    assert told.level is events.Level.INFO
    refuse_for(house, 140)
    assert [event.level for event in house.told(events.GateShut)] == [events.Level.INFO, events.Level.WARNING]
    assert house.governor.gate.hold is None


def test_the_end_of_refusals_that_lasted_is_told_with_their_length() -> None:
    house = House(LEARNED, turn_in_naps=True)
    refuse_for(house, 90)
    house.governor.answered(house.enter())
    assert house.governor.hold is None
    house.enter()
    (told,) = house.told(events.GateOpened)
    assert isinstance(told, events.GateOpened)
    assert 90 <= told.shut_s <= house.hands.s - 1000
    house.governor.answered(house.enter())
    assert len(house.told(events.GateOpened)) == 1


def test_where_nothing_is_to_be_sent_nothing_waits_for_the_pace() -> None:
    house = House(LEARNED, turn_in_naps=True)
    refuse_for(house, 30)
    house.hands.s += 100
    assert house.governor.hold is None


def test_five_failures_in_a_row_open_the_circuit_and_one_that_goes_well_closes_it() -> None:
    house = House()
    for number in range(5):
        house.hands.s += 40.0
        ticket = house.governor.enter(Need(job=number, folder="f"))
        assert isinstance(ticket, Ticket)
        house.governor.failed(ServerError(message="down", status=503), job(number), ticket)
    assert house.governor.gate.holding(Cause.CIRCUIT) is not None
    house.hands.s += 400.0
    canary = house.enter()
    assert canary.go.is_canary
    house.governor.accepted(canary)
    assert house.governor.gate.hold is None
    assert house.told(events.GateOpened)


def test_closing_sends_everybody_home_and_keeps_the_pace() -> None:
    house = House()
    house.enter()
    found: list[object] = []
    waiters = [threading.Thread(target=lambda: found.append(house.governor.enter(Need(job=2)))) for _ in range(3)]
    for waiter in waiters:
        waiter.start()
    house.governor.close()
    for waiter in waiters:
        waiter.join(5)
    assert found == [None] * 3
    assert "rate" in str(house.notes["pacer"])


@pytest.mark.parametrize("note", [None, 7, [], {"holds": "x"}, {"holds": [{"cause": "?"}]}], ids=str)
def test_a_note_that_cannot_be_read_opens_the_gate_instead_of_stopping_the_start(note: object) -> None:
    assert House(notes={"gate": note, "pacer": note}).governor.gate.hold is None


@pytest.mark.parametrize("is_asked", [True, False], ids=["before a batch", "at the door"])
def test_a_clock_that_is_set_back_inside_an_old_hold_makes_nobody_wait_for_the_old_time(is_asked: bool) -> None:
    house = House(turn_in_naps=True)
    for number in range(5):
        house.hands.s += 40.0
        ticket = house.governor.enter(Need(job=number))
        assert isinstance(ticket, Ticket)
        house.governor.failed(ServerError(message="down", status=503), job(number), ticket)
    for _ in range(8):
        house.hands.s += 400.0
        house.governor.failed(ServerError(message="down", status=503), job(), house.enter())
    assert isinstance(house.governor.ask(), Halt)
    house.hands.ahead_s = -1800.0
    answer = house.governor.ask() if is_asked else house.enter().go
    assert isinstance(answer, Go)
    assert answer.is_canary


def test_a_call_that_waits_for_its_turn_shows_that_it_lives() -> None:
    """Without it a pause of some minutes would look like a deadlock, and the watchdog would end the daemon."""
    hands = Hands()

    def nap(_changed: threading.Condition, seconds: float) -> None:
        hands.s += seconds

    gate = Gate(holds=(held(Cause.UNKNOWN, START, Probe.PICTURE, START + timedelta(seconds=30)),))
    house = Governor(
        terms=lambda: TERMS,
        report=lambda _: None,
        keep=lambda *_: None,
        notes={"gate": gate_to_note(gate), "pacer": None},
        clocks=replace(hands.clocks(), nap=nap),
    )
    beats: list[float] = []
    assert isinstance(house.enter(Need(job=1), beat=lambda: beats.append(hands.s)), Ticket)
    assert hands.s >= 1030
    assert max(later - earlier for earlier, later in pairwise(beats)) <= 1, "at the door, and each time it looks up"


def test_a_person_s_word_ends_a_pace_that_never_held_as_it_ends_every_hold() -> None:
    house = House({"pacer": {"rate": 0.02, "good": None, "is_starting": False}})
    house.governor.resume()
    assert house.governor.rate_per_s > 1
    known = House({"pacer": {"rate": 2.0, "good": 2.0, "is_starting": False}})
    known.governor.resume()
    assert known.governor.rate_per_s == 2.0
