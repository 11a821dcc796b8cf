"""A picture is whole when all that a decoder needs is there, whatever stands behind it, before it or beside it."""

import io
import struct
import time
import zlib
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from rembg_watch.pictures.formats import Look, inspect
from rembg_watch.pictures.reader import Reader
from tests.pictures.makers import (
    app1,
    chunk,
    extended_webp,
    mpo,
    noise,
    quarters,
    riff,
    saved,
    segment,
    turned,
    with_chunks,
    with_segments,
)


def look(data: bytes, *, wants_orientation: bool = False) -> Look:
    return inspect(Reader.of(data), wants_orientation=wants_orientation)


def is_whole(data: bytes) -> bool:
    """Ask both ways: as the watch does, and as whoever sends it does."""
    quick, thorough = look(data).is_whole, look(data, wants_orientation=True).is_whole
    assert quick is thorough
    return quick


def decodes(data: bytes) -> bool:
    try:
        with Image.open(io.BytesIO(data)) as picture:
            picture.load()
    except (OSError, SyntaxError, ValueError, EOFError):
        return False
    return True


JPEG, PNG, WEBP, BMP = (saved(noise(), name) for name in ("JPEG", "PNG", "WEBP", "BMP"))
PICTURES = {
    "JPEG": JPEG,
    "progressive JPEG": saved(noise((200, 150)), "JPEG", progressive=True),
    "JPEG with places to start again": saved(noise((200, 150)), "JPEG", restart_marker_blocks=2),
    "PNG": PNG,
    "PNG in many chunks": with_chunks(PNG, [chunk(b"IDAT")] * 3, [chunk(b"IDAT")] * 3),
    "animated PNG": saved(quarters(), "PNG", save_all=True, append_images=[noise()]),
    "WebP": WEBP,
    "lossless WebP": saved(noise(), "WEBP", lossless=True),
    "WebP with metadata": extended_webp(noise(), behind=[(b"EXIF", turned(6)), (b"XMP ", b"<x/>")]),
    "animated WebP": saved(quarters(), "WEBP", save_all=True, append_images=[noise()], lossless=True),
    "BMP": BMP,
    "BMP with palette": saved(noise(mode="P"), "BMP"),
}
TRAILERS = {
    "nothing": b"",
    "a note": b"appended by a camera",
    "a film": b"\0\0\0\x18ftypmp42" + bytes(range(200)) * 1000,
    "padding": bytes(100_000),
    "white padding": b"\xff" * 100_000,
    "text": b"<notes>" * 30_000,
    "Samsung's": b"\0\0\x01\x0a\x0e\0\0\0Image_UTC_Data17SEFHk\0\0\0\1\0\0\0\0\0\1\x0a\x24\0\0\0\x18\0\0\0SEFT",
    "another JPEG": JPEG,
    "half a JPEG": JPEG[: len(JPEG) // 2],
    "another PNG": PNG,
    "the rest of a larger picture": PNG[60:],
}


@pytest.mark.parametrize("data", PICTURES.values(), ids=PICTURES.keys())
@pytest.mark.parametrize("trailer", TRAILERS.values(), ids=TRAILERS.keys())
def test_what_stands_behind_a_picture_does_no_harm(data: bytes, trailer: bytes) -> None:
    assert decodes(data + trailer)
    assert is_whole(data + trailer)


@pytest.mark.parametrize("data", PICTURES.values(), ids=PICTURES.keys())
def test_a_picture_of_which_something_is_missing_is_not_whole(data: bytes) -> None:
    for length in [*range(1, len(data), max(1, len(data) // 97)), *range(len(data) - 4, len(data))]:
        assert not is_whole(data[:length]), f"cut at {length} of {len(data)}"


@settings(max_examples=300)
@given(st.sampled_from([JPEG, PNG, WEBP, BMP]), st.binary(max_size=200), st.integers(0, 100_000), st.floats(0, 1))
def test_any_trailer_behind_any_part(data: bytes, trailer: bytes, repeated: int, share: float) -> None:
    long = (trailer * (1 + repeated // (1 + len(trailer))))[:100_000]
    assert is_whole(data + long)
    if data in (JPEG, PNG) and b"\xff\xd9" not in long:  # the others have no end of their own
        assert not is_whole(data[: int((len(data) - 5) * share)] + long), "but for the checksum of the end"


# --- JPEG -----------------------------------------------------------------------------------------


def test_the_end_of_a_preview_in_the_header_is_not_the_end_of_the_picture() -> None:
    data, preview = saved(noise((600, 400)), "JPEG"), saved(noise((160, 90)), "JPEG")
    assert len(preview) < 60_000
    with_preview = with_segments(data, [segment(0xED, preview)])
    assert is_whole(with_preview)
    assert not is_whole(with_preview[: len(preview) + 200])
    assert not is_whole(with_preview[: len(preview) + 2000])
    assert not is_whole(with_preview[: len(preview) + 2000] + b"notes" * 30_000)


@pytest.mark.parametrize("count", [3, 70, 700])
def test_megabytes_of_metadata_before_a_jpeg_are_passed_over(count: int) -> None:
    data = with_segments(JPEG, [app1(b"http://ns.adobe.com/xmp/extension/\0" + b"\xff\xd9y" * 21_000)] * count)
    reads: list[int] = []

    def pread(size: int, at: int) -> bytes:
        reads.append(size)
        return data[at : at + size]

    found = inspect(Reader(pread, len(data)), wants_orientation=True)
    assert (found.width_px, found.height_px, found.is_whole) == (64, 48, True)
    assert sum(reads) < 200_000 + count * 5000


def test_an_mpo_waits_for_a_picture_that_has_begun() -> None:
    data = mpo()
    first_end = data.index(b"\xff\xd9\xff\xd8") + 2
    assert is_whole(data)
    for length in (len(data) - 1, len(data) - 1000, first_end + 2):
        assert not is_whole(data[:length])


def test_a_list_that_points_to_nothing_is_no_reason_to_wait() -> None:
    """Programs that save a picture anew keep the list and drop the other pictures."""
    data = mpo()
    alone = data[: data.index(b"\xff\xd9\xff\xd8") + 2]
    for trailer in TRAILERS.values():
        assert is_whole(alone + trailer[:60_000]) or trailer.startswith(b"\xff\xd8")


def test_a_further_picture_whose_space_was_reserved_is_waited_for() -> None:
    data = mpo()
    begun = data[: data.index(b"\xff\xd9\xff\xd8") + 5000]
    assert not is_whole(begun + bytes(len(data) - len(begun)))


def test_a_panorama_without_an_end_mark_ends_by_its_trailer() -> None:
    trailer = TRAILERS["Samsung's"]
    assert is_whole(JPEG[:-2] + trailer)
    assert not is_whole(JPEG[:-2] + trailer[:-1])
    assert not is_whole(JPEG[:200] + trailer), "not even its header is there"


def test_a_mark_within_a_table_between_two_scans_is_not_the_end() -> None:
    data = saved(noise((200, 150)), "JPEG", progressive=True)
    second = data.index(b"\xff\xda", data.index(b"\xff\xda") + 2)
    with_note = data[:second] + segment(0xFE, b"\xff\xd9" * 50) + data[second : second + 500] + b"." * 70_000
    assert not is_whole(with_note)


# --- PNG ------------------------------------------------------------------------------------------


def test_the_checksum_of_the_end_does_not_matter() -> None:
    for crc in (0, 0xFFFFFFFF):
        data = PNG[:-12] + chunk(b"IEND", crc=crc)
        assert decodes(data)
        assert is_whole(data)
        assert is_whole(data + bytes(70_000))


def test_megabytes_of_text_in_a_png_are_passed_over() -> None:
    text = chunk(b"tEXt", b"Comment\0" + b"\0\0\0\0IEND\xaeB`\x82" * 400_000)
    assert is_whole(with_chunks(PNG, [text], [text]) + bytes(70_000))
    assert not is_whole(with_chunks(PNG, [text])[:-40])


def test_a_png_without_a_picture_is_none() -> None:
    empty = PNG[: PNG.index(b"IDAT") - 4] + chunk(b"IEND")
    assert look(empty).why == "there is no picture in it"


# --- BMP ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stated", [0, 1, len(BMP) + 2, len(BMP) + 1000, 2**32 - 1])
def test_a_bmp_is_judged_by_its_sides_whatever_length_it_states(stated: int) -> None:
    data = BMP[:2] + struct.pack("<I", stated) + BMP[6:]
    assert is_whole(data)
    assert not is_whole(data[:-1])


def bitfields(size: tuple[int, int], stated_too_long: int = 0) -> bytes:
    """A BMP of the fifth version, as editors write it for 16-bit colours."""
    rows = noise((size[0] * 2, size[1]), "L").tobytes()
    header = struct.pack("<IiiHHIIiiII4I", 124, *size, 1, 16, 3, len(rows), 0, 0, 0, 0, 0xF800, 0x7E0, 0x1F, 0)
    header = header.ljust(124, b"\0")
    return struct.pack("<2sIII", b"BM", 14 + 124 + len(rows) + stated_too_long, 0, 14 + 124) + header + rows


@pytest.mark.parametrize("too_long", [0, 2, 3, 500])
def test_a_bmp_with_fields_of_bits_is_judged_by_its_sides_too(too_long: int) -> None:
    data = bitfields((40, 30), too_long)
    assert decodes(data)
    assert is_whole(data)
    assert not is_whole(data[:-2])


def runs(rows: int, stated_too_long: int = 0) -> bytes:
    """A BMP whose rows are runs of one colour."""
    data = bytes([64, 7, 0, 0]) * rows + b"\0\1"
    header = struct.pack("<IiiHHIIiiII", 40, 64, rows, 1, 8, 1, len(data) + stated_too_long, 0, 0, 256, 0)
    palette = bytes(range(256)) * 4
    begin = 14 + len(header) + len(palette)
    return struct.pack("<2sIII", b"BM", begin + len(data) + stated_too_long, 0, begin) + header + palette + data


def test_runs_end_by_their_mark_where_the_stated_length_is_a_little_wrong() -> None:
    for too_long in (0, 2, 5):
        assert decodes(runs(48, too_long))
        assert is_whole(runs(48, too_long))
    assert not is_whole(runs(48)[:-20])
    assert not is_whole(runs(48, 4000))


def test_a_bmp_that_stands_on_its_head_has_positive_sides() -> None:
    assert look(BMP[:22] + struct.pack("<i", -48) + BMP[26:]).height_px == 48


def test_a_negative_width_is_a_broken_header() -> None:
    assert look(BMP[:18] + struct.pack("<i", -64) + BMP[22:]).width_px == 0


# --- space that was reserved ----------------------------------------------------------------------

LARGE = {
    "JPEG": saved(noise((900, 700)), "JPEG"),
    "PNG": saved(noise((400, 300)), "PNG"),
    "small WebP": saved(noise((200, 150)), "WEBP"),
    "large WebP": saved(noise((900, 700)), "WEBP", lossless=True),
    "BMP": saved(noise((400, 300)), "BMP"),
    "16-bit BMP": bitfields((400, 300)),
    "JPEG with a preview": with_segments(saved(noise((900, 700)), "JPEG"), [segment(0xED, JPEG)]),
}


@pytest.mark.parametrize("share", [0.1, 0.5, 0.89, 0.93, 0.98])
@pytest.mark.parametrize("data", LARGE.values(), ids=LARGE.keys())
def test_space_that_was_reserved_and_not_filled_is_no_whole_picture(data: bytes, share: float) -> None:
    begun = int(len(data) * share)
    found = look(data[:begun] + bytes(len(data) - begun))
    assert (found.is_whole, found.why[:16]) in {(False, "its end is blank"), (False, "its end is missi")}


def test_tiny_pictures_of_one_colour_are_whole() -> None:
    for name in ("WEBP", "PNG", "JPEG"):
        for options in ({}, {"lossless": True}) if name == "WEBP" else ({},):
            for size in ((1, 1), (3, 2), (500, 400), (2000, 1500)):
                for colour in ("black", "white", "red"):
                    assert is_whole(saved(Image.new("RGB", size, colour), name, **options)), (name, size, colour)


def test_a_png_whose_space_was_reserved_is_not_for_a_decoder_to_judge() -> None:
    flat = saved(Image.new("RGB", (300, 200), "white"), "PNG")
    for data in (flat, LARGE["PNG"], saved(Image.radial_gradient("L"), "PNG")):
        for percent in range(10, 98):
            begun = len(data) * percent // 100
            if len(data) - begun >= 20:
                assert look(data[:begun] + bytes(len(data) - begun)).is_hopeless, percent


def test_a_webp_whose_metadata_were_not_written_yet_is_waited_for() -> None:
    data = extended_webp(noise(), behind=[(b"EXIF", turned(6))])
    begun = data.index(b"EXIF")
    assert not is_whole(data[:begun] + bytes(len(data) - begun))
    assert is_whole(extended_webp(noise(), behind=[(b"EXIF", turned(6) + bytes(100))]))


def test_a_bmp_with_black_corners_is_whole_and_one_with_black_rows_waits() -> None:
    picture = noise((400, 300))
    picture.paste("black", (200, 0, 400, 40))
    assert is_whole(saved(picture, "BMP"))
    picture.paste("black", (0, 0, 400, 4))
    found = look(saved(picture, "BMP"))
    assert (found.is_whole, found.is_all_there, found.is_hopeless) == (False, True, False)


# --- nobody makes us work for ever ----------------------------------------------------------------

MANY = 12_000_000
HOSTILE: dict[str, Callable[[], bytes]] = {
    "JPEG, segments of nothing": lambda: b"\xff\xd8" + b"\xff\xe1\0\2" * (MANY // 4),
    "JPEG, junk in the header": lambda: b"\xff\xd8\xff\xe0\0\2" + b"\xff\0" * (MANY // 2),
    "JPEG, marks in the data": lambda: JPEG[:-2] + b"\xff\x02ab" * (MANY // 4),
    "JPEG, places to start again": lambda: JPEG[:-2] + b"\xff\xd0" * (MANY // 2),
    "JPEG, EXIF without end": lambda: with_segments(JPEG, [app1(b"Exif\0\0" + turned(6))] * (MANY // 40)),
    "JPEG, full directory": lambda: with_segments(
        JPEG, [app1(b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + struct.pack("<HHII", 1, 2, 2**31, 9) * 5000)] * 180
    ),
    "MPO, a list of blanks": lambda: (
        with_segments(
            JPEG,
            [
                segment(
                    0xE2,
                    b"MPF\0II*\0\x08\0\0\0\1\0"
                    + struct.pack("<HHII", 0xB002, 7, 2**20, 26)
                    + bytes(4)
                    + struct.pack("<IIII", 0, 11_000_000, 60_000, 0) * 3000,
                )
            ],
        )
        + JPEG
        + bytes(MANY)
    ),
    "PNG, chunks of nothing": lambda: PNG[:33] + chunk(b"IDAT") * (MANY // 12),
    "PNG, a chunk without end": lambda: PNG[:33] + struct.pack(">I4s", 2**32 - 1, b"eXIf") + bytes(MANY),
    "PNG, texts that swell": lambda: with_chunks(
        PNG, [chunk(b"zTXt", b"Raw profile type exif\0\0" + b"x\x9c" + _bomb())] * 10_000
    ),
    "WebP, chunks of nothing": lambda: riff([(b"ABCD", b"")] * (MANY // 8)),
    "WebP, nothing but zeros": lambda: riff([(b"VP8 ", bytes(MANY))]),
    "BMP, as large as numbers get": lambda: struct.pack(
        "<2sIIIIiiHHII", b"BM", 0, 0, 54, 40, 2**31 - 1, -(2**31), 1, 32, 0, 0
    ),
}


def _bomb() -> bytes:
    packer = zlib.compressobj(9)
    return (packer.compress(bytes(1 << 20)) + packer.flush())[2:]


@pytest.mark.parametrize("make", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_file_takes_no_more_than_a_moment(make: Callable[[], bytes]) -> None:
    data = make()
    began_s = time.process_time()
    found = look(data, wants_orientation=True)
    assert time.process_time() - began_s < 3, "a few tenths of a second, on a machine at rest"
    assert 1 <= found.orientation <= 8
