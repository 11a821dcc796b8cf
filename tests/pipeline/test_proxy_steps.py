"""A picture that the service does not take goes the whole way, and is paid for once."""

import shutil
import subprocess
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from rembg_watch.jobs import State
from rembg_watch.pictures.profiles import adobe_rgb
from rembg_watch.report import events
from tests.life import Studio
from tests.pictures.documents import SIZE, planes_of, psd_of, vips_tiff
from tests.pictures.makers import noise, saved


@pytest.fixture
def studio(tmp_path: Path) -> Studio:
    return Studio.make(tmp_path, send_px=100)


def work(studio: Studio) -> list[State]:
    with studio.live() as life:
        life.find()
        life.work()
        return [job.state for job in life.ledger.jobs()]


def test_every_kind_is_sent_and_answered(studio: Studio) -> None:
    for name, data in {
        "a.tif": vips_tiff(size=(300, 200)),
        "b.psd": psd_of(planes_of(SIZE), SIZE),
        "c.jpg": saved(noise((120, 20), "CMYK"), "JPEG"),
        "d.png": saved(noise((30, 250)), "PNG"),
        "e.avif": saved(noise(), "AVIF"),
        "f.jpg": saved(noise(), "JPEG"),
    }.items():
        (studio.root / "in" / name).write_bytes(data)
    assert set(work(studio)) == {State.DONE}
    sizes = {name: Image.open(BytesIO(data)).size for name, data in studio.outputs().items()}
    assert sizes == {
        "a.webp": (100, 67),
        "b.webp": SIZE,
        "c.webp": (100, 17),
        "d.webp": (12, 100),
        "e.webp": (64, 48),
        "f.webp": (64, 48),
    }
    assert studio.sandbox.billed == 6


def test_the_answer_to_a_plain_copy_gets_no_profile_of_the_source(studio: Studio) -> None:
    (studio.root / "in" / "a.tif").write_bytes(saved(noise(), "TIFF", icc_profile=adobe_rgb(), dpi=(300, 300)))
    work(studio)
    with Image.open(studio.root / "out" / "a.webp") as picture:
        assert "icc_profile" not in picture.info
        assert picture.getexif().get(0x011A) == 300


@pytest.mark.skipif(shutil.which("exiftool") is None, reason="needs exiftool")
def test_a_caption_in_a_tiff_costs_nothing(studio: Studio) -> None:
    path = studio.root / "in" / "a.tif"
    path.write_bytes(vips_tiff(size=(300, 200), compression="lzw"))
    work(studio)
    for word in ("Stuhl", "Tisch"):
        subprocess.run(["exiftool", "-q", "-overwrite_original", f"-XMP:Title={word}", str(path)], check=True)
        assert work(studio)[-1] is State.DONE
        assert word.encode() in studio.outputs()["a.webp"]
    assert studio.sandbox.billed == 1
    assert len(studio.reported(events.Reused)) == 2


def test_a_picture_of_which_no_copy_can_be_made_costs_nothing(studio: Studio) -> None:
    data = bytearray(vips_tiff(size=(300, 200), compression="deflate"))
    data[3000:3500] = bytes(500)
    (studio.root / "in" / "a.tif").write_bytes(data)
    assert work(studio) == [State.FAILED]
    assert studio.sandbox.billed == 0
