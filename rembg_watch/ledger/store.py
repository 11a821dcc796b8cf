"""
One file, its connections, and commits that many threads share.

What is particular to SQLite is here and nowhere else: how the file comes to be, what
makes a commit durable, who may open it beside the daemon, and what its errors mean in
words. What stands in the tables is not known here.

A commit that must survive a power cut waits for the disk. Threads that want one at the
same time share it: the first leads, executes what all of them brought in one
transaction, and nobody returns before it is durable. Nothing is saved up: whoever is
alone commits alone.
"""

import contextlib
import os
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Generic, TypeVar
from urllib.parse import quote

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError, SQLAlchemyError, StatementError
from sqlalchemy.exc import TimeoutError as NoReaderError
from sqlalchemy.pool import NullPool, QueuePool

from rembg_watch.errors import LedgerError
from rembg_watch.ledger.schema import MIGRATIONS, Migration, migrate, version_of

BUSY_S = 20.0
"""How long a commit waits for another process before it gives up."""

READERS = 8
CHECKED_BYTES = 256 * 1024 * 1024
"""A ledger up to this size is checked page by page when it is opened; of a larger one, the parts that are used."""

_APPLICATION_ID = 0x52424757  # "RBGW": tells our file from another program's database
_GROUP = 256  # pieces of work in one transaction
_FREED_AT_ONCE = 512  # pages given back to the disk in one transaction

T = TypeVar("T")
Work = Callable[[Connection], T]


class Access(StrEnum):
    """What one may do to a ledger."""

    OWN = "own"  # the daemon: makes it, brings it up to date, writes
    JOIN = "join"  # beside the daemon: writes, but makes and changes no tables
    READ = "read"  # only looks


class NoLedgerError(LedgerError):
    """There is no ledger yet."""


class LedgerUnavailableError(LedgerError):
    """The ledger cannot be written just now: its disk is full or failing, or somebody keeps it locked."""


class _Entry(Generic[T]):
    """A piece of work on its way through a commit."""

    __slots__ = ("error", "is_done", "is_durable", "leads", "outcome", "woken", "work")

    def __init__(self, work: Work[T], *, is_durable: bool) -> None:
        self.work = work
        self.is_durable = is_durable
        self.woken = threading.Event()
        self.leads = False
        self.is_done = False
        self.outcome: T | None = None
        self.error: BaseException | None = None

    def execute(self, connection: Connection) -> None:
        try:
            self.outcome = self.work(connection)
        except Exception as error:
            self.error = error
            raise _SpoiledError from error


class _SpoiledError(Exception):
    """One piece of work failed; the transaction is undone and taken again without it."""


class SharedCommits:
    """
    Commits that threads share: one leads, the others wait, and nobody returns too early.

    A piece of work may be executed more than once, after another one in its
    transaction failed: it must do nothing but to the database.
    """

    def __init__(
        self, transaction: Callable[[bool], contextlib.AbstractContextManager[Connection]], *, most: int = _GROUP
    ) -> None:
        self._transaction = transaction
        self._most = most
        self._lock = threading.Lock()
        self._waiting: deque[_Entry[object]] = deque()
        self._is_led = False

    def run(self, work: Work[T], *, is_durable: bool) -> T:
        """
        Execute *work* in a transaction and return when it is committed.

        Args:
            work: What to do with the database.
            is_durable: False for what may be lost in a power cut, though not in a crash of this process.

        Raises:
            Exception: What *work* raised, or the commit; then nothing of it is stored.
        """
        entry = _Entry(work, is_durable=is_durable)
        try:
            self._line_up(entry)
            if not entry.leads:
                entry.woken.wait()
            if not entry.is_done:
                self._lead()
        except BaseException:  # a signal: whoever waits for this thread to lead must not wait for ever
            self._leave(entry)
            raise
        if entry.error is not None:
            raise entry.error
        return entry.outcome  # type: ignore[return-value]  # it is done and has no error

    def _line_up(self, entry: _Entry[T]) -> None:
        with self._lock:
            self._waiting.append(entry)  # type: ignore[arg-type]  # whose outcome it is, only its owner asks
            entry.leads = not self._is_led
            self._is_led = True

    def _leave(self, entry: _Entry[T]) -> None:
        with self._lock:
            with contextlib.suppress(ValueError):
                self._waiting.remove(entry)  # type: ignore[arg-type]
            if entry.leads and not entry.is_done:
                self._pass_on()

    def _lead(self) -> None:
        group: list[_Entry[object]] = []
        try:
            with self._lock:
                while self._waiting and len(group) < self._most:
                    group.append(self._waiting.popleft())
            self._commit(group)
        except BaseException as error:
            for entry in group:
                entry.error = entry.error or error
            raise
        finally:
            with self._lock:
                for entry in group:
                    entry.is_done = True
                self._pass_on()
            for entry in group:
                entry.woken.set()

    def _pass_on(self) -> None:
        """Let the next one lead, with the lock held."""
        self._is_led = bool(self._waiting)
        if self._is_led:
            self._waiting[0].leads = True
            self._waiting[0].woken.set()

    def _commit(self, group: list[_Entry[object]]) -> None:
        left = group
        while left:
            try:
                with self._transaction(any(entry.is_durable for entry in left)) as connection:
                    for entry in left:
                        entry.execute(connection)
            except _SpoiledError:
                left = [entry for entry in left if entry.error is None]
            except Exception as error:  # noqa: BLE001 - handed to each whose work it spoils
                for entry in left:
                    entry.error = entry.error or error
                return
            else:
                return


class Store:
    """An open ledger file. Any thread may read and write; other processes may too, beside it."""

    def __init__(self, path: Path, access: Access, migrations: Sequence[Migration]) -> None:
        self.path = path
        self.access = access
        self._migrations = migrations
        self._readers = _reading(path)
        self._writers = _writing(path)
        self._connection: Connection | None = None
        self._is_full_sync = True
        self._commits = SharedCommits(self._transaction)

    @classmethod
    def open(cls, path: Path, access: Access, migrations: Sequence[Migration] = MIGRATIONS) -> "Store":
        """
        Open the ledger at *path*, after making sure that it is one and is sound.

        Raises:
            NoLedgerError: There is none, and *access* makes none.
            LedgerError: It is damaged, newer than this program, or no ledger.
        """
        if not path.exists():
            _refuse_remains(path)
            if access is not Access.OWN:
                raise NoLedgerError(f"there is no ledger at {path} yet: nothing has run with this state_dir")
            _make(path, migrations)
        elif not path.is_file():
            raise LedgerError(f"{path} is no file: move it away, a ledger is to stand there")
        store = cls(path, access, migrations)
        try:
            with store._told():
                store._bring_up_to_date()
        except BaseException:
            store.close()
            raise
        return store

    def _bring_up_to_date(self) -> None:
        if self.access is not Access.READ:
            # first in and last out: it plays what a crash left in the log into the file, and tidies up at the end
            self._connection = self._writers.connect()
        with self._readers.connect() as connection:
            _refuse_strangers(connection, self.path)
            _refuse_damage(connection, self.path)
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
        """
        Execute *work* in a transaction shared with other threads; return when it is committed.

        Raises:
            LedgerError: The database refused; nothing was stored.
            Exception: What *work* raised; nothing was stored.
        """
        if self.access is Access.READ:
            raise LedgerError(f"the ledger {self.path} was opened for looking only")
        with self._told():
            return self._commits.run(work, is_durable=is_durable)

    @contextlib.contextmanager
    def reading(self) -> Iterator[Connection]:
        """
        Lend a connection that sees what is committed. Give it back soon.

        Raises:
            LedgerError: The database refused.
        """
        with self._told(), self._readers.connect() as connection:
            yield connection

    def shrink(self) -> int:
        """
        Give pages that hold nothing back to the disk; return the bytes.

        Raises:
            LedgerError: The database refused.
        """
        with self._told(), contextlib.closing(_writer(self.path)) as connection:
            page_bytes: int = connection.execute("PRAGMA page_size").fetchone()[0]
            before = left = _unused_pages(connection)
            while left:
                # a script, since execute() frees a single page; in pieces, since workers want to commit meanwhile
                connection.executescript(f"PRAGMA incremental_vacuum({_FREED_AT_ONCE})")
                now = _unused_pages(connection)
                left = now if now < left else 0
            return max(0, before - _unused_pages(connection)) * page_bytes

    def close(self) -> None:
        """Let go of the file; what was committed stays."""
        self._readers.dispose()
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        self._writers.dispose()

    @contextlib.contextmanager
    def _transaction(self, is_durable: bool) -> Iterator[Connection]:  # noqa: FBT001 - a callback with one meaning
        if self._connection is None:  # of a ledger that is being made
            self._connection = self._writers.connect()
        self._sync_fully(self._connection, is_durable)
        with self._connection.begin():
            yield self._connection

    def _sync_fully(self, connection: Connection, is_full: bool) -> None:  # noqa: FBT001
        if is_full is not self._is_full_sync:
            driver = connection.connection.driver_connection
            assert isinstance(driver, sqlite3.Connection)
            driver.execute(f"PRAGMA synchronous={'FULL' if is_full else 'NORMAL'}")
            self._is_full_sync = is_full

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except (SQLAlchemyError, sqlite3.Error) as error:
            if isinstance(error, StatementError) and isinstance(error.orig, ValueError):
                raise error.orig from error  # a value that cannot be stored: nothing is wrong with the ledger
            raise explained(error, self.path) from error


def _unused_pages(connection: sqlite3.Connection) -> int:
    count: int = connection.execute("PRAGMA freelist_count").fetchone()[0]
    return count


def _reading(path: Path) -> Engine:
    return create_engine(
        "sqlite://",
        creator=lambda: _reader(path),
        poolclass=QueuePool,
        pool_size=READERS,
        max_overflow=0,
        pool_timeout=BUSY_S,
    )


def _writing(path: Path) -> Engine:
    engine = create_engine("sqlite://", creator=lambda: _writer(path), poolclass=NullPool)

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        # not a plain BEGIN: one that reads first and then wants to write can be refused without waiting
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


def _connect(path: Path, query: str) -> sqlite3.Connection:
    uri = f"file:{quote(os.fsencode(path.absolute()))}?{query}"
    return sqlite3.connect(uri, uri=True, timeout=BUSY_S, isolation_level=None, check_same_thread=False)


def _writer(path: Path) -> sqlite3.Connection:
    connection = _connect(path, "mode=rw")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA cache_size=-8000")
    connection.execute(f"PRAGMA journal_size_limit={64 * 1024 * 1024}")
    return connection


def _reader(path: Path) -> sqlite3.Connection:
    """
    Open for reading; never make a file.

    In a directory where one may not write and where nobody has the ledger open, its
    shared memory cannot be made: then nobody writes, and it is read as it lies there.
    """
    connection = _connect(path, "mode=ro")
    try:
        connection.execute("PRAGMA schema_version").fetchall()
    except sqlite3.OperationalError as error:
        connection.close()
        if (
            error.sqlite_errorcode & 0xFF not in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY)
            or _beside(path, "-wal").exists()
        ):
            raise
        connection = _connect(path, "mode=ro&immutable=1")
    connection.execute("PRAGMA query_only=ON")
    return connection


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def _make(path: Path, migrations: Sequence[Migration]) -> None:
    """Make an empty ledger that appears under its name whole, readable by its owner alone."""
    unfinished = _beside(path, ".new")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        for suffix in ("", "-wal", "-shm"):
            _beside(unfinished, suffix).unlink(missing_ok=True)
        os.close(os.open(unfinished, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600))
        unfinished.chmod(0o600)
        _prepare(unfinished)
        with contextlib.closing(Store(unfinished, Access.OWN, migrations)) as store:
            store.write(store._take_steps)
        unfinished.rename(path)
        _sync_directory(path.parent)
    except (OSError, SQLAlchemyError, sqlite3.Error) as error:
        raise LedgerError(f"no ledger can be made at {path}: {_plain(error)}") from error


def _prepare(path: Path) -> None:
    with contextlib.closing(_connect(path, "mode=rw")) as connection:
        connection.execute("PRAGMA auto_vacuum=INCREMENTAL")  # before anything is in it, or it has no effect
        mode = connection.execute("PRAGMA journal_mode=WAL").fetchone()[0]
        if mode != "wal":
            raise LedgerError(f"no ledger can be kept at {path.parent}: put state_dir on a local disk")
        connection.execute(f"PRAGMA application_id={_APPLICATION_ID}")


def _sync_directory(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _refuse_remains(path: Path) -> None:
    """A log without its database would be played into the next one and spoil it."""
    if _beside(path, "-wal").exists():
        raise LedgerError(
            f"{path} is gone, but its log {path.name}-wal is there: put the ledger back, or move the log away too. "
            f"{_FRESH_START}"
        )


def _refuse_strangers(connection: Connection, path: Path) -> None:
    if connection.exec_driver_sql("PRAGMA application_id").scalar_one() == _APPLICATION_ID and version_of(connection):
        return
    raise LedgerError(
        f"{path} is a database, but no ledger of rembg-watch: point state_dir elsewhere, or move the file away"
    )


def _refuse_damage(connection: Connection, path: Path) -> None:
    size_bytes = path.stat().st_size
    promised = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
    page_bytes = connection.exec_driver_sql("PRAGMA page_size").scalar_one()
    complaint = "ok"
    if size_bytes <= CHECKED_BYTES:
        complaint = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar_one()
    elif size_bytes < page_bytes * promised and not _beside(path, "-wal").exists():
        complaint = "its end is missing"
    if complaint != "ok":
        raise LedgerError(damaged(path, complaint))


_FRESH_START = (
    "A fresh ledger knows nothing of what was paid for: every picture that still lies in an input folder would be "
    "sent, and paid for, again; so take delivered ones out first"
)


def damaged(path: Path, detail: str) -> str:
    """Say that the ledger is damaged, what to do and what that means."""
    what = " ".join(detail.split())
    return (
        f"the ledger {path} is damaged or no database ({what}): restore it from a backup, or stop rembg-watch, move "
        f"{path.name}, {path.name}-wal and {path.name}-shm away together, and start it again. {_FRESH_START}"
    )


_REFUSALS: dict[int, str] = {
    sqlite3.SQLITE_FULL: "its disk is full: make room there",
    sqlite3.SQLITE_BUSY: "another process keeps it locked: end that process",
    sqlite3.SQLITE_LOCKED: "another process keeps it locked: end that process",
    sqlite3.SQLITE_IOERR: "its disk fails: look at the system log",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened: look at the rights of the file and of its directory",
    sqlite3.SQLITE_PERM: "it cannot be opened: look at the rights of the file and of its directory",
    sqlite3.SQLITE_READONLY: "it cannot be written: look at the rights of the file and of its directory",
}
_PASSING = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_IOERR})


def explained(error: Exception, path: Path) -> LedgerError:
    """Say in one sentence what the database's *error* means and what to do."""
    origin = error.orig if isinstance(error, DBAPIError) else error
    code = getattr(origin, "sqlite_errorcode", None)
    code = code & 0xFF if isinstance(code, int) else None
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return LedgerError(damaged(path, str(origin)))
    passes = code in _PASSING or isinstance(error, NoReaderError)
    words = _REFUSALS.get(-1 if code is None else code, "it cannot be used")
    return (LedgerUnavailableError if passes else LedgerError)(f"the ledger {path}: {words} ({_plain(error)})")


def _plain(error: Exception) -> str:
    return str(error.orig if isinstance(error, DBAPIError) else error)
