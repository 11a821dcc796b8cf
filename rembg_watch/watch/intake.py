"""
Take a file from the first look to a job in line, or say why it is none.

A file that has settled is probed; a whole picture goes in line, one that can never be sent is
written down as failed at no cost, and whatever may still become a picture is looked at again and
listed. Where files are found is decided elsewhere (``scan``), and the settle rule in ``settle``.
"""

import os
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from rembg_watch.jobs import LISTED, Unsettled
from rembg_watch.ledger.port import Sources
from rembg_watch.paths import Folder
from rembg_watch.report import events
from rembg_watch.report.events import Reporter
from rembg_watch.watch.probe import Judgement, Verdict, file_stat, probe
from rembg_watch.watch.settle import EMPTY, FileStat, Settler

AT_ONCE = 500
"""How many files are looked at before anything else gets its turn."""

DECODED_AT_ONCE = 3
"""How many doubtful pictures are decoded before anything else gets its turn; each may take half a minute."""

NEWS_S = 60.0
"""A file that has not moved for longer is told of, and looked at again so often."""

LONG_S = 600.0
"""One that keeps changing for longer is told of too."""

LIST_S = 2.0
"""How often those who look from outside get a new list of what is unsettled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How long things take."""

    settle_s: float = 3.0  # a file is read after it has not changed for so long
    scan_interval_s: float = 30.0  # how often a folder is walked
    grace_s: float = 300.0  # after so long a settled file that is no whole picture counts as failed
    mode: Literal["auto", "events", "poll"] = "auto"  # auto asks for notices where they can be trusted

    @property
    def patience_s(self) -> float:
        """How long a file may look the same and be no picture; it has to settle in any case."""
        return max(self.grace_s, self.settle_s)


class Intake:
    """Keep the files of one folder, whose input root is *root*, that are no jobs yet."""

    def __init__(
        self,
        folder: Folder,
        root: bytes,
        ledger: Sources,
        pace: Pace,
        *,
        report: Reporter,
        utcnow: Callable[[], datetime],
    ) -> None:
        self._name, self._root, self._ledger, self._pace = folder.name, root, ledger, pace
        self._report, self._utcnow, self._reads_more = report, utcnow, folder.reads_more
        self._settler: Settler[bytes] = Settler(pace.settle_s)
        self._blocked: dict[bytes, tuple[str, float]] = {}
        self._reported: dict[bytes, str] = {}
        self._found = 0
        self._decoded = 0
        self._listed: list[Unsettled] | None = None
        self._listed_at_s = float("-inf")
        self._zero_at: datetime | None = None

    def __len__(self) -> int:
        return len(self._settler) + len(self._blocked)

    @property
    def is_quiet(self) -> bool:
        """Whether time alone brings nothing on."""
        return self._settler.is_quiet

    def next_s(self) -> float:
        """Say when ``turn`` has something to do."""
        due_s = self._settler.next_due_s()
        return float("inf") if due_s is None else due_s

    # -- what is found ---------------------------------------------------------------------

    def see(self, source: bytes, found: FileStat, now: float) -> None:
        """Note one look at a file that may have to be sent."""
        self._found += self._settler.see(source, found, now)
        self._settler.hurry(source, now)  # a program that closes a file changes nothing that a look shows

    def lose(self, sources: Sequence[bytes]) -> None:
        """Note that files are not there any more."""
        for source in sources:
            self._forget(source)
        self._ledger.gone(self._name, sources, self._utcnow())

    def block(self, directory: bytes, reason: str, now: float) -> None:
        """Note what cannot be seen in a directory, and why."""
        _, since_s = self._blocked.get(directory, ("", now))
        self._blocked[directory] = (reason, since_s)
        self._report_unsettled(directory, reason, now - since_s)

    def unblock(self, directory: bytes) -> None:
        """Note that all of a directory can be seen, or that it is gone."""
        if self._blocked.pop(directory, None) is not None:
            self._report_settled(directory)

    def unblock_all(self) -> None:
        """Forget what could not be seen: everything is looked at anew."""
        for directory in list(self._blocked):
            self.unblock(directory)

    # -- settling --------------------------------------------------------------------------

    def turn(self, now: float, asks_for_writers: Callable[[bytes], bool]) -> bool:
        """
        Look at files that may have settled, and put whole pictures in line; return whether more wait for a look.

        *asks_for_writers* says whether the kernel knows who writes in a directory.
        """
        self._report_found()
        due = self._settler.due(now, AT_ONCE)
        self._decoded = 0
        missing: list[bytes] = []
        whole: list[tuple[bytes, FileStat]] = []
        for source in due:
            if self._decoded == DECODED_AT_ONCE:
                break  # the others are due again a settle time from now
            try:
                looked = os.lstat(self._root + b"/./" + source)
            except (FileNotFoundError, NotADirectoryError):
                missing.append(source)  # the scan finds that too, and tells the ledger
            except OSError as error:
                self._put_off(source, f"it cannot be looked at: {error.strerror}", now)
            else:
                if not stat.S_ISREG(looked.st_mode):  # a link, a pipe: the scan counts it as passed over
                    missing.append(source)
                    continue
                found = file_stat(looked)
                self._settler.see(source, found, now)
                if self._is_ready(source, found, now) and self._is_whole(source, found, now, asks_for_writers):
                    whole.append((source, found))
        self._enqueue(whole)
        for source in missing:
            self._forget(source)
        return len(due) == AT_ONCE

    def _is_ready(self, source: bytes, found: FileStat, now: float) -> bool:
        """Say if it is time to open a file; nobody waits for an empty one, which is opened only to give it up."""
        if self._settler.has_settled(source, now):
            return True
        self._report_if_old(source, now)
        if found.size_bytes:
            return False
        if self._settler.unchanged_s(source, now) >= self._pace.settle_s:  # nobody waits for it, but it is looked at
            self._settler.put_off(source, until_s=now + self._pace.settle_s, reason=EMPTY)
        return self._is_last(source, found, now)

    def _is_last(self, source: bytes, found: FileStat, now: float) -> bool:
        """Say if a file was waited for long enough, by our own looks or by its own clock before we came."""
        patience_s = self._pace.patience_s
        return max(self._settler.unchanged_s(source, now), self._age_s(found)) >= patience_s

    def _age_s(self, found: FileStat) -> float:
        """Say for how long a file has not changed; a copy may keep the date of the bytes, never that of the inode."""
        changed_ns = max(found.mtime_ns, found.ctime_ns)
        return self._utcnow().timestamp() - changed_ns / 1e9

    def _is_whole(self, source: bytes, found: FileStat, now: float, asks_for_writers: Callable[[bytes], bool]) -> bool:
        asks = asks_for_writers(source.rpartition(b"/")[0])
        is_last = self._is_last(source, found, now)
        probed = probe(self._root, source, found, asks_for_writers=asks, is_last=is_last, reads_more=self._reads_more)
        self._decoded += probed.took_long
        match probed.verdict:
            case Verdict.WHOLE:
                return True
            case Verdict.REFUSED:
                self._reject(source, found, probed)
            case Verdict.UNFINISHED | Verdict.STUCK:
                self._put_off(source, probed.reason, now)
            case Verdict.CHANGED | Verdict.GONE:
                pass  # the next look, a settle time from now, sees it
        return False

    def _put_off(self, source: bytes, reason: str, now: float) -> None:
        left_s = self._pace.patience_s - self._settler.unchanged_s(source, now)
        self._settler.put_off(source, until_s=now + (min(left_s, NEWS_S) if left_s > 0 else NEWS_S), reason=reason)
        self._report_if_old(source, now)

    def _enqueue(self, whole: Sequence[tuple[bytes, FileStat]]) -> None:
        if not whole:
            return
        new = self._ledger.add(self._name, [(source, found.version) for source, found in whole], self._utcnow())
        for source, _ in whole:
            self._forget(source)
        if new:
            size_bytes = sum(found.size_bytes for _, found in whole)
            self._report(events.Enqueued(folder=self._name, count=new, size_bytes=size_bytes))

    def _reject(self, source: bytes, found: FileStat, probed: Judgement) -> None:
        is_new = self._ledger.reject(
            self._name, source, found.version, self._utcnow(), reason=probed.reason, code=probed.code
        )
        self._forget(source)
        if is_new:
            self._report(events.Failed(folder=self._name, source=source, why=probed.reason, code=probed.code))

    def _forget(self, source: bytes) -> None:
        self._settler.forget(source)
        self._report_settled(source)

    # -- telling ---------------------------------------------------------------------------

    def _report_found(self) -> None:
        found, self._found = self._found, 0
        if found:
            self._report(events.Found(folder=self._name, count=found))

    def _report_if_old(self, source: bytes, now: float) -> None:
        sighting = self._settler.sighting(source)
        age_s = now - sighting.first_seen_s
        if now - sighting.since_s >= min(NEWS_S, self._pace.patience_s) or age_s >= LONG_S:
            self._report_unsettled(source, sighting.reason, age_s)

    def _report_unsettled(self, source: bytes, reason: str, age_s: float) -> None:
        if self._reported.get(source) != reason:
            self._reported[source] = reason
            self._report(events.Unsettled(folder=self._name, source=source, why=reason, age_s=age_s))

    def _report_settled(self, source: bytes) -> None:
        if self._reported.pop(source, None) is not None:
            self._report(events.Settled(folder=self._name, source=source))

    def write_list(self, now: float, *, is_last: bool = False) -> None:
        """List what is unsettled for those who look from outside, now and then and only if it has changed."""
        if self._settler and now < self._listed_at_s + LIST_S and not is_last:
            return
        self._listed_at_s = now
        listed = self.listing(now)
        if listed != self._listed:
            self._ledger.set_unsettled(self._name, listed)
            self._listed = listed

    def listing(self, now: float) -> list[Unsettled]:
        """List what is unsettled, and why."""
        zero_at = self._zero(now)
        listed = [
            Unsettled(source=source, size_bytes=0, since_at=zero_at + timedelta(seconds=since_s), reason=reason)
            for source, (reason, since_s) in self._blocked.items()
        ]
        for source, one in self._settler.pending(max(0, LISTED - len(listed))):
            since_at = zero_at + timedelta(seconds=one.first_seen_s)
            listed.append(
                Unsettled(source=source, size_bytes=one.stat.size_bytes, since_at=since_at, reason=one.reason)
            )
        return listed

    def _zero(self, now: float) -> datetime:
        """Say when the monotonic clock was 0; the same every time, unless the wall clock was set."""
        zero_at = self._utcnow() - timedelta(seconds=now)
        if self._zero_at is None or abs(zero_at - self._zero_at) > timedelta(seconds=2):
            self._zero_at = zero_at
        return self._zero_at
