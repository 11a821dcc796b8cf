"""The balance's past, whichever database keeps it."""

from datetime import timedelta
from decimal import Decimal

from rembg_watch.ledger import Ledger, PastBalance
from tests.ledger.moves import NOW, at


def held(seconds: float, included: str = "10.5", prepaid: str = "3") -> PastBalance:
    return PastBalance(
        at=at(seconds), included=Decimal(included), prepaid=Decimal(prepaid), period_end_at=NOW + timedelta(days=9)
    )


def test_balances_come_back_as_they_were_and_in_their_order(ledger: Ledger) -> None:
    assert ledger.last_balance() is None
    assert ledger.balances() == []
    first, last = held(0, "-1"), PastBalance(at=at(9000), included=Decimal(0), prepaid=Decimal("0.000000001"))
    ledger.keep_balance(last)
    ledger.keep_balance(first)
    assert ledger.balances() == [first, last]
    assert ledger.last_balance() == last
    assert ledger.balances(at(1)) == ledger.balances(at(9000)) == [last]
    assert ledger.balances(at(9001)) == []


def test_of_one_moment_the_later_word_counts(ledger: Ledger) -> None:
    ledger.keep_balance(held(5, "1"))
    ledger.keep_balance(held(5, "2"))
    assert ledger.balances() == [held(5, "2")]


def test_what_was_held_years_ago_is_forgotten(ledger: Ledger) -> None:
    old, young, now = held(0), held(86_400 * 10), held(86_400 * (3 * 366 + 1))
    for one in (old, young, now):
        ledger.keep_balance(one)
    assert ledger.balances() == [young, now]
