"""What a time came to in parts: always the same sums as in one, also when pictures were forgotten since."""

from collections.abc import Iterable
from dataclasses import fields
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from rembg_watch.jobs import State, move
from rembg_watch.ledger import Billed, By, Ledger, Spending
from tests.ledger.moves import DOUBT, FREE, NOW, at, claim, fail, queue, receive, send

TODAY = NOW.replace(hour=0)
TOMORROW = TODAY + timedelta(days=1)
LATER = NOW + timedelta(days=1)


def added(parts: Iterable[Billed]) -> tuple[int, Spending]:
    parts = list(parts)
    sums: dict[str, Any] = {
        one.name: sum(
            (getattr(part.spending, one.name) for part in parts), Decimal(0) if "int" not in str(one.type) else 0
        )
        for one in fields(Spending)
    }
    return sum(part.delivered for part in parts), Spending(**sums)


def do_all_sorts(ledger: Ledger) -> None:
    """Over two days and two folders: delivered, refused, in doubt and again, under way, failed without a call."""
    queue(ledger, b"Acme/1.jpg", b"Acme/deep/2.jpg", b"Beta/3.jpg", b"4.jpg", b"Beta/5 \xff.jpg")
    one, two, three, four, five = claim(ledger)
    ledger.record(move(receive(ledger, send(ledger, one)), State.DONE, at=at(1), delivered_at=at(1)))
    back = ledger.record(move(send(ledger, two), State.QUEUED, at=at(2)), call=FREE, keeps_claim=True)
    later = receive(ledger, send(ledger, back, when=LATER), when=LATER)
    ledger.record(move(later, State.DONE, at=LATER, delivered_at=LATER))
    doubted = ledger.record(move(send(ledger, three, "k"), State.IN_DOUBT, at=at(3), doubts=1), call=DOUBT)
    again = ledger.record(move(doubted, State.QUEUED, at=at(4)), keeps_claim=True)
    ledger.record(move(receive(ledger, send(ledger, again, "k")), State.DONE, at=at(5), delivered_at=at(5)))
    send(ledger, four)
    received = ledger.record(move(five, State.RECEIVED, at=at(6), answer_digest="known"))
    ledger.record(move(received, State.DONE, at=LATER, delivered_at=LATER))
    queue(ledger, b"Gamma/6.jpg", folder="g", when=LATER)
    (six,) = claim(ledger, folders="g", when=LATER)
    ledger.record(
        move(receive(ledger, send(ledger, six, when=LATER), when=LATER), State.DONE, at=LATER, delivered_at=LATER)
    )
    fail(ledger, b"Acme/broken.jpg")


SPANS = [
    (None, None),
    (TODAY, None),
    (None, TOMORROW),
    (TODAY, TOMORROW),
    (TOMORROW, None),
    (LATER + timedelta(9), None),
]


@pytest.mark.parametrize("by", By)
def test_the_parts_add_up_to_what_was_spent(ledger: Ledger, by: By) -> None:
    do_all_sorts(ledger)
    delivered = [5, 5, 2, 2, 3, 0]
    for (since, until), count in zip(SPANS, delivered, strict=True):
        assert added(ledger.billed(by, since, until)) == (count, ledger.spending(since, until)), (since, until)
        of_f = added(ledger.billed(by, since, until, folders=["f"]))
        assert of_f[1] == ledger.spending(since, until, folders=["f"])
    assert ledger.billed(by, folders=["nobody's"]) == []


@pytest.mark.parametrize("by", By)
def test_they_add_up_when_pictures_were_forgotten_too(ledger: Ledger, by: By) -> None:
    do_all_sorts(ledger)
    before = [added(ledger.billed(by, *span)) for span in SPANS]
    ledger.gone("f", [b"Acme/1.jpg", b"Acme/deep/2.jpg", b"Beta/5 \xff.jpg"], LATER)
    ledger.gone("g", [b"Gamma/6.jpg"], LATER)
    assert ledger.prune(LATER + timedelta(days=1)).jobs == 4
    assert [added(ledger.billed(by, *span)) for span in SPANS] == before
    assert [added(ledger.billed(by, *span))[1] for span in SPANS] == [ledger.spending(*span) for span in SPANS]
    forgotten = [part for part in ledger.billed(by) if part.is_forgotten]
    assert added(forgotten)[0] == 4
    assert max(part.day for part in forgotten if part.day) == TOMORROW
    assert all(part.place is None for part in forgotten)


def test_parts_say_what_they_stand_for(ledger: Ledger) -> None:
    do_all_sorts(ledger)

    def charged(by: By) -> dict[object, Decimal]:
        found: dict[object, Decimal] = {}
        for part in ledger.billed(by):
            key = (part.folder, part.day or part.place)
            found[key] = found.get(key, Decimal(0)) + part.spending.charged
        return found

    assert charged(By.FOLDER) == {("f", None): 3, ("g", None): 1}
    assert charged(By.DAY) == {("f", TODAY): 2, ("f", TOMORROW): 1, ("g", TOMORROW): 1}
    assert charged(By.DIRECTORY) == {
        ("f", b"Acme"): 1, ("f", b"Acme/deep"): 1, ("f", b"Beta"): 1, ("f", b""): 0, ("g", b"Gamma"): 1,
    }  # fmt: skip
    assert charged(By.PICTURE)["f", b"Beta/3.jpg"] == 1
    assert charged(By.PICTURE)["f", b"Beta/5 \xff.jpg"] == 0, "it was delivered, and paid for by another"


def test_what_was_adopted_was_not_delivered(ledger: Ledger) -> None:
    queue(ledger, b"adopted.jpg")
    (adopted,) = claim(ledger)
    ledger.record(move(adopted, State.DONE, at=at(8), target=b"adopted.webp"))
    assert ledger.billed(By.PICTURE) == []


def test_made_anew_it_was_delivered_when_it_was_delivered_last(ledger: Ledger) -> None:
    do_all_sorts(ledger)
    found = ledger.find("f", b"Acme/1.jpg")
    assert found is not None
    assert ledger.redo([found], LATER) == 1
    (again,) = [job for job in claim(ledger, when=LATER) if job.id == found.id]
    done = receive(ledger, send(ledger, again, when=LATER), when=LATER)
    ledger.record(move(done, State.DONE, at=LATER, delivered_at=LATER))
    assert added(ledger.billed(By.DIRECTORY, TODAY, TOMORROW))[0] == 1
    assert added(ledger.billed(By.DIRECTORY, TOMORROW))[0] == 4
