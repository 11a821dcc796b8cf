"""
The jobs that are claimed and not over: what the feeder counts and the pool works on.

It also keeps the copies that wait for another one's answer, and the jobs that could not be
recorded because the ledger took nothing.
"""

import threading
from collections import defaultdict
from collections.abc import Container, Iterable, Sequence

from rembg_watch.host.clocks import Clocks
from rembg_watch.jobs import Job
from rembg_watch.pipeline.contents import Contents


class UnderWay:
    """Know what is under way; safe to share between threads."""

    def __init__(self, contents: Contents, clocks: Clocks, *, low: int) -> None:
        self._low = low  # so many still to be sent, or fewer, and the next batch is claimed
        self._most = 0  # so many under way, and none is claimed before some are delivered
        self._contents = contents
        self._clocks = clocks
        self._changed = threading.Condition()  # guards all that follows; nothing that waits is called under it
        self.is_poked = True  # the feeder has still to look at what changed
        self._active: dict[int, Job] = {}
        self._unpaid: set[int] = set()
        # What takes long on this machine keeps nobody else waiting: copied before they are sent, made into files.
        self._copying: set[int] = set()
        self._making: set[int] = set()
        self._unrecorded: dict[int, Job] = {}
        self._twins: dict[str, list[Job]] = defaultdict(list)

    # --- counting -------------------------------------------------------------------------------

    def __len__(self) -> int:
        with self._changed:
            return len(self._active)

    def moving(self, hung: Container[str]) -> int:
        """Say how many jobs are under way whose folder's disk answers."""
        with self._changed:
            return sum(job.folder not in hung for job in self._active.values())

    def unpaid(self, folder: str | None = None) -> int:
        """
        Say how many jobs are under way that may still cost something, in one folder or in all.

        Of a folder's copies that wait for another's answer one may have to ask itself, so it keeps its place.
        """
        with self._changed:
            if folder is None:
                return len(self._unpaid)
            waiting = sum(
                any(twin.folder == folder and twin.id not in self._unpaid for twin in twins)
                for twins in self._twins.values()
            )
            return waiting + sum(job.folder == folder for job in self._active.values() if job.id in self._unpaid)

    def room(self, batch_size: int) -> int:
        """Say how many more may be claimed; 0 while enough are still to be sent, or too many to be delivered."""
        with self._changed:
            self._most = 2 * (self._low + batch_size)
            unpaid, active = self._quick()
            if unpaid > self._low:
                return 0
            return max(0, min(batch_size + self._low - unpaid, self._most - active))

    # --- from claim to end ----------------------------------------------------------------------

    def begin(self, jobs: Iterable[Job], *, is_unpaid: bool) -> None:
        """Count jobs that were claimed."""
        with self._changed:
            for job in jobs:
                self._active[job.id] = job
                if is_unpaid:
                    self._unpaid.add(job.id)

    def paid(self, job: Job) -> None:
        """Count a job as one that costs nothing any more."""
        with self._changed:
            self._unpaid.discard(job.id)
            self._poke_if_low()

    def copying(self, job: Job) -> None:
        """Count a job as one that may have to be copied before it is sent."""
        with self._changed:
            self._copying.add(job.id)

    def copied(self, job: Job) -> None:
        """Count it no more as such."""
        with self._changed:
            self._copying.discard(job.id)

    def making(self, job: Job) -> None:
        """Count a job as one of which files are made, or wait for that."""
        with self._changed:
            self._making.add(job.id)
            self._poke_if_low()

    @property
    def has_long_work(self) -> bool:
        """Whether so many are copied or made into files that no more are to be claimed of the folders that need it."""
        with self._changed:
            return len(self._copying) > self._low or len(self._making) >= self._most > 0

    def over(self, job: Job) -> None:
        """Count a job no more."""
        with self._changed:
            self._active.pop(job.id, None)
            self._copying.discard(job.id)
            self._making.discard(job.id)
            self._unpaid.discard(job.id)
            self._poke_if_low()

    def give_up(self) -> Sequence[Job]:
        """Return all that is left, as the program ends; it is under way no more."""
        with self._changed:
            left = [*self._active.values(), *self._unrecorded.values()]
            self._active.clear()
        return left

    # --- copies that wait for another one's answer ----------------------------------------------

    def park(self, job: Job, key: str, *, is_copy: bool = True) -> bool:
        """
        Let a job wait for another one with the same content, at no cost; False: there is none any more.

        One that is no copy waits for another's answer to learn from it, and is to be paid for all the same.
        """
        with self._changed:
            if not self._contents.is_asked(key):
                return False
            if is_copy:
                self._unpaid.discard(job.id)
            self._twins[key].append(job)
            return True

    def wake(self) -> Sequence[Job]:
        """Return the jobs that need wait no longer: the answer is theirs now, or one of them asks."""
        with self._changed:
            settled = [key for key in self._twins if not self._contents.is_asked(key)]
            twins = [twin for key in settled for twin in self._twins.pop(key)]
            self._unpaid.update(twin.id for twin in twins)
        return twins

    # --- what the ledger did not take -----------------------------------------------------------

    def keep_unrecorded(self, jobs: Iterable[Job]) -> None:
        """Remember jobs that could not be recorded."""
        with self._changed:
            self._unrecorded |= {job.id: job for job in jobs}

    def take_unrecorded(self) -> dict[int, Job]:
        """Hand out the jobs that could not be recorded; whoever takes them brings back what is left."""
        with self._changed:
            jobs, self._unrecorded = self._unrecorded, {}
        return jobs

    # --- waking the feeder ----------------------------------------------------------------------

    def poke(self) -> None:
        """Tell the feeder that there may be something new to do."""
        with self._changed:
            self.is_poked = True
            self._changed.notify_all()

    def wait(self, nap_s: float) -> bool:
        """Wait until something may have changed, at most so long; say whether it may."""
        with self._changed:
            if not self.is_poked and nap_s > 0:
                self._clocks.nap(self._changed, nap_s)
            was_poked, self.is_poked = self.is_poked, False
        return was_poked

    def _poke_if_low(self) -> None:
        """Let the feeder claim more; what only waits to be delivered keeps nobody from it."""
        unpaid, active = self._quick()
        if unpaid <= self._low and active < self._most:
            self.poke()

    def _quick(self) -> tuple[int, int]:
        """Say how many are unpaid, and how many under way, but for those that take long on this machine."""
        return len(self._unpaid - self._copying), len(self._active) - len(self._copying) - len(self._making)
