"""
Copies of cut-outs that wait for a person, each with a note beside it, in a folder that people work in.

The note ends with the digest of its copy. What has no note of ours, or was changed since, is nobody's copy: whoever
repairs a cut-out where it is shown keeps the repaired one. Nothing is written over.
"""

import contextlib
import os
import re
from collections.abc import Iterator
from os import fsdecode, fsencode
from pathlib import Path

from rembg_watch.api.params import Format
from rembg_watch.host import disk
from rembg_watch.host.disk import blocks, claim, closing, content_at, look, new_staging_name, open_file, write
from rembg_watch.jobs import Job
from rembg_watch.pictures.formats import kind_of

_MOST_STEM_BYTES = 150  # leaves room for the number, the ending and that of the note in 255
_MOST_NOTE_BYTES = 64 * 1024
_COPY = re.compile(rb"~(\d+)\.(?:png|webp|jpeg|bmp)$")
_NOTE = b".txt"
_END = re.compile(rb"\nsha256 ([0-9a-f]{64})\n\Z")


def put(review_dir: Path, job: Job, answer: Path, note: str) -> bytes | None:
    """
    Show a cut-out, unless it is shown already.

    Args:
        review_dir: Where; it is not made here, since a missing one may be a share that is offline.
        job: Whose cut-out it is.
        answer: The cut-out.
        note: What there is to say about it.

    Returns:
        Where it is shown, below *review_dir*; None if something else has the name.

    Raises:
        OSError: It could not be copied.
        DeliveryError: *review_dir* is away.
    """
    parent, stem = _place(job)
    with answer.open("rb") as file, disk.root_directory(review_dir) as root_fd:
        kind = kind_of(file.read(16))
        name = b"%b.%b" % (stem, fsencode(Format.PNG if kind is None else kind))
        with disk.directory(root_fd, parent, make=True) as fd:
            _take(fd, name)
            staged, staged_note = new_staging_name(), new_staging_name()
            try:
                copied = write(fd, staged, blocks(file.fileno()))
                said = f"{note.rstrip()}\n\nsha256 {copied.digest}\n".encode("utf-8", "backslashreplace")
                write(fd, staged_note, iter([said]))
                claim(fd, staged_note, fd, name + _NOTE)  # first: a copy without it would never be taken away
                claim(fd, staged, fd, name)
            except FileExistsError:
                return None
            finally:
                disk.remove(fd, staged)
                disk.remove(fd, staged_note)
    return parent + b"/" + name


def take(review_dir: Path | None, job: Job) -> None:
    """Take the copy of a cut-out away that was decided about, as far as that is possible; None: there is none."""
    if review_dir is None:
        return
    parent, stem = _place(job)
    with contextlib.suppress(OSError, disk.DeliveryError), disk.root_directory(review_dir) as root_fd:
        with disk.directory(root_fd, parent) as fd:
            for ending in Format:
                _take(fd, b"%b.%b" % (stem, fsencode(ending)))
        _leave(root_fd, parent)


def shown(review_dir: Path, folder: str) -> Iterator[tuple[int, bytes]]:
    """
    List the copies of one watched folder, with their notes or without.

    Yields:
        The number of the job, and where the copy is, below *review_dir*.
    """
    for found in sorted((review_dir / folder).rglob("*~*")):
        name = fsencode(found.relative_to(review_dir)).removesuffix(_NOTE)
        if ours := _COPY.search(name):
            yield int(ours[1]), name


def take_at(review_dir: Path, place: bytes) -> None:
    """Take one of the copies away that ``shown`` lists, if it is ours still."""
    parent, name = disk.split(place)
    with contextlib.suppress(OSError, disk.DeliveryError), disk.root_directory(review_dir) as root_fd:
        with disk.directory(root_fd, parent) as fd:
            _take(fd, name)
        _leave(root_fd, parent)


def _place(job: Job) -> tuple[bytes, bytes]:
    """Return the directory of a job's copy, below the review folder, and its name without the ending."""
    parent, name = disk.split(fsencode(job.folder) + b"/" + job.source)
    stem = fsencode(Path(fsdecode(name)).stem)
    if len(stem) > _MOST_STEM_BYTES:
        stem = stem[:_MOST_STEM_BYTES].decode("utf-8", "ignore").encode()  # no letter is cut in two
    return parent, b"%b~%d" % (stem, job.id)


def _take(fd: int, name: bytes) -> None:
    """Remove a copy and its note: the copy only as it was put there, and a note only where it is ours."""
    note = name + _NOTE
    found = look(fd, note)
    if found is None or found.st_size > _MOST_NOTE_BYTES:
        return
    with closing(open_file(fd, note)) as note_fd:
        end = _END.search(b"".join(blocks(note_fd)))
    if end is None:
        return
    copy = content_at(fd, name)
    if copy is not None and copy.digest == end[1].decode():
        os.unlink(name, dir_fd=fd)
    os.unlink(note, dir_fd=fd)


def _leave(root_fd: int, parent: bytes) -> None:
    """Remove the directories of copies that are empty now."""
    while parent:
        above, name = disk.split(parent)
        with disk.directory(root_fd, above) as fd:
            os.rmdir(name, dir_fd=fd)  # raises where something is left
        parent = above
