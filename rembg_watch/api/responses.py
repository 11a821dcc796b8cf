"""
What the API answers about the account, as typed values.

Read with tolerance: unknown fields are passed over and numbers may come as text; what
cannot be understood is a ``BadAnswerError``. A cutout is in ``cutout``.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation

from rembg_watch.api.errors import BadAnswerError, Charge, Scope
from rembg_watch.api.params import LAST_UNIX_S

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LONGEST_WORDS = 200
_MOST = Decimal(10) ** 15  # no account has more; arithmetic beyond would round


@dataclass(frozen=True, slots=True, kw_only=True)
class BillingPeriod:
    """One billing window that was, and what was used in it."""

    period_start_at: datetime
    period_end_at: datetime  # the last moment before the next renewal
    app_usage: Decimal
    api_usage: Decimal

    @property
    def period_start_unix(self) -> int:
        """The name of the window, as ``Client.account(period_start=...)`` takes it."""
        return (self.period_start_at - _EPOCH) // timedelta(seconds=1)

    @property
    def used(self) -> Decimal:
        """What the web editor and the API took together."""
        return self.app_usage + self.api_usage


@dataclass(frozen=True, slots=True, kw_only=True)
class BillingCycle(BillingPeriod):
    """The billing window that was asked for, with its credits."""

    included_credits: Decimal
    prepaid_credits: Decimal
    used_included: Decimal
    remaining_included: Decimal
    stripe_billing_synced: bool  # False: the window is the UTC month, and not what the image API enforces


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """What the account holds, and what was used in the month or window that was asked for."""

    membership: str
    credits: Decimal  # included in each period
    prepaid_credits: Decimal  # bought on top; they outlast the period
    app_usage: Decimal
    api_usage: Decimal
    billing_cycle: BillingCycle | None = None

    @property
    def spendable(self) -> Decimal:
        """
        What can be spent now: what is left of the included credits, and the prepaid ones.

        Without a billing cycle the usage of the calendar month stands in, which may be
        another window than the one that is enforced. Of an account that was asked for a
        past period this says nothing about today.
        """
        if self.billing_cycle:
            included = self.billing_cycle.remaining_included
        else:
            included = self.credits - self.app_usage - self.api_usage
        return max(included, Decimal(0)) + max(self.prepaid_credits, Decimal(0))


def account_from(data: object) -> Account:
    """
    Read the answer of membership-usage.

    Raises:
        BadAnswerError: It is not an account. This costs nothing.
    """
    found = _answered(data, "credits")
    cycle = found.get("billingCycle")
    return Account(
        membership=_text(found, "membership"),
        credits=_amount(found, "credits"),
        prepaid_credits=_amount(found, "prepaidCredits", Decimal(0)),
        app_usage=_amount(found, "app_usage", Decimal(0)),
        api_usage=_amount(found, "api_usage", Decimal(0)),
        billing_cycle=None if cycle is None else _billing_cycle(_mapping(cycle)),
    )


def billing_periods_from(data: object) -> tuple[BillingPeriod, ...]:
    """
    Read the answer of membership-usage with ``listBillingCycles``, in its order: newest first.

    Raises:
        BadAnswerError: It is not a list of billing cycles. This costs nothing.
    """
    cycles = _answered(data, "billingCycles").get("billingCycles")
    if not isinstance(cycles, list):
        raise _not_understood("there is no list 'billingCycles' in it")
    return tuple(_billing_period(_mapping(cycle)) for cycle in cycles)


def _billing_period(found: Mapping[str, object]) -> BillingPeriod:
    return BillingPeriod(
        period_start_at=_moment(found, "periodStartUnix"),
        period_end_at=_moment(found, "periodEndUnix"),
        app_usage=_amount(found, "appUsage", Decimal(0)),
        api_usage=_amount(found, "apiUsage", Decimal(0)),
    )


def _billing_cycle(found: Mapping[str, object]) -> BillingCycle:
    period = _billing_period(found)
    included = _amount(found, "includedCredits", Decimal(0))
    used = _amount(found, "usedIncludedCredits", period.used)
    return BillingCycle(
        **asdict(period),
        included_credits=included,
        prepaid_credits=_amount(found, "prepaidCredits", Decimal(0)),
        used_included=used,
        remaining_included=_amount(found, "remainingIncludedCredits", max(included - used, Decimal(0))),
        stripe_billing_synced=found.get("stripeBillingSynced") in (True, "true", 1),
    )


def _answered(data: object, needed: str) -> Mapping[str, object]:
    """Return the answer, or repeat what it says instead where it is a refusal in the dress of a success."""
    found = _mapping(data)
    said = found.get("error")
    # what is long is not repeated: a piece of the key could be left where it is cut off
    if needed not in found and isinstance(said, str) and said.isprintable() and 0 < len(said) <= _LONGEST_WORDS:
        raise _not_understood(f"it says “{said}”")
    return found


def _mapping(data: object) -> Mapping[str, object]:
    if not isinstance(data, dict):
        raise _not_understood(f"there is {_kind(data)} where an object belongs")
    return data


def _text(found: Mapping[str, object], name: str) -> str:
    value = found.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise _not_understood(f"'{name}' is {_kind(value)}")
    return value


def _amount(found: Mapping[str, object], name: str, absent: Decimal | None = None) -> Decimal:
    value = found.get(name)
    if value is None and absent is not None:
        return absent
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise _not_understood(f"'{name}' is {_kind(value)}, not a number")
    try:
        number = Decimal(value) if isinstance(value, int) else Decimal(str(value).strip())
    except InvalidOperation:
        number = Decimal("NaN")
    if not number.is_finite() or abs(number) > _MOST or number.as_tuple().exponent < -30:  # type: ignore[operator]  # finite: an int
        raise _not_understood(f"'{name}' is not a number that an account can have")
    return number


def _moment(found: Mapping[str, object], name: str) -> datetime:
    unix_s = _amount(found, name)
    if not 0 <= unix_s <= LAST_UNIX_S:
        raise _not_understood(f"'{name}' is not a moment")
    return _EPOCH + timedelta(seconds=float(unix_s))


def _kind(value: object) -> str:
    names = {dict: "an object", list: "a list", str: "text", bool: "true or false", type(None): "nothing"}
    return names.get(type(value), "a number")


def _not_understood(why: str) -> BadAnswerError:
    return BadAnswerError(
        message=f"The answer about the account cannot be understood: {why}.",
        code="answer_not_an_account",
        status=200,
        charge=Charge.NO,
        scope=Scope.SERVICE,
    )
