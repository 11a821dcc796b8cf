"""
Settings of what is made of an answer that was paid for: masters, deliverables, and which cut-outs are odd.
"""

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from rembg_watch.config.readers import Real, Section, Whole, path_of
from rembg_watch.pictures.deliverable import Align, Canvas, Deliverable, FileFormat, Upsample
from rembg_watch.pictures.figures import Limits
from rembg_watch.pictures.metadata import Keep
from rembg_watch.pictures.naming import why_no_template


class MasterSettings(Section):
    """What was bought is kept, so that further deliverables can be made of it at no cost."""

    keep_days: Whole = Field(default=180, ge=1, le=36_500, description="How long, after it was last used.")
    keep_gb: Real = Field(
        default=20.0,
        ge=0.01,
        le=1_000_000,
        description="How much, in gigabytes; what was not used for longest goes first.",
    )


def _background(value: str) -> str:
    if not re.fullmatch(r"#[0-9A-Fa-f]{6}", value):
        raise ValueError('must be a colour such as "#ffffff"')
    return value.lower()


def _profile(value: object) -> object:
    """Read the name of a colour space, or the path of a profile."""
    if value in ("source", "srgb", "adobe-rgb", "review"):
        return value
    path = path_of(value)
    if Path(str(path)).suffix.lower() not in (".icc", ".icm"):
        raise ValueError('must be "source", "srgb" or the path of a profile (.icc)')
    return str(path)


def _margin(value: str) -> str:
    if not re.fullmatch(r"\d{1,2}(?:\.\d+)?%|\d{1,5}px", value):
        raise ValueError('must be a share such as "5%", or pixels such as "40px"')
    return value


def _deliverable_path(value: str) -> str:
    if (why := why_no_template(value)) is not None:
        raise ValueError(why)
    return value


def _pattern_of_names(value: str) -> str:
    try:
        re.compile(value)
    except re.error as error:
        raise ValueError(f"is no regular expression: {error}") from error
    return value


Share = Annotated[Real, Field(ge=0, le=1)]
Profile = Annotated[str, BeforeValidator(_profile)]


_LONGEST_CANVAS_PX = 30_000


def _canvas(value: object) -> object:
    """Read a word or two sides, with one sentence for whatever else stands there."""
    if value in list(Canvas):
        return value
    sides = list(value) if isinstance(value, list | tuple) else []
    if len(sides) != 2 or not all(type(one) is int and 1 <= one <= _LONGEST_CANVAS_PX for one in sides):
        raise ValueError(f'must be "source", "object" or [width, height], each 1 to {_LONGEST_CANVAS_PX:,}')
    return value


class DeliverableSettings(Section):
    """A file that is made of each picture, locally and at no cost: `deliver` of a folder names it."""

    format: FileFormat = Field(default=FileFormat.PNG, description="png | webp | jpeg | tiff | avif.")
    depth: Literal["source", "8"] = Field(
        default="source", description="source: with 16 bits where picture and format have them | 8."
    )
    colour: Profile = Field(
        default="source", description="source: as the picture's | srgb | the path of a profile (.icc)."
    )
    background: Annotated[str, AfterValidator(_background)] | None = Field(
        default=None,
        description="A colour; without it transparent, where the format can be, else white.",
        examples=["#ffffff"],
    )
    canvas: Annotated[tuple[Whole, Whole] | Canvas, BeforeValidator(_canvas)] = Field(
        default=Canvas.SOURCE,
        description="source: as large as the picture | object: as the object and its margin | [width, height].",
        examples=[(2000, 2000)],
    )
    fill: Annotated[Real, Field(gt=0, le=1)] | None = Field(
        default=None, description="How much of the canvas's tighter side the object takes.", examples=[0.85]
    )
    margin: Annotated[str, AfterValidator(_margin)] = Field(
        default="0%", description="What stays free around the object, where `fill` does not say: a share, or pixels."
    )
    align: Align = Field(default=Align.CENTRE, description="centre | bottom: feet on one line | top.")
    enlarge: bool = Field(default=False, description="Whether a small object is enlarged to fill the canvas.")
    dpi: Annotated[Real, Field(ge=1, le=65_535)] | None = Field(
        default=None, description="The resolution that is written into it; without it the picture's.", examples=[300]
    )
    quality: Whole = Field(default=92, ge=1, le=100, description="Of jpeg, webp and avif.")
    max_kb: Annotated[Whole, Field(ge=1)] | None = Field(
        default=None,
        description="How large it may be: the quality goes down to 75 for that. What is too large still is told.",
        examples=[9500],
    )
    compression: Literal["deflate", "zip", "lzw", "none"] = Field(
        default="deflate", description="Of tiff: deflate (or zip, which is the same) | lzw | none."
    )
    upsample: Upsample = Field(
        default=Upsample.BICUBIC,
        description="How what was bought is enlarged to a larger picture: bicubic | guided: along the picture's edges.",
    )
    clipping_path: bool = Field(default=False, description="Whether the outline is a path in it, in jpeg and tiff.")
    metadata: Keep = Field(default=Keep.ALL, description="all | all+place | copyright | none, as of a folder.")
    path: Annotated[str, AfterValidator(_deliverable_path)] = Field(
        default="{deliverable}/{dir}/{stem}.{ext}",
        description="Where it goes, below the output. Known: {dir} {stem} {ext} {folder} {deliverable} {date} {width}\n"
        "{height}, the groups of `read_name`, the names of `tokens`, and what the picture says of itself:\n"
        "{iptc.title} {iptc.headline} {iptc.creator} {iptc.credit} {iptc.copyright} {exif.artist}\n"
        "{exif.copyright} {exif.date}.",
    )

    def deliverable(self, name: str) -> Deliverable:
        """Return it as a value."""
        values = {one: getattr(self, one) for one in type(self).model_fields}
        values["compression"] = "deflate" if self.compression == "zip" else self.compression
        return Deliverable(name=name, **values)


class TokenSettings(Section):
    """A token made out of another one, by a table of words."""

    source: str = Field(alias="from", description="The token that it is made of.")
    words: dict[str, str] = Field(description="What each of its values becomes; one that is not here is told.")


class ReviewLimits(Section):
    """From where on a person should look at a cut-out; shares are 0 to 1."""

    coverage_min: Share = Field(default=0.002, description="The least of the picture that an object covers.")
    coverage_max: Share = Field(default=0.98, description="The most.")
    border: Share = Field(default=0.98, description="The most of one border that it touches.")
    fragments: Whole = Field(default=30, ge=1, description="The most parts that it has; specks do not count.")
    holes: Whole = Field(default=100, ge=0, description="The most openings in it; specks do not count.")
    softness: Share = Field(default=0.7, description="The most of what is visible that is half transparent.")

    def limits(self) -> Limits:
        """Return them as a value."""
        return Limits(**self.model_dump())
