"""What the last run left: answers that are paid for, claims, calls that were cut off, pictures that were held."""

import contextlib
import threading
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

from rembg_watch.account.balance import spent_since_baseline
from rembg_watch.account.causes import Cause
from rembg_watch.account.credits import Billed, resolve_doubt, settled_after_s
from rembg_watch.account.gate import Gate
from rembg_watch.account.notes import BASELINE, reading_from_note
from rembg_watch.config import Settings
from rembg_watch.daemon.assembly import KEY_DIGEST, TRUST, Parts, key_digest
from rembg_watch.delivery.roots import Roots
from rembg_watch.jobs import Job, State
from rembg_watch.ledger import StaleJobError, Which
from rembg_watch.ledger.port import Books
from rembg_watch.ledger.values import Json
from rembg_watch.pipeline import Plan, afterwards, recovery
from rembg_watch.report import events
from rembg_watch.report.status import LAST_CALL, STATUS_NAME, read_snapshot

OPTIONS_NOTE = "options of each folder"
"""The ledger's note of the options that each folder's pictures were asked for with, as digests."""


def calls_forgotten(ledger: Books, state_dir: Path) -> int:
    """
    Say how many calls fewer the ledger knows than the last run did, by what it wrote beside it.

    A backup that was put back knows nothing of what was bought after it.
    """
    written = (read_snapshot(state_dir / STATUS_NAME) or {}).get(LAST_CALL)
    return max(0, written - ledger.last_call()) if isinstance(written, int) else 0


def forget_another_key(parts: Parts, settings: Settings) -> None:
    """Try every hold at once if the key is another one than in the last run, whose refusals mean nothing now."""
    if has_another_key(parts.ledger, settings):
        parts.governor.resume()
    digest = key_digest(settings)  # that alone is kept of a key
    if parts.ledger.note(KEY_DIGEST) != digest:
        parts.ledger.set_note(KEY_DIGEST, digest)


def has_another_key(ledger: Books, settings: Settings) -> bool:
    """Say whether the key is another one than in the last run, if there was one."""
    return ledger.note(KEY_DIGEST) not in (None, key_digest(settings))


def forget_other_folders(parts: Parts) -> None:
    """Take folders that are not watched any more off the list of what is unsettled."""
    for name in {folder for folder, _ in parts.ledger.unsettled()} - set(parts.watcher.progress()):
        parts.ledger.set_unsettled(name, [])


def remember_roots(parts: Parts) -> None:
    """After a version that remembered no folders: one that was delivered into and is missing is away, not new."""
    if not parts.ports.roots.is_new:
        return
    delivered = parts.ledger.counts_by_folder()
    for recipe in parts.ports.in_force.plan.recipes.values():
        if parts.ports.shares.is_hung(recipe.name):
            continue
        if delivered.get(recipe.name, {}).get(State.DONE):
            for path in (recipe.output, recipe.done if recipe.after == "move" else None):
                if path is not None:
                    parts.ports.roots.remember(path)


def trust_roots(parts: Parts) -> bool:
    """Take the folders that a person said are right as they are, though they were away; say if there were any."""
    trusted = trusted_roots(parts.ledger, parts.ports.in_force.plan, parts.ports.roots)
    if parts.ledger.note(TRUST) is not None:
        parts.ledger.set_note(TRUST, None, is_durable=False)
    parts.targets.make_again(trusted)
    return bool(trusted)


def trusted_roots(ledger: Books, plan: Plan, roots: Roots) -> list[Path]:
    """Have *roots* take what a person said is right as it is; return those folders."""
    asked = ledger.note(TRUST)
    if not isinstance(asked, dict) or not isinstance(folders := asked.get("folders"), list):
        return []
    meant = [recipe for recipe in plan.recipes.values() if not folders or recipe.name in folders]
    paths = [path for one in meant for path in (one.input, one.output, one.done, one.failed) if path is not None]
    return roots.trust(datetime.fromisoformat(str(asked["at"])), paths)


def take_up(parts: Parts) -> Sequence[Job]:
    """Take up answers that are paid for and let go of claims; return the calls that are in doubt."""
    left = parts.ledger.recover(parts.ports.clocks.now())
    crashed = [job for job in left.in_doubt if job.code == "crash"]
    unanswered = [job for job in crashed if not recovery.take_up_answer(parts.ports, job)]
    hung = parts.ports.shares.hung()
    for job in parts.ledger.to_dispose_of([name for name in parts.ports.in_force.plan.recipes if name not in hung]):
        afterwards.put_away(parts.ports, job)
    release_held(parts)
    parts.ports.spool.sweep(parts.ledger.spool_keys())
    if left.crashed or left.received:
        received = left.received + len(crashed) - len(unanswered)
        parts.ports.report(events.Recovered(requeued=left.claims, received=received, in_doubt=len(unanswered)))
    return unanswered


def release_held(parts: Parts) -> None:
    """Put held pictures back in line whose folder's options are not the refused ones any more."""
    for name in to_release(parts.ports.in_force.plan, parts.governor.gate):
        held = Which(states=frozenset({State.HELD}), folders=frozenset({name}), has_surprise=False)
        count = parts.ledger.retry(held, parts.ports.clocks.now())
        if count:
            parts.ports.report(events.Released(folder=name, count=count))


def remember_options(parts: Parts) -> None:
    """Write down what pictures are sent with from now on, so that a digest with a call can be read for ever."""
    recipes = parts.ports.in_force.plan.recipes.values()
    parts.ledger.keep_recipes({recipe.options_digest: recipe.options for recipe in recipes})


def report_other_options(parts: Parts) -> None:
    """Say how many cut-outs were made with other options, once after each change: they stay as they are."""
    noted = parts.ledger.note(OPTIONS_NOTE)
    before: Mapping[str, Json] = noted if isinstance(noted, dict) else {}
    now = {name: recipe.options_digest for name, recipe in parts.ports.in_force.plan.recipes.items()}
    if before == now:
        return
    for name, options in now.items():
        count = parts.ledger.made_otherwise(name, options) if before.get(name, options) != options else 0
        if count:
            parts.ports.report(events.MadeOtherwise(folder=name, count=count))
    parts.ledger.set_note(OPTIONS_NOTE, {**before, **now})


def to_release(plan: Plan, gate: Gate) -> list[str]:
    """Name the folders whose options are not refused, or not any more: none of their pictures has to be held."""
    holds = {name: gate.refusing(name, recipe.options) for name, recipe in plan.recipes.items()}
    return [name for name, hold in holds.items() if hold is None or hold.cause is Cause.PAUSED]


class Doubts:
    """
    Calls that a crash cut off: the account's counters are asked about them, and then the pool starts.

    Nobody waits for that to be READY: it runs in a thread of its own.
    """

    def __init__(self, parts: Parts, *, timeout_s: float) -> None:
        self._parts = parts
        self._timeout_s = timeout_s
        self._starting = threading.Lock()  # held while doubts are resolved in the ledger and the pool starts

    def begin(self, unanswered: Sequence[Job]) -> None:
        """Let the pool work, after the account was asked about *unanswered* calls."""
        if not unanswered:
            self._parts.pool.start()
            return
        self._parts.settling.set()
        threading.Thread(target=self._resolve, args=(unanswered,), name="settling", daemon=True).start()

    def wait(self) -> None:
        """Wait until the pool has started, or never will because the program is stopping."""
        with self._starting:
            pass

    def _resolve(self, unanswered: Sequence[Job]) -> None:
        parts = self._parts
        try:
            billed = self._ask_at_rest(unanswered)
            parts.ports.report(events.DoubtsSettled(calls=len(unanswered), billed=billed))
            with self._starting:
                if parts.ports.stopping.is_set():
                    return  # they stay in doubt, and are asked about at the next start
                for job in unanswered:
                    with contextlib.suppress(StaleJobError):
                        recovery.take_up_doubt(parts.ports, job, billed)
                parts.pool.start()
        except Exception as error:  # noqa: BLE001 - without a pool there is nothing to live for
            parts.ports.report(events.Mistake(where="the start", error=error))
            parts.ports.stopping.set()
        finally:
            parts.settling.clear()

    def _ask_at_rest(self, unanswered: Sequence[Job]) -> Billed:
        """
        Let the account's counters say whether the calls were billed, where they can.

        What they have not counted yet they may count in a moment: the API goes on with a call that nobody waits for.
        """
        parts = self._parts
        billed = self._ask(unanswered)
        known_s = min((parts.ports.clocks.now() - job.changed_at).total_seconds() for job in unanswered)
        wait_s = settled_after_s(parts.governor.call_s, self._timeout_s) - max(0.0, known_s)
        if billed in (Billed.NONE, Billed.UNKNOWN) and wait_s > 0:
            parts.ports.report(events.DoubtsAsked(calls=len(unanswered), wait_s=wait_s))
            parts.ports.clocks.wait(parts.ports.stopping, wait_s)
            billed = self._ask(unanswered)
        return billed or Billed.UNKNOWN

    def _ask(self, unanswered: Sequence[Job]) -> Billed | None:
        """Compare the counters with the last reading at rest; None where that can tell nothing, now or later."""
        ledger, balance = self._parts.ledger, self._parts.balance
        before = reading_from_note(ledger.note(BASELINE))
        if before is None:
            return None
        spent = spent_since_baseline(ledger)
        if spent.in_doubt != len(unanswered):
            return None  # older doubts are mixed in: the sum says nothing about these
        after = balance.peek()
        if after is None:
            return None
        return resolve_doubt(
            before, after, len(unanswered), each=self._parts.ports.in_force.plan.terms.price, counted=spent.charged
        )
