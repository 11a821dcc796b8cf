"""What the tests of the whole program share: a studio with folders, an emulated API on loopback, and real processes."""

import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

from rembg_watch.sandbox import Sandbox
from rembg_watch.sandbox.emulator import RequestRecord
from rembg_watch.sandbox.render import flat_color
from rembg_watch.sandbox.server import LoopbackServer

KEY = "e2e-key-9f8e7d6c5b4a"
PROGRAM = (sys.executable, "-m", "rembg_watch")
KINDS = {"jpg": "JPEG", "jpeg": "JPEG", "png": "PNG", "webp": "WEBP", "bmp": "BMP"}
DEADLINE_S = 180.0


def wait_until(is_so: Callable[[], bool], what: str, *, within_s: float = DEADLINE_S) -> None:
    """Return as soon as *is_so* says yes; fail with *what* was waited for when time is up."""
    until = time.monotonic() + within_s
    while not is_so():
        if time.monotonic() > until:
            raise AssertionError(f"waited {within_s:.0f} s in vain: {what}")
        time.sleep(0.03)


def picture(number: int, kind: str = "jpg", size: tuple[int, int] = (64, 48)) -> bytes:
    """Make a small picture whose blocks spell *number*, so that no two have the same bytes."""
    image = Image.new("RGB", size, (230, 230, 232))
    draw = ImageDraw.Draw(image)
    for bit in range(16):
        x, y = 16 * (bit % 4), 12 * (bit // 4)
        if number >> bit & 1:
            draw.rectangle((x, y, x + 15, y + 11), fill=(180, 30, 40))
    target = io.BytesIO()
    image.save(target, KINDS[kind])
    return target.getvalue()


def is_made_from(output: Path, source: bytes) -> bool:
    """Say whether a cut-out has the colour that the emulator's flat engine gives to this very source."""
    with Image.open(output) as image:
        image.load()
        return image.convert("RGBA").getpixel((image.width // 2, image.height // 2)) == flat_color(
            hashlib.sha256(source).hexdigest()
        )


@dataclass(frozen=True)
class Said:
    """What a command said before it ended."""

    code: int
    out: str
    err: str

    @property
    def text(self) -> str:
        return self.out + self.err

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def clean(text: str) -> str:
    """Return *text*, which must never hold a traceback or the key."""
    assert "Traceback" not in text, text
    assert KEY not in text, text
    return text


@dataclass
class Running:
    """A ``run`` as a user starts it."""

    process: "subprocess.Popen[bytes]"
    log_file: Path

    @property
    def log(self) -> str:
        return clean(self.log_file.read_text(encoding="utf-8"))

    def wait_until(self, is_so: Callable[[], bool], what: str, *, within_s: float = DEADLINE_S) -> None:
        def alive_and_so() -> bool:
            assert self.process.poll() is None, f"ended with {self.process.returncode}:\n{self.log}"
            return is_so()

        try:
            wait_until(alive_and_so, what, within_s=within_s)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.log[-6000:]}") from error

    def says(self, words: str, *, within_s: float = DEADLINE_S) -> None:
        self.wait_until(lambda: words in self.log, f"the log says {words!r}", within_s=within_s)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """End it as systemd would and return its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        code = self.process.wait(DEADLINE_S)
        assert self.log is not None
        return code

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(DEADLINE_S)


@dataclass
class Studio:
    """Folders, a configuration, an emulated account, and the program beside them."""

    root: Path
    sandbox: Sandbox
    server: LoopbackServer
    config: Path = field(init=False)
    started: list[Running] = field(default_factory=list)

    def __post_init__(self) -> None:
        for name in ("in", "out"):
            (self.root / name).mkdir()
        self.key_file = self.root / "api_key"
        self.write_key(KEY)
        self.config = self.configure()

    @property
    def input(self) -> Path:
        return self.root / "in"

    @property
    def output(self) -> Path:
        return self.root / "out"

    @property
    def state(self) -> Path:
        return self.root / "state"

    def write_key(self, key: str) -> None:
        self.key_file.write_text(f"{key}\n")
        self.key_file.chmod(0o600)

    def configure(
        self, name: str = "config.toml", *, folders: list[dict[str, Any]] | None = None, **tables: Any
    ) -> Path:
        """Write a configuration with short times; *tables* changes it, ``folder`` and ``options`` the one folder."""
        folder = {"name": "shoot", "input": str(self.input), "output": str(self.output)} | tables.pop("folder", {})
        options = {"format": "png"} | tables.pop("options", {})
        state_dir = tables.pop("state_dir", str(self.state))
        values: dict[str, dict[str, Any]] = {
            "api": {
                "url": self.server.url,
                "usage_url": self.server.usage_url,
                "key_file": str(self.key_file),
                "timeout_s": 20,
            },
            "credits": {"recheck_s": 1},
            "watch": {"settle_s": 0.3, "scan_interval_s": 0.5, "grace_s": 1},
            "output": {"free_space_reserve_mb": 0},
            "log": {"level": "info", "format": "human"},
        }
        for table, changes in tables.items():
            merged = values.get(table, {}) | changes
            values[table] = {key: value for key, value in merged.items() if value is not None}
        lines = [f"state_dir = {_toml(state_dir)}"]
        for table, pairs in values.items():
            lines += [f"[{table}]", *(f"{key} = {_toml(value)}" for key, value in pairs.items())]
        for one in [folder | {"options": options}] if folders is None else folders:
            wanted = one.get("options", {})
            lines += ["[[folders]]", *(f"{key} = {_toml(value)}" for key, value in one.items() if key != "options")]
            lines += ["[folders.options]", *(f"{key} = {_toml(value)}" for key, value in wanted.items())]
        path = self.root / name
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return path

    # --- pictures -------------------------------------------------------------------------------

    def drop(self, name: str, number: int) -> bytes:
        """Put a picture into the input folder as a copy program would: written, then closed."""
        return self.put(name, picture(number, name.rpartition(".")[2].lower()))

    def put(self, name: str, content: bytes) -> bytes:
        path = self.input / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return content

    def outputs(self) -> dict[str, Path]:
        """Return what a person sees in the output folder: no hidden files."""
        found = (path for path in self.output.rglob("*") if path.is_file() and not path.name.startswith("."))
        return {path.relative_to(self.output).as_posix(): path for path in found}

    def left_over(self) -> list[Path]:
        """Return hidden files in the output folder: staging that somebody forgot."""
        return [path for path in self.output.rglob(".*") if path.is_file()]

    # --- the API --------------------------------------------------------------------------------

    @property
    def calls(self) -> list[RequestRecord]:
        with self.sandbox.lock:
            return [record for record in self.sandbox.requests if record.path == "/rmbg"]

    @property
    def readings(self) -> int:
        with self.sandbox.lock:
            return sum(record.path == "/api/membership-usage" for record in self.sandbox.requests)

    @property
    def billed_twice(self) -> int:
        with self.sandbox.lock:
            return sum(count - 1 for count in self.sandbox.billed_pictures.values())

    # --- the program ----------------------------------------------------------------------------

    def cli(self, *words: str, config: Path | None = None, within_s: float = DEADLINE_S, **more: Any) -> Said:
        """Run a command to its end, as a user in a terminal of 120 columns that is none."""
        done = subprocess.run(
            [*more.pop("before", ()), *PROGRAM, *words, "--config", str(config or self.config)],
            capture_output=True,
            timeout=within_s,
            env=environment(more.pop("env", {})),
            cwd=more.pop("cwd", self.root),
            check=False,
        )
        return Said(done.returncode, clean(done.stdout.decode()), clean(done.stderr.decode()))

    def status(self, config: Path | None = None) -> Any:
        said = self.cli("status", "--json", config=config)
        assert said.code == 0, said.text
        return said.json

    def reported(self) -> dict[str, Any]:
        """Read what the daemon wrote last, for waiting: cheaper than a command, and the same."""
        try:
            found: dict[str, Any] = json.loads((self.state / "status.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {
                "jobs": dict.fromkeys(("queued", "received"), 0),
                "gate": {"open": True, "reason": None},
                "folders": [],
            }
        return found

    def jobs(self, *words: str) -> list[dict[str, Any]]:
        said = self.cli("jobs", "--json", "--limit", "1000", *words)
        assert said.code == 0, said.text
        found: list[dict[str, Any]] = said.json
        return found

    @contextmanager
    def running(self, config: Path | None = None, **environ: str) -> Iterator[Running]:
        """Run the daemon for a while; whatever happens, it does not outlive the test."""
        log_file = self.root / f"log-{len(self.started)}.txt"
        with log_file.open("wb") as log:
            process = subprocess.Popen(
                [*PROGRAM, "run", "--config", str(config or self.config)],
                stdout=log,
                stderr=log,
                env=environment(environ),
                cwd=self.root,
            )
        daemon = Running(process, log_file)
        self.started.append(daemon)
        try:
            yield daemon
            if process.poll() is None:
                daemon.stop()
        finally:
            if process.poll() is None:
                daemon.kill()
        assert clean(daemon.log_file.read_text(encoding="utf-8")) is not None


def environment(changes: Mapping[str, str]) -> dict[str, str]:
    """Return a plain environment: nothing of the machine's own configuration gets in."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return {**kept, "COLUMNS": "120", "PYTHONUNBUFFERED": "1", **changes}


def _toml(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
