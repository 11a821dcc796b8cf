"""
The ledger as the rest of the program sees it: what each verb does and what it promises.

``Ledger`` is the whole of it, made of small parts; whoever needs one part asks for that
one. Which database keeps it is decided in ``open_ledger`` and known nowhere else.

Every method may be called from any thread. What a method wrote is durable when it
returns, unless it says otherwise. All of them raise ``LedgerError``, or
``LedgerUnavailableError`` where trying again later makes sense; nothing is stored then,
but of a long list, which is written in several transactions, what was written before.
"""

from collections.abc import Collection, Container, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Protocol, Self

from rembg_watch.jobs import CallEnd, CallStart, Job, State, Unsettled, Version
from rembg_watch.ledger.pages import (
    EVERY_PICTURE,
    LOOKED_AT,
    Day,
    Mark,
    Members,
    Page,
    Reason,
    Seen,
    Shoot,
    Shoots,
    Tally,
    Wanted,
)
from rembg_watch.ledger.values import (
    Backlog,
    Billed,
    By,
    Call,
    Json,
    Lacking,
    Made,
    PastBalance,
    Pruned,
    Recovery,
    Review,
    Reviewed,
    Spending,
    Target,
    Turn,
    Verdict,
    Which,
)
from rembg_watch.passed_over import PassedOver

EVERYTHING = Which()


class Sources(Protocol):
    """What the watch side asks and writes: sources that came, were replaced or went away."""

    def known(self, folder: str, parent: bytes) -> Mapping[bytes, Version]:
        """
        Return the version in which each source stands in one directory, by its name.

        Sources that vanished or that were moved away are not in it: seen again, they
        are to be added again. *parent* is relative to the folder's input root; empty for the root.
        """

    def parents(self, folder: str) -> list[bytes]:
        """Return each directory in which a source stands, so that one that was removed is noticed."""

    def add(self, folder: str, sources: Iterable[tuple[bytes, Version]], at: datetime) -> int:
        """
        Queue each source that is new or stands there in a new version; return how many jobs that makes.

        What is there already makes no second job. A newer version lets the older one
        vanish if that was not sent yet. A version that comes back is queued again if
        it had vanished or failed, or if the program itself had put it away.

        Args:
            folder: The folder's name.
            sources: Settled sources, relative to the folder's input root, with what a stat says of them.
            at: Now.
        """

    def reject(self, folder: str, source: bytes, version: Version, at: datetime, *, reason: str, code: str) -> bool:
        """
        List a source as failed that can never be sent: broken, or no picture at all; return whether that is news.

        No call is ever made for it. A newer version of it is looked at like any other.
        """

    def gone(self, folder: str, sources: Iterable[bytes], at: datetime) -> int:
        """
        Write down that *sources* are not there any more; return how many jobs vanish with them.

        What is being sent or published goes on. A call in doubt stays in doubt.
        """

    def set_unsettled(self, folder: str, items: Iterable[Unsettled]) -> bool:
        """
        Make *items* the unsettled sources of a folder, all there are; return whether anything changed.

        Not durable: the next scan sees them again.
        """

    def set_passed_over(self, folder: str, found: PassedOver) -> None:
        """Remember what is knowingly not sent of a folder, in place of what was. Not durable, for the same reason."""


class Jobs(Protocol):
    """What the pipeline does with jobs: claim them, record each step, put right what a crash left."""

    def claim(
        self, limit: int, *, at: datetime, run_id: str, turns: Iterable[Turn], state: State = State.QUEUED
    ) -> list[Job]:
        """
        Take up to *limit* jobs that are due, so that nobody else takes them; return them in the order of work.

        Folders with a higher priority go first; folders of the same priority take
        turns; in each the oldest goes first. A job waits while an older version of
        its source is being sent or published. A claim is dropped when the job is
        recorded as finished or put back, by ``release`` and by ``recover``.

        Not durable: a claim that a power cut takes back does no harm, since nothing was sent for it.

        Args:
            limit: How many at most.
            at: Now; a job whose ``retry_at`` is later is not due.
            run_id: Who claims.
            turns: The folders that may have jobs claimed.
            state: ``queued`` for what is to be sent, ``received`` for paid answers that wait to be published.
        """

    def release(self, jobs: Iterable[Job]) -> int:
        """Put claimed jobs back to their place in line, as they were; return how many. Not durable."""

    def record(
        self,
        job: Job,
        *,
        call: CallStart | CallEnd | None = None,
        names: Iterable[bytes] = (),
        published: Target | None = None,
        keeps_claim: bool | None = None,
        is_durable: bool = True,
    ) -> Job:
        """
        Store a job that was moved on, and return it as it is now: go on with that one.

        With state ``sending`` goes the start of a call: it is the intent to pay. A job
        that leaves ``sending`` says what the call came to; a job whose answer or doubt
        turns out otherwise says it again, and the same call is booked anew. The credits
        are added to ``job.charged`` here and nowhere else. All of it is one transaction.

        Args:
            job: As ``move`` made it from the latest version that the caller had from here.
            call: What begins or ends with it.
            names: Candidates for its output name, as for ``claim_target``, where the job gets one in the same breath.
            published: What now stands under the output name; the source must own it.
            keeps_claim: Whether the caller goes on working on it. By default with
                ``sending`` and ``received`` alone.
            is_durable: False for what the next start would find out by itself.

        Raises:
            StaleJobError: Somebody else recorded the job meanwhile: it was retried by
                hand, its source went away or was replaced. Leave it.
            SendingTwiceError: Another job is sending the same content: wait for its answer.
            IllegalTransitionError: The stored state cannot become this one.
            TargetsTakenError: No name is left, or the source does not own what was published.
            ValueError: What is said about calls does not fit the states.
        """

    def recover(self, at: datetime) -> Recovery:
        """
        Put right what a run left that ended in the middle; the owner calls it once at its start.

        What was being sent is in doubt. Claims are dropped. Paid answers stay
        ``received`` and are to be claimed and published before anything is sent. What was put off
        without ever having been sent is due.
        """

    def pull_in(self, folders: Iterable[str], at: datetime) -> int:
        """
        Make due what waits for a moment that only a wrong clock can have named; return how many jobs that are.

        Whatever was written down as "now" and lies ahead, and a wait longer than any of
        ours, come from a clock that was set back since. Those jobs stand behind what
        was due before and ahead of what comes later, in the order in which they came.
        Calls that lie ahead count as made now: they belong to no budget of a day to come.

        Not durable: the next start sees the same.
        """

    def hurry(self, folder: str, at: datetime, *, but: Collection[str] = ()) -> int:
        """Make paid answers due that a folder refused, *but* those of certain codes; return how many. Not durable."""

    def retry(self, which: Which, at: datetime) -> int:
        """
        Put failed, held and in-doubt jobs back in line, with all their attempts; return how many.

        A job whose source is not there any more stays as it is, and so does one whose
        answer surprised: ``accept`` and ``redo`` are for those.
        """

    def accept(self, which: Which, at: datetime, *, who: str = "") -> int:
        """Let answers that are held for a person be published as they are; return how many."""

    def turn_down(self, which: Which, at: datetime, *, who: str = "") -> list[Job]:
        """Let answers that are held for a person never be published, nor bought again; return their jobs."""

    def redoable(self, which: Which) -> Iterator[Job]:
        """Yield the jobs that ``redo`` takes: done or held for their answer, and the source stands where it was."""

    def redo(self, jobs: Iterable[Job], at: datetime) -> int:
        """
        Put jobs back in line to be made anew, at the price of a call each; return how many.

        No answer from before *at* is taken for them, their own one included. The old
        cut-out stands until the new one takes its place.
        """

    def made_otherwise(self, folder: str, options: str) -> int:
        """Return how many cut-outs of a folder, whose sources stand, were not asked for with *options* (a digest)."""

    def next_due_at(self, folders: Iterable[str], state: State = State.QUEUED) -> datetime | None:
        """Return when the next unclaimed job of these folders is due; in the past if one is."""

    def queued(self, folders: Iterable[str] = ()) -> int:
        """Return how many jobs are queued, in these folders or in all; cheaper than ``counts`` and ``backlog``."""

    def to_dispose_of(self, folders: Iterable[str], *, limit: int | None = None) -> list[Job]:
        """Return finished jobs whose source is still to be moved or deleted: what a crash left undone, or a folder."""


class Answers(Protocol):
    """Answers that were paid for: who has one, who waits to publish one."""

    def answers_for(
        self,
        content_key: str,
        also: str | None = None,
        *,
        of: tuple[str, bytes] | None = None,
        picture_key: str | None = None,
    ) -> list[Job]:
        """
        Return jobs that had an answer to this very request, the likeliest to still have it first.

        A ``received`` one has it in the spool; of the others it stands, perhaps, under
        ``target`` in their folder: look whether what was ``published`` is still there.

        Args:
            content_key: The request.
            also: Another key that the same request may be known by: that of an earlier version.
            of: A source, as its folder and name: where nobody had an answer to the request, its own jobs
                are returned, in any version, whose answer was to the same picture.
            picture_key: The name of that picture.
        """

    def sent_for(self, sent_key: str) -> str | None:
        """Return the content key of the request for which a copy of these very bytes was sent; None: none was."""

    def remember_sent(self, sent_key: str, content_key: str, at: datetime) -> None:
        """Remember for which request a copy is sent."""

    def answered_sizes(self) -> frozenset[int]:
        """Return the sizes of all sources that had an answer; another one with the same picture may have another."""

    def answered_sources(self, folder: str, among: Container[bytes]) -> frozenset[bytes]:
        """Return those of the sources *among* that had an answer in some version: it may have been the same picture."""

    def is_waiting_to_publish(self, content_key: str) -> bool:
        """Say whether a job has still to publish the answer to this very request."""

    def is_undelivered(self, folder: str, *, but: Collection[str] = ()) -> bool:
        """Say whether a paid answer waits for a folder to take it, *but* for those with certain codes."""

    def spool_keys(self) -> frozenset[str]:
        """Return the content keys whose spooled answers are still needed; all others may be deleted."""


class Targets(Protocol):
    """
    Which source owns which output name.

    Names that differ in case or Unicode form alone count as the same.
    """

    def claim_target(self, folder: str, source: bytes, candidates: Iterable[bytes], at: datetime) -> bytes:
        """
        Return the output name that *source* owns from now on: its own one, or the first free one.

        A name is free if no other source owns it; whether a file stands there is for the
        caller to see, who then calls ``release_target`` and offers the others.

        Args:
            folder: The folder's name.
            source: The source's path.
            candidates: Names relative to the output root, the best one first.
            at: Now.

        Raises:
            TargetsTakenError: All of them belong to other sources.
        """

    def release_target(self, folder: str, source: bytes, target: bytes) -> bool:
        """Take an output name from its source; return whether it owned it."""

    def target(self, folder: str, target: bytes) -> Target | None:
        """Return who owns an output name, in whatever case or form, and what was last put there."""


class Deliverables(Protocol):
    """What was made of paid answers."""

    def made(self, job_id: int) -> Mapping[str, Made]:
        """Return what was made of a picture, by the names of its deliverables."""

    def made_of(self, job_ids: Iterable[int]) -> Mapping[int, Mapping[str, Made]]:
        """Return the same of several pictures, by their numbers; those of which nothing was made are left out."""

    def made_of_others(self, folder: str, source: bytes, job_id: int) -> list[Made]:
        """Return what stands of the other versions of a source than this job's, the oldest first."""

    def record_made(self, made: Made, *, published: Target | None = None) -> None:
        """
        Write down how far a deliverable is; *published*: and what stands under its name now.

        Raises:
            TargetsTakenError: The source does not own that name.
        """

    def lacking(self, folder: str, wanted: Mapping[str, str]) -> list[Lacking]:
        """
        Return the delivered pictures of a folder that lack a deliverable, or have one that was made otherwise.

        *wanted* are its deliverables, each with the digest of how it is made now.
        """

    def make_again(self, ids: Iterable[int], at: datetime, *, missing: Iterable[tuple[int, str]] = ()) -> int:
        """
        Let delivered pictures have their deliverables made again where they are not as they should be; return how many.

        A file that was put in its place counts as standing there, unless it is among the *missing*: the number of
        its picture and the name of its deliverable.
        """


class Reviews(Protocol):
    """What people decided about answers."""

    def give_verdict(
        self, jobs: Iterable[Job], verdict: Verdict | None, at: datetime, *, who: str, note: str = ""
    ) -> int:
        """
        Write down what a person thinks of the answers that *jobs* have; None takes it back.

        Returns:
            How many of them have an answer.
        """

    def verdicts(self, jobs: Sequence[Job]) -> Mapping[int, Review]:
        """Return what was decided about the answers that *jobs* have now, by their numbers, where anything was."""

    def reviewed(self, verdict: Verdict, *, before: int | None = None, limit: int) -> list[Reviewed]:
        """Return pictures with a verdict about the answer that they have, the newest first, below *before*."""


class Books(Protocol):
    """What was paid, and the small things to remember."""

    def last_call(self) -> int:
        """Return the number of the call that began last, 0 if there was none; for ``spending``."""

    def spending(
        self,
        since: datetime | None = None,
        until: datetime | None = None,
        *,
        folders: Iterable[str] = (),
        after_call: int | None = None,
    ) -> Spending:
        """
        Sum up the calls that began in a time, those under way included; without one, all there ever were.

        Of calls that were pruned the sums per UTC day are known: a time that cuts such a day counts it by its start.

        Args:
            since: The beginning of the time.
            until: Its end.
            folders: Whose calls; all without any.
            after_call: Only calls that began after this one (``last_call``), whatever the clock said then.
        """

    def billed(
        self,
        by: By,
        since: datetime | None = None,
        until: datetime | None = None,
        *,
        folders: Iterable[str] = (),
    ) -> Sequence[Billed]:
        """
        Return what ``spending`` sums up of a time in parts, and how many pictures were delivered in it.

        A part may come in two rows, one with calls and one with deliveries: add them up. Of what was pruned the
        sums per folder and UTC day are known, and neither directory nor picture.
        """

    def calls_of(self, job_ids: Iterable[int]) -> Mapping[int, Sequence[Call]]:
        """Return the calls that were made for each of these jobs, in their order; jobs without any are left out."""

    def keep_recipes(self, options: Mapping[str, str]) -> None:
        """Remember the options behind the digests that calls name them by. Not durable: each start brings them."""

    def recipes(self) -> Mapping[str, str]:
        """Return all options that pictures were ever sent with, by their digests."""

    def keep_balance(self, balance: PastBalance) -> None:
        """Write down what the account holds; what it held years ago is forgotten. Not durable: it is read again."""

    def last_balance(self) -> PastBalance | None:
        """Return what was written down last of the account; None: nothing was."""

    def balances(self, since: datetime | None = None) -> Sequence[PastBalance]:
        """Return what was written down of the account from a moment on, the oldest first."""

    def note(self, name: str) -> Json:
        """Return what was noted under a name; None if nothing was."""

    def set_note(self, name: str, value: Json, *, is_durable: bool = True) -> None:
        """
        Remember a small value under a name; None forgets it.

        Pass ``is_durable=False``, which is cheaper, where an older value will do after a power cut.
        """


class Views(Protocol):
    """What people and reports look at."""

    def get(self, job_id: int) -> Job | None:
        """Return a job as it is now."""

    def find(self, folder: str, source: bytes) -> Job | None:
        """Return the job of a source in the version in which it stands there."""

    def jobs(self, which: Which = EVERYTHING, *, limit: int | None = None) -> Iterator[Job]:
        """
        Yield the jobs that are meant, last changed first.

        The list is made at once, the rows are read as they are needed: a slow reader
        holds up nobody, and a long list takes little memory.
        """

    def wanted(self, folder: str, sources: Iterable[tuple[bytes, Version]]) -> frozenset[bytes]:
        """Return which of these sources ``add`` would queue now."""

    def counts(self, folder: str | None = None) -> dict[State, int]:
        """Return how many jobs are in each state, zeros included."""

    def counts_by_folder(self) -> dict[str, dict[State, int]]:
        """Return how many jobs each folder has in each state, for the folders that have any."""

    def originals_left(self) -> dict[str, int]:
        """Return how many originals each folder has still to move or delete, for the folders that have any."""

    def unsettled(self, folder: str | None = None, *, limit: int | None = None) -> list[tuple[str, Unsettled]]:
        """Return what was seen and is no job yet, the longest waiting first, each with its folder."""

    def unsettled_count(self) -> int:
        """Return how many sources are unsettled."""

    def passed_over(self, folder: str) -> PassedOver:
        """Return what was knowingly not sent of a folder when it was last looked at."""

    def backlog(self, at: datetime, folders: Iterable[str] = ()) -> Backlog:
        """Sum up what is queued, in these folders or in all."""

    def finished(self, since: datetime) -> dict[State, int]:
        """Return how many jobs became ``done``, ``failed`` and ``vanished`` since a moment and still are."""


class Looks(Protocol):
    """What is turned over page by page; a page costs the same however many jobs there are; see ``pages``."""

    def newest(
        self,
        wanted: Wanted = EVERY_PICTURE,
        *,
        before: Mark | None = None,
        limit: int,
        look_at: int = LOOKED_AT,
    ) -> Page:
        """
        Return pictures, the last changed first, from where another page ended.

        Of those that no index finds, some are looked at in vain; once *look_at* were looked at, what was found
        comes, which may be none, and the next page goes on there.
        """

    def lately(self, *, limit: int) -> list[Seen]:
        """Return where the pictures lie that changed last, the last one first."""

    def shoots(self, folder: str, *, depth: int, start: bytes = b"", limit: int) -> Shoots:
        """Return the shoots of a folder by name, each with one of its pictures; *depth* levels of folders make one."""

    def members(
        self, shoot: Shoot, *, start: bytes | None = None, limit: int, wanted: Wanted = EVERY_PICTURE
    ) -> Members:
        """Return pictures of a shoot by name, each in the version that stands there, or else in its last one."""

    def beside(self, shoot: Shoot, source: bytes) -> tuple[int | None, int | None]:
        """Return the ids of the pictures before and after one in its shoot, by name."""

    def tally(self, shoot: Shoot) -> Tally:
        """Say how far a shoot is and what it cost; of a very large one, its beginning."""

    def standing_still(self) -> tuple[object, ...]:
        """Return what is another as soon as ``reasons`` are; much cheaper than those."""

    def reasons(self) -> list[Reason]:
        """Say why pictures stand still until a person does something, the most of one kind first."""

    def days(self, since: datetime) -> list[Day]:
        """Sum up the calls since a moment by UTC day and folder, the last day first."""


class Ledger(Sources, Jobs, Answers, Targets, Deliverables, Reviews, Books, Views, Looks, Protocol):
    """The jobs, the calls, the output names and the notes of one state directory, until it is closed."""

    def reject(
        self,
        folder: str,
        source: bytes,
        version: Version,
        at: datetime,
        *,
        reason: str,
        code: str,
        is_disposal_due: bool = False,
    ) -> bool:
        """List a source as failed as ``Sources`` says; *is_disposal_due*: it is still to be set aside."""

    def prune(self, before: datetime) -> Pruned:
        """
        Forget finished jobs whose source is gone since before *before*; give the room back to the disk.

        While its source stands a job is remembered, or it would be paid for again. Of
        calls of forgotten jobs the sums per day stay.
        """

    def is_in_place(self) -> bool:
        """
        Say whether what was opened is still what a later start would find.

        Where it was removed or replaced, what is paid for from now on would be forgotten.
        """

    def keep(self) -> Path:
        """Write what is known into a new file beside the ledger that was removed, and return where that is."""

    def close(self) -> None:
        """Let go of the database; what was committed stays."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
