"""``remove`` on disks that are full, or become full while an answer that was paid for arrives."""

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rembg_watch.api.client import Client
from rembg_watch.api.params import RemovalParams
from rembg_watch.cli.transfer import Lines
from rembg_watch.delivery.answer_file import AnswerFile
from rembg_watch.one_shot import NotSentHereError, OneShot, Options, Request
from rembg_watch.sandbox import Sandbox

PACKSHOT = Path(__file__).parent.parent / "data" / "packshots" / "mug.jpg"


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Mount a disk of 64 KiB; skip, with the kernel's words, where that is not permitted."""
    mounted: list[Path] = []

    def act(name: str) -> Path:
        place = tmp_path / name
        place.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(place)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            pytest.skip(f"cannot mount here: {done.stderr.strip()}")
        mounted.append(place)
        return place

    yield act
    for place in reversed(mounted):
        subprocess.run(["umount", "-l", str(place)], check=False, capture_output=True)


def test_an_answer_that_fills_one_disk_goes_on_on_the_next(small: Callable[[str], Path], tmp_path: Path) -> None:
    full, roomy = small("full"), tmp_path / "roomy"
    roomy.mkdir()
    blocks = [os.urandom(7000) for _ in range(40)]
    with AnswerFile([full, full, roomy], ".webp") as answer:
        for block in blocks:
            answer.write(block)
        kept = answer.finish()
    assert kept.parent == roomy
    assert kept.read_bytes() == b"".join(blocks)
    assert not list(full.iterdir())
    assert len(list(roomy.iterdir())) == 1


def test_an_answer_that_fills_every_disk_is_told(small: Callable[[str], Path]) -> None:
    one, two = small("one"), small("two")
    with AnswerFile([one, two], ".webp") as answer, pytest.raises(OSError, match="No space left"):
        answer.write(bytes(280_000))
    assert not list(one.iterdir())
    assert not list(two.iterdir())


def test_a_disk_that_is_too_small_is_found_before_anything_is_sent(
    small: Callable[[str], Path], tmp_path: Path
) -> None:
    sandbox = Sandbox("sandbox-key", engine="flat")
    with Client("sandbox-key", transport=sandbox.transport()) as client:
        one_shot = OneShot(client=client, params=RemovalParams(), options=Options(), scratch=tmp_path, display=Lines())
        with pytest.raises(NotSentHereError, match=r"not enough space in .*16\.8 MB may be needed"):
            one_shot.send(Request(source=PACKSHOT, target=small("out") / "mug.webp"))
    assert not sandbox.requests
