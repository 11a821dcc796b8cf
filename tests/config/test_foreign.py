"""What people write where a path of this machine belongs is refused with what to write instead."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rembg_watch import config
from rembg_watch.config import FindingKind
from rembg_watch.config.foreign import why_foreign

SHARES = [
    "smb://nas/share",
    "SMB://nas/share/sub",
    "nfs://nas/export",
    "afp://nas/x",
    "sftp://me@nas/x",
    "s3://bucket/cut",
    "https://nas/dav",
    "//nas/share",
    r"\\nas\share",
    r"\\nas\share\sub folder",
    r"\\?\C:\cut",
    "nas:/export",
    "me@nas:/srv/cut",
    "nas.local:/export/x",
]
WINDOWS = [r"C:\Users\Anna\Pictures", "C:/Users/Anna", "d:", r"Z:\x", r"exports\new", r"..\exports", r".\cut"]
VARIABLES = [
    "$HOME/x", "${HOME}/x", "/srv/${USER}/cut", "/srv/$USER", "/srv/cut_$USER", "$home/x", "$(pwd)/x", "${XDG:-a}/x",
    "%USERPROFILE%", r"%USERPROFILE%\Pictures", "%HOMEDRIVE%%HOMEPATH%", "/srv/%NAME%/x", "%h/exports", "/srv/%i",
]  # fmt: skip
OTHERS = ["file:///srv/x", "file:/srv/x"]
FINE = [
    "exports", "/srv/studio/exports", "~/cut", "./cut", "../cut", "a b", "50% off", "100%", "50%/x", "price $5",
    "$", "/srv/$5", "/mnt/nas/share", "/srv/a:b", "/srv/12:30", "émile", "/srv//cut", "/a\\b", "C", "a%20b",
    "cut-out (2)", "#x",
]  # fmt: skip


@pytest.mark.parametrize("value", FINE)
def test_paths_of_this_machine_are_none(value: str) -> None:
    assert why_foreign(value) is None


@pytest.mark.parametrize(
    ("values", "advice"),
    [
        (SHARES, "mount the share and write its mount point here"),
        (WINDOWS, "write a path of this machine, with / between the names"),
        (VARIABLES, "variables are not expanded here: write the path in full"),
        (OTHERS, "write the path alone"),
    ],
    ids=["shares", "windows", "variables", "urls"],
)
def test_each_kind_is_told_what_to_do(values: list[str], advice: str) -> None:
    for value in values:
        saying = why_foreign(value)
        assert saying is not None, value
        assert advice in saying, value
        assert value not in saying
        assert why_foreign(f"  {value} ") == saying


@given(
    scheme=st.from_regex(r"[a-zA-Z][a-zA-Z0-9+.-]{1,8}", fullmatch=True),
    rest=st.text(st.characters(exclude_characters="\0"), max_size=20),
    name=st.from_regex(r"[A-Z_][A-Z0-9_]{1,10}", fullmatch=True),
    drive=st.sampled_from("abcXYZ"),
)
def test_other_cases_of_each_kind(scheme: str, rest: str, name: str, drive: str) -> None:
    values = [f"{scheme}://{rest}", f"{drive}:\\{rest}", f"{drive}:/{rest}", f"\\\\nas{rest}"]
    values += [f"${{{name}}}/{rest}", f"${name}/{rest}", f"/srv/{name}/${name}", f"%{name}%/{rest}"]
    for value in values:
        assert why_foreign(value), value


SETTINGS = ["input", "output", "done", "failed", "state_dir", "key_file"]


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize(
    "value", ["smb://nas/share", r"\\nas\share", r"C:\cut", "${HOME}/cut", "%USERPROFILE%", "$HOME/x"]
)
@pytest.mark.parametrize("by", ["file", "environment"])
def test_every_setting_that_is_a_path_refuses_them(tmp_path: Path, setting: str, value: str, by: str) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "key").write_text("abcdef")
    paths = {
        "input": "in",
        "output": "out",
        "done": "done",
        "failed": "failed",
        "state_dir": "state",
        "key_file": "key",
    }
    environ = {"HOME": str(tmp_path)}
    if by == "file":
        paths[setting] = value
    else:
        names = {"state_dir": "STATE_DIR", "key_file": "API__KEY_FILE"}
        environ[f"REMBG_WATCH_{names.get(setting, f'FOLDERS__0__{setting.upper()}')}"] = value
    quoted = {name: f"'{path}'" for name, path in paths.items()}
    path = tmp_path / "config.toml"
    path.write_text(
        f"state_dir = {quoted['state_dir']}\n[api]\nkey_file = {quoted['key_file']}\n[[folders]]\nname = 'a'\n"
        f"after = 'move'\ninput = {quoted['input']}\noutput = {quoted['output']}\ndone = {quoted['done']}\n"
        f"failed = {quoted['failed']}\n"
    )
    found = config.read(path, environ=environ)
    about = [one for one in found.errors() if one.kind is FindingKind.SETTING and "needs to know where" not in one.what]
    assert len(about) == 1, [str(one) for one in found.findings]
    assert setting in about[0].where.lower()
    assert value not in str(about[0])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.toml", "in", "key"]
