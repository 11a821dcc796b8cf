"""
An account in words, bars and figures: what ``credits`` shows.

Pure: answers of the account and a moment come in, lines and values go out.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Self

from rich.table import Table
from rich.text import Text

from rembg_watch.api.responses import Account, BillingCycle, BillingPeriod
from rembg_watch.ledger import PastBalance
from rembg_watch.report.words import credits_number, credits_text, span_text, utc_text

SHORTEST_PACE = timedelta(hours=1)
"""What was used in less says nothing about a month."""

_NOTHING = Decimal(0)
_SECOND = timedelta(seconds=1)
_CLOCK_SLACK = timedelta(minutes=10)


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageQuery:
    """The time that the usage is asked for; without any, now."""

    year: int | None = None
    month: int | None = None
    period_start_unix: int | None = None

    @property
    def month_text(self) -> str | None:
        """The month as it is written in the command, if it was one."""
        return None if self.year is None else f"{self.year:04d}-{self.month:02d}"

    @property
    def is_now(self) -> bool:
        """Whether no time was named."""
        return self.year is None and self.period_start_unix is None


# --- what the figures say ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountView:
    """What the API answered about the account, to which query, and when."""

    account: Account
    query: UsageQuery
    now: datetime
    periods: Sequence[BillingPeriod] | None = None
    balances: Sequence[PastBalance] | None = None  # as this machine's ledger has kept them, the oldest first

    @property
    def cycle(self) -> BillingCycle | None:
        """The billing period that the answer is about; none for a month."""
        return self.account.billing_cycle if self.query.year is None else None

    @property
    def is_current(self) -> bool:
        """Whether the answer is about today, so that it says what can be spent."""
        cycle = self.account.billing_cycle
        return self.query.is_now or (cycle is not None and is_running(cycle, self.now))


def is_running(period: BillingPeriod, now: datetime) -> bool:
    """Say whether *now* is in *period*, give or take what clocks differ by."""
    return period.period_start_at - _CLOCK_SLACK <= now <= period.period_end_at + _CLOCK_SLACK


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """Where the present pace leads until the renewal."""

    per_day: Decimal
    included_end_at: datetime | None  # None: they last until the renewal
    all_end_at: datetime | None  # with the prepaid ones, once the included ones have ended
    left_at_renewal: Decimal  # of the included ones
    prepaid_needed: Decimal


def forecast(cycle: BillingCycle, now: datetime) -> Forecast | None:
    """
    Forecast the rest of a billing period from its usage so far.

    Returns:
        None where the period is over, has not begun or is too young to have a pace.
    """
    elapsed = now - cycle.period_start_at
    left = cycle.period_end_at - now
    if elapsed < SHORTEST_PACE or left <= timedelta(0):
        return None
    used = max(cycle.used_included, _NOTHING)
    per_s = used / Decimal(elapsed.total_seconds())
    needed = per_s * Decimal(left.total_seconds())
    remaining = max(cycle.remaining_included, _NOTHING)
    short = max(needed - remaining, _NOTHING)
    prepaid = max(cycle.prepaid_credits, _NOTHING)
    return Forecast(
        per_day=per_s * 86_400,
        included_end_at=_when_spent(remaining, per_s, now) if short or not remaining else None,
        all_end_at=_when_spent(remaining + prepaid, per_s, now) if short > prepaid else None,
        left_at_renewal=max(remaining - needed, _NOTHING),
        prepaid_needed=min(short, prepaid),
    )


def _when_spent(amount: Decimal, per_s: Decimal, now: datetime) -> datetime:
    return now + timedelta(seconds=float(amount / per_s)) if per_s > 0 else now


def forecast_sentence(cycle: BillingCycle, now: datetime) -> str:
    """Write in one sentence how long the credits last."""
    found = forecast(cycle, now)
    if found is None:
        return "none: the period is over" if now > cycle.period_end_at else "none yet: the period has just begun"
    if not cycle.used_included:
        return f"nothing is used so far: all {credits_text(cycle.remaining_included)} would be left at the renewal"
    pace = f"at the present pace of {_per_day(found.per_day)}"
    if found.included_end_at is None:
        return f"{pace} {_about(found.left_at_renewal)} will be left at the renewal"
    if cycle.remaining_included <= 0:
        ending = "the included credits are used up"
    else:
        early = span_text((cycle.period_end_at - found.included_end_at).total_seconds())
        ending = f"{pace} the included credits end on {utc_text(found.included_end_at)}, {early} before the renewal"
    return f"{ending}; {_prepaid_forecast(found, cycle)}"


def _prepaid_forecast(found: Forecast, cycle: BillingCycle) -> str:
    if cycle.prepaid_credits <= 0:
        return "nothing can be spent after that, since there are no prepaid ones"
    if found.all_end_at is None:
        return f"the prepaid ones cover the rest: {_about(found.prepaid_needed)} of {_number(cycle.prepaid_credits)}"
    return f"the prepaid ones last until {utc_text(found.all_end_at)} at that pace"


def _per_day(amount: Decimal) -> str:
    return f"{amount:,.0f} a day" if amount >= 10 else f"{amount:,.1f} a day"


def _about(amount: Decimal) -> str:
    return f"about {credits_text(amount.to_integral_value())}"


# --- on a screen ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class BarPart:
    """A share of a bar: how much, drawn with what, in which colour."""

    amount: Decimal
    mark: str
    style: str


def bar(parts: Iterable[BarPart], whole: Decimal, width: int, *, rest: str = "") -> Text:
    """
    Draw shares of a whole, one behind the other, at most *width* characters wide.

    A share that is not nothing shows, however small; more than the whole fills the bar.
    """
    drawn, total, done = Text(), _NOTHING, 0
    for part in parts:
        total += max(part.amount, _NOTHING)
        share = min(total / whole, Decimal(1)) if whole > 0 else _NOTHING
        end = max(round(share * width), done + 1 if part.amount > 0 else done)
        drawn.append(part.mark * (min(end, width) - done), style=part.style)
        done = min(end, width)
    return drawn.append(rest * (width - done), style="dim")


@dataclass(frozen=True, slots=True)
class BarCharacters:
    """The characters that bars are drawn with, so that they can be read without colours too."""

    api: str = "█"
    app: str = "▒"
    rest: str = "░"

    @classmethod
    def of(cls, encoding: str) -> Self:
        """Choose characters that a terminal of that encoding can show."""
        return cls() if encoding.lower().startswith("utf") else cls("#", "+", ".")

    def shares(self, period: BillingPeriod) -> list[BarPart]:
        """Return what the API and the web editor took, as parts of a bar."""
        return [BarPart(period.api_usage, self.api, "green"), BarPart(period.app_usage, self.app, "cyan")]


Row = tuple[str, Text]
_Rows = list[tuple[str, str | Text]]

NO_BAR, LEAST_BAR = 0, 4
_PLAIN = BarCharacters()


def rows(view: AccountView, *, bar_width: int = NO_BAR, characters: BarCharacters = _PLAIN) -> list[Row]:
    """Say everything as labels and sentences; with a bar where *bar_width* leaves room for one."""
    account, cycle = view.account, view.cycle
    found: _Rows = [("Membership", account.membership or "unknown")]
    if view.is_current:
        found.append(("Can be spent", _spendable(view)))
    if view.query.year is not None:
        found.append(("UTC month", view.query.month_text or ""))
        found.append(("Used", _used(account.app_usage, account.api_usage)))
    elif cycle is not None:
        found += _cycle_rows(cycle, view.now, bar_width, characters)
        found += _coming_rows(cycle, view.now) if view.is_current else []
    else:
        found.append(("Used", f"{_used(account.app_usage, account.api_usage)}, in this UTC month"))
        found.append(("Period", "the API said nothing about a billing period"))
    return [(label, text if isinstance(text, Text) else Text(text)) for label, text in found]


def _cycle_rows(cycle: BillingCycle, now: datetime, bar_width: int, characters: BarCharacters) -> _Rows:
    found: _Rows = [("Period", _period_text(cycle, now))]
    if not cycle.stripe_billing_synced:
        found.append(("", "This is the UTC month as a stand-in: the image API may use another period."))
    used = f"{_number(cycle.used_included)} of {_number(cycle.included_credits)} used{_percent(cycle)}"
    api, app = f"API {_number(cycle.api_usage)}", f"web editor {_number(cycle.app_usage)}"
    if bar_width < LEAST_BAR:
        return [*found, ("Included", f"{used}: {api}, {app}")]
    drawn = bar(characters.shares(cycle), cycle.included_credits, bar_width, rest=characters.rest)
    return [*found, ("Included", drawn), ("", used), ("", f"{characters.api} {api}, {characters.app} {app}")]


def _coming_rows(cycle: BillingCycle, now: datetime) -> _Rows:
    return [
        ("Prepaid", f"{credits_text(cycle.prepaid_credits)}; they outlast the period"),
        ("Renewal", _renewal(cycle, now)),
        ("Forecast", forecast_sentence(cycle, now)),
    ]


def _spendable(view: AccountView) -> Text:
    cycle, amount = view.account.billing_cycle, view.account.spendable
    text = Text(credits_text(amount), style="bold green" if amount > 0 else "bold red")
    if cycle is None:
        return text.append(
            "; computed from the calendar month's usage, which may differ from what is enforced", style="not bold"
        )
    parts = f": {_number(max(cycle.remaining_included, _NOTHING))} included, {_number(cycle.prepaid_credits)} prepaid"
    return Text.assemble(text, (parts, ""))


def _period_text(cycle: BillingCycle, now: datetime) -> str:
    span = f"{utc_text(cycle.period_start_at)} to {utc_text(cycle.period_end_at)}"
    if not cycle.period_start_at <= now <= cycle.period_end_at:
        return span
    days = -(-(cycle.period_end_at + _SECOND - cycle.period_start_at) // timedelta(days=1))
    return f"{span}, day {(now - cycle.period_start_at) // timedelta(days=1) + 1} of {days}"


def _renewal(cycle: BillingCycle, now: datetime) -> str:
    at = cycle.period_end_at + _SECOND
    if at <= now:
        return f"it was due on {utc_text(at)}; check this machine's clock"
    return f"in {span_text((at - now).total_seconds())}, on {utc_text(at)}"


def _percent(cycle: BillingCycle) -> str:
    if cycle.included_credits <= 0:
        return ""
    return f" ({100 * cycle.used_included / cycle.included_credits:.0f} %)"


def _used(app: Decimal, api: Decimal) -> str:
    return f"{credits_text(app + api)}: API {_number(api)}, web editor {_number(app)}"


def _number(amount: Decimal) -> str:
    return f"{credits_number(amount):,}"


NO_PERIODS = "No billing periods are listed."


def plain_lines(view: AccountView) -> list[str]:
    """Say everything as lines of words, for a pipe or a log."""
    lines = [f"{label}: {text.plain}" if label else f"  {text.plain}" for label, text in rows(view)]
    lines += history_lines(view.periods) if view.periods is not None else []
    return lines + (balance_lines(view.balances) if view.balances is not None else [])


def history_lines(periods: Sequence[BillingPeriod]) -> list[str]:
    """Say each period in a line of words."""
    return [
        f"{_days(one)}: {_used(one.app_usage, one.api_usage)} (--period {one.period_start_unix})" for one in periods
    ] or [NO_PERIODS]


NO_BALANCES = "No balances are kept: the daemon writes them down as it reads the account."


def balance_lines(balances: Sequence[PastBalance]) -> list[str]:
    """Say in a line for each UTC day what could be spent at its end; days without one changed nothing."""
    by_day = {f"{one.at:%Y-%m-%d}": one for one in balances}
    return [f"{day}: {_balance(one)}" for day, one in by_day.items()] or [NO_BALANCES]


def _balance(one: PastBalance) -> str:
    included, prepaid = max(one.included, _NOTHING), max(one.prepaid, _NOTHING)
    return f"{credits_text(included + prepaid)}: {_number(included)} included, {_number(prepaid)} prepaid"


def _days(period: BillingPeriod) -> str:
    return f"{period.period_start_at:%Y-%m-%d} to {period.period_end_at:%Y-%m-%d}"


HISTORY_WIDTH = 68
"""Of the table of periods without its bar; on a narrower screen there are lines instead."""


def history_table(
    periods: Sequence[BillingPeriod], *, now: datetime, width: int, characters: BarCharacters = _PLAIN
) -> Table:
    """List the periods with bars to compare them by, where there is room; the present one stands out."""
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for heading in ("period", "web editor", "API", "used", "--period"):
        table.add_column(heading, justify="left" if heading == "period" else "right", no_wrap=True)
    most = max((one.used for one in periods), default=_NOTHING)
    bar_width = min(40, width - HISTORY_WIDTH)
    for one in periods:
        numbers = [_number(one.app_usage), _number(one.api_usage), _number(one.used), str(one.period_start_unix)]
        drawn = [bar(characters.shares(one), most, bar_width)] if bar_width >= LEAST_BAR else []
        table.add_row(_days(one), *numbers, *drawn, style="bold" if is_running(one, now) else "")
    return table


# --- for machines --------------------------------------------------------------------------------


def as_plain_values(view: AccountView) -> dict[str, Any]:
    """
    Return everything as JSON values.

    ``included``, ``prepaid``, ``spendable`` and ``period_end`` are those of ``status``; they
    are null where the answer is about another time than today.
    """
    account, cycle, holds_today = view.account, view.account.billing_cycle, view.is_current
    found: dict[str, Any] = {
        "membership": account.membership,
        "included": credits_number(cycle.remaining_included) if cycle and holds_today else None,
        "prepaid": credits_number(account.prepaid_credits) if holds_today else None,
        "spendable": credits_number(account.spendable) if holds_today else None,
        "period_end": cycle.period_end_at.isoformat() if cycle and holds_today else None,
        "plan_credits": credits_number(account.credits),
        "usage": _usage_values(account.app_usage, account.api_usage) | {"month": view.query.month_text},
        "period": _cycle_values(view.cycle, view.now) if view.cycle else None,
        "read_at": view.now.isoformat(),
    }
    if view.periods is not None:
        found["history"] = [_period_values(one) for one in view.periods]
    if view.balances is not None:
        found["balances"] = [_balance_values(one) for one in view.balances]
    return found


def _usage_values(app: Decimal, api: Decimal) -> dict[str, Any]:
    return {"app": credits_number(app), "api": credits_number(api), "used": credits_number(app + api)}


def _period_values(period: BillingPeriod) -> dict[str, Any]:
    return {
        "start": period.period_start_at.isoformat(),
        "end": period.period_end_at.isoformat(),
        "start_unix": period.period_start_unix,
        **_usage_values(period.app_usage, period.api_usage),
    }


def _balance_values(one: PastBalance) -> dict[str, Any]:
    return {
        "at": one.at.isoformat(),
        "included": credits_number(one.included),
        "prepaid": credits_number(one.prepaid),
        "period_end": one.period_end_at.isoformat() if one.period_end_at else None,
    }


def _cycle_values(cycle: BillingCycle, now: datetime) -> dict[str, Any]:
    return {
        **_period_values(cycle),
        "used": credits_number(cycle.used_included),
        "included": credits_number(cycle.included_credits),
        "remaining": credits_number(cycle.remaining_included),
        "synced": cycle.stripe_billing_synced,
        "renews_in_s": max(0, round((cycle.period_end_at + _SECOND - now).total_seconds())),
        "forecast": _forecast_values(forecast(cycle, now)),
    }


def _forecast_values(found: Forecast | None) -> dict[str, Any] | None:
    if found is None:
        return None
    return {
        "per_day": round(float(found.per_day), 2),
        "included_end": found.included_end_at.isoformat() if found.included_end_at else None,
        "all_end": found.all_end_at.isoformat() if found.all_end_at else None,
        "left_at_renewal": round(float(found.left_at_renewal), 2),
        "prepaid_needed": round(float(found.prepaid_needed), 2),
    }
