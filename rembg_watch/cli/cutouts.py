"""Which cut-outs are not there any more, as far as can be seen without waiting for a share that hangs."""

import threading
from collections.abc import Iterable
from os import fsdecode
from pathlib import Path

from rembg_watch.config import Settings
from rembg_watch.host.silence import silent
from rembg_watch.jobs import Job, State

_PATIENCE_S = 5.0


def missing(jobs: Iterable[Job], settings: Settings) -> frozenset[int]:
    """Return the ids of finished jobs whose cut-out is surely gone; what cannot be looked at in time is left out."""
    silences = silent(one.output for one in settings.folders)  # it alone says nothing, and the others are looked at
    outputs = {one.name: one.output for one in settings.folders if one.output not in silences}
    gone: set[int] = set()
    done = [job for job in jobs if job.state is State.DONE and job.target is not None and job.folder in outputs]

    def look() -> None:
        roots = {name: root.is_dir() for name, root in outputs.items()}  # one that is away says nothing of its files
        gone.update(job.id for job in done if roots[job.folder] and _is_gone(outputs[job.folder], job.target or b""))

    looking = threading.Thread(target=look, daemon=True)  # a look at a share may never come back
    looking.start()
    looking.join(_PATIENCE_S)
    return frozenset(gone.copy())


def _is_gone(root: Path, target: bytes) -> bool:
    try:
        (root / fsdecode(target)).lstat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False
