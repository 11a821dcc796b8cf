"""Time, waiting and chance, as the program meets them; tests bring their own."""

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime


@dataclass(frozen=True, slots=True)
class Clocks:
    """Time, waiting and chance, as the shell has them; tests bring their own."""

    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    monotonic: Callable[[], float] = time.monotonic
    chance: Callable[[], float] = random.random
    nap: Callable[[threading.Condition, float], object] = threading.Condition.wait
    wait: Callable[[threading.Event, float], bool] = threading.Event.wait
