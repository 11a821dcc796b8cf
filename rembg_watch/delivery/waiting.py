"""How whoever waits for a process that decodes shows that it lives, and learns whether that process works."""

from collections.abc import Callable
from dataclasses import dataclass

BEAT_S = 5.0
"""How often it is looked at."""

STUCK_S = 15.0
"""A process that used the processor for so long not at all waits for something that does not answer."""


def _nothing() -> None:
    pass


@dataclass(frozen=True, slots=True)
class Waiting:
    """
    What is called while a process is waited for.

    Attributes:
        beat: Every few seconds: whoever waits is alive.
        moved: Likewise, but only while the process works.
        stuck: Every few seconds once it has not worked for ``STUCK_S``.
    """

    beat: Callable[[], None] = _nothing
    moved: Callable[[], None] = _nothing
    stuck: Callable[[], None] = _nothing


NOBODY = Waiting()
"""For whom nobody looks."""
