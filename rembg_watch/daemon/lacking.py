"""
Which delivered pictures lack a deliverable: one that was added, or is made otherwise than it was.

What is kept of them makes it at no cost; where nothing is kept any more, it is another credit.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from types import MappingProxyType

from rembg_watch.config import Settings
from rembg_watch.daemon.assembly import recipe_of
from rembg_watch.delivery.masters import MASTERS_NAME, Masters
from rembg_watch.jobs import Job
from rembg_watch.ledger import Json, Lacking, Ledger
from rembg_watch.report.words import count_text, credits_number, credits_text

NOTHING_LOST: Mapping[str, Iterable[Lacking]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Lack:
    """The pictures of a folder that lack one deliverable."""

    folder: str
    deliverable: str
    kept: tuple[Lacking, ...]  # they can have it at no cost
    gone: tuple[Lacking, ...]  # nothing is kept of what was bought for them
    lost: tuple[Lacking, ...]  # and the original is not there either: nobody can make it
    price: Decimal  # of one picture

    def view(self) -> dict[str, Json]:
        """Return it for machines."""
        return {
            "folder": self.folder,
            "deliverable": self.deliverable,
            "kept": len(self.kept),
            "gone": len(self.gone),
            "lost": len(self.lost),
            "credits": credits_number(self.price * len(self.gone)),
        }

    def text(self) -> str:
        """Say what is lacking, and what it would cost."""
        parts = []
        if self.kept:
            parts.append(
                f"{count_text(len(self.kept), 'picture')} {_lack(len(self.kept))} {self.deliverable!r}: 0 credits"
            )
        if self.gone:
            parts.append(
                f"{self._without(len(self.gone), is_first=not parts)}: {credits_text(self.price * len(self.gone))}"
            )
        if self.lost:
            put = "its original" if len(self.lost) == 1 else "their originals"
            parts.append(f"{self._without(len(self.lost), is_first=not parts)}, and {put} would have to be put back")
        return f"{self.folder}: " + "; ".join(parts)

    def _without(self, count: int, *, is_first: bool) -> str:
        have = "has" if count == 1 else "have"
        if not is_first:
            return f"{count:,} {have} no master"
        return f"{count_text(count, 'picture')} {_lack(count)} {self.deliverable!r} and {have} no master"

    def advice(self) -> str:
        """Say which command makes them, after the sentence; nothing where none does."""
        if self.kept:
            return '; "rembg-watch deliver" makes what costs nothing'
        return '; "rembg-watch deliver --pay-missing" buys them anew' if self.gone else ""


def _lack(count: int) -> str:
    return "lacks" if count == 1 else "lack"


def lacks(
    settings: Settings,
    ledger: Ledger,
    *,
    folders: frozenset[str] = frozenset(),
    lost: Mapping[str, Iterable[Lacking]] = NOTHING_LOST,
) -> Iterator[Lack]:
    """Yield what is lacking, folder by folder; *folders*: in these alone; *lost*: by folder, what stood and is gone."""
    masters = Masters(settings.state_dir / MASTERS_NAME)
    for folder in settings.folders:
        if not folder.deliver or (folders and folder.name not in folders):
            continue
        recipe = recipe_of(folder, settings.deliverables)
        wanted = recipe.wanted
        by_name: Mapping[str, list[Lacking]] = {name: [] for name in wanted}
        for one in dict.fromkeys([*ledger.lacking(folder.name, wanted), *lost.get(folder.name, ())]):
            if not (folder.after == "delete" and one.has_file and not one.stands):  # it would only become worse
                by_name[one.name].append(one)
        for name, found in by_name.items():
            kept = tuple(one for one in found if _is_kept(masters, one))
            others = [one for one in found if one not in set(kept)]
            gone, hopeless = (tuple(one for one in others if one.stands is stands) for stands in (True, False))
            if found:
                yield Lack(folder.name, name, kept, gone, hopeless, settings.credits.per_image)


def kept_ids(settings: Settings, jobs: Iterable[Job]) -> frozenset[int]:
    """Return the jobs whose files can be made again at no cost, since what was bought for them is kept."""
    masters = Masters(settings.state_dir / MASTERS_NAME)
    delivering = {one.name for one in settings.folders if one.deliver}
    return frozenset(job.id for job in jobs if job.folder in delivering and _is_kept(masters, job))


def _is_kept(masters: Masters, one: Lacking | Job) -> bool:
    return one.answer_digest is not None and one.content_key is not None and masters.is_there(one.content_key)
