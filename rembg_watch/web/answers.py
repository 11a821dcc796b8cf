"""The JSON of ``/api/v1``: what stands on the pages, for machines. Names only join, none changes its meaning."""

import json
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from rembg_watch.jobs import Job
from rembg_watch.ledger import Call, Made
from rembg_watch.ledger.pages import Day, Tally
from rembg_watch.report.status import stamp
from rembg_watch.report.words import show

Answer = dict[str, Any]


def _amount(credits_: Decimal) -> str:
    return f"{credits_:f}"


def job(
    one: Job,
    *,
    amount: Callable[[Decimal], object] = _amount,
    moment: Callable[[datetime], str | None] = stamp,
) -> Answer:
    """Give a picture; credits are strings, so that none is rounded. The command ``jobs`` writes some things its way."""
    return {
        "id": one.id,
        "folder": one.folder,
        "source": one.source.decode("utf-8", "replace"),
        "source_hex": one.source.hex(),
        "size_bytes": one.version.size_bytes,
        "state": one.state.value,
        "target": show(one.target) if one.target else None,
        "reason": one.reason,
        "code": one.code,
        "field": one.field,
        "finding": one.finding,
        "figures": json.loads(one.figures) if one.figures else None,
        "answer_w": one.answer_w,
        "answer_h": one.answer_h,
        "attempts": one.attempts,
        "doubts": one.doubts,
        "charged": amount(one.charged),
        "enqueued_at": moment(one.enqueued_at),
        "changed_at": moment(one.changed_at),
        "delivered_at": moment(one.delivered_at) if one.delivered_at else None,
        "retry_at": moment(one.retry_at) if one.retry_at else None,
        "request_id": one.request_id,
    }


def job_in_full(one: Job, calls: Iterable[Call], made: Mapping[str, Made]) -> Answer:
    """Give a picture with its calls and files."""
    return job(one) | {
        "calls": [
            {
                "started_at": stamp(call.started_at),
                "ended_at": stamp(call.ended_at),
                "charge": call.charge,
                "credits": _amount(call.credits),
                "status": call.status,
                "code": call.code,
                "words": call.words,
                "request_id": call.request_id,
                "sent_bytes": call.sent_bytes,
                "answer_bytes": call.answer_bytes,
                "follows": call.follows,
            }
            for call in calls
        ],
        "files": [
            {
                "name": file.name,
                "state": file.state.value,
                "target": show(file.target) if file.target else None,
                "size_bytes": file.size_bytes,
                "reason": file.reason,
                "code": file.code,
                "made_at": stamp(file.made_at),
            }
            for file in made.values()
        ],
    }


def shoot(identity: int, folder: str, path: bytes, tally: Tally) -> Answer:
    """Give a shoot."""
    return {
        "id": identity,
        "folder": folder,
        "path": show(path),
        "jobs": {state.value: count for state, count in tally.counts.items()},
        "odd": tally.odd,
        "charged": _amount(tally.charged),
        "changed_at": stamp(tally.changed_at),
        "is_whole": tally.is_whole,
    }


def day(one: Day) -> Answer:
    """Give what the calls of one folder came to on one UTC day."""
    return {
        "day": f"{one.day:%Y-%m-%d}",
        "folder": one.folder,
        "calls": one.spending.calls,
        "charged": _amount(one.spending.charged),
        "doubtful": _amount(one.spending.doubtful),
        "in_doubt": one.spending.in_doubt,
        "refused": one.spending.refused,
        "doubles": one.spending.doubles,
        "repeats": one.spending.repeats,
    }
