import io
import os
from pathlib import Path
from typing import Any

import pytest

from rembg_watch.spool import Spool


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
    assert spool.copy_in("k", tmp_path / "cutout").read_bytes() == b"answer"
    assert spool.digest("k") == "0db52f4076c082518412afd3dd3576e2cb0c63703fd7fed5e23ade60efef31d9"


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
    assert spool.copy_in("k", spool.directory / "elsewhere").read_bytes() == bytes(range(256)) * 40


def test_a_lost_part_is_an_error_not_an_empty_answer(spool: Spool) -> None:
    with pytest.raises(FileNotFoundError):
        spool.keep("k")
