"""What calls cost and what was delivered for it, by folder, day, directory or picture: the same sums, in parts."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, TypeAlias

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    FromClause,
    Select,
    and_,
    case,
    func,
    literal,
    null,
    or_,
    select,
    type_coerce,
    union_all,
)

from rembg_watch.jobs import State
from rembg_watch.ledger import calls
from rembg_watch.ledger.rows import AnyRow, slices
from rembg_watch.ledger.schema import CALLS, DAYS, JOB_COUNTS, JOBS, Moment
from rembg_watch.ledger.values import Billed, By

_Part: TypeAlias = "Select[*tuple[Any, ...]]"

_DELIVERED_AT = func.coalesce(
    JOBS.c.delivered_at,
    case((JOBS.c.answer_digest.is_not(None), JOBS.c.changed_at)),  # an older version did not write it down
)
_IS_DELIVERED = or_(
    JOBS.c.state == State.DONE.value, and_(JOBS.c.state == State.RECEIVED.value, JOBS.c.delivered_at.is_not(None))
)
_SUMS = (*calls.SUMS, *calls.UNDER_WAY, "delivered")


def billed(
    connection: Connection,
    by: By,
    since: datetime | None = None,
    until: datetime | None = None,
    *,
    folders: Iterable[str] = (),
) -> list[Billed]:
    """
    Return what the calls of a time came to, in parts; together they are what ``calls.spending`` says of it.

    One statement, so that no call is counted twice or not at all where somebody makes, ends or prunes calls meanwhile.
    """
    only = frozenset(folders)

    def within(moment: ColumnElement[datetime]) -> list[ColumnElement[bool]]:
        return [*([moment >= since] if since else []), *([moment < until] if until else [])]

    def of_folders(table: FromClause) -> list[ColumnElement[bool]]:
        return [table.c.folder.in_(sorted(only))] if only else []

    parts = [
        _called(by).where(*within(CALLS.c.started_at), *of_folders(CALLS)),
        _delivered(by, since).where(*within(_DELIVERED_AT), *of_folders(JOBS)),
        _forgotten(by).where(*within(DAYS.c.day), *of_folders(DAYS)),
    ]
    return [_billed(by, row) for row in connection.execute(union_all(*parts))]


def _called(by: By) -> _Part:
    sums = [*calls.sums_of(CALLS), *calls.UNDER_WAY.values(), literal(0)]
    statement = _part(by, False, CALLS.c.folder, calls.day_of(CALLS.c.started_at), sums)
    if by in _PLACES:
        return statement.select_from(CALLS.outerjoin(JOBS, JOBS.c.id == CALLS.c.job_id))
    return statement.select_from(CALLS)


def _delivered(by: By, since: datetime | None) -> _Part:
    sums = [*[literal(0)] * (len(_SUMS) - 1), func.count()]
    statement = _part(by, False, JOBS.c.folder, calls.day_of(_DELIVERED_AT), sums)
    statement = statement.where(_IS_DELIVERED, _DELIVERED_AT.is_not(None))
    if since is None:
        return statement
    # nothing was delivered after it changed last, and for that there is an index, folder by folder
    return statement.where(JOBS.c.changed_at >= since, JOBS.c.folder.in_(select(JOB_COUNTS.c.folder)))


def _forgotten(by: By) -> _Part:
    day = type_coerce(DAYS.c.day, BigInteger)
    sums = [*calls.sums_of(DAYS), *[literal(0)] * len(calls.UNDER_WAY), func.coalesce(func.sum(DAYS.c.delivered), 0)]
    days = DAYS.c.day if by is By.DAY else func.max(day)
    statement = select(literal(True), DAYS.c.folder, days, _NOTHING, *sums)
    return statement.group_by(DAYS.c.folder, *([DAYS.c.day] if by is By.DAY else []))


_PLACES = {By.DIRECTORY: JOBS.c.parent, By.PICTURE: JOBS.c.source}
_NOTHING = null()


def _part(
    by: By,
    is_forgotten: bool,  # noqa: FBT001
    folder: ColumnElement[str],
    day: ColumnElement[datetime],
    sums: Sequence[ColumnElement[int]],
) -> _Part:
    """Return sums of a table, divided as it is asked for."""
    parts = [day] if by is By.DAY else [_PLACES[by]] if by in _PLACES else []
    shown = day if by is By.DAY else type_coerce(_NOTHING, Moment), _PLACES.get(by, _NOTHING)
    return select(literal(is_forgotten), folder, *shown, *sums).group_by(folder, *parts)


def _billed(by: By, row: AnyRow) -> Billed:
    is_forgotten, folder, day, place, *sums = row
    named = dict(zip(_SUMS, map(int, sums), strict=True))
    delivered = named.pop("delivered")
    return Billed(
        folder=folder,
        day=day,
        place=place,
        is_forgotten=is_forgotten or (by in _PLACES and place is None),
        delivered=delivered,
        spending=calls.spending_of(named),
    )


def fold_delivered(connection: Connection, ids: Sequence[int]) -> None:
    """Keep of these pictures, before they are forgotten, how many were delivered on which day."""
    day = calls.day_of(_DELIVERED_AT)
    for some in slices(ids):
        these = (JOBS.c.id.in_(some), _IS_DELIVERED, _DELIVERED_AT.is_not(None))
        counted = select(day, JOBS.c.folder, func.count()).where(*these).group_by(day, JOBS.c.folder)
        for day_at, folder, count in connection.execute(counted).all():
            calls.add_to_day(connection, day_at, folder, {"delivered": count})
