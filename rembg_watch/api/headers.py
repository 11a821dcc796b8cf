"""
What the headers of an answer say beside it: when to come back, how much is left, under which id it is known.

Nothing here is documented by the vendor, so everything is optional and nonsense counts as absent.
This module decides nothing about waiting.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

LONGEST_WAIT_S = 32 * 86_400.0
"""A server may send us away until the next month; whoever says longer is not believed."""

_REQUEST_ID_HEADERS = ("x-request-id", "request-id", "x-correlation-id", "x-amzn-requestid", "x-vercel-id", "cf-ray")
_SECONDS = re.compile(r"[0-9]{1,13}(?:\.[0-9]{1,9})?")
_EPOCH_FROM = 1_000_000_000.0  # a "reset" above this is a moment, not a delay
_EPOCH_MS_FROM = 1_000_000_000_000.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimit:
    """What the server states about its rate limit; None where it states nothing."""

    limit: int | None = None
    remaining: int | None = None
    reset_s: float | None = None  # until the window starts again
    retry_after_s: float | None = None


def lowered(headers: Mapping[str, str]) -> dict[str, str]:
    """Return *headers* under lower-case names, so that any mapping can be asked."""
    return {str(name).lower(): str(value) for name, value in headers.items()}


def retry_after(value: str | None, *, now: datetime) -> float | None:
    """
    Read a ``Retry-After`` header as seconds from *now*.

    Servers send whole seconds or an HTTP date; proxies send nonsense. Nonsense
    counts as no header, so that a broken proxy cannot shut the gate for ever.

    Args:
        value: The raw header, or None if there was none.
        now: When the response arrived; aware, UTC.

    Returns:
        Seconds to wait, at least 0. None means there is no usable advice and
        the policy's own backoff applies.
    """
    text = (value or "").strip()
    wait_s = float(text) if _SECONDS.fullmatch(text) else _seconds_until(text, now=now)
    return wait_s if wait_s is not None and wait_s <= LONGEST_WAIT_S else None


def _seconds_until(text: str, *, now: datetime) -> float | None:
    try:
        at = parsedate_to_datetime(text[:64])
        aware_at = at if at.tzinfo else at.replace(tzinfo=UTC)
        return max(0.0, (aware_at - now).total_seconds())
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def request_id(headers: Mapping[str, str]) -> str | None:
    """Return the id under which the vendor can find this request, if a header names one."""
    found = lowered(headers)
    ids = (found.get(name, "").strip() for name in _REQUEST_ID_HEADERS)
    return next((text[:128] for text in ids if text.isprintable() and text), None)


def rate_limit(headers: Mapping[str, str], *, now: datetime) -> RateLimit | None:
    """Gather what the headers say about a limit, in the spellings that are about; None when they say nothing."""
    found = lowered(headers)
    stated = RateLimit(
        limit=_whole(_first(found, "limit")),
        remaining=_whole(_first(found, "remaining")),
        reset_s=_reset_s(_first(found, "reset"), now=now),
        retry_after_s=retry_after(found.get("retry-after"), now=now),
    )
    return None if stated == RateLimit() else stated


def _first(found: Mapping[str, str], what: str) -> str:
    names = (f"x-ratelimit-{what}", f"ratelimit-{what}", f"x-rate-limit-{what}")
    text = next((found[name] for name in names if name in found), "")
    return re.split(r"[,;]", text, maxsplit=1)[0].strip()


def _whole(text: str) -> int | None:
    return int(text) if re.fullmatch(r"[0-9]{1,12}", text) else None


def _reset_s(text: str, *, now: datetime) -> float | None:
    if not _SECONDS.fullmatch(text):
        return None
    number = float(text)
    if number >= _EPOCH_MS_FROM:
        number /= 1000
    wait_s = max(0.0, number - now.timestamp()) if number >= _EPOCH_FROM else number
    return wait_s if wait_s <= LONGEST_WAIT_S else None
