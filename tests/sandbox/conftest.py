"""Pictures and clients that the sandbox's tests share."""

import io
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image, ImageDraw

from rembg_watch.sandbox import Sandbox

NOON = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)


class Clock:
    """A clock that stands until it is told to move."""

    def __init__(self, now: datetime = NOON) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def pass_s(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def data() -> Path:
    return Path(__file__).parent.parent / "data"


def encoded(picture: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    target = io.BytesIO()
    picture.save(target, kind, **options)
    return target.getvalue()


@pytest.fixture
def make_picture() -> Callable[..., bytes]:
    """Make a studio-like picture: a red disc, off the middle, on a grey ground."""

    def make(width: int = 120, height: int = 80, kind: str = "JPEG", **options: Any) -> bytes:
        picture = Image.new("RGB", (width, height), (225, 226, 228))
        draw = ImageDraw.Draw(picture)
        side = min(width, height)
        draw.ellipse((side * 0.2, side * 0.2, side * 0.8, side * 0.8), fill=(190, 30, 40))
        return encoded(picture, kind, **options)

    return make


@pytest.fixture
def ask(make_picture: Callable[..., bytes]) -> Callable[..., httpx.Response]:
    """Send one request for a cut-out to a sandbox, in process."""

    def send(
        sandbox: Sandbox,
        fields: dict[str, str] | None = None,
        *,
        image: bytes | None = None,
        filename: str = "a.jpg",
        key: str | None = "sandbox-key",
        headers: dict[str, str] | None = None,
    ) -> httpx.Response:
        body = make_picture() if image is None else image
        sent = {**({"x-api-key": key} if key else {}), **(headers or {})}
        with httpx.Client(transport=sandbox.transport(), base_url="http://sandbox") as client:
            return client.post("/rmbg", files={"image": (filename, body)}, data=fields or {}, headers=sent)

    return send
