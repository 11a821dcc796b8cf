"""What a month came to as a file for a spreadsheet: the figures of ``report``, by folder, shoot, day or picture."""

import re
from datetime import UTC, datetime

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from rembg_watch.account.credits import next_month_at
from rembg_watch.report import bill
from rembg_watch.report.bill import Division
from rembg_watch.web.daemons import Daemon

_MONTH = re.compile(r"(20\d\d)-(0[1-9]|1[0-2])")


def csv(daemon: Daemon, request: Request, *, now: datetime) -> Response:
    """Answer with the bill of a UTC month, this one where none is named."""
    month = request.query_params.get("month") or f"{now.astimezone(UTC):%Y-%m}"
    by = request.query_params.get("by", Division.SHOOT)
    found = _MONTH.fullmatch(month)
    if found is None or by not in list(Division):
        raise HTTPException(
            404, "There is no such bill: name a month such as 2026-10, and folder, shoot, day or picture."
        )
    begin = datetime(int(found[1]), int(found[2]), 1, tzinfo=UTC)
    division = Division(by)
    parts = daemon.ledger().billed(division.by, begin, next_month_at(begin))
    text = bill.csv_text(bill.rows(parts, division, daemon.depth), division)
    name = f"rembg-watch-{month}-by-{division.value}.csv"
    headers = {"content-disposition": f'attachment; filename="{name}"', "cache-control": "private, no-cache"}
    return Response(text.encode(), media_type="text/csv; charset=utf-8", headers=headers)
