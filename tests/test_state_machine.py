"""
Any order of what people, watch, API, disks and crashes do: nothing lost, nothing paid twice unsaid, nothing half-made.

The real ledger, line and watch on real folders, the emulated API in process, and a clock that waits for
nobody. ``HYPOTHESIS_PROFILE=night`` looks for longer.
"""

import contextlib
import os
import shutil
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from PIL import Image

from rembg_watch.account.retry import RetryPolicy
from rembg_watch.api.params import Format, RemovalParams
from rembg_watch.host.clocks import Clocks
from rembg_watch.host.disk import version_of
from rembg_watch.jobs import Job, State
from rembg_watch.ledger import Which
from rembg_watch.paths import Folder
from rembg_watch.pictures.sending import PLAIN
from rembg_watch.pipeline import Back, Blocked, Paid, Ready, Twin
from rembg_watch.pipeline.source import measure
from rembg_watch.pipeline.values import content_name
from rembg_watch.sandbox import Sandbox
from rembg_watch.sandbox.render import flat_color
from rembg_watch.watch import Pace, Watcher
from tests.life import KEY, Crash, Life, Studio
from tests.pipeline.test_steps import ALL_STEPS
from tests.profiles import PROFILE, machine_settings
from tests.torture.pictures import digest, jpeg, png

NAMES = ("a.jpg", "a.png", "A.JPG", "sub/a.jpg", "sub/\udce9 b\n.jpg", "sub/deep/c.jpg")
CONTENTS = {number: (png if number == 2 else jpeg)(number, 3000 * number) for number in range(5)}
COLOURS = {flat_color(digest(content)): number for number, content in CONTENTS.items()}
FAULTS = (
    "reset_after",
    "truncated",
    "empty",
    "garbage",
    "json",
    "cut_picture",
    "wrong_format",
    "stall",
    "reset_before",
    "status",
    "html",
    "too_quick",
    "daily",
    "monthly",
    "unknown_429",
    "bad_key",
    "unverified",
)
MEMORY = next(
    (str(path) for path in [Path("/dev/shm")] if os.access(path, os.W_OK)), None
)  # syncing costs nothing there
PLENTY = 1_000_000
ACTS = [
    *["move over"] * 3,
    *["write in part"] * 3,
    *["rename", "copy", "touch", "delete", "put a foreign file", "retouch"],
]

names = st.sampled_from(NAMES)
numbers = st.sampled_from(sorted(CONTENTS))


class HastyClock:
    """The real time and all that nobody waited for."""

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def now(self) -> datetime:
        return datetime.now(UTC) + timedelta(seconds=self.ahead_s)

    def monotonic(self) -> float:
        return time.monotonic() + self.ahead_s

    def nap(self, _until: object, seconds: float) -> None:
        self.ahead_s += seconds


class HastyEvent(threading.Event):
    """An event that is waited for by setting the clock forward."""

    def __init__(self, clock: HastyClock) -> None:
        super().__init__()
        self._clock = clock

    def wait(self, timeout: float | None = None) -> bool:
        self._clock.nap(None, timeout or 0.0)
        return self.is_set()


class StudioMachine(RuleBasedStateMachine):
    # --- a life ---------------------------------------------------------------------------------

    @initialize(
        after=st.sampled_from(["keep", "move", "delete"]),
        retries_doubt=st.booleans(),
        dropped=st.dictionaries(names, numbers, min_size=2),
        foreign=st.sets(names, max_size=3),
    )
    def open(self, after: str, retries_doubt: bool, dropped: dict[str, int], foreign: set[str]) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="machine-", dir=MEMORY))
        self.clock = HastyClock()
        sandbox = Sandbox(KEY, engine="flat", credits=PLENTY, clock=self.clock.now)
        params = RemovalParams(format=Format.PNG)
        self.studio = Studio.make(self.root, sandbox=sandbox, params=params, after=after, done=self.root / "done")
        self.studio.stopping = lambda: HastyEvent(self.clock)
        self.studio.clocks = Clocks(
            now=self.clock.now, monotonic=self.clock.monotonic, chance=lambda: 0.0, nap=self.clock.nap
        )
        self.studio.die_at = self.at_step
        self.input, self.output, self.away = self.root / "in", self.root / "out", self.root / "out is away"
        self.after, self.policy = after, RetryPolicy(retries_doubt=retries_doubt)
        self.last: dict[str, int] = {}  # what was dropped last under each name, and not taken away by a person
        self.half: set[str] = set()  # names that a program has not written to their end
        self.foreign: dict[Path, bytes] = {}
        self.crashed: Counter[str] = Counter()  # by content key: crashes while it was sent
        self.answers_gone: Counter[int] = Counter()  # by content: cut-outs that were there and are not any more
        self.shown: set[int] = set()
        self.dies_at: str | None = None
        self.trick: tuple[str, int] | None = None
        self.begin()
        self.drop(dropped)
        for name in sorted(foreign):
            self.meddle("put a foreign file", name)

    def begin(self) -> None:
        self.life = Life(self.studio, self.policy)
        folder = Folder(name="f", input=self.input, output=self.output)
        pace = Pace(settle_s=1.0, scan_interval_s=2.0, grace_s=10.0, mode="poll")
        self.watcher = Watcher(
            [folder], self.life.ledger, pace, report=self.studio.events.append, clock=self.clock.monotonic
        )
        for job in self.life.ledger.jobs(Which(states=frozenset({State.SENDING}))):
            has_answer = self.life.ports.spool.path(str(job.content_key)).exists()  # then nobody may ask again
            self.crashed[str(job.content_key)] += not has_answer
        self.life.recover()

    def end(self) -> None:
        self.watcher.stop()
        self.life.__exit__()

    def teardown(self) -> None:
        if hasattr(self, "life"):
            try:
                self.come_to_rest()
            finally:
                self.end()
                shutil.rmtree(self.root)

    def at_step(self, step: str) -> bool:
        """See what a step did, play the trick that waits for it, and say whether the power is cut after it."""
        if step in ("new", "replaced", "adopted"):
            self.see_outputs()
        if self.trick is not None and step == self.trick[0]:
            number, self.trick = self.trick[1], None
            for name in [name for name in self.last if (self.input / name).exists()]:
                self.put(name, CONTENTS[number])
        if step != self.dies_at:
            return False
        self.dies_at = None
        return True

    @contextlib.contextmanager
    def mortal(self) -> Iterator[None]:
        """Let the power be cut meanwhile; then a new life begins."""
        try:
            yield
        except Crash:
            self.end()
            self.begin()

    # --- people and programs that drop pictures ---------------------------------------------------

    def put(self, name: str, content: bytes) -> None:
        path = self.input / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        self.half.discard(name)
        self.last[name] = next(number for number, one in CONTENTS.items() if one == content)

    @rule(dropped=st.dictionaries(names, numbers, min_size=1))
    def drop(self, dropped: dict[str, int]) -> None:
        for name, number in dropped.items():
            self.put(name, CONTENTS[number])

    @rule(dropped=st.dictionaries(names, numbers, min_size=1), most=st.integers(1, 6), are_abreast=st.booleans())
    def drop_and_go_on(self, dropped: dict[str, int], most: int, are_abreast: bool) -> None:
        self.drop(dropped)
        self.go_on_calmly(most, are_abreast)

    @rule(act=st.sampled_from(ACTS), name=names, other=names, number=numbers, share=st.floats(0.1, 0.95))
    def act(self, act: str, name: str, other: str, number: int, share: float) -> None:
        match act:
            case "move over":
                self.move_over(name, number)
            case "write in part":
                self.write_in_part(name, number, share)
            case "rename":
                self.rename(name, other)
            case "copy":
                self.copy(name, other)
            case "touch" | "delete":
                self.touch_or_delete(name, act)
            case _:
                self.meddle(act, name)

    def move_over(self, name: str, number: int) -> None:
        """Rename a picture to its place, over what may stand there."""
        aside = self.root / "aside"
        aside.write_bytes(CONTENTS[number])
        (self.input / name).parent.mkdir(parents=True, exist_ok=True)
        aside.rename(self.input / name)
        self.half.discard(name)
        self.last[name] = number

    def write_in_part(self, name: str, number: int, share: float) -> None:
        """Begin to write a picture and pause, perhaps for ever."""
        path = self.input / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(CONTENTS[number][: int(len(CONTENTS[number]) * share)])
        self.half.add(name)
        self.last.pop(name, None)

    def touch_or_delete(self, name: str, act: str) -> None:
        if act == "touch" and (self.input / name).exists():
            (self.input / name).touch()
        if act == "delete":
            (self.input / name).unlink(missing_ok=True)
            self.last.pop(name, None)
            self.half.discard(name)

    def rename(self, name: str, other: str) -> None:
        if name == other or name not in self.last or not (self.input / name).exists():
            return
        (self.input / other).parent.mkdir(parents=True, exist_ok=True)
        (self.input / name).rename(self.input / other)
        self.last[other] = self.last.pop(name)
        self.half.discard(other)

    def copy(self, name: str, other: str) -> None:
        if name != other and name in self.last and (self.input / name).exists():
            self.put(other, (self.input / name).read_bytes())

    @rule(
        step=st.sampled_from(["prepared", "prepared", "sending", "answered", "received", "staged", "published"]),
        number=numbers,
    )
    def will_be_rewritten(self, step: str, number: int) -> None:
        """Let all be exported again at the very moment at which one of them is on its way."""
        self.trick = (step, number)

    def meddle(self, act: str, name: str) -> None:
        """Put a person's own file where a cut-out would go, or retouch or delete a cut-out."""
        root = self.output if self.output.exists() else self.away
        target = Path(name).with_suffix(".png")
        place = root / target
        if act == "put a foreign file" and not place.exists():
            place.parent.mkdir(parents=True, exist_ok=True)
            self.foreign[target] = b"a person's own work"
            place.write_bytes(self.foreign[target])
        elif act == "retouch" and place.exists():
            self.foreign[target] = b"retouched"
            place.write_bytes(self.foreign[target])
        self.see_outputs()

    # --- the watch --------------------------------------------------------------------------------

    def look(self, waits_s: float) -> None:
        with self.mortal():
            self.watcher.tick(self.clock.monotonic())
            self.clock.nap(None, waits_s)
            self.watcher.tick(self.clock.monotonic())

    @rule(hints=st.lists(names, max_size=8))
    def tell(self, hints: list[str]) -> None:
        """Let notices come that are right, wrong or doubled; those that are lost never come."""
        for name in hints:
            self.watcher.look_again("f", os.fsencode(name))

    # --- the line -----------------------------------------------------------------------------------

    @rule(waits_s=st.sampled_from([0.1, 1.1, 5.0, 30.0]), most=st.integers(1, 6), are_abreast=st.booleans())
    def go_on(self, waits_s: float, most: int, are_abreast: bool) -> None:
        self.look(waits_s)
        self.work(most, are_abreast)

    @rule(most=st.integers(2, 6), are_abreast=st.booleans())
    def go_on_calmly(self, most: int, are_abreast: bool) -> None:
        for _ in range(3):
            self.look(5.0)
        self.work(most, are_abreast)

    def work(self, most: int, are_abreast: bool) -> None:
        with self.mortal():
            for state in (State.RECEIVED, State.QUEUED):
                jobs = self.life.claim(state)
                self.life.ledger.release(jobs[most:])
                if are_abreast:
                    self.bring_on(jobs[:most])
                else:
                    for job in jobs[:most]:
                        self.bring_on([job])

    def bring_on(self, jobs: list[Job]) -> None:
        """Do the first step for all of them, then the second, then the third: as abreast as one thread can be."""
        pipeline = self.life.pipeline
        found: list[object] = [pipeline.prepare(job) for job in jobs]
        found = [pipeline.call(one) if isinstance(one, Ready) else one for one in found]
        found = [pipeline.finish(one) if isinstance(one, Paid) else one for one in found]
        self.life.ledger.release([one.job for one in found if isinstance(one, Back | Twin | Blocked)])

    # --- troubles -------------------------------------------------------------------------------------

    @rule(step=st.sampled_from(ALL_STEPS))
    def will_crash(self, step: str) -> None:
        self.dies_at = step

    @rule(kind=st.sampled_from(FAULTS), count=st.integers(1, 2), skip=st.integers(0, 1))
    def misbehave(self, kind: str, count: int, skip: int) -> None:
        self.studio.sandbox.add_fault(kind, count=count, skip=skip)

    @rule(trouble=st.sampled_from(["credits", "output", "restart", "none"]))
    def trouble(self, trouble: str) -> None:
        """Let something be missing, and everything else come back."""
        sandbox = self.studio.sandbox
        sandbox.account.included, sandbox.account.prepaid = (0, 1) if trouble == "credits" else (PLENTY, 0)
        if trouble == "output" and self.output.exists():
            self.output.rename(self.away)
        elif self.away.exists() and not self.output.exists():
            self.away.rename(self.output)
        if trouble == "restart":
            self.end()
            self.begin()

    @rule(seconds=st.sampled_from([20, 120, 4000, 90_000]))
    def wait(self, seconds: int) -> None:
        self.clock.nap(None, seconds)

    @rule()
    def retry_by_hand(self) -> None:
        self.life.ledger.retry(Which(), self.clock.now())
        self.life.governor.resume()

    @rule()
    def come_to_rest(self) -> None:
        """Take all troubles away, let time pass and a person say "again": then everything must be in its place."""
        self.studio.sandbox.clear_faults()
        self.studio.sandbox.account.included = PLENTY
        self.dies_at = self.trick = None
        if self.away.exists():
            self.away.rename(self.output)
        for _ in range(3):
            self.look(30.0)  # what is no whole picture is given up and listed: asked for again, it must cost nothing
        for _ in range(12):
            self.retry_by_hand()
            self.wait(4000)
            for _ in range(4):
                self.look(3.0)
            for _ in range(3):
                self.work(4, False)
            if self.watcher.is_at_rest and not self.unfinished():
                break
        assert not self.unfinished()
        self.see_outputs()
        for name, number in self.last.items():
            self.is_delivered(name, number)

    def unfinished(self) -> list[Job]:
        done = {State.DONE, State.VANISHED}
        half = {os.fsencode(name) for name in self.half}
        return [
            job
            for job in self.life.ledger.jobs()
            if job.state not in done and job.gone_at is None and not (job.source in half and job.state is State.FAILED)
        ]

    def is_delivered(self, name: str, number: int) -> None:
        jobs = [job for job in self.life.ledger.jobs() if job.source == os.fsencode(name) and job.state is State.DONE]
        assert jobs, f"{name!r} is lost"
        newest = max(jobs, key=lambda job: job.changed_at)
        target = self.output / os.fsdecode(newest.target or b"?")
        content = self.foreign.get(target.relative_to(self.output))
        assert content == b"retouched" or colour_of(target) == flat_color(digest(CONTENTS[number])), (name, target)
        assert (self.input / name).exists() is (self.after == "keep"), name

    # --- what must hold at any moment -----------------------------------------------------------------

    def outputs(self) -> dict[Path, bytes]:
        root = self.output if self.output.exists() else self.away
        visible = (path for path in root.rglob("*") if path.is_file() and not path.name.startswith("."))
        return {path.relative_to(root): path.read_bytes() for path in visible}

    def see_outputs(self) -> None:
        """Note which contents have lost their cut-out, so that another call for them would be right."""
        root = self.output if self.output.exists() else self.away
        ours = [root / place for place in self.outputs() if place not in self.foreign]
        shown = {COLOURS[colour_of(path)] for path in ours}
        self.answers_gone.update(self.shown - shown)
        self.shown = shown

    @invariant()
    def holds(self) -> None:
        if hasattr(self, "life"):
            self.what_is_seen_is_whole_and_what_is_foreign_is_untouched()
            self.no_original_is_lost()
            self.each_content_is_paid_once_and_again_only_where_nobody_could_know()
            self.the_books_hold_the_truth()

    def what_is_seen_is_whole_and_what_is_foreign_is_untouched(self) -> None:
        outputs = self.outputs()
        assert {place: outputs.get(place) for place in self.foreign} == self.foreign
        self.see_outputs()  # which opens each of the others

    def no_original_is_lost(self) -> None:
        kept = {path.read_bytes() for path in (self.root / "done").rglob("*") if path.is_file()}
        for name, number in self.last.items():
            path, content = self.input / name, CONTENTS[number]
            if path.exists():
                assert path.read_bytes() == content
            elif self.after == "move":
                assert content in kept, name
            else:
                assert self.after == "delete", name

    def each_content_is_paid_once_and_again_only_where_nobody_could_know(self) -> None:
        sandbox = self.studio.sandbox
        useless = Counter(one.sha256 for one in sandbox.requests if one.fault is not None and one.billed)
        keys = {digest(content): key_of(content) for content in CONTENTS.values()}
        numbers_of = {digest(content): number for number, content in CONTENTS.items()}
        for sha256, paid in sandbox.billed_pictures.items():
            assert sha256 in keys, "bytes that never were a whole picture were paid for"
            most = 1 + useless[sha256] + self.crashed[keys[sha256]] + self.answers_gone[numbers_of[sha256]]
            assert paid <= most, (numbers_of[sha256], paid, most)

    def the_books_hold_the_truth(self) -> None:
        spent, truth = self.life.ledger.spending(), self.studio.sandbox.billed_credits
        assert spent.charged <= truth <= spent.charged + spent.doubtful, (spent, truth)
        doubled = sum(count - 1 for count in self.studio.sandbox.billed_pictures.values())
        assert doubled <= spent.doubles + spent.repeats


@cache
def key_of(content: bytes) -> str:
    """Name the request for a content as the ledger does."""
    with tempfile.NamedTemporaryFile(suffix=".jpg") as file:
        file.write(content)
        file.flush()
        path = Path(file.name)
        with measure(path, version_of(path.stat()), sends=PLAIN) as opened:
            options = RemovalParams(format=Format.PNG).canonical()
            return content_name(opened.content_digest, options, way=opened.way)


def colour_of(path: Path) -> tuple[int, ...]:
    """Show a cut-out, which must be whole, and return its one colour."""
    with Image.open(path) as image:
        image.load()
        pixel = image.convert("RGBA").getpixel((image.width // 2, image.height // 2))
    assert isinstance(pixel, tuple)
    return pixel


StudioMachine.TestCase.settings = machine_settings(
    derandomize=PROFILE != "night",  # a longer search looks where nobody has looked yet
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # a crash closes no file
class TestStudioMachine(StudioMachine.TestCase):  # type: ignore[misc,name-defined]
    pass
