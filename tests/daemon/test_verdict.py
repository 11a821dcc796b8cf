"""What a monitor is told, and by which exit code."""

from datetime import UTC, datetime
from typing import Any

import pytest

from rembg_watch.account.causes import CAUSES, Cause
from rembg_watch.daemon.verdict import Health, verdict
from rembg_watch.jobs import State
from rembg_watch.report.status import CreditsView, FolderView, GateView, Liveness, snapshot
from rembg_watch.report.words import WallClock

NOW = datetime(2026, 11, 28, 9, tzinfo=UTC)


def judged(alive: Liveness = Liveness.LIVE, *, counts: dict[State, int] | None = None, **more: Any) -> Any:
    known = {"unsettled": 0, "gate": GateView(), "credits": CreditsView()} | more
    return verdict(snapshot(counts=counts or {}, now=NOW, **known), alive=alive, clock=WallClock(NOW, UTC))


def shut(cause: Cause) -> GateView:
    return GateView(is_open=False, reason=cause.value, since=NOW, pause=CAUSES[cause].pause)


def folder(state: str, why: str | None = None) -> FolderView:
    return FolderView(name="a", input="/i", output="/o", state=state, why=why)


@pytest.mark.parametrize(
    ("cause", "health"),
    [
        (Cause.BACKOFF, Health.OK),
        (Cause.RATE, Health.OK),
        (Cause.CIRCUIT, Health.WARNING),
        (Cause.UNKNOWN, Health.WARNING),
        (Cause.DAILY, Health.WARNING),
        (Cause.BUDGET, Health.WARNING),
        (Cause.PAUSED, Health.WARNING),
        (Cause.MONTHLY, Health.CRITICAL),
        (Cause.CREDITS, Health.CRITICAL),
        (Cause.KEY, Health.CRITICAL),
        (Cause.EMAIL, Health.CRITICAL),
        (Cause.DISK, Health.CRITICAL),
        (Cause.LEDGER, Health.CRITICAL),
    ],
)
def test_a_shut_gate_counts_by_what_it_waits_for(cause: Cause, health: Health) -> None:
    found = judged(gate=shut(cause))
    assert found.health is health
    assert CAUSES[cause].pause.what in found.line.lower().replace("api", "API") or cause is Cause.CIRCUIT


@pytest.mark.parametrize("alive", [Liveness.GONE, Liveness.SILENT])
def test_a_daemon_that_is_gone_or_silent_is_critical_whatever_it_left(alive: Liveness) -> None:
    assert judged(alive).health is Health.CRITICAL


def test_a_reason_that_is_not_known_warns() -> None:
    assert judged(gate=GateView(is_open=False, reason="moon")).health is Health.WARNING


@pytest.mark.parametrize("state", ["offline", "hung", "held", "paused", "blocked", "spent"])
def test_a_folder_that_is_not_watched_as_it_should_be_warns(state: str) -> None:
    assert judged(folders=[folder(state, "why")]).health is Health.WARNING
    assert judged(folders=[folder("watching")]).health is Health.OK


@pytest.mark.parametrize("state", [State.HELD, State.IN_DOUBT])
def test_pictures_that_wait_for_a_person_warn_and_say_where_to_look(state: State) -> None:
    found = judged(counts={state: 2})
    assert found.health is Health.WARNING
    assert f"jobs --state {state}" in found.line


def test_failed_pictures_are_counted_and_raise_no_alarm() -> None:
    found = judged(counts={State.FAILED: 3})
    assert (found.health, "failed=3" in found.line) == (Health.OK, True)


def test_it_is_one_line_whose_figures_stand_behind_the_only_bar() -> None:
    line = judged(folders=[folder("held", "odd | name\nand more")]).line
    words, bar, figures = line.partition(" | ")
    assert words.startswith("REMBG-WATCH WARNING - ")
    assert "odd / name and more" in words
    assert (bar, "\n" in line, "|" in figures) == (" | ", False, False)
    assert [one.partition("=")[0] for one in figures.split()] == [
        "queued", "sending", "received", "done", "failed", "held", "in_doubt", "unsettled", "credits"
    ]  # fmt: skip
    assert figures.endswith("credits=U")
