"""Whose the folders are, and whether they are the ones that the ledger has used: what a run would wait for."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from rembg_watch.config import Finding, FindingKind, FolderSettings, Settings, Severity
from rembg_watch.config.rules import Where, is_away, places
from rembg_watch.delivery.roots import ADVICE, Roots, Unwritten
from rembg_watch.errors import LedgerError
from rembg_watch.host.locks import Locks
from rembg_watch.jobs import State
from rembg_watch.ledger import Access, Ledger, NoLedgerError, Which, open_ledger
from rembg_watch.pictures.extras import NEEDS_EXTRA
from rembg_watch.report.words import count_text


def findings(settings: Settings, where: Where) -> Iterator[Finding]:
    """Report inputs that another process watches, and folders that are away, whatever stands in their place."""
    locks, ours = Locks(), Locks.of_state(settings.state_dir)
    for number, folder in enumerate(settings.folders):
        holder = locks.holder_of(folder.input)
        if holder is not None and holder.pid != ours:
            what = f"{folder.input} is watched by {holder}: nothing of it is sent from here meanwhile"
            todo = "stop that one, or remove the folder from one of the two configurations"
            at = where(("folders", number, "input"))
            yield Finding(Severity.WARNING, FindingKind.MACHINE, what, where=at, todo=todo)
    try:
        with open_ledger(settings.state_dir, Access.READ) as ledger:
            roots, waiting = Roots(Unwritten(ledger)), _waiting(ledger)
    except NoLedgerError:
        return
    except LedgerError as error:  # whoever runs here ends with it
        yield Finding(Severity.ERROR, FindingKind.MACHINE, str(error), where=where(("state_dir",)))
        return
    for number, folder in enumerate(settings.folders):
        if folder.name in waiting:
            what = f"waiting for an extra in folder {folder.name!r}: {count_text(waiting[folder.name], 'picture')}"
            at = where(("folders", number, "deliver"))
            todo = f'"rembg-watch jobs --state held --folder {folder.name}" says which'
            yield Finding(Severity.WARNING, FindingKind.MACHINE, what, where=at, todo=todo)
        for name, path in _used(folder).items():
            if why := roots.why_away(path):
                what = f"the {name} folder {path} is away: {why}"
                todo = f"mount its disk or share; if it is right as it is, {ADVICE}"
                at = where(("folders", number, name))
                yield Finding(Severity.ERROR, FindingKind.AWAY, what, where=at, todo=todo)


def _waiting(ledger: Ledger) -> Counter[str]:
    """Count the pictures of each folder that something has to be installed for."""
    held = ledger.jobs(Which(states=frozenset({State.HELD})))
    return Counter(job.folder for job in held if job.code == NEEDS_EXTRA)


def _used(folder: FolderSettings) -> dict[str, Path]:
    """Name the folders that may be away; an input that is missing is reported by the configuration."""
    return {name: path for name, path in places(folder).items() if not (name == "input" and is_away(path))}
