"""
What a configuration must not say although each value is possible: contradictions, and folders that cannot work.

The disk is looked at, nothing on it is changed; ``check`` is what tries writing.
"""

import os
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from datetime import time
from pathlib import Path

from rembg_watch.api.params import parameter_problems
from rembg_watch.config import recipes
from rembg_watch.config.findings import Finding, FindingKind, Severity
from rembg_watch.config.origins import Loc, dotted
from rembg_watch.config.settings import FolderOptions, FolderSettings, Settings
from rembg_watch.host.owners import owner_of
from rembg_watch.paths import Folder, folder_problems
from rembg_watch.pictures.deliverable import SIDECAR
from rembg_watch.pictures.naming import tokens_of

Where = Callable[[Loc], str]


def problems(
    settings: Settings, *, where: Where | None = None, on_disk: bool = True, silent: Collection[Path] = ()
) -> list[Finding]:
    """
    List everything that is wrong with *settings*, on paper and *on_disk*, all at once.

    *where* names the place of a setting; by default, table and key. What is *silent* is not looked at.
    """
    found = [
        *_no_folders(settings),
        *_names(settings),
        *_afters(settings),
        *_options(settings),
        *_deliverables(settings),
        *recipes.on_paper(settings),
        *_notices(settings),
    ]
    if on_disk:
        found += [*_overlaps(settings, silent), *_state_dir(settings), *_silent(settings, silent)]
        found += [*_inputs(settings, silent), *_targets(settings, silent), *recipes.on_disk(settings)]
    where = where or dotted
    return [Finding(severity, kind, what, where=where(loc), todo=todo) for severity, kind, loc, what, todo in found]


_Row = tuple[Severity, FindingKind, Loc, str, str]


def _error(kind: FindingKind, loc: Loc, what: str, todo: str) -> _Row:
    return Severity.ERROR, kind, loc, what, todo


def _no_folders(settings: Settings) -> Iterator[_Row]:
    if not settings.folders:
        todo = "add [[folders]] with name, input and output"
        yield _error(FindingKind.NO_FOLDERS, ("folders",), "no folder is watched", todo)


def _names(settings: Settings) -> Iterator[_Row]:
    count = Counter(folder.name for folder in settings.folders)
    seen: set[str] = set()
    for number, folder in enumerate(settings.folders):
        if count[folder.name] > 1 and folder.name in seen:
            what = f'the name "{folder.name}" is taken by a folder above'
            yield _error(FindingKind.SETTING, ("folders", number, "name"), what, "give each folder a name of its own")
        seen.add(folder.name)


def _afters(settings: Settings) -> Iterator[_Row]:
    for number, folder in enumerate(settings.folders):
        if folder.after == "move" and folder.done is None:
            what, todo = 'after = "move" needs to know where to', "set done to a folder for the originals"
            yield _error(FindingKind.SETTING, ("folders", number, "after"), what, todo)
        if folder.after != "move" and folder.done is not None:
            what = f'done is not used with after = "{folder.after}"'
            todo = 'set after = "move", or remove done'
            yield Severity.WARNING, FindingKind.SETTING, ("folders", number, "done"), what, todo


def _options(settings: Settings) -> Iterator[_Row]:
    for number, folder in enumerate(settings.folders):
        loc: Loc = ("folders", number, "options")
        values = folder.options.model_dump()
        for problem in parameter_problems(values):
            todo = "correct it: the API would refuse every picture of this folder"
            yield _error(FindingKind.SETTING, (*loc, *filter(None, [problem.field])), problem.message.rstrip("."), todo)
        if folder.options.exact_resize and (folder.options.w is None or folder.options.h is None):
            what = "exact_resize forces a size, but w and h do not both say which"
            yield Severity.WARNING, FindingKind.SETTING, (*loc, "exact_resize"), what, "set both w and h, or remove it"


def _made_of_nothing(folder: FolderSettings, loc: Loc) -> Iterator[_Row]:
    known = folder.naming().known() - frozenset(folder.tokens) - {"ext"}
    for name, one in folder.tokens.items():
        if one.source not in known:
            what = f'the token {{{name}}} is made from "{one.source}", which is no token'
            todo = f"find it by read_name, or take one of these: {', '.join(sorted(known))}"
            yield _error(FindingKind.SETTING, (*loc, "tokens", name, "from"), what, todo)


def _deliverables(settings: Settings) -> Iterator[_Row]:
    for number, folder in enumerate(settings.folders):
        loc: Loc = ("folders", number)
        for name in folder.deliver:
            if name == SIDECAR:
                what, todo = f'"{SIDECAR}" is what a sidecar is called', "give the deliverable another name"
                yield _error(FindingKind.SETTING, (*loc, "deliver"), what, todo)
            if name not in settings.deliverables:
                known = ", ".join(settings.deliverables) or "none"
                what = f"there is no [deliverables.{name}]"
                todo = f"define it, or name one of these: {known}"
                yield _error(FindingKind.SETTING, (*loc, "deliver"), what, todo)
                continue
            unknown = sorted(set(tokens_of(settings.deliverables[name].path)) - folder.naming().known())
            if unknown:
                tokens = ", ".join(f"{{{one}}}" for one in unknown)
                what = f'[deliverables.{name}] path uses {tokens}, which the folder "{folder.name}" does not know'
                known = " ".join(f"{{{one}}}" for one in sorted(folder.naming().known()))
                todo = f"find it by read_name or tokens, leave it out, or take one of these: {known}"
                yield _error(FindingKind.SETTING, (*loc, "deliver"), what, todo)
        yield from _made_of_nothing(folder, loc)
        if len(set(folder.deliver)) < len(folder.deliver):
            what, todo = "names a deliverable twice", "name each once"
            yield _error(FindingKind.SETTING, (*loc, "deliver"), what, todo)
        if folder.deliver and folder.options != FolderOptions():
            what = "[folders.options] does not count in a folder that delivers"
            todo = "say it by the deliverables, and remove the options"
            yield _error(FindingKind.SETTING, (*loc, "options"), what, todo)
        if folder.deliver and folder.master == "mask" and folder.after == "delete":
            what = 'after = "delete" with master = "mask": of a picture whose original is gone nothing more can be made'
            todo = 'keep or move the originals, or set master = "cutout"'
            yield Severity.WARNING, FindingKind.SETTING, (*loc, "master"), what, todo


def _notices(settings: Settings) -> Iterator[_Row]:
    notify, at = settings.notify, settings.notify.digest_at()
    if at is not None and (hours := notify.quiet_hours()) is not None and is_within(at, hours):
        what = f"the digest of {notify.digest} waits for the end of the quiet hours ({notify.quiet})"
        todo = "set a time outside of them, if that is not meant"
        yield Severity.WARNING, FindingKind.SETTING, ("notify", "digest"), what, todo


def is_within(at: time, hours: tuple[time, time]) -> bool:
    """Say whether a time of day lies in *hours*, which may go over midnight; their end does not."""
    begin, end = hours
    return begin <= at < end if begin < end else at >= begin or at < end


def places(folder: FolderSettings) -> dict[str, Path]:
    """Name every folder that belongs to *folder*."""
    named = {"input": folder.input, "output": folder.output, "done": folder.done, "failed": folder.failed}
    named["review_dir"] = folder.review_dir
    return {name: path for name, path in named.items() if path is not None}


def all_places(settings: Settings) -> frozenset[Path]:
    """Name every folder that is watched or written to."""
    return frozenset(path for folder in settings.folders for path in places(folder).values())


def _silent(settings: Settings, silent: Collection[Path]) -> Iterator[_Row]:
    for number, folder in enumerate(settings.folders):
        for name, path in places(folder).items():
            if path in silent:
                what = f"the {name} folder {path} does not answer: the share or disk that it is on hangs"
                todo = "see that its server is there, or unmount it; the other folders have their service meanwhile"
                yield _error(FindingKind.AWAY, ("folders", number, name), what, todo)


_PLACE = re.compile(r'the (input|output|done|failed|review_dir)(?: folder)? of folder "(.+?)" \(')


def _overlaps(settings: Settings, silent: Collection[Path]) -> Iterator[_Row]:
    """Tell which folders get into each other's way, however links and bind mounts disguise it."""
    names = [folder.name for folder in settings.folders]
    roots = _Roots(silent)
    folders = [
        Folder(
            name=folder.name,
            input=roots.resolved(folder.input),
            output=roots.resolved(folder.output),
            done=folder.done and roots.resolved(folder.done),
            failed=folder.failed and roots.resolved(folder.failed),
            review_dir=folder.review_dir and roots.resolved(folder.review_dir),
        )
        for folder in settings.folders
    ]
    for problem in folder_problems(folders, roots.resolved(settings.state_dir)):
        what, _, todo = problem.rpartition("; ")
        places = [(role, name) for role, name in _PLACE.findall(what) if name in names]
        movable = [place for place in places if place[0] != "input"] or places
        role, name = movable[-1] if movable else ("", "")
        loc: Loc = ("folders", names.index(name), role) if movable else ("folders",)
        yield _error(FindingKind.SETTING, loc, what, todo)


class _Roots:
    """Give each directory one path: links are resolved, and what is mounted twice goes by its first name."""

    def __init__(self, silent: Collection[Path] = ()) -> None:
        self._silent = silent
        self._known: dict[tuple[int, int], Path] = {}

    def resolved(self, path: Path) -> Path:
        """Return the one path of *path*, which need not exist; of one that does not answer, the one that is given."""
        if path in self._silent:
            return Path(os.path.normpath(path))
        real = Path(os.path.realpath(path))
        for step in (real, *real.parents):
            if known := self._known.get(_identity(step)):
                return known / real.relative_to(step)
        if (identity := _identity(real)) != _NOWHERE:
            self._known[identity] = real
        return real


_NOWHERE = (0, 0)


def _identity(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except OSError:
        return _NOWHERE
    return found.st_dev, found.st_ino


def _state_dir(settings: Settings) -> Iterator[_Row]:
    path = settings.state_dir
    if complaint := unwritable(path):
        what = f"ledger and spool cannot be kept in {path}: {complaint}"
        yield _error(FindingKind.STATE, ("state_dir",), what, _state_advice(path, complaint))


def _state_advice(path: Path, complaint: str) -> str:
    """Say what to do; where a ledger may stand already, another one would pay for every picture again."""
    if is_away(path) or complaint in (_NO_FOLDER, _READ_ONLY):
        return "let this user write there, or set another state_dir on a local disk"
    owner = owner_of(path)
    return (
        f"it belongs to {owner}: run this as {owner}, or give the folder to this user. With another state_dir, every "
        "picture that still stands in an input would be paid for again"
    )


def _inputs(settings: Settings, silent: Collection[Path]) -> Iterator[_Row]:
    for number, folder in enumerate(settings.folders):
        loc: Loc = ("folders", number, "input")
        if folder.input in silent:
            continue
        if is_away(folder.input):
            what = f"the input folder {folder.input} does not exist"
            yield _error(FindingKind.AWAY, loc, what, "create it, mount its share, or correct the path")
        elif complaint := _unreadable(folder.input):
            what = f"the input folder {folder.input} cannot be watched: {complaint}"
            kind = FindingKind.PLACE if complaint == _NO_FOLDER else FindingKind.ACCESS
            yield _error(kind, loc, what, "let this user read and enter it, or correct the path")


def _targets(settings: Settings, silent: Collection[Path]) -> Iterator[_Row]:
    for number, folder in enumerate(settings.folders):
        for name, path in targets(folder, silent).items():
            if complaint := unwritable(path):
                kind = FindingKind.PLACE if complaint == _NO_FOLDER else FindingKind.ACCESS
                kind = FindingKind.AWAY if is_away(path) else kind
                what = f"the {name} folder {path} cannot be written: {complaint}"
                yield _error(kind, ("folders", number, name), what, _ACCESS if complaint != _READ_ONLY else _SANDBOX)


_NO_FOLDER = "it is not a folder"
_READ_ONLY = "the disk is mounted read-only"
_ACCESS = "let this user write there, or correct the path"
_SANDBOX = (
    "let this user write there (a service: write its drop-in anew with `rembg-watch init --systemd` and restart it), "
    "or correct the path"
)


def targets(folder: FolderSettings, silent: Collection[Path] = ()) -> dict[str, Path]:
    """
    Name the folders that will be written for *folder*; originals that are moved or deleted need their own too.

    Those that are *silent* are left out: to look at one would never end.
    """
    written = {"output": folder.output, "failed": folder.failed, "review_dir": folder.review_dir}
    if folder.after == "move":
        written["done"] = folder.done
    takes_away = folder.after != "keep" or folder.failed is not None
    if takes_away and folder.input not in silent and not is_away(folder.input):
        written["input"] = folder.input
    return {name: path for name, path in written.items() if path is not None and path not in silent}


def is_away(path: Path) -> bool:
    """Say whether *path* is not there now; a path that must not be looked at counts as there."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False


def _unreadable(path: Path) -> str:
    """Say what keeps *path*, which is there, from being watched."""
    if os.access(path, os.F_OK) and not path.is_dir():
        return _NO_FOLDER
    return "" if os.access(path, os.R_OK | os.X_OK) else "permission denied"


def unwritable(path: Path) -> str:
    """Say what keeps *path* from being written, or from being created under the nearest folder that exists."""
    standing = next(step for step in (path, *path.parents) if not is_away(step))
    if os.access(standing, os.F_OK) and not standing.is_dir():
        return _NO_FOLDER if standing == path else f"{standing} is not a folder"
    if os.access(standing, os.W_OK | os.X_OK):
        return ""
    reason = _READ_ONLY if _is_read_only(standing) else "permission denied"
    return reason if standing == path else f"it is missing and cannot be created in {standing}: {reason}"


def _is_read_only(path: Path) -> bool:
    try:
        return bool(os.statvfs(path).f_flag & os.ST_RDONLY)
    except OSError:
        return False
