"""
The views of a sheet: before and after of each picture, made while they are needed and then let go.

A sheet may have thousands of pictures, so no more than a few views are there at once.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

from rembg_watch.errors import ExitCode, RembgWatchError
from rembg_watch.pictures.view import NoViewError
from rembg_watch.showing.contents import Entry
from rembg_watch.showing.pictures import AwayError, Views
from rembg_watch.showing.places import NotThereError, Place

SIZE = "small"

THREADS = 2
AHEAD = 8
"""Pictures whose views are made before they are asked for."""

PATIENCE_S = 300.0
"""A view that takes longer is waited for in vain: whatever decodes it would have ended before."""


class SilentDiskError(RembgWatchError):
    """A disk or share that answered stopped to do so."""

    exit_code = ExitCode.WAITING


@dataclass(frozen=True, slots=True)
class Side:
    """One side of a picture: a view of it, as JPEG or WebP, or why there is none."""

    content: bytes = b""
    why_not: str = ""

    @property
    def kind(self) -> str:
        """The media type of the view."""
        return "image/webp" if self.content[:4] == b"RIFF" else "image/jpeg"


@dataclass(frozen=True, slots=True)
class Pair:
    """Both sides of a picture."""

    before: Side
    after: Side


def pair_of(entry: Entry, views: Views, silent: frozenset[Path] = frozenset()) -> Pair:
    """Make the views of a picture; a place whose root is *silent* is not looked at."""
    return Pair(_side(entry.before, views, silent), _side(entry.after, views, silent))


def _side(places: Sequence[Place], views: Views, silent: frozenset[Path]) -> Side:
    known = [place for place in places if place.root not in silent]
    try:
        return Side(views.view(known, SIZE))
    except NotThereError:
        return Side(why_not="Not there any more." if len(known) == len(places) else "Its disk does not answer.")
    except NoViewError as error:
        return Side(why_not=str(error))
    except AwayError:
        return Side(why_not="Its disk does not answer.")
    except (OSError, MemoryError):
        return Side(why_not="It cannot be shown just now.")


def pairs_ahead(entries: Sequence[Entry], make: Callable[[Entry], Pair]) -> Iterator[Pair]:
    """
    Yield the pairs of pictures in their order, and make the next few meanwhile.

    Raises:
        SilentDiskError: One takes so long that it will never come.
    """
    asked: SimpleQueue[tuple[Entry, Future[Pair]] | None] = SimpleQueue()

    def work() -> None:
        while (task := asked.get()) is not None:
            entry, future = task
            try:
                future.set_result(make(entry))
            except BaseException as error:  # noqa: BLE001 - whoever waits for it raises it
                future.set_exception(error)

    for _ in range(THREADS):
        threading.Thread(target=work, name="making views", daemon=True).start()  # a share may keep it for ever
    coming: deque[Future[Pair]] = deque()
    try:
        for entry in entries:
            future: Future[Pair] = Future()
            asked.put((entry, future))
            coming.append(future)
            if len(coming) > AHEAD:
                yield _come(coming.popleft())
        while coming:
            yield _come(coming.popleft())
    finally:
        for _ in range(THREADS):
            asked.put(None)


def _come(future: Future[Pair]) -> Pair:
    try:
        return future.result(PATIENCE_S)
    except TimeoutError:
        raise SilentDiskError("a disk or share of these pictures does not answer any more: try again later") from None
