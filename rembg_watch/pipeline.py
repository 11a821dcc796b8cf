"""
The way of one picture from the ledger to its place: prepare, call, verify, publish, record.

Three steps, each of which ends with everything it has learned on disk, so that a crash
between any two of them loses no picture and pays for none twice without saying so:

============  =====================================================================
``prepare``   open and hash the source; take up an answer that was paid for before
``call``      wait at the gate, send, keep the answer: the only step that costs money
``finish``    verify the answer, publish it, put the source away
============  =====================================================================

Who runs them, how many at once and when, is ``pool``'s matter.
"""

import hashlib
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from errno import ENOSPC
from os import fsdecode, strerror
from pathlib import Path
from typing import BinaryIO

import tenacity

from rembg_watch import originals
from rembg_watch.admit import Need
from rembg_watch.api.client import Client
from rembg_watch.api.cutout import Cutout
from rembg_watch.api.errors import BadAnswerError, Charge, NoAnswerError, RembgError
from rembg_watch.api.params import RemovalParams
from rembg_watch.credits import Billed
from rembg_watch.disk import Content, DeliveryError, OutputUnavailableError, TargetRefusedError, TargetTakenError
from rembg_watch.errors import RembgWatchError
from rembg_watch.gatehouse import Clocks, Gatehouse, Ticket
from rembg_watch.jobs import CallEnd, CallStart, Job, State, move, with_content
from rembg_watch.ledger import Ledger, StaleJobError, Target
from rembg_watch.originals import Disposal, Disposed
from rembg_watch.paths import After, mirror
from rembg_watch.prepare import (
    Prepared,
    SourceChangedError,
    SourceError,
    SourceGoneError,
    SourceUnfitError,
    SourceUnreadableError,
    prepare,
)
from rembg_watch.publish import Published, Staged, discard, enough_room, is_ours, publish, stage
from rembg_watch.report import events
from rembg_watch.report.events import Reporter
from rembg_watch.retry import Decision, retries_in_place, wait_s
from rembg_watch.spool import Spool
from rembg_watch.verify import AnswerRejectedError, Expected, verify

Step = Callable[[str], None]
"""Is told of each step as it is done; what raises there dies there, as a crash would."""

_SOURCE_RETRY_S = 30.0
_OUTPUT_RETRY_S = 15.0
_NAME_RETRY_S = 3600.0
_ROOM_FACTOR = 4  # an answer can be larger than its picture: lossless and with alpha
_BEAT_S = 1.0
LEAST_ROOM_BYTES = 16 * 1024 * 1024
"""Nothing is sent where not even so much could be kept."""


def no_step(_name: str) -> None:
    """Die nowhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What is done with the pictures of one folder."""

    name: str
    input: Path
    output: Path
    params: RemovalParams
    after: After = "keep"
    done: Path | None = None
    failed: Path | None = None
    upright: bool = True

    @property
    def options(self) -> str:
        """The parameters in one stable spelling, as the content key and a folder's hold know them."""
        return self.params.canonical()


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """A job whose bytes are known and still have to be sent."""

    job: Job
    recipe: Recipe
    prepared: Prepared


@dataclass(frozen=True, slots=True, kw_only=True)
class Paid:
    """A job whose answer is in the spool."""

    job: Job
    recipe: Recipe
    expected: Expected | None  # None: the source is gone, its size is not known any more
    ticket: Ticket | None = None  # None: it was answered in an earlier life, or for another job
    duration_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Over:
    """There is nothing more to do for a job now; it is on disk in its state."""

    job: Job


@dataclass(frozen=True, slots=True, kw_only=True)
class Back:
    """The job goes back in line unchanged: the gate is shut, or the program is stopping."""

    job: Job


@dataclass(frozen=True, slots=True, kw_only=True)
class Twin:
    """Another job sends the very same bytes now; this one waits for how that ends."""

    job: Job
    content_key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocked:
    """An output folder takes nothing now; the paid answer waits in the spool for a better time."""

    job: Job
    path: Path
    reason: str


class Places:
    """
    So many pictures with the API at once, and no more.

    A call has its place from its last byte until its answer comes. The next pictures are
    uploaded but for that byte meanwhile, and what came of the last ones is fetched and
    written down, so that no place is empty for long.

    Args:
        count: How many; None is no limit.
    """

    def __init__(self, count: int | None = None) -> None:
        self._free = None if count is None else threading.BoundedSemaphore(count)

    def take(self, beat: Callable[[], None]) -> None:
        """Wait for a place, calling *beat* now and then."""
        while self._free is not None and not self._free.acquire(timeout=_BEAT_S):
            beat()

    def give_back(self) -> None:
        """Let the next one have the place."""
        if self._free is not None:
            self._free.release()


class TurnedAwayError(Exception):
    """The gate is shut for longer, or the program is stopping; nothing was sent."""


class _EndedError(Exception):
    """A call ended in an error that is decided and recorded."""

    def __init__(self, cause: Exception, job: Job, *, keeps_job: bool) -> None:
        super().__init__(str(cause))
        self.cause = cause
        self.job = job
        self.keeps_job = keeps_job


@dataclass(kw_only=True)
class Line:
    """
    Everything that a picture meets on its way, and the three steps of the way.

    Safe to share between threads. No step raises for what can go wrong with a picture,
    the API or a disk: it returns what became of the job.
    """

    ledger: Ledger
    client: Client
    spool: Spool
    gatehouse: Gatehouse
    recipes: Mapping[str, Recipe]
    report: Reporter
    price: Decimal = Decimal(1)
    reserve_bytes: int = 0
    clocks: Clocks = field(default_factory=Clocks)
    stopping: threading.Event = field(default_factory=threading.Event)
    credits_left: Callable[[], Decimal | None] = lambda: None
    step: Step = no_step
    places: Places = field(default_factory=Places)
    _answers: threading.Lock = field(default_factory=threading.Lock)
    _sending: dict[str, int] = field(default_factory=dict)  # content key -> job, from preparation to the answer

    # --- prepare --------------------------------------------------------------------------------

    def prepare(self, job: Job) -> Ready | Paid | Over | Back | Twin:
        """Open and hash the source of *job*, and look whether its answer was paid for before."""
        recipe = self.recipes.get(job.folder)
        if recipe is None:
            return Back(job=job)
        if job.state is State.RECEIVED:
            return self._recovered(job, recipe)
        try:
            prepared = self._open(job, recipe)
        except (SourceGoneError, SourceChangedError) as gone:
            return self._vanished(job, gone)
        except SourceUnfitError as unfit:
            return self._failed(job, reason=unfit.reason, code=unfit.code)
        except (SourceUnreadableError, DeliveryError) as trouble:
            return self._later(job, trouble.reason, trouble.code)
        self.step("prepared")
        return self._answered_before(with_content(job, content_key(prepared, recipe)), recipe, prepared)

    def _open(self, job: Job, recipe: Recipe) -> Prepared:
        source = recipe.input / fsdecode(job.source)
        return prepare(source, job.version, scratch=self.spool.directory, upright=recipe.upright)

    def _recovered(self, job: Job, recipe: Recipe) -> Paid:
        """Measure an answer from an earlier life by its source, if that still stands."""
        try:
            with self._open(job, recipe) as prepared:
                return Paid(job=job, recipe=recipe, expected=_expected(prepared, recipe))
        except RembgWatchError:
            return Paid(job=job, recipe=recipe, expected=None)

    def _answered_before(self, job: Job, recipe: Recipe, prepared: Prepared) -> Ready | Paid | Twin | Over:
        key = str(job.content_key)
        with self._answers:
            if self._sending.get(key, job.id) != job.id:
                prepared.close()
                return Twin(job=job, content_key=key)
            try:
                known = next((one for one in self.ledger.answers_for(key) if self._take_up(key, one)), None)
            except DeliveryError as away:  # it may be paid for: better wait for the folder than pay again
                prepared.close()
                return self._later(job, away.reason, away.code)
            if known is None:
                self._sending[key] = job.id
                return Ready(job=job, recipe=recipe, prepared=prepared)
            answer = {"answer_digest": known.answer_digest, "answer_bytes": known.answer_bytes}
            received = self.ledger.record(
                move(job, State.RECEIVED, at=self._now(), retry_at=None, reason=None, code=None, **answer)
            )
        with prepared:
            return Paid(job=received, recipe=recipe, expected=_expected(prepared, recipe))

    def _take_up(self, key: str, known: Job) -> bool:
        """Bring an answer that was paid for before into the spool; say if it could be had."""
        if self.spool.path(key).exists():
            return self.spool.digest(key) == known.answer_digest
        recipe = self.recipes.get(known.folder)
        if recipe is None or known.target is None or known.answer_digest is None:
            return False
        content = Content(digest=known.answer_digest, size_bytes=known.answer_bytes)
        try:
            if not is_ours(recipe.output, known.target, content):
                return False
            self.spool.copy_in(key, recipe.output / fsdecode(known.target))
        except OSError:
            return False
        return self.spool.digest(key) == known.answer_digest

    # --- call -----------------------------------------------------------------------------------

    def call(self, ready: Ready, *, beat: Callable[[], None] = lambda: None) -> Paid | Over | Back | Blocked:
        """Send a prepared picture and keep its answer; it is sent again in place where surely nothing was charged."""
        tries = tenacity.Retrying(
            retry=tenacity.retry_if_exception(lambda error: isinstance(error, _EndedError) and error.keeps_job),
            wait=_wait_in_place(self.clocks.chance),
            stop=tenacity.stop_when_event_set(self.stopping),
            sleep=tenacity.sleep_using_event(self.stopping),
            reraise=True,
        )
        attempt = _Attempt(self, ready, beat)
        paid: Paid | None = None
        try:
            paid = tries(attempt)
        except TurnedAwayError:
            return Back(job=attempt.job)
        except _EndedError as ended:
            if ended.keeps_job:  # stopping: what would be tried again now is tried after the next start
                return Back(job=ended.job)
            return self._ended(ended.job)
        except (SourceGoneError, SourceChangedError) as changed:
            return self._vanished(attempt.job, changed)
        except StaleJobError as stale:
            return Over(job=stale.job)
        else:
            return paid
        finally:
            ready.prepared.close()
            if paid is None:
                self.settle(attempt.key)

    def settle(self, key: str) -> None:
        """Let the twins of a picture find out how it went."""
        with self._answers:
            self._sending.pop(key, None)

    def is_sending(self, key: str) -> bool:
        """Say whether a job with this very content is on its way to an answer now."""
        return key in self._sending

    def _ended(self, job: Job) -> Over:
        """Tell what a decided error means for the job, and do what follows from it on disk."""
        why = job.reason or ""
        match job.state:
            case State.FAILED:
                self.report(
                    events.Failed(
                        folder=job.folder,
                        source=job.source,
                        job=job.id,
                        why=why,
                        code=job.code,
                        field=job.field,
                        request_id=job.request_id,
                        charged=job.charged,
                    )
                )
                return Over(job=self.set_aside(job))
            case State.HELD:
                self.report(events.Held(folder=job.folder, source=job.source, job=job.id, why=why, code=job.code))
            case State.IN_DOUBT:
                self.report(
                    events.InDoubt(
                        folder=job.folder,
                        source=job.source,
                        job=job.id,
                        why=why,
                        will_retry=False,
                        request_id=job.request_id,
                    )
                )
            case _:
                self.report(
                    events.WillRetry(
                        folder=job.folder,
                        source=job.source,
                        job=job.id,
                        why=why,
                        attempt=job.attempts + job.doubts,
                        max_attempts=self.gatehouse.policy.max_attempts,
                        retry_at=job.retry_at,
                    )
                )
        return Over(job=job)

    # --- finish ---------------------------------------------------------------------------------

    def finish(self, paid: Paid) -> Over | Blocked:
        """Verify the answer of *paid*, publish it and put the source away."""
        key = str(paid.job.content_key)
        try:
            return self._finish(paid, key)
        finally:
            self.settle(key)

    def _finish(self, paid: Paid, key: str) -> Over | Blocked:
        answer = self.spool.path(key)
        try:
            verify(answer, paid.expected or Expected.of_unknown_source(paid.recipe.params))
        except (AnswerRejectedError, FileNotFoundError) as rejected:
            return self._rejected(paid, key, rejected)
        self.step("verified")
        if paid.ticket is not None:
            self.gatehouse.accepted(paid.ticket)
        try:
            published = self._publish(paid.job, paid.recipe, answer)
        except TargetRefusedError as refused:
            return self._unpublished(paid.job, refused, _NAME_RETRY_S)
        except OutputUnavailableError as away:
            return self._unpublished(paid.job, away, _OUTPUT_RETRY_S)
        self.step("published")
        done = self.ledger.record(
            move(
                paid.job,
                State.DONE,
                at=self._now(),
                target=published.target,
                retry_at=None,
                reason=None,
                code=None,
                field=None,
                is_disposal_due=paid.recipe.after != "keep",
            ),
            published=_target(paid.job, published),
        )
        self.step("recorded")
        self._tell_delivered(paid, done)
        self._drop(key)
        return Over(job=self.put_away(done))

    def _rejected(self, paid: Paid, key: str, why: Exception) -> Over:
        """An answer that is no result was paid for and must not be delivered: maybe charged, once more or in doubt."""
        self.spool.reject(key)
        code = why.code if isinstance(why, AnswerRejectedError) else "answer_lost"
        error = BadAnswerError(message=str(why), code=code, request_id=paid.job.request_id)
        decision = self.gatehouse.failed(error, paid.job, paid.ticket, need=_need(paid.job, paid.recipe))
        end = CallEnd(Charge.MAYBE, self.price, code) if paid.ticket is not None else None
        forgotten = replace(paid.job, answer_digest=None, answer_bytes=0)
        job = self.ledger.record(decision.apply(forgotten, at=self._now()), call=end)
        return self._ended(job)

    def _publish(self, job: Job, recipe: Recipe, answer: Path) -> Published:
        """Put the answer under the best name that is free, or over our own older output."""
        taken: set[bytes] = set()
        staged: Staged | None = None
        try:
            while True:
                names = (name for name in mirror(job.source, recipe.params.format.extension) if name not in taken)
                target = self.ledger.claim_target(job.folder, job.source, names, self._now())
                staged = (
                    stage(answer, recipe.output, target, step=self.step) if staged is None else staged.under(target)
                )
                try:
                    return publish(staged, replace=self._older(job.folder, target), step=self.step)
                except TargetTakenError:
                    self.ledger.release_target(job.folder, job.source, target)
                    taken.add(target)
        except Exception:
            if staged is not None:
                discard(staged)
            raise

    def _older(self, folder: str, target: bytes) -> Content | None:
        """Say what we put under this name before, so that only that is replaced."""
        known = self.ledger.target(folder, target)
        if known is None or known.digest is None or known.size_bytes is None:
            return None
        return Content(digest=known.digest, size_bytes=known.size_bytes)

    def _unpublished(self, job: Job, trouble: DeliveryError, retry_s: float) -> Blocked:
        retry_at = self._now() + timedelta(seconds=retry_s)
        waiting = move(job, State.RECEIVED, at=self._now(), retry_at=retry_at, reason=trouble.reason, code=trouble.code)
        return Blocked(
            job=self.ledger.record(waiting, keeps_claim=False), path=Path(trouble.path), reason=trouble.reason
        )

    def _tell_delivered(self, paid: Paid, job: Job) -> None:
        target = job.target or b""
        if paid.ticket is None:
            self.report(
                events.Reused(
                    folder=job.folder, source=job.source, job=job.id, target=target, answer_bytes=job.answer_bytes
                )
            )
            return
        self.report(
            events.Delivered(
                folder=job.folder,
                source=job.source,
                job=job.id,
                target=target,
                duration_s=paid.duration_s,
                charged=self.price,
                credits_left=self.credits_left(),
                answer_bytes=job.answer_bytes,
            )
        )

    def _drop(self, key: str) -> None:
        """Take a published answer from the spool, unless another job has still to publish it."""
        with self._answers:
            if not any(job.state is State.RECEIVED for job in self.ledger.answers_for(key)):
                self.spool.drop(key)

    # --- the source, afterwards -----------------------------------------------------------------

    def put_away(self, job: Job) -> Job:
        """Do with the source of a finished job what the folder wants; also what a crash left undone."""
        recipe = self.recipes.get(job.folder)
        if recipe is None or not job.is_disposal_due:
            return job
        try:
            disposed = self._dispose(job, recipe)
        except DeliveryError as trouble:
            self.report(events.NotDisposed(folder=job.folder, source=job.source, job=job.id, why=trouble.reason))
            return job
        self.step("put away")
        if disposed.disposal in (Disposal.MOVED, Disposal.DELETED):
            moved_to = disposed.place
            self.report(events.Disposed(folder=job.folder, source=job.source, job=job.id, moved_to=moved_to))
        is_disposed = disposed.disposal in (Disposal.MOVED, Disposal.DELETED, Disposal.GONE)
        put_away = move(job, job.state, at=job.changed_at, is_disposal_due=False, is_disposed=is_disposed)
        try:
            return self.ledger.record(put_away, keeps_claim=False)
        except StaleJobError as stale:
            return stale.job

    def _dispose(self, job: Job, recipe: Recipe) -> Disposed:
        if job.state is State.FAILED and recipe.failed is not None:
            return originals.set_aside(recipe.input, job.source, job.version, recipe.failed, _advice(job))
        after: After = recipe.after if job.state is State.DONE else "keep"
        return originals.dispose(recipe.input, job.source, job.version, after, done_root=recipe.done)

    def set_aside(self, job: Job) -> Job:
        """Move the source of a failed job to the folder for refused pictures, if there is one."""
        recipe = self.recipes.get(job.folder)
        if recipe is None or recipe.failed is None:
            return job
        due = self.ledger.record(move(job, State.FAILED, at=job.changed_at, is_disposal_due=True))
        return self.put_away(due)

    # --- ends without a call --------------------------------------------------------------------

    def _vanished(self, job: Job, gone: SourceError) -> Over:
        if job.state is not State.QUEUED:
            return Over(job=job)
        try:
            job = self.ledger.record(move(job, State.VANISHED, at=self._now(), reason=gone.reason, code=gone.code))
        except StaleJobError as stale:
            return Over(job=stale.job)
        self.report(events.Vanished(folder=job.folder, source=job.source, job=job.id, why=gone.reason))
        return Over(job=job)

    def _failed(self, job: Job, *, reason: str, code: str) -> Over:
        try:
            failed = self.ledger.record(move(job, State.FAILED, at=self._now(), reason=reason, code=code))
        except StaleJobError as stale:
            return Over(job=stale.job)
        return self._ended(failed)

    def _later(self, job: Job, reason: str, code: str) -> Over:
        retry_at = self._now() + timedelta(seconds=_SOURCE_RETRY_S)
        try:
            later = self.ledger.record(
                move(job, State.QUEUED, at=self._now(), retry_at=retry_at, reason=reason, code=code)
            )
        except StaleJobError as stale:
            return Over(job=stale.job)
        self.report(
            events.WillRetry(
                folder=job.folder,
                source=job.source,
                job=job.id,
                why=reason,
                attempt=job.attempts,
                max_attempts=self.gatehouse.policy.max_attempts,
                retry_at=retry_at,
            )
        )
        return Over(job=later)

    # --- what was left in the middle ------------------------------------------------------------

    def mistaken(self, job_id: int, error: Exception) -> None:
        """Put a job whose step ended in an unforeseen error back in line, with the attempt counted."""
        job = self.ledger.get(job_id)
        if job is None:
            return
        self.settle(str(job.content_key))
        if job.state is State.SENDING:
            self.reconcile(job_id)
        elif job.state in (State.QUEUED, State.RECEIVED):
            decision = self.gatehouse.failed(error, job, None)
            self._ended(self.ledger.record(decision.apply(job, at=self._now()), keeps_claim=False))

    def reconcile(self, job_id: int) -> None:
        """
        Put a job right that could not be recorded while the ledger took nothing.

        A whole answer in the spool is an answer, whatever the ledger says; a call without
        one is in doubt; anything else simply goes back in line.
        """
        job = self.ledger.get(job_id)
        if job is None:
            return
        self.settle(str(job.content_key))
        if job.state is not State.SENDING:
            self.ledger.release([job])
        elif not self.take_up_answer(job):
            error = NoAnswerError(message="what became of the call could not be written down in time")
            decision = self.gatehouse.failed(error, job, None)
            end = CallEnd(Charge.MAYBE, self.price, error.code)
            self._ended(self.ledger.record(decision.apply(job, at=self._now()), call=end, keeps_claim=False))

    def take_up_answer(self, job: Job) -> bool:
        """Take a whole answer from the spool for a job that was in the middle of its call; say if there was one."""
        key = str(job.content_key)
        if not self.spool.path(key).exists():
            return False
        found = {"answer_digest": self.spool.digest(key), "answer_bytes": self.spool.path(key).stat().st_size}
        received = move(job, State.RECEIVED, at=self._now(), retry_at=None, reason=None, code=None, **found)
        self.ledger.record(received, call=CallEnd(Charge.YES, self.price), keeps_claim=False)
        return True

    def take_up_doubt(self, job: Job, billed: Billed) -> Job:
        """
        Settle a call that a crash left in doubt, by what the account says of it, or else by the policy.

        Args:
            job: In doubt.
            billed: What the account's counters say; UNKNOWN if they cannot.
        """
        policy = self.gatehouse.policy
        if billed is Billed.NONE:
            job = self.ledger.record(
                move(job, State.IN_DOUBT, at=self._now(), doubts=max(0, job.doubts - 1)), call=CallEnd(Charge.NO)
            )
            return self.ledger.record(move(job, State.QUEUED, at=self._now(), reason=None, code=None))
        if billed is Billed.ALL:
            job = self.ledger.record(move(job, State.IN_DOUBT, at=self._now()), call=CallEnd(Charge.YES, self.price))
        will_retry = policy.retries_doubt and job.doubts <= policy.max_doubts
        self.report(
            events.InDoubt(
                folder=job.folder, source=job.source, job=job.id, why=job.reason or "", will_retry=will_retry
            )
        )
        return self.ledger.record(move(job, State.QUEUED, at=self._now())) if will_retry else job

    def _now(self) -> datetime:
        return self.clocks.now()


class _Attempt:
    """One picture's calls, one after the other, with the job as the ledger has it in between."""

    def __init__(self, line: Line, ready: Ready, beat: Callable[[], None]) -> None:
        self.line = line
        self.recipe = ready.recipe
        self.prepared = ready.prepared
        self.job = ready.job
        self.key = str(ready.job.content_key)
        self.beat = beat
        self.tries = 0
        self.started_s = 0.0
        self.has_place = False

    def __call__(self) -> Paid:
        """Make one call, through the gate; keep its answer or record its end."""
        line = self.line
        entered = line.gatehouse.enter(_need(self.job, self.recipe), beat=self.beat)
        if not isinstance(entered, Ticket):
            raise TurnedAwayError
        self.tries += 1
        self.started_s = line.clocks.monotonic()
        try:
            cutout = self._send()
            line.step("answered")
            line.spool.keep(self.key)
            line.step("spooled")
        except (RembgError, OSError) as error:
            self._tell_call(error)
            raise self._end(error, entered) from error
        except Exception as cut_off:  # our own: the source changed, somebody took the job, the ledger took nothing
            self._tell_call(cut_off)
            line.gatehouse.unsent(entered)
            raise
        line.gatehouse.answered(entered)
        duration_s = line.clocks.monotonic() - self.started_s
        self._tell_call(cutout)
        received = move(
            self.job,
            State.RECEIVED,
            at=line.clocks.now(),
            answer_digest=cutout.sha256,
            answer_bytes=cutout.size_bytes,
            request_id=cutout.request_id,
            retry_at=None,
            reason=None,
            code=None,
            field=None,
        )
        names = mirror(self.job.source, self.recipe.params.format.extension)
        self.job = line.ledger.record(received, call=CallEnd(Charge.YES, line.price), names=names)
        line.step("received")
        expected = _expected(self.prepared, self.recipe)
        return Paid(job=self.job, recipe=self.recipe, expected=expected, ticket=entered, duration_s=duration_s)

    def _check_room(self) -> None:
        """Look before paying whether the answer could be kept."""
        needed = max(LEAST_ROOM_BYTES, _ROOM_FACTOR * self.prepared.size_bytes)
        if not enough_room(self.line.spool.directory, needed, self.line.reserve_bytes):
            raise OSError(ENOSPC, strerror(ENOSPC), str(self.line.spool.directory))

    def _send(self) -> Cutout:
        line, job = self.line, self.job
        line.report(
            events.CallStarted(
                folder=job.folder,
                source=job.source,
                job=job.id,
                attempt=job.attempts + job.doubts + 1,
                size_bytes=self.prepared.size_bytes,
            )
        )
        self._check_room()
        file = _Hashing(self.prepared.open())
        try:
            with line.spool.part(self.key).open("wb") as answer:
                return line.client.remove_background(
                    file,
                    self.recipe.params,
                    filename=self.prepared.filename,
                    destination=answer,
                    on_upload=lambda _: self.beat(),
                    on_last_byte=lambda: self._commit(file),
                    on_download=lambda _: self._answer_comes(),
                )
        finally:
            self._leave_place()

    def _commit(self, file: "_Hashing") -> None:
        """
        Write the intent to pay, with the last bytes still in hand.

        What raises here cuts the request off: a source that changed while it was read,
        or a job that somebody else took care of meanwhile, is not paid for.
        """
        if file.digest() != self.prepared.digest:
            name = fsdecode(self.job.source)
            raise SourceChangedError(
                f"{name} changed while it was being sent; the new version is sent instead",
                code="changed",
                path=self.recipe.input / name,
            )
        sending = move(self.job, State.SENDING, at=self.line.clocks.now(), retry_at=None)
        self.job = self.line.ledger.record(sending, call=CallStart(self.line.price))
        self.line.step("sending")
        self._take_place()

    def _answer_comes(self) -> None:
        self.beat()
        self._leave_place()

    def _leave_place(self) -> None:
        """Let the next picture go to the API, which has done with this one."""
        if self.has_place:
            self.has_place = False
            self.line.places.give_back()

    def _take_place(self) -> None:
        """Wait until the API has room for this picture; the wait is no part of the call."""
        began_s = self.line.clocks.monotonic()
        self.line.places.take(self.beat)
        self.has_place = True
        self.started_s += self.line.clocks.monotonic() - began_s

    def _end(self, error: Exception, ticket: Ticket) -> _EndedError:
        """Decide what *error* means, and record it as the end of the call if one had begun."""
        line, was_sending = self.line, self.job.state is State.SENDING
        decision = line.gatehouse.failed(error, self.job, ticket, in_place=self.tries - 1)
        keeps = decision.keeps_job and retries_in_place(error, self.tries)
        if was_sending or not keeps:
            self.job = self._record(decision, _call_end(error, line.price) if was_sending else None, keeps=keeps)
        return _EndedError(error, self.job, keeps_job=keeps)

    def _record(self, decision: Decision, end: CallEnd | None, *, keeps: bool) -> Job:
        job = decision.apply(self.job, at=self.line.clocks.now())
        return self.line.ledger.record(job, call=end, keeps_claim=keeps or job.state is State.FAILED)

    def _tell_call(self, end: Cutout | Exception) -> None:
        cutout, error = (end, None) if isinstance(end, Cutout) else (None, end)
        self.line.report(
            events.CallEnded(
                folder=self.job.folder,
                source=self.job.source,
                job=self.job.id,
                duration_s=self.line.clocks.monotonic() - self.started_s,
                charged=self.line.price if cutout else Decimal(0),
                sent_bytes=self.prepared.size_bytes,
                answer_bytes=cutout.size_bytes if cutout else 0,
                status=200 if cutout else getattr(error, "status", None),
                request_id=cutout.request_id if cutout else getattr(error, "request_id", None),
            )
        )


class _Hashing:
    """A file that knows the digest of what was read from it."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._hash = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        """Read on."""
        block = self._file.read(size)
        self._hash.update(block)
        return block

    def digest(self) -> str:
        """Return the SHA-256 of all that was read, hex."""
        return self._hash.hexdigest()

    def fileno(self) -> int:
        """Return the file's descriptor, from which its size can be told."""
        return self._file.fileno()

    def seek(self, offset: int, whence: int = 0) -> int:
        """Move to another place; from the start, the digest begins anew."""
        place = self._file.seek(offset, whence)
        if place == 0:
            self._hash = hashlib.sha256()
        return place

    def tell(self) -> int:
        """Return the place in the file."""
        return self._file.tell()


def content_key(prepared: Prepared, recipe: Recipe) -> str:
    """
    Name what is asked for: the picture and the parameters, and nothing of where they came from.

    An upright copy is named by the picture that it is made of: the same picture stays
    the same request when another version of the imaging library makes other bytes of it.
    """
    upright = "upright" if prepared.is_upright_copy else "as it is"
    return hashlib.sha256(f"{prepared.source_digest}\n{upright}\n{recipe.options}".encode()).hexdigest()


def _need(job: Job, recipe: Recipe) -> Need:
    return Need(job=job.id, folder=recipe.name, options=recipe.options)


def _expected(prepared: Prepared, recipe: Recipe) -> Expected:
    return Expected(
        params=recipe.params, width=prepared.width, height=prepared.height, may_be_turned=prepared.may_be_turned
    )


def _call_end(error: Exception, price: Decimal) -> CallEnd:
    """Say what a call came to that ended in *error* after its last byte was let go."""
    if isinstance(error, RembgError):
        return CallEnd(error.charge, price, error.code)
    return CallEnd(Charge.MAYBE, price, "answer_not_kept")  # the answer came and this machine could not keep it


def _target(job: Job, published: Published) -> Target:
    return Target(
        folder=job.folder,
        target=published.target,
        source=job.source,
        digest=published.content.digest,
        size_bytes=published.content.size_bytes,
        mtime_ns=published.mtime_ns,
        inode=published.inode,
    )


def _advice(job: Job) -> str:
    """Say in the file beside a refused picture what happened and what to do."""
    return (
        f"This picture was not cut out: {job.reason}\n"
        f"What to do: mend the picture and put it back into the input folder; it is then tried again by itself."
    )


def _wait_in_place(chance: Callable[[], float]) -> Callable[[tenacity.RetryCallState], float]:
    def wait(state: tenacity.RetryCallState) -> float:
        ended = state.outcome.exception() if state.outcome else None
        if not isinstance(ended, _EndedError):
            return 0.0
        return wait_s(ended.cause, state.attempt_number, jitter=chance())

    return wait
