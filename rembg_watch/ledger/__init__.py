"""
The durable table of all jobs, and of every call that was paid for.

The backlog lives here and not in memory; what is not recorded here did not happen. This
package alone speaks SQL. It decides nothing about errors (``retry``), looks at no
picture and at no folder, and holds no lock against a second daemon (``locks``).

============  =====================================================================
``book``      ``Ledger``: add, claim, record, recover, counts and the rest
``values``    what goes in and comes out besides jobs
``intake``    sources that came, were replaced, went away or came back
``work``      jobs that are claimed, moved on, recovered and tried again
``calls``     what was paid
``targets``   who owns which output name
``rows``      how a row becomes a job, and how jobs are found
``schema``    the tables and MIGRATIONS
``store``     one file and its connections; all that is particular to SQLite
``commits``   commits that threads share
``refusals``  why a ledger is refused, with the way out
============  =====================================================================
"""

from rembg_watch.ledger.book import Ledger
from rembg_watch.ledger.refusals import LedgerUnavailableError, NoLedgerError
from rembg_watch.ledger.store import Access
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
