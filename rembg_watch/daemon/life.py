"""The life of the daemon: startup, main loop, shutdown; reload, and a run that ends by itself."""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any, Self
from uuid import uuid4

from rembg_watch import __version__
from rembg_watch.account.balance import Balance, spent_since_baseline
from rembg_watch.account.causes import CAUSES
from rembg_watch.account.credits import Billed, is_stale, resolve_doubt, settled_after_s
from rembg_watch.account.gate import Cause
from rembg_watch.account.governor import Governor
from rembg_watch.account.notes import BASELINE, GATE, PACE, reading_from_note
from rembg_watch.config import FOR_RUN, Settings, load, targets, unwritable
from rembg_watch.daemon import status
from rembg_watch.daemon.assembly import (
    KEY_DIGEST,
    LEDGER_NAME,
    RESUME,
    SPOOL_NAME,
    STATUS_NAME,
    build_client,
    build_verifiers,
    key_digest,
    missing_targets,
    recipe_of,
    terms_of,
)
from rembg_watch.daemon.intake import Intake
from rembg_watch.delivery.publish import sweep_staging, try_out
from rembg_watch.delivery.spool import Spool
from rembg_watch.errors import ConfigError, ExitCode, RembgWatchError
from rembg_watch.host.clocks import Clocks
from rembg_watch.host.locks import Locks
from rembg_watch.host.systemd import Heartbeat, Notify, watchdog_interval_s
from rembg_watch.jobs import Job, State
from rembg_watch.ledger import Ledger, LedgerUnavailableError, StaleJobError, Turn, Which
from rembg_watch.pipeline import LEAST_ROOM_BYTES, Line, Step, afterwards, no_step, recovery
from rembg_watch.pipeline.pool import Pool, Pulse
from rembg_watch.report import events
from rembg_watch.report.events import Reporter, fan_out
from rembg_watch.report.metrics import Metrics
from rembg_watch.report.status import (
    Snapshot,
    write_snapshot,
)
from rembg_watch.watch import Pace, Watcher, thread_name

if TYPE_CHECKING:
    import httpx

_LOOP_S = 0.2
_STATUS_S = 1.0
_CALM_STATUS_S = 15.0
_UPKEEP_S = 24 * 3600.0
_REJECTED_KEPT = timedelta(days=7)
_PATIENCE_S = 60.0  # ``once`` waits so long for what may pass by itself
_REFUSED_PATIENCE_S = 600.0  # and so long for an API that refuses every call as too quick
_DRAIN_EXTENSION_S = 5.0
_WATCH_ALLOWANCE_S = 120.0
_MB = 1_000_000


class Daemon:
    """
    One running pipeline on one state directory.

    Use it as a context: entering is ``startup``, leaving is ``shutdown``.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        report: Reporter = events.nobody,
        transport: "httpx.BaseTransport | None" = None,
        clocks: Clocks | None = None,
        notify: Notify | None = None,
        step: Step = no_step,
        reload_from: Path | None = None,
        on_settings: Callable[[Settings], None] = lambda _settings: None,
    ) -> None:
        self.settings = settings
        self.metrics = Metrics()
        self.clocks = clocks or Clocks()
        self.notify = notify or Notify.from_environment()
        self.heartbeat = Heartbeat(self.notify.ping)
        self.run_id = uuid4().hex[:12]
        self.stopping = threading.Event()
        self._reload_from = reload_from
        self._wants_reload = threading.Event()
        self._hurried = threading.Event()
        self._locks = Locks()
        self._transport = transport
        self._step = step
        self._outer_report = report
        self._exit = contextlib.ExitStack()
        self._stuck: set[str] = set()
        self.told: Snapshot = {}  # what was written last
        self._unmade: set[Path] = set()
        self._told_status = ""
        self._told_pulse: object = None
        self._told_at_s = float("-inf")
        self._told_zero_s = 0.0  # of the wall clock, by the monotonic one
        self._status_at_s = float("-inf")
        self._upkeep_at_s = time.monotonic()
        self._ping_at_s = 0.0
        self._started_s = time.monotonic()
        self._held_since_s: float | None = None
        self._starting = threading.Lock()
        self.is_settling = False
        self._on_settings = on_settings

    # --- startup --------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        try:
            self.startup()
        except BaseException:
            self._exit.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.shutdown()

    def startup(self) -> None:
        """
        Take the locks, open the ledger, put right what the last run left and begin to work.

        Raises:
            LockedError: Another daemon works here.
            LedgerError: The ledger cannot be used.
        """
        settings = self.settings
        settings.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._locks.take(settings.state_dir, [folder.input for folder in settings.folders])
        self._exit.callback(self._locks.release)
        self.ledger = self._exit.enter_context(Ledger.open(settings.state_dir / LEDGER_NAME))
        self.client = build_client(settings, transport=self._transport)
        self._exit.callback(lambda: self.client.close())
        self.spool = Spool(settings.state_dir / SPOOL_NAME)
        self._exit.callback(self.spool.give_back)
        self._build()
        self.report(
            events.Started(
                version=__version__,
                folders=tuple(folder.name for folder in settings.folders),
                workers=settings.pool.workers,
                state_dir=os.fsencode(settings.state_dir),
            )
        )
        self._make_targets()
        self._begin(self._recover())
        self._begin_upkeep()
        self._start_watcher()
        self._write_status()
        self.notify.ready(self._told_status)

    def _make_targets(self) -> None:
        """
        Make the folders that are written to, and tell which cannot be written; the others have their service.

        Of outputs the pool tells, who tries them out.
        """
        self._unmade = set(missing_targets(self.settings))
        for path in tuple(self._unmade):
            self._make_target(path)
        for folder in self.settings.folders:
            for place, path in targets(folder).items():
                if place != "output" and (why := unwritable(path)):
                    told = events.OriginalsStay(folder=folder.name, place=place, path=os.fsencode(path), why=why)
                    self.report(told)

    def _make_target(self, path: Path) -> None:
        """Make a folder that could not be made before, if it can be now; never one that was there and went away."""
        if path in self._unmade:
            with contextlib.suppress(OSError):
                path.mkdir(parents=True, exist_ok=True)
                self._unmade.discard(path)

    def _try_out(self, output: Path) -> None:
        self._make_target(output)
        try_out(output)

    def _begin(self, unanswered: Sequence[Job]) -> None:
        """Let the pool work, after the account was asked about calls in doubt: nobody waits for that to be READY."""
        if not unanswered:
            self.pool.start()
            return
        self.is_settling = True
        threading.Thread(target=self._settle, args=(unanswered,), name="settling", daemon=True).start()

    def _settle(self, unanswered: Sequence[Job]) -> None:
        """Decide what becomes of calls in doubt while nothing is sent, so that the account's counters tell of them."""
        try:
            billed = self._ask_counters_at_rest(unanswered)
            self.report(events.DoubtsSettled(calls=len(unanswered), billed=billed))
            with self._starting:
                if self.stopping.is_set():
                    return  # they stay in doubt, and are asked about at the next start
                for job in unanswered:
                    with contextlib.suppress(StaleJobError):
                        recovery.take_up_doubt(self.line, job, billed)
                self.pool.start()
        except Exception as error:  # noqa: BLE001 - without a pool there is nothing to live for
            self.report(events.Mistake(where="the start", error=error))
            self.stopping.set()
        finally:
            self.is_settling = False

    def _start_watcher(self) -> None:
        for folder in self.settings.folders:
            self.heartbeat.register(thread_name(folder.name), allowance_s=_WATCH_ALLOWANCE_S)
            self.heartbeat.rest(thread_name(folder.name))
        self.watcher.start()

    def _build(self) -> None:
        settings = self.settings
        self.terms = terms_of(settings, self.client)
        self.balance = Balance(
            terms=lambda: self.terms,
            ledger=self.ledger,
            report=self.report,
            in_flight=lambda: self.pool.unpaid(),
            clocks=self.clocks,
        )
        self.governor = Governor(
            terms=lambda: self.terms,
            balance=self.balance,
            has_room=lambda: self.line.has_room(LEAST_ROOM_BYTES),
            report=self.report,
            keep=self._keep_note,
            notes={name: self.ledger.note(name) for name in (GATE, PACE)},
            clocks=self.clocks,
        )
        self.verifiers = build_verifiers(self.report)
        self._exit.callback(self.verifiers.close)
        self.line = Line(
            ledger=self.ledger,
            client=self.client,
            spool=self.spool,
            governor=self.governor,
            recipes={folder.name: recipe_of(folder) for folder in settings.folders},
            report=self.report,
            price=settings.credits.per_image,
            reserve_bytes=settings.output.free_space_reserve_mb * _MB,
            clocks=self.clocks,
            credits_left=self.balance.left,
            step=self._step,
            verify=self.verifiers,
            try_out=self._try_out,
        )
        allowance_s = settings.api.timeout_s + 60.0
        self.pool = Pool(
            self.line,
            self.balance,
            turns=self._turns,
            run_id=self.run_id,
            workers=settings.pool.workers,
            batch_size=settings.pool.batch_size,
            pulse=Pulse(
                beat=self.heartbeat.beat,
                rest=self.heartbeat.rest,
                register=lambda part: self.heartbeat.register(part, allowance_s=allowance_s),
            ),
        )
        if self._is_other_key():
            self.governor.resume()
        self.watcher = self._build_watcher()

    def _is_other_key(self) -> bool:
        """Say if the key is another one than in the last run, whose refusals mean nothing now; a digest is kept."""
        digest = key_digest(self.settings)
        before = self.ledger.note(KEY_DIGEST)
        if before != digest:
            self.ledger.set_note(KEY_DIGEST, digest)
        return before is not None and before != digest

    def _build_watcher(self) -> Watcher:
        watch = self.settings.watch
        return Watcher(
            [folder.folder() for folder in self.settings.folders],
            Intake(self.ledger, self),
            Pace(
                settle_s=watch.settle_s,
                scan_interval_s=watch.scan_interval_s,
                grace_s=watch.grace_s,
                mode=watch.mode,
            ),
            report=self.report,
            beat=self.heartbeat.beat,
            rest=self.heartbeat.rest,
        )

    def report(self, event: events.Event) -> None:
        """Tell everybody who listens; how is ``report``'s matter."""
        self._reporter(event)

    @property
    def _reporter(self) -> Reporter:
        if not hasattr(self, "_fanned"):
            self._fanned = fan_out(self._outer_report, self.metrics, self._hear)
        return self._fanned

    def _hear(self, event: events.Event) -> None:
        """Pass on what parts of the daemon have to know of each other."""
        self.balance.hear(event)
        if isinstance(event, events.Vanished) and event.folder in self.line.recipes:
            self.watcher.look_again(event.folder, event.source)  # what replaced it need not wait for the next scan

    def _keep_note(self, name: str, note: Mapping[str, Any]) -> None:
        try:
            self.ledger.set_note(name, dict(note), is_durable=name == GATE)
        except LedgerUnavailableError as error:  # what was decided holds all the same, in this run
            self.report(events.Mistake(where="the ledger", error=error))

    # --- what the last run left -----------------------------------------------------------------

    def _recover(self) -> Sequence[Job]:
        """Take up answers that are paid for and let go of claims; return the calls that are in doubt."""
        left = self.ledger.recover(self.clocks.now())
        crashed = [job for job in left.in_doubt if job.code == "crash"]
        unanswered = [job for job in crashed if not recovery.take_up_answer(self.line, job)]
        for job in self.ledger.to_dispose_of(self.line.recipes):
            afterwards.put_away(self.line, job)
        self._release_held()
        self.spool.sweep(self.ledger.spool_keys())
        if left.crashed or left.received:
            self.report(
                events.Recovered(
                    requeued=left.claims,
                    received=left.received + len(crashed) - len(unanswered),
                    in_doubt=len(unanswered),
                )
            )
        return unanswered

    def _ask_counters_at_rest(self, unanswered: Sequence[Job]) -> Billed:
        """
        Let the account's counters say whether the calls in doubt were billed, where they can.

        What they have not counted yet they may count in a moment: the API goes on with a call that nobody waits for.
        """
        billed = self._ask_counters(unanswered)
        known_s = min((self.clocks.now() - job.changed_at).total_seconds() for job in unanswered)
        wait_s = settled_after_s(self.governor.call_s, self.settings.api.timeout_s) - max(0.0, known_s)
        if billed in (Billed.NONE, Billed.UNKNOWN) and wait_s > 0:
            self.report(events.DoubtsAsked(calls=len(unanswered), wait_s=wait_s))
            self.stopping.wait(wait_s)
            billed = self._ask_counters(unanswered)
        return billed or Billed.UNKNOWN

    def _ask_counters(self, unanswered: Sequence[Job]) -> Billed | None:
        """Compare the counters with the last reading at rest; None where that can tell nothing, now or later."""
        before = reading_from_note(self.ledger.note(BASELINE))
        if before is None:
            return None
        spent = spent_since_baseline(self.ledger)
        if spent.in_doubt != len(unanswered):
            return None  # older doubts are mixed in: the sum says nothing about these
        after = self.balance.peek()
        if after is None:
            return None
        return resolve_doubt(before, after, len(unanswered), each=self.terms.price, counted=spent.charged)

    def _release_held(self) -> None:
        """Put held pictures back in line whose folder's options are not the refused ones any more."""
        refused = {(hold.folder, hold.options) for hold in self.governor.gate.folders}
        for name, recipe in self.line.recipes.items():
            if (name, recipe.options) in refused:
                continue
            held = Which(states=frozenset({State.HELD}), folders=frozenset({name}))
            count = self.ledger.retry(held, self.clocks.now())
            if count:
                self.report(events.Released(folder=name, count=count))

    # --- whose turn it is -----------------------------------------------------------------------

    def _turns(self) -> Iterator[Turn]:
        """Name the folders that may have work now: their input is there and their options were not refused."""
        refused = {(hold.folder, hold.options) for hold in self.governor.gate.folders}
        away = self.watcher.away
        for folder in self.settings.folders:
            recipe = self.line.recipes[folder.name]
            if folder.name in away or (folder.name, recipe.options) in refused:
                continue
            claimed = self.pool.unpaid(folder.name)
            room = self.balance.folder_room(folder.name, folder.daily_budget, in_flight=claimed)
            yield Turn(folder.name, priority=folder.priority, at_most=room)

    # --- the main loop --------------------------------------------------------------------------

    def main_loop(self) -> None:
        """Watch over the threads until somebody asks to stop."""
        self.heartbeat.register("main loop", allowance_s=30.0)
        while not self.stopping.wait(_LOOP_S):
            self.tick()

    def tick(self) -> None:
        """Do what is due: reload, tell systemd, write how things stand, clean up."""
        self.heartbeat.beat("main loop")
        self.verifiers.end_idle()
        now_s = time.monotonic()
        if self._wants_reload.is_set():
            self._wants_reload.clear()
            self.reload()
        if now_s - self._ping_at_s >= (watchdog_interval_s() or 1.0):
            self._ping_at_s = now_s
            self._tell_stuck()
        if now_s - self._status_at_s >= _STATUS_S:
            self._status_at_s = now_s
            with contextlib.suppress(LedgerUnavailableError):  # the feeder tells of it, and the work waits
                self._heed_requests()
                self._write_status()
        if now_s - self._upkeep_at_s >= _UPKEEP_S:
            self._begin_upkeep()

    def _tell_stuck(self) -> None:
        late = {one.part: one.silent_s for one in self.heartbeat.tick()}
        for part, silent_s in late.items():
            if part not in self._stuck:
                self.report(events.Stuck(part=part, silent_s=silent_s))
        for part in self._stuck - set(late):
            self.report(events.Unstuck(part=part))
        self._stuck = set(late)

    def _heed_requests(self) -> None:
        """Do what ``rembg-watch retry`` asked for from outside: try every hold at once."""
        if self.ledger.note(RESUME) is not None:
            self.ledger.set_note(RESUME, None, is_durable=False)
            self.governor.resume()
            self.pool.try_outputs()

    def _begin_upkeep(self) -> None:
        """Prune in a thread of its own: a large ledger must hold nobody up."""
        self._upkeep_at_s = time.monotonic()
        threading.Thread(target=self._upkeep, name="upkeep", daemon=True).start()

    def _upkeep(self) -> None:
        try:
            self._put_away_again()
            now, reading = self.clocks.now(), self.balance.reading
            if reading is not None and is_stale(reading, now=now):
                return  # not read for long, or a clock that is ahead: what is forgotten would be paid for again
            before = now - timedelta(days=self.settings.ledger.keep_days)
            pruned = self.ledger.prune(before)
            roots = {folder.output for folder in self.settings.folders}
            swept = sum(sweep_staging(root) for root in roots if root.is_dir())
            swept += self.spool.sweep_rejected(older_than=(now - _REJECTED_KEPT).timestamp())
            self.report(events.LedgerPruned(jobs=pruned.jobs, answers=swept, freed_bytes=pruned.freed_bytes))
        except Exception as error:  # noqa: BLE001 - upkeep waits for tomorrow; the pictures do not
            if not self.stopping.is_set():
                self.report(events.Mistake(where="upkeep", error=error))

    def _put_away_again(self) -> None:
        """Move or delete the originals that had to stay: what they are moved to may be there again."""
        for path in tuple(self._unmade):
            self._make_target(path)
        for job in self.ledger.to_dispose_of(self.line.recipes):
            if self.stopping.is_set():
                return
            afterwards.put_away(self.line, job)

    # --- how things stand -----------------------------------------------------------------------

    def snapshot(self) -> Snapshot:
        """Say how everything stands, as one JSON object."""
        return status.snapshot_of(self)

    def _write_status(self) -> None:
        """Write how things stand for whoever looks; rarely while nothing happens, since counting is not free."""
        now_s, hold = time.monotonic(), self.governor.standstill
        pulse = (self.metrics.heard, self.governor.gate.holds, hold and hold.cause, self.watcher.unsettled)
        zero_s = self.clocks.now().timestamp() - now_s
        is_clock_set = abs(zero_s - self._told_zero_s) > _CALM_STATUS_S  # by the new time the last report looks old
        if pulse == self._told_pulse and now_s - self._told_at_s < _CALM_STATUS_S and not is_clock_set:
            return
        self._told_pulse, self._told_at_s, self._told_zero_s = pulse, now_s, zero_s
        self.told = told = self.snapshot()
        with contextlib.suppress(OSError):  # a full disk; the log tells of it
            write_snapshot(self.settings.state_dir / STATUS_NAME, told)
        sentence = status.sentence(self, told)
        if sentence != self._told_status:
            self._told_status = sentence
            self.notify.status(sentence)

    # --- reload ---------------------------------------------------------------------------------

    def reload(self) -> None:
        """Read the configuration again; a wrong one changes nothing."""
        self.notify.reloading("reloading the configuration")
        try:
            changes = self._reload()
        except RembgWatchError as error:
            problems = error.problems if isinstance(error, ConfigError) else [str(error)]
            self.report(events.ReloadRefused(problems=tuple(problems)))
        else:
            self.report(events.Reloaded(changes=tuple(changes)))
        self.notify.ready(self._told_status)

    def _reload(self) -> list[str]:
        if self._reload_from is None:
            return []
        before, after = self.settings, load(self._reload_from, tolerate=FOR_RUN)
        fixed = {
            "state_dir": after.state_dir != before.state_dir,
            "pool.workers": after.pool.workers != before.pool.workers,
        }
        client = build_client(after, transport=self._transport)
        for folder in after.folders:
            if folder.input not in {known.input for known in before.folders}:
                self._locks.take_input(folder.input)
        self.settings = after
        old_client, self.client = self.client, client
        self.line.client = client
        self.terms = terms_of(after, client)
        later = threading.Timer(after.api.timeout_s * 2, old_client.close)  # calls in flight still use it
        later.daemon = True
        later.start()
        self._apply(after)
        changed = [name for name in type(after).model_fields if getattr(after, name) != getattr(before, name)]
        waiting = [f"{name} needs a restart" for name, is_changed in fixed.items() if is_changed]
        return [f"{name} changed" for name in changed] + waiting

    def _apply(self, settings: Settings) -> None:
        """Put new settings into force: rates, credits, options, then the folders."""
        self._on_settings(settings)
        self.line.price = settings.credits.per_image
        self.line.reserve_bytes = settings.output.free_space_reserve_mb * _MB
        self.pool.batch_size = settings.pool.batch_size
        self.line.recipes = {folder.name: recipe_of(folder) for folder in settings.folders}
        self._make_targets()
        old, self.watcher = self.watcher, self._build_watcher()
        self.notify.extend_timeout(_DRAIN_EXTENSION_S)
        old.stop()
        for name in old.progress():
            self.heartbeat.forget(thread_name(name))
        self._start_watcher()
        self.governor.resume()
        self._release_held()
        self.pool.try_outputs()

    # --- shutdown -------------------------------------------------------------------------------

    def shutdown(self) -> None:
        """Take nothing new, let the calls in flight end and deliver their answers; the rest stays in the ledger."""
        self.stopping.set()
        queued = self.ledger.counts()[State.QUEUED]
        self.report(events.Stopping(in_flight=self.pool.in_flight(), queued=queued))
        self.notify.stopping("waiting for the calls in flight")
        self.notify.extend_timeout(2 * _DRAIN_EXTENSION_S)
        with self._starting:
            pass  # whoever was about to start the pool has done so, or never will
        self.watcher.stop()
        self.pool.stop(on_wait=self._while_draining)
        figures = self.metrics.read()
        self._write_status()
        self.report(
            events.Stopped(
                delivered=figures.delivered + figures.reused,
                failed=figures.failed,
                queued=self.ledger.counts()[State.QUEUED],
                uptime_s=time.monotonic() - self._started_s,
            )
        )
        self._exit.close()

    def _while_draining(self, in_flight: int) -> None:
        self.heartbeat.beat("main loop")
        if not self.heartbeat.tick():  # for a pool that hangs nobody should have to wait
            self.notify.extend_timeout(_DRAIN_EXTENSION_S)
        if self._hurried.is_set():
            self.report(events.Stopping(in_flight=in_flight, queued=0, hurried=True))
            os._exit(128 + signal.SIGTERM)  # what is in flight is in doubt in the ledger, as after a crash

    @contextlib.contextmanager
    def signals(self) -> Iterator[None]:
        """Obey SIGTERM and SIGINT (stop; the second one hurries) and SIGHUP (reload) while the context lasts."""
        before = {
            number: signal.signal(number, self._on_signal) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
        }
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGHUP:
            self._wants_reload.set()
        elif self.stopping.is_set():
            self._hurried.set()
        else:
            self.stopping.set()

    # --- once -----------------------------------------------------------------------------------

    def run_once(self, *, on_tick: Callable[["Daemon"], None] = lambda _daemon: None) -> ExitCode:
        """Do everything that is there now, as far as credits and limits allow, and say how it went."""
        while not self.stopping.wait(_LOOP_S):
            self.tick()
            on_tick(self)
            if self._is_done():
                self.governor.recount()
                break
        return self.verdict()

    def _is_done(self) -> bool:
        if self.is_settling or not self.watcher.is_at_rest:
            return False
        if self.pool.in_flight():
            self._held_since_s = None
            return self._is_refused_for_long()
        if self._is_held_for_long():
            return True
        turns = list(self._turns())
        to_send = [turn.folder for turn in turns if turn.may_send]
        return not (
            self.ledger.next_due_at(to_send, State.QUEUED)
            or self.ledger.next_due_at([turn.folder for turn in turns], State.RECEIVED)
        )

    def _is_refused_for_long(self) -> bool:
        hold = self.governor.standstill
        return (
            hold is not None
            and hold.cause is Cause.RATE
            and (self.clocks.now() - hold.since).total_seconds() > _REFUSED_PATIENCE_S
        )

    def _is_held_for_long(self) -> bool:
        """Say if what is waited for will not pass in a minute: then the rest is for the next time."""
        hold = self.governor.gate.hold
        counts = self.ledger.counts()
        if hold is None and not counts[State.RECEIVED] and not self.pool.blocked:
            self._held_since_s = None
            return False
        if hold is not None and not CAUSES[hold.cause].passes and not hold.is_due(self.clocks.now()):
            return True  # one that is due is being looked at: that may end it
        now_s = time.monotonic()
        self._held_since_s = self._held_since_s or now_s
        return now_s - self._held_since_s > _PATIENCE_S

    def verdict(self) -> ExitCode:
        """Say how a finished run went, as an exit code."""
        hold = self.governor.gate.hold
        if hold is not None and hold.cause is Cause.KEY:
            return ExitCode.KEY_REFUSED
        counts = self.ledger.counts()
        waiting = (State.QUEUED, State.SENDING, State.RECEIVED, State.HELD)
        if any(counts[state] for state in waiting) or self.watcher.unsettled or self.watcher.away:
            return ExitCode.WAITING
        figures = self.metrics.read()
        return ExitCode.SOME_FAILED if figures.failed or counts[State.IN_DOUBT] else ExitCode.OK
