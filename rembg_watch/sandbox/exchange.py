"""
What goes in and out of the sandbox, free of any HTTP library.

Both faces, the in-process transport and the loopback server, turn their request
into a ``Request`` and carry out a ``Reply``. This module holds values; it decides
nothing and sends nothing.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import BinaryIO

SERVER_HEADERS = {"server": "rembg-watch-sandbox"}


class MissingExtraError(ImportError):
    """A library of the ``sandbox`` extra is not installed; the message says what to do."""

    def __init__(self, name: str) -> None:
        super().__init__(f"The sandbox needs {name}: pip install 'rembg-watch[sandbox]'", name=name)


class OrderError(ValueError):
    """What was ordered of the sandbox cannot be read; one sentence says why."""


class Mishap(StrEnum):
    """How a connection goes wrong while a reply is carried out."""

    CUT_UPLOAD = "cut_upload"  # reset while the request is still arriving
    RESET = "reset"  # reset after a share of the reply
    CUT = "cut"  # closed politely after a share of the reply, against its Content-Length
    STALL = "stall"  # silence after a share of the reply, then closed
    DRIP = "drip"  # everything comes, in small slices over a long time


@dataclass(frozen=True, slots=True, kw_only=True)
class Breakage:
    """A mishap with its measures."""

    mishap: Mishap
    share: float = 0.0  # how much of the body goes through first, 0 to 1
    seconds: float = 0.0  # how long a stall or a drip lasts


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """
    The picture as it arrived.

    ``file`` holds the bytes up to a little over the size limit; ``size_bytes`` and ``sha256``
    speak of all that was sent.
    """

    filename: str
    file: BinaryIO
    size_bytes: int
    sha256: str
    content_type: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Orders:
    """What the fault orders hold for one request; drawn once, before its body has arrived whole."""

    refusal: "Reply | None" = None
    breakage: Breakage | None = None
    delay_s: float = 0.0
    names: tuple[str, ...] = ()
    is_early: bool = False  # the refusal does not wait for the rest of the body

    def cuts_upload(self, received_bytes: int, length_bytes: int) -> bool:
        """Say whether the upload is to be cut off now that so much of it has come."""
        cut = self.breakage
        return cut is not None and cut.mishap is Mishap.CUT_UPLOAD and received_bytes >= length_bytes * cut.share


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request, its body already taken apart."""

    method: str
    path: str
    query: tuple[tuple[str, str], ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)  # names in lower case
    fields: Mapping[str, str] = field(default_factory=dict)
    image: Upload | None = None
    body: bytes = b""  # of requests that carry no form
    orders: Orders | None = None  # drawn by the face while the body arrived, else by the sandbox


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """One answer and how it is to be carried out."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    delay_s: float = 0.0
    breakage: Breakage | None = None


def json_reply(status: int, payload: object, *, headers: Mapping[str, str] | None = None) -> Reply:
    """Say *payload* as JSON, with the typographic characters of the vendor's messages as they are."""
    body = json.dumps(payload, ensure_ascii=False).encode("utf-8", "surrogatepass")
    return Reply(status=status, headers={"content-type": "application/json", **(headers or {})}, body=body)


def error_reply(status: int, message: str, *, headers: Mapping[str, str] | None = None) -> Reply:
    """Say one error in the documented shape."""
    return json_reply(status, {"error": message, "status": status}, headers=headers)
