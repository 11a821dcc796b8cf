"""
What the ledger asks of a database: transactions that threads share, a look, and to be closed.

What stands in the tables is not known here, and no database is (``sqlite``).
"""

from collections.abc import Callable
from pathlib import Path
from typing import Protocol, TypeAlias, TypeVar

from sqlalchemy import Connection

T = TypeVar("T")
Work: TypeAlias = Callable[[Connection], T]


class Store(Protocol):
    """
    An open database. Any thread may read and write; other processes may too, beside it.

    What the database refuses is a ``LedgerError``; then, and where *work* raises, nothing was stored.
    """

    def write(self, work: Work[T], *, is_durable: bool = True) -> T:
        """
        Execute *work* in a transaction, perhaps shared with other threads; return when it is committed.

        *work* may be executed more than once: it must do nothing but to the database.

        Args:
            work: What to do with the database.
            is_durable: False for what may be lost in a power cut, though not in a crash of this process.
        """

    def read(self, work: Work[T]) -> T:
        """Execute *work*, which only looks, on a connection that sees what is committed."""

    def is_in_place(self) -> bool:
        """Say whether what was opened is still what others find under its name; cheap enough for each call."""

    def keep(self) -> Path:
        """Write all of it into a new file beside its place, for a person, and return where; its name is not its own."""

    def shrink(self) -> int:
        """Give room that holds nothing back to the disk; return the bytes."""

    def close(self) -> None:
        """Let go of the database; what was committed stays."""
