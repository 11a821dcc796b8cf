"""
What people decided about cut-outs. Portable SQL.

A verdict is bound to the very bytes of an answer, so that a new answer has none. The same answer delivered
twice, for two copies of a picture, has one verdict.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, and_, delete, insert, or_, select, update

from rembg_watch.jobs import Job
from rembg_watch.ledger.rows import jobs_by_id, slices
from rembg_watch.ledger.schema import JOBS, REVIEWS
from rembg_watch.ledger.values import Review, Reviewed, Verdict

_COLUMNS = ("content_key", "answer_digest", "verdict", "note", "who", "at")
_SLICE = 200  # two conditions each


def give(
    connection: Connection, jobs: Iterable[Job], verdict: Verdict | None, at: datetime, *, who: str, note: str = ""
) -> int:
    """Write down what is thought of the answers of these jobs, or nothing any more; return how many have an answer."""
    count = 0
    for job in jobs:
        if job.content_key is None or job.answer_digest is None:
            continue
        count += 1
        mine = and_(REVIEWS.c.content_key == job.content_key, REVIEWS.c.answer_digest == job.answer_digest)
        if verdict is None:
            connection.execute(delete(REVIEWS).where(mine))
            continue
        values = {"job_id": job.id, "verdict": verdict.value, "who": who or None, "note": note or None, "at": at}
        if connection.execute(update(REVIEWS).where(mine).values(values)).rowcount == 0:
            values |= {"content_key": job.content_key, "answer_digest": job.answer_digest}
            connection.execute(insert(REVIEWS).values(values))
    return count


def of_jobs(connection: Connection, jobs: Sequence[Job]) -> Mapping[int, Review]:
    """Return what was decided about the answers that these jobs have now, by the numbers of the jobs."""
    answered = {(one.content_key, one.answer_digest): one.id for one in jobs if one.answer_digest is not None}
    found: dict[tuple[str, str], Review] = {}
    columns = [REVIEWS.c[name] for name in _COLUMNS]
    for some in slices(answered, _SLICE):
        either: list[ColumnElement[bool]] = [
            and_(REVIEWS.c.content_key == key, REVIEWS.c.answer_digest == digest) for key, digest in some
        ]
        for row in connection.execute(select(*columns).where(or_(*either))):
            found[row.content_key, row.answer_digest] = Review(
                Verdict(row.verdict), at=row.at, who=row.who or "", note=row.note or ""
            )
    return {
        one.id: found[one.content_key, one.answer_digest]
        for one in jobs
        if one.content_key is not None
        and one.answer_digest is not None
        and (one.content_key, one.answer_digest) in found
    }


def reviewed(connection: Connection, verdict: Verdict, *, before: int | None = None, limit: int) -> list[Reviewed]:
    """
    Return pictures whose answer has a verdict, the newest first; those that were made anew since are left out.

    Args:
        connection: The database.
        verdict: Which.
        before: Go on below this number.
        limit: How many at most.
    """
    is_its_answer = and_(REVIEWS.c.job_id == JOBS.c.id, REVIEWS.c.answer_digest == JOBS.c.answer_digest)
    statement = select(JOBS.c.id, REVIEWS.c.id.label("number")).join(REVIEWS, is_its_answer)
    statement = statement.where(REVIEWS.c.verdict == verdict.value).order_by(REVIEWS.c.id.desc()).limit(limit)
    if before is not None:
        statement = statement.where(REVIEWS.c.id < before)
    numbers = {row.id: row.number for row in connection.execute(statement)}
    found = [job for some in slices(numbers) for job in jobs_by_id(connection, some)]
    return [Reviewed(numbers[job.id], job) for job in found]


def prune(connection: Connection, before: datetime, limit: int) -> int:
    """Forget some old verdicts about jobs that are forgotten; return how many."""
    known = select(JOBS.c.id).where(JOBS.c.id == REVIEWS.c.job_id).exists()
    old = select(REVIEWS.c.id).where(REVIEWS.c.at < before, ~known).limit(limit)
    return connection.execute(delete(REVIEWS).where(REVIEWS.c.id.in_(old))).rowcount
