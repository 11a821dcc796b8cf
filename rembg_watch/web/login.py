"""Who asks: by a password that the browser asks for, or by what a proxy says."""

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Mapping
from typing import Protocol

from rembg_watch.web.guard import may_name_its_user

WRONG_S = 0.2
"""So long after each wrong password the next one is looked at: five tries a second, whoever makes them."""

_MOST_USER = 200


class Login(Protocol):
    """Says who asks."""

    challenge: str | None
    """What a browser is told to ask its user for; None: nothing it could ask would help."""

    sentence: str
    """Why nobody is let in without it."""

    def user(self, headers: Mapping[str, str], peer: str | None) -> str | None:
        """Return who asks; None if that is not said, or not believed. *peer* is None over a unix socket."""


class NoLogin(Login):
    """Everybody who can reach the page may see it."""

    challenge = None
    sentence = ""

    def user(self, headers: Mapping[str, str], peer: str | None) -> str | None:  # noqa: ARG002
        """Let everybody in."""
        return ""


class PasswordLogin(Login):
    """One password for all; whatever name goes with it is who it is."""

    challenge = 'Basic realm="rembg-watch", charset="UTF-8"'
    sentence = "This page asks for a password."

    def __init__(self, password: str) -> None:
        self._salt = secrets.token_bytes(16)
        self._digest = self._digested(password)

    def _digested(self, password: str) -> bytes:
        return hmac.digest(self._salt, password.encode("utf-8", "surrogateescape"), hashlib.sha256)

    def user(self, headers: Mapping[str, str], peer: str | None) -> str | None:  # noqa: ARG002
        """Return the name beside the right password."""
        scheme, _, word = headers.get("authorization", "").partition(" ")
        if scheme.lower() != "basic":
            return None
        try:
            name, found, password = base64.b64decode(word.strip(), validate=True).decode("utf-8").partition(":")
        except (binascii.Error, ValueError):
            return None
        is_right = hmac.compare_digest(self._digested(password), self._digest)
        return name[:_MOST_USER] or "somebody" if found and is_right else None


class HeaderLogin(Login):
    """A proxy has asked already, and says who it is."""

    challenge = None

    def __init__(self, header: str, trusted: tuple[str, ...]) -> None:
        self._header = header.lower()
        self._trusted = trusted
        self.sentence = f"A proxy has to say who asks, by {header}, and this one is not believed or did not say it."

    def user(self, headers: Mapping[str, str], peer: str | None) -> str | None:
        """Return what a proxy says that is believed."""
        if not may_name_its_user(peer, self._trusted):
            return None
        return headers.get(self._header, "").strip()[:_MOST_USER] or None
