import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rembg_watch.api.params import Format
from rembg_watch.delivery.earlier import Earlier, earlier, is_telling
from rembg_watch.jobs import Version
from rembg_watch.paths import mirror

VERSION = Version(size_bytes=1, mtime_ns=10**18, inode=1)
NAMES = st.text(st.sampled_from("aB.é-_ 1"), min_size=1, max_size=12).filter(lambda name: name.strip(".") == name)
SOURCES = st.builds(
    lambda parts, ending: ("/".join(parts) + ending).encode(),
    st.lists(NAMES, min_size=1, max_size=3),
    st.sampled_from([".jpg", ".PNG", ".webp", ".bmp"]),
)


def put(path: Path, mtime_ns: int = 10**18 + 1) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"cut-out")
    os.utime(path, ns=(mtime_ns, mtime_ns))


def found(output: Path, *sources: bytes) -> list[Earlier]:
    return list(earlier(output, [(source, VERSION) for source in sources]))


@given(source=SOURCES, form=st.sampled_from(Format), number=st.integers(0, 1), older=st.booleans())
def test_what_this_program_would_have_delivered_is_found_unless_it_is_older(
    source: bytes, form: Format, number: int, older: bool
) -> None:
    """Whatever the name, the format and the folder, what ``mirror`` names is recognised."""
    with tempfile.TemporaryDirectory() as name:
        names = mirror(source, form.extension)
        target = [next(names), next(names)][number]
        put(Path(name) / os.fsdecode(target), 10**18 - 1 if older else 10**18)
        expected = [] if older else [Earlier(source=source, target=target)]
        assert found(Path(name), source) == expected


@given(st.lists(st.sampled_from(["a.jpg", "a.png", "A.JPG", "b.jpg"]), unique=True))
def test_a_file_is_the_cutout_of_one_source_at_most(names: list[str]) -> None:
    with tempfile.TemporaryDirectory() as name:
        put(Path(name) / "a.webp")
        assert len(found(Path(name), *map(str.encode, names))) == bool(set(names) - {"b.jpg"})


@pytest.mark.parametrize("kind", ["directory", "link", "empty"])
def test_what_is_no_file_with_something_in_it_is_no_cutout(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a.webp"
    if kind == "directory":
        path.mkdir()
    elif kind == "link":
        put(tmp_path / "elsewhere/x")
        path.symlink_to(tmp_path / "elsewhere/x")
    else:
        path.touch()
    assert found(tmp_path, b"a.jpg") == []


def test_an_output_that_is_away_holds_nothing(tmp_path: Path) -> None:
    assert found(tmp_path / "away", b"a.jpg", b"b/c.jpg") == []


@pytest.mark.parametrize(
    ("delivered", "pictures", "telling"),
    [
        (0, 0, False),
        (1, 1, False),
        (2, 2, False),
        (3, 3, True),
        (3, 6, True),
        (3, 7, False),
        (19, 100, False),
        (20, 100_000, True),
        (40, 40, True),
    ],
)
def test_a_coincidence_is_told_from_another_ledger(delivered: int, pictures: int, telling: bool) -> None:
    assert is_telling(delivered, pictures) is telling
