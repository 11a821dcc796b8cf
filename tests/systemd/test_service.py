"""The units, the drop-ins and what is said to systemd and journald, under a real systemd."""

import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

import pytest
import structlog

import rembg_watch
from rembg_watch.host.systemd import drop_in

UNITS = Path(__file__).parents[2] / "systemd"
UNIT = "rembg-watch.service"
DROP_INS = f"/etc/systemd/system/{UNIT}.d"
KEY = "sk-live-0123456789"


@dataclass
class Paths:
    name: str
    input: Path
    output: Path
    after: str = "keep"
    done: Path | None = None
    failed: Path | None = None
    review_dir: Path | None = None


class Service:
    """rembg-watch.service as the README installs it, with the stand-in for its program."""

    def __init__(self, machine: Any) -> None:
        self.machine = machine
        opt = machine.root / "opt/rembg-watch"
        shutil.rmtree(opt, ignore_errors=True)
        (opt / "bin").mkdir(parents=True)
        ignored = shutil.ignore_patterns("__pycache__", "samples", "sandbox")
        for package in (rembg_watch, structlog):
            folder = Path(package.__file__ or "").parent
            shutil.copytree(folder, opt / "lib" / folder.name, ignore=ignored)
        shutil.copy(Path(__file__).with_name("stand_in.py"), opt / "stand_in.py")
        program = (
            '#!/bin/sh\nPYTHONPATH=/opt/rembg-watch/lib exec /usr/bin/python3 -B /opt/rembg-watch/stand_in.py "$@"\n'
        )
        machine.write("/opt/rembg-watch/bin/rembg-watch", program, mode=0o755)
        machine.write("/etc/sysusers.d/rembg-watch.conf", (UNITS / "rembg-watch.sysusers").read_text())
        machine.write("/etc/tmpfiles.d/rembg-watch.conf", (UNITS / "rembg-watch.tmpfiles").read_text())
        for unit in UNITS.glob("*.service"):
            machine.write(f"/etc/systemd/system/{unit.name}", unit.read_text())
        machine.run("systemd-sysusers", "rembg-watch.conf")
        machine.write("/etc/rembg-watch/api_key", f"{KEY}\n", mode=0o644)
        machine.run("systemd-tmpfiles", "--create", "rembg-watch.conf")

    def configure(self, words: str = "", *, drop_ins: dict[str, str] | None = None) -> None:
        """Begin anew with this configuration and these drop-ins alone."""
        machine = self.machine
        machine.systemctl("stop", UNIT, check=False)
        machine.run("rm", "-rf", DROP_INS, "/run/orders")
        machine.run("mkdir", "-p", "/run/orders")
        machine.write("/etc/rembg-watch/config.toml", words)
        for name, text in (drop_ins or {}).items():
            machine.write(f"{DROP_INS}/{name}.conf", text)
        machine.systemctl("daemon-reload")
        machine.systemctl("reset-failed", check=False)
        self.since = f"--since=@{time.time():.6f}"

    def start(self, *, check: bool = True) -> subprocess.CompletedProcess[str]:
        return self.machine.systemctl("start", UNIT, check=check)

    def stop(self) -> None:
        self.machine.systemctl("stop", UNIT)

    def show(self, name: str) -> str:
        return self.machine.show(UNIT, name)

    def said(self, *matches: str) -> str:
        """What the journal has got since ``configure``."""
        return self.machine.messages(self.since, *(matches or (f"_SYSTEMD_UNIT={UNIT}",)))

    def becomes(self, name: str, *wanted: str, within_s: float = 60.0) -> str:
        """Wait until a property has one of the wanted values."""
        end_s = time.monotonic() + within_s
        while (found := self.show(name)) not in wanted and time.monotonic() < end_s:
            time.sleep(0.05)
        assert found in wanted, self.said()
        return found


@pytest.fixture(scope="module")
def installed(machine: Any) -> Service:
    version = machine.run("/usr/bin/python3", "-c", "import sys; print(*sys.version_info[:2])", check=False).stdout
    if version.split() != [str(part) for part in sys.version_info[:2]]:
        pytest.skip(f"/usr/bin/python3 is {version.strip() or 'missing'}: not the version that runs these tests")
    return Service(machine)


@pytest.fixture
def service(installed: Service) -> Iterator[Service]:
    installed.configure()
    yield installed
    installed.machine.systemctl("stop", UNIT, check=False)


def test_start_waits_until_the_daemon_is_ready_and_shows_its_status(service: Service) -> None:
    began_s = time.monotonic()
    service.start()
    assert time.monotonic() - began_s >= 0.2
    assert (service.show("ActiveState"), service.show("SubState")) == ("active", "running")
    assert service.show("StatusText") == f"watching; the key has {len(KEY)} characters"


def test_journalctl_finds_a_pictures_story(service: Service) -> None:
    service.start()
    entries = service.machine.journal(service.since, "REMBG_FILE=größe\\n1.jpg")
    assert [entry["MESSAGE"] for entry in entries] == ["a/größe\\n1.jpg delivered as 1.webp in 2.0 s (1 credit)"]
    entry = entries[0]
    assert (entry["PRIORITY"], entry["SYSLOG_IDENTIFIER"], entry["_SYSTEMD_UNIT"]) == ("6", "rembg-watch", UNIT)
    assert (entry["REMBG_FOLDER"], entry["REMBG_JOB"], entry["REMBG_CREDITS"]) == ("a", "7", "1")
    assert entry["_TRANSPORT"] == "journal"


def test_the_key_is_nowhere_but_in_its_credential(service: Service) -> None:
    service.start()
    machine, pid = service.machine, service.show("MainPID")
    assert "a careless line key=***" in service.said()
    everything = machine.run("journalctl", "--output=export", "--no-pager").stdout
    shown = machine.systemctl("show", UNIT).stdout + machine.systemctl("status", UNIT).stdout
    process = machine.run("cat", f"/proc/{pid}/environ", f"/proc/{pid}/cmdline").stdout
    assert [KEY in text for text in (everything, shown, process)] == [False, False, False]


def test_a_key_file_that_anybody_could_read_is_closed_by_tmpfiles(service: Service) -> None:
    assert service.machine.run("stat", "-c", "%a %U", "/etc/rembg-watch/api_key").stdout == "600 root\n"


def test_a_reload_keeps_the_process_and_takes_the_new_configuration(service: Service) -> None:
    service.start()
    pid = service.show("MainPID")
    service.machine.write("/etc/rembg-watch/config.toml", "new")
    service.machine.systemctl("reload", UNIT)
    service.becomes("StatusText", "reloaded: new")
    service.becomes("SubState", "running")
    assert service.show("MainPID") == pid


def test_calls_in_flight_outlive_the_stop_timeout(service: Service) -> None:
    service.configure("calls", drop_ins={"short": "[Service]\nTimeoutStopSec=4s\n"})
    service.start()
    began_s = time.monotonic()
    service.stop()
    assert time.monotonic() - began_s >= 6
    assert (service.show("Result"), service.show("ExecMainStatus")) == ("success", "0")
    assert "all answers written" in service.said()


def test_a_killed_daemon_is_back_at_once(service: Service) -> None:
    service.start()
    pid = service.show("MainPID")
    assert service.show("RestartUSec") == "500ms"
    service.machine.systemctl("kill", "--signal=KILL", "--kill-who=main", UNIT)
    service.becomes("NRestarts", "1")
    service.becomes("ActiveState", "active")
    assert service.show("MainPID") != pid


def test_a_daemon_that_hangs_is_ended_with_its_tracebacks_and_started_anew(service: Service) -> None:
    service.configure(drop_ins={"short": "[Service]\nWatchdogSec=5s\n"})
    service.start()
    service.machine.write("/run/orders/hang", "")
    service.becomes("NRestarts", "1")
    service.machine.run("rm", "/run/orders/hang")
    service.becomes("ActiveState", "active")
    said = service.said()
    assert "Fatal Python error: Aborted" in said
    assert "stand_in.py" in said


def test_a_wrong_configuration_is_an_end_and_no_loop(service: Service) -> None:
    service.configure("wrong")
    assert service.start(check=False).returncode != 0
    assert service.becomes("ActiveState", "failed") == "failed"
    assert (service.show("ExecMainStatus"), service.show("NRestarts")) == ("78", "0")


def test_a_missing_key_is_an_end_that_says_what_is_missing(service: Service) -> None:
    machine = service.machine
    machine.run("mv", "/etc/rembg-watch/api_key", "/etc/rembg-watch/away")
    try:
        assert service.start(check=False).returncode != 0
        assert (service.show("ExecMainStatus"), service.show("NRestarts")) == ("243", "0")
        assert "credentials" in service.said(f"UNIT={UNIT}").lower()
    finally:
        machine.run("mv", "/etc/rembg-watch/away", "/etc/rembg-watch/api_key")


def test_a_crash_loop_ends_and_somebody_is_told(service: Service) -> None:
    told = (UNITS / "drop-ins" / "on-failure.conf").read_text()
    fast = "[Unit]\nStartLimitBurst=3\n[Service]\nRestartSec=50ms\n"
    service.configure("crash", drop_ins={"on-failure": told, "fast": fast})
    service.start(check=False)
    service.becomes("NRestarts", "3")
    service.becomes("ActiveState", "failed")
    end_s = time.monotonic() + 60
    while "not started again" not in service.said("SYSLOG_IDENTIFIER=rembg-watch-failed") and time.monotonic() < end_s:
        time.sleep(0.05)
    assert f"{UNIT} has failed" in service.said("SYSLOG_IDENTIFIER=rembg-watch-failed")


def test_an_encrypted_key_works_without_the_plain_one(service: Service) -> None:
    machine = service.machine
    encrypted = "/etc/rembg-watch/api_key.encrypted"
    made = machine.run(
        "systemd-creds",
        "encrypt",
        "--with-key=host",
        "--name=api_key",
        "/etc/rembg-watch/api_key",
        encrypted,
        check=False,
    )
    if made.returncode:
        pytest.skip(f"systemd-creds cannot encrypt here: {made.stderr.strip()}")
    assert KEY.encode() not in (machine.root / encrypted.lstrip("/")).read_bytes()
    machine.run("mv", "/etc/rembg-watch/api_key", "/etc/rembg-watch/away")
    try:
        service.configure(drop_ins={"key": (UNITS / "drop-ins" / "encrypted-key.conf").read_text()})
        service.start()
        assert service.show("StatusText") == f"watching; the key has {len(KEY)} characters"
    finally:
        machine.run("mv", "/etc/rembg-watch/away", "/etc/rembg-watch/api_key")


# --- what the sandbox opens ---------------------------------------------------------------------


def prepare(machine: Any, *paths: str) -> None:
    """Make folders that anybody may write, so that only the sandbox can refuse it."""
    for path in paths:
        machine.run("mkdir", "-p", path)
        machine.run("chmod", "777", path)


def outcome(service: Service) -> dict[str, bool]:
    """What the stand-in could write and what it could not."""
    found = re.findall(r"^(wrote|cannot write) path=(\S+)", service.said(), re.MULTILINE)
    return {path: word == "wrote" for word, path in found}


def test_the_service_writes_its_outputs_and_nothing_else(service: Service) -> None:
    prepare(service.machine, "/srv/in", "/srv/out", "/srv/other")
    tried = "/srv/in /srv/out /srv/other /usr /etc/rembg-watch /var/lib/rembg-watch /tmp"
    folders = drop_in([Paths("a", Path("/srv/in"), Path("/srv/out"))])
    service.configure(f"try {tried}", drop_ins={"folders": folders})
    service.start()
    assert outcome(service) == {
        "/srv/in": False,
        "/srv/out": True,
        "/srv/other": False,
        "/usr": False,
        "/etc/rembg-watch": False,
        "/var/lib/rembg-watch": True,
        "/tmp": True,
    }
    assert service.machine.run("stat", "-c", "%a %U %G", "/srv/out/written").stdout == "640 rembg-watch rembg-watch\n"
    assert not (service.machine.root / "tmp/written").exists(), "its /tmp is its own"


@pytest.mark.parametrize(
    ("input_", "output"),
    [("/home/anna/in", "/home/anna/out"), ("/root/in", "/root/out"), ("/tmp/in", "/var/tmp/out")],
    ids=["a home", "root's home", "temporary folders"],
)
def test_single_folders_are_opened_where_everything_else_is_hidden(service: Service, input_: str, output: str) -> None:
    prepare(service.machine, input_, output, str(Path(output).with_name("private")))
    service.machine.write(f"{input_}/picture.jpg", "x")
    hidden = Path(output).with_name("private")
    folders = drop_in([Paths("a", Path(input_), Path(output))])
    service.configure(f"try {input_} {output} {hidden}", drop_ins={"folders": folders})
    service.start()
    assert outcome(service) == {input_: False, output: True, str(hidden): False}
    assert f"path={input_} why=Read-only file system seen=['picture.jpg']" in service.said()
    assert f"path={hidden} why=No such file or directory seen=None" in service.said()
    assert (service.machine.root / output.lstrip("/") / "written").exists()


def test_odd_names_are_opened_as_they_are(service: Service) -> None:
    names = ["50%", 'a"quote"', "back\\slash", "a:b", "ünï", "it's", "a;b", "$HOME", "\\x41", "%n", "-dash"]
    outputs = [f"{parent}/{name}" for parent in ("/srv", "/home") for name in names]
    prepare(service.machine, *outputs)
    folders = drop_in([Paths("odd", Path("/srv"), Path(output)) for output in outputs])
    service.configure(f"try {' '.join(outputs)}", drop_ins={"folders": folders})
    service.start()
    assert outcome(service) == dict.fromkeys(outputs, True)
    assert [output for output in outputs if not (service.machine.root / output[1:] / "written").exists()] == []


def test_names_with_spaces_are_opened_as_they_are(service: Service) -> None:
    prepare(service.machine, "/home/cut outs")
    folders = drop_in([Paths("a", Path("/srv"), Path("/home/cut outs"))])
    service.configure("", drop_ins={"folders": folders})
    service.start()
    assert service.show("BindPaths") == "-/home/cut outs:/home/cut outs:rbind"


def test_a_missing_folder_does_not_keep_the_service_from_starting(service: Service) -> None:
    missing = [Paths("a", Path("/srv/not-there"), Path("/srv/nor-there"))]
    missing += [Paths("b", Path("/home/not-there"), Path("/home/nor-there"))]
    service.configure(drop_ins={"folders": drop_in(missing)})
    service.start()
    assert service.show("ActiveState") == "active"


# --- shares that come and go --------------------------------------------------------------------


class Share:
    """A file system at /mnt/nas that can be lost and found, seen by the service."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.run = service.machine.run

    def mount(self) -> None:
        self.run("mkdir", "-p", "/mnt/nas")
        self.run("mount", "-t", "tmpfs", "nas", "/mnt/nas")
        prepare(self.service.machine, "/mnt/nas/in", "/mnt/nas/out")

    def lose(self) -> None:
        self.run("umount", "/mnt/nas")

    def is_seen(self) -> bool:
        """Say whether the service can write to the share that is mounted now."""
        word = str(time.monotonic_ns())
        pid = self.service.show("MainPID")
        inside = ["nsenter", "-t", pid, "-m", "-r", "-w"]
        self.run(*inside, "sh", "-c", f"echo {word} >/mnt/nas/out/word", check=False)
        return self.run("cat", "/mnt/nas/out/word", check=False).stdout.strip() == word


@pytest.fixture
def share(service: Service) -> Iterator[Share]:
    found = Share(service)
    service.machine.run("mkdir", "-p", "/mnt/nas")
    nas = Paths("nas", Path("/mnt/nas/in"), Path("/mnt/nas/out"))
    service.configure(drop_ins={"folders": drop_in([nas], shares=[PurePath("/mnt/nas")])})
    yield found
    service.stop()
    service.machine.run("umount", "/mnt/nas", check=False)


def test_a_share_that_is_away_at_the_start_is_found_when_it_comes(service: Service, share: Share) -> None:
    service.start()
    assert not share.is_seen()
    share.mount()
    assert share.is_seen()


def test_a_share_that_is_lost_is_found_again(service: Service, share: Share) -> None:
    share.mount()
    service.start()
    assert share.is_seen()
    share.lose()
    assert not share.is_seen()
    share.mount()
    assert share.is_seen()


def test_a_folder_inside_a_share_would_be_lost_for_good(service: Service, share: Share) -> None:
    """Why the drop-in opens the mount point: should this ever fail, it need not."""
    nas = Paths("nas", Path("/mnt/nas/in"), Path("/mnt/nas/out"))
    service.configure(drop_ins={"folders": drop_in([nas])})
    share.mount()
    service.start()
    assert share.is_seen()
    share.lose()
    share.mount()
    assert not share.is_seen()
