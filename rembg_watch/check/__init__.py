"""
Find everything that could keep the service from working, all at once and at no cost.

Each finding says what is wrong, where, and what to do. Where the service will write, a test
file is written and removed; reading the account is free. The command decides how to show
the findings.
"""

import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from rembg_watch.check import account, deliverables, folders, machine, new_folders, notices, page, standing, unit
from rembg_watch.check.account import Ask, over_network
from rembg_watch.config import Finding, FindingKind, Reading, Settings, Severity
from rembg_watch.config.origins import Loc
from rembg_watch.config.rules import Where, places
from rembg_watch.errors import ExitCode

__all__ = ["Ask", "findings", "over_network", "verdict"]

PROC = Path("/proc")

_CODES = {FindingKind.KEY_REFUSED: ExitCode.KEY_REFUSED, FindingKind.ACCOUNT: ExitCode.WAITING}
_ORDER = (ExitCode.CONFIG, ExitCode.KEY_REFUSED, ExitCode.WAITING)


def findings(
    reading: Reading,
    *,
    ask: Ask | None,
    now: datetime | None = None,
    proc: Path = PROC,
    service: Mapping[str, str] | None = None,
) -> list[Finding]:
    """
    List everything that is wrong, doubtful or worth knowing, worst first.

    Args:
        reading: The configuration and what is wrong with it; ``config.read``.
        ask: Reads the account with a key; None: do not use the network.
        now: The time by this machine's clock; default: now.
        proc: Where procfs is mounted.
        service: What systemd says about the unit; default: ask it. Empty: not installed.
    """
    now = datetime.now(UTC) if now is None else now
    service = unit.properties(unit.unit_for(reading.path)) if service is None else service
    reading = unit.with_credential(reading, service)
    found = [*reading.findings, *account.findings(reading, ask, now=now)]
    if reading.settings is not None:
        where, answering = _answering(reading, reading.settings)
        trees = folders.trees(answering)
        found += folders.findings(answering, trees, proc=proc, where=where)
        found += standing.findings(answering, where)
        found += new_folders.findings(answering, where)
        found += deliverables.findings(answering, where)
        found += notices.findings(answering)
        found += machine.findings(answering, trees, now=now, proc=proc)
        found += page.findings(answering, where, os.environ)
        found += unit.findings(reading, service, user_id=os.geteuid())
    return sorted(found, key=lambda one: list(Severity).index(one.severity))


def _answering(reading: Reading, settings: Settings) -> tuple[Where, Settings]:
    """Leave out the folders on a share that hangs: whoever looks at one waits for ever."""
    numbers = [n for n, one in enumerate(settings.folders) if reading.silent.isdisjoint(places(one).values())]

    def where(loc: Loc) -> str:
        match loc:
            case ("folders", int(number), *rest):
                return reading.where(("folders", numbers[number], *rest))
            case _:
                return reading.where(loc)

    return where, settings.model_copy(update={"folders": tuple(settings.folders[n] for n in numbers)})


def verdict(found: Sequence[Finding]) -> ExitCode:
    """Choose the exit code of ``check``: a wrong configuration outranks a refused key, and that a network failure."""
    codes = {_CODES.get(one.kind, ExitCode.CONFIG) for one in found if one.severity is Severity.ERROR}
    return next((code for code in _ORDER if code in codes), ExitCode.OK)
