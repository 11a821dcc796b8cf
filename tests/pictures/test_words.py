"""What a picture says of itself becomes words that a name can hold, whoever typed them."""

import io
import shutil
import subprocess
import unicodedata
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from rembg_watch.pictures.carrying import parts_of
from rembg_watch.pictures.formats import Kind, inspect
from rembg_watch.pictures.metadata import Metadata
from rembg_watch.pictures.reader import Reader
from rembg_watch.pictures.words import MOST_BYTES, WORDS, part_of_a_place, worded, words_of
from rembg_watch.pictures.xmp import write
from tests.pictures.documents import PSDS, avif_of, heic_of
from tests.pictures.makers import noise
from tests.pictures.test_carrying import exif_of, record, source_of

ALL = {"iptc.creator": "Anna B, Bo & Co", "iptc.headline": "A _chair_ _ 1", "iptc.copyright": "© Anna"}
OF_EXIF = {"exif.artist": "Anna B", "exif.copyright": "(c) Anna"}


def said(data: bytes) -> dict[str, str]:
    reader = Reader.of(data)
    return words_of(parts_of(reader, inspect(reader, reads_more=True).any_kind).metadata, WORDS)


@pytest.mark.parametrize("kind", [Kind.JPEG, Kind.PNG, Kind.WEBP])
def test_every_format_says_it(kind: Kind) -> None:
    assert said(source_of(kind)) == ALL | OF_EXIF


@pytest.mark.skipif(shutil.which("exiftool") is None, reason="exiftool is not installed")
@pytest.mark.parametrize(
    ("ending", "space"),
    [(ending, "XMP") for ending in ("jpg", "png", "webp", "tif", "psd", "heic", "avif")]
    + [(ending, "IPTC") for ending in ("jpg", "png", "tif", "psd")],  # others have no place for the older records
)
def test_what_exiftool_writes_is_found(tmp_path: Path, ending: str, space: str) -> None:
    path = tmp_path / f"a.{ending}"
    special = {"heic": heic_of, "avif": avif_of, "psd": PSDS["packed"]}
    if ending in special:
        path.write_bytes(special[ending]())
    else:
        noise().save(path)
    title, creator = ("Title", "Creator") if space == "XMP" else ("ObjectName", "By-line")
    words = [f"-{space}:{title}=Größe 38", f"-{space}:Headline=Sommer", f"-{space}:{creator}=Bo", "-EXIF:Artist=Anna"]
    charset = ["-IPTC:CodedCharacterSet=UTF8"] if space == "IPTC" else []
    taken = "-EXIF:DateTimeOriginal=2026:01:31 23:59:00"
    subprocess.run(["exiftool", "-q", "-overwrite_original", *charset, *words, taken, path], check=True)
    assert said(path.read_bytes()) == {
        "iptc.title": "Größe 38",
        "iptc.headline": "Sommer",
        "iptc.creator": "Bo",
        "exif.artist": "Anna",
        "exif.date": "2026-01-31",
    }


def test_newer_words_come_before_older_ones_and_each_stands_in_for_the_other() -> None:
    packet = write({"dc:title": ["New"]})
    older = record(5, b"Old") + record(105, b"Only here") + record(80, b"Anna") + record(80, "Jürgen".encode("latin-1"))
    assert words_of(Metadata(xmp=packet, iptc=older), WORDS) == {
        "iptc.title": "New",
        "iptc.headline": "Only here",
        "iptc.creator": "Anna, Jürgen",
    }


def test_a_title_of_a_picture_that_was_put_into_it_is_not_its_own() -> None:
    packet = b"""<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
    <rdf:Description xmlns:xmpMM="http://ns.adobe.com/xap/1.0/mm/" xmlns:dc="http://purl.org/dc/elements/1.1/">
    <xmpMM:Pantry><rdf:Bag><rdf:li><rdf:Description><dc:title><rdf:Alt><rdf:li>Logo</rdf:li></rdf:Alt></dc:title>
    </rdf:Description></rdf:li></rdf:Bag></xmpMM:Pantry>
    %s</rdf:Description></rdf:RDF></x:xmpmeta>"""
    own = b"<dc:title><rdf:Alt><rdf:li>Chair</rdf:li></rdf:Alt></dc:title>"
    assert words_of(Metadata(xmp=packet % own), ["iptc.title"]) == {"iptc.title": "Chair"}
    assert words_of(Metadata(xmp=packet % b""), ["iptc.title"]) == {}


@pytest.mark.parametrize(
    ("taken_at", "day"),
    [
        ("2026:01:31 23:59:00", "2026-01-31"),
        ("2026-01-31T23:59:00", "2026-01-31"),
        ("0000:00:00 00:00:00", None),
        ("2026:02:31 00:00:00", None),
        ("    :  :     :  :  ", None),
        ("", None),
    ],
    ids=["as cameras write it", "as programs write it", "a camera without a clock", "no such day", "blank", "empty"],
)
def test_a_day_is_one_or_none(taken_at: str, day: str | None) -> None:
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x9003] = taken_at
    out = io.BytesIO()
    noise().save(out, "JPEG", exif=exif)
    assert said(out.getvalue()).get("exif.date") == day


@pytest.mark.parametrize(
    "exif",
    [b"", b"II*\0", b"II*\0\xff\xff\xff\xff", exif_of()[6:40], b"Exif\0\0" + bytes(40)],
    ids=["none", "without a directory", "one that is nowhere", "broken off", "zeros"],
)
def test_broken_metadata_says_nothing(exif: bytes) -> None:
    assert words_of(Metadata(exif=exif, xmp=b"<x", iptc=b"\x1c\x02\x05\xff\xff"), WORDS) == {}


@pytest.mark.parametrize(
    ("value", "word"),
    [
        ("Größe 38", "Größe 38"),
        ("u\u0308ber", "\u00fcber"),
        ("a/b\\c", "a_b_c"),
        ("..", ""),
        ("../../etc/passwd", "_._.._etc_passwd"),
        (".hidden", "_hidden"),
        ("-rf", "_rf"),
        ("~$lock", "_$lock"),
        ("a\0b", "a_b"),
        ("two\r\nlines\tand\u2028more", "two lines and more"),
        ("  \u3000 ", ""),
        ("___", ""),
        ("///", ""),
        ("cut.", "cut"),
        ("\u202egpj.exe", "gpj.exe"),
        ("in\u200bvisible\ufeff", "invisible"),
        ("\ufffd\ufffdx", "__x"),
        ("\ud800x", "x"),
        ("椅子", "椅子"),
        ("🪑", "🪑"),
        ('a:b*c?"d"<e>|', "a_b_c__d__e__"),
    ],
)
def test_a_word_is_made_safe(value: str, word: str) -> None:
    assert worded(value) == word


def test_a_long_word_is_cut_between_letters_and_another_one_stays_another() -> None:
    one, other = worded("ä" * 400), worded("ä" * 401)
    assert one != other
    assert max(len(one.encode()), len(other.encode())) <= MOST_BYTES
    assert one.startswith("ää")


@pytest.mark.parametrize(
    ("part", "safe"),
    [("CON", "_CON"), ("nul.txt", "_nul.txt"), ("com1", "_com1"), ("LPT\u00b2", "_LPT\u00b2"), ("aux ", "_aux")]
    + [(name, name) for name in ("CONE", "x CON", "com10", "console.log", "")],
)
def test_what_windows_takes_for_a_device_is_no_name(part: str, safe: str) -> None:
    assert part_of_a_place(part) == safe


HOSTILE = st.text(
    st.one_of(st.characters(), st.sampled_from("/\\.:-~ \0\n\u202e\u200b\ufffd\ud800CONul")), max_size=300
)


@given(HOSTILE)
@example("\u037e/..")
def test_whatever_is_typed_is_a_word_or_nothing(value: str) -> None:
    word = worded(value)
    encoded = word.encode()
    assert len(encoded) <= MOST_BYTES
    assert not set(word) & set('/\\:*?"<>|\0')
    assert not word.startswith((".", "-", "~", " "))
    assert not word.endswith((".", " "))
    assert all(unicodedata.category(char)[0] != "C" for char in word)
    assert worded(word) == word
