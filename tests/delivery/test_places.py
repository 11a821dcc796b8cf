import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rembg_watch.delivery.places import Places
from rembg_watch.host.disk import OutputUnavailableError, TargetRefusedError
from rembg_watch.paths import mirror


def test_a_folder_is_mirrored_and_made_before_anything_is_bought(tmp_path: Path) -> None:
    places = Places()
    assert places.source_in(tmp_path, b"a/b/x.jpg", ".webp") == b"a/b/x.jpg"
    assert places.source_in(tmp_path, b"x.jpg", ".webp") == b"x.jpg"
    assert [path.name for path in tmp_path.rglob("*")] == ["a", "b"]


@pytest.mark.parametrize(
    "obstacle", ["a cut-out", "a link", "a link that leads nowhere", "a link that loops", "a pipe"]
)
def test_where_something_stands_in_the_way_of_a_folder_it_gets_a_number(tmp_path: Path, obstacle: str) -> None:
    (tmp_path / "elsewhere").mkdir()
    way = tmp_path / "look1.webp"
    {
        "a cut-out": lambda: way.write_bytes(b"ours"),
        "a link": lambda: way.symlink_to(tmp_path / "elsewhere"),
        "a link that leads nowhere": lambda: way.symlink_to(tmp_path / "nowhere"),
        "a link that loops": lambda: way.symlink_to(way),
        "a pipe": lambda: os.mkfifo(way),
    }[obstacle]()
    (tmp_path / "look1.webp.2").touch()
    assert Places().source_in(tmp_path, b"look1.webp/deep/x.jpg", ".webp") == b"look1.webp.3/deep/x.jpg"
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_folder_is_looked_at_once_until_something_is_refused(tmp_path: Path) -> None:
    places = Places()
    assert places.source_in(tmp_path, b"a/x.jpg", ".webp") == b"a/x.jpg"
    (tmp_path / "a").rmdir()
    (tmp_path / "a").touch()
    assert places.source_in(tmp_path, b"a/y.jpg", ".webp") == b"a/y.jpg"
    places.forget()
    assert places.source_in(tmp_path, b"a/y.jpg", ".webp") == b"a.2/y.jpg"


@pytest.mark.parametrize("name", ["süß.jpg", "a:b?.jpg", "x\ny.jpg", os.fsdecode(b"caf\xe9.jpg"), "n" * 251 + ".jpg"])
def test_an_unusual_name_is_tried_and_nothing_of_it_is_left(tmp_path: Path, name: str) -> None:
    source = os.fsencode(f"a/{name}")
    assert Places().source_in(tmp_path, source, ".webp") == source
    assert list((tmp_path / "a").iterdir()) == []


def test_an_output_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(OutputUnavailableError) as caught:
        Places().source_in(tmp_path / "out", b"a/x.jpg", ".webp")
    assert (caught.value.code, caught.value.path) == ("missing", tmp_path / "out")


def test_a_folder_that_may_not_be_written_is_told_before_anything_is_bought(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir(mode=0o555)
    if os.access(tmp_path / "a", os.W_OK):
        pytest.skip("this user may write everywhere")
    with pytest.raises(OutputUnavailableError) as caught:
        Places().source_in(tmp_path, b"a/x.jpg", ".webp")
    assert caught.value.code == "permission"


PARTS = st.sampled_from([b"a", b"a.webp", b"a.webp.2", b"b", "é.webp".encode(), b"n" * 255])
SOURCES = st.lists(st.lists(PARTS, min_size=1, max_size=3).map(b"/".join).map(lambda one: one + b"/x.jpg"), max_size=6)


@given(SOURCES, st.lists(st.tuples(PARTS, PARTS).map(b"/".join) | PARTS, max_size=4))
def test_whatever_stands_in_the_output_every_folder_has_a_place_that_takes_files(
    tmp_path_factory: pytest.TempPathFactory, sources: list[bytes], files: list[bytes]
) -> None:
    root = tmp_path_factory.mktemp("out")
    for file in files:
        path = root / os.fsdecode(file)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        except (OSError, FileExistsError):
            continue
    places = Places()
    for source in sources:
        found = places.source_in(root, source, ".webp")
        assert found.count(b"/") == source.count(b"/")
        target = root / os.fsdecode(next(mirror(found, ".webp")))
        target.write_bytes(b"it takes files")


def test_a_name_that_the_disk_refuses_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.open

    def choosy(path: bytes, flags: int, *more: int, **where: int) -> int:
        if isinstance(path, bytes) and b"?" in path and flags & os.O_CREAT:
            raise OSError(22, "Invalid argument")
        return real(path, flags, *more, **where)

    monkeypatch.setattr(os, "open", choosy)
    with pytest.raises(TargetRefusedError) as caught:
        Places().source_in(tmp_path, b"what?.jpg", ".webp")
    assert caught.value.code == "name_refused"
