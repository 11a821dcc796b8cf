"""``pause`` and ``resume``, as a user calls them: no credit is spent meanwhile, and what is paid for is delivered."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from rembg_watch.cli.configured import logs_for
from rembg_watch.config import FOR_RUN, load
from rembg_watch.daemon import Daemon
from rembg_watch.report.events import Event
from rembg_watch.sandbox import Sandbox

Call = Callable[..., Any]


@pytest.fixture
def shop(desk: Path, serve: Callable[..., Sandbox]) -> Sandbox:
    sandbox = serve()
    folders = "".join(
        f'[[folders]]\nname = "{name}"\ninput = "{desk / name}"\noutput = "{desk / name}-out"\n' for name in "ab"
    )
    for name in "ab":
        (desk / name).mkdir()
    (desk / "rembg-watch.toml").write_text(
        f'state_dir = "{desk / "state"}"\n[watch]\nsettle_s = 0.1\nscan_interval_s = 0.2\n'
        f"[output]\nfree_space_reserve_mb = 0\n{folders}"
    )
    return sandbox


def drop(desk: Path, folder: str, number: int) -> None:
    Image.new("RGB", (40 + number, 30), (number * 40 % 256, 9, ord(folder))).save(desk / folder / f"{number}.png")


def once(desk: Path) -> subprocess.CompletedProcess[str]:
    """Run it as a process of its own, so that no daemon is there afterwards."""
    command = [sys.executable, "-m", "rembg_watch", "once"]
    return subprocess.run(command, capture_output=True, text=True, cwd=desk, timeout=120, check=False)


def delivered(desk: Path, folder: str) -> int:
    return len(list((desk / f"{folder}-out").glob("*.webp")))


def wait_until(is_so: Callable[[], object], within_s: float = 30.0) -> None:
    end_s = time.monotonic() + within_s
    while not is_so():
        assert time.monotonic() < end_s
        time.sleep(0.05)


@contextmanager
def running(desk: Path) -> Iterator[list[Event]]:
    told: list[Event] = []
    settings = load(desk / "rembg-watch.toml", tolerate=FOR_RUN)
    with logs_for(settings, level="error"), Daemon(settings, report=told.append) as daemon:
        thread = threading.Thread(target=daemon.main_loop)
        thread.start()
        try:
            yield told
        finally:
            daemon.stopping.set()
            thread.join()


def test_once_sends_nothing_while_all_is_paused_says_so_and_goes_on_after_resume(
    shop: Sandbox, desk: Path, call: Call
) -> None:
    drop(desk, "a", 0)
    assert once(desk).returncode == 0
    drop(desk, "a", 1)
    assert "everything is paused since" in call("pause").out
    ended = once(desk)
    assert ended.returncode == 75
    assert "1 waits: somebody has paused it" in ended.stdout
    assert "nothing would be sent now: somebody has paused it" in call("once", "--dry-run").out
    call("retry")
    assert once(desk).returncode == 75
    assert (shop.billed, delivered(desk, "a")) == (1, 1)
    assert "everything goes on" in call("resume").out
    assert "nothing is paused" in call("resume").out
    assert once(desk).returncode == 0
    assert (shop.billed, delivered(desk, "a")) == (2, 2)


def test_status_without_a_daemon_says_what_is_paused_now(shop: Sandbox, desk: Path, call: Call) -> None:
    once(desk)
    call("pause")
    gate = json.loads(call("status", "--json").out)["gate"]
    assert (gate["open"], gate["reason"], gate["until"]) == (False, "paused", None)
    call("resume")
    assert json.loads(call("status", "--json").out)["gate"]["open"]


def test_once_leaves_a_paused_folder_alone_and_does_the_others(shop: Sandbox, desk: Path, call: Call) -> None:
    once(desk)
    call("pause", "--folder", "a")
    drop(desk, "a", 0)
    drop(desk, "b", 0)
    ended = once(desk)
    assert ended.returncode == 75
    assert "a: somebody has paused it" in ended.stdout
    assert (shop.billed, delivered(desk, "a"), delivered(desk, "b")) == (1, 0, 1)
    folders = {one["name"]: one["state"] for one in json.loads(call("status", "--json").out)["folders"]}
    assert folders == {"a": "paused", "b": "watching"}
    assert "a goes on" in call("resume", "--folder", "a").out
    assert once(desk).returncode == 0
    assert shop.billed == 2


def test_a_running_daemon_obeys_and_keeps_to_it_after_a_restart(shop: Sandbox, desk: Path, call: Call) -> None:
    with running(desk):
        drop(desk, "a", 0)
        wait_until(lambda: delivered(desk, "a") == 1)
        call("pause")
        assert not json.loads((desk / "state/status.json").read_text())["gate"]["open"]
        drop(desk, "a", 1)
        wait_until(lambda: json.loads((desk / "state/status.json").read_text())["jobs"]["queued"] == 1)
        assert "PAUSED" in call("status").out
    with running(desk):
        wait_until(lambda: json.loads((desk / "state/status.json").read_text())["is_looking"] is False)
        drop(desk, "a", 2)
        wait_until(lambda: json.loads((desk / "state/status.json").read_text())["jobs"]["queued"] == 2)
        assert shop.billed == 1
        call("resume")
        wait_until(lambda: delivered(desk, "a") == 3)
    assert shop.billed == 3


def test_what_is_with_the_api_as_it_is_paused_is_delivered(shop: Sandbox, desk: Path, call: Call) -> None:
    with running(desk) as told:
        shop.latency_s = 5.0
        drop(desk, "a", 0)
        wait_until(lambda: json.loads((desk / "state/status.json").read_text())["jobs"]["sending"] == 1)
        call("pause", "--folder", "a")
        drop(desk, "a", 1)
        wait_until(lambda: delivered(desk, "a") == 1)
        wait_until(lambda: json.loads((desk / "state/status.json").read_text())["jobs"]["queued"] == 1)
        assert "a is paused" in " ".join(event.sentence() for event in told)
        shown = " ".join(call("status").out.split())
        assert "a: somebody has paused it; what is paid for is delivered, since" in shown
        assert shop.billed == 1


def test_a_folder_that_is_not_there_and_a_ledger_that_is_not_are_told(shop: Sandbox, desk: Path, call: Call) -> None:
    assert "there is no ledger" in call("pause").err
    once(desk)
    wrong = call("pause", "--folder", "c")
    assert wrong.code == 2
    assert "known are: a, b" in wrong.err
    call("pause")
    assert "a is not paused by itself" in call("resume", "--folder", "a").out
    assert "everything is still paused" in call("resume", "--folder", "a").out


def test_the_check_of_status_ends_with_0_1_or_2(shop: Sandbox, desk: Path, call: Call) -> None:
    once(desk)
    gone = call("status", "--check")
    assert gone.code == 2
    assert gone.out.startswith("REMBG-WATCH CRITICAL - The daemon is not running")
    with running(desk):
        wait_until(lambda: call("status", "--check").code == 0)
        call("pause")
        paused = call("status", "--check")
        assert paused.code == 1
        assert paused.out.startswith("REMBG-WATCH WARNING - Somebody has paused it; since ")
        assert paused.out.count("\n") == 1
