"""
The first answer of a new kind: one picture is sent alone, before a day's work is paid for on a guess.

What the service answers to a set of options is known by its documentation, and that is silent on much: whether
a mask comes as one band, which way round it is, whether a format keeps its transparency. So where files are made
of answers, the first picture of a kind goes alone, and all others of that kind wait for what its answer says. A
kind that was proven once is proven for good. A wrong guess costs one credit; where the picture itself might be to
blame, it costs ``IN_A_ROW``.
"""

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from rembg_watch.ledger import Ledger
from rembg_watch.ledger.values import Json

NOTE = "proven kinds"
"""The ledger's note of the kinds of answers that were proven, and of those that are in doubt."""

USELESS = frozenset({"no_alpha", "odd_mask"})
"""Findings that are no picture's fault: nothing can be made of such an answer, nor of the next one."""

ODD = frozenset({"all_opaque", "all_transparent", "flat_mask", "inverted_mask"})
"""Findings that may be the picture's own."""

IN_A_ROW = 3
"""So many odd answers to different pictures speak against a kind."""

_MOST_KINDS = 200


@dataclass(frozen=True, slots=True)
class Book:
    """Which kinds are proven, the latest last, and how many answers of each other kind were odd in a row."""

    proven: tuple[str, ...] = ()
    odd: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of_note(cls, note: object) -> Self:
        """Read the ledger's note; what is not understood is not proven."""
        if not isinstance(note, dict):
            return cls()
        proven, odd = note.get("proven"), note.get("odd")
        return cls(
            tuple(one for one in proven if isinstance(one, str)) if isinstance(proven, list) else (),
            {kind: count for kind, count in odd.items() if type(count) is int} if isinstance(odd, dict) else {},
        )

    def note(self) -> Json:
        """Return what the ledger keeps."""
        return {"proven": list(self.proven), "odd": dict(self.odd)}

    def after(self, kind: str, finding: str | None) -> "Book":
        """Return the book after an answer of *kind* was looked at, and *finding* is what is odd about it."""
        others = {other: count for other, count in self.odd.items() if other != kind}
        if finding in USELESS:
            return Book(self.proven, others | {kind: IN_A_ROW})
        if finding in ODD:
            return Book(self.proven, others | {kind: self.odd.get(kind, 0) + 1})
        if finding == "not_decoded":  # this machine's memory; it says nothing of the answer
            return self
        return Book((*self.proven, kind)[-_MOST_KINDS:], others)

    def is_refuted(self, kind: str) -> bool:
        """Say whether nothing more is to be paid for on that guess before a person has looked."""
        return kind not in self.proven and self.odd.get(kind, 0) >= IN_A_ROW


class Trials:
    """Know which kinds of answers are proven; safe to share between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # guards the book, and the ledger's note of it
        self._book: Book | None = None  # None: the ledger was not asked yet

    def is_proven(self, ledger: Ledger, kind: str) -> bool:
        """Say whether pictures of *kind* may be sent side by side."""
        with self._lock:
            return kind in self._read(ledger).proven

    def judge(self, ledger: Ledger, kind: str, finding: str | None) -> bool:
        """Learn what an answer of *kind* is like; say whether nothing more is to be paid for on that guess."""
        with self._lock:
            before = self._read(ledger)
            if kind in before.proven:
                return False
            after = before.after(kind, finding)
            if after != before:
                ledger.set_note(NOTE, after.note())
                self._book = after
            return after.is_refuted(kind)

    def _read(self, ledger: Ledger) -> Book:
        if self._book is None:
            self._book = Book.of_note(ledger.note(NOTE))
        return self._book
