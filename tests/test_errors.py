"""Each way out has the exit code that tells a script what to do next."""

import pytest

from rembg_watch.api.errors import (
    BadAnswerError,
    Charge,
    EmailNotVerifiedError,
    InvalidRequestError,
    KeyRefusedError,
    NoAnswerError,
    ParameterRefusedError,
    PictureRefusedError,
    RembgError,
    Scope,
    ServerError,
    ThrottledError,
    UnknownRefusalError,
    UnreachableError,
)
from rembg_watch.errors import ConfigError, ExitCode, UsageError, exit_code

WAYS_OUT: list[tuple[str, BaseException, ExitCode]] = [
    ("wrong usage", UsageError("-o"), ExitCode.USAGE),
    ("wrong configuration", ConfigError(["a"]), ExitCode.CONFIG),
    ("key refused", KeyRefusedError(message="invalid api key"), ExitCode.KEY_REFUSED),
    ("e-mail not verified", EmailNotVerifiedError(message="verify"), ExitCode.WAITING),
    ("too quick", ThrottledError(message="slow down"), ExitCode.WAITING),
    ("no way to the server", UnreachableError(message="no route"), ExitCode.WAITING),
    ("server failed", ServerError(message="503"), ExitCode.WAITING),
    ("a web page that said 200", BadAnswerError(message="html", scope=Scope.SERVICE), ExitCode.WAITING),
    ("402 without words", UnknownRefusalError(message="pay", scope=Scope.ACCOUNT), ExitCode.WAITING),
    ("404", UnknownRefusalError(message="gone", scope=Scope.SERVICE), ExitCode.SOME_FAILED),
    ("parameters refused", ParameterRefusedError(message="bad w"), ExitCode.USAGE),
    ("picture refused", PictureRefusedError(message="corrupt"), ExitCode.SOME_FAILED),
    ("picture refused here", InvalidRequestError(message="empty"), ExitCode.SOME_FAILED),
    ("no answer", NoAnswerError(message="reset"), ExitCode.SOME_FAILED),
    (
        "paid, but not stored",
        NoAnswerError(message="disk full", charge=Charge.YES, scope=Scope.SERVICE),
        ExitCode.SOME_FAILED,
    ),
    ("any other of the API", RembgError(message="?"), ExitCode.SOME_FAILED),
    ("nobody foresaw it", ZeroDivisionError(), ExitCode.SOME_FAILED),
]


@pytest.mark.parametrize(("error", "code"), [row[1:] for row in WAYS_OUT], ids=[row[0] for row in WAYS_OUT])
def test_each_error_ends_the_program_with_the_code_that_it_deserves(error: BaseException, code: ExitCode) -> None:
    assert exit_code(error) is code
