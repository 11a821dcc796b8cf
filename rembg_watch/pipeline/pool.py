"""
The bounded pool: who runs the steps of the pipeline, how many at once, and what they do next.

    feeder ──claims a batch──> prepare ──────> call ───────> finish ──────> make
    (1 thread)                 (2 to 8, and  (workers, and   (2 to 16)      (2 to 4)
                                as many)      some more)

The feeder claims no more than it has credits for and no more than keeps the workers
busy; the backlog stays in the ledger. Calls alone are many, since they wait for the
network; preparing and finishing need this machine, and run beside them.

To copy a large picture before it is sent, and to make files of it, takes from seconds to
minutes. Folders that want that have threads of their own for it, so that no other waits for them.
"""

import contextlib
import threading
from collections.abc import Callable, Iterable
from typing import TypeVar

from rembg_watch.account.balance import Balance
from rembg_watch.delivery.verify import AT_ONCE
from rembg_watch.errors import RembgWatchError
from rembg_watch.host import processors
from rembg_watch.jobs import Job, State
from rembg_watch.ledger import LedgerUnavailableError, StaleJobError
from rembg_watch.pipeline import afterwards, output_check, recovery
from rembg_watch.pipeline.feeder import LEDGER_LOOK_S, LOOK_S, Feeder
from rembg_watch.pipeline.plan import Recipe
from rembg_watch.pipeline.steps import Pipeline
from rembg_watch.pipeline.threads import Pulse, ThreadGroup
from rembg_watch.pipeline.under_way import UnderWay
from rembg_watch.pipeline.values import Back, Blocked, Bought, Originals, Over, Paid, Ready, Twin
from rembg_watch.report import events

MOST_PREPARERS = 8
MOST_FINISHERS = 16
FEEDER = "feeder"

T = TypeVar("T")


def low_mark(workers: int) -> int:
    """Return the number of jobs still to be sent at which the next batch is claimed."""
    return _callers(workers) + workers


def _callers(workers: int) -> int:
    """Return how many threads it takes to keep *workers* slots taken: while some wait, the next ones upload."""
    return workers + max(4, workers // 2)


def _preparers(workers: int) -> int:
    return max(2, min(MOST_PREPARERS, workers // 8))  # a share far away serves several at once


def _finishers(workers: int) -> int:
    return max(2, min(MOST_FINISHERS, workers // 2))  # they mostly wait for the disk, which serves many


def _renderers() -> int:
    return max(2, AT_ONCE)  # while one publishes, another can be made


def threads_for(workers: int) -> int:
    """Return how many threads a pool with so many workers starts, its feeder included."""
    return _callers(workers) + 2 * _preparers(workers) + _finishers(workers) + _renderers() + 1


class Pool:
    """Bring claimed jobs to their end, in threads."""

    def __init__(
        self,
        pipeline: Pipeline,
        balance: Balance,
        under_way: UnderWay,
        *,
        shut: Callable[[], Iterable[str]],
        run_id: str,
        workers: int = 8,
        pulse: Pulse | None = None,
    ) -> None:
        self._pipeline = pipeline
        self._ports = pipeline.ports
        self._under_way = under_way
        self._pulse = pulse or Pulse()
        self._processor = here = processors.shared_processor(workers)
        lost = self._ports.shares.is_lost
        preparers, pulse = _preparers(workers), self._pulse
        self._prepare = ThreadGroup("preparer", preparers, self._take_prepare, pulse, here, is_lost=lost)
        self._copy = ThreadGroup(
            "copier", preparers, self._take_prepare, pulse, here, is_lost=lost, starts_at_need=True
        )
        self._call = ThreadGroup("worker", _callers(workers), self._take_call, pulse, here, is_lost=lost)
        self._finish = ThreadGroup("finisher", _finishers(workers), self._take_finish, pulse, here, is_lost=lost)
        self._make = ThreadGroup(
            "renderer", _renderers(), self._take_make, pulse, here, is_lost=lost, starts_at_need=True
        )
        self._groups = (self._prepare, self._copy, self._call, self._finish, self._make)
        self.feeder = Feeder(
            self._ports,
            balance,
            under_way,
            shut=shut,
            run_id=run_id,
            workers=workers,
            start=self._begin,
            check_output=self._finish.put,
            put_away=self._put_away,
        )
        self._putting_away: set[str] = set()  # folders; single acts on it are atomic
        self._feeding = threading.Thread(target=self._feed, name=FEEDER, daemon=True)

    # --- life -----------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to work; what was paid for and not delivered in an earlier run is tried first, at once."""
        self.try_outputs()
        for group in reversed(self._groups):
            group.start()
        self._pulse.register(FEEDER)
        self._feeding.start()

    def replace_lost(self) -> None:
        """Have others do the work of threads that a share lets wait; called now and then."""
        for group in self._groups:
            group.replace_lost()

    def try_outputs(self) -> None:
        """Try every output at once: its folder is new, or somebody may have mended it."""
        self._ports.outputs.doubt()
        for folder in self._ports.in_force.plan.recipes:
            output_check.hurry(self._ports, folder)
        self._under_way.poke()

    def stop(self, *, on_wait: Callable[[int], None] = lambda _in_flight: None, every_s: float = 0.2) -> None:
        """
        Take nothing new, wait for the calls in flight and deliver their answers; then return.

        A share that does not answer is not waited for: what is paid for is in the spool. Nor are
        files that nobody has begun to make: what they are made of is kept.
        While it waits, *on_wait* is called every *every_s* with the number of jobs still under way.
        """
        self._ports.stopping.set()
        self._ports.governor.close()
        self._under_way.poke()
        if self._feeding.ident is not None:
            self._wait(self._feeder_ended, on_wait, every_s)
            for group in self._groups:
                group.close()
                self._wait(group.join, on_wait, every_s)
        self._ports.ledger.release(self._under_way.give_up())

    def _feeder_ended(self, timeout_s: float) -> bool:
        self._feeding.join(timeout_s)
        return not self._feeding.is_alive()

    def _wait(self, has_ended: Callable[[float], bool], on_wait: Callable[[int], None], every_s: float) -> None:
        while not has_ended(every_s):
            on_wait(len(self._under_way))

    # --- feeding --------------------------------------------------------------------------------

    def _feed(self) -> None:
        processors.stay_on(self._processor)
        while not self._ports.stopping.is_set():
            self._pulse.beat(FEEDER)
            try:
                nap_s = self.feeder.feed()
            except Exception as error:  # noqa: BLE001 - the feeder must not die; what it could not do it tries again
                self._ports.report(events.Mistake(where="the feeder", error=error))
                nap_s = LEDGER_LOOK_S
            self._nap(nap_s)
        self._pulse.rest(FEEDER)

    def _nap(self, nap_s: float) -> None:
        clocks = self._ports.clocks
        until_s = clocks.monotonic() + nap_s
        while not self._ports.stopping.is_set():
            left_s = until_s - clocks.monotonic()
            if self._under_way.wait(min(left_s, LOOK_S)) or left_s <= 0:
                return
            self._pulse.beat(FEEDER)

    # --- the steps ------------------------------------------------------------------------------

    def _begin(self, job: Job) -> None:
        """Have a job prepared: by threads of their own where it may have to be copied for that."""
        recipe = self._ports.in_force.plan.recipes.get(job.folder)
        if recipe is not None and recipe.deliverables:
            self._under_way.copying(job)
            self._copy.put(job)
        else:
            self._prepare.put(job)

    def _take_prepare(self, job: Job, beat: Callable[[], None]) -> None:
        if self._ports.stopping.is_set() or self._ports.shares.is_hung(job.folder):
            self._give_back(job)
            return
        found = self._guarded(job, "preparing", lambda: self._pipeline.prepare(job, beat=beat))
        self._under_way.copied(job)
        match found:
            case Ready() if self._ports.stopping.is_set():  # a share has let it wait: nobody takes it any more
                found.prepared.close()
                with contextlib.suppress(RembgWatchError):  # the ledger may be closed by now
                    self._give_back(job)
            case Ready():
                self._call.put(found)
            case Paid():
                self._under_way.paid(job)
                self._finish.put(found)
            case Twin():
                if not self._under_way.park(found.job, found.content_key, is_copy=found.is_copy):
                    self._begin(found.job)
            case Back():
                self._give_back(found.job)
            case Blocked():
                output_check.refused(self._ports, job.folder, found.path, found.reason, found.code)
                self._give_back(found.job)
            case _:
                self._under_way.over(job)

    def _take_call(self, ready: Ready, beat: Callable[[], None]) -> None:
        job = ready.job
        found = self._guarded(job, "calling", lambda: self._pipeline.call(ready, beat=beat))
        match found:
            case Paid():
                self._under_way.paid(job)
                self._finish.put(found)
                return
            case Back():
                self._give_back(found.job)
            case _:
                self._under_way.over(job)
        self._wake_twins()

    def _take_finish(self, item: Paid | Recipe | Originals, beat: Callable[[], None]) -> None:
        """Finish a job, or see to a folder that refused something, beside all else: a share may take its time."""
        if isinstance(item, Recipe):
            output_check.check(self._ports, item.name, item.output)
            self._under_way.poke()
            return
        if isinstance(item, Originals):
            self._take_originals(item, beat)
            return
        job = item.job
        if self._ports.shares.is_hung(job.folder):  # the answer is in the spool, and comes when the share answers
            self._ports.contents.end(str(job.content_key))
            self._ports.contents.end_all(item.asked)
            self._give_back(job)
            self._wake_twins()
            return
        found = self._guarded(job, "finishing", lambda: self._pipeline.finish(item))
        if isinstance(found, Bought):
            self._under_way.making(job)
            self._make.put(found)
        else:
            self._finished(item, found)
        self._wake_twins()

    def _take_make(self, bought: Bought, beat: Callable[[], None]) -> None:
        """Have files made of what was bought; they are not begun as the program ends, or on a share that hangs."""
        if self._ports.stopping.is_set() or self._ports.shares.is_hung(bought.job.folder):
            self._give_back(bought.job)
            return
        found = self._guarded(bought.job, "making", lambda: self._pipeline.make(bought, beat=beat))
        self._finished(bought.paid, found)

    def _finished(self, paid: Paid, found: Over | Blocked | None) -> None:
        job = paid.job
        match found:
            case Blocked(is_name=True):
                self._ports.report(events.NameRefused(**events.of(job), why=found.reason, code=found.code))
            case Blocked():
                output_check.refused(self._ports, job.folder, found.path, found.reason, found.code)
            case Over() if found.job.state is State.DONE:
                output_check.accepted(self._ports, job.folder, paid.recipe.output)
        self._under_way.over(job)

    def _put_away(self, left: Originals) -> None:
        """Have the originals of a folder put away by one thread, however long that takes."""
        if left.folder not in self._putting_away:
            self._putting_away.add(left.folder)
            self._finish.put(left)

    def _take_originals(self, left: Originals, beat: Callable[[], None]) -> None:
        try:
            afterwards.put_away_left(self._ports, left.folder, beat=beat)
        except LedgerUnavailableError:
            pass  # the feeder tells of it, and they are tried again
        except Exception as error:  # noqa: BLE001 - they stay, and the thread has other work
            self._ports.report(events.Mistake(where="putting originals away", error=error))
        finally:
            self._putting_away.discard(left.folder)

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
            self._ports.report(events.Mistake(where=doing, error=error, job=job.id))
            self._under_way.keep_unrecorded([job])
            return None
        except Exception as error:  # noqa: BLE001 - see above
            self._ports.report(events.Mistake(where=doing, error=error, job=job.id))
            try:
                recovery.mistaken(self._ports, job.id, error)
            except Exception:  # noqa: BLE001 - the ledger takes nothing: later
                self._under_way.keep_unrecorded([job])
            return None

    def _give_back(self, job: Job) -> None:
        self._under_way.over(job)
        with contextlib.suppress(LedgerUnavailableError):  # the next start takes it up
            self._ports.ledger.release([job])

    def _wake_twins(self) -> None:
        for twin in self._under_way.wake():
            self._begin(twin)
