"""
What stands on a page: jobs and figures as words, numbers and the names of pictures. Pure: values in, values out.

Everything that comes from a disk or from the API is text here, whatever is in it; the pages escape it.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal

from rembg_watch.decide import COSTS, WAITS, Act, is_waiting, may
from rembg_watch.jobs import Job, State
from rembg_watch.ledger import Call, Made, MadeState, Review, Verdict
from rembg_watch.ledger.pages import FoundShoot, Reason, Shoot, Tally
from rembg_watch.report.events import odd_words
from rembg_watch.report.words import WallClock, count_text, credits_text, show, size_text, span_text
from rembg_watch.web.advice import advice, command

WORDS: Mapping[State, str] = {
    State.QUEUED: "waiting",
    State.SENDING: "being cut out",
    State.RECEIVED: "being delivered",
    State.DONE: "delivered",
    State.FAILED: "failed",
    State.HELD: "needs you",
    State.IN_DOUBT: "in doubt",
    State.VANISHED: "went away",
}
"""Each state in the words of a studio."""

OPEN = (State.QUEUED, State.SENDING, State.RECEIVED)
STUCK = (State.FAILED, State.HELD, State.IN_DOUBT)

FILTERS: Mapping[str, frozenset[State]] = {
    "": frozenset(),
    "delivered": frozenset({State.DONE}),
    "open": frozenset(OPEN),
    "failed": frozenset({State.FAILED}),
    "held": frozenset({State.HELD}),
    "doubt": frozenset({State.IN_DOUBT}),
    "gone": frozenset({State.VANISHED}),
    "odd": frozenset(),
}
"""What lists can be narrowed to, by the word in the address."""

FILTER_WORDS: Mapping[str, str] = {
    "": "all",
    "delivered": "delivered",
    "open": "in line",
    "failed": "failed",
    "held": "need you",
    "doubt": "in doubt",
    "gone": "went away",
    "odd": "look odd",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """A moment for a person, and for a machine."""

    text: str
    stamp: str


def moment(at: datetime | None, clock: WallClock) -> Moment | None:
    """Write a moment; None stays None."""
    return None if at is None else Moment(text=clock.short(at), stamp=at.isoformat(timespec="seconds"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A picture in a list."""

    id: int
    revision: int
    name: str
    parent: str
    folder: str
    state: State
    word: str
    changed: Moment | None
    says: str  # why it stands still, or what is odd about it; empty if there is nothing to say
    is_odd: bool
    has_before: bool  # its source is likely to be there
    has_after: bool
    verdict: str = ""  # what a person thinks of it


def listed(jobs: Iterable[Job], reviews: Mapping[int, Review], clock: WallClock) -> list[Picture]:
    """Show pictures in a list, with what people think of them."""
    return [
        replace(picture(job, clock), verdict=reviews[job.id].verdict.value if job.id in reviews else "") for job in jobs
    ]


def picture(job: Job, clock: WallClock) -> Picture:
    """Show a picture in a list."""
    parent, _, name = job.source.rpartition(b"/")
    is_odd = job.finding is not None
    odd = odd_words(job.finding) if job.finding is not None and job.state is State.DONE else ""
    return Picture(
        id=job.id,
        revision=job.revision,
        name=show(name),
        parent=show(parent),
        folder=job.folder,
        state=job.state,
        word=WORDS[job.state],
        changed=moment(job.changed_at, clock),
        says=(job.reason or "") if job.state is not State.DONE else odd,
        is_odd=is_odd,
        has_before=job.state is not State.VANISHED,
        has_after=job.state is State.DONE or is_waiting(job),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class VerdictRow:
    """What a person thinks of a cut-out."""

    word: str
    tone: str
    who: str
    at: Moment | None


def verdict(review: Review, clock: WallClock) -> VerdictRow:
    """Show a verdict."""
    tone = "good" if review.verdict is Verdict.APPROVED else "bad"
    return VerdictRow(word=review.verdict.value, tone=tone, who=review.who, at=moment(review.at, clock))


@dataclass(frozen=True, slots=True, kw_only=True)
class ActButton:
    """Something that can be done with a picture."""

    do: str
    label: str
    price: str
    back: str  # where to go on afterwards
    is_asked_first: bool


_ACT_WORDS = {
    Act.APPROVE: "Approve",
    Act.REJECT: "Reject",
    Act.UNDO: "Take the verdict back",
    Act.RETRY: "Try again",
    Act.REDO: "Make anew",
}


def acts(job: Job, review: Review | None, *, back: str, per_image: Decimal) -> list[ActButton]:
    """List what can be done with a picture; after a verdict *back* is where to go on, else one stays."""
    here = back.rpartition("/")[0] + f"/{job.id}"
    return [
        ActButton(
            do=act.value,
            label="Deliver it" if act is Act.APPROVE and is_waiting(job) else label,
            price=f"up to {credits_text(per_image)}" if act in COSTS else "",
            back=back if act in (Act.APPROVE, Act.REJECT) else here,
            is_asked_first=act is Act.REDO,
        )
        for act, label in _ACT_WORDS.items()
        if may(act, job, review.verdict if review is not None else None)
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRow:
    """One call of a picture."""

    started: Moment | None
    took: str
    cost: str
    ended: str
    is_doubtful: bool


def call_row(call: Call, clock: WallClock) -> CallRow:
    """Show one call: when, how long, at what price, and what it came to."""
    took = "" if call.ended_at is None else span_text((call.ended_at - call.started_at).total_seconds())
    costs = {"yes": credits_text(call.credits), "maybe": f"{credits_text(call.credits)}, perhaps", "no": "nothing"}
    if call.ended_at is None:
        came_to = "under way, or cut off"
    else:
        came_to = call.code.replace("_", " ") if call.code else "an answer"
    came_to += f" (HTTP {call.status})" if call.status not in (None, 200) else ""
    came_to += f": {call.words}" if call.words else ""
    came_to += f", {size_text(call.answer_bytes)}" if call.answer_bytes and not call.code else ""
    before = {"yes": "; this content was paid before", "maybe": "; after a call in doubt"}.get(call.follows, "")
    return CallRow(
        started=moment(call.started_at, clock),
        took=took,
        cost=costs.get(call.charge, call.charge),
        ended=came_to + (before if call.charge != "no" else ""),
        is_doubtful=call.charge == "maybe",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class FileRow:
    """One file that came of a picture."""

    name: str
    word: str
    path: str
    size: str
    says: str
    can_be_shown: bool


def file_rows(job: Job, made: Mapping[str, Made], output: str) -> list[FileRow]:
    """List the files that came of a picture, each with its path to copy."""
    if not made and job.target is not None:
        path = f"{output}/{show(job.target)}" if output else show(job.target)
        _, size_bytes = job.standing
        says = "" if job.state is State.DONE else "not there yet"
        return [FileRow(name="cut-out", word="", path=path, size=size_text(size_bytes), says=says, can_be_shown=False)]
    return [_file_row(one, output) for one in made.values()]


def _file_row(made: Made, output: str) -> FileRow:
    path = "" if made.target is None else f"{output}/{show(made.target)}" if output else show(made.target)
    return FileRow(
        name=made.name,
        word=made.state.value,
        path=path,
        size="" if made.size_bytes is None else size_text(made.size_bytes),
        says=made.reason or "",
        can_be_shown=made.state is MadeState.STANDING,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ShootRow:
    """A shoot in a list."""

    id: int
    folder: str
    name: str
    pictures: str
    delivered: int
    open: int
    stuck: int
    odd: int
    share: int  # of 100: how much is delivered
    failed_share: int
    charged: str
    changed: Moment | None
    word: str


def shoot_name(shoot: Shoot) -> str:
    """Name a shoot; what lies in the input root itself has no name of its own."""
    return show(shoot.path) if shoot.path else "(not in a sub-folder)"


def shoot_row(found: FoundShoot, tally: Tally, clock: WallClock) -> ShootRow:
    """Show how far a shoot is."""
    counts, total = tally.counts, tally.pictures
    delivered = counts.get(State.DONE, 0)
    waiting = sum(counts.get(state, 0) for state in OPEN)
    stuck = sum(counts.get(state, 0) for state in STUCK)
    return ShootRow(
        id=found.id,
        folder=found.shoot.folder,
        name=shoot_name(found.shoot),
        pictures=count_text(total, "picture") if tally.is_whole else f"more than {count_text(total, 'picture')}",
        delivered=delivered,
        open=waiting,
        stuck=stuck,
        odd=tally.odd,
        share=100 * delivered // total if total else 0,
        failed_share=-(-100 * stuck // total) if total else 0,
        charged=credits_text(tally.charged),
        changed=moment(tally.changed_at, clock),
        word="done" if total and delivered == total else "in line" if waiting else "needs a look" if stuck else "empty",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ReasonRow:
    """Pictures of a folder that stand still for one reason."""

    folder: str
    state: State
    word: str
    filter: str
    code: str
    count: str
    text: str
    advice: str
    command: str
    waits: bool  # for a person to approve or reject it
    latest: int
    changed: Moment | None


_ACCEPT = "Look at it: accept delivers it as it is, redo pays for another one."


def reason_row(reason: Reason, clock: WallClock) -> ReasonRow:
    """Show a reason with what to do about it."""
    words = {State.FAILED: "failed", State.HELD: "held", State.IN_DOUBT: "doubt"}
    return ReasonRow(
        folder=reason.folder,
        state=reason.state,
        word=WORDS[reason.state],
        filter=words.get(reason.state, ""),
        code=reason.code or "",
        count=count_text(reason.count, "picture") + ("" if reason.is_whole else " of the last ones"),
        text=reason.text or "No reason was given.",
        advice=advice(reason.state, reason.code) or _ACCEPT,
        command=command(reason.state, reason.folder, reason.code),
        waits=reason.state is State.HELD and reason.code in WAITS,
        latest=reason.latest,
        changed=moment(reason.changed_at, clock),
    )


def by_folder(reasons: Iterable[ReasonRow]) -> dict[str, list[ReasonRow]]:
    """Group reasons by their folders, in the order in which they come."""
    grouped: dict[str, list[ReasonRow]] = {}
    for one in reasons:
        grouped.setdefault(one.folder, []).append(one)
    return grouped


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureFacts:
    """A picture on its own page."""

    picture: Picture
    facts: Sequence[tuple[str, str]]
    reason: str
    advice: str
    command: str
    calls: Sequence[CallRow]
    files: Sequence[FileRow]
    source_path: str
    brand: Sequence[str]  # colours to look at it on: those that the folder is delivered with


def picture_facts(
    job: Job,
    *,
    calls: Iterable[Call],
    made: Mapping[str, Made],
    folder_paths: tuple[str, str] | None,
    brand: Collection[str],
    clock: WallClock,
) -> PictureFacts:
    """Show all that is known of a picture; *folder_paths* are input and output, None where they are not known."""
    source, output = folder_paths or ("", "")
    facts = [("Folder", job.folder), ("Size", size_text(job.version.size_bytes))]
    facts += [("Came", clock.since(job.enqueued_at)), ("Last changed", clock.since(job.changed_at))]
    facts += [("Cost", credits_text(job.charged) if job.charged else "nothing so far")]
    facts += [("Calls in doubt", f"{job.doubts}")] if job.doubts else []
    facts += [("Tried again", clock.until(job.retry_at))] if job.retry_at and job.state is State.QUEUED else []
    facts += [("Original", "moved or deleted, as configured")] if job.is_disposed else []
    is_stuck = job.state in STUCK
    return PictureFacts(
        picture=picture(job, clock),
        facts=facts,
        reason=job.reason or "",
        advice=advice(job.state, job.code) if is_stuck else "",
        command=command(job.state, job.folder, job.code) if is_stuck else "",
        calls=[call_row(one, clock) for one in calls],
        files=file_rows(job, made, output),
        source_path=f"{source}/{show(job.source)}" if source else show(job.source),
        brand=sorted(brand),
    )


def total_text(amounts: Iterable[Decimal]) -> str:
    """Sum up credits and write them."""
    return credits_text(sum(amounts, Decimal(0)))
