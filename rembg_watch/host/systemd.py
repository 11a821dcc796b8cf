"""
Talks to systemd: readiness, status, watchdog, and the drop-in that opens the sandbox for the folders.

Outside systemd nothing here has any effect. It starts no thread and installs no signal handler; the
daemon's loop decides when to send something.
"""

import os
import socket
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Self

from rembg_watch.paths import Folder

STATUS_BYTES = 512
PINGS_PER_TIMEOUT = 3


# --- the notify protocol ------------------------------------------------------------------------


class Notify:
    """
    Tells the service manager how the daemon is doing; without an address it does nothing.

    It drops a datagram that it cannot send: a manager that does not listen must not stop the pictures.
    """

    def __init__(self, address: str | None = None) -> None:
        self._address = address

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Self:
        """Read the address that systemd put into NOTIFY_SOCKET."""
        found = (os.environ if environment is None else environment).get("NOTIFY_SOCKET", "")
        return cls(found if found[:1] in ("/", "@") else None)

    def ready(self, status: str = "") -> bool:
        """Say that the daemon is up, or that a reload has ended."""
        return self._send("READY=1", *_status(status))

    def status(self, status: str) -> bool:
        """Say in one line what the daemon is doing or waiting for; ``systemctl status`` shows it."""
        return self._send(*_status(status))

    def reloading(self, status: str = "") -> bool:
        """Say that a reload begins; ``ready`` ends it. The same datagram must carry the time."""
        now_us = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        return self._send("RELOADING=1", f"MONOTONIC_USEC={now_us}", *_status(status))

    def stopping(self, status: str = "") -> bool:
        """Say that the daemon is shutting down."""
        return self._send("STOPPING=1", *_status(status))

    def extend_timeout(self, seconds: float) -> bool:
        """Ask for *seconds* more, from now, before a start, reload or stop times out."""
        return self._send(f"EXTEND_TIMEOUT_USEC={round(seconds * 1e6)}")

    def ping(self) -> bool:
        """Say that all is well; only ``Heartbeat``, which checks that, may call this."""
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
    """Make it one line: systemd would read whatever follows a line feed as the next assignment."""
    line = " ".join(text.split())
    short = line.encode("utf-8", "backslashreplace")[:STATUS_BYTES].decode("utf-8", "ignore")
    return [f"STATUS={short}"] if short else []


def watchdog_interval_s(environment: Mapping[str, str] | None = None, *, pid: int | None = None) -> float | None:
    """
    Say how often to ping: three times within WatchdogSec, so that one late ping is not fatal.

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
    awaits_disk: bool = False  # it is stuck in the kernel: a dead share or disk, which a restart would not bring back


@dataclass(slots=True)
class _Part:
    allowance_s: float
    beaten_at_s: float
    is_resting: bool = False
    thread_id: int = 0  # of the thread that last called ``beat``


class Heartbeat:
    """
    Pings the watchdog only while every part of the daemon makes progress.

    Each part calls ``beat`` when it has made progress, and ``rest`` when it has nothing to do. A part that is
    working and silent for longer than its own allowance is late, and there is no ping until it makes progress.
    A thread that pings on its own would hide every deadlock, so there is none: the daemon's loop calls ``tick``.

    A part that hangs in the kernel, on a share that does not answer, is late too, but does not stop the pings: a
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
        self._lock = threading.Lock()  # guards ``_parts``; /proc is read and systemd is told after it
        self._parts: dict[str, _Part] = {}

    def register(self, part: str, *, allowance_s: float) -> None:
        """Expect progress from *part* from now on, or change its allowance."""
        with self._lock:
            self._parts[part] = _Part(allowance_s, self._clock())

    def forget(self, part: str) -> None:
        """Stop expecting progress from *part*: it has ended."""
        with self._lock:
            self._parts.pop(part, None)

    def beat(self, part: str) -> None:
        """Note that *part* has made progress; a part that has ended is ignored."""
        self._note(part, is_resting=False)

    def rest(self, part: str) -> None:
        """Note that *part* has nothing to do and will be silent; its next ``beat`` ends that."""
        self._note(part, is_resting=True)

    def late(self) -> Sequence[Late]:
        """List the parts that are working but have been silent for too long, the longest first."""
        with self._lock:
            now_s = self._clock()
            busy = {name: part for name, part in self._parts.items() if not part.is_resting}
            late = {name: part for name, part in busy.items() if now_s - part.beaten_at_s > part.allowance_s}
            silent = [(name, now_s - part.beaten_at_s, part.thread_id) for name, part in late.items()]
        found = [Late(part=name, silent_s=s, awaits_disk=self._awaits_disk(thread)) for name, s, thread in silent]
        return sorted(found, key=lambda late: -late.silent_s)

    def tick(self) -> Sequence[Late]:
        """Ping unless a part is late that a restart could help; return the parts that are late."""
        late = self.late()
        if _is_well(late):
            self._ping()
        return late

    def is_well(self) -> bool:
        """Say whether ``tick`` would ping."""
        return _is_well(self.late())

    def _note(self, part: str, *, is_resting: bool) -> None:
        with self._lock:
            known = self._parts.get(part)
            if known:
                known.beaten_at_s, known.is_resting = self._clock(), is_resting
                known.thread_id = threading.get_native_id()


def _is_well(late: Sequence[Late]) -> bool:
    return all(one.awaits_disk for one in late)


def awaits_disk(thread_id: int) -> bool:
    """Say whether a thread of this process is in uninterruptible sleep, where no signal reaches it."""
    try:
        stat = Path(f"/proc/self/task/{thread_id}/stat").read_text(errors="replace")
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[:1] == ["D"]


# --- the drop-in for the folders ----------------------------------------------------------------


HOMES = tuple(map(PurePath, ("/home", "/root", "/run/user")))
"""What ProtectHome replaces with empty folders."""

HIDDEN = (*HOMES, PurePath("/tmp"), PurePath("/var/tmp"))  # noqa: S108 - names, not files
"""The same, and what PrivateTmp replaces."""


def drop_in(folders: Iterable[Folder], *, shares: Iterable[PurePath] = (), chooses_processor: bool = False) -> str:
    """
    Write the drop-in that lets the sandboxed service read its inputs and write its outputs, and no more.

    Nothing else on the machine becomes writable, and a source can be changed only if the configuration moves
    or deletes it. For a folder on a share that comes and goes, the drop-in opens the share's own mount point: a
    sandbox that names a folder inside would keep the old mount after the share was lost, and never see the new one.
    Where there are so many workers that the pool *chooses_processor* (see ``processors``), it is let.
    """
    known = list(folders)
    points = sorted(shares, key=lambda point: -len(point.parts))
    opened = [(folder, _opened(folder, points)) for folder in known]
    paths = {path: None for _, found in opened for path in found}
    lines = [
        "# Written by `rembg-watch init --systemd` for its configuration: write it again when folders change.",
        "# What is opened here must exist when the service starts: it cannot write to a folder that is made later.",
        "",
        "[Unit]",
        *(line for path in paths for line in _mounted_first(path, is_share=path in points)),
        "",
        "[Service]",
    ]
    if any(path.is_relative_to(home) for path in paths for home in HOMES):
        lines += ["# Home folders stay hidden, except for those named below.", "ProtectHome=tmpfs"]
    for folder, found in opened:
        lines.append(f"# {' '.join(folder.name.split())}")
        lines += [_directive(path, is_writable=is_writable) for path, is_writable in found.items()]
    if chooses_processor:
        lines += [
            "# So many workers are faster on one processor, which they choose themselves.",
            "SystemCallFilter=sched_setaffinity",
        ]
    return "\n".join(lines) + "\n"


def _mounted_first(path: PurePath, *, is_share: bool) -> list[str]:
    """Require a local disk, but only wait for a share: without it the daemon starts and says what is away."""
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


def _opened(folder: Folder, shares: Sequence[PurePath]) -> dict[PurePath, bool]:
    """List what to open for *folder*, and whether it has to be writable; a share is opened as a whole."""
    found: dict[PurePath, bool] = {}
    for path, is_writable in _needed(folder).items():
        opened = next((share for share in shares if path.is_relative_to(share)), path)
        found[opened] = found.get(opened, False) or is_writable
    return found


def _needed(folder: Folder) -> dict[PurePath, bool]:
    """List each path that a folder needs, and whether it has to be writable."""
    changes_sources = folder.after in ("move", "delete") or folder.failed is not None
    needed: dict[PurePath, bool] = {folder.input: changes_sources, folder.output: True}
    if folder.after == "move" and folder.done:
        needed[folder.done] = True
    if folder.failed:
        needed[folder.failed] = True
    if folder.review_dir:
        needed[folder.review_dir] = True
    return needed


def _directive(path: PurePath, *, is_writable: bool) -> str:
    """Write one line of the sandbox; thanks to the dash the service starts without the path, and says so itself."""
    if any(path.is_relative_to(hidden) for hidden in HIDDEN):
        return f"{'BindPaths' if is_writable else 'BindReadOnlyPaths'}={_quoted(path, dash=True, colon=True)}"
    return f"{'ReadWritePaths' if is_writable else 'ReadOnlyPaths'}={_quoted(path, dash=True)}"


def _quoted(path: PurePath, *, dash: bool = False, colon: bool = False) -> str:
    """Quote *path* so that systemd reads back the same path: escape specifiers, quotes and spaces."""
    text = str(path).replace("\\", "\\\\").replace("%", "%%").replace('"', '\\"')
    text = text.replace(":", "\\:") if colon else text
    text = "".join(c if c.isprintable() else _bytes_of(c) for c in text)
    text = f"-{text}" if dash else text
    return f'"{text}"' if any(c in text for c in " \t;'\\\"") else text
