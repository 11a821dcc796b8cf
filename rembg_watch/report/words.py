"""
How paths, spans, sizes, credits and moments are written wherever a person reads them.

Pure text, one spelling for all reporters. It decides nothing and knows no event.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from decimal import Decimal

DAYS_OF_A_WEEK = 6  # one less, so that "Mon" is never the Monday a week away

When = Callable[[datetime], str]
"""How a reporter writes a moment: ``utc_text`` for machines, ``local_text`` for people."""


def show(path: bytes) -> str:
    """
    Write *path* so that it fits on one line and harms no terminal.

    Names on disk are bytes: they may be no UTF-8, or hold line feeds and terminal
    codes that would forge a log line. Such bytes appear as escapes.
    """
    text = path.decode("utf-8", "backslashreplace")
    return text if text.isprintable() else "".join(map(_visible, text))


def _visible(character: str) -> str:
    return character if character.isprintable() else character.encode("unicode_escape").decode("ascii")


def count_text(number: int, noun: str) -> str:
    """Write a number of things: ``1 picture``, ``1,204 pictures``."""
    return f"{number:,} {noun if number == 1 else noun + 's'}"


def credits_number(amount: Decimal) -> int | float:
    """Give an amount of credits as JSON can hold it: whole where it is whole."""
    return int(amount) if amount == amount.to_integral_value() else float(amount)


def credits_text(amount: Decimal) -> str:
    """Write an amount of credits: ``1 credit``, ``0.5 credits``, ``1,240 credits``."""
    number = credits_number(amount)
    return f"{number:,} {'credit' if number == 1 else 'credits'}"


def other_use_text(by_app: Decimal, more: Decimal, fewer: Decimal, *, counts: str) -> str:
    """Write what others spent: ``3 credits by the web editor, 8 credits more than this ledger knows of``."""
    unknown = [f"{credits_text(amount)} {word}" for amount, word in ((more, "more"), (fewer, "fewer")) if amount]
    parts = [f"{credits_text(by_app)} by the web editor"] if by_app else []
    parts += [f"{' and '.join(unknown)} than {counts} knows of"] if unknown else []
    return ", ".join(parts)


def size_text(size_bytes: float) -> str:
    """Write a size as file managers do: ``812 bytes``, ``1.2 MB``."""
    for unit, worth in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size_bytes >= worth:
            return f"{size_bytes / worth:.1f} {unit}"
    return count_text(int(size_bytes), "byte")


def span_text(seconds: float) -> str:
    """
    Write a length of time in its two largest units: ``2 h 5 min``.

    Nobody needs the seconds of a day; under ten seconds a tenth matters.
    """
    if not math.isfinite(seconds):
        return "an unknown time"
    if seconds < 9.95:
        return f"{max(seconds, 0):.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return _pair(whole, 60, "min", "s")
    if whole < 86400:
        return _pair(round(whole / 60), 60, "h", "min")
    return _pair(round(whole / 3600), 24, "d", "h")


def _pair(small: int, many: int, large_unit: str, small_unit: str) -> str:
    large, rest = divmod(small, many)
    parts = [f"{large} {large_unit}"] * bool(large) + [f"{rest} {small_unit}"] * bool(rest)
    return " ".join(parts) or f"0 {small_unit}"


def rate_text(per_s: float) -> str:
    """Write a rate in the unit that gives a number one can picture: a second, a minute or an hour."""
    for unit, span_s in (("second", 1), ("minute", 60)):
        if per_s * span_s >= 1:
            return f"{per_s * span_s:.1f} a {unit}"
    return f"{per_s * 3600:.1f} an hour"


def utc_text(at: datetime) -> str:
    """Write a moment in UTC: ``2026-11-22 14:03 UTC``."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def local_text(at: datetime, *, zone: tzinfo | None = None) -> str:
    """Write a moment on the clock of the wall: ``2026-11-22 16:03``. Without *zone*, the machine's own."""
    return f"{at.astimezone(zone):%Y-%m-%d %H:%M}"


@dataclass(frozen=True, slots=True)
class WallClock:
    """Writes moments for a person who looks at *now*, on the clock of *zone*; None: the machine's own."""

    now: datetime
    zone: tzinfo | None = None

    def until(self, at: datetime) -> str:
        """Write a moment to come so that nobody has to reckon: ``16:08 (in 2 h 5 min)``."""
        left_s = (at - self.now).total_seconds()
        return f"{self.short(at)} ({'now' if left_s <= 0 else 'in ' + span_text(left_s)})"

    def since(self, at: datetime) -> str:
        """Write a moment gone by: ``16:08 (2 h 5 min ago)``."""
        return f"{self.short(at)} ({span_text((self.now - at).total_seconds())} ago)"

    def short(self, at: datetime) -> str:
        """Write a moment as short as can be: the time today, the weekday within six days, else the date."""
        there, here = at.astimezone(self.zone), self.now.astimezone(self.zone)
        days = abs((there.date() - here.date()).days)
        if not days:
            return f"{there:%H:%M}"
        return f"{there:%a %d %b %H:%M}" if days < DAYS_OF_A_WEEK else f"{there:%Y-%m-%d %H:%M}"
