"""
The daemons that are looked at: for each its settings, its ledger, which stays open, and its status file.

A daemon may start later, be killed, be upgraded, or get another configuration: all of that is seen at the next look.
Settings are read without the key, so that it is nowhere in this process.
"""

import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import TypeAlias

from rembg_watch import state_dirs
from rembg_watch.config import FOR_LOOKING, FolderSettings, Settings
from rembg_watch.errors import ConfigError, LedgerError
from rembg_watch.ledger import FILE_NAME, Access, Ledger, Spending, open_ledger
from rembg_watch.ledger.pages import Day, Reason
from rembg_watch.look import KeptLedger, look, written
from rembg_watch.report.status import (
    ENDED,
    METRICS_NAME,
    SILENT_AFTER_S,
    STATUS_NAME,
    Liveness,
    Snapshot,
    liveness,
    moment,
)
from rembg_watch.web.sums import Kept

Stamp: TypeAlias = tuple[int, int, int]
"""Which file it is, its size, and when it was written."""

SHOWN_DAYS = 30
"""Days before today that are shown by day."""

_CLOSED_S = 300.0
"""Sums of days that are over are made anew after so long: a doubt may have been settled."""

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
        self._sums = Kept()
        self._status: tuple[Stamp | None, Snapshot | None, str] = (None, None, "")
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

    def _config_stamp(self) -> Stamp | None:
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

    def look(self, *, now: datetime, is_summed_up: bool = False) -> Look:
        """
        Say how it stands; *is_summed_up*: with all that was ever spent.

        Raises:
            LedgerError: The ledger cannot be looked at.
        """
        settings = self.settings
        with self._lock:
            self._ledger.open()
        spending = partial(self._ever_spent, now=now) if is_summed_up else _not_asked
        found, alive = look(settings, self._ledger, now=now, spending=spending)
        return Look(found, self._alive(found, alive, now))

    def _ever_spent(self, ledger: Ledger, *, now: datetime) -> Spending:
        """Sum up all there ever was, the days before today now and then: of a million calls that takes 0.3 s."""
        today = _midnight(now)
        before = self._sums.take("ever", lambda: ledger.spending(until=today), now=now, for_s=_CLOSED_S, version=today)
        return before + ledger.spending(today)

    def days(self, number: int, *, now: datetime) -> list[Day]:
        """
        Sum up the calls of today and so many UTC days before, by day and folder, the last day first.

        Days that are over change seldom, where a doubt is settled; they are summed up anew now and then.
        """
        ledger, today = self.ledger(), _midnight(now)
        since = today - timedelta(days=number)
        summed = today - timedelta(days=max(number, SHOWN_DAYS))  # one sum for all that ask for less
        closed = self._sums.take(f"{summed}", lambda: ledger.days(summed), now=now, for_s=_CLOSED_S)
        return [*ledger.days(today), *(one for one in closed if since <= one.day < today)]

    def reasons(self, *, now: datetime) -> list[Reason]:
        """Say why pictures stand still; counted anew where that is another by now."""
        ledger = self.ledger()
        version = ledger.standing_still()
        return self._sums.take("reasons", ledger.reasons, now=now, for_s=_CLOSED_S, version=version)

    def look_ahead(self, *, now: datetime) -> None:
        """
        Make the sums that take long, so that they are there when they are asked for.

        Raises:
            LedgerError: The ledger cannot be looked at.
        """
        self.reasons(now=now)
        self.days(SHOWN_DAYS, now=now)
        self._ever_spent(self.ledger(), now=now)

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

    def stamp(self, *, now: datetime) -> Sequence[object]:
        """
        Return what differs once anything is another: by the daemon, by a command beside it, or by its end.

        A daemon that has nothing to do writes the same status again and again; that changes nothing.
        """
        state_dir = self.settings.state_dir
        ledger, log = _stamp(state_dir / FILE_NAME), _stamp(state_dir / f"{FILE_NAME}-wal")
        at = _stamp(state_dir / STATUS_NAME)
        if at is None or at != self._status[0]:
            found = written(self.settings)
            said = {name: value for name, value in (found or {}).items() if name != "written_at"}
            self._status = at, found, sha256(repr(said).encode(errors="replace")).hexdigest()
        _, found, digest = self._status
        alive = Liveness.GONE if found is None else self._alive(found, liveness(found, now=now), now)
        return [
            self._read_at,
            ledger,
            log if log and log[1] else None,
            digest,
            alive,
        ]  # whoever looks makes an empty log

    def metrics(self) -> bytes | None:
        """Return the figures that the daemon writes for Prometheus; None if it writes none, or where none can read."""
        settings = self.settings
        try:
            return (settings.metrics.textfile or settings.state_dir / METRICS_NAME).read_bytes()
        except OSError:
            return None


def _not_asked(_: Ledger) -> None:
    return None


def _midnight(now: datetime) -> datetime:
    return now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def _stamp(path: Path) -> Stamp | None:
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
