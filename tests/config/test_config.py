"""Reading the configuration: everything wrong at once, each with its place, and never the key."""

import json
import os
import tomllib
from collections.abc import Callable, Sequence
from datetime import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from rembg_watch import config
from rembg_watch.config import Finding, FindingKind, Severity
from rembg_watch.config.keys import clean_key
from rembg_watch.config.origins import Origins, lines
from rembg_watch.config.sentences import known
from rembg_watch.config.settings import FolderSettings, Settings, default_state_dir
from rembg_watch.config.telling import MetricsSettings
from rembg_watch.errors import ConfigError

Write = Callable[..., Path]
Environ = dict[str, str]

KEY = "k-1f9e5b7a-secret"
FOLDER = """
[[folders]]
name = "catalogue"
input = "in"
output = "out"
"""


def ignores_modes() -> bool:
    """Say whether this process reads and writes whatever the modes say, as root usually does."""
    status = Path("/proc/self/status").read_text()
    return bool(int(status.partition("CapEff:")[2].split()[0], 16) & 0b110)


needs_modes = pytest.mark.skipif(ignores_modes(), reason="modes mean nothing to root")


@pytest.fixture
def environ(tmp_path: Path) -> Environ:
    return {"HOME": str(tmp_path), "REMBG_WATCH_API__KEY": KEY}


@pytest.fixture
def write(tmp_path: Path) -> Write:
    (tmp_path / "in").mkdir()

    def write(text: str, *, name: str = "config.toml") -> Path:
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return write


def findings_in(path: Path, environ: Environ, **more: str) -> list[str]:
    return [str(found) for found in config.read(path, environ={**environ, **more}).findings]


def errors(path: Path, environ: Environ, **more: str) -> list[Finding]:
    return config.read(path, environ={**environ, **more}).errors()


def only(found: Sequence[Finding]) -> Finding:
    assert len(found) == 1, [str(one) for one in found]
    return found[0]


class TestReading:
    def test_a_small_file_gives_every_other_setting_its_default(
        self, write: Write, environ: Environ, tmp_path: Path
    ) -> None:
        settings = config.load(write(FOLDER), environ=environ)
        assert settings.api.url == "https://api.rembg.com/rmbg"
        assert (settings.pool.workers, settings.pool.batch_size) == (8, 50)
        assert (settings.credits.per_image, settings.credits.reserve) == (Decimal(1), Decimal(0))
        assert (settings.watch.mode, settings.watch.settle_s, settings.watch.scan_interval_s) == ("auto", 3, 30)
        assert (settings.retry.max_attempts, settings.retry.in_doubt) == (5, "retry")
        folder = settings.folders[0]
        assert (folder.name, folder.input, folder.output) == ("catalogue", tmp_path / "in", tmp_path / "out")
        assert (folder.include, folder.after, folder.upright) == ((), "keep", True)

    def test_every_setting_of_the_design_is_taken(self, write: Write, environ: Environ, tmp_path: Path) -> None:
        path = write(f"""
            state_dir = "{tmp_path}/state"
            [api]
            url = "http://127.0.0.1:8000/rmbg"
            usage_url = "http://[::1]:8000/api/membership-usage"
            timeout_s = 12.5
            [pool]
            workers = 3
            batch_size = 7
            [credits]
            per_image = 0.5
            reserve = 10
            daily_budget = 100
            recheck_s = 60
            [watch]
            mode = "poll"
            settle_s = 0.2
            scan_interval_s = 0.5
            [retry]
            max_attempts = 2
            in_doubt = "hold"
            [[folders]]
            name = "catalogue"
            input = "in"
            output = "out"
            include = ["**/*.jpg"]
            exclude = ["**/_rejects/**"]
            after = "move"
            done = "done"
            failed = "failed"
            [folders.options]
            format = "PNG"
            w = 2000
            h = 2000
            exact_resize = true
            mask = false
            bg_color = "#ffffff"
            angle = -12.5
            expand = false
        """)
        settings = config.load(path, environ=environ)
        assert settings.credits.per_image == Decimal("0.5")
        assert settings.folders[0].done == tmp_path / "done"
        params = settings.folders[0].options.params()
        assert (params.format, params.w, params.angle, params.expand) == ("png", 2000, -12.5, False)

    def test_relative_paths_start_at_the_files_own_folder_wherever_the_program_started(
        self, write: Write, environ: Environ, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = write('state_dir = "../state"\n' + FOLDER)
        monkeypatch.chdir("/")
        settings = config.load(path, environ=environ)
        assert settings.folders[0].input == tmp_path / "in"
        assert settings.state_dir == tmp_path / ".." / "state"

    def test_every_path_of_a_folder_may_be_relative(self, write: Write, environ: Environ, tmp_path: Path) -> None:
        names = [name for name, field in FolderSettings.model_fields.items() if "Path" in f"{field.annotation}"]
        names.remove("input")
        lines = "".join(f'{name} = "{name}"\n' for name in names if name != "output")
        (tmp_path / "review_dir").mkdir()
        folder = config.load(write(FOLDER + 'review = "hold"\nafter = "move"\n' + lines), environ=environ).folders[0]
        assert {"done", "failed", "review_dir"} <= set(names)
        assert {getattr(folder, name).parent for name in names} == {tmp_path}

    @pytest.mark.parametrize("word", ["source", "srgb", "adobe-rgb", "review"])
    def test_a_word_is_not_taken_for_a_path(self, write: Write, environ: Environ, word: str) -> None:
        name = "colour" if word == "source" else "assume"
        table = f'[deliverables.x]\ncolour = "{word}"\n' if name == "colour" else ""
        settings = config.load(write(FOLDER + ("" if table else f'assume = "{word}"\n') + table), environ=environ)
        assert (settings.deliverables["x"].colour if table else settings.folders[0].assume) == word

    def test_a_byte_order_mark_from_a_windows_editor_does_no_harm(self, write: Write, environ: Environ) -> None:
        assert config.load(write("\ufeff" + FOLDER), environ=environ).folders

    def test_the_environment_alone_is_enough(self, tmp_path: Path, environ: Environ) -> None:
        (tmp_path / "in").mkdir()
        folders = [{"name": "a", "input": str(tmp_path / "in"), "output": str(tmp_path / "out"), "include": ["*.png"]}]
        environ |= {"REMBG_WATCH_FOLDERS": json.dumps(folders), "REMBG_WATCH_POOL__WORKERS": "2"}
        settings = config.load(None, environ=environ)
        assert (settings.pool.workers, settings.folders[0].include) == (2, ("*.png",))

    def test_the_environment_changes_one_setting_of_one_folder(
        self, write: Write, environ: Environ, tmp_path: Path
    ) -> None:
        second = FOLDER.replace("catalogue", "other").replace('"in"', '"in2"').replace('"out"', '"out2"')
        (tmp_path / "in2").mkdir()
        environ |= {"REMBG_WATCH_FOLDERS__1__PRIORITY": "5", "REMBG_WATCH_FOLDERS__1__OPTIONS__FORMAT": "png"}
        first, other = config.load(write(FOLDER + second), environ=environ).folders
        assert (first.priority, other.priority, other.options.format) == (0, 5, "png")

    def test_settings_made_by_hand_read_no_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("REMBG_WATCH_POOL__WORKERS", "99")
        assert Settings(state_dir=Path("/x")).pool.workers == 8

    def test_a_configuration_of_the_system_has_the_systems_state_folder(self) -> None:
        environ = {"HOME": "/root", "XDG_STATE_HOME": "/s"}
        places = {
            "/etc/rembg-watch/config.toml": "/var/lib/rembg-watch",
            "/etc/rembg-watch/studio-b.toml": "/var/lib/rembg-watch-studio-b",
            "/etc/elsewhere/config.toml": "/s/rembg-watch",
        }
        assert {path: str(default_state_dir(environ, Path(path))) for path in places} == places

    @pytest.mark.parametrize(
        ("environ", "expected"),
        [
            pytest.param(
                {"STATE_DIRECTORY": "/var/lib/a:/var/lib/b", "HOME": "/h"}, "/var/lib/a", id="systemd's first"
            ),
            pytest.param({"XDG_STATE_HOME": "/s", "HOME": "/h"}, "/s/rembg-watch", id="the state folder"),
            pytest.param(
                {"XDG_STATE_HOME": "s", "HOME": "/h"}, "/h/.local/state/rembg-watch", id="a relative one is void"
            ),
            pytest.param(
                {"STATE_DIRECTORY": "", "HOME": "/h"}, "/h/.local/state/rembg-watch", id="an empty one is void"
            ),
        ],
    )
    def test_ledger_and_spool_have_a_place_when_none_is_named(self, environ: Environ, expected: str) -> None:
        assert default_state_dir(environ) == Path(expected)


class TestFinding:
    def test_a_named_file_is_taken(self, write: Write) -> None:
        path = write("")
        assert config.find(path, environ={}) == path

    def test_a_named_file_that_is_missing_is_one_sentence(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match=r"x\.toml: there is no such file; `rembg-watch init` writes one"):
            config.find(tmp_path / "x.toml", environ={})

    def test_the_current_folder_comes_before_the_users(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        user = tmp_path / "xdg" / "rembg-watch" / "config.toml"
        user.parent.mkdir(parents=True)
        user.touch()
        assert config.find(environ={"XDG_CONFIG_HOME": str(tmp_path / "xdg")}) == user
        assert config.find(environ={"HOME": str(tmp_path)} | {"XDG_CONFIG_HOME": str(tmp_path / "xdg")}) == user
        (tmp_path / "rembg-watch.toml").touch()
        assert config.find(environ={"XDG_CONFIG_HOME": str(tmp_path / "xdg")}) == Path("rembg-watch.toml")

    def test_none_at_all_names_every_place_and_the_way_out(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        with pytest.raises(ConfigError) as caught:
            config.find(environ={"HOME": str(tmp_path)})
        for part in ("rembg-watch.toml", f"{tmp_path}/.config/rembg-watch/config.toml", "/etc/rembg-watch/config.toml"):
            assert part in str(caught.value)
        assert "`rembg-watch init`" in str(caught.value)
        assert len(caught.value.problems) == 1


class TestProblems:
    def test_all_of_them_are_told_at_once_each_with_its_line(
        self, write: Write, environ: Environ, tmp_path: Path
    ) -> None:
        path = write(
            """\
[pool]
workers = 0
batchsize = 3
[wtach]
settle_s = 1
[watch]
mode = "sometimes"
per_image = 2
[[folders]]
name = "a"
input = "missing"
output = "out"
after = "move"
[folders.options]
angle = 500
"""
        )
        with pytest.raises(ConfigError) as caught:
            config.load(path, environ=environ)
        assert sorted(caught.value.problems) == sorted(
            [
                f"{path}:2 [pool] workers: must be at least 1, not 0",
                f"{path}:3 [pool] batchsize: is not a known setting; did you mean batch_size?",
                f"{path}:4 wtach: is not a known setting; did you mean watch?",
                f"{path}:7 [watch] mode: must be one of 'auto', 'events' or 'poll', not \"sometimes\"",
                f"{path}:8 [watch] per_image: is not a known setting; did you mean [credits] per_image?",
                (
                    f"{path}:11 [[folders]] input ('a'): the input folder {tmp_path}/missing does not exist; "
                    "create it, mount its share, or correct the path"
                ),
                (
                    f"{path}:13 [[folders]] after ('a'): after = \"move\" needs to know where to; "
                    "set done to a folder for the originals"
                ),
                (
                    f"{path}:15 [folders.options] angle ('a'): "
                    "'angle' must be between -360 and 360 degrees, got: 500.0; "
                    "correct it: the API would refuse every picture of this folder"
                ),
            ]
        )

    @pytest.mark.parametrize(
        ("line", "expected"),
        [
            pytest.param("pool = 3", "must be a table", id="a table that is a number"),
            pytest.param("[[pool]]", "must be a table", id="a table that is a list"),
            pytest.param("[pool]\nworkers = true", "must be a number, not true or false", id="a switch for a number"),
            pytest.param("[pool]\nworkers = 1.5", "must be a whole number", id="half a worker"),
            pytest.param("[pool]\nworkers = 257", "must be at most 256, not 257", id="too many workers"),
            pytest.param("[pool]\nworkers = 99999999999999999999999", "must be", id="an absurd number"),
            pytest.param("[pool]\nbatch_size = -1", "must be at least 1, not -1", id="a negative batch"),
            pytest.param("[watch]\nsettle_s = inf", "must be a finite number", id="endless settling"),
            pytest.param("[watch]\nsettle_s = nan", "must be a finite number", id="no number at all"),
            pytest.param("[watch]\nsettle_s = 0", "must be more than 0", id="no settling"),
            pytest.param("[credits]\nreserve = -1", "must be at least 0", id="a negative reserve"),
            pytest.param("[credits]\nreserve = nan", "finite", id="a reserve that is no number"),
            pytest.param("[credits]\nreserve = true", "must be a number", id="a reserve that is a switch"),
            pytest.param("[retry]\nin_doubt = 'maybe'", "'retry' or 'hold'", id="an unknown word"),
            pytest.param("state_dir = ''", "must name a path", id="an empty path"),
            pytest.param('state_dir = "a\\u0000b"', "NUL", id="a NUL in a path"),
            pytest.param("state_dir = 5", "must be a path in quotes", id="a number for a path"),
            pytest.param(
                "state_dir = '~nobody-has-this-name/x'", "home folder that is not known", id="a stranger's home"
            ),
            pytest.param("[api]\nurl = 'http://api.rembg.com/rmbg'", "unencrypted", id="the key in clear"),
            pytest.param(
                "[api]\nurl = 'http://127.0.0.1.evil.example/'", "unencrypted", id="a host that looks like here"
            ),
            pytest.param("[api]\nurl = 'http://[::ffff:8.8.8.8]/'", "unencrypted", id="a far address in long form"),
            pytest.param("[api]\nurl = 'ftp://api.rembg.com/'", "https://", id="another scheme"),
            pytest.param("[api]\nurl = 'api.rembg.com/rmbg'", "https://", id="no scheme"),
            pytest.param("[api]\nurl = 'https://'", "names a host", id="no host"),
            pytest.param("[api]\nurl = 'https://h:99999/'", "is not a URL", id="an impossible port"),
            pytest.param("[api]\nurl = 'https://[::1'", "is not a URL", id="an open bracket"),
            pytest.param(
                "[api]\nusage_url = 'https://me:word@h/'", "must not carry a name or password", id="a password"
            ),
            pytest.param("_env_file = '/etc/passwd'", "is not a known setting", id="a word of the settings library"),
            pytest.param("workers = 3", "did you mean [pool] workers?", id="a key without its table"),
            pytest.param(
                "[api]\nstate_dir = '/x'", "did you mean state_dir, above the first [table]?", id="a key below"
            ),
            pytest.param("[api]\nxyzzy = 1", "known here: key_file, timeout_s, url, usage_url", id="no idea"),
            pytest.param("[log]\nlevel = 'loud'", "'warning' or 'error'", id="an unknown level"),
        ],
    )
    def test_one_wrong_setting_is_one_sentence(self, write: Write, environ: Environ, line: str, expected: str) -> None:
        found = only(errors(write(line + "\n" + FOLDER), environ))
        assert expected in str(found)
        assert (found.severity, found.kind) == (Severity.ERROR, FindingKind.SETTING)

    @pytest.mark.parametrize(
        ("line", "expected"),
        [
            pytest.param('name = ""', "must be a printable name", id="no name"),
            pytest.param('name = "a\\nb"', "must be a printable name", id="a name of two lines"),
            pytest.param(f'name = "{"x" * 65}"', "at most 64 characters", id="a long name"),
            pytest.param("name = 5", "must be text in quotes, not 5", id="a number for a name"),
            pytest.param(
                'name = "a"\ninclude = "*.jpg"', 'must be a list, like ["one", "two"]', id="a pattern for a list"
            ),
            pytest.param('name = "a"\ninclude = [""]', "must not be empty", id="an empty pattern"),
            pytest.param('name = "a"\nexclude = ["/x/**"]', "relative to the input folder", id="an absolute pattern"),
            pytest.param('name = "a"\nexclude = [1, "/x", ""]', "text in quotes, not 1", id="three wrong patterns"),
            pytest.param('name = "a"\nafter = "burn"', "'keep', 'move' or 'delete'", id="an unknown end"),
            pytest.param('name = "a"\noptions = 3', "must be a table", id="options that are a number"),
            pytest.param('name = "a"\noptions = { w = "x" }', "options] w ('a'): must be a whole number", id="inline"),
            pytest.param('name = "a"\nwatch = true', "is not a known setting", id="an unknown key"),
        ],
    )
    def test_a_wrong_folder_is_told_with_its_name(
        self, write: Write, environ: Environ, line: str, expected: str
    ) -> None:
        text = f'[[folders]]\n{line}\ninput = "in"\noutput = "out"\n'
        assert any(expected in str(found) for found in errors(write(text), environ))

    @pytest.mark.parametrize(
        ("options", "expected"),
        [
            ("w = 0", "'w' must be at least 1, got: 0"),
            ("w = 20000", "'w' must be at most 10000, got: 20000"),
            ("h = -1", "'h' must be at least 1, got: -1"),
            ("angle = 500", "'angle' must be between -360 and 360 degrees"),
            ('bg_color = "#12345"', "Invalid color format"),
            ('format = "gif"', "Invalid format 'gif'"),
            ('mask = true\nbg_color = "#fff"', "Cannot use 'mask=true' together with 'bg_color'"),
            ("widht = 5", "is not a known setting"),
        ],
    )
    def test_options_that_the_api_refuses_are_refused_before_any_call(
        self, write: Write, environ: Environ, options: str, expected: str
    ) -> None:
        found = only(errors(write(f"{FOLDER}[folders.options]\n{options}\n"), environ))
        assert expected in found.what
        assert "[folders.options]" in found.where
        assert found.kind is FindingKind.SETTING

    def test_a_missing_input_or_output_is_told_and_the_other_folders_are_still_checked(
        self, write: Write, environ: Environ
    ) -> None:
        text = '[[folders]]\nname = "a"\n[[folders]]\nname = "b"\ninput = "gone"\noutput = "out"\n'
        assert [found.where.split(" ", 1)[1] for found in errors(write(text), environ)] == [
            "[[folders]] input ('a')",
            "[[folders]] output ('a')",
            "[[folders]] input ('b')",
        ]

    def test_a_folder_that_cannot_be_understood_is_not_also_called_missing(
        self, write: Write, environ: Environ
    ) -> None:
        assert [found.kind for found in errors(write('[[folders]]\nname = "a"\n'), environ)] == [
            FindingKind.SETTING
        ] * 2

    def test_single_brackets_around_folders_are_explained(self, write: Write, environ: Environ) -> None:
        found = only(errors(write(FOLDER.replace("[[folders]]", "[folders]")), environ))
        assert "write [[folders]], in two brackets" in found.todo

    @pytest.mark.parametrize("value", ["3", "[3]", "'x'", "[[]]"])
    def test_folders_that_are_no_tables_are_told(self, write: Write, environ: Environ, value: str) -> None:
        assert any("must be" in found.what for found in errors(write(f"folders = {value}"), environ))

    def test_two_folders_of_one_name_are_told_at_the_second(
        self, write: Write, environ: Environ, tmp_path: Path
    ) -> None:
        (tmp_path / "in2").mkdir()
        second = FOLDER.replace('"in"', '"in2"').replace('"out"', '"out2"')
        found = only(errors(write(FOLDER + second), environ))
        assert 'the name "catalogue" is taken' in found.what
        assert "config.toml:8" in found.where

    def test_no_folder_at_all_is_a_kind_of_its_own(self, write: Write, environ: Environ) -> None:
        assert only(errors(write(""), environ)).kind is FindingKind.NO_FOLDERS

    def test_a_done_folder_without_move_is_a_warning(self, write: Write, environ: Environ) -> None:
        path = write(FOLDER + 'done = "done"\n')
        assert config.load(path, environ=environ).folders[0].done
        assert only(config.read(path, environ=environ).findings).severity is Severity.WARNING

    def test_a_forced_size_without_a_size_is_a_warning(self, write: Write, environ: Environ) -> None:
        reading = config.read(write(f"{FOLDER}[folders.options]\nexact_resize = true\nw = 5\n"), environ=environ)
        assert only(reading.findings).severity is Severity.WARNING


class TestOverlaps:
    def both(self, second: str) -> str:
        return f'{FOLDER}[[folders]]\nname = "other"\n{second}\n'

    @pytest.mark.parametrize(
        ("text", "place", "why"),
        [
            pytest.param(
                'input = "in"\noutput = "in/out"', "output ('x')", "cutouts would be taken", id="output in input"
            ),
            pytest.param(
                'input = "in/deep"\noutput = "in"', "output ('x')", "cutouts would be taken", id="input in output"
            ),
            pytest.param('input = "in"\noutput = "in"', "output ('x')", "are the same directory", id="one for both"),
            pytest.param('input = "in"\noutput = "in/../in/o"', "output ('x')", "is inside", id="by way of .."),
            pytest.param('input = "in"\noutput = "link/o"', "output ('x')", "is inside", id="by a link"),
            pytest.param('input = "link"\noutput = "in/o"', "output ('x')", "is inside", id="input by a link"),
            pytest.param(
                'input = "in"\noutput = "out"\nfailed = "in/f"', "failed ('x')", "refused", id="failed in input"
            ),
            pytest.param(
                'input = "in"\noutput = "out"\nafter = "move"\ndone = "in/d"',
                "done ('x')",
                "originals",
                id="done in input",
            ),
        ],
    )
    def test_places_of_one_folder_that_get_in_each_others_way_are_refused(
        self, write: Write, environ: Environ, tmp_path: Path, text: str, place: str, why: str
    ) -> None:
        (tmp_path / "in" / "deep").mkdir()
        (tmp_path / "link").symlink_to("in")
        found = only(errors(write(f'[[folders]]\nname = "x"\n{text}\n'), environ))
        assert why in found.what
        assert found.where.endswith(f"[[folders]] {place}")
        assert found.todo

    def test_two_folders_on_one_input_are_refused_however_it_is_spelled(
        self, write: Write, environ: Environ, tmp_path: Path
    ) -> None:
        (tmp_path / "link").symlink_to("in")
        found = only(errors(write(self.both('input = "link"\noutput = "out2"')), environ))
        assert "paid for twice" in found.what
        assert found.where.endswith("[[folders]] input ('other')")

    def test_a_state_folder_in_an_input_is_refused(self, write: Write, environ: Environ, tmp_path: Path) -> None:
        found = only(errors(write(f'state_dir = "in/state"\n{FOLDER}'), environ))
        assert "paid answers kept there" in found.what

    def test_neighbours_with_like_names_are_fine(self, write: Write, environ: Environ, tmp_path: Path) -> None:
        (tmp_path / "in2").mkdir()
        assert not errors(write(self.both('input = "in2"\noutput = "out2"')), environ)

    def test_a_circle_of_links_is_told_and_not_followed_for_ever(
        self, write: Write, environ: Environ, tmp_path: Path
    ) -> None:
        (tmp_path / "a").symlink_to("b")
        (tmp_path / "b").symlink_to("a")
        assert errors(write(FOLDER.replace('"in"', '"a"')), environ)


class TestFiles:
    @pytest.mark.parametrize(
        ("content", "expected"),
        [
            pytest.param(b"[pool\nworkers = 1", "is not TOML", id="an open bracket"),
            pytest.param(b"a = 1\na = 2\n", "line 2", id="a key twice"),
            pytest.param(b"input = /srv/x", "line 1", id="no quotes"),
            pytest.param(b"name = '\xff\xfe'", "is not UTF-8 text (byte 8)", id="Latin-1"),
            pytest.param(b"\x00", "is not TOML", id="a NUL"),
        ],
    )
    def test_a_file_that_is_not_toml_is_one_sentence_with_its_line(
        self, tmp_path: Path, environ: Environ, content: bytes, expected: str
    ) -> None:
        path = tmp_path / "config.toml"
        path.write_bytes(content)
        found = only(errors(path, environ))
        assert expected in found.what
        assert (found.kind, found.where) == (FindingKind.FILE, str(path))

    def test_a_folder_in_place_of_the_file_is_one_sentence(self, tmp_path: Path, environ: Environ) -> None:
        assert "is a folder, and no configuration file" in only(errors(tmp_path, environ)).what

    @needs_modes
    def test_a_file_that_must_not_be_read_is_one_sentence(self, write: Write, environ: Environ) -> None:
        path = write(FOLDER)
        path.chmod(0)
        assert "permission denied" in only(errors(path, environ)).what

    def test_an_input_that_is_a_file_is_told(self, write: Write, environ: Environ, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        found = only(errors(write(FOLDER.replace('"in"', '"file"')), environ))
        assert (found.kind, "it is not a folder" in found.what) == (FindingKind.PLACE, True)

    def test_an_input_under_a_file_is_away(self, write: Write, environ: Environ, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        assert only(errors(write(FOLDER.replace('"in"', '"file/in"')), environ)).kind is FindingKind.AWAY

    @pytest.mark.parametrize("place", ["output", "failed"])
    def test_a_target_that_is_a_file_is_told(self, write: Write, environ: Environ, tmp_path: Path, place: str) -> None:
        (tmp_path / "file").touch()
        text = FOLDER.replace('"out"', '"file"') if place == "output" else FOLDER + 'failed = "file"\n'
        found = only(errors(write(text), environ))
        assert f"the {place} folder" in found.what
        assert found.kind is FindingKind.PLACE

    def test_a_target_that_does_not_exist_yet_is_no_problem(self, write: Write, environ: Environ) -> None:
        assert not errors(write(FOLDER.replace('"out"', '"deep/er/out"')), environ)

    def test_a_state_folder_that_cannot_be_made_is_told(self, write: Write, environ: Environ, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        found = only(errors(write(f'state_dir = "{tmp_path}/file/state"\n{FOLDER}'), environ))
        assert "ledger and spool cannot be kept" in found.what

    def test_a_share_that_is_offline_does_not_keep_run_from_starting(self, write: Write, environ: Environ) -> None:
        path = write(FOLDER.replace('"in"', '"offline/in"'))
        with pytest.raises(ConfigError):
            config.load(path, environ=environ)
        assert config.load(path, environ=environ, tolerate=config.FOR_RUN).folders[0].name == "catalogue"

    @needs_modes
    def test_an_output_that_takes_nothing_does_not_keep_run_from_starting(
        self, write: Write, environ: Environ, tmp_path: Path
    ) -> None:
        (tmp_path / "sealed").mkdir(mode=0o500)
        path = write(FOLDER.replace('"out"', '"sealed"'))
        assert only(errors(path, environ)).kind is FindingKind.ACCESS
        assert config.load(path, environ=environ, tolerate=config.FOR_RUN).folders[0].name == "catalogue"

    @pytest.mark.parametrize("text", [FOLDER.replace('"out"', '"file"'), f'state_dir = "file/state"\n{FOLDER}'])
    def test_what_no_disk_will_mend_keeps_run_from_starting(
        self, write: Write, environ: Environ, tmp_path: Path, text: str
    ) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(ConfigError):
            config.load(write(text), environ=environ, tolerate=config.FOR_RUN)

    def test_status_needs_neither_key_nor_folders(self, write: Write, environ: Environ) -> None:
        del environ["REMBG_WATCH_API__KEY"]
        assert config.load(write(""), environ=environ, tolerate=config.FOR_LOOKING).folders == ()

    def test_a_wrong_setting_is_tolerated_by_nobody(self, write: Write, environ: Environ) -> None:
        with pytest.raises(ConfigError):
            config.load(write("[pool]\nworkers = 0"), environ=environ, tolerate=config.FOR_LOOKING)


class TestEnvironment:
    @pytest.mark.parametrize(
        ("name", "value", "expected"),
        [
            ("REMBG_WATCH_POOL__WORKERS", "many", "REMBG_WATCH_POOL__WORKERS: must be a whole number"),
            ("REMBG_WATCH_POOL__WORKRES", "2", "did you mean workers?"),
            ("REMBG_WATCH_POOLS__WORKERS", "2", "did you mean REMBG_WATCH_POOL__WORKERS?"),
            ("REMBG_WATCH_API_KEY", KEY, "did you mean REMBG_WATCH_API__KEY?"),
            ("REMBG_WATCH_KEY", KEY, "did you mean REMBG_WATCH_API__KEY?"),
            ("REMBG_WATCH_TOKEN", KEY, "did you mean REMBG_WATCH_API__KEY?"),
            ("REMBG_WATCH_API__TOKEN", KEY, "did you mean REMBG_WATCH_API__KEY, for the API key?"),
            ("REMBG_WATCH_API__API_KEY", KEY, "did you mean REMBG_WATCH_API__KEY, for the API key?"),
            ("REMBG_WATCH_STATEDIR", "/x", "did you mean REMBG_WATCH_STATE_DIR?"),
            ("REMBG_WATCH_WORKERS", "2", "did you mean REMBG_WATCH_POOL__WORKERS?"),
            ("REMBG_WATCH_FOLDERS", "[{", "REMBG_WATCH_FOLDERS: must be JSON here"),
            ("REMBG_WATCH_POOL", "5", "must be a table"),
            ("REMBG_WATCH_FOLDERS__0__AFTER", "burn", "REMBG_WATCH_FOLDERS__0__AFTER: must be one of"),
            ("REMBG_WATCH_", "x", "is not a setting"),
            ("REMBG_WATCH_WEATHER", "x", "unset it, or correct its name"),
            ("REMBG_WATCH_FOLDERS__INPUT", "/x", "the first one is REMBG_WATCH_FOLDERS__0"),
        ],
    )
    def test_a_wrong_variable_is_told_by_its_name(
        self, write: Write, environ: Environ, name: str, value: str, expected: str
    ) -> None:
        text = str(only(errors(write(FOLDER), environ, **{name: value})))
        assert name in text
        assert expected.removeprefix(f"{name}: ") in text
        assert KEY not in text

    def test_a_variable_wins_over_the_file(self, write: Write, environ: Environ) -> None:
        path = write("[pool]\nworkers = 3\nbatch_size = 4\n" + FOLDER)
        pool = config.load(path, environ={**environ, "REMBG_WATCH_POOL__WORKERS": "5"}).pool
        assert (pool.workers, pool.batch_size) == (5, 4)

    def test_the_variable_that_names_the_file_is_no_setting(self, write: Write, environ: Environ) -> None:
        assert not findings_in(write(FOLDER), environ, REMBG_WATCH_CONFIG="/etc/x")


class TestKey:
    @pytest.fixture
    def key_file(self, tmp_path: Path) -> Path:
        path = tmp_path / "api_key"
        path.write_text("from-file\n")
        return path

    @pytest.fixture
    def credentials(self, tmp_path: Path) -> Path:
        directory = tmp_path / "credentials"
        directory.mkdir()
        (directory / "api_key").write_text("  from-credential\r\n")
        return directory

    def key(self, reading: config.Reading) -> str | None:
        return reading.settings.api.key and reading.settings.api.key.get_secret_value()

    def test_credential_wins_over_variable_and_variable_over_file(
        self, write: Write, key_file: Path, credentials: Path
    ) -> None:
        path = write(f'[api]\nkey_file = "api_key"\n{FOLDER}')
        environ = {"HOME": "/nowhere", "XDG_STATE_HOME": str(key_file.parent)}
        reading = config.read(path, environ=environ)
        assert (self.key(reading), reading.key_source) == ("from-file", f"key_file {key_file}")
        environ["REMBG_WATCH_API__KEY"] = " from-variable\n"
        reading = config.read(path, environ=environ)
        assert (self.key(reading), reading.key_source) == ("from-variable", "REMBG_WATCH_API__KEY")
        environ["CREDENTIALS_DIRECTORY"] = str(credentials)
        reading = config.read(path, environ=environ)
        assert (self.key(reading), reading.key_source) == ("from-credential", "credential api_key")

    def test_a_stronger_key_makes_the_weaker_ones_no_matter(
        self, write: Write, credentials: Path, environ: Environ
    ) -> None:
        path = write(f'[api]\nkey_file = "missing"\n{FOLDER}')
        environ |= {"REMBG_WATCH_API__KEY": "", "CREDENTIALS_DIRECTORY": str(credentials)}
        assert not config.read(path, environ=environ).findings

    def test_other_credentials_alone_are_no_key(self, write: Write, tmp_path: Path, environ: Environ) -> None:
        (tmp_path / "creds").mkdir()
        reading = config.read(write(FOLDER), environ=environ | {"CREDENTIALS_DIRECTORY": str(tmp_path / "creds")})
        assert reading.key_source == "REMBG_WATCH_API__KEY"

    def test_no_key_names_every_place_for_one(self, write: Write, environ: Environ) -> None:
        del environ["REMBG_WATCH_API__KEY"]
        found = only(errors(write(FOLDER), environ))
        assert found.kind is FindingKind.KEY
        assert found.what == "there is no API key"
        for place in ("key_file", "REMBG_WATCH_API__KEY", "credential api_key"):
            assert place in found.todo

    def test_a_key_in_the_file_is_refused_and_not_shown(self, write: Write, environ: Environ) -> None:
        del environ["REMBG_WATCH_API__KEY"]
        found = only(errors(write(f'[api]\nkey = "{KEY}"\n{FOLDER}'), environ))
        assert (found.kind, "config.toml:2 [api] key" in found.where) == (FindingKind.KEY, True)
        assert KEY not in str(found)

    @pytest.mark.parametrize(
        "name", ["key", "api_key", "apikey", "API_KEY", '"api-key"', '"x-api-key"', "apiKey", "token"]
    )
    @pytest.mark.parametrize("table", ["[api]\n", ""])
    def test_under_whatever_name_it_is_refused_with_where_it_belongs(
        self, write: Write, environ: Environ, name: str, table: str
    ) -> None:
        del environ["REMBG_WATCH_API__KEY"]
        found = only(errors(write(f'{table}{name} = "{KEY}"\n{FOLDER}'), environ))
        assert found.kind is FindingKind.KEY
        assert found.what.startswith("the API key must not stand in this file")
        assert "key_file" in found.todo
        assert f"config.toml:{2 if table else 1} " in found.where
        assert KEY not in str(found)

    @pytest.mark.parametrize(
        ("key_file", "place"),
        [
            ("api_key", ""),
            ("keys/mine/api_key", ""),
            ("in/api_key", "in"),
            ("in/no/api_key", "in"),
            ("config.toml/x", ""),
        ],
    )
    def test_a_missing_key_file_says_where_it_was_looked_for(
        self, write: Write, environ: Environ, tmp_path: Path, key_file: str, place: str
    ) -> None:
        del environ["REMBG_WATCH_API__KEY"]
        found = only(errors(write(f'[api]\nkey_file = "{key_file}"\n{FOLDER}'), environ))
        assert found.what == f"the API key cannot be read: there is no such file below {tmp_path / place}"

    @pytest.mark.parametrize(
        ("raw", "complaint"),
        [
            pytest.param(b"", "is empty", id="nothing"),
            pytest.param(b" \r\n\t", "is empty", id="white space"),
            pytest.param(b"\xef\xbb\xbf", "is empty", id="a byte order mark"),
            pytest.param(b"a b", "several words", id="two words"),
            pytest.param(b"abc\ndef", "several words", id="two lines"),
            pytest.param(b"ab\x00c", "characters that no key can have", id="a NUL"),
            pytest.param(b"ab\x1b[31m", "characters that no key can have", id="an escape"),
            pytest.param("schlüssel".encode(), "characters that no key can have", id="an umlaut"),
            pytest.param(b"\xff\xfe", "characters that no key can have", id="no text"),
            pytest.param(b'"abc"', "is wrapped in quotes", id="quotes"),
            pytest.param(b"x" * 5000, "is far too long", id="another file"),
        ],
    )
    def test_what_is_no_key_is_told_without_showing_it(
        self, write: Write, environ: Environ, tmp_path: Path, raw: bytes, complaint: str
    ) -> None:
        assert clean_key(raw) == (None, next(say for say in [clean_key(raw)[1]] if complaint in say))
        (tmp_path / "key").write_bytes(raw)
        del environ["REMBG_WATCH_API__KEY"]
        found = only(errors(write(f'[api]\nkey_file = "key"\n{FOLDER}'), environ))
        assert complaint in found.what
        assert found.kind is FindingKind.KEY
        assert not raw.strip() or raw.decode("utf-8", "replace") not in str(found)

    def test_a_key_file_that_is_missing_is_told_without_its_name_which_may_be_the_key(
        self, write: Write, environ: Environ
    ) -> None:
        del environ["REMBG_WATCH_API__KEY"]
        found = only(errors(write(f'[api]\nkey_file = "{KEY}"\n{FOLDER}'), environ))
        assert (found.kind, "config.toml:2 [api] key_file" in found.where) == (FindingKind.KEY, True)
        assert KEY not in str(found)

    def test_a_variable_that_is_not_utf_8_is_told(self, write: Write, environ: Environ) -> None:
        environ["REMBG_WATCH_API__KEY"] = os.fsdecode(b"abc\xff")
        assert "characters that no key can have" in only(errors(write(FOLDER), environ)).what

    def test_the_key_is_in_no_word_of_settings_or_complaints(self, write: Write, environ: Environ) -> None:
        path = write("[api]\ntimeout_s = 'x'\n[pool]\nworkers = 0\n" + FOLDER)
        reading = config.read(path, environ=environ)
        with pytest.raises(ConfigError) as caught:
            config.load(path, environ=environ)
        shown = [repr(reading), str(reading.settings), str(caught.value), repr(caught.value)]
        shown += [json.dumps(config.redacted(reading.settings)), reading.settings.model_dump_json()]
        assert not [text for text in shown if KEY in text]
        assert config.redacted(reading.settings)["api"]["key"] == "(set)"

    def test_a_key_of_the_wrong_shape_in_the_environment_is_not_shown(self, write: Write, environ: Environ) -> None:
        environ = {"HOME": environ["HOME"], "REMBG_WATCH_API": json.dumps({"key": {"value": KEY}})}
        assert KEY not in " ".join(findings_in(write(FOLDER), environ))

    def test_settings_that_are_wrong_in_python_do_not_show_the_key_either(self) -> None:
        with pytest.raises(ValueError) as caught:
            Settings(state_dir=Path("/x"), api={"key": KEY, "timeout_s": "x"})
        assert KEY not in str(caught.value)


SECTIONS = ["api", "pool", "credits", "watch", "retry", "output", "ledger", "log"]
NAMES = st.sampled_from([*SECTIONS, *{str(part) for loc in known() for part in loc}, "x", "_env_file", "0", ""])
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-(10**30), 10**30),
    st.floats(),
    st.text(max_size=5),
    st.just(KEY),
    st.sampled_from(["/tmp", "~", "keep", "move", "#fff", "http://localhost/", "https://[", "\0", "a" * 5000]),
    st.datetimes(),
)
TREES = st.recursive(VALUES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4))


class TestAnything:
    @given(tree=st.dictionaries(NAMES, TREES, max_size=6))
    @settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    def test_whatever_the_environment_says_is_told_and_never_raised(self, tmp_path: Path, tree: dict[str, Any]) -> None:
        environ = {f"REMBG_WATCH_{name.upper()}": json.dumps(value, default=str) for name, value in tree.items()}
        reading = config.read(None, environ={**environ, "HOME": str(tmp_path)})
        assert reading.settings is None or isinstance(reading.settings.pool.workers, int)
        assert all(str(found) for found in reading.findings)

    @given(text=st.text(alphabet="[]{}=\"'.#,\n abkeyfoldrs0159-", max_size=60))
    @settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    def test_whatever_the_file_says_is_told_and_never_raised(self, tmp_path: Path, text: str) -> None:
        path = tmp_path / "config.toml"
        path.write_text(text)
        reading = config.read(path, environ={"HOME": str(tmp_path)})
        assert reading.errors()

    @given(tree=st.fixed_dictionaries({"api": st.dictionaries(NAMES, st.just(KEY) | TREES, min_size=1)}))
    @settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    def test_a_key_in_any_wrong_place_of_its_table_is_never_shown(self, tmp_path: Path, tree: dict[str, Any]) -> None:
        reading = config.read(
            None, environ={"HOME": str(tmp_path), "REMBG_WATCH_API": json.dumps(tree["api"], default=str)}
        )
        assert KEY not in " ".join(str(found) for found in reading.findings)


class TestOrigins:
    def test_every_way_to_write_a_key_has_its_line(self) -> None:
        text = (
            "a = 1 # not b = 2\n"
            "[api] # comment\n"
            '"url" = "x"\n'
            "pool.workers = 3\n"
            "\n"
            "[[folders]]\n"
            "name = 'x'\n"
            "[folders.options]\n"
            "w = 1\n"
            "[[ folders ]]\n"
            "options.h = 1\n"
        )
        assert lines(text) == {
            ("a",): 1,
            ("api",): 2,
            ("api", "url"): 3,
            ("api", "pool", "workers"): 4,
            ("folders", 0): 6,
            ("folders", 0, "name"): 7,
            ("folders", 0, "options"): 8,
            ("folders", 0, "options", "w"): 9,
            ("folders", 1): 10,
            ("folders", 1, "options", "h"): 11,
        }

    def test_what_has_no_line_of_its_own_is_told_with_its_tables(self) -> None:
        origins = Origins(Path("c.toml"), "[[folders]]\noptions = { w = 0 }\n", names={0: "x"})
        assert origins.where(("folders", 0, "options", "w")) == "c.toml:2 [folders.options] w ('x')"
        assert origins.where(("folders", 0, "input")) == "c.toml:1 [[folders]] input ('x')"
        assert origins.where(("pool", "workers")) == "c.toml [pool] workers"
        assert Origins().where(("pool", "workers")) == "[pool] workers"


class TestTemplate:
    @pytest.mark.parametrize("name", ["pictures", 'a "quoted" \\ name', "Möbel"])
    def test_what_init_writes_loads(self, write: Write, environ: Environ, tmp_path: Path, name: str) -> None:
        text = config.template(input=tmp_path / "in", output=tmp_path / "out", name=name, state_dir=tmp_path / "state")
        settings = config.load(write(text), environ=environ)
        assert (settings.folders[0].name, settings.folders[0].input) == (name, tmp_path / "in")
        assert settings.state_dir == tmp_path / "state"

    def test_an_odd_path_survives(self, tmp_path: Path) -> None:
        odd = 'a"b\\c\td\u202e'
        assert tomllib.loads(config.template(input=odd, output="o"))["folders"][0]["input"] == odd


def test_a_file_for_a_textfile_collector_has_the_ending_that_it_reads() -> None:
    with pytest.raises(ValidationError, match=r'must end in "\.prom"'):
        MetricsSettings(textfile="/var/lib/x.txt")
    assert MetricsSettings(textfile="/var/lib/x.prom").textfile == Path("/var/lib/x.prom")


class TestNotices:
    def test_its_times_are_read_by_the_clock_of_the_wall(self, write: Write, environ: Environ) -> None:
        text = '[notify]\nquiet = "20:00-07:30"\ndigest = "18:05"\nurls_file = "urls"\n' + FOLDER
        found = config.load(write(text), environ=environ).notify
        assert (found.quiet_hours(), found.digest_at()) == ((time(20), time(7, 30)), time(18, 5))
        assert found.urls_file == Path(environ["HOME"]) / "urls"  # beside the configuration

    def test_nothing_between_quotes_is_none_of_them(self, write: Write, environ: Environ) -> None:
        text = '[notify]\nquiet = ""\ndigest = ""\nurls_file = ""\nping_url = ""\n' + FOLDER
        found = config.load(write(text), environ=environ).notify
        assert (found.quiet_hours(), found.digest_at(), found.urls_file, found.ping_url) == (None, None, None, None)

    @pytest.mark.parametrize(
        ("line", "sentence"),
        [
            ('quiet = "22-7"', 'must be two times such as "20:00-07:00"'),
            ('quiet = "24:00-07:00"', "must be two times"),
            ('quiet = "07:00-07:00"', "must not end when it begins"),
            ('digest = "6pm"', 'must be a time such as "18:00"'),
            ("per_hour = 0", "must be at least 1, not 0"),
            ("group_s = 0", "must be at least 1"),
            ("ping_s = 1", "must be at least 5"),
            ('ping_url = "hc-ping.com/s3cret"', "must be a URL that begins with https://"),
            ("ping_url = 3", "must be a URL in quotes"),
        ],
    )
    def test_what_makes_no_sense_is_said_in_one_sentence(
        self, line: str, sentence: str, write: Write, environ: Environ
    ) -> None:
        found = str(only(errors(write(f"[notify]\n{line}\n{FOLDER}"), environ)))
        assert sentence in found
        assert "[notify]" in found
        assert "s3cret" not in found

    def test_the_url_of_the_ping_is_kept_out_of_everything_that_is_printed(
        self, write: Write, environ: Environ
    ) -> None:
        settings = config.load(write('[notify]\nping_url = "https://hc.test/s3cret"\n' + FOLDER), environ=environ)
        assert settings.notify.ping_url is not None
        assert settings.notify.ping_url.get_secret_value() == "https://hc.test/s3cret"
        assert "s3cret" not in f"{settings!r} {config.redacted(settings)}"

    def test_a_digest_in_the_quiet_hours_is_told_to_wait(self, write: Write, environ: Environ) -> None:
        text = '[notify]\nquiet = "20:00-07:00"\ndigest = "06:59"\n' + FOLDER
        assert "waits for the end of the quiet hours" in " ".join(findings_in(write(text), environ))
        assert config.load(write(text.replace("06:59", "07:00")), environ=environ)
        assert findings_in(write(text.replace("06:59", "07:00")), environ) == []
