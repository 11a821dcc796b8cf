"""What is counted, how fast it goes, and what went wrong last."""

import threading
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from rembg_watch.report.events import (
    CallEnded,
    CallStarted,
    Delivered,
    Enqueued,
    Failed,
    InDoubt,
    Mistake,
    OutputBlocked,
    OutputFree,
    Reused,
    Stopping,
    Stuck,
    Vanished,
    WillRetry,
)
from rembg_watch.report.metrics import Figures, Metrics, MovingRate, time_to_go_s

AT = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


@dataclass
class Clock:
    now_s: float = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def metrics(clock: Clock) -> Metrics:
    return Metrics(clock=clock, wall=lambda: AT)


def delivered(number: int = 1) -> Delivered:
    return Delivered(
        folder="a", source=b"x.jpg", job=number, target=b"x.webp", duration_s=2.0, charged=Decimal(1), answer_bytes=5
    )


def ended(*, status: int | None = 200, duration_s: float = 2.0, charged: str = "1") -> CallEnded:
    return CallEnded(
        folder="a",
        source=b"x.jpg",
        duration_s=duration_s,
        charged=Decimal(charged),
        sent_bytes=100,
        answer_bytes=40,
        status=status,
    )


def test_a_new_process_has_counted_nothing(metrics: Metrics) -> None:
    assert metrics.read() == Figures(since=AT)


def test_a_call_is_counted_where_it_ends(metrics: Metrics) -> None:
    for _ in range(3):
        metrics(CallStarted(folder="a", source=b"x.jpg", attempt=1, size_bytes=100))
    metrics(ended(duration_s=1.0))
    metrics(ended(duration_s=3.0, charged="0.5"))
    figures = metrics.read()
    assert (figures.in_flight, figures.calls, figures.charged) == (1, 2, Decimal("1.5"))
    assert (figures.sent_bytes, figures.answer_bytes, figures.call_mean_s) == (200, 80, 2.0)


def test_a_call_without_an_answer_says_nothing_about_how_long_answers_take(metrics: Metrics) -> None:
    metrics(ended(status=None, duration_s=120))
    assert metrics.read().call_mean_s is None


def test_only_the_last_calls_are_averaged(metrics: Metrics) -> None:
    for _ in range(50):
        metrics(ended(duration_s=100))
    for _ in range(50):
        metrics(ended(duration_s=2))
    assert metrics.read().call_mean_s == 2.0


def test_every_end_of_a_picture_has_its_count(metrics: Metrics) -> None:
    metrics(Enqueued(folder="a", count=12, size_bytes=1))
    metrics(delivered())
    metrics(Reused(folder="a", source=b"y.jpg", target=b"y.webp"))
    metrics(Failed(folder="a", source=b"z.jpg", why="too large"))
    metrics(Vanished(folder="a", source=b"v.jpg"))
    metrics(WillRetry(folder="a", source=b"r.jpg", why="server failed", attempt=1, max_attempts=5))
    metrics(InDoubt(folder="a", source=b"d.jpg", why="no answer", will_retry=True))
    metrics(Stopping(in_flight=0, queued=0))
    figures = metrics.read()
    assert (figures.enqueued, figures.delivered, figures.reused, figures.failed) == (12, 1, 1, 1)
    assert (figures.vanished, figures.retries, figures.doubts) == (1, 1, 1)


def test_the_last_problems_are_kept_newest_first(metrics: Metrics) -> None:
    for number in range(12):
        metrics(Failed(folder="a", source=f"{number}.jpg".encode(), why=f"reason {number}"))
    problems = metrics.read().last_problems
    assert [problem.source for problem in problems] == [f"{number}.jpg" for number in range(11, 1, -1)]
    assert (problems[0].at, problems[0].kind, problems[0].why) == (AT, "failed", "reason 11")


def test_a_problem_without_a_picture_is_kept_with_its_sentence(metrics: Metrics) -> None:
    metrics(Stuck(part="feeder", silent_s=90))
    metrics(Mistake(where="the pool", error=ValueError("bad")))
    last, first = metrics.read().last_problems
    assert (last.folder, last.source, last.why) == (None, None, "unforeseen error in the pool: ValueError: bad")
    assert first.why.startswith("feeder has not moved for 1 min 30 s")


def test_what_goes_on_is_listed_once_until_it_has_ended_or_changed(metrics: Metrics) -> None:
    full = OutputBlocked(folder="a", path=b"/srv/x.webp", why="/srv/x.webp: no space", code="no_space")
    again = replace(full, path=b"/srv/y.webp", why="/srv/y.webp: no space")
    other = replace(full, why="/srv: read-only", code="read_only")
    for event in (full, again, full, other, replace(full, folder="b"), OutputFree(folder="a", path=b"/srv"), again):
        metrics(event)
    listed = [problem.why.partition(";")[0] for problem in metrics.read().last_problems]
    assert listed == [
        "a: /srv/y.webp: no space",
        "b: /srv/x.webp: no space",
        "a: /srv: read-only",
        "a: /srv/x.webp: no space",
    ]


def test_the_rate_is_told_over_a_minute_and_over_a_quarter_of_an_hour(metrics: Metrics, clock: Clock) -> None:
    for _ in range(900):
        clock.now_s += 1
        metrics(delivered())
    for _ in range(60):
        clock.now_s += 1
        metrics(delivered())
        metrics(Reused(folder="a", source=b"y.jpg", target=b"y.webp"))
    figures = metrics.read()
    assert figures.short_rate_per_s == pytest.approx(2.0)
    assert figures.long_rate_per_s == pytest.approx((840 + 120) / 900)


def test_a_young_process_is_judged_by_its_own_age(metrics: Metrics, clock: Clock) -> None:
    clock.now_s += 10
    for _ in range(20):
        metrics(delivered())
    figures = metrics.read()
    assert (figures.short_rate_per_s, figures.long_rate_per_s, figures.short_count) == (2.0, 2.0, 20)


def test_the_first_second_is_no_infinite_rate(metrics: Metrics) -> None:
    metrics(delivered())
    assert metrics.read().short_rate_per_s == 1.0


def test_the_rate_falls_to_nothing_when_nothing_is_done(metrics: Metrics, clock: Clock) -> None:
    metrics(delivered())
    clock.now_s += 901
    figures = metrics.read()
    assert (figures.short_rate_per_s, figures.long_rate_per_s) == (0.0, 0.0)


def test_the_rate_keeps_no_more_than_one_number_for_each_second() -> None:
    rate = MovingRate(since_s=0, longest_s=10)
    for step in range(100_000):
        rate.add(step / 1000)
    assert rate.count(10, 99.9) == 10_000
    assert rate.count(1000, 99.9) <= 11_000


@pytest.mark.parametrize(
    ("pictures", "figures", "expected_s"),
    [
        (0, Figures(since=AT), 0.0),
        (10, Figures(since=AT), None),
        (100, Figures(since=AT, short_rate_per_s=2.0, short_count=120, long_rate_per_s=1.0), 50.0),
        (100, Figures(since=AT, short_rate_per_s=0.1, short_count=6, long_rate_per_s=0.05), 2000.0),
        (100, Figures(since=AT, short_rate_per_s=0.0, short_count=0, long_rate_per_s=0.5), 200.0),
    ],
    ids=["nothing left", "nothing moves", "a busy minute", "slow work", "a pause just now"],
)
def test_the_time_to_go_follows_the_rate_that_can_be_trusted(
    pictures: int, figures: Figures, expected_s: float | None
) -> None:
    assert time_to_go_s(pictures, figures) == expected_s


def test_all_threads_are_counted() -> None:
    metrics = Metrics()
    threads = [threading.Thread(target=lambda: [metrics(delivered()) for _ in range(500)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert metrics.read().delivered == 2000
