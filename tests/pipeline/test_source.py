import io
import os
import struct
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageChops, ImageCms, ImageOps

from rembg_watch.host import disk
from rembg_watch.host.disk import OutputUnavailableError
from rembg_watch.jobs import Version
from rembg_watch.pictures.formats import Kind
from rembg_watch.pictures.sending import Sends
from rembg_watch.pipeline.source import (
    PreparedSource,
    SourceChangedError,
    SourceGoneError,
    SourceUnfitError,
    SourceUnreadableError,
    filename_for,
    is_there,
    open_picture,
)
from tests.pictures.places import PLACES, STRAIGHT, done, said

ORIENTATION = 0x0112
_MADE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
PROFILE = _MADE[:24] + bytes(12) + _MADE[36:]  # without the moment at which it was made


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    made = tmp_path / "scratch"
    made.mkdir()
    return made


def quarters(size: tuple[int, int] = (64, 48)) -> Image.Image:
    """A picture whose four corners differ, so that every turn shows."""
    picture = Image.new("RGB", size, "white")
    half = (size[0] // 2, size[1] // 2)
    picture.paste("red", (0, 0, *half))
    picture.paste("blue", (half[0], 0, size[0], half[1]))
    picture.paste("green", (0, half[1], half[0], size[1]))
    return picture


def save(path: Path, picture: Image.Image, orientation: int | None = None, **options: Any) -> Version:
    if orientation is not None:
        exif = Image.Exif()
        exif[ORIENTATION] = orientation
        exif[0x010F] = "Maker"
        options["exif"] = exif.tobytes()
    picture.save(path, **options)
    return disk.version_of(path.stat())


def content_of(prepared: PreparedSource) -> bytes:
    data = prepared.open().read()
    assert sha256(data).hexdigest() == prepared.digest
    assert len(data) == prepared.size_bytes
    return data


@pytest.mark.parametrize("ending", ["jpg", "png", "webp", "bmp"])
@pytest.mark.parametrize("orientation", [None, 1])
def test_a_picture_that_lies_straight_is_sent_byte_for_byte(
    tmp_path: Path, scratch: Path, ending: str, orientation: int | None
) -> None:
    path = tmp_path / f"x.{ending}"
    version = save(path, quarters(), None if ending == "bmp" else orientation)
    with open_picture(path, version, scratch=scratch) as prepared:
        assert content_of(prepared) == path.read_bytes()
        assert (prepared.width, prepared.height) == (64, 48)
        assert prepared.digest == prepared.source_digest
        assert not prepared.is_upright_copy
        assert prepared.may_be_turned
        assert prepared.filename == f"x.{ending}"


UPRIGHT: dict[int, Image.Transpose | None] = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@pytest.mark.parametrize("ending", ["jpg", "png", "webp"])
@pytest.mark.parametrize("orientation", UPRIGHT)
def test_a_picture_that_its_orientation_turns_is_sent_upright(
    tmp_path: Path, scratch: Path, orientation: int, ending: str
) -> None:
    path = tmp_path / f"x.{ending}"
    exact = {"lossless": True} if ending == "webp" else {"quality": 100, "subsampling": 0} if ending == "jpg" else {}
    version = save(path, quarters(), orientation, **exact)
    turn = UPRIGHT[orientation]
    assert turn is not None
    wanted = quarters().transpose(turn)
    before = path.read_bytes()
    with open_picture(path, version, scratch=scratch) as prepared:
        sent = Image.open(io.BytesIO(content_of(prepared)))
        assert sent.getexif().get(ORIENTATION, 1) == 1
        assert sent.size == wanted.size == (prepared.width, prepared.height)
        difference = ImageChops.difference(sent.convert("RGB"), wanted)
        assert max(high for _, high in difference.getextrema()) <= (8 if ending == "jpg" else 0)
        assert prepared.is_upright_copy
        assert not prepared.may_be_turned
        assert prepared.kind.value == sent.format.lower().replace("mpo", "jpeg")
        assert prepared.source_digest == sha256(before).hexdigest() != prepared.digest
    assert path.read_bytes() == before
    assert list(scratch.iterdir()) == []


@pytest.mark.parametrize("orientation", [3, 6])
def test_a_turned_picture_can_be_sent_as_it_is(tmp_path: Path, scratch: Path, orientation: int) -> None:
    path = tmp_path / "x.jpg"
    version = save(path, quarters(), orientation)
    with open_picture(path, version, scratch=scratch, sends=Sends(upright=False)) as prepared:
        assert content_of(prepared) == path.read_bytes()
        assert (prepared.width, prepared.height) == (64, 48)
        assert prepared.may_be_turned


@pytest.mark.parametrize("ending", ["jpg", "png", "webp"])
def test_an_upright_copy_is_the_same_bytes_each_time(tmp_path: Path, scratch: Path, ending: str) -> None:
    digests = set()
    for name in ("one", "two"):
        path = tmp_path / f"{name}.{ending}"
        version = save(path, Image.radial_gradient("L").convert("RGB"), 6, icc_profile=PROFILE)
        with open_picture(path, version, scratch=scratch) as prepared:
            digests.add(prepared.digest)
    assert len(digests) == 1


@pytest.mark.parametrize("ending", ["jpg", "png", "webp"])
def test_an_upright_copy_keeps_profile_and_resolution_and_no_other_metadata(
    tmp_path: Path, scratch: Path, ending: str
) -> None:
    path = tmp_path / f"x.{ending}"
    version = save(path, quarters(), 6, icc_profile=PROFILE, dpi=(300, 300))
    with open_picture(path, version, scratch=scratch) as prepared:
        sent = Image.open(io.BytesIO(content_of(prepared)))
        assert sent.info["icc_profile"] == PROFILE
        if ending != "webp":
            assert [round(one) for one in sent.info["dpi"]] == [300, 300]
        assert dict(sent.getexif()) == {}


def test_an_upright_jpeg_is_of_high_quality_without_subsampling(tmp_path: Path, scratch: Path) -> None:
    path = tmp_path / "x.jpg"
    version = save(path, quarters(), 6, quality=80, subsampling=2)
    with open_picture(path, version, scratch=scratch) as prepared:
        sent = Image.open(prepared.open())
        reference = io.BytesIO()
        quarters().save(reference, "JPEG", quality=95)
        assert sent.quantization == Image.open(reference).quantization
        assert [layer[1:3] for layer in sent.layer] == [(1, 1)] * 3


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_grey_and_cmyk_stay_what_they_are(tmp_path: Path, scratch: Path, mode: str) -> None:
    path = tmp_path / "x.jpg"
    version = save(path, quarters().convert(mode), 6)
    with open_picture(path, version, scratch=scratch) as prepared:
        assert Image.open(prepared.open()).mode == mode


def test_transparency_stays_when_a_picture_is_set_upright(tmp_path: Path, scratch: Path) -> None:
    path = tmp_path / "x.png"
    picture = quarters()
    picture.putalpha(Image.linear_gradient("L").resize((64, 48)))
    version = save(path, picture, 8)
    with open_picture(path, version, scratch=scratch) as prepared:
        sent = Image.open(prepared.open())
        assert ImageChops.difference(
            sent.getchannel("A"), picture.getchannel("A").transpose(Image.Transpose.ROTATE_90)
        ).getextrema() == (0, 0)


@pytest.mark.parametrize("density", [(0, 0), (65535, 1), (1, 0)])
def test_a_senseless_resolution_does_no_harm(tmp_path: Path, scratch: Path, density: tuple[int, int]) -> None:
    path = tmp_path / "x.jpg"
    save(path, quarters(), 6, dpi=(72, 72))
    data = bytearray(path.read_bytes())
    at = data.index(b"JFIF\0") + 7
    data[at : at + 5] = struct.pack(">BHH", 1, *density)
    path.write_bytes(data)
    with open_picture(path, disk.version_of(path.stat()), scratch=scratch) as prepared:
        assert (prepared.width, prepared.height) == (48, 64)


def test_each_attempt_reads_from_the_start(tmp_path: Path, scratch: Path) -> None:
    path = tmp_path / "x.png"
    version = save(path, quarters())
    with open_picture(path, version, scratch=scratch) as prepared:
        assert prepared.open().read() == prepared.open().read() == path.read_bytes()
    assert prepared.file.closed


def gone(path: Path) -> None:
    path.unlink()


def folder_gone(path: Path) -> None:
    path.unlink()
    path.parent.rmdir()
    path.parent.write_bytes(b"")


def rewritten(path: Path) -> None:
    path.write_bytes(path.read_bytes()[::-1])
    os.utime(path, ns=(1, 1))


def grown(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"x")


def replaced(path: Path) -> None:
    times = path.stat()
    path.with_name("new").write_bytes(path.read_bytes())
    path.with_name("new").replace(path)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def linked(path: Path) -> None:
    path.rename(path.with_name("real.png"))
    path.symlink_to(path.with_name("real.png"))


def a_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (gone, SourceGoneError),
        (folder_gone, SourceGoneError),
        (rewritten, SourceChangedError),
        (grown, SourceChangedError),
        (replaced, SourceChangedError),
        (linked, SourceChangedError),
        (a_pipe, SourceChangedError),
        (a_folder, SourceChangedError),
    ],
)
def test_another_version_than_the_jobs_is_not_sent(
    tmp_path: Path, scratch: Path, change: Callable[[Path], None], error: type[Exception]
) -> None:
    path = tmp_path / "exports/x.png"
    path.parent.mkdir()
    version = save(path, quarters())
    change(path)
    with pytest.raises(error, match=r"x\.png"):
        open_picture(path, version, scratch=scratch)


def test_a_picture_that_changes_while_it_is_read_is_not_sent(tmp_path: Path, scratch: Path) -> None:
    path = tmp_path / "x.png"
    version = save(path, quarters())
    with pytest.raises(SourceChangedError):
        open_picture(path, version, scratch=scratch, step=lambda _: rewritten(path))


def test_a_picture_without_the_right_to_read_it_waits(tmp_path: Path, scratch: Path) -> None:
    path = tmp_path / "x.png"
    version = save(path, quarters())
    path.chmod(0)
    before = os.geteuid()
    try:
        if before == 0:
            os.seteuid(65534)
        with pytest.raises(SourceUnreadableError) as caught:
            open_picture(path, version, scratch=scratch)
    finally:
        os.seteuid(before)
    assert caught.value.code == "unreadable"


@pytest.mark.parametrize("ending", ["jpg", "png", "webp"])
def test_a_copy_that_would_be_too_large_is_saved_again_smaller(tmp_path: Path, scratch: Path, ending: str) -> None:
    path = tmp_path / f"x.{ending}"
    version = save(path, Image.radial_gradient("L").convert("RGB"), 6)
    with open_picture(path, version, scratch=scratch) as best:
        largest = best.size_bytes
    with open_picture(path, version, scratch=scratch, largest_copy_bytes=largest - 1) as smaller:
        assert len(content_of(smaller)) < largest
        assert Image.open(smaller.open()).size == (256, 256)
    with pytest.raises(SourceUnfitError) as caught:
        open_picture(path, version, scratch=scratch, largest_copy_bytes=100)
    assert caught.value.code == "too_large"


def png_of(width: int, height: int) -> bytes:
    """A PNG as far as its header and its end tell."""
    header = struct.pack(">I4sIIBBBBBI", 13, b"IHDR", width, height, 8, 2, 0, 0, 0, 0)
    data = struct.pack(">I4sI", 0, b"IDAT", 0)
    return b"\x89PNG\r\n\x1a\n" + header + data + bytes.fromhex("0000000049454e44ae426082")


@pytest.mark.parametrize(
    ("data", "code"),
    [
        pytest.param(png_of(10_001, 10), "too_wide", id="too wide"),
        pytest.param(png_of(10, 10_001), "too_tall", id="too tall"),
        pytest.param(png_of(100_000, 100_000), "too_wide", id="a bomb"),
        pytest.param(b"GIF89a" + b"\1" * 99, "wrong_type", id="another kind"),
        pytest.param(b"plain text", "not_a_picture", id="no picture"),
    ],
)
def test_what_the_service_would_refuse_is_not_sent(tmp_path: Path, scratch: Path, data: bytes, code: str) -> None:
    path = tmp_path / "x.png"
    path.write_bytes(data)
    with pytest.raises(SourceUnfitError) as caught:
        open_picture(path, disk.version_of(path.stat()), scratch=scratch)
    assert caught.value.code == code


def test_a_turned_picture_that_cannot_be_decoded_is_not_sent(tmp_path: Path, scratch: Path) -> None:
    path = tmp_path / "x.png"
    save(path, Image.effect_noise((200, 200), 50), 6)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2] + b"\0" * 2000 + data[len(data) // 2 + 2000 :])
    with pytest.raises(SourceUnfitError) as caught:
        open_picture(path, disk.version_of(path.stat()), scratch=scratch)
    assert caught.value.code == "broken"
    assert list(scratch.iterdir()) == []


def test_a_scratch_directory_that_is_missing_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    version = save(path, quarters(), 6)
    with pytest.raises(OutputUnavailableError) as caught:
        open_picture(path, version, scratch=tmp_path / "none")
    assert caught.value.code == "missing"


def test_no_file_stays_open_whatever_happens(tmp_path: Path, scratch: Path) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    test_a_turned_picture_that_cannot_be_decoded_is_not_sent(tmp_path, scratch)
    test_a_scratch_directory_that_is_missing_is_waited_for(tmp_path)
    path = tmp_path / "x.jpg"
    with open_picture(path, save(path, quarters(), 6), scratch=scratch):
        pass
    assert len(list(Path("/proc/self/fd").iterdir())) == before


@pytest.mark.parametrize(
    ("name", "kind", "expected"),
    [
        ("IMG_1.jpg", Kind.JPEG, "IMG_1.jpg"),
        ("IMG 1 (2).JPEG", Kind.JPEG, "IMG_1_2.jpg"),
        ("really a png.jpg", Kind.PNG, "really_a_png.png"),
        ("größe.webp", Kind.WEBP, "gr_e.webp"),
        (os.fsdecode(b"\xff\xfe.bmp"), Kind.BMP, "picture.bmp"),
        ('a"; filename="b\r\nX: y.png', Kind.PNG, "a_filename_b_X_y.png"),
        ("../../etc/passwd", Kind.PNG, "passwd.png"),
        ("n" * 251 + ".png", Kind.PNG, "n" * 80 + ".png"),
        ("图.png", Kind.PNG, "picture.png"),
    ],
)
def test_the_name_that_is_sent_is_plain_and_says_what_it_is(name: str, kind: Kind, expected: str) -> None:
    assert filename_for(name, kind) == expected


@pytest.mark.parametrize("name", ["x.jpg", "x.png", "x.webp", "x.bmp"])
def test_a_picture_that_is_not_whole_is_never_sent_though_a_person_asks_for_it_again(
    tmp_path: Path, scratch: Path, name: str
) -> None:
    path = tmp_path / name
    save(path, Image.effect_noise((200, 200), 50).convert("RGB"))
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(SourceUnfitError) as caught:
        open_picture(path, disk.version_of(path.stat()), scratch=scratch)
    assert caught.value.code == "not_whole"


@pytest.mark.parametrize("data", PLACES.values(), ids=PLACES.keys())
def test_the_copy_is_upright_wherever_the_orientation_stood_and_has_none_itself(
    tmp_path: Path, scratch: Path, data: bytes
) -> None:
    path = tmp_path / "x"
    path.write_bytes(data)
    with open_picture(path, disk.version_of(path.stat()), scratch=scratch) as prepared:
        sent = content_of(prepared)
        assert (prepared.width, prepared.height, prepared.is_upright_copy) == (8, 16, True)
        assert (said(sent), done(sent)) == (1, 1)
        wanted = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")
        difference = ImageChops.difference(Image.open(io.BytesIO(sent)).convert("RGB"), wanted)
        assert max(high for _, high in difference.getextrema()) <= 40, "a small JPEG of noise at the worst"


@pytest.mark.parametrize("data", STRAIGHT.values(), ids=STRAIGHT.keys())
def test_a_picture_that_no_decoder_turns_is_sent_as_it_is(tmp_path: Path, scratch: Path, data: bytes) -> None:
    path = tmp_path / "x"
    path.write_bytes(data)
    with open_picture(path, disk.version_of(path.stat()), scratch=scratch) as prepared:
        assert content_of(prepared) == data


def test_a_picture_without_an_end_mark_that_can_be_decoded_is_sent(tmp_path: Path, scratch: Path) -> None:
    path = tmp_path / "x.png"
    save(path, Image.effect_noise((200, 200), 50))
    path.write_bytes(path.read_bytes()[:-12])
    with open_picture(path, disk.version_of(path.stat()), scratch=scratch) as prepared:
        assert content_of(prepared) == path.read_bytes()


def test_a_picture_with_a_long_film_behind_it_is_whole(tmp_path: Path, scratch: Path) -> None:
    path = tmp_path / "x.jpg"
    save(path, quarters())
    path.write_bytes(path.read_bytes() + bytes(300_000))
    with open_picture(path, disk.version_of(path.stat()), scratch=scratch) as prepared:
        assert prepared.size_bytes == path.stat().st_size


@pytest.mark.parametrize("swapped", ["its folder", "a folder further up", "the picture itself"])
def test_nothing_is_reached_through_a_link_below_the_root(tmp_path: Path, scratch: Path, swapped: str) -> None:
    """The very same file lies behind the link, so that no version could tell."""
    root, elsewhere = tmp_path / "in", tmp_path / "elsewhere"
    (root / "a/b").mkdir(parents=True)
    path = root / "a/b/x.png"
    version = save(path, quarters())
    with open_picture(path, version, root=root, scratch=scratch) as prepared:
        assert content_of(prepared) == path.read_bytes()
    moved = {"its folder": root / "a/b", "a folder further up": root / "a", "the picture itself": path}[swapped]
    moved.rename(elsewhere)
    moved.symlink_to(elsewhere)
    assert disk.version_of(path.stat()) == version
    with pytest.raises((SourceGoneError, SourceChangedError)):
        open_picture(path, version, root=root, scratch=scratch)
    assert not is_there(path, version, root=root)


def test_the_root_itself_may_be_a_link_which_a_person_chose(tmp_path: Path, scratch: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "in").symlink_to(tmp_path / "real")
    path = tmp_path / "in/x.png"
    version = save(path, quarters())
    with open_picture(path, version, root=tmp_path / "in", scratch=scratch) as prepared:
        assert content_of(prepared) == path.read_bytes()


def test_a_folder_swapped_while_the_picture_is_prepared_changes_nothing_of_what_is_sent(
    tmp_path: Path, scratch: Path
) -> None:
    root = tmp_path / "in"
    (root / "a").mkdir(parents=True)
    (tmp_path / "other").mkdir()
    version = save(root / "a/x.jpg", quarters(), 6)
    save(tmp_path / "other/x.jpg", Image.new("RGB", (48, 64), "black"), 6)

    def swap(_step: str) -> None:
        (root / "a").rename(tmp_path / "away")
        (root / "a").symlink_to(tmp_path / "other")

    with open_picture(root / "a/x.jpg", version, root=root, scratch=scratch, step=swap) as prepared:
        sent = Image.open(io.BytesIO(content_of(prepared)))
        assert (prepared.is_upright_copy, sent.getpixel((10, 10)) == (0, 0, 0)) == (True, False)
