"""What the tests of the real daemon share: the README's commands, pictures, and a studio that drops them."""

import contextlib
import io
import re
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from PIL import Image

from rembg_watch.sandbox import Sandbox

PROJECT = Path(__file__).parents[2]
README = PROJECT / "systemd" / "README.md"
UNIT = "rembg-watch.service"
CONFIG = "/etc/rembg-watch/config.toml"

PATIENCE_S = 120.0
"""For what happens by itself: no time is measured by it."""

KEY = "sk-live-0123456789abcdef"
PORT = 8090
URL = f"http://127.0.0.1:{PORT}/rmbg"
USAGE_URL = f"http://127.0.0.1:{PORT}/api/membership-usage"

SOURCE = "/usr/src/rembg-watch"
WHEELS = "/run/wheels"
OFFLINE = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": WHEELS, "PIP_CONSTRAINT": "", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
"""The machine has no network; pip finds there what the pip outside has fetched."""


def wait_for(condition: Callable[[], object], *, what: str, within_s: float = PATIENCE_S) -> None:
    """Look again and again until *condition* holds."""
    end_s = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > end_s:
            raise AssertionError(f"{what}: not within {within_s:g} s")
        time.sleep(0.02)


def blocks(title: str) -> list[str]:
    """Take the commands out of one section of the README, block by block, as they stand."""
    sections = re.split(r"^## ", README.read_text(), flags=re.MULTILINE)
    section = next(one for one in sections if title in one.splitlines()[0])
    return re.findall(r"^```sh[\w-]*\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)


def picture(number: int, *, side_px: int = 48) -> bytes:
    """Make a picture that no other number gives."""
    colour = (number % 251, number // 251 % 251, 128)
    out = io.BytesIO()
    made = Image.new("RGB", (side_px, side_px), colour)
    made.paste((255 - colour[0], number % 13 * 19, 0), (8, 8, side_px - 8, side_px - 8))
    made.save(out, "PNG")
    return out.getvalue()


def api_table(*, timeout_s: float = 30) -> str:
    return f'[api]\nurl = "{URL}"\nusage_url = "{USAGE_URL}"\ntimeout_s = {timeout_s:g}\n'


def folder_table(name: str, input_: str, output: str, *, more: str = "") -> str:
    return f'[[folders]]\nname = "{name}"\ninput = "{input_}"\noutput = "{output}"\n{more}'


PACE = "[watch]\nsettle_s = 0.3\nscan_interval_s = 1\n"
CATALOGUE = folder_table("catalogue", "/srv/studio/exports", "/srv/studio/cutouts")
SHOES = folder_table("shoes", "/srv/shoes/in", "/srv/shoes/out")


@dataclass
class Studio:
    """The real service on a booted machine, its API in the test's own hands, and its folders."""

    machine: Any
    api: Sandbox
    dropped: int = 0
    since: str = ""
    names: list[str] = field(default_factory=list)

    @classmethod
    def installed(cls, machine: Any, api: Sandbox) -> Self:
        """Install it by the README's own lines, and prepare a second folder."""
        [install, *_], [key, *_], [folders, *_] = (blocks(f"{number}. ") for number in (1, 2, 3))
        machine.type_in(install, folder=SOURCE, environment=OFFLINE)
        machine.type_in(f"{key}{KEY}\n")
        machine.type_in(folders)
        machine.type_in(folders.replace("studio/exports", "shoes/in").replace("studio/cutouts", "shoes/out"))
        return cls(machine, api)

    # --- the service ----------------------------------------------------------------------------

    def begin(self, *tables: str, drop_ins: dict[str, str] | None = None) -> None:
        """Begin anew: nothing in the ledger or the folders, these settings and these drop-ins."""
        self.machine.systemctl("stop", UNIT, check=False)
        self.machine.systemctl("reset-failed", check=False)
        self.machine.type_in(
            "rm -rf /var/lib/rembg-watch /etc/systemd/system/rembg-watch.service.d\n"
            "find /srv/studio/exports /srv/studio/cutouts /srv/shoes/in /srv/shoes/out -mindepth 1 -delete\n"
        )
        self.configure(*tables)
        self.add_drop_ins(
            folders="[Service]\nReadOnlyPaths=-/srv/studio/exports -/srv/shoes/in\n"
            "ReadWritePaths=-/srv/studio/cutouts -/srv/shoes/out\n",
            **(drop_ins or {}),
        )
        self.api.clear_faults()
        self.api.latency_s, self.api.rate, self.api.is_down, self.api.account.included = 0.0, None, False, 100_000
        wait_for(lambda: not self.api.in_flight, what="the end of calls that nobody waits for")
        self.api.reset_log()
        self.names = []
        self.since = f"--since=@{time.time():.6f}"

    def configure(self, *tables: str) -> None:
        self.machine.write(CONFIG, "".join(tables or (api_table(), PACE, CATALOGUE)))

    def add_drop_ins(self, **texts: str) -> None:
        for name, text in texts.items():
            self.machine.write(f"/etc/systemd/system/{UNIT}.d/{name}.conf", text)
        self.machine.systemctl("daemon-reload")

    def start(self) -> None:
        self.machine.systemctl("start", UNIT)

    def stop(self) -> None:
        self.machine.systemctl("stop", UNIT)

    def show(self, name: str, unit: str = UNIT) -> str:
        return str(self.machine.show(unit, name))

    def becomes(self, name: str, *wanted: str, within_s: float = PATIENCE_S, unit: str = UNIT) -> str:
        """Wait until a property has one of the wanted values."""
        found = ""

        def is_so() -> bool:
            nonlocal found
            found = self.show(name, unit)
            return found in wanted

        with contextlib.suppress(AssertionError):
            wait_for(is_so, within_s=within_s, what=name)
        assert found in wanted, self.said()
        return found

    def said(self, *matches: str) -> str:
        """What the journal has got from the service since ``begin``."""
        return str(self.machine.messages(self.since, *(matches or (f"_SYSTEMD_UNIT={UNIT}",))))

    def told_to_systemd(self) -> str:
        """What systemd was told, in its own words; it must have been made to speak by ``systemctl log-level``."""
        lines = self.said("_PID=1").splitlines()
        return "\n".join(line for line in lines if "otification message" in line and UNIT in line)

    def is_told(self, words: str, *, within_s: float = PATIENCE_S) -> None:
        """Wait until the journal has *words* from the service."""
        with contextlib.suppress(AssertionError):
            wait_for(lambda: words in self.said(), within_s=within_s, what=words)
        assert words in self.said()

    # --- the pictures ---------------------------------------------------------------------------

    @property
    def exports(self) -> Path:
        return self.machine.root / "srv/studio/exports"

    @property
    def cutouts(self) -> Path:
        return self.machine.root / "srv/studio/cutouts"

    def drop(self, count: int = 1, *, folder: str = "") -> None:
        """Drop new pictures, as an export does: each whole, under its name, at once."""
        for _ in range(count):
            self.dropped += 1
            name = f"{folder}IMG_{self.dropped:04}"
            path = self.exports / f"{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(picture(self.dropped))
            self.names.append(name)

    def delivered(self) -> list[str]:
        """Name what stands in the output folder, staging files and all."""
        return sorted(str(path.relative_to(self.cutouts)) for path in self.cutouts.rglob("*") if path.is_file())

    def wait_until_delivered(self, *, within_s: float = PATIENCE_S) -> None:
        """Wait until every dropped picture stands, and nothing else."""
        wanted = sorted(f"{name}.webp" for name in self.names)
        with contextlib.suppress(AssertionError):
            wait_for(lambda: self.delivered() == wanted, within_s=within_s, what="cut-outs")
        assert self.delivered() == wanted, self.said()
        for name in wanted:
            with Image.open(self.cutouts / name) as made:
                made.load()

    def wait_until_in_flight(self, count: int, *, within_s: float = PATIENCE_S) -> None:
        with contextlib.suppress(AssertionError):
            wait_for(lambda: self.api.in_flight >= count, within_s=within_s, what="calls in flight")
        assert self.api.in_flight >= count, self.said()

    def paid_twice(self) -> int:
        return sum(times - 1 for times in self.api.billed_pictures.values())


def fetched(machine: Any, path: str, *, status: int = 200) -> str:
    """Ask the page on that machine for something, as somebody does who sits before it."""
    script = (
        "import sys, urllib.request, urllib.error\n"
        "try: answer = urllib.request.urlopen('http://127.0.0.1:8787' + sys.argv[1], timeout=60)\n"
        "except urllib.error.HTTPError as error: answer = error\n"
        "sys.stdout.buffer.write(b'%d ' % answer.status + answer.read())\n"
    )
    said = str(machine.run("/usr/bin/python3", "-c", script, path).stdout)
    code, _, text = said.partition(" ")
    assert int(code) == status, said
    return text


@contextlib.contextmanager
def moved_away(machine: Any, path: str) -> Iterator[None]:
    """Let a file be missing for a while."""
    here, away = machine.root / path[1:], machine.root / f"{path[1:]}.away"
    shutil.move(here, away)
    try:
        yield
    finally:
        shutil.move(away, here)
