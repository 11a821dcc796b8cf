"""
How pages are read: by key, a range of an index at a time.

A page costs the same in a ledger of a million jobs as in a small one, so nothing here counts what it does not
show, and nothing is skipped by an offset. Where rows have to be looked at to find those that are meant, it is said
how many at most. ``tests/ledger/test_looks.py`` asks the database how it would find each of these.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from itertools import groupby

from sqlalchemy import BigInteger, Connection, bindparam, case, func, select, type_coerce

from rembg_watch.jobs import Job, State
from rembg_watch.ledger import calls, rows
from rembg_watch.ledger.latest import IN_STATE, LAST_FIRST, NEEDS_A_LOOK, ranges
from rembg_watch.ledger.pages import (
    EVERY_PICTURE,
    Day,
    FoundShoot,
    Members,
    Reason,
    Shoot,
    Shoots,
    Tally,
    Wanted,
    shoot_of,
)
from rembg_watch.ledger.prepared import Prepared
from rembg_watch.ledger.schema import CALLS, DAYS, JOBS, Moment, credits_of

COUNTED = 5_000
"""Pictures of a shoot that are counted; more are "and more"."""

STUCK_COUNTED = 2_000
"""Pictures of a folder in one state whose reasons are counted: those that changed last."""

STEPS = 400
"""Ranges that are asked for one after the other for one page of shoots, or of a shoot that has sub-folders."""

_LOOSE, _SLASH = 50, ord("/")
_COUNTED_ONE_BY_ONE = 300
_DAY_US = 86_400_000_000

_IN_PLACE = (
    JOBS.c.folder == bindparam("folder"),
    JOBS.c.source >= bindparam("first"),
    JOBS.c.source < bindparam("end"),
)
_MEMBERS = Prepared(rows.ALL_OF_IT.where(*_IN_PLACE).order_by(JOBS.c.source).limit(bindparam("most")))
_MEMBERS_BACK = Prepared(rows.ALL_OF_IT.where(*_IN_PLACE).order_by(JOBS.c.source.desc()).limit(bindparam("most")))
_FIRST = Prepared(select(JOBS.c.id, JOBS.c.source).where(*_IN_PLACE).order_by(JOBS.c.source).limit(1))
_SOURCES = Prepared(select(JOBS.c.source).where(*_IN_PLACE).order_by(JOBS.c.source).limit(bindparam("most")))
_STANDING = Prepared(
    rows.ALL_OF_IT.where(
        JOBS.c.folder == bindparam("folder"),
        JOBS.c.parent == bindparam("parent"),
        JOBS.c.source >= bindparam("first"),
        JOBS.c.gone_at.is_(None),
    )
    .order_by(JOBS.c.source)
    .limit(bindparam("most"))
)
_NEXT_PARENT = Prepared(
    select(func.min(JOBS.c.parent)).where(
        JOBS.c.folder == bindparam("folder"), JOBS.c.parent > bindparam("parent"), JOBS.c.gone_at.is_(None)
    )
)


def members(
    connection: Connection, shoot: Shoot, *, start: bytes | None = None, limit: int, wanted: Wanted = EVERY_PICTURE
) -> Members:
    """Return pictures of a shoot by name, each in the version that stands there, or else in its last one."""
    at = start if start is not None else shoot.first
    if shoot.is_flat:
        return _loose(connection, shoot, at, limit, wanted)
    found, _ = _walk(connection, shoot, at, limit, wanted, steps=STEPS)
    return found


def _loose(connection: Connection, shoot: Shoot, start: bytes, limit: int, wanted: Wanted) -> Members:
    """
    Return files that lie beside shoots, which may be thousands: what stands is found beyond them all the same.

    Those that were moved away are met on the way past the shoots, a stretch of it for each page.
    """
    walked, is_over = _walk(connection, shoot, start, limit, wanted, steps=_LOOSE)
    if is_over or len(walked.jobs) == limit:
        return walked
    asked = {"folder": shoot.folder, "parent": shoot.path, "first": start, "most": 2 * limit + 10}
    some = _STANDING.all(connection, asked)
    standing = {job.source: job for job in map(rows.job_of, some) if _is_meant(job, wanted)}
    every = sorted(standing | {job.source: job for job in walked.jobs})
    shown = tuple((standing | {job.source: job for job in walked.jobs})[source] for source in every[:limit])
    if len(every) > limit:
        return Members(shown, every[limit])
    if len(some) == asked["most"]:
        return Members(shown, some[-1].source)
    return Members(shown, max(walked.next or b"", every[-1] + b"\0" if every else b""))


def _walk(
    connection: Connection, shoot: Shoot, at: bytes, limit: int, wanted: Wanted, *, steps: int
) -> tuple[Members, bool]:
    """Go through a shoot by name, so many ranges far; say whether that was all of it."""
    most = 2 * limit + 10
    bite, found = 2 if shoot.is_flat else most, list[Job]()
    for _ in range(steps):
        some = _MEMBERS.all(connection, {"folder": shoot.folder, "first": at, "end": shoot.beyond, "most": bite})
        is_last = len(some) < bite
        for source, versions in groupby(map(rows.job_of, some), key=lambda one: one.source):
            past = shoot.skips(source)
            if past is not None:
                at, bite, is_last = past, 2, False
                break
            if len(found) == limit:
                return Members(tuple(found), source), False
            shown = _shown(versions)
            if _is_meant(shown, wanted):
                found.append(shown)
            at = source + b"\0"
        else:
            bite = min(most, 4 * bite)
        if is_last:
            return Members(tuple(found)), True
    return Members(tuple(found), at), False


def _shown(versions: Iterable[Job]) -> Job:
    """Choose among the versions of a source the one to show: that which stands, or else the last one."""
    return max(versions, key=lambda one: (one.gone_at is None, one.id))


def _is_meant(job: Job, wanted: Wanted) -> bool:
    if wanted.states and job.state not in wanted.states:
        return False
    return wanted.is_simple or wanted.takes(job.source, job.code, job.finding)


def beside(connection: Connection, shoot: Shoot, source: bytes) -> tuple[int | None, int | None]:
    """Return the ids of the pictures before and after one in its shoot, by name."""
    later = members(connection, shoot, start=source + b"\0", limit=1).jobs
    end = source
    for _ in range(STEPS):
        asked = {"folder": shoot.folder, "first": shoot.first, "end": end, "most": 8}
        some = [rows.job_of(row) for row in _MEMBERS_BACK.all(connection, asked)]
        if not some:
            break
        if shoot.skips(some[0].source) is None:
            earlier = _shown(one for one in some if one.source == some[0].source)
            return earlier.id, later[0].id if later else None
        end = shoot.first + some[0].source[len(shoot.first) :].partition(b"/")[0] + b"/"
    return None, later[0].id if later else None


def shoots(connection: Connection, folder: str, *, depth: int, start: bytes = b"", limit: int) -> Shoots:
    """Return the shoots of a folder by name: one range of an index is asked for each."""
    at, end, found = start, Shoot(folder, b"").beyond, list[FoundShoot]()
    for _ in range(STEPS):
        row = _FIRST.first(connection, {"folder": folder, "first": at, "end": end})
        if row is None:
            return Shoots(tuple(found))
        shoot = shoot_of(folder, row.source, depth=depth)
        is_news = not shoot.is_flat or _is_first_of(connection, shoot, row.source, found)
        if is_news and len(found) == limit:
            return Shoots(tuple(found), at)
        if is_news:
            found.append(FoundShoot(shoot, row.id))
        at = _past_loose(connection, shoot, row.source, depth) if shoot.is_flat else shoot.beyond
    return Shoots(tuple(found), at)


def _is_first_of(connection: Connection, shoot: Shoot, source: bytes, listed: Sequence[FoundShoot]) -> bool:
    """Say whether files that lie beside shoots are met for the first time, on this page and those before it."""
    if any(one.shoot == shoot for one in listed):
        return False
    first = members(connection, shoot, limit=1).jobs
    return not first or first[0].source == source


def _past_loose(connection: Connection, shoot: Shoot, source: bytes, depth: int) -> bytes:
    """
    Return where to go on behind a file beside shoots: there may be a hundred thousand of them before the next one.

    Where there are many, a sub-folder is gone to in which a source stands, or whose name one of theirs begins with.
    """
    folder, end = shoot.folder, Shoot(shoot.folder, b"").beyond
    following = _SOURCES.all(connection, {"folder": folder, "first": source + b"\0", "end": end, "most": _LOOSE})
    other = next((row.source for row in following if shoot_of(folder, row.source, depth=depth) != shoot), None)
    if other is not None:
        return bytes(other)
    if len(following) < _LOOSE:
        return end
    source = following[-1].source
    start = len(shoot.first)
    namesakes = [source[:place] for place in range(start + 1, len(source)) if source[place] < _SLASH]
    places = [Shoot(folder, name) for name in namesakes]
    begins = [_FIRST.first(connection, {"folder": folder, "first": one.first, "end": one.beyond}) for one in places]
    later = _NEXT_PARENT.scalar(connection, {"folder": folder, "parent": source})
    sources = [row.source for row in begins if row is not None] + ([later + b"/"] if later is not None else [])
    return min(sources, default=end)


_IN_SHOOT = (
    select(
        JOBS.c.state,
        type_coerce(JOBS.c.charged, BigInteger).label("charged"),
        JOBS.c.changed_at,
        JOBS.c.finding,
        case((JOBS.c.gone_at.is_(None) | JOBS.c.is_disposed.is_(True), 1), else_=0).label("counts"),
    )
    .where(*_IN_PLACE)
    .limit(bindparam("most"))
    .subquery()
)
_TALLY = Prepared(
    select(
        _IN_SHOOT.c.state,
        func.sum(_IN_SHOOT.c.counts).label("number"),
        func.sum(_IN_SHOOT.c.charged).label("charged"),
        func.max(_IN_SHOOT.c.changed_at).label("changed_at"),
        func.sum(case((_IN_SHOOT.c.finding.is_not(None), _IN_SHOOT.c.counts), else_=0)).label("odd"),
        func.count().label("rows"),
    ).group_by(_IN_SHOOT.c.state)
)


def tally(connection: Connection, shoot: Shoot) -> Tally:
    """Say how far a shoot is; of a large one, how far its first ``COUNTED`` pictures are."""
    if shoot.is_flat:
        return _tally_one_by_one(connection, shoot)
    asked = {"folder": shoot.folder, "first": shoot.first, "end": shoot.beyond, "most": COUNTED}
    found = _TALLY.all(connection, asked)
    return Tally(
        counts={State(row.state): int(row.number) for row in found if row.number},
        charged=sum((credits_of(int(row.charged)) for row in found), Decimal(0)),
        changed_at=max((row.changed_at for row in found), default=None),
        odd=sum(int(row.odd) for row in found),
        is_whole=sum(row.rows for row in found) < COUNTED,
    )


def _tally_one_by_one(connection: Connection, shoot: Shoot) -> Tally:
    found, is_over = _walk(connection, shoot, shoot.first, _COUNTED_ONE_BY_ONE, EVERY_PICTURE, steps=_LOOSE)
    jobs = found.jobs
    if not is_over:  # beyond many shoots: what stands, at least
        asked = {"folder": shoot.folder, "parent": shoot.path, "first": b"", "most": _COUNTED_ONE_BY_ONE}
        jobs = tuple(map(rows.job_of, _STANDING.all(connection, asked)))
    counts = dict.fromkeys(State, 0)
    for job in jobs:
        counts[job.state] += 1
    return Tally(
        counts={state: count for state, count in counts.items() if count},
        charged=sum((job.charged for job in jobs), Decimal(0)),
        changed_at=max((job.changed_at for job in jobs), default=None),
        odd=sum(job.finding is not None for job in jobs),
        is_whole=is_over,
    )


# --- reasons, calls, days -------------------------------------------------------------------------

_STANDING_STILL = (
    select(JOBS.c.id, JOBS.c.code, JOBS.c.reason, JOBS.c.changed_at)
    .where(*IN_STATE)
    .order_by(*LAST_FIRST)
    .limit(bindparam("most"))
    .subquery()
)
_WORDS = case((_STANDING_STILL.c.code.is_(None), _STANDING_STILL.c.reason), else_=None)
_REASONS = Prepared(
    select(
        _STANDING_STILL.c.code,
        func.count().label("number"),
        func.max(_STANDING_STILL.c.changed_at).label("changed_at"),
        func.max(_STANDING_STILL.c.id).label("latest"),
    ).group_by(_STANDING_STILL.c.code, _WORDS)
)
_TEXT = Prepared(select(JOBS.c.reason).where(JOBS.c.id == bindparam("id")))


def reasons(connection: Connection) -> list[Reason]:
    """Say why pictures stand still, the most of one kind first; of many in one folder, of those that changed last."""
    found = []
    for state, folder in ranges(connection, Wanted(states=NEEDS_A_LOOK)):
        groups = _REASONS.all(connection, {"state": state.value, "folder": folder, "most": STUCK_COUNTED})
        is_whole = sum(row.number for row in groups) < STUCK_COUNTED
        for row in groups:
            text = _TEXT.scalar(connection, {"id": row.latest})
            found.append(
                Reason(
                    folder=folder,
                    state=state,
                    code=row.code,
                    text=text,
                    count=row.number,
                    changed_at=row.changed_at,
                    latest=row.latest,
                    is_whole=is_whole,
                )
            )
    return sorted(found, key=lambda one: (-one.count, one.folder, one.state, one.code or ""))


def days(connection: Connection, since: datetime) -> list[Day]:
    """Sum up the calls since a moment by UTC day and folder, the last day first."""
    started_us = type_coerce(CALLS.c.started_at, BigInteger)
    day = type_coerce(started_us - started_us % _DAY_US, Moment).label("day")
    of_calls = select(day, CALLS.c.folder, *calls.sums_of(CALLS)).where(CALLS.c.started_at >= since)
    pruned = select(DAYS.c.day, DAYS.c.folder, *calls.sums_of(DAYS)).where(DAYS.c.day >= since)
    total: dict[tuple[datetime, str], list[int]] = {}
    for statement in (of_calls.group_by(day, CALLS.c.folder), pruned.group_by(DAYS.c.day, DAYS.c.folder)):
        for day_at, folder, *sums in connection.execute(statement):
            known = total.get((day_at, folder), [0] * len(sums))
            total[day_at, folder] = [one + int(more) for one, more in zip(known, sums, strict=True)]
    found = [
        Day(day_at, folder, calls.spending_of(dict(zip(calls.SUMS, sums, strict=True))))
        for (day_at, folder), sums in total.items()
    ]
    return sorted(found, key=lambda one: (one.day, one.folder), reverse=True)
