"""
A picture in, an alpha out: how much of each pixel is foreground.

Two engines: ``u2net``, a small neural network that does well on studio pictures, and
``fast``, a model of the backdrop. This is the only place that knows numpy and
onnxruntime; it is imported when the first picture comes, so that the rest of the
sandbox starts without them.
"""

import os
import threading
from collections.abc import Callable
from importlib import resources
from typing import Protocol

from PIL import Image

from rembg_watch.sandbox.exchange import MissingExtraError

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # spinning threads cost five times the work on two cores
try:
    import numpy as np
    import onnxruntime
    from numpy.typing import NDArray
except ImportError as error:
    raise MissingExtraError(error.name or "numpy") from error

Floats = NDArray[np.floating]
Mask = NDArray[np.bool_]


class Engine(Protocol):
    """Finds the foreground of an upright RGB picture."""

    def alpha(self, picture: Image.Image) -> Image.Image:
        """Return how much of each pixel is foreground, as a picture of mode L and the same size."""
        ...


NOTHING_FOUND_SPAN = 0.05
NOTHING_FOUND_COVERAGE = 0.005
WORK_PX = 640
BACKDROP_DISTANCE = 12.0
LIGHTNESS_WEIGHT = 0.2


class U2Net:
    """U-2-Net, small variant, with a colour-guided refinement of its edges."""

    def __init__(self) -> None:
        options = onnxruntime.SessionOptions()
        options.enable_cpu_mem_arena = False
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        model = (resources.files("rembg_watch.sandbox") / "model" / "u2netp.onnx").read_bytes()
        self._session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self._input = self._session.get_inputs()[0].name
        self._running = threading.Lock()
        self._mean = np.array([0.485, 0.456, 0.406], np.float32)
        self._deviation = np.array([0.229, 0.224, 0.225], np.float32)

    def alpha(self, picture: Image.Image) -> Image.Image:
        """Return the foreground; all of the picture where the network sees nothing that stands out."""
        small = np.asarray(picture.resize((320, 320), Image.Resampling.LANCZOS), np.float32)
        tensor = (small / max(float(small.max()), 1.0) - self._mean) / self._deviation
        with self._running:
            raw = self._session.run(None, {self._input: tensor.transpose(2, 0, 1)[None]})[0][0, 0]
        span = float(raw.max() - raw.min())
        coverage = float((raw > 0.5).mean())
        if span < NOTHING_FOUND_SPAN or coverage < NOTHING_FOUND_COVERAGE:
            return Image.new("L", picture.size, 255)
        return _refined(picture, (raw - raw.min()) / span)


class Backdrop:
    """
    A model of the backdrop: a bent plane through the border's colours, filled inwards from the border.

    Lightness counts little, so that most shadows go. It fails on glass and on real scenes; it is for
    rehearsals where each answer must come from its own picture and the network would be too slow.
    """

    def alpha(self, picture: Image.Image) -> Image.Image:
        """Return what differs from the backdrop; all of the picture where nothing does."""
        small = picture.copy()
        small.thumbnail((256, 256), Image.Resampling.BOX)
        distance = _backdrop_distance(np.asarray(small.convert("LAB"), np.float32))
        ground = _reached_from_border(distance < BACKDROP_DISTANCE) | (distance < BACKDROP_DISTANCE / 2)
        if 1 - float(ground.mean()) < NOTHING_FOUND_COVERAGE:
            return Image.new("L", picture.size, 255)
        alpha = np.where(ground, np.clip(distance * 2 / BACKDROP_DISTANCE - 1, 0, 1), 1.0)
        return Image.fromarray((alpha * 255).astype(np.uint8)).resize(picture.size, Image.Resampling.BICUBIC)


def _backdrop_distance(lab: Floats) -> Floats:
    height, width = lab.shape[:2]
    lab = lab.copy()
    lab[..., 1:] = (lab[..., 1:] + 128) % 256  # Pillow keeps a and b as signed bytes
    lab[..., 0] *= LIGHTNESS_WEIGHT
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    down, across = rows / height, columns / width
    basis = np.stack([np.ones_like(rows), down, across, down * down, across * across, down * across], axis=-1)
    edge = max(1, min(height, width) // 24)
    is_border = np.zeros((height, width), bool)
    is_border[:edge], is_border[-edge:], is_border[:, :edge], is_border[:, -edge:] = True, True, True, True
    plane, *_ = np.linalg.lstsq(basis[is_border], lab[is_border], rcond=None)
    distance: Floats = np.sqrt(((lab - basis @ plane) ** 2).sum(axis=-1))
    return distance


def _reached_from_border(passable: Mask) -> Mask:
    reached = passable.copy()
    reached[1:-1, 1:-1] = False
    while True:
        grown = reached.copy()
        grown[1:] |= reached[:-1]
        grown[:-1] |= reached[1:]
        grown[:, 1:] |= reached[:, :-1]
        grown[:, :-1] |= reached[:, 1:]
        grown &= passable
        if (grown == reached).all():
            return reached
        reached = grown


def _refined(picture: Image.Image, coarse: Floats) -> Image.Image:
    """Sharpen a coarse alpha along the colours of the picture with a guided filter, at full size in strips."""
    work = picture.copy()
    work.thumbnail((WORK_PX, WORK_PX), Image.Resampling.BILINEAR)
    guide = np.asarray(work, np.float32) / 255
    rough = Image.fromarray(np.ascontiguousarray(coarse, np.float32)).resize(work.size, Image.Resampling.BILINEAR)
    slopes, offset = _guided_filter(guide, np.asarray(rough), radius=max(2, max(work.size) // 100), eps=1e-4)
    planes = [Image.fromarray(np.ascontiguousarray(plane)) for plane in (*np.moveaxis(slopes, -1, 0), offset)]
    return _applied(picture, planes)


def _applied(picture: Image.Image, planes: list[Image.Image]) -> Image.Image:
    result = Image.new("L", picture.size)
    width, height = picture.size
    scale = planes[0].height / height
    for top in range(0, height, 512):
        rows = min(512, height - top)
        box = (0, top * scale, planes[0].width, min(planes[0].height, (top + rows) * scale))
        wide = [np.asarray(p.resize((width, rows), Image.Resampling.BILINEAR, box=box)) for p in planes]
        strip = np.asarray(picture.crop((0, top, width, top + rows)), np.float32) / 255
        alpha = sum(strip[..., band] * wide[band] for band in range(3)) + wide[3]
        levels = np.clip((alpha - 0.08) / 0.84, 0, 1)  # a haze over the ground and holes in the object both go
        result.paste(Image.fromarray((levels * 255 + 0.5).astype(np.uint8)), (0, top))
    return result


def _guided_filter(guide: Floats, target: Floats, *, radius: int, eps: float) -> tuple[Floats, Floats]:
    """Return per pixel the linear map from colour to alpha that fits best around it (He, Sun and Tang, 2010)."""

    def mean(values: Floats) -> Floats:
        return _box_mean(values, radius)

    mean_guide, mean_target = mean(guide), mean(target)
    covariance = mean(guide[..., :, None] * guide[..., None, :]) - mean_guide[..., :, None] * mean_guide[..., None, :]
    cross = mean(guide * target[..., None]) - mean_guide * mean_target[..., None]
    slopes = np.linalg.solve(covariance + eps * np.eye(3, dtype=np.float32), cross[..., None])[..., 0]
    offset = mean_target - (slopes * mean_guide).sum(axis=-1)
    return mean(slopes).astype(np.float32), mean(offset).astype(np.float32)


def _box_mean(values: Floats, radius: int) -> Floats:
    for axis in (0, 1):
        length = values.shape[axis]
        sums = np.concatenate(
            [np.zeros_like(np.take(values, [0], axis), np.float64), np.cumsum(values, axis, np.float64)], axis
        )
        low = np.maximum(np.arange(length) - radius, 0)
        high = np.minimum(np.arange(length) + radius + 1, length)
        counts = (high - low).reshape([-1 if i == axis else 1 for i in range(values.ndim)])
        values = (np.take(sums, high, axis) - np.take(sums, low, axis)) / counts
    return values


ENGINES: dict[str, Callable[[], Engine]] = {"u2net": U2Net, "fast": Backdrop}
