"""
Why SQLite's ledger is refused, in words, with the way out.

Files that are damaged, of another program or only remains are recognized here, and the
database's errors are told in sentences. Nothing is changed, and nothing is mended.
"""

import os
import sqlite3
from pathlib import Path

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as NoReaderError

from rembg_watch.errors import LedgerError
from rembg_watch.host.owners import owner_of
from rembg_watch.ledger.migrations import version_of
from rembg_watch.ledger.values import LedgerClosedError, LedgerUnavailableError

CHECKED_BYTES = 256 * 1024 * 1024
"""A ledger up to this size is checked page by page when it is opened; of a larger one, the parts that are used."""

APPLICATION_ID = 0x52424757  # "RBGW": tells our file from another program's database


KEPT = ".kept-"
"""What comes between the name of a ledger and the moment in the name of its copy."""


def beside(path: Path, suffix: str) -> Path:
    """Return the file that the database keeps beside its own under a longer name."""
    return path.with_name(path.name + suffix)


def refuse_closed(path: Path) -> None:
    """Refuse what this user may not look at; whose it is says who may."""
    try:
        is_open = not path.exists() or os.access(path, os.R_OK)
    except PermissionError:
        is_open = False
    if not is_open:
        owner = owner_of(path)
        sudo = "sudo" if owner == "root" else f"sudo -u {owner}"
        raise LedgerClosedError(
            f"this user may not read the state folder {path.parent} and the ledger in it, which belong to {owner}: "
            f"run this as {owner}, for example `{sudo} rembg-watch ...`"
        )


def refuse_remains(path: Path) -> None:
    """Refuse a log without its database: it would be played into the next one and spoil it."""
    if beside(path, "-wal").exists():
        raise LedgerError(
            f"{path} is gone, but its log {path.name}-wal is there: put the ledger back, or move the log away too. "
            f"{_FRESH_START}"
        )


def refuse_copies(path: Path) -> None:
    """Refuse to begin anew beside a copy that was kept of a ledger that was removed while it was in use."""
    copies = sorted(path.parent.glob(f"{path.name}{KEPT}*"))
    if copies:
        raise LedgerError(
            f"{path} is gone, but {copies[-1].name} holds all that it knew: give it that name, or move it away too. "
            f"{_FRESH_START}"
        )


def refuse_strangers(connection: Connection, path: Path) -> None:
    """Refuse a database that is no ledger."""
    if path.stat().st_size == 0:
        raise LedgerError(damaged(path, "it is empty"))
    if connection.exec_driver_sql("PRAGMA application_id").scalar_one() == APPLICATION_ID and version_of(connection):
        return
    raise LedgerError(
        f"{path} is a database, but no ledger of rembg-watch: point state_dir elsewhere, or move the file away"
    )


def refuse_damage(connection: Connection, path: Path) -> None:
    """Refuse a ledger whose pages do not hold together, as far as can be seen in a moment."""
    size_bytes = path.stat().st_size
    promised = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
    page_bytes = connection.exec_driver_sql("PRAGMA page_size").scalar_one()
    complaint = "ok"
    if size_bytes <= CHECKED_BYTES:
        complaint = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar_one()
    elif size_bytes < page_bytes * promised and not beside(path, "-wal").exists():
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
_PASSING = frozenset(_REFUSALS) - {sqlite3.SQLITE_PERM}


def explained(error: Exception, path: Path) -> LedgerError:
    """Say in one sentence what the database's *error* means and what to do."""
    origin = error.orig if isinstance(error, DBAPIError) else error
    code = getattr(origin, "sqlite_errorcode", None)
    code = code & 0xFF if isinstance(code, int) else None
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return LedgerError(damaged(path, str(origin)))
    passes = code in _PASSING or isinstance(error, NoReaderError)
    words = _REFUSALS.get(-1 if code is None else code, "it cannot be used")
    return (LedgerUnavailableError if passes else LedgerError)(f"the ledger {path}: {words} ({plain(error)})")


def plain(error: Exception) -> str:
    """Return the database's own words without the statement."""
    return str(error.orig if isinstance(error, DBAPIError) else error)
