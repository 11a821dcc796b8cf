"""
The process that decodes for the daemon: one picture at a time, asked and answered by the line.

It verifies answers, sets sources upright, makes the copies that are sent, and deliverables. It holds no key, no
ledger and no lock, and its end costs nothing; ``decoders`` says why there is such a process, starts it and talks to it.

It reads JSON lines from its standard input, which is a socket: the files of a source come
with the line. It answers each in one line and leaves when the other side closes, which the
kernel does for a daemon that was killed, too.
"""

import contextlib
import faulthandler
import json
import os
import resource
import signal
import socket
import traceback
from collections.abc import Sequence
from dataclasses import fields
from functools import lru_cache
from pathlib import Path

# Asked for a format that it has not loaded yet, Pillow loads every one it has: these are all that can be asked for.
from PIL import BmpImagePlugin, JpegImagePlugin, PngImagePlugin, WebPImagePlugin  # noqa: F401

from rembg_watch import __version__
from rembg_watch.api.params import Format, RemovalParams
from rembg_watch.delivery import making
from rembg_watch.delivery.verify import AnswerRejectedError, Expected, Surprise, Verified, verify
from rembg_watch.host.memory import limit_heaps, memory_bytes
from rembg_watch.pictures.figures import Figures
from rembg_watch.pictures.formats import Kind, ReadKind
from rembg_watch.pictures.reduction import NoProxyError, Proxy, Reduction
from rembg_watch.pictures.upright import CopyTooLargeError, Turn, UndecodableError, Upright, make_upright
from rembg_watch.pictures.view import NoViewError, Viewed, make_view

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

UPRIGHT, UPRIGHT_FILES = "upright", 3
"""The question with files, and how many there are: the source, the copy, and one for what need not be in memory."""

PROXY = "proxy"
"""The other question with files: the source and the copy."""

VIEW = "view"
"""The last one: the source, the view, and one for what lies between."""

MEMORY_SHARE = 0.65
"""How much of the memory there is one picture may take: more address space than that is refused to the process."""

_FIRST_TO_GO = "500"  # where memory runs out, this process goes, and not the daemon with its calls in flight


def question(answer: Path, expected: Expected) -> bytes:
    """Put into one line what ``verify`` is called with."""
    path = json.dumps(os.fsencode(os.path.abspath(answer)).decode("latin-1"))  # noqa: PTH100 - it resolves no link
    turned = "true" if expected.may_be_turned else "false"
    return f'["verify",{path},{expected.width},{expected.height},{turned},{_as_json(expected.params)}]\n'.encode()


def upright_question(turn: Turn) -> bytes:
    """Put into one line what ``make_upright`` is called with, but for its three files, which go with the line."""
    return json.dumps([UPRIGHT, turn.kind, turn.orientation, turn.largest_bytes]).encode() + b"\n"


def proxy_question(reduction: Reduction) -> bytes:
    """Put into one line what ``make_proxy`` is called with, but for its two files, which go with the line."""
    how = [reduction.kind, reduction.px, reduction.assume, reduction.largest_bytes]
    return json.dumps([PROXY, *how]).encode() + b"\n"


def view_question(px: int) -> bytes:
    """Put into one line what ``make_view`` is called with, but for its three files, which go with the line."""
    return json.dumps([VIEW, px]).encode() + b"\n"


@lru_cache(maxsize=256)
def _as_json(params: RemovalParams) -> str:
    return json.dumps({one.name: getattr(params, one.name) for one in fields(params)})


def asked(line: bytes) -> tuple[Path, Expected]:
    """Read a ``question``."""
    _, path, width, height, may_be_turned, params = json.loads(line)
    answer = Path(os.fsdecode(path.encode("latin-1")))
    wanted = RemovalParams(**params)
    return answer, Expected(params=wanted, width=width, height=height, may_be_turned=may_be_turned)


def reply(line: bytes, fds: Sequence[int] = ()) -> bytes:
    """Do what a question asks for and put what came of it into one line; errors of any other kind as text."""
    try:
        said = _answered(line, fds)
    except Exception:  # noqa: BLE001 - whoever asked decides then, and sees the error itself
        said = ["error", traceback.format_exc()[-2000:]]
    return json.dumps(said).encode() + b"\n"


def _answered(line: bytes, fds: Sequence[int]) -> list[object]:
    if line.startswith(making.BEGIN):
        return making.reply(line, fds)
    if line.startswith(b'["upright"'):
        return _made_upright(line, fds)
    if line.startswith(b'["view"'):
        return _made_view(line, fds)
    return _made_proxy(line, fds) if line.startswith(b'["proxy"') else _verified(line)


def _verified(line: bytes) -> list[object]:
    try:
        found = verify(*asked(line))
    except AnswerRejectedError as rejected:
        return ["rejected", rejected.reason, rejected.code]
    except MemoryError:
        return ["memory"]
    odd = found.surprise and [found.surprise.reason, found.surprise.code]
    figures = found.figures and found.figures.as_json()
    return ["verified", found.width, found.height, found.kind, found.size_bytes, found.warning, odd, figures]


def _made_upright(line: bytes, fds: Sequence[int]) -> list[object]:
    _, kind, orientation, largest_bytes = json.loads(line)
    turn = Turn(kind=Kind(kind), orientation=orientation, largest_bytes=largest_bytes)
    try:
        with os.fdopen(fds[0], "rb") as source, os.fdopen(fds[1], "r+b") as copy, os.fdopen(fds[2], "r+b") as scratch:
            made = make_upright(source, copy, scratch, turn)
    except UndecodableError as broken:
        return ["undecodable", str(broken)]
    except CopyTooLargeError as larger:
        return ["too_large", str(larger)]
    except MemoryError:
        return ["memory"]
    except OSError as refused:
        return ["refused", refused.errno, refused.strerror, refused.filename]
    return ["upright", made.width, made.height]


def _made_proxy(line: bytes, fds: Sequence[int]) -> list[object]:
    from rembg_watch.pictures.proxy import make_proxy  # in the child alone, and there only once it is asked for

    _, kind, px, assume, largest_bytes = json.loads(line)
    known = ReadKind(kind) if kind in list(ReadKind) else Kind(kind)
    reduction = Reduction(kind=known, px=px, assume=assume, largest_bytes=largest_bytes)
    try:
        with os.fdopen(fds[0], "rb") as source, os.fdopen(fds[1], "r+b") as copy:
            made = make_proxy(source, copy, reduction)
    except NoProxyError as broken:
        return ["no_proxy", str(broken), broken.code]
    except CopyTooLargeError as larger:
        return ["too_large", str(larger)]
    except MemoryError:
        return ["memory"]
    except OSError as refused:
        return ["refused", refused.errno, refused.strerror, refused.filename]
    return ["proxy", made.width, made.height, list(made.remarks)]


def _made_view(line: bytes, fds: Sequence[int]) -> list[object]:
    _, px = json.loads(line)
    try:
        with os.fdopen(fds[0], "rb") as source, os.fdopen(fds[1], "r+b") as view, os.fdopen(fds[2], "r+b") as scratch:
            made = make_view(source, view, scratch, px=px)
    except NoViewError as broken:
        return ["no_view", str(broken)]
    except MemoryError:
        return ["memory"]
    except OSError as refused:
        return ["refused", refused.errno, refused.strerror, refused.filename]
    return ["view", made.width, made.height, made.whole_width, made.whole_height, made.is_transparent]


def view_made(line: bytes) -> Viewed | Exception:
    """
    Read a reply to a ``view_question``: what ``make_view`` returned or raised.

    Raises:
        ValueError, TypeError, RecursionError: It is no reply, so whoever said it is out of its mind.
    """
    match json.loads(line):
        case ["view", int(width), int(height), int(whole_width), int(whole_height), bool(is_transparent)]:
            return Viewed(width, height, whole_width, whole_height, is_transparent)
        case ["no_view", str(text)]:
            return NoViewError(text)
        case ["error", str(text)]:
            return no_view(text.strip().rpartition("\n")[2])
    return _refused(line)


def no_view(why: str) -> NoViewError:
    """Say that a picture cannot be shown, and *why*."""
    return NoViewError(f"It cannot be decoded ({why}).")


def proxy_made(line: bytes) -> Proxy | Exception:
    """
    Read a reply to a ``proxy_question``: what ``make_proxy`` returned or raised.

    Raises:
        ValueError, TypeError, RecursionError: It is no reply, so whoever said it is out of its mind.
    """
    match json.loads(line):
        case ["proxy", int(width), int(height), list(remarks)]:
            return Proxy(width=width, height=height, remarks=tuple(map(str, remarks)))
        case ["no_proxy", str(text), str(code)]:
            return NoProxyError(text, code=code)
        case ["error", str(text)]:
            return no_proxy(text.strip().rpartition("\n")[2])
    return _refused(line)


def no_proxy(why: str) -> NoProxyError:
    """Say that no copy could be made of a source, and *why*."""
    return NoProxyError(f"It cannot be decoded ({why}): export it again.", code="broken")


def _refused(line: bytes) -> Exception:
    """Read what stopped a copy of any kind that was to be written."""
    match json.loads(line):
        case ["too_large", str(text)]:
            return CopyTooLargeError(text)
        case ["memory"]:
            return MemoryError()
        case ["refused", int(number), text, str(place)]:
            return OSError(number, str(text), place)
    raise ValueError("not a reply")


def upright_made(line: bytes) -> Upright | Exception:
    """
    Read a reply to an ``upright_question``: what ``make_upright`` returned or raised.

    Raises:
        ValueError, TypeError, RecursionError: It is no reply, so whoever said it is out of its mind.
    """
    match json.loads(line):
        case ["upright", int(width), int(height)]:
            return Upright(width=width, height=height)
        case ["undecodable", str(text)]:
            return UndecodableError(text)
        case ["error", str(text)]:
            return UndecodableError(text.strip().rpartition("\n")[2])
    return _refused(line)


def understood(line: bytes) -> Verified | AnswerRejectedError | MemoryError | None:
    """
    Read a ``reply`` to a ``question``; None is an error that is no verdict.

    Raises:
        ValueError, TypeError, RecursionError: It is no reply, so whoever said it is out of its mind.
    """
    kind, *said = json.loads(line)
    match kind:
        case "verified":
            width, height, name, size_bytes, warning, odd, figures = said
            return Verified(
                width=int(width),
                height=int(height),
                kind=Format(name),
                size_bytes=int(size_bytes),
                warning=None if warning is None else str(warning),
                surprise=None if odd is None else Surprise(reason=str(odd[0]), code=str(odd[1])),
                figures=None if figures is None else Figures.from_json(figures),
            )
        case "rejected":
            reason, code = said
            return AnswerRejectedError(str(reason), code=str(code))
        case "memory":
            return MemoryError()
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
    asker = socket.socket(fileno=0)
    with contextlib.suppress(BrokenPipeError):
        os.write(out, HELLO)
        while (asked_for := _asked_for(asker))[0]:
            processor_s, clock_s = _limits(asked_for[0])
            signal.setitimer(signal.ITIMER_PROF, processor_s)
            signal.setitimer(signal.ITIMER_REAL, clock_s)
            said = reply(*asked_for)
            signal.setitimer(signal.ITIMER_REAL, 0)
            os.write(out, said)
    os._exit(0)  # there is nothing to put in order


def _limits(line: bytes) -> tuple[float, float]:
    """Say how long a question may take: of the processor, and by the clock."""
    return making.limits(line) if line.startswith(making.BEGIN) else (PROCESSOR_LIMIT_S, LIMIT_S)


def _be_harmless() -> None:
    """Let signals to the daemon's whole group pass by, leave no core, and go first where memory runs out."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    for number in (signal.SIGPROF, signal.SIGALRM):
        signal.signal(number, signal.SIG_DFL)
    with contextlib.suppress(OSError, ValueError):
        most = _used_bytes() + int(MEMORY_SHARE * memory_bytes())
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
    with contextlib.suppress(OSError, ValueError):  # a service may set no limits; systemd has set this one
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(_FIRST_TO_GO, encoding="ascii")


def _used_bytes() -> int:
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[0]
    return int(pages) * resource.getpagesize()


def _asked_for(asker: socket.socket) -> tuple[bytes, list[int]]:
    """Read one line, with the files that came with it; nothing if the other side has closed."""
    line, fds = b"", []
    while not line.endswith(b"\n"):
        read, more, _, _ = socket.recv_fds(asker, LONGEST_LINE_BYTES, UPRIGHT_FILES)
        if not read:
            return b"", []
        line += read
        fds += more
    return line, fds


if __name__ == "__main__":
    main()
