"""What is counted for a monitor, and by which labels."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from rembg_watch.report.events import CallEnded, CallStarted, Delivered, Enqueued, Failed, Rescanned, Reused
from rembg_watch.report.tallies import CALL_CODES, FAILURES, OTHER, Histogram, Tallies, known

AT = datetime(2026, 11, 28, 9, tzinfo=UTC)


@pytest.fixture
def tallies() -> Tallies:
    return Tallies(wall=lambda: AT)


def picture(folder: str = "a") -> dict[str, Any]:
    return {"folder": folder, "source": b"x.jpg", "job": 1}


def ended(**more: Any) -> CallEnded:
    facts = {"duration_s": 2.5, "charged": Decimal(0), "sent_bytes": 10, "answer_bytes": 0, "status": None}
    return CallEnded(**picture(), **(facts | more))


def test_calls_are_counted_by_outcome_and_code_and_their_credits_by_folder(tallies: Tallies) -> None:
    tallies(CallStarted(**picture(), attempt=1, size_bytes=10))
    assert tallies.read().counters["in_flight"][()] == 1
    tallies(ended(charged=Decimal("1.5"), answer_bytes=7, status=200))
    tallies(ended(outcome="refused", status=429, code="short_term_limit", throttle="short_term"))
    tallies(ended(outcome="unknown", code="no_answer"))
    tallies(ended(outcome="failed", code="a text that the API sent"))
    found = tallies.read()
    assert found.counters["calls"] == {
        ("answered", ""): 1,
        ("refused", known("short_term_limit", CALL_CODES)): 1,
        ("unknown", "no_answer"): 1,
        ("failed", OTHER): 1,
    }
    assert found.counters["charged"] == {("a",): 1.5}
    assert found.counters["throttles"] == {("short_term",): 1}
    assert (found.counters["sent_bytes"][()], found.counters["answer_bytes"][()]) == (40, 7)
    assert sum(found.call.counts) == 2  # those that got an answer


def test_deliveries_are_counted_by_way_and_what_is_odd(tallies: Tallies) -> None:
    facts = {"duration_s": 1.0, "charged": Decimal(1), "target": b"x.webp"}
    tallies(Delivered(**picture(), **facts, age_s=12.0, finding="all_opaque"))
    tallies(Reused(**picture("b"), target=b"y.webp", age_s=20000.0, finding="what nobody has thought of"))
    found = tallies.read()
    assert found.counters["delivered"] == {("a", "call"): 1, ("b", "reuse"): 1}
    assert found.counters["odd"] == {("a", "all_opaque"): 1, ("b", OTHER): 1}
    assert found.delivered_at == {"a": AT, "b": AT}
    assert found.delivery.counts[found.delivery.bounds_s.index(13.0)] == 1
    assert (found.delivery.counts[-1], found.delivery.sum_s) == (1, 20012.0)


def test_what_else_is_counted_by_folder(tallies: Tallies) -> None:
    tallies(Enqueued(folder="a", count=3, size_bytes=9))
    tallies(Failed(**picture(), why="w", code=FAILURES[0]))
    tallies(Failed(**picture(), why="w", code=None))
    tallies(Rescanned(folder="a", files=3, duration_s=0.5))
    found = tallies.read()
    assert found.counters["enqueued"] == {("a",): 3}
    assert found.counters["failed"] == {("a", FAILURES[0]): 1, ("a", OTHER): 1}
    assert (found.scan_s, found.scanned_at) == ({"a": 0.5}, {"a": AT})


@pytest.mark.parametrize(("seconds", "place"), [(0.0, 0), (0.5, 0), (0.51, 1), (2.0, 2), (2.01, 3)])
def test_a_bound_counts_what_is_as_long_as_it(seconds: float, place: int) -> None:
    histogram = Histogram((0.5, 1.0, 2.0))
    histogram.add(seconds)
    assert histogram.counts.index(1) == place
