"""Whether all threads of the daemon can be started here; if not, with how many workers it can go on."""

from collections.abc import Callable

from rembg_watch.config import Settings
from rembg_watch.daemon.assembly import Around
from rembg_watch.delivery.verify import AT_ONCE
from rembg_watch.errors import NoThreadsError
from rembg_watch.host.threads import ADVICE
from rembg_watch.pipeline.pool import threads_for
from rembg_watch.report import events

LOOK_S = 5.0
# Deadlines, upkeep, settling, one to spare; and the children that decode, which count alike.
_BESIDE = 4 + 2 * AT_ONCE


def needed(workers: int, folders: int) -> int:
    """Return how many threads and children there are at most; a folder has its watch and its notices."""
    return threads_for(workers) + 2 * folders + _BESIDE


def that_fit(settings: Settings, room: Callable[[int], int]) -> int:
    """Return how many workers can have their threads; 0 if not even one can."""
    folders, workers = len(settings.folders), settings.pool.workers
    there = room(needed(workers, folders))
    return next((fewer for fewer in range(workers, 0, -1) if needed(fewer, folders) <= there), 0)


def make_fit(settings: Settings, around: Around, room: Callable[[int], int], *, waits: bool) -> Settings:
    """
    Return *settings* with as many workers as there is room for.

    Args:
        settings: As they are configured.
        around: Who is told, and what ends the wait.
        room: Says how many of so many threads can be started.
        waits: Wait until there is room for one worker; the service manager would give up long before.

    Raises:
        NoThreadsError: There is no room, and nobody waits for it any more.
    """
    is_told = False
    while not (workers := that_fit(settings, room)):
        if not is_told:
            around.report(events.NoThreads(advice=ADVICE))
            is_told = True
        around.notify.status("waiting: no more threads can be started here")
        around.notify.extend_timeout(4 * LOOK_S)
        if not waits or around.clocks.wait(around.stopping, LOOK_S):
            raise NoThreadsError(f"no more threads can be started here: {ADVICE}")
    if workers < settings.pool.workers:
        around.report(events.FewerWorkers(workers=workers, wanted=settings.pool.workers, advice=ADVICE))
    return settings.model_copy(update={"pool": settings.pool.model_copy(update={"workers": workers})})
