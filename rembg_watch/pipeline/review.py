"""
Which cut-outs a person should look at: what was measured of them, by the limits of their folder.

Nothing is measured here (``pictures.measuring``), and no size is judged (``surprises``).
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace

from rembg_watch.delivery.verify import Verified
from rembg_watch.ledger import Made
from rembg_watch.pictures.figures import Figures, judged
from rembg_watch.pipeline.plan import Recipe
from rembg_watch.pipeline.values import Paid

_REVIEWED = frozenset({"too_small", "out_of_gamut", "over_max_kb", "untagged"})
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
        yield from (code for code in (one.code or "").split(",") if code in _REVIEWED)


def joined(*codes: str | None) -> str | None:
    """Put codes into one text, each once; None if there is none."""
    found = dict.fromkeys(one for code in codes if code for one in code.split(","))
    return ",".join(found) or None
