"""
The short-term rate that nobody states, learned from what is accepted and what is refused.

One pacer per key, under the governor's lock, on seconds that the caller reads from a clock
that never goes back. It spaces the calls evenly; it knows nothing of credits or of longer
holds (``gate``), and what a refusal is was decided before (``retry``).

How it learns:

- It starts at a few calls a second and grows while it is what makes calls wait, until the first
  refusal. While the workers are what limits, it stays just above what they send.
- A loss is the first refusal of a call that was sent after the last cut; the rest of that volley
  changes nothing. On a loss the gate shuts, and one canary tries it, later each time.
- Whether the account counts by a bucket or by windows, it was just as empty when the gate last
  reopened as it is when it reopens now (and as empty at one loss as at the next). The calls
  granted in between, divided by the time, are the rate, or less: that is what to come back to.
- A long block that leaves far less than a rate which had held was none of our making: an outage, or another program.
  Half of that rate is tried, and then the rest in steps; a second such block soon after is believed.
- A rate far below one that had held, and not refused for a while, is left the same way, once: what slowed it may be
  over.
- Where hardly a call was ever accepted, a long block says that the account was spent when we came, not how fast it
  fills: once, it starts anew. A person's word makes it start anew too, if no rate has held yet.
- A rate that held for long enough is good. From there small steps up are tried, within a budget of
  refusals, half-way at most to where the last loss was. A refused step leads straight back. After
  a cut that was a guess (the first one, mostly) the steps are half-way each: small ones would take minutes.
"""

from copy import copy
from dataclasses import replace
from math import sqrt

from rembg_watch.account.measures import NEVER, Block, HeldRate, Learned, Mark, Shut, Stretch, bound, middle

FIRST_RATE = 4.0
LOWEST_RATE, HIGHEST_RATE = 1 / 300, 1000.0
"""Calls a second: where it starts, and between what it stays."""

DOUBTFUL_RATE = 0.2
"""Calls a second below which a rate is given up on a person's word."""

STEPS = (1.03, 1.05, 1.08, 1.12, 1.2, 1.3)
"""How far each step up goes beyond the one before it, while none is refused."""

STEP_S, STEP_CALLS, STEP_PATIENCE_S = 20.0, 20, 300.0
"""The least that a step up must last; and when one is tried without a refusal in hand, or beyond the last loss."""

NEEDED, NEEDED_MOST, PROVEN_S = 50, 3200, 900.0
"""Calls after which a rate counts as good, doubled after every refused step; and the time that is always enough."""

EARNED = 0.006
BUDGET_LOW, BUDGET_HIGH = -2.0, 3.0
"""Each accepted call pays this share of a refusal; steps up are taken with one refusal in hand."""

NEAR = 0.93
"""From this share of the rate of the last loss on, steps are small and are given more calls to fail."""

LEAST, LEAST_COLD, RARE = 20, 6, 200
"""Calls that say something about a rate; at first; and among which one loss is cheaper than a lower rate."""

MARGIN, CUT, CUT_BLIND, CUT_STARTING = 0.98, 0.97, 0.8, 0.5
"""How far below a known rate it goes, and at least below a refused one; and how far where nothing is known."""

FOREIGN, FOREIGN_TRIES, DOUBTED = 0.85, 3, 3.0
"""A block is foreign that leaves less than this share of a rate that held, and refused so many canaries; unless another
one ended less than so many times its length before."""

SLOWED, QUIET_S = 0.5, 120.0
"""Below this share of a rate that held, and after so long without a loss, the pacer goes back to that rate."""

SHUT_CAP_S, ADVICE_CAP_S = 60.0, 3600.0
"""The longest the gate stays shut before the next canary, by our own rule and by the server's advice."""

PERIODS_S = (1.0, 5.0, 10.0, 15.0, 30.0, 60.0, 300.0, 600.0, 900.0, 1800.0, 3600.0)
"""The windows that people choose: the first long block shows which one it may be."""

SLACK_CALLS, SLACK_S = 6.0, 0.7
"""What may be sent ahead of the even pace after a lull: little, and half as much after each loss."""

UNTRIED_S = 5.0
"""A canary that has been due for so long has nobody who would send it: there is no picture."""

_MARKS = 16  # losses and reopenings that are remembered


class Pacer:
    """Learn how many calls a second the account bears, and let them go at that pace."""

    def __init__(self, now: float, learned: Learned | None = None) -> None:
        self.rate = FIRST_RATE
        self.good: float | None = None  # the last rate that held
        self._is_starting = True  # nothing was ever refused
        self._is_cold = True  # nothing ever held
        self._has_lulled = False  # while starting, the workers were the limit
        self._block: Block | None = None
        self._before: Pacer | None = None  # before the gate reopened, should the canary be refused after all
        self._next_at = now
        self._first_at = now
        self._granted = 0  # calls sent, less those refused
        self._stretch = Stretch(now, 0)
        self._reopened: list[Mark] = []
        self._lost: list[Mark] = []
        self._lost_rate: float | None = None  # the lowest rate refused lately
        self._lost_rate_at = now
        self._cut_at = self._loss_at = NEVER
        self._losses = 0  # before this one, within half a minute of each other
        self._longest_block_s = 0.0
        self._is_guess = False  # nothing was known at the last cut
        self._held = HeldRate()
        self._began_anew = False
        self._slow_refusal_s = 0.5
        self._slack = SLACK_CALLS
        self._budget = 1.0
        self._needed = NEEDED
        self._step = 0
        self._stepped_at = now
        self._has_waited = True
        self._waited_share = 0.0
        if learned is not None:
            self.rate, self.good = min(learned.rate, learned.good or learned.rate), learned.good
            self._is_starting = learned.is_starting
            self._held = HeldRate(learned.held or learned.good, learned.back_to)
            self._is_cold = self._held.rate is None

    def anew(self, now: float) -> "Pacer":
        """
        Return the pacer to go on with when a person says that things may be otherwise.

        It is this one, unless its rate has never held or is one that hardly anybody sells.
        """
        is_doubtful = self.rate < (FIRST_RATE if self.good is None else DOUBTFUL_RATE)
        return Pacer(now) if is_doubtful else self

    @property
    def learned(self) -> Learned:
        """What should be known after a restart."""
        return Learned(self.rate, self.good, self._held.rate, self._held.back_to, is_starting=self._is_starting)

    # --- calls go out -----------------------------------------------------------------------

    def try_acquire(self, now: float) -> float:
        """Return 0.0 and take the turn, or return the seconds after which to ask again."""
        if self._block is not None:
            wait_s = self._try_block(self._block, now)
            if wait_s is not None:
                return wait_s
        if now < self._next_at:
            self._has_waited = True
            return self._next_at - now
        if self._granted == 0:
            self._first_at = now
            self._stretch = Stretch(now, 0)
            self._next_at = now  # what was saved up while there was no picture is not sent ahead
        slack_s = min(self._slack / self.rate, SLACK_S)
        self._next_at = max(self._next_at, now - slack_s) + 1 / self.rate
        self._granted += 1
        self._stretch.calls += 1
        self._stretch.waited += self._has_waited
        self._waited_share += 0.1 * (self._has_waited - self._waited_share)
        self._has_waited = False
        return 0.0

    def _try_block(self, block: Block, now: float) -> float | None:
        """Send the canary when it is time, and wait for what comes of it; None: it came through."""
        if block.canary_at is None:
            if now < block.until:
                return block.until - now
            block.canary_at = now
            self._granted += 1
            return 0.0
        patience_s = max(1.5 * self._slow_refusal_s, min(5.0, 0.25 * (block.canary_at - block.lost_at)))
        if now < block.canary_at + patience_s:
            return block.canary_at + patience_s - now
        self._reopen(block, block.canary_at, now)
        return None

    def is_limiting(self, now: float) -> bool:
        """Say whether it was this pace, not the workers, that made calls wait lately."""
        if self._block is not None or (self._has_waited and self._next_at - now > 1.0):
            return True
        return self._waited_share > 0.5 and now - self._next_at < max(2.0, 3 / self.rate)

    def shut(self, now: float) -> Shut | None:
        """Say since when every call was refused, or None: calls go, or there is none to be sent."""
        block = self._block
        if block is None or (block.canary_at is None and now > block.until + UNTRIED_S):
            return None
        return Shut(block.lost_at, max(block.until, now))

    # --- calls come back --------------------------------------------------------------------

    def accepted(self, sent_at: float, now: float) -> None:
        """Tell that the call sent at *sent_at* was not refused for its pace."""
        if self._block is not None:
            if sent_at == self._block.canary_at:
                self._reopen(self._block, sent_at, now)
        elif sent_at >= self._cut_at:
            self._budget = min(BUDGET_HIGH, self._budget + EARNED)
            if self._is_starting:
                self._grow(now)
            else:
                self._climb(now)

    def neither(self, sent_at: float, now: float) -> None:
        """Tell that the call sent at *sent_at* ended in a way that says nothing about the pace."""
        self._uncount(sent_at)
        if self._block is not None and sent_at == self._block.canary_at:
            self._block.canary_at, self._block.until = None, now

    def refused(self, sent_at: float, now: float, *, retry_after_s: float | None = None, jitter: float = 0.0) -> None:
        """
        Tell that the call sent at *sent_at* was refused for its pace.

        The server's advice, *retry_after_s*, is honoured up to an hour. *jitter*, in
        [0, 1), keeps several machines from coming back as one.
        """
        self._uncount(sent_at)
        self._budget = max(BUDGET_LOW, self._budget - 1)
        self._slow_refusal_s = min(3.0, max(0.2, now - sent_at, 0.9 * self._slow_refusal_s))
        before = self._before
        if self._block is None and before and before._block and sent_at == before._block.canary_at:
            self._take_back(before)
        block = self._block
        if block is not None and sent_at == block.canary_at:
            block.tries += 1
            block.refused_at, block.canary_at = sent_at, None
        elif sent_at < self._cut_at or block is not None:
            if block is not None and retry_after_s:
                block.until = max(block.until, now + min(retry_after_s, ADVICE_CAP_S))
            return
        else:
            block = self._block = self._lose(sent_at, now)
        shut_s = max(2 / self.rate, 0.25, self._longest_block_s / 32) * 2 ** min(block.tries, 30) * (1 + self._losses)
        shut_s = min(SHUT_CAP_S, shut_s) * (1 + 0.1 * jitter)
        block.until = now + max(shut_s, min(retry_after_s or 0.0, ADVICE_CAP_S))
        self._cut_at = now

    def _uncount(self, sent_at: float) -> None:
        self._granted -= 1
        for mark in (*self._reopened, *self._lost):
            mark.granted -= mark.at > sent_at

    # --- a loss -----------------------------------------------------------------------------

    def _lose(self, sent_at: float, now: float) -> Block:
        self._losses = self._losses + 1 if now - self._loss_at < 30 else 0
        self._loss_at = now
        self._slack = max(0.2, self._slack / 2)
        self._lost = [*self._lost[1 - _MARKS :], Mark(sent_at, self._granted)]
        if self._lost_rate is None or self.rate < self._lost_rate or not self._remembers(now):
            self._lost_rate, self._lost_rate_at = self.rate, now
        return Block(lost_at=sent_at, until=now, refused_at=sent_at)

    def _remembers(self, now: float) -> bool:
        """Say whether the rate of the last loss still tells something about this moment."""
        return now - self._lost_rate_at < max(600.0, 300 / self.rate)

    def _reopen(self, block: Block, canary_at: float, now: float) -> None:
        """The canary came through: choose the rate to go on with."""
        mark = Mark(canary_at, self._granted)
        self._before = None
        self._before = copy(self)
        if self._knows_nothing(block):
            rate, self._first_at, self._began_anew = CUT_STARTING * self.rate, canary_at, True
        else:
            rate, self._is_starting = self._unless_foreign(self._rate_after(block, mark), block, now), False
        if self._held.back_to is None:
            self._longest_block_s = max(canary_at - block.lost_at, 0.9 * self._longest_block_s)
        self._reopened = [*self._reopened[1 - _MARKS :], mark]
        self._block = None
        self._cut_at = self._stepped_at = now
        self._step = 0
        self._set(rate, now)
        self._next_at = now + 1 / self.rate

    def _knows_nothing(self, block: Block) -> bool:
        """Say whether a long block at a cold start, with nothing before it to measure, is to be forgotten: once."""
        return (
            self._is_starting
            and self._is_cold
            and block.tries >= 2
            and not self._began_anew
            and self._granted <= LEAST_COLD
        )

    def _take_back(self, before: "Pacer") -> None:
        """The refusal of a canary came later than refusals used to: the gate was never open."""
        self._block, self._before = before._block, None
        self.rate, self.good, self._held, self._needed = before.rate, before.good, before._held, before._needed
        self._is_starting, self._is_cold = before._is_starting, before._is_cold
        self._first_at, self._began_anew = before._first_at, before._began_anew
        del self._reopened[-1:]

    def _rate_after(self, block: Block, mark: Mark) -> float:
        good, self.good = self.good, None
        self._is_guess = False
        cycle = self._reopened[-1] if self._reopened else Mark(self._first_at, 0)
        is_long = block.tries >= 2 and mark.at - block.lost_at > 0.2 * (mark.at - cycle.at)
        if is_long and (self._is_cold or mark.granted - cycle.granted >= LEAST):
            return min(CUT * self.rate, MARGIN * self._by_block(block, mark, cycle))
        most = bound(self._reopened, self._lost, block, mark, least=LEAST_COLD if self._is_cold else LEAST)
        self._is_guess = most is None
        if most is None:
            rate = self.rate * (CUT_STARTING if self._is_starting else CUT_BLIND)
        else:
            rate = min(max(MARGIN * most, CUT_STARTING * self.rate), CUT * self.rate)
        if good is not None and self.rate > 1.005 * good:  # it was a step up
            self._needed = min(NEEDED_MOST, 2 * self._needed)
            self.good = good
            return max(rate, good)
        calls = self._granted - self._stretch.granted
        if block.tries == 0 and calls >= RARE:
            return max(rate, self.rate * (0.99 if calls < 2 * RARE else 1.0))
        return rate

    def _unless_foreign(self, rate: float, block: Block, now: float) -> float:
        """
        Return *rate*, which the block led to, or more where the block was none of our making.

        A limit that bore the rate that had held leaves at least that share of it, whether it is a bucket or a window.
        """
        held = self._held.rate
        if held is None or block.tries < FOREIGN_TRIES or rate >= FOREIGN * min(held, self.rate):
            self._held = replace(self._held, rate=held if self._held.back_to is None else None, back_to=None)
            return rate
        if now < self._held.doubted_until:
            self._held = HeldRate()
            return rate
        self._held = HeldRate(held, held, now + DOUBTED * (now - block.lost_at))
        self.good = held
        return max(rate, CUT_STARTING * min(held, self.rate))

    def _by_block(self, block: Block, mark: Mark, cycle: Mark) -> float:
        """
        Take the rate from a long block: what was granted in a window, and then nothing.

        The window ended between the last refused canary and the one that came
        through. From a cold start, its length is likely one of those that people choose.
        """
        rate = (mark.granted - 1 - cycle.granted) / middle(block.refused_at - cycle.at, mark.at - cycle.at)
        if not self._is_cold:
            return rate
        low_s, high_s = block.refused_at - self._first_at, mark.at - self._first_at
        period_s = next((p for p in PERIODS_S if low_s < p <= 1.02 * high_s), None)
        self._is_cold = period_s is None
        cold = max(1, mark.granted - 1) / (period_s or middle(low_s, high_s))
        return min(rate, cold) if self._reopened and mark.granted - cycle.granted >= LEAST else cold

    # --- faster -----------------------------------------------------------------------------

    def _set(self, rate: float, now: float) -> None:
        self.rate = min(HIGHEST_RATE, max(LOWEST_RATE, rate))
        self._stretch = Stretch(now, self._granted)

    def _grow(self, now: float) -> None:
        """Nothing was refused yet: grow fast while the pace is what limits, else stay just above the workers."""
        stretch = self._stretch
        span_s = now - stretch.since
        if span_s < max(1.0, 3 / self.rate):
            return
        if stretch.calls >= (60 if self._has_lulled else 3) and stretch.is_paced(0.98):
            self._set(1.3 * self.rate, now)
        elif stretch.calls >= 60 and span_s > 5:
            self._has_lulled = True
            if stretch.is_paced(0.75):
                self._set(1.05 * self.rate, now)
                return
            if now - self._first_at >= PROVEN_S:
                self._held = replace(self._held, rate=stretch.calls / span_s)
            self._set(min(self.rate, max(FIRST_RATE, 1.1 * stretch.calls / span_s)), now)

    def _climb(self, now: float) -> None:
        """Find out whether the rate has held, and then whether a little more holds."""
        stretch = self._stretch
        span_s = now - stretch.since
        held = self._held.rate
        is_slowed = held is not None and self.rate < SLOWED * held and now - self._loss_at >= QUIET_S
        if is_slowed and span_s >= STEP_S and stretch.is_paced(0.9):
            self._held = replace(self._held, back_to=held)
        calls, least_s = self._proof()
        is_enough = self._granted - stretch.granted >= calls or span_s >= (STEP_PATIENCE_S if self._step else PROVEN_S)
        if span_s < least_s or not is_enough:
            return
        if not stretch.is_paced(0.9):  # the workers limit, or the queue: nothing was proven
            self._set(self.rate, now)
            return
        if self._held.back_to is not None:
            self._set(self._step_back(self._held.back_to), now)
            return
        if self.good is not None:
            self._held = replace(self._held, rate=self.rate)
        self.good = self.rate
        if self._is_cold:
            self._is_cold, self._budget = False, max(self._budget, 1.0)
        if self._budget < 1 and now - self._stepped_at < STEP_PATIENCE_S:
            return
        rate = self._step_up(now)
        if rate is not None:
            self._step += 1
            self._stepped_at = now
            self._set(rate, now)

    def _proof(self) -> tuple[int, float]:
        """Return the calls and the seconds after which the present rate counts as good."""
        if self._held.back_to is not None:
            return STEP_CALLS, STEP_S
        if self._step == 0:
            return self._needed, max(STEP_S, min(300.0, 1.2 * self._longest_block_s))
        near = self._lost_rate is not None and self.rate >= NEAR * self._lost_rate
        return 3 * STEP_CALLS if near else STEP_CALLS, max(STEP_S, min(300.0, self._longest_block_s))

    def _step_back(self, good: float) -> float:
        """Go half of the way back to a rate that had held, and the last bit at once."""
        if self.rate < NEAR * good:
            return sqrt(self.rate * good)
        self._held = replace(self._held, back_to=None)
        return good

    def _step_up(self, now: float) -> float | None:
        rate = self.rate * STEPS[min(self._step, len(STEPS) - 1)]
        if self._lost_rate is None or not self._remembers(now) or self.rate >= self._lost_rate:
            return rate
        half_way = sqrt(self.rate * self._lost_rate)
        if self._is_guess and self.rate < NEAR * self._lost_rate:
            return half_way
        if half_way >= 1.008 * self.rate:
            return min(rate, half_way)
        return rate if now - self._loss_at >= STEP_PATIENCE_S else None
