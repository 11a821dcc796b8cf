"""When a folder is walked: a quick walk every interval, as far as it is cheap, a deep one when it is asked for."""

from dataclasses import dataclass, field

DUTY = 0.004
"""The share of time that each kind of walk may take, at most."""

LONGEST_S = 600.0
"""However large the tree, it is looked through at least as often."""


@dataclass(slots=True)
class Walk:
    """One walk through all directories."""

    is_deep: bool
    because: str
    started_s: float
    stack: list[bytes] = field(default_factory=lambda: [b""])
    files: int = 0
    cost_s: float = 0.0
    looks_s: float = 0.0  # of the cost, what files took: in a quick walk that is work and not idling


class Schedule:
    """When the next walk comes: a quick one every interval, as far as it is cheap, a deep one when it is asked for."""

    def __init__(self, interval_s: float) -> None:
        self._interval_s = interval_s
        self.restart("start")
        self._quick_at_s = float("-inf")

    def restart(self, because: str) -> None:
        """Have a deep walk at once, whatever was planned."""
        self._deep_at_s, self._because, self._rested_s = float("-inf"), because, float("-inf")

    def ask_deep(self, because: str, now: float) -> None:
        """Have a deep walk soon, after the one that may be under way, and leave time for other things in between."""
        self._plan_deep(because, max(now, self._rested_s))

    def _plan_deep(self, because: str, at_s: float) -> None:
        if self._deep_at_s > at_s:
            self._deep_at_s, self._because = at_s, because

    @property
    def next_s(self) -> float:
        """When the next walk is due."""
        return min(self._quick_at_s, self._deep_at_s)

    def begin(self, now: float) -> Walk | None:
        """Return the walk that is due, if one is."""
        if self._deep_at_s <= now:
            self._deep_at_s = float("inf")  # an overflow meanwhile asks for another one
            return Walk(is_deep=True, because=self._because, started_s=now)
        if self._quick_at_s <= now:
            return Walk(is_deep=False, because="interval", started_s=now)
        return None

    def end(self, walk: Walk, now: float) -> None:
        """Plan what comes after a walk that has ended."""
        if walk.is_deep:
            self._quick_at_s = now + self._interval_s
            self._rested_s = now + 4 * walk.cost_s
            self._plan_deep("interval", now + self._pause_s(walk.cost_s))
        else:
            self._quick_at_s = now + self._pause_s(walk.cost_s - walk.looks_s)

    def _pause_s(self, cost_s: float) -> float:
        return max(self._interval_s, min(cost_s / DUTY, LONGEST_S))
