"""
Watch folders, remove backgrounds with the Rembg API, deliver cut-outs.

A picture dropped into a watched folder passes eight stages:

| stage   | what happens                                                    | where                                |
|---------|-----------------------------------------------------------------|--------------------------------------|
| watch   | something changed in a folder, or a rescan found it             | ``watch``                            |
| settle  | it has stopped growing and is a whole picture                   | ``watch.settle``, ``pictures``       |
| ledger  | it is a job on disk and survives a restart                      | ``ledger``, ``jobs``                 |
| admit   | credits, pace and free places allow a call now                  | ``account``                          |
| call    | the API is asked; its answer or refusal is understood           | ``pipeline.call``, ``api``           |
| verify  | the answer is a whole picture of the kind that was asked for    | ``delivery.verify``                  |
| publish | the cutout stands, whole, in the mirrored folder                | ``delivery.publish``, ``paths``      |
| report  | log, metrics and status say what happened                       | ``report``                           |

``pipeline.steps`` joins ledger to report and reads in that order; ``daemon`` builds and runs everything
from what ``config`` read; ``one_shot`` sends a picture without daemon and ledger. ``cli`` is the face of
both, ``check`` a second look before the first picture, ``demo`` the tour. ``host`` is what the machine
lends. ``errors``, ``jobs`` and ``paths`` are what everything speaks of; ``sandbox`` is the API emulated,
for tests, for the tour and for trying things out.
The client library stands alone: ``from rembg_watch import Client``.
"""

from typing import TYPE_CHECKING

__version__ = "0.1.0"
__all__ = ["Client", "__version__"]

if TYPE_CHECKING:
    from rembg_watch.api.client import Client as Client


def __getattr__(name: str) -> object:
    """Offer ``Client`` lazily, so that the core never loads httpx."""
    if name == "Client":
        from rembg_watch.api.client import Client

        return Client
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
