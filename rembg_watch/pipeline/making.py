"""
Make the deliverables of a picture, of its source and what was bought for it, and publish each.

It costs nothing and can be repeated. Each file goes the way of a plain cut-out: made aside, staged beside its name,
written down with its digest, and only then given the name. What a crash leaves under a name is known by that digest,
so no encoder has to make the same bytes twice. A file that cannot be made leaves the others alone.
"""

import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from hashlib import sha256
from os import fsdecode
from pathlib import Path
from typing import BinaryIO, cast

from rembg_watch.delivery.making import Making
from rembg_watch.delivery.publish import Published, Staged, discard, is_ours, publish, stage
from rembg_watch.delivery.waiting import Waiting
from rembg_watch.delivery.withdraw import withdraw
from rembg_watch.errors import RembgWatchError
from rembg_watch.host.disk import Content, DeliveryError, TargetTakenError
from rembg_watch.jobs import Job
from rembg_watch.ledger import Made, MadeState, Target
from rembg_watch.paths import mirror
from rembg_watch.pictures import carrying, inspection
from rembg_watch.pictures.deliverable import SIDECAR, Deliverable
from rembg_watch.pictures.naming import NoNameError, NoWordsError
from rembg_watch.pictures.rendering import NotRenderedError, Rendered
from rembg_watch.pictures.sending import AS_IT_IS, way_of
from rembg_watch.pipeline import sidecars
from rembg_watch.pipeline.names import Said, place_of, said_by
from rembg_watch.pipeline.plan import Recipe
from rembg_watch.pipeline.ports import Ports
from rembg_watch.pipeline.source import SourceError, open_version
from rembg_watch.report import events


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ready:
    """A file that is whole, beside its name."""

    name: str
    recipe_digest: str
    staged: Staged
    names: Callable[[], Iterator[bytes]]
    remarks: tuple[str, ...] = ()


def make(
    ports: Ports,
    job: Job,
    recipe: Recipe,
    master: Path,
    beat: Callable[[], None] = lambda: None,
    *,
    make_way: Callable[[bytes], None] = lambda _name: None,
    holds: Collection[str] = (),
) -> dict[str, Made]:
    """
    Make and publish what a picture lacks of its folder's deliverables; return what there is of each.

    *make_way* is told the best name of each file before it is claimed. Nothing is published of a
    picture where what is odd about a file is one of *holds*.

    Raises:
        HeldBackError: It was made, and is odd.
        DeliveryError: The output takes nothing now; what stands, stands.
        OSError: This machine's disk refused.
    """
    made = dict(ports.ledger.made(job.id))
    with ExitStack() as stack:
        source = _source(ports, job, recipe)
        if source is not None:
            stack.enter_context(source)
        said = _said(ports, job, recipe, source)
        sent, px = _sent(source, master, recipe)
        ready: list[_Ready] = []
        stack.callback(_discard_all, ready)
        for deliverable in recipe.deliverables:
            known = made.get(deliverable.name)
            if known is not None and _is_over(ports, job, recipe, recipe.digest_of(deliverable), known):
                continue
            if source is None and known is not None and _stands(recipe, known):
                continue  # it was made of the original: of what was bought alone it would only become worse
            wanted = Making(
                master=master,
                kind=recipe.master,
                deliverable=deliverable,
                sent=sent,
                px=max(px, _canvas_px(deliverable)),
                edges=recipe.edges,
                assume=recipe.assume,
            )
            try:
                ready.append(_staged(ports, job, recipe, source, said, wanted, made, beat, make_way))
            except (NotRenderedError, NoNameError) as cannot:
                made[deliverable.name] = _failed(ports, job, recipe, deliverable, cannot)
                continue
            if not (recipe.is_together or holds):
                _put_all(ports, job, recipe, ready, made)
        if odd := [code for one in ready for code in one.remarks if code in holds]:
            raise HeldBackError(odd)
        _put_all(ports, job, recipe, ready, made)
        _put_all(ports, job, recipe, ready, made)
        if recipe.has_sidecar:
            _write_sidecar(ports, job, recipe, source, made, make_way)
    return {one.name: made[one.name] for one in recipe.deliverables}


def _put_all(ports: Ports, job: Job, recipe: Recipe, ready: list[_Ready], made: dict[str, Made]) -> None:
    while ready:
        one = ready.pop(0)
        made[one.name] = _put(ports, job, recipe, one, made)


def _discard_all(ready: list[_Ready]) -> None:
    for one in ready:
        discard(one.staged)


def _is_over(ports: Ports, job: Job, recipe: Recipe, recipe_digest: str, known: Made) -> bool:
    """Say if nothing is left to do for a deliverable; one that a crash left with its name is taken for ours."""
    if known.recipe_digest != recipe_digest or known.state is MadeState.FAILED:
        return False
    if known.target is None or known.digest is None or known.size_bytes is None:
        return False
    content = Content(digest=known.digest, size_bytes=known.size_bytes)
    ports.roots.check(recipe.output)
    if known.state is MadeState.MADE and is_ours(recipe.output, known.target, content):
        ports.ledger.record_made(replace(known, state=MadeState.STANDING), published=_as_found(job, recipe, known))
        return True
    return known.state is MadeState.STANDING


def _stands(recipe: Recipe, known: Made) -> bool:
    if known.state is not MadeState.STANDING or not (known.target and known.digest and known.size_bytes is not None):
        return False
    return is_ours(recipe.output, known.target, Content(digest=known.digest, size_bytes=known.size_bytes))


def _as_found(job: Job, recipe: Recipe, known: Made) -> Target:
    assert known.target is not None
    found = (recipe.output / fsdecode(known.target)).stat()
    return Target(
        folder=job.folder,
        target=known.target,
        source=job.source,
        digest=known.digest,
        size_bytes=known.size_bytes,
        mtime_ns=found.st_mtime_ns,
        inode=found.st_ino,
    )


def _staged(
    ports: Ports,
    job: Job,
    recipe: Recipe,
    source: BinaryIO | None,
    said: Said,
    wanted: Making,
    made: dict[str, Made],
    beat: Callable[[], None],
    make_way: Callable[[bytes], None],
) -> _Ready:
    deliverable = wanted.deliverable
    known = made[deliverable.name].target if deliverable.name in made else None
    place_of(recipe, job, deliverable, (0, 0), said, known)  # what has no name is not made
    with _unnamed(ports) as file, _unnamed(ports) as scratch:
        with _watched(ports, job, source, beat) as waiting:
            rendered = _rendered(ports, source, file, scratch, wanted, waiting)
        file.flush()
        ports.step("made")
        place = place_of(recipe, job, deliverable, (rendered.width, rendered.height), said, known)
        wish = (deliverable.name, recipe.digest_of(deliverable), deliverable.format.extension)
        return _beside(ports, job, recipe, file, wish, place, made, make_way, rendered.remarks)


def _beside(
    ports: Ports,
    job: Job,
    recipe: Recipe,
    file: BinaryIO,
    wish: tuple[str, str, str],
    place: bytes,
    made: Mapping[str, Made],
    make_way: Callable[[bytes], None],
    remarks: tuple[str, ...] = (),
) -> _Ready:
    """Stage a whole file beside the name that it gets; *wish*: what it is, how it is made, and its ending."""
    name, recipe_digest, extension = wish
    taken = {one.target for one in made.values() if one.name != name}

    def names() -> Iterator[bytes]:
        return (one for one in _names(ports, recipe, extension, place) if one not in taken)

    with ports.shares.touching(job.folder):
        ports.roots.check(recipe.output)
        make_way(next(names()))
        target = ports.ledger.claim_target(job.folder, job.source, names(), ports.now())
        staged = stage(Path(f"/proc/self/fd/{file.fileno()}"), recipe.output, target, step=ports.step)
    return _Ready(name=name, recipe_digest=recipe_digest, staged=staged, names=names, remarks=remarks)


def _write_sidecar(
    ports: Ports,
    job: Job,
    recipe: Recipe,
    source: BinaryIO | None,
    made: dict[str, Made],
    make_way: Callable[[bytes], None],
) -> None:
    """Write down beside the files what was made of what, unless that stands there, or was taken away by somebody."""
    known, how = made.get(SIDECAR), recipe.wanted[SIDECAR]
    try:
        with ports.shares.touching(job.folder):
            digest = sidecars.source_digest(source, recipe.output, known)
    except OSError as error:
        raise NotNowError(f"the picture cannot be read now ({(error.strerror or str(error)).lower()})") from error
    text = sidecars.sidecar(job, recipe, made, digest)
    if known is not None and known.digest == sha256(text).hexdigest() and _is_over(ports, job, recipe, how, known):
        return
    with _unnamed(ports) as file:
        file.write(text)
        file.flush()
        wish = (SIDECAR, how, sidecars.EXTENSION)
        _put_all(ports, job, recipe, [_beside(ports, job, recipe, file, wish, job.source, made, make_way)], made)


@contextmanager
def _watched(ports: Ports, job: Job, source: BinaryIO | None, beat: Callable[[], None]) -> Iterator[Waiting]:
    """Count the folder as one whose disk does not answer while whoever reads the source gets nothing of it."""
    if source is None:
        yield Waiting(beat=beat)
        return
    with ports.shares.touching(job.folder) as moved:
        yield Waiting(beat=beat, moved=moved)


def _rendered(
    ports: Ports,
    source: BinaryIO | None,
    file: BinaryIO,
    scratch: BinaryIO,
    wanted: Making,
    waiting: Waiting,
) -> Rendered:
    """
    Have a file made.

    Raises:
        NotRenderedError: It cannot be made of this picture.
        NotNowError: It can perhaps be made later.
    """
    try:
        return ports.render(source, file, scratch, wanted, waiting=waiting)
    except NotRenderedError as error:
        if error.code != "missing_library":
            raise
        raise NotNowError(str(error)) from error
    except MemoryError as error:
        raise NotRenderedError("memory", "there is not enough memory to make it: export the picture smaller") from error
    except OSError as error:
        raise NotNowError(f"it cannot be made now ({(error.strerror or str(error)).lower()})") from error


class HeldBackError(RembgWatchError):
    """Files were made and not published, since they are odd: *codes* say in which way."""

    def __init__(self, codes: Sequence[str]) -> None:
        super().__init__(", ".join(codes))
        self.codes = tuple(codes)


class NotNowError(RembgWatchError):
    """A file cannot be made now, for reasons that may pass: this machine's, not the picture's."""


def _unnamed(ports: Ports) -> BinaryIO:
    return cast(BinaryIO, tempfile.TemporaryFile(dir=ports.spool.directory))


def _sent(source: BinaryIO | None, master: Path, recipe: Recipe) -> tuple[str, int]:
    """Say in which way the source was sent, and how many pixels it has; the master in its place where it is gone."""
    if source is None:
        with master.open("rb") as file:
            look = inspection.inspect(file.fileno())
        return AS_IT_IS, look.width_px * look.height_px
    fd = source.fileno()
    reader = inspection.reader_of(fd)
    look = inspection.inspect_to_the_end(fd, reader=reader, reads_more=True)
    way = way_of(look, carrying.parts_of(reader, look.any_kind), reader.size_bytes, recipe.sends)
    return way, look.width_px * look.height_px


def _said(ports: Ports, job: Job, recipe: Recipe, source: BinaryIO | None) -> Said:
    """
    Return what the picture says of itself where names need that; None where it is gone.

    Raises:
        NotNowError: It cannot be read now.
    """
    if source is None:
        return None
    try:
        with ports.shares.touching(job.folder):
            return said_by(source, recipe)
    except OSError as error:
        raise NotNowError(f"the picture cannot be read now ({(error.strerror or str(error)).lower()})") from error


def _canvas_px(deliverable: Deliverable) -> int:
    return deliverable.canvas[0] * deliverable.canvas[1] if isinstance(deliverable.canvas, tuple) else 0


def _names(ports: Ports, recipe: Recipe, extension: str, place: bytes) -> Iterator[bytes]:
    return mirror(ports.places.source_in(recipe.output, place, extension), extension)


def _put(ports: Ports, job: Job, recipe: Recipe, ready: _Ready, made: dict[str, Made]) -> Made:
    """Write a file down and give it its name: the best one that is free, or that of our own older file."""
    staged, refused = ready.staged, set[bytes]()
    before = made.get(ready.name)
    try:
        while True:
            one = _row(ports, job, ready, staged)
            ports.ledger.record_made(one)
            ports.step("written down")
            try:
                with ports.shares.touching(job.folder):
                    ports.roots.check(recipe.output)
                    published = _publish(ports, job, staged)
                break
            except TargetTakenError:
                ports.ledger.release_target(job.folder, job.source, staged.target)
                refused.add(staged.target)
                names = (name for name in ready.names() if name not in refused)
                staged = staged.under(ports.ledger.claim_target(job.folder, job.source, names, ports.now()))
    except BaseException:
        discard(staged)
        raise
    ports.roots.used(recipe.output)
    standing = replace(one, state=MadeState.STANDING)
    ports.ledger.record_made(standing, published=_target(job, published))
    ports.step("named")
    if before is not None:
        _withdraw(ports, job, recipe, before, standing)
    ports.report(events.FileMade(**events.of(job), deliverable=one.name, target=staged.target, remarks=ready.remarks))
    return standing


def _row(ports: Ports, job: Job, ready: _Ready, staged: Staged) -> Made:
    remarks = ready.remarks
    return Made(
        job_id=job.id,
        name=ready.name,
        recipe_digest=ready.recipe_digest,
        state=MadeState.MADE,
        made_at=ports.now(),
        target=staged.target,
        digest=staged.content.digest,
        size_bytes=staged.content.size_bytes,
        code=",".join(remarks) or None,
    )


def _publish(ports: Ports, job: Job, staged: Staged) -> Published:
    older = ports.ledger.target(job.folder, staged.target)
    has_older = older is not None and older.digest is not None and older.size_bytes is not None
    content = Content(digest=str(older.digest), size_bytes=older.size_bytes or 0) if older and has_older else None
    return publish(staged, replace=content, step=ports.step)


def _target(job: Job, published: Published) -> Target:
    return Target(
        folder=job.folder,
        target=published.target,
        source=job.source,
        digest=published.content.digest,
        size_bytes=published.content.size_bytes,
        mtime_ns=published.mtime_ns,
        inode=published.inode,
    )


def _withdraw(ports: Ports, job: Job, recipe: Recipe, before: Made, now: Made) -> None:
    """Remove our own file of the same deliverable under another name, as it may have after a change of format."""
    if before.target in (None, now.target) or before.digest is None or before.size_bytes is None:
        return
    try:
        withdraw(recipe.output, before.target or b"", Content(digest=before.digest, size_bytes=before.size_bytes))
    except DeliveryError:
        return
    ports.ledger.release_target(job.folder, job.source, before.target or b"")


def _failed(
    ports: Ports, job: Job, recipe: Recipe, deliverable: Deliverable, cannot: NotRenderedError | NoNameError
) -> Made:
    code = cannot.code if isinstance(cannot, NotRenderedError) else "no_name"
    one = Made(
        job_id=job.id,
        name=deliverable.name,
        recipe_digest="" if isinstance(cannot, NoWordsError) else recipe.digest_of(deliverable),  # "": still lacking
        state=MadeState.FAILED,
        made_at=ports.now(),
        reason=str(cannot),
        code=code,
    )
    ports.ledger.record_made(one)
    ports.report(events.FileNotMade(**events.of(job), deliverable=deliverable.name, why=str(cannot), code=code))
    return one


def _source(ports: Ports, job: Job, recipe: Recipe) -> BinaryIO | None:
    """Open the source where it stands, or where we have put it; None where it is gone."""
    for root in (recipe.input, recipe.done):
        if root is None:
            continue
        try:
            with ports.shares.touching(job.folder):
                return open_version(
                    root / fsdecode(job.source), job.version, root=root, is_same_file=root == recipe.input
                )
        except SourceError:
            continue
    return None


def lacking_text(made: Sequence[Made]) -> str | None:
    """Say which files are lacking, and why; None if there are all."""
    failed = [one for one in made if one.state is MadeState.FAILED]
    return "; ".join(f"{one.name}: {one.reason}" for one in failed) or None


def not_made(made: Mapping[str, Made]) -> frozenset[str]:
    """Name the files that could not be made."""
    return frozenset(name for name, one in made.items() if one.state is MadeState.FAILED)


def first_target(made: dict[str, Made]) -> bytes | None:
    """Return the name of the first file that stands."""
    return next((one.target for one in made.values() if one.state is MadeState.STANDING), None)
