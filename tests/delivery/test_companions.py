from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rembg_watch.delivery.companions import _named_after, remove_emptied, take_side_files
from rembg_watch.host.disk import OutputUnavailableError


@pytest.fixture
def roots(tmp_path: Path) -> tuple[Path, Path]:
    (tmp_path / "in" / "job7" / "sub").mkdir(parents=True)
    (tmp_path / "done").mkdir()
    return tmp_path / "in", tmp_path / "done"


def files(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


def test_side_files_follow_their_picture(roots: tuple[Path, Path]) -> None:
    root, done = roots
    for name in ("a.xmp", "A.JPG.XMP", "b.xmp", "ab.xmp", "a.txt", "b.jpg"):
        (root / "job7/sub" / name).write_text(name)
    assert sorted(take_side_files(root, b"job7/sub/a.jpg", done)) == [b"job7/sub/A.JPG.XMP"]
    (root / "job7/sub/a.txt").unlink()
    assert take_side_files(root, b"job7/sub/a.jpg", done) == [b"job7/sub/a.xmp"]
    assert files(done) == {"job7/sub/A.JPG.XMP", "job7/sub/a.xmp"}
    assert files(root) == {"job7/sub/b.xmp", "job7/sub/ab.xmp", "job7/sub/b.jpg"}


def test_the_side_file_of_a_raw_stays_with_it(roots: tuple[Path, Path]) -> None:
    root, done = roots
    for name in ("a.cr3", "a.xmp"):
        (root / name).write_text(name)
    assert take_side_files(root, b"a.jpg", done) == []
    assert files(root) == {"a.cr3", "a.xmp"}


def test_nothing_is_put_over_what_is_there(roots: tuple[Path, Path]) -> None:
    root, done = roots
    (root / "a.xmp").write_text("new")
    (done / "a.xmp").write_text("old")
    assert take_side_files(root, b"a.jpg", done) == [b"a (2).xmp"]
    assert (done / "a.xmp").read_text() == "old"
    assert (done / "a (2).xmp").read_text() == "new"


def test_links_and_folders_are_no_side_files(roots: tuple[Path, Path]) -> None:
    root, done = roots
    (root / "a.xmp").symlink_to("elsewhere")
    (root / "a.jpg.xmp").mkdir()
    assert take_side_files(root, b"a.jpg", done) == []
    assert take_side_files(root, b"gone/a.jpg", done) == []


def test_a_done_folder_that_is_away_leaves_them(roots: tuple[Path, Path]) -> None:
    root, done = roots
    (root / "a.xmp").write_text("x")
    done.rmdir()
    with pytest.raises(OutputUnavailableError):
        take_side_files(root, b"a.jpg", done)
    assert files(root) == {"a.xmp"}


@given(st.lists(st.sampled_from(["a.jpg", "a.xmp", "a.jpg.xmp", "a.cr3", "A.xmp", "b.xmp", "a.b.xmp", ".a.xmp", "a"])))
def test_only_what_is_named_after_the_picture_and_nobody_else_goes(names: list[str]) -> None:
    there = sorted({name.encode() for name in names} - {b"a.jpg"})
    taken = set(_named_after(b"a.jpg", there))
    assert taken <= {b"a.xmp", b"A.xmp", b"a.jpg.xmp"}
    assert (b"a.jpg.xmp" in there) == (b"a.jpg.xmp" in taken)
    assert (b"a.xmp" in taken) == (b"a.xmp" in there and not {b"a.cr3", b"a"} & set(there))


def test_folders_that_were_emptied_go_up_to_the_root(roots: tuple[Path, Path]) -> None:
    root, _ = roots
    assert remove_emptied(root, b"job7/sub/a.jpg") == 2
    assert root.is_dir()
    assert list(root.iterdir()) == []


@pytest.mark.parametrize("left", ["job7/sub/b.jpg", "job7/b.jpg"])
def test_a_folder_that_holds_anything_stays(roots: tuple[Path, Path], left: str) -> None:
    root, _ = roots
    (root / left).write_text("x")
    remove_emptied(root, b"job7/sub/a.jpg")
    assert files(root) == {left}


def test_a_link_in_the_place_of_a_folder_is_not_followed(roots: tuple[Path, Path]) -> None:
    root, _ = roots
    elsewhere = root.parent / "elsewhere"
    (elsewhere / "sub").mkdir(parents=True)
    (root / "link").symlink_to(elsewhere)
    assert remove_emptied(root, b"link/sub/a.jpg") == 0
    assert (elsewhere / "sub").is_dir()
