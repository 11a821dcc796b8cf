"""The life of the daemon: startup, main loop, shutdown; reload, signals, and a run that ends by itself."""

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Self

from rembg_watch import __version__, state_dirs
from rembg_watch.account.notes import RESUME
from rembg_watch.config import FOR_RUN, Settings
from rembg_watch.config.rules import all_places, places
from rembg_watch.daemon import leftovers, pausing, room, upkeep
from rembg_watch.daemon.assembly import (
    Around,
    Parts,
    build,
    build_client,
    pace_of,
    plan_of,
)
from rembg_watch.daemon.ledger_watch import LedgerWatch
from rembg_watch.daemon.metrics_file import MetricsFile
from rembg_watch.daemon.once import Once
from rembg_watch.daemon.status import StatusFile, snapshot_of
from rembg_watch.errors import ConfigError, ExitCode, RembgWatchError
from rembg_watch.host.clocks import Clocks
from rembg_watch.host.disk import Step, no_step
from rembg_watch.host.locks import Locks
from rembg_watch.host.silence import silent
from rembg_watch.host.systemd import Notify, watchdog_interval_s
from rembg_watch.host.threads import room_for
from rembg_watch.jobs import State
from rembg_watch.ledger import FILE_NAME, LedgerUnavailableError
from rembg_watch.notify.urls import place
from rembg_watch.report import events
from rembg_watch.report.events import Event, Reporter, fan_out
from rembg_watch.report.status import METRICS_NAME, STATUS_NAME, Snapshot, copies_for_all
from rembg_watch.watch import thread_name

if TYPE_CHECKING:
    import httpx

    from rembg_watch.daemon.notices import Notices

MAIN_LOOP = "main loop"
_LOOP_S = 0.2
_STATUS_S = 1.0
_DRAIN_EXTENSION_S = 5.0
_WATCH_ALLOWANCE_S = 120.0
_LAST_WORDS_S = 15.0
"""How long the end waits for notices that are on their way."""
_NEVER_S = float("-inf")


class Daemon:
    """
    One running pipeline on one state directory.

    Use it as a context: entering is ``startup``, leaving is ``shutdown``.
    """

    parts: Parts  # from startup on

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
        waits_for_threads: bool = False,
        thread_room: Callable[[int], int] = room_for,
        agrees: bool = False,  # to the price of whatever a new folder holds
    ) -> None:
        self.settings = settings
        self.clocks = clocks or Clocks()
        self.notify = notify or Notify.from_environment()
        self.stopping = threading.Event()
        self._around = Around(
            notify=self.notify,
            stopping=self.stopping,
            report=fan_out(report, self._hear),
            transport=transport,
            clocks=self.clocks,
            step=step,
        )
        self._reload_from = reload_from
        self._on_settings = on_settings
        self._waits_for_threads = waits_for_threads
        self._thread_room = thread_room
        self._agrees = agrees
        self._wants_reload = threading.Event()
        self._hurried = threading.Event()
        self._locks = Locks()
        self._exit = contextlib.ExitStack()
        self._notices: Notices | None = None
        self._is_once = False
        self._late: set[str] = set()
        self._hung: set[str] = set()
        self._status_at_s = self._ping_at_s = _NEVER_S
        self._started_s = self._upkeep_at_s = self.clocks.monotonic()

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
            NoThreadsError: No more threads can be started here, and nobody waits for that.
        """
        settings = self.settings
        settings.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        silences = silent(all_places(settings))
        self._locks.take(settings.state_dir, [folder.input for folder in settings.folders], but=silences)
        self._exit.callback(self._locks.release)
        settings = room.make_fit(settings, self._around, self._thread_room, waits=self._waits_for_threads)
        self.parts = parts = build(settings, self._around, self._exit, self._locks)
        copy = copies_for_all(settings.state_dir, os.environ)[0] if "RUNTIME_DIRECTORY" in os.environ else None
        self.status = StatusFile(parts, settings.state_dir / STATUS_NAME, copy=copy)
        self.metrics = MetricsFile(
            parts,
            settings.state_dir,
            textfile=settings.metrics.textfile or settings.state_dir / METRICS_NAME,
            copy=copy.with_name(METRICS_NAME) if copy is not None else None,
            is_asked_for=settings.metrics.textfile is not None,
        )
        self._doubts = leftovers.Doubts(parts, timeout_s=settings.api.timeout_s)
        self._once = Once(parts)
        parts.first_looks.agrees = self._agrees
        self._ledger_watch = LedgerWatch(parts, settings.state_dir / FILE_NAME)
        leftovers.forget_another_key(parts, settings)
        pausing.obey(parts)
        parts.ports.report(
            events.Started(
                version=__version__,
                folders=tuple(folder.name for folder in settings.folders),
                workers=settings.pool.workers,
                state_dir=os.fsencode(settings.state_dir),
            )
        )
        self._await_answers(settings, silences)
        leftovers.remember_roots(parts)
        parts.targets.make(settings, silences)
        leftovers.remember_options(parts)
        leftovers.report_other_options(parts)
        parts.first_looks.begin(is_set_back=self._is_set_back())
        self._doubts.begin(leftovers.take_up(parts))
        upkeep.begin(parts)
        leftovers.forget_other_folders(parts)
        self._start_watcher()
        self.status.write()
        self.metrics.write(self.status.last)
        self._tell_people(settings)
        self.notify.ready(self.status.sentence)

    def _is_set_back(self) -> bool:
        """Say whether the ledger is older than what the last run wrote, and report that."""
        forgotten = leftovers.calls_forgotten(self.parts.ledger, self.settings.state_dir)
        if forgotten:
            path = os.fsencode(self.settings.state_dir / FILE_NAME)
            self.parts.ports.report(events.LedgerSetBack(path=path, calls=forgotten))
        return bool(forgotten)

    def _await_answers(self, settings: Settings, silences: Collection[Path]) -> None:
        """Leave the folders that do not answer to themselves until they do."""
        for folder in settings.folders:
            for path in places(folder).values():
                if path in silences:
                    self.parts.ports.shares.await_answer(folder.name, path.stat)

    def _start_watcher(self) -> None:
        for name in self.parts.watcher.progress():
            self.parts.heartbeat.register(thread_name(name), allowance_s=_WATCH_ALLOWANCE_S)
            self.parts.heartbeat.rest(thread_name(name))
        self.parts.watcher.start()

    def _tell_people(self, settings: Settings) -> None:
        """Send notices as these settings say; what that takes is loaded only where anybody is to be told."""
        notify = settings.notify
        is_wanted = notify.ping_url is not None or place(notify.urls_file, os.environ) is not None
        if self._notices is None and is_wanted:
            from rembg_watch.daemon.notices import Notices

            self._notices = Notices(self.parts, notify, snapshot=lambda: self.status.last)
        if self._notices is not None:
            self._notices.begin(notify)

    def _hear(self, event: Event) -> None:
        if self._notices is not None:
            self._notices.hear(event)

    # --- the main loop --------------------------------------------------------------------------

    def main_loop(self) -> None:
        """Watch over the threads until somebody asks to stop."""
        self.parts.heartbeat.register(MAIN_LOOP, allowance_s=30.0)
        while not self.clocks.wait(self.stopping, _LOOP_S):
            self.tick()

    def tick(self) -> None:
        """Do what is due: reload, tell systemd, write how things stand, clean up."""
        parts, now_s = self.parts, self.clocks.monotonic()
        parts.heartbeat.beat(MAIN_LOOP)
        parts.decoders.end_idle()
        if self._wants_reload.is_set():
            self._wants_reload.clear()
            self.reload()
        self._mind_shares()
        if now_s - self._ping_at_s >= (watchdog_interval_s() or 1.0):
            self._ping_at_s = now_s
            self._report_late()
        if now_s - self._status_at_s >= _STATUS_S:
            self._status_at_s = now_s
            self._ledger_watch.look()
            with contextlib.suppress(LedgerUnavailableError):  # the feeder tells of it, and the work waits
                self._obey_requests()
                self.status.write()
                self.metrics.write(self.status.last)
        if now_s - self._upkeep_at_s >= upkeep.UPKEEP_S:
            self._upkeep_at_s = now_s
            upkeep.begin(parts)

    def _mind_shares(self) -> None:
        """Report the folders whose disk does not answer, and have others do the work of threads that wait for one."""
        ports, hung = self.parts.ports, self.parts.ports.shares.hung()
        for folder in set(hung) - self._hung:
            ports.report(events.FolderHung(folder=folder, silent_s=hung[folder]))
        for folder in self._hung - set(hung):
            ports.report(events.FolderAnswers(folder=folder))
            self._upkeep_at_s = _NEVER_S  # what is missing there can be made now
        if hung or self._hung:
            self.parts.pool.replace_lost()
        for folder in hung:  # a restart would wait there again, with everybody else
            self.parts.heartbeat.rest(thread_name(folder))
        self._hung = set(hung)

    def _report_late(self) -> None:
        late = {one.part: one.silent_s for one in self.parts.heartbeat.tick()}
        for part, silent_s in late.items():
            if part not in self._late:
                self.parts.ports.report(events.Stuck(part=part, silent_s=silent_s))
        for part in self._late - set(late):
            self.parts.ports.report(events.Unstuck(part=part))
        self._late = set(late)

    def _obey_requests(self) -> None:
        """Do what ``rembg-watch retry``, ``adopt``, ``pause`` and ``resume`` asked for from outside."""
        pausing.obey(self.parts)
        if self.parts.ledger.note(RESUME) is not None:
            self.parts.ledger.set_note(RESUME, None, is_durable=False)
            if leftovers.trust_roots(self.parts):
                upkeep.begin(self.parts)  # it makes what is missing, in a thread of its own: a share may hang
            self.parts.try_everything()
        self.parts.first_looks.obey()

    def snapshot(self) -> Snapshot:
        """Say how everything stands, as one JSON object."""
        return snapshot_of(self.parts)

    # --- reload ---------------------------------------------------------------------------------

    def reload(self) -> None:
        """Read the configuration again; a wrong one changes nothing."""
        self.notify.reloading("reloading the configuration")
        try:
            changes = self._reload(self._reload_from) if self._reload_from is not None else []
        except RembgWatchError as error:
            problems = error.problems if isinstance(error, ConfigError) else [str(error)]
            self.parts.ports.report(events.ReloadRefused(problems=tuple(problems)))
        else:
            self.parts.ports.report(events.Reloaded(changes=tuple(changes)))
        self.notify.ready(self.status.sentence)

    def _reload(self, path: Path) -> list[str]:
        parts, before, after = self.parts, self.settings, state_dirs.load(path, tolerate=FOR_RUN)
        known, silences = {folder.input for folder in before.folders}, silent(all_places(after))
        for folder in after.folders:
            if folder.input not in known and folder.input not in silences:
                self._locks.take_input(folder.input)
        self._change_plan(after)
        self.settings = after
        self._on_settings(after)
        self._await_answers(after, silences)
        parts.targets.make(after, silences)
        self.notify.extend_timeout(_DRAIN_EXTENSION_S)
        for name in parts.watcher.progress():
            parts.heartbeat.forget(thread_name(name))
        parts.first_looks.begin()
        parts.watcher.change([folder.folder() for folder in after.folders], pace_of(after))
        leftovers.forget_other_folders(parts)
        self._locks.keep_only(folder.input for folder in after.folders)
        self._start_watcher()
        self._tell_people(after)
        leftovers.release_held(parts)
        leftovers.remember_options(parts)
        leftovers.report_other_options(parts)
        parts.try_everything()
        return changes(before, after)

    def _change_plan(self, settings: Settings) -> None:
        in_force = self.parts.ports.in_force
        old_client = in_force.plan.client
        in_force.plan = plan_of(settings, build_client(settings, transport=self._around.transport))
        later = threading.Timer(settings.api.timeout_s * 2, old_client.close)  # calls in flight still use it
        later.daemon = True
        with contextlib.suppress(RuntimeError):  # no more threads can be started: the process closes it at its end
            later.start()

    # --- shutdown -------------------------------------------------------------------------------

    def shutdown(self) -> None:
        """Take nothing new, let the calls in flight end and deliver their answers; the rest stays in the ledger."""
        parts = self.parts
        self.stopping.set()
        queued = parts.ledger.counts()[State.QUEUED]
        parts.ports.report(events.Stopping(in_flight=len(parts.under_way), queued=queued))
        self.notify.stopping("waiting for the calls in flight")
        self.notify.extend_timeout(2 * _DRAIN_EXTENSION_S)
        self._doubts.wait()
        parts.watcher.stop()
        parts.pool.stop(on_wait=self._while_draining)
        figures = parts.metrics.read()
        if self._ledger_watch.is_lost:  # with the answers that came meanwhile
            self._ledger_watch.keep()
        with contextlib.suppress(LedgerUnavailableError):
            self.status.write(is_last=True)
            self.metrics.write(self.status.last, is_last=True)
        if self._notices is not None:
            self.notify.extend_timeout(_LAST_WORDS_S + _DRAIN_EXTENSION_S)
            self._notices.finish(within_s=_LAST_WORDS_S, is_last=self._is_once)
        parts.ports.report(
            events.Stopped(
                delivered=figures.delivered + figures.reused,
                failed=figures.failed,
                queued=parts.ledger.counts()[State.QUEUED],
                uptime_s=self.clocks.monotonic() - self._started_s,
            )
        )
        self._exit.close()

    def _while_draining(self, in_flight: int) -> None:
        self.parts.heartbeat.beat(MAIN_LOOP)
        if not self.parts.heartbeat.tick():  # for a pool that hangs nobody should have to wait
            self.notify.extend_timeout(_DRAIN_EXTENSION_S)
        if self._hurried.is_set():
            self.parts.ports.report(events.Stopping(in_flight=in_flight, queued=0, hurried=True))
            os._exit(128 + signal.SIGTERM)  # what is in flight is in doubt in the ledger, as after a crash

    # --- signals --------------------------------------------------------------------------------

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
        self._is_once = True
        while not self.clocks.wait(self.stopping, _LOOP_S):
            self.tick()
            on_tick(self)
            if self._once.is_done():
                self.parts.governor.recount()
                break
        return self._once.verdict()


def changes(before: Settings, after: Settings) -> list[str]:
    """Say what a reload changed, and what needs a restart."""
    fixed = {
        "state_dir": after.state_dir != before.state_dir,
        "metrics.textfile": after.metrics.textfile != before.metrics.textfile,
        "pool.workers": after.pool.workers != before.pool.workers,
    }
    changed = [name for name in type(after).model_fields if getattr(after, name) != getattr(before, name)]
    waiting = [f"{name} needs a restart" for name, is_changed in fixed.items() if is_changed]
    return [f"{name} changed" for name in changed] + waiting
