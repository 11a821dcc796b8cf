"""``run``: the daemon."""

from rembg_watch import state_dirs
from rembg_watch.cli.configured import ConfigFile, logs_for, secrets_of
from rembg_watch.config import FOR_RUN, Settings, find
from rembg_watch.daemon import Daemon
from rembg_watch.host.memory import limit_heaps
from rembg_watch.report.logs import OncePerCondition


def run(config: ConfigFile = None) -> None:
    """Watch the folders until SIGTERM; SIGHUP reloads."""
    limit_heaps()
    path = find(config)
    settings = state_dirs.load(path, tolerate=FOR_RUN)
    state_dirs.remember(settings, path)
    logs = logs_for(settings)

    def on_settings(changed: Settings) -> None:
        logs.set_level(changed.log.level)
        logs.redactor.add(*secrets_of(changed))

    daemon = Daemon(
        settings, report=OncePerCondition(logs), reload_from=path, on_settings=on_settings, waits_for_threads=True
    )
    with logs, daemon.signals(), daemon:
        daemon.main_loop()
