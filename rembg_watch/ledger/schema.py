"""
The tables of the ledger as they are now, and how values are stored in them.

How values are stored:

=============  ==================================================================
a moment       whole microseconds since 1970, UTC: exact, sortable, the same
               everywhere
credits        whole billionths of a credit: exact, and the database can add them
a path         bytes, since names on disk need not be UTF-8
mtime, inode   decimal digits: both can be wider than a database's integers
words          text; what UTF-8 cannot hold is written as ``\\udc80``
=============  ==================================================================

No row is read or written here, and no table is made: ``migrations`` does that, step by step.
"""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Dialect,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    text,
)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_BILLION = 10**9
_Id = BigInteger().with_variant(Integer, "sqlite")  # SQLite counts up by itself in INTEGER alone


class Moment(TypeDecorator[datetime]):
    """An aware UTC moment as whole microseconds since 1970."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:  # noqa: ARG002
        """Refuse moments without a zone: nobody could say when they were."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value!r} has no time zone")
        return (value - _EPOCH) // _MICROSECOND

    def process_result_value(self, value: int | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Return the moment in UTC."""
        return None if value is None else _EPOCH + timedelta(microseconds=value)


class Credits(TypeDecorator[Decimal]):
    """Credits as whole billionths."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: Decimal | None, dialect: Dialect) -> int | None:  # noqa: ARG002
        """Refuse what cannot be stored exactly; money is not rounded in silence."""
        if value is None:
            return None
        billionths = value * _BILLION
        if billionths != int(billionths):
            raise ValueError(f"{value} credits is finer than a billionth")
        return int(billionths)

    def process_result_value(self, value: int | None, dialect: Dialect) -> Decimal | None:  # noqa: ARG002
        """Return the credits without needless zeros."""
        return None if value is None else credits_of(value)


def credits_of(billionths: int) -> Decimal:
    """Return whole billionths, or a sum of them, as credits."""
    whole, rest = divmod(billionths, _BILLION)
    return Decimal(whole) if rest == 0 else (Decimal(billionths) / _BILLION).normalize()


class Wide(TypeDecorator[int]):
    """A whole number of any size, as digits."""

    impl = String
    cache_ok = True

    def process_bind_param(self, value: int | None, dialect: Dialect) -> str | None:  # noqa: ARG002
        """Write the digits."""
        return None if value is None else str(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> int | None:  # noqa: ARG002
        """Read the digits."""
        return None if value is None else int(value)


class Words(TypeDecorator[str]):
    """Text for a person, which may quote a name that is no UTF-8."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:  # noqa: ARG002
        """Escape what no database takes."""
        if value is None or (value.isascii() and "\0" not in value):
            return value
        return value.encode("utf-8", "backslashreplace").decode("utf-8").replace("\0", "\\x00")


METADATA = MetaData()

STEPS = Table(
    "schema_steps",
    METADATA,
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("applied_at", Moment, nullable=False),
)
"""Which steps of ``migrations`` this ledger has had."""

JOBS = Table(
    "jobs",
    METADATA,
    Column("id", _Id, primary_key=True),
    Column("folder", Text, nullable=False),
    Column("parent", LargeBinary, nullable=False),  # the directory of the source, so that a scan asks for one at a time
    Column("source", LargeBinary, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("mtime_ns", Wide, nullable=False),
    Column("inode", Wide, nullable=False),
    Column("state", String(16), nullable=False),
    Column("enqueued_at", Moment, nullable=False),
    Column("changed_at", Moment, nullable=False),
    Column("due_at", Moment),  # its place in line; null while it is claimed or not in line
    Column("claimed_by", Text),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("doubts", Integer, nullable=False, server_default="0"),
    Column("retry_at", Moment),
    Column("content_key", String(128)),
    Column("answer_digest", String(128)),
    Column("answer_bytes", BigInteger, nullable=False, server_default="0"),
    Column("published_digest", String(128)),
    Column("published_bytes", BigInteger),
    Column("picture_key", String(128)),
    Column("target", LargeBinary),
    Column("charged", Credits, nullable=False, server_default="0"),
    Column("reason", Words),
    Column("code", Words),
    Column("field", Words),
    Column("request_id", Words),
    Column("finding", Words),
    Column("answer_w", Integer),
    Column("answer_h", Integer),
    Column("figures", Text),
    Column("delivered_at", Moment),
    Column("is_accepted", Boolean, nullable=False, server_default=text("false")),
    Column("made_with", String(32)),
    Column("redo_at", Moment),
    Column("is_disposal_due", Boolean, nullable=False, server_default=text("false")),
    Column("is_disposed", Boolean, nullable=False, server_default=text("false")),
    Column("gone_at", Moment),
    Column("revision", Integer, nullable=False, server_default="0"),
    sqlite_autoincrement=True,  # an id is never given twice, or a call would belong to a stranger
)
"""One row per source version. A source stands in one version at most: the row without ``gone_at``."""

Index("jobs_by_version", JOBS.c.folder, JOBS.c.source, JOBS.c.mtime_ns, JOBS.c.inode, JOBS.c.size_bytes, unique=True)
# PostgreSQL has such conditions too; to name them loads all of its dialects, 2.4 MB, and belongs where it is supported.
_STANDS = JOBS.c.gone_at.is_(None)
Index("jobs_that_stand", JOBS.c.folder, JOBS.c.parent, JOBS.c.source, unique=True, sqlite_where=_STANDS)
Index("jobs_in_line", JOBS.c.state, JOBS.c.folder, JOBS.c.due_at, JOBS.c.id, sqlite_where=JOBS.c.due_at.is_not(None))
Index("jobs_by_state", JOBS.c.state, JOBS.c.folder, JOBS.c.changed_at)
Index("jobs_by_content", JOBS.c.content_key, sqlite_where=JOBS.c.content_key.is_not(None))
Index("jobs_by_delivery", JOBS.c.delivered_at, sqlite_where=JOBS.c.delivered_at.is_not(None))
Index("jobs_to_dispose_of", JOBS.c.folder, sqlite_where=JOBS.c.is_disposal_due.is_(True))

JOB_COUNTS = Table(
    "job_counts",
    METADATA,
    Column("folder", Text, primary_key=True),
    Column("state", String(16), primary_key=True),
    Column("jobs", BigInteger, nullable=False),
)
"""
How many jobs each folder has in each state but ``sending`` and ``received``, read in no time.

New jobs are added where they are inserted (``intake``); what moves or is deleted is counted by the database itself
(``migrations``).
"""

CALLS = Table(
    "calls",
    METADATA,
    Column("id", _Id, primary_key=True),
    Column("job_id", BigInteger, nullable=False, index=True),
    Column("folder", Text, nullable=False),
    Column("content_key", String(128), nullable=False, index=True),
    Column("started_at", Moment, nullable=False, index=True),
    Column("ended_at", Moment),
    Column("charge", String(8), nullable=False),
    Column("credits", Credits, nullable=False),
    Column("code", Words),
    Column("follows", String(8), nullable=False),  # the charge of earlier calls for this content: no, yes, maybe
    Column("recipe", String(32)),
    Column("sent_bytes", BigInteger),
    Column("status", Integer),
    Column("answer_bytes", BigInteger),
    Column("request_id", Words),
    Column("words", Words),
    sqlite_autoincrement=True,
)
"""One row per API call, written with the intent to make it: until its end is known it may be charged."""

DAYS = Table(
    "days",
    METADATA,
    Column("day", Moment, primary_key=True),
    Column("folder", Text, primary_key=True),
    Column("calls", BigInteger, nullable=False),
    Column("charged", BigInteger, nullable=False),
    Column("doubtful", BigInteger, nullable=False),
    Column("in_doubt", BigInteger, nullable=False),
    Column("refused", BigInteger, nullable=False),
    Column("doubles", BigInteger, nullable=False),
    Column("repeats", BigInteger, nullable=False),
    Column("delivered", BigInteger, nullable=False, server_default="0"),
)
"""What is kept of calls and pictures that were pruned: their sums per UTC day and folder."""

RECIPES = Table(
    "recipes",
    METADATA,
    Column("digest", String(32), primary_key=True),
    Column("options", Text, nullable=False),
)
"""The options that pictures were ever sent with, in one stable spelling, by the digest that calls name them by."""

BALANCES = Table(
    "balances",
    METADATA,
    Column("at", Moment, primary_key=True),
    Column("included", Credits, nullable=False),
    Column("prepaid", Credits, nullable=False),
    Column("period_end", Moment),
)
"""What the account held over time: a row where it has changed, at most one an hour."""

TARGETS = Table(
    "targets",
    METADATA,
    Column("id", _Id, primary_key=True),
    Column("folder", Text, nullable=False),
    Column("key", LargeBinary, nullable=False),  # ``name_key``: without case and Unicode form
    Column("target", LargeBinary, nullable=False),
    Column("source", LargeBinary, nullable=False),
    Column("claimed_at", Moment, nullable=False),
    Column("digest", String(128)),
    Column("size_bytes", BigInteger),
    Column("mtime_ns", Wide),
    Column("inode", Wide),
    UniqueConstraint("folder", "key"),
    Index("targets_by_source", "folder", "source"),
)
"""Which source owns which output name."""

DELIVERABLES = Table(
    "deliverables",
    METADATA,
    Column("id", _Id, primary_key=True),
    Column("job_id", BigInteger, nullable=False),
    Column("name", Text, nullable=False),
    Column("recipe_digest", String(32), nullable=False),
    Column("state", String(16), nullable=False),
    Column("target", LargeBinary),
    Column("digest", String(128)),
    Column("size_bytes", BigInteger),
    Column("reason", Words),
    Column("code", Words),
    Column("made_at", Moment, nullable=False),
    UniqueConstraint("job_id", "name"),
)
"""What was made of each picture's paid answer."""

COPIES = Table(
    "copies",
    METADATA,
    Column("sent_key", String(128), primary_key=True),
    Column("content_key", String(128), nullable=False),
    Column("sent_at", Moment, nullable=False),
    Index("copies_by_age", "sent_at"),
)
"""What was sent in the place of a picture, by its bytes and the parameters, and the request that it was sent for."""


REVIEWS = Table(
    "reviews",
    METADATA,
    Column("id", _Id, primary_key=True),
    Column("job_id", BigInteger, nullable=False),
    Column("content_key", String(128), nullable=False),
    Column("answer_digest", String(128), nullable=False),
    Column("verdict", String(16), nullable=False),
    Column("note", Words),
    Column("who", Words),
    Column("at", Moment, nullable=False),
    UniqueConstraint("content_key", "answer_digest"),
)
"""What people decided about answers: of the very bytes, so that a new answer has no verdict."""

NOTES = Table("notes", METADATA, Column("name", Text, primary_key=True), Column("value", Text, nullable=False))
"""Small things to remember, as JSON."""

UNSETTLED = Table(
    "unsettled",
    METADATA,
    Column("folder", Text, primary_key=True),
    Column("source", LargeBinary, primary_key=True),
    Column("size_bytes", BigInteger, nullable=False),
    Column("since_at", Moment, nullable=False),
    Column("reason", Words, nullable=False),
)
"""What was seen and is no job yet, for those who look from outside."""
