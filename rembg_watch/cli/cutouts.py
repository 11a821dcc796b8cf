"""Which delivered files are not there any more, as far as can be seen without waiting for a share that hangs."""

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from os import fsdecode
from pathlib import Path

from rembg_watch.config import Settings
from rembg_watch.delivery.roots import ADVICE, Roots, Unwritten
from rembg_watch.host.silence import silent
from rembg_watch.jobs import Job, State
from rembg_watch.ledger import Ledger, Made, MadeState
from rembg_watch.pictures.deliverable import SIDECAR

_PATIENCE_S = 5.0

AWAY = (
    "its output is away, so that nothing of it counts as missing: "
    f"mount its disk or share; if it is right as it is, {ADVICE}"
)
"""What is said of a folder whose output tells nothing."""


@dataclass(frozen=True, slots=True)
class File:
    """A file that was put into an output."""

    deliverable: str | None  # None: it is the cut-out itself
    target: bytes  # relative to the output


@dataclass(frozen=True, slots=True)
class Missing:
    """What was found in the outputs."""

    files: Mapping[int, tuple[File, ...]]  # all that was put there, by the numbers of their jobs
    gone: Mapping[int, tuple[File, ...]]  # those of them that are surely gone
    away: frozenset[str]  # folders whose output is another than the ledger has used, which tells nothing

    @property
    def ids(self) -> frozenset[int]:
        """The jobs that lack a file."""
        return frozenset(self.gone)


def missing(jobs: Iterable[Job], settings: Settings, ledger: Ledger) -> Missing:
    """
    Say which delivered files are gone; what cannot be looked at in time is left out.

    A share that is away leaves an empty folder: all of its cut-outs would be bought again, to be there twice.
    """
    silences = silent(one.output for one in settings.folders)  # it alone says nothing, and the others are looked at
    outputs = {one.name: one.output for one in settings.folders if one.output not in silences}
    known = Roots(Unwritten(ledger))
    gone: dict[int, tuple[File, ...]] = {}
    away: set[str] = set()
    done = [job for job in jobs if job.state is State.DONE]
    files = _delivered(done, settings, ledger)

    def look() -> None:
        away.update(name for name, root in outputs.items() if not root.is_dir() or known.why_away(root))
        for job in done:
            if job.folder not in outputs or job.folder in away:
                continue
            root = outputs[job.folder]
            if lost := tuple(one for one in files.get(job.id, ()) if _is_gone(root, one.target)):
                gone[job.id] = lost

    looking = threading.Thread(target=look, daemon=True)  # a look at a share may never come back
    looking.start()
    looking.join(_PATIENCE_S)
    return Missing(files, gone.copy(), frozenset(away.copy()))


def _delivered(done: Iterable[Job], settings: Settings, ledger: Ledger) -> dict[int, tuple[File, ...]]:
    """Name the files of finished jobs: what their folder delivers, or the cut-out."""
    wanted = {one.name: frozenset([*one.deliver, SIDECAR] if one.sidecar else one.deliver) for one in settings.folders}
    made = ledger.made_of([job.id for job in done if wanted.get(job.folder)])
    files = {job.id: _files(job, made.get(job.id, {}), wanted.get(job.folder, frozenset())) for job in done}
    return {number: some for number, some in files.items() if some}


def _files(job: Job, made: Mapping[str, Made], wanted: frozenset[str]) -> tuple[File, ...]:
    standing = [one for one in made.values() if one.state is MadeState.STANDING and one.target is not None]
    if standing:
        return tuple(File(one.name, one.target or b"") for one in standing if one.name in wanted)
    return (File(None, job.target),) if job.target is not None else ()


def _is_gone(root: Path, target: bytes) -> bool:
    try:
        (root / fsdecode(target)).lstat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False
