"""
The last step: verify an answer that was paid for, publish it, record it, and put the source away.

It can be repeated: the answer stays in the spool until its file stands in the output. Where files are
made of the answer it is two steps, since the second takes minutes: it is kept, and then they are made.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path

from rembg_watch.api.errors import BadAnswerError, Charge
from rembg_watch.delivery import review_copies
from rembg_watch.delivery.outputs import AGAIN_S
from rembg_watch.delivery.publish import Published, Staged, discard, publish, stage
from rembg_watch.delivery.verify import AnswerRejectedError, Expected
from rembg_watch.host.disk import (
    Content,
    DeliveryError,
    OutputUnavailableError,
    TargetRefusedError,
    TargetTakenError,
    shown,
    unavailable,
)
from rembg_watch.jobs import CallEnd, Job, State, move
from rembg_watch.ledger import Target
from rembg_watch.paths import mirror
from rembg_watch.pictures.carrying import cuts_for
from rembg_watch.pictures.inspection import reader_of
from rembg_watch.pictures.metadata import Cut
from rembg_watch.pipeline import afterwards, ends, making, renames, review, surprises
from rembg_watch.pipeline.plan import Recipe
from rembg_watch.pipeline.ports import Ports
from rembg_watch.pipeline.values import Blocked, Bought, Over, Paid, need_of
from rembg_watch.report import events

_NAME_RETRY_S = 3600.0
_MAKE_AGAIN = timedelta(seconds=60)


def finish(ports: Ports, paid: Paid) -> Over | Blocked | Bought:
    """Verify the answer of *paid*, publish it and put the source away; or keep it, where files are to be made of it."""
    key = str(paid.job.content_key)
    try:
        return _finish(ports, paid, key)
    finally:
        ports.contents.end(key)
        ports.contents.end_all(paid.asked)


def _finish(ports: Ports, paid: Paid, key: str) -> Over | Blocked | Bought:
    answer = ports.spool.path(key)
    if _is_mastered(ports, paid, answer):
        if not ports.masters.has(key, paid.job.answer_digest):
            return _unmade(ports, paid)
        paid = review.judged_anew(review.decided(ports, paid))
        return review.hold(ports, paid, ports.masters.path(key)) if review.is_held(paid) else Bought(paid=paid)
    try:
        verified = ports.verify(answer, paid.expected or Expected.of_unknown_source(paid.recipe.params))
    except (AnswerRejectedError, FileNotFoundError) as rejected:
        return _rejected(ports, paid, key, rejected)
    ports.step("verified")
    if paid.ticket is not None:
        ports.governor.accepted(paid.ticket)
    paid = review.decided(ports, paid)
    if verified.surprise is not None and not surprises.is_accepted(ports, paid.job):
        return surprises.hold(ports, paid, verified.surprise)
    paid = review.measured(paid, verified)
    if paid.recipe.deliverables:
        surprises.judge_kind(ports, paid, verified)
    if review.is_held(paid):
        return review.hold(ports, paid, answer)
    return _kept(ports, paid, key) if paid.recipe.deliverables else _deliver(ports, paid, key)


def _deliver(ports: Ports, paid: Paid, key: str) -> Over | Blocked:
    """Publish a verified answer itself."""
    answer = ports.spool.path(key)
    former = renames.former_of(ports, paid)
    if former is not None and renames.is_same_name(former, paid):
        renames.take_along(ports, paid, former)
        former = None
    try:
        with ports.shares.touching(paid.job.folder):
            published = _publish(ports, paid, answer)
    except TargetRefusedError as refused:
        return replace(_unpublished(ports, paid.job, refused, _NAME_RETRY_S), is_name=True)
    except OutputUnavailableError as away:
        return _unpublished(ports, paid.job, away, AGAIN_S)
    except AnswerRejectedError as rejected:
        return _rejected(ports, paid, key, rejected)
    ports.step("published")
    ports.roots.used(paid.recipe.output)
    done = ports.ledger.record(
        move(
            paid.job,
            State.DONE,
            at=ports.now(),
            target=published.target,
            retry_at=None,
            reason=None,
            code=None,
            field=None,
            is_accepted=False,
            delivered_at=paid.job.delivered_at or ports.now(),
            published_digest=published.content.digest,
            published_bytes=published.content.size_bytes,
            is_disposal_due=paid.recipe.after != "keep",
        ),
        published=_target(paid.job, published),
    )
    ports.step("recorded")
    _report_delivered(ports, paid, done)
    if paid.job.is_accepted:
        review_copies.take(paid.recipe.review_dir, done)
    if former is not None:
        renames.take_along(ports, paid, former)
    _drop(ports, paid, key)
    return Over(job=afterwards.put_away(ports, done))


def _is_mastered(ports: Ports, paid: Paid, answer: Path) -> bool:
    """Say if the answer was verified and kept when the picture, or its like, was delivered before."""
    if not paid.recipe.deliverables or answer.exists():
        return False
    return paid.is_mastered or bool(ports.ledger.made(paid.job.id))


def _kept(ports: Ports, paid: Paid, key: str) -> Bought | Blocked:
    """Keep what was bought: who asks for the same has it from here on, and files can be made of it."""
    try:
        _keep_master(ports, paid.job, key)
    except OutputUnavailableError as away:
        return _unpublished(ports, paid.job, away, AGAIN_S)
    return Bought(paid=paid)


def make(ports: Ports, bought: Bought, *, beat: Callable[[], None] = lambda: None) -> Over | Blocked:
    """Make the deliverables of what was bought, publish them and put the source away."""
    paid = bought.paid
    job, recipe, key = paid.job, paid.recipe, str(paid.job.content_key)
    former = renames.former_of(ports, paid)
    make_way = partial(renames.make_way, ports, recipe, former) if former is not None else _no_way
    try:
        holds = review.holds(paid)
        made = making.make(ports, job, recipe, ports.masters.path(key), beat, make_way=make_way, holds=holds)
    except making.HeldBackError as odd:
        held = replace(paid, job=replace(job, finding=review.joined(job.finding, *odd.codes)))
        return review.hold(ports, held, ports.masters.path(key))
    except TargetRefusedError as refused:
        return replace(_unpublished(ports, job, refused, _NAME_RETRY_S), is_name=True)
    except OutputUnavailableError as away:
        return _unpublished(ports, job, away, AGAIN_S)
    except making.NotNowError as busy:
        at = ports.now()
        waiting = move(job, State.RECEIVED, at=at, retry_at=at + _MAKE_AGAIN, reason=str(busy), code="not_now")
        return Over(job=ports.ledger.record(waiting, keeps_claim=False))
    ports.masters.used(key)
    if former is not None:
        renames.take_along(ports, paid, former, but=making.not_made(made))
    renames.leave_old_names(ports, paid, made)
    lacking = making.lacking_text(list(made.values()))
    finding = review.joined("lacks_files" if lacking else None, job.finding, *review.remarks_of(made, recipe))
    is_due = recipe.after != "keep" and not job.is_disposed and not (lacking and recipe.after == "delete")
    facts = {"retry_at": None, "reason": lacking, "code": None, "field": None, "is_accepted": False}
    target, at = making.first_target(made), ports.now()
    delivered = move(job, State.DONE, at=at, target=target, finding=finding, is_disposal_due=is_due, **facts)
    done = ports.ledger.record(replace(delivered, delivered_at=job.delivered_at or at))
    ports.step("recorded")
    _report_delivered(ports, paid, done)
    if paid.job.is_accepted:
        review_copies.take(paid.recipe.review_dir, done)
    _drop_unless_waited_for(ports, key)
    return Over(job=afterwards.put_away(ports, done))


def _no_way(_name: bytes) -> None:
    """Nothing stands in the way of a picture that was not renamed."""


def _keep_master(ports: Ports, job: Job, key: str) -> None:
    """
    Keep a verified answer.

    Raises:
        OutputUnavailableError: This machine's disk takes nothing now.
    """
    if ports.masters.has(key, job.answer_digest):
        return
    try:
        ports.masters.keep(key, ports.spool.path(key))
    except OSError as error:
        where = ports.masters.directory
        raise unavailable(error, f"{shown(where)} cannot take what was bought", where) from error
    ports.step("kept")


def _unmade(ports: Ports, paid: Paid) -> Over:
    """What was bought is gone: the picture is as it was, and nothing is paid for by itself."""
    reason = "what was bought for it is not kept any more: files that it lacks cost another credit"
    done = ports.ledger.record(
        move(
            paid.job, State.DONE, at=ports.now(), retry_at=None, reason=reason, code="no_master", finding="lacks_files"
        )
    )
    return Over(job=done)


def _rejected(ports: Ports, paid: Paid, key: str, why: Exception) -> Over:
    """An answer that is no result was paid for and must not be delivered: maybe charged, once more or in doubt."""
    ports.spool.reject(key)
    code = why.code if isinstance(why, AnswerRejectedError) else "answer_lost"
    error = BadAnswerError(message=str(why), code=code, request_id=paid.job.request_id)
    decision = ports.governor.failed(error, paid.job, paid.ticket, need=need_of(paid.job, paid.recipe))
    end = CallEnd(Charge.MAYBE, paid.price, code, words=str(why)) if paid.ticket is not None else None
    forgotten = replace(paid.job, answer_digest=None, answer_bytes=0)
    over = afterwards.to_set_aside(ports, decision.apply(forgotten, at=ports.now()))
    return ends.ended(ports, ports.ledger.record(over, call=end))


def _publish(ports: Ports, paid: Paid, answer: Path) -> Published:
    """
    Put the answer under the best name that is free, or over our own older output.

    Raises:
        AnswerRejectedError: It is not the one that came and was looked at.
        DeliveryError: The folder does not take it.
    """
    ports.roots.check(paid.recipe.output)
    target = paid.job.target if paid.ticket is not None else None  # it got its name with its answer, a moment ago
    try:
        return _publish_as(ports, paid, answer, target)
    except TargetRefusedError as refused:
        if refused.code != "blocked":
            raise
    ports.places.forget()  # something stands in the way of its folder, which gets another name then
    return _publish_as(ports, paid, answer, None)


def _publish_as(ports: Ports, paid: Paid, answer: Path, target: bytes | None) -> Published:
    job, recipe = paid.job, paid.recipe
    taken: set[bytes] = set()
    staged: Staged | None = None
    cuts = _carried(paid, answer)
    try:
        while True:
            if target is None:
                names = (name for name in _names(ports, job, recipe) if name not in taken)
                target = ports.ledger.claim_target(job.folder, job.source, names, ports.now())
            if staged is None:
                staged = stage(answer, recipe.output, target, cuts=cuts, step=ports.step)
            else:
                staged = staged.under(target)
            _check_staged(ports, staged, job)
            ports.roots.check(recipe.output)  # it may have gone while the file was staged
            try:
                return _put(ports, staged, job.folder)
            except TargetTakenError:
                ports.ledger.release_target(job.folder, job.source, target)
                taken.add(target)
                target = None
    except Exception:
        if staged is not None:
            discard(staged)
        raise


def _carried(paid: Paid, answer: Path) -> list[Cut]:
    """Say how the metadata of the source come into the cut-out; nothing of a source that is gone."""
    if paid.metadata is None:
        return []
    with answer.open("rb") as file:
        return cuts_for(reader_of(file.fileno()), paid.metadata, paid.recipe.metadata)


def _names(ports: Ports, job: Job, recipe: Recipe) -> Iterator[bytes]:
    extension = recipe.params.format.extension
    return mirror(ports.places.source_in(recipe.output, job.source, extension), extension)


def _check_staged(ports: Ports, staged: Staged, job: Job) -> None:
    """
    Let nothing stand in the output that did not come as an answer to this very request.

    Raises:
        AnswerRejectedError: The file in the spool is another one than it was.
    """
    digest = staged.answer.digest  # made while it was copied: to look costs nothing
    if digest == job.answer_digest:
        return
    answers = ports.ledger.answers_for(str(job.content_key))  # one that was lost may have been paid for anew
    if all(digest != one.answer_digest for one in answers):
        raise AnswerRejectedError("the answer in the spool is not the one that came", code="answer_lost")


def _put(ports: Ports, staged: Staged, folder: str) -> Published:
    """Take the name, which is free nearly always; what we put there before is looked up only if it is not."""
    try:
        return publish(staged, step=ports.step)
    except TargetTakenError:
        older = ports.ledger.target(folder, staged.target)
        if older is None or older.digest is None or older.size_bytes is None:
            raise
    return publish(staged, replace=Content(digest=older.digest, size_bytes=older.size_bytes), step=ports.step)


def _unpublished(ports: Ports, job: Job, trouble: DeliveryError, retry_s: float) -> Blocked:
    now = ports.now()
    retry_at = now + timedelta(seconds=retry_s)
    waiting = move(job, State.RECEIVED, at=now, retry_at=retry_at, reason=trouble.reason, code=trouble.code)
    return Blocked(
        job=ports.ledger.record(waiting, keeps_claim=False),
        path=Path(trouble.path),
        reason=trouble.reason,
        code=trouble.code,
    )


def _report_delivered(ports: Ports, paid: Paid, job: Job) -> None:
    target, age_s = job.target or b"", max(0.0, (ports.now() - job.enqueued_at).total_seconds())
    if paid.ticket is None:
        ports.report(
            events.Reused(
                **events.of(job), target=target, answer_bytes=job.answer_bytes, finding=job.finding, age_s=age_s
            )
        )
        return
    ports.report(
        events.Delivered(
            **events.of(job),
            target=target,
            duration_s=paid.duration_s,
            charged=paid.price,
            credits_left=ports.credits_left(),
            answer_bytes=job.answer_bytes,
            finding=job.finding,
            age_s=age_s,
        )
    )


def _drop(ports: Ports, paid: Paid, key: str) -> None:
    """
    Take a published answer from the spool, unless another job has still to publish it.

    To the first answer there ever was nobody else has a claim before its content is over: who
    asked for the same meanwhile became a twin, who looks again after it.
    """
    if paid.is_first:
        ports.spool.drop(key)
        return
    _drop_unless_waited_for(ports, key)


def _drop_unless_waited_for(ports: Ports, key: str) -> None:
    with ports.contents.lock(key):
        if not ports.ledger.is_waiting_to_publish(key):
            ports.spool.drop(key)


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
