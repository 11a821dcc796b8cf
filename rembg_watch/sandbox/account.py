"""
Whose key it is, what it may spend, and how fast.

Included credits come back with each period and are spent first; prepaid credits
do not come back. Time is told with each call: nothing here looks at a clock.
Money is whole credits. Callers that share an account hold a lock of their own.
"""

import calendar
import math
import re
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from typing import Protocol

from rembg_watch.sandbox.exchange import OrderError

Cycle = dict[str, object]


@dataclass(frozen=True, slots=True)
class Usage:
    """Included credits spent: by the web editor and by the API. Prepaid use is in neither."""

    app: int = 0
    api: int = 0

    @property
    def total(self) -> int:
        """Both together, as ``usedIncludedCredits`` counts them."""
        return self.app + self.api


@dataclass(frozen=True, slots=True)
class Window:
    """A billing window, from its first second to the last before the next one."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Charge:
    """One payment, with all that is needed to take it back."""

    included: int
    prepaid: int
    month: tuple[int, int]
    cycle: int | None
    is_app: bool = False


class BadQueryError(Exception):
    """A usage query that contradicts itself or is out of range; one sentence per finding."""

    def __init__(self, problems: list[tuple[str, str]]) -> None:
        super().__init__("; ".join(message for _, message in problems))
        self.problems = problems


class Account:
    """
    One customer: a plan, prepaid credits and counters that outlive their periods.

    Billing windows begin on the anchor's day of the month at its time of day, as subscriptions do;
    in a month without that day, on its last. While the account is not synced, the UTC calendar month
    is the window.
    """

    def __init__(
        self,
        *,
        included: int,
        prepaid: int = 0,
        price: int = 1,
        anchor: datetime,
        membership: str = "Premium-20000",
        is_synced: bool = True,
        is_verified: bool = True,
    ) -> None:
        self.included = included
        self.prepaid = prepaid
        self.price = price
        self.anchor = anchor
        self.membership = membership
        self.is_synced = is_synced
        self.is_verified = is_verified
        self.months: dict[tuple[int, int], Usage] = {}
        self.cycles: dict[int, Usage] = {}

    def window(self, now: datetime) -> Window:
        """Return the window that is enforced at *now*."""
        return billing_window(self.anchor, now) if self.is_synced else month_window(now)

    def used(self, now: datetime) -> Usage:
        """Return what has been spent of the included credits in the window of *now*."""
        if self.is_synced:
            return self.cycles.get(self.window(now).start, Usage())
        return self.months.get((now.year, now.month), Usage())

    def remaining_included(self, now: datetime) -> int:
        """Return the included credits that are left; never negative."""
        return max(0, self.included - self.used(now).total)

    def spendable(self, now: datetime) -> int:
        """Return what can be spent now, included and prepaid."""
        return self.remaining_included(now) + self.prepaid

    def charge(self, now: datetime, *, credits_wanted: int | None = None, is_app: bool = False) -> Charge | None:
        """Take one picture's price, or *credits_wanted*, included credits first; None where too little is left."""
        wanted = self.price if credits_wanted is None else credits_wanted
        if wanted > self.spendable(now):
            return None
        included = min(wanted, self.remaining_included(now))
        charge = Charge(
            included=included,
            prepaid=wanted - included,
            month=(now.year, now.month),
            cycle=self.window(now).start if self.is_synced else None,
            is_app=is_app,
        )
        self._book(charge, sign=1)
        return charge

    def refund(self, charge: Charge) -> None:
        """Take a payment back, into the period that it came from."""
        self._book(charge, sign=-1)

    def _book(self, charge: Charge, *, sign: int) -> None:
        self.prepaid -= sign * charge.prepaid
        self.months[charge.month] = _add(self.months.get(charge.month), charge, sign)
        if charge.cycle is not None:
            self.cycles[charge.cycle] = _add(self.cycles.get(charge.cycle), charge, sign)

    def membership_usage(self, query: Mapping[str, str], now: datetime) -> dict[str, object]:
        """
        Answer ``GET /api/membership-usage``.

        Raises:
            BadQueryError: the query asks for what cannot be.
        """
        if _is_set(query.get("listBillingCycles")):
            return {"billingCycles": self.billing_cycles(now)}
        year, month, period = read_query(query, now)
        window = None if period is None else self._window_from(period, now)
        top = self.months.get((year, month), Usage()) if window is None else self._cycle_usage(window, now)
        answer: dict[str, object] = {
            "membership": self.membership,
            "credits": self.included,
            "prepaidCredits": self.prepaid,
            "app_usage": top.app,
            "api_usage": top.api,
        }
        flags = {flag.strip() for flag in query.get("expand", "").split(",")}
        if "billing_cycle" in flags or _is_set(query.get("includeBillingCycle")):
            answer["billingCycle"] = self._billing_cycle(window or self.window(now), now)
        return answer

    def billing_cycles(self, now: datetime) -> list[Cycle]:
        """List the known windows, newest first: those with a counter, and the current one while synced."""
        starts = set(self.cycles)
        if self.is_synced:
            starts.add(self.window(now).start)
        rows: list[Cycle] = []
        for start in sorted(starts, reverse=True):
            usage = self.cycles.get(start, Usage())
            end = self._window_from(start, now).end
            used = {"appUsage": usage.app, "apiUsage": usage.api}
            rows.append({"periodStartUnix": start, "periodEndUnix": end, **used})
        return rows

    def _window_from(self, start: int, now: datetime) -> Window:
        """Guess a window's end as the documentation does: the next known start, or the current window's own end."""
        current = self.window(now)
        if start == current.start:
            return current
        later = [s for s in [*self.cycles, current.start] if s > start]
        return Window(start, min(later) - 1 if later else start + 30 * 86_400 - 1)

    def _cycle_usage(self, window: Window, now: datetime) -> Usage:
        if not self.is_synced and window == self.window(now):
            return self.used(now)
        return self.cycles.get(window.start, Usage())

    def _billing_cycle(self, window: Window, now: datetime) -> Cycle:
        usage = self._cycle_usage(window, now)
        return {
            "periodStartUnix": window.start,
            "periodEndUnix": window.end,
            "appUsage": usage.app,
            "apiUsage": usage.api,
            "includedCredits": self.included,
            "prepaidCredits": self.prepaid,
            "usedIncludedCredits": usage.total,
            "remainingIncludedCredits": max(0, self.included - usage.total),
            "stripeBillingSynced": self.is_synced,
        }


def _add(usage: Usage | None, charge: Charge, sign: int) -> Usage:
    usage = usage or Usage()
    if charge.is_app:
        return replace(usage, app=usage.app + sign * charge.included)
    return replace(usage, api=usage.api + sign * charge.included)


def month_window(now: datetime) -> Window:
    """Return the UTC calendar month of *now* as a window."""
    start = datetime(now.year, now.month, 1, tzinfo=UTC)
    return Window(int(start.timestamp()), _month_later(start, 1) - 1)


def billing_window(anchor: datetime, now: datetime) -> Window:
    """Return the subscription window of *now* for a subscription that began at *anchor*."""
    months = (now.year - anchor.year) * 12 + now.month - anchor.month
    if _month_later(anchor, months) > now.timestamp():
        months -= 1
    return Window(_month_later(anchor, months), _month_later(anchor, months + 1) - 1)


def _month_later(anchor: datetime, months: int) -> int:
    year, month = divmod(anchor.year * 12 + anchor.month - 1 + months, 12)
    day = min(anchor.day, calendar.monthrange(year, month + 1)[1])
    return int(anchor.replace(year=year, month=month + 1, day=day, microsecond=0).timestamp())


COMBINED = "'periodStartUnix' cannot be combined with 'year' or 'month'"
"""The documentation promises a 400 here without its words: these are the sandbox's."""


def read_query(query: Mapping[str, str], now: datetime) -> tuple[int, int, int | None]:
    """
    Read year, month and window start, with the present ones where they are left out.

    Raises:
        BadQueryError: with every finding.
    """
    problems: list[tuple[str, str]] = []
    year = _number(query, "year", 1, 9999, problems)
    month = _number(query, "month", 1, 12, problems)
    period = _number(query, "periodStartUnix", 0, 253_402_300_799, problems)
    if query.get("periodStartUnix") and (query.get("year") or query.get("month")):
        problems.append(("periodStartUnix", COMBINED))
    if problems:
        raise BadQueryError(problems)
    return now.year if year is None else year, now.month if month is None else month, period


_INTEGER = re.compile(r"[+-]?[0-9]{1,30}")


def _number(query: Mapping[str, str], name: str, low: int, high: int, problems: list[tuple[str, str]]) -> int | None:
    text = query.get(name, "")
    if not text:
        return None
    if not _INTEGER.fullmatch(text):
        problems.append((name, f"'{name}' must be an integer, got: '{text}'"))
        return None
    value = int(text)
    if not low <= value <= high:
        problems.append((name, f"'{name}' must be between {low} and {high}, got: {value}"))
        return None
    return value


def _is_set(text: str | None) -> bool:
    return (text or "").strip().lower() in {"1", "true"}


class DailyQuota:
    """Pictures a day for callers without an account; the day is UTC."""

    def __init__(self, per_day: int) -> None:
        self.per_day = per_day
        self.day: date | None = None
        self.used = 0

    def take(self, now: datetime) -> bool:
        """Count one picture, or say that the day's share is spent."""
        if self.day != now.date():
            self.day, self.used = now.date(), 0
        if self.used >= self.per_day:
            return False
        self.used += 1
        return True

    def give_back(self) -> None:
        """Take back what was counted for a picture that then could not be processed."""
        self.used = max(0, self.used - 1)


class Limit(Protocol):
    """A short-term limit: asked once per request, it answers and remembers."""

    def admits(self, now_s: float) -> bool:
        """Say whether a request at *now_s* is within the limit, and count it."""
        ...


class TokenBucket:
    """*rate_per_s* on average, up to *burst* at once."""

    def __init__(self, rate_per_s: float, burst: float | None = None, *, counts_refusals: bool = False) -> None:
        self.rate_per_s = rate_per_s
        self.burst = max(1.0, math.ceil(rate_per_s) if burst is None else burst)
        self.counts_refusals = counts_refusals
        self._tokens = self.burst
        self._seen_s: float | None = None

    def admits(self, now_s: float) -> bool:
        """Take a token; a refusal that counts takes one too, down to an empty second bucket."""
        passed_s = 0.0 if self._seen_s is None else max(0.0, now_s - self._seen_s)
        self._seen_s = now_s
        self._tokens = min(self.burst, self._tokens + passed_s * self.rate_per_s)
        is_admitted = self._tokens >= 1 - 1e-9
        if is_admitted or self.counts_refusals:
            self._tokens = max(-self.burst, self._tokens - 1)
        return is_admitted


class SlidingWindow:
    """At most *count* requests in any stretch of *window_s*."""

    def __init__(self, count: int, window_s: float, *, counts_refusals: bool = False) -> None:
        self.count = count
        self.window_s = window_s
        self.counts_refusals = counts_refusals
        self._times: deque[float] = deque(maxlen=max(1, count))

    def admits(self, now_s: float) -> bool:
        """Count a request against the stretch that ends now."""
        while self._times and self._times[0] <= now_s - self.window_s:
            self._times.popleft()
        is_admitted = len(self._times) < self.count
        if is_admitted or self.counts_refusals:
            self._times.append(now_s)
        return is_admitted


class FixedWindow:
    """At most *count* requests from one full multiple of *window_s* to the next."""

    def __init__(self, count: int, window_s: float, *, counts_refusals: bool = False) -> None:
        self.count = count
        self.window_s = window_s
        self.counts_refusals = counts_refusals
        self._window: int | None = None
        self._used = 0

    def admits(self, now_s: float) -> bool:
        """Count a request against the present window; counted refusals carry over into the next one."""
        window = math.floor(now_s / self.window_s)
        if window != self._window:
            over = max(0, self._used - self.count) if self.counts_refusals and self._window == window - 1 else 0
            self._window, self._used = window, min(over, self.count)
        is_admitted = self._used < self.count
        if is_admitted or self.counts_refusals:
            self._used += 1
        return is_admitted


def limit_from(text: str) -> Limit | None:
    """
    Read a short-term limit as a person writes it.

    ``5``: a bucket of 5 a second; ``bucket:5:20``: with a burst of 20; ``sliding:120:60`` and
    ``fixed:120:60``: 120 in 60 seconds; ``+refusals`` at the end: refusals count too. ``0``, ``none``
    or nothing: no limit.

    Raises:
        OrderError: with a sentence that says what was expected.
    """
    words, plus, flag = text.strip().lower().partition("+")
    if words in {"", "0", "none"}:
        return None
    kind, *numbers = words.split(":")
    counts = flag == "refusals"
    try:
        values = [float(n) for n in (numbers or [kind])]
    except ValueError:
        values = []
    is_sound = all(math.isfinite(v) and v > 0 for v in values) and bool(plus) == counts
    limit = _limit(kind if numbers else "bucket", values, counts_refusals=counts) if is_sound else None
    if limit is None:
        raise OrderError(
            f"'{text}' is no rate: give a number of requests a second, bucket:RATE:BURST, "
            "sliding:COUNT:SECONDS or fixed:COUNT:SECONDS, each with +refusals if refusals count"
        )
    return limit


def _limit(kind: str, values: list[float], *, counts_refusals: bool) -> Limit | None:
    match kind, values:
        case "bucket", [rate_per_s]:
            return TokenBucket(rate_per_s, counts_refusals=counts_refusals)
        case "bucket", [rate_per_s, burst]:
            return TokenBucket(rate_per_s, burst, counts_refusals=counts_refusals)
        case "sliding", [count, window_s]:
            return SlidingWindow(int(count), window_s, counts_refusals=counts_refusals)
        case "fixed", [count, window_s]:
            return FixedWindow(int(count), window_s, counts_refusals=counts_refusals)
    return None
