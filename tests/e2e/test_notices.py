"""People are told by a real daemon, over kills of it and of the process that sends, and not more than they bear."""

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.studio import KEY, Studio
from tests.notify.people import People, listening

SECRET = "s3cret-t0ken"


@pytest.fixture
def people() -> Iterator[People]:
    with listening() as found:
        yield found


def tell(studio: Studio, people: People, *more: str, **notify: Any) -> None:
    urls = people.write_urls(studio.root / "notify_urls", *more)
    settings = {"urls_file": str(urls), "group_s": 1, "digest": "", **notify}
    studio.config = studio.configure(notify=settings, watch={"settle_s": 0.2, "scan_interval_s": 0.3, "grace_s": 0})


def spoil(studio: Studio, name: str) -> None:
    studio.put(name, b"\xff\xd8\xff\xe0 no picture " + name.encode())


def settled(people: People, seconds: float = 3.0) -> list[str]:
    """Return what was told once nothing more comes."""
    time.sleep(seconds)
    return people.titles


def test_a_refused_key_is_told_at_once_and_told_to_be_over(studio: Studio, people: People) -> None:
    tell(studio, people)
    studio.write_key("wrong-0123456789")
    with studio.running() as daemon:
        studio.drop("a.jpg", 1)
        daemon.wait_until(lambda: bool(people.told), "somebody is told", within_s=30)
        assert settled(people) == ["somebody is needed"]
        studio.write_key(KEY)
        daemon.process.send_signal(signal.SIGHUP)
        daemon.wait_until(lambda: len(people.told) == 2, "and told that it is over")
        assert daemon.stop() == 0
        assert SECRET not in daemon.log
    assert people.titles == ["somebody is needed", "it is over"]
    assert "wrong-0123456789" not in people.text
    assert SECRET not in (studio.state / "status.json").read_text()
    assert SECRET.encode() not in (studio.state / "ledger.db").read_bytes()


def test_of_many_shoots_no_more_is_told_in_an_hour_than_is_borne(studio: Studio, people: People) -> None:
    tell(studio, people, per_hour=3)
    for shoot in range(43):
        for number in range(3):
            spoil(studio, f"shoot {shoot}/{number}.jpg")
    with studio.running() as daemon:
        daemon.wait_until(lambda: len(people.told) == 2, "two notices, and a place is kept")
        assert len(settled(people)) == 2
        assert people.titles[1] == "42 notices"
        assert people.told[1]["message"].splitlines()[-1] == "and 37 more"
        studio.write_key("wrong-0123456789")
        studio.drop("good/a.jpg", 1)
        daemon.process.send_signal(signal.SIGHUP)
        daemon.wait_until(lambda: len(people.told) == 3, "what needs somebody is told in the place that was kept")
    assert people.titles[2] == "somebody is needed"


@pytest.mark.parametrize("when", ["before it is sent", "while it is sent"])
def test_a_notice_is_neither_lost_nor_repeated_over_a_kill(studio: Studio, people: People, when: str) -> None:
    tell(studio, people)
    if when == "while it is sent":
        people.goes_on.clear()
    else:
        people.status = 500
    with studio.running() as daemon:
        spoil(studio, "acme/bad.jpg")
        if when == "while it is sent":
            daemon.wait_until(lambda: bool(people.told), "it arrives, and is not answered")
        else:
            daemon.says("notices do not arrive and are tried again")
        spoil(studio, "beta/bad.jpg")
        daemon.wait_until(lambda: studio.reported()["jobs"].get("failed") == 2, "the next one fails")
        daemon.kill()
    people.status = 200
    people.goes_on.set()
    with studio.running() as daemon:
        wanted = {"shoot/acme: 1 picture to look at", "shoot/beta: 1 picture to look at"}
        daemon.wait_until(lambda: wanted <= set(people.titles), "both are told", within_s=90)
        settled(people)
        daemon.kill()
    with studio.running():
        titles = settled(people)
    assert set(titles) == wanted
    assert len(titles) <= (3 if when == "while it is sent" else 2)


def test_a_kill_of_the_process_that_sends_loses_nothing(studio: Studio, people: People) -> None:
    tell(studio, people)
    people.goes_on.clear()
    with studio.running() as daemon:
        spoil(studio, "acme/bad.jpg")
        daemon.wait_until(lambda: bool(people.told), "it is on its way")
        senders = [one for one in children(daemon.process.pid) if "notify.sender" in cmdline(one)]
        assert senders
        for one in senders:
            assert KEY not in Path(f"/proc/{one}/environ").read_text()
            assert not any("ledger" in str(fd.readlink()) for fd in Path(f"/proc/{one}/fd").iterdir())
            os.killpg(one, signal.SIGKILL)
        people.told.clear()
        people.goes_on.set()
        daemon.says("notices do not arrive and are tried again: the process that sends notices has ended")
        daemon.wait_until(lambda: bool(people.told), "it is sent again", within_s=90)
        assert settled(people) == ["shoot/acme: 1 picture to look at"]
        daemon.says("notices arrive again")


def children(pid: int) -> list[int]:
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()] or [
        int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit() and parent(int(path.name)) == pid
    ]


def parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def cmdline(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


def test_what_is_no_emergency_waits_for_the_end_of_the_quiet_hours(studio: Studio, people: People) -> None:
    now = time.time()
    quiet = f"{clock(now - 3600)}-{clock(now + 7200)}"
    tell(studio, people, quiet=quiet)
    with studio.running() as daemon:
        spoil(studio, "acme/bad.jpg")
        daemon.says("failed: ")
        assert settled(people, 5) == []
        tell(studio, people)
        daemon.process.send_signal(signal.SIGHUP)
        daemon.wait_until(lambda: bool(people.told), "it is told after them")
    assert people.titles == ["shoot/acme: 1 picture to look at"]


def clock(at: float) -> str:
    return time.strftime("%H:%M", time.localtime(at))


def test_a_daemon_that_stands_still_pings_no_more(studio: Studio, people: People) -> None:
    tell(studio, people, ping_url=f"http://127.0.0.1:{people.port}/{SECRET}", ping_s=5)
    with studio.running() as daemon:
        daemon.wait_until(lambda: bool(people.pings), "it pings")
        daemon.process.send_signal(signal.SIGSTOP)
        time.sleep(0.5)
        before = len(people.pings)
        time.sleep(7)
        assert len(people.pings) == before
        daemon.process.send_signal(signal.SIGCONT)
        daemon.wait_until(lambda: len(people.pings) > before, "it goes on")
        assert SECRET not in daemon.log


def test_once_tells_what_became_of_the_pictures_before_it_ends(studio: Studio, people: People) -> None:
    tell(studio, people, group_s=60)
    spoil(studio, "acme/bad.jpg")
    studio.drop("acme/good.jpg", 1)
    assert studio.cli("once").code == 1
    assert people.titles == ["shoot/acme: 1 picture to look at"]
    assert studio.cli("once").code in (0, 1)
    assert len(people.told) == 1


# --- the commands ---------------------------------------------------------------------------------


def test_a_test_notice_says_of_each_way_whether_it_arrived(studio: Studio, people: People) -> None:
    tell(studio, people)
    said = studio.cli("notify", "--test")
    assert (said.code, said.out) == (0, f"json://127.0.0.1:{people.port} (line 2): it arrived\n")
    assert people.titles == ["a test"]
    ping = f"http://127.0.0.1:{people.port}/{SECRET}"
    tell(studio, people, "json://127.0.0.1:1/another-s3cret", "nonsense://s3cret", ping_url=ping)
    said = studio.cli("notify", "--test")
    assert said.code == 1
    assert said.out.splitlines() == [
        f"json://127.0.0.1:{people.port} (line 2): it arrived",
        "json://127.0.0.1:1 (line 4): it cannot be reached",
        "nonsense://... (line 5): Apprise does not understand it",
        f"ping http://127.0.0.1:{people.port}: it arrived",
    ]
    assert "s3cret" not in said.text


def test_a_test_without_anybody_to_tell_is_a_wrong_configuration(studio: Studio) -> None:
    said = studio.cli("notify", "--test")
    assert said.code == 78
    assert "set [notify] urls_file" in said.err
    assert studio.cli("notify").code == 2
    studio.config = studio.configure(notify={"urls_file": "/nowhere/urls"})
    said = studio.cli("notify", "--test")
    assert said.code == 78
    assert "the URLs in /nowhere/urls cannot be used: no such file or directory" in said.err


def test_without_the_extra_it_is_said_what_to_install(studio: Studio, people: People, tmp_path: Path) -> None:
    tell(studio, people)
    (tmp_path / "sitecustomize.py").write_text(
        "import importlib.util as u\nfind = u.find_spec\n"
        "u.find_spec = lambda name, *a: None if name == 'apprise' else find(name, *a)\n"
    )
    without = {"PYTHONPATH": str(tmp_path)}
    said = studio.cli("notify", "--test", env=without)
    assert said.code == 78
    assert "pip install 'rembg-watch[notify]'" in said.err
    said = studio.cli("check", "--json", env=without)
    assert any("pip install 'rembg-watch[notify]'" in one["todo"] for one in json.loads(said.out)["findings"])
    with studio.running(**without) as daemon:
        spoil(studio, "acme/bad.jpg")
        daemon.says("notices do not arrive and are tried again: Apprise is not installed")
        studio.drop("good.jpg", 1)
        daemon.wait_until(lambda: len(studio.outputs()) == 1, "the pictures go on")


def test_check_names_what_keeps_notices_from_arriving_and_no_secret(
    open_studio: Callable[..., Studio], people: People
) -> None:
    studio = open_studio()
    tell(studio, people, "nonsense://s3cret", ping_url="http://pings.test/s3cret")
    (studio.root / "notify_urls").chmod(0o640)
    said = studio.cli("check", "--json")
    assert said.code == 78
    found = [one for one in json.loads(said.out)["findings"] if one["kind"] == "notices"]
    told = [(one["severity"], one["what"].partition(" (mode")[0]) for one in found]
    urls = studio.root / "notify_urls"
    assert told == [
        ("error", "nonsense://... (line 4): Apprise does not understand it"),
        ("warning", f"others can read or change {urls}, which holds secrets"),
        ("warning", "http://pings.test is asked for unencrypted: who listens can ask for it in this daemon's place"),
    ]
    assert "s3cret" not in said.text
    assert people.told == []
    urls.unlink()
    said = studio.cli("check")
    assert f"the URLs in {urls} cannot be used: no such file or directory" in said.text
    tell(studio, people, ping_url=f"http://127.0.0.1:{people.port}/")
    assert "notices" not in [one["kind"] for one in json.loads(studio.cli("check", "--json").out)["findings"]]


def test_a_daemon_without_the_file_works_all_the_same_and_says_so(studio: Studio, people: People) -> None:
    tell(studio, people)
    (studio.root / "notify_urls").unlink()
    with studio.running() as daemon:
        spoil(studio, "acme/bad.jpg")
        daemon.says("notices do not arrive and are tried again")
        studio.drop("good.jpg", 1)
        daemon.wait_until(lambda: len(studio.outputs()) == 1, "the pictures go on")
        people.write_urls(studio.root / "notify_urls")
        daemon.wait_until(lambda: bool(people.told), "it is told once the file is there", within_s=90)
