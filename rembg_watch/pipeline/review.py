"""
Which cut-outs a person should look at: what was measured of them, by the limits of their folder.

Nothing is measured here (``pictures.measuring``), and no size is judged (``surprises``). Where a folder holds odd
cut-outs, nothing is delivered before a person has looked: what was paid for stays where a size that surprises stays,
and a copy of it with the reason goes into the review folder. The ledger alone says what is held; the copies are for
people, and one that could not be written is written by the next upkeep.
"""

import glob
import json
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import replace
from os import fsdecode, fsencode
from pathlib import Path

from rembg_watch.delivery import review_copies
from rembg_watch.delivery.verify import Verified
from rembg_watch.host.disk import DeliveryError
from rembg_watch.jobs import REVIEW, Job, State, move
from rembg_watch.ledger import Made, Verdict, Which
from rembg_watch.pictures.figures import Figures, judged
from rembg_watch.pipeline.plan import Recipe
from rembg_watch.pipeline.ports import Ports
from rembg_watch.pipeline.values import Over, Paid
from rembg_watch.report import events
from rembg_watch.report.picture_events import odd_words

REVIEWED = frozenset({"too_small", "out_of_gamut", "over_max_kb", "untagged"})
"""What is odd about a deliverable so that a person should look at it; the rest is only told."""


def measured(paid: Paid, verified: Verified) -> Paid:
    """Return *paid* with what was measured of its answer, and with what is odd about it."""
    figures = json.dumps(verified.figures.as_json(), separators=(",", ":")) if verified.figures else None
    is_no_cutout = paid.recipe.params.mask or verified.figures is None
    kept = verified.warning if is_no_cutout else None
    odd = joined(kept, *codes_of(figures, paid.recipe))
    finding = verified.surprise.code if verified.surprise else odd  # a person has looked at it, and taken the size
    job = replace(paid.job, answer_w=verified.width, answer_h=verified.height, figures=figures, finding=finding)
    return replace(paid, job=job)


def judged_anew(paid: Paid) -> Paid:
    """Return *paid*, whose answer was measured before, perhaps for another folder, with what is odd about it here."""
    return replace(paid, job=replace(paid.job, finding=joined(*codes_of(paid.job.figures, paid.recipe))))


def codes_of(figures: str | None, recipe: Recipe) -> tuple[str, ...]:
    """Return the codes of what its folder wants to know of an answer, by what is kept of it."""
    if recipe.review == "off" or figures is None:
        return ()
    return judged(Figures.from_json(json.loads(figures)), recipe.review_limits)


def remarks_of(made: Mapping[str, Made], recipe: Recipe) -> Iterator[str]:
    """Yield the codes of what a person should look at in deliverables."""
    if recipe.review == "off":
        return
    for one in made.values():
        yield from (code for code in (one.code or "").split(",") if code in REVIEWED)


def joined(*codes: str | None) -> str | None:
    """Put codes into one text, each once; None if there is none."""
    found = dict.fromkeys(one for code in codes if code for one in code.split(","))
    return ",".join(found) or None


# --- held for a person -------------------------------------------------------------------------------


def decided(ports: Ports, paid: Paid) -> Paid:
    """Return *paid* as accepted where a person took this very answer before: for a copy, or an earlier version."""
    if paid.job.is_accepted or paid.ticket is not None:  # a new answer is nobody's yet
        return paid
    known = ports.ledger.verdicts([paid.job]).get(paid.job.id)
    if known is None or known.verdict is not Verdict.APPROVED:
        return paid
    return replace(paid, job=replace(paid.job, is_accepted=True))


def is_held(paid: Paid) -> bool:
    """Say whether a person is to look at a cut-out before it is delivered."""
    return paid.recipe.review == "hold" and bool(paid.job.finding) and not paid.job.is_accepted


def holds(paid: Paid) -> frozenset[str]:
    """Return the codes of what is odd about a file so that a person is to look before it is delivered."""
    return REVIEWED if paid.recipe.review == "hold" and not paid.job.is_accepted else frozenset()


def hold(ports: Ports, paid: Paid, answer: Path) -> Over:
    """Hold a picture whose cut-out is odd, with the answer where it is, and show it in the review folder."""
    words = odd_words(str(paid.job.finding))
    held = move(paid.job, State.HELD, at=ports.now(), retry_at=None, reason=words, code=REVIEW, field=None)
    job = ports.ledger.record(held)
    ports.step("held")
    show(ports, paid.recipe, job, answer)
    ports.report(events.ReviewAwaited(**events.of(job), why=words, charged=paid.price))
    return Over(job=job)


def show(ports: Ports, recipe: Recipe, job: Job, answer: Path) -> None:
    """Copy a held cut-out into the review folder, with the reason beside it; it is held, whatever fails there."""
    if recipe.review_dir is None:
        return
    try:
        with ports.shares.touching(recipe.name):
            review_copies.put(recipe.review_dir, job, answer, _note(job))
    except DeliveryError as error:
        ports.report(events.ReviewNotShown(**events.of(job), where=fsencode(recipe.review_dir), why=error.reason))
    except OSError as error:
        why = error.strerror or str(error)
        ports.report(events.ReviewNotShown(**events.of(job), where=fsencode(recipe.review_dir), why=why))


def _note(job: Job) -> str:
    name = fsdecode(fsencode(job.folder) + b"/" + job.source)
    quoted = shlex.quote(glob.escape(name))  # a pattern that means this one alone
    return (
        f"{name}\n{job.reason}\n\n"
        f"rembg-watch accept {quoted}   delivers it as it is, at no cost\n"
        f"rembg-watch redo {quoted}     pays for another one\n"
        f"rembg-watch reject {quoted}   never delivers it\n"
    )


def keep_up(ports: Ports) -> None:
    """Write copies that are lacking, and take out those of pictures that were decided about."""
    for recipe in ports.in_force.plan.recipes.values():
        if recipe.review_dir is None or ports.shares.is_hung(recipe.name):
            continue
        held = Which(folders=frozenset({recipe.name}), states=frozenset({State.HELD}))
        waiting = {job.id: job for job in ports.ledger.jobs(held) if job.code == REVIEW}
        shown = set[int]()
        with ports.shares.touching(recipe.name):
            for number, place in list(review_copies.shown(recipe.review_dir, recipe.name)):
                shown.add(number)
                if number not in waiting:
                    review_copies.take_at(recipe.review_dir, place)
        for number in waiting.keys() - shown:
            job = waiting[number]
            key = str(job.content_key)
            answer = ports.spool.path(key)
            show(ports, recipe, job, answer if answer.exists() else ports.masters.path(key))
