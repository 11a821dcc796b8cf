import importlib.util
import json
import math
import sys
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rembg_watch.account.measures import Learned
from rembg_watch.account.notes import PaceNote, pace_from_note, pace_to_note
from rembg_watch.account.pacing import (
    ADVICE_CAP_S,
    FIRST_RATE,
    HIGHEST_RATE,
    LOWEST_RATE,
    NEEDED,
    SHUT_CAP_S,
    SLACK_CALLS,
    Pacer,
)

LEARNED = {"rate": 2.0, "good": 2.0, "is_starting": False}


def learned(rate: float = 2.0, *, good: float | None = None) -> Pacer:
    return Pacer(0.0, Learned(rate, good or rate))


def written(pacer: Pacer) -> Any:
    """The pacer's note, as the ledger gives it back."""
    return json.loads(json.dumps(pace_to_note(PaceNote(learned=pacer.learned))))


def recalled(note: object, now: float = 0.0) -> Pacer:
    return Pacer(now, pace_from_note(note).learned)


def send(pacer: Pacer, now: float) -> float:
    """Wait as told until a call may go, and return when it went."""
    while (wait_s := pacer.try_acquire(now)) > 0:
        now += wait_s
    return now


def run(pacer: Pacer, seconds: float, *, now: float = 0.0, latency_s: float = 0.5) -> list[float]:
    """Send all that may go, every call being accepted."""
    sent: list[float] = []
    answered, end = 0, now + seconds
    while True:
        now = send(pacer, now)
        while answered < len(sent) and sent[answered] + latency_s <= now:
            pacer.accepted(sent[answered], sent[answered] + latency_s)
            answered += 1
        if now >= end:
            return sent
        sent.append(now)


def refuse_canaries(pacer: Pacer, now: float, times: int, *, jitter: float = 0.0) -> list[float]:
    """Let *times* canaries be refused at once; return the waits before each."""
    waits = []
    for _ in range(times):
        sent_at = send(pacer, now)
        waits.append(sent_at - now)
        now = sent_at
        pacer.refused(sent_at, now, jitter=jitter)
    return waits


# --- an even pace ---------------------------------------------------------------------------


def test_calls_go_at_an_even_pace_however_many_workers_ask() -> None:
    sent = run(learned(5.0), 10)
    assert len(sent) in (50, 51, 52)
    gaps = [b - a for a, b in pairwise(sent[10:])]
    assert min(gaps) == pytest.approx(max(gaps), abs=0.02)


def test_a_wait_is_as_long_as_it_says() -> None:
    pacer = learned(2.0)
    run(pacer, 10)
    now = send(pacer, 20.0)
    wait_s = pacer.try_acquire(now)
    while wait_s == 0:
        wait_s = pacer.try_acquire(now)
    assert pacer.try_acquire(now + 0.9 * wait_s) == pytest.approx(0.1 * wait_s)
    assert pacer.try_acquire(now + wait_s + 1e-9) == 0


@pytest.mark.parametrize("idle_s", [10.0, 3600.0, 1e7])
def test_a_long_lull_saves_up_next_to_nothing(idle_s: float) -> None:
    pacer = learned(5.0)
    run(pacer, 10)
    now, burst = 10.0 + idle_s, 0
    while pacer.try_acquire(now) == 0:
        burst += 1
    assert 1 <= burst <= SLACK_CALLS + 1


# --- a start without knowledge --------------------------------------------------------------


def test_it_starts_slowly_and_grows_while_it_is_the_limit() -> None:
    pacer = Pacer(0.0)
    assert pacer.rate == FIRST_RATE
    run(pacer, 20)
    assert pacer.rate > 10 * FIRST_RATE


@pytest.mark.parametrize("idle_s", [0.3, 60.0, 1e6])
def test_it_grows_as_fast_when_it_had_to_wait_for_the_first_picture(idle_s: float) -> None:
    at_once, late = Pacer(0.0), Pacer(0.0)
    sent = run(at_once, 10)
    assert len(run(late, 10, now=idle_s)) == len(sent)
    assert late.rate == pytest.approx(at_once.rate)


def test_it_does_not_grow_while_the_workers_are_the_limit() -> None:
    pacer, now = Pacer(0.0), 0.0
    for _ in range(2000):
        now = max(now + 1 / 9.1, send(pacer, now))
        pacer.accepted(now, now)
    assert 9.0 < pacer.rate < 11.0


def test_a_queue_that_trickles_teaches_it_nothing() -> None:
    pacer = Pacer(0.0)
    for minute in range(500):
        sent_at = send(pacer, 60.0 * minute)
        pacer.accepted(sent_at, sent_at + 1)
    assert pacer.rate == FIRST_RATE


def test_the_rate_never_leaves_its_bounds() -> None:
    pacer = Pacer(0.0)
    run(pacer, 60, latency_s=0.01)
    assert pacer.rate <= HIGHEST_RATE
    refuse_canaries(pacer, 100.0, 100)
    assert pacer.rate >= LOWEST_RATE


# --- a loss ---------------------------------------------------------------------------------


def volley(pacer: Pacer, calls: int, *, now: float = 0.0) -> list[float]:
    sent = []
    for _ in range(calls):
        now = send(pacer, now)
        sent.append(now)
    return sent


def test_a_refused_volley_is_one_loss() -> None:
    one, many = learned(5.0), learned(5.0)
    for pacer, refusals in ((one, 1), (many, 10)):
        sent = volley(pacer, 60)
        for sent_at in sent[-10:][:refusals]:
            pacer.refused(sent_at, sent[-1] + 0.1)
        now = send(pacer, sent[-1] + 0.1)
        pacer.accepted(now, now + 1)
    assert many.rate == pytest.approx(one.rate, rel=0.2)
    assert many.rate >= 0.5 * 5.0


def test_a_loss_shuts_the_gate_for_everybody_and_then_one_canary_goes() -> None:
    pacer = learned(5.0)
    sent = volley(pacer, 30)
    pacer.refused(sent[-1], sent[-1] + 0.1)
    assert pacer.is_limiting(sent[-1] + 0.1)
    canary_at = send(pacer, sent[-1] + 0.1)
    assert canary_at >= sent[-1] + 0.1 + 2 / 5.0
    assert pacer.try_acquire(canary_at) > 0
    assert pacer.try_acquire(canary_at + 0.1) > 0


def test_a_canary_that_is_accepted_reopens_the_gate_at_a_lower_rate() -> None:
    pacer = learned(5.0)
    sent = volley(pacer, 30)
    pacer.refused(sent[-1], sent[-1] + 0.1)
    canary_at = send(pacer, sent[-1] + 0.1)
    pacer.accepted(canary_at, canary_at + 0.2)
    assert 0.5 * 5.0 <= pacer.rate < 5.0
    assert pacer.try_acquire(canary_at + 0.2) == pytest.approx(1 / pacer.rate)
    assert pacer.try_acquire(canary_at + 0.2 + 1 / pacer.rate + 1e-9) == 0


def test_a_canary_that_is_not_refused_in_time_reopens_the_gate_before_its_answer() -> None:
    pacer = learned(5.0)
    sent = volley(pacer, 30)
    pacer.refused(sent[-1], sent[-1] + 0.1)
    canary_at = send(pacer, sent[-1] + 0.1)
    assert send(pacer, canary_at) <= canary_at + 2.0


def test_refused_canaries_come_later_each_time_but_at_least_once_a_minute() -> None:
    pacer = learned(5.0)
    sent = volley(pacer, 30)
    pacer.refused(sent[-1], sent[-1])
    waits = refuse_canaries(pacer, sent[-1], 12)
    assert waits[:4] == pytest.approx([0.4, 0.8, 1.6, 3.2])
    assert waits[-1] == SHUT_CAP_S


def test_jitter_adds_up_to_a_tenth() -> None:
    pacer = learned(5.0)
    sent = volley(pacer, 30)
    pacer.refused(sent[-1], sent[-1], jitter=0.999)
    assert send(pacer, sent[-1]) - sent[-1] == pytest.approx(0.44, abs=0.001)


@pytest.mark.parametrize(
    ("advice", "least_s", "most_s"),
    [
        (None, 0.4, 0.5),
        (0.0, 0.4, 0.5),
        (-5.0, 0.4, 0.5),
        (math.nan, 0.4, 0.5),
        (30.0, 30.0, 30.0),
        (math.inf, ADVICE_CAP_S, ADVICE_CAP_S),
        (1e12, ADVICE_CAP_S, ADVICE_CAP_S),
    ],
)
def test_the_advice_of_the_server_is_honoured_within_reason(
    advice: float | None, least_s: float, most_s: float
) -> None:
    pacer = learned(5.0)
    sent = volley(pacer, 30)
    pacer.refused(sent[-1], sent[-1], retry_after_s=advice)
    assert least_s - 1e-6 <= send(pacer, sent[-1]) - sent[-1] <= most_s + 1e-6


def test_advice_in_a_straggler_of_the_volley_counts_too() -> None:
    pacer = learned(5.0)
    sent = volley(pacer, 30)
    pacer.refused(sent[-2], sent[-1])
    pacer.refused(sent[-1], sent[-1], retry_after_s=30)
    assert send(pacer, sent[-1]) - sent[-1] == pytest.approx(30)


def test_a_canary_that_came_to_nothing_is_followed_by_another_at_once() -> None:
    pacer = learned(5.0)
    sent = volley(pacer, 30)
    pacer.refused(sent[-1], sent[-1])
    canary_at = send(pacer, sent[-1])
    pacer.neither(canary_at, canary_at + 0.1)
    assert pacer.try_acquire(canary_at + 0.1) == 0
    assert pacer.try_acquire(canary_at + 0.1) > 0


def test_a_refusal_of_the_canary_that_comes_late_shuts_the_gate_again_as_if_it_had_never_been_open() -> None:
    pacer = learned(5.0)
    sent = volley(pacer, 30)
    pacer.refused(sent[-1], sent[-1] + 0.05)
    canary_at = send(pacer, sent[-1] + 0.05)
    next_at = send(pacer, canary_at)
    pacer.refused(canary_at, next_at + 1)
    assert pacer.rate == 5.0
    assert pacer.try_acquire(next_at + 1) == pytest.approx(0.8, abs=0.01)


def test_calls_that_fail_for_other_reasons_say_nothing() -> None:
    pacer = learned(5.0)
    for sent_at in volley(pacer, 200):
        pacer.neither(sent_at, sent_at + 1)
    assert pacer.rate == 5.0


def test_a_rate_that_held_is_tried_a_little_higher_and_a_refused_step_goes_straight_back() -> None:
    pacer = learned(5.0)
    sent = run(pacer, 60)
    assert pacer.rate > 5.0
    step, now = pacer.rate, sent[-1] + 0.3
    held = pacer.good
    assert held is not None
    assert held < step
    pacer.refused(sent[-1], now)
    canary_at = send(pacer, now)
    pacer.accepted(canary_at, canary_at + 0.3)
    assert held <= pacer.rate < step


def test_after_a_first_cut_that_was_a_guess_it_comes_back_half_way_each_time() -> None:
    pacer = Pacer(0.0)
    sent, lost = run(pacer, 1.5), pacer.rate
    pacer.refused(sent[-1], sent[-1] + 0.1)
    now = send(pacer, sent[-1] + 0.1)
    pacer.accepted(now, now + 0.1)
    assert pacer.rate == pytest.approx(lost / 2)
    rates = [pacer.rate]
    for _ in range(4):
        now = run(pacer, 21, now=now)[-1]
        rates.append(pacer.rate)
    assert rates[1:4] == pytest.approx([lost * 2 ** -(0.5**step) for step in (1, 2, 3)], rel=0.001)
    assert rates[3] < rates[4] < 0.96 * lost


def test_a_rate_is_not_raised_before_it_was_proven() -> None:
    pacer = learned(2.0)
    volley_end = run(pacer, NEEDED / 2.0 - 5)[-1]
    assert pacer.rate == 2.0
    assert volley_end < NEEDED / 2.0


def test_it_says_when_the_pace_is_what_limits() -> None:
    pacer = learned(2.0)
    sent = run(pacer, 30)
    assert pacer.is_limiting(sent[-1] + 0.1)
    assert not pacer.is_limiting(sent[-1] + 60)
    idle = learned(2.0)
    for minute in range(30):
        send(idle, 60.0 * minute)
    assert not idle.is_limiting(60.0 * 29 + 0.1)


# --- a restart ------------------------------------------------------------------------------


def test_the_learned_rate_survives_a_restart() -> None:
    pacer = learned(5.0)
    run(pacer, 60)
    again = recalled(written(pacer), now=1e6)
    assert again.good == pacer.good
    assert again.rate == pacer.good
    assert len(run(again, 10, now=1e6)) <= 10 * again.rate + 2


def test_a_start_that_was_interrupted_goes_on_growing() -> None:
    pacer = Pacer(0.0)
    run(pacer, 5)
    again = recalled(written(pacer))
    assert again.rate == pacer.rate
    run(again, 20)
    assert again.rate > 2 * pacer.rate


NASTY: list[Any] = [
    None, 7, "x", [], {}, {"rate": None}, {"rate": "5"}, {"rate": math.nan}, {"rate": math.inf}, {"rate": 0},
    {"rate": -3}, {"rate": 1e9}, {"good": 5.0}, {"rate": {}, "good": []},
]  # fmt: skip


@pytest.mark.parametrize("note", NASTY, ids=str)
def test_a_note_that_makes_no_sense_is_a_cold_start(note: object) -> None:
    pacer = recalled(note)
    assert (pacer.rate, pacer.good) == (FIRST_RATE, None)
    run(pacer, 10)
    assert pacer.rate > FIRST_RATE


def test_a_good_rate_that_makes_no_sense_is_left_out() -> None:
    assert recalled({"rate": 3.0, "good": -1}).good is None


# --- whatever happens -----------------------------------------------------------------------

EVENT = st.tuples(
    st.sampled_from(["send", "accepted", "refused", "neither"]),
    st.integers(min_value=0, max_value=20),
    st.floats(min_value=0, max_value=120),
    st.sampled_from([None, 0.0, 5.0, math.inf, math.nan]),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(EVENT, max_size=60), st.sampled_from([None, LEARNED, {"rate": 0.01, "good": 0.01}]))
def test_whatever_happens_it_never_stops_for_good_and_stays_in_bounds(events: list[Any], note: object) -> None:
    pacer, now, flying = recalled(note), 0.0, []
    for what, which, later_s, advice in events:
        now += later_s
        if what == "send":
            if pacer.try_acquire(now) == 0:
                flying.append(now)
        elif flying:
            sent_at = flying.pop(which % len(flying))
            if what == "accepted":
                pacer.accepted(sent_at, now)
            elif what == "neither":
                pacer.neither(sent_at, now)
            else:
                pacer.refused(sent_at, now, retry_after_s=advice, jitter=0.5)
        assert LOWEST_RATE <= pacer.rate <= HIGHEST_RATE
    wait_s = pacer.try_acquire(now)
    assert 0 <= wait_s <= ADVICE_CAP_S + SHUT_CAP_S
    assert send(pacer, now) <= now + ADVICE_CAP_S + SHUT_CAP_S + 2 / LOWEST_RATE


# --- the simulated servers ------------------------------------------------------------------


@pytest.fixture(scope="module")
def bench() -> ModuleType:
    path = Path(__file__).parents[2] / "benchmarks" / "pacing.py"
    spec = importlib.util.spec_from_file_location("benchmarks_pacing", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def simulated(bench: ModuleType, name: str, seed: int) -> Any:
    server = next(s for s in bench.TWELVE if s.name.startswith(name))
    return bench.simulate(server, bench.Ours(server), seed)


@pytest.mark.parametrize("seed", [1, 2, 5])
@pytest.mark.parametrize(
    "name",
    ["bucket 2/s burst 2", "bucket 2/s burst 20", "bucket 5/s burst 5", "sliding 30 in 60 s", "sliding 120 in 60 s",
     "fixed 120 in 60 s", "sliding 120 in 60 s, refusals count"],
)  # fmt: skip
def test_a_limited_account_is_used_to_95_percent_with_at_most_1_percent_refused(
    bench: ModuleType, name: str, seed: int
) -> None:
    run = simulated(bench, name, seed)
    assert run.goodput >= 0.95
    assert run.refused <= 0.01
    assert run.cold <= 20


def test_where_the_workers_limit_nothing_is_refused(bench: ModuleType) -> None:
    run = simulated(bench, "bucket 10/s burst 10, 16", 1)
    assert run.goodput >= 0.95
    assert (run.refused, run.cold) == (0, 0)


class ChangingPlan:
    """A window of a minute whose limit changes with the account's plan after twenty minutes."""

    def __init__(self, before: int, after: int) -> None:
        self.before, self.after = before, after
        self.seen: list[float] = []
        self.late = self.refused = 0

    def allows(self, now: float) -> bool:
        self.seen = [at for at in self.seen if at > now - 60]
        ok = len(self.seen) < (self.before if now < 1200 else self.after)
        if ok:
            self.seen.append(now)
        self.late += ok and now >= 3000
        self.refused += not ok and now >= 1200
        return ok


@pytest.mark.parametrize(
    ("before", "after"),
    [(120, 30), (600, 60), (30, 120)],
    ids=["a smaller plan", "a much smaller plan", "a bigger plan"],
)
def test_a_changed_plan_is_learned_within_half_an_hour(bench: ModuleType, before: int, after: int) -> None:
    plan = ChangingPlan(before, after)
    server = bench.Server("changing", before / 60, lambda _start: plan, workers=32)
    bench.simulate(server, bench.Ours(server), 1)
    assert plan.late >= 0.9 * after * 10
    assert plan.refused <= 25


class Dip:
    """A bucket that fills slowly for a minute."""

    def __init__(self, bench: ModuleType) -> None:
        self.usual, self.slow = bench.Bucket(50, 50, 0.0), bench.Bucket(5, 5, 0.0)
        self.late = 0

    def allows(self, now: float) -> bool:
        ok: bool = (self.slow if 600 <= now < 660 else self.usual).allows(now)
        self.late += ok and 1080 <= now < 1140
        return ok


def test_a_minute_of_a_slower_rate_does_not_slow_it_down_for_ten(bench: ModuleType) -> None:
    dip = Dip(bench)
    server = bench.Server("dip", 50, lambda _start: dip, workers=128)
    bench.Simulation(server, bench.Ours(server), 1, end_s=1140).run()
    assert dip.late >= 0.6 * 50 * 60


# --- refusals that are none of our making -----------------------------------------------------


@pytest.mark.parametrize("outage_s", [20, 45, 300])
@pytest.mark.parametrize("name", ["bucket 2/s burst 2,", "bucket 50/s burst 50, 128", "sliding 600 in 60 s"])
def test_after_an_outage_the_rate_that_had_held_is_soon_come_back_to(
    bench: ModuleType, name: str, outage_s: float
) -> None:
    server = next(s for s in bench.TWELVE if s.name.startswith(name))
    run = bench.simulate_outage(server, bench.Ours(server), 1, outage_s)
    assert run.goodput >= 0.85
    assert run.refused <= 0.01


@pytest.mark.parametrize("outage_s", [45, 300])
def test_what_the_workers_sent_unrefused_for_long_is_come_back_to_as_well(bench: ModuleType, outage_s: float) -> None:
    server = next(s for s in bench.TWELVE if s.name == "bucket 10/s burst 10, 16 workers")
    run = bench.simulate_outage(server, bench.Ours(server), 1, outage_s)
    assert run.goodput >= 0.8
    assert run.refused <= 0.01


def outage(pacer: Pacer, now: float, seconds: float) -> float:
    """Let everything be refused for so long, and the canary after that be accepted; return when it was."""
    end = now + seconds
    while (now := send(pacer, now)) < end:
        pacer.refused(now, now)
    pacer.accepted(now, now + 0.5)
    return now + 0.5


def test_half_of_the_rate_goes_on_after_an_outage_and_the_rest_follows_in_steps() -> None:
    pacer = learned(10.0)
    run(pacer, 60)
    before = pacer.good or 0.0
    now = outage(pacer, 60.0, 90)
    assert pacer.rate == pytest.approx(0.5 * before, rel=0.06)
    assert pacer.good == before
    run(pacer, 25, now=now)
    assert pacer.rate == pytest.approx(0.71 * before, rel=0.06)
    run(pacer, 90, now=now + 25)
    assert pacer.rate >= 9.9


def test_a_second_outage_while_the_first_is_not_long_over_is_taken_for_the_limit() -> None:
    """A window that has become smaller refuses like this again and again."""
    pacer = learned(10.0)
    run(pacer, 60)
    now = outage(pacer, 60.0, 90)
    run(pacer, 25, now=now)
    outage(pacer, now + 25, 90)
    assert pacer.rate < 2.5


def test_a_canary_whose_refusal_comes_late_leaves_the_outage_one() -> None:
    pacer = learned(10.0)
    run(pacer, 60)
    before, canary_at = pacer.good or 0.0, 60.0
    while (canary_at := send(pacer, canary_at)) < 150:
        pacer.refused(canary_at, canary_at)
    send(pacer, canary_at)  # nothing was heard of it
    assert pacer.rate == pytest.approx(0.5 * before, rel=0.06)
    pacer.refused(canary_at, canary_at + 10)
    outage(pacer, canary_at + 10, 30)
    assert pacer.rate == pytest.approx(0.5 * before, rel=0.06)


def test_a_slow_account_is_come_back_to_in_steps_of_twenty_calls_too() -> None:
    pacer = learned(1.0)
    run(pacer, 100)
    before = pacer.rate
    now = outage(pacer, 100.0, 90)
    run(pacer, 200, now=now)
    assert pacer.rate == pytest.approx(before, rel=0.1)


def test_an_outage_long_after_another_is_an_outage_again() -> None:
    pacer = learned(10.0)
    run(pacer, 60)
    now = outage(pacer, 60.0, 90)
    run(pacer, 400, now=now)
    outage(pacer, now + 400, 90)
    assert pacer.rate >= 4.9


def test_a_rate_that_had_held_is_known_after_a_restart_even_if_it_was_refused_just_before() -> None:
    """The account was used for hours; a restart must not make an outage of the next minute look like a first window."""
    pacer = learned(10.0)
    refused_at = send(pacer, 0.0)
    pacer.refused(refused_at, refused_at + 0.2)
    canary_at = send(pacer, refused_at + 0.2)
    pacer.accepted(canary_at, canary_at + 0.5)
    note = written(pacer)
    assert note["good"] is None
    after = recalled(note)
    run(after, 30)
    before = after.rate
    outage(after, 30.0, 90)
    assert after.rate == pytest.approx(0.5 * before, rel=0.1)


def test_a_restart_on_the_way_back_goes_on_with_it() -> None:
    pacer = learned(10.0)
    run(pacer, 60)
    outage(pacer, 60.0, 90)
    after = recalled(written(pacer))
    assert after.rate == pacer.rate
    run(after, 120)
    assert after.rate >= 9.5


def test_a_rate_beyond_what_the_workers_use_is_neither_proven_nor_raised() -> None:
    pacer, now = learned(5.0), 0.0
    for _ in range(500):
        now = max(now + 0.5, send(pacer, now))
        pacer.accepted(now, now)
    assert pacer.rate == 5.0


# --- an account that was spent when we came ---------------------------------------------------


class NothingAtFirst:
    """An account that another program has used up; afterwards there is no limit at all."""

    def __init__(self, until_s: float) -> None:
        self._until_s = until_s

    def allows(self, now: float) -> bool:
        return now >= self._until_s


@pytest.mark.parametrize("until_s", [5, 45, 300])
def test_refusals_before_anything_was_accepted_do_not_make_it_slow_for_good(until_s: float) -> None:
    pacer, now = Pacer(0.0), 0.0
    refused_at = send(pacer, now)
    pacer.refused(refused_at, refused_at)
    account, tries = NothingAtFirst(until_s), 0
    while not account.allows(now := send(pacer, now)):
        pacer.refused(now, now)
        tries += 1
    pacer.accepted(now, now + 0.3)
    assert tries <= 12
    sent = run(pacer, 60, now=now + 0.3, latency_s=0.3)
    assert len(sent) > 600
    assert pacer.rate > 20


def test_an_account_that_really_is_as_slow_is_believed_the_second_time() -> None:
    """Two calls a minute: the first block is forgotten, the second is not."""
    pacer, now, granted, refused = Pacer(0.0), 0.0, [-60.0, -60.0], 0
    while now < 1800:
        now = send(pacer, now)
        if granted[-2] > now - 60:
            pacer.refused(now, now + 0.1)
            refused += 1
        else:
            granted.append(now)
            pacer.accepted(now, now + 0.1)
    assert refused <= 20
    assert len(granted) - 2 >= 0.8 * 60
    assert pacer.rate * 60 == pytest.approx(2, rel=0.1)


def test_a_person_s_word_makes_it_start_anew_where_its_rate_is_doubtful() -> None:
    for note in ({"rate": 0.02, "good": None, "is_starting": False}, {"rate": 0.1, "good": 0.1, "is_starting": False}):
        anew = recalled(note).anew(100.0)
        assert anew.rate == FIRST_RATE
        assert anew.try_acquire(100.0) == 0.0
    for known in (learned(0.5), learned(50.0), Pacer(0.0)):
        assert known.anew(100.0) is known


def test_a_call_that_waits_for_long_shows_at_once_that_the_pace_limits() -> None:
    pacer = recalled({"rate": 0.1, "good": 0.1, "is_starting": False})
    assert not pacer.is_limiting(0.0)
    assert pacer.try_acquire(0.0) == 0.0
    assert pacer.try_acquire(0.1) > 1
    assert pacer.is_limiting(0.1)
