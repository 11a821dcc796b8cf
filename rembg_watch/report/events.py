"""
What can be reported: one frozen value for each thing that happens to pictures, folders and the account.

An event knows its facts, its level and its sentence, so that the log, the page and a mail say the
same words. It does not know who listens, when it happened (reporters have clocks) or how it looks.
Whoever reports or listens imports this module; where each event is written down is its own matter.
"""

from collections.abc import Callable

from rembg_watch.report.account_events import *
from rembg_watch.report.daemon_events import *
from rembg_watch.report.daemon_events import ReporterFailed
from rembg_watch.report.event import *
from rembg_watch.report.event import Event
from rembg_watch.report.folder_events import *
from rembg_watch.report.picture_events import *

Reporter = Callable[[Event], None]
"""Whoever gets the events; it must be quick and may be called from any thread."""


def nobody(event: Event) -> None:
    """Report to nobody."""


def fan_out(*reporters: Reporter) -> Reporter:
    """
    Report to every one of *reporters*, whatever the others do.

    A page or a mail server that fails must not stop the pictures. The first failure of
    each reporter is reported to the others; later ones are passed over in silence.
    """
    failed: dict[int, object] = {}

    def report(event: Event) -> None:
        for number, reporter in enumerate(reporters):
            try:
                reporter(event)
            except Exception as error:  # noqa: BLE001 - a reporter's error is not the pictures' concern
                mine = object()
                if failed.setdefault(number, mine) is mine:  # atomic, so that two threads do not both report it
                    report(ReporterFailed(reporter=_name(reporter), error=error))

    return report


def _name(reporter: Reporter) -> str:
    return getattr(reporter, "__qualname__", type(reporter).__name__)
