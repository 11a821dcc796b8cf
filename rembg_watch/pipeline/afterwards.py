"""
What becomes of a source once its job is over: put away as its folder wants, or set aside with a reason.

It may be asked for again after a crash; ``originals`` makes sure that only the very
version that was worked on is touched.
"""

import contextlib
import os
from pathlib import Path

from rembg_watch.delivery import companions, originals
from rembg_watch.delivery.originals import Disposal, Disposed
from rembg_watch.host.disk import DeliveryError, is_version
from rembg_watch.jobs import Job, State, move
from rembg_watch.ledger import StaleJobError
from rembg_watch.paths import After
from rembg_watch.pipeline.plan import Recipe
from rembg_watch.pipeline.ports import Ports
from rembg_watch.report import events


def put_away(ports: Ports, job: Job) -> Job:
    """Do with the source of a finished job what the folder wants; also what a crash left undone."""
    recipe = ports.in_force.plan.recipes.get(job.folder)
    if recipe is None or not job.is_disposal_due:
        return job
    try:
        with ports.shares.touching(job.folder):
            disposed = _dispose(job, recipe)
    except DeliveryError as trouble:
        ports.report(events.NotDisposed(**events.of(job), why=trouble.reason, code=trouble.code))
        return job
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


def _dispose(job: Job, recipe: Recipe) -> Disposed:
    if job.state is State.FAILED and recipe.failed is not None:
        return originals.set_aside(recipe.input, job.source, job.version, recipe.failed, advice(job))
    after: After = recipe.after if job.state is State.DONE else "keep"
    return originals.dispose(recipe.input, job.source, job.version, after, done_root=recipe.done)


def set_aside(ports: Ports, job: Job) -> Job:
    """Move the source of a failed job to the folder for refused pictures, if there is one."""
    recipe = ports.in_force.plan.recipes.get(job.folder)
    if recipe is None or recipe.failed is None:
        return job
    due = ports.ledger.record(move(job, State.FAILED, at=job.changed_at, is_disposal_due=True))
    return put_away(ports, due)


def advice(job: Job) -> str:
    """Say in the file beside a refused picture what happened and what to do."""
    return (
        f"This picture was not cut out: {job.reason}\n"
        f"What to do: mend the picture and put it back into the input folder; it is then tried again by itself."
    )
