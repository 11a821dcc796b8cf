"""What keeps the pace from being higher now: workers, rate, a hold, credits, or what keeps single folders."""

from collections.abc import Mapping
from enum import StrEnum

from rembg_watch.account.causes import CAUSES
from rembg_watch.account.gate import Gate


class Limit(StrEnum):
    """What keeps the pace from being higher now."""

    QUEUE = "queue"  # there is nothing more to do
    WORKERS = "workers"
    RATE = "gate"  # the short-term rate
    HOLD = "hold"
    CREDITS = "credits"
    PREPARING = "preparing"  # the next pictures are being read, and few calls are under way
    RETRY = "retry"  # what waits is to be tried again, later
    FOLDER_BUDGET = "folder_budget"  # of the folders that have anything to do, as are the next three
    OUTPUT = "output"
    OFFLINE = "offline"
    OPTIONS = "options"


_MOST = 0.75  # a look catches some workers between two calls


def limiting(
    gate: Gate,
    *,
    queued: int,
    busy: int,
    workers: int,
    is_paced: bool,
    affordable: int | None,
    is_due: bool = True,
    stalled: Mapping[Limit, int] | None = None,
) -> Limit:
    """
    Say what limits now: workers, gate, credits, or what keeps the folders that have anything to do.

    Args:
        gate: The gate as it stands.
        queued: Jobs that wait in folders where nothing of their own keeps them.
        busy: Workers with a call under way.
        workers: Workers there are.
        is_paced: The pacer made calls wait lately, as ``Pacer.is_limiting`` says.
        affordable: Pictures that may still be paid; None: not known.
        is_due: The turn of some of the jobs that wait has come.
        stalled: Jobs that wait in other folders, by what keeps those.
    """
    if queued <= 0:
        kept = {limit: jobs for limit, jobs in (stalled or {}).items() if jobs > 0}
        return max(kept, key=lambda limit: kept[limit], default=Limit.QUEUE)
    if any(CAUSES[h.cause].is_about_credits for h in gate.holds):
        return Limit.CREDITS
    if gate.holds:
        return Limit.HOLD
    if affordable is not None and affordable <= 0:
        return Limit.CREDITS
    if not is_due:
        return Limit.RETRY
    if is_paced and busy < workers:
        return Limit.RATE
    return Limit.WORKERS if busy >= _MOST * workers else Limit.PREPARING
