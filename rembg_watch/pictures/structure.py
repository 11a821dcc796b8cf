"""What the reader of a format says of a file."""

from dataclasses import dataclass

from rembg_watch.pictures.reader import Reader

CUT_SHORT = "its end is missing, so it was not copied or saved completely"
NO_PICTURE = "there is no picture in it"
BLANK_END = "its end is blank, so it was probably not copied completely"

MOST_PARTS = 100_000
"""After so many segments or chunks a file is given up: no picture has them, and each takes its time."""

LEAST_BLANK_BYTES = 16
"""Fewer zeros than that may well end a tiny picture."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Structure:
    """
    What the parts of a file say, without a look into the compressed picture.

    Attributes:
        width_px: As stored, before any orientation; 0 if the header does not say.
        height_px: As stored; 0 if the header does not say.
        orientation: As EXIF counts it, 1 to 8; 1 if there is none, or if nobody asked.
        why: What is missing, for a sentence; empty if it is whole.
        is_hopeless: A decoder that takes it all the same would be wrong.
        bits: Of each sample.
        colours: The kind of colours, by the name that ICC profiles use; empty if that is not known.
        pages: How many pictures there are, one after the other.
        unfit: Why nothing can be made of it although it is whole, and what to do, for a sentence; mostly empty.
    """

    width_px: int = 0
    height_px: int = 0
    orientation: int = 1
    why: str = ""
    is_hopeless: bool = False
    bits: int = 8
    colours: str = ""
    pages: int = 1
    unfit: str = ""


def has_blank_end(reader: Reader, end: int, size_bytes: int, most_bytes: int | None = None) -> bool:
    """
    Say if the last tenth of what ends at *end* and is *size_bytes* long is blank.

    Programs that copy reserve the whole length first. What has no end mark looks whole
    from then on.

    Args:
        reader: The file.
        end: Where it ends.
        size_bytes: How long it is.
        most_bytes: No whole picture of that kind ends with so many zeros; then they are enough, if a tenth is more.
    """
    blank_bytes = size_bytes // 10 if most_bytes is None else min(size_bytes // 10, most_bytes)
    return reader.is_blank(end - max(LEAST_BLANK_BYTES, blank_bytes), end)


def stops_in_zeros(reader: Reader) -> bool:
    """
    Say if a file that lacks its end mark ends with zeros: its length was reserved, and the rest never came.

    No decoder is to be asked then. Zeros are valid data to most of them, so that half a
    picture would pass for a whole one.
    """
    return reader.is_blank(reader.size_bytes - LEAST_BLANK_BYTES, reader.size_bytes)
