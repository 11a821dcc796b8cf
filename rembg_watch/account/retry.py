"""
What an error means: for the job, for the gate and for the pace. One table, one decision.

No other place looks at a status code or an error's class to decide what to do. Here
nothing waits and nothing is stored: a ``Decision`` goes out as a value.

A picture's attempts are used up only by failures that are its own. Whether they are
shows in the calls around it: a failure counts against a picture when no other failed
in that run and another picture's success ended it (``Gate.proven``), so it is counted
when the picture fails again. When the API is down others fail too, or nothing succeeds
at all, and nobody's attempts are touched.
"""

import errno
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from rembg_watch.account.causes import Cause, Outcome
from rembg_watch.account.gate import Gate, Go
from rembg_watch.api.errors import (
    Charge,
    EmailNotVerifiedError,
    InDoubtError,
    InvalidRequestError,
    KeyRefusedError,
    NotSentError,
    ParameterRefusedError,
    PictureRefusedError,
    RefusedError,
    RembgError,
    Scope,
    Throttle,
    ThrottledError,
)
from rembg_watch.jobs import Job, State, move


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """What the configuration says about trying again."""

    max_attempts: int = 5  # failures that are the picture's own
    retries_doubt: bool = True  # False: a call in doubt is never repeated by itself
    max_doubts: int = 1  # repeated calls of one picture that may have been charged already
    first_wait_s: float = 2.0
    longest_wait_s: float = 300.0


class Fate(StrEnum):
    """What becomes of the job."""

    AGAIN = "again"  # it goes back in line as it was
    COUNTED = "counted"  # the same, and the attempt counts if it was the picture's own failure
    OWN = "own"  # the attempt counts: the failure is known to be this job's own
    DOUBT = "doubt"  # maybe charged: repeated once, or put aside
    FAILED = "failed"  # never tried again by itself
    HELD = "held"  # until its folder's options change


NEVER, ALWAYS = 0, 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One row: what a kind of error means."""

    fate: Fate
    outcome: Outcome
    in_place: int = NEVER  # times in a row that the worker keeps the job and tries again
    is_rate: bool = False  # the pacer learns from it


RULES: Final[dict[str, Rule]] = {
    "429 too quickly": Rule(fate=Fate.AGAIN, outcome=Outcome.ANSWERED, in_place=ALWAYS, is_rate=True),
    "429 daily limit": Rule(fate=Fate.AGAIN, outcome=Outcome.DAILY),
    "429 monthly limit": Rule(fate=Fate.AGAIN, outcome=Outcome.MONTHLY),
    "429 in other words": Rule(fate=Fate.AGAIN, outcome=Outcome.UNKNOWN),
    "picture refused": Rule(fate=Fate.FAILED, outcome=Outcome.ANSWERED),
    "parameters refused": Rule(fate=Fate.HELD, outcome=Outcome.PARAMETERS),
    "key refused": Rule(fate=Fate.AGAIN, outcome=Outcome.KEY),
    "e-mail not verified": Rule(fate=Fate.AGAIN, outcome=Outcome.EMAIL),
    "unknown refusal of the account": Rule(fate=Fate.COUNTED, outcome=Outcome.UNKNOWN),
    "unknown refusal of everything": Rule(fate=Fate.COUNTED, outcome=Outcome.TROUBLE),
    "unknown refusal that may pass": Rule(fate=Fate.OWN, outcome=Outcome.ANSWERED),
    "server failed": Rule(fate=Fate.COUNTED, outcome=Outcome.TROUBLE),
    "server failed, maybe charged": Rule(fate=Fate.DOUBT, outcome=Outcome.DOUBT),
    "unreachable": Rule(fate=Fate.COUNTED, outcome=Outcome.TROUBLE, in_place=2),
    "picture refused here": Rule(fate=Fate.FAILED, outcome=Outcome.UNSENT),
    "parameters refused here": Rule(fate=Fate.HELD, outcome=Outcome.PARAMETERS),
    "no usable answer": Rule(fate=Fate.DOUBT, outcome=Outcome.DOUBT),
    "disk full": Rule(fate=Fate.AGAIN, outcome=Outcome.DISK),
    "failed here": Rule(fate=Fate.OWN, outcome=Outcome.UNSENT),
}
"""Every case there is. ``rule_name`` says which row an error belongs to."""

_THROTTLES = {
    Throttle.SHORT_TERM: "429 too quickly",
    Throttle.DAILY: "429 daily limit",
    Throttle.MONTHLY: "429 monthly limit",
    Throttle.UNKNOWN: "429 in other words",
}
_BY_CLASS: tuple[tuple[type[RembgError], str], ...] = (
    (PictureRefusedError, "picture refused"),
    (ParameterRefusedError, "parameters refused"),
    (KeyRefusedError, "key refused"),
    (EmailNotVerifiedError, "e-mail not verified"),
    (InDoubtError, "no usable answer"),
    (NotSentError, "unreachable"),
)
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


def rule_name(error: BaseException) -> str:
    """Say which row of ``RULES`` *error*, of the API or of this machine, belongs to."""
    if isinstance(error, OSError) and error.errno in _FULL:
        return "disk full"
    if not isinstance(error, RembgError):
        return "failed here"
    if isinstance(error, ThrottledError):
        return _THROTTLES[error.throttle]
    if isinstance(error, InvalidRequestError):
        return "parameters refused here" if error.scope is Scope.FOLDER else "picture refused here"
    for kind, name in _BY_CLASS:
        if isinstance(error, kind):
            return name
    if isinstance(error, RefusedError):
        return _unknown_refusal(error)
    return "server failed" if error.charge is Charge.NO else "server failed, maybe charged"


def _unknown_refusal(error: RefusedError) -> str:
    if error.scope is Scope.PICTURE:
        return "unknown refusal that may pass" if error.retryable else "picture refused"
    if error.scope is Scope.FOLDER:
        return "parameters refused"
    return "unknown refusal of the account" if error.scope is Scope.ACCOUNT else "unknown refusal of everything"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What becomes of a job after an error, and the gate that stands from now on."""

    state: State
    gate: Gate
    rule: str
    reason: str
    code: str
    attempts: int
    doubts: int
    retry_at: datetime | None = None
    field: str | None = None
    request_id: str | None = None
    keeps_job: bool = False  # the worker tries again with the job in hand, through the gate
    is_rate: bool = False  # the pacer counts it as refused

    def apply(self, job: Job, *, at: datetime) -> Job:
        """Return *job* as this decision leaves it."""
        changes = {
            "attempts": self.attempts,
            "doubts": self.doubts,
            "retry_at": self.retry_at,
            "reason": self.reason,
            "code": self.code,
            "field": self.field,
            "request_id": self.request_id or job.request_id,
        }
        if self.state is job.state:
            return replace(job, changed_at=at, **changes)  # type: ignore[arg-type]  # names are checked by replace()
        return move(job, self.state, at=at, **changes)


def decide(
    error: Exception,
    job: Job,
    policy: RetryPolicy,
    *,
    gate: Gate,
    go: Go,
    now: datetime,
    jitter: float = 0.0,
    in_place: int = 0,
) -> Decision:
    """
    Say what *error*, of the API or of this machine, means for the job and for the gate.

    *gate* is the one that stands now, not the one in *go*. *jitter* is in [0, 1), and
    *in_place* says how often the worker has already tried again with this job in hand.
    """
    name = rule_name(error)
    rule = RULES[name]
    words = str(error) or type(error).__name__
    is_answered = isinstance(error, RembgError) and error.status is not None
    after = gate.after(rule.outcome, go, now=now, jitter=jitter, text=words, is_answered=is_answered)
    attempts, doubts = _counts(rule, error, job, gate)
    state = _state(rule, job, policy, attempts=attempts, doubts=doubts, is_lone=_is_lone(gate, go))
    if state is State.FAILED and rule.fate is Fate.COUNTED:
        attempts = max(attempts, min(policy.max_attempts, attempts + 1))
    keeps = state is State.QUEUED and in_place < rule.in_place
    return Decision(
        state=state,
        gate=after if state in (State.QUEUED, State.SENDING, State.RECEIVED) else after.forget(job.id),
        rule=name,
        reason=words,
        code=error.code if isinstance(error, RembgError) else name.replace(" ", "_"),
        attempts=attempts,
        doubts=doubts,
        retry_at=None
        if keeps or state not in (State.QUEUED, State.RECEIVED)
        else _retry_at(rule, policy, attempts, after, go, now, jitter),
        field=error.field if isinstance(error, RembgError) else None,
        request_id=error.request_id if isinstance(error, RembgError) else None,
        keeps_job=keeps,
        is_rate=rule.is_rate,
    )


def _counts(rule: Rule, error: Exception, job: Job, gate: Gate) -> tuple[int, int]:
    """Return attempts and doubts of *job* as they are after this error."""
    own = rule.fate is Fate.OWN or (rule.fate in (Fate.COUNTED, Fate.DOUBT) and job.id in gate.proven)
    maybe = isinstance(error, RembgError) and error.charge is not Charge.NO and rule.fate is Fate.DOUBT
    return job.attempts + own, job.doubts + maybe


def _is_lone(gate: Gate, go: Go) -> bool:
    """Say whether others went well while this call was under way and failed, so that the failure is surely its own."""
    is_failing = gate.failures > 0 or gate.holding(Cause.CIRCUIT) is not None
    return not is_failing and gate.accepted_at is not None and gate.accepted_at > go.at


def _state(rule: Rule, job: Job, policy: RetryPolicy, *, attempts: int, doubts: int, is_lone: bool) -> State:
    back = State.RECEIVED if job.state is State.RECEIVED and rule.fate is not Fate.DOUBT else State.QUEUED
    if rule.fate is Fate.FAILED:
        return State.FAILED
    if rule.fate is Fate.HELD:
        return State.HELD
    if rule.fate is Fate.DOUBT:
        return State.QUEUED if policy.retries_doubt and doubts <= policy.max_doubts else State.IN_DOUBT
    spent = attempts + (rule.fate is Fate.COUNTED and is_lone)
    return State.FAILED if rule.fate is not Fate.AGAIN and spent >= policy.max_attempts else back


def _retry_at(
    rule: Rule, policy: RetryPolicy, attempts: int, gate: Gate, go: Go, now: datetime, jitter: float
) -> datetime | None:
    """
    Say when the job may be claimed again; None where only the gate makes it wait.

    A canary that failed comes a second behind the next probe: another picture
    goes first, lest one bad picture keep the circuit open for all.
    """
    if rule.fate is Fate.AGAIN:
        return None
    later = now + timedelta(seconds=backoff_s(attempts, policy, jitter=jitter))
    circuit = gate.holding(Cause.CIRCUIT)
    if circuit is not None and circuit.probe_at is not None and go.is_canary:
        return max(circuit.probe_at + timedelta(seconds=1), min(later, circuit.probe_at))
    return later


def backoff_s(n: int, policy: RetryPolicy, *, jitter: float) -> float:
    """Return the wait after *n* counted failures: doubling, capped, up to half of it taken off by *jitter*."""
    full_s = min(policy.longest_wait_s, policy.first_wait_s * 2 ** min(max(n, 0), 30))
    return float(full_s * (1 - 0.5 * jitter))


def retries_in_place(error: BaseException, tries: int) -> bool:
    """
    Say whether a worker keeps its job and tries again, through the gate.

    Only where surely nothing was charged and the wait is short: a refusal for the
    short-term rate, which waits at the gate and is no attempt, and a way that failed
    before the body had left, twice. *tries* includes the one that ended in *error*.
    """
    return isinstance(error, Exception) and tries <= RULES[rule_name(error)].in_place


def wait_s(error: BaseException, tries: int, *, jitter: float) -> float:
    """Return how long to sleep before the next try in place; gate and pacer come after it."""
    if isinstance(error, ThrottledError):
        return 0.0  # the pacer makes it wait, together with everybody else
    return float(min(4.0, 0.5 * 2 ** min(max(tries - 1, 0), 3)) * (1 - 0.5 * jitter))


MOST_TRIES = 6
LONGEST_PAUSE_S = 60.0
"""A server that asks for a longer pause is not waited for: somebody sits before the screen."""

_WITHOUT_PACER = RetryPolicy(first_wait_s=2.0, longest_wait_s=30.0)


def pause_without_gate_s(error: BaseException, tries: int, *, jitter: float) -> float | None:
    """
    Return how long a single call waits before its next try, with no gate and no pacer around it; None: there is none.

    What is tried again is the same as in place, but not for ever.
    """
    if tries >= MOST_TRIES or not retries_in_place(error, tries):
        return None
    advice_s = error.retry_after_s if isinstance(error, RembgError) else None
    if advice_s is not None:
        return advice_s if advice_s <= LONGEST_PAUSE_S else None
    if RULES[rule_name(error)].is_rate:
        return backoff_s(tries - 1, _WITHOUT_PACER, jitter=jitter)
    return wait_s(error, tries, jitter=jitter)
