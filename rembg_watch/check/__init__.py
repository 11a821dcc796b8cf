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

from rembg_watch.check import account, folders, machine, new_folders, unit
from rembg_watch.check.account import Ask, over_network
from rembg_watch.config import Finding, FindingKind, Reading, Severity
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
        trees = folders.trees(reading.settings)
        found += folders.findings(reading.settings, trees, proc=proc, where=reading.where)
        found += new_folders.findings(reading.settings, reading.where)
        found += machine.findings(reading.settings, trees, now=now, proc=proc)
        found += unit.findings(reading, service, user_id=os.geteuid())
    return sorted(found, key=lambda one: list(Severity).index(one.severity))


def verdict(found: Sequence[Finding]) -> ExitCode:
    """Choose the exit code of ``check``: a wrong configuration outranks a refused key, and that a network failure."""
    codes = {_CODES.get(one.kind, ExitCode.CONFIG) for one in found if one.severity is Severity.ERROR}
    return next((code for code in _ORDER if code in codes), ExitCode.OK)
