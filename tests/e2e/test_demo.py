"""The demo as a newcomer runs it: a process, its page in a browser's place, and an end that leaves nothing behind."""

import io
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import psutil
import pytest
from PIL import Image

from rembg_watch.demo.tour import KEY
from tests.e2e.studio import PROGRAM, wait_until

PAGE = re.compile(r"^Watch it in your browser:  (http://127\.0\.0\.1:\d+/)", re.MULTILINE)
VIEW = re.compile(r'<img[^>]* src="(/pictures/[^"]+)"')


class Demo:
    """A demo that runs, and every process that it ever had."""

    def __init__(self, process: "subprocess.Popen[bytes]", root: Path, log: Path) -> None:
        self.process, self.root, self.log = process, root, log
        self._seen: dict[int, psutil.Process] = {}

    @property
    def said(self) -> str:
        said = self.log.read_text(encoding="utf-8")
        assert "Traceback" not in said, said
        return said

    def wait_until_it_says(self, words: str) -> None:
        def says() -> bool:
            self.look()
            assert self.process.poll() is None or words in self.said, self.said
            return words in self.said

        wait_until(says, words)

    def look(self) -> None:
        """Note which processes there are; those of a demo that is gone have another parent."""
        with suppress(psutil.NoSuchProcess):
            for one in psutil.Process(self.process.pid).children(recursive=True):
                self._seen.setdefault(one.pid, one)

    def commands(self) -> set[str]:
        """Name the commands that run beside the demo."""
        self.look()
        words = [one.cmdline() for one in self._seen.values() if one.is_running()]
        return {
            "web" if any("web.main" in word for word in line) else "run"
            for line in words
            if str(self.root / "rembg-watch.toml") in line
        }

    def left(self) -> list[psutil.Process]:
        """Return what still runs of it, zombies aside."""
        found = []
        for one in self._seen.values():
            with suppress(psutil.NoSuchProcess):
                if one.is_running() and one.status() != psutil.STATUS_ZOMBIE:
                    found.append(one)
        return found


@contextmanager
def _demo(tmp_path: Path, *words: str, **environ: str) -> Iterator[Demo]:
    root, log = tmp_path / "demo", tmp_path / "said"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*PROGRAM, "demo", "--folder", str(root), *words],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=os.environ | environ,
        )
    demo = Demo(process, root, log)
    try:
        yield demo
    finally:
        process.kill()
        process.wait()
        for one in demo.left():
            one.kill()


def _page_of(demo: Demo) -> str:
    demo.wait_until_it_says("Watch it in your browser:  ")
    found = PAGE.search(demo.said)
    assert found, demo.said
    return found[1]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "sigterm"])
def test_the_page_stays_until_somebody_ends_it_and_shows_what_came_of_a_picture(
    tmp_path: Path, number: signal.Signals
) -> None:
    with _demo(tmp_path, "--page") as demo:
        address = _page_of(demo)
        with httpx.Client(base_url=address, timeout=30) as asked:
            assert asked.get("livez").status_code == 200, "it is there while the tour goes on"
            demo.wait_until_it_says("Ctrl-C ends it all")
            assert f"The page stays open:  {address}" in demo.said
            assert "6 pictures delivered" in demo.said
            picture = next(one for one in asked.get("api/v1/jobs").json()["jobs"] if "mug" in one["source"])
            shown = asked.get(f"pictures/{picture['id']}")
            assert shown.status_code == 200
            views = VIEW.findall(shown.text)
            assert len(views) >= 2, "the picture before and after"
            for view in views[:2]:
                with Image.open(io.BytesIO(asked.get(view).content)) as image:
                    image.load()
                    assert max(image.size) > 100
        assert demo.commands() == {"run", "web"}
        time.sleep(1)
        assert demo.process.poll() is None
        demo.process.send_signal(number)
        assert demo.process.wait(60) == 0, demo.said
        assert demo.left() == []
    assert not (demo.root / "page.log").read_text().replace(f"listening on {address}\n", "")


def test_the_page_holds_no_key_and_keeps_what_it_makes_in_the_demos_folder(tmp_path: Path) -> None:
    with _demo(tmp_path, "--page") as demo:
        address = _page_of(demo)
        (page,) = [one for one in demo.left() if any("web.main" in word for word in one.cmdline())]
        assert not [name for name, value in page.environ().items() if KEY in value]
        demo.wait_until_it_says("Ctrl-C ends it all")
        for view in VIEW.findall(httpx.get(address).text):
            assert httpx.get(f"{address.rstrip('/')}{view}").status_code == 200
        assert [one for one in (demo.root / "cache").rglob("*") if one.is_file()]


def test_without_being_asked_it_waits_for_nobody(tmp_path: Path) -> None:
    with _demo(tmp_path) as demo:
        address = _page_of(demo)
        assert httpx.get(address, timeout=30).status_code == 200
        wait_until(lambda: demo.look() or demo.process.poll() is not None, "the demo ends by itself")  # type: ignore[func-returns-value]
        assert demo.process.wait() == 0, demo.said
        assert f"rembg-watch web --config {demo.root / 'rembg-watch.toml'}" in demo.said
        assert demo.left() == []
        with pytest.raises(httpx.ConnectError):
            httpx.get(address)


def test_where_the_page_is_not_installed_it_says_once_how_to_get_it(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.modules['jinja2'] = None\n")
    with _demo(tmp_path, PYTHONPATH=str(tmp_path)) as demo:
        wait_until(lambda: demo.process.poll() is not None, "the demo ends by itself")
        assert demo.process.wait() == 0, demo.said
        assert demo.said.count("pip install 'rembg-watch[web]'") == 1
        assert "6 pictures delivered" in demo.said
        assert "browser" not in demo.said


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_whoever_ends_it_in_the_middle_leaves_nothing_running(tmp_path: Path, number: signal.Signals) -> None:
    with _demo(tmp_path, "--page") as demo:
        _page_of(demo)
        wait_until(lambda: len(demo.commands()) == 2 and len(demo.left()) > 2, "daemon, page and a decoder run")
        demo.process.send_signal(number)
        code = demo.process.wait(60)
        assert code == (130 if number is not signal.SIGKILL else -signal.SIGKILL), demo.said
        wait_until(lambda: demo.left() == [], "nothing of it runs any more", within_s=60)
