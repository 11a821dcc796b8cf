"""
What the pipeline writes: jobs that are claimed, moved on, recovered and tried again.

Portable SQL. A job is only recorded by one who knows its latest revision, and only on
a way that TRANSITIONS knows; all else would lose what somebody else recorded.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import groupby

from sqlalchemy import Connection, bindparam, case, func, select, update

from rembg_watch.api.errors import Charge
from rembg_watch.jobs import TRANSITIONS, WORKING, CallEnd, CallStart, IllegalTransitionError, Job, State, book, move
from rembg_watch.ledger import calls
from rembg_watch.ledger.intake import queued_anew
from rembg_watch.ledger.prepared import Prepared
from rembg_watch.ledger.rows import AnyRow, jobs_by_id, jobs_where, slices
from rembg_watch.ledger.schema import JOBS
from rembg_watch.ledger.values import Recovery, SendingTwiceError, StaleJobError, Turn, take_turns

IN_LINE = (State.QUEUED, State.RECEIVED)
"""States in which a job waits to be claimed: to be sent, or to be published."""

RETRYABLE = frozenset({State.FAILED, State.HELD, State.IN_DOUBT})
CRASHED = "the program ended while this was being sent; whether it was charged is not known"

_PLACE_IN_LINE = func.coalesce(JOBS.c.retry_at, JOBS.c.enqueued_at)
_OTHER = JOBS.alias("other")
_LINE = (
    select(JOBS.c.id)
    .where(
        JOBS.c.state == bindparam("state"),
        JOBS.c.folder == bindparam("folder"),
        JOBS.c.due_at <= bindparam("at"),
    )
    .order_by(JOBS.c.due_at, JOBS.c.id)
    .limit(bindparam("most"))
)
_LINE_TO_SEND = _LINE.where(
    # an older version of the source that is paid for goes first, or its cutout would replace the newer one's
    ~select(_OTHER.c.id)
    .where(_OTHER.c.folder == JOBS.c.folder, _OTHER.c.source == JOBS.c.source, _OTHER.c.state.in_(sorted(WORKING)))
    .exists()
)
_FOUND = Prepared(
    select(JOBS.c.state, JOBS.c.revision, JOBS.c.claimed_by, JOBS.c.gone_at).where(JOBS.c.id == bindparam("id"))
)
_SENDING = Prepared(
    select(JOBS.c.id).where(JOBS.c.content_key == bindparam("content_key"), JOBS.c.state == State.SENDING.value)
)
_KEPT = (
    "changed_at",
    "attempts",
    "doubts",
    "retry_at",
    "content_key",
    "answer_digest",
    "answer_bytes",
    "target",
    "charged",
    "reason",
    "code",
    "field",
    "request_id",
    "is_disposal_due",
    "is_disposed",
)
_STORE = Prepared(
    update(JOBS).where(JOBS.c.id == bindparam("this_id"), JOBS.c.revision == bindparam("this_revision")),
    sets=(*_KEPT, "state", "claimed_by", "due_at", "gone_at", "revision"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Claiming:
    """What is claimed, and for whom."""

    limit: int
    at: datetime
    run_id: str
    turns: Sequence[Turn]
    state: State
    first: int  # whose turn it is among folders of one priority


def claim(connection: Connection, claiming: Claiming) -> list[Job]:
    """Take jobs that are due: by priority, folders of one priority in turn, the oldest of each first."""
    ids: list[int] = []
    ranked = sorted(claiming.turns, key=lambda turn: -turn.priority)
    for _, equal in groupby(ranked, key=lambda turn: turn.priority):
        left = claiming.limit - len(ids)
        lines = [_line(connection, claiming, turn, left) for turn in equal] if left > 0 else []
        ids += take_turns([line for line in lines if line], left, first=claiming.first)
    for some in slices(ids):
        connection.execute(update(JOBS).where(JOBS.c.id.in_(some)).values(claimed_by=claiming.run_id, due_at=None))
    return jobs_by_id(connection, ids)


def _line(connection: Connection, claiming: Claiming, turn: Turn, left: int) -> list[int]:
    most = left if turn.at_most is None else min(left, turn.at_most)
    statement = _LINE_TO_SEND if claiming.state is State.QUEUED else _LINE
    parameters = {"state": claiming.state.value, "folder": turn.folder, "at": claiming.at, "most": max(most, 0)}
    return list(connection.scalars(statement, parameters))


def release(connection: Connection, ids: Sequence[int]) -> int:
    """Put claimed jobs back to their place in line, as they were."""
    released = 0
    for some in slices(ids):
        claimed = (JOBS.c.id.in_(some), JOBS.c.claimed_by.is_not(None))
        released += connection.execute(update(JOBS).where(*claimed).values(_UNCLAIMED)).rowcount
    return released


_UNCLAIMED = {
    "claimed_by": None,
    "due_at": case((JOBS.c.state.in_(IN_LINE), _PLACE_IN_LINE), else_=None),
}


def record(connection: Connection, job: Job, call: CallStart | CallEnd | None, *, keeps_claim: bool) -> Job:
    """
    Store a job that was moved on, with the call that began or ended.

    Raises:
        StaleJobError: Somebody recorded the job since it was read.
        IllegalTransitionError: The stored state cannot become this one.
        SendingTwiceError: Another job is sending the same content.
        ValueError: What is recorded about calls does not fit the state.
    """
    found = _FOUND.first(connection, {"id": job.id})
    if found is None or found.revision != job.revision:
        raise StaleJobError(job, None if found is None else State(found.state))
    if job.state not in TRANSITIONS[State(found.state)]:
        raise IllegalTransitionError(f"job {job.id}: {found.state} in the ledger cannot become {job.state}")
    return _store(connection, _booked(connection, job, State(found.state), call), found, keeps_claim=keeps_claim)


def _booked(connection: Connection, job: Job, was: State, call: CallStart | CallEnd | None) -> Job:
    if isinstance(call, CallStart) is not (job.state is State.SENDING):
        raise ValueError(f"job {job.id}: a call starts with state sending, and with no other ({job.state})")
    if isinstance(call, CallStart):
        _send_once(connection, job)
        calls.start(connection, job, call)
    elif call is not None:
        return book(job, call, instead_of=calls.end(connection, job, call))
    elif was is State.SENDING:
        raise ValueError(f"job {job.id} was being sent: say what the call came to")
    return job


def _send_once(connection: Connection, job: Job) -> None:
    if job.content_key is None:
        raise ValueError(f"job {job.id} cannot be sent before its content is known")
    other = _SENDING.scalar(connection, {"content_key": job.content_key})
    if other is not None:
        raise SendingTwiceError(job, other)


def _store(connection: Connection, job: Job, found: AnyRow, *, keeps_claim: bool) -> Job:
    stands = not job.is_disposed and job.state is not State.VANISHED
    gone_at = found.gone_at if stands else found.gone_at or job.changed_at
    stored = replace(job, revision=job.revision + 1, gone_at=gone_at)
    claimed_by = found.claimed_by if keeps_claim else None
    is_in_line = claimed_by is None and job.state in IN_LINE
    values = {name: getattr(stored, name) for name in _KEPT} | {
        "state": stored.state.value,
        "claimed_by": claimed_by,
        "due_at": (stored.retry_at or stored.enqueued_at) if is_in_line else None,
        "gone_at": gone_at,
        "revision": stored.revision,
        "this_id": job.id,
        "this_revision": job.revision,
    }
    if _STORE.run(connection, values) != 1:
        raise StaleJobError(job, State(found.state))
    return stored


def recover(connection: Connection, at: datetime) -> Recovery:
    """Put right what a run left that ended in the middle; see ``Ledger.recover``."""
    crashed = jobs_where(connection, JOBS.c.state == State.SENDING.value)
    for job in crashed:
        _doubt(connection, job, at)
    claimed = update(JOBS).where(JOBS.c.claimed_by.is_not(None)).values(_UNCLAIMED)
    claims = connection.execute(claimed).rowcount
    in_doubt = jobs_where(connection, JOBS.c.state == State.IN_DOUBT.value)
    received = connection.scalar(select(func.count()).where(JOBS.c.state == State.RECEIVED.value)) or 0
    return Recovery(in_doubt=tuple(in_doubt), crashed=len(crashed), received=received, claims=claims)


def _doubt(connection: Connection, job: Job, at: datetime) -> None:
    call = calls.newest(connection, job.id)
    assert call is not None  # written in the transaction that made the job sending
    doubted = move(job, State.IN_DOUBT, at=at, doubts=job.doubts + 1, reason=CRASHED, code="crash")
    record(connection, doubted, CallEnd(Charge.MAYBE, call.credits, "crash"), keeps_claim=False)


def retry(connection: Connection, ids: Sequence[int], at: datetime) -> int:
    """Put jobs back in line that are failed, held or in doubt and whose source stands."""
    queued = 0
    for some in slices(ids):
        meant = (JOBS.c.id.in_(some), JOBS.c.state.in_(sorted(RETRYABLE)), JOBS.c.gone_at.is_(None))
        values = queued_anew(at) | {"due_at": JOBS.c.enqueued_at, "is_disposal_due": False}
        queued += connection.execute(update(JOBS).where(*meant).values(values)).rowcount
    return queued
