"""What the tests of the line share: a sandbox in process, a ledger on disk, pictures, and a way to die."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

from PIL import Image

from rembg_watch.account.balance import Balance
from rembg_watch.account.credits import Billed
from rembg_watch.account.governor import Governor
from rembg_watch.account.retry import RetryPolicy
from rembg_watch.account.terms import Terms
from rembg_watch.api.client import Client
from rembg_watch.api.params import RemovalParams
from rembg_watch.delivery.spool import Spool
from rembg_watch.host.clocks import Clocks
from rembg_watch.host.disk import version_of
from rembg_watch.jobs import Job, State
from rembg_watch.ledger import Ledger, Turn
from rembg_watch.paths import is_staging_name
from rembg_watch.pipeline import Line, Paid, Ready, Recipe, afterwards, recovery
from rembg_watch.report.events import Event
from rembg_watch.sandbox import Sandbox

KEY = "sandbox-key"


class Crash(BaseException):
    """The power is cut here."""


class SetClock:
    """Clocks whose wall clock a test sets; the monotonic one goes on."""

    def __init__(self, ahead: timedelta = timedelta(0)) -> None:
        self.ahead = ahead

    def clocks(self) -> Clocks:
        return Clocks(now=lambda: datetime.now(UTC) + self.ahead, chance=lambda: 0.0)


@dataclass
class Studio:
    """One folder, one account, and as many lives of the program as a test wants."""

    root: Path
    sandbox: Sandbox
    recipe: Recipe
    events: list[Event] = field(default_factory=list)
    steps: list[str] = field(default_factory=list)
    die_at: Callable[[str], bool] = lambda _step: False
    clocks: Clocks = field(default_factory=lambda: Clocks(chance=lambda: 0.0))

    @classmethod
    def make(cls, root: Path, *, sandbox: Sandbox | None = None, **recipe: object) -> "Studio":
        for name in ("in", "out", "done", "failed"):
            (root / name).mkdir()
        values = {"name": "f", "input": root / "in", "output": root / "out", "params": RemovalParams()} | recipe
        return cls(root, sandbox or Sandbox(KEY, engine="flat"), Recipe(**values))  # type: ignore[arg-type]

    def drop(self, name: str, colour: tuple[int, int, int] = (200, 30, 30), size: tuple[int, int] = (40, 30)) -> Path:
        path = self.root / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", size, colour).save(path)
        return path

    def live(self, policy: RetryPolicy | None = None) -> "Life":
        return Life(self, policy or RetryPolicy())

    def outputs(self) -> dict[str, bytes]:
        root = self.root / "out"
        return {
            str(p.relative_to(root)): p.read_bytes()
            for p in root.rglob("*")
            if p.is_file() and not is_staging_name(p.name.encode())
        }

    def step(self, name: str) -> None:
        self.steps.append(name)
        if self.die_at(name):
            raise Crash(name)

    def told(self, kind: type[Event]) -> list[Event]:
        return [event for event in self.events if isinstance(event, kind)]


class Life:
    """The program from one start to its end or its crash."""

    def __init__(self, studio: Studio, policy: RetryPolicy) -> None:
        self.studio = studio
        self.ledger = Ledger.open(studio.root / "ledger.db")
        self.client = Client(KEY, transport=studio.sandbox.transport())
        self.terms = Terms(policy=policy, client=self.client, price=Decimal(1))
        clocks = studio.clocks
        self.balance = Balance(terms=lambda: self.terms, ledger=self.ledger, report=studio.events.append, clocks=clocks)
        self.governor = Governor(
            terms=lambda: self.terms,
            balance=self.balance,
            has_room=lambda: True,
            report=studio.events.append,
            keep=lambda name, note: self.ledger.set_note(name, dict(note)),
            notes={"gate": self.ledger.note("gate")},
            clocks=clocks,
        )
        self.line = Line(
            ledger=self.ledger,
            client=self.client,
            spool=Spool(studio.root / "spool"),
            governor=self.governor,
            recipes={studio.recipe.name: studio.recipe},
            report=studio.events.append,
            price=Decimal(1),
            clocks=clocks,
            step=studio.step,
        )

    def reload(self, **terms: object) -> None:
        """Change the terms, as a reload of the configuration does."""
        self.terms = replace(self.terms, **terms)  # type: ignore[arg-type]

    def __enter__(self) -> "Life":
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()
        self.ledger.close()

    def find(self) -> None:
        """Put everything that lies in the input folder in line, as the watch would."""
        root = self.studio.root / "in"
        found = [p for p in sorted(root.rglob("*")) if p.is_file()]
        seen = [(str(p.relative_to(root)).encode(), version_of(p.stat())) for p in found]
        self.ledger.add("f", seen, self.line.clocks.now())

    def recover(self) -> None:
        """Put right what the last life left, as the daemon does at its start."""
        left = self.ledger.recover(self.line.clocks.now())
        for job in left.in_doubt:
            if job.code == "crash" and not recovery.take_up_answer(self.line, job):
                recovery.take_up_doubt(self.line, job, Billed.UNKNOWN)
        for job in self.ledger.to_dispose_of(["f"]):
            afterwards.put_away(self.line, job)
        self.line.spool.sweep(self.ledger.spool_keys())

    def work(self) -> list[object]:
        """Bring everything that is due to its end, one job after the other."""
        ended: list[object] = []
        for state in (State.RECEIVED, State.QUEUED):
            while jobs := self.claim(state):
                ended += [self.process(job) for job in jobs]
        return ended

    def claim(self, state: State = State.QUEUED) -> list[Job]:
        now = self.line.clocks.now()
        return self.ledger.claim(10, at=now, run_id="test", turns=[Turn("f")], state=state)

    def process(self, job: Job) -> object:
        found = self.line.prepare(job)
        if isinstance(found, Ready):
            found = self.line.call(found)
        return self.line.finish(found) if isinstance(found, Paid) else found

    def states(self) -> dict[str, State]:
        return {job.source.decode(): job.state for job in self.ledger.jobs()}


def eventually(is_so: Callable[[], object], within_s: float = 60.0) -> None:
    """Wait for a condition that other threads bring about."""
    until, never = time.monotonic() + within_s, threading.Event()
    while not is_so():
        assert time.monotonic() < until, "it did not come about in time"
        never.wait(0.002)
