"""
The process that decodes answers for the daemon: one picture at a time, asked and answered by the line.

It holds no key, no ledger and no lock, and its end costs nothing; ``decoders`` says why
there is such a process, starts it and talks to it.

It reads JSON lines from standard input, answers each in one line and leaves when the
other side closes, which the kernel does for a daemon that was killed, too.
"""

import contextlib
import faulthandler
import json
import os
import resource
import signal
import traceback
from dataclasses import fields
from functools import lru_cache
from pathlib import Path

# Asked for a format that it has not loaded yet, Pillow loads every one it has: these are all that can be asked for.
from PIL import BmpImagePlugin, JpegImagePlugin, PngImagePlugin, WebPImagePlugin  # noqa: F401

from rembg_watch import __version__
from rembg_watch.api.params import Format, RemovalParams
from rembg_watch.delivery.verify import AnswerRejectedError, Expected, Surprise, Verified, verify
from rembg_watch.host.memory import limit_heaps

HELLO = f"ready {__version__}\n".encode()
"""Said once, before the first answer: it works, and is of the same version as whoever asks."""

LONGEST_LINE_BYTES = 1 << 16

PROCESSOR_LIMIT_S = 60.0
"""
After so much processor time on one picture the kernel ends the process (SIGPROF). The largest
answer there can be takes a few seconds; together with ``LIMIT_S`` it is well within what the
watchdog allows a part of the daemon to be silent.
"""

LIMIT_S = 100.0
"""After so long on one picture it is ended (SIGALRM), whatever held it up: a disk, or a machine that is too busy."""

_FIRST_TO_GO = "500"  # where memory runs out, this process goes, and not the daemon with its calls in flight


def question(answer: Path, expected: Expected) -> bytes:
    """Put into one line what ``verify`` is called with."""
    path = json.dumps(os.fsencode(os.path.abspath(answer)).decode("latin-1"))  # noqa: PTH100 - it resolves no link
    turned = "true" if expected.may_be_turned else "false"
    return f"[{path},{expected.width},{expected.height},{turned},{_as_json(expected.params)}]\n".encode()


@lru_cache(maxsize=256)
def _as_json(params: RemovalParams) -> str:
    return json.dumps({one.name: getattr(params, one.name) for one in fields(params)})


def asked(line: bytes) -> tuple[Path, Expected]:
    """Read a ``question``."""
    path, width, height, may_be_turned, params = json.loads(line)
    answer = Path(os.fsdecode(path.encode("latin-1")))
    wanted = RemovalParams(**params)
    return answer, Expected(params=wanted, width=width, height=height, may_be_turned=may_be_turned)


def reply(line: bytes) -> bytes:
    """Verify what a ``question`` asks about and put what came of it into one line; errors of any other kind as text."""
    try:
        found = verify(*asked(line))
    except AnswerRejectedError as rejected:
        said: list[object] = ["rejected", rejected.reason, rejected.code]
    except Exception:  # noqa: BLE001 - whoever asked decides then, and sees the error itself
        said = ["error", traceback.format_exc()[-2000:]]
    else:
        odd = found.surprise and [found.surprise.reason, found.surprise.code]
        said = ["verified", found.width, found.height, found.kind, found.size_bytes, found.warning, odd]
    return json.dumps(said).encode() + b"\n"


def understood(line: bytes) -> Verified | AnswerRejectedError | None:
    """
    Read a ``reply``; None is an error that is no verdict.

    Raises:
        ValueError, TypeError, RecursionError: It is no reply, so whoever said it is out of its mind.
    """
    kind, *said = json.loads(line)
    match kind:
        case "verified":
            width, height, name, size_bytes, warning, odd = said
            return Verified(
                width=int(width),
                height=int(height),
                kind=Format(name),
                size_bytes=int(size_bytes),
                warning=None if warning is None else str(warning),
                surprise=None if odd is None else Surprise(reason=str(odd[0]), code=str(odd[1])),
            )
        case "rejected":
            reason, code = said
            return AnswerRejectedError(str(reason), code=str(code))
        case "error":
            return None
    raise ValueError("not a reply")


def main() -> None:
    """Answer questions until nobody is left to ask."""
    faulthandler.enable()
    limit_heaps()
    _be_harmless()
    out = os.dup(1)
    with open(os.devnull, "wb") as nowhere:  # noqa: PTH123 - what a library prints is no reply
        os.dup2(nowhere.fileno(), 1)
    with contextlib.suppress(BrokenPipeError):
        os.write(out, HELLO)
        while line := _line():
            signal.setitimer(signal.ITIMER_PROF, PROCESSOR_LIMIT_S)
            signal.setitimer(signal.ITIMER_REAL, LIMIT_S)
            said = reply(line)
            signal.setitimer(signal.ITIMER_REAL, 0)
            os.write(out, said)
    os._exit(0)  # there is nothing to put in order


def _be_harmless() -> None:
    """Let signals to the daemon's whole group pass by, leave no core, and go first where memory runs out."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    for number in (signal.SIGPROF, signal.SIGALRM):
        signal.signal(number, signal.SIG_DFL)
    with contextlib.suppress(OSError, ValueError):  # a service may set no limits; systemd has set this one
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(_FIRST_TO_GO, encoding="ascii")


def _line() -> bytes:
    """Read one line, or nothing if the other side has closed."""
    line = b""
    while not line.endswith(b"\n"):
        read = os.read(0, LONGEST_LINE_BYTES)
        if not read:
            return b""
        line += read
    return line


if __name__ == "__main__":
    main()
