from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rembg_watch.jobs import Version
from rembg_watch.watch.settle import CHANGING, EMPTY, FileStat, Settler, Sighting, is_settled

SETTLE_S = 3.0
WHOLE = FileStat(size_bytes=900, mtime_ns=10**18, ctime_ns=10**18, inode=7, device=1)


def settler() -> Settler[str]:
    return Settler(SETTLE_S)


def taken(files: Settler[str], now: float) -> list[tuple[str, FileStat]]:
    """Take every file that has settled by now, as the intake does."""
    found = [(name, one.stat) for name, one in files.pending() if files.has_settled(name, now)]
    for name, _ in found:
        files.forget(name)
    return found


@pytest.mark.parametrize(
    ("size_bytes", "looks", "age_s", "expected"),
    [
        pytest.param(900, 2, 3.0, True, id="unchanged for just long enough"),
        pytest.param(900, 2, 2.999, False, id="a moment too early"),
        pytest.param(900, 1, 1e9, False, id="seen only once, however long ago"),
        pytest.param(0, 99, 1e9, False, id="empty, however long"),
        pytest.param(1, 2, 3.0, True, id="one byte"),
        pytest.param(900, 2, -5.0, False, id="a clock that went back"),
    ],
)
def test_a_file_is_settled_when_two_looks_show_the_same(
    size_bytes: int, looks: int, age_s: float, expected: bool
) -> None:
    sighting = Sighting(replace(WHOLE, size_bytes=size_bytes), 0.0, 100.0, looks, 0.0, "")
    assert is_settled(sighting, now=100.0 + age_s, settle_s=SETTLE_S) is expected


def test_a_file_settles_after_the_settle_time_and_is_taken_once() -> None:
    files = settler()
    assert files.see("a.jpg", WHOLE, 0.0) is True
    assert files.see("a.jpg", WHOLE, 2.0) is False
    assert taken(files, 2.9) == []
    assert taken(files, 3.0) == [("a.jpg", WHOLE)]
    assert taken(files, 4.0) == []
    assert len(files) == 0


@pytest.mark.parametrize("field", ["size_bytes", "mtime_ns", "ctime_ns", "inode", "device"])
def test_every_change_starts_the_wait_again(field: str) -> None:
    files = settler()
    changed = replace(WHOLE, **{field: getattr(WHOLE, field) - 1})
    files.see("a.jpg", WHOLE, 0.0)
    files.see("a.jpg", changed, 2.9)
    files.see("a.jpg", changed, 3.1)
    assert taken(files, 5.8) == []
    assert taken(files, 5.9) == [("a.jpg", changed)]


def test_an_old_date_does_not_make_a_file_older() -> None:
    files = settler()
    files.see("copied.jpg", replace(WHOLE, mtime_ns=0), 1000.0)
    files.see("copied.jpg", replace(WHOLE, mtime_ns=0), 1002.0)
    assert taken(files, 1002.9) == []


def test_a_change_back_to_an_earlier_look_is_a_change_too() -> None:
    files = settler()
    for now, stat in [(0.0, WHOLE), (1.0, replace(WHOLE, size_bytes=5)), (2.0, WHOLE), (2.5, WHOLE)]:
        files.see("a.jpg", stat, now)
    assert taken(files, 4.9) == []
    assert taken(files, 5.0) == [("a.jpg", WHOLE)]


def test_an_empty_file_waits_for_ever_and_settles_once_it_is_filled() -> None:
    files = settler()
    for now in range(0, 600, 3):
        files.see("a.jpg", replace(WHOLE, size_bytes=0), float(now))
    assert taken(files, 600.0) == []
    assert files.pending()[0][1].reason == EMPTY
    files.see("a.jpg", WHOLE, 600.0)
    files.see("a.jpg", WHOLE, 603.0)
    assert taken(files, 603.0) == [("a.jpg", WHOLE)]


def test_the_next_look_is_due_when_the_file_can_have_settled() -> None:
    files = settler()
    assert files.next_due_s() is None
    files.see("a.jpg", WHOLE, 10.0)
    files.see("b.jpg", WHOLE, 11.0)
    assert files.next_due_s() == 13.0
    assert files.due(12.9) == []
    assert files.due(13.0) == ["a.jpg"]
    assert files.next_due_s() == 14.0


def test_a_look_that_was_due_comes_again_if_the_caller_failed() -> None:
    files = settler()
    files.see("a.jpg", WHOLE, 0.0)
    assert files.due(3.0) == ["a.jpg"]
    assert files.due(3.0) == []
    assert files.due(6.0) == ["a.jpg"]


def test_a_change_moves_the_next_look() -> None:
    files = settler()
    files.see("a.jpg", WHOLE, 0.0)
    files.see("a.jpg", replace(WHOLE, size_bytes=901), 2.0)
    assert files.due(4.9) == []
    assert files.due(5.0) == ["a.jpg"]


def test_only_so_many_looks_are_named_at_once() -> None:
    files = settler()
    for name in "abc":
        files.see(name, WHOLE, 0.0)
    assert files.due(3.0, limit=2) == ["a", "b"]
    assert files.due(3.0, limit=2) == ["c"]


def test_what_is_put_off_is_not_looked_at_before_its_time_unless_it_changes() -> None:
    files = settler()
    files.see("a.jpg", WHOLE, 0.0)
    files.see("b.jpg", WHOLE, 0.0)
    files.due(3.0)
    for name in ("a.jpg", "b.jpg"):
        files.put_off(name, until_s=300.0, reason="its end is missing")
    files.see("b.jpg", replace(WHOLE, size_bytes=1000), 50.0)
    assert files.due(52.9) == []
    assert files.due(53.0) == ["b.jpg"]
    assert [(name, one.reason, one.is_put_off) for name, one in files.pending()] == [
        ("a.jpg", "its end is missing", True),
        ("b.jpg", CHANGING, False),
    ]
    files.forget("b.jpg")
    assert files.due(299.0) == []
    assert files.due(300.0) == ["a.jpg"]


def test_what_is_put_off_can_be_hurried_and_nothing_else() -> None:
    files = settler()
    files.see("a.jpg", WHOLE, 0.0)
    files.hurry("a.jpg", 1.0)
    assert files.due(1.0) == []
    files.due(3.0)
    files.put_off("a.jpg", until_s=300.0, reason="a program still has it open")
    files.hurry("a.jpg", 10.0)
    assert files.due(10.0) == ["a.jpg"]


def test_a_put_off_file_has_settled_all_the_same() -> None:
    files = settler()
    files.see("a.jpg", WHOLE, 0.0)
    files.see("a.jpg", WHOLE, 3.0)
    files.put_off("a.jpg", until_s=300.0, reason="its end is missing")
    assert files.has_settled("a.jpg", 300.0)
    assert files.unchanged_s("a.jpg", 300.0) == 300.0


def test_what_is_forgotten_is_never_named_again() -> None:
    files = settler()
    files.see("a.jpg", WHOLE, 0.0)
    assert files.forget("a.jpg") is True
    assert files.forget("a.jpg") is False
    assert len(files) == 0
    assert files.due(99.0) == []
    assert files.next_due_s() is None
    assert not files.has_settled("a.jpg", 99.0)


def test_pending_lists_the_oldest_first_with_reason_and_first_look() -> None:
    files = settler()
    files.see("old.jpg", replace(WHOLE, size_bytes=0), 1.0)
    files.see("new.jpg", WHOLE, 5.0)
    files.see("old.jpg", WHOLE, 6.0)
    assert [(name, one.first_seen_s, one.reason) for name, one in files.pending()] == [
        ("old.jpg", 1.0, CHANGING),
        ("new.jpg", 5.0, CHANGING),
    ]


def test_the_version_for_the_ledger_leaves_out_what_a_remount_changes() -> None:
    assert WHOLE.version == Version(size_bytes=900, mtime_ns=10**18, inode=7)
    assert replace(WHOLE, device=9, ctime_ns=1).version == WHOLE.version


@given(st.lists(st.tuples(st.floats(0.01, 5), st.integers(0, 2)), min_size=1, max_size=30))
def test_a_file_is_only_ever_taken_after_looking_the_same_for_the_whole_time(steps: list[tuple[float, int]]) -> None:
    files, now, changed_at, last = settler(), 0.0, 0.0, -1
    for pause_s, size_bytes in steps:
        now += pause_s
        changed_at = now if size_bytes != last else changed_at
        last = size_bytes
        files.see("a.jpg", replace(WHOLE, size_bytes=size_bytes), now)
        for _, stat in taken(files, now):
            assert now - changed_at >= SETTLE_S
            assert stat.size_bytes == size_bytes > 0
            last = -1


def test_the_list_of_what_is_unsettled_can_be_cut_and_begins_with_what_waits_longest() -> None:
    files = settler()
    for number, name in enumerate(["c", "a", "b"]):
        files.see(name, WHOLE, float(number))
    files.see("c", replace(WHOLE, size_bytes=2), 5.0)  # a change starts its wait again, and it was still seen first
    files.forget("a")
    files.see("a", WHOLE, 6.0)
    assert [name for name, _ in files.pending()] == ["c", "b", "a"]
    assert [name for name, _ in files.pending(2)] == ["c", "b"]
    assert files.pending(0) == []
