"""On what terms pictures are bought: what the settings say of price, limits and retries, as one value."""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol

from rembg_watch.account.retry import RetryPolicy
from rembg_watch.api.responses import Account


class AccountReader(Protocol):
    """Whoever can ask the API what the account holds."""

    def account(self) -> Account:
        """Return what the account holds now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """
    What a reload can change for governor and balance.

    It is swapped whole: whoever begins something takes the terms of that moment and keeps
    them to its end, so that nothing starts with one price and ends with another.
    """

    policy: RetryPolicy
    client: AccountReader
    price: Decimal  # of one picture, in credits
    reserve: Decimal = Decimal(0)  # credits that are to stay in the account
    daily_budget: Decimal = Decimal(0)  # credits for one UTC day; 0: no limit
    recheck_s: float = 300.0  # when the account is read again while nothing can be spent


GetTerms = Callable[[], Terms]
"""Returns the terms that hold at this moment."""
