"""
What an alpha says of a cut-out in a few figures, and which of them a person should look at.

The figures are kept with the picture; where the line is drawn is a folder's own setting. Nothing is measured here
(``measuring``), and nothing follows from a remark here (``pipeline.review``).
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TypeAlias

Json: TypeAlias = "bool | int | float | list[float]"

NO_ALPHA, ALL_OPAQUE, ALL_TRANSPARENT, FLAT = "no_alpha", "all_opaque", "all_transparent", "flat"
SMALL, LARGE, TOUCHES = "small_object", "large_object", "touches_border"
SCATTERED, PERFORATED, SOFT, FLAT_MASK = "fragments", "holes", "soft", "flat_mask"


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """
    What was measured of an alpha or a mask; shares are 0 to 1.

    Attributes:
        is_mask: It is a mask, white where the object is.
        has_alpha: The answer can be transparent at all; of one that cannot be, and is no mask, nothing else is known.
        least: The lowest opacity there is, 0 to 255.
        most: The highest.
        coverage: How much of the picture is covered: the mean opacity.
        softness: How much of what is visible is half transparent.
        borders: How much of each border the object touches: top, right, bottom, left.
        fragments: How many parts the object has that do not touch; specks do not count.
        loose: How much of the object is not in its largest part.
        holes: How many openings there are in it; specks do not count.
        hollow: How much of the object's outline they take.
    """

    is_mask: bool = False
    has_alpha: bool = True
    least: int = 255
    most: int = 255
    coverage: float = 1.0
    softness: float = 0.0
    borders: tuple[float, float, float, float] = (1.0, 1.0, 1.0, 1.0)
    fragments: int = 1
    loose: float = 0.0
    holes: int = 0
    hollow: float = 0.0

    @property
    def is_known(self) -> bool:
        """Whether there is anything to judge by."""
        return self.is_mask or self.has_alpha

    @property
    def is_flat(self) -> bool:
        """Whether all of it is equally opaque."""
        return self.least == self.most

    def as_json(self) -> dict[str, Json]:
        """Return them as JSON holds them; where nothing is known, that alone."""
        if not self.is_known:
            return {"has_alpha": False}
        return {name: _plain(value) for name, value in asdict(self).items()}

    @classmethod
    def from_json(cls, values: Mapping[str, object]) -> "Figures":
        """
        Read what ``as_json`` wrote.

        Raises:
            TypeError, ValueError: It is something else.
        """
        borders = values.get("borders", [1.0] * 4)
        if not isinstance(borders, list):
            raise TypeError("borders is a list")
        top, right, bottom, left = map(float, borders)
        read = {**values, "borders": (top, right, bottom, left)}
        return cls(**read)  # type: ignore[arg-type]


def _plain(value: object) -> Json:
    return list(value) if isinstance(value, tuple) else value  # type: ignore[return-value]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """
    From where on a person should look at a cut-out; shares are 0 to 1.

    Attributes:
        coverage_min: The least of the picture that an object covers.
        coverage_max: The most.
        border: The most of one border that it touches.
        fragments: The most parts that it has.
        holes: The most openings.
        softness: The most of what is visible that is half transparent.
    """

    coverage_min: float = 0.002
    coverage_max: float = 0.98
    border: float = 0.98
    fragments: int = 30
    holes: int = 100
    softness: float = 0.7


def judged(figures: Figures, limits: Limits) -> tuple[str, ...]:
    """
    Return the codes of what a person should look at.

    Where there is no object, or nothing else, that alone is said.
    """
    if not figures.is_known:
        return (NO_ALPHA,)
    if figures.is_flat and figures.is_mask:
        return (FLAT_MASK,)
    if figures.is_flat:
        return ({0: ALL_TRANSPARENT, 255: ALL_OPAQUE}.get(figures.most, FLAT),)
    found = {
        SMALL: figures.coverage < limits.coverage_min,
        LARGE: figures.coverage > limits.coverage_max,
        TOUCHES: max(figures.borders) > limits.border,
        SCATTERED: figures.fragments > limits.fragments,
        PERFORATED: figures.holes > limits.holes,
        SOFT: figures.softness > limits.softness,
    }
    return tuple(code for code, is_so in found.items() if is_so)


def plain_warning(figures: Figures) -> str | None:
    """Return the code of what is odd about a cut-out wherever a limit is drawn: it hides nothing, or shows nothing."""
    if figures.is_mask:
        return None
    return next((one for one in judged(figures, Limits()) if one in (NO_ALPHA, ALL_OPAQUE, ALL_TRANSPARENT)), None)


def described(code: str, figures: Figures) -> str:
    """Say what is odd, with the figure that says so; another code as it is."""
    sides = ("top", "right", "bottom", "left")
    touched = ", ".join(f"{side} {share:.0%}" for side, share in zip(sides, figures.borders, strict=True) if share)
    words = {
        SMALL: f"the object covers {figures.coverage:.1%} of the picture",
        LARGE: f"the object covers {figures.coverage:.1%} of the picture",
        TOUCHES: f"the object touches the border ({touched})",
        SCATTERED: f"the object is in {figures.fragments} parts",
        PERFORATED: f"the object has {figures.holes} holes",
        SOFT: f"{figures.softness:.0%} of what is visible is half transparent",
        NO_ALPHA: "it has no transparency",
        ALL_OPAQUE: "nothing in it is transparent",
        ALL_TRANSPARENT: "all of it is transparent",
        FLAT: "all of it is equally opaque",
        FLAT_MASK: "it is the same everywhere",
    }
    return words.get(code, code.replace("_", " "))
