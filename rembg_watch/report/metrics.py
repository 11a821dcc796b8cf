"""
Counts what events tell: totals, pictures a second, and the last things that went wrong.

Figures of this process since its start; the ledger, not this, knows what was delivered before.
"""

import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

from rembg_watch.report.events import (
    CallEnded,
    CallStarted,
    Condition,
    Delivered,
    Enqueued,
    Event,
    Failed,
    InDoubt,
    Level,
    PictureEvent,
    Reused,
    Vanished,
    WillRetry,
    kind,
)
from rembg_watch.report.words import show, utc_text

SHORT_SPAN_S = 60
LONG_SPAN_S = 900
ENOUGH_PICTURES = 10
CALLS_AVERAGED = 50
PROBLEMS_KEPT = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that went wrong, as ``status`` lists it."""

    at: datetime
    kind: str
    folder: str | None = None
    source: str | None = None
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What was counted up to one moment."""

    since: datetime
    enqueued: int = 0
    delivered: int = 0  # with a call of their own
    reused: int = 0  # without one
    failed: int = 0
    vanished: int = 0
    retries: int = 0
    doubts: int = 0
    calls: int = 0
    in_flight: int = 0
    charged: Decimal = Decimal(0)
    sent_bytes: int = 0
    answer_bytes: int = 0
    call_mean_s: float | None = None  # of the last calls that were answered
    short_rate_per_s: float = 0.0  # pictures, over the last minute
    long_rate_per_s: float = 0.0  # pictures, over the last quarter of an hour
    short_count: int = 0
    last_problems: tuple[Problem, ...] = ()  # newest first


def time_to_go_s(pictures: int, figures: Figures) -> float | None:
    """
    Say how long *pictures* more will take, None if nothing moves.

    The last minute speaks if enough was done in it; slow work is judged over the quarter of an hour.
    """
    if not pictures:
        return 0.0
    rate = figures.short_rate_per_s if figures.short_count >= ENOUGH_PICTURES else figures.long_rate_per_s
    return pictures / rate if rate > 0 else None


class MovingRate:
    """How many a second, over any span up to the longest; one number is kept for each second that had any."""

    def __init__(self, *, since_s: float, longest_s: int = LONG_SPAN_S) -> None:
        self._since_s = since_s
        self._longest_s = longest_s
        self._seconds: deque[tuple[int, int]] = deque()

    def add(self, now_s: float) -> None:
        """Count one."""
        second = int(now_s)
        count = self._seconds.pop()[1] if self._seconds and self._seconds[-1][0] == second else 0
        self._seconds.append((second, count + 1))
        while self._seconds[0][0] <= second - self._longest_s:
            self._seconds.popleft()

    def count(self, span_s: int, now_s: float) -> int:
        """Say how many came in the last *span_s*."""
        return sum(count for second, count in self._seconds if second > now_s - span_s)

    def per_s(self, span_s: int, now_s: float) -> float:
        """Say how many a second; a process younger than *span_s* is judged by its own age."""
        return self.count(span_s, now_s) / max(1.0, min(span_s, now_s - self._since_s))


class Metrics:
    """A ``Reporter`` that counts; ``read`` gives what was counted so far. Any thread may tell and read."""

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._clock = clock
        self._wall = wall
        self._lock = threading.Lock()  # guards all figures; sentences are made under it, nothing is written
        self._since = wall()
        self._counts: Counter[str] = Counter()
        self._charged = Decimal(0)
        self.heard = 0  # events so far: as long as it stands still, so do the figures
        self._rate = MovingRate(since_s=clock())
        self._calls_s: deque[float] = deque(maxlen=CALLS_AVERAGED)
        self._problems: deque[tuple[Problem, Condition | None]] = deque(maxlen=PROBLEMS_KEPT)

    def __call__(self, event: Event) -> None:
        """Count *event*."""
        with self._lock:
            self.heard += 1
            self._count(event)
            self._end(event.condition)
            if (event.level >= Level.ERROR or isinstance(event, InDoubt)) and not self._is_listed(event.condition):
                self._problems.appendleft((_problem(event, at=self._wall()), event.condition))

    def read(self) -> Figures:
        """Give what was counted so far."""
        with self._lock:
            now_s, calls_s = self._clock(), self._calls_s
            return Figures(
                since=self._since,
                charged=self._charged,
                call_mean_s=sum(calls_s) / len(calls_s) if calls_s else None,
                short_rate_per_s=self._rate.per_s(SHORT_SPAN_S, now_s),
                long_rate_per_s=self._rate.per_s(LONG_SPAN_S, now_s),
                short_count=self._rate.count(SHORT_SPAN_S, now_s),
                last_problems=tuple(problem for problem, _ in self._problems),
                **self._counts,
            )

    def _is_listed(self, condition: Condition | None) -> bool:
        """Say if a state that lasts stands in the list already: what goes on for days is one thing that went wrong."""
        return condition is not None and any(condition == known for _, known in self._problems)

    def _end(self, condition: Condition | None) -> None:
        """Let what begins anew after this be listed anew."""
        if condition is not None and condition.is_over:
            for number, (problem, known) in enumerate(self._problems):
                if known is not None and known.key == condition.key:
                    self._problems[number] = (problem, None)

    def _count(self, event: Event) -> None:
        match event:
            case Enqueued():
                self._counts["enqueued"] += event.count
            case CallEnded():
                self._call_ended(event)
            case _ if type(event) in _COUNTED:
                self._counts[_COUNTED[type(event)]] += 1
        if isinstance(event, Delivered | Reused):
            self._rate.add(self._clock())

    def _call_ended(self, event: CallEnded) -> None:
        self._counts["in_flight"] -= 1
        self._counts["calls"] += 1
        self._counts["sent_bytes"] += event.sent_bytes
        self._counts["answer_bytes"] += event.answer_bytes
        self._charged += event.charged
        if event.status is not None:
            self._calls_s.append(event.duration_s)


_COUNTED: dict[type[Event], str] = {
    Delivered: "delivered",
    Reused: "reused",
    CallStarted: "in_flight",
    Failed: "failed",
    Vanished: "vanished",
    WillRetry: "retries",
    InDoubt: "doubts",
}


def _problem(event: Event, *, at: datetime) -> Problem:
    why = event.why if isinstance(event, Failed | InDoubt) else event.sentence(utc_text)
    if not isinstance(event, PictureEvent):
        return Problem(at=at, kind=kind(event), why=why)
    return Problem(at=at, kind=kind(event), folder=event.folder, source=show(event.source), why=why)
