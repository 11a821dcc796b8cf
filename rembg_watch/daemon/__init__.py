"""
Build everything from the settings, then start up, run and shut down: once, or until a signal.

Three verbs of a life: ``startup`` takes locks, opens the ledger and puts right what the
last run left; ``main_loop`` watches over the threads and says how things stand;
``shutdown`` takes nothing new, waits for the calls in flight and leaves the rest in the
ledger. What the parts do is in their own modules.

=====================  ===================================================
``daemon.life``        ``Daemon``: the three verbs, reload and ``once``
``daemon.assembly``    what the settings are made into: the plan, the parts
``daemon.leftovers``   what the last run left
``daemon.doubts``      calls that a crash cut off
``daemon.arrivals``    from the watch into the ledger
``daemon.target_folders``     the folders that are written to
``daemon.upkeep``      what is put in order once a day
``daemon.room``        how many workers can have their threads
``daemon.reload``      new settings are put into force
``daemon.once``        a run that ends by itself
``daemon.status``      how everything stands, for whoever looks
``daemon.estimate``    what a run would send and cost
=====================  ===================================================
"""

from rembg_watch.daemon.assembly import (
    KEY_DIGEST,
    RESUME,
    SPOOL_NAME,
    STATUS_NAME,
    build_client,
    key_digest,
    recipe_of,
)
from rembg_watch.daemon.life import Daemon

__all__ = [
    "KEY_DIGEST",
    "RESUME",
    "SPOOL_NAME",
    "STATUS_NAME",
    "Daemon",
    "build_client",
    "key_digest",
    "recipe_of",
]
