"""A run that ends by itself: when everything is done, or what is left will not pass soon."""

from rembg_watch.account.causes import CAUSES, Cause
from rembg_watch.daemon.assembly import Parts
from rembg_watch.errors import ExitCode
from rembg_watch.jobs import State
from rembg_watch.ledger import Turn

_PATIENCE_S = 60.0  # so long is waited for what may pass by itself
_REFUSED_PATIENCE_S = 600.0  # and so long for an API that refuses every call as too quick


class Once:
    """Say when a run is done, and what came of it."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._held_since_s: float | None = None

    def is_done(self) -> bool:
        """Say if there is nothing more to do now, or nothing that will pass in a minute."""
        parts = self._parts
        hung = parts.ports.shares.hung()  # nobody waits for those: they are for the next time
        if parts.settling.is_set() or not parts.watcher.is_at_rest_but(hung):
            return False
        if parts.under_way.moving(hung):
            self._held_since_s = None
            return self._is_refused_for_long()
        if self._is_held_for_long():
            return True
        jobs = parts.ledger.counts_by_folder()
        for turn in parts.pool.feeder.turns():
            counts = jobs.get(turn.folder, {})
            if counts.get(State.RECEIVED) or (turn.may_send and counts.get(State.QUEUED) and self._is_soon(turn)):
                return False
        return not parts.under_way.moving(hung)  # what was claimed meanwhile counts as queued, and then as under way

    def _is_soon(self, turn: Turn) -> bool:
        """Say if something of a folder is due in a minute; what needs a person's hand is put off for longer."""
        parts = self._parts
        due_at = parts.ledger.next_due_at([turn.folder], State.QUEUED)
        return due_at is None or (due_at - parts.ports.clocks.now()).total_seconds() <= _PATIENCE_S

    def _is_refused_for_long(self) -> bool:
        hold = self._parts.governor.standstill
        return (
            hold is not None
            and hold.cause is Cause.RATE
            and (self._parts.ports.clocks.now() - hold.since).total_seconds() > _REFUSED_PATIENCE_S
        )

    def _is_held_for_long(self) -> bool:
        """Say if what is waited for will not pass in a minute: then the rest is for the next time."""
        parts = self._parts
        hold = parts.governor.gate.hold
        if hold is None and not parts.ledger.counts()[State.RECEIVED] and not parts.ports.outputs.blocked:
            self._held_since_s = None
            return False
        if hold is not None and not CAUSES[hold.cause].passes and not hold.is_due(parts.ports.clocks.now()):
            return True  # one that is due is being looked at: that may end it
        now_s = parts.ports.clocks.monotonic()
        self._held_since_s = now_s if self._held_since_s is None else self._held_since_s
        return now_s - self._held_since_s > _PATIENCE_S

    def verdict(self) -> ExitCode:
        """Say how a finished run went, as an exit code."""
        parts = self._parts
        hold = parts.governor.gate.hold
        if hold is not None and hold.cause is Cause.KEY:
            return ExitCode.KEY_REFUSED
        if hold is not None and hold.cause is Cause.LEDGER:
            return ExitCode.CONFIG
        counts = parts.ledger.counts()
        waiting = (State.QUEUED, State.SENDING, State.RECEIVED, State.HELD)
        watcher = parts.watcher
        if any(counts[state] for state in waiting) or watcher.unsettled or watcher.shut or not watcher.has_looked:
            return ExitCode.WAITING
        return ExitCode.SOME_FAILED if parts.metrics.read().failed or counts[State.IN_DOUBT] else ExitCode.OK
