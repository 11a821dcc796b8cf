"""
The short-term rate that nobody states, learned from what is accepted and what is refused.

One pacer per key, under the pool's lock, on seconds that the caller reads from a clock
that never goes back. It spaces the calls evenly; it knows nothing of credits or of longer
holds (``admit``), and what a refusal is was decided before (``retry``).
"""

from collections import deque
from collections.abc import Mapping

FIRST_RATE = 4.0
LOWEST_RATE, HIGHEST_RATE = 1 / 120, 1000.0
LOG_S = 1800.0
SHUT_CAP_S = 60.0


class Pacer:
    """Learn how many calls a second the account bears, and let them go at that pace."""

    def __init__(self, now: float, note: object = None) -> None:
        self.rate = FIRST_RATE
        self.held_rate: float | None = None
        self._next_at = now
        self._shut_until = now
        self._cut_at = float("-inf")
        self._canary_at: float | None = None
        self._refused_canaries = 0
        self._slowest_refusal_s = 0.2
        self._gain = 0
        self._waited_at = float("-inf")
        self._sent: deque[float] = deque()
        if isinstance(note, Mapping):
            self._recall(note)

    def _recall(self, note: Mapping[object, object]) -> None:
        rate, held = note.get("rate"), note.get("held_rate")
        if isinstance(rate, int | float) and LOWEST_RATE <= rate <= HIGHEST_RATE:
            self.rate = float(rate)
        if isinstance(held, int | float) and LOWEST_RATE <= held <= HIGHEST_RATE:
            self.held_rate = float(held)

    def to_note(self) -> dict[str, object]:
        """Return what should be known after a restart, as plain values for JSON."""
        return {"rate": self.rate, "held_rate": self.held_rate}

    def try_acquire(self, now: float) -> float:
        """Return 0.0 and take the turn, or return the seconds after which to ask again."""
        if self._canary_at is not None:
            settled_at = self._canary_at + 1.5 * self._slowest_refusal_s
            if now < settled_at:
                return self._wait(settled_at - now, now)
            self._reopen(now)
        at = max(self._next_at, self._shut_until)
        if now < at:
            return self._wait(at - now, now)
        if self._shut_until > self._cut_at and self._refused_canaries >= 0 and self._shut_until > self._next_at:
            self._canary_at = now
        self._next_at = max(self._next_at, now - 0.01) + 1 / self.rate
        self._sent.append(now)
        return 0.0

    def _wait(self, seconds: float, now: float) -> float:
        self._waited_at = now
        return seconds

    def _reopen(self, now: float) -> None:
        self._canary_at, self._refused_canaries = None, 0
        self._cut_at = self._shut_until = now
        self._next_at = now + 1 / self.rate

    def accepted(self, sent_at: float, now: float) -> None:
        """Tell that the call sent at *sent_at* was not refused for its pace."""
        if sent_at >= self._cut_at and self.is_limiting(now):
            self._gain += 1
            if self.held_rate is None:
                self.rate = min(HIGHEST_RATE, self.rate * 1.12)
            elif self._gain >= 200:
                self.rate, self._gain = min(HIGHEST_RATE, self.rate * 1.03), 0

    def refused(self, sent_at: float, now: float, *, retry_after_s: float | None = None, jitter: float = 0.0) -> None:
        """Tell that the call sent at *sent_at* was refused for its pace."""
        self._slowest_refusal_s = min(2.0, max(self._slowest_refusal_s, now - sent_at))
        if self._sent:
            self._sent.pop()
        is_canary = sent_at == self._canary_at
        if sent_at < self._cut_at and not is_canary:
            return
        self._refused_canaries += is_canary
        self._canary_at = None
        if not is_canary:
            self.held_rate = self.rate
            self.rate = max(LOWEST_RATE, self.rate * (0.5 if self.held_rate is None else 0.92))
        shut_s = min(SHUT_CAP_S, max(2 / self.rate, 0.25) * 2**self._refused_canaries) * (1 + 0.1 * jitter)
        self._shut_until = now + max(shut_s, min(retry_after_s or 0.0, 3600.0))
        self._cut_at = now
        self._gain = 0

    def neither(self, sent_at: float, now: float) -> None:
        """Tell that the call sent at *sent_at* ended in a way that says nothing about the pace."""

    def is_limiting(self, now: float) -> bool:
        """Say whether it was this pace, not the workers, that made calls wait in the last seconds."""
        return now - self._waited_at <= max(2.0, 3 / self.rate)
