"""What keeps the watchdog from taking a slow upload for a deadlock."""

import io
from pathlib import Path

import numpy as np
from PIL import Image

from rembg_watch.pipeline import Paid, Ready
from tests.life import Studio


def test_a_long_upload_shows_that_it_lives_with_every_block(tmp_path: Path) -> None:
    """A large picture on a thin line takes many minutes, and each byte that moves earns it more time."""
    studio = Studio.make(tmp_path)
    noise = np.random.default_rng(1).integers(0, 256, (700, 700, 3), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(noise).save(out, "PNG")
    (tmp_path / "in" / "large.png").write_bytes(out.getvalue())
    beats: list[None] = []
    with studio.live() as life:
        life.find()
        [job] = life.claim()
        ready = life.pipeline.prepare(job)
        assert isinstance(ready, Ready)
        assert isinstance(life.pipeline.call(ready, beat=lambda: beats.append(None)), Paid)
    assert len(beats) > 12, f"{len(beats)} for {len(out.getvalue())} bytes"
