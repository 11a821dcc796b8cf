"""What ``pause`` and ``resume`` asked for is put into force, at the start and while the daemon runs."""

from rembg_watch.account.notes import PAUSES, pauses_from_note
from rembg_watch.account.pauses import paused_folders
from rembg_watch.daemon.assembly import Parts
from rembg_watch.report import events


def obey(parts: Parts) -> None:
    """
    Buy nothing of what is paused now, and go on with what is not any more; each change is reported once.

    Raises:
        LedgerUnavailableError: It cannot be read; what was in force stays so.
    """
    governor = parts.governor
    before, hold = paused_folders(governor.gate), governor.gate.hold
    governor.pause(pauses_from_note(parts.ledger.note(PAUSES)))
    now = paused_folders(governor.gate)
    for name in sorted(now - before):
        parts.ports.report(events.FolderPaused(folder=name))
    for name in sorted(before - now):
        parts.ports.report(events.FolderResumed(folder=name))
    if before - now or governor.gate.hold is not hold:
        parts.under_way.poke()  # the feeder may wait for something else
