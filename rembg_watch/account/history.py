"""
What the account held over time, written down as it is read: what is not kept today can never be known.

Which readings are worth it ``credits`` says. Nobody waits for it, and nothing is decided by it.
"""

from rembg_watch.account.credits import is_to_be_kept
from rembg_watch.host.clocks import Clocks
from rembg_watch.ledger import LedgerUnavailableError, PastBalance
from rembg_watch.ledger.port import Books
from rembg_watch.report.events import CreditsRead, Event


class History:
    """Writes down what readings of the account say; a ``Reporter``."""

    def __init__(self, ledger: Books, clocks: Clocks) -> None:
        self._ledger = ledger
        self._clocks = clocks
        self._known = ledger.last_balance()

    def __call__(self, event: Event) -> None:
        """Keep what was read, if it is worth it; a ledger that takes nothing gets the next one."""
        if not isinstance(event, CreditsRead):
            return
        seen = PastBalance(
            at=self._clocks.now(), included=event.included, prepaid=event.prepaid, period_end_at=event.period_end_at
        )
        if not is_to_be_kept(seen, known=self._known):
            return
        try:
            self._ledger.keep_balance(seen)
        except LedgerUnavailableError:
            return
        self._known = seen
