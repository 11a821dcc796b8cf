"""The machine that the other tests boot: real, of its own, and gone without a trace."""

from pathlib import Path
from typing import Any


def test_systemd_is_its_first_process(machine: Any) -> None:
    assert machine.run("cat", "/proc/1/comm").stdout == "systemd\n"
    assert machine.systemctl("is-system-running").stdout.strip() == "running", machine.systemctl("--failed").stdout


def test_a_service_runs_and_its_words_are_in_the_journal(machine: Any) -> None:
    machine.write(
        "/etc/systemd/system/hello.service",
        "[Service]\nType=oneshot\nDynamicUser=yes\nProtectSystem=strict\nPrivateUsers=yes\n"
        "ExecStart=/bin/sh -c 'echo hello from $(id -un); touch /usr/x || echo sealed'\n",
    )
    machine.systemctl("daemon-reload")
    machine.systemctl("start", "hello.service")
    assert machine.show("hello.service", "Result") == "success"
    said = machine.messages("_SYSTEMD_UNIT=hello.service")
    assert "hello from hello" in said
    assert "sealed" in said


def test_a_credential_reaches_the_service(machine: Any) -> None:
    machine.write("/etc/secret", "sk-test", mode=0o600)
    machine.write(
        "/etc/systemd/system/secret.service",
        "[Service]\nType=oneshot\nDynamicUser=yes\nLoadCredential=api_key:/etc/secret\n"
        "ExecStart=/bin/sh -c 'wc -c <$CREDENTIALS_DIRECTORY/api_key'\n",
    )
    machine.systemctl("daemon-reload")
    machine.systemctl("start", "secret.service")
    assert "7" in machine.messages("_SYSTEMD_UNIT=secret.service")


def test_what_is_written_inside_does_not_reach_the_host(machine: Any) -> None:
    machine.run("sh", "-c", "echo x >/etc/only-inside; echo x >/usr/bin/only-inside")
    assert (machine.root / "etc/only-inside").exists()
    assert not Path("/etc/only-inside").exists()
    assert not Path("/usr/bin/only-inside").exists()


def test_the_hosts_kernel_settings_cannot_be_changed_from_inside(machine: Any) -> None:
    ended = machine.run("sh", "-c", "echo 1 >/proc/sys/vm/swappiness", check=False)
    assert ended.returncode != 0


def test_the_hosts_processes_and_network_are_out_of_reach(machine: Any) -> None:
    assert int(machine.run("sh", "-c", "ls -d /proc/[0-9]* | wc -l").stdout) < 20
    assert machine.run("cat", "/proc/net/dev").stdout.count(":") == 1, "loopback alone"
