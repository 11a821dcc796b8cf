"""Which watched input a place lies in, by whatever name it is called."""

import os
from pathlib import Path
from typing import Any

import pytest

from rembg_watch.config import FolderSettings
from rembg_watch.watched import refusals, spot_of


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "in" / "shoot" / "raw").mkdir(parents=True)
    (tmp_path / "in" / "_rejects").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "link").symlink_to("in")
    (tmp_path / "deep link").symlink_to("in/shoot")
    (tmp_path / "in" / "way out").symlink_to("../out")
    (tmp_path / "chain").symlink_to("link")
    return tmp_path


def folder(place: Path, input_: str = "in", **settings: Any) -> FolderSettings:
    return FolderSettings(name="kitchen", input=place / input_, output=place / "out", **settings)


WATCHED = [
    ("in", b""),
    ("in/shoot", b"shoot"),
    ("in/shoot/raw", b"shoot/raw"),
    ("in/new", b"new"),
    ("in/new/deeper", b"new/deeper"),
    ("out/../in", b""),
    ("link", b""),
    ("link/shoot/new", b"shoot/new"),
    ("deep link", b"shoot"),
    ("deep link/raw", b"shoot/raw"),
    ("chain/shoot", b"shoot"),
]
FREE = [
    "out",
    "out/in",
    "",
    "inn",
    "in/way out",
    "in/way out/new",
    "shoot",
    "nowhere/in",
    "in/.hidden",
    "in/CaptureOne",
]


@pytest.mark.parametrize("root", ["in", "link", "chain", "out/../in"])
@pytest.mark.parametrize(("path", "below"), WATCHED)
def test_a_watched_place_is_known_by_whatever_name(place: Path, path: str, below: bytes, root: str) -> None:
    found = spot_of(place / path, [folder(place, root)])
    assert found is not None
    assert (found.folder.name, found.below) == ("kitchen", below)
    assert len(refusals([place / path, place / path], [folder(place, root)], environ={})) == 1


@pytest.mark.parametrize("root", ["in", "link"])
@pytest.mark.parametrize("path", FREE)
def test_a_place_beside_it_or_that_is_not_walked_is_free(place: Path, path: str, root: str) -> None:
    assert spot_of(place / path, [folder(place, root)]) is None


def test_what_is_excluded_is_not_watched(place: Path) -> None:
    assert spot_of(place / "in" / "_rejects", [folder(place, exclude=("**/_rejects/**",))]) is None
    assert spot_of(place / "in" / "shoot", [folder(place, exclude=("**/_rejects/**",))]) is not None


def test_an_input_that_is_away_counts_by_its_name(place: Path) -> None:
    assert spot_of(place / "gone" / "x", [folder(place, "gone")]) is not None


def test_another_name_of_the_same_directory_counts(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a disk that knows no case, or under a bind mount: two names, one directory."""
    real = Path.stat

    def stat(self: Path, **options: Any) -> os.stat_result:
        return real(Path(str(self).replace("/IN", "/in")), **options)

    monkeypatch.setattr(Path, "stat", stat)
    found = spot_of(place / "IN" / "shoot", [folder(place)])
    assert found is not None
    assert found.below == b"shoot"
