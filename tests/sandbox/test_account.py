"""Credits, periods and limits, on a clock that stands where the test wants it."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from rembg_watch.sandbox.account import (
    Account,
    BadQueryError,
    DailyQuota,
    FixedWindow,
    SlidingWindow,
    TokenBucket,
    Usage,
    billing_window,
    limit_from,
    month_window,
)
from rembg_watch.sandbox.exchange import OrderError

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
ANCHOR = datetime(2026, 1, 31, 8, 30, tzinfo=UTC)


def account(**changes: Any) -> Account:
    return Account(**{"included": 10, "anchor": ANCHOR, **changes})


def unix(*moment: int) -> int:
    return int(datetime(*moment, tzinfo=UTC).timestamp())  # type: ignore[misc,arg-type]


# -- periods ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("now", "start", "end"),
    [
        (datetime(2026, 2, 10, tzinfo=UTC), (2026, 1, 31, 8, 30), (2026, 2, 28, 8, 30)),
        (datetime(2026, 2, 28, 8, 30, tzinfo=UTC), (2026, 2, 28, 8, 30), (2026, 3, 31, 8, 30)),
        (datetime(2026, 2, 28, 8, 29, 59, tzinfo=UTC), (2026, 1, 31, 8, 30), (2026, 2, 28, 8, 30)),
        (datetime(2028, 3, 1, tzinfo=UTC), (2028, 2, 29, 8, 30), (2028, 3, 31, 8, 30)),
        (datetime(2027, 1, 1, tzinfo=UTC), (2026, 12, 31, 8, 30), (2027, 1, 31, 8, 30)),
        (datetime(2025, 12, 1, tzinfo=UTC), (2025, 11, 30, 8, 30), (2025, 12, 31, 8, 30)),
    ],
    ids=["a long month", "first second", "last second", "leap day", "over new year", "before the anchor"],
)
def test_windows_follow_the_anchor_as_subscriptions_do(
    now: datetime, start: tuple[int, ...], end: tuple[int, ...]
) -> None:
    window = billing_window(ANCHOR, now)
    assert (window.start, window.end) == (unix(*start), unix(*end) - 1)


def test_windows_leave_no_gap_in_ten_years() -> None:
    now, end = NOW, None
    for _ in range(120):
        window = billing_window(ANCHOR, now)
        assert end is None or window.start == end + 1
        end, now = window.end, datetime.fromtimestamp(window.end + 1, UTC)


def test_an_account_that_is_not_synced_has_the_calendar_month() -> None:
    window = account(is_synced=False).window(NOW)
    assert (window.start, window.end) == (unix(2026, 11, 1), unix(2026, 12, 1) - 1)
    assert month_window(datetime(2026, 12, 31, tzinfo=UTC)).end == unix(2027, 1, 1) - 1


# -- money -----------------------------------------------------------------------------------------


def test_included_credits_go_first_and_prepaid_ones_after_them() -> None:
    customer = account(included=2, prepaid=1)
    charges = [customer.charge(NOW) for _ in range(4)]
    assert [(c.included, c.prepaid) if c else None for c in charges] == [(1, 0), (1, 0), (0, 1), None]
    assert (customer.spendable(NOW), customer.used(NOW), customer.prepaid) == (0, Usage(api=2), 0)


def test_a_price_may_straddle_both_kinds_of_credits() -> None:
    customer = account(included=3, prepaid=5, price=4)
    charge = customer.charge(NOW)
    assert charge is not None
    assert (charge.included, charge.prepaid) == (3, 1)
    customer.refund(charge)
    assert (customer.spendable(NOW), customer.used(NOW).total) == (8, 0)


def test_included_credits_come_back_with_the_period_and_prepaid_ones_do_not() -> None:
    customer = account(included=1, prepaid=1)
    assert [customer.charge(NOW) is not None for _ in range(3)] == [True, True, False]
    later = datetime.fromtimestamp(customer.window(NOW).end + 1, UTC)
    assert customer.spendable(later) == 1
    assert customer.prepaid == 0


def test_the_month_does_not_bring_credits_back_while_the_subscription_rules() -> None:
    customer = account(included=1, anchor=datetime(2026, 11, 20, tzinfo=UTC))
    customer.charge(NOW)
    assert customer.charge(datetime(2026, 12, 2, tzinfo=UTC)) is None
    assert customer.charge(datetime(2026, 12, 20, tzinfo=UTC)) is not None


def test_a_refund_goes_back_into_the_period_it_came_from() -> None:
    customer = account(included=1)
    charge = customer.charge(NOW)
    assert charge is not None
    later = datetime.fromtimestamp(customer.window(NOW).end + 1, UTC)
    customer.charge(later)
    customer.refund(charge)
    assert customer.used(NOW).total == 0
    assert customer.used(later).total == 1


def test_the_editor_spends_from_the_same_credits() -> None:
    customer = account(included=3)
    customer.charge(NOW, credits_wanted=2, is_app=True)
    assert customer.used(NOW) == Usage(app=2)
    assert customer.remaining_included(NOW) == 1


def test_a_lowered_allowance_never_leaves_less_than_nothing() -> None:
    customer = account(included=5)
    for _ in range(5):
        customer.charge(NOW)
    customer.included = 2
    assert customer.remaining_included(NOW) == 0


# -- membership usage ------------------------------------------------------------------------------


def test_the_plain_answer_speaks_of_the_present_month() -> None:
    customer = account(included=10, prepaid=3)
    customer.charge(NOW)
    customer.charge(NOW, credits_wanted=2, is_app=True)
    assert customer.membership_usage({}, NOW) == {
        "membership": "Premium-20000",
        "credits": 10,
        "prepaidCredits": 3,
        "app_usage": 2,
        "api_usage": 1,
    }


@pytest.mark.parametrize(
    "query",
    [
        {"expand": "billing_cycle"},
        {"expand": "x, billing_cycle"},
        {"includeBillingCycle": "1"},
        {"includeBillingCycle": "true"},
    ],
)
def test_the_billing_cycle_comes_on_request(query: dict[str, str]) -> None:
    customer = account(included=10, prepaid=3)
    customer.charge(NOW)
    cycle = customer.membership_usage(query, NOW)["billingCycle"]
    assert cycle == {
        "periodStartUnix": unix(2026, 10, 31, 8, 30),
        "periodEndUnix": unix(2026, 11, 30, 8, 30) - 1,
        "appUsage": 0,
        "apiUsage": 1,
        "includedCredits": 10,
        "prepaidCredits": 3,
        "usedIncludedCredits": 1,
        "remainingIncludedCredits": 9,
        "stripeBillingSynced": True,
    }


@pytest.mark.parametrize(
    "query", [{"expand": "other"}, {"includeBillingCycle": "0"}, {"includeBillingCycle": ""}, {"expand": ""}]
)
def test_the_billing_cycle_stays_away_otherwise(query: dict[str, str]) -> None:
    assert "billingCycle" not in account().membership_usage(query, NOW)


def test_month_and_window_count_what_fell_into_them() -> None:
    customer = account(included=100, anchor=datetime(2026, 10, 15, tzinfo=UTC))
    customer.charge(datetime(2026, 10, 20, tzinfo=UTC))
    customer.charge(datetime(2026, 11, 10, tzinfo=UTC))
    customer.charge(NOW)
    october, november = ({"year": "2026", "month": m} for m in ("10", "11"))
    assert customer.membership_usage(october, NOW)["api_usage"] == 1
    assert customer.membership_usage(november, NOW)["api_usage"] == 2
    window = {"periodStartUnix": str(unix(2026, 10, 15)), "expand": "billing_cycle"}
    answer: dict[str, Any] = customer.membership_usage(window, NOW)
    assert answer["api_usage"] == 2
    assert answer["billingCycle"]["periodEndUnix"] == unix(2026, 11, 15) - 1


def test_without_sync_the_cycle_is_the_month_and_says_so() -> None:
    customer = account(is_synced=False)
    customer.charge(NOW)
    cycle: Any = customer.membership_usage({"expand": "billing_cycle"}, NOW)["billingCycle"]
    assert (cycle["stripeBillingSynced"], cycle["periodStartUnix"], cycle["apiUsage"]) == (False, unix(2026, 11, 1), 1)
    assert customer.membership_usage({"listBillingCycles": "1"}, NOW) == {"billingCycles": []}


def test_cycles_are_listed_newest_first_and_everything_else_is_ignored() -> None:
    customer = account(included=10)
    customer.cycles[unix(2026, 9, 30, 8, 30)] = Usage(app=5, api=7)
    customer.charge(NOW)
    query = {"listBillingCycles": "true", "year": "nonsense", "periodStartUnix": "1"}
    assert customer.membership_usage(query, NOW) == {
        "billingCycles": [
            {
                "periodStartUnix": unix(2026, 10, 31, 8, 30),
                "periodEndUnix": unix(2026, 11, 30, 8, 30) - 1,
                "appUsage": 0,
                "apiUsage": 1,
            },
            {
                "periodStartUnix": unix(2026, 9, 30, 8, 30),
                "periodEndUnix": unix(2026, 10, 31, 8, 30) - 1,
                "appUsage": 5,
                "apiUsage": 7,
            },
        ]
    }


@pytest.mark.parametrize(
    ("query", "fields"),
    [
        ({"periodStartUnix": "1774268612", "year": "2026"}, ["periodStartUnix"]),
        ({"periodStartUnix": "1774268612", "month": "3"}, ["periodStartUnix"]),
        ({"year": "0"}, ["year"]),
        ({"year": "10000"}, ["year"]),
        ({"month": "13"}, ["month"]),
        ({"month": "x", "year": "-1"}, ["year", "month"]),
        ({"periodStartUnix": "99999999999999"}, ["periodStartUnix"]),
        ({"year": "٢٠٢٦"}, ["year"]),
        ({"month": "+-3"}, ["month"]),
    ],
)
def test_a_query_that_cannot_be_is_refused(query: dict[str, str], fields: list[str]) -> None:
    with pytest.raises(BadQueryError) as caught:
        account().membership_usage(query, NOW)
    assert [field for field, _ in caught.value.problems] == fields


def test_an_unknown_window_counts_nothing() -> None:
    answer: Any = account().membership_usage({"periodStartUnix": "1000000000", "expand": "billing_cycle"}, NOW)
    assert (answer["api_usage"], answer["billingCycle"]["usedIncludedCredits"]) == (0, 0)


# -- limits ----------------------------------------------------------------------------------------


def test_the_day_ends_at_midnight_utc() -> None:
    quota = DailyQuota(2)
    assert [quota.take(NOW) for _ in range(3)] == [True, True, False]
    quota.give_back()
    assert quota.take(NOW)
    assert not quota.take(NOW + timedelta(hours=11))
    assert quota.take(NOW + timedelta(hours=12))


def test_a_bucket_allows_a_burst_and_then_its_rate() -> None:
    bucket = TokenBucket(2, 3)
    assert [bucket.admits(100.0) for _ in range(5)] == [True, True, True, False, False]
    assert [bucket.admits(100.5), bucket.admits(100.5)] == [True, False]
    assert [bucket.admits(9999.0) for _ in range(4)] == [True, True, True, False]


def test_a_bucket_that_counts_refusals_makes_the_impatient_wait_longer() -> None:
    bucket = TokenBucket(1, 2, counts_refusals=True)
    assert [bucket.admits(0.0) for _ in range(4)] == [True, True, False, False]
    assert not bucket.admits(2.5)
    patient = TokenBucket(1, 2)
    for _ in range(4):
        patient.admits(0.0)
    assert patient.admits(2.5)


def test_a_clock_that_goes_back_earns_nothing() -> None:
    bucket = TokenBucket(1, 1)
    assert bucket.admits(100.0)
    assert not bucket.admits(50.0)


def test_a_sliding_window_forgets_one_by_one() -> None:
    window = SlidingWindow(2, 10)
    assert [window.admits(t) for t in (0, 5, 6, 10, 11, 15)] == [True, True, False, True, False, True]


def test_a_sliding_window_that_counts_refusals_stays_shut_under_pressure() -> None:
    window = SlidingWindow(2, 10, counts_refusals=True)
    assert [window.admits(t) for t in (0, 1, 9, 10.5, 14, 26)] == [True, True, False, False, False, True]


def test_a_fixed_window_forgets_all_at_once() -> None:
    window = FixedWindow(2, 60)
    assert [window.admits(t) for t in (58, 59, 59.9, 60, 61, 62)] == [True, True, False, True, True, False]


def test_counted_refusals_of_a_fixed_window_carry_over() -> None:
    window = FixedWindow(2, 60, counts_refusals=True)
    assert [window.admits(t) for t in (0, 1, 2, 3, 60, 120)] == [True, True, False, False, False, True]


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("5", TokenBucket),
        ("0.5", TokenBucket),
        ("bucket:5:20", TokenBucket),
        ("sliding:120:60", SlidingWindow),
        ("fixed:120:60+refusals", FixedWindow),
        ("", type(None)),
        ("none", type(None)),
        ("0", type(None)),
    ],
)
def test_limits_are_read_as_a_person_writes_them(text: str, kind: type) -> None:
    assert isinstance(limit_from(text), kind)


@pytest.mark.parametrize(
    "text", ["fast", "-1", "bucket", "bucket:1:2:3", "sliding:5", "5+nonsense", "inf", "nan", "fixed:0:60", "5:5"]
)
def test_a_limit_that_cannot_be_read_says_what_was_expected(text: str) -> None:
    with pytest.raises(OrderError, match="requests a second"):
        limit_from(text)
