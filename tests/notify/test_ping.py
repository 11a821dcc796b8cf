"""The dead man's switch: it is asked for while all is well, and silent while it is not."""

import time

import pytest

from rembg_watch.notify.ping import Ping, ask
from rembg_watch.report import events
from tests.life import eventually
from tests.notify.people import People


def test_it_is_asked_for_at_once_and_then_every_so_often(people: People) -> None:
    told: list[events.Event] = []
    url = f"http://127.0.0.1:{people.port}/s3cret"
    ping = Ping(url, every_s=0.05, is_well=lambda: True, report=told.append)
    ping.start()
    eventually(lambda: len(people.pings) >= 3)
    ping.stop()
    assert set(people.pings) == {"/s3cret"}
    assert all(isinstance(one, events.PingAnswered) for one in told)
    assert "s3cret" not in repr(told)


def test_it_stops_while_all_is_not_well_and_goes_on_after_that(people: People) -> None:
    well = [True]
    ping = Ping(f"http://127.0.0.1:{people.port}/", every_s=0.02, is_well=lambda: well[0], report=events.nobody)
    ping.start()
    eventually(lambda: people.pings)
    well[0] = False
    time.sleep(0.2)
    before = len(people.pings)
    time.sleep(0.3)
    assert len(people.pings) == before
    well[0] = True
    eventually(lambda: len(people.pings) > before)
    ping.stop()


@pytest.mark.parametrize(
    ("path", "status", "why"),
    [("/s3cret", 200, None), ("/s3cret", 404, "it answered 404"), ("/s3cret", 500, "it answered 500")],
)
def test_what_it_answers_is_said_without_the_url(people: People, path: str, status: int, why: str | None) -> None:
    people.status = status
    assert ask(f"http://127.0.0.1:{people.port}{path}") == why


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/s3cret", "http://no.such.host.invalid/s3cret", "http://[s3cret"])
def test_what_cannot_be_reached_is_said_without_the_url(url: str) -> None:
    assert ask(url) == "it cannot be reached"


def test_a_failure_is_told_and_an_answer_after_it(people: People) -> None:
    told: list[events.Event] = []
    people.status = 503
    ping = Ping(f"http://127.0.0.1:{people.port}/s3cret", every_s=0.02, is_well=lambda: True, report=told.append)
    ping.start()
    eventually(lambda: told)
    people.status = 200
    eventually(lambda: isinstance(told[-1], events.PingAnswered))
    ping.stop()
    assert told[0].sentence() == f"the ping to http://127.0.0.1:{people.port} fails: it answered 503; it is tried again"
    assert told[0].condition is not None
    assert told[-1].condition is not None
    assert told[0].condition.key == told[-1].condition.key


def test_a_url_that_hangs_is_given_up(people: People) -> None:
    people.goes_on.clear()
    assert ask(f"http://127.0.0.1:{people.port}/", timeout_s=0.2) == "it did not answer within 0 s"
