"""What ``remove`` was called with: parameters, pictures and targets, with all problems reported together."""

import itertools
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rembg_watch.api.params import Format, RemovalParams, parameter_problems
from rembg_watch.errors import UsageError
from rembg_watch.one_shot import Request
from rembg_watch.paths import collision_key
from rembg_watch.report.words import show

PIPE = "-"


@dataclass(frozen=True, slots=True, kw_only=True)
class RawParameters:
    """The API's parameters as they were typed."""

    format: str | None = None
    w: str | None = None
    h: str | None = None
    exact_resize: bool = False
    mask: bool = False
    bg_color: str | None = None
    angle: str = "0"
    expand: bool = True

    def values(self, default_format: str) -> dict[str, object]:
        """Return what is asked of the API; without ``--format``, *default_format*."""
        return {
            "format": self.format if self.format is not None else default_format,
            "w": _whole(self.w),
            "h": _whole(self.h),
            "exact_resize": self.exact_resize,
            "mask": self.mask,
            "bg_color": self.bg_color,
            "angle": _real(self.angle),
            "expand": self.expand,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Arguments:
    """What the command was called with, free of everything wrong that can be seen without looking at the pictures."""

    params: RemovalParams
    requests: tuple[Request, ...]
    folder: Path | None = None  # to be created

    @property
    def uses_stdin(self) -> bool:
        """Whether the picture comes from standard input."""
        return any(request.source is None for request in self.requests)

    @property
    def uses_stdout(self) -> bool:
        """Whether the cut-out goes to standard output, which then must carry nothing else."""
        return any(request.target is None for request in self.requests)


def read_arguments(
    images: Sequence[str], output: str | None, parameters: RawParameters, *, writes_base64: bool = False
) -> Arguments:
    """
    Read what was typed.

    Raises:
        UsageError: With every problem, one per line.
    """
    images = _each_once(images)
    file = None if output in {None, PIPE} or _is_folder(str(output)) else Path(str(output))
    default_format, problems = _format_by_extension(file, parameters.format, applies=not writes_base64)
    values = parameters.values(default_format)
    problems += [one.message for one in parameter_problems(values)]
    problems += _output_problems(images, output, file)
    if problems:
        raise UsageError("\n".join(problems))
    params = RemovalParams(**values)  # type: ignore[arg-type]  # parameter_problems has looked at each
    ending = params.format.extension + (".b64" if writes_base64 else "")
    folder = Path(str(output)) if output not in {None, PIPE} and file is None else None
    if images == [PIPE] or output == PIPE or file is not None:
        source = None if images == [PIPE] else Path(images[0])
        target = file or (folder / f"stdin{ending}" if folder else None)
        requests: Iterable[Request] = [Request(source=source, target=target)]
    else:
        requests = _requests([Path(image) for image in images], folder, ending)
    return Arguments(params=params, requests=tuple(requests), folder=folder)


def _whole(text: str | None) -> object:
    """Return a whole number, or the text unchanged, to be refused in the API's own words."""
    return int(text) if text is not None and re.fullmatch(r"[+-]?[0-9]{1,18}", text) else text


def _real(text: str) -> object:
    try:
        return float(text)
    except ValueError:
        return text


def _each_once(images: Iterable[str]) -> list[str]:
    """Drop pictures that were named before: they would be paid for twice."""
    found: dict[str, str] = {}
    for image in images:
        found.setdefault(image if image == PIPE else os.path.realpath(image), image)
    return list(found.values())


def _is_folder(output: str) -> bool:
    return output.endswith("/") or Path(output).is_dir()


def _format_by_extension(file: Path | None, chosen: str | None, *, applies: bool) -> tuple[str, list[str]]:
    """Return the format that the extension of *file* means, and what is wrong with it."""
    if file is None or not applies or not file.suffix:  # without an ending it is refused below
        return str(Format.WEBP), []
    named = Format.of_ending(file.suffix)
    if named is None and chosen is None:
        known = "name it .webp, .png, .jpg or .bmp, or give --format"
        return str(Format.WEBP), [f"-o {file}: the API does not produce {file.suffix} pictures: {known}"]
    if named is None:
        return str(Format.WEBP), []
    if chosen is not None and Format.named(chosen) not in {None, named}:
        return str(named), [f"-o {file}: the extension says {named}, but --format says {chosen}"]
    return str(named), []


def _output_problems(images: Sequence[str], output: str | None, file: Path | None) -> Iterator[str]:
    if PIPE in images and len(images) > 1:
        yield "- (standard input) is one picture: name no others beside it"
    elif output == PIPE and len(images) > 1:
        yield "-o - (standard output) takes one picture: name a folder for several"
    elif file is not None and len(images) > 1:
        yield f"-o {file} is one file for {len(images)} pictures: name a folder (one that ends with / is created)"
    elif file is not None and not file.suffix:
        shown = show(os.fsencode(file))
        yield (
            f"-o {shown}: there is no folder of that name, and no file without an ending is written: "
            f"{shown}/ makes a folder, {shown}.webp is a file"
        )
    if output == "":
        yield "-o is empty: name a file, a folder, or - for standard output"


def _requests(sources: Sequence[Path], folder: Path | None, ending: str) -> Iterator[Request]:
    """Give each picture a target of its own, which is none of the pictures."""
    taken = {_key(source) for source in sources}
    for source in sources:
        parent = source.parent if folder is None else folder
        target = next(parent / name for name in _names(source, ending) if _key(parent / name) not in taken)
        taken.add(_key(target))
        yield Request(source=source, target=target)


def _names(source: Path, ending: str) -> Iterator[str]:
    """Name a cut-out, the best name first: IMG_1.webp, IMG_1-cutout.webp for a WebP, IMG_1.png.webp, and so on."""
    is_like_the_source = source.suffix.lower() == ending
    yield f"{source.stem}{ending}"
    if not is_like_the_source:
        yield f"{source.name}{ending}"
    yield f"{source.stem}-cutout{ending}"
    for number in itertools.count(2):
        yield f"{source.stem}-cutout-{number}{ending}"


def _key(path: Path) -> bytes:
    return collision_key(os.fsencode(path.parent.resolve() / path.name))
