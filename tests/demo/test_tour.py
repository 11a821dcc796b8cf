"""How the tour begins; tests/e2e runs it."""

import sys
from pathlib import Path

import pytest
from rich.console import Console

from rembg_watch.demo.tour import run_demo
from rembg_watch.errors import UsageError


def test_a_page_that_is_wanted_and_cannot_be_is_wrong_usage_before_anything_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)  # what an import of it finds where it is not installed
    said: list[str] = []
    with pytest.raises(UsageError, match=r"the page needs jinja2: pip install 'rembg-watch\[web\]'"):
        run_demo(tmp_path / "demo", say=said.append, note=said.append, console=Console(), stays=True)
    assert not (tmp_path / "demo").exists()
    assert said == []
