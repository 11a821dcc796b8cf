"""
What ``POST /rmbg`` accepts, and every documented message to the letter.

The checks run in one fixed order; all that they find is told together. Where the
documentation is silent or contradicts itself, the choice is named beside the rule.
This module decides; it opens no picture and takes no money.

The order of checks::

    1. both an API key and a user token       400
    2. the key                                401
    3. the e-mail address                     403
    4. the short-term rate                    429
    5. the daily or the monthly limit         429
    6. the picture: present, named, of a known type, not empty, not too large,
       its signature, its width and its height; the first of these that fails
       ends the picture's checks, except that width and height are both told
    7. format, w, h, bg_color, mask with bg_color, angle
    8. whether the picture can be decoded

Six and seven are one step: their findings come back together, in this order.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from PIL import ImageColor

from rembg_watch.sandbox.exchange import Reply, Upload, error_reply, json_reply
from rembg_watch.sandbox.sniff import HEAD_BYTES, picture_format, picture_size

MAX_UPLOAD_BYTES = 50 * 1024 * 1024
MAX_SIDE_PX = 10_000
MAX_ANGLE = 360
ACCEPTED_TYPES = ("webp", "bmp", "png", "jpg", "jpeg")
OUTPUT_FORMATS = ("PNG", "JPEG", "WEBP", "BMP")

NO_IMAGE = "No image file provided. Please include an 'image' field in your form data."
NO_FILE = "No file selected. Please choose an image file to upload."
BAD_TYPE = "File type '{value}' is not supported. Allowed formats: webp, bmp, png, jpg, jpeg"
BAD_SIGNATURE = "File does not appear to be a valid image (invalid file signature)"
EMPTY_FILE = "Uploaded file is empty (0 bytes)."
TOO_LARGE = "File size ({value:.1f} MB) exceeds the maximum allowed size of 50 MB."
TOO_WIDE = "Image width ({value}px) exceeds the maximum allowed width of 10000px."
TOO_TALL = "Image height ({value}px) exceeds the maximum allowed height of 10000px."
NOT_INTEGER = "'{field}' must be an integer, got: '{value}'"
TOO_SMALL = "'{field}' must be at least 1, got: {value}"
TOO_BIG = "'{field}' must be at most 10000, got: {value}"
NOT_NUMBER = "'angle' must be a number, got: '{value}'"
ANGLE_RANGE = "'angle' must be between -360 and 360 degrees, got: {value}"
BAD_FORMAT = "Invalid format '{value}'. Allowed formats: PNG, JPEG, WEBP, BMP"
BAD_COLOR = "Invalid color format '{value}'. Use hex format: #RGB, #RGBA, #RRGGBB, or #RRGGBBAA"
MASK_AND_COLOR = "Cannot use 'mask=true' together with 'bg_color'. Choose one or the other."
TWO_CREDENTIALS = "This is a mistake: Cannot use both API key and user token"
INVALID_KEY = "invalid api key"
UNVERIFIED_EMAIL = "Email address not verified – please check your inbox"
TOO_QUICK = "You're making requests too quickly, Please Upgrade or slow down."
DAILY_LIMIT = "You've reached your daily limit. Please sign up for more access."
MONTHLY_LIMIT = "You've reached your monthly limit. Consider purchasing more credits."
SEVERAL = "Multiple validation errors"

UNDECODABLE = "File does not appear to be a valid image (cannot be decoded)"
"""A choice of the sandbox: the signature is right, the rest is broken. Not in the documented table."""

ERROR_TABLE: tuple[tuple[str, int, str], ...] = (
    ("no image", 400, NO_IMAGE),
    ("no file selected", 400, NO_FILE),
    ("unsupported type", 400, BAD_TYPE.format(value=".exe")),
    ("corrupt image", 400, BAD_SIGNATURE),
    ("empty file", 400, EMPTY_FILE),
    ("file too large", 400, TOO_LARGE.format(value=55.2)),
    ("too wide", 400, TOO_WIDE.format(value=12000)),
    ("too tall", 400, TOO_TALL.format(value=15000)),
    ("bad w or h", 400, NOT_INTEGER.format(field="w", value="abc")),
    ("too small w or h", 400, TOO_SMALL.format(field="w", value=-5)),
    ("too big w or h", 400, TOO_BIG.format(field="w", value=15000)),
    ("bad angle", 400, NOT_NUMBER.format(value="ninety")),
    ("angle out of range", 400, ANGLE_RANGE.format(value=500.0)),
    ("bad format", 400, BAD_FORMAT.format(value="gif")),
    ("bad bg_color", 400, BAD_COLOR.format(value="#12345")),
    ("mask with bg_color", 400, MASK_AND_COLOR),
    ("key and user token both sent", 400, TWO_CREDENTIALS),
    ("undecodable image (sandbox)", 400, UNDECODABLE),
    ("invalid key", 401, INVALID_KEY),
    ("e-mail not verified", 403, UNVERIFIED_EMAIL),
    ("too fast", 429, TOO_QUICK),
    ("daily limit", 429, DAILY_LIMIT),
    ("monthly limit", 429, MONTHLY_LIMIT),
)
"""Scenario, status and an example of every message that ``POST /rmbg`` can answer with."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One finding: the form field and the documented message."""

    field: str
    message: str


Rgba = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What the request asks for, read and in range."""

    format: str = "WEBP"
    width: int | None = None
    height: int | None = None
    exact_resize: bool = False
    mask: bool = False
    bg_color: Rgba | None = None
    angle: float = 0.0
    expand: bool = True
    return_base64: bool = False


def has_two_credentials(headers: Mapping[str, str]) -> bool:
    """Say whether a key and a user token came together; the sandbox takes ``Authorization: Bearer`` for a token."""
    return bool(headers.get("x-api-key")) and headers.get("authorization", "").lower().startswith("bearer ")


def read_wish(fields: Mapping[str, str]) -> tuple[Wish, list[Problem]]:
    """
    Read every parameter; what cannot be read is a problem and keeps its default.

    Choices of the sandbox: an empty value counts as left out; ``w`` and ``h`` of 0 count as left out
    (the vendor's own client sends them); unknown fields are ignored; a flag that is neither a yes nor
    a no keeps its default, since no documented message speaks of it.
    """
    found: list[Problem] = []
    output = _format(fields.get("format", ""), found)
    width = _side("w", fields.get("w", ""), found)
    height = _side("h", fields.get("h", ""), found)
    mask = _flag(fields.get("mask", ""), default=False)
    color = _color(fields.get("bg_color", ""), found)
    if mask and fields.get("bg_color", "").strip():
        found.append(Problem("mask", MASK_AND_COLOR))
    wish = Wish(
        format=output,
        width=width,
        height=height,
        exact_resize=_flag(fields.get("exact_resize", ""), default=False),
        mask=mask,
        bg_color=color,
        angle=_angle(fields.get("angle", ""), found),
        expand=_flag(fields.get("expand", ""), default=True),
        return_base64=_flag(fields.get("return_base64", ""), default=False),
    )
    return wish, found


def check_image(image: Upload | None) -> list[Problem]:
    """
    Judge the upload without decoding it.

    Choices of the sandbox: emptiness is told before the signature, or no file could ever be called
    empty; a name without an ending is judged by its signature alone; PNG bytes named ``.jpg`` pass.
    """
    if image is None:
        return [Problem("image", NO_IMAGE)]
    message = _file_message(image)
    if message is not None:
        return [Problem("image", message)]
    width, height = picture_size(image.file) or (0, 0)
    found = []
    if width > MAX_SIDE_PX:
        found.append(Problem("image", TOO_WIDE.format(value=width)))
    if height > MAX_SIDE_PX:
        found.append(Problem("image", TOO_TALL.format(value=height)))
    return found


def refusal(problems: list[Problem]) -> Reply:
    """Say one problem in the plain shape and several in the shape with ``details``."""
    if len(problems) == 1:
        return error_reply(400, problems[0].message)
    details = [{"field": p.field, "message": p.message} for p in problems]
    return json_reply(400, {"error": SEVERAL, "details": details, "status": 400})


def _file_message(image: Upload) -> str | None:
    if not image.filename:
        return NO_FILE
    ending = PurePosixPath(image.filename.replace("\\", "/")).suffix.lower()
    if ending and ending[1:] not in ACCEPTED_TYPES:
        return BAD_TYPE.format(value=ending)
    if image.size_bytes == 0:
        return EMPTY_FILE
    if image.size_bytes > MAX_UPLOAD_BYTES:
        return TOO_LARGE.format(value=image.size_bytes / 1024**2)
    image.file.seek(0)
    if picture_format(image.file.read(HEAD_BYTES)) is None:
        return BAD_SIGNATURE
    return None


def _format(text: str, found: list[Problem]) -> str:
    if not text.strip():
        return "WEBP"
    if text.strip().upper() in OUTPUT_FORMATS:
        return text.strip().upper()
    found.append(Problem("format", BAD_FORMAT.format(value=text)))
    return "WEBP"


_INTEGER = re.compile(r"[+-]?[0-9]{1,4000}")


def _side(name: str, text: str, found: list[Problem]) -> int | None:
    if not text.strip():
        return None
    if not _INTEGER.fullmatch(text.strip()):
        found.append(Problem(name, NOT_INTEGER.format(field=name, value=text)))
        return None
    value = int(text)
    if value == 0:
        return None
    if 1 <= value <= MAX_SIDE_PX:
        return value
    found.append(Problem(name, (TOO_SMALL if value < 1 else TOO_BIG).format(field=name, value=value)))
    return None


def _angle(text: str, found: list[Problem]) -> float:
    if not text.strip():
        return 0.0
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if math.isnan(value):
        found.append(Problem("angle", NOT_NUMBER.format(value=text)))
        return 0.0
    if abs(value) <= MAX_ANGLE:
        return value
    found.append(Problem("angle", ANGLE_RANGE.format(value=value)))
    return 0.0


_HEX_COLOR = re.compile(r"#(?:[0-9a-fA-F]{3}|[0-9a-fA-F]{4}|[0-9a-fA-F]{6}|[0-9a-fA-F]{8})")


def _color(text: str, found: list[Problem]) -> Rgba | None:
    """
    Read a background colour.

    The parameter table allows named colours, the error message speaks of hex alone: the sandbox takes
    the CSS names too and refuses the rest with the documented message.
    """
    word = text.strip().lower()
    if not word:
        return None
    if not _HEX_COLOR.fullmatch(word) and word not in ImageColor.colormap:
        found.append(Problem("bg_color", BAD_COLOR.format(value=text)))
        return None
    red, green, blue, alpha = ImageColor.getcolor(word, "RGBA")  # type: ignore[misc]  # four bands for RGBA
    return red, green, blue, alpha


_YES = frozenset({"true", "1", "yes", "on"})
_NO = frozenset({"false", "0", "no", "off"})


def _flag(text: str, *, default: bool) -> bool:
    word = text.strip().lower()
    return True if word in _YES else False if word in _NO else default
