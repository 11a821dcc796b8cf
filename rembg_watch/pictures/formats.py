"""
Say what a file is: its kind, its size in pixels, how it is to be turned, and whether it is whole.

Each of the four formats that the service takes has a reader of its own, which goes from part to part
by their lengths; for everything else there is a name. No pixel is decoded here: a picture may look
whole from outside and still be broken within, and one that lacks its end mark may still be decoded.
"""

from dataclasses import dataclass, replace
from enum import StrEnum

from rembg_watch.pictures import bmp, foreign, jpeg, png, webp
from rembg_watch.pictures.reader import Reader
from rembg_watch.pictures.structure import BLANK_END, Structure

MAX_UPLOAD_BYTES = 50 * 1024 * 1024
"""The service's "50 MB", read generously: it refuses what is too large by itself and at no cost."""

MAX_SIDE_PX = 10_000
"""The widest and the tallest picture that the service takes."""


class Kind(StrEnum):
    """What the service takes; the words are the service's own names of the formats."""

    JPEG = "jpeg"
    PNG = "png"
    WEBP = "webp"
    BMP = "bmp"


NAMES: dict[Kind, str] = {
    Kind.JPEG: "a JPEG picture",
    Kind.PNG: "a PNG picture",
    Kind.WEBP: "a WebP picture",
    Kind.BMP: "a BMP picture",
}
SUFFIXES: dict[Kind, str] = {Kind.JPEG: ".jpg", Kind.PNG: ".png", Kind.WEBP: ".webp", Kind.BMP: ".bmp"}
"""The ending that says each kind, for a file that is named as another kind than it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What can be said of a file from outside."""

    kind: Kind | None  # what the service would take it for; None if it would refuse it
    name: str  # what it is, with its article, for a sentence
    width_px: int = 0  # as stored, before any orientation; 0 if the header does not say
    height_px: int = 0
    orientation: int = 1  # as EXIF counts it, 1 to 8; 1 if there is none, or if nobody asked
    is_whole: bool = False  # nothing is missing at its end
    why: str = ""  # what is missing, for a sentence; empty if it is whole
    is_foreign: bool = False  # surely of a kind that the service refuses, not merely unfinished
    is_hopeless: bool = False  # not whole, and a decoder that takes it all the same would be wrong

    @property
    def is_all_there(self) -> bool:
        """Whether it is whole, if nobody is still writing: one with a black edge or in one colour may end blank."""
        return self.is_whole or (self.kind in {Kind.BMP, Kind.WEBP} and self.why == BLANK_END)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why a picture is not sent: a word for machines and a sentence for a photographer."""

    code: str
    reason: str


BROKEN_HEADER = "its header is broken or missing"


def inspect(reader: Reader, *, wants_orientation: bool = False) -> Look:
    """
    Say what a file is; never raise, whatever the bytes are.

    Args:
        reader: The file.
        wants_orientation: Look for it too, which takes a way through the whole of a PNG.
    """
    head = reader.head
    if not head:
        return Look(kind=None, name="an empty file", why="it is empty")
    if head.startswith(jpeg.MAGIC):
        return _picture(Kind.JPEG, jpeg.inspect(reader, wants_orientation=wants_orientation))
    if head.startswith(png.MAGIC):
        return _picture(Kind.PNG, png.inspect(reader, wants_orientation=wants_orientation))
    if webp.is_webp(head):
        return _picture(Kind.WEBP, webp.inspect(reader, wants_orientation=wants_orientation))
    if head.startswith(bmp.MAGIC) and (found := bmp.inspect(reader)) is not None:
        return _picture(Kind.BMP, found)
    other = foreign.inspect(head)
    return Look(kind=None, name=other.name, why=other.why, is_foreign=other.is_sure)


def _picture(kind: Kind, found: Structure) -> Look:
    return Look(
        kind=kind,
        name=NAMES[kind],
        width_px=found.width_px,
        height_px=found.height_px,
        orientation=found.orientation,
        is_whole=not found.why,
        why=found.why,
        is_hopeless=found.is_hopeless,
    )


def may_be_decoded(look: Look, size_bytes: int) -> bool:
    """Say if a picture that does not look whole is worth a try to decode it: nothing else is against it."""
    is_doubtful = look.kind is not None and not look.is_whole and not look.is_hopeless
    return is_doubtful and why_not_sendable(finished(look), size_bytes) is None


def why_not_sendable(look: Look, size_bytes: int) -> Refusal | None:
    """Say why the service would refuse a picture, or None: then it is worth sending."""
    if look.kind is None or not look.is_whole:
        return why_not_a_picture(look)
    if size_bytes > MAX_UPLOAD_BYTES:
        return Refusal(
            code="too_large",
            reason=f"The file has {size_bytes / 1024 / 1024:.1f} MB and the service takes at most "
            f"{MAX_UPLOAD_BYTES >> 20} MB: export it smaller or with a lower quality.",
        )
    return _why_sides_refused(look)


def _why_sides_refused(look: Look) -> Refusal | None:
    width, height = look.width_px, look.height_px
    if width < 1 or height < 1:
        return Refusal(code="broken", reason=f"The picture cannot be read: {BROKEN_HEADER}. Export it again.")
    if width <= MAX_SIDE_PX and height <= MAX_SIDE_PX:
        return None
    return Refusal(
        code="too_wide" if width > MAX_SIDE_PX else "too_tall",
        reason=f"The picture is {width} x {height} pixels and the service takes at most {MAX_SIDE_PX} each way: "
        "export it smaller.",
    )


def finished(look: Look) -> Look:
    """Return *look* as whole: it can be decoded, whatever its parts say."""
    return replace(look, is_whole=True, why="")


def why_not_a_picture(look: Look) -> Refusal | None:
    """Say why a file is not taken for a whole picture, or None if it is one."""
    if look.kind is None and look.is_foreign:
        return Refusal(
            code="wrong_type",
            reason=f"It is {look.name}, whatever its name says, and the service takes JPEG, PNG, WebP and BMP only: "
            "export it as one of these.",
        )
    if look.kind is None:
        return Refusal(code="not_a_picture", reason=f"It is not a picture: {look.why}. Export or copy it again.")
    if not look.is_whole:
        return Refusal(
            code="not_whole", reason=f"It is {look.name}, but {look.why}. Copy or export it again under the same name."
        )
    return None
