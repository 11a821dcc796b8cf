"""How calls go: their pace, how long one takes, whether failures cost credits, and what of that is news."""

import copy
from datetime import datetime, timedelta
from decimal import Decimal

from rembg_watch.account.causes import CAUSES, Cause, Probe
from rembg_watch.account.holds import Hold
from rembg_watch.account.notes import PACE, PaceNote, pace_to_note
from rembg_watch.account.outbox import Outbox
from rembg_watch.account.pacing import Pacer
from rembg_watch.account.retry import Decision
from rembg_watch.account.views import shut_by
from rembg_watch.api.errors import BadAnswerError, Charge, RefusedError, ServerError, ThrottledError
from rembg_watch.report.events import BRIEF_S, LONG_S, FailuresCost, GateOpened, RateLearned

_RATE_NEWS = 1.25  # a learned rate is reported again when it has changed by so much
_RATE_KEPT_S = 10.0
_NEW_CALL = 0.05  # the weight of the last call in how long calls take


class Throughput:
    """The pacer, with what is known of the calls that it lets go. The governor's lock guards all of it."""

    def __init__(self, now_s: float, known: PaceNote, outbox: Outbox) -> None:
        self.pacer = Pacer(now_s, known.learned)
        self.call_s = known.call_s
        self._failures_cost = known.failures_cost
        self._failures = 0  # of the server, since the account was last held against the books
        self._outbox = outbox
        self._reported_rate = self.pacer.good
        self._kept_s = now_s
        self._refusal = ""  # the API's words for "too quickly"
        self._reported_shut_s: float | None = None  # how long it had been refusing when that was reported

    # --- the end of a call ----------------------------------------------------------------------

    def answered(self, sent_at_s: float, now_s: float) -> None:
        """Learn that a call was not refused, and how long it took."""
        self.pacer.accepted(sent_at_s, now_s)
        took_s = now_s - sent_at_s
        is_first, before_s = self.call_s is None, self.call_s or took_s
        self.call_s = before_s + _NEW_CALL * (took_s - before_s)
        self.keep_rate(now_s, is_news=is_first)

    def failed(self, error: Exception, decision: Decision, sent_at_s: float, now_s: float, *, jitter: float) -> None:
        """Learn how a call ended; any other refusal than for the pace has passed the limiter."""
        if decision.is_rate:
            self._refusal = decision.reason
            advice_s: float | None = getattr(error, "retry_after_s", None)
            self.pacer.refused(sent_at_s, now_s, retry_after_s=advice_s, jitter=jitter)
        elif isinstance(error, RefusedError) and not isinstance(error, ThrottledError):
            self.pacer.accepted(sent_at_s, now_s)
        elif not isinstance(error, BadAnswerError):  # that one counted as answered before it was looked at
            self.pacer.neither(sent_at_s, now_s)

    # --- refusals that last ---------------------------------------------------------------------

    def refused_for_long(self, now: datetime, now_s: float) -> Hold | None:
        """Return the reason that no call gets through, if every one has been refused as too quick for a while."""
        shut = self.pacer.shut(now_s)
        if shut is None or now_s - shut.since < BRIEF_S:
            return None
        since, until = (now + timedelta(seconds=at_s - now_s) for at_s in shut)
        return Hold(cause=Cause.RATE, since=since, probe=Probe.PICTURE, probe_at=until, text=self._refusal)

    def report_refusals(self, now: datetime, now_s: float) -> None:
        """Report when every call has been refused as too quick for a while, when it lasts, and when it is over."""
        hold, reported_s = self.refused_for_long(now, now_s), self._reported_shut_s
        if hold is None:
            if reported_s is not None and self.pacer.shut(now_s) is None:
                self._reported_shut_s = None
                pause = CAUSES[Cause.RATE].pause
                self._outbox.report(GateOpened(reason=Cause.RATE.value, shut_s=reported_s, pause=pause))
            return
        shut_s = (now - hold.since).total_seconds()
        self._reported_shut_s = shut_s
        if reported_s is None or reported_s < LONG_S <= shut_s:
            self._outbox.report(shut_by(hold, shut_s=shut_s))

    # --- failures that may cost credits ---------------------------------------------------------

    def taken(self, error: Exception) -> Exception:
        """Return what a call ended with as it has to be taken: a failure may cost a credit where some did."""
        if not isinstance(error, ServerError):
            return error
        self._failures += 1
        if self._failures_cost and error.charge is Charge.NO:
            error = copy.copy(error)
            error.charge = Charge.MAYBE
        return error

    def compared(self, more: Decimal | None) -> None:
        """Learn how many credits more the account has counted, at rest, than those surely taken; None: not compared."""
        if more is None:
            return
        failures, self._failures = self._failures, 0
        cost = more > 0 if failures else self._failures_cost
        if cost and not self._failures_cost:
            self._outbox.report(FailuresCost(failures=failures, credits=more))
        self._failures_cost = cost

    # --- what is written down -------------------------------------------------------------------

    def keep(self) -> None:
        """Have all of it written down for the next start."""
        pace = PaceNote(learned=self.pacer.learned, call_s=self.call_s, failures_cost=self._failures_cost)
        self._outbox.keep(PACE, pace_to_note(pace))

    def keep_rate(self, now_s: float, *, is_news: bool = False) -> None:
        """
        Have the learned pace written down now and then: a restart should not learn it by refusals again.

        It is reported when it has held, and again when another one has; before the first
        refusal it is but a guess that grows.
        """
        if now_s - self._kept_s < _RATE_KEPT_S and not is_news:
            return
        self._kept_s = now_s
        self.keep()
        good, known = self.pacer.good, self._reported_rate
        if good is not None and (known is None or not known / _RATE_NEWS < good < known * _RATE_NEWS):
            self._outbox.report(RateLearned(rate_per_s=good, previous_per_s=known))
            self._reported_rate = good
