"""Commands where the machine is not as usual: no rights, no UTF-8, a configuration named first."""

import io
import json
import os
import sys
from collections.abc import Callable, Iterator
from inspect import signature
from pathlib import Path
from typing import Any

import pytest

from rembg_watch.cli import main
from rembg_watch.cli.commands import COMMANDS
from rembg_watch.cli.console import json_text
from rembg_watch.sandbox import Sandbox
from tests.unprivileged import modes_count

Call = Callable[..., Any]
CONFIG = """
state_dir = "state"
[watch]
settle_s = 0.05
scan_interval_s = 0.1
[[folders]]
name = "küche"
input = "ein–gang"
output = "out"
"""


@pytest.fixture
def studio(call: Call, serve: Callable[..., Sandbox], desk: Path, make_picture: Callable[..., bytes]) -> Path:
    """A desk with odd names, after a run that delivered, failed and left something."""
    serve()
    (desk / "rembg-watch.toml").write_text(CONFIG, encoding="utf-8")
    (desk / "ein–gang").mkdir()
    (desk / "ein–gang" / "b\u202eü ✗.jpg").write_bytes(make_picture())
    (desk / "ein–gang" / os.fsdecode(b"caf\xe9.jpg")).write_bytes(make_picture(50, 50))
    (desk / "ein–gang" / "half·.jpg").write_bytes(make_picture(400, 300)[:900])
    call("once", "--quiet")
    return desk


# --- rights ---------------------------------------------------------------------------------------


@pytest.fixture
def closed(studio: Path) -> Iterator[Path]:
    """The same with a state folder that may not be looked into."""
    state = studio / "state"
    state.chmod(0)
    yield state
    state.chmod(0o700)


@pytest.mark.parametrize(
    "command",
    ["status", "status --json", "jobs", "jobs --unsettled", "retry", "retry --all", "accept *", "redo --missing"],
)
def test_a_state_folder_that_may_not_be_read_is_one_sentence(call: Call, closed: Path, command: str) -> None:
    with modes_count():
        ended = call(*command.split())
    assert ended.code == 78
    (line,) = ended.err.splitlines()
    assert f"may not read the state folder {closed}" in line
    assert "belong to root" in line or "belong to " in line
    assert not ended.out


def test_the_account_needs_no_state_folder(call: Call, closed: Path) -> None:
    with modes_count():
        assert call("credits").code == 0


@pytest.mark.skipif(os.geteuid() == 0, reason="access() lets root in")
def test_run_once_and_check_name_the_owner_and_no_second_ledger(call: Call, closed: Path) -> None:
    for command in ("check", "once", "run"):
        ended = call(command)
        told = (ended.out + ended.err).replace("\n", " ")
        assert ended.code == 78
        assert f"ledger and spool cannot be kept in {closed}" in told
        assert "give the folder to this user" in told
        assert "or set another state_dir" not in told


def test_init_says_where_it_may_not_write(call: Call, desk: Path) -> None:
    (desk / "closed").mkdir(mode=0)
    with modes_count():
        ended = call("init", "closed/x.toml", "--input", "a", "--output", "b")
        deeper = call("init", "closed/deeper/x.toml", "--input", "a", "--output", "b")
    (desk / "closed").chmod(0o700)
    assert (ended.code, ended.err.count("\n")) == (2, 1)
    assert "closed/x.toml cannot be written: permission denied" in ended.err
    assert deeper.code != 0
    assert deeper.err.count("\n") == 1
    assert "permission denied" in deeper.err


@pytest.mark.parametrize("path", ["smb://nas/share", r"\\nas\share", "$HOME/x", r"C:\x"])
@pytest.mark.parametrize("option", ["--input", "--output", "--key-file"])
def test_init_takes_no_path_of_elsewhere(call: Call, desk: Path, path: str, option: str) -> None:
    given = {"--input": "a", "--output": "b"} | {option: path}
    ended = call("init", *[part for pair in given.items() for part in pair])
    assert ended.code == 2
    assert option in ended.err
    assert not (desk / "rembg-watch.toml").exists()


def test_a_configuration_that_may_not_be_looked_at_is_named(call: Call, desk: Path, monkeypatch: Any) -> None:
    home = desk.parent / "home"
    (home / "rembg-watch").mkdir(mode=0)
    with modes_count():
        ended = call("status")
    (home / "rembg-watch").chmod(0o700)
    assert ended.code == 78
    assert f"{home}/rembg-watch/config.toml: cannot be read: permission denied" in ended.err


def test_a_folder_where_nothing_may_be_looked_up_hides_no_other_configuration(
    call: Call, studio: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = Path(os.environ["XDG_CONFIG_HOME"]) / "rembg-watch"
    there.mkdir()
    (studio / "rembg-watch.toml").rename(there / "config.toml")
    monkeypatch.setenv("REMBG_WATCH_STATE_DIR", str(studio / "state"))
    mode = studio.stat().st_mode
    studio.chmod(0o600)
    with modes_count():
        ended = call("jobs")
    studio.chmod(mode)
    assert "no configuration" not in ended.err


# --- a copy for all users -------------------------------------------------------------------------


def test_every_user_may_ask_for_the_status(
    call: Call, studio: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    runtime = tmp_path / "run"
    runtime.mkdir()
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(runtime))
    umask = os.umask(0o077)
    call("once", "--quiet")
    os.umask(umask)
    copy = runtime / "status.json"
    assert copy.stat().st_mode & 0o777 == 0o644
    assert os.environ["REMBG_WATCH_API__KEY"] not in copy.read_text()
    open_view = json.loads(call("status", "--json").out)
    (studio / "state").chmod(0)
    with modes_count():
        human, view = call("status"), json.loads(call("status", "--json").out)
    (studio / "state").chmod(0o700)
    assert human.code == 0
    assert "WAITING" in human.out
    assert view["jobs"] == open_view["jobs"]


def test_the_copy_of_another_ledger_is_nobodys_status(
    call: Call, closed: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path))
    (tmp_path / "status.json").write_text(json.dumps({"jobs": {}, "state_dir": "/var/lib/other"}))
    with modes_count():
        assert call("status").code == 78


# --- an output that is not UTF-8 ------------------------------------------------------------------

SAFE = [name for name in COMMANDS if name not in {"demo", "sandbox", "run", "web", "remove", "init"}]
AS_JSON = [f"{name} --json" for name in SAFE if "as_json" in signature(COMMANDS[name]).parameters]
CALLS = [*SAFE, *(f"{name} --help" for name in COMMANDS), *AS_JSON]
CALLS += [
    "jobs --unsettled",
    "once --dry-run",
    "chekc",
    "jobs ü–✗",
    "credits --history",
    "init ü.toml --input ä --output ö",
]
CALLS += ["remove half·.jpg", "check --offline", "retry ü–*", "run --config nö.toml", "status -c ü"]


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8", "utf-16"])
def test_no_command_fails_for_an_encoding(studio: Path, monkeypatch: pytest.MonkeyPatch, encoding: str) -> None:
    for command in CALLS:
        out, err = io.BytesIO(), io.BytesIO()
        with monkeypatch.context() as patched:
            patched.setattr(sys, "argv", ["rembg-watch", *command.split()])
            patched.setattr(sys, "stdout", io.TextIOWrapper(out, encoding=encoding))
            patched.setattr(sys, "stderr", io.TextIOWrapper(err, encoding=encoding))
            with pytest.raises(SystemExit) as ended:
                main()
            for stream in (sys.stdout, sys.stderr):
                stream.flush()
            told, complaint = out.getvalue().decode(encoding), err.getvalue().decode(encoding)
        assert ended.value.code in {None, 0, 1, 2, 75, 78}, command
        assert "Traceback" not in complaint, command
        if "--json" in command:
            json.loads(told)


def test_json_shows_no_character_that_turns_a_line_around() -> None:
    odd = "a\u202eb\u2066c\u200fd\u061ce\u2028f\x7fg\x9bh\ud800i\U000e0001j"
    text = json_text({odd: [odd, "ü–✗ 猫 😀"]})
    assert json.loads(text) == {odd: [odd, "ü–✗ 猫 😀"]}
    assert text.isprintable()
    assert "ü–✗ 猫 😀" in text
    assert json_text({"ü😀": 1}, encoding="latin-1") == '{"\\u00fc\\ud83d\\ude00": 1}'


# --- the configuration first ----------------------------------------------------------------------


@pytest.mark.parametrize("before", [["-c", "x.toml"], ["--config", "x.toml"], ["--config=x.toml"]], ids=" ".join)
@pytest.mark.parametrize(
    "command", ["status", "jobs", "retry", "accept *", "redo --missing", "check --offline", "once --dry-run", "credits"]
)
def test_the_configuration_may_be_named_before_the_command(
    call: Call, studio: Path, before: list[str], command: str
) -> None:
    (studio / "rembg-watch.toml").rename(studio / "x.toml")
    first = call(*before, *command.split())
    after = call(*command.split(), *before)
    assert first.code == after.code
    assert "no configuration" not in first.err
    assert command == "status" or first.out == after.out


def test_the_one_after_the_command_is_the_one_that_counts(call: Call, studio: Path) -> None:
    assert call("-c", "nowhere.toml", "jobs", "-c", "rembg-watch.toml").code == 0
    assert "nowhere.toml" in call("-c", "nowhere.toml", "jobs").err


def test_a_command_without_a_configuration_says_so(call: Call, studio: Path) -> None:
    ended = call("--config", "rembg-watch.toml", "sandbox")
    assert (ended.code, "takes no configuration" in ended.err) == (2, True)


# --- one ledger for each configuration ------------------------------------------------------------


@pytest.mark.parametrize("command", ["status", "jobs", "retry", "accept *", "redo --missing"])
def test_every_command_finds_the_ledger_that_all_configurations_shared(
    call: Call, studio: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(studio.parent))
    (studio / "rembg-watch.toml").write_text(CONFIG.replace('state_dir = "state"', ""), encoding="utf-8")
    none_yet = call(*command.split())
    (studio / "state").rename(studio.parent / "rembg-watch")
    ended = call(*command.split())
    assert ended.code == 0
    assert (ended.out, ended.err) != (none_yet.out, none_yet.err)
