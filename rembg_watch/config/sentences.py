"""
pydantic's complaints in the words of this program, and the nearest known key.

No value of the ``[api]`` table is ever repeated: a key pasted into the wrong place
must not end in a log.
"""

import difflib
import json
from collections.abc import Iterator

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from rembg_watch.config.keys import KEY_VARIABLE, is_key_name
from rembg_watch.config.origins import Loc, dotted
from rembg_watch.config.settings import ANY_NAME, DELIMITER, PREFIX, REPEATED, Settings

_SAYINGS = {
    "missing": "is missing",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_parsing_size": "must be a smaller number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "finite_number": "must be a finite number",
    "decimal_type": "must be a number",
    "decimal_parsing": "must be a number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "string_type": "must be text in quotes",
    "tuple_type": 'must be a list, like ["one", "two"]',
    "model_type": "must be a table",
    "model_attributes_type": "must be a table",
    "literal_error": "must be one of {expected}",
    "greater_than": "must be more than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "string_too_long": "must have at most {max_length} characters",
    "value_error": "{error}",
}
_SHOWN = (bool, int, float, str)
_SHOWN_LENGTH = 40


def sentence(error: ErrorDetails, loc: Loc) -> str:
    """Say what is wrong with one value; *loc* is its whole way from the top."""
    saying = _SAYINGS.get(error["type"], error["msg"].lower())
    text = saying.format(**error.get("ctx", {}))
    value = error.get("input")
    if error["type"] in {"missing", "value_error"} or not isinstance(value, _SHOWN) or loc[0] == "api":
        return text
    shown = _toml(value)
    return text if len(shown) > _SHOWN_LENGTH else f"{text}, not {shown}"


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else str(value)


def known(model: type[BaseModel] = Settings, above: Loc = ()) -> Iterator[Loc]:
    """List every setting by its way from the top; a folder's without its number, a deliverable's without its name."""
    for name, field in model.model_fields.items():
        loc = (*above, name)
        inner = REPEATED.get(name, field.annotation)
        loc = (*loc, ANY_NAME) if name == "deliverables" else loc
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from known(inner, loc)
        else:
            yield loc


def suggestion(loc: Loc) -> str:
    """
    Advise on the unknown key *loc*: the nearest known one, here or in another table.

    The same table is looked at first; a key that is known elsewhere was most likely
    written under the wrong header, which TOML makes easy.
    """
    way = tuple(part for part in loc if not isinstance(part, int))
    if way[:1] == ("deliverables",) and len(way) > 1:
        way = (way[0], ANY_NAME, *way[2:])
    table, name = way[:-1], str(way[-1])
    if is_key_name(name):
        return f"did you mean {KEY_VARIABLE}, for the API key?"
    every = [key for key in known() if key != ("api", "key")]
    here = {str(key[len(table)]) for key in every if len(key) > len(table) and key[: len(table)] == table}
    if near := difflib.get_close_matches(name, here, n=1):
        return f"did you mean {near[0]}?"
    elsewhere = {str(key[-1]): key for key in every}
    if found := difflib.get_close_matches(name, elsewhere, n=1, cutoff=0.8):
        place = elsewhere[found[0]]
        return f"did you mean {f'{place[0]}, above the first [table]' if len(place) == 1 else dotted(place)}?"
    return "known here: " + ", ".join(sorted(here)) if here else "remove it"


def variable_suggestion(name: str) -> str:
    """Advise on the unknown environment variable *name*."""
    ways = {DELIMITER.join(str(part).upper() for part in key): key for key in known()}
    if is_key_name(name.upper().removeprefix(PREFIX).rpartition(DELIMITER)[2]):
        return f"did you mean {KEY_VARIABLE}?"
    near = difflib.get_close_matches(name.upper().removeprefix(PREFIX), ways, n=1, cutoff=0.65)
    return f"did you mean {variable(ways[near[0]])}?" if near else "unset it, or correct its name"


def variable(loc: Loc) -> str:
    """Name the environment variable of *loc*; the first folder stands for all."""
    parts = [str(part).upper() for part in loc]
    if len(parts) > 1 and parts[0] == "FOLDERS":
        parts.insert(1, "0")
    return PREFIX + DELIMITER.join(parts)
