"""Take over cut-outs that another ledger delivered: their pictures are done, and nothing is paid for them."""

import contextlib
import hashlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from os import fsdecode
from pathlib import Path
from typing import Any

from rembg_watch.delivery.earlier import earlier
from rembg_watch.delivery.masters import Masters
from rembg_watch.jobs import Job, State, move
from rembg_watch.ledger import Made, MadeState, StaleJobError, Target, TargetsTakenError, Which
from rembg_watch.ledger.port import Ledger
from rembg_watch.pipeline import Recipe
from rembg_watch.pipeline.source import SourceError, measure
from rembg_watch.pipeline.standing_files import standing
from rembg_watch.pipeline.values import content_key, older_key

_LACKS = "it was taken over without these files: {}"


@dataclass(frozen=True, slots=True)
class Found:
    """A picture that waits, and what seems to be made of it: by deliverable, relative to the output."""

    job: Job
    files: Mapping[str | None, bytes]  # None: the cut-out itself


@dataclass(frozen=True, slots=True, kw_only=True)
class Adoptable:
    """What waits in a folder, and what of it seems to be delivered."""

    recipe: Recipe
    pictures: int
    found: tuple[Found, ...]
    doubtful: int = 0  # pictures with a file that may be another one's too

    @property
    def folder(self) -> str:
        """Name the folder."""
        return self.recipe.name

    @property
    def partly(self) -> int:
        """Count the pictures of which not all files stand."""
        wanted = self.recipe.wanted
        return sum(1 for one in self.found if any(name not in one.files for name in wanted))


def adoptable(ledger: Ledger, recipe: Recipe) -> Adoptable:
    """Look which pictures in line have what seems to be their cut-out, or some of their files."""
    queued = Which(states=frozenset({State.QUEUED}), folders=frozenset({recipe.name}))
    jobs = {job.source: job for job in ledger.jobs(queued) if job.gone_at is None}
    sources = [(source, job.version) for source, job in jobs.items()]
    if not recipe.deliverables:
        single = tuple(Found(jobs[one.source], {None: one.target}) for one in earlier(recipe.output, sources))
        return Adoptable(recipe=recipe, pictures=len(jobs), found=single)
    looked = standing(recipe.output, recipe.deliverables, recipe.naming, sources, has_sidecar=recipe.has_sidecar)
    made = {one.name for one in recipe.deliverables}  # a sidecar alone is no file of a picture
    found = tuple(
        Found(jobs[source], dict(files.items())) for source, files in looked.found.items() if not made.isdisjoint(files)
    )
    doubtful = len({source for source, _ in looked.doubtful})
    return Adoptable(recipe=recipe, pictures=len(jobs), found=found, doubtful=doubtful)


def adopt(ledger: Ledger, meant: Adoptable, masters: Masters, at: datetime) -> int:
    """
    Write down pictures as done, each with the files that stand there; return how many.

    A file counts as ours as it is now: a re-export replaces it, unless somebody has edited it by then. The
    original is not touched, since nobody has verified anything. What a picture lacks is made only when asked for.
    """
    adopted = 0
    take = _adopt_files if meant.recipe.deliverables else _adopt_cutout
    for one in meant.found:
        with contextlib.suppress(OSError, StaleJobError, TargetsTakenError):  # gone, or somebody was faster
            adopted += take(ledger, one, meant.recipe, masters, at)
    return adopted


def _adopt_cutout(ledger: Ledger, one: Found, recipe: Recipe, _masters: Masters, at: datetime) -> bool:
    target = one.files[None]
    done = move(one.job, State.DONE, at=at, target=target, retry_at=None, reason=None, code=None, field=None)
    ledger.record(done, names=[target], published=_as_it_is(one.job, recipe.output, target), is_durable=False)
    return True


def _adopt_files(ledger: Ledger, one: Found, recipe: Recipe, masters: Masters, at: datetime) -> bool:
    """Take over a picture with its files; not at all if none of them can be had."""
    job, files = one.job, dict(_claimed(ledger, one, recipe, at))
    first = next((files[name].target for name in recipe.wanted if name in files), None)
    if first is None:
        return False
    lacking = [name for name in recipe.wanted if name not in files]
    reason = _LACKS.format(", ".join(lacking)) if lacking else None
    facts: dict[str, Any] = {"retry_at": None, "reason": reason, "code": None, "field": None, "delivered_at": at}
    facts |= {"finding": "lacks_files" if lacking else None, **_bought(job, recipe, masters)}
    ledger.record(move(job, State.DONE, at=at, target=first, **facts), is_durable=False)
    for name, target in files.items():
        made = Made(
            job_id=job.id,
            name=name,
            recipe_digest=recipe.wanted[name],
            state=MadeState.STANDING,
            made_at=at,
            target=target.target,
            digest=target.digest,
            size_bytes=target.size_bytes,
        )
        ledger.record_made(made, published=target)
    return True


def _claimed(ledger: Ledger, one: Found, recipe: Recipe, at: datetime) -> Iterable[tuple[str, Target]]:
    """Yield the files of a picture whose names it gets; another source may own one, or it may be gone by now."""
    for name, target in one.files.items():
        with contextlib.suppress(OSError, TargetsTakenError):
            found = _as_it_is(one.job, recipe.output, target)
            ledger.claim_target(one.job.folder, one.job.source, [target], at)
            yield str(name), found


def _bought(job: Job, recipe: Recipe, masters: Masters) -> dict[str, str | int]:
    """Return what the ledger would know of a picture's answer, if its master is kept: under its content key."""
    if not masters.directory.is_dir():
        return {}
    try:
        with measure(recipe.input / fsdecode(job.source), job.version, sends=recipe.sends) as opened:
            keys = (content_key(opened, recipe), older_key(opened, recipe))
    except SourceError:
        return {}
    for key in keys:
        with contextlib.suppress(OSError), masters.path(key).open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            size_bytes = os.fstat(file.fileno()).st_size
            bought: dict[str, str | int] = {"content_key": key, "answer_digest": digest, "answer_bytes": size_bytes}
            return bought | {"made_with": recipe.options_digest}
    return {}


def _as_it_is(job: Job, output: Path, target: bytes) -> Target:
    with (output / fsdecode(target)).open("rb") as file:
        digest, found = hashlib.file_digest(file, "sha256").hexdigest(), os.fstat(file.fileno())
    return Target(
        folder=job.folder,
        target=target,
        source=job.source,
        digest=digest,
        size_bytes=found.st_size,
        mtime_ns=found.st_mtime_ns,
        inode=found.st_ino,
    )
