"""Where the URLs stand that notices go to, and what may be shown of them: hardly anything, since they are secrets."""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

CREDENTIAL = "notify_urls"
LONGEST_BYTES = 64_000

_NAMED_BY_HOST = frozenset(
    {"json", "jsons", "xml", "xmls", "form", "forms", "mailto", "mailtos", "gotify", "gotifys", "mmost", "mmosts"}
    | {"rocket", "rockets", "matrix", "matrixs", "ncloud", "nclouds", "nctalk", "nctalks", "hassio", "hassios"}
    | {"mqtt", "mqtts", "syslog", "rsyslog", "smtp", "smtps", "http", "https"}
)
"""Schemes of which the host is one. Others have a token or a topic in its place."""


@dataclass(frozen=True, slots=True)
class Line:
    """A URL, and where in its file it stands."""

    number: int
    url: str

    @property
    def digest(self) -> str:
        """Return what is kept of it, to know it again."""
        return hashlib.sha256(b"rembg-watch notify " + self.url.encode()).hexdigest()[:12]

    @property
    def shown(self) -> str:
        """Name it without anything secret: ``mailtos://example.org (line 2)``."""
        return f"{address(self.url)} (line {self.number})"


def place(urls_file: Path | None, environ: Mapping[str, str]) -> Path | None:
    """Say which file the URLs are in: the systemd credential, else the one of the settings; None: in none."""
    directory = environ.get("CREDENTIALS_DIRECTORY", "")
    if directory and os.path.exists(Path(directory) / CREDENTIAL):  # noqa: PTH110  # never raises
        return Path(directory) / CREDENTIAL
    return urls_file


def read(path: Path) -> list[Line]:
    """
    Read the URLs, one a line; what is empty or begins with # is none.

    Raises:
        OSError: The file cannot be read, or is far too long for one of URLs.
    """
    with path.open("rb") as file:
        raw = file.read(LONGEST_BYTES + 1)
    if len(raw) > LONGEST_BYTES:
        raise OSError("it is far too long")
    lines = enumerate(raw.decode("utf-8-sig", "replace").splitlines(), start=1)
    return [Line(number, line.strip()) for number, line in lines if line.strip() and not line.lstrip().startswith("#")]


def address(url: str) -> str:
    """Name a URL by its scheme, and by its host where that is one and no secret."""
    scheme = url.partition("://")[0]
    if "://" not in url or not scheme.isascii() or not scheme.isprintable():
        return "?"
    if scheme.lower() not in _NAMED_BY_HOST:
        return f"{scheme}://..."
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return f"{scheme}://..."
    if not host or not host.isprintable():
        return f"{scheme}://..."
    host = f"[{host}]" if ":" in host else host
    return f"{scheme}://{host}{f':{port}' if port else ''}"
