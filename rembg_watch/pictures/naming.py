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
from rembg_watch.pictures.words import FORBIDDEN, WORDS, part_of_a_place

OF_THE_PICTURE = frozenset({"dir", "stem", "ext", "folder", "deliverable", "date", "width", "height"})
"""What every picture has. ``date`` is the day of the source's own date, in UTC."""

_TOKEN = re.compile(r"\{([^{}]*)\}")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z0-9_]+)*")
_TELLS_NO_PICTURE = OF_THE_PICTURE - {"stem"}
"""What many pictures of a folder have in common."""

_SEPARATORS = " -_.,+&~"
_BRACKETS = ("()", "[]")

_END = ".{ext}"


class NoNameError(RembgWatchError):
    """A picture lacks what its deliverable is to be called by."""


class NoWordsError(NoNameError):
    """What a picture says of itself is not known any more, since it is gone."""


def why_no_template(template: str) -> str | None:
    """Say why a text is no template for a place below an output; None if it is one."""
    used = _TOKEN.findall(template)
    parts = _TOKEN.sub("x", template).split("/")
    if (wrong := next((one for one in used if not _NAME.fullmatch(one)), None)) is not None:
        return f"names a token {{{wrong}}}, which is no name"
    if "{" in _TOKEN.sub("", template) or "}" in _TOKEN.sub("", template):
        return "has a brace without its partner"
    if template.startswith(("/", "{dir}/../")) or ".." in parts:
        return "must stay below the output: no / at its beginning and no .."
    if not template.endswith(_END) or used.count("ext") != 1:
        return "must end with .{ext}"
    if any(part.startswith(".") or (FORBIDDEN.search(part) is not None) for part in parts):
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
        return OF_THE_PICTURE | frozenset(groups) | frozenset(self.words) | frozenset(WORDS)

    def asks(self, template: str) -> frozenset[str]:
        """Name what a template wants to know of what the picture says itself."""
        tokens = (self.words[one].source if one in self.words else one for one in tokens_of(template))
        return frozenset(tokens) & frozenset(WORDS)

    def fill(
        self,
        template: str,
        source: bytes,
        *,
        deliverable: str,
        mtime_ns: int,
        sides: tuple[int, int],
        said: Mapping[str, str] | None = None,
    ) -> bytes:
        """
        Return the place of a deliverable below the output, without its ending, which counts as its name.

        Args:
            template: Its ``path``.
            source: The picture, relative to its input.
            deliverable: The deliverable's name.
            mtime_ns: The source's date.
            sides: The source's width and height in pixels, upright.
            said: What the picture says itself, by token, as words for a name; a word that is missing is dropped with
                the separator beside it. None: nobody can know that any more.

        Raises:
            NoNameError: The name of the source does not say what the template asks for.
            NoWordsError: The picture itself would have to say it.
        """
        if said is None and (asked := self.asks(template)):
            tokens = " and ".join(f"{{{one}}}" for one in sorted(asked))
            raise NoWordsError(f"its name needs {tokens}, and the picture that says so is gone: put it back")
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
        values |= self._read(stem) | dict(said or {})
        *folders, last = template.removesuffix(_END).split("/")
        filled = [self._filled(part, values, stem) for part in folders]
        filled.append(self._filled(last, values, stem, is_name=True))
        parts = [part for part in "/".join(filled).split("/") if part]
        if not parts or not parts[-1].strip(" ."):
            raise NoNameError(f"nothing is left of the name of {stem!r} in {template!r}")
        parts[-1] = parts[-1].rstrip(" .")
        return "/".join(parts).encode("utf-8", "surrogateescape")

    def _filled(self, part: str, values: Mapping[str, str], stem: str, *, is_name: bool = False) -> str:
        """Fill a part of a template; what the picture does not say of itself is dropped, or in its name the stem."""
        pieces = _TOKEN.split(part)  # texts, and tokens between them
        texts, tokens = pieces[::2], pieces[1::2]
        missing = [token in WORDS and token not in self.words and token not in values for token in tokens]
        found = ["" if lacks else self._value(one, values, stem) for one, lacks in zip(tokens, missing, strict=True)]
        tells = (bool(one) and token not in _TELLS_NO_PICTURE for token, one in zip(tokens, found, strict=True))
        if is_name and any(missing) and not any(tells):
            at = missing.index(True)
            found[at], missing[at] = _clean(stem), False
        for number in reversed([at for at, lacks in enumerate(missing) if lacks]):
            before = "".join(texts[: number + 1]) + "".join(found[:number])
            texts[number : number + 2] = [
                _closed(texts[number], texts[number + 1], is_first=not before.strip(_SEPARATORS))
            ]
            del found[number]
        joined = "".join(one for pair in zip(texts, [*found, ""], strict=True) for one in pair)
        if not any(token in WORDS and token not in self.words for token in tokens):
            return joined
        return "/".join(part_of_a_place(one) for one in joined.split("/"))

    def _read(self, stem: str) -> dict[str, str]:
        found = re.search(self.read_name, stem) if self.read_name else None
        return {name: value for name, value in found.groupdict().items() if value is not None} if found else {}

    def _value(self, token: str, values: Mapping[str, str], stem: str) -> str:
        if token in self.words:
            made = self.words[token]
            key = values.get(made.source)
            if key is None or key not in made.words:
                raise NoNameError(
                    f"the name {stem!r} has no {{{token}}}: "
                    + (
                        f"{{{made.source}}} is {key!r}, which is not in its table"
                        if key is not None
                        else _lacks(made.source)
                    )
                )
            return _clean(made.words[key])
        if token not in values:
            raise NoNameError(f"the name {stem!r} has no {{{token}}}: {_lacks(token)}")
        return values[token] if token == "dir" else _clean(values[token])  # noqa: S105 - no password


def _text(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")


def _closed(before: str, after: str, *, is_first: bool) -> str:
    """Join the texts around a word that is missing, without the brackets around it, or else one of its separators."""
    if (before[-1:] + after[:1]) in _BRACKETS:
        before, after = before[:-1], after[1:]
    return before + after.lstrip(_SEPARATORS) if is_first else before.rstrip(_SEPARATORS) + after


def _lacks(token: str) -> str:
    if token in WORDS:
        return f"the picture says no {{{token}}}"
    return f"read_name does not find {{{token}}} in it"


def _clean(value: str) -> str:
    """Take out of a value what would make another folder of it, or what some system refuses."""
    cleaned = FORBIDDEN.sub("_", value).strip()
    return "_" + cleaned[1:] if cleaned.startswith(".") else cleaned
