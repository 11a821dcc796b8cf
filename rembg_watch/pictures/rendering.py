"""
What is asked of whoever makes a deliverable, and what comes of it: values alone.

``pictures.render`` makes it, and is loaded by the process that does: the daemon, which only asks, holds none of it.
"""

from dataclasses import dataclass

from rembg_watch.errors import RembgWatchError
from rembg_watch.pictures.deliverable import Deliverable, Edges, Master
from rembg_watch.pictures.profiles import SRGB


class NotRenderedError(RembgWatchError):
    """
    A deliverable cannot be made; the sentence says why and what to do.

    Attributes:
        code: For machines.
    """

    def __init__(self, code: str, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendering:
    """
    What is to be made of what.

    Attributes:
        source: The source, an open file; None: it is gone, and the master has to do.
        sent: How it was sent: ``as it is``, or another way, in which it stood upright.
        master: The path of what was bought.
        kind: What that is.
        deliverable: What is wanted.
        output: An open file, for reading and writing; what it holds is replaced.
        scratch: Another one, whose content is nobody's.
        edges: What colours soft edges get.
        assume: The profile of a source that has none: ``srgb``, ``adobe-rgb`` or a path.
    """

    source: int | None
    sent: str
    master: str
    kind: Master
    deliverable: Deliverable
    output: int
    scratch: int
    edges: Edges = Edges.CLEAN
    assume: str = SRGB


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendered:
    """A deliverable that was made."""

    width: int
    height: int
    size_bytes: int
    remarks: tuple[str, ...] = ()
