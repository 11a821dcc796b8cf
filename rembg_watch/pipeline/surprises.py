"""
Answers that are whole pictures of a size that nobody expected: kept, held, and a person's to decide about.

The same bytes would bring the same answer, so none is paid for again by itself. They are
no failure of the service: nobody else waits for them, but a folder of which several in a
row surprise is held, before it buys a day's work that nobody wants.
"""

from itertools import islice

from rembg_watch.account.causes import Cause
from rembg_watch.delivery.verify import Surprise, Verified
from rembg_watch.jobs import Job, State, move
from rembg_watch.ledger import Which
from rembg_watch.pipeline.ports import Ports
from rembg_watch.pipeline.values import Over, Paid
from rembg_watch.report import events
from rembg_watch.report.picture_events import odd_words

IN_A_ROW = 3
"""So many surprises of one kind, with nothing delivered in between, hold their folder."""

_LOOKED_AT = 50  # of the jobs that changed last: among them may be copies, which cost nothing

FOLDERS_NOTE = "folders that take any size"
"""The ledger's note that lists the folders whose answers are taken whatever their size."""


def is_accepted(ports: Ports, job: Job) -> bool:
    """Say whether a person takes the answer to *job* as it is, whatever its size."""
    return job.is_accepted or job.folder in accepting_folders(ports.ledger.note(FOLDERS_NOTE))


def accepting_folders(note: object) -> frozenset[str]:
    """Read the note of the folders whose answers are taken whatever their size."""
    return frozenset(one for one in note if isinstance(one, str)) if isinstance(note, list) else frozenset()


def hold(ports: Ports, paid: Paid, surprise: Surprise) -> Over:
    """
    Hold a picture whose answer surprises, with the answer in the spool.

    Its folder is held after several in a row, or after the first one of a new kind of request, which goes alone.
    """
    held = move(
        paid.job,
        State.HELD,
        at=ports.now(),
        retry_at=None,
        reason=surprise.reason,
        code=surprise.code,
        field=None,
        finding=surprise.code,
    )
    job = ports.ledger.record(held)
    ports.step("held")
    ports.report(events.AnswerHeld(**events.of(job), why=surprise.reason, code=surprise.code, charged=paid.price))
    is_trial = bool(paid.recipe.kind) and not ports.trials.is_proven(ports.ledger, paid.recipe.kind)
    if paid.ticket is not None and (is_trial or _is_row(ports, job)):
        _hold_folder(ports, paid, surprise, count=1 if is_trial else IN_A_ROW)
    return Over(job=job)


def _is_row(ports: Ports, job: Job) -> bool:
    """Say whether the folder's last calls, this one among them, all surprised in the same way; copies do not count."""
    answered = Which(folders=frozenset({job.folder}), states=frozenset({State.DONE, State.HELD}))
    called = (one for one in ports.ledger.jobs(answered, limit=_LOOKED_AT) if one.charged)
    last = list(islice(called, IN_A_ROW))
    return len(last) == IN_A_ROW and all(one.state is State.HELD and one.finding == job.finding for one in last)


def _hold_folder(ports: Ports, paid: Paid, surprise: Surprise, *, count: int) -> None:
    recipe = paid.recipe
    is_news = ports.governor.hold_folder(recipe.name, recipe.options, cause=Cause.SURPRISES, text=surprise.reason)
    if is_news:
        ports.report(events.FolderHeld(folder=recipe.name, count=count, why=surprise.reason, code=surprise.code))


def judge_kind(ports: Ports, paid: Paid, verified: Verified) -> None:
    """Learn what the answers of a new kind are like, and hold a folder whose files cannot be made of them."""
    recipe, finding = paid.recipe, verified.warning
    if not ports.trials.judge(ports.ledger, recipe.kind, finding) or finding is None:
        return
    if ports.governor.hold_folder(recipe.name, recipe.options, cause=Cause.TRIAL, text=odd_words(finding)):
        ports.report(events.TrialFailed(**events.of(paid.job), finding=finding))
