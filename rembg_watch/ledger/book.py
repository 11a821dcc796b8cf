"""
The ledger as the rest of the program sees it: every verb, and what is promised of it.

Nothing is kept in memory but connections, a counter and notes of a second; a job that
is not in the ledger's file does not exist. What the verbs write stands in ``intake``,
``work``, ``calls`` and ``targets``.
"""

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Self

from sqlalchemy import ColumnElement, Connection, delete, insert, select, update

from rembg_watch.jobs import WORKING, CallEnd, CallStart, Job, State, Unsettled, Version
from rembg_watch.ledger import calls, intake, rows, targets, work
from rembg_watch.ledger.schema import JOBS, MIGRATIONS, NOTES, UNSETTLED, Migration
from rembg_watch.ledger.store import Access, Store
from rembg_watch.ledger.values import Backlog, Json, Pruned, Recovery, Spending, Target, Turn, Which

ADDED_AT_ONCE = 2_000
"""Sources in one transaction: few enough that a worker's commit does not wait long behind them."""

_PRUNABLE = (State.DONE, State.VANISHED, State.FAILED, State.IN_DOUBT)
_EVERYTHING = Which()


class Ledger:
    """
    The jobs, the calls, the output names and the notes of one state directory.

    Every method may be called from any thread. What a method wrote is durable when it
    returns, unless it says otherwise. All of them raise ``LedgerError``, or
    ``LedgerUnavailableError`` where trying again later makes sense.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._turn = count()

    @classmethod
    def open(cls, path: Path, access: Access = Access.OWN, *, migrations: Sequence[Migration] = MIGRATIONS) -> "Ledger":
        """
        Open the ledger in the file *path*; its owner makes it and brings it up to date.

        Raises:
            NoLedgerError: There is none and *access* makes none.
            LedgerError: It is damaged, newer than this program, or no ledger; the
                message names the way out.
        """
        return cls(Store.open(path, access, migrations))

    def close(self) -> None:
        """Let go of the file."""
        self._store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    @property
    def path(self) -> Path:
        """The ledger's file."""
        return self._store.path

    # -- watch ----------------------------------------------------------------------------

    def known(self, folder: str, parent: bytes) -> Mapping[bytes, Version]:
        """
        Return the version in which each source stands in one directory, by its name.

        Sources that vanished or that were moved away are not in it: seen again, they
        are to be added again.

        Args:
            folder: The folder's name.
            parent: The directory, relative to the folder's input root; empty for the root.
        """
        with self._store.reading() as connection:
            return rows.known(connection, folder, parent)

    def parents(self, folder: str) -> list[bytes]:
        """Return each directory in which a source stands, so that one that was removed is noticed."""
        with self._store.reading() as connection:
            return rows.parents(connection, folder)

    def add(self, folder: str, sources: Iterable[tuple[bytes, Version]], at: datetime) -> int:
        """
        Queue each source that is new or stands there in a new version.

        What is there already makes no second job. A newer version lets the older one
        vanish if that was not sent yet. A version that comes back is queued again if
        it had vanished or failed, or if we had put it away ourselves.

        Args:
            folder: The folder's name.
            sources: Settled sources, relative to the folder's input root, with what a stat says of them.
            at: Now.

        Returns:
            How many jobs are newly queued.
        """
        add = partial(intake.add, folder=folder, at=at)
        return sum(self._store.write(partial(add, seen=dict(some))) for some in rows.slices(sources, ADDED_AT_ONCE))

    def reject(self, folder: str, source: bytes, version: Version, at: datetime, *, reason: str, code: str) -> bool:
        """
        List a source as failed that can never be sent: broken, or no picture at all. No call is ever made for it.

        A newer version of it is looked at like any other.

        Returns:
            Whether that is news.
        """
        reject = partial(intake.reject, folder=folder, source=source, version=version, reason=reason, code=code, at=at)
        return self._store.write(reject)

    def gone(self, folder: str, sources: Iterable[bytes], at: datetime) -> int:
        """
        Write down that *sources* are not there any more; return how many jobs vanish with them.

        What is being sent or published goes on. A call in doubt stays in doubt.
        """
        gone = partial(intake.gone, folder=folder, at=at)
        return sum(self._store.write(partial(gone, sources=some)) for some in rows.slices(sources, ADDED_AT_ONCE))

    def set_unsettled(self, folder: str, items: Iterable[Unsettled]) -> bool:
        """
        Make *items* the unsettled sources of a folder, all there are; return whether anything changed.

        May be lost in a power cut: the next scan sees them again.
        """
        by_source = {one.source: one for one in items}
        replace_unsettled = partial(intake.replace_unsettled, folder=folder, items=by_source)
        return self._store.write(replace_unsettled, is_durable=False)

    # -- pipeline -------------------------------------------------------------------------

    def claim(
        self, limit: int, *, at: datetime, run_id: str, turns: Iterable[Turn], state: State = State.QUEUED
    ) -> list[Job]:
        """
        Take up to *limit* jobs that are due, so that nobody else takes them.

        Folders with a higher priority go first; folders of the same priority take
        turns; in each the oldest goes first. A job waits while an older version of
        its source is being sent or published. A claim is dropped when the job is
        recorded as finished or put back, by ``release`` and by ``recover``.

        Args:
            limit: How many at most.
            at: Now; a job whose ``retry_at`` is later is not due.
            run_id: Who claims.
            turns: The folders that may have jobs claimed.
            state: ``queued`` for what is to be sent, ``received`` for paid answers that wait to be published.

        Returns:
            The jobs, in the order in which they should be worked on.
        """
        claiming = work.Claiming(
            limit=limit, at=at, run_id=run_id, turns=tuple(turns), state=state, first=next(self._turn)
        )
        # a claim that a power cut takes back does no harm: nothing was sent for it
        return self._store.write(partial(work.claim, claiming=claiming), is_durable=False)

    def release(self, jobs: Iterable[Job]) -> int:
        """Put claimed jobs back to their place in line, as they were; return how many."""
        ids = [job.id for job in jobs]
        return self._store.write(partial(work.release, ids=ids), is_durable=False) if ids else 0

    def pull_in(self, folders: Iterable[str], at: datetime) -> int:
        """
        Make due what waits for a moment that only a wrong clock can have named; return how many jobs that are.

        Whatever was written down as "now" and lies ahead, and a wait longer than any of
        ours, come from a clock that was set back since. Those jobs stand behind what
        was due before and ahead of what comes later, in the order in which they came.
        Calls that lie ahead count as made now: they belong to no budget of a day to come.

        Args:
            folders: Whose jobs.
            at: Now.
        """
        with self._store.reading() as connection:
            late = [folder for folder in folders if work.is_put_off(connection, folder, at)]
            has_calls = bool(calls.ahead(connection, at, 1))
        if has_calls:
            self._little_by_little(partial(calls.pull_in, at=at, limit=ADDED_AT_ONCE), is_durable=False)
        pull_in = partial(work.pull_in, at=at, limit=ADDED_AT_ONCE)
        return sum(self._little_by_little(partial(pull_in, folder=one), is_durable=False) for one in late)

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
        """
        Store a job that was moved on, and return it as it is now: go on with that one.

        With state ``sending`` goes the start of a call: it is the intent to pay. A job
        that leaves ``sending`` says what the call came to; a job whose answer or doubt
        turns out otherwise says it again, and the same call is booked anew. The credits
        are added to ``job.charged`` here and nowhere else.

        Args:
            job: As ``move`` made it from the latest version that the caller had from here.
            call: What begins or ends with it.
            names: Candidates for its output name, as for ``claim_target``, where the job gets one in the same breath.
            published: What now stands under the output name; the source must own it.
            keeps_claim: Whether the caller goes on working on it. By default with
                ``sending`` and ``received`` alone.
            is_durable: False for what the next start would find out by itself.

        Raises:
            StaleJobError: Somebody else recorded the job meanwhile: it was retried by
                hand, its source went away or was replaced. Leave it.
            SendingTwiceError: Another job is sending the same content: wait for its answer.
            IllegalTransitionError: The stored state cannot become this one.
            TargetsTakenError: No name is left, or the source does not own what was published.
            ValueError: What is said about calls does not fit the states.
        """
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
        """
        Put right what a run left that ended in the middle; the owner calls it once at its start.

        What was being sent is in doubt. Claims are dropped. Paid answers stay
        ``received`` and are to be claimed and published before anything is sent.
        """
        return self._store.write(partial(work.recover, at=at))

    def hurry(self, folder: str, at: datetime, *, but: Collection[str] = ()) -> int:
        """Make the paid answers due now that a folder did not take, *but* those with certain codes; return how many."""
        return self._store.write(partial(work.hurry, folder=folder, but=but, at=at), is_durable=False)

    def retry(self, which: Which, at: datetime) -> int:
        """
        Put failed, held and in-doubt jobs back in line, with all their attempts; return how many.

        A job whose source is not there any more stays as it is.
        """
        states = (which.states or work.RETRYABLE) & work.RETRYABLE
        if not states:
            return 0
        meant = Which(states, which.folders, which.ids, which.pattern, which.since)
        with self._store.reading() as connection:
            ids = rows.ids_of(connection, meant, JOBS.c.gone_at.is_(None), limit=None)
        retry = partial(work.retry, at=at)
        return sum(self._store.write(partial(retry, ids=some)) for some in rows.slices(ids, ADDED_AT_ONCE))

    # -- answers and names ----------------------------------------------------------------

    def answers_for(self, content_key: str) -> list[Job]:
        """
        Return jobs that had an answer to this very request, the likeliest to still have it first.

        A ``received`` one has it in the spool; of the others it stands, perhaps, under
        ``target`` in their folder: look whether ``answer_digest`` is still true.
        """
        with self._store.reading() as connection:
            return rows.answered(connection, content_key)

    def answered_sizes(self) -> frozenset[int]:
        """Return the sizes of all sources that had an answer: one of another size has none to be found."""
        statement = select(JOBS.c.size_bytes).where(JOBS.c.answer_digest.is_not(None)).distinct()
        with self._store.reading() as connection:
            return frozenset(connection.scalars(statement))

    def is_waiting_to_publish(self, content_key: str) -> bool:
        """Say whether a job has still to publish the answer to this very request."""
        with self._store.reading() as connection:
            return rows.is_received(connection, content_key)

    def is_undelivered(self, folder: str, *, but: Collection[str] = ()) -> bool:
        """Say whether a paid answer waits for a folder to take it, *but* for those with certain codes."""
        with self._store.reading() as connection:
            return rows.is_undelivered(connection, folder, but)

    def claim_target(self, folder: str, source: bytes, candidates: Iterable[bytes], at: datetime) -> bytes:
        """
        Return the output name that *source* owns from now on: its own one, or the first free one.

        Names that differ in case or Unicode form alone count as the same. A name is
        free if no other source owns it; whether a file stands there is for the caller
        to see, who then calls ``release_target`` and offers the others.

        Args:
            folder: The folder's name.
            source: The source's path.
            candidates: Names relative to the output root, the best one first.
            at: Now.

        Raises:
            TargetsTakenError: All of them belong to other sources.
        """
        names = targets.Candidates(candidates)
        with self._store.reading() as connection:
            mine = targets.own(connection, folder, source, names)
        if mine is not None:
            return mine
        return self._store.write(partial(targets.claim, folder=folder, source=source, candidates=names, at=at))

    def release_target(self, folder: str, source: bytes, target: bytes) -> bool:
        """Take an output name from its source; return whether it owned it."""
        release = partial(targets.release, folder=folder, source=source, target=target)
        return self._store.write(release)

    def target(self, folder: str, target: bytes) -> Target | None:
        """Return who owns an output name, in whatever case or form, and what was last put there."""
        with self._store.reading() as connection:
            return targets.at_name(connection, folder, target)

    def targets_of(self, folder: str, source: bytes) -> list[Target]:
        """Return the output names of a source, the oldest first: more than one where the format changed."""
        with self._store.reading() as connection:
            return targets.of_source(connection, folder, source)

    # -- looking --------------------------------------------------------------------------

    def get(self, job_id: int) -> Job | None:
        """Return a job as it is now."""
        with self._store.reading() as connection:
            found = rows.jobs_by_id(connection, [job_id])
        return found[0] if found else None

    def find(self, folder: str, source: bytes) -> Job | None:
        """Return the job of a source in the version in which it stands there."""
        here = (JOBS.c.folder == folder, JOBS.c.source == source, JOBS.c.gone_at.is_(None))
        with self._store.reading() as connection:
            found = rows.jobs_where(connection, *here, limit=1)
        return found[0] if found else None

    def counts(self, folder: str | None = None) -> dict[State, int]:
        """Return how many jobs are in each state, zeros included."""
        by_folder = self.counts_by_folder()
        wanted = by_folder.values() if folder is None else [by_folder.get(folder, {})]
        return {state: sum(one.get(state, 0) for one in wanted) for state in State}

    def counts_by_folder(self) -> dict[str, dict[State, int]]:
        """Return how many jobs each folder has in each state, for the folders that have any."""
        with self._store.reading() as connection:
            return rows.counts(connection)

    def jobs(self, which: Which = _EVERYTHING, *, limit: int | None = None) -> Iterator[Job]:
        """
        Yield the jobs that are meant, last changed first.

        The list is made at once, the rows are read as they are needed: a slow reader
        holds up nobody, and a long list takes little memory.
        """
        with self._store.reading() as connection:
            ids = rows.ids_of(connection, which, limit=limit)
        for some in rows.slices(ids):
            with self._store.reading() as connection:
                page = rows.jobs_by_id(connection, some)
            yield from page

    def unsettled(self, folder: str | None = None, *, limit: int | None = None) -> list[tuple[str, Unsettled]]:
        """Return what was seen and is no job yet, the longest waiting first, each with its folder."""
        with self._store.reading() as connection:
            return intake.unsettled(connection, folder, limit)

    def unsettled_count(self) -> int:
        """Return how many sources are unsettled."""
        with self._store.reading() as connection:
            return rows.size_of(connection, UNSETTLED)

    def backlog(self, at: datetime, folders: Iterable[str] = ()) -> Backlog:
        """Sum up what is queued, in these folders or in all."""
        with self._store.reading() as connection:
            return rows.backlog(connection, tuple(folders), at)

    def queued(self, folders: Iterable[str] = ()) -> int:
        """Return how many jobs are queued, in these folders or in all; cheaper than ``counts`` and ``backlog``."""
        with self._store.reading() as connection:
            return rows.queued(connection, tuple(folders))

    def next_due_at(self, folders: Iterable[str], state: State = State.QUEUED) -> datetime | None:
        """Return when the next unclaimed job of these folders is due; in the past if one is."""
        with self._store.reading() as connection:
            return rows.next_due_at(connection, tuple(folders), state)

    def finished(self, since: datetime) -> dict[State, int]:
        """Return how many jobs became ``done``, ``failed`` and ``vanished`` since a moment and still are."""
        with self._store.reading() as connection:
            return rows.changed_since(connection, since, (State.DONE, State.FAILED, State.VANISHED))

    def to_dispose_of(self, folders: Iterable[str]) -> list[Job]:
        """Return finished jobs whose source is still to be moved or deleted: what a crash left undone."""
        due = (JOBS.c.folder.in_(tuple(folders)), JOBS.c.is_disposal_due.is_(True))
        with self._store.reading() as connection:
            return rows.jobs_where(connection, *due)

    def last_call(self) -> int:
        """Return the number of the call that began last, 0 if there was none; for ``spending``."""
        with self._store.reading() as connection:
            return calls.last(connection)

    def spending(
        self,
        since: datetime | None = None,
        until: datetime | None = None,
        *,
        folders: Iterable[str] = (),
        after_call: int | None = None,
    ) -> Spending:
        """
        Sum up the calls that began in a time, those under way included; without one, all there ever were.

        Of calls that were pruned the sums per UTC day are known: a time that cuts such a day counts it by its start.

        Args:
            since: The beginning of the time.
            until: Its end.
            folders: Whose calls; all without any.
            after_call: Only calls that began after this one (``last_call``), whatever the clock said then.
        """
        with self._store.reading() as connection:
            return calls.spending(connection, since, until, frozenset(folders), after_call)

    # -- notes ----------------------------------------------------------------------------

    def note(self, name: str) -> Json:
        """Return what was noted under a name; None if nothing was."""
        with self._store.reading() as connection:
            value = connection.scalar(select(NOTES.c.value).where(NOTES.c.name == name))
        found: Json = None if value is None else json.loads(value)
        return found

    def set_note(self, name: str, value: Json, *, is_durable: bool = True) -> None:
        """
        Remember a small value under a name; None forgets it.

        Args:
            name: What it is called.
            value: Anything that JSON holds.
            is_durable: False where an older value does after a power cut; cheaper.
        """
        self._store.write(partial(_set_note, name=name, value=value), is_durable=is_durable)

    # -- upkeep ---------------------------------------------------------------------------

    def spool_keys(self) -> frozenset[str]:
        """Return the content keys whose spooled answers are still needed; all others may be deleted."""
        needed = (State.SENDING, State.RECEIVED, State.IN_DOUBT)
        statement = select(JOBS.c.content_key).where(JOBS.c.state.in_(needed), JOBS.c.content_key.is_not(None))
        with self._store.reading() as connection:
            return frozenset(key for key in connection.scalars(statement) if key is not None)

    def prune(self, before: datetime) -> Pruned:
        """
        Forget finished jobs whose source is gone since before *before*; give the room back to the disk.

        While its source stands a job is remembered, or it would be paid for again. Of
        calls of forgotten jobs the sums per day stay.
        """
        old = (JOBS.c.gone_at < before, JOBS.c.changed_at < before, JOBS.c.state.in_(_PRUNABLE))
        jobs = self._little_by_little(lambda connection: _prune_jobs(connection, old))
        pruned_calls = self._little_by_little(lambda connection: _prune_calls(connection, before))
        names = self._little_by_little(lambda connection: targets.prune(connection, before, ADDED_AT_ONCE))
        return Pruned(jobs=jobs, calls=pruned_calls, targets=names, freed_bytes=self._store.shrink())

    def _little_by_little(self, some: Callable[[Connection], int], *, is_durable: bool = True) -> int:
        """Change a little at a time, so that a worker's commit need not wait long."""
        total = 0
        while changed := self._store.write(some, is_durable=is_durable):
            total += changed
        return total


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
    for some in rows.slices(ids):
        connection.execute(delete(JOBS).where(JOBS.c.id.in_(some)))
    return len(ids)


def _prune_calls(connection: Connection, before: datetime) -> int:
    ids = calls.prunable(connection, before, ADDED_AT_ONCE)
    calls.fold(connection, ids)
    return len(ids)
