"""What ``once --dry-run`` says: pictures, bytes, credits and an honest time. It writes nothing and pays nothing."""

import os
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from hashlib import file_digest
from pathlib import Path
from typing import Any

from rembg_watch.api.errors import RembgError
from rembg_watch.config import Settings
from rembg_watch.daemon import LEDGER_NAME, build_client, recipe_of
from rembg_watch.gatehouse import call_s_of
from rembg_watch.jobs import State, Unsettled, Version
from rembg_watch.ledger import Access, Ledger, NoLedgerError, Which
from rembg_watch.pacing import FIRST_RATE
from rembg_watch.purse import balance_of
from rembg_watch.report.words import count_text, credits_number, credits_text, show, size_text, span_text
from rembg_watch.watch import Pace, Watcher

_CALL_S = 3.0  # a guess, until calls were made


@dataclass
class _Counted:
    """What the watch needs of a ledger; it looks into the real one and only counts what is new."""

    ledger: Ledger | None
    found: dict[tuple[str, bytes], Version] = field(default_factory=dict)
    rejected: list[tuple[str, bytes, str]] = field(default_factory=list)

    def known(self, folder: str, parent: bytes) -> Mapping[bytes, Version]:
        known = dict(self.ledger.known(folder, parent)) if self.ledger else {}
        for (name, source), version in self.found.items():
            directory, _, base = source.rpartition(b"/")
            if name == folder and directory == parent:
                known[base] = version
        return known

    def parents(self, folder: str) -> list[bytes]:
        return self.ledger.parents(folder) if self.ledger else []

    def add(self, folder: str, sources: Iterable[tuple[bytes, Version]], at: datetime) -> int:
        del at
        new = {(folder, source): version for source, version in sources}
        self.found |= new
        return len(new)

    def reject(self, folder: str, source: bytes, version: Version, at: datetime, *, reason: str, code: str) -> bool:
        del version, code, at
        self.rejected.append((folder, source, reason))
        return True

    def gone(self, folder: str, sources: Iterable[bytes], at: datetime) -> int:
        del folder, sources, at
        return 0

    def set_unsettled(self, folder: str, items: Iterable[Unsettled]) -> bool:
        del folder, items
        return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What a run of ``once`` would do."""

    pictures: int
    doubles: int  # of them, the same bytes with the same options as another one: not paid
    size_bytes: int
    credits: Decimal
    spendable: Decimal | None  # None: the account could not be read
    account_trouble: str | None
    per_s: float
    is_learned: bool  # the pace is one that was seen, not the cautious first guess
    unsettled: int
    rejected: tuple[tuple[str, bytes, str], ...]

    @property
    def time_s(self) -> float:
        """How long it takes at the pace that is known."""
        return (self.pictures - self.doubles) / self.per_s

    def as_json(self) -> dict[str, Any]:
        """Return all of it as JSON holds it."""
        return {
            "pictures": self.pictures,
            "doubles": self.doubles,
            "bytes": self.size_bytes,
            "credits": credits_number(self.credits),
            "spendable": None if self.spendable is None else credits_number(self.spendable),
            "time_s": round(self.time_s, 1),
            "pace_is_learned": self.is_learned,
            "unsettled": self.unsettled,
            "rejected": [{"folder": f, "source": show(s), "reason": r} for f, s, r in self.rejected],
        }

    def lines(self) -> list[str]:
        """Say it to a person."""
        lines = [f"{count_text(self.pictures, 'picture')}, {size_text(self.size_bytes)} to send"]
        if self.doubles:
            lines.append(f"{self.doubles:,} of them the same as another one: not paid")
        lines.append(f"{credits_text(self.credits)} needed" + self._spendable())
        if self.pictures > self.doubles:
            basis = "at the pace learned so far" if self.is_learned else "at the first, cautious pace; it may go faster"
            lines.append(f"about {span_text(max(1.0, self.time_s))} {basis}")
        if self.unsettled:
            lines.append(f"{count_text(self.unsettled, 'file')} not whole yet and not counted")
        lines += [f"{folder}/{show(source)} would not be sent: {why}" for folder, source, why in self.rejected]
        return lines

    def _spendable(self) -> str:
        if self.spendable is None:
            return f"; the account could not be read: {self.account_trouble}"
        short = self.credits - self.spendable
        missing = f": {credits_text(short)} too few, the rest would wait" if short > 0 else ""
        return f", {credits_text(self.spendable)} can be spent{missing}"


def estimate(settings: Settings) -> Estimate:
    """Look at everything that is there now and say what it would take."""
    with ExitStack() as stack:
        try:
            ledger = stack.enter_context(Ledger.open(settings.state_dir / LEDGER_NAME, Access.READ))
        except NoLedgerError:
            ledger = None
        counted = _Counted(ledger)
        unsettled = _walk(settings, counted)
        waiting = _in_line(ledger) if ledger else {}
        everything = waiting | counted.found
        doubles = _doubles(settings, everything)
        note = ledger.note("pacer") if ledger else None
        learned = note.get("rate") if isinstance(note, Mapping) else None
    spendable, trouble = _spendable(settings)
    rate = float(learned) if isinstance(learned, int | float) else FIRST_RATE
    return Estimate(
        pictures=len(everything),
        doubles=doubles,
        size_bytes=sum(version.size_bytes for version in everything.values()),
        credits=settings.credits.per_image * (len(everything) - doubles),
        spendable=spendable,
        account_trouble=trouble,
        per_s=min(rate, settings.pool.workers / (call_s_of(note) or _CALL_S)),
        is_learned=learned is not None,
        unsettled=unsettled,
        rejected=tuple(counted.rejected),
    )


def _walk(settings: Settings, counted: _Counted) -> int:
    """Look until everything has settled that will; return how many have not."""
    pace = Pace(settle_s=settings.watch.settle_s, scan_interval_s=5.0, grace_s=0.0, mode="poll")
    watcher = Watcher([folder.folder() for folder in settings.folders], counted, pace)
    until = time.monotonic() + 10 * settings.watch.settle_s + 60.0
    while time.monotonic() < until:
        next_s = watcher.tick(time.monotonic())
        if watcher.is_at_rest:
            break
        time.sleep(min(0.2, max(0.0, next_s - time.monotonic())))
    unsettled = watcher.unsettled
    watcher.stop()
    return unsettled


def _in_line(ledger: Ledger) -> dict[tuple[str, bytes], Version]:
    jobs = ledger.jobs(Which(states=frozenset({State.QUEUED})))
    return {(job.folder, job.source): job.version for job in jobs}


def _doubles(settings: Settings, everything: Mapping[tuple[str, bytes], Version]) -> int:
    """Count the pictures whose bytes another one with the same options has; only equal sizes are read."""
    recipes = {folder.name: recipe_of(folder) for folder in settings.folders}
    sizes = Counter((recipes[name].options, version.size_bytes) for (name, _), version in everything.items())
    seen: Counter[tuple[str, str]] = Counter()
    for (name, source), version in everything.items():
        recipe = recipes[name]
        if sizes[recipe.options, version.size_bytes] > 1:
            seen[recipe.options, _digest(recipe.input / os.fsdecode(source))] += 1
    return sum(count - 1 for (_, digest), count in seen.items() if digest)


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""


def _spendable(settings: Settings) -> tuple[Decimal | None, str | None]:
    try:
        with build_client(settings) as client:
            account = client.account()
    except RembgError as error:
        return None, str(error)
    held = balance_of(account, read_at=datetime.now().astimezone())
    return max(Decimal(0), held.spendable - settings.credits.reserve), None
