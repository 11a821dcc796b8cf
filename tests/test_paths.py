import itertools
import time
from pathlib import PurePosixPath
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rembg_watch.passed_over import is_worth_a_line, passed
from rembg_watch.paths import (
    NAME_BYTES,
    Folder,
    accepts,
    accepts_name,
    collision_key,
    enters,
    folder_problems,
    is_junk,
    is_staging_name,
    mirror,
    shoot_of,
    staging_name,
)


def folder(name: str = "catalogue", root: str = "/srv", **changes: object) -> Folder:
    facts: dict[str, object] = {
        "name": name,
        "input": PurePosixPath(f"{root}/in"),
        "output": PurePosixPath(f"{root}/out"),
    }
    return Folder(**(facts | changes))  # type: ignore[arg-type]


def first(source: bytes, count: int = 4, extension: str = ".webp") -> list[bytes]:
    return list(itertools.islice(mirror(source, extension), count))


@pytest.mark.parametrize(
    "source",
    [
        b"a.jpg",
        b"a.JPG",
        b"a.jpeg",
        b"a.png",
        b"a.WebP",
        b"a.bmp",
        b"deep/er/still/a.jpg",
        b"with space/\xc3\xa4 (1).jpg",
        b"not utf-8 \xff\xfe.jpg",
        b"two.dots.jpg",
        b"newline\n.jpg",
        b"-rf.jpg",
        b"partly.jpg",
        b"~a.jpg",
        b"captureone.jpg",
        b"from the web.jfif",
        b"A.JFIF",
        b"a.jpe",
        b"a.Jif",
        b"a.pjpeg",
        b"a.DIB",
    ],
)
def test_every_picture_type_that_can_be_sent_is_taken_when_nothing_is_said(source: bytes) -> None:
    assert accepts(folder(), source)


@pytest.mark.parametrize(
    "source",
    [
        b"a.tif",
        b"a.heic",
        b"a.txt",
        b"a",
        b"jpg",
        b".jpg",
        b"a.jpg.xmp",
        b"a.jpg.part",
        b"a.jpg.tmp",
        b"a.jpg.crdownload",
        b"a.jpg.filepart",
        b"a.jpg~",
        b"~$a.jpg",
        b"._a.jpg",
        b".a.jpg",
        b".a.jpg.Xy12Zz",
        b".~lock.a.jpg#",
        b".hidden/a.jpg",
        b"a/.stversions/b/a.jpg",
        b"@eaDir/a.jpg",
        b"__MACOSX/a.jpg",
        b"x/CaptureOne/Cache/a.jpg",
        b"$RECYCLE.BIN/a.jpg",
        b"System Volume Information/a.jpg",
        b"Thumbs.db",
        b"desktop.ini",
        b".DS_Store",
        staging_name(b"a.webp"),
    ],
)
def test_junk_and_other_types_are_passed_over(source: bytes) -> None:
    assert not accepts(folder(), source)


@pytest.mark.parametrize("name", [b"a.tif", b"a.HEIC", b"a.nef", b"a.gif"])
def test_pictures_that_cannot_be_sent_are_told_from_files_that_nobody_meant_to_send(name: bytes) -> None:
    def is_told(name: bytes, **given: Any) -> bool:
        one = passed(folder(**given), b"", name)
        return one is not None and is_worth_a_line(one)

    assert is_told(name)
    assert not is_told(b"._" + name)
    assert not is_told(name + b".xmp")
    assert not is_told(name, include=("**/*.jpg",)), "whoever says what he wants means it"


def test_an_include_does_not_let_junk_in() -> None:
    everything = folder(include=("**/*", "**/.*"))
    for source in (b"._a.jpg", b".hidden/a.jpg", b"@eaDir/a.jpg", b"a.part", staging_name(b"x")):
        assert not accepts(everything, source)
    assert accepts(everything, b"any/thing.tif")


@pytest.mark.parametrize(
    ("pattern", "source", "expected"),
    [
        ("**/*.jpg", b"a.jpg", True),
        ("**/*.jpg", b"x/y/a.jpg", True),
        ("**/*.jpg", b"x/y/a.JPG", True),
        ("**/*.JPG", b"a.jpg", True),
        ("**/*.jpg", b"a.jpeg", False),
        ("*.jpg", b"a.jpg", True),
        ("*.jpg", b"x/a.jpg", False),
        ("x/*.jpg", b"x/a.jpg", True),
        ("x/*.jpg", b"x/y/a.jpg", False),
        ("x/**/*.jpg", b"x/a.jpg", True),
        ("x/**/*.jpg", b"x/y/z/a.jpg", True),
        ("x/**", b"x/y/a.jpg", True),
        ("x/**", b"xx/a.jpg", False),
        ("**/x/**", b"a/x/b/c.jpg", True),
        ("**/x/**", b"x/c.jpg", True),
        ("**/**/a.jpg", b"a.jpg", True),
        ("**", b"deep/a.jpg", True),
        ("IMG_????.jpg", b"IMG_0012.jpg", True),
        ("IMG_????.jpg", b"IMG_012.jpg", False),
        ("?.jpg", b"/.jpg", False),
        ("[a-c]*.jpg", b"b1.jpg", True),
        ("[a-c]*.jpg", b"d1.jpg", False),
        ("[!a-c]*.jpg", b"d1.jpg", True),
        ("[!a-c]*.jpg", b"a1.jpg", False),
        ("x[!a]y.jpg", b"x/y.jpg", False),
        ("[]].jpg", b"].jpg", True),
        ("[z-a].jpg", b"[z-a].jpg", True),
        ("[ab.jpg", b"[ab.jpg", True),
        ("a+(1).jpg", b"a+(1).jpg", True),
        ("a.jpg", b"axjpg", False),
        ("\u00e4*.jpg", "a\u0308b.jpg".encode(), True),  # NFC asks, NFD is there, as Macs write it
        ("stra\u00dfe/*.jpg", b"STRASSE/a.jpg", True),
        ("*.jpg", b"\xff.jpg", True),
        ("*.jpg", b"a\n.jpg", True),
    ],
)
def test_patterns_mean_what_people_mean_by_them(pattern: str, source: bytes, expected: bool) -> None:
    assert accepts(folder(include=(pattern,)), source) is expected


def test_what_is_excluded_is_left_out_although_it_is_included() -> None:
    chosen = folder(include=("**/*.jpg",), exclude=("**/_rejects/**", "*_draft.jpg"))
    assert accepts(chosen, b"day1/a.jpg")
    assert not accepts(chosen, b"day1/_rejects/a.jpg")
    assert not accepts(chosen, b"_Rejects/deep/a.jpg")
    assert not accepts(chosen, b"a_draft.jpg")
    assert accepts(chosen, b"day1/a_draft.jpg")


def test_an_excluded_subtree_is_not_walked() -> None:
    chosen = folder(exclude=("**/_rejects/**", "old/**", "day?/*.jpg"))
    assert enters(chosen, b"")
    assert enters(chosen, b"day1")
    assert enters(chosen, b"older")
    for directory in (b"_rejects", b"day1/_REJECTS", b"_rejects/deep", b"old", b"old/er", b"@eaDir", b"x/.git"):
        assert not enters(chosen, directory), directory


@given(st.lists(st.sampled_from([b"a", b"_rejects", b"old", b".x", b"\xff"]), max_size=4), st.booleans())
def test_a_directory_that_is_not_walked_has_nothing_to_take(parts: list[bytes], has_include: bool) -> None:
    chosen = folder(exclude=("**/_rejects/**", "old/**"), include=("**/*.jpg",) if has_include else ())
    directory = b"/".join(parts)
    source = b"/".join([*parts, b"p.jpg"])
    assert accepts(chosen, source) == (enters(chosen, directory) and accepts_name(chosen, directory, b"p.jpg"))


@given(st.text(max_size=30), st.binary(max_size=40))
def test_any_pattern_and_any_name_go_together(pattern: str, source: bytes) -> None:
    accepts(folder(include=(pattern,), exclude=(pattern,)), source)
    assert is_junk(b"." + source)


def test_a_hundred_thousand_names_are_judged_in_no_time() -> None:
    names = [b"IMG_%06d.jpg" % number for number in range(20_000)]
    for chosen in (folder(), folder(include=("**/*.jpg", "**/*.png"), exclude=("**/_rejects/**",))):
        start = time.process_time()
        assert all(accepts_name(chosen, b"day1/model2", name) for name in names)
        assert time.process_time() - start < 0.5


def test_a_cutout_stands_in_the_mirrored_directory_under_the_same_name() -> None:
    assert next(mirror(b"day 1/m\xc3\xbcller/IMG_1.jpg", ".webp")) == b"day 1/m\xc3\xbcller/IMG_1.webp"


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (b"IMG_1.png", [b"IMG_1.webp", b"IMG_1.png.webp", b"IMG_1.png.2.webp", b"IMG_1.png.3.webp"]),
        (b"x/a.b.JPG", [b"x/a.b.webp", b"x/a.b.JPG.webp", b"x/a.b.JPG.2.webp", b"x/a.b.JPG.3.webp"]),
        (b"IMG_1.webp", [b"IMG_1.webp", b"IMG_1.webp.webp", b"IMG_1.webp.2.webp", b"IMG_1.webp.3.webp"]),
        (b"\xff.jpg", [b"\xff.webp", b"\xff.jpg.webp", b"\xff.jpg.2.webp", b"\xff.jpg.3.webp"]),
    ],
)
def test_a_name_that_is_taken_is_followed_by_the_next(source: bytes, expected: list[bytes]) -> None:
    assert first(source) == expected


def test_the_longest_name_gets_cutouts_that_fit_and_differ() -> None:
    long, other = (b"a" * 250 + ending for ending in (b"x.jpg", b"y.jpg"))
    names = first(long, 12) + first(other, 12)
    assert all(len(name) <= NAME_BYTES and name.endswith(b".webp") for name in names)
    assert len(set(names)) == 24


def test_a_long_utf8_name_is_cut_between_letters() -> None:
    source = "\u00e4".encode() * 125 + b".jpg"
    for name in first(source, 3) + first(b"a" + source, 3):
        name.decode("utf-8")
        assert len(name) <= NAME_BYTES


@given(st.binary(min_size=1, max_size=251).filter(lambda name: b"/" not in name and b"\0" not in name))
def test_whatever_the_name_the_candidates_fit_and_differ(name: bytes) -> None:
    for extension in (".webp", ".jpeg"):
        names = first(b"sub/" + name + b".jpg", 15, extension)
        assert len(set(names)) == 15
        assert all(one.startswith(b"sub/") and one.count(b"/") == 1 and len(one) <= 4 + NAME_BYTES for one in names)


def test_a_staging_name_is_short_hidden_and_known() -> None:
    name = staging_name(b"x/" + b"a" * 300 + b"\0\xff/")
    assert is_staging_name(name)
    assert name.startswith(b".")
    assert len(name) < 40
    assert b"/" not in name
    assert name != staging_name(b"another")
    assert name == staging_name(b"x/" + b"a" * 300 + b"\0\xff/")


@pytest.mark.parametrize(
    "name", [b"a.jpg", b".rembg-.part", b".rembg-" + b"g" * 24 + b".part", staging_name(b"") + b"\n"]
)
def test_no_other_name_counts_as_a_staging_name(name: bytes) -> None:
    assert not is_staging_name(name)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (b"IMG_1.webp", b"img_1.WEBP"),
        ("\u00e4.webp".encode(), "a\u0308.webp".encode()),
        ("\u00c4.webp".encode(), "a\u0308.webp".encode()),
        ("stra\u00dfe.webp".encode(), b"STRASSE.webp"),
        (b"X/a.webp", b"x/A.webp"),
        ("\u1e9e.webp".encode(), b"ss.webp"),
        ("\u0345\u0301.webp".encode(), "\u0301\u0345.webp".encode()),
    ],
)
def test_names_that_some_systems_take_for_one_share_a_key(one: bytes, other: bytes) -> None:
    assert collision_key(one) == collision_key(other)


@pytest.mark.parametrize(
    ("one", "other"), [(b"a.webp", b"b.webp"), (b"\xff.webp", b"\xfe.webp"), (b"\xe4.webp", "\u00e4.webp".encode())]
)
def test_different_names_have_different_keys(one: bytes, other: bytes) -> None:
    assert collision_key(one) != collision_key(other)


@given(st.binary(max_size=60))
def test_any_name_has_a_key_and_keeps_it(name: bytes) -> None:
    assert collision_key(collision_key(name)) == collision_key(name)


def path(text: str) -> PurePosixPath:
    return PurePosixPath(text)


STATE = path("/var/lib/rembg-watch")


def test_folders_that_lie_apart_have_no_problem() -> None:
    moved = {"after": "move", "done": path("/done"), "failed": path("/failed"), "review_dir": path("/review")}
    assert folder_problems([folder("one", "/a", **moved), folder("two", "/b", **moved)], STATE) == []
    assert folder_problems([], STATE) == []


def test_names_that_merely_begin_alike_are_not_inside_each_other() -> None:
    assert folder_problems([folder(input=path("/srv/ex"), output=path("/srv/ex-out"))], path("/srv/ex-state")) == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"output": path("/srv/in")}, ["same directory", "output", "sent again"]),
        ({"output": path("/srv/in/out")}, ["output", "is inside the input", "outside every input"]),
        ({"output": path("/srv")}, ["input", "is inside the output"]),
        ({"input": path("/")}, ["is inside the input"]),
        ({"done": path("/srv/in/done")}, ["done folder", "is inside the input"]),
        ({"failed": path("/srv/in/failed")}, ["failed folder", "is inside the input"]),
        ({"done": path("/srv/x"), "failed": path("/srv/x")}, ["done folder", "failed folder", "same directory"]),
        ({"done": path("/srv/out/done")}, ["done folder", "is inside the output"]),
        ({"failed": path("/srv/out")}, ["failed folder", "same directory"]),
        ({"review_dir": path("/srv/in/review")}, ["review_dir", "is inside the input", "new pictures"]),
        ({"review_dir": path("/srv")}, ["input", "is inside the review_dir"]),
        ({"review_dir": path("/srv/out")}, ["review_dir", "same directory", "output"]),
        ({"review_dir": path("/x"), "failed": path("/x")}, ["review_dir", "failed folder", "same directory"]),
        ({"review_dir": path("/x"), "done": path("/x/done")}, ["done folder", "is inside the review_dir"]),
        ({"review_dir": STATE}, ["review_dir", "same directory", "state_dir"]),
        ({"input": STATE}, ["input", "same directory", "state_dir"]),
        ({"output": STATE / "spool"}, ["output", "is inside the state_dir"]),
    ],
)
def test_a_folder_that_gets_in_its_own_way_is_refused_with_reason_and_remedy(
    changes: dict[str, object], words: list[str]
) -> None:
    problems = folder_problems([folder(**changes)], STATE)
    assert any(all(word in problem for word in words) for problem in problems), problems
    for problem in problems:
        assert ": " in problem
        assert "; " in problem
        assert "catalogue" in problem


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"input": path("/a/in")}, ["paid for twice", '"one"', '"two"']),
        ({"input": path("/a/in/deep")}, ["is inside the input", "paid for twice"]),
        ({"input": path("/a")}, ["is inside the input", "paid for twice"]),
        ({"output": path("/a/out")}, ["same directory", "output"]),
        ({"output": path("/a/out/two")}, ["is inside the output"]),
        ({"output": path("/a/in/two")}, ["is inside the input", "sent again"]),
        ({"input": path("/a/out/cut")}, ["is inside the output", "sent again"]),
        ({"done": path("/a/in")}, ["done folder", "found as new"]),
    ],
)
def test_two_folders_that_get_in_each_others_way_are_refused(changes: dict[str, object], words: list[str]) -> None:
    problems = folder_problems([folder("one", "/a"), folder("two", "/b", **changes)], STATE)
    assert any(all(word in problem for word in words) for problem in problems), problems


def test_all_problems_are_told_at_once() -> None:
    folders = [folder("one", "/a", output=path("/a/in")), folder("two", "/a")]
    assert len(folder_problems(folders, path("/a/in/state"))) >= 5


@pytest.mark.parametrize("name", [b"a.tif", b"a.TIFF", b"a.psd", b"a.psb", b"a.HEIC", b"a.heif", b"a.hif", b"a.avif"])
def test_a_folder_that_makes_deliverables_takes_what_is_read_here(name: bytes) -> None:
    assert accepts(folder(reads_more=True), name)
    assert accepts(folder(reads_more=True), b"a.jpg")
    assert accepts(folder(reads_more=True, exclude=("x/**",)), name)
    assert not accepts(folder(reads_more=True, include=("**/*.jpg",)), name)
    assert not accepts(folder(), name)
    assert not accepts(folder(reads_more=True), b"._" + name)
    assert passed(folder(reads_more=True), b"", b"a.dng") == passed(folder(), b"", b"a.dng")


@pytest.mark.parametrize(
    ("source", "depth", "shoot"),
    [
        (b"Acme/2026/1.jpg", 1, b"Acme"),
        (b"Acme/2026/1.jpg", 2, b"Acme/2026"),
        (b"Acme/2026/1.jpg", 3, b"Acme/2026"),
        (b"Acme/2026/1.jpg", 0, b""),
        (b"1.jpg", 1, b""),
        (b"1.jpg", 0, b""),
        (b"Acme/\xff/1.jpg", 2, b"Acme/\xff"),
        (b"Acme/", 1, b"Acme"),
        (b"", 1, b""),
    ],
)
def test_a_shoot_is_the_sub_folder_at_its_depth_or_the_nearest_above(source: bytes, depth: int, shoot: bytes) -> None:
    assert shoot_of(source, depth) == shoot
