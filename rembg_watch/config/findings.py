"""
What can be wrong with a configuration, as one value for every teller.

A finding carries facts and a sentence; how it looks on a terminal or in JSON is
decided elsewhere.
"""

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """How bad it is."""

    ERROR = "error"  # the program cannot do its work
    WARNING = "warning"  # it works, but somebody should look
    NOTE = "note"  # worth knowing; nothing is wrong


class FindingKind(StrEnum):
    """What it concerns, so that a caller can choose what it can live with."""

    FILE = "file"  # the configuration file cannot be read or understood
    SETTING = "setting"  # a key is unknown, a value impossible, two of them contradict
    KEY = "key"  # no API key, or one that cannot be a key
    KEY_REFUSED = "key_refused"  # the API does not accept the key
    NO_FOLDERS = "no_folders"  # nothing is watched
    AWAY = "away"  # a folder is not there now; a share may come back
    ACCESS = "access"  # it is there, but must not be read or written
    PLACE = "place"  # what is there is no folder
    STATE = "state"  # ledger and spool cannot be kept
    MACHINE = "machine"  # limits, clock, space, mounts, service manager
    NOTICES = "notices"  # people cannot be told, or others can read how
    ACCOUNT = "account"  # the way to the API, credits


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that somebody should know: what, where, and what to do."""

    severity: Severity
    kind: FindingKind
    what: str
    where: str = ""
    todo: str = ""

    def __str__(self) -> str:
        """Say it in one line: ``where: what; what to do``."""
        place = f"{self.where}: " if self.where else ""
        advice = f"; {self.todo}" if self.todo else ""
        return f"{place}{self.what}{advice}"
