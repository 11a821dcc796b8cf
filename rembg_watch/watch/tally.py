"""
Count what is passed over in one folder, by kind, with a few examples.

What is counted is replaced directory by directory, as a walk looks at them, so that the memory needed
is that of directories which hold such files, and not of the files. Why a file is passed over is
decided in ``paths``.
"""

import os
from collections import Counter
from collections.abc import Callable, Mapping

from rembg_watch.ledger.port import Sources
from rembg_watch.passed_over import Passed, PassedCounts, PassedOver, Why, is_system, is_worth_a_line
from rembg_watch.paths import is_staging_name
from rembg_watch.report import events
from rembg_watch.report.events import Reporter

EXAMPLES = 500
"""So many paths of a folder are kept, to be shown."""

EXAMPLES_OF_ONE = 50
"""And so many of one directory, so that others come into the list too."""

BELOW = 1_000
"""So far are files counted in a folder that is passed over as a whole: a program's cache may hold any number."""

KINDS = 60
"""So many kinds are shown; those with the fewest files are one."""

KEPT = 500
"""So many are counted apart; more are no kinds but numbers in names."""

LIST_S = 2.0
"""How often those who look from outside get new numbers."""

REST = ".*"


class Counted:
    """What one look at a directory passes over."""

    def __init__(self) -> None:
        self.counts: Counter[Passed] = Counter()
        self.examples: list[tuple[bytes, Passed]] = []

    def add(self, source: bytes, one: Passed, number: int = 1) -> None:
        """Count a file, or *number* files in a folder."""
        if number:
            self.counts[_kept(one, self.counts)] += number
            if len(self.examples) < EXAMPLES_OF_ONE:
                self.examples.append((source, one))


class Tally:
    """
    What is passed over in the folder *name*; *ledger* gets it for those who look from outside.

    *reads_more*: the folder makes deliverables, and takes more than the service does.
    """

    def __init__(self, name: str, ledger: Sources, report: Reporter, *, reads_more: bool = False) -> None:
        self._name, self._ledger, self._report = name, ledger, report
        self._reads_more = reads_more
        self._of: dict[bytes, Mapping[Passed, int]] = {}
        self._examples: dict[bytes, list[tuple[bytes, Passed]]] = {}
        self._listed = 0
        self._total: Counter[Passed] = Counter()
        self._told: set[str] = set()
        self._is_changed = self._is_unwritten = True
        self._written_at_s = float("-inf")
        self.counts: PassedCounts = {}  # how many files of each kind, as of the last turn; for any thread

    def _counted(self) -> PassedCounts:
        counts = Counter(self._total)
        for one, number in counts.most_common()[KINDS:]:
            del counts[one]
            counts[Passed(one.why, REST)] += number
        return counts

    def tell(self, source: bytes, one: Passed) -> None:
        """Report the first file of each kind that may well have been meant to be sent."""
        told_as = one.kind if one.why is Why.TYPE else one.why
        if told_as not in self._told and is_worth_a_line(one):
            self._told.add(told_as)
            self._report(
                events.PassedOver(
                    folder=self._name,
                    source=source,
                    suffix=one.kind,
                    why=one.why.value,
                    reads_more=self._reads_more,
                )
            )

    def put(self, directory: bytes, found: Counted) -> None:
        """Count what one look at a directory found in place of what was there before."""
        before = self._of.get(directory)
        if before is None and not found.counts:
            return
        self.drop(directory)
        self._is_changed = True
        if not found.counts:
            return
        counts: Counter[Passed] = Counter()
        for one, number in found.counts.items():
            kind = _kept(one, self._total)
            counts[kind] += number
            self._total[kind] += number
        self._of[directory] = dict(counts)
        for source, one in found.examples:
            self.tell(source, one)
        if listed := found.examples[: max(0, EXAMPLES - self._listed)]:
            self._examples[directory] = listed
            self._listed += len(listed)

    def drop(self, directory: bytes) -> None:
        """Forget a directory."""
        counts = self._of.pop(directory, None)
        if counts is None:
            return
        self._is_changed = True
        self._listed -= len(self._examples.pop(directory, ()))
        self._total.subtract(counts)
        for one in counts:
            if not self._total[one]:
                del self._total[one]

    def keep(self, is_known: Callable[[bytes], bool]) -> None:
        """Forget the directories that a walk through everything did not find any more."""
        for directory in [one for one in self._of if not is_known(one)]:
            self.drop(directory)

    def clear(self) -> None:
        """Forget all: the folder is away."""
        self._of.clear()
        self._examples.clear()
        self._total.clear()
        self._listed, self._is_changed = 0, True

    def write(self, now: float, *, is_last: bool = False) -> None:
        """Show the numbers, and write them down, now and then and only if they have changed."""
        if self._is_changed:
            self.counts, self._is_changed, self._is_unwritten = self._counted(), False, True
        if self._is_unwritten and (is_last or now >= self._written_at_s + LIST_S):
            examples = tuple(one for listed in self._examples.values() for one in listed)
            self._ledger.set_passed_over(self._name, PassedOver(self.counts, examples))
            self._is_unwritten, self._written_at_s = False, now


def _kept(one: Passed, counts: Counter[Passed]) -> Passed:
    """Return the kind itself, or the rest of its reason where too many are told apart already."""
    return one if one in counts or len(counts) < KEPT else Passed(one.why, REST)


def files_below(path: bytes) -> int:
    """
    Count the files in a folder that is passed over as a whole, ``BELOW`` at most; follow no link.

    Of a folder of the system only its own files count, since snapshots and the like may
    hold anything. What cannot be read counts as nothing: nobody would send it either way.
    """
    is_deep = not is_system(path.rpartition(b"/")[2])
    files, seen, waiting = 0, 0, [path]
    while waiting and seen < BELOW:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    seen += 1
                    if entry.is_dir(follow_symlinks=False):
                        waiting += [entry.path] if is_deep else []
                    elif not is_staging_name(entry.name):
                        files += 1
                    if seen >= BELOW:
                        break
        except OSError:
            continue
    return files
