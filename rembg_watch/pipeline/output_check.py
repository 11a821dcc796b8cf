"""Whether an output folder takes cut-outs: a small file is written to find out, ``outputs`` keeps what is known."""

import contextlib
import os
from pathlib import Path

from rembg_watch.host.disk import NAME_CODES, DeliveryError
from rembg_watch.ledger import LedgerUnavailableError
from rembg_watch.pipeline.ports import Ports
from rembg_watch.report import events


def is_undelivered(ports: Ports, folder: str) -> bool:
    """Say if an answer that was paid for waits for this folder's output: where a small file fits, it may not."""
    return ports.ledger.is_undelivered(folder, but=NAME_CODES)


def hurry(ports: Ports, folder: str) -> None:
    """Make what waits for a folder's output due at once."""
    with contextlib.suppress(LedgerUnavailableError):  # then it comes when it would have come
        ports.ledger.hurry(folder, ports.now(), but=NAME_CODES)


def check(ports: Ports, folder: str, output: Path) -> None:
    """See whether an output takes a small file; an answer that was paid for meanwhile knows better."""
    try:
        with ports.shares.touching(folder):
            ports.roots.check(output)
            ports.try_out(output)  # which makes one that never was there
            ports.roots.check(output)
    except DeliveryError as trouble:
        refused(ports, folder, trouble.path, trouble.reason, trouble.code)
    except OSError as error:
        refused(ports, folder, output, (error.strerror or str(error)).lower(), "unforeseen")
    else:
        with contextlib.suppress(LedgerUnavailableError):  # it is tried out again
            if not is_undelivered(ports, folder):
                accepted(ports, folder, output)
    finally:
        ports.outputs.end_trial(folder)


def refused(ports: Ports, folder: str, path: Path, why: str, code: str) -> None:
    """Note that an output took nothing, and report it."""
    ports.places.forget()
    ports.outputs.refused(folder, why, code, at=ports.now(), now_s=ports.clocks.monotonic())
    ports.report(events.OutputBlocked(folder=folder, path=os.fsencode(path), why=why, code=code))


def accepted(ports: Ports, folder: str, output: Path) -> None:
    """Note that an output took something; if it had not before, what waits for it comes at once."""
    if ports.outputs.accepted(folder):
        hurry(ports, folder)
        ports.report(events.OutputFree(folder=folder, path=os.fsencode(output)))
