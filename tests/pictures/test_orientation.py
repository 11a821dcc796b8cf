"""What our reader says of a picture's orientation is what Pillow's ``exif_transpose`` does to the picture."""

import struct
import zlib

import PIL
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from rembg_watch.pictures.orientation import orientation
from tests.pictures.makers import (
    ORIENTATION,
    XMP_NAMESPACE,
    Entry,
    app1,
    chunk,
    extended_webp,
    hexadecimal,
    international,
    quarters,
    segment,
    tiff,
    with_chunks,
    with_segments,
    xmp,
)
from tests.pictures.places import APNG, EXIF, IS_NEW, JPEG, MPO, PLACES, PNG, PROFILE, SIZE, STRAIGHT, done, said

IS_OLD = int(PIL.__version__.partition(".")[0]) < 13


def agree(data: bytes) -> None:
    wanted = done(data)
    if wanted is None:
        event("Pillow refuses it")
        assert 1 <= said(data) <= 8
    elif IS_OLD and data.count(b"Exif\0\0") > 2:
        event("Pillow took any number of prefixes off then, and takes two off now")
        assert said(data) in (1, wanted)
    else:
        event(f"turned: {wanted != 1}")
        assert said(data) == wanted


@pytest.mark.parametrize("data", PLACES.values(), ids=PLACES.keys())
def test_the_orientation_is_found_wherever_it_stands(data: bytes) -> None:
    assert (said(data), done(data)) == (6, 6)


@pytest.mark.parametrize("data", STRAIGHT.values(), ids=STRAIGHT.keys())
def test_what_the_decoder_does_not_obey_turns_nothing(data: bytes) -> None:
    assert (said(data), done(data)) == (1, 1)


# --- any place, any form --------------------------------------------------------------------------

LAYOUTS = {3: "H", 4: "I", 5: "II", 6: "b", 8: "h", 9: "i", 10: "ii", 11: "f", 12: "d", 13: "I", 16: "Q"}
ORDERS = {b"II*\0": "<", b"II\0*": "<", b"MM\0*": ">", b"MM*\0": ">"}


@st.composite
def tags(draw: st.DrawFn, order: str) -> Entry:
    kind = draw(st.sampled_from([3, 3, 3, *LAYOUTS, 1, 2, 7, 14]))
    count = draw(st.sampled_from([1, 1, 1, 0, 2, 3]))
    value = draw(st.integers(0, 10))
    if kind in (5, 10):
        divisor = draw(st.integers(0, 3))
        one = struct.pack(order + LAYOUTS[kind], value * divisor, divisor)
    else:
        one = struct.pack(order + LAYOUTS[kind], value) if kind in LAYOUTS else bytes([value])
    return ORIENTATION, kind, count, one * count


@st.composite
def blocks(draw: st.DrawFn) -> bytes:
    """An EXIF block, as programs write it or as they should not."""
    mark = draw(st.sampled_from([*ORDERS, b"II*\0", b"MM\0*"]))
    order = ORDERS[mark]
    entries = draw(
        st.lists(st.sampled_from([(0x010E, 2, 9, b"An image\0"), (0x0100, 3, 1, b"\1\1"), (0x9999, 99, 1, b"")]))
    )
    entries = list({entry[0]: entry for entry in entries}.values())
    if draw(st.integers(0, 4)):
        entries.insert(draw(st.integers(0, len(entries))), draw(tags(order)))
    block = tiff(entries, order, mark, draw(st.sampled_from([8, 8, 10, 33])))
    damage = draw(st.sampled_from(["none"] * 8 + (["cut", "flipped"] if IS_NEW else ["cut"])))
    at = draw(st.integers(0, len(block) - 1))
    if damage == "cut":
        block = block[:at]
    elif damage == "flipped":
        block = block[:at] + bytes([draw(st.integers(0, 255))]) + block[at + 1 :]
    return draw(st.sampled_from([b"", EXIF, EXIF + EXIF] if IS_NEW else [b"", EXIF])) + block


packets = st.builds(
    xmp, st.integers(0, 9), st.sampled_from(["attribute", "element", "other quotes"]), st.sampled_from([0, 70_000])
)


@st.composite
def jpegs(draw: st.DrawFn) -> bytes:
    segments: list[bytes] = []
    for _ in range(draw(st.integers(0, 4))):
        match draw(st.sampled_from(["exif", "split", "xmp", "other"])):
            case "exif":
                segments.append(app1(EXIF + draw(blocks())))
            case "split":
                block = draw(blocks())
                cut = draw(st.integers(0, len(block)))
                segments += [app1(EXIF + block[:cut]), app1(EXIF + block[cut:])]
            case "xmp":
                segments.append(app1((XMP_NAMESPACE + draw(packets))[-65_000:]))
            case "other":
                segments.append(segment(draw(st.integers(0xE2, 0xEF)), b"x" * draw(st.sampled_from([0, 5, 65_000]))))
    return with_segments(draw(st.sampled_from([JPEG, JPEG, MPO])), segments)


@st.composite
def words(draw: st.DrawFn) -> bytes:
    """One chunk of a PNG that may say something of the orientation."""
    name = draw(st.sampled_from([b"eXIf", b"eXIf", b"tEXt", b"zTXt", b"iTXt", b"packed iTXt", b"tIME"]))
    if name == b"tIME":
        return chunk(b"tEXt", b"Comment\0" + b"x" * draw(st.sampled_from([0, 80_000])))
    if name == b"eXIf":
        return chunk(name, draw(blocks()))
    key = draw(
        st.sampled_from([PROFILE, PROFILE, b"Raw profile type APP1", b"XML:com.adobe.xmp", b"XML:com.adobe.xmp"])
    )
    text = draw(packets) if b"XML" in key else hexadecimal(b"exif", draw(blocks()))
    if draw(st.integers(0, 9)) == 0:
        text = draw(st.sampled_from([b"", b"\xff", b"\n\n\nzz"])) + text[draw(st.integers(0, 9)) :]
    match name:
        case b"tEXt":
            return chunk(name, key + b"\0" + text)
        case b"zTXt":
            return chunk(name, key + b"\0\0" + zlib.compress(text))
    return international(key, text, is_packed=name != b"iTXt")


@st.composite
def pngs(draw: st.DrawFn) -> bytes:
    base = draw(st.sampled_from([PNG, PNG, APNG]))
    return with_chunks(base, draw(st.lists(words(), max_size=2)), draw(st.lists(words(), max_size=2)))


@st.composite
def webps(draw: st.DrawFn) -> bytes:
    one = st.one_of(
        st.tuples(st.just(b"EXIF"), blocks()), st.tuples(st.just(b"XMP "), packets), st.just((b"ABCD", bytes(70_001)))
    )
    around = st.lists(one, max_size=2)
    return extended_webp(quarters(SIZE), draw(around), draw(around), draw(st.sampled_from([12, 12, 8, 4, 0])))


@pytest.mark.parametrize("made", [jpegs(), pngs(), webps()], ids=["JPEG", "PNG", "WebP"])
def test_our_reader_says_what_the_decoder_does(made: st.SearchStrategy[bytes]) -> None:
    @settings(max_examples=400)
    @given(made)
    def holds(data: bytes) -> None:
        agree(data)

    holds()


@pytest.mark.parametrize("place", ["JPEG", "MPO", "PNG", "WebP"])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", LAYOUTS)
def test_every_number_in_every_order_turns_as_the_decoder_turns(place: str, order: str, kind: int) -> None:
    for value in range(10):
        parts = (value, 1) if kind in (5, 10) else (value,)
        block = tiff([(ORIENTATION, kind, 1, struct.pack(order + LAYOUTS[kind], *parts))], order)
        data = {
            "JPEG": lambda block: with_segments(JPEG, [app1(EXIF + block)]),
            "MPO": lambda block: with_segments(MPO, [app1(EXIF + block)]),
            "PNG": lambda block: with_chunks(PNG, [chunk(b"eXIf", block)]),
            "WebP": lambda block: extended_webp(quarters(SIZE), behind=[(b"EXIF", block)]),
        }[place](block)
        assert said(data) == done(data) == (value if 1 <= value <= 8 else 1)


@given(st.binary(max_size=300), st.binary(max_size=100))
def test_any_block_gives_an_orientation(exif: bytes, packet: bytes) -> None:
    assert 1 <= orientation(exif, packet) <= 8
    assert 1 <= orientation(b"II*\0\x08\0\0\0" + exif, packet) <= 8


@pytest.mark.parametrize("parts", [(13, 2), (6, 0), (0, 0)])
def test_a_fraction_between_two_orientations_is_none(parts: tuple[int, int]) -> None:
    data = with_segments(JPEG, [app1(EXIF + tiff([(ORIENTATION, 5, 1, struct.pack("<II", *parts))]))])
    assert said(data) == done(data) == 1
