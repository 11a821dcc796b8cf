"""
Decide when a dropped file has stopped changing.

A file is settled when its size, times and inode have stayed the same for ``settle_s``, seen in at
least two looks, and it is not empty. Its age counts from our own first look: copies keep old dates.
Nothing is looked at here (``watch`` does), and what its bytes say is decided by ``formats``.
"""

import heapq
import itertools
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

from rembg_watch.jobs import Version

Key = TypeVar("Key", bound=Hashable)

CHANGING = "it is still being written"
EMPTY = "it is empty"


@dataclass(frozen=True, slots=True)
class FileStat:
    """What one look at a file shows; any difference between two looks is a change."""

    size_bytes: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    device: int

    @property
    def version(self) -> Version:
        """The part that the ledger keeps: a mere chmod or remount makes no new version."""
        return Version(size_bytes=self.size_bytes, mtime_ns=self.mtime_ns, inode=self.inode)


@dataclass(slots=True)
class Sighting:
    """The looks at one file so far, on the caller's monotonic clock."""

    stat: FileStat  # what the last look showed
    first_seen_s: float
    since_s: float  # when it was first seen as it is now
    looks: int  # how often it was seen as it is now
    due_s: float  # when it is to be looked at again
    reason: str  # why it is not settled, for a sentence about "it"
    is_put_off: bool = False  # it had settled, and was empty, not whole or could not be read


def is_settled(sighting: Sighting, *, now: float, settle_s: float) -> bool:
    """Say if a file may be read: unchanged for *settle_s*, seen at least twice so, and not empty."""
    return sighting.stat.size_bytes > 0 and _is_still(sighting, now=now, settle_s=settle_s)


def _is_still(sighting: Sighting, *, now: float, settle_s: float) -> bool:
    return sighting.looks >= 2 and now - sighting.since_s >= settle_s


class Settler(Generic[Key]):
    """
    Keep the looks at files that have not settled yet, and say which are due for another.

    It never gives a file up: what does not settle stays in ``pending`` until it is
    taken or forgotten. One thread at a time.
    """

    def __init__(self, settle_s: float) -> None:
        self._settle_s = settle_s
        self._sightings: dict[Key, Sighting] = {}
        self._order: list[tuple[float, int, Key]] = []
        self._serial = itertools.count()

    def __len__(self) -> int:
        return len(self._sightings)

    @property
    def is_quiet(self) -> bool:
        """Whether time alone brings nothing on: all that is unsettled was put off."""
        return all(sighting.is_put_off for sighting in self._sightings.values())

    def see(self, key: Key, stat: FileStat, now: float) -> bool:
        """Note one look; every change starts the wait again. Return whether it was never seen before."""
        sighting = self._sightings.get(key)
        if sighting is None:
            self._begin(key, stat, first_seen_s=now, now=now)
            return True
        if sighting.stat != stat:
            self._begin(key, stat, first_seen_s=sighting.first_seen_s, now=now)
        else:
            sighting.looks += 1
        return False

    def _begin(self, key: Key, stat: FileStat, *, first_seen_s: float, now: float) -> None:
        reason = CHANGING if stat.size_bytes else EMPTY
        due_s = now + self._settle_s
        self._sightings[key] = Sighting(stat, first_seen_s, now, 1, due_s, reason)
        self._push(key, due_s)

    def _push(self, key: Key, due_s: float) -> None:
        heapq.heappush(self._order, (due_s, next(self._serial), key))

    def due(self, now: float, limit: int = 1000) -> list[Key]:
        """
        Name files that are to be looked at now, at most *limit*.

        Each is named once; it is named again a settle time later, unless it is taken or
        put off, so that a caller that fails in between loses nothing.
        """
        found: list[Key] = []
        while self._order and self._order[0][0] <= now and len(found) < limit:
            due_s, _, key = heapq.heappop(self._order)
            sighting = self._sightings.get(key)
            if sighting is None or sighting.due_s != due_s:  # it was taken, or its wait began again
                continue
            sighting.due_s = now + self._settle_s
            self._push(key, sighting.due_s)
            found.append(key)
        return found

    def next_due_s(self) -> float | None:
        """Say when ``due`` has something to name, or None if nothing is unsettled."""
        while self._order:
            due_s, _, key = self._order[0]
            sighting = self._sightings.get(key)
            if sighting is not None and sighting.due_s == due_s:
                return due_s
            heapq.heappop(self._order)
        return None

    def has_settled(self, key: Key, now: float) -> bool:
        """Say if a file is known and has settled by now."""
        sighting = self._sightings.get(key)
        return sighting is not None and is_settled(sighting, now=now, settle_s=self._settle_s)

    def is_still(self, key: Key, now: float) -> bool:
        """Say the same of a file that may be empty."""
        sighting = self._sightings.get(key)
        return sighting is not None and _is_still(sighting, now=now, settle_s=self._settle_s)

    def put_off(self, key: Key, *, until_s: float, reason: str) -> None:
        """Look at a settled file again at *until_s* only, or as soon as it changes: it is not whole yet."""
        sighting = self._sightings[key]
        sighting.reason, sighting.is_put_off, sighting.due_s = reason, True, until_s
        self._push(key, until_s)

    def rest(self, key: Key) -> None:
        """Note that time alone brings nothing on for a file, which is looked at as often as before."""
        self._sightings[key].is_put_off = True

    def hurry(self, key: Key, now: float) -> None:
        """Look at a file again at once although it was put off: something may have changed that no look shows."""
        sighting = self._sightings[key]
        if sighting.is_put_off:
            sighting.due_s = now
            self._push(key, now)

    def sighting(self, key: Key) -> Sighting:
        """Return the looks at one file so far."""
        return self._sightings[key]

    def unchanged_s(self, key: Key, now: float) -> float:
        """Say for how long a file has looked as it does."""
        return now - self._sightings[key].since_s

    def forget(self, key: Key) -> bool:
        """Let a file go, settled or vanished; say if it was known."""
        return self._sightings.pop(key, None) is not None

    def pending(self, limit: int | None = None) -> list[tuple[Key, Sighting]]:
        """List the files that are not settled, all or the first *limit*, the one that was seen first first."""
        # a file keeps its place until it is forgotten: they are in the order of their first look
        return list(itertools.islice(self._sightings.items(), limit))
