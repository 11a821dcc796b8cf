"""
The way of one picture from the ledger to its place: prepare, call, verify, publish, record.

Three steps, and a fourth where files are made, each of which ends with everything it has
learned on disk, so that a crash between any two of them loses no picture and pays for none
twice without saying so:

=========================  ======================================================
``pipeline.steps``         ``Pipeline``: the steps; read this first
``pipeline.prepare``       open and hash the source; take up an answer that was paid for before
``pipeline.call``          wait at the gate, send, keep the answer: the only step that costs money
``pipeline.finish``        verify the answer, publish it or what is made of it, put the source away
``pipeline.making``        make the deliverables of a picture, and publish each
``pipeline.names``          what the files of a picture are called, by what it says of itself, too
``pipeline.sidecars``      what the file beside them says: what was made of what
``pipeline.rendering``     how a file is made, in a child or here
``pipeline.ends``          what the end of a step means for its job
``pipeline.review``        which cut-outs a person should look at, by what was measured of them
``pipeline.surprises``     answers of an unexpected size: held until a person decides
``pipeline.trials``        the first answer of a new kind: one picture goes alone
``pipeline.afterwards``    what becomes of the source
``pipeline.standing_files`` which files of pictures seem to stand in an output already
``pipeline.recovery``      what an earlier run, or a step that broke, left in the middle
``pipeline.pool``          who runs the steps, how many at once
``pipeline.feeder``        what is worked on next
``pipeline.under_way``     the jobs that are claimed and not over
``pipeline.output_check``  whether an output folder takes cut-outs
``pipeline.renames``       the files of a source's old name are taken along
``pipeline.retrying``      the retry loop, for these calls and for ``remove``
``pipeline.shares``        which folders' disks neither answer nor fail
``pipeline.threads``       groups of threads, each with one queue
``pipeline.ports``         what the steps work with
``pipeline.plan``          what a reload can change, as one frozen value
``pipeline.contents``      who asks for which content
``pipeline.slots``         how many pictures are with the API at once
``pipeline.source``        a source, opened and measured; its upright copy
``pipeline.values``        what goes from step to step
=========================  ======================================================
"""

from rembg_watch.delivery.publish import LEAST_ROOM_BYTES
from rembg_watch.pipeline.plan import InForce, Plan, Recipe
from rembg_watch.pipeline.ports import Ports
from rembg_watch.pipeline.steps import Pipeline
from rembg_watch.pipeline.values import Back, Blocked, Bought, Over, Paid, Ready, Twin

__all__ = [
    "LEAST_ROOM_BYTES",
    "Back",
    "Blocked",
    "Bought",
    "InForce",
    "Over",
    "Paid",
    "Pipeline",
    "Plan",
    "Ports",
    "Ready",
    "Recipe",
    "Twin",
]
