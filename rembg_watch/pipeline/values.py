"""What goes from step to step of the pipeline: frozen values, and what is asked for by name."""

import hashlib
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from rembg_watch.account.gate import Need
from rembg_watch.account.governor import Ticket
from rembg_watch.delivery.verify import Expected
from rembg_watch.jobs import Job
from rembg_watch.pictures.metadata import Metadata
from rembg_watch.pictures.sending import AS_IT_IS
from rembg_watch.pipeline.plan import Recipe
from rembg_watch.pipeline.source import PreparedSource


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """A job whose bytes are known and still have to be sent."""

    job: Job
    recipe: Recipe
    prepared: PreparedSource
    place: bytes  # the source as it is mirrored: its folders have numbers where something stood in their way
    is_first: bool = False  # nobody ever had an answer to this request, so none waits for this one in the spool
    asked: tuple[str, ...] = ()  # what others wait for beside its content: how its copy, or its trial, ends


@dataclass(frozen=True, slots=True, kw_only=True)
class Paid:
    """A job whose answer is in the spool."""

    job: Job
    recipe: Recipe
    expected: Expected | None  # None: the source is gone, its size is not known any more
    price: Decimal = Decimal(0)  # of the call that it came by; 0: there was none
    ticket: Ticket | None = None  # None: it was answered in an earlier life, or for another job
    is_first: bool = False
    duration_s: float = 0.0
    metadata: Metadata | None = None  # of the source; None: it is gone
    is_mastered: bool = False  # its answer was kept when it was delivered before
    asked: tuple[str, ...] = ()  # as it was sent


@dataclass(frozen=True, slots=True, kw_only=True)
class Bought:
    """A job whose answer is kept, and of which files are still to be made; nobody waits for that."""

    paid: Paid

    @property
    def job(self) -> Job:
        """The job."""
        return self.paid.job


@dataclass(frozen=True, slots=True, kw_only=True)
class Over:
    """There is nothing more to do for a job now; it is on disk in its state."""

    job: Job


@dataclass(frozen=True, slots=True, kw_only=True)
class Back:
    """The job goes back in line unchanged: the gate is shut, or the program is stopping."""

    job: Job


@dataclass(frozen=True, slots=True, kw_only=True)
class Twin:
    """Another job sends the very same bytes now, or tries the kind of answers; this one waits for how that ends."""

    job: Job
    content_key: str  # or the name of the copy, or of the trial
    is_copy: bool = True  # else it has to be paid for itself, once the kind is proven


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocked:
    """An output folder takes nothing now; a paid answer waits in the spool for a better time, an unpaid job in line."""

    job: Job
    path: Path
    reason: str
    code: str
    is_name: bool = False  # it is this name alone that cannot be written; the folder takes others


@dataclass(frozen=True, slots=True)
class Originals:
    """The originals of a folder that had to stay: their place may be there again."""

    folder: str


def content_key(prepared: PreparedSource, recipe: Recipe) -> str:
    """
    Name what is asked for: the picture and the parameters, and nothing of where they came from.

    The picture is what makes its pixels: who writes a caption into a file has the same picture as before.

    A copy is named by the picture that it is made of: the same picture stays
    the same request when another version of the imaging library makes other bytes of it.
    """
    return content_name(prepared.content_digest, recipe.options, way=prepared.way)


def picture_key(prepared: PreparedSource, recipe: Recipe) -> str:
    """Return the name that it shares with the versions of its file that differ in words alone."""
    return content_name(prepared.picture_digest, recipe.options, way=prepared.way)


def older_key(prepared: PreparedSource, recipe: Recipe) -> str:
    """Return the name that earlier versions had for it: by all bytes of the source."""
    return content_name(prepared.source_digest, recipe.options, way=prepared.way)


def content_name(digest: str, options: str, *, way: str) -> str:
    """Return the name for a picture by its digest, the way in which it is sent and the parameters' stable spelling."""
    return hashlib.sha256(f"{digest}\n{way}\n{options}".encode()).hexdigest()


def sent_key(prepared: PreparedSource, recipe: Recipe) -> str:
    """Return the name of a request by the bytes of the copy that is sent; empty where the picture itself is."""
    return "" if prepared.way == AS_IT_IS else content_name(prepared.sent_digest, recipe.options, way="sent")


def paid_with(job: Job, recipe: Recipe, prepared: PreparedSource) -> Paid:
    """Return a job whose answer is in the spool, with what its source says."""
    return Paid(job=job, recipe=recipe, expected=expected_of(prepared, recipe), metadata=prepared.answer_metadata)


def need_of(job: Job, recipe: Recipe) -> Need:
    """Return what the gate has to know of a job."""
    return Need(job=job.id, folder=recipe.name, options=recipe.options)


def expected_of(prepared: PreparedSource, recipe: Recipe) -> Expected:
    """Return what the answer to a prepared picture is measured by."""
    return Expected(
        params=recipe.params, width=prepared.width, height=prepared.height, may_be_turned=prepared.may_be_turned
    )
