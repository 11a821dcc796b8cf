"""``remove``: pictures straight through, by file and by pipe, and nothing that was paid for lost."""

import base64
import io
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from rembg_watch.api.params import Format, RemovalParams
from rembg_watch.api.upload import Progress
from rembg_watch.cli.remove_arguments import RawParameters, read_arguments
from rembg_watch.cli.transfer import Lines
from rembg_watch.errors import UsageError
from rembg_watch.sandbox import Sandbox

Call = Callable[..., Any]
Serve = Callable[..., Sandbox]
Make = Callable[..., bytes]

HTTP_CALLS = "/rmbg"
KEY = "sandbox-key"


def removals(sandbox: Sandbox) -> list[Any]:
    return [one for one in sandbox.requests if one.path == HTTP_CALLS]


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def opened(data: bytes) -> Image.Image:
    picture = Image.open(io.BytesIO(data))
    picture.load()
    return picture


# --- what was typed ------------------------------------------------------------------------------


def planned(images: list[str], output: str | None = None, **parameters: Any) -> list[str]:
    arguments = read_arguments(images, output, RawParameters(**parameters))
    return ["-" if one.target is None else str(one.target) for one in arguments.requests]


PLACES: list[tuple[str, list[str], str | None, str | None, list[str]]] = [
    ("beside the picture", ["a/x.jpg"], None, None, ["a/x.webp"]),
    ("beside it, and not itself", ["a/x.webp"], None, None, ["a/x-cutout.webp"]),
    ("an ending in capitals is the same", ["X.PNG"], None, "png", ["X-cutout.png"]),
    ("another ending of the same format", ["x.jpeg"], None, "jpeg", ["x.jpg"]),
    ("two that want one name", ["x.jpg", "x.png"], None, None, ["x.webp", "x.png.webp"]),
    ("three that want one name", ["x.jpg", "x.png", "x.bmp"], None, None, ["x.webp", "x.png.webp", "x.bmp.webp"]),
    ("names that differ in case", ["x.jpg", "X.png"], None, None, ["x.webp", "X.png.webp"]),
    ("a name that is another picture", ["x.jpg", "x.webp"], None, None, ["x.jpg.webp", "x-cutout.webp"]),
    (
        "a cut-out's name that is a picture", ["x.webp", "x-cutout.webp"], None, None,
        ["x-cutout-2.webp", "x-cutout-cutout.webp"],
    ),
    ("into a folder, from two", ["a/x.jpg", "b/x.jpg"], "out/", None, ["out/x.webp", "out/x.jpg.webp"]),
    (
        "from three folders into one", ["a/x.jpg", "b/x.jpg", "c/x.jpg"], "o/", None,
        ["o/x.webp", "o/x.jpg.webp", "o/x-cutout.webp"],
    ),
    ("into the very folder", ["a/x.png"], "a/", "png", ["a/x-cutout.png"]),
    ("one that is named twice", ["x.jpg", "./x.jpg", "y.jpg"], None, None, ["x.webp", "y.webp"]),
    ("to a file", ["x.jpg"], "y.png", None, ["y.png"]),
    ("to standard output", ["x.jpg"], "-", None, ["-"]),
    ("from a pipe to a pipe", ["-"], None, None, ["-"]),
    ("from a pipe to a file", ["-"], "y.jpg", None, ["y.jpg"]),
    ("from a pipe to a folder", ["-"], "out/", "png", ["out/stdin.png"]),
    ("without an ending", ["scan"], None, None, ["scan.webp"]),
    ("a hidden one", [".jpg"], None, None, [".jpg.webp"]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("images", "output", "format_", "targets"), [row[1:] for row in PLACES], ids=[row[0] for row in PLACES]
)
def test_each_cutout_has_a_place_of_its_own(
    images: list[str], output: str | None, format_: str | None, targets: list[str], desk: Path
) -> None:
    assert planned(images, output, format=format_) == targets


FORMATS = [
    ("y.png", None, Format.PNG),
    ("y.JPG", None, Format.JPEG),
    ("y.bmp", None, Format.BMP),
    ("y.jpeg", "jpg", Format.JPEG),
    ("y.tmp", "png", Format.PNG),
    (None, "PNG", Format.PNG),
    (None, None, Format.WEBP),
]


@pytest.mark.parametrize(("output", "format_", "expected"), FORMATS)
def test_the_ending_of_the_file_says_the_format_where_nothing_else_does(
    output: str | None, format_: str | None, expected: Format, desk: Path
) -> None:
    assert read_arguments(["x.jpg"], output, RawParameters(format=format_)).params.format is expected


def test_all_problems_are_told_at_once(desk: Path) -> None:
    parameters = RawParameters(format="gif", w="0", h="wide", angle="500", mask=True, bg_color="#12345")
    with pytest.raises(UsageError) as caught:
        read_arguments(["a.jpg", "b.jpg"], "one.png", parameters)
    problems = str(caught.value).splitlines()
    assert len(problems) == 7
    parameters = ["Invalid format 'gif'", "'w' must be at least 1", "'h' must be an integer, got: 'wide'"]
    parameters += ["'angle' must be between", "Invalid color format", "Cannot use 'mask=true'"]
    for words in [*parameters, "one file for 2"]:
        assert any(words in problem for problem in problems), words


@pytest.mark.parametrize(
    ("images", "output", "parameters", "words"),
    [
        (["-", "a.jpg"], None, RawParameters(), "is one picture"),
        (["a.jpg", "b.jpg"], "-", RawParameters(), "name a folder for several"),
        (["a.jpg"], "x.tiff", RawParameters(), "the API does not produce .tiff pictures"),
        (["a.jpg"], "x.png", RawParameters(format="webp"), "the extension says png, but --format says webp"),
        (["a.jpg"], "", RawParameters(), "is empty"),
        (["a.jpg"], "out", RawParameters(), "no folder of that name, and no file without an ending is written: out/ "),
        (["-"], "new/out", RawParameters(format="png"), "new/out/ makes a folder, new/out.webp is a file"),
        (["a.jpg"], ".hidden", RawParameters(), "no file without an ending"),
        (["a.jpg", "b.jpg"], "out", RawParameters(), "one file for 2 pictures: name a folder"),
        (["a.jpg"], None, RawParameters(w="1e3"), "'w' must be an integer, got: '1e3'"),
        (["a.jpg"], None, RawParameters(w="10001"), "'w' must be at most 10000"),
        (["a.jpg"], None, RawParameters(h="9" * 400), "'h' must be an integer"),
        (["a.jpg"], None, RawParameters(angle="nan"), "'angle' must be a number"),
        (["a.jpg"], None, RawParameters(angle="inf"), "'angle' must be between"),
        (["a.jpg"], None, RawParameters(angle="ninety"), "'angle' must be a number, got: 'ninety'"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_words(
    images: list[str], output: str | None, parameters: RawParameters, words: str, desk: Path
) -> None:
    with pytest.raises(UsageError, match=words.replace("(", r"\(")):
        read_arguments(images, output, parameters)


def test_every_parameter_is_read(desk: Path) -> None:
    parameters = RawParameters(w="+20", h="30", exact_resize=True, bg_color="#fff", angle="-90.5", expand=False)
    assert read_arguments(["a.jpg"], None, parameters).params == RemovalParams(
        w=20, h=30, exact_resize=True, bg_color="#fff", angle=-90.5, expand=False
    )


@pytest.fixture
def picture(desk: Path, make_picture: Make) -> Path:
    path = desk / "a.jpg"
    path.write_bytes(make_picture())
    return path


def test_lines_know_when_a_picture_has_left() -> None:
    with Lines().showing("a.jpg", 10) as transfer:
        transfer.on_upload(Progress(4, 10))
        assert not transfer.has_left
        transfer.on_upload(Progress(10, 10))
        assert transfer.has_left


# --- the command ----------------------------------------------------------------------------------


def test_one_picture_becomes_a_cutout_beside_it(call: Call, serve: Serve, desk: Path, picture: Path) -> None:
    sandbox = serve()
    before = picture.read_bytes()
    ended = call("remove", "a.jpg")
    assert ended.code == 0
    assert ended.out.startswith("a.jpg -> a.webp (60 x 40 px, ")
    assert re.fullmatch(r"a\.jpg: sending [0-9.]+ (bytes|kB)\n", ended.err)
    assert opened((desk / "a.webp").read_bytes()).size == (60, 40)
    assert picture.read_bytes() == before
    assert sandbox.billed == 1


def test_every_option_arrives_as_its_parameter(call: Call, serve: Serve, desk: Path, picture: Path) -> None:
    sandbox = serve()
    options = ["--format", "PNG", "--w", "30", "--h", "30", "--exact-resize", "--bg-color", "#abc", "--angle", "-90"]
    assert call("remove", "a.jpg", *options, "--no-expand").code == 0
    assert dict(removals(sandbox)[0].params) == {
        "format": "png", "w": "30", "h": "30", "exact_resize": "true", "bg_color": "#abc", "angle": "-90",
        "expand": "false",
    }  # fmt: skip
    assert opened((desk / "a.png").read_bytes()).size == (30, 30)
    assert call("remove", "a.jpg", "--mask", "-o", "mask.png").code == 0
    assert dict(removals(sandbox)[1].params) == {"mask": "true", "format": "png"}


def test_a_pipe_goes_in_and_out_and_holds_nothing_but_the_picture(
    call: Call, serve: Serve, desk: Path, make_picture: Make
) -> None:
    serve()
    ended = call("remove", "-", "-f", "png", stdin=make_picture())
    assert ended.code == 0
    assert opened(ended.raw).format == "PNG"
    assert ended.raw.endswith(b"IEND\xaeB`\x82")
    assert "standard input -> standard output (60 x 40 px" in ended.err
    assert files(desk) == set()


def test_base64_comes_in_and_goes_out(call: Call, serve: Serve, desk: Path, make_picture: Make) -> None:
    serve()
    text = base64.b64encode(make_picture())
    ended = call("remove", "-", "--from-base64", "--base64", stdin=b"data:image/jpeg;base64," + text)
    assert ended.code == 0
    assert opened(base64.b64decode(ended.raw, validate=False)).size == (60, 40)
    (desk / "a.txt").write_bytes(text)
    assert call("remove", "a.txt", "--from-base64", "--base64").code == 0
    assert opened(base64.b64decode((desk / "a.webp.b64").read_text())).format == "WEBP"


def test_a_large_answer_is_one_base64_text(call: Call, serve: Serve, desk: Path, make_picture: Make) -> None:
    serve()
    ended = call("remove", "-", "--base64", "-f", "bmp", "--w", "800", stdin=make_picture(900, 600))
    assert ended.raw.count(b"\n") == 1
    assert opened(base64.b64decode(ended.raw.strip(), validate=True)).size == (800, 533)


def test_bad_pictures_do_not_stop_the_good_ones_and_cost_nothing(
    call: Call, serve: Serve, desk: Path, make_picture: Make
) -> None:
    sandbox = serve()
    whole = make_picture(400, 300, quality=100)
    (desk / "1 cut.jpg").write_bytes(whole[: len(whole) // 2])
    (desk / "2 empty.jpg").write_bytes(b"")
    (desk / "3 text.jpg").write_bytes(b"hello")
    (desk / "4 folder.jpg").mkdir()
    (desk / "6 tiff.jpg").write_bytes(b"II*\0" + bytes(400))
    (desk / "7 loop.jpg").symlink_to("7 loop.jpg")
    (desk / "8 link ü.jpg").symlink_to("9.jpg")
    (desk / "9.jpg").write_bytes(whole)
    names = ["1 cut.jpg", "2 empty.jpg", "3 text.jpg", "4 folder.jpg", "5 none.jpg", "6 tiff.jpg", "7 loop.jpg"]
    ended = call("remove", *names, "8 link ü.jpg")
    assert ended.code == 1
    lines = ended.out.splitlines()
    assert [line.split(":")[0] for line in lines[:7]] == names
    assert all(": not sent: " in line for line in lines[:7])
    assert lines[7].startswith("8 link ü.jpg -> 8 link ü.webp (400 x 300 px")
    assert lines[8:] == ["1 of 8 pictures cut out, 7 failed"]
    assert sandbox.billed == 1
    assert len(removals(sandbox)) == 1


def test_a_name_that_is_not_utf_8_is_delivered_under_its_own_bytes(
    call: Call, serve: Serve, desk: Path, make_picture: Make
) -> None:
    serve()
    name = os.fsdecode(b"caf\xe9 \x1b[31m.jpg")
    (desk / name).write_bytes(make_picture())
    ended = call("remove", name)
    assert ended.code == 0
    assert os.fsdecode(b"caf\xe9 \x1b[31m.webp") in files(desk)
    assert "\x1b" not in ended.out


def test_what_is_there_is_overwritten_only_by_force(call: Call, serve: Serve, desk: Path, picture: Path) -> None:
    sandbox = serve()
    (desk / "a.webp").write_bytes(b"mine")
    ended = call("remove", "a.jpg")
    assert ended.code == 1
    assert "a.webp already exists" in ended.out
    assert (desk / "a.webp").read_bytes() == b"mine"
    assert not sandbox.requests
    assert call("remove", "a.jpg", "--force").code == 0
    assert opened((desk / "a.webp").read_bytes()).format == "WEBP"


def test_a_folder_is_made_where_it_ends_with_a_slash(call: Call, serve: Serve, desk: Path, picture: Path) -> None:
    serve()
    assert call("remove", "a.jpg", "-o", "new/deep/").code == 0
    assert (desk / "new" / "deep" / "a.webp").exists()
    ended = call("remove", "a.jpg", "-o", "a.jpg/")
    assert ended.code == 2
    assert "the folder cannot be created" in ended.err


def test_wrong_parameters_are_wrong_usage_and_nothing_is_sent(call: Call, serve: Serve, picture: Path) -> None:
    sandbox = serve()
    ended = call("remove", "a.jpg", "--w", "20000", "--angle", "500")
    assert ended.code == 2
    assert [line.removeprefix("rembg-watch: ") for line in ended.err.splitlines()] == [
        "'w' must be at most 10000, got: 20000",
        "'angle' must be between -360 and 360 degrees, got: 500.0",
    ]
    assert not sandbox.requests


@pytest.fixture
def strict(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """An API that takes no named colour, as its error table has it; the list grows by one with each request."""
    serve()
    asked: list[int] = []

    class Strict(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked.append(len(self.rfile.read(int(self.headers["content-length"]))))
            words = "Invalid color format 'red'. Use hex format: #RGB, #RGBA, #RRGGBB, or #RRGGBBAA"
            body = json.dumps({"error": words, "status": 400}).encode()
            self.send_response(400)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Strict) as server:
        monkeypatch.setenv("REMBG_WATCH_API__URL", f"http://127.0.0.1:{server.server_port}/rmbg")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield asked
        server.shutdown()
        thread.join()


def test_parameters_that_the_api_alone_refuses_stop_the_round(
    call: Call, strict: list[int], desk: Path, make_picture: Make
) -> None:
    for name in ("a.jpg", "b.jpg"):
        (desk / name).write_bytes(make_picture())
    ended = call("remove", "a.jpg", "b.jpg", "--bg-color", "red")
    assert ended.code == 2
    assert "a.jpg: failed: Invalid color format" in ended.out
    assert "b.jpg: not sent, for the same reason" in ended.out
    assert len(strict) == 1


ENDINGS = [
    ("monthly", "monthly", 75, "`rembg-watch credits` says when credits come back; nothing was charged", 1),
    ("daily", "daily", 75, "check the key with `rembg-watch credits`", 1),
    ("other words", "unknown_429", 75, "nothing was charged", 1),
    ("key refused", "bad_key", 77, "does not accept the key from REMBG_WATCH_API__KEY", 1),
    ("e-mail", "unverified", 75, "open the link in the vendor's e-mail", 1),
    ("redirect", "redirect", 1, "that is never followed", 1),
    ("server down for two", "status:status=503", 75, "nothing was charged", 2),
    ("a proxy in between", "html", 75, "it may have been charged", 2),
]


@pytest.mark.parametrize(
    ("fault", "code", "words", "calls"), [row[1:] for row in ENDINGS], ids=[row[0] for row in ENDINGS]
)
def test_what_every_other_picture_would_meet_ends_the_round(
    fault: str, code: int, words: str, calls: int, call: Call, serve: Serve, desk: Path, make_picture: Make
) -> None:
    sandbox = serve(faults=[fault])
    names = ["a.jpg", "b.jpg", "c.jpg"]
    for name in names:
        (desk / name).write_bytes(make_picture(1200, 900))
    ended = call("remove", *names)
    assert ended.code == code, ended.out
    assert words in ended.out
    assert "c.jpg: not sent, for the same reason" in ended.out
    assert len(removals(sandbox)) == calls
    assert files(desk) == set(names)


def test_answers_of_an_unexpected_size_are_delivered_with_a_warning_and_the_third_in_a_row_is_the_last(
    call: Call, serve: Serve, desk: Path, make_picture: Make
) -> None:
    sandbox = serve(faults=["wrong_size:billed=true"])
    names = ["a.jpg", "b.jpg", "c.jpg", "d.jpg"]
    for name in names:
        (desk / name).write_bytes(make_picture(1200, 900))
    ended = call("remove", *names)
    assert ended.code == 1, ended.out
    assert ended.out.count("check it: the answer is 460 x 345, expected 1200 x 900; such previews come") == 3
    assert "3 answers in a row are not of the size that was expected: look at them first" in ended.out
    assert "d.jpg: not sent, for the same reason" in ended.out
    assert len(removals(sandbox)) == 3
    assert files(desk) == {*names, "a.webp", "b.webp", "c.webp"}


def test_a_server_that_fails_for_one_picture_alone_does_not_stop_the_others(
    call: Call, serve: Serve, desk: Path, make_picture: Make
) -> None:
    serve(faults=["status:file=bad*,status=500"])
    for name in ("bad1.jpg", "good.jpg", "bad2.jpg", "good2.jpg"):
        (desk / name).write_bytes(make_picture())
    ended = call("remove", "bad1.jpg", "good.jpg", "bad2.jpg", "good2.jpg")
    assert ended.code == 75
    assert "2 of 4 pictures cut out, 2 failed" in ended.out


def test_credits_that_end_in_the_middle_end_the_round_there(
    call: Call, serve: Serve, desk: Path, make_picture: Make
) -> None:
    sandbox = serve(credits=2)
    names = [f"{n}.jpg" for n in range(5)]
    for name in names:
        (desk / name).write_bytes(make_picture())
    ended = call("remove", *names)
    assert ended.code == 75
    assert "2 of 5 pictures cut out, 1 failed, 2 not sent" in ended.out
    assert len(removals(sandbox)) == 3


def test_no_way_to_the_server_is_tried_a_few_times_and_may_pass(
    call: Call, serve: Serve, picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve()
    monkeypatch.setenv("REMBG_WATCH_API__URL", "http://127.0.0.1:1/rmbg")
    ended = call("remove", "a.jpg")
    assert ended.code == 75
    assert ended.err.count("trying again in") == 2
    assert "nothing was charged" in ended.out


def test_an_answer_in_doubt_is_said_to_be(call: Call, serve: Serve, picture: Path) -> None:
    serve(faults=["reset_after"])
    ended = call("remove", "a.jpg")
    assert ended.code == 1
    assert "it may have been charged: look at `rembg-watch credits`" in ended.out


def test_a_cutout_with_nothing_transparent_is_delivered_with_a_warning(
    call: Call, serve: Serve, desk: Path, picture: Path
) -> None:
    serve(engine="fast")
    Image.new("RGB", (50, 50), (10, 200, 30)).save(desk / "plain.png")
    ended = call("remove", "plain.png")
    assert ended.code == 0
    assert "check it: " in ended.out


def test_a_turned_photograph_is_sent_upright(call: Call, serve: Serve, desk: Path) -> None:
    serve(is_upright=False)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (60, 40), (200, 30, 30)).save(desk / "turned.jpg", exif=exif)
    assert call("remove", "turned.jpg").code == 0
    assert opened((desk / "turned.webp").read_bytes()).size == (40, 60)
    assert call("remove", "turned.jpg", "--no-upright", "-o", "lying.webp").code == 0
    assert opened((desk / "lying.webp").read_bytes()).size == (60, 40)


def test_a_wrong_key_is_named_by_its_place_and_not_shown(
    call: Call, serve: Serve, picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve()
    monkeypatch.setenv("REMBG_WATCH_API__KEY", "not-the-right-key")
    ended = call("remove", "a.jpg")
    assert ended.code == 77
    assert "not-the-right-key" not in ended.out + ended.err


# --- as a process of its own ----------------------------------------------------------------------


def process(*arguments: str, **how: Any) -> "subprocess.CompletedProcess[bytes]":
    command = [sys.executable, "-m", "rembg_watch", *arguments]
    return subprocess.run(command, check=False, timeout=60, **how)


@pytest.mark.e2e
def test_a_full_device_and_a_reader_that_left_lose_no_answer(
    serve: Serve, picture: Path, spare: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve()
    monkeypatch.setenv("TMPDIR", str(spare))
    with Path("/dev/full").open("wb") as full:
        ended = process("remove", "a.jpg", "-o", "-", stdout=full, stderr=subprocess.PIPE)
    assert ended.returncode == 1
    assert b"no space left on device; the answer was paid for and is kept in " in ended.stderr
    reader, writer = os.pipe()
    os.close(reader)
    ended = process("remove", "a.jpg", "-o", "-", stdout=writer, stderr=subprocess.PIPE)
    os.close(writer)
    assert ended.returncode == 1
    assert b"broken pipe; the answer was paid for" in ended.stderr
    assert b"Exception ignored" not in ended.stderr
    assert all(opened(path.read_bytes()).size == (60, 40) for path in spare.iterdir())
    assert len(list(spare.iterdir())) == 2


@pytest.mark.e2e
def test_closed_streams_and_terminals_are_told_in_words(serve: Serve, picture: Path) -> None:
    sandbox = serve()
    ours, theirs = os.openpty()
    typed = process("remove", "-", "-o", "x.webp", stdin=theirs, stderr=subprocess.PIPE)
    shown = process("remove", "a.jpg", "-o", "-", stdout=theirs, stderr=subprocess.PIPE)
    closed = subprocess.run(
        ["sh", "-c", f"exec {sys.executable} -m rembg_watch remove a.jpg -o - >&-"],
        check=False, stderr=subprocess.PIPE, timeout=60,
    )  # fmt: skip
    os.close(ours)
    os.close(theirs)
    assert [typed.returncode, shown.returncode, closed.returncode] == [2, 2, 2]
    assert b"pipe one in" in typed.stderr
    assert b"would go to the terminal" in shown.stderr
    assert b"standard output is closed" in closed.stderr
    assert not sandbox.requests


@pytest.mark.e2e
def test_on_a_terminal_a_bar_fills_and_goes(serve: Serve, picture: Path) -> None:
    serve()
    ours, theirs = os.openpty()
    ended = process("remove", "a.jpg", stdout=theirs, stderr=theirs, env=os.environ | {"TERM": "xterm-256color"})
    os.close(theirs)
    shown = b""
    try:
        while part := os.read(ours, 65536):
            shown += part
    except OSError:  # the other end is closed and all is read
        pass
    os.close(ours)
    text = shown.decode()
    assert ended.returncode == 0
    assert "sending" in text or "waiting" in text
    assert "━" in text
    assert "a.jpg -> a.webp (60 x 40 px" in text.rsplit("\x1b[2K", 1)[1], "the line stands where the bar was"
