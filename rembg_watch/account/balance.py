"""
What the account can spend, read anew before each batch and whenever a hold asks for it.

``credits`` calculates and ``gate`` decides what follows; here the account is asked, and its
books are held against the ledger's. Reading is free. Nothing is spent here.
"""

import threading
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from functools import partial

from rembg_watch.account.causes import Outcome
from rembg_watch.account.credits import (
    AccountRead,
    AccountReading,
    AccountUnread,
    Difference,
    OtherUse,
    affordable,
    budget_room,
    difference,
)
from rembg_watch.account.notes import (
    BASELINE,
    OTHER_USE,
    last_call_from_note,
    reading_from_note,
    reading_to_note,
    use_from_note,
    use_to_note,
)
from rembg_watch.account.terms import GetTerms, Terms
from rembg_watch.api.errors import KeyRefusedError, RembgError
from rembg_watch.api.responses import Account
from rembg_watch.host.clocks import Clocks
from rembg_watch.ledger import Json, Spending
from rembg_watch.ledger.port import Books
from rembg_watch.report.events import AccountDiffers, CallEnded, CreditsRead, Event, Reporter

_FRESH_S = 2.0
_IDLE_S = 900.0  # how old a reading may get while nothing comes


class Balance:
    """Read the account and say how many pictures it pays for."""

    def __init__(
        self,
        *,
        terms: GetTerms,
        ledger: Books,
        report: Reporter,
        keep: Callable[[str, Json], None] | None = None,
        in_flight: Callable[[], int] = lambda: 0,
        clocks: Clocks | None = None,
    ) -> None:
        self._terms = terms
        self.in_flight = in_flight
        self._ledger = ledger
        self._keep = keep or partial(ledger.set_note, is_durable=False)
        self._report = report
        self._clocks = clocks or Clocks()
        self._lock = threading.Lock()  # guards the figures from one reading to the next
        self.reading: AccountReading | None = reading_from_note(ledger.note(BASELINE))  # perhaps an earlier run's
        self._charged_since = spent_since_baseline(ledger).charged if self.reading else Decimal(0)
        self.room: int | None = None  # pictures that could be paid at the last reading; None: there was none
        self._unused_room: int | None = None
        self._read_at_s = float("-inf")
        self._looked_at_s = self._clocks.monotonic()
        self._is_among_calls = False
        self.other_use, reported = use_from_note(ledger.note(OTHER_USE))
        self._reported_use = (reported, float("-inf"))  # how much, and when
        self.refusal: RembgError | None = None  # why the account could not be read last

    def left(self) -> Decimal | None:
        """Say what is left of the last reading, perhaps an earlier run's, by our own count of charges since."""
        with self._lock:
            if self.reading is None:
                return None
            return max(Decimal(0), self.reading.spendable - self._charged_since)

    def payable(self) -> int | None:
        """Say how many more pictures are paid for by what is left, by our own count; None before the first reading."""
        with self._lock:
            reading, spent = self.reading, self._charged_since
        if reading is None:
            return None
        return self._affordable(self._terms(), reading, spent_since=spent)

    def on_event(self, event: Event) -> None:
        """Count what calls cost; a ``Reporter``."""
        if isinstance(event, CallEnded) and event.charged:
            with self._lock:
                self._charged_since += event.charged

    def take_room(self, *, within_s: float = _FRESH_S) -> int | None:
        """Return how many more pictures may be sent by a reading made within *within_s*, to one batch alone."""
        with self._lock:
            room, self._unused_room = self._unused_room, None
            return room if self._clocks.monotonic() - self._read_at_s < within_s else None

    def read(self) -> AccountRead | AccountUnread:
        """Ask the account, report what it holds, and say how many more pictures may be sent."""
        in_flight, terms = self.in_flight(), self._terms()
        try:
            account = terms.client.account()
        except RembgError as error:
            self.refusal = error
            outcome = Outcome.KEY if isinstance(error, KeyRefusedError) else Outcome.TROUBLE
            return AccountUnread(outcome=outcome, text=str(error), is_answered=error.status is not None)
        self.refusal = None
        return self._read(terms, reading_of(account, read_at=self._clocks.now()), in_flight)

    def peek(self) -> AccountReading | None:
        """Read the account for its counters alone: nothing follows from it; None if it cannot be read."""
        try:
            return reading_of(self._terms().client.account(), read_at=self._clocks.now())
        except RembgError:
            return None

    def recount(self, *, is_held: bool) -> Decimal | None:
        """
        Read what is left anew, once nothing is under way, if the last reading was made among calls or long ago.

        Such a reading has some of them in it already, which are counted again as they
        end; and while nothing comes, others may spend, or buy. What is held is read by
        its hold. Nobody is made to wait for what is found: the next batch has its own reading.

        Returns:
            How many credits more the account has counted than those surely taken; None: nothing was compared.
        """
        now_s = self._clocks.monotonic()
        with self._lock:
            is_off, self._is_among_calls = self._is_among_calls and bool(self._charged_since), False
            is_old = now_s - self._looked_at_s >= max(_IDLE_S, self._terms().recheck_s) and not is_held
            if not (is_off or is_old):
                return None
            self._looked_at_s = now_s
        reading = self.peek()
        if reading is None:
            return None
        more = self._compare(reading)
        with self._lock:
            self.reading, self._charged_since = reading, Decimal(0)
        self._report_credits(reading)
        return more

    def _read(self, terms: Terms, reading: AccountReading, in_flight: int) -> AccountRead:
        room = self._affordable(terms, reading, in_flight=in_flight)
        more = None if in_flight else self._compare(reading)
        with self._lock:
            self.reading, self._charged_since, self.room = reading, Decimal(0), room
            self._is_among_calls = in_flight > 0
            self._unused_room, self._read_at_s = room, self._clocks.monotonic()
            self._looked_at_s = self._read_at_s
        self._report_credits(reading)
        # what is under way was counted when it was claimed: the gate must let it through
        for_gate = self._affordable(terms, reading)
        return AccountRead(
            reading=reading,
            room=room,
            affordable=for_gate,
            is_budget_spent=for_gate <= 0 and self.day_room(terms) <= 0,
            in_flight=in_flight,
            more=more,
        )

    def _report_credits(self, reading: AccountReading) -> None:
        self._report(
            CreditsRead(
                included=reading.included_remaining,
                prepaid=reading.prepaid,
                spendable=reading.spendable,
                period_end_at=reading.period_end_at,
            )
        )

    def _affordable(
        self, terms: Terms, reading: AccountReading, *, in_flight: int = 0, spent_since: Decimal = Decimal(0)
    ) -> int:
        return affordable(
            reading,
            terms.price,
            reserve=terms.reserve,
            in_flight=in_flight,
            spent_since=spent_since,
            daily_budget=terms.daily_budget,
            spent_today=self._spent_today(terms),
        )

    def day_room(self, terms: Terms) -> int:
        """Say how many more pictures the daily budget of the account leaves, whatever the account holds."""
        return budget_room(terms.price, terms.daily_budget, spent_today=self._spent_today(terms))

    def _spent_today(self, terms: Terms) -> Decimal:
        if terms.daily_budget <= 0:
            return Decimal(0)
        return self._ledger.spending(since=self._midnight()).booked

    def folder_room(self, folder: str, daily_budget: Decimal, *, in_flight: int = 0) -> int | None:
        """
        Say how many more pictures of a folder its own daily budget leaves; None: it has none.

        Those in flight are to be counted first: a call that begins between counts twice then, and never not at all.
        """
        if daily_budget <= 0:
            return None
        spent = self._ledger.spending(since=self._midnight(), folders=[folder]).booked
        return budget_room(self._terms().price, daily_budget, spent_today=spent, in_flight=in_flight)

    def _midnight(self) -> datetime:
        return self._clocks.now().replace(hour=0, minute=0, second=0, microsecond=0)

    def _compare(self, after: AccountReading) -> Decimal | None:
        """
        Hold this reading against the last one made at rest, and report what cannot be explained.

        Only readings with nothing under way are compared: what is in flight may be on
        one side alone. The reading at rest is kept over a restart, where it shows
        whether calls in doubt were charged.
        """
        before, more = reading_from_note(self._ledger.note(BASELINE)), None
        if before is not None:
            spent = spent_since_baseline(self._ledger)
            found = difference(before, after, spent.charged, slack=spent.doubtful)
            if found is not None:
                more = found.by_api - found.counted
                self._sum_up(found, since=before.read_at)
        note = reading_to_note(after, last_call=self._ledger.last_call())
        self._keep(BASELINE, note)
        return more

    def _sum_up(self, found: Difference, *, since: datetime) -> None:
        """Add what others spent to what is known, keep it, and report the sum where it is news."""
        before, use = self.other_use, OtherUse.after(self.other_use, found, since=since)
        self.other_use, (reported, reported_at_s) = use, self._reported_use
        if use is None:
            return
        now_s = self._clocks.monotonic()
        is_news = use.is_news(reported=reported, reported_s=now_s - reported_at_s)
        if is_news:
            self._reported_use = (use.total, now_s)
            self._report(AccountDiffers(since=use.since, by_app=use.by_app, more=use.more, fewer=use.fewer))
        if is_news or use != before:
            self._keep(OTHER_USE, use_to_note(use, reported=self._reported_use[0]))


def reading_of(account: Account, *, read_at: datetime) -> AccountReading:
    """Say what an account can spend; without a billing cycle, by its calendar month."""
    cycle = account.billing_cycle
    if cycle is None:
        used = account.app_usage + account.api_usage
        return AccountReading(
            included_remaining=max(Decimal(0), account.credits - used),
            prepaid=account.prepaid_credits,
            read_at=read_at,
            synced=False,
            app_used=account.app_usage,
            api_used=account.api_usage,
        )
    return AccountReading(
        included_remaining=cycle.remaining_included,
        prepaid=cycle.prepaid_credits,
        read_at=read_at,
        period_start_at=cycle.period_start_at,
        period_end_at=cycle.period_end_at,
        synced=cycle.stripe_billing_synced,
        app_used=cycle.app_usage,
        api_used=cycle.api_usage,
    )


def spent_since_baseline(ledger: Books) -> Spending:
    """Sum up the calls since the last reading at rest, by their order: the clock may have been set meanwhile."""
    note = ledger.note(BASELINE)
    last_call = last_call_from_note(note)
    if last_call is not None:
        return ledger.spending(after_call=last_call)
    before = reading_from_note(note)  # an older version left it
    return ledger.spending(since=before.read_at if before else None)
