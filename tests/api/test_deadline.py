import math
import os
import socket
import threading
import time
from collections.abc import Callable
from math import inf

import pytest

from rembg_watch.api import deadline as module
from rembg_watch.api.deadline import SLOWEST_BYTES_PER_S, WATCH, Deadline, Watch
from tests.api.patience import end_of

WITHIN_S = 20


def wait_until_cut(connection: socket.socket) -> bytes:
    connection.settimeout(WITHIN_S)
    return connection.recv(1)


def wait_until(has_come: Callable[[], bool]) -> None:
    until_s = time.monotonic() + WITHIN_S
    while not has_come():
        assert time.monotonic() < until_s
        threading.Event().wait(0.001)


def watch_has_told() -> None:
    """Wait until the watch has told all whose end has come by now."""
    for _ in range(2):  # those whose end comes together are told in any order
        last = End(0.0)
        WATCH.add(last)
        assert last.came.wait(WITHIN_S)


def let_pass(deadline: Deadline) -> None:
    """Let its time be over now, whenever the machine gets to this line, and let the watch see it."""
    deadline.ends_at_s = time.monotonic()
    watch_has_told()


class End:
    """Something with an end, and nothing else."""

    def __init__(self, in_s: float) -> None:
        self.ends_at_s = time.monotonic() + in_s
        self.came = threading.Event()

    def come_to_end(self) -> None:
        self.came.set()


def test_a_call_that_takes_too_long_is_cut_wherever_it_waits() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, Deadline(0.05) as deadline:
        deadline.cuts(ours)
        assert wait_until_cut(ours) == b""
        assert not deadline.is_met()


def test_a_connection_that_comes_too_late_is_cut_at_once() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, Deadline(0.0) as deadline:
        wait_until(lambda: deadline.is_passed)
        deadline.cuts(ours)
        assert wait_until_cut(ours) == b""


def test_a_call_that_is_done_is_never_cut() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        with Deadline(60) as deadline:
            deadline.cuts(ours)
            assert deadline.is_met()
            let_pass(deadline)
        theirs.send(b"x")
        assert wait_until_cut(ours) == b"x"


def test_bytes_that_move_earn_time_and_the_last_of_the_body_starts_anew() -> None:
    with Deadline(60) as deadline:
        first = deadline.ends_at_s
        deadline.moved(2 * SLOWEST_BYTES_PER_S)
        assert deadline.ends_at_s == first + 2
        deadline.handed_over(1000 * SLOWEST_BYTES_PER_S, 1)
        assert deadline.ends_at_s == first + 1002
        deadline.handed_over(SLOWEST_BYTES_PER_S, 0)
        assert first <= deadline.ends_at_s < first + 1000


def test_the_clock_of_a_call_stands_still_while_the_caller_does_something_of_his_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with Deadline(60) as deadline:
        with deadline.paused():
            assert deadline.ends_at_s == inf
            monkeypatch.setattr(module, "monotonic", lambda: time.monotonic() + 600)
            watch_has_told()
        assert deadline.ends_at_s < inf
        assert deadline.is_met()


def test_the_clock_goes_on_where_it_stood_also_after_an_error() -> None:
    with Deadline(30) as deadline:
        before_s = deadline.ends_at_s
        with pytest.raises(KeyError), deadline.paused():
            raise KeyError
        assert before_s <= deadline.ends_at_s < before_s + 10


def test_a_socket_that_may_serve_another_call_is_never_cut() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, Deadline(60) as deadline:
        deadline.cuts(ours)
        deadline.cuts(None)
        let_pass(deadline)
        assert deadline.is_passed
        theirs.send(b"x")
        assert wait_until_cut(ours) == b"x"


# --- the watch


@pytest.fixture
def watch() -> Watch:
    return Watch()


def test_an_earlier_end_comes_first_also_when_the_watch_sleeps_for_a_later_one(watch: Watch) -> None:
    late, early = End(60), End(0.02)
    watch.add(late)
    watch.add(early)
    assert early.came.wait(WITHIN_S)
    assert not late.came.is_set()
    watch.remove(late)


def test_one_thread_watches_all(watch: Watch) -> None:
    before = threading.active_count()
    ends = [End(60) for _ in range(20)] + [End(0.01) for _ in range(20)]
    for end in ends:
        watch.add(end)
    assert all(end.came.wait(WITHIN_S) for end in ends[20:])
    assert threading.active_count() <= before + 1
    for end in ends:
        watch.remove(end)


def test_an_end_that_moves_is_found_within_a_second(watch: Watch) -> None:
    moving = End(60)
    watch.add(moving)
    wait_until(lambda: time.monotonic() < watch._looks_at_s < inf)  # it sleeps
    moving.ends_at_s = time.monotonic()
    assert moving.came.wait(WITHIN_S), "it would else be looked at after 60 s"


@pytest.mark.parametrize("end_s", [None, "soon", math.nan], ids=repr)
def test_what_is_broken_keeps_nobody_else_from_coming_to_an_end(watch: Watch, end_s: object) -> None:
    class Broken(End):
        def come_to_end(self) -> None:
            super().come_to_end()
            raise RuntimeError

    broken, fine, raising = End(0), End(0.02), Broken(0)
    broken.ends_at_s = end_s  # type: ignore[assignment]
    for one in (broken, raising, fine):
        watch.add(one)
    assert fine.came.wait(WITHIN_S)
    assert raising.came.wait(WITHIN_S)
    again = End(0)
    watch.add(again)
    assert again.came.wait(WITHIN_S)
    watch.remove(broken)


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_child_process_watches_with_a_thread_of_its_own() -> None:
    with Deadline(60):
        child = os.fork()
        if child == 0:
            end = End(0.01)
            WATCH.add(end)
            os._exit(0 if end.came.wait(WITHIN_S) else 1)
        assert end_of(child) == 0
