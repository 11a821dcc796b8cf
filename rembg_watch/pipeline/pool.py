"""
The bounded pool: who runs the steps of the pipeline, how many at once, and what they do next.

::

    feeder ──claims a batch──> prepare ──> call ──> finish
    (1 thread)                (2 threads) (workers) (2 threads)

The feeder claims no more than it has credits for and no more than keeps the workers
busy; the backlog stays in the ledger. Calls alone are many, since they wait for the
network; preparing and finishing need this machine, and run beside them.
"""

import contextlib
import os
import queue
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Generic, TypeVar

from rembg_watch.account.balance import Balance
from rembg_watch.account.gate import Go
from rembg_watch.delivery.outputs import Blockage
from rembg_watch.host import processors
from rembg_watch.host.disk import NAME_CODES, DeliveryError
from rembg_watch.jobs import Job, State
from rembg_watch.ledger import LedgerUnavailableError, StaleJobError, Turn
from rembg_watch.pipeline import Back, Blocked, Line, Over, Paid, Ready, Slots, Twin, recovery
from rembg_watch.report import events

MOST_PREPARERS = 8
MOST_FINISHERS = 16
_LOOK_S = 1.0  # how often a waiting feeder looks up
_LEDGER_LOOK_S = 5.0  # how often it looks for what others put into the ledger
_SHORT_S = 10.0  # how long the credits under way are waited for before the account is read again
_CLOCK_TOLD_S = 600.0  # a clock that was set back is told of once

T = TypeVar("T")
Beat = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Trial:
    """A folder's output is to be tried out, beside everything else: a share may take its time."""

    folder: str
    output: Path


@dataclass(frozen=True, slots=True)
class Pulse:
    """How the pool shows that it lives: *beat* when something moves, *rest* when there is nothing to do."""

    beat: Beat = lambda _part: None
    rest: Beat = lambda _part: None
    register: Beat = lambda _part: None


def _threads(workers: int) -> int:
    """Return how many threads it takes to keep *workers* slots taken."""
    return workers + max(4, workers // 2)


def _ahead(workers: int) -> int:
    """Return how many more intents than slots there may be: none where one doubt more would be many."""
    return workers // 16


def _preparers(workers: int) -> int:
    """Return how many threads read and hash sources: a share far away serves several at once."""
    return max(2, min(MOST_PREPARERS, workers // 8))


def _finishers(workers: int) -> int:
    """Return how many threads deliver: they mostly wait for the disk, which serves many at once."""
    return max(2, min(MOST_FINISHERS, workers // 2))


class _Lane(Generic[T]):
    """A few threads that take items from one queue, each through one step."""

    def __init__(
        self,
        name: str,
        threads: int,
        take: Callable[[T, Callable[[], None]], None],
        pulse: Pulse,
        processor: int | None,
    ) -> None:
        self._processor = processor
        self._queue: queue.SimpleQueue[T | None] = queue.SimpleQueue()
        self._take = take
        self._pulse = pulse
        names = [name] if threads == 1 else [f"{name} {number}" for number in range(1, threads + 1)]
        self._threads = [threading.Thread(target=self._run, args=(each,), name=each, daemon=True) for each in names]

    def start(self) -> None:
        for thread in self._threads:
            self._pulse.register(thread.name)
            thread.start()

    def put(self, item: T) -> None:
        self._queue.put(item)

    def close(self) -> None:
        """Let every thread end when what is queued before is done."""
        for _ in self._threads:
            self._queue.put(None)

    def is_alive(self) -> bool:
        return any(thread.is_alive() for thread in self._threads)

    def _run(self, name: str) -> None:
        def beat() -> None:
            self._pulse.beat(name)

        processors.stay_on(self._processor)
        while True:
            self._pulse.rest(name)
            item = self._queue.get()
            beat()
            if item is None:
                self._pulse.rest(name)
                return
            self._take(item, beat)


class Pool:
    """Claim jobs batch by batch and bring each to its end."""

    def __init__(
        self,
        line: Line,
        balance: Balance,
        *,
        turns: Callable[[], Iterable[Turn]],
        run_id: str,
        workers: int = 8,
        batch_size: int = 50,
        pulse: Pulse | None = None,
    ) -> None:
        self.line = line
        self.balance = balance
        self.workers = workers
        self.batch_size = batch_size
        self._turns = turns
        self._run_id = run_id
        self._pulse = pulse or Pulse()
        self._changed = threading.Condition()
        self._is_poked = True
        self._active: dict[int, Job] = {}
        self._unpaid: set[int] = set()
        self._strays: dict[int, Job] = {}
        self._twins: dict[str, list[Job]] = defaultdict(list)
        self._processor = here = processors.shared_processor(workers)
        self._prepare: _Lane[Job] = _Lane("preparer", _preparers(workers), self._take_prepare, self._pulse, here)
        # more threads than slots: while the API works on some pictures, the next ones are uploaded
        self.line.slots = Slots(workers, ahead=_ahead(workers))
        self._call: _Lane[Ready] = _Lane("worker", _threads(workers), self._take_call, self._pulse, here)
        self._finish: _Lane[Paid | Trial] = _Lane("finisher", _finishers(workers), self._take_finish, self._pulse, here)
        self._low = _threads(workers) + workers  # so many still to be sent, or fewer, and the next batch is claimed
        self._most = 2 * (self._low + batch_size)  # so many under way, and none is claimed before some are delivered
        self._feeder = threading.Thread(target=self._feed, name="feeder", daemon=True)
        self._short_until_s = 0.0
        self._clock_seen_s = self._clock_told_s = float("-inf")

    # --- life -----------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to work; what was paid for and not delivered in an earlier life is tried first, at once."""
        self.try_outputs()
        for lane in (self._finish, self._call, self._prepare):
            lane.start()
        self._pulse.register(self._feeder.name)
        self._feeder.start()

    def poke(self) -> None:
        """Tell the feeder that there may be something new to do."""
        with self._changed:
            self._is_poked = True
            self._changed.notify_all()

    def try_outputs(self) -> None:
        """Try every output at once: its folder is new, or somebody may have mended it."""
        self.line.outputs.doubt()
        for folder in self.line.recipes:
            self._hurry(folder)
        self.poke()

    def stop(self, *, on_wait: Callable[[int], None] = lambda _in_flight: None, every_s: float = 0.2) -> None:
        """
        Take nothing new, wait for the calls in flight and deliver their answers; then return.

        Args:
            on_wait: Is called while waiting, with the number of jobs still under way.
            every_s: How often.
        """
        self.line.stopping.set()
        self.line.governor.close()
        self.poke()
        if self._feeder.ident is not None:
            self._wait(self._feeder.is_alive, on_wait, every_s)
            for lane in (self._prepare, self._call, self._finish):
                lane.close()
                self._wait(lane.is_alive, on_wait, every_s)
        with self._changed:
            left = [*self._active.values(), *self._strays.values()]
            self._active.clear()
        self.line.ledger.release(left)

    def _wait(self, is_busy: Callable[[], bool], on_wait: Callable[[int], None], every_s: float) -> None:
        tells_at = time.monotonic()
        while is_busy():
            if time.monotonic() >= tells_at:
                on_wait(self.in_flight())
                tells_at = time.monotonic() + every_s
            time.sleep(0.005)

    def in_flight(self) -> int:
        """Say how many jobs are under way."""
        with self._changed:
            return len(self._active)

    def unpaid(self, folder: str | None = None) -> int:
        """
        Say how many jobs are under way that may still cost something, in one folder or in all.

        Of a folder's copies that wait for another's answer one may have to ask itself, so it keeps its slot.
        """
        with self._changed:
            if folder is None:
                return len(self._unpaid)
            waiting = sum(any(twin.folder == folder for twin in twins) for twins in self._twins.values())
            return waiting + sum(job.folder == folder for job in self._active.values() if job.id in self._unpaid)

    @property
    def blocked(self) -> Mapping[str, Blockage]:
        """The folders for which nothing is sent because their output takes nothing; why, and since when."""
        return self.line.outputs.blocked

    # --- feeding --------------------------------------------------------------------------------

    def _feed(self) -> None:
        processors.stay_on(self._processor)
        while not self.line.stopping.is_set():
            self._pulse.beat(self._feeder.name)
            try:
                nap_s = self._feed_once()
            except LedgerUnavailableError as error:
                self.line.report(events.Mistake(where="the feeder", error=error))
                nap_s = _LEDGER_LOOK_S
            except Exception as error:  # noqa: BLE001 - the feeder must not die; what it could not do it tries again
                self.line.report(events.Mistake(where="the feeder", error=error))
                nap_s = _LEDGER_LOOK_S
            self._nap(nap_s)
        self._pulse.rest(self._feeder.name)

    def _nap(self, nap_s: float) -> None:
        """Wait until something may have changed, looking up now and then."""
        until = time.monotonic() + nap_s
        with self._changed:
            while not self._is_poked and not self.line.stopping.is_set():
                left = until - time.monotonic()
                if left <= 0:
                    break
                self._pulse.beat(self._feeder.name)
                self._changed.wait(min(left, _LOOK_S))
            self._is_poked = False

    def _feed_once(self) -> float:
        """Claim what can be worked on now; return how long to wait before the next look."""
        self._gather_strays()
        with self._changed:
            room = min(self.batch_size + self._low - len(self._unpaid), self._most - len(self._active))
            is_full = len(self._unpaid) > self._low
        if is_full or room <= 0:
            return _LOOK_S
        turns = list(self._turns())
        self._pull_in(turns)
        if self._until_due(turns, State.RECEIVED) <= 0:  # paid for: they go first, and need no credits
            self._claim(room, turns, State.RECEIVED)
        turns = [turn for turn in turns if turn.may_send and self._may_buy(turn.folder)]
        wait_s = self._until_due(turns, State.QUEUED)
        if wait_s > 0:
            if not self._active:
                self.line.governor.recount()
            return min(wait_s, _LEDGER_LOOK_S)
        if self._active and time.monotonic() < self._short_until_s:
            return _LOOK_S  # what is left is spoken for by what is under way
        answer = self.line.governor.ask()
        if not isinstance(answer, Go):
            return self._until(answer.until)
        most = 1 if answer.is_canary else min(room, self.batch_size)
        return self._form_batch(most, turns, is_canary=answer.is_canary)

    def _pull_in(self, turns: list[Turn]) -> None:
        """Let no job wait for a moment that a clock named which was ahead; look now and then, and tell it once."""
        now_s = time.monotonic()
        if now_s - self._clock_seen_s < _LOOK_S:
            return
        self._clock_seen_s = now_s
        jobs = self.line.ledger.pull_in([turn.folder for turn in turns], self.line.clocks.now())
        if jobs and now_s - self._clock_told_s > _CLOCK_TOLD_S:  # what was claimed when it was set back comes later
            self._clock_told_s = now_s
            self.line.report(events.ClockSetBack(jobs=jobs))

    def _form_batch(self, most: int, turns: list[Turn], *, is_canary: bool) -> float:
        affordable = self.line.governor.take_reading()
        if affordable is None and is_canary:
            affordable = 1  # the account cannot be read: one picture is what the gate sends to find out
        if affordable is None or affordable <= 0:
            self._short_until_s = time.monotonic() + _SHORT_S
            return _LOOK_S
        claimed = self._claim(min(most, affordable), turns, State.QUEUED)
        if not claimed:
            return _LOOK_S
        queued = self.line.ledger.queued()
        spendable = self.balance.reading.spendable if self.balance.reading else affordable * self.balance.price
        self.line.report(events.BatchFormed(size=claimed, queued=queued, spendable=spendable))
        return 0.0 if claimed < self.workers else _LOOK_S

    def _claim(self, most: int, turns: list[Turn], state: State) -> int:
        jobs = self.line.ledger.claim(most, at=self.line.clocks.now(), run_id=self._run_id, turns=turns, state=state)
        with self._changed:
            for job in jobs:
                self._active[job.id] = job
                if state is State.QUEUED:
                    self._unpaid.add(job.id)
        for job in jobs:
            self._prepare.put(job)
        return len(jobs)

    def _until_due(self, turns: list[Turn], state: State) -> float:
        """Return the seconds until a job of these folders is due; a long time if there is none."""
        due_at = self.line.ledger.next_due_at([turn.folder for turn in turns], state) if turns else None
        if due_at is None:
            return _LEDGER_LOOK_S
        return (due_at - self.line.clocks.now()).total_seconds()

    def _until(self, moment: datetime | None) -> float:
        if moment is None:
            return _LEDGER_LOOK_S
        return min(_LEDGER_LOOK_S, max(0.01, (moment - self.line.clocks.now()).total_seconds()))

    def _may_buy(self, folder: str) -> bool:
        """
        Say if what is bought for a folder could be delivered, as far as that is known.

        A paid answer that waits is the only trial that counts: where a small file fits, a
        cutout may not. Without one, a small file is written.
        """
        outputs, recipe = self.line.outputs, self.line.recipes.get(folder)
        if outputs.is_sound(folder):
            return True
        if recipe is None or self._is_undelivered(folder):
            return False
        if outputs.begin_trial(folder, self.line.clocks.monotonic()):
            self._finish.put(Trial(folder, recipe.output))
        return False

    def _is_undelivered(self, folder: str) -> bool:
        return self.line.ledger.is_undelivered(folder, but=NAME_CODES)

    def _hurry(self, folder: str) -> None:
        with contextlib.suppress(LedgerUnavailableError):  # then they come when they would have come
            self.line.ledger.hurry(folder, self.line.clocks.now(), but=NAME_CODES)

    def _gather_strays(self) -> None:
        """
        Take up jobs that could not be recorded because the ledger took nothing; what cannot be yet stays for later.

        Raises:
            LedgerUnavailableError: It takes nothing still.
        """
        with self._changed:
            strays, self._strays = self._strays, {}
        try:
            for stray in list(strays.values()):
                try:
                    recovery.reconcile(self.line, stray.id)
                except StaleJobError:
                    pass  # somebody else took care of it
                except LedgerUnavailableError:
                    raise
                except Exception as error:  # noqa: BLE001 - it is this one's trouble: the others need not wait for it
                    self.line.report(events.Mistake(where="the feeder", error=error, job=stray.id))
                    continue
                del strays[stray.id]
        finally:
            with self._changed:
                self._strays = strays | self._strays

    # --- the lanes ------------------------------------------------------------------------------

    def _take_prepare(self, job: Job, beat: Callable[[], None]) -> None:
        del beat
        if self.line.stopping.is_set():
            self._over(job)
            self.line.ledger.release([job])
            return
        found = self._guarded(job, "preparing", lambda: self.line.prepare(job))
        match found:
            case Ready():
                self._call.put(found)
            case Paid():
                self._is_paid(job)
                self._finish.put(found)
            case Twin():
                self._park(found)
            case Back():
                self._give_back(found.job)
            case _:
                self._over(job)

    def _take_call(self, ready: Ready, beat: Callable[[], None]) -> None:
        job = ready.job
        found = self._guarded(job, "calling", lambda: self.line.call(ready, beat=beat))
        match found:
            case Paid():
                self._is_paid(job)
                self._finish.put(found)
                return
            case Back():
                self._give_back(found.job)
            case _:
                self._over(job)
        self._wake_twins()

    def _take_finish(self, item: Paid | Trial, beat: Callable[[], None]) -> None:
        del beat
        if isinstance(item, Trial):
            self._try_out(item)
            return
        job = item.job
        found = self._guarded(job, "finishing", lambda: self.line.finish(item))
        match found:
            case Blocked(is_name=True):
                why, code = found.reason, found.code
                self.line.report(events.NameRefused(**events.of(job), why=why, code=code))
            case Blocked():
                self._refused(job.folder, found.path, found.reason, found.code)
            case Over() if found.job.state is State.DONE:
                self._took(job.folder, item.recipe.output)
        self._over(job)
        self._wake_twins()

    def _try_out(self, trial: Trial) -> None:
        """See whether an output takes a small file; an answer that was paid for meanwhile knows better."""
        try:
            self.line.try_out(trial.output)
        except DeliveryError as trouble:
            self._refused(trial.folder, trouble.path, trouble.reason, trouble.code)
        except OSError as error:
            self._refused(trial.folder, trial.output, (error.strerror or str(error)).lower(), "unforeseen")
        else:
            with contextlib.suppress(LedgerUnavailableError):  # it is tried out again
                if not self._is_undelivered(trial.folder):
                    self._took(trial.folder, trial.output)
        finally:
            self.line.outputs.end_trial(trial.folder)
            self.poke()

    def _refused(self, folder: str, path: Path, why: str, code: str) -> None:
        now_s = self.line.clocks.monotonic()
        self.line.outputs.refused(folder, why, code, at=self.line.clocks.now(), now_s=now_s)
        self.line.report(events.OutputBlocked(folder=folder, path=os.fsencode(path), why=why, code=code))

    def _took(self, folder: str, output: Path) -> None:
        if self.line.outputs.took(folder):
            self._hurry(folder)
            self.line.report(events.OutputFree(folder=folder, path=os.fsencode(output)))

    def _guarded(self, job: Job, doing: str, step: Callable[[], T]) -> T | None:
        """
        Run one step for one job; whatever goes wrong in it concerns this job alone.

        The one place where any exception is caught. The job is kept: its attempt counts,
        and where not even that can be written, it is taken up again later.
        """
        try:
            return step()
        except StaleJobError:
            return None  # somebody else took care of it
        except LedgerUnavailableError as error:  # nobody's fault; taken up again when the ledger takes entries
            self.line.report(events.Mistake(where=doing, error=error, job=job.id))
            with self._changed:
                self._strays[job.id] = job
            return None
        except Exception as error:  # noqa: BLE001 - see above
            self.line.report(events.Mistake(where=doing, error=error, job=job.id))
            try:
                recovery.mistaken(self.line, job.id, error)
            except Exception:  # noqa: BLE001 - the ledger takes nothing: later
                with self._changed:
                    self._strays[job.id] = job
            return None

    def _is_paid(self, job: Job) -> None:
        with self._changed:
            self._unpaid.discard(job.id)
            self._poke_if_low()

    def _give_back(self, job: Job) -> None:
        self._over(job)
        self.line.ledger.release([job])

    def _over(self, job: Job) -> None:
        with self._changed:
            self._active.pop(job.id, None)
            self._unpaid.discard(job.id)
            self._poke_if_low()

    def _poke_if_low(self) -> None:
        """Let the feeder claim more, with the lock held; what only waits to be delivered keeps nobody from it."""
        if len(self._unpaid) <= self._low and len(self._active) < self._most:
            self._is_poked = True
            self._changed.notify_all()

    def _park(self, twin: Twin) -> None:
        """Let a job wait for another one with the same content; it costs nothing meanwhile."""
        with self._changed:
            if self.line.is_sending(twin.content_key):
                self._unpaid.discard(twin.job.id)
                self._twins[twin.content_key].append(twin.job)
                return
        self._prepare.put(twin.job)

    def _wake_twins(self) -> None:
        """Let the jobs that waited for another's answer look again: it is theirs now, or one of them asks."""
        with self._changed:
            settled = [key for key in self._twins if not self.line.is_sending(key)]
            twins = [twin for key in settled for twin in self._twins.pop(key)]
            self._unpaid.update(twin.id for twin in twins)
        for twin in twins:
            self._prepare.put(twin)
