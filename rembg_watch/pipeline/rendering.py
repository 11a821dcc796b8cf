"""What a file is to be made of and how, as the pipeline asks for it, and what comes of it."""

from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from rembg_watch.errors import RembgWatchError
from rembg_watch.pictures.deliverable import Deliverable, Edges, Master


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What a file is to be made of, and how."""

    source: BinaryIO | None  # None: it is gone
    master: Path
    kind: Master
    edges: Edges
    assume: str
    deliverable: Deliverable


@dataclass(frozen=True, slots=True)
class Rendered:
    """A file that was made, and what is odd about it, as codes."""

    width: int
    height: int
    remarks: tuple[str, ...] = ()


class NotRenderedError(RembgWatchError):
    """A file cannot be made of this picture; one sentence for a person, and a code."""

    def __init__(self, reason: str, *, code: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.code = code


class Render(Protocol):
    """Makes one file, in a process of its own."""

    def __call__(self, wish: Wish, file: BinaryIO) -> Rendered:
        """
        Write the file.

        Raises:
            NotRenderedError: It cannot be made of this picture.
            OSError: The disk refused.
        """
