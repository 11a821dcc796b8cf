"""A studio's folders and ledger as a daemon would leave them, and its page without a network."""

import asyncio
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from urllib.parse import urlencode

import httpx
from PIL import Image

from rembg_watch.api.errors import Charge
from rembg_watch.delivery.decoders import Decoders
from rembg_watch.host.cache import Cache
from rembg_watch.jobs import CallEnd, CallStart, Job, State, Version, move, with_content
from rembg_watch.ledger import Ledger, Turn, open_ledger
from rembg_watch.report.status import STATUS_NAME, CreditsView, GateView, snapshot, write_snapshot
from rembg_watch.showing.pictures import Views
from rembg_watch.web.app import Site
from rembg_watch.web.daemons import Daemon
from rembg_watch.web.entry import Entry
from rembg_watch.web.guard import door
from rembg_watch.web.login import Login, NoLogin

AT = datetime(2026, 11, 27, 9, 0, tzinfo=UTC)
HOST = "127.0.0.1:8787"
HOSTILE = (
    "<img src=x onerror=alert(1)>.jpg",
    '"><script>alert(2)</script>.jpg'.replace("/", "_"),
    "a'b&amp;{{ 1337*1337 }}{% raw %}.jpg",
    "two\nlines.jpg",
    "\u202egpj.exe.jpg",
)


@dataclass
class Studio:
    """One configuration with a folder ``catalogue``, whose pictures stand on the disk and in the ledger."""

    root: Path
    more: str = ""
    web: str = ""
    folder: str = "catalogue"
    environ: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for one in (self.input, self.output, self.state):
            one.mkdir(parents=True, exist_ok=True)
        self.config.write_text(
            f'state_dir = "{self.state}"\n[web]\n{self.web}\n[[folders]]\nname = "{self.folder}"\n'
            f'input = "{self.input}"\noutput = "{self.output}"\n{self.more}\n'
        )

    @property
    def input(self) -> Path:
        return self.root / "in"

    @property
    def output(self) -> Path:
        return self.root / "out"

    @property
    def state(self) -> Path:
        return self.root / "state"

    @property
    def config(self) -> Path:
        return self.root / "studio.toml"

    def drop(self, ledger: Ledger, *names: str | bytes, at: datetime = AT) -> None:
        """Put pictures into the input, and into the ledger as found."""
        seen = list[tuple[bytes, Version]]()
        for name in map(os.fsencode, names):
            path = self.input / os.fsdecode(name)
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("wb") as file:
                Image.new("RGB", (90, 60), (200, 40 + len(seen), 40)).save(file, "JPEG")
            found = path.stat()
            version = Version(size_bytes=found.st_size, mtime_ns=found.st_mtime_ns, inode=found.st_ino)
            seen.append((name, version))
        ledger.add(self.folder, seen, at)

    def deliver(self, ledger: Ledger, number: int = 1, *, finding: str | None = None, at: datetime = AT) -> list[Job]:
        """Let the next pictures in line be cut out, at a credit each."""
        done = []
        for job in ledger.claim(number, at=at, run_id="test", turns=[Turn(self.folder)]):
            target = job.source.rpartition(b".")[0] + b".png"
            path = self.output / os.fsdecode(target)
            path.parent.mkdir(parents=True, exist_ok=True)
            cutout = Image.new("RGBA", (90, 60), (0, 0, 0, 0))
            cutout.paste((0, 160, 90, 255), (20, 10, 70, 50))
            with path.open("wb") as file:
                cutout.save(file, "PNG")
            sent = ledger.record(
                move(with_content(job, f"key-{job.id}"), State.SENDING, at=at), call=CallStart(Decimal(1))
            )
            received = move(sent, State.RECEIVED, at=at, answer_digest="d", answer_bytes=1, finding=finding)
            stored = ledger.record(received, call=CallEnd(Charge.YES, Decimal(1)))
            done.append(ledger.record(move(stored, State.DONE, at=at, target=target)))
        return done

    def fail(
        self, ledger: Ledger, number: int = 1, *, reason: str = "It is too wide.", code: str = "too_wide",
        at: datetime = AT,
    ) -> list[Job]:  # fmt: skip
        """Let the next pictures in line fail, at no cost."""
        claimed = ledger.claim(number, at=at, run_id="test", turns=[Turn(self.folder)])
        return [ledger.record(move(job, State.FAILED, at=at, reason=reason, code=code)) for job in claimed]

    def report(self, *, at: datetime = AT, pid: int | None = None, gate: GateView | None = None) -> None:
        """Write a status file as the daemon does."""
        shown = snapshot(
            counts={},
            unsettled=0,
            gate=gate or GateView(),
            credits=CreditsView(included=Decimal(80), prepaid=Decimal(20), spendable=Decimal(100), read_at=at),
            now=at,
            pid=os.getpid() if pid is None else pid,
        )
        write_snapshot(self.state / STATUS_NAME, shown)

    def open(self) -> Ledger:
        return open_ledger(self.state)


@dataclass
class Asking:
    """The page of some studios, asked without a network."""

    daemons: Mapping[str, Daemon]
    decoders: Decoders
    cache: Path
    login: Login = field(default_factory=NoLogin)
    hosts: tuple[str, ...] = ()
    base_path: str = ""
    may_act: bool = False
    listen: str = HOST
    now: datetime = AT
    peer: str = "127.0.0.1"

    def __call__(self, path: str, method: str = "GET", *, body: bytes = b"", **headers: str) -> httpx.Response:
        """Ask as somebody does who typed the address; headers are written with underscores."""
        return asyncio.run(self._ask(path, method, headers, body))

    def submit(self, path: str, *fields: tuple[str, str], **headers: str) -> httpx.Response:
        """Send a form as a browser does that shows this page."""
        said = {"origin": f"http://{HOST}", "sec_fetch_site": "same-origin"} | headers
        kind = "application/x-www-form-urlencoded"
        return self(path, "POST", body=urlencode(fields).encode(), **({"content_type": kind} | said))

    async def _ask(self, path: str, method: str, headers: Mapping[str, str], body: bytes) -> httpx.Response:
        # made here: what waits for threads belongs to one event loop
        views = Views(Cache(self.cache, limit_bytes=10_000_000), self.decoders)
        site = Site(self.daemons, views, base_path=self.base_path, may_act=self.may_act, now=lambda: self.now)
        app = Entry(
            site.app(),
            door=door(self.listen, self.hosts, may_act=self.may_act),
            login=self.login,
            base_path=self.base_path,
        )
        transport = httpx.ASGITransport(app, client=(self.peer, 4711), raise_app_exceptions=False)
        said = {"host": HOST} | {name.replace("_", "-"): value for name, value in headers.items()}
        async with httpx.AsyncClient(transport=transport, base_url=f"http://{HOST}") as client:
            return await client.request(method, path, headers=said, content=body)
