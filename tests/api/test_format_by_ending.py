"""The library takes the format from the ending of a destination, unless one was chosen."""

import io
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from rembg_watch.api.client import Client
from rembg_watch.api.params import Format, RemovalParams
from rembg_watch.sandbox import Sandbox


@pytest.mark.parametrize(
    ("name", "params", "expected"),
    [
        ("out.png", None, "PNG"),
        ("out.PNG", RemovalParams(w=20), "PNG"),
        ("out.jpg", None, "JPEG"),
        ("out.jpeg", RemovalParams(), "JPEG"),
        ("out.bmp", None, "BMP"),
        ("out.webp", None, "WEBP"),
        ("out", None, "WEBP"),
        ("out.part", None, "WEBP"),
        ("out.png", RemovalParams(format=Format.WEBP), "WEBP"),
        ("out.png", RemovalParams(format=Format.JPEG), "JPEG"),
    ],
)
def test_the_ending_of_a_destination_says_the_format(
    tmp_path: Path,
    picture: Callable[..., bytes],
    name: str,
    params: RemovalParams | None,
    expected: str,
) -> None:
    with Client("sandbox-key", transport=Sandbox(engine="flat").transport()) as client:
        client.remove_background(picture(), params, destination=tmp_path / name)
        assert Image.open(io.BytesIO((tmp_path / name).read_bytes())).format == expected
        client.remove_background(picture(), params, destination=str(tmp_path / name))
        assert Image.open(io.BytesIO((tmp_path / name).read_bytes())).format == expected


def test_a_chosen_format_is_no_parameter_of_its_own() -> None:
    assert RemovalParams() == RemovalParams(format=Format.WEBP)
    assert hash(RemovalParams()) == hash(RemovalParams(format=Format.WEBP))
    assert RemovalParams().form_fields() == {"format": "webp"}
