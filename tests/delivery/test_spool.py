import io
import os
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from rembg_watch.delivery.spool import Spool
from rembg_watch.host.disk import Content


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "state" / "spool")


def test_an_answer_is_whole_only_under_its_final_name(spool: Spool) -> None:
    with spool.arriving("k") as part:
        part.write(b"answer")
    assert not spool.path("k").exists()
    assert spool.keep("k").read_bytes() == b"answer"
    assert not spool.part("k").exists()


def test_only_the_owner_may_look_into_the_spool(spool: Spool) -> None:
    assert spool.directory.stat().st_mode & 0o777 == 0o700


def test_a_sweep_leaves_what_the_ledger_needs_and_removes_parts_and_published_answers(spool: Spool) -> None:
    for name in ("needed", "published", "broken.part"):
        (spool.directory / name).write_bytes(b"x")
    assert spool.sweep({"needed"}) == 2
    assert [path.name for path in spool.directory.iterdir()] == ["needed"]


def test_a_rejected_answer_can_be_looked_at_until_it_is_old(spool: Spool) -> None:
    spool.path("k").write_bytes(b"<html>")
    aside = spool.reject("k")
    assert aside.read_bytes() == b"<html>"
    assert spool.sweep(set()) == 0
    assert spool.sweep_rejected(older_than=aside.stat().st_mtime - 1) == 0
    os.utime(aside, (1, 1))
    assert spool.sweep_rejected(older_than=2) == 1


def test_dropping_and_rejecting_what_is_not_there_is_no_error(spool: Spool) -> None:
    spool.drop("k")
    spool.reject("k")


def test_an_answer_that_stands_elsewhere_is_taken_in_whole(spool: Spool, tmp_path: Path) -> None:
    (tmp_path / "cutout").write_bytes(b"answer")
    read = spool.copy_in("k", tmp_path / "cutout")
    assert spool.path("k").read_bytes() == b"answer"
    assert read == Content(digest=spool.digest("k"), size_bytes=6)
    assert spool.digest("k") == "0db52f4076c082518412afd3dd3576e2cb0c63703fd7fed5e23ade60efef31d9"


def test_what_is_left_out_of_an_answer_was_read_all_the_same(spool: Spool, tmp_path: Path) -> None:
    (tmp_path / "cutout").write_bytes(b"answer with words")
    read = spool.copy_in("k", tmp_path / "cutout", cuts=[(0, 1, b"A"), (6, 17, b"")])
    assert spool.path("k").read_bytes() == b"Answer"
    assert read == Content(digest=sha256(b"answer with words").hexdigest(), size_bytes=17)


def test_an_answer_and_then_its_name_are_on_the_disk_before_it_is_kept(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    fsync, rename = os.fsync, os.rename

    def sync(fd: int) -> None:
        done.append(f"synced {Path(f'/proc/self/fd/{fd}').readlink().name} of {os.fstat(fd).st_size}")
        fsync(fd)

    def name(old: str, new: str) -> None:
        done.append("renamed")
        rename(old, new)

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(os, "rename", name)
    with spool.arriving("k") as part:
        part.write(b"answer")
    spool.keep("k")
    assert [done[0], done[1], done[2].split(" of ")[0]] == ["synced k.part of 6", "renamed", "synced spool"]
    done.clear()
    spool.copy_in("l", spool.path("k"))
    assert [done[0], done[1], done[2].split(" of ")[0]] == ["synced l.part of 6", "renamed", "synced spool"]


def test_a_disk_that_takes_only_a_part_of_a_block_costs_no_byte(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    class Scarce(io.FileIO):
        def write(self, block: Any, /) -> int:
            return super().write(bytes(block)[:1000])

    (spool.directory / "elsewhere").write_bytes(bytes(range(256)) * 40)
    monkeypatch.setattr(io, "FileIO", Scarce)
    spool.copy_in("k", spool.directory / "elsewhere")
    assert spool.path("k").read_bytes() == bytes(range(256)) * 40


def test_a_lost_part_is_an_error_not_an_empty_answer(spool: Spool) -> None:
    with pytest.raises(FileNotFoundError):
        spool.keep("k")


def arrived(spool: Spool, key: str, answer: bytes) -> Path:
    with spool.arriving(key) as part:
        part.write(answer)
    return spool.keep(key)


def test_the_file_of_a_dropped_answer_holds_the_next_one_and_nothing_of_the_old_one(spool: Spool) -> None:
    number = arrived(spool, "long", b"answer" * 1000).stat().st_ino
    spool.drop("long")
    assert not spool.path("long").exists()
    assert arrived(spool, "between", b"").stat().st_ino != number, "the old name may come back before this is kept"
    whole = arrived(spool, "short", b"other")
    assert whole.read_bytes() == b"other"
    assert whole.stat().st_ino == number
    assert {path.name for path in spool.directory.iterdir()} == {"between", "short"}


def broken_off(spool: Spool, key: str, error: Exception, came: bytes = b"") -> None:
    with pytest.raises(type(error)):
        fails(spool, key, error, came)


def fails(spool: Spool, key: str, error: Exception, came: bytes) -> None:
    with spool.arriving(key) as part:
        part.write(came)
        raise error


def test_calls_without_an_answer_leave_no_file_behind_each(spool: Spool) -> None:
    for number in range(100):
        broken_off(spool, f"refused {number}", RuntimeError())
    assert len(list(spool.directory.iterdir())) <= 64
    arrived(spool, "good", b"answer")
    broken_off(spool, "refused at last", RuntimeError(), b"half an ans")
    assert arrived(spool, "next", b"other").read_bytes() == b"other"
    assert not list(spool.directory.glob("*.part"))
    spool.give_back()
    assert {path.name for path in spool.directory.iterdir()} == {"good", "next"}


def test_a_file_that_the_disk_did_not_take_is_not_used_again(spool: Spool) -> None:
    broken_off(spool, "k", OSError(), b"half an ans")
    assert list(spool.directory.iterdir()) == []


def test_no_more_and_no_larger_files_are_kept_for_later_than_is_worth_it(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rembg_watch.delivery.spool.MOST_SPARES", 2)
    monkeypatch.setattr("rembg_watch.delivery.spool.LARGEST_SPARE_BYTES", 5)
    for key, answer in {"large": b"answer", "a": b"1", "b": b"2", "c": b"3"}.items():
        spool.path(key).write_bytes(answer)
        spool.drop(key)
    assert {path.read_bytes() for path in spool.directory.iterdir()} == {b"1", b"2"}


def test_files_kept_for_later_go_with_the_program_and_what_a_crash_leaves_of_them_with_the_next_start(
    spool: Spool,
) -> None:
    for key in "ab":
        arrived(spool, key, b"answer")
    spool.drop("a")
    spool.give_back()
    assert [path.name for path in spool.directory.iterdir()] == ["b"]
    spool.drop("b")
    assert Spool(spool.directory).sweep(set()) == 1


def test_a_spare_file_that_somebody_removed_is_no_loss(spool: Spool) -> None:
    arrived(spool, "a", b"answer")
    spool.drop("a")
    (spare,) = spool.directory.iterdir()
    arrived(spool, "between", b"")
    spare.unlink()
    assert arrived(spool, "b", b"other").read_bytes() == b"other"
