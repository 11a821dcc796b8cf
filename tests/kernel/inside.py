"""
Scenes for a real kernel, each in a process of its own, some in namespaces of their own.

``python inside.py SCENE DIRECTORY`` plays one; whatever goes wrong is an AssertionError.
"""

import contextlib
import ctypes
import errno
import io
import os
import random
import re
import resource
import shutil
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from pathlib import Path

from PIL import Image

from rembg_watch import check, config
from rembg_watch.daemon import Daemon
from rembg_watch.daemon.target_folders import may_be_made
from rembg_watch.delivery.roots import Roots
from rembg_watch.errors import ExitCode
from rembg_watch.host.mounts import mount_of, mounted
from rembg_watch.jobs import Unsettled, Version
from rembg_watch.paths import Folder
from rembg_watch.report import events
from rembg_watch.report.events import Event
from rembg_watch.sandbox import Sandbox
from rembg_watch.watch import Pace, Watcher
from rembg_watch.watch.folder import FolderWatch
from rembg_watch.watch.scan import Scan

SETTLE_S = 0.3
INTERVAL_S = 1.0
PATIENCE_S = 60.0
"""For what comes by itself; much less than the 300 s after which a scene without notices would find it."""


def unwatched(scan: Scan) -> int:
    """How many directories nobody tells us of."""
    return sum(one.descriptor is None for one in scan._directories.values())


def jpeg(seed: int = 0, size: tuple[int, int] = (24, 16)) -> bytes:
    out = io.BytesIO()
    image = (
        Image.effect_noise(size, 40).convert("RGB") if size > (99, 99) else Image.new("RGB", size, (seed % 256, 9, 9))
    )
    image.save(out, "JPEG")
    return out.getvalue()


PICTURE = jpeg()


class Book:
    """The ledger's part, in memory: what stands, and what was ever put in line."""

    def __init__(self) -> None:
        self.standing: dict[bytes, dict[bytes, Version]] = {}
        self.added: Counter[bytes] = Counter()
        self.sizes: dict[bytes, int] = {}
        self.vanished: list[bytes] = []
        self.rejected: list[bytes] = []
        self.last_add_s = 0.0

    def known(self, folder: str, parent: bytes) -> Mapping[bytes, Version]:
        return dict(self.standing.get(parent, {}))

    def parents(self, folder: str) -> list[bytes]:
        return [parent for parent, names in self.standing.items() if names]

    def add(self, folder: str, sources: Iterable[tuple[bytes, Version]], at: datetime) -> int:
        new = 0
        for source, version in sources:
            parent, _, name = source.rpartition(b"/")
            names = self.standing.setdefault(parent, {})
            if names.get(name) != version:
                names[name], new = version, new + 1
                self.added[source] += 1
                self.sizes[source] = version.size_bytes
        self.last_add_s = time.monotonic()
        return new

    def reject(self, folder: str, source: bytes, version: Version, at: datetime, *, reason: str, code: str) -> bool:
        self.rejected.append(source)
        return True

    def gone(self, folder: str, sources: Iterable[bytes], at: datetime) -> int:
        for source in sources:
            parent, _, name = source.rpartition(b"/")
            if self.standing.get(parent, {}).pop(name, None):
                self.vanished.append(source)
        return 0

    def set_unsettled(self, folder: str, items: Iterable[Unsettled]) -> bool:
        return True

    def set_passed_over(self, folder: str, found: object) -> None:
        pass


class Scene:
    """A watcher in its threads, and a folder to play in."""

    def __init__(self, directory: Path, *, root: Path | None = None, **pace: object) -> None:
        self.directory = directory
        self.root = root or directory / "in"
        self.book = Book()
        self.events: list[Event] = []
        facts = {"settle_s": SETTLE_S, "scan_interval_s": INTERVAL_S} | pace
        folder = Folder(name="c", input=self.root, output=directory / "out")
        self.watcher = Watcher([folder], self.book, Pace(**facts), report=self.events.append)  # type: ignore[arg-type]

    @property
    def watch(self) -> FolderWatch:
        return self.watcher._folders["c"]

    def begin(self) -> "Scene":
        self.watcher.start()
        self.waits(lambda: self.watch.is_at_rest, "the first walk")
        return self

    def waits(self, condition: Callable[[], bool], what: str, within_s: float = PATIENCE_S) -> None:
        waits(condition, what, within_s, self.reported)

    def drop(self, name: str) -> bytes:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(PICTURE)
        return name.encode()

    def finds(self, name: bytes) -> None:
        self.waits(lambda: self.book.added[name] == 1, f"{name!r}")

    def has(self, count: int) -> None:
        self.waits(lambda: len(self.book.added) >= count, f"{count} files")
        self.rests()
        assert len(self.book.added) == count, len(self.book.added)
        assert set(self.book.added.values()) == {1}, self.book.added.most_common(3)
        assert self.book.rejected == []

    def rests(self) -> None:
        self.waits(lambda: self.watch.is_at_rest, "rest")

    def reported(self) -> list[str]:
        return [event.sentence() for event in self.events if not isinstance(event, events.Found)][-15:]

    def count(self, kind: type[Event]) -> int:
        return sum(isinstance(event, kind) for event in self.events)

    def end(self) -> None:
        assert self.watcher.stop(), "a thread does not end"
        assert self.count(events.Mistake) == 0, self.reported()


def waits(
    condition: Callable[[], bool], what: str, within_s: float = PATIENCE_S, reported: Callable[[], object] = str
) -> None:
    until = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < until, f"{what} did not come: {reported()}"
        time.sleep(0.01)


def sh(*command: str | Path) -> None:
    subprocess.run([str(part) for part in command], check=True)


def rss_mb() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE") / 1e6


# --- more than the kernel tells ---


def overflow(directory: Path) -> None:
    scene = Scene(directory, scan_interval_s=300.0)
    for number in range(20):
        (scene.root / str(number)).mkdir(parents=True)
    scene.begin()
    with scene.watch._marks._lock:  # the reader waits, as it does on a machine that is busy
        for number in range(12_000):
            (scene.root / str(number % 20) / f"{number}.jpg").write_bytes(PICTURE)
    scene.has(12_000)
    assert scene.count(events.Overflowed) >= 1
    scene.end()


def flood(directory: Path) -> None:
    """30,000 files as fast as they come, half of them by rename, most of them in one directory."""
    scene = Scene(directory, scan_interval_s=300.0)
    outside = directory / "outside"
    outside.mkdir()
    (scene.root / "many").mkdir(parents=True)
    scene.begin()
    before_mb = rss_mb()
    for number in range(30_000):
        target = scene.root / "many" / f"{number}.jpg"
        if number % 2:
            target.write_bytes(PICTURE)
        else:
            (outside / "x").write_bytes(PICTURE)
            (outside / "x").rename(target)
    scene.has(30_000)
    book_mb = 15  # this scene's own ledger
    assert rss_mb() - before_mb < 40 + book_mb, (before_mb, rss_mb())
    scene.end()


def watch_limit(directory: Path) -> None:
    """In a user namespace of its own, whose limit is its own too."""
    Path("/proc/sys/user/max_inotify_watches").write_text("50")
    scene = Scene(directory)
    for number in range(200):
        (scene.root / str(number)).mkdir(parents=True)
    scene.begin()
    assert unwatched(scene.watch._scan) > 100
    for number in range(200):
        scene.drop(f"{number}/a.jpg")
    scene.has(200)
    (polling,) = [event for event in scene.events if isinstance(event, events.Polling)]
    assert "sysctl fs.inotify.max_user_watches" in polling.why
    scene.end()


def no_observer_left(directory: Path) -> None:
    Path("/proc/sys/user/max_inotify_instances").write_text("0")
    scene = Scene(directory)
    scene.root.mkdir()
    scene.begin()
    scene.finds(scene.drop("a.jpg"))
    assert scene.count(events.Polling) == 1
    scene.end()


# --- mounts ---


def remount(directory: Path) -> None:
    """The same disk, unmounted and mounted ten times: nothing is new, nothing is gone."""
    disk = directory / "disk"
    disk.mkdir()
    scene = Scene(directory, scan_interval_s=0.4)
    scene.root.mkdir()
    sh("mount", "--bind", disk, scene.root)
    for number in range(100):
        scene.drop(f"day/{number}.jpg")
    scene.begin()
    scene.has(100)
    for cycle in range(10):
        sh("umount", scene.root)
        scene.waits(lambda: scene.watch.is_away, "standby")
        sh("mount", "--bind", disk, scene.root)
        scene.waits(lambda: not scene.watch.is_away, "the return")
        scene.finds(scene.drop(f"day/new{cycle}.jpg"))
    scene.has(110)
    assert scene.book.vanished == []
    assert scene.count(events.FolderOffline) == scene.count(events.FolderOnline) == 10
    scene.end()
    sh("umount", scene.root)


def remount_anew(directory: Path) -> None:
    """Another disk each time, so fast that no look at the root sees the gap."""
    scene = Scene(directory)
    scene.root.mkdir()
    sh("mount", "-t", "tmpfs", "none", scene.root)
    scene.begin()
    for cycle in range(10):
        sh("umount", scene.root)
        sh("mount", "-t", "tmpfs", "none", scene.root)
        scene.finds(scene.drop(f"day/{cycle}.jpg"))
    scene.has(10)
    scene.end()
    sh("umount", scene.root)


def mounted_late(directory: Path) -> None:
    scene = Scene(directory)
    scene.root.mkdir()
    scene.book.add("c", [(b"queued.jpg", Version(size_bytes=1, mtime_ns=1, inode=1))], datetime.now().astimezone())
    scene.begin()
    sh("mount", "-t", "tmpfs", "none", scene.root)
    scene.finds(scene.drop("a.jpg"))
    assert scene.book.vanished == []
    scene.end()
    sh("umount", scene.root)


def disk_below(directory: Path) -> None:
    """A disk mounted somewhere below the folder goes away and comes back."""
    scene = Scene(directory)
    scene.drop("own.jpg")
    point = scene.root / "card"
    point.mkdir()
    sh("mount", "-t", "tmpfs", "none", point)
    scene.drop("card/a.jpg")
    scene.drop("card/deep/a.jpg")
    scene.begin()
    scene.has(3)
    sh("umount", point)
    time.sleep(INTERVAL_S * 2.5)
    assert scene.book.vanished == [], scene.book.vanished
    sh("mount", "-t", "tmpfs", "none", point)
    scene.finds(scene.drop("card/deep/b.jpg"))
    assert scene.book.vanished == []
    scene.end()
    sh("umount", point)


def overlay(directory: Path) -> None:
    """Notices of an overlay do not tell what happens below it, so it is walked."""
    scene = Scene(directory)
    for name in ("in", "lower", "upper", "work"):
        (directory / name).mkdir()
    (directory / "lower" / "old.jpg").write_bytes(PICTURE)
    sh("mount", "-t", "tmpfs", "none", directory / "work")  # an overlay's own disk must not be an overlay
    for name in ("upper", "scratch"):
        (directory / "work" / name).mkdir()
    options = f"lowerdir={directory}/lower,upperdir={directory}/work/upper,workdir={directory}/work/scratch"
    sh("mount", "-t", "overlay", "overlay", "-o", options, scene.root)
    scene.begin()
    scene.finds(scene.drop("new.jpg"))
    (directory / "work" / "upper" / "behind.jpg").write_bytes(PICTURE)
    scene.finds(b"behind.jpg")
    scene.has(3)
    (polling,) = [event for event in scene.events if isinstance(event, events.Polling)]
    assert "overlay" in polling.why
    assert unwatched(scene.watch._scan) == len(scene.watch._scan)
    scene.end()
    sh("umount", scene.root)


def full_of_errors(directory: Path) -> None:
    """A disk that answers with errors is away, and nothing on it counts as deleted."""
    scene = Scene(directory)
    scene.root.mkdir()
    sh("mount", "-t", "tmpfs", "none", scene.root)
    scene.drop("a.jpg")
    scene.begin()
    scene.has(1)
    sh("mount", "-t", "tmpfs", "-o", "mode=000,uid=65534,gid=65534", "none", scene.root)
    time.sleep(INTERVAL_S * 2)
    sh("umount", scene.root)
    scene.finds(scene.drop("b.jpg"))
    assert scene.book.vanished == []
    scene.end()
    sh("umount", scene.root)


def fstab(directory: Path) -> None:
    """What mount(8) reads in fstab is what the daemon reads: an output is made on the share, or not at all."""
    for name in (b"nas", b"Studio NAS", b"tab\there", b"back\\slash", b"#1", b"caf\xe9"):
        _mounted_by_fstab(directory, os.fsdecode(name), b"none", b"tmpfs rw,noauto,size=1m")
        shutil.rmtree(directory / os.fsdecode(name))
    (directory / "elsewhere").mkdir()
    _mounted_by_fstab(directory, "bind", os.fsencode(directory / "elsewhere"), b"none bind")
    assert not os.path.ismount(directory / "bind")


def _mounted_by_fstab(directory: Path, name: str, source: bytes, rest: bytes) -> None:
    point, table = directory / name, directory / "fstab"
    point.mkdir()
    escaped = re.sub(rb"[\s#\\]", lambda odd: b"\\%03o" % odd[0][0], os.fsencode(point))
    table.write_bytes(b"# shares\n%s\t%s/  %s\n" % (source, escaped, rest))
    (directory / "link").unlink(missing_ok=True)
    (directory / "link").symlink_to(point)
    made = [directory / "link/out", point / "failed"]
    assert [path for path in made if may_be_made(path, fstab=table)] == []
    sh("mount", "--bind", point, point)  # as systemd opens a folder for a service
    assert [path for path in made if may_be_made(path, fstab=table)] == []
    assert mount_of(point, mounted()).point == point  # type: ignore[union-attr]
    sh("mount", "--fstab", table, point)
    assert [path for path in made if may_be_made(path, fstab=table)] == made
    sh("mount", "-t", "tmpfs", "none", directory)
    point.mkdir()
    table.write_bytes(b"%s %s %s\n" % (source, escaped, rest))
    assert [path for path in made if may_be_made(path, fstab=table)] == [made[0]], (
        "the share is covered, and the link too"
    )
    sh("umount", directory)
    sh("umount", point)
    assert [path for path in made if may_be_made(path, fstab=table)] == []
    sh("umount", point)


class Notes:
    """The ledger's notes, in memory: they outlive a run."""

    def __init__(self) -> None:
        self.kept: dict[str, object] = {}

    def note(self, name: str) -> object:
        return self.kept.get(name)

    def set_note(self, name: str, value: object, *, is_durable: bool = True) -> None:
        self.kept[name] = value


def roots(directory: Path) -> None:
    """A share that comes and goes in every order, running and restarted: only the very same one is there."""
    point, share, other = directory / "nas", directory / "share", directory / "other"
    for place in (point, share, other):
        place.mkdir()
    for disk in (share, other):
        sh("mount", "-t", "tmpfs", "none", disk)
        (disk / "out").mkdir()
    chance, notes = random.Random(7), Notes()
    now, output = Roots(notes), point / "out"  # type: ignore[arg-type]
    sh("mount", "--bind", share, point)
    assert now.why_away(output) == ""
    (share / "out/x.webp").touch()
    now.used(output)
    there = [share]
    for _ in range(60):
        act = chance.choice(["restart", "umount", "same", "other", "fill"])
        if act == "restart":
            now = Roots(notes)  # type: ignore[arg-type]
        if act in ("umount", "same", "other") and there:
            sh("umount", point)
            there.clear()
        if act in ("same", "other"):
            there.append(share if act == "same" else other)
            sh("mount", "--bind", there[0], point)
        if act == "fill" and not there:
            output.mkdir(exist_ok=True)  # a program that does not look writes on the disk underneath
            (output / "y.webp").touch()
        assert bool(now.why_away(output)) is (there != [share]), (act, there, now.why_away(output))
    for place in (*([point] if there else []), share, other):
        sh("umount", place)


# --- observers that die ---


SILENT = """state_dir = "state"
[api]
url = "http://127.0.0.1/rmbg"
usage_url = "http://127.0.0.1/api/membership-usage"
[watch]
settle_s = 0.05
scan_interval_s = 0.2
[output]
free_space_reserve_mb = 0
"""
FOLDER = """[[folders]]
name = "{0}"
input = "{1}"
output = "{2}"
after = "move"
done = "{3}"
"""


def hang(point: Path) -> int:
    """Mount a share whose server never says a word; it fails once what is returned is closed."""
    server = os.open("/dev/fuse", os.O_RDWR)
    options = f"fd={server},rootmode=40000,user_id=0,group_id=0".encode()
    if ctypes.CDLL(None, use_errno=True).mount(b"nowhere", os.fsencode(point), b"fuse", 0, options):
        raise OSError(ctypes.get_errno(), "mount")
    return server


def silent_share(directory: Path) -> None:
    """A share that hangs before the start stops its own folders alone; they go on when it is there."""
    share, path = directory / "share", directory / "config.toml"
    for name in ("share", "well/in", "dumb/in"):
        (directory / name).mkdir(parents=True)
    folders = [
        FOLDER.format("well", "well/in", "well/out", "well/done"),
        FOLDER.format("deaf", "share/in", "deaf/out", "deaf/done"),
        FOLDER.format("dumb", "dumb/in", "share/out", "dumb/done"),
        FOLDER.format("both", "share/both", "share/all", "share/done"),
    ]
    path.write_text(SILENT + "".join(folders))
    (directory / "well/in/1.jpg").write_bytes(PICTURE)
    (directory / "dumb/in/2.jpg").write_bytes(jpeg(2))
    server, sandbox = hang(share), Sandbox("a-key-of-the-sandbox", engine="flat")
    with contextlib.ExitStack() as mounted:
        mounted.callback(sh, "umount", "-l", share)
        mounted.callback(os.close, server)
        began_s = time.monotonic()
        os.environ["REMBG_WATCH_API__KEY"] = sandbox.key
        reading = config.read(path)
        found = [one for one in check.findings(reading, ask=None, service={}) if "does not answer" in one.what]
        assert {one.kind for one in found} == {config.FindingKind.AWAY}, found
        assert len(found) == 5, found
        assert reading.settings is not None
        with Daemon(reading.settings, report=events.nobody, transport=sandbox.transport()) as daemon:
            assert daemon.run_once() is ExitCode.WAITING
        assert (directory / "well/out/1.webp").exists()
        assert (directory / "well/done/1.jpg").exists()
        assert sandbox.billed == 1
        assert time.monotonic() - began_s < 60
        told: list[Event] = []
        with Daemon(reading.settings, report=told.append, transport=sandbox.transport(), reload_from=path) as daemon:
            loop = threading.Thread(target=daemon.main_loop)
            loop.start()
            waits(lambda: set(daemon.parts.ports.shares.hung()) == {"deaf", "dumb", "both"}, "three folders that hang")
            (directory / "well/in/3.jpg").write_bytes(jpeg(3))
            waits((directory / "well/out/3.webp").exists, "service for the others")
            daemon._wants_reload.set()
            waits(lambda: events.Reloaded(changes=()) in told, "a reload")
            assert {event.folder for event in told if isinstance(event, events.FolderHung)} == {"deaf", "dumb", "both"}
            mounted.close()
            for name in ("in", "both"):
                (share / name).mkdir()
                (share / name / "4.jpg").write_bytes(jpeg(4 + len(name)))
            for name in ("deaf/out/4.webp", "share/out/2.webp", "share/all/4.webp", "share/done/4.jpg"):
                waits((directory / name).exists, name, reported=lambda: [event.sentence() for event in told])
            daemon.stopping.set()
            loop.join()
    assert sandbox.billed == 5


def dead_reader(directory: Path) -> None:
    scene = Scene(directory, scan_interval_s=300.0)
    scene.root.mkdir()
    scene.begin()
    observer = scene.watch._guard._observer
    assert observer is not None
    observer._reader.stop()
    scene.waits(lambda: scene.count(events.ObserverRebuilt) == 1, "a new observer")
    scene.finds(scene.drop("a.jpg"))
    scene.end()


def raising_handler(directory: Path) -> None:
    scene = Scene(directory, scan_interval_s=300.0)
    scene.root.mkdir()
    scene.begin()
    observer = scene.watch._guard._observer
    assert observer is not None

    def raises(label: bytes, name: bytes) -> None:
        raise RuntimeError("on purpose")

    threading.excepthook = lambda _: None
    observer._notice = raises
    first = scene.drop("first.jpg")
    scene.waits(lambda: scene.count(events.ObserverRebuilt) == 1, "a new observer")
    scene.finds(first)
    scene.finds(scene.drop("second.jpg"))
    scene.end()


def moved_out(directory: Path) -> None:
    """What kills the reader of watchdog's own observer with a KeyError."""
    scene = Scene(directory, scan_interval_s=300.0)
    scene.drop("sub/deep/a.jpg")
    scene.begin()
    scene.has(1)
    (scene.root / "sub").rename(directory / "aside")
    (scene.root / "sub").mkdir()
    (scene.root / "sub").rmdir()
    shutil.rmtree(directory / "aside")
    scene.waits(lambda: scene.book.vanished == [b"sub/deep/a.jpg"], "the loss")
    scene.finds(scene.drop("b.jpg"))
    scene.finds(scene.drop("sub/deep/c.jpg"))
    assert scene.count(events.ObserverRebuilt) == 0
    scene.end()


def root_replaced(directory: Path) -> None:
    scene = Scene(directory)
    scene.drop("a.jpg")
    scene.begin()
    scene.has(1)
    for cycle in range(3):
        shutil.rmtree(scene.root)
        if cycle:
            scene.waits(lambda: scene.watch.is_away, "standby")
        scene.root.mkdir()
        scene.finds(scene.drop(f"new{cycle}.jpg"))
    scene.root.rename(directory / "aside")
    scene.waits(lambda: scene.watch.is_away, "standby")
    (directory / "aside").rename(scene.root)
    scene.finds(scene.drop("again.jpg"))
    scene.end()


# --- the ways files come ---


def new_trees(directory: Path) -> None:
    """A thousand ``mkdir -p`` with a write at once, and 300 trees moved in."""
    scene = Scene(directory, scan_interval_s=300.0)
    scene.root.mkdir()
    scene.begin()
    for number in range(1000):
        deep = scene.root / f"{number}" / "b" / "c"
        deep.mkdir(parents=True)
        (deep / "x.jpg").write_bytes(PICTURE)
    for number in range(300):
        tree = directory / "outside" / f"tree{number}"
        (tree / "b").mkdir(parents=True)
        (tree / "1.jpg").write_bytes(PICTURE)
        (tree / "b" / "2.jpg").write_bytes(PICTURE)
        tree.rename(scene.root / f"tree{number}")
    scene.has(1600)
    scene.end()


def shuffled_trees(directory: Path) -> None:
    """Trees that are renamed, nested and swapped while files arrive in them."""
    scene = Scene(directory)
    chance = random.Random(7)
    for name in "abcd":
        scene.drop(f"{name}/deep/0.jpg")
    scene.begin()
    for number in range(1, 200):
        one, other = chance.sample("abcd", 2)
        (scene.root / one).rename(scene.root / "swap")
        (scene.root / other).rename(scene.root / one)
        (scene.root / "swap").rename(scene.root / other)
        (scene.root / chance.choice("abcd") / "deep" / f"{number}.jpg").write_bytes(PICTURE)
    there = {os.fsencode(path.relative_to(scene.root)) for path in scene.root.rglob("*.jpg")}
    assert len(there) == 203
    scene.waits(lambda: {b"/".join(p) for p in _standing(scene.book)} == there, "all in their last places")
    scene.end()


def _standing(book: Book) -> list[tuple[bytes, bytes]]:
    return [(parent, name) for parent, names in list(book.standing.items()) for name in list(names)]


def slow_writers(directory: Path) -> None:
    """Twenty writers with pauses longer than the settle time, reopening and keeping open, and old dates."""
    scene = Scene(directory)
    scene.root.mkdir()
    scene.begin()
    whole = [jpeg(number, (500, 400)) for number in range(20)]

    def write(number: int) -> None:
        chance = random.Random(number)
        path = scene.root / f"{number}.jpg"
        parts = [whole[number][at : at + 30_000] for at in range(0, len(whole[number]), 30_000)]
        file = path.open("wb", buffering=0)
        for part in parts:
            file.write(part)
            os.utime(path, (10**9, 10**9))
            if chance.random() < 0.5:
                file.close()
                time.sleep(chance.choice([0.02, 0.2, SETTLE_S * 2.5]))
                file = path.open("ab", buffering=0)
            else:
                time.sleep(chance.choice([0.02, 0.2, SETTLE_S * 2.5]))
        os.utime(path, (10**9, 10**9))
        file.close()

    threads = [threading.Thread(target=write, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    scene.has(20)
    assert scene.book.sizes == {b"%d.jpg" % number: len(whole[number]) for number in range(20)}
    scene.end()


def latency(directory: Path) -> None:
    """From the last byte to the queue: the settle time and at most 0.3 s more, at the median."""
    scene = Scene(directory, scan_interval_s=300.0)
    scene.root.mkdir()
    scene.begin()
    late: list[float] = []
    for number in range(15):
        name = scene.drop(f"{number}.jpg")
        written_s = time.monotonic()
        scene.finds(name)
        late.append(scene.book.last_add_s - written_s - SETTLE_S)
    assert sorted(late)[len(late) // 2] <= 0.3, late
    print(f"median {sorted(late)[len(late) // 2]:.3f} s, worst {max(late):.3f} s after the settle time")
    scene.end()


def idle(directory: Path) -> None:
    """A tree at rest costs next to nothing, and neither do notices of one's own reading."""
    scene = Scene(directory, scan_interval_s=30.0)
    for number in range(5000):
        scene.drop(f"{number % 100}/{number}.jpg")
    scene.begin()
    scene.has(5000)
    before = resource.getrusage(resource.RUSAGE_SELF)
    time.sleep(5)
    after = resource.getrusage(resource.RUSAGE_SELF)
    spent_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert spent_s / 5 < 0.01, spent_s
    scene.end()


def may_mount(directory: Path) -> None:
    """Say with the exit code whether this process may do what the scenes need."""
    try:
        sh("mount", "-t", "tmpfs", "none", directory)
        sh("umount", directory)
    except (OSError, subprocess.CalledProcessError):
        sys.exit(errno.EPERM)


if __name__ == "__main__":
    globals()[sys.argv[1]](Path(sys.argv[2]))
