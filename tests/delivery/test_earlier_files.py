import os
from pathlib import Path

import pytest

from rembg_watch.delivery.earlier_files import Wanted, earlier_files
from rembg_watch.jobs import Version

VERSION = Version(size_bytes=1, mtime_ns=10**18, inode=1)


def below(folder: bytes) -> Wanted:
    return Wanted(folder.decode(), ".tif", lambda source, _at: folder + b"/" + source)


NAMELESS = Wanted("nameless", ".tif", lambda _source, _at: None)


@pytest.mark.parametrize(
    ("sources", "stands", "found", "doubtful"),
    [
        ("a.jpg", "p/a.tif s/a.tif", {"a.jpg": {"p": "p/a.tif", "s": "s/a.tif"}}, ""),
        ("a.jpg b.jpg", "p/a.tif", {"a.jpg": {"p": "p/a.tif"}}, ""),
        ("d/a.jpg a.jpg", "p/d/a.tif", {"d/a.jpg": {"p": "p/d/a.tif"}}, ""),
        ("a.jpg", "p/A.TIF", {"a.jpg": {"p": "p/A.TIF"}}, ""),
        ("a.jpg", "a.tif p/b.tif p/a.jpg", {}, ""),
        ("a.jpg a.png", "p/a.tif", {}, "a.jpg:p a.png:p"),
        ("a.jpg a.png", "p/a.tif p/a.png.tif", {"a.jpg": {"p": "p/a.tif"}, "a.png": {"p": "p/a.png.tif"}}, ""),
        ("a.jpg a.png", "p/a.tif p/a.jpg.tif", {"a.png": {"p": "p/a.tif"}, "a.jpg": {"p": "p/a.jpg.tif"}}, ""),
        ("a.jpg a.png", "p/a.tif s/a.png.tif", {"a.png": {"s": "s/a.png.tif"}}, "a.jpg:p a.png:p"),
        ("a.jpg a.png", "p/a.png.tif", {"a.png": {"p": "p/a.png.tif"}}, ""),
    ],
)
def test_each_file_is_found_for_the_one_source_that_it_can_be_of(
    tmp_path: Path, sources: str, stands: str, found: dict[str, dict[str, str]], doubtful: str
) -> None:
    for name in stands.split():
        put(tmp_path / name)
    looked = earlier_files(
        tmp_path, [below(b"p"), below(b"s"), NAMELESS], [(one.encode(), VERSION) for one in sources.split()]
    )
    shown = {
        source.decode(): {which: target.decode() for which, target in files.items()}
        for source, files in looked.found.items()
    }
    assert shown == found
    assert {f"{source.decode()}:{which}" for source, which in looked.doubtful} == set(doubtful.split())


def test_a_file_that_is_older_than_its_source_is_not_made_of_it(tmp_path: Path) -> None:
    put(tmp_path / "p/a.tif", 10**18 - 1)
    assert not earlier_files(tmp_path, [below(b"p")], [(b"a.jpg", VERSION)]).found


def test_two_sources_that_are_called_the_same_are_both_in_doubt(tmp_path: Path) -> None:
    put(tmp_path / "sku.tif")
    put(tmp_path / "sku.jpg.tif")
    wanted = Wanted("p", ".tif", lambda _source, _at: b"sku.jpg")
    looked = earlier_files(tmp_path, [wanted], [(b"1.jpg", VERSION), (b"2.jpg", VERSION)])
    assert not looked.found
    assert looked.doubtful == {(b"1.jpg", "p"), (b"2.jpg", "p")}


def put(path: Path, mtime_ns: int = 10**18) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"a file")
    os.utime(path, ns=(mtime_ns, mtime_ns))
