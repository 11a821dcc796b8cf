"""Deliverables that no picture could give are told before the first one is paid for; what has no effect is, too."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from rembg_watch.config import Severity
from rembg_watch.config.reading import read
from rembg_watch.pictures.profiles import adobe_rgb

FOLDER = '[[folders]]\nname = "f"\ninput = "in"\noutput = "out"\ndeliver = ["a"]\n'


@pytest.fixture
def home(tmp_path: Path) -> Path:
    for name in ("in", "out", "state"):
        (tmp_path / name).mkdir()
    (tmp_path / "adobe.icc").write_bytes(adobe_rgb())
    (tmp_path / "cmyk.icc").write_bytes(adobe_rgb().replace(b"RGB XYZ ", b"CMYKLab ", 1))
    (tmp_path / "none.icc").write_bytes(b"no profile")
    return tmp_path


def told(home: Path, deliverables: str, folder: str = FOLDER) -> list[tuple[Severity, str]]:
    path = home / "studio.toml"
    path.write_text(f'state_dir = "state"\n{deliverables}\n{folder}')
    found = read(path, environ={"REMBG_WATCH_API__KEY": "rembg_" + "x" * 24}).findings
    return [(one.severity, str(one)) for one in found]


ERRORS: Mapping[str, tuple[str, str]] = {
    "a margin that leaves nothing": ('canvas = [60, 60]\nmargin = "40px"', "leaves no place on a canvas of 60 x 60 px"),
    "half of it on each side": ('canvas = [60, 900]\nmargin = "50%"', "leaves no place"),
    "a profile that is missing": ('colour = "missing.icc"', "cannot be read: No such file"),
    "a file that is no profile": ('colour = "none.icc"', "is no ICC profile"),
    "inks in a PNG": ('colour = "cmyk.icc"', "PNG files cannot hold the colours of"),
    "a side too long": ("canvas = [70000, 10]", 'must be "source", "object" or [width, height], each 1 to 30,000'),
    "one side": ("canvas = [70]", 'must be "source", "object" or [width, height]'),
    "a word": ('canvas = "square"', 'must be "source", "object" or [width, height]'),
}


@pytest.mark.parametrize("case", ERRORS)
def test_what_no_picture_could_give_is_an_error(home: Path, case: str) -> None:
    lines, words = ERRORS[case]
    ((severity, sentence),) = told(home, f"[deliverables.a]\n{lines}")
    assert severity is Severity.ERROR
    assert words in sentence


WARNINGS: Mapping[str, tuple[str, str]] = {
    "a clipping path in a PNG": ("clipping_path = true", "clipping_path means nothing for PNG files"),
    "quality of a TIFF": ('format = "tiff"\nquality = 80', "quality means nothing for TIFF files"),
    "compression of a JPEG": ('format = "jpeg"\ncompression = "lzw"', "compression means nothing for JPEG files"),
    "a path that says nothing of the picture": ('path = "shop/{date}.{ext}"', "says nothing of the picture"),
}


@pytest.mark.parametrize("case", WARNINGS)
def test_what_has_no_effect_or_a_poor_one_is_a_warning(home: Path, case: str) -> None:
    lines, words = WARNINGS[case]
    ((severity, sentence),) = told(home, f"[deliverables.a]\n{lines}")
    assert severity is Severity.WARNING
    assert words in sentence


def test_two_files_of_one_picture_need_two_names(home: Path) -> None:
    both = FOLDER.replace('["a"]', '["a", "b"]')
    same = '[deliverables.a]\npath = "x/{stem}.{ext}"\n[deliverables.b]\npath = "X/{stem}.{ext}"\n'
    ((severity, sentence),) = told(home, same, both)
    assert severity is Severity.ERROR
    assert "a and b have the same path" in sentence
    assert told(home, same + 'format = "jpeg"', both) == []
    assert told(home, same.replace("X/", "X/{deliverable}/"), both) == []


@pytest.mark.parametrize(
    "lines",
    [
        'canvas = [60, 60]\nmargin = "29px"',
        'canvas = "object"\nmargin = "400px"',
        "canvas = [60, 60]\nfill = 0.85",
        'colour = "adobe.icc"',
        'format = "tiff"\ncolour = "cmyk.icc"',
        'format = "jpeg"\nclipping_path = true\nquality = 80\nmax_kb = 90',
    ],
)
def test_what_can_be_made_is_not_told(home: Path, lines: str) -> None:
    assert told(home, f"[deliverables.a]\n{lines}") == []


def test_a_profile_that_pictures_are_assumed_to_have_has_to_be_there(home: Path) -> None:
    ((severity, sentence),) = told(home, "[deliverables.a]", FOLDER + 'assume = "missing.icc"\n')
    assert severity is Severity.ERROR
    assert "missing.icc cannot be read" in sentence
