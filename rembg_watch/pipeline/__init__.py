"""
The way of one picture from the ledger to its place: prepare, call, verify, publish, record.

Three steps, each of which ends with everything it has learned on disk, so that a crash
between any two of them loses no picture and pays for none twice without saying so:

============  =====================================================================
``prepare``   open and hash the source; take up an answer that was paid for before
``call``      wait at the gate, send, keep the answer: the only step that costs money
``finish``    verify the answer, publish it, put the source away
============  =====================================================================

Who runs them, how many at once and when, is ``pool``'s matter.

======================  =========================================================
``pipeline.steps``      ``Line``: the three steps
``pipeline.call``       one picture's calls, and the slots that the API has for them
``pipeline.afterwards`` what becomes of the source
``pipeline.recovery``   what an earlier life, or a step that broke, left in the middle
``pipeline.values``     what goes from step to step
``pipeline.retrying``   the retry loop, for these calls and for ``remove``
======================  =========================================================
"""

from rembg_watch.delivery.publish import LEAST_ROOM_BYTES
from rembg_watch.pipeline.call import Slots
from rembg_watch.pipeline.steps import Line
from rembg_watch.pipeline.values import Back, Blocked, Over, Paid, Ready, Recipe, Step, Twin, content_key_of, no_step

__all__ = [
    "LEAST_ROOM_BYTES",
    "Back",
    "Blocked",
    "Line",
    "Over",
    "Paid",
    "Ready",
    "Recipe",
    "Slots",
    "Step",
    "Twin",
    "content_key_of",
    "no_step",
]
