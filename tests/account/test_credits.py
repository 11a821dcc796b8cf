from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from rembg_watch.account.credits import (
    UNLIMITED,
    AccountReading,
    Billed,
    Difference,
    OtherUse,
    affordable,
    budget_room,
    difference,
    is_stale,
    next_day_at,
    next_month_at,
    renews_at,
    resolve_doubt,
)

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
END = datetime(2026, 12, 5, tzinfo=UTC)


def reading(included: object = 10, prepaid: object = 0, **more: Any) -> AccountReading:
    facts = {"period_end_at": END, "read_at": NOW, **more}
    return AccountReading(included_remaining=Decimal(str(included)), prepaid=Decimal(str(prepaid)), **facts)


@pytest.mark.parametrize(
    ("included", "prepaid", "spendable"),
    [(10, 5, 15), (0, 5, 5), (-3, 5, 5), (10, -5, 10), (0, 0, 0), ("0.5", "0.25", "0.75")],
    ids=["both", "prepaid alone", "overdrawn period", "negative prepaid", "nothing", "fractions"],
)
def test_what_can_be_spent_is_included_and_prepaid_and_never_negative(
    included: object, prepaid: object, spendable: object
) -> None:
    assert reading(included, prepaid).spendable == Decimal(str(spendable))


@pytest.mark.parametrize(
    ("have", "each", "more", "images"),
    [
        (20, 1, {}, 20),
        (20, 3, {}, 6),
        (0, 1, {}, 0),
        ("0.9", 1, {}, 0),
        (20, "0.5", {}, 40),
        (20, 1, {"reserve": Decimal(5)}, 15),
        (20, 1, {"reserve": Decimal(25)}, 0),
        (20, 1, {"reserve": Decimal(-5)}, 20),
        (20, 1, {"in_flight": 16}, 4),
        (20, 2, {"in_flight": 3}, 7),
        (20, 1, {"in_flight": 30}, 0),
        (20, 1, {"spent_since": Decimal(4)}, 16),
        (20, 1, {"spent_since": Decimal(-4)}, 20),
        (20, 1, {"daily_budget": Decimal(8), "spent_today": Decimal(5)}, 3),
        (20, 1, {"daily_budget": Decimal(8), "spent_today": Decimal(5), "in_flight": 2}, 1),
        (20, 1, {"daily_budget": Decimal(8), "spent_today": Decimal(9)}, 0),
        (2, 1, {"daily_budget": Decimal(8)}, 2),
        (20, 1, {"daily_budget": Decimal(-1)}, 20),
        (20, 0, {}, UNLIMITED),
        (20, -1, {}, UNLIMITED),
        (10**12, 1, {}, UNLIMITED),
    ],
    ids=[
        "all of it", "whole pictures only", "nothing", "less than one", "half a credit each", "a reserve",
        "a reserve beyond the reading", "a negative reserve", "calls under way", "calls under way cost what they cost",
        "more under way than there is", "spent since the reading", "negative spending", "a budget",
        "a budget and calls",
        "a budget that is passed", "a budget beyond the reading", "a negative budget is none", "a price of nothing",
        "a negative price", "more than anybody queues",
    ],
)  # fmt: skip
def test_no_more_pictures_go_than_can_be_paid(have: object, each: object, more: dict[str, Any], images: int) -> None:
    assert affordable(reading(have), Decimal(str(each)), **more) == images


def test_a_budget_of_nothing_is_no_budget() -> None:
    assert budget_room(Decimal(1), Decimal(0), spent_today=Decimal(500)) == UNLIMITED


@pytest.mark.parametrize(
    ("now", "month_at"),
    [
        (NOW, datetime(2026, 12, 1, tzinfo=UTC)),
        (datetime(2026, 12, 31, 23, 59, 59, 999999, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)),
        (datetime(2026, 12, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)),
        (datetime.fromisoformat("2026-12-01T01:00:00+05:00"), datetime(2026, 12, 1, tzinfo=UTC)),
    ],
    ids=["within a month", "the last moment of a year", "the first moment of a month", "another zone's next month"],
)
def test_months_are_utc_months(now: datetime, month_at: datetime) -> None:
    assert next_month_at(now) == month_at


def test_days_are_utc_days() -> None:
    assert next_day_at(datetime.fromisoformat("2026-11-23T01:00:00+05:00")) == datetime(2026, 11, 23, tzinfo=UTC)
    assert next_day_at(datetime(2026, 2, 28, tzinfo=UTC)) == datetime(2026, 3, 1, tzinfo=UTC)


MONTH = datetime(2026, 12, 1, 0, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("account", "at"),
    [
        (reading(), END + timedelta(seconds=60)),
        (reading(synced=False), MONTH),
        (reading(period_end_at=None), MONTH),
        (reading(period_end_at=NOW), MONTH),
        (None, MONTH),
    ],
    ids=[
        "a synced period",
        "a period that is not the enforced one",
        "no period",
        "a period that is over",
        "no reading",
    ],
)
def test_credits_come_back_a_minute_after_the_period(account: AccountReading | None, at: datetime) -> None:
    assert renews_at(account, now=NOW) == at


def test_a_reading_of_a_period_that_is_over_says_nothing_about_now() -> None:
    assert not is_stale(reading(), now=NOW)
    assert not is_stale(reading(), now=END + timedelta(seconds=60))
    assert is_stale(reading(), now=END + timedelta(seconds=61))
    assert not is_stale(reading(period_end_at=None), now=NOW)


def used(api: int, app: int = 0, prepaid: int = 100, **more: Any) -> AccountReading:
    return reading(0, prepaid, api_used=Decimal(api), app_used=Decimal(app), **more)


@pytest.mark.parametrize(
    ("after", "counted", "unexplained", "by_app"),
    [
        (used(30), 20, 0, 0),
        (used(30), 18, 2, 0),
        (used(30), 25, -5, 0),
        (used(30, app=7), 20, 0, 7),
        (used(10, prepaid=80), 20, 0, 0),
        (used(20, prepaid=90), 20, 0, 0),
        (used(10), 0, 0, 0),
    ],
    ids=[
        "as counted",
        "another program",
        "counted too much",
        "the web editor",
        "all prepaid",
        "the last included, then prepaid",
        "nothing",
    ],
)
def test_what_the_account_says_is_compared_with_what_was_counted(
    after: AccountReading, counted: int, unexplained: int, by_app: int
) -> None:
    found = difference(used(10), after, Decimal(counted))
    assert found is not None
    assert (found.unexplained, found.by_app) == (unexplained, by_app)


def test_calls_under_way_at_a_reading_are_no_difference() -> None:
    found = difference(used(10), used(30), Decimal(18), slack=Decimal(2))
    assert found is not None
    assert found.unexplained == 0


@pytest.mark.parametrize(
    "after",
    [used(0, period_end_at=END + timedelta(days=30)), used(10, prepaid=101), used(9), used(30, app=-1)],
    ids=["a new period", "credits were bought", "a counter ran backwards", "the editor's counter ran backwards"],
)
def test_readings_that_cannot_be_compared_are_not(after: AccountReading) -> None:
    assert difference(used(10), after, Decimal(0)) is None
    assert resolve_doubt(used(10), after, 0) is Billed.UNKNOWN


@pytest.mark.parametrize(
    ("after", "in_doubt", "more", "billed"),
    [
        (used(10), 9, {}, Billed.NONE),
        (used(19), 9, {}, Billed.ALL),
        (used(14), 9, {}, Billed.UNKNOWN),
        (used(20), 9, {}, Billed.UNKNOWN),
        (used(10, prepaid=91), 9, {}, Billed.ALL),
        (used(14, prepaid=95), 9, {}, Billed.ALL),
        (used(10, app=5), 9, {}, Billed.NONE),
        (used(10, app=5, prepaid=91), 9, {}, Billed.UNKNOWN),
        (used(28), 9, {"each": Decimal(2)}, Billed.ALL),
        (used(29), 9, {"counted": Decimal(10)}, Billed.ALL),
        (used(20), 9, {"counted": Decimal(10)}, Billed.NONE),
        (used(10), 9, {"counted": Decimal(10)}, Billed.UNKNOWN),
        (used(10), 0, {}, Billed.NONE),
        (used(10), 9, {"each": Decimal(0)}, Billed.UNKNOWN),
    ],
    ids=[
        "no credit moved", "as many as are in doubt", "some of them", "one too many", "all from the prepaid",
        "from both", "the editor's own use is apart",
        "the editor may have used the prepaid ones", "two credits each", "others ended well, these too",
        "others ended well, these did not", "less than was counted", "nothing in doubt", "a price of nothing",
    ],
)  # fmt: skip
def test_the_counters_tell_whether_doubtful_calls_were_billed(
    after: AccountReading, in_doubt: int, more: dict[str, Any], billed: Billed
) -> None:
    assert resolve_doubt(used(10), after, in_doubt, **more) is billed


# --- other use ------------------------------------------------------------------------------


def spent(by_app: int = 0, by_api: int = 0, counted: int = 0, slack: int = 0) -> Difference:
    return Difference(by_app=Decimal(by_app), by_api=Decimal(by_api), counted=Decimal(counted), slack=Decimal(slack))


def test_other_use_is_summed_up_apart_by_whom_and_both_ways() -> None:
    known = None
    for one in (spent(), spent(by_app=2, by_api=5, counted=5), spent(by_api=8, counted=5), spent(by_api=1, counted=2)):
        known = OtherUse.after(known, one, since=NOW)
    assert known == OtherUse(since=NOW, by_app=Decimal(2), more=Decimal(3), fewer=Decimal(1))


def test_what_the_ledger_explains_is_no_other_use() -> None:
    assert OtherUse.after(None, spent(by_api=6, counted=5, slack=1), since=NOW) is None


@pytest.mark.parametrize(
    ("total", "told", "told_s", "is_news"),
    [(1, 0, 0, True), (2, 1, 0, True), (3, 2, 0, False), (3, 2, 600, True), (4, 4, 10**6, False), (0, 0, 10**6, False)],
)
def test_other_use_is_told_as_it_doubles_or_after_a_while(total: int, told: int, told_s: float, is_news: bool) -> None:
    assert OtherUse(since=NOW, more=Decimal(total)).is_news(reported=Decimal(told), reported_s=told_s) is is_news
