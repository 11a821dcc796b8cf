"""The process that sends, as whoever asks it sees it: started, asked a line, read, and ended when it is silent."""

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import rembg_watch
from rembg_watch.errors import RembgWatchError
from rembg_watch.host.interpreter import environment
from rembg_watch.notify.sender import EACH_S, command
from rembg_watch.notify.values import Notice

MISSING = "Apprise is not installed: pip install 'rembg-watch[notify]'"

_START_LIMIT_S = 30.0
_SILENT_LIMIT_S = EACH_S + 5.0
_LONGEST_LINE_BYTES = 65_536

_WAYS = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE")
_HANDED_ON = (*_WAYS, *(name.lower() for name in _WAYS[:4]))


class SenderError(RembgWatchError):
    """Nothing can be sent: Apprise, the URLs or the process that sends are not as they should be."""


@dataclass(frozen=True, slots=True)
class Way:
    """What came of one URL."""

    url: str  # its digest
    shown: str  # what may be shown of it
    why: str | None  # why nothing arrived there; None: it did


def is_available() -> bool:
    """Say whether what sends is installed."""
    return find_spec("apprise") is not None


class Sender:
    """One such process, for as long as there is something to send; use it as a context."""

    def __init__(self, path: Path, *, start: Sequence[str] | None = None) -> None:
        self._path = path
        self._command = start or command(sys.executable)
        self._said = b""
        self.pid = 0

    def __enter__(self) -> Self:
        """
        Start it.

        Raises:
            SenderError: Apprise is not installed, or no process can be started.
        """
        if not is_available():
            raise SenderError(MISSING)
        try:
            self._process = subprocess.Popen(  # noqa: S603  # our own program
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,  # what a service answers is nobody's business, and may be a secret
                bufsize=0,
                cwd="/",
                env=environment(rembg_watch, names=_HANDED_ON),
                start_new_session=True,  # so that all of it can be ended
            )
        except OSError as error:
            raise SenderError(f"the process that sends notices cannot be started: {error.strerror}") from error
        self.pid = self._process.pid
        try:
            self._line(_START_LIMIT_S)
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End it."""
        self._end()

    def send(self, notice: Notice) -> Iterator[Way]:
        """
        Send a notice everywhere where it has not arrived yet, and say of each way what came of it.

        Raises:
            SenderError: The URLs cannot be read, or the process is silent.
        """
        told = {"title": notice.title, "body": "\n".join(notice.lines), "kind": notice.kind.value}
        return self._ask({"path": os.fspath(self._path), "notice": {**told, "arrived": list(notice.arrived)}})

    def look(self) -> Iterator[Way]:
        """
        Say of each URL whether it is understood; nothing is sent.

        Raises:
            SenderError: As ``send``.
        """
        return self._ask({"path": os.fspath(self._path)})

    def _ask(self, question: dict[str, Any]) -> Iterator[Way]:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(question).encode() + b"\n")
        except OSError as error:
            raise SenderError("the process that sends notices has ended") from error
        while answer := self._line(_SILENT_LIMIT_S):
            if "trouble" in answer:
                raise SenderError(f"the URLs in {self._path} cannot be used: {answer['trouble']}")
            yield Way(answer["url"], answer["shown"], answer["why"])

    def _line(self, within_s: float) -> dict[str, Any]:
        assert self._process.stdout is not None
        poll = select.poll()
        poll.register(self._process.stdout, select.POLLIN)
        while b"\n" not in self._said:
            if not poll.poll(within_s * 1000):
                raise SenderError("the process that sends notices does not answer")
            more = os.read(self._process.stdout.fileno(), _LONGEST_LINE_BYTES)
            if not more:
                raise SenderError("the process that sends notices has ended")
            self._said += more
        line, _, self._said = self._said.partition(b"\n")
        found: dict[str, Any] = json.loads(line)
        return found

    def _end(self) -> None:
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
