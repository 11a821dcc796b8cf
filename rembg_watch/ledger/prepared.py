"""
Statements that every picture needs, compiled once.

SQLAlchemy looks a statement up anew at each execution and wraps its result, which for
statements this small takes ten times as long as the database does. Here only the
types' own conversions are left; what the statement is stays written in SQLAlchemy's
expressions, for any of its databases.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

from sqlalchemy import Connection, Dialect
from sqlalchemy.engine.interfaces import DBAPICursor
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.elements import ClauseElement
from sqlalchemy.sql.selectable import Select

Found: TypeAlias = Any
"""A row as a tuple with the names of its columns."""

_Convert = Callable[[Any], Any] | None


class Prepared:
    """
    A statement to be executed often, with named parameters.

    It is compiled for the first database that it meets, and a process knows one kind. Lists
    (``IN``) and statements that differ from time to time are not for here.

    Args:
        statement: What to execute; its parameters are ``bindparam`` s.
        sets: For an insert or update, the columns that are given as parameters of the same names.
    """

    def __init__(self, statement: ClauseElement, *, sets: Sequence[str] = ()) -> None:
        self._statement = statement
        self._sets = list(sets)
        self._compiled: _Compiled | None = None

    def run(self, connection: Connection, values: Mapping[str, object]) -> int:
        """Execute it; return how many rows it changed."""
        cursor, _ = self._execute(connection, values)
        try:
            return cursor.rowcount
        finally:
            cursor.close()

    def all(self, connection: Connection, values: Mapping[str, object]) -> list[Found]:
        """Execute it; return its rows."""
        cursor, compiled = self._execute(connection, values)
        try:
            return [compiled.row(row) for row in cursor.fetchall()]
        finally:
            cursor.close()

    def first(self, connection: Connection, values: Mapping[str, object]) -> Found:
        """Execute it; return its first row, or None if there is none."""
        return next(iter(self.all(connection, values)), None)

    def scalar(self, connection: Connection, values: Mapping[str, object]) -> Found:
        """Execute it; return the first column of its first row, or None if there is none."""
        row = self.first(connection, values)
        return None if row is None else row[0]

    def _execute(self, connection: Connection, values: Mapping[str, object]) -> "tuple[DBAPICursor, _Compiled]":
        if self._compiled is None:  # two threads at once: both make the same
            self._compiled = _Compiled(self._statement, connection.dialect, self._sets)
        compiled = self._compiled
        cursor = connection.connection.cursor()
        cursor.execute(compiled.text, compiled.parameters(values))
        return cursor, compiled


class _Compiled:
    """A statement as one database takes it, with the conversions of its parameters and columns."""

    def __init__(self, statement: ClauseElement, dialect: Dialect, sets: list[str]) -> None:
        compiled = statement.compile(dialect=dialect, column_keys=sets or None)
        assert isinstance(compiled, SQLCompiler)
        columns = list(statement.selected_columns) if isinstance(statement, Select) else []
        self.text = str(compiled)
        self._fixed = {name: value for name, value in compiled.params.items() if value is not None}
        self._order = compiled.positiontup
        self._parameters: dict[str, _Convert] = {
            name: bind.type.dialect_impl(dialect).bind_processor(dialect) for bind, name in compiled.bind_names.items()
        }
        self._columns: list[_Convert] = [
            column.type.dialect_impl(dialect).result_processor(dialect, None) for column in columns
        ]
        self._named: type[Found] = NamedTuple("Row", [(str(column.name), Any) for column in columns])  # type: ignore[assignment, misc]

    def parameters(self, values: Mapping[str, object]) -> Sequence[object] | Mapping[str, object]:
        given = {**self._fixed, **values}
        ready = {
            name: given[name] if convert is None else convert(given[name]) for name, convert in self._parameters.items()
        }
        return ready if self._order is None else [ready[name] for name in self._order]

    def row(self, row: Sequence[object]) -> Found:
        pairs = zip(row, self._columns, strict=True)
        return self._named._make(value if convert is None else convert(value) for value, convert in pairs)
