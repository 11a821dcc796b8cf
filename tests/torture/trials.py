"""
The trials: what is done to the program, and what it has promised to keep through it.

Each takes a plant and returns a report; nothing here decides how large a trial is.
"""

import itertools
import json
import os
import random
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rembg_watch.jobs import State
from rembg_watch.paths import is_junk
from tests.torture.eyes import Eyes
from tests.torture.mortal import STEPS, STEPS_OF_FILES
from tests.torture.pictures import jpeg, png
from tests.torture.plant import DELIVERABLES, Plant, Report, Running, StuckError

PER_PICTURE_S = 0.5
"""What a trial waits at the most for each picture, on a machine that is busy with other things."""

PATIENCE_S = 90.0


@contextmanager
def _timed(report: Report) -> Iterator[None]:
    begun = time.monotonic()
    try:
        yield
    except StuckError as stuck:
        report.broken.append(str(stuck))
    finally:
        report.figures["seconds"] = round(time.monotonic() - begun, 1)


@contextmanager
def _watched(plant: Plant, report: Report) -> Iterator[None]:
    """Open every cut-out that appears meanwhile."""
    with Eyes(plant.output) as eyes:
        yield
    report.figures |= {"cut-outs opened as they appeared": eyes.seen, "half-made seen": len(eyes.half_made)}
    report.expect(f"no half-made picture is seen: {eyes.half_made[:3]}", not eyes.half_made)
    report.expect("the eyes saw everything", eyes.missed == 0)


class Dropper(threading.Thread):
    """A person and a few programs that drop pictures all the time, in every way there is."""

    def __init__(self, plant: Plant, pictures: int) -> None:
        super().__init__(name="dropper", daemon=True)
        self._plant, self._pictures = plant, pictures
        self._ahead = max(40, pictures // 10)
        self._chance = random.Random(plant.chance.random())
        self._names: list[bytes] = []
        self.is_over = threading.Event()

    def run(self) -> None:
        for number in range(self._pictures):
            while number - len(self._plant.sandbox.billed_pictures) > self._ahead and not self.is_over.wait(0.02):
                pass
            if self.is_over.is_set():
                return
            self._drop(number)

    def _drop(self, number: int) -> None:
        name = b"shoot %d/%d/IMG_%d.jpg" % (number % 7, number % 3, number)
        content = self._plant.picture(number, self._chance.randrange(40_000))
        way = self._chance.random()
        if way < 0.45:
            self._plant.write(name, content)
        elif way < 0.8:
            self._plant.move_in(name, content)
        elif way < 0.9:
            self._write_slowly(name, content)
        elif way < 0.95 and self._names:
            self._plant.write(name, self._copy())
        elif self._names:
            self._plant.move_in(self._chance.choice(self._names), content)  # an export that replaces its picture
            return
        else:
            self._plant.write(name, content)
        self._names.append(name)

    def _copy(self) -> bytes:
        return self._plant.path(self._chance.choice(self._names)).read_bytes()

    def _write_slowly(self, name: bytes, content: bytes) -> None:
        self._plant.owns(name, content)
        with self._plant.path(name).open("wb", buffering=0) as file:
            for at in range(0, len(content), 8192):
                file.write(content[at : at + 8192])
                time.sleep(0.01)

    def finish(self) -> None:
        self.join(PATIENCE_S * 4)
        if self.is_alive():
            raise StuckError("the pictures could not all be dropped: the work does not go on")


# --- kill -9 and SIGTERM ---------------------------------------------------------------------------


def kills(plant: Plant, *, pictures: int, times: int) -> Report:
    """Kill the daemon again and again while pictures are dropped: in calls, at random steps, in its start."""
    files = f"{len(DELIVERABLES)} files each, " if plant.is_making else ""
    report = Report(f"{pictures:,} pictures, {files}{plant.workers} workers, {times} times kill -9")
    dropper = Dropper(plant, pictures)
    doubled = [0]  # before each life; what a kill cost shows in the life after it
    with _timed(report), _watched(plant, report):
        dropper.start()
        for number in range(1, times + 1):
            _live_and_die(plant, _goal(pictures, number, times), pictures // (times + 1))
            doubled.append(plant.billed_twice)
        with plant.running() as daemon:
            dropper.finish()
            plant.wait_for_rest(daemon, PATIENCE_S + pictures * PER_PICTURE_S)
            report.expect("SIGTERM ends it with 0", daemon.stop() == 0)
        report.figures["drops"] = pictures
        report.figures["set aside for a person as in doubt"] = plant.counts()[State.IN_DOUBT]
        _retry_doubts(plant)
        plant.judge(report)
    dropper.is_over.set()
    _count_doubles(plant, report, [*doubled[1:], plant.billed_twice], times)
    return report


def _goal(pictures: int, number: int, times: int) -> int:
    """Say how many calls go before the next blow; copies and replaced pictures need none, so that not all will come."""
    return pictures * number * 8 // (times + 1) // 10


def _live_and_die(plant: Plant, goal: int, lives: int) -> None:
    """Let the daemon come as far as *goal* paid calls, more or less, and kill it: somehow."""
    way = plant.chance.random()
    if way < 0.2:  # while it starts and puts right what the last kill left
        with plant.running() as daemon:
            time.sleep(plant.chance.uniform(0.3, 2.0))
            daemon.kill()
    elif way < 0.6:
        steps = STEPS + STEPS_OF_FILES * 2 if plant.is_making else STEPS
        with plant.running(plant.chance.choice(steps), str(plant.chance.randint(1, max(2, lives)))) as daemon:
            plant.wait("the bomb", lambda: not daemon.is_alive or plant.billed > goal + 2 * lives, PATIENCE_S, 0.005)
            daemon.kill()
    else:
        with plant.running() as daemon:
            plant.wait("calls", lambda: plant.billed >= goal and plant.sandbox.in_flight, PATIENCE_S, 0.005)
            time.sleep(plant.chance.uniform(0.0, plant.sandbox.latency_s))
            daemon.kill()


def _retry_doubts(plant: Plant) -> None:
    """Do what a person does whose pictures are listed as in doubt: look, and say once more."""
    if not plant.counts()[State.IN_DOUBT]:
        return
    plant.cli("retry", "--state", "in_doubt")
    with plant.running() as daemon:
        plant.wait_for_rest(daemon, PATIENCE_S)
        daemon.stop()


def _count_doubles(plant: Plant, report: Report, doubled: list[int], times: int) -> None:
    doubles, most = plant.billed_twice, times * plant.workers
    told = json.loads(plant.cli("status", "--json"))["spending"]
    shown = told["doubles"] + told["repeats"]
    per_kill = " ".join(str(after - before) for before, after in itertools.pairwise(doubled))
    report.figures |= {"double calls after each kill": per_kill, "the most that kills can cost": most}
    report.figures |= {"double calls that status shows": shown}
    report.expect(f"at most kills x workers are doubled: {doubles} of {most}", doubles <= most)
    report.expect(f"status shows every one of them: {shown} of {doubles}", shown >= doubles)


def sigterms(plant: Plant, *, pictures: int, times: int) -> Report:
    """Stop the daemon as systemd does, again and again in the middle of its work."""
    report = Report(f"{pictures:,} pictures, {plant.workers} workers, {times} times SIGTERM")
    dropper = Dropper(plant, pictures)
    with _timed(report), _watched(plant, report):
        dropper.start()
        for number in range(1, times + 1):
            goal = _goal(pictures, number, times)
            with plant.running() as daemon:
                plant.wait("calls", lambda g=goal: plant.billed >= g and plant.sandbox.in_flight, PATIENCE_S, 0.005)
                time.sleep(plant.chance.uniform(0.0, plant.sandbox.latency_s))
                report.expect("SIGTERM ends it with 0", daemon.stop() == 0)
            counts = plant.counts()
            report.expect(f"nothing is left in the middle: {counts}", not counts[State.SENDING])
        with plant.running() as daemon:
            dropper.finish()
            plant.wait_for_rest(daemon, PATIENCE_S + pictures * PER_PICTURE_S)
            report.expect("SIGTERM ends it with 0", daemon.stop() == 0)
        plant.judge(report)
        _expect_one_call_each(plant, report)
    dropper.is_over.set()
    return report


def _expect_one_call_each(plant: Plant, report: Report) -> None:
    spent = plant.spending()
    report.expect(f"no call is doubled: {plant.billed_twice}", not plant.billed_twice)
    report.expect(f"nothing is in doubt: {spent}", not (spent.doubtful or spent.doubles or spent.repeats))


# --- more than the kernel tells --------------------------------------------------------------------


def flood(plant: Plant, *, pictures: int, frozen: int) -> Report:
    """
    Drop pictures at full speed, half of them by rename, most of them in one directory.

    While the last *frozen* of them come the daemon stands still, as on a machine that is
    too busy, and the kernel's queue is filled up first: that overflows it for certain.
    """
    report = Report(f"{pictures:,} pictures at full speed, half by rename")
    work = _make_flood(plant, pictures)
    with _timed(report), _watched(plant, report), plant.running() as daemon:
        plant.wait("the start", lambda: plant.reported("started"), PATIENCE_S)
        memory = Memory(daemon)
        begun = time.monotonic()
        _drop_fast(work[: pictures - frozen])
        spent_s = time.monotonic() - begun
        plant.wait(
            "the watch", lambda: plant.reported("enqueued"), PATIENCE_S
        )  # else there is no queue to overflow yet
        natural = len(plant.reported("overflowed"))
        with daemon.frozen():
            _make_noise(plant.input)
            begun = time.monotonic()
            _drop_fast(work[pictures - frozen :])
            spent_s += time.monotonic() - begun
        memory.start()
        plant.wait_for_rest(daemon, PATIENCE_S + pictures * PER_PICTURE_S)
        report.figures |= memory.figures()
        report.expect(f"the memory stays flat: {memory.figures()}", memory.is_flat)
        report.expect("SIGTERM ends it with 0", daemon.stop() == 0)
        overflows = len(plant.reported("overflowed"))
        report.figures |= {
            "dropped a second": round(pictures / spent_s),
            "overflows of the kernel's queue": overflows,
            "of these while the daemon ran freely": natural,
        }
        report.expect("the queue overflows at least once", overflows)
        plant.judge(report)
        _expect_one_call_each(plant, report)
    return report


def _make_flood(plant: Plant, pictures: int) -> list[tuple[Path, Path, bytes]]:
    """Make all that takes time before: contents, directories, and the files that will be moved in."""
    work = []
    for number in range(pictures):
        source, content = (
            b"many/%d.jpg" % number if number % 10 else b"%d/%d.jpg" % (number % 100, number),
            jpeg(number),
        )
        plant.owns(source, content)
        aside = plant.outside / str(number)
        if number % 2:
            aside.write_bytes(content)
        work.append((plant.path(source), aside, content))
    return work


def _drop_fast(work: Sequence[tuple[Path, Path, bytes]]) -> None:
    for number, (path, aside, content) in enumerate(work):
        if number % 2:
            aside.rename(path)
        else:
            path.write_bytes(content)


def _make_noise(directory: Path) -> None:
    """Tell the kernel's queue more than it holds, of files that nobody wants."""
    for _ in range(FULL_QUEUE):
        for name in (".one", ".other"):  # in turns: the same notice twice is told once
            (directory / name).touch()


FULL_QUEUE = 10_000


class Memory(threading.Thread):
    """Look at what a daemon holds while it works through a backlog."""

    EVERY_S = 0.5
    FLAT_KB = 16_000

    def __init__(self, daemon: Running) -> None:
        super().__init__(name="memory", daemon=True)
        self._daemon = daemon
        self.first_kb = daemon.memory_kb("VmRSS")
        self.seen_kb: list[int] = []
        self.peak_kb = 0

    def run(self) -> None:
        while self._daemon.is_alive:
            try:
                self.seen_kb.append(self._daemon.memory_kb("VmRSS"))
                self.peak_kb = self._daemon.memory_kb("VmHWM")
            except (OSError, AssertionError):  # it has ended
                return
            time.sleep(self.EVERY_S)

    @property
    def growth_kb(self) -> int:
        """How much more it holds in the last quarter of the work than in the second one: a leak would show."""
        quarter = max(1, len(self.seen_kb) // 4)
        return max(self.seen_kb[-quarter:]) - max(self.seen_kb[quarter : 2 * quarter] or self.seen_kb)

    @property
    def is_flat(self) -> bool:
        return self.growth_kb < self.FLAT_KB

    def figures(self) -> dict[str, object]:
        return {
            "memory at the start, MB": round(self.first_kb / 1000),
            "memory at its peak, MB": round(self.peak_kb / 1000),
            "growth while it works, MB": round(self.growth_kb / 1000, 1),
        }


# --- the ways files come ---------------------------------------------------------------------------


def trees(plant: Plant, *, fresh: int, moved: int) -> Report:
    """Write into directories at the moment at which they are made, and move whole trees in."""
    report = Report(f"{fresh:,} x mkdir -p a/b/c with a write at once, {moved} trees moved in")
    with _timed(report), _watched(plant, report), plant.running() as daemon:
        plant.wait("the start", lambda: plant.reported("started"), PATIENCE_S)
        for number in range(fresh):
            plant.write(b"%d/b/c/x.jpg" % number, jpeg(number))
        for number in range(moved):
            _move_tree(plant, b"tree %d" % number, fresh + 2 * number)
        plant.wait_for_rest(daemon, PATIENCE_S + (fresh + 2 * moved) * PER_PICTURE_S)
        plant.judge(report)
        _expect_one_call_each(plant, report)
    return report


def _move_tree(plant: Plant, name: bytes, number: int) -> None:
    aside = plant.outside / os.fsdecode(name)
    (aside / "b").mkdir(parents=True)
    for place, content in (("1.jpg", jpeg(number)), ("b/2.png", png(number + 1))):
        plant.owns(name + b"/" + place.encode(), content)
        (aside / place).write_bytes(content)
    aside.rename(plant.path(name))


def fitful(plant: Plant, *, writers: int, placeholder_s: float) -> Report:
    """Write slowly, with pauses longer than the settle time, with old dates; let empty placeholders wait."""
    report = Report(f"{writers} slow and fitful writers, placeholders empty for {placeholder_s:.0f} s, old dates")
    plant.configure(watch={"settle_s": 0.5})
    numbers = itertools.count()
    work = [(_write_fitfully, writers), (_hold_a_place, 3), (_copy_with_old_date, 5)]
    with _timed(report), _watched(plant, report), plant.running() as daemon:
        plant.wait("the start", lambda: plant.reported("started"), PATIENCE_S)
        threads = [
            threading.Thread(target=way, args=(plant, next(numbers), placeholder_s), daemon=True)
            for way, count in work
            for _ in range(count)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        plant.wait_for_rest(daemon, PATIENCE_S)
        plant.judge(report)
        _expect_one_call_each(plant, report)
        report.expect(f"one call each: {plant.billed}", plant.billed == len(plant.sources) == len(threads))
    return report


OLD = (10**9, 10**9)


def _write_fitfully(plant: Plant, number: int, _placeholder_s: float) -> None:
    chance, content = random.Random(number), (png if number % 2 else jpeg)(number, 50_000)
    source = b"slow/%d%s" % (number, b".png" if number % 2 else b".jpg")
    plant.owns(source, content)
    path = plant.path(source)
    file = path.open("wb", buffering=0)
    for at in range(0, len(content), 10_000):
        file.write(content[at : at + 10_000])
        os.utime(path, OLD)
        if chance.random() < 0.5:
            file.close()
            time.sleep(chance.choice([0.02, 0.2, 1.2]))
            file = path.open("ab", buffering=0)
        else:
            time.sleep(chance.choice([0.02, 0.2, 1.2]))
    os.utime(path, OLD)
    file.close()


def _hold_a_place(plant: Plant, number: int, placeholder_s: float) -> None:
    """Make an empty file and fill it much later, as the Finder does on a share."""
    content = jpeg(number)
    source = b"place %d.jpg" % number
    plant.owns(source, content)
    path = plant.path(source)
    path.touch()
    time.sleep(placeholder_s)
    path.write_bytes(content)


def _copy_with_old_date(plant: Plant, number: int, _placeholder_s: float) -> None:
    source = b"old %d.jpg" % number
    plant.write(source, jpeg(number))
    os.utime(plant.path(source), OLD)


# --- again and again -------------------------------------------------------------------------------


def again(plant: Plant, *, pictures: int, remounts: int) -> Report:
    """Touch, remount and copy what was delivered: not one call is made."""
    report = Report(f"{pictures:,} delivered pictures touched, remounted {remounts} times and copied")
    if remounts:
        _sh("mount", "--bind", plant.outside, plant.input)
    try:
        with _timed(report), _watched(plant, report), plant.running() as daemon:
            for number in range(pictures):
                plant.write(b"%d/%d.jpg" % (number % 9, number), jpeg(number))
            plant.wait_for_rest(daemon, PATIENCE_S + pictures * PER_PICTURE_S)
            paid = plant.billed
            for name, act in (("touch", _touch), ("remount", _remount(remounts)), ("copy", _copy), ("rename", _rename)):
                act(plant)
                plant.wait_for_rest(daemon, PATIENCE_S + pictures * PER_PICTURE_S)
                report.figures[f"calls after {name}"] = plant.billed - paid
            report.expect("no call is made", plant.billed == paid == pictures)
            plant.judge(report)
            _expect_one_call_each(plant, report)
            report.expect("SIGTERM ends it with 0", daemon.stop() == 0)
    finally:
        if remounts:
            _unmount(plant.input)
    return report


def _touch(plant: Plant) -> None:
    for source in plant.sources:
        os.utime(plant.path(source))


def _remount(times: int) -> Callable[[Plant], None]:
    def act(plant: Plant) -> None:
        for _ in range(times):
            _unmount(plant.input)
            time.sleep(plant.chance.uniform(0.0, 1.5))
            _sh("mount", "--bind", plant.outside, plant.input)
            time.sleep(plant.chance.uniform(0.0, 1.5))

    return act


def _copy(plant: Plant) -> None:
    for source in list(plant.sources):
        plant.write(b"copies/copy of " + source.replace(b"/", b" "), plant.path(source).read_bytes())


def _rename(plant: Plant) -> None:
    for source in [source for source in plant.sources if source.startswith(b"copies/")]:
        other = b"renamed/" + source[7:]
        plant.path(source).rename(plant.path(other))
        plant.sources[other] = plant.sources.pop(source)


# --- disks and names -------------------------------------------------------------------------------


def full_disk(plant: Plant, *, pictures: int) -> Report:
    """Deliver into a disk of 64 KiB until it is full, then let it grow."""
    report = Report(f"{pictures} pictures into an output disk of 64 KiB that grows later")
    _sh("mount", "-t", "tmpfs", "-o", "size=64k", "none", plant.output)
    try:
        with _timed(report), _watched(plant, report), plant.running() as daemon:
            for number in range(pictures):
                plant.write(b"%d.jpg" % number, jpeg(number))
            plant.wait("a full disk", lambda: plant.reported("output_blocked"), PATIENCE_S)
            time.sleep(1.5)
            report.figures["delivered before it was full"] = len(plant.visible_outputs())
            report.figures["answers that waited in the spool"] = plant.counts()[State.RECEIVED]
            _sh("mount", "-o", "remount,size=64m", plant.output)
            plant.wait_for_rest(daemon, PATIENCE_S)
            plant.judge(report)
            _expect_one_call_each(plant, report)
            report.expect("SIGTERM ends it with 0", daemon.stop() == 0)
    finally:
        _unmount(plant.output)
    return report


def names(plant: Plant, *, pictures: int) -> Report:
    """Drop pictures under names that are random bytes."""
    report = Report(f"{pictures} names of random bytes")
    with _timed(report), _watched(plant, report), plant.running() as daemon:
        for number in range(pictures):
            plant.write(_random_name(plant.chance), jpeg(number))
        plant.wait_for_rest(daemon, PATIENCE_S)
        plant.judge(report)
        _expect_one_call_each(plant, report)
        plant.cli("jobs", "--limit", "1000")
        plant.cli("jobs", "--json", "--limit", "1000")
        plant.cli("status")
        report.expect("SIGTERM ends it with 0", daemon.stop() == 0)
    return report


def _random_name(chance: random.Random) -> bytes:
    """Make a name that a picture may have: any bytes, up to the longest that there is."""
    while True:
        length = chance.choice([1, 3, 10, 60, 200, 251])
        name = bytes(byte for byte in chance.randbytes(length) if byte not in b"/\0") + b".jpg"
        if not is_junk(name):
            return name


def may_mount(directory: Path) -> bool:
    """Say whether this process may mount, without mounting anything that anybody else sees."""
    point = directory / "may mount"
    point.mkdir()
    try:
        _sh("mount", "-t", "tmpfs", "none", point)
        _sh("umount", point)
    except (OSError, subprocess.CalledProcessError):
        return False
    finally:
        point.rmdir()
    return True


def _unmount(point: Path) -> None:
    """Unmount as an administrator does, who tries again while somebody has a file open."""
    until = time.monotonic() + PATIENCE_S
    while True:
        try:
            return _sh("umount", point)
        except subprocess.CalledProcessError:
            if time.monotonic() > until:
                raise
        time.sleep(0.01)


def _sh(*command: str | Path) -> None:
    subprocess.run([str(word) for word in command], check=True, capture_output=True)
