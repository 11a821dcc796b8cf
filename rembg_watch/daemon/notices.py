"""
What there is to tell people: troubles as they stand, pictures as the ledger has them, and a thread that tells.

The ledger is the truth here, too: an event only says that it is worth a look. So a crash between an event and
its notice loses nothing, and what goes on over a restart is told once.
"""

import os
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path

from rembg_watch.account.causes import CAUSES, Cause
from rembg_watch.account.holds import Hold
from rembg_watch.account.views import shut_by
from rembg_watch.config.telling import NotifySettings
from rembg_watch.daemon.assembly import Parts
from rembg_watch.daemon.verdict import Health, of_pause
from rembg_watch.errors import LedgerError
from rembg_watch.jobs import REJECTED, Job, State
from rembg_watch.ledger import Which
from rembg_watch.notify import rules
from rembg_watch.notify.outbox import NoticeBox
from rembg_watch.notify.ping import Ping
from rembg_watch.notify.rules import LASTS_S
from rembg_watch.notify.sending import Sender, SenderError
from rembg_watch.notify.urls import place
from rembg_watch.notify.values import Day, Notice, Policy, Shoot, Told, Trouble, Urgency
from rembg_watch.paths import shoot_of
from rembg_watch.report import events
from rembg_watch.report.events import Event
from rembg_watch.report.status import Snapshot, moment
from rembg_watch.report.words import local_text, other_use_text, show

TURN_S = 1.0
_AFTER_MISTAKE_S = 60.0
_LATELY = timedelta(days=7)

_LIVE = frozenset({State.QUEUED, State.SENDING, State.RECEIVED})
_WRONG = frozenset({State.FAILED, State.IN_DOUBT})


def policy_of(settings: NotifySettings) -> Policy:
    """Say what the settings mean for the rules."""
    return Policy(
        group_s=settings.group_s,
        per_hour=settings.per_hour,
        quiet=settings.quiet_hours(),
        digest=settings.digest_at(),
        host=socket.gethostname(),
    )


class Notices:
    """Tells people; whatever becomes of that, the pictures go on."""

    def __init__(self, parts: Parts, settings: NotifySettings, *, snapshot: Callable[[], Snapshot]) -> None:
        self._parts = parts
        self._snapshot = snapshot
        self._raised: dict[str, Trouble] = {}  # what events alone tell of; each act on it is atomic
        self._is_due = True  # something happened to pictures, or a start: look what became of them
        self._looked_at: datetime | None = None
        self._ping: Ping | None = None
        self._box: NoticeBox | None = None  # of the thread alone
        self._stopping = threading.Event()
        self._is_last = False
        self._thread: threading.Thread | None = None
        self._set(settings)

    def _set(self, settings: NotifySettings) -> None:
        self._policy = policy_of(settings)
        self._path = place(settings.urls_file, os.environ)

    def begin(self, settings: NotifySettings) -> None:
        """Tell by these settings from now on."""
        self._set(settings)
        if self._ping is not None:
            self._ping.stop()
            self._ping = None
        if settings.ping_url is not None:
            url, parts = settings.ping_url.get_secret_value(), self._parts
            self._ping = Ping(url, every_s=settings.ping_s, is_well=parts.heartbeat.is_well, report=parts.ports.report)
            self._ping.start()
        if self._path is not None and self._thread is None:
            self._thread = threading.Thread(target=self._run, name="notices", daemon=True)
            self._thread.start()

    def hear(self, event: Event) -> None:
        """Note what is worth a look; quick, from any thread."""
        match event:
            case events.Stuck():
                self._raise(f"stuck {event.part}", event)
            case events.Unstuck():
                self._raised.pop(f"stuck {event.part}", None)
            case events.ReloadRefused():
                self._raise("reload", event)
            case events.Reloaded():
                self._raised.pop("reload", None)
            case events.Failed() | events.InDoubt() | events.AnswerHeld() | events.ReviewAwaited():
                self._is_due = True
            case events.Delivered() | events.Reused() if event.finding is not None:
                self._is_due = True

    def _raise(self, key: str, event: Event) -> None:
        now, text = self._parts.ports.now(), _sentence(event.sentence(local_text))
        what = text.partition(";")[0].partition(",")[0]
        self._raised[key] = Trouble(key=key, what=what, text=text, urgency=Urgency.PERSON, since=now)

    def finish(self, *, within_s: float, is_last: bool) -> None:
        """
        End the ping and the thread, with a last look at what is pending.

        *is_last*: nobody looks again soon, as after ``once``, so that what can be told is told.
        """
        if self._ping is not None:
            self._ping.stop()
        self._is_last = is_last
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(within_s)

    # --- the thread -----------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._stopping.wait(TURN_S):
            self._turn_safely()
        self._turn_safely()

    def _turn_safely(self) -> None:
        try:
            self.turn()
        except LedgerError:
            return  # the feeder tells of it
        except Exception as error:  # noqa: BLE001 - a mistake in a notice is not the pictures' concern
            self._parts.ports.report(events.Mistake(where="notices", error=error))
            self._stopping.wait(_AFTER_MISTAKE_S)

    def turn(self) -> None:
        """
        Decide what is to be told now, and have it sent; in the thread, once a second.

        Raises:
            LedgerError: It cannot be read.
        """
        now = self._parts.ports.now()
        if self._box is None:
            self._box = NoticeBox(self._parts.ledger, self._parts.metrics.read().since)
        told, policy, is_ending = self._box.told, self._policy, self._stopping.is_set()
        if (not is_ending or self._is_last) and (snapshot := self._snapshot()):
            told = self._decided(told, snapshot, now, policy)
        told, notices = rules.to_send(told, now=now, policy=policy)
        self._box.keep(told)
        if notices and self._path is not None:
            self._send(self._box, notices, self._path)

    def _decided(self, told: Told, snapshot: Snapshot, now: datetime, policy: Policy) -> Told:
        told = rules.with_troubles(told, self._troubles(snapshot, now), now=now, policy=policy)
        if rules.is_digest_due(told, now=now, policy=policy):
            told = rules.with_digest(told, self._day(told.digest_at, snapshot), now=now, policy=policy)
        if self._is_last or (self._is_due and self._is_time(now, policy)):
            self._is_due, self._looked_at = False, now
            shoots = list(self._shoots(told))
            told = rules.with_shoots(told, shoots, now=now, policy=policy, is_last=self._is_last)
            told = rules.seen(told, shoots, now=now)
            if not all(_is_told(one, told) for one in shoots):
                self._is_due = True
        return told

    def _is_time(self, now: datetime, policy: Policy) -> bool:
        """Say whether it is long enough since the last look at pictures, which reads the ledger."""
        return self._looked_at is None or not 0 <= (now - self._looked_at).total_seconds() < policy.group_s

    def _send(self, box: NoticeBox, notices: Iterable[Notice], path: Path) -> None:
        """Send them one after the other; of each is known where it arrived before the next one goes."""
        report = self._parts.ports.report
        try:
            with Sender(path) as sender:
                for notice in notices:
                    self._send_one(box, sender, notice)
        except SenderError as error:
            report(events.NoticesNotSent(why=str(error)))
            pending = {one.number for one in box.told.pending}
            for notice in notices:
                if notice.number in pending:  # the others have arrived
                    self._tried(box, notice, ())

    def _send_one(self, box: NoticeBox, sender: Sender, notice: Notice) -> None:
        report, now = self._parts.ports.report, self._parts.ports.now
        ways, why = [], ""
        for way in sender.send(notice):
            ways.append(way.url)
            if way.why is None:
                box.keep(rules.arrived(box.told, notice.number, way.url, now=now()))
            else:
                why = why or f"{way.shown}: {way.why}"
        if self._tried(box, notice, ways):
            report(events.NoticeSent(title=notice.title))
            report(events.NoticesSent())
        else:
            report(events.NoticesNotSent(why=why))

    def _tried(self, box: NoticeBox, notice: Notice, ways: Iterable[str]) -> bool:
        """Note that a notice was sent these ways; return whether it has arrived by all of them."""
        told, has_arrived = rules.tried(box.told, notice.number, ways, now=self._parts.ports.now())
        box.keep(told)
        if has_arrived is None:
            self._parts.ports.report(events.NoticeGivenUp(title=notice.title))
        return bool(has_arrived)

    # --- troubles -------------------------------------------------------------------------------

    def _troubles(self, snapshot: Snapshot, now: datetime) -> Iterator[Trouble]:
        governor = self._parts.governor
        standstill = governor.standstill
        holds = {one.cause: one for one in (*governor.gate.holds, *([standstill] if standstill else []))}
        yield from self._raised.copy().values()
        yield from {one.key: one for one in map(of_hold, holds.values()) if one is not None}.values()
        in_use = {one.folder for one in governor.gate.folders if one.cause is Cause.TAKEN}
        for folder in snapshot.get("folders", ()):
            if (trouble := of_folder(folder, now, is_in_use=folder["name"] in in_use)) is not None:
                yield trouble

    # --- pictures -------------------------------------------------------------------------------

    def _shoots(self, told: Told) -> Iterator[Shoot]:
        """Say what went wrong since it was told last, shoot by shoot."""
        found: dict[str, _Sum] = {}
        for job, at in self._wrong(told.pictures_until):
            name = self._shoot_name(job)
            mark = told.shoots.get(name)
            if at > told.pictures_until and (mark is None or at > mark.until):
                found.setdefault(name, _Sum()).add(job, at)
        live = self._live(found)
        for name, one in found.items():
            yield replace(one.shoot(name), is_live=name in live)

    def _wrong(self, since: datetime) -> Iterator[tuple[Job, datetime]]:
        """Yield what a person should know of, and since when it is so."""
        ledger = self._parts.ledger
        for job in ledger.jobs(Which(states=_WRONG, since=since)):
            if job.code != REJECTED:
                yield job, job.changed_at
        for job in ledger.jobs(Which(states=frozenset({State.HELD}), has_surprise=True, since=since)):
            yield job, job.changed_at
        for job in ledger.jobs(Which(states=frozenset({State.DONE}), is_odd=True, since=since)):
            if job.delivered_at is not None and not job.is_accepted:
                yield job, job.delivered_at

    def _shoot_name(self, job: Job) -> str:
        recipe = self._parts.ports.in_force.plan.recipes.get(job.folder)
        shoot = shoot_of(job.source, 1 if recipe is None else recipe.shoot_depth)
        return f"{job.folder}/{show(shoot)}" if shoot else job.folder

    def _live(self, names: Mapping[str, object]) -> set[str]:
        """Return those of the shoots of which something is still in line."""
        found: set[str] = set()
        if not names:
            return found
        for job in self._parts.ledger.jobs(Which(states=_LIVE)):
            if (name := self._shoot_name(job)) in names:
                found.add(name)
            if len(found) == len(names):
                break
        return found

    def _day(self, since: datetime, snapshot: Snapshot) -> Day:
        ledger, now = self._parts.ledger, self._parts.ports.now()
        wrong = _Sum()
        for job, at in self._wrong(since):
            if at > since:
                wrong.add(job, at)
        spent, lately = ledger.spending(since=since), ledger.spending(since=now - _LATELY)
        use = self._parts.balance.other_use
        return Day(
            since=since,
            delivered=ledger.finished(since)[State.DONE],
            failed=wrong.counts["failed"],
            odd=wrong.counts["odd"],
            in_doubt=wrong.counts["in_doubt"],
            held=wrong.counts["held"],
            waiting=sum(snapshot["jobs"][state.value] for state in _LIVE),
            reasons=wrong.reasons,
            charged=spent.charged,
            doubtful=spent.doubtful,
            spendable=self._parts.balance.left(),
            per_day=lately.booked / Decimal(_LATELY.days),
            other_use=other_use_text(use.by_app, use.more, use.fewer, counts="this ledger") if use else "",
        )


# --- what is wrong, in words ----------------------------------------------------------------------


def of_hold(hold: Hold) -> Trouble | None:
    """Say what a pause of everything means to people; None: it is none of their concern."""
    row = CAUSES[hold.cause]
    health = of_pause(row)
    if health is Health.OK or hold.cause is Cause.PAUSED or row.is_of_folder:
        return None
    is_known_to_end = hold.cause is Cause.MONTHLY and hold.until is not None
    needs_person = health is Health.CRITICAL and not is_known_to_end
    return Trouble(
        key="gate credits" if row.is_about_credits and row.needs_person else f"gate {hold.cause.value}",
        what=_capitalized(hold.pause.what),
        text=_sentence(shut_by(hold).sentence(local_text)),
        urgency=Urgency.PERSON if needs_person else Urgency.PASSING,
        since=hold.since,
        lasts_s=0.0 if needs_person else LASTS_S,
    )


_FOLDERS: Mapping[str, tuple[Urgency, float]] = {
    "held": (Urgency.PERSON, 0.0),
    "offline": (Urgency.PERSON, LASTS_S),
    "blocked": (Urgency.PERSON, LASTS_S),
    "hung": (Urgency.PERSON, LASTS_S),
    "spent": (Urgency.PASSING, LASTS_S),
}


def of_folder(folder: Mapping[str, str | None], now: datetime, *, is_in_use: bool) -> Trouble | None:
    """Say what the state of a folder, as ``status`` shows it, means to people; None: it is none of their concern."""
    state, name = folder["state"] or "", folder["name"]
    if state not in _FOLDERS:
        return None
    urgency, lasts_s = (Urgency.PASSING, LASTS_S) if is_in_use else _FOLDERS[state]
    why = folder.get("why") or f"{folder['input']} is not there; it is waited for"
    return Trouble(
        key=f"folder {name} {state}",
        what=f"Folder {name}: {why}".rstrip("."),
        text=_sentence(f"folder {name}: {why}"),
        urgency=urgency,
        since=moment(folder.get("since")) or now,
        lasts_s=lasts_s,
    )


def _sentence(words: str) -> str:
    return _capitalized(words).rstrip(".") + "."


def _capitalized(words: str) -> str:
    return f"{words[:1].upper()}{words[1:]}"


def _is_told(shoot: Shoot, told: Told) -> bool:
    mark = told.shoots.get(shoot.name)
    return shoot.last_at <= told.pictures_until or (mark is not None and shoot.last_at <= mark.until)


@dataclass
class _Sum:
    """What went wrong, summed up."""

    counts: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    last_at: datetime | None = None

    def add(self, job: Job, at: datetime) -> None:
        """Count a picture."""
        kind = "odd" if job.state is State.DONE else job.state.value
        self.counts[kind] += 1
        if job.state is State.FAILED:
            self.reasons[job.reason or job.code or "no reason is known"] += 1
        self.last_at = at if self.last_at is None else max(at, self.last_at)

    def shoot(self, name: str) -> Shoot:
        """Return it as a value."""
        assert self.last_at is not None
        counts = self.counts
        return Shoot(
            name=name,
            failed=counts["failed"],
            in_doubt=counts["in_doubt"],
            held=counts["held"],
            odd=counts["odd"],
            reasons=dict(self.reasons),
            last_at=self.last_at,
        )
