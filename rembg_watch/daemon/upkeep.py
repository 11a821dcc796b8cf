"""What is put in order at the start and then once a day: the ledger, the spool, staging files, originals that stay."""

import threading
from datetime import timedelta

from rembg_watch.account.credits import is_stale
from rembg_watch.daemon.assembly import Parts
from rembg_watch.delivery.publish import sweep_staging
from rembg_watch.pipeline import afterwards, review
from rembg_watch.report import events

UPKEEP_S = 24 * 3600.0
_REJECTED_KEPT = timedelta(days=7)


def begin(parts: Parts) -> None:
    """Keep up in a thread of its own: a large ledger must hold nobody up."""
    try:
        threading.Thread(target=_guarded, args=(parts,), name="upkeep", daemon=True).start()
    except RuntimeError as error:  # no more threads can be started now
        parts.ports.report(events.Mistake(where="upkeep", error=error))


def _guarded(parts: Parts) -> None:
    try:
        keep_up(parts)
    except Exception as error:  # noqa: BLE001 - upkeep waits for tomorrow; the pictures do not
        if not parts.ports.stopping.is_set():
            parts.ports.report(events.Mistake(where="upkeep", error=error))


def keep_up(parts: Parts) -> None:
    """Put away originals that had to stay, since their place may be there again; forget what is old enough."""
    parts.targets.make_missing()
    hung, recipes = parts.ports.shares.hung(), parts.ports.in_force.plan.recipes
    for job in parts.ledger.to_dispose_of([name for name in recipes if name not in hung]):
        if parts.ports.stopping.is_set():
            break
        if parts.ports.shares.is_hung(job.folder):
            continue
        afterwards.put_away(parts.ports, job)
    review.keep_up(parts.ports)
    now, reading, plan = parts.ports.clocks.now(), parts.balance.reading, parts.ports.in_force.plan
    if reading is not None and is_stale(reading, now=now):
        return  # not read for long, or a clock that is ahead: what is forgotten would be paid for again
    pruned = parts.ledger.prune(now - plan.keep)
    answering = [recipe for recipe in plan.recipes.values() if not parts.ports.shares.is_hung(recipe.name)]
    roots = {root for recipe in answering for root in (recipe.output, recipe.review_dir) if root is not None}
    swept = sum(sweep_staging(root) for root in roots if root.is_dir())
    swept += parts.ports.spool.sweep_rejected(older_than=(now - _REJECTED_KEPT).timestamp())
    swept += parts.ports.masters.sweep(plan.masters, parts.ledger.spool_keys(), now=now.timestamp)
    parts.ports.report(events.LedgerPruned(jobs=pruned.jobs, answers=swept, freed_bytes=pruned.freed_bytes))
