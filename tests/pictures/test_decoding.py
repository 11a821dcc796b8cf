import os
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from rembg_watch.host.interpreter import environment
from rembg_watch.pictures.decoding import UndecidedError, decodes
from rembg_watch.pictures.inspection import inspect, inspect_to_the_end
from tests.pictures.makers import chunk, noise, saved

JPEG, PNG, WEBP, BMP = (saved(noise((200, 150)), name) for name in ("JPEG", "PNG", "WEBP", "BMP"))


@pytest.fixture
def fd(tmp_path: Path) -> Iterator[int]:
    (tmp_path / "x").write_bytes(b"")
    fd = os.open(tmp_path / "x", os.O_RDWR)
    yield fd
    os.close(fd)


def holds(fd: int, data: bytes) -> int:
    os.ftruncate(fd, 0)
    os.pwrite(fd, data, 0)
    return fd


NO_END = {
    "PNG without its end": PNG[:-12],
    "PNG with a broken name behind the picture": PNG[:-12] + chunk(b"\1\2\3\4", bytes(40)),
    "JPEG with notes in place of its end": JPEG[:-2] + b"some maker's own trailer" * 300,
    "BMP with a blank end": BMP[:-20_000] + bytes(20_000),
}


@pytest.mark.parametrize("data", NO_END.values(), ids=NO_END.keys())
def test_what_has_no_end_mark_but_can_be_decoded_is_whole_in_the_end(fd: int, data: bytes) -> None:
    assert not inspect(holds(fd, data)).is_whole
    found = inspect_to_the_end(fd)
    assert (found.is_whole, found.why, found.width_px) == (True, "", 200)


HALF = {
    "JPEG": JPEG[: len(JPEG) // 2],
    "reserved JPEG, to which any decoder says yes": JPEG[: len(JPEG) // 2] + bytes(len(JPEG) // 2),
    "PNG": PNG[: len(PNG) // 2],
    "reserved PNG": PNG[: len(PNG) // 2] + bytes(len(PNG) // 2),
    "WebP": WEBP[: len(WEBP) // 2],
    "BMP": BMP[: len(BMP) // 2],
}


@pytest.mark.parametrize("data", HALF.values(), ids=HALF.keys())
def test_half_a_picture_stays_half_a_picture(fd: int, data: bytes) -> None:
    found = inspect_to_the_end(holds(fd, data))
    assert not found.is_whole
    assert found.why


def test_a_whole_picture_is_not_decoded(fd: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(sys, "executable", "/nonexistent")
    assert inspect_to_the_end(holds(fd, PNG)).is_whole


def test_a_picture_that_is_larger_than_allowed_is_none(fd: int) -> None:
    assert decodes(holds(fd, PNG), "PNG", 200)
    assert not decodes(fd, "PNG", 199)


def test_a_picture_of_another_kind_is_none(fd: int) -> None:
    assert not decodes(holds(fd, PNG), "JPEG", 10_000)


def test_a_decoder_that_crashes_says_no(fd: int) -> None:
    assert not decodes(fd, "PNG", 1, command=[sys.executable, "-c", "import os; os.abort()"])


@pytest.mark.parametrize(
    "ends",
    [
        pytest.param("import os; os.kill(os.getpid(), 9)", id="killed by the kernel"),
        pytest.param(
            "import rembg_watch.pictures.decoding as d; d.MEMORY_BYTES = 1 << 26; d.main()", id="refused by the kernel"
        ),
    ],
)
def test_a_decoder_without_memory_says_nothing(fd: int, ends: str) -> None:
    data = saved(noise((4000, 4000)), "PNG")[:-12]
    with pytest.raises(UndecidedError, match="not enough memory"):
        decodes(holds(fd, data), "PNG", 10_000, command=[sys.executable, "-c", ends])


def test_a_decoder_that_takes_too_long_says_no(fd: int) -> None:
    ends = "import rembg_watch.pictures.decoding as d; d.PROCESSOR_LIMIT_S = 1; d._be_harmless()\nwhile True: pass"
    assert not decodes(fd, "PNG", 1, command=[sys.executable, "-c", ends])


def test_one_picture_is_decoded_at_a_time(fd: int, tmp_path: Path) -> None:
    log = tmp_path / "log"
    said = f"open({str(log)!r}, 'a').write"
    command = [sys.executable, "-c", f"import time; {said}('begins '); time.sleep(0.3); {said}('ends ')"]
    with ThreadPoolExecutor(3) as pool:
        assert all(pool.map(lambda _: decodes(fd, "PNG", 1, command=command), range(3)))
    assert log.read_text() == "begins ends " * 3


@pytest.mark.parametrize("command", [["/nonexistent/python"], [sys.executable, "-c", "raise ImportError"]])
def test_a_decoder_that_cannot_be_started_says_nothing(fd: int, command: list[str]) -> None:
    with pytest.raises(UndecidedError, match=r"process"):
        decodes(fd, "PNG", 1, command=command)


def test_the_decoder_gets_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REMBG_API_KEY", "secret")
    assert "secret" not in str(environment())
