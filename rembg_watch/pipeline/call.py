"""
One picture's calls: through the gate, with the intent on disk before the last byte leaves.

The only place where money is spent. What an error means is decided in ``retry`` and
recorded here; whether the answer is worth anything is looked at later, in ``finish``.
"""

import hashlib
import os
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from decimal import Decimal
from errno import ENOSPC
from os import fsdecode, strerror
from typing import BinaryIO

from rembg_watch.account.governor import Ticket
from rembg_watch.account.retry import wait_s
from rembg_watch.api.cutout import Cutout
from rembg_watch.api.errors import Charge, RefusedError, RembgError, ThrottledError
from rembg_watch.delivery.publish import answer_room_bytes
from rembg_watch.jobs import CallEnd, CallStart, Job, State, move
from rembg_watch.ledger import StaleJobError
from rembg_watch.paths import mirror
from rembg_watch.pipeline import afterwards, ends
from rembg_watch.pipeline.ports import Ports
from rembg_watch.pipeline.retrying import call_with_retries
from rembg_watch.pipeline.source import SourceChangedError, SourceGoneError
from rembg_watch.pipeline.values import Back, Over, Paid, Ready, expected_of, need_of
from rembg_watch.report import events

Touching = Callable[[], AbstractContextManager[object]]
"""Says, for as long as its context lasts, that a disk is waited for; see ``shares``."""


def call(ports: Ports, ready: Ready, *, beat: Callable[[], None] = lambda: None) -> Paid | Over | Back:
    """Send a prepared picture and keep its answer; it is sent again in place where surely nothing was charged."""
    attempt = Attempt(ports, ready, beat)
    paid: Paid | None = None
    try:
        paid = call_with_retries(
            attempt,
            lambda error, tries: _pause_after(error, tries, jitter=ports.clocks.chance()),
            sleep=lambda seconds: ports.clocks.wait(ports.stopping, seconds),
            is_stopping=ports.stopping.is_set,
        )
    except NotAdmittedError:
        return Back(job=attempt.job)
    except EndedError as ended:
        if ended.keeps_job:  # stopping: what would be tried again now is tried after the next start
            return Back(job=ended.job)
        return ends.ended(ports, ended.job)
    except (SourceGoneError, SourceChangedError) as changed:
        return ends.vanished(ports, attempt.job, changed)
    except StaleJobError as stale:
        return Over(job=stale.job)
    else:
        return paid
    finally:
        ready.prepared.close()
        if paid is None:
            ports.contents.end(attempt.key)
            ports.contents.end_all(ready.asked)


def _pause_after(error: BaseException, tries: int, *, jitter: float) -> float | None:
    """Return how long a worker waits with the job in hand before it tries again; None: it does not."""
    if not isinstance(error, EndedError) or not error.keeps_job:
        return None
    return wait_s(error.cause, tries, jitter=jitter)


class NotAdmittedError(Exception):
    """The gate is shut for longer, the output takes nothing, the ledger is gone, or it stops; nothing was sent."""


class EndedError(Exception):
    """A call ended in an error that is decided and recorded."""

    def __init__(self, cause: Exception, job: Job, *, keeps_job: bool) -> None:
        super().__init__(str(cause))
        self.cause = cause
        self.job = job
        self.keeps_job = keeps_job


class Attempt:
    """One picture's calls, one after the other, with the job as the ledger has it in between."""

    def __init__(self, ports: Ports, ready: Ready, beat: Callable[[], None]) -> None:
        self.ports = ports
        self.plan = ports.in_force.plan
        self.ready = ready
        self.prepared = ready.prepared
        self.job = ready.job
        self.key = str(ready.job.content_key)
        self.beat = beat
        self.tries = 0
        self.started_s = 0.0
        self.has_slot = False

    def __call__(self) -> Paid:
        """Make one call, through the gate; keep its answer or record its end."""
        ports = self.ports
        self._check_output()
        entered = ports.governor.enter(need_of(self.job, self.ready.recipe), beat=self.beat)
        if not isinstance(entered, Ticket):
            raise NotAdmittedError
        self.plan = ports.in_force.plan  # to the end of this call, whatever a reload changes meanwhile
        self.tries += 1
        self.started_s = ports.clocks.monotonic()
        try:
            cutout = self._send()
            ports.step("answered")
            ports.spool.keep(self.key)
            ports.step("spooled")
        except (RembgError, OSError) as error:
            self._report_call(error)
            raise self._end(ports.governor.taken(error), entered) from error
        except Exception as cut_off:  # our own: the source changed, somebody took the job, the ledger took nothing
            self._report_call(cut_off)
            ports.governor.unsent(entered)
            raise
        ports.governor.answered(entered)
        duration_s = ports.clocks.monotonic() - self.started_s
        self._report_call(cutout)
        received = move(
            self.job,
            State.RECEIVED,
            at=ports.clocks.now(),
            answer_digest=cutout.sha256,
            answer_bytes=cutout.size_bytes,
            made_with=self.ready.recipe.options_digest,
            redo_at=None,
            request_id=cutout.request_id,
            retry_at=None,
            reason=None,
            code=None,
            field=None,
        )
        recipe = self.ready.recipe
        names = () if recipe.deliverables else mirror(self.ready.place, recipe.params.format.extension)
        self.job = ports.ledger.record(received, call=answered_end(cutout, self.plan.terms.price), names=names)
        ports.step("received")
        return Paid(
            job=self.job,
            recipe=self.ready.recipe,
            expected=expected_of(self.prepared, self.ready.recipe),
            price=self.plan.terms.price,
            ticket=entered,
            is_first=self.ready.is_first,
            asked=self.ready.asked,
            duration_s=duration_s,
            metadata=self.prepared.answer_metadata,
        )

    def _check_output(self) -> None:
        """Buy nothing that could not be delivered, or would be forgotten; that may have changed meanwhile."""
        if not self.ports.ledger.is_in_place():
            raise NotAdmittedError
        if self.ports.outputs.is_blocked(self.job.folder) or self.ports.shares.is_hung(self.job.folder):
            raise NotAdmittedError

    def _send(self) -> Cutout:
        ports, job = self.ports, self.job
        attempt = job.attempts + job.doubts + 1
        ports.report(events.CallStarted(**events.of(job), attempt=attempt, size_bytes=self.prepared.size_bytes))
        if not ports.has_room(answer_room_bytes(self.prepared.size_bytes)):  # before paying: could the answer be kept?
            raise OSError(ENOSPC, strerror(ENOSPC), str(ports.spool.directory))
        file = Hashing(self.prepared.open(), lambda: ports.shares.touching(job.folder))
        try:
            with ports.spool.arriving(self.key) as answer:
                return self.plan.client.remove_background(
                    file,
                    self.ready.recipe.params,
                    filename=self.prepared.filename,
                    destination=answer,
                    on_upload=lambda _: self.beat(),
                    on_last_byte=lambda: self._commit(file),
                    on_download=lambda _: self._answer_comes(),
                )
        finally:
            self._leave_slot()

    def _commit(self, file: "Hashing") -> None:
        """
        Write the intent to pay, with the last bytes still in hand.

        What raises here cuts the request off: a source that changed while it was read, a
        job that somebody else took care of meanwhile, or one for an output that takes
        nothing any more, is not paid for.
        """
        if file.digest() != self.prepared.digest:
            name = fsdecode(self.job.source)
            raise SourceChangedError(
                f"{name} changed while it was being sent; the new version is sent instead",
                code="changed",
                path=self.ready.recipe.input / name,
            )
        slots, began_s = self.ports.slots, self.ports.clocks.monotonic()
        slots.take(self.beat)
        self.has_slot = True
        self._check_output()
        sending = move(self.job, State.SENDING, at=self.ports.clocks.now(), retry_at=None)
        recipe = self.ready.recipe.options_digest
        start = CallStart(self.plan.terms.price, recipe=recipe, sent_bytes=self.prepared.size_bytes)
        self.job = self.ports.ledger.record(sending, call=start)
        self.ports.step("sending")
        self.started_s += self.ports.clocks.monotonic() - began_s  # until now it was not the API that took its time

    def _answer_comes(self) -> None:
        self.beat()
        self._leave_slot()

    def _leave_slot(self) -> None:
        """Let the next picture go to the API, which has done with this one."""
        if self.has_slot:
            self.has_slot = False
            self.ports.slots.give_back()

    def _end(self, error: Exception, ticket: Ticket) -> EndedError:
        """Decide what *error* means, and record it as the end of the call if one had begun."""
        ports, was_sending = self.ports, self.job.state is State.SENDING
        decision = ports.governor.failed(error, self.job, ticket, in_place=self.tries - 1)
        if was_sending or not decision.keeps_job:
            end = call_end(error, self.plan.terms.price) if was_sending else None
            job = afterwards.to_set_aside(ports, decision.apply(self.job, at=ports.clocks.now()))
            keeps_claim = decision.keeps_job or job.state is State.FAILED
            self.job = ports.ledger.record(job, call=end, keeps_claim=keeps_claim)
        return EndedError(error, self.job, keeps_job=decision.keeps_job)

    def _report_call(self, end: Cutout | Exception) -> None:
        cutout, error = (end, None) if isinstance(end, Cutout) else (None, end)
        self.ports.report(
            events.CallEnded(
                **events.of(self.job),
                duration_s=self.ports.clocks.monotonic() - self.started_s,
                charged=self.plan.terms.price if cutout else Decimal(0),
                sent_bytes=self.prepared.size_bytes,
                answer_bytes=cutout.size_bytes if cutout else 0,
                status=ANSWERED if cutout else getattr(error, "status", None),
                outcome="answered" if error is None else outcome_of(error),
                code=getattr(error, "code", None),
                throttle=error.throttle.value if isinstance(error, ThrottledError) else None,
                request_id=cutout.request_id if cutout else getattr(error, "request_id", None),
            )
        )


def outcome_of(error: Exception) -> str:
    """Say what a call came to that brought no picture, as a payer asks."""
    if isinstance(error, RefusedError):
        return "refused"
    return "unknown" if isinstance(error, RembgError) and error.charge is Charge.MAYBE else "failed"


class Hashing:
    """
    A regular file that knows the digest of what was read from it.

    It is read by place, past the buffer and the place of the file itself: with many threads, each
    system call costs a change of threads.
    """

    def __init__(self, file: BinaryIO, touching: Touching = nullcontext) -> None:
        self._file = file
        self._touching = touching  # a share may let it wait
        self._place = 0
        self._hash = hashlib.sha256()

    def read(self, size: int) -> bytes:
        """Read on, at most *size* bytes."""
        with self._touching():
            block = os.pread(self._file.fileno(), size, self._place)
        self._place += len(block)
        self._hash.update(block)
        return block

    def digest(self) -> str:
        """Return the SHA-256 of all that was read, hex."""
        return self._hash.hexdigest()

    def fileno(self) -> int:
        """Return the file's descriptor, from which its size can be told."""
        return self._file.fileno()

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to another place, from the start or the end; from the start, the digest begins anew."""
        self._place = offset + (os.fstat(self._file.fileno()).st_size if whence == os.SEEK_END else 0)
        if self._place == 0:
            self._hash = hashlib.sha256()
        return self._place

    def tell(self) -> int:
        """Return the place in the file."""
        return self._place


def answered_end(cutout: Cutout, price: Decimal) -> CallEnd:
    """Say what a call came to that brought a picture."""
    return CallEnd(Charge.YES, price, status=ANSWERED, answer_bytes=cutout.size_bytes, request_id=cutout.request_id)


ANSWERED = 200
"""The status that every picture comes with."""


def call_end(error: Exception, price: Decimal) -> CallEnd:
    """Say what a call came to that ended in *error* after its last byte was let go."""
    words = str(error) or None
    if isinstance(error, RembgError):
        known = error.status, None, error.request_id
        return CallEnd(error.charge, price, error.code, *known, words)
    # the answer came and this machine could not keep it
    return CallEnd(Charge.MAYBE, price, "answer_not_kept", words=words)
