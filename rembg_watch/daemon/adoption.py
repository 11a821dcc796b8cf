"""Take over cut-outs that another ledger delivered: their pictures are done, and nothing is paid for them."""

import contextlib
import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from os import fsdecode
from pathlib import Path

from rembg_watch.delivery.earlier import earlier
from rembg_watch.jobs import Job, State, move
from rembg_watch.ledger import StaleJobError, Target, TargetsTakenError, Which
from rembg_watch.ledger.port import Ledger


@dataclass(frozen=True, slots=True, kw_only=True)
class Adoptable:
    """What waits in a folder, and what of it seems to be delivered."""

    folder: str
    output: Path
    pictures: int
    found: tuple[tuple[Job, bytes], ...]  # each with its cut-out, relative to the output


def adoptable(ledger: Ledger, folder: str, output: Path) -> Adoptable:
    """Look which pictures in line have what seems to be their cut-out."""
    queued = Which(states=frozenset({State.QUEUED}), folders=frozenset({folder}))
    jobs = {job.source: job for job in ledger.jobs(queued) if job.gone_at is None}
    found = earlier(output, [(source, job.version) for source, job in jobs.items()])
    return Adoptable(
        folder=folder,
        output=output,
        pictures=len(jobs),
        found=tuple((jobs[one.source], one.target) for one in found),
    )


def adopt(ledger: Ledger, found: Iterable[tuple[Job, bytes]], output: Path, at: datetime) -> int:
    """
    Write down pictures as done, each with the cut-out that stands there; return how many.

    A cut-out counts as ours as it is now: a re-export replaces it, unless somebody has edited it by then. The
    original is not touched, since nobody has verified anything.
    """
    adopted = 0
    for job, target in found:
        with contextlib.suppress(OSError, StaleJobError, TargetsTakenError):  # gone, or somebody was faster
            done = move(job, State.DONE, at=at, target=target, retry_at=None, reason=None, code=None, field=None)
            ledger.record(done, names=[target], published=_as_it_is(job, output, target), is_durable=False)
            adopted += 1
    return adopted


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
