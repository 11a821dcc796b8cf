"""
Watch folders, remove backgrounds with the Rembg API, deliver cut-outs.

A picture dropped into a watched folder passes eight stages, each in its own module:

| stage   | what happens                                                          | module                     |
|---------|-----------------------------------------------------------------------|----------------------------|
| watch   | something changed in a folder, or a rescan found it                   | ``watch``                  |
| settle  | it has stopped growing and is a whole picture                         | ``settle``, ``formats``    |
| ledger  | it is a job on disk and survives a restart                            | ``ledger``, ``jobs``       |
| admit   | credits, rate window and free places allow a call now                 | ``admit``, ``credits``, ``pacing`` |
| call    | the API is asked; its answer or refusal is understood                 | ``api``, ``retry``         |
| verify  | the answer is a whole picture of the kind that was asked for          | ``verify``                 |
| publish | the cutout stands, whole, in the mirrored folder                      | ``publish``, ``paths``     |
| report  | logs, metrics, status and people are told                             | ``report``                 |

``pipeline`` joins ledger to report and reads in that order; ``daemon`` builds and runs everything.
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
