import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FunctionType

import pytest
from sqlalchemy import Connection

from rembg_watch.ledger.commits import SharedCommits, _Entry


def is_in(thread: threading.Thread, *functions: FunctionType) -> bool:
    """Say whether a thread has got into all these functions and not yet out of them."""
    codes = set()
    frame = sys._current_frames().get(thread.ident or 0)
    while frame is not None:
        codes.add(frame.f_code)
        frame = frame.f_back
    return codes >= {function.__code__ for function in functions}


class Recorder:
    """Stands for a database: it notes which work went into which transaction."""

    def __init__(self) -> None:
        self.groups: list[list[str]] = []
        self.durable: list[bool] = []
        self.fails = 0
        self.entered = threading.Event()
        self.may_commit = threading.Event()
        self.may_commit.set()

    @contextmanager
    def __call__(self, is_durable: bool) -> Iterator[Connection]:
        group: list[str] = []
        self.group = group
        self.entered.set()
        assert self.may_commit.wait(10)
        yield None  # type: ignore[misc]  # the work below wants no database
        if self.fails:
            self.fails -= 1
            raise OSError("commit failed")
        self.groups.append(group)
        self.durable.append(is_durable)

    def work(self, name: str) -> Callable[[Connection], str]:
        def act(_connection: Connection) -> str:
            self.group.append(name)
            if name.startswith("bad"):
                raise ValueError(name)
            return f"did {name}"

        return act


class TestSharedCommits:
    @staticmethod
    def _together(commits: SharedCommits, recorder: Recorder, names: list[str]) -> dict[str, object]:
        """Let one thread lead and the others come while its transaction is open."""
        found: dict[str, object] = {}

        def run(name: str) -> None:
            try:
                found[name] = commits.run(recorder.work(name), is_durable=not name.endswith("lax"))
            except Exception as error:  # noqa: BLE001 - it is looked at below
                found[name] = error

        recorder.may_commit.clear()
        threads = [threading.Thread(target=run, args=(name,)) for name in names]
        threads[0].start()
        assert recorder.entered.wait(10)
        for came, thread in enumerate(threads[1:], start=1):
            thread.start()
            while len(commits._waiting) < came:
                assert thread.is_alive()
        recorder.may_commit.set()
        for thread in threads:
            thread.join(10)
        return found

    def test_who_is_alone_commits_alone(self) -> None:
        recorder = Recorder()
        commits = SharedCommits(recorder)
        assert [commits.run(recorder.work(name), is_durable=True) for name in "ab"] == ["did a", "did b"]
        assert recorder.groups == [["a"], ["b"]]

    def test_those_who_come_during_a_commit_share_the_next(self) -> None:
        recorder = Recorder()
        found = self._together(SharedCommits(recorder), recorder, ["first", "a", "b", "c"])
        assert recorder.groups == [["first"], ["a", "b", "c"]]
        assert found == {name: f"did {name}" for name in ("first", "a", "b", "c")}

    def test_one_that_fails_fails_alone(self) -> None:
        recorder = Recorder()
        found = self._together(SharedCommits(recorder), recorder, ["first", "a", "bad 1", "b", "bad 2", "c"])
        assert recorder.groups == [["first"], ["a", "b", "c"]]
        assert [str(found[name]) for name in ("a", "bad 1", "b", "bad 2", "c")] == [
            "did a",
            "bad 1",
            "did b",
            "bad 2",
            "did c",
        ]

    def test_a_commit_that_fails_fails_for_all_who_shared_it_and_for_nobody_after(self) -> None:
        recorder = Recorder()
        commits = SharedCommits(recorder)
        commits.run(recorder.work("before"), is_durable=True)
        recorder.fails = 2
        found = self._together(commits, recorder, ["first", "a", "b"])
        assert {str(one) for one in found.values()} == {"commit failed"}
        assert commits.run(recorder.work("after"), is_durable=True) == "did after"

    def test_a_group_is_no_larger_than_it_may_be(self) -> None:
        recorder = Recorder()
        self._together(SharedCommits(recorder, most=2), recorder, ["first", "a", "b", "c"])
        assert recorder.groups == [["first"], ["a", "b"], ["c"]]

    def test_one_who_needs_the_disk_makes_all_wait_for_it(self) -> None:
        recorder = Recorder()
        self._together(SharedCommits(recorder, most=2), recorder, ["first lax", "a lax", "b", "c lax", "d lax"])
        assert recorder.durable == [False, True, False]

    def test_a_leader_that_is_interrupted_leaves_nobody_waiting(self) -> None:
        recorder = Recorder()
        commits = SharedCommits(recorder)

        def interrupted(_connection: Connection) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            commits.run(interrupted, is_durable=True)
        assert commits.run(recorder.work("after"), is_durable=True) == "did after"

    def test_one_who_is_interrupted_while_he_waits_takes_his_work_away_and_leaves_nobody_waiting(self) -> None:
        recorder = Recorder()
        commits = SharedCommits(recorder)
        recorder.may_commit.clear()
        leader = threading.Thread(target=commits.run, args=(recorder.work("first"),), kwargs={"is_durable": True})
        leader.start()
        assert recorder.entered.wait(10)

        is_over = threading.Event()

        def interrupt() -> None:
            while not is_in(threading.main_thread(), SharedCommits.run, threading.Event.wait):
                assert not is_over.wait(0.001)
            os.kill(os.getpid(), signal.SIGINT)

        before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
        try:
            threading.Thread(target=interrupt).start()
            with pytest.raises(KeyboardInterrupt):
                commits.run(recorder.work("second"), is_durable=True)
        finally:
            is_over.set()
            signal.signal(signal.SIGINT, before)
        recorder.may_commit.set()
        leader.join(10)
        assert commits.run(recorder.work("third"), is_durable=True) == "did third"
        assert recorder.groups == [["first"], ["third"]]

    def test_one_who_is_interrupted_when_he_was_just_chosen_to_lead_passes_it_on(self) -> None:
        commits = SharedCommits(Recorder())
        gone, next_one = (_Entry(Recorder().work(name), is_durable=True) for name in ("gone", "next"))
        commits._waiting.extend([gone, next_one])  # type: ignore[list-item]
        commits._is_led = gone.leads = True
        commits._leave(gone)
        assert next_one.leads
        assert next_one.woken.is_set()
        assert list(commits._waiting) == [next_one]
