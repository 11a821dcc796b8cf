import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise

import pytest

from rembg_watch.account.causes import Cause, Outcome, Probe
from rembg_watch.account.credits import AccountRead, AccountUnread
from rembg_watch.account.gate import Gate, Go, Halt, Need, Wait
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
from tests.life import eventually

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


class Books:
    """The account as the governor meets it; a test says what comes of reading it."""

    def __init__(self) -> None:
        self.reads = 0
        self.read: Callable[[], AccountRead | AccountUnread] = self._read

    def _read(self) -> AccountUnread:
        self.reads += 1
        return AccountUnread(outcome=Outcome.TROUBLE, text="no way there")


class House:
    """A governor with what it told and kept."""

    def __init__(self, notes: Mapping[str, object] | None = None, *, turn_in_naps: bool = False) -> None:
        self.hands = Hands()
        self.books = Books()
        self.events: list[Event] = []
        self.notes: dict[str, object] = dict(notes or {})
        self.governor = Governor(
            terms=lambda: TERMS,
            balance=self.books,  # type: ignore[arg-type]
            has_room=lambda: True,
            report=self.events.append,
            keep=self.notes.__setitem__,
            notes=notes or {},
            clocks=self.hands.clocks(turn_in_naps=turn_in_naps),
        )

    def enter(self) -> Ticket:
        ticket = self.governor.enter(Need(job=1, folder="f"))
        assert isinstance(ticket, Ticket)
        return ticket

    def reported(self, kind: type[Event]) -> list[Event]:
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
    assert house.governor.failed(error, job(), first).state is State.QUEUED
    house.governor.failed(error, job(2), second)
    assert len(house.reported(events.GateShut)) == 1
    assert house.governor.gate.holding(Cause.MONTHLY) is not None
    again = House(notes=house.notes)
    assert again.governor.gate.holding(Cause.MONTHLY) is not None


@pytest.mark.parametrize("is_answered", [True, False])
def test_a_circuit_knows_whether_the_api_answers(is_answered: bool) -> None:
    house = House(turn_in_naps=True)
    error = ServerError(message="oops", status=500) if is_answered else NotSentError(message="no way there")
    for number, ticket in enumerate([house.enter() for _ in range(5)]):
        house.governor.failed(error, job(number), ticket)
    [told] = [event for event in house.reported(events.GateShut) if event.reason == Cause.CIRCUIT]  # type: ignore[attr-defined]
    assert told.is_answered is is_answered  # type: ignore[attr-defined]
    again = House(notes=house.notes).governor.gate.holding(Cause.CIRCUIT)
    assert again is not None
    assert again.is_answered is is_answered


@pytest.mark.parametrize("is_answered", [True, False])
def test_an_account_that_cannot_be_read_says_whether_something_answered(is_answered: bool) -> None:
    house = House()
    house.books.read = lambda: AccountUnread(outcome=Outcome.TROUBLE, text="oops", is_answered=is_answered)
    assert house.governor.read_account() is None
    hold = house.governor.standstill
    assert hold is not None
    assert hold.is_answered is is_answered


def test_a_refused_key_turns_the_next_one_away_instead_of_asking_again() -> None:
    house = House()
    ticket = house.enter()
    reads: list[str] = []

    def read() -> AccountUnread:
        reads.append("account")
        return AccountUnread(outcome=Outcome.KEY, text="invalid api key")

    house.books.read = read
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
    assert house.governor.standstill is None
    assert house.events == []


def test_refusals_that_last_are_told_as_a_pause_with_its_beginning_its_words_and_its_next_try() -> None:
    house = House(LEARNED, turn_in_naps=True)
    refuse_for(house, 20)
    hold, now = house.governor.standstill, house.hands.clocks().now()
    assert hold is not None
    assert (hold.cause, hold.text) == (Cause.RATE, TOO_QUICK)
    assert hold.since == pytest.approx(START, abs=timedelta(seconds=1))
    assert hold.probe_at is not None
    assert now < hold.probe_at <= now + timedelta(seconds=60)
    (told,) = house.reported(events.GateShut)
    assert told.level is events.Level.INFO
    refuse_for(house, 140)
    assert [event.level for event in house.reported(events.GateShut)] == [events.Level.INFO, events.Level.WARNING]
    assert house.governor.gate.hold is None


def test_the_end_of_refusals_that_lasted_is_told_with_their_length() -> None:
    house = House(LEARNED, turn_in_naps=True)
    refuse_for(house, 90)
    house.governor.answered(house.enter())
    assert house.governor.standstill is None
    house.enter()
    (told,) = house.reported(events.GateOpened)
    assert isinstance(told, events.GateOpened)
    assert 90 <= told.shut_s <= house.hands.s - 1000
    house.governor.answered(house.enter())
    assert len(house.reported(events.GateOpened)) == 1


def test_where_nothing_is_to_be_sent_nothing_waits_for_the_pace() -> None:
    house = House(LEARNED, turn_in_naps=True)
    refuse_for(house, 30)
    house.hands.s += 100
    assert house.governor.standstill is None


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
    assert house.reported(events.GateOpened)


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
        balance=Books(),  # type: ignore[arg-type]
        has_room=lambda: True,
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


# --- what is kept and reported --------------------------------------------------------------


class Watched:
    """A governor whose ledger and reporter do as a test says."""

    def __init__(
        self,
        *,
        keep: Callable[[str, object], object] = lambda *_: None,
        report: Callable[[Event], object] = lambda _: None,
        gate: Gate | None = None,
    ) -> None:
        self.hands = Hands()
        self.governor = Governor(
            terms=lambda: TERMS,
            balance=Books(),  # type: ignore[arg-type]
            has_room=lambda: True,
            report=report,
            keep=keep,
            notes={"gate": gate_to_note(gate or Gate())},
            clocks=self.hands.clocks(turn_in_naps=True),
        )

    def enter(self) -> Ticket:
        ticket = self.governor.enter(Need(job=1))
        assert isinstance(ticket, Ticket)
        return ticket


def due(cause: Cause = Cause.UNKNOWN) -> Gate:
    """A gate whose hold is tried by the next picture."""
    return Gate(holds=(held(cause, START, Probe.PICTURE, START),))


def test_nothing_is_kept_reported_or_shown_a_beat_while_the_lock_is_held() -> None:
    """Whoever is called from there looks at the governor from another thread, which needs the lock."""
    looked: list[tuple[str, bool]] = []

    def look(what: str) -> None:
        seen: list[object] = []
        other = threading.Thread(target=lambda: seen.append((house.governor.standstill, house.governor.is_pacing())))
        other.start()
        other.join(10)
        looked.append((what, bool(seen)))

    house = Watched(keep=lambda name, _: look(name), report=lambda event: look(type(event).__name__))
    for number in range(5):
        ticket = house.governor.enter(Need(job=number), beat=lambda: look("beat"))
        assert isinstance(ticket, Ticket)
        house.hands.s += 40.0
        house.governor.failed(ServerError(message="down", status=503), job(number), ticket)
    house.hands.s += 400.0
    house.governor.accepted(house.enter())
    house.governor.close()
    assert {"gate", "pacer", "beat", "GateShut", "GateOpened"} <= {what for what, _ in looked}
    assert all(is_free for _, is_free in looked), looked


def test_a_canary_leaves_only_when_the_ledger_knows_of_it_and_others_need_not_wait_for_that() -> None:
    written, begun, tickets = threading.Event(), threading.Event(), list[Ticket]()

    def keep(_name: str, _note: object) -> None:
        begun.set()
        assert written.wait(10)

    house = Watched(keep=keep, gate=due())
    canary = threading.Thread(target=lambda: tickets.append(house.enter()))
    canary.start()
    assert begun.wait(10)
    assert isinstance(house.governor.ask(), Wait)
    assert house.governor.standstill is not None
    assert tickets == []
    written.set()
    canary.join(10)
    assert tickets[0].go.is_canary


def test_one_whose_note_is_being_written_by_another_thread_waits_for_it_too() -> None:
    first_begun, go_on, kept, ended = threading.Event(), threading.Event(), list[object](), list[int]()

    def keep(_name: str, note: object) -> None:
        first_begun.set()
        assert go_on.wait(10)
        kept.append(note)

    house = Watched(keep=keep)
    tickets = [house.enter() for _ in range(2)]

    def fail(number: int) -> None:
        error = throttled(Throttle.MONTHLY, "limit") if number else KeyRefusedError(message="no", status=401)
        house.governor.failed(error, job(number), tickets[number])
        ended.append(len(kept))

    threads = [threading.Thread(target=fail, args=(number,)) for number in range(2)]
    threads[0].start()
    assert first_begun.wait(10)
    threads[1].start()
    eventually(lambda: house.governor.gate.holding(Cause.MONTHLY) is not None)
    assert ended == []
    go_on.set()
    for thread in threads:
        thread.join(10)
    assert len(ended) == 2
    assert min(ended) >= 1
    assert max(ended) == len(kept) == 2
    assert kept[-1] == gate_to_note(house.governor.gate)


def test_many_threads_at_once_lose_no_last_note_and_report_in_the_order_of_what_happened() -> None:
    notes, told, one = list[object](), list[str](), threading.Lock()

    def keep(name: str, note: object) -> None:
        assert one.acquire(blocking=False), "one at a time"
        threading.Event().wait(0.0005)
        one.release()
        if name == "gate":
            notes.append(note)

    house = Watched(keep=keep, report=lambda event: told.append(type(event).__name__))
    tickets = [house.enter() for _ in range(8)]

    def work(number: int) -> None:
        for _ in range(15):
            house.governor.failed(throttled(Throttle.UNKNOWN, "?"), job(number), tickets[number])
            canary = replace(tickets[number].go, is_canary=True)
            house.governor.accepted(Ticket(canary, tickets[number].sent_at_s))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert notes[-1] == gate_to_note(house.governor.gate)
    assert told[::2] == ["GateShut"] * (len(told) // 2)
    assert told[1::2] == ["GateOpened"] * (len(told) // 2)


def test_a_reporter_that_calls_back_is_answered_and_what_follows_is_reported_after_it() -> None:
    told: list[str] = []

    def report(event: Event) -> None:
        if isinstance(event, events.GateShut):
            house.governor.accepted(Ticket(replace(ticket.go, is_canary=True), ticket.sent_at_s))
        told.append(type(event).__name__)

    house = Watched(report=report)
    ticket = house.enter()
    house.governor.failed(throttled(Throttle.UNKNOWN, "?"), job(), ticket)
    assert told == ["GateShut", "GateOpened"]
    assert house.governor.gate.hold is None


def test_a_full_disk_is_looked_at_before_anything_goes() -> None:
    house = House()
    house.governor.failed(OSError(28, "No space left on device"), job(), house.enter())
    assert isinstance(house.governor.ask(), Wait | Halt)
    house.hands.s += 30.0
    assert isinstance(house.governor.ask(), Go)
    assert house.governor.gate.hold is None
