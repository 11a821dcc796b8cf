"""
The way of one picture from the ledger to its place, in three steps or four, from top to bottom.

No step raises for what can go wrong with a picture, the API or a disk: it returns what
became of the job.
"""

from collections.abc import Callable
from dataclasses import dataclass

from rembg_watch.jobs import Job
from rembg_watch.pipeline.call import call
from rembg_watch.pipeline.finish import finish, make
from rembg_watch.pipeline.ports import Ports
from rembg_watch.pipeline.prepare import prepare
from rembg_watch.pipeline.values import Back, Blocked, Bought, Over, Paid, Ready, Twin


@dataclass(frozen=True)
class Pipeline:
    """The steps of a picture's way; safe to share between threads."""

    ports: Ports

    def prepare(
        self, job: Job, *, beat: Callable[[], None] = lambda: None
    ) -> Ready | Paid | Over | Back | Twin | Blocked:
        """Open and hash the source of *job*, and look whether its answer was paid for before."""
        return prepare(self.ports, job, beat=beat)

    def call(self, ready: Ready, *, beat: Callable[[], None] = lambda: None) -> Paid | Over | Back:
        """Wait at the gate, send a prepared picture and keep its answer: the only step that costs money."""
        return call(self.ports, ready, beat=beat)

    def finish(self, paid: Paid) -> Over | Blocked | Bought:
        """Verify the answer of *paid*; publish it, record it and put the source away, or keep it to make files of."""
        return finish(self.ports, paid)

    def make(self, bought: Bought, *, beat: Callable[[], None] = lambda: None) -> Over | Blocked:
        """Make what is to be made of a kept answer and publish it, record it and put the source away."""
        return make(self.ports, bought, beat=beat)
