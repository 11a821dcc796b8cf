"""Which of a picture's files stands for it."""

from pathlib import Path

import pytest

from rembg_watch.config import FolderSettings
from rembg_watch.config.settings import DeliverableSettings
from rembg_watch.ledger import Made, MadeState
from rembg_watch.pictures.deliverable import FileFormat
from rembg_watch.showing.places import AFTER, places
from tests.web.studio import AT, Studio

RECIPES = {
    "print": DeliverableSettings(format=FileFormat.TIFF),
    "shop": DeliverableSettings(format=FileFormat.JPEG, canvas=(1200, 1200)),
    "list": DeliverableSettings(format=FileFormat.WEBP, canvas=(400, 400)),
    "white": DeliverableSettings(format=FileFormat.WEBP, background="#ffffff"),
    "flat": DeliverableSettings(format=FileFormat.JPEG),
    "web": DeliverableSettings(format=FileFormat.WEBP),
}


@pytest.mark.parametrize(
    ("names", "first"),
    [
        (["shop", "list", "print"], "print"),
        (["print", "web"], "web"),
        (["white", "list"], "list"),
        (["shop", "flat"], "flat"),
        (["gone", "list"], "list"),
    ],
    ids=[
        "framed as the picture",
        "easier to show",
        "not filled",
        "filled, and framed alike",
        "of a recipe that there is",
    ],
)
def test_the_file_that_lies_over_the_original_stands_for_all(
    studio: Studio, tmp_path: Path, names: list[str], first: str
) -> None:
    with studio.open() as ledger:
        studio.drop(ledger, "acme/1.jpg")
        (job,) = studio.deliver(ledger)
    folder = FolderSettings(name="catalogue", input=tmp_path / "in", output=tmp_path / "out")
    endings = {name: recipe.format.value for name, recipe in RECIPES.items()} | {"gone": "tiff"}
    made = {
        name: Made(
            job_id=job.id,
            name=name,
            recipe_digest="r",
            state=MadeState.STANDING,
            made_at=AT,
            target=f"{name}.{endings[name]}".encode(),
            digest="d",
            size_bytes=1,
        )
        for name in names
    }
    found = list(places(job, folder, made, AFTER, state_dir=tmp_path, recipes=RECIPES))
    assert found[0].relative.decode().partition(".")[0] == first
