"""The statements that every picture needs find their rows by an index, however many rows there are."""

import contextlib
import importlib
import pkgutil
import sqlite3
from pathlib import Path

import pytest
from sqlalchemy.dialects import sqlite

from rembg_watch import ledger
from rembg_watch.ledger.prepared import Prepared
from rembg_watch.ledger.sqlite import SqliteStore
from rembg_watch.ledger.values import Access

_MODULES = [importlib.import_module(f"{ledger.__name__}.{one.name}") for one in pkgutil.iter_modules(ledger.__path__)]
OF_EVERY_PICTURE = {
    f"{module.__name__.rpartition('.')[2]}{name}": statement
    for module in _MODULES
    for name, statement in vars(module).items()
    if isinstance(statement, Prepared)
}
LARGE = {"jobs", "calls", "targets", "deliverables", "copies", "reviews"}


@pytest.mark.parametrize("name", OF_EVERY_PICTURE)
def test_no_statement_of_every_picture_reads_a_whole_table(name: str, tmp_path: Path) -> None:
    statement = OF_EVERY_PICTURE[name]
    text = str(statement.statement.compile(dialect=sqlite.dialect(), column_keys=statement.sets or None))
    path = tmp_path / "ledger.sqlite3"
    SqliteStore.open(path, Access.OWN).close()
    with contextlib.closing(sqlite3.connect(path)) as connection:
        plan = connection.execute(f"EXPLAIN QUERY PLAN {text}", [None] * text.count("?")).fetchall()
    scans = [step for *_, step in plan if step.partition(" ")[0] == "SCAN" and step.split()[1] in LARGE]
    assert scans == [], text
