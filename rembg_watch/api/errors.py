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

``refusals.classify`` turns any answer that is not a picture into one of these.
What to do about an error is not decided here.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar, Required, TypedDict, Unpack

from rembg_watch.api.headers import RateLimit


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
