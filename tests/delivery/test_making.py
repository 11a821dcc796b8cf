"""A deliverable is made by a process of its own, whatever becomes of that process."""

import errno
import json
import os
import signal
import textwrap
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from rembg_watch.delivery import making
from rembg_watch.delivery.child import COMMAND
from rembg_watch.delivery.decoders import DecoderError, Decoders
from rembg_watch.delivery.making import Making
from rembg_watch.delivery.waiting import Waiting
from rembg_watch.pictures.deliverable import Align, Canvas, Deliverable, Edges, FileFormat, Master, Upsample
from rembg_watch.pictures.metadata import Keep
from rembg_watch.pictures.rendering import NotRenderedError, Rendered
from tests.life import eventually

needs_libvips = pytest.mark.skipif(find_spec("pyvips") is None, reason="needs rembg-watch[pictures]")

Make = Callable[..., tuple[Decoders, list[DecoderError]]]


@pytest.fixture
def start() -> Iterator[Make]:
    started: list[Decoders] = []

    def one(**how: Any) -> tuple[Decoders, list[DecoderError]]:
        told: list[DecoderError] = []
        started.append(Decoders(tell=told.append, **how))
        return started[-1], told

    yield one
    for decoders in started:
        decoders.close()


def acting(instead: str) -> tuple[str, ...]:
    """Return the command of a process that does something else when it is to make a deliverable."""
    code = (
        "import os, time, errno\n"
        "from rembg_watch.delivery import decoder, making\n"
        "from rembg_watch.pictures import render as renderer\n"
        "def render(job):\n" + textwrap.indent(instead, "    ") + "\n"
        "renderer.render = render\n"
        "decoder.main()\n"
    )
    return (*COMMAND[:-1], code)


def wanted(tmp_path: Path, **how: Any) -> Making:
    Image.new("L", (64, 48), 255).save(tmp_path / "master.png")
    return Making(
        master=tmp_path / "master.png",
        kind=Master.MASK,
        deliverable=how.pop("deliverable", Deliverable(name="x")),
        sent="as it is",
        px=how.pop("px", 64 * 48),
        **how,
    )


def made(decoders: Decoders, tmp_path: Path, what: Making, *, has_source: bool = True, **how: Any) -> Rendered:
    Image.new("RGB", (64, 48), (200, 30, 20)).save(tmp_path / "source.png")
    with (tmp_path / "output").open("w+b") as output, (tmp_path / "scratch").open("w+b") as scratch:
        if not has_source:
            return decoders.make(None, output, scratch, what, **how)
        with (tmp_path / "source.png").open("rb") as source:
            return decoders.make(source, output, scratch, what, **how)


@needs_libvips
def test_a_child_makes_one_deliverable_after_the_other(start: Make, tmp_path: Path) -> None:
    decoders, told = start()
    for kind in (FileFormat.PNG, FileFormat.TIFF, FileFormat.JPEG):
        what = wanted(tmp_path, deliverable=Deliverable(name="x", format=kind))
        found = made(decoders, tmp_path, what)
        assert (found.width, found.height) == (64, 48)
        with Image.open(tmp_path / "output") as picture:
            assert picture.format == kind.upper()
            assert max(abs(a - b) for a, b in zip(picture.getpixel((9, 9)), (200, 30, 20), strict=False)) < 4
        assert found.size_bytes == (tmp_path / "output").stat().st_size
    assert len(decoders.pids) == 1
    assert told == []


@needs_libvips
def test_what_cannot_be_made_is_said_and_the_child_goes_on(start: Make, tmp_path: Path) -> None:
    decoders, told = start()
    with pytest.raises(NotRenderedError, match="nothing can be made of a mask alone") as refused:
        made(decoders, tmp_path, wanted(tmp_path), has_source=False)
    assert refused.value.code == "no_source"
    gone = wanted(tmp_path)
    (tmp_path / "master.png").unlink()
    with pytest.raises(FileNotFoundError) as missing:
        made(decoders, tmp_path, gone)
    assert missing.value.filename == str(tmp_path / "master.png")
    assert made(decoders, tmp_path, wanted(tmp_path)).width == 64
    assert told == []


@needs_libvips
def test_an_output_that_takes_nothing_is_no_fault_of_the_picture(start: Make, tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("there is no disk that is always full")
    decoders, _ = start()
    Image.new("RGB", (64, 48), (200, 30, 20)).save(tmp_path / "source.png")
    with (
        (tmp_path / "source.png").open("rb") as source,
        Path("/dev/full").open("r+b", buffering=0) as output,
        (tmp_path / "scratch").open("w+b") as scratch,
        pytest.raises(OSError, match=r"source|copy") as refused,
    ):
        decoders.make(source, output, scratch, wanted(tmp_path))
    assert refused.value.filename in ("copy", "source")


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGKILL, signal.SIGBUS])
def test_a_picture_of_which_two_processes_die_fails_with_a_true_sentence(
    start: Make, tmp_path: Path, number: signal.Signals
) -> None:
    decoders, told = start(command=acting(f"os.kill(os.getpid(), {int(number)}); time.sleep(60)"))
    with pytest.raises(NotRenderedError, match=f"two processes ended on it, the last one by {number.name}") as refused:
        made(decoders, tmp_path, wanted(tmp_path))
    assert refused.value.code == "undecodable"
    assert len(told) == 2


def test_a_process_that_dies_once_is_forgiven(start: Make, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    instead = (
        f"if not os.path.exists({str(mark)!r}):\n    open({str(mark)!r}, 'w').close()\n    os.kill(os.getpid(), 9)\n"
        "return making.Rendered(width=1, height=2, size_bytes=3, remarks=('too_small',))"
    )
    decoders, told = start(command=acting(instead))
    found = made(decoders, tmp_path, wanted(tmp_path))
    assert found == Rendered(width=1, height=2, size_bytes=3, remarks=("too_small",))
    assert len(told) == 1


def test_what_takes_too_long_is_left_for_later_and_what_computes_too_long_is_at_fault(
    start: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Making, "limit_s", 1.0)
    decoders, _ = start(command=acting("time.sleep(60)"))
    with pytest.raises(TimeoutError, match="not made in 1 s"):
        made(decoders, tmp_path, wanted(tmp_path))
    monkeypatch.setattr(Making, "limit_s", 60.0)
    monkeypatch.setattr(Making, "processor_limit_s", 0.5)
    decoders, _ = start(command=acting("while True: pass"))
    with pytest.raises(NotRenderedError, match="it takes more than"):
        made(decoders, tmp_path, wanted(tmp_path))


def test_whoever_waits_is_known_to_be_alive(start: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rembg_watch.delivery.child.BEAT_S", 0.05)
    decoders, _ = start(command=acting("time.sleep(0.5)\nreturn making.Rendered(width=1, height=2, size_bytes=3)"))
    beats: list[int] = []
    made(decoders, tmp_path, wanted(tmp_path), waiting=Waiting(beat=lambda: beats.append(1)))
    assert len(beats) > 2


def test_one_that_works_is_told_from_one_that_a_disk_lets_wait_and_the_place_of_that_is_for_others(
    start: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rembg_watch.delivery.child.BEAT_S", 0.05)
    monkeypatch.setattr("rembg_watch.delivery.child.STUCK_S", 0.5)
    monkeypatch.setattr(Making, "needed_bytes", 1 << 50)
    computes = "until = time.monotonic() + 1\nwhile time.monotonic() < until:\n    pass\n"
    pipe = str(tmp_path / "pipe")
    reads = f"os.path.exists({pipe!r}) and open({pipe!r}).read()\n"
    result = "return making.Rendered(width=1, height=2, size_bytes=3)"
    decoders, _ = start(command=acting(computes + reads + result), most=1)
    os.mkfifo(tmp_path / "pipe")
    for name in ("held", "other"):
        (tmp_path / name).mkdir()
    beats: list[str] = []
    waiting = Waiting(beat=lambda: beats.append("beat"), moved=lambda: beats.append("moved"))
    with ThreadPoolExecutor(1) as pool:
        held = pool.submit(made, decoders, tmp_path / "held", wanted(tmp_path / "held"), waiting=waiting)
        eventually(lambda: beats.count("moved") > 5)
        eventually(lambda: beats[-20:] == ["beat"] * 20)
        what = wanted(tmp_path / "other")
        (tmp_path / "pipe").rename(tmp_path / "its pipe")
        assert made(decoders, tmp_path / "other", what).height == 2, "it has a place while the other one waits"
        assert not held.done()
        with (tmp_path / "its pipe").open("w"):
            pass
        assert held.result(60).height == 2


def test_nothing_is_ever_made_in_the_daemon(start: Make, tmp_path: Path) -> None:
    decoders, _ = start(command=("/nonexistent/python",))
    with pytest.raises(OSError, match="no process to make it can be started"):
        made(decoders, tmp_path, wanted(tmp_path))


@pytest.mark.parametrize(
    ("instead", "error"),
    [("raise MemoryError", MemoryError), ("raise OSError(errno.ENOSPC, 'full', 'copy')", OSError)],
)
def test_memory_and_disks_are_told(start: Make, tmp_path: Path, instead: str, error: type[Exception]) -> None:
    decoders, told = start(command=acting(instead))
    with pytest.raises(error):
        made(decoders, tmp_path, wanted(tmp_path))
    assert told == []


def test_a_large_picture_may_take_longer_and_more() -> None:
    def of(px: int, kind: FileFormat = FileFormat.TIFF) -> Making:
        return Making(
            master=Path("/m"), kind=Master.MASK, deliverable=Deliverable(name="x", format=kind), sent="", px=px
        )

    assert of(60_000_000).processor_limit_s > of(1_000_000).processor_limit_s
    assert of(60_000_000).limit_s > of(60_000_000).processor_limit_s
    assert of(60_000_000, FileFormat.AVIF).needed_bytes > of(60_000_000).needed_bytes


def test_a_question_carries_every_setting(tmp_path: Path) -> None:
    deliverable = Deliverable(
        name="x",
        format=FileFormat.AVIF,
        canvas=(20, 30),
        fill=0.5,
        align=Align.TOP,
        metadata=Keep.COPYRIGHT,
        dpi=300,
        upsample=Upsample.GUIDED,
    )
    path = Path(os.fsdecode(b"/tmp/b\xff\n d"))
    line = making.question(
        Making(
            master=path,
            kind=Master.CUTOUT,
            deliverable=deliverable,
            sent="proxy 4000 v1",
            px=7,
            edges=Edges.AS_IS,
            assume="/p.icc",
        )
    )
    assert line.count(b"\n") == 1
    _, limits, master, how, values = json.loads(line)
    assert os.fsdecode(master.encode("latin-1")) == str(path)
    assert how == ["proxy 4000 v1", "cutout", "as-is", "/p.icc"]
    assert Deliverable.from_json(values) == deliverable
    assert making.limits(line) == tuple(limits)
    assert Deliverable.from_json(Deliverable(name="y", canvas=Canvas.OBJECT).as_json()).canvas is Canvas.OBJECT


@pytest.mark.parametrize("line", [b"", b"[]", b"{}", b'["made"]', b'["verified", 1, 2]', b'["made", 1, 2, 3, 4]'])
def test_nonsense_is_no_reply(line: bytes) -> None:
    with pytest.raises((ValueError, TypeError)):
        making.made(line)


def test_errors_of_the_disk_keep_their_number() -> None:
    found = making.made(json.dumps(["refused", errno.ENOSPC, "full", "copy"]).encode())
    assert isinstance(found, OSError)
    assert (found.errno, found.filename) == (errno.ENOSPC, "copy")
