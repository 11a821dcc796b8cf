"""
What systemd says about the installed service: its key, its user, and whether its sandbox gives access to the folders.

This asks systemd for the unit's properties. Where systemd is not running or does not know
the unit, there is nothing to report.
"""

import contextlib
import os
import pwd
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from pydantic import SecretStr

from rembg_watch.check.protection import Protection, words
from rembg_watch.config import Finding, FindingKind, Reading, Settings, Severity
from rembg_watch.config.keys import CREDENTIAL, NO_KEY, clean_key
from rembg_watch.config.rules import targets
from rembg_watch.config.settings import SYSTEM_CONFIG

UNIT = "rembg-watch.service"
PROPERTIES = (
    "Id",
    "LoadState",
    "ExecStart",
    "User",
    "DynamicUser",
    "ProtectSystem",
    "ProtectHome",
    "PrivateTmp",
    "StateDirectory",
    "ReadWritePaths",
    "ReadOnlyPaths",
    "InaccessiblePaths",
    "BindPaths",
    "BindReadOnlyPaths",
)
CREDENTIALS = ("LoadCredential", "LoadCredentialEncrypted", "SetCredential", "SetCredentialEncrypted")
OLDEST_SYSTEMD = 247  # LoadCredential=

_ANSWER_S = 5.0


def unit_for(path: Path | None) -> str:
    """Name the unit that the configuration file belongs to: each of several studios has its own."""
    if path is None or path.absolute().parent != SYSTEM_CONFIG or path.stem == "config":
        return UNIT
    return f"rembg-watch@{path.stem}.service"


def properties(unit: str = UNIT) -> dict[str, str]:
    """Ask systemd what it knows about *unit*; empty if the unit is not installed or systemd does not answer."""
    systemctl = shutil.which("systemctl")
    if systemctl is None:
        return {}
    shown = _said([systemctl, "show", unit, f"--property={','.join(PROPERTIES)}"])
    found = dict(line.split("=", 1) for line in shown.splitlines() if "=" in line)
    if found.get("LoadState") != "loaded":
        return {}
    version = re.match(r"systemd (\d+)", _said([systemctl, "--version"]))
    return {**found, **assignments(_said([systemctl, "cat", unit])), "Version": version[1] if version else ""}


def assignments(text: str) -> dict[str, str]:
    """
    Read what a unit and its drop-ins say about credentials.

    ``systemctl show`` calls these properties unprintable. If the unit itself contains a
    credential, only its name is kept.
    """
    found: dict[str, list[str]] = {name: [] for name in CREDENTIALS}
    for line in text.splitlines():
        name, equals, value = (part.strip() for part in line.partition("="))
        if not equals or name not in found:
            continue
        if not value:
            found[name].clear()
        else:
            found[name].append(value.partition(":")[0] if name.startswith("Set") else value)
    return {name: " ".join(shlex.quote(value) for value in values) for name, values in found.items()}


def _said(command: list[str]) -> str:
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=_ANSWER_S, check=False)  # noqa: S603  # fixed arguments
    except (OSError, subprocess.TimeoutExpired, UnicodeDecodeError):
        return ""
    return answer.stdout if answer.returncode == 0 else ""


def is_ours(reading: Reading, service: Mapping[str, str]) -> bool:
    """Say whether the service runs with exactly this configuration file."""
    if reading.path is None:
        return False
    path = re.escape(str(reading.path.absolute()))
    return re.search(rf"(?<=[ =]){path}(?= |$)", service.get("ExecStart", "")) is not None


def credential_path(service: Mapping[str, str]) -> Path | None:
    """Find the plain file that systemd loads the service's key from."""
    for entry in words(service.get("LoadCredential", "")):
        name, _, path = entry.partition(":")
        if name == CREDENTIAL and path.startswith("/"):
            return Path(path)
    return None


def _has_credential(service: Mapping[str, str]) -> bool:
    entries = [entry for name in CREDENTIALS for entry in words(service.get(name, ""))]
    return any(entry.partition(":")[0] == CREDENTIAL for entry in entries)


def with_credential(reading: Reading, service: Mapping[str, str]) -> Reading:
    """
    Read the configuration as the service does, for a user who runs ``check`` outside it.

    A key that only the unit provides does not count as missing; if its file is readable, ``check`` uses it.
    """
    settings = reading.settings
    if settings is None or settings.api.key is not None:
        return reading
    if not is_ours(reading, service) or not _has_credential(service):
        return reading
    rest = tuple(found for found in reading.findings if found.what != NO_KEY)
    path, source = credential_path(service), f"credential {CREDENTIAL} of {service.get('Id', UNIT)}"
    key, complaint = None, None
    with contextlib.suppress(OSError):
        key, complaint = (None, None) if path is None else clean_key(path.read_bytes()[:8192])
    if complaint:
        todo = f"put the key into {path} and nothing else"
        rest += (_error(FindingKind.KEY, f"the API key {complaint}", source, todo),)
    api = settings.api.model_copy(update={"key": SecretStr(key) if key else None})
    settings = settings.model_copy(update={"api": api})
    return replace(reading, findings=rest, settings=settings, key_source=source if key else None)


def findings(reading: Reading, service: Mapping[str, str], *, user_id: int) -> Iterator[Finding]:
    """Report what the installed service cannot do with this configuration although ``check`` could."""
    settings = reading.settings
    if not service or settings is None:
        return
    if not is_ours(reading, service):
        what = f"{service.get('Id', UNIT)} runs with another configuration file"
        yield _note(what, f"its command is {_command(service)}")
        return
    yield from _version(service)
    yield from _credential(settings, service)
    yield from _state(reading, settings, service)
    yield from _sandbox(settings, service)
    yield from _user(settings, service, user_id)


def _error(kind: FindingKind, what: str, where: str, todo: str = "") -> Finding:
    return Finding(Severity.ERROR, kind, what, where=where, todo=todo)


def _note(what: str, todo: str = "") -> Finding:
    return Finding(Severity.NOTE, FindingKind.MACHINE, what, where=UNIT, todo=todo)


def _command(service: Mapping[str, str]) -> str:
    found = re.search(r"argv\[\]=(.*?) ;", service.get("ExecStart", ""))
    return found[1] if found else "unknown"


def _version(service: Mapping[str, str]) -> Iterator[Finding]:
    version = service.get("Version", "")
    if version.isdecimal() and int(version) < OLDEST_SYSTEMD:
        what = f"systemd {version} does not support credentials; they need version {OLDEST_SYSTEMD} or later"
        todo = "name a key_file that the service may read"
        yield Finding(Severity.WARNING, FindingKind.MACHINE, what, UNIT, todo)


def _credential(settings: Settings, service: Mapping[str, str]) -> Iterator[Finding]:
    path = credential_path(service)
    if path is not None and os.access(path.parent, os.X_OK) and not path.exists():
        what = f"the credential {CREDENTIAL} comes from {path}, which does not exist: the service will not start"
        yield _error(FindingKind.KEY, what, f"{UNIT} LoadCredential=", f"write the key to {path} (chmod 600)")
    elif not _has_credential(service) and settings.api.key_file is None:
        what = "the service is given no key: there is neither a credential api_key nor a key_file"
        todo = f"add LoadCredential={CREDENTIAL}:/etc/rembg-watch/api_key"
        yield Finding(Severity.WARNING, FindingKind.KEY, what, where=UNIT, todo=todo)


def _state(reading: Reading, settings: Settings, service: Mapping[str, str]) -> Iterator[Finding]:
    """``status`` has to read the same ledger that the service writes."""
    given = [f"/var/lib/{name.partition(':')[0]}" for name in words(service.get("StateDirectory", ""))]
    if given and not reading.chooses_state_dir and str(settings.state_dir) not in given:
        what = f"the service keeps its ledger in {given[0]}, but other commands look for it in {settings.state_dir}"
        todo = f'set state_dir = "{given[0]}"'
        yield Finding(Severity.WARNING, FindingKind.SETTING, what, "state_dir", todo)
    elif not Protection(service).is_writable(settings.state_dir):
        what = f"the service cannot write its state folder {settings.state_dir}"
        todo = "remove state_dir, or add it to ReadWritePaths="
        yield _error(FindingKind.ACCESS, what, f"{UNIT} StateDirectory=", todo)


def _sandbox(settings: Settings, service: Mapping[str, str]) -> Iterator[Finding]:
    """Compare each folder with what the unit hides or makes read-only."""
    protection = Protection(service)
    for folder in settings.folders:
        if not protection.is_visible(folder.input):
            what = f"the service cannot see the input folder {folder.input} ({folder.name!r})"
            todo = "write the drop-in again: `rembg-watch init --systemd`"
            yield _error(FindingKind.ACCESS, what, UNIT, todo)
        for name, path in targets(folder).items():
            if not protection.is_writable(path):
                what = f"the service cannot write the {name} folder {path} ({folder.name!r})"
                todo = f"write the drop-in again: `rembg-watch init --systemd`, or add ReadWritePaths={path}"
                yield _error(FindingKind.ACCESS, what, f"{UNIT} ReadWritePaths=", todo)


def _user(settings: Settings, service: Mapping[str, str], user_id: int) -> Iterator[Finding]:
    """What one user can do says little about another, so this reads the folders' modes."""
    name = service.get("User") or ("root" if service.get("DynamicUser", "no") == "no" else "")
    try:
        user, tried_by = pwd.getpwnam(name), pwd.getpwuid(user_id).pw_name
    except KeyError:
        if name:
            what = f"the service should run as {name}, a user that this machine does not have"
            yield _error(FindingKind.MACHINE, what, UNIT)
        return
    if user.pw_uid in {0, user_id}:
        return
    groups = set(os.getgrouplist(name, user.pw_gid))
    needs = {folder.input: os.R_OK | os.X_OK for folder in settings.folders}
    needs |= {path: os.W_OK | os.X_OK for folder in settings.folders for path in targets(folder).values()}
    denied = [path for path, need in needs.items() if not _is_allowed(path, need, user.pw_uid, groups)]
    for path in denied:
        what = f"the service runs as {name}, who {'cannot write' if needs[path] & os.W_OK else 'cannot read'} {path}"
        todo = f"give {path} to {name}, or to a group that {name} is in"
        yield _error(FindingKind.ACCESS, what, f"{UNIT} User=", todo)
    if not denied:
        what = f"the folders were tried as {tried_by}, but the service runs as {name}"
        yield _note(what, f"to try them as the service: sudo -u {name} rembg-watch check --config FILE")


def _is_allowed(path: Path, need: int, user_id: int, group_ids: set[int]) -> bool:
    """Read a folder's mode for another user; a folder that is missing or has an access list counts as allowed."""
    try:
        found = path.stat()
        if "system.posix_acl_access" in os.listxattr(path):
            return True
    except OSError:
        return True
    shift = 6 if found.st_uid == user_id else 3 if found.st_gid in group_ids else 0
    return (found.st_mode >> shift) & need == need
