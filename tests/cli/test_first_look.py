"""``once``, ``retry`` and ``adopt`` at a new folder, as a user calls them."""

import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from PIL import Image

from rembg_watch.sandbox import Sandbox


@pytest.fixture
def shop(desk: Path, serve: Callable[..., Sandbox]) -> Any:
    sandbox = serve()
    for name in ("in", "out"):
        (desk / name).mkdir()
    for number in range(5):
        Image.new("RGB", (40 + number, 30), (number * 40, 9, 9)).save(desk / f"in/{number}.png")
    configure(desk)
    return sandbox


def configure(desk: Path, *, state: str = "state", above: int = 4) -> None:
    (desk / "rembg-watch.toml").write_text(
        f'state_dir = "{desk / state}"\n[credits]\nask_above = {above}\n'
        "[watch]\nsettle_s = 0.1\nscan_interval_s = 0.2\n[output]\nfree_space_reserve_mb = 0\n"
        f'[[folders]]\nname = "f"\ninput = "{desk / "in"}"\noutput = "{desk / "out"}"\n'
    )


def calls(sandbox: Sandbox) -> int:
    with sandbox.lock:
        return sum(record.path == "/rmbg" for record in sandbox.requests)


def test_once_waits_where_nobody_can_be_asked_and_retry_lets_go_by_name(shop: Any, call: Callable[..., Any]) -> None:
    assert "5 pictures to be paid for" in call("once", "--dry-run").out
    waits = call("once")
    assert waits.code == 75
    assert "retry --folder f" in waits.out
    shown = json.loads(call("status", "--json").out)
    assert shown["folders"][0]["state"] == "held"
    assert "credits.ask_above (4)" in shown["folders"][0]["why"]
    assert "f is new and waits for you" in call("retry").out
    assert call("once").code == 75
    assert calls(shop) == 0
    assert "let go" in call("retry", "--folder", "f").out
    assert "5 would be sent" not in call("once", "--dry-run").out
    assert call("once").code == 0
    assert calls(shop) == 5


def hangs(place: Path) -> Callable[[Any], frozenset[Path]]:
    """Have one place not answer, as a share whose server is gone; the question itself is proved elsewhere."""
    return lambda paths: frozenset(path for path in paths if path == place)


def two_folders(desk: Path, serve: Callable[..., Sandbox]) -> None:
    serve()
    folders = "".join(
        f'[[folders]]\nname = "{name}"\ninput = "{desk / name}"\noutput = "{desk / name}-out"\n' for name in "ab"
    )
    for name in "ab":
        (desk / name).mkdir()
        for number in range(3):
            Image.new("RGB", (40 + number, 30), (number * 40, 9, ord(name))).save(desk / name / f"{number}.png")
    (desk / "rembg-watch.toml").write_text(
        f'state_dir = "{desk / "state"}"\n[watch]\nsettle_s = 0.1\nscan_interval_s = 0.2\n'
        f"[output]\nfree_space_reserve_mb = 0\n{folders}"
    )


def test_adopt_leaves_alone_what_hangs_and_takes_over_the_rest(
    desk: Path, serve: Callable[..., Sandbox], call: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    two_folders(desk, serve)
    assert call("once").code == 0
    (desk / "state").rename(desk / "state-before")
    assert call("once").code == 75
    monkeypatch.setattr("rembg_watch.cli.adopt.silent", hangs(desk / "a-out"))
    adopted = call("adopt", "--yes")
    assert adopted.code == 0
    assert "b: 3 cut-outs taken over" in adopted.out
    assert "a:" not in adopted.out
    assert "a-out does not answer" in " ".join(adopted.err.split())


def test_a_missing_cutout_is_told_although_another_folder_hangs(
    desk: Path, serve: Callable[..., Sandbox], call: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    two_folders(desk, serve)
    assert call("once").code == 0
    (desk / "b-out/0.webp").unlink()
    monkeypatch.setattr("rembg_watch.cli.cutouts.silent", hangs(desk / "a-out"))
    is_dir = Path.is_dir
    monkeypatch.setattr(Path, "is_dir", lambda path: Event().wait() if path == desk / "a-out" else is_dir(path))
    shown = {one["source"]: one["is_missing"] for one in json.loads(call("jobs", "--folder", "b", "--json").out)}
    assert shown == {"0.png": True, "1.png": False, "2.png": False}
    assert "1 cut-out to be made anew" in call("redo", "--missing", "--yes").out


def test_links_are_one_row_whatever_they_end_in(shop: Any, desk: Path, call: Callable[..., Any]) -> None:
    del shop
    for name in ("a.jpg", "b.png", "c", "d.jpg"):
        (desk / "in" / name).symlink_to("nowhere")
    call("once")
    rows = [row.split(maxsplit=1) for row in call("jobs", "--passed-over").out.splitlines() if ": links" in row]
    assert rows == [["4", "f: links"]]


def test_yes_agrees(shop: Any, call: Callable[..., Any]) -> None:
    assert call("once", "--yes").code == 0
    assert calls(shop) == 5


@pytest.mark.parametrize(("said", "paid"), [(b"y\n", 5), (b"n\n", 0)])
def test_on_a_terminal_once_asks(shop: Any, desk: Path, said: bytes, paid: int) -> None:
    ours, theirs = pty.openpty()
    os.write(ours, said)
    done = subprocess.run(
        [sys.executable, "-m", "rembg_watch", "once"],
        stdin=theirs,
        capture_output=True,
        cwd=desk,
        env=dict(os.environ),
        timeout=120,
        check=False,
    )
    os.close(ours)
    os.close(theirs)
    assert b"5 pictures to be paid for" in done.stderr
    assert done.returncode == (0 if paid else 75), done
    assert calls(shop) == paid


def test_adopt_takes_over_what_another_ledger_delivered(shop: Any, desk: Path, call: Callable[..., Any]) -> None:
    assert call("once", "--yes").code == 0
    configure(desk, state="another")
    assert "5 of 5 pictures seem to be delivered already" in call("once", "--dry-run").out
    waits = call("once", "--yes")  # agrees to a price, not to pay twice
    assert waits.code == 75
    assert "rembg-watch adopt --folder f" in waits.out
    assert call("adopt").code == 2
    adopted = call("adopt", "--folder", "f", "--yes")
    assert adopted.code == 0
    assert "5 of 5 pictures" in adopted.out
    assert "f: 5 cut-outs taken over; nothing was paid" in adopted.out
    assert call("once").code == 0
    assert calls(shop) == 5
    assert "nothing to take over" in call("adopt", "--yes").out


@pytest.mark.parametrize("words", [["adopt", "--folder", "g"], ["adopt", "--folder", "f"]])
def test_adopt_without_a_folder_or_a_ledger_says_so(shop: Any, call: Callable[..., Any], words: list[str]) -> None:
    ended = call(*words)
    assert ended.code in (2, 78)
    assert "no folder 'g'" in ended.err or "no ledger" in ended.err


@pytest.mark.parametrize(
    "arguments",
    [
        ("retry",),
        ("jobs",),
        ("jobs", "--unsettled"),
        ("jobs", "--passed-over"),
        ("redo", "--yes"),
        ("adopt", "--yes"),
        ("accept",),
    ],
    ids=" ".join,
)
def test_a_folder_that_does_not_exist_is_no_folder_without_pictures(
    shop: Any, call: Callable[..., Any], arguments: tuple[str, ...]
) -> None:
    assert call("once").code == 75
    ended = call(*arguments, "--folder", "F1")
    assert ended.code == 2
    assert "there is no folder 'F1'; known are: f" in ended.err
    assert calls(shop) == 0


def test_a_folder_that_left_the_configuration_is_known_by_its_pictures(
    shop: Any, desk: Path, call: Callable[..., Any]
) -> None:
    assert call("once", "--yes").code == 0
    text = (desk / "rembg-watch.toml").read_text()
    (desk / "rembg-watch.toml").write_text(text.replace('name = "f"', 'name = "g"'))
    assert "0.webp" in call("jobs", "--folder", "f").out
    assert call("retry", "--folder", "f").code == 0


@pytest.mark.parametrize("how", ["gone", "bare"])
def test_cut_outs_on_a_share_that_is_away_are_not_missing(
    shop: Any, desk: Path, call: Callable[..., Any], how: str
) -> None:
    assert call("once", "--yes").code == 0
    (desk / "out").rename(desk / "away")
    if how == "bare":
        (desk / "out").mkdir()
    assert not any(job["is_missing"] for job in json.loads(call("jobs", "--json").out))
    said = call("redo", "--missing", "--yes")
    assert "f: its output is away, so that nothing of it counts as missing" in said.out
    assert "there is nothing to make anew" in said.out
    if how == "bare":
        (desk / "out").rmdir()
    (desk / "away").rename(desk / "out")
    (desk / "out" / "3.webp").unlink()
    assert sum(job["is_missing"] for job in json.loads(call("jobs", "--json").out)) == 1
    assert "1 cut-out to be made anew" in call("redo", "--missing", "--yes").out
    assert "in line already: 1 picture" in call("redo", "3.png", "--yes").out
    assert call("once").code == 0
    assert calls(shop) == 6
