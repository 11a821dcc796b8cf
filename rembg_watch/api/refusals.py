"""
What the API's refusals say: the documented table, and how any answer that is no picture becomes an error.

``classify`` raises nothing itself. It reads wordings as the documentation has them, and
says so where it does not know one.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from rembg_watch.api.errors import (
    BadAnswerError,
    Charge,
    EmailNotVerifiedError,
    Facts,
    FieldError,
    KeyRefusedError,
    ParameterRefusedError,
    PictureRefusedError,
    RefusedError,
    RembgError,
    Scope,
    ServerError,
    Throttle,
    ThrottledError,
    UnknownRefusalError,
)
from rembg_watch.api.headers import lowered, rate_limit, request_id, retry_after

BODY_LIMIT_BYTES = 256 * 1024
"""No refusal is longer; what a server sends beyond this is not read."""

_WORDS_LIMIT = 400  # characters of the server's words that a message repeats
_DETAILS_LIMIT = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """
    One documented refusal: how it is recognised and what it is.

    ``pattern`` is sought in the folded message (``folded``); what varies in a message
    is not in it. A group called ``field`` names the field where the message does.
    """

    scenario: str
    status: int
    pattern: str
    code: str
    error: type[RefusedError]
    field: str | None = None
    throttle: Throttle | None = None


def _picture(scenario: str, pattern: str, code: str) -> Row:
    return Row(scenario=scenario, status=400, pattern=pattern, code=code, error=PictureRefusedError, field="image")


def _parameter(scenario: str, pattern: str, code: str, field: str | None) -> Row:
    return Row(scenario=scenario, status=400, pattern=pattern, code=code, error=ParameterRefusedError, field=field)


def _account(scenario: str, status: int, pattern: str, code: str, error: type[RefusedError]) -> Row:
    return Row(scenario=scenario, status=status, pattern=pattern, code=code, error=error)


def _throttled(scenario: str, pattern: str, code: str, throttle: Throttle) -> Row:
    return Row(scenario=scenario, status=429, pattern=pattern, code=code, error=ThrottledError, throttle=throttle)


ERROR_TABLE: tuple[Row, ...] = (
    _picture("no image", r"no image file provided", "no_image"),
    _picture("no file selected", r"no file selected", "no_file_selected"),
    _picture("unsupported type", r"file type .*is not supported", "picture_type_unsupported"),
    _picture("corrupt image", r"not appear to be a valid image|invalid file signature", "picture_corrupt"),
    _picture("empty file", r"uploaded file is empty", "picture_empty"),
    _picture("file too large", r"file size .*exceeds the maximum", "picture_too_large"),
    _picture("too wide", r"image width .*exceeds the maximum", "picture_too_wide"),
    _picture("too tall", r"image height .*exceeds the maximum", "picture_too_tall"),
    _parameter("bad w/h", r"'(?P<field>w|h)' must be an integer", "size_not_an_integer", None),
    _parameter("w/h too small", r"'(?P<field>w|h)' must be at least", "size_too_small", None),
    _parameter("w/h too big", r"'(?P<field>w|h)' must be at most", "size_too_big", None),
    _parameter("bad angle", r"'angle' must be a number", "angle_not_a_number", "angle"),
    _parameter("angle out of range", r"'angle' must be between", "angle_out_of_range", "angle"),
    _parameter("bad format", r"invalid format .*allowed formats", "format_unknown", "format"),
    _parameter("bad bg_color", r"invalid color format", "bg_color_unknown", "bg_color"),
    _parameter("mask with bg_color", r"'mask=true' together with 'bg_color'", "mask_with_bg_color", "mask"),
    _account(
        "key and user token both sent", 400, r"cannot use both api key and user token", "key_and_token", KeyRefusedError
    ),
    _account("invalid key", 401, r"invalid api key", "invalid_api_key", KeyRefusedError),
    _account("e-mail not verified", 403, r"address not verified", "email_not_verified", EmailNotVerifiedError),
    _throttled("too fast (short-term)", r"too quickly", "too_quickly", Throttle.SHORT_TERM),
    _throttled("daily limit (anonymous)", r"daily limit", "daily_limit", Throttle.DAILY),
    _throttled("monthly limit (authenticated)", r"monthly limit", "monthly_limit", Throttle.MONTHLY),
    _parameter("billing window with year or month", r"periodstartunix", "period_with_month", "periodStartUnix"),
)
"""Each row of the reference sheet, in its order; a refusal of the account's own address comes last."""

_PARAMETERS = frozenset({"format", "w", "h", "exact_resize", "mask", "bg_color", "angle", "expand", "periodStartUnix"})

_UNKNOWN: dict[int, tuple[type[RefusedError], Scope, bool]] = {
    400: (UnknownRefusalError, Scope.PICTURE, False),
    401: (KeyRefusedError, Scope.ACCOUNT, False),
    402: (UnknownRefusalError, Scope.ACCOUNT, True),  # credits may come
    403: (UnknownRefusalError, Scope.ACCOUNT, False),
    408: (UnknownRefusalError, Scope.SERVICE, True),  # the server tired of waiting for the body
    409: (UnknownRefusalError, Scope.PICTURE, False),
    413: (PictureRefusedError, Scope.PICTURE, False),  # a proxy with a limit of its own
    415: (PictureRefusedError, Scope.PICTURE, False),
    422: (UnknownRefusalError, Scope.PICTURE, False),
    425: (UnknownRefusalError, Scope.SERVICE, True),
    429: (ThrottledError, Scope.ACCOUNT, True),
    451: (UnknownRefusalError, Scope.PICTURE, False),
}
"""Statuses with words that the table does not know. Any other 3xx or 4xx speaks of the way or the address."""

_MAYBE_FINISHED = frozenset({502, 504, *range(520, 525)})
"""A gateway that stopped waiting; the server behind it may have finished, and billed."""


def classify(status: int, headers: Mapping[str, str], body: bytes, *, now: datetime) -> RembgError:
    """
    Say which error an answer is; never raise, whatever the answer looks like.

    Args:
        status: The HTTP status; a 2xx is taken as an answer that should have been something else.
        headers: The headers, under names in any case.
        body: What came, whole or not; beyond ``BODY_LIMIT_BYTES`` nothing is looked at.
        now: When the answer arrived; aware, UTC.
    """
    said = _read(status, lowered(headers), body[:BODY_LIMIT_BYTES])
    facts: Facts = {
        "message": said.sentence,
        "status": status,
        "details": said.details,
        "request_id": request_id(headers),
        "retry_after_s": retry_after(lowered(headers).get("retry-after"), now=now),
        "rate_limit": rate_limit(headers, now=now),
    }
    if status >= 500:
        charge = Charge.MAYBE if status in _MAYBE_FINISHED else Charge.NO
        return ServerError(**(facts | {"code": f"http_{status}", "charge": charge}))
    if status < 300:
        return BadAnswerError(**(facts | _misanswered(said)))
    return _refusal(said, facts)


def folded(message: str) -> str:
    """Return *message* as patterns expect it: case-folded, on one line, with plain quotes and dashes."""
    return " ".join(message.translate(_STRAIGHT).casefold().split())


_STRAIGHT = str.maketrans(dict.fromkeys('‘’‚‛`´′ʼ＇“”„″"', "'") | dict.fromkeys("‐‑‒–—―−﹣－", "-"))


@dataclass(frozen=True, slots=True)
class _Said:
    """What an answer said, whatever it was written in."""

    status: int
    sentence: str  # for a person; made up where the answer had no words
    words: str  # the answer's own, to be matched
    shape: str  # empty, html, json, text or garbage
    details: tuple[FieldError, ...] = ()


@dataclass(frozen=True, slots=True)
class _Kind:
    """What one complaint turned out to be."""

    error: type[RefusedError]
    code: str
    field: str | None
    throttle: Throttle | None = None


def _misanswered(said: _Said) -> "Facts":
    seen = {"empty": "nothing at all", "html": "a web page", "json": "JSON", "text": "text"}.get(said.shape, "garbage")
    words = f": “{said.words}”." if said.words and said.shape != "garbage" else "."
    scope = Scope.SERVICE if said.shape == "html" else Scope.PICTURE  # a page comes from something before the API
    message = f"The API answered {said.status} with {seen} instead of what was asked for{words}"
    return {"message": message, "code": f"answer_{said.shape}", "scope": scope}


def _refusal(said: _Said, facts: "Facts") -> RembgError:
    kinds = _told_apart(said)
    if not kinds:
        return _unknown(said, facts)
    first = kinds[0]
    codes = {kind.code for kind in kinds}
    code = first.code if len(codes) == 1 else "multiple_errors"
    if first.throttle:
        return ThrottledError(throttle=first.throttle, **(facts | {"code": code}))
    return first.error(**(facts | {"code": code, "field": first.field}))


def _told_apart(said: _Said) -> list[_Kind]:
    """
    List what is known about the complaints, those that concern most first.

    One complaint about a parameter makes the whole refusal one about parameters:
    whatever the picture, the next will meet the same.
    """
    complaints = [*said.details, FieldError(None, said.words)]
    kinds = [kind for one in complaints if (kind := _kind(said.status, one)) is not None]
    concerned = (KeyRefusedError, ParameterRefusedError, PictureRefusedError)
    return sorted(kinds, key=lambda kind: concerned.index(kind.error) if kind.error in concerned else 0)


def _kind(status: int, complaint: FieldError) -> _Kind | None:
    text = folded(complaint.message)
    status = 400 if status == 422 else status  # what frameworks call the same thing
    for row in ERROR_TABLE:
        if row.status == status and (found := re.search(row.pattern, text)):
            field = complaint.field or row.field or found.groupdict().get("field")
            return _Kind(row.error, row.code, field, row.throttle)
    if status == 400 and complaint.field in _PARAMETERS:
        return _Kind(ParameterRefusedError, "parameter_refused", complaint.field)
    if status == 400 and complaint.field == "image":
        return _Kind(PictureRefusedError, "picture_refused", complaint.field)
    return None


def _unknown(said: _Said, facts: "Facts") -> RembgError:
    error, scope, retryable = _UNKNOWN.get(said.status, (UnknownRefusalError, Scope.SERVICE, False))
    field = next((one.field for one in said.details if one.field), None)
    known: Facts = facts | {"code": f"unknown_{said.status}", "scope": scope, "retryable": retryable, "field": field}
    return error(**known)


def _read(status: int, headers: Mapping[str, str], body: bytes) -> _Said:
    text = body.decode("utf-8-sig", errors="replace").strip()
    if status in range(300, 400):
        where = f"to {_place(headers['location'])}" if headers.get("location") else "elsewhere"
        return _Said(status, f"The API answered {status} and pointed {where}; that is never followed.", "", "empty")
    if not text:
        return _Said(status, f"The API answered {status} without a word.", "", "empty")
    if "html" in headers.get("content-type", "").lower() or text.startswith("<"):
        return _read_html(status, text)
    try:
        data: object = json.loads(text)
    except (ValueError, RecursionError):
        return _read_text(status, text)
    return _read_json(status, data)


def _place(location: str) -> str:
    """Name where a redirect pointed, without what may be secret in it: user, password and query."""
    return _tidy(re.sub(r"//[^/?#]*@", "//", re.split(r"[?#]", location, maxsplit=1)[0]))


def _read_html(status: int, text: str) -> _Said:
    title = re.search(r"<(title|h1)[^>]{0,200}>([^<]{1,400})", text, re.IGNORECASE)
    words = _tidy(title.group(2)) if title else ""
    seen = f": “{words}”." if words else "."
    return _Said(status, f"The API answered {status} with a web page instead of its own words{seen}", words, "html")


def _read_text(status: int, text: str) -> _Said:
    broken = re.search(r'"(?:error|message)"\s*:\s*"((?:[^"\\]|\\.){1,2000})', text)
    words = _tidy(broken.group(1) if broken else text)
    shape = "garbage" if "\ufffd" in text[:1024] or "\0" in text[:1024] else "text"
    return _Said(status, words or f"The API answered {status} with nothing that can be read.", words, shape)


def _read_json(status: int, data: object) -> _Said:
    found = data if isinstance(data, dict) else {"error" if isinstance(data, str) else "errors": data}
    details = tuple(_all_details(found))[:_DETAILS_LIMIT]
    words = _first_words(found)
    sentence = _with_details(words, details) or f"The API answered {status} with JSON that says nothing known."
    return _Said(status, sentence, words, "json", details)


def _first_words(data: Mapping[str, object]) -> str:
    for name in ("error", "message", "detail", "title", "error_description"):
        value = data.get(name)
        if isinstance(value, dict):
            value = value.get("message")
        if isinstance(value, str) and (words := _tidy(value)):
            return words
    return ""


def _with_details(words: str, details: tuple[FieldError, ...]) -> str:
    messages = [one.message for one in details if one.message != words]
    return _shortened(": ".join(part for part in (words, "; ".join(messages)) if part))


def _all_details(data: Mapping[str, object]) -> Iterator[FieldError]:
    for name in ("details", "errors", "detail"):
        value = data.get(name)
        if isinstance(value, dict):
            value = [{"field": field, "message": message} for field, message in value.items()]
        for item in value if isinstance(value, list) else ():
            if detail := _detail(item):
                yield detail


def _detail(item: object) -> FieldError | None:
    if isinstance(item, str):
        return FieldError(None, _tidy(item)) if _tidy(item) else None
    if not isinstance(item, dict):
        return None
    field = next((item[name] for name in ("field", "param", "loc", "path") if item.get(name)), None)
    if isinstance(field, list):  # a path such as ["body", "w"]
        field = field[-1]
    message = next((item[name] for name in ("message", "msg", "error") if item.get(name)), None)
    if isinstance(message, list) and message:
        message = message[0]
    words = _tidy(message) if isinstance(message, str) else ""
    return FieldError(_tidy(field)[:64] if isinstance(field, str) else None, words) if words else None


def _tidy(text: str) -> str:
    """Make the server's words fit for a log line: one line, printable, not endless."""
    printable = "".join(letter if letter.isprintable() else " " for letter in text[: 8 * _WORDS_LIMIT])
    return _shortened(" ".join(printable.split()))


def _shortened(text: str) -> str:
    return text if len(text) <= _WORDS_LIMIT else text[: _WORDS_LIMIT - 1] + "…"
