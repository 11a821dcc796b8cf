"""
The daemon with a bomb in it: ``python -m tests.torture.mortal CONFIG STEP COUNT``.

It is the one that ``run`` starts, and dies of SIGKILL when it has done STEP for the COUNTth time.
"""

import itertools
import os
import signal
import sys
from pathlib import Path

from rembg_watch.config import FOR_RUN, load
from rembg_watch.daemon import Daemon
from rembg_watch.report.logs import Logs, OncePerCondition
from rembg_watch.report.sinks import choose_output

STEPS = (
    "prepared",
    "sending",
    "answered",
    "spooled",
    "received",
    "verified",
    "directory made",
    "staged",
    "new",
    "directory synced",
    "published",
    "recorded",
)
"""The steps of a picture at which the bomb can go off."""

STEPS_OF_FILES = ("kept", "made", "written down", "named")
"""More of them, where deliverables are made."""


def main(config: str, step: str, count: str) -> None:
    """Run until the bomb goes off, or until SIGTERM."""
    left = itertools.count(int(count) - 1, -1)

    def bomb(name: str) -> None:
        if name == step and next(left) == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    settings = load(Path(config), tolerate=FOR_RUN)
    logs = Logs(choose_output(settings.log.format, stream=sys.stderr), level=settings.log.level, secrets=[])
    daemon = Daemon(settings, report=OncePerCondition(logs), step=bomb)
    with logs, daemon.signals(), daemon:
        daemon.main_loop()


if __name__ == "__main__":
    main(*sys.argv[1:])
