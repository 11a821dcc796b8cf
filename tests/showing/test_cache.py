"""Views that are kept, and how many."""

import os
from pathlib import Path

from rembg_watch.showing.cache import Cache


def test_what_is_kept_is_found_and_what_is_not_is_not(tmp_path: Path) -> None:
    cache = Cache(tmp_path, limit_bytes=1000)
    cache.keep("ab12", b"view")
    assert (cache.find("ab12"), cache.find("ab13")) == (b"view", None)


def test_what_was_not_used_for_longest_goes_first(tmp_path: Path) -> None:
    cache = Cache(tmp_path, limit_bytes=1000)
    for number in range(10):
        cache.keep(f"a{number}", bytes(100))
        os.utime(tmp_path / f"a{number}" / f"a{number}", (number, number))
    assert cache.find("a0") is not None, "a look marks it as used"
    cache.keep("b0", bytes(100))
    left = sorted(path.name for path in tmp_path.rglob("*") if path.is_file())
    assert "a0" in left
    assert "b0" in left
    assert "a1" not in left
    assert 700 <= 100 * len(left) <= 900


def test_what_an_earlier_run_left_counts(tmp_path: Path) -> None:
    for number in range(20):
        Cache(tmp_path, limit_bytes=10_000).keep(f"a{number}", bytes(100))
    Cache(tmp_path, limit_bytes=1000).keep("b0", bytes(100))
    assert sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()) <= 1000


def test_a_view_that_was_half_written_by_a_crash_is_removed(tmp_path: Path) -> None:
    (tmp_path / "ab").mkdir()
    (tmp_path / "ab" / "ab1.1-1.part").write_bytes(b"x")
    os.utime(tmp_path / "ab" / "ab1.1-1.part", (1, 1))
    Cache(tmp_path, limit_bytes=1000).keep("ab2", b"view")
    assert [path.name for path in (tmp_path / "ab").iterdir()] == ["ab2"]


def test_a_disk_that_refuses_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "ab").write_text("a file where a folder is to be")
    cache = Cache(tmp_path, limit_bytes=1000)
    cache.keep("ab1", b"view")
    assert cache.find("ab1") is None
