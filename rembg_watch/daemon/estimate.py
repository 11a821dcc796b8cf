"""What ``once --dry-run`` says: pictures, bytes, credits, what would wait, and an honest time.

It writes nothing and pays nothing.
"""

import os
import time
from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from rembg_watch.account.balance import reading_of
from rembg_watch.account.credits import AccountRead, AccountReading, AccountUnread, affordable, budget_room, next_day_at
from rembg_watch.account.gate import Ask, Finding, Gate, Go, Halt, Hold, Need, Probe, Wait, admit
from rembg_watch.account.notes import GATE, PACE, gate_from_note, pace_from_note
from rembg_watch.account.pacing import FIRST_RATE
from rembg_watch.api.errors import KeyRefusedError, RembgError
from rembg_watch.config import Settings
from rembg_watch.daemon.assembly import KEY_DIGEST, SPOOL_NAME, build_client, key_digest, recipe_of
from rembg_watch.delivery.publish import is_ours
from rembg_watch.host import disk
from rembg_watch.host.disk import Content
from rembg_watch.jobs import State, Unsettled, Version
from rembg_watch.ledger import Access, Ledger, NoLedgerError, Which, open_ledger
from rembg_watch.pictures import inspection
from rembg_watch.pipeline import Recipe, content_key_of
from rembg_watch.report.status import stamp
from rembg_watch.report.words import count_text, credits_number, credits_text, show, size_text, span_text, utc_text
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
    known: int  # of them, those whose answer was paid for before
    doubles: int  # of them, the same bytes with the same options as another one: not paid
    now: int  # so many calls would be made now; the rest of what is to be paid would wait
    limits: tuple[str, ...]  # the budgets and options that let no more go, in words
    hold: Hold | None  # what keeps all calls from going
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
        """How long it takes at the pace that is known, until what has to wait is all that is left."""
        return self.now / self.per_s

    @property
    def later(self) -> int:
        """How many calls would have to wait."""
        return self.pictures - self.known - self.doubles - self.now

    def as_json(self) -> dict[str, Any]:
        """Return all of it as JSON holds it."""
        return {
            "pictures": self.pictures,
            "known": self.known,
            "doubles": self.doubles,
            "now": self.now,
            "later": self.later,
            "gate": {
                "open": self.hold is None,
                "reason": self.hold.cause.value if self.hold else None,
                "until": stamp(self.hold.ends_at) if self.hold else None,
            },
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
        if self.known:
            lines.append(f"{self.known:,} of them paid for before: they cost nothing")
        if self.doubles:
            lines.append(f"{self.doubles:,} of them the same as another one: not paid")
        lines.append(f"{credits_text(self.credits)} needed" + self._spendable())
        lines += self._waiting()
        if self.now:
            basis = "at the pace learned so far" if self.is_learned else "at the first, cautious pace; it may go faster"
            lines.append(f"about {span_text(max(1.0, self.time_s))} {basis}")
        if self.unsettled:
            lines.append(f"{count_text(self.unsettled, 'file')} not whole yet and not counted")
        lines += [f"{folder}/{show(source)} would not be sent: {why}" for folder, source, why in self.rejected]
        return lines

    def _waiting(self) -> list[str]:
        if not self.later:
            return []
        if self.hold is not None:
            until = f"; next try {utc_text(self.hold.ends_at)}" if self.hold.ends_at else ""
            return [f"nothing would be sent now: {self.hold.reason}{until}"]
        return [f"{self.now:,} would be sent now, {self.later:,} would wait", *self.limits]

    def _spendable(self) -> str:
        if self.spendable is None:
            return f"; the account could not be read: {self.account_trouble}"
        short = self.credits - self.spendable
        missing = f": {credits_text(short)} too few, the rest would wait" if short > 0 else ""
        return f", {credits_text(self.spendable)} can be spent{missing}"


def estimate(settings: Settings) -> Estimate:
    """Look at everything that is there now and say what it would take."""
    recipes = {folder.name: recipe_of(folder) for folder in settings.folders}
    with ExitStack() as stack:
        try:
            ledger = stack.enter_context(open_ledger(settings.state_dir, Access.READ))
        except NoLedgerError:
            ledger = None
        counted = _Counted(ledger)
        unsettled = _walk(settings, counted)
        waiting = _in_line(ledger, recipes) if ledger else {}
        everything = waiting | counted.found
        found = _Calls.of(everything, recipes, ledger, settings.state_dir / SPOOL_NAME)
        account = _Reading.of(settings)
        gate = _gate(settings, ledger, account.now)
        rooms = _rooms(settings, ledger, account.now)
        pace = pace_from_note(ledger.note(PACE) if ledger else None)
    refused = {hold.folder for hold in gate.folders if hold.options == recipes[hold.folder].options}
    goes = sum(min(count, 0 if name in refused else rooms.folders[name]) for name, count in found.to_pay.items())
    payable = account.affordable(settings, rooms.account)
    hold = _hold(gate, account, settings, payable, is_budget_spent=rooms.account <= 0)
    rate = pace.learned.rate if pace.learned else FIRST_RATE
    return Estimate(
        pictures=len(everything),
        known=found.known,
        doubles=found.doubles,
        now=min(goes, payable) if hold is None else 0,
        limits=tuple(_limits(found.to_pay, rooms, refused, goes)),
        hold=hold,
        size_bytes=sum(version.size_bytes for version in everything.values()),
        credits=settings.credits.per_image * sum(found.to_pay.values()),
        spendable=account.spendable(settings),
        account_trouble=str(account.error) if account.error else None,
        per_s=min(rate, settings.pool.workers / (pace.call_s or _CALL_S)),
        is_learned=pace.learned is not None,
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


def _in_line(ledger: Ledger, folders: Iterable[str]) -> dict[tuple[str, bytes], Version]:
    jobs = ledger.jobs(Which(states=frozenset({State.QUEUED}), folders=frozenset(folders)))
    return {(job.folder, job.source): job.version for job in jobs}


# --- what is paid for already ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Calls:
    """How many of the pictures need a call, and how many need none."""

    to_pay: Mapping[str, int]  # by folder
    known: int
    doubles: int

    @classmethod
    def of(
        cls,
        everything: Mapping[tuple[str, bytes], Version],
        recipes: Mapping[str, Recipe],
        ledger: Ledger | None,
        spool: Path,
    ) -> "_Calls":
        """Look what content comes twice, or was paid for before; only files whose size allows it are read."""
        answered = ledger.answered_sizes() if ledger else frozenset()
        sizes = Counter((recipes[name].options, version.size_bytes) for (name, _), version in everything.items())
        to_pay, counts, seen = Counter[str](), Counter[str](), dict[str, bool]()
        for (name, source), version in everything.items():
            recipe, size_bytes = recipes[name], version.size_bytes
            may_be_known = size_bytes in answered or sizes[recipe.options, size_bytes] > 1
            key = _key(recipe, source) if may_be_known else None
            if key is None:
                to_pay[name] += 1
            elif key in seen:
                counts["known" if seen[key] else "doubles"] += 1
            else:
                seen[key] = ledger is not None and _has_answer(key, recipes, ledger, spool)
                counts["known"] += seen[key]
                to_pay[name] += not seen[key]
        return cls(+to_pay, counts["known"], counts["doubles"])


def _key(recipe: Recipe, source: bytes) -> str | None:
    """Name what would be asked for a source; None if it cannot be read."""
    try:
        with (recipe.input / os.fsdecode(source)).open("rb") as file:
            is_turned = recipe.upright and inspection.inspect(file.fileno()).orientation != 1
            return content_key_of(disk.content(file.fileno()).digest, recipe, is_upright_copy=is_turned)
    except OSError:
        return None


def _has_answer(key: str, recipes: Mapping[str, Recipe], ledger: Ledger, spool: Path) -> bool:
    """Say if the answer to this very request need not be paid for: it is there still, or its folder is waited for."""
    for job in ledger.answers_for(key):
        if job.state is State.RECEIVED and (spool / key).exists():
            return True
        recipe = recipes.get(job.folder)
        if recipe is None or job.target is None or job.answer_digest is None:
            continue
        try:
            if is_ours(recipe.output, job.target, Content(digest=job.answer_digest, size_bytes=job.answer_bytes)):
                return True
        except disk.DeliveryError:
            return True
        except OSError:
            continue
    return False


# --- what may go now ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reading:
    """What the account said, or why it said nothing."""

    now: datetime
    reading: AccountReading | None = None
    error: RembgError | None = None

    @classmethod
    def of(cls, settings: Settings) -> "_Reading":
        """Read the account, which is free."""
        now = datetime.now(UTC)
        try:
            with build_client(settings) as client:
                return cls(now=now, reading=reading_of(client.account(), read_at=now))
        except RembgError as error:
            return cls(now=now, error=error)

    def spendable(self, settings: Settings) -> Decimal | None:
        """Say how many credits can be spent; None: not known."""
        return None if self.reading is None else max(Decimal(0), self.reading.spendable - settings.credits.reserve)

    def affordable(self, settings: Settings, room: int) -> int:
        """Say how many pictures the account and its daily budget, which leaves *room*, pay for."""
        if self.reading is None:
            return room
        return min(room, affordable(self.reading, settings.credits.per_image, reserve=settings.credits.reserve))


@dataclass(frozen=True, slots=True)
class _Rooms:
    """How many more pictures the daily budgets leave."""

    account: int
    folders: Mapping[str, int]


def _rooms(settings: Settings, ledger: Ledger | None, now: datetime) -> _Rooms:
    midnight = next_day_at(now) - timedelta(days=1)

    def room(budget: Decimal, *folders: str) -> int:
        spent = ledger.spending(since=midnight, folders=folders).booked if ledger and budget > 0 else Decimal(0)
        return budget_room(settings.credits.per_image, budget, spent_today=spent)

    return _Rooms(
        room(settings.credits.daily_budget),
        {folder.name: room(folder.daily_budget, folder.name) for folder in settings.folders},
    )


def _limits(to_pay: Mapping[str, int], rooms: _Rooms, refused: Container[str], goes: int) -> Iterator[str]:
    """Say which budgets and options let no more pictures go."""
    for name, count in to_pay.items():
        if name in refused:
            yield f"{name}: the API does not accept its options"
        elif rooms.folders[name] < count:
            yield f"{name}: its daily budget {_left(rooms.folders[name])} until midnight UTC"
    if rooms.account < goes:
        yield f"credits.daily_budget {_left(rooms.account)} until midnight UTC"


def _left(room: int) -> str:
    return f"leaves room for {room:,}" if room else "is spent"


def _gate(settings: Settings, ledger: Ledger | None, now: datetime) -> Gate:
    """Return the gate as the next start finds it."""
    if ledger is None:
        return Gate()
    gate = gate_from_note(ledger.note(GATE)).restarted(now=now)
    digest = ledger.note(KEY_DIGEST)
    is_other_key = digest is not None and digest != key_digest(settings)
    known = {folder.name for folder in settings.folders}
    gate = replace(gate, folders=tuple(hold for hold in gate.folders if hold.folder in known))
    return gate.resumed(now=now) if is_other_key else gate


def _hold(gate: Gate, account: _Reading, settings: Settings, payable: int, *, is_budget_spent: bool) -> Hold | None:
    """Say what keeps all calls from going, after the reading of the account that comes before any of them."""
    now, recheck_s = account.now, settings.credits.recheck_s
    after, answer = gate, admit(gate, Need(), now=now)
    if isinstance(answer, Go) or (isinstance(answer, Ask) and answer.probe is Probe.ACCOUNT):
        if account.reading is not None:
            read = AccountRead(
                reading=account.reading, room=payable, affordable=payable, is_budget_spent=is_budget_spent
            )
            after = answer.gate.account_read(read, now=now, recheck_s=recheck_s)
        else:
            finding = Finding.KEY if isinstance(account.error, KeyRefusedError) else Finding.TROUBLE
            unread = AccountUnread(finding=finding, text=str(account.error))
            after = answer.gate.account_unread(unread, now=now, recheck_s=recheck_s)
        after = replace(after, canary_at=None)
        answer = admit(after, Need(), now=now)
    return after.holding(answer.cause) if isinstance(answer, Wait | Halt) else None
