"""
What a sheet of a shoot shows, and in which words; nothing of it is for the studio alone.

It goes to clients: it names no place on any disk, and no price unless somebody wants it. What a person wrote about a
cut-out beside the verdict is not for them either.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from itertools import islice
from pathlib import Path

from rembg_watch.config import FolderSettings
from rembg_watch.errors import UsageError
from rembg_watch.jobs import Job, State
from rembg_watch.ledger import Ledger, Made, Review
from rembg_watch.ledger.pages import Shoot
from rembg_watch.report.words import count_text, credits_text, show
from rembg_watch.showing.choosing import full_name, pictures_of
from rembg_watch.showing.places import AFTER, BEFORE, Place, places

MOST = 10_000
"""Pictures of a shoot that sheets are made of; of more nobody looks at each."""

PART = 500
"""Pictures of one file: as many as a mail and a browser still bear, some 25 MB."""

_AT_ONCE = 500
_STUCK = frozenset({State.FAILED, State.HELD, State.IN_DOUBT})
_PATH = re.compile(r"(?<![\w/.])/(?:[^/\s'\"]+/)+")  # what stands before the last part of an absolute path


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A picture of a sheet."""

    caption: str
    verdict: str = ""  # "approved" or "rejected"; empty: nobody said
    credits: Decimal = Decimal(0)
    before: Sequence[Place] = ()  # where its original may stand, the likeliest place first
    after: Sequence[Place] = ()  # likewise its cut-out


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A picture of which there is no cut-out."""

    caption: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """What a sheet shows."""

    title: str
    entries: Sequence[Entry]
    left_out: Sequence[LeftOut] = ()
    in_line: int = 0  # pictures that may still come
    stuck: int = 0  # pictures that need a person
    credits: Decimal = Decimal(0)  # of all pictures of the shoot
    roots: frozenset[Path] = field(default_factory=frozenset)  # where their files stand

    @property
    def without_reasons(self) -> "Contents":
        """The same without what was left out."""
        return replace(self, left_out=())

    @property
    def parts(self) -> Sequence["Contents"]:
        """The same as several sheets of at most ``PART`` pictures; what was left out stands at the end."""
        starts = range(0, max(1, len(self.entries)), PART)
        return [
            replace(
                self,
                title=self.title if len(starts) == 1 else f"{self.title} ({number} of {len(starts)})",
                entries=self.entries[start : start + PART],
                left_out=self.left_out if number == len(starts) else (),
            )
            for number, start in enumerate(starts, 1)
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Style:
    """How a sheet looks, and what it tells."""

    made_on: str  # a day, as it is written
    is_white: bool = False  # cut-outs stand on white, not on a checkerboard
    shows_prices: bool = False


def subtitle(contents: Contents, style: Style) -> str:
    """Write what stands below the title."""
    words = [count_text(len(contents.entries), "picture"), style.made_on]
    return " · ".join([*words, credits_text(contents.credits)] if style.shows_prices else words)


def below(entry: Entry, style: Style) -> Sequence[str]:
    """Write what stands beside the name of a picture."""
    price = credits_text(entry.credits) if style.shows_prices else ""
    return [one for one in (entry.verdict, price) if one]


def contents_of(ledger: Ledger, shoot: Shoot, folder: FolderSettings, state_dir: Path, *, most: int = MOST) -> Contents:
    """
    Gather what a sheet of a shoot shows.

    Raises:
        UsageError: There are more pictures than *most*.
        LedgerError: The ledger cannot be read.
    """
    jobs = [job for job in islice(pictures_of(ledger, shoot), most + 1) if job.state is not State.VANISHED]
    if len(jobs) > most:
        raise UsageError(
            f"{full_name(shoot)} has more than {most:,} pictures, more than anybody looks at: name a sub-folder of it"
        )
    captions = _captions(jobs, shoot)
    done = [job for job in jobs if job.state is State.DONE]
    stuck = [job for job in jobs if job.state in _STUCK]
    roots = [
        root for root in (folder.input, folder.output, folder.done, folder.failed, folder.review_dir, state_dir) if root
    ]
    entries = [
        Entry(
            caption=captions[job.id],
            verdict=review.verdict.value if review is not None else "",
            credits=job.charged,
            before=tuple(places(job, folder, made, BEFORE, state_dir=state_dir)),
            after=tuple(places(job, folder, made, AFTER, state_dir=state_dir)),
        )
        for job, made, review in _with_all(ledger, done)
    ]
    return Contents(
        title=show(shoot.path) if shoot.path else folder.name,
        entries=entries,
        left_out=[LeftOut(captions[job.id], _for_others(job.reason, roots)) for job in stuck],
        in_line=len(jobs) - len(done) - len(stuck),
        stuck=len(stuck),
        credits=sum((job.charged for job in jobs), Decimal(0)),
        roots=frozenset(place.root for one in entries for place in (*one.before, *one.after)),
    )


def _with_all(ledger: Ledger, jobs: Sequence[Job]) -> Iterator[tuple[Job, Mapping[str, Made], Review | None]]:
    for start in range(0, len(jobs), _AT_ONCE):
        some = jobs[start : start + _AT_ONCE]
        made, reviews = ledger.made_of([job.id for job in some]), ledger.verdicts(some)
        for job in some:
            yield job, made.get(job.id, {}), reviews.get(job.id)


def _captions(jobs: Iterable[Job], shoot: Shoot) -> dict[int, str]:
    """Name pictures by their names alone, or by their way below the shoot where two have the same one."""
    names = {job.id: job.source.rpartition(b"/")[2] for job in jobs}
    often = Counter(names.values())
    below = {job.id: job.source.removeprefix(shoot.first) for job in jobs}
    return {number: show(name if often[name] == 1 else below[number]) for number, name in names.items()}


def _for_others(reason: str | None, roots: Iterable[Path]) -> str:
    """Write a reason on one line, without saying where anything lies."""
    text = reason or "No reason was given."
    for root in sorted(map(str, roots), key=len, reverse=True):
        text = text.replace(f"{root}/", "")
    return show(_PATH.sub("", text).encode("utf-8", "backslashreplace"))
