"""The main job, from a dropped picture to a cut-out, with the daemon as a user starts it."""

import io
import time
from collections.abc import Callable
from pathlib import Path

from PIL import Image, ImageDraw

from tests.e2e.studio import Studio, is_made_from, picture

PLACES = ("", "Frühling 2026", "Frühling 2026/Größe L (neu)", "shoot 7/Ärmel & Kragen/detail", "ü/ß/日本")
KINDS = ("jpg", "png", "webp", "bmp", "JPEG")


def name_of(number: int) -> str:
    place = PLACES[number % len(PLACES)]
    return f"{place}/Bild {number:03} – Öse.{KINDS[number % len(KINDS)]}".lstrip("/")


def drop_all(studio: Studio, numbers: range) -> dict[str, bytes]:
    return {name_of(number): studio.drop(name_of(number), number) for number in numbers}


def mirrored(name: str) -> str:
    return name.rpartition(".")[0] + ".png"


def test_300_pictures_dropped_before_and_while_it_runs_are_paid_once_and_mirrored(studio: Studio) -> None:
    sources = drop_all(studio, range(120))
    with studio.running() as daemon:
        daemon.wait_until(lambda: len(studio.outputs()) >= 20, "the first cut-outs")
        sources |= drop_all(studio, range(120, 299))
        late = studio.input / name_of(299)
        content = picture(299, "jpg")
        with late.open("wb") as slow:  # copied slowly: half of it stands for longer than it takes to settle
            slow.write(content[:300])
            slow.flush()
            daemon.wait_until(lambda: len(studio.outputs()) >= 299, "299 cut-outs")
            seen_at = time.monotonic()
            daemon.wait_until(lambda: time.monotonic() - seen_at > 1.0, "a pause in the copy")
            slow.write(content[300:])
        sources[name_of(299)] = content
        daemon.wait_until(lambda: len(studio.outputs()) == 300, "300 cut-outs")
        assert daemon.stop() == 0
    assert len(studio.calls) == 300
    assert studio.sandbox.billed == 300
    assert studio.billed_twice == 0
    outputs = studio.outputs()
    assert set(outputs) == {mirrored(name) for name in sources}
    wrong = [name for name, content in sources.items() if not is_made_from(outputs[mirrored(name)], content)]
    assert wrong == []
    assert studio.left_over() == []
    assert all((studio.input / name).read_bytes() == content for name, content in sources.items())

    with studio.running() as again:  # everything is known: only what is new is sent
        studio.drop("later.jpg", 4000)
        again.wait_until(lambda: "later.png" in studio.outputs(), "the one new cut-out")
        assert again.stop() == 0
    assert len(studio.calls) == 301


def test_what_is_no_picture_causes_no_call_and_is_listed_with_a_reason(studio: Studio) -> None:
    studio.put("Thumbs.db", b"\xd0\xcf\x11\xe0" * 100)
    studio.put(".DS_Store", b"\0\0\0\1Bud1" * 100)
    studio.put("._IMG_1.jpg", picture(1))
    studio.put("upload.jpg.part", picture(2))
    studio.put("notes.txt", b"call the client")
    studio.put("@eaDir/IMG_1.jpg", picture(3))
    studio.put("letter.jpg", b"Dear client, this is a text renamed to .jpg. " * 40)
    studio.put("empty.jpg", b"")
    studio.put("half.png", picture(4, "png")[:-60])
    with studio.running() as daemon:
        studio.drop("real.jpg", 5)
        daemon.wait_until(lambda: "real.png" in studio.outputs(), "the real picture")

        def listed() -> set[str]:
            failed = {job["source"] for job in studio.jobs("--state", "failed") if job["reason"]}
            return failed | {one["source"] for one in studio.jobs("--unsettled") if one["reason"]}

        daemon.wait_until(lambda: listed() == {"letter.jpg", "empty.jpg", "half.png"}, "the three are listed")
        assert daemon.stop() == 0
    assert [call.filename for call in studio.calls] == ["real.jpg"]
    assert set(studio.outputs()) == {"real.png"}


def test_sigterm_waits_for_the_calls_in_flight_and_delivers_them(studio: Studio) -> None:
    studio.sandbox.latency_s = 1.5
    for number in range(30):
        studio.drop(f"{number}.jpg", number)
    with studio.running() as daemon:
        daemon.wait_until(lambda: studio.sandbox.in_flight >= 3, "three calls in flight")
        assert daemon.stop() == 0
        sent = studio.sandbox.billed
    assert 3 <= sent < 30
    assert len(studio.outputs()) == sent
    assert "stopped" in daemon.log
    counts = studio.status()["jobs"]
    assert counts["done"] == sent
    assert counts["queued"] == 30 - sent
    assert counts["in_doubt"] == counts["sending"] == counts["received"] == 0
    studio.sandbox.latency_s = 0.0
    assert studio.cli("once").code == 0
    assert len(studio.outputs()) == 30
    assert studio.sandbox.billed == len(studio.calls) == 30


def test_the_object_is_cut_out_of_its_own_picture(open_studio: Callable[..., Studio]) -> None:
    studio = open_studio(engine="fast")
    colours = {"red": (200, 30, 30), "green": (20, 140, 60), "blue": (30, 50, 190)}
    for name, colour in colours.items():
        image = Image.new("RGB", (320, 240), (228, 228, 230))
        ImageDraw.Draw(image).ellipse((80, 40, 240, 200), fill=colour)
        target = io.BytesIO()
        image.save(target, "PNG")
        studio.put(f"{name}.png", target.getvalue())
    said = studio.cli("once")
    assert said.code == 0, said.text
    for name, colour in colours.items():
        with Image.open(studio.output / f"{name}.png") as cutout:
            assert cutout.size == (320, 240)
            assert cutout.getpixel((2, 2))[3] == 0
            assert cutout.getpixel((160, 120)) == (*colour, 255)


def test_every_option_of_a_folder_reaches_the_api_and_its_cutouts(studio: Studio) -> None:
    folders = []
    wishes = {
        "web": {"format": "webp", "w": 32},
        "print": {"format": "jpeg", "bg_color": "#ffffff", "w": 40, "h": 40, "exact_resize": True},
        "mask": {"format": "png", "mask": True},
        "turned": {"format": "bmp", "angle": 90, "expand": True},
    }
    for name, options in wishes.items():
        (studio.root / f"{name} in").mkdir()
        (studio.root / f"{name} in" / "a.png").write_bytes(picture(7, "png"))
        paths = {"input": str(studio.root / f"{name} in"), "output": str(studio.root / f"{name} out")}
        folders.append({"name": name, **paths, "options": options})
    config = studio.configure(folders=folders)
    said = studio.cli("once", config=config)
    assert said.code == 0, said.text

    def opened(path: str) -> tuple[str | None, tuple[int, int]]:
        with Image.open(studio.root / path) as image:
            return image.format, image.size

    assert opened("web out/a.webp") == ("WEBP", (32, 24))
    assert opened("print out/a.jpg") == ("JPEG", (40, 40))
    assert opened("mask out/a.png") == ("PNG", (64, 48))
    assert opened("turned out/a.bmp") == ("BMP", (48, 64))
    assert len(studio.calls) == 4  # the same bytes, asked for in four ways
    assert Path(studio.root / "web out").is_dir()
