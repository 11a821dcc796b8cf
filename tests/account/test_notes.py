"""Notes as the version before wrote them, to the letter, and what is left of those that make no sense."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from rembg_watch.account.causes import Cause, Probe
from rembg_watch.account.credits import AccountReading, OtherUse
from rembg_watch.account.gate import Gate
from rembg_watch.account.holds import FolderHold, Hold
from rembg_watch.account.measures import Learned
from rembg_watch.account.notes import (
    PaceNote,
    gate_from_note,
    gate_to_note,
    last_call_from_note,
    pace_from_note,
    pace_to_note,
    reading_from_note,
    reading_to_note,
    use_from_note,
    use_to_note,
)

AT = datetime(2026, 11, 22, 12, 0, 0, 250_000, tzinfo=UTC)
LATER = datetime(2026, 11, 22, 13, 0, tzinfo=UTC)

GATE_NOTE: dict[str, Any] = json.loads("""{
  "holds": [
    {"cause": "monthly_limit", "since": "2026-11-22T12:00:00.250000+00:00", "probe": "account",
     "probe_at": "2026-11-22T13:00:00+00:00", "until": "2026-11-22T13:00:00+00:00", "step": 2, "refused": 7,
     "is_confirmed": true, "text": "You've reached your monthly limit.", "is_answered": false,
     "picture_at": "2026-11-22T13:00:00+00:00", "spendable": "0.50"},
    {"cause": "paused", "since": "2026-11-22T12:00:00.250000+00:00", "probe": "person", "probe_at": null,
     "until": null, "step": 0, "refused": 1, "is_confirmed": false, "text": null, "is_answered": false,
     "picture_at": null, "spendable": null}
  ],
  "folders": [
    {"folder": "ä", "options": "format=png", "since": "2026-11-22T12:00:00.250000+00:00", "text": "no such format",
     "cause": "parameters_refused"}
  ]
}""")
GATE = Gate(
    holds=(
        Hold(
            cause=Cause.MONTHLY,
            since=AT,
            probe=Probe.ACCOUNT,
            probe_at=LATER,
            until=LATER,
            step=2,
            refused=7,
            is_confirmed=True,
            text="You've reached your monthly limit.",
            picture_at=LATER,
            spendable=Decimal("0.50"),
        ),
        Hold(cause=Cause.PAUSED, since=AT, probe=Probe.PERSON, probe_at=None),
    ),
    folders=(FolderHold(folder="ä", options="format=png", since=AT, text="no such format"),),
)

PACE_NOTE: dict[str, Any] = json.loads("""{
  "rate": 4.9, "good": null, "held": 5.0, "back_to": 5.0, "is_starting": false, "call_s": 1.5, "failures_cost": true
}""")
PACE = PaceNote(learned=Learned(4.9, None, 5.0, 5.0), call_s=1.5, failures_cost=True)

READING_NOTE: dict[str, Any] = json.loads("""{
  "included_remaining": "7", "prepaid": "3.5", "app_used": "2", "api_used": "41", "synced": true,
  "read_at": "2026-11-22T12:00:00.250000+00:00", "period_start_at": null,
  "period_end_at": "2026-11-22T13:00:00+00:00", "last_call": 48
}""")
READING = AccountReading(
    included_remaining=Decimal(7),
    prepaid=Decimal("3.5"),
    app_used=Decimal(2),
    api_used=Decimal(41),
    read_at=AT,
    period_end_at=LATER,
)

USE_NOTE: dict[str, Any] = json.loads("""{
  "since": "2026-11-22T12:00:00.250000+00:00", "by_app": "3", "more": "8", "fewer": "0", "told": "11"
}""")
USE = OtherUse(since=AT, by_app=Decimal(3), more=Decimal(8))


def test_notes_of_the_version_before_are_read() -> None:
    assert gate_from_note(GATE_NOTE) == GATE
    assert pace_from_note(PACE_NOTE) == PACE
    assert reading_from_note(READING_NOTE) == READING
    assert last_call_from_note(READING_NOTE) == 48
    assert use_from_note(USE_NOTE) == (USE, Decimal(11))


def test_the_version_before_would_read_what_is_written_now() -> None:
    assert gate_to_note(GATE) == GATE_NOTE
    assert pace_to_note(PACE) == PACE_NOTE
    assert reading_to_note(READING, last_call=48) == READING_NOTE
    assert use_to_note(USE, reported=Decimal(11)) == USE_NOTE


def test_notes_of_versions_that_knew_less_are_read() -> None:
    known = ("cause", "since", "probe", "probe_at", "until", "step", "refused", "text")
    [hold] = gate_from_note({"holds": [{name: GATE_NOTE["holds"][0][name] for name in known}]}).holds
    assert (hold.cause, hold.is_confirmed, hold.picture_at, hold.spendable) == (Cause.MONTHLY, False, None, None)
    assert pace_from_note({"rate": 2.0, "good": 2.0}) == PaceNote(learned=Learned(2.0, 2.0))
    assert last_call_from_note(READING_NOTE | {"last_call": None}) is None
    assert use_from_note({name: USE_NOTE[name] for name in ("since", "by_app", "more", "fewer")}) == (USE, Decimal(0))


NONSENSE: list[Any] = [None, 7, -1, 1e400, "x", True, [], [[]], {}, {"a": []}, "2026-11-22T12:00:00"]


@pytest.mark.parametrize("note", NONSENSE, ids=str)
def test_a_note_of_another_kind_is_as_good_as_none(note: object) -> None:
    assert gate_from_note(note) == Gate()
    assert pace_from_note(note) == PaceNote()
    assert reading_from_note(note) is None
    assert last_call_from_note(note) is None
    assert use_from_note(note) == (None, 0)


@pytest.mark.parametrize("value", NONSENSE, ids=str)
def test_a_value_of_another_kind_never_raises(value: object) -> None:
    for note in (GATE_NOTE["holds"][0], GATE_NOTE["folders"][0]):
        for name in note:
            gate_from_note({"holds": [note | {name: value}], "folders": [note | {name: value}]})
    for read, note in ((pace_from_note, PACE_NOTE), (reading_from_note, READING_NOTE), (use_from_note, USE_NOTE)):
        for name in note:
            read(note | {name: value})  # type: ignore[operator]


@pytest.mark.parametrize(
    ("change", "pace"),
    [
        ({"call_s": 0}, PaceNote(learned=PACE.learned, failures_cost=True)),
        ({"call_s": 86_400}, PaceNote(learned=PACE.learned, failures_cost=True)),
        ({"call_s": "1"}, PaceNote(learned=PACE.learned, failures_cost=True)),
        ({"failures_cost": 1}, PaceNote(learned=PACE.learned, call_s=1.5)),
        ({"rate": 0}, PaceNote(call_s=1.5, failures_cost=True)),
        ({"held": -1, "back_to": "5"}, PaceNote(learned=Learned(4.9), call_s=1.5, failures_cost=True)),
    ],
    ids=str,
)
def test_of_a_pace_the_part_that_makes_no_sense_is_left_out(change: dict[str, Any], pace: PaceNote) -> None:
    assert pace_from_note(PACE_NOTE | change) == pace


@pytest.mark.parametrize("name", ["included_remaining", "prepaid", "app_used", "api_used", "read_at"])
def test_a_reading_without_one_of_its_figures_is_none(name: str) -> None:
    assert reading_from_note(READING_NOTE | {name: None}) is None
    assert reading_from_note(READING_NOTE | {name: "NaN"}) is None


def test_a_period_that_makes_no_sense_is_not_known() -> None:
    reading = reading_from_note(READING_NOTE | {"period_end_at": "soon", "synced": "yes"})
    assert reading is not None
    assert (reading.period_end_at, reading.synced) == (None, False)
