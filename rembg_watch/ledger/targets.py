"""
Which source owns which output name, and what was last put there.

Two names that differ in case or Unicode form alone count as one, since on many shares
they are. Portable SQL; whether a file stands under a name is not known here.
"""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, delete, insert, select, update

from rembg_watch.ledger.rows import AnyRow, slices
from rembg_watch.ledger.schema import JOBS, TARGETS
from rembg_watch.ledger.values import Target, TargetsTakenError, name_key


def of_source(connection: Connection, folder: str, source: bytes) -> list[Target]:
    """Return the names that a source owns, the oldest first."""
    where = (TARGETS.c.folder == folder, TARGETS.c.source == source)
    return [_target(row) for row in connection.execute(select(TARGETS).where(*where).order_by(TARGETS.c.id))]


def at_name(connection: Connection, folder: str, target: bytes) -> Target | None:
    """Return who owns a name, in whatever case or form it is spelled."""
    where = (TARGETS.c.folder == folder, TARGETS.c.key == name_key(target))
    row = connection.execute(select(TARGETS).where(*where)).first()
    return None if row is None else _target(row)


def own(connection: Connection, folder: str, source: bytes, candidates: Sequence[bytes]) -> bytes | None:
    """Return the first of *candidates* that the source owns already, as it is spelled there."""
    owned = {name_key(one.target): one.target for one in of_source(connection, folder, source)}
    return next((owned[key] for key in map(name_key, candidates) if key in owned), None)


def claim(connection: Connection, folder: str, source: bytes, candidates: Sequence[bytes], at: datetime) -> bytes:
    """
    Give the source the first name that nobody else owns; its own one first.

    Raises:
        TargetsTakenError: Other sources own all of them.
    """
    mine = own(connection, folder, source, candidates)
    if mine is not None:
        return mine
    for target in candidates:
        if at_name(connection, folder, target) is None:
            row = {"folder": folder, "key": name_key(target), "target": target, "source": source, "claimed_at": at}
            connection.execute(insert(TARGETS), row)
            return target
    raise TargetsTakenError(folder, source)


def release(connection: Connection, folder: str, source: bytes, target: bytes) -> bool:
    """Take a name from its source, so that it may have another; return whether it owned it."""
    where = (TARGETS.c.folder == folder, TARGETS.c.source == source, TARGETS.c.key == name_key(target))
    return connection.execute(delete(TARGETS).where(*where)).rowcount > 0


def publish(connection: Connection, published: Target) -> None:
    """
    Write down what now stands under a name.

    Raises:
        TargetsTakenError: The source does not own the name.
    """
    where = (
        TARGETS.c.folder == published.folder,
        TARGETS.c.source == published.source,
        TARGETS.c.key == name_key(published.target),
    )
    values = {
        "target": published.target,
        "digest": published.digest,
        "size_bytes": published.size_bytes,
        "mtime_ns": published.mtime_ns,
        "inode": published.inode,
    }
    if connection.execute(update(TARGETS).where(*where).values(values)).rowcount == 0:
        raise TargetsTakenError(published.folder, published.source)


def prune(connection: Connection, before: datetime, limit: int) -> int:
    """Forget names whose source has no job left and that were claimed before *before*."""
    orphan = ~select(JOBS.c.id).where(JOBS.c.folder == TARGETS.c.folder, JOBS.c.source == TARGETS.c.source).exists()
    statement = select(TARGETS.c.id).where(TARGETS.c.claimed_at < before, orphan).limit(limit)
    ids = list(connection.scalars(statement))
    for some in slices(ids):
        connection.execute(delete(TARGETS).where(TARGETS.c.id.in_(some)))
    return len(ids)


def _target(row: AnyRow) -> Target:
    return Target(
        folder=row.folder,
        target=row.target,
        source=row.source,
        digest=row.digest,
        size_bytes=row.size_bytes,
        mtime_ns=row.mtime_ns,
        inode=row.inode,
    )
