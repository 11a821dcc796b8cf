"""From the watch into the ledger, with the pool told of what is new."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from rembg_watch.jobs import Unsettled, Version
from rembg_watch.ledger import Ledger
from rembg_watch.pipeline import afterwards

if TYPE_CHECKING:
    from rembg_watch.daemon.life import Daemon


@dataclass
class Intake:
    """What the watch needs of the ledger, with the pool told of what is new."""

    ledger: Ledger
    daemon: "Daemon"

    def known(self, folder: str, parent: bytes) -> Mapping[bytes, Version]:
        """Return the version in which each source stands in one directory."""
        return self.ledger.known(folder, parent)

    def parents(self, folder: str) -> list[bytes]:
        """Return each directory in which a source stands."""
        return self.ledger.parents(folder)

    def add(self, folder: str, sources: Iterable[tuple[bytes, Version]], at: datetime) -> int:
        """Queue what is new, and tell the pool."""
        added = self.ledger.add(folder, sources, at)
        if added:
            self.daemon.pool.poke()
        return added

    def reject(self, folder: str, source: bytes, version: Version, at: datetime, *, reason: str, code: str) -> bool:
        """List a source that can never be sent as failed, and set it aside where the folder wants that."""
        is_new = self.ledger.reject(folder, source, version, at, reason=reason, code=code)
        job = self.ledger.find(folder, source) if is_new else None
        if job is not None:
            afterwards.set_aside(self.daemon.line, job)
        return is_new

    def gone(self, folder: str, sources: Iterable[bytes], at: datetime) -> int:
        """Write down that sources are not there any more."""
        return self.ledger.gone(folder, sources, at)

    def set_unsettled(self, folder: str, items: Iterable[Unsettled]) -> bool:
        """Make these the unsettled sources of a folder."""
        return self.ledger.set_unsettled(folder, items)
