"""Deliverables as a user has them made: in a run, later at no cost, for a look; and proved by ``check``."""

import json
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
path = "print/{{dir}}/{{stem}}.{{ext}}"
[deliverables.shop]
format = "jpeg"
background = "#ffffff"
canvas = [300, 300]
fill = 0.8
colour = "srgb"
path = "shop/{{dir}}/{{stem}}.{{ext}}"
[[folders]]
name = "f"
input = "in"
output = "out"
deliver = {deliver}
"""


@pytest.fixture
def api(desk: Path, serve: Callable[..., Sandbox]) -> Sandbox:
    (desk / "in/day").mkdir(parents=True)
    return serve(engine="fast")


def configure(desk: Path, api: Sandbox, *deliver: str, **changes: str) -> None:
    text = CONFIG.format(deliver=json.dumps(deliver))
    for before, after in changes.items():
        text = text.replace(before, after)
    (desk / "rembg-watch.toml").write_text(text)


def draw(path: Path, *, bits: int = 8, colour: str = "teal") -> None:
    picture = Image.new("RGB", (400, 300), "#f4f4f4")
    ImageDraw.Draw(picture).ellipse((100, 60, 300, 240), fill=colour)
    picture.save(path)


def files(desk: Path) -> list[str]:
    return sorted(str(path.relative_to(desk / "out")) for path in (desk / "out").rglob("*") if path.is_file())


def test_a_run_makes_every_file_for_one_credit_and_what_is_added_later_costs_nothing(
    desk: Path, api: Sandbox, call: Callable[..., Any]
) -> None:
    configure(desk, api, "print")
    draw(desk / "in/day/a.tif")
    draw(desk / "in/b.jpg", colour="red")
    assert call("once", "--quiet").code == 0
    assert files(desk) == ["print/b.tif", "print/day/a.tif"]
    assert api.billed == 2
    configure(desk, api, "print", "shop")
    said = "f: 2 pictures lack 'shop': 0 credits"
    assert said in call("once", "--dry-run").out
    assert json.loads(call("once", "--dry-run", "--json").out)["lacking"] == [
        {"folder": "f", "deliverable": "shop", "kept": 2, "gone": 0, "lost": 0, "credits": 0}
    ]
    assert said in call("status").out
    assert call("deliver", "day/*").out.splitlines() == [
        "f: 1 picture lacks 'shop': 0 credits",
        "1 picture put in line to have its files made, at no cost",
    ]
    assert call("once", "--quiet").code == 0
    assert files(desk) == ["print/b.tif", "print/day/a.tif", "shop/day/a.jpg"]
    assert call("deliver", "--folder", "f").code == 0
    assert call("once", "--quiet").code == 0
    assert api.billed == 2
    assert call("deliver").out == "nothing is lacking: every picture that is meant has all of its files\n"
    with Image.open(desk / "out/shop/b.jpg") as shop:
        assert (shop.size, shop.getpixel((0, 0))) == ((300, 300), (255, 255, 255))


def test_to_agree_to_pay_buys_nothing_where_every_master_is_kept(
    desk: Path, api: Sandbox, call: Callable[..., Any]
) -> None:
    configure(desk, api, "print")
    draw(desk / "in/a.jpg")
    draw(desk / "in/b.jpg", colour="red")
    assert call("once", "--quiet").code == 0
    configure(desk, api, "print", "shop")
    assert "0 pictures put in line to be bought anew" in call("deliver", "a.jpg", "--pay-missing", "--yes").out
    assert call("once", "--quiet").code == 0
    assert (files(desk), api.billed) == (["print/a.tif", "print/b.tif", "shop/a.jpg"], 2)


def test_what_is_kept_no_more_is_bought_only_where_that_was_agreed_to(
    desk: Path, api: Sandbox, call: Callable[..., Any]
) -> None:
    configure(desk, api, "print")
    draw(desk / "in/b.jpg")
    assert call("once", "--quiet").code == 0
    for path in (desk / "state/masters").rglob("*"):
        if path.is_file():
            path.unlink()
    configure(desk, api, "print", "shop")
    ended = call("deliver")
    assert "f: 1 picture lacks 'shop' and has no master: 1 credit" in ended.out
    assert "--pay-missing buys 1 picture anew, for up to 1 credit" in ended.out
    assert call("once", "--quiet").code == 0
    assert (files(desk), api.billed) == (["print/b.tif"], 1)
    assert call("deliver", "--pay-missing").code == 2, "nobody can be asked here"
    assert "1 picture put in line to be bought anew" in call("deliver", "--pay-missing", "--yes").out
    assert call("once", "--quiet").code == 0
    assert (files(desk), api.billed) == (["print/b.tif", "shop/b.jpg"], 2)


def test_redo_pays_for_a_picture_and_makes_all_its_files_of_the_new_answer(
    desk: Path, api: Sandbox, call: Callable[..., Any]
) -> None:
    configure(desk, api, "print", "shop")
    draw(desk / "in/a.jpg")
    draw(desk / "in/b.jpg", colour="red")
    assert call("once", "--quiet").code == 0
    everything = files(desk)
    before = {name: (desk / "out" / name).stat().st_mtime_ns for name in everything}
    (desk / "out/shop/b.jpg").unlink()
    assert "1 cut-out to be made anew, for up to 1 credit" in call("redo", "b.jpg", "--yes").out
    assert call("once", "--quiet").code == 0
    after = {name: (desk / "out" / name).stat().st_mtime_ns for name in files(desk)}
    assert (list(after), api.billed) == (everything, 3)
    assert {name for name in everything if after[name] != before[name]} == {"print/b.tif", "shop/b.jpg"}


def test_a_preview_costs_nothing_and_says_what_is_missing(desk: Path, api: Sandbox, call: Callable[..., Any]) -> None:
    configure(desk, api, "print", "shop")
    draw(desk / "in/b.jpg")
    ended = call("preview", "in/b.jpg", "-o", "look")
    assert (ended.code, "--sandbox" in ended.err) == (1, True)
    assert call("once", "--quiet").code == 0
    ended = call("preview", "in/b.jpg", "-o", "look", "--deliverable", "shop")
    assert ended.out.startswith("look/b-shop.jpg: 300 x 300, ")
    assert sorted(path.name for path in (desk / "look").iterdir()) == ["b-shop.jpg"]
    draw(desk / "other.png", colour="navy")
    ended = call("preview", "other.png", "-o", "look", "--sandbox")
    assert (ended.code, len(ended.out.splitlines())) == (0, 2)
    assert api.billed == 1
    assert call("preview", "other.png", "-o", "look", "-d", "nonsense").code == 2
    assert call("preview", "nothing.png", "-o", "look").code == 2


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        ('colour = "srgb"', 'colour = "lost.icc"', "lost.icc"),
        ("canvas = [300, 300]\nfill = 0.8", 'canvas = [30, 30]\nmargin = "20px"', "no room"),
    ],
)
def test_check_says_which_deliverable_cannot_be_made(
    desk: Path, api: Sandbox, call: Callable[..., Any], before: str, after: str, says: str
) -> None:
    (desk / "out").mkdir()
    (desk / "state").mkdir(mode=0o700)
    configure(desk, api, "print", "shop")
    assert "cannot be made" not in call("check").out
    configure(desk, api, "print", "shop", **{before: after})
    ended = call("check")
    assert ended.code == 78
    assert "[deliverables.shop] cannot be made for folder 'f'" in ended.out
    assert says in ended.out
    assert api.billed == 0


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({'deliver = ["print", "shop"]': 'deliver = ["prnt"]'}, "there is no [deliverables.prnt]"),
        (
            {'output = "out"': 'output = "out"\ntokens = { w = { from = "iptc.titel", words = {} } }'},
            "take one of these: date,",
        ),
        ({"print/{dir}": "{iptc.titel}/{dir}"}, "take one of these: {date} {deliverable} {dir} {exif.artist}"),
        ({"{stem}.{ext}": "{sku}.{ext}"}, "uses {sku}"),
        ({"print/{dir}/{stem}.{ext}": "../{stem}.{ext}"}, "must stay below the output"),
        ({"print/{dir}/{stem}.{ext}": "{stem}.tif"}, "must end with .{ext}"),
        ({'format = "tiff"': 'format = "psd"'}, "tiff"),
        ({'format = "tiff"': 'formt = "tiff"'}, "did you mean format?"),
        ({'background = "#ffffff"': 'background = "white"'}, '"#ffffff"'),
        ({'output = "out"': 'output = "out"\n[folders.options]\nw = 100'}, "does not count in a folder that delivers"),
    ],
)
def test_what_is_wrong_with_deliverables_is_one_clear_sentence(
    desk: Path, api: Sandbox, call: Callable[..., Any], changes: dict[str, str], says: str
) -> None:
    (desk / "out").mkdir()
    configure(desk, api, "print", "shop", **changes)
    if "[folders.options]" in str(changes):
        text = (desk / "rembg-watch.toml").read_text()
        deliver = next(line for line in text.splitlines() if line.startswith("deliver"))
        text = text.replace(deliver + "\n", "").replace("[folders.options]", deliver + "\n[folders.options]")
        (desk / "rembg-watch.toml").write_text(text)
    ended = call("check", "--offline")
    assert ended.code == 78
    assert says in ended.out


def test_every_file_of_a_picture_is_looked_at_and_a_missing_one_is_made_again_for_nothing(
    desk: Path, api: Sandbox, call: Callable[..., Any]
) -> None:
    configure(desk, api, "print", "shop")
    draw(desk / "in/day/a.tif")
    draw(desk / "in/b.jpg", colour="red")
    assert call("once", "--quiet").code == 0
    every = files(desk)
    assert every == ["print/b.tif", "print/day/a.tif", "shop/b.jpg", "shop/day/a.jpg"]
    (desk / "out/shop/b.jpg").unlink()
    jobs = {one["source"]: one for one in json.loads(call("jobs", "--json").out)}
    assert [(one["deliverable"], one["target"], one["is_missing"]) for one in jobs["b.jpg"]["files"]] == [
        ("print", "print/b.tif", False),
        ("shop", "shop/b.jpg", True),
    ]
    assert (jobs["b.jpg"]["is_missing"], jobs["day/a.tif"]["is_missing"]) == (True, False)
    said = call("jobs").out
    assert all(len(line) <= 80 for line in said.splitlines())
    words = " ".join(said.split())
    assert "shop/b.jpg (missing)" in words
    assert "shop/day/a.jpg" in words
    assert "deliver --missing" in words
    assert call("deliver").out == "nothing is lacking: every picture that is meant has all of its files\n"
    assert call("once", "--quiet").code == 0
    assert "shop/b.jpg" not in files(desk), "what somebody took away stays away"
    said = call("redo", "--missing", "--yes").out
    assert "deliver --missing" in said
    assert "there is nothing to make anew" in said
    assert call("deliver", "--missing", "day/*").out.startswith("nothing is lacking")
    assert call("deliver", "--missing").out.splitlines() == [
        "f: 1 picture lacks 'shop': 0 credits",
        "1 picture put in line to have its files made, at no cost",
    ]
    before = {name: (desk / "out" / name).stat().st_mtime_ns for name in files(desk)}
    assert call("once", "--quiet").code == 0
    assert files(desk) == every
    assert all((desk / "out" / name).stat().st_mtime_ns == at for name, at in before.items()), "the others are left"
    assert api.billed == 2
    assert call("deliver", "--missing").out.startswith("nothing is lacking")


def test_a_missing_file_without_a_master_has_a_price(desk: Path, api: Sandbox, call: Callable[..., Any]) -> None:
    configure(desk, api, "print", "shop")
    draw(desk / "in/b.jpg")
    assert call("once", "--quiet").code == 0
    for path in (desk / "state/masters").rglob("*"):
        if path.is_file():
            path.unlink()
    (desk / "out/shop/b.jpg").unlink()
    assert "1 picture lacks 'shop' and has no master: 1 credit" in call("deliver", "--missing").out
    assert call("once", "--quiet").code == 0
    assert (files(desk), api.billed) == (["print/b.tif"], 1)
    assert "1 cut-out to be made anew, for up to 1 credit" in call("redo", "--missing", "--yes").out
    assert call("once", "--quiet").code == 0
    assert (files(desk), api.billed) == (["print/b.tif", "shop/b.jpg"], 2)


def test_an_output_that_is_away_lacks_nothing(desk: Path, api: Sandbox, call: Callable[..., Any]) -> None:
    configure(desk, api, "print")
    draw(desk / "in/b.jpg")
    assert call("once", "--quiet").code == 0
    (desk / "out").rename(desk / "elsewhere")
    ended = call("deliver", "--missing")
    assert "f: its output is away, so that nothing of it counts as missing" in ended.out
    assert "nothing is lacking" in ended.out


def test_a_sidecar_that_is_wanted_later_or_was_taken_away_costs_nothing(
    desk: Path, api: Sandbox, call: Callable[..., Any]
) -> None:
    configure(desk, api, "print")
    draw(desk / "in/day/a.tif")
    assert call("once", "--quiet").code == 0
    configure(desk, api, "print", **{'deliver = ["print"]': 'deliver = ["print"]\nsidecar = true'})
    assert call("deliver").out.startswith("f: 1 picture lacks 'sidecar': 0 credits")
    assert call("once", "--quiet").code == 0
    assert files(desk) == ["day/a.json", "print/day/a.tif"]
    said = json.loads((desk / "out/day/a.json").read_bytes())
    assert (said["credits"], said["files"][0]["path"]) == ("1", "print/day/a.tif")
    assert str(desk) not in json.dumps(said)
    assert "day/a.json" in call("jobs").out
    (desk / "out/day/a.json").unlink()
    assert call("once", "--quiet").code == 0
    assert files(desk) == ["print/day/a.tif"]
    assert "lacks 'sidecar': 0 credits" in call("deliver", "--missing").out
    assert call("once", "--quiet").code == 0
    assert json.loads((desk / "out/day/a.json").read_bytes()) == said
    assert api.billed == 1


def test_what_is_lost_for_good_has_no_price_and_what_stands_stays_known(
    desk: Path, api: Sandbox, call: Callable[..., Any]
) -> None:
    configure(desk, api, "print", "shop")
    config = desk / "rembg-watch.toml"
    config.write_text(config.read_text().replace('output = "out"', 'output = "out"\nafter = "delete"'))
    draw(desk / "in/b.jpg")
    assert call("once", "--quiet").code == 0
    assert not (desk / "in/b.jpg").exists()
    for path in (desk / "state/masters").rglob("*"):
        if path.is_file():
            path.unlink()
    (desk / "out/shop/b.jpg").unlink()
    said = "f: 1 picture lacks 'shop' and has no master, and its original would have to be put back"
    ended = call("deliver", "--missing", "--pay-missing", "--yes")
    assert said in ended.out
    assert "0 pictures put in line to be bought anew" in ended.out
    assert "credit" not in ended.out
    (listed,) = json.loads(call("jobs", "--json").out)
    assert {one["deliverable"] for one in listed["files"]} == {"print", "shop"}
    assert api.billed == 1


def test_a_preview_is_never_put_where_it_would_be_bought(desk: Path, api: Sandbox, call: Callable[..., Any]) -> None:
    configure(desk, api, "print")
    draw(desk / "other.png")
    ended = call("preview", "other.png", "-o", "in/day/look", "--sandbox")
    assert ended.code == 2
    assert "inside the input of f" in ended.err
    assert not (desk / "in/day/look").exists()


def test_lists_and_commands_mean_the_names_that_are_shown(desk: Path, api: Sandbox, call: Callable[..., Any]) -> None:
    configure(desk, api, "print")
    draw(desk / "in/day/a.tif")
    assert call("once", "--quiet").code == 0
    for pattern in ("f/day/a.tif", "f/day/*", "day/*", "*.tif"):
        assert len(json.loads(call("jobs", pattern, "--json").out)) == 1, pattern
    assert json.loads(call("jobs", "g/*", "--json").out) == []
