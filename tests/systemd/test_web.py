"""The page's unit beside the real daemon, under a real systemd."""

import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.systemd.studio import OFFLINE, SOURCE, Studio, blocks, fetched, wait_for

WEB = "rembg-watch-web.service"


@pytest.fixture(scope="module")
def page(studio: Studio) -> Iterator[Any]:
    studio.begin()
    (install,) = blocks("5. ")
    studio.machine.type_in(install, folder=SOURCE, environment=OFFLINE)
    yield studio.machine
    studio.machine.systemctl("stop", "rembg-watch-web.socket", WEB, check=False)
    studio.stop()


def _inside(machine: Any, command: str) -> str:
    """Do something where the page lives, as its user, whatever comes of it."""
    pid = machine.show(WEB, "MainPID")
    done = machine.run(
        "nsenter", "-t", pid, "-m", "--", "setpriv", "--reuid=rembg-watch", "--regid=rembg-watch", "--clear-groups",
        "sh", "-c", f"{command} 2>&1", check=False,
    )  # fmt: skip
    return str(done.stdout)


def test_it_starts_when_somebody_looks_and_sees_a_daemon_that_starts_later(page: Any, studio: Studio) -> None:
    assert "There is no ledger" in fetched(page, "/", status=503)
    studio.start()
    wait_for(lambda: fetched(page, "/healthz").startswith("well"), what="a daemon that writes")
    studio.drop(3, folder="acme/")
    studio.wait_until_delivered()
    assert "3 of 3 pictures delivered" in fetched(page, "/")
    text = fetched(page, "/pictures")
    assert {f"{name.rpartition('/')[2]}.png" for name in studio.names} <= set(re.findall(r"IMG_[0-9]+\.png", text))


def test_it_shows_pictures_from_a_cache_of_its_own(page: Any) -> None:
    machine_says = page.run(
        "/usr/bin/python3", "-c",
        "from urllib.request import urlopen; view = 'http://127.0.0.1:8787/pictures/1/%s/small'; "
        "print([urlopen(view % side).headers['content-type'] for side in ('before', 'after')])",
    ).stdout  # fmt: skip
    assert machine_says.count("image/") == 2
    assert page.run("find", "/var/cache/rembg-watch-web", "-type", "f").stdout.count("\n") >= 2


def test_it_stays_up_while_the_daemon_is_killed_and_restarted(page: Any, studio: Studio) -> None:
    pid = page.show(WEB, "MainPID")
    page.systemctl("kill", "--signal=KILL", "rembg-watch")
    assert "3 of 3 pictures delivered" in fetched(page, "/")
    wait_for(lambda: page.show("rembg-watch", "ActiveState") == "active", what="a restart")
    page.systemctl("restart", "rembg-watch")
    studio.drop(1, folder="acme/")
    studio.wait_until_delivered()
    assert "4 of 4 pictures delivered" in fetched(page, "/")
    page.systemctl("stop", "rembg-watch")
    assert "Not running" in fetched(page, "/")
    page.systemctl("start", "rembg-watch")
    assert page.show(WEB, "MainPID") == pid, "it is the same process all along"


def test_it_writes_neither_state_nor_folders_and_has_no_key(page: Any) -> None:
    for place in ("/var/lib/rembg-watch", "/srv/studio/exports", "/srv/studio/cutouts", "/etc/rembg-watch"):
        assert "Read-only file system" in _inside(page, f"touch {place}/x"), place
    assert "can be read" not in _inside(page, "cat /etc/rembg-watch/api_key && echo can be read")
    assert "can be read" not in _inside(page, "ls /run/credentials/* && echo can be read")
    assert _inside(page, "head -c 16 /var/lib/rembg-watch/ledger.db").startswith("SQLite format 3")


def test_what_it_could_do_if_it_were_taken_over_is_little(page: Any) -> None:
    said = page.run("systemd-analyze", "security", WEB, "--no-pager").stdout
    found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", said)
    assert found, said
    assert float(found[1]) <= 1.5
