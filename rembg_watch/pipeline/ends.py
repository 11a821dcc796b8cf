"""What the end of a step means for its job: it is written down, reported, and what follows on disk is done."""

from rembg_watch.jobs import Job, State, move
from rembg_watch.ledger import StaleJobError
from rembg_watch.pipeline import afterwards
from rembg_watch.pipeline.ports import Ports
from rembg_watch.pipeline.source import SourceError
from rembg_watch.pipeline.values import Over
from rembg_watch.report import events


def ended(ports: Ports, job: Job) -> Over:
    """Report what became of the job, and do what follows from it on disk."""
    why = job.reason or ""
    match job.state:
        case State.FAILED:
            ports.report(
                events.Failed(
                    **events.of(job),
                    why=why,
                    code=job.code,
                    field=job.field,
                    request_id=job.request_id,
                    charged=job.charged,
                )
            )
            return Over(job=afterwards.put_away(ports, job))
        case State.HELD:
            ports.report(events.Held(**events.of(job), why=why, code=job.code))
        case State.VANISHED:
            ports.report(events.Vanished(**events.of(job), why=why))
        case State.IN_DOUBT:
            ports.report(events.InDoubt(**events.of(job), why=why, will_retry=False, request_id=job.request_id))
        case _:
            ports.report(
                events.WillRetry(
                    **events.of(job),
                    why=why,
                    attempt=job.attempts + job.doubts,
                    max_attempts=ports.in_force.plan.terms.policy.max_attempts,
                    retry_at=job.retry_at,
                )
            )
    return Over(job=job)


def vanished(ports: Ports, job: Job, gone: SourceError) -> Over:
    """End a job whose source is not there any more, or not in this version; one that was sent goes on."""
    return unsent(ports, job, State.VANISHED, gone) if job.state is State.QUEUED else Over(job=job)


def unsent(ports: Ports, job: Job, state: State, why: SourceError) -> Over:
    """End a job that is not sent because of its source."""
    try:
        over = move(job, state, at=ports.now(), reason=why.reason, code=why.code)
        job = ports.ledger.record(afterwards.to_set_aside(ports, over))
    except StaleJobError as stale:
        return Over(job=stale.job)
    return ended(ports, job)
