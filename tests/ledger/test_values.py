import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rembg_watch.ledger.values import Which, name_key, take_turns


@pytest.mark.parametrize(
    ("lines", "limit", "first", "taken"),
    [
        pytest.param([], 5, 0, [], id="no lines"),
        pytest.param([[], []], 5, 3, [], id="empty lines"),
        pytest.param([[1, 2, 3]], 2, 0, [1, 2], id="one line"),
        pytest.param([[1, 2, 3], [4], [5, 6]], 9, 0, [1, 4, 5, 2, 6, 3], id="what is over goes on"),
        pytest.param([[1, 2], [4, 5]], 3, 1, [4, 1, 5], id="the second begins"),
        pytest.param([[1, 2], [4, 5]], 3, 1_000_001, [4, 1, 5], id="a counter will do"),
        pytest.param([[1, 2], [4, 5]], 0, 0, [], id="none wanted"),
    ],
)
def test_lines_are_served_in_turn(lines: list[list[int]], limit: int, first: int, taken: list[int]) -> None:
    assert take_turns(lines, limit, first=first) == taken


@given(
    st.lists(st.integers(0, 20), max_size=6).map(
        lambda sizes: [[(n, k) for k in range(s)] for n, s in enumerate(sizes)]
    ),
    st.integers(0, 60),
    st.integers(0, 99),
)
def test_nobody_gets_two_more_than_one_who_still_waits(lines: list[list[int]], limit: int, first: int) -> None:
    taken = take_turns(lines, limit, first=first)
    assert len(taken) == min(limit, sum(map(len, lines)))
    shares = [[one for one in taken if one in line] for line in lines]
    assert all(share == line[: len(share)] for share, line in zip(shares, lines, strict=True))
    waiting = [len(share) for share, line in zip(shares, lines, strict=True) if len(share) < len(line)]
    assert max(map(len, shares), default=0) <= min(waiting, default=limit) + 1


@given(st.binary(max_size=30))
def test_any_bytes_have_a_key_that_is_its_own_key(name: bytes) -> None:
    assert name_key(name_key(name)) == name_key(name)


@given(st.text(max_size=20))
def test_a_key_does_not_depend_on_the_unicode_form(name: str) -> None:
    forms = {unicodedata.normalize(form, name).encode("utf-8", "surrogatepass") for form in ("NFC", "NFD")}
    assert len(set(map(name_key, forms))) == 1


@pytest.mark.parametrize(
    ("pattern", "source", "is_meant"),
    [
        (None, b"anything\xff", True),
        ("*.jpg", b"a/b.jpg", True),
        ("*.jpg", b"a/b.JPG", False),
        ("a/*", b"a/b/c.jpg", True),
        ("a/*", b"ab/c.jpg", False),
        ("a?b.jpg", b"a\xffb.jpg", True),
        ("*", b"line\nbreak.jpg", True),
        ("[", b"[", True),
        ("", b"a.jpg", False),
        ("f/a/b.jpg", b"a/b.jpg", True),
        ("f/a/b.jpg", b"f/a/b.jpg", True),
        ("f/*", b"a/b.jpg", True),
        ("f/a/*.jpg", b"a/b.jpg", True),
        ("g/*", b"a/b.jpg", False),
        ("g/a/b.jpg", b"a/b.jpg", False),
    ],
)
def test_a_pattern_means_the_whole_path(pattern: str | None, source: bytes, is_meant: bool) -> None:
    assert Which(pattern=pattern).accepts(source, "f") is is_meant
