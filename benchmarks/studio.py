"""
A studio for benchmarks: pictures to drop, a daemon in a process of its own, and what it uses.

What is measured with it, and what is said of it, is in the other modules here.
"""

import contextlib
import json
import os
import signal
import sqlite3
import struct
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.plain_api import picture
from rembg_watch.host.disk import version_of
from rembg_watch.ledger import open_ledger

TICKS_S = 1 / os.sysconf("SC_CLK_TCK")
FAST = {"rate": 1000.0, "good": 1000.0, "is_starting": False}
"""A pace that nobody reaches, as if it had been learned: where the pacer is not what is measured."""


def jpegs(folder: Path, count: int, *, size_bytes: int = 0, first: int = 0, per_directory: int = 0) -> None:
    """Make *count* pictures of 640 x 480, no two of the same bytes, in sub-folders if they are to be."""
    plain = picture("JPEG", 640, 480)
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(first, first + count):
        place = folder / f"shoot-{number // per_directory:04d}" if per_directory else folder
        if not per_directory or number % per_directory == 0:
            place.mkdir(exist_ok=True)
        (place / f"IMG_{number:06d}.jpg").write_bytes(stuffed(plain, number, size_bytes))


def stuffed(jpeg: bytes, number: int, size_bytes: int = 0) -> bytes:
    """Make a JPEG of other bytes that shows the same, and as large as wanted, by comments in it."""
    here = jpeg.index(b"\xff\xda")  # before the scan and after all that a look at the header needs
    comments = [_comment(b"%020d" % number)]
    left = size_bytes - len(jpeg)
    while left > 0:
        comments.append(_comment(b"%020d" % number * min(3000, max(1, left // 20))))
        left -= len(comments[-1])
    return jpeg[:here] + b"".join(comments) + jpeg[here:]


def _comment(text: bytes) -> bytes:
    return b"\xff\xfe" + struct.pack(">H", len(text) + 2) + text


@dataclass
class Studio:
    """Folders, a configuration and an address of an API."""

    root: Path
    url: str
    workers: int = 8
    settle_s: float = 0.5
    extra: str = ""

    @property
    def input(self) -> Path:
        return self.root / "in"

    @property
    def output(self) -> Path:
        return self.root / "out"

    @property
    def state(self) -> Path:
        return self.root / "state"

    @property
    def config(self) -> Path:
        return self.root / "rembg-watch.toml"

    def prepare(self, note: Mapping[str, Any] | None = FAST) -> "Studio":
        """Make the folders, the configuration and a ledger in which the pace is known."""
        for folder in (self.input, self.output, self.state):
            folder.mkdir(parents=True, exist_ok=True)
        self.config.write_text(
            f'state_dir = "{self.state}"\n'
            f'[api]\nurl = "{self.url}/rmbg"\nusage_url = "{self.url}/api/membership-usage"\n'
            f"[pool]\nworkers = {self.workers}\nbatch_size = {max(50, 4 * self.workers)}\n"
            f"[credits]\nask_above = 0\n"
            f"[watch]\nsettle_s = {self.settle_s}\n{self.extra}"
            f'[[folders]]\nname = "studio"\ninput = "{self.input}"\noutput = "{self.output}"\n',
            encoding="utf-8",
        )
        if note is not None:
            with open_ledger(self.state) as ledger:
                ledger.set_note("pacer", dict(note))
        return self

    @contextlib.contextmanager
    def daemon(self, *program: str) -> Iterator["Process"]:
        """Run ``rembg-watch run``, by *program* if given, while the context lasts, and end it as systemd would."""
        command = [sys.executable, *(program or ("-m", "rembg_watch")), "run", "--config", str(self.config)]
        with started(command, self.root) as process:
            yield process


class Process:
    """A child of ours, and what the kernel says of it."""

    def __init__(self, child: "subprocess.Popen[bytes]") -> None:
        self.child = child
        self.pid = child.pid

    def cpu_s(self) -> float:
        """Return the processor seconds used so far, by all its threads and by its children, those that ended too."""
        return _cpu_s(self.pid) + sum(_cpu_s(pid) for pid in self.children())

    def memory_mb(self, name: str = "VmRSS") -> float:
        """
        Return ``VmRSS``, or ``VmHWM``, the most it ever was, of the process and of its children that live now.

        That is too much rather than too little: what they share is counted for each, and
        the peaks are added as if they had been at the same time.
        """
        return sum(_memory_mb(pid, name) for pid in (self.pid, *self.children()))

    def children(self) -> list[int]:
        """Return the processes it started that are still there."""
        lists = Path(f"/proc/{self.pid}/task").glob("*/children")
        return [int(pid) for one in lists for pid in one.read_text(encoding="ascii").split()]

    def forget_peak(self) -> None:
        """Let ``VmHWM`` begin anew."""
        for pid in (self.pid, *self.children()):
            Path(f"/proc/{pid}/clear_refs").write_text("5", encoding="ascii")


def _cpu_s(pid: int) -> float:
    """Return what a process used and what it heard of children that ended."""
    after_name = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return sum(int(ticks) for ticks in after_name[11:15]) * TICKS_S


def _memory_mb(pid: int, name: str) -> float:
    rows = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    return next(int(row.split()[1]) for row in rows if row.startswith(f"{name}:")) * 1024 / 1e6


@contextlib.contextmanager
def started(command: list[str], directory: Path, *, name: str = "daemon") -> Iterator[Process]:
    """Run a command in a process of its own; its words go to a file in *directory*."""
    environment = {
        **os.environ,
        "REMBG_WATCH_API__KEY": "benchmark-key",
        "PYTHONPATH": str(Path.cwd()),
    }
    with (directory / f"{name}.log").open("ab") as log:
        child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, env=environment)
    try:
        yield Process(child)
    finally:
        if child.poll() is None:
            child.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(60)
        if child.poll() is None:
            child.kill()
            child.wait()
        if child.stdout:
            child.stdout.close()


@contextlib.contextmanager
def api(directory: Path, *, latency_s: float = 0.3, gather: int = 0) -> Iterator[str]:
    """Run the plain API; return its address."""
    command = [sys.executable, "-m", "benchmarks.plain_api", "--latency", str(latency_s), "--gather", str(gather)]
    with started(command, directory, name="api") as process:
        yield announced(process)


@contextlib.contextmanager
def sandbox(directory: Path, *options: str) -> Iterator[str]:
    """Run the sandbox; return its address."""
    command = [sys.executable, "-m", "rembg_watch", "sandbox", "--port", "0", "--key", "benchmark-key", *options]
    with started(command, directory, name="sandbox") as process:
        yield announced(process)


def announced(process: Process) -> str:
    """Wait for ``listening on`` and return the address."""
    assert process.child.stdout is not None
    for line in process.child.stdout:
        if b"listening on " in line:
            return line.decode().partition("listening on ")[2].split()[0]
    raise RuntimeError("the server ended before it listened; see its log")


def ask(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=30) as answer:
        return json.load(answer)


def times_of(url: str) -> list[tuple[float, float]]:
    """Return when each request came and was answered since the last time of asking, on the monotonic clock."""
    return [(began_s, ended_s) for began_s, ended_s in ask(f"{url}/times")["times"]]


def status(studio: Studio) -> dict[str, Any]:
    """Return how the daemon says that it stands; nothing before it says so for the first time."""
    try:
        found: dict[str, Any] = json.loads((studio.state / "status.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    return found


def sandbox_calls(url: str) -> list[tuple[float, int]]:
    """Return when each picture came to the sandbox, in seconds since 1970, and how it was answered."""
    rows = ask(f"{url}/sandbox/requests?limit=1000000")["requests"]
    return [(datetime.fromisoformat(row["at"]).timestamp(), row["status"]) for row in rows if row["path"] == "/rmbg"]


def finished_tree(studio: Studio, count: int, *, per_directory: int = 500) -> None:
    """Make a tree of *count* pictures that the ledger knows as delivered."""
    jpeg, now = picture("JPEG", 8, 8), datetime.now(UTC)
    seen = []
    for number in range(count):
        name = f"shoot-{number // per_directory:04d}/IMG_{number:06d}.jpg"
        path = studio.input / name
        if number % per_directory == 0:
            path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(jpeg)
        seen.append((name.encode(), version_of(path.stat())))
    with open_ledger(studio.state) as ledger:
        ledger.add("studio", seen, now)
    with contextlib.closing(sqlite3.connect(studio.state / "ledger.db")) as connection:
        connection.execute(
            "UPDATE jobs SET state = 'done', due_at = NULL, content_key = printf('%064d', id), "
            "answer_digest = printf('%064d', id), answer_bytes = 1000, target = source, charged = 1000000000, "
            "revision = 3"
        )
        connection.commit()


def wait_for(is_so: Callable[[], object], timeout_s: float, *, every_s: float = 0.1) -> None:
    """Wait until something is so."""
    until = time.monotonic() + timeout_s
    while not is_so():
        if time.monotonic() > until:
            raise TimeoutError("it took too long; see the logs")
        time.sleep(every_s)
