"""
The daemon and the page beside the demo, each started as a person would start it, and ended with the demo.

They are told to end in order. Should the demo be killed, the kernel tells them.
"""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

Process: TypeAlias = "subprocess.Popen[bytes]"

_STOP_S = 30.0
_LISTEN_S = 60.0
_LISTENS = re.compile(rb"^listening on (\S+)$", re.MULTILINE)

# PR_SET_PDEATHSIG is 1. It outlives execve, and is set here since Popen's preexec_fn is no place for it beside threads.
_OURS = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGTERM)
if os.getppid() == int(sys.argv[1]):
    os.execv(sys.executable, [sys.executable, "-m", "rembg_watch", *sys.argv[2:]])
"""


@contextmanager
def started(command: str, config: Path, log: Path, **environ: str) -> Iterator[Process]:
    """Run a command beside us, with what it writes in *log*; end it as systemd would, and wait for it."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("REMBG_WATCH_")}
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603  # our own program
            [sys.executable, "-P", "-c", _OURS, str(os.getpid()), command, "--config", str(config)],
            stdout=output,
            stderr=output,
            env=environment | environ,
            process_group=0,  # Ctrl-C is for the demo alone: the daemon would take ours for the second one, and hurry
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@dataclass
class Page:
    """The page beside the demo; *tell* is called once, with its address."""

    process: Process
    log: Path
    tell: Callable[[str], None]
    address: str = ""

    def look(self) -> None:
        """Tell where it listens, if that is known by now and was not told."""
        if not self.address and (found := _LISTENS.search(self.log.read_bytes())):
            self.address = found[1].decode()
            self.tell(self.address)

    def wait(self) -> bool:
        """Return once it listens, and whether it does."""
        until = time.monotonic() + _LISTEN_S
        while not self.address and self.process.poll() is None and time.monotonic() < until:
            self.look()
            time.sleep(0.05)
        return bool(self.address) and self.process.poll() is None


@contextmanager
def told_to_end() -> Iterator[None]:
    """Take SIGTERM, and the end of the terminal, for Ctrl-C; what is ignored, as by ``nohup``, stays ignored."""
    numbers = [one for one in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(one) is not signal.SIG_IGN]
    before = {number: signal.signal(number, signal.default_int_handler) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
