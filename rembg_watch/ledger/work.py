"""
What the pipeline writes: jobs that are claimed, moved on, recovered and tried again.

Portable SQL. A job is only recorded by one who knows its latest revision, and only on
a way that TRANSITIONS knows; all else would lose what somebody else recorded.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cache
from itertools import groupby
from typing import Any

from sqlalchemy import ColumnElement, Connection, bindparam, case, func, literal, null, or_, select, update

from rembg_watch.api.errors import Charge
from rembg_watch.jobs import (
    REJECTED,
    TRANSITIONS,
    WORKING,
    CallEnd,
    CallStart,
    IllegalTransitionError,
    Job,
    State,
    book,
    move,
)
from rembg_watch.ledger import calls
from rembg_watch.ledger.intake import queued_anew
from rembg_watch.ledger.prepared import Prepared
from rembg_watch.ledger.rows import RECORDED, SURPRISED, TURNED_DOWN, jobs_by_id, jobs_where, slices, undelivered
from rembg_watch.ledger.schema import CALLS, JOBS, Moment
from rembg_watch.ledger.values import CLOCK_READ_SKEW, Recovery, SendingTwiceError, StaleJobError, Turn, take_turns

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
_FOUND = Prepared(select(JOBS.c.state, JOBS.c.revision).where(JOBS.c.id == bindparam("id")))
_SENT_BY_ANOTHER = select(_OTHER.c.id).where(
    _OTHER.c.content_key == bindparam("sent_key"), _OTHER.c.state == State.SENDING.value
)
_SENDING = Prepared(_SENT_BY_ANOTHER)


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
    is_to_send = claiming.state is State.QUEUED
    most = min(left, turn.at_most) if is_to_send and turn.at_most is not None else left
    statement = _LINE_TO_SEND if is_to_send else _LINE
    parameters = {"state": claiming.state.value, "folder": turn.folder, "at": claiming.at, "most": max(most, 0)}
    return list(connection.scalars(statement, parameters))


def pull_in(connection: Connection, folder: str, at: datetime, limit: int) -> int:
    """Make up to *limit* jobs due that only a wrong clock put off; see ``Ledger.pull_in``."""
    ids = _put_off(connection, folder, at, limit)
    now = literal(at, Moment)
    values: dict[str, object] = {name: case((JOBS.c[name] > now, now), else_=JOBS.c[name]) for name in _WRITTEN_AT}
    for some in slices(ids):
        connection.execute(update(JOBS).where(JOBS.c.id.in_(some)).values(values | {"due_at": at, "retry_at": None}))
    return len(ids)


def is_put_off(connection: Connection, folder: str, at: datetime) -> bool:
    """Say if a job of the folder waits for a moment that only a wrong clock can have named."""
    return bool(_put_off(connection, folder, at, 1))


def _put_off(connection: Connection, folder: str, at: datetime, most: int) -> list[int]:
    parameters = {"folder": folder, "ahead_at": at + CLOCK_READ_SKEW, "beyond_at": at + _LONGEST_WAIT, "most": most}
    return [row.id for state in IN_LINE for row in _PUT_OFF.all(connection, parameters | {"state": state.value})]


_LONGEST_WAIT = timedelta(hours=2)  # no job is ever put off for longer: more comes from a wrong clock
_WRITTEN_AT = ("enqueued_at", "changed_at")
_PUT_OFF = Prepared(
    select(JOBS.c.id)
    .where(
        JOBS.c.state == bindparam("state"),
        JOBS.c.folder == bindparam("folder"),
        JOBS.c.due_at > bindparam("ahead_at"),
        or_(
            JOBS.c.retry_at.is_(None),  # its place is the moment at which it came
            JOBS.c.changed_at > bindparam("ahead_at"),
            JOBS.c.retry_at > bindparam("beyond_at"),
        ),
    )
    .limit(bindparam("most"))
)


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

    What is expected is tried at once, with all that speaks against it as a condition; what it was
    that spoke against it is looked up only then, and raised as ``Jobs.record`` promises.
    """
    if isinstance(call, CallStart) is not (job.state is State.SENDING) or (
        isinstance(call, CallStart) and job.content_key is None
    ):
        _object(connection, job, call)
    if isinstance(call, CallEnd):
        job = _booked(connection, job, call)
    stands = not job.is_disposed and job.state is not State.VANISHED
    stored = replace(job, revision=job.revision + 1, gone_at=job.gone_at if stands else job.gone_at or job.changed_at)
    values = {name: getattr(stored, name) for name in RECORDED} | {
        "state": stored.state.value,
        "revision": stored.revision,
        "this_place": stored.retry_at or stored.enqueued_at,
        "this_moment": stored.changed_at,
        "this_id": job.id,
        "this_revision": job.revision,
        "sent_key": job.content_key,
    }
    store = _storing(job.state, ends_call=isinstance(call, CallEnd), keeps_claim=keeps_claim, stands=stands)
    if store.run(connection, values) != 1:
        _object(connection, job, call)
        raise StaleJobError(job, None)
    if isinstance(call, CallStart):
        calls.start(connection, job, call)
    return stored


@cache
def _storing(state: State, *, ends_call: bool, keeps_claim: bool, stands: bool) -> Prepared:
    """Return the statement that stores a job in *state* unless ``_object`` has something against it."""
    before = [one for one in State if state in TRANSITIONS[one] and (ends_call or one is not State.SENDING)]
    conditions: list[ColumnElement[bool]] = [
        JOBS.c.id == bindparam("this_id"),
        JOBS.c.revision == bindparam("this_revision"),
        or_(*(JOBS.c.state == one.value for one in before)),
    ]
    if state is State.SENDING:
        conditions.append(~_SENT_BY_ANOTHER.exists())
    place: ColumnElement[Any] = bindparam("this_place", type_=Moment) if state in IN_LINE else null()
    values: dict[str, ColumnElement[Any]] = {"due_at": place, "claimed_by": null()}
    if keeps_claim:
        values = {"due_at": case((JOBS.c.claimed_by.is_(None), place), else_=null())}
    if not stands:
        values["gone_at"] = func.coalesce(JOBS.c.gone_at, bindparam("this_moment", type_=Moment))
    return Prepared(update(JOBS).where(*conditions).values(values), sets=(*RECORDED, "state", "revision"))


def _booked(connection: Connection, job: Job, call: CallEnd) -> Job:
    """Write down the end of the job's call, or book anew one whose end was known, and add it to the job's own books."""
    if calls.end_open(connection, job, call):
        return book(job, call)
    _object(connection, job, call)
    return book(job, call, instead_of=calls.end(connection, job, call))


def _object(connection: Connection, job: Job, call: CallStart | CallEnd | None) -> None:
    """Raise what speaks against storing a job, if anything does; see ``record``."""
    found = _FOUND.first(connection, {"id": job.id})
    if found is None or found.revision != job.revision:
        raise StaleJobError(job, None if found is None else State(found.state))
    if job.state not in TRANSITIONS[State(found.state)]:
        raise IllegalTransitionError(f"job {job.id}: {found.state} in the ledger cannot become {job.state}")
    if isinstance(call, CallStart) is not (job.state is State.SENDING):
        raise ValueError(f"job {job.id}: a call starts with state sending, and with no other ({job.state})")
    if call is None and found.state == State.SENDING:
        raise ValueError(f"job {job.id} was being sent: say what the call came to")
    if isinstance(call, CallStart):
        if job.content_key is None:
            raise ValueError(f"job {job.id} cannot be sent before its content is known")
        other = _SENDING.scalar(connection, {"sent_key": job.content_key})
        if other is not None:
            raise SendingTwiceError(job, other)


def recover(connection: Connection, at: datetime) -> Recovery:
    """Put right what a run left that ended in the middle; see ``Ledger.recover``."""
    crashed = jobs_where(connection, JOBS.c.state == State.SENDING.value)
    for job in crashed:
        _doubt(connection, job, at)
    claimed = update(JOBS).where(JOBS.c.claimed_by.is_not(None)).values(_UNCLAIMED)
    claims = connection.execute(claimed).rowcount
    connection.execute(_NEVER_SENT.where(JOBS.c.due_at > at).values(due_at=JOBS.c.enqueued_at, retry_at=None))
    in_doubt = jobs_where(connection, JOBS.c.state == State.IN_DOUBT.value)
    received = connection.scalar(select(func.count()).where(JOBS.c.state == State.RECEIVED.value)) or 0
    return Recovery(in_doubt=tuple(in_doubt), crashed=len(crashed), received=received, claims=claims)


_NEVER_SENT = update(JOBS).where(
    JOBS.c.state == State.QUEUED.value,
    JOBS.c.retry_at.is_not(None),
    ~select(CALLS.c.id).where(CALLS.c.job_id == JOBS.c.id).exists(),
)
"""What was put off for a reason of this machine, such as a folder that takes nothing: a person may have mended it."""


def _doubt(connection: Connection, job: Job, at: datetime) -> None:
    call = calls.newest(connection, job.id)
    assert call is not None  # written in the transaction that made the job sending
    doubted = move(job, State.IN_DOUBT, at=at, doubts=job.doubts + 1, reason=CRASHED, code="crash")
    record(connection, doubted, CallEnd(Charge.MAYBE, call.credits, "crash"), keeps_claim=False)


def hurry(connection: Connection, folder: str, at: datetime, *, but: Collection[str] = ()) -> int:
    """Make paid answers due that wait to be published in a folder, but for those with certain codes."""
    waiting = (undelivered(folder, but), JOBS.c.claimed_by.is_(None), JOBS.c.due_at > at)
    return connection.execute(update(JOBS).where(*waiting).values(due_at=at)).rowcount


def retry(connection: Connection, ids: Sequence[int], at: datetime) -> int:
    """Put jobs back in line that are failed, held or in doubt and whose source stands."""
    queued = 0
    for some in slices(ids):
        meant = (JOBS.c.id.in_(some), JOBS.c.state.in_(sorted(RETRYABLE)), JOBS.c.gone_at.is_(None), ~TURNED_DOWN)
        values = queued_anew(at) | {"due_at": JOBS.c.enqueued_at, "is_disposal_due": False}
        queued += connection.execute(update(JOBS).where(*meant).values(values)).rowcount
    return queued


def waiting(connection: Connection, ids: Sequence[int]) -> list[Job]:
    """Return those of these jobs whose answer waits for a person."""
    return [job for some in slices(ids) for job in jobs_where(connection, JOBS.c.id.in_(some), SURPRISED)]


def redoable(connection: Connection, ids: Sequence[int]) -> list[int]:
    """Return those of these jobs that can be made anew."""
    found = (select(JOBS.c.id).where(JOBS.c.id.in_(some), *REDOABLE_NOW) for some in slices(ids))
    return [id_ for statement in found for id_ in connection.scalars(statement)]


def with_twins(connection: Connection, ids: Sequence[int]) -> list[int]:
    """Add those whose held answer is the very same: it goes for all of them, and they take the new one."""
    found = dict.fromkeys(ids)
    for some in slices(ids):
        mine = select(JOBS.c.content_key).where(JOBS.c.id.in_(some), JOBS.c.content_key.is_not(None))
        twins = select(JOBS.c.id).where(JOBS.c.content_key.in_(mine), SURPRISED, JOBS.c.gone_at.is_(None))
        found |= dict.fromkeys(connection.scalars(twins))
    return list(found)


def accept(connection: Connection, ids: Sequence[int], at: datetime) -> int:
    """Let held answers of an unexpected size be published as they are."""
    accepted = 0
    for some in slices(ids):
        values = {"state": State.RECEIVED.value, "is_accepted": True, "changed_at": at, "due_at": JOBS.c.enqueued_at}
        values |= {"claimed_by": None, "retry_at": None, "reason": None, "code": None, "revision": JOBS.c.revision + 1}
        accepted += connection.execute(update(JOBS).where(JOBS.c.id.in_(some), SURPRISED).values(values)).rowcount
    return accepted


def turn_down(connection: Connection, ids: Sequence[int], at: datetime) -> int:
    """Let held answers never be delivered, nor bought again by themselves."""
    turned = 0
    for some in slices(ids):
        values = {"state": State.FAILED.value, "changed_at": at, "due_at": None, "claimed_by": None, "retry_at": None}
        values |= {"reason": TURNED_DOWN_WORDS, "code": REJECTED, "revision": JOBS.c.revision + 1}
        turned += connection.execute(update(JOBS).where(JOBS.c.id.in_(some), SURPRISED).values(values)).rowcount
    return turned


TURNED_DOWN_WORDS = 'a person rejected its cut-out; "rembg-watch redo" pays for another one'


def redo(connection: Connection, ids: Sequence[int], at: datetime) -> int:
    """Put jobs back in line to be paid for anew that are done, or whose answer surprised, and whose source stands."""
    queued = 0
    for some in slices(ids):
        values = queued_anew(at) | {"due_at": at, "enqueued_at": at, "redo_at": at, "answer_digest": None}
        values |= {"answer_bytes": 0, "published_digest": None, "published_bytes": None, "is_disposal_due": False}
        values |= {"answer_w": None, "answer_h": None, "figures": None, "delivered_at": None}
        queued += connection.execute(update(JOBS).where(JOBS.c.id.in_(some), *REDOABLE_NOW).values(values)).rowcount
    return queued


REDOABLE_NOW = (or_(JOBS.c.state == State.DONE.value, SURPRISED, TURNED_DOWN), JOBS.c.gone_at.is_(None))
"""What a job is that can be made anew: a cut-out, or an answer that is held or rejected, and a source that stands."""
