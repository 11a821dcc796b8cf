"""Where a page ended, as a word in an address: it says nothing to a person, and leads to no file."""

import base64
import binascii
from datetime import UTC, datetime, timedelta

from rembg_watch.ledger.pages import Mark

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_LARGEST = 2**62


def mark_word(mark: Mark | None) -> str | None:
    """Write where a page of pictures ended."""
    return None if mark is None else f"{(mark.changed_at - _EPOCH) // _MICROSECOND}-{mark.id}"


def mark_of(word: str | None) -> Mark | None:
    """Read it back; None for what is no such word: that is the first page."""
    moment, _, number = (word or "").partition("-")
    if not (moment.isascii() and moment.isdecimal() and number.isascii() and number.isdecimal()):
        return None
    if len(moment) > len(str(_LARGEST)) or int(number) > _LARGEST:
        return None
    try:
        return Mark(_EPOCH + timedelta(microseconds=int(moment)), int(number))
    except OverflowError:
        return None


def start_word(start: bytes | None) -> str | None:
    """Write where a page in the order of names ended."""
    return None if start is None else base64.urlsafe_b64encode(start).decode("ascii").rstrip("=")


def start_of(word: str | None) -> bytes | None:
    """Read it back; None for what is no such word: that is the first page."""
    if not word:
        return None
    try:
        return base64.b64decode(word + "=" * (-len(word) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return None
