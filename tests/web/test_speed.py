"""What makes the page as fast with a million jobs as with ten: how it asks, and what it does not ask again."""

import re
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, timedelta

import pytest
from sqlalchemy import Pool, event

from rembg_watch.errors import LedgerError
from rembg_watch.ledger import FILE_NAME
from rembg_watch.web import openapi
from rembg_watch.web.sums import Kept
from tests.web.studio import AT, Asking, Studio


@contextmanager
def heard() -> Iterator[list[str]]:
    """Hear every statement that is sent to a database over a connection that is opened meanwhile."""
    said: list[str] = []

    def listen(connection: sqlite3.Connection, _record: object) -> None:
        connection.set_trace_callback(said.append)

    event.listen(Pool, "connect", listen)
    try:
        yield said
    finally:
        event.remove(Pool, "connect", listen)


@pytest.fixture
def busy(studio: Studio) -> Studio:
    """A studio in which everything occurs that a page shows."""
    with studio.open() as ledger:
        studio.drop(ledger, *(f"shoot-{number % 4}/IMG_{number:02d}.jpg" for number in range(20)), "loose.jpg")
        studio.deliver(ledger, 6)
        studio.deliver(ledger, 1, finding="faint")
        studio.fail(ledger, 3)
    studio.report()
    return studio


PATHS = (
    "/", "/shoots", "/shoots?folder=catalogue&from=c2hvb3QtMg", "/shoots/catalogue/3", "/shoots/catalogue/21",
    "/shoots/catalogue/3?state=failed", "/shoots/catalogue/3?state=odd", "/pictures",
    "/pictures?before=1795770000000000-9",
    "/pictures?state=failed&folder=catalogue", "/pictures?state=odd", "/pictures?q=img", "/pictures?code=too_wide",
    "/pictures/3", "/failed", "/credits", "/healthz", "/healthz?strict", "/api/v1/status", "/api/v1/jobs",
    "/api/v1/jobs?state=failed&odd=1&q=x&code=y", "/api/v1/jobs/3", "/api/v1/shoots", "/api/v1/credits",
    "/api/v1/folders",
)  # fmt: skip

SMALL = ("jobs_to_dispose_of",)
"""Indexes of few pictures, whatever the ledger holds: to go through one is no scan of the jobs."""


def test_the_paths_here_are_all_there_are(busy: Studio, asking: Callable[..., Asking]) -> None:
    asking(busy)
    described = {path for path in openapi.document([""], "")["paths"] if path.startswith("/api")}
    shapes = {re.sub(r"/\d+$", "/{id}", path.partition("?")[0]) for path in PATHS}
    assert described - shapes == set()


@pytest.mark.parametrize("path", PATHS)
def test_no_page_scans_the_jobs(busy: Studio, asking: Callable[..., Asking], path: str) -> None:
    """Whatever is asked of the ledger is found by an index, or in a table that stays small."""
    with heard() as said:
        answer = asking(busy)(path)
        assert answer.status_code in {200, 503}, answer.text
    statements = [one for one in dict.fromkeys(said) if re.match(r"\s*(SELECT|WITH)\b", one, re.IGNORECASE)]
    assert statements or path == "/healthz"
    with closing(sqlite3.connect(busy.state / FILE_NAME)) as connection:
        for statement in statements:
            plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}")]
            scans = [step for step in plan if re.match(r"SCAN jobs\b", step) and not step.endswith(SMALL)]
            assert not scans, f"{statement}\n{plan}"


def test_a_scan_would_be_heard(busy: Studio, asking: Callable[..., Asking]) -> None:
    """The test above says nothing where nothing is listened to."""
    with heard() as said:
        asking(busy)("/pictures")
    assert any("FROM jobs" in one for one in said)


# --- "not changed" --------------------------------------------------------------------------------


def test_a_daemon_that_says_the_same_again_changes_no_page(busy: Studio, asking: Callable[..., Asking]) -> None:
    ask = asking(busy)
    etag = ask("/").headers["etag"]
    ask.now = AT + timedelta(seconds=15)
    busy.report(at=AT + timedelta(seconds=15))
    assert ask("/", if_none_match=etag).status_code == 200, "when the credits were read is on the page"
    etag = ask("/").headers["etag"]
    _written_again(busy)
    assert ask("/", if_none_match=etag).status_code == 304


def _written_again(studio: Studio) -> None:
    """Write the status as a daemon does that has nothing new to say."""
    path = studio.state / "status.json"
    text = path.read_text()
    again = re.sub(r'"written_at": "[^"]+"', f'"written_at": "{AT + timedelta(seconds=30):%Y-%m-%dT%H:%M:%SZ}"', text)
    assert again != text
    path.write_text(again)


def test_a_daemon_that_fell_silent_changes_the_page(busy: Studio, asking: Callable[..., Asking]) -> None:
    ask = asking(busy)
    etag = ask("/").headers["etag"]
    assert ask("/", if_none_match=etag).status_code == 304
    ask.now = (AT + timedelta(hours=1)).astimezone(UTC)
    answer = ask("/", if_none_match=etag)
    assert (answer.status_code, "Silent" in answer.text) == (200, True)


def test_a_job_that_changes_changes_the_page(busy: Studio, asking: Callable[..., Asking]) -> None:
    ask = asking(busy)
    with busy.open() as ledger:
        etag = ask("/failed").headers["etag"]
        busy.fail(ledger, 1, reason="It is a drawing.", code="drawing")
        answer = ask("/failed", if_none_match=etag)
    assert (answer.status_code, "It is a drawing." in answer.text) == (200, True)


# --- sums that are kept ---------------------------------------------------------------------------


def test_a_sum_is_made_once_while_it_is_young() -> None:
    sums, made = Kept(), iter(range(9))
    found = [sums.take("x", lambda: next(made), now=AT + timedelta(seconds=one), for_s=10) for one in (0, 5, 9)]
    assert found == [0, 0, 0]


def test_a_sum_of_something_else_is_made_at_once() -> None:
    sums, made = Kept(), iter(range(9))
    found = [sums.take("x", lambda: next(made), now=AT, for_s=10, version=one) for one in ("a", "a", "b", "a")]
    assert found == [0, 0, 1, 2]


def test_a_sum_that_grew_old_is_given_while_the_next_one_is_made() -> None:
    sums, may_go, is_made = Kept(), threading.Event(), threading.Event()

    def slow() -> int:
        assert may_go.wait(10)
        is_made.set()
        return 2

    assert sums.take("x", lambda: 1, now=AT, for_s=10) == 1
    later = AT + timedelta(seconds=12)
    assert [sums.take("x", slow, now=later, for_s=10) for _ in range(2)] == [1, 1]
    may_go.set()
    assert is_made.wait(10)
    sums.wait(10)
    assert sums.take("x", slow, now=later, for_s=10) == 2


@pytest.mark.parametrize("age_s", [20, 86_400, -1], ids=["old", "of yesterday", "from a clock that was set back"])
def test_a_sum_that_is_too_old_is_not_given(age_s: int) -> None:
    sums = Kept()
    sums.take("x", lambda: 1, now=AT, for_s=10)
    assert sums.take("x", lambda: 2, now=AT + timedelta(seconds=age_s), for_s=10) == 2


def test_a_sum_that_cannot_be_made_behind_is_tried_again() -> None:
    sums = Kept()

    def fails() -> int:
        raise LedgerError("locked")

    sums.take("x", lambda: 1, now=AT, for_s=10)
    assert sums.take("x", fails, now=AT + timedelta(seconds=12), for_s=10) == 1
    sums.wait(10)
    assert sums.take("x", lambda: 3, now=AT + timedelta(seconds=13), for_s=10) == 1
    sums.wait(10)
    assert sums.take("x", fails, now=AT + timedelta(seconds=14), for_s=10) == 3
