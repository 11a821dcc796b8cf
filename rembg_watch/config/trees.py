"""Tables as TOML and the environment give them, before anything is known to be right."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from rembg_watch.config.foreign import why_foreign
from rembg_watch.config.origins import Loc

Tree = dict[str, Any]


def anchor(tree: Tree, base: Path) -> None:
    """Make the file's relative paths start at the file's own folder, wherever the program was started."""
    folders = tree.get("folders")
    tables: list[tuple[object, tuple[str, ...]]] = [(tree, ("state_dir",)), (tree.get("api"), ("key_file",))]
    tables += [(tree.get("notify"), ("urls_file",))]
    items: Iterable[object] = folders if isinstance(folders, list) else (folders,)
    tables += [(item, ("input", "output", "done", "failed", "review_dir", "assume")) for item in items]
    deliverables = tree.get("deliverables")
    tables += [(one, ("colour",)) for one in (deliverables.values() if isinstance(deliverables, dict) else ())]
    for table, names in tables:
        if isinstance(table, dict):
            for name in strings_of(table, *names):
                if table[name] not in _NO_FILES:
                    table[name] = _anchored(table[name], base)


_NO_FILES = frozenset({"source", "srgb", "adobe-rgb", "review"})
"""What may stand in place of the path of a profile."""


def _anchored(value: str, base: Path) -> str:
    is_no_path = not value.strip() or "\0" in value or why_foreign(value) is not None
    return value if is_no_path or value.startswith(("/", "~")) else str(base / value)


def merged(under: Tree, over: Tree) -> Tree:
    """Lay *over* on *under*; a table whose keys are numbers changes single items of a list."""
    both = dict(under)
    for name, value in over.items():
        below = both.get(name)
        if isinstance(below, list) and isinstance(value, dict):
            below = {str(number): item for number, item in enumerate(below)}
        both[name] = merged(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return both


def listed(value: object) -> object:
    """Turn a table whose keys are all numbers back into the list that it stands for."""
    if isinstance(value, dict) and value and all(name.isdecimal() for name in value):
        return [value[name] for name in sorted(value, key=int)]
    return value


def leaves(tree: Tree, above: Loc = ()) -> Iterator[Loc]:
    """List the way to every value in *tree*; a list counts as one value."""
    for name, value in tree.items():
        loc = (*above, int(name) if above == ("folders",) and name.isdecimal() else name)
        if isinstance(value, dict) and value:
            yield from leaves(value, loc)
        else:
            yield loc


def drop(tree: object, loc: Loc) -> bool:
    """Take the value at *loc*, or the list around it, out of *tree*; say whether anything went."""
    for depth, part in enumerate(loc, start=1):
        if not isinstance(tree, dict) or part not in tree:
            return False
        if depth == len(loc) or not isinstance(tree[part], dict):
            del tree[part]
            return True
        tree = tree[part]
    return False


def strings_of(tree: Mapping[str, Any], *names: str) -> list[str]:
    """Return those of *names* that *tree* holds as text."""
    return [name for name in names if isinstance(tree.get(name), str)]
