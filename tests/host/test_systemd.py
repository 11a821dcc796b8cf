"""The unit files as systemd reads them, and what the daemon says to it over a real socket."""

import configparser
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath

import pytest

from rembg_watch.errors import ExitCode
from rembg_watch.host.systemd import Heartbeat, Notify, drop_in, watchdog_interval_s

UNITS = Path(__file__).parents[2] / "systemd"
DAEMONS = ["rembg-watch.service", "rembg-watch@.service"]
SERVICES = [*DAEMONS, "rembg-watch-once.service"]
BASELINE = 252
"""The oldest systemd that the units are written for; what is newer stands in a drop-in."""

needs_analyze = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")


def version() -> int:
    said = subprocess.run(["systemctl", "--version"], capture_output=True, text=True, check=True, timeout=30)
    return int(said.stdout.split()[1])


class Repeating(dict[str, object]):
    """Keeps every value of a key that is given several times, as systemd does."""

    def __setitem__(self, key: str, value: object) -> None:
        if isinstance(value, list) and key in self:
            self[key].extend(value)
        else:
            super().__setitem__(key, value)


def parse(path: Path) -> configparser.RawConfigParser:
    unit = configparser.RawConfigParser(strict=False, dict_type=Repeating, interpolation=None)
    unit.optionxform = str
    unit.read_string(path.read_text())
    return unit


def values(path: Path, section: str, key: str) -> list[str]:
    return parse(path)[section].get(key, "").split("\n")


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The units as they would be installed, calling a program that is there."""
    for unit in [*UNITS.glob("*.service"), *UNITS.glob("*.timer")]:
        text = unit.read_text().replace("/opt/rembg-watch/bin/rembg-watch", "/bin/true")
        (tmp_path / unit.name).write_text(text)
    return tmp_path


def verify(*units: Path, search: Path) -> subprocess.CompletedProcess[str]:
    # the trailing colon keeps systemd's own units findable
    return subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *map(str, units)],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "SYSTEMD_UNIT_PATH": f"{search}:", "SYSTEMD_LOG_COLOR": "0"},
    )


@needs_analyze
@pytest.mark.parametrize("unit", [*SERVICES, "rembg-watch-once.timer", "rembg-watch-failed@.service"])
def test_systemd_reads_every_unit_without_a_word(unit: str, installed: Path) -> None:
    name = unit.replace("@.", "@studio.")
    if name != unit:
        (installed / name).write_text((installed / unit).read_text())
    said = verify(installed / name, search=installed)
    assert (said.returncode, said.stderr, said.stdout) == (0, "", "")


@needs_analyze
def test_the_check_would_notice_a_key_that_systemd_does_not_know(installed: Path) -> None:
    unit = installed / "rembg-watch.service"
    unit.write_text(unit.read_text().replace("NoNewPrivileges=", "NoNewPrivilege="))
    assert "NoNewPrivilege" in verify(unit, search=installed).stderr


@needs_analyze
@pytest.mark.parametrize("drop_in_file", ["on-failure.conf", "encrypted-key.conf", "newer-systemd.conf"])
def test_systemd_reads_every_drop_in_without_a_word(drop_in_file: str, installed: Path) -> None:
    if drop_in_file == "newer-systemd.conf" and version() < 254:
        pytest.skip(f"systemd {version()} does not know what the drop-in is for")
    folder = installed / "rembg-watch.service.d"
    folder.mkdir()
    shutil.copy(UNITS / "drop-ins" / drop_in_file, folder)
    said = verify(installed / "rembg-watch.service", search=installed)
    assert (said.returncode, said.stderr) == (0, "")


@needs_analyze
@pytest.mark.parametrize("unit", SERVICES)
def test_the_sandbox_is_as_tight_as_a_service_that_needs_the_internet_can_be(unit: str) -> None:
    said = subprocess.run(
        ["systemd-analyze", "security", "--offline=yes", "--threshold=11", f"./{unit}"],
        cwd=UNITS,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert said.returncode == 0, said.stdout


@pytest.mark.parametrize("unit", DAEMONS)
def test_the_start_limit_stands_where_systemd_looks_for_it(unit: str) -> None:
    assert {"StartLimitIntervalSec", "StartLimitBurst"} <= set(parse(UNITS / unit)["Unit"])
    assert not [key for key in parse(UNITS / unit)["Service"] if key.startswith("StartLimit")]


def seconds(text: str) -> float:
    number = text.rstrip("abcdefghijklmnopqrstuvwxyz")
    return float(number) * {"ms": 0.001, "s": 1, "": 1, "min": 60}[text[len(number) :]]


@pytest.mark.parametrize("unit", DAEMONS)
def test_a_crash_loop_reaches_the_start_limit(unit: str) -> None:
    """Were the burst spread over more than the interval, OnFailure= would never be called."""
    section = parse(UNITS / unit)["Unit"]
    pause_s = seconds(values(UNITS / unit, "Service", "RestartSec")[0])
    burst = int(section["StartLimitBurst"])
    assert burst * (pause_s + 5) < seconds(section["StartLimitIntervalSec"])


@pytest.mark.parametrize("unit", DAEMONS)
def test_only_what_a_restart_cannot_heal_prevents_one(unit: str) -> None:
    stated = set(values(UNITS / unit, "Service", "RestartPreventExitStatus")[0].split())
    for_a_person = {ExitCode.USAGE, ExitCode.KEY_REFUSED, ExitCode.CONFIG}
    assert stated == {str(int(code)) for code in for_a_person} | {"CREDENTIALS"}


def test_waiting_work_does_not_make_the_timer_a_failure() -> None:
    assert values(UNITS / "rembg-watch-once.service", "Service", "SuccessExitStatus") == [str(int(ExitCode.WAITING))]


def test_the_unit_that_on_failure_calls_is_there() -> None:
    called = values(UNITS / "drop-ins" / "on-failure.conf", "Unit", "OnFailure")[0]
    assert (UNITS / called.replace("@%n", "@")).is_file()


def directives(unit: str) -> list[str]:
    lines = (UNITS / unit).read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def test_the_template_differs_from_the_service_in_its_names_alone() -> None:
    named = [
        ("pictures dropped into folders (%i)", "pictures dropped into folders"),
        ("%i.toml", "config.toml"),
        ("%i.api_key", "api_key"),
        ("=rembg-watch-%i", "=rembg-watch"),
    ]
    template = "\n".join(directives("rembg-watch@.service"))
    for instance, plain in named:
        assert instance in template
        template = template.replace(instance, plain)
    assert template.split("\n") == directives("rembg-watch.service")


def test_the_timer_runs_in_the_daemons_sandbox() -> None:
    def sandbox(unit: str) -> list[str]:
        text = (UNITS / unit).read_text()
        return text[text.index("# --- who it is ---") :].partition("[Install]")[0].split("\n\n")

    assert [part.strip() for part in sandbox("rembg-watch-once.service")] == [
        part.strip() for part in sandbox("rembg-watch.service") if part.strip()
    ]


@pytest.mark.parametrize("unit", SERVICES)
def test_every_block_has_its_reason(unit: str) -> None:
    blocks = [block for block in (UNITS / unit).read_text().split("\n\n") if "=" in block]
    without = [block for block in blocks if "#" not in block and "[Install]" not in block]
    assert without == []


@pytest.mark.parametrize("unit", DAEMONS)
def test_a_daemon_is_waited_for_and_watched(unit: str) -> None:
    service = parse(UNITS / unit)["Service"]
    assert (service["Type"], service["NotifyAccess"], service["KillMode"]) == ("notify", "main", "mixed")
    assert seconds(service["WatchdogSec"]) >= 30, "a slow disk is no deadlock"


@pytest.mark.parametrize("unit", SERVICES)
def test_the_key_reaches_the_service_as_a_credential_alone(unit: str) -> None:
    text = (UNITS / unit).read_text()
    assert values(UNITS / unit, "Service", "LoadCredential")[0].startswith("api_key:/etc/rembg-watch/")
    assert "REMBG_WATCH_API__KEY" not in text
    assert not [line for line in values(UNITS / unit, "Service", "Environment") if "KEY" in line]


# --- the notify protocol ------------------------------------------------------------------------


Manager = tuple[str, socket.socket]


@pytest.fixture(params=["a path", "an abstract name"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    """A socket that listens as systemd does, and its address as NOTIFY_SOCKET has it."""
    address = str(tmp_path / "notify") if request.param == "a path" else f"@rembg-watch-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind("\0" + address[1:] if address.startswith("@") else address)
        listening.settimeout(5)
        yield address, listening


def heard(manager: Manager) -> list[str]:
    return manager[1].recv(65536).decode().split("\n")


def test_systemd_hears_that_the_daemon_is_ready(manager: Manager) -> None:
    assert Notify.from_environment({"NOTIFY_SOCKET": manager[0]}).ready("watching 2 folders")
    assert heard(manager) == ["READY=1", "STATUS=watching 2 folders"]


def test_a_reload_says_its_moment_in_the_same_datagram(manager: Manager) -> None:
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    Notify(manager[0]).reloading("reading the configuration")
    first, moment, status = heard(manager)
    assert (first, status) == ("RELOADING=1", "STATUS=reading the configuration")
    assert before <= int(moment.removeprefix("MONOTONIC_USEC=")) <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000


@pytest.mark.parametrize(
    ("say", "lines"),
    [
        (lambda notify: notify.stopping(), ["STOPPING=1"]),
        (lambda notify: notify.extend_timeout(0.2), ["EXTEND_TIMEOUT_USEC=200000"]),
        (lambda notify: notify.ping(), ["WATCHDOG=1"]),
        (lambda notify: notify.status("waiting"), ["STATUS=waiting"]),
    ],
    ids=["stopping", "more time", "ping", "status"],
)
def test_each_word_is_one_datagram(manager: Manager, say: Callable[[Notify], bool], lines: list[str]) -> None:
    say(Notify(manager[0]))
    assert heard(manager) == lines


def test_a_line_feed_in_a_status_is_no_second_assignment(manager: Manager) -> None:
    Notify(manager[0]).status("a\nSTOPPING=1")
    assert heard(manager) == ["STATUS=a STOPPING=1"]


def test_a_long_status_is_cut_between_characters(manager: Manager) -> None:
    Notify(manager[0]).status("ü" * 1000)
    assert heard(manager) == ["STATUS=" + "ü" * 256]


@pytest.mark.parametrize("address", ["", "relative", "vsock:2:1234"])
def test_outside_systemd_nothing_is_said(address: str) -> None:
    notify = Notify.from_environment({"NOTIFY_SOCKET": address})
    assert not any([notify.ready(), notify.status("x"), notify.ping(), notify.stopping(), notify.reloading()])
    assert not Notify.from_environment({}).ready()


def test_a_manager_that_is_gone_or_does_not_listen_stops_nobody(tmp_path: Path) -> None:
    assert not Notify(str(tmp_path / "gone")).ready()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as deaf:
        deaf.bind(str(tmp_path / "deaf"))
        notify = Notify(str(tmp_path / "deaf"))
        heard_all = all(notify.ping() for _ in range(10_000))
    assert not heard_all, "its queue is full and nobody was kept waiting"


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_USEC": "-3"}, None),
        ({"WATCHDOG_USEC": "60000000"}, 20.0),
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "7"}, 20.0),
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "8"}, None),
    ],
    ids=["not asked for", "switched off", "nonsense", "negative", "for anybody", "for us", "for another process"],
)
def test_pings_are_sent_as_often_as_systemd_wants(environment: dict[str, str], expected: float | None) -> None:
    assert watchdog_interval_s(environment, pid=7) == expected


# --- the heartbeat ------------------------------------------------------------------------------


@dataclass
class Clock:
    now_s: float = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def pings() -> list[str]:
    return []


@pytest.fixture
def heartbeat(clock: Clock, pings: list[str]) -> Heartbeat:
    heart = Heartbeat(lambda: pings.append("ping"), clock=clock)
    heart.register("the scanner", allowance_s=30)
    heart.register("worker 1", allowance_s=120)
    return heart


def test_it_pings_while_every_part_moves(heartbeat: Heartbeat, clock: Clock, pings: list[str]) -> None:
    clock.now_s += 30
    assert heartbeat.tick() == []
    assert pings == ["ping"]


def test_one_silent_part_is_enough_to_stop_the_pings(heartbeat: Heartbeat, clock: Clock, pings: list[str]) -> None:
    clock.now_s += 31
    heartbeat.beat("worker 1")
    assert [(late.part, late.silent_s) for late in heartbeat.tick()] == [("the scanner", 31)]
    assert pings == []


def test_a_part_that_moves_again_brings_the_pings_back(heartbeat: Heartbeat, clock: Clock, pings: list[str]) -> None:
    clock.now_s += 31
    heartbeat.tick()
    heartbeat.beat("the scanner")
    heartbeat.tick()
    assert pings == ["ping"]


def test_each_part_has_its_own_allowance_and_the_longest_silence_comes_first(
    heartbeat: Heartbeat, clock: Clock
) -> None:
    clock.now_s += 50
    heartbeat.beat("the scanner")
    clock.now_s += 100
    assert [late.part for late in heartbeat.late()] == ["worker 1", "the scanner"]


def test_a_resting_part_may_be_silent_for_days(heartbeat: Heartbeat, clock: Clock, pings: list[str]) -> None:
    heartbeat.rest("worker 1")
    heartbeat.rest("the scanner")
    clock.now_s += 86_400
    assert heartbeat.tick() == []
    heartbeat.beat("worker 1")
    clock.now_s += 121
    assert [late.part for late in heartbeat.tick()] == ["worker 1"], "work ends the rest"


def test_a_part_that_has_ended_is_expected_no_more(heartbeat: Heartbeat, clock: Clock) -> None:
    heartbeat.forget("the scanner")
    heartbeat.forget("never there")
    clock.now_s += 60
    heartbeat.beat("the scanner")
    assert heartbeat.late() == []


def test_parts_may_beat_from_any_thread(heartbeat: Heartbeat) -> None:
    def work(number: int) -> None:
        for _ in range(500):
            heartbeat.register(f"part {number}", allowance_s=1)
            heartbeat.beat(f"part {number}")
            heartbeat.late()
            heartbeat.forget(f"part {number}")

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert heartbeat.tick() == []


@pytest.mark.parametrize(("kept", "expected"), [(True, ["ping"]), (False, [])], ids=["a dead share", "a deadlock"])
def test_only_what_a_restart_could_heal_takes_the_pings_away(
    clock: Clock, pings: list[str], *, kept: bool, expected: list[str]
) -> None:
    heart = Heartbeat(lambda: pings.append("ping"), clock=clock, awaits_disk=lambda _thread: kept)
    heart.register("finisher", allowance_s=30)
    heart.beat("finisher")
    clock.now_s += 31
    assert [(late.part, late.awaits_disk) for late in heart.tick()] == [("finisher", kept)]
    assert pings == expected


def test_a_second_part_that_hangs_elsewhere_takes_the_pings_away(clock: Clock, pings: list[str]) -> None:
    mine = threading.get_native_id()
    heart = Heartbeat(lambda: pings.append("ping"), clock=clock, awaits_disk=lambda thread: thread == mine)
    heart.register("in the share", allowance_s=30)
    heart.register("in a lock", allowance_s=30)
    heart.beat("in the share")
    other = threading.Thread(target=heart.beat, args=("in a lock",))
    other.start()
    other.join()
    clock.now_s += 31
    assert sorted((late.part, late.awaits_disk) for late in heart.tick()) == [
        ("in a lock", False),
        ("in the share", True),
    ]
    assert pings == []


KEPT = """
import ctypes, os, sys, threading, time
from rembg_watch.host.systemd import awaits_disk

libc, pipe = ctypes.CDLL(None), os.fsencode(sys.argv[1])
found = []

def start_a_child_that_opens_the_pipe():
    actions = ctypes.create_string_buffer(1024)
    libc.posix_spawn_file_actions_init(actions)
    libc.posix_spawn_file_actions_addopen(actions, 9, pipe, os.O_RDONLY, 0)
    found.append(threading.get_native_id())
    libc.posix_spawn(ctypes.byref(ctypes.c_int()), b"/bin/true", actions, None, (ctypes.c_char_p * 2)(b"true"), None)

lock = threading.Lock()
lock.acquire()
def wait_for_a_lock():
    found.append(threading.get_native_id())
    lock.acquire()

def wait_until(is_so):
    until_s = time.monotonic() + 20
    while not is_so() and time.monotonic() < until_s:
        time.sleep(0.01)

def sleeps(thread_id):
    with open(f"/proc/self/task/{thread_id}/stat") as file:
        return file.read().rpartition(")")[2].split()[0] == "S"

threading.Thread(target=start_a_child_that_opens_the_pipe, daemon=True).start()
wait_until(lambda: found and awaits_disk(found[0]))
threading.Thread(target=wait_for_a_lock, daemon=True).start()
wait_until(lambda: len(found) == 2 and sleeps(found[1]))
print(*map(awaits_disk, found), awaits_disk(1 << 30), flush=True)
os.close(os.open(pipe, os.O_WRONLY))
os._exit(0)
"""


def test_a_thread_that_the_kernel_keeps_is_told_from_one_that_waits_for_a_lock(tmp_path: Path) -> None:
    """A parent sleeps as a reader of a dead share does until its child runs its program, which is after the pipe opens.

    The child may run C alone: in a forked interpreter, the thread that held its lock is missing.
    """
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    said = subprocess.run([sys.executable, "-c", KEPT, pipe], capture_output=True, text=True, timeout=60, check=True)
    assert said.stdout.split() == ["True", "False", "False"]


# --- the drop-in --------------------------------------------------------------------------------


@dataclass
class Paths:
    name: str
    input: Path
    output: Path
    after: str = "keep"
    done: Path | None = None
    failed: Path | None = None
    review_dir: Path | None = None


def lines_of(*folders: Paths) -> list[str]:
    return [line for line in drop_in(folders).splitlines() if "=" in line]


def test_only_a_large_pool_is_let_choose_its_processor() -> None:
    folder = Paths("a", Path("/srv/in"), Path("/srv/out"))
    right = "SystemCallFilter=sched_setaffinity"
    assert right in drop_in([folder], chooses_processor=True).splitlines()
    assert right not in drop_in([folder]).splitlines()


def test_inputs_are_read_only_and_outputs_writable() -> None:
    folder = Paths("catalogue", Path("/srv/studio/exports"), Path("/srv/studio/cutouts"))
    assert lines_of(folder) == [
        "RequiresMountsFor=/srv/studio/exports",
        "RequiresMountsFor=/srv/studio/cutouts",
        "ReadOnlyPaths=-/srv/studio/exports",
        "ReadWritePaths=-/srv/studio/cutouts",
    ]


@pytest.mark.parametrize(
    ("folder", "writable"),
    [
        (Paths("a", Path("/i"), Path("/o"), "delete"), ["/i", "/o"]),
        (Paths("a", Path("/i"), Path("/o"), "move", done=Path("/d")), ["/i", "/o", "/d"]),
        (Paths("a", Path("/i"), Path("/o"), failed=Path("/f")), ["/i", "/o", "/f"]),
        (Paths("a", Path("/i"), Path("/o"), "keep", done=Path("/d")), ["/o"]),
        (Paths("a", Path("/i"), Path("/o"), review_dir=Path("/r")), ["/o", "/r"]),
    ],
    ids=[
        "sources are deleted",
        "sources are moved",
        "refused sources are moved",
        "a done folder that is not used",
        "odd cut-outs are shown",
    ],
)
def test_a_source_can_be_changed_only_where_it_is_to_be(folder: Paths, writable: list[str]) -> None:
    assert [line for line in lines_of(folder) if line.startswith("ReadWrite")] == [
        f"ReadWritePaths=-{path}" for path in writable
    ]


def test_single_folders_of_a_home_are_shown_and_the_rest_stays_hidden() -> None:
    folder = Paths("anna", Path("/home/anna/drop"), Path("/home/anna/cut outs"))
    assert lines_of(folder)[2:] == [
        "ProtectHome=tmpfs",
        "BindReadOnlyPaths=-/home/anna/drop",
        'BindPaths="-/home/anna/cut outs"',
    ]


def test_a_folder_in_tmp_is_shown_in_the_private_one() -> None:
    folder = Paths("try", Path("/tmp/in"), Path("/var/tmp/out"))
    assert lines_of(folder)[2:] == ["BindReadOnlyPaths=-/tmp/in", "BindPaths=-/var/tmp/out"]


def test_a_name_that_begins_like_a_home_is_no_home() -> None:
    assert "ProtectHome=tmpfs" not in lines_of(Paths("a", Path("/homes/in"), Path("/srv/out")))


def test_a_share_is_opened_whole_and_waited_for_but_not_required() -> None:
    """Were a folder inside it named, the service would keep the old mount when the share is lost."""
    nas = Paths("nas", Path("/mnt/my nas/in"), Path("/mnt/my nas/out"))
    lines = drop_in([nas], shares=[PurePath("/mnt"), PurePath("/mnt/my nas")]).splitlines()
    assert [line for line in lines if "=" in line] == [
        "Wants=mnt-my\\x20nas.mount",
        "After=mnt-my\\x20nas.mount",
        'ReadWritePaths="-/mnt/my nas"',
    ]


def test_a_share_that_is_only_read_stays_read_only() -> None:
    folder = Paths("nas", Path("/mnt/nas/in"), Path("/srv/out"))
    lines = drop_in([folder], shares=[PurePath("/mnt/nas")]).splitlines()
    assert "ReadOnlyPaths=-/mnt/nas" in lines
    assert "ReadWritePaths=-/srv/out" in lines
    assert "RequiresMountsFor=/srv/out" in lines


@pytest.mark.skipif(shutil.which("systemd-escape") is None, reason="systemd-escape is not installed")
@pytest.mark.parametrize("point", ["/", "/mnt/nas", "/mnt/my nas", "/a-b/.c\\d/ü%", "/.x/y", os.fsdecode(b"/caf\xe9")])
def test_a_share_has_the_name_that_systemd_gives_it(point: str) -> None:
    said = subprocess.run(
        ["systemd-escape", "--path", "--suffix=mount", os.fsencode(point)], capture_output=True, text=True, check=True
    )
    folder = Paths("nas", Path(point) / "in", Path(point) / "out")
    assert f"Wants={said.stdout.strip()}" in drop_in([folder], shares=[PurePath(point)]).splitlines()


@needs_analyze
@pytest.mark.parametrize(
    "name",
    [
        "plain",
        "with space",
        "50 % off",
        'a "quote"',
        "back\\slash",
        "a:b",
        "tab\there",
        "ünï",
        os.fsdecode(b"latin\xfc"),
    ],
)
def test_systemd_reads_the_drop_in_as_it_was_meant(name: str, installed: Path) -> None:
    folder = installed / "rembg-watch.service.d"
    folder.mkdir()
    paths = [Paths("odd\nname", Path("/srv") / name, Path("/home") / name, "move", done=Path("/tmp") / name)]
    (folder / "folders.conf").write_text(drop_in(paths, shares=[PurePath("/home") / name]))
    said = verify(installed / "rembg-watch.service", search=installed)
    assert (said.returncode, said.stderr) == (0, "")
