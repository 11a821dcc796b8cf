"""
Locks that allow one daemon per state directory and per input folder, and name the process that holds them.

The kernel releases them when the process ends, however it ends, so that a kill leaves
nothing to clean up. The lock on the state directory is a ``flock`` on a file in it. The
lock on an input folder is an abstract socket that is named after it: it puts no lock file
among a studio's pictures, and keeps no file open that would prevent a share or a card
from being unmounted. It only excludes other processes on the same machine.

A folder that lies in another's is watched by both, so that each lock also marks the folders
above its own: whoever comes second, with the inner folder or with the outer one, is refused.

Any user may give a socket any name. So a socket counts only if the kernel says that it is
root's or our own; where another user's has the plain name, ours gets one that nobody can
guess, and is found by whoever looks through the kernel's table.
"""

import contextlib
import errno
import fcntl
import os
import secrets
import socket
import struct
import time
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path

from rembg_watch.errors import InputLockedError, LockedError

LOCK_NAME = "lock"
SOCKETS = Path("/proc/self/net/unix")
"""The kernel's table of sockets and their names; a fresh name is found in it alone."""

_INPUT, _MARK = "rembg-watch input ", "rembg-watch above "
"""How the socket of an input folder is named, and the mark on a folder that has one in it; its identity follows."""

_CREDENTIALS = struct.Struct("3i")  # pid, uid, gid
_BACKLOG = 128  # askers between two looks of the holder, who lets go of them (``take_input``)
_TRIES = 5  # an asker may meet a socket between its name and its first ear
_TRY_S = 0.01


@dataclass(frozen=True, slots=True)
class Holder:
    """Whose a lock is, as the kernel says."""

    pid: int
    uid: int
    how: str = ""  # where that folder lies, if it is another one

    @property
    def counts(self) -> bool:
        """Whether it is root's or our own: anybody else could keep us from working by a name."""
        return self.uid in {0, os.geteuid()}

    def __str__(self) -> str:
        since = _runs_since(self.pid)
        return f"process {self.pid}" + (f", which runs since {since:%Y-%m-%d %H:%M} UTC" if since else "") + self.how


@dataclass(slots=True)
class _InputLock:
    """The lock on one input folder, as the folder was when it was taken."""

    name: str
    sockets: dict[str, socket.socket]  # by their own names: the folder's, and a mark on each folder above it

    def let_askers_go(self) -> None:
        """Make room for the next who ask whose this is."""
        for one in self.sockets.values():
            with contextlib.suppress(OSError):
                while True:
                    one.accept()[0].close()

    def close(self) -> None:
        for one in self.sockets.values():
            one.close()


class Locks:
    """Every lock that a running daemon holds; it releases them together. Each input is locked from one thread."""

    def __init__(self) -> None:
        self._open: list[int] = []
        self._inputs: dict[Path, _InputLock] = {}
        self._seen: dict[str, Holder] = {}  # by the socket's number: a holder that hangs answers nobody

    def take(self, state_dir: Path, inputs: Iterable[Path], *, but: Collection[Path] = ()) -> None:
        """
        Lock *state_dir* and those of *inputs* that nobody else has, *but* for those that do not answer.

        An input that does not exist (a share that is offline) is skipped, and so is one
        that another process holds while others are left: it is asked for again when it arrives.

        Raises:
            LockedError: Another process holds the state directory, or all of the inputs; the message says which.
        """
        try:
            self._take_state(state_dir)
            self._take_some(list(inputs), but)
        except LockedError:
            self.release()
            raise

    def _take_some(self, inputs: list[Path], but: Collection[Path]) -> None:
        refused = []
        for path in [one for one in inputs if one not in but]:
            try:
                self.take_input(path)
            except InputLockedError as locked:
                refused.append(locked)
        if refused and len(refused) == len(inputs):
            raise refused[0]

    def _take_state(self, state_dir: Path) -> None:
        path = state_dir / LOCK_NAME
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._open.append(fd)
        if not _lock(fd):
            holder = os.pread(fd, 32, 0).decode("ascii", "replace").strip() or _holder(fd)
            raise LockedError(
                f"rembg-watch runs here already: state directory {state_dir} is in use by process {holder}. "
                f"`rembg-watch status` shows what it does; stop it before you start another for the same folders"
            )
        with contextlib.suppress(OSError):  # a full disk; the kernel's table names the holder too
            os.ftruncate(fd, 0)
            os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)

    def take_input(self, path: Path) -> bool:
        """
        Lock one input folder as it is now, or keep its lock; return False if it cannot be locked at all.

        The lock on the folder that stood there before, as before a remount, is kept until this one is had.

        Raises:
            InputLockedError: Another process of root or of this user holds it.
        """
        try:
            name = _name_of(path)
        except OSError:
            return False
        mine = self._inputs.get(path)
        if mine is not None and mine.name == name:
            mine.let_askers_go()
            return True
        lock = self._bind(path, name)
        if lock is None:
            return False
        self.let_go(path)
        self._inputs[path] = lock
        return True

    def _bind(self, path: Path, name: str) -> _InputLock | None:
        """Bind the plain name, or a fresh one beside a stranger's; then make sure that nobody else has done so."""
        for mine in (name, _fresh(name)):
            try:
                lock = _InputLock(name, {mine: _listening(mine)})
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    return None
                self._refuse_others(path, name, but="")
                continue
            try:
                lock.sockets.update(_marks(path))
                self._refuse_others(path, name, but=mine)
            except LockedError:
                lock.close()
                raise
            return lock
        return None

    def _refuse_others(self, path: Path, name: str, *, but: str) -> None:
        other = self._first_that_counts(path, name, but)
        if other is not None:
            raise InputLockedError(
                f"input folder {path} is already watched by {other}: stop it, or remove the folder "
                f"from one of the two configurations",
                holder=str(other),
            )

    def _first_that_counts(self, path: Path, name: str, but: str) -> Holder | None:
        others = chain(self._holders(name, but), self._holders_around(path))
        return next((one for one in others if one.counts), None)

    def _holders_around(self, path: Path) -> Iterator[Holder]:
        """Yield who watches a folder in which this one lies, or one that lies in this one."""
        ours = {name for lock in self._inputs.values() for name in lock.sockets}
        wanted = dict.fromkeys((_INPUT + one for one in _above(path)), "; it watches a folder above this one")
        with contextlib.suppress(OSError):
            wanted[_MARK + _identity(path)] = "; it watches a folder inside this one"
        for number, name in _sockets(_INPUT, _MARK):
            how = wanted.get(" ".join(name.split(" ")[:3]))
            if how is not None and name not in ours and (holder := self._asked(number, name)) is not None:
                yield replace(holder, how=how)

    def _asked(self, number: str, name: str) -> Holder | None:
        holder = _listener(name) or self._seen.get(number)
        if number and holder is not None:
            self._seen[number] = holder
        return holder

    def _holders(self, name: str, but: str) -> Iterator[Holder]:
        """Yield who else has a lock on the folder of this name, whoever they are."""
        found = dict(_sockets_of(name))
        if name not in found.values() and but != name:
            found[""] = name  # where the kernel's table cannot be read
        for number, one in found.items():
            if one != but and (holder := self._asked(number, one)) is not None:
                yield holder

    def holder_of(self, path: Path, *, alone: bool = False) -> Holder | None:
        """
        Say who else has the lock on an input folder, as far as it counts; takes nothing.

        So has who watches a folder above it or inside it, unless the folder *alone* is meant.
        """
        try:
            name = _name_of(path)
        except OSError:
            return None
        if alone:
            return next((one for one in self._holders(name, "") if one.counts), None)
        return self._first_that_counts(path, name, "")

    @staticmethod
    def of_state(state_dir: Path) -> int | None:
        """Name the process that worked last on a state directory, and may do so still."""
        try:
            return int((state_dir / LOCK_NAME).read_text())
        except (OSError, ValueError):
            return None

    def let_go(self, path: Path) -> None:
        """Release the lock on one input folder, if there is one."""
        lock = self._inputs.pop(path, None)
        if lock is not None:
            lock.close()

    def keep_only(self, inputs: Iterable[Path]) -> None:
        """Release the locks on all input folders but these."""
        for path in set(self._inputs) - set(inputs):
            self.let_go(path)

    def release(self) -> None:
        """Release everything; safe to call twice."""
        self.keep_only(())
        while self._open:
            os.close(self._open.pop())


def _lock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in {errno.EWOULDBLOCK, errno.EACCES}:
            return False
        raise
    return True


def _holder(fd: int) -> str:
    """Find the process that holds the lock on *fd* in the kernel's table; "unknown" if that cannot be read."""
    stat = os.fstat(fd)
    wanted = f"{os.major(stat.st_dev):02x}:{os.minor(stat.st_dev):02x}:{stat.st_ino}"
    try:
        rows = Path("/proc/locks").read_text().splitlines()
    except OSError:
        return "unknown"
    pids = (row.split()[4] for row in rows if "FLOCK" in row and wanted in row.split())
    return next(pids, "unknown")


# --- sockets --------------------------------------------------------------------------------------


def _name_of(path: Path) -> str:
    return _INPUT + _identity(path)


def _identity(path: Path) -> str:
    found = path.stat()
    return f"{found.st_dev:x}:{found.st_ino:x}"


def _above(path: Path) -> Iterator[str]:
    """Yield the identity of each directory above one, as far as they can be looked at."""
    for parent in Path(os.path.realpath(path)).parents:
        with contextlib.suppress(OSError):
            yield _identity(parent)


def _marks(path: Path) -> dict[str, socket.socket]:
    """Mark each directory above one; several inputs may mark the same."""
    marks = {}
    for one in _above(path):
        name = _fresh(_MARK + one)
        with contextlib.suppress(OSError):  # no descriptors left: the lock itself is had
            marks[name] = _listening(name)
    return marks


def _fresh(name: str) -> str:
    return f"{name} {secrets.token_hex(8)}"


def _listening(name: str) -> socket.socket:
    lock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    try:
        lock.bind(f"\0{name}")
        lock.listen(_BACKLOG)
    except OSError:
        lock.close()
        raise
    return lock


def _sockets_of(name: str) -> Iterator[tuple[str, str]]:
    """Yield the number and the name of each listening socket that is named after one folder."""
    for number, one in _sockets(name):
        if one.partition(f"{name} ")[0] in {"", name}:
            yield number, one


def _sockets(*beginnings: str) -> Iterator[tuple[str, str]]:
    """Yield the number and the name of each listening socket whose name begins so."""
    with contextlib.suppress(OSError):
        for row in SOCKETS.read_text(encoding="utf-8", errors="replace").splitlines():
            fields = row.split(maxsplit=7)
            listens = len(fields) == 8 and fields[3] == "00010000"
            if listens and fields[7].removeprefix("@").startswith(beginnings):
                yield fields[6], fields[7].removeprefix("@")


def _listener(name: str) -> Holder | None:
    """Ask the kernel who listens on a socket; None if nobody does, or so many ask that it cannot say."""
    for _ in range(_TRIES):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK) as caller:
            try:
                caller.connect(f"\0{name}")
            except ConnectionRefusedError:
                time.sleep(_TRY_S)  # it has its name and does not listen yet, or is gone
                continue
            except OSError:
                return None
            credentials = caller.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
            pid, uid, _gid = _CREDENTIALS.unpack(credentials)
            return Holder(pid, uid)
    return None


def _runs_since(pid: int) -> datetime | None:
    """Say when a process was started; None if it is hidden or gone."""
    try:
        ticks = int(Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return None
    ago_s = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    return datetime.fromtimestamp(time.time() - ago_s, UTC)
