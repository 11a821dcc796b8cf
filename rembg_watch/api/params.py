"""
Every parameter of a removal, typed, and checked before anything is sent.

The names are the API's own. What the picture itself must be like is not checked here (``upload``).
"""

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime
from enum import StrEnum
from typing import cast

from PIL import ImageColor

from rembg_watch.api.errors import FieldError, InvalidRequestError, Scope

LONGEST_SIDE_PX = 10_000
LAST_UNIX_S = 253_402_300_799  # the end of the year 9999

_SIGNATURES = (
    ("jpeg", re.compile(rb"\xff\xd8\xff")),
    ("png", re.compile(rb"\x89PNG\r\n\x1a\n")),
    ("webp", re.compile(rb"RIFF....WEBP", re.DOTALL)),
    ("bmp", re.compile(rb"BM")),
)
_COLOUR = re.compile(r"#(?:[0-9A-Fa-f]{3,4}|[0-9A-Fa-f]{6}|[0-9A-Fa-f]{8})")


class Format(StrEnum):
    """A kind of picture that the API takes and gives."""

    WEBP = "webp"
    PNG = "png"
    JPEG = "jpeg"
    BMP = "bmp"

    @property
    def content_type(self) -> str:
        """The media type, as ``Content-Type`` has it."""
        return f"image/{self}"

    @property
    def extension(self) -> str:
        """The ending of a file name, with its dot, as people write it."""
        return ".jpg" if self is Format.JPEG else f".{self}"

    @classmethod
    def of(cls, head: bytes) -> "Format | None":
        """Tell a picture by its first twelve bytes, as the API does; None if they are no picture it knows."""
        return next((cls(name) for name, signature in _SIGNATURES if signature.match(head)), None)

    @classmethod
    def named(cls, name: object) -> "Format | None":
        """Read a name in any case; "jpg" is "jpeg"."""
        text = str(name).lower() if isinstance(name, str) else ""
        return next((one for one in cls if one == text or (one is cls.JPEG and text == "jpg")), None)

    @classmethod
    def of_ending(cls, ending: str) -> "Format | None":
        """Tell a format by the ending of a file name, with or without its dot; ".jpe" is JPEG as well."""
        name = ending.removeprefix(".").lower()
        return cls.named(_MORE_ENDINGS.get(name, name))


_NEVER_GIVEN = frozenset(
    [
        ".tif",
        ".tiff",
        ".gif",
        ".heic",
        ".heif",
        ".avif",
        ".jxl",
        ".jp2",
        ".psd",
        ".psb",
        ".dng",
        ".tga",
        ".ico",
        ".svg",
        ".eps",
        ".pdf",
    ]
)
_MORE_ENDINGS = {"jpe": "jpeg", "jfif": "jpeg", "jif": "jpeg", "pjpeg": "jpeg", "pjp": "jpeg", "dib": "bmp"}


class _Unsaid(str):
    """The default of a parameter that nobody chose."""

    __slots__ = ()


_UNSAID = cast("Format", _Unsaid(Format.WEBP))


class _FormatChoice:
    """Knows whether a format was chosen. That is no parameter, so it is no field of the parameters."""

    __slots__ = ("_is_format_chosen",)
    _is_format_chosen: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RemovalParams(_FormatChoice):
    """
    What is asked for beside the picture.

    All problems are found at once, in the words that the API would use.

    Raises:
        InvalidRequestError: ``details`` has each problem with its field.
    """

    format: Format = _UNSAID
    w: int | None = None
    h: int | None = None
    exact_resize: bool = False
    mask: bool = False
    bg_color: str | None = None
    angle: float = 0
    expand: bool = True

    def __post_init__(self) -> None:
        problems = parameter_problems({one.name: getattr(self, one.name) for one in fields(self)})
        _refuse(problems, "invalid_parameters")
        object.__setattr__(self, "_is_format_chosen", not isinstance(self.format, _Unsaid))
        object.__setattr__(self, "format", Format.named(self.format))

    def for_ending(self, ending: str) -> "RemovalParams":
        """
        Return these parameters with the format that *ending* (".png") names; a format that was chosen stays.

        Raises:
            InvalidRequestError: It names a kind of picture that the API does not give, and no format was chosen.
        """
        named = Format.of_ending(ending)
        is_open = not getattr(self, "_is_format_chosen", True)  # a copy by pickle knows only its fields
        if is_open and not named and ending.lower() in _NEVER_GIVEN:
            problem = f"The API does not produce {ending} pictures. Allowed formats: PNG, JPEG, WEBP, BMP"
            _refuse([FieldError("format", problem)], "format_unknown")
        return replace(self, format=named) if is_open and named else self

    def form_fields(self) -> dict[str, str]:
        """
        Return the form as it goes on the wire: the format, and what differs from its default.

        The order is that of the vendor's own client.
        """
        form = {
            "exact_resize": "true" if self.exact_resize else None,
            "w": None if self.w is None else str(self.w),
            "h": None if self.h is None else str(self.h),
            "mask": "true" if self.mask else None,
            "angle": _number(self.angle) if self.angle else None,
            "expand": None if self.expand else "false",
            "bg_color": self.bg_color,
            "format": str(self.format),
        }
        return {name: value for name, value in form.items() if value is not None}

    def canonical(self) -> str:
        """
        Return one string for all parameters that ask for the same thing.

        It is part of content keys on disk. A parameter at its default is not in it, so
        that a parameter that joins later changes no key.
        """
        return "&".join(f"{name}={value.lower()}" for name, value in sorted(self.form_fields().items()))


def parameter_problems(values: Mapping[str, object]) -> list[FieldError]:
    """List everything that is wrong with *values*, parameter by parameter; what is left out is at its default."""
    checks = [(name, check(name, values[name])) for name, check in _CHECKS.items() if name in values]
    problems = [FieldError(name, problem) for name, problem in checks if problem]
    unknown = [name for name in values if name not in _CHECKS]
    problems += [FieldError(name, f"'{name}' is not a parameter. Known: {', '.join(_CHECKS)}") for name in unknown]
    if values.get("mask") is True and values.get("bg_color") is not None:
        both = "Cannot use 'mask=true' together with 'bg_color'. Choose one or the other."
        problems.append(FieldError("mask", both))
    return problems


def usage_query(
    *,
    year: int | None = None,
    month: int | None = None,
    period_start: datetime | int | None = None,
    expand: Iterable[str] = (),
    include_billing_cycle: bool = False,
) -> dict[str, str]:
    """
    Return the query for membership-usage.

    Raises:
        InvalidRequestError: It contradicts itself or names no month that is; ``details`` has each problem.
    """
    flags = ",".join([expand] if isinstance(expand, str) else expand)
    start: object = period_start
    if isinstance(period_start, datetime) and period_start.tzinfo:  # without a zone it is refused as no number
        start = int(period_start.timestamp())
    problems = [
        *_range_problems("year", year, 9999),
        *_range_problems("month", month, 12),
        *_range_problems("periodStartUnix", start, LAST_UNIX_S, least=0),
    ]
    if start is not None and (year is not None or month is not None):
        both = "'periodStartUnix' cannot be used together with 'year' or 'month'"
        problems.append(FieldError("periodStartUnix", both))
    if flags and not re.fullmatch(r"\w+(,\w+)*", flags, re.ASCII):
        problems.append(FieldError("expand", f"'expand' is a list of names with commas between, got: {_shown(flags)}"))
    _refuse(problems, "invalid_query")
    query = {"year": year, "month": month, "periodStartUnix": start, "expand": flags or None}
    query["includeBillingCycle"] = 1 if include_billing_cycle else None
    return {name: str(value) for name, value in query.items() if value is not None}


def _range_problems(name: str, value: object, most: int, least: int = 1) -> Iterator[FieldError]:
    if value is None:
        return
    if not isinstance(value, int) or isinstance(value, bool):
        yield FieldError(name, f"'{name}' must be an integer, got: {_shown(value)}")
    elif not least <= value <= most:
        yield FieldError(name, f"'{name}' must be between {least} and {most}, got: {_shown(value)}")


def _refuse(problems: Sequence[FieldError], code: str) -> None:
    if problems:
        raise InvalidRequestError(
            message=" ".join(_sentence(problem.message) for problem in problems),
            code=code,
            scope=Scope.FOLDER,
            field=problems[0].field,
            details=tuple(problems),
        )


def _format_problem(_: str, value: object) -> str | None:
    return None if Format.named(value) else f"Invalid format {_shown(value)}. Allowed formats: PNG, JPEG, WEBP, BMP"


def _size_problem(name: str, value: object) -> str | None:
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool):
        return f"'{name}' must be an integer, got: {_shown(value)}"
    if value < 1:
        return f"'{name}' must be at least 1, got: {_shown(value)}"
    if value > LONGEST_SIDE_PX:
        return f"'{name}' must be at most {LONGEST_SIDE_PX}, got: {_shown(value)}"
    return None


def _angle_problem(name: str, value: object) -> str | None:
    if not isinstance(value, int | float) or isinstance(value, bool) or math.isnan(value):
        return f"'{name}' must be a number, got: {_shown(value)}"
    if not -360 <= value <= 360:
        return f"'{name}' must be between -360 and 360 degrees, got: {_shown(value)}"
    return None


def _flag_problem(name: str, value: object) -> str | None:
    return None if isinstance(value, bool) else f"'{name}' must be true or false, got: {_shown(value)}"


def _colour_problem(_: str, value: object) -> str | None:
    if value is None:
        return None
    if isinstance(value, str) and (_COLOUR.fullmatch(value) or value.lower() in ImageColor.colormap):
        return None  # the parameter table allows names; those of CSS are what a name can mean
    return f"Invalid color format {_shown(value)}. Use hex format: #RGB, #RGBA, #RRGGBB, or #RRGGBBAA"


_CHECKS: dict[str, Callable[[str, object], str | None]] = {
    "format": _format_problem,
    "w": _size_problem,
    "h": _size_problem,
    "exact_resize": _flag_problem,
    "mask": _flag_problem,
    "bg_color": _colour_problem,
    "angle": _angle_problem,
    "expand": _flag_problem,
}


def _shown(value: object) -> str:
    """Quote what was given, but not all of it: an integer of a million digits cannot even be printed."""
    if isinstance(value, int) and abs(value) >= 10**18:
        return "a number of many digits"
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:79]}…"


def _sentence(message: str) -> str:
    return message if message.endswith(".") else f"{message}."


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(float(value))
