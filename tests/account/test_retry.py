import errno
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from rembg_watch.account.causes import Cause, Outcome
from rembg_watch.account.gate import CIRCUIT_AFTER, Gate, Go, Need, admit
from rembg_watch.account.retry import (
    LONGEST_PAUSE_S,
    MOST_TRIES,
    RULES,
    Decision,
    Fate,
    RetryPolicy,
    backoff_s,
    decide,
    pause_without_gate_s,
    retries_in_place,
    rule_name,
    wait_s,
)
from rembg_watch.api.errors import (
    BadAnswerError,
    Charge,
    EmailNotVerifiedError,
    InDoubtError,
    InvalidRequestError,
    KeyRefusedError,
    NoAnswerError,
    NotSentError,
    ParameterRefusedError,
    PictureRefusedError,
    RefusedError,
    RembgError,
    Scope,
    ServerError,
    Throttle,
    ThrottledError,
    UnknownRefusalError,
    UnreachableError,
)
from rembg_watch.api.refusals import classify
from rembg_watch.jobs import Job, State, Version

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
POLICY = RetryPolicy()


def job(state: State = State.SENDING, **more: Any) -> Job:
    facts: dict[str, Any] = {"id": 1, "folder": "a", "source": b"x.jpg", "enqueued_at": NOW, "changed_at": NOW, **more}
    return Job(version=Version(size_bytes=1, mtime_ns=1, inode=1), state=state, **facts)


def ticket(of: int = 1, *, gate: Gate | None = None, at: datetime = NOW) -> Go:
    return Go(gate=gate or Gate(), need=Need(job=of, folder="a", options="o"), at=at)


def decided(error: Exception, subject: Job | None = None, *, gate: Gate | None = None, **more: Any) -> Decision:
    facts: dict[str, Any] = {"policy": POLICY, "go": ticket(), "now": NOW, **more}
    return decide(error, subject or job(), facts.pop("policy"), gate=gate or Gate(), **facts)


def throttled(kind: Throttle) -> ThrottledError:
    return ThrottledError(message="429", throttle=kind)


def down(failures: int = CIRCUIT_AFTER) -> Gate:
    gate = Gate()
    for n in range(failures):
        gate = gate.after(Outcome.TROUBLE, ticket(100 + n), now=NOW)
    return gate


SERVER, GATEWAY = ServerError(message="503", status=503), ServerError(message="504", charge=Charge.MAYBE)

ROWS: list[tuple[str, Exception, str, State, Cause | None]] = [
    ("too quickly", throttled(Throttle.SHORT_TERM), "429 too quickly", State.QUEUED, None),
    ("daily limit", throttled(Throttle.DAILY), "429 daily limit", State.QUEUED, Cause.DAILY),
    ("monthly limit", throttled(Throttle.MONTHLY), "429 monthly limit", State.QUEUED, Cause.MONTHLY),
    ("other 429", throttled(Throttle.UNKNOWN), "429 in other words", State.QUEUED, Cause.UNKNOWN),
    ("a picture", PictureRefusedError(message="empty"), "picture refused", State.FAILED, None),
    ("parameters", ParameterRefusedError(message="angle"), "parameters refused", State.HELD, None),
    ("the key", KeyRefusedError(message="invalid api key"), "key refused", State.QUEUED, Cause.KEY),
    ("the e-mail", EmailNotVerifiedError(message="403"), "e-mail not verified", State.QUEUED, Cause.EMAIL),
    ("a server", SERVER, "server failed", State.QUEUED, None),
    ("a gateway", GATEWAY, "server failed, maybe charged", State.QUEUED, None),
    ("no way", UnreachableError(message="refused"), "unreachable", State.QUEUED, None),
    ("not sent", NotSentError(message="?"), "unreachable", State.QUEUED, None),
    ("no answer", NoAnswerError(message="timeout"), "no usable answer", State.QUEUED, None),
    ("bad answer", BadAnswerError(message="HTML"), "no usable answer", State.QUEUED, None),
    ("in doubt", InDoubtError(message="?"), "no usable answer", State.QUEUED, None),
    ("bad picture", InvalidRequestError(message="empty"), "picture refused here", State.FAILED, None),
    ("bad options", InvalidRequestError(message="w", scope=Scope.FOLDER), "parameters refused here", State.HELD, None),
    ("unknown, final", UnknownRefusalError(message="no", scope=Scope.PICTURE), "picture refused", State.FAILED, None),
    (
        "unknown, may pass",
        UnknownRefusalError(message="no", scope=Scope.PICTURE, retryable=True),
        "unknown refusal that may pass",
        State.QUEUED,
        None,
    ),
    ("unknown, folder", UnknownRefusalError(message="no", scope=Scope.FOLDER), "parameters refused", State.HELD, None),
    (
        "unknown, account",
        UnknownRefusalError(message="pay", scope=Scope.ACCOUNT),
        "unknown refusal of the account",
        State.QUEUED,
        Cause.UNKNOWN,
    ),
    (
        "unknown, service",
        UnknownRefusalError(message="moved", scope=Scope.SERVICE),
        "unknown refusal of everything",
        State.QUEUED,
        None,
    ),
    ("refused somehow", RefusedError(message="no"), "picture refused", State.FAILED, None),
    ("anything at all", RembgError(message="?"), "server failed", State.QUEUED, None),
    ("full disk", OSError(errno.ENOSPC, "full"), "disk full", State.QUEUED, Cause.DISK),
    ("quota", OSError(errno.EDQUOT, "quota"), "disk full", State.QUEUED, Cause.DISK),
    ("disk error", OSError(errno.EIO, "broken"), "failed here", State.QUEUED, None),
    ("a mistake of ours", KeyError("x"), "failed here", State.QUEUED, None),
]


@pytest.mark.parametrize(("error", "rule", "state", "cause"), [r[1:] for r in ROWS], ids=[r[0] for r in ROWS])
def test_every_error_has_one_meaning_for_job_and_gate(
    error: Exception, rule: str, state: State, cause: Cause | None
) -> None:
    decision = decided(error)
    assert (decision.rule, decision.state) == (rule, state)
    assert [h.cause for h in decision.gate.holds] == ([cause] if cause else [])


def test_every_row_of_the_table_is_met_by_some_error() -> None:
    assert {rule_name(r[1]) for r in ROWS} == set(RULES)


WORDS = [
    (429, "You're making requests too quickly, Please Upgrade or slow down.", "429 too quickly"),
    (429, "You’ve reached your DAILY limit. Please sign up for more access.", "429 daily limit"),
    (429, "You've reached your monthly limit. Consider purchasing more credits.", "429 monthly limit"),
    (429, "Too many requests", "429 in other words"),
    (400, "Uploaded file is empty (0 bytes).", "picture refused"),
    (400, "'angle' must be a number, got: 'ninety'", "parameters refused"),
    (401, "invalid api key", "key refused"),
    (403, "Email address not verified – please check your inbox", "e-mail not verified"),
    (400, "This is a mistake: Cannot use both API key and user token", "key refused"),
    (402, "Payment required", "unknown refusal of the account"),
    (404, "Not Found", "unknown refusal of everything"),
    (500, "oops", "server failed"),
    (503, "busy", "server failed"),
    (504, "gateway time-out", "server failed, maybe charged"),
]


@pytest.mark.parametrize(("status", "words", "rule"), WORDS, ids=[f"{w[0]} {w[1][:30]}" for w in WORDS])
def test_what_the_api_says_reaches_its_row(status: int, words: str, rule: str) -> None:
    error = classify(status, {}, b'{"error": "%s", "status": %d}' % (words.encode(), status), now=NOW)
    assert rule_name(error) == rule


# --- attempts -------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", list(Throttle))
def test_a_429_of_any_kind_uses_up_no_attempt(kind: Throttle) -> None:
    decision = decided(throttled(kind), job(attempts=4))
    assert (decision.state, decision.attempts, decision.retry_at) == (State.QUEUED, 4, None)


@pytest.mark.parametrize("error", [SERVER, UnreachableError(message="?"), KeyRefusedError(message="?")])
def test_an_api_that_is_down_never_uses_up_a_pictures_attempts(error: RembgError) -> None:
    gate, subject = Gate(), {n: job(id=n) for n in range(1, 5)}
    for round_ in range(200):
        n = 1 + round_ % 4
        decision = decide(error, subject[n], POLICY, gate=gate, go=ticket(n), now=NOW)
        gate, subject[n] = decision.gate, decision.apply(subject[n], at=NOW)
        subject[n] = replace(subject[n], state=State.SENDING)
    assert all(s.attempts == 0 for s in subject.values())


def test_one_picture_alone_with_a_dead_api_is_never_given_up() -> None:
    gate, subject = Gate(), job()
    for _ in range(200):
        decision = decide(SERVER, subject, POLICY, gate=gate, go=ticket(), now=NOW)
        assert decision.state is State.QUEUED
        gate, subject = decision.gate, decision.apply(subject, at=NOW)
    assert subject.attempts == 0


def run_poison(*, others_overlap: bool, error: Exception = SERVER) -> tuple[int, Job]:
    """One picture always fails while others go well; return the calls it got, and how it ended."""
    gate, subject, calls, now = Gate(), job(), 0, NOW
    while subject.state is State.SENDING:
        go = ticket(gate=gate, at=now)
        now += timedelta(seconds=2)
        if others_overlap:
            gate = gate.after(Outcome.ACCEPTED, ticket(2), now=now)
        calls += 1
        decision = decide(error, subject, POLICY, gate=gate, go=go, now=now)
        gate = decision.gate.after(Outcome.ACCEPTED, ticket(3), now=now)
        subject = decision.apply(subject, at=now)
        if subject.state is State.QUEUED:
            subject = replace(subject, state=State.SENDING)
        assert calls < 50
    return calls, subject


def test_a_picture_that_fails_among_others_that_go_well_is_given_up_after_its_attempts() -> None:
    calls, subject = run_poison(others_overlap=True)
    assert (calls, subject.state, subject.attempts) == (5, State.FAILED, 5)


def test_with_one_worker_a_bad_picture_gets_one_call_more() -> None:
    calls, subject = run_poison(others_overlap=False)
    assert (calls, subject.state, subject.attempts) == (6, State.FAILED, 5)


def test_a_picture_that_the_way_never_lets_through_is_given_up_too() -> None:
    assert run_poison(others_overlap=True, error=UnreachableError(message="reset"))[1].state is State.FAILED


def test_a_picture_that_was_given_up_is_forgotten_by_the_gate() -> None:
    gate = Gate(proven=frozenset({1}), accepted_at=NOW)
    decision = decided(SERVER, job(attempts=4), gate=gate)
    assert decision.state is State.FAILED
    assert decision.gate.proven == frozenset()


def test_a_failure_on_this_machine_counts_at_once_and_says_nothing_about_the_api() -> None:
    decision = decided(PermissionError(errno.EACCES, "denied"), job(attempts=2))
    assert (decision.attempts, decision.state, decision.gate) == (3, State.QUEUED, Gate())
    assert decided(PermissionError(errno.EACCES, "denied"), job(attempts=4)).state is State.FAILED


@pytest.mark.parametrize("most", [0, 1, -3])
def test_a_policy_without_second_tries_gives_up_at_the_first_failure_of_its_own(most: int) -> None:
    assert decided(ValueError("?"), policy=RetryPolicy(max_attempts=most)).state is State.FAILED


# --- doubt ----------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [NoAnswerError(message="?"), BadAnswerError(message="?"), GATEWAY])
def test_a_doubtful_call_is_repeated_once_and_then_put_aside(error: RembgError) -> None:
    first = decided(error)
    assert (first.state, first.doubts, first.attempts) == (State.QUEUED, 1, 0)
    second = decided(error, job(doubts=1))
    assert (second.state, second.doubts, second.retry_at) == (State.IN_DOUBT, 2, None)


@pytest.mark.parametrize("error", [NoAnswerError(message="?"), GATEWAY])
def test_a_doubtful_call_is_not_repeated_where_the_user_said_hold(error: RembgError) -> None:
    decision = decided(error, policy=RetryPolicy(retries_doubt=False))
    assert (decision.state, decision.doubts) == (State.IN_DOUBT, 1)


@pytest.mark.parametrize("error", [NoAnswerError(message="?"), BadAnswerError(message="?"), GATEWAY])
@pytest.mark.parametrize("failures", [2, CIRCUIT_AFTER])
def test_a_doubtful_call_is_repeated_no_more_often_when_the_api_is_down(error: RembgError, failures: int) -> None:
    """Each probe may cost a credit then, and there are many in a day: other pictures take their turn."""
    assert decided(error, job(doubts=1), gate=down(failures)).state is State.IN_DOUBT
    held = decided(error, gate=down(failures), policy=RetryPolicy(retries_doubt=False))
    assert held.state is State.IN_DOUBT


@pytest.mark.parametrize("most", [0, -1])
def test_no_repeat_is_allowed_where_none_is_configured(most: int) -> None:
    assert decided(NoAnswerError(message="?"), policy=RetryPolicy(max_doubts=most)).state is State.IN_DOUBT


def test_doubt_after_doubt_opens_the_circuit() -> None:
    gate = Gate()
    for n in range(CIRCUIT_AFTER):
        gate = decided(NoAnswerError(message="?"), job(id=n), gate=gate, go=ticket(n)).gate
    assert gate.holding(Cause.CIRCUIT) is not None


# --- a paid answer --------------------------------------------------------------------------


def test_a_full_disk_never_sends_a_paid_picture_back_to_be_paid_again() -> None:
    decision = decided(OSError(errno.ENOSPC, "full"), job(State.RECEIVED))
    assert (decision.state, decision.attempts) == (State.RECEIVED, 0)
    assert decision.gate.holding(Cause.DISK) is not None


def test_a_paid_answer_that_cannot_be_delivered_is_tried_later_and_then_listed() -> None:
    decision = decided(PermissionError("denied"), job(State.RECEIVED))
    assert (decision.state, decision.retry_at) == (State.RECEIVED, NOW + timedelta(seconds=4))
    assert decided(PermissionError("denied"), job(State.RECEIVED, attempts=4)).state is State.FAILED


def test_a_paid_answer_that_is_no_picture_is_in_doubt() -> None:
    assert decided(BadAnswerError(message="?"), job(State.RECEIVED)).state is State.QUEUED
    assert decided(BadAnswerError(message="?"), job(State.RECEIVED, doubts=1)).state is State.IN_DOUBT


# --- when -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n", "jitter", "wait"),
    [(0, 0.0, 2), (1, 0.0, 4), (7, 0.0, 256), (8, 0.0, 300), (10**9, 0.0, 300), (-5, 0.0, 2), (1, 0.999, 2.002)],
)
def test_backoff_doubles_to_its_cap(n: int, jitter: float, wait: float) -> None:
    assert backoff_s(n, POLICY, jitter=jitter) == pytest.approx(wait)


def test_a_canary_that_failed_lets_another_picture_go_first() -> None:
    gate = down()
    hold = gate.holding(Cause.CIRCUIT)
    assert hold is not None
    assert hold.probe_at is not None
    go = admit(gate, Need(job=1), now=hold.probe_at)
    assert isinstance(go, Go)
    decision = decided(SERVER, gate=go.gate, go=go, now=hold.probe_at)
    after = decision.gate.holding(Cause.CIRCUIT)
    assert after is not None
    assert after.probe_at is not None
    assert decision.retry_at == after.probe_at + timedelta(seconds=1)


def test_refused_parameters_hold_the_folder_with_the_options_that_were_sent() -> None:
    decision = decided(ParameterRefusedError(message="bad", field="angle", code="angle_out_of_range"))
    assert [(f.folder, f.options) for f in decision.gate.folders] == [("a", "o")]
    assert (decision.field, decision.code, decision.reason) == ("angle", "angle_out_of_range", "bad")


# --- in place -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "tries", "again"),
    [
        (throttled(Throttle.SHORT_TERM), 1, True),
        (throttled(Throttle.SHORT_TERM), 500, True),
        (throttled(Throttle.DAILY), 1, False),
        (throttled(Throttle.MONTHLY), 1, False),
        (throttled(Throttle.UNKNOWN), 1, False),
        (UnreachableError(message="?"), 1, True),
        (UnreachableError(message="?"), 2, True),
        (UnreachableError(message="?"), 3, False),
        (NoAnswerError(message="?"), 1, False),
        (BadAnswerError(message="?"), 1, False),
        (SERVER, 1, False),
        (GATEWAY, 1, False),
        (InvalidRequestError(message="?"), 1, False),
        (OSError(errno.ENOSPC, "full"), 1, False),
        (KeyboardInterrupt(), 1, False),
        (ValueError("?"), 1, False),
    ],
    ids=repr,
)
def test_a_worker_tries_again_by_itself_only_where_surely_nothing_was_charged(
    error: BaseException, tries: int, again: bool
) -> None:
    assert retries_in_place(error, tries) is again


@pytest.mark.parametrize("error", [throttled(Throttle.SHORT_TERM), UnreachableError(message="?"), SERVER])
@pytest.mark.parametrize("tries", [1, 2, 3])
def test_the_decision_and_tenacity_agree_on_who_keeps_the_job(error: RembgError, tries: int) -> None:
    decision = decided(error, in_place=tries - 1)
    assert decision.keeps_job is retries_in_place(error, tries)
    if decision.keeps_job:
        assert decision.retry_at is None


@pytest.mark.parametrize(
    ("error", "tries", "jitter", "wait"),
    [
        (throttled(Throttle.SHORT_TERM), 9, 0.5, 0.0),
        (UnreachableError(message="?"), 1, 0.0, 0.5),
        (UnreachableError(message="?"), 2, 0.0, 1.0),
        (UnreachableError(message="?"), 2, 0.9999, 0.5),
        (UnreachableError(message="?"), 0, 0.0, 0.5),
        (UnreachableError(message="?"), 10**6, 0.0, 4.0),
    ],
)
def test_a_try_in_place_waits_a_moment_and_a_throttled_one_only_at_the_gate(
    error: BaseException, tries: int, jitter: float, wait: float
) -> None:
    assert wait_s(error, tries, jitter=jitter) == pytest.approx(wait, rel=1e-3)


def too_quick(retry_after_s: float | None = None) -> RembgError:
    return ThrottledError(message="slow down", throttle=Throttle.SHORT_TERM, retry_after_s=retry_after_s)


PAUSES: list[tuple[str, BaseException, int, float, float | None]] = [
    ("the first refusal", too_quick(), 1, 0.0, 2.0),
    ("with chance, half of it at the least", too_quick(), 1, 1.0, 1.0),
    ("doubling", too_quick(), 3, 0.0, 8.0),
    ("the longest", too_quick(), 5, 0.0, 30.0),
    ("no more", too_quick(), MOST_TRIES, 0.0, None),
    ("the server says when", too_quick(7.0), 1, 0.0, 7.0),
    ("at once", too_quick(0.0), 1, 0.0, 0.0),
    ("as late as one can sit and wait", too_quick(LONGEST_PAUSE_S), 1, 0.0, LONGEST_PAUSE_S),
    ("later than that", too_quick(LONGEST_PAUSE_S + 1), 1, 0.0, None),
    ("the daily limit", throttled(Throttle.DAILY), 1, 0.0, None),
    ("the monthly limit", throttled(Throttle.MONTHLY), 1, 0.0, None),
    ("a limit in other words", throttled(Throttle.UNKNOWN), 1, 0.0, None),
    ("no way there", UnreachableError(message="refused"), 1, 0.0, 0.5),
    ("still none", UnreachableError(message="refused"), 2, 0.0, 1.0),
    ("none after all", UnreachableError(message="refused"), 3, 0.0, None),
    ("anything else", RembgError(message="?"), 1, 0.0, None),
    ("a full disk", OSError(errno.ENOSPC, "full"), 1, 0.0, None),
    ("an interruption", KeyboardInterrupt(), 1, 0.0, None),
]


@pytest.mark.parametrize(
    ("error", "tries", "jitter", "pause_s"), [row[1:] for row in PAUSES], ids=[row[0] for row in PAUSES]
)
def test_without_a_gate_only_what_passes_soon_and_cost_nothing_is_tried_again(
    error: BaseException, tries: int, jitter: float, pause_s: float | None
) -> None:
    assert pause_without_gate_s(error, tries, jitter=jitter) == pause_s


def test_only_the_short_term_rate_concerns_the_pacer() -> None:
    assert decided(throttled(Throttle.SHORT_TERM)).is_rate
    assert not any(decided(r[1]).is_rate for r in ROWS[1:])


# --- what is written ------------------------------------------------------------------------


def test_a_decision_leaves_its_reason_in_the_job() -> None:
    error = PictureRefusedError(message="Uploaded file is empty", code="picture_empty", field="image", request_id="r7")
    after = decided(error).apply(job(), at=NOW)
    assert (after.state, after.reason, after.code) == (State.FAILED, "Uploaded file is empty", "picture_empty")
    assert (after.field, after.request_id) == ("image", "r7")


def test_a_job_that_never_left_the_queue_can_be_put_back_into_it() -> None:
    after = decided(UnreachableError(message="?"), in_place=9).apply(job(State.QUEUED), at=NOW)
    assert (after.state, after.reason) == (State.QUEUED, "?")


def test_an_error_without_words_is_named() -> None:
    assert decided(ValueError()).reason == "ValueError"
    assert decided(ValueError()).code == "failed_here"


def test_what_was_known_of_the_request_is_kept_where_the_error_knows_nothing() -> None:
    assert decided(SERVER).apply(job(request_id="r1"), at=NOW).request_id == "r1"


def test_the_table_says_what_becomes_of_the_job_in_every_row() -> None:
    assert all(isinstance(rule.fate, Fate) and isinstance(rule.outcome, Outcome) for rule in RULES.values())
