"""
Take notice of changes from the kernel, and know where it cannot tell of all of them.

This is the one door to watchdog. Its ``Observer`` walks trees in the reader's thread, holds moves
back for half a second, swallows the watch limit and an overflow, and dies of a folder that was
moved out. So of watchdog its inotify reader alone is used: one watch per directory, added before that
directory is looked at. Nothing is decided here about files, and a missed notice
costs time and no picture.
"""

import errno
import os
import threading
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from watchdog.observers.inotify_c import CallbackId, InotifyConstants, InotifyEvent, InotifyFD, Mask, WatchDescriptor

MASK = Mask(
    InotifyConstants.IN_CREATE
    | InotifyConstants.IN_CLOSE_WRITE
    | InotifyConstants.IN_MOVED_TO
    | InotifyConstants.IN_MOVED_FROM
    | InotifyConstants.IN_DELETE
    | InotifyConstants.IN_ATTRIB
    | InotifyConstants.IN_DELETE_SELF
    | InotifyConstants.IN_MOVE_SELF
    | InotifyConstants.IN_ONLYDIR
    | InotifyConstants.IN_DONT_FOLLOW
    | InotifyConstants.IN_EXCL_UNLINK
)
"""Nothing that reading a file causes, or we would notice ourselves for ever; no writes, since closing tells of them."""

_CANARY = Mask(MASK | InotifyConstants.IN_OPEN)

Notice = Callable[[bytes, bytes], None]
"""Is told directory and name; the name is empty when the directory itself is meant."""


class Observer:
    """
    Watch single directories and pass their notices on, from a thread of its own.

    The three callables are called in that thread: they have to be quick and must not
    raise. A directory is known by the label that the caller gives it.

    Args:
        notice: Something changed: label and name.
        lost: The kernel no longer watches a directory: it was deleted, or unmounted.
        overflowed: Notices were dropped.
    """

    def __init__(self, *, notice: Notice, lost: Callable[[bytes], None], overflowed: Callable[[], None]) -> None:
        # Two paths of one directory share a watch, and watchdog warns of that in its own thread.
        warnings.filterwarnings("ignore", "Callback with id", RuntimeWarning)
        self._notice, self._lost, self._overflowed = notice, lost, overflowed
        self._labels: dict[int, bytes] = {}
        self._id = CallbackId(id(self))
        self._canary_id = CallbackId(id(self) + 1)
        self._is_stopping = False
        self.echoes = 0  # answers that came to ``ping``
        self._reader = InotifyFD()
        self._reader.name = "observer"
        try:
            self._reader.start()
        except RuntimeError as error:
            raise OSError(errno.EAGAIN, "no more threads can be started here") from error

    @property
    def is_alive(self) -> bool:
        """Whether notices are still being read."""
        return self._reader.is_alive()

    def watch(self, path: bytes, label: bytes) -> int:
        """
        Begin to watch one directory; return the descriptor for ``unwatch``.

        Raises:
            OSError: ENOSPC is the limit of watches; anything else concerns this directory.
        """
        descriptor = self._reader.add_callback(path, MASK, self, self._id)
        if descriptor < 0:  # watchdog keeps this one refusal to itself
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        self._labels[descriptor] = label
        return descriptor

    def unwatch(self, descriptor: int, label: bytes) -> None:
        """Stop watching a directory, unless it lives on under another label."""
        if self._labels.get(descriptor) == label:
            del self._labels[descriptor]
            self._reader.remove_callbacks([(WatchDescriptor(descriptor), self._id)])

    def ping(self, path: bytes) -> None:
        """
        Open a watched directory so that the kernel tells of it: ``echoes`` grows if we can hear at all.

        It leaves no trace in the folder.
        """
        descriptor = self._reader.add_callback(path, _CANARY, self, self._canary_id)
        os.close(os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
        self._reader.add_callback(path, MASK, self, self._canary_id)
        self._reader.remove_callbacks([(descriptor, self._canary_id)])

    def stop(self) -> None:
        """Stop reading; no callable is called after this returns."""
        self._is_stopping = True
        self._reader.stop()
        if self._reader.is_alive():
            self._reader.join(timeout=5)

    # What follows is called by watchdog's thread.

    def on_event(self, event: InotifyEvent) -> None:
        """Pass one notice on."""
        if event.mask & InotifyConstants.IN_OPEN:
            self.echoes += 1
            return
        label = self._labels.get(event.wd)
        if label is not None and not self._is_stopping:
            self._notice(label, event.name)

    def on_watch_deleted(self, wd: WatchDescriptor) -> None:
        """Tell that a directory is not watched any more."""
        label = self._labels.pop(wd, None)
        if label is not None and not self._is_stopping:
            self._lost(label)

    def on_queue_overflow(self) -> None:
        """Tell that notices were dropped."""
        if not self._is_stopping:
            self._overflowed()


# --- what the observer's thread leaves ------------------------------------------------------------

MARKED = 5000
"""So many names noticed in one directory make it a look at all of it."""


@dataclass(slots=True)
class Taken:
    """What was marked since the last time."""

    names: dict[bytes, set[bytes] | None] = field(default_factory=dict)  # noticed in each directory; None: too many
    lost: set[bytes] = field(default_factory=set)  # the directories that are not watched any more
    has_overflowed: bool = False  # notices were dropped
    since_s: float | None = None  # when the first mark was made


class Marks:
    """
    Keep what was noticed until it is looked at: each mark in no time, and never an exception.

    *wake* is called at the first mark after ``take``.
    """

    def __init__(self, wake: Callable[[], None], clock: Callable[[], float]) -> None:
        self._wake, self._clock = wake, clock
        self._lock = threading.Lock()  # guards ``_taken``; the folder's thread is woken under it, which never waits
        self._taken = Taken()

    def note(self, directory: bytes, name: bytes) -> None:
        """Mark a name in a directory; without a name the directory itself, in the one above."""
        if not name and directory:
            directory, _, name = directory.rpartition(b"/")
        with self._lock:
            names = self._taken.names.setdefault(directory, set())
            if names is not None:
                names.add(name)
                if len(names) > MARKED:
                    self._taken.names[directory] = None
            self._begin()

    def lose(self, directory: bytes) -> None:
        """Mark a directory that is not watched any more."""
        with self._lock:
            self._taken.lost.add(directory)
            self._begin()

    def overflow(self) -> None:
        """Mark that notices were dropped."""
        with self._lock:
            self._taken.has_overflowed = True
            self._begin()

    def _begin(self) -> None:
        if self._taken.since_s is None:
            self._taken.since_s = self._clock()
            self._wake()

    @property
    def since_s(self) -> float | None:
        """When the first of these marks was made; None: there is none."""
        return self._taken.since_s

    def take(self) -> Taken:
        """Take all marks."""
        with self._lock:
            taken, self._taken = self._taken, Taken()
        return taken


# --- whether notices still come -------------------------------------------------------------------

PING_S = 60.0
"""How often a silent observer is asked for a sign of life."""

ECHO_S = 5.0
"""How long the answer may take."""

RETRY_S = 600.0
"""How often what the system refused is tried again: an observer at all, more watches."""


class Guard:
    """
    Keep an observer alive for one folder, as far as the system lets us, and notice when it is none.

    It cannot be relied on to say so itself: threads die, and a share takes its watches
    with it. So a silent one is asked for a sign of life.

    Args:
        root: The watched root.
        make: Sets an observer up, or raises OSError where the system has none left.
        restart: Is told why the observer was replaced, or is there at last; everything has to be looked at.
        polls: Is told why notices are not to be had, or not for everything; each reason once.
    """

    def __init__(
        self, root: bytes, *, make: Callable[[], Observer], restart: Callable[[str], None], polls: Callable[[str], None]
    ) -> None:
        self._root, self._make, self._restart, self._polls = root, make, restart, polls
        self._observer: Observer | None = None
        self._is_wanted = self._is_root_lost = False
        self._pinged_at_s: float | None = None
        self._echoes = 0
        self._now = self._check_at_s = self._watch_from_s = float("-inf")
        self._reported = ""

    def open(self, now: float, why_not: str = "") -> None:
        """Set a new observer up; *why_not*, if it is not empty, says why none is wanted."""
        self.close()
        self._now, self._watch_from_s, self._is_wanted = now, float("-inf"), not why_not
        if why_not:
            self._report_poll(why_not)
        else:
            self._try()

    def _try(self) -> bool:
        try:
            self._observer = self._make()
        except OSError as error:
            self._check_at_s = self._now + RETRY_S
            self._report_poll(f"the system refuses notices ({(error.strerror or str(error)).lower()})")
            return False
        self._check_at_s = self._now + PING_S
        return True

    def close(self) -> None:
        """Let the observer go."""
        observer, self._observer = self._observer, None
        self._is_root_lost, self._pinged_at_s = False, None
        if observer is not None:
            observer.stop()

    def lose_root(self) -> None:
        """Note that the root is not watched any more."""
        self._is_root_lost = True

    def check(self, now: float) -> None:
        """Have an observer replaced that does not notice anything any more, or one set up that was refused."""
        self._now = now
        if self._observer is not None:
            why = self._why_useless(self._observer)
            if why:
                self.open(now)
                self._restart(why)
        elif self._is_wanted and now >= self._check_at_s and self._try():
            self._restart("the system had refused them")

    def _why_useless(self, observer: Observer) -> str:
        if not observer.is_alive:
            return "their thread had ended"
        if self._is_root_lost:
            return "the folder was unmounted or deleted, and is back"
        if self._pinged_at_s is not None and observer.echoes != self._echoes:
            self._pinged_at_s = None
        if self._pinged_at_s is not None:
            return "there was no sign of life" if self._now >= self._pinged_at_s + ECHO_S else ""
        if self._now >= self._check_at_s:
            self._ping(observer)
        return ""

    def _ping(self, observer: Observer) -> None:
        self._check_at_s, self._echoes = self._now + PING_S, observer.echoes
        try:
            observer.ping(self._root)
        except OSError:  # the root is looked at every second anyway, and there it is told
            return
        self._pinged_at_s = self._now

    def watch(self, path: bytes, label: bytes) -> int | None:
        """Watch a directory, if that is possible; None: it has to be walked."""
        if self._observer is None or self._now < self._watch_from_s:
            return None
        try:
            return self._observer.watch(path, label)
        except OSError as error:
            if error.errno == errno.ENOSPC:
                self._watch_from_s = self._now + RETRY_S
                limit = watch_limit()
                at_most = f" of {limit:,}" if limit is not None else ""
                self._report_poll(f"the system's limit{at_most} on watched directories is reached; {LIMIT_ADVICE}")
            return None

    def unwatch(self, descriptor: int, label: bytes) -> None:
        """Stop watching a directory."""
        if self._observer is not None:
            self._observer.unwatch(descriptor, label)

    def _report_poll(self, why: str) -> None:
        if why != self._reported:
            self._reported = why
            self._polls(why)


LIMIT_ADVICE = "raise it with: sysctl fs.inotify.max_user_watches=524288"


def watch_limit() -> int | None:
    """Return how many directories one user may watch, or None where that is hidden from us."""
    try:
        return int(Path("/proc/sys/fs/inotify/max_user_watches").read_text("ascii"))
    except (OSError, ValueError):
        return None
