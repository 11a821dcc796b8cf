"""What holds for all tests: their tiers, how they are spread over processes, and how far Hypothesis searches."""

import os
from pathlib import Path

import pytest

from tests import profiles

HERE = Path(__file__).parent
TIERS = ("systemd", "kernel", "torture", "e2e", "browser")
"""The slow tiers, longest first. A test belongs to one by its directory or by its marker; all others are quick."""

IN_ONE_PROCESS = {"systemd", "kernel"}
"""Tiers that take the machine for themselves: one after the other, in one process."""

profiles.load()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """
    Start workers for directories alone: for a few named tests their start would take longer than the tests.

    Two for each core, because most tests wait: for a file to settle, for a process, for a clock.
    """
    if "PYTEST_XDIST_AUTO_NUM_WORKERS" in os.environ:
        return None
    if all(".py" in argument for argument in config.args):
        return 0
    return 2 * len(os.sched_getaffinity(0))


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test with its tier, and begin with what takes longest."""
    for item in items:
        directory = item.path.relative_to(HERE).parts[0]
        if directory in TIERS:
            item.add_marker(directory)
        tier = tier_of(item)
        if tier == "quick":
            item.add_marker(tier)
        if tier in IN_ONE_PROCESS:
            item.add_marker(pytest.mark.xdist_group(tier))
    items.sort(key=lambda item: [*TIERS, "quick"].index(tier_of(item)))


def tier_of(item: pytest.Item) -> str:
    return next((tier for tier in TIERS if item.get_closest_marker(tier)), "quick")
