"""
Counts what events tell, by folder, outcome and code: what a monitor draws and adds up.

Counters of this process since its start, as monitors expect them; nothing here is ever a path or a text of the API.
"""

import threading
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal

from rembg_watch.api.errors import PictureRefusedError, Throttle
from rembg_watch.api.refusals import ERROR_TABLE
from rembg_watch.report.events import (
    ODD_CODES,
    CallEnded,
    CallStarted,
    Delivered,
    Enqueued,
    Event,
    Failed,
    InDoubt,
    NoticeGivenUp,
    NoticeSent,
    NoticesNotSent,
    Rescanned,
    Reused,
    WillRetry,
)

OTHER = "other"

CALL_BOUNDS_S = (0.5, 1.0, 2.0, 3.0, 5.0, 8.0, 13.0, 20.0, 30.0, 60.0, 120.0)
DELIVERY_BOUNDS_S = (*CALL_BOUNDS_S, 300.0, 900.0, 3600.0, 14400.0)

_HERE = ("unreachable", "server_error", "no_answer", "bad_answer", "broken", "too_large", "unreadable")
FAILURES = (*(row.code for row in ERROR_TABLE if row.error is PictureRefusedError), *_HERE, OTHER)
"""The codes by which failed pictures are counted."""
CALL_CODES = (
    *dict.fromkeys(row.code for row in ERROR_TABLE),
    "unreachable",
    "server_error",
    "no_answer",
    "bad_answer",
    OTHER,
)
"""The codes by which calls are counted that brought no picture."""
WARNINGS = (*ODD_CODES, OTHER)
THROTTLES = tuple(throttle.value for throttle in Throttle)
NOTICES: dict[type[Event], str] = {NoticeSent: "sent", NoticesNotSent: "failed", NoticeGivenUp: "given_up"}
"""What became of notices, and of tries to send one."""
OUTCOMES = ("answered", "refused", "failed", "unknown")

Labels = tuple[str, ...]


@dataclass(slots=True)
class Histogram:
    """How often a duration was how long: a count for each bound that it did not pass, and one for longer ones."""

    bounds_s: tuple[float, ...]
    counts: list[int] = field(default_factory=list)
    sum_s: float = 0.0

    def __post_init__(self) -> None:
        self.counts = self.counts or [0] * (len(self.bounds_s) + 1)

    def add(self, seconds: float) -> None:
        """Count one."""
        self.counts[bisect_left(self.bounds_s, seconds)] += 1
        self.sum_s += seconds

    def copy(self) -> "Histogram":
        """Return what was counted so far."""
        return Histogram(self.bounds_s, list(self.counts), self.sum_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """What was counted up to one moment; the labels of each counter in the order of its name in the README."""

    since: datetime
    counters: dict[str, dict[Labels, float]]
    call: Histogram
    delivery: Histogram
    delivered_at: dict[str, datetime]  # by folder, as are the next two
    scanned_at: dict[str, datetime]
    scan_s: dict[str, float]


class Tallies:
    """A ``Reporter`` that counts. Any thread may tell and read."""

    def __init__(self, *, wall: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._wall = wall
        self._lock = threading.Lock()  # guards everything below
        self._since = wall()
        self._counts: Counter[tuple[str, Labels]] = Counter()
        self._charged: dict[str, Decimal] = {}
        self._call, self._delivery = Histogram(CALL_BOUNDS_S), Histogram(DELIVERY_BOUNDS_S)
        self._delivered_at: dict[str, datetime] = {}
        self._scanned_at: dict[str, datetime] = {}
        self._scan_s: dict[str, float] = {}

    def __call__(self, event: Event) -> None:
        """Count *event*."""
        with self._lock:
            match event:
                case Enqueued():
                    self._counts["enqueued", (event.folder,)] += event.count
                case CallStarted():
                    self._counts["in_flight", ()] += 1
                case CallEnded():
                    self._call_ended(event)
                case Delivered() | Reused():
                    self._delivered(event)
                case Failed():
                    self._counts["failed", (event.folder, known(event.code, FAILURES))] += 1
                case WillRetry():
                    self._counts["retries", ()] += 1
                case InDoubt():
                    self._counts["doubts", ()] += 1
                case NoticeSent() | NoticesNotSent() | NoticeGivenUp():
                    self._counts["notices", (NOTICES[type(event)],)] += 1
                case Rescanned():
                    self._scanned_at[event.folder] = self._wall()
                    self._scan_s[event.folder] = event.duration_s

    def read(self) -> Tally:
        """Give what was counted so far."""
        with self._lock:
            counters: dict[str, dict[Labels, float]] = {}
            for (name, labels), count in self._counts.items():
                counters.setdefault(name, {})[labels] = count
            counters["charged"] = {(folder,): float(amount) for folder, amount in self._charged.items()}
            return Tally(
                since=self._since,
                counters=counters,
                call=self._call.copy(),
                delivery=self._delivery.copy(),
                delivered_at=dict(self._delivered_at),
                scanned_at=dict(self._scanned_at),
                scan_s=dict(self._scan_s),
            )

    def _call_ended(self, event: CallEnded) -> None:
        is_answered = event.outcome == "answered"
        code = "" if is_answered else known(event.code, CALL_CODES)
        self._counts["in_flight", ()] -= 1
        self._counts["calls", (event.outcome, code)] += 1
        self._counts["sent_bytes", ()] += event.sent_bytes
        self._counts["answer_bytes", ()] += event.answer_bytes
        self._charged[event.folder] = self._charged.get(event.folder, Decimal(0)) + event.charged
        if event.throttle is not None:
            self._counts["throttles", (event.throttle,)] += 1
        if event.status is not None:
            self._call.add(event.duration_s)

    def _delivered(self, event: Delivered | Reused) -> None:
        how = "call" if isinstance(event, Delivered) else "reuse"
        self._counts["delivered", (event.folder, how)] += 1
        self._delivered_at[event.folder] = self._wall()
        if event.age_s is not None:
            self._delivery.add(event.age_s)
        if event.finding is not None:
            self._counts["odd", (event.folder, known(event.finding, WARNINGS))] += 1


def known(code: str | None, codes: Iterable[str]) -> str:
    """Return *code* if it is one of *codes*, else ``other``: a label must not have ever new values."""
    return code if code is not None and code in codes else OTHER
