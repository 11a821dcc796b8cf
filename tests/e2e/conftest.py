"""A studio for each test, with a fresh account; every test here runs the whole program."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rembg_watch.sandbox import Sandbox
from tests.e2e.studio import KEY, Studio


@pytest.fixture
def open_studio(tmp_path: Path) -> Iterator[Callable[..., Studio]]:
    """Open a studio whose account is as the test wants it."""
    servers = []

    def make(**account: Any) -> Studio:
        sandbox = Sandbox(KEY, **({"engine": "flat", "credits": 5000} | account))
        server = sandbox.serve()
        servers.append(server)
        root = tmp_path / f"studio {len(servers)}"
        root.mkdir()
        return Studio(root, sandbox, server)

    yield make
    for server in servers:
        server.stop()


@pytest.fixture
def studio(open_studio: Callable[..., Studio]) -> Studio:
    return open_studio()
