"""``sheet``, as a user calls it: one file for a client, with the pictures in it and nothing that is not for them."""

import base64
import io
import os
import re
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from rembg_watch.ledger import Verdict, Which
from tests.web.studio import AT, Studio

Call = Callable[..., Any]
LATER = AT + timedelta(hours=1)
HOSTILE = (
    "<img src=x onerror=alert(1)>.jpg",
    "two\nlines.jpg",
    "\u202egpj.exe.jpg",
    "a'b\"&amp;.jpg",
    "\u4e2d\u6587.jpg",
)


@pytest.fixture
def studio(desk: Path) -> Studio:
    """Two shoots, cut out; in the one that came last a picture failed."""
    made = Studio(desk, folder="a")
    with made.open() as ledger:
        made.drop(ledger, "acme/acme-1.jpg", "acme/acme-2.jpg")
        made.deliver(ledger, 2)
        made.drop(ledger, "bolt/bolt-1.jpg", "bolt/bolt-2.jpg", at=LATER)
        made.deliver(ledger, 2, at=LATER)
        made.drop(ledger, "bolt/broken.jpg", at=LATER)
        made.fail(ledger, reason=f"It cannot be read at {made.input}/bolt/broken.jpg nor at /srv/a/b.jpg.", at=LATER)
    return made


@pytest.fixture
def make(studio: Studio, call: Call) -> Call:
    """Call ``sheet`` with the studio's configuration."""
    return lambda *words: call("sheet", *words, "--config", studio.config)


def pictures(html: str) -> list[Image.Image]:
    return [
        Image.open(io.BytesIO(base64.b64decode(one)))
        for one in re.findall(r'src="data:image/\w+;base64,([^"]+)"', html)
    ]


def test_each_picture_is_in_the_file_before_and_after(studio: Studio, make: Call) -> None:
    ended = make("a/acme", "-o", "acme.html")
    assert ended.code == 0
    assert ended.out == "acme.html: 2 pictures of a/acme\n"
    text = (studio.root / "acme.html").read_text()
    before, after, *others = pictures(text)
    assert (before.format, after.format, len(others)) == ("JPEG", "WEBP", 2)
    assert before.size == after.size == (90, 60)
    assert after.convert("RGBA").getpixel((1, 1))[3] == 0  # type: ignore[index]
    assert '<h1 dir="auto">acme</h1>' in text
    assert re.findall("<bdi>(.*?)</bdi>", text) == ["acme-1.jpg", "acme-2.jpg"]


def test_it_names_no_place_no_price_and_nothing_to_fetch(studio: Studio, make: Call) -> None:
    make("a/acme", "-o", "acme.html")
    text = (studio.root / "acme.html").read_text()
    assert str(studio.root) not in text
    assert "credit" not in text
    assert "<script" not in text
    assert not re.search(r"(?:https?:|url\(|@import|<link)", text)
    assert "default-src 'none'" in text


def test_prices_verdicts_and_white_are_shown_where_they_are_wanted(studio: Studio, make: Call) -> None:
    with studio.open() as ledger:
        jobs = list(ledger.jobs(Which(pattern="acme/*")))
        at = datetime(2026, 11, 1, tzinfo=UTC)
        ledger.give_verdict(jobs[:1], Verdict.APPROVED, at, who="Eva", note="ask about the handle")
    make("a/acme", "--prices", "--white", "-o", "acme.html")
    text = (studio.root / "acme.html").read_text()
    assert text.count("<span>1 credit</span>") == 2
    assert "2 credits</p>" in text
    assert text.count('<span class="approved">approved</span>') == 1
    assert "Eva" not in text
    assert "handle" not in text
    assert text.count('class="side white"') == 2
    assert 'class="side checks"' not in text


@pytest.mark.parametrize(
    "name", ["a/acme", "a/acme/", "a/acme/acme-1.jpg", "acme", "acme-1.jpg", "acme/acme-2.jpg", "1"]
)
def test_a_shoot_is_known_by_its_name_and_by_its_pictures(studio: Studio, make: Call, name: str) -> None:
    assert make(name, "-o", "x.html").out == "x.html: 2 pictures of a/acme\n"


def test_without_a_name_it_is_the_shoot_that_changed_last(studio: Studio, make: Call) -> None:
    ended = make("-o", "x.html")
    assert ended.out == "x.html: 2 pictures of a/bolt\n"
    assert "a/bolt is the shoot that changed last" in ended.err


@pytest.mark.parametrize("name", ["a/nothing", "b/acme", "999", "*", "a", "", "a/acme/../bolt"])
def test_what_is_not_there_is_told(studio: Studio, make: Call, name: str) -> None:
    ended = make(name, "-o", "x.html")
    assert ended.code == 2
    assert "there is no shoot and no picture" in ended.err
    assert not (studio.root / "x.html").exists()


def test_a_name_that_two_shoots_have_is_refused_with_both(studio: Studio, make: Call) -> None:
    with studio.open() as ledger:
        studio.drop(ledger, "bolt/acme-1.jpg")
    ended = make("acme-1.jpg", "-o", "x.html")
    assert ended.code == 2
    assert "a/acme" in ended.err
    assert "a/bolt" in ended.err


def test_what_failed_is_listed_with_reasons_where_that_is_wanted(studio: Studio, make: Call) -> None:
    plain = make("a/bolt", "-o", "x.html")
    assert "1 picture not cut out, and not on it: --failed lists them" in plain.err
    assert "broken.jpg" not in (studio.root / "x.html").read_text()
    make("a/bolt", "--failed", "-o", "x.html")
    text = (studio.root / "x.html").read_text()
    assert str(studio.root) not in text
    assert "It cannot be read at bolt/broken.jpg nor at b.jpg." in text
    assert re.search(
        r"<h2>Not cut out</h2>\s*<ul class=\"left\">\s*<li><bdi>broken.jpg</bdi><br><span>\S.*</span>", text
    )


def test_a_missing_original_is_shown_as_missing_and_a_missing_cutout_is_a_failure(studio: Studio, make: Call) -> None:
    (studio.input / "acme" / "acme-1.jpg").unlink()
    ended = make("a/acme", "-o", "x.html")
    assert ended.code == 0
    assert "1 original not there" in ended.err
    for one in (studio.output / "acme").glob("acme-2*"):
        one.unlink()
    ended = make("a/acme", "-o", "x.html")
    assert ended.code == 1
    assert "1 cut-out not there" in ended.err
    text = (studio.root / "x.html").read_text()
    assert text.count("Not there any more.") == 2
    assert len(pictures(text)) == 2


def test_a_pdf_has_the_pages_and_says_whose_it_is(studio: Studio, make: Call) -> None:
    ended = make("a/acme", "-o", "acme.pdf")
    assert ended.code == 0
    data = (studio.root / "acme.pdf").read_bytes()
    assert data.startswith(b"%PDF-")
    assert len(re.findall(rb"/Type /Page\b", data)) == 1
    assert str(studio.root).encode() not in data
    page = Image.open(io.BytesIO(re.findall(rb"stream\r?\n(\xff\xd8.*?)\r?\nendstream", data, re.DOTALL)[0]))
    assert page.size == (1654, 2339)
    assert page.getpixel((84 + 175, 190 + 175))[0] > 150  # type: ignore[index]


@pytest.mark.parametrize("ending", ["html", "pdf"])
def test_hostile_names_are_words_and_nothing_else(studio: Studio, make: Call, ending: str) -> None:
    shoot = "'\"><script>alert(2)<"
    names = [*HOSTILE, os.fsdecode(b"\xff\xfe.jpg")]
    with studio.open() as ledger:
        studio.drop(ledger, *(f"{shoot}/{name}" for name in names))
        studio.deliver(ledger, len(names))
    ended = make(f"a/{shoot}", "-o", f"x.{ending}")
    assert ended.code == 0
    if ending == "html":
        text = (studio.root / "x.html").read_text()
        assert "<script" not in text
        assert "<img src=x" not in text
        assert "two\\nlines.jpg" in text
        assert "\\xff\\xfe.jpg" in text
        assert "\u202e" not in text


@pytest.mark.parametrize("name", ["x.txt", "x", ".", "nowhere/x.html"])
def test_a_name_that_cannot_be_written_is_refused_before_any_work(studio: Studio, make: Call, name: str) -> None:
    assert make("a/acme", "-o", name).code == 2


def test_a_sheet_that_cannot_be_finished_leaves_the_old_one_and_no_rest(studio: Studio, make: Call) -> None:
    (studio.root / "x.html").write_text("the old one")
    (studio.root / "locked").mkdir()
    (studio.root / "locked" / "x.html").symlink_to(studio.root / "gone" / "x.html")
    ended = make("a/acme", "-o", "locked/x.html")
    assert ended.code == 1
    assert sorted(one.name for one in (studio.root / "locked").iterdir()) == ["x.html"]
    assert make("a/acme", "-o", "x.html").code == 0
    assert "the old one" not in (studio.root / "x.html").read_text()
    assert not list(studio.root.glob(".sheet*"))


def test_a_shoot_of_which_nothing_is_cut_out_yet_waits(studio: Studio, make: Call) -> None:
    with studio.open() as ledger:
        studio.drop(ledger, "late/x.jpg")
    ended = make("a/late", "-o", "x.html")
    assert ended.code == 75
    assert "1 picture still in line" in ended.err


def test_the_program_itself_makes_one(studio: Studio) -> None:
    command = [sys.executable, "-m", "rembg_watch", "sheet", "a/acme", "-o", "acme.pdf"]
    command += ["--config", str(studio.config)]
    done = subprocess.run(command, cwd=studio.root, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout) == (0, "acme.pdf: 2 pictures of a/acme\n"), done.stderr
    assert (studio.root / "acme.pdf").read_bytes().startswith(b"%PDF-")
