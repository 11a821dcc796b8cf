"""Any picture comes out upright, in 8 or 16 bits of gray, RGB or CMYK, and with its profile."""

import io
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageCms, ImageOps

pyvips = pytest.importorskip("pyvips", reason="the extra `pictures` is not installed")

from rembg_watch.pictures.opening import NotOpenedError, Opened, open_picture, why_not_computed  # noqa: E402
from rembg_watch.pictures.profiles import adobe_rgb  # noqa: E402

_MADE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
SRGB = _MADE[:24] + bytes(12) + _MADE[36:]  # without the moment at which it was made


@contextmanager
def opened(path: Path, **how: Any) -> Iterator[Opened]:
    fd = os.open(path, os.O_RDONLY)
    try:
        yield open_picture(fd, **how)
    finally:
        os.close(fd)


def picture(width: int = 64, height: int = 48) -> Any:
    across, down = Image.linear_gradient("L").resize((width, height)), Image.linear_gradient("L").rotate(90)
    return Image.merge("RGB", (across, down.resize((width, height)), Image.new("L", (width, height), 90)))


def ramp16(width: int = 64, height: int = 48) -> Any:
    xy = pyvips.Image.xyz(width, height)
    return (xy[0] * 1000 + xy[1]).bandjoin([xy[1] * 1300, xy[0] * 7]).cast("ushort").copy(interpretation="rgb16")


def pixels(image: Any) -> bytes:
    return image.write_to_memory()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_every_orientation_comes_out_upright(tmp_path: Path, kind: str, orientation: int) -> None:
    path, exif = tmp_path / "a", Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if kind == "WEBP" else {"quality": 95} if kind == "JPEG" else {}
    picture().save(path, kind, exif=exif, icc_profile=SRGB, **options)
    with Image.open(path) as stored:
        upright = ImageOps.exif_transpose(stored).convert("RGB")
    with opened(path) as found:
        assert (found.width, found.height) == (found.image.width, found.image.height) == upright.size
        assert found.profile == SRGB
        assert found.orientation == orientation
        ours = Image.frombytes("RGB", upright.size, pixels(found.image))
    differences = [abs(a - b) for a, b in zip(ours.tobytes(), upright.tobytes(), strict=True)]
    assert max(differences) <= (3 if kind == "JPEG" else 0)


@pytest.mark.parametrize("ending", ["tif", "png"])
def test_sixteen_bits_stay_sixteen_bits(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"a.{ending}"
    ramp16().write_to_file(str(path))
    with opened(path) as found:
        assert (found.bits, found.colours) == (16, "RGB")
        assert pixels(found.image) == pixels(ramp16())


def test_a_smaller_one_is_no_smaller_than_asked_and_knows_how_large_it_is(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    picture(1000, 700).save(path)
    with opened(path, least_px=300) as found:
        assert (found.width, found.height) == (1000, 700)
        assert 300 <= max(found.image.width, found.image.height) < 600


@pytest.mark.parametrize(("extra", "has_alpha"), [(2, True), (1, True), (0, False)])
def test_only_what_a_tiff_calls_transparency_is_alpha(tmp_path: Path, extra: int, has_alpha: bool) -> None:
    path = tmp_path / "a.tif"
    stored = (ramp16() * (30000 / 65535)).cast("ushort").copy(interpretation="rgb16") if extra == 1 else ramp16()
    stored.bandjoin(30000).tiffsave(str(path))
    data = path.read_bytes()
    stated = struct.pack("<HHIHH", 338, 3, 1, 2, 0)
    assert data.count(stated) == 1
    path.write_bytes(data.replace(stated, struct.pack("<HHIHH", 338, 3, 1, extra, 0)))
    with opened(path) as found:
        assert (found.alpha is not None) == has_alpha
        assert found.image.bands == 3
        assert abs(found.image.avg() - ramp16().avg()) < 2


def test_numbers_of_light_get_a_curve_and_lab_becomes_a_wide_rgb(tmp_path: Path) -> None:
    light, lab = tmp_path / "light.tif", tmp_path / "lab.tif"
    ramp16().colourspace("scrgb").tiffsave(str(light))
    ramp16().colourspace("lab").tiffsave(str(lab))
    with opened(light) as found:
        assert found.remarks == ("from_float",)
        assert abs(found.image.cast("float") - ramp16().cast("float")).max() < 100
    with opened(lab) as found:
        assert (found.remarks, found.profile, found.bits) == (("from_lab",), adobe_rgb(), 16)


def test_lab_of_eight_bits_has_its_colours(tmp_path: Path) -> None:
    path, colour = tmp_path / "lab.tif", (163, 92, 79)
    rgb = Image.new("RGB", (64, 48), colour)
    ImageCms.profileToProfile(
        rgb, ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB"
    ).save(path)  # type: ignore[union-attr]
    with opened(path) as found:
        assert found.remarks == ("from_lab",)
        wide = Image.frombytes("RGB", (64, 48), bytes(pixels(found.image))[1::2])
        wide_profile = ImageCms.ImageCmsProfile(io.BytesIO(adobe_rgb()))
        back = ImageCms.profileToProfile(wide, wide_profile, ImageCms.createProfile("sRGB"))
        assert back is not None
        shown = back.getpixel((20, 20))
        assert max(abs(a - b) for a, b in zip(shown, colour, strict=True)) <= 3  # type: ignore[arg-type]


def test_cmyk_stays_cmyk(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    picture().convert("CMYK").save(path)
    with opened(path) as found, Image.open(path) as pillow:
        assert found.colours == "CMYK"
        ink = Image.frombytes("CMYK", pillow.size, pixels(found.image))
        assert max(abs(a - b) for a, b in zip(ink.tobytes(), pillow.tobytes(), strict=True)) <= 3


def test_a_profile_of_other_colours_does_not_count(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    picture().convert("L").save(path, icc_profile=SRGB)
    with opened(path) as found:
        assert (found.colours, found.profile) == ("GRAY", b"")


def test_adobe_rgb_told_by_exif_alone_gets_its_profile(tmp_path: Path) -> None:
    path, exif = tmp_path / "a.jpg", Image.Exif()
    exif.get_ifd(0x8769)[0xA001] = 2
    picture().save(path, exif=exif)
    with opened(path) as found:
        assert found.profile == adobe_rgb()


def test_the_profile_that_is_made_is_adobe_rgb() -> None:
    made = ImageCms.ImageCmsProfile(io.BytesIO(adobe_rgb()))
    back = ImageCms.buildTransform(made, ImageCms.createProfile("LAB"), "RGB", "LAB", 1)
    lab = [ImageCms.applyTransform(Image.new("RGB", (1, 1), one), back) for one in ((255,) * 3, (0, 255, 0))]
    white, green = [struct.unpack("Bbb", one.tobytes()) for one in lab]
    assert white == (255, 0, 0)
    # L* 83.2, a* -128 (-135 before it is clipped), b* 87: as Lindbloom's tables have it
    assert abs(green[0] * 100 / 255 - 83.2) < 0.5
    assert abs(green[2] - 87) <= 2


def psd(
    mode: int,
    bits: int,
    planes: list[list[bytes]],
    *,
    rle: bool = False,
    big: bool = False,
    width: int = 64,
    has_composite: bool = True,
) -> bytes:
    """Write a document with nothing but a composite, of planes of rows of bytes."""
    data = b"8BPS" + struct.pack(">H6xHIIHH", 2 if big else 1, len(planes), len(planes[0]), width, bits, mode)
    version = b"\0\0\0\1" + bytes((has_composite,)) + bytes(9)
    resources = b"8BIM" + struct.pack(">H2xI", 1057, len(version)) + version
    resources += b"8BIM" + struct.pack(">H2xI", 1039, len(SRGB)) + SRGB + b"\0" * (len(SRGB) % 2)
    data += struct.pack(">II", 0, len(resources)) + resources + (bytes(8) if big else bytes(4))
    if not rle:
        return data + b"\0\0" + b"".join(row for plane in planes for row in plane)
    packed = [bytes((len(row) - 1,)) + row for plane in planes for row in plane]
    counts = b"".join(len(row).to_bytes(4 if big else 2, "big") for row in packed)
    return data + b"\0\1" + counts + b"".join(packed)


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("rle", [False, True])
@pytest.mark.parametrize("bits", [8, 16])
def test_the_composite_of_a_photoshop_document_is_read(tmp_path: Path, bits: int, rle: bool, big: bool) -> None:
    path, many = tmp_path / "a.psd", bits // 8
    planes = [[bytes((x * 3 + y + number) % 256 for x in range(48 * many)) for y in range(10)] for number in range(4)]
    path.write_bytes(psd(3, bits, planes, rle=rle, big=big, width=48))
    with opened(path) as found:
        assert (found.bits, found.colours, found.profile) == (bits, "RGB", SRGB)
        ours = [found.image.extract_band(number) for number in range(3)]
        if bits == 16:
            ours = [one.byteswap() for one in ours]
        assert [pixels(one) for one in ours] == [b"".join(plane) for plane in planes[:3]]


@pytest.mark.parametrize("rle", [False, True])
@pytest.mark.parametrize("bits", [8, 16])
def test_the_inks_of_a_photoshop_document_are_inks(tmp_path: Path, bits: int, rle: bool) -> None:
    """It stores them as light: 255 is paper. A pure cyan is no red, and white paper not black."""
    path, many = tmp_path / "a.psd", bits // 8
    rows = [
        bytes((0, 255, 255, 255)),
        bytes((255, 255, 0, 255)),
        bytes((255, 255, 255, 255)),
        bytes((255, 255, 255, 0)),
    ]
    planes = [[bytes(one for value in row for one in (value,) * many)] * 4 for row in rows]
    path.write_bytes(psd(4, bits, planes, rle=rle, width=4))
    with opened(path) as found:
        assert (found.bits, found.colours, found.alpha) == (bits, "CMYK", None)
        inks = [[int(one) for one in found.image(x, 0)] for x in range(4)]
    full = 2**bits - 1
    assert inks == [[full, 0, 0, 0], [0, 0, 0, 0], [0, full, 0, 0], [0, 0, 0, full]]


def test_the_inks_of_a_jpeg_that_pillow_opens_are_inks(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    Image.new("CMYK", (16, 16), (200, 0, 0, 30)).save(path, "JPEG", quality=100, subsampling=0)
    with path.open("rb") as file:
        found = open_picture(file.fileno(), is_lenient=True)
        inks = [int(one) for one in found.image(3, 3)]
    assert (found.colours, found.alpha) == ("CMYK", None)
    assert all(abs(one - wanted) <= 2 for one, wanted in zip(inks, (200, 0, 0, 30), strict=True)), inks


def test_a_document_without_a_composite_says_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "a.psd"
    path.write_bytes(psd(3, 8, [[bytes(64)] * 4] * 3, has_composite=False))
    with pytest.raises(NotOpenedError, match="Maximize Compatibility"), opened(path):
        pass


def test_a_header_that_says_more_than_there_is_costs_no_memory(tmp_path: Path) -> None:
    path, huge = tmp_path / "a.psd", psd(3, 16, [[bytes(128)] * 4] * 3)
    path.write_bytes(huge[:14] + struct.pack(">II", 300_000, 300_000) + huge[22:])
    with pytest.raises(NotOpenedError), opened(path):
        pass


def test_heic_is_read(tmp_path: Path) -> None:
    heif = pytest.importorskip("pillow_heif", reason="the extra `heif` is not installed")
    path = tmp_path / "a.heic"
    try:
        heif.from_pillow(picture()).save(path, quality=95)
    except (RuntimeError, OSError, ValueError) as error:  # this build decodes only
        pytest.skip(f"no HEIC can be written here: {error}")
    with opened(path) as found:
        assert (found.width, found.height, found.colours, found.bits) == (64, 48, "RGB", 8)


@pytest.mark.parametrize("data", [b"", b"GIF89a" + bytes(20), b"\xff\xd8\xff\xe0", b"II*\0\x08\0\0\0", b"8BPS"])
def test_what_is_no_picture_says_so(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "a"
    path.write_bytes(data)
    with pytest.raises(NotOpenedError), opened(path):
        pass


def test_the_file_is_left_where_it_stands(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    picture().save(path)
    with Path(path).open("rb") as file:
        file.seek(7)
        open_picture(file.fileno()).image.avg()
        assert file.tell() == 7


def test_what_libvips_lacks_pillow_opens(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    Image.effect_noise((40, 30), 60).convert("RGB").save(path, compression="lzma")
    with opened(path) as found:
        assert (found.width, found.height, found.bits) == (40, 30, 8)
        found.image.avg()


def test_the_limit_of_a_decoder_is_no_broken_picture() -> None:
    told = why_not_computed(
        ValueError("heif: Memory allocation error: Security limit exceeded: Image size 17000x17000")
    )
    assert "17000x17000" in told
    assert told.endswith("export it smaller, or as a TIFF.")
