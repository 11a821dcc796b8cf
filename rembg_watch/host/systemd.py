"""
Speaks with systemd: readiness, status, watchdog, and the drop-in that opens the sandbox for the folders.

Outside systemd every word of it is silence. It starts no thread and installs no signal handler; the
daemon's loop decides when something is said.
"""

import os
import socket
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Protocol, Self

STATUS_BYTES = 512
PINGS_PER_TIMEOUT = 3


# --- the notify protocol ------------------------------------------------------------------------


class Notify:
    """
    Tells the service manager how the daemon is; without an address it tells nobody.

    A datagram that cannot be sent is dropped: a manager that does not listen must not stop the pictures.
    """

    def __init__(self, address: str | None = None) -> None:
        self._address = address

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Self:
        """Find the address that systemd left in NOTIFY_SOCKET."""
        found = (os.environ if environment is None else environment).get("NOTIFY_SOCKET", "")
        return cls(found if found[:1] in ("/", "@") else None)

    @property
    def is_heard(self) -> bool:
        """Say whether a service manager gave an address."""
        return self._address is not None

    def ready(self, status: str = "") -> bool:
        """Say that the daemon is up, or that a reload has ended."""
        return self._send("READY=1", *_status(status))

    def status(self, status: str) -> bool:
        """Say in one line what the daemon does or waits for; ``systemctl status`` shows it."""
        return self._send(*_status(status))

    def reloading(self, status: str = "") -> bool:
        """Say that a reload begins; ``ready`` ends it. The moment has to be in the same datagram."""
        now_us = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        return self._send("RELOADING=1", f"MONOTONIC_USEC={now_us}", *_status(status))

    def stopping(self, status: str = "") -> bool:
        """Say that the daemon is on its way out."""
        return self._send("STOPPING=1", *_status(status))

    def extend_timeout(self, seconds: float) -> bool:
        """Ask for *seconds* more from now before systemd loses its patience; start, reload or stop."""
        return self._send(f"EXTEND_TIMEOUT_USEC={round(seconds * 1e6)}")

    def ping(self) -> bool:
        """Say that all is well; to be said only where that was checked: see ``Heartbeat``."""
        return self._send("WATCHDOG=1")

    def _send(self, *lines: str) -> bool:
        if self._address is None or not lines:
            return False
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK) as out:
                out.sendto("\n".join(lines).encode("utf-8", "backslashreplace"), address)
        except OSError:
            return False
        return True


def _status(text: str) -> list[str]:
    """One line and no more: a line feed in it would be taken for the next assignment."""
    line = " ".join(text.split())
    short = line.encode("utf-8", "backslashreplace")[:STATUS_BYTES].decode("utf-8", "ignore")
    return [f"STATUS={short}"] if short else []


def watchdog_interval_s(environment: Mapping[str, str] | None = None, *, pid: int | None = None) -> float | None:
    """
    Say how often to ping: a third of what WatchdogSec allows, so that one late ping is no death.

    None: systemd expects no pings, or expects them from another process.
    """
    known = os.environ if environment is None else environment
    allowed, meant = known.get("WATCHDOG_USEC", ""), known.get("WATCHDOG_PID", "")
    if not allowed.isdecimal() or int(allowed) == 0:
        return None
    if meant and meant != str(os.getpid() if pid is None else pid):
        return None
    return int(allowed) / 1e6 / PINGS_PER_TIMEOUT


# --- the heartbeat ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Late:
    """A part that has made no progress within its allowance."""

    part: str
    silent_s: float
    awaits_disk: bool = False  # the kernel keeps it: a dead share or disk, which no restart would bring back


@dataclass(slots=True)
class _Part:
    allowance_s: float
    beaten_at_s: float
    is_resting: bool = False
    thread_id: int = 0  # of the thread that beat last


class Heartbeat:
    """
    Pings the watchdog only while every part of the daemon makes progress.

    Each part says ``beat`` when it has got somewhere, and ``rest`` when it has nothing to do; a part that is
    at work and silent for longer than its own allowance is late, and no ping goes until it moves. A thread
    that pings on its own would hide every deadlock, so there is none: the loop says ``tick``.

    A part that hangs in the kernel, in a share that does not answer, is late too, but takes no ping away: a
    new process would hang there again, and the calls in flight would have been paid for nothing.
    """

    def __init__(
        self,
        ping: Callable[[], object],
        *,
        clock: Callable[[], float] = time.monotonic,
        awaits_disk: Callable[[int], bool] = lambda thread_id: awaits_disk(thread_id),
    ) -> None:
        self._ping = ping
        self._clock = clock
        self._awaits_disk = awaits_disk
        self._lock = threading.Lock()
        self._parts: dict[str, _Part] = {}

    def register(self, part: str, *, allowance_s: float) -> None:
        """Expect progress from *part* from now on, or change what it is allowed."""
        with self._lock:
            self._parts[part] = _Part(allowance_s, self._clock())

    def forget(self, part: str) -> None:
        """Expect nothing of *part* any more: it has ended."""
        with self._lock:
            self._parts.pop(part, None)

    def beat(self, part: str) -> None:
        """Note that *part* has got somewhere; from one that has ended it means nothing."""
        self._note(part, is_resting=False)

    def rest(self, part: str) -> None:
        """Note that *part* has nothing to do and will be silent; its next ``beat`` ends that."""
        self._note(part, is_resting=True)

    def late(self) -> Sequence[Late]:
        """List the parts that are at work and silent for too long, the longest first."""
        with self._lock:
            now_s = self._clock()
            busy = {name: part for name, part in self._parts.items() if not part.is_resting}
            late = {name: part for name, part in busy.items() if now_s - part.beaten_at_s > part.allowance_s}
            silent = [(name, now_s - part.beaten_at_s, part.thread_id) for name, part in late.items()]
        found = [Late(part=name, silent_s=s, awaits_disk=self._awaits_disk(thread)) for name, s, thread in silent]
        return sorted(found, key=lambda late: -late.silent_s)

    def tick(self) -> Sequence[Late]:
        """Ping if a restart could heal nothing; otherwise do not. Say who is late."""
        late = self.late()
        if all(one.awaits_disk for one in late):
            self._ping()
        return late

    def _note(self, part: str, *, is_resting: bool) -> None:
        with self._lock:
            known = self._parts.get(part)
            if known:
                known.beaten_at_s, known.is_resting = self._clock(), is_resting
                known.thread_id = threading.get_native_id()


def awaits_disk(thread_id: int) -> bool:
    """Say whether a thread of this process sleeps in the kernel where no signal reaches it."""
    try:
        stat = Path(f"/proc/self/task/{thread_id}/stat").read_text(errors="replace")
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[:1] == ["D"]


# --- the drop-in for the folders ----------------------------------------------------------------


class FolderPaths(Protocol):
    """What the drop-in has to know of a folder; the configuration's folders are such."""

    @property
    def name(self) -> str:
        """What it is called."""

    @property
    def input(self) -> Path:
        """Where pictures are dropped."""

    @property
    def output(self) -> Path:
        """Where cutouts appear."""

    @property
    def after(self) -> str:
        """What becomes of a source: keep, move or delete."""

    @property
    def done(self) -> Path | None:
        """Where moved sources go."""

    @property
    def failed(self) -> Path | None:
        """Where refused sources go."""


HOMES = tuple(map(PurePath, ("/home", "/root", "/run/user")))
"""What ProtectHome replaces with empty folders."""

HIDDEN = (*HOMES, PurePath("/tmp"), PurePath("/var/tmp"))  # noqa: S108 - names, not files
"""The same, and what PrivateTmp does."""


def drop_in(folders: Iterable[FolderPaths], *, shares: Iterable[PurePath] = (), chooses_processor: bool = False) -> str:
    """
    Write the drop-in that lets the sandboxed service read its inputs and write its outputs, and no more.

    Nothing else of the machine becomes writable, and a source can be changed only where the configuration moves
    or deletes it. Below a share that comes and goes it is the share's own mount point that is opened: a sandbox
    that names a folder inside would keep the old mount after the share was lost, and never see the new one.

    Args:
        folders: The folders of the configuration.
        shares: Mount points of network file systems, and of whatever else comes and goes.
        chooses_processor: There are so many workers that they share a processor, see ``processors``.
    """
    known = list(folders)
    points = sorted(shares, key=lambda point: -len(point.parts))
    opened = [(folder, _opened(folder, points)) for folder in known]
    paths = {path: None for _, found in opened for path in found}
    lines = [
        "# Written by `rembg-watch init --systemd` for its configuration: write it anew when folders change.",
        "# What is opened here has to exist when the service starts: a folder made later is not writable for it.",
        "",
        "[Unit]",
        *(line for path in paths for line in _mounted_first(path, is_share=path in points)),
        "",
        "[Service]",
    ]
    if any(path.is_relative_to(home) for path in paths for home in HOMES):
        lines += ["# Homes stay hidden but for what is named below.", "ProtectHome=tmpfs"]
    for folder, found in opened:
        lines.append(f"# {' '.join(folder.name.split())}")
        lines += [_directive(path, is_writable=is_writable) for path, is_writable in found.items()]
    if chooses_processor:
        lines += [
            "# So many workers are faster on one processor, which they choose.",
            "SystemCallFilter=sched_setaffinity",
        ]
    return "\n".join(lines) + "\n"


def _mounted_first(path: PurePath, *, is_share: bool) -> list[str]:
    """A local disk is required; a share is only waited for: without it the daemon starts and says what is away."""
    if not is_share:
        return [f"RequiresMountsFor={_quoted(path)}"]
    unit = _mount_unit(path)
    return [f"Wants={unit}", f"After={unit}"]


def _mount_unit(point: PurePath) -> str:
    r"""Name the mount unit of *point* as systemd does: ``/mnt/my nas`` is ``mnt-my\x20nas.mount``."""
    name = "-".join("".join(map(_in_unit_name, part)) for part in point.parts[1:]) or "-"
    return (rf"\x2e{name[1:]}" if name.startswith(".") else name) + ".mount"


def _in_unit_name(character: str) -> str:
    is_plain = character.isascii() and (character.isalnum() or character in ":_.")
    return character if is_plain else _bytes_of(character)


def _bytes_of(character: str) -> str:
    return "".join(f"\\x{byte:02x}" for byte in os.fsencode(character))


def _opened(folder: FolderPaths, shares: Sequence[PurePath]) -> dict[PurePath, bool]:
    """What is opened for *folder*, and whether it has to be writable; a share counts as one."""
    found: dict[PurePath, bool] = {}
    for path, is_writable in _needed(folder).items():
        opened = next((share for share in shares if path.is_relative_to(share)), path)
        found[opened] = found.get(opened, False) or is_writable
    return found


def _needed(folder: FolderPaths) -> dict[PurePath, bool]:
    """Each path that a folder needs, and whether it has to be writable."""
    changes_sources = folder.after in ("move", "delete") or folder.failed is not None
    needed: dict[PurePath, bool] = {folder.input: changes_sources, folder.output: True}
    if folder.after == "move" and folder.done:
        needed[folder.done] = True
    if folder.failed:
        needed[folder.failed] = True
    return needed


def _directive(path: PurePath, *, is_writable: bool) -> str:
    """One line of the sandbox; the dash lets the service start, and say so itself, when a path is missing."""
    if any(path.is_relative_to(hidden) for hidden in HIDDEN):
        return f"{'BindPaths' if is_writable else 'BindReadOnlyPaths'}={_quoted(path, dash=True, colon=True)}"
    return f"{'ReadWritePaths' if is_writable else 'ReadOnlyPaths'}={_quoted(path, dash=True)}"


def _quoted(path: PurePath, *, dash: bool = False, colon: bool = False) -> str:
    """Write *path* so that systemd reads it back as it is: specifiers, quotes and spaces escaped."""
    text = str(path).replace("\\", "\\\\").replace("%", "%%").replace('"', '\\"')
    text = text.replace(":", "\\:") if colon else text
    text = "".join(c if c.isprintable() else _bytes_of(c) for c in text)
    text = f"-{text}" if dash else text
    return f'"{text}"' if any(c in text for c in " \t;'\\\"") else text
