"""What the last run left: answers that are paid for, claims, calls that were cut off, pictures that were held."""

from collections.abc import Sequence

from rembg_watch.config import Settings
from rembg_watch.daemon.assembly import KEY_DIGEST, Parts, key_digest
from rembg_watch.jobs import Job, State
from rembg_watch.ledger import Which
from rembg_watch.pipeline import afterwards, recovery
from rembg_watch.report import events


def forget_another_key(parts: Parts, settings: Settings) -> None:
    """Try every hold at once if the key is another one than in the last run, whose refusals mean nothing now."""
    digest = key_digest(settings)  # that alone is kept of a key
    before = parts.ledger.note(KEY_DIGEST)
    if before == digest:
        return
    parts.ledger.set_note(KEY_DIGEST, digest)
    if before is not None:
        parts.governor.resume()


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
    refused = {(hold.folder, hold.options) for hold in parts.governor.gate.folders}
    for name, recipe in parts.plan.recipes.items():
        if (name, recipe.options) in refused:
            continue
        held = Which(states=frozenset({State.HELD}), folders=frozenset({name}))
        count = parts.ledger.retry(held, parts.clocks.now())
        if count:
            parts.report(events.Released(folder=name, count=count))
