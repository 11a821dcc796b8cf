"""How the pipeline has a file made: in a process of its own, or here."""

from typing import BinaryIO, Protocol

from rembg_watch.delivery.making import Making
from rembg_watch.delivery.waiting import NOBODY, Waiting
from rembg_watch.pictures.rendering import Rendered, Rendering


class Render(Protocol):
    """Makes one file; see ``Decoders.make``."""

    def __call__(
        self,
        source: BinaryIO | None,
        output: BinaryIO,
        scratch: BinaryIO,
        wanted: Making,
        *,
        waiting: Waiting = NOBODY,
    ) -> Rendered:
        """
        Write the file.

        Raises:
            NotRenderedError: It cannot be made of this picture.
            MemoryError: There is not enough for it.
            OSError: The disk refused, or no process can be had now.
        """


def render_here(
    source: BinaryIO | None,
    output: BinaryIO,
    scratch: BinaryIO,
    wanted: Making,
    *,
    waiting: Waiting = NOBODY,
) -> Rendered:
    """Make a file in this process: for a picture by hand, and for tests."""
    from rembg_watch.pictures.render import render

    waiting.beat()
    return render(
        Rendering(
            source=None if source is None else source.fileno(),
            sent=wanted.sent,
            master=str(wanted.master),
            kind=wanted.kind,
            deliverable=wanted.deliverable,
            output=output.fileno(),
            scratch=scratch.fileno(),
            edges=wanted.edges,
            assume=wanted.assume,
        )
    )
