"""
What ``once --dry-run`` says: pictures, bytes, credits, what would wait, and an honest time.

It writes nothing and pays nothing. Whatever the run decides, the run's own parts decide here too,
on the ledger as it stands.
"""

import os
import time
from collections import Counter
from collections.abc import Container, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from rembg_watch.account.balance import Balance
from rembg_watch.account.causes import CAUSES, words
from rembg_watch.account.gate import Gate, Go
from rembg_watch.account.governor import Governor
from rembg_watch.account.holds import Hold
from rembg_watch.account.notes import GATE, PACE, PAUSES, RESUME, pace_from_note, pauses_from_note
from rembg_watch.config import Settings
from rembg_watch.daemon import first_look, leftovers
from rembg_watch.daemon.assembly import build_client, pace_of, plan_of
from rembg_watch.daemon.lacking import Lack, lacks
from rembg_watch.delivery.masters import MASTERS_NAME, Masters
from rembg_watch.delivery.publish import enough_room
from rembg_watch.delivery.roots import Roots, Unwritten
from rembg_watch.delivery.spool import SPOOL_NAME, Spool
from rembg_watch.host.clocks import Clocks
from rembg_watch.host.disk import DeliveryError
from rembg_watch.host.locks import Locks
from rembg_watch.jobs import Job, State, Unsettled, Version
from rembg_watch.ledger import Access, Ledger, NoLedgerError, Turn, Which, open_ledger
from rembg_watch.ledger.values import take_turns
from rembg_watch.passed_over import PassedCounts, PassedOver
from rembg_watch.pipeline import LEAST_ROOM_BYTES, InForce, Plan, Recipe
from rembg_watch.pipeline.feeder import turns_of
from rembg_watch.pipeline.prepare import answers_spooled, answers_standing
from rembg_watch.pipeline.source import SourceError, is_there, measure
from rembg_watch.pipeline.values import content_key, older_key, picture_key
from rembg_watch.report.events import nobody
from rembg_watch.watch import Watcher

if TYPE_CHECKING:
    import httpx

_CALL_S = 3.0  # a guess, until calls were made

Source = tuple[str, bytes]
"""A picture by its folder's name and its path there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What a run of ``once`` would do."""

    pictures: int
    known: int  # of them, those whose answer was paid for before
    doubles: int  # of them, the same bytes with the same options as another one: not paid
    made_otherwise: Mapping[str, int]  # by folder: what was delivered with other options, and stays as it is
    lacking: tuple[Lack, ...]  # deliverables that delivered pictures lack, which ``deliver`` makes
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
    passed_over: Mapping[str, PassedCounts]  # by folder: what is knowingly not sent
    rejected: tuple[tuple[str, bytes, str], ...]
    unsettled_files: tuple[tuple[str, bytes, str], ...]  # the first of them, with what each waits for

    @property
    def time_s(self) -> float:
        """How long it takes at the pace that is known, until what has to wait is all that is left."""
        return self.now / self.per_s

    @property
    def later(self) -> int:
        """How many calls would have to wait."""
        return self.pictures - self.known - self.doubles - self.now


def estimate(
    settings: Settings, *, transport: "httpx.BaseTransport | None" = None, clocks: Clocks | None = None
) -> Estimate:
    """Look at everything that is there now and say what it would take."""
    clocks, spool = clocks or Clocks(), settings.state_dir / SPOOL_NAME
    with ExitStack() as stack:
        plan = plan_of(settings, stack.enter_context(build_client(settings, transport=transport)))
        ledger = _ledger(settings.state_dir, stack)
        terms = InForce(plan).terms
        balance = Balance(terms=terms, ledger=ledger, keep=lambda _name, _note: None, report=nobody, clocks=clocks)
        governor = Governor(
            terms=terms,
            balance=balance,
            has_room=lambda: enough_room(spool, LEAST_ROOM_BYTES, plan.reserve_bytes),
            report=nobody,
            keep=lambda _name, _note: None,
            notes={name: ledger.note(name) for name in (GATE, PACE)},
            clocks=clocks,
        )
        governor.pause(pauses_from_note(ledger.note(PAUSES)))
        if leftovers.has_another_key(ledger, settings):
            governor.resume()
        line = _Line(ledger, _in_line(ledger, plan, leftovers.to_release(plan, governor.gate)))
        roots = _roots(ledger, plan)
        watcher = _walk(settings, line, roots)
        away, listing = watcher.away, watcher.listing()
        line.drop_vanished(plan, away)
        away |= {name for name, recipe in plan.recipes.items() if roots.why_away(recipe.output)}
        if ledger.note(RESUME) is not None:
            governor.resume()
        payable, hold = _payable(governor)
        if balance.room is None and balance.refusal is None:
            balance.read()  # the hold has no use for it; a person has
        contents = _Contents.of(line.versions, plan, ledger, spool, Masters(settings.state_dir / MASTERS_NAME))

        def room(recipe: Recipe) -> int | None:
            return balance.folder_room(recipe.name, recipe.daily_budget)

        kept = {**dict.fromkeys(away, "its folder is not there"), **_taken(settings)}
        is_set_back = bool(leftovers.calls_forgotten(ledger, settings.state_dir))
        kept |= _waits(ledger, plan, line.versions, kept, is_set_back=is_set_back)
        kept = {**_held(plan, governor.gate), **kept}
        turns = tuple(turns_of(plan, governor.gate, shut=kept, room=room))
        day_room = balance.day_room(plan.terms)
        is_learned = pace_from_note(ledger.note(PACE)).learned is not None
        lacking = tuple(lacks(settings, ledger))
        otherwise = {one.name: ledger.made_otherwise(one.name, one.options_digest) for one in plan.recipes.values()}
    goes, waiting = contents.sent(turns)
    reading = None if balance.refusal else balance.reading
    return Estimate(
        pictures=len(contents.keys),
        known=contents.known,
        doubles=len(contents.keys) - contents.known - len(contents.to_pay),
        made_otherwise={name: count for name, count in otherwise.items() if count},
        lacking=lacking,
        now=min(goes, payable),
        limits=tuple(_limits(waiting, turns, kept, day_room, goes)),
        hold=hold,
        size_bytes=sum(version.size_bytes for version in line.versions.values()),
        credits=plan.terms.price * len(contents.to_pay),
        spendable=None if reading is None else max(Decimal(0), reading.spendable - plan.terms.reserve),
        account_trouble=str(balance.refusal) if balance.refusal else None,
        per_s=min(governor.rate_per_s, settings.pool.workers / (governor.call_s or _CALL_S)),
        is_learned=is_learned,
        unsettled=watcher.unsettled,
        passed_over=watcher.passed_over,
        rejected=tuple(line.rejected),
        unsettled_files=tuple((folder, one.source, one.reason) for folder, items in listing.items() for one in items),
    )


def _ledger(state_dir: Path, stack: ExitStack) -> Ledger:
    try:
        return stack.enter_context(open_ledger(state_dir, Access.READ))
    except NoLedgerError:
        return stack.enter_context(open_ledger(Path(stack.enter_context(TemporaryDirectory()))))


def _taken(settings: Settings) -> dict[str, str]:
    """Say which folders another daemon watches; the one of this configuration would be waited for."""
    locks, ours = Locks(), Locks.of_state(settings.state_dir)
    holders = {folder.name: locks.holder_of(folder.input) for folder in settings.folders}
    return {name: f"it is watched by {one}" for name, one in holders.items() if one is not None and one.pid != ours}


def _held(plan: Plan, gate: Gate) -> dict[str, str]:
    """Say which folders buy nothing until a person has decided, and why."""
    holds = {name: gate.refusing(name, recipe.options) for name, recipe in plan.recipes.items()}
    return {name: words(CAUSES[one.cause].pause, one.text) for name, one in holds.items() if one is not None}


def _waits(
    ledger: Ledger, plan: Plan, versions: Mapping[Source, Version], kept: Container[str], *, is_set_back: bool
) -> dict[str, str]:
    """Say which new folders would wait for a person, and why."""
    jobs, why = ledger.counts_by_folder(), {}
    for name, recipe in plan.recipes.items():
        if name not in kept and (is_set_back or first_look.is_new(ledger, recipe, jobs.get(name, {}))):
            sources = {source: version for (folder, source), version in versions.items() if folder == name}
            ours = {job.source for job in first_look.in_line(ledger, name) if job.target}
            found = first_look.decide(ledger, plan, recipe, sources, ours=ours)
            why.update({name: found[1]} if found else {})
    return {name: text for name, text in why.items() if not first_look.is_answered(ledger, name)}


def _payable(governor: Governor) -> tuple[int, Hold | None]:
    """Say how many calls gate and account would let go, and what keeps all of them from going."""
    answer = governor.ask()
    if isinstance(answer, Go):
        room = governor.take_reading(answer)
        answer = governor.ask()  # what was read may be against it
        if isinstance(answer, Go):
            return room, None
    return 0, governor.gate.holding(answer.cause)


# --- what is in line ------------------------------------------------------------------------------


def _in_line(ledger: Ledger, plan: Plan, released: Iterable[str]) -> dict[Source, Version]:
    """Return what waits to be sent, or will when the folders are released whose pictures are held."""
    queued = Which(states=frozenset({State.QUEUED}), folders=frozenset(plan.recipes))
    held = Which(states=frozenset({State.HELD}), folders=frozenset(released))
    jobs = [*ledger.jobs(queued), *(ledger.jobs(held) if held.folders else ())]
    jobs.sort(key=lambda job: (job.retry_at or job.enqueued_at, job.id))
    return {(job.folder, job.source): job.version for job in jobs if job.gone_at is None}


@dataclass(frozen=True)
class _Line:
    """What the watch needs of a ledger; what it would write there is only counted."""

    ledger: Ledger
    versions: dict[Source, Version]  # in line, and not sent yet
    seen: dict[Source, Version] = field(default_factory=dict)
    rejected: list[tuple[str, bytes, str]] = field(default_factory=list)

    def known(self, folder: str, parent: bytes) -> Mapping[bytes, Version]:
        seen = {s.rpartition(b"/"): v for (name, s), v in self.seen.items() if name == folder}
        return {**self.ledger.known(folder, parent), **{b: v for (d, _, b), v in seen.items() if d == parent}}

    def parents(self, folder: str) -> list[bytes]:
        return self.ledger.parents(folder)

    def add(self, folder: str, sources: Iterable[tuple[bytes, Version]], at: datetime) -> int:
        del at
        found = dict(sources)
        wanted = self.ledger.wanted(folder, found.items())
        self.gone(folder, found)  # an older version
        self.seen.update(((folder, source), version) for source, version in found.items())
        self.versions.update(((folder, source), found[source]) for source in wanted)
        return len(wanted)

    def reject(self, folder: str, source: bytes, version: Version, at: datetime, *, reason: str, code: str) -> bool:
        del code
        is_new = bool(self.add(folder, [(source, version)], at))
        if is_new:
            del self.versions[folder, source]
            self.rejected.append((folder, source, reason))
        return is_new

    def gone(self, folder: str, sources: Iterable[bytes], at: datetime | None = None) -> int:
        del at
        return sum(self.versions.pop((folder, source), None) is not None for source in sources)

    def drop_vanished(self, plan: Plan, away: Container[str]) -> None:
        """Drop what the watch is not sure to miss: who wants to send it finds out."""
        for folder, source in [one for one in self.versions if one not in self.seen and one[0] not in away]:
            path = plan.recipes[folder].input / os.fsdecode(source)
            if not is_there(path, self.versions[folder, source], root=plan.recipes[folder].input):
                self.gone(folder, [source])

    def set_unsettled(self, folder: str, items: Iterable[Unsettled]) -> bool:
        del folder, items
        return False

    def set_passed_over(self, folder: str, found: PassedOver) -> None:
        del folder, found


def _roots(ledger: Ledger, plan: Plan) -> Roots:
    """Say of folders what the run would: also where a person has said that they are right as they are."""
    roots = Roots(Unwritten(ledger))
    leftovers.trusted_roots(ledger, plan, roots)
    return roots


def _walk(settings: Settings, line: _Line, roots: Roots) -> Watcher:
    """Look until everything has settled that will; return who looked, and knows what has not."""
    pace = replace(pace_of(settings), scan_interval_s=5.0, mode="poll")
    watcher = Watcher([folder.folder() for folder in settings.folders], line, pace, why_away=roots.why_away)
    until = time.monotonic() + 10 * settings.watch.settle_s + 60.0
    while time.monotonic() < until:
        next_s = watcher.tick(time.monotonic())
        if watcher.is_at_rest:
            break
        time.sleep(min(0.2, max(0.0, next_s - time.monotonic())))
    watcher.stop()
    return watcher


# --- what is to be paid ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Contents:
    """What is asked for with each picture, in the order of the line, and what of it was paid for before."""

    keys: Mapping[Source, Hashable]
    paid: frozenset[Hashable]

    @classmethod
    def of(
        cls, line: Mapping[Source, Version], plan: Plan, ledger: Ledger, spool: Path, masters: Masters
    ) -> "_Contents":
        """Look what content comes twice, or was paid for before; only files that allow it are read."""
        answered, spooled = ledger.answered_sizes(), ledger.spool_keys()
        sizes = Counter((plan.recipes[name].options, version.size_bytes) for (name, _), version in line.items())
        folders = {name for name, _ in line}
        among = {name: frozenset(source for folder, source in line if folder == name) for name in folders}
        earlier = {(name, one) for name in folders for one in ledger.answered_sources(name, among[name])}
        keys: dict[Source, Hashable] = {}
        paid: dict[Hashable, bool] = {}
        for source, version in line.items():
            recipe, size_bytes = plan.recipes[source[0]], version.size_bytes
            keys[source] = source
            is_alone = size_bytes not in answered and sizes[recipe.options, size_bytes] == 1
            if is_alone and source not in earlier:
                continue
            found = _content_keys(recipe, source[1], version)
            if found is not None:
                key = keys[source] = found[0]
                if key not in paid:
                    picture = found[2] if source in earlier else None
                    had = ledger.answers_for(*found[:2], of=(recipe.name, source[1]), picture_key=picture)
                    is_spooled = any(one.content_key in spooled for one in had)
                    is_kept = any(masters.is_there(str(one.content_key)) for one in had)
                    paid[key] = is_kept or _is_paid(had, plan, Spool(spool) if is_spooled else None)
        return cls(keys, frozenset(key for key in paid if paid[key]))

    @property
    def known(self) -> int:
        """How many pictures cost nothing, since their answer was paid for before."""
        return sum(key in self.paid for key in self.keys.values())

    @property
    def to_pay(self) -> frozenset[Hashable]:
        """The contents that have to be paid for, sooner or later."""
        return frozenset(self.keys.values()) - self.paid

    def sent(self, turns: Sequence[Turn]) -> tuple[int, Mapping[str, int]]:
        """Say how many calls the folders would make in turn, and how many pictures of each would wait for one."""
        asked, rooms = set(self.paid), {turn.folder: turn.at_most for turn in turns}
        for folder, source in self._in_turn(turns):
            room, key = rooms[folder], self.keys[folder, source]
            if room == 0 or key in asked:
                continue
            asked.add(key)
            rooms[folder] = None if room is None else room - 1
        return len(asked) - len(self.paid), Counter(name for (name, _), key in self.keys.items() if key not in asked)

    def _in_turn(self, turns: Sequence[Turn]) -> Iterator[Source]:
        for _, equal in groupby(sorted(turns, key=lambda turn: -turn.priority), key=lambda turn: turn.priority):
            lines = [[source for source in self.keys if source[0] == turn.folder] for turn in equal]
            yield from take_turns(lines, len(self.keys))


def _content_keys(recipe: Recipe, source: bytes, version: Version) -> tuple[str, str, str] | None:
    """
    Name what would be asked for a source.

    Then how earlier versions of this program named it, and what it shares with versions of its file that differ in
    words alone. None if it cannot be read.
    """
    try:
        picture = recipe.input / os.fsdecode(source)
        with measure(picture, version, root=recipe.input, sends=recipe.sends) as opened:
            return content_key(opened, recipe), older_key(opened, recipe), picture_key(opened, recipe)
    except SourceError:
        return None


def _is_paid(answered: Sequence[Job], plan: Plan, spool: Spool | None) -> bool:
    """Say if the answer to this very request need not be paid for: it is there still, or its folder is waited for."""
    try:
        if spool is not None and any(answers_spooled(answered, spool)):
            return True
        return any(answers_standing(answered, plan.recipes))
    except DeliveryError:
        return True


def _limits(
    waiting: Mapping[str, int], turns: Sequence[Turn], kept: Mapping[str, str], day_room: int, goes: int
) -> Iterator[str]:
    rooms = {turn.folder: turn.at_most for turn in turns}
    for name in waiting:
        if name in rooms:
            yield f"{name}: its daily budget {_left(rooms[name] or 0)} until midnight UTC"
        else:
            yield f"{name}: {kept[name]}"
    if day_room < goes:
        yield f"credits.daily_budget {_left(day_room)} until midnight UTC"


def _left(room: int) -> str:
    return f"leaves room for {room:,}" if room else "is spent"
