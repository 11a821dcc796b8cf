"""Pictures with their orientation in every place where it can stand, and what a decoder makes of them."""

import io
import warnings
import zlib

import PIL
from PIL import Image, ImageOps

from rembg_watch.pictures.formats import inspect
from rembg_watch.pictures.reader import Reader
from tests.pictures.makers import (
    ORIENTATION,
    XMP_NAMESPACE,
    app1,
    chunk,
    extended_webp,
    hexadecimal,
    international,
    mpo,
    quarters,
    saved,
    segment,
    tiff,
    turned,
    with_chunks,
    with_segments,
    xmp,
)

SIZE = (16, 8)
IS_NEW = int(PIL.__version__.partition(".")[0]) >= 13
"""Older ones strip any number of prefixes and stumble over values that overlap: in that they are not compared."""

JPEG, PNG = saved(quarters(SIZE), "JPEG", quality=95), saved(quarters(SIZE), "PNG")
MPO = mpo([SIZE, SIZE])
APNG = saved(quarters(SIZE), "PNG", save_all=True, append_images=[quarters(SIZE).rotate(180)])

TURNS = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def said(data: bytes) -> int:
    return inspect(Reader.of(data), wants_orientation=True).orientation


def done(data: bytes) -> int | None:
    """Return the orientation that explains what Pillow does to the pixels; None if it refuses the picture."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with Image.open(io.BytesIO(data)) as picture:
                upright = ImageOps.exif_transpose(picture)
                before = picture.copy()
        except Exception:  # noqa: BLE001 - whatever it raises
            return None
    for value, turn in TURNS.items():
        wanted = before if turn is None else before.transpose(turn)
        if (wanted.size, wanted.tobytes()) == (upright.size, upright.tobytes()):
            return value
    raise AssertionError("no turn explains it")


EXIF = b"Exif\0\0"
NO_TAG = tiff([(0x010F, 2, 6, b"Maker\0")])
LONG = turned(6, padding=90_000)
PROFILE = b"Raw profile type exif"

PLACES = {
    "JPEG, EXIF": with_segments(JPEG, [app1(EXIF + turned(6))]),
    "JPEG, EXIF over several segments": with_segments(
        JPEG, [app1(EXIF + LONG[at : at + 65_000]) for at in range(0, len(LONG), 65_000)]
    ),
    "JPEG, a second EXIF": with_segments(JPEG, [app1(EXIF + turned(6)), app1(EXIF + NO_TAG)]),
    "JPEG, prefix twice": with_segments(JPEG, [app1(EXIF + EXIF + turned(6))]),
    "JPEG, XMP alone": with_segments(JPEG, [app1(XMP_NAMESPACE + xmp(6))]),
    "JPEG, XMP and EXIF without the tag": with_segments(JPEG, [app1(EXIF + NO_TAG), app1(XMP_NAMESPACE + xmp(6))]),
    "JPEG, XMP contradicts": with_segments(JPEG, [app1(XMP_NAMESPACE + xmp(8)), app1(EXIF + turned(6))]),
    "JPEG, behind megabytes": with_segments(
        JPEG, [segment(0xE1, b"http://ns.adobe.com/xmp/extension/\0" + bytes(64_000))] * 80 + [app1(EXIF + turned(6))]
    ),
    "JPEG, behind junk": JPEG[:20] + b"junk\xff\0\xff\xff\xff" + app1(EXIF + turned(6)) + JPEG[20:],
    "MPO": with_segments(MPO, [app1(EXIF + turned(6))]),
    "PNG, before the picture": with_chunks(PNG, [chunk(b"eXIf", turned(6))]),
    "PNG, behind the picture": with_chunks(PNG, behind=[chunk(b"eXIf", turned(6))]),
    "PNG, with the prefix of a JPEG": with_chunks(PNG, [chunk(b"eXIf", EXIF + turned(6))]),
    "PNG, behind a long text": with_chunks(
        PNG, [chunk(b"tEXt", b"Comment\0" + b"x" * 90_000), chunk(b"eXIf", turned(6))]
    ),
    "PNG, packed profile": with_chunks(
        PNG, [chunk(b"zTXt", PROFILE + b"\0\0" + zlib.compress(hexadecimal(b"exif", EXIF + turned(6))))]
    ),
    "PNG, plain profile behind": with_chunks(
        PNG, behind=[chunk(b"tEXt", PROFILE + b"\0" + hexadecimal(b"exif", turned(6)))]
    ),
    "PNG, international profile": with_chunks(PNG, [international(PROFILE, hexadecimal(b"exif", turned(6)))]),
    "PNG, XMP alone": with_chunks(PNG, [international(b"XML:com.adobe.xmp", xmp(6))]),
    "PNG, packed XMP as an element": with_chunks(
        PNG, behind=[international(b"XML:com.adobe.xmp", xmp(6, "element"), is_packed=True)]
    ),
    "PNG, XMP that is no UTF-8": with_chunks(PNG, [international(b"XML:com.adobe.xmp", b"\xff" + xmp(6))]),
    "animated PNG": with_chunks(APNG, [chunk(b"eXIf", turned(6))]),
    "WebP": extended_webp(quarters(SIZE), behind=[(b"EXIF", turned(6))]),
    "WebP, with the prefix of a JPEG": extended_webp(quarters(SIZE), behind=[(b"EXIF", EXIF + turned(6))]),
    "WebP, before the picture": extended_webp(quarters(SIZE), before=[(b"EXIF", turned(6))]),
    "WebP, long EXIF": extended_webp(quarters(SIZE), behind=[(b"EXIF", turned(6, padding=80_000))]),
    "WebP, before a long XMP": extended_webp(
        quarters(SIZE), behind=[(b"EXIF", turned(6)), (b"XMP ", xmp(1, padding=90_000))]
    ),
    "WebP, XMP alone": extended_webp(quarters(SIZE), behind=[(b"XMP ", xmp(6))]),
}
"""All of them are turned by orientation 6."""

STRAIGHT = {
    "PNG, a profile of another name": with_chunks(
        PNG, [chunk(b"tEXt", b"Raw profile type APP1\0" + hexadecimal(b"APP1", EXIF + turned(6)))]
    ),
    "animated PNG, behind the first picture": with_chunks(APNG, behind=[chunk(b"eXIf", turned(6))]),
    "WebP, not announced": extended_webp(quarters(SIZE), behind=[(b"EXIF", turned(6)), (b"XMP ", xmp(6))], flags=0),
    "JPEG, a preview's own": with_segments(JPEG, [segment(0xED, with_segments(JPEG, [app1(EXIF + turned(6))]))]),
    "JPEG, XMP in other quotes": with_segments(JPEG, [app1(XMP_NAMESPACE + xmp(6, "other quotes"))]),
    "JPEG, a number of bytes": with_segments(JPEG, [app1(EXIF + tiff([(ORIENTATION, 1, 1, b"\6")]))]),
    "JPEG, the tag says nothing and XMP does": with_segments(
        JPEG, [app1(EXIF + turned(0)), app1(XMP_NAMESPACE + xmp(6))]
    ),
}
"""None of these is turned by a decoder."""
