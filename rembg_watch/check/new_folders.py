"""What a first look at a folder would find: more pictures than are paid for unasked, or their cut-outs already."""

import os
from collections.abc import Iterator
from pathlib import Path

from rembg_watch.account.causes import Cause
from rembg_watch.account.notes import GATE, gate_from_note
from rembg_watch.config import Finding, FindingKind, FolderSettings, Settings, Severity
from rembg_watch.config.rules import Where
from rembg_watch.delivery import earlier
from rembg_watch.errors import LedgerError
from rembg_watch.jobs import Version
from rembg_watch.ledger import FILE_NAME, Access, open_ledger
from rembg_watch.paths import Folder, accepts_name, enters
from rembg_watch.pipeline import standing_files

_MOST = 300_000


def findings(settings: Settings, where: Where) -> Iterator[Finding]:
    """Say what waits for a person by the ledger, or, where there is none yet, what the first run would wait for."""
    places = {one.name: where(("folders", number, "input")) for number, one in enumerate(settings.folders)}
    try:
        stands = (settings.state_dir / FILE_NAME).exists()
    except PermissionError:
        return  # whose it is, ``standing`` says
    if stands:
        yield from _held(settings, places)
        return
    for folder in settings.folders:
        pictures = dict(_pictures(folder.folder()))
        wanted = [
            settings.deliverables[name].deliverable(name) for name in folder.deliver if name in settings.deliverables
        ]
        delivered = standing_files.count(folder.output, wanted, folder.naming(), pictures.items())
        if earlier.is_telling(delivered, len(pictures)):
            yield _delivered(folder, delivered, len(pictures), places[folder.name])
        elif settings.credits.ask_above and len(pictures) > settings.credits.ask_above:
            yield _many(folder, len(pictures), settings.credits.ask_above, places[folder.name])


def _held(settings: Settings, places: dict[str, str]) -> Iterator[Finding]:
    try:
        with open_ledger(settings.state_dir, Access.READ) as ledger:
            held = gate_from_note(ledger.note(GATE)).folders
    except LedgerError:
        return  # whoever runs says why
    for hold in held:
        if hold.folder in places and hold.text and hold.cause in (Cause.BRAKE, Cause.DELIVERED):
            what = f"nothing of {hold.folder} is sent: {hold.text}"
            yield Finding(Severity.WARNING, FindingKind.MACHINE, what, where=places[hold.folder])


def _delivered(folder: FolderSettings, delivered: int, pictures: int, where: str) -> Finding:
    what = (
        f"{delivered:,} of {pictures:,} pictures in {folder.input} seem to be delivered already, and there is no "
        "ledger yet: the first run pays for nothing there and waits for you"
    )
    todo = f'"rembg-watch adopt --folder {folder.name}" takes them over after that, "retry --folder" sends them'
    return Finding(Severity.WARNING, FindingKind.MACHINE, what, where=where, todo=todo)


def _many(folder: FolderSettings, pictures: int, above: int, where: str) -> Finding:
    what = (
        f"{folder.input} holds {pictures:,} pictures, and nothing has run yet: with more than {above:,} to be paid for "
        "(credits.ask_above) the first run waits for you"
    )
    todo = f'"rembg-watch once --dry-run" says what it costs, "rembg-watch retry --folder {folder.name}" lets it go'
    return Finding(Severity.NOTE, FindingKind.MACHINE, what, where=where, todo=todo)


def _pictures(folder: Folder) -> Iterator[tuple[bytes, Version]]:
    """Yield what would be sent by its name, without following links; what cannot be read is told elsewhere."""
    waiting, seen = [b""], 0
    while waiting and seen < _MOST:
        parent = waiting.pop()
        try:
            with os.scandir(os.fsencode(Path(folder.input)) + (b"/" + parent if parent else b"")) as entries:
                found = list(entries)
        except OSError:
            continue
        seen += len(found)
        for entry in found:
            source = parent + b"/" + entry.name if parent else entry.name
            try:
                if entry.is_dir(follow_symlinks=False):
                    waiting += [source] if enters(folder, source) else []
                elif entry.is_file(follow_symlinks=False) and accepts_name(folder, parent, entry.name):
                    stat = entry.stat(follow_symlinks=False)
                    yield source, Version(size_bytes=stat.st_size, mtime_ns=stat.st_mtime_ns, inode=stat.st_ino)
            except OSError:
                continue
