"""``jobs``, as a user calls it."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rembg_watch.sandbox import Sandbox


def configure(desk: Path) -> None:
    (desk / "in").mkdir()
    (desk / "rembg-watch.toml").write_text(
        f'state_dir = "{desk / "state"}"\n[watch]\nsettle_s = 0.1\n[output]\nfree_space_reserve_mb = 0\n'
        f'[[folders]]\nname = "f"\ninput = "{desk / "in"}"\noutput = "{desk / "out"}"\n'
    )


def test_calls_tell_a_pictures_story(
    desk: Path, serve: Callable[..., Sandbox], call: Callable[..., Any], make_picture: Callable[..., bytes]
) -> None:
    sandbox = serve()
    configure(desk)
    picture = make_picture(600, 500)
    (desk / "in/1.jpg").write_bytes(picture)
    sandbox.add_fault("status", count=1)
    assert call("once").code == 0
    (job,) = json.loads(call("jobs", "--calls", "--json").out)
    failed, answered = job["calls"]
    assert (failed["status"], failed["charge"], failed["credits"], failed["answer_bytes"]) == (503, "no", 1, None)
    assert failed["words"]
    assert (answered["status"], answered["charge"], answered["credits"], answered["words"]) == (200, "yes", 1, None)
    assert (answered["sent_bytes"], answered["options"]) == (len(picture), "format=webp")
    assert answered["answer_bytes"] > 0
    assert answered["duration_s"] > 0
    shown = " ".join(call("jobs", "--calls").out.split())
    assert re.search(
        r"call 20\d\d-\d\d-\d\d \d\d:\d\d:\d\d: [\d.]+ s, HTTP 503, http_503, .* sent, not charged.*: \w", shown
    )
    assert re.search(r"HTTP 200, [\d.]+ kB sent, [\d.]+ (kB|bytes) back, 1 credit charged", shown)
    assert "HTTP" not in call("jobs").out
    assert "calls" not in json.loads(call("jobs", "--json").out)[0]


def test_odd_shows_what_should_be_looked_at_and_nothing_else(
    desk: Path, serve: Callable[..., Sandbox], call: Callable[..., Any], make_picture: Callable[..., bytes]
) -> None:
    sandbox = serve(engine="fast")
    configure(desk)
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
