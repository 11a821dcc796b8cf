"""``adopt`` in a folder that makes several files of each picture, as a user calls it."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageDraw

from rembg_watch.sandbox import Sandbox

pytest.importorskip("pyvips", reason="deliverables need libvips")

CONFIG = """state_dir = "state"
[watch]
settle_s = 0.1
[deliverables.print]
format = "tiff"
path = "print/{dir}/{stem}.{ext}"
[deliverables.shop]
format = "jpeg"
background = "#ffffff"
path = "shop/{dir}/{stem}.{ext}"
[[folders]]
name = "f"
input = "in"
output = "out"
deliver = ["print", "shop"]
"""
COLOURS = {"a.jpg": "teal", "b.jpg": "red", "day/c.jpg": "navy"}


@pytest.fixture
def api(desk: Path, serve: Callable[..., Sandbox], call: Callable[..., Any]) -> Sandbox:
    """Return the service after a run that bought three pictures and delivered six files."""
    (desk / "in/day").mkdir(parents=True)
    (desk / "rembg-watch.toml").write_text(CONFIG)
    for name, colour in COLOURS.items():
        draw(desk / "in" / name, colour)
    api = serve(engine="fast")
    assert call("once", "--quiet").code == 0
    assert (len(files(desk)), api.billed) == (6, 3)
    return api


def draw(path: Path, colour: str) -> None:
    picture = Image.new("RGB", (400, 300), "#f4f4f4")
    ImageDraw.Draw(picture).ellipse((100, 60, 300, 240), fill=colour)
    picture.save(path)


def files(desk: Path) -> dict[str, bytes]:
    return {str(one.relative_to(desk / "out")): one.read_bytes() for one in (desk / "out").rglob("*") if one.is_file()}


def lose_ledger(desk: Path, *, with_masters: bool = True) -> None:
    for one in (desk / "state").iterdir():
        if one.name != "masters":
            shutil.rmtree(one) if one.is_dir() else one.unlink()
    if with_masters:
        shutil.rmtree(desk / "state/masters")


def test_pictures_whose_files_all_stand_are_taken_over_and_never_bought_again(
    desk: Path, api: Sandbox, call: Callable[..., Any]
) -> None:
    before = files(desk)
    lose_ledger(desk)
    assert "3 of 3 pictures seem to be delivered already" in call("once", "--dry-run").out
    assert call("once", "--quiet").code == 75
    said = "f: 3 of 3 pictures in the queue seem to be delivered already, in"
    assert said in call("adopt", "--dry-run").out
    adopted = call("adopt", "--yes")
    assert adopted.out.splitlines()[1:] == ["f: 3 pictures taken over; nothing was paid"]
    assert call("once", "--quiet").code == 0
    assert (files(desk), api.billed) == (before, 3)
    shown = {one["source"]: one for one in json.loads(call("jobs", "--json").out)}
    assert {one["state"] for one in shown.values()} == {"done"}
    assert [one["target"] for one in shown["day/c.jpg"]["files"]] == ["print/day/c.tif", "shop/day/c.jpg"]
    assert call("deliver").out == "nothing is lacking: every picture that is meant has all of its files\n"


def test_a_re_export_replaces_what_was_taken_over_but_not_what_somebody_edited_since(
    desk: Path, api: Sandbox, call: Callable[..., Any]
) -> None:
    before = files(desk)
    lose_ledger(desk)
    call("once", "--quiet")
    assert call("adopt", "--yes").code == 0
    (desk / "out/shop/a.jpg").write_bytes(b"edited")
    draw(desk / "in/a.jpg", "orange")
    assert call("once", "--quiet").code == 0
    after = files(desk)
    assert api.billed == 4
    assert after["print/a.tif"] != before["print/a.tif"]
    assert after["shop/a.jpg"] == b"edited"
    assert sorted(after.keys() - before.keys()) == ["shop/a.jpg.jpg"]


@pytest.mark.parametrize(
    ("is_kept", "lack"),
    [(True, "1 picture lacks 'shop': 0 credits"), (False, "1 picture lacks 'shop' and has no master: 1 credit")],
)
def test_a_file_that_does_not_stand_is_lacking_and_costs_nothing_where_the_master_is_found(
    desk: Path, api: Sandbox, call: Callable[..., Any], *, is_kept: bool, lack: str
) -> None:
    before = files(desk)
    (desk / "out/shop/b.jpg").unlink()
    lose_ledger(desk, with_masters=not is_kept)
    call("once", "--quiet")
    adopted = call("adopt", "--yes").out
    assert "already, 1 of them with some of its files only, in" in adopted
    assert f"f: 3 pictures taken over; nothing was paid\nf: {lack}\n" in adopted
    assert call("once", "--quiet").code == 0
    assert ("shop/b.jpg" in files(desk), api.billed) == (False, 3)
    assert lack in call("status").out
    assert call("deliver", "--pay-missing", "--yes").code == 0
    assert call("once", "--quiet").code == 0
    assert api.billed == (3 if is_kept else 4)
    after = files(desk)
    assert after.keys() == before.keys()
    if is_kept:
        assert after["print/b.tif"] == before["print/b.tif"]


def test_a_file_that_may_be_of_two_pictures_is_taken_over_for_neither(
    desk: Path, api: Sandbox, call: Callable[..., Any]
) -> None:
    draw(desk / "in/a.png", "pink")
    os.utime(desk / "in/a.png", (1, 1))  # it is no younger than what may be its file
    lose_ledger(desk)
    call("once", "--quiet")
    adopted = call("adopt", "--yes")
    said = "f: of 2 pictures a file may be another picture's as well, by its name: such files are not taken over"
    assert said in " ".join(adopted.err.split())
    assert "f: 2 pictures taken over; nothing was paid" in adopted.out
    assert api.billed == 3


def test_where_nothing_stands_there_is_nothing_to_take_over(desk: Path, api: Sandbox, call: Callable[..., Any]) -> None:
    lose_ledger(desk)
    call("once", "--quiet")
    shutil.rmtree(desk / "out/print")
    shutil.rmtree(desk / "out/shop")
    assert "there is nothing to take over" in call("adopt", "--yes").out
    assert api.billed == 3
