"""Watch all folders, each in a thread of its own, so that a share that hangs holds up no other."""

import threading
import time
from collections.abc import Callable, Container, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from rembg_watch.errors import RembgWatchError
from rembg_watch.jobs import Unsettled
from rembg_watch.ledger.port import Sources
from rembg_watch.passed_over import PassedCounts
from rembg_watch.paths import Folder
from rembg_watch.report import events
from rembg_watch.report.events import Reporter
from rembg_watch.watch.folder import FolderWatch
from rembg_watch.watch.intake import Pace
from rembg_watch.watch.permit import Permit

AGAIN_S = 1.0
"""How long a folder rests after its turn has failed."""


_WATCH = "watch "


def thread_name(folder: str) -> str:
    """Name the thread that watches a folder."""
    return f"{_WATCH}{folder}"


def watched_by(thread: str) -> str:
    """Return the folder that a thread of this name watches."""
    return thread.removeprefix(_WATCH)


class Watcher:
    """
    Watch all folders.

    ``start`` and ``stop`` are for the daemon; a caller with a loop of its own calls ``tick``
    instead, from one thread, and ``stop`` at the end.

    Args:
        folders: What is watched. Their inputs do not overlap.
        permit: Says which folders are this process's to watch; it is called from all threads.
        ledger: Where whole pictures are put in line; it is called from all threads, as *report* is.
        clock: Monotonic seconds.
        beat: Is told a thread's name whenever its folder gets its turn.
        rest: Is told it when the folder may be left alone for a while.
        why_away: Says why the folder that lies at a path now is not the one that was used before; empty: it is.
    """

    def __init__(
        self,
        folders: Sequence[Folder],
        ledger: Sources,
        pace: Pace | None = None,
        *,
        permit: Permit | None = None,
        report: Reporter = events.nobody,
        clock: Callable[[], float] = time.monotonic,
        utcnow: Callable[[], datetime] = lambda: datetime.now(UTC),
        beat: Callable[[str], None] = lambda _thread: None,
        rest: Callable[[str], None] = lambda _thread: None,
        why_away: Callable[[Path], str] = lambda _root: "",
    ) -> None:
        self._ledger, self._utcnow, self._permit, self._why_away = ledger, utcnow, permit or Permit(), why_away
        self._report, self._clock, self._beat, self._rest = report, clock, beat, rest
        self._is_stopping = threading.Event()
        self._threads: list[threading.Thread] = []
        self._folders = self._watches(folders, pace or Pace())

    def _watches(self, folders: Sequence[Folder], pace: Pace) -> dict[str, FolderWatch]:
        return {
            folder.name: FolderWatch(
                folder,
                self._ledger,
                pace,
                permit=self._permit,
                report=self._report,
                clock=self._clock,
                utcnow=self._utcnow,
                why_away=self._why_away,
            )
            for folder in folders
        }

    def change(self, folders: Sequence[Folder], pace: Pace) -> None:
        """Stop, and watch these folders in place of the old ones from the next ``start`` on."""
        self.stop()
        self._is_stopping = threading.Event()  # a thread that hangs in a dead share ends by its own one
        self._folders = self._watches(folders, pace)

    @property
    def unsettled(self) -> int:
        """How many files were seen and are no jobs yet."""
        return sum(one.unsettled for one in self._folders.values())

    @property
    def unsettled_by_folder(self) -> Mapping[str, int]:
        """The same for each folder."""
        return {name: one.unsettled for name, one in self._folders.items()}

    def listing(self) -> Mapping[str, Sequence[Unsettled]]:
        """List what is unsettled in each folder, and why; for a caller with a loop of its own."""
        now = self._clock()
        return {name: one.intake.listing(now) for name, one in self._folders.items()}

    @property
    def away(self) -> frozenset[str]:
        """The folders that are not there now: nothing of theirs can be sent, and nothing is lost."""
        return frozenset(name for name, one in self._folders.items() if one.is_away)

    @property
    def passed_over(self) -> Mapping[str, PassedCounts]:
        """How many files of each kind every folder has that are knowingly not sent."""
        return {name: one.passed_over for name, one in self._folders.items()}

    @property
    def has_looked(self) -> bool:
        """Whether every folder that is there was looked through once."""
        return all(one.has_looked for one in self._folders.values())

    @property
    def shut(self) -> frozenset[str]:
        """The folders of which nothing may be sent: not there, another process's, or new and not looked through."""
        return frozenset(name for name, one in self._folders.items() if not one.is_open)

    @property
    def taken(self) -> frozenset[str]:
        """The folders that are there, and that another process has."""
        return frozenset(name for name, one in self._folders.items() if one.is_taken)

    @property
    def is_at_rest(self) -> bool:
        """Whether all that is there was looked at and nothing is left that time alone would bring on."""
        return self.is_at_rest_but(())

    def is_at_rest_but(self, folders: Container[str]) -> bool:
        """Say the same without some folders, which nobody waits for."""
        return all(one.is_at_rest for name, one in self._folders.items() if name not in folders)

    def progress(self) -> Mapping[str, float]:
        """Say when each folder last had its turn, on the monotonic clock: a share that hangs shows here."""
        return {name: one.ticked_at_s for name, one in self._folders.items()}

    def look_again(self, folder: str, source: bytes) -> None:
        """Look at one source soon: somebody found it changed, missing or back. Any thread may ask."""
        if (one := self._folders.get(folder)) is not None:  # a reload may have taken it away
            one.look_again(source)

    def tick(self, now: float) -> float:
        """Give every folder its turn; return when to be called again, on the same clock."""
        return min((one.tick(now) for one in self._folders.values()), default=float("inf"))

    def start(self) -> None:
        """Watch from now on, in threads."""
        self._threads = [
            threading.Thread(target=self._run, args=(one, self._is_stopping), name=thread_name(name), daemon=True)
            for name, one in self._folders.items()
        ]
        for thread in self._threads:
            thread.start()

    def stop(self, timeout_s: float = 5.0) -> bool:
        """
        Stop watching; what is unsettled is seen again at the next start.

        Returns:
            Whether every thread has ended in time. One that hangs in a dead share ends with the process.
        """
        self._is_stopping.set()
        for one in self._folders.values():
            one.wake.set()
        until = time.monotonic() + timeout_s
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))
        if not self._threads:
            for one in self._folders.values():
                one.close()
        return not any(thread.is_alive() for thread in self._threads)

    def _run(self, one: FolderWatch, is_stopping: threading.Event) -> None:
        last = ""
        name = threading.current_thread().name
        while not is_stopping.is_set():
            self._beat(name)
            pause_s, error = self._turn(one)
            if error is not None and str(error) != last:
                self._report(events.Mistake(where=f'the watch of folder "{one.folder.name}"', error=error))
            last = str(error) if error is not None else ""
            self._rest(name)
            one.wake.wait(min(pause_s, threading.TIMEOUT_MAX))
            one.wake.clear()
        one.close()
        self._rest(name)

    def _turn(self, one: FolderWatch) -> tuple[float, Exception | None]:
        """Give one folder its turn; return how long it may rest, and what went wrong."""
        try:
            due_s = one.tick(self._clock())
        except RembgWatchError as error:  # the ledger cannot be written now; nothing is forgotten
            return AGAIN_S, error
        except Exception as error:  # noqa: BLE001 - a folder that nobody watches any more would be worse than any mistake
            one.look_through()
            return AGAIN_S, error
        return max(0.0, due_s - self._clock()), None
