"""
The program's own errors and the exit code of each way out.

Errors of the API live in ``api.errors``; here is what concerns this program: its
configuration, its state directory, its folders.
"""

from enum import IntEnum

from rembg_watch.api.errors import Charge, KeyRefusedError, ParameterRefusedError, RembgError, Scope


class ExitCode(IntEnum):
    """What the process says when it ends; the numbers follow ``sysexits.h`` where it has one."""

    OK = 0
    SOME_FAILED = 1
    USAGE = 2
    WAITING = 75
    KEY_REFUSED = 77
    CONFIG = 78


class RembgWatchError(Exception):
    """One clear sentence for a person: what is wrong, where, and what to do."""

    exit_code = ExitCode.SOME_FAILED


class UsageError(RembgWatchError):
    """The command was called with something it cannot work with."""

    exit_code = ExitCode.USAGE


class ConfigError(RembgWatchError):
    """The configuration cannot be used; all its problems at once."""

    exit_code = ExitCode.CONFIG

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class LockedError(RembgWatchError):
    """Another process works on the same state directory or input folder."""

    exit_code = ExitCode.WAITING


class NoThreadsError(RembgWatchError):
    """This machine lets the program start no more threads; others may end some."""

    exit_code = ExitCode.WAITING


class InputLockedError(LockedError):
    """Another process watches the same input folder; *holder* says which."""

    def __init__(self, message: str, *, holder: str) -> None:
        super().__init__(message)
        self.holder = holder


class LedgerError(RembgWatchError):
    """The ledger cannot be opened or trusted; the message names the way out."""

    exit_code = ExitCode.CONFIG


def exit_code(error: BaseException) -> ExitCode:
    """Say which exit code *error* deserves; an error that nobody foresaw counts as a failure."""
    if isinstance(error, RembgWatchError):
        return error.exit_code
    return _of_the_api(error) if isinstance(error, RembgError) else ExitCode.SOME_FAILED


def _of_the_api(error: RembgError) -> ExitCode:
    """Tell what a person must change from what passes by itself: a limit, the network, a server that is down."""
    if isinstance(error, KeyRefusedError):
        return ExitCode.KEY_REFUSED
    if isinstance(error, ParameterRefusedError):
        return ExitCode.USAGE
    if error.charge is Charge.YES or error.scope is Scope.PICTURE:
        return ExitCode.SOME_FAILED
    return ExitCode.WAITING if error.retryable or error.scope is Scope.ACCOUNT else ExitCode.SOME_FAILED
