"""Sheets of many pictures: split where one file would be too large, and made a few pictures at a time."""

import gc
import io
import re
import threading
from collections.abc import Iterable, Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from PIL import Image

from rembg_watch.config import FolderSettings
from rembg_watch.delivery.decoders import Decoders
from rembg_watch.errors import RembgWatchError, UsageError
from rembg_watch.ledger.pages import Shoot
from rembg_watch.showing import choosing, contents
from rembg_watch.showing.contents import Contents, Entry, LeftOut, Style, contents_of
from rembg_watch.showing.pairs import AHEAD, Pair, Side, pair_of, pairs_ahead
from rembg_watch.showing.pictures import Views
from rembg_watch.showing.places import Place
from rembg_watch.showing.sheet_html import html
from rembg_watch.showing.sheet_pdf import PAGE_PX, PER_PAGE, write_pdf
from tests.web.studio import AT, Studio

STYLE = Style(made_on="2026-11-28")


def entries(number: int) -> list[Entry]:
    return [Entry(caption=f"{one:04}.jpg") for one in range(number)]


def pair(_: object = None) -> Pair:
    file = io.BytesIO()
    Image.new("RGB", (9, 6), (200, 30, 30)).save(file, "JPEG")
    return Pair(Side(file.getvalue()), Side(why_not="Not there any more."))


def sheet(number: int, *left_out: LeftOut) -> Contents:
    return Contents(title="acme", entries=entries(number), left_out=left_out)


# --- how many there are ---------------------------------------------------------------------------


@pytest.mark.parametrize(("number", "sizes"), [(0, [0]), (1, [1]), (3, [3]), (4, [3, 1]), (7, [3, 3, 1])])
def test_a_large_shoot_becomes_several_sheets(number: int, sizes: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contents, "PART", 3)
    parts = sheet(number, LeftOut("x", "y")).parts
    assert [len(one.entries) for one in parts] == sizes
    assert [one.caption for part in parts for one in part.entries] == [one.caption for one in entries(number)]
    assert [len(one.left_out) for one in parts] == [0] * (len(parts) - 1) + [1], "what was left out stands at the end"
    assert len({one.title for one in parts}) == len(parts)


def test_no_more_views_are_made_than_are_soon_needed() -> None:
    made, lock = [0], threading.Lock()

    def make(entry: Entry) -> Pair:
        with lock:
            made[0] += 1
        return Pair(Side(entry.caption.encode()), Side())

    taken = 0
    for one in pairs_ahead(entries(100), make):
        assert one.before.content == f"{taken:04}.jpg".encode()
        taken += 1
        assert made[0] <= taken + AHEAD + 1
    assert taken == made[0] == 100


def test_what_goes_wrong_with_a_view_is_told_to_whoever_waits_for_it() -> None:
    def make(entry: Entry) -> Pair:
        raise ZeroDivisionError(entry.caption)

    with pytest.raises(ZeroDivisionError, match="0000"):
        list(pairs_ahead(entries(3), make))


def test_a_disk_that_does_not_answer_is_not_looked_at_and_is_told(tmp_path: Path) -> None:
    away = Place(tmp_path / "away", b"1.jpg")
    with closing(Decoders(most=1)) as decoders:
        views = Views(None, decoders)
        entry = Entry(caption="1.jpg", before=(away,), after=(Place(tmp_path, b"1.webp"),))
        made = pair_of(entry, views, frozenset({away.root}))
        assert not decoders.pids, "nothing was decoded"
    assert (made.before.why_not, made.after.why_not) == ("Its disk does not answer.", "Not there any more.")


def test_html_is_written_a_picture_at_a_time() -> None:
    asked = [0]

    def counted() -> Iterator[Pair]:
        for one in map(pair, range(50)):
            asked[0] += 1
            yield one

    pieces = html(sheet(50), counted(), STYLE)
    for number, _ in zip(range(10), pieces, strict=False):
        assert asked[0] <= number + 1


# --- on paper -------------------------------------------------------------------------------------


def pages(path: Path) -> list[Image.Image]:
    found = re.findall(rb"stream\r?\n(\xff\xd8.*?)\r?\nendstream", path.read_bytes(), re.DOTALL)
    return [Image.open(io.BytesIO(one)) for one in found]


def ink(page: Image.Image, box: tuple[int, int, int, int]) -> int:
    """Count dark points."""
    return sum(page.convert("L").crop(box).histogram()[:128])


def written(path: Path, what: Contents, pairs: Iterable[Pair] | None = None) -> list[Image.Image]:
    write_pdf(path, what, pairs if pairs is not None else map(pair, what.entries), STYLE)
    return pages(path)


@pytest.mark.parametrize(("number", "count"), [(0, 0), (1, 1), (PER_PAGE, 1), (PER_PAGE + 1, 2), (10 * PER_PAGE, 10)])
def test_a_pdf_has_a_page_for_ten_pictures_and_one_list_of_what_was_left_out(
    tmp_path: Path, number: int, count: int
) -> None:
    path = tmp_path / "x.pdf"
    some = written(path, sheet(number, LeftOut("bad.jpg", "It is broken. " * 40)))
    assert len(some) == count + 1
    assert b"/Count %d\n" % (count + 1) in path.read_bytes()
    assert all(ink(one, (1300, 2250, 1600, 2320)) for one in some), "each page says which it is"
    assert ink(some[-1], (84, 200, 1570, 420)) > 2_000, "the reasons"


def test_no_more_than_two_pages_are_in_memory_at_once(tmp_path: Path) -> None:
    most = [0]

    def counted() -> Iterator[Pair]:
        for _ in range(6 * PER_PAGE):
            drawn = sum(isinstance(one, Image.Image) and one.size == PAGE_PX for one in gc.get_objects())
            most[0] = max(most[0], drawn)
            yield pair()

    gc.collect()
    gc.disable()
    try:
        write_pdf(tmp_path / "x.pdf", sheet(6 * PER_PAGE), counted(), STYLE)
    finally:
        gc.enable()
    assert 1 <= most[0] <= 2


def test_the_last_row_of_a_page_is_on_the_paper(tmp_path: Path) -> None:
    page = written(tmp_path / "x.pdf", sheet(PER_PAGE))[0]
    top = 190 + 4 * 415
    assert ink(page, (84, top + 350, 1570, top + 400)) > 100, "its captions"
    assert ink(page, (1572, 180, 1654, 2240)) == 0, "and nothing beyond the edge"


# --- which shoot ----------------------------------------------------------------------------------


@pytest.fixture
def studio(tmp_path: Path) -> Studio:
    made = Studio(tmp_path / "studio", folder="a")
    with made.open() as ledger:
        names = ["x/deep/1.jpg", "x/deep/2.jpg", "x/other/1.jpg", "loose.jpg", b"\xff/1.jpg", "a\nb/1.jpg", "7/1.jpg"]
        made.drop(ledger, *names)
        made.deliver(ledger, len(names))
    return made


@pytest.mark.parametrize(
    ("text", "depth", "path"),
    [
        ("a/x", 1, b"x"),
        ("a/x/deep", 1, b"x/deep"),
        ("a/x/deep/1.jpg", 2, b"x/deep"),
        ("a", 1, b""),
        ("a", 0, b""),
        ("a/\\xff", 1, b"\xff"),
        ("a/a\\nb", 1, b"a\nb"),
        ("a/7", 1, b"7"),
        ("loose.jpg", 1, b""),
    ],
)
def test_a_shoot_is_found_by_what_lists_call_it(studio: Studio, text: str, depth: int, path: bytes) -> None:
    with studio.open() as ledger:
        assert choosing.named(ledger, text, {"a": depth}).path == path


def test_the_number_of_a_picture_of_a_folder_that_is_not_configured_is_refused(studio: Studio) -> None:
    with studio.open() as ledger, pytest.raises(UsageError, match="does not name any more"):
        choosing.named(ledger, "1", {"b": 1})


def test_an_empty_ledger_has_no_latest_shoot(tmp_path: Path) -> None:
    with Studio(tmp_path / "none").open() as ledger, pytest.raises(RembgWatchError, match="no picture in the ledger"):
        choosing.latest(ledger, {"catalogue": 1})


def test_names_that_two_pictures_share_are_told_apart(studio: Studio) -> None:
    folder = FolderSettings(name="a", input=studio.input, output=studio.output)
    with studio.open() as ledger:
        found = contents_of(ledger, Shoot("a", b"x"), folder, studio.state)
        assert [one.caption for one in found.entries] == ["deep/1.jpg", "2.jpg", "other/1.jpg"]
        with pytest.raises(UsageError, match="more than 2 pictures"):
            contents_of(ledger, Shoot("a", b"x"), folder, studio.state, most=2)


def test_a_picture_that_went_away_unsent_is_not_on_a_sheet(studio: Studio) -> None:
    with studio.open() as ledger:
        studio.drop(ledger, "x/late.jpg", at=AT + timedelta(hours=1))
        ledger.gone("a", [b"x/late.jpg"], AT + timedelta(hours=2))
        folder = FolderSettings(name="a", input=studio.input, output=studio.output)
        found = contents_of(ledger, Shoot("a", b"x"), folder, studio.state)
    assert (len(found.entries), found.in_line, found.stuck) == (3, 0, 0)
