import socket
import threading
import time
from math import inf

import pytest

from rembg_watch.api.deadline import SLOWEST_BYTES_PER_S, Deadline


class Stream:
    """What httpx tells of a new connection."""

    def __init__(self, connection: object) -> None:
        self._connection = connection

    def get_extra_info(self, name: str) -> object:
        return self._connection if name == "socket" else None


def wait_until_cut(connection: socket.socket) -> bytes:
    connection.settimeout(5)
    return connection.recv(1)


def test_a_call_that_takes_too_long_is_cut_wherever_it_waits() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, Deadline(0.05) as deadline:
        deadline.trace("connection.connect_tcp.complete", {"return_value": Stream(ours)})
        assert wait_until_cut(ours) == b""
        assert not deadline.is_met()


def test_a_connection_that_comes_too_late_is_cut_at_once() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, Deadline(0.0) as deadline:
        until = time.monotonic() + 5
        while not deadline.is_passed and time.monotonic() < until:
            threading.Event().wait(0.001)
        deadline.trace("connection.connect_tcp.complete", {"return_value": Stream(ours)})
        assert wait_until_cut(ours) == b""


def test_a_call_that_is_done_is_never_cut() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        with Deadline(0.05) as deadline:
            deadline.trace("connection.connect_tcp.complete", {"return_value": Stream(ours)})
            assert deadline.is_met()
            deadline._watcher.join(5)
        theirs.send(b"x")
        assert wait_until_cut(ours) == b"x"


def test_bytes_that_move_earn_time_and_the_last_of_the_body_starts_anew() -> None:
    with Deadline(60) as deadline:
        first = deadline.ends_at_s
        deadline.moved(2 * SLOWEST_BYTES_PER_S)
        assert deadline.ends_at_s == first + 2
        deadline.handed_over(SLOWEST_BYTES_PER_S, 1)
        assert deadline.ends_at_s == first + 3
        deadline.handed_over(SLOWEST_BYTES_PER_S, 0)
        assert first <= deadline.ends_at_s < first + 2


def test_what_has_no_socket_is_left_alone() -> None:
    with Deadline(60) as deadline:
        deadline.trace("connection.connect_tcp.started", {})
        deadline.trace("connection.start_tls.complete", {"return_value": Stream(None)})
        assert deadline.is_met()


def test_the_send_buffer_is_made_small() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, Deadline(60) as deadline:
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        before = ours.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
        deadline.trace("connection.connect_tcp.complete", {"return_value": Stream(ours)})
        assert ours.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) < before


def test_the_clock_of_a_call_stands_still_while_the_caller_does_something_of_his_own() -> None:
    with Deadline(0.05) as deadline:
        with deadline.paused():
            assert deadline.ends_at_s == inf
            threading.Event().wait(0.2)
        assert deadline.ends_at_s < inf
        assert deadline.is_met()


def test_the_clock_goes_on_where_it_stood_also_after_an_error() -> None:
    with Deadline(30) as deadline:
        before_s = deadline.ends_at_s
        with pytest.raises(KeyError), deadline.paused():
            raise KeyError
        assert before_s <= deadline.ends_at_s < before_s + 10
