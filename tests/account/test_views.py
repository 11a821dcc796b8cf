"""Whether a person is needed, and that no cause is forgotten where causes are shown."""

from datetime import UTC, datetime
from typing import Any

import pytest

from rembg_watch.account.causes import CAUSES, Cause, Probe
from rembg_watch.account.views import needs_person
from rembg_watch.jobs import State
from rembg_watch.report.status import FOLDER_STATES, CreditsView, FolderView, GateView, snapshot

NOW = datetime(2026, 11, 28, 9, tzinfo=UTC)

OF_THE_WHOLE = {
    Cause.BACKOFF: False,
    Cause.CIRCUIT: False,
    Cause.RATE: False,
    Cause.UNKNOWN: False,
    Cause.DAILY: False,
    Cause.MONTHLY: True,
    Cause.CREDITS: True,
    Cause.BUDGET: False,
    Cause.KEY: True,
    Cause.EMAIL: True,
    Cause.DISK: True,
    Cause.PAUSED: False,
    Cause.LEDGER: True,
}
OF_A_FOLDER = {
    Cause.PARAMETERS: True,
    Cause.SURPRISES: True,
    Cause.TRIAL: True,
    Cause.BRAKE: True,
    Cause.DELIVERED: True,
    Cause.TAKEN: False,
}
"""Every cause, and whether somebody has to do something about it."""


def found(*, counts: dict[State, int] | None = None, gate: GateView | None = None, folder: str = "watching") -> Any:
    folders = [FolderView(name="a", input="/i", output="/o", state=folder)]
    return snapshot(
        counts=counts or {}, unsettled=0, gate=gate or GateView(), credits=CreditsView(), folders=folders, now=NOW
    )


def shut(reason: str, look_by: str = Probe.TIME) -> GateView:
    return GateView(is_open=False, reason=reason, look_by=look_by, since=NOW)


def test_every_cause_is_placed() -> None:
    """A new one has to say of what it is and who ends it: metrics, verdict and page go by that."""
    assert {cause: CAUSES[cause].needs_person for cause in Cause if not CAUSES[cause].is_of_folder} == OF_THE_WHOLE
    assert {cause: CAUSES[cause].needs_person for cause in Cause if CAUSES[cause].is_of_folder} == OF_A_FOLDER


@pytest.mark.parametrize(("cause", "needs"), list(OF_THE_WHOLE.items()))
def test_a_shut_gate_needs_a_person_where_its_cause_does(cause: Cause, *, needs: bool) -> None:
    assert needs_person(found(gate=shut(cause))) is needs


def test_a_cause_of_a_newer_daemon_needs_nobody() -> None:
    assert not needs_person(found(gate=shut("moon")))


@pytest.mark.parametrize(("state", "needs"), list(zip(State, (False,) * 5 + (True, True, False), strict=True)))
def test_pictures_need_a_person_where_somebody_has_to_decide(state: State, *, needs: bool) -> None:
    """Those that failed are dealt with: what nobody has to end would hide the next alarm."""
    assert needs_person(found(counts={state: 1})) is needs


FOLDERS = {
    "watching": False,
    "offline": True,
    "hung": True,
    "held": True,
    "paused": False,
    "blocked": True,
    "spent": False,
}


def test_every_state_of_a_folder_is_judged() -> None:
    assert FOLDERS.keys() == set(FOLDER_STATES)


@pytest.mark.parametrize(("state", "needs"), list(FOLDERS.items()))
def test_a_folder_that_stands_needs_a_person(state: str, *, needs: bool) -> None:
    assert needs_person(found(folder=state)) is needs
