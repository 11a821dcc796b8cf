"""From the watch into the ledger, with the feeder woken for what is new."""

from collections.abc import Iterable
from datetime import datetime

from rembg_watch.jobs import Version
from rembg_watch.pipeline import Ports, afterwards
from rembg_watch.pipeline.under_way import UnderWay


class Arrivals:
    """What the watch needs of the ledger; the feeder is woken for what is new."""

    def __init__(self, ports: Ports, under_way: UnderWay) -> None:
        self._ports = ports
        self._under_way = under_way
        self.known, self.parents = ports.ledger.known, ports.ledger.parents
        self.gone, self.set_unsettled = ports.ledger.gone, ports.ledger.set_unsettled
        self.set_passed_over = ports.ledger.set_passed_over

    def add(self, folder: str, sources: Iterable[tuple[bytes, Version]], at: datetime) -> int:
        """Queue what is new, and wake the feeder."""
        added = self._ports.ledger.add(folder, sources, at)
        if added:
            self._note_use(folder)
            self._under_way.poke()
        return added

    def reject(self, folder: str, source: bytes, version: Version, at: datetime, *, reason: str, code: str) -> bool:
        """List a source that can never be sent as failed, and set it aside where the folder wants that."""
        recipe = self._ports.in_force.plan.recipes.get(folder)
        is_set_aside = recipe is not None and recipe.failed is not None
        is_new = self._ports.ledger.reject(
            folder, source, version, at, reason=reason, code=code, is_disposal_due=is_set_aside
        )
        job = self._ports.ledger.find(folder, source) if is_new and is_set_aside else None
        if job is not None:
            afterwards.put_away(self._ports, job)
        if is_new:
            self._note_use(folder)
        return is_new

    def _note_use(self, folder: str) -> None:
        """Note that the input has held something: empty, it may be the place of a disk that is not mounted."""
        recipe = self._ports.in_force.plan.recipes.get(folder)
        if recipe is not None:
            self._ports.roots.used(recipe.input)
