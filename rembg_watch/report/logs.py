"""
The log: one line for each thing that a person would want to know, and never the key.

structlog carries every line, the program's own and those of other libraries, through one chain that
ends in the redactor. It does not choose what is worth telling: events do, by their level.
"""

import contextlib
import logging
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, MutableMapping
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

import structlog

from rembg_watch.report.events import Event, Level, Mistake, Reporter, ReporterFailed, facts, kind
from rembg_watch.report.redact import Redactor
from rembg_watch.report.sinks import Output, choose_output

REMIND_AFTER_S = 6 * 3600

Line = MutableMapping[str, Any]

_TALKATIVE = ("httpcore", "httpx", "PIL")
"""Libraries whose lines below a warning are about themselves, dozens for each picture."""


class Logs:
    """
    The one log of the process: a ``Reporter`` for events, and the place where other libraries' lines end.

    Use it as a context manager: inside, ``logging``, warnings and uncaught errors go through it too.
    """

    def __init__(
        self,
        output: Output | None = None,
        *,
        level: int | str = Level.INFO,
        secrets: Iterable[str] = (),
        wall: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.redactor = Redactor(secrets)
        self._output = output or choose_output()
        self._wall = wall
        self._lock = threading.Lock()  # keeps lines whole: held while one is written, which may wait for its reader
        self._undo = contextlib.ExitStack()
        self.set_level(level)
        chain: list[Any] = [
            self._drop_quiet,
            structlog.processors.add_log_level,
            structlog.processors.format_exc_info,
            self._emit,
        ]
        self.logger: structlog.typing.FilteringBoundLogger = structlog.wrap_logger(
            None, processors=chain, wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG)
        )

    def set_level(self, level: int | str) -> None:
        """Show from *level* on, at once: ``info``, or a number of ``logging``."""
        self._threshold = Level[level.upper()].value if isinstance(level, str) else int(level)

    def __call__(self, event: Event) -> None:
        """Tell an event."""
        if event.level < self._threshold:
            return
        error = event.error if isinstance(event, Mistake | ReporterFailed) else None
        if isinstance(event, Mistake) and event.is_foreseen:
            error = None
        self.logger.log(
            int(event.level), event.sentence(self._output.when), kind=kind(event), facts=facts(event), exc_info=error
        )

    def __enter__(self) -> Self:
        """Take over ``logging``, warnings and the last words of threads."""
        root, handler = logging.getLogger(), _Foreign(self)
        before, level = list(root.handlers), root.level
        root.handlers[:] = [handler]
        root.setLevel(logging.DEBUG if self._threshold <= Level.DEBUG else logging.WARNING)
        self._undo.callback(root.setLevel, level)
        self._undo.callback(root.handlers.__setitem__, slice(None), before)
        for name in _TALKATIVE:
            noisy = logging.getLogger(name)
            self._undo.callback(noisy.setLevel, noisy.level)
            noisy.setLevel(logging.WARNING)
        logging.captureWarnings(capture=True)
        self._undo.callback(logging.captureWarnings, capture=False)
        self._undo.enter_context(_last_words(self))
        return self

    def __exit__(self, *_: object) -> None:
        """Give everything back as it was."""
        self._undo.close()

    def _drop_quiet(self, _logger: object, method: str, line: Line) -> Line:
        if logging.getLevelNamesMapping()[method.upper()] < self._threshold:
            raise structlog.DropEvent
        return line

    def _emit(self, _logger: object, _method: str, line: Line) -> str:
        at = self._wall()
        clean = {name: self.redactor.value(value) for name, value in line.items()}
        with self._lock:
            self._output.write({**clean, "at": at})
        raise structlog.DropEvent  # written; nothing is left for structlog to print


class _Foreign(logging.Handler):
    """Carries the lines of other libraries into the log."""

    def __init__(self, logs: Logs) -> None:
        super().__init__()
        self._logs = logs

    def emit(self, record: logging.LogRecord) -> None:
        """Pass one line on; a line that cannot be formatted is shown as it came."""
        try:
            text = record.getMessage()
        except (TypeError, ValueError):
            text = f"{record.msg} {record.args!r}"
        level = max(Level.DEBUG, min(Level.ERROR, record.levelno // 10 * 10))
        self._logs.logger.log(level, text, logger=record.name, exc_info=record.exc_info)


@contextlib.contextmanager
def _last_words(report: Reporter) -> Iterator[None]:
    """Tell what would otherwise be printed raw, key and all, when the process or a thread dies of it."""
    process, thread = sys.excepthook, threading.excepthook

    def of_process(kind_of: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if isinstance(error, KeyboardInterrupt):
            process(kind_of, error, trace)
        else:
            report(Mistake(where="the main thread", error=error))

    def of_thread(args: threading.ExceptHookArgs) -> None:
        if args.exc_value is not None:
            name = args.thread.name if args.thread else "?"
            report(Mistake(where=f"thread {name}", error=args.exc_value))

    sys.excepthook, threading.excepthook = of_process, of_thread
    try:
        yield
    finally:
        sys.excepthook, threading.excepthook = process, thread


# --- once when it begins, once when it ends -----------------------------------------------------


class OncePerCondition:
    """
    Passes a lasting condition on when it begins, when its detail changes and when it ends.

    What goes on for days is told again every *remind_after_s*, so that it stands in every day's log.
    An end without a beginning is no news.
    """

    def __init__(
        self, reporter: Reporter, *, clock: Callable[[], float] = time.monotonic, remind_after_s: float = REMIND_AFTER_S
    ) -> None:
        self._reporter = reporter
        self._clock = clock
        self._remind_after_s = remind_after_s
        self._lock = threading.Lock()  # guards ``_open``; the event is passed on after it
        self._open: dict[tuple[str, ...], tuple[str, float]] = {}

    def __call__(self, event: Event) -> None:
        """Pass *event* on if it is news."""
        if self._is_news(event):
            self._reporter(event)

    def _is_news(self, event: Event) -> bool:
        condition, now = event.condition, self._clock()
        if condition is None:
            return True
        with self._lock:
            reported = self._open.pop(condition.key, None)
            if condition.is_over:
                return reported is not None
            is_known = (
                reported is not None and reported[0] == condition.detail and now - reported[1] < self._remind_after_s
            )
            self._open[condition.key] = reported if is_known and reported else (condition.detail, now)
            return not is_known
