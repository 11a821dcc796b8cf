"""
May a call go now? The gate: why the account stands still, since when, until when, and what tries it next.

A ``Gate`` is a frozen value; every event gives a new one. It knows the holds that last
(``Cause``), not the short-term rate (``pacing``), and does not judge errors (``retry``).

The rules, for whoever keeps the value:

- Before a call ask ``admit``. On ``Go`` and ``Ask`` put the gate that comes with it in place
  of the old one; on ``Wait`` come back then, or when the gate has changed; on ``Halt`` give the
  job back and claim nothing before then, or before the gate has changed.
- ``Go`` is also the ticket of the call: hand it to ``Gate.after`` with what the call came to.
- When a hold is due for a look, exactly one asker gets the errand: a free reading of the account
  (``Ask``) or one real picture, the canary (``Go`` with ``is_canary``). What comes of it ends or
  prolongs the hold; stragglers sent before the hold do neither.
- ``notes`` carries the holds over a restart. A restart inside a hold sends no picture; the account,
  where it can tell more, is read at once (``restarted``).
"""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from rembg_watch.account.causes import CAUSES, REFUSALS, Cause, Outcome, Probe, words
from rembg_watch.account.credits import AccountRead, AccountUnread, next_day_at
from rembg_watch.account.holds import (
    DISK_LOOK_S,
    WHATEVER_OPTIONS,
    FolderHold,
    Hold,
    after_no_reading,
    after_reading,
    after_s,
    by_picture,
    held,
    look_at_disk,
    probe_after_s,
    read_again,
    read_meanwhile,
    rescheduled,
)

PATIENCE_S = 30.0
"""A job waits this long for its turn with its worker; for a longer wait it goes back to the ledger."""

CANARY_LOST_S = 900.0
"""A canary that has not come back for so long is no longer waited for."""

READING_LOST_S = 120.0
"""The same for a reading of the account."""

CIRCUIT_AFTER = 5
"""Failures in a row that open the circuit: from then on one probe at a time."""

_FAR_AT = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """What a call needs to know of itself to be admitted."""

    job: int | None = None  # None: only asking, as before a batch is claimed
    folder: str = ""
    options: str = ""  # the folder's options, in the spelling that ``FolderHold`` has


@dataclass(frozen=True, slots=True, kw_only=True)
class Go:
    """The call may go, as far as the gate is concerned; the pacer is asked next. Keep it for ``Gate.after``."""

    gate: "Gate"
    need: Need
    at: datetime
    is_canary: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """First this errand, which costs nothing: read the account, or look at the disk. Then ask again."""

    gate: "Gate"
    probe: Probe
    hold: Hold


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """Not yet, but soon: ask again then, or when the gate has changed."""

    until: datetime
    reason: str
    cause: Cause


@dataclass(frozen=True, slots=True, kw_only=True)
class Halt:
    """Not for long: the job goes back. Until is the next look at the hold; None: a person must act."""

    until: datetime | None
    reason: str
    cause: Cause


Answer = Go | Ask | Wait | Halt


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """All that keeps calls from going, at one moment. Change it only by its methods and by what ``admit`` returns."""

    holds: tuple[Hold, ...] = ()  # at most one of each cause
    folders: tuple[FolderHold, ...] = ()
    failures: int = 0  # calls that failed in a row, whoever made them
    suspect: int | None = None  # the one job that made all of them; None: several did, or none
    proven: frozenset[int] = frozenset()  # jobs whose last failure was theirs alone: others went well before and after
    accepted_at: datetime | None = None  # when a call last went well
    canary_at: datetime | None = None  # when the canary left that is still out
    reading_at: datetime | None = None  # when a reading of the account, or a look at the disk, was begun

    @property
    def hold(self) -> Hold | None:
        """Return the hold that is expected to last longest, or None when the gate is open."""
        return max(self.holds, key=lambda h: (h.probe_at or _FAR_AT, h.ends_at or _FAR_AT, h.since), default=None)

    def holding(self, cause: Cause) -> Hold | None:
        """Return the hold for *cause*, if there is one."""
        return next((h for h in self.holds if h.cause is cause), None)

    def refusing(self, folder: str, options: str) -> FolderHold | None:
        """Return the hold of a folder, if it is held for these options; a pause only where nothing else holds it."""
        meant = (options, WHATEVER_OPTIONS)
        held = (f for f in self.folders if f.folder == folder and f.options in meant)
        return min(held, key=lambda f: f.cause is Cause.PAUSED, default=None)

    def after(
        self,
        outcome: Outcome,
        go: Go,
        *,
        now: datetime,
        jitter: float = 0.0,
        text: str | None = None,
        is_answered: bool = False,
    ) -> "Gate":
        """
        Return the gate after the call of *go* came to *outcome*, in the words of *text*.

        *jitter*, in [0, 1), spreads the probes of several machines. What failed was an
        answer, such as a 5xx, where *is_answered*, else the way to the API.
        """
        gate = replace(self, canary_at=None) if go.is_canary else self
        if outcome is Outcome.UNSENT:
            return gate
        if outcome is Outcome.DISK:
            return gate._held(look_at_disk(now, text))
        if outcome is Outcome.PARAMETERS:
            gate = gate.holding_folder(FolderHold(folder=go.need.folder, options=go.need.options, since=now, text=text))
        if outcome in (Outcome.TROUBLE, Outcome.DOUBT):
            gate = gate._troubled(outcome, go, now, jitter, text)
            return gate._by_answer(is_answered=is_answered)
        gate = gate._answered(outcome, go, now, jitter)
        if outcome in REFUSALS:
            return gate._refused(REFUSALS[outcome], go, now, jitter, text)
        return gate

    def _by_answer(self, *, is_answered: bool) -> "Gate":
        hold = self.holding(Cause.CIRCUIT)
        return self if hold is None else self._held(replace(hold, is_answered=is_answered))

    def _answered(self, outcome: Outcome, go: Go, now: datetime, jitter: float) -> "Gate":
        """The API answered: it lives, whatever it said."""
        gate = self._blamed(go.need.job) if outcome is not Outcome.UNKNOWN else self
        gate = gate._without(Cause.BACKOFF, Cause.CIRCUIT)
        if outcome is Outcome.ACCEPTED:
            gate = replace(gate, accepted_at=now)
            return gate._without(*(c for c, row in CAUSES.items() if row.is_ended_by_canary)) if go.is_canary else gate
        return gate._again(now, jitter) if go.is_canary and outcome not in REFUSALS else gate

    def _blamed(self, job: int | None) -> "Gate":
        """End a run of failures; if one job made all of it and another ends it, that job is to blame."""
        proven = self.proven - {job} if job is not None else self.proven
        if self.suspect is not None and self.suspect != job:
            proven |= {self.suspect}
        return replace(self, failures=0, suspect=None, proven=proven)

    def forget(self, job: int) -> "Gate":
        """Return the gate without what it knew of *job*, which is over or begins anew."""
        return replace(self, proven=self.proven - {job}) if job in self.proven else self

    def _troubled(self, outcome: Outcome, go: Go, now: datetime, jitter: float, text: str | None) -> "Gate":
        """The service failed: count it, let all wait a moment, and from the fifth in a row on try one by one."""
        sole = self.failures == 0 or self.suspect == go.need.job
        gate = replace(self, failures=self.failures + 1, suspect=go.need.job if sole else None)
        gate = replace(gate, proven=gate.proven - {go.need.job}) if go.need.job is not None else gate
        gate = gate._again(now, jitter, but=Cause.CIRCUIT) if go.is_canary else gate
        old = self.holding(Cause.CIRCUIT)
        if old is not None and not go.is_canary:
            return gate._held(replace(old, refused=old.refused + 1))
        step = old.step + 1 if old is not None else 0
        if gate.failures >= CIRCUIT_AFTER or old is not None:
            wait_s = probe_after_s(Cause.CIRCUIT, step, may_cost=outcome is Outcome.DOUBT) * (1 + 0.1 * jitter)
            hold = held(Cause.CIRCUIT, now, Probe.PICTURE, after_s(now, wait_s), old=old, step=step, text=text)
            return gate._without(Cause.BACKOFF)._held(hold)
        if gate.failures == 1:
            return gate  # one failure alone says little: the others go on
        wait_s = 0.5 * 2 ** (gate.failures - 2) * (1 + jitter)
        return gate._held(held(Cause.BACKOFF, now, Probe.TIME, after_s(now, wait_s), text=text))

    def _refused(self, cause: Cause, go: Go, now: datetime, jitter: float, text: str | None) -> "Gate":
        old = self.holding(cause)
        if old is not None and not go.is_canary:
            return self._held(replace(old, refused=old.refused + 1))  # a straggler, sent before the hold
        step = old.step + 1 if old is not None else 0
        hold = held(cause, now, CAUSES[cause].first_probe or Probe.PICTURE, now, old=old, step=step, text=text)
        gate = self
        if go.is_canary and cause in (Cause.MONTHLY, Cause.EMAIL):
            gate = self._without(Cause.KEY, Cause.DAILY)  # they would have refused it before that
        if hold.probe is Probe.ACCOUNT:
            return gate._held(hold)  # the account is read at once: it is free and says how to go on
        return gate._held(rescheduled(hold, now, jitter))

    def _again(self, now: datetime, jitter: float, *, but: Cause | None = None) -> "Gate":
        """A canary learned nothing about these holds: the same wait once more."""
        return replace(
            self,
            holds=tuple(
                read_meanwhile(rescheduled(h, now, jitter), now)
                if h.probe is Probe.PICTURE and h.cause is not but
                else h
                for h in self.holds
            ),
        )

    def account_read(self, read: AccountRead, *, now: datetime, recheck_s: float) -> "Gate":
        """Return the gate after the account was read; *recheck_s* says when again while nothing can be spent."""
        gate = replace(self, reading_at=None)
        recheck_s = min(recheck_s, IN_FLIGHT_RECHECK_S) if read.in_flight > 0 else recheck_s
        for hold in gate.holds:
            after = after_reading(hold, read.reading, now, recheck_s)
            gate = gate._held(after) if after is not None else gate._without(hold.cause)
        if read.affordable > 0:
            return gate._without(Cause.CREDITS, Cause.BUDGET)
        if read.is_budget_spent:
            day_at = next_day_at(now)
            hold = held(Cause.BUDGET, now, Probe.TIME, day_at, old=gate.holding(Cause.BUDGET), until=day_at)
            return gate._without(Cause.CREDITS)._held(hold)
        return gate._without(Cause.BUDGET)._held(
            read_again(Cause.CREDITS, gate.holding(Cause.CREDITS), read.reading, now, recheck_s)
        )

    def account_unread(self, unread: AccountUnread, *, now: datetime, recheck_s: float, jitter: float = 0.0) -> "Gate":
        """
        Return the gate after the account could not be read.

        A refused key is what the reading was to find out. Any other failure is
        no news: it is read again later, and once the moment has passed at which the
        credits should be back, a canary asks instead. Where nothing was held, the
        service counts as out of reach until it can be read.
        """
        gate = replace(self, reading_at=None)
        if unread.outcome is Outcome.KEY:
            old = gate.holding(Cause.KEY)
            hold = held(Cause.KEY, now, Probe.ACCOUNT, now, old=old, text=unread.text)
            hold = replace(
                hold, is_confirmed=True, step=hold.step + (old is not None and old.is_confirmed and not old.is_extra)
            )
            return gate._without(Cause.DAILY)._held(rescheduled(hold, now, jitter))
        gate = replace(gate, holds=tuple(after_no_reading(h, now, recheck_s) for h in gate.holds))
        return gate._unreachable(now, jitter, unread.text)._by_answer(is_answered=unread.is_answered)

    def _unreachable(self, now: datetime, jitter: float, text: str | None) -> "Gate":
        """No batch goes without a look at the credits: say so, and ask again soon, then more rarely."""
        old = self.holding(Cause.CIRCUIT)
        is_held = any(h.cause not in (Cause.BACKOFF, Cause.CIRCUIT) for h in self.holds)
        if is_held or (old is not None and old.probe is not Probe.ACCOUNT):
            return self  # it is said already why nothing goes, and known when that is looked at
        step = old.step + 1 if old is not None else 0
        hold = held(Cause.CIRCUIT, now, Probe.ACCOUNT, now, old=old, step=step, text=text)
        return self._held(rescheduled(hold, now, jitter))

    def disk_seen(self, *, has_room: bool, now: datetime) -> "Gate":
        """Return the gate after a look at the disk."""
        gate = replace(self, reading_at=None)._without(Cause.DISK)
        if has_room:
            return gate
        old = self.holding(Cause.DISK)
        return gate._held(look_at_disk(now, None) if old is None else replace(old, probe_at=after_s(now, DISK_LOOK_S)))

    def resumed(self, *, now: datetime) -> "Gate":
        """Return the gate after a person has looked (reload, ``retry``): each hold is tried at once."""
        asked = (h for h in self.holds if not CAUSES[h.cause].outlasts_retry)
        asked = (h if h.picture_at is None else by_picture(h, now, is_news=True) for h in asked)
        holds = tuple(
            replace(
                h,
                probe_at=now,
                since=min(h.since, now),
                step=0,
                is_confirmed=h.probe is Probe.ACCOUNT,
                is_extra=h.probe is Probe.ACCOUNT,
            )
            for h in asked
            if h.cause is not Cause.BACKOFF
        )
        folders = tuple(f for f in self.folders if CAUSES[f.cause].outlasts_retry)
        kept = tuple(h for h in self.holds if CAUSES[h.cause].outlasts_retry)
        return replace(
            self, holds=holds + kept, folders=folders, canary_at=None, reading_at=None, failures=0, suspect=None
        )

    def restarted(self, *, now: datetime) -> "Gate":
        """
        Return the gate after a restart: what a free reading of the account can settle is looked at at once.

        Nobody who has bought credits or put another key in its place, and starts
        the program again, should read of the old ones. No picture is sent for it. A
        daily budget may be another one now: the reading before the next batch knows.
        """
        holds = (read_meanwhile(h, now) for h in self.holds if h.cause is not Cause.BUDGET)
        asks = (replace(h, probe_at=now, is_extra=True) if h.probe is Probe.ACCOUNT else h for h in holds)
        return replace(self, holds=tuple(asks))

    def set_back(self, *, now: datetime) -> "Gate":
        """Return the gate after the clock was set back: the moments of its holds mean nothing, so each is due."""
        holds = (
            replace(
                h,
                since=min(h.since, now),
                probe_at=None if h.probe_at is None else min(h.probe_at, now),
                picture_at=None if h.picture_at is None else min(h.picture_at, now),
            )
            for h in self.holds
        )
        return replace(self, holds=tuple(holds), canary_at=None, reading_at=None)

    def holding_all(self, cause: Cause, *, now: datetime, text: str | None) -> "Gate":
        """Return the gate shut for *cause* until that is taken back (``releasing_all``), unless it is already."""
        if self.holding(cause) is not None:
            return self
        return self._held(held(cause, now, Probe.PERSON, None, text=text))

    def releasing_all(self, cause: Cause) -> "Gate":
        """Return the gate without the hold for *cause*."""
        return self._without(cause)

    def _held(self, hold: Hold) -> "Gate":
        others = tuple(h for h in self.holds if h.cause is not hold.cause)
        return replace(self, holds=(*others, hold))

    def _without(self, *causes: Cause) -> "Gate":
        if not any(h.cause in causes for h in self.holds):
            return self
        return replace(self, holds=tuple(h for h in self.holds if h.cause not in causes))

    def holding_folder(self, hold: FolderHold) -> "Gate":
        """Return the gate with a folder held, unless it is already; a pause stands beside any other hold."""
        alike = [
            f
            for f in self.folders
            if f.folder == hold.folder and (f.cause is Cause.PAUSED) is (hold.cause is Cause.PAUSED)
        ]
        if any(f.options in (hold.options, WHATEVER_OPTIONS) for f in alike):
            return self
        return replace(self, folders=(*(f for f in self.folders if f not in alike), hold))

    def releasing_folder(self, folder: str, *causes: Cause) -> "Gate":
        """Return the gate without the hold of a folder, if it is for one of *causes*."""
        if not any(f.folder == folder and f.cause in causes for f in self.folders):
            return self
        kept = tuple(f for f in self.folders if f.folder != folder or f.cause not in causes)
        return replace(self, folders=kept)


IN_FLIGHT_RECHECK_S = 5.0
"""When the account is read again if only calls under way have used it up."""


def admit(gate: Gate, need: Need, *, now: datetime) -> Answer:
    """Say whether a call may go now, and if not, when to ask again."""
    folder = gate.refusing(need.folder, need.options)
    if folder is not None:
        return Halt(until=None, reason=words(CAUSES[folder.cause].pause, folder.text), cause=folder.cause)
    gate = _passed(gate, now)
    shut = [h for h in gate.holds if not h.is_due(now)]
    if shut:
        return _later(max(shut, key=lambda h: h.probe_at or _FAR_AT), now)
    for probe in (Probe.DISK, Probe.ACCOUNT):
        hold = next((h for h in gate.holds if h.probe is probe), None)
        if hold is not None:
            return _errand(hold, gate.reading_at, now) or Ask(
                gate=replace(gate, reading_at=now), probe=probe, hold=hold
            )
    hold = gate.hold
    if hold is None:
        return Go(gate=gate, need=need, at=now)
    return _errand(hold, gate.canary_at, now) or Go(
        gate=replace(gate, canary_at=now), need=need, at=now, is_canary=True
    )


def _passed(gate: Gate, now: datetime) -> Gate:
    """Drop the holds that end by themselves and have."""
    return replace(gate, holds=tuple(h for h in gate.holds if h.probe is not Probe.TIME or not h.is_due(now)))


def _later(hold: Hold, now: datetime) -> Wait | Halt:
    opens_at = hold.picture_at or hold.ends_at  # a job does not wait through one reading after the other
    if hold.probe_at is None or opens_at is None or opens_at - now > timedelta(seconds=PATIENCE_S):
        return Halt(until=hold.probe_at, reason=hold.reason, cause=hold.cause)
    return Wait(until=hold.probe_at, reason=hold.reason, cause=hold.cause)


def _errand(hold: Hold, since: datetime | None, now: datetime) -> Wait | Halt | None:
    """Say how long to wait for an errand that somebody else is on; None: nobody is, or it is lost."""
    lost_s = CANARY_LOST_S if hold.probe is Probe.PICTURE else READING_LOST_S
    if since is None or not timedelta(0) <= now - since < timedelta(seconds=lost_s):
        return None
    if now - since < timedelta(seconds=PATIENCE_S):
        return Wait(until=after_s(since, PATIENCE_S), reason=hold.reason, cause=hold.cause)
    return Halt(until=after_s(since, lost_s), reason=hold.reason, cause=hold.cause)
