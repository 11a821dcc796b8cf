"""Which input folders are this process's: one payer for each, from whenever the folder is there."""

import os
from pathlib import Path

from rembg_watch.account.causes import Cause
from rembg_watch.account.governor import Governor
from rembg_watch.account.holds import WHATEVER_OPTIONS
from rembg_watch.daemon.first_look import FirstLooks
from rembg_watch.errors import InputLockedError
from rembg_watch.host.locks import Locks
from rembg_watch.paths import Folder
from rembg_watch.report import events
from rembg_watch.report.events import Reporter
from rembg_watch.watch import Permit


class Ownership(Permit):
    """Take the lock on each input as it arrives; hold the folder while another process has it."""

    def __init__(self, locks: Locks, first_looks: FirstLooks, governor: Governor, report: Reporter) -> None:
        self._locks = locks
        self._first_looks = first_looks
        self._governor = governor
        self._report = report

    def claim(self, folder: Folder) -> bool:
        """Take a folder's input for this process, or keep it; else hold the folder, and say who has it."""
        try:
            self._locks.take_input(Path(folder.input))
        except InputLockedError as taken:
            self._hold(folder, taken)
            return False
        if self._governor.release_folder(folder.name, Cause.TAKEN):
            self._report(events.FolderFree(folder=folder.name))
        return True

    def arrived(self, folder: Folder) -> None:
        """Find out whether a folder is new."""
        self._first_looks.arrived(folder.name)

    def is_new(self, folder: Folder) -> bool:
        """Say whether nothing of a folder may be sent yet."""
        return self._first_looks.is_new(folder.name)

    def looked(self, folder: Folder) -> None:
        """Decide about a new folder."""
        self._first_looks.looked(folder.name)

    def let_go(self, folder: Folder) -> None:
        """Give a folder's input up."""
        self._locks.let_go(Path(folder.input))

    def _hold(self, folder: Folder, taken: InputLockedError) -> None:
        why = f"it is watched by {taken.holder}"
        if self._governor.hold_folder(folder.name, WHATEVER_OPTIONS, cause=Cause.TAKEN, text=why):
            self._report(events.FolderTaken(folder=folder.name, path=os.fsencode(folder.input), by=taken.holder))
