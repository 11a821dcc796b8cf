"""What was told, and is to be told, survives a restart; a note that makes no sense stops nobody."""

from collections.abc import Iterator
from datetime import UTC, datetime, time, timedelta
from pathlib import Path

import pytest

from rembg_watch.ledger import Ledger, LedgerUnavailableError, open_ledger
from rembg_watch.ledger.values import Json
from rembg_watch.notify import rules
from rembg_watch.notify.outbox import NOTE, NoticeBox
from rembg_watch.notify.values import Policy, Shoot, Told, Trouble, Urgency

NOON = datetime(2026, 11, 28, 12, tzinfo=UTC)
POLICY = Policy(zone=UTC, quiet=(time(20), time(7)), host="studio")


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with open_ledger(tmp_path) as found:
        yield found


def full() -> Told:
    trouble = Trouble(key="k", what="It", text="It is.", urgency=Urgency.PERSON, since=NOON)
    told = rules.with_troubles(Told.nothing(NOON), [trouble], now=NOON, policy=POLICY)
    for number in range(3):
        shoot = Shoot(name=f"f/{number}", failed=2, last_at=NOON, reasons={"ß ✗": 2})
        told = rules.with_shoots(told, [shoot], now=NOON + timedelta(minutes=2), policy=POLICY)
    told = rules.arrived(told, 1, "abc", now=NOON)
    told, _ = rules.tried(told, 2, ["abc"], now=NOON)
    return told


def test_all_of_it_is_there_after_a_restart(ledger: Ledger) -> None:
    box = NoticeBox(ledger, NOON)
    assert box.told == Told.nothing(NOON)
    box.keep(full())
    assert NoticeBox(ledger, NOON + timedelta(days=1)).told == full()


@pytest.mark.parametrize("note", [3, "nonsense", [], {"pending": 3}, {"digest_at": "never", "pictures_until": None}])
def test_a_note_that_makes_no_sense_counts_as_nothing(ledger: Ledger, note: Json) -> None:
    ledger.set_note(NOTE, note)
    assert NoticeBox(ledger, NOON).told == Told.nothing(NOON)


class Refusing:
    """A ledger on a disk that is full."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger, self.is_full, self.written = ledger, True, 0

    def note(self, name: str) -> Json:
        return self.ledger.note(name)

    def set_note(self, name: str, value: Json, *, is_durable: bool = True) -> None:
        assert is_durable
        if self.is_full:
            raise LedgerUnavailableError("full")
        self.written += 1
        self.ledger.set_note(name, value)


def test_a_full_disk_is_told_all_the_same_and_written_once_there_is_room(ledger: Ledger) -> None:
    refusing = Refusing(ledger)
    box = NoticeBox(refusing, NOON)  # type: ignore[arg-type]
    box.keep(full())
    assert box.told == full()
    refusing.is_full = False
    for _ in range(3):
        box.keep(full())
    assert refusing.written == 1  # what has not changed is not written
    assert NoticeBox(ledger, NOON).told == full()
