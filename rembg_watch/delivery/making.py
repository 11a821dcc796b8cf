"""
The question "make": one deliverable of a source and of what was bought for it, put into lines and read out of them.

Its files go with the line: the source, where there is one, the output, and one whose content is nobody's. What was
bought goes by its path. The time that it may take follows from how many pixels there are: to pack a large picture
well takes minutes.
"""

import errno
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rembg_watch.pictures.deliverable import Deliverable, Edges, FileFormat, Master
from rembg_watch.pictures.profiles import SRGB
from rembg_watch.pictures.rendering import NotRenderedError, Rendered, Rendering

MAKE = "make"
BEGIN = b'["make"'

_LEAST_S, _S_PER_MPX, _S_PER_MPX_OF_AVIF = 60.0, 4.0, 20.0
_REAL_PER_PROCESSOR = 2.0  # on a machine that has much else to do
_SIZES_TRIED = 4  # so much longer it may take to find a quality that is small enough
_LEAST_BYTES, _BYTES_PER_PX = 150 << 20, 6
_HELD_BYTES_PER_PX = {FileFormat.WEBP: 30, FileFormat.AVIF: 48}
"""Of formats whose encoders want the whole picture at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Making:
    """
    What is to be made of what, but for the files that are open.

    Attributes:
        master: The path of what was bought.
        kind: What that is.
        deliverable: What is wanted.
        sent: How the source was sent, see ``Rendering``.
        edges: What colours soft edges get.
        assume: The profile of a source that has none.
        px: How many pixels the source has.
    """

    master: Path
    kind: Master
    deliverable: Deliverable
    sent: str
    px: int
    edges: Edges = Edges.CLEAN
    assume: str = SRGB

    @property
    def needed_bytes(self) -> int:
        """How much memory it takes, about."""
        made_px = self.made_px
        return _LEAST_BYTES + self.px * _BYTES_PER_PX + made_px * _HELD_BYTES_PER_PX.get(self.deliverable.format, 0)

    @property
    def made_px(self) -> int:
        """How many pixels the deliverable has, at most."""
        canvas = self.deliverable.canvas
        return canvas[0] * canvas[1] if isinstance(canvas, tuple) else self.px

    @property
    def processor_limit_s(self) -> float:
        """After so much processor time no picture comes of it."""
        packing = _S_PER_MPX_OF_AVIF if self.deliverable.format is FileFormat.AVIF else _S_PER_MPX
        tries = 1 if self.deliverable.max_kb is None else _SIZES_TRIED
        return _LEAST_S + (_S_PER_MPX * self.px + packing * tries * self.made_px) / 1_000_000

    @property
    def limit_s(self) -> float:
        """After so long, whatever holds it up, it is left for later."""
        return _LEAST_S + _REAL_PER_PROCESSOR * self.processor_limit_s


def question(making: Making) -> bytes:
    """Put into one line what is to be made."""
    path = os.fsencode(os.path.abspath(making.master)).decode("latin-1")  # noqa: PTH100 - it resolves no link
    limits = [making.processor_limit_s, making.limit_s]
    how = [making.sent, making.kind, making.edges, making.assume]
    return json.dumps([MAKE, limits, path, how, making.deliverable.as_json()]).encode() + b"\n"


def limits(line: bytes) -> tuple[float, float]:
    """Read out of a ``question`` how long it may take: of the processor, and by the clock."""
    _, (processor_s, clock_s), *_ = json.loads(line)
    return float(processor_s), float(clock_s)


def reply(line: bytes, fds: Sequence[int]) -> list[object]:
    """Make it, and say what came of it; the files are closed then."""
    from rembg_watch.pictures.render import render  # in the child alone: whoever asks holds none of it

    _, _, path, (sent, kind, edges, assume), wanted = json.loads(line)
    *source, output, scratch = fds
    try:
        made = render(
            Rendering(
                source=source[0] if source else None,
                sent=sent,
                master=os.fsdecode(path.encode("latin-1")),
                kind=Master(kind),
                deliverable=Deliverable.from_json(wanted),
                output=output,
                scratch=scratch,
                edges=Edges(edges),
                assume=assume,
            )
        )
    except NotRenderedError as refused:
        return ["not_made", refused.code, str(refused)]
    except MemoryError:
        return ["memory"]
    except OSError as refused:
        place = refused.filename if isinstance(refused.filename, str) else ""
        return ["refused", refused.errno or errno.EIO, refused.strerror, place]
    finally:
        for fd in fds:
            os.close(fd)
    return ["made", made.width, made.height, made.size_bytes, list(made.remarks)]


def made(line: bytes) -> Rendered | Exception:
    """
    Read a ``reply``: what ``render`` returned or raised.

    Raises:
        ValueError, TypeError, RecursionError: It is no reply, so whoever said it is out of its mind.
    """
    match json.loads(line):
        case ["made", int(width), int(height), int(size_bytes), list(remarks)]:
            return Rendered(width=width, height=height, size_bytes=size_bytes, remarks=tuple(map(str, remarks)))
        case ["not_made", str(code), str(sentence)]:
            return NotRenderedError(code, sentence)
        case ["memory"]:
            return MemoryError()
        case ["refused", int(number), text, str(place)]:
            return OSError(number, str(text), place or None)
        case ["error", str(text)]:
            return not_made(text.strip().rpartition("\n")[2])
    raise ValueError("not a reply")


def not_made(why: str) -> NotRenderedError:
    """Say that a picture brings down whoever makes something of it, and *why* that is known."""
    return NotRenderedError(
        "undecodable", f"Nothing can be made of it here ({why}): export it again, or look whether it is damaged."
    )
