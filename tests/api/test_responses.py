from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rembg_watch.api.errors import BadAnswerError, Charge, Scope
from rembg_watch.api.responses import Account, BillingPeriod, account_from, billing_periods_from

CYCLE = {
    "periodStartUnix": 1740441600,
    "periodEndUnix": 1743033599,
    "appUsage": 4200,
    "apiUsage": 5100,
    "includedCredits": 18500,
    "prepaidCredits": 2000,
    "usedIncludedCredits": 9300,
    "remainingIncludedCredits": 9200,
    "stripeBillingSynced": True,
}
DOCUMENTED = {
    "membership": "Premium-20000",
    "credits": 18500,
    "prepaidCredits": 2000,
    "app_usage": 8500,
    "api_usage": 10000,
    "billingCycle": CYCLE,
}


def test_the_documented_answer_is_read_whole() -> None:
    account = account_from(DOCUMENTED)
    cycle = account.billing_cycle
    assert (account.membership, account.credits, account.prepaid_credits) == ("Premium-20000", 18500, 2000)
    assert (account.app_usage, account.api_usage) == (8500, 10000)
    assert cycle is not None
    assert cycle.period_start_at == datetime(2025, 2, 25, tzinfo=UTC)
    assert cycle.period_end_at == datetime(2025, 3, 26, 23, 59, 59, tzinfo=UTC)
    assert cycle.period_start_unix == 1740441600
    assert (cycle.used, cycle.used_included, cycle.remaining_included) == (9300, 9300, 9200)
    assert cycle.stripe_billing_synced
    assert account.spendable == Decimal(11200)
    assert isinstance(account.spendable, Decimal)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        pytest.param({}, 11200, id="as documented"),
        pytest.param({"billingCycle": None}, 2000, id="no cycle: the month's usage stands in, here all is used"),
        pytest.param({"billingCycle": None, "app_usage": 0, "api_usage": 500}, 20000, id="no cycle, little used"),
        pytest.param({"billingCycle": CYCLE | {"remainingIncludedCredits": 0}}, 2000, id="included used up"),
        pytest.param({"billingCycle": CYCLE | {"remainingIncludedCredits": -7}}, 2000, id="a debt is not spent twice"),
        pytest.param({"prepaidCredits": -3}, 9200, id="prepaid below nothing"),
        pytest.param({"prepaidCredits": 0.5}, Decimal("9200.5"), id="half a credit"),
    ],
)
def test_what_can_be_spent_is_what_is_left_and_what_was_prepaid(changes: dict[str, object], expected: int) -> None:
    assert account_from(DOCUMENTED | changes).spendable == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param(5, Decimal(5), id="int"),
        pytest.param(5.25, Decimal("5.25"), id="float"),
        pytest.param(0.1, Decimal("0.1"), id="a float that binary cannot hold"),
        pytest.param("5", Decimal(5), id="text"),
        pytest.param(" 5.0 ", Decimal(5), id="text with spaces"),
        pytest.param("1e3", Decimal(1000), id="an exponent"),
        pytest.param(-2, Decimal(-2), id="a debt"),
    ],
)
def test_a_number_may_come_in_any_dress(value: object, expected: Decimal) -> None:
    assert account_from({"credits": value}).credits == expected


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        "",
        "many",
        "1,850",
        [],
        {},
        float("nan"),
        float("inf"),
        "NaN",
        "Infinity",
        1e300,
        "1e999999",
        "1e-99",
    ],
    ids=repr,
)
def test_what_is_no_amount_is_a_bad_answer_that_costs_nothing(value: object) -> None:
    with pytest.raises(BadAnswerError) as caught:
        account_from({"credits": value})
    assert caught.value.charge is Charge.NO
    assert caught.value.scope is Scope.SERVICE
    assert "'credits'" in str(caught.value)


def test_what_is_missing_is_at_its_most_careful_value() -> None:
    assert account_from({"credits": 3, "new_field": [1], "membership": None}) == Account(
        membership="",
        credits=Decimal(3),
        prepaid_credits=Decimal(0),
        app_usage=Decimal(0),
        api_usage=Decimal(0),
    )


def test_a_cycle_without_sums_is_summed_up() -> None:
    sparse = {name: CYCLE[name] for name in ("periodStartUnix", "periodEndUnix", "appUsage", "apiUsage")}
    cycle = account_from({"credits": 1, "billingCycle": sparse | {"includedCredits": 9000}}).billing_cycle
    assert cycle is not None
    assert (cycle.used_included, cycle.remaining_included, cycle.stripe_billing_synced) == (9300, 0, False)


@pytest.mark.parametrize(
    "data",
    [
        None,
        [],
        "text",
        5,
        {},
        {"credits": 1, "membership": 5},
        {"credits": 1, "billingCycle": []},
        {"credits": 1, "billingCycle": {}},
        {"credits": 1, "billingCycle": CYCLE | {"periodEndUnix": -1}},
        {"credits": 1, "billingCycle": CYCLE | {"periodEndUnix": 10**12}},
        {"credits": 1, "billingCycle": CYCLE | {"periodEndUnix": "soon"}},
        {"credits": 1, "billingCycle": CYCLE | {"appUsage": {}}},
    ],
    ids=repr,
)
def test_a_wrong_shape_is_a_bad_answer(data: object) -> None:
    with pytest.raises(BadAnswerError):
        account_from(data)


@pytest.mark.parametrize("read", [account_from, billing_periods_from])
def test_a_refusal_that_calls_itself_a_success_is_repeated(read: Callable[[object], object]) -> None:
    with pytest.raises(BadAnswerError, match="it says “Internal server error”"):
        read({"error": "Internal server error", "status": 500})
    for unfit in ("", "x" * 201, "two\nlines", 5):
        with pytest.raises(BadAnswerError, match=r"cannot be understood: [t']"):
            read({"error": unfit})


def test_the_list_of_billing_cycles_keeps_its_order() -> None:
    rows = [
        {"periodStartUnix": 1774268612, "periodEndUnix": 1776947012, "appUsage": 120, "apiUsage": 880},
        {"periodStartUnix": 1771849412, "periodEndUnix": 1774268611, "appUsage": 0, "apiUsage": "7"},
    ]
    periods = billing_periods_from({"billingCycles": rows})
    assert [period.used for period in periods] == [1000, 7]
    assert periods[0] == BillingPeriod(
        period_start_at=datetime(2026, 3, 23, 12, 23, 32, tzinfo=UTC),
        period_end_at=datetime(2026, 3, 23, 12, 23, 32, tzinfo=UTC) + timedelta(days=31),
        app_usage=Decimal(120),
        api_usage=Decimal(880),
    )
    assert [period.period_start_unix for period in periods] == [1774268612, 1771849412]
    assert billing_periods_from({"billingCycles": []}) == ()


@pytest.mark.parametrize("data", [None, {}, [], {"billingCycles": None}, {"billingCycles": {}}, {"billingCycles": [1]}])
def test_a_list_that_is_none_is_a_bad_answer(data: object) -> None:
    with pytest.raises(BadAnswerError):
        billing_periods_from(data)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from([*DOCUMENTED, *CYCLE]), inner, max_size=6)
    ),
    max_leaves=20,
)
NUMBERS = st.integers() | st.floats() | st.from_regex(r"-?\d{1,30}(\.\d{1,30})?(e-?\d{1,6})?", fullmatch=True)
NEARLY = st.fixed_dictionaries(
    {"credits": NUMBERS},
    optional={
        "prepaidCredits": NUMBERS,
        "app_usage": NUMBERS,
        "api_usage": NUMBERS,
        "billingCycle": st.fixed_dictionaries(dict.fromkeys(CYCLE, NUMBERS)),
    },
)


@given(JSON | NEARLY)
def test_no_json_makes_the_reading_raise_anything_foreign(data: object) -> None:
    for read in (account_from, billing_periods_from):
        try:
            found = read(data)
        except BadAnswerError:
            continue
        if isinstance(found, Account):
            assert found.spendable >= 0
