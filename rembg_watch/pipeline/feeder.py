"""
What is worked on next: claims jobs, batch by batch, as credits, budgets, outputs and free places allow.

The backlog stays in the ledger. What is paid for goes first and needs no credits; nothing
is claimed to be bought whose output is not known to take it.
"""

from collections.abc import Callable, Container, Iterable, Iterator

from rembg_watch.account.balance import Balance
from rembg_watch.account.causes import CAUSES
from rembg_watch.account.gate import Gate, Go
from rembg_watch.delivery.outputs import AGAIN_S
from rembg_watch.jobs import Job, State
from rembg_watch.ledger import LedgerUnavailableError, StaleJobError, Turn
from rembg_watch.pipeline import output_check, recovery
from rembg_watch.pipeline.plan import Plan, Recipe
from rembg_watch.pipeline.ports import Ports
from rembg_watch.pipeline.under_way import UnderWay
from rembg_watch.pipeline.values import Originals
from rembg_watch.report import events

LOOK_S = 1.0  # how often a waiting feeder looks up
LEDGER_LOOK_S = 5.0  # how often it looks for what others put into the ledger
_SHORT_S = 10.0  # how long the credits under way are waited for before the account is read again
_CLOCK_REPORTED_S = 600.0  # a clock that was set back is reported once


class Feeder:
    """Claim what can be worked on now; used from one thread."""

    def __init__(
        self,
        ports: Ports,
        balance: Balance,
        under_way: UnderWay,
        *,
        shut: Callable[[], Iterable[str]],  # names the folders of which nothing may be sent, such as one that is away
        run_id: str,
        workers: int,
        start: Callable[[Job], None],
        check_output: Callable[[Recipe], None],  # has an output tried out, beside everything else
        put_away: Callable[[Originals], None],  # has originals put away that had to stay, likewise
    ) -> None:
        self._ports = ports
        self._balance = balance
        self._under_way = under_way
        self._shut = shut
        self._run_id = run_id
        self._workers = workers
        self._start = start
        self._check_output, self._put_away = check_output, put_away
        self._originals_at_s = float("-inf")
        self._short_until_s = 0.0
        self._clock_seen_s = self._clock_told_s = float("-inf")

    def feed(self) -> float:
        """Claim what can be worked on now; return how long to wait before the next look."""
        plan = self._ports.in_force.plan
        self.take_up_unrecorded()
        self._take_up_originals()
        room = self._under_way.room(plan.batch_size)
        if not room:
            return LOOK_S
        turns = list(self.turns(plan))
        self._pull_in(turns)
        if self._until_due(turns, State.RECEIVED) <= 0:  # paid for: they go first, and need no credits
            self._claim(room, turns, State.RECEIVED)
        turns = [turn for turn in turns if turn.may_send and self._may_buy(plan.recipes[turn.folder])]
        wait_s = self._until_due(turns, State.QUEUED)
        if wait_s > 0:
            if not self._under_way:
                self._ports.governor.recount()
            return min(wait_s, LEDGER_LOOK_S)
        if self._under_way and self._ports.clocks.monotonic() < self._short_until_s:
            return LOOK_S  # what is left is spoken for by what is under way
        answer = self._ports.governor.ask()
        if not isinstance(answer, Go):
            until_s = (answer.until - self._ports.now()).total_seconds() if answer.until else LEDGER_LOOK_S
            return min(LEDGER_LOOK_S, max(0.01, until_s))
        return self._form_batch(1 if answer.is_canary else min(room, plan.batch_size), turns, answer)

    # --- whose turn it is -----------------------------------------------------------------------

    def turns(self, plan: Plan | None = None) -> Iterator[Turn]:
        """Name the folders that may have work now."""
        plan = plan or self._ports.in_force.plan
        shut = {*self._shut(), *self._ports.shares.hung()}
        if self._under_way.has_long_work:
            shut.update(recipe.name for recipe in plan.recipes.values() if recipe.deliverables)
        return turns_of(plan, self._ports.governor.gate, shut=shut, room=self._folder_room)

    def _folder_room(self, recipe: Recipe) -> int | None:
        claimed = self._under_way.unpaid(recipe.name)
        return self._balance.folder_room(recipe.name, recipe.daily_budget, in_flight=claimed)

    def _may_buy(self, recipe: Recipe) -> bool:
        """
        Say if what is bought for a folder could be delivered, as far as that is known.

        A paid answer that waits is the only trial that counts: where a small file fits, a
        cutout may not. Without one, a small file is written.
        """
        outputs, folder = self._ports.outputs, recipe.name
        if outputs.is_sound(folder):
            return True
        if output_check.is_undelivered(self._ports, folder):
            return False
        if outputs.begin_trial(folder, self._ports.clocks.monotonic()):
            self._check_output(recipe)
        return False

    # --- claiming -------------------------------------------------------------------------------

    def _form_batch(self, most: int, turns: list[Turn], go: Go) -> float:
        affordable = self._ports.governor.take_reading(go)
        if affordable <= 0:
            self._short_until_s = self._ports.clocks.monotonic() + _SHORT_S
            return LOOK_S
        claimed = self._claim(min(most, affordable), turns, State.QUEUED)
        if not claimed:
            return LOOK_S
        reading, price = self._balance.reading, self._ports.in_force.terms().price
        spendable = reading.spendable if reading else affordable * price
        queued = self._ports.ledger.queued()
        self._ports.report(events.BatchFormed(size=claimed, queued=queued, spendable=spendable))
        return 0.0 if claimed < self._workers else LOOK_S

    def _claim(self, most: int, turns: list[Turn], state: State) -> int:
        jobs = self._ports.ledger.claim(most, at=self._ports.now(), run_id=self._run_id, turns=turns, state=state)
        self._under_way.begin(jobs, is_unpaid=state is State.QUEUED)
        for job in jobs:
            self._start(job)
        return len(jobs)

    def _until_due(self, turns: list[Turn], state: State) -> float:
        """Return the seconds until a job of these folders is due; a long time if there is none."""
        due_at = self._ports.ledger.next_due_at([turn.folder for turn in turns], state) if turns else None
        return LEDGER_LOOK_S if due_at is None else (due_at - self._ports.now()).total_seconds()

    def _take_up_originals(self) -> None:
        """Try originals again that had to stay, as outputs are tried that took nothing."""
        now_s = self._ports.clocks.monotonic()
        if now_s < self._originals_at_s:
            return
        self._originals_at_s = now_s + AGAIN_S
        for folder in self._ports.ledger.originals_left():
            self._put_away(Originals(folder))

    # --- what would be left behind --------------------------------------------------------------

    def _pull_in(self, turns: list[Turn]) -> None:
        """Let no job wait for a moment that a clock named which was ahead; look now and then, and tell it once."""
        now_s = self._ports.clocks.monotonic()
        if now_s - self._clock_seen_s < LOOK_S:
            return
        self._clock_seen_s = now_s
        jobs = self._ports.ledger.pull_in([turn.folder for turn in turns], self._ports.now())
        if jobs and now_s - self._clock_told_s > _CLOCK_REPORTED_S:  # what was claimed when it was set back comes later
            self._clock_told_s = now_s
            self._ports.report(events.ClockSetBack(jobs=jobs))

    def take_up_unrecorded(self) -> None:
        """
        Take up jobs that could not be recorded because the ledger took nothing; what cannot be yet stays for later.

        Raises:
            LedgerUnavailableError: It takes nothing still.
        """
        left = self._under_way.take_unrecorded()
        try:
            for job in list(left.values()):
                try:
                    recovery.reconcile(self._ports, job.id)
                except StaleJobError:
                    pass  # somebody else took care of it
                except LedgerUnavailableError:
                    raise
                except Exception as error:  # noqa: BLE001 - it is this one's trouble: the others need not wait for it
                    self._ports.report(events.Mistake(where="the feeder", error=error, job=job.id))
                    continue
                del left[job.id]
        finally:
            self._under_way.keep_unrecorded(left.values())


def turns_of(plan: Plan, gate: Gate, *, shut: Container[str], room: Callable[[Recipe], int | None]) -> Iterator[Turn]:
    """
    Name the folders that may have work now: their input is there and ours, and nothing holds them.

    One that buys nothing until a person has decided, for the sake of its answers or options,
    has its turn for what is paid for.
    """
    for recipe in plan.recipes.values():
        held = gate.refusing(recipe.name, recipe.options)
        if recipe.name in shut or (held is not None and not CAUSES[held.cause].lets_deliver):
            continue
        yield Turn(recipe.name, priority=recipe.priority, at_most=0 if held is not None else room(recipe))
