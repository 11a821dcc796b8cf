"""TIFF, Photoshop and HEIF files are known without decoding them: whole or not, how large, how turned."""

import io
import random
import struct
import time
from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from rembg_watch.pictures.carrying import parts_of, told_besides
from rembg_watch.pictures.formats import Kind, Look, ReadKind, finished, inspect, why_not_readable, why_not_sendable
from rembg_watch.pictures.reader import Reader
from rembg_watch.pictures.sending import Sends, way_of
from rembg_watch.pictures.structure import BLANK_END
from tests.pictures.documents import (
    ASCII,
    HEIFS,
    LONG,
    PSDS,
    SHORT,
    TIFFS,
    TiffShape,
    heic_of,
    planes_of,
    psd_of,
    resource,
    tiff_of,
    vips_of,
    vips_tiff,
)
from tests.pictures.makers import noise, saved

ALL = {**{f"TIFF, {k}": v for k, v in TIFFS.items()}, **{f"PSD, {k}": v for k, v in PSDS.items()}, **HEIFS}


def look(data: bytes) -> Look:
    return inspect(Reader.of(data), wants_orientation=True, reads_more=True)


def read_all(data: bytes) -> None:
    """Do what is done with a source of which a copy may be sent, whatever its bytes are."""
    found = look(data)
    why_not_readable(found)
    parts = parts_of(Reader.of(data), found.any_kind)
    way_of(found, parts, len(data), Sends(px=400))
    told_besides(parts, found)
    assert all(begin <= end <= len(data) for begin, end in parts.picture)
    assert all(end <= begin for (_, end), (begin, _) in pairwise(parts.picture))


def seen_sides(found: Look) -> tuple[int, int]:
    sides = (found.width_px, found.height_px)
    return sides[::-1] if found.orientation > 4 else sides


@pytest.mark.parametrize("make", ALL.values(), ids=ALL.keys())
def test_a_whole_one_is_whole_and_can_be_read(make: Callable[[], bytes]) -> None:
    data = make()
    found = look(data)
    assert (found.kind, found.is_whole, found.why, found.unfit) == (None, True, "", "")
    assert found.read_kind is not None
    assert why_not_readable(found) is None


@pytest.mark.parametrize("make", ALL.values(), ids=ALL.keys())
def test_one_that_is_cut_anywhere_is_not_whole(make: Callable[[], bytes]) -> None:
    data = make()
    lengths = {*range(1, len(data), max(1, len(data) // 151)), *range(1, 40), *range(len(data) - 12, len(data))}
    for length in lengths:
        assert not look(data[:length]).is_whole, f"cut at {length} of {len(data)}"


@pytest.mark.parametrize("make", ALL.values(), ids=ALL.keys())
def test_flipped_and_blanked_bytes_never_raise(make: Callable[[], bytes]) -> None:
    data, chance = make(), random.Random(4)
    for _ in range(400):
        broken = bytearray(data)
        for _ in range(chance.choice([1, 2, 8])):
            at = chance.randrange(len(broken) if chance.random() < 0.3 else min(len(broken), 600))
            broken[at] = chance.choice([0, 1, 0x7F, 0x80, 0xFF, broken[at] ^ 1 << chance.randrange(8)])
        read_all(bytes(broken))


@settings(max_examples=200)
@given(
    st.sampled_from([b"II*\0", b"MM\0*", b"II+\0", b"MM\0+", b"8BPS\0\1", b"8BPS\0\2", b"\0\0\0\x18ftypheic"]),
    st.binary(),
)
def test_anything_behind_a_beginning_never_raises(begin: bytes, rest: bytes) -> None:
    read_all(begin + rest)


@pytest.mark.parametrize("make", ALL.values(), ids=ALL.keys())
def test_in_a_plain_folder_it_is_what_it_was(make: Callable[[], bytes]) -> None:
    data = make()
    found = inspect(Reader.of(data), wants_orientation=True)
    assert (found.kind, found.read_kind, found.is_foreign) == (None, None, True)
    refusal = why_not_sendable(found, len(data))
    assert refusal is not None
    assert refusal.code == "wrong_type"


# --- TIFF -----------------------------------------------------------------------------------------

SHAPES = st.builds(
    TiffShape,
    order=st.sampled_from("<>"),
    is_big=st.booleans(),
    is_directory_first=st.booleans(),
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    bits=st.sampled_from([8, 16]),
    samples=st.sampled_from([1, 3, 4]),
    rows=st.integers(1, 50),
    orientation=st.integers(1, 8),
    more=st.sampled_from([(), ((270, ASCII, b"a caption\0"),), ((700, 1, b"<x:xmpmeta/>" * 9),)]),
    pages=st.integers(1, 3),
)


@settings(max_examples=150, deadline=None)
@given(SHAPES)
def test_a_tiff_is_read_as_libtiff_reads_it(shape: TiffShape) -> None:
    data = tiff_of(shape)
    found, decoded = look(data), vips_of(data)
    assert found.is_whole
    assert (found.read_kind, found.bits, found.pages) == (ReadKind.TIFF, shape.bits, shape.pages)
    assert (found.width_px, found.height_px) == (decoded.width, decoded.height) == shape.size
    assert found.orientation == decoded.get("orientation") == shape.orientation
    assert found.colours == {1: "GRAY", 3: "RGB", 4: "CMYK"}[shape.samples]
    decoded.avg()


@settings(max_examples=100)
@given(SHAPES, st.floats(0, 1))
def test_no_part_of_a_tiff_may_be_missing(shape: TiffShape, share: float) -> None:
    data = tiff_of(shape)
    cut = data[: int((len(data) - 2) * share)]
    assert not look(cut).is_whole


@pytest.mark.parametrize("value", range(1, 9))
def test_the_orientation_of_a_tiff_is_pillows(value: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = value
    data = saved(noise((24, 16)), "TIFF", exif=exif)
    assert look(data).orientation == value
    assert seen_sides(look(data)) == ImageOps.exif_transpose(Image.open(io.BytesIO(data))).size


def test_further_pages_are_counted_and_previews_are_none() -> None:
    assert look(TIFFS["by Pillow, several pages"]()).pages == 3
    assert look(TIFFS["in tiles, with smaller ones"]()).pages == 1


@pytest.mark.parametrize("is_first", [True, False])
def test_a_tiff_whose_end_was_not_copied_yet_is_blank(is_first: bool) -> None:
    shape = TiffShape(size=(60, 60), is_directory_first=is_first)
    data = tiff_of(shape)
    blank = data[: len(data) * 2 // 3].ljust(len(data), b"\0")
    assert not look(blank).is_whole


def test_a_black_edge_leaves_a_tiff_doubtful_and_not_hopeless() -> None:
    shape = TiffShape(size=(60, 60), is_directory_first=True)
    pixels = shape.pixels()
    found = look(tiff_of(shape, pixels[: len(pixels) // 2].ljust(len(pixels), b"\0")))
    assert (found.is_whole, found.why, found.is_hopeless) == (False, BLANK_END, False)


def test_numbers_that_a_tiff_states_allocate_nothing() -> None:
    data = bytearray(tiff_of(TiffShape(more=((700, 1, b"x" * 40),), is_directory_first=True)))
    at = data.index((700).to_bytes(2, "little"))
    data[at + 4 : at + 8] = b"\xff\xff\xff\xff"
    assert not look(bytes(data)).is_whole


RAWS = {
    "a DNG raw picture": ((50706, 1, b"\1\4\0\0"), (271, ASCII, b"Apple\0")),
    "a camera raw picture": ((33422, 1, b"\0\1\1\2"),),
    "a Nikon raw picture": ((254, LONG, [1]), (271, ASCII, b"NIKON CORPORATION\0"), (330, LONG, [8])),
    "a Sony raw picture": ((254, LONG, [1]), (271, ASCII, b"SONY\0"), (330, LONG, [8])),
}


@pytest.mark.parametrize(("name", "more"), RAWS.items())
def test_a_camera_raw_is_never_taken_for_a_tiff(name: str, more: tuple[tuple[int, int, bytes], ...]) -> None:
    found = look(tiff_of(TiffShape(more=more)))
    assert (found.any_kind, found.name, found.is_foreign) == (None, name, True)
    refusal = why_not_readable(found)
    assert refusal is not None
    assert (refusal.code, "develop" in refusal.reason, name in refusal.reason) == ("wrong_type", True, True)


@pytest.mark.parametrize("tag", ["photometric", "compression"])
@pytest.mark.parametrize("order", "<>")
def test_a_mosaic_is_told_by_its_tag_alone(order: str, tag: str) -> None:
    data = bytearray(tiff_of(TiffShape(samples=1, bits=16, order=order, is_directory_first=True)))
    number, value = {"photometric": (262, 32803), "compression": (259, 34713)}[tag]
    order_name = "little" if order == "<" else "big"
    at = data.index(number.to_bytes(2, order_name) + SHORT.to_bytes(2, order_name))
    data[at + 8 : at + 10] = value.to_bytes(2, order_name)
    assert look(bytes(data)).is_foreign


@pytest.mark.parametrize(
    ("begin", "name"),
    [
        (b"II*\0\x10\0\0\0CR\2\0", "a Canon raw picture"),
        (b"II*\0\x08\0\0\0IIII\0waR", "a Phase One raw picture"),
        (b"MM\0*\0\0\0\x08MMMMRaw\0", "a Phase One raw picture"),
    ],
)
def test_the_marks_of_makers_tell_their_raws(begin: bytes, name: str) -> None:
    assert look(begin + bytes(200)).name == name


@pytest.mark.parametrize("pixel", [b"CR\2\0CR\2\0", b"IIIIIIII", b"MMMMMMMM"])
def test_pixels_that_look_like_a_mark_are_none(pixel: bytes) -> None:
    shape = TiffShape(samples=1)
    assert look(tiff_of(shape, pixel + shape.pixels()[8:])).read_kind is ReadKind.TIFF


def test_a_photograph_of_a_camera_that_was_exported_as_tiff_is_no_raw() -> None:
    found = look(tiff_of(TiffShape(more=((271, ASCII, b"NIKON CORPORATION\0"), (272, ASCII, b"NIKON D850\0")))))
    assert (found.read_kind, found.is_whole) == (ReadKind.TIFF, True)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ((258, 12), "it has 12 bits for each sample"),
        ((258, 64), "it has 64 bits for each sample"),
        ((339, 2), "signed or complex numbers"),
        ((262, None), "does not say what its samples mean"),
    ],
)
def test_a_tiff_of_odd_numbers_says_so_and_what_to_do(change: tuple[int, int | None], words: str) -> None:
    shape = TiffShape(samples=1, is_directory_first=True, more=((339, SHORT, [1]),))
    data, (tag, value) = bytearray(tiff_of(shape)), change
    at = data.index(struct.pack("<HHI", tag, SHORT, 1))
    data[at : at + 2] = struct.pack("<H", 60000 if value is None else tag)
    data[at + 8 : at + 10] = struct.pack("<H", 8 if value is None else value)
    refusal = why_not_readable(finished(look(bytes(data))))
    assert refusal is not None
    assert refusal.code == "unfit"
    assert words in refusal.reason
    assert "export it" in refusal.reason


def test_colours_of_few_bits_are_refused_and_grays_are_not() -> None:
    gray, colours = (tiff_of(TiffShape(samples=samples, is_directory_first=True)) for samples in (1, 3))
    at = gray.index(struct.pack("<HHI", 258, SHORT, 1)) + 8
    assert why_not_readable(finished(look(gray[:at] + struct.pack("<H", 4) + gray[at + 2 :]))) is None
    eights = struct.pack("<3H", 8, 8, 8)
    assert colours.count(eights) == 1
    refusal = why_not_readable(finished(look(colours.replace(eights, struct.pack("<3H", 4, 4, 4)))))
    assert refusal is not None
    assert "it has 4 bits for each sample" in refusal.reason


# --- Photoshop ------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(
    size=st.tuples(st.integers(1, 300), st.integers(1, 40)),
    is_big=st.booleans(),
    is_packed=st.booleans(),
    bits=st.sampled_from([8, 16]),
    channels=st.integers(3, 5),
    layers=st.binary(max_size=300),
    share=st.floats(0, 1),
)
def test_a_photoshop_document_is_whole_when_its_composite_is(
    size: tuple[int, int], is_big: bool, is_packed: bool, bits: int, channels: int, layers: bytes, share: float
) -> None:
    data = psd_of(
        planes_of(size, channels, bits), size, bits=bits, is_big=is_big, is_packed=is_packed, layers=layers + b"!"
    )
    found = look(data)
    assert found.is_whole or found.why == BLANK_END
    assert (found.read_kind, found.width_px, found.height_px, found.bits, found.colours) == (
        ReadKind.PSB if is_big else ReadKind.PSD,
        *size,
        bits,
        "RGB",
    )
    assert not look(data[: int((len(data) - 1) * share)]).is_whole


def test_pillow_sees_the_same_document() -> None:
    with Image.open(io.BytesIO(PSDS["packed"]())) as picture:
        assert picture.tobytes() == noise(picture.size).tobytes()


def test_a_document_without_a_composite_says_what_to_do() -> None:
    data = psd_of(planes_of((8, 8)), (8, 8), resources=resource(1057, b"\0\0\0\1\0" + bytes(10)))
    refusal = why_not_readable(look(data))
    assert refusal is not None
    assert refusal.code == "unfit"
    assert "Maximize Compatibility" in refusal.reason


def test_multichannel_says_what_to_do() -> None:
    refusal = why_not_readable(look(psd_of(planes_of((8, 8)), (8, 8), mode=7)))
    assert refusal is not None
    assert "convert it to RGB" in refusal.reason


# --- HEIF -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(64, 48), (65, 49), (600, 10)])
def test_the_sides_of_a_heic_are_those_that_its_decoder_gives(size: tuple[int, int]) -> None:
    heif = pytest.importorskip("pillow_heif", reason="needs rembg-watch[heif]")
    data = heic_of(size)
    assert look(data).read_kind is ReadKind.HEIC
    assert seen_sides(look(data)) == heif.open_heif(io.BytesIO(data)).size == size


@pytest.mark.parametrize("value", range(1, 9))
def test_a_turned_avif_says_so(value: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = value
    out = io.BytesIO()
    noise((64, 48)).save(out, "AVIF", exif=exif)
    found, decoded = look(out.getvalue()), vips_of(out.getvalue())
    assert found.orientation == value
    assert seen_sides(found) == (decoded.width, decoded.height)


def test_a_film_and_a_canon_raw_are_no_heif() -> None:
    for brand in (b"mp42", b"qt  ", b"crx "):
        data = (24).to_bytes(4, "big") + b"ftyp" + brand + bytes(4) + b"isommif1" + bytes(100)
        assert look(data).read_kind is None


def test_compressed_tiffs_end_blank_only_if_they_were_not_copied() -> None:
    data = vips_tiff(compression="deflate", size=(300, 200))
    half = data[: len(data) // 2].ljust(len(data), b"\0")
    assert not look(half).is_whole


# --- JPEG -----------------------------------------------------------------------------------------


def test_a_jpeg_of_twelve_bits_says_what_to_do() -> None:
    data = bytearray(saved(noise(), "JPEG"))
    data[data.index(b"\xff\xc0") + 4] = 12
    found = look(bytes(data))
    assert (found.kind, found.bits, why_not_sendable(found, 1000)) == (Kind.JPEG, 12, None), "the service has its say"
    refusal = why_not_readable(found)
    assert refusal is not None
    assert (refusal.code, "export it with 8 bits" in refusal.reason) == ("unfit", True)


# --- files that are made to take long -------------------------------------------------------------


def linked(count: int) -> bytes:
    """So many directories in a row, each of which points to a hundred others; all of them are the same bytes."""
    size = 2 + 12 * 3 + 4
    subs = struct.pack("<100I", *([8] * 100))
    out = b"II*\0" + struct.pack("<I", 8)
    for number in range(count):
        following = 8 + (number + 1) * size
        lines = (
            struct.pack("<HHII", 256, LONG, 1, 100_000)
            + struct.pack("<HHII", 257, LONG, 1, 4_000_000_000)
            + struct.pack("<HHII", 330, LONG, 100, 8 + count * size)
        )
        out += struct.pack("<H", 3) + lines + struct.pack("<I", following if number < count - 1 else 0)
    return out + subs


def wide_directory() -> bytes:
    """A directory of very many fields whose values are all the same megabytes."""
    fields = b"".join(struct.pack("<HHII", 10_000 + number, 1, 3_000_000, 8) for number in range(9000))
    return b"II*\0" + struct.pack("<IH", 8, 9000) + fields + bytes(4) + bytes(3_000_000)


def endless_extents() -> bytes:
    """A list of places that take no bytes."""
    iloc = struct.pack(">IHH", 0, 0, 60_000) + struct.pack(">HHH", 1, 0, 60_000) * 60_000

    def box(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I4s", 8 + len(content), name) + content

    meta = box(b"meta", bytes(4) + box(b"pitm", bytes(4) + b"\0\1") + box(b"iloc", iloc))
    return box(b"ftyp", b"heic" + bytes(4) + b"mif1heic") + meta + box(b"mdat", b"x" * 100)


def many_strips() -> bytes:
    shape = TiffShape(samples=1, is_directory_first=True)
    data = bytearray(tiff_of(shape))
    for tag, count, value in ((257, 1, 4_000_000_000), (278, 1, 1), (273, 2_000_000, 8), (279, 2_000_000, 8)):
        at = data.index(struct.pack("<H", tag), 8)
        data[at : at + 12] = struct.pack("<HHII", tag, LONG, count, value)
    return bytes(data).ljust(8_100_000, b"\1")


@pytest.mark.parametrize("make", [lambda: linked(2000), wide_directory, endless_extents, many_strips])
def test_a_file_that_is_made_to_take_long_does_not(make: Callable[[], bytes]) -> None:
    data, begun = make(), time.process_time()
    found = look(data)
    parts_of(Reader.of(data), found.any_kind or ReadKind.TIFF)
    assert time.process_time() - begun < 3
