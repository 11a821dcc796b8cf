"""Commands as a user calls them, in this process, against a sandbox on loopback."""

import io
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageDraw

from rembg_watch.cli import main
from rembg_watch.sandbox import Sandbox

KEY = "sandbox-key-0815"


@dataclass(frozen=True)
class Ended:
    """How a command ended and what it wrote."""

    code: int
    raw: bytes
    err: str

    @property
    def out(self) -> str:
        return self.raw.decode()


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which commands are called, with nothing configured around it."""
    place, spare, home = (tmp_path / name for name in ("desk", "tmp", "home"))
    for folder in (place, spare, home):
        folder.mkdir()
    monkeypatch.chdir(place)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home))
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    monkeypatch.setattr(tempfile, "tempdir", str(spare))
    return place


@pytest.fixture
def spare(desk: Path) -> Path:
    """The folder for temporary files."""
    return desk.parent / "tmp"


@pytest.fixture
def call(
    desk: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> Callable[..., Ended]:
    def act(*arguments: str | Path, stdin: bytes = b"") -> Ended:
        monkeypatch.setattr(sys, "argv", ["rembg-watch", *map(str, arguments)])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        capfdbinary.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        raw, err = capfdbinary.readouterr()
        return Ended(int(ended.value.code or 0), raw, err.decode())

    return act


@pytest.fixture
def serve(desk: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Sandbox]]:
    """Start a sandbox and let the environment name it and its key."""
    servers = []

    def start(**settings: Any) -> Sandbox:
        sandbox = Sandbox(KEY, **({"engine": "flat"} | settings))
        servers.append(sandbox.serve())
        monkeypatch.setenv("REMBG_WATCH_API__URL", servers[-1].url)
        monkeypatch.setenv("REMBG_WATCH_API__USAGE_URL", servers[-1].usage_url)
        monkeypatch.setenv("REMBG_WATCH_API__KEY", KEY)
        return sandbox

    yield start
    for server in servers:
        server.stop()


@pytest.fixture
def make_picture() -> Callable[..., bytes]:
    """Make a studio-like picture: a red disc, off the middle, on a grey ground."""

    def make(width: int = 60, height: int = 40, kind: str = "JPEG", **options: Any) -> bytes:
        picture = Image.new("RGB", (width, height), (225, 226, 228))
        side = min(width, height)
        ImageDraw.Draw(picture).ellipse((side * 0.2, side * 0.2, side * 0.8, side * 0.8), fill=(190, 30, 40))
        target = io.BytesIO()
        picture.save(target, kind, **options)
        return target.getvalue()

    return make
