"""A studio for tests: real files, a clock that is turned by hand, and a ledger in memory."""

import io
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from rembg_watch.errors import LedgerError
from rembg_watch.jobs import Unsettled, Version
from rembg_watch.passed_over import PassedOver
from rembg_watch.paths import Folder
from rembg_watch.report.events import Event
from rembg_watch.watch import Pace, Permit
from rembg_watch.watch.folder import FolderWatch
from tests.life import eventually

START = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)


def jpeg(seed: int = 0, size: tuple[int, int] = (24, 16)) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size, (seed % 256, seed // 256 % 256, 90)).save(out, "JPEG")
    return out.getvalue()


class FakeLedger:
    """What the watch needs of the ledger, as its protocol says."""

    def __init__(self) -> None:
        self.standing: dict[tuple[str, bytes], Version] = {}
        self.added: list[tuple[bytes, Version]] = []
        self.rejected: dict[bytes, tuple[str, str]] = {}
        self.vanished: list[bytes] = []
        self.unsettled: dict[str, list[Unsettled]] = {}
        self.passed_over: dict[str, PassedOver] = {}
        self.asked: list[bytes] = []
        self.is_broken = False
        self._lock = threading.Lock()

    def _check(self) -> None:
        if self.is_broken:
            raise LedgerError("the disk is full")

    def known(self, folder: str, parent: bytes) -> Mapping[bytes, Version]:
        self._check()
        with self._lock:
            self.asked.append(parent)
            return {
                source.rpartition(b"/")[2]: version
                for (owner, source), version in self.standing.items()
                if owner == folder and source.rpartition(b"/")[0] == parent
            }

    def parents(self, folder: str) -> list[bytes]:
        return sorted({source.rpartition(b"/")[0] for owner, source in self.standing if owner == folder})

    def add(self, folder: str, sources: Iterable[tuple[bytes, Version]], at: datetime) -> int:
        self._check()
        with self._lock:
            new = [(source, version) for source, version in sources if self.standing.get((folder, source)) != version]
            self.added += new
            self.standing.update({(folder, source): version for source, version in new})
            return len(new)

    def reject(self, folder: str, source: bytes, version: Version, at: datetime, *, reason: str, code: str) -> bool:
        self._check()
        with self._lock:
            is_new = self.standing.get((folder, source)) != version
            self.standing[folder, source] = version
            self.rejected[source] = (code, reason)
            return is_new

    def gone(self, folder: str, sources: Iterable[bytes], at: datetime) -> int:
        self._check()
        with self._lock:
            here = [source for source in sources if self.standing.pop((folder, source), None) is not None]
            self.vanished += here
            return len(here)

    def set_unsettled(self, folder: str, items: Iterable[Unsettled]) -> bool:
        self._check()
        self.unsettled[folder] = list(items)
        return True

    def set_passed_over(self, folder: str, found: PassedOver) -> None:
        self._check()
        self.passed_over[folder] = found

    @property
    def names(self) -> list[bytes]:
        return [source for source, _ in self.added]


class Studio:
    """A watched folder, and time that passes when it is told to."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.now = 1000.0
        self.ledger = FakeLedger()
        self.events: list[Event] = []
        self.watch: FolderWatch
        self._watches: list[FolderWatch] = []
        self._ticks = 0

    def begin(
        self,
        *,
        mode: Any = "poll",
        folder: Mapping[str, Any] | None = None,
        permit: Permit | None = None,
        **pace: float,
    ) -> FolderWatch:
        facts: dict[str, Any] = {"name": "catalogue", "input": self.root, "output": self.root.parent / "out"}
        self.watch = FolderWatch(
            Folder(**(facts | dict(folder or {}))),
            self.ledger,
            Pace(mode=mode, **pace),
            permit=permit,
            report=self.events.append,
            clock=lambda: self.now,
            utcnow=lambda: START + timedelta(seconds=self.now),
        )
        self._watches.append(self.watch)
        return self.watch

    def end(self) -> None:
        for watch in self._watches:
            watch.close()

    def passes(self, seconds: float) -> None:
        """Let time pass; the watch gets its turn whenever it wants one."""
        end = self.now + seconds
        for _ in range(100_000):
            due = self.watch.tick(self.now)
            if due > end:
                break
            self.now = max(self.now, due)
        else:
            raise AssertionError("the watch never rests")
        self.now = end

    def notices(self) -> None:
        """Wait until the kernel has told of something and of all that came before, then let the debounce time pass."""
        assert self.watch.wake.wait(30), "the kernel told nothing"
        observer = self.watch._guard._observer
        assert observer is not None
        before = observer.echoes
        observer.ping(os.fsencode(self.root))  # notices come in order
        eventually(lambda: observer.echoes > before)
        self.watch.wake.clear()
        self.passes(0.1)

    def drop(self, name: str | bytes, data: bytes | None = None) -> Path:
        path = self.root / os.fsdecode(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(jpeg(len(os.fsencode(name))) if data is None else data)
        self.touch(path.parent)
        return path

    def touch(self, path: Path) -> None:
        """Give a file or directory a time that it never had: the clock of the tests is faster than the disk's."""
        self._ticks += 1
        moment = 10**18 + self._ticks * 10**9
        os.utime(path, ns=(moment, moment))

    def reported(self, kind: type[Event]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def listed(self) -> Sequence[Unsettled]:
        return self.ledger.unsettled.get("catalogue", [])


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[Studio]:
    root = tmp_path / "exports"
    root.mkdir()
    studio = Studio(root)
    yield studio
    studio.end()


@pytest.fixture
def picture() -> Callable[..., bytes]:
    return jpeg
