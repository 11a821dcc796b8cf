"""
What a person decides about pictures, on the page as by command: one meaning for each word.

A cut-out that waits is delivered or never delivered; one that is delivered is approved or rejected, which is written
down and changes no file. What may cost is said before it is done: ``most_credits``.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from pathlib import Path

from rembg_watch.account.notes import PAUSES, RESUME, pauses_from_note, pauses_to_note
from rembg_watch.account.pauses import Pauses
from rembg_watch.delivery import review_copies
from rembg_watch.jobs import REJECTED, REVIEW, Job, State
from rembg_watch.ledger import Ledger, Verdict, Which


class Act(StrEnum):
    """What can be done with a picture."""

    APPROVE = "approve"
    REJECT = "reject"
    UNDO = "undo"
    RETRY = "retry"
    REDO = "redo"


WAITS = frozenset({REVIEW, "wrong_size", "downgraded"})
"""The codes of what waits for a person to approve or reject it."""

COSTS = frozenset({Act.RETRY, Act.REDO})
"""What may be charged for: the first only where no answer was paid for yet."""


def is_waiting(job: Job) -> bool:
    """Say whether the cut-out of a picture waits for a person to deliver it or not."""
    return job.state is State.HELD and job.finding is not None


def is_turned_down(job: Job) -> bool:
    """Say whether a person has rejected a cut-out before it was delivered."""
    return job.state is State.FAILED and job.code == REJECTED


def may(act: Act, job: Job, verdict: Verdict | None) -> bool:
    """Say whether something can be done with a picture as it is now, of whose answer a person thinks *verdict*."""
    match act:
        case Act.APPROVE:
            return is_waiting(job) or (job.state is State.DONE and verdict is not Verdict.APPROVED)
        case Act.REJECT:
            return is_waiting(job) or (job.state is State.DONE and verdict is not Verdict.REJECTED)
        case Act.UNDO:
            return job.state is State.DONE and verdict is not None
        case Act.RETRY:
            is_stuck = job.state in (State.FAILED, State.HELD, State.IN_DOUBT)
            return is_stuck and job.gone_at is None and not is_waiting(job) and not is_turned_down(job)
        case Act.REDO:
            has_answer = job.state is State.DONE or is_waiting(job) or is_turned_down(job)
            return has_answer and job.gone_at is None


def most_credits(act: Act, pictures: int, *, per_image: Decimal) -> Decimal:
    """Return the most that something can cost."""
    return per_image * pictures if act in COSTS else Decimal(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Who decides, and when."""

    who: str
    at: datetime


def decide(
    ledger: Ledger, act: Act, jobs: Sequence[Job], person: Person, *, review_dirs: Mapping[str, Path | None]
) -> int:
    """
    Do something with pictures, those with which it can be done; the others are left alone.

    Args:
        ledger: Opened for writing beside a daemon.
        act: What.
        jobs: The pictures as they were looked at.
        person: Who does it.
        review_dirs: Where each folder shows what waits.

    Returns:
        With how many it was done.
    """
    verdicts = {id_: one.verdict for id_, one in ledger.verdicts(jobs).items()}
    meant = [job for job in jobs if may(act, job, verdicts.get(job.id))]
    return _DO[act](ledger, meant, person, review_dirs) if meant else 0


_Dirs = Mapping[str, Path | None]


def _approve(ledger: Ledger, jobs: Sequence[Job], person: Person, _: _Dirs) -> int:
    waiting, delivered = _parted(jobs)
    count = ledger.accept(Which(ids=_ids(waiting)), person.at, who=person.who)
    return count + ledger.give_verdict(delivered, Verdict.APPROVED, person.at, who=person.who)


def _reject(ledger: Ledger, jobs: Sequence[Job], person: Person, review_dirs: _Dirs) -> int:
    waiting, delivered = _parted(jobs)
    rejected = ledger.turn_down(Which(ids=_ids(waiting)), person.at, who=person.who)
    for job in rejected:
        review_copies.take(review_dirs.get(job.folder), job)
    return len(rejected) + ledger.give_verdict(delivered, Verdict.REJECTED, person.at, who=person.who)


def _undo(ledger: Ledger, jobs: Sequence[Job], person: Person, _: _Dirs) -> int:
    return ledger.give_verdict(jobs, None, person.at, who=person.who)


def _retry(ledger: Ledger, jobs: Sequence[Job], person: Person, _: _Dirs) -> int:
    count = ledger.retry(Which(ids=_ids(jobs)), person.at)
    ledger.set_note(RESUME, person.at.isoformat(), is_durable=False)
    return count


def _redo(ledger: Ledger, jobs: Sequence[Job], person: Person, review_dirs: _Dirs) -> int:
    count = ledger.redo(jobs, person.at)
    for job in jobs:
        review_copies.take(review_dirs.get(job.folder), job)
    return count


_DO: Mapping[Act, Callable[[Ledger, Sequence[Job], Person, _Dirs], int]] = {
    Act.APPROVE: _approve,
    Act.REJECT: _reject,
    Act.UNDO: _undo,
    Act.RETRY: _retry,
    Act.REDO: _redo,
}


def _parted(jobs: Sequence[Job]) -> tuple[list[Job], list[Job]]:
    """Part those that wait from those that are delivered."""
    waiting = [job for job in jobs if is_waiting(job)]
    return waiting, [job for job in jobs if not is_waiting(job)]


def _ids(jobs: Iterable[Job]) -> frozenset[int]:
    return frozenset(job.id for job in jobs)


# --- what is paused ----------------------------------------------------------------------------------


def change_pauses(ledger: Ledger, change: Callable[[Pauses, datetime], Pauses], at: datetime) -> tuple[Pauses, Pauses]:
    """Have the ledger say what is paused from now on; return what was and what is."""
    before = pauses_from_note(ledger.note(PAUSES))
    after = change(before, at)
    ledger.set_note(PAUSES, pauses_to_note(after))
    return before, after
