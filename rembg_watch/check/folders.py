"""
Try out every folder: read the inputs; write, claim and remove a file wherever the service will write.

``config`` already reports what can be seen without trying. This module reports what only a
trial shows, and what kind of file system each folder is on.
"""

import contextlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from rembg_watch.config import Finding, FindingKind, FolderSettings, Settings, Severity
from rembg_watch.config.rules import Where, is_away, targets
from rembg_watch.delivery.publish import try_out
from rembg_watch.host import disk
from rembg_watch.host.mounts import Mount, mount_of, mounted

_MOST_ENTRIES = 300_000


def findings(settings: Settings, trees: "Mapping[Path, Tree]", *, proc: Path, where: Where) -> Iterator[Finding]:
    """Report the folders that cannot be used as configured; *where* says where a setting is in the configuration."""
    table = mounted(proc)
    yield from _state_dir(settings, table, where(("state_dir",)))
    for number, folder in enumerate(settings.folders):
        places = {name: where(("folders", number, name)) for name in ("input", "output", "done", "failed")}
        if tree := trees.get(folder.input):
            yield from _input(folder, tree, places["input"])
            yield from _polled(folder, settings, mount_of(folder.input, table), places["input"])
        for name, path in targets(folder).items():
            yield from _written(path, where=places[name], what=f"the {name} folder")
        yield from _moving(folder, places["done"])


def trees(settings: Settings) -> "dict[Path, Tree]":
    """Count what is in each input folder that exists."""
    return {folder.input: counted(folder.input) for folder in settings.folders if not is_away(folder.input)}


def _written(path: Path, *, where: str, what: str) -> Iterator[Finding]:
    if path.is_dir() and os.access(path, os.W_OK | os.X_OK) and (complaint := tried(path)):
        said = f"{what} {path} cannot be used: {complaint}"
        todo = "let this user create, rename and remove files there, or choose another folder"
        yield Finding(Severity.ERROR, FindingKind.ACCESS, said, where=where, todo=todo)


def tried(path: Path) -> str:
    """Write, claim, sync and remove a small file in *path*, as publishing does; say what failed."""
    try:
        try_out(path)
    except disk.DeliveryError as error:
        return error.reason
    return ""


def _state_dir(settings: Settings, table: list[Mount], where: str) -> Iterator[Finding]:
    path = settings.state_dir
    yield from _written(path, where=where, what="the state folder")
    mount = mount_of(path, table)
    if mount is None:
        return
    if mount.is_share:
        what = f"the state folder {path} is on {mount.kind}, where a ledger is not safe"
        todo = "set state_dir to a folder on a local disk"
    elif mount.is_volatile:
        what = f"the state folder {path} is on {mount.kind}: what was paid for is forgotten at the next restart"
        todo = "set state_dir to a folder on a disk that survives a restart"
    else:
        return
    yield Finding(Severity.WARNING, FindingKind.MACHINE, what, where=where, todo=todo)


@dataclass
class Tree:
    """The numbers of directories and files under one input folder."""

    directories: int = 0
    files: int = 0
    unreadable: list[bytes] = field(default_factory=list)
    is_whole: bool = True  # False: there was more than is counted here


def counted(root: Path) -> Tree:
    """Walk *root* without following links: count what is there, and list what cannot be read."""
    tree, waiting = Tree(), [os.fsencode(root)]
    while waiting and tree.directories + tree.files < _MOST_ENTRIES:
        path = waiting.pop()
        tree.directories += 1
        try:
            with os.scandir(path) as entries:
                _count(entries, tree, waiting)
        except OSError:
            tree.unreadable.append(path)
    tree.is_whole = not waiting
    return tree


def _count(entries: Iterator[os.DirEntry[bytes]], tree: Tree, waiting: list[bytes]) -> None:
    for entry in entries:
        with contextlib.suppress(OSError):
            if entry.is_dir(follow_symlinks=False):
                waiting.append(entry.path)
            elif entry.is_file(follow_symlinks=False):
                tree.files += 1
                if not os.access(entry.path, os.R_OK):
                    tree.unreadable.append(entry.path)


def _input(folder: FolderSettings, tree: Tree, where: str) -> Iterator[Finding]:
    if tree.unreadable:
        first = disk.shown(Path(os.fsdecode(tree.unreadable[0])))
        what = f"{len(tree.unreadable)} of the files and folders in {folder.input} cannot be read, the first is {first}"
        todo = "let this user read them, or they will never be sent"
        yield Finding(Severity.WARNING, FindingKind.ACCESS, what, where=where, todo=todo)


def _polled(folder: FolderSettings, settings: Settings, mount: Mount | None, where: str) -> Iterator[Finding]:
    if mount is None or not mount.hides_changes:
        return
    what = f"{folder.input} is on {mount.kind}, which does not report every change"
    every = f"{settings.watch.scan_interval_s:g} s"
    if settings.watch.mode == "events":
        todo = f'set mode = "auto" under [watch]; until then a scan finds new files every {every}'
        yield Finding(Severity.WARNING, FindingKind.MACHINE, what, where=where, todo=todo)
    else:
        what = f"{what}: the folder is scanned every {every}"
        yield Finding(Severity.NOTE, FindingKind.MACHINE, what, where=where)


def _moving(folder: FolderSettings, where: str) -> Iterator[Finding]:
    """Originals that go to another disk are copied and then removed, which is slow."""
    if folder.after != "move" or folder.done is None:
        return
    with contextlib.suppress(OSError):
        if folder.done.stat().st_dev != folder.input.stat().st_dev:
            what = f"{folder.done} is not on the same disk as {folder.input}: originals are copied there, then removed"
            yield Finding(Severity.NOTE, FindingKind.MACHINE, what, where=where)
