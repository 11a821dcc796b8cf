"""What all trials stand on: folders, an emulated account on loopback, the real daemon, and the books of both sides."""

import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rembg_watch.host.disk import version_of
from rembg_watch.jobs import Job, State
from rembg_watch.ledger import Access, Ledger, MadeState, NoLedgerError, Spending, open_ledger
from rembg_watch.paths import is_staging_name
from rembg_watch.sandbox import Sandbox
from rembg_watch.sandbox.server import LoopbackServer
from tests.torture.pictures import coloured, digest, jpeg, what_is_wrong

KEY = "torture-key-5b4a3c2d1e0f"
PROJECT = Path(__file__).parents[2]
FAST = 500.0
"""Calls a second that the ledger is told the account bears: what is tortured is not the pacer's patience."""

DELIVERABLES = {
    "print": {"format": "tiff", "path": "print/{dir}/{stem}.{ext}"},
    "shop": {"format": "jpeg", "background": "#ffffff", "canvas": [48, 48], "fill": 0.8, "enlarge": True},
    "small": {"format": "png", "depth": "8", "canvas": "object", "path": "small/{dir}/{stem}.{ext}"},
}
"""Three files of each picture, for the trials that make more than one."""

_UNDER_WAY = (State.QUEUED, State.SENDING, State.RECEIVED)


class StuckError(Exception):
    """What had to come about did not."""


@dataclass
class Report:
    """What a trial measured, and which promises it saw broken."""

    trial: str
    figures: dict[str, Any] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)

    def expect(self, promise: str, kept: object) -> None:
        """Note a promise that was not kept."""
        if not kept:
            self.broken.append(promise)

    def lines(self) -> Iterator[str]:
        """Say it in lines for a person."""
        yield f"{self.trial}"
        for name, value in self.figures.items():
            yield f"  {name:<44} {f'{value:,}' if isinstance(value, int) else value}"
        for promise in self.broken:
            yield f"  BROKEN: {promise}"
        yield "  every promise was kept" if not self.broken else f"  {len(self.broken)} promises were broken"


@dataclass
class Running:
    """A daemon as a user starts it, or one with a bomb."""

    process: "subprocess.Popen[bytes]"

    @property
    def is_alive(self) -> bool:
        return self.process.poll() is None

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        if self.is_alive:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Let it stand still for a while, as on a machine that is too busy."""
        self.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)

    def memory_kb(self, which: str) -> int:
        """Return ``VmRSS`` or ``VmHWM``, its peak."""
        found = re.search(rf"^{which}:\s+(\d+)", Path(f"/proc/{self.process.pid}/status").read_text(), re.MULTILINE)
        assert found is not None
        return int(found[1])


class Plant:
    """One studio under torture: what was dropped, what came out, what it cost."""

    def __init__(self, root: Path, sandbox: Sandbox, server: LoopbackServer, *, workers: int, seed: int) -> None:
        self.root, self.sandbox, self.server, self.workers = root, sandbox, server, workers
        self.chance = random.Random(seed)
        self.input, self.output, self.state = root / "in", root / "out", root / "state"
        self.outside = root / "outside"
        for path in (self.input, self.output, self.outside):
            path.mkdir()
        self.sources: dict[bytes, str] = {}  # every source as it stands now, and the digest of its bytes
        self.wholes: set[str] = set()  # every content that ever stood whole in the input folder
        self.numbers: dict[str, int] = {}  # what pictures say, by the digest of their bytes, where files are made
        self.log = root / "log.jsonl"
        self.config = root / "rembg-watch.toml"
        self.is_making = False
        self.configure()
        self._lock = threading.Lock()

    # --- the program ----------------------------------------------------------------------------

    def configure(self, **tables: Mapping[str, object]) -> None:
        """Write the configuration: short times, the emulated API, one folder."""
        key_file = self.root / "api_key"
        key_file.write_text(KEY)
        key_file.chmod(0o600)
        values: dict[str, dict[str, object]] = {
            "api": {
                "url": self.server.url,
                "usage_url": self.server.usage_url,
                "key_file": str(key_file),
                "timeout_s": 20,
            },
            "pool": {"workers": self.workers, "batch_size": 50},
            "credits": {"recheck_s": 1, "ask_above": 0},
            "watch": {"settle_s": 0.2, "scan_interval_s": 0.5, "grace_s": 300},
            "output": {"free_space_reserve_mb": 0},
            "log": {"level": "info", "format": "json"},
        }
        lines = [f"state_dir = {json.dumps(str(self.state))}"]
        for name, table in values.items():
            merged = table | dict(tables.get(name, {}))
            lines += [f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in merged.items())]
        folder = {"name": "f", "input": str(self.input), "output": str(self.output)} | dict(tables.get("folder", {}))
        if self.is_making:
            folder["deliver"] = list(DELIVERABLES)
            for name, table in DELIVERABLES.items():
                lines += [f"[deliverables.{name}]", *(f"{key} = {json.dumps(value)}" for key, value in table.items())]
        lines += ["[[folders]]", *(f"{key} = {json.dumps(value)}" for key, value in folder.items())]
        lines += [] if self.is_making else ["[folders.options]", 'format = "png"']
        self.config.write_text("\n".join(lines) + "\n")
        self.state.mkdir(mode=0o700, exist_ok=True)
        with open_ledger(self.state) as ledger:
            ledger.set_note("pacer", {"rate": FAST, "good": FAST, "is_starting": False})

    def make_files(self) -> None:
        """Have ``DELIVERABLES`` made of each picture from now on."""
        self.is_making = True
        self.configure()

    @contextmanager
    def running(self, *bomb: str) -> Iterator[Running]:
        """Run the daemon for a while, with a bomb if its step and count are given; it never outlives the trial."""
        words = ["tests.torture.mortal", str(self.config), *bomb] if bomb else ["rembg_watch", "run"]
        words += [] if bomb else ["--config", str(self.config)]
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", *words], stdout=log, stderr=log, cwd=PROJECT, env=_plain()
            )
        try:
            yield Running(process)
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.kill()
            process.wait()

    def cli(self, *words: str) -> str:
        """Run a command to its end and return what it said."""
        command = [sys.executable, "-m", "rembg_watch", *words, "--config", str(self.config)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=PROJECT, env=_plain())
        if done.returncode:
            raise StuckError(f"{words} ended with {done.returncode}: {done.stdout}{done.stderr}")
        return done.stdout

    def reported(self, kind: str) -> list[dict[str, Any]]:
        """Return what all daemons of this trial have logged of one kind of event."""
        found = []
        for line in self.log.read_text(errors="replace").splitlines():
            if line.startswith("{"):
                try:
                    entry = json.loads(line)
                except ValueError:  # cut short by a kill
                    continue
                found += [entry] if entry["kind"] == kind else []
        return found

    def mistakes(self) -> list[str]:
        """Return every error in the logs that nobody foresaw."""
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return [line for line in text.splitlines() if "Traceback" in line or '"kind": "mistake"' in line]

    # --- dropping -------------------------------------------------------------------------------

    def picture(self, number: int, more_bytes: int) -> bytes:
        """Make a picture whose cut-out can be told from all others: by its alpha, or by its own colour."""
        if not self.is_making:
            return jpeg(number, more_bytes)
        content = coloured(number, more_bytes)
        self.numbers[digest(content)] = number
        return content

    def path(self, source: bytes) -> Path:
        """Say where a source stands, and see to it that it can."""
        path = self.input / os.fsdecode(source)
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def owns(self, source: bytes, content: bytes) -> None:
        """Note that *source* stands whole from now on; before it does, lest somebody be faster."""
        with self._lock:
            self.sources[source] = digest(content)
            self.wholes.add(self.sources[source])

    def write(self, source: bytes, content: bytes) -> None:
        """Write a picture to its place."""
        self.owns(source, content)
        self.path(source).write_bytes(content)

    def move_in(self, source: bytes, content: bytes) -> None:
        """Write a picture elsewhere on the same disk and rename it to its place, over what stands there."""
        self.owns(source, content)
        aside = self.outside / f"aside {threading.get_ident()}"
        aside.write_bytes(content)
        aside.rename(self.path(source))

    # --- the books ------------------------------------------------------------------------------

    @property
    def billed(self) -> int:
        return self.sandbox.billed

    @property
    def billed_twice(self) -> int:
        """How many calls were paid for content that had been paid before."""
        with self.sandbox.lock:
            return sum(count - 1 for count in self.sandbox.billed_pictures.values())

    def partial_calls(self) -> list[str]:
        """Return the digests of paid pictures that never stood whole in the input folder."""
        with self.sandbox.lock:
            return sorted(set(self.sandbox.billed_pictures) - self.wholes)

    def refusals(self) -> list[str]:
        """Return what was refused: none of these pictures deserves it."""
        with self.sandbox.lock:
            return [f"{one.status} {one.error}" for one in self.sandbox.requests if one.status >= 400]

    @contextmanager
    def ledger(self) -> Iterator[Ledger]:
        with open_ledger(self.state, Access.READ) as ledger:
            yield ledger

    def counts(self) -> dict[State, int]:
        """Return the ledger's counts, and the unsettled as queued: all that is still to be done."""
        try:
            with self.ledger() as ledger:
                counts = dict(ledger.counts())
                counts[State.QUEUED] += ledger.unsettled_count()
                return counts
        except NoLedgerError:
            return dict.fromkeys(State, 0)

    def spending(self) -> Spending:
        with self.ledger() as ledger:
            return ledger.spending()

    def standing(self) -> dict[bytes, Job]:
        """Return the job of every source that stands there, as the ledger has it."""
        with self.ledger() as ledger:
            return {job.source: job for job in ledger.jobs() if job.gone_at is None}

    # --- waiting and judging --------------------------------------------------------------------

    def wait(self, what: str, is_so: Callable[[], object], within_s: float, every_s: float = 0.05) -> None:
        until = time.monotonic() + within_s
        while not is_so():
            if time.monotonic() > until:
                raise StuckError(f"waited {within_s:.0f} s in vain for {what}; the ledger has {self.counts()}")
            time.sleep(every_s)

    def wait_for_rest(self, daemon: Running, within_s: float) -> None:
        """Wait until every source that stands there is done with, in the version in which it stands."""

        def is_over() -> bool:
            if not daemon.is_alive:
                raise StuckError(f"the daemon ended with {daemon.process.returncode}; its log is {self.log}")
            counts = self.counts()
            return not any(counts[state] for state in _UNDER_WAY) and not self.undone()

        self.wait("rest", is_over, within_s, every_s=0.5)

    def undone(self) -> list[bytes]:
        """Return the sources that are neither delivered nor listed with a reason, in the version that stands there."""
        jobs = self.standing()
        return [source for source in self.sources if not self._is_dealt_with(source, jobs.get(source))]

    def _is_dealt_with(self, source: bytes, job: Job | None) -> bool:
        if job is None or job.version != version_of((self.input / os.fsdecode(source)).lstat()):
            return False
        return job.state is State.DONE or (job.state not in _UNDER_WAY and bool(job.reason))

    def visible_outputs(self) -> set[bytes]:
        found = (os.fsencode(path.relative_to(self.output)) for path in self.output.rglob("*") if path.is_file())
        return {target for target in found if not is_staging_name(target.rpartition(b"/")[2])}

    def judge(self, report: Report) -> None:
        """Look at everything when all is at rest: nothing lost, nothing foreign, nothing partial, books that fit."""
        jobs = self.standing()
        done = {source: job for source, job in jobs.items() if job.state is State.DONE and source in self.sources}
        wrong = [found for source, job in done.items() for found in self._wrong_with(source, job)]
        lost = self.undone()
        spent, listed = self.spending(), len(self.sources) - len(done) - len(lost)
        report.figures |= {
            "sources that stand": len(self.sources),
            "different contents": len(self.wholes),
            "delivered": len(done) - len(wrong),
            "listed with a reason": listed,
            "lost": len(lost) + len(wrong),
            "calls that were paid": self.billed,
            "calls for content paid before": self.billed_twice,
            "the ledger says of these": spent.doubles + spent.repeats,
        }
        report.expect(f"no picture is lost: {lost[:3]} {wrong[:3]}", not lost and not wrong)
        report.expect(f"each paid call is for a whole picture: {self.partial_calls()[:3]}", not self.partial_calls())
        report.expect(f"nothing else is delivered: {self._foreign()[:3]}", not self._foreign())
        report.expect(f"no picture is refused: {self.refusals()[:3]}", not self.refusals())
        report.expect(f"no error that nobody foresaw: {self.mistakes()[:2]}", not self.mistakes())
        truth = self.sandbox.billed_credits
        told = f"{spent.charged} and perhaps {spent.doubtful} more, truth {truth}"
        report.expect(f"the books hold the truth: {told}", spent.charged <= truth <= spent.charged + spent.doubtful)
        told = f"{self.billed_twice} of {spent.doubles} after a doubt and {spent.repeats} others"
        report.expect(f"every double call is counted: {told}", self.billed_twice <= spent.doubles + spent.repeats)

    def _wrong_with(self, source: bytes, job: Job) -> Iterator[str]:
        """Say what is wrong with the cut-out of a source, or with the files that were made of it."""
        digest = self.sources[source]
        if not self.is_making:
            found = what_is_wrong(self.output / os.fsdecode(job.target or b"?"), digest)
            yield from [found] if found else []
            return
        with self.ledger() as ledger:
            made = ledger.made(job.id)
        for name in DELIVERABLES:
            if name not in made or made[name].state is not MadeState.STANDING:
                yield f"{source!r} has no {name!r}"
            elif found := what_is_wrong(self.output / os.fsdecode(made[name].target), number=self.numbers[digest]):
                yield found

    def _foreign(self) -> list[bytes]:
        """Return what stands among the cut-outs and is no source's, of those that went away neither."""
        with self.ledger() as ledger:
            done = [job for job in ledger.jobs() if job.state is State.DONE]
            targets = {job.target for job in done}
            if self.is_making:
                targets = {one.target for job in done for one in ledger.made(job.id).values()}
        return sorted(self.visible_outputs() - targets)


def _plain() -> dict[str, str]:
    """Return an environment that holds nothing of the machine's own configuration."""
    return {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}


@contextmanager
def plant(root: Path, *, workers: int = 4, seed: int = 0, latency_s: float = 0.0) -> Iterator[Plant]:
    """Open a studio with an account that never runs dry."""
    sandbox = Sandbox(KEY, engine="flat", credits=10_000_000, latency_s=latency_s)
    with sandbox.serve() as server:
        yield Plant(root, sandbox, server, workers=workers, seed=seed)
