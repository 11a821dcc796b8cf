"""What the account held over time. It is written down by whoever reads the account, and read by people."""

from datetime import datetime, timedelta

from sqlalchemy import Connection, delete, insert, select

from rembg_watch.ledger.schema import BALANCES
from rembg_watch.ledger.values import PastBalance

KEPT = timedelta(days=3 * 366)
"""How long it is remembered."""

_COLUMNS = select(BALANCES.c.at, BALANCES.c.included, BALANCES.c.prepaid, BALANCES.c.period_end)


def keep(connection: Connection, balance: PastBalance) -> None:
    """Write down what the account holds, and forget what it held long ago."""
    connection.execute(delete(BALANCES).where((BALANCES.c.at == balance.at) | (BALANCES.c.at < balance.at - KEPT)))
    row = {"at": balance.at, "included": balance.included, "prepaid": balance.prepaid}
    connection.execute(insert(BALANCES), row | {"period_end": balance.period_end_at})


def last(connection: Connection) -> PastBalance | None:
    """Return what was written down last."""
    return next(iter(_found(connection, 1, None)), None)


def since(connection: Connection, since: datetime | None = None) -> list[PastBalance]:
    """Return what was written down from a moment on, the oldest first."""
    return _found(connection, None, since)[::-1]


def _found(connection: Connection, limit: int | None, since: datetime | None) -> list[PastBalance]:
    statement = _COLUMNS.order_by(BALANCES.c.at.desc()).limit(limit)
    rows = connection.execute(statement.where(BALANCES.c.at >= since) if since else statement)
    return [PastBalance(at=at, included=inc, prepaid=prepaid, period_end_at=end) for at, inc, prepaid, end in rows]
