import io
import mmap
import os
import struct
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from rembg_watch.pictures import decoding
from rembg_watch.watch.probe import LINK, NO_FILE, OPEN_ELSEWHERE, Judgement, Verdict, file_stat, has_writer, probe
from rembg_watch.watch.settle import FileStat


def probed(path: Path, root: Path | None = None, **options: bool) -> Judgement:
    root = root or path.parent
    return probe(os.fsencode(root), os.fsencode(path.relative_to(root)), file_stat(path.lstat()), **options)


@pytest.fixture
def path(tmp_path: Path, picture: Callable[..., bytes]) -> Path:
    path = tmp_path / "a.jpg"
    path.write_bytes(picture())
    return path


def test_a_whole_picture_goes_in_line(path: Path) -> None:
    assert probed(path) == Judgement(Verdict.WHOLE)


def test_a_file_that_is_not_what_was_seen_is_looked_at_again(path: Path) -> None:
    seen = file_stat(path.stat())
    path.chmod(0o600)
    os.utime(path, (1, 1))
    assert probe(os.fsencode(path.parent), b"a.jpg", seen).verdict is Verdict.CHANGED


def test_a_file_that_went_away_is_gone(path: Path) -> None:
    seen = file_stat(path.stat())
    for source in (b"b.jpg", b"no/such/a.jpg", b"a.jpg/b.jpg"):
        assert probe(os.fsencode(path.parent), source, seen).verdict is Verdict.GONE
    assert probe(os.fsencode(path.parent / "missing"), b"a.jpg", seen).verdict is Verdict.GONE


def test_no_link_is_followed_in_any_part_of_the_path(path: Path, tmp_path: Path) -> None:
    (tmp_path / "link.jpg").symlink_to(path)
    assert probed(tmp_path / "link.jpg") == Judgement(Verdict.STUCK, LINK, "link")
    (tmp_path / "tree").mkdir()
    path.rename(tmp_path / "tree" / "a.jpg")
    (tmp_path / "way").symlink_to("tree")
    seen = file_stat((tmp_path / "tree" / "a.jpg").stat())
    assert probe(os.fsencode(tmp_path), b"way/a.jpg", seen).verdict in {Verdict.STUCK, Verdict.GONE}


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_what_is_no_file_is_not_opened_for_ever(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "a.jpg")
    assert probed(tmp_path / "a.jpg") == Judgement(Verdict.STUCK, NO_FILE, "no_file")


def test_a_file_that_a_program_still_writes_to_waits_for_it(path: Path) -> None:
    with path.open("ab"):
        assert probed(path) == Judgement(Verdict.STUCK, OPEN_ELSEWHERE, "open_elsewhere")
        assert probed(path, asks_for_writers=False) == Judgement(Verdict.WHOLE)
    assert probed(path) == Judgement(Verdict.WHOLE)


def test_memory_that_is_mapped_for_writing_counts_as_a_writer(path: Path) -> None:
    with path.open("r+b") as file:
        mapped = mmap.mmap(file.fileno(), 0)
    assert probed(path).code == "open_elsewhere"
    mapped.close()
    assert probed(path) == Judgement(Verdict.WHOLE)


def test_a_reader_is_no_writer(path: Path) -> None:
    with path.open("rb") as file:
        assert has_writer(file.fileno()) is False


def test_a_writer_that_comes_while_we_ask_kills_nobody(path: Path) -> None:
    """The kernel signals whoever holds a lease that somebody else wants to break."""
    opener = (
        "import os, sys, time\nuntil = time.monotonic() + 60  # nobody waits for it if the test is ended from outside\n"
        "while time.monotonic() < until:\n    os.close(os.open(sys.argv[1], os.O_WRONLY))"
    )
    answers: Counter[bool] = Counter()
    with subprocess.Popen([sys.executable, "-c", opener, str(path)]) as other, path.open("rb") as file:
        try:
            until = time.monotonic() + 20
            while min(answers[True], answers[False]) < 200 and time.monotonic() < until:
                answers[has_writer(file.fileno())] += 1
            assert other.poll() is None
        finally:
            other.kill()
    assert min(answers[True], answers[False]) >= 200


def test_half_a_picture_is_unfinished_and_refused_when_its_time_is_up(
    path: Path, picture: Callable[..., bytes]
) -> None:
    path.write_bytes(picture()[:400])
    early, late = probed(path), probed(path, is_last=True)
    assert (early.verdict, early.code) == (Verdict.UNFINISHED, "not_whole")
    assert early.reason.startswith("its end is missing")
    assert (late.verdict, late.code) == (Verdict.REFUSED, "not_whole")
    assert late.reason.startswith("It is a JPEG picture, but its end is missing")


def test_a_film_behind_a_picture_is_searched_past_at_once(path: Path, picture: Callable[..., bytes]) -> None:
    path.write_bytes(picture() + bytes(range(200)) * 2000)
    assert probed(path) == Judgement(Verdict.WHOLE)


def test_a_picture_without_an_end_mark_that_can_be_decoded_goes_in_line_when_its_time_is_up(path: Path) -> None:
    out = io.BytesIO()
    Image.effect_noise((64, 48), 60).save(out, "PNG")
    path.write_bytes(out.getvalue()[:-12])
    assert (probed(path).verdict, probed(path).took_long) == (Verdict.UNFINISHED, False)
    assert probed(path, is_last=True) == Judgement(Verdict.WHOLE, took_long=True)
    path.write_bytes(out.getvalue()[:-2000])
    late = probed(path, is_last=True)
    assert (late.verdict, late.code, late.took_long) == (Verdict.REFUSED, "not_whole", True)


@pytest.mark.parametrize("kind", ["BMP", "WEBP", "PNG", "JPEG"])
def test_space_that_was_reserved_is_waited_for(path: Path, kind: str) -> None:
    out = io.BytesIO()
    Image.effect_noise((200, 150), 60).convert("RGB").save(out, kind)
    with path.open("wb") as file:
        file.truncate(len(out.getvalue()))
        file.write(out.getvalue()[: len(out.getvalue()) // 10])
    assert probed(path).verdict is Verdict.UNFINISHED
    path.write_bytes(out.getvalue())
    assert probed(path).verdict is Verdict.WHOLE


def test_a_foreign_file_is_refused_at_once(path: Path) -> None:
    path.write_bytes(b"%PDF-1.7 and so on")
    found = probed(path)
    assert (found.verdict, found.code) == (Verdict.REFUSED, "wrong_type")
    assert "a PDF document" in found.reason


def test_a_text_may_still_become_a_picture(path: Path) -> None:
    path.write_bytes(b"placeholder")
    assert probed(path).verdict is Verdict.UNFINISHED
    assert probed(path, is_last=True).code == "not_a_picture"


def test_an_empty_file_is_refused_when_its_time_is_up(path: Path) -> None:
    path.write_bytes(b"")
    assert probed(path, is_last=True) == Judgement(
        Verdict.REFUSED, "It is not a picture: it is empty. Export or copy it again.", "not_a_picture"
    )


@pytest.mark.parametrize("code", [4, -9])
def test_a_picture_for_which_there_is_no_memory_waits_and_is_not_at_fault(
    path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    path.write_bytes(path.read_bytes()[:-2] + b"a maker's own trailer" * 300)
    monkeypatch.setattr(decoding, "_ended", lambda _command, _fd: code)
    found = probed(path, is_last=True)
    assert found == Judgement(Verdict.STUCK, "there is not enough memory to decode it now", "undecided", took_long=True)


def test_a_picture_beyond_the_limits_is_refused_at_once(path: Path) -> None:
    sides = struct.pack(">IIBBBBB", 12_000, 8, 8, 2, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + sides + bytes(4) + b"\0\0\0\0IDAT" + bytes(4) + b"\0\0\0\0IEND\xaeB`\x82"
    )
    found = probed(path)
    assert (found.verdict, found.code) == (Verdict.REFUSED, "too_wide")
    assert "12000 x 8" in found.reason


def test_a_file_beyond_the_limits_is_refused_at_once(path: Path) -> None:
    whole = path.read_bytes()
    with path.open("r+b") as file:
        file.truncate(50 * 1024 * 1024)
        file.seek(0, os.SEEK_END)
        file.write(whole[-2:])
    found = probed(path)
    assert (found.verdict, found.code) == (Verdict.REFUSED, "too_large")


def test_a_look_shows_every_change() -> None:
    found = os.stat_result((33188, 7, 3, 1, 0, 0, 900, 0, 5, 6, 0, 5.0, 6.0, 0, 5_000_000_001, 6_000_000_002))
    assert file_stat(found) == FileStat(900, found.st_mtime_ns, found.st_ctime_ns, 7, 3)
