"""What the pacer remembers of accepted and refused calls, and what can be measured by it."""

from dataclasses import dataclass
from math import sqrt
from typing import NamedTuple

NEVER = float("-inf")


class Shut(NamedTuple):
    """Every call has been refused since then, and the next one tries it then: seconds of the caller's clock."""

    since: float
    until: float


@dataclass(frozen=True, slots=True)
class Learned:
    """What is known of the rate, as far as a restart should know it."""

    rate: float
    good: float | None = None  # the last rate that held
    held: float | None = None  # one that surely held, earlier
    back_to: float | None = None  # the same, while on the way back to it
    is_starting: bool = False


@dataclass(slots=True)
class Mark:
    """A moment, and what had been granted until then."""

    at: float
    granted: int


@dataclass(slots=True)
class Block:
    """The gate is shut, from a loss until a canary comes through."""

    lost_at: float
    until: float
    refused_at: float  # when the last call was sent that was refused
    canary_at: float | None = None
    tries: int = 0


@dataclass(frozen=True, slots=True)
class HeldRate:
    """A rate that surely held; unlike ``good`` it is not forgotten at a loss."""

    rate: float | None = None
    back_to: float | None = None  # the same, while on the way back to it
    doubted_until: float = NEVER


@dataclass(slots=True)
class Stretch:
    """The time since the rate was last set."""

    since: float
    granted: int
    calls: int = 0
    waited: int = 0  # calls that the pace made wait, so that it was what limited

    def is_paced(self, share: float) -> bool:
        """Say whether the pace, not the workers, was the limit for this share of the calls."""
        return self.waited >= share * self.calls


def middle(low_s: float, high_s: float) -> float:
    """Return the geometric middle of two spans."""
    return sqrt(max(1e-6, low_s * high_s))


def bound(reopened: list[Mark], lost: list[Mark], block: Block, mark: Mark, *, least: int) -> float | None:
    """Return what was granted a second between moments at which the account was equally empty."""
    bounds = [_between(reopened, mark, least)]
    if block.tries < 3:
        bounds.append(_between(lost[:-1], lost[-1], least))
    return max((b for b in bounds if b is not None), default=None)


def _between(marks: list[Mark], last: Mark, least: int) -> float | None:
    """Return the calls granted a second from the latest of *marks* that is *least* calls back, to *last*."""
    mark = next((m for m in reversed(marks) if last.granted - m.granted >= least and last.at > m.at), None)
    return None if mark is None else (last.granted - mark.granted) / (last.at - mark.at)
