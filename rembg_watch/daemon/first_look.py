"""
The first look at a folder: before anything of it is paid for, what is there is counted.

A folder that holds more pictures than ``credits.ask_above``, or whose output seems to hold their
cut-outs already, by another ledger, waits for a person. Once it was let go, or has worked, it is
never held for that again: a note of the ledger remembers it.
"""

import time
from collections import Counter
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from os import fsdecode

from rembg_watch.account.causes import Cause
from rembg_watch.account.governor import Governor
from rembg_watch.account.holds import WHATEVER_OPTIONS
from rembg_watch.delivery import earlier
from rembg_watch.jobs import Job, State, Version
from rembg_watch.ledger import Json, Which
from rembg_watch.ledger.port import Ledger
from rembg_watch.pipeline import InForce, Plan, Recipe, standing_files
from rembg_watch.pipeline.source import SourceError, measure
from rembg_watch.pipeline.values import content_key, older_key
from rembg_watch.report import events
from rembg_watch.report.events import Reporter
from rembg_watch.report.words import count_text, credits_text

ANSWERS = "answers to first looks"
"""The note by which ``retry`` and ``adopt`` tell a daemon, by folder, what a person has decided."""

LET_GO, AGAIN = "let go", "look again"

FIRST_LOOK_CAUSES = (Cause.BRAKE, Cause.DELIVERED)

_AGAIN_S = 10.0  # a folder that waits and still grows is counted anew so often
_MOST_READ = 2_000  # pictures that may be copies are read to find out, if they are no more


@dataclass(frozen=True, slots=True)
class _Look:
    """What was in line when a folder was looked at, and when that was."""

    count: int
    at_s: float


class FirstLooks:
    """Say which folders are new, look at what is in them, and hold them for a person; safe to share between threads."""

    def __init__(
        self,
        ledger: Ledger,
        governor: Governor,
        in_force: InForce,
        report: Reporter,
        *,
        wake: Callable[[], None],  # the feeder
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._ledger = ledger
        self._governor = governor
        self._in_force = in_force
        self._report = report
        self._wake = wake
        self._new: set[str] = set()
        self._known: frozenset[str] | None = None  # what was begun with; None: nobody has begun
        self._looks: dict[str, _Look] = {}  # the last one at each
        self.agrees = False  # a person has agreed to any number beforehand

    def begin(self, *, is_set_back: bool = False) -> None:
        """
        Find out which folders are new, at the start and after a reload; those are looked at anew.

        So are all where the ledger *is_set_back*: it does not know what was bought since it was copied.
        """
        self.obey()
        jobs = self._ledger.counts_by_folder()
        recipes = self._in_force.plan.recipes
        for recipe in recipes.values():
            if is_set_back or is_new(self._ledger, recipe, jobs.get(recipe.name, {})):
                self._begin(recipe)
            else:
                self._open(recipe)
        self._known = frozenset(recipes)

    def shut(self) -> frozenset[str]:
        """Name the folders of which nothing may be sent yet, those too that a reload has just brought."""
        fresh = frozenset() if self._known is None else frozenset(self._in_force.plan.recipes) - self._known
        return fresh | frozenset(self._new)

    def arrived(self, folder: str) -> None:
        """Look anew at a folder of which nothing was ever in line: what was empty may have been a mount point."""
        recipe = self._in_force.plan.recipes.get(folder)
        if recipe is None or folder in self._new or _is_let_go(self._ledger, recipe):
            return
        if not _has_any(self._ledger, folder):
            self._begin(recipe)

    def _begin(self, recipe: Recipe) -> None:
        self._new.add(recipe.name)
        self._looks.pop(recipe.name, None)
        _remember(self._ledger, recipe, is_seen=False)
        self._governor.release_folder(recipe.name, *FIRST_LOOK_CAUSES)

    def is_new(self, folder: str) -> bool:
        """Say whether nothing of a folder may be sent yet."""
        return folder in self._new

    def obey(self) -> None:
        """Do what a person has decided by ``retry`` or ``adopt``."""
        answers = self._ledger.note(ANSWERS)
        if not isinstance(answers, Mapping):
            return
        self._ledger.set_note(ANSWERS, None)
        for folder, answer in answers.items():
            if answer == LET_GO:
                self._let_go(folder)
            else:
                self._looks.pop(folder, None)

    def _let_go(self, folder: str) -> None:
        """Send what is in a folder, however much it is or will be: a person has agreed."""
        recipe = self._in_force.plan.recipes.get(folder)
        if recipe is not None:
            _remember(self._ledger, recipe, is_seen=True, is_let_go=True)
            self._open(recipe)

    def _open(self, recipe: Recipe) -> None:
        if not _is_let_go(self._ledger, recipe):
            _remember(self._ledger, recipe, is_seen=True)
        is_news = self._governor.release_folder(recipe.name, *FIRST_LOOK_CAUSES)
        self._new.discard(recipe.name)
        if is_news:
            self._report(events.FolderLetGo(folder=recipe.name))
        self._wake()

    def looked(self, folder: str) -> None:
        """Decide about a new folder, now that what is in it is in line; again now and then while that changes."""
        recipe, before = self._in_force.plan.recipes.get(folder), self._looks.get(folder)
        count, now_s = self._ledger.queued([folder]), self._clock()
        if recipe is None or (before is not None and (before.count == count or now_s < before.at_s + _AGAIN_S)):
            return
        jobs = in_line(self._ledger, folder)
        sources, ours = {job.source: job.version for job in jobs}, {job.source for job in jobs if job.target}
        self._looks[folder] = _Look(count, now_s)
        why = decide(self._ledger, self._in_force.plan, recipe, sources, ours=ours, agrees=self.agrees)
        if why is None:
            self._open(recipe)
            return
        cause, text = why
        self._governor.release_folder(folder, *FIRST_LOOK_CAUSES)
        self._governor.hold_folder(folder, WHATEVER_OPTIONS, cause=cause, text=text)
        self._report(events.FolderWaits(folder=folder, why=text))


# --- decisions, for whoever only looks, too ---------------------------------------------------------


def in_line(ledger: Ledger, folder: str) -> Sequence[Job]:
    """List the pictures of a folder that are in line."""
    return list(ledger.jobs(Which(states=frozenset({State.QUEUED}), folders=frozenset({folder}))))


def decide(
    ledger: Ledger,
    plan: Plan,
    recipe: Recipe,
    sources: Mapping[bytes, Version],
    *,
    ours: Container[bytes] = (),
    agrees: bool = False,
) -> tuple[Cause, str] | None:
    """
    Say why a new folder with these pictures in line has to wait for a person; None: it need not.

    *ours* are those whose cut-out this ledger knows: it is to be made anew.
    """
    others = [one for one in sources.items() if one[0] not in ours]
    delivered = standing_files.count(recipe.output, recipe.deliverables, recipe.naming, others)
    if earlier.is_telling(delivered, len(sources)):
        return Cause.DELIVERED, delivered_text(recipe.name, delivered, len(sources))
    if agrees or not plan.ask_above or len(sources) <= plan.ask_above:
        return None
    to_pay = _to_pay(ledger, plan, recipe, sources)
    return (Cause.BRAKE, brake_text(plan, recipe.name, to_pay)) if to_pay > plan.ask_above else None


def delivered_text(folder: str, delivered: int, pictures: int) -> str:
    """Say that pictures seem to be delivered already, and what to do."""
    return (
        f"{delivered:,} of {count_text(pictures, 'picture')} seem to be delivered already by another ledger: "
        f'"rembg-watch adopt --folder {folder}" takes them over without paying, '
        f'"rembg-watch retry --folder {folder}" sends them'
    )


def brake_text(plan: Plan, folder: str, pictures: int) -> str:
    """Say that a new folder holds many pictures, and what to do."""
    return (
        f"it is new here, and {count_text(pictures, 'picture')} to be paid for, up to "
        f"{credits_text(plan.terms.price * pictures)}, are more than credits.ask_above ({plan.ask_above:,}): "
        f'"rembg-watch retry --folder {folder}" lets them go'
    )


def _to_pay(ledger: Ledger, plan: Plan, recipe: Recipe, sources: Mapping[bytes, Version]) -> int:
    """Count what has to be paid for; what may be a copy is read only where that can make a difference."""
    answered, sizes = ledger.answered_sizes(), Counter(version.size_bytes for version in sources.values())
    doubtful = {
        source: version
        for source, version in sources.items()
        if sizes[version.size_bytes] > 1 or version.size_bytes in answered
    }
    sure = len(sources) - len(doubtful)
    if sure > plan.ask_above or len(doubtful) > _MOST_READ:
        return len(sources)
    contents = dict(_content(recipe, source, version) for source, version in doubtful.items())
    return sure + sum(not ledger.answers_for(key, older) for key, older in contents.items())


def _content(recipe: Recipe, source: bytes, version: Version) -> tuple[str, str]:
    try:
        with measure(recipe.input / fsdecode(source), version, sends=recipe.sends) as opened:
            return content_key(opened, recipe), older_key(opened, recipe)
    except SourceError:
        return (f"unknown {source!r}",) * 2  # it counts


def is_new(ledger: Ledger, recipe: Recipe, jobs: Mapping[State, int]) -> bool:
    """Say whether a folder was never let go and never worked, here and with this input; *jobs* are its counts."""
    note = ledger.note(_note_of(recipe.name))
    has_any = any(jobs.values())
    if not isinstance(note, Mapping):
        return not has_any  # of the version before, or new
    is_known = _is_let_go(ledger, recipe) or (note.get("is_seen") is True and has_any)
    return not is_known or note.get("input") != str(recipe.input)


def _is_let_go(ledger: Ledger, recipe: Recipe) -> bool:
    note = ledger.note(_note_of(recipe.name))
    return isinstance(note, Mapping) and note.get("is_let_go") is True and note.get("input") == str(recipe.input)


def _has_any(ledger: Ledger, folder: str) -> bool:
    return any(ledger.counts_by_folder().get(folder, {}).values())


def _note_of(folder: str) -> str:
    return f"first look at {folder}"


def _remember(ledger: Ledger, recipe: Recipe, *, is_seen: bool, is_let_go: bool = False) -> None:
    note: dict[str, Json] = {"input": str(recipe.input), "is_seen": is_seen, "is_let_go": is_let_go}
    if ledger.note(_note_of(recipe.name)) != note:
        ledger.set_note(_note_of(recipe.name), note)


def is_answered(ledger: Ledger, folder: str) -> bool:
    """Say whether a person has let a folder go, and nobody has heard of it yet."""
    answers = ledger.note(ANSWERS)
    return isinstance(answers, Mapping) and answers.get(folder) == LET_GO


def answer(ledger: Ledger, folders: Sequence[str], decided: str) -> None:
    """Tell whoever works on this ledger, now or later, what a person has decided about folders."""
    before = ledger.note(ANSWERS)
    decisions: dict[str, Json] = dict(before) if isinstance(before, Mapping) else {}
    decisions.update(dict.fromkeys(folders, decided))
    ledger.set_note(ANSWERS, decisions)
