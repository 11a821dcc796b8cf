"""``jobs``, as a user calls it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from rembg_watch.sandbox import Sandbox


def test_odd_shows_what_should_be_looked_at_and_nothing_else(
    desk: Path, serve: Callable[..., Sandbox], call: Callable[..., Any], make_picture: Callable[..., bytes]
) -> None:
    sandbox = serve(engine="fast")
    (desk / "in").mkdir()
    (desk / "rembg-watch.toml").write_text(
        f'state_dir = "{desk / "state"}"\n[watch]\nsettle_s = 0.1\n[output]\nfree_space_reserve_mb = 0\n'
        f'[[folders]]\nname = "f"\ninput = "{desk / "in"}"\noutput = "{desk / "out"}"\n'
    )
    for number in range(3):
        (desk / f"in/{number}.jpg").write_bytes(make_picture(600 + number, 500))
    sandbox.add_fault("wrong_size", count=1, file="1.jpg")
    assert call("once").code == 75
    assert all(f"f/{number}.jpg" in call("jobs").out for number in range(3))
    odd = call("jobs", "--odd").out
    assert "f/1.jpg" in odd
    assert "f/0.jpg" not in odd
    assert "f/2.jpg" not in odd
    assert "no jobs" in call("jobs", "--odd", "--state", "done").out
