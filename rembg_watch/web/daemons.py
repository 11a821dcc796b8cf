"""
The daemons that are looked at: for each its settings, its ledger, which stays open, and its status file.

A daemon may start later, be killed, be upgraded, or get another configuration: all of that is seen at the next look.
Settings are read without the key, so that it is nowhere in this process.
"""

import os
import threading
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from rembg_watch import state_dirs
from rembg_watch.config import FOR_LOOKING, FolderSettings, Settings
from rembg_watch.errors import ConfigError, LedgerError
from rembg_watch.ledger import FILE_NAME, Access, Ledger, Spending, open_ledger
from rembg_watch.ledger.pages import Day
from rembg_watch.look import KeptLedger, look, written
from rembg_watch.report.status import ENDED, SILENT_AFTER_S, STATUS_NAME, Liveness, Snapshot, liveness, moment

T = TypeVar("T")

_EVER_S, _CLOSED_S = 15.0, 300.0

METRICS_NAME = "metrics.prom"

_OF_THE_KEY = ("REMBG_WATCH_API__KEY", "REMBG_WATCH_API__KEY_FILE", "CREDENTIALS_DIRECTORY")


def without_key(environ: Mapping[str, str]) -> dict[str, str]:
    """Return an environment by which settings are read and no key is, wherever one lies."""
    kept = {name: value for name, value in environ.items() if name.upper() not in _OF_THE_KEY}
    return kept | {"REMBG_WATCH_API__KEY_FILE": os.devnull}


@dataclass(frozen=True, slots=True)
class Look:
    """What one look came to."""

    snapshot: Snapshot
    alive: Liveness


class Daemon:
    """One configuration, and what its daemon leaves for others to see; safe to share between threads."""

    def __init__(self, name: str, config: Path, environ: Mapping[str, str]) -> None:
        """
        Read the configuration.

        Raises:
            ConfigError: It cannot be used.
        """
        self.name = name
        self._config = config
        self._environ = without_key(environ)
        self._lock = threading.Lock()  # guards the settings and the ledger, where they are opened anew
        self._sums = _Kept()
        self._read_at = self._config_stamp()
        self._settings = self._load()
        self._ledger = KeptLedger(self._settings.state_dir)

    def close(self) -> None:
        """Let go of the ledger."""
        self._ledger.close()

    @property
    def settings(self) -> Settings:
        """What the configuration says now; while it is wrong, what it said before."""
        with self._lock:
            stamp = self._config_stamp()
            if stamp != self._read_at:
                self._read_at = stamp
                self._take_anew()
            return self._settings

    def _take_anew(self) -> None:
        try:
            settings = self._load()
        except ConfigError:  # the daemon tells of it, and goes on with what it has, too
            return
        if settings.state_dir != self._settings.state_dir:
            self._ledger.close()
            self._ledger = KeptLedger(settings.state_dir)
        self._settings = settings

    def _load(self) -> Settings:
        return state_dirs.load(self._config, environ=self._environ, tolerate=FOR_LOOKING)

    def _config_stamp(self) -> tuple[int, int, int] | None:
        return _stamp(self._config)

    def folder(self, name: str) -> FolderSettings | None:
        """Return the settings of a folder; None if the configuration has none of that name any more."""
        return next((one for one in self.settings.folders if one.name == name), None)

    def depth(self, name: str) -> int:
        """Say how many levels of sub-folders of a folder name a shoot."""
        folder = self.folder(name)
        return folder.shoot_depth if folder is not None else 1

    def ledger(self) -> Ledger:
        """
        Return the ledger.

        Raises:
            LedgerError: There is none yet, or it cannot be looked at; a sentence for a person.
        """
        settings = self.settings
        with self._lock:
            found = self._ledger.open()
        if found is None:
            raise LedgerError(f"There is no ledger at {settings.state_dir} yet: the daemon has never run with it.")
        return found

    @contextmanager
    def deciding(self) -> Iterator[Ledger]:
        """
        Open the ledger for what a person decides, as the commands do beside a running daemon.

        Raises:
            LedgerError: It cannot be written to: this process may only look, or it is not there now.
        """
        with open_ledger(self.settings.state_dir, Access.JOIN) as ledger:
            yield ledger

    def look(self, *, now: datetime) -> Look:
        """
        Say how it stands.

        Raises:
            LedgerError: The ledger cannot be looked at.
        """
        settings = self.settings
        with self._lock:
            self._ledger.open()
        found, alive = look(settings, self._ledger, now=now, spending=partial(self._ever_spent, now=now))
        return Look(found, self._alive(found, alive, now))

    def _ever_spent(self, ledger: Ledger, *, now: datetime) -> Spending:
        """Sum up all there ever was, now and then: of a million calls that takes a quarter of a second."""
        return self._sums.take("ever", ledger.spending, now=now, for_s=_EVER_S)

    def days(self, number: int, *, now: datetime) -> list[Day]:
        """
        Sum up the calls of today and so many UTC days before, by day and folder, the last day first.

        Days that are over change seldom, where a doubt is settled; they are summed up anew now and then.
        """
        ledger, today = self.ledger(), now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        since = today - timedelta(days=number)
        closed = self._sums.take((since, number), lambda: ledger.days(since), now=now, for_s=_CLOSED_S)
        return [*ledger.days(today), *(one for one in closed if one.day < today)]

    def pulse(self, *, now: datetime) -> Liveness:
        """Say whether the daemon lives, from its status file alone."""
        found = written(self.settings)
        return Liveness.GONE if found is None else self._alive(found, liveness(found, now=now), now)

    def _alive(self, found: Snapshot, by_process: Liveness, now: datetime) -> Liveness:
        """
        Say whether the daemon lives, where its process may be hidden from this one: then what it wrote decides.

        One that was killed counts as alive until it should have written again.
        """
        at = moment(found.get("written_at"))
        if at is None or found.get("pid") is None or by_process is not Liveness.GONE or found.get(ENDED):
            return by_process
        return Liveness.LIVE if (now - at).total_seconds() < SILENT_AFTER_S else Liveness.GONE

    def stamp(self) -> Sequence[object]:
        """Return what differs once anything was written: by the daemon, or by a command beside it."""
        state_dir = self.settings.state_dir
        return [
            self._read_at,
            *(_stamp(state_dir / name) for name in (FILE_NAME, f"{FILE_NAME}-wal", STATUS_NAME)),
        ]

    def metrics(self) -> bytes | None:
        """Return the figures that the daemon writes for Prometheus; None if it writes none."""
        try:
            return (self.settings.state_dir / METRICS_NAME).read_bytes()
        except OSError:
            return None


class _Kept:
    """Sums that are made anew only once they are old; two threads at once: both make them."""

    def __init__(self) -> None:
        self._known: dict[Hashable, tuple[datetime, Any]] = {}

    def take(self, key: Hashable, make: Callable[[], T], *, now: datetime, for_s: float) -> T:
        """Return what is known under *key*, or make it if that is older than *for_s*."""
        known = self._known.get(key)
        if known is not None and 0 <= (now - known[0]).total_seconds() < for_s:
            found: T = known[1]
            return found
        made = make()
        self._known = {one: value for one, value in self._known.items() if (now - value[0]).days < 1}
        self._known[key] = (now, made)
        return made


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def named(configs: Sequence[Path]) -> dict[str, Path]:
    """Give each configuration a name for addresses; none where there is one alone."""
    if len(configs) == 1:
        return {"": configs[0]}
    names: dict[str, Path] = {}
    for config in configs:
        usual = config.absolute().parent.name if config.stem in {"config", "rembg-watch"} else config.stem
        plain = "".join(one if one.isascii() and (one.isalnum() or one in "-_") else "-" for one in usual) or "daemon"
        name, number = plain, 2
        while name in names:
            name, number = f"{plain}-{number}", number + 1
        names[name] = config
    return names
