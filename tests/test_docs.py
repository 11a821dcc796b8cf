"""What is documented is what is there: every setting in the example file, and nothing else in it."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rembg_watch import config
from rembg_watch.config.origins import Loc
from rembg_watch.config.sentences import known
from rembg_watch.config.settings import FolderOptions, FolderSettings, Settings

ROOT = Path(__file__).parent.parent
EXAMPLE = (ROOT / "config.example.toml").read_text(encoding="utf-8")
NOT_IN_A_FILE = {("api", "key")}  # a key in a configuration file is refused


def uncommented(text: str) -> str:
    return re.sub(r"^#(?=\w+ = )", "", text, flags=re.MULTILINE)


def leaves(tree: dict[str, Any], above: Loc = ()) -> Iterator[Loc]:
    for name, value in tree.items():
        value = value[0] if name == "folders" else value
        if isinstance(value, dict):
            yield from leaves(value, (*above, name))
        else:
            yield (*above, name)


def test_the_example_shows_every_setting_and_no_other() -> None:
    assert set(leaves(tomllib.loads(uncommented(EXAMPLE)))) == set(known()) - NOT_IN_A_FILE


def test_the_example_is_what_init_writes() -> None:
    written = config.template(input="/srv/studio/exports", output="/srv/studio/cutouts", name="catalogue")
    assert written == EXAMPLE, "write it anew: config.template(...) > config.example.toml"


def test_each_default_in_the_example_is_the_real_one() -> None:
    shown = tomllib.loads(uncommented(EXAMPLE))
    folder = shown.pop("folders")[0]
    options = folder.pop("options")
    real = Settings(state_dir=Path("/var/lib/rembg-watch"))
    for table, model in [(options, FolderOptions()), (folder, FolderSettings(name="n", input="/i", output="/o"))]:
        for name, value in table.items():
            field = type(model).model_fields[name]
            if not field.examples and not field.is_required():
                assert value == getattr(model, name), name
    for section, table in shown.items():
        if isinstance(table, dict):
            for name, value in table.items():
                if not getattr(type(getattr(real, section)).model_fields[name], "examples", None):
                    assert value == getattr(getattr(real, section), name), f"{section}.{name}"


def test_the_example_with_every_line_uncommented_has_nothing_wrong_but_what_it_needs_a_disk_for(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    text = uncommented(EXAMPLE).replace('after = "keep"', 'after = "move"')
    path.write_text(text, encoding="utf-8")
    reading = config.read(path, environ={"HOME": str(tmp_path), "REMBG_WATCH_API__KEY": "k"})
    disk = {config.Kind.AWAY, config.Kind.ACCESS}
    assert [str(found) for found in reading.findings if found.kind not in disk] == []


@pytest.mark.parametrize("loc", sorted(known()), ids=".".join)
def test_every_setting_is_explained(loc: Loc) -> None:
    model = Settings
    for name in loc[:-1]:
        model = FolderSettings if name == "folders" else model.model_fields[name].annotation
    assert (
        (model.model_fields[loc[-1]].description or "")
        .strip()
        .endswith((".", "keep | move | delete", "error", "journal"))
    )


def test_the_example_is_not_wider_than_a_screen() -> None:
    assert [line for line in EXAMPLE.splitlines() if len(line) > 120] == []
