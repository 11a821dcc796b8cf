"""
The vendor's own package from npm, unchanged, against the sandbox.

A hook that Node loads first sends what is meant for https://api.rembg.com to the sandbox on
loopback; the package itself is as it was installed.
"""

import base64
import io
import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from rembg_watch.sandbox import Sandbox
from rembg_watch.sandbox.server import LoopbackServer

pytestmark = pytest.mark.node

PACKAGE = "@remove-background-ai/rembg.js@1.3.1"

HOOK = """
const http = require("node:http"), https = require("node:https");
const there = new URL(process.env.SANDBOX);
https.request = (options, answered) => {
  if (options.hostname !== "api.rembg.com") throw new Error("a request to " + options.hostname);
  const { agent, agents, ...rest } = options;
  return http.request({ ...rest, protocol: "http:", host: null, hostname: there.hostname, port: there.port }, answered);
};
"""

DRIVER = """
import { readFileSync, existsSync } from "node:fs";
import { rembg } from "@remove-background-ai/rembg.js";
const { image, as, ...call } = JSON.parse(process.argv[2]);
const bytes = image && readFileSync(image);
const inputImage = { path: image, buffer: bytes, base64: bytes && { base64: bytes.toString("base64") },
  url: bytes && { base64: "data:image/jpeg;base64," + bytes.toString("base64") } }[as];
const up = [], down = [], keep = (list) => (e) => list.push([e.loaded, e.total, e.progress, e.bytes]);
// given a buffer, the package leaves its connection open, and Node would wait for it
const end = (said) => process.stdout.write(JSON.stringify(said), () => process.exit(0));
try {
  const done = await rembg({ ...call, inputImage, onUploadProgress: keep(up), onDownloadProgress: keep(down) });
  const said = { up, down, base64: done.base64Image };
  if (done.outputImagePath) {
    said.path = done.outputImagePath;
    said.bytes = readFileSync(done.outputImagePath).toString("base64");
    await done.cleanup();
    said.isGone = !existsSync(done.outputImagePath);
  }
  end(said);
} catch (error) {
  end({ error: error.message, up, down });
}
"""


@pytest.fixture(scope="session")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the package in it."""
    if not (shutil.which("node") and shutil.which("npm")):
        pytest.skip("there is no Node.js with npm on this machine")
    folder = tmp_path_factory.mktemp("vendor")
    (folder / "package.json").write_text('{"type": "module", "private": true}')
    install = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--silent", PACKAGE]
    installed = subprocess.run(install, cwd=folder, capture_output=True, text=True, timeout=180, check=False)
    if installed.returncode:
        pytest.skip(f"npm could not install {PACKAGE}: {installed.stderr.strip()[-300:]}")
    (folder / "hook.cjs").write_text(HOOK)
    (folder / "driver.js").write_text(DRIVER)
    return folder


@pytest.fixture(scope="session")
def sandbox() -> Sandbox:
    return Sandbox(engine="fast", credits=1000)


@pytest.fixture(scope="session")
def server(sandbox: Sandbox) -> Iterator[LoopbackServer]:
    with sandbox.serve() as running:
        yield running


Rembg = Callable[..., dict[str, Any]]


@pytest.fixture
def rembg(workshop: Path, server: LoopbackServer, data: Path) -> Rembg:
    """Call the package's one function and return what it resolved to."""

    def call(
        *,
        as_: str = "path",
        image: str = "packshots/mug.jpg",
        key: str = "sandbox-key",
        url: str = "",
        **options: object,
    ) -> dict[str, Any]:
        job = {"apiKey": key, "image": str(data / image), "as": as_, "options": options}
        run = subprocess.run(
            ["node", "--require", "./hook.cjs", "driver.js", json.dumps(job)],
            cwd=workshop,
            env={"PATH": "/usr/bin:/bin:/usr/local/bin", "SANDBOX": url or server.base_url},
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        said: dict[str, Any] = json.loads(run.stdout.splitlines()[-1])
        return said

    return call


def picture(said: dict[str, Any]) -> Image.Image:
    assert "error" not in said, said
    opened = Image.open(io.BytesIO(base64.b64decode(said["bytes"])))
    opened.load()
    return opened


@pytest.mark.parametrize("as_", ["path", "buffer", "base64", "url"])
def test_every_kind_of_input_is_taken(rembg: Rembg, sandbox: Sandbox, as_: str) -> None:
    cutout = picture(rembg(as_=as_))
    assert (cutout.format, cutout.size, cutout.mode) == ("WEBP", (1000, 1000), "RGBA")
    assert cutout.getpixel((5, 5))[3] == 0  # type: ignore[index]
    assert sandbox.requests[-1].filename == ("mug.jpg" if as_ == "path" else "image.png")


@pytest.mark.parametrize(
    ("options", "kind", "size", "mode"),
    [
        ({"format": "png"}, "PNG", (1000, 1000), "RGBA"),
        ({"format": "WEBP"}, "WEBP", (1000, 1000), "RGBA"),
        ({"returnMask": True, "format": "png"}, "PNG", (1000, 1000), "L"),
        ({"w": 200}, "WEBP", (200, 200), "RGBA"),
        ({"h": 150}, "WEBP", (150, 150), "RGBA"),
        ({"w": 300, "h": 100, "exact_resize": True}, "WEBP", (300, 100), "RGBA"),
        ({"angle": 45, "w": 100, "expand": False}, "WEBP", (100, 100), "RGBA"),
        ({"bg_color": "#00ff00", "format": "png"}, "PNG", (1000, 1000), "RGB"),
        ({"bg_color": "red", "format": "png"}, "PNG", (1000, 1000), "RGB"),
    ],
    ids=str,
)
def test_every_option_does_what_it_says(
    rembg: Rembg, options: dict[str, Any], kind: str, size: tuple[int, int], mode: str
) -> None:
    cutout = picture(rembg(**options))
    assert (cutout.format, cutout.size, cutout.mode) == (kind, size, mode)
    if mode == "RGB":
        assert cutout.getpixel((5, 5)) == {"#00ff00": (0, 255, 0), "red": (255, 0, 0)}[options["bg_color"]]


def test_a_turned_picture_is_padded_by_default(rembg: Rembg) -> None:
    width, height = picture(rembg(angle=45, w=100)).size
    assert abs(width - 141) <= 2
    assert abs(height - 141) <= 2


def test_the_answer_comes_as_base64_and_is_a_picture(rembg: Rembg) -> None:
    head, _, text = rembg(returnBase64=True, w=50)["base64"].partition(",")
    assert head == "data:image/png;base64"
    assert Image.open(io.BytesIO(base64.b64decode(text, validate=True))).size == (50, 50)


def test_its_defaults_are_taken_as_they_are_sent(rembg: Rembg, sandbox: Sandbox) -> None:
    rembg()
    assert list(sandbox.requests[-1].params) == [
        ("exact_resize", "false"),
        ("w", "0"),
        ("h", "0"),
        ("mask", "false"),
        ("return_base64", "false"),
        ("expand", "true"),
    ]


def test_progress_goes_up_to_all_of_it_both_ways(rembg: Rembg, data: Path) -> None:
    said = rembg()
    sent, got = said["up"][-1], said["down"][-1]
    assert sent[0] == sent[1] > (data / "packshots/mug.jpg").stat().st_size
    assert got[0] == got[1] == len(base64.b64decode(said["bytes"]))
    assert (sent[2], got[2]) == (1, 1)


def test_the_temporary_file_can_be_cleaned_up(rembg: Rembg) -> None:
    said = rembg(w=50)
    assert Path(said["path"]).name.startswith("rembg-")
    assert said["isGone"] is True


@pytest.mark.parametrize(
    ("call", "words"),
    [
        ({"key": "wrong"}, '❌ 401 {"error": "invalid api key", "status": 401}'),
        ({"w": 20000}, '❌ 400 {"error": "\'w\' must be at most 10000, got: 20000", "status": 400}'),
        ({"w": -1, "h": 0.5}, "Multiple validation errors"),
        ({"returnMask": True, "bg_color": "#fff"}, "Cannot use 'mask=true' together with 'bg_color'"),
        ({"image": "../sandbox/conftest.py"}, "File type '.py' is not supported"),
        ({"key": ""}, "API key not provided"),
    ],
    ids=str,
)
def test_its_errors_carry_our_words(rembg: Rembg, call: dict[str, Any], words: str) -> None:
    assert words in rembg(**call)["error"]


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("monthly", '❌ 429 {"error": "You\'ve reached your monthly limit. Consider purchasing more credits."'),
        ("html", "❌ 502 <html>"),
        ("reset_after", "❌ "),
        ("truncated", "Cannot read properties of undefined"),  # the package stumbles over what it wants to report
    ],
)
def test_faults_reach_it(rembg: Rembg, fault: str, words: str) -> None:
    broken = Sandbox(engine="flat", faults=[fault])
    with broken.serve() as elsewhere:
        assert words in rembg(url=elsewhere.base_url)["error"]
