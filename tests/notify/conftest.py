"""People who are told."""

from collections.abc import Iterator

import pytest

from tests.notify.people import People, listening


@pytest.fixture
def people() -> Iterator[People]:
    with listening() as found:
        yield found
