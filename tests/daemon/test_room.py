"""Threads that the machine does not give: fewer workers, or a wait that is told."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rembg_watch.api.client import Client
from rembg_watch.api.deadline import Deadline, Watch
from rembg_watch.api.errors import UnreachableError
from rembg_watch.config import FolderSettings, Settings
from rembg_watch.daemon.assembly import Around
from rembg_watch.daemon.room import LOOK_S, make_fit, needed, that_fit
from rembg_watch.errors import ExitCode, NoThreadsError
from rembg_watch.host.clocks import Clocks
from rembg_watch.host.systemd import Notify
from rembg_watch.host.threads import room_for
from rembg_watch.report import events
from rembg_watch.sandbox import Sandbox


def settings(workers: int, folders: int = 1) -> Settings:
    made = tuple(
        FolderSettings(name=f"f{number}", input=Path(f"/i{number}"), output=Path(f"/o{number}"))
        for number in range(folders)
    )
    return Settings(state_dir=Path("/s"), pool={"workers": workers}, folders=made)  # type: ignore[arg-type]


def around(told: list[Any], *, wait: Callable[..., bool] = lambda _event, _seconds: False) -> Around:
    return Around(notify=Notify(), stopping=threading.Event(), report=told.append, clocks=Clocks(wait=wait))


@given(workers=st.integers(1, 80), folders=st.integers(0, 5), room=st.integers(0, 400))
def test_as_many_workers_as_fit_and_no_more(workers: int, folders: int, room: int) -> None:
    fit = that_fit(settings(workers, folders), lambda wanted: min(wanted, room))
    assert 0 <= fit <= workers
    assert fit == 0 or needed(fit, folders) <= room
    assert fit == workers or needed(fit + 1, folders) > room


def test_what_fits_is_what_it_begins_with() -> None:
    told: list[Any] = []
    fit = make_fit(settings(8), around(told), lambda wanted: min(wanted, needed(5, 1)), waits=False)
    assert fit.pool.workers == 5
    assert told == [events.FewerWorkers(workers=5, wanted=8, advice=told[0].advice)]
    assert "5 workers of 8" in told[0].sentence()
    assert make_fit(settings(8), around(told), lambda wanted: wanted, waits=False).pool.workers == 8
    assert len(told) == 1


def test_without_room_for_one_a_service_waits_and_says_so_once() -> None:
    told: list[Any] = []
    rooms = iter([0, 3, 7, 400])
    waits: list[float] = []

    def wait(_event: threading.Event, seconds: float) -> bool:
        waits.append(seconds)
        return False

    fit = make_fit(settings(8), around(told, wait=wait), lambda wanted: min(wanted, next(rooms)), waits=True)
    assert fit.pool.workers == 8
    assert waits == [LOOK_S] * 3
    assert [type(event) for event in told] == [events.NoThreads]


@pytest.mark.parametrize("waits", [True, False])
def test_a_run_that_does_not_wait_or_is_stopped_ends_with_work_left(waits: bool) -> None:
    with pytest.raises(NoThreadsError, match="TasksMax=") as caught:
        make_fit(settings(8), around([], wait=lambda _event, _seconds: True), lambda _wanted: 0, waits=waits)
    assert caught.value.exit_code is ExitCode.WAITING


def test_threads_are_tried_out_and_ended() -> None:
    before = threading.active_count()
    assert room_for(5) == 5
    assert threading.active_count() == before


def refused(_thread: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")


def test_a_limit_that_comes_later_is_trouble_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rembg_watch.api.deadline.WATCH", Watch())
    monkeypatch.setattr(threading.Thread, "start", refused)
    assert room_for(5) == 0
    with pytest.raises(UnreachableError, match="no more threads"), Deadline(5):
        pass
    with (
        Client("sandbox-key", transport=Sandbox(engine="flat").transport()) as client,
        pytest.raises(UnreachableError) as caught,
    ):
        client.account()
    assert caught.value.code == "no_threads"
