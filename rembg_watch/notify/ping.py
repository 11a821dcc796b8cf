"""
A dead man's switch: a URL is asked for as long as the daemon lives and is not stuck.

Whoever watches it tells people once that stops: the only notice that comes when this machine is dead.
"""

import contextlib
import threading
from collections.abc import Callable

import httpx

from rembg_watch import __version__
from rembg_watch.notify.urls import address
from rembg_watch.report import events
from rembg_watch.report.events import Reporter

ANSWER_S = 10.0


def ask(url: str, *, timeout_s: float = ANSWER_S) -> str | None:
    """Ask for *url* and return why that was in vain, without what stands in it; None: it answered."""
    try:
        with httpx.Client(timeout=timeout_s, headers={"user-agent": f"rembg-watch/{__version__}"}) as client:
            status = client.get(url).status_code
    except httpx.TimeoutException:
        return f"it did not answer within {timeout_s:.0f} s"
    except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError):
        return "it cannot be reached"
    return None if status < httpx.codes.BAD_REQUEST else f"it answered {status}"


class Ping:
    """Asks for a URL in a thread of its own, at once and then every so often."""

    def __init__(self, url: str, *, every_s: float, is_well: Callable[[], bool], report: Reporter) -> None:
        self._url = url
        self._every_s = every_s
        self._is_well = is_well
        self._report = report
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ping", daemon=True)

    def start(self) -> None:
        """Begin; where no thread can be started, whoever watches the URL is told by its silence."""
        with contextlib.suppress(RuntimeError):
            self._thread.start()

    def stop(self) -> None:
        """Ask no more; what is under way is not waited for."""
        self._stopping.set()

    def _run(self) -> None:
        while not self._stopping.is_set():
            if self._is_well():
                why = ask(self._url)
                shown = address(self._url)
                self._report(events.PingFailed(where=shown, why=why) if why else events.PingAnswered(where=shown))
            self._stopping.wait(self._every_s)
