"""
How close the daemon comes to ``workers / latency``, beside what one would write or use instead.

The API is ``plain_api``, in a process of its own on the same machine, with 0.3 s of latency.
Everybody sends the same pictures with the same concurrency. The time of each answer is taken
at the server; the steady part is the middle three fifths of the answers, so that the start
and the end of a run, when not everybody has work, do not count. The ideal is N / 0.3. The
daemon's pace is set free, as if learned; everything else is as delivered: ledger and cut-outs
on the disk, each answer verified and published.

    python -m benchmarks.throughput                     # 8, 16 and 64 workers, all rivals
    python -m benchmarks.throughput --workers 16 --only daemon --seconds 5
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.studio import Studio, api, jpegs, times_of, wait_for

LATENCY_S = 0.3

REQUESTS_LOOP = """
import sys, requests
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
url, workers, folder, out = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]), Path(sys.argv[4])

def remove(path):
    with path.open("rb") as image:
        answer = requests.post(url, headers={"x-api-key": "benchmark-key"}, files={"image": image},
                               data={"format": "webp"})
    answer.raise_for_status()
    (out / (path.stem + ".webp")).write_bytes(answer.content)

with ThreadPoolExecutor(workers) as pool:
    list(pool.map(remove, sorted(folder.iterdir())))
"""

REMBG_JS_LOOP = """
const { rembg } = require(process.argv[6]);
const fs = require('fs'), path = require('path');
const [url, workers, folder, out] = process.argv.slice(2, 6);
const axios = require(require.resolve('axios', { paths: [process.argv[6]] }));
axios.interceptors.request.use(config => { config.url = url; return config; });
const names = fs.readdirSync(folder).sort();
async function worker() {
  for (let name; (name = names.shift());) {
    const { outputImagePath, cleanup } = await rembg({ apiKey: 'benchmark-key', inputImage: path.join(folder, name),
                                                       options: { format: 'webp' } });
    fs.copyFileSync(outputImagePath, path.join(out, path.parse(name).name + '.webp'));
    await cleanup();
  }
}
Promise.all(Array.from({ length: Number(workers) }, worker)).catch(error => { console.error(error); process.exit(1); });
"""


@dataclass(frozen=True)
class Run:
    """One run against a server that is up."""

    url: str
    workers: int
    pictures: Path
    room: Path  # for whatever is written

    def out(self) -> Path:
        place = self.room / "out"
        place.mkdir(parents=True, exist_ok=True)
        return place


def steady_per_s(ended_s: list[float], workers: int) -> float:
    """Return the answers a second of the middle three fifths, in whole volleys: rivals may answer in step."""
    ended_s, volleys = sorted(ended_s), len(ended_s) // workers
    edge = -(-volleys // 5)
    first, last = workers * edge - 1, workers * (volleys - edge) - 1
    return (last - first) / (ended_s[last] - ended_s[first])


def by_daemon(run: Run) -> str:
    studio = Studio(run.room, run.url, run.workers).prepare()
    studio.input.rmdir()
    studio.input.symlink_to(run.pictures)
    count = len(list(run.pictures.iterdir()))
    with studio.daemon() as process:
        wait_for(lambda: len(list(studio.output.iterdir())) >= count, 300, every_s=0.5)
        return f"{process.cpu_s() / count * 1e3:.1f} ms CPU each, {process.memory_mb('VmHWM'):.0f} MB"


def by_curl(run: Run) -> str:
    names = b"\0".join(bytes(path) for path in sorted(run.pictures.iterdir()))
    one = 'exec curl -s -f -H "x-api-key: benchmark-key" -F "image=@$1" -F format=webp -o "$0/${1##*/}.webp" "$2"'
    command = ["xargs", "-0", "-P", str(run.workers), "-I", "{}", "sh", "-c", one, str(run.out()), "{}"]
    subprocess.run([*command, f"{run.url}/rmbg"], input=names, check=True)
    return ""


def by_requests(run: Run) -> str:
    words = [f"{run.url}/rmbg", str(run.workers), str(run.pictures), str(run.out())]
    subprocess.run([sys.executable, "-c", REQUESTS_LOOP, *words], check=True)
    return ""


def by_rembg_js(run: Run, package: Path) -> str:
    script = run.room / "loop.cjs"
    script.write_text(REMBG_JS_LOOP, encoding="utf-8")
    words = [f"{run.url}/rmbg", str(run.workers), str(run.pictures), str(run.out()), str(package)]
    subprocess.run(["node", str(script), *words], check=True, stdout=subprocess.DEVNULL)
    return ""


def rivals(package: Path | None) -> dict[str, Callable[[Run], str]]:
    found: dict[str, Callable[[Run], str]] = {
        "daemon": by_daemon,
        "xargs -P with curl": by_curl,
        "requests in threads": by_requests,
    }
    if package is not None:
        found["rembg.js in a loop"] = lambda run: by_rembg_js(run, package)
    return found


def measure(root: Path, workers: int, seconds: float, rounds: int, tried: dict[str, Callable[[Run], str]]) -> None:
    """
    Let everybody run in turn, so that a noisy neighbour meets all of them, and print medians.

    Nothing is removed between the runs: on ext4, who makes files after many were removed pays for it.
    """
    ideal = workers / LATENCY_S
    shares: dict[str, list[float]] = {name: [] for name in tried}
    notes: dict[str, str] = {}
    jpegs(root / "pictures", int(ideal * seconds) + 3 * workers, size_bytes=100_000)
    with api(root, latency_s=LATENCY_S) as url:
        for number in range(rounds):
            for name, send in tried.items():
                room = root / f"{name.replace(' ', '-')}-{number}"
                room.mkdir()
                times_of(url)
                notes[name] = send(Run(url, workers, root / "pictures", room))
                shares[name].append(steady_per_s([ended_s for _, ended_s in times_of(url)], workers) / ideal)
    for name, found in shares.items():
        each = " ".join(f"{share:.1%}" for share in sorted(found))
        median = statistics.median(found)
        print(f"| {workers} | {name} | {median * ideal:.1f}/s | {median:.1%} | {each} | {notes[name]} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, nargs="+", default=[8, 16, 64])
    parser.add_argument("--seconds", type=float, default=10.0, help="how long the ideal would take")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", help="a part of the name of the only one to run")
    parser.add_argument("--rembg-js", type=Path, help="the folder of the vendor's package, with its node_modules")
    options = parser.parse_args()
    tried = {name: send for name, send in rivals(options.rembg_js).items() if not options.only or options.only in name}
    print("| workers | who | answers | of the ideal | each run | |\n|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as temporary:
        for workers in options.workers:
            root = Path(temporary) / str(workers)
            root.mkdir()
            measure(root, workers, options.seconds, options.rounds, tried)


if __name__ == "__main__":
    main()
