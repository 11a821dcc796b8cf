"""
The steps by which a ledger's tables came to be as ``schema`` describes them.

Forward only, and in each database's own words: a step that asked ``schema`` or SQLAlchemy
what to do would do something else a year later, while the ledgers in the field have had
it and will not have it again. Whoever changes a table adds a step and leaves the older
ones alone; a test compares what they add up to with ``schema``.
"""

from collections.abc import Callable, Sequence
from datetime import datetime

from sqlalchemy import Connection, func, insert, inspect, select

from rembg_watch.ledger.schema import STEPS

Migration = Callable[[Connection], None]

_VERSION_1 = (
    """
    CREATE TABLE schema_steps (version INTEGER NOT NULL, applied_at BIGINT NOT NULL, PRIMARY KEY (version))
    """,
    """
    CREATE TABLE jobs (
        id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, folder TEXT NOT NULL, parent BLOB NOT NULL, source BLOB NOT NULL,
        size_bytes BIGINT NOT NULL, mtime_ns VARCHAR NOT NULL, inode VARCHAR NOT NULL, state VARCHAR(16) NOT NULL,
        enqueued_at BIGINT NOT NULL, changed_at BIGINT NOT NULL, due_at BIGINT, claimed_by TEXT,
        attempts INTEGER DEFAULT '0' NOT NULL, doubts INTEGER DEFAULT '0' NOT NULL, retry_at BIGINT,
        content_key VARCHAR(128), answer_digest VARCHAR(128), answer_bytes BIGINT DEFAULT '0' NOT NULL, target BLOB,
        charged BIGINT DEFAULT '0' NOT NULL, reason TEXT, code TEXT, field TEXT, request_id TEXT,
        is_disposal_due BOOLEAN DEFAULT false NOT NULL, is_disposed BOOLEAN DEFAULT false NOT NULL, gone_at BIGINT,
        revision INTEGER DEFAULT '0' NOT NULL
    )
    """,
    "CREATE UNIQUE INDEX jobs_by_version ON jobs (folder, source, mtime_ns, inode, size_bytes)",
    "CREATE UNIQUE INDEX jobs_that_stand ON jobs (folder, parent, source) WHERE gone_at IS NULL",
    "CREATE INDEX jobs_in_line ON jobs (state, folder, due_at, id) WHERE due_at IS NOT NULL",
    "CREATE INDEX jobs_by_state ON jobs (state, folder, changed_at)",
    "CREATE INDEX jobs_by_content ON jobs (content_key) WHERE content_key IS NOT NULL",
    "CREATE INDEX jobs_to_dispose_of ON jobs (folder) WHERE is_disposal_due IS 1",
    """
    CREATE TABLE calls (
        id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, job_id BIGINT NOT NULL, folder TEXT NOT NULL,
        content_key VARCHAR(128) NOT NULL, started_at BIGINT NOT NULL, ended_at BIGINT, charge VARCHAR(8) NOT NULL,
        credits BIGINT NOT NULL, code TEXT, follows VARCHAR(8) NOT NULL
    )
    """,
    "CREATE INDEX ix_calls_job_id ON calls (job_id)",
    "CREATE INDEX ix_calls_content_key ON calls (content_key)",
    "CREATE INDEX ix_calls_started_at ON calls (started_at)",
    """
    CREATE TABLE days (
        day BIGINT NOT NULL, folder TEXT NOT NULL, calls BIGINT NOT NULL, charged BIGINT NOT NULL,
        doubtful BIGINT NOT NULL, in_doubt BIGINT NOT NULL, refused BIGINT NOT NULL, doubles BIGINT NOT NULL,
        repeats BIGINT NOT NULL, PRIMARY KEY (day, folder)
    )
    """,
    """
    CREATE TABLE targets (
        id INTEGER NOT NULL, folder TEXT NOT NULL, "key" BLOB NOT NULL, target BLOB NOT NULL, source BLOB NOT NULL,
        claimed_at BIGINT NOT NULL, digest VARCHAR(128), size_bytes BIGINT, mtime_ns VARCHAR, inode VARCHAR,
        PRIMARY KEY (id), UNIQUE (folder, "key")
    )
    """,
    "CREATE INDEX targets_by_source ON targets (folder, source)",
    "CREATE TABLE notes (name TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (name))",
    """
    CREATE TABLE unsettled (
        folder TEXT NOT NULL, source BLOB NOT NULL, size_bytes BIGINT NOT NULL, since_at BIGINT NOT NULL,
        reason TEXT NOT NULL, PRIMARY KEY (folder, source)
    )
    """,
)

_VERSION_2 = (
    "ALTER TABLE jobs ADD COLUMN finding TEXT",
    "ALTER TABLE jobs ADD COLUMN is_accepted BOOLEAN DEFAULT false NOT NULL",
    "ALTER TABLE jobs ADD COLUMN made_with VARCHAR(32)",
    "ALTER TABLE jobs ADD COLUMN redo_at BIGINT",
)
"""Answers that surprise are held and accepted by a person; cut-outs are made anew where that is asked for."""


_VERSION_3 = (
    """
    CREATE TABLE job_counts (
        folder TEXT NOT NULL, state VARCHAR(16) NOT NULL, jobs BIGINT NOT NULL, PRIMARY KEY (folder, state)
    )
    """,
    """
    INSERT INTO job_counts SELECT folder, state, count(*) FROM jobs
        WHERE state NOT IN ('sending', 'received') GROUP BY folder, state
    """,
    """
    CREATE TRIGGER jobs_leave AFTER UPDATE OF state ON jobs
        WHEN OLD.state <> NEW.state AND OLD.state NOT IN ('sending', 'received')
    BEGIN
        UPDATE job_counts SET jobs = jobs - 1 WHERE folder = OLD.folder AND state = OLD.state;
    END
    """,
    """
    CREATE TRIGGER jobs_arrive AFTER UPDATE OF state ON jobs
        WHEN OLD.state <> NEW.state AND NEW.state NOT IN ('sending', 'received')
    BEGIN
        INSERT INTO job_counts VALUES (NEW.folder, NEW.state, 1)
            ON CONFLICT (folder, state) DO UPDATE SET jobs = jobs + 1;
    END
    """,
    """
    CREATE TRIGGER jobs_go AFTER DELETE ON jobs WHEN OLD.state NOT IN ('sending', 'received')
    BEGIN
        UPDATE job_counts SET jobs = jobs - 1 WHERE folder = OLD.folder AND state = OLD.state;
    END
    """,
)
"""
Jobs are counted as they change: to count a million of them took a tenth of a second, each second.

Those that are being sent or delivered are few, and each picture passes there: they are counted when somebody asks.
"""


_VERSION_4 = (
    "ALTER TABLE jobs ADD COLUMN published_digest VARCHAR(128)",
    "ALTER TABLE jobs ADD COLUMN published_bytes BIGINT",
    "ALTER TABLE jobs ADD COLUMN picture_key VARCHAR(128)",
)
"""
Cut-outs get the metadata of their sources: what stands in an output is not, byte for byte, what was answered;
and who writes words into a source makes another file of it, but no other picture.
"""


_VERSION_5 = (
    """
    CREATE TABLE deliverables (
        id INTEGER NOT NULL, job_id BIGINT NOT NULL, name TEXT NOT NULL, recipe_digest VARCHAR(32) NOT NULL,
        state VARCHAR(16) NOT NULL, target BLOB, digest VARCHAR(128), size_bytes BIGINT, reason TEXT, code TEXT,
        made_at BIGINT NOT NULL, PRIMARY KEY (id), UNIQUE (job_id, name)
    )
    """,
)
"""Several files are made of one paid answer."""


_VERSION_6 = (
    """
    CREATE TABLE copies (
        sent_key VARCHAR(128) NOT NULL, content_key VARCHAR(128) NOT NULL, sent_at BIGINT NOT NULL,
        PRIMARY KEY (sent_key)
    )
    """,
    "CREATE INDEX copies_by_age ON copies (sent_at)",
)
"""Two pictures whose copies, as sent, are the same bytes are one request."""


_VERSION_7 = (
    "ALTER TABLE jobs ADD COLUMN answer_w INTEGER",
    "ALTER TABLE jobs ADD COLUMN answer_h INTEGER",
    "ALTER TABLE jobs ADD COLUMN figures TEXT",
    "ALTER TABLE jobs ADD COLUMN delivered_at BIGINT",
    """
    CREATE TABLE reviews (
        id INTEGER NOT NULL, job_id BIGINT NOT NULL, content_key VARCHAR(128) NOT NULL,
        answer_digest VARCHAR(128) NOT NULL, verdict VARCHAR(16) NOT NULL, note TEXT, who TEXT, at BIGINT NOT NULL,
        PRIMARY KEY (id), UNIQUE (content_key, answer_digest)
    )
    """,
)
"""Cut-outs are measured, and people judge the odd ones."""


_VERSION_8 = (
    "ALTER TABLE calls ADD COLUMN recipe VARCHAR(32)",
    "ALTER TABLE calls ADD COLUMN sent_bytes BIGINT",
    "ALTER TABLE calls ADD COLUMN status INTEGER",
    "ALTER TABLE calls ADD COLUMN answer_bytes BIGINT",
    "ALTER TABLE calls ADD COLUMN request_id TEXT",
    "ALTER TABLE calls ADD COLUMN words TEXT",
    "ALTER TABLE days ADD COLUMN delivered BIGINT DEFAULT '0' NOT NULL",
    "CREATE TABLE recipes (digest VARCHAR(32) NOT NULL, options TEXT NOT NULL, PRIMARY KEY (digest))",
    """
    CREATE TABLE balances (
        at BIGINT NOT NULL, included BIGINT NOT NULL, prepaid BIGINT NOT NULL, period_end BIGINT, PRIMARY KEY (at)
    )
    """,
    """
    UPDATE jobs SET delivered_at = changed_at
        WHERE state = 'done' AND delivered_at IS NULL AND answer_digest IS NOT NULL
    """,
    "CREATE INDEX jobs_by_delivery ON jobs (delivered_at) WHERE delivered_at IS NOT NULL",
)
"""
Each call has its story, the options have their text, and the balance its past.

What a month delivered is found by an index: each picture enters it once, and without it the bill of a month a year ago
takes two seconds of a million jobs. Versions before 7 did not write it down; when it changed last is close.
"""


def _step(*statements: str) -> Migration:
    def take(connection: Connection) -> None:
        for statement in statements:
            connection.exec_driver_sql(statement)

    return take


ON_SQLITE: tuple[Migration, ...] = (
    _step(*_VERSION_1),
    _step(*_VERSION_2),
    _step(*_VERSION_3),
    _step(*_VERSION_4),
    _step(*_VERSION_5),
    _step(*_VERSION_6),
    _step(*_VERSION_7),
    _step(*_VERSION_8),
)
"""From nothing to today's tables in SQLite; a ledger's version is how many of them it has had."""


def version_of(connection: Connection) -> int:
    """Say how many steps this database has had; 0 means that it is no ledger."""
    if not inspect(connection).has_table(STEPS.name):
        return 0
    return connection.scalar(select(func.max(STEPS.c.version))) or 0


def migrate(connection: Connection, at: datetime, steps: Sequence[Migration]) -> None:
    """Take the steps that this database has not had, all of them in the caller's one transaction."""
    for version in range(version_of(connection) + 1, len(steps) + 1):
        steps[version - 1](connection)
        connection.execute(insert(STEPS), {"version": version, "applied_at": at})
