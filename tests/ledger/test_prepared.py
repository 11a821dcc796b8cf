"""The direct way to the driver, which uses what SQLAlchemy does not promise, and the documented one beside it."""

import gc
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import Connection, Dialect, bindparam, create_engine, delete, insert, select, update
from sqlalchemy.dialects import sqlite

from rembg_watch.jobs import State
from rembg_watch.ledger import book, work
from rembg_watch.ledger.prepared import Direct, Documented, Prepared, way
from rembg_watch.ledger.schema import CALLS, METADATA, NOTES

NOW = datetime(2026, 11, 22, 12, 0, 0, 1, tzinfo=UTC)
ROW = {
    "job_id": 7,
    "folder": "f",
    "content_key": "key",
    "started_at": NOW,
    "charge": "yes",
    "credits": Decimal("0.5"),
}
INSERT = Prepared(insert(CALLS).inline().values(follows="no"), sets=tuple(ROW))
UPDATE = Prepared(
    update(CALLS).where(CALLS.c.job_id == bindparam("this_job"), CALLS.c.charge == "yes"), sets=("ended_at", "code")
)
SELECT = Prepared(select(CALLS).where(CALLS.c.job_id == bindparam("job_id")).order_by(CALLS.c.id).limit(2))


@pytest.fixture
def connection() -> Iterator[Connection]:
    engine = create_engine("sqlite://")
    METADATA.create_all(engine)
    with engine.connect() as connection:
        yield connection
    engine.dispose()


def test_sqlalchemy_says_what_the_direct_way_needs_of_every_statement_that_is_used() -> None:
    """If this fails the ledger still works, but a picture costs twice the processor: see ``prepared``."""
    assert book  # whose statements are made when it is imported
    for state in State:
        work._storing(state, ends_call=True, keeps_claim=False, stands=True)
    prepared = [one for one in gc.get_objects() if isinstance(one, Prepared)]
    assert len(prepared) >= 15 + len(State)
    assert {type(way(one, sqlite.dialect())) for one in prepared} == {Direct}


class Silent(sqlite.dialect.statement_compiler):
    """What a later SQLAlchemy may be: once it has compiled, it does not say where the parameters are."""

    is_made = False

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.is_made = True

    def __getattribute__(self, name: str) -> Any:
        if name == "positiontup" and super().__getattribute__("is_made"):
            raise AttributeError(name)
        return super().__getattribute__(name)


def test_a_sqlalchemy_that_does_not_say_it_is_used_in_the_documented_way() -> None:
    dialect: Dialect = sqlite.dialect()
    dialect.statement_compiler = Silent
    assert isinstance(way(UPDATE, dialect), Documented)


@pytest.mark.parametrize("kind", [Direct, Documented])
def test_both_ways_write_and_read_the_same(connection: Connection, kind: type[Direct | Documented]) -> None:
    def through(prepared: Prepared) -> Direct | Documented:
        return kind(prepared, connection.dialect)

    assert through(INSERT).run(connection, ROW) == 1
    assert through(INSERT).run(connection, {**ROW, "charge": "no", "not in it": 1}) == 1
    assert through(UPDATE).run(connection, {"this_job": 7, "ended_at": NOW, "code": "a\0b", "not in it": 1}) == 1
    assert through(UPDATE).run(connection, {"this_job": 8, "ended_at": NOW, "code": None}) == 0
    first, second = through(SELECT).all(connection, {"job_id": 7})
    meant = {**ROW, "id": 1, "ended_at": NOW, "code": "a\\x00b", "follows": "no"}
    assert {name: getattr(first, name) for name in meant} == meant
    assert (second.charge, second.ended_at, second.code, second[0]) == ("no", None, None, 2)
    assert through(SELECT).all(connection, {"job_id": 8}) == []
    assert through(Prepared(delete(CALLS).where(CALLS.c.job_id == bindparam("gone")))).run(connection, {"gone": 7}) == 2


@pytest.mark.parametrize("kind", [Direct, Documented])
def test_both_ways_refuse_what_cannot_be_stored(connection: Connection, kind: type[Direct | Documented]) -> None:
    insert_ = kind(INSERT, connection.dialect)
    with pytest.raises(Exception, match="has no time zone"):
        insert_.run(connection, {**ROW, "started_at": NOW.replace(tzinfo=None)})


def test_one_row_or_one_value_can_be_asked_for(connection: Connection) -> None:
    noted = Prepared(select(NOTES.c.value, NOTES.c.name).where(NOTES.c.name == bindparam("name")))
    connection.execute(insert(NOTES), {"name": "a", "value": "1"})
    assert noted.first(connection, {"name": "a"}) == ("1", "a")
    assert (noted.scalar(connection, {"name": "a"}), noted.scalar(connection, {"name": "b"})) == ("1", None)
    assert noted.first(connection, {"name": "b"}) is None
