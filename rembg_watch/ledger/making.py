"""
What was made of a paid answer: one row for each deliverable of a picture. Portable SQL.

A deliverable is written down as made, with the digest of its file, before it has its name; and as standing once it
has. So a crash in between leaves a file that is known for ours.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    and_,
    bindparam,
    delete,
    func,
    insert,
    literal,
    select,
    update,
)

from rembg_watch.jobs import State
from rembg_watch.ledger import targets
from rembg_watch.ledger.prepared import Prepared
from rembg_watch.ledger.rows import slices
from rembg_watch.ledger.schema import DELIVERABLES, JOBS
from rembg_watch.ledger.values import Lacking, Made, MadeState, Target

_COLUMNS = ("job_id", "name", "recipe_digest", "state", "target", "digest", "size_bytes", "reason", "code", "made_at")
_ALL = select(*(DELIVERABLES.c[name] for name in _COLUMNS))
_OF_JOB = Prepared(_ALL.where(DELIVERABLES.c.job_id == bindparam("job_id")).order_by(DELIVERABLES.c.id))
_OF_OTHERS = Prepared(
    _ALL.where(
        DELIVERABLES.c.job_id.in_(
            select(JOBS.c.id).where(
                JOBS.c.folder == bindparam("folder"),
                JOBS.c.source == bindparam("source"),
                JOBS.c.id != bindparam("job_id"),
            )
        ),
        DELIVERABLES.c.state == literal(MadeState.STANDING.value),
    ).order_by(DELIVERABLES.c.id)
)
_CHANGE = Prepared(
    update(DELIVERABLES).where(
        DELIVERABLES.c.job_id == bindparam("this_job"), DELIVERABLES.c.name == bindparam("this_name")
    ),
    sets=_COLUMNS[2:],
)
_ADD = Prepared(insert(DELIVERABLES).inline(), sets=_COLUMNS)


def of_job(connection: Connection, job_id: int) -> dict[str, Made]:
    """Return what was made of a picture, by the names of its deliverables."""
    rows = _OF_JOB.all(connection, {"job_id": job_id})
    return {row.name: _made(row) for row in rows}


def _made(row: Row[Any]) -> Made:
    return Made(**dict(zip(_COLUMNS, row, strict=True)) | {"state": MadeState(row.state)})


def of_jobs(connection: Connection, job_ids: Iterable[int]) -> dict[int, dict[str, Made]]:
    """Return what was made of several pictures, by their numbers; of some there may be nothing."""
    found: dict[int, dict[str, Made]] = {}
    for some in slices(list(job_ids)):
        for row in connection.execute(_ALL.where(DELIVERABLES.c.job_id.in_(some)).order_by(DELIVERABLES.c.id)):
            found.setdefault(row.job_id, {})[row.name] = _made(row)
    return found


def of_other_versions(connection: Connection, folder: str, source: bytes, job_id: int) -> list[Made]:
    """Return what stands of the other versions of a source, the oldest first."""
    rows = _OF_OTHERS.all(connection, {"folder": folder, "source": source, "job_id": job_id})
    return [_made(row) for row in rows]


def record(connection: Connection, made: Made, published: Target | None) -> None:
    """Write down how far a deliverable is; *published*: and what stands under its name now."""
    values = {name: getattr(made, name) for name in _COLUMNS} | {"state": made.state.value}
    if _CHANGE.run(connection, values | {"this_job": made.job_id, "this_name": made.name}) == 0:
        _ADD.run(connection, values)
    if published is not None:
        targets.publish(connection, published)


def forget(connection: Connection, job_ids: Sequence[int]) -> None:
    """Forget what was made of pictures that are forgotten."""
    for some in slices(job_ids):
        connection.execute(delete(DELIVERABLES).where(DELIVERABLES.c.job_id.in_(some)))


def lacking(connection: Connection, folder: str, wanted: Mapping[str, str]) -> list[Lacking]:
    """
    Return the delivered pictures of a folder that lack a deliverable, or have one that was made otherwise.

    Args:
        connection: The database.
        folder: Its name.
        wanted: Its deliverables, each with the digest of how it is made now.
    """
    found: list[Lacking] = []
    for name, recipe_digest in wanted.items():
        made = and_(
            DELIVERABLES.c.job_id == JOBS.c.id,
            DELIVERABLES.c.name == name,
            DELIVERABLES.c.recipe_digest == recipe_digest,
        )
        of_job = (DELIVERABLES.c.job_id == JOBS.c.id, DELIVERABLES.c.name == name)
        has_file = select(DELIVERABLES.c.id).where(*of_job, DELIVERABLES.c.state == MadeState.STANDING.value).exists()
        columns = (JOBS.c.id, JOBS.c.source, JOBS.c.content_key, JOBS.c.answer_digest, JOBS.c.gone_at)
        statement = (
            select(*columns, has_file.label("has_file"))
            .where(*_delivered(folder), ~select(DELIVERABLES.c.id).where(made).exists())
            .order_by(JOBS.c.id)
        )
        for row in connection.execute(statement):
            stands = row.gone_at is None
            one = Lacking(row.id, row.source, name, row.content_key, row.answer_digest, stands=stands)
            found.append(replace(one, has_file=bool(row.has_file)))
    return found


def _delivered(folder: str) -> tuple[ColumnElement[bool], ...]:
    """Pictures that are delivered and not replaced: their source stands, or we have put it away ourselves."""
    put_away = JOBS.c.is_disposed.is_(True) & (JOBS.c.target.is_not(None) | JOBS.c.finding.like("%lacks_files%"))
    stands = (JOBS.c.gone_at.is_(None) & JOBS.c.is_disposed.is_(False)) | put_away  # else it has another name now
    newest = select(func.max(_NEWER.c.id)).where(_NEWER.c.folder == JOBS.c.folder, _NEWER.c.source == JOBS.c.source)
    return (JOBS.c.folder == folder, JOBS.c.state == State.DONE.value, stands, JOBS.c.id == newest.scalar_subquery())


_NEWER = JOBS.alias("newer")


def make_again(
    connection: Connection, ids: Sequence[int], at: datetime, missing: Sequence[tuple[int, str]] = ()
) -> int:
    """
    Put delivered pictures back to where their paid answer waits to be delivered; return how many.

    *missing* are files, by picture and name, that stand no more: they count as made, and have lost their place.
    """
    for job_id, name in missing:
        fallen = (DELIVERABLES.c.job_id == job_id, DELIVERABLES.c.name == name)
        stood = DELIVERABLES.c.state == MadeState.STANDING.value
        connection.execute(update(DELIVERABLES).where(*fallen, stood).values(state=MadeState.MADE.value))
    queued = 0
    for some in slices(ids):
        meant = (JOBS.c.id.in_(some), JOBS.c.state == State.DONE.value, JOBS.c.answer_digest.is_not(None))
        values = {"state": State.RECEIVED.value, "changed_at": at, "due_at": at, "claimed_by": None, "retry_at": None}
        values |= {"reason": None, "code": None, "revision": JOBS.c.revision + 1}
        queued += connection.execute(update(JOBS).where(*meant).values(values)).rowcount
    return queued
