"""Two daemons with one input: whoever has it pays, the other one holds the folder and says who that is."""

import os
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.studio import Running, Studio, wait_until
from tests.host.test_locks import bind_as, end, name_of

PICTURES = 12


def second(studio: Studio) -> Path:
    """Write the configuration of another daemon with the same input: a state folder and an output of its own."""
    folder = {"output": str(studio.root / "out-2")}
    return studio.configure("second.toml", state_dir=str(studio.root / "state-2"), folder=folder)


def fill(studio: Studio, place: Path) -> None:
    """Put the pictures in where they are not seen, as on a share that is not mounted."""
    for number in range(PICTURES):
        studio.drop(f"{number:02}.jpg", number)
    studio.input.rename(place)


def delivered(studio: Studio) -> int:
    return len(studio.outputs()) + len(list((studio.root / "out-2").glob("*.png")))


def held_one(studio: Studio, both: dict[int, Any]) -> Any:
    held = [one for one in both.values() if one["folders"] and one["folders"][0]["state"] == "held"]
    return held[0] if len(held) == 1 else None


@pytest.mark.parametrize("attempt", range(3))
def test_an_input_that_comes_late_to_two_daemons_is_paid_for_once(studio: Studio, attempt: int) -> None:
    del attempt
    away = studio.root / "not-mounted"
    fill(studio, away)
    other = second(studio)
    with ExitStack() as stack:
        daemons: list[tuple[Running, Path]] = [
            (stack.enter_context(studio.running(config)), config) for config in (studio.config, other)
        ]
        for daemon, _ in daemons:
            daemon.says("is not there")
        away.rename(studio.input)
        wait_until(lambda: delivered(studio) == PICTURES, "all are delivered")
        wait_until(lambda: sum("already watched by process" in one.log for one, _ in daemons) == 1, "one is refused")
        (loser,) = [one for one in daemons if "already watched by process" in one[0].log]
        (winner,) = [one for one in daemons if one is not loser]
        said = studio.status(loser[1])
        assert said["folders"][0]["state"] == "held"
        assert f"process {winner[0].process.pid}" in said["folders"][0]["why"]
        shown = studio.cli("status", config=loser[1])
        assert f"process {winner[0].process.pid}" in " ".join(shown.out.split())
        assert len(studio.calls) == PICTURES
        winner[0].stop()
        loser[0].says("no other process watches it any more")
        wait_until(lambda: studio.status(loser[1])["folders"][0]["state"] != "held", "it goes on by itself")
        studio.drop("new.jpg", 99)
        wait_until(lambda: (studio.root / "out-2/new.png").exists() or (studio.output / "new.png").exists(), "it works")


def test_once_beside_a_daemon_pays_for_nothing_and_says_who_watches(studio: Studio) -> None:
    other = second(studio)
    studio.drop("a.jpg", 1)
    with studio.running() as daemon:
        daemon.wait_until(lambda: len(studio.outputs()) == 1, "it is delivered")
        said = studio.cli("once", config=other)
        assert (said.code, len(studio.calls)) == (75, 1)
        assert f"process {daemon.process.pid}" in said.text


def test_of_several_inputs_the_free_ones_are_worked_on(studio: Studio) -> None:
    free = studio.root / "free"
    free.mkdir()
    folders = [
        {"name": "shared", "input": str(studio.input), "output": str(studio.root / "out-2"), "options": {}},
        {"name": "free", "input": str(free), "output": str(studio.root / "out-3"), "options": {}},
    ]
    other = studio.configure("second.toml", state_dir=str(studio.root / "state-2"), folders=folders)
    studio.drop("a.jpg", 1)
    with studio.running() as daemon:
        daemon.wait_until(lambda: len(studio.outputs()) == 1, "it is delivered")
        (free / "b.jpg").write_bytes(studio.drop("c.jpg", 2))
        said = studio.cli("once", "--json", config=other)
        assert said.code == 75
        states = {one["name"]: one["state"] for one in said.json["folders"]}
        assert states == {"shared": "held", "free": "watching"}
        assert (studio.root / "out-3/b.webp").exists()
        assert not (studio.root / "out-2/a.webp").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_a_name_that_another_user_has_stops_no_daemon_and_lets_no_second_one_pay(studio: Studio) -> None:
    stranger = bind_as(65534, name_of(studio.input))
    studio.drop("a.jpg", 1)
    try:
        with studio.running() as daemon:
            daemon.wait_until(lambda: len(studio.outputs()) == 1, "it is delivered")
            said = studio.cli("once", config=second(studio))
            assert (said.code, len(studio.calls)) == (75, 1)
            assert f"process {daemon.process.pid}" in said.text
    finally:
        end(stranger)
