"""
Whether a folder that the ledger has used is there: the very one, and not the bare place of a share that is away.

What each folder was, is remembered in the ledger, so that a restart knows it too. Device numbers change with
every boot and every remount, so they count within one boot alone; what lasts is the kind of file system, its
UUID or its share, the place inside it, and, where the kind keeps them, the number of the directory. Whatever
cannot be known speaks for the folder: a plain restart must never hold anything up.
"""

import contextlib
import os
import re
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from rembg_watch.host import disk
from rembg_watch.host.mounts import PROC, Mount, filesystem_id, mount_of, mounted
from rembg_watch.ledger import LedgerUnavailableError
from rembg_watch.ledger.values import Json
from rembg_watch.paths import is_junk

ROOTS = "roots"
"""The ledger's note of what each folder was, by its path."""

ADVICE = "`rembg-watch retry` takes it as it is"

_FAMILIES = {"smbfs": "cifs", "smb": "cifs", "ntfs": "ntfs", "fuseblk": "ntfs"}
_KEEPS_NUMBERS = frozenset({"ext", "xfs", "btrfs", "zfs", "bcachefs", "jfs", "ffs", "nfs"})
_KEEPS_NUMBERS_WHILE_MOUNTED = _KEEPS_NUMBERS | {"tmpfs", "overlay", "ramfs"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Root:
    """What a folder was when it was looked at; of one that is missing, what it would lie on."""

    kind: str  # of the file system; empty: not known
    filesystem: str  # its UUID or its share; empty: not known
    point: str  # where that is mounted
    inside: str  # the folder's place in it
    device: int  # means something within one boot alone
    inode: int
    boot: str
    is_volatile: bool  # all of it is gone after a restart
    is_there: bool = True
    held: bool = False  # something is in it, or has been
    away_at: str | None = None  # since when it is away


def look(path: Path, *, proc: Path = PROC) -> Root:
    """
    See what *path* is now; to look may mount a share on demand.

    Raises:
        OSError: It may not be looked at, or does not answer.
    """
    device, inode, held, is_there = 0, 0, False, True
    try:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        is_there = False
    else:
        with disk.closing(fd), os.scandir(fd) as entries:
            found = os.fstat(fd)
            device, inode = found.st_dev, found.st_ino
            held = any(not is_junk(os.fsencode(entry.name)) for entry in entries)
    mount = mount_of(path, mounted(proc))
    return Root(
        kind=_family(mount.kind) if mount else "",
        filesystem=filesystem_id(mount) if mount else "",
        point=str(mount.point) if mount else "",
        inside=_inside(path, mount) if mount else "",
        device=device,
        inode=inode,
        boot=_boot(proc),
        is_volatile=mount is not None and mount.is_volatile,
        is_there=is_there,
        held=held,
    )


def _family(kind: str) -> str:
    """Bring the names together under which one kind of file system is mounted."""
    kind = kind if kind.startswith("fuse") or kind == "9p" else re.sub(r"\d+$", "", kind)
    return _FAMILIES.get(kind, kind)


def _inside(path: Path, mount: Mount) -> str:
    real = Path(os.path.realpath(path))
    return str(Path(mount.root) / real.relative_to(mount.point)) if real.is_relative_to(mount.point) else ""


def _boot(proc: Path) -> str:
    try:
        return (proc / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""


def why_away(before: Root | None, now: Root) -> str:
    """Say why a folder that was *before* is not there *now*; empty: it is, or it may be made."""
    if before is None or (before.is_volatile and now.is_volatile and before.boot != now.boot):
        return ""
    is_elsewhere = _is_elsewhere(before, now)
    if not now.is_there:
        return "it is missing, and has been used before" if before.held or is_elsewhere else ""
    if now.kind == "autofs":
        return "its share is not mounted"
    if is_elsewhere:
        is_bare = before.point != now.point and Path(before.point).is_relative_to(now.point)
        return "another disk or folder lies in its place" if before.held or is_bare else ""
    if before.held and not now.held and _is_another_directory(before, now):
        return "another folder lies in its place, which is empty"
    return ""


def _is_elsewhere(before: Root, now: Root) -> bool:
    """Say if it lies on another file system, or elsewhere on the same one."""
    if not before.kind or not now.kind:
        return False
    if before.kind != now.kind or (before.filesystem and now.filesystem and before.filesystem != now.filesystem):
        return True
    is_fresh = now.is_there and before.is_volatile and before.device != now.device  # other memory, in the same boot
    return is_fresh or (before.inside != now.inside and not _is_same_directory(before, now))


def _numbers_tell(before: Root, now: Root) -> bool:
    is_one_mount = before.boot == now.boot and before.device == now.device
    return before.kind == now.kind and (
        before.kind in _KEEPS_NUMBERS or (is_one_mount and before.kind in _KEEPS_NUMBERS_WHILE_MOUNTED)
    )


def _is_same_directory(before: Root, now: Root) -> bool:
    return _numbers_tell(before, now) and before.inode == now.inode and not _is_another_top(before, now)


def _is_another_directory(before: Root, now: Root) -> bool:
    return _numbers_tell(before, now) and (before.inode != now.inode or _is_another_top(before, now))


def _is_another_top(before: Root, now: Root) -> bool:
    """Say if both are the tops of disks that may differ: every disk gives its top the same number."""
    return now.inside == "/" and not (before.filesystem and now.filesystem) and before.device != now.device


class Notes(Protocol):
    """What is needed of the ledger."""

    def note(self, name: str) -> Json:
        """Return what was noted under a name; None if nothing was."""

    def set_note(self, name: str, value: Json, *, is_durable: bool = True) -> None:
        """Remember a small value under a name."""


class Unwritten:
    """Notes as they are, for whoever only looks: what would be noted down is forgotten."""

    def __init__(self, ledger: Notes) -> None:
        self.note = ledger.note

    def set_note(self, name: str, value: Json, *, is_durable: bool = True) -> None:
        """Write nothing."""


class Roots:
    """
    Say whether the folders are there, and remember what they were; safe to share between threads.

    A look costs one stat while nothing has changed.
    """

    def __init__(
        self, ledger: Notes, *, now: Callable[[], datetime] = lambda: datetime.now(UTC), proc: Path = PROC
    ) -> None:
        self._ledger, self._now, self._proc = ledger, now, proc
        self._lock = threading.Lock()  # guards the three that follow; a folder is looked at without it
        noted = ledger.note(ROOTS)
        self.is_new = not isinstance(noted, dict)  # no earlier run has remembered anything
        self._known: dict[str, Root] = {} if not isinstance(noted, dict) else _read(noted)
        self._accepted: dict[str, tuple[int, int]] = {}
        self._writing = threading.Lock()  # the order of notes: held while one is written

    def why_away(self, path: Path) -> str:
        """Say why *path* must not be used now; empty: it is the folder that it was, or was never used."""
        try:
            found = path.stat()
        except (FileNotFoundError, NotADirectoryError):
            found = None
        except OSError:
            return ""  # whoever uses it says what is wrong
        if found is not None and self._accepted.get(str(path)) == (found.st_dev, found.st_ino):
            return ""
        try:
            now = look(path, proc=self._proc)
        except OSError:
            return ""
        return self._judge(path, now)

    def check(self, path: Path) -> None:
        """
        Let *path* be used.

        Raises:
            OutputUnavailableError: It is away.
        """
        if why := self.why_away(path):
            sentence = (
                f"{disk.shown(path)} is away ({why}): mount its disk or share; it goes on by itself then, and if it is "
                f"right as it is, {ADVICE}"
            )
            raise disk.OutputUnavailableError(sentence, code="away", path=path)

    def used(self, path: Path) -> None:
        """Note that *path* holds something from now on."""
        known = self._known.get(str(path))
        if known is not None and known.held:
            return
        with self._lock:
            known = self._known.get(str(path))
            if known is None:
                return
            self._known[str(path)] = replace(known, held=True)
        self._write()

    def remember(self, path: Path) -> None:
        """Take *path*, which nobody has remembered yet, for one that was used: an earlier version delivered there."""
        try:
            found = look(path, proc=self._proc)
        except OSError:
            return
        if not found.is_there:
            with self._lock:
                self._known.setdefault(str(path), replace(found, kind="", filesystem="", is_there=True, held=True))
            self._write()

    def trust(self, at: datetime, among: Iterable[Path]) -> list[Path]:
        """Take what was away at that moment as it is, since a person says so; return those of the folders."""
        meant = set(map(str, among))
        with self._lock:
            known = [(path, root) for path, root in self._known.items() if path in meant]
            away = [path for path, root in known if root.away_at and _moment(root.away_at) <= at]
            for path in away:
                del self._known[path]
        if away:
            self._write()
        return [Path(path) for path in away]

    def _judge(self, path: Path, now: Root) -> str:
        name = str(path)
        with self._lock:
            before = self._known.get(name)
            why = why_away(before, now)
            after = _after(before, now, away_at=self._now().isoformat() if why else None)
            if why or not now.is_there:
                self._accepted.pop(name, None)
            else:
                self._accepted[name] = (now.device, now.inode)
            if after is None or after == before:
                return why
            self._known[name] = after
        self._write()
        return why

    def _write(self) -> None:
        with self._writing:
            with self._lock:
                noted: dict[str, Any] = {path: asdict(root) for path, root in self._known.items()}
            with contextlib.suppress(LedgerUnavailableError):  # what is known holds in this run, and is written later
                self._ledger.set_note(ROOTS, noted)


def _after(before: Root | None, now: Root, *, away_at: str | None) -> Root | None:
    """Return what is remembered of a folder from now on; None: nothing yet."""
    if away_at is not None and before is not None:
        return before if before.away_at else replace(before, away_at=away_at)
    if not now.is_there:
        return before and replace(before, away_at=None)
    was_used = before is not None and before.held and not (now.is_volatile and before.boot != now.boot)
    return replace(now, held=now.held or was_used)


def _read(noted: Mapping[str, Any]) -> dict[str, Root]:
    known: dict[str, Root] = {}
    for path, facts in noted.items():
        try:
            known[path] = Root(**facts)
        except TypeError:  # of another version: it is remembered anew
            continue
    return known


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)
