"""
The three steps of a picture's way, and what each of its ends is told as.

Safe to share between threads. Errors are decided in ``retry``; here is done what was
decided.
"""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from os import fsdecode
from pathlib import Path

from rembg_watch.account.governor import Governor
from rembg_watch.account.retry import wait_s
from rembg_watch.api.client import Client
from rembg_watch.api.errors import BadAnswerError, Charge
from rembg_watch.delivery.outputs import AGAIN_S, Outputs
from rembg_watch.delivery.publish import Published, Staged, discard, enough_room, is_ours, publish, stage, try_out
from rembg_watch.delivery.spool import Spool
from rembg_watch.delivery.verify import AnswerRejectedError, Expected, Verified, verify
from rembg_watch.errors import RembgWatchError
from rembg_watch.host.clocks import Clocks
from rembg_watch.host.disk import Content, DeliveryError, OutputUnavailableError, TargetRefusedError, TargetTakenError
from rembg_watch.jobs import CallEnd, Job, State, move, with_content
from rembg_watch.ledger import Ledger, StaleJobError, Target
from rembg_watch.paths import mirror
from rembg_watch.pipeline import afterwards
from rembg_watch.pipeline.call import Attempt, EndedError, NotAdmittedError, Slots
from rembg_watch.pipeline.prepare import (
    Prepared,
    SourceChangedError,
    SourceError,
    SourceGoneError,
    SourceUnfitError,
    SourceUnreadableError,
    prepare,
)
from rembg_watch.pipeline.retrying import call_with_retries
from rembg_watch.pipeline.values import (
    Back,
    Blocked,
    Over,
    Paid,
    Ready,
    Recipe,
    Step,
    Twin,
    content_key,
    expected_of,
    need_of,
    no_step,
)
from rembg_watch.report import events
from rembg_watch.report.events import Reporter

_SOURCE_RETRY_S = 30.0
_NAME_RETRY_S = 3600.0
_STRIPES = 64  # locks for the answers: many more than there are threads that meet there


def _locks() -> tuple[threading.Lock, ...]:
    return tuple(threading.Lock() for _ in range(_STRIPES))


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
    governor: Governor
    recipes: Mapping[str, Recipe]
    report: Reporter
    price: Decimal = Decimal(1)
    reserve_bytes: int = 0
    clocks: Clocks = field(default_factory=Clocks)
    stopping: threading.Event = field(default_factory=threading.Event)
    credits_left: Callable[[], Decimal | None] = lambda: None
    step: Step = no_step
    slots: Slots = field(default_factory=Slots)
    outputs: Outputs = field(default_factory=Outputs)
    try_out: Callable[[Path], None] = try_out
    verify: Callable[[Path, Expected], Verified] = verify
    _answers: tuple[threading.Lock, ...] = field(default_factory=_locks)
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
                return Paid(job=job, recipe=recipe, expected=expected_of(prepared, recipe))
        except RembgWatchError:
            return Paid(job=job, recipe=recipe, expected=None)

    def _answered_before(self, job: Job, recipe: Recipe, prepared: Prepared) -> Ready | Paid | Twin | Over:
        key = str(job.content_key)
        with self._answer(key):
            if self._sending.get(key, job.id) != job.id:
                prepared.close()
                return Twin(job=job, content_key=key)
            try:
                answered = self.ledger.answers_for(key)
                known = next((one for one in answered if self._take_up(key, one)), None)
            except DeliveryError as away:  # it may be paid for: better wait for the folder than pay again
                prepared.close()
                return self._later(job, away.reason, away.code)
            if known is None:
                self._sending[key] = job.id
                return Ready(job=job, recipe=recipe, prepared=prepared, is_first=not answered)
            answer = {"answer_digest": known.answer_digest, "answer_bytes": known.answer_bytes}
            received = self.ledger.record(
                move(job, State.RECEIVED, at=self.now(), retry_at=None, reason=None, code=None, **answer)
            )
        with prepared:
            return Paid(job=received, recipe=recipe, expected=expected_of(prepared, recipe))

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
        attempt = Attempt(self, ready, beat)
        paid: Paid | None = None
        try:
            paid = call_with_retries(
                attempt, self._pause_after, sleep=self.stopping.wait, is_stopping=self.stopping.is_set
            )
        except NotAdmittedError:
            return Back(job=attempt.job)
        except EndedError as ended:
            if ended.keeps_job:  # stopping: what would be tried again now is tried after the next start
                return Back(job=ended.job)
            return self.ended(ended.job)
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

    def _pause_after(self, error: BaseException, tries: int) -> float | None:
        if not isinstance(error, EndedError) or not error.keeps_job:
            return None
        return wait_s(error.cause, tries, jitter=self.clocks.chance())

    def settle(self, key: str) -> None:
        """Let the twins of a picture find out how it went."""
        with self._answer(key):
            self._sending.pop(key, None)

    def _answer(self, key: str) -> threading.Lock:
        """Return the lock that one content's answer has; two contents may share it, and then wait for each other."""
        return self._answers[hash(key) % _STRIPES]

    def is_sending(self, key: str) -> bool:
        """Say whether a job with this very content is on its way to an answer now."""
        return key in self._sending

    def ended(self, job: Job) -> Over:
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
                return Over(job=afterwards.set_aside(self, job))
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
                        max_attempts=self.governor.policy.max_attempts,
                        retry_at=job.retry_at,
                    )
                )
        return Over(job=job)

    def has_room(self, needed_bytes: int) -> bool:
        """Say if this machine's disk can keep so large an answer; files that the spool keeps for later yield first."""
        if enough_room(self.spool.directory, needed_bytes, self.reserve_bytes):
            return True
        self.spool.give_back()
        return enough_room(self.spool.directory, needed_bytes, self.reserve_bytes)

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
            self.verify(answer, paid.expected or Expected.of_unknown_source(paid.recipe.params))
        except (AnswerRejectedError, FileNotFoundError) as rejected:
            return self._rejected(paid, key, rejected)
        self.step("verified")
        if paid.ticket is not None:
            self.governor.accepted(paid.ticket)
        try:
            published = self._publish(paid, answer)
        except TargetRefusedError as refused:
            return replace(self._unpublished(paid.job, refused, _NAME_RETRY_S), is_name=True)
        except OutputUnavailableError as away:
            return self._unpublished(paid.job, away, AGAIN_S)
        except AnswerRejectedError as rejected:
            return self._rejected(paid, key, rejected)
        self.step("published")
        done = self.ledger.record(
            move(
                paid.job,
                State.DONE,
                at=self.now(),
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
        self._drop(paid, key)
        return Over(job=afterwards.put_away(self, done))

    def _rejected(self, paid: Paid, key: str, why: Exception) -> Over:
        """An answer that is no result was paid for and must not be delivered: maybe charged, once more or in doubt."""
        self.spool.reject(key)
        code = why.code if isinstance(why, AnswerRejectedError) else "answer_lost"
        error = BadAnswerError(message=str(why), code=code, request_id=paid.job.request_id)
        decision = self.governor.failed(error, paid.job, paid.ticket, need=need_of(paid.job, paid.recipe))
        end = CallEnd(Charge.MAYBE, self.price, code) if paid.ticket is not None else None
        forgotten = replace(paid.job, answer_digest=None, answer_bytes=0)
        job = self.ledger.record(decision.apply(forgotten, at=self.now()), call=end)
        return self.ended(job)

    def _publish(self, paid: Paid, answer: Path) -> Published:
        """
        Put the answer under the best name that is free, or over our own older output.

        Raises:
            AnswerRejectedError: It is not the one that came and was looked at.
            DeliveryError: The folder does not take it.
        """
        job, recipe = paid.job, paid.recipe
        taken: set[bytes] = set()
        staged: Staged | None = None
        target = job.target if paid.ticket is not None else None  # it got its name with its answer, a moment ago
        try:
            while True:
                if target is None:
                    names = (name for name in mirror(job.source, recipe.params.format.extension) if name not in taken)
                    target = self.ledger.claim_target(job.folder, job.source, names, self.now())
                staged = (
                    stage(answer, recipe.output, target, step=self.step) if staged is None else staged.under(target)
                )
                self._check_staged(staged, job)
                try:
                    return self._put(staged, job.folder)
                except TargetTakenError:
                    self.ledger.release_target(job.folder, job.source, target)
                    taken.add(target)
                    target = None
        except Exception:
            if staged is not None:
                discard(staged)
            raise

    def _check_staged(self, staged: Staged, job: Job) -> None:
        """
        Let nothing stand in the output that did not come as an answer to this very request.

        Raises:
            AnswerRejectedError: The file in the spool is another one than it was.
        """
        digest = staged.content.digest  # made while it was copied: to look costs nothing
        if digest == job.answer_digest:
            return
        answers = self.ledger.answers_for(str(job.content_key))  # one that was lost may have been paid for anew
        if all(digest != one.answer_digest for one in answers):
            raise AnswerRejectedError("the answer in the spool is not the one that came", code="answer_lost")

    def _put(self, staged: Staged, folder: str) -> Published:
        """Take the name, which is free nearly always; what we put there before is looked up only if it is not."""
        try:
            return publish(staged, step=self.step)
        except TargetTakenError:
            older = self._older(folder, staged.target)
            if older is None:
                raise
        return publish(staged, replace=older, step=self.step)

    def _older(self, folder: str, target: bytes) -> Content | None:
        """Say what we put under this name before, so that only that is replaced."""
        known = self.ledger.target(folder, target)
        if known is None or known.digest is None or known.size_bytes is None:
            return None
        return Content(digest=known.digest, size_bytes=known.size_bytes)

    def _unpublished(self, job: Job, trouble: DeliveryError, retry_s: float) -> Blocked:
        retry_at = self.now() + timedelta(seconds=retry_s)
        waiting = move(job, State.RECEIVED, at=self.now(), retry_at=retry_at, reason=trouble.reason, code=trouble.code)
        return Blocked(
            job=self.ledger.record(waiting, keeps_claim=False),
            path=Path(trouble.path),
            reason=trouble.reason,
            code=trouble.code,
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

    def _drop(self, paid: Paid, key: str) -> None:
        """
        Take a published answer from the spool, unless another job has still to publish it.

        To the first answer there ever was nobody else has a claim before ``settle``: who
        asked for the same meanwhile became a twin, who looks again after it.
        """
        if paid.is_first:
            self.spool.drop(key)
            return
        with self._answer(key):
            if not self.ledger.is_waiting_to_publish(key):
                self.spool.drop(key)

    # --- ends without a call --------------------------------------------------------------------

    def _vanished(self, job: Job, gone: SourceError) -> Over:
        if job.state is not State.QUEUED:
            return Over(job=job)
        try:
            job = self.ledger.record(move(job, State.VANISHED, at=self.now(), reason=gone.reason, code=gone.code))
        except StaleJobError as stale:
            return Over(job=stale.job)
        self.report(events.Vanished(folder=job.folder, source=job.source, job=job.id, why=gone.reason))
        return Over(job=job)

    def _failed(self, job: Job, *, reason: str, code: str) -> Over:
        try:
            failed = self.ledger.record(move(job, State.FAILED, at=self.now(), reason=reason, code=code))
        except StaleJobError as stale:
            return Over(job=stale.job)
        return self.ended(failed)

    def _later(self, job: Job, reason: str, code: str) -> Over:
        retry_at = self.now() + timedelta(seconds=_SOURCE_RETRY_S)
        try:
            later = self.ledger.record(
                move(job, State.QUEUED, at=self.now(), retry_at=retry_at, reason=reason, code=code)
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
                max_attempts=self.governor.policy.max_attempts,
                retry_at=retry_at,
            )
        )
        return Over(job=later)

    def now(self) -> datetime:
        """Return the present moment, aware, in UTC."""
        return self.clocks.now()


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
