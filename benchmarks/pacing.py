"""
How well the pacer uses a rate that nobody states, against what others do: a simulation.

Twelve servers, an endless queue, one hour of simulated time, the first five minutes not counted.
Goodput is accepted calls divided by what server and workers allow: min(rate, workers / mean latency).
Refused is the share of calls refused in the counted part. Cold is the number of refusals until the
first 1,000 pictures are through.

    python benchmarks/pacing.py                 the twelve servers, every algorithm
    python benchmarks/pacing.py --only ours     one algorithm
    python benchmarks/pacing.py --random 60     servers drawn at random, on which nothing was tuned
    python benchmarks/pacing.py --outage 300    counted are the ten minutes after one in which everything was refused
"""

import argparse
import heapq
import math
import random
import sys
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import count
from statistics import mean
from typing import Protocol

from rembg_watch.account.pacing import Pacer

HOUR_S, WARM_S, COLD_PICTURES = 3600.0, 300.0, 1000
OUTAGE_AT_S, AFTER_S = 1200.0, 600.0
ACCEPTED_S = (0.5, 3.0)  # latency of an accepted call
REFUSED_S = (0.05, 0.4)  # latency of a refusal
TRANSIT_S = 0.03  # longest way from the worker to the limiter

# ---- servers -----------------------------------------------------------------------------


class Bucket:
    """A token bucket: *rate* a second, at most *burst* saved up."""

    def __init__(self, rate: float, burst: float, _start: float) -> None:
        self.rate, self.burst, self.tokens, self.at = rate, burst, burst, 0.0

    def allows(self, now: float) -> bool:
        self.tokens = min(self.burst, self.tokens + (now - self.at) * self.rate)
        self.at = now
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True


class Sliding:
    """At most *limit* in any *window_s* seconds; with *counts_refused*, refusals are counted too."""

    def __init__(self, limit: int, window_s: float, _start: float, *, counts_refused: bool = False) -> None:
        self.limit, self.window_s, self.counts_refused = limit, window_s, counts_refused
        self.seen: deque[float] = deque()

    def allows(self, now: float) -> bool:
        seen = self.seen
        while seen and seen[0] <= now - self.window_s:
            seen.popleft()
        ok = len(seen) < self.limit
        if ok or self.counts_refused:
            seen.append(now)
        return ok


class Fixed:
    """At most *limit* in each window of the server's own clock."""

    def __init__(self, limit: int, window_s: float, start: float) -> None:
        self.limit, self.window_s, self.start = limit, window_s, start * window_s
        self.window, self.used = -1, 0

    def allows(self, now: float) -> bool:
        window = int((now + self.start) // self.window_s)
        if window != self.window:
            self.window, self.used = window, 0
        self.used += 1
        return self.used <= self.limit


class Limiter(Protocol):
    def allows(self, now: float) -> bool: ...


class Outage:
    """Another limiter, and a time in which nothing is allowed."""

    def __init__(self, limiter: Limiter, outage_s: float) -> None:
        self.limiter, self.outage_s = limiter, outage_s

    def allows(self, now: float) -> bool:
        return not OUTAGE_AT_S <= now < OUTAGE_AT_S + self.outage_s and self.limiter.allows(now)


@dataclass(frozen=True)
class Server:
    name: str
    rate: float
    make: Callable[[float], Limiter]
    workers: int = 16
    accepted_s: tuple[float, float] = ACCEPTED_S
    refused_s: tuple[float, float] = REFUSED_S

    def with_outage(self, outage_s: float) -> "Server":
        return replace(self, make=lambda start: Outage(self.make(start), outage_s))

    @property
    def ideal(self) -> float:
        return min(self.rate, self.workers / mean(self.accepted_s))


def bucket(rate: float, burst: float, workers: int = 16) -> Server:
    return Server(
        f"bucket {rate:g}/s burst {burst:g}, {workers} workers", rate, lambda x: Bucket(rate, burst, x), workers
    )


def sliding(limit: int, window_s: float, workers: int = 16, *, counts_refused: bool = False) -> Server:
    name = f"sliding {limit} in {window_s:g} s{', refusals count' if counts_refused else ''}, {workers} workers"
    return Server(name, limit / window_s, lambda x: Sliding(limit, window_s, x, counts_refused=counts_refused), workers)


def fixed(limit: int, window_s: float, workers: int = 16) -> Server:
    name = f"fixed {limit} in {window_s:g} s, {workers} workers"
    return Server(name, limit / window_s, lambda x: Fixed(limit, window_s, x), workers)


TWELVE = (
    bucket(2, 2),
    bucket(2, 20),
    bucket(5, 5),
    bucket(10, 10),
    bucket(10, 10, 32),
    bucket(50, 50),
    bucket(50, 50, 128),
    sliding(30, 60),
    sliding(120, 60),
    sliding(600, 60, 32),
    fixed(120, 60),
    sliding(120, 60, counts_refused=True),
)


def drawn(n: int, seed: int) -> list[Server]:
    """Draw servers of every kind: rates from one in five seconds to 60 a second, small and large bursts and windows."""
    chance = random.Random(seed)
    servers = []
    for _ in range(n):
        rate = math.exp(chance.uniform(math.log(0.2), math.log(60)))
        workers = chance.choice((4, 8, 16, 32, 64))
        window_s = chance.choice((1, 10, 60, 60, 60, 300))
        limit = max(1, round(rate * window_s))
        kind = chance.randrange(4)
        if kind == 0:
            server = bucket(
                round(rate, 2), round(math.exp(chance.uniform(0, math.log(max(2.0, rate * 30)))), 1), workers
            )
        elif kind == 3:
            server = fixed(limit, window_s, workers)
        else:
            server = sliding(limit, window_s, workers, counts_refused=kind == 2)
        low_s = chance.uniform(0.2, 1.5)
        servers.append(
            Server(
                server.name,
                server.rate,
                server.make,
                workers,
                (low_s, low_s * chance.uniform(1.5, 6)),
                (0.05, chance.uniform(0.1, 1.5)),
            )
        )
    return servers


# ---- algorithms --------------------------------------------------------------------------


class Algorithm(Protocol):
    """What the workers ask; ``pause_s`` is how long the worker of a refused call waits on its own."""

    try_acquire: Callable[[float], float]
    accepted: Callable[[float, float], None]
    refused: Callable[..., None]

    def pause_s(self, tries: int, chance: random.Random) -> float: ...


class Ours:
    name = "rembg-watch"

    def __init__(self, _server: Server) -> None:
        self.pacer = Pacer(-60.0)  # the daemon stands before the first picture comes
        self.try_acquire, self.accepted, self.refused = self.pacer.try_acquire, self.pacer.accepted, self.pacer.refused

    def pause_s(self, _tries: int, _chance: random.Random) -> float:
        return 0.0


class Tenacity:
    """Exponential backoff with full jitter in every worker, 1 s to 60 s: tenacity, stamina, the OpenAI recipe."""

    name = "per-worker backoff"

    def __init__(self, _server: Server) -> None:
        pass

    def try_acquire(self, _now: float) -> float:
        return 0.0

    def accepted(self, _sent_at: float, now: float) -> None:
        pass

    def refused(self, _sent_at: float, now: float, **_more: float) -> None:
        pass

    def pause_s(self, tries: int, chance: random.Random) -> float:
        return chance.uniform(0, min(60.0, 2.0 ** min(tries, 6)))


class Adaptive(Tenacity):
    """
    The "adaptive" mode of the AWS SDKs: a client-side token bucket whose rate is cut by 0.7 and grows by a cubic,
    together with backoff in every worker.
    """

    name = "AWS adaptive"
    BETA, SCALE = 0.7, 0.4

    def __init__(self, server: Server) -> None:
        super().__init__(server)
        self.is_on = False
        self.fill, self.capacity, self.tokens = 0.5, 1.0, 0.0
        self.at = self.cut_at = 0.0
        self.best = self.window = self.measured = 0.0
        self.calls, self.bin_at = 0, 0.0

    def try_acquire(self, now: float) -> float:
        if not self.is_on:
            return 0.0
        self.tokens = min(self.capacity, self.tokens + (now - self.at) * self.fill)
        self.at = now
        if self.tokens < 1:
            return (1 - self.tokens) / self.fill + 1e-6
        self.tokens -= 1
        return 0.0

    def _measure(self, now: float) -> None:
        half = math.floor(now * 2) / 2
        self.calls += 1
        if half > self.bin_at:
            self.measured = 0.8 * self.calls / (half - self.bin_at) + 0.2 * self.measured
            self.calls, self.bin_at = 0, half

    def _set(self, rate: float, now: float) -> None:
        self.tokens = min(self.capacity, self.tokens + (now - self.at) * self.fill)
        self.at = now
        self.fill, self.capacity = max(0.5, min(rate, 2 * self.measured)), max(1.0, rate)
        self.tokens = min(self.tokens, self.capacity)

    def accepted(self, _sent_at: float, now: float) -> None:
        self._measure(now)
        self.window = (self.best * (1 - self.BETA) / self.SCALE) ** (1 / 3)
        if self.is_on:
            self._set(self.SCALE * (now - self.cut_at - self.window) ** 3 + self.best, now)

    def refused(self, _sent_at: float, now: float, **_more: float) -> None:
        self._measure(now)
        rate = min(self.measured, self.fill) if self.is_on else self.measured
        self.best, self.cut_at, self.is_on = rate, now, True
        self.window = (self.best * (1 - self.BETA) / self.SCALE) ** (1 / 3)
        self._set(rate * self.BETA, now)

    def pause_s(self, tries: int, chance: random.Random) -> float:
        return chance.uniform(0, min(20.0, 2.0 ** min(tries, 5)))


class Told(Tenacity):
    """A gate that is told the rate and goes evenly at 0.98 of it."""

    name = "told the rate"

    def __init__(self, server: Server) -> None:
        super().__init__(server)
        self.every_s, self.next_at = 1 / (0.98 * server.rate), 0.0

    def try_acquire(self, now: float) -> float:
        if now < self.next_at:
            return self.next_at - now
        self.next_at = max(self.next_at, now - 0.01) + self.every_s
        return 0.0

    def pause_s(self, tries: int, chance: random.Random) -> float:
        return chance.uniform(0, min(20.0, 2.0 ** min(tries, 5)))


ALGORITHMS = {"ours": Ours, "backoff": Tenacity, "aws": Adaptive, "told": Told}

# ---- the simulation ----------------------------------------------------------------------


@dataclass(frozen=True)
class Run:
    goodput: float  # share of the ideal
    refused: float  # share of the calls
    cold: int | None  # refusals until the first pictures were through; None: they never were


class Simulation:
    """Workers with an endless queue: every call takes its time, and its end is told to the algorithm."""

    def __init__(
        self, server: Server, algorithm: Algorithm, seed: int, *, warm_s: float = WARM_S, end_s: float = HOUR_S
    ) -> None:
        self.server, self.algorithm, self.chance = server, algorithm, random.Random(seed)
        self.limiter = server.make(self.chance.random())
        self.warm_s, self.end_s = warm_s, end_s
        self.now, self.woken_at = 0.0, -1.0
        self.order = count()
        self.events: list[tuple[float, int, Callable[[float, int], None], float, int]] = []
        self.ready = [0] * server.workers  # tries of each worker that is free: 0 for a new picture
        self.accepted = self.refused = self.late_accepted = self.late_refused = 0
        self.cold: int | None = None

    def run(self) -> Run:
        events = self.events
        while self.now < self.end_s:
            self.send()
            self.now, _, what, sent_at, tries = heapq.heappop(events)
            what(sent_at, tries)
        calls = self.late_accepted + self.late_refused
        goodput = self.late_accepted / ((self.end_s - self.warm_s) * self.server.ideal)
        return Run(goodput, self.late_refused / calls if calls else 0.0, self.cold)

    def later(self, after_s: float, what: Callable[[float, int], None], sent_at: float, tries: int) -> None:
        heapq.heappush(self.events, (self.now + after_s, next(self.order), what, sent_at, tries))

    def send(self) -> None:
        """Let every free worker send that may."""
        while self.ready:
            wait_s = self.algorithm.try_acquire(self.now)
            if wait_s > 0:
                if not self.now < self.woken_at <= self.now + wait_s:
                    self.woken_at = self.now + wait_s
                    self.later(wait_s, self.wake, 0.0, 0)
                return
            self.later(self.chance.uniform(0, TRANSIT_S), self.arrive, self.now, self.ready.pop() + 1)

    def wake(self, _sent_at: float, _tries: int) -> None:
        pass

    def arrive(self, sent_at: float, tries: int) -> None:
        if self.limiter.allows(self.now):
            self.later(self.chance.uniform(*self.server.accepted_s), self.accept, sent_at, tries)
        else:
            self.later(self.chance.uniform(*self.server.refused_s), self.refuse, sent_at, tries)

    def accept(self, sent_at: float, _tries: int) -> None:
        self.algorithm.accepted(sent_at, self.now)
        self.ready.append(0)
        self.accepted += 1
        self.late_accepted += self.now >= self.warm_s
        if self.accepted == COLD_PICTURES:
            self.cold = self.refused

    def refuse(self, sent_at: float, tries: int) -> None:
        self.algorithm.refused(sent_at, self.now, jitter=self.chance.random())
        self.refused += 1
        self.late_refused += self.now >= self.warm_s
        pause_s = self.algorithm.pause_s(tries, self.chance)
        if pause_s > 0:
            self.later(pause_s, self.come_back, sent_at, tries)
        else:
            self.ready.append(tries)

    def come_back(self, _sent_at: float, tries: int) -> None:
        self.ready.append(tries)


def simulate(server: Server, algorithm: Algorithm, seed: int) -> Run:
    return Simulation(server, algorithm, seed).run()


def simulate_outage(server: Server, algorithm: Algorithm, seed: int, outage_s: float) -> Run:
    """Count the time after an outage alone; *algorithm* is one for the server without it."""
    from_s = OUTAGE_AT_S + outage_s
    return Simulation(server.with_outage(outage_s), algorithm, seed, warm_s=from_s, end_s=from_s + AFTER_S).run()


# ---- the tables --------------------------------------------------------------------------


def is_good(runs: list[Run]) -> bool:
    """Say whether both targets are reached: 95 % of the ideal, and at most 1 % refused."""
    return mean(r.goodput for r in runs) >= 0.95 and mean(r.refused for r in runs) <= 0.01


def line(name: str, runs: list[Run]) -> str:
    goodput = [100 * r.goodput for r in runs]
    cold = [r.cold for r in runs if r.cold is not None]
    return (
        f"{name:48s} {mean(goodput):6.1f} {min(goodput):6.1f} {100 * mean(r.refused for r in runs):8.2f}"
        f" {max(cold) if cold else '-':>6} {'' if is_good(runs) else '  *'}"
    )


def table(servers: list[Server], key: str, seeds: int, outage_s: float | None = None) -> None:
    kind = ALGORITHMS[key]
    print(f"\n{kind.name}\n{'server':48s}   mean    min  refused   cold")
    good, worst, began = 0, math.inf, time.perf_counter()
    for server in servers:
        runs = [
            simulate(server, kind(server), seed)
            if outage_s is None
            else simulate_outage(server, kind(server), seed, outage_s)
            for seed in range(1, seeds + 1)
        ]
        good += is_good(runs)
        worst = min(worst, mean(r.goodput for r in runs))
        print(line(server.name, runs), flush=True)
    took_s = time.perf_counter() - began
    print(f"both targets on {good} of {len(servers)}; the lowest goodput is {100 * worst:.0f} %  ({took_s:.0f} s)")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=sorted(ALGORITHMS), action="append", help="this algorithm; may be repeated")
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--random", type=int, metavar="N", help="N servers drawn at random instead of the twelve")
    parser.add_argument("--outage", type=float, metavar="S", help="so many seconds in which everything is refused")
    parser.add_argument("--draw", type=int, default=2026, help="the seed that draws them")
    parser.add_argument("--server", help="only servers whose name contains this")
    args = parser.parse_args()
    servers = drawn(args.random, args.draw) if args.random else list(TWELVE)
    servers = [s for s in servers if not args.server or args.server in s.name]
    print("goodput (mean and lowest of the seeds) and refused in %; cold: refusals, at most; *: a target is missed")
    for key in args.only or list(ALGORITHMS):
        table(servers, key, 1 if args.random else args.seeds, args.outage)
    return 0


if __name__ == "__main__":
    sys.exit(main())
