"""What the watch side writes: sources that came, were replaced, went away or came back, and what is unsettled."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, and_, delete, insert, select, update

from rembg_watch.jobs import REJECTED, State, Unsettled, Version
from rembg_watch.ledger.rows import SURPRISED, TURNED_DOWN, slices
from rembg_watch.ledger.schema import JOB_COUNTS, JOBS, UNSETTLED

REPLACED = "a newer version of the source took its place"
GONE = "the source went away before a cut-out of it was delivered"

_UNSENT = frozenset({State.QUEUED, State.HELD, State.FAILED})
"""States of a job that has nothing left to do once its source is gone."""


@dataclass(frozen=True, slots=True)
class _Known:
    """What a plan has to know of a row."""

    id: int
    version: Version
    state: State
    stands: bool
    is_disposed: bool
    is_turned_down: bool

    @property
    def is_wanted_again(self) -> bool:
        """Say if the source's coming back means work: not if its job goes on, or was done and nobody moved it."""
        if self.is_turned_down:
            return False
        return self.state in (State.VANISHED, State.FAILED) or (self.state is State.DONE and self.is_disposed)

    @property
    def yields(self) -> bool:
        """Say if a newer version of the source changes this row."""
        return self.stands or self.state in (State.FAILED, State.HELD, State.IN_DOUBT)


@dataclass(slots=True)
class _Plan:
    """What is to be done about sources that were seen."""

    wanted: list[bytes] = field(default_factory=list)  # they are queued: those that are fresh or come again
    fresh: list[tuple[bytes, Version]] = field(default_factory=list)
    replaced: list[int] = field(default_factory=list)
    again: list[int] = field(default_factory=list)  # they came back and are queued again
    back: list[int] = field(default_factory=list)  # they came back and need nothing


def _plan(seen: Mapping[bytes, Version], known: Mapping[bytes, Sequence[_Known]]) -> _Plan:
    plan = _Plan()
    for source, version in seen.items():
        rows = known.get(source, ())
        same = next((row for row in rows if row.version == version), None)
        if same is not None and same.stands:
            continue
        plan.replaced += [row.id for row in rows if row is not same and row.yields]
        if same is None or same.is_wanted_again:
            plan.wanted.append(source)
        if same is None:
            plan.fresh.append((source, version))
        else:
            (plan.again if same.is_wanted_again else plan.back).append(same.id)
    return plan


def add(connection: Connection, folder: str, seen: Mapping[bytes, Version], at: datetime) -> int:
    """Queue what is new among the sources that were *seen*; return how many that are."""
    plan = _plan(seen, _known(connection, folder, seen))
    _leave(connection, plan.replaced, at, REPLACED, JOBS.c.state.in_(_UNSENT | {State.IN_DOUBT}))
    _come_back(connection, plan, at)
    if plan.fresh:
        connection.execute(insert(JOBS), [_row(folder, source, version, at) for source, version in plan.fresh])
        _count(connection, folder, len(plan.fresh))
    return len(plan.wanted)


def _count(connection: Connection, folder: str, number: int) -> None:
    """Count new jobs, all of which are queued."""
    these = (JOB_COUNTS.c.folder == folder, JOB_COUNTS.c.state == State.QUEUED.value)
    more = update(JOB_COUNTS).where(*these).values(jobs=JOB_COUNTS.c.jobs + number)
    if connection.execute(more).rowcount == 0:
        connection.execute(insert(JOB_COUNTS), {"folder": folder, "state": State.QUEUED.value, "jobs": number})


def wanted(connection: Connection, folder: str, sources: Iterable[tuple[bytes, Version]]) -> frozenset[bytes]:
    """Return which of *sources* ``add`` would queue."""
    seen = dict(sources)
    return frozenset(_plan(seen, _known(connection, folder, seen)).wanted)


def reject(
    connection: Connection, folder: str, source: bytes, version: Version, *, says: Mapping[str, object], at: datetime
) -> bool:
    """Write down as failed a source that can never be sent, before anybody can claim it; return whether it is new."""
    if not add(connection, folder, {source: version}, at):
        return False
    here = (JOBS.c.folder == folder, JOBS.c.source == source, JOBS.c.gone_at.is_(None))
    fields = {"state": State.FAILED.value, "due_at": None, **says}
    connection.execute(update(JOBS).where(*here, JOBS.c.state == State.QUEUED.value).values(fields))
    return True


def _known(connection: Connection, folder: str, sources: Iterable[bytes]) -> dict[bytes, list[_Known]]:
    known: dict[bytes, list[_Known]] = {}
    for some in slices(sources):
        for row in connection.execute(_VERSIONS.where(JOBS.c.folder == folder, JOBS.c.source.in_(some))):
            version = Version(size_bytes=row.size_bytes, mtime_ns=row.mtime_ns, inode=row.inode)
            is_turned_down = row.state == State.FAILED and row.code == REJECTED
            one = _Known(row.id, version, State(row.state), row.gone_at is None, row.is_disposed, is_turned_down)
            known.setdefault(row.source, []).append(one)
    return known


_KNOWN_BY = ("id", "source", "size_bytes", "mtime_ns", "inode", "state", "code", "gone_at", "is_disposed")
_VERSIONS = select(*(JOBS.c[name] for name in _KNOWN_BY))


def _row(folder: str, source: bytes, version: Version, at: datetime) -> dict[str, object]:
    return {
        "folder": folder,
        "parent": source.rpartition(b"/")[0],
        "source": source,
        "size_bytes": version.size_bytes,
        "mtime_ns": version.mtime_ns,
        "inode": version.inode,
        "state": State.QUEUED.value,
        "enqueued_at": at,
        "changed_at": at,
        "due_at": at,
    }


def _come_back(connection: Connection, plan: _Plan, at: datetime) -> None:
    for some in slices(plan.back):
        connection.execute(update(JOBS).where(JOBS.c.id.in_(some)).values(gone_at=None))
    for some in slices(plan.again):
        connection.execute(
            update(JOBS)
            .where(JOBS.c.id.in_(some))
            .values(enqueued_at=at, due_at=at, gone_at=None, is_disposal_due=False, is_disposed=False)
            .values(**queued_anew(at))
        )


def queued_anew(at: datetime) -> dict[str, object]:
    """Return what a job forgets when it is put back in line as if it were new."""
    return {
        "state": State.QUEUED.value,
        "changed_at": at,
        "claimed_by": None,
        "attempts": 0,
        "retry_at": None,
        "reason": None,
        "code": None,
        "field": None,
        "finding": None,
        "is_accepted": False,
        "revision": JOBS.c.revision + 1,
    }


def gone(connection: Connection, folder: str, sources: Sequence[bytes], at: datetime) -> int:
    """Write down that *sources* are not there any more; return how many jobs vanish with them."""
    vanished = 0
    for some in slices(sources):
        here = (JOBS.c.folder == folder, JOBS.c.source.in_(some), JOBS.c.gone_at.is_(None))
        idle = and_(JOBS.c.state.in_(_UNSENT), ~SURPRISED)  # what was paid for and waits for a person goes on waiting
        vanished += _leave(connection, list(connection.scalars(select(JOBS.c.id).where(*here))), at, GONE, idle)
    return vanished


def _leave(
    connection: Connection, ids: Sequence[int], at: datetime, reason: str, vanishing: ColumnElement[bool]
) -> int:
    """Mark versions as gone; those that have nothing left to do vanish. That one was turned down stays known."""
    vanished = 0
    for some in slices(ids):
        these: ColumnElement[bool] = JOBS.c.id.in_(some)
        idle = JOBS.c.is_disposal_due.is_(False)
        values = queued_anew(at) | {"state": State.VANISHED.value, "reason": reason, "due_at": None}
        vanished += connection.execute(update(JOBS).where(these, vanishing, idle, ~TURNED_DOWN).values(values)).rowcount
        connection.execute(update(JOBS).where(these, JOBS.c.gone_at.is_(None)).values(gone_at=at))
    return vanished


def replace_unsettled(connection: Connection, folder: str, items: Mapping[bytes, Unsettled]) -> bool:
    """Make *items* the unsettled sources of a folder; return whether anything differed."""
    stored = {one.source: one for _, one in unsettled(connection, folder)}
    old = [source for source, one in stored.items() if items.get(source) != one]
    new = [one for source, one in items.items() if stored.get(source) != one]
    for some in slices(old):
        connection.execute(delete(UNSETTLED).where(UNSETTLED.c.folder == folder, UNSETTLED.c.source.in_(some)))
    if new:
        connection.execute(insert(UNSETTLED), [{"folder": folder, **asdict(one)} for one in new])
    return bool(old or new)


def unsettled(
    connection: Connection, folder: str | None = None, *, limit: int | None = None
) -> list[tuple[str, Unsettled]]:
    """Return what is unsettled, the longest first, each with its folder."""
    statement = select(UNSETTLED).order_by(UNSETTLED.c.since_at, UNSETTLED.c.folder, UNSETTLED.c.source).limit(limit)
    if folder is not None:
        statement = statement.where(UNSETTLED.c.folder == folder)
    return [
        (row.folder, Unsettled(source=row.source, size_bytes=row.size_bytes, since_at=row.since_at, reason=row.reason))
        for row in connection.execute(statement)
    ]
