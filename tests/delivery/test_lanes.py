"""How many pictures are decoded at once, by the memory that they need."""

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest

from rembg_watch.delivery.lanes import Lane
from rembg_watch.delivery.waiting import NOBODY, Waiting
from tests.life import eventually


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rembg_watch.delivery.lanes.BEAT_S", 0.02)


def taking(lane: Lane, needed: int, waiting: Waiting = NOBODY) -> tuple[threading.Thread, threading.Event]:
    """Take places in a thread; the event says that it has them, and it goes once it is cleared."""
    has, goes = threading.Event(), threading.Event()

    def take() -> None:
        with lane.taken(needed, waiting):
            has.set()
            goes.wait(60)

    thread = threading.Thread(target=take, daemon=True)
    thread.goes = goes  # type: ignore[attr-defined]
    thread.start()
    return thread, has


def let_go(thread: threading.Thread) -> None:
    thread.goes.set()  # type: ignore[attr-defined]
    thread.join(60)


@pytest.mark.parametrize(("needed", "beside"), [(0, 3), (249, 3), (250, 2), (499, 2), (500, 1), (999, 0), (10**9, 0)])
def test_a_picture_takes_as_many_places_as_it_needs_and_leaves_the_others(needed: int, beside: int) -> None:
    lane = Lane(4, 1000)
    taken: list[AbstractContextManager[Callable[[], None]]] = []
    with lane.taken(needed):
        for _ in range(beside):
            taken.append(lane.taken(1))
            taken[-1].__enter__()
        thread, has = taking(lane, 1)
        assert not has.wait(0.1), "there is no place left"
    eventually(has.is_set)
    let_go(thread)
    for one in taken:
        one.__exit__(None, None, None)


def test_whoever_waits_for_a_place_is_alive_and_waits_for_no_disk() -> None:
    lane, said = Lane(2, 1000), list[str]()
    waiting = Waiting(beat=lambda: said.append("beat"), moved=lambda: said.append("moved"))
    with lane.taken(1000):
        small, has_small = taking(lane, 1, waiting)
        eventually(lambda: {"beat", "moved"} <= set(said))
        large, has_large = taking(lane, 1000, waiting)
        waits, said[:] = len(said), []
        eventually(lambda: len(said) > waits)
    eventually(has_small.is_set)
    let_go(small)
    eventually(has_large.is_set)
    let_go(large)


def test_places_that_are_given_back_early_are_given_back_once() -> None:
    lane = Lane(2, 1000)
    with lane.taken(1000) as give_back:
        give_back()
        give_back()
        first, has_first = taking(lane, 1000)
        eventually(has_first.is_set)
    second, has_second = taking(lane, 1)
    assert not has_second.wait(0.1), "the lane is no wider than it was"
    let_go(first)
    eventually(has_second.is_set)
    let_go(second)
