"""
The way of one picture from the ledger to its place, in three steps, from top to bottom.

No step raises for what can go wrong with a picture, the API or a disk: it returns what
became of the job.
"""

from collections.abc import Callable
from dataclasses import dataclass

from rembg_watch.jobs import Job
from rembg_watch.pipeline.call import call
from rembg_watch.pipeline.finish import finish
from rembg_watch.pipeline.ports import Ports
from rembg_watch.pipeline.prepare import prepare
from rembg_watch.pipeline.values import Back, Blocked, Over, Paid, Ready, Twin


@dataclass(frozen=True)
class Pipeline:
    """The three steps of a picture's way; safe to share between threads."""

    ports: Ports

    def prepare(self, job: Job) -> Ready | Paid | Over | Back | Twin | Blocked:
        """Open and hash the source of *job*, and look whether its answer was paid for before."""
        return prepare(self.ports, job)

    def call(self, ready: Ready, *, beat: Callable[[], None] = lambda: None) -> Paid | Over | Back:
        """Wait at the gate, send a prepared picture and keep its answer: the only step that costs money."""
        return call(self.ports, ready, beat=beat)

    def finish(self, paid: Paid, *, beat: Callable[[], None] = lambda: None) -> Over | Blocked:
        """Verify the answer of *paid*, publish it or what is made of it, record it and put the source away."""
        return finish(self.ports, paid, beat=beat)
