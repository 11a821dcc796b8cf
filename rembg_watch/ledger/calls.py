"""The books of what was paid: one row per call, from the intent to its end, and their sums."""

from collections.abc import Iterable, Mapping
from datetime import datetime

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    FromClause,
    bindparam,
    case,
    delete,
    func,
    insert,
    select,
    type_coerce,
    update,
)

from rembg_watch.api.errors import Charge
from rembg_watch.jobs import CallEnd, CallStart, Job
from rembg_watch.ledger.prepared import Prepared
from rembg_watch.ledger.rows import AnyRow, slices
from rembg_watch.ledger.schema import CALLS, DAYS, JOBS, RECIPES, Moment, credits_of
from rembg_watch.ledger.values import CLOCK_READ_SKEW, Call, Spending

_DAY_US = 86_400_000_000
SUMS = ("calls", "charged", "doubtful", "in_doubt", "refused", "doubles", "repeats")
_MONEY = ("charged", "doubtful", "under_way_credits")


def start(connection: Connection, job: Job, call: CallStart) -> None:
    """Write down the intent to make a call, which may be charged until its end is known."""
    row = {
        "job_id": job.id,
        "folder": job.folder,
        "content_key": job.content_key,
        "this_content": job.content_key,
        "started_at": job.changed_at,
        "charge": Charge.MAYBE.value,
        "credits": call.price,
        "recipe": call.recipe,
        "sent_bytes": call.sent_bytes,
    }
    _START.run(connection, row)


_EARLIER = CALLS.alias("earlier")


def _worst(*which: ColumnElement[bool]) -> ColumnElement[str]:
    """Say in SQL how these earlier calls for the same content were booked: a doubt outweighs the rest."""
    have = {
        charge: select(_EARLIER.c.id).where(*which, _EARLIER.c.charge == charge.value).exists()
        for charge in (Charge.MAYBE, Charge.YES)
    }
    return case(*((condition, charge.value) for charge, condition in have.items()), else_=Charge.NO.value)


_START = Prepared(
    insert(CALLS).inline().values(follows=_worst(_EARLIER.c.content_key == bindparam("this_content"))),
    sets=("job_id", "folder", "content_key", "started_at", "charge", "credits", "recipe", "sent_bytes"),
)


def newest(connection: Connection, job_id: int) -> "AnyRow | None":
    """Return the last call that was made for a job."""
    found: AnyRow | None = _NEWEST.first(connection, {"job_id": job_id})
    return found


_NEWEST = Prepared(select(CALLS).where(CALLS.c.job_id == bindparam("job_id")).order_by(CALLS.c.id.desc()).limit(1))


def end_open(connection: Connection, job: Job, call: CallEnd) -> bool:
    """Write down what the last call of *job* came to, if that was not known yet; say if so."""
    return _END_OPEN.run(connection, {"this_job": job.id, "ended_at": job.changed_at, **_ending(call)}) == 1


LONGEST_WORDS = 300
"""So much is kept of what an API says, in characters: a proxy may answer with a page."""

_KNOWN_OF_END = ("status", "answer_bytes", "request_id", "words")
_ENDS = ("ended_at", "charge", "credits", "code", *_KNOWN_OF_END)


def _ending(call: CallEnd) -> dict[str, object]:
    words = call.words if call.words is None else call.words[:LONGEST_WORDS]
    return {
        "charge": call.charge.value,
        "credits": call.credits,
        "code": call.code,
        "status": call.status,
        "answer_bytes": call.answer_bytes,
        "request_id": call.request_id,
        "words": words,
    }


_LAST = select(func.max(_EARLIER.c.id)).where(_EARLIER.c.job_id == bindparam("this_job")).scalar_subquery()
_END_OPEN = Prepared(update(CALLS).where(CALLS.c.id == _LAST, CALLS.c.ended_at.is_(None)), sets=_ENDS)


def end(connection: Connection, job: Job, call: CallEnd) -> CallEnd | None:
    """Write down what the last call of *job* came to; return how it was booked before, if its end was known already."""
    row = newest(connection, job.id)
    if row is None:
        raise ValueError(f"job {job.id} made no call that could end")
    was = None if row.ended_at is None else CallEnd(Charge(row.charge), row.credits, row.code)
    values = _ending(call)
    known = {name: getattr(row, name) for name in _KNOWN_OF_END if values[name] is None}  # it was booked anew, no more
    _END.run(connection, {"this_id": row.id, "ended_at": row.ended_at or job.changed_at, **values, **known})
    if was is not None and was.charge is not call.charge:
        _follow_again(connection, row.content_key)
    return was


_END = Prepared(update(CALLS).where(CALLS.c.id == bindparam("this_id")), sets=_ENDS)


def of_jobs(connection: Connection, job_ids: Iterable[int]) -> dict[int, list[Call]]:
    """Return the calls that were made for each of these jobs, in their order; jobs without any are left out."""
    found: dict[int, list[Call]] = {}
    for some in slices(job_ids):
        for row in connection.execute(_OF_JOBS.where(CALLS.c.job_id.in_(some)).order_by(CALLS.c.id)):
            one = Call(**dict(row._mapping) | {"charge": Charge(row.charge)})
            found.setdefault(one.job_id, []).append(one)
    return found


_OF_JOBS = select(*(CALLS.c[name] for name in Call.__dataclass_fields__))


def keep_recipes(connection: Connection, options: Mapping[str, str]) -> None:
    """Remember the options behind digests."""
    known = set(connection.scalars(select(RECIPES.c.digest).where(RECIPES.c.digest.in_(sorted(options)))))
    new = [{"digest": digest, "options": text} for digest, text in options.items() if digest not in known]
    if new:
        connection.execute(insert(RECIPES), new)


def recipes(connection: Connection) -> dict[str, str]:
    """Return all options that were ever remembered, by their digests."""
    return {row.digest: row.options for row in connection.execute(select(RECIPES))}


def _follow_again(connection: Connection, content_key: str) -> None:
    """Say of each call anew what came before it: one of them was booked differently."""
    before = _worst(_EARLIER.c.content_key == CALLS.c.content_key, _EARLIER.c.id < CALLS.c.id)
    connection.execute(update(CALLS).where(CALLS.c.content_key == content_key).values(follows=before))


def sums_of(table: FromClause) -> list[ColumnElement[int]]:
    """Return the sums of calls, or of what is kept of those that were pruned, in the order of ``SUMS``."""
    if table is DAYS:
        return [func.coalesce(func.sum(DAYS.c[name]), 0) for name in SUMS]
    paid = CALLS.c.charge != Charge.NO.value
    credits_column = type_coerce(CALLS.c.credits, BigInteger)
    return [
        func.count(),
        _sum_where(CALLS.c.charge == Charge.YES.value, credits_column),
        _sum_where(CALLS.c.charge == Charge.MAYBE.value, credits_column),
        _sum_where(CALLS.c.charge == Charge.MAYBE.value, 1),
        _sum_where(CALLS.c.charge == Charge.NO.value, 1),
        _sum_where((CALLS.c.follows == Charge.MAYBE.value) & paid, 1),
        _sum_where((CALLS.c.follows == Charge.YES.value) & paid, 1),
    ]


def _sum_where(met: ColumnElement[bool], value: ColumnElement[int] | int) -> ColumnElement[int]:
    return func.coalesce(func.sum(case((met, value), else_=0)), 0)


UNDER_WAY = {
    "under_way": _sum_where(CALLS.c.ended_at.is_(None), 1),
    "under_way_credits": _sum_where(CALLS.c.ended_at.is_(None), type_coerce(CALLS.c.credits, BigInteger)),
}
"""More sums, of calls alone: of what was pruned nothing is under way."""


def spending(
    connection: Connection,
    since: datetime | None = None,
    until: datetime | None = None,
    *,
    folders: Iterable[str] = (),
    after_call: int | None = None,
) -> Spending:
    """Sum up the calls that began in a time; None is the beginning, and no end."""
    only = frozenset(folders)
    total = dict.fromkeys((*SUMS, *UNDER_WAY), 0)
    for table, moment in ((CALLS, CALLS.c.started_at), (DAYS, DAYS.c.day)):
        if after_call is not None and table is DAYS:
            continue  # those were before
        sums = dict(zip(SUMS, sums_of(table), strict=True)) | (UNDER_WAY if table is CALLS else {})
        statement = select(*sums.values()).select_from(table)
        statement = statement.where(moment >= since) if since else statement
        statement = statement.where(moment < until) if until else statement
        statement = statement.where(table.c.folder.in_(sorted(only))) if only else statement
        statement = statement if after_call is None else statement.where(CALLS.c.id > after_call)
        for name, value in zip(sums, connection.execute(statement).one(), strict=True):
            total[name] += int(value)
    return spending_of(total)


def spending_of(total: Mapping[str, int]) -> Spending:
    """Return sums, by their names, as what is spent; those that are left out are nothing."""
    money = {name: credits_of(total.get(name, 0)) for name in _MONEY}
    return Spending(**money, **{name: total[name] for name in total if name not in money})  # type: ignore[arg-type]


def last(connection: Connection) -> int:
    """Return the id of the call that began last, 0 if there was none."""
    return connection.scalar(select(func.max(CALLS.c.id))) or 0


def ahead(connection: Connection, at: datetime, limit: int) -> list[int]:
    """Return calls that began later than now, which is by a clock that was set back since."""
    return [row.id for row in _AHEAD.all(connection, {"at": at + CLOCK_READ_SKEW, "most": limit})]


_AHEAD = Prepared(select(CALLS.c.id).where(CALLS.c.started_at > bindparam("at")).limit(bindparam("most")))


def pull_in(connection: Connection, at: datetime, limit: int) -> int:
    """Let up to *limit* calls have begun now that lie ahead."""
    ids = ahead(connection, at, limit)
    for some in slices(ids):
        connection.execute(update(CALLS).where(CALLS.c.id.in_(some)).values(started_at=at))
    return len(ids)


def prunable(connection: Connection, before: datetime, limit: int) -> list[int]:
    """Return calls from before *before* whose job is not remembered any more."""
    orphan = ~select(JOBS.c.id).where(JOBS.c.id == CALLS.c.job_id).exists()
    return list(connection.scalars(select(CALLS.c.id).where(CALLS.c.started_at < before, orphan).limit(limit)))


def fold(connection: Connection, ids: list[int]) -> None:
    """Keep of these calls their sums alone."""
    for some in slices(ids):
        these = CALLS.c.id.in_(some)
        day = day_of(CALLS.c.started_at)
        rows = connection.execute(
            select(day, CALLS.c.folder, *sums_of(CALLS)).where(these).group_by(day, CALLS.c.folder)
        )
        for day_at, folder, *sums in rows.all():
            add_to_day(connection, day_at, folder, dict(zip(SUMS, map(int, sums), strict=True)))
        connection.execute(delete(CALLS).where(these))


def day_of(moment: ColumnElement[datetime]) -> ColumnElement[datetime]:
    """Return in SQL when the UTC day of a moment began."""
    us = type_coerce(moment, BigInteger)
    return type_coerce(us - us % _DAY_US, Moment)


def add_to_day(connection: Connection, day_at: datetime, folder: str, sums: Mapping[str, int]) -> None:
    """Add sums, by their names, to what is kept of a day."""
    this = (DAYS.c.day == day_at, DAYS.c.folder == folder)
    more = {name: DAYS.c[name] + value for name, value in sums.items()}
    if connection.execute(update(DAYS).where(*this).values(more)).rowcount == 0:
        connection.execute(insert(DAYS), {"day": day_at, "folder": folder, **dict.fromkeys(SUMS, 0), **sums})
