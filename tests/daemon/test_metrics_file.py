"""``metrics.prom`` of a real daemon: whole, complete from the start, without paths, and what promtool says of it."""

import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from prometheus_client.parser import text_string_to_metric_families

from rembg_watch.config import Settings
from rembg_watch.daemon import Daemon, metrics_file
from rembg_watch.report import events, exposition
from rembg_watch.sandbox import Sandbox

KEY = "sandbox-key"
Series = dict[tuple[str, frozenset[tuple[str, str]]], float]


@pytest.fixture
def sandbox() -> Sandbox:
    return Sandbox(KEY, engine="flat")


def settings_of(root: Path, **more: Any) -> Settings:
    for name in ("in", "out"):
        (root / name).mkdir(exist_ok=True)
    return Settings(
        state_dir=root / "state",
        api={"key": KEY},
        watch={"settle_s": 0.1, "scan_interval_s": 0.2},
        output={"free_space_reserve_mb": 0},
        folders=({"name": 'a "b"', "input": root / "in", "output": root / "out"},),
        **more,
    )  # type: ignore[arg-type]


@contextmanager
def running(root: Path, sandbox: Sandbox, told: list[events.Event] | None = None, **more: Any) -> Iterator[Daemon]:
    report = told.append if told is not None else events.nobody
    with Daemon(settings_of(root, **more), transport=sandbox.transport(), report=report) as daemon:
        thread = threading.Thread(target=daemon.main_loop)
        thread.start()
        try:
            yield daemon
        finally:
            daemon.stopping.set()
            thread.join()


def series(text: str) -> Series:
    found = text_string_to_metric_families(text)
    return {(one.name, frozenset(one.labels.items())): one.value for family in found for one in family.samples}


def value(found: Series, name: str, **labels: str) -> float:
    return found[f"rembg_watch_{name}", frozenset(labels.items())]


def wait_until(is_so: Callable[[], object]) -> None:
    end_s = time.monotonic() + 30
    while not is_so():
        assert time.monotonic() < end_s
        time.sleep(0.02)


def drop(root: Path, name: str) -> None:
    Image.new("RGB", (40, 30), (200, 30, len(name))).save(root / "in" / name)


def test_every_series_is_there_at_zero_from_the_start_and_none_is_new_at_the_end(
    tmp_path: Path, sandbox: Sandbox
) -> None:
    path = tmp_path / "state/metrics.prom"
    with running(tmp_path, sandbox) as daemon:
        first = series(path.read_text())
        drop(tmp_path, "secret-client.png")
        (tmp_path / "in/torn.jpg").write_bytes(b"no picture at all")
        wait_until(lambda: daemon.parts.metrics.read().delivered == 1)
    text = path.read_text()
    last = series(text)
    assert last.keys() == first.keys()
    assert value(first, "delivered_total", folder='a "b"', how="call") == 0
    assert value(first, "failed_total", folder='a "b"', code="picture_corrupt") == 0
    assert value(last, "delivered_total", folder='a "b"', how="call") == 1
    assert value(last, "calls_total", outcome="answered", code="") == 1
    assert value(last, "credits_charged_total", folder='a "b"') == 1
    assert value(last, "jobs", folder='a "b"', state="done") == 1
    assert value(last, "delivery_duration_seconds_count") == 1
    assert value(last, "hold", cause="monthly_limit") == 0
    assert abs(value(last, "written_timestamp_seconds") - time.time()) < 30
    assert value(last, "last_delivered_timestamp_seconds", folder='a "b"') > time.time() - 60
    assert value(last, "free_bytes", place="state") > 0
    assert "secret" not in text
    assert str(tmp_path) not in text


def test_refusals_are_counted_by_code_and_kind_and_a_hold_is_seen(tmp_path: Path, sandbox: Sandbox) -> None:
    sandbox.add_fault("monthly")
    with running(tmp_path, sandbox) as daemon:
        drop(tmp_path, "a.png")
        wait_until(lambda: daemon.parts.governor.standstill)
    found = series((tmp_path / "state/metrics.prom").read_text())
    assert value(found, "throttles_total", kind="monthly") >= 1
    assert value(found, "hold", cause="monthly_limit") == 1
    assert value(found, "hold_since_timestamp_seconds") > time.time() - 60
    assert value(found, "credits_charged_total", folder='a "b"') == 0


def test_the_file_is_replaced_whole_readable_for_all_and_leaves_nothing_beside_it(
    tmp_path: Path, sandbox: Sandbox
) -> None:
    target = tmp_path / "collector"
    target.mkdir()
    with running(tmp_path, sandbox, metrics={"textfile": target / "x.prom"}):
        pass
    assert [one.name for one in target.iterdir()] == ["x.prom"]
    assert (target / "x.prom").stat().st_mode & 0o777 == 0o644
    assert not (tmp_path / "state/metrics.prom").exists()


def test_a_place_that_takes_nothing_is_told_once_and_nothing_else_suffers(tmp_path: Path, sandbox: Sandbox) -> None:
    told: list[events.Event] = []
    with running(tmp_path, sandbox, told, metrics={"textfile": tmp_path / "nowhere/x.prom"}) as daemon:
        drop(tmp_path, "a.png")
        wait_until(lambda: daemon.parts.metrics.read().delivered == 1)
        for _ in range(3):
            daemon.metrics.write(daemon.status.last, is_last=True)
        assert [one.why for one in told if isinstance(one, events.MetricsNotWritten)] == [
            f"{tmp_path}/nowhere/x.prom: no such file or directory"
        ]
        (tmp_path / "nowhere").mkdir()
        daemon.metrics.write(daemon.status.last, is_last=True)
        assert any(isinstance(one, events.MetricsWritten) for one in told)


@pytest.mark.parametrize("is_asked_for", [True, False])
def test_without_the_extra_the_daemon_works_and_says_so_only_if_a_place_is_named(
    tmp_path: Path, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, is_asked_for: bool
) -> None:
    monkeypatch.setattr(metrics_file, "is_available", lambda: False)
    told: list[events.Event] = []
    more = {"metrics": {"textfile": tmp_path / "x.prom"}} if is_asked_for else {}
    with running(tmp_path, sandbox, told, **more):
        pass
    assert [one.why for one in told if isinstance(one, events.MetricsNotWritten)] == (
        [exposition.MISSING] if is_asked_for else []
    )
    assert list(tmp_path.rglob("*.prom")) == []


def test_promtool_finds_nothing_wrong_with_it(tmp_path: Path, sandbox: Sandbox) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed: apt-get install prometheus")
    with running(tmp_path, sandbox):
        pass
    text = (tmp_path / "state/metrics.prom").read_bytes()
    checked = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, check=False)
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")
