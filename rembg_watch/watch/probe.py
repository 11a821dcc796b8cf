"""
Open a settled file and say whether it is a whole picture that can be sent.

It looks through the parts of the file and asks the kernel whether a program still has it open for
writing. How long an unfinished file may take is decided in ``intake``, and what its bytes mean
in ``formats``. The file is never changed and never held open.
"""

import errno
import fcntl
import functools
import os
import signal
from dataclasses import dataclass, replace
from enum import Enum

from rembg_watch.host import disk
from rembg_watch.pictures import formats, inspection
from rembg_watch.pictures.decoding import UndecidedError
from rembg_watch.watch.settle import FileStat

LINK = "it is a link, and links are not followed; put the picture itself into the folder"
NO_FILE = "it is no ordinary file"
OPEN_ELSEWHERE = "a program still has it open for writing"


class Verdict(Enum):
    """What becomes of a settled file."""

    WHOLE = "whole"  # it goes in line
    REFUSED = "refused"  # it can never be sent as it is
    UNFINISHED = "unfinished"  # no whole picture yet; for how long is the caller's to say
    STUCK = "stuck"  # it waits for a person or a program, however long
    CHANGED = "changed"  # it is not what was seen; look again
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class Judgement:
    """What was found."""

    verdict: Verdict
    reason: str = ""  # a sentence about "it" where it may pass, a whole one where it was refused
    code: str = ""  # the same for machines
    took_long: bool = False  # it was decoded for that, or somebody tried: many of these hold up everybody else


def file_stat(found: os.stat_result) -> FileStat:
    """Return the part of a stat that shows every change."""
    mtime_ns, ctime_ns = found.st_mtime_ns, found.st_ctime_ns
    # equal numbers are kept once: a hundred thousand files may be waiting to settle
    return FileStat(
        found.st_size, mtime_ns, mtime_ns if ctime_ns == mtime_ns else ctime_ns, found.st_ino, _one(found.st_dev)
    )


@functools.lru_cache(maxsize=64)
def _one(number: int) -> int:
    """Return always the same object for one number."""
    return number


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """How a file is judged; see ``probe``."""

    for_writers: bool = True
    is_last: bool = False
    reads_more: bool = False


def probe(
    root: bytes,
    source: bytes,
    seen: FileStat,
    *,
    asks_for_writers: bool = True,
    is_last: bool = False,
    reads_more: bool = False,
) -> Judgement:
    """
    Say what a settled file is worth.

    Args:
        root: The watched root.
        source: The file, relative to it; no part of it is followed if it is a link.
        seen: What it looked like when it settled.
        asks_for_writers: Ask for programs that write to it; network file systems answer nonsense.
        is_last: Its time is up: decode what does not look whole, and refuse what cannot be decoded.
        reads_more: What the service does not take is looked into, too, since a copy of it can be sent.
    """
    asked = _Asked(for_writers=asks_for_writers, is_last=is_last, reads_more=reads_more)
    parent, name = disk.split(source)
    try:
        with (
            disk.closing(os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)) as root_fd,
            disk.directory(root_fd, parent) as dir_fd,
            disk.closing(disk.open_file(dir_fd, name)) as fd,
        ):
            return _probe_open(fd, seen, asked)
    except OSError as error:
        return _unopened(error)


def _unopened(error: OSError) -> Judgement:
    if isinstance(error, UndecidedError):
        return Judgement(Verdict.STUCK, error.strerror or str(error), "undecided", took_long=True)
    if error.errno in {errno.ENOENT, errno.ENOTDIR}:
        return Judgement(Verdict.GONE)
    if error.errno == errno.ELOOP:
        return Judgement(Verdict.STUCK, LINK, "link")
    if error.errno in {errno.EISDIR, errno.ENXIO, errno.ENODEV}:
        return Judgement(Verdict.STUCK, NO_FILE, "no_file")
    return Judgement(Verdict.STUCK, f"it cannot be read: {error.strerror}", "unreadable")


def _probe_open(fd: int, seen: FileStat, asked: _Asked) -> Judgement:
    if file_stat(os.fstat(fd)) != seen:
        return Judgement(Verdict.CHANGED)
    if asked.for_writers and has_writer(fd):
        return Judgement(Verdict.STUCK, OPEN_ELSEWHERE, "open_elsewhere")
    look = inspection.inspect(fd, reads_more=asked.reads_more)
    took_long = asked.is_last and formats.may_be_decoded(look, seen.size_bytes, reads_more=asked.reads_more)
    if took_long:
        look = inspection.inspect_to_the_end(fd, reads_more=asked.reads_more)
    found = replace(_judge(look, seen.size_bytes, asked), took_long=took_long)
    if file_stat(os.fstat(fd)) != seen:
        return Judgement(Verdict.CHANGED)
    return found


def _judge(look: formats.Look, size_bytes: int, asked: _Asked) -> Judgement:
    unfinished = None if look.is_foreign else formats.why_not_a_picture(look)
    if unfinished is not None and not asked.is_last:
        return Judgement(Verdict.UNFINISHED, look.why, unfinished.code)
    reads_more = asked.reads_more
    refusal = formats.why_not_readable(look) if reads_more else formats.why_not_sendable(look, size_bytes)
    if refusal is not None:
        return Judgement(Verdict.REFUSED, refusal.reason, refusal.code)
    return Judgement(Verdict.WHOLE)


def has_writer(fd: int) -> bool:
    """
    Ask the kernel whether any program has this file open for writing, mapped memory included.

    No means: none, or it cannot be known (a file of another user, a file system
    without leases). The question takes microseconds, and a program that opens the
    file meanwhile waits as long.
    """
    try:
        # Such a program makes the kernel signal us; unlike SIGIO this signal does not kill those who ignore it.
        fcntl.fcntl(fd, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except OSError as error:
        return error.errno == errno.EAGAIN
    fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    return False
