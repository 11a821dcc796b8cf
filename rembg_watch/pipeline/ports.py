"""What the steps of the pipeline work with: one frozen value, built once and shared by all threads."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from pathlib import Path

from rembg_watch.account.governor import Governor
from rembg_watch.delivery.masters import Masters
from rembg_watch.delivery.outputs import Outputs
from rembg_watch.delivery.places import Places
from rembg_watch.delivery.publish import enough_room
from rembg_watch.delivery.roots import Roots
from rembg_watch.delivery.spool import Spool
from rembg_watch.delivery.thumbnails import Thumbnails
from rembg_watch.delivery.verify import Expected, Verified
from rembg_watch.host.clocks import Clocks
from rembg_watch.host.disk import Step
from rembg_watch.ledger import Ledger
from rembg_watch.pictures.extras import why_not_made
from rembg_watch.pipeline.contents import Contents
from rembg_watch.pipeline.plan import InForce
from rembg_watch.pipeline.rendering import Render
from rembg_watch.pipeline.shares import Shares
from rembg_watch.pipeline.slots import Slots
from rembg_watch.pipeline.source import MakeProxy, MakeUpright, proxy_here
from rembg_watch.pipeline.trials import Trials
from rembg_watch.report.events import Reporter

Verify = Callable[[Path, Expected], Verified]
"""Says what an answer is; raises if it is not what was asked for."""


@dataclass(frozen=True, kw_only=True)
class Ports:
    """Everything that a picture meets on its way; each part is safe to share between threads."""

    ledger: Ledger
    spool: Spool
    governor: Governor
    in_force: InForce
    report: Reporter
    clocks: Clocks
    stopping: threading.Event
    credits_left: Callable[[], Decimal | None]
    step: Step  # is told of each step that is on disk; tests stop the world there
    slots: Slots
    contents: Contents
    outputs: Outputs
    shares: Shares
    roots: Roots
    places: Places
    try_out: Callable[[Path], None]
    verify: Verify
    upright: MakeUpright
    masters: Masters
    render: Render
    proxy: MakeProxy = proxy_here
    trials: Trials = field(default_factory=Trials)
    thumbnails: Thumbnails = field(default_factory=Thumbnails)
    why_not_made: Callable[[], str] = why_not_made  # what is to be installed before files can be made

    def now(self) -> datetime:
        """Return the present moment, aware, in UTC."""
        return self.clocks.now()

    def has_room(self, needed_bytes: int) -> bool:
        """Say if this machine's disk can keep so large an answer; files that the spool keeps for later yield first."""
        reserve_bytes = self.in_force.plan.reserve_bytes
        if enough_room(self.spool.directory, needed_bytes, reserve_bytes):
            return True
        self.spool.give_back()
        return enough_room(self.spool.directory, needed_bytes, reserve_bytes)
