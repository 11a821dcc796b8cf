"""
What the files of a picture are called, before it is paid for and when they are made.

A source is read for that only where a path of its folder asks for what the picture says of itself, and nothing is
decoded. Both times it is read by the same function, so both times the name is the same.
"""

from collections.abc import Mapping
from os import fsdecode
from typing import BinaryIO

from rembg_watch.host.disk import shown
from rembg_watch.jobs import Job
from rembg_watch.paths import suffix
from rembg_watch.pictures import carrying, formats
from rembg_watch.pictures.deliverable import Deliverable
from rembg_watch.pictures.inspection import reader_of
from rembg_watch.pictures.naming import NoWordsError
from rembg_watch.pictures.words import words_of
from rembg_watch.pipeline.plan import Recipe
from rembg_watch.pipeline.ports import Ports
from rembg_watch.pipeline.source import SourceUnreadableError, open_version

Said = Mapping[str, str] | None
"""What a picture says of itself, by token; None where nobody can know, or nobody asks."""


def said_by(source: BinaryIO, recipe: Recipe) -> Said:
    """
    Return what an open source says of what the paths of its folder ask for.

    Raises:
        OSError: It cannot be read.
    """
    asked = frozenset[str]().union(*(recipe.naming.asks(one.path) for one in recipe.deliverables))
    if not asked:
        return None
    reader = reader_of(source.fileno())
    kind = formats.inspect(reader, reads_more=True).any_kind
    return words_of(carrying.parts_of(reader, kind).metadata, asked)


def said_before(ports: Ports, recipe: Recipe, job: Job) -> Said:
    """
    Return the same of a job's source, which nobody has opened yet.

    Raises:
        SourceError: It is gone, is another version by now, or cannot be read.
    """
    if not any(recipe.naming.asks(one.path) for one in recipe.deliverables):
        return None
    path = recipe.input / fsdecode(job.source)
    with ports.shares.touching(job.folder):
        try:
            with open_version(path, job.version, root=recipe.input) as source:
                return said_by(source, recipe)
        except OSError as error:
            reason = f"{shown(path)} cannot be read ({error.strerror}): look at its permissions and its share."
            raise SourceUnreadableError(reason, code="unreadable", path=path) from error


def place_of(
    recipe: Recipe,
    job: Job,
    deliverable: Deliverable,
    sides: tuple[int, int],
    said: Said,
    known: bytes | None = None,
) -> bytes:
    """
    Return where a deliverable goes, as if it were a source there: its ending is the source's.

    Where the picture is gone that would have to say it, the file keeps the name that it has.

    Args:
        recipe: How its folder's pictures are made.
        job: The picture.
        deliverable: What is made of it.
        sides: The picture's width and height in pixels, upright.
        said: What it says of itself.
        known: The name of the deliverable as it was made before.

    Raises:
        NoNameError: The source's name does not say what is asked for.
        NoWordsError: The source would have to say it, is gone, and nothing was made before.
    """
    try:
        filled = recipe.naming.fill(
            deliverable.path,
            job.source,
            deliverable=deliverable.name,
            mtime_ns=job.version.mtime_ns,
            sides=sides,
            said=said,
        )
    except NoWordsError:
        if known is None:
            raise
        filled = known[: len(known) - len(suffix(known))]
    return filled + suffix(job.source)
