"""What the settings are made into: the plan, and the parts that the daemon consists of."""

import contextlib
import hashlib
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from rembg_watch.account.balance import Balance
from rembg_watch.account.governor import Governor
from rembg_watch.account.history import History
from rembg_watch.account.notes import GATE, PACE
from rembg_watch.account.retry import RetryPolicy
from rembg_watch.account.terms import Terms
from rembg_watch.api.client import Client
from rembg_watch.config import FolderSettings, Settings
from rembg_watch.config.delivering import DeliverableSettings
from rembg_watch.daemon.arrivals import Arrivals
from rembg_watch.daemon.first_look import FirstLooks
from rembg_watch.daemon.ownership import Ownership
from rembg_watch.daemon.target_folders import TargetFolders
from rembg_watch.delivery.decoders import Decoders
from rembg_watch.delivery.masters import MASTERS_NAME, Keeping, Masters
from rembg_watch.delivery.outputs import Outputs
from rembg_watch.delivery.places import Places
from rembg_watch.delivery.roots import Roots
from rembg_watch.delivery.spool import SPOOL_NAME, Spool
from rembg_watch.delivery.thumbnails import THUMBNAILS_NAME, Thumbnails
from rembg_watch.errors import ConfigError
from rembg_watch.host.cache import Cache
from rembg_watch.host.clocks import Clocks
from rembg_watch.host.disk import Step, no_step
from rembg_watch.host.locks import Locks
from rembg_watch.host.systemd import Heartbeat, Notify
from rembg_watch.ledger import Ledger, LedgerUnavailableError, open_ledger
from rembg_watch.paths import Folder
from rembg_watch.pictures.extras import why_not_made
from rembg_watch.pipeline import LEAST_ROOM_BYTES, InForce, Pipeline, Plan, Ports, Recipe
from rembg_watch.pipeline.contents import Contents
from rembg_watch.pipeline.pool import Pool, low_mark
from rembg_watch.pipeline.ports import Verify
from rembg_watch.pipeline.rendering import Render, render_here
from rembg_watch.pipeline.shares import Shares
from rembg_watch.pipeline.slots import Slots
from rembg_watch.pipeline.source import proxy_here, upright_here
from rembg_watch.pipeline.threads import MOST_FOR_ONE, Pulse
from rembg_watch.pipeline.under_way import UnderWay
from rembg_watch.report import events
from rembg_watch.report.events import Reporter, fan_out
from rembg_watch.report.metrics import Metrics
from rembg_watch.report.tallies import Tallies
from rembg_watch.watch import Pace, Watcher, watched_by

if TYPE_CHECKING:
    import httpx


KEY_DIGEST = "key_digest"
TRUST = "trust"
"""The note by which ``retry`` says that folders that are away are right as they are: which, and when that was."""

_MB = 1_000_000


def _thumbnails(state_dir: Path, most_mb: int | None, decoders: Decoders) -> Thumbnails:
    """Keep small pictures of originals that are deleted where somebody has set up a page that shows them."""
    if most_mb is None:
        return Thumbnails()
    return Thumbnails(Cache(state_dir / THUMBNAILS_NAME, limit_bytes=most_mb * _MB), decoders.view)


# --- the plan -----------------------------------------------------------------------------------


def recipe_of(folder: FolderSettings, deliverables: Mapping[str, DeliverableSettings]) -> Recipe:
    """Say what is done with the pictures of a configured folder."""
    wanted = tuple(deliverables[name].deliverable(name) for name in folder.deliver if name in deliverables)
    return Recipe(
        name=folder.name,
        input=folder.input,
        output=folder.output,
        params=folder.params(),
        after=folder.after,
        done=folder.done,
        failed=folder.failed,
        move_sidecars=folder.move_sidecars,
        remove_empty_folders=folder.remove_empty_folders,
        upright=folder.upright,
        metadata=folder.metadata,
        deliverables=wanted,
        naming=folder.naming(),
        master=folder.master,
        edges=folder.edges,
        assume=folder.assume,
        send_px=folder.send_px if wanted else 0,
        is_together=folder.publish == "together",
        review=folder.review,
        review_limits=folder.review_limits.limits(),
        review_dir=folder.review_dir,
        shoot_depth=folder.shoot_depth,
        has_sidecar=folder.sidecar,
        priority=folder.priority,
        daily_budget=folder.daily_budget,
    )


def build_client(settings: Settings, *, transport: "httpx.BaseTransport | None" = None) -> Client:
    """
    Make the client for the configured account.

    Raises:
        ConfigError: There is no key.
    """
    if settings.api.key is None:
        raise ConfigError(["there is no API key: set api.key_file, REMBG_WATCH_API__KEY or the credential api_key"])
    return Client(
        settings.api.key.get_secret_value(),
        url=settings.api.url,
        usage_url=settings.api.usage_url,
        timeout_s=settings.api.timeout_s,
        transport=transport,
        max_connections=MOST_FOR_ONE * (settings.pool.workers + 4),  # those that are lost to a share keep theirs
    )


def plan_of(settings: Settings, client: Client) -> Plan:
    """Make the plan that is in force with these settings."""
    policy = RetryPolicy(max_attempts=settings.retry.max_attempts, retries_doubt=settings.retry.in_doubt == "retry")
    return Plan(
        client=client,
        terms=Terms(
            client=client,
            policy=policy,
            price=settings.credits.per_image,
            reserve=settings.credits.reserve,
            daily_budget=settings.credits.daily_budget,
            recheck_s=settings.credits.recheck_s,
        ),
        recipes={folder.name: recipe_of(folder, settings.deliverables) for folder in settings.folders},
        masters=Keeping(days=settings.masters.keep_days, gigabytes=settings.masters.keep_gb),
        batch_size=settings.pool.batch_size,
        ask_above=settings.credits.ask_above,
        reserve_bytes=settings.output.free_space_reserve_mb * _MB,
        keep=timedelta(days=settings.ledger.keep_days),
    )


def pace_of(settings: Settings) -> Pace:
    """Say how long things take in a watched folder."""
    watch = settings.watch
    return Pace(settle_s=watch.settle_s, scan_interval_s=watch.scan_interval_s, grace_s=watch.grace_s, mode=watch.mode)


def key_digest(settings: Settings) -> str:
    """Return what is kept of the key, to know it from another one."""
    key = settings.api.key
    return hashlib.sha256(b"rembg-watch" + key.get_secret_value().encode()).hexdigest()[:16] if key else ""


# --- the parts ----------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Around:
    """What surrounds the daemon: who is told, and what tests replace."""

    notify: Notify
    stopping: threading.Event  # set once nothing new is begun
    report: Reporter = events.nobody
    transport: "httpx.BaseTransport | None" = None
    clocks: Clocks = field(default_factory=Clocks)
    verify: Verify | None = None  # None: in children
    render: Render | None = None  # None: in children
    step: Step = no_step


@dataclass(frozen=True, kw_only=True)
class Parts:
    """All that a running daemon consists of, built once; each part is safe to share between threads."""

    ledger: Ledger
    ports: Ports
    governor: Governor
    balance: Balance
    under_way: UnderWay
    pool: Pool
    watcher: Watcher
    first_looks: FirstLooks
    decoders: Decoders
    targets: TargetFolders
    metrics: Metrics
    tallies: Tallies
    heartbeat: Heartbeat
    around: Around
    workers: int
    settling: threading.Event  # set while the account is asked about calls that a crash cut off

    def try_everything(self) -> None:
        """Look at every hold and every output at once: a person has looked, or the settings changed."""
        self.governor.resume()
        self.pool.try_outputs()


def build(settings: Settings, around: Around, stack: contextlib.ExitStack, locks: Locks) -> Parts:
    """
    Build the parts from the settings; *stack* closes what has to be closed, and *locks* has what is locked already.

    Raises:
        ConfigError: There is no key.
        LedgerError: The ledger cannot be used.
    """
    return assemble(
        plan_of(settings, build_client(settings, transport=around.transport)),
        around,
        stack,
        locks=locks,
        state_dir=settings.state_dir,
        folders=[folder.folder() for folder in settings.folders],
        pace=pace_of(settings),
        workers=settings.pool.workers,
        allowance_s=settings.api.timeout_s + 60.0,
        thumbnails_mb=settings.web.thumbnails_mb if "web" in settings.model_fields_set else None,
    )


def assemble(
    plan: Plan,
    around: Around,
    stack: contextlib.ExitStack,
    *,
    locks: Locks | None = None,
    state_dir: Path,
    folders: Sequence[Folder],
    pace: Pace,
    workers: int,
    allowance_s: float,
    thumbnails_mb: int | None = None,
) -> Parts:
    """
    Wire the parts; a thread of the pool may be at work for *allowance_s* without a sign of life.

    Small pictures of originals that are deleted are kept up to *thumbnails_mb*, or not at all.

    Raises:
        LedgerError: The ledger cannot be used.
    """
    clocks, metrics, heartbeat = around.clocks, Metrics(), Heartbeat(around.notify.ping)
    tallies = Tallies(wall=clocks.now)
    report = fan_out(
        around.report,
        metrics,
        tallies,
        lambda event: balance.on_event(event),  # these are made further down, before anything is reported
        lambda event: history(event),
        lambda event: _look_again(watcher, event),
    )
    in_force = InForce(plan)
    stack.callback(lambda: in_force.plan.client.close())
    ledger = stack.enter_context(open_ledger(state_dir))
    spool = Spool(state_dir / SPOOL_NAME)
    stack.callback(spool.give_back)
    decoders = Decoders(tell=lambda error: report(events.Mistake(where="verifying", error=error)))
    stack.callback(decoders.close)
    contents = Contents()
    under_way = UnderWay(contents, clocks, low=low_mark(workers))
    history = History(ledger, clocks)
    balance = Balance(terms=in_force.terms, ledger=ledger, report=report, in_flight=under_way.unpaid, clocks=clocks)
    governor = Governor(
        terms=in_force.terms,
        balance=balance,
        has_room=lambda: ports.has_room(LEAST_ROOM_BYTES),
        report=report,
        keep=_keeper(ledger, report),
        notes={name: ledger.note(name) for name in (GATE, PACE)},
        clocks=clocks,
    )
    roots = Roots(ledger, now=clocks.now)
    targets = TargetFolders(report, why_away=roots.why_away)
    ports = Ports(
        ledger=ledger,
        spool=spool,
        governor=governor,
        in_force=in_force,
        report=report,
        clocks=clocks,
        stopping=around.stopping,
        credits_left=balance.left,
        step=around.step,
        slots=Slots(workers),
        shares=Shares(around.clocks.monotonic),
        contents=contents,
        outputs=Outputs(),
        roots=roots,
        places=Places(),
        try_out=targets.try_out,
        verify=around.verify or decoders,
        upright=decoders.upright if around.verify is None else upright_here,
        masters=Masters(state_dir / MASTERS_NAME),
        render=around.render or (decoders.make if around.verify is None else render_here),
        proxy=decoders.proxy if around.verify is None else proxy_here,
        why_not_made=why_not_made if around.render is None else str,
        thumbnails=_thumbnails(state_dir, thumbnails_mb, decoders),
    )

    def begin_turn(thread: str) -> None:
        heartbeat.beat(thread)
        ports.shares.begin_turn(watched_by(thread))

    def end_turn(thread: str) -> None:
        heartbeat.rest(thread)
        ports.shares.end_turn()

    first_looks = FirstLooks(ledger, governor, in_force, report, wake=under_way.poke, clock=clocks.monotonic)
    watcher = Watcher(
        folders,
        Arrivals(ports, under_way),
        pace,
        permit=Ownership(locks or Locks(), first_looks, governor, report),
        report=report,
        beat=begin_turn,
        rest=end_turn,
        why_away=roots.why_away,
    )
    pool = Pool(
        Pipeline(ports),
        balance,
        under_way,
        shut=lambda: watcher.shut | first_looks.shut(),
        run_id=uuid4().hex[:12],
        workers=workers,
        pulse=Pulse(
            beat=heartbeat.beat,
            rest=heartbeat.rest,
            register=lambda part: heartbeat.register(part, allowance_s=allowance_s),
            forget=heartbeat.forget,
        ),
    )
    return Parts(
        ledger=ledger,
        ports=ports,
        governor=governor,
        balance=balance,
        under_way=under_way,
        pool=pool,
        watcher=watcher,
        first_looks=first_looks,
        decoders=decoders,
        targets=targets,
        metrics=metrics,
        tallies=tallies,
        heartbeat=heartbeat,
        around=around,
        workers=workers,
        settling=threading.Event(),
    )


def _keeper(ledger: Ledger, report: Reporter) -> Callable[[str, Mapping[str, Any]], None]:
    def keep(name: str, note: Mapping[str, Any]) -> None:
        try:
            ledger.set_note(name, dict(note), is_durable=name == GATE)
        except LedgerUnavailableError as error:  # what was decided holds all the same, in this run
            report(events.Mistake(where="the ledger", error=error))

    return keep


def _look_again(watcher: Watcher, event: events.Event) -> None:
    """Have a source that vanished looked at again: what replaced it need not wait for the next scan."""
    if isinstance(event, events.Vanished):
        watcher.look_again(event.folder, event.source)
