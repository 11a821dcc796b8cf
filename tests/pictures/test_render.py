"""What is made of a source and a master: its pixels, its place, its colours, and what it says of itself."""

import contextlib
import io
import json
import os
import random
import shutil
import struct
import subprocess
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageCms

pyvips = pytest.importorskip("pyvips", reason="the extra `pictures` is not installed")

from rembg_watch.pictures.alphas import framed  # noqa: E402
from rembg_watch.pictures.deliverable import Align, Canvas, Deliverable, Edges, FileFormat, Master, Upsample  # noqa: E402
from rembg_watch.pictures.framing import Box, Frame  # noqa: E402
from rembg_watch.pictures.metadata import Keep  # noqa: E402
from rembg_watch.pictures.profiles import adobe_rgb  # noqa: E402
from rembg_watch.pictures.render import AS_IS, render  # noqa: E402
from rembg_watch.pictures.rendering import NotRenderedError, Rendered, Rendering  # noqa: E402

_MADE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
SRGB = _MADE[:24] + bytes(12) + _MADE[36:]  # without the moment at which it was made
SIZE = (320, 240)
BOX = (100, 60, 220, 180)  # of the object: left, top, right, bottom

needs_exiftool = pytest.mark.skipif(shutil.which("exiftool") is None, reason="exiftool is not installed")


def source16(path: Path, profile: bytes = adobe_rgb(), **more: Any) -> Path:
    """Write a picture of 16 bits, each pixel another."""
    xy = pyvips.Image.xyz(*SIZE)
    image = (xy[0] * 200 + xy[1]).bandjoin([xy[1] * 270 + xy[0], 40000 - xy[0] * 90]).cast("ushort")
    image = image.copy(interpretation="rgb16")
    if profile:
        image.set_type(pyvips.GValue.blob_type, "icc-profile-data", profile)
    image.write_to_file(str(path), **more)
    return path


def source8(path: Path, size: tuple[int, int] = SIZE, colour: tuple[int, ...] = (200, 40, 30), **more: Any) -> Path:
    mode = {1: "L", 3: "RGB", 4: "CMYK"}[len(colour)]
    Image.new(mode, size, colour if len(colour) > 1 else colour[0]).save(path, quality=95, subsampling=0, **more)
    return path


def mask(path: Path, size: tuple[int, int] = SIZE, box: tuple[int, int, int, int] = BOX, soft: int = 0) -> Path:
    """Write the mask of a rectangle; *soft* rows around it are half full."""
    picture = Image.new("L", size, 0)
    if soft:
        picture.paste(128, (box[0] - soft, box[1] - soft, box[2] + soft, box[3] + soft))
    picture.paste(255, box)
    picture.save(path, "PNG")
    return path


def make(
    tmp_path: Path,
    source: Path | None,
    master: Path,
    *,
    kind: Master = Master.MASK,
    edges: Edges = Edges.CLEAN,
    sent: str = "proxy",
    assume: str = "srgb",
    **wanted: Any,
) -> tuple[Path, Rendered]:
    deliverable = Deliverable(name="x", **wanted)
    path = tmp_path / f"made{deliverable.format.extension}"
    flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC
    fds = [os.open(path, flags), os.open(tmp_path / "scratch", flags)]
    opened = os.open(source, os.O_RDONLY) if source is not None else None
    try:
        rendering = Rendering(
            source=opened,
            sent=sent,
            master=str(master),
            kind=kind,
            deliverable=deliverable,
            output=fds[0],
            scratch=fds[1],
            edges=edges,
            assume=assume,
        )
        return path, render(rendering)
    finally:
        for fd in [*fds, *([opened] if opened is not None else [])]:
            os.close(fd)


def said(path: Path) -> dict[str, Any]:
    command = ["exiftool", "-j", "-n", "-G1", str(path)]
    return dict(json.loads(subprocess.run(command, capture_output=True, check=True).stdout)[0])


def box_of(path: Path, background: tuple[int, ...] | None = None) -> tuple[int, int, int, int]:
    with Image.open(path) as picture:
        if background is None:
            found = picture.convert("RGBA").getchannel("A").point(lambda value: 255 * (value > 127)).getbbox()
        else:
            blank = Image.new("RGB", picture.size, background)
            grey = Image.frombytes(
                "RGB",
                picture.size,
                bytes(abs(a - b) for a, b in zip(picture.convert("RGB").tobytes(), blank.tobytes(), strict=True)),
            ).convert("L")
            found = grey.point(lambda value: 255 * (value > 100)).getbbox()
    assert found is not None
    return found


# --- pixels -------------------------------------------------------------------------------------


@pytest.mark.parametrize("soft", [0, 3])
@pytest.mark.parametrize("compression", ["none", "deflate", "zip", "lzw"])
def test_solid_pixels_of_sixteen_bits_are_those_of_the_source(tmp_path: Path, soft: int, compression: str) -> None:
    source = source16(tmp_path / "a.tif")
    path, made = make(
        tmp_path, source, mask(tmp_path / "m.png", soft=soft), format=FileFormat.TIFF, compression=compression
    )
    ours, theirs = pyvips.Image.new_from_file(str(path)), pyvips.Image.new_from_file(str(source))
    assert (ours.format, ours.bands, made.remarks) == ("ushort", 4, ())
    assert bytes(ours.get("icc-profile-data")) == adobe_rgb()
    left, top, right, bottom = BOX
    window = (left, top, right - left, bottom - top)
    assert ours.extract_band(0, n=3).crop(*window).write_to_memory() == theirs.crop(*window).write_to_memory()
    assert ours.extract_band(3).crop(*window).min() == 65535
    assert ours.crop(0, 0, 50, 240).max() == 0


def test_pixels_as_they_are_stay_everywhere(tmp_path: Path) -> None:
    source = source16(tmp_path / "a.tif")
    path, _ = make(tmp_path, source, mask(tmp_path / "m.png", soft=3), format=FileFormat.TIFF, edges=Edges.AS_IS)
    ours, theirs = pyvips.Image.new_from_file(str(path)), pyvips.Image.new_from_file(str(source))
    assert ours.extract_band(0, n=3).write_to_memory() == theirs.write_to_memory()


def test_soft_edges_lose_the_colour_of_the_background(tmp_path: Path) -> None:
    picture = Image.new("RGB", SIZE, (0, 200, 0))
    picture.paste((100, 100, 0), (BOX[0] - 2, BOX[1] - 2, BOX[2] + 2, BOX[3] + 2))
    picture.paste((200, 0, 0), BOX)
    picture.save(tmp_path / "a.png")
    path, _ = make(tmp_path, tmp_path / "a.png", mask(tmp_path / "m.png", soft=2), format=FileFormat.PNG)
    with Image.open(path) as made:
        red, green, _, alpha = made.getpixel((BOX[0] - 1, 120))
    assert (alpha, red > 180, green < 20) == (128, True, True)


@pytest.mark.parametrize("bits", [8, 16])
def test_png_keeps_the_depth_of_the_source(tmp_path: Path, bits: int) -> None:
    source = source16(tmp_path / "a.png") if bits == 16 else source8(tmp_path / "a.jpg")
    path, made = make(tmp_path, source, mask(tmp_path / "m.png"), format=FileFormat.PNG)
    assert path.read_bytes()[24] == bits
    assert made.remarks == ()
    path, _ = make(tmp_path, source, mask(tmp_path / "m.png"), format=FileFormat.PNG, depth="8")
    assert path.read_bytes()[24] == 8


@pytest.mark.parametrize("kind", [FileFormat.JPEG, FileFormat.WEBP])
def test_what_holds_eight_bits_says_so(tmp_path: Path, kind: FileFormat) -> None:
    _, made = make(tmp_path, source16(tmp_path / "a.tif"), mask(tmp_path / "m.png"), format=kind)
    assert made.remarks == ("eight_bit",)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", list(FileFormat))
def test_every_orientation_stands_upright_in_every_format(tmp_path: Path, kind: FileFormat, orientation: int) -> None:
    stored, exif = Image.new("RGB", (120, 80), (250, 250, 250)), Image.Exif()
    stored.paste((250, 0, 0), (0, 0, 60, 40))
    exif[0x0112] = orientation
    stored.save(tmp_path / "a.png", exif=exif)
    upright = (
        stored.transpose(
            {
                2: Image.Transpose.FLIP_LEFT_RIGHT,
                3: Image.Transpose.ROTATE_180,
                4: Image.Transpose.FLIP_TOP_BOTTOM,
                5: Image.Transpose.TRANSPOSE,
                6: Image.Transpose.ROTATE_270,
                7: Image.Transpose.TRANSVERSE,
                8: Image.Transpose.ROTATE_90,
            }[orientation]
        )
        if orientation > 1
        else stored
    )
    Image.new("L", upright.size, 255).save(tmp_path / "m.png")
    path, made = make(tmp_path, tmp_path / "a.png", tmp_path / "m.png", format=kind)
    assert (made.width, made.height) == upright.size
    ours = pyvips.Image.new_from_file(str(path))
    assert (ours.width, ours.height) == upright.size
    assert not ours.get_typeof("orientation") or ours.get("orientation") == 1
    for x, y in (
        (10, 10),
        (upright.width - 10, 10),
        (10, upright.height - 10),
        (upright.width - 10, upright.height - 10),
    ):
        theirs = upright.getpixel((x, y))
        assert max(abs(a - b) for a, b in zip(ours(x, y)[:3], theirs, strict=True)) < 12


def test_an_answer_that_was_not_turned_is(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (120, 80), (250, 0, 0)).save(tmp_path / "a.png", exif=exif)
    mask(tmp_path / "m.png", (120, 80), (0, 0, 30, 20))
    path, made = make(tmp_path, tmp_path / "a.png", tmp_path / "m.png", sent="as it is")
    assert (made.width, made.height) == (80, 120)
    assert box_of(path) == (60, 0, 80, 30)
    with pytest.raises(NotRenderedError, match="another one"):
        make(tmp_path, tmp_path / "a.png", tmp_path / "m.png", sent="upright")


def test_a_small_master_is_made_as_large_as_its_picture(tmp_path: Path) -> None:
    source = source8(tmp_path / "a.jpg", (1280, 960))
    path, made = make(tmp_path, source, mask(tmp_path / "m.png"))
    assert (made.width, made.height) == (1280, 960)
    assert max(abs(a - 4 * b) for a, b in zip(box_of(path), BOX, strict=True)) <= 1


def test_without_its_source_a_cutout_makes_all_that_it_can(tmp_path: Path) -> None:
    cutout = Image.new("RGBA", SIZE, (0, 0, 0, 0))
    cutout.paste((200, 40, 30, 255), BOX)
    cutout.save(tmp_path / "m.png")
    path, made = make(
        tmp_path, None, tmp_path / "m.png", kind=Master.CUTOUT, format=FileFormat.JPEG, canvas=(200, 200), fill=0.5
    )
    assert made.width == 200
    assert box_of(path, (255, 255, 255)) == (50, 50, 150, 150)
    with pytest.raises(NotRenderedError) as refused:
        make(tmp_path, None, tmp_path / "m.png", kind=Master.MASK)
    assert refused.value.code in ("no_source", "odd_mask")


def test_a_cutout_lends_its_alpha_and_not_its_colours(tmp_path: Path) -> None:
    cutout = Image.new("RGBA", SIZE, (0, 0, 0, 0))
    cutout.paste((1, 2, 3, 255), BOX)
    cutout.save(tmp_path / "m.png")
    source = source16(tmp_path / "a.tif")
    path, _ = make(tmp_path, source, tmp_path / "m.png", kind=Master.CUTOUT, format=FileFormat.TIFF)
    ours, theirs = pyvips.Image.new_from_file(str(path)), pyvips.Image.new_from_file(str(source))
    window = (BOX[0], BOX[1], BOX[2] - BOX[0], BOX[3] - BOX[1])
    assert ours.extract_band(0, n=3).crop(*window).write_to_memory() == theirs.crop(*window).write_to_memory()
    assert box_of(path) == BOX


def test_what_the_source_had_made_transparent_stays_so(tmp_path: Path) -> None:
    picture = Image.new("RGBA", SIZE, (200, 40, 30, 255))
    picture.paste((200, 40, 30, 0), (0, 0, 160, 240))
    picture.save(tmp_path / "a.png")
    path, _ = make(tmp_path, tmp_path / "a.png", mask(tmp_path / "m.png"))
    assert box_of(path) == (160, BOX[1], BOX[2], BOX[3])


@pytest.mark.parametrize("answered", ["with it", "without it"])
def test_what_was_sent_half_transparent_is_so_once(tmp_path: Path, answered: str) -> None:
    Image.new("RGBA", SIZE, (200, 40, 30, 200)).save(tmp_path / "a.png")
    cutout = Image.new("RGBA", SIZE, (0, 0, 0, 0))
    cutout.paste((200, 40, 30, 200 if answered == "with it" else 255), BOX)
    cutout.save(tmp_path / "m.png")
    path, _ = make(tmp_path, tmp_path / "a.png", tmp_path / "m.png", kind=Master.CUTOUT, sent=AS_IS)
    with Image.open(path) as made:
        assert made.getpixel((BOX[0] + 20, BOX[1] + 20))[3] == 200  # type: ignore[index]
        assert made.getpixel((2, 2))[3] == 0  # type: ignore[index]


# --- place --------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [SIZE, (1280, 960), (3200, 2400)])
@pytest.mark.parametrize(("align", "top"), [(Align.CENTRE, 60), (Align.TOP, 40), (Align.BOTTOM, 80)])
@pytest.mark.parametrize("ending", ["png", "jpg"])
def test_the_object_stands_where_it_should_exact_to_a_pixel(
    tmp_path: Path, size: tuple[int, int], align: Align, top: int, ending: str
) -> None:
    by = size[0] // SIZE[0]
    box = (100 * by, 60 * by, 260 * by, 180 * by)  # 4 to 3
    picture = Image.new("RGB", size, (255, 255, 255))
    picture.paste((20, 20, 20), box)
    picture.save(tmp_path / f"a.{ending}", quality=98, subsampling=0)
    path, made = make(
        tmp_path,
        tmp_path / f"a.{ending}",
        mask(tmp_path / "m.png", size, box),
        format=FileFormat.JPEG,
        canvas=(200, 240),
        fill=0.8 if align is Align.CENTRE else None,
        margin="20px" if align is Align.CENTRE else "40px",
        align=align,
        quality=98,
    )
    # 160 wide: 0.8 of 200; 120 wide: 200 without two margins of 40
    width = 160 if align is Align.CENTRE else 120
    height = width * 3 // 4
    expected_top = {Align.CENTRE: (240 - height) // 2, Align.TOP: 40, Align.BOTTOM: 240 - 40 - height}[align]
    left = (200 - width) // 2
    found = box_of(path, (255, 255, 255))
    assert found == (left, expected_top, left + width, expected_top + height)
    assert made.remarks == ()
    with Image.open(path) as jpeg:
        assert jpeg.getpixel((0, 0)) == jpeg.getpixel((199, 239)) == (255, 255, 255)


@pytest.mark.parametrize("factor", [1, 6])
def test_specks_in_a_corner_do_not_count_for_the_place_of_the_object(tmp_path: Path, factor: int) -> None:
    size = (SIZE[0] * factor, SIZE[1] * factor)
    box = (100 * factor, 60 * factor, 260 * factor, 180 * factor)
    source = source8(tmp_path / "a.jpg", size)
    mask(tmp_path / "m.png", size, box)
    with Image.open(tmp_path / "m.png") as clean:
        spoilt = clean.copy()
    spoilt.paste(255, (1, 1, 3, 3))
    spoilt.save(tmp_path / "spoilt.png")
    how: dict[str, Any] = {"format": FileFormat.JPEG, "canvas": (200, 200), "fill": 0.8}
    path, made = make(tmp_path, source, tmp_path / "spoilt.png", **how)
    assert made.remarks == ("specks",)
    assert box_of(path, (255, 255, 255)) == (20, 40, 180, 160)
    _, made = make(tmp_path, source, tmp_path / "m.png", **how)
    assert made.remarks == ()


def test_a_part_that_is_no_speck_counts(tmp_path: Path) -> None:
    source = source8(tmp_path / "a.jpg")
    mask(tmp_path / "m.png", SIZE, (100, 60, 260, 180))
    with Image.open(tmp_path / "m.png") as clean:
        both = clean.copy()
    both.paste(255, (10, 100, 20, 110))
    both.save(tmp_path / "both.png")
    path, made = make(tmp_path, source, tmp_path / "both.png", format=FileFormat.JPEG, canvas=(250, 250))
    assert made.remarks == ()
    assert box_of(path, (255, 255, 255))[0] == 0


def test_a_small_object_is_remarked_and_not_enlarged(tmp_path: Path) -> None:
    source = source8(tmp_path / "a.jpg")
    path, made = make(tmp_path, source, mask(tmp_path / "m.png"), canvas=(1000, 1000), fill=0.9)
    assert made.remarks == ("too_small",)
    assert box_of(path) == (440, 440, 560, 560)
    path, made = make(tmp_path, source, mask(tmp_path / "m.png"), canvas=(1000, 1000), fill=0.9, enlarge=True)
    assert made.remarks == ()
    assert max(abs(a - b) for a, b in zip(box_of(path), (50, 50, 950, 950), strict=True)) <= 1


def test_the_canvas_of_an_object_fits_it(tmp_path: Path) -> None:
    source = source8(tmp_path / "a.jpg")
    path, made = make(tmp_path, source, mask(tmp_path / "m.png"), canvas=Canvas.OBJECT, margin="10px")
    assert (made.width, made.height) == (140, 140)
    assert box_of(path) == (10, 10, 130, 130)


def test_nothing_left_is_no_picture(tmp_path: Path) -> None:
    Image.new("L", SIZE, 5).save(tmp_path / "m.png")
    with pytest.raises(NotRenderedError, match="transparent everywhere"):
        make(tmp_path, source8(tmp_path / "a.jpg"), tmp_path / "m.png", canvas=(100, 100))


# --- colours ------------------------------------------------------------------------------------


def lab(image: Image.Image, profile: bytes) -> Image.Image:
    given = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    there = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))
    transform = ImageCms.buildTransform(given, there, image.mode, "LAB", ImageCms.Intent.RELATIVE_COLORIMETRIC)
    made = ImageCms.applyTransform(image, transform)
    assert made is not None
    return made


def distance(one: Image.Image, other: Image.Image) -> float:
    """Return the largest distance of colours in Lab, each of 8 bits."""
    worst = 0.0
    rows = [struct.iter_unpack("Bbb", picture.tobytes()) for picture in (one, other)]
    for (l1, a1, b1), (l2, a2, b2) in zip(*rows, strict=True):
        worst = max(worst, (((l1 - l2) / 2.55) ** 2 + (a1 - a2) ** 2 + (b1 - b2) ** 2) ** 0.5)
    return worst


def patches(mode: str) -> Image.Image:
    """Draw colours from all over, but for those that no screen shows."""
    picture = Image.new(mode, SIZE)
    for column in range(8):
        for row in range(6):
            colour = (40 + 20 * column, 60 + 20 * row, 200 - 10 * column - 10 * row, 10 * row)[: len(mode)]
            picture.paste(colour, (column * 40, row * 40, column * 40 + 40, row * 40 + 40))
    return picture


def cmyk_profile() -> bytes:
    return bytes(pyvips.Image.profile_load("cmyk"))


@pytest.mark.parametrize(("mode", "most"), [("RGB", 1.5), ("CMYK", 3.0)])
def test_conversion_is_that_of_littlecms(tmp_path: Path, mode: str, most: float) -> None:
    profile = adobe_rgb() if mode == "RGB" else cmyk_profile()
    picture = patches(mode)
    picture.save(tmp_path / "a.tif", icc_profile=profile)
    Image.new("L", SIZE, 255).save(tmp_path / "m.png")
    path, _ = make(tmp_path, tmp_path / "a.tif", tmp_path / "m.png", format=FileFormat.PNG, colour="srgb")
    given, there = (ImageCms.ImageCmsProfile(io.BytesIO(one)) for one in (profile, SRGB))
    transform = ImageCms.buildTransform(
        given, there, mode, "RGB", ImageCms.Intent.RELATIVE_COLORIMETRIC, ImageCms.Flags.BLACKPOINTCOMPENSATION
    )
    theirs = ImageCms.applyTransform(picture, transform)
    assert theirs is not None
    with Image.open(path) as ours:
        assert ours.info["icc_profile"]
        small = [one.convert("RGB").resize((8, 6), Image.Resampling.NEAREST) for one in (ours, theirs)]
    assert distance(lab(small[0], SRGB), lab(small[1], SRGB)) <= most


def test_cmyk_keeps_its_ink_and_its_profile_where_the_format_can(tmp_path: Path) -> None:
    picture = patches("CMYK")
    picture.save(tmp_path / "a.tif", icc_profile=cmyk_profile())
    Image.new("L", SIZE, 255).save(tmp_path / "m.png")
    path, made = make(tmp_path, tmp_path / "a.tif", tmp_path / "m.png", format=FileFormat.TIFF, background="#ffffff")
    with Image.open(path) as ours:
        assert (ours.mode, ours.info["icc_profile"]) == ("CMYK", cmyk_profile())
        assert ours.tobytes() == picture.tobytes()
    _, made = make(tmp_path, tmp_path / "a.tif", tmp_path / "m.png", format=FileFormat.PNG)
    assert "converted_to_srgb" in made.remarks


@pytest.mark.parametrize("profile", [b"", SRGB, adobe_rgb(), "cmyk", "gray"])
@pytest.mark.parametrize("depth", ["8", "source"])
@pytest.mark.parametrize("kind", [FileFormat.JPEG, FileFormat.TIFF, FileFormat.PNG])
def test_white_is_white_whatever_the_profile(
    tmp_path: Path, profile: bytes | str, depth: str, kind: FileFormat
) -> None:
    if profile == "cmyk":
        source = source8(tmp_path / "a.tif", colour=(20, 90, 200, 30), icc_profile=cmyk_profile())
    elif profile == "gray":
        source = source8(tmp_path / "a.jpg", colour=(80,))
    else:
        source = source16(tmp_path / "a.tif", profile=profile)  # type: ignore[arg-type]
    path, _ = make(tmp_path, source, mask(tmp_path / "m.png"), format=kind, background="#ffffff", depth=depth)
    image = pyvips.Image.new_from_file(str(path))
    full = 65535 if image.format == "ushort" else 255
    assert set(image(0, 0)) == ({0.0} if image.interpretation == "cmyk" else {float(full)})


def test_a_background_is_exactly_the_colour_that_was_named(tmp_path: Path) -> None:
    source = source8(tmp_path / "a.jpg", icc_profile=SRGB)
    path, _ = make(tmp_path, source, mask(tmp_path / "m.png"), format=FileFormat.PNG, background="#336699")
    with Image.open(path) as made:
        assert (made.mode, made.getpixel((3, 3))) == ("RGB", (0x33, 0x66, 0x99))
    path, _ = make(
        tmp_path, source16(tmp_path / "b.tif"), mask(tmp_path / "m.png"), format=FileFormat.PNG, background="#336699"
    )
    with Image.open(path) as made:  # in Adobe RGB other numbers look the same
        assert (
            distance(
                lab(made.convert("RGB").crop((0, 0, 1, 1)), adobe_rgb()), lab(Image.new("RGB", (1, 1), "#336699"), SRGB)
            )
            < 2
        )


def gray_profile() -> bytes:
    """Write a profile of one band with a gamma of 2.2 (ICC.1:2001-04)."""
    words = b"gray\0"
    white = b"XYZ \0\0\0\0" + struct.pack(">3i", 63190, 65536, 54061)
    tags = {
        b"desc": b"desc\0\0\0\0" + struct.pack(">I", len(words)) + words + bytes(12 + 67),
        b"wtpt": white,
        b"kTRC": b"curv\0\0\0\0" + struct.pack(">IH", 1, round(2.2 * 256)) + b"\0\0",
    }
    table, body, at = b"", b"", 128 + 4 + 12 * len(tags)
    for name, data in tags.items():
        table += name + struct.pack(">II", at + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    head = struct.pack(">I4sI4s4s4s12x4s", at + len(body), b"\0\0\0\0", 0x02100000, b"mntr", b"GRAY", b"XYZ ", b"acsp")
    head = head.ljust(68, b"\0") + white[8:]
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body


SHADES = [("#00ff00", 220), ("#ff0000", 127), ("#336699", 102), ("#808080", 128)]


@pytest.mark.parametrize(("background", "shade"), SHADES)
def test_a_colour_behind_gray_is_as_light_as_it_was(tmp_path: Path, background: str, shade: int) -> None:
    (tmp_path / "gray.icc").write_bytes(gray_profile())
    how: dict[str, Any] = {"colour": str(tmp_path / "gray.icc"), "background": background}
    path, _ = make(tmp_path, source8(tmp_path / "a.jpg"), mask(tmp_path / "m.png"), format=FileFormat.PNG, **how)
    with Image.open(path) as made:
        assert made.mode == "L"
        assert abs(made.getpixel((2, 2)) - shade) <= 6  # type: ignore[operator]


def test_gray_on_a_colour_becomes_rgb(tmp_path: Path) -> None:
    source = source8(tmp_path / "a.jpg", colour=(80,))
    path, _ = make(
        tmp_path, source, mask(tmp_path / "m.png"), format=FileFormat.JPEG, background="#00ff00", quality=100
    )
    with Image.open(path) as made:
        assert made.mode == "RGB"
        assert max(abs(a - b) for a, b in zip(made.getpixel((3, 3)), (0, 255, 0), strict=True)) <= 2


def test_colours_that_are_lost_are_remarked(tmp_path: Path) -> None:
    source = source8(tmp_path / "a.jpg", colour=(0, 255, 0), icc_profile=adobe_rgb())
    _, made = make(tmp_path, source, mask(tmp_path / "m.png"), format=FileFormat.JPEG, colour="srgb")
    assert made.remarks == ("out_of_gamut",)
    mild = source8(tmp_path / "b.jpg", colour=(120, 130, 110), icc_profile=adobe_rgb())
    _, made = make(tmp_path, mild, mask(tmp_path / "m.png"), format=FileFormat.JPEG, colour="srgb")
    assert made.remarks == ()


def test_a_broken_profile_is_remarked_and_not_embedded(tmp_path: Path) -> None:
    broken = adobe_rgb()[:200]
    source = source8(tmp_path / "a.jpg", icc_profile=broken)
    path, made = make(tmp_path, source, mask(tmp_path / "m.png"), format=FileFormat.JPEG)
    assert made.remarks == ("bad_profile",)
    with Image.open(path) as jpeg:
        assert jpeg.info["icc_profile"] != broken


@pytest.mark.parametrize("assume", ["srgb", "adobe-rgb"])
def test_what_is_assumed_of_an_untagged_picture_is_said(tmp_path: Path, assume: str) -> None:
    path, _ = make(tmp_path, source8(tmp_path / "a.jpg"), mask(tmp_path / "m.png"), assume=assume)
    with Image.open(path) as png:
        assert (png.info["icc_profile"] == adobe_rgb()) == (assume == "adobe-rgb")


@pytest.mark.parametrize("colour", ["missing.icc", "wrong.icc"])
def test_a_profile_that_cannot_be_read_is_refused_with_its_name(tmp_path: Path, colour: str) -> None:
    (tmp_path / "wrong.icc").write_bytes(b"no profile")
    with pytest.raises(NotRenderedError, match=colour):
        make(tmp_path, source8(tmp_path / "a.jpg"), mask(tmp_path / "m.png"), colour=str(tmp_path / colour))


# --- what it says of itself ---------------------------------------------------------------------


def told(path: Path) -> Path:
    """Let exiftool write who, whose and what into a picture, in all the ways there are."""
    command = [
        "exiftool",
        "-q",
        "-overwrite_original",
        "-EXIF:Copyright=(c) Studio",
        "-EXIF:Artist=Ada",
        "-IPTC:Caption-Abstract=A red box",
        "-XMP-dc:Description=A red box",
        "-XMP-dc:Rights=(c) Studio",
        "-EXIF:LensModel=50mm",
        "-EXIF:Orientation#=1",
        "-EXIF:XResolution=300",
        "-EXIF:YResolution=300",
        "-EXIF:ResolutionUnit#=2",
        "-EXIF:GPSLatitude=48",
        "-EXIF:GPSLatitudeRef=N",
        str(path),
    ]
    subprocess.run(command, check=True)
    return path


@needs_exiftool
@pytest.mark.parametrize("kind", list(FileFormat))
def test_words_and_resolution_come_along(tmp_path: Path, kind: FileFormat) -> None:
    source = told(source8(tmp_path / "a.jpg", icc_profile=SRGB, dpi=(300, 300)))
    path, _ = make(tmp_path, source, mask(tmp_path / "m.png"), format=kind)
    found = said(path)
    assert found["IFD0:Copyright"] == "(c) Studio"
    assert found["IFD0:Artist"] == "Ada"
    assert found["ExifIFD:LensModel"] == "50mm"
    assert found["XMP-dc:Description"] == "A red box"
    assert not [name for name in found if "GPS" in name]
    if kind in (FileFormat.TIFF, FileFormat.JPEG):
        assert found["IPTC:Caption-Abstract"] == "A red box"
    assert found["IFD0:XResolution"] == pytest.approx(300)
    with Image.open(path) as made:
        assert made.info["icc_profile"] == SRGB
        assert made.getexif().get(0x8298) == "(c) Studio"
        if kind in (FileFormat.TIFF, FileFormat.JPEG, FileFormat.PNG):
            assert made.info["dpi"] == pytest.approx((300, 300), abs=0.1)


@needs_exiftool
@pytest.mark.parametrize("ending", ["jpg", "png", "webp", "tif"])
def test_a_resolution_that_nobody_knows_is_the_one_that_programs_take_or_none(tmp_path: Path, ending: str) -> None:
    source = source8(tmp_path / f"a.{ending}")
    path, _ = make(tmp_path, source, mask(tmp_path / "m.png"), format=FileFormat.TIFF)
    found = said(path)
    assert (found["IFD0:XResolution"], found["IFD0:YResolution"], found["IFD0:ResolutionUnit"]) == (72, 72, 2)
    path, _ = make(tmp_path, source, mask(tmp_path / "m.png"), format=FileFormat.JPEG, background="#ffffff")
    assert "JFIF:XResolution" not in said(path)


@needs_exiftool
@pytest.mark.parametrize("kind", list(FileFormat))
@pytest.mark.parametrize("keep", [Keep.NONE, Keep.COPYRIGHT])
def test_less_is_said_where_less_is_wanted(tmp_path: Path, kind: FileFormat, keep: Keep) -> None:
    source = told(source8(tmp_path / "a.jpg", icc_profile=SRGB, dpi=(300, 300)))
    path, _ = make(tmp_path, source, mask(tmp_path / "m.png"), format=kind, metadata=keep, dpi=72)
    found = said(path)
    assert ("IFD0:Copyright" in found) == (keep is Keep.COPYRIGHT)
    assert not {"ExifIFD:LensModel", "XMP-dc:Description", "IPTC:Caption-Abstract"} & set(found)
    if kind in (FileFormat.TIFF, FileFormat.JPEG, FileFormat.PNG):
        with Image.open(path) as made:
            assert made.info["dpi"] == pytest.approx((72, 72), abs=0.1)


@needs_exiftool
@pytest.mark.parametrize("order", ["Little-endian", "Big-endian"])
def test_a_tiff_that_was_given_words_is_in_order(tmp_path: Path, order: str) -> None:
    source = source8(tmp_path / "a.jpg")
    subprocess.run(
        [
            "exiftool",
            "-q",
            "-overwrite_original",
            f"-ExifByteOrder={order}",
            "-EXIF:Copyright=me",
            "-EXIF:FNumber=5.6",
            "-EXIF:ISO=200",
            str(source),
        ],
        check=True,
    )
    path, _ = make(tmp_path, told(source), mask(tmp_path / "m.png"), format=FileFormat.TIFF)
    checked = subprocess.run(
        ["exiftool", "-validate", "-warning", "-a", str(path)], capture_output=True, check=True, text=True
    ).stdout
    assert "OK" in checked or "minor" in checked, checked
    found = said(path)
    assert (found["ExifIFD:FNumber"], found["ExifIFD:ISO"]) == (5.6, 200)
    image = pyvips.Image.new_from_file(str(path))
    assert image.crop(120, 80, 10, 10).avg() > 0


# --- size ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [FileFormat.JPEG, FileFormat.WEBP, FileFormat.AVIF])
def test_a_largest_size_is_kept_by_less_quality(tmp_path: Path, kind: FileFormat) -> None:
    noise = Image.effect_noise(SIZE, 60).convert("RGB")
    noise.save(tmp_path / "a.png")
    Image.new("L", SIZE, 255).save(tmp_path / "m.png")
    _, whole = make(tmp_path, tmp_path / "a.png", tmp_path / "m.png", format=kind, quality=95)
    _, least = make(tmp_path, tmp_path / "a.png", tmp_path / "m.png", format=kind, quality=75)
    room_kb = (whole.size_bytes + least.size_bytes) // 2000
    path, made = make(tmp_path, tmp_path / "a.png", tmp_path / "m.png", format=kind, quality=95, max_kb=room_kb)
    assert least.size_bytes < made.size_bytes == path.stat().st_size <= room_kb * 1000
    assert made.remarks == ()
    _, made = make(tmp_path, tmp_path / "a.png", tmp_path / "m.png", format=kind, quality=95, max_kb=1)
    assert made.remarks == ("over_max_kb",)


@pytest.mark.parametrize(("quality", "is_full"), [(89, False), (90, True), (98, True)])
def test_colours_are_as_sharp_as_light_at_high_quality(tmp_path: Path, quality: int, is_full: bool) -> None:
    path, _ = make(
        tmp_path, source8(tmp_path / "a.jpg"), mask(tmp_path / "m.png"), format=FileFormat.JPEG, quality=quality
    )
    with Image.open(path) as made:
        assert ({one[1:3] for one in made.layer} == {(1, 1)}) == is_full  # type: ignore[attr-defined]


def test_a_format_that_cannot_be_as_large_says_so(tmp_path: Path) -> None:
    source = source8(tmp_path / "a.jpg", (20_000, 8))
    with pytest.raises(NotRenderedError, match="16383"):
        make(tmp_path, source, mask(tmp_path / "m.png", (20_000, 8), (1, 1, 500, 7)), format=FileFormat.WEBP)


# --- broken and hostile -------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["jpg", "png", "tif", "webp"])
def test_a_source_that_breaks_off_makes_no_picture(tmp_path: Path, ending: str) -> None:
    noise = Image.effect_noise((900, 700), 60).convert("RGB")
    noise.save(tmp_path / f"a.{ending}")
    data = (tmp_path / f"a.{ending}").read_bytes()
    for share in (0.3, 0.6, 0.9):
        (tmp_path / f"b.{ending}").write_bytes(data[: int(len(data) * share)])
        with pytest.raises(NotRenderedError):
            make(tmp_path, tmp_path / f"b.{ending}", mask(tmp_path / "m.png", (900, 700)))


def test_a_picture_that_lacks_its_end_mark_alone_is_made(tmp_path: Path) -> None:
    source8(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes((tmp_path / "a.png").read_bytes()[:-12])
    source8(tmp_path / "a.jpg")
    (tmp_path / "b.jpg").write_bytes((tmp_path / "a.jpg").read_bytes()[:-2] + bytes(40))
    for ending in ("png", "jpg"):
        path, made = make(tmp_path, tmp_path / f"b.{ending}", mask(tmp_path / "m.png"))
        assert (made.width, box_of(path)) == (SIZE[0], BOX)


@pytest.mark.parametrize("data", [b"", b"no picture", b"\x89PNG\r\n\x1a\n" + bytes(60)])
def test_a_broken_master_is_said_to_be_one(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "m.png").write_bytes(data)
    with pytest.raises(NotRenderedError, match="bought"):
        make(tmp_path, source8(tmp_path / "a.jpg"), tmp_path / "m.png")


def test_a_coloured_mask_and_an_opaque_cutout_are_refused(tmp_path: Path) -> None:
    Image.new("RGB", SIZE, (1, 2, 3)).save(tmp_path / "m.png")
    for kind, code in ((Master.MASK, "odd_mask"), (Master.CUTOUT, "no_alpha")):
        with pytest.raises(NotRenderedError) as refused:
            make(tmp_path, source8(tmp_path / "a.jpg"), tmp_path / "m.png", kind=kind)
        assert refused.value.code == code


def test_equal_bands_of_a_mask_count_as_one(tmp_path: Path) -> None:
    mask(tmp_path / "one.png")
    with Image.open(tmp_path / "one.png") as one:
        one.convert("RGBA").save(tmp_path / "m.png")
    path, _ = make(tmp_path, source8(tmp_path / "a.jpg"), tmp_path / "m.png")
    assert box_of(path) == BOX


# --- the clipping path --------------------------------------------------------------------------


def knots(resources: bytes) -> list[list[tuple[float, float]]]:
    """Read a path out of Photoshop's resources: its pieces, each corner as shares of width and height."""
    at, found = 0, {}
    while resources[at : at + 4] == b"8BIM":
        number, name = int.from_bytes(resources[at + 4 : at + 6], "big"), resources[at + 6]
        begin = at + 6 + (name + 2) // 2 * 2
        size = int.from_bytes(resources[begin : begin + 4], "big")
        found[number] = resources[begin + 4 : begin + 4 + size]
        at = begin + 4 + size + size % 2
    assert found[2999].startswith(b"\x06Path 1")
    pieces: list[list[tuple[float, float]]] = []
    for begin in range(0, len(found[2000]), 26):
        kind, *values = struct.unpack_from(">H6i", found[2000], begin)
        if kind == 0:
            pieces.append([])
        elif kind == 2:
            pieces[-1].append((values[1] / (1 << 24), values[0] / (1 << 24)))
    return pieces


@pytest.mark.parametrize("kind", [FileFormat.JPEG, FileFormat.TIFF])
def test_the_outline_is_written_as_a_clipping_path(tmp_path: Path, kind: FileFormat) -> None:
    picture = Image.new("L", SIZE, 0)
    picture.paste(255, BOX)
    picture.paste(0, (140, 100, 180, 140))
    picture.save(tmp_path / "m.png")
    path, made = make(
        tmp_path,
        source8(tmp_path / "a.jpg"),
        tmp_path / "m.png",
        format=kind,
        canvas=(240, 240),
        margin="60px",
        clipping_path=True,
    )
    assert made.remarks == ()
    with Image.open(path) as opened:
        if kind is FileFormat.JPEG:
            data = path.read_bytes()
            begin = data.index(b"Photoshop 3.0\0") + 14
            resources = data[begin : begin + 4000]
        else:
            resources = opened.tag_v2[34377]  # type: ignore[attr-defined]
    pieces = sorted(knots(resources), key=len)
    corners = sorted(
        (min(x for x, _ in one), min(y for _, y in one), max(x for x, _ in one), max(y for _, y in one))
        for one in pieces
    )
    assert corners[0] == pytest.approx((0.25, 0.25, 0.75, 0.75), abs=1 / 240)
    assert corners[1] == pytest.approx(
        ((60 + 40) / 240, (60 + 40) / 240, (60 + 80) / 240, (60 + 80) / 240), abs=1 / 240
    )
    assert sum(map(len, pieces)) <= 20


def test_an_outline_of_too_many_corners_is_no_path(tmp_path: Path) -> None:
    picture = Image.new("L", (1200, 900), 0)
    for column in range(0, 1180, 12):
        for row in range(0, 880, 24):
            picture.paste(255, (column, row, column + 8, row + 16))
    picture.save(tmp_path / "m.png")
    _, made = make(
        tmp_path,
        source8(tmp_path / "a.jpg", (1200, 900)),
        tmp_path / "m.png",
        format=FileFormat.JPEG,
        clipping_path=True,
    )
    assert made.remarks == ("no_clipping_path",)


# --- sources of other kinds, and sources that somebody has broken -------------------------------


@needs_exiftool
@pytest.mark.parametrize("kind", list(FileFormat))
def test_the_words_of_a_tiff_come_along(tmp_path: Path, kind: FileFormat) -> None:
    source = told(source16(tmp_path / "a.tif"))
    path, _ = make(tmp_path, source, mask(tmp_path / "m.png"), format=kind)
    found = said(path)
    assert (found["IFD0:Copyright"], found["IFD0:Artist"]) == ("(c) Studio", "Ada")
    assert found["XMP-dc:Description"] == "A red box"
    assert found["IFD0:XResolution"] == pytest.approx(300)
    if kind is FileFormat.TIFF:
        assert found["IPTC:Caption-Abstract"] == "A red box"


def test_an_untagged_picture_is_remarked_where_a_person_is_to_know(tmp_path: Path) -> None:
    _, made = make(tmp_path, source8(tmp_path / "a.jpg"), mask(tmp_path / "m.png"), assume="review")
    assert made.remarks == ("untagged",)
    _, made = make(tmp_path, source8(tmp_path / "a.jpg", icc_profile=SRGB), mask(tmp_path / "m.png"), assume="review")
    assert made.remarks == ()


def test_a_guided_alpha_keeps_solid_pixels_exact(tmp_path: Path) -> None:
    source = source16(tmp_path / "a.tif")
    small = tuple(one // 2 for one in BOX)
    mask(tmp_path / "m.png", (SIZE[0] // 2, SIZE[1] // 2), small)  # type: ignore[arg-type]
    path, _ = make(tmp_path, source, tmp_path / "m.png", format=FileFormat.TIFF, upsample=Upsample.GUIDED)
    ours, theirs = pyvips.Image.new_from_file(str(path)), pyvips.Image.new_from_file(str(source))
    window = (BOX[0] + 12, BOX[1] + 12, 90, 90)
    assert ours.extract_band(0, n=3).crop(*window).write_to_memory() == theirs.crop(*window).write_to_memory()


@pytest.mark.parametrize("ending", ["jpg", "png", "tif", "webp", "bmp"])
def test_a_source_with_wrong_bytes_is_made_or_refused_and_nothing_else(tmp_path: Path, ending: str) -> None:
    chance = random.Random(ending)
    Image.effect_noise((200, 150), 60).convert("RGB").save(tmp_path / f"a.{ending}")
    data = (tmp_path / f"a.{ending}").read_bytes()
    mask(tmp_path / "m.png", (200, 150))
    for _ in range(25):
        wrong = bytearray(data)
        for _ in range(chance.randrange(1, 6)):
            wrong[chance.randrange(min(len(wrong), 400 if chance.random() < 0.7 else len(wrong)))] = chance.randrange(
                256
            )
        (tmp_path / f"b.{ending}").write_bytes(wrong)
        with contextlib.suppress(NotRenderedError):
            make(tmp_path, tmp_path / f"b.{ending}", tmp_path / "m.png", format=FileFormat.JPEG, canvas=(90, 90))


@pytest.mark.parametrize(
    ("size", "crop", "scaled"),
    [
        ((320, 240), (0, 0, 320, 240), (160, 120)),
        ((1280, 960), (160, 80, 960, 640), (120, 80)),
        ((1280, 960), (160, 80, 960, 640), (720, 480)),
    ],
)
def test_an_alpha_lands_where_its_picture_does(
    size: tuple[int, int], crop: tuple[int, int, int, int], scaled: tuple[int, int]
) -> None:
    alpha = pyvips.Image.black(*SIZE).draw_rect(255, 100, 60, 160, 120, fill=True).cast("uchar")
    frame = Frame(canvas=scaled, crop=Box(*crop), scaled=scaled, at=(0, 0))
    made = framed(alpha, size, frame, "ushort")
    by = scaled[0] / crop[2]
    left, right = ((edge * size[0] / SIZE[0] - crop[0]) * by for edge in (100, 260))
    row = [made(x, scaled[1] // 2)[0] / 65535 for x in range(scaled[0])]
    assert [x for x in range(scaled[0]) if row[x] > 0.5] == list(range(round(left), round(right)))
    assert sum(row) == pytest.approx(right - left, abs=0.05)
