"""
Processes that decode answers and sources, so that no decoder runs where the daemon lives.

A decoder is C code that reads what came over the network or from a stranger's camera. It may
crash, needs hundreds of megabytes for a large picture, and copies them while it holds the
interpreter's lock, so that no other thread moves. So a few children do it (``decoder``), one
picture at a time each. They are started when they are needed, the one that rested last is
asked first, and one that nobody asks ends. How many decode at once is bounded by the memory
that their pictures need (``lanes``): a large one takes the places of several. What is made of
large pictures has a lane of its own, so that no answer waits behind it.

A wrong "no" costs a credit. So an answer is at fault only where that is sure: two
processes crashed on it, or it took more processor time than any picture needs. One that
was not done in time for another reason is left for later. Whatever else befalls a child,
or if none can be started, the answer is verified in this process; but not where it has just ended
a process and there is no second one to make sure: it is left for later, too. A source that ends two
processes, by whatever signal, is at fault: memory that it took from them, it would take
from the daemon.
"""

import contextlib
import errno
import queue
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, TypeVar

from rembg_watch.delivery import decoder, making
from rembg_watch.delivery.child import COMMAND, Child, End
from rembg_watch.delivery.lanes import Lane
from rembg_watch.delivery.making import Making
from rembg_watch.delivery.verify import (
    AT_ONCE,
    AnswerRejectedError,
    Expected,
    Verified,
    broken,
    verify,
    verify_undecoded,
)
from rembg_watch.delivery.waiting import NOBODY, Waiting
from rembg_watch.errors import RembgWatchError
from rembg_watch.host import processors
from rembg_watch.host.disk import BLOCK_BYTES
from rembg_watch.host.memory import memory_bytes
from rembg_watch.pictures.formats import Kind
from rembg_watch.pictures.reduction import Proxy, Reduction
from rembg_watch.pictures.rendering import Rendered
from rembg_watch.pictures.upright import BYTES_PER_PX, SOURCE, Turn, UndecodableError, Upright, make_upright
from rembg_watch.pictures.view import Viewed

T = TypeVar("T")

IDLE_S = 30.0

LEAST_IN_USE_BYTES = 480 * 1024 * 1024
IN_USE_SHARE = 0.5
"""What pictures that are being decoded may need together, of the memory there is; one that needs more goes alone."""

MAKING_SHARE = 0.35
"""The same for copies and deliverables, which are made beside that."""

_MAKING_BYTES = 1_300 << 20
"""What they may need together however much there is: others want memory, too."""

START_LIMIT_S = 10.0
"""How long a start is waited for."""

_PAUSE_S = 60.0  # between one start that failed and the next try
_TRIES = 2
_NO_OTHER = "a process that decoded it ended, and no other one can be started now"


class DecoderError(RembgWatchError):
    """A process that verifies answers ended or cannot be started; the answers do not depend on it."""


class Decoders:
    """
    Verifies answers in child processes; called as ``verify`` is.

    Safe to share between threads; at most *most* verify at once and the others wait.
    Somebody has to call ``end_idle`` from time to time.
    """

    def __init__(
        self,
        *,
        tell: Callable[[DecoderError], None] = lambda _error: None,
        command: Sequence[str] = COMMAND,
        most: int | None = None,
        idle_s: float = IDLE_S,
    ) -> None:
        self._report = tell
        self._command = command
        self._idle_s = idle_s
        places, there_bytes = most or AT_ONCE, memory_bytes()
        self._short = Lane(places, max(LEAST_IN_USE_BYTES, int(IN_USE_SHARE * there_bytes)))
        self._long = Lane(places, min(_MAKING_BYTES, max(LEAST_IN_USE_BYTES, int(MAKING_SHARE * there_bytes))))
        self._lock = threading.Lock()  # guards ``_all``; a child may be killed under it, which never waits
        self._all: set[Child] = set()
        self._idle: deque[Child] = deque()  # who rested last stands right; each act on it is atomic
        self._closed = threading.Event()
        self._not_before_s = float("-inf")

    def __call__(self, answer: Path, expected: Expected) -> Verified:
        """
        Read an answer whole and say what it is.

        Raises:
            AnswerRejectedError: It is not what was asked for.
            OSError: The answer cannot be read from the disk; a TimeoutError: not now.
        """
        needed_bytes = expected.width * expected.height * BYTES_PER_PX[Kind(expected.params.format)]
        with self._short.taken(needed_bytes):
            found = self._asked(answer, expected)
        if found is None:
            with processors.anywhere():
                return verify(answer, expected)
        if isinstance(found, MemoryError):
            return verify_undecoded(answer, expected)
        if isinstance(found, AnswerRejectedError):
            raise found
        return found

    def upright(
        self,
        source: BinaryIO,
        copy: BinaryIO,
        scratch: BinaryIO,
        turn: Turn,
        *,
        px: int,
        waiting: Waiting = NOBODY,
    ) -> Upright:
        """
        Have a source of so many pixels set upright, as ``make_upright`` does.

        Raises:
            UndecodableError: It is broken, or ended two processes.
            CopyTooLargeError: Every copy comes out larger than it may be.
            MemoryError: There is not enough for it.
            OSError: The disk refused; a TimeoutError: not now.
        """
        with self._short.taken(px * BYTES_PER_PX[turn.kind], waiting) as give_back:
            question, task = decoder.upright_question(turn), _UPRIGHT.watched(waiting, give_back)
            made = self._made_by_a_child(task, source, (copy, scratch), question, decoder.upright_made)
            if made is None:
                with processors.anywhere():
                    return make_upright(source, copy, scratch, turn)
        if isinstance(made, Exception):
            raise made
        return made

    def proxy(
        self, source: BinaryIO, copy: BinaryIO, reduction: Reduction, *, px: int, waiting: Waiting = NOBODY
    ) -> Proxy:
        """
        Have a copy made of a source of so many pixels, as ``make_proxy`` does; never in this process.

        Raises:
            NoProxyError: It is broken, or ended two processes.
            CopyTooLargeError: Every copy comes out larger than it may be.
            MemoryError: There is not enough for it.
            OSError: The disk refused; a TimeoutError, or one about the source: not now.
        """
        with self._long.taken(reduction.needed_bytes(px), waiting) as give_back:
            question, task = decoder.proxy_question(reduction), _PROXY.watched(waiting, give_back)
            made = self._made_by_a_child(task, source, (copy,), question, decoder.proxy_made)
        if made is None:
            raise OSError(errno.EAGAIN, "no process to decode it can be started now", SOURCE)
        if isinstance(made, Exception):
            raise made
        return made

    def view(self, source: BinaryIO, output: BinaryIO, scratch: BinaryIO, *, px: int) -> Viewed:
        """
        Have a view of a picture made, as ``make_view`` does; never in this process.

        Raises:
            NoViewError: It is broken, or ended two processes.
            MemoryError: There is not enough for it.
            OSError: The disk refused; a TimeoutError: not now.
        """
        with self._long.taken(0):
            made = self._made_by_a_child(_VIEW, source, (output, scratch), decoder.view_question(px), decoder.view_made)
        if made is None:
            raise OSError(errno.EAGAIN, "no process to decode it can be started now", SOURCE)
        if isinstance(made, Exception):
            raise made
        return made

    def make(
        self,
        source: BinaryIO | None,
        output: BinaryIO,
        scratch: BinaryIO,
        wanted: Making,
        *,
        waiting: Waiting = NOBODY,
    ) -> Rendered:
        """
        Have a deliverable made, as ``render`` does; never in this process.

        Args:
            source: The source; None: it is gone.
            output: Open for reading and writing; what it holds is replaced.
            scratch: Likewise; what it holds is nobody's.
            wanted: What is to be made.
            waiting: Who waits for it: it may take minutes.

        Raises:
            NotRenderedError: It cannot be made, or ended two processes.
            MemoryError: There is not enough for it.
            OSError: The disk refused; a TimeoutError, or one about the source: not now.
        """
        task = _Task("makes deliverables", "made", making.not_made, wanted.limit_s, wanted.processor_limit_s)
        first, *others = [file for file in (source, output, scratch) if file is not None]
        with self._long.taken(wanted.needed_bytes, waiting) as give_back:
            task = task.watched(waiting, give_back)
            made = self._made_by_a_child(task, first, others, making.question(wanted), making.made)
        if made is None:
            raise OSError(errno.EAGAIN, "no process to make it can be started now", SOURCE)
        if isinstance(made, Exception):
            raise made
        return made

    def _made_by_a_child(
        self,
        task: "_Task",
        source: BinaryIO,
        others: Sequence[BinaryIO],
        question: bytes,
        read: Callable[[bytes], T | Exception],
    ) -> T | Exception | None:
        """Ask until there is a verdict; None if no child can be had."""
        files = [file.fileno() for file in (source, *others)]
        child = self._rested() or self._fresh()
        for ends in range(1, _TRIES + 1):
            source.seek(0)
            if child is None:
                return None
            said = self._heard(child, question, read, files, task.waiting)
            if not isinstance(said, End):
                return said
            self._report(DecoderError(f"a process that {task.does} ended {said}"))
            if said.code == -signal.SIGALRM:
                return TimeoutError(errno.ETIMEDOUT, f"not {task.done} in {task.limit_s:.0f} s", SOURCE)
            if said.code == -signal.SIGPROF:
                return task.broken(f"it takes more than {task.processor_limit_s:.0f} s")
            if ends == _TRIES:
                return task.broken(f"two processes ended on it, the last one {said.how}")
            child = self._fresh()
            if child is None:  # what ended a process is nothing to try in this one
                return TimeoutError(errno.EAGAIN, _NO_OTHER, SOURCE)
        return None

    @property
    def pids(self) -> frozenset[int]:
        """The processes there are now."""
        with self._lock:
            return frozenset(child.pid for child in self._all)

    def end_idle(self) -> None:
        """Let those go that nobody asked for long, and forget those that ended while they rested."""
        until_s = time.monotonic() - self._idle_s
        for child in tuple(self._idle):
            if child.rests_since_s <= until_s or not child.is_alive:
                with contextlib.suppress(ValueError):  # somebody asks it right now
                    self._idle.remove(child)
                    self._buried(child)

    def close(self) -> None:
        """End all of them; who still wants to verify does so here."""
        self._closed.set()
        idle = []
        while (child := self._rested()) is not None:
            child.dismiss()
            idle.append(child)
        for child in idle:
            self._buried(child)
        with self._lock:
            for child in self._all:
                child.kill()  # whoever asks it buries it

    # --- one picture ----------------------------------------------------------------------------

    def _asked(self, answer: Path, expected: Expected) -> Verified | AnswerRejectedError | MemoryError | None:
        """Ask until there is a verdict; None if there is none to be had from a child."""
        question = decoder.question(answer, expected)
        child = self._rested() or self._fresh()
        crashes = kills = 0
        while child is not None:
            said = self._heard(child, question, decoder.understood)
            if not isinstance(said, End):
                return said
            self._report(DecoderError(f"a process that verifies answers ended {said}"))
            if said.code == -signal.SIGALRM:
                raise TimeoutError(errno.ETIMEDOUT, f"not verified in {decoder.LIMIT_S:.0f} s", str(answer))
            if said.code == -signal.SIGPROF:
                return _blamed(answer, expected, f"it takes more than {decoder.PROCESSOR_LIMIT_S:.0f} s")
            crashes, kills = crashes + said.is_crash, kills + (not said.is_crash)
            if crashes == _TRIES:
                return _blamed(answer, expected, f"the decoder ends {said.how} on it")
            if kills == _TRIES and said.code == -signal.SIGKILL:
                return MemoryError()  # by the kernel, most likely: what they could not have, the daemon cannot either
            if kills == _TRIES:
                return None
            child = self._fresh()
            if child is None and (said.is_crash or said.code == -signal.SIGKILL):
                raise TimeoutError(errno.EAGAIN, _NO_OTHER, str(answer))
        return None

    def _heard(
        self,
        child: Child,
        question: bytes,
        read: Callable[[bytes], T],
        files: Sequence[int] = (),
        waiting: Waiting | None = None,
    ) -> T | End:
        try:
            said = child.ask(question, files, waiting)
            if said is not None:
                found = read(said)
                self._rest(child)
                return found
        except (ValueError, TypeError, RecursionError):
            child.kill()
            return self._buried(child, is_mad=True)
        except BaseException:
            child.kill()  # it would answer the next one with this answer
            self._buried(child)
            raise
        return self._buried(child)

    def _rested(self) -> Child | None:
        try:
            return self._idle.pop()
        except IndexError:
            return None

    def _rest(self, child: Child) -> None:
        child.rests_since_s = time.monotonic()
        self._idle.append(child)
        if self._closed.is_set():
            self.close()

    def _buried(self, child: Child, *, is_mad: bool = False) -> End:
        with self._lock:
            self._all.discard(child)
        return child.ended(is_mad=is_mad)

    def _fresh(self) -> Child | None:
        """Start a child; None if that cannot be done now."""
        if self._closed.is_set() or time.monotonic() < self._not_before_s:
            return None
        try:
            child = self._started()
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            self._cannot(str(error))
            return None
        with self._lock:
            self._all.add(child)
            if self._closed.is_set():
                child.kill()
        if child.is_ready():
            return child
        self._cannot(f"it ended {self._buried(child)}. Was rembg-watch upgraded while it runs? Then restart it")
        return None

    def _started(self) -> Child:
        """
        Start a child, in a thread that may be lost.

        Every process that is started closes what it inherits of the daemon's open files, and a share
        that does not answer lets it wait for that, with whoever started it.

        Raises:
            OSError: It cannot be started; a TimeoutError: not in time.
        """
        found: queue.SimpleQueue[Child | Exception] = queue.SimpleQueue()
        handing = threading.Lock()  # guards ``is_late``, so that a child is handed over or ended, and never both
        is_late = threading.Event()

        def start() -> None:
            try:
                one: Child | Exception = Child(self._command)
            except Exception as error:  # noqa: BLE001 - whoever waits for it raises it
                one = error
            with handing:
                if not is_late.is_set():
                    found.put(one)
                    return
            if isinstance(one, Child):
                one.kill()
                one.ended()

        threading.Thread(target=start, name="starting a decoder", daemon=True).start()
        try:
            one = found.get(timeout=START_LIMIT_S)
        except queue.Empty:
            with handing:
                is_late.set()
            if found.empty():
                raise TimeoutError(errno.ETIMEDOUT, f"it did not start within {START_LIMIT_S:.0f} s") from None
            one = found.get()
        if isinstance(one, Exception):
            raise one
        return one

    def _cannot(self, why: str) -> None:
        self._not_before_s = time.monotonic() + _PAUSE_S
        if not self._closed.is_set():
            self._report(DecoderError(f"no process to verify answers can be started, so the daemon does it: {why}"))


@dataclass(frozen=True, slots=True)
class _Task:
    """What a child is to do with a source, in words, and what it means that it cannot."""

    does: str
    done: str
    broken: Callable[[str], Exception]
    limit_s: float = decoder.LIMIT_S
    processor_limit_s: float = decoder.PROCESSOR_LIMIT_S
    waiting: Waiting = NOBODY

    def watched(self, waiting: Waiting, give_back: Callable[[], None]) -> "_Task":
        """Return it as somebody waits for it: while a disk holds it up, its place is for others."""
        return replace(self, waiting=replace(waiting, stuck=give_back))


_UPRIGHT = _Task("sets pictures upright", "set upright", UndecodableError)
_PROXY = _Task("makes copies of pictures", "copied", decoder.no_proxy)
_VIEW = _Task("makes views of pictures", "shown", decoder.no_view)


def _blamed(answer: Path, expected: Expected, why: str) -> AnswerRejectedError:
    """
    Blame the picture, once the disk has read it whole: a mapped file that cannot be read crashes its reader.

    Raises:
        OSError: It is the disk's fault.
    """
    with answer.open("rb", buffering=0) as file:
        while file.read(BLOCK_BYTES):
            pass
    return broken(expected.params.format, why)
