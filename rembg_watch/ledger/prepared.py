"""
Statements that every picture needs, compiled once.

SQLAlchemy looks a statement up anew at each execution and wraps its result, which for
statements this small takes ten times as long as the database does: without this module
``benchmarks/ledger.py`` comes to 30 % fewer jobs a second, and a picture costs 0.27 ms
more of a processor.

All that the program uses of SQLAlchemy without its documentation's promise is here:
``SQLCompiler.bind_names`` and ``SQLCompiler.positiontup``, which say where the parameters
of a compiled statement are. Where they are missing statements go the documented way,
with the same result (``tests/ledger/test_prepared.py`` tells the difference).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

from sqlalchemy import Connection, Dialect, Select, UpdateBase
from sqlalchemy.engine.interfaces import DBAPICursor
from sqlalchemy.sql.compiler import SQLCompiler

Found: TypeAlias = Any
"""A row as a tuple with the names of its columns."""

Statement: TypeAlias = "Select[*tuple[Any, ...]] | UpdateBase"
_Convert = Callable[[Any], Any] | None


class Prepared:
    """
    A statement to be executed often, with named parameters; compiled for each kind of database that it meets.

    Lists (``IN``) and statements that differ from time to time are not for here.

    Args:
        statement: What to execute; its parameters are ``bindparam`` s. Others that are given are left out.
        sets: For an insert or update, the columns that are given as parameters of the same names.
    """

    def __init__(self, statement: Statement, *, sets: Sequence[str] = ()) -> None:
        self.statement = statement
        self.sets = list(sets)
        self._ways: dict[str, Direct | Documented] = {}

    def run(self, connection: Connection, values: Mapping[str, object]) -> int:
        """Execute it; return how many rows it changed."""
        return self._way(connection.dialect).run(connection, values)

    def all(self, connection: Connection, values: Mapping[str, object]) -> list[Found]:
        """Execute it; return its rows."""
        return self._way(connection.dialect).all(connection, values)

    def first(self, connection: Connection, values: Mapping[str, object]) -> Found:
        """Execute it; return its first row, or None if there is none."""
        return next(iter(self.all(connection, values)), None)

    def scalar(self, connection: Connection, values: Mapping[str, object]) -> Found:
        """Execute it; return the first column of its first row, or None if there is none."""
        row = self.first(connection, values)
        return None if row is None else row[0]

    def _way(self, dialect: Dialect) -> "Direct | Documented":
        found = self._ways.get(dialect.name)
        if found is None:  # two threads at once: both make the same
            found = self._ways[dialect.name] = way(self, dialect)
        return found


def way(prepared: Prepared, dialect: Dialect) -> "Direct | Documented":
    """Return the direct way, or the documented one if this SQLAlchemy does not say what the direct one needs."""
    try:
        return Direct(prepared, dialect)
    except AttributeError:
        return Documented(prepared, dialect)


class Documented:
    """A statement as SQLAlchemy executes it by itself."""

    def __init__(self, prepared: Prepared, dialect: Dialect) -> None:
        self._statement = prepared.statement
        compiled = prepared.statement.compile(dialect=dialect, column_keys=prepared.sets or None)
        self._names = {*prepared.sets, *compiled.params}

    def run(self, connection: Connection, values: Mapping[str, object]) -> int:
        """Execute it; return how many rows it changed."""
        options = {"preserve_rowcount": True}
        return connection.execute(self._statement, self._parameters(values), execution_options=options).rowcount

    def all(self, connection: Connection, values: Mapping[str, object]) -> list[Found]:
        """Execute it; return its rows."""
        return list(connection.execute(self._statement, self._parameters(values)))

    def _parameters(self, values: Mapping[str, object]) -> dict[str, object]:
        return {name: value for name, value in values.items() if name in self._names}


class Direct:
    """
    A statement as one database's driver takes it, with the conversions of its parameters and columns.

    Raises:
        AttributeError: This SQLAlchemy does not say where the parameters are.
    """

    def __init__(self, prepared: Prepared, dialect: Dialect) -> None:
        compiled = prepared.statement.compile(dialect=dialect, column_keys=prepared.sets or None)
        assert isinstance(compiled, SQLCompiler)
        columns = list(prepared.statement.selected_columns) if isinstance(prepared.statement, Select) else []
        self._text = str(compiled)
        self._fixed = {name: value for name, value in compiled.params.items() if value is not None}
        convert: dict[str, _Convert] = {
            name: bind.type.dialect_impl(dialect).bind_processor(dialect) for bind, name in compiled.bind_names.items()
        }
        self._is_by_name = compiled.positiontup is None
        self._parameter_ways = [(name, convert[name]) for name in compiled.positiontup or convert]
        self._columns: list[_Convert] = [
            column.type.dialect_impl(dialect).result_processor(dialect, None) for column in columns
        ]
        self._named: type[Found] = NamedTuple("Row", [(str(column.name), Any) for column in columns])  # type: ignore[assignment, misc]

    def run(self, connection: Connection, values: Mapping[str, object]) -> int:
        """Execute it; return how many rows it changed."""
        cursor = self._execute(connection, values)
        try:
            return cursor.rowcount
        finally:
            cursor.close()

    def all(self, connection: Connection, values: Mapping[str, object]) -> list[Found]:
        """Execute it; return its rows."""
        cursor = self._execute(connection, values)
        try:
            return [self._row(row) for row in cursor.fetchall()]
        finally:
            cursor.close()

    def _execute(self, connection: Connection, values: Mapping[str, object]) -> DBAPICursor:
        cursor = connection.connection.cursor()
        cursor.execute(self._text, self._parameters(values))
        return cursor

    def _parameters(self, values: Mapping[str, object]) -> Sequence[object] | Mapping[str, object]:
        given = {**self._fixed, **values} if self._fixed else values
        ways = self._parameter_ways
        if self._is_by_name:
            return {name: given[name] if convert is None else convert(given[name]) for name, convert in ways}
        return [given[name] if convert is None else convert(given[name]) for name, convert in ways]

    def _row(self, row: Sequence[object]) -> Found:
        pairs = zip(row, self._columns, strict=True)
        return self._named._make(value if convert is None else convert(value) for value, convert in pairs)
