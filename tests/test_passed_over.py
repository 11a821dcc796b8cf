import re
from pathlib import PurePosixPath
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rembg_watch.passed_over import Passed, Why, can_match_a_picture, left_out, passed
from rembg_watch.paths import PICTURE_SUFFIXES, Folder, accepts_name, enters, is_sync_conflict, staging_name


def folder(**given: Any) -> Folder:
    return Folder(name="f", input=PurePosixPath("/in"), output=PurePosixPath("/out"), **given)


CONFLICTS = [
    "IMG_1.sync-conflict-20260131-120000-ABCDEFG.jpg",
    "IMG_1.sync-conflict-20260131-120000.jpg",
    "IMG_1 (conflicted copy).jpg",
    "IMG_1 (conflicted copy 2026-01-31 120000).jpg",
    "IMG_1 (Anna's conflicted copy 2026-01-31).jpg",
    "IMG_1 (Anna Müllers MacBook's conflicted copy 2026-01-31 (1)).jpg",
    "IMG_1 (In Konflikt stehende Kopie von Anna 2026-01-31).jpg",
    "IMG_1 (Copie en conflit de Anna 2026-01-31).jpg",
    "IMG_1 (Copia en conflicto de Anna 2026-01-31).jpg",
    "IMG_1 (copia in conflitto di Anna).jpg",
    "IMG_1 (cópia em conflito de Anna 2026-01-31).jpg",
    "IMG_1 (Case Conflict).jpg",
    "IMG_1 (Unicode Encoding Conflict 1).jpg",
    "IMG_1 (SFConflict anna@example.com 2026-01-31-12-00-00).jpg",
    "IMG_1(Conflict_anna (Web browser)_2026-01-31-12-00-00).jpg",
    "IMG_1 (case clash from anna 2026-01-31 120000).jpg",
    "IMG_1_conflict-20260131-120000.jpg",
    "IMG_1_Anna-PC_Jan-31-1200-2026_CaseConflict.jpg",
    "IMG_1_Anna-PC_Jan-31-1200-2026_Conflict_1.jpg",
    "IMG_1.Conflict.jpg",
    "IMG_1.Conflict2.jpg",
    "IMG_1-DESKTOP-1A2B3C4.jpg",
    "IMG_1-LAPTOP-AB12CD34-2.jpg",
]

NONE = [
    "IMG_1.jpg",
    "conflict.jpg",
    "the conflict (a scene).jpg",
    "conflict (1).jpg",
    "war.conflict.jpg",
    "hero-desktop-preview.jpg",
    "HERO-DESKTOP-PREVIEW.jpg",
    "laptop-bag.jpg",
    "clash of colours.jpg",
    "IMG_1 (1).jpg",
    "IMG_1 copy 2026-01-31.jpg",
]


@pytest.mark.parametrize("name", CONFLICTS)
def test_second_copies_of_sync_programs_are_passed_over_unless_they_are_wanted(name: str) -> None:
    raw = name.encode()
    assert is_sync_conflict(raw)
    assert not accepts_name(folder(), b"", raw)
    assert not accepts_name(folder(include=("**/*.jpg",)), b"", raw)
    assert passed(folder(), b"", raw) == Passed(Why.CONFLICT, ".jpg")
    assert accepts_name(folder(sync_conflicts=True), b"", raw)


@pytest.mark.parametrize("name", NONE)
def test_other_names_are_no_conflicts(name: str) -> None:
    assert not is_sync_conflict(name.encode())
    assert accepts_name(folder(), b"", name.encode())


@pytest.mark.parametrize(
    ("name", "given", "expected"),
    [
        (b"a.CR3", {}, Passed(Why.TYPE, ".cr3")),
        (b"a", {}, Passed(Why.TYPE, "")),
        (b"a.2026", {}, Passed(Why.TYPE, ".*")),
        (b"a.\xff\xfe", {}, Passed(Why.TYPE, ".*")),
        (b"a.jpg.part", {}, Passed(Why.NAME, ".part")),
        (b"a.jpg~", {}, Passed(Why.NAME, ".jpg~")),
        (b"._a.jpg", {}, Passed(Why.NAME, "hidden")),
        (b"Thumbs.db", {}, Passed(Why.NAME, "thumbs.db")),
        (b"a.png", {"include": ("**/*.jpg",)}, Passed(Why.INCLUDE, ".png")),
        (b"a.jpg", {"exclude": ("a*",)}, Passed(Why.EXCLUDE, ".jpg")),
        (b"a.jpg", {"include": ("**/*.jpg",), "exclude": ("a*",)}, Passed(Why.EXCLUDE, ".jpg")),
        (b"a.nef", {"exclude": ("**/*.nef",)}, Passed(Why.EXCLUDE, ".nef")),
        (staging_name(b"a"), {}, None),
    ],
)
def test_every_file_has_its_reason(name: bytes, given: Any, expected: Passed | None) -> None:
    assert not accepts_name(folder(**given), b"", name)
    assert passed(folder(**given), b"", name) == expected


def test_a_folder_is_left_out_as_a_program_s_own_or_by_a_pattern() -> None:
    one = folder(exclude=("**/_rejects/**",))
    for name, expected in {
        b"CaptureOne": Passed(Why.FOLDER, "captureone"),
        b"shoot.temp": Passed(Why.FOLDER, ".temp"),
        b".git": Passed(Why.FOLDER, "hidden"),
        b"_Rejects": Passed(Why.EXCLUDE, "_rejects/"),
    }.items():
        assert not enters(one, name)
        assert left_out(name) == expected


@given(st.binary(min_size=1, max_size=30).filter(lambda name: b"/" not in name and b"\0" not in name), st.booleans())
def test_a_name_is_sent_or_has_a_reason_and_never_both(name: bytes, has_patterns: bool) -> None:
    one = folder(include=("**/*.j*",), exclude=("x*",)) if has_patterns else folder()
    assert accepts_name(one, b"sub", name) or passed(one, b"sub", name) is not None
    found = passed(one, b"sub", name)
    if found is not None:
        assert len(found.kind) <= 40
        found.kind.encode()


# --- patterns that can match nothing --------------------------------------------------------------


@pytest.mark.parametrize(
    "pattern",
    ["**/*.tif", "*.CR3", "shoot-7", "shoot-7/", "./*.jpg", "../*.jpg", "a//*.jpg", "*.[cn]*q", "*.tif?", "**/.x/**",
     "*.jpgx", ".jpg", "**/*.jpg/", "*.txt", "CaptureOne/*.jpg"],
)  # fmt: skip
def test_a_pattern_that_can_match_no_picture_is_told(pattern: str) -> None:
    assert not can_match_a_picture(pattern)


@pytest.mark.parametrize(
    "pattern",
    ["**/*.jpg", "*.JPG", "**",
     "*", "x/**", "**/x/**", "*.[jp][pn]g", "IMG_????.jpg", "a?jpg", "*.jp*", "*g", "*.[!x]pg",
     "shoot-*/*.png", "Müller/*.webp", "[x.jpg"],
)  # fmt: skip
def test_a_pattern_that_can_match_a_picture_is_not(pattern: str) -> None:
    assert can_match_a_picture(pattern)


@given(st.text("ab.jpgnt*?[]", min_size=1, max_size=8), st.text("ab", max_size=3), st.text("ab", max_size=3))
def test_whatever_matches_a_picture_is_never_told(pattern: str, directory: str, stem: str) -> None:
    one = folder(include=(pattern,))
    for ending in PICTURE_SUFFIXES:
        name = f"{stem or 'a'}{ending.decode()}".encode()
        if accepts_name(one, b"", name) or accepts_name(one, b"d" + directory.encode(), name):
            assert can_match_a_picture(pattern)


def test_no_reason_is_without_words() -> None:
    for why in Why:
        assert re.fullmatch(r"[a-z]+", why.value)


def test_a_pattern_for_what_is_read_here_matches_where_deliverables_are_made() -> None:
    assert can_match_a_picture("**/*.tif", reads_more=True)
    assert can_match_a_picture("**/*.jpg", reads_more=True)
    assert not can_match_a_picture("**/*.dng", reads_more=True)
