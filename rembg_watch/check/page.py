"""Whether ``rembg-watch web`` would start, where the configuration speaks of it; the daemon works without it."""

import socket
from collections.abc import Iterable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

from rembg_watch.config import Finding, FindingKind, Settings, Severity
from rembg_watch.config.page import password_of, refuse_open_doors
from rembg_watch.config.rules import Where
from rembg_watch.config.telling import WebSettings
from rembg_watch.errors import ConfigError

PACKAGES = ("starlette", "jinja2", "uvicorn", "anyio")
INSTALL = "pip install 'rembg-watch[web]'"


def missing_for_the_page(packages: Iterable[str] = PACKAGES) -> str:
    """Say what is not installed, and how to get it; empty: nothing."""
    missing = [name for name in packages if find_spec(name) is None]
    return f"the page needs {', '.join(missing)}: {INSTALL}" if missing else ""


def findings(
    settings: Settings, where: Where, environ: Mapping[str, str], *, packages: Iterable[str] = PACKAGES
) -> Iterator[Finding]:
    """Report why the page would not start, or could not be reached."""
    web = settings.web
    if web == WebSettings():
        return
    missing = [name for name in packages if find_spec(name) is None]
    if missing:
        what = f"the page cannot be served: {', '.join(missing)} is not installed"
        yield _finding(what, where(("web",)), INSTALL)
    try:
        refuse_open_doors(web)
        if web.password_file is not None and web.auth == "password":
            password_of(web, environ)
    except ConfigError as error:
        for one in error.problems:
            what, _, todo = one.removeprefix("[web] ").rpartition(": ")
            yield _finding(f"the page would not start: {what or todo}", where(("web",)), todo if what else "")
    why = _why_unheard(web.listen)
    if why is not None:
        what = f"the page cannot listen on {web.listen}: {why}"
        yield _finding(what, where(("web", "listen")), "choose an address of this machine")


def _why_unheard(listen: str) -> str | None:
    """Say why nothing can listen there; the port is left out, since the page may listen on it already."""
    if listen.startswith("unix:"):
        parent = Path(listen.removeprefix("unix:")).parent
        return None if parent.is_dir() else f"there is no folder {parent}"
    try:
        found = socket.getaddrinfo(urlsplit(f"//{listen}").hostname, 0, type=socket.SOCK_STREAM)
        family, kind, protocol, _, address = found[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.bind(address)
    except OSError as error:
        return error.strerror or str(error)
    return None


def _finding(what: str, where: str, todo: str) -> Finding:
    return Finding(Severity.WARNING, FindingKind.MACHINE, what, where=where, todo=todo)
