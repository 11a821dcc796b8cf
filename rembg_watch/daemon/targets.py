"""The folders that are written to: made at the start where they are missing, but never below a share that is away."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from rembg_watch.config import Settings, targets, unwritable
from rembg_watch.config.rules import is_away
from rembg_watch.delivery.publish import try_out
from rembg_watch.host.mounts import FSTAB, PROC, unmounted
from rembg_watch.report import events
from rembg_watch.report.events import Reporter


class Targets:
    """Make the folders that are written to; remember those that could not be made yet."""

    def __init__(self, report: Reporter) -> None:
        self._report = report
        self._unmade: set[Path] = set()  # only ever replaced or shrunk, each in one step

    def make(self, settings: Settings) -> None:
        """
        Make the missing folders, and report those for originals that cannot be written; the others have their service.

        Outputs are reported by whoever tries them out.
        """
        self._unmade = set(missing_targets(settings))
        self.make_missing()
        for folder in settings.folders:
            for place, path in targets(folder).items():
                if place != "output" and (why := unwritable(path)):
                    stay = events.OriginalsStay(folder=folder.name, place=place, path=os.fsencode(path), why=why)
                    self._report(stay)

    def make_missing(self) -> None:
        """Make the folders that could not be made before, as far as they can be now."""
        for path in tuple(self._unmade):
            self._make(path)

    def try_out(self, output: Path) -> None:
        """
        Write a small file into an output, which is made first if it never was there.

        Raises:
            DeliveryError, OSError: It takes nothing.
        """
        self._make(output)
        try_out(output)

    def _make(self, path: Path) -> None:
        """Make a folder that could not be made before, if it can be now; never one that was there and went away."""
        if path in self._unmade:
            with contextlib.suppress(OSError):
                path.mkdir(parents=True, exist_ok=True)
                self._unmade.discard(path)


def missing_targets(settings: Settings, *, proc: Path = PROC, fstab: Path = FSTAB) -> Iterator[Path]:
    """
    Name the output, done and failed folders that are to be made.

    One that should lie on a share that is not mounted now is not made: cutouts would
    land on the disk underneath and be hidden by the share later.
    """
    wanted = [path for folder in settings.folders for path in (folder.output, folder.done, folder.failed)]
    missing = [path for path in wanted if path is not None and is_away(path)]  # the look itself may mount a share
    awaited = unmounted(proc, fstab)
    for path in missing:
        real = Path(os.path.realpath(path))
        if awaited.isdisjoint((real, *real.parents)):
            yield path
