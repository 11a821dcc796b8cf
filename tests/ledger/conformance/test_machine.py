"""Any order of what watch, workers, people and crashes do to a ledger leaves it sound."""

import shutil
import tempfile
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from rembg_watch.api.errors import Charge
from rembg_watch.jobs import TRANSITIONS, WORKING, CallEnd, CallStart, Job, State, Version, move, with_content
from rembg_watch.ledger import SendingTwiceError, StaleJobError, Turn, Which
from tests.ledger.engines import Engine
from tests.profiles import machine_settings

FOLDERS = ("f", "g")
SOURCES = (b"a.jpg", b"a.png", b"sub/\xff.jpg", b"sub/b\n.jpg")
CONTENTS = ("one", "two")
BEGIN = datetime(2026, 11, 22, tzinfo=UTC)

folders = st.sampled_from(FOLDERS)
sources = st.sampled_from(SOURCES)
versions = st.integers(1, 3).map(lambda number: Version(size_bytes=number, mtime_ns=number, inode=7))


class LedgerMachine(RuleBasedStateMachine):
    engine: ClassVar[Engine]
    held = Bundle("held")  # jobs as some worker knows them, up to date or not

    @initialize()
    def open(self) -> None:
        self.directory = Path(tempfile.mkdtemp())
        self.home = self.engine(self.directory)
        self.ledger = self.home.open()
        self.now = BEGIN
        self.disk: dict[tuple[str, bytes], Version] = {}  # what the ledger was told to stand
        self.claimed: set[int] = set()
        self.spent = {"yes": Decimal(0), "maybe": Decimal(0)}
        self.calls = 0
        self.versions: set[tuple[str, bytes, Version]] = set()

    def tick(self) -> datetime:
        self.now += timedelta(seconds=1)
        return self.now

    def teardown(self) -> None:
        if hasattr(self, "ledger"):
            self.ledger.close()
            shutil.rmtree(self.directory)

    @rule(folder=folders, seen=st.dictionaries(sources, versions, min_size=1))
    def add(self, folder: str, seen: dict[bytes, Version]) -> None:
        before = {source: self.ledger.find(folder, source) for source in seen}
        queued = self.ledger.add(folder, seen.items(), self.tick())
        assert queued <= sum(before[source] is None or before[source].version != seen[source] for source in seen)
        assert self.ledger.add(folder, seen.items(), self.tick()) == 0
        for source, version in seen.items():
            self.disk[folder, source] = version
            self.versions.add((folder, source, version))
            if before[source] is not None and before[source].version != version:
                self.forget_claim(before[source].id)

    def forget_claim(self, job_id: int) -> None:
        job = self.ledger.get(job_id)
        if job is None or job.state not in {State.QUEUED, *WORKING}:
            self.claimed.discard(job_id)

    @rule(folder=folders, names=st.sets(sources, min_size=1))
    def go(self, folder: str, names: set[bytes]) -> None:
        self.ledger.gone(folder, names, self.tick())
        for source in names:
            self.disk.pop((folder, source), None)
        for job_id in list(self.claimed):
            self.forget_claim(job_id)

    @rule(target=held, limit=st.integers(1, 4), state=st.sampled_from([State.QUEUED, State.RECEIVED]))
    def claim(self, limit: int, state: State) -> object:
        jobs = self.ledger.claim(
            limit, at=self.tick(), run_id="r", turns=[Turn("f", priority=1), Turn("g")], state=state
        )
        assert len(jobs) <= limit
        for job in jobs:
            assert job.id not in self.claimed, "claimed twice"
            assert job.state is state
            assert job.retry_at is None or job.retry_at <= self.now
            self.claimed.add(job.id)
        return multiple(*jobs)

    @rule(target=held, job=consumes(held))
    def release(self, job: Job) -> object:
        self.ledger.release([job])
        found = self.ledger.get(job.id)
        if found is not None and found.state in (State.QUEUED, State.RECEIVED, *WORKING):
            self.claimed.discard(job.id)
        return multiple()

    @rule(target=held, job=consumes(held), content=st.sampled_from(CONTENTS))
    def send(self, job: Job, content: str) -> object:
        if State.SENDING not in TRANSITIONS[job.state]:
            return job
        sending = self.ledger.jobs(Which(states=frozenset({State.SENDING})))
        busy = next((one for one in sending if one.content_key == content), None)
        try:
            moved = move(with_content(job, content), State.SENDING, at=self.tick())
            stored = self.ledger.record(moved, call=CallStart(Decimal("0.5")))
        except SendingTwiceError:
            assert busy is not None
            return job
        except StaleJobError:
            assert self.ledger.get(job.id) != job
            return multiple()
        assert busy is None
        self.calls += 1
        self.spent["maybe"] += Decimal("0.5")
        return stored

    @rule(
        target=held,
        job=consumes(held),
        state=st.sampled_from(State),
        charge=st.sampled_from(Charge),
        wait_s=st.sampled_from([None, 0, 3, 1000]),
    )
    def move_on(self, job: Job, state: State, charge: Charge, wait_s: int | None) -> object:
        if state not in TRANSITIONS[job.state] or state is State.SENDING:
            return job
        end = CallEnd(charge, Decimal("0.5")) if job.state is State.SENDING else None
        if state in (State.RECEIVED, State.DONE):
            charge = Charge.YES
            end = CallEnd(charge, Decimal("0.5")) if end else None
        retry_at = None if wait_s is None else self.now + timedelta(seconds=wait_s)
        try:
            stored = self.ledger.record(move(job, state, at=self.tick(), retry_at=retry_at), call=end)
        except StaleJobError as stale:
            self.was_stale(job, stale.found)
            return multiple()
        found = self.ledger.get(job.id)
        assert found is not None
        assert found == replace(stored, gone_at=found.gone_at)  # that one is the watch side's to tell
        if end is not None:
            self.spent["maybe"] -= Decimal("0.5")
            if charge is not Charge.NO:
                self.spent[charge] += Decimal("0.5")
        if state not in WORKING:
            self.claimed.discard(job.id)
        if state is State.VANISHED:
            self.disk = {
                place: version
                for place, version in self.disk.items()
                if (*place, version) != (job.folder, job.source, job.version)
            }
        return stored

    def was_stale(self, job: Job, told: State | None) -> None:
        found = self.ledger.get(job.id)
        assert found != job
        assert (None if found is None else found.state) is told

    @rule(pattern=st.sampled_from([None, "*.jpg", "sub/*"]), states=st.sets(st.sampled_from(State)))
    def retry(self, pattern: str | None, states: set[State]) -> None:
        before = self.ledger.counts()[State.QUEUED]
        queued = self.ledger.retry(Which(states=frozenset(states), pattern=pattern), self.tick())
        assert self.ledger.counts()[State.QUEUED] == before + queued

    @rule(is_clean=st.booleans())
    def crash(self, is_clean: bool) -> None:
        """Forget all that is not on disk; after a kill, the file is as it would be found then."""
        sending = [job.id for job in self.ledger.jobs(Which(states=frozenset({State.SENDING})))]
        if not is_clean:
            self.home.kill(self.ledger)
        else:
            self.ledger.close()
        self.ledger = self.home.open()
        found = self.ledger.recover(self.tick())
        assert found.crashed == len(sending)
        assert {job.id for job in found.in_doubt} >= set(sending)
        assert found.received == self.ledger.counts()[State.RECEIVED]
        self.claimed.clear()

    @rule()
    def prune(self) -> None:
        remembered = {(job.folder, job.source) for job in self.ledger.jobs() if job.gone_at is None}
        self.ledger.prune(self.now - timedelta(seconds=5))
        assert {(job.folder, job.source) for job in self.ledger.jobs() if job.gone_at is None} == remembered
        alive = {(job.folder, job.source, job.version) for job in self.ledger.jobs()}
        self.versions &= alive

    @invariant()
    def the_ledger_knows_what_it_was_told(self) -> None:
        if not hasattr(self, "ledger"):
            return
        known = {
            (folder, parent + b"/" + name if parent else name): version
            for folder in FOLDERS
            for parent in self.ledger.parents(folder)
            for name, version in self.ledger.known(folder, parent).items()
        }
        assert known == self.disk

    @invariant()
    def each_version_is_one_job_and_each_source_stands_in_one(self) -> None:
        if not hasattr(self, "ledger"):
            return
        jobs = list(self.ledger.jobs())
        assert Counter((job.folder, job.source, job.version) for job in jobs) == Counter(self.versions)
        standing = Counter((job.folder, job.source) for job in jobs if job.gone_at is None)
        assert set(standing.values()) <= {1}
        assert all(job.gone_at is not None for job in jobs if job.state is State.VANISHED)
        counts = Counter(job.state for job in jobs)
        assert self.ledger.counts() == {state: counts[state] for state in State}

    @invariant()
    def the_books_are_right(self) -> None:
        if not hasattr(self, "ledger"):
            return
        sums = self.ledger.spending()
        assert (sums.calls, sums.charged, sums.doubtful) == (self.calls, self.spent["yes"], self.spent["maybe"])
        sending = list(self.ledger.jobs(Which(states=frozenset({State.SENDING}))))
        assert len({job.content_key for job in sending}) == len(sending), "one content sent twice at once"

    @invariant()
    def nothing_waits_that_could_be_claimed_but_is_not_in_line(self) -> None:
        if not hasattr(self, "ledger"):
            return
        for state in (State.QUEUED, State.RECEIVED):
            waiting = [job for job in self.ledger.jobs(Which(states=frozenset({state}))) if job.id not in self.claimed]
            due = [job.retry_at or job.enqueued_at for job in waiting]
            assert self.ledger.next_due_at(FOLDERS, state) == min(due, default=None)


def test_any_order_leaves_the_ledger_sound(engine: Engine) -> None:
    machine = type("LedgerMachineThere", (LedgerMachine,), {"engine": staticmethod(engine)})
    run_state_machine_as_test(machine, settings=machine_settings())
