"""
The configuration as a commented text: what ``config.example.toml`` is and ``init`` writes.

Every setting stands in it with its explanation and its default, commented out, so that
a later default is not frozen by an old file. A ``#`` without a space after it is a
setting to uncomment; with a space it is an explanation.
"""

from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from rembg_watch.config.delivering import DeliverableSettings
from rembg_watch.config.presets import PRESETS
from rembg_watch.config.settings import ANY_NAME, REPEATED, FolderSettings, Settings

_HEAD = """\
# The configuration of rembg-watch. Lines that begin with #name show a default, or an example where there is none.
# Every setting can also come from the environment, which wins: [pool] workers is REMBG_WATCH_POOL__WORKERS, and
# input of the first folder is REMBG_WATCH_FOLDERS__0__INPUT. Relative paths start at this file's own folder.
# `rembg-watch check` says what is wrong with it, all at once, and pays nothing.
"""


def template(
    *,
    input: Path | str,  # noqa: A002  # the setting's own name
    output: Path | str,
    name: str = "pictures",
    key_file: Path | str | None = None,
    state_dir: Path | str | None = None,
) -> str:
    """Write a configuration that works for one folder and explains everything else; None leaves a setting out."""
    chosen = {"state_dir": state_dir, "key_file": key_file, "name": name, "input": input, "output": output}
    given = {setting: str(value) for setting, value in chosen.items() if value is not None}
    return "\n".join([_HEAD, *_table(Settings, (), given)]).rstrip("\n") + "\n"


def _table(model: type[BaseModel], above: tuple[str, ...], given: Mapping[str, str]) -> Iterator[str]:
    """Write the settings of *model*, then the tables under it."""
    tables = []
    for name, field in model.model_fields.items():
        inner = REPEATED.get(name, field.annotation)
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            tables.append(((*above, name, *([ANY_NAME] if name == "deliverables" else [])), inner))
        elif (*above, name) != ("api", "key"):
            yield from _setting(name, field, given)
    for way, inner in tables:
        yield from ["", f"# {inner.__doc__}", _header(inner, way)]
        yield from _table(inner, way, given)
        if inner is DeliverableSettings:
            yield from ["", *PRESETS.splitlines()]


def _header(model: type[BaseModel], way: tuple[str, ...]) -> str:
    if model is FolderSettings:
        return f"[[{way[0]}]]"
    return f"{'#' * (model is DeliverableSettings)}[{'.'.join(way)}]"


def _setting(name: str, field: FieldInfo, given: Mapping[str, str]) -> Iterator[str]:
    yield from (f"# {line}" for line in (field.description or "").splitlines())
    if name in given:
        yield f"{name} = {toml(given[name])}"
    else:
        yield f"#{name} = {toml(field.examples[0] if field.examples else field.default)}"


def toml(value: object) -> str:
    """Write one value as TOML does."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return f"[{', '.join(toml(item) for item in value)}]"
    if isinstance(value, Mapping):
        return f"{{ {', '.join(f'{_key(name)} = {toml(item)}' for name, item in value.items())} }}"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, int | Decimal):
        return str(value)
    return '"' + "".join(_escaped(character) for character in str(value)) + '"'


def _key(name: str) -> str:
    return name if name.isidentifier() and name.isascii() else toml(name)


def _escaped(character: str) -> str:
    if character in {'"', "\\"}:
        return f"\\{character}"
    return character if character.isprintable() else f"\\U{ord(character):08x}"
