"""
The folders that are written to: made at the start where they are missing.

Never below a share that is away, and never in place of a folder that was used before (``delivery.roots``).
"""

import contextlib
import os
from collections.abc import Callable, Collection, Iterable
from pathlib import Path

from rembg_watch.config import Settings, targets, unwritable
from rembg_watch.config.rules import is_away
from rembg_watch.delivery.publish import try_out
from rembg_watch.host.mounts import FSTAB, PROC, Mount, is_bare, mount_of, mounted, unmounted
from rembg_watch.host.silence import silent
from rembg_watch.report import events
from rembg_watch.report.events import Reporter


class TargetFolders:
    """Make the folders that are written to; remember those that could not be made yet."""

    def __init__(
        self,
        report: Reporter,
        *,
        why_away: Callable[[Path], str] = lambda _path: "",  # of a folder that was used before
        proc: Path = PROC,
        fstab: Path = FSTAB,
    ) -> None:
        self._report, self._why_away = report, why_away
        self._proc, self._fstab = proc, fstab
        self._unmade: dict[Path, Mount | None] = {}  # with what each lay on; replaced or shrunk in one step

    def make(self, settings: Settings, silent: Collection[Path] = ()) -> None:
        """
        Make the missing folders, and report those for originals that cannot be written; the others have their service.

        Outputs are reported by whoever tries them out. The *silent* ones do not answer now: they are
        made once they do, if need be.
        """
        written = [(one.output, one.done, one.failed, one.review_dir) for one in settings.folders]
        wanted = [path for paths in written for path in paths]
        missing = [path for path in wanted if path is not None and path not in silent and is_away(path)]
        table = mounted(self._proc)
        self._unmade = {path: mount_of(path, table) for path in missing}
        self.make_missing()
        self._unmade |= {path: None for path in wanted if path is not None and path in silent}
        for folder in settings.folders:
            for place, path in targets(folder, silent).items():
                if place not in _NOT_FOR_ORIGINALS and (why := unwritable(path)):
                    stay = events.OriginalsStay(folder=folder.name, place=place, path=os.fsencode(path), why=why)
                    self._report(stay)

    def make_missing(self) -> None:
        """Make the folders that could not be made before, as far as they can be now and answer."""
        unmade = tuple(self._unmade)
        silences = silent(unmade)
        for path in unmade:
            if path not in silences:
                self._make(path)

    def try_out(self, output: Path) -> None:
        """
        Write a small file into an output, which is made first if it never was there.

        Raises:
            DeliveryError, OSError: It takes nothing.
        """
        self._make(output)
        try_out(output)

    def make_again(self, paths: Iterable[Path]) -> None:
        """Make folders anew that were used before and are missing: a person says that nothing is away."""
        table = mounted(self._proc)
        self._unmade |= {path: mount_of(path, table) for path in paths if is_away(path)}

    def _make(self, path: Path) -> None:
        """Make a folder that could not be made before, if it can be now; never one that was there and went away."""
        unmade = self._unmade
        if (
            path in unmade
            and not self._why_away(path)
            and may_be_made(path, unmade.get(path), proc=self._proc, fstab=self._fstab)
        ):
            with contextlib.suppress(OSError):
                path.mkdir(parents=True, exist_ok=True)
                unmade.pop(path, None)


_NOT_FOR_ORIGINALS = frozenset({"output", "review_dir"})  # whoever writes there says so


def may_be_made(path: Path, before: Mount | None = None, *, proc: Path = PROC, fstab: Path = FSTAB) -> bool:
    """
    Say whether a folder may be made now, or is there already.

    One that should lie on a share that is not mounted now is not made, nor one that lay on
    another mount *before*: cutouts would land on the disk underneath and be hidden by the share later.
    """
    if not is_away(path):  # the look itself may mount a share
        return True
    real = Path(os.path.realpath(path))
    is_hidden = not unmounted(proc, fstab).isdisjoint((real, *real.parents))
    return not (is_hidden or is_bare(before, mount_of(path, mounted(proc))))
