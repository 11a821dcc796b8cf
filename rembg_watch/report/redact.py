"""
Keeps the key out of whatever is written: log, status, mails, reports.

It knows the secrets it was given and every way they are spelled; it does not guess what else may be one.
"""

import base64
import json
import re
import urllib.parse
from collections.abc import Iterable, Mapping

HIDDEN = "***"
SHORTEST_SECRET = 4


class Redactor:
    """
    Replaces every secret that it was given, however it is spelled, in whatever is to be written.

    Secrets are only ever added: after a reload the old key may still stand in an exception.
    """

    _header = re.compile(r"""(x-api-key\\?["']?\s*\)?\s*[:=,]\s*b?\\?["']?)([^\s"'\\,;)}\]]+)""", re.IGNORECASE)

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._spellings: tuple[str, ...] = ()
        self.add(*secrets)

    def add(self, *secrets: str) -> None:
        """Hide these from now on; one too short to be a key would only garble the log."""
        found = {spelling for secret in secrets for spelling in _spellings(secret.strip())}
        known = found | set(self._spellings)
        self._spellings = tuple(sorted(known, key=len, reverse=True))

    def text(self, text: str) -> str:
        """Give *text* without any secret."""
        for spelling in self._spellings:
            text = text.replace(spelling, HIDDEN)
        # looked for first: nearly no text has it, and each line of the log is a dozen texts
        return self._header.sub(rf"\1{HIDDEN}", text) if "-key" in text.lower() else text

    def value(self, value: object) -> object:
        """Give *value* without any secret, however deep it is nested; objects become text."""
        match value:
            case None | bool() | int() | float():
                return value
            case str():
                return self.text(value)
            case bytes():
                return self.text(value.decode("utf-8", "backslashreplace"))
            case Mapping():
                return {self.text(str(name)): self._entry(name, part) for name, part in value.items()}
            case list() | tuple() | set() | frozenset():
                return [self.value(part) for part in value]
        return self.text(str(value))

    def _entry(self, name: object, part: object) -> object:
        return HIDDEN if str(name).lower() == "x-api-key" and part else self.value(part)


def _spellings(secret: str) -> set[str]:
    """Every way a secret comes out of URLs, JSON, ``repr`` and an authorization header."""
    if len(secret) < SHORTEST_SECRET:
        return set()
    encoded = base64.b64encode(secret.encode()).decode().rstrip("=")
    quoted = {urllib.parse.quote(secret), urllib.parse.quote(secret, safe=""), urllib.parse.quote_plus(secret)}
    escaped = {json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]}
    return {secret, repr(secret)[1:-1], ascii(secret)[1:-1], encoded} | escaped | quoted
