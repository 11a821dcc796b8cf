"""
Build everything from the settings, then start up, run and shut down: once, or until a signal.

==========================  ===================================================
``daemon.life``             ``Daemon``: the three verbs, reload and ``once``
``daemon.assembly``         what the settings are made into: the plan, the parts
``daemon.leftovers``        what the last run left; calls that a crash cut off
``daemon.arrivals``         from the watch into the ledger
``daemon.first_look``       a new folder: what may have to wait for a person
``daemon.ownership``        which input folders are this process's
``daemon.target_folders``   the folders that are written to
``daemon.ledger_watch``     whether the ledger is still in its place
``daemon.upkeep``           what is put in order once a day
``daemon.room``             how many workers can have their threads
``daemon.pausing``          what a person has paused
``daemon.once``             a run that ends by itself
``daemon.status``           how everything stands, for whoever looks
``daemon.metrics_file``     figures for Prometheus
``daemon.verdict``          whether all is well, for a monitor
``daemon.notices``          what people are told by message
``daemon.adoption``         cut-outs of another ledger are taken over
``daemon.estimate``         what a run would send and cost
``daemon.lacking``          which deliverables are lacking
==========================  ===================================================
"""

from rembg_watch.daemon.assembly import TRUST, build_client
from rembg_watch.daemon.life import Daemon

__all__ = ["TRUST", "Daemon", "build_client"]
