"""What ``monitoring/`` ships: rules that fire when they should, a dashboard that asks for series that are there."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rembg_watch.config import Settings
from rembg_watch.daemon import Daemon
from rembg_watch.sandbox import Sandbox

ROOT = Path(__file__).parent.parent.parent
MONITORING = ROOT / "monitoring"
DASHBOARD = json.loads((MONITORING / "grafana.json").read_text(encoding="utf-8"))
PROMTOOL = shutil.which("promtool")
needs_promtool = pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed: apt-get install prometheus")


def promtool(*words: str | Path) -> subprocess.CompletedProcess[str]:
    assert PROMTOOL is not None
    return subprocess.run([PROMTOOL, *map(str, words)], capture_output=True, text=True, cwd=MONITORING, check=False)


def targets() -> Iterator[dict[str, Any]]:
    for panel in DASHBOARD["panels"]:
        yield from panel["targets"]


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Every series that a daemon writes."""
    root = tmp_path_factory.mktemp("studio")
    (root / "in").mkdir()
    folder = {"name": "f", "input": root / "in", "output": root / "out"}
    settings = Settings(state_dir=root / "state", api={"key": "k"}, folders=(folder,))  # type: ignore[arg-type]
    with Daemon(settings, transport=Sandbox("k", engine="flat").transport()):
        text = (root / "state/metrics.prom").read_text(encoding="utf-8")
    return set(re.findall(r"^(rembg_watch_\w+)", text, flags=re.MULTILINE))


@needs_promtool
def test_promtool_takes_the_rules() -> None:
    checked = promtool("check", "rules", "alerts.yml")
    assert checked.returncode == 0, checked.stdout + checked.stderr


@needs_promtool
def test_each_alert_fires_when_it_should_and_not_before() -> None:
    tested = promtool("test", "rules", "alerts.test.yml")
    assert tested.returncode == 0, tested.stdout + tested.stderr


def test_no_alert_is_without_a_test_and_advice() -> None:
    rules, tests = ((MONITORING / name).read_text(encoding="utf-8") for name in ("alerts.yml", "alerts.test.yml"))
    alerts = re.findall(r"- alert: (\w+)", rules)
    assert len(alerts) > 10
    assert set(re.findall(r"alertname: (\w+)\n +exp_alerts:\n", tests)) == set(alerts)
    assert len(re.findall(r"^ +description: \S", rules, flags=re.MULTILINE)) == len(alerts)


def test_alerts_and_dashboard_ask_for_nothing_that_is_not_written(names: set[str]) -> None:
    rules = (MONITORING / "alerts.yml").read_text(encoding="utf-8")
    asked = set(re.findall(r"rembg_watch_\w+", rules + json.dumps(DASHBOARD)))
    assert len(asked) > 20
    assert asked - names == set()


@needs_promtool
def test_every_question_of_the_dashboard_can_be_asked(tmp_path: Path) -> None:
    rules = [{"record": f"r:{number}", "expr": one["expr"]} for number, one in enumerate(targets())]
    path = tmp_path / "rules.yml"
    text = json.dumps({"groups": [{"name": "dashboard", "rules": rules}]})  # JSON is YAML
    path.write_text(text.replace("$instance", ".*").replace("$folder", ".*"), encoding="utf-8")
    checked = promtool("check", "rules", path)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_the_dashboard_needs_nothing_filled_in_when_it_is_provisioned() -> None:
    text = json.dumps(DASHBOARD)
    assert "__inputs" not in text
    assert "${DS_" not in text
    variables = {one["name"]: one["type"] for one in DASHBOARD["templating"]["list"]}
    assert variables == {"datasource": "datasource", "instance": "query", "folder": "query"}
    asked = [*DASHBOARD["panels"], *targets(), *(one for one in DASHBOARD["templating"]["list"] if "datasource" in one)]
    assert {one["datasource"]["uid"] for one in asked} == {"${datasource}"}
    assert DASHBOARD.get("id") is None


def test_no_panel_lies_upon_another_or_beside_the_grid() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= 24
        taken |= cells
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
