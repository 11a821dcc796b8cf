"""``remove`` beside watched folders and their ledger: no cut-out of a cut-out, and no silent second payment."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rembg_watch.host.locks import Locks
from rembg_watch.sandbox import Sandbox

Call = Callable[..., Any]


@pytest.fixture
def studio(desk: Path, make_picture: Callable[..., bytes]) -> Path:
    """A desk with a configured folder and a picture in it."""
    text = 'state_dir = "state"\n[watch]\nsettle_s = 0.05\nscan_interval_s = 0.1\n'
    text += '[[folders]]\nname = "kitchen"\ninput = "in"\noutput = "out"\n'
    (desk / "rembg-watch.toml").write_text(text)
    for name in ("in/sub", "out", "other"):
        (desk / name).mkdir(parents=True)
    (desk / "in" / "mug.jpg").write_bytes(make_picture())
    (desk / "link").symlink_to("in")
    return desk


@pytest.mark.parametrize(
    "arguments",
    [
        ["in/mug.jpg"],
        ["in/mug.jpg", "-o", "in/sub/"],
        ["in/mug.jpg", "-o", "in/new/"],
        ["in/mug.jpg", "-o", "link/cup.png"],
        ["in/mug.jpg", "-o", "link/sub"],
        ["link/mug.jpg", "--force"],
        ["in/mug.jpg", "--base64"],
    ],
    ids=" ".join,
)
def test_nothing_is_written_into_a_watched_input(
    call: Call,
    serve: Callable[..., Sandbox],
    studio: Path,
    arguments: list[str],
) -> None:
    sandbox = serve()
    before = sorted(studio.rglob("*"))
    ended = call("remove", *arguments)
    assert ended.code == 2
    assert "is watched (folder 'kitchen')" in ended.err
    assert f"Name a place outside {studio / 'in'} with -o" in ended.err
    assert str(studio / "out") in ended.err
    assert sorted(studio.rglob("*")) == before
    assert not sandbox.requests


def test_the_folder_that_one_is_in_is_named_in_full(
    call: Call, serve: Callable[..., Sandbox], studio: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve()
    monkeypatch.chdir(studio / "link")
    ended = call("remove", "mug.jpg", "--config", "../rembg-watch.toml")
    assert ended.code == 2
    assert f"{studio / 'in'} is watched" in ended.err


@pytest.mark.parametrize("place", ["in", "in/sub", "link", "link/sub"])
def test_a_configuration_above_the_place_counts_from_wherever_one_stands(
    call: Call, serve: Callable[..., Sandbox], studio: Path, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sandbox = serve()
    cup = studio / "other" / "cup.jpg"
    cup.write_bytes((studio / "in" / "mug.jpg").read_bytes())
    monkeypatch.chdir(studio / place)
    ended = call("remove", str(cup), "-o", ".")
    assert (ended.code, sandbox.billed) == (2, 0)
    assert "is watched (folder 'kitchen')" in ended.err


def test_a_configuration_that_ran_before_counts_wherever_it_stands(
    call: Call, serve: Callable[..., Sandbox], desk: Path, tmp_path: Path, make_picture: Callable[..., bytes]
) -> None:
    sandbox = serve()
    far = tmp_path / "far away"
    (far / "in").mkdir(parents=True)
    text = f'[watch]\nsettle_s = 0.05\n[[folders]]\nname = "far"\ninput = "{far}/in"\noutput = "{far}/out"\n'
    (desk / "north.toml").write_text(text)
    (desk / "a.jpg").write_bytes(make_picture())
    assert call("once", "--quiet", "--config", "north.toml").code == 0
    ended = call("remove", "a.jpg", "-o", f"{far}/in/")
    assert (ended.code, sandbox.billed) == (2, 0)
    assert "is watched (folder 'far')" in ended.err


def test_what_a_running_daemon_watches_counts_whatever_its_configuration(
    call: Call, serve: Callable[..., Sandbox], studio: Path, make_picture: Callable[..., bytes]
) -> None:
    sandbox = serve()
    (studio / "rembg-watch.toml").unlink()
    (studio / "a.jpg").write_bytes(make_picture())
    locks = Locks()
    locks.take_input(studio / "in")
    try:
        ended = call("remove", "a.jpg", "-o", "link/sub/")
    finally:
        locks.release()
    assert (ended.code, sandbox.billed) == (2, 0)
    assert f"{studio / 'in' / 'sub'} is watched by process {os.getpid()}" in ended.err
    assert f"Name a place outside {studio / 'in'} with -o" in ended.err
    assert call("remove", "a.jpg", "-o", "link/sub/").code == 0


@pytest.mark.parametrize("output", ["other/", "cup.png", "out/", "-"])
def test_elsewhere_a_watched_picture_may_be_cut_out_by_hand(
    call: Call,
    serve: Callable[..., Sandbox],
    studio: Path,
    output: str,
) -> None:
    sandbox = serve()
    assert call("remove", "in/mug.jpg", "-o", output).code == 0
    assert sandbox.billed == 1


def test_a_configuration_elsewhere_counts_when_it_is_named(
    call: Call,
    serve: Callable[..., Sandbox],
    studio: Path,
) -> None:
    serve()
    (studio / "rembg-watch.toml").rename(studio / "north.toml")
    assert call("remove", "in/mug.jpg", "--config", "north.toml").code == 2
    assert call("remove", "in/mug.jpg").code == 0


def test_remove_says_what_the_ledger_has_already(
    call: Call,
    serve: Callable[..., Sandbox],
    studio: Path,
    make_picture: Callable[..., bytes],
) -> None:
    sandbox = serve()
    assert call("once", "--quiet").code == 0
    delivered = f"this picture was delivered before as {studio / 'out' / 'mug.webp'}"
    ended = call("remove", "in/mug.jpg")
    assert (ended.code, sandbox.billed) == (2, 1)
    assert f"in/mug.jpg: {delivered}" in ended.err
    (studio / "copy.jpg").write_bytes((studio / "in" / "mug.jpg").read_bytes())
    ended = call("remove", "copy.jpg", "-o", "other/")
    assert (ended.code, sandbox.billed) == (0, 2)
    assert f"copy.jpg: {delivered}; sending it by hand is paid for again" in ended.err
    (studio / "out" / "mug.webp").unlink()
    assert "which is not there any more" in call("remove", "copy.jpg", "-o", "other/", "--force").err
    (studio / "new.jpg").write_bytes(make_picture(80, 50))
    assert "this picture" not in call("remove", "new.jpg").err


def test_remove_says_that_an_answer_waits_for_a_decision(
    call: Call, serve: Callable[..., Sandbox], studio: Path, make_picture: Callable[..., bytes]
) -> None:
    (studio / "in" / "mug.jpg").write_bytes(make_picture(1200, 900))
    serve(faults=["wrong_size:billed=true"])
    call("once", "--quiet")
    assert "held" in call("jobs").out
    ended = call("remove", "in/mug.jpg", "-o", "other/")
    assert 'in/mug.jpg: the paid answer for this picture is held (kitchen/mug.jpg): "rembg-watch accept"' in ended.err
    assert "sending it by hand is paid for again" in ended.err
