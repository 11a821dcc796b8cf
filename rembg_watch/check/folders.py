"""
Try out every folder: read the inputs; write, claim and remove a file wherever the service will write.

``config`` already reports what can be seen without trying. This module reports what only a
trial shows, and what kind of file system each folder is on.
"""

import contextlib
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from rembg_watch.config import Finding, FindingKind, FolderSettings, Settings, Severity
from rembg_watch.config.rules import Where, is_away, targets
from rembg_watch.delivery.publish import try_out
from rembg_watch.host import disk
from rembg_watch.host.mounts import Mount, mount_of, mounted
from rembg_watch.passed_over import (
    Passed,
    Why,
    can_match_a_picture,
    is_worth_a_line,
    leaves_out_knowingly,
    left_out,
    passed,
)
from rembg_watch.paths import PICTURE_SUFFIXES, Folder, accepts_name, enters, is_junk
from rembg_watch.report.screen import passed_over_text
from rembg_watch.report.status import passed_over_view
from rembg_watch.report.words import count_text
from rembg_watch.watch import files_below

_SETTINGS = ("input", "output", "done", "failed", "review_dir", "include", "exclude")
_MOST_ENTRIES = 300_000


def findings(settings: Settings, trees: "Mapping[Path, Tree]", *, proc: Path, where: Where) -> Iterator[Finding]:
    """Report the folders that cannot be used as configured; *where* says where a setting is in the configuration."""
    table = mounted(proc)
    yield from _state_dir(settings, table, where(("state_dir",)))
    for number, folder in enumerate(settings.folders):
        places = {name: where(("folders", number, name)) for name in _SETTINGS}
        yield from _patterns(folder, places)
        if tree := trees.get(folder.input):
            yield from _input(folder, tree, places["input"])
            yield from _polled(folder, settings, mount_of(folder.input, table), places["input"])
        for name, path in targets(folder).items():
            yield from _written(path, where=places[name], what=f"the {name} folder")
        yield from _moving(folder, places["done"])


def trees(settings: Settings) -> "dict[Path, Tree]":
    """Count what is in each input folder that exists."""
    return {one.input: counted(one.input, one.folder()) for one in settings.folders if not is_away(one.input)}


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
    pictures: int = 0  # of them, those that are sent
    passed: "Counter[Passed]" = field(default_factory=Counter)  # what is knowingly not sent
    unreadable: list[bytes] = field(default_factory=list)
    is_whole: bool = True  # False: there was more than is counted here


def counted(root: Path, folder: Folder) -> Tree:
    """Walk *root* without following links: count what is there, and list what cannot be read."""
    tree, waiting, top = Tree(), [b""], os.fsencode(root)
    while waiting and tree.directories + tree.files < _MOST_ENTRIES:
        directory = waiting.pop()
        path = top + b"/" + directory if directory else top
        tree.directories += 1
        try:
            with os.scandir(path) as entries:
                for entry in entries:
                    _count(entry, directory, folder, tree, waiting)
        except OSError:
            tree.unreadable.append(path)
    tree.is_whole = not waiting
    return tree


def _count(entry: os.DirEntry[bytes], directory: bytes, folder: Folder, tree: Tree, waiting: list[bytes]) -> None:
    try:
        if not entry.is_dir(follow_symlinks=False):
            _count_file(entry, directory, folder, tree)
            return
    except OSError:
        tree.unreadable.append(entry.path)
        return
    source = directory + b"/" + entry.name if directory else entry.name
    if enters(folder, source):
        waiting.append(source)
    else:
        tree.passed.update({left_out(entry.name): files_below(entry.path)})


def _count_file(entry: os.DirEntry[bytes], directory: bytes, folder: Folder, tree: Tree) -> None:
    is_file, is_picture = entry.is_file(follow_symlinks=False), accepts_name(folder, directory, entry.name)
    tree.files += is_file
    tree.pictures += is_file and is_picture
    if is_file and is_picture:
        if not os.access(entry.path, os.R_OK):
            tree.unreadable.append(entry.path)
    elif one := passed(folder, directory, entry.name, is_link=entry.is_symlink(), is_special=is_picture):
        tree.passed[one] += 1


def _input(folder: FolderSettings, tree: Tree, where: str) -> Iterator[Finding]:
    if tree.unreadable:
        first = disk.shown(Path(os.fsdecode(tree.unreadable[0])))
        what = f"{len(tree.unreadable)} of the files and folders in {folder.input} cannot be read, the first is {first}"
        todo = "let this user read them, or they will never be sent"
        yield Finding(Severity.WARNING, FindingKind.ACCESS, what, where=where, todo=todo)
    kept_back = sum(n for one, n in tree.passed.items() if _is_picture_left_out(one))
    if kept_back and not tree.pictures and tree.is_whole:
        what = f"include and exclude leave out all that is there: {count_text(kept_back, 'picture')} in {folder.input}"
        todo = 'nothing is sent; correct the patterns: they begin below input and have / between names ("**/*.jpg")'
        yield Finding(Severity.WARNING, FindingKind.SETTING, what, where=where, todo=todo)
    tree.passed += Counter()  # without what counts nothing
    if tree.passed:
        numbers = passed_over_view({folder.name: tree.passed})
        severity = Severity.WARNING if any(map(is_worth_a_line, tree.passed)) else Severity.NOTE
        what = f"in {folder.input} {passed_over_text(numbers, most=10)}"
        todo = 'export pictures as JPEG, PNG, WebP or BMP, or leave them out knowingly (exclude = ["**/*.nef"])' * (
            severity is Severity.WARNING
        )
        yield Finding(severity, FindingKind.SETTING, what, where=where, todo=todo)


def _is_picture_left_out(one: Passed) -> bool:
    return one.why in (Why.INCLUDE, Why.EXCLUDE) and os.fsencode(one.kind) in PICTURE_SUFFIXES


def _patterns(folder: FolderSettings, places: Mapping[str, str]) -> Iterator[Finding]:
    """Report patterns that can match no picture."""
    for name, patterns in (("include", folder.include), ("exclude", folder.exclude)):
        for pattern in patterns:
            if not can_match_a_picture(pattern) and not (name == "exclude" and leaves_out_knowingly(pattern)):
                what = f'the pattern "{pattern}" in {name} of folder "{folder.name}" can match no picture that is sent'
                yield Finding(Severity.WARNING, FindingKind.SETTING, what, where=places[name], todo=_meant(pattern))


def _meant(pattern: str) -> str:
    """Say what to write in place of a pattern that can match no picture."""
    if can_match_a_picture(bare := pattern.removeprefix("./")):
        return f'take it out, or say what is meant, as in "{bare}"'
    if "{" in pattern:
        return 'braces have no meaning here: write a pattern for each, as in "**/*.jpg", "**/*.png"'
    if own := next((one for one in pattern.split("/") if is_junk(os.fsencode(one))), None):
        return f"take it out: {own} is a program's own by its name, and never looked into"
    named = [part for part in pattern.split("/") if part.strip("*. ")]
    is_folder = bool(named) and not any(mark in named[-1] for mark in ".*?[")
    return f'take it out, or say what is meant, as in "{f"**/{named[-1]}/**" if is_folder else "**/*.jpg"}"'


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
