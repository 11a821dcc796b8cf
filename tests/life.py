"""What the tests of the pipeline share: a sandbox in process, a ledger on disk, pictures, and a way to die."""

import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

from PIL import Image

from rembg_watch.account.credits import Billed
from rembg_watch.account.retry import RetryPolicy
from rembg_watch.account.terms import Terms
from rembg_watch.api.client import Client
from rembg_watch.api.params import RemovalParams
from rembg_watch.daemon.assembly import Around, assemble
from rembg_watch.delivery.verify import verify
from rembg_watch.host.clocks import Clocks
from rembg_watch.host.disk import version_of
from rembg_watch.host.systemd import Notify
from rembg_watch.jobs import Job, State
from rembg_watch.ledger import Turn
from rembg_watch.paths import is_staging_name
from rembg_watch.pipeline import Bought, Paid, Pipeline, Plan, Ready, Recipe, afterwards, recovery
from rembg_watch.pipeline.rendering import Render
from rembg_watch.report.events import Event
from rembg_watch.sandbox import Sandbox
from rembg_watch.watch import Pace

KEY = "sandbox-key"


class Crash(BaseException):
    """The power is cut here."""


class Time:
    """Time that goes so many times as fast, and leaps when a test says so: nobody has to wait for a minute."""

    def __init__(self, times: float = 1.0) -> None:
        self._times = times
        self._leapt_s = 0.0
        self._began_s, self._began = time.monotonic(), datetime.now(UTC)

    def pass_s(self, seconds: float) -> None:
        self._leapt_s += seconds

    def elapsed_s(self) -> float:
        return self._leapt_s + self._times * (time.monotonic() - self._began_s)

    def clocks(self) -> Clocks:
        return Clocks(
            now=lambda: self._began + timedelta(seconds=self.elapsed_s()),
            monotonic=lambda: self._began_s + self.elapsed_s(),
            chance=lambda: 0.0,
            nap=lambda changed, seconds: changed.wait(seconds / self._times),
            wait=lambda event, seconds: event.wait(seconds / self._times),
        )


class SetClock:
    """Clocks whose wall clock a test sets; the monotonic one goes on."""

    def __init__(self, ahead: timedelta = timedelta(0), *, times: float = 1.0) -> None:
        self.ahead = ahead
        self._clocks = Time(times).clocks()

    def clocks(self) -> Clocks:
        return replace(self._clocks, now=lambda: self._clocks.now() + self.ahead)


@dataclass
class Studio:
    """One folder, one account, and as many lives of the program as a test wants."""

    root: Path
    sandbox: Sandbox
    recipe: Recipe
    events: list[Event] = field(default_factory=list)
    steps: list[str] = field(default_factory=list)
    die_at: Callable[[str], bool] = lambda _step: False
    time: Time = field(default_factory=lambda: Time(20))
    clocks: Clocks | None = None  # else those of ``time``
    batch_size: int = 10
    stopping: Callable[[], threading.Event] = threading.Event
    render: Render | None = None

    @classmethod
    def make(cls, root: Path, *, sandbox: Sandbox | None = None, batch_size: int = 10, **recipe: object) -> "Studio":
        for name in ("in", "out", "done", "failed"):
            (root / name).mkdir()
        values = {"name": "f", "input": root / "in", "output": root / "out", "params": RemovalParams()} | recipe
        made = Recipe(**values)  # type: ignore[arg-type]
        return cls(root, sandbox or Sandbox(KEY, engine="flat"), made, batch_size=batch_size)

    def drop(self, name: str, colour: tuple[int, int, int] = (200, 30, 30), size: tuple[int, int] = (40, 30)) -> Path:
        path = self.root / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", size, colour).save(path)
        return path

    def live(self, policy: RetryPolicy | None = None, *, workers: int = 4) -> "Life":
        return Life(self, policy or RetryPolicy(), workers=workers)

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

    def reported(self, kind: type[Event]) -> list[Event]:
        return [event for event in self.events if isinstance(event, kind)]


class Life:
    """The program from one start to its end or its crash: the daemon's own parts, driven by hand."""

    def __init__(self, studio: Studio, policy: RetryPolicy, *, workers: int = 4) -> None:
        self.studio = studio
        self._exit = ExitStack()
        self.client = client = Client(KEY, transport=studio.sandbox.transport())
        plan = Plan(
            client=client,
            terms=Terms(policy=policy, client=client, price=Decimal(1)),
            recipes={studio.recipe.name: studio.recipe},
            batch_size=studio.batch_size,
        )
        around = Around(
            notify=Notify.from_environment(),
            stopping=studio.stopping(),
            report=studio.events.append,
            clocks=studio.clocks or studio.time.clocks(),
            verify=verify,
            render=studio.render,
            step=studio.step,
        )
        self.parts = assemble(
            plan,
            around,
            self._exit,
            state_dir=studio.root,
            folders=[],
            pace=Pace(),
            workers=workers,
            allowance_s=60.0,
        )
        self.ledger, self.governor, self.balance = self.parts.ledger, self.parts.governor, self.parts.balance
        self.ports, self.pool = self.parts.ports, self.parts.pool
        self.pipeline = Pipeline(self.ports)

    def reload(self, **terms: object) -> None:
        """Change the terms, as a reload of the configuration does."""
        self.change(terms=replace(self.ports.in_force.plan.terms, **terms))  # type: ignore[arg-type]

    def change(self, **plan: object) -> None:
        """Put a plan into force that differs in some respects, as a reload does."""
        self.ports.in_force.plan = replace(self.ports.in_force.plan, **plan)  # type: ignore[arg-type]

    def __enter__(self) -> "Life":
        return self

    def __exit__(self, *_: object) -> None:
        self._exit.close()

    def find(self) -> None:
        """Put everything that lies in the input folder in line, as the watch would."""
        root = self.studio.root / "in"
        found = [p for p in sorted(root.rglob("*")) if p.is_file()]
        seen = [(str(p.relative_to(root)).encode(), version_of(p.stat())) for p in found]
        self.ledger.add("f", seen, self.ports.now())

    def recover(self) -> None:
        """Put right what the last life left, as the daemon does at its start."""
        left = self.ledger.recover(self.ports.now())
        for job in left.in_doubt:
            if job.code == "crash" and not recovery.take_up_answer(self.ports, job):
                recovery.take_up_doubt(self.ports, job, Billed.UNKNOWN)
        for job in self.ledger.to_dispose_of(["f"]):
            afterwards.put_away(self.ports, job)
        self.ports.spool.sweep(self.ledger.spool_keys())

    def work(self) -> list[object]:
        """Bring everything that is due to its end, one job after the other."""
        ended: list[object] = []
        for state in (State.RECEIVED, State.QUEUED):
            while jobs := self.claim(state):
                ended += [self.process(job) for job in jobs]
        return ended

    def claim(self, state: State = State.QUEUED) -> list[Job]:
        now = self.ports.now()
        return self.ledger.claim(10, at=now, run_id="test", turns=[Turn("f")], state=state)

    def process(self, job: Job) -> object:
        found = self.pipeline.prepare(job)
        if isinstance(found, Ready):
            found = self.pipeline.call(found)
        found = self.pipeline.finish(found) if isinstance(found, Paid) else found
        return self.pipeline.make(found) if isinstance(found, Bought) else found

    def states(self) -> dict[str, State]:
        return {job.source.decode(): job.state for job in self.ledger.jobs()}


def eventually(is_so: Callable[[], object], within_s: float = 60.0) -> None:
    """Wait for a condition that other threads bring about."""
    until, never = time.monotonic() + within_s, threading.Event()
    while not is_so():
        assert time.monotonic() < until, "it did not come about in time"
        never.wait(0.002)
