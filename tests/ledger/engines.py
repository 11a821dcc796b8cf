"""
The databases that a ledger can be kept in, each with what a test has to know of it.

Whoever adds one adds a row to ``ENGINES``: everything in ``conformance`` then holds for it too.
"""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from rembg_watch.ledger import Access, Ledger, open_ledger


class Home(Protocol):
    """Where one ledger lives."""

    def open(self, access: Access = Access.OWN) -> Ledger:
        """Open it; as often as a test likes, and while others have it open."""

    def opening(self, access: Access = Access.OWN) -> str:
        """Return lines of Python that open it in another process, as ``ledger``."""

    def kill(self, ledger: Ledger) -> None:
        """Close it and leave the database as it would be found if the process had been killed instead."""


class InSqlite:
    def __init__(self, state_dir: Path) -> None:
        self._state_dir = state_dir

    def open(self, access: Access = Access.OWN) -> Ledger:
        return open_ledger(self._state_dir, access)

    def opening(self, access: Access = Access.OWN) -> str:
        return (
            "from pathlib import Path\nfrom rembg_watch.ledger import Access, open_ledger\n"
            f"ledger = open_ledger(Path({str(self._state_dir)!r}), Access.{access.name})\n"
        )

    def kill(self, ledger: Ledger) -> None:
        copy = self._state_dir / "copy"
        copy.mkdir()
        for one in self._state_dir.glob("ledger.db*"):
            if not one.name.endswith("-shm"):
                shutil.copy(one, copy)
        ledger.close()
        for one in self._state_dir.glob("ledger.db*"):
            one.unlink()
        for one in copy.iterdir():
            one.rename(self._state_dir / one.name)
        copy.rmdir()


Engine = Callable[[Path], Home]
"""Makes a home that holds nothing yet, given a directory of its own."""

ENGINES: dict[str, Engine] = {"sqlite": InSqlite}
