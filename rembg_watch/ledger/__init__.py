"""
The durable table of all jobs, and of every call that was paid for.

The backlog lives here and not in memory; what is not recorded here did not happen. This
package alone speaks SQL. It decides nothing about errors (``retry``), looks at no
picture and at no folder, and holds no lock against a second daemon (``locks``).

====================  ==========================================================
``ledger.book``       ``Ledger``: add, claim, record, recover, counts and the rest
``ledger.values``     what goes in and comes out besides jobs
``ledger.statements`` the SQL of jobs, calls and targets
``ledger.schema``     the tables and MIGRATIONS
``ledger.store``      one file, its connections, commits shared by many threads
====================  ==========================================================
"""

from rembg_watch.ledger.book import Ledger
from rembg_watch.ledger.store import Access, LedgerUnavailableError, NoLedgerError
from rembg_watch.ledger.values import (
    Backlog,
    Json,
    Pruned,
    Recovery,
    SendingTwiceError,
    Spending,
    StaleJobError,
    Target,
    TargetsTakenError,
    Turn,
    Which,
)

__all__ = [
    "Access",
    "Backlog",
    "Json",
    "Ledger",
    "LedgerUnavailableError",
    "NoLedgerError",
    "Pruned",
    "Recovery",
    "SendingTwiceError",
    "Spending",
    "StaleJobError",
    "Target",
    "TargetsTakenError",
    "Turn",
    "Which",
]
