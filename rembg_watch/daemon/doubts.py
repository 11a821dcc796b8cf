"""
Calls that a crash cut off: the account's counters are asked about them before anything is sent.

Nobody waits for that to be READY: it runs in a thread of its own, and the pool starts after it.
"""

import contextlib
import threading
from collections.abc import Sequence

from rembg_watch.account.balance import spent_since_baseline
from rembg_watch.account.credits import Billed, resolve_doubt, settled_after_s
from rembg_watch.account.notes import BASELINE, reading_from_note
from rembg_watch.daemon.assembly import Parts
from rembg_watch.jobs import Job
from rembg_watch.ledger import StaleJobError
from rembg_watch.pipeline import recovery
from rembg_watch.report import events


class Doubts:
    """Start the pool, once nothing is in doubt that the account's counters can tell."""

    def __init__(self, parts: Parts, *, timeout_s: float) -> None:
        self._parts = parts
        self._timeout_s = timeout_s
        self._starting = threading.Lock()  # held while doubts are resolved in the ledger and the pool starts

    def begin(self, unanswered: Sequence[Job]) -> None:
        """Let the pool work, after the account was asked about *unanswered* calls."""
        if not unanswered:
            self._parts.pool.start()
            return
        self._parts.settling.set()
        threading.Thread(target=self._resolve, args=(unanswered,), name="settling", daemon=True).start()

    def wait(self) -> None:
        """Wait until the pool has started, or never will because the program is stopping."""
        with self._starting:
            pass

    def _resolve(self, unanswered: Sequence[Job]) -> None:
        parts = self._parts
        try:
            billed = self._ask_at_rest(unanswered)
            parts.report(events.DoubtsSettled(calls=len(unanswered), billed=billed))
            with self._starting:
                if parts.stopping.is_set():
                    return  # they stay in doubt, and are asked about at the next start
                for job in unanswered:
                    with contextlib.suppress(StaleJobError):
                        recovery.take_up_doubt(parts.ports, job, billed)
                parts.pool.start()
        except Exception as error:  # noqa: BLE001 - without a pool there is nothing to live for
            parts.report(events.Mistake(where="the start", error=error))
            parts.stopping.set()
        finally:
            parts.settling.clear()

    def _ask_at_rest(self, unanswered: Sequence[Job]) -> Billed:
        """
        Let the account's counters say whether the calls were billed, where they can.

        What they have not counted yet they may count in a moment: the API goes on with a call that nobody waits for.
        """
        parts = self._parts
        billed = self._ask(unanswered)
        known_s = min((parts.clocks.now() - job.changed_at).total_seconds() for job in unanswered)
        wait_s = settled_after_s(parts.governor.call_s, self._timeout_s) - max(0.0, known_s)
        if billed in (Billed.NONE, Billed.UNKNOWN) and wait_s > 0:
            parts.report(events.DoubtsAsked(calls=len(unanswered), wait_s=wait_s))
            parts.clocks.wait(parts.stopping, wait_s)
            billed = self._ask(unanswered)
        return billed or Billed.UNKNOWN

    def _ask(self, unanswered: Sequence[Job]) -> Billed | None:
        """Compare the counters with the last reading at rest; None where that can tell nothing, now or later."""
        ledger, balance = self._parts.ledger, self._parts.balance
        before = reading_from_note(ledger.note(BASELINE))
        if before is None:
            return None
        spent = spent_since_baseline(ledger)
        if spent.in_doubt != len(unanswered):
            return None  # older doubts are mixed in: the sum says nothing about these
        after = balance.peek()
        if after is None:
            return None
        return resolve_doubt(before, after, len(unanswered), each=self._parts.plan.terms.price, counted=spent.charged)
