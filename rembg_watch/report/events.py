"""
What can be reported: one frozen value for each thing that happens to pictures, folders and the account.

An event knows its facts, its level and its sentence, so that the log, the page and a mail say the
same words. It does not know who listens, when it happened (reporters have clocks) or how it looks.
Whoever reports or listens imports this module; where each event is written down is its own matter.
"""

# ruff: noqa: I001 - one list of names for each subject

from collections.abc import Callable

from rembg_watch.report.account_events import (
    BRIEF_S as BRIEF_S,
    LONG_S as LONG_S,
    LOOKS as LOOKS,
    AccountDiffers as AccountDiffers,
    BatchFormed as BatchFormed,
    CreditsRead as CreditsRead,
    FailuresCost as FailuresCost,
    GateOpened as GateOpened,
    GateShut as GateShut,
    Pause as Pause,
    RateLearned as RateLearned,
    looks as looks,
)
from rembg_watch.report.daemon_events import (
    ClockSetBack as ClockSetBack,
    DiskFree as DiskFree,
    DiskFull as DiskFull,
    DoubtsAsked as DoubtsAsked,
    DoubtsSettled as DoubtsSettled,
    FewerWorkers as FewerWorkers,
    LedgerPruned as LedgerPruned,
    Mistake as Mistake,
    NoThreads as NoThreads,
    Recovered as Recovered,
    Reloaded as Reloaded,
    ReloadRefused as ReloadRefused,
    ReporterFailed as ReporterFailed,
    Retried as Retried,
    Started as Started,
    Stopped as Stopped,
    Stopping as Stopping,
    Stuck as Stuck,
    Unstuck as Unstuck,
)
from rembg_watch.report.event import (
    IN_SENTENCE as IN_SENTENCE,
    Condition as Condition,
    Event as Event,
    Fact as Fact,
    FolderEvent as FolderEvent,
    Level as Level,
    PictureEvent as PictureEvent,
    facts as facts,
    kind as kind,
    of as of,
)
from rembg_watch.report.folder_events import (
    Enqueued as Enqueued,
    FolderOffline as FolderOffline,
    FolderOnline as FolderOnline,
    Found as Found,
    ObserverRebuilt as ObserverRebuilt,
    Overflowed as Overflowed,
    PassedOver as PassedOver,
    Polling as Polling,
    Rescanned as Rescanned,
    Settled as Settled,
    Unsettled as Unsettled,
)
from rembg_watch.report.picture_events import (
    CallEnded as CallEnded,
    CallStarted as CallStarted,
    Delivered as Delivered,
    Disposed as Disposed,
    Failed as Failed,
    Held as Held,
    InDoubt as InDoubt,
    NameRefused as NameRefused,
    NotDisposed as NotDisposed,
    OriginalsStay as OriginalsStay,
    OutputBlocked as OutputBlocked,
    OutputFree as OutputFree,
    Released as Released,
    Reused as Reused,
    Vanished as Vanished,
    WillRetry as WillRetry,
)

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
