import threading
import time
from pathlib import Path

import pytest

from rembg_watch.host import silence
from rembg_watch.host.silence import silent


def test_what_does_not_answer_in_time_is_named_and_whatever_fails_has_answered(tmp_path: Path) -> None:
    released = threading.Event()
    hangs, there, missing = tmp_path / "hangs", tmp_path, tmp_path / "missing"

    def look(path: Path) -> None:
        if path == hangs:
            released.wait()
        path.stat()

    try:
        began_s = time.monotonic()
        assert silent([hangs, there, missing, Path("a\0b")], within_s=0.2, look=look) == {hangs}
        assert time.monotonic() - began_s < 5
    finally:
        released.set()


def test_many_that_hang_take_no_longer_than_one(tmp_path: Path) -> None:
    released = threading.Event()
    paths = [tmp_path / str(number) for number in range(20)]
    try:
        began_s = time.monotonic()
        assert silent(paths, within_s=0.5, look=lambda _path: released.wait()) == set(paths)
        assert time.monotonic() - began_s < 5, "20 times half a second is 10"
    finally:
        released.set()


def test_without_threads_to_ask_with_nobody_is_silent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(silence.threading.Thread, "start", refuse)
    assert silent([tmp_path]) == set()
