"""
What was left in the middle: by a crash, by a ledger that took nothing, or by a step that broke.

A whole answer in the spool is an answer, whatever the ledger says. A call without one is
in doubt, and settled by what the account says of it, or else by the policy.
"""

from typing import TYPE_CHECKING

from rembg_watch.account.credits import Billed
from rembg_watch.api.errors import Charge, NoAnswerError
from rembg_watch.jobs import CallEnd, Job, State, move
from rembg_watch.report import events

if TYPE_CHECKING:
    from rembg_watch.pipeline.steps import Line


CHARGED = "the program ended while this was being sent; by the account's counters it was charged"


def mistaken(line: "Line", job_id: int, error: Exception) -> None:
    """Put a job whose step ended in an unforeseen error back in line, with the attempt counted."""
    job = line.ledger.get(job_id)
    if job is None:
        return
    line.settle(str(job.content_key))
    if job.state is State.SENDING:
        reconcile(line, job_id)
    elif job.state in (State.QUEUED, State.RECEIVED):
        decision = line.governor.failed(error, job, None)
        line.ended(line.ledger.record(decision.apply(job, at=line.now()), keeps_claim=False))


def reconcile(line: "Line", job_id: int) -> None:
    """
    Put a job right that could not be recorded while the ledger took nothing.

    A whole answer in the spool is an answer, whatever the ledger says; a call without
    one is in doubt; anything else simply goes back in line.
    """
    job = line.ledger.get(job_id)
    if job is None:
        return
    line.settle(str(job.content_key))
    if job.state is not State.SENDING:
        line.ledger.release([job])
    elif not take_up_answer(line, job):
        error = NoAnswerError(message="what became of the call could not be written down in time")
        decision = line.governor.failed(error, job, None)
        end = CallEnd(Charge.MAYBE, line.price, error.code)
        line.ended(line.ledger.record(decision.apply(job, at=line.now()), call=end, keeps_claim=False))


def take_up_answer(line: "Line", job: Job) -> bool:
    """Take a whole answer from the spool for a job that was in the middle of its call; say if there was one."""
    key = str(job.content_key)
    if not line.spool.path(key).exists():
        return False
    found = {"answer_digest": line.spool.digest(key), "answer_bytes": line.spool.path(key).stat().st_size}
    received = move(job, State.RECEIVED, at=line.now(), retry_at=None, reason=None, code=None, **found)
    line.ledger.record(received, call=CallEnd(Charge.YES, line.price), keeps_claim=False)
    return True


def take_up_doubt(line: "Line", job: Job, billed: Billed) -> Job:
    """
    Settle a call that a crash left in doubt, by what the account says of it, or else by the policy.

    Args:
        job: In doubt.
        billed: What the account's counters say; UNKNOWN if they cannot.
    """
    policy = line.governor.policy
    if billed is Billed.NONE:
        job = line.ledger.record(
            move(job, State.IN_DOUBT, at=line.now(), doubts=max(0, job.doubts - 1)), call=CallEnd(Charge.NO)
        )
        return line.ledger.record(move(job, State.QUEUED, at=line.now(), reason=None, code=None))
    if billed is Billed.ALL:
        told = move(job, State.IN_DOUBT, at=line.now(), reason=CHARGED)
        job = line.ledger.record(told, call=CallEnd(Charge.YES, line.price))
    will_retry = policy.retries_doubt and job.doubts <= policy.max_doubts
    line.report(events.InDoubt(**events.of(job), why=job.reason or "", will_retry=will_retry))
    return line.ledger.record(move(job, State.QUEUED, at=line.now())) if will_retry else job
