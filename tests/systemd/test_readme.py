"""
The README of ``systemd/``, copied line by line by somebody who has just got the machine.

Two things are not as they will be there: the API is the sandbox on the machine's loopback, which the environment
says to the service and to the shell; and pip, which has no network here, finds its wheels in a folder.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from rembg_watch.sandbox import Sandbox
from tests.systemd.studio import KEY, OFFLINE, PATIENCE_S, SOURCE, URL, USAGE_URL, blocks, fetched, picture, wait_for

SANDBOX = {"REMBG_WATCH_API__URL": URL, "REMBG_WATCH_API__USAGE_URL": USAGE_URL}
SERVICES = ("rembg-watch", "rembg-watch@north", "rembg-watch-once")


@dataclass
class Administrator:
    """Sits at the shell of a fresh machine, in the project's folder."""

    machine: Any

    def types(self, lines: str, environment: Mapping[str, str] = SANDBOX) -> str:
        return str(self.machine.type_in(lines, folder=SOURCE, environment={**OFFLINE, **environment}))

    def drops(self, number: int, path: str) -> None:
        target = self.machine.root / path[1:]
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(picture(number))

    def finds(self, path: str, *, within_s: float = PATIENCE_S) -> None:
        found = self.machine.root / path[1:]
        try:
            wait_for(found.exists, within_s=within_s, what=path)
        except AssertionError as late:
            raise AssertionError(self.machine.messages("SYSLOG_IDENTIFIER=rembg-watch")) from late
        assert found.read_bytes()[8:12] == b"WEBP"


@pytest.fixture(scope="module")
def administrator(with_source: Any, api: Sandbox) -> Administrator:
    for service in SERVICES:
        lines = "".join(f"Environment={name}={value}\n" for name, value in SANDBOX.items())
        with_source.write(f"/etc/systemd/system/{service}.service.d/sandbox.conf", f"[Service]\n{lines}")
    return Administrator(with_source)


def test_its_steps_end_in_a_delivered_picture(administrator: Administrator) -> None:
    types, machine = administrator.types, administrator.machine
    assert not (machine.root / "etc/rembg-watch").exists()
    install, _newer = blocks("1. ")
    types(install)
    key, _encrypted = blocks("2. ")
    types(f"{key}{KEY}\n")  # what `read` waits for is typed next, as in a terminal
    assert (machine.root / "etc/rembg-watch/api_key").read_text() == f"{KEY}\n"
    for block in blocks("3. "):
        types(block)
    first, look = blocks("4. ")
    assert "all is well" in types(first), "check finds nothing, systemctl shows it running"
    administrator.drops(1, "/srv/studio/exports/shoes/IMG_1.png")
    administrator.finds("/srv/studio/cutouts/shoes/IMG_1.webp")
    shown = types(look)
    assert "delivered as" in shown
    story = types("journalctl REMBG_FILE=shoes/IMG_1.png\n")
    assert "catalogue/shoes/IMG_1.png delivered as shoes/IMG_1.webp" in story


def test_its_page_shows_what_came_of_the_pictures(administrator: Administrator) -> None:
    (page,) = blocks("5. ")
    administrator.types(page)
    assert "IMG_1.png" in fetched(administrator.machine, "/pictures")


def test_its_upgrade_keeps_what_was_paid_for(administrator: Administrator, api: Sandbox) -> None:
    before = administrator.machine.show("rembg-watch", "MainPID")
    billed = api.billed
    (upgrade,) = blocks("8. ")
    administrator.types(upgrade)
    assert administrator.machine.show("rembg-watch", "MainPID") != before
    administrator.drops(2, "/srv/studio/exports/IMG_2.png")
    administrator.finds("/srv/studio/cutouts/IMG_2.webp")
    assert api.billed == billed + 1


def test_its_second_studio_has_folders_of_its_own(administrator: Administrator) -> None:
    prepare, begin = blocks("6. ")
    administrator.types(f"{prepare}{KEY}\n")
    administrator.machine.type_in(
        "mkdir -p /srv/north/exports /srv/north/cutouts\nchown rembg-watch: /srv/north/cutouts\n"
        "sed -i s:/srv/studio/:/srv/north/: /etc/rembg-watch/north.toml\n"
    )
    administrator.types(begin)
    administrator.drops(3, "/srv/north/exports/IMG_3.png")
    administrator.finds("/srv/north/cutouts/IMG_3.webp")
    assert not (administrator.machine.root / "srv/studio/cutouts/IMG_3.webp").exists()


def test_its_timer_takes_the_daemons_place(administrator: Administrator) -> None:
    (timer,) = blocks("7. ")
    administrator.types(timer)
    assert administrator.machine.show("rembg-watch-once.timer", "ActiveState") == "active"
    administrator.drops(4, "/srv/studio/exports/IMG_4.png")
    administrator.machine.systemctl("start", "rembg-watch-once")
    administrator.finds("/srv/studio/cutouts/IMG_4.webp", within_s=1)
    assert administrator.machine.show("rembg-watch-once", "Result") == "success"


def test_its_removal_leaves_the_pictures_the_key_and_the_ledger(administrator: Administrator) -> None:
    (removal,) = blocks("9. ")
    administrator.types(removal)
    root = administrator.machine.root
    assert not (root / "opt/rembg-watch").exists()
    assert not list((root / "etc/systemd/system").glob("rembg-watch*"))
    assert (root / "srv/studio/cutouts/shoes/IMG_1.webp").exists()
    assert (root / "etc/rembg-watch/api_key").exists()
    assert (root / "var/lib/rembg-watch/ledger.db").exists()
    left = administrator.machine.systemctl("list-units", "--all", "--plain", "--no-legend", "rembg-watch*").stdout
    assert "active" not in left.replace("inactive", ""), left
