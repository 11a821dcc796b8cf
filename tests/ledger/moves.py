"""What tests of the ledger do with it, in a line each."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import count
from typing import Any

from rembg_watch.api.errors import Charge
from rembg_watch.jobs import (
    CallEnd,
    CallStart,
    Job,
    State,
    Version,
    move,
    with_content,
)
from rembg_watch.ledger import (
    Ledger,
    Turn,
    Which,
)

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
ONE = Decimal(1)
PAID = CallEnd(Charge.YES, ONE)
FREE = CallEnd(Charge.NO, code="too_fast")
DOUBT = CallEnd(Charge.MAYBE, ONE, "no_answer")


def at(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def version(number: int = 1) -> Version:
    return Version(size_bytes=1000 + number, mtime_ns=10**18 + number, inode=number)


def some(*states: State) -> Which:
    return Which(states=frozenset(states))


def queue(ledger: Ledger, *sources: bytes, folder: str = "f", when: datetime = NOW) -> None:
    assert ledger.add(folder, [(source, version()) for source in sources], when) == len(sources)


def claim(ledger: Ledger, limit: int = 100, *, when: datetime = NOW, folders: str = "f", **more: Any) -> list[Job]:
    return ledger.claim(limit, at=when, run_id="run", turns=[Turn(name) for name in folders.split()], **more)


_keys = count()


def send(ledger: Ledger, job: Job, key: str | None = None, *, when: datetime = NOW) -> Job:
    sending = move(with_content(job, key or f"key-{next(_keys)}"), State.SENDING, at=when)
    return ledger.record(sending, call=CallStart(ONE))


def receive(ledger: Ledger, job: Job, *, when: datetime = NOW, **more: Any) -> Job:
    return ledger.record(
        move(job, State.RECEIVED, at=when, answer_digest=f"digest of {job.content_key}", answer_bytes=9),
        call=PAID,
        **more,
    )


def finish(ledger: Ledger, job: Job, key: str | None = None, **changes: Any) -> Job:
    received = receive(ledger, send(ledger, job, key), names=[job.source + b".webp"])
    return ledger.record(move(received, State.DONE, at=NOW, **changes))


def one(ledger: Ledger, source: bytes = b"a.jpg") -> Job:
    """Queue a source and claim it."""
    queue(ledger, source)
    (job,) = claim(ledger)
    return job


def in_doubt(ledger: Ledger, source: bytes = b"a.jpg", key: str | None = None) -> Job:
    sent = send(ledger, one(ledger, source), key)
    return ledger.record(move(sent, State.IN_DOUBT, at=NOW, doubts=sent.doubts + 1), call=DOUBT)


def fail(ledger: Ledger, source: bytes = b"a.jpg", **changes: Any) -> Job:
    return ledger.record(move(one(ledger, source), State.FAILED, at=NOW, reason="no picture", **changes))


def stands(ledger: Ledger, source: bytes = b"a.jpg") -> Job:
    found = ledger.find("f", source)
    assert found is not None
    return found
