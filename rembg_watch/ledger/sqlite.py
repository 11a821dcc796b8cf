"""
One file and its connections: what is particular to SQLite is here and in ``refusals``.

How the file comes to be, what makes a commit durable and who may open it beside the
daemon is decided here; what stands in the tables is not known. Threads share commits
(``commits``), errors become sentences (``refusals``).
"""

import contextlib
import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import SQLAlchemyError, StatementError
from sqlalchemy.pool import NullPool, QueuePool

from rembg_watch.errors import LedgerError
from rembg_watch.ledger.commits import SharedCommits
from rembg_watch.ledger.migrations import ON_SQLITE, Migration, migrate, version_of
from rembg_watch.ledger.refusals import (
    APPLICATION_ID,
    KEPT,
    beside,
    explained,
    plain,
    refuse_closed,
    refuse_copies,
    refuse_damage,
    refuse_remains,
    refuse_strangers,
)
from rembg_watch.ledger.store import Store, T, Work
from rembg_watch.ledger.values import Access, LedgerUnavailableError, NoLedgerError

BUSY_S = 20.0
"""How long a commit waits for another process before it gives up."""

READERS, READERS_BESIDE = 8, 4  # each keeps 2 MB; beside the daemon one looks, and few look at once
_FREED_AT_ONCE = 512  # pages given back to the disk in one transaction


class SqliteStore(Store):
    """An open ledger file."""

    def __init__(self, path: Path, access: Access, migrations: Sequence[Migration]) -> None:
        self.path = path
        self.access = access
        self._migrations = migrations
        self._readers = _reading(path, READERS_BESIDE if access is Access.READ else READERS)
        self._read_as: object = None  # which file, and how, the readers found when they were last looked at
        self._writers = _writing(path)
        self._connection: Connection | None = None
        self._keeper: sqlite3.Connection | None = None  # of the owner: it sees this ledger whatever stands there later
        self._files: dict[str, tuple[int, int] | None] = {}  # what the owner opened, by suffix
        self._is_lost = False
        self._is_full_sync = True
        self._commits = SharedCommits(self._transaction)
        self._is_closed = False
        self._writing = threading.Lock()  # guards the connection that writes: it is never closed in the middle

    @classmethod
    def open(cls, path: Path, access: Access, migrations: Sequence[Migration] = ON_SQLITE) -> "SqliteStore":
        """Open the ledger at *path*, after making sure that it is one and is sound; see ``open_ledger``."""
        refuse_closed(path)
        if not path.exists():
            refuse_remains(path)
            refuse_copies(path)
            if access is not Access.OWN:
                raise NoLedgerError(f"there is no ledger at {path} yet: nothing has run with this state_dir")
            _make(path, migrations)
        elif not path.is_file():
            raise LedgerError(f"{path} is no file: move it away, a ledger is to stand there")
        store = cls(path, access, migrations)
        try:
            with store._explaining():
                store._bring_up_to_date()
                if access is Access.OWN:
                    store._keeper = _reader(path)
                    store._keeper.execute("SELECT count(*) FROM sqlite_master").fetchone()
                    store._files = {suffix: _identity(beside(path, suffix)) for suffix in ("", "-wal", "-shm")}
        except BaseException:
            store.close()
            raise
        return store

    def _bring_up_to_date(self) -> None:
        if self.access is not Access.READ:
            # first in and last out: it plays what a crash left in the log into the file, and tidies up at the end
            self._connection = self._writers.connect()
        with self._readers.connect() as connection:
            refuse_strangers(connection, self.path)
            refuse_damage(connection, self.path)
            version = version_of(connection)
        newest = len(self._migrations)
        if version > newest:
            raise LedgerError(
                f"the ledger {self.path} was written by a newer rembg-watch (its tables are version {version}, this "
                f"program knows {newest}): install that version again. Older tables cannot be made of newer ones"
            )
        if version == newest:
            return
        if self.access is not Access.OWN:
            raise LedgerError(
                f"the ledger {self.path} is of an older rembg-watch: start `rembg-watch run` or `once` of this "
                "version, which brings it up to date"
            )
        self._migrate(version)

    def _migrate(self, version: int) -> None:
        """Bring the tables up to date; a copy of the old ledger stays beside it."""
        kept = self.path.with_name(f"{self.path.name}.version-{version}")
        kept.unlink(missing_ok=True)
        with self._readers.connect() as connection:
            connection.exec_driver_sql("PRAGMA query_only=OFF")
            connection.exec_driver_sql("VACUUM INTO ?", (os.fspath(kept),))
            connection.invalidate()
        kept.chmod(0o600)
        self.write(self._take_steps)

    def _take_steps(self, connection: Connection) -> None:
        migrate(connection, datetime.now(UTC), self._migrations)

    def write(self, work: Work[T], *, is_durable: bool = True) -> T:
        if self.access is Access.READ:
            raise LedgerError(f"the ledger {self.path} was opened for looking only")
        with self._explaining():
            return self._commits.run(work, is_durable=is_durable)

    def read(self, work: Work[T]) -> T:
        self._refuse_if_closed()
        if self.access is Access.READ:
            self._look_anew()
        if not self._is_lost:
            try:
                with self._explaining(), self._readers.connect() as connection:
                    return work(connection)
            except LedgerUnavailableError:
                if self.is_in_place():
                    raise
        return self.write(work, is_durable=False)  # a reader would open what stands there now, or nothing

    def is_in_place(self) -> bool:
        opened = {suffix: found for suffix, found in self._files.items() if found is not None}
        self._is_lost = any(_identity(beside(self.path, suffix)) != found for suffix, found in opened.items())
        return not self._is_lost

    def keep(self) -> Path:
        kept = beside(self.path, f"{KEPT}{datetime.now(UTC):%Y%m%dT%H%M%S}")
        kept.unlink(missing_ok=True)
        assert self._keeper is not None
        with self._explaining():
            self._keeper.execute("PRAGMA query_only=OFF")
            self._keeper.execute("VACUUM INTO ?", (os.fspath(kept),))
        kept.chmod(0o600)
        return kept

    def _look_anew(self) -> None:
        """Open the file anew if somebody writes to it by now, or another one lies in its place: see ``_reader``."""
        try:
            found = self.path.stat()
        except OSError:  # whoever reads finds out
            return
        is_written = beside(self.path, "-wal").exists()
        # beside somebody who writes, the log tells of what is new
        seen = (found.st_dev, found.st_ino, is_written, None if is_written else (found.st_size, found.st_mtime_ns))
        if seen != self._read_as:
            self._read_as = seen
            self._readers.dispose()

    def shrink(self) -> int:
        with self._explaining(), contextlib.closing(_writer(self.path)) as connection:
            page_bytes: int = connection.execute("PRAGMA page_size").fetchone()[0]
            before = left = _unused_pages(connection)
            while left:
                # a script, since execute() frees a single page; in pieces, since workers want to commit meanwhile
                connection.executescript(f"PRAGMA incremental_vacuum({_FREED_AT_ONCE})")
                now = _unused_pages(connection)
                left = now if now < left else 0
            return max(0, before - _unused_pages(connection)) * page_bytes

    def close(self) -> None:
        """Close the file; a thread that comes late, as one does that a share held up, finds nothing open."""
        self._is_closed = True
        self._readers.dispose()
        if self._keeper is not None:
            self._keeper.close()
            self._keeper = None
        with self._writing:
            if self._connection is not None:
                self._connection.close()
                self._connection = None
            self._writers.dispose()

    @contextlib.contextmanager
    def _transaction(self, is_durable: bool) -> Iterator[Connection]:  # noqa: FBT001 - a callback with one meaning
        with self._writing:
            self._refuse_if_closed()
            if self._connection is None:  # of a ledger that is being made
                self._connection = self._writers.connect()
            if is_durable is not self._is_full_sync:
                _driver(self._connection).execute(f"PRAGMA synchronous={'FULL' if is_durable else 'NORMAL'}")
                self._is_full_sync = is_durable
            with self._connection.begin():
                yield self._connection

    def _refuse_if_closed(self) -> None:
        if self._is_closed:
            raise LedgerUnavailableError(f"the ledger {self.path} is closed")

    @contextlib.contextmanager
    def _explaining(self) -> Iterator[None]:
        try:
            yield
        except (SQLAlchemyError, sqlite3.Error) as error:
            if isinstance(error, StatementError) and isinstance(error.orig, ValueError):
                raise error.orig from error  # a value that cannot be stored: nothing is wrong with the ledger
            raise explained(error, self.path) from error


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _driver(connection: Connection) -> sqlite3.Connection:
    driver = connection.connection.driver_connection
    assert isinstance(driver, sqlite3.Connection)
    return driver


def _unused_pages(connection: sqlite3.Connection) -> int:
    count: int = connection.execute("PRAGMA freelist_count").fetchone()[0]
    return count


def _reading(path: Path, readers: int) -> Engine:
    return create_engine(
        "sqlite://",
        creator=lambda: _reader(path),
        poolclass=QueuePool,
        pool_size=readers,
        max_overflow=0,
        pool_timeout=BUSY_S,
    )


def _writing(path: Path) -> Engine:
    engine = create_engine("sqlite://", creator=lambda: _writer(path), poolclass=NullPool)

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        # not a plain BEGIN: one that reads first and then wants to write can be refused without waiting
        _driver(connection).execute("BEGIN IMMEDIATE")

    return engine


def _connect(path: Path, query: str) -> sqlite3.Connection:
    uri = f"file:{quote(os.fsencode(path.absolute()))}?{query}"
    return sqlite3.connect(uri, uri=True, timeout=BUSY_S, isolation_level=None, check_same_thread=False)


def _set_up(connection: sqlite3.Connection, *pragmas: str) -> sqlite3.Connection:
    """Give *connection* its settings; where the file refuses them, leave nothing open."""
    try:
        for pragma in pragmas:
            connection.execute(f"PRAGMA {pragma}").fetchall()
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _writer(path: Path) -> sqlite3.Connection:
    limit = f"journal_size_limit={64 * 1024 * 1024}"
    return _set_up(_connect(path, "mode=rw"), "synchronous=FULL", "cache_size=-8000", limit)


def _reader(path: Path) -> sqlite3.Connection:
    """
    Open for reading; never make a file.

    In a directory where one may not write and where nobody has the ledger open, its
    shared memory cannot be made: then nobody writes, and it is read as it lies there.
    """
    connection = _connect(path, "mode=ro")
    try:
        return _set_up(connection, "schema_version", "query_only=ON")
    except sqlite3.OperationalError as error:
        if (
            error.sqlite_errorcode & 0xFF not in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY)
            or beside(path, "-wal").exists()
        ):
            raise
    return _set_up(_connect(path, "mode=ro&immutable=1"), "query_only=ON")


def _make(path: Path, migrations: Sequence[Migration]) -> None:
    """Make an empty ledger that appears under its name whole, readable by its owner alone."""
    unfinished = beside(path, ".new")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        for suffix in ("", "-wal", "-shm"):
            beside(unfinished, suffix).unlink(missing_ok=True)
        os.close(os.open(unfinished, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600))
        unfinished.chmod(0o600)
        _prepare(unfinished)
        with contextlib.closing(SqliteStore(unfinished, Access.OWN, migrations)) as store:
            store.write(store._take_steps)
        unfinished.rename(path)
        _sync_directory(path.parent)
    except (OSError, SQLAlchemyError, sqlite3.Error) as error:
        raise LedgerError(f"no ledger can be made at {path}: {plain(error)}") from error


def _prepare(path: Path) -> None:
    with contextlib.closing(_connect(path, "mode=rw")) as connection:
        connection.execute("PRAGMA auto_vacuum=INCREMENTAL")  # before anything is in it, or it has no effect
        mode = connection.execute("PRAGMA journal_mode=WAL").fetchone()[0]
        if mode != "wal":
            raise LedgerError(f"no ledger can be kept at {path.parent}: put state_dir on a local disk")
        connection.execute(f"PRAGMA application_id={APPLICATION_ID}")


def _sync_directory(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
