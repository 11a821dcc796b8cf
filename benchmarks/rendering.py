"""
How long deliverables take and how much memory, beside the same work by the command line of libvips.

The work: a picture of 60 megapixels and 16 bits becomes a print TIFF with alpha, a shop JPEG of 2000 pixels and a
thumbnail; a JPEG of 24 megapixels becomes a shop JPEG and a transparent PNG. The command line gets the same alpha,
frame, profile and format, by way of files of its own; it cleans no edges, so ours are measured with and without.

    apt-get install libvips-tools
    python benchmarks/rendering.py [--at-once 8] [--folder DIR]
"""

import argparse
import os
import shutil
import subprocess
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pyvips

from rembg_watch.delivery.decoders import Decoders
from rembg_watch.delivery.making import Making
from rembg_watch.pictures.deliverable import Deliverable, Edges, FileFormat, Master
from rembg_watch.pictures.profiles import adobe_rgb

PRINT = Deliverable(name="print", format=FileFormat.TIFF, compression="none", dpi=300)
SHOP = Deliverable(
    name="shop", format=FileFormat.JPEG, canvas=(2000, 2000), fill=0.85, colour="srgb", background="#ffffff", dpi=300
)
THUMBNAIL = Deliverable(name="thumbnail", format=FileFormat.WEBP, canvas=(600, 600), fill=0.85, colour="srgb")
CLEAR = Deliverable(name="clear", format=FileFormat.PNG)


@dataclass(frozen=True)
class Work:
    name: str
    source: Path
    master: Path
    size: tuple[int, int]
    box: tuple[int, int, int, int]  # of the object in the source: left, top, width, height
    wanted: tuple[Deliverable, ...]


def drawn(folder: Path, name: str, size: tuple[int, int], master: tuple[int, int], bits: int) -> Work:
    """Draw an object with a hole on a sweep, and its mask, and keep both for the next time."""
    source, mask = folder / f"{name}.{'tif' if bits == 16 else 'jpg'}", folder / f"{name}-mask.png"
    by = size[0] / master[0]
    centre, radius = (master[0] // 2, master[1] // 2), int(master[1] * 0.42)
    box = tuple(int(one * by) for one in (centre[0] - radius, centre[1] - radius, 2 * radius + 1, 2 * radius + 1))
    if not mask.exists():
        alpha = pyvips.Image.black(*master).draw_circle(255, *centre, radius, fill=True)
        alpha = alpha.draw_circle(0, centre[0] + radius // 3, centre[1], radius // 6, fill=True).cast("uchar")
        alpha.gaussblur(1.5).write_to_file(str(mask))
        xy = pyvips.Image.xyz(*size)
        noise = pyvips.Image.perlin(*size, cell_size=64) * 9000 + pyvips.Image.gaussnoise(*size, sigma=300)
        light = (xy[1] * (20000 / size[1]) + 40000 + noise).bandjoin([xy[0] * (20000 / size[0]) + 35000 + noise])
        sweep = light.bandjoin(xy[1] * 0 + 52000 + noise)
        thing = (noise * 2 + 20000).bandjoin([noise + 9000, noise * 3 + 14000])
        inside = alpha.resize(by, vscale=size[1] / master[1], kernel="cubic") * (1 / 255)
        image = (thing * inside + sweep * (1 - inside)).cast("ushort").copy(interpretation="rgb16")
        if bits == 8:
            image = (image / 257).cast("uchar").copy(interpretation="srgb")
        image.set_type(pyvips.GValue.blob_type, "icc-profile-data", adobe_rgb())
        image.write_to_file(str(source), **({"Q": 95} if bits == 8 else {"compression": "none"}))
    wanted = (PRINT, SHOP, THUMBNAIL) if bits == 16 else (SHOP, CLEAR)
    return Work(name, source, mask, size, box, wanted)  # type: ignore[arg-type]


# --- by the command line ------------------------------------------------------------------------


def by_command_line(work: Work, wanted: Deliverable, folder: Path) -> tuple[float, int]:
    """Return seconds, and the peak of megabytes that any of the commands took."""
    begun, peak = time.perf_counter(), 0
    for command in commands(work, wanted, folder):
        process = subprocess.Popen(["vips", *command], env={**os.environ, "VIPS_CONCURRENCY": "2"})
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = 0
        if status:
            raise SystemExit(f"vips {' '.join(command)} failed")
        peak = max(peak, used.ru_maxrss // 1024)
    return time.perf_counter() - begun, peak


def commands(work: Work, wanted: Deliverable, folder: Path) -> list[list[str]]:
    source, mask = str(work.source), str(work.master)
    alpha, joined, made = (str(folder / name) for name in ("alpha.v", "joined.v", "made.v"))
    (width, height), (left, top, wide, tall) = work.size, work.box
    mask_width = pyvips.Image.new_from_file(mask).width
    if wanted in (PRINT, CLEAR):
        by = str(width / mask_width)
        out = str(folder / "made") + (".tif[compression=none]" if wanted is PRINT else ".png")
        up = [["resize", mask, made, by, "--kernel", "cubic"]]
        if wanted is PRINT:
            up += [["linear", made, alpha + ".v", "257", "0"], ["cast", alpha + ".v", alpha, "ushort"]]
        else:
            alpha = made
        return [*up, ["bandjoin", f"{source} {alpha}", out]]
    assert isinstance(wanted.canvas, tuple)
    assert wanted.fill is not None
    side = wanted.canvas[0]
    scale = min(side * wanted.fill / wide, side * wanted.fill / tall)
    small, ours = str(folder / "small.v"), str(folder / "srgb.v")
    area = [str(round(one * scale)) for one in (left, top, wide, tall)]
    place = [str((side - round(one * scale)) // 2) for one in (wide, tall)]
    flat = wanted.background is not None
    return [
        [
            "thumbnail",
            source,
            small,
            str(round(width * scale)),
            "--height",
            str(round(height * scale)),
            "--size",
            "force",
        ],
        ["icc_transform", small, ours, "srgb", "--intent", "relative", "--depth", "8"],
        ["resize", mask, alpha, str(round(width * scale) / mask_width), "--kernel", "lanczos3"],
        ["extract_area", ours, str(folder / "a.v"), *area],
        ["extract_area", alpha, str(folder / "b.v"), *area],
        ["bandjoin", f"{folder / 'a.v'} {folder / 'b.v'}", joined],
        *([["flatten", joined, made, "--background", "255 255 255"]] if flat else []),
        [
            "embed",
            made if flat else joined,
            str(folder / "made") + (".jpg[Q=92]" if wanted is SHOP else ".webp[Q=92]"),
            *place,
            str(side),
            str(side),
            *(["--extend", "white"] if flat else []),
        ],
    ]


# --- by ours ------------------------------------------------------------------------------------


def peak_mb(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("VmHWM"))) // 1024


def now_mb(pids: frozenset[int]) -> int:
    total = 0
    for pid in pids:
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
        except OSError:
            continue
        total += int(next(line.split()[1] for line in lines if line.startswith("Pss:")))
    return total // 1024


def by_ours(work: Work, wanted: Deliverable, folder: Path, decoders: Decoders, edges: Edges) -> tuple[float, int]:
    """Return seconds, and how many megabytes the process took at its peak."""
    making = Making(
        master=work.master,
        kind=Master.MASK,
        deliverable=wanted,
        sent="proxy",
        px=work.size[0] * work.size[1],
        edges=edges,
    )
    out = folder / f"{work.name}-{wanted.name}-{edges}-{threading.get_ident()}{wanted.format.extension}"
    begun = time.perf_counter()
    with (
        work.source.open("rb") as source,
        out.open("w+b") as output,
        (folder / f"{out.name}.scratch").open("w+b") as aside,
    ):
        decoders.make(source, output, aside, making)
    took = time.perf_counter() - begun
    return took, max(map(peak_mb, decoders.pids))


def measured(work: Work, folder: Path) -> None:
    print(f"\n{work.name}: {work.size[0]} x {work.size[1]}, {work.source.stat().st_size / 1e6:.0f} MB")
    print(
        "| deliverable | vips, s | MB | as-is, s | MB | clean, s | MB | clean / vips |",
        "|---|---|---|---|---|---|---|---|",
        sep="\n",
    )
    sums = [0.0] * 3
    for wanted in work.wanted:
        row: list[tuple[float, int]] = [by_command_line(work, wanted, folder)]
        for edges in (Edges.AS_IS, Edges.CLEAN):
            decoders = Decoders(tell=print, most=1)
            small = Making(master=work.master, kind=Master.MASK, deliverable=THUMBNAIL, sent="", px=1)
            warm(decoders, small, folder)
            row.append(by_ours(work, wanted, folder, decoders, edges))
            decoders.close()
        sums = [one + seconds for one, (seconds, _) in zip(sums, row, strict=True)]
        cells = " | ".join(f"{seconds:.2f} | {mb}" for seconds, mb in row)
        print(f"| {wanted.name} | {cells} | {row[2][0] / row[0][0]:.2f} |", flush=True)
    print(f"| together | {sums[0]:.2f} | | {sums[1]:.2f} | | {sums[2]:.2f} | | {sums[2] / sums[0]:.2f} |")


def warm(decoders: Decoders, small: Making, folder: Path) -> None:
    """Have the process there: it is started once for many pictures."""
    dot = folder / "dot.png"
    pyvips.Image.black(8, 8, bands=3).write_to_file(str(dot))
    (pyvips.Image.black(8, 8) + 255).cast("uchar").write_to_file(str(folder / "dot-mask.png"))
    making = Making(
        master=folder / "dot-mask.png", kind=small.kind, deliverable=Deliverable(name="dot"), sent="", px=64
    )
    with dot.open("rb") as source, (folder / "x").open("w+b") as output, (folder / "y").open("w+b") as aside:
        decoders.make(source, output, aside, making)


def at_once(work: Work, folder: Path, count: int) -> None:
    """Make so many print TIFFs together, as a shoot that arrives does; those that would take too much wait."""
    decoders, peak, is_over = Decoders(tell=print), [0], threading.Event()

    def watch() -> None:
        while not is_over.wait(0.05):
            peak[0] = max(peak[0], now_mb(decoders.pids))

    watcher = threading.Thread(target=watch)
    watcher.start()
    begun = time.perf_counter()
    with ThreadPoolExecutor(count) as pool:
        list(pool.map(lambda _: by_ours(work, PRINT, folder, decoders, Edges.CLEAN), range(count)))
    is_over.set()
    watcher.join()
    decoders.close()
    print(f"\n{count} at once: {time.perf_counter() - begun:.1f} s, {peak[0]} MB together at the peak")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--at-once", type=int, default=8)
    parser.add_argument("--folder", type=Path, help="keeps the pictures for the next time")
    given = parser.parse_args()
    if shutil.which("vips") is None:
        raise SystemExit("needs the command line of libvips: apt-get install libvips-tools")
    with tempfile.TemporaryDirectory() as made:
        folder = given.folder or Path(made)
        folder.mkdir(parents=True, exist_ok=True)
        large = drawn(folder, "print-60mp", (9000, 6700), (4000, 2978), 16)
        common = drawn(folder, "camera-24mp", (6000, 4000), (4000, 2667), 8)
        for work in (large, common):
            measured(work, Path(made))
        at_once(large, Path(made), given.at_once)


if __name__ == "__main__":
    main()
