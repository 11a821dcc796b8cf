"""
Which request a copy was sent for, by the bytes of the copy: two sources may come to the same. Portable SQL.

A copy is made of a picture that the service does not take as it is, or might misread. It is named by the picture,
since another version of an imaging library makes other bytes of it; so that it is the same as another's shows here.
"""

from datetime import datetime

from sqlalchemy import Connection, bindparam, delete, insert, select, update

from rembg_watch.ledger.prepared import Prepared
from rembg_watch.ledger.schema import COPIES

_SENT_FOR = Prepared(select(COPIES.c.content_key).where(COPIES.c.sent_key == bindparam("sent_key")))
_ADD = Prepared(insert(COPIES).inline(), sets=("sent_key", "content_key", "sent_at"))
_CHANGE = Prepared(update(COPIES).where(COPIES.c.sent_key == bindparam("this_key")), sets=("content_key", "sent_at"))


def sent_for(connection: Connection, sent_key: str) -> str | None:
    """Return the content key of the request that such a copy was sent for; None: none was."""
    found = _SENT_FOR.scalar(connection, {"sent_key": sent_key})
    return None if found is None else str(found)


def remember(connection: Connection, sent_key: str, content_key: str, at: datetime) -> None:
    """Write down which request a copy is sent for, the latest."""
    values = {"content_key": content_key, "sent_at": at}
    if _CHANGE.run(connection, values | {"this_key": sent_key}) == 0:
        _ADD.run(connection, values | {"sent_key": sent_key})


def prune(connection: Connection, before: datetime, limit: int) -> int:
    """Forget some that were sent before a moment; return how many."""
    old = select(COPIES.c.sent_key).where(COPIES.c.sent_at < before).limit(limit)
    return connection.execute(delete(COPIES).where(COPIES.c.sent_key.in_(old))).rowcount
