"""What goes wrong before or beside the pictures: one clear sentence, the right exit code, nothing lost."""

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.studio import PROGRAM, Said, Studio, clean, environment, is_made_from, picture, wait_until


def refused(said: Said, *words: str) -> str:
    """Return the sentence of a refusal about the configuration; there is exactly one."""
    assert said.code == 78, said.text
    assert said.out == ""
    lines = said.err.splitlines()
    assert len(lines) == 1, said.err
    assert lines[0].startswith("rembg-watch: ")
    for word in words:
        assert word in lines[0]
    return lines[0]


# --- the configuration --------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["run", "once", "status", "jobs", "check"])
def test_without_a_configuration_every_command_says_where_it_looked(tmp_path: Path, command: str) -> None:
    done = subprocess.run(
        [*PROGRAM, command],
        capture_output=True,
        cwd=tmp_path,
        env=environment({"HOME": str(tmp_path)}),
        timeout=120,
        check=False,
    )
    text = clean(done.stderr.decode())
    if Path("/etc/rembg-watch/config.toml").exists():
        pytest.skip("this machine has a configuration of its own")
    assert done.returncode == 78
    assert "there is no configuration" in text + done.stdout.decode()
    assert "init" in text + done.stdout.decode()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        pytest.param(b"[api\nurl = 3", "line 1", id="no TOML"),
        pytest.param(b"\xff\xfe\x00", "UTF-8", id="no text"),
        pytest.param(b"", "folder", id="nothing"),
        pytest.param(b"[watch]\nsettle_s = 'soon'\n", "settle_s", id="a word for a number"),
    ],
)
def test_a_configuration_that_cannot_be_read_is_refused_in_words(studio: Studio, content: bytes, words: str) -> None:
    studio.config.write_bytes(content)
    said = studio.cli("run")
    assert said.code == 78
    assert words in said.err
    assert studio.calls == []


def test_a_missing_configuration_that_was_named_is_told_by_its_name(studio: Studio) -> None:
    refused(studio.cli("run", config=studio.root / "tpyo.toml"), "tpyo.toml", "no such file")


def test_a_mistyped_setting_is_told_with_its_line_and_the_nearest_known_one(studio: Studio) -> None:
    studio.config.write_text(studio.config.read_text() + "\n[pool]\nworker = 3\n")
    refused(studio.cli("run"), "config.toml:", "worker", "workers")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        pytest.param(
            {"mask": True, "bg_color": "#ffffff"}, "Cannot use 'mask=true' together with 'bg_color'", id="both"
        ),
        pytest.param({"angle": 500}, "'angle' must be between -360 and 360", id="angle 500"),
        pytest.param({"w": 0}, "'w' must be at least 1", id="w 0"),
        pytest.param({"w": 20000}, "'w' must be at most 10000", id="w 20000"),
        pytest.param({"h": -3}, "'h' must be at least 1", id="h -3"),
        pytest.param({"bg_color": "#12345"}, "Invalid color format", id="a colour of five digits"),
        pytest.param({"bg_color": "whitish"}, "Invalid color format", id="a colour that nobody knows"),
        pytest.param({"format": "gif"}, "Invalid format", id="gif"),
    ],
)
def test_an_option_that_the_api_refuses_is_refused_by_check_before_any_call(
    studio: Studio, options: dict[str, Any], words: str
) -> None:
    studio.drop("a.jpg", 1)
    studio.configure(options=options)
    said = studio.cli("check", "--offline")
    assert said.code == 78, said.text
    assert words in said.out
    assert "config.toml:" in said.out, "it names the line"
    assert studio.calls == []


def test_run_and_once_refuse_such_an_option_too(studio: Studio) -> None:
    studio.drop("a.jpg", 1)
    studio.configure(options={"angle": 500})
    for command in ("run", "once"):
        refused(studio.cli(command), "'angle'")
    assert studio.calls == []


def test_check_tells_all_problems_at_once(studio: Studio) -> None:
    studio.configure(
        options={"angle": 500, "w": 0}, folder={"input": str(studio.root / "nowhere")}, pool={"workers": 0}
    )
    said = studio.cli("check", "--offline")
    assert said.code == 78
    for word in ("angle", "'w'", "nowhere", "workers"):
        assert word in said.out


# --- folders ------------------------------------------------------------------------------------


def test_a_missing_input_folder_is_told_by_once_and_waited_for_by_run(studio: Studio) -> None:
    away = studio.root / "share"
    studio.configure(folder={"input": str(away)})
    said = studio.cli("once")
    assert said.code == 75
    assert f"{away} is not there: it does not exist" in said.err
    refused(studio.cli("once", "--dry-run"), str(away), "does not exist")
    with studio.running() as daemon:
        daemon.wait_until(lambda: [f["state"] for f in studio.reported()["folders"]] == ["offline"], "it says offline")
        studio.drop("a.jpg", 1)
        studio.input.rename(away)
        daemon.wait_until(lambda: "a.png" in studio.outputs(), "it goes on by itself")
        assert daemon.stop() == 0


def test_an_unreadable_input_folder_is_told_by_its_name_and_waited_for(studio: Studio) -> None:
    studio.input.chmod(0)
    before = ("setpriv", "--bounding-set", "-dac_override,-dac_read_search") if os.geteuid() == 0 else ()
    if before and shutil.which("setpriv") is None:
        pytest.skip("root reads everything here")
    try:
        once = studio.cli("once", before=before)
        said = studio.cli("check", "--offline", before=before)
    finally:
        studio.input.chmod(0o755)
    assert once.code == 75
    assert f"{studio.input} is not there: permission denied" in once.err
    assert said.code == 78
    assert "permission denied" in said.out


@pytest.mark.kernel
def test_an_output_that_is_read_only_at_the_start_is_told_and_waited_for_while_others_have_their_service(
    studio: Studio, mount_small: Callable[[str, str], Path]
) -> None:
    disk = mount_small("output disk", "8m")
    (studio.root / "other").mkdir()
    folders = [
        {"name": "shoot", "input": str(studio.input), "output": str(studio.output)},
        {"name": "sealed", "input": str(studio.root / "other"), "output": str(disk)},
    ]
    studio.configure(folders=folders)
    studio.drop("a.jpg", 1)
    (studio.root / "other/b.jpg").write_bytes(picture(2))
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    assert studio.cli("check", "--offline").code == 78
    with studio.running() as daemon:
        daemon.wait_until(lambda: "a.webp" in studio.outputs(), "the other folder has its service")
        daemon.says(f"sealed: nothing can be written to {disk} (Read-only file system)")
        assert len(studio.calls) == 1
        subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
        daemon.wait_until(lambda: (disk / "b.webp").exists(), "it goes on by itself", within_s=60)
        daemon.says("can be written again")
        assert daemon.stop() == 0
    assert studio.sandbox.billed == 2


def test_a_file_in_the_place_of_a_folder_is_told(studio: Studio) -> None:
    (studio.root / "file").write_text("x")
    studio.configure(folder={"input": str(studio.root / "file")})
    refused(studio.cli("run"), "is not a folder")
    studio.configure(folder={"output": str(studio.root / "file")})
    refused(studio.cli("run"), "is not a folder")


def linked(studio: Studio) -> str:
    (studio.root / "link").symlink_to(studio.input, target_is_directory=True)
    return str(studio.root / "link" / "cut-outs")


PLACES: dict[str, Callable[[Studio], dict[str, str]]] = {
    "output inside input": lambda s: {"output": str(s.input / "cut-outs")},
    "input inside output": lambda s: {"input": str(s.output / "new")},
    "output is input": lambda s: {"output": str(s.input)},
    "output inside input by a link": lambda s: {"output": linked(s)},
    "output inside input by dots": lambda s: {"output": str(s.root / "out" / ".." / "in" / "x")},
    "done inside input": lambda s: {"after": "move", "done": str(s.input / "done")},
    "failed inside input": lambda s: {"failed": str(s.input / "failed")},
}


@pytest.mark.parametrize("case", PLACES)
def test_folders_that_would_feed_on_themselves_are_refused(studio: Studio, case: str) -> None:
    studio.drop("a.jpg", 1)
    (studio.output / "new").mkdir()
    studio.configure(folder=PLACES[case](studio))
    sentence = refused(studio.cli("run"), "config.toml:")
    assert str(studio.root) in sentence
    assert studio.calls == []


def test_two_folders_that_overlap_are_refused(studio: Studio) -> None:
    (studio.input / "sub").mkdir()
    folders = [
        {"name": "all", "input": str(studio.input), "output": str(studio.root / "o1")},
        {"name": "sub", "input": str(studio.input / "sub"), "output": str(studio.root / "o2")},
    ]
    studio.configure(folders=folders)
    refused(studio.cli("run"), '"all"', '"sub"')


# --- the key ------------------------------------------------------------------------------------


def test_without_a_key_it_says_where_to_put_one(studio: Studio) -> None:
    studio.configure(api={"key_file": None})
    refused(studio.cli("once"), "no API key", "key_file")
    studio.configure()
    studio.key_file.write_text("\n")
    refused(studio.cli("once"), "key_file")
    studio.key_file.unlink()
    refused(studio.cli("once"), "key_file")
    assert studio.calls == []
    studio.drop("a.jpg", 1)
    studio.configure(api={"key_file": None})
    said = studio.cli("once", env={"REMBG_WATCH_API__KEY": studio.sandbox.key})
    assert said.code == 0, said.text


def test_once_with_a_wrong_key_ends_with_77_and_goes_on_as_soon_as_it_is_right(studio: Studio) -> None:
    for number in range(5):
        studio.drop(f"{number}.jpg", number)
    studio.write_key("not-the-right-one")
    said = studio.cli("once")
    assert said.code == 77, said.text
    assert "does not accept the key" in said.text
    assert "not-the-right-one" not in said.text
    assert studio.calls == [], "the free reading of the account told it"
    assert studio.cli("check").code == 77
    studio.write_key(studio.sandbox.key)
    said = studio.cli("once")
    assert said.code == 0, said.text
    assert len(studio.outputs()) == len(studio.calls) == 5


def test_run_with_a_wrong_key_holds_and_goes_on_after_a_reload(studio: Studio) -> None:
    for number in range(5):
        studio.drop(f"{number}.jpg", number)
    studio.write_key("not-the-right-one")
    with studio.running() as daemon:
        daemon.wait_until(lambda: not studio.reported()["gate"]["open"], "the gate shuts")
        seen = studio.status()
        assert seen["gate"]["reason"] == "key_refused"
        assert seen["gate"]["until"] is not None
        assert seen["jobs"]["queued"] == 5
        assert "Put the right key" in studio.cli("status").out
        studio.write_key(studio.sandbox.key)
        daemon.process.send_signal(signal.SIGHUP)
        daemon.wait_until(lambda: len(studio.outputs()) == 5, "all of them")
        assert daemon.stop() == 0
    assert "not-the-right-one" not in daemon.log
    assert {call.status for call in studio.calls} == {200}


def test_a_key_that_pictures_alone_refuse_is_held_and_tried_again_after_a_restart(studio: Studio) -> None:
    studio.sandbox.add_fault("bad_key")  # the account can be read all the same
    for number in range(9):
        studio.drop(f"{number}.jpg", number)
    said = studio.cli("once")
    assert said.code == 77, said.text
    assert len(studio.calls) <= 10
    studio.sandbox.clear_faults()
    assert studio.cli("retry", "--all").code == 0
    assert studio.cli("once").code == 0
    assert len(studio.outputs()) == 9


def test_a_reload_with_a_wrong_configuration_changes_nothing(studio: Studio) -> None:
    with studio.running() as daemon:
        studio.drop("a.jpg", 1)
        daemon.wait_until(lambda: "a.png" in studio.outputs(), "the first")
        studio.configure(options={"angle": 500})
        daemon.process.send_signal(signal.SIGHUP)
        daemon.says("'angle'")
        studio.drop("b.jpg", 2)
        daemon.wait_until(lambda: "b.png" in studio.outputs(), "it goes on as before")
        studio.configure(options={"w": 32, "format": "webp"})
        daemon.process.send_signal(signal.SIGHUP)
        daemon.wait_until(lambda: daemon.log.count("eload") >= 2, "it has reloaded")
        studio.drop("c.jpg", 3)
        daemon.wait_until(lambda: "c.webp" in studio.outputs(), "with the new options")
    assert len(studio.calls) == 3


# --- ports and locks ----------------------------------------------------------------------------


def test_a_port_in_use_is_told_by_the_sandbox(studio: Studio) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = subprocess.run(
            [*PROGRAM, "sandbox", "--port", str(port)],
            capture_output=True,
            timeout=120,
            env=environment({}),
            check=False,
        )
    assert done.returncode == 2
    said = clean(done.stderr.decode()).splitlines()
    assert len(said) == 1
    assert said[0].startswith(f"rembg-watch: Cannot listen on 127.0.0.1:{port}: Address already in use.")


def test_the_sandbox_command_serves_until_sigterm(studio: Studio) -> None:
    process = subprocess.Popen(
        [*PROGRAM, "sandbox", "--port", "0", "--engine", "flat", "--key", studio.sandbox.key, "--credits", "3"],
        stdout=subprocess.PIPE,
        env=environment({}),
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline().decode()
        assert line.startswith("listening on http://127.0.0.1:")
        url = line.split()[-1]
        studio.configure(api={"url": f"{url}/rmbg", "usage_url": f"{url}/api/membership-usage"})
        for number in range(4):
            studio.drop(f"{number}.jpg", number)
        assert studio.cli("once").code == 75
        assert len(studio.outputs()) == 3
        process.terminate()
        assert process.wait(120) == 0
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_a_second_run_says_who_holds_the_state_directory_or_the_folder(studio: Studio) -> None:
    with studio.running() as daemon:
        daemon.wait_until((studio.state / "status.json").exists, "it runs")
        for command in ("run", "once"):
            said = studio.cli(command)
            assert said.code == 75, said.text
            assert str(daemon.process.pid) in said.err
            assert str(studio.state) in said.err
            assert len(said.err.splitlines()) == 1
        other = studio.configure("other.toml", state_dir=str(studio.root / "other state"))
        said = studio.cli("run", config=other)
        assert said.code == 75, said.text
        assert str(daemon.process.pid) in said.err
        assert str(studio.input) in said.err
        studio.drop("a.jpg", 1)
        daemon.wait_until(lambda: "a.png" in studio.outputs(), "the first one works on")
    assert len(studio.calls) == 1


# --- full disks ---------------------------------------------------------------------------------


@pytest.fixture
def mount_small(tmp_path: Path) -> Iterator[Callable[[str, str], Path]]:
    mounted: list[Path] = []

    def mount(name: str, size: str) -> Path:
        place = tmp_path / name
        place.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"cannot mount here: {done.stderr.strip()}")
        mounted.append(place)
        return place

    yield mount
    for place in reversed(mounted):
        subprocess.run(["umount", "-l", str(place)], check=False, capture_output=True)


def grow(place: Path, size: str) -> None:
    subprocess.run(["mount", "-o", f"remount,size={size}", str(place)], check=True)


@pytest.mark.kernel
def test_a_full_output_disk_keeps_paid_answers_and_delivers_them_when_there_is_room(
    studio: Studio, mount_small: Callable[[str, str], Path]
) -> None:
    disk = mount_small("output disk", "64k")
    studio.configure(folder={"output": str(disk)})
    sources = {f"{number}.jpg": studio.drop(f"{number}.jpg", number) for number in range(30)}
    with studio.running() as daemon:
        daemon.wait_until(lambda: studio.reported()["jobs"]["received"] > 0, "paid answers wait")
        daemon.says("No space left")
        paid = len(studio.calls)
        assert len(list(disk.glob("*.png"))) < 30
        grow(disk, "8m")
        daemon.wait_until(lambda: len(list(disk.glob("*.png"))) == 30, "all of them")
        assert daemon.stop() == 0
    assert paid <= 30
    assert len(studio.calls) == studio.sandbox.billed == 30
    assert all(is_made_from(disk / f"{name[:-4]}.png", content) for name, content in sources.items())


@pytest.mark.kernel
def test_a_full_state_disk_pays_for_nothing_that_it_could_not_keep(
    studio: Studio, mount_small: Callable[[str, str], Path]
) -> None:
    disk = mount_small("state disk", "2m")
    studio.configure(state_dir=str(disk / "state"))
    for number in range(10):
        studio.drop(f"{number}.jpg", number)
    with studio.running() as daemon:
        daemon.says("paused: the disk is full")
        assert studio.calls == []
        grow(disk, "200m")
        daemon.wait_until(lambda: len(studio.outputs()) == 10, "all of them")
        assert daemon.stop() == 0
    assert len(studio.calls) == 10


@pytest.mark.kernel
def test_a_state_disk_without_a_byte_left_is_one_sentence(
    studio: Studio, mount_small: Callable[[str, str], Path]
) -> None:
    disk = mount_small("state disk", "64k")
    (disk / "ballast").write_bytes(b"\0" * 64 * 1024)
    studio.drop("a.jpg", 1)
    studio.configure(state_dir=str(disk / "state"))
    for command in ("once", "run"):
        said = studio.cli(command)
        assert said.code in (75, 78), said.text
        assert "No space left" in said.err or "full" in said.err
        assert len(said.err.splitlines()) == 1, said.err
    assert studio.calls == []


@pytest.mark.kernel
def test_a_state_disk_that_fills_up_while_it_works_loses_nothing(
    studio: Studio, mount_small: Callable[[str, str], Path]
) -> None:
    disk = mount_small("state disk", "120m")
    studio.configure(state_dir=str(disk / "state"))
    studio.sandbox.latency_s = 0.2
    sources = {f"{number}.jpg": studio.drop(f"{number}.jpg", number) for number in range(40)}
    with studio.running() as daemon:
        daemon.wait_until(lambda: len(studio.outputs()) >= 5, "some cut-outs")
        with (disk / "ballast").open("wb") as ballast:
            fill(ballast.fileno())
        calls = len(studio.calls)
        daemon.wait_until(
            lambda: "full" in daemon.log or "No space" in daemon.log or "space" in daemon.log, "it says so"
        )
        assert len(studio.calls) <= calls + 10
        (disk / "ballast").unlink()
        daemon.wait_until(lambda: len(studio.outputs()) == 40, "all of them")
        assert daemon.stop() == 0
    assert all(is_made_from(studio.output / f"{name[:-4]}.png", content) for name, content in sources.items())
    assert studio.billed_twice <= 8


def fill(fd: int) -> None:
    for size in (1 << 20, 1 << 12, 1):
        try:
            while True:
                os.write(fd, b"\0" * size)
        except OSError:
            continue
    wait_until(lambda: True, "it is full")
