"""Folders that make deliverables take what is read here, once it is whole; other folders pass it over as before."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rembg_watch.pictures import extras
from rembg_watch.report import events
from rembg_watch.watch.probe import Judgement, Verdict
from tests.pictures.documents import HEIFS, PSDS, TIFFS, TiffShape, tiff_of
from tests.pictures.makers import noise, saved
from tests.watch.test_probe import probed

read = functools.partial(probed, reads_more=True)

MAKERS = {**TIFFS, **PSDS, **HEIFS}


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS.keys())
def test_it_goes_in_line_when_it_is_whole_and_waits_while_it_is_not(tmp_path: Path, make: Callable[[], bytes]) -> None:
    path, data = tmp_path / "a.tif", make()
    for share in (0.3, 0.6, 0.9, 0.999):
        path.write_bytes(data[: int(len(data) * share)])
        assert read(path).verdict is Verdict.UNFINISHED
    path.write_bytes(data)
    assert read(path) == Judgement(Verdict.WHOLE)
    assert probed(path).code == "wrong_type"


def test_one_that_never_becomes_whole_is_refused_at_last(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    path.write_bytes(TIFFS["ZIP"]()[:-300])
    found = read(path, is_last=True)
    assert (found.verdict, found.code) == (Verdict.REFUSED, "not_whole")
    assert found.reason.startswith("It is a TIFF picture, but its end is missing")


def test_a_black_edge_is_taken_at_last(tmp_path: Path) -> None:
    shape = TiffShape(size=(60, 60), is_directory_first=True)
    path = tmp_path / "a.tif"
    path.write_bytes(tiff_of(shape, shape.pixels()[:5000].ljust(60 * 60 * 3, b"\0")))
    assert read(path).verdict is Verdict.UNFINISHED
    assert read(path, is_last=True).verdict is Verdict.WHOLE


@pytest.mark.parametrize(
    ("name", "more"),
    [("a DNG raw picture", ((50706, 1, b"\1\4\0\0"),)), ("a camera raw picture", ((33422, 1, b"\0\1\1\2"),))],
)
def test_a_camera_raw_is_refused_at_once(tmp_path: Path, name: str, more: Any) -> None:
    path = tmp_path / "a.tif"
    path.write_bytes(tiff_of(TiffShape(more=more)))
    found = read(path)
    assert (found.verdict, found.code) == (Verdict.REFUSED, "wrong_type")
    assert found.reason.startswith(f"It is {name}, and nothing but JPEG, PNG")


def test_a_gif_says_what_is_read_here(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(saved(noise(), "GIF"))
    assert read(path).reason == (
        "It is a GIF picture, and nothing but JPEG, PNG, WebP, BMP, TIFF, PSD, PSB, HEIC, HEIF and AVIF is read here: "
        "develop or export it as one of these, a TIFF for example."
    )


def test_what_is_larger_than_the_service_takes_goes_in_line_where_a_copy_is_sent(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(saved(noise((1, 10_001)), "PNG"))
    assert (probed(path).code, read(path).verdict) == ("too_tall", Verdict.WHOLE)


def test_what_something_has_to_be_installed_for_goes_in_line_and_waits_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extras, "has_extra", lambda _extra: False)
    path = tmp_path / "a.heic"
    path.write_bytes(HEIFS["HEIC"]())
    assert read(path).verdict is Verdict.WHOLE


def test_a_folder_takes_them_only_if_it_makes_deliverables(studio: Any) -> None:
    studio.drop("a.tif", TIFFS["plain"]())
    studio.drop("b.PSD", PSDS["packed"]())
    studio.drop("c.nef", TIFFS["plain"]())
    studio.begin(folder={"reads_more": True})
    studio.passes(30)
    assert sorted(studio.ledger.names) == [b"a.tif", b"b.PSD"]
    assert [event.suffix for event in studio.reported(events.PassedOver)] == [".nef"]
