"""Deliverables are proved on a made picture, each once: whether the libraries are there, the profiles, and room."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

from PIL import Image, ImageDraw

from rembg_watch.config import Finding, FindingKind, FolderSettings, Settings, Severity
from rembg_watch.config.rules import Where
from rembg_watch.pictures.deliverable import Deliverable, Master
from rembg_watch.pictures.extras import missing_for
from rembg_watch.pictures.rendering import NotRenderedError, Rendering
from rembg_watch.pictures.sending import AS_IT_IS

_SIDES = 360, 240


def findings(settings: Settings, where: Where) -> Iterator[Finding]:
    """Make each deliverable that a folder wants of a made picture; nothing is paid, and nothing is left."""
    folders = [(number, one) for number, one in enumerate(settings.folders) if one.deliver]
    if not folders:
        return
    if missing := missing_for(()):
        what = "making deliverables needs libraries that are not installed"
        at = where(("folders", folders[0][0], "deliver"))
        yield Finding(Severity.ERROR, FindingKind.SETTING, what, where=at, todo=missing)
        return
    proved: set[tuple[str, ...]] = set()
    with tempfile.TemporaryDirectory() as directory:
        source, master = _made(Path(directory))
        for number, folder in folders:
            for name in folder.deliver:
                if name not in settings.deliverables:
                    continue
                one, key = settings.deliverables[name].deliverable(name), (name, folder.edges, folder.assume)
                why = _why_not(one, folder, source, master) if key not in proved else None
                proved.add(key)
                if why is not None:
                    what = f"[deliverables.{one.name}] cannot be made for folder {folder.name!r}: {why}"
                    at = where(("folders", number, "deliver"))
                    yield Finding(Severity.ERROR, FindingKind.SETTING, what, where=at, todo="correct its settings")


def _made(directory: Path) -> tuple[Path, Path]:
    """Make a picture, and what the service would answer to it: a disc that touches no side."""
    source, master = directory / "picture.png", directory / "answer.png"
    inside = (_SIDES[0] // 4, _SIDES[1] // 4, 3 * _SIDES[0] // 4, 3 * _SIDES[1] // 4)
    picture = Image.new("RGB", _SIDES, "white")
    ImageDraw.Draw(picture).ellipse(inside, fill="teal")
    picture.save(source)
    alpha = Image.new("L", _SIDES, 0)
    ImageDraw.Draw(alpha).ellipse(inside, fill=255)
    picture.putalpha(alpha)
    picture.save(master)
    return source, master


def _why_not(wanted: Deliverable, folder: FolderSettings, source: Path, master: Path) -> str | None:
    from rembg_watch.pictures.render import render  # every command loads this module, and hardly any renders

    with source.open("rb") as file, tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as scratch:
        try:
            render(
                Rendering(
                    source=file.fileno(),
                    sent=AS_IT_IS,
                    master=str(master),
                    kind=Master.CUTOUT,
                    deliverable=wanted,
                    output=output.fileno(),
                    scratch=scratch.fileno(),
                    edges=folder.edges,
                    assume=folder.assume,
                )
            )
        except NotRenderedError as cannot:
            return str(cannot).rstrip(".")
        except MemoryError:
            return "there is not enough memory"
    return None
