"""
The API key, held so that it shows itself nowhere: not in a log, a message, a traceback or a debugger's list.

Where it comes from is not known here.
"""

import json
from typing import NoReturn

from rembg_watch.api.errors import InvalidRequestError, Scope

_SHORTEST_HIDDEN = 4  # a shorter one would be found in words that mean no key


class Key:
    """
    One key; only ``reveal`` gives it away.

    Raises:
        InvalidRequestError: No header could carry it, or it is empty.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value.strip() if isinstance(value, str) else ""
        if not self._value or not self._value.isascii() or not self._value.isprintable() or " " in self._value:
            raise InvalidRequestError(
                message="The API key is empty or has characters that no key can have.",
                code="bad_key",
                scope=Scope.ACCOUNT,
                field="api_key",
            )

    def __repr__(self) -> str:
        return "'***'"

    def __reduce__(self) -> NoReturn:
        raise TypeError("An API key is not for copying.")

    def reveal(self) -> str:
        """Return the key itself."""
        return self._value

    def hide(self, text: str) -> str:
        """Return *text* without the key in it."""
        return text.replace(self._value, "***") if len(self._value) >= _SHORTEST_HIDDEN else text

    def hide_in(self, body: bytes) -> bytes:
        """
        Return the *body* of an answer without the key in it.

        JSON has many spellings for one text, and a piece of a key can be left where
        words are cut off; so JSON is written anew in the one spelling that is looked for.
        """
        text = body.decode("utf-8-sig", "surrogateescape")
        try:
            text = json.dumps(json.loads(text), ensure_ascii=False)
        except (ValueError, RecursionError):
            return self.hide(text).encode("utf-8", "surrogateescape")
        in_json = json.dumps(self._value)[1:-1]
        shown = text.replace(in_json, "***") if len(self._value) >= _SHORTEST_HIDDEN else text
        return shown.encode("utf-8", "surrogatepass")
