"""
Look at everything that could keep the service from its work, all at once, and pay nothing.

Each finding says what, where and what to do. Files are tried out in the folders that
are written to and removed again; the account is read, which is free. How findings are
shown is the command's matter.
"""

import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from rembg_watch.check import account, folders, machine, unit
from rembg_watch.check.account import Ask, over_network
from rembg_watch.config import Finding, Kind, Reading, Severity
from rembg_watch.errors import ExitCode

__all__ = ["Ask", "findings", "over_network", "verdict"]

PROC = Path("/proc")

_CODES = {Kind.KEY_REFUSED: ExitCode.KEY_REFUSED, Kind.ACCOUNT: ExitCode.WAITING}
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
    List everything that is wrong, doubtful or worth knowing, the worst first.

    Args:
        reading: The configuration and what is wrong with it; ``config.read``.
        ask: Reads the account with a key; None: the network is left alone.
        now: The moment by this machine's clock; default: now.
        proc: Where the kernel tells of itself.
        service: What systemd says of the unit; default: it is asked. Empty: not installed.
    """
    now = datetime.now(UTC) if now is None else now
    service = unit.properties(unit.unit_for(reading.path)) if service is None else service
    reading = unit.with_credential(reading, service)
    found = [*reading.findings, *account.findings(reading, ask, now=now)]
    if reading.settings is not None:
        trees = folders.trees(reading.settings)
        found += folders.findings(reading.settings, trees, proc=proc, where=reading.where)
        found += machine.findings(reading.settings, trees, now=now, proc=proc)
        found += unit.findings(reading, service, user_id=os.geteuid())
    return sorted(found, key=lambda one: list(Severity).index(one.severity))


def verdict(found: Sequence[Finding]) -> ExitCode:
    """Say with which code ``check`` ends: a wrong configuration before a refused key before a network that is down."""
    codes = {_CODES.get(one.kind, ExitCode.CONFIG) for one in found if one.severity is Severity.ERROR}
    return next((code for code in _ORDER if code in codes), ExitCode.OK)
