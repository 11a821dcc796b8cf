"""What is sent for a picture in a folder that makes deliverables: itself, or a copy that the service understands."""

import io
import random
import shutil
import struct
import subprocess
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageCms

from rembg_watch.host import disk
from rembg_watch.pictures import extras
from rembg_watch.pictures.carrying import parts_of
from rembg_watch.pictures.formats import Kind, ReadKind
from rembg_watch.pictures.profiles import adobe_rgb
from rembg_watch.pictures.reader import Reader
from rembg_watch.pictures.sending import Sends
from rembg_watch.pipeline.plan import Recipe
from rembg_watch.pipeline.source import PreparedSource, SourceUnfitError, SourceUnreadableError, open_picture
from rembg_watch.pipeline.values import content_name
from tests.pictures.documents import SIZE, TiffShape, heic_of, planes_of, psd_of, tiff_of, vips_tiff
from tests.pictures.makers import chunk, noise, quarters, saved, tiff, turned
from tests.pictures.places import TURNS

DELIVERS = Sends(px=400)
_MADE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
SRGB = _MADE[:24] + bytes(12) + _MADE[36:]  # without the moment at which it was made


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    made = tmp_path / "scratch"
    made.mkdir()
    return made


Prepare = Callable[..., PreparedSource]


@pytest.fixture
def prepare(tmp_path: Path, scratch: Path) -> Prepare:
    def prepared(data: bytes, sends: Sends = DELIVERS, name: str = "x") -> PreparedSource:
        path = tmp_path / name
        path.write_bytes(data)
        return open_picture(path, disk.version_of(path.stat()), scratch=scratch, sends=sends)

    return prepared


def sent(prepared: PreparedSource) -> Image.Image:
    picture = Image.open(io.BytesIO(prepared.open().read()))
    picture.load()
    return picture


def smooth(size: tuple[int, int] = (60, 40), mode: str = "RGB") -> Image.Image:
    return Image.linear_gradient("L").resize(size).convert("RGB").convert(mode)


def sixteen(size: tuple[int, int] = (60, 40)) -> bytes:
    return tiff_of(TiffShape(size=size, bits=16))


def png_16() -> bytes:
    rows = b"".join(b"\0" + struct.pack(">180H", *range(row, row + 180 * 300, 300)) for row in range(40))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 60, 40, 16, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND")


ADOBE_BY_EXIF = saved(
    smooth(),
    "JPEG",
    exif=b"Exif\0\0"
    + tiff([(0x8769, 4, 1, struct.pack("<I", 26))])[:26]
    + struct.pack("<HHHII", 1, 0xA001, 3, 1, 2)
    + bytes(4),
)

AS_IT_IS = {
    "JPEG": lambda: saved(smooth(), "JPEG"),
    "JPEG in sRGB": lambda: saved(smooth(), "JPEG", icc_profile=SRGB),
    "gray JPEG": lambda: saved(smooth(mode="L"), "JPEG"),
    "PNG": lambda: saved(smooth(), "PNG"),
    "transparent PNG": lambda: saved(smooth(mode="RGBA"), "PNG"),
    "WebP": lambda: saved(smooth(), "WEBP"),
    "BMP": lambda: saved(smooth(), "BMP"),
}
COPIED = {
    "TIFF": (ReadKind.TIFF, vips_tiff),
    "TIFF of 16 bits": (ReadKind.TIFF, sixteen),
    "CMYK TIFF": (ReadKind.TIFF, lambda: vips_tiff("CMYK")),
    "gray TIFF": (ReadKind.TIFF, lambda: vips_tiff("L")),
    "PSD": (ReadKind.PSD, lambda: psd_of(planes_of(SIZE), SIZE)),
    "PSB of 16 bits": (ReadKind.PSB, lambda: psd_of(planes_of(SIZE, bits=16), SIZE, bits=16, is_big=True)),
    "HEIC": (ReadKind.HEIC, heic_of),
    "AVIF": (ReadKind.AVIF, lambda: saved(smooth(), "AVIF")),
    "PNG of 16 bits": (Kind.PNG, png_16),
    "CMYK JPEG": (Kind.JPEG, lambda: saved(smooth(mode="CMYK"), "JPEG")),
    "JPEG in Adobe RGB": (Kind.JPEG, lambda: saved(smooth(), "JPEG", icc_profile=adobe_rgb())),
    "JPEG in Adobe RGB by EXIF alone": (Kind.JPEG, lambda: ADOBE_BY_EXIF),
    "WebP in Adobe RGB": (Kind.WEBP, lambda: saved(smooth(), "WEBP", icc_profile=adobe_rgb())),
    "wide JPEG": (Kind.JPEG, lambda: saved(smooth((500, 30)), "JPEG")),
    "tall BMP": (Kind.BMP, lambda: saved(smooth((30, 500)), "BMP")),
}


@pytest.mark.parametrize("make", AS_IT_IS.values(), ids=AS_IT_IS.keys())
def test_what_the_service_takes_as_it_is_meant_is_sent_byte_for_byte(
    prepare: Prepare, make: Callable[[], bytes]
) -> None:
    data = make()
    with prepare(data) as prepared, prepare(data, Sends()) as plainly:
        assert prepared.open().read() == data
        assert (prepared.way, prepared.is_proxy, prepared.may_be_turned) == ("as it is", False, True)
        assert (prepared.picture_digest, prepared.kind) == (plainly.picture_digest, plainly.kind)


@pytest.mark.parametrize(("kind", "make"), COPIED.values(), ids=COPIED.keys())
def test_everything_else_is_sent_as_a_plain_copy(
    prepare: Prepare, scratch: Path, kind: Any, make: Callable[[], bytes]
) -> None:
    data = make()
    with prepare(data, name="Look 1.x") as prepared:
        picture = sent(prepared)
        assert (picture.format, picture.mode, picture.size) == ("JPEG", "RGB", (prepared.width, prepared.height))
        assert max(picture.size) <= 400
        assert "icc_profile" not in picture.info
        assert (prepared.way, prepared.kind, prepared.source_kind) == ("proxy 400 v1", Kind.JPEG, kind)
        assert (prepared.filename, prepared.may_be_turned, prepared.is_upright_copy) == ("Look_1.jpg", False, False)
        assert prepared.sent_digest == prepared.digest != prepared.source_digest
    assert list(scratch.iterdir()) == []


@pytest.mark.parametrize(("kind", "make"), COPIED.values(), ids=COPIED.keys())
def test_a_copy_is_the_same_bytes_each_time(prepare: Prepare, kind: Any, make: Callable[[], bytes]) -> None:
    data = make()
    with prepare(data) as one, prepare(data, name="y") as other:
        assert (one.digest, one.picture_digest) == (other.digest, other.picture_digest)


@pytest.mark.parametrize("value", range(1, 9))
def test_a_copy_stands_upright(prepare: Prepare, value: int) -> None:

    exif = Image.Exif()
    exif[0x0112] = value
    data = saved(quarters((80, 40)), "TIFF", exif=exif)
    turn = TURNS[value]
    wanted = quarters((80, 40)) if turn is None else quarters((80, 40)).transpose(turn)
    with prepare(data) as prepared:
        picture = sent(prepared)
        assert picture.size == wanted.size
        for at in ((5, 5), (picture.width - 5, 5), (5, picture.height - 5), (picture.width - 5, picture.height - 5)):
            assert max(abs(a - b) for a, b in zip(picture.getpixel(at), wanted.getpixel(at), strict=True)) < 12


@pytest.mark.parametrize("size", [(400, 300), (401, 10), (4000, 3000), (1, 900)])
def test_a_copy_is_as_large_as_it_may_be_and_never_enlarged(prepare: Prepare, size: tuple[int, int]) -> None:
    with prepare(saved(smooth(size), "TIFF")) as prepared:
        scale = min(1, 400 / max(size))
        assert abs(prepared.width - size[0] * scale) <= 1
        assert abs(prepared.height - size[1] * scale) <= 1
        assert max(prepared.width, prepared.height) <= 400


def delta(one: Image.Image, other: Image.Image) -> float:
    """The mean difference of two pictures as CIE76 has it."""
    to_lab = ImageCms.buildTransform(ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB")
    pairs = zip(*(ImageCms.applyTransform(each, to_lab).tobytes() for each in (one, other)), strict=True)
    pairs = [(a, b) if n % 3 == 0 else ((a + 128) % 256, (b + 128) % 256) for n, (a, b) in enumerate(pairs)]
    differences = [abs(a - b) * (100 / 255 if number % 3 == 0 else 1) for number, (a, b) in enumerate(pairs)]
    return sum(differences) * 3 / len(differences)


def colours() -> Image.Image:
    picture = Image.new("RGB", (64, 64))
    picture.putdata([(4 * x, 4 * y, 255 - 2 * (x + y)) for y in range(64) for x in range(64)])
    return picture


@pytest.mark.parametrize(
    "make",
    [
        lambda: saved(colours(), "JPEG", quality=98, subsampling=0, icc_profile=adobe_rgb()),
        lambda: saved(colours(), "TIFF", icc_profile=adobe_rgb()),
    ],
    ids=["JPEG", "TIFF"],
)
def test_wide_colours_are_converted_as_littlecms_does(prepare: Prepare, make: Callable[[], bytes]) -> None:
    profile = ImageCms.ImageCmsProfile(io.BytesIO(adobe_rgb()))
    wanted = ImageCms.profileToProfile(
        colours(),
        profile,
        ImageCms.createProfile("sRGB"),
        renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
        flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )
    with prepare(make()) as prepared:
        assert delta(sent(prepared), wanted) < 1.5


def test_colours_without_a_profile_mean_what_the_folder_assumes(prepare: Prepare, tmp_path: Path) -> None:
    data = saved(colours(), "TIFF")
    (tmp_path / "studio.icc").write_bytes(adobe_rgb())
    looks = {}
    for assume in ("srgb", "review", "adobe-rgb", str(tmp_path / "studio.icc")):
        with prepare(data, Sends(px=400, assume=assume)) as prepared:
            looks[assume] = sent(prepared).tobytes()
            assert prepared.way == "proxy 400 v1", "an outline is the same, whatever colours mean"
    assert looks["srgb"] == looks["review"] != looks["adobe-rgb"] == looks[str(tmp_path / "studio.icc")]


def test_a_profile_of_the_folder_that_cannot_be_read_is_no_fault_of_the_picture(
    prepare: Prepare, tmp_path: Path
) -> None:
    (tmp_path / "none.icc").write_bytes(b"no profile")
    for name in ("none.icc", "missing.icc"):
        sends = Sends(px=400, assume=str(tmp_path / name))
        with pytest.raises(SourceUnreadableError, match="see assume") as refused:
            prepare(saved(colours(), "TIFF"), sends)
        assert refused.value.code == "wrong_profile"
        with prepare(saved(colours(), "TIFF", icc_profile=adobe_rgb()), sends) as prepared:
            assert prepared.is_proxy


def test_what_is_transparent_is_on_white(prepare: Prepare) -> None:
    picture = Image.new("RGBA", (40, 40), (0, 0, 0, 0))
    with prepare(saved(picture, "TIFF")) as prepared:
        assert min(sent(prepared).getpixel((20, 20))) > 250


def test_a_turned_jpeg_is_set_upright_as_it_always_was(prepare: Prepare) -> None:
    exif = b"Exif\0\0" + turned(6)
    with (
        prepare(saved(smooth(), "JPEG", exif=exif)) as prepared,
        prepare(saved(smooth(), "JPEG", exif=exif), Sends()) as plainly,
    ):
        assert (prepared.way, prepared.digest) == ("upright", plainly.digest)


def test_a_turned_picture_that_is_sent_as_it_is_may_come_back_turned(prepare: Prepare) -> None:
    with prepare(saved(smooth(), "JPEG", exif=b"Exif\0\0" + turned(6)), Sends(px=400, upright=False)) as prepared:
        assert prepared.may_be_turned


@pytest.mark.parametrize(("kind", "make"), COPIED.values(), ids=COPIED.keys())
def test_a_plain_folder_sends_and_refuses_as_before(prepare: Prepare, kind: Any, make: Callable[[], bytes]) -> None:
    data = make()
    if isinstance(kind, ReadKind):
        with pytest.raises(SourceUnfitError, match="the service takes JPEG, PNG, WebP and BMP only"):
            prepare(data, Sends())
    else:
        with prepare(data, Sends()) as prepared:
            assert (prepared.open().read(), prepared.way) == (data, "as it is")


def test_the_names_of_what_is_asked_for_stay_what_they_were() -> None:
    name = content_name("ab", "{}", way="as it is")
    assert name == "fef64ff267ddae3af1ca3d35f6eeadb2a912de62af5c6f5aaf2a33fb25526497"


def test_a_folder_that_makes_no_deliverables_reads_no_more() -> None:
    recipe = Recipe(name="a", input=Path("/a"), output=Path("/b"), params=None)  # type: ignore[arg-type]
    assert recipe.sends == Sends()
    assert not recipe.sends.reads_more


def test_what_has_to_be_installed_is_said(prepare: Prepare, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extras, "has_extra", lambda _extra: False)
    for data, command in (
        (vips_tiff(), r"needs the extra: pip install 'rembg-watch\[pictures\]'"),
        (heic_of(), r"needs the extra: pip install 'rembg-watch\[pictures,heif\]'"),
        (COPIED["CMYK JPEG"][1](), r"needs the extra: pip install 'rembg-watch\[pictures\]'"),
    ):
        with pytest.raises(SourceUnfitError, match=command) as refused:
            prepare(data)
        assert refused.value.code == "needs_extra"
    with prepare(AS_IT_IS["JPEG"]()) as prepared:
        assert prepared.way == "as it is"


def test_what_is_broken_within_is_refused_with_a_sentence(prepare: Prepare) -> None:
    data = bytearray(vips_tiff(compression="deflate", size=(200, 200)))
    data[2000:2400] = random.Random(1).randbytes(400)
    with pytest.raises(SourceUnfitError, match=r"It cannot be decoded to its end \(.*\): export it again\.") as refused:
        prepare(bytes(data))
    assert refused.value.code == "broken"


def test_a_jpeg_that_lacks_its_end_mark_is_copied_if_a_viewer_shows_it(prepare: Prepare) -> None:
    data = saved(smooth((500, 300)), "JPEG", quality=95)
    with prepare(data[:-2] + b"some maker's own trailer" * 300) as prepared:
        assert (prepared.way, prepared.width) == ("proxy 400 v1", 400)


def test_a_raw_picture_says_what_to_do(prepare: Prepare) -> None:
    with pytest.raises(SourceUnfitError, match=r"It is a DNG raw picture, and .* develop or export it"):
        prepare(tiff_of(TiffShape(more=((50706, 1, b"\1\4\0\0"),))))


# --- words cost nothing ---------------------------------------------------------------------------

exiftool = pytest.mark.skipif(shutil.which("exiftool") is None, reason="needs exiftool")


def captioned(path: Path) -> None:
    subprocess.run(
        [
            "exiftool",
            "-q",
            "-overwrite_original",
            "-XMP:Title=Jacke",
            "-IPTC:Keywords=blau",
            "-EXIF:Artist=Anna",
            "-XMP:Rating=4",
            "-EXIF:ImageDescription=Eine Jacke",
            "-XResolution=240",
            "-YResolution=240",
            str(path),
        ],
        check=True,
    )


@exiftool
@pytest.mark.parametrize(
    "make",
    [
        lambda: vips_tiff(size=(300, 200)),
        lambda: vips_tiff(size=(300, 200), compression="deflate", predictor="horizontal"),
        lambda: vips_tiff("CMYK", size=(300, 200), compression="lzw"),
        lambda: vips_tiff(size=(300, 200), tile=True, tile_width=64, tile_height=64),
        lambda: saved(noise((300, 200)), "TIFF", icc_profile=adobe_rgb()),
        lambda: tiff_of(TiffShape(order=">", bits=16, size=(90, 50))),
        lambda: tiff_of(TiffShape(is_directory_first=True, size=(90, 50))),
        lambda: psd_of(planes_of(SIZE), SIZE),
        heic_of,
        lambda: heic_of(exif=b"Exif\0\0" + turned(1), xmp=b"<x:xmpmeta xmlns:x='adobe:ns:meta/'/>"),
        lambda: saved(noise((300, 200)), "AVIF"),
    ],
    ids=[
        "plain",
        "ZIP",
        "CMYK",
        "tiles",
        "by Pillow",
        "Motorola's",
        "directory first",
        "PSD",
        "HEIC",
        "HEIC with words",
        "AVIF",
    ],
)
def test_a_caption_that_is_written_into_it_is_no_new_picture(
    prepare: Prepare, tmp_path: Path, make: Callable[[], bytes]
) -> None:
    data = make()
    with prepare(data) as before:
        pass
    captioned(tmp_path / "x")
    changed = (tmp_path / "x").read_bytes()
    with prepare(changed) as after:
        assert after.source_digest != before.source_digest
        assert after.picture_digest == before.picture_digest
        assert after.digest == before.digest
        is_heif = changed[4:8] == b"ftyp"
        assert (b"Jacke" in after.metadata.xmp, b"blau" in after.metadata.iptc) == (True, not is_heif)
        assert b"Anna" in after.metadata.exif or b"8BPS" in changed[:4]
        assert after.metadata.dpi is not None
        assert after.metadata.profile == before.metadata.profile


@pytest.mark.parametrize(
    "change",
    [
        {"bits": 16},
        {"orientation": 3},
        {"order": ">"},
        {"rows": 3},
        {"size": (9, 13)},
        {"more": ((34675, 7, b"x" * 200),)},
        {"more": ((65000, 3, [1]),)},
        {"samples": 4},
    ],
)
def test_what_makes_a_tiff_another_picture_gives_it_another_name(prepare: Prepare, change: dict[str, Any]) -> None:
    shape = {"size": (13, 9), "samples": 1}
    one = tiff_of(TiffShape(**shape))
    other = tiff_of(TiffShape(**{**shape, **change}))
    with prepare(one) as first, prepare(other) as second:
        assert first.picture_digest != second.picture_digest


def test_other_pixels_are_another_picture(prepare: Prepare) -> None:
    shape = TiffShape()
    pixels = shape.pixels()
    names = set()
    for at in range(0, len(pixels), 37):
        changed = pixels[:at] + bytes([pixels[at] ^ 1]) + pixels[at + 1 :]
        with prepare(tiff_of(shape, changed)) as prepared:
            names.add(prepared.picture_digest)
    assert len(names) == len(range(0, len(pixels), 37))


def test_strips_in_another_order_are_another_picture(prepare: Prepare) -> None:
    shape = TiffShape(size=(8, 8), rows=4, samples=1)
    data = bytearray(tiff_of(shape))
    offsets = data.index(struct.pack("<II", 8, 40))
    with prepare(bytes(data)) as before:
        pass
    data[offsets : offsets + 8] = struct.pack("<II", 40, 8)
    with prepare(bytes(data)) as after:
        assert after.picture_digest != before.picture_digest


def test_two_sources_can_come_to_the_same_bytes(prepare: Prepare) -> None:
    picture = noise((40, 30))
    with prepare(saved(picture, "TIFF")) as one, prepare(saved(picture, "TIFF", compression="tiff_lzw")) as other:
        assert one.picture_digest != other.picture_digest
        assert one.sent_digest == other.sent_digest


def test_the_words_of_a_heic_are_read(prepare: Prepare) -> None:
    words = tiff([(0x013B, 2, 5, b"Anna\0")])
    with prepare(heic_of(exif=b"Exif\0\0" + words, xmp=b"<x:xmpmeta/>", icc_profile=adobe_rgb())) as prepared:
        assert b"Anna" in prepared.metadata.exif
        assert prepared.metadata.xmp == b"<x:xmpmeta/>"
        assert prepared.metadata.profile == adobe_rgb()


def test_the_first_of_several_pages_is_sent_and_they_are_counted(prepare: Prepare) -> None:
    data = saved(smooth(), "TIFF", save_all=True, append_images=[smooth(), smooth()])
    with prepare(data) as prepared:
        assert (prepared.pages, prepared.width, prepared.height) == (3, 60, 40)


def test_nothing_is_left_open(prepare: Prepare) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    for make in (vips_tiff, COPIED["CMYK JPEG"][1]):
        prepare(make()).close()
    with pytest.raises(SourceUnfitError):
        prepare(vips_tiff()[:-9])
    assert len(list(Path("/proc/self/fd").iterdir())) <= before + 1


def test_what_is_said_of_a_heic_is_a_part_of_the_picture(prepare: Prepare) -> None:
    data = heic_of()
    with prepare(data) as one, prepare(heic_of((64, 50))) as other:
        assert one.picture_digest != other.picture_digest
    at = data.index(b"ispe") + 8
    narrower = data[: at + 3] + b"\x3c" + data[at + 4 :]
    told = {parts_of(Reader.of(one), ReadKind.HEIC).told for one in (data, narrower)}
    assert len(told) == 2
