"""Time-outs of a fraction of a second, on a machine that may stand still for longer than that."""

import os
import signal
import time
from collections.abc import Callable
from typing import TypeVar

from rembg_watch.api.errors import RembgError, UnreachableError

TRIES = 10
TOO_SLOW = frozenset({"connect_timeout", "upload_timeout", "answer_timeout", "deadline_passed", "no_free_connection"})
_T = TypeVar("_T")


def is_too_slow(error: RembgError) -> bool:
    """Say whether a call met its time-out."""
    return error.code in TOO_SLOW


def did_not_leave(error: RembgError) -> bool:
    """Say whether a call met its time-out before its body had left."""
    return isinstance(error, UnreachableError) and is_too_slow(error)


def again_if(is_chance: Callable[[RembgError], bool], act: Callable[[], _T]) -> _T:
    """Act, and again while the end may be by chance: a defect comes each time, a machine that stands still does not."""
    for _ in range(TRIES - 1):
        try:
            return act()
        except RembgError as error:
            if not is_chance(error):
                raise
    return act()


def end_of(child: int, *, within_s: float = 60.0) -> int:
    """Return how a process ended that was forked; one that hangs is killed, so that the tests do not hang with it."""
    until_s = time.monotonic() + within_s
    while not (ended := os.waitpid(child, os.WNOHANG))[0]:
        if time.monotonic() > until_s:
            os.kill(child, signal.SIGKILL)
        time.sleep(0.01)
    return os.waitstatus_to_exitcode(ended[1])
