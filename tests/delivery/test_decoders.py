"""Answers are verified in processes of their own: with the same verdicts, and whatever becomes of those processes."""

import errno
import io
import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from PIL import ExifTags, Image

from rembg_watch.api.params import Format, RemovalParams
from rembg_watch.delivery import decoders as module
from rembg_watch.delivery.child import COMMAND, CRASHES
from rembg_watch.delivery.decoder import asked, question, understood
from rembg_watch.delivery.decoders import DecoderError, Decoders
from rembg_watch.delivery.verify import AnswerRejectedError, Expected, Verified, verify
from rembg_watch.pictures.formats import Kind, ReadKind
from rembg_watch.pictures.proxy import make_proxy
from rembg_watch.pictures.reduction import NoProxyError, Reduction
from rembg_watch.pictures.upright import CopyTooLargeError, Turn, UndecodableError, make_upright
from tests.life import eventually

SIZE = (120, 80)


def encoded(kind: Format, size: tuple[int, int] = SIZE, mode: str = "RGBA") -> bytes:
    picture = Image.effect_noise(size, 60).convert("RGB")
    picture.putalpha(Image.radial_gradient("L").resize(size))
    buffer = io.BytesIO()
    picture.convert(mode).save(buffer, format=kind.upper())
    return buffer.getvalue()


def expected(kind: Format = Format.WEBP, **params: Any) -> Expected:
    return Expected(params=RemovalParams(format=kind, **params), width=SIZE[0], height=SIZE[1])


@pytest.fixture
def answer(tmp_path: Path) -> Path:
    path = tmp_path / "answer"
    path.write_bytes(encoded(Format.WEBP))
    return path


@pytest.fixture(scope="module")
def shared() -> Iterator[Decoders]:
    """For tests that leave the processes as they are."""
    told: list[DecoderError] = []
    verifiers = Decoders(tell=told.append)
    yield verifiers
    verifiers.close()
    assert told == []


class Told(list[str]):
    def __call__(self, error: DecoderError) -> None:
        self.append(str(error))


def doing(instead: str) -> tuple[str, ...]:
    """The command of a process that does something else when it is to verify."""
    code = f"""
import ctypes, os, signal, sys, time
from rembg_watch.delivery import decoder
from rembg_watch.pictures import proxy
honest = decoder.verify
def verify(answer, expected):
{textwrap.indent(textwrap.dedent(instead), "    ")}
decoder.verify = verify
decoder.main()
"""
    return (*COMMAND[:-1], code)


def dying_by(number: signal.Signals) -> tuple[str, ...]:
    return doing(f"os.kill(os.getpid(), {int(number)})\ntime.sleep(60)")


@pytest.fixture
def make() -> Iterator[Callable[..., tuple[Decoders, Told]]]:
    made: list[Decoders] = []

    def of(**options: Any) -> tuple[Decoders, Told]:
        told = Told()
        made.append(Decoders(tell=told, **options))
        return made[-1], told

    yield of
    for one in made:
        one.close()
        assert one.pids == frozenset()


Make = Callable[..., tuple[Decoders, Told]]


def is_there(pid: int) -> bool:
    """Whether it is there at all, be it as a zombie."""
    return Path(f"/proc/{pid}").exists()


def is_at_work(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


# --- the same verdicts --------------------------------------------------------------------------


def verdict(ask: Callable[[Path, Expected], Verified], answer: Path, wanted: Expected) -> object:
    try:
        return ask(answer, wanted)
    except AnswerRejectedError as rejected:
        return type(rejected), rejected.reason, rejected.code, str(rejected)
    except OSError as error:
        return type(error), error.errno, error.filename, str(error)


@pytest.mark.parametrize("kind", Format)
def test_a_good_picture_of_each_format_is_the_same_here_and_there(
    tmp_path: Path, shared: Decoders, kind: Format
) -> None:
    answer = tmp_path / "größe \udcff.bin"  # a name need not be text
    answer.write_bytes(encoded(kind, mode="RGBA" if kind in {Format.WEBP, Format.PNG} else "RGB"))
    found = shared(answer, expected(kind))
    assert found == verify(answer, expected(kind))
    assert (found.width, found.height, found.kind) == (*SIZE, kind)
    assert type(found.kind) is Format


@pytest.mark.parametrize(
    ("data", "wanted"),
    [
        pytest.param(b"", expected(), id="nothing"),
        pytest.param(b'{"error": "no"}', expected(), id="JSON"),
        pytest.param(encoded(Format.WEBP)[:-9], expected(), id="truncated"),
        pytest.param(encoded(Format.PNG, (99, 33)), expected(Format.PNG), id="the wrong size"),
        pytest.param(encoded(Format.PNG, (12, 8)), expected(Format.PNG), id="a preview"),
        pytest.param(encoded(Format.PNG), expected(), id="the wrong format"),
        pytest.param(encoded(Format.PNG).replace(b"IDAT", b"IDAX"), expected(Format.PNG), id="broken"),
        pytest.param(encoded(Format.PNG, mode="RGB"), expected(Format.PNG), id="no alpha"),
        pytest.param(encoded(Format.PNG), expected(Format.PNG, w=60), id="another size than asked for"),
        pytest.param(encoded(Format.PNG), expected(Format.PNG, angle=12.5, expand=False), id="turned"),
        pytest.param(encoded(Format.PNG), Expected.of_unknown_source(RemovalParams(format=Format.PNG)), id="unknown"),
        pytest.param(None, expected(), id="no file"),
    ],
)
def test_what_is_wrong_is_told_in_the_same_words(
    tmp_path: Path, shared: Decoders, data: bytes | None, wanted: Expected
) -> None:
    answer = tmp_path / "answer"
    if data is not None:
        answer.write_bytes(data)
    assert verdict(shared, answer, wanted) == verdict(verify, answer, wanted)


def test_a_question_arrives_as_it_was_asked(tmp_path: Path) -> None:
    wanted = Expected(
        params=RemovalParams(format=Format.PNG, w=7, h=9, exact_resize=True, bg_color="#fff", angle=-1.5, expand=False),
        width=3,
        height=4,
        may_be_turned=True,
    )
    assert asked(question(tmp_path / "a\nb", wanted)) == (tmp_path / "a\nb", wanted)


def test_a_relative_path_means_the_same_in_a_process_that_stands_elsewhere(
    answer: Path, shared: Decoders, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(answer.parent)
    assert shared(Path(answer.name), expected()).width == SIZE[0]


@pytest.mark.parametrize("said", [b"\n", b"[]", b"{}", b"7", b"[" * 60_000, b'["verified", 1]', b'["yes"]', b"\xff"])
def test_nonsense_is_no_verdict(said: bytes) -> None:
    with pytest.raises((ValueError, TypeError, RecursionError)):
        understood(said)


def test_many_threads_get_each_its_own_verdict(tmp_path: Path, make: Make) -> None:
    verifiers, told = make(most=3)
    wrong: list[object] = []
    most_at_once: list[int] = []

    def work(number: int) -> None:
        answer = tmp_path / str(number)
        size = (SIZE[0] + number % 3, SIZE[1])
        answer.write_bytes(encoded(Format.PNG, size))
        for _ in range(20):
            found = verdict(verifiers, answer, expected(Format.PNG))
            most_at_once.append(len(verifiers.pids))
            if not isinstance(found, Verified) or found.width != size[0] or found.size_bytes != answer.stat().st_size:
                wrong.append(found)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert (wrong, told, max(most_at_once)) == ([], [], 3)


# --- when a process fails -----------------------------------------------------------------------


def here(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Which answers are verified in this process."""
    seen: list[Path] = []

    def seeing(answer: Path, wanted: Expected) -> Verified:
        seen.append(answer)
        return verify(answer, wanted)

    monkeypatch.setattr(module, "verify", seeing)
    return seen


@pytest.mark.parametrize("number", sorted(CRASHES))
def test_a_picture_on_which_two_processes_crash_is_broken(
    answer: Path, make: Make, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    seen = here(monkeypatch)
    verifiers, told = make(command=dying_by(number))
    with pytest.raises(AnswerRejectedError, match=number.name) as caught:
        verifiers(answer, expected())
    assert (caught.value.code, seen, verifiers.pids) == ("broken", [], frozenset())
    assert len(told) == 2
    assert all("Fatal Python error" in words and "in verify" in words for words in told), "the last words say where"


def test_a_crash_that_does_not_come_again_is_none_of_the_pictures(answer: Path, tmp_path: Path, make: Make) -> None:
    mark = tmp_path / "mark"
    verifiers, told = make(
        command=doing(f"""
            if not os.path.exists({str(mark)!r}):
                open({str(mark)!r}, "w").close()
                ctypes.string_at(0)
            return honest(answer, expected)
        """)
    )
    assert verifiers(answer, expected()).width == SIZE[0]
    assert len(told) == 1
    assert "SIGSEGV" in told[0]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGSYS])
def test_a_process_that_somebody_kills_says_nothing_about_the_picture(
    answer: Path, make: Make, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    seen = here(monkeypatch)
    verifiers, told = make(command=dying_by(number))
    assert verifiers(answer, expected()).width == SIZE[0]
    assert (seen, len(told)) == ([answer], 2)


def test_a_disk_that_fails_under_the_decoder_is_not_the_pictures_fault(tmp_path: Path, make: Make) -> None:
    verifiers, _ = make(command=dying_by(signal.SIGBUS))
    with pytest.raises(OSError) as caught:  # a directory opens and cannot be read, as a file on a bad block
        verifiers(tmp_path, expected())
    assert caught.value.errno == errno.EISDIR


def test_a_process_that_talks_nonsense_is_ended_and_its_picture_never_decoded_here(
    answer: Path, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = here(monkeypatch)
    verifiers, told = make(
        command=doing("for fd in range(3, 9):\n    try: os.write(fd, b'x' * 70000)\n    except OSError: pass")
    )
    with pytest.raises(AnswerRejectedError) as caught:
        verifiers(answer, expected())
    assert (caught.value.code, seen, len(told)) == ("broken", [], 2)


def test_what_a_library_prints_is_no_answer(answer: Path, make: Make) -> None:
    verifiers, told = make(
        command=doing("os.write(1, b'noise')\nprint('noise', flush=True)\nreturn honest(answer, expected)")
    )
    assert verifiers(answer, expected()).width == SIZE[0]
    assert told == []


def test_an_error_nobody_foresaw_there_is_looked_at_here(
    answer: Path, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = here(monkeypatch)
    verifiers, told = make(command=doing("raise RuntimeError"))
    assert verifiers(answer, expected()).width == SIZE[0]
    assert (seen, told, len(verifiers.pids)) == ([answer], [], 1)


def test_an_answer_for_which_there_is_too_little_memory_is_judged_by_its_structure(
    answer: Path, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = here(monkeypatch)
    verifiers, told = make(command=doing("raise MemoryError"))
    found = verifiers(answer, expected())
    assert (found.width, found.height, found.finding) == (*SIZE, "not_decoded")
    assert (seen, told, len(verifiers.pids)) == ([], [], 1)
    answer.write_bytes(answer.read_bytes()[:-20])
    with pytest.raises(AnswerRejectedError, match="breaks off"):
        verifiers(answer, expected())


def test_an_answer_on_which_two_processes_are_killed_is_not_decoded_by_the_daemon(
    answer: Path, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = here(monkeypatch)
    verifiers, told = make(command=dying_by(signal.SIGKILL))
    assert verifiers(answer, expected()).finding == "not_decoded"
    assert (seen, len(told)) == ([], 2)


def limits(processor_s: float, all_s: float, then: str) -> tuple[str, ...]:
    command = doing(then)
    set_ = f"decoder.PROCESSOR_LIMIT_S, decoder.LIMIT_S = {processor_s}, {all_s}\ndecoder.main()"
    return (*command[:-1], command[-1].replace("decoder.main()", set_))


def test_a_picture_that_decodes_for_ever_is_broken(answer: Path, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = here(monkeypatch)
    verifiers, told = make(command=limits(0.2, 30, "while True: pass"))
    with pytest.raises(AnswerRejectedError, match="more than 60 s") as caught:
        verifiers(answer, expected())
    assert (caught.value.code, seen) == ("broken", [])
    assert "SIGPROF" in told[0]


def test_a_picture_that_something_else_holds_up_is_left_for_later(answer: Path, make: Make) -> None:
    verifiers, told = make(command=limits(30, 0.2, "time.sleep(60)"))
    with pytest.raises(TimeoutError) as caught:
        verifiers(answer, expected())
    assert caught.value.errno == errno.ETIMEDOUT
    assert "SIGALRM" in told[0]


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(("/nonexistent/python",), id="no interpreter"),
        pytest.param(("",), id="no name of one"),
        pytest.param((sys.executable, "-c", "import no_such_module"), id="no module"),
        pytest.param((sys.executable, "-c", "print('ready 0.0.0')"), id="another version"),
        pytest.param((sys.executable, "-c", "import os; os.abort()"), id="it crashes before any picture"),
    ],
)
def test_without_processes_the_daemon_does_it_and_says_so_once(
    answer: Path, make: Make, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    seen = here(monkeypatch)
    verifiers, told = make(command=command)
    for _ in range(3):
        assert verifiers(answer, expected()).width == SIZE[0]
    assert len(seen) == 3
    assert len(told) == 1
    assert told[0].startswith("no process to verify answers can be started, so the daemon does it: ")


def test_a_machine_that_takes_no_more_processes_gets_its_answers_verified(
    answer: Path, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    monkeypatch.setattr(subprocess, "Popen", full)
    verifiers, told = make()
    assert verifiers(answer, expected()).width == SIZE[0]
    assert len(told) == 1
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


def test_a_start_that_a_share_holds_up_is_not_waited_for_and_leaves_no_process(
    answer: Path, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that is started closes the daemon's files first, and one of a hung share does not close."""
    go_on, pids, real, seen = threading.Event(), list[int](), subprocess.Popen, here(monkeypatch)

    def held(*args: Any, **how: Any) -> Any:
        assert go_on.wait(60)
        process = real(*args, **how)
        pids.append(process.pid)
        return process

    monkeypatch.setattr("rembg_watch.delivery.decoders.START_LIMIT_S", 0.2)
    monkeypatch.setattr(subprocess, "Popen", held)
    decoders, told = make()
    assert decoders(answer, expected()).width == SIZE[0]
    assert seen == [answer]
    assert "did not start within" in told[0]
    go_on.set()
    eventually(lambda: pids and not is_there(pids[0]))
    assert decoders.pids == frozenset()


def test_one_that_was_killed_while_it_rested_is_replaced(answer: Path, make: Make) -> None:
    verifiers, _ = make()
    verifiers(answer, expected())
    (first,) = verifiers.pids
    os.kill(first, signal.SIGKILL)
    assert verifiers(answer, expected()).width == SIZE[0]
    assert first not in verifiers.pids
    assert not is_there(first)


# --- how they live and end ----------------------------------------------------------------------


def test_none_is_started_before_it_is_needed_and_one_is_enough_for_one_thread(answer: Path, make: Make) -> None:
    verifiers, _ = make()
    assert verifiers.pids == frozenset()
    for _ in range(5):
        verifiers(answer, expected())
        assert len(verifiers.pids) == 1


def test_one_that_nobody_asks_ends_and_leaves_nothing(answer: Path, make: Make) -> None:
    fds = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    verifiers, told = make(idle_s=600.0)
    verifiers(answer, expected())
    (pid,) = verifiers.pids
    verifiers.end_idle()
    assert verifiers.pids == {pid}
    verifiers._idle_s = 0.0
    verifiers.end_idle()
    assert (verifiers.pids, is_there(pid), told) == (frozenset(), False, [])
    assert len(os.listdir("/proc/self/fd")) == fds  # noqa: PTH208
    assert verifiers(answer, expected()).width == SIZE[0]


def test_one_that_was_killed_while_it_rested_is_no_zombie_for_long(answer: Path, make: Make) -> None:
    verifiers, _ = make()
    verifiers(answer, expected())
    (pid,) = verifiers.pids
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: not is_at_work(pid))
    verifiers.end_idle()
    assert not is_there(pid)


def test_close_ends_all_of_them_those_at_work_too(answer: Path, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = here(monkeypatch)
    slow = doing("time.sleep(60)")
    verifiers, _ = make(command=slow, most=2)
    threads = [threading.Thread(target=verifiers, args=(answer, expected())) for _ in range(2)]
    for thread in threads:
        thread.start()
    eventually(lambda: len(verifiers.pids) == 2)
    pids = verifiers.pids
    verifiers.close()
    for thread in threads:
        thread.join(10)
    assert (len(seen), [is_there(pid) for pid in pids]) == (2, [False, False])
    assert verifiers(answer, expected()).width == SIZE[0]
    assert verifiers.pids == frozenset()


def test_the_key_the_socket_and_the_watchdog_are_not_in_their_environment(
    answer: Path, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("REMBG_WATCH_API__KEY", "NOTIFY_SOCKET", "CREDENTIALS_DIRECTORY", "WATCHDOG_USEC", "WATCHDOG_PID"):
        monkeypatch.setenv(name, "a-secret")
    monkeypatch.setenv("LANG", "C.UTF-8")
    verifiers, _ = make()
    verifiers(answer, expected())
    (pid,) = verifiers.pids
    environment = Path(f"/proc/{pid}/environ").read_bytes()
    assert b"LANG=C.UTF-8\0" in environment
    assert b"a-secret" not in environment


def test_they_hold_no_file_of_the_daemon_and_stand_nowhere(answer: Path, make: Make) -> None:
    listening = socket.socket()
    with answer.open("rb") as ledger, listening:
        os.set_inheritable(ledger.fileno(), True)
        verifiers, _ = make()
        verifiers(answer, expected())
        (pid,) = verifiers.pids
        opened = [str(one.readlink()) for one in Path(f"/proc/{pid}/fd").iterdir()]
    assert sorted({name.partition(":")[0] for name in opened}) in (["pipe", "socket"], ["/dev/null", "pipe", "socket"])
    assert len(opened) <= 4
    assert Path(f"/proc/{pid}/cwd").readlink() == Path("/")


def test_a_terminals_ctrl_c_does_not_reach_them(answer: Path, make: Make) -> None:
    verifiers, told = make()
    verifiers(answer, expected())
    (pid,) = verifiers.pids
    assert os.getsid(pid) == pid
    assert os.getpgid(pid) == pid
    os.kill(pid, signal.SIGINT)
    os.kill(pid, signal.SIGHUP)
    verifiers(answer, expected())
    assert (verifiers.pids, told) == ({pid}, [])


PARENT = """
import sys, threading
from pathlib import Path
from rembg_watch.api.params import RemovalParams
from rembg_watch.delivery.decoders import Decoders
from rembg_watch.delivery.verify import Expected
verifiers = Decoders(most=2)
wanted = Expected(params=RemovalParams(), width=120, height=80)
verifiers(Path(sys.argv[1]), wanted)
print(*verifiers.pids, flush=True)
threading.Event().wait()
"""


def test_they_end_with_a_daemon_that_is_killed(answer: Path) -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(answer)], stdout=subprocess.PIPE, text=True)
    with parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert is_at_work(pid)
        parent.kill()
        parent.wait()
    eventually(lambda: not is_at_work(pid))


# --- sources ------------------------------------------------------------------------------------


def lying(size: tuple[int, int] = (64, 48)) -> bytes:
    """A picture that its orientation turns."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    file = io.BytesIO()
    Image.effect_noise(size, 90).convert("RGB").save(file, "PNG", exif=exif)
    return file.getvalue()


def set_upright(decoders: Decoders, tmp_path: Path, data: bytes, *, px: int = 64 * 48, largest: int = 10**6) -> bytes:
    (tmp_path / "source").write_bytes(data)
    with (
        (tmp_path / "source").open("rb") as source,
        (tmp_path / "copy").open("w+b") as copy,
        (tmp_path / "aside").open("w+b") as aside,
    ):
        turn = Turn(kind=Kind.PNG, orientation=6, largest_bytes=largest)
        made = decoders.upright(source, copy, aside, turn, px=px)
        copy.seek(0)
        data = copy.read()
    with Image.open(io.BytesIO(data)) as found:
        assert found.size == (made.width, made.height)
    return data


def turning(instead: str) -> tuple[str, ...]:
    """The command of a process that does something else when it is to set a picture upright."""
    return (
        *COMMAND[:-1],
        doing("")[-1]
        .replace("decoder.verify", "decoder.make_upright")
        .replace("def verify(answer, expected):\n", "def verify(*given):\n" + textwrap.indent(instead, "    ")),
    )


def test_a_child_sets_a_source_upright_as_it_would_be_done_here(shared: Decoders, tmp_path: Path) -> None:
    data = lying()
    there = set_upright(shared, tmp_path, data)
    with (tmp_path / "source").open("rb") as source, (tmp_path / "here").open("w+b") as copy:
        with (tmp_path / "aside").open("w+b") as aside:
            make_upright(source, copy, aside, Turn(kind=Kind.PNG, orientation=6, largest_bytes=10**6))
        copy.seek(0)
        assert there == copy.read()


def test_what_is_wrong_with_a_source_is_said_by_a_child_as_it_would_be_here(shared: Decoders, tmp_path: Path) -> None:
    with pytest.raises(UndecodableError):
        set_upright(shared, tmp_path, lying()[:90])
    with pytest.raises(CopyTooLargeError):
        set_upright(shared, tmp_path, lying(), largest=10)
    assert len(set_upright(shared, tmp_path, lying())) > 100, "and it goes on"


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGKILL, signal.SIGABRT])
def test_a_source_that_ends_two_processes_is_at_fault(make: Make, tmp_path: Path, number: signal.Signals) -> None:
    decoders, told = make(command=turning(f"os.kill(os.getpid(), {int(number)}); time.sleep(60)"))
    with pytest.raises(UndecodableError, match=f"two processes ended on it, the last one by {number.name}"):
        set_upright(decoders, tmp_path, lying())
    assert len(told) == 2


def test_a_source_for_which_no_child_can_be_had_is_set_upright_here(make: Make, tmp_path: Path) -> None:
    decoders, _ = make(command=("/nonexistent/python",))
    assert len(set_upright(decoders, tmp_path, lying())) > 100


def once_only(tmp_path: Path, command: tuple[str, ...]) -> tuple[str, ...]:
    """Start *command* the first time, and nothing that works from then on: no more processes are allowed."""
    script = tmp_path / "start"
    script.write_text(f'#!/bin/sh\n[ -e "{tmp_path}/used" ] && exit 1\n: > "{tmp_path}/used"\nexec "$@"\n')
    script.chmod(0o755)
    return (str(script), *command)


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGKILL])
def test_a_source_that_ended_the_only_process_is_left_for_later(
    make: Make, tmp_path: Path, number: signal.Signals
) -> None:
    ends = turning(f"os.kill(os.getpid(), {int(number)}); time.sleep(60)")
    decoders, _ = make(command=once_only(tmp_path, ends))
    with pytest.raises(TimeoutError, match="no other one can be started now"):
        set_upright(decoders, tmp_path, lying())


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGKILL])
def test_an_answer_that_ended_the_only_process_is_left_for_later(
    answer: Path, make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    seen = here(monkeypatch)
    verifiers, _ = make(command=once_only(tmp_path, dying_by(number)))
    with pytest.raises(TimeoutError, match="no other one can be started now"):
        verifiers(answer, expected())
    assert seen == [], "the daemon would end as that process did"


def test_memory_that_a_child_may_not_have_is_told(make: Make, tmp_path: Path) -> None:
    decoders, told = make(command=turning("bytearray(1 << 44)"))
    with pytest.raises(MemoryError):
        set_upright(decoders, tmp_path, lying())
    assert told == []


def test_large_pictures_are_decoded_one_at_a_time_and_small_ones_together(make: Make, tmp_path: Path) -> None:
    log = tmp_path / "log"
    said = f"open({str(log)!r}, 'a').write"
    decoders, _ = make(
        command=turning(f"{said}('begins '); time.sleep(0.5); {said}('ends '); raise MemoryError"), most=2
    )

    def order(px: int) -> str:
        log.unlink(missing_ok=True)

        def one(number: int) -> None:
            (tmp_path / f"{px}-{number}").mkdir()
            with pytest.raises(MemoryError):
                set_upright(decoders, tmp_path / f"{px}-{number}", lying(), px=px)

        with ThreadPoolExecutor(2) as pool:
            list(pool.map(one, range(2)))
        return log.read_text().strip()

    assert order(10**10) == "begins ends begins ends"
    assert order(1000) == "begins begins ends ends"


# --- copies that are sent -----------------------------------------------------------------------


needs_libvips = pytest.mark.skipif(find_spec("pyvips") is None, reason="needs rembg-watch[pictures]")


def copied(decoders: Decoders, tmp_path: Path, data: bytes, *, px: int = 64 * 48, largest: int = 10**6) -> bytes:
    (tmp_path / "source").write_bytes(data)
    with (tmp_path / "source").open("rb") as source, (tmp_path / "copy").open("w+b") as copy:
        made = decoders.proxy(source, copy, Reduction(kind=ReadKind.TIFF, px=40, largest_bytes=largest), px=px)
        copy.seek(0)
        data = copy.read()
    with Image.open(io.BytesIO(data)) as found:
        assert (found.format, found.size) == ("JPEG", (made.width, made.height))
    return data


def copying(instead: str) -> tuple[str, ...]:
    """The command of a process that does something else when it is to make a copy."""
    return (*COMMAND[:-1], turning(instead)[-1].replace("decoder.make_upright", "proxy.make_proxy"))


def tiff() -> bytes:
    file = io.BytesIO()
    Image.effect_noise((64, 48), 90).convert("RGB").save(file, "TIFF")
    return file.getvalue()


@needs_libvips
def test_a_child_makes_a_copy_as_it_would_be_made_here(shared: Decoders, tmp_path: Path) -> None:
    there = copied(shared, tmp_path, tiff())
    with (tmp_path / "source").open("rb") as source, (tmp_path / "here").open("w+b") as copy:
        make_proxy(source, copy, Reduction(kind=ReadKind.TIFF, px=40, largest_bytes=10**6))
        copy.seek(0)
        assert there == copy.read()


@needs_libvips
def test_why_no_copy_can_be_made_is_said_by_a_child(shared: Decoders, tmp_path: Path) -> None:
    with pytest.raises(NoProxyError, match="It cannot be decoded to its end"):
        copied(shared, tmp_path, tiff()[:900])
    with pytest.raises(CopyTooLargeError):
        copied(shared, tmp_path, tiff(), largest=10)
    assert len(copied(shared, tmp_path, tiff())) > 100, "and it goes on"


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGKILL])
def test_a_source_of_which_two_processes_die_gets_no_copy(make: Make, tmp_path: Path, number: signal.Signals) -> None:
    decoders, told = make(command=copying(f"os.kill(os.getpid(), {int(number)}); time.sleep(60)"))
    with pytest.raises(NoProxyError, match=f"two processes ended on it, the last one by {number.name}"):
        copied(decoders, tmp_path, tiff())
    assert len(told) == 2


def test_no_copy_is_ever_made_in_the_daemon(make: Make, tmp_path: Path) -> None:
    decoders, _ = make(command=("/nonexistent/python",))
    with pytest.raises(OSError, match="no process to decode it can be started") as refused:
        copied(decoders, tmp_path, tiff())
    assert refused.value.filename == "source"


def test_memory_that_a_copy_may_not_have_is_told(make: Make, tmp_path: Path) -> None:
    decoders, told = make(command=copying("bytearray(1 << 44)"))
    with pytest.raises(MemoryError):
        copied(decoders, tmp_path, tiff())
    assert told == []


def test_the_daemon_itself_never_loads_libvips() -> None:
    code = "import sys, rembg_watch.daemon.life; sys.exit('pyvips' in sys.modules or 'pillow_heif' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
