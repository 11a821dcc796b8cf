"""What was told, and is still to be told, as a note of the ledger: a restart neither forgets nor repeats it."""

import contextlib
from datetime import datetime

from pydantic import TypeAdapter, ValidationError

from rembg_watch.errors import LedgerError
from rembg_watch.ledger.port import Books
from rembg_watch.notify.values import Told

NOTE = "notices"
"""The note that holds it."""

_TOLD: TypeAdapter[Told] = TypeAdapter(Told)


class NoticeBox:
    """
    Keeps what was told; used by one thread.

    What is decided is on disk before it is sent, and what has arrived is before anything else is sent. A ledger that
    takes nothing does not keep people from being told: in this run it is remembered all the same.
    """

    def __init__(self, ledger: Books, now: datetime) -> None:
        self._ledger = ledger
        self.told = self._kept = _read(ledger, now)

    def keep(self, told: Told) -> None:
        """Remember *told* from now on."""
        self.told = told
        if told == self._kept:
            return
        with contextlib.suppress(LedgerError):
            self._ledger.set_note(NOTE, _TOLD.dump_python(told, mode="json"))
            self._kept = told


def _read(ledger: Books, now: datetime) -> Told:
    """Read it back; where it makes no sense, nothing was told."""
    with contextlib.suppress(ValidationError, LedgerError):
        if (note := ledger.note(NOTE)) is not None:
            return _TOLD.validate_python(note)
    return Told.nothing(now)
