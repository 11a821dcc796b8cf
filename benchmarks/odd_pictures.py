"""
What becomes of odd pictures in a folder that makes deliverables: what goes in, and why the rest does not.

Made for the test pictures of Pillow (``Tests/images`` of its source package); any folder will do.

    python benchmarks/odd_pictures.py pillow-11.3.0/Tests/images [--all] [--px 4000]

A picture that Pillow or libvips decodes and that is refused here is marked; so is one that is sent in another size.
"""

import argparse
import tempfile
import time
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

from PIL import Image, ImageOps

from rembg_watch.delivery.decoders import Decoders
from rembg_watch.host import disk
from rembg_watch.pictures import formats, inspection
from rembg_watch.pictures.sending import AS_IT_IS, Sends
from rembg_watch.pipeline.source import SourceError, open_picture


def of_pillow(path: Path) -> tuple[int, int] | None:
    """Return the sides, upright; None if it does not decode."""
    try:
        with Image.open(path) as picture:
            picture.load()
            return ImageOps.exif_transpose(picture).size
    except Exception:  # noqa: BLE001 - whatever it raises
        return None


def of_vips(path: Path) -> tuple[int, int] | None:
    import pyvips

    try:
        picture = pyvips.Image.new_from_file(str(path), fail_on="truncated").autorot()
        picture.avg()
    except pyvips.Error:
        return None
    return picture.width, picture.height


def look_at(path: Path) -> formats.Look:
    with path.open("rb") as file:
        return inspection.inspect(file.fileno(), reads_more=True)


def prepared(path: Path, decoders: Decoders, px: int, scratch: Path) -> tuple[str, tuple[int, int] | None]:
    """Return the way in which it is sent and its sides, or why it is not."""
    options: dict[str, Any] = {"make": decoders.upright, "proxy": decoders.proxy}
    try:
        with open_picture(path, disk.version_of(path.stat()), scratch=scratch, sends=Sends(px=px), **options) as found:
            sides = (found.width, found.height)
            is_on_its_side = found.way == AS_IT_IS and found.orientation > 4
            return found.way, sides[::-1] if is_on_its_side else sides
    except SourceError as error:
        return error.reason, None


def fits(sent: tuple[int, int], whole: tuple[int, int], px: int) -> bool:
    scale = min(1.0, px / max(whole))
    return all(abs(one - other * scale) <= 1 for one, other in zip(sent, whole, strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--px", type=int, default=4000)
    parser.add_argument("--all", action="store_true", help="show each file, not only what is odd")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    Image.MAX_IMAGE_PIXELS = 600_000_000
    rows: Counter[tuple[str, str]] = Counter()
    told: list[str] = []
    decoders, begun = Decoders(tell=lambda error: told.append(str(error))), time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        for path in sorted(one for one in options.folder.rglob("*") if one.is_file()):
            look = look_at(path)
            kind = str(look.any_kind or ("raw" if "raw" in look.name else ""))
            if not kind:
                continue
            why, sides = prepared(path, decoders, options.px, Path(scratch))
            known = of_pillow(path) or of_vips(path)
            outcome = verdict(sides, known, options.px)
            rows[kind, outcome] += 1
            if options.all or outcome not in ("prepared", "refused, as by both"):
                print(f"{kind:5} {path.name[:48]:48} {outcome:22} {why}")
    decoders.close()
    print(f"\n{time.monotonic() - begun:.0f} s; processes that ended: {len(told)}")
    for (kind, outcome), number in sorted(rows.items()):
        print(f"{kind:5} {outcome:24} {number}")


def verdict(sides: tuple[int, int] | None, known: tuple[int, int] | None, px: int) -> str:
    if sides is None:
        return "REFUSED, and decodes" if known else "refused, as by both"
    if known is None:
        return "prepared, by us alone"
    return "prepared" if fits(sides, known, px) else f"OTHER SIZE {sides} {known}"


if __name__ == "__main__":
    main()
