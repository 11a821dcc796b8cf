from collections.abc import Iterator
from pathlib import Path

import pytest

from rembg_watch.ledger import Ledger
from tests.ledger.engines import ENGINES, Engine, Home


@pytest.fixture(params=ENGINES.values(), ids=ENGINES)
def engine(request: pytest.FixtureRequest) -> Engine:
    made: Engine = request.param
    return made


@pytest.fixture
def home(engine: Engine, tmp_path: Path) -> Home:
    return engine(tmp_path)


@pytest.fixture
def ledger(home: Home) -> Iterator[Ledger]:
    with home.open() as opened:
        yield opened
