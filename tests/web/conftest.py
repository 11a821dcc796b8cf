from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from rembg_watch.delivery.decoders import Decoders
from rembg_watch.web.daemons import Daemon
from tests.web.studio import Asking, Studio


@pytest.fixture(scope="session")
def decoders() -> Iterator[Decoders]:
    with closing(Decoders(most=2)) as made:
        yield made


@pytest.fixture
def studio(tmp_path: Path) -> Studio:
    return Studio(tmp_path / "studio")


@pytest.fixture
def asking(decoders: Decoders, tmp_path: Path) -> Iterator[Callable[..., Asking]]:
    """Open the page of one studio, or of several by name."""
    opened: list[Daemon] = []

    def open_page(*studios: Studio, names: tuple[str, ...] = ("",), **more: Any) -> Asking:
        daemons = {
            name: Daemon(name, one.config, {"HOME": str(tmp_path), **one.environ})
            for name, one in zip(names, studios, strict=True)
        }
        opened.extend(daemons.values())
        return Asking(daemons, decoders, tmp_path / "cache", **more)

    yield open_page
    for one in opened:
        one.close()
