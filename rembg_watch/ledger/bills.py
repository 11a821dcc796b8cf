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
    func,
    literal,
    null,
    select,
    type_coerce,
    union_all,
)

from rembg_watch.ledger import calls
from rembg_watch.ledger.rows import AnyRow, slices
from rembg_watch.ledger.schema import CALLS, DAYS, JOBS, Moment
from rembg_watch.ledger.values import Billed, By

_Part: TypeAlias = "Select[*tuple[Any, ...]]"

_KEY = ("is_forgotten", "folder", "day", "place")
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
        _delivered(by).where(*within(JOBS.c.delivered_at), *of_folders(JOBS)),
        _forgotten(by).where(*within(DAYS.c.day), *of_folders(DAYS)),
    ]
    all_of_it = union_all(*parts).subquery()
    key, sums = [all_of_it.c[name] for name in _KEY], [func.sum(all_of_it.c[name]) for name in _SUMS]
    return [_billed(by, row) for row in connection.execute(select(*key, *sums).group_by(*key))]


def _called(by: By) -> _Part:
    sums = [*calls.sums_of(CALLS), *calls.UNDER_WAY.values(), literal(0)]
    statement = _part(by, CALLS.c.folder, calls.day_of(CALLS.c.started_at), sums)
    if by in _PLACES:
        return statement.select_from(CALLS.outerjoin(JOBS, JOBS.c.id == CALLS.c.job_id))
    return statement.select_from(CALLS)


def _delivered(by: By) -> _Part:
    sums = [*[literal(0)] * (len(_SUMS) - 1), func.count()]
    statement = _part(by, JOBS.c.folder, calls.day_of(JOBS.c.delivered_at), sums)
    return statement.where(JOBS.c.delivered_at.is_not(None))


def _forgotten(by: By) -> _Part:
    sums = [*calls.sums_of(DAYS), *[literal(0)] * len(calls.UNDER_WAY), func.coalesce(func.sum(DAYS.c.delivered), 0)]
    day = DAYS.c.day if by is By.DAY else type_coerce(func.max(type_coerce(DAYS.c.day, BigInteger)), Moment)
    statement = _named(literal(True), DAYS.c.folder, day, null(), sums)
    return statement.group_by(DAYS.c.folder, *([DAYS.c.day] if by is By.DAY else []))


_PLACES = {By.DIRECTORY: JOBS.c.parent, By.PICTURE: JOBS.c.source}


def _part(
    by: By, folder: ColumnElement[str], day: ColumnElement[datetime], sums: Sequence[ColumnElement[int]]
) -> _Part:
    """Return sums of a table, divided as it is asked for."""
    place = _PLACES.get(by)
    shown_day = day if by is By.DAY else type_coerce(null(), Moment)
    statement = _named(literal(False), folder, shown_day, null() if place is None else place, sums)
    return statement.group_by(folder, *([day] if by is By.DAY else []), *([] if place is None else [place]))


def _named(*key_and_sums: Any) -> _Part:  # noqa: ANN401 - columns of any type, and at last a list of them
    *key, sums = key_and_sums
    columns = zip((*_KEY, *_SUMS), (*key, *sums), strict=True)
    return select(*(column.label(name) for name, column in columns))


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
    day = calls.day_of(JOBS.c.delivered_at)
    for some in slices(ids):
        these = (JOBS.c.id.in_(some), JOBS.c.delivered_at.is_not(None))
        counted = select(day, JOBS.c.folder, func.count()).where(*these).group_by(day, JOBS.c.folder)
        for day_at, folder, count in connection.execute(counted).all():
            calls.add_to_day(connection, day_at, folder, {"delivered": count})
