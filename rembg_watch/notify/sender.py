"""
The process that sends notices: Apprise lives here, and in no other process; the key and the daemon's files do not.

It reads the URLs itself, so that the daemon never has them, and takes one question a line from its standard input:
the next one only after its answers are read, so that what a crash of the daemon leaves in doubt is one notice. Each
way is tried in a process of its own, which nothing holds up longer than it may take.
"""

import json
import logging
import os
import re
import select
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rembg_watch.notify.urls import Line, read

HELLO = b'{"hello":1}\n'
EACH_S = 10.0
"""How long one way may take."""

_NO_CONNECTION = "it cannot be reached"


def main() -> None:
    """Answer questions until nobody asks any more."""
    out = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # what a plugin prints is no answer
    _load()
    out.write(HELLO)
    for line in sys.stdin.buffer:
        for answer in answers(json.loads(line)):
            out.write(json.dumps(answer).encode() + b"\n")
        out.write(b"{}\n")


def _load() -> None:
    """Load Apprise and what it speaks to most services with, once for all processes that are made of this one."""
    from apprise import Apprise

    Apprise().add("json://localhost")


def answers(question: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Say of each URL what came of it: ``url`` (a digest), ``shown``, and ``why`` it did not go, or None."""
    try:
        lines = read(Path(question["path"]))
    except OSError as error:
        yield {"trouble": (error.strerror or str(error)).lower()}
        return
    if not lines:
        yield {"trouble": "there is no URL in it"}
    for line in sorted({one.digest: one for one in reversed(lines)}.values(), key=lambda one: one.number):
        notice = question.get("notice")
        has_it = notice is not None and line.digest in notice["arrived"]
        why = None if has_it else _apart(line, notice)
        yield {"url": line.digest, "shown": line.shown, "why": why}


def _apart(line: Line, notice: Mapping[str, Any] | None) -> str | None:
    """Try one way in a process of its own, and for so long only."""
    said, says = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.write(says, (_why_not(line.url, notice) or "").encode() or b"\0")
            code = 0
        finally:
            os._exit(code)
    os.close(says)
    try:
        poll = select.poll()
        poll.register(said, select.POLLIN)
        if not poll.poll(EACH_S * 1000):
            return f"it did not answer within {EACH_S:.0f} s"
        words = os.read(said, 1000)
        return None if words == b"\0" else words.decode(errors="replace") or "it could not be tried"
    finally:
        os.close(said)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def _why_not(url: str, notice: Mapping[str, Any] | None) -> str | None:
    """Send a notice, or only see whether it could be; never says what stands in a URL, or what a service answers."""
    from apprise import Apprise, AppriseAsset, PersistentStoreMode

    asset = AppriseAsset(app_id="rembg-watch", async_mode=False, storage_mode=PersistentStoreMode.MEMORY)
    heard = _Heard()
    logger = logging.getLogger("apprise")
    logger.handlers[:], logger.propagate = [heard], False
    service = Apprise(asset=asset)
    if not service.add(url):
        return "Apprise does not understand it"
    if notice is None:
        return None
    sent = service.notify(body=notice["body"], title=notice["title"], notify_type=notice["kind"], body_format="text")
    return None if sent else heard.why


class _Heard(logging.Handler):
    """Listens for the one word in what Apprise says that is worth telling and no secret: the status."""

    why = "it did not take it"

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if status := re.search(r"error=(\d{3})\b", text):
            self.why = f"it answered {status[1]}"
        elif "connection error" in text.lower():
            self.why = _NO_CONNECTION


def command(python: str) -> Sequence[str]:
    """Return how it is started; without ``site``, whose work is done by what it is handed on."""
    return (python, "-P", "-S", "-W", "ignore", "-c", "from rembg_watch.notify.sender import main; main()")
