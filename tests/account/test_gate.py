import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest

from rembg_watch.account.causes import CAUSES, Cause, Outcome, Probe
from rembg_watch.account.credits import AccountRead, AccountReading, AccountUnread
from rembg_watch.account.gate import (
    CANARY_LOST_S,
    CIRCUIT_AFTER,
    PATIENCE_S,
    READING_LOST_S,
    Ask,
    Gate,
    Go,
    Halt,
    Need,
    Wait,
    admit,
)
from rembg_watch.account.holds import (
    DISK_LOOK_S,
    WHATEVER_OPTIONS,
    FolderHold,
    Hold,
    held,
    next_daily_at,
    probe_after_s,
)
from rembg_watch.account.notes import gate_from_note, gate_to_note
from rembg_watch.daemon.status import Limit, limiting

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
PERIOD_END = datetime(2026, 12, 5, tzinfo=UTC)
RECHECK_S = 300.0
PAUSED = held(Cause.PAUSED, NOW, Probe.PERSON, None)
JOB, OTHER = Need(job=1, folder="a"), Need(job=2, folder="a")


def after_s(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def reading(spendable: int, **more: Any) -> AccountReading:
    facts = {"period_end_at": PERIOD_END, "read_at": NOW, **more}
    return AccountReading(included_remaining=Decimal(spendable), prepaid=Decimal(0), **facts)


def go(gate: Gate, need: Need = JOB, *, now: datetime = NOW) -> Go:
    answer = admit(gate, need, now=now)
    assert isinstance(answer, Go), answer
    return answer


def canary(gate: Gate, need: Need = JOB, *, now: datetime) -> Go:
    ticket = go(gate, need, now=now)
    assert ticket.is_canary
    return ticket


def ask(gate: Gate, probe: Probe, *, now: datetime) -> Gate:
    answer = admit(gate, JOB, now=now)
    assert isinstance(answer, Ask), answer
    assert answer.probe is probe
    return answer.gate


def refused(outcome: Outcome, gate: Gate | None = None, *, now: datetime = NOW, text: str | None = None) -> Gate:
    gate = gate or Gate()
    return gate.after(outcome, Go(gate=gate, need=JOB, at=now), now=now, text=text)


def troubled(
    times: int, gate: Gate | None = None, *, jobs: tuple[int, ...] = (1, 2, 3, 4, 5), now: datetime = NOW
) -> Gate:
    gate = gate or Gate()
    for n in range(times):
        ticket = Go(gate=gate, need=Need(job=jobs[n % len(jobs)]), at=now)
        gate = gate.after(Outcome.TROUBLE, ticket, now=now)
    return gate


def read(found: AccountReading, *, affordable: int, **more: Any) -> AccountRead:
    return AccountRead(reading=found, room=affordable, affordable=affordable, **more)


def unread(outcome: Outcome, text: str | None = None) -> AccountUnread:
    return AccountUnread(outcome=outcome, text=text)


def with_reading(gate: Gate, spendable: int, *, now: datetime = NOW, recheck_s: float = RECHECK_S, **more: Any) -> Gate:
    found = {"affordable": spendable, **more}
    return gate.account_read(read(reading(spendable), **found), now=now, recheck_s=recheck_s)


def looks_at(gate: Gate, *, now: datetime, need: Need = JOB) -> datetime | None:
    answer = admit(gate, need, now=now)
    assert isinstance(answer, Wait | Halt), answer
    return answer.until


# --- an open gate ---------------------------------------------------------------------------


def test_an_open_gate_lets_everybody_go() -> None:
    gate = Gate()
    for need in (JOB, OTHER, Need()):
        assert not go(gate, need).is_canary
    assert gate.hold is None


def test_a_success_leaves_an_open_gate_open() -> None:
    gate = Gate()
    assert gate.after(Outcome.ACCEPTED, go(gate), now=after_s(2)).holds == ()


@pytest.mark.parametrize("outcome", [Outcome.ANSWERED, Outcome.UNSENT, Outcome.ACCEPTED])
def test_what_concerns_one_picture_shuts_nothing(outcome: Outcome) -> None:
    assert refused(outcome).hold is None


# --- the circuit ----------------------------------------------------------------------------


def test_one_failure_alone_stops_nobody() -> None:
    assert isinstance(admit(troubled(1), OTHER, now=NOW), Go)


@pytest.mark.parametrize(("failures", "wait_s"), [(2, 0.5), (3, 1.0), (4, 2.0)])
def test_failures_in_a_row_make_all_wait_a_moment_and_then_all_go(failures: int, wait_s: float) -> None:
    gate = troubled(failures)
    answer = admit(gate, OTHER, now=NOW)
    assert isinstance(answer, Wait)
    assert (answer.until, answer.cause) == (after_s(wait_s), Cause.BACKOFF)
    assert not go(gate, OTHER, now=after_s(wait_s)).is_canary


def test_the_fifth_failure_opens_the_circuit_and_one_probe_goes() -> None:
    gate = troubled(CIRCUIT_AFTER)
    assert [h.cause for h in gate.holds] == [Cause.CIRCUIT]
    assert looks_at(gate, now=NOW) == after_s(5)
    ticket = canary(gate, now=after_s(5))
    assert looks_at(ticket.gate, now=after_s(6), need=OTHER) == after_s(5 + PATIENCE_S)


def test_probes_of_a_dead_api_come_later_each_time_but_never_later_than_five_minutes() -> None:
    gate, now, waits = troubled(CIRCUIT_AFTER), NOW, []
    for _ in range(9):
        hold = gate.holding(Cause.CIRCUIT)
        assert hold is not None
        assert hold.probe_at is not None
        waits.append((hold.probe_at - now).total_seconds())
        now = hold.probe_at
        gate = gate.after(Outcome.TROUBLE, canary(gate, now=now), now=now)
    assert waits == [5, 10, 20, 40, 80, 160, 300, 300, 300]


def test_probes_that_may_cost_a_credit_grow_rarer_than_others() -> None:
    gate, now = troubled(CIRCUIT_AFTER), NOW
    for _ in range(12):
        hold = gate.holding(Cause.CIRCUIT)
        assert hold is not None
        assert hold.probe_at is not None
        now = hold.probe_at
        gate = gate.after(Outcome.DOUBT, canary(gate, now=now), now=now)
    assert looks_at(gate, now=now) == now + timedelta(hours=1)


@pytest.mark.parametrize("outcome", [Outcome.ACCEPTED, Outcome.ANSWERED], ids=["a success", "any answer"])
@pytest.mark.parametrize("is_canary", [True, False], ids=["of the canary", "of a straggler"])
def test_any_answer_closes_the_circuit(outcome: Outcome, is_canary: bool) -> None:
    gate = troubled(CIRCUIT_AFTER)
    ticket = canary(gate, now=after_s(5)) if is_canary else Go(gate=gate, need=OTHER, at=NOW)
    gate = ticket.gate.after(outcome, ticket, now=after_s(8))
    assert gate.hold is None
    assert gate.failures == 0


def test_stragglers_that_fail_do_not_put_the_probe_off() -> None:
    gate = troubled(CIRCUIT_AFTER)
    gate = troubled(11, gate, now=after_s(3))
    assert looks_at(gate, now=after_s(4)) == after_s(5)


def test_a_canary_that_never_went_out_is_followed_by_another_at_once() -> None:
    gate = troubled(CIRCUIT_AFTER)
    ticket = canary(gate, now=after_s(5))
    gate = ticket.gate.after(Outcome.UNSENT, ticket, now=after_s(6))
    canary(gate, OTHER, now=after_s(6))


def test_a_canary_that_got_lost_is_not_waited_for_for_ever() -> None:
    ticket = canary(troubled(CIRCUIT_AFTER), now=after_s(5))
    answer = admit(ticket.gate, OTHER, now=after_s(5 + PATIENCE_S))
    assert isinstance(answer, Halt)
    assert answer.until == after_s(5 + CANARY_LOST_S)
    canary(ticket.gate, OTHER, now=after_s(5 + CANARY_LOST_S))


# --- whose failure it was -------------------------------------------------------------------


def outcomes(*events: tuple[int, Outcome]) -> Gate:
    gate = Gate()
    for job, outcome in events:
        gate = gate.after(outcome, Go(gate=gate, need=Need(job=job), at=NOW), now=NOW)
    return gate


OK, BAD = Outcome.ACCEPTED, Outcome.TROUBLE


@pytest.mark.parametrize(
    ("events", "proven"),
    [
        ([(1, BAD), (2, OK)], {1}),
        ([(1, BAD), (1, BAD), (2, OK)], {1}),
        ([(1, BAD), (2, Outcome.ANSWERED)], {1}),
        ([(1, BAD), (2, BAD), (3, OK)], set()),
        ([(1, BAD), (1, OK)], set()),
        ([(1, BAD)], set()),
        ([(1, BAD), (2, OK), (1, BAD)], set()),
        ([(1, BAD), (2, OK), (1, OK)], set()),
        ([(1, BAD), (2, OK), (3, BAD), (4, OK)], {1, 3}),
        ([(1, BAD), (2, BAD), (1, BAD), (3, OK)], set()),
        ([(1, BAD), (2, Outcome.UNSENT)], set()),
    ],
    ids=[
        "another went well after it", "it failed twice, another went well", "another was at least answered",
        "two failed", "it went well itself", "nothing is known yet", "it failed again: asked anew",
        "it went well in the end", "two pictures, each alone", "two pictures in turns", "another never went out",
    ],
)  # fmt: skip
def test_a_failure_is_a_pictures_own_when_it_failed_alone_among_others_that_went_well(
    events: list[tuple[int, Outcome]], proven: set[int]
) -> None:
    assert outcomes(*events).proven == proven


def test_a_job_that_is_over_is_forgotten() -> None:
    assert outcomes((1, BAD), (2, OK)).forget(1).proven == frozenset()
    assert outcomes((1, BAD), (2, OK)).forget(9).proven == {1}


# --- the monthly limit, and credits ---------------------------------------------------------


def test_the_account_is_read_at_once_after_a_monthly_refusal_and_by_one_only() -> None:
    gate = ask(refused(Outcome.MONTHLY), Probe.ACCOUNT, now=NOW)
    answer = admit(gate, OTHER, now=after_s(1))
    assert isinstance(answer, Wait)
    ask(gate, Probe.ACCOUNT, now=after_s(READING_LOST_S))


def test_nothing_is_sent_while_nothing_can_be_spent_and_the_account_is_read_again() -> None:
    gate, now = with_reading(refused(Outcome.MONTHLY), 0), NOW
    for _ in range(300):
        now_s = looks_at(gate, now=now)
        assert now_s == now + timedelta(seconds=RECHECK_S)
        now = now_s
        gate = with_reading(ask(gate, Probe.ACCOUNT, now=now), 0, now=now)
    assert gate.hold is not None
    assert gate.hold.until == PERIOD_END + timedelta(seconds=60)


def test_credits_that_appear_send_one_canary_and_its_success_opens_the_gate() -> None:
    gate = with_reading(refused(Outcome.MONTHLY), 0)
    gate = with_reading(ask(gate, Probe.ACCOUNT, now=after_s(300)), 500, now=after_s(300))
    ticket = canary(gate, now=after_s(300))
    assert isinstance(admit(ticket.gate, OTHER, now=after_s(301)), Wait)
    gate = ticket.gate.after(Outcome.ACCEPTED, ticket, now=after_s(302))
    assert not go(gate, OTHER, now=after_s(302)).is_canary


def test_refused_although_there_are_credits_means_a_canary_after_a_minute_then_rarer_up_to_an_hour() -> None:
    gate, now, waits = with_reading(refused(Outcome.MONTHLY), 40), NOW, []
    for _ in range(9):
        gate, at = read_until_a_canary(gate, 40, now=now)
        waits.append((at - now).total_seconds() / 60)
        gate, now = refused_as_canary(gate, 40, now=at), at
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60]


def read_until_a_canary(
    gate: Gate, spendable: int, *, now: datetime, recheck_s: float = RECHECK_S
) -> tuple[Gate, datetime]:
    """Read an account that stays as it is until a picture is due; say when that is."""
    while True:
        answer = admit(gate, JOB, now=now)
        match answer:
            case Go():
                assert answer.is_canary
                return gate, now
            case Ask():
                gate = with_reading(answer.gate, spendable, now=now, recheck_s=recheck_s)
            case Wait() | Halt():
                assert answer.until is not None
                assert answer.until <= now + timedelta(seconds=recheck_s)
                now = answer.until


def refused_as_canary(gate: Gate, spendable: int, *, now: datetime) -> Gate:
    ticket = canary(gate, now=now)
    gate = ticket.gate.after(Outcome.MONTHLY, ticket, now=now)
    return with_reading(ask(gate, Probe.ACCOUNT, now=now), spendable, now=now)


def refused_six_times(spendable: int = 2) -> tuple[Gate, datetime]:
    """A rest that is less than a picture costs: the next canary is an hour away."""
    gate, now = with_reading(refused(Outcome.MONTHLY), spendable), NOW
    for _ in range(6):
        gate, now = read_until_a_canary(gate, spendable, now=now)
        gate = refused_as_canary(gate, spendable, now=now)
    return gate, now


def test_credits_that_appear_beside_a_rest_send_a_canary_at_the_next_reading() -> None:
    gate, now = refused_six_times()
    due_at = looks_at(gate, now=now)
    assert due_at == now + timedelta(seconds=RECHECK_S)
    ticket = canary(with_reading(ask(gate, Probe.ACCOUNT, now=due_at), 3, now=due_at), now=due_at)
    assert ticket.gate.after(Outcome.ACCEPTED, ticket, now=due_at).hold is None


def test_credits_that_appear_and_are_refused_are_no_news_any_more() -> None:
    gate, now = refused_six_times()
    now = after_s((now - NOW).total_seconds() + RECHECK_S)
    gate = refused_as_canary(with_reading(ask(gate, Probe.ACCOUNT, now=now), 3, now=now), 3, now=now)
    for spendable in (2, 3, 2, 3):  # an account whose counters come and go
        now += timedelta(seconds=RECHECK_S)
        gate = with_reading(ask(gate, Probe.ACCOUNT, now=now), spendable, now=now)
        assert isinstance(admit(gate, JOB, now=now), Halt)


def test_a_rest_that_is_gone_and_comes_back_is_news() -> None:
    gate, now = refused_six_times()
    for spendable in (0, 1):
        now += timedelta(seconds=RECHECK_S)
        gate = with_reading(ask(gate, Probe.ACCOUNT, now=now), spendable, now=now)
    canary(gate, now=now)


def test_a_renewed_period_sends_a_canary_although_no_more_can_be_spent() -> None:
    gate, now = refused_six_times()
    end, now = now + timedelta(seconds=RECHECK_S + 100), now + timedelta(seconds=RECHECK_S)
    last = reading(2, period_end_at=end)
    gate = ask(gate, Probe.ACCOUNT, now=now).account_read(read(last, affordable=2), now=now, recheck_s=RECHECK_S)
    renewed_at = end + timedelta(seconds=60)
    assert looks_at(gate, now=now) == renewed_at
    ticket = canary(with_reading(ask(gate, Probe.ACCOUNT, now=renewed_at), 2, now=renewed_at), now=renewed_at)
    gate = ticket.gate.after(Outcome.MONTHLY, ticket, now=renewed_at)
    gate = with_reading(ask(gate, Probe.ACCOUNT, now=renewed_at), 2, now=renewed_at)
    assert isinstance(admit(gate, JOB, now=renewed_at), Halt), "once, not with every reading"


def test_an_account_that_speaks_of_the_last_period_for_hours_sends_no_canary_after_the_other() -> None:
    gate, now, sent = refused(Outcome.MONTHLY), PERIOD_END + timedelta(seconds=90), 0
    end = now + timedelta(hours=6)
    while now < end:
        answer = admit(gate, JOB, now=now)
        if isinstance(answer, Ask):
            gate = answer.gate.account_read(read(reading(2), affordable=2), now=now, recheck_s=RECHECK_S)
        elif isinstance(answer, Go):
            sent += 1
            gate = answer.gate.after(Outcome.MONTHLY, answer, now=now)
        else:
            assert answer.until is not None
            now = answer.until
    assert sent <= 12


def test_an_unreadable_account_does_not_keep_a_canary_from_its_turn() -> None:
    gate, now = refused_six_times()
    begin = now
    while not isinstance(answer := admit(gate, JOB, now=now), Go):
        if isinstance(answer, Ask):
            gate = answer.gate.account_unread(unread(Outcome.TROUBLE), now=now, recheck_s=RECHECK_S)
        else:
            assert answer.until is not None
            assert answer.until <= now + timedelta(seconds=RECHECK_S)
            now = answer.until
    assert now == begin + timedelta(hours=1)


def test_a_restart_reads_the_account_beside_a_rest_and_keeps_the_turn_of_the_canary() -> None:
    gate, now = refused_six_times()
    begin, now = now, now + timedelta(seconds=7)
    gate = gate_from_note(json.loads(json.dumps(gate_to_note(gate)))).restarted(now=now)
    gate = with_reading(ask(gate, Probe.ACCOUNT, now=now), 2, now=now)
    assert looks_at(gate, now=now) == now + timedelta(seconds=RECHECK_S)
    assert read_until_a_canary(gate, 2, now=now)[1] == begin + timedelta(hours=1)
    more = with_reading(ask(gate, Probe.ACCOUNT, now=now + timedelta(minutes=5)), 9, now=now + timedelta(minutes=5))
    canary(more, now=now + timedelta(minutes=5))


def test_a_note_of_a_canary_that_is_an_hour_away_has_the_account_read_meanwhile() -> None:
    """So it was written before the account was read beside a rest, and is while a canary is out."""
    due_at = after_s(3600)
    row = ROW | {"cause": "monthly_limit", "probe_at": due_at.isoformat(), "step": 6}
    gate = gate_from_note({"holds": [row]}).restarted(now=NOW)
    gate = with_reading(ask(gate, Probe.ACCOUNT, now=NOW), 2)
    assert read_until_a_canary(gate, 2, now=NOW)[1] == due_at
    now = after_s(RECHECK_S)
    canary(with_reading(ask(gate, Probe.ACCOUNT, now=now), 3, now=now), now=now)


def test_a_canary_that_learned_nothing_has_the_account_read_until_the_next() -> None:
    gate, now = refused_six_times()
    gate, now = read_until_a_canary(gate, 2, now=now)
    ticket = canary(gate, now=now)
    gate = ticket.gate.after(Outcome.ANSWERED, ticket, now=now)
    gate = with_reading(ask(gate, Probe.ACCOUNT, now=now), 2, now=now)
    assert looks_at(gate, now=now) == now + timedelta(seconds=RECHECK_S)
    assert read_until_a_canary(gate, 2, now=now)[1] == now + timedelta(hours=1)


def test_a_clock_set_back_puts_no_canary_off_for_longer_than_its_step() -> None:
    gate, now = refused_six_times()
    earlier = now - timedelta(hours=30)
    gate = with_reading(ask(gate, Probe.ACCOUNT, now=earlier), 2, now=earlier)
    assert read_until_a_canary(gate, 2, now=earlier)[1] == earlier + timedelta(hours=1)


def test_no_job_waits_with_its_worker_through_readings_that_come_soon() -> None:
    for gate in (with_reading(refused(Outcome.MONTHLY), 2, recheck_s=10.0), with_reading(Gate(), 0, recheck_s=10.0)):
        answer = admit(gate, JOB, now=NOW)
        assert isinstance(answer, Halt)
        assert answer.until == after_s(10)


def test_the_account_is_read_at_the_end_of_the_period_even_if_the_next_look_is_later() -> None:
    end = after_s(100)
    gate = refused(Outcome.MONTHLY).account_read(
        read(reading(0, period_end_at=end), affordable=0), now=NOW, recheck_s=RECHECK_S
    )
    assert looks_at(gate, now=NOW) == end + timedelta(seconds=60)


def test_a_reading_of_the_period_before_is_no_proof_that_nothing_can_be_spent() -> None:
    gate = refused(Outcome.MONTHLY)
    later = PERIOD_END + timedelta(seconds=90)
    gate = gate.account_read(read(reading(0), affordable=1), now=later, recheck_s=RECHECK_S)
    canary(gate, now=later)


def test_by_a_clock_ahead_of_the_period_a_canary_is_sent_at_once_only_the_first_time() -> None:
    """Else each refusal would have the account read, and each reading would send the next canary, without an end."""
    now, waits_s = PERIOD_END + timedelta(days=400), []
    gate = refused(Outcome.MONTHLY, now=now)
    for _ in range(4):
        refused_at = now
        gate = with_reading(ask(gate, Probe.ACCOUNT, now=now), 40, now=now)
        while not isinstance(admit(gate, JOB, now=now), Go):
            now = looks_at(gate, now=now) or now
            gate = with_reading(ask(gate, Probe.ACCOUNT, now=now), 40, now=now)
        waits_s.append((now - refused_at).total_seconds())
        ticket = canary(gate, now=now)
        gate = ticket.gate.after(Outcome.MONTHLY, ticket, now=now)
    assert waits_s == [0, 120, 240, 480]


def test_an_unreadable_account_is_read_again_and_a_canary_asks_once_the_period_is_over() -> None:
    gate = with_reading(refused(Outcome.MONTHLY), 0)
    now = after_s(RECHECK_S)
    gate = ask(gate, Probe.ACCOUNT, now=now).account_unread(unread(Outcome.TROUBLE), now=now, recheck_s=RECHECK_S)
    assert looks_at(gate, now=now) == now + timedelta(seconds=RECHECK_S)
    now = PERIOD_END + timedelta(seconds=61)
    gate = ask(gate, Probe.ACCOUNT, now=now).account_unread(unread(Outcome.TROUBLE), now=now, recheck_s=RECHECK_S)
    canary(gate, now=now)


def test_an_account_out_of_reach_holds_everything_is_asked_ever_more_rarely_and_ends_the_hold_when_it_answers() -> None:
    gate, now, waits_s = Gate(), NOW, []
    for _ in range(4):
        gate = gate.account_unread(unread(Outcome.TROUBLE, text="no way there"), now=now, recheck_s=RECHECK_S)
        hold = gate.hold
        assert hold is not None
        assert (hold.cause, hold.since, hold.text) == (Cause.CIRCUIT, NOW, "no way there")
        waits_s.append((looks_at(gate, now=now) - now).total_seconds())
        now = looks_at(gate, now=now)
        gate = ask(gate, Probe.ACCOUNT, now=now)
    assert waits_s == [5, 10, 20, 40]
    go(gate.account_read(read(reading(5), affordable=5), now=now, recheck_s=RECHECK_S), now=now)


def test_an_account_out_of_reach_says_nothing_new_where_something_is_held_already() -> None:
    gate = with_reading(Gate(), 0)
    assert [h.cause for h in gate.account_unread(unread(Outcome.TROUBLE), now=NOW, recheck_s=RECHECK_S).holds] == [
        Cause.CREDITS
    ]


def test_after_a_restart_the_account_is_read_at_once_and_no_picture_goes() -> None:
    gate = with_reading(refused(Outcome.MONTHLY), 0)
    again = gate_from_note(gate_to_note(gate)).restarted(now=after_s(1))
    ask(again, Probe.ACCOUNT, now=after_s(1))
    by_picture = refused(Outcome.EMAIL)
    assert gate_from_note(gate_to_note(by_picture)).restarted(now=after_s(1)).holds == by_picture.holds


@pytest.mark.parametrize("recheck_s", [86_400.0, 1e7, float("inf")])
def test_the_account_is_read_at_least_once_a_day(recheck_s: float) -> None:
    gate = Gate().account_read(read(reading(0), affordable=0), now=NOW, recheck_s=recheck_s)
    assert looks_at(gate, now=NOW) == NOW + timedelta(days=1)
    now = NOW + timedelta(days=1)
    gate = ask(gate, Probe.ACCOUNT, now=now).account_unread(unread(Outcome.TROUBLE), now=now, recheck_s=recheck_s)
    assert looks_at(gate, now=now) == now + timedelta(days=1)


def test_no_call_goes_when_the_account_says_that_nothing_is_left() -> None:
    gate = with_reading(Gate(), 0)
    answer = admit(gate, JOB, now=NOW)
    assert isinstance(answer, Halt)
    assert (answer.cause, answer.until) == (Cause.CREDITS, after_s(RECHECK_S))
    assert gate.hold is not None
    assert gate.hold.ends_at == PERIOD_END + timedelta(seconds=60)


def test_credits_that_appear_before_any_refusal_need_no_canary() -> None:
    gate = with_reading(ask(with_reading(Gate(), 0), Probe.ACCOUNT, now=after_s(300)), 3, now=after_s(300))
    assert gate.hold is None
    assert not go(gate, now=after_s(300)).is_canary


def test_credits_that_only_calls_under_way_hold_are_looked_at_soon() -> None:
    gate = Gate().account_read(read(reading(8), affordable=0, in_flight=8), now=NOW, recheck_s=RECHECK_S)
    assert looks_at(gate, now=NOW) == after_s(5)


def test_a_spent_budget_waits_for_midnight_and_then_opens_by_itself() -> None:
    gate = Gate().account_read(read(reading(50), affordable=0, is_budget_spent=True), now=NOW, recheck_s=RECHECK_S)
    midnight = datetime(2026, 11, 23, tzinfo=UTC)
    assert looks_at(gate, now=NOW) == midnight
    assert not go(gate, now=midnight).is_canary
    assert go(gate, now=midnight).gate.holds == ()


def test_a_raised_budget_opens_the_gate() -> None:
    gate = Gate().account_read(read(reading(50), affordable=0, is_budget_spent=True), now=NOW, recheck_s=RECHECK_S)
    assert with_reading(gate, 50).hold is None


def test_the_beginning_of_a_hold_is_kept_through_every_look() -> None:
    gate = with_reading(refused(Outcome.MONTHLY, text="You've reached your monthly limit."), 0)
    gate = with_reading(ask(gate, Probe.ACCOUNT, now=after_s(300)), 0, now=after_s(300))
    hold = gate.holding(Cause.MONTHLY)
    assert hold is not None
    assert (hold.since, hold.text) == (NOW, "You've reached your monthly limit.")


# --- the daily limit ------------------------------------------------------------------------


def test_a_daily_refusal_reads_the_account_first_and_a_refused_key_takes_its_place() -> None:
    gate = ask(refused(Outcome.DAILY), Probe.ACCOUNT, now=NOW)
    gate = gate.account_unread(unread(Outcome.KEY, text="invalid api key"), now=NOW, recheck_s=RECHECK_S)
    assert [h.cause for h in gate.holds] == [Cause.KEY]


def day_of_refusals(volley: int, *, begin: datetime = NOW, hours: int = 24) -> list[datetime]:
    gate, now = Gate(), begin
    tickets = [go(gate, Need(job=n), now=begin) for n in range(volley)]
    sent = [begin] * volley
    for ticket in tickets:
        gate = gate.after(Outcome.DAILY, ticket, now=begin)
    while now < begin + timedelta(hours=hours):
        answer = admit(gate, JOB, now=now)
        if isinstance(answer, Ask):
            gate = with_reading(answer.gate, 1000, now=now)
        elif isinstance(answer, Go):
            sent.append(now)
            gate = answer.gate.after(Outcome.DAILY, answer, now=now)
        else:
            assert answer.until is not None
            now = answer.until
    return sent


def test_the_daily_limit_is_tried_at_15_and_30_minutes_hourly_and_after_midnight() -> None:
    begin = datetime(2026, 11, 22, 20, 20, tzinfo=UTC)
    minutes = [(at - begin).total_seconds() / 60 for at in day_of_refusals(1, begin=begin, hours=6)]
    assert minutes == [0, 15, 30, 60, 120, 180, 221, 240, 300]


@pytest.mark.parametrize("volley", [1, 8, 16, 24])
@pytest.mark.parametrize("hour", [0, 1, 12, 23])
def test_a_day_behind_the_daily_limit_sees_at_most_thirty_requests(volley: int, hour: int) -> None:
    begin = datetime(2026, 11, 22, hour, 30, tzinfo=UTC)
    sent = day_of_refusals(volley, begin=begin, hours=72)
    for day in range(3):
        first, last = begin + timedelta(days=day), begin + timedelta(days=day + 1)
        assert sum(first <= at < last for at in sent) <= 30


@pytest.mark.parametrize(
    ("elapsed", "refused_so_far", "minutes"),
    [(0, 1, 15), (14.9, 2, 15), (15, 2, 30), (30, 3, 60), (59, 3, 60), (60, 4, 120), (61, 30, 721), (-5, 1, 15)],
    ids=["at once", "just before", "the first", "the second", "within the hour", "hourly", "used up", "clock set back"],
)
def test_when_the_daily_limit_is_tried_next(elapsed: float, refused_so_far: int, minutes: float) -> None:
    now = NOW + timedelta(minutes=elapsed)
    assert next_daily_at(NOW, now, refused=refused_so_far) == NOW + timedelta(minutes=minutes)


# --- the key, the e-mail, unknown words -----------------------------------------------------


def refused_by_both() -> Gate:
    gate = ask(refused(Outcome.KEY), Probe.ACCOUNT, now=NOW)
    return gate.account_unread(unread(Outcome.KEY, text="invalid api key"), now=NOW, recheck_s=RECHECK_S)


def test_a_refused_key_is_looked_at_by_a_free_reading_rarer_each_time() -> None:
    gate, now, waits = refused_by_both(), NOW, []
    for _ in range(5):
        due_at = looks_at(gate, now=now)
        assert due_at is not None
        waits.append((due_at - now).total_seconds() / 60)
        now = due_at
        gate = ask(gate, Probe.ACCOUNT, now=now).account_unread(unread(Outcome.KEY), now=now, recheck_s=RECHECK_S)
    assert waits == [15, 30, 60, 60, 60]


def test_a_key_that_reads_the_account_again_sends_one_canary_at_once() -> None:
    now = after_s(20)
    gate = with_reading(refused_by_both(), 10, now=now)
    ticket = canary(gate, now=now)
    assert ticket.gate.after(Outcome.ACCEPTED, ticket, now=now).hold is None


def test_a_key_that_only_the_picture_service_refuses_is_tried_by_pictures_rarer_each_time() -> None:
    gate, now, waits = refused(Outcome.KEY), NOW, []
    for _ in range(4):
        gate = with_reading(ask(gate, Probe.ACCOUNT, now=now), 10, now=now)
        due_at = looks_at(with_reading(gate, 10, now=now), now=now)
        assert due_at is not None
        waits.append((due_at - now).total_seconds() / 60)
        now = due_at
        ticket = canary(gate, now=now)
        gate = ticket.gate.after(Outcome.KEY, ticket, now=now)
    assert waits == [15, 30, 60, 60]


def test_a_key_is_tried_by_a_picture_when_the_account_cannot_be_read_at_all() -> None:
    gate = ask(refused(Outcome.KEY), Probe.ACCOUNT, now=NOW).account_unread(
        unread(Outcome.TROUBLE), now=NOW, recheck_s=RECHECK_S
    )
    canary(gate, now=after_s(900))


def test_a_refused_key_is_noticed_by_a_reading_alone() -> None:
    gate = Gate().account_unread(unread(Outcome.KEY, text="invalid api key"), now=NOW, recheck_s=RECHECK_S)
    assert looks_at(gate, now=NOW) == after_s(900)


@pytest.mark.parametrize(
    ("outcome", "first_s", "cap_s"),
    [(Outcome.EMAIL, 900, 3600), (Outcome.UNKNOWN, 30, 900)],
    ids=["e-mail", "unknown 429"],
)
def test_a_hold_without_a_free_look_sends_canaries(outcome: Outcome, first_s: float, cap_s: float) -> None:
    gate, now, waits = refused(outcome), NOW, []
    for _ in range(8):
        hold = gate.hold
        assert hold is not None
        assert hold.probe_at is not None
        waits.append((hold.probe_at - now).total_seconds())
        now = hold.probe_at
        ticket = canary(gate, now=now)
        gate = ticket.gate.after(outcome, ticket, now=now)
    assert waits[0] == first_s
    assert waits[-1] == cap_s
    assert all(b in (2 * a, cap_s) for a, b in pairwise(waits))


@pytest.mark.parametrize("outcome", [Outcome.DAILY, Outcome.MONTHLY, Outcome.KEY, Outcome.EMAIL, Outcome.UNKNOWN])
def test_stragglers_of_a_refused_volley_neither_prolong_nor_end_a_hold(outcome: Outcome) -> None:
    gate = Gate()
    tickets = [go(gate, Need(job=n)) for n in range(16)]
    gate = first = gate.after(outcome, tickets[0], now=NOW)
    for ticket in tickets[1:8]:
        gate = gate.after(outcome, ticket, now=after_s(1))
    for ticket in tickets[8:]:
        gate = gate.after(Outcome.ACCEPTED, ticket, now=after_s(2))
    assert gate.hold is not None
    assert first.hold is not None
    assert gate.hold == replace(first.hold, refused=8)


@pytest.mark.parametrize("outcome", [Outcome.ANSWERED, Outcome.TROUBLE, Outcome.DOUBT])
def test_a_canary_that_learned_nothing_about_the_hold_waits_as_long_again(outcome: Outcome) -> None:
    gate = refused(Outcome.EMAIL)
    now = after_s(900)
    gate = canary(gate, now=now).gate.after(outcome, canary(gate, now=now), now=now)
    assert looks_at(gate, now=now) == now + timedelta(minutes=15)


@pytest.mark.parametrize(
    ("met", "left"),
    [(Outcome.MONTHLY, {Cause.MONTHLY}), (Outcome.EMAIL, {Cause.EMAIL}), (Outcome.UNKNOWN, {Cause.KEY, Cause.UNKNOWN})],
)
def test_a_canary_that_is_refused_for_one_thing_has_passed_what_comes_before_it(met: Outcome, left: set[Cause]) -> None:
    now = after_s(20)
    gate = with_reading(refused_by_both(), 9, now=now)
    ticket = canary(gate, now=now)
    assert {h.cause for h in ticket.gate.after(met, ticket, now=now).holds} == left


@pytest.mark.parametrize("outcome", [Outcome.UNKNOWN, Outcome.DAILY, Outcome.KEY])
def test_any_refusal_proves_that_the_api_lives(outcome: Outcome) -> None:
    gate = troubled(CIRCUIT_AFTER)
    ticket = canary(gate, now=after_s(5))
    assert ticket.gate.after(outcome, ticket, now=after_s(6)).holding(Cause.CIRCUIT) is None


# --- several holds at once ------------------------------------------------------------------


def test_every_hold_must_be_due_before_anything_goes_and_the_longest_is_shown() -> None:
    gate = refused(Outcome.EMAIL, refused(Outcome.UNKNOWN))
    assert gate.hold is not None
    assert gate.hold.cause is Cause.EMAIL
    assert looks_at(gate, now=after_s(40)) == after_s(900)
    ticket = canary(gate, now=after_s(900))
    assert ticket.gate.after(Outcome.ACCEPTED, ticket, now=after_s(901)).holds == ()


def test_only_a_person_ends_a_pause_whatever_else_happens() -> None:
    gate = Gate(holds=(PAUSED,))
    gate = gate.after(Outcome.ACCEPTED, Go(gate=gate, need=JOB, at=NOW), now=NOW)
    answer = admit(with_reading(gate, 50), JOB, now=after_s(10**8))
    assert isinstance(answer, Halt)
    assert answer.until is None
    assert gate.resumed(now=NOW).holding(Cause.PAUSED) is not None
    assert go(gate.releasing_all(Cause.PAUSED)).gate.holds == ()


def test_a_full_disk_stops_all_until_there_is_room() -> None:
    gate = refused(Outcome.DISK, text="No space left on device")
    assert looks_at(gate, now=NOW) == after_s(DISK_LOOK_S)
    gate = ask(gate, Probe.DISK, now=after_s(DISK_LOOK_S)).disk_seen(has_room=False, now=after_s(DISK_LOOK_S))
    assert looks_at(gate, now=after_s(DISK_LOOK_S)) == after_s(2 * DISK_LOOK_S)
    gate = ask(gate, Probe.DISK, now=after_s(60)).disk_seen(has_room=True, now=after_s(60))
    assert go(gate, now=after_s(60)).is_canary is False


def test_a_disk_that_is_seen_to_be_full_stops_all() -> None:
    assert looks_at(Gate().disk_seen(has_room=False, now=NOW), now=NOW) == after_s(DISK_LOOK_S)


# --- a folder's options ---------------------------------------------------------------------


def test_refused_options_hold_that_folder_with_those_options_and_no_other() -> None:
    need = Need(job=1, folder="a", options="mask")
    gate = Gate().after(Outcome.PARAMETERS, go(Gate(), need), now=NOW, text="'angle' must be a number")
    answer = admit(gate, Need(job=2, folder="a", options="mask"), now=after_s(10**6))
    assert isinstance(answer, Halt)
    assert (answer.until, answer.cause) == (None, Cause.PARAMETERS)
    assert "'angle' must be a number" in answer.reason
    for other in (Need(job=3, folder="b", options="mask"), Need(job=4, folder="a", options="other"), Need()):
        go(gate, other)


def test_new_options_refused_in_turn_replace_the_old_ones() -> None:
    gate = Gate()
    for options in ("one", "two", "two"):
        ticket = Go(gate=gate, need=Need(job=1, folder="a", options=options), at=NOW)
        gate = gate.after(Outcome.PARAMETERS, ticket, now=NOW)
    assert [f.options for f in gate.folders] == ["two"]


# --- a person has looked --------------------------------------------------------------------


@pytest.mark.parametrize(
    "gate",
    [refused_by_both(), with_reading(Gate(), 0), with_reading(refused(Outcome.MONTHLY), 0)],
    ids=["key", "credits", "monthly"],
)
def test_a_reload_reads_the_account_at_once_and_goes_on_if_all_is_well(gate: Gate) -> None:
    now = after_s(7)
    assert isinstance(admit(gate, JOB, now=now), Halt)
    go(with_reading(ask(gate.resumed(now=now), Probe.ACCOUNT, now=now), 5, now=now), now=now)


@pytest.mark.parametrize("outcome", [Outcome.DAILY, Outcome.MONTHLY, Outcome.KEY])
def test_a_reload_sends_a_canary_at_once_where_the_account_has_nothing_against_it(outcome: Outcome) -> None:
    gate = with_reading(refused(outcome), 7)
    assert isinstance(admit(gate, JOB, now=after_s(7)), Halt)
    canary(gate.resumed(now=after_s(7)), now=after_s(7))


def test_a_reload_tries_at_once_what_only_a_picture_can_try() -> None:
    gate = refused(Outcome.EMAIL).resumed(now=after_s(3))
    canary(gate, now=after_s(3))


def test_a_reload_asks_the_folders_again() -> None:
    gate = Gate().after(Outcome.PARAMETERS, go(Gate()), now=NOW)
    assert go(gate.resumed(now=NOW)).gate.folders == ()


# --- a restart ------------------------------------------------------------------------------


def full_gate() -> Gate:
    gate = refused(Outcome.EMAIL, refused(Outcome.UNKNOWN, with_reading(refused(Outcome.MONTHLY), 0)), text="words")
    return gate.after(Outcome.PARAMETERS, Go(gate=gate, need=Need(folder="ä", options="x"), at=NOW), now=NOW)


def test_a_restart_or_a_reload_looks_at_a_refused_key_at_once_and_is_no_refusal() -> None:
    gate, now = refused_by_both(), NOW
    for wait_s in (7, 8, 9):
        now += timedelta(seconds=wait_s)
        gate = ask(gate_from_note(gate_to_note(gate)).restarted(now=now), Probe.ACCOUNT, now=now)
        gate = gate.account_unread(unread(Outcome.KEY), now=now, recheck_s=RECHECK_S)
        assert looks_at(gate, now=now) == now + timedelta(minutes=15)
    gate = ask(gate.resumed(now=now), Probe.ACCOUNT, now=now).account_unread(
        unread(Outcome.KEY), now=now, recheck_s=RECHECK_S
    )
    assert looks_at(gate, now=now) == now + timedelta(minutes=15)
    now += timedelta(minutes=15)
    gate = ask(gate, Probe.ACCOUNT, now=now).account_unread(unread(Outcome.KEY), now=now, recheck_s=RECHECK_S)
    assert looks_at(gate, now=now) == now + timedelta(minutes=30), "that look was due"
    gate = gate.restarted(now=now)
    canary(with_reading(ask(gate, Probe.ACCOUNT, now=now), 5, now=now), now=now)


def test_holds_survive_a_restart_to_the_letter() -> None:
    gate = full_gate()
    assert gate_from_note(json.loads(json.dumps(gate_to_note(gate)))) == gate


@pytest.mark.parametrize("outcome", [Outcome.EMAIL, Outcome.UNKNOWN, Outcome.KEY, Outcome.MONTHLY, Outcome.DAILY])
def test_a_restart_inside_a_hold_sends_nothing(outcome: Outcome) -> None:
    gate = gate_from_note(gate_to_note(with_reading(refused(outcome), 7)))
    for _ in range(50):
        gate = gate_from_note(gate_to_note(gate))
        assert isinstance(admit(gate, JOB, now=after_s(1)), Wait | Halt)


def test_restarts_while_a_canary_is_out_do_not_send_one_each() -> None:
    due_at = after_s(900)
    ticket = canary(refused(Outcome.EMAIL), now=due_at)
    gate = gate_from_note(gate_to_note(ticket.gate))
    assert looks_at(gate, now=due_at) == due_at + timedelta(minutes=15)


def test_a_short_backoff_is_forgotten_by_a_restart() -> None:
    assert gate_from_note(gate_to_note(troubled(3))) == Gate()


NASTY: list[Any] = [
    None, 5, "x", [], {}, {"holds": 3}, {"holds": [None, 4, {}, []]}, {"folders": {"a": 1}},
    {"folders": [{"folder": 1, "options": "x", "since": NOW.isoformat()}]},
    {"folders": [{"folder": "a"}]},
]  # fmt: skip
ROW = {"cause": "email_not_verified", "since": NOW.isoformat(), "probe": "picture", "probe_at": NOW.isoformat(),
       "until": None, "step": 0, "refused": 1, "text": None}  # fmt: skip


@pytest.mark.parametrize("note", NASTY, ids=[str(n)[:40] for n in NASTY])
def test_a_note_that_makes_no_sense_is_an_open_gate(note: object) -> None:
    assert gate_from_note(note) == Gate()


@pytest.mark.parametrize(
    "change",
    [{"cause": "weather"}, {"since": "2026-11-22T12:00:00"}, {"since": 7}, {"probe": None}, {"probe_at": "soon"},
     {"step": -1}, {"step": "3"}, {"refused": 1.5}, {"probe_at": None}, {"cause": "disk_full"},
     {"since": "0001-01-01T00:00:00+23:59"}, {"picture_at": "soon"}],
    ids=str,
)  # fmt: skip
def test_a_hold_that_cannot_be_read_is_left_out_and_the_others_stay(change: dict[str, object]) -> None:
    good = ROW | {"cause": "unknown_refusal"}
    gate = gate_from_note({"holds": [ROW | change, good]})
    assert [h.cause for h in gate.holds] == [Cause.UNKNOWN]


def test_the_row_that_the_nasty_ones_are_made_of_is_good() -> None:
    assert [h.cause for h in gate_from_note({"holds": [ROW]}).holds] == [Cause.EMAIL]


@pytest.mark.parametrize("amount", [None, 4, "many", "NaN", "Infinity"])
def test_an_amount_of_another_kind_is_no_amount(amount: object) -> None:
    assert gate_from_note({"holds": [ROW | {"spendable": amount}]}).holds[0].spendable is None


@pytest.mark.parametrize("text", [4, "words"])
def test_words_of_another_kind_are_no_words(text: object) -> None:
    assert gate_from_note({"holds": [ROW | {"text": text}]}).holds[0].text == (text if text == "words" else None)


# --- a clock that jumps ---------------------------------------------------------------------


def test_a_clock_that_was_years_ahead_does_not_hold_for_years() -> None:
    ahead = NOW + timedelta(days=900)
    gate = refused(Outcome.EMAIL, now=ahead)
    canary(gate, now=NOW)


def test_a_clock_that_was_ahead_while_a_hold_was_prolonged_does_not_hold_for_years() -> None:
    gate, ahead = refused(Outcome.EMAIL), NOW + timedelta(days=900)
    ticket = canary(gate, now=ahead)
    gate = ticket.gate.after(Outcome.EMAIL, ticket, now=ahead)
    canary(gate, now=NOW + timedelta(hours=1))


def test_a_clock_that_goes_back_a_little_changes_nothing() -> None:
    gate = refused(Outcome.EMAIL)
    assert looks_at(gate, now=after_s(-30)) == after_s(900)


@pytest.mark.parametrize("outcome", [Outcome.EMAIL, Outcome.UNKNOWN, Outcome.KEY, Outcome.DAILY, Outcome.MONTHLY])
def test_a_clock_that_is_set_back_inside_an_old_hold_has_it_looked_at_at_once(outcome: Outcome) -> None:
    """Its beginning lies before the new now, so that only the jump shows that its moments mean nothing."""
    gate, now = refused(outcome), after_s(2 * 3600)
    gate = replace(gate, holds=tuple(replace(hold, probe_at=after_s(3 * 3600)) for hold in gate.holds))
    assert isinstance(admit(gate, Need(), now=now), Halt)
    answer = admit(gate.set_back(now=now), Need(), now=now)
    assert isinstance(answer, Ask) or (isinstance(answer, Go) and answer.is_canary)


def test_a_pause_by_a_person_and_the_beginning_of_a_hold_outlive_a_clock_that_is_set_back() -> None:
    gate = Gate(holds=(*refused(Outcome.EMAIL).holds, PAUSED)).set_back(now=after_s(-7200))
    assert {(hold.cause, hold.since) for hold in gate.holds} == {
        (Cause.PAUSED, after_s(-7200)), (Cause.EMAIL, after_s(-7200))
    }  # fmt: skip
    assert isinstance(admit(gate, Need(), now=after_s(0)), Halt)


def test_a_look_further_ahead_than_any_of_its_kind_comes_from_a_wrong_clock() -> None:
    gate = refused(Outcome.EMAIL)
    gate = replace(gate, holds=(replace(gate.holds[0], probe_at=after_s(3 * 3600)),))
    canary(gate, now=NOW)


def test_a_canary_from_the_future_is_not_waited_for() -> None:
    gate = replace(refused(Outcome.EMAIL), canary_at=after_s(10**6))
    canary(gate, now=after_s(900))


# --- what is shown --------------------------------------------------------------------------


def test_every_cause_has_its_sentence_and_every_canary_its_schedule() -> None:
    assert set(CAUSES) == set(Cause)
    for cause, row in CAUSES.items():
        if row.steps_s is not None:
            assert (probe_after_s(cause, 0), probe_after_s(cause, 10**6)) == row.steps_s


def test_a_reason_repeats_the_words_of_the_api() -> None:
    hold = Hold(cause=Cause.KEY, since=NOW, probe=Probe.ACCOUNT, probe_at=None, text="invalid api key")
    assert hold.reason == "the API does not accept the key (invalid api key)"
    assert hold.ends_at is None
    assert not hold.is_due(NOW + timedelta(days=1000))


@pytest.mark.parametrize(
    ("gate", "facts", "limit"),
    [
        (Gate(), {"queued": 0}, Limit.QUEUE),
        (Gate(), {"queued": -3}, Limit.QUEUE),
        (Gate(), {"busy": 16}, Limit.WORKERS),
        (Gate(), {"busy": 16, "is_paced": True}, Limit.WORKERS),
        (Gate(), {"busy": 4, "is_paced": True}, Limit.RATE),
        (Gate(), {"busy": 12}, Limit.WORKERS),
        (Gate(), {"busy": 4}, Limit.PREPARING),
        (Gate(), {}, Limit.PREPARING),
        (Gate(), {"is_due": False}, Limit.RETRY),
        (Gate(), {"is_due": False, "busy": 4}, Limit.RETRY),
        (Gate(), {"is_due": False, "is_paced": True}, Limit.RETRY),
        (Gate(), {"queued": 0, "stalled": {Limit.OUTPUT: 2, Limit.FOLDER_BUDGET: 5}}, Limit.FOLDER_BUDGET),
        (Gate(), {"queued": 0, "stalled": {Limit.OUTPUT: 2}, "busy": 16}, Limit.OUTPUT),
        (Gate(), {"queued": 0, "stalled": {Limit.OUTPUT: 0}}, Limit.QUEUE),
        (Gate(), {"stalled": {Limit.OUTPUT: 900}, "busy": 16}, Limit.WORKERS),
        (Gate(), {"affordable": 0}, Limit.CREDITS),
        (Gate(), {"affordable": None, "busy": 16}, Limit.WORKERS),
        (with_reading(Gate(), 0), {}, Limit.CREDITS),
        (refused(Outcome.KEY), {}, Limit.HOLD),
        (troubled(CIRCUIT_AFTER), {}, Limit.HOLD),
        (refused(Outcome.KEY, with_reading(Gate(), 0)), {}, Limit.CREDITS),
    ],
    ids=[
        "nothing to do", "less than nothing", "all busy", "all busy and paced", "paced", "a moment between two calls",
        "few busy", "nobody busy", "later tries alone", "later tries beside calls", "later tries at a pace",
        "folders stand still", "a folder stands still beside calls", "nothing waits in it", "the others go on",
        "nothing affordable", "not known what is affordable", "held for credits", "held for the key", "a dead API",
        "credits before all else",
    ],
)  # fmt: skip
def test_what_limits_now(gate: Gate, facts: dict[str, Any], limit: Limit) -> None:
    usual = {"queued": 100, "busy": 0, "workers": 16, "is_paced": False, "affordable": 500}
    assert limiting(gate, **(usual | facts)) is limit


NAMED = [cause for cause, row in CAUSES.items() if row.outlasts_retry and cause is not Cause.LEDGER]


@pytest.mark.parametrize("cause", NAMED)
@pytest.mark.parametrize("options", ["", "w=1", "w=2"])
def test_a_folder_that_waits_for_its_name_waits_whatever_its_options_through_a_retry_and_a_restart(
    cause: Cause, options: str
) -> None:
    hold = FolderHold(folder="a", options=WHATEVER_OPTIONS, since=NOW, text="why", cause=cause)
    gate = Gate().holding_folder(hold)
    for one in (gate, gate.resumed(now=NOW), gate.restarted(now=NOW), gate_from_note(gate_to_note(gate))):
        assert one.refusing("a", options) == hold
        assert isinstance(admit(one, Need(folder="a", options=options), now=NOW), Halt)
        assert isinstance(admit(one, Need(folder="b", options=options), now=NOW), Go)
        assert one.releasing_folder("a", Cause.PARAMETERS) is one
        assert one.releasing_folder("a", cause).folders == ()


def test_without_its_ledger_nothing_goes_until_it_is_back_and_a_restart_begins_without_that() -> None:
    held_gate = Gate().holding_all(Cause.LEDGER, now=NOW, text="gone")
    assert held_gate.holding_all(Cause.LEDGER, now=after_s(9), text="gone") is held_gate
    busy = held_gate.after(Outcome.ACCEPTED, Go(gate=Gate(), need=JOB, at=NOW), now=NOW)
    for gate in (held_gate, busy, held_gate.resumed(now=NOW), held_gate.set_back(now=NOW)):
        for moment in (NOW, after_s(10**7)):
            answer = admit(gate, JOB, now=moment)
            assert isinstance(answer, Halt)
            assert (answer.cause, answer.until) == (Cause.LEDGER, None)
        assert gate.releasing_all(Cause.LEDGER).hold is None
    assert gate_from_note(gate_to_note(held_gate)).hold is None
