"""
What a deliverable is called: a template with tokens, filled with what is known of its picture.

The same source always gives the same name, so there are no counters. A token that a picture does not have is told;
nothing is made up. Names are text; what of a source's name is no UTF-8 goes through unchanged.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from rembg_watch.errors import RembgWatchError
from rembg_watch.paths import suffix

OF_THE_PICTURE = frozenset({"dir", "stem", "ext", "folder", "deliverable", "date", "width", "height"})
"""What every picture has. ``date`` is the day of the source's own date, in UTC."""

_TOKEN = re.compile(r"\{([^{}]*)\}")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_FORBIDDEN = re.compile(r'[\x00-\x1f\x7f/\\:*?"<>|]')
"""In a part of a name: what one of the usual systems refuses."""

_END = ".{ext}"


class NoNameError(RembgWatchError):
    """A picture lacks what its deliverable is to be called by."""


def why_no_template(template: str) -> str | None:
    """Say why a text is no template for a place below an output; None if it is one."""
    used = _TOKEN.findall(template)
    parts = _TOKEN.sub("x", template).split("/")
    if wrong := next((one for one in used if not _NAME.fullmatch(one)), None):
        return f"names a token {{{wrong}}}, which is no name"
    if "{" in _TOKEN.sub("", template) or "}" in _TOKEN.sub("", template):
        return "has a brace without its partner"
    if template.startswith(("/", "{dir}/../")) or ".." in parts:
        return "must stay below the output: no / at its beginning and no .."
    if not template.endswith(_END) or used.count("ext") != 1:
        return "must end with .{ext}"
    if any(part.startswith(".") or (_FORBIDDEN.search(part) is not None) for part in parts):
        return "has a part that begins with a dot, or a sign that not every system takes in a name"
    return None


def tokens_of(template: str) -> Iterator[str]:
    """Name the tokens of a template."""
    yield from _TOKEN.findall(template)


@dataclass(frozen=True, slots=True)
class Words:
    """A token that is made out of another one."""

    source: str
    words: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Naming:
    """How tokens are found in the pictures of one folder."""

    folder: str
    read_name: str | None = None  # a regular expression with named groups
    words: Mapping[str, Words] = field(default_factory=dict)

    def known(self) -> frozenset[str]:
        """Name every token that a template of this folder may use."""
        groups = re.compile(self.read_name).groupindex if self.read_name else {}
        return OF_THE_PICTURE | frozenset(groups) | frozenset(self.words)

    def fill(self, template: str, source: bytes, *, deliverable: str, mtime_ns: int, sides: tuple[int, int]) -> bytes:
        """
        Return the place of a deliverable below the output, without its ending, which counts as its name.

        Args:
            template: Its ``path``.
            source: The picture, relative to its input.
            deliverable: The deliverable's name.
            mtime_ns: The source's date.
            sides: The source's width and height in pixels, upright.

        Raises:
            NoNameError: The name of the source does not say what the template asks for.
        """
        parent, _, name = source.rpartition(b"/")
        stem = _text(name[: len(name) - len(suffix(name))])
        values = {
            "dir": _text(parent),
            "stem": stem,
            "folder": self.folder,
            "deliverable": deliverable,
            "date": datetime.fromtimestamp(mtime_ns / 1e9, UTC).strftime("%Y-%m-%d"),
            "width": str(sides[0]),
            "height": str(sides[1]),
        }
        values |= self._read(stem)
        filled = _TOKEN.sub(lambda token: self._value(token[1], values, stem), template.removesuffix(_END))
        parts = [part for part in filled.split("/") if part]
        if not parts or not parts[-1].strip(" ."):
            raise NoNameError(f"nothing is left of the name of {stem!r} in {template!r}")
        parts[-1] = parts[-1].rstrip(" .")
        return "/".join(parts).encode("utf-8", "surrogateescape")

    def _read(self, stem: str) -> dict[str, str]:
        found = re.search(self.read_name, stem) if self.read_name else None
        return {name: value for name, value in found.groupdict().items() if value is not None} if found else {}

    def _value(self, token: str, values: Mapping[str, str], stem: str) -> str:
        if token in self.words:
            made = self.words[token]
            key = values.get(made.source)
            if key is None or key not in made.words:
                raise NoNameError(
                    f"its name {stem!r} gives no {{{token}}}: "
                    + (
                        f"{{{made.source}}} is {key!r}, which is not in its table"
                        if key is not None
                        else _lacks(made.source)
                    )
                )
            return _clean(made.words[key])
        if token not in values:
            raise NoNameError(f"its name {stem!r} gives no {{{token}}}: {_lacks(token)}")
        return values[token] if token == "dir" else _clean(values[token])  # noqa: S105 - no password


def _text(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")


def _lacks(token: str) -> str:
    return f"read_name does not find {{{token}}} in it"


def _clean(value: str) -> str:
    """Take out of a value what would make another folder of it, or what some system refuses."""
    cleaned = _FORBIDDEN.sub("_", value).strip()
    return "_" + cleaned[1:] if cleaned.startswith(".") else cleaned
