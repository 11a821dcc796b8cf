"""Which files of pictures seem to stand in the output of a folder that makes several of each."""

from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path

from rembg_watch.delivery.earlier import earlier
from rembg_watch.delivery.earlier_files import EarlierFiles, Wanted, earlier_files
from rembg_watch.jobs import Version
from rembg_watch.paths import suffix
from rembg_watch.pictures.deliverable import SIDECAR, Deliverable
from rembg_watch.pictures.naming import Naming, NoNameError, tokens_of
from rembg_watch.pipeline.sidecars import EXTENSION

_MEASURED = {"width", "height"}  # tokens that only the finished file answers


def standing(
    output: Path,
    deliverables: Iterable[Deliverable],
    naming: Naming,
    sources: Iterable[tuple[bytes, Version]],
    *,
    has_sidecar: bool = False,
) -> EarlierFiles:
    """Find the files of *sources* in *output*; one whose name tells its size cannot be looked for."""
    return earlier_files(output, list(_wanted(deliverables, naming, has_sidecar=has_sidecar)), sources)


def count(
    output: Path, deliverables: Iterable[Deliverable], naming: Naming, sources: Iterable[tuple[bytes, Version]]
) -> int:
    """Count those of *sources* of which something seems to stand, in a folder of any kind."""
    wanted = list(deliverables)
    if not wanted:
        return sum(1 for _ in earlier(output, sources))
    looked = standing(output, wanted, naming, sources)
    return len(looked.found.keys() | {source for source, _ in looked.doubtful})


def _wanted(deliverables: Iterable[Deliverable], naming: Naming, *, has_sidecar: bool) -> Iterator[Wanted]:
    for one in deliverables:
        if _MEASURED.isdisjoint(tokens_of(one.path)):
            yield Wanted(one.name, one.format.extension, partial(_place, naming, one))
    if has_sidecar:
        yield Wanted(SIDECAR, EXTENSION, lambda source, _at: source)


def _place(naming: Naming, one: Deliverable, source: bytes, version: Version) -> bytes | None:
    try:
        place = naming.fill(one.path, source, deliverable=one.name, mtime_ns=version.mtime_ns, sides=(0, 0))
    except NoNameError:
        return None
    return place + suffix(source)
