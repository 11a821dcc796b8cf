"""
What the configured folders and their ledger know of pictures and places that somebody names by hand.

``remove`` asks here before it sends: whether a cut-out would fall into a watched input, where
it would be taken for a new picture, and whether a picture was delivered, or will be, without it.
Nothing is changed.
"""

import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from rembg_watch import state_dirs
from rembg_watch.api.params import RemovalParams
from rembg_watch.config import OWN_NAME, FolderSettings, Settings, read
from rembg_watch.errors import LedgerError
from rembg_watch.host.disk import version_of
from rembg_watch.host.locks import Holder, Locks
from rembg_watch.host.silence import silent
from rembg_watch.jobs import Job, State
from rembg_watch.ledger import Access, Ledger, open_ledger
from rembg_watch.paths import enters
from rembg_watch.pictures.sending import AS_IT_IS, UPRIGHT, Sends
from rembg_watch.pipeline.source import SourceError, measure
from rembg_watch.pipeline.values import content_name
from rembg_watch.report.events import ACCEPT_OR_REDO
from rembg_watch.report.words import show

_AHEAD = frozenset({State.QUEUED, State.SENDING, State.RECEIVED})


@dataclass(frozen=True, slots=True)
class Spot:
    """A directory inside a watched input."""

    folder: FolderSettings
    below: bytes  # relative to the input; empty: the input itself

    def source(self, name: bytes) -> bytes:
        """Return the path below the input of a file of this name."""
        return self.below + b"/" + name if self.below else name


def spot_of(directory: Path, folders: Iterable[FolderSettings]) -> Spot | None:
    """
    Find the watched input that *directory*, which need not exist, lies in.

    Links, bind mounts and disks that know no case are seen through: what counts is which
    directory it is, not how it is called.
    """
    real = Path(os.path.realpath(directory))
    steps = (real, *real.parents)
    known = {identity: step for step in steps if (identity := _identity(step))}
    for folder in folders:
        root = Path(os.path.realpath(folder.input))
        identity = _identity(root)
        standing = root if root in steps else known.get(identity) if identity else None
        if standing is not None:
            below = os.fsencode(real.relative_to(standing)) if real != standing else b""
            if enters(folder.folder(), below):
                return Spot(folder, below)
    return None


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def refusals(
    directories: Collection[Path], folders: Iterable[FolderSettings], *, environ: Mapping[str, str]
) -> list[str]:
    """
    Say why no cut-out may be written into some of *directories*; one sentence for each watched folder.

    Whoever stands in a watched folder is seldom beside its configuration. So not only *folders*
    count, but those of every other configuration that can be found, and whatever a running daemon watches.
    """
    answering = _that_answer([*folders, *_folders_of_others(directories, environ)])
    known = {identity for folder in answering if (identity := _identity(folder.input))}
    found: dict[Path, str] = {}
    for directory in directories:
        real = Path(os.path.realpath(directory))
        if spot := spot_of(directory, answering):
            found.setdefault(spot.folder.input, _refusal(real, spot.folder))
        elif held := _held_above(real, known):
            root, holder = held
            found.setdefault(root, f"{_shown(real)} is watched by {holder}: {_WHY} {_shown(root)} with -o")
    return list(found.values())


_WHY = "a cut-out there would be taken for a new picture and paid for again. Name a place outside"


def _refusal(directory: Path, folder: FolderSettings) -> str:
    return (
        f"{_shown(directory)} is watched (folder {folder.name!r}): {_WHY} {_shown(folder.input)} with -o; "
        f"the daemon puts the cut-outs of pictures that are dropped there into {_shown(folder.output)}"
    )


def _folders_of_others(directories: Collection[Path], environ: Mapping[str, str]) -> Iterator[FolderSettings]:
    """
    Yield the folders of configurations above *directories*, in the usual places, or that ran here before.

    Each is read as it stands in its file: the environment belongs to the one that is used.
    """
    steps = {step for one in directories for real in [Path(os.path.realpath(one))] for step in (real, *real.parents)}
    for path in dict.fromkeys([*(step / OWN_NAME for step in sorted(steps)), *state_dirs.noted(environ)]):
        if path.is_file():
            reading = read(path, environ={}, on_disk=False)
            yield from reading.settings.folders if reading.settings else ()


def _held_above(directory: Path, known: Collection[tuple[int, int]]) -> tuple[Path, Holder] | None:
    """Find who watches *directory* or one above it by a configuration that is not known here."""
    locks = Locks()
    for step in (directory, *directory.parents):
        if _identity(step) not in known and (holder := locks.holder_of(step, alone=True)):
            return step, holder
    return None


def _that_answer(folders: Sequence[FolderSettings]) -> Sequence[FolderSettings]:
    """Leave out the folders whose share hangs: to look at one would never end, and nothing can be written there."""
    silences = silent(folder.input for folder in folders)
    return [folder for folder in folders if folder.input not in silences]


def _shown(path: Path) -> str:
    return show(os.fsencode(path))


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """A picture that the ledger knows, and what of it."""

    job: Job
    output: Path | None  # the output root of its folder, if that is still configured

    def __str__(self) -> str:
        """Say it to a person who is about to pay for it."""
        job, again = self.job, "sending it by hand is paid for again"
        name = f"{job.folder}/{show(job.source)}"
        if job.state in _AHEAD:
            return f"rembg-watch has this picture in line ({name}): it would be paid for twice"
        if _is_held_answer(job):
            return f"the paid answer for this picture is held ({name}): {ACCEPT_OR_REDO}; {again}"
        if self.output is None or job.target is None:
            return f"this picture was paid for before ({name}); {again}"
        place = self.output / os.fsdecode(job.target)
        gone = "" if place.exists() else ", which is not there any more"
        return f"this picture was delivered before as {_shown(place)}{gone}; {again}"


def _is_held_answer(job: Job) -> bool:
    """Say whether a person has to decide about the answer, whose size surprises."""
    return job.state is State.HELD and job.finding is not None


def known_pictures(sources: Sequence[Path], settings: Settings, params: RemovalParams) -> Iterator[tuple[Path, Known]]:
    """
    Find those of *sources* that the ledger has delivered, or will deliver.

    A picture counts as known under its own name in a watched folder, and under any name if its
    picture was paid for with a folder's options or with *params*. Where there is no ledger, or
    this user may not read it, nothing is known.
    """
    if not settings.folders:
        return
    with suppress(LedgerError, OSError), open_ledger(settings.state_dir, Access.READ) as ledger:
        outputs = {folder.name: folder.output for folder in settings.folders}
        options = {params.canonical(), *(folder.options.params().canonical() for folder in settings.folders)}
        answering = _that_answer(settings.folders)
        for source in sources:
            with suppress(OSError):
                job = _by_place(ledger, source, answering) or _by_content(ledger, source, options)
                if job is not None:
                    yield source, Known(job=job, output=outputs.get(job.folder))


def _by_place(ledger: Ledger, source: Path, folders: Sequence[FolderSettings]) -> Job | None:
    real = Path(os.path.realpath(source))
    spot = spot_of(real.parent, folders)
    job = ledger.find(spot.folder.name, spot.source(os.fsencode(real.name))) if spot else None
    if job is None or job.version != version_of(real.stat()):
        return None
    return job if job.state in _AHEAD or job.state is State.DONE or _is_held_answer(job) else None


def _by_content(ledger: Ledger, source: Path, options: Iterable[str]) -> Job | None:
    try:
        with measure(source, version_of(source.stat()), sends=Sends()) as opened:
            digests = (opened.picture_digest, opened.source_digest)
    except SourceError:  # whoever sends it says what is wrong
        return None
    keys = (
        [content_name(digest, one, way=way) for digest in digests] for one in options for way in (AS_IT_IS, UPRIGHT)
    )
    return next((job for key, older in keys for job in ledger.answers_for(key, older)), None)
