"""The real daemon under a real systemd, the sandbox as its API: what an administrator must be able to rely on."""

import json
import os
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest

from rembg_watch.sandbox import Sandbox
from tests.systemd.studio import (
    CATALOGUE,
    CONFIG,
    KEY,
    PACE,
    SHOES,
    UNIT,
    Studio,
    api_table,
    blocks,
    folder_table,
    moved_away,
    picture,
    wait_for,
)

LONG_S = 12.0
"""How long calls take that are to be in flight all at once, whatever the machine does meanwhile."""


# --- a daemon whose pool deadlocks, beside all the others: noticing it takes a minute -----------

SEIZER = '''\
"""Takes the locks of the running daemon's answers and never lets go of them, once /run/seize is there."""
import gc, os, threading, time

def seize():
    done = os.path.join(os.environ["STATE_DIRECTORY"], "seized")  # only in its first life
    if os.path.exists(done):
        return
    while not os.path.exists("/run/seize"):
        time.sleep(0.05)
    for found in gc.get_objects():
        if type(found).__name__ == "Contents" and type(found).__module__ == "rembg_watch.pipeline.contents":
            for lock in found._locks:
                lock.acquire()
            open(done, "w").close()

if os.environ.get("SEIZES_A_LOCK"):
    threading.Thread(target=seize, daemon=True).start()
'''
DOOMED = "rembg-watch@doomed.service"
DOOMED_PORT = 8091


@dataclass
class Doomed:
    """An instance of the template whose preparers and finishers will wait for ever for one lock."""

    machine: Any
    api: Sandbox
    pid: str


@pytest.fixture(scope="module")
def doomed(studio: Studio) -> Iterator[Doomed]:
    machine, sandbox = studio.machine, Sandbox(KEY, credits=100, engine="flat")
    with ThreadPoolExecutor(1, initializer=machine.join_network) as inside:
        server = inside.submit(sandbox.serve, "127.0.0.1", DOOMED_PORT).result()
        folders = blocks("3. ")[0].replace("studio/exports", "doomed/in").replace("studio/cutouts", "doomed/out")
        machine.type_in(folders)
        machine.type_in("install -m 600 /etc/rembg-watch/api_key /etc/rembg-watch/doomed.api_key\n")
        table = folder_table("doomed", "/srv/doomed/in", "/srv/doomed/out")
        port = api_table(timeout_s=5).replace(":8090", f":{DOOMED_PORT}")
        machine.write("/etc/rembg-watch/doomed.toml", port + PACE + table)
        machine.write(
            f"/etc/systemd/system/{DOOMED}.d/test.conf",
            "[Service]\nReadWritePaths=/srv/doomed/out\nWatchdogSec=10s\nEnvironment=SEIZES_A_LOCK=1\n",
        )
        packages = next((machine.root / "opt/rembg-watch/lib").glob("python3*/site-packages"))
        (packages / "seizer.py").write_text(SEIZER)
        (packages / "seizer.pth").write_text("import seizer\n")
        machine.systemctl("daemon-reload")
        machine.systemctl("start", DOOMED)
        found = Doomed(machine, sandbox, machine.show(DOOMED, "MainPID"))
        (machine.root / "srv/doomed/in/first.png").write_bytes(picture(9001))
        wait_for((machine.root / "srv/doomed/out/first.webp").exists, what="the first cut-out")
        machine.write("/run/seize", "")
        wait_for((machine.root / "var/lib/rembg-watch-doomed/seized").exists, what="locks that are seized")
        (machine.root / "srv/doomed/in/second.png").write_bytes(picture(9002))
        yield found
        machine.systemctl("stop", DOOMED, check=False)
        server.stop()


@pytest.fixture
def service(studio: Studio, doomed: Doomed) -> Studio:
    studio.begin()
    return studio


# --- start --------------------------------------------------------------------------------------


def test_a_dropped_picture_is_delivered_and_its_story_is_in_the_journal(service: Studio) -> None:
    service.start()
    assert (service.show("ActiveState"), service.show("NRestarts")) == ("active", "0")
    service.drop(folder="shoot 7/größe/")
    service.wait_until_delivered()
    entries = service.machine.journal(service.since, f"REMBG_FILE={service.names[0]}.png")
    entry = next(entry for entry in entries if "delivered as" in entry["MESSAGE"])
    assert (entry["REMBG_FOLDER"], entry["REMBG_CREDITS"], entry["_SYSTEMD_UNIT"]) == ("catalogue", "1", UNIT)
    assert {entry["REMBG_JOB"] for entry in entries} == {entry["REMBG_JOB"]}


def test_start_returns_when_the_first_scan_has_begun(service: Studio) -> None:
    """Were it earlier, systemd would not know that the process is ready, and ``start`` would be back at once."""
    service.add_drop_ins(slow="[Service]\nExecStartPre=/bin/sleep 0.1\n")
    service.start()
    assert service.show("StatusText").startswith(("looking", "watching", "working"))
    entries = service.machine.journal(service.since, "REMBG_EVENT=started")
    started_us = int(entries[0]["__REALTIME_TIMESTAMP"])
    active = service.machine.journal(service.since, "_PID=1", f"UNIT={UNIT}", "JOB_TYPE=start")
    assert started_us < int(active[-1]["__REALTIME_TIMESTAMP"]), "READY came after the locks, the ledger and the key"


def test_cutouts_have_the_mode_that_the_umask_says(service: Studio) -> None:
    service.start()
    service.drop(folder="a/")
    service.wait_until_delivered()
    service.add_drop_ins(mode="[Service]\nUMask=0002\n")
    service.machine.systemctl("restart", UNIT)
    service.drop(folder="b/")
    service.wait_until_delivered()
    first, second = (f"/srv/studio/cutouts/{name}.webp" for name in service.names)
    shown = service.machine.run("stat", "-c", "%a %U %G", first, second).stdout.splitlines()
    assert shown == ["640 rembg-watch rembg-watch", "664 rembg-watch rembg-watch"]
    parents = service.machine.run("stat", "-c", "%a", "/srv/studio/cutouts/a", "/srv/studio/cutouts/b").stdout
    assert parents.split() == ["2750", "2775"]


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="this machine gives us one processor alone")
@pytest.mark.parametrize("is_let", [True, False], ids=["by the drop-in", "without it"])
def test_many_workers_share_a_processor_where_they_may_choose_it(service: Studio, is_let: bool) -> None:
    service.configure(api_table(), "[pool]\nworkers = 64\n", PACE, CATALOGUE)
    if is_let:
        shown = service.machine.run("rembg-watch", "init", "--systemd", "--config", CONFIG).stdout
        assert "\nSystemCallFilter=sched_setaffinity\n" in shown
        service.add_drop_ins(folders=shown)
    service.start()
    service.drop(3)
    service.wait_until_delivered()
    looks = f"grep -h Cpus_allowed_list /proc/{service.show('MainPID')}/task/*/status"
    allowed = service.machine.run("sh", "-c", looks).stdout.split()[1::2]
    assert len(allowed) > 64
    assert (len([one for one in allowed if one.isdigit()]) > 64) is is_let
    assert "Traceback" not in service.said()


def test_a_wrong_configuration_is_an_end_that_says_all_that_is_wrong(service: Studio) -> None:
    service.configure(api_table(), "[pool]\nworkerz = 3\n", '[[folders]]\nname = "a"\ninput = "/srv/nowhere"\n')
    began_s = time.monotonic()
    assert service.machine.systemctl("start", UNIT, check=False).returncode != 0
    assert time.monotonic() - began_s < 60, "TimeoutStartSec= is two minutes"
    time.sleep(1.0)  # twice RestartSec=
    state = [service.show(name) for name in ("ActiveState", "ExecMainStatus", "NRestarts")]
    assert state == ["failed", "78", "0"]
    assert "workerz" in service.said()
    assert "output" in service.said()


def test_no_credential_is_a_clear_failure(service: Studio) -> None:
    with moved_away(service.machine, "/etc/rembg-watch/api_key"):
        assert service.machine.systemctl("start", UNIT, check=False).returncode != 0
        time.sleep(1.0)
    state = [service.show(name) for name in ("ActiveState", "ExecMainStatus", "NRestarts")]
    assert state == ["failed", "243", "0"]
    assert "credentials" in service.said(f"UNIT={UNIT}").lower()


def test_an_empty_key_file_is_an_end_that_names_it(service: Studio) -> None:
    with moved_away(service.machine, "/etc/rembg-watch/api_key"):
        service.machine.write("/etc/rembg-watch/api_key", "\n", mode=0o600)
        assert service.machine.systemctl("start", UNIT, check=False).returncode != 0
        service.becomes("ActiveState", "failed")
    assert (service.show("ExecMainStatus"), service.show("NRestarts")) == ("78", "0")
    assert "credential api_key: the API key is empty" in service.said()


def test_a_refused_key_is_waited_for_and_shown(service: Studio) -> None:
    service.api.key = "another"
    try:
        service.start()
        service.drop()
        wait_for(lambda: "does not accept the key" in service.show("StatusText"), what="status")
        assert service.show("ActiveState") == "active"
        assert service.delivered() == []
    finally:
        service.api.key = KEY
    service.machine.systemctl("reload", UNIT)
    service.wait_until_delivered()


def test_an_output_folder_that_is_missing_is_told_and_no_crash_loop(service: Studio) -> None:
    service.configure(api_table(), PACE, CATALOGUE, folder_table("lost", "/srv/shoes/in", "/srv/not-there/out"))
    ended = service.machine.systemctl("start", UNIT, check=False)
    wait_for(lambda: "/srv/not-there" in service.said(), what="word of the folder")
    assert "Traceback" not in service.said()
    assert service.show("NRestarts") == "0"
    if ended.returncode == 0:
        service.drop()
        service.wait_until_delivered()


# --- what it may and may not --------------------------------------------------------------------


TRIED = {
    "the input folder": "touch /srv/studio/exports/x",
    "programs": "touch /usr/bin/x",
    "its configuration": "touch /etc/rembg-watch/x",
    "the key": "touch /etc/rembg-watch/api_key",
    "its own program": "touch /opt/rembg-watch/x",
    "another folder": "touch /srv/other/x",
}


def test_the_service_writes_no_input_no_program_and_no_configuration(service: Studio) -> None:
    service.machine.type_in("mkdir -p /srv/other && chmod 777 /srv/studio/exports /srv/other\n")
    tries = "\n".join(f"ExecStartPre=-/bin/sh -c '{attempt}'" for attempt in TRIED.values())
    allowed = "ExecStartPre=/bin/sh -c 'touch /srv/studio/cutouts/x /var/lib/rembg-watch/x && rm /srv/studio/cutouts/x'"
    service.add_drop_ins(tries=f"[Service]\n{tries}\n{allowed}\n")
    service.start()
    said = service.said()
    for attempt in TRIED.values():
        why = "Permission denied" if attempt.endswith("api_key") else "Read-only file system"
        assert f"'{attempt[6:]}': {why}" in said
    assert (service.machine.root / "var/lib/rembg-watch/x").exists()


def test_the_service_cannot_read_the_key_file_nor_other_processes(service: Studio) -> None:
    service.add_drop_ins(
        tries="[Service]\nExecStartPre=-/bin/cat /etc/rembg-watch/api_key\n"
        "ExecStartPre=-/bin/sh -c 'echo processes: $(ls -d /proc/[0-9]* | wc -l)'\n"
    )
    service.start()
    assert "/etc/rembg-watch/api_key: Permission denied" in service.said()
    assert int(re.findall(r"processes: (\d+)", service.said())[0]) <= 4


def test_the_key_is_in_no_environment_command_line_journal_file_or_core(service: Studio) -> None:
    machine = service.machine
    service.api.add_fault("redirect", count=1)
    service.api.add_fault("html", count=1)
    service.api.add_fault("reset_after", count=1)
    service.configure(api_table(), PACE, '[log]\nlevel = "debug"\n', CATALOGUE)
    service.start()
    service.drop(6)
    service.wait_until_delivered()
    assert service.api.statuses["/rmbg", 307] == 1, "the key was asked for elsewhere, too"
    pid = service.show("MainPID")
    limits = machine.run("cat", f"/proc/{pid}/limits").stdout
    assert re.search(r"Max core file size +0 +0", limits), "a core would hold the key"
    decoders = machine.run("sh", "-c", f"cat /proc/{pid}/task/*/children").stdout.split()
    assert decoders, "answers are decoded in processes of their own, in this sandbox, too"
    told = [f"/proc/{one}/{what}" for one in (pid, *decoders) for what in ("environ", "cmdline")]
    process = machine.run("cat", *told).stdout
    shown = machine.systemctl("show", UNIT).stdout + machine.systemctl("status", UNIT).stdout
    machine.systemctl("kill", "--signal=ABRT", UNIT)
    service.becomes("NRestarts", "1")
    service.becomes("ActiveState", "active")
    assert "Fatal Python error: Aborted" in service.said()
    everything = machine.run("journalctl", "--output=export", "--no-pager").stdout
    assert [KEY in text for text in (process, shown, everything)] == [False, False, False]
    written = ["/etc/rembg-watch", "/etc/systemd/system", "/var/lib/rembg-watch", "/srv", "/run/log", "/run/systemd"]
    found = machine.run("grep", "-rlsF", "--devices=skip", KEY, *written, check=False)
    files = set(found.stdout.split())
    assert files == {"/etc/rembg-watch/api_key", "/etc/rembg-watch/doomed.api_key"}


def test_an_encrypted_key_works_with_the_plain_file_gone(service: Studio) -> None:
    machine, encrypted = service.machine, "/etc/rembg-watch/api_key.encrypted"
    encrypt, *rest = blocks("2. ")[1].splitlines(keepends=True)
    made = machine.run(*encrypt.split(), check=False)
    if made.returncode:
        pytest.skip(f"systemd-creds cannot encrypt here: {made.stderr.strip()}")
    machine.run("cp", "-a", "/etc/rembg-watch/api_key", "/root/api_key")
    try:
        machine.type_in("".join(rest), folder="/usr/src/rembg-watch")
        assert not (machine.root / "etc/rembg-watch/api_key").exists()
        assert KEY.encode() not in (machine.root / encrypted[1:]).read_bytes()
        service.start()
        service.drop()
        service.wait_until_delivered()
    finally:
        machine.run("mv", "/root/api_key", "/etc/rembg-watch/api_key")


# --- what it says -------------------------------------------------------------------------------


def test_systemd_is_told_of_every_turn(service: Studio) -> None:
    machine = service.machine
    machine.systemctl("log-level", "debug")
    try:
        service.add_drop_ins(pings="[Service]\nWatchdogSec=10s\n")
        service.api.latency_s = LONG_S / 2
        service.start()
        machine.systemctl("reload", UNIT)
        wait_for(lambda: "WATCHDOG=1" in service.told_to_systemd(), what="a ping")
        service.drop()
        service.wait_until_in_flight(1)
        service.stop()
        told = service.told_to_systemd()
    finally:
        machine.systemctl("log-level", "info")
    words = ["READY=1", "RELOADING=1, MONOTONIC_USEC=", "READY=1", "STOPPING=1", "EXTEND_TIMEOUT_USEC="]
    places = [told.find(words[0])]
    for word in words[1:]:
        places.append(told.find(word, places[-1] + 1))
    assert -1 not in places, told
    service.wait_until_delivered(within_s=1)


def test_the_status_says_what_is_waited_for(service: Studio) -> None:
    service.api.account.included = 0
    service.start()
    service.drop(2)
    wait_for(lambda: "credits" in service.show("StatusText"), what="a status")
    assert re.fullmatch(r"waiting since .* UTC: .*credits.*; 2 pictures in line", service.show("StatusText"))


def test_a_lasting_condition_is_told_once_and_once_when_it_ends(service: Studio) -> None:
    service.api.is_down = True
    service.start()
    service.drop(3)
    service.is_told("paused: the API cannot be reached")
    wait_for(lambda: service.show("StatusText").startswith("waiting since"), what="a status")
    time.sleep(6.0)  # it is tried again meanwhile
    assert service.said().count("paused:") == 1, service.said()
    service.api.is_down = False
    service.machine.systemctl("reload", UNIT)  # every pause is tried at once
    service.wait_until_delivered()
    assert service.said().count("work goes on") == 1, service.said()


# --- reload -------------------------------------------------------------------------------------


def test_a_reload_keeps_the_process_and_watches_the_new_folder(service: Studio) -> None:
    service.start()
    pid = service.show("MainPID")
    service.configure(api_table(), PACE, CATALOGUE, SHOES)
    service.machine.systemctl("reload", UNIT)
    (service.machine.root / "srv/shoes/in/boot.png").write_bytes(picture(7001))
    wait_for((service.machine.root / "srv/shoes/out/boot.webp").exists, what="a cut-out")
    assert service.show("MainPID") == pid
    service.drop()
    service.wait_until_delivered()
    service.stop()
    assert service.show("Result") == "success", "a reload leaves nothing behind that a stop would wait for"


def test_a_broken_file_changes_nothing_and_is_told(service: Studio) -> None:
    service.start()
    pid = service.show("MainPID")
    service.configure(api_table(), PACE, CATALOGUE.replace("input", "imput"))
    service.machine.systemctl("reload", UNIT)
    service.is_told("imput")
    service.becomes("SubState", "running")
    service.drop()
    service.wait_until_delivered()
    assert (service.show("MainPID"), service.show("NRestarts")) == (pid, "0")


def test_a_folder_that_the_sandbox_keeps_shut_waits_and_the_way_to_open_it_is_told(service: Studio) -> None:
    service.machine.type_in("mkdir -p /srv/shut/in /srv/shut/out\nchown rembg-watch: /srv/shut/out\n")
    service.start()
    service.configure(api_table(), PACE, CATALOGUE, folder_table("shut", "/srv/shut/in", "/srv/shut/out"))
    service.machine.systemctl("reload", UNIT)
    service.is_told("write its drop-in anew with `rembg-watch init --systemd` and restart it")
    service.drop()
    service.wait_until_delivered()


def test_every_user_may_ask_how_it_stands(service: Studio) -> None:
    service.start()
    service.drop()
    service.wait_until_delivered()
    as_nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    command = [*as_nobody, "/opt/rembg-watch/bin/rembg-watch", "status", "--json", "--config", CONFIG]
    found: dict[str, Any] = {}

    def is_told() -> bool:
        found.update(json.loads(service.machine.run(*command).stdout))
        return bool(found["running"] and found["jobs"]["done"])

    wait_for(is_told, what="the copy of its status")
    assert KEY not in json.dumps(found)
    service.stop()
    ended = service.machine.run(*command, check=False)
    assert ended.returncode == 78
    assert "which belong to rembg-watch" in ended.stderr


def test_who_works_on_the_same_ledger_is_named_and_waited_for_a_few_times(service: Studio) -> None:
    service.api.latency_s = LONG_S / 2
    service.drop()
    command = ["/opt/rembg-watch/bin/rembg-watch", "once", "--config", CONFIG]
    service.machine.run("systemd-run", "--unit=by-hand", "-E", f"REMBG_WATCH_API__KEY={KEY}", *command)
    service.wait_until_in_flight(1)
    pid = service.show("MainPID", "by-hand.service")
    service.machine.systemctl("start", UNIT, check=False)
    service.is_told(f"in use by process {pid}")
    service.becomes("ActiveState", "active")
    service.wait_until_delivered()
    assert service.paid_twice() == 0


def test_calls_in_flight_outlive_a_reload(service: Studio) -> None:
    service.api.latency_s = LONG_S / 2
    service.start()
    service.drop(4)
    service.wait_until_in_flight(4)
    service.configure(api_table(timeout_s=20), "[pool]\nworkers = 4\n", PACE, CATALOGUE)
    service.machine.systemctl("reload", UNIT)
    service.wait_until_delivered()
    assert (service.api.billed, service.paid_twice()) == (4, 0)


# --- stop ---------------------------------------------------------------------------------------


def test_calls_in_flight_are_waited_for_and_the_queue_goes_on_at_the_next_start(service: Studio) -> None:
    service.add_drop_ins(short="[Service]\nTimeoutStopSec=4s\n")
    service.api.latency_s = LONG_S
    service.start()
    service.drop(20)
    service.wait_until_in_flight(8)
    began_s = time.monotonic()
    service.stop()
    assert time.monotonic() - began_s > 4
    assert (service.show("Result"), service.show("ExecMainStatus")) == ("success", "0")
    assert (len(service.delivered()), service.api.billed) == (8, 8)
    service.api.latency_s = 0.1
    service.start()
    service.wait_until_delivered()
    assert (service.api.billed, service.paid_twice()) == (20, 0)


def test_a_second_sigterm_hurries(service: Studio) -> None:
    service.api.latency_s = 2 * LONG_S
    service.start()
    service.drop(8)
    service.wait_until_in_flight(8)
    service.machine.systemctl("stop", "--no-block", UNIT)
    service.becomes("StatusText", "waiting for the calls in flight")
    began_s = time.monotonic()
    service.machine.systemctl("kill", UNIT)
    service.becomes("ActiveState", "inactive", "failed")
    assert time.monotonic() - began_s < LONG_S
    assert (service.show("ActiveState"), service.show("Result")) == ("inactive", "success"), "it did as it was told"
    service.api.latency_s = 0.1
    service.start()
    service.wait_until_delivered()
    assert service.paid_twice() <= 8


def test_twenty_starts_and_stops_under_load_lose_and_double_nothing(service: Studio) -> None:
    service.api.latency_s = 0.3
    for number in range(20):
        service.start()
        service.drop(5)
        if number % 3:
            wait_for(lambda: service.api.in_flight or len(service.delivered()) == len(service.names), what="a call")
        service.stop()
        assert service.show("Result") == "success"
    service.start()
    service.wait_until_delivered()
    assert (service.api.billed, service.paid_twice(), len(service.delivered())) == (100, 0, 100)


# --- crashes ------------------------------------------------------------------------------------


def test_a_killed_daemon_is_back_at_once_and_pays_twice_at_most_for_what_was_in_flight(service: Studio) -> None:
    service.api.latency_s = LONG_S
    service.start()
    service.drop(30)
    service.wait_until_in_flight(8)
    service.api.latency_s = 0.5
    assert service.show("RestartUSec") == "500ms"
    began_s = time.monotonic()
    service.machine.systemctl("kill", "--signal=KILL", "--kill-who=main", UNIT)
    service.becomes("NRestarts", "1")
    service.becomes("ActiveState", "active")
    assert time.monotonic() - began_s < LONG_S
    service.wait_until_delivered()
    assert service.show("NRestarts") == "1"
    assert service.paid_twice() <= 8
    assert service.api.billed == 30 + service.paid_twice()


def test_a_start_does_not_wait_for_a_slow_api_that_has_to_be_asked_about_a_crash(service: Studio) -> None:
    service.api.latency_s = LONG_S
    service.start()
    service.drop(8)
    service.wait_until_in_flight(8)
    service.api.latency_s = 0.1
    service.api.add_fault("latency", seconds=LONG_S, route="/api/membership-usage", count=1)
    began_s = time.monotonic()
    service.machine.systemctl("kill", "--signal=KILL", "--kill-who=main", UNIT)
    service.becomes("NRestarts", "1")
    service.becomes("ActiveState", "active")
    assert time.monotonic() - began_s < LONG_S
    assert service.delivered() == [], "nothing is sent before it is known what was paid for"
    service.wait_until_delivered()
    assert (service.show("NRestarts"), service.paid_twice() <= 8) == ("1", True)


def test_a_deadlocked_pool_is_ended_by_the_watchdog_with_all_tracebacks_and_comes_back(doomed: Doomed) -> None:
    machine = doomed.machine

    def is_back() -> bool:
        return machine.show(DOOMED, "ActiveState") == "active" and machine.show(DOOMED, "MainPID") != doomed.pid

    wait_for(is_back, within_s=300, what="another process in service")
    said = machine.messages(f"_SYSTEMD_UNIT={DOOMED}")
    assert re.search(r"preparer \d has not moved for 1 min", said), said
    assert machine.messages("_PID=1", f"UNIT={DOOMED}").count("Watchdog timeout") == 1
    assert "Fatal Python error: Aborted" in said
    assert len(re.findall(r"(?:Thread|Current thread) 0x", said)) >= 10, "main loop, feeder, preparers, workers, ..."
    assert "in _answered_before" in said, "the traceback names the lock that is waited for"
    wait_for((machine.root / "srv/doomed/out/second.webp").exists, what="the second cut-out")
    assert doomed.api.billed == 2


def test_everything_above_left_the_configuration_where_the_readme_puts_it(service: Studio) -> None:
    assert (service.machine.root / CONFIG[1:]).read_text().startswith("[api]")
