"""
What a person has paused: everything, or single folders; only a person lets it go on.

A pause is kept in a note of the ledger, so that it holds for every later start, too. It is about
what is bought: what is paid for goes on to be delivered. Whoever looks at a gate looks through ``paused``.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from rembg_watch.account.causes import Cause
from rembg_watch.account.gate import Gate
from rembg_watch.account.holds import WHATEVER_OPTIONS, FolderHold


@dataclass(frozen=True, slots=True, kw_only=True)
class Pauses:
    """What is paused, and since when."""

    all_at: datetime | None = None  # everything; None: it is not
    folders: Mapping[str, datetime] = field(default_factory=dict)

    def pausing(self, names: tuple[str, ...], now: datetime) -> "Pauses":
        """Return this with these folders paused, or everything where none is named; who was keeps its moment."""
        if not names:
            return replace(self, all_at=self.all_at or now)
        return replace(self, folders={**dict.fromkeys(names, now), **self.folders})

    def resuming(self, names: tuple[str, ...]) -> "Pauses":
        """Return this without the pause of these folders, or without any where none is named."""
        if not names:
            return Pauses()
        return replace(self, folders={name: at for name, at in self.folders.items() if name not in names})


def paused(gate: Gate, pauses: Pauses) -> Gate:
    """Return *gate* held for what is paused, and for nothing else of that kind."""
    if pauses.all_at is None:
        gate = gate.releasing_all(Cause.PAUSED)
    else:
        gate = gate.holding_all(Cause.PAUSED, now=pauses.all_at, text=None)
    for name in paused_folders(gate) - pauses.folders.keys():
        gate = gate.releasing_folder(name, Cause.PAUSED)
    for name, at in pauses.folders.items():
        hold = FolderHold(folder=name, options=WHATEVER_OPTIONS, since=at, cause=Cause.PAUSED)
        gate = gate.holding_folder(hold)
    return gate


def paused_folders(gate: Gate) -> frozenset[str]:
    """Name the folders that are paused by themselves."""
    return frozenset(hold.folder for hold in gate.folders if hold.cause is Cause.PAUSED)
