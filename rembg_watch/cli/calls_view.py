"""
A picture's calls in words and figures: what ``jobs --calls`` shows.

Pure: calls as the books have them come in, lines and values go out.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from rembg_watch.api.errors import Charge
from rembg_watch.ledger import Call
from rembg_watch.report.words import credits_number, credits_text, size_text, span_text

_CHARGED = {Charge.YES: "charged", Charge.MAYBE: "perhaps charged", Charge.NO: "not charged"}


def line(call: Call) -> str:
    """Say in one line when a call was made, how long it took, what it came to and what it cost."""
    began = f"{call.started_at.astimezone():%Y-%m-%d %H:%M:%S}"
    took = "no end known" if call.ended_at is None else span_text((call.ended_at - call.started_at).total_seconds())
    parts = [
        took,
        f"HTTP {call.status}" if call.status is not None else None,
        call.code,
        f"{size_text(call.sent_bytes)} sent" if call.sent_bytes is not None else None,
        f"{size_text(call.answer_bytes)} back" if call.answer_bytes is not None else None,
        _cost(call),
        f"id {_safe(call.request_id)}" if call.request_id else None,
    ]
    said = f": {_safe(call.words)}" if call.words else ""
    return f"call {began}: {', '.join(part for part in parts if part)}{said}"


def _cost(call: Call) -> str:
    if call.charge is Charge.NO:
        return _CHARGED[call.charge]
    return f"{credits_text(call.credits)} {_CHARGED[call.charge]}"


def _safe(text: str) -> str:
    """Leave out what would harm a terminal: an API, or a proxy before it, may say anything."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


def values(calls: Iterable[Call], recipes: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return calls as JSON values; *recipes* has the options behind their digests."""
    return [
        {
            "id": call.id,
            "started_at": call.started_at.isoformat(),
            "ended_at": call.ended_at.isoformat() if call.ended_at else None,
            "duration_s": (call.ended_at - call.started_at).total_seconds() if call.ended_at else None,
            "charge": call.charge.value,
            "credits": credits_number(call.credits),
            "status": call.status,
            "code": call.code,
            "words": call.words,
            "request_id": call.request_id,
            "sent_bytes": call.sent_bytes,
            "answer_bytes": call.answer_bytes,
            "options": recipes.get(call.recipe or ""),
        }
        for call in calls
    ]
