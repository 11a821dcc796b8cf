"""What a file is to be made of and how, as the pipeline asks for it, and what comes of it."""

from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from rembg_watch.pictures.deliverable import Deliverable, Edges, Master
from rembg_watch.pictures.render import Rendered, Rendering, render


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What a file is to be made of, and how."""

    source: BinaryIO | None  # None: it is gone
    sent: str  # the way in which it was sent (``pictures.sending``)
    master: Path
    kind: Master
    edges: Edges
    assume: str
    deliverable: Deliverable


class Render(Protocol):
    """Makes one file, in a process of its own."""

    def __call__(self, wish: Wish, file: BinaryIO, scratch: BinaryIO) -> Rendered:
        """
        Write the file; *scratch* is for what need not be in memory.

        Raises:
            NotRenderedError: It cannot be made of this picture.
            OSError: The disk refused.
        """


def rendering_of(wish: Wish, file: BinaryIO, scratch: BinaryIO) -> Rendering:
    """Return what is asked of the renderer."""
    return Rendering(
        source=None if wish.source is None else wish.source.fileno(),
        sent=wish.sent,
        master=str(wish.master),
        kind=wish.kind,
        deliverable=wish.deliverable,
        output=file.fileno(),
        scratch=scratch.fileno(),
        edges=wish.edges,
        assume=wish.assume,
    )


def render_here(wish: Wish, file: BinaryIO, scratch: BinaryIO) -> Rendered:
    """Make a file in this process: for a picture by hand, and for tests."""
    return render(rendering_of(wish, file, scratch))
