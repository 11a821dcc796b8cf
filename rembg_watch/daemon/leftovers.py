"""What the last run left: answers that are paid for, claims, calls that were cut off, pictures that were held."""

from collections.abc import Sequence

from rembg_watch.account.gate import Gate
from rembg_watch.config import Settings
from rembg_watch.daemon.assembly import KEY_DIGEST, Parts, key_digest
from rembg_watch.jobs import Job, State
from rembg_watch.ledger import Which
from rembg_watch.ledger.port import Books
from rembg_watch.pipeline import Plan, afterwards, recovery
from rembg_watch.report import events


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


def take_up(parts: Parts) -> Sequence[Job]:
    """Take up answers that are paid for and let go of claims; return the calls that are in doubt."""
    left = parts.ledger.recover(parts.clocks.now())
    crashed = [job for job in left.in_doubt if job.code == "crash"]
    unanswered = [job for job in crashed if not recovery.take_up_answer(parts.ports, job)]
    for job in parts.ledger.to_dispose_of(parts.plan.recipes):
        afterwards.put_away(parts.ports, job)
    release_held(parts)
    parts.ports.spool.sweep(parts.ledger.spool_keys())
    if left.crashed or left.received:
        parts.report(
            events.Recovered(
                requeued=left.claims,
                received=left.received + len(crashed) - len(unanswered),
                in_doubt=len(unanswered),
            )
        )
    return unanswered


def release_held(parts: Parts) -> None:
    """Put held pictures back in line whose folder's options are not the refused ones any more."""
    for name in to_release(parts.plan, parts.governor.gate):
        held = Which(states=frozenset({State.HELD}), folders=frozenset({name}))
        count = parts.ledger.retry(held, parts.clocks.now())
        if count:
            parts.report(events.Released(folder=name, count=count))


def to_release(plan: Plan, gate: Gate) -> list[str]:
    """Name the folders whose options are not refused, or not any more: none of their pictures has to be held."""
    return [name for name, recipe in plan.recipes.items() if gate.refusing(name, recipe.options) is None]
