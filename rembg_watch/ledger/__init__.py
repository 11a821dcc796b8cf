"""
The durable table of all jobs, and of every call that was paid for.

The backlog lives here and not in memory; what is not recorded here did not happen. This package
alone speaks SQL, the same for every database but in ``sqlite``. It decides nothing about errors
(``account.retry``) or whether a call may be made (``account.gate``), looks at no picture and at no
folder, and holds no lock against a second daemon (``host.locks``).

==============  ===================================================================
``port``        ``Ledger``: every verb, and what is promised of it
``values``      what goes in and comes out besides jobs, and what it refuses
``book``        the verbs over a database's tables
``intake``      sources that came, were replaced, went away or came back
``work``        jobs that are claimed, moved on, recovered and tried again
``calls``       what was paid
``bills``       the same in parts: by folder, day, directory, picture
``balances``    what the account held over time
``making``      what was made of paid answers
``reviews``     what people decided about answers
``copies``      which request a copy was sent for
``targets``     who owns which output name
``pages``       what a person turns over: pages of pictures, shoots, reasons, days
``looks``       how those are read, by key
``latest``      pictures by when they changed last, and what no index finds
``rows``        how a row becomes a job, and how jobs are found
``prepared``    statements that every picture needs, compiled once
``schema``      the tables as they are now
``migrations``  the steps by which they came to be so
``store``       what is asked of a database
``commits``     commits that threads share
``sqlite``      the store in one file; all that is particular to SQLite
``refusals``    why that file is refused, with the way out
==============  ===================================================================

``port``, ``values`` and ``pages`` are for everybody; of the others nobody outside knows.
"""

from pathlib import Path

from rembg_watch.ledger.port import Ledger
from rembg_watch.ledger.values import (
    FILE_NAME,
    Access,
    Backlog,
    Billed,
    By,
    Call,
    Json,
    Lacking,
    LedgerClosedError,
    LedgerUnavailableError,
    Made,
    MadeState,
    NoLedgerError,
    PastBalance,
    Pruned,
    Recovery,
    Review,
    Reviewed,
    SendingTwiceError,
    Spending,
    StaleJobError,
    Target,
    TargetsTakenError,
    Turn,
    Verdict,
    Which,
)

__all__ = [
    "FILE_NAME",
    "Access",
    "Backlog",
    "Billed",
    "By",
    "Call",
    "Json",
    "Lacking",
    "Ledger",
    "LedgerClosedError",
    "LedgerUnavailableError",
    "Made",
    "MadeState",
    "NoLedgerError",
    "PastBalance",
    "Pruned",
    "Recovery",
    "Review",
    "Reviewed",
    "SendingTwiceError",
    "Spending",
    "StaleJobError",
    "Target",
    "TargetsTakenError",
    "Turn",
    "Verdict",
    "Which",
    "open_ledger",
]


def open_ledger(state_dir: Path, access: Access = Access.OWN) -> Ledger:
    """
    Open the ledger of a state directory; its owner makes it and brings it up to date.

    Raises:
        NoLedgerError: There is none and *access* makes none.
        LedgerClosedError: This user may not look at it.
        LedgerError: It is damaged, newer than this program, or no ledger; the
            message names the way out.
    """
    from rembg_watch.ledger.book import SqlLedger  # here, so that values and port load no database
    from rembg_watch.ledger.sqlite import SqliteStore

    return SqlLedger(SqliteStore.open(state_dir / FILE_NAME, access))
