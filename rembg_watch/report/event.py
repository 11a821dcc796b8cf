"""
What an event is: its facts, its level, the state it begins or ends, and its sentence.

Every event declares them as values of its class; only what depends on its facts is computed.
"""

import re
import traceback
from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from decimal import Decimal
from enum import IntEnum
from typing import ClassVar, NamedTuple, TypedDict

from rembg_watch.jobs import Job
from rembg_watch.report.words import When, credits_number, show, utc_text

IN_SENTENCE = {"is_fact": False}
"""The metadata of a field that is in the sentence alone, and is no fact beside it."""

Fact = str | int | float | bool | None | list["Fact"]
"""A fact as JSON can hold it."""


class Level(IntEnum):
    """How much an event matters; the numbers are those of ``logging``."""

    DEBUG = 10  # for whoever looks for a fault
    INFO = 20  # a person may want to know
    WARNING = 30  # a person should know
    ERROR = 40  # a person has to do something, or a picture is not delivered


class Condition(NamedTuple):
    """
    A state that lasts: reported when it begins, when its detail changes and when it ends.

    Events with one key belong together; ``is_over`` marks the one that ends it.
    """

    key: tuple[str, ...]
    is_over: bool = False
    detail: str = ""


class Lasting:
    """Which state an event begins or ends: its name, and the fields that tell it from others of that name."""

    def __init__(self, name: str, *told_apart_by: str, detail: str | None = None, is_over: bool = False) -> None:
        self._name = name
        self._fields = told_apart_by
        self._detail = detail
        self._is_over = is_over

    def of(self, event: "Event") -> Condition:
        """Return the state as *event* has it."""
        parts = (getattr(event, name) for name in self._fields)
        key = (self._name, *(show(part) if isinstance(part, bytes) else str(part) for part in parts))
        return Condition(key, self._is_over, getattr(event, self._detail) if self._detail else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Event(ABC):
    """One thing that can be reported."""

    lasting: ClassVar[Lasting | None] = None
    ends_with: ClassVar[tuple[str, str] | None] = None  # words, and the field of the moment that comes after them

    @property
    def level(self) -> Level:
        """How much it matters."""
        return Level.INFO

    @property
    def condition(self) -> Condition | None:
        """The lasting state that it begins or ends, if any."""
        return self.lasting.of(self) if self.lasting else None

    def sentence(self, when: When = utc_text) -> str:
        """Say it in one line, moments written by *when*."""
        words, name = self.ends_with or ("", "")
        at: datetime | None = getattr(self, name) if name else None
        return f"{self._says()}{words} {when(at)}" if at else self._says()

    @abstractmethod
    def _says(self) -> str: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureEvent(Event):
    """Something that happened to one picture; *source* is relative to the folder's input root."""

    folder: str
    source: bytes
    job: int | None = None

    @property
    def picture(self) -> str:
        """The picture's name for a person: folder and path."""
        return f"{self.folder}/{show(self.source)}"


class OfJob(TypedDict):
    """What every event of a picture says of its job."""

    folder: str
    source: bytes
    job: int


def of(job: Job) -> OfJob:
    """Say which picture an event is about: ``Failed(**of(job), why=...)``."""
    return OfJob(folder=job.folder, source=job.source, job=job.id)


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderEvent(Event):
    """Something that happened to one folder."""

    folder: str


def kind(event: Event) -> str:
    """Name what happened, for machines: ``gate_shut``."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", type(event).__name__).lower()


def facts(event: Event) -> dict[str, Fact]:
    """Give the fields of *event* as JSON can hold them; paths as they are shown, moments in UTC."""
    return {one.name: _fact(getattr(event, one.name)) for one in fields(event) if one.metadata.get("is_fact", True)}


def _fact(value: object) -> Fact:
    match value:
        case None | bool() | int() | float():
            return value
        case bytes():
            return show(value)
        case Decimal():
            return credits_number(value)
        case datetime():
            return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
        case tuple():
            return [_fact(part) for part in value]
        case BaseException():
            return traceback.format_exception_only(value)[-1].strip()
    return str(value)
