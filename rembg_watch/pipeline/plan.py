"""
What is in force: made of the settings at the start and at each reload, and swapped as one reference.

Whoever begins something captures the plan once and keeps it to the end: a call that
began with one price ends with the same one, and no folder has a turn but no recipe.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Literal

from rembg_watch.account.terms import Terms
from rembg_watch.api.client import Client
from rembg_watch.api.params import RemovalParams
from rembg_watch.delivery.masters import Keeping
from rembg_watch.paths import After
from rembg_watch.pictures.deliverable import SIDECAR, Deliverable, Edges, Master
from rembg_watch.pictures.figures import Limits
from rembg_watch.pictures.metadata import Keep
from rembg_watch.pictures.naming import Naming
from rembg_watch.pictures.sending import Sends

_SIDECAR_DIGEST = "sidecar 1"  # as a file that is wanted: its content says whether it is up to date

NO_NAMING = Naming(folder="")
USUAL_KEEPING = Keeping()
USUAL_LIMITS = Limits()

Review = Literal["mark", "hold", "off"]
"""What becomes of an odd cut-out: it is delivered and marked, waits for a person, or is not judged."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What is done with the pictures of one folder."""

    name: str
    input: Path
    output: Path
    params: RemovalParams
    after: After = "keep"
    done: Path | None = None
    failed: Path | None = None
    move_sidecars: bool = False  # with an original that is moved
    remove_empty_folders: bool = False  # that moving originals left behind
    upright: bool = True
    send_px: int = 0  # the longest side of what is sent for deliverables; 0: the folder makes none
    assume: str = "srgb"  # what colours mean that come without a profile: srgb, adobe-rgb, a file, or review
    metadata: Keep = Keep.ALL
    deliverables: tuple[Deliverable, ...] = ()  # none: the answer itself is what is wanted
    naming: Naming = NO_NAMING
    master: Master = Master.CUTOUT
    edges: Edges = Edges.CLEAN
    is_together: bool = False  # its files appear when all of them are made
    review: Review = "mark"  # what becomes of an odd cut-out
    review_limits: Limits = USUAL_LIMITS
    shoot_depth: int = 1  # how many levels of sub-folders are a shoot
    review_dir: Path | None = None  # where odd cut-outs that are held are shown
    has_sidecar: bool = False  # and then a file that says what was made of what
    priority: int = 0
    daily_budget: Decimal = Decimal(0)  # credits in one UTC day; 0: no limit

    @cached_property
    def options(self) -> str:
        """The parameters in one stable spelling, as the content key and a folder's hold know them."""
        return self.params.canonical()

    def digest_of(self, deliverable: Deliverable) -> str:
        """Name how a deliverable is made for this folder, in few characters."""
        how = f"{deliverable.digest} {self.master} {self.edges} {self.assume}"
        return sha256(how.encode()).hexdigest()[:16]

    @property
    def wanted(self) -> dict[str, str]:
        """What is to be made of each picture, by name, with the digest of how it is made."""
        made = {one.name: self.digest_of(one) for one in self.deliverables}
        return made | {SIDECAR: _SIDECAR_DIGEST} if self.has_sidecar and made else made

    @cached_property
    def kind(self) -> str:
        """The kind of answers that its files are made of, in few characters: see ``trials``; empty: none are made."""
        return sha256(f"{self.options} {self.master}".encode()).hexdigest()[:16] if self.deliverables else ""

    @property
    def sends(self) -> Sends:
        """How its pictures are sent."""
        return Sends(upright=self.upright, px=self.send_px, assume=self.assume)

    @cached_property
    def options_digest(self) -> str:
        """The same in few characters, as the ledger keeps it with each cut-out."""
        return sha256(self.options.encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """All that a reload can change, frozen."""

    client: Client
    terms: Terms
    recipes: Mapping[str, Recipe]  # by their names, in the order of the configuration
    batch_size: int = 50  # the most pictures that are claimed after one look at the credits
    ask_above: int = 0  # a new folder with more pictures to be paid for waits for a person; 0: never
    reserve_bytes: int = 0  # what has to stay free on this machine's disk
    masters: Keeping = USUAL_KEEPING
    keep: timedelta = timedelta(days=365)  # how long pictures are remembered after their source is gone


class InForce:
    """The plan that is in force now; one reference, which a reload replaces."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan

    def terms(self) -> Terms:
        """Return the terms of the account that are in force."""
        return self.plan.terms
