"""
The ledger's verbs over a database: ``port`` says what each one promises.

Nothing is kept in memory but a counter; a job that is not in the database does not
exist. What is particular to one database is in its store.
"""

import json
from collections.abc import Callable, Collection, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from itertools import count
from pathlib import Path
from typing import Concatenate, ParamSpec

from sqlalchemy import ColumnElement, Connection, delete, func, insert, select, update

from rembg_watch.jobs import REJECTED, WORKING, CallEnd, CallStart, Job, State, Unsettled, Version
from rembg_watch.ledger import balances as past
from rembg_watch.ledger import bills, calls, copies, intake, latest, looks, making, reviews, rows, targets, work
from rembg_watch.ledger.port import EVERYTHING, Ledger
from rembg_watch.ledger.schema import JOBS, NOTES, UNSETTLED
from rembg_watch.ledger.store import Store, T
from rembg_watch.ledger.values import (
    Json,
    Made,
    PastBalance,
    Pruned,
    Recovery,
    Target,
    Turn,
    Verdict,
    Which,
    passed_over_from,
    passed_over_note,
)
from rembg_watch.passed_over import PassedOver

ADDED_AT_ONCE = 2_000
"""Sources in one transaction: few enough that a worker's commit does not wait long behind them."""

_PASSED_OVER = "passed_over "
_PRUNABLE = (State.DONE, State.VANISHED, State.FAILED, State.IN_DOUBT)

_P = ParamSpec("_P")


def _reads(look: Callable[Concatenate[Connection, _P], T]) -> Callable[Concatenate["SqlLedger", _P], T]:
    """Make a verb of a function that looks at the tables."""

    def verb(ledger: "SqlLedger", /, *args: _P.args, **named: _P.kwargs) -> T:
        return ledger._read(lambda connection: look(connection, *args, **named))

    return verb


class SqlLedger(Ledger):
    """The ledger in a database's tables."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._read = store.read
        self._turn = count()

    def close(self) -> None:
        self._store.close()

    def is_in_place(self) -> bool:
        return self._store.is_in_place()

    def keep(self) -> Path:
        return self._store.keep()

    # -- sources --------------------------------------------------------------------------

    known = _reads(rows.known)
    parents = _reads(rows.parents)

    def add(self, folder: str, sources: Iterable[tuple[bytes, Version]], at: datetime) -> int:
        add = partial(intake.add, folder=folder, at=at)
        return sum(self._store.write(partial(add, seen=dict(some))) for some in rows.slices(sources, ADDED_AT_ONCE))

    def reject(
        self,
        folder: str,
        source: bytes,
        version: Version,
        at: datetime,
        *,
        reason: str,
        code: str,
        is_disposal_due: bool = False,
    ) -> bool:
        says = {"reason": reason, "code": code, "is_disposal_due": is_disposal_due}
        return self._store.write(
            partial(intake.reject, folder=folder, source=source, version=version, at=at, says=says)
        )

    def gone(self, folder: str, sources: Iterable[bytes], at: datetime) -> int:
        gone = partial(intake.gone, folder=folder, at=at)
        return sum(self._store.write(partial(gone, sources=some)) for some in rows.slices(sources, ADDED_AT_ONCE))

    def set_unsettled(self, folder: str, items: Iterable[Unsettled]) -> bool:
        by_source = {one.source: one for one in items}
        replace_unsettled = partial(intake.replace_unsettled, folder=folder, items=by_source)
        return self._store.write(replace_unsettled, is_durable=False)

    def set_passed_over(self, folder: str, found: PassedOver) -> None:
        self.set_note(_PASSED_OVER + folder, passed_over_note(found), is_durable=False)

    # -- jobs -----------------------------------------------------------------------------

    def claim(
        self, limit: int, *, at: datetime, run_id: str, turns: Iterable[Turn], state: State = State.QUEUED
    ) -> list[Job]:
        claiming = work.Claiming(
            limit=limit, at=at, run_id=run_id, turns=tuple(turns), state=state, first=next(self._turn)
        )
        return self._store.write(partial(work.claim, claiming=claiming), is_durable=False)

    def release(self, jobs: Iterable[Job]) -> int:
        ids = [job.id for job in jobs]
        return self._store.write(partial(work.release, ids=ids), is_durable=False) if ids else 0

    def record(
        self,
        job: Job,
        *,
        call: CallStart | CallEnd | None = None,
        names: Iterable[bytes] = (),
        published: Target | None = None,
        keeps_claim: bool | None = None,
        is_durable: bool = True,
    ) -> Job:
        keeps = job.state in WORKING if keeps_claim is None else keeps_claim
        offered = targets.Candidates(names)

        def store(connection: Connection) -> Job:
            moved = job
            if offered:
                target = targets.claim(connection, job.folder, job.source, offered, job.changed_at)
                moved = replace(job, target=target)
            if published is not None:
                targets.publish(connection, published)
            return work.record(connection, moved, call, keeps_claim=keeps)

        return self._store.write(store, is_durable=is_durable)

    def recover(self, at: datetime) -> Recovery:
        return self._store.write(partial(work.recover, at=at))

    def pull_in(self, folders: Iterable[str], at: datetime) -> int:
        late = [one for one in folders if self._read(partial(work.is_put_off, folder=one, at=at))]
        if self._read(partial(calls.ahead, at=at, limit=1)):
            self._little_by_little(partial(calls.pull_in, at=at, limit=ADDED_AT_ONCE), is_durable=False)
        pull_in = partial(work.pull_in, at=at, limit=ADDED_AT_ONCE)
        return sum(self._little_by_little(partial(pull_in, folder=one), is_durable=False) for one in late)

    def hurry(self, folder: str, at: datetime, *, but: Collection[str] = ()) -> int:
        return self._store.write(partial(work.hurry, folder=folder, at=at, but=but), is_durable=False)

    def retry(self, which: Which, at: datetime) -> int:
        states = (which.states or work.RETRYABLE) & work.RETRYABLE
        if not states:
            return 0
        meant = replace(which, states=states, has_surprise=False)
        ids = self._read(lambda connection: rows.ids_of(connection, meant, JOBS.c.gone_at.is_(None), limit=None))
        retry = partial(work.retry, at=at)
        return sum(self._store.write(partial(retry, ids=some)) for some in rows.slices(ids, ADDED_AT_ONCE))

    def accept(self, which: Which, at: datetime, *, who: str = "") -> int:
        meant = replace(which, has_surprise=True)
        ids = self._read(lambda connection: rows.ids_of(connection, meant, limit=None))
        accept = partial(_accept, at=at, who=who)
        return sum(self._store.write(partial(accept, ids=some)) for some in rows.slices(ids, ADDED_AT_ONCE))

    def turn_down(self, which: Which, at: datetime, *, who: str = "") -> list[Job]:
        meant = replace(which, has_surprise=True)
        ids = self._read(lambda connection: rows.ids_of(connection, meant, limit=None))
        turn_down = partial(_turn_down, at=at, who=who)
        for some in rows.slices(ids, ADDED_AT_ONCE):
            self._store.write(partial(turn_down, ids=some))
        found = [job for some in rows.slices(ids) for job in self._read(partial(rows.jobs_by_id, ids=some))]
        return [job for job in found if job.code == REJECTED]

    def redoable(self, which: Which) -> Iterator[Job]:
        ids = self._read(lambda connection: rows.ids_of(connection, which, *work.REDOABLE_NOW, limit=None))
        for some in rows.slices(ids):
            yield from self._read(partial(rows.jobs_by_id, ids=some))

    def redo(self, jobs: Iterable[Job], at: datetime) -> int:
        redo = partial(_redo, at=at)
        ids = (job.id for job in jobs)
        return sum(self._store.write(partial(redo, ids=some)) for some in rows.slices(ids, ADDED_AT_ONCE))

    made_otherwise = _reads(rows.made_otherwise)
    next_due_at = _reads(rows.next_due_at)
    queued = _reads(rows.queued)

    def to_dispose_of(self, folders: Iterable[str], *, limit: int | None = None) -> list[Job]:
        due = (JOBS.c.folder.in_(tuple(folders)), JOBS.c.is_disposal_due.is_(True))
        return self._read(lambda connection: rows.jobs_where(connection, *due, limit=limit))

    # -- answers --------------------------------------------------------------------------

    answers_for = _reads(rows.answered)
    sent_for = _reads(copies.sent_for)
    is_waiting_to_publish = _reads(rows.is_received)
    is_undelivered = _reads(rows.is_undelivered)
    spool_keys = _reads(rows.spool_keys)

    def answered_sizes(self) -> frozenset[int]:
        statement = select(JOBS.c.size_bytes).where(JOBS.c.answer_digest.is_not(None)).distinct()
        return self._read(lambda connection: frozenset(connection.scalars(statement)))

    def remember_sent(self, sent_key: str, content_key: str, at: datetime) -> None:
        remember = partial(copies.remember, sent_key=sent_key, content_key=content_key, at=at)
        self._store.write(remember, is_durable=False)  # a power cut that takes it costs what it costs without it

    def answered_sources(self, folder: str, among: Container[bytes]) -> frozenset[bytes]:
        statement = select(JOBS.c.source).where(JOBS.c.folder == folder, JOBS.c.answer_digest.is_not(None))
        return self._read(lambda connection: frozenset(one for one in connection.scalars(statement) if one in among))

    # -- output names ---------------------------------------------------------------------

    target = _reads(targets.at_name)

    def claim_target(self, folder: str, source: bytes, candidates: Iterable[bytes], at: datetime) -> bytes:
        names = targets.Candidates(candidates)
        mine = self._read(lambda connection: targets.own(connection, folder, source, names))
        if mine is not None:
            return mine
        return self._store.write(partial(targets.claim, folder=folder, source=source, candidates=names, at=at))

    def release_target(self, folder: str, source: bytes, target: bytes) -> bool:
        return self._store.write(partial(targets.release, folder=folder, source=source, target=target))

    # -- deliverables ---------------------------------------------------------------------

    verdicts = _reads(reviews.of_jobs)
    reviewed = _reads(reviews.reviewed)

    def give_verdict(
        self, jobs: Iterable[Job], verdict: Verdict | None, at: datetime, *, who: str, note: str = ""
    ) -> int:
        return self._store.write(partial(reviews.give, jobs=list(jobs), verdict=verdict, at=at, who=who, note=note))

    made = _reads(making.of_job)
    made_of = _reads(making.of_jobs)
    made_of_others = _reads(making.of_other_versions)
    lacking = _reads(making.lacking)

    def record_made(self, made: Made, *, published: Target | None = None) -> None:
        self._store.write(partial(making.record, made=made, published=published))

    def make_again(self, ids: Iterable[int], at: datetime, *, missing: Iterable[tuple[int, str]] = ()) -> int:
        return self._store.write(partial(making.make_again, ids=list(ids), at=at, missing=list(missing)))

    # -- books ----------------------------------------------------------------------------

    last_call = _reads(calls.last)
    billed = _reads(bills.billed)
    calls_of = _reads(calls.of_jobs)
    last_balance = _reads(past.last)
    balances = _reads(past.since)
    recipes = _reads(calls.recipes)
    spending = _reads(calls.spending)

    def keep_recipes(self, options: Mapping[str, str]) -> None:
        self._store.write(partial(calls.keep_recipes, options=options), is_durable=False)

    def keep_balance(self, balance: PastBalance) -> None:
        self._store.write(partial(past.keep, balance=balance), is_durable=False)

    def note(self, name: str) -> Json:
        value = self._read(lambda connection: connection.scalar(select(NOTES.c.value).where(NOTES.c.name == name)))
        found: Json = None if value is None else json.loads(value)
        return found

    def set_note(self, name: str, value: Json, *, is_durable: bool = True) -> None:
        self._store.write(partial(_set_note, name=name, value=value), is_durable=is_durable)

    # -- views ----------------------------------------------------------------------------

    counts_by_folder = _reads(rows.counts)
    originals_left = _reads(rows.originals_left)
    wanted = _reads(intake.wanted)
    unsettled = _reads(intake.unsettled)
    backlog = _reads(rows.backlog)
    finished = _reads(rows.finished)

    def passed_over(self, folder: str) -> PassedOver:
        return passed_over_from(self.note(_PASSED_OVER + folder))

    def get(self, job_id: int) -> Job | None:
        return next(iter(self._read(lambda connection: rows.jobs_by_id(connection, [job_id]))), None)

    def find(self, folder: str, source: bytes) -> Job | None:
        here = (JOBS.c.folder == folder, JOBS.c.source == source, JOBS.c.gone_at.is_(None))
        return next(iter(self._read(lambda connection: rows.jobs_where(connection, *here, limit=1))), None)

    def jobs(self, which: Which = EVERYTHING, *, limit: int | None = None) -> Iterator[Job]:
        ids = self._read(lambda connection: rows.ids_of(connection, which, limit=limit))
        for some in rows.slices(ids):
            yield from self._read(partial(rows.jobs_by_id, ids=some))

    def counts(self, folder: str | None = None) -> dict[State, int]:
        by_folder = self.counts_by_folder()
        wanted = by_folder.values() if folder is None else [by_folder.get(folder, {})]
        return {state: sum(one.get(state, 0) for one in wanted) for state in State}

    def unsettled_count(self) -> int:
        return self._read(lambda connection: connection.scalar(select(func.count()).select_from(UNSETTLED)) or 0)

    newest = _reads(latest.newest)
    lately = _reads(latest.lately)
    shoots = _reads(looks.shoots)
    members = _reads(looks.members)
    beside = _reads(looks.beside)
    tally = _reads(looks.tally)
    standing_still = _reads(latest.standing_still)
    reasons = _reads(looks.reasons)
    days = _reads(looks.days)

    # -- upkeep ---------------------------------------------------------------------------

    def prune(self, before: datetime) -> Pruned:
        old = (JOBS.c.gone_at < before, JOBS.c.changed_at < before, JOBS.c.state.in_(_PRUNABLE))
        jobs = self._little_by_little(lambda connection: _prune_jobs(connection, old))
        pruned_calls = self._little_by_little(lambda connection: _prune_calls(connection, before))
        names = self._little_by_little(lambda connection: targets.prune(connection, before, ADDED_AT_ONCE))
        for forget in (copies.prune, reviews.prune):
            self._little_by_little(partial(forget, before=before, limit=ADDED_AT_ONCE), is_durable=False)
        return Pruned(jobs=jobs, calls=pruned_calls, targets=names, freed_bytes=self._store.shrink())

    def _little_by_little(self, some: Callable[[Connection], int], *, is_durable: bool = True) -> int:
        """Change a little at a time, so that a worker's commit need not wait long."""
        total = 0
        while changed := self._store.write(some, is_durable=is_durable):
            total += changed
        return total


def _redo(connection: Connection, ids: Sequence[int], at: datetime) -> int:
    can_be = work.with_twins(connection, work.redoable(connection, ids))
    making.forget(connection, can_be)  # of the answer that is replaced
    return work.redo(connection, can_be, at)


def _accept(connection: Connection, ids: Sequence[int], at: datetime, who: str) -> int:
    waiting = work.waiting(connection, ids)
    reviews.give(connection, waiting, Verdict.APPROVED, at, who=who)
    return work.accept(connection, [job.id for job in waiting], at)


def _turn_down(connection: Connection, ids: Sequence[int], at: datetime, who: str) -> int:
    waiting = work.waiting(connection, ids)
    reviews.give(connection, waiting, Verdict.REJECTED, at, who=who)
    return work.turn_down(connection, [job.id for job in waiting], at)


def _set_note(connection: Connection, name: str, value: Json) -> None:
    this = NOTES.c.name == name
    if value is None:
        connection.execute(delete(NOTES).where(this))
        return
    text = json.dumps(value)
    if connection.execute(update(NOTES).where(this).values(value=text)).rowcount == 0:
        connection.execute(insert(NOTES), {"name": name, "value": text})


def _prune_jobs(connection: Connection, old: Sequence[ColumnElement[bool]]) -> int:
    ids = list(connection.scalars(select(JOBS.c.id).where(*old).limit(ADDED_AT_ONCE)))
    bills.fold_delivered(connection, ids)
    for some in rows.slices(ids):
        connection.execute(delete(JOBS).where(JOBS.c.id.in_(some)))
        making.forget(connection, some)
    return len(ids)


def _prune_calls(connection: Connection, before: datetime) -> int:
    ids = calls.prunable(connection, before, ADDED_AT_ONCE)
    calls.fold(connection, ids)
    return len(ids)
