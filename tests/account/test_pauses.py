"""What a person has paused, and the gate that is seen through it."""

from datetime import UTC, datetime, timedelta

import pytest

from rembg_watch.account.causes import Cause
from rembg_watch.account.gate import Gate, Go, Halt, Need, admit
from rembg_watch.account.holds import WHATEVER_OPTIONS, FolderHold
from rembg_watch.account.notes import gate_from_note, gate_to_note, pauses_from_note, pauses_to_note
from rembg_watch.account.pauses import Pauses, paused

NOW = datetime(2026, 11, 28, 9, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)
REFUSED = FolderHold(folder="a", options="o", since=NOW, text="no such format")
NEED = Need(job=1, folder="a", options="o")


def test_what_is_paused_stays_paused_since_the_first_time() -> None:
    pauses = Pauses().pausing((), NOW).pausing((), LATER).pausing(("a",), NOW).pausing(("a", "b"), LATER)
    assert pauses == Pauses(all_at=NOW, folders={"a": NOW, "b": LATER})


def test_resume_alone_ends_every_pause_and_by_name_only_that() -> None:
    pauses = Pauses(all_at=NOW, folders={"a": NOW, "b": NOW})
    assert pauses.resuming(("a",)) == Pauses(all_at=NOW, folders={"b": NOW})
    assert pauses.resuming(()) == Pauses()


def test_nothing_is_admitted_while_all_is_paused_and_no_moment_ends_that() -> None:
    gate = paused(Gate(), Pauses(all_at=NOW))
    answer = admit(gate, NEED, now=NOW + timedelta(days=400))
    assert isinstance(answer, Halt)
    assert (answer.cause, answer.until) == (Cause.PAUSED, None)
    assert gate.hold is not None
    assert gate.hold.since == NOW


def test_a_paused_folder_stops_itself_alone() -> None:
    gate = paused(Gate(), Pauses(folders={"a": NOW}))
    assert isinstance(admit(gate, NEED, now=NOW), Halt)
    assert isinstance(admit(gate, Need(job=1, folder="b", options="o"), now=NOW), Go)


@pytest.mark.parametrize("is_paused_first", [True, False])
def test_a_pause_stands_beside_another_hold_of_its_folder_and_each_ends_alone(is_paused_first: bool) -> None:
    pauses = Pauses(folders={"a": NOW})
    gate = paused(Gate(), pauses) if is_paused_first else Gate()
    gate = paused(gate.holding_folder(REFUSED), pauses)
    assert gate.refusing("a", "o") == REFUSED
    without = gate.releasing_folder("a", Cause.PARAMETERS)
    assert isinstance(admit(without, NEED, now=NOW), Halt)
    assert paused(gate, Pauses()).folders == (REFUSED,)


def test_retry_and_reload_end_no_pause() -> None:
    gate = paused(Gate(), Pauses(all_at=NOW, folders={"a": NOW}))
    assert gate.resumed(now=LATER) == gate


def test_to_look_again_changes_nothing() -> None:
    pauses = Pauses(all_at=NOW, folders={"a": NOW, "b": NOW})
    gate = paused(Gate().holding_folder(REFUSED), pauses)
    assert paused(gate, pauses) is gate


def test_both_holds_of_a_folder_survive_the_note() -> None:
    gate = paused(Gate().holding_folder(REFUSED), Pauses(all_at=NOW, folders={"a": NOW}))
    assert gate_from_note(gate_to_note(gate)) == gate


def test_the_note_brings_back_what_was_paused() -> None:
    pauses = Pauses(all_at=NOW, folders={"a": LATER})
    assert pauses_from_note(pauses_to_note(pauses)) == pauses


@pytest.mark.parametrize("note", [None, 7, "x", {"all_at": "soon"}, {"folders": {"a": 3}}], ids=str)
def test_a_note_that_makes_no_sense_pauses_nothing(note: object) -> None:
    assert pauses_from_note(note) == Pauses()


def test_a_folder_of_no_options_is_meant_whatever_they_are() -> None:
    (hold,) = paused(Gate(), Pauses(folders={"a": NOW})).folders
    assert hold.options == WHATEVER_OPTIONS
