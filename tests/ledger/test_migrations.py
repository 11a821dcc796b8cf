"""Old ledgers go on, and new ones are the same as old ones that were brought up to date."""

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from sqlalchemy import Connection, create_engine

from rembg_watch.errors import LedgerError
from rembg_watch.jobs import State, Unsettled, Version, move
from rembg_watch.ledger import Access, By, Ledger, Spending, Target, Which, open_ledger
from rembg_watch.ledger.migrations import ON_SQLITE, migrate
from rembg_watch.ledger.schema import METADATA
from tests.ledger.moves import NOW, at, claim, finish, receive, send

DATA = Path(__file__).parent / "data"
VERSIONS = [pytest.param(DATA / f"version-{number}.sql", id=f"version {number}") for number in (1, 2, 3, 4, 5, 6, 7, 8)]
"""Dumps of ledgers as the program wrote them when their tables were of that version: never made anew."""


@pytest.fixture(params=VERSIONS)
def old(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Return the state directory of an older version of the program."""
    with closing(sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)) as connection:
        connection.executescript(request.param.read_text(encoding="utf-8"))
    return tmp_path


def found(ledger: Ledger) -> dict[bytes, State]:
    return {job.source: job.state for job in ledger.jobs()}


def test_an_old_ledger_knows_all_that_it_knew(old: Path) -> None:
    with open_ledger(old) as ledger:
        assert found(ledger) == {
            b"done.jpg": State.DONE,
            b"shoot 1/received \xff.jpg": State.RECEIVED,
            b"doubt.jpg": State.IN_DOUBT,
            b"sending.jpg": State.SENDING,
            b"failed.jpg": State.FAILED,
            b"queued.jpg": State.QUEUED,
        }
        assert ledger.known("f", b"shoot 1") == {
            b"received \xff.jpg": Version(size_bytes=1001, mtime_ns=10**18 + 1, inode=2**64 - 2)
        }
        assert ledger.spending() == Spending(
            calls=5,
            charged=Decimal(3),
            doubtful=Decimal(2),
            in_doubt=2,
            under_way=1,
            under_way_credits=Decimal(1),
        )
        assert ledger.spending(folders=["g"]) == Spending(calls=1, charged=Decimal(1)), "pruned: its sums are kept"
        (failed,) = ledger.jobs(Which(states=frozenset({State.FAILED})))
        assert (failed.reason, failed.changed_at) == ("no picture \\udcff", at(42))
        assert ledger.target("f", b"DONE.jpg.webp") == Target(
            folder="f", target=b"done.jpg.webp", source=b"done.jpg", digest="d", size_bytes=5, mtime_ns=2**70,
            inode=2**64 - 1,
        )  # fmt: skip
        assert ledger.note("gate") == {"rate": 4.25}
        delivered = {part.place: part.delivered for part in ledger.billed(By.PICTURE, at(0)) if part.folder == "f"}
        assert delivered[b"done.jpg"] == sum(delivered.values()) == 1, (
            "when it was is known, or taken from its last change"
        )
        growing = Unsettled(source=b"growing.jpg", size_bytes=5, since_at=at(1), reason="still growing")
        assert ledger.unsettled() == [("f", growing)]


def test_an_old_ledger_goes_on(old: Path) -> None:
    with open_ledger(old) as ledger:
        recovered = ledger.recover(at(100))
        assert (recovered.crashed, recovered.received, recovered.claims) == (1, 1, 1)
        assert {job.source for job in recovered.in_doubt} == {b"doubt.jpg", b"sending.jpg"}
        (received,) = claim(ledger, when=at(100), state=State.RECEIVED)
        ledger.record(move(received, State.DONE, at=at(101)))
        (queued,) = claim(ledger, when=at(100))
        finish(ledger, queued)
        assert ledger.retry(Which(), at(102)) == 3
        assert ledger.add("f", [(b"new.jpg", Version(size_bytes=1, mtime_ns=1, inode=1))], at(103)) == 1
        *again, new = claim(ledger, when=at(104))
        assert len(again) == 3
        assert new.id > 7, "the id of a job that was forgotten is given to no other"
        for number, job in enumerate(again):
            ledger.record(move(receive(ledger, send(ledger, job, f"again {number}")), State.DONE, at=at(105)))
        assert ledger.counts()[State.DONE] == 6
        assert (ledger.spending().charged, ledger.spending().in_doubt) == (7, 2)
        ledger.gone("f", list(found(ledger)), at(200))
        assert ledger.prune(at(300)).jobs == 7


def test_an_old_ledger_is_looked_at_without_being_changed_or_not_at_all(old: Path) -> None:
    before = (old / "ledger.db").read_bytes()
    try:
        with open_ledger(old, Access.READ) as ledger:
            assert ledger.spending().calls == 5
    except LedgerError as refused:
        assert "is of an older rembg-watch: start" in str(refused)  # noqa: PT017 - either will do, and nothing else
    assert (old / "ledger.db").read_bytes() == before


def tables(connection: sqlite3.Connection) -> dict[str, object]:
    """Say what the tables and indexes of a database are, whatever the order in which they came to be so."""
    described: dict[str, object] = {}
    statement = (
        "SELECT type, name, sql FROM sqlite_master WHERE type IN ('table', 'index') AND name NOT LIKE 'sqlite_%'"
    )
    for kind, name, sql in connection.execute(statement).fetchall():
        if kind == "index":
            described[name] = " ".join(sql.split())
            continue
        columns = sorted(one[1:] for one in connection.execute(f"PRAGMA table_info({name})"))
        unique = sorted(
            tuple(column[2] for column in connection.execute(f"PRAGMA index_info({index})"))
            for _, index, is_unique, origin, _ in connection.execute(f"PRAGMA index_list({name})")
            if is_unique and origin == "u"
        )
        described[name] = (columns, unique, re.search(r"\bAUTOINCREMENT\b", sql) is not None)
    return described


@pytest.fixture
def empty() -> Iterator[Connection]:
    engine = create_engine("sqlite://")
    with engine.connect() as connection:
        yield connection
    engine.dispose()


def driver(connection: Connection) -> sqlite3.Connection:
    found = connection.connection.driver_connection
    assert isinstance(found, sqlite3.Connection)
    return found


def test_all_steps_together_make_the_tables_that_the_statements_are_written_for(empty: Connection) -> None:
    migrate(empty, NOW, ON_SQLITE)
    with closing(sqlite3.connect(":memory:")) as meant:
        engine = create_engine("sqlite://", creator=lambda: meant)
        METADATA.create_all(engine)
        assert tables(driver(empty)) == tables(meant)
        engine.dispose()


@pytest.mark.parametrize("dump", VERSIONS)
def test_the_steps_up_to_a_version_make_what_its_program_made(empty: Connection, dump: Path) -> None:
    version = int(dump.stem.removeprefix("version-"))
    migrate(empty, datetime(2026, 1, 1, tzinfo=UTC), ON_SQLITE[:version])
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as was:
        was.executescript(dump.read_text(encoding="utf-8"))
        assert tables(driver(empty)) == tables(was)


def test_every_version_has_its_dump() -> None:
    assert len(VERSIONS) == len(ON_SQLITE), "add the dump of a ledger as this version writes it"
