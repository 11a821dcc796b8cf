"""
After a rename of a source, or of its files, take the files of the old name along, instead of leaving them for ever.

A rename is: the old source is gone, the new one has the same content and found the paid answer. The
old cut-out goes only if it is still ours byte for byte, and only after the new one stands; where the two
names are one to a Mac or to Windows, before that, so that the new one need not be called ``x.jpg.webp``.
The answer is in the spool, or among the masters, all the while. What a person has edited stays, and that is told.
Files have another name, too, where a new version of a source says other words, or is of another day.
"""

import os
from collections.abc import Container, Mapping
from dataclasses import dataclass, replace

from rembg_watch.delivery.withdraw import withdraw
from rembg_watch.host.disk import Content, DeliveryError
from rembg_watch.jobs import Job, State, move
from rembg_watch.ledger import Made, MadeState, StaleJobError
from rembg_watch.paths import collision_key, mirror
from rembg_watch.pipeline.plan import Recipe
from rembg_watch.pipeline.ports import Ports
from rembg_watch.pipeline.values import Paid
from rembg_watch.report import events


@dataclass(frozen=True, slots=True)
class FormerFile:
    """A file that was put into the output under a picture's former name."""

    deliverable: str | None  # None: it is the cut-out itself
    target: bytes
    content: Content


@dataclass(frozen=True, slots=True)
class Former:
    """The job of a picture's former name, and what it put into the output."""

    job: Job
    files: tuple[FormerFile, ...]


def former_of(ports: Ports, paid: Paid) -> Former | None:
    """Return whose cut-out is to be taken along with a paid answer: of several, that of the file's own old name."""
    if paid.ticket is not None:  # it was paid for just now, so nobody had it before
        return None
    answered = ports.ledger.answers_for(str(paid.job.content_key))
    earlier = [one for one in answered if one.id != paid.job.id and _is_same_source(one, paid.job)]
    if _has_its_own(ports, paid) or any(_has_files(ports, one) for one in earlier):
        return None  # it had its own name, and files of its own, all the time
    needed = {one.source for one in answered if _is_put_away(one)}  # in another version
    found = [
        former
        for job in answered
        if job.source not in needed and _is_gone(job, paid) and (former := _former(ports, job)) is not None
    ]
    return max(found, key=lambda one: (one.job.version == paid.job.version, one.job.changed_at), default=None)


def _is_same_source(job: Job, other: Job) -> bool:
    return (job.folder, job.source) == (other.folder, other.source)


def _has_its_own(ports: Ports, paid: Paid) -> bool:
    """Say if a picture was delivered before, by the same job, and its files stand."""
    if paid.job.delivered_at is None:
        return False
    former = _former(ports, paid.job)
    return former is not None and any(_is_in(paid.recipe, one) for one in former.files)


def _has_files(ports: Ports, job: Job) -> bool:
    """Say if something of a job was delivered, and was not taken along to another name."""
    is_taken_along = job.is_disposed and job.target is None
    has_any = job.target is not None or any(
        one.state is MadeState.STANDING for one in ports.ledger.made(job.id).values()
    )
    return has_any and not is_taken_along


def _is_put_away(job: Job) -> bool:
    """Say if we moved or deleted a source ourselves, or shall; not if its files were only taken along."""
    lacks = "lacks_files" in (job.finding or "")
    return job.is_disposal_due or (job.is_disposed and (job.target is not None or lacks))


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
    made = ports.ledger.made(job.id).values()
    if made:
        standing = (one for one in made if one.state is MadeState.STANDING)
        files = (_owned(ports, job, one.target, one.digest, one.name) for one in standing)
    else:
        files = (one for one in [_owned(ports, job, job.target, job.standing[0], None)])
    found = tuple(one for one in files if one is not None)
    return Former(job, found) if found or made else None


def _owned(
    ports: Ports, job: Job, target: bytes | None, digest: str | None, deliverable: str | None
) -> FormerFile | None:
    """Return a file of a job, unless another version of the source has put its own under that name since."""
    owned = ports.ledger.target(job.folder, target) if target is not None else None
    if owned is None or owned.source != job.source or owned.digest is None or owned.size_bytes is None:
        return None
    if owned.digest != digest:
        return None
    return FormerFile(deliverable, owned.target, Content(digest=owned.digest, size_bytes=owned.size_bytes))


def is_same_name(former: Former, paid: Paid) -> bool:
    """Say if the old cut-out has, but for its case, the name that the new one should have."""
    best = next(mirror(paid.job.source, paid.recipe.params.format.extension))
    return any(_is_one(one, best) for one in former.files)


def _is_one(file: FormerFile, name: bytes) -> bool:
    return collision_key(file.target) == collision_key(name)


def _is_in(recipe: Recipe, file: FormerFile) -> bool:
    return os.path.lexists(recipe.output / os.fsdecode(file.target))


def make_way(ports: Ports, recipe: Recipe, former: Former, name: bytes) -> None:
    """Remove the file of the former name that has, but for its case, the name that a new one is about to get."""
    for one in former.files:
        if _is_one(one, name) and _take(ports, recipe, former.job, one):
            ports.step("withdrawn")


def take_along(ports: Ports, paid: Paid, former: Former, *, but: Container[str | None] = ()) -> None:
    """
    Remove the files of the former name that are ours, and let go of their names.

    One that cannot be removed, or is ours no more, stays as it is: a dead file harms nobody. So do the
    deliverables that could not be made anew, *but*.
    """
    old, recipe = former.job, paid.recipe
    meant = [one for one in former.files if one.deliverable not in but]
    stays = [one for one in meant if not _take(ports, recipe, old, one)]
    for one in stays:
        if _is_in(recipe, one):
            ports.report(events.LeftBehind(**events.of(paid.job), former=old.source, target=one.target))
    if former.files and len(stays) == len(former.files):
        return
    ports.step("withdrawn")
    if old.state is not State.DONE:  # another version, which is being made at this moment
        return
    try:
        # as if we had put the source away: if its name comes back, it is delivered anew
        ports.ledger.record(move(old, State.DONE, at=old.changed_at, target=None, is_disposed=True, finding=None))
    except StaleJobError:
        return
    ports.report(events.TakenAlong(**events.of(paid.job), former=old.source))


def leave_old_names(ports: Ports, paid: Paid, made: Mapping[str, Made]) -> None:
    """
    Remove the files of other versions of a source that have another name now, once the new one stands.

    Not those of a picture that we have put away, unless it is the same: a camera that counts from the beginning again
    gives another picture its name.
    """
    job = paid.job
    standing = ports.ledger.find(job.folder, job.source)
    now = {name: one.target for name, one in made.items() if one.state is MadeState.STANDING}
    older: dict[int, list[Made]] = {}
    for one in ports.ledger.made_of_others(job.folder, job.source, job.id):
        is_older = one.job_id < job.id if standing is None else standing.id == job.id
        if is_older and one.name in now and one.target not in now.values():
            older.setdefault(one.job_id, []).append(one)
    for job_id, some in older.items():
        old = ports.ledger.get(job_id)
        if old is None or (_is_put_away(old) and old.picture_key != job.picture_key):
            continue
        found = (_owned(ports, old, one.target, one.digest, one.name) for one in some)
        files = tuple(one for one in found if one is not None)
        if files:
            take_along(ports, paid, Former(old, files))
        for one in some:  # what stays is told once
            ports.ledger.record_made(replace(one, state=MadeState.MADE, target=None, digest=None, size_bytes=None))


def _take(ports: Ports, recipe: Recipe, old: Job, file: FormerFile) -> bool:
    """Remove a file of the former name if it is ours; say whether that is done, also where it was done before."""
    owned = ports.ledger.target(old.folder, file.target)
    if owned is None or owned.source != old.source:
        return True
    try:
        if not withdraw(recipe.output, file.target, file.content) and _is_in(recipe, file):
            return False
    except DeliveryError:
        return False
    ports.ledger.release_target(old.folder, old.source, file.target)
    known = ports.ledger.made(old.id).get(file.deliverable or "")
    if known is not None:  # it is made anew if the old name comes back
        ports.ledger.record_made(replace(known, state=MadeState.MADE, target=None, digest=None, size_bytes=None))
    return True
