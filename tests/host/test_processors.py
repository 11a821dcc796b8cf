"""Where many threads share Python's lock, they share a processor; nothing else does."""

import ctypes
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import TypeVar

import pytest

from rembg_watch.host.processors import MANY_WORKERS, anywhere, let_go, shared_processor, stay_on

OURS = os.sched_getaffinity(0)
T = TypeVar("T")

pytestmark = pytest.mark.skipif(len(OURS) < 2, reason="this machine gives us one processor alone")


def in_a_thread(work: Callable[[], T]) -> T:
    found: list[T] = []
    thread = threading.Thread(target=lambda: found.append(work()))
    thread.start()
    thread.join()
    return found[0]


def settled() -> set[int]:
    stay_on(shared_processor(MANY_WORKERS))
    return os.sched_getaffinity(0)


def test_a_thread_of_a_large_pool_stays_where_the_pool_is_and_the_others_run_anywhere() -> None:
    assert len(in_a_thread(settled)) == 1
    assert os.sched_getaffinity(0) == OURS
    assert in_a_thread(lambda: os.sched_getaffinity(0)) == OURS


def test_the_processor_is_one_that_this_process_may_use() -> None:
    chosen = min(OURS)
    code = f"import os; os.sched_setaffinity(0, {{{chosen}, {max(OURS)}}}); from rembg_watch.host.processors import *; "
    run = subprocess.run(
        [sys.executable, "-c", code + "print(shared_processor(64))"], capture_output=True, text=True, check=True
    )
    assert int(run.stdout) in {chosen, max(OURS)}


@pytest.mark.parametrize(
    ("workers", "before"),
    [
        pytest.param(MANY_WORKERS - 1, "", id="few workers"),
        pytest.param(64, f"os.sched_setaffinity(0, {{{min(OURS)}}})", id="one processor"),
        pytest.param(64, "del os.sched_getaffinity", id="another system"),
        pytest.param(64, "sys._is_gil_enabled = lambda: False", id="no lock to share"),
    ],
)
def test_threads_run_anywhere_where_staying_together_helps_nobody(workers: int, before: str) -> None:
    code = f"import os, sys\n{before}\nfrom rembg_watch.host.processors import shared_processor\n"
    run = subprocess.run(
        [sys.executable, "-c", f"{code}print(shared_processor({workers}))"], capture_output=True, text=True, check=True
    )
    assert run.stdout == "None\n"


def test_no_processor_is_no_order() -> None:
    def told_nothing() -> set[int]:
        stay_on(None)
        return os.sched_getaffinity(0)

    assert in_a_thread(told_nothing) == OURS


def test_who_computes_runs_anywhere_and_comes_back_whatever_happened() -> None:
    def computes() -> tuple[set[int], set[int], set[int]]:
        here, there = settled(), set[int]()
        with pytest.raises(OSError, match="no picture"), anywhere():
            fail(there)
        return here, there, os.sched_getaffinity(0)

    def fail(seen: set[int]) -> None:
        seen |= os.sched_getaffinity(0)
        raise OSError("no picture")

    here, there, after = in_a_thread(computes)
    assert there == OURS
    assert after == here


def test_who_runs_anywhere_already_is_left_alone() -> None:
    with anywhere():
        assert os.sched_getaffinity(0) == OURS
    assert os.sched_getaffinity(0) == OURS


def test_a_child_of_a_thread_that_stays_runs_anywhere() -> None:
    def child() -> str:
        settled()
        with subprocess.Popen(["sleep", "10"]) as process:
            kept = os.sched_getaffinity(process.pid)
            let_go(process.pid)
            freed = os.sched_getaffinity(process.pid)
            process.kill()
        return f"{len(kept)} then {len(freed)}"

    assert in_a_thread(child) == f"1 then {len(OURS)}"


def test_a_service_that_may_not_choose_a_processor_works_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(_thread: int, _processors: set[int]) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "sched_setaffinity", refused)
    assert in_a_thread(settled) == OURS


def test_the_c_library_says_where_a_thread_runs() -> None:
    assert ctypes.CDLL(None).sched_getcpu() in OURS
