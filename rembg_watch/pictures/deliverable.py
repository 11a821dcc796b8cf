"""
A file that is wanted of each picture: how it looks, where it goes and what it is called.

It is made locally, of the source and of what was bought for it once; many of them cost no more than one. The names
of the settings are those of the configuration (``[deliverables.NAME]``).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from functools import cached_property
from pathlib import Path

from rembg_watch.pictures.metadata import Keep


class FileFormat(StrEnum):
    """What a deliverable can be written as."""

    PNG = "png"
    WEBP = "webp"
    JPEG = "jpeg"
    TIFF = "tiff"
    AVIF = "avif"

    @property
    def extension(self) -> str:
        """The ending of its files, with the dot."""
        return {FileFormat.JPEG: ".jpg", FileFormat.TIFF: ".tif"}.get(self, f".{self.value}")

    @property
    def colours(self) -> tuple[str, ...]:
        """What kinds of colours it can hold, as ICC profiles name them."""
        return {FileFormat.PNG: ("GRAY", "RGB"), FileFormat.WEBP: ("RGB",), FileFormat.AVIF: ("RGB",)}.get(
            self, ("GRAY", "RGB", "CMYK")
        )

    @property
    def has_alpha(self) -> bool:
        """Whether it can be transparent."""
        return self is not FileFormat.JPEG


class Master(StrEnum):
    """What is bought for a picture and kept."""

    CUTOUT = "cutout"  # a transparent PNG, which outlives the source
    MASK = "mask"  # a tenth of the bytes; nothing can be made of it without the source


class Edges(StrEnum):
    """What colours soft edges get."""

    CLEAN = "clean"  # without what the background has mixed into them
    AS_IS = "as-is"


class Align(StrEnum):
    """Where the object stands on a canvas."""

    CENTRE = "centre"
    BOTTOM = "bottom"
    TOP = "top"


class Upsample(StrEnum):
    """How an alpha that is smaller than its picture is made larger."""

    BICUBIC = "bicubic"  # smoothly
    GUIDED = "guided"  # such that it follows the edges of the picture


class Canvas(StrEnum):
    """A canvas without a size of its own."""

    SOURCE = "source"  # as large as the picture, the object where it was
    OBJECT = "object"  # as large as the object, and its margin


SIDECAR = "sidecar"
"""What the file is called that says what was made of what; no deliverable has this name."""

MADE_AS = 1
"""Counts up when the same settings come to make another file: what is made then differs from what stands."""


@dataclass(frozen=True, kw_only=True)
class Deliverable:
    """
    One entry of ``[deliverables]``.

    Attributes:
        name: Its name.
        format: What it is written as.
        depth: ``source``: with as many bits as the source, where the format has them; ``8``.
        colour: ``source``: the source's profile; ``srgb``; or the path of an ICC profile.
        background: A colour as ``#rrggbb``; None: transparent, where the format can be.
        canvas: Width and height in pixels, or a kind of canvas.
        fill: How much of the canvas's tighter side the object takes, 0 to 1; None: as ``margin`` says.
        margin: What stays free around the object: of the canvas's tighter side ("5%") or in pixels ("40px").
        align: Where the object stands on the canvas.
        enlarge: A smaller object is enlarged to fill the canvas; else it is as large as it is.
        dpi: The resolution that is written into it; None: the source's.
        quality: Of lossy formats, 1 to 100.
        max_kb: How large it may be; the quality goes down to ``LEAST_QUALITY`` for that. None: as large as it comes.
        compression: Of a TIFF: ``none``, ``deflate``, ``lzw`` or ``zip``.
        upsample: How what was bought is made as large as the picture.
        clipping_path: Whether the outline is written into it as a path (JPEG and TIFF).
        metadata: What it gets of what the source says.
        path: Its place below the output, with tokens.
    """

    name: str
    format: FileFormat = FileFormat.PNG
    depth: str = "source"
    colour: str = "source"
    background: str | None = None
    canvas: tuple[int, int] | Canvas = Canvas.SOURCE
    fill: float | None = None
    margin: str = "0%"
    align: Align = Align.CENTRE
    enlarge: bool = False
    dpi: float | None = None
    quality: int = 92
    max_kb: int | None = None
    compression: str = "deflate"
    upsample: Upsample = Upsample.BICUBIC
    clipping_path: bool = False
    metadata: Keep = Keep.ALL
    path: str = "{deliverable}/{dir}/{stem}.{ext}"

    def as_json(self) -> Mapping[str, object]:
        """Return its values as JSON holds them."""
        return {one.name: _plain(getattr(self, one.name)) for one in fields(self)}

    @classmethod
    def from_json(cls, values: Mapping[str, object]) -> "Deliverable":
        """Read what ``as_json`` wrote."""
        canvas = values["canvas"]
        read = {
            **values,
            "format": FileFormat(str(values["format"])),
            "canvas": (int(canvas[0]), int(canvas[1])) if isinstance(canvas, list) else Canvas(str(canvas)),
            "align": Align(str(values["align"])),
            "metadata": Keep(str(values["metadata"])),
            "upsample": Upsample(str(values["upsample"])),
        }
        return cls(**read)  # type: ignore[arg-type]

    @cached_property
    def digest(self) -> str:
        """Name how it is made, in few characters: not where it goes, and not what it is called."""
        from hashlib import sha256  # 4 MB of library, and no child that decodes asks for it

        how = {name: value for name, value in self.as_json().items() if name not in ("name", "path")}
        how = {name: value for name, value in how.items() if name not in _CAME_LATER or value != _CAME_LATER[name]}
        return sha256(json.dumps([MADE_AS, how], sort_keys=True).encode()).hexdigest()[:16]


_CAME_LATER = {"upsample": Upsample.BICUBIC.value}
"""Settings that earlier versions did not have: at these values files that stand are made as they were."""

LEAST_QUALITY = 75
"""Down to this the quality goes for ``max_kb``; a file that is still too large is a person's to judge."""


def _plain(value: object) -> object:
    if isinstance(value, tuple):
        return list(value)
    return value.value if isinstance(value, StrEnum) else str(value) if isinstance(value, Path) else value
