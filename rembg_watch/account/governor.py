"""
Where calls wait for their turn: the one place that holds the gate's value and the pacer.

``gate``, ``pacing`` and ``retry`` decide; here clocks are read, threads wait and decisions are put
into force, under one lock. Under it nothing is written, reported, read or called back: notes and
events go out after it (``outbox``), and what a hold asks for (a free reading of the account, a
look at the disk) is done by whoever asked, outside of it.
"""

import math
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from rembg_watch.account.balance import Balance
from rembg_watch.account.causes import Cause, Outcome, Probe
from rembg_watch.account.credits import AccountRead
from rembg_watch.account.gate import Answer, Ask, Gate, Go, Halt, Need, Wait, admit
from rembg_watch.account.holds import CLOCK_SET_BACK, FolderHold, Hold
from rembg_watch.account.notes import GATE, PACE, gate_from_note, gate_to_note, pace_from_note
from rembg_watch.account.outbox import Keep, Outbox
from rembg_watch.account.pauses import Pauses, paused
from rembg_watch.account.retry import Decision, decide
from rembg_watch.account.terms import GetTerms
from rembg_watch.account.throughput import Throughput
from rembg_watch.account.views import gate_changed
from rembg_watch.host.clocks import Clocks
from rembg_watch.jobs import Job
from rembg_watch.report.events import Reporter

_LONGEST_NAP_S = 1.0  # a waiter looks up this often, so that a stuck one can be told from a patient one
_SHORTEST_NAP_S = 0.0005


@dataclass(frozen=True, slots=True)
class Ticket:
    """Leave for one call: what the gate said, and when the pacer let it go."""

    go: Go
    sent_at_s: float  # monotonic


class Governor:
    """Let calls through as gate and pacer allow, and learn from how they end."""

    def __init__(
        self,
        *,
        terms: GetTerms,
        balance: Balance,
        has_room: Callable[[], bool],  # says whether this machine's disk can keep answers
        report: Reporter,
        keep: Keep,
        notes: Mapping[str, object],  # of the last run
        clocks: Clocks | None = None,
    ) -> None:
        self._terms = terms
        self._balance = balance
        self._has_room = has_room
        self._clocks = clocks or Clocks()
        self._outbox = Outbox(keep=keep, report=report)
        self._turn = threading.Lock()  # one waits at the gate, or reads the account; others wait for it
        self._changed = threading.Condition()  # guards everything below, and is notified when the gate changes
        self._seen_at = self._clocks.now()
        self.gate = gate_from_note(notes.get(GATE)).restarted(now=self._seen_at)  # ``_swap`` alone sets it
        self._kept_gate = gate_to_note(self.gate)
        self._throughput = Throughput(self._clocks.monotonic(), pace_from_note(notes.get(PACE)), self._outbox)
        self._is_closed = False

    @property
    def standstill(self) -> Hold | None:
        """The reason that no call gets through, if there is one: the gate's hold, or a pace that refuses every one."""
        with self._changed:
            refused = self._throughput.refused_for_long(self._clocks.now(), self._clocks.monotonic())
            return self.gate.hold or refused

    @property
    def rate_per_s(self) -> float:
        """The pace as it is known now, calls a second."""
        return self._throughput.pacer.rate

    @property
    def call_s(self) -> float | None:
        """How many seconds a call took lately, upload and answer; None: none was made yet."""
        return self._throughput.call_s

    def is_pacing(self) -> bool:
        """Say whether the pace, not the workers, made calls wait lately."""
        with self._changed:
            return self._throughput.pacer.is_limiting(self._clocks.monotonic())

    # --- going in -------------------------------------------------------------------------------

    def enter(self, need: Need, *, beat: Callable[[], None] = lambda: None) -> Ticket | Halt | None:
        """
        Wait until a call may go, and call *beat* now and then, to show that the waiter lives.

        Returns:
            The ticket; or Halt if the wait would be long and the job should go back; or
            None if the governor was closed meanwhile.
        """
        while not self._turn.acquire(timeout=_LONGEST_NAP_S):
            beat()
        try:
            while not self._is_closed:
                beat()
                answer = self._look(need)
                if isinstance(answer, Ticket | Halt):
                    return answer
                if isinstance(answer, Ask):
                    self._run_errand(answer)
            return None
        finally:
            self._turn.release()

    def _look(self, need: Need) -> Ticket | Halt | Ask | None:
        """Ask gate and pacer once; None: neither lets the call go yet, and some of the wait is over."""
        with self._outbox.after(self._changed):
            if self._is_closed:
                return None
            now_s, answer = self._clocks.monotonic(), self._admit(need)
            match answer:
                case Halt() | Ask():
                    return answer
                case Wait():
                    nap_s = (answer.until - self._clocks.now()).total_seconds()
                case Go():
                    nap_s = self._throughput.pacer.try_acquire(now_s)
                    self._throughput.report_refusals(self._clocks.now(), now_s)
                    if nap_s <= 0:
                        self._swap(answer.gate)
                        return Ticket(answer, now_s)
            if not self._outbox.is_waited_for():  # else that is sent first
                self._clocks.nap(self._changed, min(max(nap_s, _SHORTEST_NAP_S), _LONGEST_NAP_S))
            return None

    def ask(self) -> Go | Wait | Halt:
        """Say whether a batch may be formed now; errands that are due are run first."""
        while True:
            with self._outbox.after(self._changed):
                answer = self._admit(Need())
            if not isinstance(answer, Ask):
                return answer
            self._run_errand(answer)

    def _admit(self, need: Need) -> Answer:
        """Ask the gate; after the clock was set back no hold waits for the old time. The caller holds the lock."""
        now = self._clocks.now()
        if now < self._seen_at - CLOCK_SET_BACK:
            self._swap(self.gate.set_back(now=now))
        self._seen_at = now
        answer = admit(self.gate, need, now=now)
        if isinstance(answer, Ask):
            self._swap(answer.gate)
        return answer

    def _run_errand(self, ask: Ask) -> None:
        """Do what the gate asks for, unless it is too late for that."""
        if self._is_closed:
            return
        if ask.probe is Probe.ACCOUNT:
            self.read_account()
            return
        has_room = self._has_room()
        with self._outbox.after(self._changed):
            self._swap(self.gate.disk_seen(has_room=has_room, now=self._clocks.now()))

    # --- the account ----------------------------------------------------------------------------

    def read_account(self) -> int | None:
        """
        Read the account and let the gate know; return how many more pictures may be sent.

        None: it could not be read; why, and until when, is with the gate.
        """
        found, recheck_s = self._balance.read(), self._terms().recheck_s
        with self._outbox.after(self._changed):
            now = self._clocks.now()
            if isinstance(found, AccountRead):
                self._throughput.compared(found.more)
                self._swap(self.gate.account_read(found, now=now, recheck_s=recheck_s))
                return found.room
            jitter = self._clocks.chance()
            self._swap(self.gate.account_unread(found, now=now, recheck_s=recheck_s, jitter=jitter))
            return None

    def take_reading(self, go: Go) -> int:
        """
        Return how many more pictures may be sent, by a reading that no batch was formed on.

        That is a new one, unless a hold had the account read just now. Where it cannot
        be read, one picture is what the gate sends to find out, if it lets one go.
        """
        room = self._balance.take_room()
        if room is None:
            self.read_account()
            room = self._balance.take_room(within_s=math.inf)
        return int(go.is_canary) if room is None else room

    def recount(self) -> None:
        """Have what is left counted anew, once nothing is under way; see ``Balance.recount``."""
        more = self._balance.recount(is_held=self.gate.hold is not None)
        with self._outbox.after(self._changed):
            self._throughput.compared(more)

    # --- coming out -----------------------------------------------------------------------------

    def answered(self, ticket: Ticket) -> None:
        """Learn that a call was not refused: the pace holds. Whether its answer is worth anything comes later."""
        with self._outbox.after(self._changed):
            self._throughput.answered(ticket.sent_at_s, self._clocks.monotonic())

    def accepted(self, ticket: Ticket) -> None:
        """Learn that a call brought the picture that was asked for."""
        with self._outbox.after(self._changed):
            self._swap(self.gate.after(Outcome.ACCEPTED, ticket.go, now=self._clocks.now()))

    def hold_folder(self, folder: str, options: str, *, cause: Cause, text: str) -> bool:
        """Send nothing of a folder until its options change or a person has looked; say whether that is news."""
        with self._outbox.after(self._changed):
            hold = FolderHold(folder=folder, options=options, since=self._clocks.now(), text=text, cause=cause)
            before = self.gate
            self._swap(before.holding_folder(hold))
            return self.gate is not before

    def release_folder(self, folder: str, *causes: Cause) -> bool:
        """Send a folder's pictures again, if one of *causes* was all that held it; say whether that is news."""
        with self._outbox.after(self._changed):
            before = self.gate
            self._swap(before.releasing_folder(folder, *causes))
            return self.gate is not before

    def hold_all(self, cause: Cause, *, text: str) -> bool:
        """Send nothing at all until ``release_all``; say whether that is news."""
        with self._outbox.after(self._changed):
            before = self.gate
            self._swap(before.holding_all(cause, now=self._clocks.now(), text=text))
            return self.gate is not before

    def release_all(self, cause: Cause) -> bool:
        """Take back what ``hold_all`` did; say whether that is news."""
        with self._outbox.after(self._changed):
            before = self.gate
            self._swap(before.releasing_all(cause))
            return self.gate is not before

    def pause(self, pauses: Pauses) -> None:
        """Buy nothing of what a person has paused, and go on with what is not paused any more."""
        with self._outbox.after(self._changed):
            self._swap(paused(self.gate, pauses))

    def unsent(self, ticket: Ticket) -> None:
        """Learn that a call never went out."""
        with self._outbox.after(self._changed):
            self._throughput.pacer.neither(ticket.sent_at_s, self._clocks.monotonic())
            self._swap(self.gate.after(Outcome.UNSENT, ticket.go, now=self._clocks.now()))

    def taken(self, error: Exception) -> Exception:
        """Return what a call ended with as it has to be taken here: a failure may cost a credit where some did."""
        with self._changed:
            return self._throughput.taken(error)

    def failed(
        self, error: Exception, job: Job, ticket: Ticket | None, *, need: Need | None = None, in_place: int = 0
    ) -> Decision:
        """
        Learn what the error of a call, or of the look at its answer, means for all, and say what it means for its job.

        A call of an earlier life has no *ticket*; *need* says whose it was. *in_place* says
        how often the worker tried again with the job in hand.
        """
        policy = self._terms().policy
        with self._outbox.after(self._changed):
            now, now_s, jitter = self._clocks.now(), self._clocks.monotonic(), self._clocks.chance()
            gate = self.gate
            go = ticket.go if ticket else Go(gate=gate, need=need or Need(job=job.id), at=now)
            decision = decide(error, job, policy, gate=gate, go=go, now=now, jitter=jitter, in_place=in_place)
            if ticket is not None:
                self._throughput.failed(error, decision, ticket.sent_at_s, now_s, jitter=jitter)
            self._swap(decision.gate)
            self._throughput.keep_rate(now_s)
            return decision

    def resume(self) -> None:
        """Try every hold at once, and a pace that may be wrong: a person has looked."""
        with self._outbox.after(self._changed):
            self._throughput.pacer = self._throughput.pacer.anew(self._clocks.monotonic())
            self._swap(self.gate.resumed(now=self._clocks.now()))

    def close(self) -> None:
        """Send everybody who waits home; calls in flight are not touched."""
        with self._outbox.after(self._changed):
            self._is_closed = True
            self._changed.notify_all()
            self._throughput.keep()

    def _swap(self, gate: Gate) -> None:
        """Put *gate* into force; have kept what must survive a restart, and reported what changed, after the lock."""
        before, self.gate = self.gate, gate
        if before.holds == gate.holds and before.folders == gate.folders and before.canary_at == gate.canary_at:
            return
        note = gate_to_note(gate)
        if note != self._kept_gate:
            self._kept_gate = note
            self._outbox.keep(GATE, note)
        self._outbox.report(gate_changed(before.hold, gate.hold, now=self._clocks.now()))
        self._changed.notify_all()
