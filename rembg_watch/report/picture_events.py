"""What happens to one picture, from its call to its place, and to the folders it is written to."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import ClassVar

from rembg_watch.report.event import FolderEvent, Lasting, Level, PictureEvent
from rembg_watch.report.words import count_text, credits_text, show, size_text, span_text

ACCEPT_OR_REDO = '"rembg-watch accept" delivers it as it is, "rembg-watch redo" pays again'
"""What a person can do with an answer of an unexpected size."""

ACCEPT_REDO_OR_REJECT = f'{ACCEPT_OR_REDO}, "rembg-watch reject" never delivers it'

_ODD = {
    "no_alpha": "it has no transparency",
    "lacks_files": "not all of its files could be made",
    "all_opaque": "nothing in it is transparent",
    "all_transparent": "all of it is transparent",
    "odd_mask": "it has colours, and is no mask",
    "flat_mask": "it is the same everywhere",
    "inverted_mask": "it seems to keep the background, and to drop the object",
    "not_decoded": "it is too large to be decoded on this machine, so only its structure was checked",
    "wrong_size": "it is not of the size that was expected",
    "downgraded": "it is much smaller than expected",
    "flat": "all of it is equally opaque",
    "small_object": "the object is very small",
    "large_object": "the object takes nearly all of the picture",
    "touches_border": "the object takes nearly a whole border",
    "fragments": "the object is in many parts",
    "holes": "the object has many holes",
    "soft": "much of the object is half transparent",
}


_REMARKS = {
    "too_small": "it is too small for its canvas",
    "cut_sides": "its object is cut off on both sides, which the canvas is wider than",
    "no_original": "its original is gone, so it was made of what was bought alone, which has 8 bits and may be smaller",
    "specks": "specks apart from the object are not counted for its place on the canvas",
    "out_of_gamut": "some of its colours do not exist in that colour space",
    "over_max_kb": "it is larger than max_kb even at the least quality",
    "eight_bit": "its format holds 8 bits only",
    "no_clipping_path": "its outline is too complicated for a clipping path",
    "from_lab": "its colours were converted from Lab",
    "untagged": "its picture has no colour profile",
    "from_float": "its values were converted to 16 bits",
}


def remark_text(code: str) -> str:
    """Say what is odd about a deliverable."""
    return _REMARKS.get(code, code.replace("_", " "))


ODD_CODES = tuple(_ODD)
"""What may be odd about a cutout, as codes."""


def odd_words(finding: str) -> str:
    """Say what is odd about a cutout, by its codes with commas between them."""
    return ", ".join(_ODD.get(code) or remark_text(code) for code in finding.split(","))


def odd_text(finding: str | None) -> str:
    """Say what is odd about a cutout that was delivered, to be put behind a sentence; nothing if nothing is."""
    return f"; look at it: {odd_words(finding)}" if finding else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstOfPages(PictureEvent):
    """A source holds several pictures, of which the first is sent."""

    pages: int

    def _says(self) -> str:
        return f"{self.picture} holds {self.pages:,} pages: the first is cut out, the others are not"


@dataclass(frozen=True, slots=True, kw_only=True)
class CallStarted(PictureEvent):
    """The request begins to leave."""

    level: ClassVar[Level] = Level.DEBUG
    attempt: int
    size_bytes: int

    def _says(self) -> str:
        return f"{self.picture}: sending {size_text(self.size_bytes)}, attempt {self.attempt}"


@dataclass(frozen=True, slots=True, kw_only=True)
class CallEnded(PictureEvent):
    """The API has answered, or has not; what follows from it is another event."""

    level: ClassVar[Level] = Level.DEBUG
    duration_s: float
    charged: Decimal
    sent_bytes: int
    answer_bytes: int
    status: int | None = None  # None: no answer
    request_id: str | None = None
    outcome: str = "answered"  # answered, refused, failed, or unknown: it may have been charged
    code: str | None = None  # of what was refused, or went wrong
    throttle: str | None = None  # of which kind the 429 was

    def _says(self) -> str:
        answer = f"answer {self.status} of {size_text(self.answer_bytes)}" if self.status else "no answer"
        return f"{self.picture}: {answer} in {span_text(self.duration_s)}, {credits_text(self.charged)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivered(PictureEvent):
    """The cutout stands, whole and verified, under its final name; *target* is relative to the output root."""

    target: bytes
    duration_s: float
    charged: Decimal
    credits_left: Decimal | None = None
    answer_bytes: int = 0
    finding: str | None = None  # what is odd about it, as a code
    age_s: float | None = None  # since it stood in line

    @property
    def level(self) -> Level:
        """Return how much it matters: an odd cutout should be looked at."""
        return Level.WARNING if self.finding else Level.INFO

    def _says(self) -> str:
        left = f", {credits_text(self.credits_left)} left" if self.credits_left is not None else ""
        cost = credits_text(self.charged)
        odd = odd_text(self.finding)
        if not self.target:
            return f"{self.picture} is paid for and kept ({cost}{left}), and none of its files could be made{odd}"
        return f"{self.picture} delivered as {show(self.target)} in {span_text(self.duration_s)} ({cost}{left}){odd}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reused(PictureEvent):
    """The same bytes with the same parameters were paid for before; the cutout stands without a call."""

    target: bytes
    answer_bytes: int = 0
    finding: str | None = None
    age_s: float | None = None

    def _says(self) -> str:
        known = "the same picture was paid for before"
        if not self.target:
            return f"{self.picture}: {known}, and none of its files could be made{odd_text(self.finding)}"
        return f"{self.picture} delivered as {show(self.target)} without a call: {known}{odd_text(self.finding)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class FileMade(PictureEvent):
    """A deliverable stands under its name, relative to the output root; *remarks* are codes of what is odd about it."""

    deliverable: str
    target: bytes
    remarks: tuple[str, ...] = ()

    @property
    def level(self) -> Level:
        """Return how much it matters: a file with a remark should be looked at."""
        return Level.WARNING if self.remarks else Level.INFO

    def _says(self) -> str:
        odd = f"; look at it: {', '.join(map(remark_text, self.remarks))}" if self.remarks else ""
        return f"{self.picture}: {self.deliverable} made as {show(self.target)}{odd}"


@dataclass(frozen=True, slots=True, kw_only=True)
class FileNotMade(PictureEvent):
    """A deliverable cannot be made of this picture; the others are not affected."""

    level: ClassVar[Level] = Level.WARNING
    deliverable: str
    why: str
    code: str

    def _says(self) -> str:
        return f"{self.picture}: {self.deliverable} cannot be made: {self.why}"


@dataclass(frozen=True, slots=True, kw_only=True)
class TakenAlong(PictureEvent):
    """A source was renamed, or says other words: the cut-out of its old name is gone, and stands under the new one."""

    former: bytes

    def _says(self) -> str:
        if self.former == self.source:
            return f"{self.picture} says other words than before: its files have new names, and the old ones are gone"
        return f"{self.picture} was {show(self.former)} before: the cut-out of that name is taken along"


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftBehind(PictureEvent):
    """A source was renamed, or says other words; a file of its old name was edited, or cannot be removed, and stays."""

    level: ClassVar[Level] = Level.WARNING
    former: bytes
    target: bytes

    def _says(self) -> str:
        kept = f"{show(self.target)} stays: it was edited since, or cannot be removed"
        if self.former == self.source:
            return f"{self.picture} was changed, and its file has another name now: {kept}"
        return f"{self.picture} was {show(self.former)} before: {kept}"


@dataclass(frozen=True, slots=True, kw_only=True)
class WillRetry(PictureEvent):
    """An attempt failed for a reason that may pass."""

    ends_with: ClassVar[tuple[str, str]] = (" after", "retry_at")
    why: str
    attempt: int
    max_attempts: int
    retry_at: datetime | None = None

    def _says(self) -> str:
        if not self.attempt:
            return f"{self.picture}: {self.why}; nothing was sent, and it is tried again"
        return f"{self.picture}: {self.why}; attempt {self.attempt} of {self.max_attempts}, sent again"


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed(PictureEvent):
    """This picture cannot be processed; it is never sent again by itself."""

    level: ClassVar[Level] = Level.ERROR
    why: str
    code: str | None = None
    field: str | None = None
    request_id: str | None = None
    charged: Decimal = Decimal(0)

    def _says(self) -> str:
        cost = f" ({credits_text(self.charged)} charged)" if self.charged else ""
        return f"{self.picture} failed: {self.why}{cost}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Held(PictureEvent):
    """This picture waits for a person or a setting."""

    level: ClassVar[Level] = Level.WARNING
    lasting: ClassVar[Lasting] = Lasting("held", "folder", detail="why")  # one line for all its pictures
    why: str
    code: str | None = None

    def _says(self) -> str:
        return f"{self.picture} is held: {self.why}"


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerHeld(PictureEvent):
    """An answer came that is whole and of another size than expected: it is kept, and a person decides."""

    level: ClassVar[Level] = Level.WARNING
    why: str
    code: str
    charged: Decimal = Decimal(0)

    def _says(self) -> str:
        return f"{self.picture} is held: {self.why}; {ACCEPT_OR_REDO}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewAwaited(PictureEvent):
    """A cutout is odd, and its folder has a person look at such before they are delivered."""

    level: ClassVar[Level] = Level.WARNING
    why: str
    charged: Decimal = Decimal(0)

    def _says(self) -> str:
        return f"{self.picture} waits for you to look at it: {self.why}; {ACCEPT_REDO_OR_REJECT}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewNotShown(PictureEvent):
    """A cutout that waits for a person could not be copied into the review folder."""

    level: ClassVar[Level] = Level.WARNING
    where: bytes
    why: str

    def _says(self) -> str:
        return f"{self.picture} waits for you to look at it, and cannot be shown as {show(self.where)}: {self.why}"


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderHeld(FolderEvent):
    """Several answers in a row surprised, or the first of a new kind did: nothing more is bought for the folder."""

    level: ClassVar[Level] = Level.ERROR
    count: int
    why: str
    code: str

    def _says(self) -> str:
        are = "the first answer of its kind is" if self.count == 1 else f"{self.count} answers in a row are"
        return (
            f"{self.folder} is held: {are} not of the size that was expected ({self.why}); "
            f'"rembg-watch accept --folder {self.folder}" takes such answers from now on, "rembg-watch retry" goes on'
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialFailed(PictureEvent):
    """The first answers of a kind are nothing that files can be made of: nothing more is bought for the folder."""

    level: ClassVar[Level] = Level.ERROR
    finding: str

    def _says(self) -> str:
        odd = _ODD.get(self.finding, self.finding)
        return (
            f"{self.folder} is held: the first answer to its options, for {self.picture}, is not what files could be "
            f"made of ({odd}), so that no other picture is sent; mend its options, or "
            f'"rembg-watch retry --folder {self.folder}" tries one more'
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeOtherwise(FolderEvent):
    """A folder's options have changed; what was delivered with others is not touched by itself."""

    level: ClassVar[Level] = Level.WARNING  # a person who has just changed them, at a terminal, has to hear of it
    count: int

    def _says(self) -> str:
        what = "picture was" if self.count == 1 else "pictures were"
        stay = "stays as it is" if self.count == 1 else "stay as they are"
        return (
            f"{self.folder}: {self.count:,} {what} delivered with other options and {stay}; "
            f'"rembg-watch redo --folder {self.folder}" makes them anew'
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Released(FolderEvent):
    """What held a folder's pictures is gone; they are back in line."""

    lasting: ClassVar[Lasting] = Lasting("held", "folder", is_over=True)
    count: int

    def _says(self) -> str:
        return f"{self.folder}: {count_text(self.count, 'held picture')} back in line"


@dataclass(frozen=True, slots=True, kw_only=True)
class InDoubt(PictureEvent):
    """The request left whole and no usable answer came: the credit may be gone."""

    level: ClassVar[Level] = Level.WARNING
    why: str
    will_retry: bool
    request_id: str | None = None

    def _says(self) -> str:
        then = "sent once more" if self.will_retry else 'held; "rembg-watch retry --state in_doubt" sends it again'
        return f"{self.picture} is in doubt: {self.why}; a credit may have been taken; {then}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Vanished(PictureEvent):
    """The source went away or was replaced before it was sent; nothing was paid."""

    why: str = "it is no longer there"

    def _says(self) -> str:
        return f"{self.picture} was not sent: {self.why}"


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputBlocked(FolderEvent):
    """Nothing can be published in a folder; what is paid waits in the spool."""

    level: ClassVar[Level] = Level.ERROR
    lasting: ClassVar[Lasting] = Lasting("output", "folder", detail="code")  # one line for all its pictures
    path: bytes
    why: str
    code: str = ""

    def _says(self) -> str:
        return f"{self.folder}: {self.why}; nothing is sent for it meanwhile, and what is paid for is kept"


@dataclass(frozen=True, slots=True, kw_only=True)
class NameRefused(PictureEvent):
    """A folder takes cutouts, but not this one: the paid answer waits in the spool."""

    level: ClassVar[Level] = Level.ERROR
    lasting: ClassVar[Lasting] = Lasting("name", "folder", "source", detail="code")
    why: str
    code: str = ""

    def _says(self) -> str:
        return f"{self.picture}: {self.why}; the paid cutout is kept and delivered later"


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputFree(FolderEvent):
    """The output can be written again."""

    lasting: ClassVar[Lasting] = Lasting("output", "folder", is_over=True)
    path: bytes

    def _says(self) -> str:
        return f"{self.folder}: {show(self.path)} can be written again; work goes on"


@dataclass(frozen=True, slots=True, kw_only=True)
class Disposed(PictureEvent):
    """The source was moved or deleted, as configured, after its cutout stood."""

    level: ClassVar[Level] = Level.DEBUG
    moved_to: bytes | None = None  # None: deleted

    def _says(self) -> str:
        return f"{self.picture} " + (f"moved to {show(self.moved_to)}" if self.moved_to is not None else "deleted")


@dataclass(frozen=True, slots=True, kw_only=True)
class NotDisposed(PictureEvent):
    """The cutout stands but its source could not be moved or deleted; it stays where it is."""

    level: ClassVar[Level] = Level.WARNING
    lasting: ClassVar[Lasting] = Lasting("dispose", "folder", detail="code")  # one line for all its pictures
    why: str
    code: str = ""

    def _says(self) -> str:
        return f"{self.picture} is delivered but stays where it is: {self.why}"


@dataclass(frozen=True, slots=True, kw_only=True)
class OriginalsGo(FolderEvent):
    """Originals that had stayed could be moved or deleted after all."""

    lasting: ClassVar[Lasting] = Lasting("dispose", "folder", is_over=True)
    count: int

    def _says(self) -> str:
        return f"{self.folder}: {count_text(self.count, 'original')} that had stayed can be put away again"


@dataclass(frozen=True, slots=True, kw_only=True)
class OriginalsStay(FolderEvent):
    """A folder that originals are moved to, or taken from, cannot be written at the start."""

    level: ClassVar[Level] = Level.WARNING
    place: str  # input, done or failed
    path: bytes
    why: str

    def _says(self) -> str:
        return (
            f"{self.folder}: the {self.place} folder {show(self.path)} cannot be written: {self.why}; "
            "pictures are cut out, and originals stay where they are until it can"
        )
