"""
What was left in the middle: by a crash, by a ledger that took nothing, or by a step that broke.

A whole answer in the spool is an answer, whatever the ledger says. A call without one is
in doubt, and settled by what the account says of it, or else by the policy.
"""

from rembg_watch.account.credits import Billed
from rembg_watch.api.errors import Charge, NoAnswerError
from rembg_watch.jobs import CallEnd, Job, State, move
from rembg_watch.pipeline import afterwards, ends
from rembg_watch.pipeline.ports import Ports
from rembg_watch.report import events

CHARGED = "the program ended while this was being sent; by the account's counters it was charged"


def mistaken(ports: Ports, job_id: int, error: Exception) -> None:
    """Put a job whose step ended in an unforeseen error back in line, with the attempt counted."""
    job = ports.ledger.get(job_id)
    if job is None:
        return
    ports.contents.end(str(job.content_key))
    if job.state is State.SENDING:
        reconcile(ports, job_id)
    elif job.state in (State.QUEUED, State.RECEIVED):
        decision = ports.governor.failed(error, job, None)
        over = afterwards.to_set_aside(ports, decision.apply(job, at=ports.now()))
        ends.ended(ports, ports.ledger.record(over, keeps_claim=False))


def reconcile(ports: Ports, job_id: int) -> None:
    """Put a job right that could not be recorded while the ledger took nothing: what was not sent goes back in line."""
    job = ports.ledger.get(job_id)
    if job is None:
        return
    ports.contents.end(str(job.content_key))
    if job.state is not State.SENDING:
        ports.ledger.release([job])
    elif not take_up_answer(ports, job):
        error = NoAnswerError(message="what became of the call could not be written down in time")
        decision = ports.governor.failed(error, job, None)
        end = CallEnd(Charge.MAYBE, ports.in_force.plan.terms.price, error.code, words=error.message)
        over = afterwards.to_set_aside(ports, decision.apply(job, at=ports.now()))
        ends.ended(ports, ports.ledger.record(over, call=end, keeps_claim=False))


def take_up_answer(ports: Ports, job: Job) -> bool:
    """Take a whole answer from the spool for a job that was in the middle of its call; say if there was one."""
    key = str(job.content_key)
    if not ports.spool.path(key).exists():
        return False
    found = {"answer_digest": ports.spool.digest(key), "answer_bytes": ports.spool.path(key).stat().st_size}
    received = move(job, State.RECEIVED, at=ports.now(), retry_at=None, reason=None, code=None, **found)
    end = CallEnd(Charge.YES, ports.in_force.plan.terms.price, answer_bytes=received.answer_bytes)
    ports.ledger.record(received, call=end, keeps_claim=False)
    return True


def take_up_doubt(ports: Ports, job: Job, billed: Billed) -> Job:
    """Settle a call that a crash left in doubt, by what the account says of it, or else by the policy."""
    policy = ports.in_force.plan.terms.policy
    if billed is Billed.NONE:
        job = ports.ledger.record(
            move(job, State.IN_DOUBT, at=ports.now(), doubts=max(0, job.doubts - 1)), call=CallEnd(Charge.NO)
        )
        return ports.ledger.record(move(job, State.QUEUED, at=ports.now(), reason=None, code=None))
    if billed is Billed.ALL:
        charged = move(job, State.IN_DOUBT, at=ports.now(), reason=CHARGED)
        job = ports.ledger.record(charged, call=CallEnd(Charge.YES, ports.in_force.plan.terms.price))
    will_retry = policy.retries_doubt and job.doubts <= policy.max_doubts
    ports.report(events.InDoubt(**events.of(job), why=job.reason or "", will_retry=will_retry))
    return ports.ledger.record(move(job, State.QUEUED, at=ports.now())) if will_retry else job
