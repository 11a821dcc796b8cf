"""What people are told by a real daemon: of troubles as they stand, of pictures as the ledger has them."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from rembg_watch.account.causes import CAUSES, Cause, Probe
from rembg_watch.account.holds import Hold
from rembg_watch.config import Settings, load
from rembg_watch.daemon import Daemon
from rembg_watch.daemon.notices import of_folder, of_hold
from rembg_watch.notify.values import Urgency
from rembg_watch.report import events
from rembg_watch.report.status import FOLDER_STATES
from rembg_watch.sandbox import Sandbox
from tests.life import Time, eventually
from tests.notify.people import People, listening

KEY = "sandbox-key"
NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)


@pytest.fixture
def people() -> Iterator[People]:
    with listening() as found:
        yield found


@pytest.fixture
def sandbox() -> Sandbox:
    return Sandbox(KEY, engine="flat", credits=5000)


@contextmanager
def running(
    root: Path,
    sandbox: Sandbox,
    people: People,
    *,
    key: str = KEY,
    told: list[events.Event] | None = None,
    time: Time | None = None,
    more_urls: tuple[str, ...] = (),
    **notify: Any,
) -> Iterator[Daemon]:
    for name in ("in", "out"):
        (root / name).mkdir(exist_ok=True)
    urls = people.write_urls(root / "urls", *more_urls)
    settings = Settings(
        state_dir=root / "state",
        api={"key": key},
        watch={"settle_s": 0.05, "scan_interval_s": 0.2, "grace_s": 0},
        output={"free_space_reserve_mb": 0},
        notify={"urls_file": urls, "group_s": 1, "digest": ""} | notify,
        folders=({"name": "f", "input": root / "in", "output": root / "out"},),
    )  # type: ignore[arg-type]
    report = told.append if told is not None else events.nobody
    clocks = time.clocks() if time is not None else None
    with Daemon(settings, transport=sandbox.transport(), report=report, clocks=clocks) as daemon:
        thread = threading.Thread(target=daemon.main_loop)
        thread.start()
        try:
            yield daemon
        finally:
            daemon.stopping.set()
            thread.join()


def drop(root: Path, name: str, number: int = 0) -> None:
    path = root / "in" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (40, 30), (200, 12 * number, 30)).save(path)


def large(root: Path, name: str, number: int) -> None:
    path = root / "in" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (900, 700), (200, 12 * number, 30)).save(path)


def spoil(root: Path, name: str) -> None:
    path = root / "in" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"\xff\xd8\xff\xe0 no picture " + name.encode())


# --- what it means to people ----------------------------------------------------------------------


def hold(cause: Cause, **more: Any) -> Hold:
    return Hold(**{"cause": cause, "since": NOW, "probe": Probe.ACCOUNT, "probe_at": NOW} | more)


@pytest.mark.parametrize(
    ("cause", "urgency"),
    [
        (Cause.KEY, Urgency.PERSON),
        (Cause.EMAIL, Urgency.PERSON),
        (Cause.CREDITS, Urgency.PERSON),
        (Cause.MONTHLY, Urgency.PERSON),
        (Cause.DISK, Urgency.PERSON),
        (Cause.LEDGER, Urgency.PERSON),
        (Cause.CIRCUIT, Urgency.PASSING),
        (Cause.DAILY, Urgency.PASSING),
        (Cause.UNKNOWN, Urgency.PASSING),
        (Cause.BUDGET, Urgency.PASSING),
        (Cause.BACKOFF, None),
        (Cause.RATE, None),
        (Cause.PAUSED, None),
    ],
)
def test_each_pause_of_everything_is_of_one_class(cause: Cause, urgency: Urgency | None) -> None:
    found = of_hold(hold(cause))
    assert (found and found.urgency) == urgency
    if found is not None:
        assert CAUSES[cause].pause.what in found.text
        assert CAUSES[cause].pause.advice.rstrip(".") in found.text
        assert found.lasts_s == (0 if urgency is Urgency.PERSON else 900)


def test_credits_that_a_known_end_brings_back_pass_by_themselves() -> None:
    known = of_hold(hold(Cause.MONTHLY, until=NOW + timedelta(days=2)))
    assert known is not None
    assert known.urgency is Urgency.PASSING
    unknown = of_hold(hold(Cause.CREDITS))
    assert unknown is not None
    assert known.key == unknown.key  # whether account or refusal says it, it is one trouble


@pytest.mark.parametrize(
    ("state", "urgency", "lasts_s"),
    [
        ("held", Urgency.PERSON, 0),
        ("offline", Urgency.PERSON, 900),
        ("blocked", Urgency.PERSON, 900),
        ("hung", Urgency.PERSON, 900),
        ("spent", Urgency.PASSING, 900),
        ("watching", None, None),
        ("paused", None, None),
    ],
)
def test_each_state_of_a_folder_is_of_one_class(state: str, urgency: Urgency | None, lasts_s: float | None) -> None:
    folder = {"name": "f", "state": state, "input": "/in", "since": None}
    found = of_folder(folder, NOW, is_in_use=False)
    assert (found and found.urgency, found and found.lasts_s) == (urgency, lasts_s)
    assert found is None or found.text == "Folder f: /in is not there; it is waited for."


def test_no_state_of_a_folder_is_left_out_unseen() -> None:
    silent = {
        one
        for one in FOLDER_STATES
        if of_folder({"name": "f", "state": one, "input": "/"}, NOW, is_in_use=False) is None
    }
    assert silent == {"watching", "paused"}


def test_a_folder_that_another_process_watches_passes_by_itself() -> None:
    found = of_folder({"name": "f", "state": "held", "input": "/in", "why": "in use"}, NOW, is_in_use=True)
    assert found is not None
    assert found.urgency is Urgency.PASSING


# --- a real daemon --------------------------------------------------------------------------------


def test_a_refused_key_is_told_at_once_and_once_also_in_the_quiet_hours(
    tmp_path: Path, sandbox: Sandbox, people: People
) -> None:
    with running(tmp_path, sandbox, people, key="wr0ng-key", quiet=all_day_but_a_minute()):
        drop(tmp_path, "a.jpg")
        eventually(lambda: people.told)
        threading.Event().wait(2.5)
    assert people.titles == ["somebody is needed"]
    assert "the API does not accept the key" in people.text
    assert "Put the right key in its place" in people.text
    assert "wr0ng-key" not in people.text


def all_day_but_a_minute() -> str:
    now = datetime.now().astimezone()
    return f"{now + timedelta(minutes=2):%H:%M}-{now + timedelta(minutes=1):%H:%M}"


def test_500_pictures_that_fail_are_one_notice_and_the_digest_another(
    tmp_path: Path, sandbox: Sandbox, people: People
) -> None:
    for number in range(500):
        spoil(tmp_path, f"acme/{number}.jpg")
    drop(tmp_path, "acme/good.jpg")
    time = Time()
    local = (datetime.now().astimezone() + timedelta(hours=5)).strftime("%H:%M")
    with running(tmp_path, sandbox, people, time=time, digest=local) as daemon:
        eventually(lambda: people.told)
        threading.Event().wait(2.5)
        assert people.titles == ["f/acme: 500 pictures to look at"]
        assert '500 pictures failed ("rembg-watch jobs --state failed").' in people.text
        daemon.parts.balance.read()
        time.pass_s(5 * 3600 + 60)
        eventually(lambda: len(people.told) > 1)
        threading.Event().wait(1.5)
    assert len(people.told) == 2
    assert "1 picture delivered since" in people.told[1]["title"]
    assert "500 pictures failed" in people.told[1]["message"]
    assert "1 credit spent." in people.told[1]["message"]
    assert "4,999 credits left, enough for about" in people.told[1]["message"]


def test_an_api_that_is_down_in_the_quiet_hours_is_told_after_them(
    tmp_path: Path, sandbox: Sandbox, people: People
) -> None:
    now, time = datetime.now().astimezone(), Time()
    quiet = f"{now - timedelta(minutes=1):%H:%M}-{now + timedelta(hours=6):%H:%M}"
    sandbox.add_fault("status")
    with running(tmp_path, sandbox, people, time=time, quiet=quiet) as daemon:
        for number in range(8):
            drop(tmp_path, f"{number}.jpg", number)
        eventually(lambda: any(one.cause is Cause.CIRCUIT for one in daemon.parts.governor.gate.holds))
        for _ in range(5):
            time.pass_s(3600)
            threading.Event().wait(1.2)
        assert people.told == []
        time.pass_s(3700)
        eventually(lambda: people.told)
        assert people.titles == ["work is held up"]
        sandbox.clear_faults()
        time.pass_s(600)
        eventually(lambda: len(people.told) == 2)
    assert people.titles[1] == "it is over"


def test_a_service_that_hangs_holds_up_no_picture(tmp_path: Path, sandbox: Sandbox, people: People) -> None:
    people.goes_on.clear()
    spoil(tmp_path, "acme/bad.jpg")
    told: list[events.Event] = []
    with running(tmp_path, sandbox, people, told=told) as daemon:
        eventually(lambda: people.told)  # it has it, and does not answer
        for number in range(20):
            drop(tmp_path, f"other/{number}.jpg", number)
        eventually(lambda: daemon.parts.metrics.read().delivered == 20, within_s=8)
        assert not any(isinstance(one, events.NoticeSent | events.NoticesNotSent) for one in told)
        eventually(lambda: any(isinstance(one, events.NoticesNotSent) for one in told))
        people.goes_on.set()


def test_a_way_that_fails_is_one_warning_is_tried_again_and_keeps_nobody_else_from_being_told(
    tmp_path: Path, sandbox: Sandbox, people: People
) -> None:
    told: list[events.Event] = []
    spoil(tmp_path, "acme/bad.jpg")
    time = Time()
    bad = "json://127.0.0.1:1/s3cret"
    with running(tmp_path, sandbox, people, told=told, time=time, more_urls=(bad,)) as daemon:
        for tries in range(1, 4):
            eventually(lambda: failures(told) >= tries)  # noqa: B023  # it is asked at once
            time.pass_s(4000)
        threading.Event().wait(1.5)
        (first, *_) = [one for one in told if isinstance(one, events.NoticesNotSent)]
        assert first.why == "json://127.0.0.1:1 (line 4): it cannot be reached"
        assert len(people.told) == 1  # who has it is not told again
        people.write_urls(tmp_path / "urls")  # it is mended without a reload
        time.pass_s(4000)
        eventually(lambda: any(isinstance(one, events.NoticeSent) for one in told))
        assert any(isinstance(one, events.NoticesSent) for one in told)
        counted = daemon.parts.tallies.read().counters["notices"]
        assert counted[("sent",)] == 1
        assert counted[("failed",)] >= 3
    assert len(people.told) == 1
    assert "s3cret" not in repr([events.facts(one) for one in told])


def failures(told: list[events.Event]) -> int:
    return sum(isinstance(one, events.NoticesNotSent) for one in told)


def test_a_restart_tells_nothing_twice_and_says_what_is_over(tmp_path: Path, sandbox: Sandbox, people: People) -> None:
    with running(tmp_path, sandbox, people, key="wrong-key"):
        drop(tmp_path, "a.jpg")
        eventually(lambda: people.told)
        spoil(tmp_path, "acme/bad.jpg")
        eventually(lambda: len(people.told) == 2)
    with running(tmp_path, sandbox, people, key="wrong-key") as daemon:
        eventually(lambda: daemon.parts.governor.gate.holds)
        threading.Event().wait(3)
    assert len(people.told) == 2
    with running(tmp_path, sandbox, people):
        eventually(lambda: len(people.told) == 3)
    assert people.titles[0] == "somebody is needed"
    assert people.titles[2] == "it is over"


def test_threads_are_there_only_where_somebody_is_told_also_after_a_reload(
    tmp_path: Path, sandbox: Sandbox, people: People
) -> None:
    config = tmp_path / "config.toml"
    for name in ("in", "out"):
        (tmp_path / name).mkdir()
    (tmp_path / "key").write_text(KEY)
    plain = (
        'state_dir = "state"\n[api]\nkey_file = "key"\n[output]\nfree_space_reserve_mb = 0\n'
        '[[folders]]\nname = "f"\ninput = "in"\noutput = "out"\n'
    )
    config.write_text(plain)
    urls, ping = people.write_urls(tmp_path / "urls"), f"http://127.0.0.1:{people.port}/"
    with Daemon(load(config), transport=sandbox.transport(), reload_from=config) as daemon:
        assert named({"notices", "ping"}) == set()
        config.write_text(f'{plain}[notify]\nurls_file = "{urls}"\nping_url = "{ping}"\nping_s = 5\n')
        daemon.reload()
        assert named({"notices", "ping"}) == {"notices", "ping"}
        eventually(lambda: people.pings)
        config.write_text(plain)
        daemon.reload()
        eventually(lambda: named({"ping"}) == set())


def named(names: set[str]) -> set[str]:
    return {one.name for one in threading.enumerate()} & names


def test_a_reload_that_is_refused_is_told_and_its_end_too(tmp_path: Path, sandbox: Sandbox, people: People) -> None:
    with running(tmp_path, sandbox, people) as daemon:
        daemon.parts.ports.report(events.ReloadRefused(problems=("[pool] workers: must be at least 1, not 0",)))
        eventually(lambda: people.told)
        assert "must be at least 1, not 0" in people.text
        daemon.parts.ports.report(events.Reloaded(changes=()))
        eventually(lambda: len(people.told) == 2)
    assert people.titles == ["somebody is needed", "it is over"]


def test_the_ping_stops_while_a_part_is_stuck(tmp_path: Path, sandbox: Sandbox, people: People) -> None:
    url = f"http://127.0.0.1:{people.port}/ping"
    with running(tmp_path, sandbox, people, ping_url=url, ping_s=5) as daemon:
        eventually(lambda: people.pings)
        daemon.parts.heartbeat.register("a part", allowance_s=0.05)
        threading.Event().wait(0.2)
        before = len(people.pings)
        threading.Event().wait(6)
        assert len(people.pings) == before
        assert any("A part has not moved" in one["message"] for one in people.told)
        daemon.parts.heartbeat.forget("a part")
        eventually(lambda: len(people.pings) > before)


def test_what_is_held_for_a_person_is_told_by_the_shoot(tmp_path: Path, sandbox: Sandbox, people: People) -> None:
    sandbox.add_fault("wrong_size", count=2)
    with running(tmp_path, sandbox, people):
        for number in range(3):
            large(tmp_path, f"acme/{number}.jpg", number)
        eventually(lambda: people.told)
    assert people.titles == ["f/acme: 2 pictures to look at"]
    assert "2 pictures held until you decide" in people.text


def test_a_mistake_in_a_notice_stops_no_picture(
    tmp_path: Path, sandbox: Sandbox, people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("rembg_watch.notify.rules.with_troubles", fail)
    told: list[events.Event] = []
    with running(tmp_path, sandbox, people, told=told) as daemon:
        drop(tmp_path, "a.jpg")
        eventually(lambda: daemon.parts.metrics.read().delivered == 1)
        eventually(lambda: any(isinstance(one, events.Mistake) for one in told))
    assert sum(isinstance(one, events.Mistake) for one in told) <= 2
