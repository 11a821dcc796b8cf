"""
A small daemon in the place of the real one: what it says to systemd and journald is the program's own code.

It reads what it is to do from its configuration, one word a line, and looks for orders in /run/orders.
"""

import os
import signal
import sys
import time
from decimal import Decimal
from pathlib import Path

from rembg_watch.host.systemd import Heartbeat, Notify, watchdog_interval_s
from rembg_watch.report.events import Delivered
from rembg_watch.report.logs import Logs

signalled: list[int] = []
for number in (signal.SIGHUP, signal.SIGTERM):
    signal.signal(number, lambda received, _: signalled.append(received))

config = Path(sys.argv[sys.argv.index("--config") + 1])
words = config.read_text().split()
orders = Path("/run/orders")
notify = Notify.from_environment()
heart = Heartbeat(notify.ping)
heart.register("the loop", allowance_s=0.5)
key = (Path(os.environ["CREDENTIALS_DIRECTORY"]) / "api_key").read_text().strip()

if "wrong" in words:
    sys.exit(78)
if "crash" in words:
    os.abort()


def attempt(folder: Path) -> None:
    """Say whether *folder* can be written, and what is seen in it."""
    try:
        (folder / "written").write_text("x")
        logs.logger.info("wrote", path=str(folder))
    except OSError as error:
        seen = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else None
        logs.logger.info("cannot write", path=str(folder), why=error.strerror, seen=seen)


with Logs(secrets=[key]) as logs:
    for word in words[1:] if words[:1] == ["try"] else ():
        attempt(Path(word))
    logs(
        Delivered(folder="a", source="größe\n1.jpg".encode(), job=7, target=b"1.webp", duration_s=2, charged=Decimal(1))
    )
    logs.logger.info("a careless line", key=key)
    time.sleep(0.2)  # the first scan
    notify.ready(f"watching; the key has {len(key)} characters")
    while signal.SIGTERM not in signalled:
        if signal.SIGHUP in signalled:
            signalled.remove(signal.SIGHUP)
            notify.reloading("reading the configuration")
            time.sleep(0.3)
            notify.ready(f"reloaded: {config.read_text().strip()}")
        if not Path(orders, "hang").exists():
            heart.beat("the loop")
        heart.tick()
        time.sleep(min(0.05, watchdog_interval_s() or 1))
    notify.stopping()
    for _ in range(30 if "calls" in words else 0):  # 6 s of calls in flight
        notify.extend_timeout(10)
        time.sleep(0.2)
    logs.logger.info("all answers written")
