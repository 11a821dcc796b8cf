"""
After a rename of a source, take the cut-out of its old name along, instead of leaving it for ever.

A rename is: the old source is gone, the new one has the same content and found the paid answer. The
old cut-out goes only if it is still ours byte for byte, and only after the new one stands; where the two
names are one to a Mac or to Windows, before that, so that the new one need not be called ``x.jpg.webp``.
The answer is in the spool all the while.
"""

import os
from dataclasses import dataclass

from rembg_watch.delivery.withdraw import withdraw
from rembg_watch.host.disk import Content, DeliveryError
from rembg_watch.jobs import Job, State, move
from rembg_watch.ledger import StaleJobError
from rembg_watch.paths import collision_key, mirror
from rembg_watch.pipeline.plan import Recipe
from rembg_watch.pipeline.ports import Ports
from rembg_watch.pipeline.values import Paid
from rembg_watch.report import events


@dataclass(frozen=True, slots=True)
class Former:
    """The job of a picture's former name, and what it put into the output."""

    job: Job
    target: bytes
    content: Content


def former_of(ports: Ports, paid: Paid) -> Former | None:
    """Return whose cut-out is to be taken along with a paid answer: of several, that of the file's own old name."""
    if paid.ticket is not None:  # it was paid for just now, so nobody had it before
        return None
    answered = ports.ledger.answers_for(str(paid.job.content_key))
    needed = {one.source for one in answered if one.is_disposed or one.is_disposal_due}  # in another version
    found = [
        former
        for job in answered
        if job.source not in needed and _is_gone(job, paid) and (former := _former(ports, job)) is not None
    ]
    return max(found, key=lambda one: (one.job.version == paid.job.version, one.job.changed_at), default=None)


def _is_gone(job: Job, paid: Paid) -> bool:
    """
    Say if a job's source went away by itself: not if it stands, and not if we moved or deleted it.

    The watch does not tell of sources that went while nobody looked where nothing that is known was left, since a
    disk may not be mounted. The very same file under another name is proof enough.
    """
    is_over = job.state is State.DONE and not (job.is_disposed or job.is_disposal_due)
    is_told = job.gone_at is not None or job.version == paid.job.version
    if not is_over or not is_told or job.folder != paid.job.folder or job.source == paid.job.source:
        return False
    return _is_away(paid.recipe, job.source, paid.job.source)


def _is_away(recipe: Recipe, old: bytes, new: bytes) -> bool:
    """Say if no file stands under the old name, but one that a disk without case takes for the new one."""
    try:
        before = os.lstat(os.fsencode(recipe.input) + b"/" + old)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    try:
        after = os.lstat(os.fsencode(recipe.input) + b"/" + new)
    except OSError:
        return False
    return collision_key(old) == collision_key(new) and os.path.samestat(before, after)


def _former(ports: Ports, job: Job) -> Former | None:
    owned = ports.ledger.target(job.folder, job.target) if job.target is not None else None
    if owned is None or owned.source != job.source or owned.digest is None or owned.size_bytes is None:
        return None
    if owned.digest != job.standing[0]:
        return None  # another version of the source put its own cut-out there since
    return Former(job, owned.target, Content(digest=owned.digest, size_bytes=owned.size_bytes))


def is_same_name(former: Former, paid: Paid) -> bool:
    """Say if the old cut-out has, but for its case, the name that the new one should have."""
    best = next(mirror(paid.job.source, paid.recipe.params.format.extension))
    return collision_key(former.target) == collision_key(best)


def take_along(ports: Ports, paid: Paid, former: Former) -> None:
    """
    Remove the cut-out of the former name if it is ours, and let go of the name.

    Where it cannot be removed, or is ours no more, it stays as it is: a dead file harms nobody.
    """
    try:
        if not withdraw(paid.recipe.output, former.target, former.content):
            return
    except DeliveryError:
        return
    ports.step("withdrawn")
    old = former.job
    ports.ledger.release_target(old.folder, old.source, former.target)
    try:
        # as if we had put the source away: if its name comes back, it is delivered anew
        ports.ledger.record(move(old, State.DONE, at=old.changed_at, target=None, is_disposed=True))
    except StaleJobError:
        return
    ports.report(events.TakenAlong(**events.of(paid.job), former=old.source))
