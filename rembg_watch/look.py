"""
How one daemon stands, for whoever looks from outside: from its status file, and its ledger where that knows better.

Nothing is written, no account is asked, and no folder is touched: a share that hangs holds up nobody who looks.
"""

import os
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Self

from rembg_watch.account.causes import Cause
from rembg_watch.account.notes import (
    BASELINE,
    GATE,
    OTHER_USE,
    PAUSES,
    gate_from_note,
    pauses_from_note,
    reading_from_note,
    use_from_note,
)
from rembg_watch.account.pauses import paused
from rembg_watch.account.views import credits_view, gate_view, other_use_view
from rembg_watch.config import Settings
from rembg_watch.jobs import LISTED
from rembg_watch.ledger import Access, Ledger, LedgerClosedError, NoLedgerError, Spending, open_ledger
from rembg_watch.report.status import (
    STATUS_NAME,
    CreditsView,
    GateView,
    Liveness,
    Snapshot,
    liveness,
    read_copy,
    read_snapshot,
    snapshot,
)


class KeptLedger:
    """The ledger, opened when there is one, and kept open: to look is cheap, to check it each second is not."""

    def __init__(self, state_dir: Path) -> None:
        self._state_dir = state_dir
        self._ledger: Ledger | None = None

    def open(self) -> Ledger | None:
        """Return the ledger; None: there is none yet."""
        if self._ledger is None:
            try:
                self._ledger = open_ledger(self._state_dir, Access.READ)
            except NoLedgerError:
                return None
        return self._ledger

    def close(self) -> None:
        """Let go of it; it is opened anew where it is asked for."""
        if self._ledger is not None:
            self._ledger.close()
            self._ledger = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def look(
    settings: Settings,
    ledger: KeptLedger,
    *,
    now: datetime,
    spending: Callable[[Ledger], Spending | None] = lambda ledger: ledger.spending(),
) -> tuple[Snapshot, Liveness]:
    """
    Read what the daemon wrote last; the counts come from the ledger, and so does the rest if no daemon runs.

    *spending* sums up all that was ever spent, which takes a while where that is a million calls; None leaves it out.
    """
    try:
        return _look_at_state(settings, ledger.open(), now, spending)
    except LedgerClosedError:
        copy = read_copy(settings.state_dir, os.environ) or written(settings)
        if copy is None:
            raise
        return copy, liveness(copy, now=now)


def written(settings: Settings) -> Snapshot | None:
    """Read what the daemon wrote last into its state folder, if this user may."""
    try:
        return read_snapshot(settings.state_dir / STATUS_NAME)
    except PermissionError:
        return None


def _look_at_state(
    settings: Settings, ledger: Ledger | None, now: datetime, spending: Callable[[Ledger], Spending | None]
) -> tuple[Snapshot, Liveness]:
    found = written(settings)
    alive = liveness(found, now=now) if found else Liveness.GONE
    if found is not None and alive is not Liveness.GONE and found["gate"]["reason"] == Cause.LEDGER:
        return found, alive  # what stands in the ledger's place is not what the daemon works with
    if ledger is None:
        left = snapshot(counts={}, unsettled=0, gate=GateView(), credits=CreditsView(), now=now)
    else:
        left = _left(ledger, [folder.name for folder in settings.folders], now, spending(ledger))
    if found is None:
        return left, alive
    # the ledger lists some of many files, and the daemon counts them all
    left["unsettled"] = max(left["unsettled"], found["unsettled"]) if left["unsettled"] >= LISTED else left["unsettled"]
    of_ledger = ["jobs", "unsettled", "passed_over", "originals_left", "spending", "other_use"]
    of_ledger += ["gate", "eta_s"] if alive is Liveness.GONE else []
    return {**found, **{name: left[name] for name in of_ledger}}, alive


def _left(ledger: Ledger, folders: Sequence[str], now: datetime, spending: Spending | None) -> Snapshot:
    """Return the status that the ledger alone can give."""
    gate = paused(gate_from_note(ledger.note(GATE)), pauses_from_note(ledger.note(PAUSES)))
    return snapshot(
        counts=ledger.counts(),
        unsettled=ledger.unsettled_count(),
        passed_over={name: ledger.passed_over(name).counts for name in folders},
        originals_left=sum(ledger.originals_left().values()),
        gate=gate_view(gate.hold),
        credits=credits_view(reading_from_note(ledger.note(BASELINE))),
        spending=spending,
        other_use=other_use_view(use_from_note(ledger.note(OTHER_USE))[0]),
        now=now,
    )
