"""The page as a process of its own, as a user starts it."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Running:
    """A page that listens."""

    process: "subprocess.Popen[str]"
    url: str

    @property
    def port(self) -> int:
        found = re.search(r":(\d+)/", self.url)
        assert found
        return int(found[1])


def environment(home: Path, more: Mapping[str, str] | None = None) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("REMBG_WATCH")}
    return (
        kept | {"HOME": str(home), "XDG_CACHE_HOME": str(home / "cache"), "PYTHONWARNINGS": "error"} | dict(more or {})
    )


@contextmanager
def running(*configs: Path, home: Path, more: Mapping[str, str] | None = None) -> Iterator[Running]:
    words = [word for config in configs for word in ("--config", str(config))]
    process = subprocess.Popen(
        [sys.executable, "-m", "rembg_watch", "web", *words],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment(home, more),
    )  # fmt: skip
    assert process.stdout is not None
    try:
        said = process.stdout.readline()
        assert said.startswith("listening on "), said + process.stdout.read()
        yield Running(process, said.removeprefix("listening on ").strip())
    finally:
        process.send_signal(signal.SIGTERM)
        rest = process.communicate(timeout=30)[0]
        assert process.returncode in {0, -signal.SIGTERM}, rest
        assert "Traceback" not in rest, rest
