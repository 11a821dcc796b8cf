"""Whether people can be told: the file of URLs, each URL in it, and the dead man's switch. Nothing is sent."""

import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from rembg_watch.config import Finding, FindingKind, Settings, Severity
from rembg_watch.config.readers import is_loopback
from rembg_watch.notify.urls import address, place

_WHERE = "[notify] urls_file"


def findings(settings: Settings, environ: Mapping[str, str] | None = None) -> Iterator[Finding]:
    """Report what would keep notices from arriving, and who else could read where they go to."""
    path = place(settings.notify.urls_file, os.environ if environ is None else environ)
    if path is not None and path == settings.notify.urls_file:  # systemd sees to a credential
        yield from _mode(path)
    if path is not None:
        yield from _urls(path)
    if settings.notify.ping_url is not None:
        yield from _ping(settings.notify.ping_url.get_secret_value())


def _mode(path: Path) -> Iterator[Finding]:
    try:
        mode = path.stat().st_mode
    except OSError:
        return
    if mode & (stat.S_IRWXO | stat.S_IRWXG):
        what = f"others can read or change {path}, which holds secrets (mode {stat.S_IMODE(mode):04o})"
        yield Finding(Severity.WARNING, FindingKind.NOTICES, what, where=_WHERE, todo=f"chmod 600 {path}")


def _urls(path: Path) -> Iterator[Finding]:
    from rembg_watch.notify.sending import MISSING, Sender, SenderError, is_available  # here: only ``check`` needs it

    if not is_available():
        what, _, todo = MISSING.partition(": ")
        yield Finding(Severity.ERROR, FindingKind.NOTICES, f"nobody can be told: {what}", where="[notify]", todo=todo)
        return
    try:
        with Sender(path) as sender:
            ways = list(sender.look())
    except SenderError as error:
        todo = "correct the path, or let the user that runs this read the file"
        yield Finding(Severity.ERROR, FindingKind.NOTICES, str(error), where=_WHERE, todo=todo)
        return
    for way in ways:
        if way.why is not None:
            todo = "look it up at https://appriseit.com/services/"
            yield Finding(Severity.ERROR, FindingKind.NOTICES, f"{way.shown}: {way.why}", where=str(path), todo=todo)


def _ping(url: str) -> Iterator[Finding]:
    parts = urlsplit(url)
    if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
        what = f"{address(url)} is asked for unencrypted: who listens can ask for it in this daemon's place"
        todo = "use https://"
        yield Finding(Severity.WARNING, FindingKind.NOTICES, what, where="[notify] ping_url", todo=todo)
