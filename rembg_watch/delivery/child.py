"""
One process that decodes for the daemon, as whoever asks it sees it: started, asked a line, watched, buried.

A process that waits for a share that does not answer uses no processor time, and that is how it is known: nobody
can look into its reads.
"""

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import PIL

import rembg_watch
from rembg_watch.delivery import decoder
from rembg_watch.delivery.waiting import BEAT_S, STUCK_S, Waiting
from rembg_watch.host import processors
from rembg_watch.host.interpreter import environment

# Without ``site``: its work is done, ``environment`` hands on what came of it.
COMMAND = (sys.executable, "-P", "-S", "-W", "ignore", "-c", "from rembg_watch.delivery.decoder import main; main()")

_START_LIMIT_S = 30.0
_END_LIMIT_S = 5.0
CRASHES = frozenset({signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGILL, signal.SIGFPE})


@dataclass(frozen=True, slots=True)
class End:
    """How a child ended, and what it said at last."""

    code: int  # as ``subprocess`` has it: below zero the signal
    words: str
    is_mad: bool = False  # it answered what no decoder says

    @property
    def is_crash(self) -> bool:
        """Whether the picture may be what ended it."""
        return self.is_mad or -self.code in CRASHES

    @property
    def how(self) -> str:
        """By what it ended, in words."""
        if self.is_mad:
            return "by talking nonsense"
        with contextlib.suppress(ValueError):
            return f"by {signal.Signals(-self.code).name}"
        return f"with exit code {self.code}"

    def __str__(self) -> str:
        return f"{self.how}; its last words: {self.words}" if self.words else self.how


class Child:
    """One process, which is asked by one thread at a time."""

    def __init__(self, command: Sequence[str]) -> None:
        self._words, words = os.pipe()
        self._to, theirs = socket.socketpair()
        try:
            for fd in (self._words, words):
                os.set_blocking(fd, False)  # so that nobody ever waits for them to be read
            self._process = subprocess.Popen(  # noqa: S603  # our own program
                command,
                stdin=theirs.fileno(),
                stdout=subprocess.PIPE,
                stderr=words,
                bufsize=0,
                cwd="/",
                env=environment(rembg_watch, PIL),
                start_new_session=True,  # a terminal's Ctrl-C is for the daemon, which still needs it
            )
        except BaseException:
            os.close(self._words)
            self._to.close()
            raise
        finally:
            os.close(words)
            theirs.close()
        assert self._process.stdout is not None
        self._from = self._process.stdout.fileno()
        self.pid = self._process.pid
        processors.let_go(self.pid)
        self.rests_since_s = time.monotonic()

    def is_ready(self) -> bool:
        """Wait until it says that it works, and works as this version does."""
        poll, until_s, said = select.poll(), time.monotonic() + _START_LIMIT_S, b""
        poll.register(self._from, select.POLLIN)
        while not said.endswith(b"\n") and poll.poll(max(0.0, until_s - time.monotonic()) * 1000):
            read = os.read(self._from, len(decoder.HELLO))
            if not read:
                break
            said += read
        return said == decoder.HELLO

    def ask(self, question: bytes, files: Sequence[int] = (), waiting: Waiting | None = None) -> bytes | None:
        """Return its answer; None if it ended."""
        try:
            if files:
                socket.send_fds(self._to, [question], files)
            else:
                self._to.sendall(question)
            if waiting is not None:
                self._watch_until_said(waiting)
            said = os.read(self._from, decoder.LONGEST_LINE_BYTES)
            while said and not said.endswith(b"\n") and len(said) < decoder.LONGEST_LINE_BYTES:
                more = os.read(self._from, decoder.LONGEST_LINE_BYTES)
                if not more:
                    return None
                said += more
        except ConnectionError:
            return None
        return said or None

    def _watch_until_said(self, waiting: Waiting) -> None:
        poll = select.poll()
        poll.register(self._from, select.POLLIN)
        used, worked_s = self._used(), time.monotonic()
        waiting.moved()
        while not poll.poll(BEAT_S * 1000):
            waiting.beat()
            before, used = used, self._used()
            if used != before:
                worked_s = time.monotonic()
                waiting.moved()
            elif time.monotonic() - worked_s > STUCK_S:
                waiting.stuck()

    def _used(self) -> bytes:
        """Return what tells whether it has used the processor since the last look."""
        try:
            told = Path(f"/proc/{self.pid}/stat").read_bytes()
        except OSError:
            return b""
        return b" ".join(told.rpartition(b")")[2].split()[11:13])  # user and system, in ticks

    @property
    def is_alive(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    def kill(self) -> None:
        """End it, whatever it does; it is still to be buried."""
        self._process.kill()

    def dismiss(self) -> None:
        """Let it go: it reads that nobody will ask any more."""
        self._to.close()
        if self._process.stdout is not None:
            with contextlib.suppress(OSError):
                self._process.stdout.close()

    def ended(self, *, is_mad: bool = False) -> End:
        """Wait for its end, let nothing of it stay behind, and say how it was."""
        self.dismiss()
        try:
            code = self._process.wait(_END_LIMIT_S)
        except subprocess.TimeoutExpired:
            self.kill()
            code = self._process.wait()
        said = b""
        with contextlib.suppress(OSError):
            said = os.read(self._words, decoder.LONGEST_LINE_BYTES)
        os.close(self._words)
        return End(code, "; ".join(said.decode(errors="replace").split("\n")).strip("; ")[-2000:], is_mad)
