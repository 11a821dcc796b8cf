"""
A real systemd for the tests, booted in namespaces of its own; the host stays as it was.

It needs root, a systemd and a cgroup2 mount; where one is missing, the tests are skipped and say which. The API
is the sandbox, run by the test itself on the machine's own loopback: a test sees its books as they are.
"""

import contextlib
import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from rembg_watch.sandbox import Sandbox
from tests.systemd.studio import KEY, PATIENCE_S, PORT, PROJECT, SOURCE, WHEELS, Studio, wait_for

BOOT = Path(__file__).with_name("boot.sh")
SYSTEMD = ("/lib/systemd/systemd", "/usr/lib/systemd/systemd")
GROUP = "rembg-watch-test"
BOOT_WITHIN_S = 120.0
CLONE_NEWNET = 0x40000000
INSIDE = {
    "container": "test",
    "HOME": "/root",
    "LANG": "C.UTF-8",
    "TERM": "dumb",
    "SYSTEMD_PAGER": "",
    "SYSTEMD_COLORS": "0",
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "SYSTEMD_UNIT_PATH": "/etc/systemd/system:/run/systemd/system:/run/test-units",
}


class BootError(Exception):
    """The machine did not come up."""


def cgroup2() -> Path | None:
    """Find where the unified cgroup hierarchy is mounted, if it is."""
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, where, kind, *_ = line.split(" ")
        if kind == "cgroup2":
            return Path(where)
    return None


def systemd_program() -> str | None:
    return next((path for path in SYSTEMD if os.access(path, os.X_OK)), None)


def missing() -> str | None:
    """Say why no systemd can be booted here, or nothing."""
    if os.geteuid() != 0:
        return "booting a systemd in namespaces needs root"
    if systemd_program() is None:
        return "systemd is not installed"
    absent = [tool for tool in ("unshare", "nsenter", "setpriv", "pivot_root", "systemctl") if not shutil.which(tool)]
    if absent:
        return f"{', '.join(absent)}: not installed"
    if cgroup2() is None:
        return "no cgroup2 is mounted"
    return None


class Machine:
    """A booted systemd: commands run inside, files are reached from outside through ``root``."""

    def __init__(self, binds: Sequence[str] = ()) -> None:
        mounted, program = cgroup2(), systemd_program()
        assert mounted
        assert program
        sweep(mounted)
        self._group = mounted / f"{GROUP}.{os.getpid()}"
        self._group.mkdir()
        self._init = 0
        self._outer = self._spawn(program, binds)
        try:
            self._find_init(mounted)
            self._wait_until_up()
        except BaseException:
            self.close()
            raise

    @property
    def root(self) -> Path:
        """The machine's root as seen from the host."""
        return Path(f"/proc/{self._init}/root")

    def run(
        self, *command: str, check: bool = True, within_s: float = PATIENCE_S, words: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command inside, as root; *words* are its standard input."""
        ended = subprocess.run(
            [*self._enter(), *command], capture_output=True, text=True, input=words or "", timeout=within_s
        )
        if check and ended.returncode:
            raise AssertionError(f"{command} ended with {ended.returncode}\n{ended.stdout}{ended.stderr}")
        return ended

    def start(self, *command: str) -> subprocess.Popen[str]:
        """Start a command inside that goes on beside the test."""
        return subprocess.Popen([*self._enter(), *command], text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def write(self, path: str, text: str, *, mode: int = 0o644) -> None:
        """Write a file inside."""
        target = self.root / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
        target.chmod(mode)

    def type_in(
        self, lines: str, *, folder: str = "/", environment: Mapping[str, str] | None = None, within_s: float = 300.0
    ) -> str:
        """Paste *lines* into a shell of root's, which stops at the first that fails; return what it shows."""
        known = [f"{name}={value}" for name, value in {"PS4": "# ", **(environment or {})}.items()]
        ended = self.run(
            "env", "-C", folder, *known, "bash", "-ex", "-o", "pipefail", words=lines, check=False, within_s=within_s
        )
        assert ended.returncode == 0, f"{ended.stdout}{ended.stderr}"
        return ended.stdout

    def systemctl(
        self, *words: str, check: bool = True, within_s: float = PATIENCE_S
    ) -> subprocess.CompletedProcess[str]:
        return self.run("systemctl", *words, check=check, within_s=within_s)

    def show(self, unit: str, name: str) -> str:
        """Ask systemd for one property of a unit."""
        return self.systemctl("show", "--value", "-p", name, unit).stdout.strip()

    def journal(self, *matches: str) -> list[dict[str, str]]:
        """Read the journal's entries that match, oldest first."""
        self.run("journalctl", "--sync", check=False)
        lines = self.run("journalctl", "--output=json", "--no-pager", *matches, check=False).stdout.splitlines()
        return [json.loads(line) for line in lines]

    def messages(self, *matches: str) -> str:
        return "\n".join(str(entry.get("MESSAGE")) for entry in self.journal(*matches))

    def close(self) -> None:
        """Power off at once, and leave no process and no group behind."""
        for pid in (self._init, self._outer.pid):
            if pid and self._outer.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        self._outer.wait(timeout=60)
        wait_for(lambda: remove_group(self._group), within_s=60, what="an empty group")

    def _spawn(self, program: str, binds: Sequence[str]) -> subprocess.Popen[bytes]:
        # Should the test run be killed, --pdeathsig ends unshare and --kill-child ends the machine.
        joining = f'echo $$ >"{self._group}/cgroup.procs" && exec setpriv --pdeathsig KILL "$@"'
        namespaces = ["--mount", "--uts", "--ipc", "--net", "--cgroup", "--pid", "--fork", "--kill-child=KILL"]
        unshare = ["unshare", *namespaces, "--propagation", "private"]
        return subprocess.Popen(
            ["sh", "-c", joining, "sh", *unshare, "sh", str(BOOT), program, *binds], stdin=subprocess.DEVNULL
        )

    def _find_init(self, mounted: Path) -> None:
        children = Path(f"/proc/{self._outer.pid}/task/{self._outer.pid}/children")

        def found() -> bool:
            if self._outer.poll() is not None:
                raise BootError(f"the namespaces were not made: unshare ended with {self._outer.returncode}")
            name = Path(f"/proc/{self._outer.pid}/comm").read_text().strip()
            pids = children.read_text().split() if name == "unshare" else []
            self._init = int(pids[0]) if pids else 0
            return self._init != 0

        wait_for(found, within_s=BOOT_WITHIN_S, what="namespaces")
        # A group with processes of its own cannot hand controllers down, so only the machine may stay in it.
        own = Path("/proc/self/cgroup").read_text().split("0::", 1)[1].split("\n")[0]
        (mounted / own.lstrip("/") / "cgroup.procs").write_text(str(self._outer.pid))

    def _wait_until_up(self) -> None:
        def is_up() -> bool:
            if self._outer.poll() is not None:
                raise BootError(f"the machine went down while booting: {self._outer.returncode}")
            if Path(f"/proc/{self._init}/comm").read_text().strip() != "systemd":
                return False
            said = self.systemctl("is-system-running", check=False).stdout.strip()
            return said in ("running", "degraded")

        wait_for(is_up, within_s=BOOT_WITHIN_S, what="boot")

    def join_network(self) -> None:
        """Let the calling thread, and it alone, make its sockets on this machine's network."""
        libc = ctypes.CDLL(None, use_errno=True)
        with Path(f"/proc/{self._init}/ns/net").open() as namespace:
            if libc.setns(namespace.fileno(), CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "setns")

    def _enter(self) -> list[str]:
        known = [f"{name}={value}" for name, value in INSIDE.items()]
        return [
            "nsenter",
            "-t",
            str(self._init),
            *["-m", "-u", "-i", "-n", "-p", "-C", "-r", "-w"],
            "env",
            "-i",
            *known,
        ]


def remove_group(group: Path) -> bool:
    """Remove a cgroup and all below it; say whether it is gone."""
    for below in sorted(group.rglob("*"), key=lambda path: -len(path.parts)):
        if below.is_dir():
            with contextlib.suppress(OSError):
                below.rmdir()
    with contextlib.suppress(OSError):
        group.rmdir()
    return not group.exists()


def sweep(mounted: Path) -> None:
    """Remove the empty groups of test runs that were killed."""
    for left in mounted.glob(f"{GROUP}.*"):
        if not Path(f"/proc/{left.suffix[1:]}").exists():
            remove_group(left)


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    """One booted machine for the tests of a module."""
    reason = missing()
    if reason:
        pytest.skip(reason)
    booted = Machine()
    try:
        yield booted
    finally:
        booted.close()


# --- the API ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def api(machine: Machine) -> Iterator[Sandbox]:
    """The sandbox, listening on the machine's loopback."""
    sandbox = Sandbox(KEY, credits=100_000, engine="flat")
    with ThreadPoolExecutor(1, initializer=machine.join_network) as inside:
        server = inside.submit(sandbox.serve, "127.0.0.1", PORT).result()
        try:
            yield sandbox
        finally:
            server.stop()


# --- the program, as the README installs it -----------------------------------------------------


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Everything that pip needs to install the project without a network."""
    reason = missing() or other_python()
    if reason:
        pytest.skip(reason)
    house = tmp_path_factory.mktemp("wheels")
    made = subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--wheel-dir", house, f"{PROJECT}[web]", "hatchling"],
        capture_output=True,
        text=True,
        timeout=300,
    )
    if made.returncode:
        pytest.skip(f"pip cannot fetch what the project stands on: {made.stderr.strip().splitlines()[-1]}")
    for ours in house.glob("rembg_watch-*.whl"):  # the machine builds that itself
        ours.unlink()
    return house


def other_python() -> str | None:
    """Say whether the distribution's Python is another one than the wheels are for."""
    asked = ["/usr/bin/python3", "-c", "import sys, venv, ensurepip; print(*sys.version_info[:2])"]
    try:
        version = subprocess.run(asked, capture_output=True, text=True, timeout=30).stdout.strip()
    except FileNotFoundError:
        version = ""
    wanted = "{}.{}".format(*sys.version_info[:2])
    found = version.replace(" ", ".")
    return None if found == wanted else f"/usr/bin/python3 is {found or 'missing, or without venv'}: not {wanted}"


@pytest.fixture(scope="module")
def with_source(machine: Machine, wheels: Path) -> Machine:
    """The machine with the project's folder, nothing of it installed, and a disk of its own for the pictures."""
    machine.run("mount", "-t", "tmpfs", "-o", "mode=755", "pictures", "/srv")  # an overlay tells of no changes
    ignored = shutil.ignore_patterns("__pycache__", ".*")
    for name in ("rembg_watch", "systemd"):
        shutil.copytree(PROJECT / name, machine.root / SOURCE[1:] / name, ignore=ignored)
    for name in ("pyproject.toml", "README.md", "LICENSE", "NOTICE", "config.example.toml"):
        shutil.copy(PROJECT / name, machine.root / SOURCE[1:])
    shutil.copytree(wheels, machine.root / WHEELS[1:])
    return machine


@pytest.fixture(scope="module")
def studio(with_source: Machine, api: Sandbox) -> Studio:
    """The service as the README installs it, with two folders and the sandbox as its API."""
    return Studio.installed(with_source, api)
