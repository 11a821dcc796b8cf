"""What a source says comes into its cut-out, whatever the two formats are, and no pixel of either changes."""

import io
import shutil
import subprocess
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageCms, IptcImagePlugin

from rembg_watch.pictures.carrying import HOLDS_METADATA, cuts_for, cuts_without_words, parts_of, told_besides
from rembg_watch.pictures.formats import Kind, inspect
from rembg_watch.pictures.metadata import Cut, Keep, Metadata, Parts
from rembg_watch.pictures.reader import Reader
from tests.pictures.makers import chunk, international, noise, saved, segment, with_chunks

_MADE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
SRGB = _MADE[:24] + bytes(12) + _MADE[36:]  # without the moment at which it was made
GRAY_PROFILE = SRGB[:16] + b"GRAY" + SRGB[20:]
CMYK_PROFILE = SRGB[:16] + b"CMYK" + SRGB[20:]

PACKET = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:e="http://ns.adobe.com/exif/1.0/"
  xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/" xmlns:tiff="http://ns.adobe.com/tiff/1.0/"
  xmlns:drone="http://www.dji.com/drone-dji/1.0/" drone:GpsLatitude="+52.5" tiff:Orientation="6"
  photoshop:City='Berlin' e:GPSLatitude="52,30.0N" photoshop:Headline="A &quot;chair&quot; &gt; 1">
 <dc:creator><rdf:Seq><rdf:li>Anna B</rdf:li><rdf:li>Bo &amp; Co</rdf:li></rdf:Seq></dc:creator>
 <dc:rights><rdf:Alt><rdf:li xml:lang="x-default">© Anna</rdf:li></rdf:Alt></dc:rights>
 <e:GPSLongitude>13,24.0E</e:GPSLongitude><photoshop:Country/>
 <photoshop:State></photoshop:State><dc:description><rdf:Alt><rdf:li xml:lang="x-default">Stuhl</rdf:li></rdf:Alt>
 </dc:description></rdf:Description></rdf:RDF></x:xmpmeta>
<?xpacket end="w"?>""".encode()


def exif_of(**more: object) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = more.get("orientation", 6)
    exif[0x010E], exif[0x013B], exif[0x8298] = "Stuhl", "Anna B", "(c) Anna"
    exif.get_ifd(0x8825).update({1: "N", 2: (52.0, 30.0, 0.0), 3: "E", 4: (13.0, 24.0, 0.0)})
    exif.get_ifd(0x8769).update({0xA002: 9000, 0xA003: 6000, 0xA434: "Lens 1", 0xA001: 1})
    return exif.tobytes()


def record(number: int, value: bytes) -> bytes:
    return b"\x1c\x02" + bytes((number,)) + len(value).to_bytes(2, "big") + value


IPTC = record(120, b"Stuhl") + record(116, b"(c) Anna") + record(90, b"Berlin") + record(80, b"Anna B")


def photoshop(iptc: bytes) -> bytes:
    path = b"8BIM\x07\xd0\x00\x00" + (4).to_bytes(4, "big") + b"path"
    return (
        b"Photoshop 3.0\0"
        + path
        + b"8BIM\x04\x04\x00\x00"
        + len(iptc).to_bytes(4, "big")
        + iptc
        + b"\0" * (len(iptc) % 2)
    )


def source_of(kind: Kind) -> bytes:
    """A picture that says all that its format can say."""
    picture, exif = noise((60, 40)), exif_of()
    match kind:
        case Kind.JPEG:
            made = saved(picture, "JPEG", exif=exif, icc_profile=SRGB, dpi=(300, 300), xmp=PACKET)
            return made[:20] + segment(0xED, photoshop(IPTC)) + made[20:]
        case Kind.PNG:
            made = saved(picture, "PNG", exif=exif, icc_profile=SRGB, dpi=(300, 300))
            return with_chunks(made, [international(b"XML:com.adobe.xmp", PACKET)])
        case _:
            return saved(picture, "WEBP", exif=exif, icc_profile=SRGB, xmp=PACKET, lossless=True)


def clear(picture: Image.Image) -> Image.Image:
    with_alpha = picture.convert("RGBA")
    with_alpha.putalpha(Image.linear_gradient("L").resize(picture.size))
    return with_alpha


ANSWERS = {
    "png": saved(clear(noise((30, 20))), "PNG"),
    "gray png": saved(noise((30, 20), "L"), "PNG"),
    "jpeg": saved(noise((30, 20)), "JPEG"),
    "lossy webp": saved(noise((30, 20)), "WEBP", quality=60),
    "lossy webp with alpha": saved(clear(noise((30, 20))), "WEBP", quality=60),
    "lossless webp": saved(clear(noise((31, 20))), "WEBP", lossless=True),
    "extended webp": saved(clear(noise((31, 20))), "WEBP", lossless=True, xmp=b"<x:xmpmeta xmlns:x='adobe:ns:meta/'/>"),
}


def metadata_of(data: bytes) -> Metadata:
    return parts(data).metadata


def parts(data: bytes) -> Parts:
    return parts_of(Reader.of(data), inspect(Reader.of(data)).kind)


def applied(data: bytes, cuts: list[Cut]) -> bytes:
    out, at = b"", 0
    for cut in cuts:
        assert cut.at >= at
        out, at = out + data[at : cut.at] + cut.instead, cut.until
    return out + data[at:]


def carried(answer: bytes, metadata: Metadata, keep: Keep = Keep.ALL) -> bytes:
    return applied(answer, cuts_for(Reader.of(answer), metadata, keep))


def pixels(data: bytes) -> tuple[str, bytes]:
    with Image.open(io.BytesIO(data)) as picture:
        picture.load()
        return picture.mode, picture.tobytes()


def is_same_picture(one: bytes, other: bytes) -> bool:
    return picture_digest(one) == picture_digest(other)


def picture_digest(data: bytes) -> str:
    look, found = inspect(Reader.of(data), wants_orientation=True), parts(data)
    return sha256(b"".join(data[a:b] for a, b in found.picture) + told_besides(found, look)).hexdigest()


@pytest.mark.parametrize("kind", sorted(HOLDS_METADATA))
def test_all_that_a_source_says_is_read(kind: Kind) -> None:
    found = metadata_of(source_of(kind))
    assert found.profile == SRGB
    assert b"Anna B" in found.exif
    assert found.xmp == PACKET
    assert found.iptc == (IPTC if kind is Kind.JPEG else b"")
    assert found.dpi == (None if kind is Kind.WEBP else (300, 300))


@pytest.mark.parametrize("name", ANSWERS)
@pytest.mark.parametrize("kind", sorted(HOLDS_METADATA))
@pytest.mark.parametrize("keep", Keep)
def test_no_pixel_changes_and_a_decoder_finds_what_was_carried(kind: Kind, name: str, keep: Keep) -> None:
    answer, source = ANSWERS[name], source_of(kind)
    cutout = carried(answer, metadata_of(source), keep)
    assert pixels(cutout) == pixels(answer)
    assert inspect(Reader.of(cutout), wants_orientation=True).is_whole
    found = metadata_of(cutout)
    with Image.open(io.BytesIO(cutout)) as picture:
        exif = picture.getexif()
        assert picture.info.get("icc_profile", b"") == (b"" if "gray" in name else SRGB)
        assert exif.get(0x0112, 1) == 1
        place = keep is Keep.ALL_AND_PLACE
        assert bool(exif.get_ifd(0x8825)) is place
        assert (b"Berlin" in cutout) is place
        has_words = keep is not Keep.NONE
        assert (exif.get(0x8298), exif.get(0x013B)) == (("(c) Anna", "Anna B") if has_words else (None, None))
        assert exif.get(0x010E) == ("Stuhl" if keep in (Keep.ALL, Keep.ALL_AND_PLACE) else None)
        if keep in (Keep.ALL, Keep.ALL_AND_PLACE):
            seen = exif.get_ifd(0x8769)
            assert (seen[0xA002], seen[0xA003]) == picture.size
            assert seen[0xA434] == "Lens 1"
        if has_words and kind is not Kind.WEBP:
            assert found.dpi == (300, 300)
    assert (b"Anna" in found.xmp) is (keep is not Keep.NONE)
    assert (b"GPSLatitude" in found.xmp, b"GpsLatitude" in found.xmp) == (place, place)
    assert b"tiff:Orientation=" not in found.xmp
    if kind is Kind.JPEG and has_words and "webp" not in name:
        assert (b"(c) Anna" in found.iptc, b"Berlin" in found.iptc) == (True, place)
        assert (b"Stuhl" in found.iptc) is (keep is not Keep.COPYRIGHT)


@pytest.mark.parametrize("name", ANSWERS)
def test_what_was_carried_once_is_replaced_and_taken_out_again(name: str) -> None:
    answer = ANSWERS[name]
    first = carried(answer, metadata_of(source_of(Kind.JPEG)))
    empty = applied(first, cuts_without_words(Reader.of(first)))
    assert pixels(empty) == pixels(answer)
    found = metadata_of(empty)
    assert (found.exif, found.xmp, found.iptc) == (b"", b"", b"")
    other = Metadata(exif=exif_of(), xmp=PACKET.replace(b"Stuhl", b"Tisch"))
    second = carried(empty, other)
    assert b"Tisch" in metadata_of(second).xmp
    assert b"Stuhl" not in metadata_of(second).xmp
    assert pixels(second) == pixels(answer)


@pytest.mark.parametrize(
    ("own", "of_source", "stands"),
    [
        (b"", SRGB, SRGB),
        (b"", CMYK_PROFILE, b""),  # its pixels are of another kind
        (b"", GRAY_PROFILE, b""),
        (b"", b"no profile at all" * 20, b""),
        (SRGB + b"\0\0\0\0", SRGB, SRGB + b"\0\0\0\0"),  # the answer knows best
        (CMYK_PROFILE, SRGB, SRGB),
        (CMYK_PROFILE, CMYK_PROFILE, b""),
    ],
    ids=["fits", "cmyk", "gray", "none", "the answer's own", "a wrong one of its own", "wrong ones alone"],
)
@pytest.mark.parametrize("format_", ["PNG", "JPEG", "WEBP"])
def test_a_profile_is_never_that_of_other_colours(format_: str, own: bytes, of_source: bytes, stands: bytes) -> None:
    answer = saved(noise((30, 20)), format_, **({"icc_profile": own} if own else {}))
    assert metadata_of(carried(answer, Metadata(profile=of_source), Keep.NONE)).profile == stands


def test_a_png_that_says_that_it_is_srgb_gets_no_other_profile() -> None:
    answer = with_chunks(saved(noise((30, 20)), "PNG"), [chunk(b"sRGB", b"\0")])
    assert metadata_of(carried(answer, Metadata(profile=SRGB))).profile == b""


@pytest.mark.parametrize("format_", ["PNG", "JPEG", "WEBP"])
def test_an_answer_that_is_to_be_turned_still_is(format_: str) -> None:
    answer = saved(noise((30, 20)), format_, exif=tiff_exif(8))
    for keep in Keep:
        cutout = carried(answer, metadata_of(source_of(Kind.JPEG)), keep)
        assert inspect(Reader.of(cutout), wants_orientation=True).orientation == 8


def tiff_exif(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif.tobytes()


def test_a_preview_of_the_original_does_not_come_along() -> None:
    preview = saved(noise((16, 12)), "JPEG")
    entries = 8 + 2 + 12 + 4
    head = (
        b"II*\0"
        + (8).to_bytes(4, "little")
        + b"\1\0"
        + b"\x12\x01\x03\x00\x01\0\0\0\x06\0\0\0"
        + entries.to_bytes(4, "little")
    )
    lines = b"\x01\x02\x04\x00\x01\0\0\0" + (entries + 30).to_bytes(4, "little")
    lines += b"\x02\x02\x04\x00\x01\0\0\0" + len(preview).to_bytes(4, "little")
    exif = head + b"\2\0" + lines + b"\0\0\0\0" + preview
    found = metadata_of(carried(ANSWERS["png"], Metadata(exif=exif)))
    assert preview not in found.exif
    assert preview[20:40] not in found.exif
    assert len(found.exif) < len(exif) - len(preview) + 10


def test_words_of_iptc_alone_are_said_by_xmp_where_a_format_has_no_iptc() -> None:
    cutout = carried(
        ANSWERS["lossless webp"],
        Metadata(iptc=b"\x1c\x01\x5a\x00\x03\x1b%G" + record(120, "Stühle & <Tische>".encode())),
    )
    with Image.open(io.BytesIO(cutout)) as picture:
        assert "Stühle &amp; &lt;Tische&gt;".encode() in picture.info["xmp"]


def test_a_resolution_alone_is_kept_by_every_format() -> None:
    for name, answer in ANSWERS.items():
        found = metadata_of(carried(answer, Metadata(dpi=(240.0, 240.0))))
        assert found.dpi == (240.0, 240.0), name


def test_texts_of_a_png_are_said_by_xmp() -> None:
    source = with_chunks(
        saved(noise(), "PNG"), [chunk(b"tEXt", b"Copyright\0\xa9 Anna"), chunk(b"tEXt", b"Comment\0x")]
    )
    assert "© Anna".encode() in metadata_of(carried(ANSWERS["jpeg"], metadata_of(source), Keep.COPYRIGHT)).xmp


@pytest.mark.parametrize(
    "packet",
    [
        b"<x:xmpmeta",
        b"<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>",
        b"\xff\xfe<\0",
        b"<a>" * 5000,
        b"no xml",
        b"<a xmlns:x='u' x:b='1' x:b='2'/>",
    ],
)
def test_xmp_that_cannot_be_read_is_left_behind(packet: bytes) -> None:
    for keep in (Keep.ALL, Keep.COPYRIGHT):
        cutout = carried(ANSWERS["png"], Metadata(xmp=packet, dpi=(300, 300)), keep)
        assert metadata_of(cutout).xmp == b""
        assert metadata_of(cutout).dpi == (300, 300)


def test_xmp_in_utf_16_is_read() -> None:
    packet = PACKET.decode().replace("\ufeff", "").encode("utf-16")
    assert "© Anna".encode() in metadata_of(carried(ANSWERS["png"], Metadata(xmp=packet))).xmp


def test_more_than_a_jpeg_can_hold_is_left_out_and_nothing_else() -> None:
    much = PACKET.replace(b"Stuhl", b"Stuhl " * 12_000)
    found = metadata_of(carried(ANSWERS["jpeg"], Metadata(xmp=much, exif=exif_of()[6:], profile=SRGB)))
    assert (found.xmp, found.profile) == (b"", SRGB)
    assert b"Anna B" in found.exif
    assert b"Stuhl Stuhl" in metadata_of(carried(ANSWERS["png"], Metadata(xmp=much))).xmp


# --- which picture it is --------------------------------------------------------------------------


@pytest.mark.parametrize("kind", sorted(HOLDS_METADATA))
def test_whatever_is_said_about_a_picture_it_is_the_same(kind: Kind) -> None:
    source = saved(noise((60, 40)), kind.upper(), icc_profile=SRGB)
    for metadata in (Metadata(dpi=(72, 72)), Metadata(xmp=PACKET), metadata_of(source_of(Kind.JPEG))):
        for keep in Keep:
            told = carried(source, metadata, keep)
            assert is_same_picture(source, told)
            assert (told == source) is (keep is Keep.NONE)


@pytest.mark.parametrize("kind", sorted(HOLDS_METADATA))
def test_another_orientation_profile_or_pixel_is_another_picture(kind: Kind) -> None:
    base = saved(noise((60, 40)), kind.upper(), exif=tiff_exif(1), icc_profile=SRGB)
    assert not is_same_picture(base, saved(noise((60, 40)), kind.upper(), exif=tiff_exif(6), icc_profile=SRGB))
    assert not is_same_picture(base, saved(noise((60, 40)), kind.upper(), exif=tiff_exif(1)))
    other = noise((60, 40))
    other.paste("red", (0, 0, 9, 9))
    assert not is_same_picture(base, saved(other, kind.upper(), exif=tiff_exif(1), icc_profile=SRGB))
    without = saved(noise((60, 40)), kind.upper(), icc_profile=SRGB)
    assert is_same_picture(base, without)


def exif_of_colours(space: int | None, index: str | None) -> bytes:
    exif = Image.Exif()
    if space is not None:
        exif.get_ifd(0x8769)[0xA001] = space
    if index is not None:
        exif.get_ifd(0x8769)[0xA005] = {1: index}
    return exif.tobytes()


@pytest.mark.parametrize(
    ("space", "index", "is_adobe"),
    [(None, None, False), (1, "R98", False), (0xFFFF, None, False), (0xFFFF, "R03", True), (2, None, True)],
)
def test_adobe_rgb_that_exif_alone_tells_of_makes_another_picture(
    space: int | None, index: str | None, is_adobe: bool
) -> None:
    for format_ in ("JPEG", "PNG", "WEBP"):
        plain = saved(noise((60, 40)), format_)
        told = saved(noise((60, 40)), format_, exif=exif_of_colours(space, index))
        assert is_same_picture(plain, told) is not is_adobe
        tagged = saved(noise((60, 40)), format_, exif=exif_of_colours(space, index), icc_profile=SRGB)
        assert is_same_picture(saved(noise((60, 40)), format_, icc_profile=SRGB), tagged), "a profile says it better"


@pytest.mark.parametrize("trailer", [b"a trailer of another program", b"\0" * 500])
def test_what_programs_append_is_no_picture(trailer: bytes) -> None:
    for kind in (Kind.JPEG, Kind.PNG):
        source = source_of(kind)
        assert is_same_picture(source, source + trailer)


@pytest.mark.filterwarnings("ignore::UserWarning")
@given(st.sampled_from(sorted(HOLDS_METADATA)), st.integers(0), st.integers(1, 255))
def test_a_byte_that_does_not_count_as_picture_changes_no_pixel(kind: Kind, at: int, flip: int) -> None:
    data = bytearray(source_of(kind))
    before = picture_digest(bytes(data))
    data[at % len(data)] ^= flip
    changed = bytes(data)
    if picture_digest(changed) != before:
        return
    try:
        assert pixels(changed) == pixels(source_of(kind))
    except (OSError, SyntaxError, ValueError, EOFError):  # a checksum of words, and the like
        return


@pytest.mark.filterwarnings("ignore::UserWarning")  # of Pillow, about the words
@given(st.sampled_from(sorted(HOLDS_METADATA)), st.sampled_from(sorted(ANSWERS)), st.data(), st.sampled_from(Keep))
def test_broken_metadata_break_no_cutout(kind: Kind, name: str, data: st.DataObject, keep: Keep) -> None:
    source = bytearray(source_of(kind))
    for _ in range(data.draw(st.integers(1, 12))):
        source[data.draw(st.integers(0, len(source) - 1))] = data.draw(st.integers(0, 255))
    answer = ANSWERS[name]
    cutout = carried(answer, metadata_of(bytes(source)), keep)
    assert pixels(cutout) == pixels(answer)
    assert inspect(Reader.of(cutout)).is_whole


@given(st.sampled_from(sorted(ANSWERS)), st.integers(0), st.integers(0, 255), st.integers(0))
def test_a_broken_answer_is_no_error(name: str, at: int, value: int, cut: int) -> None:
    answer = bytearray(ANSWERS[name])
    answer[at % len(answer)] = value
    del answer[len(answer) - cut % 40 :]
    carried(bytes(answer), metadata_of(source_of(Kind.JPEG)))
    cuts_without_words(Reader.of(bytes(answer)))


@given(st.binary(max_size=300))
def test_any_exif_and_any_xmp_is_read_without_an_error(block: bytes) -> None:
    for exif in (block, b"II*\0\x08\0\0\0" + block, b"MM\0*\0\0\0\x08" + block):
        for keep in Keep:
            carried(ANSWERS["png"], Metadata(exif=exif, xmp=block, iptc=block, profile=block), keep)


# --- as others read it ----------------------------------------------------------------------------


@pytest.mark.skipif(shutil.which("exiftool") is None, reason="exiftool is not installed (libimage-exiftool-perl)")
@pytest.mark.parametrize("name", ["png", "jpeg", "lossless webp", "lossy webp"])
@pytest.mark.parametrize("kind", sorted(HOLDS_METADATA))
def test_exiftool_writes_and_reads_it_and_finds_no_fault(tmp_path: Path, kind: Kind, name: str) -> None:
    source = tmp_path / f"source.{kind}"
    source.write_bytes(saved(noise((60, 40)), kind.upper(), icc_profile=SRGB, exif=tiff_exif(6)))
    before = source.read_bytes()
    words = ["-Artist=Anna B", "-Copyright=(c) Anna", "-XMP-dc:Description=Stuhl & <Tisch>", "-XMP-dc:Subject=a"]
    words += ["-XResolution=300", "-YResolution=300", "-LensModel=L 1", "-GPSLatitude=52.5", "-GPSLatitudeRef=N"]
    words += ["-IPTC:Keywords=k", "-IPTC:City=Berlin"] if kind is Kind.JPEG else []
    subprocess.run(["exiftool", "-q", "-overwrite_original", *words, str(source)], check=True)
    assert source.read_bytes() != before
    assert is_same_picture(source.read_bytes(), before)
    cutout = tmp_path / f"cutout.{name.rpartition(' ')[2]}"
    cutout.write_bytes(carried(ANSWERS[name], metadata_of(source.read_bytes())))
    asked = ["-Artist", "-IFD0:Copyright", "-XMP-dc:Description", "-XMP-dc:Subject", "-ExifIFD:LensModel"]
    said = subprocess.run(["exiftool", "-s3", "-f", *asked, str(cutout)], check=True, capture_output=True, text=True)
    assert said.stdout.splitlines() == ["Anna B", "(c) Anna", "Stuhl & <Tisch>", "a", "L 1"]
    asked = ["-IFD0:XResolution", "-IFD0:Orientation#", "-GPSLatitude", "-City", "-ICC_Profile:ColorSpaceData"]
    said = subprocess.run(["exiftool", "-s3", "-f", *asked, str(cutout)], check=True, capture_output=True, text=True)
    assert said.stdout.splitlines() == ["300", "1", "-", "-", "RGB"]
    checked = subprocess.run(
        ["exiftool", "-validate", "-warning", "-error", "-a", str(cutout)], check=True, capture_output=True, text=True
    )
    assert "Error" not in checked.stdout
    faults = [line for line in checked.stdout.splitlines() if "Warning  " in line and "Missing required" not in line]
    assert faults == [], "what is missing was missing in the source, too"


def test_pillow_reads_the_iptc_of_a_jpeg() -> None:
    cutout = carried(ANSWERS["jpeg"], metadata_of(source_of(Kind.JPEG)))
    with Image.open(io.BytesIO(cutout)) as picture:
        found = IptcImagePlugin.getiptcinfo(picture)
    assert found is not None
    assert found[2, 120] == b"Stuhl"
    assert (2, 90) not in found


def test_a_webp_answer_without_sides_is_no_error() -> None:
    answer = bytearray(saved(noise(), "WEBP"))
    answer[26:28] = bytes(2)
    carried(bytes(answer), Metadata(xmp=b"<x/>", dpi=(300, 300)))
