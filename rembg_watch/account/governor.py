"""
Where calls wait for their turn: the one place that holds the gate's value and the pacer.

``gate``, ``pacing`` and ``retry`` decide; here clocks are read, threads wait and decisions
are put into force, under one lock. Errands that a hold asks for (a free reading of the
account, a look at the disk) are run by whoever asked, outside the lock.
"""

import copy
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

from rembg_watch.account.causes import CAUSES
from rembg_watch.account.credits import AccountReading
from rembg_watch.account.gate import Ask, Cause, Finding, Gate, Go, Halt, Hold, Need, Probe, Wait, admit
from rembg_watch.account.holds import CLOCK_SLACK
from rembg_watch.account.notes import GATE, PACE, Pace, gate_from_note, gate_to_note, pace_from_note, pace_to_note
from rembg_watch.account.pacing import Pacer
from rembg_watch.account.retry import Decision, RetryPolicy, decide
from rembg_watch.account.terms import GetTerms
from rembg_watch.account.views import opened_after, shut_by
from rembg_watch.api.errors import BadAnswerError, Charge, RefusedError, ServerError, ThrottledError
from rembg_watch.host.clocks import Clocks
from rembg_watch.jobs import Job
from rembg_watch.report.events import BRIEF_S, LONG_S, FailuresCost, GateOpened, RateLearned, Reporter

_LONGEST_NAP_S = 1.0  # a waiter looks up this often, so that a stuck one can be told from a patient one
_RATE_NEWS = 1.25  # a learned rate is told and kept when it has changed by so much
_RATE_KEPT_S = 10.0
_NEW_CALL = 0.05  # the weight of the last call in how long calls take

Errand = Callable[[], object]
Keep = Callable[[str, Mapping[str, object]], None]


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
        report: Reporter,
        keep: Keep,
        notes: Mapping[str, object],
        clocks: Clocks | None = None,
    ) -> None:
        self._terms = terms
        self._report = report
        self._keep = keep
        self._clocks = clocks or Clocks()
        self._changed = threading.Condition()
        self._turn = threading.Lock()  # one waits for the pacer; the others wait for that one
        self._seen_at = self._clocks.now()
        self._gate = gate_from_note(notes.get(GATE)).restarted(now=self._seen_at)
        pace = pace_from_note(notes.get(PACE))
        self._pacer = Pacer(self._clocks.monotonic(), pace.learned)
        self._call_s = pace.call_s
        self._failures_cost = pace.failures_cost
        self._failures = 0  # of the server, since the account was last held against the books
        self._kept_gate = gate_to_note(self._gate)
        self._told_rate: float | None = self._pacer.good
        self._rate_kept_s = self._clocks.monotonic()
        self._refusal = ""  # the API's words for "too quickly"
        self._told_shut_s: float | None = None  # how long it had been refusing when that was told
        self._errands: dict[Probe, Errand] = {}
        self._is_closed = False

    def on_errand(self, probe: Probe, errand: Errand) -> None:
        """Say who runs an errand; it must end in ``account_read``, ``account_unread`` or ``disk_seen``."""
        self._errands[probe] = errand

    @property
    def policy(self) -> RetryPolicy:
        """What the configuration says about trying again, at this moment."""
        return self._terms().policy

    @property
    def gate(self) -> Gate:
        """The gate as it stands."""
        return self._gate

    @property
    def hold(self) -> Hold | None:
        """The reason that nothing goes, if there is one: the gate's, or that every call is refused as too quick."""
        with self._changed:
            return self._gate.hold or self._refused_for_long()

    def _refused_for_long(self) -> Hold | None:
        now_s = self._clocks.monotonic()
        shut = self._pacer.shut(now_s)
        if shut is None or now_s - shut.since < BRIEF_S:
            return None
        now = self._clocks.now()
        since, until = (now + timedelta(seconds=at_s - now_s) for at_s in shut)
        return Hold(cause=Cause.RATE, since=since, probe=Probe.PICTURE, probe_at=until, text=self._refusal)

    @property
    def rate_per_s(self) -> float:
        """The pace as it is known now, calls a second."""
        return self._pacer.rate

    @property
    def call_s(self) -> float | None:
        """How many seconds a call took lately, upload and answer; None: none was made yet."""
        return self._call_s

    def is_pacing(self) -> bool:
        """Say whether the pace, not the workers, made calls wait lately."""
        with self._changed:
            return self._pacer.is_limiting(self._clocks.monotonic())

    # --- going in -------------------------------------------------------------------------------

    def enter(self, need: Need, *, beat: Callable[[], None] = lambda: None) -> Ticket | Halt | None:
        """
        Wait until a call may go.

        Args:
            need: Whose call it is.
            beat: Is called now and then while waiting, to show that the waiter lives.

        Returns:
            The ticket; or Halt if the wait would be long and the job should go back; or
            None if the governor was closed meanwhile.
        """
        while not self._turn.acquire(timeout=_LONGEST_NAP_S):
            beat()
        try:
            while True:
                beat()
                with self._changed:
                    answer = self._try(need, beat)
                if not isinstance(answer, Ask):
                    return answer
                if self._run(answer) is False:
                    return None
        finally:
            self._turn.release()

    def _try(self, need: Need, beat: Callable[[], None]) -> Ticket | Halt | Ask | None:
        """Ask gate and pacer, and nap between; the caller holds the lock."""
        while not self._is_closed:
            beat()
            answer = self._admit(need)
            match answer:
                case Halt():
                    return answer
                case Ask():
                    self._swap(answer.gate)
                    return answer
                case Wait():
                    nap_s = (answer.until - self._clocks.now()).total_seconds()
                case Go():
                    now_s = self._clocks.monotonic()
                    nap_s = self._pacer.try_acquire(now_s)
                    self._tell_refusals()
                    if nap_s <= 0:
                        self._swap(answer.gate)
                        return Ticket(answer, now_s)
            self._clocks.nap(self._changed, min(max(nap_s, 0.0005), _LONGEST_NAP_S))
        return None

    def ask(self) -> Go | Wait | Halt:
        """Say whether a batch may be formed now; errands that are due are run first."""
        while True:
            with self._changed:
                answer = self._admit(Need())
                if isinstance(answer, Ask):
                    self._swap(answer.gate)
            if not isinstance(answer, Ask):
                return answer
            self._run(answer)

    def _admit(self, need: Need) -> Go | Wait | Halt | Ask:
        """Ask the gate; after the clock was set back no hold waits for the old time. The caller holds the lock."""
        now = self._clocks.now()
        if now < self._seen_at - CLOCK_SLACK:
            self._swap(self._gate.set_back(now=now))
        self._seen_at = now
        return admit(self._gate, need, now=now)

    def _run(self, ask: Ask) -> bool:
        if self._is_closed:
            return False
        self._errands[ask.probe]()
        return True

    # --- coming out -----------------------------------------------------------------------------

    def answered(self, ticket: Ticket) -> None:
        """Learn that a call was not refused: the pace holds. Whether its answer is worth anything comes later."""
        with self._changed:
            now_s = self._clocks.monotonic()
            self._pacer.accepted(ticket.sent_at_s, now_s)
            took_s = now_s - ticket.sent_at_s
            is_first, before_s = self._call_s is None, self._call_s or took_s
            self._call_s = before_s + _NEW_CALL * (took_s - before_s)
            self._keep_rate(now_s, is_news=is_first)

    def accepted(self, ticket: Ticket) -> None:
        """Learn that a call brought the picture that was asked for."""
        with self._changed:
            self._swap(self._gate.after(Finding.ACCEPTED, ticket.go, now=self._clocks.now()))

    def unsent(self, ticket: Ticket) -> None:
        """Learn that a call never went out."""
        with self._changed:
            self._pacer.neither(ticket.sent_at_s, self._clocks.monotonic())
            self._swap(self._gate.after(Finding.UNSENT, ticket.go, now=self._clocks.now()))

    def taken(self, error: Exception) -> Exception:
        """Return what a call ended with as it has to be taken here: a failure may cost a credit where some did."""
        if not isinstance(error, ServerError):
            return error
        with self._changed:
            self._failures += 1
            may_cost = self._failures_cost and error.charge is Charge.NO
        if may_cost:
            error = copy.copy(error)
            error.charge = Charge.MAYBE
        return error

    def compared(self, more: Decimal) -> None:
        """Learn how many credits more the account has counted, at rest, than those surely taken."""
        with self._changed:
            failures, self._failures = self._failures, 0
            cost = more > 0 if failures else self._failures_cost
            is_news, self._failures_cost = cost and not self._failures_cost, cost
        if is_news:
            self._report(FailuresCost(failures=failures, credits=more))

    def failed(
        self, error: Exception, job: Job, ticket: Ticket | None, *, need: Need | None = None, in_place: int = 0
    ) -> Decision:
        """
        Learn what a call's error means for all, and say what it means for its job.

        Args:
            error: What the call, or the look at its answer, ended with.
            job: As the ledger has it.
            ticket: The call's; None if it was made in an earlier life.
            need: Whose call it was, where there is no ticket.
            in_place: How often the worker tried again with the job in hand.
        """
        with self._changed:
            now_s, jitter = self._clocks.monotonic(), self._clocks.chance()
            go = ticket.go if ticket else Go(gate=self._gate, need=need or Need(job=job.id), at=self._clocks.now())
            decision = decide(
                error,
                job,
                self.policy,
                gate=self._gate,
                go=go,
                now=self._clocks.now(),
                jitter=jitter,
                in_place=in_place,
            )
            if decision.is_rate:
                self._refusal = decision.reason
            if ticket is not None:
                self._pace(error, ticket, is_rate=decision.is_rate, now_s=now_s, jitter=jitter)
            self._swap(decision.gate)
            self._keep_rate(now_s)
            return decision

    def _pace(self, error: Exception, ticket: Ticket, *, is_rate: bool, now_s: float, jitter: float) -> None:
        """Tell the pacer how a call ended; any other refusal than for the pace has passed the limiter."""
        if is_rate:
            advice_s: float | None = getattr(error, "retry_after_s", None)
            self._pacer.refused(ticket.sent_at_s, now_s, retry_after_s=advice_s, jitter=jitter)
        elif isinstance(error, RefusedError) and not isinstance(error, ThrottledError):
            self._pacer.accepted(ticket.sent_at_s, now_s)
        elif not isinstance(error, BadAnswerError):  # that one was answered, and told so, before it was looked at
            self._pacer.neither(ticket.sent_at_s, now_s)

    def account_read(
        self, reading: AccountReading, *, affordable: int, recheck_s: float, is_budget_spent: bool, in_flight: int
    ) -> None:
        """Learn what the account holds."""
        with self._changed:
            self._swap(
                self._gate.told(
                    reading,
                    affordable=affordable,
                    now=self._clocks.now(),
                    recheck_s=recheck_s,
                    is_budget_spent=is_budget_spent,
                    in_flight=in_flight,
                )
            )

    def account_unread(self, finding: Finding, *, recheck_s: float, text: str, is_answered: bool = False) -> None:
        """Learn that the account could not be read."""
        with self._changed:
            jitter = self._clocks.chance()
            now = self._clocks.now()
            self._swap(
                self._gate.untold(
                    finding, now=now, recheck_s=recheck_s, jitter=jitter, text=text, is_answered=is_answered
                )
            )

    def disk_seen(self, *, has_room: bool) -> None:
        """Learn whether answers can be kept."""
        with self._changed:
            self._swap(self._gate.disk_seen(has_room=has_room, now=self._clocks.now()))

    def resume(self) -> None:
        """Try every hold at once, and a pace that may be wrong: a person has looked."""
        with self._changed:
            self._pacer = self._pacer.anew(self._clocks.monotonic())
            self._swap(self._gate.resumed(now=self._clocks.now()))

    def close(self) -> None:
        """Send everybody who waits home; calls in flight are not touched."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        self._keep(PACE, self._note())

    # --- in force -------------------------------------------------------------------------------

    def _swap(self, gate: Gate) -> None:
        """Put *gate* into force, keep what must survive a restart and tell what changed; the caller holds the lock."""
        before, self._gate = self._gate, gate
        if before.holds == gate.holds and before.folders == gate.folders and before.canary_at == gate.canary_at:
            return
        note = gate_to_note(gate)
        if note != self._kept_gate:
            self._kept_gate = note
            self._keep(GATE, note)
        self._tell(before.hold, gate.hold)
        self._changed.notify_all()

    def _tell(self, before: Hold | None, after: Hold | None) -> None:
        if after is not None and (before is None or before.cause is not after.cause or before.until != after.until):
            self._report(shut_by(after))
        elif before is not None and after is None:
            self._report(opened_after(before, now=self._clocks.now()))

    def _tell_refusals(self) -> None:
        """Tell when every call has been refused as too quick for a while, when it lasts, and when it is over."""
        hold, told_s = self._refused_for_long(), self._told_shut_s
        if hold is None:
            if told_s is not None and self._pacer.shut(self._clocks.monotonic()) is None:
                self._told_shut_s = None
                self._report(GateOpened(reason=Cause.RATE.value, shut_s=told_s, pause=CAUSES[Cause.RATE].pause))
            return
        shut_s = (self._clocks.now() - hold.since).total_seconds()
        is_news = told_s is None or told_s < LONG_S <= shut_s
        self._told_shut_s = shut_s
        if is_news:
            self._report(shut_by(hold, shut_s=shut_s))

    def _note(self) -> dict[str, object]:
        pace = Pace(learned=self._pacer.learned, call_s=self._call_s, failures_cost=self._failures_cost)
        return pace_to_note(pace)

    def _keep_rate(self, now_s: float, *, is_news: bool = False) -> None:
        """
        Write the learned pace down now and then: a restart should not learn it by refusals again.

        It is told when it has held, and again when another one has; before the first
        refusal it is but a guess that grows.
        """
        if now_s - self._rate_kept_s < _RATE_KEPT_S and not is_news:
            return
        self._rate_kept_s = now_s
        self._keep(PACE, self._note())
        good, told = self._pacer.good, self._told_rate
        if good is not None and (told is None or not told / _RATE_NEWS < good < told * _RATE_NEWS):
            self._report(RateLearned(rate_per_s=good, previous_per_s=told))
            self._told_rate = good
