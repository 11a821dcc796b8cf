"""
Every way a request to the Rembg API can end badly, as a tree of plain facts.

::

    RembgError                       anything this library raises
    ├── NotSentError                 the request did not leave whole: surely not charged
    │   ├── InvalidRequestError      refused here, before anything was sent (also a ValueError)
    │   └── UnreachableError         DNS, connection, TLS, proxy, or a body cut off by ourselves or the way
    ├── InDoubtError                 the request left whole and no usable answer came: maybe charged
    │   ├── NoAnswerError            time-out, reset, or an answer that broke off
    │   └── BadAnswerError           "200", but not a picture: empty, HTML, JSON, garbage
    ├── RefusedError                 the API said no
    │   ├── PictureRefusedError      400: this picture (type, size, signature)
    │   ├── ParameterRefusedError    400: the parameters, so every picture sent with them
    │   ├── KeyRefusedError          401, or both key and user token
    │   ├── EmailNotVerifiedError    403
    │   ├── ThrottledError           429, of a kind: see ``Throttle``
    │   └── UnknownRefusalError      any other 3xx or 4xx
    └── ServerError                  5xx: the server or a proxy before it

``classify`` turns any answer that is not a picture into one of these and raises nothing itself.
What to do about an error is not decided here.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import ClassVar, Required, TypedDict, Unpack

from rembg_watch.api.headers import RateLimit, lowered, rate_limit, request_id, retry_after

BODY_LIMIT_BYTES = 256 * 1024
"""No refusal is longer; what a server sends beyond this is not read."""

_WORDS_LIMIT = 400  # characters of the server's words that a message repeats
_DETAILS_LIMIT = 50


class Charge(StrEnum):
    """Whether the vendor took a credit, as far as can be known from here."""

    NO = "no"
    MAYBE = "maybe"
    YES = "yes"


class Scope(StrEnum):
    """Whom an error concerns: what else would meet the same error."""

    PICTURE = "picture"  # this picture alone
    FOLDER = "folder"  # every picture sent with these parameters
    ACCOUNT = "account"  # every request with this key
    SERVICE = "service"  # every request: the way to the server, or the server


class Throttle(StrEnum):
    """The three kinds of 429, told apart by their message alone, and the rest."""

    SHORT_TERM = "short_term"
    DAILY = "daily"
    MONTHLY = "monthly"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class FieldError:
    """One complaint about one request field; the field is None where nobody names it."""

    field: str | None
    message: str


class Facts(TypedDict, total=False):
    """What every error can be told, by name; see ``RembgError``."""

    message: Required[str]
    code: str | None
    status: int | None
    charge: Charge | None
    retryable: bool | None
    scope: Scope | None
    field: str | None
    details: tuple[FieldError, ...]
    request_id: str | None
    retry_after_s: float | None
    rate_limit: RateLimit | None


class RembgError(Exception):
    """
    The base of all that this library raises: one sentence for a person, facts for a program.

    A class knows the usual charge, scope and worth of a retry of its kind; whoever
    raises it may know better and say so.

    Args:
        message: One plain sentence; the API's own words where it had any.
        code: The same for machines, stable, in snake_case.
        status: The HTTP status, or None when there was no answer.
        charge: Whether a credit was taken.
        retryable: Whether the same request may succeed later with nobody's help.
        scope: What else would meet the same error.
        field: The request field that is to blame.
        details: Every complaint, when there were several or when they name fields.
        request_id: The id under which the vendor can find the request.
        retry_after_s: How long the server asks to wait.
        rate_limit: What the server's headers state about its limits.
    """

    usual_code: ClassVar[str] = "error"
    usual_charge: ClassVar[Charge] = Charge.NO
    usual_retryable: ClassVar[bool] = False
    usual_scope: ClassVar[Scope] = Scope.PICTURE

    def __init__(
        self,
        *,
        message: str,
        code: str | None = None,
        status: int | None = None,
        charge: Charge | None = None,
        retryable: bool | None = None,
        scope: Scope | None = None,
        field: str | None = None,
        details: tuple[FieldError, ...] = (),
        request_id: str | None = None,
        retry_after_s: float | None = None,
        rate_limit: RateLimit | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or self.usual_code
        self.status = status
        self.charge = charge or self.usual_charge
        self.retryable = self.usual_retryable if retryable is None else retryable
        self.scope = scope or self.usual_scope
        self.field = field
        self.details = details
        self.request_id = request_id
        self.retry_after_s = retry_after_s
        self.rate_limit = rate_limit

    def __str__(self) -> str:
        return self.message

    def __reduce__(self) -> tuple[object, ...]:
        # Exception's own way calls the class with positional args, which there are none of
        return _revive, (type(self), self.__dict__.copy())


def _revive(kind: type["RembgError"], facts: dict[str, object]) -> "RembgError":
    error = kind.__new__(kind, facts["message"])
    error.__dict__.update(facts)
    return error


class NotSentError(RembgError):
    """The request did not leave whole, so that the API can have done nothing and charged nothing."""

    usual_code = "not_sent"


class InvalidRequestError(NotSentError, ValueError):
    """The request was refused here, before anything was sent."""

    usual_code = "invalid_request"


class UnreachableError(NotSentError):
    """The way to the API failed before the body was wholly handed over."""

    usual_code = "unreachable"
    usual_retryable = True
    usual_scope = Scope.SERVICE


class InDoubtError(RembgError):
    """The request left whole and no usable answer came: a credit may be gone."""

    usual_code = "in_doubt"
    usual_charge = Charge.MAYBE
    usual_retryable = True


class NoAnswerError(InDoubtError):
    """The request left whole and no answer came, or one that broke off."""

    usual_code = "no_answer"


class BadAnswerError(InDoubtError):
    """The API said that all was well and sent something that is not what was asked for."""

    usual_code = "bad_answer"


class RefusedError(RembgError):
    """The API said no; a refusal is assumed to cost nothing."""

    usual_code = "refused"


class PictureRefusedError(RefusedError):
    """The API does not accept this picture."""

    usual_code = "picture_refused"


class ParameterRefusedError(RefusedError):
    """The API does not accept the parameters, whatever the picture."""

    usual_code = "parameter_refused"
    usual_scope = Scope.FOLDER


class KeyRefusedError(RefusedError):
    """The API does not accept the key."""

    usual_code = "invalid_api_key"
    usual_scope = Scope.ACCOUNT


class EmailNotVerifiedError(RefusedError):
    """The account's e-mail address has not been confirmed."""

    usual_code = "email_not_verified"
    usual_scope = Scope.ACCOUNT


class ThrottledError(RefusedError):
    """The API wants no more requests from this account for now; ``throttle`` says of which kind that is."""

    usual_code = "unknown_429"
    usual_retryable = True
    usual_scope = Scope.ACCOUNT

    def __init__(self, *, throttle: Throttle = Throttle.UNKNOWN, **facts: Unpack[Facts]) -> None:
        super().__init__(**facts)
        self.throttle = throttle


class UnknownRefusalError(RefusedError):
    """The API, or something before it, said no in words or with a status that are documented nowhere."""

    usual_code = "unknown_refusal"


class ServerError(RembgError):
    """The server, or a proxy before it, failed."""

    usual_code = "server_error"
    usual_retryable = True
    usual_scope = Scope.SERVICE


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
    Row(
        scenario="key and user token both sent",
        status=400,
        pattern=r"cannot use both api key and user token",
        code="key_and_token",
        error=KeyRefusedError,
    ),
    Row(scenario="invalid key", status=401, pattern=r"invalid api key", code="invalid_api_key", error=KeyRefusedError),
    Row(
        scenario="e-mail not verified",
        status=403,
        pattern=r"address not verified",
        code="email_not_verified",
        error=EmailNotVerifiedError,
    ),
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
    told = [one.message for one in details if one.message != words]
    return _shortened(": ".join(part for part in (words, "; ".join(told)) if part))


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
