"""``preview``: what deliverables look like that are made of one picture; nothing is paid for it."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from rembg_watch import state_dirs
from rembg_watch.api.client import Client
from rembg_watch.cli.configured import ConfigFile
from rembg_watch.cli.console import note, say
from rembg_watch.config import FOR_LOOKING, Settings, find
from rembg_watch.daemon.assembly import recipe_of
from rembg_watch.delivery.making import Making
from rembg_watch.delivery.masters import MASTERS_NAME, Masters
from rembg_watch.errors import ExitCode, RembgWatchError, UsageError
from rembg_watch.host.disk import version_of
from rembg_watch.pictures.rendering import NotRenderedError
from rembg_watch.pipeline import Recipe
from rembg_watch.pipeline.rendering import render_here
from rembg_watch.pipeline.source import PreparedSource, open_picture
from rembg_watch.pipeline.values import content_key
from rembg_watch.report.picture_events import remark_text
from rembg_watch.report.words import size_text

_KEY = "preview"


def preview(
    image: Annotated[Path, typer.Argument(metavar="IMAGE", help="The picture.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Where the files go.")],
    config: ConfigFile = None,
    folder: Annotated[str | None, typer.Option("--folder", "-f", help="By the settings of this folder.")] = None,
    deliverable: Annotated[
        list[str] | None, typer.Option("--deliverable", "-d", help="Only these; else all of the folder.")
    ] = None,
    sandbox: Annotated[
        bool, typer.Option("--sandbox", help="Cut any picture out with the built-in sandbox, for a look.")
    ] = False,
) -> None:
    """
    Show what deliverables come of a picture, without paying.

    It takes what is kept of a picture that was delivered, or with --sandbox any picture. Files that stand in DIR are
    replaced.
    """
    settings = state_dirs.load(find(config), tolerate=FOR_LOOKING)
    if not image.is_file():
        raise UsageError(f"{image}: there is no such picture")
    _refuse_inputs(settings, output)
    recipes = list(_recipes(settings, folder, deliverable))
    with tempfile.TemporaryDirectory() as scratch:
        for recipe in recipes:
            with (
                open_picture(image, version_of(image.stat()), scratch=Path(scratch), sends=recipe.sends) as prepared,
                _master(settings, recipe, prepared, sandbox=sandbox) as master,
            ):
                if master is not None:
                    raise typer.Exit(_make(image, output, recipe, prepared, master))
    raise RembgWatchError(
        f"nothing is kept of {image}: let it be delivered by a folder that delivers, or add --sandbox for a look"
    )


def _refuse_inputs(settings: Settings, output: Path) -> None:
    """Keep previews out of watched folders, where each would be taken for a new picture and paid for."""
    there = output.resolve()
    for one in settings.folders:
        if there.is_relative_to(one.input.resolve()):
            raise UsageError(f"{output} is inside the input of {one.name}: the files would be sent and paid for")


def _recipes(settings: Settings, folder: str | None, wanted: list[str] | None) -> Iterator[Recipe]:
    """Yield what is done in the folders that come into question, with the deliverables that are wanted."""
    names = [one.name for one in settings.folders if one.deliver]
    if folder is not None and folder not in names:
        raise UsageError(f"there is no folder {folder!r} that delivers; there are: {', '.join(names) or 'none'}")
    if not names:
        raise UsageError("no folder delivers: set `deliver` for one, see config.example.toml")
    for name in wanted or ():
        if name not in settings.deliverables:
            known = ", ".join(settings.deliverables) or "none"
            raise UsageError(f"there is no [deliverables.{name}]; there are: {known}")
    for one in settings.folders:
        if one.deliver and folder in (None, one.name):
            chosen = one.model_copy(update={"deliver": tuple(wanted)}) if wanted else one
            yield recipe_of(chosen, settings.deliverables)


@contextmanager
def _master(settings: Settings, recipe: Recipe, prepared: PreparedSource, *, sandbox: bool) -> Iterator[Path | None]:
    """Hand out what is kept of a picture, or what the sandbox answers."""
    if not sandbox:
        path = Masters(settings.state_dir / MASTERS_NAME).path(content_key(prepared, recipe))
        yield path if path.exists() else None
        return
    from rembg_watch.sandbox import Sandbox

    with (
        Client(_KEY, transport=Sandbox(_KEY).transport()) as client,
        client.remove_to_tempfile(prepared.open(), recipe.params, filename=prepared.filename) as answer,
    ):
        yield answer


def _make(image: Path, output: Path, recipe: Recipe, prepared: PreparedSource, master: Path) -> ExitCode:
    output.mkdir(parents=True, exist_ok=True)
    code = ExitCode.OK
    for one in recipe.deliverables:
        path = output / f"{image.stem}-{one.name}{one.format.extension}"
        wanted = Making(
            master=master,
            kind=recipe.master,
            deliverable=one,
            sent=prepared.way,
            px=prepared.width * prepared.height,
            edges=recipe.edges,
            assume=recipe.assume,
        )
        with image.open("rb") as source, path.open("w+b") as file, tempfile.TemporaryFile() as scratch:
            try:
                made = render_here(source, file, scratch, wanted)
            except NotRenderedError as cannot:
                note(f"{one.name} cannot be made: {cannot}")
                path.unlink()
                code = ExitCode.SOME_FAILED
                continue
        odd = f" ({', '.join(map(remark_text, made.remarks))})" if made.remarks else ""
        say(f"{path}: {made.width} x {made.height}, {size_text(made.size_bytes)}{odd}")
    return code
