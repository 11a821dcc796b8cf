"""How a row becomes a job, and how a choice of jobs becomes a condition. Nothing is written here."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import islice
from typing import Any, TypeAlias, TypeVar

from sqlalchemy import ColumnElement, Connection, Row, Select, and_, bindparam, case, func, or_, select, true

from rembg_watch.jobs import REJECTED, Job, State, Version
from rembg_watch.ledger.prepared import Prepared
from rembg_watch.ledger.schema import JOB_COUNTS, JOBS
from rembg_watch.ledger.values import Backlog, Which

T = TypeVar("T")
AnyRow: TypeAlias = "Row[*tuple[Any, ...]]"  # as text: SQLAlchemy 2.0 spells it otherwise

SLICE = 500
"""How many values go into one ``IN (...)``."""

_VERSION = ("size_bytes", "mtime_ns", "inode")
RECORDED = (
    "changed_at",
    "attempts",
    "doubts",
    "retry_at",
    "content_key",
    "answer_digest",
    "answer_bytes",
    "published_digest",
    "published_bytes",
    "picture_key",
    "target",
    "charged",
    "reason",
    "code",
    "field",
    "request_id",
    "finding",
    "answer_w",
    "answer_h",
    "figures",
    "delivered_at",
    "is_accepted",
    "made_with",
    "redo_at",
    "is_disposal_due",
    "is_disposed",
)
"""What a record writes of a job as it stands in the job; the state and the revision are written too."""

_PLAIN = ("id", "folder", "source", "enqueued_at", *RECORDED, "gone_at", "revision")
ALL_OF_IT = select(*(JOBS.c[name] for name in (*_VERSION, "state", *_PLAIN)))


SURPRISED = and_(JOBS.c.state == State.HELD.value, JOBS.c.finding.is_not(None))
"""A job whose answer is of an unexpected size: it is in the spool, and a person decides."""


TURNED_DOWN = and_(JOBS.c.state == State.FAILED.value, func.coalesce(JOBS.c.code, "") == REJECTED)
"""A job whose answer a person did not want."""


def slices(values: Iterable[T], size: int = SLICE) -> Iterator[list[T]]:
    """Cut *values* into lists of at most *size*, reading no further ahead."""
    rest = iter(values)
    while some := list(islice(rest, size)):
        yield some


def job_of(row: AnyRow) -> Job:
    """Return the job that a row of all columns holds."""
    size_bytes, mtime_ns, inode, state, *plain = row
    version = Version(size_bytes=size_bytes, mtime_ns=mtime_ns, inode=inode)
    return Job(version=version, state=State(state), **dict(zip(_PLAIN, plain, strict=True)))


def jobs_where(connection: Connection, *conditions: ColumnElement[bool], limit: int | None = None) -> list[Job]:
    """Return the jobs that meet all *conditions*, oldest first."""
    statement = ALL_OF_IT.where(*conditions).order_by(JOBS.c.id).limit(limit)
    return [job_of(row) for row in connection.execute(statement)]


def answered(
    connection: Connection,
    content_key: str,
    also: str | None = None,
    *,
    of: tuple[str, bytes] | None = None,
    picture_key: str | None = None,
) -> list[Job]:
    """
    Return some jobs that had an answer to one request: those that have it in the spool first, then the newest.

    The same request may have been known by another key, *also*. Where there is none by either, those
    of the source *of* (folder and name) whose answer was to the same picture, whatever was written about it.
    """
    folder, source = of or (None, None)
    keys: dict[str, object] = {"content_key": content_key, "also": content_key if also is None else also}
    keys |= {"folder": folder, "source": source, "picture_key": picture_key}
    found = [
        job_of(row) for row in (_ANSWERED if picture_key is None else _ANSWERED_OF_SOURCE_TOO).all(connection, keys)
    ]
    return [one for one in found if one.content_key in (content_key, also)] or found


ANSWERS = 20
"""So many are offered: a thousand copies of one picture are no reason to read them all for each of them."""

_BY_KEY = or_(JOBS.c.content_key == bindparam("content_key"), JOBS.c.content_key == bindparam("also"))
_BY_SOURCE = and_(
    JOBS.c.folder == bindparam("folder"),
    JOBS.c.source == bindparam("source"),
    JOBS.c.picture_key == bindparam("picture_key"),
)
_LIKELIEST = case(
    (JOBS.c.state == State.RECEIVED.value, 0), (SURPRISED, 0), (JOBS.c.state == State.DONE.value, 1), else_=2
)


def _answered(which: ColumnElement[bool], *first: ColumnElement[int]) -> Prepared:
    found = ALL_OF_IT.where(which, JOBS.c.answer_digest.is_not(None))
    return Prepared(found.order_by(*first, _LIKELIEST, JOBS.c.id.desc()).limit(ANSWERS))


_ANSWERED = _answered(_BY_KEY)
_ANSWERED_OF_SOURCE_TOO = _answered(or_(_BY_KEY, _BY_SOURCE), case((_BY_KEY, 0), else_=1))


def is_received(connection: Connection, content_key: str) -> bool:
    """Say whether a job has an answer to one request in the spool that it did not publish yet."""
    return _RECEIVED.scalar(connection, {"content_key": content_key}) is not None


_RECEIVED = Prepared(
    select(JOBS.c.id).where(
        JOBS.c.content_key == bindparam("content_key"),
        or_(JOBS.c.state == State.RECEIVED.value, and_(SURPRISED, JOBS.c.gone_at.is_(None))),
    )
)


def jobs_by_id(connection: Connection, ids: Sequence[int]) -> list[Job]:
    """Return the jobs with these ids, in their order; one that is not there is left out."""
    found = {job.id: job for some in slices(ids) for job in jobs_where(connection, JOBS.c.id.in_(some))}
    return [found[one] for one in ids if one in found]


def condition(which: Which) -> ColumnElement[bool]:
    """Return *which* without its pattern as a condition; the pattern is for Python."""
    return and_(
        true(),
        *([JOBS.c.state.in_(sorted(which.states))] if which.states else []),
        *([JOBS.c.folder.in_(sorted(which.folders))] if which.folders else []),
        *([] if which.ids is None else [JOBS.c.id.in_(sorted(which.ids))]),
        *([JOBS.c.changed_at >= which.since] if which.since else []),
        *([JOBS.c.finding.is_not(None)] if which.is_odd else []),
        *([] if which.has_surprise is None else [SURPRISED if which.has_surprise else ~SURPRISED]),
    )


def ids_of(connection: Connection, which: Which, *conditions: ColumnElement[bool], limit: int | None) -> list[int]:
    """Return the ids of the jobs that are meant, last changed first; of many that are named, some at a time."""
    if which.ids is not None and len(which.ids) > SLICE:
        parts = [replace(which, ids=frozenset(some)) for some in slices(sorted(which.ids))]
        return [id_ for part in parts for id_ in ids_of(connection, part, *conditions, limit=None)][:limit]
    statement = select(JOBS.c.id).where(condition(which), *conditions)
    statement = statement.order_by(JOBS.c.changed_at.desc(), JOBS.c.id.desc())
    if which.pattern is None:
        return list(connection.scalars(statement.limit(limit)))
    return list(islice(_matching(connection, statement, which), limit))


def _matching(connection: Connection, statement: Select[tuple[int]], which: Which) -> Iterator[int]:
    for row in connection.execute(statement.add_columns(JOBS.c.source, JOBS.c.folder)):
        if which.accepts(row.source, row.folder):
            yield row.id


def known(connection: Connection, folder: str, parent: bytes) -> dict[bytes, Version]:
    """Return the version in which each source of a directory stands there, by its name."""
    start = len(parent) + 1 if parent else 0
    statement = _KNOWN.where(JOBS.c.folder == folder, JOBS.c.parent == parent)
    return {
        source[start:]: Version(size_bytes=size_bytes, mtime_ns=mtime_ns, inode=inode)
        for source, size_bytes, mtime_ns, inode in connection.execute(statement)
    }


_KNOWN = select(JOBS.c.source, *(JOBS.c[name] for name in _VERSION)).where(JOBS.c.gone_at.is_(None))


def parents(connection: Connection, folder: str) -> list[bytes]:
    """Return each directory in which sources stand."""
    statement = select(JOBS.c.parent).where(JOBS.c.folder == folder, JOBS.c.gone_at.is_(None)).distinct()
    return list(connection.scalars(statement))


UNCOUNTED = (State.SENDING.value, State.RECEIVED.value)
"""States of few jobs, that each picture passes: they are counted by an index; see ``JOB_COUNTS``."""


def counts(connection: Connection) -> dict[str, dict[State, int]]:
    """Return how many jobs each folder has in each state; folders without jobs are not known here."""
    kept = select(JOB_COUNTS.c.state, JOB_COUNTS.c.folder, JOB_COUNTS.c.jobs).where(JOB_COUNTS.c.jobs > 0)
    under_way = select(JOBS.c.state, JOBS.c.folder, func.count()).where(JOBS.c.state.in_(UNCOUNTED))
    statement = kept.union_all(under_way.group_by(JOBS.c.state, JOBS.c.folder))
    by_folder: dict[str, dict[State, int]] = {}
    for state, folder, count in connection.execute(statement):
        by_folder.setdefault(folder, dict.fromkeys(State, 0))[State(state)] = count
    return by_folder


def originals_left(connection: Connection) -> dict[str, int]:
    """Return how many originals each folder has still to move or delete; by an index alone."""
    due = select(JOBS.c.folder, func.count()).where(JOBS.c.is_disposal_due.is_(True)).group_by(JOBS.c.folder)
    return {row.folder: row[1] for row in connection.execute(due)}


def backlog(connection: Connection, at: datetime, folders: Iterable[str] = ()) -> Backlog:
    """Sum up what is queued, in these folders or in all."""
    only = tuple(folders)
    statement = select(
        func.count(),
        func.coalesce(func.sum(JOBS.c.size_bytes), 0),
        func.coalesce(func.sum(case((JOBS.c.retry_at > at, 1), else_=0)), 0),
        func.min(JOBS.c.enqueued_at),
    ).where(JOBS.c.state == State.QUEUED, *([JOBS.c.folder.in_(only)] if only else []))
    jobs, size_bytes, waiting, oldest_at = connection.execute(statement).one()
    return Backlog(jobs=jobs, size_bytes=int(size_bytes), waiting=int(waiting), oldest_at=oldest_at)


def queued(connection: Connection, folders: Iterable[str] = ()) -> int:
    """Count what is queued, by an index alone."""
    statement, only = select(func.count()).where(JOBS.c.state == State.QUEUED.value), tuple(folders)
    return connection.scalar(statement.where(JOBS.c.folder.in_(only)) if only else statement) or 0


def is_undelivered(connection: Connection, folder: str, *, but: Collection[str] = ()) -> bool:
    """Say whether a paid answer waits to be published in a folder, for another reason than *but* these codes."""
    return connection.scalar(select(JOBS.c.id).where(undelivered(folder, but)).limit(1)) is not None


def undelivered(folder: str, but: Collection[str]) -> ColumnElement[bool]:
    """Return what a job is whose paid answer waits to be published, for another reason than *but* these codes."""
    code = func.coalesce(JOBS.c.code, "")
    return and_(JOBS.c.state == State.RECEIVED.value, JOBS.c.folder == folder, code.not_in(sorted(but)))


def next_due_at(connection: Connection, folders: Iterable[str], state: State = State.QUEUED) -> datetime | None:
    """Return when the next job that nobody has claimed is due."""
    moments = [_NEXT_DUE_AT.scalar(connection, {"state": state.value, "folder": folder}) for folder in folders]
    return min((moment for moment in moments if moment is not None), default=None)


_NEXT_DUE_AT = Prepared(
    select(func.min(JOBS.c.due_at)).where(
        JOBS.c.state == bindparam("state"), JOBS.c.folder == bindparam("folder"), JOBS.c.due_at.is_not(None)
    )
)


def finished(connection: Connection, since: datetime) -> dict[State, int]:
    """Return how many jobs came to an end at a moment or later, and still have."""
    states = (State.DONE, State.FAILED, State.VANISHED)
    statement = select(JOBS.c.state, func.count()).where(JOBS.c.state.in_(states), JOBS.c.changed_at >= since)
    found = {State(state): count for state, count in connection.execute(statement.group_by(JOBS.c.state))}
    return {state: found.get(state, 0) for state in states}


def spool_keys(connection: Connection) -> frozenset[str]:
    """Return the content keys of the jobs that may still need their spooled answer."""
    needed = (State.SENDING, State.RECEIVED, State.IN_DOUBT)
    may_need = or_(JOBS.c.state.in_(needed), SURPRISED)
    statement = select(JOBS.c.content_key).where(may_need, JOBS.c.content_key.is_not(None))
    return frozenset(key for key in connection.scalars(statement) if key is not None)


def made_otherwise(connection: Connection, folder: str, options: str) -> int:
    """Return how many cut-outs of a folder, whose sources stand, were not asked for with these options."""
    other = or_(JOBS.c.made_with.is_(None), JOBS.c.made_with != options)
    these = (JOBS.c.state == State.DONE.value, JOBS.c.folder == folder, JOBS.c.gone_at.is_(None), other)
    return connection.scalar(select(func.count()).where(*these)) or 0
