"""What holds for all tests: their tiers, how they are spread over processes, and how far Hypothesis searches."""

import os
from pathlib import Path

import pytest
from xdist.scheduler import LoadScopeScheduling

from tests import profiles

HERE = Path(__file__).parent
TIERS = ("systemd", "kernel", "torture", "e2e", "browser")
"""The slow tiers, longest first. A test belongs to one by its directory or by its marker; all others are quick."""

TOGETHER = {
    "systemd": "systemd",
    "kernel": "kernel",
    "watch/test_folder.py": "what opens the folders of all tests to other users",
    "host/test_locks.py": "what opens the folders of all tests to other users",
    "ledger/test_sqlite.py": "what opens the folders of all tests to other users",
}
"""Directories and files whose tests run one after the other in one process: they share what is there once only."""

ALONE = ("e2e/", "torture/")
"""Directories of which each test may run anywhere: they are long, and share nothing."""

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


class Spread(LoadScopeScheduling):
    """
    Give each process one file after the other, but for what belongs together or is long.

    xdist's own groups, by marker, do nothing with pytest 9.2, and nobody is told.
    """

    def _split_scope(self, nodeid: str) -> str:
        path = nodeid.removeprefix("tests/")
        for place, group in TOGETHER.items():
            if path.startswith(place):
                return group
        return nodeid if path.startswith(ALONE) else path.partition("::")[0]


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> Spread:
    return Spread(config, log)  # type: ignore[arg-type]


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
    items.sort(key=lambda item: [*TIERS, "quick"].index(tier_of(item)))


def tier_of(item: pytest.Item) -> str:
    return next((tier for tier in TIERS if item.get_closest_marker(tier)), "quick")
