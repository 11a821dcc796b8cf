from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from rembg_watch.account.balance import reading_of
from rembg_watch.account.causes import Cause
from rembg_watch.account.credits import OtherUse
from rembg_watch.account.gate import Go
from rembg_watch.account.notes import reading_from_note, reading_to_note
from rembg_watch.jobs import State
from rembg_watch.report import events
from rembg_watch.sandbox import Sandbox
from tests.life import KEY, Life, SetClock, Studio


def studio_with(tmp_path: Path, **sandbox: object) -> Studio:
    return Studio.make(tmp_path, sandbox=Sandbox(KEY, engine="flat", **sandbox))  # type: ignore[arg-type]


def pay_for(life: Life, count: int, *, first: int = 0) -> None:
    for number in range(first, first + count):
        life.studio.drop(f"{number}.png", (number, 1, 2))
    life.find()
    life.work()


def test_a_reading_says_how_many_pictures_the_account_pays_for(tmp_path: Path) -> None:
    with studio_with(tmp_path, credits=30, prepaid=12).live() as life:
        assert life.governor.read_account() == 42
        assert life.balance.left() == 42
        assert life.governor.gate.hold is None


def test_the_reserve_is_not_touched(tmp_path: Path) -> None:
    with studio_with(tmp_path, credits=30).live() as life:
        life.reload(reserve=Decimal(28))
        assert life.governor.read_account() == 2


def test_a_daily_budget_ends_the_day_although_there_are_credits(tmp_path: Path) -> None:
    with studio_with(tmp_path, credits=30).live() as life:
        pay_for(life, 3)
        life.reload(daily_budget=Decimal(3))
        assert life.governor.read_account() == 0
        assert life.governor.gate.holding(Cause.BUDGET) is not None


def test_a_folder_with_a_budget_of_its_own_has_what_that_leaves(tmp_path: Path) -> None:
    with studio_with(tmp_path).live() as life:
        pay_for(life, 2)
        assert life.balance.folder_room("f", Decimal(5)) == 3
        assert life.balance.folder_room("other", Decimal(5)) == 5
        assert life.balance.folder_room("f", Decimal(0)) is None


def test_a_folders_budget_leaves_nothing_for_what_is_claimed_already(tmp_path: Path) -> None:
    with studio_with(tmp_path).live() as life:
        pay_for(life, 2)
        assert life.balance.folder_room("f", Decimal(5), in_flight=1) == 2
        assert life.balance.folder_room("f", Decimal(5), in_flight=9) == 0
        assert life.balance.folder_room("f", Decimal(0), in_flight=9) is None


def test_what_is_left_pays_for_so_many_more_by_our_own_count(tmp_path: Path) -> None:
    studio = studio_with(tmp_path, credits=9)
    with studio.live() as life:
        assert life.balance.payable() is None
        life.governor.read_account()
        pay_for(life, 2)
        assert life.balance.payable() == 7
        life.reload(reserve=Decimal(4))
        assert life.balance.payable() == 3
        life.reload(daily_budget=Decimal(3))
        assert life.balance.payable() == 1


def test_what_is_under_way_is_not_promised_twice_but_may_pass_the_gate(tmp_path: Path) -> None:
    with studio_with(tmp_path, credits=7).live() as life:
        life.balance.in_flight = lambda: 7
        assert life.governor.read_account() == 0
        assert life.governor.gate.hold is None


def test_no_credits_shut_the_gate_until_the_period_ends_or_some_appear(tmp_path: Path) -> None:
    studio = studio_with(tmp_path, credits=0)
    with studio.live() as life:
        assert life.governor.read_account() == 0
        hold = life.governor.gate.holding(Cause.CREDITS)
        assert hold is not None
        assert life.balance.reading is not None
        assert hold.until is not None
        studio.sandbox.account.prepaid += 5
        assert life.governor.read_account() == 5
        assert life.governor.gate.hold is None


def test_a_refused_key_is_remembered_with_its_words(tmp_path: Path) -> None:
    studio = Studio.make(tmp_path, sandbox=Sandbox("another", engine="flat"))
    with studio.live() as life:
        assert life.governor.read_account() is None
        assert life.balance.refusal is not None
        hold = life.governor.gate.holding(Cause.KEY)
        assert hold is not None
        assert hold.text == "invalid api key"


def test_a_batch_is_never_formed_twice_on_one_reading(tmp_path: Path) -> None:
    studio = studio_with(tmp_path, credits=9)
    with studio.live() as life:
        assert life.governor.read_account() == 9  # a hold had it read
        go = life.governor.ask()
        assert isinstance(go, Go)
        assert life.governor.take_reading(go) == 9
        assert len(studio.sandbox.requests) == 1
        assert life.governor.take_reading(go) == 9
        assert len(studio.sandbox.requests) == 2


def test_what_is_left_goes_down_with_each_call_until_the_next_reading(tmp_path: Path) -> None:
    studio = studio_with(tmp_path, credits=9)
    with studio.live() as life:
        life.governor.read_account()
        pay_for(life, 2)
        assert life.balance.left() == 7


def test_what_is_left_is_counted_anew_when_nothing_is_under_way(tmp_path: Path) -> None:
    """A reading among calls may have those under way in it already, and they are counted again as they end."""
    studio = studio_with(tmp_path, credits=30)
    ended = events.CallEnded(
        folder="f", source=b"a.jpg", job=1, duration_s=1.0, charged=Decimal(1), sent_bytes=1, answer_bytes=1
    )
    with studio.live() as life:
        pay_for(life, 2)
        life.balance.in_flight = lambda: 1
        life.governor.read_account()
        life.balance.on_event(ended)
        assert life.balance.left() == 27
        life.governor.recount()
        assert life.balance.left() == 28
        reads = len(studio.sandbox.requests)
        life.balance.on_event(ended)
        life.governor.recount()
        assert len(studio.sandbox.requests) == reads, "that one began after the reading"
        life.governor.read_account()
        life.balance.on_event(ended)
        studio.sandbox.is_down = True
        life.governor.recount()
        assert life.balance.left() == 27


def test_while_nothing_comes_the_account_is_read_now_and_then_and_tells_nobody_to_wait(tmp_path: Path) -> None:
    studio = studio_with(tmp_path, credits=10)
    at_s = [0.0]
    studio.clocks = replace(studio.time.clocks(), monotonic=lambda: at_s[0])
    with studio.live() as life:
        life.governor.read_account()
        studio.sandbox.account.prepaid += 160
        for at_s[0], left in ((899.0, 10), (900.0, 170), (901.0, 170)):
            life.governor.recount()
            assert life.balance.left() == left
        assert len(studio.sandbox.requests) == 2
        studio.sandbox.is_down = True
        for at_s[0] in (1800.0, 1801.0, 2699.0):
            life.governor.recount()
        studio.sandbox.is_down = False
        studio.sandbox.account.prepaid = 0
        life.governor.recount()
        assert life.balance.left() == 170, "one that failed is not repeated at once"
        life.reload(recheck_s=3600.0)
        at_s[0] = 2700.0
        life.governor.recount()
        assert life.balance.left() == 170
        at_s[0] = 5400.0
        life.governor.recount()
        assert life.balance.left() == 10
        assert life.governor.gate.hold is None


def test_what_is_held_is_read_by_its_hold_alone(tmp_path: Path) -> None:
    studio = studio_with(tmp_path, credits=0)
    at_s = [0.0]
    studio.clocks = replace(studio.time.clocks(), monotonic=lambda: at_s[0])
    with studio.live() as life:
        life.governor.read_account()
        at_s[0] = 5000.0
        life.governor.recount()
        assert len(studio.sandbox.requests) == 1


def test_another_program_that_spends_from_the_account_is_noticed(tmp_path: Path) -> None:
    studio = studio_with(tmp_path, credits=90)
    with studio.live() as life:
        life.governor.read_account()
        pay_for(life, 2)
        life.governor.read_account()
        assert not studio.reported(events.AccountDiffers)
        other = life.client.remove_background((tmp_path / "in/0.png").read_bytes())
        assert other.size_bytes > 0
        life.governor.read_account()
        [told] = studio.reported(events.AccountDiffers)
        assert isinstance(told, events.AccountDiffers)
        assert (told.by_app, told.more, told.fewer) == (0, 1, 0)


def test_every_other_use_is_summed_up_over_restarts_and_told_as_the_sum_doubles(tmp_path: Path) -> None:
    studio = studio_with(tmp_path, credits=90)
    with studio.live() as life:
        life.governor.read_account()
        assert life.balance.other_use is None
        since = life.balance.reading.read_at if life.balance.reading else None
        for _ in range(4):
            studio.sandbox.use_app(1)
            life.governor.read_account()
        pay_for(life, 2)
    with Life(life.studio, life.ports.in_force.plan.terms.policy) as again:
        for _ in range(4):
            again.client.remove_background((tmp_path / "in/0.png").read_bytes())
            again.governor.read_account()
        known = again.balance.other_use
        assert known == OtherUse(since=known.since, by_app=Decimal(4), more=Decimal(4))
        assert known.since == since
    told = [event for event in studio.reported(events.AccountDiffers) if isinstance(event, events.AccountDiffers)]
    assert [(event.by_app, event.more) for event in told] == [(1, 0), (2, 0), (4, 0), (4, 1)]


def test_a_reading_at_the_end_of_the_work_tells_other_use_too(tmp_path: Path) -> None:
    studio = studio_with(tmp_path, credits=90)
    with studio.live() as life:
        life.governor.read_account()
        studio.sandbox.use_app(3)
        pay_for(life, 1)
        life.balance.in_flight = lambda: 1
        life.governor.read_account()
        life.balance.on_event(next(event for event in studio.events if isinstance(event, events.CallEnded)))
        assert life.balance.other_use is None
        life.governor.recount()
        assert life.balance.other_use is not None
        assert life.balance.other_use.by_app == 3


def test_a_clock_that_is_set_is_not_taken_for_another_program_that_spends(tmp_path: Path) -> None:
    studio, clock = studio_with(tmp_path, credits=90), SetClock()
    studio.clocks = clock.clocks()
    with studio.live() as life:
        life.governor.read_account()
        for number, ahead in enumerate((timedelta(0), timedelta(hours=-2), timedelta(days=3), timedelta(0))):
            clock.ahead = ahead
            life.governor.read_account()
            pay_for(life, 2, first=2 * number)
            life.governor.read_account()
    assert not studio.reported(events.AccountDiffers)
    assert studio.sandbox.billed == 8
    with studio.live() as again:
        assert again.balance.left() == 82


def test_what_a_clock_spent_that_was_ahead_is_of_the_day_of_the_right_one(tmp_path: Path) -> None:
    studio, clock = studio_with(tmp_path, credits=90), SetClock(timedelta(days=400))
    studio.clocks = clock.clocks()
    with studio.live() as life:
        pay_for(life, 3)
        clock.ahead = timedelta(0)
        life.reload(daily_budget=Decimal(3))
        life.ledger.pull_in(["f"], life.ports.now())
        assert life.governor.read_account() == 0
        clock.ahead = timedelta(days=1)
        assert life.governor.read_account() == 3


def test_a_reading_survives_a_restart_as_it_was(tmp_path: Path) -> None:
    with studio_with(tmp_path, credits=9, prepaid=3, is_synced=False).live() as life:
        life.governor.read_account()
        before = life.balance.reading
    with Life(life.studio, life.ports.in_force.plan.terms.policy) as again:
        assert again.balance.reading == before
        assert again.balance.room is None  # of this run nothing is known yet
        assert again.ledger.counts()[State.DONE] == 0


@pytest.mark.parametrize(
    "note",
    [None, 3, {}, {"read_at": "yesterday"}, {"read_at": "2026-11-22T00:00:00+00:00", "prepaid": "many"}],
    ids=str,
)
def test_a_note_that_cannot_be_understood_is_no_reading(note: object) -> None:
    assert reading_from_note(note) is None


def test_an_account_without_a_billing_cycle_is_read_by_its_month(tmp_path: Path) -> None:
    studio = studio_with(tmp_path, credits=10)
    with studio.live() as life:
        account = life.client.membership_usage()
        now = life.ports.now()
        reading = reading_of(account, read_at=now)
        assert (reading.spendable, reading.synced, reading.period_end_at) == (10, False, None)
        assert reading_from_note(reading_to_note(reading)) == reading
        assert reading.read_at - now == timedelta(0)
