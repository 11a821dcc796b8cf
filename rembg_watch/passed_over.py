"""
Say why a file in a watched folder is passed over: seen, and knowingly not sent.

Decided from names alone, like all of ``paths``; where such files are found and counted is ``watch.tally``.
"""

import re
from collections.abc import Mapping
from enum import StrEnum
from functools import lru_cache
from typing import NamedTuple, TypeAlias

from rembg_watch.globs import can_end, decode, matches, plain
from rembg_watch.paths import (
    JUNK_NAMES,
    OTHER_PICTURE_SUFFIXES,
    PICTURE_SUFFIXES,
    READ_SUFFIXES,
    Folder,
    is_junk,
    is_staging_name,
    is_sync_conflict,
    suffix,
)


class Why(StrEnum):
    """Why a file is passed over."""

    TYPE = "type"  # its ending is none of a picture that can be sent
    NAME = "name"  # a program's own, or unfinished
    CONFLICT = "conflict"  # a sync program's second copy
    INCLUDE = "include"  # no pattern of ``include`` matches it
    EXCLUDE = "exclude"
    FOLDER = "folder"  # it is in a folder that is a program's own
    LINK = "link"
    SPECIAL = "special"  # a pipe, a socket, a device

    __hash__ = str.__hash__  # that of enumerations takes as long as all else that a file costs which is passed over


REASONS: dict[Why, str] = {
    Why.TYPE: "its type is not sent",
    Why.NAME: "by its name it is temporary, or a program's own",
    Why.CONFLICT: "a sync program made it of a conflict",
    Why.INCLUDE: "no pattern of include matches it",
    Why.EXCLUDE: "a pattern of exclude matches it",
    Why.FOLDER: "the folder is a program's own",
    Why.LINK: "it is a link, and links are not followed",
    Why.SPECIAL: "it is no ordinary file",
}


class Passed(NamedTuple):
    """One kind of what is passed over."""

    why: Why
    kind: str  # the ending in small letters, or the name where that is what counts; empty: no ending


PassedCounts: TypeAlias = Mapping[Passed, int]


class PassedOver(NamedTuple):
    """What is passed over in one folder."""

    counts: PassedCounts
    examples: tuple[tuple[bytes, Passed], ...]  # some of the paths, relative to the input root


def passed(
    folder: Folder, parent: bytes, name: bytes, *, is_link: bool = False, is_special: bool = False
) -> Passed | None:
    """
    Say why a file that ``accepts_name`` refuses, or what is no file, is passed over; None: it is our staging file.

    *is_special* is what has a name that is accepted, and is neither file nor link.
    """
    if is_junk(name):
        return None if is_staging_name(name) else Passed(Why.NAME, _junk_kind(name))
    kind = _ending_kind(suffix(name))
    if is_link:
        return Passed(Why.LINK, kind)
    if is_special:
        return Passed(Why.SPECIAL, kind)
    if not folder.sync_conflicts and is_sync_conflict(name):
        return Passed(Why.CONFLICT, kind)
    if folder.exclude and matches(folder.exclude, plain(parent + b"/" + name if parent else name)):
        return Passed(Why.EXCLUDE, kind)
    return Passed(Why.INCLUDE if folder.include else Why.TYPE, kind)


def is_system(name: bytes) -> bool:
    """Say if a directory of this name is the system's: snapshots, trash, thumbnails. It may hold anything."""
    return name.startswith((b".", b"@", b"#", b"$")) or name.lower() in (b"lost+found", b"system volume information")


def left_out(name: bytes) -> Passed:
    """Say as what the files in a directory count that ``enters`` refuses."""
    return Passed(Why.FOLDER, _junk_kind(name)) if is_junk(name) else Passed(Why.EXCLUDE, _text_kind(name) + "/")


def is_worth_a_line(one: Passed) -> bool:
    """Say if whoever dropped such a file should hear of it at once, since it may well have been meant to be sent."""
    if one.why is Why.TYPE:
        return one.kind.encode() in OTHER_PICTURE_SUFFIXES
    return one.why in (Why.LINK, Why.SPECIAL, Why.CONFLICT) or (one.why is Why.FOLDER and one.kind == "captureone")


_ENDING = re.compile(rb"\.(?!\d+$)[a-z0-9_+!~-]{1,10}")


@lru_cache(maxsize=1024)
def _ending_kind(ending: bytes) -> str:
    """Return an ending that people know as one; other endings are too many to be counted each for itself."""
    return "" if not ending else ending.decode() if _ENDING.fullmatch(ending) else ".*"


def _junk_kind(name: bytes) -> str:
    if name.startswith(b"."):
        return "hidden"
    return _text_kind(name) if name.lower() in JUNK_NAMES else _ending_kind(suffix(name)) or "~"


def _text_kind(name: bytes) -> str:
    return decode(name.lower()).encode("utf-8", "replace").decode()[:40]


def leaves_out_knowingly(pattern: str) -> bool:
    """Say if a glob of ``exclude`` names what is not sent anyway, so that nobody has to hear of it: "*.nef"."""
    *above, last = pattern.split("/")
    parts = [part for part in (*above, last) if part.strip(".")]
    is_own = any(is_junk(part.encode("utf-8", "surrogateescape")) for part in parts)
    return is_own or ("." in last and any(can_end(last, ending.decode()) for ending in OTHER_PICTURE_SUFFIXES))


def can_match_a_picture(pattern: str, *, reads_more: bool = False) -> bool:
    """
    Say if a glob can match a picture that is sent, as far as its parts tell: "*.tif", "shoot-7", "./*" cannot.

    Where a folder makes deliverables (*reads_more*), the first of these can.
    """
    *above, last = pattern.split("/")
    if any(part in ("", ".", "..") or is_junk(part.encode("utf-8", "surrogateescape")) for part in above):
        return False
    taken = PICTURE_SUFFIXES | READ_SUFFIXES if reads_more else PICTURE_SUFFIXES
    return any(can_end(last, ending.decode()) for ending in taken)
