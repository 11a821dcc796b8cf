"""
What a job is, which states it has and which ways lead from one to the next.

A job is one source in one version. This module holds values and the transition
table; it stores nothing (``ledger``) and decides nothing about errors (``retry``).
"""

from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from rembg_watch.api.errors import Charge


class State(StrEnum):
    """Where a job stands; these words are in the ledger, the log and ``status``."""

    QUEUED = "queued"  # it waits for its turn, perhaps until ``retry_at``
    SENDING = "sending"  # the intent to pay is on disk; an answer is not
    RECEIVED = "received"  # the paid answer is in the spool, not yet published
    DONE = "done"  # the cutout stands, verified, under its final name
    FAILED = "failed"  # this picture cannot be processed; the reason says why
    HELD = "held"  # it waits for a person or a setting, not for time
    IN_DOUBT = "in_doubt"  # sent, no answer known, may be charged
    VANISHED = "vanished"  # the source went away or was replaced before it was sent


TRANSITIONS: dict[State, frozenset[State]] = {
    State.QUEUED: frozenset(
        {State.QUEUED, State.SENDING, State.RECEIVED, State.DONE, State.FAILED, State.HELD, State.VANISHED}
    ),
    State.SENDING: frozenset({State.QUEUED, State.RECEIVED, State.FAILED, State.HELD, State.IN_DOUBT, State.VANISHED}),
    State.RECEIVED: frozenset({State.RECEIVED, State.DONE, State.FAILED, State.HELD, State.QUEUED, State.IN_DOUBT}),
    State.DONE: frozenset({State.DONE, State.QUEUED, State.RECEIVED}),
    State.FAILED: frozenset({State.FAILED, State.QUEUED, State.VANISHED}),
    State.HELD: frozenset({State.QUEUED, State.RECEIVED, State.FAILED, State.VANISHED}),
    State.IN_DOUBT: frozenset({State.IN_DOUBT, State.RECEIVED, State.QUEUED, State.VANISHED}),
    State.VANISHED: frozenset({State.QUEUED}),
}
"""
From each state, the states that may follow.

A state that may follow itself gets a new reason or a later turn (``queued``,
``received``), is booked differently (``in_doubt``), or has its source put away
(``done``, ``failed``). ``retry`` or ``redo`` by a person and a source that comes back
are what leads back to ``queued``. An answer that surprises goes from ``received`` to
``held``, stays in the spool, and comes back from there when a person accepts it.
"""

WORKING = frozenset({State.SENDING, State.RECEIVED})
"""States in which a worker still has something to do: it keeps its claim."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """One look of a source on disk; two equal versions are the same bytes as far as a stat can tell."""

    size_bytes: int
    mtime_ns: int
    inode: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """
    One source in one version.

    Paths are bytes, relative to the folder's input or output root: names on disk
    need not be UTF-8.
    """

    id: int
    folder: str
    source: bytes
    version: Version
    state: State
    enqueued_at: datetime
    changed_at: datetime
    attempts: int = 0  # calls that count against ``retry.max_attempts``
    doubts: int = 0  # calls whose end is unknown and that may have been charged
    retry_at: datetime | None = None  # not before this moment; None: at once
    content_key: str | None = None  # SHA-256 of the picture + parameters
    picture_key: str | None = None  # the same for all versions of the file that differ in words alone
    answer_digest: str | None = None  # SHA-256 of the answer
    answer_bytes: int = 0
    published_digest: str | None = None  # SHA-256 of the cut-out, with its metadata; None: it is the answer as it came
    published_bytes: int | None = None
    target: bytes | None = None  # where the cutout stands or will stand, relative to the output root
    charged: Decimal = Decimal(0)  # credits that this job is known or assumed to have cost
    reason: str | None = None  # a sentence for a person: why it failed, is held or waits
    code: str | None = None  # the same for machines
    field: str | None = None  # the request field that the API complained of
    request_id: str | None = None
    finding: str | None = None  # what is odd about the answer, as codes with commas between; None: nothing
    answer_w: int | None = None  # of the answer, in pixels
    answer_h: int | None = None
    figures: str | None = None  # what was measured of its alpha, as JSON
    delivered_at: datetime | None = None  # when its answer was first delivered
    is_accepted: bool = False  # a person takes the answer as it is, of whatever size
    made_with: str | None = None  # the options that the answer was asked for with, as a digest
    redo_at: datetime | None = None  # an answer from before this moment is not taken for it: it is paid for anew
    is_disposal_due: bool = False  # the source is still to be moved or deleted
    is_disposed: bool = False  # we moved or deleted the source ourselves
    gone_at: datetime | None = None  # since when the source does not stand there in this version, when it was read
    revision: int = 0  # counts what the ledger recorded; a job that is behind cannot be recorded

    @property
    def standing(self) -> tuple[str, int]:
        """Digest and size of what was put into the output: the answer, with the metadata of its source."""
        if self.published_digest is None or self.published_bytes is None:
            return self.answer_digest or "", self.answer_bytes
        return self.published_digest, self.published_bytes


REVIEW = "review"
"""The code of a job whose cut-out waits for a person to look at it."""

REJECTED = "rejected"
"""The code of a job whose cut-out a person did not want: it is not delivered, and not bought again by itself."""


@dataclass(frozen=True, slots=True)
class CallStart:
    """A call is about to be paid for: what it will have cost if we never learn its end."""

    price: Decimal
    recipe: str | None = None  # the options that it is made with, as a digest
    sent_bytes: int | None = None  # of the picture as it is sent


@dataclass(frozen=True, slots=True)
class CallEnd:
    """What a call came to, for the books, and what is known of its answer."""

    charge: Charge
    credits: Decimal = Decimal(0)  # taken, or perhaps taken
    code: str | None = None  # the refusal, for machines; None: an answer
    status: int | None = None  # of HTTP; None: there was no answer, or nobody knows any more
    answer_bytes: int | None = None
    request_id: str | None = None
    words: str | None = None  # of the refusal, for people

    @property
    def booked(self) -> Decimal:
        """The credits that count as spent: a doubtful call counts until we know better."""
        return Decimal(0) if self.charge is Charge.NO else self.credits


LISTED = 1000
"""How many unsettled sources of a folder the ledger lists; the daemon counts them all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unsettled:
    """A source that was seen and is not yet whole or still changing, so that it is no job yet."""

    source: bytes
    size_bytes: int
    since_at: datetime
    reason: str


class IllegalTransitionError(Exception):
    """A state was to follow another that it cannot follow: a mistake in this program."""


def move(job: Job, state: State, *, at: datetime, **changes: object) -> Job:
    """
    Return *job* in *state*, or refuse a way that TRANSITIONS does not know.

    Raises:
        IllegalTransitionError: *state* may not follow the state of *job*.
    """
    if state not in TRANSITIONS[job.state]:
        raise IllegalTransitionError(f"job {job.id}: {job.state} cannot become {state}")
    return replace(job, state=state, changed_at=at, **changes)  # type: ignore[arg-type]  # names are checked by replace()


def with_content(job: Job, content_key: str, *, picture_key: str | None = None) -> Job:
    """
    Return *job* with the key of what would be sent for it now, and that of its picture if it is given.

    A job that comes back in line may be sent with other parameters than before: the
    answer to the old request is then no answer to this one and is forgotten.
    """
    picture_key = picture_key or job.picture_key
    if (job.content_key, job.picture_key) == (content_key, picture_key):
        return job
    forgotten: dict[str, object] = {}
    if job.content_key != content_key:
        forgotten = {"answer_digest": None, "answer_bytes": 0, "published_digest": None, "published_bytes": None}
        forgotten |= {"answer_w": None, "answer_h": None, "figures": None, "delivered_at": None}
    return replace(job, content_key=content_key, picture_key=picture_key, **forgotten)  # type: ignore[arg-type]


def book(job: Job, end: CallEnd, *, instead_of: CallEnd | None = None) -> Job:
    """
    Return *job* with the credits of a call in its own books.

    Args:
        job: The job that the call was made for.
        end: What the call came to.
        instead_of: How the same call was booked before, when a doubt is resolved.
    """
    before = instead_of.booked if instead_of else Decimal(0)
    return replace(job, charged=job.charged - before + end.booked)
