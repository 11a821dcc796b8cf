"""
Three ways to write a line of the log: for a person, for journald, for a collector.

They write; what is worth a line is decided by events, and what must not stand in it by the redactor.
"""

import array
import contextlib
import errno
import fcntl
import json
import os
import socket
import struct
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Protocol, TextIO, cast

from rembg_watch.report.words import When, local_text, utc_text

IDENTIFIER = "rembg-watch"
JOURNAL = "/run/systemd/journal/socket"
SEND_WITHIN_S = 5


class Output(Protocol):
    """Where lines go; what it gets is redacted already."""

    when: When

    def write(self, event: Mapping[str, Any]) -> None:
        """Write one event; never raise because nobody reads."""


_COLOURS = {"debug": "\x1b[2m", "info": "", "warning": "\x1b[33m", "error": "\x1b[31m", "critical": "\x1b[31;1m"}
_OURS = frozenset({"event", "level", "kind", "facts", "at", "exception", "logger"})


class HumanLines:
    """One line for a person: time with offset, level where it is not plain news, sentence."""

    when: When = staticmethod(local_text)

    def __init__(self, stream: TextIO | None = None, *, colour: bool | None = None) -> None:
        self._stream = stream or sys.stderr
        self._colour = _is_terminal(self._stream) and "NO_COLOR" not in os.environ if colour is None else colour

    def write(self, event: Mapping[str, Any]) -> None:
        """Write one event as a line, a traceback below it."""
        at = cast("datetime", event["at"]).astimezone()
        line = f"{at:%Y-%m-%d %H:%M:%S%z} {event['level']:<7} {_message(event)}"
        tint = _COLOURS[event["level"]] if self._colour else ""
        _put(self._stream, f"{tint}{line}\x1b[0m" if tint else line)


def _is_terminal(stream: TextIO) -> bool:
    try:
        return stream.isatty()
    except ValueError:  # closed
        return False


class JsonLines:
    """One JSON object a line, for collectors; moments in UTC."""

    when: When = staticmethod(utc_text)

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr

    def write(self, event: Mapping[str, Any]) -> None:
        """Write one event as an object with its facts beside its sentence."""
        at = cast("datetime", event["at"]).astimezone(UTC)
        line = {
            "at": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": event["level"],
            "kind": event.get("kind", "note"),
            "message": event["event"],
            **{name: value for name, value in event.items() if name not in _OURS},
            **event.get("facts", {}),
        }
        for name in ("logger", "exception"):
            if name in event:
                line[name] = event[name]
        _put(self._stream, json.dumps(line, ensure_ascii=False))


_PRIORITIES = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}
_JOURNAL_FIELDS = {
    "folder": "REMBG_FOLDER",
    "source": "REMBG_FILE",
    "target": "REMBG_TARGET",
    "job": "REMBG_JOB",
    "charged": "REMBG_CREDITS",
    "duration_s": "REMBG_DURATION_S",
    "reason": "REMBG_REASON",
    "code": "REMBG_CODE",
    "request_id": "REMBG_REQUEST_ID",
}


class Journal:
    """
    journald's native protocol: ``journalctl REMBG_FILE=shoes/a.jpg`` finds a picture's story.

    Should journald not listen, the line goes to the stream that it also reads.
    """

    when: When = staticmethod(local_text)

    def __init__(self, path: str = JOURNAL, *, fallback: TextIO | None = None) -> None:
        self._path = path
        self._fallback = fallback or sys.stderr

    def write(self, event: Mapping[str, Any]) -> None:
        """Send one event with its own fields."""
        message = _message(event)
        priority = _PRIORITIES[event["level"]]
        entry = {"MESSAGE": message, "PRIORITY": str(priority), "SYSLOG_IDENTIFIER": IDENTIFIER}
        entry["REMBG_EVENT"] = event.get("kind", "note")
        known = event.get("facts", {})
        entry |= {name: str(known[fact]) for fact, name in _JOURNAL_FIELDS.items() if known.get(fact) is not None}
        try:
            self._send(b"".join(_journal_field(name, value) for name, value in entry.items()))
        except OSError:
            _put(self._fallback, "\n".join(f"<{priority}>{line}" for line in message.splitlines()))

    def _send(self, datagram: bytes) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as out:
            out.settimeout(SEND_WITHIN_S)  # a journal that hangs must not stop the pictures
            try:
                out.sendto(datagram, self._path)
            except OSError as error:
                if error.errno not in _TOO_LONG:
                    raise
                _send_sealed(out, datagram, self._path)


def _send_sealed(out: socket.socket, datagram: bytes, path: str) -> None:
    """Hand over what is too long for a datagram, a long traceback say, as a sealed memory file."""
    memory = os.memfd_create(IDENTIFIER, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    with os.fdopen(memory, "wb", buffering=0) as file:
        file.write(datagram)
        fcntl.fcntl(memory, fcntl.F_ADD_SEALS, _ALL_SEALS)
        out.sendmsg([b""], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [memory]))], 0, path)


_TOO_LONG = frozenset({errno.EMSGSIZE, errno.ENOBUFS})
_ALL_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL


def _journal_field(name: str, value: str) -> bytes:
    raw = value.encode("utf-8", "backslashreplace")
    if b"\n" in raw:
        return name.encode() + b"\n" + struct.pack("<Q", len(raw)) + raw + b"\n"
    return name.encode() + b"=" + raw + b"\n"


def _message(event: Mapping[str, Any]) -> str:
    """The sentence, what a note carries beside it, and the traceback below."""
    extra = "".join(f" {name}={value}" for name, value in event.items() if name not in _OURS)
    source = f"{event['logger']}: " if "logger" in event else ""
    trace = f"\n{event['exception']}" if event.get("exception") else ""
    return f"{source}{event['event']}{extra}{trace}"


def _put(stream: TextIO, line: str) -> None:
    """Write *line*; a closed terminal, a full disk or a gone pipe is no reason to stop."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    with contextlib.suppress(OSError, ValueError):
        stream.write(line.encode(encoding, "backslashreplace").decode(encoding) + "\n")
        stream.flush()


def is_journal(stream: TextIO, journal_stream: str | None) -> bool:
    """Say whether *stream* leads to journald: JOURNAL_STREAM is inherited even where stderr is redirected."""
    if not journal_stream:
        return False
    try:
        here = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return journal_stream == f"{here.st_dev}:{here.st_ino}"


def choose_output(style: str = "auto", *, stream: TextIO | None = None) -> Output:
    """Choose how to write: ``human``, ``json``, ``journal``, or ``auto``: the journal where stderr leads there."""
    out = stream or sys.stderr
    if style == "json":
        return JsonLines(out)
    if style == "journal" or (style == "auto" and is_journal(out, os.environ.get("JOURNAL_STREAM"))):
        return Journal(fallback=out)
    return HumanLines(out)
