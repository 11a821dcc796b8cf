"""
Walk a watched folder and find what is new, changed or gone: the truth, whatever was noticed before.

Two kinds of walk. A quick one looks at directories alone and enters those whose own time or inode
has changed; a deep one looks at every file, since a file rewritten in place changes nothing else.
How often each comes follows from what it costs. Whether a file is settled is decided elsewhere
(``intake``), and what is on disk is compared with the ledger one directory at a time, so that the
memory needed is that of the directories and not of their files.
"""

import os
import stat
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from rembg_watch.jobs import Version
from rembg_watch.passed_over import Passed, left_out, passed
from rembg_watch.paths import Folder, accepts_name, enters, is_junk
from rembg_watch.report.words import show
from rembg_watch.watch.probe import file_stat
from rembg_watch.watch.schedule import DUTY, Schedule, Walk
from rembg_watch.watch.settle import FileStat
from rembg_watch.watch.tally import Counted, files_below

RACY_S = 2.0
"""A directory may change twice within one tick of its clock, and this is longer than any tick."""


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What a walk asks and reports while it walks; ``folder`` answers."""

    known: Callable[[bytes], Mapping[bytes, Version]]  # what the ledger knows to stand in a directory, by name
    parents: Callable[[], list[bytes]]  # every directory in which the ledger knows something to stand
    seen: Callable[[bytes, FileStat], None]  # a file that the ledger does not know in this version
    passed_over: Callable[[bytes, Passed], None]  # a file is knowingly not sent, and why
    counted: Callable[[bytes, Counted], None]  # all that is passed over in a directory
    uncounted: Callable[[bytes], None]  # a directory is gone, with what was passed over in it
    missing: Callable[[list[bytes]], None]  # files that were known or seen, and are not there any more
    blocked: Callable[[bytes, str], None]  # what cannot be seen in a directory now, and why; no reason: all of it can
    watch: Callable[[bytes, bytes], int | None]  # begin to notice changes in a directory (path, directory), if possible
    unwatch: Callable[[int, bytes], None]  # stop that
    hides_changes: Callable[[bytes], bool]  # whether times and notices cannot be trusted in a directory (path)


@dataclass(slots=True)
class Directory:
    """What is remembered of one directory."""

    inode: int  # with the device, which directory it is
    device: int
    is_shared: bool  # its time cannot be trusted, so that names are compared
    mtime_ns: int = -1  # its own time when it was last looked at
    mtime_since_s: float = 0.0  # when it was first seen with that time
    is_sure: bool = False  # a later change must show in its time
    is_troubled: bool = False  # something in it could not be looked at: it is tried again, whatever its time says
    names: int = 0  # a sum over the names and inodes in it
    looked_at_s: float = float("-inf")  # when its files were last looked at
    cost_s: float = 0.0  # how long that took
    descriptor: int | None = None  # of its watch; None if there is none
    children: frozenset[bytes] = frozenset()  # the names of its sub-directories
    has_held: bool = False  # whether anything was ever found in it

    def note_time(self, mtime_ns: int, now: float, *, wall_s: Callable[[], float]) -> None:
        """Remember its time, and trust it once it has been the same for longer than a tick of its clock."""
        if self.mtime_ns != mtime_ns:
            self.mtime_ns, self.mtime_since_s = mtime_ns, now
        is_old = not self.is_shared and wall_s() - mtime_ns / 1e9 >= RACY_S  # one clock for us and the disk
        self.is_sure = is_old or now - self.mtime_since_s >= RACY_S


@dataclass(slots=True)
class _Listing:
    """What one look at a directory's names found."""

    children: set[bytes] = field(default_factory=set)
    names: int = 0
    files: int = 0
    left: dict[bytes, Version] = field(default_factory=dict)  # what the ledger knows and nobody saw
    has_known: bool = False
    failed: int = 0  # entries that could not be looked at
    trouble: str = ""  # the first of them, or what ended the listing early
    is_whole: bool = True  # every name was read
    passed: Counted = field(default_factory=Counted)

    def fail(self, name: bytes, error: OSError) -> None:
        """Note an entry that cannot be looked at; that is no proof that what the ledger knows there is gone."""
        self.left.pop(name, None)
        self.failed += 1
        self.trouble = self.trouble or f"{show(name)} cannot be looked at: {_why(error)}"

    @property
    def reason(self) -> str:
        """What could not be seen, as a sentence; empty: all was."""
        more = f", and {self.failed - 1:,} more" if self.failed > 1 else ""
        return f"in this directory {self.trouble}{more}" if self.failed else self.trouble


class Scan:
    """
    The walks through one folder, in slices, so that nothing else waits for them.

    Args:
        folder: What is watched and what belongs to it.
        root: Its input root as the file system takes it.
        around: Who is asked and told.
        interval_s: How often a quick walk comes, as far as it is cheap.
        clock: Monotonic seconds, for measuring costs.
        wall_s: Seconds since 1970, as local disks count them.
    """

    def __init__(
        self,
        folder: Folder,
        root: bytes,
        around: Surroundings,
        *,
        interval_s: float,
        clock: Callable[[], float],
        wall_s: Callable[[], float],
    ) -> None:
        self._folder, self._around = folder, around
        self._root = root + b"/."  # the root alone may be a link: a person chose it
        self._clock, self._wall_s = clock, wall_s
        self.schedule = Schedule(interval_s)
        self._directories: dict[bytes, Directory] = {}
        self._urgent: deque[tuple[bytes, bool]] = deque()
        self._walk: Walk | None = None
        self._has_asked_parents = False
        self._looks_s = 0.0
        self.is_proved = False  # something that the ledger knows was found: this is the folder it means
        self.is_complete = False  # a deep walk has ended since the folder was last entered anew

    def __len__(self) -> int:
        return len(self._directories)

    def knows(self, directory: bytes) -> bool:
        """Say if a directory was found in the walks since the folder was last entered anew."""
        return directory in self._directories

    def is_shared(self, directory: bytes) -> bool:
        """Say if a directory lies where notices and leases cannot be trusted."""
        record = self._directories.get(directory)
        return record is None or record.is_shared

    # -- when ------------------------------------------------------------------------------

    def restart(self, because: str) -> None:
        """Forget everything and look through all of it at once: another folder may lie there now."""
        self._directories.clear()
        self._urgent.clear()
        self._walk = None
        self.is_proved = self.is_complete = self._has_asked_parents = False
        self.schedule.restart(because)

    @property
    def is_idle(self) -> bool:
        """Whether nothing is being walked."""
        return self._walk is None and not self._urgent

    def next_s(self) -> float:
        """Say when ``step`` has something to do."""
        if self._urgent or self._walk is not None:
            return float("-inf")
        return self.schedule.next_s

    def step(self, now: float, slice_s: float) -> Walk | None:
        """Walk on for at most *slice_s*, or a little longer in a large directory; return a walk that has ended."""
        until = self._clock() + slice_s
        while self._urgent:
            directory, is_deep = self._urgent[0]  # it stays in line until it was looked at: the ledger may be away
            children, _ = self._visit(directory, now, is_deep=is_deep)
            self._urgent.popleft()
            self._urgent.extend((child, is_deep) for child in children)
            if self._clock() > until:
                return None
        walk = self._walk = self._walk or self.schedule.begin(now)
        if walk is None:
            return None
        self._walk_on(walk, now, until)
        return None if walk.stack else self._end(walk, now)

    def _walk_on(self, walk: Walk, now: float, until: float) -> None:
        started, looks_s = self._clock(), self._looks_s
        while walk.stack and self._clock() <= until:
            children, files = self._visit(walk.stack[-1], now, is_deep=walk.is_deep)
            walk.stack[-1:] = children
            walk.files += files
        walk.cost_s += self._clock() - started
        walk.looks_s += self._looks_s - looks_s

    def _end(self, walk: Walk, now: float) -> Walk:
        self._walk = None
        self.schedule.end(walk, now)
        if walk.is_deep:
            self.is_complete = True
            self._ask_parents()
        return walk

    def _ask_parents(self) -> None:
        """Find directories that went away while nobody watched, once they can be told from a share that is away."""
        if self._has_asked_parents or not self.is_proved:
            return
        self._has_asked_parents = True
        for directory in self._around.parents():
            if (
                directory not in self._directories
                and _has_vanished(self._path(directory))
                and not self._is_hidden(directory)
            ):
                self._around.missing([_join(directory, name) for name in self._around.known(directory)])

    def _is_hidden(self, directory: bytes) -> bool:
        """Say if a directory that is missing may merely not be mounted: then the nearest one above it is empty."""
        while directory and _has_vanished(self._path(directory)):
            directory = directory.rpartition(b"/")[0]
        record = self._directories.get(directory)
        return record is None or not self._is_sure_to_miss(record)

    # -- what ------------------------------------------------------------------------------

    def look_at(self, directory: bytes, names: set[bytes] | None) -> None:
        """Look at what was noticed in a directory: some names, or None for all of it."""
        if directory not in self._directories:
            return
        if names is None:
            self._urgent.append((directory, True))
            return
        looks = [self._look_at_name(directory, name) for name in names]
        if gone := [source for source, is_missing in looks if is_missing]:
            self._around.missing(gone)
        record = self._directories[directory]
        is_to_count = any(source and not is_missing for source, is_missing in looks)
        if is_to_count and self._clock() >= record.looked_at_s + record.cost_s / DUTY:
            self._urgent.append((directory, True))  # else the next walk counts

    def lose_watch(self, directory: bytes) -> None:
        """Note that the kernel does not watch a directory any more."""
        record = self._directories.get(directory)
        if record is not None:
            record.descriptor = None
            record.is_sure = False
            self._urgent.append((directory, False))

    def _look_at_name(self, directory: bytes, name: bytes) -> tuple[bytes, bool]:
        """Look at one name; return its path if a picture is missing there (true) or something is passed over."""
        source = _join(directory, name)
        if is_junk(name):
            return b"", False
        try:
            found = os.lstat(self._path(source))
        except (FileNotFoundError, NotADirectoryError):
            self._drop(source)
            return source, accepts_name(self._folder, directory, name)
        except OSError:  # not to be seen now; that is no proof of anything, and the next walk tells of it
            self._directories[directory].is_troubled = True
            return b"", False
        if stat.S_ISDIR(found.st_mode):
            if not enters(self._folder, source):
                return source, False
            self._directories[directory].children |= {name}
            self._urgent.append((source, False))
            return b"", False
        is_picture = accepts_name(self._folder, directory, name)
        if is_picture and stat.S_ISREG(found.st_mode):
            self._around.seen(source, file_stat(found))
            return b"", False
        one = passed(self._folder, directory, name, is_link=stat.S_ISLNK(found.st_mode), is_special=is_picture)
        if one is not None:
            self._around.passed_over(source, one)
        return source, is_picture

    def _visit(self, directory: bytes, now: float, *, is_deep: bool) -> tuple[list[bytes], int]:
        """Look at one directory as far as it needs it; return its sub-directories and the number of files looked at."""
        path = self._path(directory)
        record = self._directories.get(directory)
        try:
            found = os.lstat(path)
            if not stat.S_ISDIR(found.st_mode):
                self._drop(directory)
                return [], 0
            if record is None or (record.inode, record.device) != (found.st_ino, found.st_dev):
                record, is_deep = self._enter(directory, path, found), True
            if record.descriptor is None and not record.is_shared:
                record.descriptor = self._around.watch(path, directory)  # before its names are read
            is_needed = is_deep or self._may_have_changed(directory, record, found, now)
            files = self._look(directory, record, found, now) if is_needed else 0
        except (FileNotFoundError, NotADirectoryError):
            self._drop(directory)
            return [], 0
        except OSError as error:
            self._around.blocked(directory, _UNREADABLE.format(_why(error)))
            return [], 0
        return [_join(directory, name) for name in record.children], files

    def _enter(self, directory: bytes, path: bytes, found: os.stat_result) -> Directory:
        before = self._directories.get(directory)
        self._drop(directory, is_hidden=before is not None and before.device != found.st_dev)
        above = self._directories.get(directory.rpartition(b"/")[0]) if directory else None
        is_shared = (
            above.is_shared if above is not None and above.device == found.st_dev else self._around.hides_changes(path)
        )
        record = self._directories[directory] = Directory(found.st_ino, found.st_dev, is_shared)
        return record

    def _may_have_changed(self, directory: bytes, record: Directory, found: os.stat_result, now: float) -> bool:
        if record.is_troubled:
            return now >= record.looked_at_s + record.cost_s / DUTY
        if record.is_shared:
            return _sum_of_names(self._path(directory)) != record.names
        if record.is_sure and record.mtime_ns == found.st_mtime_ns:
            return False
        # Notices have told of it already; a large directory in daily use is not looked through for each of them.
        is_told = record.descriptor is not None
        return not is_told or now >= record.looked_at_s + record.cost_s / DUTY

    def _look(self, directory: bytes, record: Directory, found: os.stat_result, now: float) -> int:
        """Look at every file of one directory."""
        started = self._clock()
        listing = self._list(directory, record)
        self._around.blocked(directory, listing.reason)
        record.is_troubled = bool(listing.reason)
        if listing.is_whole:
            self._around.counted(directory, listing.passed)
        self.is_proved = self.is_proved or listing.has_known
        if not listing.is_whole:  # what was not reached is not gone
            listing.children |= record.children
            listing.left.clear()
        for name in record.children - listing.children:
            self._drop(_join(directory, name))
        record.has_held = record.has_held or listing.files > 0 or bool(listing.children)
        if listing.left and (listing.has_known or self._is_sure_to_miss(record)):
            self._around.missing([_join(directory, name) for name in listing.left])
        record.children = frozenset(listing.children)
        record.names, record.looked_at_s, record.cost_s = listing.names, now, self._clock() - started
        self._looks_s += record.cost_s
        record.note_time(found.st_mtime_ns, now, wall_s=self._wall_s)
        return listing.files

    def _list(self, directory: bytes, record: Directory) -> _Listing:
        """Take every entry of a directory: one that fails hides no other, nor does a listing that breaks off."""
        listing = _Listing(left=dict(self._around.known(directory)))
        try:
            for entry in _entries(self._path(directory), listing, is_shared=record.is_shared):
                try:
                    self._take(directory, entry, listing)
                except FileNotFoundError:  # it went while we read: the next look knows
                    pass
                except OSError as error:
                    listing.fail(entry.name, error)
                    listing.children |= record.children & {entry.name}
        except (FileNotFoundError, NotADirectoryError):
            raise
        except OSError as error:
            listing.failed, listing.is_whole = 0, False
            listing.trouble = _UNREADABLE.format(_why(error))
        return listing

    def _take(self, directory: bytes, entry: "os.DirEntry[bytes]", listing: _Listing) -> None:
        name = entry.name
        if entry.is_dir(follow_symlinks=False):
            source = _join(directory, name)
            if enters(self._folder, source):
                listing.children.add(name)
            else:
                listing.passed.add(source, left_out(name), files_below(self._path(source)))
            return
        is_picture = accepts_name(self._folder, directory, name)
        if not is_picture or not entry.is_file(follow_symlinks=False):
            mode = stat.S_IFLNK if entry.is_symlink() else 0
            one = passed(self._folder, directory, name, is_link=stat.S_ISLNK(mode), is_special=is_picture)
            if one is not None:
                listing.passed.add(_join(directory, name), one)
            return
        found = entry.stat(follow_symlinks=False)
        listing.files += 1
        version = listing.left.pop(name, None)
        if version is None or not _is_version(found, version):
            self._around.seen(_join(directory, name), file_stat(found))
        else:
            listing.has_known = True

    def _is_sure_to_miss(self, record: Directory) -> bool:
        """
        Say if what is not in a directory is gone indeed.

        An empty one that never held anything may be the place of a disk that is not
        mounted. Where the source has gone after all, whoever wants to send it finds out.
        """
        return self.is_proved and record.has_held and self._is_on_disk(record)

    def _is_on_disk(self, record: Directory) -> bool:
        """Say if a directory lies on the root's own disk: another one may be unmounted, which deletes nothing."""
        top = self._directories.get(b"")
        return top is not None and record.device == top.device

    def _drop(self, directory: bytes, *, is_hidden: bool = False) -> None:
        """
        Forget a directory with all below it, and tell what is missing with it.

        Where a disk was mounted over it, or unmounted, it is merely hidden: then nothing is told.
        """
        stack = [directory]
        while stack:
            one = stack.pop()
            record = self._directories.pop(one, None)
            if record is None:
                continue
            self._around.blocked(one, "")
            self._around.uncounted(one)
            if record.descriptor is not None:
                self._around.unwatch(record.descriptor, one)
            stack += [_join(one, name) for name in record.children]
            if not is_hidden and self._is_on_disk(record) and _has_vanished(self._path(one)):
                self._around.missing([_join(one, name) for name in self._around.known(one)])

    def _path(self, relative: bytes) -> bytes:
        return self._root + b"/" + relative if relative else self._root


_UNREADABLE = "this directory cannot be read: {}"


def _why(error: OSError) -> str:
    return error.strerror or str(error)


def _sum_of_names(path: bytes) -> int:
    with os.scandir(path) as entries:
        return sum(hash((entry.name, entry.inode())) for entry in entries)


def _entries(path: bytes, listing: _Listing, *, is_shared: bool) -> Iterator["os.DirEntry[bytes]"]:
    with os.scandir(path) as entries:
        for entry in entries:
            if is_shared:
                listing.names += hash((entry.name, entry.inode()))
            yield entry


def _has_vanished(path: bytes) -> bool:
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False


def _join(directory: bytes, name: bytes) -> bytes:
    return directory + b"/" + name if directory else name


def _is_version(found: os.stat_result, version: Version) -> bool:
    return (
        found.st_size == version.size_bytes and found.st_mtime_ns == version.mtime_ns and found.st_ino == version.inode
    )
