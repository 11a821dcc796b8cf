"""Which cut-outs are not there any more, as far as can be seen without waiting for a share that hangs."""

import threading
from collections.abc import Iterable
from dataclasses import dataclass
from os import fsdecode
from pathlib import Path

from rembg_watch.config import Settings
from rembg_watch.delivery.roots import Roots, Unwritten
from rembg_watch.host.silence import silent
from rembg_watch.jobs import Job, State
from rembg_watch.ledger import Ledger

_PATIENCE_S = 5.0


@dataclass(frozen=True, slots=True)
class Missing:
    """What was found in the outputs."""

    ids: frozenset[int]  # of finished jobs whose cut-out is surely gone
    away: frozenset[str]  # folders whose output is another than the ledger has used, which tells nothing


def missing(jobs: Iterable[Job], settings: Settings, ledger: Ledger) -> Missing:
    """
    Say which cut-outs are gone; what cannot be looked at in time is left out.

    A share that is away leaves an empty folder: all of its cut-outs would be bought again, to be there twice.
    """
    silences = silent(one.output for one in settings.folders)  # it alone says nothing, and the others are looked at
    outputs = {one.name: one.output for one in settings.folders if one.output not in silences}
    known = Roots(Unwritten(ledger))
    gone: set[int] = set()
    away: set[str] = set()
    done = [job for job in jobs if job.state is State.DONE and job.target is not None and job.folder in outputs]

    def look() -> None:
        away.update(name for name, root in outputs.items() if not root.is_dir() or known.why_away(root))
        there = [job for job in done if job.folder not in away]
        gone.update(job.id for job in there if _is_gone(outputs[job.folder], job.target or b""))

    looking = threading.Thread(target=look, daemon=True)  # a look at a share may never come back
    looking.start()
    looking.join(_PATIENCE_S)
    return Missing(frozenset(gone.copy()), frozenset(away.copy()))


def _is_gone(root: Path, target: bytes) -> bool:
    try:
        (root / fsdecode(target)).lstat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False
