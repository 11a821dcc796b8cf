"""
Watch one folder: see whether it is there, take what was noticed, walk it, let its files settle.

Each turn does what is due, in slices, and says when the next one is. Notices and walks meet here;
what they find goes to ``intake``. A folder that is away is waited for, and nothing in it counts as
deleted.
"""

import contextlib
import errno
import os
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from rembg_watch.delivery.roots import ADVICE
from rembg_watch.errors import RembgWatchError
from rembg_watch.host.mounts import Identity, Mount, identify, is_bare, mount_here
from rembg_watch.ledger.port import Sources
from rembg_watch.passed_over import PassedCounts
from rembg_watch.paths import Folder
from rembg_watch.report import events
from rembg_watch.report.events import Reporter
from rembg_watch.watch.intake import Intake, Pace
from rembg_watch.watch.observer import Guard, Marks, Observer
from rembg_watch.watch.permit import Permit
from rembg_watch.watch.scan import Scan, Surroundings
from rembg_watch.watch.tally import Tally

DEBOUNCE_S = 0.05
"""Notices of one file come in volleys; so long they are collected."""

ROOT_CHECK_S = 1.0
"""How often it is made sure that the folder is there, and still the same; oftener if it is walked oftener."""

LOOK_SETTLES, LOOK_GRACE_S = 3.0, 10.0
"""So many settle times, and so long, a first look waits after its walk for what does not settle."""

KEPT_S = 600.0
"""So long the input of a folder that is away is kept from other processes: calls for it may be under way."""

SLICE_S = 0.1
"""How long a walk goes on before anything else gets its turn."""


class FolderWatch:
    """Watch one folder, from one thread; *clock* counts monotonic seconds."""

    def __init__(
        self,
        folder: Folder,
        ledger: Sources,
        pace: Pace,
        *,
        permit: Permit | None = None,
        report: Reporter = events.nobody,
        clock: Callable[[], float] = time.monotonic,
        utcnow: Callable[[], datetime] = lambda: datetime.now(UTC),
        why_away: Callable[[Path], str] = lambda _root: "",
    ) -> None:
        self.folder = folder
        self._why_away = why_away
        self.wake = threading.Event()
        self._root = os.fsencode(folder.input)
        self._pace, self._report = pace, report
        self._permit = permit or Permit()
        self._marks = Marks(self.wake.set, clock)
        self.intake = Intake(folder, self._root, ledger, pace, report=report, utcnow=utcnow)
        self._tally = Tally(folder.name, ledger, report, reads_more=folder.reads_more)
        observer = partial(Observer, notice=self._marks.note, lost=self._marks.lose, overflowed=self._marks.overflow)
        self._guard = Guard(self._root + b"/.", make=observer, restart=self._rebuilt, polls=self._polls)
        self._scan = Scan(
            folder,
            self._root,
            Surroundings(
                known=lambda directory: ledger.known(folder.name, directory),
                parents=lambda: ledger.parents(folder.name),
                seen=lambda source, found: self.intake.see(source, found, self._now),
                passed_over=self._tally.tell,
                counted=self._tally.put,
                uncounted=self._tally.drop,
                missing=self._miss,
                blocked=self._block,
                watch=self._guard.watch,
                unwatch=self._guard.unwatch,
                hides_changes=partial(_hides_changes, pace.mode),
            ),
            interval_s=pace.scan_interval_s,
            clock=clock,
            wall_s=lambda: utcnow().timestamp(),
        )
        self._identity: Identity | None = None
        self._mount: Mount | None = None
        self._away_since_s: float | None = None
        self._complete_at_s: float | None = None  # since when all of a new folder was walked
        self._is_ours = False  # no other process has it; known from its arrival on
        self._now = self.ticked_at_s = clock()
        self._root_at_s = float("-inf")
        self._was_at_rest = False

    # -- for those who ask -----------------------------------------------------------------

    @property
    def is_away(self) -> bool:
        """Whether the folder is not there now."""
        return self._away_since_s is not None

    @property
    def is_open(self) -> bool:
        """Whether its pictures may be sent: it is there, it is ours, and it is not new."""
        return self._is_ours and not self.is_away and not self._permit.is_new(self.folder)

    @property
    def is_taken(self) -> bool:
        """Whether it is there, and another process has it."""
        return self._identity is not None and not self.is_away and not self._is_ours

    @property
    def unsettled(self) -> int:
        """How many files were seen and are no jobs yet."""
        return len(self.intake)

    @property
    def is_at_rest(self) -> bool:
        """Whether all that is there was looked at and nothing is left that time alone would bring on."""
        return self._was_at_rest and self._marks.since_s is None

    @property
    def passed_over(self) -> PassedCounts:
        """How many files of each kind are knowingly not sent."""
        return self._tally.counts

    @property
    def has_looked(self) -> bool:
        """Whether everything was looked at once, as far as the folder is there."""
        return self.is_away or self._scan.is_complete

    def look_again(self, source: bytes) -> None:
        """Look at one source soon: somebody found it changed. Any thread may ask."""
        directory, _, name = source.rpartition(b"/")
        self._marks.note(directory, name)

    def look_through(self) -> None:
        """Look through everything soon, and trust nothing that was seen before."""
        self._scan.restart("mistake")

    # -- one turn --------------------------------------------------------------------------

    def tick(self, now: float) -> float:
        """Do what is due; return when to be called again, on the same clock."""
        self._now = self.ticked_at_s = now
        self._was_at_rest = False  # for other threads: not before this turn has ended
        if self._is_there():
            self._guard.check(now)
            self._take_marks()
            is_more = self.intake.turn(now, lambda directory: not self._scan.is_shared(directory))
            self._walk()
            is_at_rest = self._scan.is_complete and self._scan.is_idle and self.intake.is_quiet
            self._finish_first_look(is_at_rest=is_at_rest)
            self._was_at_rest = is_at_rest
            since_s = self._marks.since_s
            marks_s = float("inf") if since_s is None else since_s + DEBOUNCE_S
            next_s = now if is_more else min(self._root_at_s, marks_s, self._scan.next_s(), self.intake.next_s())
        else:
            self._was_at_rest, next_s = True, self._root_at_s
        self.intake.write_list(now)
        self._tally.write(now)
        return next_s

    def _finish_first_look(self, *, is_at_rest: bool) -> None:
        """Tell that a new folder was looked through, once what was found is in line; a slow copy is not waited for."""
        if not self._scan.is_complete or not self._permit.is_new(self.folder):
            self._complete_at_s = None
            return
        self._complete_at_s = self._now if self._complete_at_s is None else self._complete_at_s
        if is_at_rest or self._now - self._complete_at_s > LOOK_SETTLES * self._pace.settle_s + LOOK_GRACE_S:
            self._permit.looked(self.folder)

    def close(self) -> None:
        """Stop noticing; what is unsettled is listed a last time, and seen again at the next start."""
        self._guard.close()
        with contextlib.suppress(RembgWatchError):  # a ledger that takes nothing now; the log told of it
            self.intake.write_list(self._now, is_last=True)
            self._tally.write(self._now, is_last=True)

    def _walk(self) -> None:
        walk = self._scan.step(self._now, SLICE_S)
        if walk is not None and walk.is_deep:
            self._tally.keep(self._scan.knows)
            name, cost_s = self.folder.name, walk.cost_s
            self._report(events.Rescanned(folder=name, files=walk.files, duration_s=cost_s, because=walk.because))

    # -- the root --------------------------------------------------------------------------

    def _is_there(self) -> bool:
        if self._now < self._root_at_s:
            return not self.is_away and self._is_ours
        self._root_at_s = self._now + min(ROOT_CHECK_S, self._pace.scan_interval_s)
        try:
            identity = identify(self._root)
            if not self.is_away and identity == self._identity and self._is_ours:
                self._is_ours = self._permit.claim(self.folder)
                return self._is_ours
            mount = mount_here(self._root)
        except OSError as error:
            return self._leave(_why_away(error))
        if is_bare(self._mount, mount):
            return self._leave("its disk or share is not mounted")
        if why := self._why_away(Path(self.folder.input)):
            return self._leave(f"{why} ({ADVICE})")
        return self._arrive(identity, mount)

    def _leave(self, why: str) -> bool:
        if not self.is_away:
            self._away_since_s = self._now
            self._guard.close()
            self._begin_anew("back")
            self._report(events.FolderOffline(folder=self.folder.name, path=self._root, why=why))
        elif self._away_since_s is not None and self._now - self._away_since_s > KEPT_S:
            self._permit.let_go(self.folder)
        return False

    def _arrive(self, identity: Identity, mount: Mount | None) -> bool:
        """Begin to watch the folder, or what stands in its place now, unless another process has it; say if not."""
        name, away_since_s, before = self.folder.name, self._away_since_s, self._identity
        self._identity, self._mount, self._away_since_s = identity, mount, None
        was_ours, self._is_ours = self._is_ours, self._permit.claim(self.folder)
        if away_since_s is not None:
            self._report(events.FolderOnline(folder=name, path=self._root, away_s=self._now - away_since_s))
        if not self._is_ours:
            self._guard.close()
            return False
        self._permit.arrived(self.folder)
        self._guard.open(self._now, _why_polled(self._pace.mode, self._mount))
        if away_since_s is not None or not was_ours:
            self._begin_anew("start" if before is None else "back")
        else:
            self._rebuilt("another folder lies in its place now")
        return True

    def _begin_anew(self, because: str) -> None:
        self._marks.take()
        self._scan.restart(because)
        self.intake.unblock_all()
        if self.is_away:
            self._tally.clear()

    # -- notices ---------------------------------------------------------------------------

    def _rebuilt(self, why: str) -> None:
        self._report(events.ObserverRebuilt(folder=self.folder.name, why=why))
        self._begin_anew("observer")

    def _polls(self, why: str) -> None:
        interval_s = self._pace.scan_interval_s
        self._report(events.Polling(folder=self.folder.name, why=why, interval_s=interval_s))

    def _take_marks(self) -> None:
        since_s = self._marks.since_s
        if since_s is None or self._now < since_s + DEBOUNCE_S:
            return
        taken = self._marks.take()
        if taken.has_overflowed:
            self._report(events.Overflowed(folder=self.folder.name))
            self._scan.schedule.ask_deep("overflow", self._now)
        if b"" in taken.lost:
            self._guard.lose_root()
            self._doubt_root()
        for directory in taken.lost:
            self._scan.lose_watch(directory)
        for directory, names in taken.names.items():
            if names is not None and b"" in names:  # the root itself was moved, deleted or had its rights changed
                self._doubt_root()
                names.discard(b"")
            self._scan.look_at(directory, names)

    def _doubt_root(self) -> None:
        """Make sure of the root in the next turn, at once."""
        self._root_at_s = float("-inf")

    # -- what the scan reports -------------------------------------------------------------

    def _miss(self, sources: list[bytes]) -> None:
        """Note files that are not there any more, unless the folder itself is not."""
        if self._is_in_place():
            self.intake.lose(sources)
        else:
            self._doubt_root()

    def _is_in_place(self) -> bool:
        try:
            return identify(self._root) == self._identity
        except OSError:
            return False

    def _block(self, directory: bytes, reason: str) -> None:
        """Note what cannot be seen in a directory and why, or that all of it can."""
        if not reason:
            self.intake.unblock(directory)
            return
        if not directory:
            self._doubt_root()
        self.intake.block(directory, reason, self._now)


def _hides_changes(mode: str, path: bytes) -> bool:
    """Say if notices, times and leases cannot be trusted there."""
    mount = None if mode == "events" else mount_here(path)
    return mount is not None and mount.hides_changes


def _why_polled(mode: str, mount: Mount | None) -> str:
    """Say why no notices are asked for; empty: they are."""
    if mode == "poll":
        return "the configuration says so"
    if mode == "auto" and mount is not None and mount.hides_changes:
        return f"changes on {mount.kind} can be made where this machine does not notice"
    return ""


def _why_away(error: OSError) -> str:
    if error.errno == errno.ENOENT:
        return "it does not exist"
    if error.errno == errno.ENOTDIR:
        return "it is no directory"
    return (error.strerror or str(error)).lower()
