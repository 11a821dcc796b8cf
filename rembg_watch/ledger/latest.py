"""
Pictures by when they changed last: each state of each folder is a range of an index, and the ranges are merged.

What no index finds is looked for a window of a range at a time, and never further than is said.
"""

from collections.abc import Collection, Iterable, Iterator
from datetime import UTC, datetime
from heapq import merge
from itertools import islice

from sqlalchemy import BigInteger, Boolean, Connection, Text, bindparam, cast, func, or_, select, tuple_

from rembg_watch.jobs import State
from rembg_watch.ledger import rows
from rembg_watch.ledger.pages import EVERY_PICTURE, LOOKED_AT, Mark, Page, Seen, Wanted
from rembg_watch.ledger.prepared import Prepared
from rembg_watch.ledger.schema import JOBS, Moment

NEEDS_A_LOOK = frozenset({State.FAILED, State.HELD, State.IN_DOUBT})
"""States in which a picture stays until a person does something, or a setting changes."""

_LEAST_WINDOW, _WINDOWS = 50, 40
_END = Mark(datetime(9999, 1, 1, tzinfo=UTC), 2**62)

IN_STATE = (JOBS.c.state == bindparam("state"), JOBS.c.folder == bindparam("folder"))
_BEFORE = tuple_(JOBS.c.changed_at, JOBS.c.id) < tuple_(
    bindparam("at", type_=Moment()), bindparam("id", type_=BigInteger())
)
LAST_FIRST = (JOBS.c.changed_at.desc(), JOBS.c.id.desc())
_NEWEST = Prepared(
    select(JOBS.c.changed_at, JOBS.c.id).where(*IN_STATE, _BEFORE).order_by(*LAST_FIRST).limit(bindparam("most"))
)
_WINDOW = (
    select(JOBS.c.changed_at, JOBS.c.id, JOBS.c.source, JOBS.c.code, JOBS.c.finding)
    .where(*IN_STATE, _BEFORE)
    .order_by(*LAST_FIRST)
    .limit(bindparam("window"))
    .subquery()
)
_MEANT = Prepared(
    select(*_WINDOW.c)
    .where(
        or_(bindparam("is_odd", type_=Boolean()).is_(False), _WINDOW.c.finding.is_not(None)),
        or_(bindparam("any_code", type_=Boolean()).is_(True), func.coalesce(_WINDOW.c.code, "") == bindparam("code")),
        or_(bindparam("word") == "", func.instr(func.lower(cast(_WINDOW.c.source, Text)), bindparam("word")) > 0),
    )
    .order_by(_WINDOW.c.changed_at.desc(), _WINDOW.c.id.desc())
    .limit(bindparam("most"))
)
_AT_THE_END = Prepared(
    select(JOBS.c.changed_at, JOBS.c.id)
    .where(*IN_STATE, _BEFORE)
    .order_by(*LAST_FIRST)
    .limit(1)
    .offset(bindparam("skipped"))  # never beyond a window
)


def newest(
    connection: Connection,
    wanted: Wanted = EVERY_PICTURE,
    *,
    before: Mark | None = None,
    limit: int,
    look_at: int = LOOKED_AT,
) -> Page:
    """Return pictures, the last changed first: each state of each folder is one range of an index."""
    pairs = ranges(connection, wanted)
    if wanted.is_simple:
        ids, mark = _first_of_all(connection, pairs, before or _END, limit)
        more = mark if _has_more(connection, pairs, mark) else None
    else:
        ids, more = _meant(connection, pairs, wanted, before or _END, limit, look_at)
    return Page(tuple(rows.jobs_by_id(connection, ids)), more)


def lately(connection: Connection, *, limit: int) -> list[Seen]:
    """Return where the pictures lie that changed last, the last one first."""
    ids, _ = _first_of_all(connection, ranges(connection, EVERY_PICTURE), _END, limit)
    statement = select(JOBS.c.id, JOBS.c.folder, JOBS.c.source)
    some = [row for part in rows.slices(ids) for row in connection.execute(statement.where(JOBS.c.id.in_(part)))]
    found = {row.id: Seen(row.id, row.folder, row.source) for row in some}
    return [found[one] for one in ids if one in found]


def ranges(connection: Connection, wanted: Wanted) -> dict[tuple[State, str], int]:
    """List the states and folders that have any of the pictures that are meant, and how many are there."""
    return {
        (state, folder): count
        for folder, counts in rows.counts(connection).items()
        if not wanted.folders or folder in wanted.folders
        for state, count in counts.items()
        if count and (not wanted.states or state in wanted.states)
    }


def _first_of_all(
    connection: Connection, pairs: Collection[tuple[State, str]], before: Mark, limit: int
) -> tuple[list[int], Mark | None]:
    """Return the ids of so many pictures, whatever they are, and the mark of the last one."""
    bite = max(8, 2 * limit // max(1, len(pairs)))
    ranges = [_range(connection, state, folder, before, bite) for state, folder in pairs]
    some = list(islice(merge(*ranges, reverse=True), limit))
    return [one.id for one in some], some[-1] if some else None


def _range(connection: Connection, state: State, folder: str, before: Mark, bite: int) -> Iterator[Mark]:
    while True:
        asked = {"state": state.value, "folder": folder, "at": before.changed_at, "id": before.id, "most": bite}
        found = [Mark(row.changed_at, row.id) for row in _NEWEST.all(connection, asked)]
        yield from found
        if len(found) < bite:
            return
        before = found[-1]


def _has_more(connection: Connection, pairs: Iterable[tuple[State, str]], mark: Mark | None) -> bool:
    if mark is None:
        return False
    return any(next(_range(connection, state, folder, mark, 1), None) is not None for state, folder in pairs)


def _meant(
    connection: Connection, pairs: Iterable[tuple[State, str]], wanted: Wanted, before: Mark, limit: int, look_at: int
) -> tuple[list[int], Mark | None]:
    """
    Return the ids of pictures that no index finds, and where to go on; the database looks through a window at a time.

    The next window is always that of the range which reaches least far, so that all of them are looked at as far.
    """
    window, found = max(_LEAST_WINDOW, look_at // _WINDOWS), list[Mark]()
    reached = dict.fromkeys(pairs, before)
    for _ in range(look_at // window):
        reach = max(reached.values(), default=None)
        if reach is None or sum(one >= reach for one in found) >= limit:
            break
        pair = next(one for one, mark in reached.items() if mark == reach)
        some, end = _window(connection, *pair, wanted, reach, window, limit)
        found += some
        reached.pop(pair)
        reached |= {} if end is None else {pair: end}
    reach = max(reached.values(), default=None)
    seen = sorted((one for one in found if reach is None or one >= reach), reverse=True)
    if len(seen) > limit:
        return [one.id for one in seen[:limit]], seen[limit - 1]
    return [one.id for one in seen], reach


def _window(
    connection: Connection, state: State, folder: str, wanted: Wanted, before: Mark, window: int, most: int
) -> tuple[list[Mark], Mark | None]:
    """Return what is meant in a window of one range, and where the look at it ended; None: at the end of the range."""
    asked = {"state": state.value, "folder": folder, "at": before.changed_at, "id": before.id, "window": window}
    meant = {"is_odd": wanted.is_odd, "any_code": wanted.code is None, "code": wanted.code or "", "most": most}
    some = _MEANT.all(connection, asked | meant | {"word": wanted.plain})
    found = [Mark(row.changed_at, row.id) for row in some if wanted.takes(row.source, row.code, row.finding)]
    if len(some) == most:
        return found, Mark(some[-1].changed_at, some[-1].id)
    last = _AT_THE_END.first(connection, asked | {"skipped": window - 1})
    return found, None if last is None else Mark(last.changed_at, last.id)


def standing_still(connection: Connection) -> tuple[object, ...]:
    """Return what is another as soon as a picture comes to stand still, goes on, or stands for another reason."""
    pairs = ranges(connection, Wanted(states=NEEDS_A_LOOK))
    lasts = {pair: next(_range(connection, *pair, _END, 1), None) for pair in pairs}
    return tuple((*pair, count, lasts[pair]) for pair, count in sorted(pairs.items()))
