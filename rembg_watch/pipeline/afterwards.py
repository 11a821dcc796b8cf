"""
What becomes of a source once its job is over: put away as its folder wants, or set aside with a reason.

It may be asked for again after a crash; ``originals`` makes sure that only the very
version that was worked on is touched.
"""

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from os import fsdecode
from pathlib import Path

from rembg_watch.delivery import companions, originals
from rembg_watch.delivery.originals import Disposal, Disposed
from rembg_watch.host.disk import DeliveryError, OutputUnavailableError, is_version
from rembg_watch.jobs import Job, State, move
from rembg_watch.ledger import MadeState, StaleJobError
from rembg_watch.paths import After
from rembg_watch.pipeline.plan import Recipe
from rembg_watch.pipeline.ports import Ports
from rembg_watch.report import events

_JUST_NOW = timedelta(seconds=10)


def put_away(ports: Ports, job: Job) -> Job:
    """Do with the source of a finished job what the folder wants; also what a crash left undone."""
    recipe = ports.in_force.plan.recipes.get(job.folder)
    if recipe is None or not job.is_disposal_due:
        return job
    try:
        return _put_away(ports, job, recipe)
    except DeliveryError as trouble:
        ports.report(events.NotDisposed(**events.of(job), why=trouble.reason, code=trouble.code))
        return job


def put_away_left(ports: Ports, folder: str, *, beat: Callable[[], None] = lambda: None) -> int:
    """
    Put away the originals of a folder that had to stay; return how many went.

    While their place is away the first one finds that out for all. What has just been delivered is
    in other hands.
    """
    recipe, went = ports.in_force.plan.recipes.get(folder), 0
    if recipe is None or not any(_is_left(ports, job) for job in ports.ledger.to_dispose_of([folder], limit=1)):
        return 0
    for job in filter(lambda job: _is_left(ports, job), _left(ports, folder)):
        beat()
        if ports.stopping.is_set():
            break
        try:
            _put_away(ports, job, recipe)
        except OutputUnavailableError as away:
            ports.report(events.NotDisposed(**events.of(job), why=away.reason, code=away.code))
            break
        except DeliveryError as refused:
            ports.report(events.NotDisposed(**events.of(job), why=refused.reason, code=refused.code))
            continue
        went += 1
    if went:
        ports.report(events.OriginalsGo(folder=folder, count=went))
    return went


def _left(ports: Ports, folder: str) -> Iterator[Job]:
    """Yield what stays, the first one alone at first: where that cannot go, the long list is of no use."""
    first = ports.ledger.to_dispose_of([folder], limit=1)
    yield from first
    tried = {job.id for job in first}
    yield from (job for job in ports.ledger.to_dispose_of([folder]) if job.id not in tried)


def _is_left(ports: Ports, job: Job) -> bool:
    return ports.now() - job.changed_at > _JUST_NOW


def _put_away(ports: Ports, job: Job, recipe: Recipe) -> Job:
    """
    Put the source of a job away, and record that.

    Raises:
        DeliveryError: It has to stay where it is, for now.
    """
    with ports.shares.touching(job.folder):
        if recipe.after == "delete" and job.state is State.DONE:
            ports.thumbnails.keep(recipe.input / fsdecode(job.source), job)
        disposed = _dispose(ports, job, recipe)
    ports.step("put away")
    _follow(ports, job, recipe, disposed)
    if disposed.disposal in (Disposal.MOVED, Disposal.DELETED):
        ports.report(events.Disposed(**events.of(job), moved_to=disposed.place))
    is_disposed = disposed.disposal in (Disposal.MOVED, Disposal.DELETED, Disposal.GONE)
    put_away = move(job, job.state, at=job.changed_at, is_disposal_due=False, is_disposed=is_disposed)
    try:
        return ports.ledger.record(put_away, keeps_claim=False)
    except StaleJobError as stale:
        return stale.job


def _follow(ports: Ports, job: Job, recipe: Recipe, disposed: Disposed) -> None:
    """Let side files and emptied folders follow an original that was moved, just now or before a crash."""
    if recipe.after != "move" or recipe.done is None or job.state is not State.DONE:
        return
    if disposed.disposal is not Disposal.MOVED and not _was_moved(job, recipe.done, disposed):
        return
    with contextlib.suppress(DeliveryError, OSError):  # they stay where they are, and harm nobody
        if recipe.move_sidecars:
            companions.take_side_files(recipe.input, job.source, recipe.done, step=ports.step)
        if recipe.remove_empty_folders:
            companions.remove_emptied(recipe.input, job.source)


def _was_moved(job: Job, done: Path, disposed: Disposed) -> bool:
    """Say if an original that is gone stands in its mirrored place."""
    if disposed.disposal is not Disposal.GONE:
        return False
    try:
        return is_version((done / os.fsdecode(job.source)).lstat(), job.version)
    except OSError:
        return False


def _dispose(ports: Ports, job: Job, recipe: Recipe) -> Disposed:
    ports.roots.check(recipe.input)  # what is away is not gone
    if job.state is State.FAILED and recipe.failed is not None:
        ports.roots.check(recipe.failed)
        disposed = originals.set_aside(recipe.input, job.source, job.version, recipe.failed, advice(job))
        place: Path | None = recipe.failed
    else:
        after: After = recipe.after if job.state is State.DONE else "keep"
        if after == "delete" and lacks_file(ports, job, recipe):
            after = "keep"  # what it lacks could not be made of it any more
        place = recipe.done if after == "move" else None
        if place is not None:
            ports.roots.check(place)
        disposed = originals.dispose(recipe.input, job.source, job.version, after, done_root=recipe.done)
    if place is not None and disposed.disposal is Disposal.MOVED:
        ports.roots.used(place)
    return disposed


def lacks_file(ports: Ports, job: Job, recipe: Recipe) -> bool:
    """Say if a deliverable of a picture has not been made, as its folder wants it now, or has not got its name."""
    if not recipe.deliverables:
        return False
    made = ports.ledger.made(job.id)
    standing = {name: one.recipe_digest for name, one in made.items() if one.state is MadeState.STANDING}
    return any(standing.get(one.name) != recipe.digest_of(one) for one in recipe.deliverables)


def to_set_aside(ports: Ports, job: Job) -> Job:
    """
    Return *job* as it is to be recorded: if it failed and its folder wants that, with its source still to be set aside.

    Both are one entry, so that no crash leaves a refused picture in the input for good.
    """
    recipe = ports.in_force.plan.recipes.get(job.folder)
    is_due = job.state is State.FAILED and recipe is not None and recipe.failed is not None
    return replace(job, is_disposal_due=True) if is_due else job


def advice(job: Job) -> str:
    """Say in the file beside a refused picture what happened and what to do."""
    return (
        f"This picture was not cut out: {job.reason}\n"
        f"What to do: mend the picture and put it back into the input folder; it is then tried again by itself."
    )
