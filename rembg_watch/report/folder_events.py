"""What happens in the watched folders, from a change that is seen to a job that stands in line."""

from dataclasses import dataclass
from typing import ClassVar

from rembg_watch.passed_over import Why
from rembg_watch.paths import READ_SUFFIXES
from rembg_watch.report.event import FolderEvent, Lasting, Level, PictureEvent
from rembg_watch.report.words import count_text, show, size_text, span_text


@dataclass(frozen=True, slots=True, kw_only=True)
class Found(FolderEvent):
    """Sources were seen for the first time; they have to settle."""

    level: ClassVar[Level] = Level.DEBUG
    count: int

    def _says(self) -> str:
        return f"{self.folder}: {count_text(self.count, 'new file')} seen"


@dataclass(frozen=True, slots=True, kw_only=True)
class Unsettled(PictureEvent):
    """A source does not become whole."""

    level: ClassVar[Level] = Level.WARNING
    lasting: ClassVar[Lasting] = Lasting("unsettled", "folder", "source", detail="why")
    why: str
    age_s: float

    def _says(self) -> str:
        return f"{self.picture} is not whole after {span_text(self.age_s)}: {self.why}; it is looked at again"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled(PictureEvent):
    """A source that was long unsettled is whole, or gone."""

    lasting: ClassVar[Lasting] = Lasting("unsettled", "folder", "source", is_over=True)

    def _says(self) -> str:
        return f"{self.picture} has settled"


@dataclass(frozen=True, slots=True, kw_only=True)
class PassedOver(PictureEvent):
    """A file that is not sent, though it may have been meant to be; reported for the first of each kind alone."""

    level: ClassVar[Level] = Level.WARNING
    suffix: str
    why: str = Why.TYPE.value
    reads_more: bool = False  # the folder makes deliverables, and takes more than the service does

    def _says(self) -> str:
        if self.why in _PASSED:
            others, reason = _PASSED[self.why]
            return f"{self.picture} and every other {others} is left alone: {reason}"
        if self.reads_more:
            reason = f"{_READ_HERE}; develop or export it as one of these, {_OR_LEAVE_IT}"
        elif self.suffix.encode("utf-8", "surrogateescape") in READ_SUFFIXES:
            reason = f"{_SENT}; export it as one of these, let its folder make files of it (deliver), {_OR_LEAVE_IT}"
        else:
            reason = f"{_SENT}; export it as one of these, {_OR_LEAVE_IT}"
        return f"{self.picture} and every other {self.suffix} file is left alone: {reason}"


_SENT = "the service takes JPEG, PNG, WebP and BMP only"
_READ_HERE = "nothing but JPEG, PNG, WebP, BMP, TIFF, Photoshop documents, HEIC and AVIF is read here"
_OR_LEAVE_IT = "or leave it out (exclude)"
_PASSED: dict[str, tuple[str, str]] = {
    Why.LINK: ("link", "links are not followed; put the picture itself into the folder"),
    Why.SPECIAL: ("pipe, socket or device", "it is no ordinary file"),
    Why.CONFLICT: (
        "copy that a sync program made of a conflict",
        "settle the conflict and rename the one to keep, or set sync_conflicts = true for this folder",
    ),
    Why.FOLDER: ("file in a folder of that name", "it is a program's own; move the pictures out of it"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Enqueued(FolderEvent):
    """Settled sources are jobs on disk and survive a restart."""

    count: int
    size_bytes: int

    def _says(self) -> str:
        return f"{self.folder}: {count_text(self.count, 'new picture')} in line ({size_text(self.size_bytes)})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rescanned(FolderEvent):
    """A full walk has ended."""

    level: ClassVar[Level] = Level.DEBUG
    files: int
    duration_s: float
    because: str = "interval"

    def _says(self) -> str:
        return f"{self.folder}: looked at {count_text(self.files, 'file')} in {span_text(self.duration_s)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderOffline(FolderEvent):
    """A root cannot be read or written: a share is away, a disk is not mounted, rights are missing."""

    level: ClassVar[Level] = Level.WARNING
    lasting: ClassVar[Lasting] = Lasting("offline", "folder", "path", detail="why")
    path: bytes
    why: str

    def _says(self) -> str:
        return f"{self.folder}: {show(self.path)} is not there: {self.why}; waiting for it"


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderOnline(FolderEvent):
    """A root that was away is back."""

    lasting: ClassVar[Lasting] = Lasting("offline", "folder", "path", is_over=True)
    path: bytes
    away_s: float

    def _says(self) -> str:
        return f"{self.folder}: {show(self.path)} is back after {span_text(self.away_s)}; scanning it"


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderHung(FolderEvent):
    """A folder's disk neither answers nor fails: a share whose server is gone, most likely."""

    level: ClassVar[Level] = Level.WARNING
    lasting: ClassVar[Lasting] = Lasting("hung", "folder")
    silent_s: float

    def _says(self) -> str:
        silent = f"has not answered for {span_text(self.silent_s)}" if self.silent_s >= 1 else "does not answer"
        return (
            f"{self.folder}: a disk {silent}; nothing is sent for this folder meanwhile, and the others go on; "
            "look at its share"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderAnswers(FolderEvent):
    """A folder's disk answers again."""

    lasting: ClassVar[Lasting] = Lasting("hung", "folder", is_over=True)

    def _says(self) -> str:
        return f"{self.folder}: its disk answers again; work goes on"


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderTaken(FolderEvent):
    """Another process watches the same folder; two would pay for each picture twice."""

    level: ClassVar[Level] = Level.ERROR
    lasting: ClassVar[Lasting] = Lasting("taken", "folder", detail="by")
    path: bytes
    by: str

    def _says(self) -> str:
        return (
            f"{self.folder} is held: {show(self.path)} is already watched by {self.by}; "
            "nothing of it is sent from here until that one lets go"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderFree(FolderEvent):
    """The other process has let go of a folder, and it is this one's now."""

    lasting: ClassVar[Lasting] = Lasting("taken", "folder", is_over=True)

    def _says(self) -> str:
        return f"{self.folder}: no other process watches it any more; it goes on here"


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderWaits(FolderEvent):
    """A folder is new, and what is in it is not paid for before a person has decided."""

    level: ClassVar[Level] = Level.WARNING
    lasting: ClassVar[Lasting] = Lasting("first look", "folder", detail="why")
    why: str

    def _says(self) -> str:
        return f"{self.folder} waits for you: {self.why}"


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderLetGo(FolderEvent):
    """A new folder that waited for a person does not any more."""

    lasting: ClassVar[Lasting] = Lasting("first look", "folder", is_over=True)

    def _says(self) -> str:
        return f"{self.folder} is let go: its pictures are sent"


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderPaused(FolderEvent):
    """A person has paused a folder."""

    level: ClassVar[Level] = Level.WARNING
    lasting: ClassVar[Lasting] = Lasting("paused", "folder")

    def _says(self) -> str:
        return (
            f"{self.folder} is paused: nothing of it is sent, and what is paid for is delivered; "
            f'"rembg-watch resume --folder {self.folder}" lets it go on'
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderResumed(FolderEvent):
    """A folder is not paused any more."""

    lasting: ClassVar[Lasting] = Lasting("paused", "folder", is_over=True)

    def _says(self) -> str:
        return f"{self.folder} goes on: it is not paused any more"


@dataclass(frozen=True, slots=True, kw_only=True)
class Overflowed(FolderEvent):
    """The kernel dropped notices; the scan that follows finds what they would have told."""

    def _says(self) -> str:
        return f"{self.folder}: more changes than the kernel can tell; scanning everything instead"


@dataclass(frozen=True, slots=True, kw_only=True)
class ObserverRebuilt(FolderEvent):
    """The observer was dead or blind and was replaced."""

    level: ClassVar[Level] = Level.WARNING
    why: str

    def _says(self) -> str:
        return f"{self.folder}: change notices had stopped ({self.why}); set up anew, scanning everything"


@dataclass(frozen=True, slots=True, kw_only=True)
class Polling(FolderEvent):
    """The folder is looked at in turn because notices cannot be had or trusted there."""

    lasting: ClassVar[Lasting] = Lasting("polling", "folder", detail="why")
    why: str
    interval_s: float

    def _says(self) -> str:
        return f"{self.folder}: looking every {span_text(self.interval_s)} instead of being notified: {self.why}"
