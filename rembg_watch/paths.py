"""
Decide which names are pictures to send, where their cutouts belong, and which folders can be used together.

Names on disk are bytes that need not be UTF-8; relative ones have ``/`` between their parts.
Everything here is decided from names alone: whether a file exists, what a link points to and which
of the candidates is free is for the callers to find out.
"""

import hashlib
import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Literal, NamedTuple

from rembg_watch.globs import matches, plain, subtrees

After = Literal["keep", "move", "delete"]

NAME_BYTES = 255
"""The longest name that the usual file systems take."""

PICTURE_SUFFIXES = frozenset(b".jpg .jpeg .jfif .jpe .jif .pjpeg .png .webp .bmp .dib".split())
"""What is taken when a folder does not say; in any case. What such a file really is its content says."""

READ_SUFFIXES = frozenset(b".tif .tiff .psd .psb .heic .heif .hif .avif".split())
"""What is taken besides by a folder that makes deliverables: it is read here, and a copy of it is sent."""

OTHER_PICTURE_SUFFIXES = READ_SUFFIXES | frozenset(b".gif .dng .cr2 .cr3 .nef .arw .raf .orf .rw2 .jxl .jp2".split())
"""Pictures that the service does not take; whoever drops them should hear of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Folder:
    """
    One watched root, where its cutouts go, and what belongs to it.

    Attributes:
        name: What the folder is called; jobs are remembered under it.
        input: The watched root, absolute.
        output: The root of the cutouts, absolute.
        include: Globs over the path below *input*; none: every picture type that can be sent.
        exclude: Globs of what is left out all the same.
        sync_conflicts: Whether the second copies that sync programs make after a conflict are sent too.
        extension: The ending of a cutout, with its dot.
        after: What becomes of the original once its cutout stands.
        done: Where ``move`` puts originals.
        failed: Where refused pictures go; None: they stay.
        review_dir: Where cut-outs are shown that wait for a person's decision.
        reads_more: Whether it makes deliverables, so that pictures are taken which the service does not take.
    """

    name: str
    input: PurePath
    output: PurePath
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    sync_conflicts: bool = False
    extension: str = ".webp"
    after: After = "keep"
    done: PurePath | None = None
    failed: PurePath | None = None
    review_dir: PurePath | None = None
    reads_more: bool = False


# --- which names are pictures ---------------------------------------------------------------------

_JUNK_SUFFIXES = (b".part", b".partial", b".tmp", b".temp", b".crdownload", b".download", b".filepart", b".!ut", b"~")
JUNK_NAMES = frozenset(
    b"thumbs.db desktop.ini @eadir __macosx captureone $recycle.bin #recycle @recycle #snapshot lost+found".split()
) | {b"system volume information"}


def is_junk(name: bytes) -> bool:
    """
    Say if a file or directory of this name is never a picture: some program's own.

    Among them are all names that begin with a dot: Macs' shadows, rsync's unfinished
    copies, trash cans, snapshots, and our own staging files.
    """
    if name.startswith((b".", b"~$")):
        return True
    low = name.lower()
    return low in JUNK_NAMES or low.endswith(_JUNK_SUFFIXES)


_CONFLICT = re.compile(
    rb"""
    # Syncthing: x.sync-conflict-20260131-120000-ABCDEFG.jpg
    \.sync-conflict-
    # Dropbox, Nextcloud, Seafile, FileCloud: x (Anna's conflicted copy 2026-01-31).jpg
    | \((?i:.*[ck]onfli[ckt].*(?:cop|c\xc3\xb3p|kop|\d{4}-\d\d)).*\)
    # Dropbox in other languages: x (Copie en conflit de Anna).jpg
    | \((?i:.*(?:cop|c\xc3\xb3p|kop).*[ck]onfli[ckt]).*\)
    # Dropbox: x (Case Conflict).jpg
    | \((?i:case|unicode[ ]encoding|white[ ]?space|selective[ ]sync)[ ](?i:conflict)[^()]*\)
    # Nextcloud: x (case clash from anna 2026-01-31 120000).jpg
    | \((?i:case[ ]clash[ ]from)[ ][^()]*\)
    # ownCloud, formerly: x_conflict-20260131-120000.jpg
    | _(?i:conflict)-\d{8}-\d{6}
    # Synology Drive: x_Anna-PC_Jan-31-1200-2026_CaseConflict.jpg
    | _[A-Z][a-z]{2}-\d\d-\d{4}-\d{4}_[A-Za-z]*Conflict
    # Resilio Sync: x.Conflict.jpg
    | \.Conflict\d*(?:\.|$)
    # OneDrive: x-DESKTOP-1A2B3C4.jpg
    | -(?:DESKTOP|LAPTOP)-(?=[A-Z]*\d)[0-9A-Z]{7,8}(?:-\d+)?(?:\.[^.]*)?$
    """,
    re.VERBOSE,
)


def is_sync_conflict(name: bytes) -> bool:
    """
    Say if a sync program gave a file this name, because a picture was changed in two places at once.

    Programs that merely count up ("IMG_1 (1).jpg", "IMG_1 2.jpg") cannot be told from people who do.
    """
    low = name.lower()  # nearly every name is none, and this is asked of each file in each walk
    may_be = b"onfli" in low or b" clash " in low or b"-desktop-" in low or b"-laptop-" in low
    return may_be and _CONFLICT.search(name) is not None


def suffix(name: bytes) -> bytes:
    """Return the ending of a name in small letters, with its dot; empty if it has none."""
    dot = name.rfind(b".")
    return name[dot:].lower() if dot > 0 else b""


def accepts(folder: Folder, source: bytes) -> bool:
    """Say if *source*, relative to the input root, is to be sent; patterns know no case and no Unicode form."""
    parent, _, name = source.rpartition(b"/")
    return accepts_name(folder, parent, name) and enters(folder, parent)


def takes_ending(folder: Folder, name: bytes) -> bool:
    """Say if a name has the ending of a picture that this folder takes, where no pattern says which."""
    ending = suffix(name)
    return ending in PICTURE_SUFFIXES or (folder.reads_more and ending in READ_SUFFIXES)


def accepts_name(folder: Folder, parent: bytes, name: bytes) -> bool:
    """Say the same of a name in a directory that was entered: the quick half of ``accepts``."""
    if is_junk(name):
        return False
    if not folder.include and not folder.exclude:
        return takes_ending(folder, name) and (folder.sync_conflicts or not is_sync_conflict(name))
    if not folder.sync_conflicts and is_sync_conflict(name):
        return False
    text = plain(parent + b"/" + name if parent else name)
    is_wanted = matches(folder.include, text) if folder.include else takes_ending(folder, name)
    return is_wanted and not matches(folder.exclude, text)


def enters(folder: Folder, directory: bytes) -> bool:
    """Say if pictures can be below *directory*, relative to the input root: else it is not walked."""
    if not directory:
        return True
    if any(is_junk(part) for part in directory.split(b"/")):
        return False
    return not (folder.exclude and matches(subtrees(folder.exclude), plain(directory)))


# --- where a cutout belongs -----------------------------------------------------------------------


def mirror(source: bytes, extension: str) -> Iterator[bytes]:
    """
    Yield the names that a cutout may have below the output root, the best first, without end.

    ``a/IMG_1.jpg`` gives ``a/IMG_1.webp``; where that belongs to another source
    ``a/IMG_1.jpg.webp``, then ``a/IMG_1.jpg.2.webp`` and so on. Names that would be too
    long are shortened and keep a hash of what was cut off.
    """
    parent, slash, name = source.rpartition(b"/")
    ending = extension.encode()
    yield parent + slash + _fit(name[: len(name) - len(suffix(name))], ending)
    yield parent + slash + _fit(name, ending)
    for number in itertools.count(2):
        yield parent + slash + _fit(name, b".%d%b" % (number, ending))


def folder_names(part: bytes) -> Iterator[bytes]:
    """
    Yield the names that a mirrored folder may have, the best first, without end.

    Where a file stands in its way, which may be a cutout, ``look1.webp`` becomes ``look1.webp.2`` and so on.
    """
    yield part
    for number in itertools.count(2):
        yield _fit(part, b".%d" % number)


def _fit(stem: bytes, ending: bytes) -> bytes:
    room = NAME_BYTES - len(ending)
    if len(stem) <= room:
        return stem + ending
    mark = b"~" + hashlib.sha256(stem).hexdigest()[:8].encode()
    cut = stem[: room - len(mark)]
    if stem.decode("utf-8", "ignore").encode() == stem:  # then it stays UTF-8, which some file systems insist on
        cut = cut.decode("utf-8", "ignore").encode()
    return cut + mark + ending


_STAGING = re.compile(rb"\.rembg-[0-9a-f]{24}\.part")


def staging_name(target: bytes) -> bytes:
    """
    Name the unfinished cutout, in the target's own directory: short, and hidden from people and from ``accepts``.

    Args:
        target: What the name is made from; whoever needs a fresh one adds chance to it.
    """
    return b".rembg-%b.part" % hashlib.sha256(target).hexdigest()[:24].encode()


def is_staging_name(name: bytes) -> bool:
    """Say if ``staging_name`` made this name."""
    return _STAGING.fullmatch(name) is not None


def caught_name(name: bytes) -> bytes:
    """
    Name a source that is about to be moved or deleted, in its own directory, for the moment that this takes.

    It is hidden from people, from ``accepts`` and from every sweep, and made from the source's
    name alone, so that the next attempt finds what a crash left.
    """
    return b".rembg-%b.source" % hashlib.sha256(name).hexdigest()[:24].encode()


def collision_key(target: bytes) -> bytes:
    """Return what two names share that a Mac, Windows or a person would take for one."""
    return plain(target).encode("utf-8", "surrogateescape")


# --- which folders can be used together -----------------------------------------------------------


class Place(NamedTuple):
    """One directory of the configuration: whose it is, what for, where."""

    folder: str
    role: str
    path: PurePath

    def __str__(self) -> str:
        of = f' of folder "{self.folder}"' if self.folder else ""
        return f"the {self.role}{of} ({self.path})"


_STATE, _INPUT, _OUTPUT, _DONE, _FAILED = "state_dir", "input", "output", "done folder", "failed folder"
_REVIEW = "review_dir"

_WHY: dict[frozenset[str], tuple[str, str]] = {
    frozenset({_INPUT}): (
        "every picture in both would be sent and paid for twice",
        "give each folder an input of its own, none inside another",
    ),
    frozenset({_INPUT, _OUTPUT}): (
        "cutouts would be taken for new pictures and sent again",
        "put the output outside every input",
    ),
    frozenset({_INPUT, _DONE}): ("originals that are done would be found as new ones", "put done outside every input"),
    frozenset({_INPUT, _FAILED}): ("refused pictures would be found as new ones", "put failed outside every input"),
    frozenset({_INPUT, _STATE}): (
        "paid answers kept there would be taken for new pictures",
        "put state_dir on a local disk outside every folder",
    ),
    frozenset({_OUTPUT}): (
        "cutouts of one would get in the way of the other's",
        "give each folder an output of its own, none inside another",
    ),
    frozenset({_OUTPUT, _DONE}): ("originals would get in the way of cutouts", "put done outside every output"),
    frozenset({_OUTPUT, _FAILED}): (
        "refused pictures would get in the way of cutouts",
        "put failed outside every output",
    ),
    frozenset({_OUTPUT, _STATE}): (
        "the ledger's own files and cutouts would get in each other's way",
        "put state_dir on a local disk outside every folder",
    ),
    frozenset({_DONE, _FAILED}): (
        "nobody could tell delivered originals from refused ones",
        "give done and failed directories of their own",
    ),
    frozenset({_DONE, _STATE}): (
        "originals and the ledger's own files would mix",
        "put state_dir outside every folder",
    ),
    frozenset({_INPUT, _REVIEW}): (
        "cut-outs to look at would be found as new pictures",
        "put review_dir outside every input",
    ),
    frozenset({_OUTPUT, _REVIEW}): (
        "cut-outs that wait for a decision would lie among those that are delivered",
        "put review_dir outside every output",
    ),
    frozenset({_DONE, _REVIEW}): ("originals and cut-outs to look at would mix", "put review_dir outside of done"),
    frozenset({_FAILED, _REVIEW}): (
        "refused pictures and cut-outs to look at would mix",
        "put review_dir outside of failed",
    ),
    frozenset({_STATE, _REVIEW}): (
        "cut-outs to look at and the ledger's own files would mix",
        "put state_dir outside every folder",
    ),
    frozenset({_FAILED, _STATE}): (
        "refused pictures and the ledger's own files would mix",
        "put state_dir outside every folder",
    ),
}
"""
Which two kinds of places must not overlap, why, and what to do.

Several folders may share one done, failed or review_dir.
"""


def folder_problems(folders: Sequence[Folder], state_dir: PurePath) -> list[str]:
    """
    List every pair of directories that cannot be used together: what, where, why and what to do.

    Args:
        folders: With every path absolute and its symbolic links resolved.
        state_dir: Likewise.
    """
    places = [place for folder in folders for place in _places(folder)] + [Place("", _STATE, state_dir)]
    return [problem for one, other in itertools.combinations(places, 2) for problem in _overlap(one, other)]


def _places(folder: Folder) -> Iterable[Place]:
    named = {_INPUT: folder.input, _OUTPUT: folder.output, _DONE: folder.done, _FAILED: folder.failed}
    named[_REVIEW] = folder.review_dir
    return [Place(folder.name, role, path) for role, path in named.items() if path is not None]


def _overlap(one: Place, other: Place) -> Iterator[str]:
    reason = _WHY.get(frozenset({one.role, other.role}))
    if reason is None:
        return
    why, todo = reason
    if one.path == other.path:
        yield f"{one} and {other} are the same directory: {why}; {todo}"
    elif one.path.is_relative_to(other.path):
        yield f"{one} is inside {other}: {why}; {todo}"
    elif other.path.is_relative_to(one.path):
        yield f"{other} is inside {one}: {why}; {todo}"


def shoot_of(source: bytes, *, depth: int = 1) -> bytes:
    """Return the sub-folder that a studio bills and shows as one; empty for what lies beside such folders."""
    above = source.split(b"/")[:-1]
    return b"/".join(above[:depth])
