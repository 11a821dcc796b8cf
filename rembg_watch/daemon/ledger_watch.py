"""Whether the ledger that was opened is still in its place: without it, what is bought would be forgotten."""

import contextlib
import os
from pathlib import Path

from rembg_watch.account.causes import Cause
from rembg_watch.daemon.assembly import Parts
from rembg_watch.errors import LedgerError
from rembg_watch.report import events


class LedgerWatch:
    """
    Look for the ledger every second; while it is not there, hold everything, and keep a copy of what is known.

    It is still open, so that what is under way is delivered and written down. Each call looks too, before its last
    byte leaves (``pipeline.call``).
    """

    def __init__(self, parts: Parts, path: Path) -> None:
        self._parts = parts
        self._path = path
        self._kept: Path | None = None
        self.is_lost = False

    def look(self) -> None:
        """Hold everything if the ledger is gone, and go on if it is back."""
        is_lost = not self._parts.ledger.is_in_place()
        if is_lost is self.is_lost:
            return
        self.is_lost = is_lost
        path = os.fsencode(self._path)
        if not is_lost:
            self._parts.governor.release_all(Cause.LEDGER)
            self._parts.ports.report(events.LedgerBack(path=path))
            return
        self._parts.governor.hold_all(Cause.LEDGER, text=f"{self._path.name} is not the file that was opened")
        self.keep()
        self._parts.ports.report(events.LedgerLost(path=path, kept=os.fsencode(self._kept) if self._kept else b""))

    def keep(self) -> None:
        """Keep what is known now in a copy, in place of an earlier one."""
        before = self._kept
        with contextlib.suppress(LedgerError):  # no room: what there is was told
            self._kept = self._parts.ledger.keep()
            if before is not None and before != self._kept:
                before.unlink(missing_ok=True)
