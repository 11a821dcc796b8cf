"""
Which output folders take cutouts: nothing is paid for one that is not known to.

A folder is untried at first, sound once it has taken something, and blocked once it has refused
something. Nothing is written here; how a folder is tried out is the caller's matter.
"""

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

AGAIN_S = 15.0
"""How long after a refusal a folder is tried out again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Blockage:
    """Why a folder takes nothing now, and since when."""

    why: str
    code: str
    since: datetime


class Outputs:
    """What is known of each folder's output; safe to share between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # guards all that follows; single looks are atomic and go without it
        self._sound: set[str] = set()
        self._blocked: dict[str, Blockage] = {}
        self._on_trial: set[str] = set()
        self._again_s: dict[str, float] = {}

    @property
    def blocked(self) -> Mapping[str, Blockage]:
        """The folders that refused what was delivered last, by name."""
        with self._lock:
            return dict(self._blocked)

    def is_blocked(self, folder: str) -> bool:
        """Say if a folder refused what was delivered last."""
        return folder in self._blocked

    def is_sound(self, folder: str) -> bool:
        """Say if a folder is known to take cutouts; an untried one is not."""
        return folder in self._sound

    def begin_trial(self, folder: str, now_s: float) -> bool:
        """Say if it is time to try a folder out; who is told so does it, and says how it went."""
        with self._lock:
            if folder in self._on_trial or now_s < self._again_s.get(folder, now_s):
                return False
            self._on_trial.add(folder)
            return True

    def end_trial(self, folder: str) -> None:
        """Let a folder be tried out again."""
        with self._lock:
            self._on_trial.discard(folder)

    def accepted(self, folder: str) -> bool:
        """Note that a folder has taken something; say if it was blocked before."""
        if folder in self._sound:
            return False
        with self._lock:
            self._sound.add(folder)
            self._again_s.pop(folder, None)
            return self._blocked.pop(folder, None) is not None

    def refused(self, folder: str, why: str, code: str, *, at: datetime, now_s: float) -> None:
        """Note that a folder takes nothing; since when, is when it began."""
        with self._lock:
            before = self._blocked.get(folder)
            self._sound.discard(folder)
            self._blocked[folder] = Blockage(why=why, code=code, since=before.since if before else at)
            self._again_s[folder] = now_s + AGAIN_S

    def doubt(self) -> None:
        """Take every folder for untried: the configuration has changed, or somebody has mended something."""
        with self._lock:
            self._sound.clear()
            self._again_s.clear()
