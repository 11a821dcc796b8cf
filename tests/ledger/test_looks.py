"""Pages of a large ledger: what is on them, and how the database finds it."""

import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from sqlalchemy import Connection, create_engine
from sqlalchemy.pool import StaticPool

from rembg_watch.api.errors import Charge
from rembg_watch.jobs import CallEnd, CallStart, State, Version, move, with_content
from rembg_watch.ledger import FILE_NAME, Access, Ledger, Turn, Which, calls, latest, looks, open_ledger
from rembg_watch.ledger.pages import LOOKED_AT, Mark, Shoot, Wanted, shoot_of

AT = datetime(2026, 11, 20, 8, tzinfo=UTC)
JOBS = 100_000
FOLDERS = ("catalogue", "press", "archive")
STATES = (State.DONE,) * 17 + (State.FAILED, State.QUEUED, State.HELD)


def _rows() -> Iterator[tuple[object, ...]]:
    start_us = int(AT.timestamp() * 1_000_000)
    for number in range(JOBS):
        state = STATES[number % len(STATES)]
        folder = FOLDERS[number % len(FOLDERS)]
        parent = b"shoot-%05d" % (number // 50) if number % 10 else b""
        source = (parent + b"/" if parent else b"") + b"IMG_%06d.jpg" % number
        code = "picture_too_large" if state is State.FAILED else None
        gone_at = start_us if number % 7 == 0 else None
        changed_us = start_us + number * 1_000
        yield (
            folder, parent, source, 1000, str(number), str(number), state.value, start_us, changed_us, 1_000_000_000,
            "too large" if code else None, code, "odd_mask" if number % 100 == 0 else None, gone_at, bool(gone_at),
        )  # fmt: skip


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ledger of a hundred thousand jobs, which nobody writes to."""
    state_dir = tmp_path_factory.mktemp("large")
    open_ledger(state_dir).close()
    names = (
        "folder, parent, source, size_bytes, mtime_ns, inode, state, enqueued_at, changed_at, charged, "
        "reason, code, finding, gone_at, is_disposed"
    )
    with closing(sqlite3.connect(state_dir / FILE_NAME)) as connection, connection:
        connection.executemany(f"INSERT INTO jobs ({names}) VALUES ({', '.join('?' * 15)})", _rows())
        connection.execute("INSERT INTO job_counts SELECT folder, state, count(*) FROM jobs GROUP BY folder, state")
    return state_dir


@pytest.fixture(scope="module")
def ledger(large: Path) -> Iterator[Ledger]:
    with open_ledger(large, Access.READ) as opened:
        yield opened


QUESTIONS: dict[str, Callable[[Connection], object]] = {
    "the newest": lambda one: latest.newest(one, limit=60),
    "a page far down": lambda one: latest.newest(one, before=Mark(AT + timedelta(seconds=3), 9), limit=60),
    "failed ones of a folder": lambda one: latest.newest(
        one, Wanted(states=frozenset({State.FAILED}), folders=frozenset({"press"})), limit=60
    ),
    "by a part of the name": lambda one: latest.newest(one, Wanted(text="img_00001"), limit=60),
    "by a code": lambda one: latest.newest(one, Wanted(code="picture_too_large"), limit=60),
    "odd ones": lambda one: latest.newest(one, Wanted(is_odd=True), limit=60),
    "where the newest lie": lambda one: latest.lately(one, limit=300),
    "what stands still": latest.standing_still,
    "shoots": lambda one: looks.shoots(one, "catalogue", depth=1, limit=40),
    "shoots further down": lambda one: looks.shoots(one, "catalogue", depth=1, start=b"shoot-01000", limit=40),
    "a shoot": lambda one: looks.members(one, Shoot("catalogue", b"shoot-01000"), limit=60),
    "loose files": lambda one: looks.members(one, Shoot("catalogue", b"", is_flat=True), limit=60),
    "the failed of a shoot": lambda one: looks.members(
        one, Shoot("catalogue", b"shoot-01000"), limit=60, wanted=Wanted(states=frozenset({State.FAILED}))
    ),
    "neighbours": lambda one: looks.beside(one, Shoot("catalogue", b"shoot-01000"), b"shoot-01000/IMG_050010.jpg"),
    "how far a shoot is": lambda one: looks.tally(one, Shoot("catalogue", b"shoot-01000")),
    "how far loose files are": lambda one: looks.tally(one, Shoot("catalogue", b"", is_flat=True)),
    "reasons": looks.reasons,
    "calls of one": lambda one: calls.of_jobs(one, [77]),
    "days": lambda one: looks.days(one, AT),
}


@pytest.mark.parametrize("question", QUESTIONS.values(), ids=QUESTIONS)
def test_no_page_scans_the_jobs(large: Path, question: Callable[[Connection], object]) -> None:
    asked: list[str] = []
    raw = sqlite3.connect(large / FILE_NAME, check_same_thread=False)
    raw.set_trace_callback(asked.append)
    engine = create_engine("sqlite://", creator=lambda: raw, poolclass=StaticPool)
    with engine.connect() as connection:
        question(connection)
    raw.set_trace_callback(None)
    with closing(raw):
        statements = [one for one in asked if one.lstrip().upper().startswith("SELECT")]
        assert statements
        for statement in dict.fromkeys(re.sub(r"\s+", " ", one) for one in statements):
            plan = [row[3] for row in raw.execute(f"EXPLAIN QUERY PLAN {statement}")]
            scanned = [step for step in plan if re.match(r"SCAN (jobs|calls)\b", step)]
            assert not scanned, f"{statement}\n{plan}"
            by_index = [step for step in plan if re.match(r"SEARCH (jobs|calls)\b", step)]
            assert all("USING" in step for step in by_index), plan
    engine.dispose()


def test_pages_follow_each_other_without_gap_or_repetition(ledger: Ledger) -> None:
    seen: list[int] = []
    mark = None
    for _ in range(5):
        page = ledger.newest(before=mark, limit=60)
        seen += [job.id for job in page.jobs]
        mark = page.next
    assert seen == list(range(JOBS, JOBS - 300, -1))


def test_the_last_page_says_that_it_is_the_last(ledger: Ledger) -> None:
    page = ledger.newest(before=Mark(AT + timedelta(milliseconds=30), 31), limit=60)
    assert [job.id for job in page.jobs] == list(range(30, 0, -1))
    assert page.next is None


def test_a_rare_name_is_looked_for_a_stretch_at_a_time(ledger: Ledger) -> None:
    page, looked = ledger.newest(Wanted(text="img_000042"), limit=60), 1
    assert (page.jobs, page.next is None) == ((), False), "it is further down than one page looks"
    while page.next is not None and not page.jobs:
        page, looked = ledger.newest(Wanted(text="img_000042"), before=page.next, limit=60), looked + 1
    assert [job.source for job in page.jobs] == [b"IMG_000042.jpg" if 42 % 10 == 0 else b"shoot-00000/IMG_000042.jpg"]
    assert JOBS // LOOKED_AT <= looked <= 1.3 * JOBS // LOOKED_AT


SEARCHED = {
    "odd ones": Wanted(is_odd=True),
    "by a code": Wanted(code="picture_too_large"),
    "without a code": Wanted(code="", folders=frozenset({"press"}), states=frozenset({State.HELD})),
    "by a part of the name in any case": Wanted(text="Img_0000"),
    "by all of these": Wanted(text="shoot-0", is_odd=True, folders=frozenset({"archive"})),
    "by what is nowhere": Wanted(text="no such name"),
}


@pytest.mark.parametrize("wanted", SEARCHED.values(), ids=SEARCHED)
def test_what_no_index_finds_is_found_once_each(ledger: Ledger, wanted: Wanted) -> None:
    every = [job for job in ledger.jobs() if wanted.takes(job.source, job.code, job.finding)]
    meant = [
        job.id
        for job in every
        if job.state in (wanted.states or State) and job.folder in (wanted.folders or {job.folder})
    ]
    found: list[int] = []
    page = ledger.newest(wanted, limit=100)
    while page.next is not None:
        found += [job.id for job in page.jobs]
        page = ledger.newest(wanted, before=page.next, limit=100)
    assert found + [job.id for job in page.jobs] == meant


def test_many_that_changed_lately_do_not_hide_what_changed_before(tmp_path: Path) -> None:
    """A folder of a hundred that stand still since today, beside thousands that were delivered over a year."""
    with open_ledger(tmp_path) as ledger:
        _add(ledger, *(b"old/IMG_%04d.jpg" % number for number in range(1_000)), b"old/Z\xc3\x9cRICH.jpg")
        for number in range(300):
            later = AT + timedelta(days=30, seconds=number)
            ledger.add("new", [(b"n-%03d.jpg" % number, Version(size_bytes=1, mtime_ns=1, inode=1))], later)
        page, asked = ledger.newest(Wanted(text="zürich"), limit=60, look_at=1_400), 1
        while not page.jobs and page.next is not None:
            page, asked = ledger.newest(Wanted(text="zürich"), before=page.next, limit=60, look_at=1_400), asked + 1
        assert [job.source for job in page.jobs] == [b"old/Z\xc3\x9cRICH.jpg"]
        assert asked == 1
        assert [one.source for one in ledger.lately(limit=2)] == [b"n-299.jpg", b"n-298.jpg"]


def test_what_stands_still_is_told_apart_at_each_change(tmp_path: Path) -> None:
    with open_ledger(tmp_path) as ledger:
        seen = [ledger.standing_still()]
        _add(ledger, b"1.jpg", b"2.jpg")
        assert ledger.standing_still() == seen[0], "what is in line does not stand still"
        for number, code in enumerate(("too_wide", "too_high")):
            (job,) = ledger.claim(1, at=AT, run_id="test", turns=[Turn("pictures")])
            at = AT + timedelta(seconds=number + 1)
            ledger.record(move(job, State.FAILED, at=at, reason="No.", code=code))
            seen.append(ledger.standing_still())
        ledger.retry(Which(ids=frozenset({job.id})), AT + timedelta(seconds=5))
        assert len(set(seen)) == 3
        assert ledger.standing_still() == seen[1], "one stands as it did"


def test_shoots_are_named_once_each_however_they_are_paged(ledger: Ledger) -> None:
    names: list[bytes] = []
    start: bytes | None = b""
    while start is not None:
        page = ledger.shoots("press", depth=1, start=start, limit=300)
        names += [one.shoot.path for one in page.found]
        start = page.next
    assert len(names) == len(set(names))
    assert set(names) == {b"", *(b"shoot-%05d" % number for number in range(JOBS // 50))}


def test_a_shoot_is_told_by_its_pictures_that_were_moved_away_too(ledger: Ledger) -> None:
    shoot = Shoot("catalogue", b"shoot-01000")
    numbers = [one for one in range(50_000, 50_050) if one % 3 == 0 and one % 10]
    tally = ledger.tally(shoot)
    assert (tally.pictures, tally.charged, tally.is_whole) == (len(numbers), Decimal(len(numbers)), True)
    found = ledger.members(shoot, limit=100)
    assert [job.source for job in found.jobs] == [b"shoot-01000/IMG_%06d.jpg" % one for one in numbers]
    assert found.next is None


def test_neighbours_are_those_by_name(ledger: Ledger) -> None:
    shoot = Shoot("catalogue", b"shoot-01000")
    ids = [job.id for job in ledger.members(shoot, limit=100).jobs]
    sources = [job.source for job in ledger.members(shoot, limit=100).jobs]
    assert ledger.beside(shoot, sources[0]) == (None, ids[1])
    assert ledger.beside(shoot, sources[5]) == (ids[4], ids[6])
    assert ledger.beside(shoot, sources[-1]) == (ids[-2], None)


def test_reasons_are_counted_by_folder_state_and_code(ledger: Ledger) -> None:
    found = {(one.folder, one.state, one.code): one for one in ledger.reasons()}
    failed = found["press", State.FAILED, "picture_too_large"]
    expected = sum(STATES[n % 20] is State.FAILED and n % 3 == 1 for n in range(JOBS))
    assert (failed.count, failed.text, failed.is_whole) == (expected, "too large", True)
    assert {one.state for one in found.values()} == {State.FAILED, State.HELD}


# --- small ledgers --------------------------------------------------------------------------------


def _add(ledger: Ledger, *sources: bytes, folder: str = "pictures", mtime: int = 1) -> None:
    ledger.add(folder, [(one, Version(size_bytes=1, mtime_ns=mtime, inode=1)) for one in sources], AT)


def test_loose_files_and_shoots_whose_names_begin_alike_are_all_listed(tmp_path: Path) -> None:
    with open_ledger(tmp_path) as ledger:
        loose = [b"a-%03d.jpg" % number for number in range(200)]
        _add(ledger, *loose, b"a/1.jpg", b"a b/1.jpg", b"zz/deep/1.jpg", b"zz/2.jpg", b"zz0/1.jpg", b"\xff/1.jpg")
        found: list[bytes] = []
        start: bytes | None = b""
        while start is not None:
            page = ledger.shoots("pictures", depth=1, start=start, limit=2)
            found += [one.shoot.path for one in page.found]
            start = page.next
        assert sorted(found) == [b"", b"a", b"a b", b"zz", b"zz0", b"\xff"]
        assert [job.source for job in ledger.members(Shoot("pictures", b"zz"), limit=9).jobs] == [
            b"zz/2.jpg",
            b"zz/deep/1.jpg",
        ]
        flat = ledger.members(Shoot("pictures", b"", is_flat=True), limit=500)
        assert [job.source for job in flat.jobs] == loose


def test_a_shoot_may_be_two_levels_deep(tmp_path: Path) -> None:
    with open_ledger(tmp_path) as ledger:
        _add(ledger, b"1.jpg", b"acme/1.jpg", b"acme/mon/1.jpg", b"acme/mon/x/2.jpg", b"acme/tue/1.jpg")
        found = ledger.shoots("pictures", depth=2, limit=9).found
        assert [(one.shoot.path, one.shoot.is_flat) for one in found] == [
            (b"", True),
            (b"acme", True),
            (b"acme/mon", False),
            (b"acme/tue", False),
        ]
        members = ledger.members(shoot_of("pictures", b"acme/1.jpg", depth=2), limit=9)
        assert [job.source for job in members.jobs] == [b"acme/1.jpg"]
        assert ledger.tally(Shoot("pictures", b"acme", is_flat=True)).pictures == 1


def test_a_picture_that_was_exported_again_is_shown_once_and_costs_twice(tmp_path: Path) -> None:
    with open_ledger(tmp_path) as ledger:
        _add(ledger, b"s/1.jpg")
        _deliver(ledger)
        _add(ledger, b"s/1.jpg", mtime=2)
        _deliver(ledger)
        shoot = Shoot("pictures", b"s")
        assert [job.version.mtime_ns for job in ledger.members(shoot, limit=9).jobs] == [2]
        tally = ledger.tally(shoot)
        assert (tally.counts, tally.charged) == ({State.DONE: 1}, Decimal(2))


def test_calls_and_days_say_what_was_paid(tmp_path: Path) -> None:
    with open_ledger(tmp_path) as ledger:
        _add(ledger, b"s/1.jpg")
        job_id = _deliver(ledger)
        (call,) = ledger.calls_of([job_id])[job_id]
        assert (call.charge, call.credits, call.started_at, call.ended_at) == ("yes", Decimal(1), AT, AT)
        (day,) = ledger.days(AT - timedelta(days=1))
        assert (day.day, day.folder, day.spending.charged) == (AT.replace(hour=0), "pictures", Decimal(1))
        assert ledger.days(AT + timedelta(days=1)) == []


def _deliver(ledger: Ledger) -> int:
    (job,) = ledger.claim(1, at=AT, run_id="test", turns=[Turn("pictures")])
    job = with_content(job, f"key-{job.id}")
    job = ledger.record(move(job, State.SENDING, at=AT), call=CallStart(Decimal(1)))
    end = CallEnd(Charge.YES, Decimal(1))
    received = move(job, State.RECEIVED, at=AT, answer_digest="d", answer_bytes=1)
    job = ledger.record(received, call=end)
    return ledger.record(move(job, State.DONE, at=AT, target=b"x.webp")).id
