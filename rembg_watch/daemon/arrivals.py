"""From the watch into the ledger, with the feeder woken for what is new."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from rembg_watch.jobs import Unsettled, Version
from rembg_watch.pipeline import Ports, afterwards
from rembg_watch.pipeline.under_way import UnderWay


@dataclass(frozen=True)
class Arrivals:
    """What the watch needs of the ledger; the feeder is woken for what is new."""

    ports: Ports
    under_way: UnderWay

    def known(self, folder: str, parent: bytes) -> Mapping[bytes, Version]:
        """Return the version in which each source stands in one directory."""
        return self.ports.ledger.known(folder, parent)

    def parents(self, folder: str) -> list[bytes]:
        """Return each directory in which a source stands."""
        return self.ports.ledger.parents(folder)

    def add(self, folder: str, sources: Iterable[tuple[bytes, Version]], at: datetime) -> int:
        """Queue what is new, and wake the feeder."""
        added = self.ports.ledger.add(folder, sources, at)
        if added:
            self.under_way.poke()
        return added

    def reject(self, folder: str, source: bytes, version: Version, at: datetime, *, reason: str, code: str) -> bool:
        """List a source that can never be sent as failed, and set it aside where the folder wants that."""
        is_new = self.ports.ledger.reject(folder, source, version, at, reason=reason, code=code)
        job = self.ports.ledger.find(folder, source) if is_new else None
        if job is not None:
            afterwards.set_aside(self.ports, job)
        return is_new

    def gone(self, folder: str, sources: Iterable[bytes], at: datetime) -> int:
        """Write down that sources are not there any more."""
        return self.ports.ledger.gone(folder, sources, at)

    def set_unsettled(self, folder: str, items: Iterable[Unsettled]) -> bool:
        """Make these the unsettled sources of a folder."""
        return self.ports.ledger.set_unsettled(folder, items)
